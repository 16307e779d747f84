//! A checkpoint as a stack of dense layers: which tensor is which layer, and in which order its axes stand.

use gainstage_spec::{Layout, WeightShape};

use crate::AuditError;
use crate::array::Tensor;
use crate::checkpoint::Checkpoint;
use crate::described::Described;
use crate::glob;
use crate::names::natural;
use crate::part::{Names, Part};
use crate::reading::Reading;
use crate::role::Role;

/// Dense layers in the order of the signal, each with its tensors.
///
/// # Example
/// ```
/// use gainstage_audit::{Checkpoint, Stack};
/// let header = r#"{"fc1.weight":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},
///     "fc2.weight":{"dtype":"F32","shape":[1,3],"data_offsets":[24,36]}}"#;
/// let mut file = (header.len() as u64).to_le_bytes().to_vec();
/// file.extend(header.as_bytes());
/// file.extend((0..9).flat_map(|i| (i as f32).to_le_bytes()));
/// let checkpoint = Checkpoint::from_bytes("mlp.safetensors".as_ref(), file)?;
/// let stack = Stack::follow(&checkpoint, None).unwrap();
/// assert_eq!((stack.input(), stack.layers().len()), (2, 2));
/// // One row for each unit, as PyTorch stores it.
/// assert_eq!(stack.weights(&checkpoint, 0)?, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
/// # Ok::<(), gainstage_audit::AuditError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Stack {
    layers: Vec<StackLayer>,
    unused: Vec<String>,
}

/// One dense layer's tensors.
#[derive(Clone, Debug)]
pub struct StackLayer {
    /// Index of its weight among the checkpoint's tensors.
    pub weight: usize,
    /// Index of its bias; `None` where it has none.
    pub bias: Option<usize>,
    /// Its fans.
    pub shape: WeightShape,
    /// The order of the weight's axes.
    pub layout: Layout,
    /// What decided the order.
    pub why: String,
}

impl Stack {
    /// The dense layers of a checkpoint whose shapes form a chain, in the natural order of their names or else
    /// in the order of the file.
    ///
    /// # Errors
    /// A sentence that says why it is no such chain.
    pub fn follow(checkpoint: &Checkpoint, layout: Option<Layout>) -> Result<Self, String> {
        let all: Vec<usize> = (0..checkpoint.tensors().len()).collect();
        Self::follow_tensors(checkpoint, &all, layout)
    }

    /// As [`Stack::follow`], among these tensors alone.
    pub(crate) fn follow_tensors(
        checkpoint: &Checkpoint,
        among: &[usize],
        layout: Option<Layout>,
    ) -> Result<Self, String> {
        let tensors = checkpoint.tensors();
        let names = Names::new(among.iter().map(|&i| &tensors[i]));
        let mut weights = Vec::new();
        for &index in among {
            let tensor = &tensors[index];
            let Ok(part) = names.part(tensor.own_name(), tensor.shape(), layout) else { continue };
            match part.role {
                Role::Dense if tensor.shape().len() == 2 => weights.push((index, part)),
                Role::Bias => {}
                role => {
                    return Err(format!(
                        "it is no plain stack of dense layers: {} is of role {role}",
                        tensor.name()
                    ));
                }
            }
        }
        if weights.len() < 2 {
            return Err(format!("{} dense layers make no stack", weights.len()));
        }
        let stored = weights.clone();
        weights.sort_by_key(|(index, _)| natural(tensors[*index].own_name()));
        let readings = |list: &[(usize, Part)]| -> Option<Vec<Reading>> {
            let readings: Vec<&[Reading]> =
                list.iter().map(|(_, part)| part.readings.as_slice()).collect();
            chain(&readings, layout)
        };
        let (list, chained) = match (readings(&weights), readings(&stored)) {
            (Some(chained), _) => (weights, chained),
            (None, Some(chained)) => (stored, chained),
            (None, None) => {
                return Err(
                    "its dense layers do not follow one another by their shapes; name them in a network file"
                        .to_owned(),
                );
            }
        };
        let find = |name: &str| among.iter().copied().find(|&i| tensors[i].own_name() == name);
        let layers: Vec<StackLayer> = list
            .iter()
            .zip(chained)
            .map(|((weight, part), reading)| {
                let width = reading.shape.outputs();
                let bias = names.bias_of(tensors[*weight].own_name());
                let named = part.layout == Some(reading.layout);
                StackLayer {
                    weight: *weight,
                    bias: bias.filter(|(_, n)| *n == width).and_then(|(name, _)| find(name)),
                    shape: reading.shape,
                    layout: reading.layout,
                    why: if named { part.why.clone() } else { "the shapes around it".to_owned() },
                }
            })
            .collect();
        Ok(Self { unused: unused(tensors, among, &layers), layers })
    }

    /// The tensors that a network's description names, or the checkpoint's chain where it names none.
    ///
    /// # Errors
    /// [`AuditError::Network`] naming the layer and what does not fit.
    pub fn described(
        checkpoint: &Checkpoint,
        described: &Described,
        layout: Option<Layout>,
    ) -> Result<Self, AuditError> {
        let all: Vec<usize> = (0..checkpoint.tensors().len()).collect();
        Self::described_among(checkpoint, &all, described, layout)
    }

    pub(crate) fn described_among(
        checkpoint: &Checkpoint,
        among: &[usize],
        described: &Described,
        layout: Option<Layout>,
    ) -> Result<Self, AuditError> {
        let wrong = |reason| AuditError::Network { file: described.name().to_owned(), reason };
        let shapes = described.network().shapes()?;
        if !described.names_tensors() {
            let stack = Self::follow_tensors(checkpoint, among, layout).map_err(|why| {
                wrong(format!(
                    "it names no tensors, and the checkpoint does not tell: {why}; write weight_tensor = \"NAME\" in every dense layer"
                ))
            })?;
            if stack.layers.len() != shapes.len() {
                return Err(wrong(format!(
                    "it has {} dense layers and the checkpoint {}",
                    shapes.len(),
                    stack.layers.len()
                )));
            }
            for (index, (layer, shape)) in stack.layers.iter().zip(&shapes).enumerate() {
                if (layer.shape.inputs(), layer.shape.outputs())
                    != (shape.inputs(), shape.outputs())
                {
                    return Err(wrong(format!(
                        "dense layer {} is {} to {} wide there, and {} to {} by tensor {}",
                        index + 1,
                        shape.inputs(),
                        shape.outputs(),
                        layer.shape.inputs(),
                        layer.shape.outputs(),
                        checkpoint.tensors()[layer.weight].name()
                    )));
                }
            }
            return Ok(stack);
        }
        let tensors = checkpoint.tensors();
        let names = Names::new(among.iter().map(|&i| &tensors[i]));
        let mut layers = Vec::new();
        for (index, (slot, shape)) in described.slots().iter().zip(&shapes).enumerate() {
            let here = |reason: String| wrong(format!("dense layer {}: {reason}", index + 1));
            let pattern = slot.weight.as_deref().ok_or_else(|| {
                here("it has no weight_tensor, and other layers have; name all or none".to_owned())
            })?;
            let find = |pattern: &str| find(tensors, among, pattern, slot.turn, slot.turns);
            let weight = find(pattern).map_err(&here)?;
            let tensor = &tensors[weight];
            let (layout, why) = orient(tensor, shape, layout, &names).map_err(&here)?;
            let bias = match &slot.bias {
                Some(pattern) => Some(find(pattern).map_err(&here)?),
                None => names.bias_of(tensor.own_name()).and_then(|(name, _)| {
                    among.iter().copied().find(|&i| tensors[i].own_name() == name)
                }),
            };
            if let Some(bias) = bias.filter(|&b| tensors[b].shape() != [shape.outputs()]) {
                let (name, found) = (tensors[bias].name(), tensors[bias].shape());
                return Err(here(format!(
                    "bias {name} has shape {found:?}; {} units need [{}]",
                    shape.outputs(),
                    shape.outputs()
                )));
            }
            layers.push(StackLayer { weight, bias, shape: shape.clone(), layout, why });
        }
        Ok(Self { unused: unused(tensors, among, &layers), layers })
    }

    /// The layers.
    pub fn layers(&self) -> &[StackLayer] {
        &self.layers
    }

    /// Width of the input.
    pub fn input(&self) -> usize {
        self.layers.first().map_or(0, |l| l.shape.inputs())
    }

    /// Tensors of the checkpoint that are in no layer.
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// A layer's weight, `out x in`, one row for each unit.
    ///
    /// # Errors
    /// As [`Checkpoint::values`].
    ///
    /// # Panics
    /// Never for an index below the number of layers.
    pub fn weights(&self, checkpoint: &Checkpoint, layer: usize) -> Result<Vec<f64>, AuditError> {
        let StackLayer { weight, shape, layout, .. } = &self.layers[layer];
        let values = checkpoint.values(&checkpoint.tensors()[*weight])?;
        let (inputs, outputs) = (shape.inputs(), shape.outputs());
        Ok(match layout {
            Layout::OutIn => values,
            Layout::InOut => (0..outputs)
                .flat_map(|o| (0..inputs).map(move |i| (o, i)))
                .map(|(o, i)| values[i * outputs + o])
                .collect(),
        })
    }

    /// A layer's bias, or nothing.
    ///
    /// # Errors
    /// As [`Checkpoint::values`].
    ///
    /// # Panics
    /// Never for an index below the number of layers.
    pub fn bias(&self, checkpoint: &Checkpoint, layer: usize) -> Result<Vec<f64>, AuditError> {
        let values = |b| checkpoint.values(&checkpoint.tensors()[b]);
        self.layers[layer].bias.map_or_else(|| Ok(Vec::new()), values)
    }
}

/// One reading of each weight such that every layer takes what the one before it gives.
fn chain(readings: &[&[Reading]], forced: Option<Layout>) -> Option<Vec<Reading>> {
    let allowed = |r: &&Reading| forced.is_none_or(|layout| r.layout == layout);
    let (first, rest) = readings.split_first()?;
    first.iter().filter(allowed).find_map(|start| {
        let mut list = vec![start.clone()];
        for options in rest {
            let width = list.last()?.shape.outputs();
            let next = options.iter().filter(allowed).find(|r| r.shape.inputs() == width)?;
            list.push(next.clone());
        }
        Some(list)
    })
}

/// The tensor of a name, or the `turn`-th of `turns` that a pattern matches.
fn find(
    tensors: &[Tensor],
    among: &[usize],
    pattern: &str,
    turn: usize,
    turns: usize,
) -> Result<usize, String> {
    let mut found: Vec<usize> =
        among.iter().copied().filter(|&i| glob::matches(pattern, tensors[i].own_name())).collect();
    found.sort_by_key(|&i| natural(tensors[i].own_name()));
    match found.len() {
        0 => Err(format!("no tensor is called {pattern}")),
        n if n == turns => Ok(found[turn]),
        n => Err(format!("{n} tensors are called {pattern}, and the layer stands {turns} times")),
    }
}

fn orient(
    tensor: &Tensor,
    shape: &WeightShape,
    forced: Option<Layout>,
    names: &Names<'_>,
) -> Result<(Layout, String), String> {
    let (i, o) = (shape.inputs(), shape.outputs());
    let fits = |layout| match layout {
        Layout::OutIn => tensor.shape() == [o, i],
        Layout::InOut => tensor.shape() == [i, o],
    };
    let misfit = || {
        format!(
            "tensor {} has shape {:?}; {i} inputs and {o} units need [{o}, {i}] or [{i}, {o}]",
            tensor.name(),
            tensor.shape()
        )
    };
    if let Some(layout) = forced {
        let why = "as told".to_owned();
        return if fits(layout) { Ok((layout, why)) } else { Err(misfit()) };
    }
    match (fits(Layout::OutIn), fits(Layout::InOut)) {
        (true, false) => Ok((Layout::OutIn, "the shape".to_owned())),
        (false, true) => Ok((Layout::InOut, "the shape".to_owned())),
        (false, false) => Err(misfit()),
        (true, true) => {
            let part = names.part(tensor.own_name(), tensor.shape(), None)?;
            let layout = part.layout.ok_or_else(|| {
                format!("tensor {} is square, and its name does not tell the order of its axes; give --layout", tensor.name())
            })?;
            Ok((layout, part.why))
        }
    }
}

fn unused(tensors: &[Tensor], among: &[usize], layers: &[StackLayer]) -> Vec<String> {
    let used = |i: usize| layers.iter().any(|l| l.weight == i || l.bias == Some(i));
    among.iter().filter(|&&i| !used(i)).map(|&i| tensors[i].name().to_owned()).collect()
}

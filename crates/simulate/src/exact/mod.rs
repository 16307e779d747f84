//! One draw of a network without its weights.
//!
//! Between weight layers everything happens as in the dense pass; a weight layer itself is
//! [`sampled::Sampled`]. Pre-activations are drawn again on the way back instead of kept, so that a chain
//! of dense layers needs memory for one layer's signals and B^2 numbers of every other.

#[cfg(test)]
mod agreement;
mod arena;
mod backward;
mod coefficients;
mod conditioned;
#[cfg(test)]
mod cosines;
mod factor;
mod fault;
mod lanes;
mod layer;
mod narrow;
mod products;
mod sampled;
mod signal;
mod sums;
#[cfg(test)]
mod tests;
mod watch;

use gainstage_init::{Key, Purpose, fill_bias, fill_bias_f64};
use gainstage_spec::{Activation, Dense, Initializer, Layer, Network, WeightShape};

use crate::inputs;
use crate::kernel::{self, NormAxis};
use crate::method::{WeightLaw, follows_dense};
use crate::pass::Observer;
use crate::trace::{Breakdown, Draw, Energy, LayerDraw};
use crate::vector::dispatch;
use crate::{Precision, Setup, SimulateError};
pub(crate) use arena::Arena;
use layer::{Forward, Gram};
pub(crate) use products::products;
use sampled::{Place, Sampled};
use signal::Layout;
use watch::{ForwardWatch, diagonal};

/// A draw in progress.
struct Pass<'a> {
    setup: &'a Setup,
    trial: u32,
    layout: Layout,
    shapes: &'a [WeightShape],
    laws: &'a [WeightLaw],
    arena: &'a mut Arena,
    traces: Vec<Option<LayerDraw>>,
    breakdowns: [Option<Breakdown>; 2],
    next_dense: usize,
    /// Where the next layer's normals stay.
    next_normals: Option<usize>,
    next_dropout: u32,
}

/// A signal: its values unless a dense layer follows straight on the one it comes from, and its Gram
/// where that is known already.
#[derive(Clone)]
struct Signal {
    values: Vec<f64>,
    gram: Option<Vec<f64>>,
    width: usize,
}

/// What the backward pass needs of a layer.
enum Saved<'n> {
    Dense {
        dense: &'n Dense,
        sampled: Box<Sampled>,
        /// None if it is the activation of the dense layer before.
        input: Option<Vec<f64>>,
    },
    Activation {
        function: &'n Activation,
        z: Vec<f64>,
    },
    Dropout {
        factors: Vec<f64>,
    },
    Norm {
        axis: NormAxis,
        normalized: Vec<f64>,
        factors: Vec<f64>,
        width: usize,
    },
    Residual {
        scale: f64,
        branch: Vec<Saved<'n>>,
    },
}

/// Draws one trial forward and backward and notes every layer, as the dense pass does.
pub(crate) fn draw(
    network: &Network,
    shapes: &[WeightShape],
    laws: &[WeightLaw],
    setup: &Setup,
    trial: u32,
    arena: &mut Arena,
    observer: &mut dyn Observer<f64>,
) -> Result<Draw, SimulateError> {
    Ok(draw_with(network, shapes, laws, setup, trial, None, arena, observer)?.0)
}

/// As [`draw`] with given error signals, `batch x output`; returns dL/dx too, `batch x input`.
#[allow(clippy::too_many_arguments)] // a draw is all of this, and nothing else takes it
pub(crate) fn draw_with(
    network: &Network,
    shapes: &[WeightShape],
    laws: &[WeightLaw],
    setup: &Setup,
    trial: u32,
    error: Option<&[f64]>,
    arena: &mut Arena,
    observer: &mut dyn Observer<f64>,
) -> Result<(Draw, Vec<f64>), SimulateError> {
    let layout = Layout::new(setup.batch);
    let mut pass = Pass::new(shapes, laws, setup, layout, trial, arena);
    // In f32 the inputs and error signals are those of the dense pass.
    let wide = f64::from;
    let values = match setup.precision {
        Precision::F64 => layout.of_rows(&inputs::rows::<f64>(setup, trial, network.input)?, |v| v),
        _ => layout.of_rows(&inputs::rows::<f32>(setup, trial, network.input)?, wide),
    };
    let signal = Signal { values, gram: None, width: network.input };
    let (output, saved) = pass.forward(&network.layers, signal, observer)?;
    let error = match (error, setup.precision) {
        (Some(error), _) => layout.of_rows(error, |v| v),
        (None, Precision::F64) => {
            layout.of_rows(&inputs::error_signals::<f64>(setup, trial, output.width)?, |v| v)
        }
        (None, _) => {
            layout.of_rows(&inputs::error_signals::<f32>(setup, trial, output.width)?, wide)
        }
    };
    let gradient = pass.backward(saved, error, observer)?;
    let gram = dispatch(Gram { layout, values: &gradient });
    let input_gradient = Energy::of_each(diagonal(&gram, setup.batch, network.input));
    // Every dense layer is visited once in each direction.
    let layers = pass.traces.into_iter().flatten().collect();
    let breakdowns = pass.breakdowns.into_iter().flatten().collect();
    Ok((Draw { layers, breakdowns, input_gradient }, layout.to_rows(&gradient)))
}

impl<'a> Pass<'a> {
    /// `setup.batch` is the batch of the layout, whatever its columns are.
    fn new(
        shapes: &'a [WeightShape],
        laws: &'a [WeightLaw],
        setup: &'a Setup,
        layout: Layout,
        trial: u32,
        arena: &'a mut Arena,
    ) -> Self {
        let widest = shapes.iter().map(|s| s.inputs().max(s.outputs())).max().unwrap_or(0);
        let total: usize = shapes.iter().map(|s| s.outputs().saturating_mul(layout.batch)).sum();
        let keeps = total <= arena.most_kept;
        let widest = widest.max(layout.chunk()) * layout.batch;
        arena.reserve(widest, if keeps { total } else { 0 });
        Self {
            setup,
            trial,
            layout,
            shapes,
            laws,
            arena,
            traces: vec![None; shapes.len()],
            breakdowns: [None; 2],
            next_dense: 0,
            next_normals: keeps.then_some(0),
            next_dropout: 0,
        }
    }

    fn forward<'n>(
        &mut self,
        layers: &'n [Layer],
        mut signal: Signal,
        observer: &mut dyn Observer<f64>,
    ) -> Result<(Signal, Vec<Saved<'n>>), SimulateError> {
        let mut saved = Vec::with_capacity(layers.len());
        for (at, layer) in layers.iter().enumerate() {
            let save = match layer {
                Layer::Dense(dense) => {
                    let straight_from = follows_dense(layers, at);
                    let straight_to = matches!(layers.get(at + 1), Some(Layer::Dense(_)));
                    let (next, sampled) =
                        self.dense_forward(dense, &mut signal, !straight_to, observer)?;
                    let input = (!straight_from).then(|| std::mem::take(&mut signal.values));
                    signal = next;
                    saved.push(Saved::Dense { dense, sampled, input });
                    continue;
                }
                Layer::Activation { function } => {
                    let z = signal.values.clone();
                    for at in self.layout.spans(signal.width) {
                        self.layout.activate(function, &z[at.clone()], &mut signal.values[at]);
                    }
                    Saved::Activation { function, z }
                }
                Layer::Dropout { keep } => {
                    let key =
                        Key::new(self.setup.seed, Purpose::Dropout, self.trial, self.next_dropout);
                    self.next_dropout += 1;
                    let rows = inputs::dropout_factors(key, *keep, signal.values.len())?;
                    let factors = self.layout.of_rows(&rows, |v: f64| v);
                    signal.values.iter_mut().zip(&factors).for_each(|(h, f)| *h *= f);
                    Saved::Dropout { factors }
                }
                Layer::BatchNorm { epsilon } => {
                    self.normalize(&mut signal, NormAxis::Batch, *epsilon)
                }
                Layer::LayerNorm { epsilon } => {
                    self.normalize(&mut signal, NormAxis::Units, *epsilon)
                }
                Layer::RmsNorm { epsilon } => {
                    self.normalize(&mut signal, NormAxis::UnitsUncentred, *epsilon)
                }
                Layer::Residual { scale, branch } => {
                    let (end, branch) = self.forward(branch, signal.clone(), observer)?;
                    signal.values.iter_mut().zip(&end.values).for_each(|(h, b)| *h += scale * b);
                    Saved::Residual { scale: *scale, branch }
                }
                other => return Err(SimulateError::UnknownLayer(format!("{other:?}"))),
            };
            signal.gram = None;
            saved.push(save);
        }
        Ok((signal, saved))
    }

    fn dense_forward(
        &mut self,
        dense: &Dense,
        signal: &mut Signal,
        keep: bool,
        observer: &mut dyn Observer<f64>,
    ) -> Result<(Signal, Box<Sampled>), SimulateError> {
        let index = self.next_dense;
        self.next_dense += 1;
        let (layout, batch) = (self.layout, self.setup.batch);
        let gram = match signal.gram.take() {
            Some(gram) => gram,
            None => dispatch(Gram { layout, values: &signal.values }),
        };
        let (seed, trial, kept) = (self.setup.seed, self.trial, self.next_normals);
        let place = Place { seed, trial, index: index as u32, kept };
        self.next_normals = kept.map(|at| at + dense.width * batch);
        let law = self.laws[index];
        let fans = (signal.width, dense.width);
        let sampled = Box::new(Sampled::new(law, place, fans, gram, layout, self.limited()));
        let bias = self.bias(index, dense)?;
        let mut values = Vec::with_capacity(if keep { dense.width * batch } else { 0 });
        let mut watch = ForwardWatch::new(index, batch, dense, self.setup.moments, observer);
        let gram = dispatch(Forward {
            layer: &sampled,
            bias: bias.as_deref(),
            phi: &dense.activation,
            last: index + 1 == self.shapes.len(),
            layout,
            arena: self.arena,
            keep: keep.then_some(&mut values),
            watch: &mut watch,
        });
        let (trace, seen) = watch.finish(&gram, &sampled.gram);
        self.traces[index] = Some(trace);
        let alive = sampled.law.is_alive() && sampled.gram.iter().any(|&v| v > 0.0);
        self.note_breakdown(index, false, seen, alive);
        let gram = Some(gram);
        Ok((Signal { values, gram, width: dense.width }, sampled))
    }

    fn limited(&self) -> bool {
        self.setup.precision != Precision::F64
    }

    /// The biases of a layer, those of the dense pass in the same precision.
    fn bias(&self, index: usize, dense: &Dense) -> Result<Option<Vec<f64>>, SimulateError> {
        if dense.bias == Initializer::zeros() {
            return Ok(None);
        }
        let key = Key::new(self.setup.seed, Purpose::Biases, self.trial, index as u32);
        let shape = &self.shapes[index];
        let failed = |e: gainstage_init::InitError| SimulateError::Weights {
            layer: index + 1,
            reason: e.to_string(),
        };
        let mut bias = vec![0.0f64; dense.width];
        if self.setup.precision == Precision::F64 {
            fill_bias_f64(&dense.bias, shape, key, &mut bias).map_err(failed)?;
        } else {
            let mut narrow = vec![0.0f32; dense.width];
            fill_bias(&dense.bias, shape, key, &mut narrow).map_err(failed)?;
            bias.iter_mut().zip(&narrow).for_each(|(b, &n)| *b = f64::from(n));
        }
        Ok(Some(bias))
    }

    fn normalize<'n>(&self, signal: &mut Signal, axis: NormAxis, epsilon: f64) -> Saved<'n> {
        let width = signal.width;
        let mut normalized = self.layout.to_rows(&signal.values);
        let along = normalized.split_off(self.layout.inputs() * width);
        let factors = kernel::normalize(&mut normalized, width, axis, epsilon);
        let mut rows = normalized.clone();
        rows.extend(along);
        // The derivative is symmetric: tangents go forward as gradients go back.
        let tangents = rows[self.layout.inputs() * width..].chunks_exact_mut(width);
        tangents.for_each(|t| kernel::normalize_back(t, &normalized, &factors, width, axis));
        signal.values = self.layout.of_rows(&rows, |v| v);
        Saved::Norm { axis, normalized, factors, width }
    }
}

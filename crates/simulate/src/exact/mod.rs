//! One draw of a network without its weights.
//!
//! Between weight layers everything happens as in the dense pass; a weight layer itself is
//! [`layer::Sampled`]. Pre-activations are drawn again on the way back instead of kept, so that a chain
//! of dense layers needs memory for one layer's signals and B^2 numbers of every other.

#[cfg(test)]
mod agreement;
mod factor;
mod lanes;
mod layer;
mod narrow;
mod products;
mod signal;
#[cfg(test)]
mod tests;
mod vector;
mod watch;

use gainstage_init::{Key, Purpose, fill_bias, fill_bias_f64};
use gainstage_spec::{Activation, Dense, Initializer, Layer, Network, WeightShape};
use gainstage_stats::Moments;

use crate::inputs;
use crate::kernel::{self, NormAxis};
use crate::method::{WeightLaw, follows_dense};
use crate::pass::Observer;
use crate::trace::{Breakdown, BreakdownKind, Draw, Energy, LayerDraw};
use crate::{Precision, Setup, SimulateError};
pub(crate) use layer::Arena;
use layer::{Enter, Entered, Forward, Gram, Leave, Place, Sampled, Source};
pub(crate) use products::products;
use signal::Layout;
use vector::dispatch;
use watch::{BackwardWatch, ForwardWatch, Seen, diagonal};

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

/// The gradient on its way back.
enum Flow {
    /// With respect to the output of what comes next.
    Values(Vec<f64>),
    /// Already at the pre-activation of the dense layer that comes next.
    Entered(Entered),
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

    fn backward(
        &mut self,
        mut saved: Vec<Saved<'_>>,
        gradient: Vec<f64>,
        observer: &mut dyn Observer<f64>,
    ) -> Result<Vec<f64>, SimulateError> {
        let mut flow = Flow::Values(gradient);
        while let Some(layer) = saved.pop() {
            let mut gradient = match (layer, flow) {
                (Saved::Dense { dense, sampled, input }, now) => {
                    let entered = match now {
                        Flow::Entered(entered) => entered,
                        Flow::Values(gradient) => {
                            self.enter(dense, &sampled, gradient, observer)?
                        }
                    };
                    let below = match (&input, saved.last()) {
                        (None, Some(Saved::Dense { dense, sampled, .. })) => {
                            Some((*dense, &**sampled))
                        }
                        _ => None,
                    };
                    let input = input.unwrap_or_default();
                    flow = self.leave(&sampled, &entered, &input, below, observer)?;
                    continue;
                }
                // Only a dense layer that follows one is entered early.
                (_, Flow::Entered(_)) => Vec::new(),
                (Saved::Activation { function, z }, Flow::Values(mut gradient)) => {
                    for at in self.layout.spans(z.len() / self.layout.batch) {
                        self.layout.pull_back(function, &z[at.clone()], &mut gradient[at]);
                    }
                    gradient
                }
                (Saved::Dropout { factors }, Flow::Values(mut gradient)) => {
                    gradient.iter_mut().zip(&factors).for_each(|(g, f)| *g *= f);
                    gradient
                }
                (Saved::Norm { axis, normalized, factors, width }, Flow::Values(gradient)) => {
                    let mut rows = self.layout.to_rows(&gradient);
                    for rows in rows.chunks_exact_mut(normalized.len()) {
                        kernel::normalize_back(rows, &normalized, &factors, width, axis);
                    }
                    self.layout.of_rows(&rows, |v| v)
                }
                (Saved::Residual { scale, branch }, Flow::Values(mut gradient)) => {
                    let into = gradient.iter().map(|g| scale * g).collect();
                    let from_branch = self.backward(branch, into, observer)?;
                    gradient.iter_mut().zip(&from_branch).for_each(|(g, b)| *g += b);
                    gradient
                }
            };
            if self.limited() {
                // What leaves the range of f32 does so here too.
                gradient
                    .iter_mut()
                    .filter(|g| !(1e-30..1e30).contains(&g.abs()))
                    .for_each(|g| *g = f64::from(*g as f32));
            }
            flow = Flow::Values(gradient);
        }
        Ok(match flow {
            Flow::Values(gradient) => gradient,
            Flow::Entered(_) => Vec::new(),
        })
    }

    fn enter(
        &mut self,
        dense: &Dense,
        sampled: &Sampled,
        mut gradient: Vec<f64>,
        observer: &mut dyn Observer<f64>,
    ) -> Result<Entered, SimulateError> {
        let index = sampled.place.index as usize;
        let bias = self.bias(index, dense)?;
        let mut watch = BackwardWatch::new(Some(index), self.setup.moments, observer);
        // The injected signal is dL/dz of the last dense layer whatever its activation.
        let phi = (index + 1 < self.shapes.len()).then_some(&dense.activation);
        let entered = dispatch(Enter {
            layer: sampled,
            bias: bias.as_deref(),
            phi,
            layout: self.layout,
            arena: self.arena,
            gradient: &mut gradient,
            watch: &mut watch,
        });
        let moments = watch.moments;
        self.note_error_signal(sampled, &entered, moments);
        Ok(entered)
    }

    fn leave(
        &mut self,
        sampled: &Sampled,
        entered: &Entered,
        input: &[f64],
        below: Option<(&Dense, &Sampled)>,
        observer: &mut dyn Observer<f64>,
    ) -> Result<Flow, SimulateError> {
        let index = sampled.place.index as usize;
        let bias = match below {
            Some((dense, _)) => self.bias(index - 1, dense)?,
            None => None,
        };
        let source = match below {
            None => Source::Kept(input),
            Some((dense, layer)) => {
                Source::Below { layer, bias: bias.as_deref(), phi: &dense.activation }
            }
        };
        let (limited, mut gradient) = (self.limited(), Vec::new());
        let below_index = below.map(|_| index - 1);
        let mut watch = BackwardWatch::new(below_index, self.setup.moments, observer);
        let next = dispatch(Leave {
            layer: sampled,
            entered,
            source,
            layout: self.layout,
            arena: self.arena,
            limited,
            gradient: &mut gradient,
            watch: &mut watch,
        });
        let (seen, moments) = (watch.arriving, watch.moments);
        let alive = sampled.law.is_alive() && entered.gram.iter().any(|&v| v > 0.0);
        // What arrives below belongs to the next layer down; layer 0 is the input.
        if let Some(seen) = seen {
            self.note_breakdown(index.wrapping_sub(1), true, seen, alive);
        }
        Ok(match (next, below) {
            (Some(entered), Some((_, below))) => {
                self.note_error_signal(below, &entered, moments);
                Flow::Entered(entered)
            }
            _ => Flow::Values(gradient),
        })
    }

    fn note_error_signal(&mut self, sampled: &Sampled, entered: &Entered, moments: Moments) {
        let batch = self.setup.batch;
        let deltas = diagonal(&entered.gram, batch, sampled.fan_out);
        let incoming = diagonal(&sampled.gram, batch, sampled.fan_in);
        let by_weight = deltas.clone().zip(incoming).map(|(d, h)| d * h);
        let whole: f64 = entered.gram.iter().zip(&sampled.gram).map(|(d, h)| d * h).sum();
        if let Some(trace) = &mut self.traces[sampled.place.index as usize] {
            trace.gradient = Energy::of_each(deltas);
            trace.weight_gradient = Energy::of_each(by_weight);
            trace.batch_weight_gradient =
                Some(whole / (sampled.fan_in as f64 * sampled.fan_out as f64));
            if let Some(of_layer) = &mut trace.moments {
                of_layer.error_signal = moments;
            }
        }
    }

    fn note_breakdown(&mut self, index: usize, backward: bool, seen: Seen, alive_before: bool) {
        let slot = &mut self.breakdowns[usize::from(backward)];
        if slot.is_some() {
            return;
        }
        let kind = if seen.not_finite {
            BreakdownKind::Overflow
        } else if alive_before && seen.all_zero {
            BreakdownKind::Underflow
        } else {
            return;
        };
        *slot = Some(Breakdown { kind, layer: index.wrapping_add(1), backward });
    }
}

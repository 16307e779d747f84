//! How a dense layer learns: its gradient over the batch, and the optimiser's update.

use gainstage_simulate::{Matrix, transpose};

use crate::block::{Block, largest};
use crate::kernel::{self, Left, LitGradient, Start};
use crate::lines::Lines;
use crate::lists::Lists;
use crate::model::Parameters;
use crate::schedule::Schedule;
use crate::step::Step;
use crate::{Clip, Protocol};

/// Rows of weights whose gradient is taken at a time, so that it need not leave the nearest cache before the
/// update.
const PANEL: usize = 16;

/// Both slots of the optimiser for a layer's weights and biases.
pub(crate) struct Slots {
    pub(crate) weights: [Lines; 2],
    pub(crate) bias: [Lines; 2],
}

impl Slots {
    fn new(layer: &Parameters) -> Self {
        let slots = |parameters: &[f32]| [(); 2].map(|()| Lines::zeros(parameters.len()));
        Self { weights: slots(&layer.weights), bias: slots(&layer.bias) }
    }
}

/// What a dense layer needs beside its parameters in order to learn.
pub(crate) struct Learning {
    pub(crate) slots: Slots,
    /// The weights as `[unit, input]`, which the way back multiplies with; empty where it ends.
    pub(crate) transposed: Lines,
    gradient: Gradient,
}

struct Gradient {
    /// Of all weights if updates wait for all gradients, else of a panel.
    weights: Lines,
    bias: Lines,
    /// Values of `weights` in use.
    used: usize,
    /// A row of zeros.
    zeros: Lines,
}

/// A batch after the way back, as one dense layer sees it.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) blocks: &'a [Block],
    /// The layer's operation.
    pub(crate) index: usize,
    pub(crate) widths: &'a [usize],
    pub(crate) lit: Option<SeenLit<'a>>,
    /// Whether the largest gradient is asked for.
    pub(crate) watched: bool,
}

/// The batch of a first layer that reads lit pixels.
#[derive(Clone, Copy)]
pub(crate) struct SeenLit<'a> {
    pub(crate) lists: &'a Lists,
    pub(crate) grey: &'a [f32; 256],
    /// All blocks' error signals, one after the other.
    pub(crate) errors: &'a [f32],
}

/// Whether a step's updates wait until all gradients are known.
pub(crate) fn waits(protocol: &Protocol, looks: bool) -> bool {
    protocol.clip.is_some() || looks
}

impl Learning {
    /// `first` for the layer of the first operation, which passes nothing back.
    pub(crate) fn new(layer: &Parameters, protocol: &Protocol, first: bool, sparse: bool) -> Self {
        let all = waits(protocol, protocol.watch_layers);
        let panel = if first && sparse { 0 } else { PANEL * layer.units };
        let room = if all { layer.weights.len() } else { panel.min(layer.weights.len()) };
        let transposed = if first { Lines::default() } else { layer.weights.clone() };
        let gradient = Gradient {
            weights: Lines::zeros(room),
            bias: Lines::zeros(layer.units),
            used: 0,
            zeros: Lines::zeros(layer.units),
        };
        let mut new = Self { slots: Slots::new(layer), transposed, gradient };
        new.follow(layer);
        new
    }

    /// Brings the transposed weights up to date.
    pub(crate) fn follow(&mut self, layer: &Parameters) {
        if !self.transposed.is_empty() {
            transpose(
                &mut self.transposed,
                layer.inputs,
                Matrix::new(&layer.weights, layer.inputs, layer.units),
            );
        }
    }

    /// Lets rows of weights take the steps in which their gradients were zero.
    pub(crate) fn catch_up(
        &mut self,
        rows: &[u16],
        taken: &mut [u32],
        schedule: &Schedule,
        layer: &mut Parameters,
    ) {
        let [m, v] = &mut self.slots.weights;
        kernel::catch_up(rows, taken, schedule, layer.units, &mut layer.weights, m, v);
    }

    /// Gradient and update; the largest magnitude of a weight's gradient above the first layer, if
    /// watched.
    pub(crate) fn learn(&mut self, layer: &mut Parameters, seen: Seen<'_>, step: Step) -> f32 {
        let units = layer.units;
        let Gradient { weights: gradient, bias, zeros, .. } = &mut self.gradient;
        let [m, v] = &mut self.slots.weights;
        let mut greatest = 0.0;
        if let Some(SeenLit { lists, grey, errors }) = seen.lit {
            let gradient = LitGradient { lists, grey, delta: errors, zeros };
            gradient.update(step, bias, [&mut layer.weights, m, v]);
        } else {
            let panels = layer.weights.chunks_mut(PANEL * units);
            let slots = m.chunks_mut(PANEL * units).zip(v.chunks_mut(PANEL * units));
            for (panel, (w, (m, v))) in panels.zip(slots).enumerate() {
                let gradient = &mut gradient[..w.len()];
                let first = panel * PANEL;
                seen.gradient(layer.inputs, units, first..first + w.len() / units, gradient);
                if seen.watched {
                    greatest = largest(greatest, gradient);
                }
                kernel::update(step, w, m, v, gradient);
            }
        }
        seen.bias_gradient(units, bias);
        let [m, v] = &mut self.slots.bias;
        kernel::update(step, &mut layer.bias, m, v, bias);
        self.follow(layer);
        greatest
    }

    /// The gradient alone; [`Learning::update`] follows.
    pub(crate) fn find_gradient(&mut self, layer: &Parameters, seen: Seen<'_>) -> f32 {
        let Gradient { weights, bias, used, zeros } = &mut self.gradient;
        let mut greatest = 0.0;
        if let Some(SeenLit { lists, grey, errors }) = seen.lit {
            *used = lists.lit().len() * layer.units;
            LitGradient { lists, grey, delta: errors, zeros }.write(&mut weights[..*used]);
        } else {
            *used = weights.len();
            seen.gradient(layer.inputs, layer.units, 0..layer.inputs, weights);
            if seen.watched {
                greatest = largest(greatest, weights);
            }
        }
        seen.bias_gradient(layer.units, bias);
        greatest
    }

    /// The update by the gradient that was found; `lit` are the rows that it has.
    pub(crate) fn update(&mut self, layer: &mut Parameters, lit: Option<&[u16]>, step: Step) {
        let gradient = &self.gradient.weights[..self.gradient.used];
        let [m, v] = &mut self.slots.weights;
        if let Some(lit) = lit {
            for (&pixel, gradient) in lit.iter().zip(gradient.chunks_exact(layer.units)) {
                let row = usize::from(pixel) * layer.units..(usize::from(pixel) + 1) * layer.units;
                let (w, m, v) = (&mut layer.weights[row.clone()], &mut m[row.clone()], &mut v[row]);
                kernel::update(step, w, m, v, gradient);
            }
        } else {
            kernel::update(step, &mut layer.weights, m, v, gradient);
        }
        let [m, v] = &mut self.slots.bias;
        kernel::update(step, &mut layer.bias, m, v, &self.gradient.bias);
        self.follow(layer);
    }

    /// Norm of the gradient that was found, weights and biases together.
    pub(crate) fn norm(&self) -> f64 {
        let weights = &self.gradient.weights[..self.gradient.used];
        (sum_of_squares(weights) + sum_of_squares(&self.gradient.bias)).sqrt()
    }

    fn values_mut(&mut self) -> impl Iterator<Item = &mut f32> {
        let Gradient { weights, bias, used, .. } = &mut self.gradient;
        weights[..*used].iter_mut().chain(bias.iter_mut())
    }
}

impl Seen<'_> {
    /// dL/dW of these rows of weights, summed over the samples in their order.
    fn gradient(
        self,
        inputs: usize,
        units: usize,
        rows: std::ops::Range<usize>,
        gradient: &mut [f32],
    ) {
        let mut start = Start::Zero;
        for block in self.blocks.iter().filter(|b| b.n > 0) {
            let h = block.tape.value(self.index, block.n, self.widths);
            let left = Left::columns(h, inputs, rows.clone());
            kernel::product(start, left, block.errors(self.index, units), gradient);
            start = Start::Kept;
        }
    }

    fn bias_gradient(self, units: usize, gradient: &mut [f32]) {
        gradient.fill(0.0);
        self.blocks.iter().for_each(|b| kernel::add_rows(b.errors(self.index, units), gradient));
    }
}

/// Brings all gradients that were found within a bound.
pub(crate) fn clip(layers: &mut [Learning], clip: Option<Clip>) {
    match clip {
        None => {}
        Some(Clip::Value { bound }) => {
            let bound = bound as f32;
            let values = layers.iter_mut().flat_map(Learning::values_mut);
            values.for_each(|g| *g = g.clamp(-bound, bound));
        }
        Some(Clip::Norm { bound }) => {
            let norm = layers.iter().map(|l| l.norm().powi(2)).sum::<f64>().sqrt();
            if norm > bound {
                let factor = (bound / norm) as f32;
                layers.iter_mut().flat_map(Learning::values_mut).for_each(|g| *g *= factor);
            }
        }
    }
}

/// In sixteen partial sums, which are independent and so fast, and the same everywhere.
fn sum_of_squares(values: &[f32]) -> f64 {
    let (blocks, rest) = values.as_chunks::<16>();
    let mut sums = [0.0f64; 16];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, v)| *sum += f64::from(*v) * f64::from(*v));
    }
    rest.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() + sums.iter().sum::<f64>()
}

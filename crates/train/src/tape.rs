//! The forward pass, with everything kept that the backward pass needs.

use gainstage_init::{Key, Purpose};
use gainstage_spec::Activation;
use rand::RngExt;

use crate::kernel::{self, Curve, Left, Start};
use crate::lines::Lines;
use crate::norm::{BatchStatistics, normalize_batch, normalize_units};
use crate::program::Op;
use crate::{Images, Model};

/// Room for one batch: the input, if it is not read from lists, and what every operation leaves.
pub(crate) struct Tape {
    pub(crate) input: Lines,
    pub(crate) slots: Vec<Slot>,
}

/// What an operation leaves.
#[derive(Default)]
pub(crate) struct Slot {
    /// Pre-activations of a dense layer; its error signals dL/dz after the way back.
    pub(crate) z: Lines,
    /// The output.
    pub(crate) h: Lines,
    /// Factors of a dropout.
    pub(crate) mask: Vec<f32>,
    /// Factors of a normalization over units.
    pub(crate) factors: Vec<f64>,
    /// Of a normalization over the batch.
    pub(crate) statistics: BatchStatistics,
}

/// What differs between learning and looking.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mode {
    /// Dropout by the masks of a step, normalization by the batch.
    Train { seed: u64, step: u64 },
    /// No dropout, normalization by running statistics.
    Evaluate,
}

/// Where a sparse input lies.
#[derive(Clone, Copy)]
pub(crate) struct Lists<'a> {
    pub(crate) images: &'a Images,
    pub(crate) batch: &'a [u32],
    pub(crate) grey: &'a [f32; 256],
}

impl Tape {
    pub(crate) fn new(model: &Model, batch: usize, sparse: bool) -> Self {
        let program = &model.program;
        let slots = program.ops.iter().zip(&program.widths[1..]).map(|(op, width)| {
            let room = || Lines::zeros(batch * width);
            let mut slot = Slot { h: room(), ..Slot::default() };
            match op {
                Op::Dense { .. } => slot.z = room(),
                Op::Dropout { .. } => slot.mask = vec![0.0; batch * width],
                Op::Norm { .. } => slot.factors = vec![0.0; batch],
                Op::BatchNorm { .. } => slot.statistics = BatchStatistics::new(*width),
                Op::Activation { .. } | Op::Join { .. } => {}
            }
            slot
        });
        let input = Lines::zeros(if sparse { 0 } else { batch * program.widths[0] });
        Self { input, slots: slots.collect() }
    }

    /// A value of the last pass, `n` samples.
    pub(crate) fn value(&self, index: usize, n: usize, widths: &[usize]) -> &[f32] {
        let all = if index == 0 { &self.input } else { &self.slots[index - 1].h };
        &all[..n * widths[index]]
    }

    /// The network's outputs of the last pass.
    pub(crate) fn output(&self, values: usize) -> &[f32] {
        &self.slots[self.slots.len() - 1].h[..values]
    }
}

impl Model {
    /// Passes `n` samples, whose lists are given or whose numbers are in the tape's input.
    pub(crate) fn forward(&self, lists: Option<Lists<'_>>, n: usize, tape: &mut Tape, mode: Mode) {
        let widths = &self.program.widths;
        for (index, op) in self.program.ops.iter().enumerate() {
            let (before, from_here) = tape.slots.split_at_mut(index);
            let value = |v: usize| match v.checked_sub(1) {
                None => &tape.input[..],
                Some(slot) => &before[slot].h[..n * widths[v]],
            };
            let Slot { z, h, mask, factors, statistics } = &mut from_here[0];
            let width = widths[index + 1];
            let h = &mut h[..n * width];
            let below = value(index);
            match op {
                Op::Dense { layer } => {
                    let layer = &self.layers[*layer];
                    let z = &mut z[..n * width];
                    if let Some(Lists { images, batch, grey }) = lists.filter(|_| index == 0) {
                        kernel::forward(images, batch, grey, &layer.weights, &layer.bias, z);
                    } else {
                        let left = Left::rows(&below[..n * layer.inputs], layer.inputs);
                        kernel::product(Start::Row(&layer.bias), left, &layer.weights, z);
                    }
                    activate(&layer.activation, z, h);
                }
                Op::Activation { phi } => activate(phi, &below[..n * width], h),
                Op::Dropout { keep } => match mode {
                    Mode::Train { seed, step } => {
                        let mask = &mut mask[..h.len()];
                        // Steps beyond 2^32 would begin the masks again.
                        let key = Key::new(seed, Purpose::Dropout, step as u32, index as u32);
                        draw_mask(key, *keep, mask);
                        h.iter_mut().zip(below).zip(mask).for_each(|((h, x), m)| *h = x * *m);
                    }
                    Mode::Evaluate => h.copy_from_slice(&below[..n * width]),
                },
                Op::Norm { epsilon, centre } => {
                    let x = &below[..n * width];
                    normalize_units(x, h, &mut factors[..n], width, *epsilon, *centre);
                }
                Op::BatchNorm { epsilon, running } => {
                    let x = &below[..n * width];
                    if matches!(mode, Mode::Train { .. }) {
                        statistics.of(x);
                        let (mean, variance) = (|u| statistics.mean[u], |u| statistics.variance[u]);
                        normalize_batch(x, h, mean, variance, width, *epsilon);
                    } else {
                        let kept = &self.running[*running];
                        let mean = |u| f64::from(kept.mean[u]);
                        let variance = |u| f64::from(kept.variance[u]);
                        normalize_batch(x, h, mean, variance, width, *epsilon);
                    }
                }
                Op::Join { skip, scale } => {
                    let scale = *scale as f32;
                    let both = value(*skip).iter().zip(below);
                    h.iter_mut()
                        .zip(both)
                        .for_each(|(h, (skip, branch))| *h = skip + scale * branch);
                }
            }
        }
    }
}

/// Each unit is kept with probability `keep` and then divided by it.
fn draw_mask(key: Key, keep: f64, mask: &mut [f32]) {
    let mut stream = key.stream();
    let factor = (1.0 / keep) as f32;
    mask.iter_mut().for_each(|m| *m = if stream.random_bool(keep) { factor } else { 0.0 });
}

/// The activations that are vectorised; the others are computed in f64.
fn curve(phi: &Activation) -> Option<Curve> {
    if let Some((negative, positive)) = phi.slopes() {
        return Some(Curve::Slopes { negative: negative as f32, positive: positive as f32 });
    }
    match phi {
        Activation::Tanh => Some(Curve::Tanh),
        Activation::Sigmoid => Some(Curve::Sigmoid),
        Activation::Gelu => Some(Curve::Gelu),
        _ => None,
    }
}

/// `h = phi(z)`
fn activate(phi: &Activation, z: &[f32], h: &mut [f32]) {
    match curve(phi) {
        Some(curve) => kernel::squash(curve, z, h),
        None => gainstage_simulate::activate(phi, z, h),
    }
}

/// `delta *= phi'(z)`
pub(crate) fn pull_back(phi: &Activation, z: &[f32], delta: &mut [f32]) {
    match curve(phi) {
        _ if *phi == Activation::Linear => {}
        Some(curve) => kernel::squash_back(curve, z, delta),
        None => gainstage_simulate::pull_back(phi, z, delta),
    }
}

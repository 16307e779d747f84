//! Some samples of a batch on their way forward and back.
//!
//! Samples meet only in batch normalization and in the parameters' gradients. So a batch is divided
//! into blocks, which may pass on several cores, and every dense layer keeps their error signals until
//! its gradient is taken over all of them.

use crate::kernel::{self, Left, Start};
use crate::lines::Lines;
use crate::norm::{normalize_batch_back, normalize_units_back};
use crate::program::{Op, Program};
use crate::tape::{Lists, Mode, Tape, pull_back};
use crate::update::Learning;
use crate::{Data, Images, Model, Protocol};

/// Samples of a block, where blocks are possible.
const SAMPLES: usize = 32;

pub(crate) struct Block {
    pub(crate) tape: Tape,
    /// Samples of the last pass; none if the batch ended before.
    pub(crate) n: usize,
    /// Sum of their losses.
    pub(crate) loss: f64,
    /// How many of them were classified rightly.
    pub(crate) right: usize,
    /// Largest magnitude of a hidden layer's error signal, if gradients are watched.
    pub(crate) largest: f32,
    /// Gradient by the value at hand, and room for the one below.
    delta: Lines,
    below: Lines,
    /// Per operation, the gradient that a join sends around its branch.
    around: Vec<Vec<f32>>,
}

/// What is the same for all blocks of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) model: &'a Model,
    /// Of its dense layers.
    pub(crate) learning: &'a [Learning],
    pub(crate) protocol: &'a Protocol,
    pub(crate) data: Data<'a>,
    /// The images, if the first layer reads lit pixels.
    pub(crate) sparse: Option<&'a Images>,
    pub(crate) grey: &'a [f32; 256],
    pub(crate) mode: Mode,
    /// Samples of the whole batch.
    pub(crate) batch: usize,
}

/// Samples of one block for a program and its protocol.
///
/// Batch normalization and the traces of layers see the whole batch, and dropout draws its masks in
/// one sequence for all of it.
pub(crate) fn samples_of_block(program: &Program, protocol: &Protocol, batch: usize) -> usize {
    let meets = |op: &Op| matches!(op, Op::BatchNorm { .. } | Op::Dropout { .. });
    let whole = protocol.watch_layers || program.ops.iter().any(meets);
    if whole { batch } else { batch.min(SAMPLES) }
}

impl Block {
    pub(crate) fn new(model: &Model, samples: usize, sparse: bool) -> Self {
        let widths = &model.program.widths;
        let room = samples * widths.iter().copied().max().unwrap_or(0);
        let around = model.program.ops.iter().zip(&widths[1..]).map(|(op, width)| match op {
            Op::Join { .. } => vec![0.0; samples * width],
            _ => Vec::new(),
        });
        Self {
            tape: Tape::new(model, samples, sparse),
            n: 0,
            loss: 0.0,
            right: 0,
            largest: 0.0,
            delta: Lines::zeros(room),
            below: Lines::zeros(room),
            around: around.collect(),
        }
    }

    /// Forward, and the loss with its gradient by the outputs.
    pub(crate) fn forward(&mut self, pass: Pass<'_>, samples: &[u32]) {
        let (n, outputs) = (samples.len(), pass.model.outputs());
        (self.n, self.loss, self.right, self.largest) = (n, 0.0, 0, 0.0);
        let lists = if let Some(images) = pass.sparse {
            Some(Lists { images, batch: samples, grey: pass.grey })
        } else {
            pass.data.copy(samples, pass.grey, &mut self.tape.input);
            None
        };
        pass.model.forward(lists, n, &mut self.tape, pass.mode);

        self.delta[..n * outputs].copy_from_slice(self.tape.output(n * outputs));
        for (row, &sample) in self.delta.chunks_exact_mut(outputs).zip(samples) {
            let target = pass.data.target(sample);
            let (one, hit) = pass.protocol.loss.derive(row, target, 1.0 / pass.batch as f32);
            self.loss += one;
            self.right += usize::from(hit);
        }
    }

    /// Back to the first layer; leaves every dense layer's error signals in place of its
    /// pre-activations.
    pub(crate) fn backward(&mut self, pass: Pass<'_>) {
        for index in (0..pass.model.program.ops.len()).rev() {
            self.back(index, pass);
        }
    }

    /// One operation: turns the gradient by its output, in `delta`, into that by its input.
    fn back(&mut self, index: usize, pass: Pass<'_>) {
        let program = &pass.model.program;
        let (n, width) = (self.n, program.widths[index + 1]);
        let delta = &mut self.delta[..n * width];
        match &program.ops[index] {
            Op::Dense { layer } => {
                let number = *layer;
                let layer = &pass.model.layers[number];
                let z = &mut self.tape.slots[index].z[..delta.len()];
                pull_back(&layer.activation, z, delta);
                z.copy_from_slice(delta);
                if pass.protocol.watch_gradients && number + 1 < pass.model.layers.len() {
                    self.largest = largest(self.largest, delta);
                }
                if index > 0 {
                    let below = &mut self.below[..n * layer.inputs];
                    let left = Left::rows(delta, width);
                    kernel::product(Start::Zero, left, &pass.learning[number].transposed, below);
                    std::mem::swap(&mut self.delta, &mut self.below);
                }
            }
            Op::Activation { phi } => {
                pull_back(phi, self.tape.value(index, n, &program.widths), delta);
            }
            Op::Dropout { .. } => {
                let mask = &self.tape.slots[index].mask;
                delta.iter_mut().zip(mask).for_each(|(d, m)| *d *= m);
            }
            Op::Norm { centre, .. } => {
                let slot = &self.tape.slots[index];
                normalize_units_back(delta, &slot.h, &slot.factors, width, *centre);
            }
            Op::BatchNorm { epsilon, .. } => {
                let slot = &self.tape.slots[index];
                normalize_batch_back(delta, &slot.h[..n * width], &slot.statistics, *epsilon);
            }
            Op::Join { scale, .. } => {
                self.around[index][..delta.len()].copy_from_slice(delta);
                delta.iter_mut().for_each(|d| *d *= *scale as f32);
            }
        }
        for &join in &program.joins[index] {
            let around = &self.around[join];
            self.delta.iter_mut().zip(around).for_each(|(d, a)| *d += a);
        }
    }
}

impl Block {
    /// Without samples, where the batch has ended before.
    pub(crate) fn clear(&mut self) {
        (self.n, self.loss, self.right, self.largest) = (0, 0.0, 0, 0.0);
    }

    /// dL/dz of a dense layer after the way back, `[sample, unit]`; `index` is its operation.
    pub(crate) fn errors(&self, index: usize, units: usize) -> &[f32] {
        &self.tape.slots[index].z[..self.n * units]
    }
}

/// The largest magnitude so far; NaN counts as larger than all.
pub(crate) fn largest(so_far: f32, values: &[f32]) -> f32 {
    values.iter().fold(so_far, |a, v| if v.abs() > a || v.is_nan() { v.abs() } else { a })
}

//! What one step does to every dense layer.

use serde::{Deserialize, Serialize};

use crate::block::Block;
use crate::model::{Model, Parameters};
use crate::program::Op;
use crate::tape::Tape;

/// A dense layer in one step, over the samples of the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerTrace {
    /// Second moment of the pre-activations.
    pub pre_activation: f64,
    /// Second moment of the activations.
    pub activation: f64,
    /// Second moment of the error signal dL/dz of single samples.
    pub error_signal: f64,
    /// Norm of the gradient of the batch's mean loss, weights and biases together.
    pub gradient_norm: f64,
    /// Norm of the update of the weights over the norm of the weights; 0 for weights that are zero.
    pub update_ratio: f64,
    /// Share of units whose derivative is zero for every sample; `None` if it never is.
    pub dead: Option<f64>,
    /// Share of activations within 2.5% of the range of either end; `None` without bounds.
    pub saturated: Option<f64>,
}

/// The layers' traces of the step at hand, if it looks.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) looks: bool,
    pub(crate) layers: Vec<LayerTrace>,
    weights: Vec<f32>,
}

impl Watch {
    pub(crate) fn forward(&mut self, model: &Model, tape: &Tape, n: usize) {
        self.layers.clear();
        for (op, slot) in model.program.ops.iter().zip(&tape.slots) {
            let Op::Dense { layer } = op else { continue };
            let layer = &model.layers[*layer];
            let (z, h) = (&slot.z[..n * layer.units], &slot.h[..n * layer.units]);
            let phi = &layer.activation;
            let flat = |v: f32| phi.derivative(f64::from(v)) == 0.0;
            let can_die = flat(-10.0) || flat(10.0);
            let dead = || {
                let dead = (0..layer.units)
                    .filter(|unit| z[*unit..].iter().step_by(layer.units).all(|z| flat(*z)));
                dead.count() as f64 / layer.units as f64
            };
            let saturated = phi.saturation_bounds().map(|(low, high)| {
                let out = h.iter().filter(|h| !(low..=high).contains(&f64::from(**h)));
                out.count() as f64 / h.len() as f64
            });
            self.layers.push(LayerTrace {
                pre_activation: mean_square(z),
                activation: mean_square(h),
                dead: can_die.then(dead),
                saturated,
                ..LayerTrace::default()
            });
        }
    }

    /// Of error signals dL/dz of the mean loss; `operations` are the dense layers' ones.
    pub(crate) fn backward(&mut self, model: &Model, block: &Block, operations: &[usize]) {
        for ((trace, layer), index) in self.layers.iter_mut().zip(&model.layers).zip(operations) {
            let errors = block.errors(*index, layer.units);
            trace.error_signal = mean_square(errors) * (block.n * block.n) as f64;
        }
    }

    /// Keeps the weights before an update.
    pub(crate) fn before(&mut self, layer: &Parameters) {
        if self.looks {
            self.weights.clear();
            self.weights.extend_from_slice(&layer.weights);
        }
    }

    pub(crate) fn after(&mut self, number: usize, layer: &Parameters, gradient_norm: f64) {
        if !self.looks {
            return;
        }
        let norm = mean_square(&self.weights).sqrt();
        let moved = self.weights.iter().zip(layer.weights.iter());
        let moved: f64 = moved.map(|(a, b)| f64::from(b - a).powi(2)).sum();
        let moved = (moved / layer.weights.len() as f64).sqrt();
        if let Some(trace) = self.layers.get_mut(number) {
            trace.gradient_norm = gradient_norm;
            trace.update_ratio = if norm > 0.0 { moved / norm } else { 0.0 };
        }
    }
}

fn mean_square(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / values.len() as f64
}

use serde::{Deserialize, Serialize};

use crate::elementary::exp;
use crate::vectors::Target;

/// What training minimises, averaged over samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// -ln softmax(z)_label
    #[default]
    CrossEntropy,
    /// sum over outputs of (z_k - target_k)^2 / 2; a class's target is 1 at its output and 0 elsewhere
    SquaredError,
}

/// Loss and accuracy over a set of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Share of samples whose largest output is their class; ties go to the first. NaN for values.
    pub accuracy: f64,
}

impl Loss {
    /// One sample's loss and whether it is classified rightly; `out` becomes dL/dz times `scale`.
    pub(crate) fn derive(self, out: &mut [f32], target: Target<'_>, scale: f32) -> (f64, bool) {
        let right = is_largest(out, target);
        let loss = match (self, target) {
            (Self::CrossEntropy, Target::Class(label)) => {
                let top = out.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let below = f64::from(top) - f64::from(out[label]);
                out.iter_mut().for_each(|z| *z = exp(*z - top));
                let sum: f64 = out.iter().copied().map(f64::from).sum();
                let factor = (f64::from(scale) / sum) as f32;
                out.iter_mut().for_each(|e| *e *= factor);
                out[label] -= scale;
                sum.ln() + below
            }
            (_, target) => {
                let loss = self.value(out, target);
                for (k, d) in out.iter_mut().enumerate() {
                    *d = (*d - target.wanted(k)) * scale;
                }
                loss
            }
        };
        (loss, right)
    }

    /// One sample's loss.
    pub(crate) fn value(self, out: &[f32], target: Target<'_>) -> f64 {
        match (self, target) {
            (Self::CrossEntropy, Target::Class(label)) => {
                let top = out.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = out.iter().map(|z| f64::from(z - top).exp()).sum();
                sum.ln() + f64::from(top) - f64::from(out[label])
            }
            // Refused before training; there is no cross-entropy of values.
            (Self::CrossEntropy, Target::Values(_)) => f64::NAN,
            (Self::SquaredError, target) => {
                let squares = out
                    .iter()
                    .enumerate()
                    .map(|(k, z)| (f64::from(*z) - f64::from(target.wanted(k))).powi(2));
                0.5 * squares.sum::<f64>()
            }
        }
    }
}

impl Target<'_> {
    /// What output `k` should be.
    fn wanted(self, k: usize) -> f32 {
        match self {
            Self::Class(label) => f32::from(u8::from(k == label)),
            Self::Values(values) => values[k],
        }
    }
}

/// Whether the class's output is the first of the largest; never if one of them is no number, and
/// never for values.
pub(crate) fn is_largest(out: &[f32], target: Target<'_>) -> bool {
    let Target::Class(label) = target else { return false };
    let (before, from_here) = out.split_at(label);
    before.iter().all(|z| *z < out[label]) && from_here.iter().all(|z| *z <= out[label])
}

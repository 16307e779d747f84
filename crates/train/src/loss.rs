use serde::{Deserialize, Serialize};

use crate::elementary::exp;

/// What training minimises, averaged over samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// -ln softmax(z)_label
    #[default]
    CrossEntropy,
    /// sum over classes of (z_k - [k = label])^2 / 2
    SquaredError,
}

/// Loss and accuracy over a set of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Share of images whose largest output is their class; ties go to the first.
    pub accuracy: f64,
}

impl Loss {
    /// One sample's loss and whether it is classified rightly; `out` becomes dL/dz times `scale`.
    pub(crate) fn derive(self, out: &mut [f32], label: usize, scale: f32) -> (f64, bool) {
        let right = is_largest(out, label);
        let loss = match self {
            Self::CrossEntropy => {
                let top = out.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let below = f64::from(top) - f64::from(out[label]);
                out.iter_mut().for_each(|z| *z = exp(*z - top));
                let sum: f64 = out.iter().copied().map(f64::from).sum();
                let factor = (f64::from(scale) / sum) as f32;
                out.iter_mut().for_each(|e| *e *= factor);
                out[label] -= scale;
                sum.ln() + below
            }
            Self::SquaredError => {
                let loss = self.value(out, label);
                out[label] -= 1.0;
                out.iter_mut().for_each(|d| *d *= scale);
                loss
            }
        };
        (loss, right)
    }

    /// One sample's loss.
    pub(crate) fn value(self, out: &[f32], label: usize) -> f64 {
        match self {
            Self::CrossEntropy => {
                let top = out.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = out.iter().map(|z| f64::from(z - top).exp()).sum();
                sum.ln() + f64::from(top) - f64::from(out[label])
            }
            Self::SquaredError => {
                let target = |k: usize| f64::from(u8::from(k == label));
                0.5 * out
                    .iter()
                    .enumerate()
                    .map(|(k, z)| (f64::from(*z) - target(k)).powi(2))
                    .sum::<f64>()
            }
        }
    }
}

/// Whether the label's output is the first of the largest; never if one of them is no number.
pub(crate) fn is_largest(out: &[f32], label: usize) -> bool {
    let (before, from_here) = out.split_at(label);
    before.iter().all(|z| *z < out[label]) && from_here.iter().all(|z| *z <= out[label])
}

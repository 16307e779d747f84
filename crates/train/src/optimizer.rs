use serde::{Deserialize, Serialize};

use crate::TrainError;

/// An optimiser, in the form in which Keras computes it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Optimizer {
    /// w -= rate g
    Sgd {
        /// Learning rate.
        rate: f64,
    },
    /// m = momentum m - rate g; w += m, or momentum m - rate g (Nesterov).
    Momentum {
        /// Learning rate.
        rate: f64,
        /// Share of the last step that is kept.
        momentum: f64,
        /// Whether to look ahead.
        nesterov: bool,
    },
    /// v = decay v + (1 - decay) g^2; w -= rate g / sqrt(v + epsilon)
    RmsProp {
        /// Learning rate.
        rate: f64,
        /// Share of the mean square that is kept.
        decay: f64,
        /// Added under the root.
        epsilon: f64,
    },
    /// m, v as usual; w -= rate sqrt(1 - beta2^t)/(1 - beta1^t) m / (sqrt(v) + epsilon)
    /// (Kingma & Ba 2015, the remark before section 2.1), after w -= rate weight_decay w (AdamW).
    Adam {
        /// Learning rate.
        rate: f64,
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root.
        epsilon: f64,
        /// Decoupled weight decay; 0 for plain Adam.
        weight_decay: f64,
    },
}

impl Optimizer {
    /// Adam with Keras's defaults: 0.001, 0.9, 0.999, 1e-7.
    pub fn adam() -> Self {
        Self::Adam { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay: 0.0 }
    }

    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let inside = |what, value: f64, low: f64, high: f64, bound| {
            if value >= low && value < high {
                Ok(())
            } else {
                Err(TrainError::Setting { what, value, bound })
            }
        };
        let rate =
            |r| inside("the learning rate", r, 0.0, f64::INFINITY, "finite and not negative");
        let share = |what, s| inside(what, s, 0.0, 1.0, "at least 0 and below 1");
        let epsilon =
            |e| inside("epsilon", e, f64::MIN_POSITIVE, f64::INFINITY, "positive and finite");
        match *self {
            Self::Sgd { rate: r } => rate(r),
            Self::Momentum { rate: r, momentum, .. } => {
                rate(r).and(share("the momentum", momentum))
            }
            Self::RmsProp { rate: r, decay, epsilon: e } => {
                rate(r).and(share("the decay", decay)).and(epsilon(e))
            }
            Self::Adam { rate: r, beta1, beta2, epsilon: e, weight_decay } => {
                rate(r).and(share("beta1", beta1)).and(share("beta2", beta2)).and(epsilon(e)).and(
                    inside(
                        "the weight decay",
                        weight_decay,
                        0.0,
                        f64::INFINITY,
                        "finite and not negative",
                    ),
                )
            }
        }
    }

    /// The constants of step `t`, counted from 1.
    pub(crate) fn at(&self, t: u64) -> Step {
        match *self {
            Self::Sgd { rate } => Step::Sgd { rate: rate as f32 },
            Self::Momentum { rate, momentum, nesterov } => {
                Step::Momentum { rate: rate as f32, momentum: momentum as f32, nesterov }
            }
            Self::RmsProp { rate, decay, epsilon } => Step::RmsProp {
                rate: rate as f32,
                decay: decay as f32,
                rest: (1.0 - decay) as f32,
                epsilon: epsilon as f32,
            },
            Self::Adam { rate, beta1, beta2, epsilon, weight_decay } => {
                let power = |b: f64| b.powi(i32::try_from(t).unwrap_or(i32::MAX));
                Step::Adam {
                    rate: (rate * (1.0 - power(beta2)).sqrt() / (1.0 - power(beta1))) as f32,
                    beta1: beta1 as f32,
                    rest1: (1.0 - beta1) as f32,
                    beta2: beta2 as f32,
                    rest2: (1.0 - beta2) as f32,
                    epsilon: epsilon as f32,
                    shrink: (1.0 - rate * weight_decay) as f32,
                }
            }
        }
    }
}

/// An optimiser at one step, in f32.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Sgd { rate: f32 },
    Momentum { rate: f32, momentum: f32, nesterov: bool },
    RmsProp { rate: f32, decay: f32, rest: f32, epsilon: f32 },
    Adam { rate: f32, beta1: f32, rest1: f32, beta2: f32, rest2: f32, epsilon: f32, shrink: f32 },
}

impl Step {
    /// Updates parameters and both state slots from their gradients, element by element.
    #[inline(always)]
    pub(crate) fn apply(self, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
        let all = w.iter_mut().zip(m).zip(v).zip(g);
        match self {
            Self::Sgd { rate } => all.for_each(|(((w, _), _), &g)| *w -= rate * g),
            Self::Momentum { rate, momentum, nesterov: false } => {
                all.for_each(|(((w, m), _), &g)| {
                    *m = flush(momentum * *m - rate * g, SMALL_FIRST);
                    *w += *m;
                });
            }
            Self::Momentum { rate, momentum, nesterov: true } => {
                all.for_each(|(((w, m), _), &g)| {
                    *m = flush(momentum * *m - rate * g, SMALL_FIRST);
                    *w += momentum * *m - rate * g;
                });
            }
            Self::RmsProp { rate, decay, rest, epsilon } => all.for_each(|(((w, _), v), &g)| {
                *v = flush(decay * *v + rest * (g * g), SMALL_SECOND);
                *w -= rate * g / (*v + epsilon).sqrt();
            }),
            Self::Adam { rate, beta1, rest1, beta2, rest2, epsilon, shrink } => {
                all.for_each(|(((w, m), v), &g)| {
                    *m = flush(beta1 * *m + rest1 * g, SMALL_FIRST);
                    *v = flush(beta2 * *v + rest2 * (g * g), SMALL_SECOND);
                    *w = shrink * *w - rate * *m / (v.sqrt() + epsilon);
                });
            }
        }
    }
}

/// First moments below this, and second moments below the other, change no weight by more than
/// 1e-23 and would otherwise decay into subnormal numbers, which are slow.
const SMALL_FIRST: f32 = 1e-30;
const SMALL_SECOND: f32 = 1e-36;

#[inline(always)]
fn flush(value: f32, small: f32) -> f32 {
    if value.abs() < small { 0.0 } else { value }
}

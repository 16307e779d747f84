use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::step::{Adam, Momentum, Nesterov, RmsProp, Sgd, Step};

/// An optimiser, in the form in which Keras computes it. In TOML, what is left out but the rate has
/// Keras's default, and the momentum is 0.9.
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
        #[serde(default = "nine_tenths")]
        momentum: f64,
        /// Whether to look ahead.
        #[serde(default)]
        nesterov: bool,
    },
    /// v = decay v + (1 - decay) g^2; w -= rate g / sqrt(v + epsilon)
    RmsProp {
        /// Learning rate.
        rate: f64,
        /// Share of the mean square that is kept.
        #[serde(default = "nine_tenths")]
        decay: f64,
        /// Added under the root.
        #[serde(default = "small")]
        epsilon: f64,
    },
    /// m, v as usual; w -= rate sqrt(1 - beta2^t)/(1 - beta1^t) m / (sqrt(v) + epsilon)
    /// (Kingma & Ba 2015, the remark before section 2.1), after w -= rate weight_decay w (AdamW).
    Adam {
        /// Learning rate.
        rate: f64,
        /// Decay of the first moment.
        #[serde(default = "nine_tenths")]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "near_one")]
        beta2: f64,
        /// Added to the root.
        #[serde(default = "small")]
        epsilon: f64,
        /// Decoupled weight decay; 0 for plain Adam.
        #[serde(default)]
        weight_decay: f64,
    },
}

fn nine_tenths() -> f64 {
    0.9
}

fn near_one() -> f64 {
    0.999
}

fn small() -> f64 {
    1e-7
}

impl Optimizer {
    /// The learning rate.
    pub fn rate_mut(&mut self) -> &mut f64 {
        match self {
            Self::Sgd { rate }
            | Self::Momentum { rate, .. }
            | Self::RmsProp { rate, .. }
            | Self::Adam { rate, .. } => rate,
        }
    }

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
        // What single precision rounds to infinity or to zero would diverge at the first step.
        let (least, most) = (f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX));
        let rate = |r| inside("the learning rate", r, 0.0, most, "not negative and below 3.4e38");
        let share = |what, s| inside(what, s, 0.0, 1.0, "at least 0 and below 1");
        let epsilon = |e| inside("epsilon", e, least, most, "at least 1.18e-38 and below 3.4e38");
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

    /// The constants of step `t`, counted from 1, with the learning rate multiplied by a factor.
    pub(crate) fn at(&self, t: u64, factor: f64) -> Step {
        match *self {
            Self::Sgd { rate } => Step::Sgd(Sgd { rate: (rate * factor) as f32 }),
            Self::Momentum { rate, momentum, nesterov: false } => {
                Step::Momentum(Momentum { rate: (rate * factor) as f32, momentum: momentum as f32 })
            }
            Self::Momentum { rate, momentum, nesterov: true } => {
                Step::Nesterov(Nesterov { rate: (rate * factor) as f32, momentum: momentum as f32 })
            }
            Self::RmsProp { rate, decay, epsilon } => Step::RmsProp(RmsProp {
                rate: (rate * factor) as f32,
                decay: decay as f32,
                rest: (1.0 - decay) as f32,
                epsilon: epsilon as f32,
            }),
            Self::Adam { rate, beta1, beta2, epsilon, weight_decay } => {
                let power = |b: f64| b.powi(i32::try_from(t).unwrap_or(i32::MAX));
                Step::Adam(Adam {
                    rate: (rate * factor * (1.0 - power(beta2)).sqrt() / (1.0 - power(beta1)))
                        as f32,
                    beta1: beta1 as f32,
                    rest1: (1.0 - beta1) as f32,
                    beta2: beta2 as f32,
                    rest2: (1.0 - beta2) as f32,
                    epsilon: epsilon as f32,
                    decay: (rate * factor * weight_decay) as f32,
                })
            }
        }
    }
}

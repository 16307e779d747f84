use serde::{Deserialize, Serialize};

use crate::{Loss, Optimizer, TrainError};

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Protocol {
    /// Passes through the training samples.
    pub epochs: usize,
    /// Samples a step; the last step of an epoch takes what is left.
    pub batch: usize,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// How its learning rate changes from step to step.
    pub schedule: RateSchedule,
    /// A bound of the gradients.
    pub clip: Option<Clip>,
    /// What is minimised.
    pub loss: Loss,
    /// Factor of the grey values 0 to 255; vectors are left as they are.
    pub scale: f64,
    /// Ends training after this many steps, within an epoch if need be.
    pub max_steps: Option<u64>,
    /// Ends training after the first epoch whose mean loss is below this.
    pub stop_below: Option<f64>,
    /// Whether to note the largest hidden gradient of every step.
    pub watch_gradients: bool,
    /// Whether to look at every layer in the last step of each epoch.
    pub watch_layers: bool,
}

/// A factor of the learning rate, step by step.
///
/// ```
/// use gainstage_train::RateSchedule;
/// let cosine = RateSchedule::Cosine { warmup: 10, steps: 110, floor: 0.0 };
/// assert_eq!((cosine.factor(5), cosine.factor(10)), (0.5, 1.0));
/// assert!((cosine.factor(60) - 0.5).abs() < 1e-12 && cosine.factor(110).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RateSchedule {
    /// 1
    #[default]
    Constant,
    /// `factor` to the power of the number of whole `every` steps behind.
    Stairs {
        /// Steps of a stair.
        every: u64,
        /// From one stair to the next.
        factor: f64,
    },
    /// `factor` to the power of the number of steps behind.
    Exponential {
        /// From one step to the next.
        factor: f64,
    },
    /// Rises in equal parts to 1 over `warmup` steps, then falls as half a cosine to `floor` at
    /// `steps` and stays there (Loshchilov & Hutter 2017, equation 5, without restarts).
    Cosine {
        /// Steps of the rise.
        warmup: u64,
        /// Steps of the whole.
        steps: u64,
        /// The last factor.
        floor: f64,
    },
}

impl RateSchedule {
    /// The factor at step `t`, counted from 1.
    pub fn factor(&self, t: u64) -> f64 {
        let behind = t.saturating_sub(1);
        let power = |f: f64, n: u64| f.powi(i32::try_from(n).unwrap_or(i32::MAX));
        match *self {
            Self::Constant => 1.0,
            Self::Stairs { every, factor } => power(factor, behind / every.max(1)),
            Self::Exponential { factor } => power(factor, behind),
            Self::Cosine { warmup, .. } if t <= warmup => t as f64 / warmup as f64,
            Self::Cosine { warmup, steps, floor } => {
                let along = (t - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
                floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * along.min(1.0)).cos())
            }
        }
    }

    fn check(&self) -> Result<(), TrainError> {
        let value = match *self {
            Self::Constant => 1.0,
            Self::Stairs { factor, .. } | Self::Exponential { factor } => factor,
            Self::Cosine { floor, .. } => floor,
        };
        if (0.0..=1.0).contains(&value) {
            return Ok(());
        }
        Err(TrainError::Setting {
            what: "the factor of the learning rate",
            value,
            bound: "from 0 to 1",
        })
    }
}

/// A bound of the gradients of a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Clip {
    /// All gradients are divided by (norm / `bound`), if the norm of all of them together exceeds it
    /// (Pascanu, Mikolov & Bengio 2013, algorithm 1).
    Norm {
        /// Largest norm.
        bound: f64,
    },
    /// Each element is brought into [-`bound`, `bound`].
    Value {
        /// Largest magnitude.
        bound: f64,
    },
}

impl Default for Protocol {
    fn default() -> Self {
        Self::notebook()
    }
}

impl Protocol {
    /// The seed notebook's: Adam with Keras's defaults, cross-entropy, batches of 32, 10 epochs, grey
    /// values divided by 255.
    pub fn notebook() -> Self {
        Self {
            epochs: 10,
            batch: 32,
            optimizer: Optimizer::adam(),
            schedule: RateSchedule::Constant,
            clip: None,
            loss: Loss::CrossEntropy,
            scale: 1.0 / 255.0,
            max_steps: None,
            stop_below: None,
            watch_gradients: false,
            watch_layers: false,
        }
    }

    pub(crate) fn check(&self) -> Result<(), TrainError> {
        self.optimizer.check()?;
        self.schedule.check()?;
        if self.batch == 0 || self.batch > usize::from(u16::MAX) {
            let value = self.batch as f64;
            return Err(TrainError::Setting {
                what: "the batch size",
                value,
                bound: "from 1 to 65,535",
            });
        }
        if !((self.scale * 255.0) as f32).is_finite() {
            return Err(TrainError::Setting {
                what: "the scale",
                value: self.scale,
                bound: "small enough for 255 times it to be finite in single precision",
            });
        }
        match self.clip {
            Some(Clip::Norm { bound: value } | Clip::Value { bound: value }) if !(value > 0.0) => {
                Err(TrainError::Setting {
                    what: "the bound of the gradients",
                    value,
                    bound: "above 0",
                })
            }
            _ => Ok(()),
        }
    }
}

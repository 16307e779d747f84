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
                    decay: (rate * weight_decay) as f32,
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
    Adam { rate: f32, beta1: f32, rest1: f32, beta2: f32, rest2: f32, epsilon: f32, decay: f32 },
}

impl Step {
    fn rate(self) -> f32 {
        match self {
            Self::Sgd { rate }
            | Self::Momentum { rate, .. }
            | Self::RmsProp { rate, .. }
            | Self::Adam { rate, .. } => rate,
        }
    }

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
            Self::Adam { rate, beta1, rest1, beta2, rest2, epsilon, decay } => {
                all.for_each(|(((w, m), v), &g)| {
                    *m = flush(beta1 * *m + rest1 * g, SMALL_FIRST);
                    *v = flush(beta2 * *v + rest2 * (g * g), SMALL_SECOND);
                    *w -= decay * *w + rate * *m / (v.sqrt() + epsilon);
                });
            }
        }
    }
}

/// First moments below this, and second moments below the other, are far from changing any weight and
/// would otherwise decay into subnormal numbers, which are slow. Exact zeros stay exact.
const SMALL_FIRST: f32 = 1e-30;
const SMALL_SECOND: f32 = 1e-36;

#[inline(always)]
fn flush(value: f32, small: f32) -> f32 {
    if value.abs() < small { 0.0 } else { value }
}

/// The steps taken so far, so that parameters whose gradient is zero can take many of them at once,
/// when they are next needed.
#[derive(Debug)]
pub(crate) struct Schedule {
    optimizer: Optimizer,
    last: Step,
    rates: Vec<f32>,
    /// Steps after which what is left of a first moment is below the rounding of its sum.
    memory: usize,
}

impl Schedule {
    pub(crate) fn new(optimizer: Optimizer) -> Self {
        let decay = match optimizer {
            Optimizer::Sgd { .. } | Optimizer::RmsProp { .. } => 0.0,
            Optimizer::Momentum { momentum, .. } => momentum,
            Optimizer::Adam { beta1, .. } => beta1,
        };
        // The steps after the k-th sum to decay^k / (1 - decay) of the first moment.
        let memory = ((1.0 - decay) * f64::from(f32::EPSILON) / 4.0).ln() / decay.ln();
        Self { optimizer, last: optimizer.at(1), rates: Vec::new(), memory: memory.ceil() as usize }
    }

    /// Makes room for more steps.
    pub(crate) fn reserve(&mut self, steps: usize) {
        self.rates.reserve(steps);
    }

    /// Number of steps taken.
    pub(crate) fn steps(&self) -> u32 {
        self.rates.len() as u32
    }

    /// Begins the next step.
    pub(crate) fn advance(&mut self) -> Step {
        self.last = self.optimizer.at(self.rates.len() as u64 + 1);
        self.rates.push(self.last.rate());
        self.last
    }

    /// Takes all steps after the first `since` with zero gradients, equal to [`Step::apply`] up to
    /// rounding.
    #[inline(always)]
    pub(crate) fn idle(&self, since: u32, w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        let rates = &self.rates[since as usize..];
        let (near, far) = rates.split_at(self.memory.min(rates.len()));
        let all = rates.len() as i32;
        let power = |decay: f32, n: usize| f64::from(decay).powi(n as i32) as f32;
        match self.last {
            Step::Sgd { .. } => {}
            Step::Momentum { momentum, nesterov, .. } => {
                let ahead = if nesterov { momentum } else { 1.0 };
                for _ in near {
                    for (w, m) in w.iter_mut().zip(m.iter_mut()) {
                        *m = flush(momentum * *m, SMALL_FIRST);
                        *w += ahead * *m;
                    }
                }
                scale(m, power(momentum, far.len()), SMALL_FIRST);
            }
            Step::RmsProp { decay, .. } => scale(v, power(decay, rates.len()), SMALL_SECOND),
            Step::Adam { beta1, beta2, epsilon, decay, .. } => {
                let root_decay = f64::from(beta2).sqrt() as f32;
                let v_decay = f64::from(beta2).powi(all) as f32;
                let ((w_blocks, w_rest), (m_blocks, m_rest), (v_blocks, v_rest)) =
                    (w.as_chunks_mut::<IDLE>(), m.as_chunks_mut(), v.as_chunks_mut());
                let mut block = |w: &mut [f32; IDLE], m: &mut [f32; IDLE], v: &mut [f32; IDLE]| {
                    let (mut new_w, mut new_m, mut roots) = (*w, *m, v.map(f32::sqrt));
                    for &rate in near {
                        for ((w, m), root) in new_w.iter_mut().zip(&mut new_m).zip(&mut roots) {
                            *m = flush(beta1 * *m, SMALL_FIRST);
                            *root *= root_decay;
                            *w -= decay * *w + rate * *m / (*root + epsilon);
                        }
                    }
                    (*w, *m) = (new_w, new_m);
                    v.iter_mut().for_each(|v| *v = flush(*v * v_decay, SMALL_SECOND));
                };
                for ((w, m), v) in w_blocks.iter_mut().zip(m_blocks).zip(v_blocks) {
                    block(w, m, v);
                }
                if !w_rest.is_empty() {
                    padded(w_rest, m_rest, v_rest, &mut block);
                }
                if !far.is_empty() {
                    scale(m, power(beta1, far.len()), SMALL_FIRST);
                    let kept = (1.0 - f64::from(decay)).powi(far.len() as i32);
                    scale(w, kept as f32, 0.0);
                }
            }
        }
    }
}

/// Elements that idle together.
const IDLE: usize = 64;

/// Fills a block up with zeros, which idle for ever.
#[inline(always)]
fn padded(
    w: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    block: &mut impl FnMut(&mut [f32; IDLE], &mut [f32; IDLE], &mut [f32; IDLE]),
) {
    let mut room = [[0.0; IDLE]; 3];
    let [full_w, full_m, full_v] = &mut room;
    full_w[..w.len()].copy_from_slice(w);
    full_m[..m.len()].copy_from_slice(m);
    full_v[..v.len()].copy_from_slice(v);
    block(full_w, full_m, full_v);
    w.copy_from_slice(&full_w[..w.len()]);
    m.copy_from_slice(&full_m[..m.len()]);
    v.copy_from_slice(&full_v[..v.len()]);
}

#[inline(always)]
fn scale(values: &mut [f32], factor: f32, small: f32) {
    values.iter_mut().for_each(|x| *x = flush(factor * *x, small));
}

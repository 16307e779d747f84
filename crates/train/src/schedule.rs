//! The steps of a training, one after another or many at once.

use crate::step::{Adam, Momentum, Nesterov, RmsProp, SMALL_FIRST, SMALL_SECOND, Step, flush};
use crate::{Optimizer, RateSchedule};

/// The steps taken so far, so that parameters whose gradient is zero can take many of them at once,
/// when they are next needed.
#[derive(Debug)]
pub(crate) struct Schedule {
    optimizer: Optimizer,
    factors: RateSchedule,
    last: Step,
    rates: Vec<f32>,
    /// Of the decoupled weight decay.
    decays: Vec<f32>,
    /// Steps after which what is left of a first moment is below the rounding of its sum.
    memory: usize,
}

impl Schedule {
    pub(crate) fn new(optimizer: Optimizer, factors: RateSchedule) -> Self {
        let decay = match optimizer {
            Optimizer::Sgd { .. } | Optimizer::RmsProp { .. } => 0.0,
            Optimizer::Momentum { momentum, .. } => momentum,
            Optimizer::Adam { beta1, .. } => beta1,
        };
        // The steps after the k-th sum to decay^k / (1 - decay) of the first moment.
        let memory = ((1.0 - decay) * f64::from(f32::EPSILON) / 4.0).ln() / decay.ln();
        Self {
            optimizer,
            factors,
            last: optimizer.at(1, 1.0),
            rates: Vec::new(),
            decays: Vec::new(),
            memory: memory.ceil() as usize,
        }
    }

    /// Makes room for more steps.
    pub(crate) fn reserve(&mut self, steps: usize) {
        self.rates.reserve(steps);
        self.decays.reserve(steps);
    }

    /// Number of steps taken.
    pub(crate) fn steps(&self) -> u32 {
        self.rates.len() as u32
    }

    /// Begins the next step.
    pub(crate) fn advance(&mut self) -> Step {
        let t = self.rates.len() as u64 + 1;
        self.last = self.optimizer.at(t, self.factors.factor(t));
        self.rates.push(self.last.rate());
        self.decays.push(self.last.decay());
        self.last
    }

    /// Takes all steps after the first `since` with zero gradients, equal to single ones up to
    /// rounding.
    #[inline(always)]
    pub(crate) fn idle(&self, since: u32, w: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        let rates = &self.rates[since as usize..];
        let (near, far) = rates.split_at(self.memory.min(rates.len()));
        let (near_decays, far_decays) = self.decays[since as usize..].split_at(near.len());
        let all = rates.len() as i32;
        let power = |decay: f32, n: usize| f64::from(decay).powi(n as i32) as f32;
        match self.last {
            Step::Sgd(_) => {}
            Step::Momentum(Momentum { momentum, .. })
            | Step::Nesterov(Nesterov { momentum, .. }) => {
                let ahead = if matches!(self.last, Step::Nesterov(_)) { momentum } else { 1.0 };
                for _ in near {
                    for (w, m) in w.iter_mut().zip(m.iter_mut()) {
                        *m = flush(momentum * *m, SMALL_FIRST);
                        *w += ahead * *m;
                    }
                }
                scale(m, power(momentum, far.len()), SMALL_FIRST);
            }
            Step::RmsProp(RmsProp { decay, .. }) => {
                scale(v, power(decay, rates.len()), SMALL_SECOND);
            }
            Step::Adam(Adam { beta1, beta2, epsilon, .. }) => {
                let root_decay = f64::from(beta2).sqrt() as f32;
                let v_decay = f64::from(beta2).powi(all) as f32;
                let ((w_blocks, w_rest), (m_blocks, m_rest), (v_blocks, v_rest)) =
                    (w.as_chunks_mut::<IDLE>(), m.as_chunks_mut(), v.as_chunks_mut());
                let mut block = |w: &mut [f32; IDLE], m: &mut [f32; IDLE], v: &mut [f32; IDLE]| {
                    let (mut new_w, mut new_m, mut roots) = (*w, *m, v.map(f32::sqrt));
                    for (&rate, &decay) in near.iter().zip(near_decays) {
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
                    let kept: f64 = far_decays.iter().map(|d| 1.0 - f64::from(*d)).product();
                    if kept < 1.0 {
                        scale(w, kept as f32, 0.0);
                    }
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

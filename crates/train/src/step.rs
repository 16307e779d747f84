//! One step of an optimiser in f32, element by element.

use crate::kernel::{LANES, Vector};

/// An optimiser at one step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Sgd(Sgd),
    Momentum(Momentum),
    Nesterov(Nesterov),
    RmsProp(RmsProp),
    Adam(Adam),
}

/// Runs an expression with the step's rule, compiled once for each.
macro_rules! per_rule {
    ($step:expr, $rule:ident => $body:expr) => {
        match $step {
            $crate::step::Step::Sgd($rule) => $body,
            $crate::step::Step::Momentum($rule) => $body,
            $crate::step::Step::Nesterov($rule) => $body,
            $crate::step::Step::RmsProp($rule) => $body,
            $crate::step::Step::Adam($rule) => $body,
        }
    };
}
pub(crate) use per_rule;

/// Updates parameters and their state slots from their gradients.
pub(crate) trait Rule: Copy {
    /// The new parameters and slots.
    fn step<V: Vector>(self, w: V, m: V, v: V, g: V) -> [V; 3];

    /// All of them, in place.
    #[inline(always)]
    fn apply<V: Vector>(self, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
        let ((w, last_w), (m, last_m), (v, last_v), (g, last_g)) =
            (w.as_chunks_mut(), m.as_chunks_mut(), v.as_chunks_mut(), g.as_chunks());
        for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
            self.apply_block(w, m, v, V::load(g));
        }
        if !last_g.is_empty() {
            let [mut w, mut m, mut v, mut g] = [[0.0; LANES]; 4];
            let rest = last_g.len();
            w[..rest].copy_from_slice(last_w);
            m[..rest].copy_from_slice(last_m);
            v[..rest].copy_from_slice(last_v);
            g[..rest].copy_from_slice(last_g);
            self.apply_block(&mut w, &mut m, &mut v, V::load(&g));
            last_w.copy_from_slice(&w[..rest]);
            last_m.copy_from_slice(&m[..rest]);
            last_v.copy_from_slice(&v[..rest]);
        }
    }

    /// A vector of them.
    #[inline(always)]
    fn apply_block<V: Vector>(
        self,
        w: &mut [f32; LANES],
        m: &mut [f32; LANES],
        v: &mut [f32; LANES],
        g: V,
    ) {
        let [new_w, new_m, new_v] = self.step(V::load(w), V::load(m), V::load(v), g);
        new_w.store(w);
        new_m.store(m);
        new_v.store(v);
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sgd {
    pub(crate) rate: f32,
}

impl Rule for Sgd {
    #[inline(always)]
    fn step<V: Vector>(self, w: V, m: V, v: V, g: V) -> [V; 3] {
        [w.minus(V::splat(self.rate).times(g)), m, v]
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Momentum {
    pub(crate) rate: f32,
    pub(crate) momentum: f32,
}

impl Rule for Momentum {
    #[inline(always)]
    fn step<V: Vector>(self, w: V, m: V, v: V, g: V) -> [V; 3] {
        let m = moved(m, self.momentum, g, self.rate).flushed(SMALL_FIRST);
        [w.plus(m), m, v]
    }
}

/// Momentum that looks ahead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nesterov {
    pub(crate) rate: f32,
    pub(crate) momentum: f32,
}

impl Rule for Nesterov {
    #[inline(always)]
    fn step<V: Vector>(self, w: V, m: V, v: V, g: V) -> [V; 3] {
        let m = moved(m, self.momentum, g, self.rate).flushed(SMALL_FIRST);
        [w.plus(moved(m, self.momentum, g, self.rate)), m, v]
    }
}

/// `momentum * m - rate * g`.
#[inline(always)]
fn moved<V: Vector>(m: V, momentum: f32, g: V, rate: f32) -> V {
    V::splat(momentum).times(m).minus(V::splat(rate).times(g))
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RmsProp {
    pub(crate) rate: f32,
    pub(crate) decay: f32,
    pub(crate) rest: f32,
    pub(crate) epsilon: f32,
}

impl Rule for RmsProp {
    #[inline(always)]
    fn step<V: Vector>(self, w: V, m: V, v: V, g: V) -> [V; 3] {
        let v = averaged(v, self.decay, g.times(g), self.rest).flushed(SMALL_SECOND);
        let change = V::splat(self.rate).times(g).over(v.plus(V::splat(self.epsilon)).root());
        [w.minus(change), m, v]
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Adam {
    pub(crate) rate: f32,
    pub(crate) beta1: f32,
    pub(crate) rest1: f32,
    pub(crate) beta2: f32,
    pub(crate) rest2: f32,
    pub(crate) epsilon: f32,
    pub(crate) decay: f32,
}

impl Rule for Adam {
    #[inline(always)]
    fn step<V: Vector>(self, w: V, m: V, v: V, g: V) -> [V; 3] {
        let m = averaged(m, self.beta1, g, self.rest1).flushed(SMALL_FIRST);
        let v = averaged(v, self.beta2, g.times(g), self.rest2).flushed(SMALL_SECOND);
        let change = V::splat(self.rate).times(m).over(v.root().plus(V::splat(self.epsilon)));
        [w.minus(V::splat(self.decay).times(w).plus(change)), m, v]
    }
}

/// `share * old + rest * new`.
#[inline(always)]
fn averaged<V: Vector>(old: V, share: f32, new: V, rest: f32) -> V {
    V::splat(share).times(old).plus(V::splat(rest).times(new))
}

impl Step {
    pub(crate) fn rate(self) -> f32 {
        per_rule!(self, rule => rule.rate)
    }

    /// Share of the weights that decays beside the gradient.
    pub(crate) fn decay(self) -> f32 {
        if let Self::Adam(adam) = self { adam.decay } else { 0.0 }
    }
}

/// First moments below this, and second moments below the other, are far from changing any weight and
/// would otherwise decay into subnormal numbers, which are slow. Exact zeros stay exact.
pub(crate) const SMALL_FIRST: f32 = 1e-30;
pub(crate) const SMALL_SECOND: f32 = 1e-36;

#[inline(always)]
pub(crate) fn flush(value: f32, small: f32) -> f32 {
    if value.abs() < small { 0.0 } else { value }
}

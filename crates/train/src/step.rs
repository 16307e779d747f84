//! One step of an optimiser in f32, element by element.

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

/// Updates one parameter and its state slots from its gradient.
pub(crate) trait Rule: Copy {
    fn apply_one(self, w: &mut f32, m: &mut f32, v: &mut f32, g: f32);

    /// All of them.
    #[inline(always)]
    fn apply(self, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
        let all = w.iter_mut().zip(m).zip(v).zip(g);
        all.for_each(|(((w, m), v), &g)| self.apply_one(w, m, v, g));
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sgd {
    pub(crate) rate: f32,
}

impl Rule for Sgd {
    #[inline(always)]
    fn apply_one(self, w: &mut f32, _: &mut f32, _: &mut f32, g: f32) {
        *w -= self.rate * g;
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Momentum {
    pub(crate) rate: f32,
    pub(crate) momentum: f32,
}

impl Rule for Momentum {
    #[inline(always)]
    fn apply_one(self, w: &mut f32, m: &mut f32, _: &mut f32, g: f32) {
        *m = flush(self.momentum * *m - self.rate * g, SMALL_FIRST);
        *w += *m;
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Nesterov {
    pub(crate) rate: f32,
    pub(crate) momentum: f32,
}

impl Rule for Nesterov {
    #[inline(always)]
    fn apply_one(self, w: &mut f32, m: &mut f32, _: &mut f32, g: f32) {
        *m = flush(self.momentum * *m - self.rate * g, SMALL_FIRST);
        *w += self.momentum * *m - self.rate * g;
    }
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
    fn apply_one(self, w: &mut f32, _: &mut f32, v: &mut f32, g: f32) {
        *v = flush(self.decay * *v + self.rest * (g * g), SMALL_SECOND);
        *w -= self.rate * g / (*v + self.epsilon).sqrt();
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
    fn apply_one(self, w: &mut f32, m: &mut f32, v: &mut f32, g: f32) {
        *m = flush(self.beta1 * *m + self.rest1 * g, SMALL_FIRST);
        *v = flush(self.beta2 * *v + self.rest2 * (g * g), SMALL_SECOND);
        *w -= self.decay * *w + self.rate * *m / (v.sqrt() + self.epsilon);
    }
}

impl Step {
    pub(crate) fn rate(self) -> f32 {
        per_rule!(self, rule => rule.rate)
    }

    /// Share of the weights that decays beside the gradient.
    pub(crate) fn decay(self) -> f32 {
        if let Self::Adam(adam) = self { adam.decay } else { 0.0 }
    }

    /// Updates parameters and both state slots from their gradients.
    #[inline(always)]
    pub(crate) fn apply(self, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
        per_rule!(self, rule => rule.apply(w, m, v, g));
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

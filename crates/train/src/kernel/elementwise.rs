//! Element by element: updates of known gradients, activations.

use super::vector::{Kernel, Vector, dispatch};
use crate::elementary::{gelu, gelu_slope, sigmoid, sigmoid_slope, tanh, tanh_slope};
use crate::step::{Rule, Step, per_rule};

/// One step for parameters whose gradients are known.
pub(crate) fn update(step: Step, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
    dispatch(Update { step, w, m, v, g });
}

pub(super) struct Update<'a> {
    pub(super) step: Step,
    pub(super) w: &'a mut [f32],
    pub(super) m: &'a mut [f32],
    pub(super) v: &'a mut [f32],
    pub(super) g: &'a [f32],
}

impl Kernel for Update<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { step, w, m, v, g } = self;
        per_rule!(step, rule => rule.apply::<V>(w, m, v, g));
    }
}

dispatched!(
    /// `h = phi(z)` for the activations that are vectorised.
    squash,
    squash_body,
    (curve: Curve, z: &[f32], h: &mut [f32])
);

dispatched!(
    /// `delta *= phi'(z)` for these.
    squash_back,
    squash_back_body,
    (curve: Curve, z: &[f32], delta: &mut [f32])
);

dispatched!(
    /// Adds every row of `rows` to `sums`.
    add_rows,
    add_rows_body,
    (rows: &[f32], sums: &mut [f32])
);

/// Activations that are vectorised.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Curve {
    /// Linear on each side of zero.
    Slopes {
        negative: f32,
        positive: f32,
    },
    Tanh,
    Sigmoid,
    Gelu,
}

#[inline(always)]
pub(super) fn squash_body(curve: Curve, z: &[f32], h: &mut [f32]) {
    let both = h.iter_mut().zip(z);
    match curve {
        Curve::Slopes { negative, positive } => both.for_each(|(h, &z)| {
            // A slope of zero must not turn infinity into NaN.
            let low = if negative == 0.0 && z < 0.0 { 0.0 } else { negative * z };
            *h = if z > 0.0 { positive * z } else { low };
        }),
        Curve::Tanh => both.for_each(|(h, &z)| *h = tanh(z)),
        Curve::Sigmoid => both.for_each(|(h, &z)| *h = sigmoid(z)),
        Curve::Gelu => both.for_each(|(h, &z)| *h = gelu(z)),
    }
}

#[inline(always)]
pub(super) fn squash_back_body(curve: Curve, z: &[f32], delta: &mut [f32]) {
    let both = delta.iter_mut().zip(z);
    match curve {
        Curve::Slopes { negative, positive } => both.for_each(|(d, &z)| {
            let slope = if z > 0.0 { positive } else { negative };
            *d = if slope == 0.0 { 0.0 } else { slope * *d };
        }),
        Curve::Tanh => both.for_each(|(d, &z)| *d *= tanh_slope(z)),
        Curve::Sigmoid => both.for_each(|(d, &z)| *d *= sigmoid_slope(z)),
        Curve::Gelu => both.for_each(|(d, &z)| *d *= gelu_slope(z)),
    }
}

#[inline(always)]
pub(super) fn add_rows_body(rows: &[f32], sums: &mut [f32]) {
    for row in rows.chunks_exact(sums.len()) {
        sums.iter_mut().zip(row).for_each(|(sum, r)| *sum += r);
    }
}

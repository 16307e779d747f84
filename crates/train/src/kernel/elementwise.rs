//! Element by element: updates of known gradients, activations.

use crate::elementary::{gelu, gelu_slope, sigmoid, sigmoid_slope, tanh, tanh_slope};
use crate::step::Step;

dispatched!(
    /// Parameters whose gradients are known.
    update,
    update_body,
    (step: Step, w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32])
);

dispatched!(
    /// `h = phi(z)` for the smooth activations that are vectorised.
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

/// Smooth activations that are vectorised.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Curve {
    Tanh,
    Sigmoid,
    Gelu,
}

#[inline(always)]
pub(super) fn squash_body<const WIDE: usize>(curve: Curve, z: &[f32], h: &mut [f32]) {
    let both = h.iter_mut().zip(z);
    match curve {
        Curve::Tanh => both.for_each(|(h, &z)| *h = tanh(z)),
        Curve::Sigmoid => both.for_each(|(h, &z)| *h = sigmoid(z)),
        Curve::Gelu => both.for_each(|(h, &z)| *h = gelu(z)),
    }
}

#[inline(always)]
pub(super) fn squash_back_body<const WIDE: usize>(curve: Curve, z: &[f32], delta: &mut [f32]) {
    let both = delta.iter_mut().zip(z);
    match curve {
        Curve::Tanh => both.for_each(|(d, &z)| *d *= tanh_slope(z)),
        Curve::Sigmoid => both.for_each(|(d, &z)| *d *= sigmoid_slope(z)),
        Curve::Gelu => both.for_each(|(d, &z)| *d *= gelu_slope(z)),
    }
}

#[inline(always)]
pub(super) fn update_body<const WIDE: usize>(
    step: Step,
    w: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
    g: &[f32],
) {
    step.apply(w, m, v, g);
}

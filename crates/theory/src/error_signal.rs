//! The error signal on its way back, as a law.

use crate::gate::Gate;
use crate::law::Cumulants;
use crate::signal::{DenseTrace, Weights, log_shift};

/// ln of the error signal's second moment per unit = `free` + `coupling` (x - E x), where x is the
/// logarithm of the forward second moment at the same place and `free` is independent of it.
///
/// Error signals depend on the forward signal only through the derivatives of bent activations, to
/// first order through x. For piecewise linear ones the coupling is zero (the gates are fair coins
/// independent of everything else, which is exact at any width for symmetric weights).
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorSignal {
    /// Mean over draws where every factor is independent of the others.
    pub(crate) expected: f64,
    pub(crate) free: Cumulants,
    pub(crate) coupling: f64,
    /// E sum delta^4 / (sum delta^2)^2
    pub(crate) concentration: f64,
    /// Probability that it is zero.
    pub(crate) zero: f64,
    /// E (z . delta)^2 / (E |z|^2 |delta|^2 / n) - 1: how far the error signal has come to point along
    /// the pre-activations, because the weights that it comes back through are those that made them.
    ///
    /// Given h and z = W h, W^T delta is h (z . delta) / |h|^2 plus a vector orthogonal to h drawn
    /// anew. Along h it is longer than an independent vector by this share, which moves the second
    /// moment by a term of order 1/n. For piecewise linear activations it stays zero.
    pub(crate) alignment: f64,
    /// Whether the errors of a batch sum to zero unit by unit: below a batch normalization.
    pub(crate) centred: bool,
    /// Whether every factor so far is independent of the others, so that `expected` is exact.
    pub(crate) independent: bool,
}

impl ErrorSignal {
    /// Independent of the weights, this second moment per unit exactly.
    pub(crate) fn seed(second_moment: f64, width: usize) -> Self {
        Self {
            expected: second_moment,
            free: Cumulants::constant(second_moment.ln()),
            coupling: 0.0,
            concentration: 3.0 / (width as f64 + 2.0),
            zero: 0.0,
            alignment: 0.0,
            centred: false,
            independent: true,
        }
    }

    /// Its law where x has this law.
    pub(crate) fn log(&self, x: Cumulants) -> Cumulants {
        self.free.plus(x.centred().scaled(self.coupling))
    }

    /// From behind an activation to before it.
    pub(crate) fn through_gate(self, gate: &Gate, width: usize) -> Self {
        let n = width as f64;
        // The forward noise of the layer reaches the error signal through the layers above.
        let carried =
            self.coupling * self.coupling * gate.variance + 2.0 * self.coupling * gate.covariance;
        let aligned = self.alignment * gate.product / n;
        let carried = Cumulants { mean: aligned, variance: carried, ..Cumulants::default() };
        // Fourth moment of one unit before the gate, over the squared second.
        let before = self.concentration * (n + 2.0);
        let after = before * gate.ratio;
        let spread = (after + n - 1.0) / (3.0 * gate.ratio + n - 1.0);
        let spread = log_shift((spread * (n + 2.0) / (before + n - 1.0)).ln());
        Self {
            expected: self.expected * gate.derivative * (1.0 + aligned),
            free: self.free.plus(gate.log).plus(carried).plus(spread),
            coupling: self.coupling * gate.slope + gate.derivative_slope,
            concentration: after / (after + n - 1.0),
            zero: 1.0 - (1.0 - self.zero) * (1.0 - gate.dead),
            alignment: ((1.0 + gate.alignment.0 * self.alignment + gate.alignment.1)
                / (1.0 + aligned)
                - 1.0)
                .clamp(-1.0, n - 1.0),
            independent: self.independent && gate.homogeneous,
            centred: self.centred,
        }
    }

    /// From the pre-activations of a dense layer to its input: W^T delta.
    pub(crate) fn through_weights(self, trace: &DenseTrace) -> Self {
        let weights: &Weights = &trace.weights;
        let factor = weights.variance * weights.fan_out as f64;
        let n = weights.fan_in as f64;
        let excess = weights.excess * self.concentration;
        let spread = log_shift(((n + 2.0 + excess) / (n + 2.0)).ln());
        Self {
            expected: self.expected * factor,
            free: self.free.plus(weights.noise(true)).plus(spread).shifted(factor.ln()),
            coupling: self.coupling * trace.share,
            concentration: (3.0 + excess) / (n + 2.0),
            ..self
        }
    }
}

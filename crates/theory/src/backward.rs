//! The backward pass through every kind of layer.

use gainstage_spec::Activation;

use crate::error_signal::ErrorSignal;
use crate::kernel::{derivative_cross, gated_cross};
use crate::law::Predicted;
use crate::moments::at;
use crate::predict::LayerPrediction;
use crate::signal::{DenseTrace, Signal, log_shift};
use crate::steps::{Join, Norm, Step};

/// Walks back and notes each dense layer.
#[derive(Debug)]
pub(crate) struct Backward {
    pub(crate) level: f64,
    pub(crate) batch: Option<usize>,
    /// The last dense layer first.
    pub(crate) layers: Vec<LayerPrediction>,
}

impl Backward {
    /// From behind the steps to before them. The error signal enters the last step's pre-activations
    /// where that step is a dense layer and `at_output` holds.
    pub(crate) fn run(
        &mut self,
        steps: &[Step],
        mut error: ErrorSignal,
        at_output: bool,
    ) -> ErrorSignal {
        // The activation between here and the batch normalization below, if any.
        let mut above: Option<&Activation> = None;
        for (index, step) in steps.iter().enumerate().rev() {
            let last = at_output && index + 1 == steps.len();
            let mut next_above = None;
            error = match step {
                Step::Dense { number, trace, activation, gate, .. } => {
                    if !last {
                        error = error.through_gate(gate, trace.forward.width);
                    }
                    self.note(*number, trace, activation, &error);
                    error.through_weights(trace)
                }
                Step::Gate { function, gate, width } => {
                    next_above = Some(function);
                    error.through_gate(gate, *width)
                }
                Step::Mask { keep, width } => mask(error, *keep, *width),
                Step::Norm(norm) => normalized(error, norm),
                Step::Batch(norm) => self.batch_norm(error, norm, above),
                Step::Residual { scale, branch, join } => {
                    let through = self.run(branch, enter(error, *scale), false);
                    joined(error, through, join)
                }
            };
            above = next_above;
        }
        error
    }

    fn note(
        &mut self,
        number: usize,
        trace: &DenseTrace,
        activation: &Signal,
        error: &ErrorSignal,
    ) {
        let level = self.level;
        let input = &trace.input;
        let log = error.log(trace.nominal);
        // ln of the squares' product: the coupling acts on the same fluctuation as the input.
        let joint = error
            .free
            .shifted(input.log.mean)
            .plus(input.log.centred().scaled(1.0 + error.coupling * trace.share));
        let (gradient, product) = if error.independent {
            (error.expected, error.expected * input.expected)
        } else {
            (log.exponential_mean(), joint.exponential_mean())
        };
        let either_zero = 1.0 - (1.0 - error.zero) * (1.0 - input.zero);
        let signal = |s: &Signal| Predicted::new(s.expected, s.log, s.zero, level);
        self.layers.push(LayerPrediction {
            layer: number,
            fan_in: trace.weights.fan_in,
            fan_out: trace.weights.fan_out,
            forward: signal(&trace.forward),
            activation: signal(activation),
            gradient: Predicted::new(gradient, log, error.zero, level),
            weight_gradient: Predicted::new(product, joint, either_zero, level),
            correlation: 1.0 - trace.forward.gap,
        });
    }

    /// The error loses its mean over the batch and its component along the output, and is divided by
    /// the spread. With errors independent over the batch, or centred by a normalization above, their
    /// covariance after the activation's derivatives gives what is lost (Yang et al. 2019).
    fn batch_norm(
        &self,
        error: ErrorSignal,
        norm: &Norm,
        above: Option<&Activation>,
    ) -> ErrorSignal {
        let passed = normalized(error, norm);
        let Some(batch) = self.batch else {
            return ErrorSignal { alignment: 0.0, centred: true, ..passed };
        };
        let b = batch as f64;
        let phi = above.unwrap_or(&Activation::Linear);
        let r = -1.0 / (b - 1.0);
        let m = at(phi, 1.0);
        let d = m.derivative_second_moment;
        // E y^2 phi'(y)^2 on the diagonal is also that of the pair at correlation 1.
        let along = gated_cross(phi, 1.0);
        let mut left = b * d - d - along;
        if error.centred {
            let slopes = derivative_cross(phi, 1.0, 1.0 - r);
            let values = gated_cross(phi, r);
            let sums = b * d - (d + (b - 1.0) * slopes) - (along + (b - 1.0) * values);
            left = (left - sums / b) * b / (b - 1.0);
        }
        // E 1 / |z|^2 over chi^2 of b - 1.
        let factor = left / (b * d) * b / (b - 3.0);
        ErrorSignal {
            expected: passed.expected * factor,
            free: passed.free.shifted(factor.ln()),
            alignment: 0.0,
            centred: true,
            ..passed
        }
    }
}

fn normalized(error: ErrorSignal, norm: &Norm) -> ErrorSignal {
    ErrorSignal {
        expected: error.expected * norm.expected,
        free: error.free.shifted(norm.log),
        coupling: error.coupling * norm.slope - (1.0 - norm.slope),
        alignment: -1.0,
        independent: false,
        ..error
    }
}

fn mask(error: ErrorSignal, keep: f64, width: usize) -> ErrorSignal {
    let n = width as f64;
    let variance = (1.0 / keep - 1.0) * error.concentration;
    let ratio = error.concentration * (n - 1.0) / (1.0 - error.concentration).max(1e-9) / keep;
    ErrorSignal {
        expected: error.expected / keep,
        free: error.free.shifted(-keep.ln()).plus(log_shift(variance)),
        concentration: ratio / (ratio + n - 1.0),
        ..error
    }
}

/// What enters a branch: the error signal times the branch's scale, its coupling left at the join.
fn enter(error: ErrorSignal, scale: f64) -> ErrorSignal {
    let square = scale * scale;
    ErrorSignal {
        expected: error.expected * square,
        free: error.free.shifted(square.ln()),
        coupling: 0.0,
        alignment: 0.0,
        ..error
    }
}

/// The sum of what passes by and what comes back through the branch, which are uncorrelated.
fn joined(error: ErrorSignal, through: ErrorSignal, join: &Join) -> ErrorSignal {
    let n = join.width as f64;
    // What the branch's alignment leaves out or adds, which no gate has counted.
    let along = 1.0 + through.alignment / n;
    let through = ErrorSignal {
        expected: through.expected * along,
        free: through.free.shifted(along.ln()),
        ..through
    };
    let own = through.free.variance - error.free.variance;
    let ratio = if through.expected > 0.0 { through.expected / error.expected } else { 0.0 };
    let share = ratio / (1.0 + ratio);
    let variance = (share * share * own.max(0.0) + 4.0 * share * (1.0 - share) / n).ln_1p();
    let carried = error.coupling * error.coupling * join.variance;
    let mut free = error.free.plus(log_shift(variance)).shifted(ratio.ln_1p());
    free.variance += carried;
    ErrorSignal {
        expected: error.expected + through.expected,
        free,
        coupling: error.coupling * join.slope + share * through.coupling,
        alignment: 0.0,
        concentration: 3.0 / (n + 2.0),
        zero: error.zero,
        centred: error.centred,
        independent: error.independent && through.independent,
    }
}

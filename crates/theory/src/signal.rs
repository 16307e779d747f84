//! The forward signal, layer by layer, as a law.

use gainstage_spec::{Activation, Dense, InputStatistics, Law, WeightShape};

use crate::error::TheoryError;
use crate::kernel::parting;
use crate::law::Cumulants;
use crate::moments::{Moments, at};
use crate::noise::{log_chi_squared, log_gamma, log_gate, log_share};

/// What is known of a vector in the network before any weight is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signal {
    pub(crate) width: usize,
    /// Mean over draws of the second moment per unit.
    pub(crate) expected: f64,
    /// Law of the logarithm of the second moment per unit, given that it is not zero.
    pub(crate) log: Cumulants,
    /// 1 - cosine of two different inputs' vectors.
    pub(crate) gap: f64,
    /// E sum h^4 / (sum h^2)^2
    pub(crate) concentration: f64,
    /// Probability that the vector is zero.
    pub(crate) zero: f64,
}

impl Signal {
    pub(crate) fn input(width: usize, inputs: &InputStatistics) -> Self {
        Self {
            width,
            expected: inputs.second_moment,
            log: Cumulants::constant(inputs.second_moment.ln()),
            gap: 1.0 - inputs.correlation,
            concentration: inputs.concentration,
            zero: 0.0,
        }
    }
}

/// One dense layer's weights and biases as the theory sees them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    pub(crate) fan_in: usize,
    pub(crate) fan_out: usize,
    /// Variance of one weight.
    pub(crate) variance: f64,
    /// Variance of one bias.
    pub(crate) bias: f64,
    /// Fourth moment over squared variance, minus 3.
    pub(crate) excess: f64,
    pub(crate) orthogonal: bool,
}

impl Weights {
    pub(crate) fn read(layer: usize, fan_in: usize, dense: &Dense) -> Result<Self, TheoryError> {
        let shape = WeightShape::dense(fan_in, dense.width)?;
        let (law, bias) = (dense.weights.law(&shape)?, dense.bias.law(&shape)?);
        let orthogonal = matches!(law, Law::SphereCoordinate { .. });
        for (what, of, initializer) in
            [("weights", &law, &dense.weights), ("biases", &bias, &dense.bias)]
        {
            if of.mean().abs() > 1e-12 * of.std() {
                return Err(TheoryError::Layer {
                    layer,
                    why: format!(
                        "{initializer} gives {what} of mean {}; the theory needs mean zero, so centre them",
                        of.mean()
                    ),
                });
            }
        }
        Ok(Self {
            fan_in,
            fan_out: dense.width,
            variance: law.variance(),
            bias: bias.variance(),
            excess: if orthogonal { 0.0 } else { law.kurtosis().map_or(0.0, |k| k - 3.0) },
            orthogonal,
        })
    }

    /// Weight variance times fan-in.
    pub(crate) fn scale(&self) -> f64 {
        self.variance * self.fan_in as f64
    }

    /// ln of |W h|^2 over its mean given h, and (`backward`) of |W^T delta|^2 over its.
    ///
    /// Gaussian weights make chi^2; orthogonal ones keep the norm unless they project to fewer
    /// dimensions.
    pub(crate) fn noise(&self, backward: bool) -> Cumulants {
        let (from, to) = if backward {
            (self.fan_out as f64, self.fan_in as f64)
        } else {
            (self.fan_in as f64, self.fan_out as f64)
        };
        if self.variance == 0.0 {
            Cumulants::default()
        } else if !self.orthogonal {
            log_chi_squared(to).shifted(-to.ln())
        } else if to < from {
            log_share(to, from).shifted((from / to).ln())
        } else {
            Cumulants::default()
        }
    }
}

/// What the backward pass needs of a dense layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DenseTrace {
    pub(crate) weights: Weights,
    /// The layer's input.
    pub(crate) input: Signal,
    /// ln of the pre-activations' variance given the layer below.
    pub(crate) nominal: Cumulants,
    /// Its derivative with respect to ln of the input's second moment.
    pub(crate) share: f64,
    /// The pre-activations.
    pub(crate) forward: Signal,
}

/// z = W h + b.
pub(crate) fn affine(input: &Signal, weights: Weights) -> DenseTrace {
    let (scale, bias) = (weights.scale(), weights.bias);
    let expected = scale * input.expected + bias;
    let nominal = if bias == 0.0 {
        input.log.shifted(scale.ln())
    } else {
        let through = |(x, w): (f64, f64)| ((scale * x.exp() + bias).ln(), w);
        Cumulants::of(&input.log.points().into_iter().map(through).collect::<Vec<_>>())
    };
    let share = if expected > 0.0 { scale * input.expected / expected } else { 0.0 };
    let n = weights.fan_out as f64;
    let mut noise = weights.noise(false);
    if bias > 0.0 && weights.variance == 0.0 {
        noise = log_chi_squared(n).shifted(-n.ln());
    } else if bias > 0.0 && weights.orthogonal {
        // Fixed length A plus independent Gaussian biases of length B: variance 2 B^2 + 4 A B.
        let variance = share * share * noise.variance + 2.0 * (1.0 - share * share) / n;
        noise = Cumulants { mean: -0.5 * variance, variance, ..Cumulants::default() };
    }
    let excess = weights.excess * share * share * input.concentration;
    let log = nominal.plus(noise).plus(log_shift(((n + 2.0 + excess) / (n + 2.0)).ln()));
    let forward = Signal {
        width: weights.fan_out,
        expected,
        log,
        gap: share * input.gap,
        concentration: (3.0 + excess) / (n + 2.0),
        zero: if bias > 0.0 { 0.0 } else { input.zero },
    };
    DenseTrace { weights, input: *input, nominal, share, forward }
}

/// A factor of mean 1 that multiplies the ratio second moment / mean^2 by exp(`variance`).
fn log_shift(variance: f64) -> Cumulants {
    Cumulants { mean: -0.5 * variance, variance, ..Cumulants::default() }
}

/// How an activation acts on laws: what the backward pass needs of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    /// Whether the laws are exact: phi linear on each side of zero.
    pub(crate) homogeneous: bool,
    /// d ln(second moment) / d ln q
    pub(crate) slope: f64,
    /// Variance of the forward noise.
    pub(crate) variance: f64,
    /// E phi'^2, averaged over the law of q.
    pub(crate) derivative: f64,
    /// ln of the error signal's factor: its mean over the law of q, and the noise.
    pub(crate) log: Cumulants,
    /// d ln(E phi'^2) / d ln q
    pub(crate) derivative_slope: f64,
    /// Covariance of the forward and the backward noise.
    pub(crate) covariance: f64,
    /// E phi^2 phi'^2 / (E phi^2 E phi'^2)
    pub(crate) product: f64,
    /// How alignment arises and is kept, see `ErrorSignal::alignment`: u becomes keep u + add.
    pub(crate) alignment: (f64, f64),
    /// Probability that every derivative of the layer is zero.
    pub(crate) dead: f64,
}

/// h = phi(z).
pub(crate) fn activate(phi: &Activation, trace: &DenseTrace) -> (Signal, Gate) {
    let (z, weights) = (&trace.forward, &trace.weights);
    let n = z.width as f64;
    // The typical variance: the mean belongs to rare draws where laws are wide.
    let q = trace.nominal.mean.exp();
    let typical = at(phi, q);
    let excess = weights.excess * trace.share * trace.share * trace.input.concentration;
    let ratio = if typical.second_moment > 0.0 { typical.relative_variance() + 1.0 } else { 1.0 };
    let lifted = ratio * (1.0 + excess / 3.0);
    let spread = log_shift(((lifted + n - 1.0) / (ratio + n - 1.0)).ln());
    let gap = if typical.second_moment > 0.0 {
        (parting(phi, q, z.gap) / typical.second_moment).min(2.0)
    } else {
        0.0
    };
    let concentration = lifted / (lifted + n - 1.0);
    if let Some((negative, positive)) = phi.slopes() {
        let gate = log_gate(z.width, negative, positive);
        let half = 0.5 * (negative * negative + positive * positive);
        let dead =
            if negative == 0.0 || positive == 0.0 { 0.5f64.powi(z.width as i32) } else { 0.0 };
        let z_excess = ((n + 2.0 + excess) / (n + 2.0)).ln();
        let signal = Signal {
            width: z.width,
            expected: half * z.expected,
            // The spread of the pre-activations' own kurtosis correction gives way to that of h.
            log: z.log.plus(gate).plus(spread).plus(log_shift(-z_excess)),
            gap,
            concentration,
            zero: 1.0 - (1.0 - z.zero) * (1.0 - dead),
        };
        let backward = Gate {
            homogeneous: true,
            slope: 1.0,
            variance: gate.variance + weights.noise(false).variance,
            derivative: half,
            log: gate,
            derivative_slope: 0.0,
            covariance: 0.0,
            product: 1.0,
            alignment: (1.0, 0.0),
            dead,
        };
        return (signal, backward);
    }
    smooth(phi, trace, &typical, &Shape { gap, concentration, spread })
}

/// What does not depend on how phi is averaged.
struct Shape {
    gap: f64,
    concentration: f64,
    spread: Cumulants,
}

/// A bent activation: given q the units are independent, so that to first order in 1/n the mean of
/// their squares is a gamma variable with the right mean and variance.
fn smooth(
    phi: &Activation,
    trace: &DenseTrace,
    typical: &Moments,
    shape: &Shape,
) -> (Signal, Gate) {
    let n = trace.forward.width as f64;
    let points: Vec<(Moments, f64)> =
        trace.nominal.points().into_iter().map(|(x, w)| (at(phi, x.exp()), w)).collect();
    let total: f64 = points.iter().map(|p| p.1).sum();
    let average =
        |f: &dyn Fn(&Moments) -> f64| points.iter().map(|(m, w)| w * f(m)).sum::<f64>() / total;
    let logs = |f: &dyn Fn(&Moments) -> f64| {
        let values: Vec<_> = points.iter().map(|(m, w)| (f(m).ln(), *w)).collect();
        Cumulants::of(&values)
    };
    let (v, d) = (typical.second_moment, typical.derivative_second_moment);
    let slope = if v > 0.0 { typical.q * typical.second_moment_slope / v } else { 1.0 };
    // Of the relative variance 2 slope^2 comes from the length of z, which orthogonal weights fix.
    let relative = if v > 0.0 { typical.relative_variance() } else { 0.0 };
    let relative = if trace.weights.orthogonal {
        let length = trace.forward.log.variance - trace.nominal.variance;
        (relative - 2.0 * slope * slope).max(0.0) + slope * slope * n * length
    } else {
        relative
    };
    let noise = gamma_noise(relative / n);
    let ratio = if d > 0.0 { typical.derivative_fourth_moment / (d * d) } else { 1.0 };
    let product = if v > 0.0 && d > 0.0 { typical.square_product / (v * d) } else { 1.0 };
    let step = 1e-3;
    let log_derivative =
        |shift: f64| at(phi, typical.q * f64::exp(shift)).derivative_second_moment.ln();
    let derivative_slope = if typical.q > 0.0 && d > 0.0 {
        (log_derivative(step) - log_derivative(-step)) / (2.0 * step)
    } else {
        0.0
    };
    let keep = if v > 0.0 && d > 0.0 { v * slope * slope / (d * typical.q) } else { 0.0 };
    let alignment = (trace.share * keep, 2.0 * trace.share * derivative_slope);
    let signal = Signal {
        width: trace.forward.width,
        expected: average(&|m| m.second_moment),
        log: logs(&|m| m.second_moment).plus(noise).plus(shape.spread),
        gap: shape.gap,
        concentration: shape.concentration,
        zero: 0.0,
    };
    let derivative_log = logs(&|m| m.derivative_second_moment);
    let gate = Gate {
        homogeneous: false,
        slope,
        variance: noise.variance,
        derivative: average(&|m| m.derivative_second_moment),
        log: gamma_noise(3.0 * (ratio - 1.0) / n).shifted(derivative_log.mean),
        derivative_slope,
        covariance: (product - 1.0) / n,
        product,
        alignment,
        dead: 0.0,
    };
    (signal, gate)
}

/// ln of a gamma variable of mean 1 and this variance.
pub(crate) fn gamma_noise(variance: f64) -> Cumulants {
    if variance < 1e-14 {
        return Cumulants::default();
    }
    log_gamma(variance.recip()).shifted(variance.ln())
}

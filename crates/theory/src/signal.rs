//! The forward signal, layer by layer, as a law.

use gainstage_spec::{Dense, InputStatistics, Law, WeightShape};

use crate::error::TheoryError;
use crate::law::Cumulants;
use crate::noise::{log_chi_squared, log_share};

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
    /// Mean of the units, for one input.
    pub(crate) mean: f64,
    /// Whether the units are independent and Gaussian of mean zero, given their second moment.
    pub(crate) gaussian: bool,
    /// Whether the units of each input sum to zero.
    pub(crate) centred: bool,
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
            mean: 0.0,
            gaussian: false,
            centred: false,
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
    /// Relative variance of |z|^2 given the layer below, but for the weights' excess.
    pub(crate) length: f64,
    /// Excess of the fourth moment of one pre-activation over the Gaussian's 3.
    pub(crate) excess: f64,
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
    let mut length = if weights.orthogonal { noise.variance } else { 2.0 / n };
    if bias > 0.0 && weights.variance == 0.0 {
        noise = log_chi_squared(n).shifted(-n.ln());
    } else if bias > 0.0 && weights.orthogonal {
        // Fixed length A plus independent Gaussian biases of length B: variance 2 B^2 + 4 A B.
        let variance = share * share * noise.variance + 2.0 * (1.0 - share * share) / n;
        noise = log_shift(variance);
        length = variance;
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
        mean: 0.0,
        gaussian: true,
        centred: false,
    };
    DenseTrace { weights, input: *input, nominal, share, length, excess, forward }
}

/// A factor of mean 1 that multiplies the ratio second moment / mean^2 by exp(`variance`).
pub(crate) fn log_shift(variance: f64) -> Cumulants {
    Cumulants { mean: -0.5 * variance, variance, ..Cumulants::default() }
}

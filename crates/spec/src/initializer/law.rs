//! From an initializer and a shape to the law of a weight.

use super::{FanMode, Initializer, ScalingDistribution, StdMeaning, Truncation};
use crate::{Law, SpecError, WeightShape};

impl Initializer {
    /// The law of one weight in an array of this shape; of one bias, when the shape is that of the
    /// bias's own layer.
    ///
    /// For [`Initializer::Identity`], [`Initializer::Dirac`] and the orthogonal families it is the
    /// law of an entry at a random place; the entries are not independent.
    ///
    /// # Errors
    /// [`SpecError::Domain`] for parameters outside their domain, [`SpecError::Shape`] where the
    /// initializer is not defined for the shape.
    pub fn law(&self, shape: &WeightShape) -> Result<Law, SpecError> {
        self.check()?;
        let fans = shape.fans();
        Ok(match *self {
            Self::Constant { value } => Law::Point { value },
            Self::Uniform { low, high } => Law::Uniform { low, high },
            Self::Normal { mean, std } => gaussian(mean, std),
            Self::TruncatedNormal { mean, std, cut, meaning } => {
                let (low, high, sigma) = match (cut, meaning) {
                    (Truncation::Absolute(low, high), _) => (low, high, std),
                    (Truncation::Sigmas(a, b), StdMeaning::BeforeTruncation) => {
                        (mean + a * std, mean + b * std, std)
                    }
                    (Truncation::Sigmas(a, b), StdMeaning::AfterTruncation) => {
                        let sigma = std / cut_std(a, b);
                        (mean + a * sigma, mean + b * sigma, sigma)
                    }
                };
                if std == 0.0 {
                    Law::Point { value: mean }
                } else {
                    Law::TruncatedNormal { mean, sigma, low, high }
                }
            }
            Self::VarianceScaling { scale, mode, distribution } => {
                let (fan_in, fan_out) = (fans.fan_in() as f64, fans.fan_out() as f64);
                let fan = match mode {
                    FanMode::FanIn => fan_in,
                    FanMode::FanOut => fan_out,
                    FanMode::FanAvg => 0.5 * (fan_in + fan_out),
                    FanMode::FanGeometricMean => (fan_in * fan_out).sqrt(),
                };
                let std = (scale / fan).sqrt();
                match distribution {
                    _ if scale == 0.0 => Law::Point { value: 0.0 },
                    ScalingDistribution::Normal => Law::Normal { mean: 0.0, std },
                    ScalingDistribution::Uniform => {
                        let high = (3.0 * scale / fan).sqrt();
                        Law::Uniform { low: -high, high }
                    }
                    ScalingDistribution::TruncatedNormal => {
                        let sigma = std / cut_std(-2.0, 2.0);
                        Law::TruncatedNormal {
                            mean: 0.0,
                            sigma,
                            low: -2.0 * sigma,
                            high: 2.0 * sigma,
                        }
                    }
                }
            }
            Self::Identity { gain } => {
                if shape.is_conv() {
                    return Err(
                        self.undefined(shape, "it has no diagonal; use dirac for a convolution")
                    );
                }
                share(gain, shape.inputs().min(shape.outputs()), shape.elements())
            }
            Self::Orthogonal { gain } => {
                let rows = shape.outputs();
                let dimension = rows.max(shape.elements() / rows);
                if gain == 0.0 {
                    Law::Point { value: 0.0 }
                } else {
                    Law::SphereCoordinate { dimension, radius: gain }
                }
            }
            Self::Sparse { sparsity, std } => {
                let rows = shape.outputs() as f64;
                zero_inflated((sparsity * rows).ceil() / rows, gaussian(0.0, std))
            }
            Self::Dirac { gain } => {
                if !shape.is_conv() {
                    return Err(
                        self.undefined(shape, "it has no kernel; use identity for a dense layer")
                    );
                }
                let per_group =
                    (shape.inputs() / shape.groups()).min(shape.outputs() / shape.groups());
                share(gain, per_group * shape.groups(), shape.elements())
            }
            Self::DeltaOrthogonal { gain } => {
                if !shape.is_conv() {
                    return Err(
                        self.undefined(shape, "it has no kernel; use orthogonal for a dense layer")
                    );
                }
                if shape.inputs() > shape.outputs() || shape.groups() > 1 {
                    return Err(self.undefined(shape, "it needs inputs <= outputs and one group"));
                }
                let entry = Law::SphereCoordinate { dimension: shape.outputs(), radius: gain };
                zero_inflated(1.0 - 1.0 / shape.field() as f64, entry)
            }
        })
    }

    fn undefined(&self, shape: &WeightShape, why: &'static str) -> SpecError {
        SpecError::Shape { initializer: self.to_string(), shape: shape.to_string(), why }
    }
}

fn gaussian(mean: f64, std: f64) -> Law {
    if std == 0.0 { Law::Point { value: mean } } else { Law::Normal { mean, std } }
}

fn zero_inflated(zero_share: f64, other: Law) -> Law {
    if zero_share == 0.0 { other } else { Law::ZeroInflated { zero_share, other: Box::new(other) } }
}

fn share(value: f64, count: usize, elements: usize) -> Law {
    zero_inflated(1.0 - count as f64 / elements as f64, Law::Point { value })
}

/// Standard deviation of a standard normal cut at `a` and `b`.
fn cut_std(a: f64, b: f64) -> f64 {
    Law::TruncatedNormal { mean: 0.0, sigma: 1.0, low: a, high: b }.std()
}

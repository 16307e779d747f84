//! Initializers: their names and parameters.

mod law;
mod text;

use serde::{Deserialize, Serialize};

use crate::SpecError;
use crate::law::normal_mass;

/// Which fan scales the variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FanMode {
    /// Keeps the forward signal.
    FanIn,
    /// Keeps the backward signal.
    FanOut,
    /// (fan_in + fan_out) / 2, Glorot's compromise.
    FanAvg,
    /// sqrt(fan_in fan_out).
    FanGeometricMean,
}

/// The shape of a variance-scaled law; all have variance `scale / fan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScalingDistribution {
    /// Gaussian.
    Normal,
    /// Gaussian cut at two of its own standard deviations and widened, so that the variance *after*
    /// truncation is the stated one: what Keras and JAX call normal.
    TruncatedNormal,
    /// Uniform within +-sqrt(3 scale / fan).
    Uniform,
}

/// Where a truncated normal is cut.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Truncation {
    /// In standard deviations from the mean, as in Keras and JAX.
    Sigmas(f64, f64),
    /// At absolute values, as in PyTorch's `trunc_normal_`, where -2 and 2 cut nothing of std 0.02.
    Absolute(f64, f64),
}

/// Which standard deviation a truncated normal's `std` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StdMeaning {
    /// That of the normal before it is cut; the weights have less.
    BeforeTruncation,
    /// That of the weights.
    AfterTruncation,
}

/// A rule that fills a weight array; the catalogue of the field.
///
/// Written as text it is `he_normal`, `normal(std = 0.1)`, `variance_scaling(scale = 2, mode =
/// fan_in, distribution = uniform)`; the same text stands in TOML and on the command line, with
/// dashes or underscores. Frameworks' defaults go by their own names (`pytorch_linear`,
/// `keras_he_normal`, `jax_he_normal`), since the same word means different laws among them.
///
/// # Example
/// ```
/// use gainstage_spec::{Initializer, WeightShape};
/// let layer = WeightShape::dense(784, 128)?;
/// let glorot = Initializer::glorot_uniform().law(&layer)?;
/// assert!((glorot.variance() - 2.0 / 912.0).abs() < 1e-16);
/// // One word, two laws: PyTorch's Kaiming normal is Gaussian, Keras's he_normal is cut.
/// let torch = "he_normal".parse::<Initializer>()?.law(&layer)?;
/// let keras = "keras_he_normal".parse::<Initializer>()?.law(&layer)?;
/// assert!((torch.variance() / keras.variance() - 1.0).abs() < 1e-12);
/// assert_eq!(torch.support().1, f64::INFINITY);
/// assert!(keras.support().1 < 0.12);
/// # Ok::<(), gainstage_spec::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Initializer {
    /// Every weight has this value; 0 and 1 are written `zeros` and `ones`.
    Constant {
        /// The value.
        value: f64,
    },
    /// `gain` on the main diagonal of a dense weight, zero elsewhere.
    Identity {
        /// Value on the diagonal.
        gain: f64,
    },
    /// Uniform between two bounds, whatever the fans.
    Uniform {
        /// Lower bound.
        low: f64,
        /// Upper bound.
        high: f64,
    },
    /// Gaussian with a fixed standard deviation, whatever the fans.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// Gaussian drawn again until it falls between the cuts.
    TruncatedNormal {
        /// Mean before truncation.
        mean: f64,
        /// Standard deviation.
        std: f64,
        /// Where it is cut.
        cut: Truncation,
        /// Which standard deviation `std` is; `AfterTruncation` needs symmetric cuts in sigmas.
        meaning: StdMeaning,
    },
    /// Variance `scale / fan`: LeCun, Glorot, He and the frameworks' defaults.
    VarianceScaling {
        /// Numerator of the variance, the squared gain.
        scale: f64,
        /// Denominator of the variance.
        mode: FanMode,
        /// Shape of the law.
        distribution: ScalingDistribution,
    },
    /// `gain` times a Haar-distributed matrix with orthonormal rows or columns, whichever are fewer.
    Orthogonal {
        /// Factor.
        gain: f64,
    },
    /// In each input's column exactly `ceil(sparsity * outputs)` zeros at random places, the rest
    /// Gaussian (PyTorch's `sparse_`, after Martens 2010).
    Sparse {
        /// Share of zeros, in [0, 1].
        sparsity: f64,
        /// Standard deviation of the rest.
        std: f64,
    },
    /// A convolution that passes channel i on unchanged, `gain` at the kernel's centre.
    Dirac {
        /// Value at the centre.
        gain: f64,
    },
    /// A convolution with an orthogonal matrix at the kernel's centre and zeros elsewhere; needs
    /// inputs <= outputs and one group (Xiao et al. 2018).
    DeltaOrthogonal {
        /// Factor.
        gain: f64,
    },
}

impl Initializer {
    /// All weights zero.
    pub fn zeros() -> Self {
        Self::Constant { value: 0.0 }
    }

    /// normal(std), mean zero.
    pub fn normal(std: f64) -> Self {
        Self::Normal { mean: 0.0, std }
    }

    /// Variance `scale / fan`.
    pub fn scaling(scale: f64, mode: FanMode, distribution: ScalingDistribution) -> Self {
        Self::VarianceScaling { scale, mode, distribution }
    }

    /// Variance `gain^2 / fan_in`, Gaussian.
    pub fn scaled_normal(gain: f64) -> Self {
        Self::scaling(gain * gain, FanMode::FanIn, ScalingDistribution::Normal)
    }

    /// normal, variance 1 / fan_in (LeCun et al. 1998).
    pub fn lecun_normal() -> Self {
        Self::scaling(1.0, FanMode::FanIn, ScalingDistribution::Normal)
    }

    /// normal, variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010).
    pub fn glorot_normal() -> Self {
        Self::scaling(1.0, FanMode::FanAvg, ScalingDistribution::Normal)
    }

    /// uniform, variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010, eq. 16).
    pub fn glorot_uniform() -> Self {
        Self::scaling(1.0, FanMode::FanAvg, ScalingDistribution::Uniform)
    }

    /// normal, variance 2 / fan_in (He et al. 2015, eq. 10).
    pub fn he_normal() -> Self {
        Self::scaling(2.0, FanMode::FanIn, ScalingDistribution::Normal)
    }

    /// uniform, variance 2 / fan_in.
    pub fn he_uniform() -> Self {
        Self::scaling(2.0, FanMode::FanIn, ScalingDistribution::Uniform)
    }

    /// uniform within +-1/sqrt(fan_in), variance 1/(3 fan_in): Glorot & Bengio's "standard
    /// heuristic" (eq. 1) and the default of PyTorch's Linear and Conv, weight and bias.
    pub fn pytorch_linear() -> Self {
        Self::scaling(1.0 / 3.0, FanMode::FanIn, ScalingDistribution::Uniform)
    }

    /// Whether every weight gets the same value.
    pub fn is_constant(&self) -> bool {
        matches!(self, Self::Constant { .. })
    }

    /// Whether the weights are independent Gaussians of mean zero.
    pub fn is_gaussian(&self) -> bool {
        matches!(
            self,
            Self::Normal { mean: 0.0, .. }
                | Self::VarianceScaling { distribution: ScalingDistribution::Normal, .. }
        )
    }

    /// Checks the parameters alone.
    ///
    /// # Errors
    /// [`SpecError::Domain`] with the parameter, its value and its bound.
    pub fn check(&self) -> Result<(), SpecError> {
        let finite = |name: &str, value: f64| {
            if value.is_finite() {
                Ok(())
            } else {
                Err(SpecError::domain(format!("{self}: {name}"), value, "finite"))
            }
        };
        let not_negative = |name: &str, value: f64| {
            finite(name, value)?;
            if value >= 0.0 {
                Ok(())
            } else {
                Err(SpecError::domain(format!("{self}: {name}"), value, "zero or positive"))
            }
        };
        match *self {
            Self::Constant { value } => finite("value", value),
            Self::Identity { gain }
            | Self::Orthogonal { gain }
            | Self::Dirac { gain }
            | Self::DeltaOrthogonal { gain } => finite("gain", gain),
            Self::Uniform { low, high } => {
                finite("low", low)?;
                finite("high", high)?;
                if low < high {
                    Ok(())
                } else {
                    Err(SpecError::domain("uniform: low", low, "below high"))
                }
            }
            Self::Normal { mean, std } => {
                finite("mean", mean)?;
                not_negative("std", std)
            }
            Self::TruncatedNormal { mean, std, cut, meaning } => {
                finite("mean", mean)?;
                not_negative("std", std)?;
                let (Truncation::Sigmas(low, high) | Truncation::Absolute(low, high)) = cut;
                if !(low < high) {
                    return Err(SpecError::domain(
                        "truncated normal: lower cut",
                        low,
                        "below the upper cut",
                    ));
                }
                // Rejection from a tail would not end in reasonable time.
                let (a, b) = match cut {
                    Truncation::Sigmas(a, b) => (a, b),
                    Truncation::Absolute(l, h) if std > 0.0 => ((l - mean) / std, (h - mean) / std),
                    Truncation::Absolute(..) => (-1.0, 1.0),
                };
                let inside = normal_mass(a, b);
                if !(inside >= 0.01) {
                    return Err(SpecError::domain(
                        "truncated normal: probability between the cuts",
                        inside,
                        "at least 0.01",
                    ));
                }
                if meaning == StdMeaning::AfterTruncation
                    && !matches!(cut, Truncation::Sigmas(l, h) if l == -h)
                {
                    return Err(SpecError::domain(
                        "truncated normal: lower cut",
                        low,
                        "symmetric in sigmas for a std after truncation",
                    ));
                }
                Ok(())
            }
            Self::VarianceScaling { scale, .. } => not_negative("scale", scale),
            Self::Sparse { sparsity, std } => {
                not_negative("std", std)?;
                if (0.0..=1.0).contains(&sparsity) {
                    Ok(())
                } else {
                    Err(SpecError::domain("sparse: sparsity", sparsity, "between 0 and 1"))
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WeightShape;

    fn variance(text: &str, inputs: usize, outputs: usize) -> f64 {
        let shape = WeightShape::dense(inputs, outputs).expect("positive widths");
        text.parse::<Initializer>().and_then(|i| i.law(&shape)).expect(text).variance()
    }

    #[test]
    fn named_initializers_have_the_published_variances() {
        let close = |text: &str, expected: f64| {
            let got = variance(text, 784, 128);
            assert!((got / expected - 1.0).abs() < 1e-12, "{text}: {got} against {expected}");
        };
        close("lecun-normal", 1.0 / 784.0);
        close("xavier_uniform", 2.0 / 912.0);
        close("keras_glorot_normal", 2.0 / 912.0);
        close("he-normal", 2.0 / 784.0);
        close("kaiming_uniform(mode = fan_out)", 2.0 / 128.0);
        close("he_normal(slope = 0.25)", 2.0 / (1.0625 * 784.0));
        close("he_normal(gain = 1.6666666666666667)", 25.0 / 9.0 / 784.0);
        close("pytorch_linear", 1.0 / (3.0 * 784.0));
        close("variance_scaling(3, fan_geometric_mean, uniform)", 3.0 / f64::sqrt(784.0 * 128.0));
        close("truncated_normal(std = 0.1)", 0.01 * 0.7737413035499232);
        close("truncated_normal(std = 0.1, std_is = after)", 0.01);
        // Cut at an absolute 2, a hundred sigmas out: nothing is lost.
        close("pytorch_trunc_normal(std = 0.02)", 0.0004);
        close("orthogonal", 1.0 / 784.0);
        close("sparse(sparsity = 0.9, std = 0.5)", 0.25 * (1.0 - 116.0 / 128.0));
    }

    #[test]
    fn text_and_value_agree() -> Result<(), SpecError> {
        for text in [
            "zeros",
            "ones",
            "constant(0.5)",
            "identity",
            "uniform(low = -0.1, high = 0.2)",
            "normal(std = 0.1)",
            "normal(mean = 1, std = 0.1)",
            "truncated_normal(std = 0.02)",
            "truncated_normal(std = 0.02, std_is = after)",
            "pytorch_trunc_normal(std = 0.02, mean = 0.1, low = -1, high = 2)",
            "lecun_uniform",
            "glorot_normal",
            "he_uniform",
            "pytorch_linear",
            "keras_he_normal",
            "variance_scaling(scale = 2, mode = fan_out, distribution = normal)",
            "orthogonal(gain = 1.5)",
            "sparse(sparsity = 0.9, std = 0.01)",
            "dirac",
            "delta_orthogonal",
        ] {
            let initializer: Initializer = text.parse()?;
            assert_eq!(initializer.to_string(), text);
            assert_eq!(initializer.to_string().parse::<Initializer>()?, initializer);
        }
        Ok(())
    }

    #[test]
    fn wrong_parameters_are_refused_with_a_sentence() {
        for text in [
            "normal(std = -1)",
            "normal",
            "normal(std = nan)",
            "uniform(1, -1)",
            "he_normal(mode = fan_up)",
            "hee_normal",
            "truncated_normal(std = 1, low = 5, high = 6)",
            "sparse(sparsity = 2)",
            "normal(std = 1, banana = 2)",
            "he_normal(0.2)",
            "normal(std = 1",
            "",
        ] {
            let error = text.parse::<Initializer>().expect_err(text).to_string();
            assert!(error.len() > 20, "{text}: {error}");
        }
        let dense = WeightShape::dense(3, 3).expect("valid");
        assert!(Initializer::Dirac { gain: 1.0 }.law(&dense).is_err());
        let conv = WeightShape::conv(&[3], 8, 4, 1).expect("valid");
        assert!(Initializer::DeltaOrthogonal { gain: 1.0 }.law(&conv).is_err());
        assert!(Initializer::Identity { gain: 1.0 }.law(&conv).is_err());
    }
}

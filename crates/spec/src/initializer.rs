use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::law::normal_mass;
use crate::{Law, SpecError, WeightShape};

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

const KNOWN: &str = "zeros, ones, constant(value), identity, uniform(low, high), normal(std), truncated_normal(std), \
     lecun_normal, lecun_uniform, glorot_normal, glorot_uniform, he_normal, he_uniform (each with gain, slope, mode; \
     xavier and kaiming are the same), variance_scaling(scale, mode, distribution), orthogonal(gain), sparse(sparsity, std), \
     dirac, delta_orthogonal, pytorch_linear, pytorch_conv, pytorch_trunc_normal(std), keras_dense, keras_he_normal, \
     keras_glorot_normal, keras_lecun_normal, keras_truncated_normal(std), jax_he_normal, jax_lecun_normal, flax_dense";

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

impl fmt::Display for Initializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Constant { value: 0.0 } => f.write_str("zeros"),
            Self::Constant { value: 1.0 } => f.write_str("ones"),
            Self::Constant { value } => write!(f, "constant({value})"),
            Self::Identity { gain } => gained(f, "identity", gain),
            Self::Uniform { low, high } => write!(f, "uniform(low = {low}, high = {high})"),
            Self::Normal { mean: 0.0, std } => write!(f, "normal(std = {std})"),
            Self::Normal { mean, std } => write!(f, "normal(mean = {mean}, std = {std})"),
            Self::TruncatedNormal { mean, std, cut, meaning } => {
                let (name, low, high) = match cut {
                    Truncation::Sigmas(low, high) => ("truncated_normal", low, high),
                    Truncation::Absolute(low, high) => ("pytorch_trunc_normal", low, high),
                };
                write!(f, "{name}(std = {std}")?;
                if mean != 0.0 {
                    write!(f, ", mean = {mean}")?;
                }
                if (low, high) != (-2.0, 2.0) {
                    write!(f, ", low = {low}, high = {high}")?;
                }
                if meaning == StdMeaning::AfterTruncation {
                    write!(f, ", std_is = after")?;
                }
                f.write_str(")")
            }
            Self::VarianceScaling { scale, mode, distribution } => {
                if let Some(name) = short_name(scale, mode, distribution) {
                    f.write_str(name)
                } else {
                    let mode = match mode {
                        FanMode::FanIn => "fan_in",
                        FanMode::FanOut => "fan_out",
                        FanMode::FanAvg => "fan_avg",
                        FanMode::FanGeometricMean => "fan_geometric_mean",
                    };
                    let distribution = match distribution {
                        ScalingDistribution::Normal => "normal",
                        ScalingDistribution::TruncatedNormal => "truncated_normal",
                        ScalingDistribution::Uniform => "uniform",
                    };
                    write!(
                        f,
                        "variance_scaling(scale = {scale}, mode = {mode}, distribution = {distribution})"
                    )
                }
            }
            Self::Orthogonal { gain } => gained(f, "orthogonal", gain),
            Self::Sparse { sparsity, std } => {
                write!(f, "sparse(sparsity = {sparsity}, std = {std})")
            }
            Self::Dirac { gain } => gained(f, "dirac", gain),
            Self::DeltaOrthogonal { gain } => gained(f, "delta_orthogonal", gain),
        }
    }
}

fn gained(f: &mut fmt::Formatter<'_>, name: &str, gain: f64) -> fmt::Result {
    if gain == 1.0 { f.write_str(name) } else { write!(f, "{name}(gain = {gain})") }
}

fn short_name(
    scale: f64,
    mode: FanMode,
    distribution: ScalingDistribution,
) -> Option<&'static str> {
    use FanMode::{FanAvg, FanIn};
    use ScalingDistribution::{Normal, TruncatedNormal, Uniform};
    Some(match (mode, distribution) {
        (FanIn, Normal) if scale == 1.0 => "lecun_normal",
        (FanIn, Uniform) if scale == 1.0 => "lecun_uniform",
        (FanAvg, Normal) if scale == 1.0 => "glorot_normal",
        (FanAvg, Uniform) if scale == 1.0 => "glorot_uniform",
        (FanIn, Normal) if scale == 2.0 => "he_normal",
        (FanIn, Uniform) if scale == 2.0 => "he_uniform",
        (FanIn, Uniform) if scale == 1.0 / 3.0 => "pytorch_linear",
        (FanIn, TruncatedNormal) if scale == 2.0 => "keras_he_normal",
        (FanAvg, TruncatedNormal) if scale == 1.0 => "keras_glorot_normal",
        (FanIn, TruncatedNormal) if scale == 1.0 => "keras_lecun_normal",
        _ => return None,
    })
}

impl FromStr for Initializer {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        use FanMode::{FanAvg, FanIn};
        use ScalingDistribution::{Normal, TruncatedNormal, Uniform};
        let mut call = Call::parse(text)?;
        let name = call.name.replace("xavier", "glorot").replace("kaiming", "he");
        let initializer = match name.as_str() {
            "zeros" | "zero" => Self::zeros(),
            "ones" => Self::Constant { value: 1.0 },
            "constant" => Self::Constant { value: call.required("value")? },
            "identity" | "eye" => Self::Identity { gain: call.number("gain", 1.0)? },
            "uniform" => Self::Uniform { low: call.required("low")?, high: call.required("high")? },
            "normal" => {
                Self::Normal { std: call.required("std")?, mean: call.number("mean", 0.0)? }
            }
            "truncated_normal" | "keras_truncated_normal" | "jax_truncated_normal" => {
                truncated(&mut call, Truncation::Sigmas)?
            }
            "pytorch_trunc_normal" => truncated(&mut call, Truncation::Absolute)?,
            "variance_scaling" => {
                let scale = call.number("scale", 1.0)?;
                let mode = fan_mode(&mut call, "fan_in")?;
                let distribution = match call.word("distribution", "truncated_normal").as_str() {
                    "normal" | "untruncated_normal" => Normal,
                    "truncated_normal" => TruncatedNormal,
                    "uniform" => Uniform,
                    other => {
                        let known = "normal, truncated_normal, uniform".to_owned();
                        return Err(SpecError::Unknown {
                            what: "distribution",
                            name: other.to_owned(),
                            known,
                        });
                    }
                };
                Self::VarianceScaling { scale, mode, distribution }
            }
            "lecun_normal" => family(&mut call, 1.0, FanIn, Normal)?,
            "lecun_uniform" => family(&mut call, 1.0, FanIn, Uniform)?,
            "glorot_normal" => family(&mut call, 1.0, FanAvg, Normal)?,
            "glorot_uniform" | "glorot" | "keras_dense" => family(&mut call, 1.0, FanAvg, Uniform)?,
            "he_normal" | "he" => family(&mut call, 2.0, FanIn, Normal)?,
            "he_uniform" => family(&mut call, 2.0, FanIn, Uniform)?,
            "keras_he_normal" | "jax_he_normal" | "he_truncated_normal" => {
                family(&mut call, 2.0, FanIn, TruncatedNormal)?
            }
            "keras_glorot_normal" | "jax_glorot_normal" | "glorot_truncated_normal" => {
                family(&mut call, 1.0, FanAvg, TruncatedNormal)?
            }
            "keras_lecun_normal" | "jax_lecun_normal" | "lecun_truncated_normal" | "flax_dense" => {
                family(&mut call, 1.0, FanIn, TruncatedNormal)?
            }
            "pytorch_linear" | "pytorch_conv" | "pytorch_bias" => {
                family(&mut call, 1.0 / 3.0, FanIn, Uniform)?
            }
            "orthogonal" => Self::Orthogonal { gain: call.number("gain", 1.0)? },
            "sparse" => Self::Sparse {
                sparsity: call.required("sparsity")?,
                std: call.number("std", 0.01)?,
            },
            "dirac" => Self::Dirac { gain: call.number("gain", 1.0)? },
            "delta_orthogonal" => Self::DeltaOrthogonal { gain: call.number("gain", 1.0)? },
            _ => {
                return Err(SpecError::Unknown {
                    what: "initializer",
                    name: text.trim().to_owned(),
                    known: KNOWN.to_owned(),
                });
            }
        };
        call.finish()?;
        initializer.check()?;
        Ok(initializer)
    }
}

/// The named families take a gain, a leaky slope (He et al. 2015, eq. 15) or another fan.
fn family(
    call: &mut Call<'_>,
    scale: f64,
    mode: FanMode,
    distribution: ScalingDistribution,
) -> Result<Initializer, SpecError> {
    let default = match mode {
        FanMode::FanOut => "fan_out",
        FanMode::FanAvg => "fan_avg",
        FanMode::FanGeometricMean => "fan_geometric_mean",
        FanMode::FanIn => "fan_in",
    };
    // `gain` replaces the family's own factor, since He's sqrt(2) *is* a gain; keyed only, so that
    // he_normal(0.2) cannot silently mean the one or the other.
    let gain = call.keyed_number("gain", scale.sqrt())?;
    let slope = call.keyed_number("slope", 0.0)?;
    let mode = fan_mode(call, default)?;
    let own = if gain == scale.sqrt() { scale } else { gain * gain };
    Ok(Initializer::VarianceScaling { scale: own / (1.0 + slope * slope), mode, distribution })
}

fn fan_mode(call: &mut Call<'_>, default: &str) -> Result<FanMode, SpecError> {
    match call.word("mode", default).as_str() {
        "fan_in" => Ok(FanMode::FanIn),
        "fan_out" => Ok(FanMode::FanOut),
        "fan_avg" => Ok(FanMode::FanAvg),
        "fan_geometric_mean" | "fan_geo_avg" => Ok(FanMode::FanGeometricMean),
        other => {
            let known = "fan_in, fan_out, fan_avg, fan_geometric_mean".to_owned();
            Err(SpecError::Unknown { what: "fan mode", name: other.to_owned(), known })
        }
    }
}

fn truncated(
    call: &mut Call<'_>,
    cut: fn(f64, f64) -> Truncation,
) -> Result<Initializer, SpecError> {
    let std = call.required("std")?;
    let mean = call.number("mean", 0.0)?;
    let (low, high) = (call.number("low", -2.0)?, call.number("high", 2.0)?);
    let meaning = match call.word("std_is", "before").as_str() {
        "before" => StdMeaning::BeforeTruncation,
        "after" => StdMeaning::AfterTruncation,
        other => {
            return Err(SpecError::Unknown {
                what: "meaning of std",
                name: other.to_owned(),
                known: "before, after".to_owned(),
            });
        }
    };
    Ok(Initializer::TruncatedNormal { mean, std, cut: cut(low, high), meaning })
}

impl TryFrom<String> for Initializer {
    type Error = SpecError;

    fn try_from(text: String) -> Result<Self, SpecError> {
        text.parse()
    }
}

impl From<Initializer> for String {
    fn from(initializer: Initializer) -> Self {
        initializer.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

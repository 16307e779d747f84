//! Initializers as text, written and read.

use std::fmt;
use std::str::FromStr;

use super::{FanMode, Initializer, ScalingDistribution, StdMeaning, Truncation};
use crate::SpecError;
use crate::call::Call;

const KNOWN: &str = "zeros, ones, constant(value), identity, uniform(low, high), normal(std), truncated_normal(std), \
     lecun_normal, lecun_uniform, glorot_normal, glorot_uniform, he_normal, he_uniform (each with gain, slope, mode; \
     xavier and kaiming are the same), variance_scaling(scale, mode, distribution), orthogonal(gain), sparse(sparsity, std), \
     dirac, delta_orthogonal, pytorch_linear, pytorch_conv, pytorch_trunc_normal(std), keras_dense, keras_he_normal, \
     keras_glorot_normal, keras_lecun_normal, keras_truncated_normal(std), jax_he_normal, jax_lecun_normal, flax_dense";

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

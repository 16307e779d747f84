//! The shapes that laws of weights have, whatever their scale.

use std::fmt;

use gainstage_spec::{FanMode, Initializer, Law, ScalingDistribution, StdMeaning, Truncation};

/// A law up to its mean and standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    /// Gaussian.
    Normal,
    /// Uniform.
    Uniform,
    /// Gaussian cut at that many of its standard deviations.
    Cut(u32),
    /// Entry of an orthogonal matrix of that dimension.
    Sphere(usize),
}

/// Families that are tried on every tensor.
pub(crate) const FAMILIES: [Family; 4] =
    [Family::Normal, Family::Uniform, Family::Cut(2), Family::Cut(3)];

impl Family {
    /// The member of that mean and standard deviation.
    pub(crate) fn law(self, mean: f64, std: f64) -> Law {
        match self {
            Self::Normal => Law::Normal { mean, std },
            Self::Uniform => {
                let half = 3.0f64.sqrt() * std;
                Law::Uniform { low: mean - half, high: mean + half }
            }
            Self::Cut(sigmas) => {
                let cut = f64::from(sigmas);
                let sigma = std / cut_std(sigmas);
                Law::TruncatedNormal {
                    mean,
                    sigma,
                    low: mean - cut * sigma,
                    high: mean + cut * sigma,
                }
            }
            Self::Sphere(dimension) => {
                Law::SphereCoordinate { dimension, radius: std * (dimension as f64).sqrt() }
            }
        }
    }

    /// The family of a law that has one.
    pub(crate) fn of(law: &Law) -> Option<Self> {
        match law {
            Law::Normal { .. } => Some(Self::Normal),
            Law::Uniform { .. } => Some(Self::Uniform),
            Law::TruncatedNormal { mean, sigma, low, high } => {
                let (a, b) = ((mean - low) / sigma, (high - mean) / sigma);
                if a.min(b) > 5.0 {
                    // PyTorch's absolute cuts cut nothing of a small std.
                    return Some(Self::Normal);
                }
                let cut = a.round();
                ((a - b).abs() < 1e-6 && (a - cut).abs() < 1e-6).then_some(Self::Cut(cut as u32))
            }
            Law::SphereCoordinate { dimension, .. } => Some(Self::Sphere(*dimension)),
            Law::ZeroInflated { other, .. } => Self::of(other),
            Law::Point { .. } => None,
        }
    }

    /// The initializer of that family with a fixed scale, stated as people state it: the standard
    /// deviation before a cut, the bound of a uniform law.
    pub(crate) fn stated(self, value: f64) -> Initializer {
        match self {
            Self::Normal | Self::Sphere(_) => Initializer::normal(value),
            Self::Uniform => Initializer::Uniform { low: -value, high: value },
            Self::Cut(sigmas) => {
                let cut = f64::from(sigmas);
                Initializer::TruncatedNormal {
                    mean: 0.0,
                    std: value,
                    cut: Truncation::Sigmas(-cut, cut),
                    meaning: StdMeaning::BeforeTruncation,
                }
            }
        }
    }

    /// The initializer of that family whose weights have this standard deviation, to four digits.
    pub(crate) fn fitted(self, std: f64) -> Initializer {
        let value = match self {
            Self::Normal | Self::Sphere(_) => std,
            Self::Uniform => 3f64.sqrt() * std,
            Self::Cut(sigmas) => std / cut_std(sigmas),
        };
        self.stated(format!("{value:.3e}").parse().unwrap_or(value))
    }

    /// The initializer of that family with variance `scale / fan`.
    pub(crate) fn scaled(self, scale: f64, mode: FanMode) -> Option<Initializer> {
        let distribution = match self {
            Self::Normal => ScalingDistribution::Normal,
            Self::Uniform => ScalingDistribution::Uniform,
            Self::Cut(2) => ScalingDistribution::TruncatedNormal,
            Self::Cut(_) | Self::Sphere(_) => return None,
        };
        Some(Initializer::scaling(scale, mode, distribution))
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::Uniform => f.write_str("uniform"),
            Self::Cut(sigmas) => write!(f, "normal cut at {sigmas} sigma"),
            Self::Sphere(_) => f.write_str("orthogonal"),
        }
    }
}

/// Standard deviation of a standard normal cut at +-sigmas: 0.8796 for 2, 0.9866 for 3.
pub(crate) fn cut_std(sigmas: u32) -> f64 {
    let cut = f64::from(sigmas);
    Law::TruncatedNormal { mean: 0.0, sigma: 1.0, low: -cut, high: cut }.std()
}

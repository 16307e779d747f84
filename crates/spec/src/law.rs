use std::f64::consts::{FRAC_1_SQRT_2, PI};
use std::fmt;

use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

/// The distribution of one weight, as the initializer declares it.
///
/// Sampler, theory and tests read the same declaration. Means and standard deviations are those of
/// the weight itself, in its own unit.
///
/// # Example
/// ```
/// use gainstage_spec::Law;
/// // "std = 1" cut at two standard deviations loses 12% of it.
/// let cut = Law::TruncatedNormal { mean: 0.0, sigma: 1.0, low: -2.0, high: 2.0 };
/// assert!((cut.std() - 0.8796256610342398).abs() < 1e-15);
/// assert!((cut.kurtosis().unwrap() - 2.3655367171296495).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Law {
    /// Always this value.
    Point {
        /// The value.
        value: f64,
    },
    /// Uniform between two bounds.
    Uniform {
        /// Lower bound.
        low: f64,
        /// Upper bound.
        high: f64,
    },
    /// Gaussian.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// Gaussian conditioned on an interval.
    TruncatedNormal {
        /// Mean before truncation.
        mean: f64,
        /// Standard deviation before truncation.
        sigma: f64,
        /// Lower bound, absolute.
        low: f64,
        /// Upper bound, absolute.
        high: f64,
    },
    /// One coordinate, times `radius`, of a uniform point on the unit sphere in `dimension`
    /// dimensions: an entry of a Haar-distributed orthogonal matrix.
    SphereCoordinate {
        /// Dimension of the space.
        dimension: usize,
        /// Radius of the sphere.
        radius: f64,
    },
    /// Exactly zero with probability `zero_share`, otherwise distributed as `other`.
    ZeroInflated {
        /// Probability of an exact zero.
        zero_share: f64,
        /// The law of the rest.
        other: Box<Law>,
    },
}

impl Law {
    /// E w
    pub fn mean(&self) -> f64 {
        match self {
            Self::Point { value } => *value,
            Self::Uniform { low, high } => 0.5 * (low + high),
            Self::Normal { mean, .. } => *mean,
            Self::TruncatedNormal { mean, sigma, .. } => mean + sigma * self.standard_moments()[1],
            Self::SphereCoordinate { .. } => 0.0,
            Self::ZeroInflated { zero_share, other } => (1.0 - zero_share) * other.mean(),
        }
    }

    /// E (w - E w)^2
    pub fn variance(&self) -> f64 {
        match self {
            Self::Point { .. } => 0.0,
            Self::Uniform { low, high } => (high - low).powi(2) / 12.0,
            Self::Normal { std, .. } => std * std,
            Self::TruncatedNormal { sigma, .. } => {
                let m = self.standard_moments();
                sigma * sigma * (m[2] - m[1] * m[1])
            }
            Self::SphereCoordinate { dimension, radius } => radius * radius / *dimension as f64,
            Self::ZeroInflated { zero_share, other } => {
                let keep = 1.0 - zero_share;
                keep * (other.variance() + zero_share * other.mean().powi(2))
            }
        }
    }

    /// sqrt of the variance.
    pub fn std(&self) -> f64 {
        self.variance().sqrt()
    }

    /// E w^2, the number that scales a signal.
    pub fn second_moment(&self) -> f64 {
        self.variance() + self.mean().powi(2)
    }

    /// E (w - E w)^4 / variance^2: 3 for a Gaussian, 9/5 uniform; `None` where the variance is zero.
    pub fn kurtosis(&self) -> Option<f64> {
        let variance = self.variance();
        (variance > 0.0).then(|| self.fourth_central() / (variance * variance))
    }

    /// E (w - E w)^4
    fn fourth_central(&self) -> f64 {
        match self {
            Self::Point { .. } => 0.0,
            Self::Uniform { low, high } => (high - low).powi(4) / 80.0,
            Self::Normal { std, .. } => 3.0 * std.powi(4),
            Self::TruncatedNormal { sigma, .. } => {
                let m = self.standard_moments();
                sigma.powi(4)
                    * (m[4] - 4.0 * m[3] * m[1] + 6.0 * m[2] * m[1] * m[1] - 3.0 * m[1].powi(4))
            }
            Self::SphereCoordinate { dimension, radius } => {
                let n = *dimension as f64;
                3.0 * radius.powi(4) / (n * (n + 2.0))
            }
            Self::ZeroInflated { zero_share, other } => {
                // Moments about the new mean m of a share `keep` of `other` and a share of zeros.
                let (keep, mu, m) = (1.0 - zero_share, other.mean(), self.mean());
                let shift = mu - m;
                let other_about_m = other.fourth_central()
                    + 4.0 * other.third_central() * shift
                    + 6.0 * other.variance() * shift * shift
                    + shift.powi(4);
                keep * other_about_m + zero_share * m.powi(4)
            }
        }
    }

    fn third_central(&self) -> f64 {
        match self {
            Self::TruncatedNormal { sigma, .. } => {
                let m = self.standard_moments();
                sigma.powi(3) * (m[3] - 3.0 * m[2] * m[1] + 2.0 * m[1].powi(3))
            }
            Self::ZeroInflated { zero_share, other } => {
                let (keep, m) = (1.0 - zero_share, self.mean());
                let shift = other.mean() - m;
                keep * (other.third_central() + 3.0 * other.variance() * shift + shift.powi(3))
                    - zero_share * m.powi(3)
            }
            _ => 0.0,
        }
    }

    /// Smallest and largest possible value.
    pub fn support(&self) -> (f64, f64) {
        match self {
            Self::Point { value } => (*value, *value),
            Self::Uniform { low, high } | Self::TruncatedNormal { low, high, .. } => (*low, *high),
            Self::Normal { .. } => (f64::NEG_INFINITY, f64::INFINITY),
            Self::SphereCoordinate { radius, .. } => (-radius.abs(), radius.abs()),
            Self::ZeroInflated { other, .. } => {
                let (low, high) = other.support();
                (low.min(0.0), high.max(0.0))
            }
        }
    }

    /// P(w <= x)
    pub fn cdf(&self, x: f64) -> f64 {
        match self {
            Self::Point { value } => {
                if x >= *value {
                    1.0
                } else {
                    0.0
                }
            }
            Self::Uniform { low, high } => ((x - low) / (high - low)).clamp(0.0, 1.0),
            Self::Normal { mean, std } => normal_cdf((x - mean) / std),
            Self::TruncatedNormal { mean, sigma, low, high } => {
                if x <= *low {
                    0.0
                } else if x >= *high {
                    1.0
                } else {
                    let (a, b) = ((low - mean) / sigma, (high - mean) / sigma);
                    normal_mass(a, (x - mean) / sigma) / normal_mass(a, b)
                }
            }
            Self::SphereCoordinate { dimension, radius } => {
                let t = (x / radius.abs()).clamp(-1.0, 1.0);
                if *dimension == 1 {
                    // The sphere in one dimension is the two points -1 and 1.
                    return if t >= 1.0 {
                        1.0
                    } else if t >= -1.0 && x >= -radius.abs() {
                        0.5
                    } else {
                        0.0
                    };
                }
                if t.abs() >= 1.0 {
                    return if t > 0.0 { 1.0 } else { 0.0 };
                }
                // t^2 is Beta(1/2, (n-1)/2).
                let inside = if t == 0.0 {
                    0.0
                } else {
                    beta_reg(0.5, 0.5 * (*dimension as f64 - 1.0), t * t)
                };
                0.5 * (1.0 + t.signum() * inside)
            }
            Self::ZeroInflated { zero_share, other } => {
                (1.0 - zero_share) * other.cdf(x) + if x >= 0.0 { *zero_share } else { 0.0 }
            }
        }
    }

    /// Whether w and -w have the same distribution.
    pub fn is_symmetric(&self) -> bool {
        match self {
            Self::Point { value } => *value == 0.0,
            Self::Uniform { low, high } => *low == -high,
            Self::Normal { mean, .. } => *mean == 0.0,
            Self::TruncatedNormal { mean, low, high, .. } => *mean == 0.0 && *low == -high,
            Self::SphereCoordinate { .. } => true,
            Self::ZeroInflated { other, .. } => other.is_symmetric(),
        }
    }

    /// Whether the law has no atoms, so that a KS test of its cdf is exact.
    pub fn is_continuous(&self) -> bool {
        match self {
            Self::Point { .. } | Self::ZeroInflated { .. } => false,
            Self::SphereCoordinate { dimension, .. } => *dimension > 1,
            _ => true,
        }
    }

    /// Raw moments 0 to 4 of (w - mean)/sigma for the truncated normal:
    /// m_k = (k-1) m_(k-2) + (a^(k-1) pdf(a) - b^(k-1) pdf(b)) / (Phi(b) - Phi(a)).
    fn standard_moments(&self) -> [f64; 5] {
        let Self::TruncatedNormal { mean, sigma, low, high } = self else {
            return [1.0, 0.0, 1.0, 0.0, 3.0];
        };
        let (a, b) = ((low - mean) / sigma, (high - mean) / sigma);
        let mass = normal_mass(a, b);
        let edge = |x: f64, k: i32| if x.is_infinite() { 0.0 } else { x.powi(k) * normal_pdf(x) };
        let mut m = [1.0, 0.0, 0.0, 0.0, 0.0];
        for k in 1..5 {
            let before = if k >= 2 { (k - 1) as f64 * m[k - 2] } else { 0.0 };
            m[k] = before + (edge(a, k as i32 - 1) - edge(b, k as i32 - 1)) / mass;
        }
        m
    }
}

fn normal_pdf(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// Phi(b) - Phi(a), from the tail in which both lie.
pub(crate) fn normal_mass(a: f64, b: f64) -> f64 {
    if a > 0.0 { normal_cdf(-a) - normal_cdf(-b) } else { normal_cdf(b) - normal_cdf(a) }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Point { value } => write!(f, "always {value}"),
            Self::Uniform { low, high } => write!(f, "uniform({low:.4}, {high:.4})"),
            Self::Normal { mean, std } if *mean == 0.0 => write!(f, "normal(std = {std:.4})"),
            Self::Normal { mean, std } => write!(f, "normal(mean = {mean:.4}, std = {std:.4})"),
            Self::TruncatedNormal { low, high, .. } => {
                write!(
                    f,
                    "truncated normal(std = {:.4}, within {low:.4} and {high:.4})",
                    self.std()
                )
            }
            Self::SphereCoordinate { .. } => write!(f, "orthogonal entry(std = {:.4})", self.std()),
            Self::ZeroInflated { zero_share, other } => {
                write!(f, "{:.1}% zeros, else {other}", 100.0 * zero_share)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Moments from the cdf by integration by parts, knowing nothing of the closed forms:
    /// E g(w) = g(hi) - integral of g'(x) F(x) dx over [lo, hi].
    fn moments_from_cdf(law: &Law) -> (f64, f64, f64) {
        let (mut lo, mut hi) = law.support();
        if lo.is_infinite() {
            (lo, hi) = (law.mean() - 12.0 * law.std(), law.mean() + 12.0 * law.std());
        }
        let (lo, hi) = (lo - 1e-9, hi + 1e-9);
        let n = 400_000;
        let step = (hi - lo) / n as f64;
        let expectation = |g: &dyn Fn(f64) -> f64, dg: &dyn Fn(f64) -> f64| {
            let integral: f64 =
                (0..n).map(|i| lo + (i as f64 + 0.5) * step).map(|x| dg(x) * law.cdf(x)).sum();
            g(hi) - integral * step
        };
        let mean = expectation(&|x| x, &|_| 1.0);
        let variance = expectation(&|x| (x - mean).powi(2), &|x| 2.0 * (x - mean));
        let fourth = expectation(&|x| (x - mean).powi(4), &|x| 4.0 * (x - mean).powi(3));
        (mean, variance, fourth)
    }

    #[test]
    fn declared_moments_are_those_of_the_declared_cdf() {
        let laws = [
            Law::Uniform { low: -0.3, high: 0.9 },
            Law::Normal { mean: 0.2, std: 0.7 },
            Law::TruncatedNormal { mean: 0.0, sigma: 1.0, low: -2.0, high: 2.0 },
            Law::TruncatedNormal { mean: 0.4, sigma: 1.0, low: -0.5, high: 2.5 },
            Law::SphereCoordinate { dimension: 2, radius: 1.0 },
            Law::SphereCoordinate { dimension: 7, radius: 1.5 },
            Law::ZeroInflated {
                zero_share: 0.3,
                other: Box::new(Law::Normal { mean: 0.5, std: 1.0 }),
            },
            Law::ZeroInflated { zero_share: 0.9, other: Box::new(Law::Point { value: 2.0 }) },
        ];
        for law in laws {
            let (mean, variance, fourth) = moments_from_cdf(&law);
            // Midpoint rule on 400,000 cells: jumps and the arcsine edges cost up to one cell.
            let tolerance = 2e-4;
            assert!((law.mean() - mean).abs() < tolerance, "{law}: mean {} {mean}", law.mean());
            assert!(
                (law.variance() - variance).abs() < tolerance,
                "{law}: {} {variance}",
                law.variance()
            );
            assert!(
                (law.fourth_central() - fourth).abs() < 5.0 * tolerance,
                "{law}: {} {fourth}",
                law.fourth_central()
            );
        }
    }

    #[test]
    fn truncated_normal_has_the_published_constants() {
        let cut = |c: f64| Law::TruncatedNormal { mean: 0.0, sigma: 1.0, low: -c, high: c };
        for (c, std) in
            [(1.0, 0.539560093754896973), (2.0, 0.8796256610342397504), (3.0, 0.986578392558108621)]
        {
            assert!((cut(c).std() - std).abs() < 1e-14, "cut at {c}: {}", cut(c).std());
        }
    }
}

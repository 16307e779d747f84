//! Laws of one layer's contribution to the logarithm of a squared norm.

use std::collections::BTreeMap;

use crate::law::Cumulants;
use crate::polygamma::polygamma;

/// ln of chi^2 with n degrees of freedom: n independent squared standard normals.
pub(crate) fn log_chi_squared(n: f64) -> Cumulants {
    let mut law = log_gamma(0.5 * n);
    law.mean += std::f64::consts::LN_2;
    law
}

/// ln of a gamma variable of this shape and scale 1.
pub(crate) fn log_gamma(shape: f64) -> Cumulants {
    Cumulants {
        mean: polygamma(0, shape),
        variance: polygamma(1, shape),
        third: polygamma(2, shape),
        fourth: polygamma(3, shape),
    }
}

/// ln of the share of a uniform direction in `whole` dimensions that lies in the first `part`: a
/// beta variable, the quotient of independent gamma variables of which the sum is the denominator.
pub(crate) fn log_share(part: f64, whole: f64) -> Cumulants {
    if part >= whole {
        return Cumulants::default();
    }
    let (a, b) = (log_gamma(0.5 * part), log_gamma(0.5 * whole));
    Cumulants {
        mean: a.mean - b.mean,
        variance: a.variance - b.variance,
        third: a.third - b.third,
        fourth: a.fourth - b.fourth,
    }
}

/// ln of (sum of slope_i^2 g_i^2) / (sum of g_i^2) over n units, where each unit's slope is one of the
/// two with probability 1/2, given that the sum is not zero.
///
/// The gates of a piecewise linear layer are fair coins independent of the sizes, and the quotient is
/// independent of the sum of g_i^2. With K units on the positive side the share of their squares is
/// Beta(K/2, (n-K)/2), so that the quotient is negative^2 + (positive^2 - negative^2) Beta. For ReLU
/// the product with the chi^2 of n is chi^2 of K ~ Binomial(n, 1/2), the law of Hanin & Nica 2019.
fn log_gate(n: usize, negative: f64, positive: f64) -> Cumulants {
    let (low, high) = (negative * negative, positive * positive);
    if low == high {
        return Cumulants::constant(low.ln());
    }
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (k, probability) in binomial_half(n) {
        if k == 0 || k == n {
            let value = if k == 0 { low } else { high };
            if value > 0.0 {
                points.push((value.ln(), probability));
            }
            continue;
        }
        let start = points.len();
        beta_points(0.5 * k as f64, 0.5 * (n - k) as f64, |share, log_share, w| {
            let value = if low == 0.0 {
                high.ln() + log_share
            } else if high == 0.0 {
                low.ln() + (-share).ln_1p()
            } else {
                (low + (high - low) * share).ln()
            };
            points.push((value, w));
        });
        let total: f64 = points[start..].iter().map(|p| p.1).sum();
        points[start..].iter_mut().for_each(|p| p.1 *= probability / total);
    }
    Cumulants::of(&points)
}

/// Laws of [`log_gate`] by width and slopes: equal layers of a deep network share one.
#[derive(Debug, Default)]
pub(crate) struct Gates(BTreeMap<(usize, u64, u64), Cumulants>);

impl Gates {
    pub(crate) fn law(&mut self, n: usize, negative: f64, positive: f64) -> Cumulants {
        let key = (n, negative.to_bits(), positive.to_bits());
        *self.0.entry(key).or_insert_with(|| log_gate(n, negative, positive))
    }
}

/// Binomial(n, 1/2) where its probability is above 1e-22 of the largest, up to a common factor.
fn binomial_half(n: usize) -> Vec<(usize, f64)> {
    let middle = n / 2;
    let mut found = vec![(middle, 1.0)];
    let mut probability = 1.0;
    for k in middle..n {
        probability *= (n - k) as f64 / (k + 1) as f64;
        if probability < 1e-22 {
            break;
        }
        found.push((k + 1, probability));
    }
    probability = 1.0;
    for k in (1..=middle).rev() {
        probability *= k as f64 / (n - k + 1) as f64;
        if probability < 1e-22 {
            break;
        }
        found.push((k - 1, probability));
    }
    found
}

/// Calls `f(b, ln b, weight)` on a grid for Beta(alpha, beta), uniform in the logit of b, on which
/// the trapezoid rule converges geometrically. The weights are not normalised.
fn beta_points(alpha: f64, beta: f64, mut f: impl FnMut(f64, f64, f64)) {
    let centre = (alpha / beta).ln();
    let width = (1.0 / alpha + 1.0 / beta).sqrt();
    // The density's nearest poles are at imaginary distance pi: an error of exp(-2 pi^2 / 0.6) at
    // the largest width, 2.
    let step = 0.3 * width;
    // ln density of the logit v is alpha v - (alpha + beta) ln(1 + e^v), concave with its top at the centre.
    let soft = |v: f64| if v > 0.0 { v + (-v).exp().ln_1p() } else { v.exp().ln_1p() };
    let top = alpha * centre - (alpha + beta) * soft(centre);
    let mut go = |direction: f64, first: i32| {
        for i in first.. {
            let v = centre + direction * step * f64::from(i);
            let log_density = alpha * v - (alpha + beta) * soft(v) - top;
            if log_density < -50.0 {
                break;
            }
            let log_share = -soft(-v);
            f(log_share.exp(), log_share, log_density.exp());
        }
    };
    go(1.0, 0);
    go(-1.0, 1);
}

//! Composite Gauss-Legendre quadrature against the standard normal density.
//!
//! One rule for every activation and every variance: the half line is cut where the Gaussian changes
//! (steps of one to three standard deviations), where the activation changes (its scale times powers
//! of two) and at its kinks, and 20 nodes are laid in each piece (12 in each direction of a double integral). Between the cuts every integrand
//! is analytic in a neighbourhood at least half as wide as the piece, so the error is below 1e-15.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// Beyond 13 standard deviations the normal density is below 1e-37.
pub(crate) const TAIL: f64 = 13.0;

/// Cuts at which the normal density is smooth on the scale of the piece.
const GAUSSIAN_CUTS: [f64; 8] = [1.0, 2.0, 3.0, 4.5, 6.0, 8.0, 10.0, TAIL];

/// Nodes and weights on [-1, 1], for one integral and for each of two nested ones.
static FINE: LazyLock<[(f64, f64); 20]> = LazyLock::new(gauss_legendre);
static NESTED: LazyLock<[(f64, f64); 12]> = LazyLock::new(gauss_legendre);
/// For cubics between the points of a table, whose products are of degree six.
static CUBIC: LazyLock<[(f64, f64); 5]> = LazyLock::new(gauss_legendre);

/// The N-point rule by Newton's method on the Legendre polynomial.
fn gauss_legendre<const N: usize>() -> [(f64, f64); N] {
    let n = N as f64;
    std::array::from_fn(|i| {
        let mut x = (PI * (i as f64 + 0.75) / (n + 0.5)).cos();
        let mut slope = 1.0;
        for _ in 0..100 {
            let (mut p, mut before) = (1.0, 0.0);
            for k in 0..N {
                let k = k as f64;
                (p, before) = (((2.0 * k + 1.0) * x * p - k * before) / (k + 1.0), p);
            }
            slope = n * (x * p - before) / (x * x - 1.0);
            let step = p / slope;
            x -= step;
            if step.abs() < 1e-16 {
                break;
            }
        }
        (x, 2.0 / ((1.0 - x * x) * slope * slope))
    })
}

/// Calls `f` with nodes and weights for an integral over [a, b].
fn panel(rule: &[(f64, f64)], a: f64, b: f64, mut f: impl FnMut(f64, f64)) {
    let (middle, half) = (0.5 * (a + b), 0.5 * (b - a));
    for &(x, w) in rule {
        f(middle + half * x, half * w);
    }
}

/// As [`half_line`] over the whole line between these sorted cuts, with fewer nodes.
///
/// Where `cubic`, panels narrow enough for the density to be smooth take fewer still.
pub(crate) fn between(cuts: &[f64], cubic: bool, mut f: impl FnMut(f64, f64)) {
    for pair in cuts.windows(2).filter(|pair| pair[1] > pair[0]) {
        let short = cubic && pair[1] - pair[0] < 0.2;
        let rule: &[(f64, f64)] = if short { &*CUBIC } else { &*NESTED };
        panel(rule, pair[0], pair[1], |t, w| f(t, w * density(t)));
    }
}

/// Standard normal density.
fn density(t: f64) -> f64 {
    (-0.5 * t * t).exp() / (2.0 * PI).sqrt()
}

/// Calls `f(t, w)` with nodes t > 0 and weights w such that sum w g(t) is the integral of g times the
/// standard normal density over the half line, for g that vary on the scales `unit` 2^k and are not
/// smooth at `kinks` (both in units of t).
pub(crate) fn half_line(unit: f64, kinks: &[f64], mut f: impl FnMut(f64, f64)) {
    let mut cuts = vec![0.0];
    cuts.extend(GAUSSIAN_CUTS);
    scale_cuts(0.25 * unit, TAIL, &mut cuts);
    cuts.extend(kinks.iter().copied().filter(|&k| k > 0.0 && k < TAIL));
    cuts.sort_by(f64::total_cmp);
    for pair in cuts.windows(2).filter(|pair| pair[1] > pair[0]) {
        panel(&*FINE, pair[0], pair[1], |t, w| f(t, w * density(t)));
    }
}

/// Cuts at `unit` times 1, 2, 4, ... below `end`.
pub(crate) fn scale_cuts(unit: f64, end: f64, cuts: &mut Vec<f64>) {
    // A unit of zero (an infinite variance) has no scale to cut at.
    let mut cut = if unit > 0.0 { unit } else { end };
    while cut < end {
        cuts.push(cut);
        cut *= 2.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_integrates_normal_moments_at_every_scale() {
        for unit in [1e-3, 0.3, 1.0, 1e6] {
            for (power, expected) in [(0, 0.5), (2, 0.5), (4, 1.5), (8, 52.5), (12, 5197.5)] {
                let mut sum = 0.0;
                half_line(unit, &[0.7], |t, w| sum += w * t.powi(power));
                assert!((sum / expected - 1.0).abs() < 1e-14, "{unit} {power}: {sum}");
            }
        }
    }
}

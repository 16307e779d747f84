//! The loss of a classifier that knows nothing yet.

use crate::TheoryError;
use crate::error::not_negative;

/// Euler's constant, the mean of a standard Gumbel variable.
const EULER: f64 = 0.577_215_664_901_532_9;
/// Step of both integrals, in units of the width of what is integrated. Integrands that are analytic in a strip
/// of half-width a cost the trapezoidal rule exp(-2 pi a / step) (Trefethen & Weideman 2014); a Gumbel variable's
/// density and distribution have a = pi/2.
const STEP: f64 = 0.25;

/// Expected cross-entropy of a softmax whose `classes` logits are independent normal(variance q), for
/// labels that are independent of them: E log sum exp z, in nats.
///
/// ln K at q = 0, ln K + q (1 - 1/K) / 2 for small q, sqrt(q) times the expected largest of K standard
/// normals for large q. Whoever starts far above ln K spends the first steps on making the logits small.
///
/// # Method
/// With independent standard Gumbel variables G, max(z + G) given z is Gumbel about log sum exp z, so the
/// expectation is E max(z + G) - 0.5772, one integral over the K-th power of a distribution function.
///
/// # Errors
/// [`TheoryError::Domain`] for no class, or a q that is negative or not finite.
///
/// # Example
/// ```
/// use gainstage_theory::blind_cross_entropy;
/// let ln_k = 10f64.ln();
/// assert!((blind_cross_entropy(10, 0.0)? - ln_k).abs() < 1e-9);
/// assert!((blind_cross_entropy(10, 1e-3)? - (ln_k + 0.45e-3)).abs() < 1e-6);
/// // The largest of ten standard normals is 1.5388 on average.
/// assert!((blind_cross_entropy(10, 1e8)? / 1.5388e4 - 1.0).abs() < 1e-3);
/// # Ok::<(), gainstage_theory::TheoryError>(())
/// ```
pub fn blind_cross_entropy(classes: usize, q: f64) -> Result<f64, TheoryError> {
    not_negative("the second moment of the logits", q)?;
    if classes == 0 {
        return Err(TheoryError::Domain {
            what: "the number of classes",
            value: 0.0,
            bound: "at least 1",
        });
    }
    Ok(integral(classes, q.sqrt(), STEP))
}

fn integral(classes: usize, std: f64, step: f64) -> f64 {
    let ln_k = (classes as f64).ln();
    let largest = (2.0 * ln_k).sqrt();
    // The largest of K reaches further out than one does.
    let sum = if std < 1.0 {
        Sum::over_gaussian(std, largest + 9.0, step)
    } else {
        Sum::over_gumbel(std, ln_k + 38.0, step)
    };
    let low = -9.0 * std - 4.0;
    let high = std * (largest + 9.0) + ln_k + 38.0;
    // The largest of K Gumbel variables varies as one does, that of K normal ones less.
    let width = (std / (1.0 + largest)).max(1.0);
    let steps = ((high - low) / (step * width)).ceil();
    let step = (high - low) / steps;
    // E max = high - integral of P(max <= v), where P is 0 at the lower end and 1 at the upper.
    let area: f64 = (0..=steps as usize)
        .map(|i| {
            let end = if i == 0 || i as f64 == steps { 0.5 } else { 1.0 };
            // P^K by way of 1 - P, whose rounding K does not multiply.
            end * (classes as f64 * (-sum.above(low + i as f64 * step)).ln_1p()).exp()
        })
        .sum();
    high - step * area - EULER
}

/// A Gumbel variable plus a Gaussian, as a mixture over the one that is narrower.
enum Sum {
    /// A small Gaussian s x: exp(s x) at each node, and the node's weight.
    OverGaussian(Vec<(f64, f64)>),
    /// A large Gaussian of this standard deviation: Gumbel nodes and weights.
    OverGumbel(f64, Vec<(f64, f64)>),
}

impl Sum {
    fn over_gaussian(std: f64, reach: f64, step: f64) -> Self {
        let nodes = nodes(-reach, reach, step, |x| (-0.5 * x * x).exp());
        Self::OverGaussian(nodes.map(|(x, w)| ((std * x).exp(), w)).collect())
    }

    fn over_gumbel(std: f64, reach: f64, step: f64) -> Self {
        let nodes = nodes(-4.0, reach, step, |g| (-g - (-g).exp()).exp());
        Self::OverGumbel(std, nodes.collect())
    }

    /// Probability that it lies above v.
    fn above(&self, v: f64) -> f64 {
        let sum: f64 = match self {
            Self::OverGaussian(nodes) => {
                let e = (-v).exp();
                nodes.iter().map(|&(exp, w)| w * -(-exp * e).exp_m1()).sum()
            }
            Self::OverGumbel(std, nodes) => {
                let scale = std::f64::consts::FRAC_1_SQRT_2 / std;
                nodes.iter().map(|&(g, w)| w * 0.5 * libm::erfc((v - g) * scale)).sum()
            }
        };
        sum.min(1.0)
    }
}

/// Nodes and weights of the trapezoidal rule for a density, to a sum of 1.
fn nodes(
    low: f64,
    high: f64,
    step: f64,
    density: fn(f64) -> f64,
) -> impl Iterator<Item = (f64, f64)> {
    let all = move || {
        let count = ((high - low) / step) as usize;
        (0..=count).map(move |i| low + i as f64 * step).map(move |x| (x, density(x)))
    };
    let total: f64 = all().map(|(_, w)| w).sum();
    all().map(move |(x, w)| (x, w / total))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes: log sum exp = (a + b)/2 + log(2 cosh(d/2)), d = a - b ~ normal(variance 2q).
    fn two(q: f64) -> f64 {
        let std = (2.0 * q).sqrt();
        let (step, mut sum, mut total) = (1e-3, 0.0, 0.0);
        for i in -10_000..=10_000 {
            let x = f64::from(i) * step;
            let w = (-0.5 * x * x).exp();
            let d = 0.5 * (std * x).abs();
            sum += w * (d + (-2.0 * d).exp().ln_1p());
            total += w;
        }
        sum / total
    }

    #[test]
    fn two_classes_are_a_plain_integral() {
        for q in [0.0, 1e-4, 0.3, 0.99, 1.0, 1.01, 4.0, 100.0, 1e6] {
            let (found, exact) = (blind_cross_entropy(2, q).expect("defined"), two(q));
            assert!((found / exact - 1.0).abs() < 1e-6, "q = {q}: {found} against {exact}");
        }
    }

    #[test]
    fn three_times_the_nodes_change_nothing() {
        for classes in [1usize, 2, 10, 1000, 50_257, 1 << 40] {
            for q in [0.0, 1e-4, 0.3, 0.99, 1.0, 1.01, 4.0, 100.0, 1e6, 1e8] {
                let found = blind_cross_entropy(classes, q).expect("defined");
                let fine = integral(classes, q.sqrt(), STEP / 3.0);
                // The upper end of the integral, which is subtracted, is of the size of the logits.
                let off = (found - fine).abs() / fine.abs().max(1.0 + q.sqrt());
                assert!(off < 1e-11, "{classes} classes, q = {q}: {found} against {fine}");
            }
        }
    }

    #[test]
    fn small_logits_and_many_classes_follow_the_expansion() {
        for classes in [1usize, 3, 1000, 50_257] {
            let k = classes as f64;
            let found = blind_cross_entropy(classes, 1e-2).expect("defined");
            assert!((found - (k.ln() + 0.5e-2 * (1.0 - 1.0 / k))).abs() < 2e-5, "{classes}");
        }
        assert!(blind_cross_entropy(0, 1.0).is_err());
        assert!(blind_cross_entropy(3, f64::NAN).is_err());
    }
}

//! The loss of a classifier that knows nothing yet.

use crate::TheoryError;
use crate::error::not_negative;

/// Euler's constant, the mean of a standard Gumbel variable.
const EULER: f64 = 0.577_215_664_901_532_9;
/// Intervals of the outer integral.
const STEPS: usize = 1500;

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
    let (std, ln_k) = (q.sqrt(), (classes as f64).ln());
    let sum = Sum::new(std);
    let low = -9.0 * std - 4.0;
    let high = std * ((2.0 * ln_k).sqrt() + 9.0) + ln_k + 38.0;
    let step = (high - low) / STEPS as f64;
    // E max = high - integral of P(max <= v), where P is 0 at the lower end and 1 at the upper.
    let area: f64 = (0..=STEPS)
        .map(|i| {
            let end = if i == 0 || i == STEPS { 0.5 } else { 1.0 };
            end * sum.distribution(low + i as f64 * step).powf(classes as f64)
        })
        .sum();
    Ok(high - step * area - EULER)
}

/// A Gumbel variable plus a Gaussian, as a mixture over the one that is narrower.
struct Sum {
    std: f64,
    /// Nodes and weights of the variable that is integrated out.
    nodes: Vec<(f64, f64)>,
}

impl Sum {
    fn new(std: f64) -> Self {
        let density: fn(f64) -> f64 =
            if std < 1.0 { |x| (-0.5 * x * x).exp() } else { |g| (-g - (-g).exp()).exp() };
        let (low, high) = if std < 1.0 { (-9.0, 9.0) } else { (-4.0, 38.0) };
        let step = 0.1;
        let count = ((high - low) / step) as usize;
        let mut nodes: Vec<(f64, f64)> = (0..=count)
            .map(|i| low + i as f64 * step)
            .map(|x| (x, density(x)))
            .filter(|(_, w)| *w > 1e-18)
            .collect();
        let total: f64 = nodes.iter().map(|(_, w)| w).sum();
        nodes.iter_mut().for_each(|(_, w)| *w /= total);
        Self { std, nodes }
    }

    fn distribution(&self, v: f64) -> f64 {
        let given = |x: f64| {
            if self.std < 1.0 {
                (-(self.std * x - v).exp()).exp()
            } else {
                0.5 * libm::erfc((x - v) / self.std * std::f64::consts::FRAC_1_SQRT_2)
            }
        };
        self.nodes.iter().map(|&(x, w)| w * given(x)).sum()
    }
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

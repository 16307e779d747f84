use crate::error::sample;
use crate::special::normal_two_sided;
use crate::{StatsError, Test};

/// Pearson's correlation of pairs, means removed.
///
/// # Errors
/// [`StatsError`] for unequal lengths, fewer than two pairs, values that are not finite, or a sample
/// without spread.
///
/// # Example
/// ```
/// use gainstage_stats::correlation;
/// assert!((correlation(&[1.0, 2.0, 3.0], &[2.0, 4.0, 6.0])? - 1.0).abs() < 1e-15);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn correlation(x: &[f64], y: &[f64]) -> Result<f64, StatsError> {
    if x.len() != y.len() {
        return Err(StatsError::Lengths { left: x.len(), right: y.len() });
    }
    let (x, y) = (centred("first sample", x)?, centred("second sample", y)?);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    Ok((dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt()).clamp(-1.0, 1.0))
}

/// Deviations from the mean in units of the largest, so that no square over- or underflows.
fn centred(what: &'static str, values: &[f64]) -> Result<Vec<f64>, StatsError> {
    sample(what, values, 2)?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let largest = values.iter().fold(0.0, |a: f64, v| a.max((v - mean).abs()));
    if !(largest > 0.0) || values.iter().all(|&v| v == values[0]) {
        return Err(StatsError::NoSpread { what });
    }
    Ok(values.iter().map(|v| (v - mean) / largest).collect())
}

/// Fisher's z-test that the correlation of pairs is `expected`.
///
/// ```text
/// z = (atanh r - atanh expected) sqrt(n - 3)
/// ```
/// For `expected = 0` it needs independence and finite variances only; otherwise nearly bivariate normal
/// pairs (Fisher 1921). The effect is `r - expected`.
///
/// # Errors
/// As [`correlation`], for fewer than ten pairs, and for an expected value outside (-1, 1).
pub fn correlation_test(x: &[f64], y: &[f64], expected: f64) -> Result<Test, StatsError> {
    if !(expected > -1.0 && expected < 1.0) {
        let bound = "strictly between -1 and 1";
        return Err(StatsError::Domain { what: "expected correlation", value: expected, bound });
    }
    let r = correlation(x, y)?;
    let n = x.len() as u64;
    if n < 10 {
        return Err(StatsError::TooFew { what: "a test of a correlation", needed: 10, got: n });
    }
    // The last double below 1 keeps z finite for proportional samples; its p-value is 0 regardless.
    let r = r.clamp(-1.0 + f64::EPSILON, 1.0 - f64::EPSILON);
    let z = (r.atanh() - expected.atanh()) * (n as f64 - 3.0).sqrt();
    let effect = (r - expected, "correlation");
    Ok(Test::new("Fisher z-test of a correlation", z, normal_two_sided(z), n, effect, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Probability;
    use crate::testing::{assert_rate, assert_rate_at_least, count, exponential, normal};

    fn correlated(rng: &mut rand::rngs::ChaCha8Rng, n: usize, rho: f64) -> (Vec<f64>, Vec<f64>) {
        let (x, e) = (normal(rng, n), normal(rng, n));
        let y = x.iter().zip(e).map(|(x, e)| rho * x + (1.0 - rho * rho).sqrt() * e).collect();
        (x, y)
    }

    #[test]
    fn correlation_tests_raise_false_alarms_at_the_stated_rate() {
        let alpha = Probability::new(0.05).unwrap();
        for rho in [0.0, 0.7] {
            let hits = count(4000, |rng| {
                let (x, y) = correlated(rng, 300, rho);
                correlation_test(&x, &y, rho).unwrap().rejects(alpha)
            });
            assert_rate(&format!("normal, rho = {rho}"), hits, 4000, 0.05);
        }
        let hits = count(4000, |rng| {
            let (x, y) = (exponential(rng, 300), exponential(rng, 300));
            correlation_test(&x, &y, 0.0).unwrap().rejects(alpha)
        });
        assert_rate("exponential", hits, 4000, 0.05);
    }

    #[test]
    fn one_seed_used_twice_is_seen() {
        // atanh(0.3) sqrt(297) = 5.3 standard errors.
        let hits = count(500, |rng| {
            let (x, y) = correlated(rng, 300, 0.3);
            correlation_test(&x, &y, 0.0).unwrap().rejects(Probability::new(0.01).unwrap())
        });
        assert_rate_at_least("rho = 0.3", hits, 500, 0.99);
        let x = normal(&mut crate::testing::rng(0), 100);
        let same = correlation_test(&x, &x, 0.0).unwrap();
        assert!(same.statistic.is_finite() && same.p_value < 1e-300);
    }

    #[test]
    fn a_constant_has_no_correlation() {
        assert!(matches!(
            correlation(&[0.1; 5], &[1.0, 2.0, 3.0, 4.0, 5.0]),
            Err(StatsError::NoSpread { .. })
        ));
        let tiny = correlation(&[1e-200, 2e-200, 4e-200], &[1e200, 2e200, 4e200]).unwrap();
        assert!((tiny - 1.0).abs() < 1e-12);
    }
}

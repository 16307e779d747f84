use crate::error::differences;
use crate::special::binomial_lower;
use crate::{StatsError, Test};

/// Sign test that a paired difference `first - second` is as often positive as negative: exact, and free
/// of any assumption on the law of the differences. Pairs without difference are left out (Dixon and
/// Mood 1946).
///
/// The statistic is the number of positive minus the number of negative differences; the effect is the
/// share of positive ones minus one half.
///
/// # Errors
/// [`StatsError`] for unequal lengths, values that are not finite, or no pair with a difference.
///
/// # Example
/// ```
/// use gainstage_stats::sign_test;
/// // Six of six: p = 2 / 2^6.
/// let test = sign_test(&[1.0; 6], &[0.0; 6])?;
/// assert_eq!((test.statistic, test.effect), (6.0, 0.5));
/// assert!((test.p_value - 1.0 / 32.0).abs() < 1e-15);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn sign_test(first: &[f64], second: &[f64]) -> Result<Test, StatsError> {
    let differences = differences(first, second)?;
    let positive = differences.iter().filter(|&&d| d > 0.0).count() as u64;
    let negative = differences.iter().filter(|&&d| d < 0.0).count() as u64;
    let n = positive + negative;
    if n == 0 {
        return Err(StatsError::NoSpread { what: "the differences" });
    }
    let p = (2.0 * binomial_lower(positive.min(negative), n, 0.5)).min(1.0);
    let statistic = positive as f64 - negative as f64;
    let effect = (positive as f64 / n as f64 - 0.5, "share above one half");
    Ok(Test::new("sign test", statistic, p, n, effect, true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Probability;
    use crate::testing::{assert_conservative, assert_rate_at_least, count, exponential, normal};

    #[test]
    fn sign_tests_raise_no_more_false_alarms_than_stated() {
        // Skewed differences with median zero and mean above zero, which a t-test would reject.
        assert_conservative("sign", 3000, |rng| {
            let skewed: Vec<f64> =
                exponential(rng, 60).iter().map(|x| x - std::f64::consts::LN_2).collect();
            sign_test(&skewed, &[0.0; 60]).unwrap().p_value
        });
    }

    #[test]
    fn sign_tests_see_a_median_of_one_standard_deviation() {
        // P(difference > 0) = P(Z < 1) = 0.84; 30 pairs reject at 5% from 21 on, P = 0.98.
        let hits = count(500, |rng| {
            let values: Vec<f64> = normal(rng, 30).iter().map(|z| z + 1.0).collect();
            sign_test(&values, &[0.0; 30]).unwrap().rejects(Probability::new(0.05).unwrap())
        });
        assert_rate_at_least("sign", hits, 500, 0.97);
    }

    #[test]
    fn equal_pairs_are_left_out_and_nothing_but_equal_pairs_is_refused() {
        assert_eq!(sign_test(&[1.0, 2.0, 3.0], &[1.0, 1.0, 4.0]).unwrap().n, 2);
        assert!(matches!(sign_test(&[1.0], &[1.0]), Err(StatsError::NoSpread { .. })));
    }
}

use crate::error::{kurtosis as checked_kurtosis, kurtosis_above_one, positive};
use crate::special::{normal_two_sided, normal_upper_quantile};
use crate::{Interval, Moments, Probability, StatsError, Test};

/// Relative standard error of the sample variance of `n` independent values of a law with the given
/// kurtosis,
///
/// ```text
/// sqrt((kurtosis - 3) / n + 2 / (n - 1)),  which is sqrt((kurtosis - 1) / n) but for terms in 1 / n^2
/// ```
/// (Cramér 1946, eq. 27.4.2). For the second moment about a known centre `sqrt((kurtosis - 1) / n)` is
/// exact.
///
/// # Errors
/// [`StatsError`] for fewer than two values or a kurtosis below 1.
///
/// # Example
/// ```
/// use gainstage_stats::relative_standard_error_of_variance as error;
/// for kurtosis in [1.8, 2.366, 3.0] {
///     let short = ((kurtosis - 1.0) / 1e4_f64).sqrt();
///     assert!((error(kurtosis, 10_000)? / short - 1.0).abs() < 2e-4);
/// }
/// assert!((error(3.0, 10_000)? - 0.014143).abs() < 1e-6);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn relative_standard_error_of_variance(kurtosis: f64, n: u64) -> Result<f64, StatsError> {
    let kurtosis = checked_kurtosis(kurtosis)?;
    if n < 2 {
        return Err(StatsError::TooFew { what: "a sample variance", needed: 2, got: n });
    }
    let n = n as f64;
    Ok(((kurtosis - 3.0) / n + 2.0 / (n - 1.0)).sqrt())
}

/// z-test of a variance (mean removed) when the law's kurtosis is known.
///
/// ```text
/// z = (s^2 / expected - 1) / sqrt((kurtosis - 3) / n + 2 / (n - 1))
/// ```
/// By the central limit theorem. The sample variance of few values is skewed to the right, so far tails
/// are approximate: for normal values at n = 10,000 the one-sided rate at z = 4.75 is about 1.6 times
/// the normal law's. The effect is `s^2 / expected - 1`.
///
/// # Errors
/// [`StatsError`] for fewer than two values, values that are not finite, an expected variance that is
/// not positive, or a kurtosis that is not above 1 (the sign law, whose variance has no error).
///
/// # Example
/// ```
/// use gainstage_stats::{Moments, variance_test};
/// let values: Vec<f64> = (0..1000).map(|i| (f64::from(i) + 0.5) / 1000.0).collect();
/// let m = Moments::from(&values[..]);
/// assert!(variance_test(&m, 1.0 / 12.0, 1.8)?.p_value > 0.9);
/// assert!(variance_test(&m, 1.2 / 12.0, 1.8)?.p_value < 1e-6);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn variance_test(moments: &Moments, expected: f64, kurtosis: f64) -> Result<Test, StatsError> {
    moments.require("a test of the variance", 2)?;
    let error =
        relative_standard_error_of_variance(kurtosis_above_one(kurtosis)?, moments.count())?;
    let effect = moments.sample_variance() / positive("expected variance", expected)? - 1.0;
    Ok(relative("z-test of the variance", moments, effect, error))
}

/// z-test of a second moment `E x^2` (mean not removed) when `kurtosis = E x^4 / (E x^2)^2` is known.
///
/// ```text
/// z = (mean of x^2 / expected - 1) / sqrt((kurtosis - 1) / n)
/// ```
/// For a law of mean zero this tests the variance, and its kurtosis is the usual one. The effect is
/// relative. Tails as in [`variance_test`].
///
/// # Errors
/// As [`variance_test`].
pub fn second_moment_test(
    moments: &Moments,
    expected: f64,
    kurtosis: f64,
) -> Result<Test, StatsError> {
    moments.require("a test of the second moment", 1)?;
    let error = ((kurtosis_above_one(kurtosis)? - 1.0) / moments.count() as f64).sqrt();
    let effect = moments.second_moment() / positive("expected second moment", expected)? - 1.0;
    Ok(relative("z-test of the second moment", moments, effect, error))
}

fn relative(name: &'static str, moments: &Moments, effect: f64, error: f64) -> Test {
    let z = effect / error;
    Test::new(name, z, normal_two_sided(z), moments.count(), (effect, "relative"), true)
}

/// Interval of the variance of a law with known kurtosis, `s^2 exp(+- z e)` with `e` the relative
/// standard error of the variance: normal on the logarithmic scale, where the sample variance is less
/// skewed and an interval cannot reach below 0.
///
/// Pass [`Moments::kurtosis`] when the law's is unknown, and expect too narrow an interval for a
/// heavy-tailed law, whose sample kurtosis is biased low.
///
/// # Errors
/// [`StatsError`] for fewer than two values, values that are not finite, or a kurtosis below 1.
///
/// # Example
/// ```
/// use gainstage_stats::{Moments, Probability, variance_interval};
/// let m = Moments::from(&[-1.0, 1.0].repeat(500)[..]);
/// let interval = variance_interval(&m, 3.0, Probability::P95)?;
/// assert!((interval.low - 0.9170).abs() < 1e-4 && (interval.high - 1.0927).abs() < 1e-4);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn variance_interval(
    moments: &Moments,
    kurtosis: f64,
    level: Probability,
) -> Result<Interval, StatsError> {
    moments.require("an interval of the variance", 2)?;
    let error = relative_standard_error_of_variance(kurtosis, moments.count())?;
    let half = normal_upper_quantile(0.5 * level.tails()) * error;
    let estimate = moments.sample_variance();
    Ok(Interval { estimate, low: estimate * (-half).exp(), high: estimate * half.exp(), level })
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, Uniform};

    use super::*;
    use crate::special::chi_square_upper;
    use crate::testing::{assert_rate, assert_rate_at_least, assert_rate_at_most, count, normal};

    const N: usize = 2000;
    const RUNS: u64 = 4000;

    /// At n = 2000 the skewness of the mean of x^2 (2.83 / sqrt(n) for a normal law) moves a two-sided
    /// 5% rate by less than 0.1%, far inside the check's own resolution of 1.7%.
    #[test]
    fn scale_tests_raise_false_alarms_at_the_stated_rate() {
        let alpha = Probability::new(0.05).unwrap();
        let uniform = Uniform::new(-1.0, 1.0).unwrap();
        let hits = count(RUNS, |rng| {
            let m = Moments::from(&normal(rng, N)[..]);
            variance_test(&m, 1.0, 3.0).unwrap().rejects(alpha)
        });
        assert_rate("variance of a normal law", hits, RUNS, 0.05);
        let hits = count(RUNS, |rng| {
            let m: Moments = uniform.sample_iter(rng).take(N).collect();
            second_moment_test(&m, 1.0 / 3.0, 1.8).unwrap().rejects(alpha)
        });
        assert_rate("second moment of a uniform law", hits, RUNS, 0.05);
    }

    /// 15% of variance is 4.7 standard errors of a normal law at n = 2000: seen in at least 99 of 100
    /// runs at the 5% level. The mean of 0.4 adds 16% to the second moment and nothing to the variance.
    #[test]
    fn scale_tests_see_a_wrong_scale_and_tell_the_second_moment_from_the_variance() {
        let alpha = Probability::new(0.05).unwrap();
        let moments = |rng: &mut _, scale: f64, shift: f64| -> Moments {
            normal(rng, N).iter().map(|z| z * scale + shift).collect()
        };
        let hits = count(500, |rng| {
            variance_test(&moments(rng, 1.15_f64.sqrt(), 0.0), 1.0, 3.0).unwrap().rejects(alpha)
        });
        assert_rate_at_least("variance 15% too large", hits, 500, 0.99);
        let hits = count(500, |rng| {
            second_moment_test(&moments(rng, 1.0, 0.4), 1.0, 3.0).unwrap().rejects(alpha)
        });
        assert_rate_at_least("mean of 0.4, second moment", hits, 500, 0.99);
        let hits = count(500, |rng| {
            variance_test(&moments(rng, 1.0, 0.4), 1.0, 3.0).unwrap().rejects(alpha)
        });
        assert_rate_at_most("mean of 0.4, variance", hits, 500, 0.05);
    }

    #[test]
    fn variance_intervals_cover_at_their_level_only_with_the_right_kurtosis() {
        let uniform = Uniform::new(-1.0, 1.0).unwrap();
        let covered = |kurtosis: f64| {
            count(RUNS, |rng| {
                let m: Moments = uniform.sample_iter(rng).take(500).collect();
                variance_interval(&m, kurtosis, Probability::P95).unwrap().contains(1.0 / 3.0)
            })
        };
        assert_rate("uniform, kurtosis 1.8", covered(1.8), RUNS, 0.95);
        // A normal law's kurtosis widens by sqrt(2 / 0.8) = 1.58: coverage P(|Z| < 3.1) = 0.998.
        assert_rate_at_least("uniform, kurtosis 3", covered(3.0), RUNS, 0.99);
    }

    /// For normal values `(n - 1) s^2` is exactly chi-square.
    #[test]
    fn far_tails_of_the_variance_test_are_as_approximate_as_documented() {
        let (n, z) = (10_000, 4.753424308822899);
        let error = relative_standard_error_of_variance(3.0, n).unwrap();
        let freedom = n as f64 - 1.0;
        let above = chi_square_upper(freedom * (1.0 + z * error), freedom);
        assert!((above / 1e-6 - 1.6).abs() < 0.05, "{above}");
    }

    #[test]
    fn a_kurtosis_below_one_belongs_to_no_law() {
        let m = Moments::from(&[-1.0, 1.0, 2.0][..]);
        for kurtosis in [0.5, f64::NAN] {
            assert!(variance_test(&m, 1.0, kurtosis).is_err());
            assert!(second_moment_test(&m, 1.0, kurtosis).is_err());
            assert!(variance_interval(&m, kurtosis, Probability::P95).is_err());
        }
        assert!(second_moment_test(&m, 1.0, 1.0).is_err());
    }
}

use crate::error::{differences, finite, positive};
use crate::special::{normal_two_sided, t_two_sided};
use crate::{Moments, StatsError, Test};

/// z-test of a mean when the law's variance is known.
///
/// ```text
/// z = (mean - expected) / sqrt(variance / n)
/// ```
/// Exact for normal values, otherwise by the central limit theorem. The effect is in standard
/// deviations.
///
/// # Errors
/// [`StatsError`] for an empty sample, values that are not finite, or a variance that is not positive.
///
/// # Example
/// ```
/// use gainstage_stats::{Moments, mean_test};
/// let test = mean_test(&Moments::from(&[0.5; 16][..]), 0.0, 1.0)?;
/// assert_eq!((test.statistic, test.effect), (2.0, 0.5));
/// assert!((test.p_value - 0.0455).abs() < 1e-4);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn mean_test(moments: &Moments, expected: f64, variance: f64) -> Result<Test, StatsError> {
    moments.require("a z-test of the mean", 1)?;
    finite("expected mean", expected)?;
    let std = positive("variance", variance)?.sqrt();
    let effect = (moments.mean() - expected) / std;
    let z = effect * (moments.count() as f64).sqrt();
    let unit = "standard deviations";
    Ok(Test::new(
        "z-test of the mean",
        z,
        normal_two_sided(z),
        moments.count(),
        (effect, unit),
        true,
    ))
}

/// Student's one-sample t-test of a mean, `t = (mean - expected) / (s / sqrt(n))` with n - 1 degrees of
/// freedom. The effect is Cohen's d.
///
/// # Errors
/// [`StatsError`] for fewer than two values, values that are not finite, or no spread.
pub fn t_test(moments: &Moments, expected: f64) -> Result<Test, StatsError> {
    finite("expected mean", expected)?;
    one_sample("t-test", moments, expected)
}

/// Paired t-test of equal means: the one-sample t-test of the differences `first - second`. The effect
/// is the mean difference in standard deviations of the differences.
///
/// # Errors
/// [`StatsError`] for unequal lengths, fewer than two pairs, values that are not finite, or
/// differences without spread.
///
/// # Example
/// ```
/// use gainstage_stats::paired_t_test;
/// let test = paired_t_test(&[5.0, 6.0, 7.0, 8.0], &[4.0, 4.5, 6.0, 6.5])?;
/// // Differences 1, 1.5, 1, 1.5: mean 1.25, s = 0.2887.
/// assert!((test.statistic - 8.6603).abs() < 1e-4);
/// assert!((test.p_value - 0.003239).abs() < 1e-6);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn paired_t_test(first: &[f64], second: &[f64]) -> Result<Test, StatsError> {
    one_sample("paired t-test", &Moments::from(&differences(first, second)?[..]), 0.0)
}

fn one_sample(name: &'static str, moments: &Moments, expected: f64) -> Result<Test, StatsError> {
    moments.require_spread("the sample")?;
    let n = moments.count();
    let effect = (moments.mean() - expected) / moments.sample_std();
    let t = effect * (n as f64).sqrt();
    let p = t_two_sided(t, n as f64 - 1.0);
    Ok(Test::new(name, t, p, n, (effect, "standard deviations"), true))
}

/// Welch's t-test of equal means of two independent samples with unequal variances (Welch 1947, with
/// the Welch-Satterthwaite degrees of freedom).
///
/// The effect is the difference `first - second` in units of the root mean of the two variances.
///
/// # Errors
/// [`StatsError`] for fewer than two values in either sample, values that are not finite, or no spread
/// in both.
///
/// # Example
/// ```
/// use gainstage_stats::{Moments, welch_test};
/// let a = Moments::from(&[20.4, 24.2, 15.4, 21.4, 20.2, 18.5, 21.5][..]);
/// let b = Moments::from(&[20.2, 16.9, 18.5, 17.3, 20.5][..]);
/// let test = welch_test(&a, &b)?;
/// // 9.82 degrees of freedom.
/// assert!((test.statistic - 1.22042).abs() < 1e-5 && (test.p_value - 0.250810).abs() < 1e-6);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn welch_test(first: &Moments, second: &Moments) -> Result<Test, StatsError> {
    let Welch { difference, error, freedom } = welch(first, second)?;
    let t = difference / error;
    let root_mean = (0.5 * (first.sample_variance() + second.sample_variance())).sqrt();
    let n = first.count() + second.count();
    let effect = (difference / root_mean, "standard deviations");
    Ok(Test::new("Welch t-test", t, t_two_sided(t, freedom), n, effect, true))
}

/// A difference of means with its standard error and effective degrees of freedom.
pub(crate) struct Welch {
    pub(crate) difference: f64,
    pub(crate) error: f64,
    pub(crate) freedom: f64,
}

pub(crate) fn welch(first: &Moments, second: &Moments) -> Result<Welch, StatsError> {
    first.require("a comparison of means", 2)?;
    second.require("a comparison of means", 2)?;
    let squared = |m: &Moments| m.sample_variance() / m.count() as f64;
    let (a, b) = (squared(first), squared(second));
    if !(a + b > 0.0) {
        return Err(StatsError::NoSpread { what: "either sample" });
    }
    // Shares, so that tiny variances do not underflow when squared.
    let (a_share, b_share) = (a / (a + b), b / (a + b));
    let freedom = 1.0
        / (a_share * a_share / (first.count() as f64 - 1.0)
            + b_share * b_share / (second.count() as f64 - 1.0));
    Ok(Welch { difference: first.mean() - second.mean(), error: (a + b).sqrt(), freedom })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_calibrated, assert_rate_at_least, count, exponential, normal};

    fn shifted(mut values: Vec<f64>, scale: f64, shift: f64) -> Moments {
        for x in &mut values {
            *x = *x * scale + shift;
        }
        Moments::from(&values[..])
    }

    /// Few values and unequal variances, where wrong degrees of freedom would show.
    #[test]
    fn tests_of_means_raise_false_alarms_at_the_stated_rate() {
        assert_calibrated("z", 4000, |rng| {
            mean_test(&shifted(normal(rng, 30), 2.0, 5.0), 5.0, 4.0).unwrap().p_value
        });
        assert_calibrated("t", 4000, |rng| {
            t_test(&shifted(normal(rng, 3), 2.0, 5.0), 5.0).unwrap().p_value
        });
        assert_calibrated("paired t", 4000, |rng| {
            let common = exponential(rng, 10);
            let noisy = |noise: Vec<f64>| -> Vec<f64> {
                common.iter().zip(noise).map(|(c, e)| 10.0 * c + e).collect()
            };
            let (a, b) = (noisy(normal(rng, 10)), noisy(normal(rng, 10)));
            paired_t_test(&a, &b).unwrap().p_value
        });
        assert_calibrated("Welch", 4000, |rng| {
            let (a, b) = (shifted(normal(rng, 40), 1.0, 1.0), shifted(normal(rng, 4), 6.0, 1.0));
            welch_test(&a, &b).unwrap().p_value
        });
    }

    /// A shift of one standard deviation; the normal approximation gives each power as
    /// P(Z < sqrt(n) - 1.96) or above, and each must be seen in 19 of 20 runs.
    #[test]
    fn tests_of_means_see_a_shift_of_one_standard_deviation() {
        let runs = 500;
        let alpha = crate::Probability::new(0.05).unwrap();
        let z = count(runs, |rng| {
            mean_test(&shifted(normal(rng, 20), 2.0, 7.0), 5.0, 4.0).unwrap().rejects(alpha)
        });
        assert_rate_at_least("z", z, runs, 0.95);
        let t = count(runs, |rng| {
            t_test(&shifted(normal(rng, 20), 2.0, 7.0), 5.0).unwrap().rejects(alpha)
        });
        assert_rate_at_least("t", t, runs, 0.95);
        let welch = count(runs, |rng| {
            let (a, b) = (shifted(normal(rng, 40), 1.0, 2.0), shifted(normal(rng, 40), 1.0, 1.0));
            welch_test(&a, &b).unwrap().rejects(alpha)
        });
        assert_rate_at_least("Welch", welch, runs, 0.95);
        let paired = count(runs, |rng| {
            let (a, mut b) = (normal(rng, 20), normal(rng, 20));
            b.iter_mut().zip(&a).for_each(|(b, a)| *b += a + 1.0);
            paired_t_test(&a, &b).unwrap().rejects(alpha)
        });
        assert_rate_at_least("paired t", paired, runs, 0.95);
    }

    #[test]
    fn samples_that_define_no_test_are_refused() {
        let constant = Moments::from(&[3.0; 4][..]);
        assert!(matches!(t_test(&constant, 3.0), Err(StatsError::NoSpread { .. })));
        assert!(matches!(welch_test(&constant, &constant), Err(StatsError::NoSpread { .. })));
        let one = Moments::from(&[3.0][..]);
        assert!(matches!(t_test(&one, 3.0), Err(StatsError::TooFew { needed: 2, got: 1, .. })));
        assert!(matches!(mean_test(&one, f64::NAN, 1.0), Err(StatsError::Domain { .. })));
        assert!(matches!(mean_test(&one, 0.0, 0.0), Err(StatsError::Domain { .. })));
        let nan = Moments::from(&[3.0, f64::NAN, 1.0][..]);
        assert!(matches!(t_test(&nan, 3.0), Err(StatsError::NotFiniteMoments { count: 1, of: 3 })));
        assert!(matches!(
            paired_t_test(&[1.0, 2.0], &[1.0]),
            Err(StatsError::Lengths { left: 2, right: 1 })
        ));
    }
}

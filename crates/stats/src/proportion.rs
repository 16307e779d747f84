use crate::special::{binomial_lower, binomial_upper, bisect, normal_upper_quantile};
use crate::{Interval, Probability, StatsError};

/// Wilson's score interval (Wilson 1927) of a proportion such as an accuracy: right on average over the
/// true proportion, and inside \[0, 1\].
///
/// # Errors
/// [`StatsError`] for no trials or more successes than trials.
///
/// # Example
/// ```
/// use gainstage_stats::{Probability, wilson_interval};
/// let accuracy = wilson_interval(9_781, 10_000, Probability::P95)?;
/// assert!((accuracy.low - 0.975043).abs() < 1e-6 && (accuracy.high - 0.980790).abs() < 1e-6);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn wilson_interval(
    successes: u64,
    trials: u64,
    level: Probability,
) -> Result<Interval, StatsError> {
    let estimate = proportion(successes, trials)?;
    let n = trials as f64;
    let z2 = normal_upper_quantile(0.5 * level.tails()).powi(2);
    let centre = (estimate + 0.5 * z2 / n) / (1.0 + z2 / n);
    let half = (z2 * (estimate * (1.0 - estimate) + 0.25 * z2 / n) / n).sqrt() / (1.0 + z2 / n);
    let low = if successes == 0 { 0.0 } else { centre - half };
    let high = if successes == trials { 1.0 } else { centre + half };
    Ok(Interval { estimate, low, high, level })
}

/// Clopper and Pearson's exact interval (1934) of a proportion: never covers less than `level`.
///
/// # Errors
/// As [`wilson_interval`].
///
/// # Example
/// ```
/// use gainstage_stats::{Probability, clopper_pearson_interval};
/// // No event in n trials: the upper end is 1 - (alpha / 2)^(1 / n).
/// let none = clopper_pearson_interval(0, 100, Probability::P95)?;
/// assert_eq!(none.low, 0.0);
/// assert!((none.high - (1.0 - 0.025_f64.powf(0.01))).abs() < 1e-12);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn clopper_pearson_interval(
    successes: u64,
    trials: u64,
    level: Probability,
) -> Result<Interval, StatsError> {
    let estimate = proportion(successes, trials)?;
    let tail = 0.5 * level.tails();
    let low = if successes == 0 {
        0.0
    } else {
        bisect(0.0, 1.0, |p| binomial_upper(successes, trials, p) < tail)
    };
    let high = if successes == trials {
        1.0
    } else {
        bisect(0.0, 1.0, |p| binomial_lower(successes, trials, p) > tail)
    };
    Ok(Interval { estimate, low, high, level })
}

fn proportion(successes: u64, trials: u64) -> Result<f64, StatsError> {
    if trials == 0 {
        return Err(StatsError::TooFew { what: "an interval of a proportion", needed: 1, got: 0 });
    }
    if successes > trials {
        let value = successes as f64;
        return Err(StatsError::Domain { what: "successes", value, bound: "at most the trials" });
    }
    Ok(successes as f64 / trials as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Coverage summed exactly over every possible count.
    fn coverage(
        interval: fn(u64, u64, Probability) -> Result<Interval, StatsError>,
        n: u64,
        p: f64,
    ) -> f64 {
        (0..=n)
            .filter(|&k| interval(k, n, Probability::P95).unwrap().contains(p))
            .map(|k| {
                let below = if k == 0 { 0.0 } else { binomial_lower(k - 1, n, p) };
                binomial_lower(k, n, p) - below
            })
            .sum()
    }

    #[test]
    fn clopper_pearson_never_covers_less_and_wilson_covers_on_average() {
        let grid: Vec<f64> = (1..100).map(|i| f64::from(i) / 100.0).collect();
        let mut wilson = 0.0;
        for &p in &grid {
            assert!(coverage(clopper_pearson_interval, 40, p) >= 0.95, "p = {p}");
            wilson += coverage(wilson_interval, 40, p) / grid.len() as f64;
        }
        assert!((wilson - 0.95).abs() < 0.01, "mean coverage {wilson}");
    }

    #[test]
    fn both_ends_are_closed_where_every_trial_agrees() {
        for interval in [wilson_interval, clopper_pearson_interval] {
            assert_eq!(interval(0, 10, Probability::P95).unwrap().low, 0.0);
            assert_eq!(interval(10, 10, Probability::P95).unwrap().high, 1.0);
            assert!(interval(0, 0, Probability::P95).is_err());
            assert!(interval(2, 1, Probability::P95).is_err());
        }
    }
}

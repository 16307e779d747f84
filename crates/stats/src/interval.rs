use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::sample;
use crate::special::t_upper_quantile;
use crate::{Moments, Probability, StatsError};

/// An estimate with a confidence interval: over repeated experiments it covers the true value with
/// probability `level`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Point estimate.
    pub estimate: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Coverage.
    pub level: Probability,
}

impl Interval {
    /// `low <= value <= high`.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// The interval of `f` of the quantity, for an increasing `f`.
    ///
    /// # Example
    /// ```
    /// use gainstage_stats::{Interval, Probability};
    /// let ln_q = Interval { estimate: 0.0, low: -1.0, high: 1.0, level: Probability::P95 };
    /// assert_eq!(ln_q.map(f64::exp).estimate, 1.0);
    /// ```
    #[must_use]
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { estimate: f(self.estimate), low: f(self.low), high: f(self.high), level: self.level }
    }

    pub(crate) fn around(estimate: f64, half_width: f64, level: Probability) -> Self {
        Self { estimate, low: estimate - half_width, high: estimate + half_width, level }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { estimate, low, high, level } = self;
        write!(f, "{estimate:.6e} [{low:.6e}, {high:.6e}] at {level}")
    }
}

/// Interval of a mean by Student's t, `mean +- t_(n-1) s / sqrt(n)`.
///
/// Exact for normal values. For positive heavy-tailed quantities, such as the second moment of a deep
/// layer over weight draws, use [`geometric_mean_interval`]. A sample without spread gives an interval
/// of width 0.
///
/// # Errors
/// [`StatsError`] for fewer than two values or values that are not finite.
///
/// # Example
/// ```
/// use gainstage_stats::{Moments, Probability, mean_interval};
/// let interval = mean_interval(&Moments::from(&[1.0, 2.0, 3.0][..]), Probability::P95)?;
/// // t(0.975; 2) = 4.3027, s / sqrt(n) = 0.57735.
/// assert!((interval.high - 4.4841).abs() < 1e-4);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn mean_interval(moments: &Moments, level: Probability) -> Result<Interval, StatsError> {
    MeanIntervals::new(moments.count(), level).mean(moments)
}

/// [`mean_interval`] and [`geometric_mean_interval`] for many samples of one size, to the same bits.
/// Student's quantile, which takes most of their time, is found once.
///
/// # Example
/// ```
/// use gainstage_stats::{MeanIntervals, Moments, Probability, mean_interval};
/// let (sample, level) = (Moments::from(&[1.0, 2.0, 3.0][..]), Probability::P95);
/// let intervals = MeanIntervals::new(3, level);
/// assert_eq!(intervals.mean(&sample)?, mean_interval(&sample, level)?);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanIntervals {
    level: Probability,
    count: u64,
    /// Of `count - 1` degrees of freedom.
    t: f64,
}

impl MeanIntervals {
    /// Intervals at `level` for samples of `count` values; those of another size are right too, and
    /// slower.
    pub fn new(count: u64, level: Probability) -> Self {
        Self { level, count, t: student(count, level) }
    }

    /// As [`mean_interval`].
    ///
    /// # Errors
    /// As [`mean_interval`].
    pub fn mean(&self, moments: &Moments) -> Result<Interval, StatsError> {
        moments.require("an interval of the mean", 2)?;
        let count = moments.count();
        let t = if count == self.count { self.t } else { student(count, self.level) };
        Ok(Interval::around(moments.mean(), t * moments.standard_error(), self.level))
    }

    /// As [`geometric_mean_interval`].
    ///
    /// # Errors
    /// As [`geometric_mean_interval`].
    pub fn geometric_mean(&self, values: &[f64]) -> Result<Interval, StatsError> {
        sample("values", values, 2)?;
        if let Some(&value) = values.iter().find(|&&v| v <= 0.0) {
            return Err(StatsError::Domain {
                what: "a value of a geometric mean",
                value,
                bound: "above 0",
            });
        }
        let logs: Moments = values.iter().map(|x| x.ln()).collect();
        Ok(self.mean(&logs)?.map(f64::exp))
    }
}

/// Half the width of the interval in standard errors; NaN for samples that have none.
fn student(count: u64, level: Probability) -> f64 {
    if count < 2 { f64::NAN } else { t_upper_quantile(0.5 * level.tails(), count as f64 - 1.0) }
}

/// Interval of the geometric mean `exp(E ln x)` of a positive quantity: the t interval of the
/// logarithms, mapped back.
///
/// Nearly exact when the logarithm is nearly normal, as for products of many independent factors.
/// It is not an interval of `E x`, which for a log-normal law with log-variance `v` is larger by
/// `exp(v / 2)`.
///
/// # Errors
/// [`StatsError`] for fewer than two values, or a value that is not finite or not above 0.
///
/// # Example
/// ```
/// use gainstage_stats::{Probability, geometric_mean_interval};
/// let interval = geometric_mean_interval(&[0.01, 1.0, 100.0], Probability::P95)?;
/// assert!((interval.estimate - 1.0).abs() < 1e-12);
/// assert!((interval.low * interval.high - 1.0).abs() < 1e-12);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn geometric_mean_interval(values: &[f64], level: Probability) -> Result<Interval, StatsError> {
    MeanIntervals::new(values.len() as u64, level).geometric_mean(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_rate, assert_rate_at_most, count, exponential, normal};

    #[test]
    fn mean_intervals_cover_at_their_level() {
        for level in [0.9, 0.99] {
            let level = Probability::new(level).unwrap();
            let hits = count(4000, |rng| {
                let values = normal(rng, 6);
                mean_interval(&Moments::from(&values[..]), level).unwrap().contains(0.0)
            });
            assert_rate("mean", hits, 4000, level.get());
            let hits = count(4000, |rng| {
                let values: Vec<f64> = normal(rng, 6).iter().map(|z| (3.0 * z).exp()).collect();
                geometric_mean_interval(&values, level).unwrap().contains(1.0)
            });
            assert_rate("geometric mean", hits, 4000, level.get());
        }
    }

    /// The twin: the geometric mean's interval is not an interval of the mean.
    #[test]
    fn the_geometric_mean_interval_misses_the_arithmetic_mean() {
        let hits = count(1000, |rng| {
            let values = exponential(rng, 100);
            geometric_mean_interval(&values, Probability::P95).unwrap().contains(1.0)
        });
        assert_rate_at_most("mean of an exponential law", hits, 1000, 0.2);
    }

    #[test]
    fn intervals_keep_their_level_through_json_and_refuse_a_wrong_one() {
        let interval = Interval::around(1.0, 0.5, Probability::P95);
        let text = serde_json::to_string(&interval).unwrap();
        assert_eq!(serde_json::from_str::<Interval>(&text).unwrap(), interval);
        assert!(serde_json::from_str::<Interval>(&text.replace("0.95", "95.0")).is_err());
        assert!(geometric_mean_interval(&[1.0, 0.0], Probability::P95).is_err());
    }
}

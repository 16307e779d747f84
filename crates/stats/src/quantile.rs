use crate::error::sample;
use crate::special::{binomial_lower, binomial_upper};
use crate::{Interval, Probability, StatsError};

/// Sample quantile at `rank` in \[0, 1\], linear between order statistics (definition 7 of Hyndman and
/// Fan 1996).
///
/// # Errors
/// [`StatsError`] for no values, values that are not finite, or a rank outside \[0, 1\].
///
/// # Example
/// ```
/// use gainstage_stats::quantile;
/// assert_eq!(quantile(&[4.0, 1.0, 3.0, 2.0], 0.5)?, 2.5);
/// assert_eq!(quantile(&[4.0, 1.0, 3.0, 2.0], 1.0)?, 4.0);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn quantile(values: &[f64], rank: f64) -> Result<f64, StatsError> {
    Ok(quantiles(values, [rank])?[0])
}

/// Sample quantiles at several ranks, each as [`quantile`], at the cost of one sort.
///
/// # Errors
/// As [`quantile`].
///
/// # Example
/// ```
/// use gainstage_stats::quantiles;
/// assert_eq!(quantiles(&[4.0, 1.0, 3.0, 2.0], [0.0, 0.5])?, [1.0, 2.5]);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn quantiles<const N: usize>(values: &[f64], ranks: [f64; N]) -> Result<[f64; N], StatsError> {
    if let Some(&value) = ranks.iter().find(|rank| !(0.0..=1.0).contains(*rank)) {
        return Err(StatsError::Domain { what: "rank", value, bound: "between 0 and 1" });
    }
    let sorted = sorted(values)?;
    Ok(ranks.map(|rank| of_sorted(&sorted, rank)))
}

/// Distribution-free interval of a quantile between two order statistics (David and Nagaraja 2003,
/// section 7.1): covers at least `level` for every law.
///
/// The number of values at or below the true quantile is binomial, so the order statistics at its tail
/// quantiles enclose it.
///
/// # Errors
/// [`StatsError::TooFew`] when even the extreme values do not reach the level: a median at 95% needs 6
/// values, a 1% quantile 368. [`StatsError`] for values that are not finite.
///
/// # Example
/// ```
/// use gainstage_stats::{Probability, quantile_interval};
/// let values: Vec<f64> = (1..=100).map(f64::from).collect();
/// let median = quantile_interval(&values, Probability::new(0.5)?, Probability::P95)?;
/// assert_eq!((median.estimate, median.low, median.high), (50.5, 40.0, 61.0));
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn quantile_interval(
    values: &[f64],
    rank: Probability,
    level: Probability,
) -> Result<Interval, StatsError> {
    let sorted = sorted(values)?;
    let (n, p, tail) = (sorted.len() as u64, rank.get(), 0.5 * level.tails());
    // B values lie below the quantile. X_(k) exceeds it if B < k, X_(k) falls short of it if B >= k.
    let low = last(1, n, |k| binomial_lower(k - 1, n, p) <= tail);
    let high = last(1, n, |j| binomial_upper(n + 1 - j, n, p) <= tail).map(|j| n + 1 - j);
    let (Some(low), Some(high)) = (low, high) else {
        let missing = tail.ln() / p.max(1.0 - p).ln();
        let needed = (missing.ceil() as u64).max(n + 1);
        return Err(StatsError::TooFew { what: "an interval of this quantile", needed, got: n });
    };
    let at = |k: u64| sorted[k as usize - 1];
    Ok(Interval { estimate: of_sorted(&sorted, p), low: at(low), high: at(high), level })
}

/// The largest `k` in `from..=to` for which `holds`, where it holds up to some k and never after.
fn last(from: u64, to: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    if !holds(from) {
        return None;
    }
    let (mut yes, mut no) = (from, to + 1);
    while no - yes > 1 {
        let middle = yes + (no - yes) / 2;
        if holds(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    Some(yes)
}

pub(crate) fn sorted(values: &[f64]) -> Result<Vec<f64>, StatsError> {
    sample("values", values, 1)?;
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(sorted)
}

fn of_sorted(sorted: &[f64], rank: f64) -> f64 {
    let position = rank * (sorted.len() - 1) as f64;
    let below = position as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let share = position - below as f64;
    sorted[below] * (1.0 - share) + sorted[above] * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_rate_at_least, assert_rate_at_most, count, exponential};

    #[test]
    fn quantile_intervals_cover_at_least_their_level_and_are_not_wasteful() {
        for rank in [0.1, 0.5, 0.95] {
            let rank = Probability::new(rank).unwrap();
            let truth = -(1.0 - rank.get()).ln();
            let covered = count(3000, |rng| {
                let values = exponential(rng, 200);
                quantile_interval(&values, rank, Probability::P95).unwrap().contains(truth)
            });
            assert_rate_at_least(&format!("quantile {rank}"), covered, 3000, 0.95);
            // Each tail wastes at most one binomial probability, below 0.09 at n = 200.
            assert!(covered < 3000, "an interval that always covers is too wide");
        }
    }

    /// The twin: aimed at the wrong rank it must miss.
    #[test]
    fn the_interval_of_the_median_misses_another_quantile() {
        let covered = count(1000, |rng| {
            let values = exponential(rng, 200);
            quantile_interval(&values, Probability::new(0.5).unwrap(), Probability::P95)
                .unwrap()
                .contains(-(0.3_f64.ln()))
        });
        assert_rate_at_most("quantile 0.7", covered, 1000, 0.01);
    }

    #[test]
    fn the_error_names_how_many_values_would_do() {
        let median = |n: usize| {
            let values: Vec<f64> = (0..n).map(|i| i as f64).collect();
            quantile_interval(&values, Probability::new(0.5).unwrap(), Probability::P95)
        };
        assert!(matches!(median(5), Err(StatsError::TooFew { needed: 6, got: 5, .. })));
        let six = median(6).unwrap();
        assert_eq!((six.low, six.high), (0.0, 5.0));
        assert!(quantile(&[], 0.5).is_err() && quantile(&[f64::NAN], 0.5).is_err());
    }
}

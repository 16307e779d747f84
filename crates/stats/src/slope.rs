use crate::error::sample;
use crate::{Interval, Moments, Probability, StatsError, mean_interval};

/// Least-squares slope of `y` against `x`.
///
/// # Errors
/// [`StatsError`] for unequal lengths, fewer than two points, values that are not finite, or equal `x`.
///
/// # Example
/// ```
/// use gainstage_stats::slope;
/// assert!((slope(&[1.0, 2.0, 3.0], &[5.0, 3.0, 1.0])? + 2.0).abs() < 1e-15);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn slope(x: &[f64], y: &[f64]) -> Result<f64, StatsError> {
    if x.len() != y.len() {
        return Err(StatsError::Lengths { left: x.len(), right: y.len() });
    }
    sample("x", x, 2)?;
    sample("y", y, 2)?;
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let xx: f64 = x.iter().map(|x| (x - mean_x).powi(2)).sum();
    let xy: f64 = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    if xx > 0.0 { Ok(xy / xx) } else { Err(StatsError::NoSpread { what: "x" }) }
}

/// Interval of the mean slope against `x` over independent draws, each a series over the same `x`: one
/// least-squares slope per draw, then Student's t over the draws.
///
/// The points of one draw are dependent (a deep layer inherits the fluctuation of the layers before it),
/// so the usual regression error, which takes them for independent, is far too small. The draws are the
/// independent unit.
///
/// # Errors
/// As [`slope`] for each draw, and for fewer than two draws.
///
/// # Example
/// ```
/// use gainstage_stats::{Probability, slope_interval};
/// let depth = [1.0, 2.0, 3.0];
/// let draws = [vec![0.0, 0.9, 2.0], vec![0.5, 1.7, 2.7], vec![-0.2, 0.6, 1.6]];
/// let interval = slope_interval(&depth, &draws, Probability::P95)?;
/// // Slopes 1.0, 1.1 and 0.9.
/// assert!((interval.estimate - 1.0).abs() < 1e-12);
/// assert!((interval.high - interval.low - 2.0 * 4.3027 * 0.1 / 3.0_f64.sqrt()).abs() < 1e-4);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn slope_interval(
    x: &[f64],
    draws: &[Vec<f64>],
    level: Probability,
) -> Result<Interval, StatsError> {
    let slopes: Moments =
        draws.iter().map(|y| slope(x, y)).collect::<Result<Vec<_>, _>>()?.into_iter().collect();
    mean_interval(&slopes, level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_rate, assert_rate_at_most, count, normal};

    /// The regression interval that takes the points of a single series for independent.
    fn naive(x: &[f64], y: &[f64]) -> Interval {
        let b = slope(x, y).unwrap();
        let n = x.len() as f64;
        let mean = |v: &[f64]| v.iter().sum::<f64>() / n;
        let (mx, my) = (mean(x), mean(y));
        let residual: f64 = x.iter().zip(y).map(|(x, y)| (y - my - b * (x - mx)).powi(2)).sum();
        let xx: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
        Interval::around(b, 2.0 * (residual / (n - 2.0) / xx).sqrt(), Probability::P95)
    }

    #[test]
    fn slopes_of_random_walks_are_covered_over_draws_and_missed_by_the_naive_interval() {
        let x: Vec<f64> = (1..=30).map(f64::from).collect();
        let walk = |rng: &mut _| -> Vec<f64> {
            let mut at = 0.0;
            normal(rng, 30)
                .iter()
                .map(|z| {
                    at += 0.1 + z;
                    at
                })
                .collect()
        };
        let covered = count(2000, |rng| {
            let draws: Vec<Vec<f64>> = (0..6).map(|_| walk(rng)).collect();
            slope_interval(&x, &draws, Probability::P95).unwrap().contains(0.1)
        });
        assert_rate("over draws", covered, 2000, 0.95);
        let covered = count(2000, |rng| naive(&x, &walk(rng)).contains(0.1));
        assert_rate_at_most("over points", covered, 2000, 0.6);
    }

    #[test]
    fn a_vertical_line_has_no_slope() {
        assert!(matches!(slope(&[1.0, 1.0], &[0.0, 1.0]), Err(StatsError::NoSpread { .. })));
        assert!(slope(&[1.0, 2.0], &[0.0, f64::INFINITY]).is_err());
        assert!(slope_interval(&[1.0, 2.0], &[vec![0.0, 1.0]], Probability::P95).is_err());
    }
}

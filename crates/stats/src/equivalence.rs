use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{differences, finite, positive};
use crate::location::{Welch, welch};
use crate::special::{t_upper, t_upper_quantile};
use crate::{Interval, Moments, Probability, StatsError};

/// Two one-sided tests (TOST, Schuirmann 1987) that a difference of means lies within a margin.
///
/// The null hypothesis is a difference of at least the margin, so a small p-value is evidence of
/// equality. The interval has level 1 - 2 alpha; it lies inside the margins exactly when the p-value is
/// below alpha.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Equivalence {
    /// The test, as a statistician would say it.
    pub name: Cow<'static, str>,
    /// Values (pairs, for a paired test) that entered.
    pub n: u64,
    /// Differences smaller than this in magnitude count as none; in the data's unit.
    pub margin: f64,
    /// Rate of false claims of equivalence.
    pub alpha: Probability,
    /// The larger of the two one-sided p-values.
    pub p_value: f64,
    /// The difference, with its interval at level 1 - 2 alpha.
    pub difference: Interval,
    /// What the data show.
    pub conclusion: Conclusion,
}

/// What an equivalence test shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conclusion {
    /// The difference is within the margin; wrongly said with probability at most alpha.
    Equivalent,
    /// The difference exceeds the margin; wrongly said with probability at most alpha.
    Different,
    /// The data are too few to tell.
    Undecided,
}

impl Equivalence {
    /// The difference is shown to be within the margin.
    pub fn is_equivalent(&self) -> bool {
        self.conclusion == Conclusion::Equivalent
    }
}

impl fmt::Display for Equivalence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, n, margin, p_value, difference, conclusion, .. } = self;
        write!(
            f,
            "{name}: difference {difference}, margin {margin:.4e}, p = {p_value:.3e}, n = {n}: {conclusion:?}"
        )
    }
}

/// Equivalence of a mean and an expected value.
///
/// # Errors
/// [`StatsError`] for fewer than two values, values that are not finite, no spread, a margin that is
/// not positive, or alpha of one half or more.
///
/// # Example
/// ```
/// use gainstage_stats::{Conclusion, Moments, Probability, equivalence};
/// let alpha = Probability::new(0.05)?;
/// let m = Moments::from(&[0.98, 1.01, 1.03, 0.99, 1.00, 1.02][..]);
/// assert_eq!(equivalence(&m, 1.0, 0.05, alpha)?.conclusion, Conclusion::Equivalent);
/// assert_eq!(equivalence(&m, 1.0, 0.01, alpha)?.conclusion, Conclusion::Undecided);
/// assert_eq!(equivalence(&m, 1.2, 0.05, alpha)?.conclusion, Conclusion::Different);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn equivalence(
    moments: &Moments,
    expected: f64,
    margin: f64,
    alpha: Probability,
) -> Result<Equivalence, StatsError> {
    finite("expected mean", expected)?;
    one_sample("one-sample TOST", moments, expected, margin, alpha)
}

/// Equivalence of the means of pairs: the one-sample test of the differences `first - second`.
///
/// # Errors
/// As [`equivalence`], and for unequal lengths.
pub fn equivalence_paired(
    first: &[f64],
    second: &[f64],
    margin: f64,
    alpha: Probability,
) -> Result<Equivalence, StatsError> {
    let differences = Moments::from(&differences(first, second)?[..]);
    one_sample("paired TOST", &differences, 0.0, margin, alpha)
}

fn one_sample(
    name: &'static str,
    moments: &Moments,
    expected: f64,
    margin: f64,
    alpha: Probability,
) -> Result<Equivalence, StatsError> {
    moments.require_spread("the sample")?;
    let estimate = Welch {
        difference: moments.mean() - expected,
        error: moments.standard_error(),
        freedom: moments.count() as f64 - 1.0,
    };
    conclude(name, &estimate, moments.count(), margin, alpha)
}

/// Equivalence of the means of two independent samples with unequal variances, `first - second`
/// (Dannenberg, Dette and Munk 1994).
///
/// # Errors
/// As [`equivalence`], with at least two values in each sample.
pub fn equivalence_welch(
    first: &Moments,
    second: &Moments,
    margin: f64,
    alpha: Probability,
) -> Result<Equivalence, StatsError> {
    let n = first.count() + second.count();
    conclude("Welch TOST", &welch(first, second)?, n, margin, alpha)
}

fn conclude(
    name: &'static str,
    estimate: &Welch,
    n: u64,
    margin: f64,
    alpha: Probability,
) -> Result<Equivalence, StatsError> {
    let margin = positive("margin", margin)?;
    let level = Probability::new(1.0 - 2.0 * alpha.get()).map_err(|_| StatsError::Domain {
        what: "alpha of an equivalence test",
        value: alpha.get(),
        bound: "below one half",
    })?;
    let &Welch { difference, error, freedom } = estimate;
    let above_low = t_upper((difference + margin) / error, freedom);
    let below_high = t_upper((margin - difference) / error, freedom);
    let p_value = above_low.max(below_high);
    let half = t_upper_quantile(alpha.get(), freedom) * error;
    let difference = Interval::around(difference, half, level);
    let conclusion = if p_value <= alpha.get() {
        Conclusion::Equivalent
    } else if difference.low > margin || difference.high < -margin {
        Conclusion::Different
    } else {
        Conclusion::Undecided
    };
    Ok(Equivalence { name: Cow::Borrowed(name), n, margin, alpha, p_value, difference, conclusion })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_rate, assert_rate_at_least, count, normal};

    const RUNS: u64 = 4000;

    fn alpha() -> Probability {
        Probability::new(0.05).unwrap()
    }

    fn drawn(rng: &mut rand::rngs::ChaCha8Rng, n: usize, scale: f64, shift: f64) -> Vec<f64> {
        normal(rng, n).iter().map(|z| z * scale + shift).collect()
    }

    /// On the margin the false-claim rate is alpha, whatever the side, for claims of equality and of
    /// difference both; the margin of 3 is wide enough that the other side plays no part.
    #[test]
    fn on_the_margin_each_claim_is_made_at_rate_alpha() {
        for (shift, conclusion) in [
            (3.0, Conclusion::Equivalent),
            (-3.0, Conclusion::Equivalent),
            (3.0, Conclusion::Different),
        ] {
            let one = count(RUNS, |rng| {
                let m = Moments::from(&drawn(rng, 10, 2.0, 7.0 + shift)[..]);
                equivalence(&m, 7.0, 3.0, alpha()).unwrap().conclusion == conclusion
            });
            assert_rate("one-sample", one, RUNS, 0.05);
            let welch = count(RUNS, |rng| {
                let a = Moments::from(&drawn(rng, 40, 1.0, shift)[..]);
                let b = Moments::from(&drawn(rng, 15, 3.0, 0.0)[..]);
                equivalence_welch(&a, &b, 3.0, alpha()).unwrap().conclusion == conclusion
            });
            assert_rate("Welch", welch, RUNS, 0.05);
            let paired = count(RUNS, |rng| {
                let common = drawn(rng, 12, 100.0, 0.0);
                let first: Vec<f64> =
                    drawn(rng, 12, 2.0, shift).iter().zip(&common).map(|(d, c)| c + d).collect();
                equivalence_paired(&first, &common, 3.0, alpha()).unwrap().conclusion == conclusion
            });
            assert_rate("paired", paired, RUNS, 0.05);
        }
    }

    /// Power twin: (3 / 0.632 - t(0.95; 9)) leaves a miss rate far below 1%.
    #[test]
    fn true_equality_is_shown_and_a_difference_of_twice_the_margin_is_too() {
        for (shift, conclusion) in [(0.0, Conclusion::Equivalent), (6.0, Conclusion::Different)] {
            let hits = count(500, |rng| {
                let m = Moments::from(&drawn(rng, 10, 2.0, shift)[..]);
                equivalence(&m, 0.0, 3.0, alpha()).unwrap().conclusion == conclusion
            });
            assert_rate_at_least("power", hits, 500, 0.97);
        }
    }

    #[test]
    fn the_interval_lies_inside_the_margins_exactly_when_p_is_below_alpha() {
        for seed in 0..500 {
            let values = drawn(&mut crate::testing::rng(seed), 8, 1.0, 0.3);
            let t = equivalence(&Moments::from(&values[..]), 0.0, 1.0, alpha()).unwrap();
            let inside = t.difference.low > -1.0 && t.difference.high < 1.0;
            assert_eq!(inside, t.is_equivalent(), "{t}");
        }
    }

    #[test]
    fn margins_and_rates_outside_their_domain_are_refused() {
        let m = Moments::from(&[1.0, 2.0, 3.0][..]);
        assert!(equivalence(&m, 2.0, 0.0, alpha()).is_err());
        assert!(equivalence(&m, 2.0, 1.0, Probability::new(0.5).unwrap()).is_err());
        let constant = Moments::from(&[2.0; 3][..]);
        assert!(matches!(
            equivalence(&constant, 2.0, 1.0, alpha()),
            Err(StatsError::NoSpread { .. })
        ));
    }
}

use crate::error::positive;
use crate::special::chi_square_upper;
use crate::{StatsError, Test};

/// Smallest expected count per cell, Cochran's rule (1954).
const LEAST_EXPECTED: f64 = 5.0;

/// Pearson's chi-square test that counts follow given cell probabilities, with `fitted` parameters of the
/// law estimated from the same counts.
///
/// ```text
/// X = sum_i (observed_i - n p_i)^2 / (n p_i),  cells - 1 - fitted degrees of freedom
/// ```
/// The effect is Cohen's `w = sqrt(X / n)`.
///
/// # Errors
/// [`StatsError`] for lengths that differ, probabilities that are not positive or do not sum to 1, no
/// degree of freedom left, or an expected count below 5 (merge cells).
///
/// # Example
/// ```
/// use gainstage_stats::chi_square_test;
/// let fair = chi_square_test(&[18, 22, 20, 20], &[0.25; 4], 0)?;
/// assert!((fair.statistic - 0.4).abs() < 1e-12);
/// assert!((fair.p_value - 0.9402).abs() < 1e-4);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn chi_square_test(
    observed: &[u64],
    probabilities: &[f64],
    fitted: usize,
) -> Result<Test, StatsError> {
    let (cells, given) = (observed.len(), probabilities.len());
    if cells != given {
        return Err(StatsError::Lengths { left: cells, right: given });
    }
    if cells < fitted + 2 {
        let (needed, got) = (fitted as u64 + 2, cells as u64);
        return Err(StatsError::TooFew { what: "the cells of a chi-square test", needed, got });
    }
    for &p in probabilities {
        positive("cell probability", p)?;
    }
    let total: f64 = probabilities.iter().sum();
    if (total - 1.0).abs() > 1e-9 {
        let bound = "1 to nine digits";
        return Err(StatsError::Domain { what: "sum of cell probabilities", value: total, bound });
    }
    let n: u64 = observed.iter().sum();
    let least = probabilities.iter().copied().fold(1.0, f64::min);
    if n as f64 * least < LEAST_EXPECTED {
        let needed = (LEAST_EXPECTED / least).ceil() as u64;
        let what = "a chi-square test (5 expected in every cell; or merge cells)";
        return Err(StatsError::TooFew { what, needed, got: n });
    }
    let statistic: f64 = observed
        .iter()
        .zip(probabilities)
        .map(|(&o, p)| {
            let expected = n as f64 * p;
            (o as f64 - expected).powi(2) / expected
        })
        .sum();
    let p = chi_square_upper(statistic, (cells - 1 - fitted) as f64);
    let effect = ((statistic / n as f64).sqrt(), "Cohen's w");
    Ok(Test::new("chi-square test", statistic, p, n, effect, false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Probability;
    use crate::testing::{assert_rate, assert_rate_at_least, count, exponential};

    const EDGES: [f64; 4] = [0.25, 0.5, 1.0, 2.0];

    fn cells(values: &[f64]) -> Vec<u64> {
        let mut counts = vec![0; EDGES.len() + 1];
        for x in values {
            counts[EDGES.iter().filter(|e| x >= e).count()] += 1;
        }
        counts
    }

    /// Cell probabilities of the exponential law with the given rate.
    fn law(rate: f64) -> Vec<f64> {
        let mut above = vec![1.0];
        above.extend(EDGES.iter().map(|e| (-rate * e).exp()));
        above.push(0.0);
        above.windows(2).map(|w| w[0] - w[1]).collect()
    }

    /// At n = 2000 the discreteness moves a 5% rate by less than 0.2%, inside the check's resolution.
    #[test]
    fn chi_square_tests_raise_false_alarms_at_the_stated_rate_and_see_a_wrong_law() {
        let alpha = Probability::new(0.05).unwrap();
        let rejections = |runs: u64, rate: f64| {
            count(runs, |rng| {
                chi_square_test(&cells(&exponential(rng, 2000)), &law(rate), 0)
                    .unwrap()
                    .rejects(alpha)
            })
        };
        assert_rate("right law", rejections(4000, 1.0), 4000, 0.05);
        // Noncentrality n sum (p - q)^2 / q = 50 for a rate wrong by 1.2: power above 0.999.
        assert_rate_at_least("wrong rate", rejections(300, 1.2), 300, 0.99);
    }

    #[test]
    fn thin_cells_and_improper_laws_are_refused() {
        assert!(matches!(
            chi_square_test(&[3, 3], &[0.5, 0.5], 0),
            Err(StatsError::TooFew { needed: 10, got: 6, .. })
        ));
        assert!(chi_square_test(&[30, 30], &[0.5, 0.4], 0).is_err());
        assert!(chi_square_test(&[30, 30], &[1.0, 0.0], 0).is_err());
        assert!(chi_square_test(&[30, 30], &[0.5, 0.5], 1).is_err());
        assert!(chi_square_test(&[30], &[0.5, 0.5], 0).is_err());
    }
}

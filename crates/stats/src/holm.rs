use crate::StatsError;

/// Holm's (1979) adjusted p-values of a family of tests, in the order given: rejecting where the adjusted
/// value is at most alpha makes one or more false rejections in the family with probability at most
/// alpha, whatever the dependence between the tests.
///
/// ```text
/// adjusted_(i) = max_(j <= i) min(1, (m - j + 1) p_(j)),  p_(1) <= ... <= p_(m)
/// ```
///
/// # Errors
/// [`StatsError::Domain`] for a value outside \[0, 1\], NaN included.
///
/// # Example
/// ```
/// use gainstage_stats::holm;
/// let adjusted = holm(&[0.01, 0.04, 0.03, 0.005])?;
/// let expected = [0.03, 0.06, 0.06, 0.02];
/// assert!(adjusted.iter().zip(expected).all(|(a, e)| (a - e).abs() < 1e-15));
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, StatsError> {
    if let Some(&value) = p_values.iter().find(|&p| !(0.0..=1.0).contains(p)) {
        return Err(StatsError::Domain { what: "p-value", value, bound: "between 0 and 1" });
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut adjusted = vec![0.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        let left = (p_values.len() - rank) as f64;
        largest = largest.max((left * p_values[index]).min(1.0));
        adjusted[index] = largest;
    }
    Ok(adjusted)
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardUniform};

    use super::*;
    use crate::testing::{assert_rate, assert_rate_at_least, assert_rate_at_most, count};

    /// For independent true nulls the family-wise rate is 1 - (1 - alpha / m)^m.
    #[test]
    fn the_family_wise_rate_is_kept_where_unadjusted_tests_break_it() {
        let (runs, m, alpha) = (4000, 20_usize, 0.05);
        let family = |adjust: bool| {
            count(runs, |rng| {
                let p: Vec<f64> = StandardUniform.sample_iter(rng).take(m).collect();
                let p = if adjust { holm(&p).unwrap() } else { p };
                p.iter().any(|&p| p <= alpha)
            })
        };
        assert_rate("Holm", family(true), runs, 1.0 - (1.0 - alpha / m as f64).powi(m as i32));
        assert_rate_at_least("unadjusted", family(false), runs, 0.6);
        // Fully dependent tests: one p-value repeated.
        let dependent = count(runs, |rng| {
            let p: f64 = StandardUniform.sample(rng);
            holm(&vec![p; m]).unwrap().iter().any(|&p| p <= alpha)
        });
        assert_rate_at_most("dependent", dependent, runs, alpha);
    }

    #[test]
    fn a_p_value_that_is_no_probability_is_refused() {
        assert!(holm(&[0.1, f64::NAN]).is_err() && holm(&[1.1]).is_err());
        assert_eq!(holm(&[]).unwrap(), Vec::<f64>::new());
    }
}

use crate::kolmogorov::{distance_upper, limit_upper};
use crate::quantile::sorted;
use crate::{StatsError, Test};

/// One-sample Kolmogorov-Smirnov test that values come from the continuous law with distribution
/// function `cdf`.
///
/// ```text
/// D = sup_x |F_n(x) - F(x)|
/// ```
/// The p-value is exact up to n = 100 (Marsaglia, Tsang and Wang 2003), in its tail up to n = 100,000
/// (Birnbaum and Tingey 1951), and Kolmogorov's limit with Vrbik's (2018) correction, right to 1.5%,
/// elsewhere. The effect is D. It sees the shape of a law; on its scale
/// [`variance_test`](crate::variance_test) is three times sharper.
///
/// # Domain
/// `cdf` must be the distribution function of a law without atoms, fixed before seeing the data: with
/// parameters estimated from them the p-value is far too large (Lilliefors 1967).
///
/// # Errors
/// [`StatsError`] for no values, a NaN or infinite value, or a `cdf` outside \[0, 1\].
///
/// # Example
/// ```
/// use gainstage_stats::ks_test;
/// let values: Vec<f64> = (0..50).map(|i| (f64::from(i) + 0.5) / 50.0).collect();
/// let uniform = ks_test(&values, |x| x.clamp(0.0, 1.0))?;
/// assert!((uniform.statistic - 0.01).abs() < 1e-12 && uniform.p_value > 0.999);
/// let squared = ks_test(&values, |x| (x * x).clamp(0.0, 1.0))?;
/// assert!(squared.p_value < 0.01);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn ks_test(values: &[f64], cdf: impl Fn(f64) -> f64) -> Result<Test, StatsError> {
    let sorted = sorted(values)?;
    let n = sorted.len() as f64;
    let mut distance: f64 = 0.0;
    for (i, &x) in sorted.iter().enumerate() {
        let f = cdf(x);
        if !(0.0..=1.0).contains(&f) {
            return Err(StatsError::Domain { what: "cdf", value: f, bound: "between 0 and 1" });
        }
        // Both sides of the step at x.
        distance = distance.max((i + 1) as f64 / n - f).max(f - i as f64 / n);
    }
    let count = sorted.len() as u64;
    let p = distance_upper(count, distance);
    Ok(Test::new("Kolmogorov-Smirnov test", distance, p, count, (distance, "distance"), false))
}

/// The p-value of a one-sample Kolmogorov-Smirnov distance that was found elsewhere, for instance at the
/// edges of a histogram; exact where [`ks_test`] is.
///
/// # Errors
/// [`StatsError`] for no values or a distance outside \[0, 1\].
///
/// # Example
/// ```
/// use gainstage_stats::{ks_p_value, ks_test};
/// let values: Vec<f64> = (0..50).map(|i| (f64::from(i) / 50.0).powi(2)).collect();
/// let test = ks_test(&values, |x| x.clamp(0.0, 1.0))?;
/// assert_eq!(ks_p_value(50, test.statistic)?, test.p_value);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn ks_p_value(n: u64, distance: f64) -> Result<f64, StatsError> {
    if n == 0 {
        return Err(StatsError::TooFew { what: "a distance", needed: 1, got: 0 });
    }
    if !(0.0..=1.0).contains(&distance) {
        return Err(StatsError::Domain {
            what: "distance",
            value: distance,
            bound: "between 0 and 1",
        });
    }
    Ok(distance_upper(n, distance).clamp(0.0, 1.0))
}

/// Product of sample sizes up to which lattice paths are counted.
const EXACT: u128 = 1_000_000;

/// Two-sample Kolmogorov-Smirnov test that both samples come from one law.
///
/// The p-value is exact while the product of the sample sizes is at most a million (lattice paths, Hodges
/// 1957) and Kolmogorov's limit beyond. With ties it is too large, never too small. The effect is the
/// distance D.
///
/// # Errors
/// [`StatsError`] for an empty sample or a NaN or infinite value.
///
/// # Example
/// ```
/// use gainstage_stats::ks_two_sample_test;
/// // Fully separated samples of 3 and 3: 2 of the 20 orders are as extreme.
/// let test = ks_two_sample_test(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0])?;
/// assert_eq!(test.statistic, 1.0);
/// assert!((test.p_value - 0.1).abs() < 1e-12);
/// # Ok::<(), gainstage_stats::StatsError>(())
/// ```
pub fn ks_two_sample_test(first: &[f64], second: &[f64]) -> Result<Test, StatsError> {
    let (a, b) = (sorted(first)?, sorted(second)?);
    let (n, m) = (a.len(), b.len());
    let (mut i, mut j, mut largest) = (0, 0, 0_u128);
    while i < n && j < m {
        let x = a[i].min(b[j]);
        while i < n && a[i] <= x {
            i += 1;
        }
        while j < m && b[j] <= x {
            j += 1;
        }
        largest = largest.max(gap(i, j, n, m));
    }
    let product = n as u128 * m as u128;
    let distance = largest as f64 / product as f64;
    let p = if product <= EXACT {
        paths_reaching(n, m, largest)
    } else {
        let effective = product as f64 / (n + m) as f64;
        limit_upper(effective.sqrt() * distance)
    };
    let name = "two-sample Kolmogorov-Smirnov test";
    Ok(Test::new(name, distance, p, (n + m) as u64, (distance, "distance"), false))
}

/// `n m |i / n - j / m|`, exactly.
fn gap(i: usize, j: usize, n: usize, m: usize) -> u128 {
    (i as u128 * m as u128).abs_diff(j as u128 * n as u128)
}

/// Probability that a random order of n and m values reaches a gap of at least `limit`: mass walks the
/// lattice from (0, 0) and is taken out where the gap is first reached, so that small p-values keep
/// their digits.
fn paths_reaching(n: usize, m: usize, limit: u128) -> f64 {
    if limit == 0 {
        return 1.0;
    }
    let mut reached = 0.0;
    let mut mass = vec![0.0; m + 1]; // of the row above, then of this row
    for i in 0..=n {
        for j in 0..=m {
            // From (i, j) the next value is of the first sample with probability
            // (n - i) / (n - i + m - j).
            let from_above = if i == 0 {
                0.0
            } else {
                mass[j] * (n - i + 1) as f64 / (n - i + 1 + m - j) as f64
            };
            let from_left = if j == 0 {
                0.0
            } else {
                mass[j - 1] * (m - j + 1) as f64 / (n - i + m - j + 1) as f64
            };
            let here = if i + j == 0 { 1.0 } else { from_above + from_left };
            if gap(i, j, n, m) >= limit {
                reached += here;
                mass[j] = 0.0;
            } else {
                mass[j] = here;
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Probability;
    use crate::testing::{
        assert_calibrated, assert_conservative, assert_rate_at_least, count, exponential, normal,
    };

    fn exponential_cdf(x: f64) -> f64 {
        -(-x).exp_m1()
    }

    #[test]
    fn ks_tests_raise_false_alarms_at_the_stated_rate() {
        for n in [8, 100, 101, 1000] {
            assert_calibrated(&format!("KS, n = {n}"), 3000, |rng| {
                ks_test(&exponential(rng, n), exponential_cdf).unwrap().p_value
            });
        }
        assert_conservative("two-sample KS, exact", 3000, |rng| {
            ks_two_sample_test(&normal(rng, 40), &normal(rng, 25)).unwrap().p_value
        });
        assert_conservative("two-sample KS, limit", 1000, |rng| {
            ks_two_sample_test(&normal(rng, 1100), &normal(rng, 1000)).unwrap().p_value
        });
    }

    /// A rate wrong by 2 moves the distribution function by 1/4 (at x = ln 2). By the
    /// Dvoretzky-Kiefer-Wolfowitz bound n = 200 misses that at the 1% level with a probability below
    /// 2 exp(-2 n (0.25 - 0.115)^2) = 0.0014.
    #[test]
    fn ks_tests_see_a_wrong_law() {
        let alpha = Probability::new(0.01).unwrap();
        let hits = count(500, |rng| {
            ks_test(&exponential(rng, 200), |x| exponential_cdf(2.0 * x)).unwrap().rejects(alpha)
        });
        assert_rate_at_least("KS, wrong rate", hits, 500, 0.998);
        let hits = count(200, |rng| {
            let doubled: Vec<f64> = exponential(rng, 500).iter().map(|x| 2.0 * x).collect();
            ks_two_sample_test(&doubled, &exponential(rng, 500)).unwrap().rejects(alpha)
        });
        assert_rate_at_least("two-sample KS, wrong rate", hits, 200, 0.99);
    }

    #[test]
    fn exact_two_sample_p_values_match_an_enumeration_of_all_orders() {
        let (n, m) = (5_usize, 4_usize);
        let gaps: Vec<u128> = (0_u32..1 << (n + m))
            .filter(|order| order.count_ones() as usize == n)
            .map(|order| {
                let (mut i, mut j, mut largest) = (0, 0, 0);
                for bit in 0..n + m {
                    if order >> bit & 1 == 1 {
                        i += 1;
                    } else {
                        j += 1;
                    }
                    largest = largest.max(gap(i, j, n, m));
                }
                largest
            })
            .collect();
        for limit in 0..=(n * m) as u128 {
            let share = gaps.iter().filter(|&&g| g >= limit).count() as f64 / gaps.len() as f64;
            assert!((paths_reaching(n, m, limit) - share).abs() < 1e-14, "limit {limit}");
        }
    }

    #[test]
    fn nan_never_passes() {
        assert!(matches!(
            ks_test(&[0.1, f64::NAN], |x| x),
            Err(StatsError::NotFinite { index: 1, .. })
        ));
        assert!(ks_test(&[0.1], |_| f64::NAN).is_err());
        assert!(ks_two_sample_test(&[0.1], &[f64::INFINITY]).is_err());
    }
}

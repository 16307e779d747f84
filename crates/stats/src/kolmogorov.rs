//! The law of the one-sample Kolmogorov-Smirnov distance D under the null hypothesis.

use std::f64::consts::PI;

use statrs::function::gamma::ln_gamma;

/// Sample size up to which the whole law is exact.
const EXACT: u64 = 100;
/// Sample size up to which the tail is exact.
const EXACT_TAIL: u64 = 100_000;

/// `P(D >= d)` for n values of a continuous law.
pub(crate) fn distance_upper(n: u64, d: f64) -> f64 {
    let root = (n as f64).sqrt();
    if d >= 1.0 {
        0.0
    } else if n <= EXACT_TAIL && root * d > 3.0_f64.sqrt() {
        // Both one-sided distances exceed d only with probability near 2 exp(-8 n d^2).
        (2.0 * one_sided_upper(n, d)).min(1.0)
    } else if n <= EXACT {
        (1.0 - exact_lower(n as usize, d)).clamp(0.0, 1.0)
    } else {
        // Vrbik (2018): the limit law at a corrected argument.
        limit_upper(root * d + 1.0 / (6.0 * root) + (root * d - 1.0) / (4.0 * n as f64))
    }
}

/// `P(K >= t)` for Kolmogorov's limit law of `sqrt(n) D`.
pub(crate) fn limit_upper(t: f64) -> f64 {
    if t < 0.1 {
        1.0 // below 1 by less than exp(-120)
    } else if t < 1.0 {
        let sum: f64 = (1..8).map(|k| (-(f64::from(2 * k - 1) * PI / t).powi(2) / 8.0).exp()).sum();
        1.0 - (2.0 * PI).sqrt() / t * sum
    } else {
        let term = |k: i32| {
            let sign = if k % 2 == 1 { 2.0 } else { -2.0 };
            sign * (-2.0 * (f64::from(k) * t).powi(2)).exp()
        };
        (1..8).map(term).sum()
    }
}

/// `P(D+ >= d)` exactly: Birnbaum and Tingey (1951), a sum of positive terms.
fn one_sided_upper(n: u64, d: f64) -> f64 {
    let n_real = n as f64;
    let ln_factorial = ln_gamma(n_real + 1.0);
    let choose = |j: f64| ln_factorial - ln_gamma(j + 1.0) - ln_gamma(n_real - j + 1.0);
    (0..=n)
        .map(|j| j as f64)
        .take_while(|j| j / n_real + d < 1.0)
        .map(|j| {
            let at = d + j / n_real;
            (choose(j) + (j - 1.0) * at.ln() + (n_real - j) * (1.0 - at).ln()).exp()
        })
        .sum::<f64>()
        * d
}

/// `P(D < d)` exactly: Marsaglia, Tsang and Wang (2003), the middle element of the n-th power of a
/// matrix.
fn exact_lower(n: usize, d: f64) -> f64 {
    let nd = n as f64 * d;
    let k = nd as usize + 1;
    let h = k as f64 - nd;
    let m = 2 * k - 1;
    let mut matrix = vec![vec![0.0; m]; m];
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate() {
            *entry = if j <= i + 1 { 1.0 } else { 0.0 };
        }
    }
    for i in 0..m {
        matrix[i][0] -= h.powi(i as i32 + 1);
        matrix[m - 1][i] -= h.powi((m - i) as i32);
    }
    matrix[m - 1][0] += (2.0 * h - 1.0).max(0.0).powi(m as i32);
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate().take(i + 1) {
            (1..=i + 1 - j).for_each(|g| *entry /= g as f64);
        }
    }
    let mut result = power(&matrix, n)[k - 1][k - 1];
    (1..=n).for_each(|i| result *= i as f64 / n as f64);
    result
}

fn power(matrix: &[Vec<f64>], exponent: usize) -> Vec<Vec<f64>> {
    if exponent == 1 {
        return matrix.to_vec();
    }
    let half = power(matrix, exponent / 2);
    let square = multiply(&half, &half);
    if exponent.is_multiple_of(2) { square } else { multiply(&square, matrix) }
}

fn multiply(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let entry = |row: &[f64], j: usize| row.iter().zip(b).map(|(x, other)| x * other[j]).sum();
    a.iter().map(|row| (0..b.len()).map(|j| entry(row, j)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_relative(got: f64, want: f64, relative: f64) {
        assert!((got / want - 1.0).abs() < relative, "{got} against {want}");
    }

    #[test]
    fn the_exact_law_matches_published_values_and_closed_forms() {
        // The example of Marsaglia, Tsang and Wang (2003): P(D_10 < 0.274).
        assert!((1.0 - distance_upper(10, 0.274) - 0.6284796154565).abs() < 1e-12);
        // n = 1: D = max(U, 1 - U) is uniform on [1/2, 1].
        assert_relative(distance_upper(1, 0.75), 0.5, 1e-12);
        // n = 2, d >= 1/2: P(D >= d) = 2 (1 - d)^2.
        assert_relative(distance_upper(2, 0.9), 0.02, 1e-12);
        // Critical value of the limit law at 5%.
        assert_relative(limit_upper(1.3580986), 0.05, 1e-6);
    }

    #[test]
    fn the_branches_meet() {
        for n in [20, 60, 100] {
            let d = (3.0 / n as f64).sqrt();
            assert_relative(2.0 * one_sided_upper(n, d), 1.0 - exact_lower(n as usize, d), 1e-8);
        }
        assert_relative(limit_upper(1.0 - 1e-13), limit_upper(1.0), 1e-11);
        // Just beyond n = 100 the corrected limit law is within 1.5% of the exact p-value over the range
        // in which it is used, and its error falls with 1 / n.
        for root_d in [0.6, 0.9, 1.36, 1.73] {
            let d = root_d / 101.0_f64.sqrt();
            assert_relative(distance_upper(101, d), 1.0 - exact_lower(101, d), 0.015);
        }
        // Where the exact tail ends the limit law has caught up with it, far out too.
        for root_d in [1.8, 3.0] {
            let (n, root) = (EXACT_TAIL, (EXACT_TAIL as f64).sqrt());
            let limit = distance_upper(n + 1, root_d / root);
            assert_relative(limit, distance_upper(n, root_d / root), 1e-3);
        }
    }
}

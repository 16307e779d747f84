use statrs::function::beta::beta_reg;
use statrs::function::erf::{erfc, erfc_inv};
use statrs::function::gamma::{gamma_ur, ln_gamma};

/// `P(|Z| >= |z|)` of a standard normal, accurate in the tail.
pub(crate) fn normal_two_sided(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// The `z` with `P(Z >= z) = tail`.
pub(crate) fn normal_upper_quantile(tail: f64) -> f64 {
    std::f64::consts::SQRT_2 * erfc_inv(2.0 * tail)
}

/// Degrees of freedom from which the t law is a transformed normal to a relative 1e-11.
const NORMAL_FREEDOM: f64 = 1e6;

/// `P(|T| >= |t|)` of Student's t, accurate in the tail.
pub(crate) fn t_two_sided(t: f64, freedom: f64) -> f64 {
    if freedom > NORMAL_FREEDOM {
        // Abramowitz and Stegun 26.7.8.
        let z = t * (1.0 - 0.25 / freedom) / (1.0 + t * t / (2.0 * freedom)).sqrt();
        normal_two_sided(z)
    } else {
        beta_reg(0.5 * freedom, 0.5, freedom / (freedom + t * t))
    }
}

/// `P(T >= t)`.
pub(crate) fn t_upper(t: f64, freedom: f64) -> f64 {
    let half = 0.5 * t_two_sided(t, freedom);
    if t >= 0.0 { half } else { 1.0 - half }
}

/// The `t` with `P(T >= t) = tail`, for a tail below one half.
pub(crate) fn t_upper_quantile(tail: f64, freedom: f64) -> f64 {
    let mut high = normal_upper_quantile(tail).max(1e-3);
    while t_upper(high, freedom) > tail {
        high *= 2.0;
    }
    bisect(0.0, high, |t| t_upper(t, freedom) > tail)
}

/// `P(X >= x)` of a chi-square law.
pub(crate) fn chi_square_upper(x: f64, freedom: f64) -> f64 {
    if x <= 0.0 { 1.0 } else { gamma_ur(0.5 * freedom, 0.5 * x) }
}

/// `P(B <= k)` for a binomial of `n` trials with success rate `p`, 0 < p < 1, k <= n: a sum of
/// positive terms in about `sqrt(n)` steps. (The continued fraction of the incomplete beta function
/// needs as many and statrs stops it at 140.)
pub(crate) fn binomial_lower(k: u64, n: u64, p: f64) -> f64 {
    if k >= n {
        1.0
    } else if (k as f64) < n as f64 * p {
        downwards(k, n, p)
    } else {
        1.0 - upwards(k + 1, n, p)
    }
}

/// `P(B >= k)`, k <= n.
pub(crate) fn binomial_upper(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 {
        1.0
    } else if k as f64 > n as f64 * p {
        upwards(k, n, p)
    } else {
        1.0 - downwards(k - 1, n, p)
    }
}

fn downwards(k: u64, n: u64, p: f64) -> f64 {
    let odds = p / (1.0 - p);
    let ratios = (1..=k).rev().map(|j| j as f64 / ((n - j + 1) as f64 * odds));
    sum_from(k, n, p, ratios)
}

fn upwards(k: u64, n: u64, p: f64) -> f64 {
    let odds = p / (1.0 - p);
    let ratios = (k..n).map(|j| (n - j) as f64 * odds / (j + 1) as f64);
    sum_from(k, n, p, ratios)
}

/// The probability of `k` and of what follows it, each by its ratio to the one before.
fn sum_from(k: u64, n: u64, p: f64, ratios: impl Iterator<Item = f64>) -> f64 {
    let (k, n) = (k as f64, n as f64);
    let ln_first = ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
        + k * p.ln()
        + (n - k) * (-p).ln_1p();
    let (mut term, mut sum) = (1.0, 1.0);
    for ratio in ratios {
        term *= ratio;
        sum += term;
        if term < 1e-17 * sum {
            break;
        }
    }
    (ln_first.exp() * sum).min(1.0)
}

/// Where `above` turns from true to false between `low` and `high`, to the last bits.
pub(crate) fn bisect(mut low: f64, mut high: f64, above: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if above(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_relative(got: f64, want: f64, relative: f64) {
        assert!((got / want - 1.0).abs() < relative, "{got} against {want}");
    }

    #[test]
    fn quantiles_match_published_tables() {
        assert_relative(normal_upper_quantile(0.025), 1.959963984540054, 1e-12);
        assert_relative(normal_upper_quantile(1e-6), 4.753424308822899, 1e-10);
        // Exact: df = 1 is Cauchy, df = 2 has t = (1 - 2q) sqrt(2 / (4 q (1 - q))).
        let q: f64 = 1e-4;
        assert_relative(t_upper_quantile(q, 1.0), 1.0 / (std::f64::consts::PI * q).tan(), 1e-9);
        let two = (1.0 - 2.0 * q) * (2.0 / (4.0 * q * (1.0 - q))).sqrt();
        assert_relative(t_upper_quantile(q, 2.0), two, 1e-9);
        assert_relative(t_upper_quantile(0.025, 10.0), 2.228138851964939, 1e-9);
        // df = 2 is exponential.
        assert_relative(chi_square_upper(30.0, 2.0), (-15.0_f64).exp(), 1e-12);
    }

    #[test]
    fn the_t_law_is_continuous_where_its_normal_form_takes_over() {
        for t in [0.5, 2.0, 5.0, 8.0] {
            let (below, above) =
                (t_two_sided(t, NORMAL_FREEDOM), t_two_sided(t, NORMAL_FREEDOM + 1.0));
            assert_relative(below, above, 1e-8);
        }
    }

    #[test]
    fn binomial_tails_match_direct_sums_and_symmetry() {
        // 10 tosses of a fair coin.
        assert_relative(binomial_lower(1, 10, 0.5), 11.0 / 1024.0, 1e-12);
        assert_relative(binomial_lower(8, 10, 0.5), 1013.0 / 1024.0, 1e-12);
        assert_relative(binomial_upper(10, 10, 0.3), 0.3_f64.powi(10), 1e-12);
        assert_eq!(binomial_upper(0, 10, 0.3), 1.0);
        let n = 1_000_001;
        assert_relative(binomial_lower(500_000, n, 0.5), 0.5, 1e-7);
        for (k, p) in [(3, 0.2), (40, 0.45), (80, 0.9)] {
            let both = binomial_lower(k, 100, p) + binomial_upper(k + 1, 100, p);
            assert_relative(both, 1.0, 1e-12);
        }
    }
}

//! Tails of the normal law.

/// P(|Z| >= |z|).
pub(crate) fn two_sided(z: f64) -> f64 {
    libm::erfc(z.abs() * std::f64::consts::FRAC_1_SQRT_2)
}

/// The z that |Z| exceeds with that probability.
pub(crate) fn quantile(two_sided_p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if two_sided(middle) > two_sided_p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// P(N >= k) of a Poisson count of that mean.
pub(crate) fn poisson(mean: f64, k: u64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if !(mean > 0.0) {
        return 0.0;
    }
    let k = k as f64;
    if k <= mean {
        return 1.0; // no evidence of a surplus
    }
    let mut term = (k * mean.ln() - mean - libm::lgamma(k + 1.0)).exp();
    let (mut total, mut next) = (0.0, k);
    while term > 1e-17 * total && term > 0.0 {
        total += term;
        next += 1.0;
        term *= mean / next;
    }
    total.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_tails_are_sums_of_the_probabilities() {
        // 1 - e^-1 (1 + 1 + 1/2 + 1/6 + 1/24)
        assert!((poisson(1.0, 5) - 0.003659846827).abs() < 1e-11);
        assert_eq!((poisson(3.0, 2), poisson(0.0, 1), poisson(2.0, 0)), (1.0, 0.0, 1.0));
        assert!((poisson(1.0, 8) / 1.02e-5 - 1.0).abs() < 0.01);
    }

    #[test]
    fn tails_and_quantiles_are_inverse() {
        assert!((two_sided(1.959963984540054) - 0.05).abs() < 1e-15);
        assert!((quantile(0.05) - 1.959963984540054).abs() < 1e-12);
        assert!((two_sided(quantile(1e-12)) / 1e-12 - 1.0).abs() < 1e-9);
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_and_quantiles_are_inverse() {
        assert!((two_sided(1.959963984540054) - 0.05).abs() < 1e-15);
        assert!((quantile(0.05) - 1.959963984540054).abs() < 1e-12);
        assert!((two_sided(quantile(1e-12)) / 1e-12 - 1.0).abs() < 1e-9);
    }
}

//! Derivatives of the logarithm of the gamma function.

/// B_2, B_4, ..., B_14.
const BERNOULLI: [f64; 7] =
    [1.0 / 6.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 5.0 / 66.0, -691.0 / 2730.0, 7.0 / 6.0];

/// psi^(order)(x) for x > 0 and orders 0 to 3: recurrence up to x >= 16, then the asymptotic series
/// (Abramowitz & Stegun 6.4.11).
pub(crate) fn polygamma(order: i32, mut x: f64) -> f64 {
    debug_assert!(x > 0.0 && (0..=3).contains(&order));
    let factorial = [1.0, 1.0, 2.0, 6.0][order as usize];
    let sign = if order % 2 == 0 { -1.0 } else { 1.0 };
    let mut shift = 0.0;
    while x < 16.0 {
        shift += sign * factorial / x.powi(order + 1);
        x += 1.0;
    }
    // (2k + order - 1)! / (2k)! grows term by term from its value at k = 1.
    let tail: f64 = (1..=BERNOULLI.len())
        .map(|k| {
            let two_k = 2 * k as i32;
            let ratio: f64 = match order {
                0 => 1.0 / f64::from(two_k),
                _ => (1..order).map(|j| f64::from(two_k + j)).product(),
            };
            BERNOULLI[k - 1] * ratio / x.powi(two_k + order)
        })
        .sum();
    let series = if order == 0 {
        x.ln() - 0.5 / x - tail
    } else {
        let lead =
            factorial / f64::from(order) / x.powi(order) + 0.5 * factorial / x.powi(order + 1);
        sign * (lead + tail)
    };
    series + shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn polygamma_has_its_known_values_and_is_its_own_derivative() {
        let euler = 0.577_215_664_901_532_9;
        let zeta3 = 1.202_056_903_159_594_3;
        assert!((polygamma(0, 1.0) + euler).abs() < 1e-15);
        assert!((polygamma(0, 0.5) + euler + 2.0 * 2f64.ln()).abs() < 1e-14);
        assert!((polygamma(1, 1.0) - PI * PI / 6.0).abs() < 1e-14);
        assert!((polygamma(1, 0.5) - PI * PI / 2.0).abs() < 1e-14);
        assert!((polygamma(2, 1.0) + 2.0 * zeta3).abs() < 1e-13);
        assert!((polygamma(3, 1.0) - PI.powi(4) / 15.0).abs() < 1e-12);
        assert!((polygamma(3, 0.5) - PI.powi(4)).abs() < 1e-11);
        for x in [0.7, 3.0, 15.5, 16.5, 400.0] {
            for order in 0..3 {
                let h = 1e-4 * x;
                let slope = (polygamma(order, x + h) - polygamma(order, x - h)) / (2.0 * h);
                let exact = polygamma(order + 1, x);
                assert!((slope / exact - 1.0).abs() < 1e-6, "{order} {x}: {slope} {exact}");
            }
        }
    }
}

use gainstage_spec::Activation;
use serde::{Deserialize, Serialize};

use crate::error::{TheoryError, not_negative};
use crate::mean_field::FixedPoint;
use crate::moments::{at, largest_variance};
use crate::roots::bracketed;

/// A point of the edge of chaos: where chi_1 = 1 at a fixed point of the variance map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgePoint {
    /// sigma_w^2
    pub weight_variance: f64,
    /// Variance of the pre-activations, and the slope of the variance map.
    pub fixed_point: FixedPoint,
}

/// The weight variances at which a network with this bias variance is at the edge of chaos.
///
/// q - E phi^2 / E phi'^2 = sigma_b^2 gives q, and sigma_w^2 = 1 / E phi'^2 (Hayou et al. 2019). For
/// activations linear on each side of zero there is one point, without bias, and q is arbitrary (1 is
/// given); with bias there is none.
///
/// # Errors
/// [`TheoryError::Domain`] for a bias variance that is negative or not finite.
///
/// # Example
/// ```
/// use gainstage_spec::Activation;
/// let edge = gainstage_theory::edge_of_chaos(&Activation::Tanh, 0.05)?;
/// assert!((edge[0].weight_variance - 1.760954639607).abs() < 1e-11);
/// assert!((edge[0].fixed_point.q - 0.5700478816408).abs() < 1e-11);
/// assert!(gainstage_theory::edge_of_chaos(&Activation::Relu, 0.05)?.is_empty());
/// # Ok::<(), gainstage_theory::TheoryError>(())
/// ```
pub fn edge_of_chaos(phi: &Activation, bias_variance: f64) -> Result<Vec<EdgePoint>, TheoryError> {
    not_negative("the bias variance", bias_variance)?;
    let point = |q: f64| {
        let m = at(phi, q);
        let weight_variance = m.derivative_second_moment.recip();
        let fixed_point = FixedPoint { q, slope: weight_variance * m.second_moment_slope };
        EdgePoint { weight_variance, fixed_point }
    };
    if phi.slopes().is_some() {
        return Ok(if bias_variance == 0.0 { vec![point(1.0)] } else { Vec::new() });
    }
    let mut found = Vec::new();
    if bias_variance == 0.0 && phi.value(0.0) == 0.0 && phi.derivative(0.0) != 0.0 {
        found.push(point(0.0));
    }
    let excess = |x: f64| {
        let m = at(phi, x.exp());
        m.q - m.second_moment / m.derivative_second_moment - bias_variance
    };
    // Below 1e-6 the two terms agree to more digits than they have.
    let xs: Vec<f64> = (-55..=55)
        .map(|i| 0.25 * f64::from(i))
        .filter(|x| x.exp() <= largest_variance(phi))
        .collect();
    let values: Vec<f64> = xs.iter().map(|&x| excess(x)).collect();
    for (x, f) in xs.windows(2).zip(values.windows(2)) {
        if (f[0] > 0.0) != (f[1] > 0.0) && f[0].abs() > 1e-15 {
            found.push(point(bracketed(x[0], x[1], f[0], f[1], excess).exp()));
        }
    }
    Ok(found)
}

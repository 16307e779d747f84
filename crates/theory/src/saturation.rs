use gainstage_spec::Activation;

use crate::error::{TheoryError, not_negative};
use crate::roots::bracketed;

/// P(phi(z) beyond the activation's saturation bounds), z ~ normal(std = sqrt(q)); `None` for
/// activations without bounds on both sides.
///
/// # Errors
/// [`TheoryError::Domain`] if q is negative or not finite.
///
/// # Example
/// ```
/// use gainstage_spec::Activation;
/// // A larger variance saturates tanh more: 6.7% of units at q = 1, 71% at q = 25.
/// let share = |q| gainstage_theory::saturated_share(&Activation::Tanh, q).map(Option::unwrap);
/// assert!((share(1.0)? - 0.0670).abs() < 5e-5);
/// assert!((share(25.0)? - 0.7141).abs() < 5e-5);
/// # Ok::<(), gainstage_theory::TheoryError>(())
/// ```
pub fn saturated_share(phi: &Activation, q: f64) -> Result<Option<f64>, TheoryError> {
    not_negative("the variance q", q)?;
    let Some((low, high)) = phi.saturation_bounds() else {
        return Ok(None);
    };
    let std = q.sqrt();
    // Every bounded activation here increases with z.
    let place = |bound: f64| {
        let beyond = |z: f64| phi.value(z) - bound;
        bracketed(-1e6, 1e6, beyond(-1e6), beyond(1e6), beyond)
    };
    // P(z > x), which is 0 or 1 without spread.
    let above = |x: f64| 0.5 * libm::erfc(x / (std * std::f64::consts::SQRT_2));
    Ok(Some(above(-place(low)) + above(place(high))))
}

use std::f64::consts::PI;

use gainstage_spec::Activation;
use serde::{Deserialize, Serialize};

use crate::error::TheoryError;
use crate::kernel::derivative_parting;
use crate::mean_field::{FixedPoint, MeanField, VarianceLimit};
use crate::moments::map_at;

/// How a deviation dies at criticality, where no exponential depth scale exists: with l the layer, as
/// constant / l^power.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CriticalRate {
    /// The constant.
    pub constant: f64,
    /// 1 or 2.
    pub power: i32,
}

impl MeanField {
    /// How 1 - c falls with depth where chi_1 = 1; `None` elsewhere, with dropout, and where the
    /// correlation map is the identity.
    ///
    /// The correlation map near c = 1, e = 1 - c, is e - (f''(1)/2) e^2 for smooth activations, with
    /// f''(1) = sigma_w^2 q E phi''^2, so that 1 - c ~ (2 / f''(1)) / l. Where phi' jumps by J at k it is
    /// e - s e^(3/2), s = (2/3) sigma_w^2 sum J^2 g(k / sqrt q) / sqrt pi, g the normal density, and
    /// 1 - c ~ (4 / s^2) / l^2: 9 pi^2 / 2 for ReLU (Hayou, Doucet & Rousseau 2019).
    ///
    /// # Errors
    /// [`TheoryError`] for a q outside the domain of [`MeanField::depth_limit`].
    ///
    /// # Example
    /// ```
    /// use gainstage_spec::Activation;
    /// use gainstage_theory::MeanField;
    /// let relu = MeanField::new(&Activation::Relu, 2.0, 0.0)?.correlation_rate(1.0)?.unwrap();
    /// assert_eq!(relu.power, 2);
    /// assert!((relu.constant - 44.41321980).abs() < 1e-7);
    /// let edge = MeanField::new(&Activation::Tanh, 1.760954639607, 0.05)?;
    /// let tanh = edge.correlation_rate(1.0)?.unwrap();
    /// assert_eq!(tanh.power, 1);
    /// assert!((tanh.constant - 6.17112614).abs() < 1e-6);
    /// # Ok::<(), gainstage_theory::TheoryError>(())
    /// ```
    pub fn correlation_rate(&self, q: f64) -> Result<Option<CriticalRate>, TheoryError> {
        let (VarianceLimit::Fixed { point: FixedPoint { q, .. } } | VarianceLimit::Kept { q }) =
            self.variance_limit(q)?
        else {
            return Ok(None);
        };
        let chi_1 = self.weight_variance * map_at(&self.activation, q).derivative_second_moment;
        if (chi_1 - 1.0).abs() > 1e-9 || self.keep < 1.0 || q == 0.0 {
            return Ok(None);
        }
        let jumps = squared_jumps(&self.activation, q);
        if jumps > 0.0 {
            let s = 2.0 / 3.0 * self.weight_variance * jumps / PI.sqrt();
            return Ok(Some(CriticalRate { constant: 4.0 / (s * s), power: 2 }));
        }
        // E (phi'(u) - phi'(v))^2 / 2 = q E phi''^2 e + O(e^2); the second order is extrapolated away.
        let bend = |e: f64| derivative_parting(&self.activation, q, e) / e;
        let (wide, narrow) = (bend(2e-5), bend(1e-5));
        let bend = self.weight_variance * (2.0 * narrow - wide);
        Ok((bend > 1e-12).then(|| CriticalRate { constant: 2.0 / bend, power: 1 }))
    }

    /// How q falls with depth at a fixed point 0 of slope 1: q ~ 1/(2 l) for tanh at sigma_w = 1.
    /// `None` elsewhere.
    ///
    /// From the variance map near zero, q - a q^2: q ~ (1/a) / l.
    ///
    /// # Errors
    /// As [`MeanField::correlation_rate`].
    ///
    /// # Example
    /// ```
    /// use gainstage_spec::Activation;
    /// use gainstage_theory::MeanField;
    /// let rate = MeanField::new(&Activation::Tanh, 1.0, 0.0)?.variance_rate(1.0)?.unwrap();
    /// assert!((rate.constant - 0.5).abs() < 1e-6 && rate.power == 1);
    /// # Ok::<(), gainstage_theory::TheoryError>(())
    /// ```
    pub fn variance_rate(&self, q: f64) -> Result<Option<CriticalRate>, TheoryError> {
        let VarianceLimit::Fixed { point } = self.variance_limit(q)? else { return Ok(None) };
        if point.q != 0.0 || (point.slope - 1.0).abs() > 1e-9 {
            return Ok(None);
        }
        let loss = |q: f64| {
            let m = map_at(&self.activation, q);
            // 1 - slope of the map is 2 a q + O(q^2), without the cancellation of q - map.
            (1.0 - self.weight_variance * m.second_moment_slope / self.keep) / (2.0 * q)
        };
        let (wide, narrow) = (loss(2e-5), loss(1e-5));
        let a = 2.0 * narrow - wide;
        Ok((a > 1e-9).then(|| CriticalRate { constant: 1.0 / a, power: 1 }))
    }
}

/// sum over kinks of (jump of phi')^2 times the normal density at k / sqrt q.
fn squared_jumps(phi: &Activation, q: f64) -> f64 {
    let std = q.sqrt();
    phi.kinks()
        .iter()
        .map(|&kink| {
            let step = 1e-9 * kink.abs().max(1.0);
            let jump = phi.derivative(kink + step) - phi.derivative(kink - step);
            // Smooth slopes change by step times curvature.
            let jump = if jump.abs() < 1e-6 { 0.0 } else { jump };
            let t = kink / std;
            jump * jump * (-0.5 * t * t).exp() / (2.0 * PI).sqrt()
        })
        .sum()
}

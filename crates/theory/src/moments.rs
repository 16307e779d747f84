use gainstage_spec::Activation;
use serde::{Deserialize, Serialize};

use crate::error::{TheoryError, not_negative};
use crate::parity::parts;
use crate::quadrature::{TAIL, half_line};

/// Averages of an activation and its derivative over z ~ normal(std = sqrt(q)).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Variance of z.
    pub q: f64,
    /// E phi(z)
    pub mean: f64,
    /// E phi(z)^2, the variance map V(q) of Poole et al. 2016.
    pub second_moment: f64,
    /// E phi(z)^4
    pub fourth_moment: f64,
    /// E phi'(z)^2; the weight variance times fan-in makes chi_1 of it (Schoenholz et al. 2017).
    pub derivative_second_moment: f64,
    /// E phi'(z)^4
    pub derivative_fourth_moment: f64,
    /// E phi(z) phi'(z)
    pub value_derivative: f64,
    /// E phi(z)^2 phi'(z)^2
    pub square_product: f64,
    /// dV/dq = E z phi(z) phi'(z) / q, the slope of the variance map (by Stein's identity).
    pub second_moment_slope: f64,
}

impl Moments {
    /// sqrt(q / E phi^2): with weights of standard deviation gain / sqrt(fan_in) and no bias, layers
    /// keep the variance q of their pre-activations.
    pub fn gain(&self) -> f64 {
        (self.q / self.second_moment).sqrt()
    }

    /// 1 / sqrt(E phi'^2): keeps the second moment of the error signal (chi_1 = 1).
    pub fn critical_gain(&self) -> f64 {
        self.derivative_second_moment.sqrt().recip()
    }

    /// E phi^4 / (E phi^2)^2 - 1: n times the relative variance of a layer's mean square.
    pub fn relative_variance(&self) -> f64 {
        self.fourth_moment / (self.second_moment * self.second_moment) - 1.0
    }
}

/// Gaussian moments of an activation at variance q.
///
/// Accurate to 1e-12 relative for q from 1e-12 to 1e6. Closed forms serve where they are stable:
/// piecewise linear activations; erf, E erf^2 = (2/pi) asin(2q/(1+2q)) and E erf'^2 =
/// (4/pi)/sqrt(1+4q) (Williams 1997); sin, E sin^2 = (1 - e^(-2q))/2. The others, among them
/// activations whose closed forms cancel at small q (GELU, the ELU family, clipped lines), are
/// integrated by composite Gauss-Legendre rules on their odd and even parts.
///
/// At q = 0 the moments are the limits q -> 0.
///
/// # Errors
/// [`TheoryError::Domain`] if q is negative or not finite, [`TheoryError::Reach`] if it is too large for
/// a custom activation.
///
/// # Example
/// ```
/// use gainstage_spec::Activation;
/// let tanh = gainstage_theory::moments(&Activation::Tanh, 1.0)?;
/// assert!((tanh.second_moment - 0.3942944903978412).abs() < 1e-15);
/// assert!((tanh.derivative_second_moment - 0.4644029024482682).abs() < 1e-15);
/// // Neither gain is PyTorch's 5/3.
/// assert!((tanh.gain() - 1.5925374197228).abs() < 1e-12);
/// # Ok::<(), gainstage_theory::TheoryError>(())
/// ```
pub fn moments(phi: &Activation, q: f64) -> Result<Moments, TheoryError> {
    Ok(at(phi, within_reach(phi, q)?))
}

/// 1 / sqrt(E phi^2) at q = 1: He's sqrt(2) for ReLU, generalised.
///
/// ```
/// use gainstage_spec::Activation;
/// use gainstage_theory::gain;
/// assert!((gain(&Activation::Relu) - 2f64.sqrt()).abs() < 1e-15);
/// assert!((gain(&Activation::Gelu) - 1.5335304411955).abs() < 1e-12);
/// assert!((gain(&Activation::Selu) - 1.0).abs() < 1e-15);
/// ```
pub fn gain(phi: &Activation) -> f64 {
    at(phi, 1.0).gain()
}

/// 1 / sqrt(E phi'^2) at q = 1: the gain at which gradients keep their second moment there.
///
/// Equal to [`gain`] only for activations that are linear on each side of zero. Where E phi = 0 it
/// is the smaller one: E phi'^2 >= Var phi for every phi (the Gaussian Poincare inequality).
///
/// ```
/// use gainstage_spec::Activation;
/// use gainstage_theory::{critical_gain, gain};
/// let chi = (gain(&Activation::Selu) / critical_gain(&Activation::Selu)).powi(2);
/// assert!((chi - 1.071574992455799).abs() < 1e-14);
/// ```
pub fn critical_gain(phi: &Activation) -> f64 {
    at(phi, 1.0).critical_gain()
}

/// A variance that is finite, not negative, and so small that 13 standard deviations stay where a custom
/// activation is known.
pub(crate) fn within_reach(phi: &Activation, q: f64) -> Result<f64, TheoryError> {
    let q = not_negative("the variance q", q)?;
    let largest = largest_variance(phi);
    if q <= largest {
        Ok(q)
    } else {
        Err(TheoryError::Reach { activation: phi.to_string(), reach: phi.reach(), q, largest })
    }
}

/// The largest variance at which the Gaussian averages of an activation are known.
pub(crate) fn largest_variance(phi: &Activation) -> f64 {
    (phi.reach() / TAIL).powi(2)
}

/// Where the half line is to be split besides what every activation needs, in standard deviations.
pub(crate) fn splits(phi: &Activation, std: f64) -> Vec<f64> {
    phi.kinks().iter().chain(phi.cuts()).map(|z| (z / std).abs()).collect()
}

/// [`moments`] for a q known to be finite and not negative.
pub(crate) fn at(phi: &Activation, q: f64) -> Moments {
    if let Some((negative, positive)) = phi.slopes() {
        return piecewise_linear(negative, positive, q);
    }
    let mut moments = if matches!(phi, Activation::Sin) && q > 1.0 {
        Moments { q, ..Moments::default() }
    } else {
        by_quadrature(phi, q)
    };
    closed_forms(phi, q, &mut moments);
    moments
}

impl Default for Moments {
    /// Those of the activation that is zero everywhere.
    fn default() -> Self {
        Self {
            q: 0.0,
            mean: 0.0,
            second_moment: 0.0,
            fourth_moment: 0.0,
            derivative_second_moment: 0.0,
            derivative_fourth_moment: 0.0,
            value_derivative: 0.0,
            square_product: 0.0,
            second_moment_slope: 0.0,
        }
    }
}

fn piecewise_linear(negative: f64, positive: f64, q: f64) -> Moments {
    let even = |power: i32| 0.5 * (negative.powi(power) + positive.powi(power));
    Moments {
        q,
        mean: (positive - negative) * (q / (2.0 * std::f64::consts::PI)).sqrt(),
        second_moment: even(2) * q,
        fourth_moment: 3.0 * even(4) * q * q,
        derivative_second_moment: even(2),
        derivative_fourth_moment: even(4),
        value_derivative: (positive * positive - negative * negative)
            * (q / (2.0 * std::f64::consts::PI)).sqrt(),
        square_product: even(4) * q,
        second_moment_slope: even(2),
    }
}

fn by_quadrature(phi: &Activation, q: f64) -> Moments {
    let mut m = Moments { q, ..Moments::default() };
    let std = q.sqrt();
    let mut add = |z: f64, w: f64| {
        let p = parts(phi, z);
        let (oo, ee) = (p.odd * p.odd, p.even * p.even);
        let (ss, tt) = (p.odd_slope * p.odd_slope, p.even_slope * p.even_slope);
        // phi phi' = odd + even; each product below is the even part, doubled by w.
        let odd_product = p.odd * p.odd_slope + p.even * p.even_slope;
        let even_product = p.odd * p.even_slope + p.even * p.odd_slope;
        m.mean += w * p.even;
        m.second_moment += w * (oo + ee);
        m.fourth_moment += w * (oo * oo + 6.0 * oo * ee + ee * ee);
        m.derivative_second_moment += w * (ss + tt);
        m.derivative_fourth_moment += w * (ss * ss + 6.0 * ss * tt + tt * tt);
        m.value_derivative += w * even_product;
        m.square_product += w * (odd_product * odd_product + even_product * even_product);
        m.second_moment_slope += w * z * odd_product;
    };
    if std == 0.0 {
        // The limit: both one-sided neighbourhoods of zero, at a z whose square does not underflow.
        let z = 1e-150;
        add(z, 1.0);
        let at_zero = phi.value(0.0);
        return Moments {
            mean: at_zero,
            second_moment: at_zero.powi(2),
            fourth_moment: at_zero.powi(4),
            second_moment_slope: m.second_moment_slope / (z * z),
            ..m
        };
    }
    half_line(scale(phi) / std, &splits(phi, std), |t, w| add(std * t, 2.0 * w));
    m.second_moment_slope /= q;
    m
}

/// E z phi'(z)^2 / sqrt(q)
pub(crate) fn derivative_tilt(phi: &Activation, q: f64) -> f64 {
    let std = q.sqrt();
    let kinks: Vec<f64> = phi.kinks().iter().map(|k| k / std).collect();
    let mut sum = 0.0;
    half_line(scale(phi) / std, &kinks, |t, w| {
        let p = parts(phi, std * t);
        sum += 4.0 * w * t * p.odd_slope * p.even_slope;
    });
    sum
}

/// [`at`] where only E phi^2, its slope and E phi'^2 are read.
pub(crate) fn map_at(phi: &Activation, q: f64) -> Moments {
    if matches!(phi, Activation::Erf | Activation::Sin) {
        let mut moments = Moments { q, ..Moments::default() };
        closed_forms(phi, q, &mut moments);
        moments
    } else {
        at(phi, q)
    }
}

/// [`at`] for quotients that do not depend on the scale of q once it is extreme: kept away from where
/// fourth powers overflow or vanish.
pub(crate) fn shape_at(phi: &Activation, q: f64) -> Moments {
    at(phi, if q > 0.0 { q.clamp(1e-60, 1e60) } else { q })
}

/// On which scale of z the activation bends.
pub(crate) fn scale(phi: &Activation) -> f64 {
    match phi {
        Activation::Celu { alpha } => *alpha,
        _ => 1.0,
    }
}

fn closed_forms(phi: &Activation, q: f64, m: &mut Moments) {
    use std::f64::consts::PI;
    match phi {
        Activation::Erf => {
            m.second_moment = 2.0 / PI * (2.0 * q / (1.0 + 2.0 * q)).asin();
            m.derivative_second_moment = 4.0 / (PI * (1.0 + 4.0 * q).sqrt());
            m.second_moment_slope = 4.0 / (PI * (1.0 + 2.0 * q) * (1.0 + 4.0 * q).sqrt());
        }
        Activation::Sin => {
            let (e, e4) = ((-2.0 * q).exp(), (-8.0 * q).exp());
            m.second_moment = -0.5 * (-2.0 * q).exp_m1();
            m.derivative_second_moment = 0.5 * (1.0 + e);
            m.derivative_fourth_moment = (3.0 + 4.0 * e + e4) / 8.0;
            m.square_product = -(-8.0 * q).exp_m1() / 8.0;
            m.second_moment_slope = e;
            if q > 1.0 {
                m.fourth_moment = (3.0 - 4.0 * e + e4) / 8.0;
            }
        }
        _ => {}
    }
}

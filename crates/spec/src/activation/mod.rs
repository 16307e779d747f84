//! Activation functions: values, derivatives and what is known of their shape.

mod curves;
mod text;

use std::f64::consts::PI;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::curves::LECUN_SCALE;
use crate::{CustomActivation, SpecError};

/// An activation function phi, applied to the pre-activation z of each unit.
///
/// Written as text it is `relu`, `leaky_relu(0.2)`, `elu(alpha = 1)`; the same text stands in TOML.
///
/// # Example
/// ```
/// use gainstage_spec::Activation;
/// let phi: Activation = "leaky_relu(0.2)".parse()?;
/// assert_eq!(phi.value(-3.0), -0.6000000000000001);
/// assert_eq!(phi.derivative(-3.0), 0.2);
/// assert_eq!(phi.kinks(), [0.0]);
/// # Ok::<(), gainstage_spec::SpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Activation {
    /// z
    Linear,
    /// max(z, 0)
    Relu,
    /// max(z, 0) + slope min(z, 0), slope fixed.
    LeakyRelu {
        /// Slope on the negative side; PyTorch's default is 0.01.
        slope: f64,
    },
    /// As leaky ReLU; the slope is a parameter that starts here (0.25 in He et al. 2015).
    Prelu {
        /// Initial slope on the negative side.
        slope: f64,
    },
    /// z for z > 0, alpha (e^z - 1) otherwise (Clevert et al. 2016).
    Elu {
        /// Minus the limit on the negative side.
        alpha: f64,
    },
    /// lambda elu(z; alpha) with the constants of Klambauer et al. 2017.
    Selu,
    /// max(z, 0) + min(0, alpha (e^(z/alpha) - 1)) (Barron 2017).
    Celu {
        /// Minus the limit on the negative side; must be positive.
        alpha: f64,
    },
    /// z Phi(z), Phi the normal distribution function (Hendrycks & Gimpel 2016).
    Gelu,
    /// z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))), the tanh form of GELU.
    GeluTanh,
    /// z sigmoid(1.702 z), the sigmoid form of GELU.
    QuickGelu,
    /// z sigmoid(z), also called swish.
    Silu,
    /// z tanh(ln(1 + e^z)) (Misra 2019).
    Mish,
    /// ln(1 + e^z)
    Softplus,
    /// tanh z
    Tanh,
    /// 1.7159 tanh(2z/3) (LeCun et al. 1998).
    LecunTanh,
    /// 1 / (1 + e^-z)
    Sigmoid,
    /// z / (1 + |z|)
    Softsign,
    /// z clipped to [-1, 1].
    HardTanh,
    /// arctan z
    Arctan,
    /// erf z
    Erf,
    /// sin z
    Sin,
    /// |z|
    Abs,
    /// min(max(z, 0), 6)
    Relu6,
    /// z relu6(z + 3) / 6 (Howard et al. 2019).
    HardSwish,
    /// A formula of z, or sampled points.
    Custom(Arc<CustomActivation>),
}

impl Activation {
    /// From a formula of z, as in `z * sigmoid(1.5 * z)`; the grammar is that of [`CustomActivation`].
    ///
    /// # Errors
    /// As [`CustomActivation::expression`].
    pub fn expression(formula: &str) -> Result<Self, SpecError> {
        CustomActivation::expression(formula).map(|custom| Self::Custom(Arc::new(custom)))
    }

    /// From points (z, phi(z)).
    ///
    /// # Errors
    /// As [`CustomActivation::table`].
    pub fn table(points: Vec<(f64, f64)>) -> Result<Self, SpecError> {
        CustomActivation::table(points).map(|custom| Self::Custom(Arc::new(custom)))
    }

    /// Every built-in activation once, parametric ones at their customary value.
    pub fn all() -> Vec<Self> {
        vec![
            Self::Linear,
            Self::Relu,
            Self::LeakyRelu { slope: 0.01 },
            Self::Prelu { slope: 0.25 },
            Self::Elu { alpha: 1.0 },
            Self::Selu,
            Self::Celu { alpha: 1.0 },
            Self::Gelu,
            Self::GeluTanh,
            Self::QuickGelu,
            Self::Silu,
            Self::Mish,
            Self::Softplus,
            Self::Tanh,
            Self::LecunTanh,
            Self::Sigmoid,
            Self::Softsign,
            Self::HardTanh,
            Self::Arctan,
            Self::Erf,
            Self::Sin,
            Self::Abs,
            Self::Relu6,
            Self::HardSwish,
        ]
    }

    /// Where phi or phi' is not smooth, in ascending order: a quadrature must split there.
    pub fn kinks(&self) -> &[f64] {
        match self {
            Self::Custom(custom) => custom.kinks(),
            Self::Relu
            | Self::LeakyRelu { .. }
            | Self::Prelu { .. }
            | Self::Elu { .. }
            | Self::Selu
            | Self::Celu { .. }
            | Self::Softsign
            | Self::Abs => &[0.0],
            Self::HardTanh => &[-1.0, 1.0],
            Self::Relu6 => &[0.0, 6.0],
            Self::HardSwish => &[-3.0, 3.0],
            _ => &[],
        }
    }

    /// Further places where a quadrature does well to split, in ascending order: none for built-in
    /// activations, whose only scale is that around zero.
    pub fn cuts(&self) -> &[f64] {
        match self {
            Self::Custom(custom) => custom.cuts(),
            _ => &[],
        }
    }

    /// The largest |z| to which cuts and kinks are known; infinite for built-in activations.
    pub fn reach(&self) -> f64 {
        match self {
            Self::Custom(custom) => custom.reach(),
            _ => f64::INFINITY,
        }
    }

    /// Whether it is given by sampled points, between which it is a cubic.
    pub fn is_table(&self) -> bool {
        matches!(self, Self::Custom(custom) if custom.is_table())
    }

    /// `Some((negative, positive))` where phi is linear on each side of zero with these slopes.
    ///
    /// These activations are positively homogeneous, so their finite-width laws are exact.
    pub fn slopes(&self) -> Option<(f64, f64)> {
        match *self {
            Self::Custom(ref custom) => custom.slopes(),
            Self::Linear => Some((1.0, 1.0)),
            Self::Relu => Some((0.0, 1.0)),
            Self::LeakyRelu { slope } | Self::Prelu { slope } => Some((slope, 1.0)),
            Self::Abs => Some((-1.0, 1.0)),
            _ => None,
        }
    }

    /// Lowest and highest value where phi is bounded on both sides and flat at both ends.
    pub fn range(&self) -> Option<(f64, f64)> {
        match self {
            Self::Tanh | Self::Softsign | Self::HardTanh | Self::Erf => Some((-1.0, 1.0)),
            Self::LecunTanh => Some((-LECUN_SCALE, LECUN_SCALE)),
            Self::Sigmoid => Some((0.0, 1.0)),
            Self::Arctan => Some((-PI / 2.0, PI / 2.0)),
            Self::Relu6 => Some((0.0, 6.0)),
            _ => None,
        }
    }

    /// The values of phi beyond which a unit counts as saturated: within 2.5% of the range's width
    /// of either end, so |tanh z| > 0.95 and the equivalent 0.025 and 0.975 for the sigmoid.
    pub fn saturation_bounds(&self) -> Option<(f64, f64)> {
        self.range().map(|(low, high)| (low + 0.025 * (high - low), high - 0.025 * (high - low)))
    }

    /// Whether phi(-z) = -phi(z).
    pub fn is_odd(&self) -> bool {
        if let Self::Custom(custom) = self {
            return custom.is_odd();
        }
        matches!(
            self,
            Self::Linear
                | Self::Tanh
                | Self::LecunTanh
                | Self::Softsign
                | Self::HardTanh
                | Self::Arctan
                | Self::Erf
                | Self::Sin
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_derivative_is_the_slope_of_its_value() {
        let h = 1e-6;
        for phi in Activation::all() {
            for z in [-40.0, -7.3, -3.1, -1.2, -0.4, 0.3, 0.9, 2.7, 5.5, 35.0] {
                let slope = (phi.value(z + h) - phi.value(z - h)) / (2.0 * h);
                let error = (phi.derivative(z) - slope).abs();
                // Central difference: h^2 phi'''/6 plus rounding |phi| eps / h.
                assert!(error < 1e-7, "{phi} at {z}: {} against {slope}", phi.derivative(z));
            }
        }
    }

    #[test]
    fn text_and_value_agree_for_every_activation() {
        for phi in Activation::all() {
            assert_eq!(phi.to_string().parse::<Activation>(), Ok(phi));
        }
        assert_eq!("Leaky-ReLU(slope = 0.3)".parse(), Ok(Activation::LeakyRelu { slope: 0.3 }));
        assert!(matches!("rellu".parse::<Activation>(), Err(SpecError::Unknown { .. })));
        assert!(matches!("relu(0.1)".parse::<Activation>(), Err(SpecError::Syntax { .. })));
        assert!(matches!("celu(-1)".parse::<Activation>(), Err(SpecError::Domain { .. })));
        assert!(matches!("elu(inf)".parse::<Activation>(), Err(SpecError::Syntax { .. })));
    }

    #[test]
    fn odd_activations_are_odd_and_extremes_stay_defined() {
        for phi in Activation::all() {
            for z in [0.1, 1.7, 30.0, 1e300] {
                assert!(!phi.value(z).is_nan() && !phi.derivative(z).is_nan(), "{phi} at {z}");
                assert!(!phi.value(-z).is_nan() && !phi.derivative(-z).is_nan(), "{phi} at -{z}");
                if phi.is_odd() {
                    assert_eq!(phi.value(-z), -phi.value(z), "{phi}");
                }
            }
            assert!(phi.value(f64::NAN).is_nan(), "{phi} hides NaN");
        }
    }
}

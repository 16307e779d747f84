use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::call::Call;
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

/// Constants of SELU: the solution of E selu = 0, E selu^2 = 1 at z ~ normal(std = 1).
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_LAMBDA: f64 = 1.050_700_987_355_480_5;
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
const GELU_CUBIC: f64 = 0.044_715;
const QUICK_GELU: f64 = 1.702;
const LECUN_SCALE: f64 = 1.715_9;
const LECUN_SLOPE: f64 = 2.0 / 3.0;

const KNOWN: &str = "linear, relu, leaky_relu(slope), prelu(slope), elu(alpha), selu, celu(alpha), gelu, gelu_tanh, \
     quick_gelu, silu, mish, softplus, tanh, lecun_tanh, sigmoid, softsign, hard_tanh, arctan, erf, sin, abs, relu6, hard_swish, \
     expr(formula of z), table(z: value, ...)";

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

    /// phi(z). Finite for finite z; NaN only for NaN.
    pub fn value(&self, z: f64) -> f64 {
        match *self {
            Self::Custom(ref custom) => custom.at(z).value,
            Self::Linear => z,
            Self::Relu => relu(z),
            Self::LeakyRelu { slope } | Self::Prelu { slope } => {
                if z > 0.0 {
                    z
                } else {
                    slope * z
                }
            }
            Self::Elu { alpha } => {
                if z > 0.0 {
                    z
                } else {
                    alpha * z.exp_m1()
                }
            }
            Self::Selu => SELU_LAMBDA * if z > 0.0 { z } else { SELU_ALPHA * z.exp_m1() },
            Self::Celu { alpha } => {
                if z > 0.0 {
                    z
                } else {
                    alpha * (z / alpha).exp_m1()
                }
            }
            Self::Gelu => z * normal_cdf(z),
            Self::GeluTanh => z * sigmoid(2.0 * SQRT_2_OVER_PI * (z + GELU_CUBIC * z * z * z)),
            Self::QuickGelu => z * sigmoid(QUICK_GELU * z),
            Self::Silu => z * sigmoid(z),
            Self::Mish => z * softplus(z).tanh(),
            Self::Softplus => softplus(z),
            Self::Tanh => z.tanh(),
            Self::LecunTanh => LECUN_SCALE * (LECUN_SLOPE * z).tanh(),
            Self::Sigmoid => sigmoid(z),
            Self::Softsign => {
                if z.is_infinite() {
                    z.signum()
                } else {
                    z / (1.0 + z.abs())
                }
            }
            Self::HardTanh => z.clamp(-1.0, 1.0),
            Self::Arctan => z.atan(),
            Self::Erf => libm::erf(z),
            Self::Sin => z.sin(),
            Self::Abs => z.abs(),
            Self::Relu6 => z.clamp(0.0, 6.0),
            Self::HardSwish => z * (z + 3.0).clamp(0.0, 6.0) / 6.0,
        }
    }

    /// phi'(z); at a kink the derivative from the left, as the frameworks take it for ReLU (0).
    pub fn derivative(&self, z: f64) -> f64 {
        match *self {
            Self::Custom(ref custom) => custom.at(z).slope,
            Self::Linear => 1.0,
            Self::Relu => step(z > 0.0),
            Self::LeakyRelu { slope } | Self::Prelu { slope } => {
                if z > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
            Self::Elu { alpha } => {
                if z > 0.0 {
                    1.0
                } else {
                    alpha * z.exp()
                }
            }
            Self::Selu => SELU_LAMBDA * if z > 0.0 { 1.0 } else { SELU_ALPHA * z.exp() },
            Self::Celu { alpha } => {
                if z > 0.0 {
                    1.0
                } else {
                    (z / alpha).exp()
                }
            }
            Self::Gelu => normal_cdf(z) + z * normal_pdf(z),
            Self::GeluTanh => {
                let s = sigmoid(2.0 * SQRT_2_OVER_PI * (z + GELU_CUBIC * z * z * z));
                let inner = 2.0 * SQRT_2_OVER_PI * (1.0 + 3.0 * GELU_CUBIC * z * z);
                s + vanishing(s * (1.0 - s), z * inner)
            }
            Self::QuickGelu => {
                let s = sigmoid(QUICK_GELU * z);
                s + vanishing(s * (1.0 - s), QUICK_GELU * z)
            }
            Self::Silu => {
                let s = sigmoid(z);
                s + vanishing(s * (1.0 - s), z)
            }
            Self::Mish => {
                let t = softplus(z).tanh();
                t + vanishing((1.0 - t * t) * sigmoid(z), z)
            }
            Self::Softplus => sigmoid(z),
            Self::Tanh => sech2(z),
            Self::LecunTanh => LECUN_SCALE * LECUN_SLOPE * sech2(LECUN_SLOPE * z),
            Self::Sigmoid => sech2(z / 2.0) / 4.0,
            Self::Softsign => (1.0 + z.abs()).powi(-2),
            Self::HardTanh => step(z > -1.0 && z <= 1.0),
            Self::Arctan => 1.0 / (1.0 + z * z),
            Self::Erf => FRAC_2_SQRT_PI * (-z * z).exp(),
            Self::Sin => z.cos(),
            Self::Abs => {
                if z > 0.0 {
                    1.0
                } else {
                    -1.0
                }
            }
            Self::Relu6 => step(z > 0.0 && z <= 6.0),
            Self::HardSwish => {
                if z <= -3.0 {
                    0.0
                } else if z <= 3.0 {
                    (2.0 * z + 3.0) / 6.0
                } else {
                    1.0
                }
            }
        }
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

fn relu(z: f64) -> f64 {
    // Not `max`, which would turn NaN into zero and hide it.
    if z > 0.0 || z.is_nan() { z } else { 0.0 }
}

fn step(on: bool) -> f64 {
    if on { 1.0 } else { 0.0 }
}

/// `small * large` where `small` underflows to zero before `large` overflows.
fn vanishing(small: f64, large: f64) -> f64 {
    if small == 0.0 { 0.0 } else { small * large }
}

fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        let e = z.exp();
        e / (1.0 + e)
    }
}

fn softplus(z: f64) -> f64 {
    if z.is_nan() { z } else { z.max(0.0) + (-z.abs()).exp().ln_1p() }
}

/// 1 - tanh^2 without cancellation in the tails.
fn sech2(z: f64) -> f64 {
    let e = (-2.0 * z.abs()).exp();
    4.0 * e / ((1.0 + e) * (1.0 + e))
}

fn normal_cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

fn normal_pdf(z: f64) -> f64 {
    (-0.5 * z * z).exp() * 0.5 * SQRT_2_OVER_PI
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom(custom) => custom.fmt(f),
            Self::LeakyRelu { slope } => write!(f, "leaky_relu({slope})"),
            Self::Prelu { slope } => write!(f, "prelu({slope})"),
            Self::Elu { alpha } => write!(f, "elu({alpha})"),
            Self::Celu { alpha } => write!(f, "celu({alpha})"),
            Self::Linear => f.write_str("linear"),
            Self::Relu => f.write_str("relu"),
            Self::Selu => f.write_str("selu"),
            Self::Gelu => f.write_str("gelu"),
            Self::GeluTanh => f.write_str("gelu_tanh"),
            Self::QuickGelu => f.write_str("quick_gelu"),
            Self::Silu => f.write_str("silu"),
            Self::Mish => f.write_str("mish"),
            Self::Softplus => f.write_str("softplus"),
            Self::Tanh => f.write_str("tanh"),
            Self::LecunTanh => f.write_str("lecun_tanh"),
            Self::Sigmoid => f.write_str("sigmoid"),
            Self::Softsign => f.write_str("softsign"),
            Self::HardTanh => f.write_str("hard_tanh"),
            Self::Arctan => f.write_str("arctan"),
            Self::Erf => f.write_str("erf"),
            Self::Sin => f.write_str("sin"),
            Self::Abs => f.write_str("abs"),
            Self::Relu6 => f.write_str("relu6"),
            Self::HardSwish => f.write_str("hard_swish"),
        }
    }
}

impl FromStr for Activation {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        if let Some(inside) = between_brackets(text, &["expr", "expression"])? {
            return Self::expression(inside);
        }
        if let Some(inside) = between_brackets(text, &["table"])? {
            return CustomActivation::read_table(inside).map(|table| Self::Custom(Arc::new(table)));
        }
        let mut call = Call::parse(text)?;
        let phi = match call.name.as_str() {
            "linear" | "identity" | "none" => Self::Linear,
            "relu" => Self::Relu,
            "leaky_relu" | "leaky" => Self::LeakyRelu { slope: call.number("slope", 0.01)? },
            "prelu" => Self::Prelu { slope: call.number("slope", 0.25)? },
            "elu" => Self::Elu { alpha: call.number("alpha", 1.0)? },
            "selu" => Self::Selu,
            "celu" => {
                let alpha = call.number("alpha", 1.0)?;
                if alpha <= 0.0 {
                    return Err(SpecError::domain("celu alpha", alpha, "positive"));
                }
                Self::Celu { alpha }
            }
            "gelu" | "gelu_erf" => Self::Gelu,
            "gelu_tanh" => Self::GeluTanh,
            "quick_gelu" => Self::QuickGelu,
            "silu" | "swish" => Self::Silu,
            "mish" => Self::Mish,
            "softplus" => Self::Softplus,
            "tanh" => Self::Tanh,
            "lecun_tanh" => Self::LecunTanh,
            "sigmoid" | "logistic" => Self::Sigmoid,
            "softsign" => Self::Softsign,
            "hard_tanh" | "hardtanh" => Self::HardTanh,
            "arctan" | "atan" => Self::Arctan,
            "erf" => Self::Erf,
            "sin" | "sine" => Self::Sin,
            "abs" => Self::Abs,
            "relu6" => Self::Relu6,
            "hard_swish" | "hardswish" => Self::HardSwish,
            _ => {
                return Err(SpecError::Unknown {
                    what: "activation",
                    name: text.trim().to_owned(),
                    known: KNOWN.to_owned(),
                });
            }
        };
        call.finish()?;
        Ok(phi)
    }
}

/// The text in the brackets behind one of these names.
fn between_brackets<'a>(text: &'a str, names: &[&str]) -> Result<Option<&'a str>, SpecError> {
    let text = text.trim();
    let Some((name, rest)) = text.split_once('(') else { return Ok(None) };
    if !names.contains(&name.trim().to_ascii_lowercase().as_str()) {
        return Ok(None);
    }
    rest.strip_suffix(')').map(Some).ok_or_else(|| SpecError::Formula {
        text: text.to_owned(),
        why: "the closing bracket is missing".to_owned(),
    })
}

impl TryFrom<String> for Activation {
    type Error = SpecError;

    fn try_from(text: String) -> Result<Self, SpecError> {
        text.parse()
    }
}

impl From<Activation> for String {
    fn from(phi: Activation) -> Self {
        phi.to_string()
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

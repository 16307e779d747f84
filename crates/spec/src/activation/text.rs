//! Activations as text, written and read.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Activation;
use crate::call::Call;
use crate::{CustomActivation, SpecError};

const KNOWN: &str = "linear, relu, leaky_relu(slope), prelu(slope), elu(alpha), selu, celu(alpha), gelu, gelu_tanh, \
     quick_gelu, silu, mish, softplus, tanh, lecun_tanh, sigmoid, softsign, hard_tanh, arctan, erf, sin, abs, relu6, hard_swish, \
     expr(formula of z), table(z: value, ...)";

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

//! Values and derivatives.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::Activation;

/// Constants of SELU: the solution of E selu = 0, E selu^2 = 1 at z ~ normal(std = 1).
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_LAMBDA: f64 = 1.050_700_987_355_480_5;
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
const GELU_CUBIC: f64 = 0.044_715;
const QUICK_GELU: f64 = 1.702;
pub(super) const LECUN_SCALE: f64 = 1.715_9;
const LECUN_SLOPE: f64 = 2.0 / 3.0;

impl Activation {
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

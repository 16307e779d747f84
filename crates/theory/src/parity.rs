//! Odd and even parts of activations, each without cancellation.
//!
//! A Gaussian average of phi keeps only its even part, which near zero is small against phi itself:
//! E gelu(z) at variance q is of order q, while gelu(z) is of order sqrt(q). Summing phi(z) + phi(-z)
//! would lose half of the digits at q = 1e-12. With phi = o + e (o odd, e even) every moment is a
//! half-line integral of sums of squares and of products that do not cancel.

use gainstage_spec::Activation;

/// phi = o + e at some z > 0, and the derivatives of both parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts {
    pub(crate) odd: f64,
    pub(crate) odd_slope: f64,
    pub(crate) even: f64,
    pub(crate) even_slope: f64,
}

const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;

/// The parts at z > 0.
pub(crate) fn parts(phi: &Activation, z: f64) -> Parts {
    use Activation as A;
    if let Some((negative, positive)) = phi.slopes() {
        let (half_sum, half_gap) = (0.5 * (positive + negative), 0.5 * (positive - negative));
        return Parts {
            odd: half_sum * z,
            odd_slope: half_sum,
            even: half_gap * z,
            even_slope: half_gap,
        };
    }
    match phi {
        _ if phi.is_odd() => {
            Parts { odd: phi.value(z), odd_slope: phi.derivative(z), even: 0.0, even_slope: 0.0 }
        }
        A::Elu { alpha } => exponential(z, 1.0, *alpha, 1.0),
        // The constants are read off the function itself, so that they are stated once.
        A::Selu => exponential(z, phi.value(1.0), -phi.value(-1e3) / phi.value(1.0), 1.0),
        A::Celu { alpha } => exponential(z, 1.0, *alpha, *alpha),
        A::Gelu => gated(
            z,
            libm::erf(z * std::f64::consts::FRAC_1_SQRT_2),
            SQRT_2_OVER_PI * (-0.5 * z * z).exp(),
        ),
        A::GeluTanh => {
            let u = SQRT_2_OVER_PI * (z + 0.044_715 * z * z * z);
            gated(z, u.tanh(), sech2(u) * SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044_715 * z * z))
        }
        A::QuickGelu => gated(z, (0.851 * z).tanh(), 0.851 * sech2(0.851 * z)),
        A::Silu => gated(z, (0.5 * z).tanh(), 0.5 * sech2(0.5 * z)),
        A::Softplus => Parts {
            odd: 0.5 * z,
            odd_slope: 0.5,
            even: 0.5 * z + (-z).exp().ln_1p(),
            even_slope: 0.5 * (0.5 * z).tanh(),
        },
        A::Sigmoid => Parts {
            odd: 0.5 * (0.5 * z).tanh(),
            odd_slope: 0.25 * sech2(0.5 * z),
            even: 0.5,
            even_slope: 0.0,
        },
        A::Mish => mish(z),
        A::Relu6 => {
            let slope = 0.5 * phi.derivative(z);
            let half = 0.5 * phi.value(z);
            Parts { odd: half, odd_slope: slope, even: half, even_slope: slope }
        }
        A::HardSwish => {
            let (even, even_slope) = if z < 3.0 { (z * z / 6.0, z / 3.0) } else { (0.5 * z, 0.5) };
            Parts { odd: 0.5 * z, odd_slope: 0.5, even, even_slope }
        }
        _ => {
            let (up, down) = (phi.value(z), phi.value(-z));
            let (up_slope, down_slope) = (phi.derivative(z), phi.derivative(-z));
            Parts {
                odd: 0.5 * (up - down),
                odd_slope: 0.5 * (up_slope + down_slope),
                even: 0.5 * (up + down),
                even_slope: 0.5 * (up_slope - down_slope),
            }
        }
    }
}

/// z/2 (1 + g(z)) with g odd: odd part z/2, even part z g(z)/2.
fn gated(z: f64, gate: f64, gate_slope: f64) -> Parts {
    Parts {
        odd: 0.5 * z,
        odd_slope: 0.5,
        even: 0.5 * z * gate,
        even_slope: 0.5 * (gate + z * gate_slope),
    }
}

/// `scale` z for z > 0 and `scale` alpha (e^(z/width) - 1) below: the ELU family.
fn exponential(z: f64, scale: f64, alpha: f64, width: f64) -> Parts {
    let u = z / width;
    let below = -alpha * (-u).exp_m1(); // -phi(-z)/scale, positive
    let slope_below = alpha / width * (-u).exp();
    // z - below = (1 - alpha/width) z + alpha (u + e^-u - 1), where u + e^-u - 1 starts with u^2/2.
    let gap = (1.0 - alpha / width) * z + alpha * curvature(u);
    let slope_gap = (1.0 - alpha / width) - alpha / width * (-u).exp_m1();
    Parts {
        odd: 0.5 * scale * (z + below),
        odd_slope: 0.5 * scale * (1.0 + slope_below),
        even: 0.5 * scale * gap,
        even_slope: 0.5 * scale * slope_gap,
    }
}

/// u + e^-u - 1 for u >= 0, from its Taylor series where the terms would cancel.
fn curvature(u: f64) -> f64 {
    if u > 0.5 {
        return u + (-u).exp_m1();
    }
    let (mut term, mut sum) = (0.5 * u * u, 0.0);
    for k in 3..20 {
        sum += term;
        term *= -u / k as f64;
    }
    sum
}

/// z tanh(softplus z): with a = e^z the gate is N/(N + 2), N = a^2 + 2a, whose even and odd parts
/// have the numerators below over a common denominator.
fn mish(z: f64) -> Parts {
    let b = (-z).exp(); // 1/a, so that nothing overflows
    let less = -(-z).exp_m1(); // 1 - b
    let up = (1.0 + 2.0 * b) / (1.0 + 2.0 * b + 2.0 * b * b); // gate at z
    let down = b * (2.0 + b) / (2.0 + 2.0 * b + b * b); // gate at -z
    // up - down = 2 (a - 1)(a + 1)^3 / ((a^2 + 2a + 2)(2a^2 + 2a + 1))
    let gap =
        2.0 * less * (1.0 + b).powi(3) / ((1.0 + 2.0 * b + 2.0 * b * b) * (2.0 + 2.0 * b + b * b));
    // d/dz of tanh(softplus z) = (1 - gate^2) sigmoid(z).
    let up_slope = (1.0 - up) * (1.0 + up) / (1.0 + b);
    let down_slope = (1.0 - down) * (1.0 + down) * b / (1.0 + b);
    Parts {
        odd: 0.5 * z * (up + down),
        odd_slope: 0.5 * (up + down) + 0.5 * z * (up_slope - down_slope),
        even: 0.5 * z * gap,
        even_slope: 0.5 * gap + 0.5 * z * (up_slope + down_slope),
    }
}

fn sech2(u: f64) -> f64 {
    let e = (-2.0 * u.abs()).exp();
    4.0 * e / ((1.0 + e) * (1.0 + e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_to_the_activation_on_both_sides() {
        let mut all = Activation::all();
        all.extend(["elu(alpha = 0.3)", "celu(alpha = 2.5)"].map(|t| t.parse().expect("known")));
        for phi in &all {
            for z in [1e-9, 1e-3, 0.2, 0.51, 0.9, 1.7, 2.9, 3.1, 5.9, 6.1, 20.0, 300.0] {
                let p = parts(phi, z);
                let close = |got: f64, expected: f64, what: &str| {
                    assert!(
                        (got - expected).abs() <= 4e-15 * (1.0f64).max(z),
                        "{phi} at {z}, {what}: {got} against {expected}"
                    );
                };
                close(p.odd + p.even, phi.value(z), "value");
                close(p.even - p.odd, phi.value(-z), "value below");
                close(p.odd_slope + p.even_slope, phi.derivative(z), "slope");
                close(p.odd_slope - p.even_slope, phi.derivative(-z), "slope below");
            }
        }
    }
}

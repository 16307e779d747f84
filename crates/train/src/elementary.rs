//! Elementary functions in f32 as plain arithmetic, which compilers turn into vector instructions and
//! which gives the same bits on every platform.

/// e^x, to 1e-7 relative; 0 below -87.3, infinity above 88.3.
///
/// x = n ln 2 + r with |r| at most half of ln 2; the polynomial in r is that of Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_375;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5 * 2^23 leaves no bits below one: it rounds, and the integer stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.3, 88.3);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_2e-4;
    for coefficient in
        [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1]
    {
        p = p * r + coefficient;
    }
    let mantissa = p * r * r + r + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    let inside = mantissa * power;
    let high = if x > 88.3 { f32::INFINITY } else { inside };
    if x < -87.3 { 0.0 } else { high }
}

/// tanh x, to 3e-7 relative; below 0.625 the polynomial of Cephes' `tanhf`.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let square = x * x;
    let mut p = -5.704_988_7e-3;
    for coefficient in [2.063_908_9e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328_2e-1] {
        p = p * square + coefficient;
    }
    let small = p * square * x + x;
    let large = (1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0)).copysign(x);
    if x.abs() < 0.625 { small } else { large }
}

/// 1 - tanh^2 x without cancellation.
#[inline(always)]
pub(crate) fn tanh_slope(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    4.0 * e / ((1.0 + e) * (1.0 + e))
}

/// 1 / (1 + e^-x)
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The derivative of [`sigmoid`].
#[inline(always)]
pub(crate) fn sigmoid_slope(x: f32) -> f32 {
    let e = exp(-x.abs());
    e / ((1.0 + e) * (1.0 + e))
}

/// The normal distribution function times two, 1 + erf(x / sqrt 2), to 3e-7 relative on either side.
///
/// erfc by the Chebyshev fit of Press et al., Numerical Recipes, section 6.2 (`erfcc`, 1.2e-7 relative).
#[inline(always)]
fn twice_normal_cdf(x: f32) -> f32 {
    let z = (x.abs() * std::f32::consts::FRAC_1_SQRT_2).min(20.0);
    let t = 1.0 / (1.0 + 0.5 * z);
    let mut p = 0.170_872_77;
    for coefficient in [
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ] {
        p = p * t + coefficient;
    }
    let (high, low) = half_square(x.clamp(-20.0, 20.0));
    let tail = t * exp(-high) * exp(p - low);
    if x < 0.0 { tail } else { 2.0 - tail }
}

/// x^2 / 2 as an exact number and a small one, since the exponential turns the rounding of its argument
/// into a relative error.
#[inline(always)]
fn half_square(x: f32) -> (f32, f32) {
    let high = f32::from_bits(x.to_bits() & 0xffff_f000);
    (0.5 * high * high, 0.5 * (x - high) * (x + high))
}

/// x times the normal distribution function.
#[inline(always)]
pub(crate) fn gelu(x: f32) -> f32 {
    let product = 0.5 * x * twice_normal_cdf(x);
    // Far out on the left the function is zero, and infinity times it no number.
    if x < -14.0 { 0.0 * x.max(-1.0) } else { product }
}

/// The derivative of [`gelu`]: the distribution function plus x times the density.
#[inline(always)]
pub(crate) fn gelu_slope(x: f32) -> f32 {
    const INVERSE_ROOT_TWO_PI: f32 = 0.398_942_28;
    let bounded = x.clamp(-20.0, 20.0);
    let (high, low) = half_square(bounded);
    let density = INVERSE_ROOT_TWO_PI * exp(-high) * exp(-low);
    let inside = 0.5 * twice_normal_cdf(bounded) + bounded * density;
    if x.is_nan() { x } else { inside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elementary_functions_agree_with_double_precision() {
        let worst = |ours: fn(f32) -> f32, exact: fn(f64) -> f64, from: f32, to: f32| {
            let points = (0..=400_000).map(|i| from + (to - from) * (i as f32 / 400_000.0));
            points.fold(0.0f64, |worst, x| {
                let y = exact(f64::from(x));
                let error = (f64::from(ours(x)) - y).abs();
                worst.max(if y == 0.0 { error } else { error / y.abs() })
            })
        };
        let tanh_slope_exact = |x: f64| 4.0 / (x.exp() + (-x).exp()).powi(2);
        let sigmoid_slope_exact = |x: f64| 1.0 / ((x / 2.0).exp() + (-x / 2.0).exp()).powi(2);
        for (name, error) in [
            ("exp", worst(exp, f64::exp, -87.3, 88.3)),
            ("tanh", worst(tanh, f64::tanh, -20.0, 20.0)),
            ("tanh'", worst(tanh_slope, tanh_slope_exact, -40.0, 40.0)),
            ("sigmoid", worst(sigmoid, |x| 1.0 / (1.0 + (-x).exp()), -80.0, 80.0)),
            ("sigmoid'", worst(sigmoid_slope, sigmoid_slope_exact, -80.0, 80.0)),
        ] {
            // The exponential's 1e-7 and at most four roundings of half a unit in the last place.
            assert!(error < 1e-7 + 4.0 * f64::from(f32::EPSILON) / 2.0, "{name}: {error:e}");
        }
    }

    #[test]
    fn gelu_and_its_slope_agree_with_double_precision() {
        use gainstage_spec::Activation::Gelu;
        // The fit's 1.2e-7, two exponentials of 1e-7, and six roundings of half a unit in the last place.
        let relative = 1.2e-7 + 2e-7 + 6.0 * f64::from(f32::EPSILON) / 2.0;
        for i in 0..=400_000 {
            let x = -13.0 + 26.0 * (i as f32 / 400_000.0);
            let (value, slope) = (Gelu.value(f64::from(x)), Gelu.derivative(f64::from(x)));
            let error = (f64::from(gelu(x)) - value).abs();
            assert!(error <= relative * value.abs() + 1e-37, "gelu({x}): {error:e} of {value}");
            // Two terms that cancel near -0.75; their sizes add up.
            let size = slope.abs().max(1.2 * f64::from(u8::from(x > -2.0)));
            let size = size.max(2.0 * value.abs() * f64::from(x).abs());
            let error = (f64::from(gelu_slope(x)) - slope).abs();
            assert!(error <= 2.0 * relative * size + 1e-37, "gelu'({x}): {error:e} of {slope}");
        }
        let ends = [gelu(f32::INFINITY), gelu(f32::NEG_INFINITY), gelu(0.0)];
        assert_eq!(ends, [f32::INFINITY, 0.0, 0.0]);
        assert_eq!([gelu_slope(f32::INFINITY), gelu_slope(f32::NEG_INFINITY)], [1.0, 0.0]);
        assert!(gelu(f32::NAN).is_nan() && gelu_slope(f32::NAN).is_nan());
    }

    #[test]
    fn elementary_functions_are_defined_everywhere() {
        assert_eq!(
            (exp(0.0), exp(f32::NEG_INFINITY), exp(f32::INFINITY)),
            (1.0, 0.0, f32::INFINITY)
        );
        assert_eq!((tanh(0.0), tanh(f32::INFINITY), tanh(-90.0)), (0.0, 1.0, -1.0));
        assert_eq!((sigmoid(f32::NEG_INFINITY), sigmoid(200.0)), (0.0, 1.0));
        assert_eq!((tanh_slope(f32::INFINITY), sigmoid_slope(-200.0)), (0.0, 0.0));
        for f in [exp, tanh, tanh_slope, sigmoid, sigmoid_slope] {
            assert!(f(f32::NAN).is_nan());
        }
    }
}

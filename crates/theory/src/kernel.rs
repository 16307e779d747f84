use std::f64::consts::FRAC_PI_2;

use gainstage_spec::Activation;

use crate::error::TheoryError;
use crate::moments::{at, scale, within_reach};
use crate::quadrature::{between, scale_cuts};

/// E phi(u) phi(v) for jointly Gaussian u, v with variances `q_a`, `q_b` and this correlation: the
/// kernel whose iteration maps the correlation of two inputs from layer to layer (Cho & Saul 2009,
/// Poole et al. 2016).
///
/// In closed form for activations that are linear on each side of zero (the arc-cosine kernel), erf
/// (Williams 1997) and sin; otherwise a product of composite Gauss-Legendre rules, to about 1e-12.
///
/// # Errors
/// [`TheoryError::Domain`] for a variance that is negative or not finite, or a correlation outside
/// [-1, 1].
///
/// # Example
/// ```
/// use gainstage_spec::Activation;
/// // Two orthogonal inputs leave a ReLU layer with cosine 1/pi.
/// let f = gainstage_theory::cross_moment(&Activation::Relu, 1.0, 1.0, 0.0)? / 0.5;
/// assert!((f - 0.318309886183791).abs() < 1e-15);
/// # Ok::<(), gainstage_theory::TheoryError>(())
/// ```
pub fn cross_moment(
    phi: &Activation,
    q_a: f64,
    q_b: f64,
    correlation: f64,
) -> Result<f64, TheoryError> {
    let (q_a, q_b) = (within_reach(phi, q_a)?, within_reach(phi, q_b)?);
    if !(-1.0..=1.0).contains(&correlation) {
        return Err(TheoryError::Domain {
            what: "the correlation",
            value: correlation,
            bound: "between -1 and 1",
        });
    }
    Ok(cross(phi, q_a, q_b, correlation))
}

/// E phi(u)^2 - E phi(u) phi(v) = E (phi(u) - phi(v))^2 / 2 at equal variances q and correlation
/// 1 - `gap`, accurate relative to itself however small the gap: how fast two nearly equal inputs part.
///
/// # Errors
/// [`TheoryError::Domain`] if q is negative or not finite, or the gap is outside [0, 2].
///
/// # Example
/// ```
/// use gainstage_spec::Activation;
/// // Near full correlation a critical ReLU layer maps e = 1 - c to e - s e^1.5, s = 2 sqrt(2)/(3 pi).
/// let e = 1e-8;
/// let next = gainstage_theory::cross_gap(&Activation::Relu, 1.0, e)? / 0.5;
/// assert!(((1.0 - next / e) / e.sqrt() - 0.300105438719).abs() < 1e-4);
/// # Ok::<(), gainstage_theory::TheoryError>(())
/// ```
pub fn cross_gap(phi: &Activation, q: f64, gap: f64) -> Result<f64, TheoryError> {
    let q = within_reach(phi, q)?;
    if !(0.0..=2.0).contains(&gap) {
        return Err(TheoryError::Domain {
            what: "the gap 1 - correlation",
            value: gap,
            bound: "between 0 and 2",
        });
    }
    Ok(parting(phi, q, gap))
}

/// [`cross_moment`] for arguments known to be in their domain.
pub(crate) fn cross(phi: &Activation, q_a: f64, q_b: f64, c: f64) -> f64 {
    let root = (q_a * q_b).sqrt();
    if let Some((negative, positive)) = phi.slopes() {
        // phi(z) = m z + r |z|; the product of odd and even part averages to zero.
        let (m, r) = (0.5 * (positive + negative), 0.5 * (positive - negative));
        return root * (m * m * c + r * r * absolute(c));
    }
    match phi {
        Activation::Erf => {
            let scaled = ((1.0 + 2.0 * q_a) * (1.0 + 2.0 * q_b)).sqrt();
            FRAC_PI_2.recip() * (2.0 * root * c / scaled).clamp(-1.0, 1.0).asin()
        }
        Activation::Sin => {
            let mean = 0.5 * (q_a + q_b);
            0.5 * ((root * c - mean).exp() - (-root * c - mean).exp())
        }
        _ if c == 1.0 && q_a == q_b => at(phi, q_a).second_moment,
        _ => {
            let s = ((1.0 - c) * (1.0 + c)).sqrt();
            pair_average(phi, q_a, q_b, c, s, |z| phi.value(z), |u, v| u * v)
        }
    }
}

/// E |u| |v| at unit variances: (2/pi) (sqrt(1 - c^2) + c asin c).
fn absolute(c: f64) -> f64 {
    FRAC_PI_2.recip() * (((1.0 - c) * (1.0 + c)).sqrt() + c * c.asin())
}

/// [`cross_gap`] for arguments known to be in their domain.
pub(crate) fn parting(phi: &Activation, q: f64, e: f64) -> f64 {
    if e == 0.0 || q == 0.0 {
        return 0.0;
    }
    if let Some((negative, positive)) = phi.slopes() {
        let (m, r) = (0.5 * (positive + negative), 0.5 * (positive - negative));
        // 1 - E|u||v| = e - (2/pi)(sin t - t cos t) with c = cos t.
        let t = 2.0 * (0.5 * e).sqrt().min(1.0).asin();
        return q * (m * m * e + r * r * (e - FRAC_PI_2.recip() * sine_less_cosine(t)));
    }
    match phi {
        Activation::Erf => {
            let a = 2.0 * q / (1.0 + 2.0 * q);
            let b = a * (1.0 - e);
            if b <= 0.0 {
                return FRAC_PI_2.recip() * (a.asin() - b.asin());
            }
            // asin A - asin B from the sine of the difference.
            let sum = a * (1.0 - b * b).sqrt() + b * (1.0 - a * a).sqrt();
            FRAC_PI_2.recip() * (a * e * (a + b) / sum).asin()
        }
        Activation::Sin => {
            let back = if q * e < 1.0 {
                (-2.0 * q).exp() * (q * e).exp_m1()
            } else {
                (q * e - 2.0 * q).exp() - (-2.0 * q).exp()
            };
            0.5 * (back - (-q * e).exp_m1())
        }
        _ => {
            let s = (e * (2.0 - e)).sqrt();
            let square = |u: f64, v: f64| (u - v) * (u - v);
            0.5 * pair_average(phi, q, q, 1.0 - e, s, |z| phi.value(z), square)
        }
    }
}

/// E phi'(u) phi'(v) at equal variances q and correlation 1 - `e`: the slope of the kernel in the
/// correlation, over q (Price's theorem).
pub(crate) fn derivative_cross(phi: &Activation, q: f64, e: f64) -> f64 {
    if e == 0.0 || q == 0.0 {
        return at(phi, q).derivative_second_moment;
    }
    let c = 1.0 - e;
    if let Some((negative, positive)) = phi.slopes() {
        let (m, r) = (0.5 * (positive + negative), 0.5 * (positive - negative));
        // 1 - E sign sign = (2/pi) arccos c
        let t = 2.0 * (0.5 * e).sqrt().min(1.0).asin();
        return m * m + r * r * (1.0 - FRAC_PI_2.recip() * t);
    }
    match phi {
        Activation::Erf => {
            let (one, cross) = (1.0 + 2.0 * q, 2.0 * q * c);
            2.0 * FRAC_PI_2.recip() / ((one - cross) * (one + cross)).sqrt()
        }
        Activation::Sin => 0.5 * ((q * c - q).exp() + (-q * c - q).exp()),
        _ => {
            let s = (e * (2.0 - e)).sqrt();
            pair_average(phi, q, q, c, s, |z| phi.derivative(z), |u, v| u * v)
        }
    }
}

/// E (phi'(u) - phi'(v))^2 / 2 at equal variances q and correlation 1 - `e`, accurate relative to itself.
pub(crate) fn derivative_parting(phi: &Activation, q: f64, e: f64) -> f64 {
    let s = (e * (2.0 - e)).sqrt();
    let square = |u: f64, v: f64| (u - v) * (u - v);
    0.5 * pair_average(phi, q, q, 1.0 - e, s, |z| phi.derivative(z), square)
}

/// E u phi'(u) v phi'(v) at unit variances and this correlation.
pub(crate) fn gated_cross(phi: &Activation, c: f64) -> f64 {
    if phi.slopes().is_some() {
        return cross(phi, 1.0, 1.0, c);
    }
    let s = ((1.0 - c) * (1.0 + c)).sqrt();
    pair_average(phi, 1.0, 1.0, c, s, |z| z * phi.derivative(z), |u, v| u * v)
}

/// sin t - t cos t, from its series where it cancels.
fn sine_less_cosine(t: f64) -> f64 {
    if t > 0.5 {
        return t.sin() - t * t.cos();
    }
    // sum over k >= 1 of (-1)^(k+1) 2k t^(2k+1) / (2k+1)!
    let (mut term, mut sum) = (t, 0.0);
    for k in 1..10 {
        let two_k = 2.0 * k as f64;
        term *= -t * t / (two_k * (two_k + 1.0));
        sum -= two_k * term;
    }
    sum
}

/// Beyond 9 standard deviations the normal density is below 1e-17.
const TAIL: f64 = 9.0;

/// E f(value(u), value(v)), value being phi or its derivative, u = sqrt(q_a) x, v = sqrt(q_b) (c x + s y) with x, y standard normal.
///
/// Both integrals are cut at the kinks. As c -> 1 the inner average, a function of x, has every kink
/// of phi smoothed over the width s/c; cuts at doubling distances from it resolve that.
fn pair_average(
    phi: &Activation,
    q_a: f64,
    q_b: f64,
    c: f64,
    s: f64,
    value: impl Fn(f64) -> f64,
    f: impl Fn(f64, f64) -> f64,
) -> f64 {
    let (std_a, std_b) = (q_a.sqrt(), q_b.sqrt());
    let unit = scale(phi);
    let cubic = phi.is_table();
    let mut outer = Vec::new();
    outer.extend(phi.cuts().iter().flat_map(|k| [k / std_a, k / (std_b * c)]));
    if s == 0.0 {
        // u and v are multiples of one variable.
        outer.extend(phi.kinks().iter().flat_map(|k| [k / std_a, k / (std_b * c)]));
        let mut positive = Vec::new();
        scale_cuts(unit / std_a.max(std_b), TAIL, &mut positive);
        outer.extend(positive.iter().flat_map(|&x| [-x, x]));
        let mut total = 0.0;
        integrate(&mut outer, cubic, |x, w| {
            total += w * f(value(std_a * x), value(std_b * c * x));
        });
        return total;
    }
    let mut places = phi.kinks().to_vec();
    for std in [std_a, std_b * c.abs()] {
        let mut positive = Vec::new();
        scale_cuts(unit / std, TAIL, &mut positive);
        outer.extend(positive.iter().flat_map(|&x| [-x, x]));
    }
    for kink in phi.kinks() {
        outer.push(kink / std_a);
        let (middle, mut distance) = (kink / (std_b * c), (s / c).abs());
        outer.push(middle);
        while distance < 2.0 {
            outer.extend([middle - distance, middle + distance]);
            distance *= 2.0;
        }
    }
    // The same places on the axis of v, to be moved with x in the inner integral.
    let mut positive = Vec::new();
    scale_cuts(unit, TAIL * std_b * 2.0, &mut positive);
    if std_b * s > 0.25 * unit {
        places.push(0.0);
        places.extend(positive.iter().flat_map(|&v| [-v, v]));
    }
    places.extend(phi.cuts());
    let mut inner = Vec::new();
    let mut total = 0.0;
    integrate(&mut outer, cubic, |x, w| {
        let a = value(std_a * x);
        inner.clear();
        inner.extend(places.iter().map(|place| (place / std_b - c * x) / s));
        let mut sum = 0.0;
        integrate(&mut inner, cubic, |y, w| sum += w * f(a, value(std_b * (c * x + s * y))));
        total += w * sum;
    });
    total
}

/// Sums over nodes against the normal density, with these cuts and those of the density.
fn integrate(cuts: &mut Vec<f64>, cubic: bool, f: impl FnMut(f64, f64)) {
    cuts.retain(|cut| cut.abs() < TAIL);
    cuts.extend([-TAIL, -5.0, -3.0, -1.5, 0.0, 1.5, 3.0, 5.0, TAIL]);
    cuts.sort_by(f64::total_cmp);
    between(cuts, cubic, f);
}

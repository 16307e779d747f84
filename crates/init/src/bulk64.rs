//! f64 draws by index, with 52 random bits for a uniform, a radius and an angle.
//!
//! 32 values come from 16 counters: words (0, 1) of counter c make value c of the block and words
//! (2, 3) value 16 + c; together they make the Box-Muller pair at those two places. The polynomials
//! are Chebyshev fits with errors below 1e-17 of the function.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2};

use crate::block::{self, Kernel};
use crate::key::{Key, Kind};

/// Fills `out` with draws number `offset`, `offset + 1`, ... of normal(mean, std) from the key's stream,
/// in full f64 resolution.
///
/// By index and with the same bits everywhere, as [`crate::fill_normal`], whose draws are other ones.
/// The largest possible magnitude is 8.57 standard deviations. Pieces that start at multiples of 32
/// waste nothing; a stream holds 2^49 values.
///
/// ```
/// use gainstage_init::{Key, Purpose, fill_normal_f64};
/// let mut draws = vec![0.0f64; 100_000];
/// fill_normal_f64(Key::new(0, Purpose::Weights, 0, 0), 0, 0.0, 0.1, &mut draws);
/// let second_moment = draws.iter().map(|x| x * x).sum::<f64>() / draws.len() as f64;
/// // Relative standard error sqrt(2 / n) = 0.0045.
/// assert!((second_moment / 0.01 - 1.0).abs() < 5.0 * 0.0045);
/// ```
pub fn fill_normal_f64(key: Key, offset: u64, mean: f64, std: f64, out: &mut [f64]) {
    block::fill(Normal64 { mean, std }, key, offset, out);
}

/// Fills `out` with draws number `offset`, ... uniform between `low` and `high`, in f64 and by index.
///
/// There are 2^52 equidistant values, the midpoints of as many cells; rounding never carries one
/// beyond a bound.
pub fn fill_uniform_f64(key: Key, offset: u64, low: f64, high: f64, out: &mut [f64]) {
    block::fill(Uniform64 { low, high }, key, offset, out);
}

#[derive(Clone, Copy)]
struct Normal64 {
    mean: f64,
    std: f64,
}

impl Kernel<2> for Normal64 {
    type Value = f64;
    const KIND: Kind = Kind::Bulk64;

    #[inline(always)]
    fn values(self, words: [u32; 4]) -> [f64; 2] {
        standard_normals(words).map(|v| self.mean + self.std * v)
    }
}

#[derive(Clone, Copy)]
struct Uniform64 {
    low: f64,
    high: f64,
}

impl Kernel<2> for Uniform64 {
    type Value = f64;
    const KIND: Kind = Kind::Bulk64;

    #[inline(always)]
    fn values(self, words: [u32; 4]) -> [f64; 2] {
        join(words).map(|word| {
            let x = self.low + (self.high - self.low) * unit64(word);
            let x = if x < self.low { self.low } else { x };
            if x > self.high { self.high } else { x }
        })
    }
}

#[inline(always)]
fn join([a, b, c, d]: [u32; 4]) -> [u64; 2] {
    [u64::from(a) | u64::from(b) << 32, u64::from(c) | u64::from(d) << 32]
}

/// The midpoint of one of 2^52 cells of (0, 1), exactly.
#[inline(always)]
fn unit64(word: u64) -> f64 {
    f64::from_bits(word >> 12 | 1.0f64.to_bits()) - (1.0 - 0.5 * f64::EPSILON)
}

/// Two independent standard normals.
#[inline(always)]
pub(crate) fn standard_normals(words: [u32; 4]) -> [f64; 2] {
    let [radius, angle] = join(words);
    let r = (-2.0 * ln(unit64(radius))).sqrt();
    // An angle in (-pi/4, pi/4); the two lowest bits choose among the four quarters.
    let (s, c) = sin_cos((unit64(angle) - 0.5) * FRAC_PI_2);
    let (a, b) = if angle & 1 == 0 { (c, s) } else { (s, c) };
    let sign = (angle & 2) << 62;
    let flip = |v: f64| f64::from_bits(v.to_bits() ^ sign);
    [r * flip(a), r * flip(b)]
}

/// ln u for u in (0, 1): with u = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2)), and s = f / (2 + f),
/// it is e ln 2 + 2 artanh(s).
#[inline(always)]
fn ln(u: f64) -> f64 {
    const P: [f64; 7] = [
        0.666666666666667,
        0.39999999999899444,
        0.2857142862600327,
        0.22222211130259875,
        0.18182889455675105,
        0.1533171061820642,
        0.14616585424934123,
    ];
    let bits = u.to_bits() as i64;
    let exponent = (bits - FRAC_1_SQRT_2.to_bits() as i64) >> 52;
    let f = f64::from_bits((bits - (exponent << 52)) as u64) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let mut p = P[6];
    for &coefficient in P[..6].iter().rev() {
        p = p * z + coefficient;
    }
    exponent as i32 as f64 * std::f64::consts::LN_2 + (2.0 * s + s * z * p)
}

/// Sine and cosine on [-pi/4, pi/4].
#[inline(always)]
fn sin_cos(x: f64) -> (f64, f64) {
    const S: [f64; 6] = [
        -0.16666666666666666,
        0.008333333333330948,
        -0.00019841269836756774,
        2.7557316101617874e-06,
        -2.5051131650235178e-08,
        1.5918115263265747e-10,
    ];
    const C: [f64; 6] = [
        0.041666666666666664,
        -0.0013888888888887398,
        2.480158729876456e-05,
        -2.7557317271145144e-07,
        2.087614614655861e-09,
        -1.1382623647474462e-11,
    ];
    let u = x * x;
    let (mut s, mut c) = (S[5], C[5]);
    for k in (0..5).rev() {
        s = s * u + S[k];
        c = c * u + C[k];
    }
    (x + x * u * s, 1.0 - 0.5 * u + u * u * c)
}

#[cfg(test)]
mod tests {
    use gainstage_stats::ks_test;

    use super::*;
    use crate::Purpose;

    fn key(layer: u32) -> Key {
        Key::new(0x5eed, Purpose::Inputs, 1, layer)
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        block::assert_same_bits_everywhere(Normal64 { mean: 0.1, std: 2.0 }, f64::to_bits);
        block::assert_same_bits_everywhere(Uniform64 { low: -0.3, high: 0.4 }, f64::to_bits);
    }

    #[test]
    fn any_split_gives_the_same_values() {
        let mut whole = vec![0.0; 500];
        fill_normal_f64(key(0), 0, 0.0, 1.0, &mut whole);
        for cut in [0, 1, 31, 32, 33, 250, 499, 500] {
            let mut parts = vec![0.0; 500];
            let (head, tail) = parts.split_at_mut(cut);
            fill_normal_f64(key(0), 0, 0.0, 1.0, head);
            fill_normal_f64(key(0), cut as u64, 0.0, 1.0, tail);
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn values_are_stable() {
        let mut out = [0.0; 2];
        fill_normal_f64(key(0), 15, 0.0, 1.0, &mut out);
        let normal = out.map(f64::to_bits);
        fill_uniform_f64(key(0), 15, 0.0, 1.0, &mut out);
        assert_eq!((normal, out.map(f64::to_bits)), STABLE, "a change breaks every stored result");
    }

    const STABLE: ([u64; 2], [u64; 2]) =
        ([4598477522701307363, 4608534905731113470], [4604577322597378219, 4603654538969809253]);

    #[test]
    fn the_polynomials_are_the_functions() {
        for i in 1..200_000u32 {
            // From 1e-16 to 1, dense at both ends.
            let t = f64::from(i) / 200_000.0;
            for u in [t, t.powi(3) * 1e-10, 1.0 - t.powi(3) * 1e-10] {
                let (found, true_) = (ln(u), u.ln());
                assert!((found - true_).abs() <= 4e-16 * true_.abs(), "ln {u}: {found} {true_}");
            }
            let x = (t - 0.5) * FRAC_PI_2;
            let (s, c) = sin_cos(x);
            assert!((s - x.sin()).abs() <= 3e-16 * x.abs() && (c - x.cos()).abs() <= 2.3e-16);
        }
    }

    #[test]
    fn uniforms_end_half_a_cell_from_the_bounds() {
        assert_eq!(unit64(0), 0.5 * f64::EPSILON);
        assert_eq!(unit64(u64::MAX), 1.0 - 0.5 * f64::EPSILON);
    }

    #[test]
    fn draws_follow_their_laws_and_a_wrong_scale_is_seen() {
        // KS at a false-alarm rate of 1e-6; with 10^6 draws it sees a scale wrong by 4.5%.
        let mut x = vec![0.0; 1_000_000];
        fill_normal_f64(key(1), 0, 0.0, 1.0, &mut x);
        let normal = gainstage_spec::Law::Normal { mean: 0.0, std: 1.0 };
        assert!(ks_test(&x, |v| normal.cdf(v)).expect("finite").p_value > 1e-6);
        assert!(ks_test(&x, |v| normal.cdf(v / 1.05)).expect("finite").p_value < 1e-6);
        fill_uniform_f64(key(1), 0, -2.0, 3.0, &mut x);
        assert!(ks_test(&x, |v| (v + 2.0) / 5.0).expect("finite").p_value > 1e-6);
        assert!(ks_test(&x, |v| (v + 2.0) / 5.1).expect("finite").p_value < 1e-6);
    }
}

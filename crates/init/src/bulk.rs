//! f32 draws by index.
//!
//! 64 values come from 16 counters, word w of counter c at position 16 w + c of its block of 64.
//! Normals are Box-Muller pairs from words (0, 1) and (2, 3); logarithm, sine and cosine are
//! polynomials (Chebyshev fits, errors below 1e-8).

use crate::block::{self, Kernel};
use crate::key::{Key, Kind};

/// Fills `out` with draws number `offset`, `offset + 1`, ... of normal(mean, std) from the key's stream.
///
/// Value i depends on the key and on i alone, bit for bit, on every processor: a large array may be
/// drawn in pieces, in any order and from any number of threads. Pieces that start at multiples of 64
/// waste nothing. A stream holds 2^50 values and then repeats.
///
/// The resolution is that of f32: the largest possible magnitude is 6.66 standard deviations (2.7e-11
/// of a normal law lies beyond), and a pair of exact zeros has probability 3e-8.
///
/// ```
/// use gainstage_init::{Key, Purpose, fill_normal};
/// let key = Key::new(0, Purpose::Weights, 0, 0);
/// let (mut whole, mut tail) = ([0.0f32; 100], [0.0f32; 30]);
/// fill_normal(key, 0, 0.0, 1.0, &mut whole);
/// fill_normal(key, 70, 0.0, 1.0, &mut tail);
/// assert_eq!(whole[70..], tail);
/// ```
pub fn fill_normal(key: Key, offset: u64, mean: f32, std: f32, out: &mut [f32]) {
    if mean == 0.0 {
        block::fill(Centred { std }, key, offset, out);
    } else {
        block::fill(Normal { mean, std }, key, offset, out);
    }
}

/// Fills `out` with draws number `offset`, ... uniform between `low` and `high`, by index as
/// [`fill_normal`].
///
/// There are 2^23 equidistant values, the midpoints of as many cells; on (0, 1) neither bound occurs.
/// Elsewhere a value may round to a bound and never beyond it.
pub fn fill_uniform(key: Key, offset: u64, low: f32, high: f32, out: &mut [f32]) {
    block::fill(Uniform { low, span: high - low, inner: (low, high) }, key, offset, out);
}

#[derive(Clone, Copy)]
struct Normal {
    mean: f32,
    std: f32,
}

impl Kernel<4> for Normal {
    type Value = f32;
    const KIND: Kind = Kind::Bulk;

    #[inline(always)]
    fn values(self, words: [u32; 4]) -> [f32; 4] {
        standard_normals(words).map(|v| self.mean + self.std * v)
    }
}

/// Normals about zero, without an addition that changes nothing.
#[derive(Clone, Copy)]
struct Centred {
    std: f32,
}

impl Kernel<4> for Centred {
    type Value = f32;
    const KIND: Kind = Kind::Bulk;

    #[inline(always)]
    fn values(self, words: [u32; 4]) -> [f32; 4] {
        standard_normals(words).map(|v| self.std * v)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Uniform {
    pub(crate) low: f32,
    pub(crate) span: f32,
    /// Where rounding may not carry a value beyond.
    pub(crate) inner: (f32, f32),
}

impl Kernel<4> for Uniform {
    type Value = f32;
    const KIND: Kind = Kind::Bulk;

    #[inline(always)]
    fn values(self, words: [u32; 4]) -> [f32; 4] {
        let (least, most) = self.inner;
        words.map(|word| {
            let x = self.low + self.span * unit(word);
            let x = if x < least { least } else { x };
            if x > most { most } else { x }
        })
    }
}

/// The midpoint of one of 2^23 cells of (0, 1): as fine as f32 can hold without ever rounding to 1.
#[inline(always)]
fn unit(word: u32) -> f32 {
    ((word >> 9) as i32 as f32 + 0.5) * (1.0 / 8_388_608.0)
}

/// Four independent standard normals.
#[inline(always)]
pub(crate) fn standard_normals([a, b, c, d]: [u32; 4]) -> [f32; 4] {
    let ((x, y), (z, w)) = (box_muller(a, b), box_muller(c, d));
    [x, y, z, w]
}

/// Two independent standard normals from two words.
#[inline(always)]
fn box_muller(radius: u32, angle: u32) -> (f32, f32) {
    // 2^31 u with u = (2k + 1) 2^-32: never zero, and small values keep their relative precision.
    let r = twice_minus_ln((radius >> 1) as i32 as f32 + 0.5).max(0.0).sqrt();
    // 30 bits of angle in [-pi/4, pi/4); the last two bits choose among the four quarters.
    let theta = (angle & !3) as i32 as f32 * (std::f32::consts::FRAC_PI_4 / 2_147_483_648.0);
    let (s, c) = sin_cos(theta);
    let (a, b) = if angle & 1 == 0 { (c, s) } else { (s, c) };
    let r = f32::from_bits(r.to_bits() ^ (angle & 2) << 30);
    (r * a, r * b)
}

/// -2 ln u of 2^31 u, for u in (0, 1]: exponent, and a polynomial for the mantissa in [sqrt(1/2), sqrt(2)).
///
/// The factor is in the coefficients, where a power of two changes no rounding.
#[inline(always)]
fn twice_minus_ln(scaled: f32) -> f32 {
    const P: [f32; 9] = [
        -2.0 * 0.999_999_97,
        2.0 * 0.499_999_87,
        -2.0 * 0.333_341_83,
        2.0 * 0.250_021_53,
        -2.0 * 0.199_569_77,
        2.0 * 0.165_606_96,
        -2.0 * 0.149_490_95,
        2.0 * 0.143_773_3,
        -2.0 * 0.087_439_455,
    ];
    let bits = scaled.to_bits() as i32;
    let exponent = (bits - std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    let f = f32::from_bits((bits - (exponent << 23)) as u32) - 1.0;
    let mut p = P[8];
    for &coefficient in P[..8].iter().rev() {
        p = p * f + coefficient;
    }
    p * f + (exponent - 31) as f32 * (-2.0 * std::f32::consts::LN_2)
}

/// Sine and cosine on [-pi/4, pi/4].
#[inline(always)]
fn sin_cos(x: f32) -> (f32, f32) {
    let u = x * x;
    let s = ((-0.000_195_039_63 * u + 0.008_332_036) * u - 0.166_666_5) * u + 1.0;
    let c = (((0.000_024_379_88 * u - 0.001_388_661_9) * u + 0.041_666_616) * u - 0.5) * u + 1.0;
    (s * x, c)
}

#[cfg(test)]
mod tests {
    use gainstage_stats::{Moments, ks_test};

    use super::*;
    use crate::Purpose;

    fn key(layer: u32) -> Key {
        Key::new(0x5eed, Purpose::Weights, 3, layer)
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let uniform = Uniform { low: -0.3, span: 0.7, inner: (-0.3, 0.4) };
        block::assert_same_bits_everywhere(Normal { mean: 0.1, std: 2.0 }, |v| v.to_bits().into());
        block::assert_same_bits_everywhere(Centred { std: 2.0 }, |v| v.to_bits().into());
        block::assert_same_bits_everywhere(uniform, |v| v.to_bits().into());
    }

    #[test]
    fn any_split_gives_the_same_values() {
        let mut whole = vec![0.0f32; 1000];
        fill_normal(key(1), 0, 0.0, 1.0, &mut whole);
        for cut in [0, 1, 63, 64, 65, 500, 999, 1000] {
            let mut parts = vec![0.0f32; 1000];
            let (head, tail) = parts.split_at_mut(cut);
            fill_normal(key(1), 0, 0.0, 1.0, head);
            fill_normal(key(1), cut as u64, 0.0, 1.0, tail);
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_values() {
        let mut whole = vec![0.0f32; 10_000];
        fill_normal(key(4), 0, 0.0, 1.0, &mut whole);
        for threads in [2, 7] {
            let mut parts = vec![0.0f32; 10_000];
            let length = parts.len().div_ceil(threads);
            std::thread::scope(|scope| {
                for (i, part) in parts.chunks_mut(length).enumerate() {
                    scope.spawn(move || fill_normal(key(4), (i * length) as u64, 0.0, 1.0, part));
                }
            });
            assert_eq!(parts, whole);
        }
    }

    #[test]
    fn values_are_stable() {
        let mut out = [0.0f32; 4];
        fill_normal(key(0), 0, 0.0, 1.0, &mut out);
        let normal = out.map(f32::to_bits);
        fill_uniform(key(0), 0, 0.0, 1.0, &mut out);
        let uniform = out.map(f32::to_bits);
        assert_eq!((normal, uniform), STABLE, "a change here breaks every stored result");
    }

    const STABLE: ([u32; 4], [u32; 4]) = (
        [1060029371, 1058294628, 1043612122, 3213131752],
        [1061539853, 1061434399, 1061421949, 1046736012],
    );

    #[test]
    fn uniforms_stay_inside_and_follow_their_law() {
        let mut x = vec![0.0f32; 1 << 20];
        fill_uniform(key(3), 0, 0.0, 1.0, &mut x);
        assert!(x.iter().all(|&v| v > 0.0 && v < 1.0));
        assert!(unit(0) > 0.0 && unit(u32::MAX) < 1.0);
        let m = Moments::from(x.as_slice());
        // Relative standard error of the variance sqrt((1.8 - 1)/n) = 0.00087; at 1e-6 each way.
        assert!((m.population_variance() * 12.0 - 1.0).abs() < 4.89 * 0.00088);
        let sample: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        assert!(ks_test(&sample, |v| v).expect("finite").p_value > 1e-6);
        assert!(ks_test(&sample, |v| v * v).expect("finite").p_value < 1e-6);
    }

    #[test]
    fn the_polynomials_are_the_functions() {
        for i in 1..=100_000u32 {
            let u = i as f32 / 100_000.0;
            assert!(
                (f64::from(twice_minus_ln(u * 2_147_483_648.0)) / -2.0 - f64::from(u).ln()).abs()
                    < 3e-7 * (1.0 + f64::from(u).ln().abs()),
                "{u}"
            );
            let x = (u - 0.5) * std::f32::consts::FRAC_PI_2;
            let (s, c) = sin_cos(x);
            assert!((f64::from(s) - f64::from(x).sin()).abs() < 1.2e-7);
            assert!((f64::from(c) - f64::from(x).cos()).abs() < 1.2e-7);
        }
    }
}

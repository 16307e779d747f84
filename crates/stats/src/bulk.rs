use crate::Moments;

/// Small enough for both passes to read the first-level cache, fixed so that bits never depend on the
/// machine.
const CHUNK: usize = 4096;
/// Independent partial sums: the compiler may use vectors of any width up to this without changing
/// the order of additions.
const LANES: usize = 8;

pub(crate) fn extend<T: Value>(moments: &mut Moments, values: &[T]) {
    extend_by(moments, values, spread, power_sums);
}

/// What is summed: `f32` or `f64`.
pub(crate) trait Value: Copy + PartialOrd + Into<f64> {}
impl Value for f32 {}
impl Value for f64 {}

type Lanes = [f64; LANES];

/// `spread` and `power_sums` in one compilation; all give the same bits, since lanes are added in one order
/// and nothing is fused.
fn extend_by<T: Value>(
    moments: &mut Moments,
    values: &[T],
    spread: impl Fn(&[T]) -> (Lanes, [T; 2]),
    power_sums: impl Fn(&[T], f64) -> [Lanes; 4],
) {
    for chunk in values.chunks(CHUNK) {
        match chunk_moments(chunk, &spread, &power_sums) {
            Some(of_chunk) => moments.merge(&of_chunk),
            // NaN, infinities, or finite f64 whose sum overflows: value by value.
            None => chunk.iter().for_each(|&x| moments.push(x.into())),
        }
    }
}

/// Two passes over one chunk (Chan, Golub and LeVeque 1983, the corrected two-pass algorithm), or
/// nothing if the sum is not finite.
fn chunk_moments<T: Value>(
    chunk: &[T],
    spread: impl Fn(&[T]) -> (Lanes, [T; 2]),
    power_sums: impl Fn(&[T], f64) -> [Lanes; 4],
) -> Option<Moments> {
    let (sum, extremes) = spread(chunk);
    let total = fold(sum);
    if !total.is_finite() {
        return None;
    }
    let count = chunk.len() as u64;
    let n = count as f64;
    let [min, max] = extremes.map(Into::into);
    if min == max {
        // Rounding of the sum must not turn a constant into spread.
        return Some(Moments { count, mean: min, min, max, ..Moments::default() });
    }

    let shift = total / n;
    let [s1, s2, s3, s4] = power_sums(chunk, shift).map(fold);
    let e = s1 / n; // what rounding left between the shift and the mean
    Some(Moments {
        count,
        non_finite: 0,
        mean: shift + e,
        m2: (s2 - e * s1).max(0.0),
        m3: s3 - 3.0 * e * s2 + 2.0 * e * e * s1,
        m4: s4 - 4.0 * e * s3 + 6.0 * e * e * s2 - 3.0 * e * e * e * s1,
        min,
        max,
    })
}

/// Chooses the compilation of a pass.
macro_rules! compiled {
    ($name:ident, $portable:ident, ($($arg:ident: $t:ty),*) -> $out:ty) => {
        fn $name<T: Value>($($arg: $t),*) -> $out {
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                #[target_feature(enable = "avx2")]
                fn wide<T: Value>($($arg: $t),*) -> $out {
                    $portable($($arg),*)
                }
                // SAFETY: the feature that the function was compiled for was detected just now.
                #[allow(unsafe_code)] // half the time of the portable code, which it is
                return unsafe { wide($($arg),*) };
            }
            $portable($($arg),*)
        }
    };
}

compiled!(spread, spread_portable, (chunk: &[T]) -> (Lanes, [T; 2]));
compiled!(power_sums, power_sums_portable, (chunk: &[T], shift: f64) -> [Lanes; 4]);

/// The sum in lanes, the smallest and the largest value of a chunk that is not empty.
#[inline(always)]
fn spread_portable<T: Value>(chunk: &[T]) -> (Lanes, [T; 2]) {
    let first = chunk[0];
    let (blocks, rest) = chunk.as_chunks::<LANES>();
    let mut sum = [0.0; LANES];
    let (mut low, mut high) = ([first; LANES], [first; LANES]);
    for block in blocks {
        each(|lane| sum[lane] += block[lane].into());
        low = lower(low, *block);
        high = higher(high, *block);
    }
    // Lanes are never indexed by a variable: they would have to be in memory.
    let last = padded(rest, 0.0, Into::into);
    each(|lane| sum[lane] += last[lane]);
    let ends = low.into_iter().chain(high).chain(rest.iter().copied());
    let extremes = ends.fold([first; 2], |[low, high], x| {
        [if x < low { x } else { low }, if x > high { x } else { high }]
    });
    (sum, extremes)
}

/// The sums of the first four powers of `x - shift`, in lanes.
#[inline(always)]
fn power_sums_portable<T: Value>(chunk: &[T], shift: f64) -> [Lanes; 4] {
    let (blocks, rest) = chunk.as_chunks::<LANES>();
    let mut sums = [[0.0; LANES]; 4];
    for block in blocks {
        let mut d = [0.0; LANES];
        each(|lane| d[lane] = block[lane].into() - shift);
        sums = with_powers(sums, d);
    }
    with_powers(sums, padded(rest, 0.0, |x| x.into() - shift))
}

#[inline(always)]
fn with_powers([mut first, mut second, mut third, mut fourth]: [Lanes; 4], d: Lanes) -> [Lanes; 4] {
    let mut d2 = [0.0; LANES];
    each(|lane| d2[lane] = d[lane] * d[lane]);
    each(|lane| first[lane] += d[lane]);
    each(|lane| second[lane] += d2[lane]);
    each(|lane| third[lane] += d2[lane] * d[lane]);
    each(|lane| fourth[lane] += d2[lane] * d2[lane]);
    [first, second, third, fourth]
}

#[inline(always)]
fn lower<T: Value>(a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
    std::array::from_fn(|lane| if b[lane] < a[lane] { b[lane] } else { a[lane] })
}

#[inline(always)]
fn higher<T: Value>(a: [T; LANES], b: [T; LANES]) -> [T; LANES] {
    std::array::from_fn(|lane| if b[lane] > a[lane] { b[lane] } else { a[lane] })
}

/// The last values, fewer than the lanes, and `fill` for what is missing.
#[inline(always)]
fn padded<T: Value>(rest: &[T], fill: f64, value: impl Fn(T) -> f64) -> Lanes {
    let mut lanes = [fill; LANES];
    lanes.iter_mut().zip(rest).for_each(|(lane, &x)| *lane = value(x));
    lanes
}

/// One operation on every lane: a vector instruction, where several in one loop are not made into some.
#[inline(always)]
fn each(operation: impl FnMut(usize)) {
    (0..LANES).for_each(operation);
}

fn fold(lanes: Lanes) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{exponential, rng};

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for n in [1, 5, 4095, 10_001] {
            let mut values = exponential(&mut rng(n as u64), n);
            for _ in 0..2 {
                let (mut wide, mut portable) = (Moments::new(), Moments::new());
                extend(&mut wide, &values);
                extend_by(&mut portable, &values, spread_portable, power_sums_portable);
                assert_eq!(wide, portable);
                values[n / 2] = f64::INFINITY;
            }
        }
    }

    /// Central sums by two plain passes.
    fn reference(values: &[f64]) -> [f64; 4] {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let power = |k: i32| values.iter().map(|x| (x - mean).powi(k)).sum::<f64>();
        [mean, power(2), power(3), power(4)]
    }

    fn assert_close(m: &Moments, values: &[f64], relative: f64) {
        let expected = reference(values);
        // Each sum is compared with the sum of its terms' magnitudes, the scale of its rounding.
        let scale = |k: i32| values.iter().map(|x| (x - expected[0]).abs().powi(k)).sum::<f64>();
        for (k, (got, want)) in [m.mean, m.m2, m.m3, m.m4].iter().zip(expected).enumerate() {
            let scale = if k == 0 { want.abs() } else { scale(k as i32 + 1) };
            assert!((got - want).abs() <= relative * scale, "M_{}: {got} against {want}", k + 1);
        }
    }

    #[test]
    fn bulk_push_and_merge_agree_with_two_plain_passes() {
        for n in [1, 2, 3, 5, 7, 100, 4095, 4096, 4097, 10_001] {
            let values = exponential(&mut rng(n as u64), n);
            let bulk = Moments::from(&values[..]);
            let pushed: Moments = values.iter().copied().collect();
            let mut merged = Moments::new();
            for part in values.chunks(37) {
                merged.merge(&Moments::from(part));
            }
            for m in [bulk, pushed, merged] {
                assert_eq!(m.count, n as u64);
                assert_close(&m, &values, 1e-11);
                assert_eq!(m.min, values.iter().copied().fold(f64::INFINITY, f64::min));
                assert_eq!(m.max, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
            }
        }
    }

    #[test]
    fn a_mean_a_million_times_the_spread_costs_no_digits() {
        // Halves are exact in f32 and f64; a raw sum of squares would lose all digits of M_4.
        let values: Vec<f32> = (0..10_000).map(|i| 4.0e6 + 0.5 * (i % 9) as f32).collect();
        let wide: Vec<f64> = values.iter().map(|&x| f64::from(x)).collect();
        let plain: Vec<f64> = wide.iter().map(|x| x - 4.0e6).collect();
        let m = Moments::from(&values[..]);
        assert!(
            (m.population_variance() / Moments::from(&plain[..]).population_variance() - 1.0).abs()
                < 1e-9
        );
        assert!((m.kurtosis() / Moments::from(&plain[..]).kurtosis() - 1.0).abs() < 1e-9);
        assert_eq!(m, Moments::from(&wide[..]), "f32 and f64 of the same values differ");
    }

    #[test]
    fn a_constant_has_no_variance_and_no_kurtosis() {
        let m = Moments::from(&vec![0.1_f32; 10_000][..]);
        assert_eq!((m.m2, m.m3, m.m4), (0.0, 0.0, 0.0));
        assert_eq!(m.mean(), f64::from(0.1_f32));
        assert!(m.kurtosis().is_nan());
    }

    #[test]
    fn the_largest_f32_does_not_overflow() {
        let m = Moments::from(&[f32::MAX, -f32::MAX, f32::MAX, -f32::MAX][..]);
        assert_eq!(m.mean(), 0.0);
        assert_eq!(m.kurtosis(), 1.0);
        assert_eq!(m.second_moment(), f64::from(f32::MAX).powi(2));
    }

    #[test]
    fn values_that_are_not_finite_are_counted_and_enter_nothing_else() {
        let mut values = vec![1.0_f32, 2.0, 3.0];
        let clean = Moments::from(&values[..]);
        values.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
        let m = Moments::from(&values[..]);
        assert_eq!(m.non_finite(), 3);
        assert_eq!((m.count(), m.mean(), m.min(), m.max()), (3, 2.0, 1.0, 3.0));
        assert_eq!(m.population_variance(), clean.population_variance());
        assert!(m.require("mean", 1).is_err());
    }

    #[test]
    fn moments_survive_json_even_when_empty_or_overflowed() {
        let round = |m: Moments| -> Moments {
            serde_json::from_str(&serde_json::to_string(&m).unwrap()).unwrap()
        };
        assert_eq!(round(Moments::new()), Moments::new());
        let m = Moments::from(&[1.0, 2.0, 4.0][..]);
        assert_eq!(round(m), m);
        let huge = round(Moments::from(&[1e100, -1e100][..]));
        assert!(huge.kurtosis().is_nan());
        assert_eq!(huge.population_variance(), 1e200);
    }
}

//! Independent draws from any law, by index, in either number format.

use std::ops::{Add, Mul, Neg};

use gainstage_spec::{Law, SpecError};
use rand_distr::Distribution;

use crate::InitError;
use crate::block;
use crate::bulk::{self, Uniform};
use crate::bulk64;
use crate::key::{Key, Kind};
use crate::sampler::Sampler;

/// Fills `out` with independent draws number `offset`, `offset + 1`, ... from a law.
///
/// Value i depends on the key and on i alone, so any part of an array can be drawn again without the
/// rest. For an initializer of independent entries this is the part of [`crate::fill`]'s array, in
/// the order of [`Layout::OutIn`](gainstage_spec::Layout), that starts at `offset`. The entries of
/// orthogonal, sparse and dirac arrays depend on each other; their laws are drawn here as if they did
/// not.
///
/// # Errors
/// [`InitError::Format`] if f32 cannot hold the law, [`InitError::Spec`] for a truncated normal with less
/// than 1% of its mass between the cuts.
///
/// # Example
/// Rows 100 to 102 of a layer too large to keep:
/// ```
/// use gainstage_init::{Key, Purpose, fill, fill_block};
/// use gainstage_spec::{Initializer, Layout, WeightShape};
/// let (he, shape) = (Initializer::he_normal(), WeightShape::dense(300, 500)?);
/// let key = Key::new(7, Purpose::Weights, 0, 0);
/// let mut rows = [0.0f32; 3 * 300];
/// fill_block(&he.law(&shape)?, key, 100 * 300, &mut rows)?;
///
/// let mut whole = vec![0.0f32; shape.elements()];
/// fill(&he, &shape, Layout::OutIn, key, &mut whole)?;
/// assert_eq!(whole[100 * 300..103 * 300], rows);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fill_block(law: &Law, key: Key, offset: u64, out: &mut [f32]) -> Result<(), InitError> {
    draw(law, key, offset, out)
}

/// As [`fill_block`], in f64; part of [`crate::fill_f64`]'s array.
///
/// # Errors
/// As [`fill_block`].
pub fn fill_block_f64(law: &Law, key: Key, offset: u64, out: &mut [f64]) -> Result<(), InitError> {
    draw(law, key, offset, out)
}

/// A number format.
pub(crate) trait Scalar:
    Copy + Default + PartialOrd + Add<Output = Self> + Mul<Output = Self> + Neg<Output = Self>
{
    const NAME: &'static str;
    const MAX: f64;
    const MIN_POSITIVE: f64;

    fn nearest(x: f64) -> Self;
    fn to_f64(self) -> f64;
    fn next_up(self) -> Self;
    fn normals(key: Key, offset: u64, mean: Self, std: Self, out: &mut [Self]);
    /// Uniform draws that rounding may not carry out of `inner`.
    fn uniforms(key: Key, offset: u64, bounds: (f64, f64), inner: (Self, Self), out: &mut [Self]);
    /// Standard normals from four words.
    fn standard_normals(words: [u32; 4]) -> impl Iterator<Item = Self>;
}

impl Scalar for f32 {
    const NAME: &'static str = "f32";
    const MAX: f64 = f32::MAX as f64;
    const MIN_POSITIVE: f64 = f32::MIN_POSITIVE as f64;

    fn nearest(x: f64) -> Self {
        x as f32
    }

    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    fn next_up(self) -> Self {
        f32::next_up(self)
    }

    fn normals(key: Key, offset: u64, mean: f32, std: f32, out: &mut [f32]) {
        bulk::fill_normal(key, offset, mean, std, out);
    }

    fn uniforms(key: Key, offset: u64, bounds: (f64, f64), inner: (f32, f32), out: &mut [f32]) {
        let (low, high) = (bounds.0 as f32, bounds.1 as f32);
        block::fill(Uniform { low, span: high - low, inner }, key, offset, out);
    }

    fn standard_normals(words: [u32; 4]) -> impl Iterator<Item = f32> {
        bulk::standard_normals(words).into_iter()
    }
}

impl Scalar for f64 {
    const NAME: &'static str = "f64";
    const MAX: f64 = f64::MAX;
    const MIN_POSITIVE: f64 = f64::MIN_POSITIVE;

    fn nearest(x: f64) -> Self {
        x
    }

    fn to_f64(self) -> f64 {
        self
    }

    fn next_up(self) -> Self {
        f64::next_up(self)
    }

    fn normals(key: Key, offset: u64, mean: f64, std: f64, out: &mut [f64]) {
        bulk64::fill_normal_f64(key, offset, mean, std, out);
    }

    fn uniforms(key: Key, offset: u64, bounds: (f64, f64), _: (f64, f64), out: &mut [f64]) {
        bulk64::fill_uniform_f64(key, offset, bounds.0, bounds.1, out);
    }

    fn standard_normals(words: [u32; 4]) -> impl Iterator<Item = f64> {
        bulk64::standard_normals(words).into_iter()
    }
}

/// The draws of [`fill_block`] in either format.
pub(crate) fn draw<S: Scalar>(
    law: &Law,
    key: Key,
    offset: u64,
    out: &mut [S],
) -> Result<(), InitError> {
    let inner = inner_support::<S>(law)?;
    match law {
        Law::Point { value } => out.fill(S::nearest(*value)),
        Law::Normal { mean, std } => {
            S::normals(key, offset, S::nearest(*mean), S::nearest(*std), out);
        }
        Law::Uniform { low, high } => S::uniforms(key, offset, (*low, *high), inner, out),
        Law::TruncatedNormal { mean, sigma, low, high } => {
            let (a, b) = cuts(*mean, *sigma, *low, *high)?;
            let inside = |z: &S| (a..=b).contains(&z.to_f64());
            let (mean, sigma) = (S::nearest(*mean), S::nearest(*sigma));
            S::normals(key, offset, S::default(), S::nearest(1.0), out);
            for (index, value) in (offset..).zip(out) {
                let z = if inside(value) { *value } else { redraw(key, index, inside) };
                *value = clamp(mean + sigma * z, inner);
            }
        }
        // One generator per index: these laws take more words than a block has for a value.
        Law::SphereCoordinate { .. } | Law::ZeroInflated { .. } => {
            for (index, value) in (offset..).zip(out) {
                let x = Sampler(law).sample(&mut key.derived(Kind::Element, index));
                *value = clamp(S::nearest(x), inner);
            }
        }
    }
    Ok(())
}

/// The bounds of a truncated normal in standard deviations.
fn cuts(mean: f64, sigma: f64, low: f64, high: f64) -> Result<(f64, f64), InitError> {
    let normal = Law::Normal { mean, std: sigma };
    let value = normal.cdf(high) - normal.cdf(low);
    // As for initializers: rejection must end in reasonable time.
    if value >= 0.01 {
        Ok(((low - mean) / sigma, (high - mean) / sigma))
    } else {
        let what = "truncated normal: probability between the cuts".to_owned();
        Err(SpecError::Domain { what, value, bound: "at least 0.01" }.into())
    }
}

/// The first accepted one of an index's further standard normals.
fn redraw<S: Scalar>(key: Key, index: u64, accept: impl Fn(&S) -> bool) -> S {
    if let Some(z) = S::standard_normals(key.redraw(index)).find(&accept) {
        return z;
    }
    let mut stream = key.derived(Kind::RedrawStream, index);
    loop {
        if let Some(z) = S::standard_normals(stream.block()).find(&accept) {
            return z;
        }
    }
}

/// The numbers of the format that bound the law's support from within.
///
/// # Errors
/// [`InitError::Format`] for a law that overflows, is finer than the smallest normal number, or whose
/// support holds no number of the format.
pub(crate) fn inner_support<S: Scalar>(law: &Law) -> Result<(S, S), InitError> {
    let refuse = |why| Err(InitError::Format { law: law.clone(), format: S::NAME, why });
    // The scale, and the largest magnitude on the way to a value; 9 standard deviations never occur.
    let (scale, reach) = match law {
        Law::Point { value } => (f64::INFINITY, value.abs()),
        Law::Normal { mean, std } => (*std, mean.abs() + 9.0 * std),
        Law::TruncatedNormal { mean, sigma, .. } => (*sigma, mean.abs() + 9.0 * sigma),
        Law::Uniform { low, high } => (high - low, low.abs().max(high.abs()).max(high - low)),
        Law::SphereCoordinate { radius, .. } => (radius.abs(), radius.abs()),
        Law::ZeroInflated { other, .. } => {
            let (least, most) = inner_support::<S>(other)?;
            let zero = S::default();
            return Ok((
                if least < zero { least } else { zero },
                if most > zero { most } else { zero },
            ));
        }
    };
    if !(reach <= S::MAX) {
        return refuse("its values are not finite");
    }
    if !(scale >= S::MIN_POSITIVE) {
        return refuse("its scale is below the smallest normal number");
    }
    if let Law::Point { value } = law {
        return Ok((S::nearest(*value), S::nearest(*value)));
    }
    let (low, high) = law.support();
    let inner = (round_up::<S>(low), -round_up::<S>(-high));
    if inner.0 <= inner.1 { Ok(inner) } else { refuse("its support lies between two numbers") }
}

/// The smallest number of the format not below `x`.
fn round_up<S: Scalar>(x: f64) -> S {
    let nearest = S::nearest(x);
    if nearest.to_f64() < x { nearest.next_up() } else { nearest }
}

fn clamp<S: Scalar>(x: S, (least, most): (S, S)) -> S {
    let x = if x < least { least } else { x };
    if x > most { most } else { x }
}

#[cfg(test)]
mod tests {
    use gainstage_stats::{Probability, clopper_pearson_interval, ks_test};

    use super::*;
    use crate::Purpose;

    fn key(layer: u32) -> Key {
        Key::new(21, Purpose::Weights, 0, layer)
    }

    fn laws() -> Vec<Law> {
        let normal = Law::Normal { mean: 0.5, std: 2.0 };
        vec![
            Law::Point { value: 0.1 },
            Law::Uniform { low: -0.1, high: 0.7 },
            normal.clone(),
            Law::TruncatedNormal { mean: 0.1, sigma: 0.3, low: -0.1, high: 0.2 },
            Law::TruncatedNormal { mean: 0.0, sigma: 1.0, low: 1.5, high: f64::INFINITY },
            Law::SphereCoordinate { dimension: 1, radius: 0.1 },
            Law::SphereCoordinate { dimension: 2, radius: 0.7 },
            Law::SphereCoordinate { dimension: 50, radius: -2.0 },
            Law::ZeroInflated { zero_share: 0.3, other: Box::new(normal) },
        ]
    }

    #[test]
    fn every_law_is_drawn_by_index_and_stays_in_its_support() {
        for law in laws() {
            let (mut whole, mut whole64) = (vec![0.0f32; 5000], vec![0.0f64; 5000]);
            fill_block(&law, key(0), 1000, &mut whole).expect("fits");
            fill_block_f64(&law, key(0), 1000, &mut whole64).expect("fits");
            for (start, end) in [(0, 1), (1, 64), (100, 1000), (4321, 5000)] {
                let (mut part, mut part64) = (vec![0.0; end - start], vec![0.0; end - start]);
                fill_block(&law, key(0), 1000 + start as u64, &mut part).expect("fits");
                fill_block_f64(&law, key(0), 1000 + start as u64, &mut part64).expect("fits");
                assert_eq!(part, whole[start..end], "{law}");
                assert_eq!(part64, whole64[start..end], "{law}");
            }
            if !matches!(law, Law::Point { .. }) {
                let (low, high) = law.support();
                assert!(whole.iter().all(|&x| (low..=high).contains(&f64::from(x))), "{law}");
                assert!(whole64.iter().all(|x| (low..=high).contains(x)), "{law}");
            }
        }
    }

    #[test]
    fn every_law_has_its_distribution_and_a_wider_one_is_seen() {
        // KS at 1e-7 and 200,000 draws sees distances of 0.0118; 5% of scale moves these by more.
        for (layer, law) in laws().into_iter().enumerate() {
            let mut draws = vec![0.0f64; 200_000];
            fill_block_f64(&law, key(layer as u32), 0, &mut draws).expect("fits");
            if let Law::ZeroInflated { zero_share, other } = &law {
                let zeros = draws.iter().filter(|x| **x == 0.0).count() as u64;
                let sure = Probability::new(1.0 - 1e-7).expect("valid");
                let interval = clopper_pearson_interval(zeros, 200_000, sure).expect("draws");
                assert!((interval.low..=interval.high).contains(zero_share), "{zeros} zeros");
                draws.retain(|x| *x != 0.0);
                assert!(ks_test(&draws, |x| other.cdf(x)).expect("finite").p_value > 1e-7);
            } else if law.is_continuous() && law.variance() > 0.0 {
                assert!(ks_test(&draws, |x| law.cdf(x)).expect("finite").p_value > 1e-7, "{law}");
                let (centre, seen) = (law.mean(), |x: f64| (x - law.mean()) * 1.05 + law.mean());
                let wide: Vec<f64> = draws.iter().map(|&x| seen(x)).collect();
                let p = ks_test(&wide, |x| law.cdf(x)).expect("finite").p_value;
                assert!(p < 1e-7, "{law} about {centre}: {p}");
            } else if law.variance() > 0.0 {
                // Dimension 1 is a fair coin.
                assert!(draws.iter().all(|x| x.abs() == 0.1));
                let heads = draws.iter().filter(|x| **x > 0.0).count() as f64;
                assert!((heads / 200_000.0 - 0.5).abs() < 5.33 * 0.5 / 200_000f64.sqrt());
            }
        }
    }

    #[test]
    fn laws_that_a_format_cannot_hold_are_refused() {
        let refused = |law: &Law| {
            let error = fill_block(law, key(0), 0, &mut [0.0; 100]).expect_err("refused");
            assert!(matches!(error, InitError::Format { format: "f32", .. }), "{error}");
            error.to_string()
        };
        assert!(refused(&Law::Point { value: 1e39 }).contains("draw in f64"));
        assert!(refused(&Law::Normal { mean: 0.0, std: 1e38 }).contains("not finite"));
        assert!(refused(&Law::Normal { mean: 0.0, std: 1e-39 }).contains("smallest normal"));
        assert!(refused(&Law::Normal { mean: f64::NAN, std: 1.0 }).contains("not finite"));
        refused(&Law::Uniform { low: -3e38, high: 3e38 });
        refused(&Law::SphereCoordinate { dimension: 3, radius: 1e39 });
        // Between two neighbouring numbers, where clamping and rejection have nowhere to go.
        let (low, high) = (1.0 + 1e-9, 1.0 + 2e-9);
        assert!(refused(&Law::Uniform { low, high }).contains("between two numbers"));
        refused(&Law::TruncatedNormal { mean: 1.0, sigma: 1e-9, low, high });
        for law in [
            Law::TruncatedNormal { mean: 0.0, sigma: 1.0, low: 9.0, high: 10.0 },
            Law::TruncatedNormal { mean: 0.0, sigma: 1.0, low: 1.0, high: 1.0 },
        ] {
            let error = fill_block(&law, key(0), 0, &mut [0.0]).expect_err("would not end");
            assert!(matches!(error, InitError::Spec(_)), "{error}");
        }
        let wide = Law::Uniform { low: -1e308, high: 1.7e308 };
        let error = fill_block_f64(&wide, key(0), 0, &mut [0.0]).expect_err("overflows");
        assert!(!error.to_string().contains("in f64;"), "{error}");
    }

    #[test]
    fn coarse_numbers_near_the_cuts_still_end_and_stay_inside() {
        // f32 is 8 apart here: one number inside, nearer to the cut than to the mean.
        let (low, high) = (100_000_008.0, 100_000_015.9);
        let law = Law::TruncatedNormal { mean: 100_000_012.0, sigma: 1.0, low, high };
        let mut out = [0.0f32; 1000];
        fill_block(&law, key(0), 0, &mut out).expect("fits");
        assert!(out.iter().all(|&x| x == 100_000_008.0));
    }
}

//! Independent draws from any law, by index, in either number format.

use std::ops::{Add, Mul, Neg};

use gainstage_spec::Law;
use rand_distr::Distribution;

use crate::InitError;
use crate::block;
use crate::bulk::{self, Uniform, box_muller};
use crate::bulk64::{self, box_muller64};
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
/// [`InitError::Format`] if f32 cannot hold the law.
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
/// [`InitError::Format`] if f64 cannot hold the law.
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
    fn pairs(words: [u32; 4]) -> impl Iterator<Item = Self>;
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

    fn pairs([a, b, c, d]: [u32; 4]) -> impl Iterator<Item = f32> {
        let ((x, y), (z, w)) = (box_muller(a, b), box_muller(c, d));
        [x, y, z, w].into_iter()
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

    fn pairs([a, b, c, d]: [u32; 4]) -> impl Iterator<Item = f64> {
        let word = |low, high| u64::from(low) | u64::from(high) << 32;
        let (x, y) = box_muller64(word(a, b), word(c, d));
        [x, y].into_iter()
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
            let (a, b) = ((low - mean) / sigma, (high - mean) / sigma);
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

/// The first accepted one of an index's further standard normals.
fn redraw<S: Scalar>(key: Key, index: u64, accept: impl Fn(&S) -> bool) -> S {
    if let Some(z) = S::pairs(key.redraw(index)).find(&accept) {
        return z;
    }
    let mut stream = key.derived(Kind::RedrawStream, index);
    loop {
        if let Some(z) = S::pairs(stream.block()).find(&accept) {
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
        return refuse("its values overflow");
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

//! What enters a network from outside its weights: inputs, error signals, dropout masks.

use gainstage_init::{Key, Purpose};
use gainstage_spec::{Initializer, Inputs, WeightShape};

use crate::pass::Compute;
use crate::vector::{Kernel, LANES, Vector, dispatch};
use crate::{InputSource, Real, Setup, SimulateError};

/// The batch of a trial, `batch x width`, row after row.
pub(crate) fn rows<T: Compute>(
    setup: &Setup,
    trial: u32,
    width: usize,
) -> Result<Vec<T>, SimulateError> {
    let key = Key::new(setup.seed, Purpose::Inputs, trial, 0);
    match &setup.inputs {
        InputSource::Given(values) => {
            Ok(values.iter().map(|&v| T::from_f64(f64::from(v))).collect())
        }
        InputSource::Random(Inputs::Gaussian) => gaussian_rows(key, setup.batch, width),
        InputSource::Random(Inputs::Sphere) => sphere_rows(key, setup.batch, width),
        InputSource::Random(Inputs::CorrelatedPairs { correlation }) => {
            correlated_rows(key, setup.batch, width, *correlation)
        }
    }
}

/// The signals injected at the output: uniform directions of mean square 1, row after row.
pub(crate) fn error_signals<T: Compute>(
    setup: &Setup,
    trial: u32,
    width: usize,
) -> Result<Vec<T>, SimulateError> {
    sphere_rows(Key::new(setup.seed, Purpose::ErrorSignal, trial, 0), setup.batch, width)
}

/// 1 / keep with probability `keep`, else 0.
pub(crate) fn dropout_factors<T: Compute>(
    key: Key,
    keep: f64,
    len: usize,
) -> Result<Vec<T>, SimulateError> {
    let mut uniform = vec![0.0f64; len];
    fill_plain(&Initializer::Uniform { low: 0.0, high: 1.0 }, key, &mut uniform)?;
    Ok(uniform.iter().map(|&u| if u < keep { T::from_f64(1.0 / keep) } else { T::ZERO }).collect())
}

fn fill_plain<T: Compute>(
    initializer: &Initializer,
    key: Key,
    out: &mut [T],
) -> Result<(), SimulateError> {
    let shape = WeightShape::dense(1, out.len())?;
    T::fill(initializer, &shape, key, out)
        .map_err(|reason| SimulateError::Weights { layer: 0, reason })
}

fn gaussian_rows<T: Compute>(key: Key, rows: usize, width: usize) -> Result<Vec<T>, SimulateError> {
    let mut values = vec![T::ZERO; rows * width];
    fill_plain(&Initializer::normal(1.0), key, &mut values)?;
    Ok(values)
}

/// Rows of mean square exactly 1 (up to rounding) in uniform directions.
fn sphere_rows<T: Compute>(key: Key, rows: usize, width: usize) -> Result<Vec<T>, SimulateError> {
    let mut values = gaussian_rows::<T>(key, rows, width)?;
    for row in values.chunks_exact_mut(width) {
        let factor = (width as f64 / sum_of_squares(row)).sqrt();
        row.iter_mut().for_each(|v| *v = T::from_f64(v.to_f64() * factor));
    }
    Ok(values)
}

/// Pairs u, c u + sqrt(1 - c^2) v with v the part of a second direction orthogonal to u.
fn correlated_rows<T: Compute>(
    key: Key,
    rows: usize,
    width: usize,
    c: f64,
) -> Result<Vec<T>, SimulateError> {
    let mut values = sphere_rows::<T>(key, rows, width)?;
    for pair in values.chunks_exact_mut(2 * width) {
        let (u, v) = pair.split_at_mut(width);
        let along = dot(u, v) / width as f64;
        let mut across: Vec<f64> =
            u.iter().zip(v.iter()).map(|(u, v)| v.to_f64() - along * u.to_f64()).collect();
        let factor = (width as f64 / across.iter().map(|a| a * a).sum::<f64>()).sqrt();
        across.iter_mut().for_each(|a| *a *= factor * (1.0 - c * c).sqrt());
        for ((v, u), a) in v.iter_mut().zip(u.iter()).zip(&across) {
            *v = T::from_f64(c * u.to_f64() + a);
        }
    }
    Ok(values)
}

/// Eight running sums, so that the order is fixed and the loop vectorises.
pub(crate) fn sum_of_squares<T: Real>(row: &[T]) -> f64 {
    dot(row, row)
}

/// Likewise.
pub(crate) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    scaled_dot(a, b, 1.0)
}

/// The dot product of `scale a` and `scale b`.
pub(crate) fn scaled_dot<T: Real>(a: &[T], b: &[T], scale: f64) -> f64 {
    dispatch(Dot { a, b, scale })
}

/// Eight sums in f64, of the same bits in every compilation: nothing is fused.
struct Dot<'a, T> {
    a: &'a [T],
    b: &'a [T],
    scale: f64,
}

impl<T: Real> Dot<'_, T> {
    #[inline(always)]
    fn product(&self, a: T, b: T) -> f64 {
        (self.scale * a.to_f64()) * (self.scale * b.to_f64())
    }
}

impl<T: Real> Kernel for Dot<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn run<V: Vector>(self) -> f64 {
        let mut sums = [0.0f64; LANES];
        let ((a, rest_a), (b, rest_b)) = (self.a.as_chunks::<LANES>(), self.b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for i in 0..LANES {
                sums[i] += self.product(a[i], b[i]);
            }
        }
        let rest = rest_a.iter().zip(rest_b).map(|(&a, &b)| self.product(a, b));
        sums.iter().sum::<f64>() + rest.sum::<f64>()
    }
}

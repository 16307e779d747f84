//! Passes over a whole batch, on rayon's pool where it pays.
//!
//! Pieces depend on the sizes alone and are folded in their order, so that the bits are the same on any
//! number of threads.

use gainstage_spec::Activation;
use gainstage_stats::Moments;
use rayon::prelude::*;

use super::Compute;
use crate::inputs::{dot, sum_of_squares};
use crate::{Real, kernel};

/// Values from which on a pass over them is divided among threads, in pieces of half as many.
pub(super) const DIVIDED: usize = 1 << 17;

/// [`kernel::activate`].
pub(super) fn activate<T: Real>(phi: &Activation, z: &[T], h: &mut [T]) {
    if z.len() < DIVIDED {
        return kernel::activate(phi, z, h);
    }
    let pieces = h.par_chunks_mut(DIVIDED / 2).zip(z.par_chunks(DIVIDED / 2));
    pieces.for_each(|(h, z)| kernel::activate(phi, z, h));
}

/// [`kernel::pull_back`].
pub(super) fn pull_back<T: Real>(phi: &Activation, z: &[T], gradient: &mut [T]) {
    if z.len() < DIVIDED {
        return kernel::pull_back(phi, z, gradient);
    }
    let pieces = gradient.par_chunks_mut(DIVIDED / 2).zip(z.par_chunks(DIVIDED / 2));
    pieces.for_each(|(gradient, z)| kernel::pull_back(phi, z, gradient));
}

/// One value of every row, in the order of the rows.
pub(super) fn by_row<T: Real>(
    values: &[T],
    width: usize,
    of_row: impl Fn(&[T]) -> f64 + Send + Sync,
) -> Vec<f64> {
    if values.len() < DIVIDED {
        values.chunks_exact(width).map(of_row).collect()
    } else {
        values.par_chunks_exact(width).map(of_row).collect()
    }
}

/// [`Compute::moments`].
pub(super) fn moments<T: Compute>(values: &[T]) -> Moments {
    if values.len() < DIVIDED {
        return T::moments(values);
    }
    let pieces: Vec<Moments> = values.par_chunks(DIVIDED / 2).map(T::moments).collect();
    pieces.iter().fold(Moments::new(), |mut all, piece| {
        all.merge(piece);
        all
    })
}

/// Each input's mean square, in f64.
pub(super) fn mean_squares<T: Real>(values: &[T], batch: usize) -> Vec<f64> {
    let width = values.len() / batch;
    by_row(values, width, |row| sum_of_squares(row) / width as f64)
}

/// Mean over consecutive pairs of rows of their cosine; pairs with a zero row are left out.
pub(super) fn pair_cosine<T: Real>(z: &[T], width: usize, squares: &[f64]) -> Option<f64> {
    let pairs = z.len() / (2 * width);
    if pairs == 0 {
        return None;
    }
    let dots = by_row(&z[..pairs * 2 * width], 2 * width, |pair| {
        let (a, b) = pair.split_at(width);
        dot(a, b)
    });
    let cosines: Vec<f64> = dots
        .iter()
        .zip(squares.chunks_exact(2))
        .filter(|(_, s)| s[0] > 0.0 && s[1] > 0.0)
        .map(|(dot, s)| dot / (width as f64 * (s[0] * s[1]).sqrt()))
        .collect();
    (!cosines.is_empty()).then(|| cosines.iter().sum::<f64>() / cosines.len() as f64)
}

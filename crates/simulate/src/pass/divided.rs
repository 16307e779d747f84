//! Passes over a whole batch, on rayon's pool where it pays.
//!
//! Pieces depend on the sizes alone and are folded in their order, so that the bits are the same on any
//! number of threads.

use gainstage_spec::Activation;
use rayon::prelude::*;

use crate::inputs::sum_of_squares;
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

/// Each input's mean square, in f64.
pub(super) fn mean_squares<T: Real>(values: &[T], batch: usize) -> Vec<f64> {
    let width = values.len() / batch;
    by_row(values, width, |row| sum_of_squares(row) / width as f64)
}

//! Haar-distributed matrices with orthonormal rows or columns.

use nalgebra::DMatrix;
use rand::Rng;

use crate::sampler::normal;

/// `rows x cols`, row after row: orthonormal columns where rows >= cols, else orthonormal rows.
///
/// Q of the QR decomposition of a Gaussian matrix, with the signs chosen so that R has a positive
/// diagonal: the decomposition is then unique and Q Haar-distributed (Mezzadri 2007).
pub(crate) fn haar<R: Rng + ?Sized>(rows: usize, cols: usize, rng: &mut R) -> Vec<f64> {
    let (long, short) = (rows.max(cols), rows.min(cols));
    let gaussian = DMatrix::from_fn(long, short, |_, _| normal(rng));
    let qr = gaussian.qr();
    let (mut q, r) = (qr.q(), qr.r());
    for (mut column, diagonal) in q.column_iter_mut().zip(r.diagonal().iter()) {
        if *diagonal < 0.0 {
            column.neg_mut();
        }
    }
    // nalgebra stores column after column: the transposed matrix row after row.
    if rows >= cols { q.transpose().as_slice().to_vec() } else { q.as_slice().to_vec() }
}

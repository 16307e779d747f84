//! Haar-distributed matrices with orthonormal rows or columns.

use nalgebra::DMatrix;

use crate::bulk64::fill_normal_f64;
use crate::key::Key;

/// Reflections applied at once, as two matrix products (Schreiber & Van Loan 1989).
const PANEL: usize = 32;

/// `rows x cols`, row after row: orthonormal columns where rows >= cols, else orthonormal rows.
///
/// The Q of the QR decomposition of a Gaussian matrix is Haar-distributed if R has a positive diagonal
/// (Mezzadri 2007). Householder's k-th reflection of such a matrix depends on a Gaussian vector of
/// length n - k that is independent of all earlier ones (Stewart 1980), so the vectors are drawn
/// directly, no matrix is decomposed, and only the product of the reflections is formed.
pub(crate) fn haar(rows: usize, cols: usize, key: Key) -> Vec<f64> {
    let (long, short) = (rows.max(cols), rows.min(cols));
    let mut q = DMatrix::identity(long, short);
    let mut signs = vec![1.0; short];
    for start in (0..short).step_by(PANEL).rev() {
        let width = PANEL.min(short - start);
        let (v, t) = reflections(key, start, width, long, &mut signs[start..start + width]);
        // (I - V T V') applied to the part of Q that is not yet the identity.
        let mut part = q.view_mut((start, start), (long - start, short - start));
        let w = t * (v.transpose() * &part);
        part.gemm(-1.0, &v, &w, 1.0);
    }
    for (mut column, sign) in q.column_iter_mut().zip(signs) {
        column *= sign;
    }
    // nalgebra stores column after column: the transposed matrix row after row.
    if rows >= cols { q.transpose().as_slice().to_vec() } else { q.as_slice().to_vec() }
}

/// Reflections `start`, ..., `start + width - 1` as I - V T V', and the signs that they give R's
/// diagonal.
fn reflections(
    key: Key,
    start: usize,
    width: usize,
    long: usize,
    signs: &mut [f64],
) -> (DMatrix<f64>, DMatrix<f64>) {
    let height = long - start;
    let mut v = DMatrix::zeros(height, width);
    let mut t = DMatrix::zeros(width, width);
    for j in 0..width {
        let k = start + j;
        let x = &mut v.as_mut_slice()[j * height + j..(j + 1) * height];
        fill_normal_f64(key, (k * long) as u64, 0.0, 1.0, x);
        // x goes to -sign(x_0) |x| e_0, the side without cancellation.
        let norm = x.iter().map(|a| a * a).sum::<f64>().sqrt();
        let head = x[0].abs();
        signs[j] = -x[0].signum();
        x[0] += x[0].signum() * norm;
        t[(j, j)] = 1.0 / (norm * (norm + head));
    }
    let gram = v.transpose() * &v;
    for j in 1..width {
        let tau = t[(j, j)];
        let column = t.view((0, 0), (j, j)) * gram.view((0, j), (j, 1)) * -tau;
        t.view_mut((0, j), (j, 1)).copy_from(&column);
    }
    (v, t)
}

#[cfg(test)]
mod tests {
    use nalgebra::DVector;

    use super::*;
    use crate::Purpose;

    /// The same reflections, one at a time on a full matrix.
    fn one_by_one(rows: usize, key: Key) -> DMatrix<f64> {
        let mut q = DMatrix::identity(rows, rows);
        for k in 0..rows {
            let mut x = DVector::zeros(rows);
            fill_normal_f64(key, (k * rows) as u64, 0.0, 1.0, &mut x.as_mut_slice()[k..]);
            let image = -x[k].signum() * x.norm();
            let mut u = x.clone();
            u[k] -= image;
            let h = DMatrix::identity(rows, rows) - &u * u.transpose() * (2.0 / u.norm_squared());
            let mut reflected = &h * &x;
            reflected[k] -= image;
            assert!(reflected.norm() < 1e-12 * x.norm(), "the reflection sends x to an axis");
            q *= h;
            q.column_mut(k).scale_mut(image.signum());
        }
        q
    }

    #[test]
    fn panels_are_the_product_of_their_reflections() {
        let key = Key::new(1, Purpose::Weights, 0, 0);
        for n in [1, 2, 31, 32, 33, 80] {
            let blocked = DMatrix::from_row_slice(n, n, &haar(n, n, key));
            assert!((blocked - one_by_one(n, key)).amax() < 1e-13, "{n}");
        }
    }

    #[test]
    fn wide_is_tall_transposed() {
        let key = Key::new(2, Purpose::Weights, 0, 0);
        let tall = DMatrix::from_row_slice(50, 40, &haar(50, 40, key));
        assert_eq!(tall.transpose(), DMatrix::from_row_slice(40, 50, &haar(40, 50, key)));
    }
}

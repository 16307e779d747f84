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
    use gainstage_stats::{ks_test, ks_two_sample_test};
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

    #[test]
    fn traces_are_standard_normal_and_unfixed_signs_are_seen() {
        // The trace of a Haar matrix of size 40 is normal(std = 1) to within e^-40 or so (Diaconis &
        // Shahshahani 1994, Johansson 1997). KS at 1e-6 with 4,000 matrices sees distances of 0.083.
        let size = 40;
        let traces = |fold: bool| -> Vec<f64> {
            (0..4000)
                .map(|trial| {
                    let q = haar(size, size, Key::new(3, Purpose::Weights, trial, 0));
                    let diagonal = (0..size).map(|i| q[i * (size + 1)]);
                    diagonal.map(|d| if fold { d.abs() } else { d }).sum()
                })
                .collect()
        };
        let normal = gainstage_spec::Law::Normal { mean: 0.0, std: 1.0 };
        let p = |traces: Vec<f64>| ks_test(&traces, |x| normal.cdf(x)).expect("finite").p_value;
        assert!(p(traces(false)) > 1e-6);
        // Any rule that ties a column's sign to its entries shows here.
        assert!(p(traces(true)) < 1e-6);
    }

    #[test]
    fn entries_have_the_law_of_the_decomposition_of_a_gaussian_matrix() {
        // Against nalgebra's QR with R's diagonal made positive, entry by entry and in a sum that mixes
        // them; two-sample KS at 1e-7 each.
        let (rows, cols, trials) = (5, 3, 20_000);
        let mut ours = vec![Vec::new(); rows * cols + 1];
        let mut reference = ours.clone();
        let mix = |q: &[f64]| q.iter().enumerate().map(|(i, v)| (1.0 + i as f64) * v).sum::<f64>();
        for trial in 0..trials {
            let q = haar(rows, cols, Key::new(4, Purpose::Weights, trial, 0));
            let mut g = vec![0.0; rows * cols];
            fill_normal_f64(Key::new(4, Purpose::Inputs, trial, 0), 0, 0.0, 1.0, &mut g);
            let qr = DMatrix::from_row_slice(rows, cols, &g).qr();
            let (r, mut p) = (qr.r(), qr.q());
            for (j, mut column) in p.column_iter_mut().enumerate() {
                column *= r[(j, j)].signum();
            }
            let p = p.transpose().as_slice().to_vec();
            for (sample, q) in [(&mut ours, &q), (&mut reference, &p)] {
                sample.iter_mut().zip(q).for_each(|(s, v)| s.push(*v));
                sample[rows * cols].push(mix(q));
            }
        }
        for (place, (a, b)) in ours.iter().zip(&reference).enumerate() {
            let test = ks_two_sample_test(a, b).expect("finite");
            assert!(test.p_value > 1e-7, "entry {place}: {}", test.p_value);
            let shrunk: Vec<f64> = a.iter().map(|v| 0.9 * v).collect();
            let twin = ks_two_sample_test(&shrunk, b).expect("finite");
            assert!(twin.p_value < 1e-7, "entry {place}: {}", twin.p_value);
        }
    }
}

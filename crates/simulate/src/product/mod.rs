//! Matrix products; with [`crate::vector`] the only place of this crate with unsafe code.
//!
//! Of f32, [`tiles`] on processors with AVX-512. Otherwise by the `gemm` crate, which is two to four times
//! faster than nalgebra's product on the skinny shapes of small batches (32 x 784 x 128: 105 against 25
//! GFLOP/s on one core) and takes any strides, so that no transposed copy is made. Both take raw pointers;
//! what is here checks every bound first.
#![allow(unsafe_code)]

mod gram;
mod matrix;
mod real;
#[cfg(target_arch = "x86_64")]
mod tiles;
mod transpose;

use std::marker::PhantomData;

use rayon::prelude::*;

pub(crate) use gram::Gram;
pub use matrix::Matrix;
pub use real::Real;
pub use transpose::transpose;

/// `out = a b` on one thread; `out` is `a.rows x b.cols`, row after row.
///
/// The order of additions, and so the last bits, may differ between processors.
///
/// # Panics
/// If the shapes do not fit.
///
/// ```
/// use gainstage_simulate::{Matrix, product};
/// let (a, b) = ([1.0f32, 2.0, 3.0, 4.0], [1.0f32, 10.0]);
/// let mut out = [0.0f32; 2];
/// product(&mut out, Matrix::new(&a, 2, 2), Matrix::new(&b, 1, 2).transposed());
/// assert_eq!(out, [21.0, 43.0]);
/// ```
pub fn product<T: Real>(out: &mut [T], a: Matrix<'_, T>, b: Matrix<'_, T>) {
    assert_eq!(out.len(), a.rows * b.cols, "size of a product");
    // SAFETY: `out` has a.rows rows of b.cols values, one after another, borrowed mutably.
    unsafe { run(out.as_mut_ptr(), b.cols, a, b, false) }
}

/// Columns that one task of a divided product calculates: as many of `b`'s as stay in the caches while
/// all of `a` passes by.
const COLUMNS: usize = 32;

/// Multiplications from which on a product is divided.
const DIVIDED: usize = 1 << 25;

/// As [`product`], on rayon's pool if it is large.
///
/// The columns are divided by the sizes alone, never by the number of threads, so that the bits are the
/// same on any number of them.
///
/// # Panics
/// If the shapes do not fit.
///
/// ```
/// use gainstage_simulate::{Matrix, divided_product};
/// let (h, weights) = (vec![1.0f32; 512 * 512], vec![0.5f32; 512 * 512]);
/// let mut z = vec![0.0f32; 512 * 512];
/// divided_product(&mut z, Matrix::new(&h, 512, 512), Matrix::new(&weights, 512, 512).transposed());
/// assert_eq!(z, [256.0f32; 512 * 512]);
/// ```
pub fn divided_product<T: Real>(out: &mut [T], a: Matrix<'_, T>, b: Matrix<'_, T>) {
    let size = b.cols;
    if a.rows * a.cols * size < DIVIDED || size < 2 * COLUMNS {
        return product(out, a, b);
    }
    let out = Shared::new(out, a.rows, size);
    (0..size.div_ceil(COLUMNS)).into_par_iter().with_max_len(1).for_each(|at| {
        let (from, to) = (at * COLUMNS, ((at + 1) * COLUMNS).min(size));
        // SAFETY: the tasks' columns are disjoint.
        unsafe { out.write(from, a, b.columns(from, to)) }
    });
}

/// A matrix, row after row, of which several tasks write columns of their own.
struct Shared<'a, T> {
    start: *mut T,
    rows: usize,
    cols: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: `Shared` stands for a mutable slice of numbers; whoever calls `write` keeps the tasks apart.
unsafe impl<T: Real> Sync for Shared<'_, T> {}

impl<'a, T: Real> Shared<'a, T> {
    fn new(out: &'a mut [T], rows: usize, cols: usize) -> Self {
        assert_eq!(out.len(), rows * cols, "size of a product");
        Self { start: out.as_mut_ptr(), rows, cols, borrowed: PhantomData }
    }

    /// Writes `a b` to the columns from `first` on.
    ///
    /// # Safety
    /// No other call writes the same columns at the same time.
    unsafe fn write(&self, first: usize, a: Matrix<'_, T>, b: Matrix<'_, T>) {
        assert!(a.rows == self.rows && first + b.cols <= self.cols, "columns of a product");
        if a.rows == 0 || b.cols == 0 {
            return;
        }
        // SAFETY: the first entry lies within the slice, and so do a.rows rows of b.cols values at the
        // distance of a whole row; they are the caller's alone.
        unsafe { run(self.start.add(first), self.cols, a, b, false) }
    }
}

/// `out += a b`, otherwise as [`product`].
///
/// # Panics
/// If the shapes do not fit.
pub fn add_product<T: Real>(out: &mut [T], a: Matrix<'_, T>, b: Matrix<'_, T>) {
    assert_eq!(out.len(), a.rows * b.cols, "size of a product");
    // SAFETY: as in `product`.
    unsafe { run(out.as_mut_ptr(), b.cols, a, b, true) }
}

/// Writes rows of `b.cols` values, `stride` apart.
///
/// # Safety
/// From `out` on, the first `b.cols` of each of `a.rows` rows of `stride` values are the caller's to write.
unsafe fn run<T: Real>(
    out: *mut T,
    stride: usize,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    accumulate: bool,
) {
    assert_eq!(a.cols, b.rows, "inner sizes of a product");
    assert!(b.cols <= stride, "size of a product");
    #[cfg(target_arch = "x86_64")]
    if let (Some(a), Some(b)) = (a.as_f32(), b.as_f32())
        && tiles::pays(a, b)
    {
        // SAFETY: the processor's feature was detected just now; sizes were checked above, and the room is
        // the caller's word. T is f32, since the factors are.
        return unsafe { tiles::product(out.cast(), stride, a, b, accumulate) };
    }
    // SAFETY: `Matrix::new` ties rows, cols and strides to the slice's length, `transposed` only swaps
    // them, `rows_from` and `columns` leave out leading lines with what lies before them and trailing ones,
    // so every index row * row_stride + col * col_stride that gemm reads lies inside its slice; what is
    // written is the caller's and so overlaps neither. T is f32 or f64 since `Real` is sealed, both of
    // which gemm supports.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out,
            1,
            stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
        let mut out = vec![0.0; m * n];
        for (i, row) in out.chunks_mut(n).enumerate() {
            for (j, value) in row.iter_mut().enumerate() {
                *value = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
            }
        }
        out
    }

    fn transpose(a: &[f64], rows: usize, cols: usize) -> Vec<f64> {
        (0..rows * cols).map(|i| a[(i % rows) * cols + i / rows]).collect()
    }

    #[test]
    fn products_agree_with_plain_loops_in_every_orientation() {
        for (m, k, n) in [(1, 1, 1), (1, 7, 5), (3, 4, 2), (17, 33, 9), (64, 50, 31)] {
            // Small integers: every order of additions gives the same exact sum.
            let a: Vec<f64> = (0..m * k).map(|i| ((i * 7) % 11) as f64 - 5.0).collect();
            let b: Vec<f64> = (0..k * n).map(|i| ((i * 5) % 13) as f64 - 6.0).collect();
            let expected = plain(&a, &b, m, k, n);
            let (at, bt) = (transpose(&a, m, k), transpose(&b, k, n));
            let views = [
                (Matrix::new(&a, m, k), Matrix::new(&b, k, n)),
                (Matrix::new(&at, k, m).transposed(), Matrix::new(&b, k, n)),
                (Matrix::new(&a, m, k), Matrix::new(&bt, n, k).transposed()),
                (Matrix::new(&at, k, m).transposed(), Matrix::new(&bt, n, k).transposed()),
            ];
            for (a, b) in views {
                let mut out = vec![f64::NAN; m * n];
                product(&mut out, a, b);
                assert_eq!(out, expected, "{m} x {k} x {n}");
                add_product(&mut out, a, b);
                assert_eq!(out, expected.iter().map(|v| 2.0 * v).collect::<Vec<_>>());
            }
        }
    }

    /// In both orientations of `a`, small integers, so that every order of additions gives the same sum.
    fn assert_divided_is_whole<T: Real>(rows: usize, k: usize, n: usize) {
        let numbers = |len: usize, step: usize| -> Vec<T> {
            (0..len).map(|i| T::from_f64(((i * step) % 11) as f64 - 5.0)).collect()
        };
        let (a, b) = (numbers(rows * k, 7), numbers(k * n, 5));
        let b = Matrix::new(&b, n, k).transposed();
        for a in [Matrix::new(&a, rows, k), Matrix::new(&a, k, rows).transposed()] {
            let mut whole = vec![T::ZERO; rows * n];
            let mut divided = vec![T::from_f64(f64::NAN); rows * n];
            product(&mut whole, a, b);
            divided_product(&mut divided, a, b);
            assert_eq!(whole, divided, "{rows} x {k} x {n}");
        }
    }

    #[test]
    fn divided_products_are_whole_products() {
        for (rows, k, n) in [(511, 300, 127), (512, 600, 128), (700, 300, 255), (64, 600, 1000)] {
            assert_divided_is_whole::<f64>(rows, k, n);
            assert_divided_is_whole::<f32>(rows, k, n);
        }
    }

    #[test]
    #[should_panic(expected = "inner sizes")]
    fn shapes_that_do_not_fit_are_refused_before_any_pointer_is_read() {
        let mut out = [0.0f32; 4];
        product(&mut out, Matrix::new(&[1.0; 4], 2, 2), Matrix::new(&[1.0; 6], 3, 2));
    }
}

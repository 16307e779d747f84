//! Matrix products, the one place of this crate with unsafe code.
//!
//! The `gemm` crate is two to four times faster than nalgebra's product on the skinny shapes of
//! small batches (32 x 784 x 128: 105 against 25 GFLOP/s on one core) and takes any strides, so that
//! no transposed copy is made; its interface is a raw pointer. The wrapper checks every bound first.
#![allow(unsafe_code)]

use std::any::TypeId;
use std::marker::PhantomData;

use rayon::prelude::*;

/// A number type that products and kernels are compiled for: `f32` or `f64`.
pub trait Real:
    Copy + Send + Sync + PartialEq + PartialOrd + std::fmt::Debug + sealed::Sealed + 'static
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Rounded from f64.
    fn from_f64(value: f64) -> Self;
    /// Widened to f64.
    fn to_f64(self) -> f64;
    /// The product, rounded once.
    #[must_use]
    fn times(self, other: Self) -> Self;
    /// The sum, rounded once.
    #[must_use]
    fn plus(self, other: Self) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn times(self, other: Self) -> Self {
        self * other
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn times(self, other: Self) -> Self {
        self * other
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
}

/// A matrix in a slice: `rows x cols`, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// `rows x cols`, row after row.
    ///
    /// # Panics
    /// If the slice does not hold exactly `rows * cols` values: a shape error in the caller's code,
    /// never the consequence of data.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert_eq!(
            data.len(),
            rows * cols,
            "a {rows} x {cols} matrix needs {} values",
            rows * cols
        );
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The transposed matrix, without moving a value.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    /// Rows `from ..`.
    fn rows_from(self, from: usize) -> Self {
        assert!(from <= self.rows, "rows of a matrix");
        // Of no rows nothing is read; their start may lie past the end.
        let start = (from * self.row_stride).min(self.data.len());
        Self { data: &self.data[start..], rows: self.rows - from, ..self }
    }

    /// Columns `from .. to`.
    fn columns(self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.cols, "columns of a matrix");
        let from_there = self.transposed().rows_from(from).transposed();
        Self { cols: to - from, ..from_there }
    }
}

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
const COLUMNS: usize = 64;

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
        unsafe { out.write(0, from, a, b.columns(from, to)) }
    });
}

/// Columns of a Gram that one task calculates: as much as lies above the diagonal is wasted.
const GRAM_COLUMNS: usize = 48;

/// The products of the rows of `a` with each other, `rows x rows` in `out`, whose entries above the
/// diagonal are left undefined; on rayon's pool and divided as [`divided_product`].
pub(crate) fn gram<T: Real>(out: &mut Vec<T>, a: Matrix<'_, T>) {
    let size = a.rows;
    out.resize(size * size, T::ZERO);
    if size < 4 * GRAM_COLUMNS {
        return product(out, a, a.transposed());
    }
    let out = Shared::new(out, size, size);
    // Long columns first, so that no thread is left with one at the end.
    (0..size.div_ceil(GRAM_COLUMNS)).into_par_iter().with_max_len(1).for_each(|at| {
        let (from, to) = (at * GRAM_COLUMNS, ((at + 1) * GRAM_COLUMNS).min(size));
        // SAFETY: the tasks' columns are disjoint.
        unsafe { out.write(from, from, a.rows_from(from), a.transposed().columns(from, to)) }
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

    /// Writes `a b` to the block whose first entry is (`row`, `col`).
    ///
    /// # Safety
    /// No other call writes the same entries at the same time.
    unsafe fn write(&self, row: usize, col: usize, a: Matrix<'_, T>, b: Matrix<'_, T>) {
        assert!(row + a.rows <= self.rows && col + b.cols <= self.cols, "block of a product");
        if a.rows == 0 || b.cols == 0 {
            return;
        }
        // SAFETY: the block's first entry lies within the slice, and so do its a.rows rows of b.cols values
        // at the distance of a whole row; it is the caller's alone.
        unsafe { run(self.start.add(row * self.cols + col), self.cols, a, b, false) }
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
    debug_assert!(
        TypeId::of::<T>() == TypeId::of::<f32>() || TypeId::of::<T>() == TypeId::of::<f64>()
    );
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

    #[test]
    fn divided_products_are_whole_products() {
        for (rows, k, n) in [(511, 300, 127), (512, 600, 128), (700, 300, 255), (64, 600, 1000)] {
            let a: Vec<f64> = (0..rows * k).map(|i| ((i * 7) % 11) as f64 - 5.0).collect();
            let b: Vec<f64> = (0..k * n).map(|i| ((i * 5) % 13) as f64 - 6.0).collect();
            let (a, b) = (Matrix::new(&a, rows, k), Matrix::new(&b, n, k).transposed());
            let (mut whole, mut divided) = (vec![0.0; rows * n], vec![f64::NAN; rows * n]);
            product(&mut whole, a, b);
            divided_product(&mut divided, a, b);
            assert_eq!(whole, divided);
            let a = Matrix::new(a.data, k, rows).transposed();
            product(&mut whole, a, b);
            divided_product(&mut divided, a, b);
            assert_eq!(whole, divided, "transposed");
        }
    }

    #[test]
    fn grams_hold_the_lower_triangle() {
        for (size, n) in [(1, 3), (5, 2), (255, 9), (256, 9), (300, 70), (513, 3)] {
            let a: Vec<f64> = (0..size * n).map(|i| ((i * 7) % 11) as f64 - 5.0).collect();
            let rows = Matrix::new(&a, size, n);
            let (mut whole, mut lower) = (vec![0.0; size * size], vec![f64::NAN; 3]);
            product(&mut whole, rows, rows.transposed());
            for rows in [rows, Matrix::new(&transposed(&a, size, n), n, size).transposed()] {
                gram(&mut lower, rows);
                for i in 0..size {
                    let row = i * size..=i * size + i;
                    assert_eq!(lower[row.clone()], whole[row], "row {i} of {size}");
                }
            }
        }
    }

    fn transposed(a: &[f64], rows: usize, cols: usize) -> Vec<f64> {
        (0..rows * cols).map(|at| a[at % rows * cols + at / rows]).collect()
    }

    #[test]
    #[should_panic(expected = "inner sizes")]
    fn shapes_that_do_not_fit_are_refused_before_any_pointer_is_read() {
        let mut out = [0.0f32; 4];
        product(&mut out, Matrix::new(&[1.0; 4], 2, 2), Matrix::new(&[1.0; 6], 3, 2));
    }
}

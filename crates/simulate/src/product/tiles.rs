//! Products of f32 by AVX-512, in tiles of 12 x 32 sums that stay in registers.
//!
//! The right factor is copied in panels of 32 columns and up to 1024 rows, 128 KiB, which stay in the second
//! cache while the left factor passes by; of the left one numbers are read where they lie, along twelve
//! rows at a time. `cargo bench --bench propagation` has 216 GFLOP/s of 1000 x 1000 on two Zen 4 cores at 3.7 GHz,
//! of which 237 are the most; `gemm` reached 205 in the example `dense`.
//!
//! Every number is the sum of its terms in their order, each added by one fused multiplication and addition,
//! so its bits do not depend on how a product is divided.

use std::arch::x86_64::{
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_storeu_ps,
};

use super::{Matrix, transpose};

const LANES: usize = 16;

/// Columns of a panel.
const PANEL: usize = 2 * LANES;

/// Rows of a panel.
const INNER: usize = 1024;

/// Rows of a tile.
const ROWS: usize = 12;

/// Whether a product of these sizes is faster here, by measurement: columns must fill a vector, and rows be
/// enough to pay for the panels, which `gemm` does without where the right factor's rows lie in memory.
pub(super) fn pays(a: Matrix<'_, f32>, b: Matrix<'_, f32>) -> bool {
    let rows = if b.col_stride == 1 { 64 } else { 8 };
    a.rows >= rows && a.cols >= 8 && b.cols >= LANES && is_x86_feature_detected!("avx512f")
}

/// `out = a b` or `out += a b`.
///
/// # Safety
/// The processor must have AVX-512F. `a.cols` must be `b.rows`, and from `out` on the first `b.cols` of each
/// of `a.rows` rows of `stride` numbers must be the caller's to write.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn product(
    out: *mut f32,
    stride: usize,
    a: Matrix<'_, f32>,
    b: Matrix<'_, f32>,
    accumulate: bool,
) {
    let mut panel = vec![0.0f32; a.cols.min(INNER) * PANEL];
    for first in (0..b.cols).step_by(PANEL) {
        let columns = b.columns(first, (first + PANEL).min(b.cols));
        for from in (0..a.cols).step_by(INNER) {
            let to = (from + INNER).min(a.cols);
            pack(&mut panel, columns.rows_from(from), to - from);
            let target = Target { stride, width: columns.cols, kept: accumulate || from > 0 };
            let left = a.columns(from, to);
            // SAFETY: the panel holds the rows from..to of columns that begin at `first`, which `out`
            // has room for.
            unsafe {
                let out = out.add(first);
                if columns.cols == PANEL {
                    rows::<2, false>(left, &panel, out, target);
                } else if columns.cols > LANES {
                    rows::<2, true>(left, &panel, out, target);
                } else {
                    rows::<1, true>(left, &panel, out, target);
                }
            }
        }
    }
}

/// Where sums go to.
#[derive(Clone, Copy)]
struct Target {
    stride: usize,
    /// Columns, as many as a panel's or fewer.
    width: usize,
    /// Whether what is there is added to.
    kept: bool,
}

/// Copies the first `inner` rows of `b`, at most a panel's columns.
fn pack(panel: &mut [f32], b: Matrix<'_, f32>, inner: usize) {
    if b.col_stride == 1 {
        for (row, k) in panel.as_chunks_mut::<PANEL>().0.iter_mut().zip(0..inner) {
            let from = &b.data[k * b.row_stride..];
            match from.first_chunk::<PANEL>() {
                Some(from) if b.cols == PANEL => *row = *from,
                _ => row[..b.cols].copy_from_slice(&from[..b.cols]),
            }
        }
    } else {
        transpose(panel, PANEL, b.transposed().columns(0, inner));
    }
}

/// All rows of the left factor along one panel, whose last vector is not filled if `PART`.
///
/// # Safety
/// As [`product`]; the panel must hold `left.cols` rows.
#[target_feature(enable = "avx512f")]
unsafe fn rows<const VECTORS: usize, const PART: bool>(
    left: Matrix<'_, f32>,
    panel: &[f32],
    out: *mut f32,
    target: Target,
) {
    let mut i = 0;
    while i < left.rows {
        let left = left.rows_from(i);
        // SAFETY: a tile's rows are among those of `left` that remain.
        unsafe {
            let out = out.add(i * target.stride);
            match left.rows {
                ROWS.. => {
                    tile::<ROWS, VECTORS, PART>(left, panel, out, target);
                    i += ROWS;
                }
                4.. => {
                    tile::<4, VECTORS, PART>(left, panel, out, target);
                    i += 4;
                }
                _ => {
                    tile::<1, VECTORS, PART>(left, panel, out, target);
                    i += 1;
                }
            }
        }
    }
}

/// # Safety
/// As [`rows`], of the first `R` rows.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn tile<const R: usize, const VECTORS: usize, const PART: bool>(
    left: Matrix<'_, f32>,
    panel: &[f32],
    out: *mut f32,
    target: Target,
) {
    let last = u16::MAX >> (VECTORS * LANES - target.width);
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; R];
    // SAFETY: columns are below `target.width`, for which the mask stands in the last vector; rows are
    // below R and k below left.cols, so that every index lies in its matrix.
    unsafe {
        if target.kept {
            for r in 0..R {
                for j in 0..VECTORS {
                    let place = out.add(r * target.stride + j * LANES);
                    sums[r][j] = if PART && j + 1 == VECTORS {
                        _mm512_maskz_loadu_ps(last, place)
                    } else {
                        _mm512_loadu_ps(place)
                    };
                }
            }
        }
        let (row, column) = (left.row_stride, left.col_stride);
        let (left_values, right) = (left.data.as_ptr(), panel.as_ptr());
        for k in 0..left.cols {
            let mut b = [_mm512_setzero_ps(); VECTORS];
            for j in 0..VECTORS {
                b[j] = _mm512_loadu_ps(right.add(k * PANEL + j * LANES));
            }
            for r in 0..R {
                let a = _mm512_set1_ps(*left_values.add(r * row + k * column));
                for j in 0..VECTORS {
                    sums[r][j] = _mm512_fmadd_ps(a, b[j], sums[r][j]);
                }
            }
        }
        for r in 0..R {
            for j in 0..VECTORS {
                let place = out.add(r * target.stride + j * LANES);
                if PART && j + 1 == VECTORS {
                    _mm512_mask_storeu_ps(place, last, sums[r][j]);
                } else {
                    _mm512_storeu_ps(place, sums[r][j]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        let number = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32;
        (0..n as u32).map(|i| number(i) / 8_388_608.0 - 1.0).collect()
    }

    /// The safe twin.
    fn plain(out: &mut [f32], a: Matrix<'_, f32>, b: Matrix<'_, f32>) {
        for (i, row) in out.chunks_exact_mut(b.cols).enumerate() {
            for (j, sum) in row.iter_mut().enumerate() {
                for k in 0..a.cols {
                    let left = a.data[i * a.row_stride + k * a.col_stride];
                    let right = b.data[k * b.row_stride + j * b.col_stride];
                    *sum = left.mul_add(right, *sum);
                }
            }
        }
    }

    #[test]
    fn tiles_give_the_bits_of_plain_loops() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        // Whole and partial tiles, vectors and panels, inner sizes on both sides of a panel's.
        for (m, k, n) in [(1, 1, 1), (12, 7, 32), (29, 40, 70), (5, 1030, 17), (40, 2050, 49)] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let (mut across_a, mut across_b) = (vec![0.0; m * k], vec![0.0; k * n]);
            transpose(&mut across_a, m, Matrix::new(&a, m, k));
            transpose(&mut across_b, k, Matrix::new(&b, k, n));
            let lefts = [Matrix::new(&a, m, k), Matrix::new(&across_a, k, m).transposed()];
            let rights = [Matrix::new(&b, k, n), Matrix::new(&across_b, n, k).transposed()];
            for (a, b) in lefts.into_iter().flat_map(|a| rights.map(|b| (a, b))) {
                for accumulate in [false, true] {
                    let start = if accumulate { values(m * n, 3) } else { vec![0.0; m * n] };
                    let mut expected = start.clone();
                    plain(&mut expected, a, b);
                    // What lies between the rows must stay.
                    let stride = n + 3;
                    let mut out = vec![-7.0; m * stride];
                    for (row, start) in out.chunks_exact_mut(stride).zip(start.chunks_exact(n)) {
                        if accumulate {
                            row[..n].copy_from_slice(start);
                        }
                    }
                    // SAFETY: the feature was detected; `out` has m rows of n numbers and more.
                    unsafe { product(out.as_mut_ptr(), stride, a, b, accumulate) };
                    for (row, expected) in out.chunks_exact(stride).zip(expected.chunks_exact(n)) {
                        assert_eq!(row[..n], *expected, "{m} x {k} x {n}");
                        assert_eq!(row[n..], [-7.0; 3], "{m} x {k} x {n}");
                    }
                }
            }
        }
    }
}

//! Small factors of Gram matrices, row after row in f64.

/// A triangular factor of a positive semidefinite matrix, `gram = L L'`, as many columns as it has
/// rank.
#[derive(Clone, Debug, Default)]
pub(crate) struct Factor {
    /// Rows of `lower`.
    size: usize,
    /// The independent rows, in the order in which they were taken.
    pub(crate) pivots: Vec<usize>,
    /// `size x rank`; its pivot rows are lower triangular in the order of the pivots.
    pub(crate) lower: Vec<f64>,
}

impl Factor {
    /// Cholesky's factor, always taking the row with the largest residual relative to its own square,
    /// until that is below `tolerance` or the rank is `max_rank`.
    ///
    /// Relative to the largest square instead, a short row would be lost behind a long one. Rows of
    /// zeros have no direction and are never taken. A matrix with a value that is not finite has the
    /// rank 1 and a factor of NaN.
    pub(crate) fn of(gram: &[f64], size: usize, max_rank: usize, tolerance: f64) -> Self {
        let most = max_rank.min(size);
        if !gram.iter().all(|v| v.is_finite()) {
            return Self { size, pivots: vec![0], lower: vec![f64::NAN; size] };
        }
        let diagonal = |i: usize| gram[i * size + i];
        // Small ones, of which deep networks have many, need no memory of their own.
        let (mut few, mut many) = ([0.0; 32], Vec::new());
        let work = if size * (most + 1) <= few.len() {
            &mut few[..]
        } else {
            many.resize(size * (most + 1), 0.0);
            &mut many
        };
        // Column after column, and what is left of the diagonal: -inf where a row is taken.
        let (residual, columns) = work.split_at_mut(size);
        residual.iter_mut().enumerate().for_each(|(i, r)| *r = diagonal(i));
        let mut pivots: Vec<usize> = Vec::with_capacity(most);
        while pivots.len() < most {
            let mut best = (tolerance, usize::MAX);
            for i in 0..size {
                let share = residual[i] / diagonal(i);
                if diagonal(i) > 0.0 && share > best.0 {
                    best = (share, i);
                }
            }
            let pivot = best.1;
            if pivot == usize::MAX {
                break;
            }
            let rank = pivots.len();
            let (before, column) = columns[..(rank + 1) * size].split_at_mut(rank * size);
            column.copy_from_slice(&gram[pivot * size..(pivot + 1) * size]);
            for earlier in before.chunks_exact(size) {
                let along = earlier[pivot];
                for (c, e) in column.iter_mut().zip(earlier) {
                    *c -= along * e;
                }
            }
            let root = residual[pivot].sqrt();
            for i in 0..size {
                column[i] = if residual[i] == f64::NEG_INFINITY { 0.0 } else { column[i] / root };
                residual[i] -= column[i] * column[i];
            }
            column[pivot] = root;
            residual[pivot] = f64::NEG_INFINITY;
            pivots.push(pivot);
        }
        let rank = pivots.len();
        let mut lower = vec![0.0; size * rank];
        for (k, column) in columns.chunks_exact(size.max(1)).take(rank).enumerate() {
            for (i, &value) in column.iter().enumerate() {
                lower[i * rank + k] = value;
            }
        }
        Self { size, pivots, lower }
    }

    /// Cholesky's factor in the order of the rows, for the Gram of normals: of full rank but for draws
    /// that f32 makes possible, two zeros say, whose pivot is then a tiny number instead of zero.
    pub(crate) fn triangular(gram: &[f64], size: usize) -> Self {
        let mut lower = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let (before, here) = lower.split_at(i * size);
                let rows = if i == j { here } else { &before[j * size..] };
                let along: f64 = here[..j].iter().zip(rows).map(|(a, b)| a * b).sum();
                let rest = gram[i * size + j] - along;
                lower[i * size + j] = if i == j {
                    rest.max(f64::EPSILON * f64::EPSILON * gram[i * size + i])
                        .max(f64::MIN_POSITIVE)
                        .sqrt()
                } else {
                    rest / lower[j * size + j]
                };
            }
        }
        Self { size, pivots: (0..size).collect(), lower }
    }

    pub(crate) fn rank(&self) -> usize {
        self.pivots.len()
    }

    fn pivot_row(&self, k: usize) -> &[f64] {
        let (row, rank) = (self.pivots[k], self.rank());
        &self.lower[row * rank..(row + 1) * rank]
    }

    /// `rhs = C^-1 rhs` for the triangle C of the pivot rows; `rhs` is `rank x columns`.
    pub(crate) fn solve(&self, rhs: &mut [f64], columns: usize) {
        if columns == 0 {
            return;
        }
        for k in 0..self.rank() {
            let row = self.pivot_row(k);
            let (above, rest) = rhs.split_at_mut(k * columns);
            let here = &mut rest[..columns];
            for (m, earlier) in above.chunks_exact(columns).enumerate() {
                let c = row[m];
                for (h, e) in here.iter_mut().zip(earlier) {
                    *h -= c * e;
                }
            }
            here.iter_mut().for_each(|h| *h /= row[k]);
        }
    }

    /// `rhs = C'^-1 rhs`.
    pub(crate) fn solve_transposed(&self, rhs: &mut [f64], columns: usize) {
        if columns == 0 {
            return;
        }
        for k in (0..self.rank()).rev() {
            let (above, rest) = rhs.split_at_mut(k * columns);
            let here = &mut rest[..columns];
            let row = self.pivot_row(k);
            here.iter_mut().for_each(|h| *h /= row[k]);
            for (m, earlier) in above.chunks_exact_mut(columns).enumerate() {
                let c = row[m];
                for (e, h) in earlier.iter_mut().zip(here.iter()) {
                    *e -= c * h;
                }
            }
        }
    }

    /// `rows = rows C^-1`; `rows` is `count x rank`.
    pub(crate) fn solve_right(&self, rows: &mut [f64]) {
        let rank = self.rank();
        if rank == 0 {
            return;
        }
        for row in rows.chunks_exact_mut(rank) {
            for k in (0..rank).rev() {
                let c = self.pivot_row(k);
                row[k] /= c[k];
                let value = row[k];
                for m in 0..k {
                    row[m] -= value * c[m];
                }
            }
        }
    }

    /// From `rank x columns` by pivots to `size x columns` by rows, zero elsewhere.
    pub(crate) fn spread(&self, by_pivot: &[f64], columns: usize) -> Vec<f64> {
        let mut out = vec![0.0; self.size * columns];
        for (&pivot, row) in self.pivots.iter().zip(by_pivot.chunks_exact(columns.max(1))) {
            out[pivot * columns..(pivot + 1) * columns].copy_from_slice(row);
        }
        out
    }

    /// The rows of `size x columns` that are pivots, in their order.
    pub(crate) fn gather(&self, by_row: &[f64], columns: usize) -> Vec<f64> {
        self.pivots
            .iter()
            .flat_map(|&pivot| &by_row[pivot * columns..(pivot + 1) * columns])
            .copied()
            .collect()
    }
}

/// `out -= a' b`, `a` being `inner x rows` and `b` `inner x columns`.
pub(crate) fn subtract_transposed(out: &mut [f64], a: &[f64], b: &[f64], inner: usize) {
    if inner == 0 {
        return;
    }
    let (rows, columns) = (a.len() / inner, b.len() / inner);
    for k in 0..inner {
        let b = &b[k * columns..(k + 1) * columns];
        for r in 0..rows {
            let c = a[k * rows + r];
            for (o, b) in out[r * columns..(r + 1) * columns].iter_mut().zip(b) {
                *o -= c * b;
            }
        }
    }
}

/// `rows x columns` turned into `columns x rows`.
pub(crate) fn transpose(matrix: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    let mut out = vec![0.0; rows * columns];
    for r in 0..rows {
        for c in 0..columns {
            out[c * rows + r] = matrix[r * columns + c];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(h: &[f64], size: usize) -> Vec<f64> {
        let n = h.len() / size;
        (0..size * size)
            .map(|at| (0..n).map(|i| h[at / size * n + i] * h[at % size * n + i]).sum())
            .collect()
    }

    fn product(a: &[f64], b: &[f64], inner: usize) -> Vec<f64> {
        let mut out = vec![0.0; a.len() / inner * (b.len() / inner)];
        subtract_transposed(&mut out, &transpose(a, a.len() / inner, inner), b, inner);
        out.iter().map(|v| -v).collect()
    }

    /// Five vectors of eight numbers: one zero, one the sum of two others, one a million times shorter.
    fn vectors() -> Vec<f64> {
        let base = |j: usize, i: usize| ((j * j * 31 + i * i * (j + 17)) as f64 * 0.37).sin();
        let mut h = Vec::new();
        for j in 0..5 {
            for i in 0..8 {
                h.push(match j {
                    1 => 0.0,
                    3 => base(0, i) + base(2, i),
                    4 => 1e-6 * base(4, i),
                    _ => base(j, i),
                });
            }
        }
        h
    }

    #[test]
    fn deficient_matrices_are_rebuilt_from_their_rank() {
        let k = gram(&vectors(), 5);
        let factor = Factor::of(&k, 5, 5, 1e-13);
        assert_eq!(factor.rank(), 3);
        assert!(!factor.pivots.contains(&1) && factor.pivots.contains(&4));
        let rebuilt = product(&factor.lower, &transpose(&factor.lower, 5, 3), 3);
        for (at, (a, b)) in rebuilt.iter().zip(&k).enumerate() {
            let scale = (k[at / 5 * 6] * k[at % 5 * 6]).sqrt();
            assert!((a - b).abs() <= 1e-14 * scale, "{at}: {a} against {b}");
        }
    }

    #[test]
    fn solves_undo_the_triangle_of_the_pivots() {
        let k = gram(&vectors(), 5);
        let factor = Factor::of(&k, 5, 5, 1e-13);
        let c = factor.gather(&factor.lower, 3);
        let rhs = [1.0, -2.0, 0.5, 3.0, 1.5, -1.0];
        let close = |a: &[f64], b: &[f64]| {
            a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9 * (1.0 + b.abs()))
        };
        let mut x = rhs.to_vec();
        factor.solve(&mut x, 2);
        assert!(close(&product(&c, &x, 3), &rhs));
        let mut x = rhs.to_vec();
        factor.solve_transposed(&mut x, 2);
        assert!(close(&product(&transpose(&c, 3, 3), &x, 3), &rhs));
        let mut x = rhs.to_vec();
        factor.solve_right(&mut x);
        assert!(close(&product(&x, &c, 3), &rhs));
    }

    #[test]
    fn what_is_not_finite_or_has_no_direction_is_marked() {
        let broken = Factor::of(&[1.0, f64::INFINITY, f64::INFINITY, 1.0], 2, 2, 1e-13);
        assert!(broken.rank() == 1 && broken.lower.iter().all(|v| v.is_nan()));
        let zero = Factor::of(&[0.0; 4], 2, 2, 1e-13);
        assert!(zero.rank() == 0 && zero.lower.is_empty());
        assert_eq!(Factor::of(&[1.0, 0.0, 0.0, 1.0], 2, 1, 1e-13).rank(), 1);
        assert_eq!(zero.spread(&[], 3), [0.0; 6]);
    }
}

use super::Real;

/// A matrix in a slice: `rows x cols`, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    pub(super) data: &'a [T],
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl<'a, T: Real> Matrix<'a, T> {
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
    pub(super) fn rows_from(self, from: usize) -> Self {
        assert!(from <= self.rows, "rows of a matrix");
        // Of no rows nothing is read; their start may lie past the end.
        let start = (from * self.row_stride).min(self.data.len());
        Self { data: &self.data[start..], rows: self.rows - from, ..self }
    }

    /// Columns `from .. to`.
    pub(super) fn columns(self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.cols, "columns of a matrix");
        let from_there = self.transposed().rows_from(from).transposed();
        Self { cols: to - from, ..from_there }
    }

    /// Itself, if its numbers are f32.
    pub(super) fn as_f32(self) -> Option<Matrix<'a, f32>> {
        let Self { data, rows, cols, row_stride, col_stride } = self;
        T::as_f32(data).map(|data| Matrix { data, rows, cols, row_stride, col_stride })
    }
}

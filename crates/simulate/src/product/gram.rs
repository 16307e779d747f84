use rayon::prelude::*;

use super::{DIVIDED, Matrix, Real, product};
use crate::inputs::scaled_dot;

/// Columns of a panel, which one task calculates.
const PANEL: usize = 32;

/// The products of a matrix' rows with each other, K = A A', as far as they differ.
///
/// Panel p holds the columns from 32 p on, 32 or what is left, row after row, from row 32 p down: a square
/// on the diagonal and what lies below it.
pub(crate) struct Gram<T> {
    size: usize,
    values: Vec<T>,
}

impl<T: Real> Gram<T> {
    /// Of the rows of `a`, on rayon's pool if it is large, in `memory`.
    pub(crate) fn of(a: Matrix<'_, T>, mut memory: Vec<T>) -> Self {
        let size = a.rows;
        let length = Self::numbers(size);
        if memory.is_empty() {
            // Zeros of the system's, which take no time before they are written over.
            memory = vec![T::ZERO; length];
        } else {
            memory.resize(length, T::ZERO);
        }
        let mut rest = memory.as_mut_slice();
        let mut tasks = Vec::with_capacity(size.div_ceil(PANEL));
        for panel in panels(size) {
            let (values, others) = rest.split_at_mut(panel.rows * panel.columns);
            tasks.push((panel.first, values));
            rest = others;
        }
        let calculate = |(first, values): (usize, &mut [T])| {
            let columns = a.transposed().columns(first, (first + PANEL).min(size));
            product(values, a.rows_from(first), columns);
        };
        if size * size * a.cols / 2 < DIVIDED {
            tasks.into_iter().for_each(calculate);
        } else {
            tasks.into_par_iter().with_max_len(1).for_each(calculate);
        }
        Self { size, values: memory }
    }

    /// Numbers that are kept of a Gram of `size` rows.
    pub(crate) fn numbers(size: usize) -> usize {
        panels(size).map(|p| p.rows * p.columns).sum()
    }

    /// Its memory, for another.
    pub(crate) fn into_memory(self) -> Vec<T> {
        self.values
    }

    /// tr K.
    pub(crate) fn trace(&self) -> f64 {
        let diagonal = |(panel, values): (Panel, &[T])| -> f64 {
            values.iter().step_by(panel.columns + 1).take(panel.columns).map(|v| v.to_f64()).sum()
        };
        self.panels().into_iter().map(diagonal).sum()
    }

    /// `<scale K, scale L>`, the sum of the products of all entries.
    ///
    /// # Panics
    /// If the sizes differ.
    pub(crate) fn dot(&self, other: &Self, scale: f64) -> f64 {
        assert_eq!(self.size, other.size, "sizes of two Grams");
        let of_panel = |((panel, a), (_, b)): ((Panel, &[T]), (Panel, &[T]))| -> f64 {
            let square = panel.columns * panel.columns;
            scaled_dot(&a[..square], &b[..square], scale)
                + 2.0 * scaled_dot(&a[square..], &b[square..], scale)
        };
        let pairs: Vec<_> = self.panels().into_iter().zip(other.panels()).collect();
        if self.values.len() < 1 << 15 {
            pairs.into_iter().map(of_panel).sum()
        } else {
            pairs.into_par_iter().map(of_panel).collect::<Vec<_>>().iter().sum()
        }
    }

    fn panels(&self) -> Vec<(Panel, &[T])> {
        let mut rest = self.values.as_slice();
        let of = |panel: Panel| {
            let (values, others) = rest.split_at(panel.rows * panel.columns);
            rest = others;
            (panel, values)
        };
        panels(self.size).map(of).collect()
    }
}

struct Panel {
    first: usize,
    rows: usize,
    columns: usize,
}

fn panels(size: usize) -> impl Iterator<Item = Panel> {
    (0..size).step_by(PANEL).map(move |first| {
        let rows = size - first;
        Panel { first, rows, columns: rows.min(PANEL) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_and_products_are_those_of_the_whole_matrices() {
        for (size, n) in [(1, 3), (5, 2), (32, 9), (33, 9), (255, 9), (300, 900), (513, 3)] {
            // Small integers: every order of additions gives the same exact sum.
            let values = |step: usize| -> Vec<f64> {
                (0..size * n).map(|i| ((i * step + i / 7) % 11) as f64 - 5.0).collect()
            };
            let whole = |a: &[f64]| {
                let (mut out, rows) = (vec![0.0; size * size], Matrix::new(a, size, n));
                product(&mut out, rows, rows.transposed());
                out
            };
            let (a, b) = (values(7), values(5));
            let (k, l) = (whole(&a), whole(&b));
            let across: Vec<f64> = (0..size * n).map(|i| b[i % size * n + i / size]).collect();
            let of_a = Gram::of(Matrix::new(&a, size, n), Vec::new());
            let of_b =
                Gram::of(Matrix::new(&across, n, size).transposed(), vec![f64::NAN; 5 * size]);
            assert_eq!(of_a.trace(), (0..size).map(|i| k[i * size + i]).sum::<f64>());
            let expected: f64 = k.iter().zip(&l).map(|(k, l)| k * l).sum();
            assert_eq!(of_a.dot(&of_b, 1.0), expected, "{size} x {n}");
            assert_eq!(of_a.dot(&of_b, 0.5), expected / 4.0, "{size} x {n}");
        }
    }
}

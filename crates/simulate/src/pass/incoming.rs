use super::divided::{by_row, mean_squares};
use crate::inputs::sum_of_squares;
use crate::product::{Gram, divided_product};
use crate::{Matrix, Real};

/// What is noted of a dense layer's input, H (`batch x fan_in`), for the way back.
pub(super) struct Incoming<T> {
    /// Each input's mean square.
    pub(super) squares: Vec<f64>,
    /// None where the setup asks for no Grams.
    batch: Option<Kept<T>>,
}

/// What the norm of the whole batch's weight gradient, |D'H|, is calculated from.
enum Kept<T> {
    /// H H', `batch x batch`: |D'H|^2 = <D D', H H'>.
    Gram(Gram<T>),
    /// H itself, where D'H is the cheaper product.
    Signal(Vec<T>),
}

impl<T: Real> Incoming<T> {
    /// Also returns the effective rank; `scratch` is memory.
    pub(super) fn new(
        h: &[T],
        batch: usize,
        fan_out: usize,
        grams: bool,
        scratch: &mut Vec<T>,
    ) -> (Self, Option<f64>) {
        let squares = mean_squares(h, batch);
        if !grams {
            return (Self { squares, batch: None }, None);
        }
        let fan_in = h.len() / batch;
        let rows = Matrix::new(h, batch, fan_in);
        let (kept, rank) = if Self::keeps_gram(batch, fan_in, fan_out) {
            let gram = Gram::of(rows, Vec::new());
            let rank = effective_rank(&gram);
            (Kept::Gram(gram), rank)
        } else {
            // H'H has the eigenvalues of H H' and zeros.
            let smaller = if fan_in < batch { rows.transposed() } else { rows };
            let gram = Gram::of(smaller, std::mem::take(scratch));
            let rank = effective_rank(&gram);
            *scratch = gram.into_memory();
            (Kept::Signal(h.to_vec()), rank)
        };
        (Self { squares, batch: Some(kept) }, rank)
    }

    /// Whether two Grams, of which half is calculated, are cheaper than D'H and the one Gram that the
    /// effective rank takes.
    fn keeps_gram(batch: usize, fan_in: usize, fan_out: usize) -> bool {
        let (b, n, m) = (batch as f64, fan_in as f64, fan_out as f64);
        let rank = 0.5 * b * n * b.min(n);
        0.5 * b * b * (n + m) <= b * n * m + rank
    }

    /// Bytes that [`Self::new`] keeps with Grams.
    pub(super) fn bytes(batch: usize, fan_in: usize, fan_out: usize) -> usize {
        let gram = Self::keeps_gram(batch, fan_in, fan_out);
        let numbers = if gram { Gram::<T>::numbers(batch) } else { batch * fan_in };
        numbers * size_of::<T>()
    }

    /// Squared norm of the whole batch's weight gradient D'H; `scratch` is memory.
    pub(super) fn weight_gradient(
        &self,
        delta: &[T],
        batch: usize,
        scratch: &mut Vec<T>,
    ) -> Option<f64> {
        let fan_out = delta.len() / batch;
        let delta = Matrix::new(delta, batch, fan_out);
        Some(match self.batch.as_ref()? {
            Kept::Gram(of_input) => {
                let of_delta = Gram::of(delta, std::mem::take(scratch));
                let norm = of_delta.dot(of_input, 1.0);
                *scratch = of_delta.into_memory();
                norm
            }
            Kept::Signal(h) => {
                let fan_in = h.len() / batch;
                scratch.resize(fan_out * fan_in, T::ZERO);
                divided_product(scratch, delta.transposed(), Matrix::new(h, batch, fan_in));
                by_row(scratch, fan_in, sum_of_squares).iter().sum()
            }
        })
    }
}

/// The participation ratio of a Gram's eigenvalues, (tr K)^2 / tr K^2.
fn effective_rank<T: Real>(gram: &Gram<T>) -> Option<f64> {
    let trace = gram.trace();
    let squares = gram.dot(gram, 1.0 / trace);
    (trace > 0.0 && squares.is_finite()).then(|| 1.0 / squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_give_the_norm_of_the_product() {
        // Batches on both sides of the choice, small and divided ones; integers, so that f64 is exact.
        for (batch, n, m) in [(3, 7, 5), (40, 7, 5), (600, 40, 30), (300, 400, 420)] {
            let values = |len: usize, step: usize| -> Vec<f64> {
                (0..len).map(|i| ((i * step + i / 7) % 9) as f64 - 4.0).collect()
            };
            let (h, delta) = (values(batch * n, 5), values(batch * m, 7));
            let mut expected = 0.0;
            for o in 0..m {
                for i in 0..n {
                    let sum: f64 = (0..batch).map(|b| delta[b * m + o] * h[b * n + i]).sum();
                    expected += sum * sum;
                }
            }
            let mut scratch = vec![f64::NAN; 2];
            let (incoming, rank) = Incoming::new(&h, batch, m, true, &mut scratch);
            let gram = matches!(incoming.batch, Some(Kept::Gram(_)));
            assert_eq!(gram, batch == 3 || batch == 300, "{batch}");
            let found = incoming.weight_gradient(&delta, batch, &mut scratch).expect("asked for");
            assert_eq!(found, expected, "{batch} {n} {m}");
            // The trace of K over that of its square, from H H'.
            let k =
                |a: usize, b: usize| -> f64 { (0..n).map(|i| h[a * n + i] * h[b * n + i]).sum() };
            let trace: f64 = (0..batch).map(|a| k(a, a)).sum();
            let squares: f64 = (0..batch * batch).map(|at| k(at / batch, at % batch).powi(2)).sum();
            let rank = rank.expect("a signal");
            assert!((rank / (trace * trace / squares) - 1.0).abs() < 1e-12);
        }
    }
}

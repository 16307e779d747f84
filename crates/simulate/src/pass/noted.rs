//! What happens to a layer's signal between two products, in one pass: pieces of whole rows stay in the nearer
//! caches while everything that is noted is taken from them.

use gainstage_spec::Activation;
use gainstage_stats::Moments;
use rayon::prelude::*;

use super::divided::DIVIDED;
use super::slopes::{self, Slopes};
use super::{Compute, Stage};
use crate::inputs::{dot, sum_of_squares};
use crate::{Precision, kernel};

/// Of both passes.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) activation: &'a Activation,
    pub(super) width: usize,
    pub(super) precision: Precision,
    /// Whether the moments to the fourth are asked for.
    pub(super) moments: bool,
}

/// What is noted of pre-activations and activations.
#[derive(Default)]
pub(super) struct Forward {
    /// Mean square of every row before and after the activation.
    pub(super) squares: [Vec<f64>; 2],
    pub(super) moments: Option<[Moments; 2]>,
    /// Dot products of row 0 with 1, 2 with 3 and so on, before the activation.
    dots: Vec<f64>,
    /// By unit, whether any row has a slope there; nothing of an activation that has one everywhere.
    alive: Vec<bool>,
    saturated: Option<usize>,
}

impl Rows<'_> {
    /// Writes phi(z) to `h`, notes both except where they are passed again, and keeps the signs of z if
    /// there is room for them.
    pub(super) fn forward<T: Compute>(
        self,
        stage: Stage,
        z: &[T],
        h: &mut [T],
        signs: &mut [u64],
    ) -> Forward {
        let piece = self.piece(z.len());
        let mut signs = signs.chunks_mut(piece.div_ceil(64));
        let pieces: Vec<_> = z
            .chunks(piece)
            .zip(h.chunks_mut(piece))
            .map(|(z, h)| (z, h, signs.next().unwrap_or_default()))
            .collect();
        let work = |(z, h, signs): (&[T], &mut [T], &mut [u64])| {
            kernel::activate(self.activation, z, h);
            self.precision.round(h);
            slopes::write_signs(z, signs);
            if stage == Stage::Again { Forward::default() } else { self.note(z, h) }
        };
        in_order(pieces, work).into_iter().reduce(Forward::and).unwrap_or_default()
    }

    fn note<T: Compute>(self, z: &[T], h: &[T]) -> Forward {
        let mut alive = Vec::new();
        if kernel::can_die(self.activation) {
            alive.resize(self.width, false);
            kernel::mark_alive(self.activation, z, &mut alive);
        }
        let pairs = z.chunks_exact(2 * self.width);
        Forward {
            squares: [self.mean_squares(z), self.mean_squares(h)],
            moments: self.moments.then(|| [T::moments(z), T::moments(h)]),
            dots: pairs.map(|pair| dot(&pair[..self.width], &pair[self.width..])).collect(),
            alive,
            saturated: kernel::saturated(self.activation, h),
        }
    }

    /// `gradient *= phi'(z)`, then the mean square of every row and the moments.
    pub(super) fn backward<T: Compute>(
        self,
        slopes: &Slopes<T>,
        gradient: &mut [T],
    ) -> (Vec<f64>, Option<Moments>) {
        let piece = self.piece(gradient.len());
        let work = |(at, gradient): (usize, &mut [T])| {
            if !matches!(slopes, Slopes::One) {
                slopes.pull_back_from(self.activation, at * piece, gradient);
                self.precision.round(gradient);
            }
            (self.mean_squares(gradient), self.moments.then(|| T::moments(gradient)))
        };
        let noted = in_order(gradient.chunks_mut(piece).enumerate().collect(), work);
        let (squares, moments): (Vec<_>, Vec<_>) = noted.into_iter().unzip();
        let moments = moments.into_iter().flatten().reduce(merged);
        (squares.concat(), moments)
    }

    fn mean_squares<T: Compute>(self, values: &[T]) -> Vec<f64> {
        values.chunks_exact(self.width).map(|row| sum_of_squares(row) / self.width as f64).collect()
    }

    /// Values of a piece, by the sizes alone: rows in pairs, and whole words of signs.
    fn piece(self, values: usize) -> usize {
        if values < DIVIDED {
            return values;
        }
        let rows = 2.max(64 >> self.width.trailing_zeros().min(6));
        let unit = rows * self.width;
        unit * (DIVIDED / 2 / unit).max(1)
    }
}

impl Forward {
    fn and(mut self, next: Self) -> Self {
        for (squares, next) in self.squares.iter_mut().zip(next.squares) {
            squares.extend(next);
        }
        self.moments = self
            .moments
            .zip(next.moments)
            .map(|([z, h], [next_z, next_h])| [merged(z, next_z), merged(h, next_h)]);
        self.dots.extend(next.dots);
        self.alive.iter_mut().zip(next.alive).for_each(|(alive, next)| *alive |= next);
        self.saturated = self.saturated.zip(next.saturated).map(|(a, b)| a + b);
        self
    }

    /// Share of units without a slope for any row.
    pub(super) fn dead_share(&self) -> Option<f64> {
        let dead = self.alive.iter().filter(|alive| !**alive).count();
        (!self.alive.is_empty()).then(|| dead as f64 / self.alive.len() as f64)
    }

    /// Share of `values` values within 2.5% of the activation's range of either end.
    pub(super) fn saturated_share(&self, values: usize) -> Option<f64> {
        self.saturated.map(|count| count as f64 / values as f64)
    }

    /// Mean of the pairs' cosines; pairs with a zero row are left out.
    pub(super) fn cosine(&self, width: usize) -> Option<f64> {
        let cosines: Vec<f64> = self
            .dots
            .iter()
            .zip(self.squares[0].chunks_exact(2))
            .filter(|(_, s)| s[0] > 0.0 && s[1] > 0.0)
            .map(|(dot, s)| dot / (width as f64 * (s[0] * s[1]).sqrt()))
            .collect();
        (!cosines.is_empty()).then(|| cosines.iter().sum::<f64>() / cosines.len() as f64)
    }
}

fn merged(mut a: Moments, b: Moments) -> Moments {
    a.merge(&b);
    a
}

/// One result of every piece, on rayon's pool if there are several.
fn in_order<P: Send, R: Send>(mut pieces: Vec<P>, work: impl Fn(P) -> R + Send + Sync) -> Vec<R> {
    if pieces.len() < 2 {
        pieces.pop().into_iter().map(work).collect()
    } else {
        pieces.into_par_iter().with_max_len(1).map(work).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In pieces and in one, everything is what plain loops over the whole batch give.
    #[test]
    fn pieces_note_what_the_whole_batch_gives() {
        for (rows, width) in [(7, 33), (421, 333), (300, 1000), (2, DIVIDED)] {
            let number = |i: usize| ((i * 7919 + i / 13) % 2003) as f32 / 500.0 - 2.0;
            let mut z: Vec<f32> = (0..rows * width).map(number).collect();
            // A unit that is dead, one that is alive in the last row alone, and a row of zeros.
            for row in z.chunks_exact_mut(width) {
                (row[3], row[5]) = (-1.0, -1.0);
            }
            z[(rows - 1) * width + 5] = 1.0;
            z[..width].fill(0.0);
            for phi in ["relu", "tanh"] {
                let phi: Activation = phi.parse().expect(phi);
                let (precision, moments) = (Precision::F32, true);
                let all = Rows { activation: &phi, width, precision, moments };
                assert_eq!(all.piece(z.len()) < z.len(), z.len() >= DIVIDED && rows > 2);
                let (mut h, mut expected) = (vec![0.0; z.len()], vec![0.0; z.len()]);
                let mut signs = vec![0u64; z.len().div_ceil(64)];
                let found = all.forward(Stage::Once, &z, &mut h, &mut signs);
                kernel::activate(&phi, &z, &mut expected);
                assert_eq!(h, expected);
                assert!(
                    z.iter()
                        .enumerate()
                        .all(|(i, z)| (signs[i / 64] >> (i % 64) & 1 == 1) == (*z > 0.0))
                );
                for (found, values) in found.squares.iter().zip([&z, &h]) {
                    let plain =
                        values.chunks_exact(width).map(|r| sum_of_squares(r) / width as f64);
                    assert_eq!(*found, plain.collect::<Vec<_>>());
                }
                let [of_z, _] = found.moments.expect("asked for");
                let mean = z.iter().map(|v| f64::from(*v)).sum::<f64>() / z.len() as f64;
                assert_eq!(of_z.count(), z.len() as u64);
                assert!((of_z.mean() - mean).abs() < 1e-12);
                assert_eq!(found.dots.len(), rows / 2);
                let last = 2 * (rows / 2) - 2;
                let pair = [last, last + 1].map(|row| &z[row * width..][..width]);
                assert_eq!(found.dots.last(), Some(&dot(pair[0], pair[1])));
                // The pair of a row of zeros has no cosine.
                assert_eq!(found.cosine(width).is_some(), rows > 2);
                let dead = (phi == Activation::Relu)
                    .then(|| kernel::dead_units(&phi, &z, width) as f64 / width as f64);
                assert_eq!(found.dead_share(), dead);
                assert!(dead.is_none_or(|share| share >= 1.0 / width as f64 && share < 1.0));
                let (low, high) = phi.saturation_bounds().unwrap_or((f64::MIN, f64::MAX));
                let outside = h.iter().filter(|h| !(low..=high).contains(&f64::from(**h))).count();
                let share = outside as f64 / h.len() as f64;
                assert_eq!(found.saturated_share(h.len()).unwrap_or(0.0), share);

                let mut gradient: Vec<f32> = (0..z.len()).map(|i| number(i + 17)).collect();
                let mut expected = gradient.clone();
                kernel::pull_back(&phi, &z, &mut expected);
                let slopes = Slopes::of(&phi, z.clone(), &mut Vec::new());
                let (squares, moments) = all.backward(&slopes, &mut gradient);
                assert_eq!(gradient, expected);
                let plain = expected.chunks_exact(width).map(|r| sum_of_squares(r) / width as f64);
                assert_eq!(squares, plain.collect::<Vec<_>>());
                assert_eq!(moments.expect("asked for").count(), z.len() as u64);
            }
        }
    }
}

//! What is noted while the chunks of a layer pass.

use gainstage_spec::Dense;
use gainstage_stats::Moments;

use super::lanes;
use super::layer::Watch;
use crate::kernel;
use crate::pass::Observer;
use crate::trace::{Energy, LayerDraw, SignalMoments, effective_rank};
use crate::vector::Vector;

/// Each input's mean square, from the diagonal of a Gram.
pub(super) fn diagonal(
    gram: &[f64],
    batch: usize,
    width: usize,
) -> impl ExactSizeIterator<Item = f64> + Clone {
    (0..batch).map(move |j| gram[j * (batch + 1)] / width as f64)
}

/// Whether anything overflowed, and whether everything vanished.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) not_finite: bool,
    pub(super) all_zero: bool,
}

impl Seen {
    const NOTHING: Self = Self { not_finite: false, all_zero: true };

    /// From the sum of squares of a chunk; squares of small f64 vanish before the values do.
    #[inline(always)]
    fn take(&mut self, values: &[f64], squares: f64) {
        if !squares.is_finite() {
            self.not_finite |= values.iter().any(|v| !v.is_finite());
            self.all_zero = false;
        } else if squares > 0.0 || values.iter().any(|&v| v != 0.0) {
            self.all_zero = false;
        }
    }
}

/// Notes the forward statistics of one layer.
pub(super) struct ForwardWatch<'a> {
    index: usize,
    batch: usize,
    dense: &'a Dense,
    /// Products of pre-activations: the square of every input, then those of pairs.
    squares: Vec<f64>,
    pairs: Vec<f64>,
    seen: Seen,
    any_zero: bool,
    dead: Option<usize>,
    saturated: Option<(f64, f64, usize)>,
    moments: Option<Box<SignalMoments>>,
    observer: &'a mut dyn Observer<f64>,
}

impl<'a> ForwardWatch<'a> {
    pub(super) fn new(
        index: usize,
        batch: usize,
        dense: &'a Dense,
        moments: bool,
        observer: &'a mut dyn Observer<f64>,
    ) -> Self {
        let phi = &dense.activation;
        Self {
            index,
            batch,
            dense,
            squares: vec![0.0; batch],
            pairs: vec![0.0; batch / 2],
            seen: Seen::NOTHING,
            any_zero: false,
            dead: kernel::can_die(phi).then_some(0),
            saturated: phi.saturation_bounds().map(|(low, high)| (low, high, 0)),
            moments: moments.then(Default::default),
            observer,
        }
    }

    pub(super) fn finish(self, gram: &[f64], incoming: &[f64]) -> (LayerDraw, Seen) {
        let (batch, width) = (self.batch, self.dense.width);
        let cosines = self
            .pairs
            .iter()
            .zip(self.squares.as_chunks::<2>().0)
            .filter(|(_, s)| s[0] > 0.0 && s[1] > 0.0)
            .map(|(dot, s)| dot / (s[0].sqrt() * s[1].sqrt()));
        let (count, cosines) = cosines.fold((0, -0.0), |(n, sum), c| (n + 1, sum + c));
        let mut seen = self.seen;
        // What underflow has left over may all be cut off by the activation.
        if self.any_zero && gram.iter().all(|&v| v == 0.0) {
            seen.all_zero = true;
        }
        let trace = LayerDraw {
            forward: Energy::of_each(self.squares.iter().map(|s| s / width as f64)),
            activation: Energy::of_each(diagonal(gram, batch, width)),
            gradient: Energy::default(),
            weight_gradient: Energy::default(),
            batch_weight_gradient: None,
            effective_rank: effective_rank(incoming, batch),
            moments: self.moments,
            cosine: (count > 0).then(|| cosines / f64::from(count)),
            dead: self.dead.map(|count| count as f64 / width as f64),
            saturated: self.saturated.map(|(_, _, count)| count as f64 / (width * batch) as f64),
        };
        (trace, seen)
    }
}

impl Watch for ForwardWatch<'_> {
    #[inline(always)]
    fn forward<V: Vector>(&mut self, z: &[f64], h: &[f64], len: usize) {
        let mut total = 0.0;
        for (at, pair) in z.chunks(2 * len).enumerate() {
            let rows = pair.len() / len;
            let mut sums = [0.0; 4];
            lanes::add_gram::<V, _>(&mut sums[..rows * rows], pair, rows, len);
            self.squares[2 * at] += sums[0];
            total += sums[0];
            if rows == 2 {
                self.pairs[at] += sums[1];
                self.squares[2 * at + 1] += sums[3];
                total += sums[3];
            }
        }
        self.seen.take(z, total);
        if total < 1e-60 {
            self.any_zero |= z.contains(&0.0);
        }
        if let Some(dead) = &mut self.dead {
            *dead += kernel::dead_units(&self.dense.activation, z, len);
        }
        if let Some((low, high, count)) = &mut self.saturated {
            *count += h.iter().filter(|v| !(*low..=*high).contains(*v)).count();
        }
        if let Some(moments) = &mut self.moments {
            moments.pre_activation.extend_from_f64(z);
            moments.activation.extend_from_f64(h);
        }
        self.observer.forward(self.index, z, h);
    }

    fn arriving(&mut self, _: &[f64]) {}
    fn error_signal(&mut self, _: &[f64]) {}

    fn reads_values(&self) -> bool {
        self.moments.is_some() || self.saturated.is_some() || self.observer.reads()
    }

    fn sums(&mut self, gram: &[f64], dead: usize) {
        let total = (0..self.batch).map(|j| gram[j * (self.batch + 1)]).sum();
        self.seen.take(&[], total);
        for (j, square) in self.squares.iter_mut().enumerate() {
            *square += gram[j * (self.batch + 1)];
        }
        for (at, pair) in self.pairs.iter_mut().enumerate() {
            *pair += gram[2 * at * self.batch + 2 * at + 1];
        }
        if let Some(all) = &mut self.dead {
            *all += dead;
        }
    }
}

/// Notes the backward statistics of one layer.
pub(super) struct BackwardWatch<'a> {
    /// The layer whose error signals pass, if any do.
    index: Option<usize>,
    /// None where values can neither vanish nor overflow.
    pub(super) arriving: Option<Seen>,
    gather: bool,
    pub(super) moments: Moments,
    observer: &'a mut dyn Observer<f64>,
}

impl<'a> BackwardWatch<'a> {
    pub(super) fn new(
        index: Option<usize>,
        gather: bool,
        observer: &'a mut dyn Observer<f64>,
    ) -> Self {
        Self { index, arriving: None, gather, moments: Moments::default(), observer }
    }
}

impl Watch for BackwardWatch<'_> {
    fn forward<V: Vector>(&mut self, _: &[f64], _: &[f64], _: usize) {}

    #[inline(always)]
    fn arriving(&mut self, gradient: &[f64]) {
        let seen = self.arriving.get_or_insert(Seen::NOTHING);
        seen.not_finite |= gradient.iter().any(|v| !v.is_finite());
        seen.all_zero &= gradient.iter().all(|&v| v == 0.0);
    }

    #[inline(always)]
    fn error_signal(&mut self, delta: &[f64]) {
        if self.gather {
            self.moments.extend_from_f64(delta);
        }
        if let Some(index) = self.index {
            self.observer.backward(index, delta);
        }
    }

    fn reads_values(&self) -> bool {
        self.gather || self.observer.reads()
    }

    fn sums(&mut self, _: &[f64], _: usize) {}
}

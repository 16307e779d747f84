//! What a forward pass fixes of one layer's weights.

use std::ops::Range;

use gainstage_init::{Key, Purpose, fill_normal};
use gainstage_spec::Activation;

use super::coefficients::Coefficients;
use super::factor::Factor;
use super::fault::{Fault, planted};
use super::lanes::{add_gram, combine};
use super::narrow::{Bent, Normals, Slopes};
use super::signal::Layout;
use crate::method::WeightLaw;
use crate::vector::{Kernel, Vector, dispatch};

/// Inputs closer than this, as 1 - cos^2, count as parallel. Grams carry errors of about 1e-16.
pub(super) const PARALLEL: f64 = 1e-13;

/// Streams of a layer's weights that no weight matrix uses: its draws are numbered from 0.
const FORWARD: u32 = 1 << 30;
pub(super) const BACKWARD: u32 = 1 << 31;

/// A layer's place in the streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) seed: u64,
    pub(crate) trial: u32,
    pub(crate) index: u32,
    /// Where its forward normals stay until the way back; None if they are drawn again.
    pub(crate) kept: Option<usize>,
}

impl Place {
    pub(super) fn key(self, direction: u32) -> Key {
        Key::new(self.seed, Purpose::Weights, self.trial, direction | self.index)
    }
}

/// What the forward pass has fixed about a layer's weights.
#[derive(Debug)]
pub(crate) struct Sampled {
    pub(crate) law: WeightLaw,
    pub(crate) place: Place,
    pub(crate) fan_in: usize,
    pub(crate) fan_out: usize,
    /// H'H of the incoming batch.
    pub(crate) gram: Vec<f64>,
    /// H'H = L L', and with it the orthonormal basis U = H_p C^-1' of what the weights have acted on.
    pub(super) factor: Factor,
    /// Orthogonal weights: the triangle that makes the normals an orthonormal frame.
    pub(super) frame: Option<Factor>,
    /// From the layer's normals to its pre-activations.
    coefficients: Coefficients,
    /// Whether pre-activations may leave the range of f32 and must be rounded to it.
    rounds: bool,
    /// Whether they can neither vanish nor overflow, and no two inputs are parallel.
    tame: bool,
}

impl Sampled {
    /// Factors the Gram of a batch before its layer. `limited` if values have the range of f32.
    pub(crate) fn new(
        law: WeightLaw,
        place: Place,
        fans: (usize, usize),
        gram: Vec<f64>,
        layout: Layout,
        limited: bool,
    ) -> Self {
        let (fan_in, fan_out) = fans;
        let batch = layout.batch;
        let factor = if planted(Fault::Uncorrelated) {
            let diagonal = |at: usize| if at / batch == at % batch { gram[at] } else { 0.0 };
            let diagonal: Vec<f64> = (0..batch * batch).map(diagonal).collect();
            Factor::of(&diagonal, batch, fan_in, PARALLEL)
        } else {
            Factor::of(&gram, batch, fan_in, PARALLEL)
        };
        let rank = factor.rank();
        let mut matrix = factor.lower.clone();
        let mut frame = None;
        let (WeightLaw::Gaussian { std: scale } | WeightLaw::Haar { gain: scale }) = law;
        if matches!(law, WeightLaw::Haar { .. }) {
            let mut sums = vec![0.0; rank * rank];
            dispatch(NormalGram {
                key: place.key(FORWARD),
                layout,
                rank,
                spans: spans(fan_out, fan_in),
                sums: &mut sums,
            });
            let triangle = Factor::triangular(&sums, rank);
            triangle.solve_right(&mut matrix);
            frame = Some(triangle);
        }
        matrix.iter_mut().for_each(|v| *v *= scale);
        let mut coefficients = Coefficients::default();
        coefficients.pack(&matrix, batch, rank);
        let leaves = leaves_f32(&[&matrix], batch);
        let (rounds, tame) = (limited && leaves, !leaves && rank == batch);
        Self { law, place, fan_in, fan_out, gram, factor, frame, coefficients, rounds, tame }
    }

    pub(crate) fn rank(&self) -> usize {
        self.factor.rank()
    }

    /// For the passes that write nothing but sums, where they apply.
    pub(super) fn bent(
        &self,
        layout: Layout,
        bias: Option<&[f64]>,
        phi: &Activation,
    ) -> Option<Bent<'_>> {
        if !self.tame || layout.batch > 2 || layout.inputs() < layout.batch || bias.is_some() {
            return None;
        }
        Some(Bent { coefficients: &self.coefficients, slopes: Slopes::of(phi)? })
    }

    pub(super) fn scale(&self) -> f64 {
        let (WeightLaw::Gaussian { std: scale } | WeightLaw::Haar { gain: scale }) = self.law;
        scale
    }

    /// Where the forward normals of a chunk are. Those that do not stay take the same place in the
    /// cache, chunk after chunk.
    pub(super) fn normals(&self, start: usize, len: usize) -> Range<usize> {
        let from = self.place.kept.map_or(0, |at| at + start * self.rank());
        from..from + len * self.rank()
    }

    /// The same on the way back, where a whole layer's normals are needed twice.
    pub(super) fn normals_again(&self, start: usize, len: usize) -> Range<usize> {
        let from = self.place.kept.unwrap_or(0) + start * self.rank();
        from..from + len * self.rank()
    }

    /// With those of the layer below, which lie in front and come next.
    pub(super) fn normals_on_the_way_back<'a>(
        &self,
        normals: &'a [f32],
        start: usize,
        len: usize,
    ) -> Normals<'a> {
        let at = self.normals_again(start, len);
        let below = at.start.checked_sub(self.fan_out * self.rank());
        let ahead = below.filter(|_| self.place.kept.is_some()).map_or(0..0, |b| b..at.start);
        Normals { values: &normals[at], ahead: &normals[ahead] }
    }

    pub(super) fn draw_normals(&self, start: usize, normals: &mut [f32]) {
        let offset = (start * self.rank()) as u64;
        fill_normal(self.place.key(FORWARD), offset, 0.0, 1.0, normals);
    }

    /// The pre-activations that a chunk's normals make.
    #[inline(always)]
    pub(super) fn pre_activations<V: Vector>(
        &self,
        (start, len): (usize, usize),
        layout: Layout,
        bias: Option<&[f64]>,
        normals: &[f32],
        z: &mut [f64],
    ) {
        combine::<V, f32, false>(z, &self.coefficients, normals, len);
        if let Some(bias) = bias {
            for row in z.chunks_exact_mut(len).take(layout.inputs()) {
                row.iter_mut().zip(&bias[start..start + len]).for_each(|(z, b)| *z += b);
            }
        }
        if self.rounds {
            z.iter_mut().for_each(|v| *v = f64::from(*v as f32));
        }
    }
}

/// Whether combinations with these coefficients, `rows x any` each, may come near either end of f32,
/// or vanish.
pub(super) fn leaves_f32(matrices: &[&[f64]], rows: usize) -> bool {
    (0..rows).any(|row| {
        let mut largest = 0.0f64;
        for matrix in matrices {
            let columns = matrix.len() / rows;
            let row = &matrix[row * columns..(row + 1) * columns];
            largest = row.iter().fold(largest, |m, v| m.max(v.abs()));
        }
        // Normals are below 6.7 and entries of an orthonormal basis below 1; the rest is margin.
        !(1e-24..1e30).contains(&largest)
    })
}

/// Neurons that the batch sees, and those that only complete a square orthogonal matrix.
pub(super) fn spans(seen: usize, other: usize) -> [(usize, usize); 2] {
    [(0, seen), (seen, other.max(seen))]
}

/// `G'G` of a stream of normals.
pub(super) struct NormalGram<'a> {
    pub(super) key: Key,
    pub(super) layout: Layout,
    pub(super) rank: usize,
    pub(super) spans: [(usize, usize); 2],
    pub(super) sums: &'a mut [f64],
}

impl Kernel for NormalGram<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Vector>(self) {
        let mut normals = vec![0.0f32; self.rank * self.layout.chunk()];
        for (from, to) in self.spans {
            for (start, len) in self.layout.chunks(from, to) {
                let normals = &mut normals[..self.rank * len];
                fill_normal(self.key, (start * self.rank) as u64, 0.0, 1.0, normals);
                add_gram::<V, _>(self.sums, normals, self.rank, len);
            }
        }
    }
}

//! One weight layer, seen through its batch: the conditioning argument of the crate's documentation.

use std::ops::Range;

use gainstage_init::{Key, Purpose, fill_normal};
use gainstage_spec::Activation;

use super::factor::{Factor, subtract_transposed, transpose};
use super::lanes::{Coefficients, add_dots, add_gram, combine};
use super::narrow::{self, Bent, Normals, Slopes};
use super::signal::Layout;
use super::vector::{Kernel, Vector, dispatch};
use crate::method::WeightLaw;

/// Inputs closer than this, as 1 - cos^2, count as parallel. Grams carry errors of about 1e-16.
const PARALLEL: f64 = 1e-13;
/// For orthogonal weights the part of an error signal that the forward pass has not yet fixed is a
/// difference; below this share of the whole it is rounding.
const DETERMINED: f64 = 1e-10;

/// Streams of a layer's weights that no weight matrix uses: its draws are numbered from 0.
const FORWARD: u32 = 1 << 30;
const BACKWARD: u32 = 1 << 31;

/// Memory that one thread reuses from layer to layer and from draw to draw.
#[derive(Debug)]
pub(crate) struct Arena {
    /// The normals of a draw stay for the way back up to this many, else they are drawn again.
    pub(crate) most_kept: usize,
    normals: Vec<f32>,
    fresh: Vec<f32>,
    z: Vec<f64>,
    h: Vec<f64>,
    /// A chunk of W'D on its way through the layer below.
    delta: Vec<f64>,
}

impl Default for Arena {
    /// Keeps up to 128 MiB of normals.
    fn default() -> Self {
        let (normals, fresh, z, h, delta) = Default::default();
        Self { most_kept: 32 << 20, normals, fresh, z, h, delta }
    }
}

impl Arena {
    /// Room for layers of up to `widest` values and for `normals` of them.
    pub(crate) fn reserve(&mut self, widest: usize, normals: usize) {
        let grow = |values: &mut Vec<f32>, len| {
            if values.len() < len {
                values.resize(len, 0.0);
            }
        };
        grow(&mut self.normals, normals.max(widest));
        grow(&mut self.fresh, widest);
        if self.z.len() < widest {
            self.z.resize(widest, 0.0);
            self.h.resize(widest, 0.0);
        }
    }
}

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
    fn key(self, direction: u32) -> Key {
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
    factor: Factor,
    /// Orthogonal weights: the triangle that makes the normals an orthonormal frame.
    frame: Option<Factor>,
    /// From the layer's normals to its pre-activations.
    coefficients: Coefficients,
    /// Whether pre-activations may leave the range of f32 and must be rounded to it.
    rounds: bool,
    /// Whether they can neither vanish nor overflow, and no two inputs are parallel.
    tame: bool,
}

/// `D'D` and `G'D` of a layer's error signals D and forward normals G.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) gram: Vec<f64>,
    with_normals: Vec<f64>,
}

/// Where a layer's incoming signal is on the way back.
pub(crate) enum Source<'a> {
    /// It was kept.
    Kept(&'a [f64]),
    /// It is phi of the layer below, which is drawn again.
    Below { layer: &'a Sampled, bias: Option<&'a [f64]>, phi: &'a Activation },
}

impl Source<'_> {
    /// The activations of a chunk: those that were kept, or those that its normals make again.
    #[inline(always)]
    fn restore<'a, V: Vector>(
        &'a self,
        (start, len): (usize, usize),
        layout: Layout,
        normals: &[f32],
        z: &mut [f64],
        h: &'a mut [f64],
    ) -> &'a [f64] {
        let at = start * layout.batch..(start + len) * layout.batch;
        match self {
            Self::Kept(values) => &values[at],
            Self::Below { layer, bias, phi } => {
                let (z, h) = (&mut z[at.clone()], &mut h[at]);
                let normals = &normals[layer.normals_again(start, len)];
                layer.pre_activations::<V>((start, len), layout, *bias, normals, z);
                layout.activate(phi, z, h);
                h
            }
        }
    }
}

/// Chunks on their way: pre-activations and activations, then error signals.
pub(crate) trait Watch {
    fn forward<V: Vector>(&mut self, z: &[f64], h: &[f64], len: usize);
    /// W'D of a chunk, before the activation's slope, where its values may vanish or overflow.
    fn arriving(&mut self, gradient: &[f64]);
    /// D of a chunk.
    fn error_signal(&mut self, delta: &[f64]);
    /// Whether values are read, and not only sums of pre-activations in [`Watch::sums`].
    fn reads_values(&self) -> bool;
    /// The Gram of a chunk's pre-activations, of which none vanishes or overflows, and the number of units
    /// at or below zero for all inputs.
    fn sums(&mut self, gram: &[f64], dead: usize);
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
    fn bent(&self, layout: Layout, bias: Option<&[f64]>, phi: &Activation) -> Option<Bent<'_>> {
        if !self.tame || layout.batch > 2 || layout.inputs() < layout.batch || bias.is_some() {
            return None;
        }
        Some(Bent { coefficients: &self.coefficients, slopes: Slopes::of(phi)? })
    }

    fn scale(&self) -> f64 {
        let (WeightLaw::Gaussian { std: scale } | WeightLaw::Haar { gain: scale }) = self.law;
        scale
    }

    /// Where the forward normals of a chunk are. Those that do not stay take the same place in the
    /// cache, chunk after chunk.
    fn normals(&self, start: usize, len: usize) -> Range<usize> {
        let from = self.place.kept.map_or(0, |at| at + start * self.rank());
        from..from + len * self.rank()
    }

    /// The same on the way back, where a whole layer's normals are needed twice.
    fn normals_again(&self, start: usize, len: usize) -> Range<usize> {
        let from = self.place.kept.unwrap_or(0) + start * self.rank();
        from..from + len * self.rank()
    }

    /// With those of the layer below, which lie in front and come next.
    fn normals_on_the_way_back<'a>(
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

    fn draw_normals(&self, start: usize, normals: &mut [f32]) {
        let offset = (start * self.rank()) as u64;
        fill_normal(self.place.key(FORWARD), offset, 0.0, 1.0, normals);
    }

    /// The pre-activations that a chunk's normals make.
    #[inline(always)]
    fn pre_activations<V: Vector>(
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
fn leaves_f32(matrices: &[&[f64]], rows: usize) -> bool {
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
fn spans(seen: usize, other: usize) -> [(usize, usize); 2] {
    [(0, seen), (seen, other.max(seen))]
}

/// `G'G` of a stream of normals.
struct NormalGram<'a> {
    key: Key,
    layout: Layout,
    rank: usize,
    spans: [(usize, usize); 2],
    sums: &'a mut [f64],
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

/// `H'H` of a kept signal.
pub(crate) struct Gram<'a> {
    pub(crate) layout: Layout,
    pub(crate) values: &'a [f64],
}

impl Kernel for Gram<'_> {
    type Output = Vec<f64>;
    #[inline(always)]
    fn run<V: Vector>(self) -> Vec<f64> {
        let batch = self.layout.batch;
        let mut sums = vec![0.0; batch * batch];
        for (start, len) in self.layout.chunks(0, self.values.len() / batch) {
            add_gram::<V, _>(
                &mut sums,
                &self.values[start * batch..(start + len) * batch],
                batch,
                len,
            );
        }
        sums
    }
}

/// Draws a layer's pre-activations and returns the Gram of its activations.
pub(crate) struct Forward<'a, W> {
    pub(crate) layer: &'a Sampled,
    pub(crate) bias: Option<&'a [f64]>,
    pub(crate) phi: &'a Activation,
    /// Whether it is the network's last dense layer, whose output is its pre-activation.
    pub(crate) last: bool,
    pub(crate) layout: Layout,
    pub(crate) arena: &'a mut Arena,
    /// Takes the activations, where they are needed as they are.
    pub(crate) keep: Option<&'a mut Vec<f64>>,
    pub(crate) watch: &'a mut W,
}

impl<W: Watch> Kernel for Forward<'_, W> {
    type Output = Vec<f64>;
    #[inline(always)]
    fn run<V: Vector>(self) -> Vec<f64> {
        let Self { layer, bias, phi, last, layout, arena, mut keep, watch } = self;
        let batch = layout.batch;
        let mut gram = vec![0.0; batch * batch];
        let only_sums = keep.is_none() && !watch.reads_values();
        let bent = if only_sums { layer.bent(layout, bias, phi) } else { None };
        for (start, len) in layout.chunks(0, layer.fan_out) {
            let normals = &mut arena.normals[layer.normals(start, len)];
            let (z, h) = (&mut arena.z[..batch * len], &mut arena.h[..batch * len]);
            layer.draw_normals(start, normals);
            if let Some(bent) = bent {
                let of_z = &mut [0.0; 4][..batch * batch];
                // Those of the next chunk, or the next layer, follow.
                let (values, rest) =
                    arena.normals[layer.normals(start, len).start..].split_at(len * batch);
                let ahead = if layer.place.kept.is_some() { rest } else { &[] };
                let normals = Normals { values, ahead };
                let dead = narrow::add_forward::<V>(&mut gram, of_z, bent, normals, len);
                watch.sums(of_z, dead);
                continue;
            }
            layer.pre_activations::<V>((start, len), layout, bias, normals, z);
            if last {
                layout.activate_inputs(phi, z, h);
            } else {
                layout.activate(phi, z, h);
            }
            add_gram::<V, _>(&mut gram, h, batch, len);
            watch.forward::<V>(z, h, len);
            if let Some(keep) = &mut keep {
                keep.extend_from_slice(h);
            }
        }
        gram
    }
}

/// Brings dL/d(phi(z)) to a layer's pre-activations.
pub(crate) struct Enter<'a, W> {
    pub(crate) layer: &'a Sampled,
    pub(crate) bias: Option<&'a [f64]>,
    /// None if `gradient` is dL/dz already.
    pub(crate) phi: Option<&'a Activation>,
    pub(crate) layout: Layout,
    pub(crate) arena: &'a mut Arena,
    pub(crate) gradient: &'a mut [f64],
    pub(crate) watch: &'a mut W,
}

impl<W: Watch> Kernel for Enter<'_, W> {
    type Output = Entered;
    #[inline(always)]
    fn run<V: Vector>(self) -> Entered {
        let Self { layer, bias, phi, layout, arena, gradient, watch } = self;
        let (batch, rank) = (layout.batch, layer.rank());
        let mut entered =
            Entered { gram: vec![0.0; batch * batch], with_normals: vec![0.0; rank * batch] };
        for (start, len) in layout.chunks(0, layer.fan_out) {
            let normals = &mut arena.normals[layer.normals(start, len)];
            let delta = &mut gradient[start * batch..(start + len) * batch];
            if layer.place.kept.is_none() {
                layer.draw_normals(start, normals);
            }
            if let Some(phi) = phi {
                let z = &mut arena.z[..batch * len];
                layer.pre_activations::<V>((start, len), layout, bias, normals, z);
                layout.pull_back(phi, z, delta);
            }
            entered.take::<V>(normals, rank, delta, batch, len);
            watch.error_signal(delta);
        }
        entered
    }
}

impl Entered {
    #[inline(always)]
    fn take<V: Vector>(
        &mut self,
        normals: &[f32],
        rank: usize,
        delta: &[f64],
        batch: usize,
        len: usize,
    ) {
        add_gram::<V, _>(&mut self.gram, delta, batch, len);
        add_dots::<V, _, _>(&mut self.with_normals, normals, rank, delta, batch, len);
    }
}

/// Brings a layer's error signals D to its input, W'D, and on through the layer below if the signal
/// came straight from there.
pub(crate) struct Leave<'a, W> {
    pub(crate) layer: &'a Sampled,
    pub(crate) entered: &'a Entered,
    pub(crate) source: Source<'a>,
    pub(crate) layout: Layout,
    pub(crate) arena: &'a mut Arena,
    pub(crate) limited: bool,
    /// Takes W'D where nothing lies below.
    pub(crate) gradient: &'a mut Vec<f64>,
    pub(crate) watch: &'a mut W,
}

impl<W: Watch> Kernel for Leave<'_, W> {
    type Output = Option<Entered>;
    #[inline(always)]
    fn run<V: Vector>(self) -> Option<Entered> {
        let Self { layer, entered, source, layout, arena, limited, gradient, watch } = self;
        let batch = layout.batch;
        let conditioned = Conditioned::new(layer, entered, batch);
        let fresh_rank = conditioned.residual.rank();
        let key = layer.place.key(BACKWARD);
        let haar = layer.frame.is_some();
        let only_sums = !haar && fresh_rank == batch && !watch.reads_values();
        let mut bent = match source {
            Source::Below { layer, bias, phi } if only_sums => layer.bent(layout, bias, phi),
            _ => None,
        };

        // First pass: what the fresh directions share with the batch.
        let mut shared = vec![0.0; batch * fresh_rank];
        let mut fresh_gram = vec![0.0; if haar { fresh_rank * fresh_rank } else { 0 }];
        for (start, len) in layout.chunks(0, layer.fan_in) {
            let fresh = &mut arena.fresh[start * fresh_rank..(start + len) * fresh_rank];
            fill_normal(key, (start * fresh_rank) as u64, 0.0, 1.0, fresh);
            if let Source::Below { layer, .. } = &source
                && layer.place.kept.is_none()
            {
                layer.draw_normals(start, &mut arena.normals[layer.normals_again(start, len)]);
            }
            if let (Some(bent), Source::Below { layer, .. }) = (bent, &source) {
                let normals = layer.normals_on_the_way_back(&arena.normals, start, len);
                narrow::add_shared::<V>(&mut shared, bent, (normals, fresh), len);
                continue;
            }
            let (z, h) = (&mut arena.z[..], &mut arena.h[..]);
            let h = source.restore::<V>((start, len), layout, &arena.normals, z, h);
            add_dots::<V, _, _>(&mut shared, h, batch, fresh, fresh_rank, len);
            if haar {
                add_gram::<V, _>(&mut fresh_gram, fresh, fresh_rank, len);
            }
        }
        if haar {
            let rest = spans(layer.fan_in, layer.fan_out)[1];
            let spans = [rest, (0, 0)];
            NormalGram { key, layout, rank: fresh_rank, spans, sums: &mut fresh_gram }.run::<V>();
        }

        // Second pass: W'D itself.
        let (of_fresh, of_batch, leaves) = conditioned.coefficients(&shared, &fresh_gram, batch);
        let rounds = limited && leaves;
        // Where values may vanish or overflow they are looked at.
        if leaves && bent.take().is_some() {
            for chunk in layout.chunks(0, layer.fan_in) {
                source.restore::<V>(chunk, layout, &arena.normals, &mut arena.z, &mut arena.h);
            }
        }
        let mut below = match &source {
            Source::Kept(_) => {
                gradient.clear();
                gradient.resize(layer.fan_in * batch, 0.0);
                None
            }
            Source::Below { layer, .. } => {
                arena.delta.resize(layout.chunk() * batch, 0.0);
                Some(Entered {
                    gram: vec![0.0; batch * batch],
                    with_normals: vec![0.0; layer.rank() * batch],
                })
            }
        };
        for (start, len) in layout.chunks(0, layer.fan_in) {
            let at = start * batch..(start + len) * batch;
            let fresh = &arena.fresh[start * fresh_rank..(start + len) * fresh_rank];
            if let (Some(bent), Source::Below { layer, .. }, Some(to)) = (bent, &source, &mut below)
            {
                let normals = layer.normals_on_the_way_back(&arena.normals, start, len);
                let to = (&mut to.gram[..], &mut to.with_normals[..]);
                narrow::add_backward::<V>(to, bent, (&of_fresh, &of_batch), (normals, fresh), len);
                continue;
            }
            let (h, out) = match &source {
                Source::Kept(values) => (&values[at.clone()], &mut gradient[at.clone()]),
                Source::Below { .. } => (&arena.h[at.clone()], &mut arena.delta[..len * batch]),
            };
            combine::<V, f32, false>(out, &of_fresh, fresh, len);
            combine::<V, f64, true>(out, &of_batch, h, len);
            if rounds {
                out.iter_mut().for_each(|v| *v = f64::from(*v as f32));
            }
            if leaves {
                watch.arriving(out);
            }
            if let (Source::Below { layer, phi, .. }, Some(below)) = (&source, &mut below) {
                layout.pull_back(phi, &arena.z[at], out);
                let rank = layer.rank();
                let normals = &arena.normals[layer.normals_again(start, len)];
                below.take::<V>(normals, rank, out, batch, len);
                watch.error_signal(out);
            }
        }
        below
    }
}

/// The law of W'D given the forward pass.
struct Conditioned<'a> {
    layer: &'a Sampled,
    /// (W U)'D over the scale of the weights: what the forward pass has fixed.
    known: Vec<f64>,
    /// M with M M' the Gram of what it has not.
    residual: Factor,
}

impl<'a> Conditioned<'a> {
    fn new(layer: &'a Sampled, entered: &Entered, batch: usize) -> Self {
        let mut known = entered.with_normals.clone();
        if planted(Fault::Unconditioned) {
            known.fill(0.0);
        }
        let Some(frame) = &layer.frame else {
            let residual = Factor::of(&entered.gram, batch, layer.fan_out, PARALLEL);
            return Self { layer, known, residual };
        };
        frame.solve(&mut known, batch);
        let mut rest = entered.gram.clone();
        subtract_transposed(&mut rest, &known, &known, layer.rank());
        for j in 0..batch {
            if rest[j * batch + j] <= DETERMINED * entered.gram[j * batch + j] {
                for k in 0..batch {
                    rest[j * batch + k] = 0.0;
                    rest[k * batch + j] = 0.0;
                }
            }
        }
        let free = layer.fan_in.max(layer.fan_out) - layer.rank();
        let residual = Factor::of(&rest, batch, free, PARALLEL);
        Self { layer, known, residual }
    }

    /// W'D = F a + H b for the fresh normals F: the rows of a' and b', and whether the result may come
    /// near the ends of f32. `shared` is H'F.
    fn coefficients(
        &self,
        shared: &[f64],
        fresh_gram: &[f64],
        batch: usize,
    ) -> (Coefficients, Coefficients, bool) {
        let (factor, fresh_rank) = (&self.layer.factor, self.residual.rank());
        // U'F
        let mut along = factor.gather(shared, fresh_rank);
        factor.solve(&mut along, fresh_rank);
        if planted(Fault::Unprojected) {
            along.fill(0.0);
        }
        let mut of_fresh = self.residual.lower.clone();
        if self.layer.frame.is_some() {
            let mut across = fresh_gram.to_vec();
            subtract_transposed(&mut across, &along, &along, self.layer.rank());
            Factor::triangular(&across, fresh_rank).solve_right(&mut of_fresh);
        }
        // U [known - U'F a] + F a, with U = H_p C'^-1
        let mut of_batch = self.known.clone();
        let a = transpose(&of_fresh, batch, fresh_rank);
        let along = transpose(&along, self.layer.rank(), fresh_rank);
        subtract_transposed(&mut of_batch, &along, &a, fresh_rank);
        let scale = self.layer.scale();
        of_fresh.iter_mut().chain(&mut of_batch).for_each(|v| *v *= scale);
        let by_input = transpose(&of_batch, self.layer.rank(), batch);
        let leaves = leaves_f32(&[&of_fresh, &by_input], batch);
        factor.solve_transposed(&mut of_batch, batch);
        let of_batch = transpose(&factor.spread(&of_batch, batch), batch, batch);

        let pack = |matrix: &[f64], columns: usize| {
            let mut packed = Coefficients::default();
            packed.pack(matrix, batch, columns);
            packed
        };
        (pack(&of_fresh, fresh_rank), pack(&of_batch, batch), leaves)
    }
}

/// One wrong term, for the tests that must see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Inputs of a batch drawn independently of each other.
    Uncorrelated,
    /// The backward pass as if its weights had not been used forward.
    Unconditioned,
    /// Fresh rows that still act on what the forward pass has fixed.
    Unprojected,
}

#[cfg(test)]
thread_local! {
    pub(super) static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Whether a test has planted this fault; never outside tests.
#[inline(always)]
fn planted(fault: Fault) -> bool {
    #[cfg(test)]
    return PLANTED.get() == Some(fault);
    #[cfg(not(test))]
    return {
        let _ = fault;
        false
    };
}

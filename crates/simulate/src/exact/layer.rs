//! One weight layer, seen through its batch: the conditioning argument of the crate's documentation.

use gainstage_init::fill_normal;
use gainstage_spec::Activation;

use super::arena::Arena;
use super::conditioned::Conditioned;
use super::lanes::{add_dots, add_gram, combine};
use super::narrow::{self, Normals};
use super::sampled::{BACKWARD, NormalGram, Sampled, spans};
use super::signal::Layout;
use crate::vector::{Kernel, Vector};

/// `D'D` and `G'D` of a layer's error signals D and forward normals G.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) gram: Vec<f64>,
    pub(super) with_normals: Vec<f64>,
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
        let (of_fresh, of_batch, leaves) = conditioned.coefficients(&shared, &fresh_gram, layout);
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

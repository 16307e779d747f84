//! One or two inputs through piecewise linear layers, in registers from normals to Grams.
//!
//! With so few inputs a layer's time goes into writing and reading what one step hands to the next. Here
//! a vector of neurons takes all steps of a pass at once. Values and sums are those of the general
//! passes, to the last bit; where anything but sums is asked for, those run instead.

use gainstage_spec::Activation;

use super::coefficients::Coefficients;
use super::lanes::Stored;
use super::sums::{Square, Step, sums};
use crate::vector::{LANES, Vector};

/// Neurons' slopes on either side of zero.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slopes {
    negative: f64,
    positive: f64,
}

impl Slopes {
    /// None where the passes of this file do not apply.
    pub(crate) fn of(phi: &Activation) -> Option<Self> {
        let (negative, positive) = phi.slopes()?;
        let flat = negative == 0.0 || positive == 0.0;
        (!flat || *phi == Activation::Relu).then_some(Self { negative, positive })
    }
}

/// A layer from its normals on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bent<'a> {
    pub(crate) coefficients: &'a Coefficients,
    pub(crate) slopes: Slopes,
}

/// A chunk's normals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normals<'a> {
    pub(crate) values: &'a [f32],
    /// Those of the chunk that comes next: deep networks keep more than the caches hold.
    pub(crate) ahead: &'a [f32],
}

impl Normals<'_> {
    /// A line at a time: eight neurons of two inputs fill one.
    #[inline(always)]
    fn prefetch<V: Vector, const B: usize>(self, start: usize) {
        if let Some(ahead) = self.ahead.get(start * B..) {
            V::prefetch(ahead);
        }
    }
}

/// Eight values of every row of a chunk, zero from `lanes` on.
#[inline(always)]
fn rows<V: Vector, const B: usize>(x: &[f32], len: usize, start: usize, lanes: usize) -> [V; B] {
    let mut out = [V::splat(0.0); B];
    for (j, out) in out.iter_mut().enumerate() {
        let row = &x[j * len + start..j * len + start + lanes];
        *out = if let Some(whole) = row.first_chunk::<LANES>() {
            f32::load(whole)
        } else {
            let mut padded = [0.0; LANES];
            padded[..lanes].copy_from_slice(row);
            f32::load(&padded)
        };
    }
    out
}

/// `c x`, in the order of [`super::lanes::combine`].
#[inline(always)]
fn times<V: Vector, const B: usize>(c: &[[V; B]; B], x: &[V; B]) -> [V; B] {
    let mut out = [V::splat(0.0); B];
    for j in 0..B {
        for k in 0..B {
            out[j] = c[j][k].times_plus(x[k], out[j]);
        }
    }
    out
}

/// From normals to pre-activations, and what the activation makes of them.
#[derive(Clone, Copy)]
struct Signal<V, const B: usize> {
    coefficients: [[V; B]; B],
    negative: V,
    positive: V,
}

impl<V: Vector, const B: usize> Signal<V, B> {
    #[inline(always)]
    fn new(Bent { coefficients, slopes }: Bent<'_>) -> Self {
        Self {
            coefficients: splat(coefficients),
            negative: V::splat(slopes.negative),
            positive: V::splat(slopes.positive),
        }
    }

    /// Pre-activations, and which are above zero.
    #[inline(always)]
    fn z(&self, normals: &[V; B]) -> ([V; B], [u8; B]) {
        let z = times(&self.coefficients, normals);
        let mut above = [0; B];
        for j in 0..B {
            above[j] = z[j].above_zero();
        }
        (z, above)
    }

    /// `values` times their slopes.
    #[inline(always)]
    fn bend(&self, mut values: [V; B], above: [u8; B]) -> [V; B] {
        for j in 0..B {
            values[j] = values[j].times(self.positive.or_where_not(above[j], self.negative));
        }
        values
    }
}

struct Forward<'a, V, const B: usize> {
    signal: Signal<V, B>,
    normals: Normals<'a>,
    len: usize,
    dead: usize,
}

impl<V: Vector, const B: usize> Step<V, B, 2> for Forward<'_, V, B> {
    #[inline(always)]
    fn at(&mut self, start: usize, lanes: usize) -> [([V; B], [V; B]); 2] {
        self.normals.prefetch::<V, B>(start);
        let (z, above) = self.signal.z(&rows(self.normals.values, self.len, start, lanes));
        let h = self.signal.bend(z, above);
        let alive = above.into_iter().fold(0, |all, one| all | one);
        self.dead += lanes - alive.count_ones() as usize;
        [(h, h), (z, z)]
    }
}

/// Adds to the Grams of activations and pre-activations what a chunk's normals make, and returns the
/// number of units at or below zero for all inputs.
#[inline(always)]
pub(crate) fn add_forward<V: Vector>(
    gram: &mut [f64],
    of_z: &mut [f64],
    layer: Bent<'_>,
    normals: Normals<'_>,
    len: usize,
) -> usize {
    if gram.len() == 1 {
        forward::<V, 1, 4>(gram, of_z, layer, normals, len)
    } else {
        forward::<V, 2, 2>(gram, of_z, layer, normals, len)
    }
}

#[inline(always)]
fn forward<V: Vector, const B: usize, const U: usize>(
    gram: &mut [f64],
    of_z: &mut [f64],
    layer: Bent<'_>,
    normals: Normals<'_>,
    len: usize,
) -> usize {
    let mut step = Forward::<V, B> { signal: Signal::new(layer), normals, len, dead: 0 };
    let [activations, pre_activations] = sums::<V, B, 2, U>(len, &mut step);
    add(gram, activations);
    add(of_z, pre_activations);
    step.dead
}

struct Shared<'a, V, const B: usize> {
    signal: Signal<V, B>,
    normals: Normals<'a>,
    fresh: &'a [f32],
    len: usize,
}

impl<V: Vector, const B: usize> Step<V, B, 1> for Shared<'_, V, B> {
    #[inline(always)]
    fn at(&mut self, start: usize, lanes: usize) -> [([V; B], [V; B]); 1] {
        let (z, above) = self.signal.z(&rows(self.normals.values, self.len, start, lanes));
        [(self.signal.bend(z, above), rows(self.fresh, self.len, start, lanes))]
    }
}

/// Adds H'F for the activations H and the fresh normals F of a chunk.
#[inline(always)]
pub(crate) fn add_shared<V: Vector>(
    to: &mut [f64],
    layer: Bent<'_>,
    (normals, fresh): (Normals<'_>, &[f32]),
    len: usize,
) {
    if to.len() == 1 {
        shared::<V, 1, 4>(to, layer, (normals, fresh), len);
    } else {
        shared::<V, 2, 2>(to, layer, (normals, fresh), len);
    }
}

#[inline(always)]
fn shared<V: Vector, const B: usize, const U: usize>(
    to: &mut [f64],
    layer: Bent<'_>,
    (normals, fresh): (Normals<'_>, &[f32]),
    len: usize,
) {
    let mut step = Shared::<V, B> { signal: Signal::new(layer), normals, fresh, len };
    let [found] = sums::<V, B, 1, U>(len, &mut step);
    add(to, found);
}

struct Backward<'a, V, const B: usize> {
    shared: Shared<'a, V, B>,
    of_fresh: [[V; B]; B],
    of_batch: [[V; B]; B],
}

impl<V: Vector, const B: usize> Step<V, B, 2> for Backward<'_, V, B> {
    #[inline(always)]
    fn at(&mut self, start: usize, lanes: usize) -> [([V; B], [V; B]); 2] {
        let Shared { signal, normals, fresh, len } = self.shared;
        normals.prefetch::<V, B>(start);
        let normals = rows(normals.values, len, start, lanes);
        let (z, above) = signal.z(&normals);
        let from_fresh = times(&self.of_fresh, &rows(fresh, len, start, lanes));
        let from_batch = times(&self.of_batch, &signal.bend(z, above));
        let mut arriving = from_fresh;
        for j in 0..B {
            arriving[j] = from_fresh[j].plus(from_batch[j]);
        }
        let delta = signal.bend(arriving, above);
        [(delta, delta), (normals, delta)]
    }
}

/// Adds D'D and G'D for the error signals D that arrive at a chunk with the normals G.
#[inline(always)]
pub(crate) fn add_backward<V: Vector>(
    (gram, with_normals): (&mut [f64], &mut [f64]),
    layer: Bent<'_>,
    arriving: (&Coefficients, &Coefficients),
    (normals, fresh): (Normals<'_>, &[f32]),
    len: usize,
) {
    if gram.len() == 1 {
        backward::<V, 1, 4>((gram, with_normals), layer, arriving, (normals, fresh), len);
    } else {
        backward::<V, 2, 2>((gram, with_normals), layer, arriving, (normals, fresh), len);
    }
}

#[inline(always)]
fn backward<V: Vector, const B: usize, const U: usize>(
    (gram, with_normals): (&mut [f64], &mut [f64]),
    layer: Bent<'_>,
    (of_fresh, of_batch): (&Coefficients, &Coefficients),
    (normals, fresh): (Normals<'_>, &[f32]),
    len: usize,
) {
    let shared = Shared::<V, B> { signal: Signal::new(layer), normals, fresh, len };
    let (of_fresh, of_batch) = (splat(of_fresh), splat(of_batch));
    let mut step = Backward { shared, of_fresh, of_batch };
    let [deltas, dots] = sums::<V, B, 2, U>(len, &mut step);
    add(gram, deltas);
    add(with_normals, dots);
}

#[inline(always)]
fn add<const B: usize>(to: &mut [f64], square: Square<B>) {
    to.iter_mut().zip(square.as_flattened()).for_each(|(to, from)| *to += from);
}

#[inline(always)]
fn splat<V: Vector, const B: usize>(c: &Coefficients) -> [[V; B]; B] {
    let mut out = [[V::splat(0.0); B]; B];
    for (out, row) in out.iter_mut().zip(c.square::<B>()) {
        for (out, value) in out.iter_mut().zip(row) {
            *out = V::splat(value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use gainstage_spec::{Initializer, Network};

    use super::super::{Arena, draw};
    use super::*;
    use crate::method::laws;
    use crate::pass::Observer;
    use crate::vector::{Kernel, assert_same_everywhere};
    use crate::{Method, Precision, Setup};

    /// Looks at all values and keeps none.
    struct Reads;

    impl Observer<f64> for Reads {
        fn forward(&mut self, _: usize, _: &[f64], _: &[f64]) {}
        fn backward(&mut self, _: usize, _: &[f64]) {}
    }

    /// All sums of a chunk of two inputs, and of one.
    struct Chunk(usize);

    impl Kernel for Chunk {
        type Output = Vec<u64>;
        #[inline(always)]
        fn run<V: Vector>(self) -> Vec<u64> {
            let len = self.0;
            let values: Vec<f32> = (0..2 * len).map(|i| (i as f32 * 0.7).sin()).collect();
            let fresh: Vec<f32> = (0..2 * len).map(|i| (i as f32 * 1.3).cos()).collect();
            let normals = Normals { values: &values, ahead: &values };
            let mut out = Vec::new();
            for inputs in [1, 2] {
                let mut c: [Coefficients; 3] = std::array::from_fn(|_| Coefficients::default());
                for (c, at) in c.iter_mut().zip([0.9, 1.7, 2.6]) {
                    let matrix: Vec<f64> = (1..=4).map(|i| f64::sin(at * f64::from(i))).collect();
                    c.pack(&matrix[..inputs * inputs], inputs, inputs);
                }
                for (negative, positive) in [(0.0, 1.0), (0.2, 1.0), (-1.0, 1.0)] {
                    let slopes = Slopes { negative, positive };
                    let layer = Bent { coefficients: &c[0], slopes };
                    let mut sums = [[0.0; 4]; 5];
                    let [gram, of_z, shared, deltas, dots] = &mut sums;
                    let n = inputs * inputs;
                    let dead =
                        add_forward::<V>(&mut gram[..n], &mut of_z[..n], layer, normals, len);
                    add_shared::<V>(&mut shared[..n], layer, (normals, &fresh), len);
                    let to = (&mut deltas[..n], &mut dots[..n]);
                    add_backward::<V>(to, layer, (&c[1], &c[2]), (normals, &fresh), len);
                    out.push(dead as u64);
                    out.extend(sums.as_flattened().iter().map(|v| v.to_bits()));
                }
            }
            out
        }
    }

    #[test]
    fn every_compilation_gives_the_same_bits() {
        for len in [1, 7, 8, 31, 100] {
            assert_same_everywhere(|| Chunk(len));
        }
    }

    #[test]
    fn values_that_nobody_reads_give_the_same_bits() {
        // Lengths of whole vectors, of less than one, and of several chunks.
        let widths = [40, 16, 3, 2100, 1, 37, 1024, 8, 31];
        let he = Initializer::he_normal();
        let scaled = |std| Initializer::normal(std);
        let orthogonal = Initializer::Orthogonal { gain: 1.0 };
        // Such weights leave the range of f32, up or down.
        for init in [he, orthogonal, scaled(1e4), scaled(1e-6)] {
            for phi in ["relu", "leaky_relu(0.2)", "abs", "linear"] {
                let phi: Activation = phi.parse().expect(phi);
                assert!(Slopes::of(&phi).is_some());
                let network = Network::perceptron(&widths, &init, &phi).expect("valid");
                let shapes = network.shapes().expect("valid");
                for (batch, precision) in [
                    (1, Precision::F64),
                    (2, Precision::F64),
                    (1, Precision::F32),
                    (2, Precision::F32),
                ] {
                    let method = Method::MatrixFree;
                    let setup =
                        Setup { batch, precision, method, moments: false, ..Setup::default() };
                    let laws = laws(&network, &shapes, precision).expect("exact");
                    for most_kept in [0, 1 << 20] {
                        let run = |observer: &mut dyn Observer<f64>| {
                            let mut arena = Arena { most_kept, ..Arena::default() };
                            let drawn =
                                draw(&network, &shapes, &laws, &setup, 0, &mut arena, observer);
                            // Debug output keeps infinities and NaN apart.
                            format!("{:?}", drawn.expect("runs"))
                        };
                        assert_eq!(run(&mut ()), run(&mut Reads), "{init} {phi} {batch}");
                    }
                }
            }
        }
    }
}

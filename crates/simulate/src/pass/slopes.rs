use gainstage_spec::Activation;
use rayon::prelude::*;

use super::divided::DIVIDED;
use crate::{Real, kernel};

/// What of a layer's pre-activations its backward pass needs.
pub(super) enum Slopes<T> {
    /// Nothing: the slope is 1 everywhere, or is not asked for.
    One,
    /// One bit for each value, set where it is positive: the activation has two slopes.
    Signs(Vec<u64>),
    /// The values.
    Values(Vec<T>),
}

impl<T: Real> Slopes<T> {
    /// From z, whose memory is left in `spare` unless the values themselves are kept.
    pub(super) fn of(phi: &Activation, z: Vec<T>, spare: &mut Vec<T>) -> Self {
        let slopes = match phi.slopes() {
            _ if *phi == Activation::Linear => Self::One,
            Some(_) => Self::Signs(signs(&z)),
            None => return Self::Values(z),
        };
        *spare = z;
        slopes
    }

    /// Bytes that [`Self::of`] keeps of `values` values.
    pub(super) fn bytes(phi: &Activation, values: usize) -> usize {
        match phi.slopes() {
            _ if *phi == Activation::Linear => 0,
            Some(_) => values.div_ceil(64) * 8,
            None => values * size_of::<T>(),
        }
    }

    /// Whether [`Self::of`] keeps signs.
    pub(super) fn are_signs(phi: &Activation) -> bool {
        *phi != Activation::Linear && phi.slopes().is_some()
    }

    /// `gradient *= phi'(z)`, bit for bit as [`crate::pull_back`].
    pub(super) fn pull_back(&self, phi: &Activation, gradient: &mut [T]) {
        if gradient.len() < DIVIDED {
            return self.pull_back_from(phi, 0, gradient);
        }
        let pieces = gradient.par_chunks_mut(DIVIDED / 2).enumerate();
        pieces.for_each(|(at, piece)| self.pull_back_from(phi, at * (DIVIDED / 2), piece));
    }

    /// The same of the values from `first` on, a multiple of 64.
    pub(super) fn pull_back_from(&self, phi: &Activation, first: usize, gradient: &mut [T]) {
        match (self, phi.slopes()) {
            (Self::Values(z), _) => {
                kernel::pull_back(phi, &z[first..first + gradient.len()], gradient);
            }
            (Self::Signs(signs), Some(slopes)) => by_signs(&signs[first / 64..], slopes, gradient),
            (Self::One | Self::Signs(_), _) => {}
        }
    }
}

fn signs<T: Real>(z: &[T]) -> Vec<u64> {
    let mut signs = vec![0; z.len().div_ceil(64)];
    write_signs(z, &mut signs);
    signs
}

/// One bit for each value, as far as `signs` reaches.
pub(super) fn write_signs<T: Real>(z: &[T], signs: &mut [u64]) {
    for (word, z) in signs.iter_mut().zip(z.chunks(64)) {
        *word = word_of(z);
    }
}

/// Bit i is set where value i of up to 64 is positive.
fn word_of<T: Real>(z: &[T]) -> u64 {
    let mut positive = [0u8; 64];
    for (p, &z) in positive.iter_mut().zip(z) {
        *p = u8::from(z > T::ZERO);
    }
    let eights = positive.as_chunks::<8>().0.iter().enumerate();
    // The product gathers the lowest bits of eight bytes in its highest byte, in their order.
    eights.fold(0, |word, (at, &eight)| {
        word | (u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * at)
    })
}

fn by_signs<T: Real>(signs: &[u64], (negative, positive): (f64, f64), gradient: &mut [T]) {
    let (negative, positive) = (T::from_f64(negative), T::from_f64(positive));
    for (gradient, &word) in gradient.chunks_mut(64).zip(signs) {
        let mut bits = [0u8; 64];
        for (at, eight) in bits.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let byte = (word >> (8 * at)) & 0xff;
            *eight =
                (byte.wrapping_mul(0x0101_0101_0101_0101) & 0x8040_2010_0804_0201).to_le_bytes();
        }
        for (g, bit) in gradient.iter_mut().zip(bits) {
            let slope = if bit != 0 { positive } else { negative };
            *g = if slope == T::ZERO { T::ZERO } else { slope.times(*g) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_give_the_bits_of_the_values() {
        for phi in ["relu", "leaky_relu(0.2)", "abs", "linear", "tanh"] {
            let phi: Activation = phi.parse().expect(phi);
            for len in [1, 63, 64, 65, 1000, DIVIDED + 77] {
                let mut z: Vec<f32> =
                    (0..len).map(|i| ((i * 37 + i / 64) % 17) as f32 - 8.0).collect();
                z[0] = f32::NAN;
                z[len / 2] = f32::INFINITY;
                let mut expected: Vec<f32> = (0..len).map(|i| (i % 11) as f32 - 5.0).collect();
                expected[len / 3] = f32::INFINITY;
                let mut found = expected.clone();
                kernel::pull_back(&phi, &z, &mut expected);
                let mut spare = Vec::new();
                let slopes = Slopes::of(&phi, z, &mut spare);
                assert_eq!(spare.is_empty(), phi == Activation::Tanh);
                slopes.pull_back(&phi, &mut found);
                let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
                assert_eq!(bits(found), bits(expected), "{phi}, {len}");
            }
        }
    }
}

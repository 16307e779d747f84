//! Activations over slices, with the piecewise linear ones and tanh on their own fast path.

use gainstage_spec::Activation;

use crate::Real;

/// `out = phi(z)`, element by element.
///
/// ```
/// use gainstage_simulate::activate;
/// use gainstage_spec::Activation;
/// let mut h = [0.0f32; 3];
/// activate(&Activation::Relu, &[-1.0, 0.5, f32::INFINITY], &mut h);
/// assert_eq!(h, [0.0, 0.5, f32::INFINITY]);
/// ```
pub fn activate<T: Real>(phi: &Activation, z: &[T], out: &mut [T]) {
    if let Some((negative, positive)) = phi.slopes() {
        let (negative, positive) = (T::from_f64(negative), T::from_f64(positive));
        for (o, &z) in out.iter_mut().zip(z) {
            // A slope of zero must not turn infinity into NaN.
            *o = if z > T::ZERO {
                positive.times(z)
            } else if negative == T::ZERO && z < T::ZERO {
                T::ZERO
            } else {
                negative.times(z)
            };
        }
    } else {
        for (o, &z) in out.iter_mut().zip(z) {
            *o = T::from_f64(phi.value(z.to_f64()));
        }
    }
}

/// `gradient *= phi'(z)`, element by element.
pub fn pull_back<T: Real>(phi: &Activation, z: &[T], gradient: &mut [T]) {
    if *phi == Activation::Linear {
        return;
    }
    if let Some((negative, positive)) = phi.slopes() {
        let (negative, positive) = (T::from_f64(negative), T::from_f64(positive));
        for (g, &z) in gradient.iter_mut().zip(z) {
            let slope = if z > T::ZERO { positive } else { negative };
            *g = if slope == T::ZERO { T::ZERO } else { slope.times(*g) };
        }
    } else {
        for (g, &z) in gradient.iter_mut().zip(z) {
            *g = T::from_f64(phi.derivative(z.to_f64())).times(*g);
        }
    }
}

/// Whether the derivative is exactly zero somewhere.
pub(crate) fn can_die(phi: &Activation) -> bool {
    phi.derivative(-10.0) == 0.0 || phi.derivative(10.0) == 0.0
}

/// Number of units whose derivative is exactly zero for every input of a chunk, `inputs x units`.
#[inline(always)]
pub(crate) fn dead_units<T: Real>(phi: &Activation, z: &[T], units: usize) -> usize {
    if *phi == Activation::Relu {
        let mut alive = [false; 64];
        let mut dead = 0;
        for start in (0..units).step_by(alive.len()) {
            let count = alive.len().min(units - start);
            let alive = &mut alive[..count];
            alive.fill(false);
            for row in z.chunks_exact(units) {
                for (alive, &z) in alive.iter_mut().zip(&row[start..start + count]) {
                    *alive |= z > T::ZERO;
                }
            }
            dead += alive.iter().filter(|a| !**a).count();
        }
        return dead;
    }
    (0..units).filter(|&unit| z.chunks_exact(units).all(|row| is_flat(phi, row[unit]))).count()
}

/// Sets `alive` where a unit's derivative is not exactly zero for every input of a chunk, `inputs x units`.
pub(crate) fn mark_alive<T: Real>(phi: &Activation, z: &[T], alive: &mut [bool]) {
    let relu = *phi == Activation::Relu;
    for row in z.chunks_exact(alive.len()) {
        let both = alive.iter_mut().zip(row);
        if relu {
            both.for_each(|(alive, &z)| *alive |= z > T::ZERO);
        } else {
            // A slope costs more than a look at what is known.
            both.for_each(|(alive, &z)| *alive = *alive || !is_flat(phi, z));
        }
    }
}

fn is_flat<T: Real>(phi: &Activation, z: T) -> bool {
    phi.derivative(z.to_f64()) == 0.0
}

/// Number of values of a bounded activation within 2.5% of the range of either end; `None` for an
/// unbounded one.
pub(crate) fn saturated<T: Real>(phi: &Activation, h: &[T]) -> Option<usize> {
    let (low, high) = phi.saturation_bounds()?;
    Some(h.iter().filter(|v| !(low..=high).contains(&v.to_f64())).count())
}

/// Rescales each row to mean square 1 about nothing (RMS) or about its mean (layer), or each column
/// about its mean (batch), and returns the factor of every row or column.
pub(crate) fn normalize<T: Real>(
    h: &mut [T],
    width: usize,
    axis: NormAxis,
    epsilon: f64,
) -> Vec<f64> {
    let groups = axis.groups(h.len(), width);
    (0..groups)
        .map(|group| {
            let indices = || axis.indices(group, h.len(), width);
            let count = indices().len() as f64;
            let mean = match axis {
                NormAxis::UnitsUncentred => 0.0,
                _ => indices().map(|i| h[i].to_f64()).sum::<f64>() / count,
            };
            let square = indices().map(|i| (h[i].to_f64() - mean).powi(2)).sum::<f64>() / count;
            let factor = 1.0 / (square + epsilon).sqrt();
            for i in axis.indices(group, h.len(), width) {
                h[i] = T::from_f64((h[i].to_f64() - mean) * factor);
            }
            factor
        })
        .collect()
}

/// The transposed Jacobian of [`normalize`] applied to `gradient`; `normalized` is its output.
///
/// g -> factor (g - mean g - y mean(g y)), the middle term only where the mean is taken off.
pub(crate) fn normalize_back<T: Real>(
    gradient: &mut [T],
    normalized: &[T],
    factors: &[f64],
    width: usize,
    axis: NormAxis,
) {
    for (group, &factor) in factors.iter().enumerate() {
        let indices = || axis.indices(group, normalized.len(), width);
        let count = indices().len() as f64;
        let mean = match axis {
            NormAxis::UnitsUncentred => 0.0,
            _ => indices().map(|i| gradient[i].to_f64()).sum::<f64>() / count,
        };
        let along =
            indices().map(|i| gradient[i].to_f64() * normalized[i].to_f64()).sum::<f64>() / count;
        for i in indices() {
            let g = gradient[i].to_f64() - mean - normalized[i].to_f64() * along;
            gradient[i] = T::from_f64(factor * g);
        }
    }
}

/// Over what a normalization averages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NormAxis {
    /// The inputs of a batch, for each unit (BatchNorm).
    Batch,
    /// The units, for each input (LayerNorm).
    Units,
    /// The same without taking off the mean (RMSNorm).
    UnitsUncentred,
}

impl NormAxis {
    fn groups(self, len: usize, width: usize) -> usize {
        if self == Self::Batch { width } else { len / width }
    }

    fn indices(
        self,
        group: usize,
        len: usize,
        width: usize,
    ) -> impl ExactSizeIterator<Item = usize> + use<> {
        let (start, step, count) = if self == Self::Batch {
            (group, width, len / width)
        } else {
            (group * width, 1, width)
        };
        (0..count).map(move |i| start + i * step)
    }
}

//! Values of a batch in memory, chunk after chunk of neurons.

use gainstage_spec::Activation;

/// How the values of a batch are stored: neurons `start .. start + len` of every input together, input
/// after input, then the next chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) batch: usize,
    chunk: usize,
}

impl Layout {
    /// Chunks that stay in the second-level cache with all that is made of them, and a multiple of what
    /// a block of normals holds. Smaller ones cost more in calls than they save in the first level.
    pub(crate) fn new(batch: usize) -> Self {
        Self { batch, chunk: (8192 / batch.next_power_of_two()).clamp(128, 1024) }
    }

    /// `(start, len)` of the chunks of neurons `from .. to`.
    #[inline(always)]
    pub(crate) fn chunks(self, from: usize, to: usize) -> impl Iterator<Item = (usize, usize)> {
        (from..to).step_by(self.chunk).map(move |start| (start, self.chunk.min(to - start)))
    }

    /// Largest number of values of one input in a chunk.
    pub(crate) fn chunk(self) -> usize {
        self.chunk
    }

    /// From `batch x width`, row after row.
    pub(crate) fn of_rows<T: Copy>(self, rows: &[T], wide: impl Fn(T) -> f64) -> Vec<f64> {
        let width = rows.len() / self.batch;
        let mut out = Vec::with_capacity(rows.len());
        for (start, len) in self.chunks(0, width) {
            for row in rows.chunks_exact(width) {
                out.extend(row[start..start + len].iter().map(|&v| wide(v)));
            }
        }
        out
    }

    /// To `batch x width`, row after row.
    pub(crate) fn to_rows(self, values: &[f64]) -> Vec<f64> {
        let width = values.len() / self.batch;
        let mut out = vec![0.0; values.len()];
        for (start, len) in self.chunks(0, width) {
            let chunk = &values[start * self.batch..(start + len) * self.batch];
            for (j, part) in chunk.chunks_exact(len).enumerate() {
                out[j * width + start..j * width + start + len].copy_from_slice(part);
            }
        }
        out
    }
}

/// `h = phi(z)`; piecewise linear activations in the instructions of the caller.
#[inline(always)]
pub(crate) fn activate(phi: &Activation, z: &[f64], h: &mut [f64]) {
    match phi.slopes() {
        Some((0.0, positive)) => {
            for (h, &z) in h.iter_mut().zip(z) {
                // Infinity times a slope of zero must not turn into NaN, and NaN must stay.
                *h = if z <= 0.0 { 0.0 } else { positive * z };
            }
        }
        Some((negative, positive)) => {
            for (h, &z) in h.iter_mut().zip(z) {
                *h = if z > 0.0 { positive } else { negative } * z;
            }
        }
        None => {
            for (h, &z) in h.iter_mut().zip(z) {
                *h = phi.value(z);
            }
        }
    }
}

/// `gradient *= phi'(z)`.
#[inline(always)]
pub(crate) fn pull_back(phi: &Activation, z: &[f64], gradient: &mut [f64]) {
    match phi.slopes() {
        Some((0.0, positive)) => {
            for (g, &z) in gradient.iter_mut().zip(z) {
                *g = if z > 0.0 { positive * *g } else { 0.0 };
            }
        }
        Some((negative, positive)) => {
            for (g, &z) in gradient.iter_mut().zip(z) {
                *g *= if z > 0.0 { positive } else { negative };
            }
        }
        None => {
            for (g, &z) in gradient.iter_mut().zip(z) {
                *g *= phi.derivative(z);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_the_chunks() {
        for (batch, width) in [(1, 1), (3, 7), (16, 300), (2, 1100)] {
            let layout = Layout::new(batch);
            let rows: Vec<f64> = (0..batch * width).map(|i| i as f64).collect();
            let stored = layout.of_rows(&rows, |v| v);
            assert_eq!(layout.to_rows(&stored), rows);
            // Input 1 of the first chunk lies behind input 0 of the same chunk.
            if batch > 1 {
                assert_eq!(stored[layout.chunk().min(width)], width as f64);
            }
        }
    }

    #[test]
    fn piecewise_linear_paths_are_the_definitions() {
        let z: Vec<f64> =
            [-3.5, -0.0, 0.0, 2.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN].to_vec();
        for phi in Activation::all() {
            let mut h = vec![0.0; z.len()];
            activate(&phi, &z, &mut h);
            let mut g = vec![2.0; z.len()];
            pull_back(&phi, &z, &mut g);
            for i in 0..z.len() {
                let close = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
                assert!(close(h[i], phi.value(z[i])), "{phi} at {}: {}", z[i], h[i]);
                assert!(close(g[i], 2.0 * phi.derivative(z[i])), "{phi}' at {}: {}", z[i], g[i]);
            }
        }
    }
}

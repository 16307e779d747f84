//! Values of a batch in memory, chunk after chunk of neurons.

use std::ops::Range;

use gainstage_spec::Activation;

/// How the values of a batch are stored: neurons `start .. start + len` of every input together, input
/// after input, then the next chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) batch: usize,
    chunk: usize,
    /// Whether the first input alone is one, and the others are directions in which it moves.
    tangents: bool,
}

impl Layout {
    /// Chunks that stay in the second-level cache with all that is made of them, and a multiple of what
    /// a block of normals holds. Smaller ones cost more in calls than they save in the first level.
    pub(crate) fn new(batch: usize) -> Self {
        let chunk = (8192 / batch.next_power_of_two()).clamp(128, 1024);
        Self { batch, chunk, tangents: false }
    }

    /// One input and `directions` tangents at it. Weights act on all of them alike; activations and
    /// normalizations on tangents by their derivative at the input, biases not at all.
    pub(crate) fn tangents(directions: usize) -> Self {
        Self { tangents: true, ..Self::new(1 + directions) }
    }

    /// How many of the batch are inputs.
    #[inline(always)]
    pub(crate) fn inputs(self) -> usize {
        if self.tangents { 1 } else { self.batch }
    }

    /// How many of the batch, the last ones, have error signals.
    pub(crate) fn errors(self) -> usize {
        if self.tangents { self.batch - 1 } else { self.batch }
    }

    /// The activations of a chunk, and the tangents behind them.
    #[inline(always)]
    pub(crate) fn activate(self, phi: &Activation, z: &[f64], h: &mut [f64]) {
        let inputs = self.inputs() * (z.len() / self.batch);
        let ((z, along), (h, turned)) = (z.split_at(inputs), h.split_at_mut(inputs));
        activate(phi, z, h);
        if self.tangents {
            turned.copy_from_slice(along);
            turn(phi, z, turned);
        }
    }

    /// The last layer's activations beside tangents that end in front of them.
    #[inline(always)]
    pub(crate) fn activate_inputs(self, phi: &Activation, z: &[f64], h: &mut [f64]) {
        let inputs = self.inputs() * (z.len() / self.batch);
        activate(phi, &z[..inputs], &mut h[..inputs]);
        h[inputs..].copy_from_slice(&z[inputs..]);
    }

    /// `gradient *= phi'(z)` for a chunk.
    #[inline(always)]
    pub(crate) fn pull_back(self, phi: &Activation, z: &[f64], gradient: &mut [f64]) {
        if self.tangents {
            turn(phi, &z[..z.len() / self.batch], gradient);
        } else {
            pull_back(phi, z, gradient);
        }
    }

    /// `(start, len)` of the chunks of neurons `from .. to`.
    #[inline(always)]
    pub(crate) fn chunks(self, from: usize, to: usize) -> impl Iterator<Item = (usize, usize)> {
        (from..to).step_by(self.chunk).map(move |start| (start, self.chunk.min(to - start)))
    }

    /// Where the chunks of a signal are.
    pub(crate) fn spans(self, width: usize) -> impl Iterator<Item = Range<usize>> {
        let batch = self.batch;
        self.chunks(0, width).map(move |(start, len)| start * batch..(start + len) * batch)
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

/// Every row times phi'(z) of one input.
#[inline(always)]
fn turn(phi: &Activation, z: &[f64], rows: &mut [f64]) {
    if phi.slopes().is_some() {
        rows.chunks_exact_mut(z.len()).for_each(|row| pull_back(phi, z, row));
        return;
    }
    // A derivative may take longer than all that it multiplies.
    let len = z.len();
    for (i, &z) in z.iter().enumerate() {
        let slope = phi.derivative(z);
        rows[i..].iter_mut().step_by(len).for_each(|v| *v *= slope);
    }
}

/// `h = phi(z)`; piecewise linear activations in the instructions of the caller.
#[inline(always)]
fn activate(phi: &Activation, z: &[f64], h: &mut [f64]) {
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
fn pull_back(phi: &Activation, z: &[f64], gradient: &mut [f64]) {
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
    fn tangents_turn_by_the_derivative_at_their_input() {
        let layout = Layout::tangents(2);
        let z = [0.4, -0.3, 0.0, 2.0, 1.0, -1.0, 0.5, 0.25, -8.0];
        for phi in Activation::all() {
            let (mut h, mut last, mut g) = ([0.0; 9], [0.0; 9], [3.0; 9]);
            layout.activate(&phi, &z, &mut h);
            layout.activate_inputs(&phi, &z, &mut last);
            layout.pull_back(&phi, &z, &mut g);
            for i in 0..9 {
                let slope = phi.derivative(z[i % 3]);
                assert_eq!(h[i], if i < 3 { phi.value(z[i]) } else { z[i] * slope }, "{phi}");
                assert_eq!(last[i], if i < 3 { phi.value(z[i]) } else { z[i] }, "{phi}");
                assert_eq!(g[i], 3.0 * slope, "{phi}");
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

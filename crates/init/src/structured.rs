//! Arrays whose entries depend on each other, in the order of [`gainstage_spec::Layout::OutIn`].

use gainstage_spec::WeightShape;
use rand::RngExt;

use crate::draw::Scalar;
use crate::key::Key;
use crate::orthogonal::haar;

/// The weight array read as a matrix: one row per output, one column per input of the output's group
/// and tap of the kernel.
pub(crate) struct Places<'a>(pub(crate) &'a WeightShape);

impl Places<'_> {
    fn rows(&self) -> usize {
        self.0.outputs()
    }

    fn cols(&self) -> usize {
        self.0.elements() / self.0.outputs()
    }

    /// Index in the array of the weight to `output` from input `inside` of its group at `tap`.
    fn index(&self, output: usize, inside: usize, tap: usize) -> usize {
        let shape = self.0;
        let (inputs, outputs) = (shape.inputs() / shape.groups(), shape.outputs() / shape.groups());
        if shape.is_embedding() {
            inside * outputs + output
        } else if shape.is_transposed() {
            let input = output / outputs * inputs + inside;
            (input * outputs + output % outputs) * shape.field() + tap
        } else {
            (output * inputs + inside) * shape.field() + tap
        }
    }

    fn at(&self, row: usize, col: usize) -> usize {
        self.index(row, col / self.0.field(), col % self.0.field())
    }

    /// The kernel's middle; of the two middles of an even kernel the first, where `same` padding
    /// passes the signal on.
    fn centre(&self) -> usize {
        self.0.kernel().iter().fold(0, |index, &size| index * size + (size - 1) / 2)
    }

    pub(crate) fn identity<S: Scalar>(&self, gain: f64, out: &mut [S]) {
        out.fill(S::default());
        for i in 0..self.rows().min(self.cols()) {
            out[self.at(i, i)] = S::nearest(gain);
        }
    }

    pub(crate) fn orthogonal<S: Scalar>(&self, gain: f64, key: Key, out: &mut [S]) {
        let cols = self.cols();
        for (k, q) in haar(self.rows(), cols, key).into_iter().enumerate() {
            out[self.at(k / cols, k % cols)] = S::nearest(gain * q);
        }
    }

    /// Sets `zeros` entries of every column to zero, a random subset each.
    pub(crate) fn sparsify<S: Scalar>(&self, zeros: usize, key: Key, out: &mut [S]) {
        let (rows, mut stream) = (self.rows(), key.stream());
        let mut order: Vec<usize> = (0..rows).collect();
        for col in 0..self.cols() {
            // The first `zeros` places of a partial Fisher-Yates shuffle.
            for i in 0..zeros.min(rows) {
                order.swap(i, stream.random_range(i..rows));
                out[self.at(order[i], col)] = S::default();
            }
        }
    }

    pub(crate) fn dirac<S: Scalar>(&self, gain: f64, out: &mut [S]) {
        out.fill(S::default());
        let groups = self.0.groups();
        let (inputs, outputs) = (self.0.inputs() / groups, self.0.outputs() / groups);
        for group in 0..groups {
            for channel in 0..inputs.min(outputs) {
                out[self.index(group * outputs + channel, channel, self.centre())] =
                    S::nearest(gain);
            }
        }
    }

    pub(crate) fn delta_orthogonal<S: Scalar>(&self, gain: f64, key: Key, out: &mut [S]) {
        out.fill(S::default());
        let inputs = self.0.inputs();
        for (k, q) in haar(self.rows(), inputs, key).into_iter().enumerate() {
            out[self.index(k / inputs, k % inputs, self.centre())] = S::nearest(gain * q);
        }
    }
}

#[cfg(test)]
mod tests {
    use gainstage_spec::{Initializer, Layout};
    use nalgebra::DMatrix;

    use super::*;
    use crate::{Purpose, fill, fill_f64};

    fn key(layer: u32) -> Key {
        Key::new(31, Purpose::Weights, 0, layer)
    }

    /// Applies a kernel at one place: output channels from the input patch `[input][tap]`, by the
    /// definition of a convolution and with no knowledge of how arrays are filled.
    fn apply(shape: &WeightShape, w: &[f64], patch: &[f64]) -> Vec<f64> {
        let axes = shape.axes(Layout::OutIn);
        let (field, groups) = (shape.field(), shape.groups());
        let mut out = vec![0.0; shape.outputs()];
        for a in 0..axes[0] {
            for b in 0..axes[1] {
                for k in 0..field {
                    let weight = w[(a * axes[1] + b) * field + k];
                    let (output, input) = if shape.is_transposed() {
                        (a / (axes[0] / groups) * axes[1] + b, a)
                    } else if shape.is_embedding() {
                        (b, a)
                    } else {
                        (a, a / (axes[0] / groups) * axes[1] + b)
                    };
                    out[output] += weight * patch[input * field + k];
                }
            }
        }
        out
    }

    fn shapes() -> Vec<WeightShape> {
        vec![
            WeightShape::dense(9, 5).expect("valid"),
            WeightShape::embedding(7, 3).expect("valid"),
            WeightShape::embedding(3, 7).expect("valid"),
            WeightShape::conv(&[3, 2], 4, 6, 1).expect("valid"),
            WeightShape::conv(&[3], 4, 6, 2).expect("valid"),
            WeightShape::conv_transposed(&[2], 3, 4, 1).expect("valid"),
            WeightShape::conv_transposed(&[3], 4, 6, 2).expect("valid"),
        ]
    }

    /// The matrix of a group by columns, each the response to a unit patch.
    fn matrix(shape: &WeightShape, w: &[f64], group: usize) -> DMatrix<f64> {
        let (patch, groups) = (shape.inputs() * shape.field(), shape.groups());
        let (from, rows) = (patch / groups * group, shape.outputs() / groups);
        DMatrix::from_fn(rows, patch / groups, |row, col| {
            let mut unit = vec![0.0; patch];
            unit[from + col] = 1.0;
            apply(shape, w, &unit)[group * rows + row]
        })
    }

    #[test]
    fn orthogonal_arrays_keep_lengths_in_every_kind_of_layer() {
        for shape in shapes() {
            let mut w = vec![0.0f64; shape.elements()];
            let gain = 1.5;
            fill_f64(&Initializer::Orthogonal { gain }, &shape, Layout::OutIn, key(0), &mut w)
                .expect("fills");
            // All groups' rows side by side make the matrix that is orthogonal.
            let groups: Vec<_> = (0..shape.groups()).map(|g| matrix(&shape, &w, g)).collect();
            let cols = groups[0].ncols();
            let all = DMatrix::from_fn(shape.outputs(), cols, |row, col| {
                groups[row / groups[0].nrows()][(row % groups[0].nrows(), col)]
            });
            let gram = if shape.outputs() <= cols {
                &all * all.transpose()
            } else {
                all.transpose() * &all
            };
            let error =
                (&gram - DMatrix::identity(gram.nrows(), gram.nrows()) * gain.powi(2)).amax();
            assert!(error < 1e-12, "{shape}: {error}");
        }
    }

    #[test]
    fn orthogonal_arrays_are_orthogonal_in_f32_too() {
        for (inputs, outputs) in [(200, 200), (65, 130), (300, 33)] {
            let shape = WeightShape::dense(inputs, outputs).expect("valid");
            let mut w = vec![0.0f32; shape.elements()];
            fill(&Initializer::Orthogonal { gain: 1.0 }, &shape, Layout::OutIn, key(1), &mut w)
                .expect("fills");
            let w = DMatrix::from_row_iterator(outputs, inputs, w.iter().map(|&v| f64::from(v)));
            let gram = if outputs <= inputs { &w * w.transpose() } else { w.transpose() * &w };
            assert!((&gram - DMatrix::identity(gram.nrows(), gram.nrows())).amax() < 1e-6);
        }
    }

    #[test]
    fn sparse_arrays_have_their_zeros_in_every_column_and_at_random_places() {
        for shape in shapes() {
            let mut w = vec![0.0f64; shape.elements()];
            fill_f64(
                &Initializer::Sparse { sparsity: 0.5, std: 1.0 },
                &shape,
                Layout::OutIn,
                key(2),
                &mut w,
            )
            .expect("fills");
            let places = Places(&shape);
            let zeros = (0.5 * shape.outputs() as f64).ceil() as usize;
            for col in 0..places.cols() {
                let found = (0..places.rows()).filter(|&row| w[places.at(row, col)] == 0.0).count();
                assert_eq!(found, zeros, "{shape}, column {col}");
            }
        }
        // Zeros per row of 40 x 4000 at one half: binomial to within the column constraint, which only
        // narrows it; 5.5 standard deviations at a false-alarm rate of 40 x 4e-8.
        let shape = WeightShape::dense(4000, 40).expect("valid");
        let mut w = vec![0.0f32; shape.elements()];
        let sparse = Initializer::Sparse { sparsity: 0.5, std: 1.0 };
        fill(&sparse, &shape, Layout::OutIn, key(3), &mut w).expect("fills");
        for row in w.chunks_exact(4000) {
            let zeros = row.iter().filter(|v| **v == 0.0).count() as f64;
            assert!((zeros - 2000.0).abs() < 5.5 * 0.5 * 4000f64.sqrt(), "{zeros}");
        }
    }

    #[test]
    fn dirac_passes_channels_on_and_delta_orthogonal_keeps_their_length() {
        for shape in shapes().into_iter().filter(WeightShape::is_conv) {
            let patch: Vec<f64> =
                (0..shape.inputs() * shape.field()).map(|i| 1.0 + i as f64).collect();
            let centre = Places(&shape).centre();
            let middle: Vec<f64> =
                (0..shape.inputs()).map(|c| patch[c * shape.field() + centre]).collect();
            let mut w = vec![0.0f64; shape.elements()];
            fill_f64(&Initializer::Dirac { gain: 2.0 }, &shape, Layout::OutIn, key(4), &mut w)
                .expect("fills");
            let (ins, outs) = (shape.inputs() / shape.groups(), shape.outputs() / shape.groups());
            for (channel, value) in apply(&shape, &w, &patch).into_iter().enumerate() {
                let (group, inside) = (channel / outs, channel % outs);
                let expected = if inside < ins { 2.0 * middle[group * ins + inside] } else { 0.0 };
                assert_eq!(value, expected, "{shape}, channel {channel}");
            }
            let delta = Initializer::DeltaOrthogonal { gain: 2.0 };
            if fill_f64(&delta, &shape, Layout::OutIn, key(5), &mut w).is_ok() {
                let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
                let ratio = length(&apply(&shape, &w, &patch)) / length(&middle);
                assert!((ratio - 2.0).abs() < 1e-12, "{shape}: {ratio}");
            }
        }
    }
}

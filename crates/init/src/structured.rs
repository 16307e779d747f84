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

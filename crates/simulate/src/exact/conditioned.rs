//! The law of W'D given all that the forward pass has seen of W.

use super::coefficients::Coefficients;
use super::factor::{Factor, subtract_transposed, transpose};
use super::fault::{Fault, planted};
use super::layer::Entered;
use super::sampled::{PARALLEL, Sampled, leaves_f32};
use super::signal::Layout;

/// For orthogonal weights the part of an error signal that the forward pass has not yet fixed is a
/// difference; below this share of the whole it is rounding.
const DETERMINED: f64 = 1e-10;

/// The law of W'D given the forward pass.
pub(super) struct Conditioned<'a> {
    layer: &'a Sampled,
    /// (W U)'D over the scale of the weights: what the forward pass has fixed.
    known: Vec<f64>,
    /// M with M M' the Gram of what it has not.
    pub(super) residual: Factor,
}

impl<'a> Conditioned<'a> {
    pub(super) fn new(layer: &'a Sampled, entered: &Entered, batch: usize) -> Self {
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
    pub(super) fn coefficients(
        &self,
        shared: &[f64],
        fresh_gram: &[f64],
        layout: Layout,
    ) -> (Coefficients, Coefficients, bool) {
        let (factor, fresh_rank, batch) = (&self.layer.factor, self.residual.rank(), layout.batch);
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
        // An input that only carries tangents has no error signal.
        let skipped = batch - layout.errors();
        let of_errors =
            [&of_fresh[skipped * fresh_rank..], &by_input[skipped * self.layer.rank()..]];
        let leaves = leaves_f32(&of_errors, layout.errors());
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

//! One weight layer: its weights are drawn, used, and drawn again on the way back.

use gainstage_init::Purpose;
use gainstage_spec::{Dense, Initializer};
use gainstage_stats::Moments;
use rayon::prelude::*;

use super::divided::{DIVIDED, mean_squares};
use super::noted::{Forward, Rows};
use super::{Compute, Incoming, Observer, Pass, Saved, Slopes, Stage};
use crate::product::divided_product;
use crate::trace::{Breakdown, BreakdownKind, Energy, LayerDraw, SignalMoments};
use crate::{Matrix, SimulateError};

impl<T: Compute> Pass<'_, T> {
    fn draw_weights(
        &self,
        index: usize,
        dense: &Dense,
        out: &mut Vec<T>,
    ) -> Result<(), SimulateError> {
        let (shape, initializer) = (&self.shapes[index], &dense.weights);
        let key = self.key(Purpose::Weights, index as u32);
        let failed = |reason| SimulateError::Weights { layer: index + 1, reason };
        out.resize(shape.elements(), T::ZERO);
        if let Some(given) = self.given {
            let weights = &given[index].weights;
            out.iter_mut().zip(weights).for_each(|(o, &w)| *o = T::from_f64(w));
        } else if out.len() < DIVIDED || !is_independent(initializer) {
            T::fill(initializer, shape, key, out).map_err(failed)?;
        } else {
            let law = initializer.law(shape)?;
            let pieces = out.par_chunks_mut(DIVIDED / 2).enumerate();
            pieces
                .try_for_each(|(at, piece)| {
                    T::fill_block(&law, key, (at * (DIVIDED / 2)) as u64, piece)
                })
                .map_err(failed)?;
        }
        self.setup.precision.round(out);
        Ok(())
    }

    pub(super) fn dense_forward<'n>(
        &mut self,
        dense: &'n Dense,
        h: &mut Vec<T>,
        observer: &mut impl Observer<T>,
    ) -> Result<Saved<'n, T>, SimulateError> {
        let index = self.next_dense;
        self.next_dense += 1;
        let shape = &self.shapes[index];
        // A Gram that is passed again is calculated then.
        let grams = self.setup.grams && self.stage != Stage::Ahead;
        let (incoming, rank) = Incoming::new(h, self.batch, dense.width, grams, &mut self.products);

        let mut weights = std::mem::take(&mut self.weights);
        self.draw_weights(index, dense, &mut weights)?;
        let mut z = std::mem::take(&mut self.spare);
        z.resize(self.batch * dense.width, T::ZERO);
        divided_product(
            &mut z,
            Matrix::new(h, self.batch, shape.inputs()),
            Matrix::new(&weights, dense.width, shape.inputs()).transposed(),
        );
        let weights_alive = weights.iter().any(|&w| w != T::ZERO);
        let kept = if self.keep_weights {
            Some(weights)
        } else {
            self.weights = weights;
            None
        };

        let mut bias = Vec::new();
        match self.given {
            Some(given) => bias.extend(given[index].bias.iter().map(|&b| T::from_f64(b))),
            None if dense.bias != Initializer::zeros() => {
                bias.resize(dense.width, T::ZERO);
                T::fill_bias(
                    &dense.bias,
                    shape,
                    self.key(Purpose::Biases, index as u32),
                    &mut bias,
                )
                .map_err(|reason| SimulateError::Weights { layer: index + 1, reason })?;
            }
            None => {}
        }
        if !bias.is_empty() {
            for row in z.chunks_exact_mut(dense.width) {
                row.iter_mut().zip(&bias).for_each(|(z, &b)| *z = z.plus(b));
            }
        }
        self.setup.precision.round(&mut z);
        h.resize(z.len(), T::ZERO);
        let keeps = self.stage != Stage::Ahead && index + 1 < self.shapes.len();
        let signs = keeps && Slopes::<T>::are_signs(&dense.activation);
        let mut signs = vec![0u64; if signs { z.len().div_ceil(64) } else { 0 }];
        let noted = self.rows(dense).forward(self.stage, &z, h, &mut signs);

        if self.stage != Stage::Again {
            let alive = weights_alive && incoming.squares.iter().any(|&s| s > 0.0);
            self.note_signal(index, &z, h, &noted, alive);
            observer.forward(index, &z, h);
        }
        if let Some(trace) = &mut self.traces[index] {
            trace.effective_rank = rank;
        }
        let slopes = if !signs.is_empty() {
            self.spare = z;
            Slopes::Signs(signs)
        } else if keeps {
            Slopes::of(&dense.activation, z, &mut self.spare)
        } else {
            self.spare = z;
            Slopes::One
        };
        Ok(Saved::Dense { index, dense, slopes, incoming, weights: kept })
    }

    pub(super) fn rows<'a>(&self, dense: &'a Dense) -> Rows<'a> {
        Rows {
            activation: &dense.activation,
            width: dense.width,
            precision: self.setup.precision,
            moments: self.setup.moments,
        }
    }

    fn note_signal(&mut self, index: usize, z: &[T], h: &[T], noted: &Forward, alive: bool) {
        let [squares, activations] = &noted.squares;
        self.note_breakdown(index, false, z, squares, alive);
        // What underflow has left over may all be cut off by the activation; a layer that dies with no
        // zero among its pre-activations is merely dead.
        if activations.iter().all(|&s| s == 0.0) && z.contains(&T::ZERO) {
            self.note_breakdown(index, false, h, activations, alive);
        }
        self.traces[index] = Some(LayerDraw {
            forward: Energy::of(squares),
            activation: Energy::of(activations),
            gradient: Energy::default(),
            weight_gradient: Energy::default(),
            batch_weight_gradient: None,
            effective_rank: None,
            cosine: noted.cosine(z.len() / self.batch),
            dead: noted.dead_share(),
            saturated: noted.saturated_share(h.len()),
            moments: noted.moments.map(|[pre_activation, activation]| {
                Box::new(SignalMoments { pre_activation, activation, ..SignalMoments::default() })
            }),
        });
    }

    pub(super) fn note_gradient(
        &mut self,
        index: usize,
        incoming: &Incoming<T>,
        (squares, moments): (Vec<f64>, Option<Moments>),
        gradient: &[T],
    ) {
        let weights = self.shapes[index].elements() as f64;
        let by_weight: Vec<f64> =
            squares.iter().zip(&incoming.squares).map(|(d, h)| d * h).collect();
        let whole = incoming.weight_gradient(gradient, self.batch, &mut self.products);
        if let Some(trace) = &mut self.traces[index] {
            trace.gradient = Energy::of(&squares);
            trace.weight_gradient = Energy::of(&by_weight);
            trace.batch_weight_gradient = whole.map(|s| s / weights);
            if let Some((all, error_signal)) = trace.moments.as_mut().zip(moments) {
                all.error_signal = error_signal;
            }
        }
    }

    pub(super) fn dense_backward(
        &mut self,
        index: usize,
        dense: &Dense,
        weights: Option<Vec<T>>,
        gradient: &mut Vec<T>,
    ) -> Result<(), SimulateError> {
        let inputs = self.shapes[index].inputs();
        let weights = if let Some(kept) = weights {
            kept
        } else {
            let mut weights = std::mem::take(&mut self.weights);
            self.draw_weights(index, dense, &mut weights)?;
            weights
        };
        let mut below = std::mem::take(&mut self.spare);
        below.resize(self.batch * inputs, T::ZERO);
        divided_product(
            &mut below,
            Matrix::new(gradient, self.batch, dense.width),
            Matrix::new(&weights, dense.width, inputs),
        );
        self.setup.precision.round(&mut below);
        let alive_before =
            gradient.iter().any(|&g| g != T::ZERO) && weights.iter().any(|&w| w != T::ZERO);
        // What arrives below belongs to the next layer down; layer 0 is the input.
        let arrived = mean_squares(&below, self.batch);
        self.note_breakdown(index.wrapping_sub(1), true, &below, &arrived, alive_before);
        self.weights = weights;
        self.spare = std::mem::replace(gradient, below);
        Ok(())
    }

    /// `squares` are the mean squares of the values' rows, which tell most of it.
    fn note_breakdown(
        &mut self,
        index: usize,
        backward: bool,
        values: &[T],
        squares: &[f64],
        alive_before: bool,
    ) {
        let slot = &mut self.breakdowns[usize::from(backward)];
        if slot.is_some() {
            return;
        }
        let finite = squares.iter().all(|s| s.is_finite());
        let zero = squares.iter().all(|&s| s == 0.0);
        // Squares of f64 overflow and vanish before the values do.
        let kind = if !finite && values.iter().any(|v| !v.to_f64().is_finite()) {
            BreakdownKind::Overflow
        } else if alive_before && zero && values.iter().all(|&v| v == T::ZERO) {
            BreakdownKind::Underflow
        } else {
            return;
        };
        *slot = Some(Breakdown { kind, layer: index.wrapping_add(1), backward });
    }
}

/// Whether every weight is drawn by its own index.
fn is_independent(initializer: &Initializer) -> bool {
    !matches!(
        initializer,
        Initializer::Identity { .. }
            | Initializer::Orthogonal { .. }
            | Initializer::Sparse { .. }
            | Initializer::Dirac { .. }
            | Initializer::DeltaOrthogonal { .. }
    )
}

#[cfg(test)]
mod tests {
    use gainstage_init::{Key, fill};
    use gainstage_spec::{Activation, Layout, Network};

    use super::*;
    use crate::{Setup, measure};

    #[test]
    fn weights_drawn_in_pieces_are_the_layers_weights() {
        // One input that is 1 at one place picks out a column: z holds that column of W.
        let width = 400;
        for init in ["he_uniform", "keras_he_normal", "orthogonal"] {
            let init: Initializer = init.parse().expect(init);
            let network = Network::uniform(width, 1, &init, &Activation::Linear).expect("valid");
            let column = width - 3;
            let mut x = vec![0.0f32; width];
            x[column] = 1.0;
            let inputs = crate::InputSource::Given(x.into());
            let setup = Setup { trials: 1, batch: 1, inputs, ..Setup::default() };
            let found = measure(&network, &setup).expect("runs").layers[0].draws[0].forward.first;
            let shape = &network.shapes().expect("valid")[0];
            assert!(shape.elements() > DIVIDED);
            let mut weights = vec![0.0f32; shape.elements()];
            let key = Key::new(setup.seed, Purpose::Weights, 0, 0);
            fill(&init, shape, Layout::OutIn, key, &mut weights).expect("fills");
            let expected = weights.iter().skip(column).step_by(width);
            let expected = expected.map(|&w| f64::from(w).powi(2)).sum::<f64>() / width as f64;
            assert!((found / expected - 1.0).abs() < 1e-12, "{init}: {found} against {expected}");
        }
    }
}

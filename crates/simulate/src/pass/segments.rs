//! Deep networks in little memory: only the signals between segments of layers are kept on the way
//! forward, and a segment is passed again before it is passed backward (Chen et al. 2016,
//! arXiv:1604.06174).

use std::ops::Range;

use gainstage_spec::{Layer, Network};

use super::{Compute, Incoming, Observer, Pass, Slopes, Stage};
use crate::{Real, Setup, SimulateError};

/// A signal between segments, and the streams' places there.
struct Checkpoint<T> {
    h: Vec<T>,
    next_dense: usize,
    next_dropout: u32,
}

impl<T: Compute> Pass<'_, T> {
    /// Forward through all segments and back; returns dL/dx.
    pub(super) fn run(
        &mut self,
        network: &Network,
        segments: &[Range<usize>],
        mut h: Vec<T>,
        error: impl FnOnce(&[T]) -> Result<Vec<T>, SimulateError>,
        observer: &mut impl Observer<T>,
    ) -> Result<Vec<T>, SimulateError> {
        let mut checkpoints = Vec::with_capacity(segments.len());
        let mut saved = Vec::new();
        for (at, segment) in segments.iter().enumerate() {
            let last = at + 1 == segments.len();
            self.stage = if last { Stage::Once } else { Stage::Ahead };
            if !last {
                let (next_dense, next_dropout) = (self.next_dense, self.next_dropout);
                checkpoints.push(Checkpoint { h: h.clone(), next_dense, next_dropout });
            }
            (h, saved) = self.forward(&network.layers[segment.clone()], h, observer)?;
        }
        let mut gradient = self.backward(saved, error(&h)?, observer)?;
        self.stage = Stage::Again;
        for segment in segments.iter().rev().skip(1) {
            let Some(checkpoint) = checkpoints.pop() else { break };
            (self.next_dense, self.next_dropout) = (checkpoint.next_dense, checkpoint.next_dropout);
            let layers = &network.layers[segment.clone()];
            let (_, saved) = self.forward(layers, checkpoint.h, observer)?;
            gradient = self.backward(saved, gradient, observer)?;
        }
        Ok(gradient)
    }
}

/// The fewest segments, a power of two, whose signals fit into the budget of a draw.
///
/// # Errors
/// [`SimulateError::Memory`] if no number does.
pub(super) fn plan<T: Real>(
    network: &Network,
    setup: &Setup,
) -> Result<Vec<Range<usize>>, SimulateError> {
    let layers = &network.layers;
    // Without a budget one segment holds everything.
    let budget = setup.memory.unwrap_or(usize::MAX);
    // As many draws as threads are under way at once.
    let draws = rayon::current_num_threads().min(setup.trials).max(1);
    let mut width = network.input;
    // Bytes of the signal before each layer, and of what all layers before it keep.
    let (mut signals, mut kept) = (Vec::with_capacity(layers.len()), vec![0usize]);
    for layer in layers {
        signals.push(setup.batch.saturating_mul(width * size_of::<T>()));
        let bytes = layer_bytes::<T>(layer, &mut width, setup);
        kept.push(kept[kept.len() - 1].saturating_add(bytes));
    }
    let mut least = usize::MAX;
    let mut count = 1;
    loop {
        let length = layers.len().div_ceil(count);
        let segments: Vec<Range<usize>> = (0..layers.len())
            .step_by(length)
            .map(|from| from..(from + length).min(layers.len()))
            .collect();
        let checkpoints: usize = segments.iter().rev().skip(1).map(|s| signals[s.start]).sum();
        let largest = segments.iter().map(|s| kept[s.end] - kept[s.start]).max().unwrap_or(0);
        let needed = checkpoints.saturating_add(largest).saturating_mul(draws);
        if needed <= budget {
            return Ok(segments);
        }
        least = least.min(needed);
        if count >= layers.len() {
            return Err(SimulateError::Memory { budget, least });
        }
        count = (2 * count).min(layers.len());
    }
}

/// Bytes that a layer keeps for its backward pass; `width` is that of its input, then of its output.
fn layer_bytes<T: Real>(layer: &Layer, width: &mut usize, setup: &Setup) -> usize {
    let batch = setup.batch;
    let signal = batch.saturating_mul(*width * size_of::<T>());
    match layer {
        Layer::Dense(dense) => {
            let slopes = Slopes::<T>::bytes(&dense.activation, batch * dense.width);
            let incoming = Incoming::<T>::bytes(batch, *width, dense.width);
            *width = dense.width;
            slopes + if setup.grams { incoming } else { 0 }
        }
        Layer::Activation { function } => Slopes::<T>::bytes(function, batch * *width),
        Layer::Residual { branch, .. } => {
            let mut inner = *width;
            branch.iter().map(|layer| layer_bytes::<T>(layer, &mut inner, setup)).sum()
        }
        _ => signal,
    }
}

#[cfg(test)]
mod tests {
    use gainstage_spec::{Activation, Initializer};

    use super::*;
    use crate::{Setup, measure};

    #[test]
    fn any_budget_gives_the_same_bits() {
        let network = crate::tests::mixed(12);
        let deep =
            Network::uniform(16, 40, &Initializer::he_normal(), &Activation::Tanh).expect("valid");
        for (network, budgets) in [(network, &[1100, 1400][..]), (deep, &[3500, 4000, 7000])] {
            let run = |memory| {
                let setup = Setup {
                    trials: 2,
                    batch: 4,
                    grams: true,
                    histogram_bins: 8,
                    memory,
                    ..Setup::default()
                };
                let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("pool");
                pool.install(|| measure(&network, &setup))
            };
            let whole = serde_json::to_string(&run(None).expect("runs")).expect("writes");
            for &budget in budgets {
                let plan = plan::<f32>(
                    &network,
                    &Setup {
                        trials: 1,
                        batch: 4,
                        grams: true,
                        memory: Some(budget),
                        ..Setup::default()
                    },
                );
                assert!(plan.expect("fits").len() > 1, "{budget}");
                let measured = run(Some(budget)).expect("runs");
                assert_eq!(serde_json::to_string(&measured).expect("writes"), whole, "{budget}");
            }
            assert!(matches!(run(Some(100)), Err(SimulateError::Memory { budget: 100, .. })));
        }
    }
}

use gainstage_stats::{Histogram, Moments};
use serde::Serialize;

/// Second moments of one signal in one layer under one weight draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Energy {
    /// Mean over inputs and units of the square.
    pub mean: f64,
    /// Mean over inputs of the logarithm of each input's mean square; -inf if one input has none.
    pub log_mean: f64,
    /// The first input's mean square: one draw of the finite-width law for a single input.
    pub first: f64,
}

impl Energy {
    /// From each input's mean square.
    pub(crate) fn of(squares: &[f64]) -> Self {
        Self::of_each(squares.iter().copied())
    }

    /// As [`Energy::of`], without a place to keep them.
    pub(crate) fn of_each(squares: impl ExactSizeIterator<Item = f64> + Clone) -> Self {
        let n = squares.len() as f64;
        Self {
            mean: squares.clone().sum::<f64>() / n,
            log_mean: squares.clone().map(f64::ln).sum::<f64>() / n,
            first: { squares }.next().unwrap_or(0.0),
        }
    }
}

/// What one weight draw did to one dense layer.
///
/// `z = W h + b` is the pre-activation, `h' = phi(z)` the activation, `delta = dL/dz` the error signal.
#[derive(Clone, Debug, Serialize)]
pub struct LayerDraw {
    /// Second moment of z per unit.
    pub forward: Energy,
    /// Second moment of phi(z) per unit.
    pub activation: Energy,
    /// Second moment of delta per unit.
    pub gradient: Energy,
    /// Mean square of the entries of one input's weight gradient, delta h^T:
    /// |delta|^2 |h|^2 / (fan_in fan_out).
    pub weight_gradient: Energy,
    /// Mean square of the entries of the whole batch's weight gradient, the sum over inputs of
    /// delta h^T; `None` where the setup does not ask for Grams.
    pub batch_weight_gradient: Option<f64>,
    /// Effective rank of the incoming batch, (sum of eigenvalues)^2 / sum of squared eigenvalues of
    /// its Gram: 1 for parallel inputs, at most the batch. `None` without a signal or Grams.
    pub effective_rank: Option<f64>,
    /// Moments to the fourth; `None` where the setup asks for none. Boxed, since deep networks keep many
    /// draws of many layers.
    pub moments: Option<Box<SignalMoments>>,
    /// Mean cosine between the pre-activations of inputs 2k and 2k + 1; `None` for a batch of one.
    pub cosine: Option<f64>,
    /// Share of units whose slope is zero for every input of the batch; `None` where none can be.
    pub dead: Option<f64>,
    /// Share of values within 2.5% of the range of either end; `None` for an unbounded activation.
    pub saturated: Option<f64>,
}

/// Moments over units and inputs of one layer's signals under one weight draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SignalMoments {
    /// Of z.
    pub pre_activation: Moments,
    /// Of phi(z).
    pub activation: Moments,
    /// Of delta.
    pub error_signal: Moments,
}

/// The participation ratio of a Gram's eigenvalues, (tr K)^2 / tr K^2.
pub(crate) fn effective_rank(gram: &[f64], batch: usize) -> Option<f64> {
    let trace: f64 = (0..batch).map(|j| gram[j * (batch + 1)]).sum();
    let squares: f64 = gram.iter().map(|k| (k / trace).powi(2)).sum();
    (trace > 0.0 && squares.is_finite()).then(|| 1.0 / squares)
}

/// A number format gave way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakdownKind {
    /// A value became infinite or NaN.
    Overflow,
    /// Every value became exactly zero although neither weights nor incoming signal were.
    Underflow,
}

/// Where a number format gave way first in one draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Breakdown {
    /// What happened.
    pub kind: BreakdownKind,
    /// The dense layer, from 1. Backward it is the first layer met from the output.
    pub layer: usize,
    /// Whether the error signal broke down rather than the signal.
    pub backward: bool,
}

/// Everything measured under one weight draw.
#[derive(Clone, Debug, Serialize)]
pub struct Draw {
    /// One entry per dense layer.
    pub layers: Vec<LayerDraw>,
    /// The first overflow or underflow of the forward pass, then that of the backward pass.
    pub breakdowns: Vec<Breakdown>,
    /// Second moment per coordinate of dL/dx, the error signal that reaches the input.
    pub input_gradient: Energy,
}

/// One dense layer over all draws.
#[derive(Clone, Debug, Serialize)]
pub struct LayerMeasured {
    /// Index of the dense layer, from 1.
    pub layer: usize,
    /// Connections into each unit.
    pub fan_in: usize,
    /// Connections out of each input.
    pub fan_out: usize,
    /// One entry per weight draw, in the order of trials.
    pub draws: Vec<LayerDraw>,
    /// Histograms of z, phi(z) and delta over all draws, where asked for.
    pub histograms: Option<LayerHistograms>,
}

impl LayerMeasured {
    /// A quantity of every draw.
    pub fn values(&self, quantity: impl Fn(&LayerDraw) -> f64) -> Vec<f64> {
        self.draws.iter().map(quantity).collect()
    }

    /// The mean of a quantity over the draws.
    pub fn mean(&self, quantity: impl Fn(&LayerDraw) -> f64) -> f64 {
        self.draws.iter().map(quantity).sum::<f64>() / self.draws.len() as f64
    }
}

/// Distributions of one layer's signals, pooled over draws.
#[derive(Clone, Debug, Serialize)]
pub struct LayerHistograms {
    /// z
    pub pre_activation: Histogram,
    /// phi(z)
    pub activation: Histogram,
    /// delta
    pub error_signal: Histogram,
}

/// A measured network.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// One entry per dense layer.
    pub layers: Vec<LayerMeasured>,
    /// Overflow and underflow, one list per draw.
    pub breakdowns: Vec<Vec<Breakdown>>,
    /// Second moment of dL/dx under every draw.
    pub input_gradient: Vec<Energy>,
}

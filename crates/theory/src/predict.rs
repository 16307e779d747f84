use gainstage_spec::{InputStatistics, Network};
use serde::{Deserialize, Serialize};

use crate::backward::Backward;
use crate::chain::{Link, Mixture, follow};
use crate::error::{TheoryError, not_negative};
use crate::error_signal::ErrorSignal;
use crate::gate::Gate;
use crate::law::Predicted;
use crate::moments::within_reach;
use crate::signal::{DenseTrace, Signal};
use crate::steps::{Forward, Step};

/// What a prediction is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Probability that a band holds one draw, between 0 and 1 exclusively.
    pub level: f64,
    /// Second moment per unit of the signal injected at the network's output.
    pub seed_second_moment: f64,
    /// Inputs per batch where a batch normalization stands; `None` is the limit of large batches.
    pub batch: Option<usize>,
}

impl Default for Options {
    /// Bands of 95%, a signal of second moment 1.
    fn default() -> Self {
        Self { level: 0.95, seed_second_moment: 1.0, batch: None }
    }
}

/// What a prediction rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Assumption {
    /// Laws are those of one input of the stated second moment and of an injected signal that is
    /// independent of the weights and has exactly the stated second moment.
    OneInput,
    /// Means and laws are exact at any width: piecewise linear activations, zero biases, Gaussian or
    /// orthogonal weights (only the quantiles are expansions to the fourth cumulant).
    ExactAtAnyWidth,
    /// Means and second moments are exact at any width; the bands match them.
    ExactMoments,
    /// Means and laws hold to first order in 1/width. What is left is of relative order depth/width:
    /// a few percent of the log-variance of error signals for GELU and its kin, less for tanh.
    FirstOrder,
    /// Means hold to leading order and spreads to first order in 1/width, with residual branches,
    /// normalizations or dropout: logarithms may be off by about 1/width per layer. Where a residual
    /// branch ends in units of non-zero mean the bands are too narrow below widths of a hundred or so.
    LeadingOrder,
    /// Pre-activations are taken as Gaussian, which non-Gaussian weights make true only as fan-in grows.
    GaussianPreactivations,
    /// Weights of the backward pass are taken as independent of the forward signal, but for its
    /// length: exact for piecewise linear activations, an approximation of order 1/width for others.
    GradientIndependence,
}

impl std::fmt::Display for Assumption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::OneInput => "for one input of the stated second moment, and an injected error signal that is independent of the weights",
            Self::ExactAtAnyWidth => "exact at any width (piecewise linear activation, zero biases, Gaussian or orthogonal weights)",
            Self::ExactMoments => "means and second moments exact at any width, bands matched to them",
            Self::LeadingOrder => "means correct to leading order and spreads to first order in 1/width",
            Self::FirstOrder => "correct to first order in 1/width",
            Self::GaussianPreactivations => "pre-activations taken as Gaussian, true for non-Gaussian weights as the fan-in grows",
            Self::GradientIndependence => "backward weights taken as independent of the forward signal, correct as the width grows",
        })
    }
}

/// The prediction for one dense layer, over independent draws of all weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerPrediction {
    /// Number of the dense layer, from 1.
    pub layer: usize,
    /// Connections into each of its units.
    pub fan_in: usize,
    /// Its units.
    pub fan_out: usize,
    /// Second moment of the pre-activations z: mean over units of z^2.
    pub forward: Predicted,
    /// Second moment of the activations phi(z).
    pub activation: Predicted,
    /// Second moment per unit of the error signal delta = dL/dz.
    pub gradient: Predicted,
    /// Mean square of the entries of dL/dW for one input, delta h^T with h the layer's input.
    pub weight_gradient: Predicted,
    /// Cosine between the pre-activations of two inputs, at infinite width.
    pub correlation: f64,
}

/// Predictions for every dense layer of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// In the order of the signal.
    pub layers: Vec<LayerPrediction>,
    /// Probability that one draw falls within a band.
    pub level: f64,
    /// What the numbers rest on.
    pub assumptions: Vec<Assumption>,
}

/// Predicts signals and gradients of a network, layer by layer.
///
/// # Laws
/// Given a layer's input h the pre-activations are independent normal(variance q), q = sigma_w^2
/// mean(h^2) + sigma_b^2, so that the second moments of the layers form a Markov chain. For
/// activations that are linear on each side of zero it multiplies independent factors chi^2_K / n,
/// K ~ Binomial(n, 1/2) for ReLU (Hanin & Nica 2019), whose logarithms' cumulants are summed; the
/// mean is exactly preserved at sigma_w^2 = 2 (He et al. 2015). For others the chain's variance map
/// (Poole et al. 2016) carries the law on, with each layer's sampling noise as a gamma variable.
/// Weights that are not Gaussian enter with their kurtosis, orthogonal ones keep the norm.
///
/// The error signal injected at the last layer's pre-activations has second moment
/// `seed_second_moment` per unit and is independent of the weights. For piecewise linear activations
/// the way back is as exact as the way forward: random signs make the gates independent of the
/// weights. For others chi_1 (Schoenholz et al. 2017) fluctuates with the forward signal, which is
/// taken into account to first order.
///
/// # Errors
/// [`TheoryError`] for a network that does not hold together, weights or biases whose mean is not
/// zero, a level outside (0, 1), statistics that are negative or not finite.
///
/// # Example
/// ```
/// use gainstage_spec::{Activation, Initializer, InputStatistics, Network};
/// use gainstage_theory::{Options, predict};
/// let xavier = Initializer::glorot_uniform();
/// let network = Network::perceptron(&[300; 31], &xavier, &Activation::Relu)?;
/// let prediction = predict(&network, &InputStatistics::gaussian(300), &Options::default())?;
/// // Xavier's variance is half of what ReLU needs: each hidden layer halves the second moment.
/// assert!((prediction.layers[29].forward.expected - 0.5f64.powi(29)).abs() < 1e-12);
/// // Weight gradients are the same in all hidden layers, and all small.
/// let gradients: Vec<f64> = prediction.layers.iter().map(|l| l.weight_gradient.expected).collect();
/// assert!((gradients[3] / gradients[25] - 1.0).abs() < 1e-12);
/// assert!((gradients[3] * 2f64.powi(29) - 1.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn predict(
    network: &Network,
    inputs: &InputStatistics,
    options: &Options,
) -> Result<Prediction, TheoryError> {
    network.check()?;
    check(inputs, options)?;
    let mut forward = Forward::new(options.batch);
    let (steps, output) = forward.run(&network.layers, Signal::input(network.input, inputs))?;
    let seed = ErrorSignal::seed(options.seed_second_moment, output.width);
    let mut backward = Backward { level: options.level, batch: options.batch, layers: Vec::new() };
    backward.run(&steps, seed, true);
    let mut layers = backward.layers;
    layers.reverse();
    for (layer, dense) in layers.iter().zip(network.dense()) {
        within_reach(&dense.activation, layer.forward.expected)?;
    }
    follow_chain(&steps, inputs, options, &mut layers);
    Ok(Prediction { layers, level: options.level, assumptions: assumptions(&steps) })
}

/// Replaces the linear response around typical variances where a plain network has bent activations.
fn follow_chain(
    steps: &[Step],
    inputs: &InputStatistics,
    options: &Options,
    layers: &mut [LayerPrediction],
) {
    let mut links = Vec::with_capacity(steps.len());
    for step in steps {
        let Step::Dense { trace, function, gate, .. } = step else { return };
        links.push(Link { trace, phi: function, gate });
    }
    if links.iter().all(|link| link.gate.homogeneous) {
        return;
    }
    let seed = options.seed_second_moment;
    let Some(laws) = follow(inputs.second_moment, &links, seed) else { return };
    for (layer, laws) in layers.iter_mut().zip(laws) {
        let law = |old: Predicted, new: &Mixture| {
            let quantile = |p: f64| new.quantile(p);
            let (zero, level) = (old.zero_probability, options.level);
            Predicted::with_quantiles(new.expected, new.log, zero, level, quantile)
        };
        layer.forward = law(layer.forward, &laws.forward);
        layer.activation = law(layer.activation, &laws.activation);
        layer.gradient = law(layer.gradient, &laws.gradient);
        layer.weight_gradient = law(layer.weight_gradient, &laws.weight_gradient);
    }
}

fn check(inputs: &InputStatistics, options: &Options) -> Result<(), TheoryError> {
    not_negative("the input's second moment", inputs.second_moment)?;
    not_negative("the seed's second moment", options.seed_second_moment)?;
    let between = |what, value: f64, low: f64, high: f64, bound| {
        if value >= low && value <= high {
            Ok(())
        } else {
            Err(TheoryError::Domain { what, value, bound })
        }
    };
    between("the input's correlation", inputs.correlation, -1.0, 1.0, "between -1 and 1")?;
    between("the input's concentration", inputs.concentration, 0.0, 1.0, "between 0 and 1")?;
    if options.level > 0.0 && options.level < 1.0 {
        Ok(())
    } else {
        Err(TheoryError::Domain {
            what: "the level",
            value: options.level,
            bound: "above 0 and below 1",
        })
    }
}

fn assumptions(steps: &[Step]) -> Vec<Assumption> {
    let dense = || dense_steps(steps).into_iter();
    let homogeneous = dense().all(|(_, gate)| gate.homogeneous);
    let unbiased = dense().all(|(trace, _)| trace.weights.bias == 0.0);
    let gaussian = dense().all(|(trace, _)| trace.weights.excess == 0.0);
    let plain = steps.iter().all(|step| matches!(step, Step::Dense { .. }));
    let exact = homogeneous && unbiased && plain;
    let mut found = vec![Assumption::OneInput];
    found.push(match (exact, gaussian, plain) {
        (true, true, _) => Assumption::ExactAtAnyWidth,
        (true, false, _) => Assumption::ExactMoments,
        (false, _, true) => Assumption::FirstOrder,
        (false, _, false) => Assumption::LeadingOrder,
    });
    if !gaussian && !exact {
        found.push(Assumption::GaussianPreactivations);
    }
    if !(homogeneous && plain) {
        found.push(Assumption::GradientIndependence);
    }
    found
}

fn dense_steps(steps: &[Step]) -> Vec<(&DenseTrace, &Gate)> {
    steps
        .iter()
        .flat_map(|step| match step {
            Step::Dense { trace, gate, .. } => vec![(trace, gate)],
            Step::Residual { branch, .. } => dense_steps(branch),
            _ => Vec::new(),
        })
        .collect()
}

use gainstage_spec::{InputStatistics, Layer, Network};
use serde::{Deserialize, Serialize};

use crate::error::{TheoryError, not_negative};
use crate::error_signal::ErrorSignal;
use crate::law::{Cumulants, Predicted};
use crate::signal::{DenseTrace, Gate, Signal, Weights, activate, affine};

/// What a prediction is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Probability that a band holds one draw, between 0 and 1 exclusively.
    pub level: f64,
    /// Second moment per unit of the signal injected at the network's output.
    pub seed_second_moment: f64,
}

impl Default for Options {
    /// Bands of 95%, a signal of second moment 1.
    fn default() -> Self {
        Self { level: 0.95, seed_second_moment: 1.0 }
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
    /// Means and laws hold to first order in 1/width.
    FirstOrder,
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
    let mut signal = Signal::input(network.input, inputs);
    let mut steps: Vec<(DenseTrace, Signal, Gate)> = Vec::new();
    for (index, layer) in network.layers.iter().enumerate() {
        let Layer::Dense(dense) = layer else {
            return Err(TheoryError::Layer {
                layer: index + 1,
                why: "only dense layers can be predicted so far".to_owned(),
            });
        };
        let trace = affine(&signal, Weights::read(index + 1, signal.width, dense)?);
        let (activation, gate) = activate(&dense.activation, &trace);
        signal = activation;
        steps.push((trace, activation, gate));
    }
    let mut error = ErrorSignal::seed(options.seed_second_moment, signal.width);
    let mut layers = Vec::with_capacity(steps.len());
    let level = options.level;
    // Whether every factor between here and the output is independent of the others.
    let mut independent = true;
    for (index, (trace, activation, gate)) in steps.iter().enumerate().rev() {
        if index + 1 < steps.len() {
            error = error.through_gate(gate, trace.forward.width, 0.0);
            independent &= gate.homogeneous;
        }
        let mean = |log: Cumulants, product: f64, independent: bool| {
            if independent { product } else { log.exponential_mean() }
        };
        let log = error.log(trace.nominal);
        // ln of the squares' product: the coupling acts on the same fluctuation as the input.
        let input = &trace.input;
        let joint = error
            .free
            .shifted(input.log.mean)
            .plus(input.log.centred().scaled(1.0 + error.coupling * trace.share));
        let gradient = mean(log, error.expected, independent);
        let joint_mean = mean(joint, error.expected * input.expected, independent);
        let either_zero = 1.0 - (1.0 - error.zero) * (1.0 - input.zero);
        let signal = |s: &Signal| Predicted::new(s.expected, s.log, s.zero, level);
        layers.push(LayerPrediction {
            layer: index + 1,
            fan_in: trace.weights.fan_in,
            fan_out: trace.weights.fan_out,
            forward: signal(&trace.forward),
            activation: signal(activation),
            gradient: Predicted::new(gradient, log, error.zero, level),
            weight_gradient: Predicted::new(joint_mean, joint, either_zero, level),
            correlation: 1.0 - trace.forward.gap,
        });
        error = error.through_weights(trace);
    }
    layers.reverse();
    Ok(Prediction { layers, level, assumptions: assumptions(&steps) })
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

fn assumptions(steps: &[(DenseTrace, Signal, Gate)]) -> Vec<Assumption> {
    let mut found = vec![Assumption::OneInput];
    let homogeneous = steps.iter().all(|(_, _, gate)| gate.homogeneous);
    let plain = steps.iter().all(|(trace, ..)| trace.weights.bias == 0.0);
    let gaussian = steps.iter().all(|(trace, ..)| trace.weights.excess == 0.0);
    let exact = homogeneous && plain;
    found.push(match (exact, gaussian) {
        (true, true) => Assumption::ExactAtAnyWidth,
        (true, false) => Assumption::ExactMoments,
        (false, _) => Assumption::FirstOrder,
    });
    if !gaussian && !exact {
        found.push(Assumption::GaussianPreactivations);
    }
    if !homogeneous {
        found.push(Assumption::GradientIndependence);
    }
    found
}

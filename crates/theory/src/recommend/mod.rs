//! Which initialization a described network should get, from predictions of every candidate.

mod candidates;
mod defaults;
mod limit;

pub use defaults::{FrameworkDefault, pytorch_gain};
pub use limit::{DepthBound, DepthReason};

use gainstage_spec::{Activation, Dense, Initializer, InputStatistics, Layer, Network, SpecError};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::TheoryError;
use crate::predict::{LayerPrediction, Options, Prediction, predict};
use candidates::{Candidate, candidates};

/// What stands between the weights and the activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalization {
    /// Nothing.
    #[default]
    None,
    /// Over the batch, unit by unit.
    Batch,
    /// Over the units, input by input.
    Layer,
    /// Over the units, without the mean.
    Rms,
}

/// The network for which an initialization is sought.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// phi, behind every hidden layer.
    pub activation: Activation,
    /// Width of the input.
    pub input: usize,
    /// Widths of the dense layers; equal ones with `residual`.
    pub widths: Vec<usize>,
    /// Whether pairs of layers stand in branches, x + W2 phi(W1 x), with the normalization ahead of W1.
    pub residual: bool,
    /// Between weights and activation, or at the start of every branch.
    pub normalization: Normalization,
    /// What is known of the input.
    pub inputs: InputStatistics,
}

/// One dense layer's weights and biases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerAdvice {
    /// From 1.
    pub layer: usize,
    /// Connections into each unit.
    pub fan_in: usize,
    /// Units.
    pub fan_out: usize,
    /// Weights have standard deviation gain / sqrt(fan_in).
    pub gain: f64,
    /// The weights' standard deviation.
    pub std: f64,
    /// The biases' standard deviation.
    pub bias_std: f64,
    /// Whether the weights are orthogonal rather than independent.
    pub orthogonal: bool,
}

/// What a choice does to signal and gradient between the ends of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consequence {
    /// In words.
    pub name: String,
    /// sigma_w^2 of the hidden layers.
    pub weight_variance: f64,
    /// sigma_b^2.
    pub bias_variance: f64,
    /// Whether the weights are orthogonal.
    pub orthogonal: bool,
    /// Expected second moment of the first layer's pre-activations.
    pub start: f64,
    /// Expected second moment of the last layer's pre-activations over the first layer's.
    pub signal: f64,
    /// 95% band of that for one draw.
    pub signal_band: (f64, f64),
    /// Expected squared norm of the first layer's error signal over the last layer's.
    pub gradient: f64,
    /// 95% band of that for one draw.
    pub gradient_band: (f64, f64),
    /// Largest factor, in either direction, by which an end of a band leaves 1: what is minimised. For
    /// defaults also by which the first layer misses the recommended start.
    pub worst: f64,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// Layer by layer.
    pub layers: Vec<LayerAdvice>,
    /// The network with the recommended initialization.
    pub network: Network,
    /// What it does.
    pub chosen: Consequence,
    /// Every choice that was compared, best first.
    pub compared: Vec<Consequence>,
    /// The frameworks' defaults in the same network.
    pub defaults: Vec<FrameworkDefault>,
    /// How deep a network of this kind may be.
    pub depth_limit: DepthBound,
    /// The predictions for the chosen one.
    pub prediction: Prediction,
}

/// Independent weights are taken where their bands stay within this factor.
const TOLERABLE: f64 = 10.0;

/// Compares what is known to work and returns the choice whose signal and gradient stay nearest to
/// where they start.
///
/// Candidates are the gain that keeps the second moment at q = 1, the critical gain there, and points
/// of the edge of chaos (the five of nine bias variances that drift least at infinite width), with Gaussian and with orthogonal weights; for residual networks the scales 1
/// and 1/sqrt(blocks) of each branch's last layer. Each is predicted for one input with its finite-width
/// band, and the one is taken whose bands' ends leave 1 by the smallest factor: among Gaussian weights
/// where one of them keeps it below 10, among all otherwise. The first layer's gain also undoes the input's second
/// moment.
///
/// # Errors
/// [`TheoryError`] for a network that does not hold together, inputs of second moment 0, or residual
/// layers of unequal width.
///
/// # Example
/// ```
/// use gainstage_spec::{Activation, InputStatistics};
/// use gainstage_theory::{Normalization, Request, recommend};
/// let request = Request {
///     activation: Activation::Relu,
///     input: 100,
///     widths: vec![100; 20],
///     residual: false,
///     normalization: Normalization::None,
///     inputs: InputStatistics::gaussian(100),
/// };
/// let advice = recommend(&request)?;
/// // He's rule, and what the default of PyTorch's Linear does in its place.
/// assert!((advice.layers[5].gain - 2f64.sqrt()).abs() < 1e-12);
/// assert!((advice.chosen.gradient - 1.0).abs() < 1e-12);
/// assert!(advice.defaults[0].consequence.gradient < 1e-14);
/// # Ok::<(), gainstage_theory::TheoryError>(())
/// ```
pub fn recommend(request: &Request) -> Result<Recommendation, TheoryError> {
    check(request)?;
    let mut compared = candidates(request)?
        .into_par_iter()
        .map(|candidate| {
            let network = build(request, &candidate)?;
            let prediction = predict(&network, &request.inputs, &Options::default())?;
            let consequence = consequence(request, &candidate, &prediction, None);
            Ok((consequence, candidate, network, prediction))
        })
        .collect::<Result<Vec<_>, TheoryError>>()?;
    // Stable: of equals the first, which is the simplest.
    compared.sort_by(|a, b| a.0.worst.total_cmp(&b.0.worst));
    let simple =
        compared.iter().position(|(c, ..)| !c.orthogonal && c.worst <= TOLERABLE).unwrap_or(0);
    let Some((chosen, candidate, network, prediction)) = compared.get(simple).cloned() else {
        return Err(TheoryError::Layer {
            layer: 1,
            why: "no initialization is known for it".to_owned(),
        });
    };
    let layers = advice(request, &network, &candidate)?;
    Ok(Recommendation {
        depth_limit: limit::depth_bound(request, &candidate, &prediction)?,
        defaults: defaults::defaults(request, chosen.start)?,
        compared: compared.into_iter().map(|c| c.0).collect(),
        layers,
        network,
        chosen,
        prediction,
    })
}

fn check(request: &Request) -> Result<(), TheoryError> {
    let refuse = |why: String| Err(TheoryError::Spec(SpecError::Network(why)));
    let Some(&first) = request.widths.first() else {
        return refuse("depth 0: a network needs at least one dense layer".to_owned());
    };
    if request.input == 0 || request.widths.contains(&0) {
        return refuse("width 0; it must be at least 1".to_owned());
    }
    if request.residual {
        if request.widths.iter().any(|&width| width != first) {
            return refuse("residual layers must have equal widths".to_owned());
        }
        if request.widths.len() < 2 {
            return refuse("depth 1: a residual block has two dense layers".to_owned());
        }
        if (request.widths.len() - stem(request)) % 2 == 1 {
            return refuse(format!(
                "input width {} and residual width {first} need an odd depth: one linear layer, then pairs; make it {}",
                request.input,
                request.widths.len() + 1
            ));
        }
    }
    if !(request.inputs.second_moment > 0.0 && request.inputs.second_moment.is_finite()) {
        return Err(TheoryError::Domain {
            what: "the input's second moment",
            value: request.inputs.second_moment,
            bound: "positive and finite",
        });
    }
    Ok(())
}

/// The network with a candidate's weights.
fn build(request: &Request, candidate: &Candidate) -> Result<Network, TheoryError> {
    let weights = |role: Role, fan_in: usize, fan_out: usize| {
        candidate.weights(candidate.gain(role, request), fan_in, fan_out)
    };
    arrange(request, &candidate.bias(), &weights)
}

/// What a dense layer does in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Takes the input.
    First,
    /// Takes activations.
    Hidden,
    /// Ends a residual branch.
    BranchEnd,
}

/// The request's architecture with the weights that each role, fan-in and fan-out gets.
fn arrange(
    request: &Request,
    bias: &Initializer,
    weights: &dyn Fn(Role, usize, usize) -> Initializer,
) -> Result<Network, TheoryError> {
    let dense = |role: Role, fan_in: usize, width: usize, phi: Activation| {
        Layer::Dense(Dense::new(width, weights(role, fan_in, width), phi).with_bias(bias.clone()))
    };
    let norm = match request.normalization {
        Normalization::None => None,
        Normalization::Batch => Some(Layer::BatchNorm { epsilon: 0.0 }),
        Normalization::Layer => Some(Layer::LayerNorm { epsilon: 0.0 }),
        Normalization::Rms => Some(Layer::RmsNorm { epsilon: 0.0 }),
    };
    let mut layers = Vec::new();
    if request.residual {
        let width = request.widths[0];
        if stem(request) == 1 {
            layers.push(dense(Role::First, request.input, width, Activation::Linear));
        }
        for _ in 0..blocks(request) {
            let mut branch: Vec<Layer> = norm.iter().cloned().collect();
            branch.push(dense(Role::Hidden, width, width, request.activation.clone()));
            branch.push(dense(Role::BranchEnd, width, width, Activation::Linear));
            layers.push(Layer::Residual { scale: 1.0, branch });
        }
    } else {
        let mut fan_in = request.input;
        for (index, &width) in request.widths.iter().enumerate() {
            let role = if index == 0 { Role::First } else { Role::Hidden };
            if let Some(norm) = &norm {
                layers.push(dense(role, fan_in, width, Activation::Linear));
                layers.push(norm.clone());
                layers.push(Layer::Activation { function: request.activation.clone() });
            } else {
                layers.push(dense(role, fan_in, width, request.activation.clone()));
            }
            fan_in = width;
        }
    }
    Ok(Network::new(request.input, layers)?)
}

/// Both ends of the network compared.
fn consequence(
    request: &Request,
    candidate: &Candidate,
    prediction: &Prediction,
    target: Option<f64>,
) -> Consequence {
    let start = start(request, prediction);
    // How far the first layer is from where it should start.
    let off = target.map_or(1.0, |target| start / target);
    let (signal, signal_band) = ends(request, prediction, true);
    let (gradient, gradient_band) = ends(request, prediction, false);
    let away = |x: f64| if x > 0.0 { x.ln().abs().exp() } else { f64::INFINITY };
    let forward = [1.0, signal, signal_band.0, signal_band.1].map(|ratio| off * ratio);
    let worst = [gradient, gradient_band.0, gradient_band.1]
        .into_iter()
        .chain(forward)
        .map(away)
        .fold(1.0, f64::max);
    Consequence {
        name: candidate.name.clone(),
        weight_variance: candidate.weight_variance,
        bias_variance: candidate.bias_variance,
        orthogonal: candidate.orthogonal,
        start,
        signal,
        signal_band,
        gradient,
        gradient_band,
        worst,
    }
}

/// The far end over the near end and its band: of the signal, or of the error signal, which runs
/// backward. In residual networks the ends are the first layers of the outermost branches.
pub(crate) fn ends(request: &Request, prediction: &Prediction, forward: bool) -> (f64, (f64, f64)) {
    let layers = &prediction.layers;
    let ends = if request.residual {
        (layers.get(stem(request)), layers.iter().nth_back(1))
    } else {
        (layers.first(), layers.last())
    };
    let (Some(first), Some(last)) = ends else { return (1.0, (1.0, 1.0)) };
    let of = |layer: &LayerPrediction| if forward { layer.forward } else { layer.gradient };
    let (near, far) = if forward { (of(first), of(last)) } else { (of(last), of(first)) };
    // Error signals are compared by their squared norm: per unit they grow by fan_out / fan_in, which
    // no initialization should undo.
    let units = if forward { 1.0 } else { first.fan_out as f64 / last.fan_out as f64 };
    let over = |value: f64| if near.expected > 0.0 { units * value / near.expected } else { 0.0 };
    (over(far.expected), (over(far.low), over(far.high)))
}

/// Expected second moment of the first layer's pre-activations, or of the first in a branch.
fn start(request: &Request, prediction: &Prediction) -> f64 {
    prediction.layers.get(stem(request)).map_or(1.0, |layer| layer.forward.expected)
}

/// Linear layers ahead of the first branch: an odd one, or one that changes the width.
fn stem(request: &Request) -> usize {
    let odd = request.widths.len() % 2 == 1;
    usize::from(request.residual && (odd || request.input != request.widths[0]))
}

/// Residual branches of two layers each.
pub(crate) fn blocks(request: &Request) -> usize {
    (request.widths.len() - stem(request)) / 2
}

fn advice(
    request: &Request,
    network: &Network,
    candidate: &Candidate,
) -> Result<Vec<LayerAdvice>, TheoryError> {
    let fans = network.fans()?;
    let stem = stem(request);
    Ok(fans
        .iter()
        .enumerate()
        .map(|(index, fans)| {
            let (fan_in, fan_out) = (fans.fan_in(), fans.fan_out());
            let ends_branch = request.residual && index > stem && (index - stem) % 2 == 1;
            let takes_input = index == 0 && (stem == 1 || !request.residual);
            let role = match (takes_input, ends_branch) {
                (true, _) => Role::First,
                (_, true) => Role::BranchEnd,
                _ => Role::Hidden,
            };
            let gain = candidate.gain(role, request);
            LayerAdvice {
                layer: index + 1,
                fan_in,
                fan_out,
                gain,
                std: gain / (fan_in as f64).sqrt(),
                bias_std: candidate.bias_variance.sqrt(),
                orthogonal: candidate.orthogonal,
            }
        })
        .collect())
}

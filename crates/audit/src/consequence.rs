//! What follows for a network of these weights: signal and gradient by layer, and the loss at the start.

use gainstage_spec::{Activation, Dense, Initializer, InputStatistics, Layer, Network};
use gainstage_theory::{LayerPrediction, Predicted, blind_cross_entropy, predict};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::record::{TensorRecord, Verdict};
use crate::stack::Stack;

/// Predicted consequence of the weights of a stack, beside that of the laws that were meant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consequence {
    /// What stands between the weights: the network file, or the activation that was assumed.
    pub between: String,
    /// What the numbers rest on.
    pub assumptions: Vec<String>,
    /// Width of the last layer, the number of classes K.
    pub classes: usize,
    /// ln K, the loss of a classifier that prefers no class.
    pub ln_classes: f64,
    /// Expected cross-entropy before training under the laws that were meant.
    pub loss_meant: f64,
    /// The same under the standard deviations that were measured.
    pub loss: f64,
    /// Every dense layer in the order of the signal.
    pub layers: Vec<ConsequenceLayer>,
}

/// One dense layer; second moments per unit, of a typical draw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsequenceLayer {
    /// Its weight.
    pub tensor: String,
    /// Connections into each unit.
    pub fan_in: usize,
    /// Units.
    pub fan_out: usize,
    /// Pre-activations under the laws that were meant.
    pub forward_meant: f64,
    /// Pre-activations under the standard deviations that were measured.
    pub forward: f64,
    /// 95% of draws lie above.
    pub forward_low: f64,
    /// 95% of draws lie below.
    pub forward_high: f64,
    /// Error signals under the laws that were meant, for error signals of second moment 1 at the output.
    pub gradient_meant: f64,
    /// Error signals under the standard deviations that were measured.
    pub gradient: f64,
    /// 95% of draws lie above.
    pub gradient_low: f64,
    /// 95% of draws lie below.
    pub gradient_high: f64,
}

/// Predicts what a stack's weights do, or says why that cannot be told.
pub(crate) fn consequence<'r>(
    checkpoint: &Checkpoint,
    stack: &Stack,
    network: Option<&Network>,
    activation: &Activation,
    record: &dyn Fn(usize) -> Option<&'r TensorRecord>,
) -> Result<Consequence, String> {
    let name = |i: usize| checkpoint.tensors()[i].name().to_owned();
    let mut meant = Vec::new();
    let mut measured = Vec::new();
    let count = stack.layers().len();
    for (index, layer) in stack.layers().iter().enumerate() {
        let weight = record(layer.weight)
            .ok_or_else(|| format!("{} was not audited", name(layer.weight)))?;
        let bias = match layer.bias {
            Some(b) => Some(record(b).ok_or_else(|| format!("{} was not audited", name(b)))?),
            None => None,
        };
        let phi = if index + 1 == count { Activation::Linear } else { activation.clone() };
        let dense = |law: &dyn Fn(&TensorRecord) -> Result<Initializer, String>| {
            let zeros = Ok(Initializer::zeros());
            Ok::<Dense, String>(
                Dense::new(layer.shape.outputs(), law(weight)?, phi.clone())
                    .with_bias(bias.map_or(zeros, law)?),
            )
        };
        meant.push(dense(&law_meant)?);
        measured.push(dense(&law_measured)?);
    }
    let build = |dense: Vec<Dense>| match network {
        Some(network) => {
            let mut of = dense.into_iter();
            Network::new(network.input, replace(&network.layers, &mut of))
        }
        None => Network::new(stack.input(), dense.into_iter().map(Layer::Dense).collect()),
    };
    let run = |dense: Vec<Dense>| {
        let network = build(dense).map_err(|e| e.to_string())?;
        let inputs = InputStatistics::gaussian(network.input);
        predict(&network, &inputs, &gainstage_theory::Options::default())
            .map(|p| p.layers)
            .map_err(|e| e.to_string())
    };
    let (meant, measured) = (run(meant)?, run(measured)?);
    let classes = stack.layers().last().map_or(0, |l| l.shape.outputs());
    let loss = |layers: &[LayerPrediction]| {
        let q = layers.last().map_or(0.0, |l| typical(&l.forward));
        blind_cross_entropy(classes, q).map_err(|e| e.to_string())
    };
    let between = match network {
        Some(_) => "as the network file says".to_owned(),
        None => format!("{activation} between the layers, which no weight file tells"),
    };
    Ok(Consequence {
        between,
        assumptions: vec![
            "inputs have mean square 1".to_owned(),
            "error signals enter at the output with second moment 1".to_owned(),
            "weights are independent, each layer with its measured std".to_owned(),
            "the last layer's pre-activations are the logits".to_owned(),
            "labels know nothing of the logits".to_owned(),
        ],
        classes,
        ln_classes: (classes as f64).ln(),
        loss_meant: loss(&meant)?,
        loss: loss(&measured)?,
        layers: stack
            .layers()
            .iter()
            .zip(meant.iter().zip(&measured))
            .map(|(layer, (meant, is))| ConsequenceLayer {
                tensor: name(layer.weight),
                fan_in: layer.shape.inputs(),
                fan_out: layer.shape.outputs(),
                forward_meant: typical(&meant.forward),
                forward: typical(&is.forward),
                forward_low: is.forward.low,
                forward_high: is.forward.high,
                gradient_meant: typical(&meant.gradient),
                gradient: typical(&is.gradient),
                gradient_low: is.gradient.low,
                gradient_high: is.gradient.high,
            })
            .collect(),
    })
}

fn typical(predicted: &Predicted) -> f64 {
    predicted.log_mean.exp()
}

/// The same layers with other dense ones.
fn replace(layers: &[Layer], dense: &mut dyn Iterator<Item = Dense>) -> Vec<Layer> {
    layers
        .iter()
        .map(|layer| match layer {
            Layer::Dense(old) => Layer::Dense(match dense.next() {
                Some(new) => Dense { activation: old.activation.clone(), ..new },
                None => old.clone(),
            }),
            Layer::Residual { scale, branch } => {
                Layer::Residual { scale: *scale, branch: replace(branch, dense) }
            }
            other => other.clone(),
        })
        .collect()
}

/// The law that was meant: by name where it has one, and else by its standard deviation.
fn law_meant(record: &TensorRecord) -> Result<Initializer, String> {
    match (&record.law, record.std_expected) {
        (Some(law), _) if record.law_source != "fitted" && parse(law).is_some() => {
            parse(law).ok_or_else(String::new)
        }
        (_, Some(std)) => Ok(centred(std)),
        _ => law_measured(record),
    }
}

/// A constant has a mean, which the theory of independent weights does not take.
fn parse(law: &str) -> Option<Initializer> {
    let initializer: Initializer = law.parse().ok()?;
    match initializer {
        Initializer::VarianceScaling { .. } | Initializer::Orthogonal { .. } => Some(initializer),
        _ => None,
    }
}

/// A law of the measured standard deviation; orthogonal weights stay orthogonal.
fn law_measured(record: &TensorRecord) -> Result<Initializer, String> {
    let finite = !record.findings.iter().any(|f| f.kind == Verdict::NotFinite);
    let std = record.std_measured.filter(|_| finite);
    let std = std.ok_or_else(|| format!("{} holds values that are not finite", record.name))?;
    let mean = record.mean.unwrap_or(0.0);
    let orthogonal = record.law.as_deref().and_then(parse);
    if let (Some(Initializer::Orthogonal { gain }), Some(ratio)) = (orthogonal, record.ratio) {
        return Ok(Initializer::Orthogonal { gain: gain * ratio });
    }
    // A second moment counts the mean.
    Ok(centred(std.hypot(mean)))
}

fn centred(std: f64) -> Initializer {
    if std == 0.0 { Initializer::zeros() } else { Initializer::normal(std) }
}

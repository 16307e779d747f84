//! `propagate --weights`: what the very weights of a checkpoint do to a batch, forward and backward.

mod batch;
mod told;

use std::path::Path;

use anyhow::Context;
use gainstage_audit::{Checkpoint, Described, Stack};
use gainstage_report::{Document, Section};
use gainstage_simulate::{Breakdown, Energy, GivenLayer, GivenMeasured, Setup, measure_given};
use gainstage_spec::Layout;
use gainstage_theory::{LayerPrediction, Options, Predicted, blind_cross_entropy, predict};
use serde::Serialize;

use crate::args::{Common, Propagate};
use crate::propagate::{FAMILY_RATE, precision};
use crate::weights::told::{figure, sentences, table};
use crate::{Exit, output};

/// Relative difference that rounding leaves where the prediction has no spread.
const ROUNDING: f64 = 1e-3;

/// The field names are a contract.
#[derive(Serialize)]
struct Answer {
    version: u32,
    weights: String,
    network: String,
    /// Where inputs and error signals come from.
    inputs: String,
    error_signals: String,
    seed: u64,
    batch: usize,
    precision: gainstage_simulate::Precision,
    /// Probability that the predicted band holds one draw of one input.
    band_level: f64,
    /// Probability that any verdict is "differs" for weights drawn as the network file says.
    family_false_alarm_rate: f64,
    assumptions: Vec<String>,
    /// Mean square of the error signals at the output.
    injected: f64,
    /// Mean cross-entropy of the labels, where there are labels.
    loss: Option<f64>,
    /// Mean cross-entropy over labels that know nothing of the inputs, as measured and as predicted.
    blind_loss: f64,
    blind_loss_predicted: Option<f64>,
    ln_classes: f64,
    layers: Vec<Row>,
    breakdowns: Vec<Breakdown>,
    /// Tensors of the file that the network does not use.
    unused: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    layer: usize,
    tensor: String,
    bias: Option<String>,
    layout: &'static str,
    layout_reason: String,
    fan_in: usize,
    fan_out: usize,
    forward: Quantity,
    gradient: Quantity,
    /// Of one input's gradient, the mean over inputs.
    weight_gradient: Quantity,
    /// Mean square of the whole batch's gradient: PyTorch's weight.grad.
    batch_weight_gradient: Option<f64>,
    /// Second moment behind the activation.
    activation: f64,
    cosine: Option<f64>,
    effective_rank: Option<f64>,
    dead: Option<f64>,
    saturated: Option<f64>,
}

/// A second moment; one set of weights has no interval.
#[derive(Serialize)]
struct Quantity {
    predicted: Option<f64>,
    predicted_low: Option<f64>,
    predicted_high: Option<f64>,
    measured: f64,
    measured_low: f64,
    measured_high: f64,
    p_value: Option<f64>,
    verdict: &'static str,
}

pub(crate) fn run(common: &Common, args: &Propagate, file: &Path) -> anyhow::Result<Exit> {
    let path = args.network.as_deref().context("--weights needs a network file")?;
    let described = Described::load(path)?;
    let network = described.network();
    let checkpoint = Checkpoint::open(file)?;
    let stack = Stack::described(&checkpoint, &described, args.layout.layout())?;
    let layers = (0..stack.layers().len())
        .map(|i| {
            let weights = stack.weights(&checkpoint, i)?;
            Ok(GivenLayer { weights, bias: stack.bias(&checkpoint, i)? })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let batch = batch::read(common, args, network)?;
    let setup = Setup {
        seed: common.seed,
        trials: 1,
        batch: batch.size,
        inputs: batch.source.clone(),
        precision: precision(args.precision),
        moments: false,
        grams: true,
        ..Setup::default()
    };
    let measured = measure_given(network, &layers, &setup, &batch.error)?;
    let tests = 3 * layers.len();
    let at = |level| {
        let seed_second_moment = measured.injected;
        let options = Options { level, seed_second_moment, batch: Some(batch.size) };
        predict(network, &batch.statistics, &options)
    };
    let shown = at(Options::default().level);
    let judged = at(1.0 - FAMILY_RATE / tests as f64);
    let (assumptions, predictions) = match (shown, judged) {
        (Ok(shown), Ok(judged)) => (
            shown.assumptions.iter().map(ToString::to_string).collect(),
            Some((shown.layers, judged.layers)),
        ),
        (Err(why), _) | (_, Err(why)) => (vec![format!("there is no prediction: {why}")], None),
    };
    let answer = Answer {
        version: 1,
        weights: file.display().to_string(),
        network: path.display().to_string(),
        inputs: batch.inputs.clone(),
        error_signals: batch.error_signals.to_owned(),
        seed: common.seed,
        batch: batch.size,
        precision: setup.precision,
        band_level: Options::default().level,
        family_false_alarm_rate: FAMILY_RATE,
        assumptions,
        injected: measured.injected,
        loss: measured.loss,
        blind_loss: measured.blind_loss,
        blind_loss_predicted: predictions
            .as_ref()
            .and_then(|(shown, _)| shown.last())
            .and_then(|l| blind_cross_entropy(network.output(), l.forward.expected).ok()),
        ln_classes: (network.output() as f64).ln(),
        layers: rows(&checkpoint, &stack, &measured, predictions.as_ref()),
        breakdowns: measured.draw.breakdowns.clone(),
        unused: stack.unused().to_vec(),
    };
    write(common, &answer)
}

fn write(common: &Common, answer: &Answer) -> anyhow::Result<Exit> {
    let folder = common.out.join("propagate");
    let table = table(answer);
    let mut document = Document::new(
        "Signal propagation through given weights",
        format!(
            "The weights of {} in the network of {}: {} inputs ({}), {}.",
            answer.weights, answer.network, answer.batch, answer.inputs, answer.error_signals
        ),
    );
    let mut section = Section::new("propagation", "Predicted and measured, layer by layer");
    section.figure(figure(answer));
    for line in sentences(answer) {
        section.paragraph(format!("{line}."));
    }
    section.table(table.clone());
    document.sections.push(section);
    document.write_bundle(&folder)?;
    gainstage_report::write_json(&folder.join("results.json"), answer)?;
    let text = format!(
        "{}\nreport: {}\n",
        sentences(answer).join("\n"),
        folder.join("index.html").display()
    );
    output::result(common, answer, &[table], &text)?;
    let differs = answer.layers.iter().any(|row| {
        [&row.forward, &row.gradient, &row.weight_gradient].iter().any(|q| q.verdict == "differs")
    });
    let findings = differs || !answer.breakdowns.is_empty();
    Ok(if findings { Exit::Findings } else { Exit::Clean })
}

fn rows(
    checkpoint: &Checkpoint,
    stack: &Stack,
    measured: &GivenMeasured,
    predictions: Option<&(Vec<LayerPrediction>, Vec<LayerPrediction>)>,
) -> Vec<Row> {
    let name = |i: usize| checkpoint.tensors()[i].name().to_owned();
    let layers = stack.layers().iter().zip(&measured.draw.layers).enumerate();
    layers
        .map(|(index, (layer, draw))| {
            let quantity = |of: fn(&LayerPrediction) -> &Predicted, energy: Energy| {
                let bands =
                    predictions.map(|(shown, judged)| (of(&shown[index]), of(&judged[index])));
                quantity(bands, energy.mean)
            };
            Row {
                layer: index + 1,
                tensor: name(layer.weight),
                bias: layer.bias.map(name),
                layout: if layer.layout == Layout::OutIn { "out-in" } else { "in-out" },
                layout_reason: layer.why.clone(),
                fan_in: layer.shape.inputs(),
                fan_out: layer.shape.outputs(),
                forward: quantity(|l| &l.forward, draw.forward),
                gradient: quantity(|l| &l.gradient, draw.gradient),
                weight_gradient: quantity(|l| &l.weight_gradient, draw.weight_gradient),
                batch_weight_gradient: draw.batch_weight_gradient,
                activation: draw.activation.mean,
                cosine: draw.cosine,
                effective_rank: draw.effective_rank,
                dead: draw.dead,
                saturated: draw.saturated,
            }
        })
        .collect()
}

/// One set of weights against the band that holds a draw but for the rate of one test. The mean over a
/// batch varies less than the one input that the band is of, so the rate is not exceeded.
fn quantity(bands: Option<(&Predicted, &Predicted)>, measured: f64) -> Quantity {
    let verdict = match bands {
        None => "no prediction",
        Some((_, judged)) => {
            let (low, high) = (judged.low * (1.0 - ROUNDING), judged.high * (1.0 + ROUNDING));
            if (low..=high).contains(&measured) { "agrees" } else { "differs" }
        }
    };
    Quantity {
        predicted: bands.map(|(shown, _)| shown.log_mean.exp()),
        predicted_low: bands.map(|(shown, _)| shown.low),
        predicted_high: bands.map(|(shown, _)| shown.high),
        measured,
        measured_low: measured,
        measured_high: measured,
        p_value: None,
        verdict,
    }
}

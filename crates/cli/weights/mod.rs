//! `propagate --weights`: what the very weights of a checkpoint do to a batch, forward and backward.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use gainstage_audit::{Checkpoint, Described, Stack, Tensor};
use gainstage_report::{Axis, Cell, Document, Figure, Mark, Panel, Point, Section, Table};
use gainstage_simulate::{
    Breakdown, Energy, ErrorSignals, GivenLayer, GivenMeasured, InputSource, Setup, measure_given,
};
use gainstage_spec::{InputStatistics, Layout};
use gainstage_theory::{LayerPrediction, Options, Predicted, blind_cross_entropy, predict};
use serde::Serialize;

use crate::args::{Common, Propagate};
use crate::propagate::{FAMILY_RATE, inputs_of, precision};
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

/// What passes the weights.
struct Batch {
    source: InputSource,
    statistics: InputStatistics,
    size: usize,
    error: ErrorSignals,
    inputs: String,
    error_signals: &'static str,
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
    let batch = batch(common, args, network)?;
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

/// Inputs, and error signals where the file of inputs holds labels or signals.
fn batch(
    common: &Common,
    args: &Propagate,
    network: &gainstage_spec::Network,
) -> anyhow::Result<Batch> {
    let path = Path::new(&args.inputs);
    let is_file = path.extension().is_some_and(|e| e == "npz" || e == "npy" || e == "safetensors");
    let random = "error signals of mean square 1 in random directions";
    if !is_file {
        let (source, statistics) = inputs_of(common, args, network)?;
        return Ok(Batch {
            source,
            statistics,
            size: args.batch.get(),
            error: ErrorSignals::Random,
            inputs: args.inputs.clone(),
            error_signals: random,
        });
    }
    let file = Checkpoint::open(path)?;
    let (tensor, rows) = input_rows(&file, path)?;
    let size = tensor.shape().first().copied().unwrap_or(0);
    let width = rows.len().checked_div(size).unwrap_or(0);
    anyhow::ensure!(
        size > 0 && width == network.input,
        "array {} of {} has shape {:?}: {size} inputs of width {width}; the network takes {}",
        tensor.name(),
        path.display(),
        tensor.shape(),
        network.input
    );
    let rows: Vec<f32> = rows.iter().map(|&x| x as f32).collect();
    let (error, error_signals) = match (named(&file, &["error", "delta"]), labels(&file)?) {
        (Some(signals), _) => {
            let values = file.values(signals)?;
            (ErrorSignals::Given(values), "error signals from the same file")
        }
        (None, Some(labels)) => (
            ErrorSignals::CrossEntropy(labels),
            "error signals of the mean cross-entropy of the labels in the same file",
        ),
        (None, None) => (ErrorSignals::Random, random),
    };
    Ok(Batch {
        statistics: InputStatistics::measure(&rows, width),
        source: InputSource::Given(Arc::from(rows)),
        size,
        error,
        inputs: format!("{} of {}", tensor.name(), path.display()),
        error_signals,
    })
}

fn named<'a>(file: &'a Checkpoint, names: &[&str]) -> Option<&'a Tensor> {
    file.tensors().iter().find(|t| names.contains(&t.name()))
}

/// The array called x or inputs, or the only one.
fn input_rows<'a>(file: &'a Checkpoint, path: &Path) -> anyhow::Result<(&'a Tensor, Vec<f64>)> {
    let tensor = match (named(file, &["x", "inputs", "input"]), file.tensors()) {
        (Some(tensor), _) | (None, [tensor]) => tensor,
        (None, several) => anyhow::bail!(
            "{} holds {} arrays of floating-point numbers and none is called x or inputs",
            path.display(),
            several.len()
        ),
    };
    Ok((tensor, file.values(tensor)?))
}

/// The whole numbers called y or labels.
fn labels(file: &Checkpoint) -> anyhow::Result<Option<Vec<usize>>> {
    for name in ["y", "labels", "targets"] {
        let Some(other) = file.others().iter().find(|o| o.name == name) else { continue };
        let Some(labels) = file.integers(name)? else {
            anyhow::bail!(
                "labels {name} cannot be read: {}; store them as plain integers with numpy.savez",
                other.reason
            );
        };
        let labels = labels.into_iter().map(|l| {
            usize::try_from(l).with_context(|| format!("label {l} is negative; count from 0"))
        });
        return labels.collect::<anyhow::Result<_>>().map(Some);
    }
    Ok(None)
}

fn table(answer: &Answer) -> Table {
    let columns = [
        "layer",
        "tensor",
        "fan in",
        "fan out",
        "forward predicted",
        "measured",
        "",
        "gradient predicted",
        "measured",
        "",
        "weight gradient predicted",
        "measured",
        "",
    ];
    let caption = format!(
        "Second moments of one batch through these weights, beside those of a typical draw; every test at {:.1e} (family {:.1e})",
        FAMILY_RATE / (3 * answer.layers.len()) as f64,
        FAMILY_RATE
    );
    let mut table = Table::new("layers", caption, &columns);
    for row in &answer.layers {
        let mut cells = vec![
            Cell::count(row.layer),
            Cell::text(format!("`{}`", row.tensor)),
            Cell::count(row.fan_in),
            Cell::count(row.fan_out),
        ];
        for quantity in [&row.forward, &row.gradient, &row.weight_gradient] {
            cells.extend([
                quantity.predicted.map_or(Cell::text(""), Cell::number),
                Cell::number(quantity.measured),
                Cell::text(quantity.verdict),
            ]);
        }
        table.push(cells);
    }
    table
}

fn sentences(answer: &Answer) -> Vec<String> {
    let mut lines = Vec::new();
    let classes = answer.ln_classes.exp().round();
    if classes > 1.0 {
        let labels =
            answer.loss.map_or_else(String::new, |l| format!("loss of the labels {l:.4}; "));
        let predicted = answer
            .blind_loss_predicted
            .map_or_else(String::new, |l| format!(" ({l:.4} predicted)"));
        lines.push(format!(
            "{labels}loss over blind labels {:.4}{predicted} against ln {classes} = {:.4}",
            answer.blind_loss, answer.ln_classes
        ));
    }
    lines.push(format!("prediction: {}", answer.assumptions.join("; ")));
    if let Some(first) = answer.breakdowns.first() {
        lines.push(format!(
            "{} in layer {}, {}",
            match first.kind {
                gainstage_simulate::BreakdownKind::Overflow => "overflow",
                gainstage_simulate::BreakdownKind::Underflow => "underflow",
            },
            first.layer,
            if first.backward { "on the way back" } else { "on the way forward" }
        ));
    }
    if !answer.unused.is_empty() {
        let shown: Vec<&str> = answer.unused.iter().take(5).map(String::as_str).collect();
        let more = answer.unused.len().saturating_sub(shown.len());
        let and = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!(
            "tensors of the file that the network does not use: {}{and}",
            shown.join(", ")
        ));
    }
    lines
}

fn figure(answer: &Answer) -> Figure {
    let panel = |title: &str, of: fn(&Row) -> &Quantity| {
        let all = || answer.layers.iter().map(|row| (row.layer as f64, of(row)));
        let line: Vec<(f64, f64)> = all().filter_map(|(x, q)| Some((x, q.predicted?))).collect();
        let points = all().map(|(x, q)| Point::new(x, q.measured)).collect();
        let mut panel = Panel::new(title, Axis::linear("layer"), Axis::log10("second moment"));
        let bands: Option<Vec<Point>> = all()
            .map(|(x, q)| {
                Some(Point::with_interval(x, f64::NAN, q.predicted_low?, q.predicted_high?))
            })
            .collect();
        if let Some(points) = bands {
            panel = panel.mark(Mark::Band { name: "95% of draws".into(), colour: 0, points });
        }
        panel.mark(Mark::line("typical draw", 0, line)).mark(Mark::points(
            "these weights",
            1,
            points,
        ))
    };
    Figure::new(
        "propagate",
        "Second moment by layer, predicted and measured",
        "Line and band: weights drawn as the network file says. Points: the weights of the file.",
    )
    .panel(panel("forward: pre-activations", |r| &r.forward))
    .panel(panel("backward: error signals", |r| &r.gradient))
    .panel(panel("weight gradients", |r| &r.weight_gradient))
}

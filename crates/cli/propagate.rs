use std::sync::Arc;

use anyhow::Context;
use gainstage_claims::{LayerPanel, layer_figure};
use gainstage_data::Source;
use gainstage_report::{Cell, Document, Figure, Section, Table};
use gainstage_simulate::{
    Choice, Energy, InputSource, LayerDraw, LayerMeasured, Measured, Method, Precision, Setup,
    choose, measure_with_progress,
};
use gainstage_spec::{Dense, InputStatistics, Inputs, Layer, Network};
use gainstage_stats::{Moments, Probability, geometric_mean_interval, mean_test, quantile};
use gainstage_theory::{Options, Predicted, Prediction, predict};
use serde::Serialize;

use crate::args::{self, Common, Propagate, Storage};
use crate::{Exit, output, progress};

/// Family-wise false-alarm rate of one run, shared by its layers and signals.
pub(crate) const FAMILY_RATE: f64 = 0.001;

/// One signal of one layer; the field names are a contract.
#[derive(Clone, Serialize)]
pub(crate) struct Quantity {
    /// Typical value over draws: the exponential of the predicted mean logarithm.
    predicted: f64,
    predicted_low: f64,
    predicted_high: f64,
    /// Geometric mean over draws with its 95% interval.
    measured: f64,
    measured_low: f64,
    measured_high: f64,
    /// Quantiles over draws at 5, 25, 50, 75 and 95%; empty if a draw has no finite value.
    quantiles: Vec<f64>,
    p_value: Option<f64>,
    verdict: &'static str,
}

#[derive(Serialize)]
pub(crate) struct LayerRow {
    layer: usize,
    fan_in: usize,
    fan_out: usize,
    pub(crate) forward: Quantity,
    pub(crate) gradient: Quantity,
    pub(crate) weight_gradient: Quantity,
    /// Means over draws of what is measured of the batch as a whole.
    pub(crate) batch: BatchRow,
}

/// What has no prediction beside it; the mean over draws where it is defined in all of them.
#[derive(Clone, Serialize)]
pub(crate) struct BatchRow {
    /// Between the pre-activations of inputs 2k and 2k + 1.
    cosine: Option<f64>,
    /// Of the layer's incoming batch.
    effective_rank: Option<f64>,
    /// Norm of the batch's weight gradient over the weights' expected norm.
    gradient_to_weight: Option<f64>,
    /// Share of units without slope for any input.
    dead: Option<f64>,
    /// Share of values at the ends of a bounded activation.
    saturated: Option<f64>,
    /// Kurtosis of z, phi(z) and dL/dz, with --moments.
    kurtosis: Option<[f64; 3]>,
}

impl BatchRow {
    /// `weight` is the second moment of a weight.
    fn new(layer: &LayerMeasured, weight: f64) -> Self {
        let mean = |of: &dyn Fn(&LayerDraw) -> Option<f64>| -> Option<f64> {
            let values: Option<Vec<f64>> = layer.draws.iter().map(of).collect();
            values.map(|v| v.iter().sum::<f64>() / v.len() as f64).filter(|v| v.is_finite())
        };
        let kurtosis = |of: fn(&LayerDraw) -> &Moments| {
            mean(&|d| (of(d).count() > 0).then(|| of(d).kurtosis()))
        };
        let kurtoses = (
            kurtosis(|d| &d.pre_activation_moments),
            kurtosis(|d| &d.activation_moments),
            kurtosis(|d| &d.error_signal_moments),
        );
        Self {
            cosine: mean(&|d| d.cosine),
            effective_rank: mean(&|d| d.effective_rank),
            gradient_to_weight: mean(&|d| {
                d.batch_weight_gradient.filter(|_| weight > 0.0).map(|g| (g / weight).sqrt())
            }),
            dead: mean(&|d| d.dead),
            saturated: mean(&|d| d.saturated),
            kurtosis: match kurtoses {
                (Some(z), Some(h), Some(delta)) => Some([z, h, delta]),
                _ => None,
            },
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Answer {
    version: u32,
    pub(crate) method: Method,
    pub(crate) method_reason: String,
    seed: u64,
    trials: usize,
    batch: usize,
    precision: Precision,
    /// Probability that the predicted band holds one draw of one input.
    band_level: f64,
    /// False-alarm rate of the whole run; every layer's test runs at its share.
    family_false_alarm_rate: f64,
    assumptions: Vec<String>,
    pub(crate) layers: Vec<LayerRow>,
    /// First overflow or underflow of every draw that had one.
    pub(crate) breakdowns: Vec<BreakdownRow>,
}

#[derive(Serialize)]
pub(crate) struct BreakdownRow {
    pub(crate) trial: usize,
    #[serde(flatten)]
    breakdown: gainstage_simulate::Breakdown,
}

/// A network measured and judged.
pub(crate) struct Run {
    pub(crate) network: Network,
    prediction: Prediction,
    measured: Measured,
    pub(crate) answer: Answer,
}

pub(crate) fn run(common: &Common, args: &Propagate) -> anyhow::Result<Exit> {
    if !args.sweep.is_empty() {
        return crate::sweep::run(common, args);
    }
    if let Some(file) = &args.weights {
        return crate::weights::run(common, args, file);
    }
    anyhow::ensure!(args.shard.is_none(), "--shard divides a sweep; name its axes with --sweep");
    let bar = progress::bar(common, args.trials.get() as u64, "weight draws");
    let run = measure(common, args, &|| bar.inc(1))?;
    bar.finish_and_clear();

    let answer = &run.answer;
    let table = table(answer);
    let figure = figure(&run.prediction, &run.measured);
    let folder = common.out.join("propagate");
    document(&run.network, answer, table.clone(), figure).write_bundle(&folder)?;
    gainstage_report::write_json(&folder.join("results.json"), answer)?;
    let text = format!(
        "method {}: {}\nprediction: {}\n{}report: {}\n",
        answer.method,
        answer.method_reason,
        answer.assumptions.join("; "),
        breakdown_sentence(answer),
        folder.join("index.html").display()
    );
    output::result(common, answer, &[table], &text)?;
    Ok(if answer.has_findings() { Exit::Findings } else { Exit::Clean })
}

/// Draws the network that the arguments describe and tests it against its prediction.
pub(crate) fn measure(
    common: &Common,
    args: &Propagate,
    progress: &(dyn Fn() + Sync),
) -> anyhow::Result<Run> {
    let network = network(args)?;
    let precision = precision(args.precision);
    let (inputs, statistics) = inputs(common, args, &network)?;
    let mut setup = Setup {
        seed: common.seed,
        trials: args.trials.get(),
        batch: args.batch.get(),
        inputs,
        precision,
        moments: args.moments,
        grams: true,
        ..Setup::default()
    };
    let choice = method(args, &network, &setup)?;
    setup.method = choice.method;
    let options = Options::default();
    let prediction = predict(&network, &statistics, &options)?;
    let measured = measure_with_progress(&network, &setup, progress)?;
    let answer = answer(&setup, &options, &choice, &network, &prediction, &measured)?;
    Ok(Run { network, prediction, measured, answer })
}

pub(crate) fn precision(storage: Storage) -> Precision {
    match storage {
        Storage::F64 => Precision::F64,
        Storage::F32 => Precision::F32,
        Storage::Bf16 => Precision::Bf16,
        Storage::F16 => Precision::F16,
    }
}

impl Answer {
    /// Number of tests of a layer's signal that reject the prediction.
    pub(crate) fn disagreements(&self) -> usize {
        let signals = |l: &LayerRow| {
            [&l.forward, &l.gradient, &l.weight_gradient]
                .iter()
                .filter(|q| q.verdict == "differs")
                .count()
        };
        self.layers.iter().map(signals).sum()
    }

    pub(crate) fn has_findings(&self) -> bool {
        self.disagreements() > 0 || !self.breakdowns.is_empty()
    }
}

/// The method of the draws and why it was taken.
fn method(args: &Propagate, network: &Network, setup: &Setup) -> anyhow::Result<Choice> {
    let asked = |method| Choice { method, reason: "as asked for".to_owned() };
    Ok(match args.method {
        args::Method::Auto => choose(network, setup)?,
        args::Method::Dense => asked(Method::Dense),
        args::Method::MatrixFree => asked(Method::MatrixFree),
    })
}

fn network(args: &Propagate) -> anyhow::Result<Network> {
    match &args.network {
        None => {
            let dense = Dense::new(args.width.get(), args.init.clone(), args.activation.clone())
                .with_bias(args.bias.clone());
            Ok(Network::new(args.width.get(), vec![Layer::Dense(dense); args.depth.get()])?)
        }
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            toml::from_str(&text)
                .with_context(|| format!("{} is no network description", path.display()))
        }
    }
}

/// The batch, and what the prediction needs to know of it.
pub(crate) fn inputs(
    common: &Common,
    args: &Propagate,
    network: &Network,
) -> anyhow::Result<(InputSource, InputStatistics)> {
    let batch = args.batch.get();
    match args.inputs.as_str() {
        "sphere" => {
            Ok((InputSource::Random(Inputs::Sphere), InputStatistics::gaussian(network.input)))
        }
        "gaussian" => {
            Ok((InputSource::Random(Inputs::Gaussian), InputStatistics::gaussian(network.input)))
        }
        other => {
            let source: Source = other.parse()?;
            let data = crate::data::load(common, &source)?;
            let width = data.train.width * data.train.height;
            anyhow::ensure!(
                width == network.input,
                "the images have {width} pixels and the network takes {}; use --width {width} or a network file",
                network.input
            );
            anyhow::ensure!(
                batch <= data.train.len(),
                "--batch is {batch}; the data hold {} images",
                data.train.len()
            );
            let rows: Vec<f32> =
                data.train.pixels[..batch * width].iter().map(|&p| f32::from(p) / 255.0).collect();
            let statistics = InputStatistics::measure(&rows, width);
            Ok((InputSource::Given(Arc::from(rows)), statistics))
        }
    }
}

fn answer(
    setup: &Setup,
    options: &Options,
    choice: &Choice,
    network: &Network,
    prediction: &Prediction,
    measured: &Measured,
) -> anyhow::Result<Answer> {
    let weights = network
        .dense()
        .zip(network.shapes()?)
        .map(|(dense, shape)| Ok(dense.weights.law(&shape)?.second_moment()))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    let tests = 3 * measured.layers.len();
    let alpha = FAMILY_RATE / tests as f64;
    let layers = measured
        .layers
        .iter()
        .zip(&prediction.layers)
        .zip(weights)
        .map(|((layer, predicted), weight)| {
            let quantity = |p: &Predicted, of: fn(&LayerDraw) -> Energy| {
                quantity(p, &layer.values(|draw| of(draw).log_mean), alpha)
            };
            Ok(LayerRow {
                layer: layer.layer,
                fan_in: layer.fan_in,
                fan_out: layer.fan_out,
                forward: quantity(&predicted.forward, |d| d.forward)?,
                gradient: quantity(&predicted.gradient, |d| d.gradient)?,
                weight_gradient: quantity(&predicted.weight_gradient, |d| d.weight_gradient)?,
                batch: BatchRow::new(layer, weight),
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let breakdowns = measured
        .breakdowns
        .iter()
        .enumerate()
        .flat_map(|(trial, list)| {
            list.iter().map(move |&breakdown| BreakdownRow { trial, breakdown })
        })
        .collect();
    Ok(Answer {
        version: 1,
        method: setup.method,
        method_reason: choice.reason.clone(),
        seed: setup.seed,
        trials: setup.trials,
        batch: setup.batch,
        precision: setup.precision,
        band_level: options.level,
        family_false_alarm_rate: FAMILY_RATE,
        assumptions: prediction.assumptions.iter().map(ToString::to_string).collect(),
        layers,
        breakdowns,
    })
}

/// Tests the mean logarithm over independent draws against the predicted one.
///
/// The variance of a batch's mean logarithm is at most that of one input's, which the law gives, so
/// the larger of the predicted and the sampled variance keeps the false-alarm rate.
fn quantity(predicted: &Predicted, logs: &[f64], alpha: f64) -> anyhow::Result<Quantity> {
    let finite: Vec<f64> = logs.iter().copied().filter(|l| l.is_finite()).collect();
    let quantiles: Vec<f64> = [0.05, 0.25, 0.5, 0.75, 0.95]
        .iter()
        .filter_map(|&rank| quantile(logs, rank).ok().map(f64::exp))
        .collect();
    let base = |measured, low, high, p_value, verdict| Quantity {
        predicted: predicted.log_mean.exp(),
        predicted_low: predicted.low,
        predicted_high: predicted.high,
        measured,
        measured_low: low,
        measured_high: high,
        quantiles: quantiles.clone(),
        p_value,
        verdict,
    };
    if finite.len() < logs.len() {
        let all_zero = logs.iter().all(|&l| l == f64::NEG_INFINITY);
        if all_zero && predicted.expected == 0.0 {
            return Ok(base(0.0, 0.0, 0.0, None, "agrees"));
        }
        let share_broken = (logs.len() - finite.len()) as f64 / logs.len() as f64;
        let explained = share_broken <= 10.0 * predicted.zero_probability;
        if finite.len() < 2 || !explained {
            let value = if all_zero { 0.0 } else { f64::NAN };
            return Ok(base(value, value, value, None, "differs"));
        }
    }
    if finite.len() < 2 {
        let value = finite.first().map_or(f64::NAN, |l| l.exp());
        return Ok(base(value, value, value, None, "too few draws"));
    }
    let values: Vec<f64> = finite.iter().map(|l| l.exp()).collect();
    let moments = Moments::from(finite.as_slice());
    let interval = if values.iter().all(|v| *v > 0.0 && v.is_finite()) {
        let interval = geometric_mean_interval(&values, Probability::P95)?;
        (interval.estimate, interval.low, interval.high)
    } else {
        (moments.mean().exp(), 0.0, f64::INFINITY)
    };
    let variance = predicted.log_variance.max(moments.sample_variance());
    // The injected error signal has one value in every draw; only rounding is left of it.
    if variance < 1e-12 {
        let equal = (moments.mean() - predicted.log_mean).abs() < 1e-5;
        return Ok(base(
            interval.0,
            interval.1,
            interval.2,
            None,
            if equal { "agrees" } else { "differs" },
        ));
    }
    let test = mean_test(&moments, predicted.log_mean, variance)?;
    let verdict = if test.p_value < alpha { "differs" } else { "agrees" };
    Ok(base(interval.0, interval.1, interval.2, Some(test.p_value), verdict))
}

fn table(answer: &Answer) -> Table {
    let columns = [
        "layer",
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
        "Typical second moments over {} draws; every test at {:.1e} (family {:.1e})",
        answer.trials,
        FAMILY_RATE / (3 * answer.layers.len()) as f64,
        FAMILY_RATE
    );
    let mut table = Table::new("layers", caption, &columns);
    for row in &answer.layers {
        let mut cells =
            vec![Cell::count(row.layer), Cell::count(row.fan_in), Cell::count(row.fan_out)];
        for quantity in [&row.forward, &row.gradient, &row.weight_gradient] {
            cells.extend([
                Cell::number(quantity.predicted),
                Cell::number(quantity.measured),
                Cell::text(quantity.verdict),
            ]);
        }
        table.push(cells);
    }
    table
}

fn figure(prediction: &Prediction, measured: &Measured) -> Figure {
    let panels: [LayerPanel<'_>; 3] = [
        ("forward: pre-activations", (|l| &l.forward, |d| d.forward)),
        ("backward: error signals", (|l| &l.gradient, |d| d.gradient)),
        ("weight gradients", (|l| &l.weight_gradient, |d| d.weight_gradient)),
    ];
    layer_figure(
        "propagate",
        "Second moment by layer, predicted and measured",
        &panels,
        prediction,
        measured,
    )
}

fn document(network: &Network, answer: &Answer, table: Table, figure: Figure) -> Document {
    let mut document = Document::new(
        "Signal propagation",
        format!(
            "{} dense layers, {} weight draws, {} inputs each, seed {}.",
            network.dense().count(),
            answer.trials,
            answer.batch,
            answer.seed
        ),
    );
    let mut section = Section::new("propagation", "Predicted and measured, layer by layer");
    section.figure(figure);
    section.paragraph(format!("The draws are {}: {}.", answer.method, answer.method_reason));
    section.paragraph(format!("The prediction is {}.", answer.assumptions.join("; ")));
    section.paragraph(breakdown_sentence(answer));
    section.table(table);
    document.sections.push(section);
    document
}

fn breakdown_sentence(answer: &Answer) -> String {
    let Some(first) = answer.breakdowns.first() else { return String::new() };
    let mut trials: Vec<usize> = answer.breakdowns.iter().map(|b| b.trial).collect();
    trials.dedup();
    format!(
        "{} of {} draws overflowed or underflowed; the first, draw {}, {} in layer {}.\n",
        trials.len(),
        answer.trials,
        first.trial,
        match first.breakdown.kind {
            gainstage_simulate::BreakdownKind::Overflow => "overflowed",
            gainstage_simulate::BreakdownKind::Underflow => "underflowed",
        },
        first.breakdown.layer
    )
}

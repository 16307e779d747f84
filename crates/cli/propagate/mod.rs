//! `propagate`: a random network measured against its prediction.

mod answer;
mod compare;
mod document;
mod inputs;
mod jacobian;

use std::num::NonZeroUsize;

use anyhow::Context;
use gainstage_simulate::{
    Choice, Measured, Method, Precision, Setup, choose, measure_with_progress,
};
use gainstage_spec::{Dense, Layer, Network};
use gainstage_theory::{Options, Prediction, predict};

use crate::args::{self, Common, Propagate, Storage};
use crate::{Exit, output, progress};
pub(crate) use answer::{Answer, BatchRow, FAMILY_RATE, Quantity};
pub(crate) use document::QUANTITIES;
pub(crate) use inputs::batch as inputs_of;

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
    let both = args.method == args::Method::Both;
    let draws = args.trials.get() as u64 * if both { 2 } else { 1 };
    let bar = progress::bar(common, draws, "weight draws");
    let run = measure(common, args, &|| bar.inc(1))?;
    bar.finish_and_clear();

    let Run { network, prediction, measured, answer } = run;
    let answer = &answer;
    let table = document::table(answer);
    let figure = document::figure(&prediction, &measured);
    // Deep networks have many draws of many layers, and the report takes room of its own.
    drop((measured, prediction));
    let folder = common.out.join("propagate");
    document::document(&network, answer, table.clone(), figure).write_bundle(&folder)?;
    gainstage_report::write_json(&folder.join("results.json"), answer)?;
    let text = format!(
        "method {}: {}\n{}{}prediction: {}\n{}report: {}\n",
        answer.method,
        answer.method_reason,
        answer.comparison.as_ref().map(|c| c.sentence() + "\n").unwrap_or_default(),
        answer.jacobian.as_ref().map(|j| j.sentence() + "\n").unwrap_or_default(),
        answer.assumptions.join("; "),
        document::breakdown_sentence(answer),
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
    let (inputs, statistics) = inputs::batch(common, args, &network)?;
    let mut setup = Setup {
        seed: common.seed,
        trials: args.trials.get(),
        batch: args.batch.get(),
        inputs,
        precision: precision(args.precision),
        moments: args.moments,
        grams: true,
        histogram_bins: args.histograms.map_or(0, NonZeroUsize::get),
        memory: args.memory.map(|bytes| bytes.0),
        ..Setup::default()
    };
    let choice = method(args, &network, &setup)?;
    setup.method = choice.method;
    let options = Options::default();
    let prediction = predict(&network, &statistics, &options)?;
    // First what may not be defined here, and then is refused.
    let jacobian = args
        .jacobian
        .map(|probes| jacobian::measure(&network, &setup, probes, &prediction))
        .transpose()?;
    let (measured, comparison) = if args.method == args::Method::Both {
        let (measured, comparison) = compare::measure_both(&network, &setup, progress)?;
        (measured, Some(comparison))
    } else {
        (measure_with_progress(&network, &setup, progress)?, None)
    };
    let mut answer = answer::answer(&setup, &options, &choice, &network, &prediction, &measured)?;
    answer.comparison = comparison;
    answer.jacobian = jacobian;
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

/// The method of the draws and why it was taken.
fn method(args: &Propagate, network: &Network, setup: &Setup) -> anyhow::Result<Choice> {
    let asked = |method| Choice { method, reason: "as asked for".to_owned() };
    Ok(match args.method {
        args::Method::Auto | args::Method::Both => choose(network, setup)?,
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

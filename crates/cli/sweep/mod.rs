//! `propagate --sweep`: every combination of values, one file for each finished point.

mod axis;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use gainstage_report::write_json;
use gainstage_simulate::LayerHistograms;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::args::{self, Common, Propagate};
use crate::propagate::{self, BatchRow, Quantity};
use crate::{Exit, merge, progress};
pub(crate) use axis::Axis;
use axis::Parameter;

/// Every `of`-th point, starting with number `index` (from 1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shard {
    index: usize,
    of: usize,
}

impl FromStr for Shard {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parsed =
            text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parsed {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => bail!("{text} is no shard; write I/N with 1 <= I <= N"),
        }
    }
}

/// What a sweep is: stored beside its points, so that no point of another sweep is taken for one.
#[derive(Serialize)]
struct Description {
    version: u32,
    axes: Vec<Value>,
    points: usize,
    /// The arguments that no axis varies.
    fixed: Map<String, Value>,
}

/// The folder of a sweep within an --out folder.
pub(crate) fn folder(out: &Path) -> PathBuf {
    out.join("sweep")
}

pub(crate) fn point_file(folder: &Path, index: usize) -> PathBuf {
    folder.join("points").join(format!("{index:06}.json"))
}

/// A finished point.
#[derive(Serialize)]
struct Point {
    index: usize,
    settings: Map<String, Value>,
    method: gainstage_simulate::Method,
    method_reason: String,
    layers: usize,
    /// Pre-activations of the last layer.
    forward: Quantity,
    /// Error signals of the first layer.
    gradient: Quantity,
    /// Weight gradient of the first layer.
    weight_gradient: Quantity,
    /// The last layer's batch.
    batch: BatchRow,
    /// The last layer's signals, with --histograms.
    #[serde(skip_serializing_if = "Option::is_none")]
    histograms: Option<LayerHistograms>,
    /// Tests of a layer's signal that reject the prediction.
    disagreements: usize,
    /// Draws whose number format gave way.
    breakdowns: usize,
}

pub(crate) fn run(common: &Common, args: &Propagate) -> anyhow::Result<Exit> {
    ensure!(
        args.method != args::Method::Both,
        "--method both times one network and its results are not the same bytes twice; a sweep takes auto, dense or matrix-free"
    );
    // A mistyped value is refused before anything is measured or written.
    for axis in &args.sweep {
        for value in &axis.values {
            axis.parameter.apply(value, &mut common.clone(), &mut args.clone())?;
        }
    }
    let points = points(args)?;
    let folder = folder(&common.out);
    claim(&folder, &description(common, args, points.len())?)?;

    let shard = args.shard.unwrap_or(Shard { index: 1, of: 1 });
    let mine: Vec<usize> = (shard.index - 1..points.len()).step_by(shard.of).collect();
    let bar = progress::bar(common, mine.len() as u64, "points");
    let open: Vec<usize> =
        mine.iter().copied().filter(|&i| !point_file(&folder, i).exists()).collect();
    bar.inc((mine.len() - open.len()) as u64);
    // What was done before says nothing about how long the rest takes.
    bar.reset_eta();
    open.par_iter().try_for_each(|&index| {
        let point = measure(common, args, index, &points[index])?;
        write_json(&point_file(&folder, index), &point)?;
        bar.inc(1);
        anyhow::Ok(())
    })?;
    bar.finish_and_clear();
    if shard.of > 1 {
        return merge::report_shard(common, &folder, &mine, points.len());
    }
    merge::finish(common, &folder, points.len())
}

/// Every combination of the axes' values, the last axis fastest.
fn points(args: &Propagate) -> anyhow::Result<Vec<Vec<(Parameter, String)>>> {
    let mut points = vec![Vec::new()];
    for (at, axis) in args.sweep.iter().enumerate() {
        let name = axis.parameter;
        ensure!(
            args.sweep[..at].iter().all(|other| other.parameter != name),
            "--sweep names {name} twice; put all its values into one axis"
        );
        let described = matches!(
            name,
            Parameter::Batch
                | Parameter::Trials
                | Parameter::Seed
                | Parameter::Inputs
                | Parameter::Precision
        );
        ensure!(
            args.network.is_none() || described,
            "--sweep {name} would change the network file; describe the network by flags instead"
        );
        ensure!(
            points.len().saturating_mul(axis.values.len()) <= 1_000_000,
            "the sweep has more than a million points"
        );
        points = points
            .iter()
            .flat_map(|point: &Vec<(Parameter, String)>| {
                axis.values.iter().map(|value| {
                    let mut point = point.clone();
                    point.push((name, value.clone()));
                    point
                })
            })
            .collect();
    }
    Ok(points)
}

fn measure(
    common: &Common,
    args: &Propagate,
    index: usize,
    settings: &[(Parameter, String)],
) -> anyhow::Result<Point> {
    let (mut common, mut args) = (common.clone(), args.clone());
    for (parameter, value) in settings {
        parameter.apply(value, &mut common, &mut args)?;
    }
    let named = settings.iter().map(|(p, v)| format!("{p}={v}")).collect::<Vec<_>>().join(" ");
    let answer = propagate::measure(&common, &args, &|| ())
        .with_context(|| format!("point {index} ({named})"))?
        .answer;
    let (first, last) = answer
        .layers
        .first()
        .zip(answer.layers.last())
        .with_context(|| format!("point {index} has no layer"))?;
    let mut trials: Vec<usize> = answer.breakdowns.iter().map(|b| b.trial).collect();
    trials.dedup();
    Ok(Point {
        index,
        settings: settings.iter().map(|(p, v)| (p.to_string(), Value::String(v.clone()))).collect(),
        method: answer.method,
        method_reason: answer.method_reason.clone(),
        layers: answer.layers.len(),
        forward: last.forward.clone(),
        gradient: first.gradient.clone(),
        weight_gradient: first.weight_gradient.clone(),
        batch: last.batch.clone(),
        histograms: last.histograms.clone(),
        disagreements: answer.disagreements(),
        breakdowns: trials.len(),
    })
}

fn description(common: &Common, args: &Propagate, points: usize) -> anyhow::Result<Value> {
    let network = match &args.network {
        None => Value::Null,
        Some(path) => Value::String(
            std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?,
        ),
    };
    let mut fixed = Map::new();
    let mut set = |name: &str, value: Value| fixed.insert(name.to_owned(), value);
    set("network", network);
    set("init", args.init.to_string().into());
    set("activation", args.activation.to_string().into());
    set("bias", args.bias.to_string().into());
    set("depth", args.depth.get().into());
    set("width", args.width.get().into());
    set("batch", args.batch.get().into());
    set("trials", args.trials.get().into());
    set("seed", common.seed.into());
    set("method", serde_json::to_value(args.method)?);
    set("precision", serde_json::to_value(args.precision)?);
    set("inputs", args.inputs.clone().into());
    set("moments", args.moments.into());
    if let Some(bins) = args.histograms {
        set("histograms", bins.get().into());
    }
    for axis in &args.sweep {
        fixed.remove(&axis.parameter.to_string());
    }
    let axes = args
        .sweep
        .iter()
        .map(
            |axis| serde_json::json!({ "name": axis.parameter.to_string(), "values": axis.values }),
        )
        .collect();
    Ok(serde_json::to_value(Description { version: 1, axes, points, fixed })?)
}

/// Takes a folder for a sweep, or finds that it holds this one already.
fn claim(folder: &Path, description: &Value) -> anyhow::Result<()> {
    let file = folder.join("sweep.json");
    if file.exists() {
        ensure!(
            merge::read(&file)? == *description,
            "{} holds another sweep; choose another --out, or remove the folder",
            folder.display()
        );
        return Ok(());
    }
    Ok(write_json(&file, description)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<String> {
        text.parse::<Axis>().expect(text).values
    }

    #[test]
    fn axes_are_lists_and_ranges() {
        assert_eq!(values("depth=10..1000:log:3"), ["10", "100", "1000"]);
        assert_eq!(
            values("depth=10..1000:log"),
            ["10", "18", "32", "56", "100", "178", "316", "562", "1000"]
        );
        assert_eq!(values("width=1..3:11"), ["1", "2", "3"]);
        assert_eq!(values("weight-variance=1..2:linear:5"), ["1", "1.25", "1.5", "1.75", "2"]);
        assert_eq!(
            values("init=he-normal, variance_scaling(1.5, fan_in, normal)"),
            ["he-normal", "variance_scaling(1.5, fan_in, normal)"]
        );
    }

    #[test]
    fn what_is_no_axis_or_shard_is_refused() {
        for text in
            ["depth", "depth=", "colour=1,2", "depth=9..3", "depth=0..9:log", "depth=1..9:x"]
        {
            assert!(text.parse::<Axis>().is_err(), "{text}");
        }
        assert!("3/3".parse::<Shard>().is_ok());
        for text in ["0/3", "4/3", "1", "a/b", "1/0"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}

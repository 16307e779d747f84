//! `propagate --sweep`: every combination of values, one file for each finished point.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, anyhow, bail, ensure};
use clap::ValueEnum;
use gainstage_report::write_json;
use gainstage_spec::{FanMode, Initializer, ScalingDistribution};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::args::{Common, Propagate, Storage};
use crate::propagate::{self, BatchRow, Quantity};
use crate::{Exit, merge, progress};

/// What a sweep may vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Parameter {
    Depth,
    Width,
    Batch,
    Trials,
    Seed,
    Init,
    Activation,
    Bias,
    Inputs,
    Precision,
    WeightVariance,
    BiasVariance,
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |v| v.get_name()))
    }
}

impl Parameter {
    fn is_count(self) -> bool {
        matches!(self, Self::Depth | Self::Width | Self::Batch | Self::Trials | Self::Seed)
    }

    /// Sets the parameter in a point's arguments.
    fn apply(self, text: &str, common: &mut Common, args: &mut Propagate) -> anyhow::Result<()> {
        let wrong = |why: String| anyhow!("--sweep {self}={text}: {why}");
        let count = || text.parse().map_err(|e| wrong(format!("{e}; a whole number from 1")));
        let initializer = || text.parse::<Initializer>().map_err(|e| wrong(e.to_string()));
        let variance = || match text.parse::<f64>() {
            Ok(v) if v >= 0.0 && v.is_finite() => Ok(v),
            _ => Err(wrong("a variance is a finite number from 0".to_owned())),
        };
        match self {
            Self::Depth => args.depth = count()?,
            Self::Width => args.width = count()?,
            Self::Batch => args.batch = count()?,
            Self::Trials => args.trials = count()?,
            Self::Seed => {
                common.seed = text.parse().map_err(|_| wrong("a whole number".to_owned()))?;
            }
            Self::Init => args.init = initializer()?,
            Self::Bias => args.bias = initializer()?,
            Self::Activation => {
                args.activation = text.parse().map_err(|e| wrong(format!("{e}")))?;
            }
            Self::Inputs => text.clone_into(&mut args.inputs),
            Self::Precision => args.precision = Storage::from_str(text, true).map_err(wrong)?,
            Self::WeightVariance => {
                let mode = FanMode::FanIn;
                args.init = Initializer::scaling(variance()?, mode, ScalingDistribution::Normal);
            }
            Self::BiasVariance => args.bias = Initializer::normal(variance()?.sqrt()),
        }
        Ok(())
    }
}

/// One axis of a sweep.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    parameter: Parameter,
    values: Vec<String>,
}

impl FromStr for Axis {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (name, values) = text
            .split_once('=')
            .context("an axis is NAME=a,b,c or NAME=LOW..HIGH[:log][:COUNT]")?;
        let parameter = Parameter::from_str(name.trim(), true)
            .map_err(|_| anyhow!("{name} is nothing that a sweep can vary"))?;
        let values = match values.split_once("..") {
            Some((low, rest)) => range(parameter, low, rest)?,
            None => split(values),
        };
        ensure!(values.iter().all(|v| !v.is_empty()), "{name} has an empty value");
        Ok(Self { parameter, values })
    }
}

/// At commas outside of parentheses: initializers have arguments.
fn split(text: &str) -> Vec<String> {
    let mut values = vec![String::new()];
    let mut depth = 0i32;
    for c in text.chars() {
        depth += i32::from(c == '(') - i32::from(c == ')');
        match values.last_mut() {
            Some(last) if c != ',' || depth > 0 => last.push(c),
            _ => values.push(String::new()),
        }
    }
    values.iter().map(|v| v.trim().to_owned()).collect()
}

/// LOW..HIGH with both ends, four values to a factor of ten on a logarithmic axis and eleven on a linear
/// one if no count is given; whole numbers are rounded and stand once.
fn range(parameter: Parameter, low: &str, rest: &str) -> anyhow::Result<Vec<String>> {
    let mut parts = rest.split(':');
    let high = parts.next().unwrap_or_default();
    let number = |text: &str| -> anyhow::Result<f64> {
        text.trim().parse().map_err(|_| anyhow!("{text} is no number; a range is LOW..HIGH"))
    };
    let (low, high) = (number(low)?, number(high)?);
    ensure!(low < high && low.is_finite() && high.is_finite(), "{low}..{high} is no range upwards");
    let (mut log, mut count) = (false, None);
    for part in parts {
        match part.trim() {
            "log" => log = true,
            "linear" => log = false,
            other => {
                let n: usize = other.parse().map_err(|_| {
                    anyhow!("{other} is neither log, linear nor a number of values")
                })?;
                ensure!((2..=100_000).contains(&n), "{n} values; a range has 2 to 100,000");
                count = Some(n);
            }
        }
    }
    ensure!(!log || low > 0.0, "a logarithmic range starts above 0, not at {low}");
    let customary =
        if log { ((high / low).log10() * 4.0).round().max(1.0) as usize + 1 } else { 11 };
    let count = count.unwrap_or(customary);
    let mut values: Vec<String> = Vec::with_capacity(count);
    for i in 0..count {
        let t = i as f64 / (count - 1) as f64;
        let value = match i {
            0 => low,
            _ if i == count - 1 => high,
            _ if log => low * (high / low).powf(t),
            _ => low + (high - low) * t,
        };
        let text = if parameter.is_count() {
            format!("{:.0}", value.round())
        } else {
            // Six digits: the same text on every platform.
            format!("{}", format!("{value:.5e}").parse::<f64>()?)
        };
        if values.last() != Some(&text) {
            values.push(text);
        }
    }
    Ok(values)
}

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
    /// Tests of a layer's signal that reject the prediction.
    disagreements: usize,
    /// Draws whose number format gave way.
    breakdowns: usize,
}

pub(crate) fn run(common: &Common, args: &Propagate) -> anyhow::Result<Exit> {
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

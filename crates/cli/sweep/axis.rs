//! The axes of a sweep.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, anyhow, ensure};
use clap::ValueEnum;
use gainstage_spec::{FanMode, Initializer, ScalingDistribution};

use crate::args::{Common, Propagate, Storage};

/// What a sweep may vary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Parameter {
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
    pub(super) fn apply(
        self,
        text: &str,
        common: &mut Common,
        args: &mut Propagate,
    ) -> anyhow::Result<()> {
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
    pub(super) parameter: Parameter,
    pub(super) values: Vec<String>,
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

//! What passes given weights: inputs, and error signals where the file of inputs holds labels or signals.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use gainstage_audit::{Checkpoint, Tensor};
use gainstage_simulate::{ErrorSignals, InputSource};
use gainstage_spec::{InputStatistics, Network};

use crate::args::{Common, Propagate};
use crate::propagate::inputs_of;

/// Names of an array of labels.
const LABELS: [&str; 3] = ["y", "labels", "targets"];

/// What passes the weights.
pub(super) struct Batch {
    pub(super) source: InputSource,
    pub(super) statistics: InputStatistics,
    pub(super) size: usize,
    pub(super) error: ErrorSignals,
    pub(super) inputs: String,
    pub(super) error_signals: &'static str,
}

/// Inputs, and error signals where the file of inputs holds labels or signals.
pub(super) fn read(common: &Common, args: &Propagate, network: &Network) -> anyhow::Result<Batch> {
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
    if let Some(at) = rows.iter().position(|x| !x.is_finite()) {
        anyhow::bail!(
            "value {} of row {} of array {} of {} is {}; inputs must be finite",
            at % width + 1,
            at / width + 1,
            tensor.name(),
            path.display(),
            rows[at]
        );
    }
    let (error, error_signals) = if let Some(signals) = named(&file, &["error", "delta"]) {
        (ErrorSignals::Given(file.values(signals)?), "error signals from the same file")
    } else if let Some(labels) = labels(&file, tensor)? {
        (
            ErrorSignals::CrossEntropy(labels),
            "error signals of the mean cross-entropy of the labels in the same file",
        )
    } else {
        (ErrorSignals::Random, random)
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
fn labels(file: &Checkpoint, inputs: &Tensor) -> anyhow::Result<Option<Vec<usize>>> {
    for name in LABELS {
        if named(file, &[name]).is_some_and(|t| t.name() != inputs.name()) {
            anyhow::bail!(
                "labels {name} are floating-point numbers; store the number of each class as an integer, {name}.astype('int64')"
            );
        }
        let Some(other) = file.others().iter().find(|o| o.name == name) else { continue };
        let Some(labels) = file.integers(name)? else {
            anyhow::bail!(
                "labels {name} cannot be read: {}; store the number of each class as an integer, {name}.astype('int64')",
                other.reason
            );
        };
        anyhow::ensure!(
            other.shape.len() == 1,
            "labels {name} have shape {:?}; give the number of one class for each input, a list of {}",
            other.shape,
            inputs.shape().first().copied().unwrap_or(0)
        );
        let labels = labels.into_iter().map(|l| {
            usize::try_from(l).ok().with_context(|| format!("label {l} is negative; count from 0"))
        });
        return labels.collect::<anyhow::Result<_>>().map(Some);
    }
    Ok(None)
}

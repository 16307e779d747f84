//! What passes the network.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, ensure};
use gainstage_audit::Checkpoint;
use gainstage_data::Source;
use gainstage_simulate::InputSource;
use gainstage_spec::{InputStatistics, Inputs, Network};

use crate::args::{Common, Propagate};

/// The batch, and what the prediction needs to know of it.
pub(crate) fn batch(
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
        other if file(other).is_some() => {
            let rows = rows_of_file(other, batch, network.input)?;
            let statistics = InputStatistics::measure(&rows, network.input);
            Ok((InputSource::Given(Arc::from(rows)), statistics))
        }
        other => {
            let source: Source = other.parse()?;
            let data = crate::data::load(common, &source)?;
            let width = data.train.width * data.train.height;
            ensure!(
                width == network.input,
                "the images have {width} pixels and the network takes {}; use --width {width} or a network file",
                network.input
            );
            ensure!(
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

/// The file of FILE or FILE:ARRAY, if the text names an array file, and the array's name.
fn file(text: &str) -> Option<(&str, Option<&str>)> {
    let holds_arrays = |path: &str| {
        Path::new(path).extension().is_some_and(|e| {
            ["npy", "npz", "safetensors"].iter().any(|known| e.eq_ignore_ascii_case(known))
        })
    };
    if holds_arrays(text) {
        return Some((text, None));
    }
    let (path, name) = text.rsplit_once(':')?;
    holds_arrays(path).then_some((path, Some(name)))
}

/// The first `batch` rows of an array, one input a row; further axes are flattened.
fn rows_of_file(text: &str, batch: usize, width: usize) -> anyhow::Result<Vec<f32>> {
    let (path, name) = file(text).context("no array file")?;
    let checkpoint = Checkpoint::open(Path::new(path))?;
    let tensors = checkpoint.tensors();
    let names = || tensors.iter().map(gainstage_audit::Tensor::name).collect::<Vec<_>>().join(", ");
    let tensor = match name {
        Some(name) => tensors.iter().find(|t| t.name() == name).ok_or_else(|| {
            anyhow!("{path} holds no floating-point array \"{name}\"; it holds: {}", names())
        })?,
        None if tensors.len() == 1 => &tensors[0],
        None if tensors.is_empty() => {
            let why = checkpoint.others().first().map(|o| format!(" ({}: {})", o.name, o.reason));
            return Err(anyhow!(
                "{path} holds no floating-point array{}; save inputs with numpy as float32",
                why.unwrap_or_default()
            ));
        }
        None => {
            return Err(anyhow!(
                "{path} holds several arrays; name one as {path}:NAME: {}",
                names()
            ));
        }
    };
    let shape = tensor.shape();
    ensure!(
        shape.len() >= 2,
        "\"{}\" of {path} has {} axes; inputs are the rows of an array of two or more",
        tensor.name(),
        shape.len()
    );
    let row: usize = shape[1..].iter().product();
    ensure!(
        row == width,
        "the rows of \"{}\" have {row} values and the network takes {width}; use --width {row} or a network file",
        tensor.name()
    );
    ensure!(batch <= shape[0], "--batch is {batch}; {path} holds {} rows", shape[0]);
    let stored = checkpoint.values(tensor)?;
    let values: Vec<f32> = stored[..batch * width].iter().map(|&x| x as f32).collect();
    let broken = values.iter().position(|v| !v.is_finite());
    if let Some(at) = broken {
        return Err(anyhow!(
            "value {} of row {} of {path} is {}; inputs must be finite",
            at % width + 1,
            at / width + 1,
            values[at]
        ));
    }
    Ok(values)
}

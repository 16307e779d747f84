//! What may be asked of random networks.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gainstage_spec::{Activation, Initializer};
use serde::Serialize;

use super::AxisOrder;
use crate::sweep::{Axis, Shard};

#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  gainstage propagate --init xavier-uniform --activation tanh --depth 100 --width 256
  gainstage propagate --init 'normal(std = 0.05)' --activation relu --depth 30 --width 300 --format json
  gainstage propagate network.toml --trials 500
  gainstage propagate network.toml --weights step0.safetensors --inputs batch.npz
  gainstage propagate --width 300 --inputs activations.npz:x --batch 64 --histograms 60
  gainstage propagate --depth 100 --width 1000 --trials 200 --method both
  gainstage propagate --init 'orthogonal(1)' --activation tanh --depth 20 --width 500 --jacobian
  gainstage propagate --sweep depth=10..1000:log --sweep width=64,256,1024 --shard 1/8 --out shard-1
  gainstage merge shard-* --out merged")]
pub(crate) struct Propagate {
    /// A network in TOML; instead of --init, --activation, --depth, --width, --bias.
    #[arg(value_name = "NETWORK.TOML", conflicts_with_all = ["init", "activation", "depth", "width", "bias"])]
    pub(crate) network: Option<PathBuf>,
    /// Weight initializer, such as he-normal, xavier-uniform, orthogonal, pytorch-linear, 'normal(std = 0.1)'.
    #[arg(long, default_value = "he-normal")]
    pub(crate) init: Initializer,
    /// Activation, such as relu, tanh, gelu, 'leaky_relu(0.2)'.
    #[arg(long, default_value = "relu")]
    pub(crate) activation: Activation,
    /// Bias initializer.
    #[arg(long, default_value = "zeros")]
    pub(crate) bias: Initializer,
    /// Number of dense layers.
    #[arg(long, default_value = "50", value_name = "L")]
    pub(crate) depth: NonZeroUsize,
    /// Units in every layer.
    #[arg(long, default_value = "512", value_name = "N")]
    pub(crate) width: NonZeroUsize,
    /// Inputs that pass every draw.
    #[arg(long, default_value = "16", value_name = "B")]
    pub(crate) batch: NonZeroUsize,
    /// Independent draws of all weights.
    #[arg(long, default_value = "200", value_name = "N")]
    pub(crate) trials: NonZeroUsize,
    /// How draws are made.
    #[arg(long, value_enum, default_value_t = Method::Auto)]
    pub(crate) method: Method,
    /// Format in which signals are stored.
    #[arg(long, value_enum, default_value_t = Storage::F32)]
    pub(crate) precision: Storage,
    /// Measure every combination of values: NAME=a,b,c or `NAME=LOW..HIGH[:log|:linear][:COUNT]`, once for each
    /// axis. Names: depth, width, batch, trials, seed, init, activation, bias, inputs, precision,
    /// weight-variance, bias-variance. A finished point is stored at once; the same command goes on after
    /// an interruption.
    #[arg(long, value_name = "NAME=VALUES")]
    pub(crate) sweep: Vec<Axis>,
    /// Measure only every N-th point of the sweep, starting with the I-th (from 1).
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// Gather the kurtosis of every layer's signals too.
    #[arg(long)]
    pub(crate) moments: bool,
    /// Gather histograms of every layer's signals, with so many bins.
    #[arg(long, value_name = "BINS")]
    pub(crate) histograms: Option<NonZeroUsize>,
    /// Measure the mean and the spread of the squared singular values of the input-output Jacobian, from
    /// products with K orthonormal directions at the first input; auto takes 8, or the input's width.
    #[arg(long, value_name = "K", num_args = 0..=1, require_equals = true, default_missing_value = "auto", conflicts_with_all = ["sweep", "weights"])]
    pub(crate) jacobian: Option<Probes>,
    /// Inputs: sphere (mean square exactly 1), gaussian, images as for verify --data, or the rows of a
    /// floating-point array in FILE.npy, FILE.npz or FILE.npz:NAME.
    #[arg(long, default_value = "sphere", value_name = "sphere|gaussian|SOURCE|FILE")]
    pub(crate) inputs: String,
    /// Most bytes of signals that dense draws keep for the backward pass, such as 2GiB; layers that do
    /// not fit are passed forward again, to the same result. [default: no bound]
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory: Option<Bytes>,
    /// Measure these very weights instead of random draws: a .safetensors, .npz or .npy file, an index or a folder.
    /// Dense layers of the network may name their weight_tensor and bias_tensor; else shapes tell.
    #[arg(long, value_name = "FILE", requires = "network", conflicts_with_all = ["sweep", "trials", "method"])]
    pub(crate) weights: Option<PathBuf>,
    /// Order of the axes of --weights; otherwise from shapes, names and biases.
    #[arg(long, value_enum, default_value_t = AxisOrder::Auto, requires = "weights")]
    pub(crate) layout: AxisOrder,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Merge {
    /// The folders that the shards were given as --out.
    #[arg(required = true, value_name = "DIR")]
    pub(crate) dirs: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// The cheaper exact method; it is named in the output.
    Auto,
    /// Every weight is drawn.
    Dense,
    /// What Gaussian and orthogonal weights do to the batch is drawn, without a weight.
    MatrixFree,
    /// Both, with tests that their laws agree and the time of each.
    Both,
}

/// A number of directions that are sent through a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probes {
    Auto,
    Number(NonZeroUsize),
}

impl std::str::FromStr for Probes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let complaint = |_| format!("\"{text}\" is neither auto nor a whole number above 0");
        text.parse().map(Self::Number).map_err(complaint)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) usize);

impl std::str::FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "k" | "kib" => 1024.0,
            "m" | "mib" => 1_048_576.0,
            "g" | "gib" => 1_073_741_824.0,
            _ => {
                return Err(format!(
                    "{unit} is no unit of memory; use B, KiB, MiB, GiB, KB, MB or GB"
                ));
            }
        };
        match number.trim().parse::<f64>() {
            Ok(n) if n > 0.0 && n.is_finite() => Ok(Self((n * factor) as usize)),
            _ => Err(format!("\"{text}\" is no number of bytes above 0, such as 500MB or 2GiB")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Storage {
    F64,
    F32,
    Bf16,
    F16,
}

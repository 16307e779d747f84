//! What may be asked of the trainer.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use gainstage_data::Source;
use gainstage_spec::Activation;

#[derive(Clone, Debug, Args)]
pub(crate) struct Notebook {
    /// Independent seeds per model.
    #[arg(long, default_value = "3", value_name = "N")]
    pub(crate) seeds: NonZeroUsize,
    /// Epochs of training.
    #[arg(long, default_value = "10", value_name = "N")]
    pub(crate) epochs: NonZeroUsize,
    /// Images: auto, mnist, fashion-mnist, synthetic, or a folder of IDX files.
    #[arg(long, default_value = "auto", value_name = "SOURCE")]
    pub(crate) data: Source,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  gainstage train network.toml --epochs 5
  gainstage train network.toml --epochs 10 --resume reports/train/checkpoint.safetensors
  gainstage train --sweep --activation tanh --bias-variance 0.05

A [training] table in the network's file sets optimizer, rate, clip, batch, loss and so on:
  [training]
  batch = 64
  optimizer = { kind = \"momentum\", rate = 0.05 }
  schedule = { kind = \"cosine\", warmup = 100, steps = 8000, floor = 0.0 }
  clip = { kind = \"norm\", bound = 1.0 }")]
pub(crate) struct Train {
    /// A network in TOML, and how it is trained.
    #[arg(
        value_name = "NETWORK.TOML",
        required_unless_present = "sweep",
        conflicts_with = "sweep"
    )]
    pub(crate) network: Option<PathBuf>,
    /// Images: auto, mnist, fashion-mnist, synthetic, or a folder of IDX files.
    #[arg(long, default_value = "auto", value_name = "SOURCE")]
    pub(crate) data: Source,
    /// Epochs of training, all together; instead of the file's.
    #[arg(long, value_name = "N", conflicts_with = "sweep")]
    pub(crate) epochs: Option<NonZeroUsize>,
    /// Images a step; instead of the file's.
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<NonZeroUsize>,
    /// Learning rate; instead of the file's.
    #[arg(long, value_name = "R")]
    pub(crate) rate: Option<f64>,
    /// Go on from a checkpoint of this training.
    #[arg(long, value_name = "FILE", conflicts_with = "sweep")]
    pub(crate) resume: Option<PathBuf>,
    /// Train networks of many depths and weight variances, and draw the map with the theory's depth scale.
    #[arg(long)]
    pub(crate) sweep: bool,
    /// Sweep: activation of the hidden layers.
    #[arg(long, default_value = "tanh", requires = "sweep")]
    pub(crate) activation: Activation,
    /// Sweep: variance of the biases.
    #[arg(long, default_value_t = 0.05, value_name = "V", requires = "sweep")]
    pub(crate) bias_variance: f64,
    /// Sweep: units of a hidden layer.
    #[arg(long, default_value = "100", value_name = "N", requires = "sweep")]
    pub(crate) width: NonZeroUsize,
    /// Sweep: deepest network.
    #[arg(long, default_value = "100", value_name = "L", requires = "sweep")]
    pub(crate) depth: NonZeroUsize,
    /// Sweep: lowest variance of the weights times fan-in.
    #[arg(long, default_value_t = 1.0, value_name = "V", requires = "sweep")]
    pub(crate) variance_from: f64,
    /// Sweep: highest variance of the weights times fan-in.
    #[arg(long, default_value_t = 4.0, value_name = "V", requires = "sweep")]
    pub(crate) variance_to: f64,
    /// Sweep: depths and variances, each so many.
    #[arg(long, default_value = "20", value_name = "N", requires = "sweep")]
    pub(crate) grid: NonZeroUsize,
    /// Sweep: steps of training.
    #[arg(long, default_value = "300", value_name = "N", requires = "sweep")]
    pub(crate) steps: NonZeroUsize,
}

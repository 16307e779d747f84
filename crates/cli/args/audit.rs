//! What may be asked of weight files.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gainstage_spec::{Activation, Layout};

#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  gainstage audit model.safetensors
  gainstage audit checkpoints/step0 --expect gpt2
  gainstage audit model.safetensors --expect rules.toml --format sarif > audit.sarif
  gainstage audit good.safetensors --write-rules rules.toml")]
pub(crate) struct Audit {
    /// A .safetensors, .npz or .npy file, a *.index.json, or a folder of them.
    #[arg(value_name = "FILE|FOLDER|INDEX.JSON")]
    pub(crate) checkpoint: PathBuf,
    /// What is expected: a rules file, or gpt2, llama, vit, vit-timm, vit-torchvision, bert, resnet, mlp. Laws are
    /// inferred without.
    #[arg(long, value_name = "RULES.TOML|PRESET")]
    pub(crate) expect: Option<PathBuf>,
    /// Order of the axes; otherwise from names, biases and rules.
    #[arg(long, value_enum, default_value_t = AxisOrder::Auto)]
    pub(crate) layout: AxisOrder,
    /// Number of blocks L, for depth factors; otherwise from the names.
    #[arg(long, value_name = "L")]
    pub(crate) layers: Option<NonZeroUsize>,
    /// Probability of any false finding in a checkpoint that starts as it should.
    #[arg(long, default_value_t = 0.001, value_name = "P")]
    pub(crate) rate: f64,
    /// Relative deviation of a standard deviation that does not matter.
    #[arg(long, default_value_t = 0.01, value_name = "SHARE")]
    pub(crate) tolerance: f64,
    /// Write the rules that this checkpoint follows.
    #[arg(long, value_name = "FILE")]
    pub(crate) write_rules: Option<PathBuf>,
    /// The network around the weights, for the consequence: a TOML file in which dense layers may name their
    /// weight_tensor and bias_tensor.
    #[arg(long, value_name = "NETWORK.TOML")]
    pub(crate) network: Option<PathBuf>,
    /// Activation between the layers of a stack that is followed by its shapes alone.
    #[arg(long, default_value = "relu", value_parser = crate::activation::parse, conflicts_with = "network")]
    pub(crate) activation: Activation,
    /// A stored results.json: findings that it holds are known, what differs from it is told.
    #[arg(long, value_name = "RESULTS.JSON")]
    pub(crate) baseline: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AxisOrder {
    /// From names, biases and rules.
    Auto,
    /// `[out, in, kernel...]`, as in PyTorch.
    OutIn,
    /// `[kernel..., in, out]`, as in Keras and Flax.
    InOut,
}

impl AxisOrder {
    pub(crate) fn layout(self) -> Option<Layout> {
        match self {
            Self::Auto => None,
            Self::OutIn => Some(Layout::OutIn),
            Self::InOut => Some(Layout::InOut),
        }
    }
}

//! What the user may type.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gainstage_claims::Budget;
use gainstage_data::Source;
use gainstage_spec::{Activation, Initializer};

const EXAMPLES: &str = "Examples:
  gainstage                                  run the ledger at the standard budget, write reports/index.html
  gainstage verify --budget quick --only HE01,XAV07
  gainstage notebook --seeds 3 --data auto
  gainstage propagate --init he-normal --activation relu --depth 50 --width 512
  gainstage gain tanh
  gainstage claims show HE01

Exit codes: 0 all as expected, 1 findings, 2 wrong usage or input.";

/// Weight initialization put to the test: predicts, measures, trains and reports how signals and
/// gradients travel through a deep network at birth.
///
/// Without a subcommand it runs `verify`.
#[derive(Debug, Parser)]
#[command(name = "gainstage", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) verify: Verify,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags of every subcommand.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Root of every random stream; the same seed gives the same result on any number of threads.
    #[arg(long, global = true, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// Number of threads; all cores if not given.
    #[arg(long, global = true, value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Folder for reports and figures.
    #[arg(long, global = true, default_value = "reports", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Form of the result on standard output.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Print the result only: no progress, no notes.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Csv,
    Markdown,
    /// JUnit XML, of audit only.
    Junit,
    /// SARIF 2.1.0, of audit only.
    Sarif,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put the ledger's claims to the test and write the report (the main job).
    Verify(Verify),
    /// Train the seed notebook's four models: zero, normal(0.1), Xavier, He.
    Notebook(Notebook),
    /// Measure a random network, forward and backward, against its prediction.
    Propagate(Propagate),
    /// Exact Gaussian moments and gains of an activation.
    Gain(Gain),
    /// Check a checkpoint's weights against the laws that they should follow.
    Audit(Audit),
    /// List the claims, or show one.
    Claims(Claims),
    /// Fetch or list data sets.
    Data(Data),
    /// Re-draw a stored result without measuring again.
    Report(Report),
    /// Print a completion script for a shell.
    Completions(Completions),
}

#[derive(Clone, Debug, Default, PartialEq, Args)]
pub(crate) struct Verify {
    /// How much is measured: a minute, five minutes, or as long as it takes. [default: standard]
    #[arg(long, value_name = "quick|standard|full")]
    pub(crate) budget: Option<Budget>,
    /// Run these claims only.
    #[arg(long, value_delimiter = ',', value_name = "CODE,...")]
    pub(crate) only: Vec<String>,
    /// Images: auto, mnist, fashion-mnist, synthetic, or a folder of IDX files. [default: auto]
    #[arg(long, value_name = "SOURCE")]
    pub(crate) data: Option<Source>,
}

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
  gainstage propagate --init xavier-uniform --activation tanh --depth 100 --width 256
  gainstage propagate --init 'normal(std = 0.05)' --activation relu --depth 30 --width 300 --format json
  gainstage propagate network.toml --trials 500")]
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
    /// Inputs: sphere (mean square exactly 1), gaussian, or images as for verify --data.
    #[arg(long, default_value = "sphere", value_name = "sphere|gaussian|SOURCE")]
    pub(crate) inputs: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Method {
    /// The cheaper exact method; it is named in the output.
    Auto,
    /// Every weight is drawn.
    Dense,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Storage {
    F64,
    F32,
    Bf16,
    F16,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Gain {
    /// Activation, such as tanh or 'leaky_relu(0.2)'; all of them if not given.
    pub(crate) activation: Option<Activation>,
    /// Second moment of the pre-activation.
    #[arg(long, default_value_t = 1.0, value_name = "Q")]
    pub(crate) q: f64,
}

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
    /// What is expected: a rules file, or gpt2, llama, vit, bert, resnet, mlp. Laws are inferred without.
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

#[derive(Clone, Debug, Args)]
pub(crate) struct Claims {
    #[command(subcommand)]
    pub(crate) action: Option<ClaimsAction>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClaimsAction {
    /// All claims, one a line.
    List,
    /// One claim whole.
    Show {
        /// Its code, such as HE01.
        code: String,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Data {
    #[command(subcommand)]
    pub(crate) action: DataAction,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DataAction {
    /// Download a data set into the user's cache folder.
    Fetch {
        /// mnist or fashion-mnist.
        #[arg(default_value = "mnist")]
        name: Source,
    },
    /// The data sets and where they were found.
    List,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Report {
    /// The folder that `verify` wrote.
    #[arg(default_value = "reports")]
    pub(crate) dir: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

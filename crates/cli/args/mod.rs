//! What the user may type.

mod audit;
mod predict;
mod propagate;
mod train;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gainstage_claims::Budget;
use gainstage_data::Source;

pub(crate) use self::audit::{Audit, AxisOrder};
pub(crate) use self::predict::{Framework, Gain, Norm, Phase, Predict, Range, Recommend};
pub(crate) use self::propagate::{Merge, Method, Probes, Propagate, Storage};
pub(crate) use self::train::{Notebook, Train};

const EXAMPLES: &str = "Examples:
  gainstage                                  run the ledger at the standard budget, write reports/index.html
  gainstage verify --budget quick --only HE01,XAV07
  gainstage verify --planted                 plant errors: every verdict must change
  gainstage notebook --seeds 3 --data auto
  gainstage train network.toml --epochs 5
  gainstage propagate --init he-normal --activation relu --depth 50 --width 512
  gainstage predict --activation tanh --weight-variance 1.5 --bias-variance 0.05 --depth 50
  gainstage gain tanh
  gainstage recommend --activation gelu --depth 48 --width 768 --residual
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
    /// Train a described network on images, or map which depths and weight variances train.
    Train(Train),
    /// Measure a random network, forward and backward, against its prediction.
    Propagate(Propagate),
    /// Put the shards of a sweep together: the same bytes as one run.
    Merge(Merge),
    /// Predict signals, correlations and gradients by layer without drawing anything.
    Predict(Predict),
    /// Exact Gaussian moments and gains of an activation, and what the frameworks' tables say.
    Gain(Gain),
    /// Draw the order-to-chaos diagram of an activation.
    Phase(Phase),
    /// Recommend an initialization, with reasons and code to paste.
    Recommend(Recommend),
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
    /// Instead, plant each claim's errors one by one and tell which verdicts change, at the quick budget unless
    /// another is named. Exit code 1 if one does not.
    #[arg(long)]
    pub(crate) planted: bool,
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

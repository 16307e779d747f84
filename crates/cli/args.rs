//! What the user may type.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gainstage_claims::Budget;
use gainstage_data::Source;
use gainstage_spec::{Activation, Initializer, Layout};
use serde::Serialize;

use crate::sweep::{Axis, Shard};

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

#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  gainstage predict --activation tanh --weight-variance 1.5 --bias-variance 0.05 --depth 50
  gainstage predict --activation relu --init he-normal --width 128 --depth 30
  gainstage predict network.toml --format json")]
pub(crate) struct Predict {
    /// A network in TOML; instead of the flags that describe one.
    #[arg(value_name = "NETWORK.TOML", conflicts_with_all = ["activation", "weight_variance", "bias_variance", "keep", "init", "depth", "width"])]
    pub(crate) network: Option<PathBuf>,
    /// Activation, such as tanh, 'leaky_relu(0.2)', 'expr(z * sigmoid(2 * z))' or @points.csv.
    #[arg(long, default_value = "relu", value_parser = crate::activation::parse)]
    pub(crate) activation: Activation,
    /// sigma_w^2: the weights' variance times fan-in. [default: that of --init]
    #[arg(long, value_name = "S", conflicts_with = "init", allow_negative_numbers = true)]
    pub(crate) weight_variance: Option<f64>,
    /// sigma_b^2: the biases' variance.
    #[arg(long, default_value_t = 0.0, value_name = "S", allow_negative_numbers = true)]
    pub(crate) bias_variance: f64,
    /// Probability of keeping a unit in dropout, behind every activation.
    #[arg(long, default_value_t = 1.0, value_name = "P", allow_negative_numbers = true)]
    pub(crate) keep: f64,
    /// Weight initializer, instead of --weight-variance.
    #[arg(long, default_value = "he-normal")]
    pub(crate) init: Initializer,
    /// Number of dense layers.
    #[arg(long, default_value = "50", value_name = "L")]
    pub(crate) depth: NonZeroUsize,
    /// Units in every layer: adds the band that holds 95% of draws. [default: infinitely many]
    #[arg(long, value_name = "N")]
    pub(crate) width: Option<NonZeroUsize>,
    /// Mean square of the input's coordinates.
    #[arg(long, default_value_t = 1.0, value_name = "M", allow_negative_numbers = true)]
    pub(crate) input_second_moment: f64,
    /// Cosine between two inputs.
    #[arg(long, default_value_t = 0.0, value_name = "C", allow_negative_numbers = true)]
    pub(crate) input_correlation: f64,
    /// Inputs per batch, where a batch normalization stands. [default: infinitely many]
    #[arg(long, value_name = "B")]
    pub(crate) batch: Option<NonZeroUsize>,
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  gainstage phase --activation tanh
  gainstage phase --activation 'elu(0.5)' --weight-variance 0..3 --bias-variance 0..0.5 --points 200")]
pub(crate) struct Phase {
    /// Activation, such as tanh, 'leaky_relu(0.2)', 'expr(z * sigmoid(2 * z))' or @points.csv.
    #[arg(long, default_value = "tanh", value_parser = crate::activation::parse)]
    pub(crate) activation: Activation,
    /// Range of sigma_w^2, the weights' variance times fan-in.
    #[arg(long, default_value = "0..4", value_name = "LOW..HIGH")]
    pub(crate) weight_variance: Range,
    /// Range of sigma_b^2, the biases' variance.
    #[arg(long, default_value = "0..0.5", value_name = "LOW..HIGH")]
    pub(crate) bias_variance: Range,
    /// Values along each axis.
    #[arg(long, default_value = "80", value_name = "N")]
    pub(crate) points: NonZeroUsize,
    /// Second moment of the first layer's pre-activations.
    #[arg(long, default_value_t = 1.0, value_name = "Q", allow_negative_numbers = true)]
    pub(crate) q: f64,
}

/// LOW..HIGH, neither of them negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl std::str::FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("\"{text}\" is not of the form LOW..HIGH, such as 0..4");
        let (low, high) = text.split_once("..").ok_or_else(form)?;
        let number = |part: &str| part.trim().parse::<f64>().map_err(|_| form());
        let (low, high) = (number(low)?, number(high)?);
        if low >= 0.0 && low < high && high.is_finite() {
            Ok(Self { low, high })
        } else {
            Err(format!("{low}..{high} must run from zero or above to something larger"))
        }
    }
}

#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  gainstage recommend --activation relu --depth 30 --width 256
  gainstage recommend --activation gelu --depth 48 --width 768 --residual --norm layer --code jax
  gainstage recommend --activation tanh --widths 300,200,100,10 --inputs mnist")]
pub(crate) struct Recommend {
    /// Activation, such as gelu, 'leaky_relu(0.2)', 'expr(z * sigmoid(2 * z))' or @points.csv.
    #[arg(long, value_parser = crate::activation::parse)]
    pub(crate) activation: Activation,
    /// Number of dense layers.
    #[arg(long, default_value = "10", value_name = "L")]
    pub(crate) depth: NonZeroUsize,
    /// Units in every layer.
    #[arg(long, default_value = "256", value_name = "N")]
    pub(crate) width: NonZeroUsize,
    /// Units layer by layer, instead of --depth and --width.
    #[arg(long, value_delimiter = ',', value_name = "N,...", conflicts_with_all = ["depth", "width"])]
    pub(crate) widths: Vec<NonZeroUsize>,
    /// Width of the input. [default: that of the first layer, or of the images]
    #[arg(long, value_name = "N")]
    pub(crate) input: Option<NonZeroUsize>,
    /// Layers stand in pairs in residual branches.
    #[arg(long)]
    pub(crate) residual: bool,
    /// Normalization: between weights and activation, or at the start of every branch.
    #[arg(long, value_enum, default_value_t = Norm::None)]
    pub(crate) norm: Norm,
    /// Mean square of the input's coordinates.
    #[arg(long, value_name = "M", allow_negative_numbers = true, conflicts_with = "inputs")]
    pub(crate) input_second_moment: Option<f64>,
    /// Images whose pixels, divided by 255, are the input: as for verify --data.
    #[arg(long, value_name = "SOURCE")]
    pub(crate) inputs: Option<Source>,
    /// Framework for which code is printed; JSON and the report have all of them.
    #[arg(long, value_enum, default_value_t = Framework::Pytorch)]
    pub(crate) code: Framework,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Norm {
    None,
    Batch,
    Layer,
    Rms,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Framework {
    Pytorch,
    Keras,
    Jax,
    Burn,
    Candle,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Gain {
    /// Activation, such as tanh, 'leaky_relu(0.2)', 'expr(z * sigmoid(2 * z))' or @points.csv; all built-in ones
    /// if not given.
    #[arg(value_parser = crate::activation::parse)]
    pub(crate) activation: Option<Activation>,
    /// Second moment of the pre-activation.
    #[arg(long, default_value_t = 1.0, value_name = "Q", allow_negative_numbers = true)]
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

//! What may be asked of theory.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gainstage_data::Source;
use gainstage_spec::{Activation, Initializer};

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

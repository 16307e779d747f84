use gainstage_spec::{Initializer, Law, Layer, Network, WeightShape};
use serde::{Deserialize, Serialize};

use crate::{Precision, Setup, SimulateError};

/// How the draws of a network are made. The law of what is measured is the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Every weight is drawn and multiplied: any initializer, n^2 weights a layer.
    #[default]
    Dense,
    /// Pre-activations and error signals are drawn from their exact joint law given the batch, without
    /// a weight: Gaussian and orthogonal initializers, B^2 n operations a layer of n units for B inputs.
    MatrixFree,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Dense => "dense",
            Self::MatrixFree => "matrix-free",
        })
    }
}

/// The method that [`choose`] took, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The cheaper of the methods that are exact.
    pub method: Method,
    /// One clause that says why.
    pub reason: String,
}

/// A law of weights that a batch determines up to Gaussian draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum WeightLaw {
    /// Independent, of mean zero.
    Gaussian {
        /// Standard deviation of a weight.
        std: f64,
    },
    /// `gain` times a block of a Haar-distributed orthogonal matrix.
    Haar {
        /// The factor of the orthogonal matrix.
        gain: f64,
    },
}

impl WeightLaw {
    /// Whether any weight differs from zero.
    pub(crate) fn is_alive(self) -> bool {
        let (Self::Gaussian { std: scale } | Self::Haar { gain: scale }) = self;
        scale != 0.0
    }
}

/// The law of every dense layer's weights.
///
/// # Errors
/// [`SimulateError::Inexact`] for the first layer where sampling without matrices is not exact, or a
/// stored format whose rounding makes it so.
pub(crate) fn laws(
    network: &Network,
    shapes: &[WeightShape],
    precision: Precision,
) -> Result<Vec<WeightLaw>, SimulateError> {
    if matches!(precision, Precision::Bf16 | Precision::F16) {
        let reason = format!("weights rounded to {precision} are no longer Gaussian");
        return Err(SimulateError::Inexact { layer: 1, reason });
    }
    network
        .dense()
        .zip(shapes)
        .enumerate()
        .map(|(index, (dense, shape))| match (&dense.weights, dense.weights.law(shape)?) {
            (Initializer::Orthogonal { gain }, _) => Ok(WeightLaw::Haar { gain: *gain }),
            (_, Law::Normal { mean: 0.0, std }) => Ok(WeightLaw::Gaussian { std }),
            (_, Law::Point { value: 0.0 }) => Ok(WeightLaw::Gaussian { std: 0.0 }),
            (weights, _) => {
                let reason = format!("{weights} is neither Gaussian of mean zero nor orthogonal");
                Err(SimulateError::Inexact { layer: index + 1, reason })
            }
        })
        .collect()
}

/// The cheaper of the methods that give exact draws of this network.
///
/// ```
/// use gainstage_simulate::{Method, Setup, choose};
/// use gainstage_spec::{Activation, Initializer, Network};
/// let network = |init| Network::uniform(1000, 50, &init, &Activation::Relu);
/// let setup = Setup { batch: 16, ..Setup::default() };
/// assert_eq!(choose(&network(Initializer::he_normal())?, &setup)?.method, Method::MatrixFree);
/// // Uniform weights have no such law, whatever the width.
/// assert_eq!(choose(&network(Initializer::he_uniform())?, &setup)?.method, Method::Dense);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`SimulateError`] for a description or setup that cannot be measured.
pub fn choose(network: &Network, setup: &Setup) -> Result<Choice, SimulateError> {
    setup.check(network)?;
    let shapes = network.shapes()?;
    let laws = match laws(network, &shapes, setup.precision) {
        Ok(laws) => laws,
        Err(SimulateError::Inexact { layer, reason }) => {
            let reason = format!("matrix-free draws would not be exact: layer {layer}, {reason}");
            return Ok(Choice { method: Method::Dense, reason });
        }
        Err(error) => return Err(error),
    };
    let weights: usize = shapes.iter().map(WeightShape::elements).sum();
    // Weights that are not kept for the way back are drawn twice.
    let drawn = if keeps_weights(weights, setup.precision) { 1.0 } else { 2.0 };
    let (mut dense, mut free) = (0.0, 0.0);
    for (law, shape) in laws.iter().zip(&shapes) {
        let haar = matches!(law, WeightLaw::Haar { .. });
        dense += dense_cost(shape, setup.batch, haar, drawn);
        free += free_cost(shape, setup.batch, haar);
    }
    let (method, reason) = if free <= dense {
        (Method::MatrixFree, "exact for these weights and")
    } else {
        (Method::Dense, "with a batch this large relative to the widths")
    };
    let factor = (dense / free).max(free / dense);
    let reason = format!("{reason} about {factor:.2} times as fast as the other method");
    Ok(Choice { method, reason })
}

/// Whether a dense draw keeps its weights for the way back, as caches do: up to 16 MiB.
pub(crate) fn keeps_weights(weights: usize, precision: Precision) -> bool {
    let bytes = if precision == Precision::F64 { 8 } else { 4 };
    weights.saturating_mul(bytes) <= 16 << 20
}

/// Nanoseconds of one layer in both directions on one core with AVX-512: draws of every weight, two
/// products, and passes over the signals. Fitted to widths of 64 and 1000 and batches of 16 to 128.
fn dense_cost(shape: &WeightShape, batch: usize, haar: bool, drawn: f64) -> f64 {
    let (n, m, b) = (shape.inputs() as f64, shape.outputs() as f64, batch as f64);
    let per_weight = if haar { 0.06 * n.min(m) } else { 1.0 };
    drawn * per_weight * n * m + b * (n * m / 25.0 + 1.8 * (n + m))
}

/// The same without matrices: two or three draws of n B normals, products of B x B with B x n, and
/// small factors. Fitted likewise to batches of 1 to 128.
fn free_cost(shape: &WeightShape, batch: usize, haar: bool) -> f64 {
    let b = batch as f64;
    let n = shape.inputs().max(shape.outputs()) as f64;
    let (normals, products) = if haar { (5.0, 0.6) } else { (3.0, 0.44) };
    n * b * (normals + products * b) + 35.0 * b * b + 1000.0
}

/// Whether a layer's input is the activation of a dense layer as it is.
pub(crate) fn follows_dense(layers: &[Layer], index: usize) -> bool {
    index > 0 && matches!(layers[index - 1], Layer::Dense(_))
}

//! Predictions without sampling: what a network's initialization does to its signals and gradients.
//!
//! Nothing here draws a random number or multiplies a matrix. A network described in
//! `gainstage-spec` is read layer by layer, and each layer's second moments are predicted together
//! with their laws over independent draws of the weights, so that a measurement on one draw can be
//! judged against a band of stated coverage.
//!
//! - [`moments`]: Gaussian moments of activations, and the gains that follow from them.
//! - [`MeanField`]: variance and correlation maps, fixed points, depth scales; [`edge_of_chaos`],
//!   [`phase_diagram`].
//! - [`spectrum`]: singular values of the input-output Jacobian; [`jacobian_traces`] at finite width.
//! - [`recommend`]: the initialization of a requested network, and what the frameworks' defaults do in it.
//! - [`predict`]: forward signals, error signals and weight gradients of a described network.
//!
//! ```
//! use gainstage_spec::{Activation, Initializer, InputStatistics, Network};
//! use gainstage_theory::{Options, predict};
//!
//! // He's rule keeps the second moment exactly, at any width; the typical draw still shrinks.
//! let network = Network::uniform(100, 50, &Initializer::he_normal(), &Activation::Relu)?;
//! let prediction = predict(&network, &InputStatistics::gaussian(100), &Options::default())?;
//! let last = prediction.layers[49].activation;
//! assert!((last.expected - 1.0).abs() < 1e-12);
//! assert!((last.log_mean - -1.271044).abs() < 1e-6);
//! assert!((last.log_variance - 2.597).abs() < 1e-6);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod backward;
mod blind_loss;
mod chain;
mod critical_rate;
mod depth_limit;
mod edge;
mod error;
mod error_signal;
mod gate;
mod kernel;
mod law;
mod mean_field;
mod moments;
mod noise;
mod parity;
mod phase_diagram;
mod polygamma;
mod predict;
mod quadrature;
mod recommend;
mod roots;
mod saturation;
mod signal;
mod spectrum;
mod steps;

pub use blind_loss::blind_cross_entropy;
pub use critical_rate::CriticalRate;
pub use depth_limit::{DepthLimit, Phase};
pub use edge::{EdgePoint, edge_of_chaos};
pub use error::TheoryError;
pub use kernel::{cross_gap, cross_moment};
pub use law::Predicted;
pub use mean_field::{FixedPoint, MeanField, VarianceLimit};
pub use moments::{Moments, critical_gain, gain, moments};
pub use phase_diagram::phase_diagram;
pub use predict::{Assumption, LayerPrediction, Options, Prediction, predict};
pub use recommend::{
    Consequence, DepthBound, DepthReason, FrameworkDefault, LayerAdvice, Normalization,
    Recommendation, Request, pytorch_gain, recommend,
};
pub use saturation::saturated_share;
pub use spectrum::{JacobianTraces, Spectrum, jacobian_traces, spectrum};

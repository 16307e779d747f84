//! The vocabulary of gainstage as data.
//!
//! A network is described once, and three crates read the description: `gainstage-theory` predicts,
//! `gainstage-simulate` measures, `gainstage-train` fits. This crate holds what they share and
//! nothing that any of them computes: activations with their derivatives and kinks, fans and weight
//! layouts, initializers with their declared laws, and the network itself. It draws no random number
//! and multiplies no matrix.
//!
//! ```
//! use gainstage_spec::{Initializer, WeightShape};
//!
//! // PyTorch's `Linear` default is often taken for He's rule; its variance is 1/(3 fan_in).
//! let default: Initializer = "pytorch_linear".parse()?;
//! let law = default.law(&WeightShape::dense(300, 10)?)?;
//! assert!((law.variance() - 1.0 / 900.0).abs() < 1e-15);
//! # Ok::<(), gainstage_spec::SpecError>(())
//! ```

mod activation;
mod call;
mod custom;
mod error;
mod expression;
mod initializer;
mod inputs;
mod law;
mod network;
mod shape;
mod tabulated;

pub use activation::Activation;
pub use custom::CustomActivation;
pub use error::SpecError;
pub use initializer::{FanMode, Initializer, ScalingDistribution, StdMeaning, Truncation};
pub use inputs::{InputStatistics, Inputs};
pub use law::Law;
pub use network::{Dense, Layer, Network};
pub use shape::{Fans, Layout, WeightShape};

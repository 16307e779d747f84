//! Random networks, forward and backward: what initialization does to signal and gradient.
//!
//! [`measure`] reads a [`gainstage_spec::Network`], draws its weights from keyed streams, passes
//! inputs forward and error signals backward, and notes every dense layer under every draw: second
//! moments, moments to the fourth, histograms, cosines, dead and saturated units, weight gradients,
//! and the layer where a number format gives way. It predicts nothing; `gainstage-theory` does, and
//! the two share no code, so that agreement is evidence.
//!
//! Moments accumulate in f64 whatever the precision of the pass. A batch of inputs does not average
//! out the noise of the weights (in deep ReLU networks all inputs align), so everything is recorded
//! per independent weight draw.

mod error;
mod kernel;
mod measure;
mod pass;
mod precision;
mod product;
mod setup;
#[cfg(test)]
mod tests;
mod trace;

pub use error::SimulateError;
pub use kernel::{activate, pull_back};
pub use measure::{measure, measure_with_progress};
pub use precision::Precision;
pub use product::{Matrix, Real, add_product, product};
pub use setup::{InputSource, Setup};
pub use trace::{
    Breakdown, BreakdownKind, Draw, Energy, LayerDraw, LayerHistograms, LayerMeasured, Measured,
};

//! Random networks, forward and backward: what initialization does to signal and gradient.
//!
//! [`measure`] reads a [`gainstage_spec::Network`], passes inputs forward and error signals backward
//! through independent draws of its weights, and notes every dense layer under every draw: second
//! moments, moments to the fourth, histograms, cosines, effective rank, dead and saturated units,
//! weight gradients, and the layer where a number format gives way. It predicts nothing;
//! `gainstage-theory` does, and the two share no code, so that agreement is evidence.
//!
//! Moments accumulate in f64 whatever the precision of the pass. A batch of inputs does not average
//! out the noise of the weights (in deep ReLU networks all inputs align), so everything is recorded
//! per independent weight draw.
//!
//! # Exact without matrices
//! [`Method::Dense`] draws every weight. [`Method::MatrixFree`] draws what the weights do to the batch,
//! from the same joint law, at a cost per layer of n B^2 instead of n^2 B. [`choose`] takes the cheaper.
//!
//! Let H (n_in x B) be what comes into a layer, Z = W H its pre-activations, D (n_out x B) the error
//! signals that arrive at Z. A network meets W nowhere else: the forward pass needs Z, the backward
//! pass W'D, and the weight gradient D H' has the squared norm tr(D'D H'H). So it suffices to draw Z
//! given H, and later W'D given H, Z and D. Write H'H = L L' by Cholesky's method with pivots p, C for
//! the pivot rows of L, and U = H_p C'^-1 for an orthonormal basis of the span of H.
//!
//! **Gaussian weights**, independent with variance s^2. The columns of W U are n_in-dimensional
//! Gaussians seen along orthonormal directions, so W U = s G with independent standard normals G, and
//! 1. Z = s G L'.
//! 2. W = (W U) U' + W (I - U U'), where the second term is independent of the first and so of Z.
//!    Its rows are fresh, and along D they have the covariance s^2 D'D = s^2 M M':
//!    W'D = s [U G'D + (I - U U') F M'] with independent standard normals F.
//!
//! **Orthogonal weights**, s times a block of a Haar-distributed Q of size N = max(n_in, n_out). Q U is a
//! uniformly distributed frame V, normals made orthonormal, and Z = s V L'. Given it, Q' maps the
//! complement of V to that of U by a Haar matrix of size N - B, so
//! W'D = s [U V'D + Y M'] with M M' = D'D - (V'D)'(V'D) and Y a uniform frame in the complement of U;
//! D is continued by zeros, and rows beyond n_out and n_in are dropped.
//!
//! What this assumes: the weights of a layer are independent of those of other layers, of biases, inputs,
//! masks and injected error signals; D depends on W through Z alone; and nothing else looks at a
//! weight. So anything may act between the weight layers (activations, biases of any law, dropout,
//! normalizations, residual branches), and weights shared between layers may not. Uniform, truncated
//! and sparse weights have no such law: [`choose`] goes dense, and [`Method::MatrixFree`] is an error.
//! Parallel inputs, copies, dead units and batches larger than the width only lower the rank; the
//! pivots find it, down to 1 - cos^2 = 1e-13, and signals are f64.
//!
//! **Jacobians.** [`jacobian_moments`] sees J = dz/dx through a few directions V. Tangents meet the weights
//! as inputs do, so they pass every layer in one batch with the input, Z = W [h, T]; only activations,
//! normalizations and biases tell them apart. Then D = J V goes back, and the argument above holds as it
//! stands, since D depends on W through Z alone. What arrives is J'J V.
//!
//! **Small differences.** Two inputs with 1 - cos = e differ in the second column of L, whose square is
//! known to some 1e-16/e of itself, anew in every layer: 1e-4 at e = 1e-12.
//!
//! The draws of the two methods under one seed differ; their law does not:
//! ```
//! use gainstage_simulate::{Method, Setup, measure};
//! use gainstage_spec::{Activation, Initializer, Network};
//! use gainstage_stats::{Moments, ks_two_sample_test};
//!
//! let network = Network::uniform(40, 10, &Initializer::he_normal(), &Activation::Relu)?;
//! // log |z|^2 at the end, log |dx|^2 at the start, and their sum, which ties the passes together.
//! let logs = |method| -> Result<[Vec<f64>; 3], Box<dyn std::error::Error>> {
//!     let setup = Setup { trials: 2000, batch: 2, method, ..Setup::default() };
//!     let measured = measure(&network, &setup)?;
//!     let z = measured.layers[9].values(|draw| draw.forward.first.ln());
//!     let dx: Vec<f64> = measured.input_gradient.iter().map(|e| e.first.ln()).collect();
//!     let sum = z.iter().zip(&dx).map(|(z, dx)| z + dx).collect();
//!     Ok([z, dx, sum])
//! };
//! let (dense, free) = (logs(Method::Dense)?, logs(Method::MatrixFree)?);
//! for (dense, free) in dense.iter().zip(&free) {
//!     // A false alarm once in a million; distances of 0.085 between the distributions would show.
//!     assert!(ks_two_sample_test(dense, free)?.p_value > 1e-6);
//! }
//! // Were the backward pass not conditioned on the forward one, the variances would add.
//! let [z, dx, sum] = free.map(|x| Moments::from(x.as_slice()).sample_variance());
//! assert!(sum > 1.15 * (z + dx));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod exact;
mod given;
mod inputs;
mod jacobian;
mod kernel;
mod measure;
mod method;
mod pass;
mod precision;
mod product;
mod setup;
#[cfg(test)]
mod tests;
mod trace;
mod vector;

pub use error::SimulateError;
pub use given::{ErrorSignals, GivenLayer, GivenMeasured, measure_given};
pub use jacobian::{JacobianMoments, jacobian_moments, jacobian_singular_values};
pub use kernel::{activate, pull_back};
pub use measure::{measure, measure_with_progress};
pub use method::{Choice, Method, choose};
pub use precision::Precision;
pub use product::{Matrix, Real, add_product, divided_product, product, transpose};
pub use setup::{InputSource, Setup};
pub use trace::{
    Breakdown, BreakdownKind, Draw, Energy, LayerDraw, LayerHistograms, LayerMeasured, Measured,
    SignalMoments,
};

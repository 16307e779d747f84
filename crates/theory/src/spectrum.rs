use gainstage_spec::{Activation, Network};
use serde::{Deserialize, Serialize};

use crate::error::{TheoryError, not_negative};
use crate::moments::{at, scale, splits, within_reach};
use crate::parity::parts;
use crate::quadrature::half_line;
use crate::signal::Weights;

/// The squared singular values of the input-output Jacobian of a deep network of great, equal width.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spectrum {
    /// Their mean, chi^depth.
    pub mean: f64,
    /// Their variance over mean^2: 0 is dynamical isometry.
    pub relative_variance: f64,
    /// The largest of them.
    pub largest: f64,
}

/// Spectrum of J J^T through `depth` layers D W, D = diag(phi'(z)) with z of variance q and weights of
/// variance `weight_variance` over fan-in, Gaussian or orthogonal.
///
/// With mu_k = E phi'^(2k), chi = `weight_variance` mu_1 and free independence of the layers
/// (Pennington, Schoenholz & Ganguli 2017)
///
/// ```text
/// mean = chi^depth
/// variance / mean^2 = depth (mu_2 / mu_1^2 - 1 - s_1),   s_1 = -1 Gaussian, 0 orthogonal
/// largest = min over z > 0 of (1 + z)/z (weight_variance / (S_W(z) S_D(z)))^depth
/// ```
///
/// with the S-transforms S_W = 1/(1 + z) Gaussian, 1 orthogonal, and S_D of phi'^2. At finite width
/// the largest value scatters around its limit.
///
/// # Errors
/// [`TheoryError::Domain`] for a variance that is negative or not finite, or depth 0.
///
/// # Example
/// ```
/// use gainstage_spec::Activation;
/// use gainstage_theory::spectrum;
/// // Orthogonal tanh near the critical line is nearly isometric; ReLU cannot be.
/// let tanh = spectrum(&Activation::Tanh, 0.0259209482, 1.05, 200, true)?;
/// assert!((tanh.mean - 1.0).abs() < 1e-6 && (tanh.relative_variance - 0.8538).abs() < 1e-4);
/// let relu = spectrum(&Activation::Relu, 1.0, 2.0, 200, true)?;
/// assert_eq!(relu.relative_variance, 200.0);
/// # Ok::<(), gainstage_theory::TheoryError>(())
/// ```
pub fn spectrum(
    phi: &Activation,
    q: f64,
    weight_variance: f64,
    depth: usize,
    orthogonal: bool,
) -> Result<Spectrum, TheoryError> {
    within_reach(phi, q)?;
    not_negative("the weight variance", weight_variance)?;
    if depth == 0 {
        return Err(TheoryError::Domain { what: "the depth", value: 0.0, bound: "at least 1" });
    }
    let m = at(phi, q);
    let layers = depth as f64;
    let (first, second) = (m.derivative_second_moment, m.derivative_fourth_moment);
    let weights = if orthogonal { 0.0 } else { 1.0 };
    let squares = squared_slopes(phi, q);
    Ok(Spectrum {
        mean: (weight_variance * first).powf(layers),
        relative_variance: layers * (second / (first * first) - 1.0 + weights),
        largest: weight_variance.powf(layers) * largest(&squares, layers, orthogonal),
    })
}

/// Values of phi'^2 and their weights, which sum to 1.
fn squared_slopes(phi: &Activation, q: f64) -> Vec<(f64, f64)> {
    if let Some((negative, positive)) = phi.slopes() {
        return vec![(negative * negative, 0.5), (positive * positive, 0.5)];
    }
    let mut found = Vec::new();
    if q == 0.0 {
        return vec![(phi.derivative(0.0).powi(2), 1.0)];
    }
    let std = q.sqrt();
    half_line(scale(phi) / std, &splits(phi, std), |t, w| {
        let p = parts(phi, std * t);
        found.push(((p.odd_slope + p.even_slope).powi(2), w));
        found.push(((p.odd_slope - p.even_slope).powi(2), w));
    });
    found
}

/// The upper edge at weight variance 1: with psi(y) = E d y / (1 - d y) = z, 1/S_D = z / ((1 + z) y).
fn largest(squares: &[(f64, f64)], layers: f64, orthogonal: bool) -> f64 {
    let top = squares.iter().map(|s| s.0).fold(0.0, f64::max);
    if top == 0.0 {
        return 0.0;
    }
    // ln of the function whose minimum is the edge, over u = -ln(1 - y top).
    let log_edge = |u: f64| {
        let y = -(-u).exp_m1() / top;
        let z: f64 = squares.iter().map(|&(d, w)| w * d * y / (1.0 - d * y)).sum();
        let gate = (z / ((1.0 + z) * y)).ln();
        let weights = if orthogonal { 0.0 } else { z.ln_1p() };
        z.ln_1p() - z.ln() + layers * (gate + weights)
    };
    // Unimodal; a golden section from where the first factor dominates to where the others do.
    let ratio = 0.5 * (5f64.sqrt() - 1.0);
    let (mut low, mut high) = (1e-9f64.ln(), 30f64.ln());
    for _ in 0..120 {
        let (a, b) = (high - ratio * (high - low), low + ratio * (high - low));
        if log_edge(a.exp()) < log_edge(b.exp()) {
            high = b;
        } else {
            low = a;
        }
    }
    log_edge((0.5 * (low + high)).exp()).exp()
}

/// Expectations over draws of the weights of traces of J J^T, J the input-output Jacobian.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct JacobianTraces {
    /// E tr J J^T: the sum of squared singular values.
    pub trace: f64,
    /// E (tr J J^T)^2
    pub trace_squared: f64,
    /// E tr (J J^T)^2: the sum of fourth powers.
    pub square_trace: f64,
}

/// Exact traces at any width for a network of dense layers with Gaussian weights whose activations are
/// linear on each side of zero, the last one linear.
///
/// With T = E (tr A)^2, Q = E tr A^2, slopes' moments s_2 and s_4 over a fair coin and v the weights'
/// variance, a layer of m units takes
///
/// ```text
/// Q' = v^2 (m s_4 (T + 2 Q) + m (m - 1) s_2^2 Q),   T' = v^2 (m s_4 (T + 2 Q) + m (m - 1) s_2^2 T)
/// ```
///
/// since rows of W are independent and, for a fixed input, random signs make the gates fair coins
/// independent of the weights. Biases that are symmetric do not matter.
///
/// # Errors
/// [`TheoryError`] for other layers, weights or activations.
///
/// # Example
/// ```
/// use gainstage_spec::{Activation, Initializer, Network};
/// let he = Initializer::he_normal();
/// let network = Network::perceptron(&[8, 16, 12, 8], &he, &Activation::Relu)?;
/// let traces = gainstage_theory::jacobian_traces(&network)?;
/// // The output layer has twice the variance that keeps the trace at 8.
/// assert!((traces.trace - 16.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn jacobian_traces(network: &Network) -> Result<JacobianTraces, TheoryError> {
    network.check()?;
    let refuse = |layer: usize, why: &str| TheoryError::Layer { layer, why: why.to_owned() };
    if !network.is_plain() {
        return Err(refuse(1, "exact traces need dense layers only"));
    }
    let mut width = network.input;
    let start = width as f64;
    let mut found =
        JacobianTraces { trace: start, trace_squared: start * start, square_trace: start };
    let last = network.layers.len();
    for (index, dense) in network.dense().enumerate() {
        let layer = index + 1;
        let weights = Weights::read(layer, width, dense)?;
        if weights.orthogonal || weights.excess != 0.0 {
            return Err(refuse(layer, "exact traces need Gaussian weights"));
        }
        let (negative, positive) = dense.activation.slopes().ok_or_else(|| {
            refuse(layer, "exact traces need an activation that is linear on each side of zero")
        })?;
        if layer == last && dense.activation != Activation::Linear {
            return Err(refuse(layer, "exact traces end in a linear layer"));
        }
        let (s2, s4) = (
            0.5 * (negative.powi(2) + positive.powi(2)),
            0.5 * (negative.powi(4) + positive.powi(4)),
        );
        let (m, v) = (dense.width as f64, weights.variance);
        let (t, q) = (found.trace_squared, found.square_trace);
        let same = m * s4 * (t + 2.0 * q);
        let other = m * (m - 1.0) * s2 * s2;
        found = JacobianTraces {
            trace: found.trace * v * m * s2,
            trace_squared: v * v * (same + other * t),
            square_trace: v * v * (same + other * q),
        };
        width = dense.width;
    }
    Ok(found)
}

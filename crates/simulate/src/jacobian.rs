use gainstage_init::{Key, Purpose, fill_f64};
use gainstage_spec::{Initializer, Layer, Layout, Network, WeightShape};
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use crate::method::laws;
use crate::pass::{Compute, draw_with};
use crate::{InputSource, Matrix, Method, Precision, Setup, SimulateError, exact, product};

/// Singular values, in descending order, of the input-output Jacobian of one draw: dz/dx of the last
/// dense layer's pre-activation at the trial's first input.
///
/// The error signals of all output units go back at once, as the signals of as many copies of that
/// input. Without matrices the copies are one direction forward and as many backward as there are
/// outputs, so the law is that of the dense method for the whole spectrum. Cost per layer n m^2 for m
/// outputs without matrices, n^2 m with them.
///
/// # Errors
/// [`SimulateError::Coupled`] where inputs of a batch act on each other or have masks of their own
/// (BatchNorm, Dropout), otherwise as [`crate::measure`].
///
/// # Example
/// ```
/// use gainstage_simulate::{Method, Setup, jacobian_singular_values};
/// use gainstage_spec::{Activation, Initializer, Network};
/// // Orthogonal linear networks are isometries at any depth (Saxe et al. 2014).
/// let network =
///     Network::uniform(20, 30, &Initializer::Orthogonal { gain: 1.0 }, &Activation::Linear)?;
/// let setup = Setup { method: Method::MatrixFree, ..Setup::default() };
/// let values = jacobian_singular_values(&network, &setup, 0)?;
/// assert!(values.len() == 20 && values.iter().all(|s| (s - 1.0).abs() < 1e-6));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn jacobian_singular_values(
    network: &Network,
    setup: &Setup,
    trial: u32,
) -> Result<Vec<f64>, SimulateError> {
    let row = first_input(network, setup, trial)?;
    let (inputs, outputs) = (network.input, network.output());
    let jacobian = matrix(network, setup, &row, trial)?;
    if jacobian.iter().any(|v| !v.is_finite()) {
        return Ok(vec![f64::NAN; outputs.min(inputs)]);
    }
    let matrix = DMatrix::from_row_slice(outputs, inputs, &jacobian);
    let mut values: Vec<f64> = matrix.singular_values().iter().copied().collect();
    values.sort_by(|a, b| b.total_cmp(a));
    Ok(values)
}

/// The first two moments of the squared singular values of one draw's input-output Jacobian, seen
/// through a few directions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct JacobianMoments {
    /// Estimate of m_1 = tr(J'J)/r, the mean over the r = min(inputs, outputs) singular values of their
    /// squares.
    pub first: f64,
    /// Estimate of m_1^2, which is not the square of the other: that one's noise is taken off.
    pub first_squared: f64,
    /// Estimate of m_2 = tr((J'J)^2)/r, the mean of their fourth powers.
    pub second: f64,
}

impl JacobianMoments {
    /// m_2 / m_1^2: 1 if all singular values are equal (dynamical isometry), more the wider they spread.
    /// NaN for a Jacobian of zero.
    pub fn spread(&self) -> f64 {
        self.second / self.first_squared
    }
}

/// [`JacobianMoments`] of the Jacobian of [`jacobian_singular_values`], from products with `probes`
/// directions V, orthonormal and uniformly distributed:
///
/// ```text
/// E |J V|^2 = (k/n) tr J'J,   E |J'J V|^2 = (k/n) tr (J'J)^2     n inputs, k probes
/// Var |J V|^2 n/k = 2 (n - k)/(k (n - 1)(n + 2)) (n tr (J'J)^2 - (tr J'J)^2)
/// ```
///
/// over V, given J. So all three estimates are unbiased, and exact for k = n.
///
/// Without matrices the directions pass the layers in one batch with the input, and come back: a cost per
/// layer of n k^2, where all singular values take n m^2 for m outputs. The dense method forms the whole
/// Jacobian.
///
/// # Errors
/// [`SimulateError::Coupled`] as [`jacobian_singular_values`], [`SimulateError::Setup`] for no probes or
/// more than there are inputs, otherwise as [`crate::measure`].
///
/// # Example
/// ```
/// use gainstage_simulate::{Method, Setup, jacobian_moments};
/// use gainstage_spec::{Activation, Initializer, Network};
/// // Three Gaussian layers: m_1 = 1 and m_2/m_1^2 = 4 as the width grows (Pennington et al. 2017).
/// let network = Network::uniform(400, 3, &Initializer::lecun_normal(), &Activation::Linear)?;
/// let setup = Setup { method: Method::MatrixFree, ..Setup::default() };
/// let draws = (0..100).map(|trial| jacobian_moments(&network, &setup, 8, trial));
/// let draws = draws.collect::<Result<Vec<_>, _>>()?;
/// let mean = |of: fn(&gainstage_simulate::JacobianMoments) -> f64| {
///     draws.iter().map(of).sum::<f64>() / 100.0
/// };
/// assert!((mean(|m| m.first) - 1.0).abs() < 0.02);
/// assert!((mean(|m| m.spread()) - 4.0).abs() < 0.1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn jacobian_moments(
    network: &Network,
    setup: &Setup,
    probes: usize,
    trial: u32,
) -> Result<JacobianMoments, SimulateError> {
    let row = first_input(network, setup, trial)?;
    let (inputs, outputs) = (network.input, network.output());
    if probes == 0 || probes > inputs {
        let (what, value) = ("the number of the Jacobian's probes", probes as f64);
        return Err(SimulateError::Setup {
            what,
            value,
            bound: "at least 1 and at most the width of the input",
        });
    }
    let directions = directions(setup, inputs, probes, trial)?;
    let squares = if setup.method == Method::MatrixFree {
        let shapes = network.shapes()?;
        let laws = laws(network, &shapes, setup.precision)?;
        let row: Vec<f64> = row.into_iter().map(f64::from).collect();
        let mut arena = exact::Arena::default();
        exact::products(network, &shapes, &laws, setup, trial, (&row, &directions), &mut arena)?
    } else {
        let jacobian = matrix(network, setup, &row, trial)?;
        products(Matrix::new(&jacobian, outputs, inputs), outputs, &directions, probes)
    };
    Ok(moments(squares, inputs, outputs, probes))
}

/// From |J V|^2 and |J'J V|^2.
fn moments(squares: [f64; 2], inputs: usize, outputs: usize, probes: usize) -> JacobianMoments {
    let (n, k, values) = (inputs as f64, probes as f64, inputs.min(outputs) as f64);
    let [trace, square] = squares.map(|square| n / k * square);
    // Var of the trace is noise (n tr (J'J)^2 - (tr J'J)^2).
    let noise = if probes < inputs { 2.0 * (n - k) / (k * (n - 1.0) * (n + 2.0)) } else { 0.0 };
    let trace_squared = (trace * trace - noise * n * square) / (1.0 - noise);
    JacobianMoments {
        first: trace / values,
        first_squared: trace_squared / (values * values),
        second: square / values,
    }
}

/// The first row of a trial's inputs, if its Jacobian is defined.
fn first_input(network: &Network, setup: &Setup, trial: u32) -> Result<Vec<f32>, SimulateError> {
    setup.check(network)?;
    if let Some(layer) = coupling(&network.layers) {
        return Err(SimulateError::Coupled(layer));
    }
    let mut row = match &setup.inputs {
        InputSource::Given(values) => values[..network.input].to_vec(),
        InputSource::Random(_) => crate::inputs::rows::<f32>(setup, trial, network.input)?,
    };
    row.truncate(network.input);
    Ok(row)
}

/// `probes x inputs`: orthonormal rows, uniformly distributed.
fn directions(
    setup: &Setup,
    inputs: usize,
    probes: usize,
    trial: u32,
) -> Result<Vec<f64>, SimulateError> {
    let shape = WeightShape::dense(inputs, probes)?;
    // The inputs of a trial are those of layer 0.
    let key = Key::new(setup.seed, Purpose::Inputs, trial, 1);
    let mut rows = vec![0.0; probes * inputs];
    fill_f64(&Initializer::Orthogonal { gain: 1.0 }, &shape, Layout::OutIn, key, &mut rows)
        .map_err(|e| SimulateError::Weights { layer: 0, reason: e.to_string() })?;
    Ok(rows)
}

/// |J V|^2 and |J'J V|^2 for the rows V'.
fn products(jacobian: Matrix<'_, f64>, outputs: usize, rows: &[f64], probes: usize) -> [f64; 2] {
    let mut forward = vec![0.0; probes * outputs];
    product(&mut forward, Matrix::new(rows, probes, rows.len() / probes), jacobian.transposed());
    let mut back = vec![0.0; rows.len()];
    product(&mut back, Matrix::new(&forward, probes, outputs), jacobian);
    [forward, back].map(|values| values.iter().map(|v| v * v).sum())
}

/// The Jacobian, `outputs x inputs`: one input as often as there are outputs, and unit error signals.
fn matrix(
    network: &Network,
    setup: &Setup,
    row: &[f32],
    trial: u32,
) -> Result<Vec<f64>, SimulateError> {
    let outputs = network.output();
    let copies = Setup {
        batch: outputs,
        inputs: InputSource::Given(row.repeat(outputs).into()),
        moments: false,
        grams: false,
        histogram_bins: 0,
        ..setup.clone()
    };
    match (setup.method, setup.precision) {
        (Method::MatrixFree, precision) => {
            let shapes = network.shapes()?;
            let laws = laws(network, &shapes, precision)?;
            let (unit, mut arena) = (identity(outputs), exact::Arena::default());
            let unit = Some(&unit[..]);
            Ok(exact::draw_with(
                network,
                &shapes,
                &laws,
                &copies,
                trial,
                unit,
                &mut arena,
                &mut (),
            )?
            .1)
        }
        (Method::Dense, Precision::F64) => dense::<f64>(network, &copies, trial),
        (Method::Dense, _) => dense::<f32>(network, &copies, trial),
    }
}

fn dense<T: Compute>(
    network: &Network,
    setup: &Setup,
    trial: u32,
) -> Result<Vec<f64>, SimulateError> {
    let shapes = network.shapes()?;
    let unit = identity(setup.batch).into_iter().map(T::from_f64).collect();
    let (_, gradient) = draw_with::<T>(network, &shapes, setup, trial, Some(unit), &mut ())?;
    Ok(gradient.into_iter().map(T::to_f64).collect())
}

fn identity(size: usize) -> Vec<f64> {
    (0..size * size).map(|at| f64::from(u8::from(at / size == at % size))).collect()
}

/// The first layer whose inputs act on each other.
fn coupling(layers: &[Layer]) -> Option<String> {
    layers.iter().find_map(|layer| match layer {
        Layer::BatchNorm { .. } => Some("batch_norm".to_owned()),
        Layer::Dropout { .. } => Some("dropout".to_owned()),
        Layer::Residual { branch, .. } => coupling(branch),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use gainstage_spec::{Activation, Dense, Initializer};
    use gainstage_stats::ks_two_sample_test;

    use super::*;

    fn values(network: &Network, method: Method, trial: u32) -> Vec<f64> {
        let precision = Precision::F64;
        let setup = Setup { precision, method, ..Setup::default() };
        jacobian_singular_values(network, &setup, trial).expect("runs")
    }

    #[test]
    fn spectra_have_one_law_in_both_methods() {
        // Two-sample KS at 1e-7 on the logarithms of the largest, the middle and the smallest singular
        // value; 1,500 draws a side see distances of 0.11.
        let network = |init: &str, widths: &[usize]| {
            let init: Initializer = init.parse().expect(init);
            Network::perceptron(widths, &init, &Activation::Tanh).expect("valid")
        };
        for (init, wrong, widths) in [
            ("lecun_normal", "he_normal", &[10, 14, 9, 8][..]),
            ("orthogonal(1.2)", "orthogonal(1.1)", &[8, 8, 10, 6][..]),
        ] {
            let sample = |network: &Network, method| -> [Vec<f64>; 3] {
                let spectra: Vec<Vec<f64>> =
                    (0..1500).map(|trial| values(network, method, trial)).collect();
                let pick =
                    |at: fn(usize) -> usize| spectra.iter().map(|s| s[at(s.len())].ln()).collect();
                [pick(|_| 0), pick(|n| n / 2), pick(|n| n - 1)]
            };
            let dense = sample(&network(init, widths), Method::Dense);
            let smallest = |network: &Network| {
                let free = sample(network, Method::MatrixFree);
                let pairs = dense.iter().zip(&free);
                pairs
                    .map(|(a, b)| ks_two_sample_test(a, b).expect("finite").p_value)
                    .fold(1.0, f64::min)
            };
            assert!(smallest(&network(init, widths)) > 1e-7, "{init}");
            // The twin.
            assert!(smallest(&network(wrong, widths)) < 1e-7, "{init} against {wrong}");
        }
    }

    #[test]
    fn the_jacobian_of_one_layer_is_its_matrix() {
        use gainstage_init::{Key, Purpose, fill_f64};
        let he = Initializer::he_normal();
        let network = Network::perceptron(&[6, 4], &he, &Activation::Relu).expect("valid");
        let shape = gainstage_spec::WeightShape::dense(6, 4).expect("valid");
        let mut w = vec![0.0; 24];
        let key = Key::new(0, Purpose::Weights, 3, 0);
        fill_f64(&he, &shape, gainstage_spec::Layout::OutIn, key, &mut w).expect("fills");
        let expected = DMatrix::from_row_slice(4, 6, &w).singular_values();
        for (found, expected) in values(&network, Method::Dense, 3).iter().zip(expected.iter()) {
            assert!((found - expected).abs() < 1e-12, "{found} against {expected}");
        }
    }

    #[test]
    fn a_whole_basis_sees_every_singular_value() {
        let he = Initializer::he_normal();
        let network = Network::perceptron(&[6, 9, 4], &he, &Activation::Relu).expect("valid");
        let setup = Setup { precision: Precision::F64, ..Setup::default() };
        let values = values(&network, Method::Dense, 3);
        let found = jacobian_moments(&network, &setup, 6, 3).expect("runs");
        let mean = |power| values.iter().map(|s| s.powi(power)).sum::<f64>() / 4.0;
        assert!((found.first / mean(2) - 1.0).abs() < 1e-12, "{found:?} against {}", mean(2));
        assert!((found.second / mean(4) - 1.0).abs() < 1e-12, "{found:?} against {}", mean(4));
        assert!((found.first_squared / mean(2).powi(2) - 1.0).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn estimates_are_unbiased_over_probes() {
        // One matrix, 20,000 draws of two probes: means within five standard errors.
        let (inputs, outputs, probes) = (6, 4, 2);
        let jacobian: Vec<f64> = (0..24).map(|i| f64::sin(1.0 + 2.3 * f64::from(i))).collect();
        let matrix = Matrix::new(&jacobian, outputs, inputs);
        let exact = {
            let basis = identity(inputs);
            moments(super::products(matrix, outputs, &basis, inputs), inputs, outputs, inputs)
        };
        let mut found = [gainstage_stats::Moments::new(); 3];
        for trial in 0..20_000 {
            let rows = directions(&Setup::default(), inputs, probes, trial).expect("drawn");
            let m =
                moments(super::products(matrix, outputs, &rows, probes), inputs, outputs, probes);
            for (to, value) in found.iter_mut().zip([m.first, m.first_squared, m.second]) {
                to.push(value);
            }
        }
        for (found, exact) in found.iter().zip([exact.first, exact.first_squared, exact.second]) {
            let off = (found.mean() - exact).abs() / found.standard_error();
            assert!(off < 5.0, "{} for {exact}", found.mean());
        }
        // The twin: the plain square is too large, by its variance.
        let plain = found[0].mean().powi(2) + found[0].population_variance();
        assert!((plain - exact.first_squared) / found[1].standard_error() > 5.0, "{plain}");
    }

    #[test]
    fn numbers_of_probes_that_no_basis_has_are_refused() {
        let network = Network::uniform(4, 2, &Initializer::he_normal(), &Activation::Relu);
        let network = network.expect("valid");
        for probes in [0, 5] {
            let error = jacobian_moments(&network, &Setup::default(), probes, 0);
            assert!(matches!(error, Err(SimulateError::Setup { .. })), "{probes}: {error:?}");
        }
    }

    #[test]
    fn batches_that_act_on_themselves_are_refused() {
        let dense = Layer::Dense(Dense::new(4, Initializer::he_normal(), Activation::Relu));
        let layers = vec![dense.clone(), Layer::BatchNorm { epsilon: 1e-5 }, dense];
        let network = Network::new(4, layers).expect("valid");
        let error = jacobian_singular_values(&network, &Setup::default(), 0);
        assert!(matches!(error, Err(SimulateError::Coupled(_))));
        let error = jacobian_moments(&network, &Setup::default(), 2, 0);
        assert!(matches!(error, Err(SimulateError::Coupled(_))));
    }
}

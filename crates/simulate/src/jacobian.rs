use gainstage_spec::{Layer, Network};
use nalgebra::DMatrix;

use crate::method::laws;
use crate::pass::{Compute, draw_with};
use crate::{InputSource, Method, Precision, Setup, SimulateError, exact};

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
    setup.check(network)?;
    if let Some(layer) = coupling(&network.layers) {
        return Err(SimulateError::Coupled(layer));
    }
    let (inputs, outputs) = (network.input, network.output());
    // One row of the inputs, as often as there are outputs.
    let rows: Vec<f32> = match &setup.inputs {
        InputSource::Given(values) => values[..inputs].to_vec(),
        InputSource::Random(_) => {
            crate::inputs::rows::<f32>(setup, trial, inputs)?[..inputs].to_vec()
        }
    };
    let copies = Setup {
        batch: outputs,
        inputs: InputSource::Given(rows.repeat(outputs).into()),
        moments: false,
        grams: false,
        histogram_bins: 0,
        ..setup.clone()
    };
    let jacobian = match (setup.method, setup.precision) {
        (Method::MatrixFree, precision) => {
            let shapes = network.shapes()?;
            let laws = laws(network, &shapes, precision)?;
            let (unit, mut arena) = (identity(outputs), exact::Arena::default());
            exact::draw_with(
                network,
                &shapes,
                &laws,
                &copies,
                trial,
                Some(&unit),
                &mut arena,
                &mut (),
            )?
            .1
        }
        (Method::Dense, Precision::F64) => dense::<f64>(network, &copies, trial)?,
        (Method::Dense, _) => dense::<f32>(network, &copies, trial)?,
    };
    if jacobian.iter().any(|v| !v.is_finite()) {
        return Ok(vec![f64::NAN; outputs.min(inputs)]);
    }
    let matrix = DMatrix::from_row_slice(outputs, inputs, &jacobian);
    let mut values: Vec<f64> = matrix.singular_values().iter().copied().collect();
    values.sort_by(|a, b| b.total_cmp(a));
    Ok(values)
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
    fn batches_that_act_on_themselves_are_refused() {
        let dense = Layer::Dense(Dense::new(4, Initializer::he_normal(), Activation::Relu));
        let layers = vec![dense.clone(), Layer::BatchNorm { epsilon: 1e-5 }, dense];
        let network = Network::new(4, layers).expect("valid");
        let error = jacobian_singular_values(&network, &Setup::default(), 0);
        assert!(matches!(error, Err(SimulateError::Coupled(_))));
    }
}

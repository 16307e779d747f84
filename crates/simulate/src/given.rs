//! Weights that exist: the very numbers of a checkpoint, passed forward and backward once.

use gainstage_spec::{Activation, Layer, Network};

use crate::pass::{Compute, pass};
use crate::{Draw, Method, Precision, Real, Setup, SimulateError, inputs};

/// The weights of one dense layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GivenLayer {
    /// `out x in`, one row for each unit, as in PyTorch.
    pub weights: Vec<f64>,
    /// One value for each unit, or empty where the layer has none.
    pub bias: Vec<f64>,
}

/// What is sent backward.
#[derive(Clone, Debug, PartialEq)]
pub enum ErrorSignals {
    /// Uniform directions of mean square 1, one for each input, drawn from the setup's seed.
    Random,
    /// dL/dz of the last layer, `batch x output`.
    Given(Vec<f64>),
    /// Those of the mean cross-entropy of the softmax of the output, with these labels.
    CrossEntropy(Vec<usize>),
}

/// What given weights do to a batch.
#[derive(Clone, Debug)]
pub struct GivenMeasured {
    /// Every dense layer.
    pub draw: Draw,
    /// Mean square of the error signals that were sent backward.
    pub injected: f64,
    /// Mean cross-entropy of the labels, where there are labels.
    pub loss: Option<f64>,
    /// Mean cross-entropy of the softmax of the output for labels that know nothing of the inputs, all
    /// classes alike: the mean over inputs of log sum exp z - mean z. ln K where all outputs are the same.
    pub blind_loss: f64,
}

/// Passes the setup's inputs forward through these weights, and error signals backward.
///
/// `network` says what stands between the weights; its initializers are not used. The passes run in
/// `setup.precision`, as a framework of that precision would run them; `setup.trials` and
/// `setup.method` have no say.
///
/// # Errors
/// [`SimulateError`] for numbers of weights, inputs, labels or error signals that do not fit the network, and
/// for labels where the last dense layer's outputs are no logits.
///
/// # Example
/// ```
/// use gainstage_simulate::{ErrorSignals, GivenLayer, InputSource, Setup, measure_given};
/// use gainstage_spec::{Activation, Initializer, Network};
///
/// let network = Network::perceptron(&[2, 2, 2], &Initializer::he_normal(), &Activation::Relu)?;
/// let layers = [
///     GivenLayer { weights: vec![1.0, 2.0, -1.0, 0.0], bias: vec![0.5, 0.0] },
///     GivenLayer { weights: vec![1.0, 0.0, 0.0, 1.0], bias: vec![] },
/// ];
/// let inputs = InputSource::Given([1.0, 1.0].into());
/// let setup = Setup { batch: 1, inputs, ..Setup::default() };
/// let measured = measure_given(&network, &layers, &setup, &ErrorSignals::CrossEntropy(vec![1]))?;
/// // z = (3.5, -1), then (3.5, 0); the label is the second class.
/// assert!((measured.draw.layers[0].forward.mean - (3.5f64.powi(2) + 1.0) / 2.0).abs() < 1e-6);
/// assert!((measured.loss.unwrap() - (1.0 + 3.5f64.exp()).ln()).abs() < 1e-6);
/// // The error signal is softmax minus one-hot: (p, -p). The second unit of the hidden layer is shut.
/// let p = 1.0 / (1.0 + (-3.5f64).exp());
/// assert!((measured.draw.layers[0].gradient.mean - p * p / 2.0).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn measure_given(
    network: &Network,
    layers: &[GivenLayer],
    setup: &Setup,
    error: &ErrorSignals,
) -> Result<GivenMeasured, SimulateError> {
    let setup = Setup { trials: 1, method: Method::Dense, ..setup.clone() };
    setup.check(network)?;
    check(network, layers)?;
    match setup.precision {
        Precision::F64 => run::<f64>(network, layers, &setup, error),
        Precision::F32 | Precision::Bf16 | Precision::F16 => {
            run::<f32>(network, layers, &setup, error)
        }
    }
}

fn check(network: &Network, layers: &[GivenLayer]) -> Result<(), SimulateError> {
    let wrong = |what: String, found, needed| SimulateError::GivenLength { what, found, needed };
    let shapes = network.shapes()?;
    if layers.len() != shapes.len() {
        return Err(wrong("the list of given layers".to_owned(), layers.len(), shapes.len()));
    }
    for (index, (layer, shape)) in layers.iter().zip(&shapes).enumerate() {
        if layer.weights.len() != shape.elements() {
            let what = format!("the weight of layer {}", index + 1);
            return Err(wrong(what, layer.weights.len(), shape.elements()));
        }
        if !layer.bias.is_empty() && layer.bias.len() != shape.outputs() {
            let what = format!("the bias of layer {}", index + 1);
            return Err(wrong(what, layer.bias.len(), shape.outputs()));
        }
    }
    Ok(())
}

fn run<T: Compute>(
    network: &Network,
    layers: &[GivenLayer],
    setup: &Setup,
    error: &ErrorSignals,
) -> Result<GivenMeasured, SimulateError> {
    let (mut injected, mut loss, mut blind_loss) = (0.0, None, 0.0);
    let shapes = network.shapes()?;
    let send = |output: &[T]| {
        let classes = output.len() / setup.batch;
        blind_loss = blind(output, classes);
        let signals = match error {
            ErrorSignals::Random => inputs::error_signals(setup, 0, classes)?,
            ErrorSignals::Given(values) => {
                fits("the error signal", values.len(), output.len())?;
                values.iter().map(|&e| T::from_f64(e)).collect()
            }
            ErrorSignals::CrossEntropy(labels) => {
                fits("the list of labels", labels.len(), setup.batch)?;
                logits(network)?;
                let (mean, signals) = cross_entropy(output, labels, classes)?;
                loss = Some(mean);
                signals
            }
        };
        let squares: f64 = signals.iter().map(|s| s.to_f64().powi(2)).sum();
        injected = squares / signals.len() as f64;
        Ok(signals)
    };
    let (draw, _) = pass::<T>(network, &shapes, setup, 0, Some(layers), send, &mut ())?;
    Ok(GivenMeasured { draw, injected, loss, blind_loss })
}

fn fits(what: &str, found: usize, needed: usize) -> Result<(), SimulateError> {
    if found == needed {
        return Ok(());
    }
    Err(SimulateError::GivenLength { what: what.to_owned(), found, needed })
}

/// A pass sends error signals to the last dense layer's pre-activations, so these must be the output.
fn logits(network: &Network) -> Result<(), SimulateError> {
    match network.layers.last() {
        Some(Layer::Dense(dense)) if dense.activation == Activation::Linear => Ok(()),
        _ => Err(SimulateError::Setup {
            what: "the number of logits, with labels given",
            value: 0.0,
            bound: "the width of a last dense layer with activation \"linear\"",
        }),
    }
}

/// log sum exp, and its largest term.
fn log_sum_exp<T: Real>(row: &[T]) -> f64 {
    let largest = row.iter().map(|z| z.to_f64()).fold(f64::NEG_INFINITY, f64::max);
    largest + row.iter().map(|z| (z.to_f64() - largest).exp()).sum::<f64>().ln()
}

fn blind<T: Real>(output: &[T], classes: usize) -> f64 {
    let of_row =
        |row: &[T]| log_sum_exp(row) - row.iter().map(|z| z.to_f64()).sum::<f64>() / classes as f64;
    let rows = output.chunks_exact(classes);
    let count = rows.len() as f64;
    rows.map(of_row).sum::<f64>() / count
}

/// The mean cross-entropy and its gradient, (softmax - one-hot) / batch.
fn cross_entropy<T: Real>(
    output: &[T],
    labels: &[usize],
    classes: usize,
) -> Result<(f64, Vec<T>), SimulateError> {
    let batch = labels.len() as f64;
    let mut loss = 0.0;
    let mut signals = Vec::with_capacity(output.len());
    for (input, (row, &label)) in output.chunks_exact(classes).zip(labels).enumerate() {
        let Some(of_label) = row.get(label) else {
            return Err(SimulateError::Label { label, input, classes });
        };
        let total = log_sum_exp(row);
        loss += total - of_label.to_f64();
        signals.extend(row.iter().enumerate().map(|(k, z)| {
            let hit = if k == label { 1.0 } else { 0.0 };
            T::from_f64(((z.to_f64() - total).exp() - hit) / batch)
        }));
    }
    Ok((loss / batch, signals))
}

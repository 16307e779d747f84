use std::sync::Arc;

use gainstage_spec::{Inputs, Network};

use crate::{Method, Precision, SimulateError};

/// How a network is measured.
///
/// # Example
/// ```
/// use gainstage_simulate::{Setup, measure};
/// use gainstage_spec::{Activation, Initializer, Network};
///
/// let network = Network::uniform(64, 10, &Initializer::he_normal(), &Activation::Relu)?;
/// let measured = measure(&network, &Setup { trials: 200, batch: 1, ..Setup::default() })?;
/// // He's rule keeps the second moment in expectation: 2 before the ReLU, 1 behind it. The exact
/// // spread of the mean over 200 draws is sqrt(((1 + 5/64)^10 - 1) / 200) = 0.075.
/// let mean = measured.layers[9].mean(|draw| draw.activation.mean);
/// assert!((mean - 1.0).abs() < 5.0 * 0.075);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Setup {
    /// The root of every stream.
    pub seed: u64,
    /// Number of independent weight draws.
    pub trials: usize,
    /// Number of inputs that pass each draw.
    pub batch: usize,
    /// What passes the network.
    pub inputs: InputSource,
    /// The format signals and weights are stored in.
    pub precision: Precision,
    /// How the draws are made.
    pub method: Method,
    /// Whether moments to the fourth and extremes are gathered beside second moments.
    pub moments: bool,
    /// Whether the dense method forms the Grams of every layer's batch, for the whole batch's weight
    /// gradient and the effective rank. The matrix-free method has them anyway.
    pub grams: bool,
    /// Number of cells of the histograms of layer signals; 0 for none.
    pub histogram_bins: usize,
    /// Bytes for the signals that dense draws keep for the way back, over all draws under way at once;
    /// `None` for as many as it takes. Layers that do not fit are passed forward again, with the same
    /// bits and 1.5 times the products. One layer's weights and signals come on top. The matrix-free
    /// method keeps no signals of plain layers and does not look at it.
    pub memory: Option<usize>,
}

impl Default for Setup {
    /// 100 dense draws, 16 inputs on the sphere, f32, moments, no Grams, no histograms, no budget, seed 0.
    fn default() -> Self {
        Self {
            seed: 0,
            trials: 100,
            batch: 16,
            inputs: InputSource::Random(Inputs::Sphere),
            precision: Precision::F32,
            method: Method::Dense,
            moments: true,
            grams: false,
            histogram_bins: 0,
            memory: None,
        }
    }
}

/// Where the inputs come from.
#[derive(Clone, Debug, PartialEq)]
pub enum InputSource {
    /// Drawn anew for every weight draw.
    Random(Inputs),
    /// These `batch x width` values, row after row, for every draw.
    Given(Arc<[f32]>),
}

impl Setup {
    pub(crate) fn check(&self, network: &Network) -> Result<(), SimulateError> {
        network.check()?;
        let positive = |what, value: usize| {
            if value == 0 {
                Err(SimulateError::Setup { what, value: 0.0, bound: "at least 1" })
            } else {
                Ok(())
            }
        };
        positive("the number of trials", self.trials)?;
        positive("the batch size", self.batch)?;
        if self.trials > u32::MAX as usize {
            let value = self.trials as f64;
            return Err(SimulateError::Setup {
                what: "the number of trials",
                value,
                bound: "below 2^32",
            });
        }
        match &self.inputs {
            InputSource::Given(values) => {
                let needed = self.batch.saturating_mul(network.input);
                if values.len() != needed {
                    let (found, batch, width) = (values.len(), self.batch, network.input);
                    return Err(SimulateError::InputLength { found, batch, width, needed });
                }
            }
            InputSource::Random(Inputs::CorrelatedPairs { correlation }) => {
                if !(-1.0..=1.0).contains(correlation) {
                    let (what, bound) = ("the correlation of input pairs", "between -1 and 1");
                    return Err(SimulateError::Setup { what, value: *correlation, bound });
                }
                if !self.batch.is_multiple_of(2) || network.input < 2 {
                    let (what, value) = ("the batch of correlated pairs", self.batch as f64);
                    return Err(SimulateError::Setup {
                        what,
                        value,
                        bound: "even, on an input of width 2 or more",
                    });
                }
            }
            InputSource::Random(_) => {}
        }
        Ok(())
    }
}

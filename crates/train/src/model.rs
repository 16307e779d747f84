use gainstage_init::{Key, Purpose, fill, fill_bias};
use gainstage_spec::{Activation, Layout, Network};

use crate::lines::Lines;
use crate::loss::is_largest;
use crate::program::{Op, Program};
use crate::tape::{Lists, Mode, Tape};
use crate::{Data, Evaluation, Images, Loss, TrainError};

/// Samples that are evaluated at a time.
const BATCH: usize = 256;

/// A network with its parameters: dense layers, and between them activations, dropout,
/// normalizations and residual branches.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub(crate) layers: Vec<Parameters>,
    pub(crate) program: Program,
    /// Of every batch normalization.
    pub(crate) running: Vec<Running>,
    pub(crate) loss: Loss,
}

/// One dense layer. Weights are `[input, unit]`, as in Keras.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) inputs: usize,
    pub(crate) units: usize,
    pub(crate) weights: Lines,
    pub(crate) bias: Vec<f32>,
    pub(crate) activation: Activation,
}

/// What a batch normalization uses where there is no batch: averages over the steps of training,
/// 0.99 of the old and 0.01 of the new, from 0 and 1, as in Keras.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Running {
    pub(crate) mean: Vec<f32>,
    pub(crate) variance: Vec<f32>,
}

impl Model {
    /// Draws the parameters of a network from the seed's streams. Dense layers are numbered in the
    /// order of the signal, those in residual branches included.
    ///
    /// # Errors
    /// [`TrainError::Spec`] if the description does not hold together, [`TrainError::Init`] if a weight
    /// cannot be drawn.
    pub fn new(network: &Network, loss: Loss, seed: u64) -> Result<Self, TrainError> {
        network.check()?;
        let program = Program::new(network)?;
        let mut layers = Vec::new();
        for (index, (dense, shape)) in network.dense().zip(network.shapes()?).enumerate() {
            let key = |purpose| Key::new(seed, purpose, 0, index as u32);
            let mut weights = Lines::zeros(shape.elements());
            fill(&dense.weights, &shape, Layout::InOut, key(Purpose::Weights), &mut weights)?;
            let mut bias = vec![0.0; dense.width];
            fill_bias(&dense.bias, &shape, key(Purpose::Biases), &mut bias)?;
            layers.push(Parameters {
                inputs: shape.inputs(),
                units: dense.width,
                weights,
                bias,
                activation: dense.activation.clone(),
            });
        }
        let fresh = |&width: &usize| Running { mean: vec![0.0; width], variance: vec![1.0; width] };
        let running = program.batch_norms.iter().map(fresh).collect();
        Ok(Self { layers, program, running, loss })
    }

    /// Number of dense layers.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Weights of a dense layer, from 0, `[input, unit]`: input i feeds unit u with value `i * units + u`.
    pub fn weights(&self, layer: usize) -> &[f32] {
        &self.layers[layer].weights
    }

    /// The same, to be changed.
    pub fn weights_mut(&mut self, layer: usize) -> &mut [f32] {
        &mut self.layers[layer].weights
    }

    /// Biases of a dense layer, from 0.
    pub fn bias(&self, layer: usize) -> &[f32] {
        &self.layers[layer].bias
    }

    /// The same, to be changed.
    pub fn bias_mut(&mut self, layer: usize) -> &mut [f32] {
        &mut self.layers[layer].bias
    }

    /// Units of a dense layer, from 0.
    pub fn units(&self, layer: usize) -> usize {
        self.layers[layer].units
    }

    /// Loss and accuracy on images whose grey values are multiplied by `scale`; sums in f64. Dropout
    /// is off and batch normalization uses its running averages.
    ///
    /// # Panics
    /// If the images have another number of pixels than the model takes, or more classes than it has
    /// outputs.
    pub fn evaluate(&self, images: &Images, scale: f64) -> Evaluation {
        self.evaluate_on(images.into(), scale)
    }

    /// As [`Model::evaluate`], on vectors too, which `scale` leaves as they are. The accuracy for
    /// values is NaN.
    ///
    /// # Panics
    /// As [`Model::evaluate`].
    pub fn evaluate_on(&self, data: Data<'_>, scale: f64) -> Evaluation {
        assert_eq!(data.width(), self.program.widths[0], "pixels of an image");
        assert!(data.outputs() <= self.outputs(), "more classes than outputs");
        let grey = Data::grey(scale);
        let images = self.sparse(data);
        let mut tape = Tape::new(self, BATCH, images.is_some());
        let (mut loss, mut right) = (0.0, 0usize);
        let indices: Vec<u32> = (0..data.len() as u32).collect();
        for batch in indices.chunks(BATCH) {
            if images.is_none() {
                data.copy(batch, &grey, &mut tape.input);
            }
            let lists = images.map(|images| Lists { images, batch, grey: &grey });
            self.forward(lists, batch.len(), &mut tape, Mode::Evaluate);
            let outputs = tape.output(batch.len() * self.outputs());
            for (row, &index) in outputs.chunks_exact(self.outputs()).zip(batch) {
                let target = data.target(index);
                loss += self.loss.value(row, target);
                right += usize::from(is_largest(row, target));
            }
        }
        let n = data.len() as f64;
        let accuracy = if data.has_values() { f64::NAN } else { right as f64 / n };
        Evaluation { loss: loss / n, accuracy }
    }

    /// Lets the running averages follow the batch of the last step.
    pub(crate) fn follow(&mut self, tape: &Tape) {
        for (op, slot) in self.program.ops.iter().zip(&tape.slots) {
            let Op::BatchNorm { running, .. } = op else { continue };
            let Running { mean, variance } = &mut self.running[*running];
            let toward = |kept: &mut [f32], batch: &[f64]| {
                for (kept, new) in kept.iter_mut().zip(batch) {
                    *kept = (0.99 * f64::from(*kept) + 0.01 * new) as f32;
                }
            };
            toward(mean, &slot.statistics.mean);
            toward(variance, &slot.statistics.variance);
        }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.program.outputs()
    }

    /// The images, if the first layer can use that most of their pixels are zero.
    pub(crate) fn sparse<'a>(&self, data: Data<'a>) -> Option<&'a Images> {
        match data {
            Data::Images(images) if self.program.begins_dense() => Some(images),
            _ => None,
        }
    }
}

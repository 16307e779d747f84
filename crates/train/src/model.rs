use gainstage_init::{Key, Purpose, fill, fill_bias};
use gainstage_simulate::{Matrix, product};
use gainstage_spec::{Activation, Layer, Layout, Network};

use crate::images::grey_table;
use crate::kernel::Curve;
use crate::loss::is_largest;
use crate::{Evaluation, Images, Loss, TrainError, kernel};

/// Images that are evaluated at a time.
const BATCH: usize = 256;

/// A multi-layer perceptron with its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub(crate) layers: Vec<Parameters>,
    pub(crate) loss: Loss,
}

/// One dense layer. Weights are `[input, unit]`, as in Keras.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) inputs: usize,
    pub(crate) units: usize,
    pub(crate) weights: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) activation: Activation,
}

impl Model {
    /// Draws the parameters of a network of dense layers from the seed's streams.
    ///
    /// # Errors
    /// [`TrainError::Unsupported`] for other layers, [`TrainError::Init`] if a weight cannot be drawn.
    pub fn new(network: &Network, loss: Loss, seed: u64) -> Result<Self, TrainError> {
        network.check()?;
        let mut layers = Vec::new();
        for (index, (layer, shape)) in network.layers.iter().zip(network.shapes()?).enumerate() {
            let Layer::Dense(dense) = layer else {
                let kind =
                    format!("{layer:?}").split([' ', '{']).next().unwrap_or_default().to_owned();
                return Err(TrainError::Unsupported { layer: index + 1, kind });
            };
            let key = |purpose| Key::new(seed, purpose, 0, index as u32);
            let mut weights = vec![0.0; shape.elements()];
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
        Ok(Self { layers, loss })
    }

    /// Number of layers.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Weights of a layer, from 0, `[input, unit]`: input i feeds unit u with value `i * units + u`.
    pub fn weights(&self, layer: usize) -> &[f32] {
        &self.layers[layer].weights
    }

    /// The same, to be changed.
    pub fn weights_mut(&mut self, layer: usize) -> &mut [f32] {
        &mut self.layers[layer].weights
    }

    /// Biases of a layer, from 0.
    pub fn bias(&self, layer: usize) -> &[f32] {
        &self.layers[layer].bias
    }

    /// Units of a layer, from 0.
    pub fn units(&self, layer: usize) -> usize {
        self.layers[layer].units
    }

    /// Loss and accuracy on images whose grey values are multiplied by `scale`; sums in f64.
    ///
    /// # Panics
    /// If the images have another number of pixels than the model takes, or more classes than it has
    /// outputs.
    pub fn evaluate(&self, images: &Images, scale: f64) -> Evaluation {
        assert_eq!(images.width(), self.layers[0].inputs, "pixels of an image");
        assert!(images.classes() <= self.outputs(), "more classes than outputs");
        let grey = grey_table(scale);
        let mut buffers = Buffers::new(self, BATCH);
        let (mut loss, mut right) = (0.0, 0usize);
        let indices: Vec<u32> = (0..images.len() as u32).collect();
        for batch in indices.chunks(BATCH) {
            self.forward(images, batch, &grey, &mut buffers);
            let outputs = buffers.output(batch.len() * self.outputs());
            for (row, &index) in outputs.chunks_exact(self.outputs()).zip(batch) {
                let label = usize::from(images.labels()[index as usize]);
                loss += self.loss.value(row, label);
                right += usize::from(is_largest(row, label));
            }
        }
        let n = images.len() as f64;
        Evaluation { loss: loss / n, accuracy: right as f64 / n }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.layers[self.layers.len() - 1].units
    }

    /// Pre-activations and activations of every layer for a batch, into the buffers.
    pub(crate) fn forward(
        &self,
        images: &Images,
        batch: &[u32],
        grey: &[f32; 256],
        buffers: &mut Buffers,
    ) {
        for (index, layer) in self.layers.iter().enumerate() {
            let (before, from_here) = buffers.layers.split_at_mut(index);
            let LayerBuffers { z, h } = &mut from_here[0];
            let z = &mut z[..batch.len() * layer.units];
            if let Some(below) = before.last() {
                product(
                    z,
                    Matrix::new(&below.h[..batch.len() * layer.inputs], batch.len(), layer.inputs),
                    Matrix::new(&layer.weights, layer.inputs, layer.units),
                );
                for row in z.chunks_exact_mut(layer.units) {
                    row.iter_mut().zip(&layer.bias).for_each(|(z, b)| *z += b);
                }
            } else {
                kernel::forward(images, batch, grey, &layer.weights, &layer.bias, z);
            }
            activate(&layer.activation, z, &mut h[..batch.len() * layer.units]);
        }
    }
}

/// As [`gainstage_simulate::activate`], with vectorised curves where training needs them.
fn activate(phi: &Activation, z: &[f32], h: &mut [f32]) {
    match phi {
        Activation::Tanh => kernel::squash(Curve::Tanh, z, h),
        Activation::Sigmoid => kernel::squash(Curve::Sigmoid, z, h),
        _ => gainstage_simulate::activate(phi, z, h),
    }
}

/// As [`gainstage_simulate::pull_back`], likewise.
pub(crate) fn pull_back(phi: &Activation, z: &[f32], delta: &mut [f32]) {
    match phi {
        Activation::Tanh => kernel::squash_back(Curve::Tanh, z, delta),
        Activation::Sigmoid => kernel::squash_back(Curve::Sigmoid, z, delta),
        _ => gainstage_simulate::pull_back(phi, z, delta),
    }
}

/// Room for one batch.
pub(crate) struct Buffers {
    pub(crate) layers: Vec<LayerBuffers>,
}

pub(crate) struct LayerBuffers {
    pub(crate) z: Vec<f32>,
    pub(crate) h: Vec<f32>,
}

impl Buffers {
    pub(crate) fn new(model: &Model, batch: usize) -> Self {
        let room = |units: usize| vec![0.0; batch * units];
        let layers =
            model.layers.iter().map(|l| LayerBuffers { z: room(l.units), h: room(l.units) });
        Self { layers: layers.collect() }
    }

    /// The network's outputs of the last forward pass.
    pub(crate) fn output(&self, values: usize) -> &[f32] {
        &self.layers[self.layers.len() - 1].h[..values]
    }
}

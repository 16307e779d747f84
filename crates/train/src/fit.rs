use std::time::Instant;

use gainstage_init::{Key, Purpose};
use gainstage_simulate::{Matrix, product, pull_back};
use gainstage_spec::Network;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::images::grey_table;
use crate::model::Buffers;
use crate::optimizer::Step;
use crate::{Evaluation, Images, Loss, Model, Optimizer, TrainError, kernel};

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// Passes through the training images.
    pub epochs: usize,
    /// Images a step; the last step of an epoch takes what is left.
    pub batch: usize,
    /// The optimiser.
    pub optimizer: Optimizer,
    /// What is minimised.
    pub loss: Loss,
    /// Factor of the grey values 0 to 255.
    pub scale: f64,
    /// Ends training after this many steps, within an epoch if need be.
    pub max_steps: Option<u64>,
    /// Whether to note the largest hidden gradient of every step.
    pub watch_gradients: bool,
}

impl Protocol {
    /// The seed notebook's: Adam with Keras's defaults, cross-entropy, batches of 32, 10 epochs, grey
    /// values divided by 255.
    pub fn notebook() -> Self {
        Self {
            epochs: 10,
            batch: 32,
            optimizer: Optimizer::adam(),
            loss: Loss::CrossEntropy,
            scale: 1.0 / 255.0,
            max_steps: None,
            watch_gradients: false,
        }
    }

    fn check(&self) -> Result<(), TrainError> {
        self.optimizer.check()?;
        if self.batch == 0 || self.batch > usize::from(u16::MAX) {
            let value = self.batch as f64;
            return Err(TrainError::Setting {
                what: "the batch size",
                value,
                bound: "from 1 to 65,535",
            });
        }
        if !self.scale.is_finite() {
            return Err(TrainError::Setting {
                what: "the scale",
                value: self.scale,
                bound: "finite",
            });
        }
        Ok(())
    }
}

/// One epoch of training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean loss over the epoch's steps, as they went.
    pub train_loss: f64,
    /// Accuracy over the epoch's steps, as they went.
    pub train_accuracy: f64,
    /// Loss on the held-out images after the epoch.
    pub validation_loss: Option<f64>,
    /// Accuracy on the held-out images after the epoch.
    pub validation_accuracy: Option<f64>,
}

/// Where a loss stopped being a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diverged {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Step, from 1, over all epochs.
    pub step: u64,
}

/// A trained model and how it got there.
#[derive(Clone, Debug)]
pub struct Fit {
    /// The model.
    pub model: Model,
    /// One entry per epoch.
    pub history: Vec<Epoch>,
    /// Loss of every step.
    pub step_losses: Vec<f32>,
    /// Steps taken.
    pub steps: u64,
    /// Set when the loss became infinite or NaN; training ended there.
    pub diverged: Option<Diverged>,
    /// Largest magnitude over all steps of an error signal of a hidden layer, or of a weight gradient
    /// above the first layer: exactly zero when nothing but output biases ever learns. `None` unless
    /// [`Protocol::watch_gradients`].
    pub largest_hidden_gradient: Option<f32>,
    /// Wall-clock seconds of training, evaluations of held-out images included.
    pub seconds: f64,
}

/// Trains a network from weights drawn with `seed`; data order and weights have streams of their own.
///
/// `validation` is evaluated after every epoch; `progress` is called with the number of each finished
/// epoch.
///
/// # Errors
/// [`TrainError`] for networks, images and settings that do not fit. Divergence is a result.
pub fn fit(
    network: &Network,
    train: &Images,
    validation: Option<&Images>,
    protocol: &Protocol,
    seed: u64,
    progress: &dyn Fn(usize),
) -> Result<Fit, TrainError> {
    let model = Model::new(network, protocol.loss, seed)?;
    fit_from(model, train, validation, protocol, seed, progress)
}

/// As [`fit`], from a model with parameters of its own.
///
/// # Errors
/// As [`fit`].
pub fn fit_from(
    mut model: Model,
    train: &Images,
    validation: Option<&Images>,
    protocol: &Protocol,
    seed: u64,
    progress: &dyn Fn(usize),
) -> Result<Fit, TrainError> {
    protocol.check()?;
    model.loss = protocol.loss;
    let (inputs, outputs) = (model.layers[0].inputs, model.outputs());
    for images in std::iter::once(train).chain(validation) {
        if images.width() != inputs {
            return Err(TrainError::Size {
                what: "pixels per image",
                found: images.width(),
                needed: inputs,
            });
        }
        if images.classes() > outputs {
            return Err(TrainError::Size {
                what: "outputs of the network",
                found: outputs,
                needed: images.classes(),
            });
        }
    }
    let started = Instant::now();
    let mut trainer = Trainer::new(model, train, protocol);
    let mut fit_history = Vec::with_capacity(protocol.epochs);
    let mut order: Vec<u32> = (0..train.len() as u32).collect();
    for epoch in 0..protocol.epochs {
        if trainer.finished() {
            break;
        }
        shuffle(&mut order, Key::new(seed, Purpose::DataOrder, 0, epoch as u32));
        let (loss, accuracy) = trainer.epoch(&order, epoch + 1);
        let held_out: Option<Evaluation> =
            validation.map(|v| trainer.model.evaluate(v, protocol.scale));
        fit_history.push(Epoch {
            train_loss: loss,
            train_accuracy: accuracy,
            validation_loss: held_out.map(|e| e.loss),
            validation_accuracy: held_out.map(|e| e.accuracy),
        });
        progress(epoch + 1);
    }
    Ok(Fit {
        model: trainer.model,
        history: fit_history,
        step_losses: trainer.step_losses,
        steps: trainer.steps,
        diverged: trainer.diverged,
        largest_hidden_gradient: protocol
            .watch_gradients
            .then_some(trainer.largest_hidden_gradient),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Fisher-Yates.
fn shuffle(order: &mut [u32], key: Key) {
    let mut stream = key.stream();
    for i in (1..order.len()).rev() {
        order.swap(i, stream.random_range(0..=i));
    }
}

/// The loop's state; nothing is allocated between its first step and its last.
struct Trainer<'a> {
    model: Model,
    images: &'a Images,
    protocol: &'a Protocol,
    grey: [f32; 256],
    buffers: Buffers,
    /// dL/dz and room for dL/dh of the layer below.
    delta: Vec<f32>,
    below: Vec<f32>,
    gradient: Vec<f32>,
    /// Both state slots of the optimiser, per layer: weights, then biases.
    first: Vec<[Vec<f32>; 2]>,
    second: Vec<[Vec<f32>; 2]>,
    /// Per pixel, the batch's samples in which it is not zero.
    by_pixel: Vec<Vec<(u16, f32)>>,
    steps: u64,
    step_losses: Vec<f32>,
    diverged: Option<Diverged>,
    largest_hidden_gradient: f32,
}

impl<'a> Trainer<'a> {
    fn new(model: Model, images: &'a Images, protocol: &'a Protocol) -> Self {
        let batch = protocol.batch.min(images.len());
        let widest = model.layers.iter().map(|l| l.units).max().unwrap_or(0);
        let largest = model.layers.iter().skip(1).map(|l| l.weights.len()).max().unwrap_or(0);
        let state = || -> Vec<[Vec<f32>; 2]> {
            model.layers.iter().map(|l| [vec![0.0; l.weights.len()], vec![0.0; l.units]]).collect()
        };
        let all_steps = protocol.epochs as u64 * images.len().div_ceil(batch) as u64;
        let steps = protocol.max_steps.map_or(all_steps, |most| most.min(all_steps));
        Self {
            images,
            protocol,
            grey: grey_table(protocol.scale),
            buffers: Buffers::new(&model, batch),
            delta: vec![0.0; batch * widest],
            below: vec![0.0; batch * widest],
            gradient: vec![0.0; largest.max(widest)],
            first: state(),
            second: state(),
            by_pixel: vec![Vec::with_capacity(batch); images.width()],
            steps: 0,
            step_losses: Vec::with_capacity(steps as usize),
            diverged: None,
            largest_hidden_gradient: 0.0,
            model,
        }
    }

    fn finished(&self) -> bool {
        self.diverged.is_some() || self.protocol.max_steps.is_some_and(|most| self.steps >= most)
    }

    /// Mean loss and accuracy over the epoch's steps.
    fn epoch(&mut self, order: &[u32], epoch: usize) -> (f64, f64) {
        let (mut loss, mut right, mut seen) = (0.0, 0usize, 0usize);
        for batch in order.chunks(self.protocol.batch) {
            let (batch_loss, batch_right) = self.step(batch);
            loss += batch_loss;
            right += batch_right;
            seen += batch.len();
            if !batch_loss.is_finite() {
                self.diverged = Some(Diverged { epoch, step: self.steps });
            }
            if self.finished() {
                break;
            }
        }
        (loss / seen as f64, right as f64 / seen as f64)
    }

    /// One step: forward, loss, backward, update. Returns the batch's summed loss and hits.
    fn step(&mut self, batch: &[u32]) -> (f64, usize) {
        self.model.forward(self.images, batch, &self.grey, &mut self.buffers);
        self.steps += 1;
        let step = self.protocol.optimizer.at(self.steps);
        let outputs = self.model.outputs();
        let (mut loss, mut right) = (0.0, 0);
        self.delta[..batch.len() * outputs]
            .copy_from_slice(self.buffers.output(batch.len() * outputs));
        for (row, &image) in self.delta.chunks_exact_mut(outputs).zip(batch) {
            let label = usize::from(self.images.labels()[image as usize]);
            let (one, hit) = self.protocol.loss.derive(row, label, 1.0 / batch.len() as f32);
            loss += one;
            right += usize::from(hit);
        }
        self.step_losses.push((loss / batch.len() as f64) as f32);
        for index in (0..self.model.layers.len()).rev() {
            self.backward(index, batch, step);
        }
        (loss, right)
    }

    /// Error signal, gradient and update of one layer; leaves dL/dh of the layer below in `delta`.
    fn backward(&mut self, index: usize, batch: &[u32], step: Step) {
        let layer = &mut self.model.layers[index];
        let count = batch.len() * layer.units;
        let delta = &mut self.delta[..count];
        pull_back(&layer.activation, &self.buffers.layers[index].z[..count], delta);
        let hidden = index + 1 < self.buffers.layers.len();
        if hidden && self.protocol.watch_gradients {
            self.largest_hidden_gradient = largest(self.largest_hidden_gradient, delta);
        }
        let ([first_w, first_b], [second_w, second_b]) =
            (&mut self.first[index], &mut self.second[index]);
        if index == 0 {
            list_by_pixel(self.images, batch, &self.grey, &mut self.by_pixel);
            for &pixel in self.images.lit() {
                let row = usize::from(pixel) * layer.units..(usize::from(pixel) + 1) * layer.units;
                kernel::update_row(
                    &self.by_pixel[usize::from(pixel)],
                    delta,
                    step,
                    &mut layer.weights[row.clone()],
                    &mut first_w[row.clone()],
                    &mut second_w[row],
                );
            }
        } else {
            let h = &self.buffers.layers[index - 1].h[..batch.len() * layer.inputs];
            let gradient = &mut self.gradient[..layer.weights.len()];
            let delta_view = Matrix::new(delta, batch.len(), layer.units);
            product(gradient, Matrix::new(h, batch.len(), layer.inputs).transposed(), delta_view);
            if self.protocol.watch_gradients {
                self.largest_hidden_gradient = largest(self.largest_hidden_gradient, gradient);
            }
            let below = &mut self.below[..batch.len() * layer.inputs];
            product(
                below,
                delta_view,
                Matrix::new(&layer.weights, layer.inputs, layer.units).transposed(),
            );
            kernel::update(step, &mut layer.weights, first_w, second_w, gradient);
        }
        let gradient = &mut self.gradient[..layer.units];
        gradient.fill(0.0);
        for row in delta.chunks_exact(layer.units) {
            gradient.iter_mut().zip(row).for_each(|(g, d)| *g += d);
        }
        kernel::update(step, &mut layer.bias, first_b, second_b, gradient);
        if index > 0 {
            std::mem::swap(&mut self.delta, &mut self.below);
        }
    }
}

fn largest(so_far: f32, values: &[f32]) -> f32 {
    values.iter().fold(so_far, |a, v| if v.abs() > a || v.is_nan() { v.abs() } else { a })
}

/// Turns the batch's lists of pixels into lists of samples per pixel.
fn list_by_pixel(
    images: &Images,
    batch: &[u32],
    grey: &[f32; 256],
    by_pixel: &mut [Vec<(u16, f32)>],
) {
    by_pixel.iter_mut().for_each(Vec::clear);
    for (sample, &image) in batch.iter().enumerate() {
        let (places, values) = images.image(image as usize);
        for (&place, &value) in places.iter().zip(values) {
            by_pixel[usize::from(place)].push((sample as u16, grey[usize::from(value)]));
        }
    }
}

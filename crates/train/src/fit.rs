use std::time::Instant;

use gainstage_init::{Key, Purpose};
use gainstage_spec::Network;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::trainer::Trainer;
use crate::{Evaluation, Images, Loss, Model, Optimizer, TrainError};

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
        if !((self.scale * 255.0) as f32).is_finite() {
            return Err(TrainError::Setting {
                what: "the scale",
                value: self.scale,
                bound: "small enough for 255 times it to be finite in single precision",
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
    let mut history = Vec::new();
    let mut order: Vec<u32> = (0..train.len() as u32).collect();
    for epoch in 0..protocol.epochs {
        if trainer.finished() {
            break;
        }
        shuffle(&mut order, Key::new(seed, Purpose::DataOrder, 0, epoch as u32));
        let (loss, accuracy) = trainer.epoch(&order, epoch + 1);
        let held_out: Option<Evaluation> =
            validation.map(|v| trainer.model.evaluate(v, protocol.scale));
        history.push(Epoch {
            train_loss: loss,
            train_accuracy: accuracy,
            validation_loss: held_out.map(|e| e.loss),
            validation_accuracy: held_out.map(|e| e.accuracy),
        });
        progress(epoch + 1);
    }
    Ok(Fit {
        model: trainer.model,
        history,
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
pub(crate) fn shuffle(order: &mut [u32], key: Key) {
    let mut stream = key.stream();
    for i in (1..order.len()).rev() {
        order.swap(i, stream.random_range(0..=i));
    }
}

use std::time::Instant;

use gainstage_init::Key;
use gainstage_spec::Network;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::training::Training;
use crate::watch::LayerTrace;
use crate::{Data, Evaluation, Images, Loss, Model, Protocol, TrainError};

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
    /// Per epoch, what its last step saw in every dense layer; empty unless
    /// [`Protocol::watch_layers`].
    pub layers: Vec<Vec<LayerTrace>>,
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
    model: Model,
    train: &Images,
    validation: Option<&Images>,
    protocol: &Protocol,
    seed: u64,
    progress: &dyn Fn(usize),
) -> Result<Fit, TrainError> {
    fit_data(model, train.into(), validation.map(Data::from), protocol, seed, progress)
}

/// As [`fit_from`], from vectors too.
///
/// # Errors
/// As [`fit`]; [`TrainError::Values`] for the cross-entropy of values.
pub fn fit_data(
    model: Model,
    train: Data<'_>,
    validation: Option<Data<'_>>,
    protocol: &Protocol,
    seed: u64,
    progress: &dyn Fn(usize),
) -> Result<Fit, TrainError> {
    if let Some(validation) = validation {
        check_fit(&model, validation, protocol)?;
    }
    let started = Instant::now();
    let mut training = Training::new(model, train, protocol, seed)?;
    let (mut history, mut layers) = (Vec::new(), Vec::new());
    while training.epochs < protocol.epochs && !training.finished() {
        let epoch = training.followed_epoch(validation);
        history.push(epoch);
        if protocol.watch_layers {
            layers.push(training.layers().to_vec());
        }
        progress(training.epochs);
        if protocol.stop_below.is_some_and(|bound| epoch.train_loss < bound) {
            break;
        }
    }
    Ok(Fit {
        history,
        layers,
        steps: training.steps(),
        diverged: training.diverged,
        largest_hidden_gradient: protocol
            .watch_gradients
            .then_some(training.largest_hidden_gradient),
        seconds: started.elapsed().as_secs_f64(),
        step_losses: training.step_losses,
        model: training.model,
    })
}

impl Training<'_> {
    /// An epoch, and the evaluation of held-out samples after it.
    pub fn followed_epoch(&mut self, validation: Option<Data<'_>>) -> Epoch {
        let (train_loss, train_accuracy) = self.epoch();
        let held_out: Option<Evaluation> =
            validation.map(|v| self.model.evaluate_on(v, self.protocol.scale));
        Epoch {
            train_loss,
            train_accuracy,
            validation_loss: held_out.map(|e| e.loss),
            validation_accuracy: held_out.map(|e| e.accuracy),
        }
    }
}

/// Whether a model can learn from such data.
pub(crate) fn check_fit(
    model: &Model,
    data: Data<'_>,
    protocol: &Protocol,
) -> Result<(), TrainError> {
    let (inputs, outputs) = (model.program.widths[0], model.outputs());
    if data.width() != inputs {
        let needed = data.width();
        return Err(TrainError::Size { what: "inputs of the network", found: inputs, needed });
    }
    if data.outputs() > outputs || data.has_values() && data.outputs() != outputs {
        let needed = data.outputs();
        return Err(TrainError::Size { what: "outputs of the network", found: outputs, needed });
    }
    if data.has_values() && protocol.loss == Loss::CrossEntropy {
        return Err(TrainError::Values);
    }
    Ok(())
}

/// Fisher-Yates.
pub(crate) fn shuffle(order: &mut [u32], key: Key) {
    let mut stream = key.stream();
    for i in (1..order.len()).rev() {
        order.swap(i, stream.random_range(0..=i));
    }
}

//! A training as a file, from which it goes on to the same bits.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::{Data, Epoch, Model, Protocol, TrainError, Training};

/// The one key of the metadata.
const KEY: &str = "gainstage_training";

/// What is not a tensor.
#[derive(Serialize, Deserialize)]
struct Progress {
    version: u32,
    seed: u64,
    epochs: usize,
    steps: u64,
    protocol: Protocol,
}

const VERSION: u32 = 1;

/// Little-endian numbers of a shape.
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn single(values: &[f32], shape: Vec<usize>) -> Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { dtype: Dtype::F32, shape, bytes }
    }

    /// One row an epoch, NaN for what was not measured.
    fn history(history: &[Epoch]) -> Self {
        let numbers = history.iter().flat_map(|e| {
            let [loss, accuracy] =
                [e.validation_loss, e.validation_accuracy].map(|v| v.unwrap_or(f64::NAN));
            [e.train_loss, e.train_accuracy, loss, accuracy]
        });
        let bytes = numbers.flat_map(f64::to_le_bytes).collect();
        Self { dtype: Dtype::F64, shape: vec![history.len(), 4], bytes }
    }
}

impl View for Tensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

impl<'a> Training<'a> {
    /// Parameters, the optimiser's slots, running averages, losses and `history` in the safetensors
    /// format: `layers.0.weights` is `[input, unit]`, and so on.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] if there are more tensors than the format's header holds.
    pub fn checkpoint(&mut self, history: &[Epoch]) -> Result<Vec<u8>, TrainError> {
        _ = self.model(); // all rows up to date
        let progress = Progress {
            version: VERSION,
            seed: self.seed,
            epochs: self.epochs,
            steps: self.steps(),
            protocol: self.protocol.clone(),
        };
        let progress = serde_json::to_string(&progress).map_err(broken)?;
        let metadata = HashMap::from([(KEY.to_owned(), progress)]);
        let losses = vec![self.step_losses.len()];
        let mut tensors: Vec<(String, Tensor)> = self
            .state()
            .into_iter()
            .map(|(name, (values, shape))| (name, Tensor::single(values, shape)))
            .collect();
        tensors.push(("step_losses".to_owned(), Tensor::single(&self.step_losses, losses)));
        tensors.push(("history".to_owned(), Tensor::history(history)));
        safetensors::serialize(tensors, Some(metadata)).map_err(broken)
    }

    /// Goes on from a checkpoint, with the data and the settings that it was made with; only the end
    /// may be another (`epochs`, `max_steps`, `stop_below`). `model` gives the shape. Returns the history too.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] if the bytes are none, or of another network, seed or protocol;
    /// otherwise as [`Training::new`].
    pub fn resume(
        model: Model,
        data: Data<'a>,
        protocol: &Protocol,
        seed: u64,
        bytes: &[u8],
    ) -> Result<(Self, Vec<Epoch>), TrainError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let progress = metadata.metadata().as_ref().and_then(|m| m.get(KEY));
        let progress = progress.ok_or_else(|| broken("it holds no training"))?;
        let progress: Progress = serde_json::from_str(progress).map_err(broken)?;
        if progress.version != VERSION {
            return Err(broken(format!("version {}, this is {VERSION}", progress.version)));
        }
        let same_end = Protocol {
            epochs: protocol.epochs,
            max_steps: protocol.max_steps,
            stop_below: protocol.stop_below,
            ..progress.protocol
        };
        if progress.seed != seed || same_end != *protocol {
            return Err(broken("it was made with another seed or other settings"));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
        let read = |name: &str, dtype: Dtype| {
            let tensor = tensors.tensor(name).map_err(broken)?;
            if tensor.dtype() != dtype {
                return Err(broken(format!("{name} is {:?}, not {dtype:?}", tensor.dtype())));
            }
            Ok((tensor.data(), tensor.shape().to_vec()))
        };
        let single = |bytes: &[u8]| -> Vec<f32> {
            bytes.as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect()
        };
        let mut training = Self::new(model, data, protocol, seed)?;
        for (name, (values, shape)) in training.state_mut() {
            let (stored, stored_shape) = read(&name, Dtype::F32)?;
            if stored_shape != shape {
                return Err(broken(format!("{name} has shape {stored_shape:?}, not {shape:?}")));
            }
            values.copy_from_slice(&single(stored));
        }
        training
            .learning
            .iter_mut()
            .zip(&training.model.layers)
            .for_each(|(l, layer)| l.follow(layer));
        training.step_losses = single(read("step_losses", Dtype::F32)?.0);
        training.replay(progress.epochs, progress.steps);
        let history = read("history", Dtype::F64)?.0;
        let numbers: Vec<f64> =
            history.as_chunks().0.iter().map(|word| f64::from_le_bytes(*word)).collect();
        Ok((training, numbers.as_chunks().0.iter().map(epoch).collect()))
    }

    /// Everything that learning changes, with names and shapes.
    fn state(&self) -> Vec<(String, (&[f32], Vec<usize>))> {
        let mut all: Vec<(String, (&[f32], Vec<usize>))> = Vec::new();
        for (i, (layer, learning)) in self.model.layers.iter().zip(&self.learning).enumerate() {
            let slots = &learning.slots;
            let (matrix, row) = (vec![layer.inputs, layer.units], vec![layer.units]);
            let mut add = |name: &str, values, shape: &Vec<usize>| {
                all.push((format!("layers.{i}.{name}"), (values, shape.clone())));
            };
            add("weights", &layer.weights, &matrix);
            add("weights.first", &slots.weights[0], &matrix);
            add("weights.second", &slots.weights[1], &matrix);
            add("bias", &layer.bias, &row);
            add("bias.first", &slots.bias[0], &row);
            add("bias.second", &slots.bias[1], &row);
        }
        for (i, running) in self.model.running.iter().enumerate() {
            let shape = vec![running.mean.len()];
            all.push((format!("norms.{i}.mean"), (&running.mean, shape.clone())));
            all.push((format!("norms.{i}.variance"), (&running.variance, shape)));
        }
        all
    }

    /// The same in the same order, to be changed.
    fn state_mut(&mut self) -> Vec<(String, (&mut [f32], Vec<usize>))> {
        let names: Vec<_> = self.state().into_iter().map(|(n, (_, s))| (n, s)).collect();
        let mut values: Vec<&mut [f32]> = Vec::new();
        for (layer, learning) in self.model.layers.iter_mut().zip(&mut self.learning) {
            let slots = &mut learning.slots;
            let ([w1, w2], [b1, b2]) = (&mut slots.weights, &mut slots.bias);
            values.extend([&mut layer.weights[..], w1, w2, &mut layer.bias, b1, b2]);
        }
        for running in &mut self.model.running {
            values.extend([&mut running.mean[..], &mut running.variance]);
        }
        names.into_iter().zip(values).map(|((name, shape), v)| (name, (v, shape))).collect()
    }
}

fn broken(reason: impl std::fmt::Display) -> TrainError {
    TrainError::Checkpoint { reason: reason.to_string() }
}

fn epoch(&[train_loss, train_accuracy, loss, accuracy]: &[f64; 4]) -> Epoch {
    let measured = |x: f64| (!x.is_nan()).then_some(x);
    Epoch {
        train_loss,
        train_accuracy,
        validation_loss: measured(loss),
        validation_accuracy: measured(accuracy),
    }
}

use gainstage_simulate::{Matrix, product};

use crate::images::grey_table;
use crate::kernel;
use crate::lists::Lists;
use crate::model::{Buffers, Parameters, pull_back};
use crate::schedule::Schedule;
use crate::step::Step;
use crate::{Diverged, Images, Model, Protocol};

/// The loop's state. Between the first step of an epoch and its last, only the matrix products
/// allocate: two packing buffers each.
///
/// A row of the first layer's weights whose pixel is dark in the whole batch has a gradient of exactly
/// zero. It takes those steps later, all at once, when its pixel is next lit or the epoch ends.
pub(crate) struct Trainer<'a> {
    pub(crate) model: Model,
    pub(crate) step_losses: Vec<f32>,
    pub(crate) steps: u64,
    pub(crate) diverged: Option<Diverged>,
    pub(crate) largest_hidden_gradient: f32,
    images: &'a Images,
    protocol: &'a Protocol,
    schedule: Schedule,
    /// Per layer.
    states: Vec<State>,
    /// Steps that each row of the first layer's weights has taken.
    taken: Vec<u32>,
    all_rows: Vec<u16>,
    lists: Lists,
    grey: [f32; 256],
    buffers: Buffers,
    /// dL/dz of a layer and room for dL/dh of the layer below.
    delta: Vec<f32>,
    below: Vec<f32>,
    gradient: Vec<f32>,
    zeros: Vec<f32>,
}

/// Both slots of the optimiser for a layer's weights and biases.
struct State {
    weights: [Vec<f32>; 2],
    bias: [Vec<f32>; 2],
}

impl State {
    fn new(layer: &Parameters) -> Self {
        let slots = |parameters: &[f32]| [vec![0.0; parameters.len()], vec![0.0; parameters.len()]];
        Self { weights: slots(&layer.weights), bias: slots(&layer.bias) }
    }
}

impl<'a> Trainer<'a> {
    pub(crate) fn new(model: Model, images: &'a Images, protocol: &'a Protocol) -> Self {
        let batch = protocol.batch.min(images.len());
        let widest = model.layers.iter().map(|l| l.units).max().unwrap_or(0);
        let largest = model.layers.iter().skip(1).map(|l| l.weights.len()).max().unwrap_or(0);
        Self {
            step_losses: Vec::new(),
            steps: 0,
            diverged: None,
            largest_hidden_gradient: 0.0,
            images,
            protocol,
            schedule: Schedule::new(protocol.optimizer),
            states: model.layers.iter().map(State::new).collect(),
            taken: vec![0; images.width()],
            all_rows: (0..=u16::MAX).take(images.width()).collect(),
            lists: Lists::new(images, batch),
            grey: grey_table(protocol.scale),
            buffers: Buffers::new(&model, batch),
            delta: vec![0.0; batch * widest],
            below: vec![0.0; batch * widest],
            gradient: vec![0.0; largest.max(widest)],
            zeros: vec![0.0; widest],
            model,
        }
    }

    pub(crate) fn finished(&self) -> bool {
        self.diverged.is_some() || self.protocol.max_steps.is_some_and(|most| self.steps >= most)
    }

    /// Takes an epoch's steps, unless training ends within it; mean loss and accuracy over them.
    pub(crate) fn epoch(&mut self, order: &[u32], epoch: usize) -> (f64, f64) {
        let steps = order.len().div_ceil(self.protocol.batch);
        self.step_losses.reserve(steps);
        self.schedule.reserve(steps);
        let (mut loss, mut right, mut seen) = (0.0, 0usize, 0usize);
        let batches = order.chunks(self.protocol.batch);
        let following = batches.clone().skip(1).chain(std::iter::once(&[][..]));
        for (batch, next) in batches.zip(following) {
            kernel::prefetch(self.images, next);
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
        let (layer, state) = (&mut self.model.layers[0], &mut self.states[0]);
        catch_up(&self.all_rows, &mut self.taken, &self.schedule, layer, state);
        (loss / seen as f64, right as f64 / seen as f64)
    }

    /// One step: forward, loss, backward, update. Returns the batch's summed loss and hits.
    fn step(&mut self, batch: &[u32]) -> (f64, usize) {
        self.lists.fill(self.images, batch);
        let (layer, state) = (&mut self.model.layers[0], &mut self.states[0]);
        catch_up(self.lists.lit(), &mut self.taken, &self.schedule, layer, state);
        self.model.forward(self.images, batch, &self.grey, &mut self.buffers);

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

        self.steps += 1;
        self.step_losses.push((loss / batch.len() as f64) as f32);
        let step = self.schedule.advance();
        for index in (0..self.model.layers.len()).rev() {
            self.backward(index, batch.len(), step);
        }
        (loss, right)
    }

    /// Error signal, gradient and update of one layer; leaves dL/dh of the layer below in `delta`.
    fn backward(&mut self, index: usize, batch: usize, step: Step) {
        let last = index + 1 == self.model.layers.len();
        let layer = &mut self.model.layers[index];
        let State { weights: [weights_m, weights_v], bias: [bias_m, bias_v] } =
            &mut self.states[index];
        let delta = &mut self.delta[..batch * layer.units];
        pull_back(&layer.activation, &self.buffers.layers[index].z[..delta.len()], delta);
        if self.protocol.watch_gradients && !last {
            self.largest_hidden_gradient = largest(self.largest_hidden_gradient, delta);
        }
        if index == 0 {
            kernel::update_lit(
                &self.lists,
                &self.grey,
                delta,
                step,
                &self.zeros[..layer.units],
                &mut self.gradient[..layer.units],
                &mut layer.weights,
                weights_m,
                weights_v,
            );
            for &pixel in self.lists.lit() {
                self.taken[usize::from(pixel)] = self.schedule.steps();
            }
        } else {
            let delta = Matrix::new(delta, batch, layer.units);
            let h = &self.buffers.layers[index - 1].h[..batch * layer.inputs];
            let gradient = &mut self.gradient[..layer.weights.len()];
            product(gradient, Matrix::new(h, batch, layer.inputs).transposed(), delta);
            if self.protocol.watch_gradients {
                self.largest_hidden_gradient = largest(self.largest_hidden_gradient, gradient);
            }
            let weights = Matrix::new(&layer.weights, layer.inputs, layer.units);
            product(&mut self.below[..batch * layer.inputs], delta, weights.transposed());
            kernel::update(step, &mut layer.weights, weights_m, weights_v, gradient);
        }
        let gradient = &mut self.gradient[..layer.units];
        gradient.fill(0.0);
        for row in delta.chunks_exact(layer.units) {
            gradient.iter_mut().zip(row).for_each(|(g, d)| *g += d);
        }
        kernel::update(step, &mut layer.bias, bias_m, bias_v, gradient);
        std::mem::swap(&mut self.delta, &mut self.below);
    }
}

/// Lets rows of the first layer's weights take the steps in which their gradients were zero.
fn catch_up(
    rows: &[u16],
    taken: &mut [u32],
    schedule: &Schedule,
    layer: &mut Parameters,
    state: &mut State,
) {
    let [m, v] = &mut state.weights;
    kernel::catch_up(rows, taken, schedule, layer.units, &mut layer.weights, m, v);
}

fn largest(so_far: f32, values: &[f32]) -> f32 {
    values.iter().fold(so_far, |a, v| if v.abs() > a || v.is_nan() { v.abs() } else { a })
}

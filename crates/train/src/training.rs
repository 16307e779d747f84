use gainstage_init::{Key, Purpose};
use gainstage_simulate::{Matrix, product};

use crate::fit::{check_fit, shuffle};
use crate::images::Images;
use crate::kernel;
use crate::lists::Lists;
use crate::norm::{normalize_batch_back, normalize_units_back};
use crate::program::Op;
use crate::schedule::Schedule;
use crate::step::Step;
use crate::tape::{self, Mode, Tape, pull_back};
use crate::update::{Gradients, Slots};
use crate::watch::{LayerTrace, Watch};
use crate::{Data, Diverged, Model, Protocol, TrainError};

/// A training under way, step by step or epoch by epoch.
///
/// Between the first step of an epoch and its last, only the matrix products allocate: two packing
/// buffers each.
///
/// A row of the first layer's weights whose pixel is dark in the whole batch has a gradient of exactly
/// zero. It takes those steps later, all at once, when its pixel is next lit or the epoch ends.
///
/// ```
/// use gainstage_spec::{Activation, Initializer, Network};
/// use gainstage_train::{Images, Loss, Model, Protocol, Training};
///
/// let images = Images::new(&[255, 0, 250, 10, 0, 255, 5, 240], 2, &[0, 0, 1, 1], 2)?;
/// let network = Network::perceptron(&[2, 8, 2], &Initializer::he_normal(), &Activation::Relu)?;
/// let model = Model::new(&network, Loss::CrossEntropy, 1)?;
/// let mut training = Training::new(model, (&images).into(), &Protocol::notebook(), 1)?;
/// let (before, _) = training.step(&[0, 2]);
/// (0..200).for_each(|_| _ = training.step(&[0, 2]));
/// let (after, hits) = training.step(&[0, 2]);
/// assert!(after < before / 2.0 && hits == 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Training<'a> {
    pub(crate) model: Model,
    pub(crate) protocol: Protocol,
    pub(crate) seed: u64,
    pub(crate) step_losses: Vec<f32>,
    pub(crate) epochs: usize,
    pub(crate) diverged: Option<Diverged>,
    pub(crate) largest_hidden_gradient: f32,
    pub(crate) schedule: Schedule,
    /// The optimiser's, per dense layer.
    pub(crate) slots: Vec<Slots>,
    data: Data<'a>,
    order: Vec<u32>,
    sparse: Option<Sparse<'a>>,
    grey: [f32; 256],
    tape: Tape,
    /// Gradient by the value at hand, and room for the one below.
    delta: Vec<f32>,
    below: Vec<f32>,
    /// Per operation, the gradient that a join sends around its branch.
    around: Vec<Vec<f32>>,
    gradients: Gradients,
    watch: Watch,
}

/// A first layer that reads lit pixels.
struct Sparse<'a> {
    images: &'a Images,
    lists: Lists,
    /// Steps that each row of the weights has taken.
    taken: Vec<u32>,
    all_rows: Vec<u16>,
}

impl std::fmt::Debug for Training<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Training")
            .field("protocol", &self.protocol)
            .field("seed", &self.seed)
            .field("epochs", &self.epochs)
            .field("steps", &self.steps())
            .finish_non_exhaustive()
    }
}

impl<'a> Training<'a> {
    /// Begins; `seed` is the root of data order and dropout.
    ///
    /// # Errors
    /// [`TrainError`] for data and settings that do not fit the model.
    pub fn new(
        mut model: Model,
        data: Data<'a>,
        protocol: &Protocol,
        seed: u64,
    ) -> Result<Self, TrainError> {
        protocol.check()?;
        check_fit(&model, data, protocol)?;
        model.loss = protocol.loss;
        let batch = protocol.batch.min(data.len());
        let widest = model.program.widths[1..].iter().copied().max().unwrap_or(0);
        let sparse = model.sparse(data).map(|images| Sparse {
            images,
            lists: Lists::new(images, batch),
            taken: vec![0; images.width()],
            all_rows: (0..=u16::MAX).take(images.width()).collect(),
        });
        let ops = model.program.ops.iter().zip(&model.program.widths[1..]);
        let around = ops.map(|(op, width)| match op {
            Op::Join { .. } => vec![0.0; batch * width],
            _ => Vec::new(),
        });
        let widest_input = widest.max(model.program.widths[0]);
        Ok(Self {
            step_losses: Vec::new(),
            epochs: 0,
            diverged: None,
            largest_hidden_gradient: 0.0,
            schedule: Schedule::new(protocol.optimizer, protocol.schedule),
            slots: model.layers.iter().map(Slots::new).collect(),
            order: (0..data.len() as u32).collect(),
            tape: Tape::new(&model, batch, sparse.is_some()),
            grey: Data::grey(protocol.scale),
            delta: vec![0.0; batch * widest_input],
            below: vec![0.0; batch * widest_input],
            around: around.collect(),
            gradients: Gradients::new(&model, protocol, sparse.is_some()),
            watch: Watch::default(),
            protocol: protocol.clone(),
            seed,
            sparse,
            data,
            model,
        })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        u64::from(self.schedule.steps())
    }

    /// Epochs begun.
    pub fn epochs(&self) -> usize {
        self.epochs
    }

    /// Loss of every step, averaged over its batch.
    pub fn step_losses(&self) -> &[f32] {
        &self.step_losses
    }

    /// Where the loss stopped being a number, if it did.
    pub fn diverged(&self) -> Option<Diverged> {
        self.diverged
    }

    /// The model after the steps taken.
    pub fn model(&mut self) -> &Model {
        self.catch_up_all();
        &self.model
    }

    /// What the last step of the last epoch saw in every dense layer; empty unless
    /// [`Protocol::watch_layers`].
    pub fn layers(&self) -> &[LayerTrace] {
        &self.watch.layers
    }

    /// Whether the loss diverged or the steps are used up.
    pub fn finished(&self) -> bool {
        self.diverged.is_some() || self.protocol.max_steps.is_some_and(|most| self.steps() >= most)
    }

    /// Shuffles the samples and takes an epoch's steps, unless training ends within it; mean loss and
    /// accuracy over them.
    pub fn epoch(&mut self) -> (f64, f64) {
        let mut order = std::mem::take(&mut self.order);
        shuffle(&mut order, Key::new(self.seed, Purpose::DataOrder, 0, self.epochs as u32));
        self.epochs += 1;
        let steps = order.len().div_ceil(self.protocol.batch);
        self.step_losses.reserve(steps);
        self.schedule.reserve(steps);
        let (mut loss, mut right, mut seen) = (0.0, 0usize, 0usize);
        let batches = order.chunks(self.protocol.batch);
        let following = batches.clone().skip(1).chain(std::iter::once(&[][..]));
        for (index, (batch, next)) in batches.zip(following).enumerate() {
            self.watch.looks = self.protocol.watch_layers && index + 1 == steps;
            let (batch_loss, batch_right) = self.prefetched_step(batch, next);
            loss += batch_loss;
            right += batch_right;
            seen += batch.len();
            if self.finished() {
                break;
            }
        }
        self.watch.looks = false;
        self.order = order;
        self.catch_up_all();
        let accuracy = if self.data.has_values() { f64::NAN } else { right as f64 / seen as f64 };
        (loss / seen as f64, accuracy)
    }

    /// One step on these samples; the batch's mean loss and its hits.
    ///
    /// # Panics
    /// If there are more samples than a batch has, or none, or one that the data do not have.
    pub fn step(&mut self, batch: &[u32]) -> (f64, usize) {
        assert!(!batch.is_empty(), "a step without samples");
        let (loss, right) = self.prefetched_step(batch, &[]);
        (loss / batch.len() as f64, right)
    }

    /// The order of the data after `epochs` epochs, for a training that goes on.
    pub(crate) fn replay(&mut self, epochs: usize, steps: u64) {
        for epoch in 0..epochs as u32 {
            shuffle(&mut self.order, Key::new(self.seed, Purpose::DataOrder, 0, epoch));
        }
        self.epochs = epochs;
        (0..steps).for_each(|_| _ = self.schedule.advance());
        if let Some(sparse) = &mut self.sparse {
            sparse.taken.fill(steps as u32);
        }
    }

    /// Forward, loss, backward, update. Returns the batch's summed loss and hits.
    fn prefetched_step(&mut self, batch: &[u32], next: &[u32]) -> (f64, usize) {
        let (n, outputs) = (batch.len(), self.model.outputs());
        let lists = if let Some(sparse) = &mut self.sparse {
            kernel::prefetch(sparse.images, next);
            sparse.lists.fill(sparse.images, batch);
            let (layer, slots) = (&mut self.model.layers[0], &mut self.slots[0]);
            slots.catch_up(sparse.lists.lit(), &mut sparse.taken, &self.schedule, layer);
            Some(tape::Lists { images: sparse.images, batch, grey: &self.grey })
        } else {
            self.data.copy(batch, &self.grey, &mut self.tape.input);
            None
        };
        let mode = Mode::Train { seed: self.seed, step: self.steps() };
        self.model.forward(lists, n, &mut self.tape, mode);

        let (mut loss, mut right) = (0.0, 0);
        self.delta[..n * outputs].copy_from_slice(self.tape.output(n * outputs));
        for (row, &sample) in self.delta.chunks_exact_mut(outputs).zip(batch) {
            let target = self.data.target(sample);
            let (one, hit) = self.protocol.loss.derive(row, target, 1.0 / n as f32);
            loss += one;
            right += usize::from(hit);
        }

        let step = self.schedule.advance();
        self.step_losses.push((loss / n as f64) as f32);
        if !loss.is_finite() {
            self.diverged = Some(Diverged { epoch: self.epochs.max(1), step: self.steps() });
        }
        if self.watch.looks {
            self.watch.forward(&self.model, &self.tape, n);
        }
        for index in (0..self.model.program.ops.len()).rev() {
            self.backward(index, n, step);
        }
        if self.gradients.wait(self.watch.looks) {
            self.gradients.clip(self.protocol.clip);
            self.update_all(step);
        }
        if let Some(sparse) = &mut self.sparse {
            for &pixel in sparse.lists.lit() {
                sparse.taken[usize::from(pixel)] = self.schedule.steps();
            }
        }
        self.model.follow(&self.tape);
        (loss, right)
    }

    /// One operation: turns the gradient by its output, in `delta`, into that by its input; a dense
    /// layer's parameters are updated on the way, unless they wait for the other gradients.
    fn backward(&mut self, index: usize, n: usize, step: Step) {
        let program = &self.model.program;
        let (width, slot) = (program.widths[index + 1], &self.tape.slots[index]);
        let delta = &mut self.delta[..n * width];
        match &program.ops[index] {
            Op::Dense { layer } => {
                let layer = *layer;
                self.backward_dense(index, layer, n, step);
            }
            Op::Activation { phi } => {
                pull_back(phi, self.tape.value(index, n, &program.widths), delta);
            }
            Op::Dropout { .. } => delta.iter_mut().zip(&slot.mask).for_each(|(d, m)| *d *= m),
            Op::Norm { centre, .. } => {
                normalize_units_back(delta, &slot.h, &slot.factors, width, *centre);
            }
            Op::BatchNorm { epsilon, .. } => {
                normalize_batch_back(delta, &slot.h[..n * width], &slot.statistics, *epsilon);
            }
            Op::Join { scale, .. } => {
                self.around[index][..delta.len()].copy_from_slice(delta);
                delta.iter_mut().for_each(|d| *d *= *scale as f32);
            }
        }
        for &join in &self.model.program.joins[index] {
            let around = &self.around[join];
            self.delta.iter_mut().zip(around).for_each(|(d, a)| *d += a);
        }
    }

    fn backward_dense(&mut self, index: usize, number: usize, n: usize, step: Step) {
        let last = number + 1 == self.model.layers.len();
        let layer = &mut self.model.layers[number];
        let slots = &mut self.slots[number];
        let delta = &mut self.delta[..n * layer.units];
        pull_back(&layer.activation, &self.tape.slots[index].z[..delta.len()], delta);
        if self.protocol.watch_gradients && !last {
            self.largest_hidden_gradient = largest(self.largest_hidden_gradient, delta);
        }
        if self.watch.looks {
            self.watch.backward(number, delta, n);
        }
        let waits = self.gradients.wait(self.watch.looks);
        let lit = if index == 0 { self.sparse.as_ref() } else { None };
        let gradient = self.gradients.of(number, layer, lit.map(|s| s.lists.lit().len()));
        match lit {
            Some(sparse) if waits => {
                kernel::gradient_lit(
                    &sparse.lists,
                    &self.grey,
                    delta,
                    gradient.zeros,
                    gradient.weights,
                );
            }
            Some(sparse) => {
                let ([m, v], w) = (&mut slots.weights, &mut layer.weights);
                let (lists, row) = (&sparse.lists, &mut *gradient.bias);
                kernel::update_lit(lists, &self.grey, delta, step, gradient.zeros, row, w, m, v);
            }
            None => {
                let delta = Matrix::new(delta, n, layer.units);
                let h = self.tape.value(index, n, &self.model.program.widths);
                product(gradient.weights, Matrix::new(h, n, layer.inputs).transposed(), delta);
                if self.protocol.watch_gradients && index > 0 {
                    self.largest_hidden_gradient =
                        largest(self.largest_hidden_gradient, gradient.weights);
                }
                if index > 0 {
                    let weights = Matrix::new(&layer.weights, layer.inputs, layer.units);
                    product(&mut self.below[..n * layer.inputs], delta, weights.transposed());
                }
                if !waits {
                    let [m, v] = &mut slots.weights;
                    kernel::update(step, &mut layer.weights, m, v, gradient.weights);
                }
            }
        }
        gradient.bias.fill(0.0);
        for row in delta.chunks_exact(layer.units) {
            gradient.bias.iter_mut().zip(row).for_each(|(g, d)| *g += d);
        }
        if !waits {
            let [m, v] = &mut slots.bias;
            kernel::update(step, &mut layer.bias, m, v, gradient.bias);
        }
        std::mem::swap(&mut self.delta, &mut self.below);
    }

    /// Updates that waited until all gradients were known.
    fn update_all(&mut self, step: Step) {
        for (number, layer) in self.model.layers.iter_mut().enumerate() {
            let lit = match &self.sparse {
                Some(sparse) if number == 0 => Some(sparse.lists.lit()),
                _ => None,
            };
            self.watch.before(layer);
            self.gradients.update(number, step, layer, &mut self.slots[number], lit);
            self.watch.after(number, layer, self.gradients.norm(number));
        }
    }

    /// Lets all rows of the first layer's weights take the steps in which their gradients were zero.
    fn catch_up_all(&mut self) {
        if let Some(sparse) = &mut self.sparse {
            let (layer, slots) = (&mut self.model.layers[0], &mut self.slots[0]);
            slots.catch_up(&sparse.all_rows, &mut sparse.taken, &self.schedule, layer);
        }
    }
}

fn largest(so_far: f32, values: &[f32]) -> f32 {
    values.iter().fold(so_far, |a, v| if v.abs() > a || v.is_nan() { v.abs() } else { a })
}

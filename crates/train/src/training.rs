use gainstage_init::{Key, Purpose};
use rayon::prelude::*;

use crate::block::{Block, Pass, samples_of_block};
use crate::fit::{check_fit, shuffle};
use crate::images::Images;
use crate::lines::Lines;
use crate::lists::Lists;
use crate::program::Op;
use crate::schedule::Schedule;
use crate::step::Step;
use crate::tape::Mode;
use crate::update::{Learning, Seen, SeenLit, clip, waits};
use crate::watch::{LayerTrace, Watch};
use crate::{Data, Diverged, Model, Protocol, TrainError};

/// A training under way, step by step or epoch by epoch.
///
/// Nothing is allocated between the first step of an epoch and its last. A deep network's batch is
/// divided among the threads of rayon's pool, unless the training itself runs on one of them, beside
/// others; the results are the same bits either way.
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
    /// Per dense layer.
    pub(crate) learning: Vec<Learning>,
    /// The operation of each dense layer.
    operations: Vec<usize>,
    data: Data<'a>,
    order: Vec<u32>,
    sparse: Option<Sparse<'a>>,
    grey: [f32; 256],
    blocks: Vec<Block>,
    samples_of_block: usize,
    /// Whether a step is long enough to be divided among threads.
    pub(crate) divides: bool,
    watch: Watch,
}

/// Multiplications of one product over all layers from which on a step takes much longer than waking a
/// thread: a tenth of a millisecond on one core.
const WORTH_DIVIDING: usize = 1 << 21;

/// A first layer that reads lit pixels.
struct Sparse<'a> {
    images: &'a Images,
    lists: Lists,
    /// Steps that each row of the weights has taken.
    taken: Vec<u32>,
    all_rows: Vec<u16>,
    /// The error signals of all blocks, if there are several.
    errors: Lines,
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
        let samples = samples_of_block(&model.program, protocol, batch);
        let blocks = batch.div_ceil(samples);
        let ops = model.program.ops.iter().enumerate();
        let operations: Vec<usize> =
            ops.filter(|(_, op)| matches!(op, Op::Dense { .. })).map(|(index, _)| index).collect();
        let sparse = model.sparse(data).map(|images| Sparse {
            images,
            lists: Lists::new(images, batch),
            taken: vec![0; images.width()],
            all_rows: (0..=u16::MAX).take(images.width()).collect(),
            errors: Lines::zeros(if blocks > 1 { batch * model.layers[0].units } else { 0 }),
        });
        let learning =
            model.layers.iter().zip(&operations).map(|(layer, index)| {
                Learning::new(layer, protocol, *index == 0, sparse.is_some())
            });
        let dense = &model.layers[usize::from(sparse.is_some())..];
        let products: usize = dense.iter().map(|l| l.weights.len() * batch).sum();
        Ok(Self {
            step_losses: Vec::new(),
            epochs: 0,
            diverged: None,
            largest_hidden_gradient: 0.0,
            schedule: Schedule::new(protocol.optimizer, protocol.schedule),
            learning: learning.collect(),
            operations,
            order: (0..data.len() as u32).collect(),
            blocks: (0..blocks).map(|_| Block::new(&model, samples, sparse.is_some())).collect(),
            samples_of_block: samples,
            divides: blocks > 1 && products >= WORTH_DIVIDING,
            grey: Data::grey(protocol.scale),
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
        let outside = rayon::current_thread_index().is_none();
        if self.divides && outside && rayon::current_num_threads() > 1 {
            rayon::scope(|_| self.epoch_here(true))
        } else {
            self.epoch_here(false)
        }
    }

    fn epoch_here(&mut self, divided: bool) -> (f64, f64) {
        let mut order = std::mem::take(&mut self.order);
        shuffle(&mut order, Key::new(self.seed, Purpose::DataOrder, 0, self.epochs as u32));
        self.epochs += 1;
        let steps = order.len().div_ceil(self.protocol.batch);
        self.step_losses.reserve(steps);
        self.schedule.reserve(steps);
        let (mut loss, mut right, mut seen) = (0.0, 0usize, 0usize);
        for (index, batch) in order.chunks(self.protocol.batch).enumerate() {
            self.watch.looks = self.protocol.watch_layers && index + 1 == steps;
            let (batch_loss, batch_right) = self.step_of(batch, divided);
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
        let (loss, right) = self.step_of(batch, false);
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
    fn step_of(&mut self, batch: &[u32], divided: bool) -> (f64, usize) {
        if let Some(sparse) = &mut self.sparse {
            sparse.lists.fill(sparse.images, batch);
            let (lit, layer) = (sparse.lists.lit(), &mut self.model.layers[0]);
            self.learning[0].catch_up(lit, &mut sparse.taken, &self.schedule, layer);
        }
        self.pass(batch, divided);
        let loss: f64 = self.blocks.iter().map(|b| b.loss).sum();
        let right = self.blocks.iter().map(|b| b.right).sum();

        let step = self.schedule.advance();
        self.step_losses.push((loss / batch.len() as f64) as f32);
        if !loss.is_finite() {
            self.diverged = Some(Diverged { epoch: self.epochs.max(1), step: self.steps() });
        }
        self.learn(step, divided);
        if let Some(sparse) = &mut self.sparse {
            for &pixel in sparse.lists.lit() {
                sparse.taken[usize::from(pixel)] = self.schedule.steps();
            }
        }
        self.model.follow(&self.blocks[0].tape);
        (loss, right)
    }

    /// The signals, forward and back.
    fn pass(&mut self, batch: &[u32], divided: bool) {
        let pass = Pass {
            model: &self.model,
            learning: &self.learning,
            protocol: &self.protocol,
            data: self.data,
            sparse: self.sparse.as_ref().map(|s| s.images),
            grey: &self.grey,
            mode: Mode::Train { seed: self.seed, step: u64::from(self.schedule.steps()) },
            batch: batch.len(),
        };
        let used = batch.len().div_ceil(self.samples_of_block);
        let (blocks, unused) = self.blocks.split_at_mut(used);
        unused.iter_mut().for_each(Block::clear);
        if self.watch.looks {
            blocks[0].forward(pass, batch);
            self.watch.forward(pass.model, &blocks[0].tape, batch.len());
            blocks[0].backward(pass);
            self.watch.backward(pass.model, &blocks[0], &self.operations);
        } else {
            let both = |(block, samples): (&mut Block, &[u32])| {
                block.forward(pass, samples);
                block.backward(pass);
            };
            if divided {
                let samples = batch.par_chunks(self.samples_of_block);
                blocks.par_iter_mut().zip(samples).with_max_len(1).for_each(both);
            } else {
                blocks.iter_mut().zip(batch.chunks(self.samples_of_block)).for_each(both);
            }
        }
        if self.protocol.watch_gradients {
            let all = blocks.iter().map(|b| b.largest);
            self.largest_hidden_gradient = all.fold(self.largest_hidden_gradient, greater);
        }
    }

    /// The parameters, by the error signals that the blocks hold.
    fn learn(&mut self, step: Step, divided: bool) {
        let lit = self.sparse.as_mut().map(|Sparse { lists, errors, .. }| {
            let units = self.model.layers[0].units;
            let errors = if let [only] = &self.blocks[..] {
                only.errors(0, units)
            } else {
                let mut place = 0;
                for block in &self.blocks {
                    let from = block.errors(0, units);
                    errors[place..place + from.len()].copy_from_slice(from);
                    place += from.len();
                }
                &errors[..place]
            };
            SeenLit { lists, grey: &self.grey, errors }
        });
        let (blocks, widths) = (&self.blocks, &self.model.program.widths);
        let seen = |index: usize| Seen {
            blocks,
            index,
            widths,
            lit: lit.filter(|_| index == 0),
            watched: self.protocol.watch_gradients && index > 0,
        };
        let greatest = if waits(&self.protocol, self.watch.looks) {
            let layers = self.model.layers.iter().zip(&mut self.learning).zip(&self.operations);
            let gradients = layers.map(|((layer, l), index)| l.find_gradient(layer, seen(*index)));
            let greatest = gradients.fold(0.0, greater);
            clip(&mut self.learning, self.protocol.clip);
            for (number, layer) in self.model.layers.iter_mut().enumerate() {
                let learning = &mut self.learning[number];
                let lit = lit.filter(|_| self.operations[number] == 0).map(|l| l.lists.lit());
                self.watch.before(layer);
                learning.update(layer, lit, step);
                self.watch.after(number, layer, learning.norm());
            }
            greatest
        } else if divided {
            let layers = self.model.layers.par_iter_mut().zip(&mut self.learning);
            let layers = layers.zip(&self.operations).with_max_len(1);
            layers
                .map(|((layer, l), &index)| l.learn(layer, seen(index), step))
                .reduce(|| 0.0, greater)
        } else {
            let layers = self.model.layers.iter_mut().zip(&mut self.learning).zip(&self.operations);
            layers.map(|((layer, l), &index)| l.learn(layer, seen(index), step)).fold(0.0, greater)
        };
        if self.protocol.watch_gradients {
            self.largest_hidden_gradient = greater(self.largest_hidden_gradient, greatest);
        }
    }

    /// Lets all rows of the first layer's weights take the steps in which their gradients were zero.
    fn catch_up_all(&mut self) {
        if let Some(sparse) = &mut self.sparse {
            let (rows, layer) = (&sparse.all_rows, &mut self.model.layers[0]);
            self.learning[0].catch_up(rows, &mut sparse.taken, &self.schedule, layer);
        }
    }
}

/// The greater of two magnitudes; NaN counts as greater than all.
fn greater(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

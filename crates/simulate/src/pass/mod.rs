//! One weight draw: forward, backward, and what is noted on the way.

mod dense;
mod divided;
mod incoming;
mod noted;
mod segments;
mod slopes;

use gainstage_init::{Key, Purpose};
use gainstage_spec::{Activation, Dense, Initializer, Law, Layer, Network, WeightShape};
use gainstage_stats::Moments;

use crate::given::GivenLayer;
use crate::inputs;
use crate::kernel::{self, NormAxis};
use crate::method::keeps_weights;
use crate::trace::{Breakdown, Draw, Energy, LayerDraw};
use crate::{Real, Setup, SimulateError};
use divided::mean_squares;
use incoming::Incoming;
use slopes::Slopes;

/// What f32 and f64 do differently.
pub(crate) trait Compute: Real {
    fn fill(
        initializer: &Initializer,
        shape: &WeightShape,
        key: Key,
        out: &mut [Self],
    ) -> Result<(), String>;
    /// Draws number `offset` and following of independent weights.
    fn fill_block(law: &Law, key: Key, offset: u64, out: &mut [Self]) -> Result<(), String>;
    fn fill_bias(
        initializer: &Initializer,
        shape: &WeightShape,
        key: Key,
        out: &mut [Self],
    ) -> Result<(), String>;
    fn moments(values: &[Self]) -> Moments;
}

/// A draw in progress: the network, the trial, and the traces by dense layer.
struct Pass<'a, T> {
    setup: &'a Setup,
    trial: u32,
    batch: usize,
    shapes: &'a [WeightShape],
    /// Weights that exist and are not drawn.
    given: Option<&'a [GivenLayer]>,
    keep_weights: bool,
    stage: Stage,
    traces: Vec<Option<LayerDraw>>,
    breakdowns: [Option<Breakdown>; 2],
    next_dense: usize,
    next_dropout: u32,
    /// Memory of a layer's weights, of a signal and of a product, for the layer that needs it next.
    weights: Vec<T>,
    spare: Vec<T>,
    products: Vec<T>,
}

/// What a forward pass through some layers is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Notes what it sees, and keeps what the backward pass needs.
    Once,
    /// Only notes: these layers will be passed again.
    Ahead,
    /// Only keeps: they have been seen.
    Again,
}

/// What the backward pass needs of a layer.
enum Saved<'a, T> {
    Dense {
        index: usize,
        dense: &'a Dense,
        slopes: Slopes<T>,
        incoming: Incoming<T>,
        weights: Option<Vec<T>>,
    },
    Activation {
        function: &'a Activation,
        slopes: Slopes<T>,
    },
    Dropout {
        factors: Vec<T>,
    },
    Norm {
        axis: NormAxis,
        normalized: Vec<T>,
        factors: Vec<f64>,
        width: usize,
    },
    Residual {
        scale: f64,
        branch: Vec<Saved<'a, T>>,
    },
}

/// Called with the layer's index, z, phi(z) and, on the way back, delta.
pub(crate) trait Observer<T> {
    fn forward(&mut self, layer: usize, z: &[T], h: &[T]);
    fn backward(&mut self, layer: usize, delta: &[T]);
    /// Whether it looks at anything.
    fn reads(&self) -> bool {
        true
    }
}

impl<T> Observer<T> for () {
    fn forward(&mut self, _: usize, _: &[T], _: &[T]) {}
    fn backward(&mut self, _: usize, _: &[T]) {}
    fn reads(&self) -> bool {
        false
    }
}

/// Draws weights and inputs for one trial, runs forward and backward, and notes every layer.
pub(crate) fn draw<T: Compute>(
    network: &Network,
    shapes: &[WeightShape],
    setup: &Setup,
    trial: u32,
    observer: &mut impl Observer<T>,
) -> Result<Draw, SimulateError> {
    Ok(draw_with(network, shapes, setup, trial, None, observer)?.0)
}

/// As [`draw`] with given error signals, `batch x output`; returns dL/dx too, `batch x input`.
pub(crate) fn draw_with<T: Compute>(
    network: &Network,
    shapes: &[WeightShape],
    setup: &Setup,
    trial: u32,
    error: Option<Vec<T>>,
    observer: &mut impl Observer<T>,
) -> Result<(Draw, Vec<T>), SimulateError> {
    let injected = |output: &[T]| match error {
        Some(error) => Ok(error),
        None => inputs::error_signals(setup, trial, output.len() / setup.batch),
    };
    pass(network, shapes, setup, trial, None, injected, observer)
}

/// Forward, the error signal that `error` makes of the output, and backward, through drawn or given weights.
pub(crate) fn pass<T: Compute>(
    network: &Network,
    shapes: &[WeightShape],
    setup: &Setup,
    trial: u32,
    given: Option<&[GivenLayer]>,
    error: impl FnOnce(&[T]) -> Result<Vec<T>, SimulateError>,
    observer: &mut impl Observer<T>,
) -> Result<(Draw, Vec<T>), SimulateError> {
    let weights: usize = shapes.iter().map(WeightShape::elements).sum();
    let segments = segments::plan::<T>(network, setup)?;
    let whole = segments.len() == 1;
    let mut pass = Pass {
        setup,
        trial,
        batch: setup.batch,
        shapes,
        given,
        keep_weights: whole && keeps_weights(weights, setup.precision),
        stage: Stage::Once,
        traces: vec![None; shapes.len()],
        breakdowns: [None; 2],
        next_dense: 0,
        next_dropout: 0,
        weights: Vec::new(),
        spare: Vec::new(),
        products: Vec::new(),
    };
    let mut h = inputs::rows(setup, trial, network.input)?;
    setup.precision.round(&mut h);
    let gradient = pass.run(network, &segments, h, error, observer)?;
    let input_gradient = Energy::of(&mean_squares(&gradient, pass.batch));
    // Every dense layer is visited once in each direction.
    let layers = pass.traces.into_iter().flatten().collect();
    let breakdowns = pass.breakdowns.into_iter().flatten().collect();
    Ok((Draw { layers, breakdowns, input_gradient }, gradient))
}

impl<T: Compute> Pass<'_, T> {
    fn key(&self, purpose: Purpose, layer: u32) -> Key {
        Key::new(self.setup.seed, purpose, self.trial, layer)
    }

    /// Returns the layers' output and, except ahead, what their backward pass needs.
    fn forward<'n>(
        &mut self,
        layers: &'n [Layer],
        mut h: Vec<T>,
        observer: &mut impl Observer<T>,
    ) -> Result<(Vec<T>, Vec<Saved<'n, T>>), SimulateError> {
        let mut saved = Vec::with_capacity(layers.len());
        for layer in layers {
            let width = h.len() / self.batch;
            let save = match layer {
                Layer::Dense(dense) => self.dense_forward(dense, &mut h, observer)?,
                Layer::Activation { function } => {
                    let z = h.clone();
                    divided::activate(function, &z, &mut h);
                    Saved::Activation { function, slopes: Slopes::of(function, z, &mut self.spare) }
                }
                Layer::Dropout { keep } => {
                    let key = self.key(Purpose::Dropout, self.next_dropout);
                    self.next_dropout += 1;
                    let factors = inputs::dropout_factors(key, *keep, h.len())?;
                    h.iter_mut().zip(&factors).for_each(|(h, &f)| *h = h.times(f));
                    Saved::Dropout { factors }
                }
                Layer::BatchNorm { epsilon } => normalize(&mut h, width, NormAxis::Batch, *epsilon),
                Layer::LayerNorm { epsilon } => normalize(&mut h, width, NormAxis::Units, *epsilon),
                Layer::RmsNorm { epsilon } => {
                    normalize(&mut h, width, NormAxis::UnitsUncentred, *epsilon)
                }
                Layer::Residual { scale, branch } => {
                    let (end, branch) = self.forward(branch, h.clone(), observer)?;
                    let factor = T::from_f64(*scale);
                    h.iter_mut().zip(&end).for_each(|(h, &b)| *h = h.plus(factor.times(b)));
                    Saved::Residual { scale: *scale, branch }
                }
                other => return Err(SimulateError::UnknownLayer(format!("{other:?}"))),
            };
            if self.stage != Stage::Ahead {
                saved.push(save);
            }
            self.setup.precision.round(&mut h);
        }
        Ok((h, saved))
    }

    /// Takes dL/d(output) back through the layers; returns dL/d(their input).
    ///
    /// The last dense layer of the network receives the injected signal at its pre-activation, so
    /// that its error signal has second moment exactly 1 whatever its activation.
    fn backward(
        &mut self,
        saved: Vec<Saved<'_, T>>,
        mut gradient: Vec<T>,
        observer: &mut impl Observer<T>,
    ) -> Result<Vec<T>, SimulateError> {
        for layer in saved.into_iter().rev() {
            match layer {
                Saved::Dense { index, dense, slopes, incoming, weights } => {
                    let noted = self.rows(dense).backward(&slopes, &mut gradient);
                    drop(slopes);
                    self.note_gradient(index, &incoming, noted, &gradient);
                    observer.backward(index, &gradient);
                    self.dense_backward(index, dense, weights, &mut gradient)?;
                }
                Saved::Activation { function, slopes } => slopes.pull_back(function, &mut gradient),
                Saved::Dropout { factors } => {
                    gradient.iter_mut().zip(&factors).for_each(|(g, &f)| *g = g.times(f));
                }
                Saved::Norm { axis, normalized, factors, width } => {
                    kernel::normalize_back(&mut gradient, &normalized, &factors, width, axis);
                }
                Saved::Residual { scale, branch } => {
                    let factor = T::from_f64(scale);
                    let into = gradient.iter().map(|&g| factor.times(g)).collect();
                    let from_branch = self.backward(branch, into, observer)?;
                    gradient.iter_mut().zip(&from_branch).for_each(|(g, &b)| *g = g.plus(b));
                }
            }
            self.setup.precision.round(&mut gradient);
        }
        Ok(gradient)
    }
}

fn normalize<'n, T: Compute>(
    h: &mut [T],
    width: usize,
    axis: NormAxis,
    epsilon: f64,
) -> Saved<'n, T> {
    let factors = kernel::normalize(h, width, axis, epsilon);
    Saved::Norm { axis, normalized: h.to_vec(), factors, width }
}

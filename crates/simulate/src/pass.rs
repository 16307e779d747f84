//! One weight draw: forward, backward, and what is noted on the way.

use gainstage_init::{Key, Purpose};
use gainstage_spec::{Activation, Dense, Initializer, Layer, Network, WeightShape};
use gainstage_stats::Moments;
use rayon::prelude::*;

use crate::given::GivenLayer;
use crate::inputs::{self, dot, sum_of_squares};
use crate::kernel::{self, NormAxis};
use crate::method::keeps_weights;
use crate::product::product_of_rows;
use crate::trace::{Breakdown, BreakdownKind, Draw, Energy, LayerDraw, effective_rank};
use crate::{Matrix, Real, Setup, SimulateError, product};

/// What f32 and f64 do differently.
pub(crate) trait Compute: Real {
    fn fill(
        initializer: &Initializer,
        shape: &WeightShape,
        key: Key,
        out: &mut [Self],
    ) -> Result<(), String>;
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
    traces: Vec<Option<LayerDraw>>,
    breakdowns: [Option<Breakdown>; 2],
    next_dense: usize,
    next_dropout: u32,
    scratch: Vec<T>,
}

/// What the backward pass needs of a layer.
enum Saved<'a, T> {
    Dense { index: usize, dense: &'a Dense, z: Vec<T>, incoming: Incoming, weights: Option<Vec<T>> },
    Activation { layer: &'a Layer, z: Vec<T> },
    Dropout { factors: Vec<T> },
    Norm { axis: NormAxis, normalized: Vec<T>, factors: Vec<f64>, width: usize },
    Residual { scale: f64, branch: Vec<Saved<'a, T>> },
}

/// What is noted of a dense layer's input.
struct Incoming {
    /// Each input's mean square.
    squares: Vec<f64>,
    /// H'H, where Grams are asked for.
    gram: Option<Vec<f64>>,
}

/// Called with the layer's index, z, phi(z) and, on the way back, delta.
pub(crate) trait Observer<T> {
    fn forward(&mut self, layer: usize, z: &[T], h: &[T]);
    fn backward(&mut self, layer: usize, delta: &[T]);
}

impl<T> Observer<T> for () {
    fn forward(&mut self, _: usize, _: &[T], _: &[T]) {}
    fn backward(&mut self, _: usize, _: &[T]) {}
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
    let mut pass = Pass {
        setup,
        trial,
        batch: setup.batch,
        shapes,
        given,
        keep_weights: keeps_weights(weights, setup.precision),
        traces: vec![None; shapes.len()],
        breakdowns: [None; 2],
        next_dense: 0,
        next_dropout: 0,
        scratch: Vec::new(),
    };
    let mut h = inputs::rows(setup, trial, network.input)?;
    setup.precision.round(&mut h);
    let (output, saved) = pass.forward(&network.layers, h, network.input, observer)?;
    let error = error(&output)?;
    let gradient = pass.backward(saved, error, observer)?;
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

    fn weights(&self, index: usize, dense: &Dense, out: &mut Vec<T>) -> Result<(), SimulateError> {
        let shape = &self.shapes[index];
        out.resize(shape.elements(), T::ZERO);
        match self.given {
            Some(given) => {
                let weights = &given[index].weights;
                out.iter_mut().zip(weights).for_each(|(o, &w)| *o = T::from_f64(w));
            }
            None => T::fill(&dense.weights, shape, self.key(Purpose::Weights, index as u32), out)
                .map_err(|reason| SimulateError::Weights { layer: index + 1, reason })?,
        }
        self.setup.precision.round(out);
        Ok(())
    }

    /// Returns the layers' output and what their backward pass needs.
    fn forward<'n>(
        &mut self,
        layers: &'n [Layer],
        mut h: Vec<T>,
        mut width: usize,
        observer: &mut impl Observer<T>,
    ) -> Result<(Vec<T>, Vec<Saved<'n, T>>), SimulateError> {
        let mut saved = Vec::with_capacity(layers.len());
        for layer in layers {
            saved.push(match layer {
                Layer::Dense(dense) => {
                    let save = self.dense_forward(dense, &mut h, observer)?;
                    width = dense.width;
                    save
                }
                Layer::Activation { function } => {
                    let z = h.clone();
                    kernel::activate(function, &z, &mut h);
                    Saved::Activation { layer, z }
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
                    let (end, branch) = self.forward(branch, h.clone(), width, observer)?;
                    let factor = T::from_f64(*scale);
                    h.iter_mut().zip(&end).for_each(|(h, &b)| *h = h.plus(factor.times(b)));
                    Saved::Residual { scale: *scale, branch }
                }
                other => return Err(SimulateError::UnknownLayer(format!("{other:?}"))),
            });
            self.setup.precision.round(&mut h);
        }
        Ok((h, saved))
    }

    fn dense_forward<'n>(
        &mut self,
        dense: &'n Dense,
        h: &mut Vec<T>,
        observer: &mut impl Observer<T>,
    ) -> Result<Saved<'n, T>, SimulateError> {
        let index = self.next_dense;
        self.next_dense += 1;
        let shape = &self.shapes[index];
        let incoming = Incoming {
            squares: mean_squares(h, self.batch),
            gram: self.setup.grams.then(|| gram(h, self.batch)),
        };

        let mut weights = std::mem::take(&mut self.scratch);
        self.weights(index, dense, &mut weights)?;
        let mut z = vec![T::ZERO; self.batch * dense.width];
        product_of_rows(
            &mut z,
            Matrix::new(h, self.batch, shape.inputs()),
            Matrix::new(&weights, dense.width, shape.inputs()).transposed(),
        );
        let weights_alive = weights.iter().any(|&w| w != T::ZERO);
        let kept = if self.keep_weights {
            Some(weights)
        } else {
            self.scratch = weights;
            None
        };

        let mut bias = Vec::new();
        match self.given {
            Some(given) => bias.extend(given[index].bias.iter().map(|&b| T::from_f64(b))),
            None if dense.bias != Initializer::zeros() => {
                bias.resize(dense.width, T::ZERO);
                T::fill_bias(
                    &dense.bias,
                    shape,
                    self.key(Purpose::Biases, index as u32),
                    &mut bias,
                )
                .map_err(|reason| SimulateError::Weights { layer: index + 1, reason })?;
            }
            None => {}
        }
        if !bias.is_empty() {
            for row in z.chunks_exact_mut(dense.width) {
                row.iter_mut().zip(&bias).for_each(|(z, &b)| *z = z.plus(b));
            }
        }
        self.setup.precision.round(&mut z);
        h.resize(z.len(), T::ZERO);
        activate(&dense.activation, &z, h);
        self.setup.precision.round(h);

        let squares = mean_squares(&z, self.batch);
        let alive_before = weights_alive && incoming.squares.iter().any(|&s| s > 0.0);
        self.note_breakdown(index, false, &z, alive_before);
        // What underflow has left over may all be cut off by the activation; a layer that dies with no
        // zero among its pre-activations is merely dead.
        if z.contains(&T::ZERO) {
            self.note_breakdown(index, false, h, alive_before);
        }
        let gather = self.setup.moments;
        self.traces[index] = Some(LayerDraw {
            forward: Energy::of(&squares),
            activation: Energy::of(&mean_squares(h, self.batch)),
            gradient: Energy::default(),
            weight_gradient: Energy::default(),
            batch_weight_gradient: None,
            effective_rank: incoming.gram.as_ref().and_then(|k| effective_rank(k, self.batch)),
            pre_activation_moments: if gather { T::moments(&z) } else { Moments::default() },
            activation_moments: if gather { T::moments(h) } else { Moments::default() },
            error_signal_moments: Moments::default(),
            cosine: pair_cosine(&z, dense.width, &squares),
            dead: kernel::dead_share(&dense.activation, &z, self.batch),
            saturated: kernel::saturated_share(&dense.activation, h),
        });
        observer.forward(index, &z, h);
        Ok(Saved::Dense { index, dense, z, incoming, weights: kept })
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
                Saved::Dense { index, dense, z, incoming, weights } => {
                    if index + 1 < self.shapes.len() {
                        pull_back(&dense.activation, &z, &mut gradient);
                        self.setup.precision.round(&mut gradient);
                    }
                    drop(z);
                    self.dense_backward(index, dense, &incoming, weights, &mut gradient, observer)?;
                }
                Saved::Activation { layer, z } => {
                    if let Layer::Activation { function } = layer {
                        kernel::pull_back(function, &z, &mut gradient);
                    }
                }
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

    fn dense_backward(
        &mut self,
        index: usize,
        dense: &Dense,
        incoming: &Incoming,
        weights: Option<Vec<T>>,
        gradient: &mut Vec<T>,
        observer: &mut impl Observer<T>,
    ) -> Result<(), SimulateError> {
        let inputs = self.shapes[index].inputs();
        let squares = mean_squares(gradient, self.batch);
        let by_weight: Vec<f64> =
            squares.iter().zip(&incoming.squares).map(|(d, h)| d * h).collect();
        if let Some(trace) = &mut self.traces[index] {
            trace.gradient = Energy::of(&squares);
            trace.weight_gradient = Energy::of(&by_weight);
            trace.batch_weight_gradient = incoming.gram.as_ref().map(|k| {
                let whole: f64 = gram(gradient, self.batch).iter().zip(k).map(|(d, h)| d * h).sum();
                whole / (inputs as f64 * dense.width as f64)
            });
            if self.setup.moments {
                trace.error_signal_moments = T::moments(gradient);
            }
        }
        observer.backward(index, gradient);

        let weights = if let Some(kept) = weights {
            kept
        } else {
            let mut scratch = std::mem::take(&mut self.scratch);
            self.weights(index, dense, &mut scratch)?;
            scratch
        };
        let mut below = vec![T::ZERO; self.batch * inputs];
        product_of_rows(
            &mut below,
            Matrix::new(gradient, self.batch, dense.width),
            Matrix::new(&weights, dense.width, inputs),
        );
        self.setup.precision.round(&mut below);
        let alive_before =
            squares.iter().any(|&s| s > 0.0) && weights.iter().any(|&w| w != T::ZERO);
        // What arrives below belongs to the next layer down; layer 0 is the input.
        self.note_breakdown(index.wrapping_sub(1), true, &below, alive_before);
        self.scratch = weights;
        *gradient = below;
        Ok(())
    }

    fn note_breakdown(&mut self, index: usize, backward: bool, values: &[T], alive_before: bool) {
        let slot = &mut self.breakdowns[usize::from(backward)];
        if slot.is_some() {
            return;
        }
        let kind = if values.iter().any(|v| !v.to_f64().is_finite()) {
            BreakdownKind::Overflow
        } else if alive_before && values.iter().all(|&v| v == T::ZERO) {
            BreakdownKind::Underflow
        } else {
            return;
        };
        *slot = Some(Breakdown { kind, layer: index.wrapping_add(1), backward });
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

/// Values from which on a pass over them is divided among threads, in pieces of half as many.
const DIVIDED: usize = 1 << 17;

/// [`kernel::activate`], on rayon's pool where it pays.
fn activate<T: Real>(phi: &Activation, z: &[T], h: &mut [T]) {
    if z.len() < DIVIDED {
        return kernel::activate(phi, z, h);
    }
    let pieces = h.par_chunks_mut(DIVIDED / 2).zip(z.par_chunks(DIVIDED / 2));
    pieces.for_each(|(h, z)| kernel::activate(phi, z, h));
}

/// [`kernel::pull_back`], likewise.
fn pull_back<T: Real>(phi: &Activation, z: &[T], gradient: &mut [T]) {
    if z.len() < DIVIDED {
        return kernel::pull_back(phi, z, gradient);
    }
    let pieces = gradient.par_chunks_mut(DIVIDED / 2).zip(z.par_chunks(DIVIDED / 2));
    pieces.for_each(|(gradient, z)| kernel::pull_back(phi, z, gradient));
}

/// Each input's mean square, in f64.
fn mean_squares<T: Real>(values: &[T], batch: usize) -> Vec<f64> {
    let width = values.len() / batch;
    let of_row = |row: &[T]| sum_of_squares(row) / width as f64;
    if values.len() < DIVIDED {
        values.chunks_exact(width).map(of_row).collect()
    } else {
        values.par_chunks_exact(width).map(of_row).collect()
    }
}

/// Products of the rows with each other, `batch x batch`.
fn gram<T: Real>(values: &[T], batch: usize) -> Vec<f64> {
    let rows = Matrix::new(values, batch, values.len() / batch);
    let mut out = vec![T::ZERO; batch * batch];
    product(&mut out, rows, rows.transposed());
    out.into_iter().map(Real::to_f64).collect()
}

/// Mean over consecutive pairs of rows of their cosine; pairs with a zero row are left out.
fn pair_cosine<T: Real>(z: &[T], width: usize, squares: &[f64]) -> Option<f64> {
    let rows: Vec<&[T]> = z.chunks_exact(width).collect();
    let cosines: Vec<f64> = rows
        .chunks_exact(2)
        .zip(squares.chunks_exact(2))
        .filter(|(_, s)| s[0] > 0.0 && s[1] > 0.0)
        .map(|(pair, s)| dot(pair[0], pair[1]) / (width as f64 * (s[0] * s[1]).sqrt()))
        .collect();
    (!cosines.is_empty()).then(|| cosines.iter().sum::<f64>() / cosines.len() as f64)
}

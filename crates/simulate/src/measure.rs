use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gainstage_init::Key;
use gainstage_spec::{Initializer, Law, Network, WeightShape};
use gainstage_stats::{Histogram, Moments};
use rayon::prelude::*;

use crate::method::{WeightLaw, laws};
use crate::pass::{Compute, Observer, draw};
use crate::trace::{Draw, Energy, LayerHistograms, LayerMeasured, Measured};
use crate::{Method, Precision, Real, Setup, SimulateError, exact};

/// Passes inputs forward and error signals backward through `setup.trials` independent draws of the
/// network's weights.
///
/// Trials run in parallel on rayon's current pool; the result is the same for any number of threads.
/// The error signal injected at the last dense layer's pre-activation is uniform on the sphere of
/// mean square 1, one direction per input, independent of the weights.
///
/// # Errors
/// [`SimulateError`] for a description or setup that cannot be measured. Overflow, underflow and
/// dead layers are results ([`Measured::breakdowns`]), not errors.
pub fn measure(network: &Network, setup: &Setup) -> Result<Measured, SimulateError> {
    measure_with_progress(network, setup, &|| {})
}

/// As [`measure`], calling `progress` after every finished trial.
///
/// # Errors
/// As [`measure`].
pub fn measure_with_progress(
    network: &Network,
    setup: &Setup,
    progress: &(dyn Fn() + Sync),
) -> Result<Measured, SimulateError> {
    setup.check(network)?;
    let shapes = &network.shapes()?;
    match (setup.method, setup.precision) {
        (Method::MatrixFree, precision) => {
            let laws = laws(network, shapes, precision)?;
            run(&ExactDrawing { network, shapes, laws, setup }, shapes, setup, progress)
        }
        (Method::Dense, Precision::F64) => {
            let drawing = DenseDrawing::<f64> { network, shapes, setup, value: PhantomData };
            run(&drawing, shapes, setup, progress)
        }
        (Method::Dense, Precision::F32 | Precision::Bf16 | Precision::F16) => {
            let drawing = DenseDrawing::<f32> { network, shapes, setup, value: PhantomData };
            run(&drawing, shapes, setup, progress)
        }
    }
}

/// One method's way of drawing a trial; threads keep their memory in `Self::Scratch`.
trait Drawing: Sync {
    type Value: Real;
    type Scratch: Default + Send;

    fn draw(
        &self,
        trial: u32,
        scratch: &mut Self::Scratch,
        observer: &mut impl Observer<Self::Value>,
    ) -> Result<Draw, SimulateError>;
}

struct DenseDrawing<'a, T> {
    network: &'a Network,
    shapes: &'a [WeightShape],
    setup: &'a Setup,
    value: PhantomData<fn() -> T>,
}

impl<T: Compute> Drawing for DenseDrawing<'_, T> {
    type Value = T;
    type Scratch = ();

    fn draw(
        &self,
        trial: u32,
        (): &mut (),
        observer: &mut impl Observer<T>,
    ) -> Result<Draw, SimulateError> {
        draw::<T>(self.network, self.shapes, self.setup, trial, observer)
    }
}

struct ExactDrawing<'a> {
    network: &'a Network,
    shapes: &'a [WeightShape],
    laws: Vec<WeightLaw>,
    setup: &'a Setup,
}

impl Drawing for ExactDrawing<'_> {
    type Value = f64;
    type Scratch = exact::Arena;

    fn draw(
        &self,
        trial: u32,
        arena: &mut exact::Arena,
        observer: &mut impl Observer<f64>,
    ) -> Result<Draw, SimulateError> {
        let Self { network, shapes, laws, setup } = self;
        exact::draw(network, shapes, laws, setup, trial, arena, observer)
    }
}

fn run<D: Drawing>(
    drawing: &D,
    shapes: &[WeightShape],
    setup: &Setup,
    progress: &(dyn Fn() + Sync),
) -> Result<Measured, SimulateError> {
    let ranges =
        if setup.histogram_bins > 0 { Some(ranges(drawing, setup.histogram_bins)?) } else { None };
    let scratch: Mutex<Vec<D::Scratch>> = Mutex::default();
    let collected = Mutex::new(Collected::new(shapes, setup.trials));
    // Bridged, trials start in their order, so that few finished ones wait for an earlier one.
    (0..setup.trials).par_bridge().try_for_each(|trial| {
        let mut memory = lock(&scratch).pop().unwrap_or_default();
        let mut histograms = ranges.clone();
        let drawn = match &mut histograms {
            Some(histograms) => drawing.draw(trial as u32, &mut memory, &mut Fill(histograms)),
            None => drawing.draw(trial as u32, &mut memory, &mut ()),
        };
        lock(&scratch).push(memory);
        lock(&collected).take(trial, (drawn?, histograms))?;
        progress();
        Ok::<(), SimulateError>(())
    })?;
    Ok(collected.into_inner().unwrap_or_else(PoisonError::into_inner).measured)
}

/// What a mutex guards, also behind a panic elsewhere, which rayon passes on anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Drawn = (Draw, Option<Vec<LayerHistograms>>);

/// Draws by layer, in the order of trials whatever the order in which they finish.
struct Collected {
    measured: Measured,
    /// The trial that comes next, and those that were faster.
    next: usize,
    waiting: BTreeMap<usize, Drawn>,
}

impl Collected {
    fn new(shapes: &[WeightShape], trials: usize) -> Self {
        let layers = shapes.iter().enumerate().map(|(index, shape)| LayerMeasured {
            layer: index + 1,
            fan_in: shape.fans().fan_in(),
            fan_out: shape.fans().fan_out(),
            draws: Vec::with_capacity(trials),
            histograms: None,
        });
        let measured = Measured {
            layers: layers.collect(),
            breakdowns: Vec::with_capacity(trials),
            input_gradient: Vec::with_capacity(trials),
        };
        Self { measured, next: 0, waiting: BTreeMap::new() }
    }

    fn take(&mut self, trial: usize, drawn: Drawn) -> Result<(), SimulateError> {
        self.waiting.insert(trial, drawn);
        while let Some((draw, histograms)) = self.waiting.remove(&self.next) {
            self.next += 1;
            let layers = &mut self.measured.layers;
            for (layer, trace) in layers.iter_mut().zip(draw.layers) {
                layer.draws.push(trace);
            }
            for (layer, of_draw) in layers.iter_mut().zip(histograms.into_iter().flatten()) {
                match &mut layer.histograms {
                    None => layer.histograms = Some(of_draw),
                    Some(sum) => {
                        sum.pre_activation.merge(&of_draw.pre_activation)?;
                        sum.activation.merge(&of_draw.activation)?;
                        sum.error_signal.merge(&of_draw.error_signal)?;
                    }
                }
            }
            self.measured.breakdowns.push(draw.breakdowns);
            self.measured.input_gradient.push(draw.input_gradient);
        }
        Ok(())
    }
}

/// Empty histograms for every layer: four root mean squares of the first draw to either side.
fn ranges<D: Drawing>(drawing: &D, bins: usize) -> Result<Vec<LayerHistograms>, SimulateError> {
    let first = drawing.draw(0, &mut D::Scratch::default(), &mut ())?;
    let histogram = |energy: Energy| -> Result<Histogram, SimulateError> {
        let rms = energy.mean.sqrt();
        let half = if rms.is_finite() && rms > 0.0 { 4.0 * rms } else { 1.0 };
        Ok(Histogram::uniform(-half, half, bins)?)
    };
    first
        .layers
        .iter()
        .map(|layer| {
            Ok(LayerHistograms {
                pre_activation: histogram(layer.forward)?,
                activation: histogram(layer.activation)?,
                error_signal: histogram(layer.gradient)?,
            })
        })
        .collect()
}

struct Fill<'a>(&'a mut [LayerHistograms]);

impl<T: Real> Observer<T> for Fill<'_> {
    fn forward(&mut self, layer: usize, z: &[T], h: &[T]) {
        z.iter().for_each(|v| self.0[layer].pre_activation.push(v.to_f64()));
        h.iter().for_each(|v| self.0[layer].activation.push(v.to_f64()));
    }

    fn backward(&mut self, layer: usize, delta: &[T]) {
        delta.iter().for_each(|v| self.0[layer].error_signal.push(v.to_f64()));
    }
}

macro_rules! compute {
    ($t:ty, $fill:path, $fill_block:path, $fill_bias:path) => {
        impl Compute for $t {
            fn fill(
                init: &Initializer,
                shape: &WeightShape,
                key: Key,
                out: &mut [Self],
            ) -> Result<(), String> {
                $fill(init, shape, gainstage_spec::Layout::OutIn, key, out)
                    .map_err(|e| e.to_string())
            }

            fn fill_block(
                law: &Law,
                key: Key,
                offset: u64,
                out: &mut [Self],
            ) -> Result<(), String> {
                $fill_block(law, key, offset, out).map_err(|e| e.to_string())
            }

            fn fill_bias(
                init: &Initializer,
                shape: &WeightShape,
                key: Key,
                out: &mut [Self],
            ) -> Result<(), String> {
                $fill_bias(init, shape, key, out).map_err(|e| e.to_string())
            }

            fn moments(values: &[Self]) -> Moments {
                Moments::from(values)
            }
        }
    };
}

compute!(f32, gainstage_init::fill, gainstage_init::fill_block, gainstage_init::fill_bias);
compute!(
    f64,
    gainstage_init::fill_f64,
    gainstage_init::fill_block_f64,
    gainstage_init::fill_bias_f64
);

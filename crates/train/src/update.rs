//! Gradients and the optimiser's slots, layer by layer.

use crate::kernel;
use crate::model::{Model, Parameters};
use crate::schedule::Schedule;
use crate::step::Step;
use crate::{Clip, Protocol};

/// Both slots of the optimiser for a layer's weights and biases.
pub(crate) struct Slots {
    pub(crate) weights: [Vec<f32>; 2],
    pub(crate) bias: [Vec<f32>; 2],
}

impl Slots {
    pub(crate) fn new(layer: &Parameters) -> Self {
        let slots = |parameters: &[f32]| [vec![0.0; parameters.len()], vec![0.0; parameters.len()]];
        Self { weights: slots(&layer.weights), bias: slots(&layer.bias) }
    }

    /// Lets rows of weights take the steps in which their gradients were zero.
    pub(crate) fn catch_up(
        &mut self,
        rows: &[u16],
        taken: &mut [u32],
        schedule: &Schedule,
        layer: &mut Parameters,
    ) {
        let [m, v] = &mut self.weights;
        kernel::catch_up(rows, taken, schedule, layer.units, &mut layer.weights, m, v);
    }
}

/// The gradients of one step: one layer's after the other in the same room, or all of them if updates
/// wait for all.
pub(crate) struct Gradients {
    rooms: Vec<Room>,
    clips: bool,
    zeros: Vec<f32>,
}

#[derive(Default)]
struct Room {
    weights: Vec<f32>,
    bias: Vec<f32>,
    /// Values of `weights` in use.
    used: usize,
}

/// Room for one layer's gradients; `zeros` is a row of them.
pub(crate) struct Gradient<'a> {
    pub(crate) weights: &'a mut [f32],
    pub(crate) bias: &'a mut [f32],
    pub(crate) zeros: &'a [f32],
}

impl Gradients {
    pub(crate) fn new(model: &Model, protocol: &Protocol, sparse: bool) -> Self {
        let (clips, all) =
            (protocol.clip.is_some(), protocol.clip.is_some() || protocol.watch_layers);
        let room = |weights: usize, bias: usize| Room {
            weights: vec![0.0; weights],
            bias: vec![0.0; bias],
            used: 0,
        };
        let widest = model.layers.iter().map(|l| l.units).max().unwrap_or(0);
        let rooms = if all {
            model.layers.iter().map(|l| room(l.weights.len(), l.units)).collect()
        } else {
            let dense = model.layers.iter().skip(usize::from(sparse));
            vec![room(dense.map(|l| l.weights.len()).max().unwrap_or(0), widest)]
        };
        Self { rooms, clips, zeros: vec![0.0; widest] }
    }

    /// Whether updates wait for all gradients in this step.
    pub(crate) fn wait(&self, watched: bool) -> bool {
        self.clips || watched
    }

    /// A layer's room, or one row for each lit pixel.
    pub(crate) fn of(
        &mut self,
        number: usize,
        layer: &Parameters,
        lit: Option<usize>,
    ) -> Gradient<'_> {
        let shared = self.rooms.len() == 1;
        let room = &mut self.rooms[if shared { 0 } else { number }];
        let wanted = lit.map_or(layer.weights.len(), |rows| rows * layer.units);
        room.used = wanted.min(room.weights.len());
        Gradient {
            weights: &mut room.weights[..room.used],
            bias: &mut room.bias[..layer.units],
            zeros: &self.zeros[..layer.units],
        }
    }

    /// Brings all gradients within a bound.
    pub(crate) fn clip(&mut self, clip: Option<Clip>) {
        match clip {
            None => {}
            Some(Clip::Value { bound }) => {
                let bound = bound as f32;
                self.values_mut().for_each(|g| *g = g.clamp(-bound, bound));
            }
            Some(Clip::Norm { bound }) => {
                let norm = (0..self.rooms.len()).map(|l| self.norm(l).powi(2)).sum::<f64>().sqrt();
                if norm > bound {
                    let factor = (bound / norm) as f32;
                    self.values_mut().for_each(|g| *g *= factor);
                }
            }
        }
    }

    fn values_mut(&mut self) -> impl Iterator<Item = &mut f32> {
        self.rooms.iter_mut().flat_map(|r| r.weights[..r.used].iter_mut().chain(&mut r.bias))
    }

    /// Norm of a layer's gradient, weights and biases together.
    pub(crate) fn norm(&self, number: usize) -> f64 {
        let Some(room) = self.rooms.get(number) else { return 0.0 };
        (sum_of_squares(&room.weights[..room.used]) + sum_of_squares(&room.bias)).sqrt()
    }

    /// One layer's update.
    pub(crate) fn update(
        &self,
        number: usize,
        step: Step,
        layer: &mut Parameters,
        slots: &mut Slots,
        lit: Option<&[u16]>,
    ) {
        let room = &self.rooms[number];
        let [m, v] = &mut slots.weights;
        if let Some(lit) = lit {
            let rows = room.weights[..room.used].chunks_exact(layer.units);
            for (&pixel, gradient) in lit.iter().zip(rows) {
                let row = usize::from(pixel) * layer.units..(usize::from(pixel) + 1) * layer.units;
                let (w, m, v) = (&mut layer.weights[row.clone()], &mut m[row.clone()], &mut v[row]);
                kernel::update(step, w, m, v, gradient);
            }
        } else {
            kernel::update(step, &mut layer.weights, m, v, &room.weights[..room.used]);
        }
        let [m, v] = &mut slots.bias;
        kernel::update(step, &mut layer.bias, m, v, &room.bias);
    }
}

/// In sixteen partial sums, which are independent and so fast, and the same everywhere.
fn sum_of_squares(values: &[f32]) -> f64 {
    let (blocks, rest) = values.as_chunks::<16>();
    let mut sums = [0.0f64; 16];
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(sum, v)| *sum += f64::from(*v) * f64::from(*v));
    }
    rest.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() + sums.iter().sum::<f64>()
}

//! The way back through a network's layers.

use gainstage_spec::Dense;
use gainstage_stats::Moments;

use super::layer::{Enter, Entered, Leave, Source};
use super::sampled::Sampled;
use super::watch::{BackwardWatch, Seen, diagonal};
use super::{Pass, Saved};
use crate::SimulateError;
use crate::kernel;
use crate::pass::Observer;
use crate::trace::{Breakdown, BreakdownKind, Energy};
use crate::vector::dispatch;

/// The gradient on its way back.
enum Flow {
    /// With respect to the output of what comes next.
    Values(Vec<f64>),
    /// Already at the pre-activation of the dense layer that comes next.
    Entered(Entered),
}

impl Pass<'_> {
    pub(super) fn backward(
        &mut self,
        mut saved: Vec<Saved<'_>>,
        gradient: Vec<f64>,
        observer: &mut dyn Observer<f64>,
    ) -> Result<Vec<f64>, SimulateError> {
        let mut flow = Flow::Values(gradient);
        while let Some(layer) = saved.pop() {
            let mut gradient = match (layer, flow) {
                (Saved::Dense { dense, sampled, input }, now) => {
                    let entered = match now {
                        Flow::Entered(entered) => entered,
                        Flow::Values(gradient) => {
                            self.enter(dense, &sampled, gradient, observer)?
                        }
                    };
                    let below = match (&input, saved.last()) {
                        (None, Some(Saved::Dense { dense, sampled, .. })) => {
                            Some((*dense, &**sampled))
                        }
                        _ => None,
                    };
                    let input = input.unwrap_or_default();
                    flow = self.leave(&sampled, &entered, &input, below, observer)?;
                    continue;
                }
                // Only a dense layer that follows one is entered early.
                (_, Flow::Entered(_)) => Vec::new(),
                (Saved::Activation { function, z }, Flow::Values(mut gradient)) => {
                    for at in self.layout.spans(z.len() / self.layout.batch) {
                        self.layout.pull_back(function, &z[at.clone()], &mut gradient[at]);
                    }
                    gradient
                }
                (Saved::Dropout { factors }, Flow::Values(mut gradient)) => {
                    gradient.iter_mut().zip(&factors).for_each(|(g, f)| *g *= f);
                    gradient
                }
                (Saved::Norm { axis, normalized, factors, width }, Flow::Values(gradient)) => {
                    let mut rows = self.layout.to_rows(&gradient);
                    for rows in rows.chunks_exact_mut(normalized.len()) {
                        kernel::normalize_back(rows, &normalized, &factors, width, axis);
                    }
                    self.layout.of_rows(&rows, |v| v)
                }
                (Saved::Residual { scale, branch }, Flow::Values(mut gradient)) => {
                    let into = gradient.iter().map(|g| scale * g).collect();
                    let from_branch = self.backward(branch, into, observer)?;
                    gradient.iter_mut().zip(&from_branch).for_each(|(g, b)| *g += b);
                    gradient
                }
            };
            if self.limited() {
                // What leaves the range of f32 does so here too.
                gradient
                    .iter_mut()
                    .filter(|g| !(1e-30..1e30).contains(&g.abs()))
                    .for_each(|g| *g = f64::from(*g as f32));
            }
            flow = Flow::Values(gradient);
        }
        Ok(match flow {
            Flow::Values(gradient) => gradient,
            Flow::Entered(_) => Vec::new(),
        })
    }

    fn enter(
        &mut self,
        dense: &Dense,
        sampled: &Sampled,
        mut gradient: Vec<f64>,
        observer: &mut dyn Observer<f64>,
    ) -> Result<Entered, SimulateError> {
        let index = sampled.place.index as usize;
        let bias = self.bias(index, dense)?;
        let mut watch = BackwardWatch::new(Some(index), self.setup.moments, observer);
        // The injected signal is dL/dz of the last dense layer whatever its activation.
        let phi = (index + 1 < self.shapes.len()).then_some(&dense.activation);
        let entered = dispatch(Enter {
            layer: sampled,
            bias: bias.as_deref(),
            phi,
            layout: self.layout,
            arena: self.arena,
            gradient: &mut gradient,
            watch: &mut watch,
        });
        let moments = watch.moments;
        self.note_error_signal(sampled, &entered, moments);
        Ok(entered)
    }

    fn leave(
        &mut self,
        sampled: &Sampled,
        entered: &Entered,
        input: &[f64],
        below: Option<(&Dense, &Sampled)>,
        observer: &mut dyn Observer<f64>,
    ) -> Result<Flow, SimulateError> {
        let index = sampled.place.index as usize;
        let bias = match below {
            Some((dense, _)) => self.bias(index - 1, dense)?,
            None => None,
        };
        let source = match below {
            None => Source::Kept(input),
            Some((dense, layer)) => {
                Source::Below { layer, bias: bias.as_deref(), phi: &dense.activation }
            }
        };
        let (limited, mut gradient) = (self.limited(), Vec::new());
        let below_index = below.map(|_| index - 1);
        let mut watch = BackwardWatch::new(below_index, self.setup.moments, observer);
        let next = dispatch(Leave {
            layer: sampled,
            entered,
            source,
            layout: self.layout,
            arena: self.arena,
            limited,
            gradient: &mut gradient,
            watch: &mut watch,
        });
        let (seen, moments) = (watch.arriving, watch.moments);
        let alive = sampled.law.is_alive() && entered.gram.iter().any(|&v| v > 0.0);
        // What arrives below belongs to the next layer down; layer 0 is the input.
        if let Some(seen) = seen {
            self.note_breakdown(index.wrapping_sub(1), true, seen, alive);
        }
        Ok(match (next, below) {
            (Some(entered), Some((_, below))) => {
                self.note_error_signal(below, &entered, moments);
                Flow::Entered(entered)
            }
            _ => Flow::Values(gradient),
        })
    }

    fn note_error_signal(&mut self, sampled: &Sampled, entered: &Entered, moments: Moments) {
        let batch = self.setup.batch;
        let deltas = diagonal(&entered.gram, batch, sampled.fan_out);
        let incoming = diagonal(&sampled.gram, batch, sampled.fan_in);
        let by_weight = deltas.clone().zip(incoming).map(|(d, h)| d * h);
        let whole: f64 = entered.gram.iter().zip(&sampled.gram).map(|(d, h)| d * h).sum();
        if let Some(trace) = &mut self.traces[sampled.place.index as usize] {
            trace.gradient = Energy::of_each(deltas);
            trace.weight_gradient = Energy::of_each(by_weight);
            trace.batch_weight_gradient =
                Some(whole / (sampled.fan_in as f64 * sampled.fan_out as f64));
            if let Some(of_layer) = &mut trace.moments {
                of_layer.error_signal = moments;
            }
        }
    }

    pub(super) fn note_breakdown(
        &mut self,
        index: usize,
        backward: bool,
        seen: Seen,
        alive_before: bool,
    ) {
        let slot = &mut self.breakdowns[usize::from(backward)];
        if slot.is_some() {
            return;
        }
        let kind = if seen.not_finite {
            BreakdownKind::Overflow
        } else if alive_before && seen.all_zero {
            BreakdownKind::Underflow
        } else {
            return;
        };
        *slot = Some(Breakdown { kind, layer: index.wrapping_add(1), backward });
    }
}

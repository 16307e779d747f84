//! From values to places, and where the ticks stand.

use crate::number::{significant, superscript};
use crate::{Axis, AxisScale, Mark, Panel};

/// An axis with its range: maps values to [0, 1].
pub(crate) struct Scale<'a> {
    kind: &'a AxisScale,
    low: f64,
    high: f64,
}

impl<'a> Scale<'a> {
    pub(crate) fn new(axis: &'a Axis, values: &[f64], padding: f64) -> Self {
        let drawable = values.iter().copied().filter(|&v| can_be_drawn(&axis.scale, v));
        let (mut low, mut high) = axis.range.unwrap_or_else(|| {
            drawable.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)))
        });
        match &axis.scale {
            AxisScale::Categories(names) => (low, high) = (-0.5, names.len().max(1) as f64 - 0.5),
            AxisScale::Log10 => {
                if !(low > 0.0 && high.is_finite() && low <= high) {
                    (low, high) = (0.1, 10.0);
                }
                if axis.range.is_none() {
                    // At least a factor of two, so that noise does not fill the panel.
                    let missing = (2.0 / (high / low)).max(1.0).sqrt();
                    let pad = (high / low).powf(padding) * missing;
                    (low, high) = (low / pad, high * pad);
                }
            }
            AxisScale::Linear => {
                if !(low.is_finite() && high.is_finite() && low <= high) {
                    (low, high) = (0.0, 1.0);
                }
                if axis.range.is_none() {
                    let pad =
                        if high > low { padding * (high - low) } else { 0.5 * high.abs().max(1.0) };
                    (low, high) = (low - pad, high + pad);
                }
            }
        }
        Self { kind: &axis.scale, low, high }
    }

    /// Place in [0, 1], beyond it for values outside the range; `None` for what cannot be drawn.
    pub(crate) fn place(&self, value: f64) -> Option<f64> {
        if !can_be_drawn(self.kind, value) {
            return None;
        }
        Some(match self.kind {
            AxisScale::Log10 => (value / self.low).log10() / (self.high / self.low).log10(),
            _ => (value - self.low) / (self.high - self.low),
        })
    }

    /// Values and texts of the ticks.
    pub(crate) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        match self.kind {
            AxisScale::Categories(names) => {
                names.iter().enumerate().map(|(i, n)| (i as f64, n.clone())).collect()
            }
            AxisScale::Linear => self.linear_ticks(most),
            AxisScale::Log10 => {
                let (first, last) =
                    (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
                if last - first < 1 {
                    // Less than two decades' marks: steps of 1, 2, 5 within the decade.
                    let decade = self.low.log10().floor() as i32;
                    let steps = (decade..=decade + 2)
                        .flat_map(|d| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(d)));
                    return steps
                        .filter(|v| (self.low..=self.high).contains(v))
                        .map(|v| (v, significant(v)))
                        .collect();
                }
                let step = ((last - first) as f64 / most as f64).ceil().max(1.0) as i32;
                (first..=last)
                    .filter(|e| e.rem_euclid(step) == 0)
                    .map(|e| {
                        (
                            10f64.powi(e),
                            if (-2..=3).contains(&e) {
                                significant(10f64.powi(e))
                            } else {
                                format!("10{}", superscript(e))
                            },
                        )
                    })
                    .collect()
            }
        }
    }

    fn linear_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let raw = (self.high - self.low) / most as f64;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|m| m * power)
            .find(|s| *s >= raw)
            .unwrap_or(10.0 * power);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        let digits = (-step.log10().floor()).max(0.0) as usize;
        (first..=last.min(first + 50))
            .map(|i| {
                let value = i as f64 * step;
                let text = if value.abs() >= 1e6 || (value != 0.0 && step < 1e-4) {
                    significant(value)
                } else {
                    format!("{value:.digits$}").replace('-', "−")
                };
                (value, text)
            })
            .collect()
    }
}

fn can_be_drawn(kind: &AxisScale, value: f64) -> bool {
    value.is_finite() && (*kind != AxisScale::Log10 || value > 0.0)
}

/// All x and all y values of a panel's marks.
pub(crate) fn extent(panel: &Panel) -> (Vec<f64>, Vec<f64>) {
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for mark in &panel.marks {
        match mark {
            Mark::Line { points, .. } => points.iter().for_each(|p| {
                xs.push(p.x);
                ys.push(p.y);
            }),
            Mark::Thin { lines, .. } => lines.iter().flatten().for_each(|p| {
                xs.push(p.x);
                ys.push(p.y);
            }),
            Mark::Band { points, .. } | Mark::Points { points, .. } => {
                points.iter().for_each(|p| {
                    xs.push(p.x);
                    ys.extend([p.low, p.high]);
                });
            }
            Mark::Histogram { edges, heights, .. } => {
                xs.extend(edges);
                ys.extend(heights);
                ys.push(0.0);
            }
            Mark::Level { y, .. } => ys.push(*y),
            Mark::HeatMap { xs: columns, ys: rows, .. } => {
                let half = |v: &[f64]| if v.len() > 1 { 0.5 * (v[1] - v[0]) } else { 0.5 };
                for (out, centres) in [(&mut xs, columns), (&mut ys, rows)] {
                    let h = half(centres);
                    out.extend(centres.first().map(|c| c - h));
                    out.extend(centres.last().map(|c| c + h));
                }
            }
        }
    }
    (xs, ys)
}

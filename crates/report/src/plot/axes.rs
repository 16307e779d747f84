//! Axes: their ranges, ticks and grid.

use plotters::style::text_anchor::HPos;

use super::canvas::{Canvas, Face};
use super::clip::Frame;
use super::marks::Plot;
use super::palette::{Ink, Paint};
use super::scale::Ruler;
use super::{LEADING, TICK, WIDTH, heat, text};
use crate::{AxisScale, Mark, Panel, Point};

/// Both axes over the values of all marks, not yet along pixels.
pub(crate) fn rulers(panel: &Panel) -> (Ruler, Ruler) {
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    let sideways = matches!(panel.y.scale, AxisScale::Categories(_));
    let (mut x_margin, mut y_margin) = (0.02, 0.05);
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
            Mark::Points { points, .. } if sideways => {
                xs.extend(points.iter().flat_map(|p| [p.x, p.low, p.high]));
                x_margin = 0.04;
            }
            Mark::Points { points, .. } => points.iter().for_each(|p| {
                xs.push(p.x);
                ys.extend([p.y, p.low, p.high]);
            }),
            Mark::Band { points, .. } => points.iter().for_each(|p| {
                xs.push(p.x);
                ys.extend([p.low, p.high]);
            }),
            Mark::Histogram { edges, heights, .. } => {
                xs.extend(edges);
                ys.extend(heights);
                ys.push(0.0);
                x_margin = 0.0;
            }
            Mark::Level { y, .. } => ys.push(*y),
            Mark::Vertical { x, .. } => xs.push(*x),
            Mark::Text { .. } => {}
            Mark::HeatMap { xs: columns, ys: rows, .. } => {
                xs.extend(heat::borders(columns, &panel.x.scale));
                ys.extend(heat::borders(rows, &panel.y.scale));
                (x_margin, y_margin) = (0.0, 0.0);
            }
        }
    }
    let x = Ruler::new(&panel.x, xs.into_iter(), x_margin);
    let y = Ruler::new(&panel.y, ys.iter().copied(), y_margin);
    let bars = panel.marks.iter().any(|mark| matches!(mark, Mark::Histogram { .. }));
    // Bars stand on the axis.
    (x, if bars && ys.iter().all(|&v| !(v < 0.0)) { y.starting_at_zero() } else { y })
}

/// The ticks of the horizontal axis.
pub(crate) struct XTicks {
    ticks: Vec<(f64, Vec<String>)>,
    /// Names too long to stand side by side are read from bottom to top.
    upright: bool,
    /// Room below the plot.
    pub(crate) height: f64,
}

pub(crate) fn x_ticks(panel: &Panel, x: &Ruler, frame: &Frame) -> XTicks {
    if let AxisScale::Categories(names) = &panel.x.scale {
        let cell = frame.width() / names.len().max(1) as f64 - 6.0;
        let fits =
            names.iter().flat_map(|n| n.split_whitespace()).all(|w| text::width(w, TICK) <= cell);
        let room = if fits { cell } else { 140.0 };
        let ticks: Vec<(f64, Vec<String>)> = x
            .ticks(0, false)
            .into_iter()
            .map(|(at, name)| (at, text::wrap(&name, TICK, room)))
            .collect();
        let lines = ticks.iter().map(|t| t.1.len()).max().unwrap_or(1) as f64;
        let longest =
            ticks.iter().flat_map(|t| &t.1).map(|l| text::width(l, TICK)).fold(0.0, f64::max);
        let height = if fits { lines * TICK * LEADING + 10.0 } else { longest + 12.0 };
        return XTicks { ticks, upright: !fits, height };
    }
    let whole = |p: &Point| p.x.fract() == 0.0;
    let counts = panel.marks.iter().all(|mark| match mark {
        Mark::Line { points, .. } | Mark::Points { points, .. } | Mark::Band { points, .. } => {
            points.iter().all(whole)
        }
        Mark::Thin { lines, .. } => lines.iter().flatten().all(whole),
        Mark::Level { .. } | Mark::Vertical { .. } | Mark::Text { .. } => true,
        Mark::Histogram { .. } | Mark::HeatMap { .. } => false,
    });
    let mut ticks = x.ticks((frame.width() / 42.0).clamp(2.0, 8.0) as usize, counts);
    // Every second label goes until none touches its neighbour.
    while ticks.windows(2).any(|pair| {
        let widths = text::width(&pair[0].1, TICK) + text::width(&pair[1].1, TICK);
        pair[1].0 - pair[0].0 < widths / 2.0 + 6.0
    }) {
        ticks = ticks.into_iter().step_by(2).collect();
    }
    let ticks = ticks.into_iter().map(|(at, label)| (at, vec![label])).collect();
    XTicks { ticks, upright: false, height: TICK * LEADING + 10.0 }
}

/// Grid, axes and the labels of their ticks.
pub(crate) fn grid(
    canvas: &mut Canvas<'_>,
    plot: &Plot<'_>,
    y_labels: &[Vec<String>],
    x_ticks: &XTicks,
) {
    let frame = &plot.frame;
    let (covered, sideways) =
        (plot.colours.is_some(), matches!(plot.panel.y.scale, AxisScale::Categories(_)));
    let axis = Paint::Stroke(Ink::MUTED, false);
    let words = Face::new(TICK, Paint::Words(Ink::MUTED));
    for ((at, _), lines) in plot.y.ticks(6, false).iter().zip(y_labels) {
        if !covered {
            canvas.path(&[(frame.left, *at), (frame.right, *at)], 1.0, Paint::Grid, 1.0);
        }
        let first = at + TICK * 0.36 - (lines.len() as f64 - 1.0) * TICK * LEADING / 2.0;
        for (i, line) in lines.iter().enumerate() {
            let y = first + i as f64 * TICK * LEADING;
            canvas.text(line, (frame.left - 8.0, y), words.anchored(HPos::Right));
        }
    }
    for (at, lines) in &x_ticks.ticks {
        if sideways && !covered {
            canvas.path(&[(*at, frame.top), (*at, frame.bottom)], 1.0, Paint::Grid, 1.0);
        }
        canvas.path(&[(*at, frame.bottom), (*at, frame.bottom + 4.0)], 1.0, axis, 1.0);
        for (i, line) in lines.iter().enumerate() {
            if x_ticks.upright {
                let x = at
                    + TICK * 0.36
                    + (i as f64 - (lines.len() as f64 - 1.0) / 2.0) * TICK * LEADING;
                let face = Face { upright: true, ..words.anchored(HPos::Right) };
                canvas.text(line, (x, frame.bottom + 8.0), face);
            } else {
                let half = text::width(line, TICK) / 2.0;
                let x = at.min(WIDTH - half).max(half);
                let y = frame.bottom + 6.0 + (i as f64 + 0.8) * TICK * LEADING;
                canvas.text(line, (x, y), words.anchored(HPos::Center));
            }
        }
    }
    canvas.path(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], 1.25, axis, 1.0);
}

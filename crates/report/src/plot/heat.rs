//! Heat maps: cells, their colours, the colour bar.

use plotters::style::text_anchor::HPos;

use super::canvas::{Canvas, Face};
use super::clip::Frame;
use super::palette::{Ink, Paint, colour};
use super::scale::Ruler;
use super::{TICK, text};
use crate::{Axis, AxisScale, ColourMap};

/// Pixels by which a cell reaches under its neighbour, to close the seams that smoothing leaves.
const OVERLAP: f64 = 1.0;

/// Steps of a map, finer than the eye's: they bound the size of a drawing of tens of thousands of cells.
const SHADES: f64 = 128.0;

/// The borders of cells around increasing centres: halfway between neighbours on the axis' own scale.
pub(crate) fn borders(centres: &[f64], scale: &AxisScale) -> Vec<f64> {
    let log = *scale == AxisScale::Log10;
    let back = |position: f64| if log { 10f64.powf(position) } else { position };
    let at: Vec<f64> = centres.iter().map(|&v| if log { v.log10() } else { v }).collect();
    let half = |i: usize| (at[i + 1] - at[i]) / 2.0;
    let n = at.len();
    let border = |i: usize| match i {
        _ if n == 1 => at[0] - 0.5 + i as f64,
        0 => at[0] - half(0),
        i if i == n => at[n - 1] + half(n - 2),
        i => at[i - 1] + half(i - 1),
    };
    if n == 0 { Vec::new() } else { (0..=n).map(|i| back(border(i))).collect() }
}

/// From values to colours.
pub(crate) struct Colours {
    map: ColourMap,
    ruler: Ruler,
}

impl Colours {
    pub(crate) fn new(map: ColourMap, values: &[f64]) -> Self {
        let mut axis = Axis::linear("");
        let finite = values.iter().copied().filter(|v| v.is_finite());
        if let ColourMap::Diverging { centre } = map {
            let reach = finite.clone().map(|v| (v - centre).abs()).fold(0.0, f64::max);
            let reach = if reach > 0.0 { reach } else { 1.0 };
            axis.range = Some((centre - reach, centre + reach));
        }
        Self { map, ruler: Ruler::new(&axis, finite, 0.0).along(0.0, 1.0) }
    }

    /// `None` for what has no colour.
    fn paint(&self, value: f64) -> Option<Paint> {
        let share = (self.ruler.place(value).ok()? * SHADES).round() / SHADES;
        Some(Paint::Exact(colour(self.map, share)))
    }

    /// Room beside the plot for the bar and its numbers.
    pub(crate) fn bar_width(&self) -> f64 {
        let ticks = self.ruler.ticks(5, false);
        40.0 + ticks.iter().map(|t| text::width(&t.1, TICK)).fold(0.0, f64::max)
    }
}

/// Draws the cells, `values` row by row; leaves out those without a colour, crosses them out where there is
/// room for a cross, and returns their number. Neighbours of one colour become one rectangle.
pub(crate) fn cells(
    canvas: &mut Canvas<'_>,
    frame: &Frame,
    (columns, rows): (&[Option<f64>], &[Option<f64>]),
    values: &[f64],
    colours: &Colours,
) -> usize {
    let mut missing = 0;
    let width = columns.len().saturating_sub(1).max(1);
    for (row, heights) in values.chunks(width).zip(rows.windows(2)) {
        let &[Some(y0), Some(y1)] = heights else { continue };
        let (top, bottom) = (y0.min(y1).max(frame.top), y0.max(y1).min(frame.bottom));
        let mut run: Option<(Paint, f64, f64)> = None;
        for (&value, widths) in row.iter().zip(columns.windows(2)) {
            let &[Some(x0), Some(x1)] = widths else { continue };
            let (left, right) = (x0.min(x1).max(frame.left), x0.max(x1).min(frame.right));
            if left >= right || top >= bottom {
                continue;
            }
            let paint = colours.paint(value);
            match (&mut run, paint) {
                (Some((known, _, end)), Some(paint)) if *known == paint && *end == left => {
                    *end = right;
                }
                _ => {
                    fill(canvas, frame, run, (top, bottom));
                    run = paint.map(|paint| (paint, left, right));
                }
            }
            if paint.is_none() {
                missing += 1;
                let r = ((right - left).min(bottom - top) * 0.25).min(5.0);
                let middle = (f64::midpoint(left, right), f64::midpoint(top, bottom));
                if r >= 1.5 {
                    super::marks::cross(canvas, middle, r, Paint::Stroke(Ink::MUTED, false));
                }
            }
        }
        fill(canvas, frame, run, (top, bottom));
    }
    missing
}

fn fill(
    canvas: &mut Canvas<'_>,
    frame: &Frame,
    run: Option<(Paint, f64, f64)>,
    (top, bottom): (f64, f64),
) {
    if let Some((paint, left, right)) = run {
        let far = ((right + OVERLAP).min(frame.right), (bottom + OVERLAP).min(frame.bottom));
        canvas.rectangle((left, top), far, paint, 1.0);
    }
}

/// Draws the colour bar to the right of the plot.
pub(crate) fn bar(canvas: &mut Canvas<'_>, frame: &Frame, colours: &Colours) {
    const STEPS: u32 = 64;
    let (left, right) = (frame.right + 14.0, frame.right + 28.0);
    let height = |share: f64| frame.bottom - share * frame.height();
    for step in 0..STEPS {
        let share = |s: u32| f64::from(s) / f64::from(STEPS);
        let paint = Paint::Exact(colour(colours.map, share(step) + 0.5 / f64::from(STEPS)));
        let low = (height(share(step)) + OVERLAP).min(frame.bottom);
        canvas.rectangle((left, height(share(step + 1))), (right, low), paint, 1.0);
    }
    for (share, label) in colours.ruler.ticks(5, false) {
        let y = height(share);
        canvas.path(&[(right, y), (right + 4.0, y)], 1.0, Paint::Stroke(Ink::MUTED, false), 1.0);
        let face = Face::new(TICK, Paint::Words(Ink::MUTED)).anchored(HPos::Left);
        canvas.text(&label, (right + 7.0, y + TICK * 0.36), face);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_halfway() {
        assert_eq!(borders(&[0.0, 1.0, 3.0], &AxisScale::Linear), [-0.5, 0.5, 2.0, 4.0]);
        assert_eq!(borders(&[2.0], &AxisScale::Linear), [1.5, 2.5]);
        assert!(borders(&[], &AxisScale::Linear).is_empty());
        let log = borders(&[1.0, 100.0], &AxisScale::Log10);
        assert!(log.iter().zip([0.1, 10.0, 1000.0]).all(|(a, b)| (a / b - 1.0).abs() < 1e-12));
    }

    #[test]
    fn a_map_of_forty_thousand_cells_stays_small() {
        let axis: Vec<f64> = (0..200).map(f64::from).collect();
        let value = |x: f64, y: f64| if x > 190.0 { f64::NAN } else { x / (40.0 + y) };
        let values: Vec<f64> =
            axis.iter().flat_map(|&y| axis.iter().map(move |&x| value(x, y))).collect();
        let mark = crate::Mark::HeatMap {
            xs: axis.clone(),
            ys: axis,
            values,
            map: ColourMap::Diverging { centre: 1.0 },
        };
        let panel = crate::Panel::new("", Axis::linear("x"), Axis::linear("y")).mark(mark);
        let svg = crate::Figure::new("map", "", "").panel(panel).to_svg();
        assert!(svg.len() < 1_500_000, "{} bytes", svg.len());
        assert!(svg.contains("1800 cells"), "what has no colour is counted");
    }

    #[test]
    fn the_centre_of_a_diverging_map_is_white_and_what_is_no_number_has_no_colour() {
        let map = ColourMap::Diverging { centre: 1.0 };
        let colours = Colours::new(map, &[0.5, 8.0, f64::NAN, f64::INFINITY]);
        assert_eq!(colours.paint(1.0), Some(Paint::Exact([0xF7; 3])));
        assert_eq!(colours.paint(8.0), Some(Paint::Exact(colour(map, 1.0))));
        assert_eq!(colours.paint(f64::NAN), None);
        assert_eq!(colours.paint(f64::INFINITY), None);
    }
}

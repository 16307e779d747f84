//! What is said about values that are not drawn.

use super::canvas::{Canvas, Face};
use super::gaps::Note;
use super::marks::{Plot, cross};
use super::palette::{Ink, Paint};
use super::scale::Trouble;
use super::{LEADING, NOTE, WIDTH, labels, text};
use crate::Mark;

/// Signs and words at the border for values without a place, and the labels of vertical rules.
pub(crate) fn border(canvas: &mut Canvas<'_>, plot: &Plot<'_>) {
    const LEVEL: f64 = 10.0;
    let frame = &plot.frame;
    let is_top = |note: &Note| matches!(note.trouble, Trouble::Infinite | Trouble::Above);
    // Every note has its own level of signs, so that series do not cover each other.
    let tops = plot.notes.iter().filter(|note| is_top(note)).count();
    let levels = [plot.notes.len() - tops, tops].map(|n| n as f64);
    let mut taken = labels::Taken::default();
    let mut words = |canvas: &mut Canvas<'_>, text: &str, x: f64, top: bool, ink: Ink| {
        let lines = text::wrap(text, NOTE, frame.width() - 8.0);
        let width = lines.iter().map(|line| text::width(line, NOTE)).fold(0.0, f64::max);
        let height = lines.len() as f64 * NOTE * LEADING;
        let left = (x + 8.0).min(frame.right - 2.0 - width).max(frame.left + 4.0);
        let rows = (0..12).map(|row| {
            let row = f64::from(row) * (NOTE * LEADING + 1.0);
            let offset = 3.0 + levels[usize::from(top)] * LEVEL + row;
            let y = if top { frame.top + offset } else { frame.bottom - offset - height };
            [left, y, left + width, y + height]
        });
        let rows: Vec<[f64; 4]> =
            rows.filter(|b| b[1] >= frame.top && b[3] <= frame.bottom).collect();
        let Some([x, y, ..]) = taken.first_free(&rows) else { return };
        for (i, line) in lines.iter().enumerate() {
            let baseline = y + (i as f64 + 0.78) * NOTE * LEADING;
            canvas.text(line, (x, baseline), Face::new(NOTE, Paint::Halo(ink)));
        }
    };
    let mut used = [0.0; 2];
    for note in &plot.notes {
        let top = is_top(note);
        let level = &mut used[usize::from(top)];
        let inset = 5.0 + *level * LEVEL;
        *level += 1.0;
        signs(canvas, note, if top { frame.top + inset } else { frame.bottom - inset });
        let first = note.stretches.iter().map(|s| s.0).fold(f64::INFINITY, f64::min);
        words(canvas, &note.text, first, top, note.ink);
    }
    for mark in &plot.panel.marks {
        if let Mark::Vertical { x, label } = mark
            && let Ok(at) = plot.x.place(*x)
            && plot.x.beyond(*x).is_none()
            && !label.is_empty()
        {
            words(canvas, label, at, true, Ink::MUTED);
        }
    }
}

/// A triangle towards where the values went, a ring for zero, a cross for what is no number; a thin
/// line as long as it lasts.
fn signs(canvas: &mut Canvas<'_>, note: &Note, y: f64) {
    const R: f64 = 4.0;
    let (fill, stroke) = (Paint::Fill(note.ink), Paint::Stroke(note.ink, false));
    for &(x, end) in &note.stretches {
        canvas.path(&[(x + R, y), (end.max(x + R), y)], 1.0, stroke, 0.7);
        match note.trouble {
            Trouble::Infinite | Trouble::Above => {
                canvas.polygon(&[(x, y - R), (x + R, y + R), (x - R, y + R)], fill, 1.0);
            }
            Trouble::NotANumber => cross(canvas, (x, y), R, stroke),
            Trouble::Zero => canvas.ring((x, y), R, 1.75, stroke),
            Trouble::MinusInfinite | Trouble::Negative | Trouble::Below => {
                canvas.polygon(&[(x, y + R), (x + R, y - R), (x - R, y - R)], fill, 1.0);
            }
        }
    }
}

/// What could not be drawn at all, below the panel; returns the panel's height.
pub(crate) fn remarks(canvas: &mut Canvas<'_>, plot: &Plot<'_>, top: f64) -> f64 {
    let mut texts = Vec::new();
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    if plot.unplaced > 0 {
        texts.push(format!(
            "{} outside the horizontal axis not drawn.",
            count(plot.unplaced, "point")
        ));
    }
    if plot.colourless > 0 {
        texts.push(format!(
            "{} without a finite value left without colour.",
            count(plot.colourless, "cell")
        ));
    }
    let mut y = top;
    for line in texts.iter().flat_map(|text| text::wrap(text, NOTE, WIDTH)) {
        y += NOTE * LEADING;
        canvas.text(&line, (0.0, y - 3.0), Face::new(NOTE, Paint::Words(Ink::MUTED)));
    }
    y
}

//! Where a series has values without a place: the runs between them and what to say about them.

use super::canvas::Spot;
use super::palette::Ink;
use super::scale::{Ruler, Trouble};
use crate::number::significant;

/// A series in pixels, broken where it has no place.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) runs: Vec<Vec<Spot>>,
    gaps: Vec<Gap>,
    /// Points of the series.
    count: usize,
    /// Points whose x has no place or lies off the axis.
    pub(crate) unplaced: usize,
}

#[derive(Debug)]
struct Gap {
    index: usize,
    x: f64,
    pixel: f64,
    trouble: Trouble,
}

/// What stands at the border of the plot about a series.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) trouble: Trouble,
    pub(crate) text: String,
    /// First and last pixel of every stretch along x.
    pub(crate) stretches: Vec<(f64, f64)>,
    pub(crate) ink: Ink,
}

impl Split {
    pub(crate) fn new(points: impl Iterator<Item = (f64, f64)>, x: &Ruler, y: &Ruler) -> Self {
        let mut split = Self::default();
        let mut run = Vec::new();
        for (index, (at, value)) in points.enumerate() {
            split.count += 1;
            let Ok(pixel) = x.place(at) else {
                split.unplaced += 1;
                split.close(&mut run);
                continue;
            };
            let off = x.beyond(at).is_some();
            split.unplaced += usize::from(off);
            let trouble = match y.place(value) {
                Ok(height) => {
                    run.push((pixel, height));
                    y.beyond(value)
                }
                Err(trouble) => {
                    split.close(&mut run);
                    Some(trouble)
                }
            };
            if let Some(trouble) = trouble.filter(|_| !off) {
                split.gaps.push(Gap { index, x: at, pixel, trouble });
            }
        }
        split.close(&mut run);
        split
    }

    fn close(&mut self, run: &mut Vec<Spot>) {
        if !run.is_empty() {
            self.runs.push(std::mem::take(run));
        }
    }

    /// One note for each kind of trouble. `noun` is what x counts, such as `layer`.
    pub(crate) fn notes(&self, name: &str, noun: &str, ink: Ink) -> Vec<Note> {
        let note = |trouble: Trouble| {
            let gaps: Vec<&Gap> = self.gaps.iter().filter(|gap| gap.trouble == trouble).collect();
            let (first, last) = (gaps.first()?, gaps.last()?);
            let whole = last.index - first.index + 1 == gaps.len();
            let at = format!("{noun}{}", significant(first.x));
            let place = if gaps.len() == 1 {
                format!("at {at}")
            } else if whole && last.index + 1 == self.count {
                format!("from {at}")
            } else if whole {
                format!("from {at} to {}", significant(last.x))
            } else {
                format!("at {} points, first at {at}", gaps.len())
            };
            let text = format!("{}{} {place}", prefix(name), words(trouble));
            let runs = gaps.chunk_by(|a, b| b.index == a.index + 1);
            let stretches = runs.map(|run| (run[0].pixel, run[run.len() - 1].pixel)).collect();
            Some(Note { trouble, text, stretches, ink })
        };
        kinds(&self.gaps).into_iter().filter_map(note).collect()
    }
}

/// One note for each kind of trouble that many lines meet.
pub(crate) fn notes_of_lines(splits: &[Split], noun: &str, ink: Ink) -> Vec<Note> {
    let note = |trouble: Trouble| {
        let first = |split: &Split| {
            let gap = split.gaps.iter().find(|gap| gap.trouble == trouble)?;
            Some((gap.x, gap.pixel))
        };
        let firsts: Vec<(f64, f64)> = splits.iter().filter_map(first).collect();
        let at = firsts.iter().map(|first| first.0).min_by(f64::total_cmp)?;
        let text = format!(
            "{} in {} of {} lines, first at {noun}{}",
            words(trouble),
            firsts.len(),
            splits.len(),
            significant(at)
        );
        let stretches = firsts.iter().map(|&(_, pixel)| (pixel, pixel)).collect();
        Some(Note { trouble, text, stretches, ink })
    };
    kinds(splits.iter().flat_map(|split| &split.gaps)).into_iter().filter_map(note).collect()
}

fn kinds<'a>(gaps: impl IntoIterator<Item = &'a Gap>) -> Vec<Trouble> {
    let mut kinds: Vec<Trouble> = gaps.into_iter().map(|gap| gap.trouble).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn prefix(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{name}: ") }
}

/// What happened, in words.
pub(crate) fn words(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Infinite => "∞",
        Trouble::MinusInfinite => "−∞",
        Trouble::NotANumber => "not a number",
        Trouble::Zero => "0",
        Trouble::Negative => "negative",
        Trouble::Above => "above the axis",
        Trouble::Below => "below the axis",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Axis;

    fn split(values: &[f64]) -> Split {
        let points = || values.iter().enumerate().map(|(i, &v)| (i as f64, v));
        let x = Ruler::new(&Axis::linear(""), points().map(|p| p.0), 0.0).along(0.0, 100.0);
        let y = Ruler::new(&Axis::log10(""), points().map(|p| p.1), 0.0).along(100.0, 0.0);
        Split::new(points(), &x, &y)
    }

    #[test]
    fn a_line_breaks_where_it_has_no_place_and_says_so() {
        let texts = |values: &[f64]| -> Vec<String> {
            split(values).notes("", "layer ", Ink::TEXT).into_iter().map(|n| n.text).collect()
        };
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!(texts(&[1.0, 10.0, inf, inf, inf]), ["∞ from layer 2"]);
        assert_eq!(texts(&[1.0, inf, 10.0]), ["∞ at layer 1"]);
        assert_eq!(texts(&[1.0, 0.0, 0.0, 10.0]), ["0 from layer 1 to 2"]);
        assert_eq!(
            texts(&[nan, 1.0, nan, -2.0]),
            ["not a number at 2 points, first at layer 0", "negative at layer 3"]
        );
        assert!(texts(&[1.0, 2.0]).is_empty());
        let broken = split(&[1.0, 2.0, nan, 3.0, 4.0, inf]);
        assert_eq!(broken.runs.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn many_lines_share_a_note() {
        let splits = [split(&[1.0, 2.0, 3.0]), split(&[1.0, 0.0, 0.0]), split(&[1.0, 1.0, 0.0])];
        let notes = notes_of_lines(&splits, "layer ", Ink::TEXT);
        assert_eq!(notes.len(), 1);
        assert_eq!(notes[0].text, "0 in 2 of 3 lines, first at layer 1");
    }
}

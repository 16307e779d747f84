//! What lies inside the plot: plotters itself draws wherever it is told.

use super::canvas::Spot;

/// The plot's rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Frame {
    pub(crate) fn contains(&self, (x, y): Spot) -> bool {
        // Rounding must not lose the points on the border.
        const SLACK: f64 = 1e-6;
        x >= self.left - SLACK
            && x <= self.right + SLACK
            && y >= self.top - SLACK
            && y <= self.bottom + SLACK
    }

    pub(crate) fn width(&self) -> f64 {
        self.right - self.left
    }

    pub(crate) fn height(&self) -> f64 {
        self.bottom - self.top
    }

    /// The parts of a line inside, by Liang and Barsky's method.
    pub(crate) fn clip_line(&self, spots: &[Spot]) -> Vec<Vec<Spot>> {
        let mut parts: Vec<Vec<Spot>> = Vec::new();
        for pair in spots.windows(2) {
            let Some((from, to)) = self.clip_segment(pair[0], pair[1]) else { continue };
            match parts.last_mut() {
                Some(part) if part.last() == Some(&from) => part.push(to),
                _ => parts.push(vec![from, to]),
            }
        }
        parts
    }

    fn clip_segment(&self, from: Spot, to: Spot) -> Option<(Spot, Spot)> {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
        let sides = [
            (-dx, from.0 - self.left),
            (dx, self.right - from.0),
            (-dy, from.1 - self.top),
            (dy, self.bottom - from.1),
        ];
        for (towards, room) in sides {
            if towards == 0.0 {
                if room < 0.0 {
                    return None;
                }
            } else if towards < 0.0 {
                enter = enter.max(room / towards);
            } else {
                leave = leave.min(room / towards);
            }
        }
        let at = |share: f64| (from.0 + share * dx, from.1 + share * dy);
        let start = if enter > 0.0 { at(enter) } else { from };
        let end = if leave < 1.0 { at(leave) } else { to };
        (enter <= leave).then_some((start, end))
    }

    /// The part of a shape inside, by Sutherland and Hodgman's method.
    pub(crate) fn clip_polygon(&self, spots: Vec<Spot>) -> Vec<Spot> {
        let sides: [fn(&Frame, Spot) -> f64; 4] =
            [|f, s| s.0 - f.left, |f, s| f.right - s.0, |f, s| s.1 - f.top, |f, s| f.bottom - s.1];
        sides.iter().fold(spots, |shape, inside| {
            let mut kept = Vec::with_capacity(shape.len() + 2);
            for (i, &to) in shape.iter().enumerate() {
                let from = shape[(i + shape.len() - 1) % shape.len()];
                let (a, b) = (inside(self, from), inside(self, to));
                if (a >= 0.0) != (b >= 0.0) {
                    let share = a / (a - b);
                    kept.push((from.0 + share * (to.0 - from.0), from.1 + share * (to.1 - from.1)));
                }
                if b >= 0.0 {
                    kept.push(to);
                }
            }
            kept
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame { left: 0.0, top: 0.0, right: 10.0, bottom: 10.0 };

    #[test]
    fn lines_are_cut_at_the_border() {
        let parts =
            FRAME.clip_line(&[(-10.0, 5.0), (5.0, 5.0), (5.0, 50.0), (20.0, 50.0), (8.0, 5.0)]);
        assert_eq!(parts[0], [(0.0, 5.0), (5.0, 5.0), (5.0, 10.0)]);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[1].last(), Some(&(8.0, 5.0)));
        assert!(parts.concat().iter().all(|&spot| FRAME.contains(spot)));
        assert!(FRAME.clip_line(&[(-1.0, -1.0), (-1.0, 20.0)]).is_empty());
    }

    #[test]
    fn shapes_are_cut_at_the_border() {
        let shape = FRAME.clip_polygon(vec![(-4.0, 5.0), (5.0, -4.0), (14.0, 5.0), (5.0, 14.0)]);
        assert!(shape.iter().all(|&spot| FRAME.contains(spot)), "{shape:?}");
        assert_eq!(shape.len(), 8, "the diamond crosses each side twice: {shape:?}");
        assert!(FRAME.clip_polygon(vec![(20.0, 20.0), (30.0, 20.0), (30.0, 30.0)]).is_empty());
    }
}

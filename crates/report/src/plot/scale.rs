//! From values to pixels, and which values deserve a tick.

use crate::number::{fixed, power_of_ten, significant};
use crate::{Axis, AxisScale};

/// Values beyond this have no place on a linear axis: their differences would overflow.
const LINEAR_LIMIT: f64 = 1e300;

/// Why a value is not on the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    Infinite,
    /// Finite, beyond the upper end of the axis.
    Above,
    NotANumber,
    MinusInfinite,
    /// Zero on a logarithmic axis.
    Zero,
    /// Negative on a logarithmic axis.
    Negative,
    /// Finite, beyond the lower end of the axis.
    Below,
}

/// A value on the axis' own scale.
fn measure(scale: &AxisScale, value: f64) -> Result<f64, Trouble> {
    if value.is_nan() {
        return Err(Trouble::NotANumber);
    }
    let log = *scale == AxisScale::Log10;
    match value {
        f64::INFINITY => Err(Trouble::Infinite),
        f64::NEG_INFINITY => Err(Trouble::MinusInfinite),
        0.0 if log => Err(Trouble::Zero),
        v if log && v < 0.0 => Err(Trouble::Negative),
        v if log => Ok(v.log10()),
        v if v > LINEAR_LIMIT => Err(Trouble::Above),
        v if v < -LINEAR_LIMIT => Err(Trouble::Below),
        v => Ok(v),
    }
}

/// An axis laid along pixels.
#[derive(Clone, Debug)]
pub(crate) struct Ruler {
    scale: AxisScale,
    low: f64,
    high: f64,
    /// Pixels of the two ends.
    start: f64,
    end: f64,
}

impl Ruler {
    /// An axis over its fixed range, or else over the values and `margin`, a share of their extent, on
    /// both sides. A range that is empty or has no place on the scale counts as none.
    pub(crate) fn new(axis: &Axis, values: impl Iterator<Item = f64>, margin: f64) -> Self {
        let scale = axis.scale.clone();
        if let AxisScale::Categories(names) = &scale {
            let last = names.len().max(1) as f64 - 0.5;
            return Self { scale, low: -0.5, high: last, start: 0.0, end: 1.0 };
        }
        let fixed = axis.range.and_then(|(low, high)| {
            Some((measure(&scale, low).ok()?, measure(&scale, high).ok()?)).filter(|(l, h)| l < h)
        });
        if let Some((low, high)) = fixed {
            return Self { scale, low, high, start: 0.0, end: 1.0 };
        }
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for position in values.filter_map(|value| measure(&scale, value).ok()) {
            low = low.min(position);
            high = high.max(position);
        }
        if low > high {
            (low, high) = if scale == AxisScale::Log10 { (-1.0, 1.0) } else { (0.0, 1.0) };
        }
        // Rounding noise must not fill the plot.
        let least = if scale == AxisScale::Log10 {
            0.02
        } else {
            (low.abs().max(high.abs()) * 1e-3).max(1e-300)
        };
        if high - low < least {
            let middle = low + (high - low) / 2.0;
            (low, high) = (middle - least / 2.0, middle + least / 2.0);
        }
        let pad = (high - low) * margin;
        Self { scale, low: low - pad, high: high + pad, start: 0.0, end: 1.0 }
    }

    /// The axis without its margin below zero.
    pub(crate) fn starting_at_zero(mut self) -> Self {
        if self.scale == AxisScale::Linear && self.low < 0.0 && self.high > 0.0 {
            self.low = 0.0;
        }
        self
    }

    /// The axis between two pixels.
    pub(crate) fn along(mut self, start: f64, end: f64) -> Self {
        (self.start, self.end) = (start, end);
        self
    }

    /// Where a value is in pixels, possibly off a fixed range, or why it has no place.
    pub(crate) fn place(&self, value: f64) -> Result<f64, Trouble> {
        measure(&self.scale, value).map(|position| self.pixel(position))
    }

    /// Which end of the axis a value is beyond, if any.
    pub(crate) fn beyond(&self, value: f64) -> Option<Trouble> {
        let position = measure(&self.scale, value).ok()?;
        let slack = (self.high - self.low) * 1e-9;
        if position > self.high + slack {
            Some(Trouble::Above)
        } else if position < self.low - slack {
            Some(Trouble::Below)
        } else {
            None
        }
    }

    fn pixel(&self, position: f64) -> f64 {
        let share = (position - self.low) / (self.high - self.low);
        self.start + share * (self.end - self.start)
    }

    /// At most about `count` ticks: pixel and label. `whole` allows integers only.
    pub(crate) fn ticks(&self, count: usize, whole: bool) -> Vec<(f64, String)> {
        let positions = match &self.scale {
            AxisScale::Categories(names) => {
                names.iter().enumerate().map(|(i, name)| (i as f64, name.clone())).collect()
            }
            AxisScale::Linear => linear_ticks(self.low, self.high, count, whole),
            AxisScale::Log10 => log_ticks(self.low, self.high, count),
        };
        positions.into_iter().map(|(position, label)| (self.pixel(position), label)).collect()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten, with as many decimals as the step needs.
fn linear_ticks(low: f64, high: f64, count: usize, whole: bool) -> Vec<(f64, String)> {
    let rough = (high - low) / count.max(2) as f64;
    let unit = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|f| f * unit >= rough * 0.999).unwrap_or(10.0);
    let step = if whole { (factor * unit).max(1.0) } else { factor * unit };
    if !(step.is_finite() && step > 0.0) {
        return Vec::new();
    }
    let slack = step * 1e-6;
    let first = ((low - slack) / step).ceil();
    let values: Vec<f64> = (0..50)
        .map(|i| (first + f64::from(i)) * step)
        .take_while(|&v| v <= high + slack)
        .map(|v| if v.abs() < slack { 0.0 } else { v })
        .collect();
    let largest = values.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let decimals = -(step.log10() + 1e-9).floor();
    let label = |v: f64| {
        if largest < 1e6 && decimals <= 5.0 {
            fixed(v, decimals.max(0.0) as usize)
        } else {
            // Rounded to the step, without a trace of binary fractions.
            let digits = ((largest / step).log10().floor() as usize + 1).clamp(1, 15);
            significant(format!("{v:.digits$e}").parse().unwrap_or(v))
        }
    };
    values.iter().map(|&v| (v, label(v))).collect()
}

/// Powers of ten; within three decades 1, 2 and 5 as well; within less than one, round values.
fn log_ticks(low: f64, high: f64, count: usize) -> Vec<(f64, String)> {
    let (first, last) = ((low - 1e-9).ceil() as i32, (high + 1e-9).floor() as i32);
    if last - first >= 2 {
        let step = [1, 2, 3, 5, 10, 20, 25, 50, 100, 200]
            .into_iter()
            .find(|step| (last - first) / step < count.max(2) as i32)
            .unwrap_or(250);
        let plain = low >= -3.01 && high <= 4.01;
        let label =
            |p: i32| if plain || p == 0 { significant(10f64.powi(p)) } else { power_of_ten(p) };
        return (first..=last)
            .filter(|power| power.rem_euclid(step) == 0)
            .map(|power| (f64::from(power), label(power)))
            .collect();
    }
    let mut ticks = Vec::new();
    for power in first - 1..=last {
        for factor in [1.0_f64, 2.0, 5.0] {
            let position = f64::from(power) + factor.log10();
            if position >= low - 1e-9 && position <= high + 1e-9 {
                let value = format!("{factor}e{power}").parse().unwrap_or(0.0);
                ticks.push((position, significant(value)));
            }
        }
    }
    if ticks.len() >= 3 {
        return ticks;
    }
    linear_ticks(10f64.powf(low), 10f64.powf(high), count, false)
        .into_iter()
        .filter(|&(value, _)| value > 0.0)
        .map(|(value, label)| (value.log10(), label))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, values: &[f64]) -> Vec<String> {
        let ruler = Ruler::new(axis, values.iter().copied(), 0.0);
        ruler.ticks(6, false).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&Axis::linear(""), &[0.0, 50.0]), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(labels(&Axis::linear(""), &[-1.0, 1.0]), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(labels(&Axis::linear(""), &[0.0, 3e-7])[1], "5×10⁻⁸");
        assert_eq!(labels(&Axis::log10(""), &[1e-3, 10.0]), ["0.001", "0.01", "0.1", "1", "10"]);
        assert_eq!(labels(&Axis::log10(""), &[1e-80, 1.0])[0], "10⁻⁸⁰");
        assert_eq!(labels(&Axis::log10(""), &[0.5, 2.0]), ["0.5", "1", "2"]);
        assert_eq!(labels(&Axis::log10(""), &[0.97, 1.03])[..3], ["0.97", "0.98", "0.99"]);
    }

    #[test]
    fn any_range_has_a_few_distinct_ticks_inside() {
        let powers = [-307, -80, -7, -1, 0, 1, 5, 40, 299];
        for low in powers {
            for high in powers {
                for axis in [Axis::linear(""), Axis::log10("")] {
                    let values = [10f64.powi(low), 3.7 * 10f64.powi(high)];
                    let ruler = Ruler::new(&axis, values.into_iter(), 0.05).along(0.0, 300.0);
                    let ticks = ruler.ticks(6, false);
                    assert!((2..=12).contains(&ticks.len()), "{low} {high} {axis:?} {ticks:?}");
                    assert!(ticks.iter().all(|(x, _)| (-0.01..=300.01).contains(x)), "{ticks:?}");
                    assert!(ticks.windows(2).all(|pair| pair[0].1 != pair[1].1), "{ticks:?}");
                }
            }
        }
    }

    #[test]
    fn values_without_a_place_say_why() {
        let log = Ruler::new(&Axis::log10(""), [1.0, 10.0].into_iter(), 0.0);
        for (value, trouble) in [
            (0.0, Trouble::Zero),
            (-0.0, Trouble::Zero),
            (-2.0, Trouble::Negative),
            (f64::NAN, Trouble::NotANumber),
            (f64::INFINITY, Trouble::Infinite),
            (f64::NEG_INFINITY, Trouble::MinusInfinite),
        ] {
            assert_eq!(log.place(value), Err(trouble));
        }
        let linear = Ruler::new(&Axis::linear(""), [0.0, f64::MAX].into_iter(), 0.0);
        assert_eq!(linear.place(f64::MAX), Err(Trouble::Above));
    }

    #[test]
    fn a_constant_is_drawn_in_the_middle() {
        for value in [0.0, 1.0, -3.0, 1e-200, 1e200] {
            let ruler = Ruler::new(&Axis::linear(""), [value, value].into_iter(), 0.05);
            let place = ruler.place(value);
            assert!(place.is_ok_and(|p| (p - 0.5).abs() < 1e-6), "{value}: {place:?}");
        }
    }
}

use gainstage_spec::Activation;
use serde::{Deserialize, Serialize};

use crate::error::{TheoryError, not_negative};
use crate::kernel::parting;
use crate::moments::{Moments, largest_variance, map_at, within_reach};
use crate::roots::bracketed;

/// An infinitely wide network of equal layers: activation, weight variance times fan-in, bias variance.
///
/// The two maps of Poole et al. 2016, for pre-activations z of variance q and two inputs of
/// correlation c,
///
/// ```text
/// q' = sigma_w^2 E phi(z)^2 / keep + sigma_b^2
/// c' = (sigma_w^2 E phi(u) phi(v) + sigma_b^2) / q'
/// ```
///
/// with inverted dropout of independent masks where `keep` < 1 (Schoenholz et al. 2017).
#[derive(Clone, Debug, PartialEq)]
pub struct MeanField {
    pub(crate) activation: Activation,
    pub(crate) weight_variance: f64,
    pub(crate) bias_variance: f64,
    pub(crate) keep: f64,
}

/// A variance that the variance map returns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FixedPoint {
    /// The variance of the pre-activations.
    pub q: f64,
    /// Slope of the variance map there: deviations are multiplied by it from layer to layer.
    pub slope: f64,
}

impl FixedPoint {
    /// Whether deviations shrink.
    pub fn is_stable(&self) -> bool {
        self.slope < 1.0
    }
}

/// Where the variance goes with depth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum VarianceLimit {
    /// To this fixed point.
    Fixed {
        /// Variance and slope.
        point: FixedPoint,
    },
    /// Every variance stays what it is.
    Kept {
        /// The starting variance.
        q: f64,
    },
    /// Beyond all bounds.
    Diverges,
}

impl MeanField {
    /// From sigma_w^2 and sigma_b^2, both finite and not negative.
    ///
    /// # Errors
    /// [`TheoryError::Domain`].
    pub fn new(
        activation: &Activation,
        weight_variance: f64,
        bias_variance: f64,
    ) -> Result<Self, TheoryError> {
        Ok(Self {
            activation: activation.clone(),
            weight_variance: not_negative("the weight variance", weight_variance)?,
            bias_variance: not_negative("the bias variance", bias_variance)?,
            keep: 1.0,
        })
    }

    /// The same with each activation kept with this probability.
    ///
    /// # Errors
    /// [`TheoryError::Domain`] unless 0 < keep <= 1.
    pub fn with_dropout(self, keep: f64) -> Result<Self, TheoryError> {
        if keep > 0.0 && keep <= 1.0 {
            Ok(Self { keep, ..self })
        } else {
            let bound = "above 0 and at most 1";
            Err(TheoryError::Domain { what: "the keep probability", value: keep, bound })
        }
    }

    /// Variance and gap 1 - c of the next layer's pre-activations.
    ///
    /// # Errors
    /// [`TheoryError::Domain`] for q negative or not finite, a gap outside [0, 2].
    ///
    /// # Example
    /// ```
    /// use gainstage_spec::Activation;
    /// use gainstage_theory::MeanField;
    /// // Xavier's tanh: q decays like 1/(2 l).
    /// let xavier = MeanField::new(&Activation::Tanh, 1.0, 0.0)?;
    /// let (mut q, mut gap) = (1.0, 0.5);
    /// for _ in 1..1000 {
    ///     (q, gap) = xavier.step(q, gap)?;
    /// }
    /// assert!((q - 0.00050166653494657).abs() < 1e-15);
    /// # Ok::<(), gainstage_theory::TheoryError>(())
    /// ```
    pub fn step(&self, q: f64, gap: f64) -> Result<(f64, f64), TheoryError> {
        within_reach(&self.activation, q)?;
        if !(0.0..=2.0).contains(&gap) {
            let bound = "between 0 and 2";
            return Err(TheoryError::Domain { what: "the gap 1 - correlation", value: gap, bound });
        }
        let next = self.map(&map_at(&self.activation, q));
        Ok((next, self.gap_map(q, next, gap)))
    }

    pub(crate) fn map(&self, m: &Moments) -> f64 {
        self.weight_variance * m.second_moment / self.keep + self.bias_variance
    }

    /// 1 - c' for inputs of variance q, with q' at hand.
    fn gap_map(&self, q: f64, next: f64, gap: f64) -> f64 {
        self.joined(next, parting(&self.activation, q, gap))
    }

    /// 1 - c' from E (phi(u) - phi(v))^2 / 2.
    pub(crate) fn joined(&self, next: f64, parted: f64) -> f64 {
        if next == 0.0 {
            return 0.0;
        }
        let masks = (next - self.bias_variance) * (1.0 - self.keep);
        ((self.weight_variance * parted + masks) / next).min(2.0)
    }

    fn fixed_point(&self, q: f64) -> FixedPoint {
        let m = map_at(&self.activation, q);
        FixedPoint { q, slope: self.weight_variance * m.second_moment_slope / self.keep }
    }

    /// Every fixed point of the variance map, in ascending order, between 1e-12 and 1e12 (or the reach of
    /// a custom activation) and at 0.
    ///
    /// Empty where every variance is a fixed point, or none.
    ///
    /// # Example
    /// ```
    /// use gainstage_spec::Activation;
    /// use gainstage_theory::MeanField;
    /// // The gain that keeps GELU's unit variance sits on an unstable fixed point.
    /// let gain = gainstage_theory::gain(&Activation::Gelu);
    /// let points = MeanField::new(&Activation::Gelu, gain * gain, 0.0)?.fixed_points();
    /// assert_eq!(points.len(), 2);
    /// assert!(points[0].q == 0.0 && points[0].is_stable());
    /// assert!((points[1].q - 1.0).abs() < 1e-12 && (points[1].slope - 1.14406319687).abs() < 1e-10);
    /// # Ok::<(), gainstage_theory::TheoryError>(())
    /// ```
    pub fn fixed_points(&self) -> Vec<FixedPoint> {
        self.fixed_points_on(&scan(&self.activation))
    }

    /// [`MeanField::fixed_points`] from E phi^2 on the grid of [`scan`].
    pub(crate) fn fixed_points_on(&self, scan: &[(f64, f64)]) -> Vec<FixedPoint> {
        if self.activation.slopes().is_some() {
            return self.homogeneous_fixed_point().into_iter().collect();
        }
        let ratio = |x: f64, second: f64| {
            let map = self.weight_variance * second / self.keep + self.bias_variance;
            map.ln() - x
        };
        let growth = |x: f64| ratio(x, map_at(&self.activation, x.exp()).second_moment);
        let mut found = Vec::new();
        if self.bias_variance == 0.0 && self.activation.value(0.0) == 0.0 {
            found.push(self.fixed_point(0.0));
        }
        let mut values: Vec<(f64, f64)> = scan.iter().map(|&(x, v)| (x, ratio(x, v))).collect();
        // Two crossings within one cell: look where the growth comes near zero between its neighbours.
        for i in 1..scan.len() - 1 {
            let (before, here, after) = (values[i - 1].1, values[i].1, values[i + 1].1);
            let same = (before > 0.0) == (here > 0.0) && (here > 0.0) == (after > 0.0);
            let dip = here.abs() < before.abs().min(after.abs());
            // The turning value of the parabola through the three, in units of their rise.
            let (rise, bend) = (after - before, before - 2.0 * here + after);
            let turn = here.signum() * (here - rise * rise / (8.0 * bend));
            if same && dip && turn < 0.05 * bend.abs() && bend.abs() > 1e-9 {
                let turn = nearest_to_zero(scan[i - 1].0, scan[i + 1].0, growth);
                let value = growth(turn);
                if (value > 0.0) != (here > 0.0) {
                    values.push((turn, value));
                }
            }
        }
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        for pair in values.windows(2) {
            let ((a, fa), (b, fb)) = (pair[0], pair[1]);
            // Vanishing growth within rounding is no crossing.
            if (fa > 0.0) != (fb > 0.0) && fa.abs().max(fb.abs()) > 1e-13 {
                found.push(self.refined(a, b, fa, fb));
            }
        }
        found
    }

    /// The fixed point between a and b = ln q, where ln(map / q) changes its sign: Newton's method
    /// from the secant, or a bracketing one where that leaves the interval.
    fn refined(&self, a: f64, b: f64, fa: f64, fb: f64) -> FixedPoint {
        let growth = |x: f64| {
            let m = map_at(&self.activation, x.exp());
            let map = self.map(&m);
            let slope = self.weight_variance * m.second_moment_slope / self.keep;
            ((map / m.q).ln(), slope * m.q / map - 1.0, FixedPoint { q: m.q, slope })
        };
        let mut x = b - fb * (b - a) / (fb - fa);
        for _ in 0..12 {
            let (f, derivative, point) = growth(x);
            let step = f / derivative;
            if step.abs() < 1e-14 {
                return point;
            }
            x -= step;
            if !(x > a && x < b) {
                break;
            }
            if step.abs() < 1e-9 {
                // Quadratic convergence: the next step would be below rounding.
                return growth(x).2;
            }
        }
        self.fixed_point(bracketed(a, b, fa, fb, |x| growth(x).0).exp())
    }

    /// sigma_b^2 / (1 - sigma_w^2 E phi^2 / q) for activations linear on each side of zero.
    fn homogeneous_fixed_point(&self) -> Option<FixedPoint> {
        let slope = self.weight_variance * map_at(&self.activation, 1.0).second_moment / self.keep;
        if slope < 1.0 {
            Some(FixedPoint { q: self.bias_variance / (1.0 - slope), slope })
        } else if slope > 1.0 && self.bias_variance == 0.0 {
            Some(FixedPoint { q: 0.0, slope })
        } else {
            None
        }
    }

    /// Where the variance goes from q.
    ///
    /// The variance map increases with q for every activation here, so that the variance moves to the
    /// next fixed point in the direction of its first step.
    ///
    /// # Errors
    /// [`TheoryError::Domain`] for q negative or not finite.
    pub fn variance_limit(&self, q: f64) -> Result<VarianceLimit, TheoryError> {
        within_reach(&self.activation, q)?;
        let points = self.fixed_points();
        Ok(self.limit_among(&points, q))
    }

    pub(crate) fn limit_among(&self, points: &[FixedPoint], q: f64) -> VarianceLimit {
        let next = self.map(&map_at(&self.activation, q));
        let near = |p: &&FixedPoint| (p.q - q).abs() <= 1e-12 * q;
        if let Some(point) = points.iter().find(near) {
            return VarianceLimit::Fixed { point: *point };
        }
        let target = if (next - q).abs() <= 1e-15 * q && points.is_empty() {
            return VarianceLimit::Kept { q };
        } else if next >= q {
            points.iter().find(|p| p.q > q)
        } else {
            points.iter().rev().find(|p| p.q < q)
        };
        target.map_or(VarianceLimit::Diverges, |point| VarianceLimit::Fixed { point: *point })
    }
}

/// ln q from 1e-12 to 1e12 in steps of a quarter, and E phi^2 there.
pub(crate) fn scan(activation: &Activation) -> Vec<(f64, f64)> {
    (-110..=110)
        .map(|i| 0.25 * f64::from(i))
        .filter(|x| x.exp() <= largest_variance(activation))
        .map(|x| (x, map_at(activation, x.exp()).second_moment))
        .collect()
}

/// Where |f| is smallest between a and b, by golden section.
fn nearest_to_zero(mut a: f64, mut b: f64, f: impl Fn(f64) -> f64) -> f64 {
    let ratio = 0.5 * (5f64.sqrt() - 1.0);
    let sign = f(0.5 * (a + b)).signum();
    for _ in 0..40 {
        let (left, right) = (b - ratio * (b - a), a + ratio * (b - a));
        if sign * f(left) < sign * f(right) {
            b = right;
        } else {
            a = left;
        }
    }
    0.5 * (a + b)
}

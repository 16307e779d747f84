//! Activations given by sampled points.

use crate::SpecError;
use crate::expression::Dual;

/// A monotone piecewise cubic through points, straight beyond the outermost (Fritsch & Butland 1984).
///
/// Between the points it rises and falls only as they do; it is continuous with its derivative.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tabulated {
    pub(crate) points: Vec<(f64, f64)>,
    slopes: Vec<f64>,
}

/// Integrals over pairs of inputs take time in the square of the number of points.
const MAX_POINTS: usize = 4096;

impl Tabulated {
    pub(crate) fn new(points: Vec<(f64, f64)>) -> Result<Self, SpecError> {
        if points.len() < 2 || points.len() > MAX_POINTS {
            return Err(SpecError::domain(
                "the number of points of an activation's table",
                points.len() as f64,
                "between 2 and 4096",
            ));
        }
        for &(z, value) in &points {
            for number in [z, value] {
                if !number.is_finite() {
                    let what = "a number in an activation's table";
                    return Err(SpecError::domain(what, number, "finite"));
                }
            }
        }
        if let Some(pair) = points.windows(2).find(|pair| pair[1].0 <= pair[0].0) {
            return Err(SpecError::domain(
                format!("the point after z = {} in an activation's table", pair[0].0),
                pair[1].0,
                "larger; points must be sorted by z, each z once",
            ));
        }
        let slopes = slopes(&points);
        Ok(Self { points, slopes })
    }

    pub(crate) fn at(&self, z: f64) -> Dual {
        let last = self.points.len() - 1;
        let line = |i: usize| Dual {
            value: self.points[i].1 + self.slopes[i] * (z - self.points[i].0),
            slope: self.slopes[i],
        };
        if z.is_nan() || z <= self.points[0].0 {
            return line(0);
        }
        if z >= self.points[last].0 {
            return line(last);
        }
        let right = self.points.partition_point(|p| p.0 < z);
        let ((z0, y0), (z1, y1)) = (self.points[right - 1], self.points[right]);
        let (m0, m1) = (self.slopes[right - 1], self.slopes[right]);
        let h = z1 - z0;
        let t = (z - z0) / h;
        // Cubic Hermite form.
        let rise = (y1 - y0) / h;
        let (a, b) = (m0 - rise, m1 - rise);
        let u = 1.0 - t;
        Dual {
            value: u * y0 + t * y1 + h * t * u * (a * u - b * t),
            slope: rise + a * u * (u - 2.0 * t) + b * t * (t - 2.0 * u),
        }
    }
}

/// Harmonic means of neighbouring secants where they agree in sign, 0 at turning points, the secant at
/// both ends.
fn slopes(points: &[(f64, f64)]) -> Vec<f64> {
    let secants: Vec<f64> =
        points.windows(2).map(|p| (p[1].1 - p[0].1) / (p[1].0 - p[0].0)).collect();
    let mut slopes = vec![secants[0]];
    for i in 1..secants.len() {
        let (left, right) = (points[i].0 - points[i - 1].0, points[i + 1].0 - points[i].0);
        let (a, b) = (secants[i - 1], secants[i]);
        slopes.push(if a * b > 0.0 {
            let (wa, wb) = (left + 2.0 * right, 2.0 * left + right);
            (wa + wb) / (wb / a + wa / b)
        } else {
            0.0
        });
    }
    slopes.extend(secants.last());
    slopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_passes_through_its_points_and_is_monotone_between() {
        let points: Vec<(f64, f64)> =
            (-20..=20).map(|i| f64::from(i) / 5.0).map(|z| (z, z.tanh())).collect();
        let table = Tabulated::new(points.clone()).expect("valid");
        for (z, value) in points {
            assert!((table.at(z).value - value).abs() < 1e-15);
        }
        let mut before = f64::NEG_INFINITY;
        for i in -500..500 {
            let z = f64::from(i) / 100.0;
            let here = table.at(z);
            assert!(here.value >= before && (here.value - z.tanh()).abs() < 2e-3);
            let h = 1e-6;
            let slope = (table.at(z + h).value - table.at(z - h).value) / (2.0 * h);
            assert!((here.slope - slope).abs() < 1e-4, "{z}: {} {slope}", here.slope);
            before = here.value;
        }
    }

    #[test]
    fn impossible_tables_are_refused() {
        let error =
            |points: Vec<(f64, f64)>| Tabulated::new(points).expect_err("must fail").to_string();
        assert!(error(vec![(0.0, 0.0)]).contains("between 2 and 4096"));
        assert!(error(vec![(0.0, 0.0), (0.0, 1.0)]).contains("sorted"));
        assert!(error(vec![(0.0, f64::NAN), (1.0, 1.0)]).contains("finite"));
    }
}

use std::fmt;

use crate::SpecError;
use crate::expression::{Dual, Expression, parse};
use crate::tabulated::Tabulated;

/// An activation that the user wrote: a formula of z, or sampled points.
///
/// As text it is `expr(z * sigmoid(1.5 * z))` or `table(-1: -0.5, 0: 0, 1: 1)`. Formulas know
/// `+ - * / ^`, `pi`, `exp`, `expm1`, `ln`, `ln1p`, `sqrt`, `cos`, `sinh`, `cosh`, `min`, `max`,
/// `clamp(a, low, high)`, `where(t, a, b)` (a for t > 0, else b) and every built-in activation by name.
/// Points are joined by a monotone cubic (Fritsch & Butland 1984), straight beyond the outermost.
///
/// When it is made it is examined once: where it has kinks, between which points a polynomial follows
/// it, whether it is odd or linear on each side of zero. How far out that succeeded is its [reach].
///
/// [reach]: crate::Activation::reach
///
/// # Example
/// ```
/// use gainstage_spec::Activation;
/// let phi: Activation = "expr(max(z, 0.1 * z))".parse()?;
/// assert_eq!(phi.value(-2.0), -0.2);
/// assert_eq!(phi.slopes(), Some((0.1, 1.0)));
/// let phi: Activation = "expr(z * clamp(z / 6 + 0.5, 0, 1))".parse()?;
/// assert_eq!(phi.kinks(), [-3.0, 3.0]);
/// let error = "expr(where(z, 1, 0))".parse::<Activation>().expect_err("must fail").to_string();
/// assert!(error.contains("jumps"));
/// # Ok::<(), gainstage_spec::SpecError>(())
/// ```
#[derive(Clone, Debug)]
pub struct CustomActivation {
    text: String,
    form: Form,
    kinks: Vec<f64>,
    cuts: Vec<f64>,
    reach: f64,
    slopes: Option<(f64, f64)>,
    odd: bool,
    /// Largest |phi| and |phi'| between -1 and 1.
    scale: f64,
}

#[derive(Clone, Debug)]
enum Form {
    Expression(Expression),
    Table(Tabulated),
}

impl PartialEq for CustomActivation {
    /// Equal when written alike.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for CustomActivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl CustomActivation {
    /// From a formula of z.
    ///
    /// # Errors
    /// [`SpecError::Formula`] for what cannot be read, is not finite between -64 and 64, or jumps.
    pub fn expression(formula: &str) -> Result<Self, SpecError> {
        let formula = formula.trim();
        let form = Form::Expression(parse(formula)?);
        Self::examine(format!("expr({formula})"), form)
    }

    /// From points (z, phi(z)) in ascending order of z.
    ///
    /// # Errors
    /// [`SpecError::Domain`] for fewer than 2 or more than 4096 points, for numbers that are not finite,
    /// and for a z that is not larger than the one before.
    pub fn table(points: Vec<(f64, f64)>) -> Result<Self, SpecError> {
        let listed: Vec<String> = points.iter().map(|(z, value)| format!("{z}: {value}")).collect();
        let form = Form::Table(Tabulated::new(points)?);
        Self::examine(format!("table({})", listed.join(", ")), form)
    }

    /// From the text between the brackets of `table(...)`.
    pub(crate) fn read_table(inside: &str) -> Result<Self, SpecError> {
        let point = |part: &str| {
            let (z, value) = part.split_once(':')?;
            Some((z.trim().parse().ok()?, value.trim().parse().ok()?))
        };
        let points = inside
            .split(',')
            .map(|part| {
                point(part).ok_or_else(|| SpecError::Formula {
                    text: format!("table({inside})"),
                    why: format!("\"{}\" is not of the form z: value", part.trim()),
                })
            })
            .collect::<Result<_, _>>()?;
        Self::table(points)
    }

    fn examine(text: String, form: Form) -> Result<Self, SpecError> {
        let mut found = Self {
            text,
            form,
            kinks: Vec::new(),
            cuts: Vec::new(),
            reach: f64::INFINITY,
            slopes: None,
            odd: false,
            scale: 0.0,
        };
        let refuse = |why: String| SpecError::Formula { text: found.text.clone(), why };
        for z in probes() {
            let here = found.at(z);
            if !(here.value.is_finite() && here.slope.is_finite()) {
                return Err(refuse(format!(
                    "at z = {z} it is {} with derivative {}; an activation must be finite on both sides of zero",
                    here.value, here.slope
                )));
            }
        }
        let kinks = found.find_kinks();
        for &kink in &kinks {
            let step = 1e-9 * (1.0 + kink.abs());
            let (left, right) = (found.at(kink - step), found.at(kink + step));
            let bend = step * (left.slope.abs() + right.slope.abs());
            if (right.value - left.value).abs() > 1e-12 + 4.0 * bend {
                return Err(refuse(format!(
                    "it jumps from {} to {} at z = {kink}; an activation must be continuous, or its gradient means nothing",
                    left.value, right.value
                )));
            }
        }
        found.kinks = kinks;
        found.scale = probes()
            .filter(|z| z.abs() <= 1.0)
            .map(|z| found.at(z))
            .fold(0.0, |largest, d| largest.max(d.value.abs()).max(d.slope.abs()));
        found.odd = probes().all(|z| found.at(-z).value == -found.at(z).value);
        found.slopes = found.find_slopes();
        (found.cuts, found.reach) = found.find_cuts();
        if found.reach < 16.0 {
            return Err(SpecError::Formula {
                why: format!(
                    "it changes too fast to be followed beyond |z| = {}; Gaussian averages need 16 or more",
                    found.reach
                ),
                text: found.text,
            });
        }
        Ok(found)
    }

    pub(crate) fn at(&self, z: f64) -> Dual {
        match &self.form {
            Form::Expression(expression) => expression.at(z),
            Form::Table(table) => table.at(z),
        }
    }

    pub(crate) fn kinks(&self) -> &[f64] {
        &self.kinks
    }

    pub(crate) fn cuts(&self) -> &[f64] {
        &self.cuts
    }

    pub(crate) fn reach(&self) -> f64 {
        self.reach
    }

    pub(crate) fn slopes(&self) -> Option<(f64, f64)> {
        self.slopes
    }

    pub(crate) fn is_odd(&self) -> bool {
        self.odd
    }

    pub(crate) fn is_table(&self) -> bool {
        matches!(self.form, Form::Table(_))
    }

    /// Zeros of the switching quantities of a formula, to the last bits, between -64 and 64.
    fn find_kinks(&self) -> Vec<f64> {
        let Form::Expression(expression) = &self.form else { return Vec::new() };
        let switches = |z: f64| {
            let mut values = Vec::new();
            expression.switches(z, &mut |value| values.push(value));
            values
        };
        let grid: Vec<f64> = (-2048..=2048).map(|i| f64::from(i) / 32.0).collect();
        let mut before = switches(grid[0]);
        let mut kinks = Vec::new();
        for pair in grid.windows(2) {
            let here = switches(pair[1]);
            for i in 0..here.len() {
                if here[i] == 0.0 {
                    kinks.push(pair[1]);
                } else if before[i] * here[i] < 0.0 {
                    kinks.push(crossing(pair[0], pair[1], |z| switches(z)[i]));
                }
            }
            before = here;
        }
        kinks.sort_by(f64::total_cmp);
        kinks.dedup_by(|a, b| (*a - *b).abs() <= 1e-14 * b.abs());
        // A switch without a bend, as in max(z, z), is none.
        kinks.retain(|&kink| {
            let step = 1e-7 * (1.0 + kink.abs());
            let (left, right) = (self.at(kink - step), self.at(kink + step));
            let curved = (self.at(kink - 3.0 * step).slope - left.slope).abs()
                + (self.at(kink + 3.0 * step).slope - right.slope).abs();
            let bend = (right.slope - left.slope).abs();
            let jump = (right.value - left.value).abs()
                > 1e-12 + 4.0 * step * (left.slope.abs() + right.slope.abs());
            let second = |side: f64| {
                (self.at(kink + 3.0 * side).slope - self.at(kink + side).slope) / (2.0 * side)
            };
            let curvature_bends = (second(1e-4) - second(-1e-4)).abs() > 1e-2;
            jump || bend > 1e-12 + 2.0 * curved || curvature_bends
        });
        kinks
    }

    /// The two slopes where the function is linear on each side of zero.
    fn find_slopes(&self) -> Option<(f64, f64)> {
        if self.is_table()
            || self.kinks.iter().any(|&kink| kink != 0.0)
            || self.at(0.0).value != 0.0
        {
            return None;
        }
        let (negative, positive) = (self.at(-1.0).value, self.at(1.0).value);
        let close = |got: f64, expected: f64| (got - expected).abs() <= 4e-15 * expected.abs();
        let linear = probes().filter(|&z| z > 0.0).all(|z| {
            close(self.at(z).value, positive * z) && close(self.at(-z).value, negative * z)
        });
        linear.then_some((-negative, positive))
    }

    /// Where a quadrature should split besides the kinks, and how far out that is known.
    ///
    /// Outwards from zero over panels of doubling width, each is halved until the interpolant through
    /// 12 Chebyshev nodes follows the function to 3e-8 of its size there: products of two such functions
    /// are then integrated by as many Gauss nodes to about 1e-15.
    fn find_cuts(&self) -> (Vec<f64>, f64) {
        if let Form::Table(table) = &self.form {
            return (table.points.iter().map(|p| p.0).collect(), f64::INFINITY);
        }
        let mut cuts = Vec::new();
        let mut reach = 0.25;
        let mut panels = vec![(0.0, 0.25)];
        while reach < 2e7 {
            panels.push((reach, 2.0 * reach));
            reach *= 2.0;
        }
        for (low, high) in panels {
            let mut extra = Vec::new();
            let split =
                self.split(low, high, 0, &mut extra) && self.split(-high, -low, 0, &mut extra);
            if !split || cuts.len() + extra.len() > MAX_CUTS {
                cuts.sort_by(f64::total_cmp);
                return (cuts, low);
            }
            cuts.append(&mut extra);
        }
        cuts.sort_by(f64::total_cmp);
        (cuts, f64::INFINITY)
    }

    /// Adds cuts within the panel; false where it cannot be resolved.
    fn split(&self, low: f64, high: f64, depth: usize, cuts: &mut Vec<f64>) -> bool {
        let inside = self.kinks.iter().find(|&&kink| kink > low && kink < high);
        if let Some(&kink) = inside {
            return self.split(low, kink, depth, cuts) && self.split(kink, high, depth, cuts);
        }
        match self.follows(low, high) {
            None => false,
            Some(true) => true,
            Some(false) if depth >= 40 || cuts.len() > MAX_CUTS => false,
            Some(false) => {
                let middle = 0.5 * (low + high);
                cuts.push(middle);
                self.split(low, middle, depth + 1, cuts)
                    && self.split(middle, high, depth + 1, cuts)
            }
        }
    }

    /// Whether a polynomial of degree 11 follows value and derivative; `None` where one is not finite.
    fn follows(&self, low: f64, high: f64) -> Option<bool> {
        const NODES: usize = 12;
        let (middle, half) = (0.5 * (low + high), 0.5 * (high - low));
        let node = |i: f64| (std::f64::consts::PI * i / NODES as f64).cos();
        let points: Vec<(f64, Dual)> = (0..NODES)
            .map(|i| node(i as f64 + 0.5))
            .map(|t| (t, self.at(middle + half * t)))
            .collect();
        let largest =
            |of: fn(&Dual) -> f64| points.iter().map(|p| of(&p.1).abs()).fold(0.0, f64::max);
        let (size, steepest) = (largest(|d| d.value), largest(|d| d.slope));
        if !(size.is_finite() && steepest.is_finite()) {
            return None;
        }
        // Rounding of what a formula adds up, where the sum itself has all but vanished.
        let noise = 1e-14 * self.scale * (1.0 + low.abs().max(high.abs()));
        // Barycentric interpolation, weights (-1)^i sin of the node's angle.
        for i in 1..NODES {
            let t = node(i as f64);
            let (mut value, mut slope, mut total) = (0.0, 0.0, 0.0);
            for (k, &(at, dual)) in points.iter().enumerate() {
                let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
                let weight = sign * (1.0 - at * at).sqrt() / (t - at);
                total += weight;
                value += weight * dual.value;
                slope += weight * dual.slope;
            }
            let here = self.at(middle + half * t);
            let wrong = (value / total - here.value).abs() > 3e-8 * size + noise
                || (slope / total - here.slope).abs()
                    > 3e-8 * steepest.max(size / half) + 10.0 * noise;
            if wrong {
                return Some(false);
            }
        }
        Some(true)
    }
}

/// Beyond this a formula is taken as too wild to follow further out.
const MAX_CUTS: usize = 4000;

/// Where a formula is looked at: both signs, small, middling and, to 64, large.
fn probes() -> impl Iterator<Item = f64> {
    let small = (0..40).map(|i| 2f64.powi(-i));
    let large = (1..=640).map(|i| f64::from(i) * 0.1);
    small.chain(large).flat_map(|z| [z, -z]).chain([0.0])
}

/// The zero of a quantity that changes its sign, by bisection.
fn crossing(mut a: f64, mut b: f64, f: impl Fn(f64) -> f64) -> f64 {
    let sign = f(a).signum();
    for _ in 0..200 {
        let middle = 0.5 * (a + b);
        if middle <= a || middle >= b {
            break;
        }
        let here = f(middle);
        if here == 0.0 {
            return middle;
        }
        if here.signum() == sign { a = middle } else { b = middle }
    }
    0.5 * (a + b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Activation;

    fn custom(text: &str) -> CustomActivation {
        CustomActivation::expression(text).expect("valid")
    }

    #[test]
    fn kinks_are_found_to_the_last_bits() {
        assert_eq!(custom("max(z, 0)").kinks(), [0.0]);
        let pair = custom("clamp(z, -0.7, pi)");
        assert!((pair.kinks()[0] + 0.7).abs() < 1e-15);
        assert!((pair.kinks()[1] - std::f64::consts::PI).abs() < 1e-15);
        // No kink: both sides are the same function, or join smoothly.
        assert_eq!(custom("max(z, z)").kinks(), []);
        assert_eq!(custom("tanh(z) + abs(0)").kinks(), []);
        // The second derivative jumps: a quadrature must know.
        assert_eq!(custom("where(z, z^2, 0)").kinks(), [0.0]);
        assert_eq!(custom("relu6(z + 1)").kinks(), [-1.0, 5.0]);
    }

    #[test]
    fn structure_is_recognised() {
        assert_eq!(custom("3 * z").slopes(), Some((3.0, 3.0)));
        assert_eq!(custom("abs(z)").slopes(), Some((-1.0, 1.0)));
        assert_eq!(custom("tanh(z)").slopes(), None);
        assert!(custom("tanh(2 * z)").is_odd() && !custom("gelu(z)").is_odd());
        // Familiar functions need no cuts of their own, steep ones do, all to any distance.
        assert_eq!(custom("tanh(z)").cuts(), []);
        assert!(!custom("tanh(40 * z)").cuts().is_empty());
        assert_eq!(custom("tanh(40 * z)").reach(), f64::INFINITY);
        // Waves can be followed over a finite distance only, and exp overflows.
        let waves = custom("sin(5 * z)").reach();
        assert!(waves > 100.0 && waves < 1e5, "{waves}");
        assert_eq!(custom("ln1p(exp(z))").reach(), 512.0);
    }

    #[test]
    fn unusable_formulas_are_refused_with_the_place() {
        let why =
            |text: &str| CustomActivation::expression(text).expect_err("must fail").to_string();
        assert!(why("ln(z)").contains("at z = "), "{}", why("ln(z)"));
        assert!(why("1 / z").contains("finite"));
        assert!(
            why("where(z - 1, z, 0)").contains("jumps from 0 to 1"),
            "{}",
            why("where(z - 1, z, 0)")
        );
    }

    #[test]
    fn text_and_value_agree() {
        for text in ["expr(z * tanh(z))", "table(-1: -0.5, 0: 0, 2: 1)"] {
            let phi: Activation = text.parse().expect("valid");
            assert_eq!(phi.to_string(), text);
            assert_eq!(phi.to_string().parse(), Ok(phi));
        }
        assert!(
            "table(1, 2)"
                .parse::<Activation>()
                .expect_err("must fail")
                .to_string()
                .contains("z: value")
        );
        assert!(
            "expr(z".parse::<Activation>().expect_err("must fail").to_string().contains("bracket")
        );
    }
}

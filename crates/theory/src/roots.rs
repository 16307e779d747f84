//! Roots of continuous functions.

/// A root of `f` between a and b, where its signs differ, to the last bits: the secant through the
/// bracket's ends with the stagnant end's value halved (Illinois), bisection where that stalls.
pub(crate) fn bracketed(
    mut a: f64,
    mut b: f64,
    mut fa: f64,
    mut fb: f64,
    mut f: impl FnMut(f64) -> f64,
) -> f64 {
    for i in 0..200 {
        if fa == 0.0 {
            return a;
        }
        if fb == 0.0 {
            return b;
        }
        let width = b - a;
        if width.abs() <= 4.0 * f64::EPSILON * a.abs().max(b.abs()) {
            break;
        }
        let secant = b - fb * width / (fb - fa);
        let inside = secant > a.min(b) && secant < a.max(b);
        let x = if inside && i % 8 != 7 { secant } else { 0.5 * (a + b) };
        let fx = f(x);
        if (fx > 0.0) == (fb > 0.0) {
            // The same end moved again: halve the other's value.
            fa *= 0.5;
        } else {
            (a, fa) = (b, fb);
        }
        // Rounding noise around the root: no further progress.
        if (x - b).abs() <= f64::EPSILON * x.abs() {
            return x;
        }
        (b, fb) = (x, fx);
    }
    b
}

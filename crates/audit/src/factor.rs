//! The factors by which an initialization is usually wrong, by name.

use gainstage_spec::Fans;

use crate::family::cut_std;

/// A ratio of standard deviations with a cause.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Factor {
    /// Short, as tools read it.
    pub(crate) name: String,
    /// What usually went wrong.
    pub(crate) cause: String,
    pub(crate) value: f64,
}

/// What the factors depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context {
    /// Fans of a weight matrix or kernel; none for an embedding or a vector.
    pub(crate) fans: Option<Fans>,
    /// Positions in the kernel.
    pub(crate) field: usize,
    pub(crate) groups: usize,
    /// Number of blocks of the network.
    pub(crate) layers: Option<usize>,
    /// Expected standard deviation, for squares and roots of it.
    pub(crate) expected: f64,
    /// Whether the expected law depends on the fans.
    pub(crate) scaled: bool,
}

/// The factor that a ratio matches to within `tolerance` (relative). Of several that the ratio's standard error
/// `error` (relative) cannot tell apart the most frequent mistake comes first, and the others are named too.
pub(crate) fn name(ratio: f64, tolerance: f64, error: f64, context: &Context) -> Option<Factor> {
    if !(ratio > 0.0) || !ratio.is_finite() {
        return None;
    }
    let off = |f: &Factor| (ratio / f.value).ln().abs();
    let fitting: Vec<Factor> = known(context)
        .into_iter()
        .filter(|f| f.value > 0.0 && f.value.is_finite() && (f.value - 1.0).abs() > 3e-3)
        .filter(|f| off(f) <= tolerance)
        .collect();
    let nearest = fitting.iter().map(off).reduce(f64::min)?;
    // The list is in order of frequency: a later name must fit clearly better.
    let clearly = (0.25 * tolerance).max(2.0 * error);
    let mut best = fitting.iter().find(|f| off(f) <= nearest + clearly)?.clone();
    // Between 512 and 256 units, sqrt(2) is also what swapped fans leave.
    let value = best.value;
    let alike = |f: &Factor| (f.value / value - 1.0).abs() < 1e-3 || off(f) <= nearest + error;
    for same in fitting.iter().filter(|f| alike(f)) {
        if !best.name.split(" or ").any(|name| name == same.name) {
            best.name += &format!(" or {}", same.name);
            best.cause += &format!("; or {}", same.cause);
        }
    }
    Some(best)
}

fn known(context: &Context) -> Vec<Factor> {
    let mut list = Vec::new();
    let mut add = |name: &str, value: f64, cause: &str| {
        list.push(Factor { name: name.to_owned(), cause: cause.to_owned(), value });
    };
    let cut = cut_std(2);
    let (two, three, six) = (2.0f64.sqrt(), 3.0f64.sqrt(), 6.0f64.sqrt());
    add("sqrt(2)", two, "the gain of a ReLU where none belongs, or applied twice");
    add("1/sqrt(2)", two.recip(), "the gain sqrt(2) of a ReLU is missing");
    add("0.8796", cut, "cut at two sigma without the correction by 1/0.8796");
    add("1/0.8796", cut.recip(), "corrected by 1/0.8796 for a cut that was not made");
    add("1/sqrt(3)", three.recip(), "a standard deviation was used as the bound of a uniform law");
    add("sqrt(3)", three, "a bound was used as a standard deviation, or sqrt(3) was applied twice");
    if context.scaled
        && let Some(fans) = context.fans
    {
        let (i, o) = (fans.fan_in() as f64, fans.fan_out() as f64);
        add(
            "swapped fans",
            (i / o).sqrt(),
            "scaled by fan_out where fan_in was meant: the axes were read in the other order",
        );
        add(
            "swapped fans",
            (o / i).sqrt(),
            "scaled by fan_in where fan_out was meant: the axes were read in the other order",
        );
    }
    if let Some(layers) = context.layers {
        let l = layers as f64;
        add(
            "sqrt(2L)",
            (2.0 * l).sqrt(),
            &format!("the depth factor 1/sqrt(2L) was not applied, L = {layers}"),
        );
        add(
            "1/sqrt(2L)",
            (2.0 * l).sqrt().recip(),
            &format!(
                "a depth factor 1/sqrt(2L) was applied where none belongs, or twice, L = {layers}"
            ),
        );
        add(
            "sqrt(L)",
            l.sqrt(),
            &format!("a depth factor 1/sqrt(L) was not applied, L = {layers}"),
        );
        add(
            "1/sqrt(L)",
            l.sqrt().recip(),
            &format!("a depth factor 1/sqrt(L) was applied where none belongs, L = {layers}"),
        );
    }
    if context.groups > 1 {
        let g = (context.groups as f64).sqrt();
        add(
            "sqrt(groups)",
            g,
            "the fan was divided by the groups twice, or where it should not be",
        );
        add("1/sqrt(groups)", g.recip(), "the fan was not divided by the groups");
    }
    add(
        "sqrt(6)",
        six,
        "sqrt(3) of a uniform bound and the gain sqrt(2) were both applied twice or both out of place",
    );
    add(
        "1/sqrt(6)",
        six.recip(),
        "sqrt(3) of a uniform bound and the gain sqrt(2) are both missing",
    );
    add(
        "variance used as std",
        context.expected,
        "the variance was passed where the standard deviation belongs",
    );
    add(
        "std used as variance",
        context.expected.recip().sqrt(),
        "the standard deviation was passed where the variance belongs",
    );
    if context.field > 1 {
        let k = (context.field as f64).sqrt();
        add("sqrt(kernel)", k, "the kernel's area is missing from the fan");
        add("1/sqrt(kernel)", k.recip(), "the kernel's area was counted twice in the fan");
    }
    add("2", 2.0, "doubled");
    add("1/2", 0.5, "halved");
    add("5/3", 5.0 / 3.0, "the gain that PyTorch gives a tanh");
    add("3/5", 0.6, "the gain that PyTorch gives a tanh is missing");
    add("3/4", 0.75, "the gain that PyTorch gives a SELU");
    add("10", 10.0, "ten times too large");
    add("1/10", 0.1, "ten times too small");
    add("100", 100.0, "a hundred times too large");
    add("1/100", 0.01, "a hundred times too small");
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use gainstage_spec::WeightShape;

    #[test]
    fn factors_have_their_names_and_near_misses_none() {
        let context = Context {
            fans: WeightShape::dense(784, 128).ok().map(|s| s.fans()),
            field: 1,
            groups: 1,
            layers: Some(12),
            expected: 0.02,
            scaled: true,
        };
        let found = |ratio: f64| name(ratio, 0.01, 0.0, &context).map(|f| f.name);
        for (ratio, expected) in [
            (std::f64::consts::SQRT_2, "sqrt(2)"),
            (0.5774, "1/sqrt(3)"),
            (0.8796, "0.8796"),
            (2.4495, "sqrt(6)"),
            (4.8990, "sqrt(2L)"),
            (2.4749, "swapped fans"),
            (0.02, "variance used as std"),
            (7.0711, "std used as variance"),
        ] {
            // sqrt(784/128) is 2.475, one percent from sqrt(6): the nearer name wins.
            assert_eq!(found(ratio).as_deref(), Some(expected), "{ratio}");
        }
        assert_eq!(found(1.0), None);
        assert_eq!(found(1.3), None);
        assert_eq!(found(f64::NAN), None);
        let grouped = Context { groups: 8, ..context };
        let of = name(8.0f64.sqrt(), 0.002, 0.0, &grouped).map(|f| f.name);
        assert_eq!(of.as_deref(), Some("sqrt(groups)"));
        // Fans of 255 and 94 leave 0.6072, half a percent from 3/5 at the ratio 0.6022: 24,000 values have an
        // error of 0.5% and cannot tell; a million can.
        let fans = WeightShape::dense(94, 255).ok().map(|s| s.fans());
        let of = |error: f64| name(0.6022, 0.0137, error, &Context { fans, ..context });
        assert_eq!(of(0.0046).map(|f| f.name).as_deref(), Some("swapped fans or 3/5"));
        assert_eq!(of(0.0005).map(|f| f.name).as_deref(), Some("3/5"));
    }
}

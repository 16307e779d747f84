//! A law that a tensor is to follow, and how far the tensor is from it.

use gainstage_spec::{Initializer, Law, WeightShape};

use crate::factor::Context;
use crate::facts::Facts;
use crate::part::Part;
use crate::record::TensorRecord;
use crate::role::Role;
use crate::structure::cube_root_z;
use crate::tail::quantile;

/// Rates and bands of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Level of each test.
    pub(crate) level: f64,
    /// Relative difference of standard deviations that does not matter.
    pub(crate) band: f64,
    pub(crate) layers: Option<usize>,
}

/// A law that a tensor is to follow.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) name: String,
    pub(crate) law: Law,
    pub(crate) source: String,
    /// Whether the law depends on the fans.
    pub(crate) scaled: bool,
    /// Groups of a convolution, where a rule tells them.
    pub(crate) groups: usize,
}

impl Expected {
    pub(crate) fn is_scaled(initializer: &Initializer) -> bool {
        matches!(initializer, Initializer::VarianceScaling { .. } | Initializer::Orthogonal { .. })
    }
}

/// Writes the law into the record, with ratio, p-value and what could have been missed.
pub(crate) fn against(
    record: &mut TensorRecord,
    facts: &Facts,
    expected: &Expected,
    limits: &Limits,
) {
    let law = &expected.law;
    let own = facts.rounded_std(law);
    record.law = Some(expected.name.clone());
    record.law_source.clone_from(&expected.source);
    record.std_expected = Some(law.std());
    // Structural zeros belong to the law where it has them.
    let measured = if matches!(law, Law::ZeroInflated { .. }) || facts.outliers > 0 {
        record.std_measured.unwrap_or(f64::NAN)
    } else {
        facts.scale(law)
    };
    let ratio = measured / own;
    record.ratio = (own > 0.0 && ratio.is_finite()).then_some(ratio);
    if matches!(law, Law::Point { .. }) || facts.is_constant() {
        return;
    }
    let error = facts.scale_error(law);
    let critical = quantile(limits.level);
    record.detectable = Some(limits.band.max(critical * error) + 1.645 * error);
    let (distance, shape_p) = facts.distance(law);
    record.ks_distance = Some(distance);
    let p = facts.scale_p(law).min(shape_p);
    record.p_value = Some((2.0 * p).min(1.0));
}

/// Whether the scale is off: surely, and by more than does not matter.
pub(crate) fn scale_is_off(
    record: &TensorRecord,
    facts: &Facts,
    law: &Law,
    limits: &Limits,
) -> bool {
    let Some(ratio) = record.ratio else { return false };
    (ratio - 1.0).abs() > limits.band && is_sure(ratio, facts, law, limits)
}

/// Whether a ratio of scales is beyond chance under a law.
pub(crate) fn is_sure(ratio: f64, facts: &Facts, law: &Law, limits: &Limits) -> bool {
    facts.is_exact(law) || sure(ratio, facts.count(), law.kurtosis().unwrap_or(3.0), limits.level)
}

/// Whether a ratio of standard deviations over that many values of that kurtosis is beyond chance.
fn sure(ratio: f64, values: u64, kurtosis: f64, level: f64) -> bool {
    let n = values.max(1) as f64;
    let critical = quantile(level);
    let error = ((kurtosis - 1.0).max(0.0) / (4.0 * n)).sqrt();
    // A logarithm is not normal of few values: two may be alike by chance. Their variance is nearly that of
    // Gaussian ones with one degree of freedom less.
    let few = n < 100.0;
    let freedom = (n - 1.0).max(0.5);
    let beyond = || cube_root_z(ratio * ratio * n / freedom, 2.0 / freedom).abs() > critical;
    ratio.ln().abs() > critical * error && (!few || beyond())
}

pub(crate) fn context(part: &Part, expected: &Expected, limits: &Limits) -> Context {
    let shape = part.readings.first().map(|r| &r.shape);
    Context {
        fans: shape.filter(|_| part.role == Role::Dense).map(WeightShape::fans),
        field: shape.map_or(1, WeightShape::field),
        groups: shape.map_or(1, WeightShape::groups).max(expected.groups),
        layers: limits.layers,
        expected: expected.law.std(),
        scaled: expected.scaled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_may_be_alike_by_chance_and_many_may_not() {
        // Two uniform values have a standard deviation below 0.063 of the law's with a probability of 6%.
        assert!(!sure(0.063, 2, 1.8, 1e-5));
        assert!(sure(0.063, 40, 1.8, 1e-5));
        assert!(sure(2.0f64.sqrt(), 400, 3.0, 1e-5));
        assert!(!sure(1.05, 400, 3.0, 1e-5));
    }
}

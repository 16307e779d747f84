//! One tensor against the law that it should follow.

use gainstage_spec::{Fans, Initializer, Law, Layout, WeightShape};

use crate::checkpoint::Tensor;
use crate::factor::{self, Context};
use crate::facts::Facts;
use crate::family::Family;
use crate::infer::{Fit, Scored};
use crate::names::pattern;
use crate::record::{RunnerUp, Severity, TensorRecord, Verdict};
use crate::role::{Part, Role};
use crate::structure::{LineFacts, cube_root_z};
use crate::tail::{poisson, quantile};

/// Kolmogorov-Smirnov distance between shapes that does not matter. A Gaussian and one cut at two sigma
/// differ by 0.028, a Gaussian and a uniform law by 0.058; rounding to bf16 moves neither by 0.005.
pub(crate) const SHAPE_BAND: f64 = 0.012;
/// Mean, in standard deviations, that does not matter.
const MEAN_BAND: f64 = 0.03;
/// Step of a grid, in standard deviations, that does not matter.
const STEP_BAND: f64 = 0.02;

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

/// A record with what was measured and no judgement.
pub(crate) fn blank(tensor: &Tensor, file: String, part: &Part, facts: &Facts) -> TensorRecord {
    let m = &facts.scan.moments;
    let std = m.population_variance().sqrt();
    let known = |x: f64| x.is_finite().then_some(x);
    let spread = m.min() < m.max();
    let error = facts.log_std_error(if spread { m.kurtosis() } else { 1.0 });
    let weight = part.role.is_weight();
    let fans = part.readings.first().map(|r| r.shape.fans()).filter(|_| weight);
    let layout = match (part.role, part.layout) {
        (Role::Dense | Role::Conv, Some(Layout::OutIn)) => Some("out-in".to_owned()),
        (Role::Dense | Role::Conv, Some(Layout::InOut)) => Some("in-out".to_owned()),
        (Role::Dense | Role::Conv, None) => Some("ambiguous".to_owned()),
        _ => None,
    };
    TensorRecord {
        name: tensor.name().to_owned(),
        file,
        shape: tensor.shape().to_vec(),
        dtype: tensor.dtype(),
        role: part.role,
        fan_in: fans.map(Fans::fan_in),
        fan_out: fans.map(Fans::fan_out),
        layout,
        layout_reason: part.why.clone(),
        group: format!("{}{}", &tensor.name()[..tensor.prefix], pattern(tensor.own_name())),
        law: None,
        law_source: "none".to_owned(),
        also: Vec::new(),
        runner_up: None,
        std_expected: None,
        std_measured: known(std),
        std_low: known(std * (-1.96 * error).exp()),
        std_high: known(std * (1.96 * error).exp()),
        ratio: None,
        mean: known(m.mean()),
        kurtosis: known(m.kurtosis()).filter(|_| spread),
        ks_distance: None,
        p_value: None,
        detectable: None,
        factor: None,
        verdict: Verdict::Ok,
        findings: Vec::new(),
        picture: None,
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
        facts.std
    };
    let ratio = measured / own;
    record.ratio = (own > 0.0 && ratio.is_finite()).then_some(ratio);
    if matches!(law, Law::Point { .. }) || facts.is_constant() {
        return;
    }
    let error = facts.log_std_error(law.kurtosis().unwrap_or(3.0));
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
    let off = (ratio - 1.0).abs() > limits.band;
    let fixed = matches!(law, Law::SphereCoordinate { .. });
    off && (fixed || sure(ratio, facts.count(), law.kurtosis().unwrap_or(3.0), limits.level))
}

/// Whether a ratio of standard deviations over that many values of that kurtosis is beyond chance.
pub(crate) fn sure(ratio: f64, values: u64, kurtosis: f64, level: f64) -> bool {
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

/// A tensor against a law that was stated: by a rule, or by what its siblings follow.
pub(crate) fn stated(
    record: &mut TensorRecord,
    tensor: &Tensor,
    part: &Part,
    facts: &Facts,
    fit: Option<&Fit>,
    expected: &Expected,
    limits: &Limits,
) {
    against(record, facts, expected, limits);
    let law = &expected.law;
    if let Law::Point { value } = law {
        let m = &facts.scan.moments;
        let near = |x: f64| (x - value).abs() <= value.abs() * tensor.dtype().epsilon();
        if !(near(m.min()) && near(m.max())) {
            let text = format!(
                "values from {:.4} to {:.4}, where all should be {value}",
                m.min(),
                m.max()
            );
            record.notice(Verdict::WrongLaw, Severity::Finding, text);
        }
        return;
    }
    if facts.is_constant() {
        return; // told by `general`
    }
    if scale_is_off(record, facts, law, limits) {
        let ratio = record.ratio.unwrap_or(f64::NAN);
        let context = context(part, expected, limits);
        let error = facts.log_std_error(law.kurtosis().unwrap_or(3.0));
        let named = factor::name(ratio, limits.band.max(3.0 * error), error, &context);
        let text = match &named {
            Some(f) => format!(
                "std {:.4e} is {ratio:.4} times the expected {:.4e}: {} ({})",
                facts.std,
                law.std(),
                f.name,
                f.cause
            ),
            None => {
                format!("std {:.4e} is {ratio:.4} times the expected {:.4e}", facts.std, law.std())
            }
        };
        record.factor = named.map(|f| f.name);
        record.notice(Verdict::WrongScale, Severity::Finding, text);
    }
    shape(record, facts, fit, law, limits);
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

/// The shape alone: the law is moved to the tensor's own scale first.
fn shape(record: &mut TensorRecord, facts: &Facts, fit: Option<&Fit>, law: &Law, limits: &Limits) {
    if let Law::ZeroInflated { zero_share, .. } = law {
        let n = facts.count().max(1) as f64;
        let seen = facts.scan.sketch.zeros() as f64 / n;
        let error = (zero_share * (1.0 - zero_share) / n).sqrt();
        if (seen - zero_share).abs() > (quantile(limits.level) * error).max(0.01) {
            let text = format!(
                "{:.2}% zeros, where {:.2}% are expected",
                100.0 * seen,
                100.0 * zero_share
            );
            record.notice(Verdict::WrongLaw, Severity::Finding, text);
        }
        return;
    }
    if zeros(record, facts) {
        return;
    }
    let Some(family) = Family::of(law) else { return };
    let orthogonal = facts.structure.products.as_ref().is_some_and(|p| p.orthogonal);
    if let Family::Sphere(_) = family {
        // Gaussian entries have almost the same distribution; orthogonality is the law.
        let small = facts.structure.products.is_none();
        if !orthogonal && !small {
            let cosine = facts.structure.products.as_ref().map_or(0.0, |p| p.largest.0);
            let text = format!("its rows are not orthogonal: two have cosine {cosine:.3}");
            record.notice(Verdict::WrongLaw, Severity::Finding, text);
        }
        return;
    }
    if orthogonal && facts.structure.products.as_ref().is_some_and(|p| p.lines > 4) {
        let text =
            format!("its rows are orthogonal, where independent {family} values are expected");
        record.notice(Verdict::WrongLaw, Severity::Finding, text);
        return;
    }
    let own = facts.member(family);
    let (distance, p) = facts.distance(&own);
    // An interval that nothing may leave is seen by one value that does.
    let (low, high) = law.support();
    let (low, high) = (low * (1.0 + facts.epsilon), high * (1.0 + facts.epsilon));
    let beyond = facts.scan.sketch.outside(low, high) + facts.outliers;
    let leaves = high.is_finite()
        && beyond > 0
        && !record.findings.iter().any(|f| f.kind == Verdict::WrongScale);
    let another = distance > SHAPE_BAND && p < limits.level;
    if leaves || another {
        let seen = match fit {
            Some(fit) if fit.has_shape(SHAPE_BAND, limits.level) => format!("{}", fit.family),
            _ => "of no known shape".to_owned(),
        };
        let text = if leaves {
            format!(
                "{beyond} values lie beyond [{low:.4}, {high:.4}], which a {family} law never leaves; the values are {seen}"
            )
        } else {
            format!(
                "the values are {seen}, not {family}: Kolmogorov-Smirnov distance {distance:.3}"
            )
        };
        record.notice(Verdict::WrongLaw, Severity::Finding, text);
    }
}

/// Tells of exact zeros that a law without them never draws; whether it did. Zero rows and columns are told as such.
pub(crate) fn zeros(record: &mut TensorRecord, facts: &Facts) -> bool {
    let (rows, columns) = (&facts.structure.rows, &facts.structure.columns);
    let zero = |lines: &LineFacts| lines.far.iter().filter(|(_, ratio, _)| *ratio == 0.0).count();
    let n = facts.count();
    let in_lines = |lines: &LineFacts| zero(lines) as u64 * (n / lines.count.max(1) as u64);
    let explained = in_lines(rows) + in_lines(columns);
    let seen = facts.scan.sketch.zeros();
    if facts.zero_share == 0.0 || padding(record, facts) || 100 * explained >= 99 * seen {
        return false;
    }
    let text = format!("{:.2}% of the values are exactly zero", 100.0 * facts.zero_share);
    record.notice(Verdict::WrongLaw, Severity::Finding, text);
    true
}

/// Values on a coarse grid: quantized, or too small for the format that they passed through.
fn rounded(record: &mut TensorRecord, facts: &Facts) {
    let Some(step) = facts.step.filter(|step| *step > STEP_BAND * facts.std) else { return };
    let text = format!(
        "its values lie on a grid of step {step:.3e}, {:.3} of their standard deviation: rounded",
        step / facts.std
    );
    record.notice(Verdict::WrongLaw, Severity::Finding, text);
}

/// One zero row of a table: the entry of a padding token (PyTorch's `padding_idx`).
pub(crate) fn padding(record: &TensorRecord, facts: &Facts) -> bool {
    let lines = &facts.structure.rows;
    let zero = lines.far.iter().filter(|(_, ratio, _)| *ratio == 0.0).count();
    let row = facts.count() / lines.count.max(1) as u64;
    record.role == Role::Embedding && zero == 1 && facts.scan.sketch.zeros() == row
}

/// What can be wrong whatever the law: not finite, constant, clipped, outliers, mean, dependence.
pub(crate) fn general(
    record: &mut TensorRecord,
    part: &Part,
    facts: &Facts,
    fit: Option<&Fit>,
    limits: &Limits,
    law_has_zeros: bool,
) {
    let m = &facts.scan.moments;
    if m.non_finite() > 0 {
        let text = format!(
            "{} NaN and {} infinite of {} values",
            facts.scan.nan,
            facts.scan.infinite,
            m.count() + m.non_finite()
        );
        record.notice(Verdict::NotFinite, Severity::Finding, text);
    }
    if facts.is_constant() || m.count() == 0 || !part.role.is_weight() {
        return;
    }
    // Tails of a law of another shape are no outliers; that law is told by `shape`.
    if facts.outliers > 0 && fit.is_some_and(|f| f.has_shape(SHAPE_BAND, limits.level)) {
        // The farthest, in standard deviations of the rest.
        let text = format!(
            "{} of {} values lie beyond {} sigma, the farthest at {:.0} sigma: a sampler that breaks in the tail, or weights that were overwritten",
            facts.outliers,
            m.count(),
            crate::facts::OUTLIER_SIGMAS,
            facts.farthest
        );
        record.notice(Verdict::Outliers, Severity::Finding, text);
    }
    clipped(record, facts, limits);
    rounded(record, facts);
    let error = facts.std / (m.count() as f64).sqrt();
    let orthogonal = facts.structure.products.as_ref().is_some_and(|p| p.orthogonal);
    let center = facts.mean.abs();
    if !orthogonal
        && facts.outliers == 0
        && center > MEAN_BAND * facts.std
        && center > quantile(limits.level) * error
    {
        let text = format!(
            "mean {:.4e} is {:.2} standard deviations from zero",
            facts.mean,
            facts.mean / facts.std
        );
        record.notice(Verdict::WrongMean, Severity::Finding, text);
    }
    if !law_has_zeros {
        crate::lines::dependence(record, part, facts, limits);
    }
}

/// Many values at the very end of the range are values that were cut to it.
fn clipped(record: &mut TensorRecord, facts: &Facts, limits: &Limits) {
    let m = &facts.scan.moments;
    let n = m.count() as f64;
    // In a narrow format the last cell of a uniform law is a cell like any other.
    let sketch = &facts.scan.sketch;
    // What one cell holds near an end, by those inside it.
    let near = |cells: &mut dyn Iterator<Item = (usize, u64)>| {
        let counts: Vec<u64> = cells.skip(1).take(8).map(|(_, n)| n).collect();
        counts.iter().sum::<u64>() as f64 / counts.len().max(1) as f64
    };
    let (next_low, next_high) = (near(&mut sketch.cells()), near(&mut sketch.cells().rev()));
    let piles = |at: u64, next: f64| {
        at >= 5
            && at as f64 > 5e-4 * n
            && at as f64 > 6.0 * next
            && poisson(next, at) < limits.level
    };
    let (at_min, at_max) = (facts.scan.at_min, facts.scan.at_max);
    if sketch.distinct() > 8 && (piles(at_min, next_low) || piles(at_max, next_high)) {
        let text = format!(
            "{at_min} values are exactly {:.4} and {at_max} exactly {:.4}: clipped there, not drawn again",
            m.min(),
            m.max()
        );
        record.notice(Verdict::Clipped, Severity::Finding, text);
    }
}

/// The record's other names and runner-up, from the ranking.
pub(crate) fn ranking(record: &mut TensorRecord, fit: &Fit) {
    let Some(best) = fit.best() else {
        if let Some(next) = &fit.next {
            record.runner_up = Some(runner_up(next, 0.0));
        }
        return;
    };
    let mut names: Vec<String> = Vec::new();
    for other in fit.accepted.iter().skip(1).filter(|s| s.candidate.fault.is_none()) {
        let name = other.candidate.initializer.to_string();
        if best.score - other.score < 6.0
            && name != best.candidate.initializer.to_string()
            && !names.contains(&name)
            && names.len() < 4
        {
            names.push(name);
        }
    }
    record.also = names;
    record.runner_up = fit.next.as_ref().map(|next| runner_up(next, best.score - next.score));
}

fn runner_up(scored: &Scored, behind: f64) -> RunnerUp {
    let candidate = &scored.candidate;
    let law = match &candidate.fault {
        Some(fault) => format!("{} x {}", fault.meant, fault.factor),
        None => candidate.initializer.to_string(),
    };
    RunnerUp { law, std: candidate.law.std(), behind }
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

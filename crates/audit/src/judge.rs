//! One tensor against the law that it should follow.

use gainstage_spec::Law;

use crate::array::Tensor;
use crate::expected::{Expected, Limits, against, context, scale_is_off};
use crate::factor;
use crate::facts::Facts;
use crate::family::Family;
use crate::infer::Fit;
use crate::part::Part;
use crate::record::{Severity, TensorRecord, Verdict};
use crate::role::Role;
use crate::structure::LineFacts;
use crate::tail::quantile;

/// Kolmogorov-Smirnov distance between shapes that does not matter. A Gaussian and one cut at two sigma
/// differ by 0.028, a Gaussian and a uniform law by 0.058; rounding to bf16 moves neither by 0.005.
pub(crate) const SHAPE_BAND: f64 = 0.012;

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
        let error = facts.scale_error(law);
        let named = factor::name(ratio, limits.band.max(3.0 * error), error, &context);
        let text = match &named {
            Some(f) => format!(
                "std {:.4e} is {ratio:.4} times the expected {:.4e}: {} ({})",
                facts.scale(law),
                law.std(),
                f.name,
                f.cause
            ),
            None => {
                format!(
                    "std {:.4e} is {ratio:.4} times the expected {:.4e}",
                    facts.scale(law),
                    law.std()
                )
            }
        };
        record.factor = named.map(|f| f.name);
        record.notice(Verdict::WrongScale, Severity::Finding, text);
    }
    shape(record, facts, fit, law, limits);
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

/// One zero row of a table: the entry of a padding token (PyTorch's `padding_idx`).
pub(crate) fn padding(record: &TensorRecord, facts: &Facts) -> bool {
    let lines = &facts.structure.rows;
    let zero = lines.far.iter().filter(|(_, ratio, _)| *ratio == 0.0).count();
    let row = facts.count() / lines.count.max(1) as u64;
    record.role == Role::Embedding && zero == 1 && facts.scan.sketch.zeros() == row
}

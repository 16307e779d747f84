//! What can be wrong whatever the law: not finite, constant, clipped, outliers, rounded, mean, dependence.

use crate::expected::Limits;
use crate::facts::Facts;
use crate::infer::Fit;
use crate::judge::SHAPE_BAND;
use crate::part::Part;
use crate::record::{Severity, TensorRecord, Verdict};
use crate::tail::{poisson, quantile};

/// Mean, in standard deviations, that does not matter.
const MEAN_BAND: f64 = 0.03;
/// Step of a grid, in standard deviations, that does not matter.
const STEP_BAND: f64 = 0.02;

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

/// Values on a coarse grid: quantized, or too small for the format that they passed through.
fn rounded(record: &mut TensorRecord, facts: &Facts) {
    let Some(step) = facts.step.filter(|step| *step > STEP_BAND * facts.std) else { return };
    let text = format!(
        "its values lie on a grid of step {step:.3e}, {:.3} of their standard deviation: rounded",
        step / facts.std
    );
    record.notice(Verdict::WrongLaw, Severity::Finding, text);
}

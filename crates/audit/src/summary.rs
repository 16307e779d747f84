//! What an audit says of a checkpoint as a whole.

use crate::audit::Measured;
use crate::copies::{Copy, Kind, Order};
use crate::record::{CheckpointRecord, Severity, StepZero, Verdict};
use crate::role::Role;

/// Whether training has begun: norm scales that differ, statistics that have seen batches, weights that
/// follow no law.
pub(crate) fn step_zero(measured: &[Measured<'_>]) -> StepZero {
    let count = |of: &dyn Fn(&&Measured<'_>) -> bool| measured.iter().filter(of).count();
    let trained = |m: &&Measured<'_>| m.record.findings.iter().any(|f| f.kind == Verdict::Trained);
    let weights = count(&|m| trained(m) && m.part.role.is_weight());
    let norms = count(&|m| trained(m) && m.part.role == Role::NormScale);
    let statistics = count(&|m| trained(m) && m.part.role == Role::Statistic);
    let all = count(&|m| m.part.role.is_weight());
    let some = |n: usize, one: &str| format!("{n} {one}{}", if n == 1 { "" } else { "s" });
    let mut evidence = Vec::new();
    if weights > 0 {
        evidence.push(some(weights, "weight") + " of no initializer's law, with structure");
    }
    if norms > 0 {
        evidence.push(some(norms, "norm scale") + " that differ from unit to unit");
    }
    if statistics > 0 {
        evidence.push(some(statistics, "running statistic") + " that have seen batches");
    }
    match (evidence.is_empty(), all) {
        (true, 0) => StepZero { likely: None, reason: "it holds no weights".to_owned() },
        (true, _) => {
            let reason = "no tensor shows structure beyond its law".to_owned();
            StepZero { likely: Some(true), reason }
        }
        (false, _) => StepZero { likely: Some(false), reason: evidence.join(", ") },
    }
}

/// What holds of all checkpoints together; which of them have been trained, where several are judged.
pub(crate) fn all_of(checkpoints: &[CheckpointRecord]) -> StepZero {
    let [first, _, ..] = checkpoints else {
        return checkpoints.first().map_or_else(
            || StepZero { likely: None, reason: "there is no checkpoint".to_owned() },
            |one| one.step_zero.clone(),
        );
    };
    let trained: Vec<&str> = checkpoints
        .iter()
        .filter(|c| c.step_zero.likely == Some(false))
        .map(|c| c.name.as_str())
        .collect();
    if !trained.is_empty() {
        let shown = trained.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        let more = trained.len().saturating_sub(5);
        let and = if more > 0 { format!(" and {more} more") } else { String::new() };
        let reason = format!(
            "{} of {} checkpoints look trained: {shown}{and}",
            trained.len(),
            checkpoints.len()
        );
        return StepZero { likely: Some(false), reason };
    }
    let likely = checkpoints.iter().all(|c| c.step_zero.likely == Some(true)).then_some(true);
    let reason = match likely {
        Some(_) => format!("in all {} checkpoints {}", checkpoints.len(), first.step_zero.reason),
        None => "some checkpoints hold no weights".to_owned(),
    };
    StepZero { likely, reason }
}

pub(crate) fn copy_sentence(
    first: &Measured<'_>,
    second: &Measured<'_>,
    copy: &Copy,
) -> (Verdict, Severity, String) {
    let name = &first.record.name;
    let head = |m: &Measured<'_>| {
        ["head", "decoder", "output", "logits", "embed"].iter().any(|w| m.record.name.contains(w))
    };
    let tables = [first, second].map(|m| m.part.role == Role::Embedding);
    let tied = tables == [true, true] || (tables[0] && head(second)) || (tables[1] && head(first));
    let (order, which) = match copy.order {
        Order::Stored => ("", "its first"),
        Order::Transposed => (", one of the two transposed", "its first"),
        Order::Rearranged => (", in another order", "its"),
    };
    match copy.kind {
        Kind::Identical if tied => {
            (Verdict::Duplicate, Severity::Note, format!("tied to {name}: the same values"))
        }
        Kind::Identical => (
            Verdict::Duplicate,
            Severity::Finding,
            format!("every value is that of {name}{order}: drawn with the same seed, or copied"),
        ),
        Kind::Scaled => {
            let ratio = copy.correlation.signum() * second.facts.std / first.facts.std;
            (
                Verdict::Duplicate,
                Severity::Finding,
                format!(
                    "{which} {} values are {ratio:.4} times those of {name}{order}: drawn with the same seed",
                    copy.compared
                ),
            )
        }
        Kind::Correlated => (
            Verdict::Correlated,
            Severity::Finding,
            format!(
                "{which} {} values have correlation {:.3} with those of {name}{order} (p = {:.1e})",
                copy.compared, copy.correlation, copy.p_value
            ),
        ),
    }
}

//! Tensors that are judged by other means than a distribution: arrays with structural zeros, vectors, constants.

use std::collections::{BTreeMap, BTreeSet};

use gainstage_spec::{Initializer, Law};

use crate::array::Tensor;
use crate::audit::Measured;
use crate::expected::{Expected, Limits, against};
use crate::facts::Facts;
use crate::infer::Fit;
use crate::mistakes::expected;
use crate::names::{block_pattern, natural};
use crate::part::Part;
use crate::record::{Severity, TensorRecord, Verdict};
use crate::role::Role;

/// The law of a recurrent bias that keeps its memory at first (Jozefowicz et al. 2015).
pub(crate) const FORGET_GATE: &str = "zeros, with ones for a forget gate";

/// A number as it is written in a rule: four digits.
fn digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// Identity, dirac, sparse and delta-orthogonal: laws with zeros in fixed shares.
pub(crate) fn structural(part: &Part, facts: &Facts) -> Option<Expected> {
    if facts.zero_share == 0.0 || !part.role.is_weight() {
        return None;
    }
    let n = facts.count() as f64;
    let share = facts.scan.sketch.zeros() as f64 / n;
    let shape = &part.readings.first()?.shape;
    let m = &facts.scan.moments;
    // A zero row or column is a fault; a sparse law spreads its zeros over all of them.
    let lines = [&facts.structure.rows, &facts.structure.columns];
    let empty = lines.iter().any(|l| l.far.iter().any(|(_, ratio, _)| *ratio == 0.0));
    let one_value = facts.scan.at_max as f64 + facts.scan.sketch.zeros() as f64 == n;
    let gain = digits(m.max());
    let mut options = Vec::new();
    if one_value {
        options.push(Initializer::Identity { gain });
        options.push(Initializer::Dirac { gain });
    }
    options.push(Initializer::DeltaOrthogonal { gain: 1.0 });
    let rows = shape.outputs() as f64;
    let sparsities = if empty || !facts.even_zeros {
        Vec::new() // an accident; a sparse law has as many zeros in every column
    } else {
        vec![share, (share * rows).round() / rows, (share * 10.0).round() / 10.0]
    };
    for sparsity in sparsities {
        options.push(Initializer::Sparse { sparsity, std: digits(facts.std) });
    }
    options.into_iter().find_map(|initializer| {
        let law = initializer.law(shape).ok()?;
        let Law::ZeroInflated { zero_share, other } = &law else { return None };
        // In f16 a drawn value is rounded to zero now and then; evenness has told the rest.
        let chance =
            if matches!(initializer, Initializer::Sparse { .. }) { 0.002 } else { 0.5 / n };
        let fits = (zero_share - share).abs() <= chance
            && (other.std() == 0.0 || (facts.std / other.std() - 1.0).abs() < 0.05);
        fits.then(|| Expected {
            name: initializer.to_string(),
            law: law.clone(),
            source: "inferred".to_owned(),
            scaled: false,
            groups: 1,
        })
    })
}

/// Vectors: whether that settled it.
pub(crate) fn vector(
    record: &mut TensorRecord,
    tensor: &Tensor,
    part: &Part,
    facts: &Facts,
    fit: &Fit,
    limits: &Limits,
) -> bool {
    let m = &facts.scan.moments;
    match part.role {
        Role::NormScale | Role::Statistic => {
            let what =
                if part.role == Role::NormScale { "a norm scale" } else { "a running statistic" };
            let text = format!(
                "{what} with values from {:.4} to {:.4}: looks trained; before training they are all the same",
                m.min(),
                m.max()
            );
            record.notice(Verdict::Trained, Severity::Finding, text);
            true
        }
        Role::Bias if zeros_and_ones(facts) => {
            record.law = Some(FORGET_GATE.to_owned());
            "inferred".clone_into(&mut record.law_source);
            true
        }
        // Too few values, or of no purpose that is known: described, not judged.
        Role::Vector => {
            record.law = fit.best().map(|b| b.candidate.initializer.to_string());
            "inferred".clone_into(&mut record.law_source);
            true
        }
        Role::Bias => {
            if let Some(best) = fit.best().filter(|b| b.candidate.fault.is_none()) {
                against(record, facts, &expected(&best.candidate, "inferred"), limits);
            } else {
                let text = format!(
                    "a bias of {} values with std {:.3e}, neither zero nor of a known rule: trained, or set by hand",
                    tensor.elements(),
                    facts.std
                );
                record.notice(Verdict::Unexplained, Severity::Warning, text);
            }
            true
        }
        Role::Dense | Role::Conv | Role::Embedding => false,
    }
}

/// Keras sets the bias of an LSTM's forget gate to one.
pub(crate) fn zeros_and_ones(facts: &Facts) -> bool {
    let m = &facts.scan.moments;
    m.min() == 0.0 && m.max() == 1.0 && facts.scan.at_min + facts.scan.at_max == m.count()
}

/// Weights whose values are all the same.
pub(crate) fn constants(measured: &mut [Measured<'_>], ruled: bool) {
    let constant = |m: &Measured<'_>| {
        m.part.role.is_weight() && m.facts.is_constant() && m.tensor.elements() > 1
    };
    let zero = |m: &Measured<'_>| constant(m) && m.facts.scan.moments.min() == 0.0;
    let alive = measured.iter().filter(|m| m.part.role.is_weight() && !constant(m)).count();
    let dense: Vec<usize> = (0..measured.len())
        .filter(|&i| matches!(measured[i].part.role, Role::Dense | Role::Conv))
        .collect();
    // A convolution before a classifier is no head.
    let heads = |i: &usize| measured[*i].part.role == Role::Dense;
    let any = dense.iter().any(heads);
    let ends = dense.iter().copied().filter(|i| !any || heads(i));
    let last = ends.max_by_key(|&i| natural(&measured[i].record.name));
    // The same place in every block; where names count within a block only, all that share the name.
    let mut groups: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for m in measured.iter() {
        for key in BTreeSet::from([m.record.group.clone(), block_pattern(&m.record.name)]) {
            let entry = groups.entry(key).or_default();
            entry.0 += 1;
            entry.1 += usize::from(zero(m));
        }
    }
    let of = |m: &Measured<'_>| {
        let own = groups.get(&block_pattern(&m.record.name)).copied().unwrap_or_default();
        if own.0 > 1 { own } else { groups.get(&m.record.group).copied().unwrap_or_default() }
    };
    let of_kind: Vec<(usize, usize)> = measured.iter().map(of).collect();
    for i in 0..measured.len() {
        let m = &measured[i];
        if !constant(m) {
            continue;
        }
        let value = m.facts.scan.moments.min();
        let wanted = ruled && m.record.law.is_some() && m.record.std_expected == Some(0.0);
        let (members, zeros) = of_kind[i];
        let head = Some(i) == last
            || ["head", "out", "final", "token"].iter().any(|w| m.record.name.contains(w));
        let (severity, text) = if wanted {
            continue;
        } else if value != 0.0 {
            (Severity::Finding, format!("every value is {value}: units stay identical"))
        } else if alive == 0 {
            (
                Severity::Finding,
                "every value is zero, as in all other weights: nothing breaks the symmetry"
                    .to_owned(),
            )
        } else if ruled || (members > zeros && !head) {
            (Severity::Finding, "every value is zero, while others of its kind are not".to_owned())
        } else if members == 1 && !head && dense.len() > 2 {
            // The end of a residual branch starts at zero in every block.
            (Severity::Finding, "every value is zero, and no other layer starts so".to_owned())
        } else {
            (Severity::Warning, "every value is zero: right for a layer that starts as nothing, such as a head or the end of a residual branch".to_owned())
        };
        measured[i].record.notice(Verdict::Constant, severity, text);
    }
}

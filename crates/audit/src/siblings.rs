//! Tensors that have no rule: compared with those of the same kind.

use std::collections::BTreeMap;

use gainstage_spec::{Initializer, Law};

use crate::audit::Measured;
use crate::catalogue::{Candidate, Fault};
use crate::checkpoint::Tensor;
use crate::facts::Facts;
use crate::factor::{self, Context};
use crate::infer::Fit;
use crate::judge::{Expected, Limits, against};
use crate::record::{Severity, TensorRecord, Verdict};
use crate::role::{Part, Role, natural};

/// Fewest tensors that make a custom, and the share of them that must agree.
const FEWEST: usize = 3;
const SHARE: f64 = 0.66;

/// The expectation that a candidate stands for; a mistake expects what was meant.
pub(crate) fn expected(candidate: &Candidate, source: &str) -> Expected {
    let initializer = candidate.fault.as_ref().map_or(&candidate.initializer, |f| &f.meant);
    Expected {
        name: initializer.to_string(),
        law: match &candidate.fault {
            Some(fault) => candidate.family.law(0.0, fault.expected_std),
            None => candidate.law.clone(),
        },
        source: source.to_owned(),
        scaled: Expected::is_scaled(initializer),
    }
}

/// Names a usual mistake.
pub(crate) fn blame(record: &mut TensorRecord, facts: &Facts, fault: &Fault) {
    record.factor = Some(fault.factor.clone());
    let text = format!(
        "std {:.4e} is {:.4} times the {:.4e} of {}: {} ({})",
        facts.std,
        facts.std / fault.expected_std,
        fault.expected_std,
        fault.meant,
        fault.factor,
        fault.cause
    );
    record.notice(Verdict::WrongScale, Severity::Finding, text);
}

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
    let sparsities = if empty { Vec::new() } else { vec![share, (share * rows).round() / rows, (share * 10.0).round() / 10.0] };
    for sparsity in sparsities {
        options.push(Initializer::Sparse { sparsity, std: digits(facts.std) });
    }
    options.into_iter().find_map(|initializer| {
        let law = initializer.law(shape).ok()?;
        let Law::ZeroInflated { zero_share, other } = &law else { return None };
        let fits = (zero_share - share).abs() <= 0.5 / n
            && (other.std() == 0.0 || (facts.std / other.std() - 1.0).abs() < 0.05);
        fits.then(|| Expected {
            name: initializer.to_string(),
            law: law.clone(),
            source: "inferred".to_owned(),
            scaled: false,
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
            let what = if part.role == Role::NormScale { "a norm scale" } else { "a running statistic" };
            let text = format!(
                "{what} with values from {:.4} to {:.4}: looks trained; before training they are all the same",
                m.min(),
                m.max()
            );
            record.notice(Verdict::Trained, Severity::Finding, text);
            true
        }
        Role::Bias if zeros_and_ones(facts) => {
            record.law = Some("zeros, with ones for a forget gate".to_owned());
            record.law_source = "inferred".to_owned();
            true
        }
        // Too few values, or of no purpose that is known: described, not judged.
        Role::Vector => {
            record.law = fit.best().map(|b| b.candidate.initializer.to_string());
            record.law_source = "inferred".to_owned();
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
fn zeros_and_ones(facts: &Facts) -> bool {
    let m = &facts.scan.moments;
    m.min() == 0.0 && m.max() == 1.0 && facts.scan.at_min + facts.scan.at_max == m.count()
}

/// Lets tensors of one kind decide what is ambiguous in one of them, and names those that differ.
pub(crate) fn compare(measured: &mut [Measured<'_>], limits: &Limits) {
    for role in [Role::Dense, Role::Conv, Role::Embedding] {
        let of_role: Vec<usize> = (0..measured.len())
            .filter(|&i| measured[i].part.role == role && measured[i].fit.is_some())
            .collect();
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for &i in &of_role {
            groups.entry(measured[i].record.group.clone()).or_default().push(i);
        }
        let shared = custom(measured, &of_role, FEWEST);
        for members in groups.values() {
            if let Some(law) = custom(measured, members, FEWEST) {
                apply(measured, members, &law, limits, true);
            } else if let Some(law) = &shared {
                apply(measured, members, law, limits, false);
            }
        }
        if shared.is_none() && custom(measured, &of_role, 2).is_none() {
            same_mistake(measured, &of_role, limits);
        }
    }
    residuals(measured, limits);
}

/// Where no law is shared but a mistake is, all follow from that one.
fn same_mistake(measured: &mut [Measured<'_>], members: &[usize], limits: &Limits) {
    let key = |c: &Candidate| c.fault.as_ref().map(|f| (f.meant.to_string(), f.factor.clone()));
    let mut votes: BTreeMap<(String, String), (usize, f64)> = BTreeMap::new();
    for &i in members {
        let Some(fit) = &measured[i].fit else { continue };
        let mut own: BTreeMap<(String, String), f64> = BTreeMap::new();
        for scored in &fit.accepted {
            if let Some(key) = key(&scored.candidate) {
                let best = own.entry(key).or_insert(f64::NEG_INFINITY);
                *best = best.max(scored.score);
            }
        }
        for (key, score) in own {
            let vote = votes.entry(key).or_insert((0, 0.0));
            vote.0 += 1;
            vote.1 += score;
        }
    }
    let most = votes.into_iter().max_by(|a, b| a.1.0.cmp(&b.1.0).then(a.1.1.total_cmp(&b.1.1)));
    let Some((mistake, (count, _))) = most else { return };
    if count < 2 || (count as f64) < SHARE * members.len() as f64 {
        return;
    }
    for &i in members {
        let m = &mut measured[i];
        let Some(fit) = &m.fit else { continue };
        let same = fit.accepted.iter().find(|s| key(&s.candidate).as_ref() == Some(&mistake));
        if let Some(scored) = same
            && let Some(fault) = &scored.candidate.fault
        {
            m.record.findings.retain(|f| !matches!(f.kind, Verdict::WrongScale | Verdict::Unexplained));
            against(&mut m.record, &m.facts, &expected(&scored.candidate, "inferred"), limits);
            blame(&mut m.record, &m.facts, fault);
        }
    }
}

/// The initializer that most of them follow.
fn custom(measured: &[Measured<'_>], members: &[usize], fewest: usize) -> Option<String> {
    if members.len() < fewest {
        return None;
    }
    let mut votes: BTreeMap<String, (usize, f64)> = BTreeMap::new();
    for &i in members {
        let Some(fit) = &measured[i].fit else { continue };
        let best = fit.best().map_or(0.0, |b| b.score);
        let mut names: BTreeMap<String, f64> = BTreeMap::new();
        for scored in fit.accepted.iter().filter(|s| s.candidate.fault.is_none() && best - s.score < 12.0) {
            let entry = names.entry(scored.candidate.initializer.to_string()).or_insert(f64::NEG_INFINITY);
            *entry = entry.max(scored.score);
        }
        for (name, score) in names {
            let vote = votes.entry(name).or_insert((0, 0.0));
            vote.0 += 1;
            vote.1 += score;
        }
    }
    // Most followers first; among equals the likelier law.
    let (name, (count, _)) = votes
        .into_iter()
        .max_by(|a, b| a.1.0.cmp(&b.1.0).then((a.1.1 / a.1.0 as f64).total_cmp(&(b.1.1 / b.1.0 as f64))))?;
    (count >= 2 && count as f64 >= SHARE * members.len() as f64).then_some(name)
}

fn apply(
    measured: &mut [Measured<'_>],
    members: &[usize],
    law: &str,
    limits: &Limits,
    same_kind: bool,
) {
    let last = members.iter().copied().max_by_key(|&i| natural(&measured[i].record.name));
    for &i in members {
        let m = &mut measured[i];
        let Some(fit) = &m.fit else { continue };
        let own = fit.accepted.iter().find(|s| {
            s.candidate.fault.is_none() && s.candidate.initializer.to_string() == law
        });
        if let Some(scored) = own {
            if m.record.law.as_deref() != Some(law) {
                let name = m.record.law.replace(law.to_owned());
                let wrong_scale = |f: &crate::record::Finding| f.kind == Verdict::WrongScale;
                if m.record.findings.iter().any(wrong_scale) {
                    // The custom explains what looked like a mistake.
                    m.record.findings.retain(|f| !wrong_scale(f));
                    m.record.factor = None;
                }
                m.record.also.retain(|other| other != law);
                m.record.also.extend(name.filter(|n| !m.record.also.contains(n)));
                against(&mut m.record, &m.facts, &expected(&scored.candidate, "siblings"), limits);
            }
            continue;
        }
        let named = fit.best().is_some_and(|b| b.candidate.fault.is_none());
        let blamed = fit.best().is_some_and(|b| b.candidate.fault.is_some());
        let head = Some(i) == last && is_stack(&m.record.name);
        let Ok(initializer) = law.parse::<Initializer>() else { continue };
        let Some(law_here) = here(&initializer, &m.part, m.tensor) else { continue };
        let ratio = m.facts.std / law_here.std();
        let shape = m.part.readings.first().map(|r| &r.shape);
        let context = Context {
            fans: shape.filter(|_| m.part.role == Role::Dense).map(|s| s.fans()),
            field: shape.map_or(1, |s| s.field()),
            groups: shape.map_or(1, |s| s.groups()),
            layers: limits.layers,
            expected: law_here.std(),
            scaled: Expected::is_scaled(&initializer),
        };
        let error = m.facts.log_std_error(law_here.kurtosis().unwrap_or(3.0));
        let factor = factor::name(ratio, limits.band.max(3.0 * error), &context);
        let off = (ratio - 1.0).abs() > limits.band;
        let what = match (&factor, off) {
            (Some(f), _) => format!("std {:.4e} is {ratio:.4} times the {:.4e} of {law}, which its siblings follow: {} ({})", m.facts.std, law_here.std(), f.name, f.cause),
            (None, true) => format!("std {:.4e} is {ratio:.4} times the {:.4e} of {law}, which its siblings follow", m.facts.std, law_here.std()),
            (None, false) => format!("its values are {}, where its siblings follow {law}", fit.family),
        };
        let kind = if off { Verdict::WrongScale } else { Verdict::WrongLaw };
        let severity = match (same_kind, named, blamed) {
            (true, true, _) if head => Severity::Note,
            (true, _, _) => Severity::Finding,
            (false, true, _) => continue,
            (false, false, true) => Severity::Finding,
            (false, false, false) if factor.is_some() => Severity::Finding,
            (false, false, false) => continue,
        };
        if severity == Severity::Finding {
            let stale = [Verdict::Unexplained, Verdict::WrongScale];
            m.record.findings.retain(|f| !stale.contains(&f.kind));
            let siblings = Expected {
                name: law.to_owned(),
                law: law_here,
                source: "siblings".to_owned(),
                scaled: context.scaled,
            };
            against(&mut m.record, &m.facts, &siblings, limits);
            m.record.factor = factor.map(|f| f.name);
        }
        m.record.notice(kind, severity, what);
    }
}

/// Layers that stand in one stack, the last of which may be a head with a rule of its own.
fn is_stack(name: &str) -> bool {
    let parts: Vec<&str> = name.split(['.', '/']).collect();
    let block = parts.iter().rev().skip(2).any(|p| p.chars().all(|c| c.is_ascii_digit()));
    !block
}

fn here(initializer: &Initializer, part: &Part, tensor: &Tensor) -> Option<Law> {
    match part.readings.first() {
        Some(reading) => initializer.law(&reading.shape).ok(),
        None => initializer
            .law(&gainstage_spec::WeightShape::dense(1, tensor.elements().max(1)).ok()?)
            .ok(),
    }
}

/// GPT-2 divides the projections that end a residual branch by sqrt(2L) (Radford et al. 2019, section 2.3).
fn residuals(measured: &mut [Measured<'_>], limits: &Limits) {
    let Some(layers) = limits.layers else { return };
    let into = |m: &Measured<'_>| {
        m.record.name.ends_with("attn.c_attn.weight") || m.record.name.ends_with("mlp.c_fc.weight")
    };
    let stds: Vec<f64> = measured.iter().filter(|m| into(m)).map(|m| m.facts.std).collect();
    if stds.len() < 2 {
        return;
    }
    let base = stds.iter().sum::<f64>() / stds.len() as f64;
    for m in measured.iter_mut().filter(|m| m.record.name.ends_with("c_proj.weight")) {
        let same = (m.facts.std / base - 1.0).abs() < 0.05;
        if !same || m.record.findings.iter().any(|f| f.severity == Severity::Finding) {
            continue;
        }
        let factor = (2.0 * layers as f64).sqrt();
        let expected = Expected {
            name: format!("{} x 1/sqrt(2L)", m.record.law.clone().unwrap_or_default()),
            law: Law::Normal { mean: 0.0, std: base / factor },
            source: "GPT-2".to_owned(),
            scaled: false,
        };
        against(&mut m.record, &m.facts, &expected, limits);
        m.record.factor = Some("sqrt(2L)".to_owned());
        let text = format!(
            "std {:.4e} is that of the layers before it; GPT-2 divides the projections that end a residual branch by sqrt(2L) = {factor:.3}, L = {layers}: the depth factor was not applied",
            m.facts.std
        );
        m.record.notice(Verdict::WrongScale, Severity::Finding, text);
    }
}

/// Weights whose values are all the same.
pub(crate) fn constants(measured: &mut [Measured<'_>], ruled: bool) {
    let constant = |m: &Measured<'_>| m.part.role.is_weight() && m.facts.is_constant() && m.tensor.elements() > 1;
    let zero = |m: &Measured<'_>| constant(m) && m.facts.scan.moments.min() == 0.0;
    let alive = measured.iter().filter(|m| m.part.role.is_weight() && !constant(m)).count();
    let dense: Vec<usize> = (0..measured.len())
        .filter(|&i| matches!(measured[i].part.role, Role::Dense | Role::Conv))
        .collect();
    let last = dense.iter().copied().max_by_key(|&i| natural(&measured[i].record.name));
    let mut groups: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for m in measured.iter() {
        let entry = groups.entry(m.record.group.clone()).or_default();
        entry.0 += 1;
        entry.1 += usize::from(zero(m));
    }
    for i in 0..measured.len() {
        let m = &measured[i];
        if !constant(m) {
            continue;
        }
        let value = m.facts.scan.moments.min();
        let wanted = ruled && m.record.law.is_some() && m.record.std_expected == Some(0.0);
        let (members, zeros) = groups.get(&m.record.group).copied().unwrap_or_default();
        let head = Some(i) == last || ["head", "out", "final", "token"].iter().any(|w| m.record.name.contains(w));
        let (severity, text) = if wanted {
            continue;
        } else if value != 0.0 {
            (Severity::Finding, format!("every value is {value}: units stay identical"))
        } else if alive == 0 {
            (Severity::Finding, "every value is zero, as in all other weights: nothing breaks the symmetry".to_owned())
        } else if ruled || (members > zeros && !head) {
            (Severity::Finding, "every value is zero, while others of its kind are not".to_owned())
        } else {
            (Severity::Warning, "every value is zero: right for a layer that starts as nothing, such as a head or the end of a residual branch".to_owned())
        };
        measured[i].record.notice(Verdict::Constant, severity, text);
    }
}

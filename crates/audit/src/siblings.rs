//! Tensors that have no rule: compared with those of the same kind.

use std::collections::BTreeMap;

use gainstage_spec::{Initializer, Law};

use crate::audit::Measured;
use crate::catalogue::{Candidate, Fault};
use crate::checkpoint::Tensor;
use crate::factor;
use crate::facts::Facts;
use crate::family::Family;
use crate::judge::{Expected, Limits, SHAPE_BAND, against, context, sure};
use crate::names::natural;
use crate::record::{Severity, TensorRecord, Verdict};
use crate::role::{Part, Role};

/// Fewest tensors that make a custom, and the share of them that must agree.
const FEWEST: usize = 3;
const SHARE: f64 = 0.66;
/// Nats that a tensor may speak against a law that the others follow.
const AGAINST: f64 = 12.0;

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
        groups: 1,
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

/// Lets tensors of one kind decide what is ambiguous in one of them, and names those that differ.
pub(crate) fn compare(measured: &mut [Measured<'_>], limits: &Limits) {
    let weights: Vec<usize> = (0..measured.len())
        .filter(|&i| matches!(measured[i].part.role, Role::Dense | Role::Conv))
        .filter(|&i| measured[i].fit.is_some())
        .collect();
    let everywhere = custom(measured, &weights, FEWEST);
    for role in [Role::Dense, Role::Conv, Role::Embedding] {
        let of_role: Vec<usize> = (0..measured.len())
            .filter(|&i| measured[i].part.role == role && measured[i].fit.is_some())
            .collect();
        let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for &i in &of_role {
            groups.entry(kind_of(&measured[i].record)).or_default().push(i);
        }
        // Where a role has too few members, the custom of all layers stands in.
        let shared = match custom(measured, &of_role, FEWEST) {
            None if role != Role::Embedding && of_role.len() < FEWEST => everywhere.clone(),
            own => own,
        };
        for members in groups.values() {
            // A stack may hold convolutions and a classifier under one pattern of names.
            let kind = kind_of(&measured[members[0]].record);
            let stack: Vec<usize> =
                weights.iter().copied().filter(|&i| kind_of(&measured[i].record) == kind).collect();
            // The head is the last dense layer of all; a convolution before a classifier is none.
            let dense = |i: usize| measured[i].part.role == Role::Dense;
            let elsewhere = weights.iter().any(|i| dense(*i) && !stack.contains(i));
            let last = stack
                .iter()
                .copied()
                .max_by_key(|&i| natural(&measured[i].record.name))
                .filter(|_| !elsewhere);
            if let Some(law) = custom(measured, members, FEWEST) {
                apply(measured, members, &law, limits, true, last);
            } else if let Some(law) = &shared {
                // Of two of a kind one follows the custom, so that the other should.
                let twin =
                    members.len() == 2 && members.iter().any(|&i| follows(&measured[i], law));
                let same_kind = twin || (stack.len() >= FEWEST && of_role.len() < FEWEST);
                apply(measured, members, law, limits, same_kind, last);
            }
        }
        if shared.is_none() && custom(measured, &of_role, 2).is_none() {
            same_mistake(measured, &of_role, limits);
        }
    }
    residuals(measured, limits);
}

/// The pattern of names, or the last words where those alone say what a weight is for.
fn kind_of(record: &TensorRecord) -> String {
    let mut words = record.group.rsplit(['.', '/']);
    let (last, before) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let special = ["weight_hh_l", "weight_ih_l", "depthwise_kernel", "pointwise_kernel"];
    match special.iter().find(|word| last.starts_with(*word)) {
        Some(word) => format!("*{word}"),
        // Keras's recurrent layers, in one direction or two.
        None if before.ends_with("_cell") => format!("*{before}/{last}"),
        None => record.group.clone(),
    }
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
            m.record
                .findings
                .retain(|f| !matches!(f.kind, Verdict::WrongScale | Verdict::Unexplained));
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
        let part = &measured[i].part;
        for scored in fit
            .accepted
            .iter()
            .filter(|s| in_order(part, &s.candidate) && s.candidate.fault.is_none())
            .filter(|s| best - s.score < AGAINST)
        {
            let entry =
                names.entry(scored.candidate.initializer.to_string()).or_insert(f64::NEG_INFINITY);
            *entry = entry.max(scored.score);
        }
        for (name, score) in names {
            let vote = votes.entry(name).or_insert((0, 0.0));
            vote.0 += 1;
            vote.1 += score - best;
        }
    }
    // One tensor against a law costs as much as it may; so the law that the others follow closely wins
    // over one that all follow by the width of their errors.
    let total = |vote: &(usize, f64)| vote.1 - AGAINST * (members.len() - vote.0) as f64;
    let (name, (count, _)) =
        votes.into_iter().max_by(|a, b| total(&a.1).total_cmp(&total(&b.1)))?;
    (count >= 2 && count as f64 >= SHARE * members.len() as f64).then_some(name)
}

/// The candidate by which a tensor follows a law.
fn following<'a>(m: &'a Measured<'_>, law: &str) -> Option<&'a Candidate> {
    let fit = m.fit.as_ref()?;
    let own = fit
        .accepted
        .iter()
        .filter(|s| in_order(&m.part, &s.candidate) && s.candidate.fault.is_none())
        .find(|s| s.candidate.initializer.to_string() == law);
    own.map(|s| &s.candidate)
}

/// Whether a candidate reads the axes in the order that name or bias decides.
fn in_order(part: &Part, candidate: &Candidate) -> bool {
    let layout = candidate.reading.map(|i| part.readings[i].layout);
    part.layout.is_none() || layout.is_none_or(|own| own == part.readings[0].layout)
}

fn follows(m: &Measured<'_>, law: &str) -> bool {
    following(m, law).is_some()
}

/// The reading of the axes by which most of those that follow a law do.
fn reading_of(measured: &[Measured<'_>], members: &[usize], law: &str) -> usize {
    let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
    for reading in
        members.iter().filter_map(|&i| following(&measured[i], law)).filter_map(|c| c.reading)
    {
        *votes.entry(reading).or_default() += 1;
    }
    votes.into_iter().max_by_key(|(reading, n)| (*n, usize::MAX - reading)).map_or(0, |v| v.0)
}

fn apply(
    measured: &mut [Measured<'_>],
    members: &[usize],
    law: &str,
    limits: &Limits,
    same_kind: bool,
    last: Option<usize>,
) {
    let reading = reading_of(measured, members, law);
    for &i in members {
        let m = &mut measured[i];
        let Some(fit) = &m.fit else { continue };
        let own = following(m, law).cloned();
        if let Some(candidate) = own {
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
                against(&mut m.record, &m.facts, &expected(&candidate, "siblings"), limits);
            }
            continue;
        }
        let named = fit.best().is_some_and(|b| b.candidate.fault.is_none());
        let blamed = fit.best().is_some_and(|b| b.candidate.fault.is_some());
        let head = Some(i) == last && is_stack(&m.record.name);
        let Ok(initializer) = law.parse::<Initializer>() else { continue };
        let Some(law_here) = here(&initializer, &m.part, m.tensor, reading) else { continue };
        let ratio = m.facts.std / m.facts.rounded_std(&law_here);
        let siblings = Expected {
            name: law.to_owned(),
            law: law_here.clone(),
            source: "siblings".to_owned(),
            scaled: Expected::is_scaled(&initializer),
            groups: 1,
        };
        let context = context(&m.part, &siblings, limits);
        let error = m.facts.log_std_error(law_here.kurtosis().unwrap_or(3.0));
        let factor = factor::name(ratio, limits.band.max(3.0 * error), error, &context);
        let mut off = (ratio - 1.0).abs() > limits.band;
        let kurtosis = law_here.kurtosis().unwrap_or(3.0);
        if off && !sure(ratio, m.facts.count(), kurtosis, limits.level) {
            // Too few values to tell the scale; the shape may still tell.
            if !another_shape(&m.facts, &law_here, limits) {
                continue;
            }
            off = false;
        }
        let what = match (&factor, off) {
            (Some(f), _) => format!(
                "std {:.4e} is {ratio:.4} times the {:.4e} of {law}, which its siblings follow: {} ({})",
                m.facts.std,
                law_here.std(),
                f.name,
                f.cause
            ),
            (None, true) => format!(
                "std {:.4e} is {ratio:.4} times the {:.4e} of {law}, which its siblings follow",
                m.facts.std,
                law_here.std()
            ),
            (None, false) => {
                format!("its values are {}, where its siblings follow {law}", fit.family)
            }
        };
        let kind = if off { Verdict::WrongScale } else { Verdict::WrongLaw };
        // What makes rows loud or values wild also moves the scale.
        let explained = m
            .record
            .findings
            .iter()
            .any(|f| f.severity == Severity::Finding && f.kind >= Verdict::Clipped);
        if explained && factor.is_none() {
            continue;
        }
        // A law of its own is no fault in another kind of layer, nor in the last of a stack.
        if !same_kind && (named || !(blamed || factor.is_some())) {
            continue;
        }
        let severity = if same_kind && named && head { Severity::Note } else { Severity::Finding };
        if severity == Severity::Finding {
            let stale = [Verdict::Unexplained, Verdict::WrongScale];
            m.record.findings.retain(|f| !stale.contains(&f.kind));
            against(&mut m.record, &m.facts, &siblings, limits);
            m.record.factor = factor.map(|f| f.name);
        }
        m.record.notice(kind, severity, what);
    }
}

/// Whether the values have another shape than a law: rows that are not orthogonal, or another distribution.
fn another_shape(facts: &Facts, law: &Law, limits: &Limits) -> bool {
    match Family::of(law) {
        Some(Family::Sphere(_)) => facts.structure.products.as_ref().is_some_and(|p| !p.orthogonal),
        Some(family) => {
            let (distance, p) = facts.distance(&facts.member(family));
            distance > SHAPE_BAND && p < limits.level
        }
        None => false,
    }
}

/// Layers that stand in one stack, the last of which may be a head with a rule of its own.
fn is_stack(name: &str) -> bool {
    let parts: Vec<&str> = name.split(['.', '/']).collect();
    let block = parts.iter().rev().skip(2).any(|p| p.chars().all(|c| c.is_ascii_digit()));
    !block
}

fn here(initializer: &Initializer, part: &Part, tensor: &Tensor, reading: usize) -> Option<Law> {
    match part.readings.get(reading).or(part.readings.first()) {
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
    let factor = (2.0 * layers as f64).sqrt();
    for m in measured.iter_mut().filter(|m| m.record.name.ends_with("c_proj.weight")) {
        let near = |std: f64| (m.facts.std / std - 1.0).abs() < 0.05;
        let (never, twice) = (near(base), near(base / (factor * factor)));
        let told = |f: &crate::record::Finding| {
            f.severity == Severity::Finding && f.kind > Verdict::WrongScale
        };
        if !(never || twice) || m.record.findings.iter().any(told) {
            continue;
        }
        // What its siblings say of the scale follows from this.
        let stale = [Verdict::Unexplained, Verdict::WrongScale];
        m.record.findings.retain(|f| !stale.contains(&f.kind));
        let expected = Expected {
            name: format!("{} x 1/sqrt(2L)", m.record.law.clone().unwrap_or_default()),
            law: Law::Normal { mean: 0.0, std: base / factor },
            source: "GPT-2".to_owned(),
            scaled: false,
            groups: 1,
        };
        against(&mut m.record, &m.facts, &expected, limits);
        let rule = format!(
            "GPT-2 divides the projections that end a residual branch by sqrt(2L) = {factor:.3}, L = {layers}"
        );
        let (name, text) = if never {
            let text = format!(
                "std {:.4e} is that of the layers before it; {rule}: the depth factor was not applied",
                m.facts.std
            );
            ("sqrt(2L)", text)
        } else {
            let text = format!(
                "std {:.4e} is {:.3} of that of the layers before it; {rule}: the depth factor was applied twice",
                m.facts.std,
                m.facts.std / base
            );
            ("1/sqrt(2L)", text)
        };
        m.record.factor = Some(name.to_owned());
        m.record.notice(Verdict::WrongScale, Severity::Finding, text);
    }
}

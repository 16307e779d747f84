//! Tensors that have no rule: compared with those of the same kind.

use std::collections::BTreeMap;

use gainstage_spec::{Initializer, Law};

use crate::audit::Measured;
use crate::branches::residuals;
use crate::custom::{FEWEST, custom, following, follows, here, reading_of};
use crate::expected::{Expected, Limits, against, context, sure};
use crate::factor;
use crate::facts::Facts;
use crate::family::Family;
use crate::judge::SHAPE_BAND;
use crate::mistakes::{expected, same_mistake};
use crate::names::natural;
use crate::record::{Severity, TensorRecord, Verdict};
use crate::role::Role;

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

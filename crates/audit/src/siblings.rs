//! Tensors that have no rule: compared with those of the same kind.

use std::collections::BTreeMap;

use gainstage_spec::{Initializer, Law};

use crate::audit::Measured;
use crate::branches::residuals;
use crate::catalogue::Candidate;
use crate::custom::{
    AGAINST, FEWEST, custom, following, follows, here, reading_of, readings_of, total,
};
use crate::expected::{Expected, Limits, against, context, is_sure};
use crate::facts::Facts;
use crate::family::Family;
use crate::judge::SHAPE_BAND;
use crate::mistakes::{blame_all, expected, shared_mistake};
use crate::names::{block_pattern, natural};
use crate::record::{Finding, Severity, TensorRecord, Verdict};
use crate::role::Role;
use crate::siren::siren;
use crate::{factor, fan_out, haiku};

/// Nats by which a mistake must explain all tensors better than a law, which chance does with a probability below 10^-4 for
/// the mistakes that are near.
const CLEARLY: f64 = 4.0;

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
        // A mistake that all have made explains more than a law that they happen to be near.
        let mistaken = shared.as_ref().filter(|_| of_role.len() >= FEWEST).and_then(|law| {
            let mistake = shared_mistake(measured, &of_role, Some(law))?;
            (mistake.total > total(measured, &of_role, law) + CLEARLY).then_some(mistake)
        });
        if let Some(mistake) = mistaken {
            blame_all(measured, &of_role, &mistake, limits);
            continue;
        }
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
            let sines = (role == Role::Dense && members.len() >= FEWEST)
                .then(|| siren(measured, members, limits))
                .flatten();
            if let Some(sines) = sines {
                let behind: Vec<usize> =
                    members.iter().copied().filter(|&i| i != sines.first).collect();
                apply(measured, &behind, &sines.hidden, limits, Kind::Same, last);
                let first = &mut measured[sines.first];
                if sines.fits {
                    adopt(first, &sines.expected, limits);
                } else {
                    differ(first, &sines.expected, limits, Kind::Same, false);
                }
            } else if let Some(law) = custom(measured, members, FEWEST)
                .map(|law| prefer(measured, members, law, shared.as_ref()))
                .or_else(|| before_head(measured, members, last))
                .or_else(|| of_recurrent(measured, &groups, &kind))
                .or_else(|| of_pair(measured, members))
            {
                apply(measured, members, &law, limits, Kind::Same, last);
            } else if let Some(law) = &shared {
                // Of two of a kind one follows the custom, so that the other should.
                let twin =
                    members.len() == 2 && members.iter().any(|&i| follows(&measured[i], law));
                let same = twin || (stack.len() >= FEWEST && of_role.len() < FEWEST);
                let stem = role == Role::Conv && of_role.len() > FEWEST && members.len() == 1;
                let kind = if same {
                    Kind::Same
                } else if stem && is_stem(&measured[members[0]]) {
                    Kind::Stem
                } else {
                    Kind::Other
                };
                apply(measured, members, law, limits, kind, last);
            }
        }
        if shared.is_none()
            && custom(measured, &of_role, 2).is_none()
            && let Some(mistake) = shared_mistake(measured, &of_role, None)
        {
            blame_all(measured, &of_role, &mistake, limits);
        }
    }
    residuals(measured, limits);
    if let Some((law, rest)) = fan_out::on_purpose(measured) {
        apply(measured, &rest, &law, limits, Kind::Same, None);
    }
    haiku::tell(measured);
}

/// The pattern of names, or the last words where those alone say what a weight is for.
fn kind_of(record: &TensorRecord) -> String {
    let mut words = record.group.rsplit(['.', '/']);
    let mut word = || words.next().unwrap_or_default();
    let (last, before, cell) = (word(), word(), word());
    let special = ["weight_hh_l", "weight_ih_l", "depthwise_kernel", "pointwise_kernel"];
    match special.iter().find(|word| last.starts_with(*word)) {
        Some(word) => format!("*{word}"),
        // Keras's recurrent layers, in one direction or two.
        None if before.ends_with("_cell") => format!("*{before}/{last}"),
        // Flax's: a kernel for each gate, from the input (`if`, `iz`) and from the state (`hf`, `hz`).
        None if cell.contains("Cell") && before.len() <= 2 && before.starts_with(['i', 'h']) => {
            format!("*{cell}/{}*/{last}", &before[..1])
        }
        None => record.group.clone(),
    }
}

/// Whether a kernel takes an image or its like: a first convolution.
fn is_stem(m: &Measured<'_>) -> bool {
    m.part.readings.first().is_some_and(|r| r.shape.inputs() <= 4)
}

/// The law of most others, where as many of a kind follow it as follow their own.
fn prefer(
    measured: &[Measured<'_>],
    members: &[usize],
    own: String,
    shared: Option<&String>,
) -> String {
    let count = |law: &str| members.iter().filter(|&&i| follows(&measured[i], law)).count();
    let near = |law: &str| total(measured, members, law) > total(measured, members, &own) - AGAINST;
    match shared {
        Some(law) if count(law) >= count(&own) && near(law) => law.clone(),
        _ => own,
    }
}

/// The law of three or more before a last layer with a known law of its own.
fn before_head(
    measured: &[Measured<'_>],
    members: &[usize],
    last: Option<usize>,
) -> Option<String> {
    let head = last.filter(|i| members.contains(i) && is_stack(&measured[*i].record.name))?;
    let best = measured[head].fit.as_ref()?.best()?;
    let others: Vec<usize> = members.iter().copied().filter(|i| *i != head).collect();
    let law = custom(measured, &others, FEWEST).filter(|_| best.candidate.fault.is_none())?;
    let count = others.iter().filter(|&&i| follows(&measured[i], &law)).count();
    (count >= FEWEST).then_some(law)
}

/// The kinds of PyTorch's recurrent weights: from the input, and from the state.
const RECURRENT: [&str; 2] = ["*weight_ih_l", "*weight_hh_l"];

/// PyTorch draws all weights of a recurrent layer by one law: those from the input, those from the state, and those of both
/// directions. Where three follow it, so should the fourth; of two, the one that follows no known law.
fn of_recurrent(
    measured: &[Measured<'_>],
    groups: &BTreeMap<String, Vec<usize>>,
    kind: &str,
) -> Option<String> {
    RECURRENT.contains(&kind).then_some(())?;
    let all: Vec<usize> =
        RECURRENT.iter().filter_map(|k| groups.get(*k)).flatten().copied().collect();
    custom(measured, &all, FEWEST)
        .or_else(|| known_one(measured, &groups[kind]))
        .or_else(|| known_one(measured, &all))
}

/// The same place in two blocks.
fn of_pair(measured: &[Measured<'_>], members: &[usize]) -> Option<String> {
    let [a, b] = members else { return None };
    let (a, b) = (&measured[*a].record.name, &measured[*b].record.name);
    let same = !is_stack(a) && block_pattern(a) == block_pattern(b);
    same.then(|| known_one(measured, members).or_else(|| common_one(measured, members))).flatten()
}

/// The law of the one of two that two others of the checkpoint follow as well, where nothing else follows a law of the
/// second: both may be round numbers.
fn common_one(measured: &[Measured<'_>], pair: &[usize]) -> Option<String> {
    let others = |law: &str| {
        let weights = measured.iter().enumerate().filter(|(_, m)| m.part.role.is_weight());
        weights.filter(|(i, m)| !pair.contains(i) && follows(m, law)).count()
    };
    let laws = |i: usize| -> Vec<String> {
        let accepted = measured[i].fit.iter().flat_map(|fit| &fit.accepted);
        let sound = accepted.map(|s| &s.candidate).filter(|c| c.fault.is_none());
        sound.map(|c| c.initializer.to_string()).collect()
    };
    let [first, second] = [laws(*pair.first()?), laws(*pair.get(1)?)];
    let common = |own: &[String], strange: &[String]| {
        let alone = strange.iter().all(|law| !own.contains(law) && others(law) == 0);
        let best = own.iter().max_by_key(|law| others(law)).filter(|law| others(law) >= 2);
        best.filter(|_| alone && !strange.is_empty()).cloned()
    };
    common(&first, &second).or_else(|| common(&second, &first))
}

/// The law of the one of two that follows a known law.
fn known_one(measured: &[Measured<'_>], pair: &[usize]) -> Option<String> {
    let best = |i: &usize| measured[*i].fit.as_ref().and_then(|fit| fit.best());
    let known: Vec<&Candidate> =
        pair.iter().filter_map(best).map(|s| &s.candidate).filter(|c| c.fault.is_none()).collect();
    match (pair, known.as_slice()) {
        ([_, _], [one]) => Some(one.initializer.to_string()),
        _ => None,
    }
}

/// How a tensor stands to those whose law it is held against.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Of their kind, and to follow their law.
    Same,
    /// A first convolution alone of its kind, which may have a known law of its own and seldom has.
    Stem,
    /// Of another kind.
    Other,
}

/// Holds tensors against a law.
fn apply(
    measured: &mut [Measured<'_>],
    members: &[usize],
    law: &str,
    limits: &Limits,
    kind: Kind,
    last: Option<usize>,
) {
    let recurrent = |i: usize| RECURRENT.contains(&kind_of(&measured[i].record).as_str());
    let reading = reading_of(measured, members, law)
        .or_else(|| {
            // The weight of the state has the hidden size as its second axis too: the other reading is meant.
            let of_hidden = |i: usize| readings_of(&measured[i], law).max();
            let all = (0..measured.len()).filter(|&i| recurrent(i));
            members.iter().all(|&i| recurrent(i)).then(|| all.filter_map(of_hidden).max())?
        })
        .unwrap_or(0);
    for &i in members {
        let m = &mut measured[i];
        if let Some(candidate) = following(m, law) {
            let candidate = Candidate { fault: None, ..candidate.clone() };
            if m.record.law.as_deref() != Some(law) {
                adopt(m, &expected(&candidate, "siblings"), limits);
            }
            continue;
        }
        let Ok(initializer) = law.parse::<Initializer>() else { continue };
        let Some(law_here) = here(&initializer, &m.part, m.tensor, reading) else { continue };
        let siblings = Expected {
            name: law.to_owned(),
            law: law_here,
            source: "siblings".to_owned(),
            scaled: Expected::is_scaled(&initializer),
            groups: 1,
        };
        let head = Some(i) == last && is_stack(&m.record.name);
        differ(m, &siblings, limits, kind, head);
    }
}

/// Gives a tensor the law of its siblings, which explains what looked like a mistake.
fn adopt(m: &mut Measured<'_>, expected: &Expected, limits: &Limits) {
    let record = &mut m.record;
    let name = record.law.replace(expected.name.clone());
    let stale = |f: &Finding| matches!(f.kind, Verdict::WrongScale | Verdict::Unexplained);
    if record.findings.iter().any(stale) {
        record.findings.retain(|f| !stale(f));
        record.factor = None;
    }
    record.also.retain(|other| *other != expected.name);
    record.also.extend(name.filter(|n| *n != expected.name && !record.also.contains(n)));
    against(record, &m.facts, expected, limits);
}

/// Tells how a tensor differs from a law that it does not follow.
fn differ(m: &mut Measured<'_>, expected: &Expected, limits: &Limits, kind: Kind, head: bool) {
    let Some(fit) = &m.fit else { return };
    let (law, facts) = (&expected.law, &m.facts);
    let best = fit.best();
    let named = best.is_some_and(|b| b.candidate.fault.is_none());
    // Of few values some round number, or some seldom gain, is always near.
    let usual = |c: &Candidate| c.fault.is_none() && c.reading.is_some() && c.prior > -2.0;
    let by_fans = best.is_some_and(|b| usual(&b.candidate));
    let ratio = facts.scale(law) / facts.rounded_std(law);
    let error = facts.scale_error(law);
    let context = context(&m.part, expected, limits);
    let factor = factor::name(ratio, limits.band.max(3.0 * error), error, &context);
    let mut off = (ratio - 1.0).abs() > limits.band;
    if off && !is_sure(ratio, facts, law, limits) {
        // Too few values to tell the scale; the shape may still tell.
        if !another_shape(facts, law, limits) {
            return;
        }
        off = false;
    }
    let whose = match expected.source.as_str() {
        "SIREN" => "in which a stack of sine layers like this one begins",
        _ => "which its siblings follow",
    };
    let mut what = if factor.is_some() || off {
        format!(
            "std {:.4e} is {ratio:.4} times the {:.4e} of {}, {whose}",
            facts.scale(law),
            law.std(),
            expected.name
        )
    } else {
        format!("its values are {}, and not of {}, {whose}", fit.family, expected.name)
    };
    if let Some(f) = &factor {
        what += &format!(": {} ({})", f.name, f.cause);
    }
    let verdict = if off { Verdict::WrongScale } else { Verdict::WrongLaw };
    // What makes rows loud or values wild also moves the scale.
    let loud = |f: &Finding| f.severity == Severity::Finding && f.kind >= Verdict::Clipped;
    if m.record.findings.iter().any(loud) && factor.is_none() {
        return;
    }
    let severity = match kind {
        // The last of a stack may have a law of its own.
        Kind::Same if named && head => Severity::Note,
        Kind::Stem if by_fans => {
            what += "; a first convolution may have a law of its own, and rules tell";
            Severity::Warning
        }
        // A law of its own is no fault in another kind of layer, nor is one that is not known.
        Kind::Other if named || (best.is_none() && factor.is_none()) => return,
        _ => Severity::Finding,
    };
    if severity == Severity::Finding {
        let stale = [Verdict::Unexplained, Verdict::WrongScale];
        m.record.findings.retain(|f| !stale.contains(&f.kind));
        against(&mut m.record, &m.facts, expected, limits);
        m.record.factor = factor.map(|f| f.name);
    }
    m.record.notice(verdict, severity, what);
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

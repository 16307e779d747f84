//! Usual mistakes: in one tensor, and the same one in all.

use std::collections::BTreeMap;

use crate::audit::Measured;
use crate::catalogue::{Candidate, Fault};
use crate::custom::{AGAINST, SHARE, following};
use crate::expected::{Expected, Limits, against};
use crate::facts::Facts;
use crate::family::Family;
use crate::record::{Severity, TensorRecord, Verdict};

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

/// The shape, the law that was meant, and the factor.
type Key = (Family, String, String);

/// A mistake that most tensors have in common.
pub(crate) struct Mistake {
    key: Key,
    /// As [`crate::custom::total`] of a law.
    pub(crate) total: f64,
}

fn key(candidate: &Candidate) -> Option<Key> {
    let fault = candidate.fault.as_ref()?;
    Some((candidate.family, fault.meant.to_string(), fault.factor.clone()))
}

/// The likeliest mistake that most of them may have made. Beside a law, of that law's shape: each tensor's likelihood is
/// that of a shape at its own scale, which favours one with bounds.
pub(crate) fn shared_mistake(
    measured: &[Measured<'_>],
    members: &[usize],
    beside: Option<&str>,
) -> Option<Mistake> {
    let shape = beside
        .and_then(|law| members.iter().find_map(|&i| following(&measured[i], law)))
        .map(|c| c.family);
    let mut votes: BTreeMap<Key, (usize, f64, f64)> = BTreeMap::new();
    for &i in members {
        let Some(fit) = &measured[i].fit else { continue };
        let mut own: BTreeMap<Key, (f64, f64)> = BTreeMap::new();
        for scored in &fit.accepted {
            if let Some(key) = key(&scored.candidate).filter(|k| shape.is_none_or(|s| s == k.0)) {
                let prior = scored.candidate.prior;
                let best = own.entry(key).or_insert((f64::NEG_INFINITY, prior));
                if scored.score - prior > best.0 {
                    *best = (scored.score - prior, prior);
                }
            }
        }
        for (key, (score, prior)) in own {
            let vote = votes.entry(key).or_insert((0, 0.0, f64::NEG_INFINITY));
            *vote = (vote.0 + 1, vote.1 + score, vote.2.max(prior));
        }
    }
    let enough = |count: usize| count >= 2 && count as f64 >= SHARE * members.len() as f64;
    votes
        .into_iter()
        .filter(|(_, (count, ..))| enough(*count))
        .map(|(key, (count, score, prior))| {
            let missing = (members.len() - count) as f64;
            Mistake { key, total: prior + score - AGAINST * missing }
        })
        .max_by(|a, b| a.total.total_cmp(&b.total))
}

/// Names the mistake in all that may have made it.
pub(crate) fn blame_all(
    measured: &mut [Measured<'_>],
    members: &[usize],
    mistake: &Mistake,
    limits: &Limits,
) {
    for &i in members {
        let m = &mut measured[i];
        let Some(fit) = &m.fit else { continue };
        let same = fit.accepted.iter().find(|s| key(&s.candidate).as_ref() == Some(&mistake.key));
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

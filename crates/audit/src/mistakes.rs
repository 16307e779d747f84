//! Usual mistakes: in one tensor, and the same one in all.

use std::collections::BTreeMap;

use crate::audit::Measured;
use crate::catalogue::{Candidate, Fault};
use crate::custom::SHARE;
use crate::expected::{Expected, Limits, against};
use crate::facts::Facts;
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

/// Where no law is shared but a mistake is, all follow from that one.
pub(crate) fn same_mistake(measured: &mut [Measured<'_>], members: &[usize], limits: &Limits) {
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

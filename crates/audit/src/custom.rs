//! The law that most tensors of one kind follow.

use std::collections::BTreeMap;

use gainstage_spec::{Initializer, Law};

use crate::array::Tensor;
use crate::audit::Measured;
use crate::catalogue::{Candidate, Fault};
use crate::infer::Scored;
use crate::part::Part;

/// Fewest tensors that make a custom, and the share of them that must agree.
pub(crate) const FEWEST: usize = 3;
pub(crate) const SHARE: f64 = 0.66;
/// Nats that a tensor may speak against a law that the others follow.
pub(crate) const AGAINST: f64 = 12.0;

/// The initializer that most of them follow.
pub(crate) fn custom(
    measured: &[Measured<'_>],
    members: &[usize],
    fewest: usize,
) -> Option<String> {
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

/// The logarithm of the posterior of a law that tensors have in common, up to a constant: how usual it is counts once.
pub(crate) fn total(measured: &[Measured<'_>], members: &[usize], law: &str) -> f64 {
    let scored = members.iter().map(|&i| scored(&measured[i], law));
    let (mut sum, mut prior) = (0.0, f64::NEG_INFINITY);
    for own in scored {
        match own {
            Some(own) => {
                sum += own.score - own.candidate.prior;
                prior = prior.max(own.candidate.prior);
            }
            None => sum -= AGAINST,
        }
    }
    sum + prior
}

/// The candidate by which a tensor follows a law. A fan-out that others have in common is no exchange of fans.
pub(crate) fn following<'a>(m: &'a Measured<'_>, law: &str) -> Option<&'a Candidate> {
    scored(m, law).map(|s| &s.candidate)
}

fn scored<'a>(m: &'a Measured<'_>, law: &str) -> Option<&'a Scored> {
    let fit = m.fit.as_ref()?;
    fit.accepted
        .iter()
        .filter(|s| in_order(&m.part, &s.candidate))
        .filter(|s| s.candidate.fault.as_ref().is_none_or(Fault::is_exchange))
        .find(|s| s.candidate.initializer.to_string() == law)
}

/// Whether a candidate reads the axes in the order that name or bias decides. PyTorch, Keras and Flax count the fans of a
/// kernel as of a plain one; the other reading counts where a bias tells that the convolution is transposed.
pub(crate) fn in_order(part: &Part, candidate: &Candidate) -> bool {
    let Some(own) = candidate.reading.map(|i| &part.readings[i]) else { return true };
    let first = &part.readings[0];
    let plain = !own.shape.is_transposed() || first.shape.is_transposed();
    plain && (part.layout.is_none() || own.layout == first.layout)
}

pub(crate) fn follows(m: &Measured<'_>, law: &str) -> bool {
    following(m, law).is_some()
}

/// The readings of the axes by which a tensor follows a law.
pub(crate) fn readings_of<'a>(
    m: &'a Measured<'_>,
    law: &'a str,
) -> impl Iterator<Item = usize> + 'a {
    let accepted = m.fit.iter().flat_map(|f| &f.accepted).map(|s| &s.candidate);
    accepted
        .filter(|c| in_order(&m.part, c) && c.fault.is_none())
        .filter(move |c| c.initializer.to_string() == law)
        .filter_map(|c| c.reading)
}

/// The reading of the axes by which most of those that follow a law do.
pub(crate) fn reading_of(measured: &[Measured<'_>], members: &[usize], law: &str) -> Option<usize> {
    let mut votes: BTreeMap<usize, usize> = BTreeMap::new();
    for reading in
        members.iter().filter_map(|&i| following(&measured[i], law)).filter_map(|c| c.reading)
    {
        *votes.entry(reading).or_default() += 1;
    }
    votes.into_iter().max_by_key(|(reading, n)| (*n, usize::MAX - reading)).map(|v| v.0)
}

pub(crate) fn here(
    initializer: &Initializer,
    part: &Part,
    tensor: &Tensor,
    reading: usize,
) -> Option<Law> {
    match part.readings.get(reading).or(part.readings.first()) {
        Some(reading) => initializer.law(&reading.shape).ok(),
        None => initializer
            .law(&gainstage_spec::WeightShape::dense(1, tensor.elements().max(1)).ok()?)
            .ok(),
    }
}

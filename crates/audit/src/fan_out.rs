//! He's rule for the gradient.
//!
//! He et al. (2015, section 2.2) keep either the signal, with the fan-in, or the gradient, with the fan-out, and PyTorch,
//! Keras and JAX take the mode as an argument. A network of dense layers that are all scaled so by their fan-out was meant
//! so, or has its axes in the other order: the values are the same. No framework's default and no published rule
//! scales a dense layer by another multiple of its fan-out; there it is an exchange.

use gainstage_spec::{FanMode, Initializer};

use crate::audit::Measured;
use crate::catalogue::Fault;
use crate::custom::{SHARE, in_order};
use crate::names::natural;
use crate::record::{Severity, Verdict};
use crate::role::Role;

/// Fewest layers, not square, that make a custom of it.
const FEWEST: usize = 2;

/// Where dense layers that tell are scaled by their fan-out and none by its fan-in, what was told as an exchange becomes a
/// warning. The law, and the layers that do not follow it.
pub(crate) fn on_purpose(measured: &mut [Measured<'_>]) -> Option<(String, Vec<usize>)> {
    let dense: Vec<usize> = (0..measured.len())
        .filter(|&i| measured[i].part.role == Role::Dense && measured[i].fit.is_some())
        .collect();
    let exchanged: Vec<usize> =
        dense.iter().copied().filter(|&i| is_exchanged(&measured[i])).collect();
    let (law, signal) = exchanged.iter().find_map(|&i| by_fan_out(&measured[i]))?;
    let follows = |i: usize, law: &Initializer| {
        let accepted = measured[i].fit.iter().flat_map(|f| &f.accepted).map(|s| &s.candidate);
        accepted.filter(|c| in_order(&measured[i].part, c)).any(|c| c.initializer == *law)
    };
    let tells =
        |i: usize, law: &Initializer, other: &Initializer| follows(i, law) && !follows(i, other);
    let last = dense.iter().copied().max_by_key(|&i| natural(&measured[i].record.name));
    let own = |i: usize| Some(i) == last && !is_exchanged(&measured[i]);
    let rest: Vec<usize> =
        dense.iter().copied().filter(|&i| !follows(i, &law) && !own(i)).collect();
    let following = dense.iter().filter(|&&i| follows(i, &law)).count();
    let most = following as f64 >= SHARE * (following + rest.len()) as f64;
    // Square layers follow both, and agree with one that is not; beside convolutions they are too few to say so.
    let count = dense.iter().filter(|&&i| tells(i, &law, &signal)).count();
    let convolutions = measured.iter().any(|m| m.part.role == Role::Conv);
    let enough = count >= FEWEST || (dense.len() > FEWEST && !convolutions);
    if !enough || !most || dense.iter().any(|&i| tells(i, &signal, &law)) {
        return None;
    }
    for i in exchanged {
        let record = &mut measured[i].record;
        for finding in record.findings.iter_mut().filter(|f| f.kind == Verdict::WrongScale) {
            finding.severity = Severity::Warning;
            finding.text += &format!(
                "; or meant for the gradient, since all dense layers are: a rule with law = \"{law}\" says so"
            );
        }
    }
    Some((law.to_string(), rest))
}

fn is_exchanged(m: &Measured<'_>) -> bool {
    let factor = m.record.factor.as_deref().unwrap_or_default();
    let wrong = m.record.findings.iter().any(|f| f.kind == Verdict::WrongScale);
    wrong && factor.split(" or ").any(|name| name == "swapped fans")
}

/// He's rule for the gradient and for the signal, where a tensor was told to follow the one in place of the other.
fn by_fan_out(m: &Measured<'_>) -> Option<(Initializer, Initializer)> {
    let accepted = m.fit.iter().flat_map(|f| &f.accepted).map(|s| &s.candidate);
    accepted.filter(|c| c.fault.as_ref().is_some_and(Fault::is_exchange)).find_map(|c| {
        let fault = c.fault.as_ref()?;
        match c.initializer {
            Initializer::VarianceScaling { scale, mode: FanMode::FanOut, .. }
                if (scale - 2.0).abs() < 1e-9
                    && m.record.law.as_deref() == Some(fault.meant.to_string().as_str()) =>
            {
                Some((c.initializer.clone(), fault.meant.clone()))
            }
            _ => None,
        }
    })
}

//! SIREN's two laws (Sitzmann et al. 2020, section 3.2): uniform within 1/fan_in in the first layer, and within
//! sqrt(6/fan_in)/omega_0 in those behind it, with omega_0 = 30. Some implementations leave omega_0 out behind the first.

use gainstage_spec::{FanMode, Initializer};

use crate::audit::Measured;
use crate::custom::{SHARE, follows};
use crate::expected::{Expected, Limits, is_sure};
use crate::family::Family;
use crate::judge::SHAPE_BAND;
use crate::names::natural;

/// Variance times fan-in behind the first layer.
pub(crate) const HIDDEN: f64 = 2.0 / 900.0;

/// A stack of sine layers.
pub(crate) struct Siren {
    /// The first layer, and what it is to follow.
    pub(crate) first: usize,
    pub(crate) expected: Expected,
    pub(crate) fits: bool,
    /// The law of the others.
    pub(crate) hidden: String,
}

/// The stack of dense layers as a SIREN, if it is one: most layers behind the first follow the law of hidden ones; or all
/// follow He's uniform rule, which is omega_0 = 1, and the first has its own law and not theirs.
pub(crate) fn siren(
    measured: &[Measured<'_>],
    members: &[usize],
    limits: &Limits,
) -> Option<Siren> {
    let first = members.iter().copied().min_by_key(|&i| natural(&measured[i].record.name))?;
    let behind: Vec<usize> = members.iter().copied().filter(|&i| i != first).collect();
    let law = |scale: f64| Family::Uniform.scaled(scale, FanMode::FanIn).map(|i| i.to_string());
    let share = |law: &str| {
        let count = behind.iter().filter(|&&i| follows(&measured[i], law)).count();
        count >= 2 && count as f64 >= SHARE * behind.len() as f64
    };
    let expected = expected(&measured[first])?;
    let own = fits(&measured[first], &expected, limits);
    let (hidden, he) = (law(HIDDEN)?, law(2.0)?);
    let least = behind.iter().filter(|&&i| best(&measured[i]) == Some(hidden.clone())).count();
    if share(&hidden) && (own || 2 * least >= behind.len()) {
        Some(Siren { first, expected, fits: own, hidden })
    } else if share(&he) && own && !follows(&measured[first], &he) {
        Some(Siren { first, expected, fits: own, hidden: he })
    } else {
        None
    }
}

fn best(m: &Measured<'_>) -> Option<String> {
    let best = m.fit.as_ref()?.best()?;
    best.candidate.fault.is_none().then(|| best.candidate.initializer.to_string())
}

fn expected(m: &Measured<'_>) -> Option<Expected> {
    let shape = &m.part.readings.first()?.shape;
    let bound = 1.0 / shape.fans().fan_in() as f64;
    let initializer = Initializer::Uniform { low: -bound, high: bound };
    Some(Expected {
        name: initializer.to_string(),
        law: initializer.law(shape).ok()?,
        source: "SIREN".to_owned(),
        scaled: true,
        groups: 1,
    })
}

/// Whether a tensor is uniform at the scale of a law.
fn fits(m: &Measured<'_>, expected: &Expected, limits: &Limits) -> bool {
    let ratio = m.facts.scale(&expected.law) / m.facts.rounded_std(&expected.law);
    let off = (ratio - 1.0).abs() > limits.band && is_sure(ratio, &m.facts, &expected.law, limits);
    let (distance, p) = m.facts.distance(&m.facts.member(Family::Uniform));
    !off && (distance <= SHAPE_BAND || p >= limits.level)
}

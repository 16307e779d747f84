//! Which law a tensor most likely follows.
//!
//! Shape and scale are judged apart. The shape is the family with the largest likelihood; the scale is
//! compared with every candidate's, in units of what sampling and the equivalence band allow; how usual a
//! law is decides between those that fit alike. The score is a log posterior in nats.

use gainstage_spec::Law;

use crate::catalogue::{Candidate, candidates};
use crate::expected::Limits;
use crate::facts::Facts;
use crate::family::{FAMILIES, Family};
use crate::judge::SHAPE_BAND;
use crate::part::Part;

/// Nats by which a family may trail the best and still be possible; the true one trails further with a
/// probability below exp(-16) = 10^-7.
const FAMILY_NATS: f64 = 16.0;
/// Nats a value below which two shapes are the same in effect.
const FAMILY_BAND: f64 = 5e-4;
/// Standard errors of the scale within which a candidate fits.
const SCALE_ERRORS: f64 = 4.5;

/// The candidates in order.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    /// Shape of the tensor, at its own mean and standard deviation.
    pub(crate) family: Family,
    pub(crate) law: Law,
    /// Kolmogorov-Smirnov distance from that shape, and its p-value.
    pub(crate) distance: f64,
    pub(crate) shape_p: f64,
    /// All that fit shape and scale, best first.
    pub(crate) accepted: Vec<Scored>,
    /// The best that does not fit, where none does; else the best of another law.
    pub(crate) next: Option<Scored>,
}

/// A candidate and its score.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    pub(crate) candidate: Candidate,
    pub(crate) score: f64,
}

impl Fit {
    /// Whether the shape fits, to within `band` or to within sampling.
    pub(crate) fn has_shape(&self, band: f64, level: f64) -> bool {
        self.distance <= band || self.shape_p >= level
    }

    pub(crate) fn best(&self) -> Option<&Scored> {
        self.accepted.first()
    }
}

/// Ranks the candidates.
pub(crate) fn infer(facts: &Facts, part: &Part, limits: &Limits) -> Fit {
    let (layers, band) = (limits.layers, limits.band);
    let families = families(facts, part);
    let n = facts.bins.total.max(1) as f64;
    let Some((family, law)) = families
        .iter()
        .max_by(|a, b| a.2.total_cmp(&b.2))
        .map(|(family, law, _)| (*family, law.clone()))
    else {
        let law = Law::Point { value: facts.mean };
        return Fit {
            family: Family::Normal,
            law,
            distance: 1.0,
            shape_p: 0.0,
            accepted: Vec::new(),
            next: None,
        };
    };
    let (distance, shape_p) = facts.distance(&law);
    let shaped = distance <= SHAPE_BAND || shape_p >= limits.level;
    let best = families.iter().map(|(_, _, l)| *l).fold(f64::NEG_INFINITY, f64::max);
    let possible = |family: Family| {
        families.iter().find(|(f, _, _)| *f == family).map(|(_, _, likelihood)| {
            let behind = best - likelihood;
            (behind, shaped && (behind * n <= FAMILY_NATS || behind <= FAMILY_BAND))
        })
    };
    let mut accepted = Vec::new();
    let mut rest = Vec::new();
    for candidate in candidates(part, facts.std, facts.log_std_error(3.0), layers) {
        let Some((behind, shape)) = possible(candidate.family) else { continue };
        let law = &candidate.law;
        let ratio = (facts.scale(law) / facts.rounded_std(law)).ln();
        let error = facts.scale_error(law);
        let z = ratio / error.hypot(band / 3.0);
        let score = candidate.prior - 0.5 * z * z - behind * n;
        let fits = shape && ratio.abs() <= band.max(SCALE_ERRORS * error);
        let scored = Scored { candidate, score };
        if fits { accepted.push(scored) } else { rest.push(scored) }
    }
    let by_score = |a: &Scored, b: &Scored| b.score.total_cmp(&a.score);
    accepted.sort_by(by_score);
    rest.sort_by(by_score);
    let next = match accepted.first() {
        None => rest.into_iter().next(),
        Some(best) => {
            let differs = |s: &Scored| {
                let (a, b) = (&s.candidate, &best.candidate);
                a.family != b.family || (a.law.std() / b.law.std() - 1.0).abs() > 1e-3
            };
            let mut others: Vec<Scored> =
                accepted.iter().cloned().chain(rest).filter(differs).collect();
            others.sort_by(by_score);
            others.into_iter().next()
        }
    };
    Fit { family, law, distance, shape_p, accepted, next }
}

/// Every family at its likeliest scale, with the mean log-likelihood of a value.
fn families(facts: &Facts, part: &Part) -> Vec<(Family, Law, f64)> {
    let orthogonal = facts.structure.products.as_ref().is_some_and(|p| p.orthogonal);
    let list: Vec<Family> = if orthogonal {
        let shapes = part.readings.iter().map(|r| &r.shape);
        let mut spheres: Vec<Family> =
            shapes.map(|s| Family::Sphere(s.outputs().max(s.elements() / s.outputs()))).collect();
        spheres.sort_unstable();
        spheres.dedup();
        spheres
    } else {
        FAMILIES.to_vec()
    };
    list.into_iter()
        .map(|family| {
            let law = facts.member(family);
            let likelihood = facts.bins.log_likelihood(&law);
            (family, law, likelihood)
        })
        .collect()
}

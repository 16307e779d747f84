//! One tensor: measured once, and judged by its rule or its likeliest law.

use gainstage_spec::{Initializer, Law};

use crate::array::Tensor;
use crate::audit::Measured;
use crate::blank::{blank, ranking};
use crate::checkpoint::Checkpoint;
use crate::expected::{Limits, against};
use crate::facts::Facts;
use crate::general::general;
use crate::infer::{Fit, infer};
use crate::judge::{SHAPE_BAND, stated, zeros};
use crate::part::Part;
use crate::record::{Picture, Severity, TensorRecord, Verdict};
use crate::role::Role;
use crate::rules::Rules;
use crate::{AuditError, mistakes, special};

/// Bins of a picture.
const BINS: usize = 60;

pub(crate) fn measure<'a>(
    checkpoint: &Checkpoint,
    tensor: &'a Tensor,
    part: Part,
    limits: &Limits,
    rules: Option<&Rules>,
) -> Result<Measured<'a>, AuditError> {
    let mut facts = Facts::of(checkpoint, tensor, &part)?;
    let file = checkpoint.file_of(tensor).display().to_string();
    let mut record = blank(tensor, file, &part, &facts);
    let spread = facts.count() > 1 && !facts.is_constant() && facts.std > 0.0;
    let fit = spread.then(|| infer(&facts, &part, limits));
    if let Some(fit) = &fit {
        ranking(&mut record, fit);
    }
    let mut picture = None;
    match rules {
        None => {
            let zeros = inferred(&mut record, tensor, &part, &facts, fit.as_ref(), limits);
            general(&mut record, &part, &facts, fit.as_ref(), limits, zeros);
        }
        Some(rules) => match rules.find(tensor.own_name()) {
            None => {
                general(&mut record, &part, &facts, fit.as_ref(), limits, false);
                let text = "no rule matches it".to_owned();
                record.notice(Verdict::Unmatched, Severity::Warning, text);
            }
            Some(rule) => {
                let wrong = |reason| AuditError::Rules {
                    file: rules.name().to_owned(),
                    reason: format!("tensor {}: {reason}", tensor.name()),
                };
                let expected =
                    rule.expected(&part, tensor.elements(), limits.layers).map_err(wrong)?;
                if let Some(expected) = expected {
                    stated(&mut record, tensor, &part, &facts, fit.as_ref(), &expected, limits);
                    let zeros =
                        matches!(expected.law, Law::ZeroInflated { .. } | Law::Point { .. });
                    general(&mut record, &part, &facts, fit.as_ref(), limits, zeros);
                    picture = Some(expected.law);
                }
                record.group.clone_from(&rule.name);
            }
        },
    }
    let trained = looks_trained(&record, &part, &facts, fit.as_ref(), limits);
    if spread && part.role.is_weight() {
        let law = picture.or_else(|| {
            fit.as_ref().map(|f| f.best().map_or(f.law.clone(), |b| b.candidate.law.clone()))
        });
        record.picture = law.map(|law| draw(&facts, &law));
    }
    // What only this tensor's own judgement needs is given back.
    facts.release();
    Ok(Measured { tensor, part, facts, fit, record, trained })
}

/// Judges a tensor without a rule; whether zeros belong to its law.
fn inferred(
    record: &mut TensorRecord,
    tensor: &Tensor,
    part: &Part,
    facts: &Facts,
    fit: Option<&Fit>,
    limits: &Limits,
) -> bool {
    let Some(fit) = fit else {
        if facts.is_constant() {
            let value = facts.scan.moments.min();
            let initializer = Initializer::Constant { value };
            record.law = Some(initializer.to_string());
            "inferred".clone_into(&mut record.law_source);
            record.std_expected = Some(0.0);
        } else if part.role == Role::Bias && special::zeros_and_ones(facts) {
            record.law = Some(special::FORGET_GATE.to_owned());
            "inferred".clone_into(&mut record.law_source);
        }
        return false;
    };
    if let Some(expected) = special::structural(part, facts) {
        against(record, facts, &expected, limits);
        return true;
    }
    if !part.role.is_weight() && special::vector(record, tensor, part, facts, fit, limits) {
        return false;
    }
    match fit.best() {
        Some(best) => {
            let expected = mistakes::expected(&best.candidate, "inferred");
            against(record, facts, &expected, limits);
            if let Some(index) =
                best.candidate.reading.filter(|_| part.layout.is_none() && part.role.is_weight())
            {
                let reading = &part.readings[index];
                record.fan_in = Some(reading.shape.fans().fan_in());
                record.fan_out = Some(reading.shape.fans().fan_out());
            }
            if let Some(fault) = &best.candidate.fault {
                mistakes::blame(record, facts, fault);
            }
        }
        None if fit.has_shape(SHAPE_BAND, limits.level) => {
            let initializer = fit.family.fitted(facts.std);
            record.law = Some(initializer.to_string());
            "fitted".clone_into(&mut record.law_source);
            let text = match &record.runner_up {
                Some(next) => format!(
                    "its values are {}, but its std {:.4e} is that of no known rule; the nearest is {} with {:.4e}, ratio {:.3}",
                    fit.family,
                    facts.std,
                    next.law,
                    next.std,
                    facts.std / next.std
                ),
                None => format!(
                    "its values are {}, but its std {:.4e} is that of no known rule",
                    fit.family, facts.std
                ),
            };
            record.notice(Verdict::Unexplained, Severity::Warning, text);
        }
        None => {
            let text = format!(
                "its values follow no known law: the nearest shape, {}, is {:.3} away (Kolmogorov-Smirnov), kurtosis {:.2}",
                fit.family,
                fit.distance,
                record.kurtosis.unwrap_or(f64::NAN)
            );
            let severity =
                if part.role.is_weight() { Severity::Finding } else { Severity::Warning };
            record.notice(Verdict::WrongLaw, severity, text);
        }
    }
    if part.role.is_weight() {
        zeros(record, facts);
    }
    false
}

/// Weights of no known shape whose rows and columns are uneven or dependent. One such tensor may be at fault;
/// the checkpoint as a whole tells.
fn looks_trained(
    record: &TensorRecord,
    part: &Part,
    facts: &Facts,
    fit: Option<&Fit>,
    limits: &Limits,
) -> bool {
    let full_rank = !record.findings.iter().any(|f| f.kind == Verdict::RankDeficient);
    let shaped = fit.is_none_or(|fit| fit.has_shape(SHAPE_BAND, limits.level));
    part.role.is_weight() && !shaped && full_rank && crate::lines::has_structure(facts)
}

fn draw(facts: &Facts, law: &Law) -> Picture {
    let (low, high) = law.support();
    let reach = 4.5 * facts.std.max(law.std());
    let low = low.max(law.mean() - reach).min(facts.mean - 3.0 * facts.std);
    let high = high.min(law.mean() + reach).max(facts.mean + 3.0 * facts.std);
    if !(low < high) {
        return Picture::default();
    }
    let step = (high - low) / BINS as f64;
    let edges: Vec<f64> = (0..=BINS).map(|i| low + i as f64 * step).collect();
    let density = facts
        .scan
        .sketch
        .histogram(low, high, BINS)
        .into_iter()
        .map(|share| share / step)
        .collect();
    let law = (0..4 * BINS)
        .map(|i| {
            let (a, b) = (low + i as f64 * step / 4.0, low + (i + 1) as f64 * step / 4.0);
            (0.5 * (a + b), (law.cdf(b) - law.cdf(a)) / (b - a))
        })
        .collect();
    Picture { edges, density, law }
}

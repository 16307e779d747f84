//! One checkpoint of those that were opened: its tensors against their laws and against each other.

use rayon::prelude::*;

use crate::array::Tensor;
use crate::audit::{Measured, Options};
use crate::checkpoint::Checkpoint;
use crate::consequence::{Consequence, consequence};
use crate::copies::copies;
use crate::expected::Limits;
use crate::facts::Facts;
use crate::names::depth;
use crate::part::{Names, Part};
use crate::record::{CheckpointRecord, Severity, Skipped, TensorRecord, Verdict};
use crate::role::Role;
use crate::rules::Rules;
use crate::stack::Stack;
use crate::tensor::measure;
use crate::{AuditError, siblings, special, summary, vectors};

/// The tensors of one checkpoint with their parts, and what is left out.
pub(crate) struct Unit<'a> {
    checkpoint: &'a Checkpoint,
    index: usize,
    pub(crate) parts: Vec<(&'a Tensor, Part)>,
    pub(crate) skipped: Vec<Skipped>,
}

impl<'a> Unit<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, index: usize, options: &Options) -> Self {
        let tensors = || checkpoint.tensors().iter().filter(|t| t.unit == index);
        let names = Names::new(tensors());
        let rules = options.rules.as_ref();
        let mut unit = Self { checkpoint, index, parts: Vec::new(), skipped: Vec::new() };
        for tensor in tensors() {
            let rule = rules.and_then(|r| r.find(tensor.own_name()));
            let forced = rule.and_then(|r| r.layout).or(options.layout);
            let part = match rule {
                Some(rule) if rule.is_skip() => Err(format!("rule {} leaves it out", rule.name)),
                _ => names.part(tensor.own_name(), tensor.shape(), forced),
            };
            match part {
                Ok(part) => unit.parts.push((tensor, part)),
                Err(reason) => unit.skipped.push(Skipped {
                    name: tensor.name().to_owned(),
                    shape: tensor.shape().to_vec(),
                    reason,
                }),
            }
        }
        unit
    }

    /// Measures and judges every tensor.
    pub(crate) fn judge(
        self,
        level: f64,
        band: f64,
        options: &Options,
    ) -> Result<(Vec<Measured<'a>>, CheckpointRecord), AuditError> {
        let Self { checkpoint, index, parts, .. } = self;
        let rules = options.rules.as_ref();
        let own = checkpoint.tensors().iter().filter(|t| t.unit == index);
        let layers = options
            .layers
            .or_else(|| rules.and_then(|r| r.layers))
            .or_else(|| depth(own.map(Tensor::own_name)));
        let limits = Limits { level, band, layers };
        let mut measured = measure_all(checkpoint, parts, &limits, rules)?;
        if rules.is_none() {
            siblings::compare(&mut measured, &limits);
            vectors::compare(&mut measured, &limits);
        }
        after_training(&mut measured);
        repeats(&mut measured, level);
        special::constants(&mut measured, rules.is_some());
        measured.iter_mut().for_each(|m| m.record.conclude());
        let (consequence, not_followed) = match follow(checkpoint, index, &measured, options)? {
            Ok(consequence) => (Some(consequence), None),
            Err(reason) => (None, Some(reason)),
        };
        let record = CheckpointRecord {
            name: checkpoint.units[index].clone(),
            layers,
            step_zero: summary::step_zero(&measured),
            audited: measured.len(),
            findings: measured
                .iter()
                .filter(|m| m.record.severity() == Some(Severity::Finding))
                .count(),
            consequence,
            not_followed,
        };
        Ok((measured, record))
    }
}

/// The consequence, or why there is none; an error for a network file that does not fit.
fn follow(
    checkpoint: &Checkpoint,
    unit: usize,
    measured: &[Measured<'_>],
    options: &Options,
) -> Result<Result<Consequence, String>, AuditError> {
    let among: Vec<usize> =
        (0..checkpoint.tensors().len()).filter(|&i| checkpoint.tensors()[i].unit == unit).collect();
    let network = options.network.as_ref();
    let stack = match network {
        Some(described) => Stack::described_among(checkpoint, &among, described, options.layout)?,
        None => match Stack::follow_tensors(checkpoint, &among, options.layout) {
            Ok(stack) => stack,
            Err(reason) => return Ok(Err(reason)),
        },
    };
    let record = |index: usize| {
        let tensor: &Tensor = &checkpoint.tensors()[index];
        measured.iter().find(|m| std::ptr::eq(m.tensor, tensor)).map(|m| &m.record)
    };
    let network = network.map(crate::described::Described::network);
    Ok(consequence(checkpoint, &stack, network, &options.activation, &record))
}

fn measure_all<'a>(
    checkpoint: &Checkpoint,
    parts: Vec<(&'a Tensor, Part)>,
    limits: &Limits,
    rules: Option<&Rules>,
) -> Result<Vec<Measured<'a>>, AuditError> {
    // Tensors side by side, and the chunks of each; an indexed collection keeps their order.
    parts
        .into_par_iter()
        .with_max_len(1)
        .map(|(tensor, part)| measure(checkpoint, tensor, part, limits, rules))
        .collect()
}

/// Weights that look trained on their own are, where they are a fifth of all, or where a norm scale or running
/// statistic tells; what is uneven or of no known law in the others is training too. A single one among many
/// that are not has a fault.
fn after_training(measured: &mut [Measured<'_>]) {
    let has =
        |r: &TensorRecord, kinds: &[Verdict]| r.findings.iter().any(|f| kinds.contains(&f.kind));
    let weights: Vec<&Measured<'_>> =
        measured.iter().filter(|m| m.part.role.is_weight() && m.fit.is_some()).collect();
    let sure = weights.iter().filter(|m| m.trained).count();
    let vectors = measured
        .iter()
        .filter(|m| !m.part.role.is_weight() && has(&m.record, &[Verdict::Trained]))
        .count();
    // One uneven layer has a fault; when half of them are, it is training.
    let uneven = weights
        .iter()
        .filter(|m| !has(&m.record, &[Verdict::RankDeficient]))
        .filter(|m| crate::lines::has_structure(&m.facts))
        .count();
    let few = weights.len() < 3;
    let trained = sure > 0 && (few || vectors > 0 || (sure > 1 && 5 * sure >= weights.len()));
    if !trained && (uneven < 2 || 2 * uneven < weights.len()) {
        return;
    }
    let soft = [
        Verdict::WrongMean,
        Verdict::WrongLaw,
        Verdict::WrongScale,
        Verdict::OutOfLine,
        Verdict::Dependent,
        Verdict::Outliers,
        Verdict::Unexplained,
        Verdict::Clipped,
    ];
    for m in measured.iter_mut().filter(|m| m.part.role.is_weight()) {
        let structure = crate::lines::has_structure(&m.facts);
        let moved = has(&m.record, &soft)
            && (structure || has(&m.record, &[Verdict::WrongMean, Verdict::WrongLaw]));
        if !m.trained && !moved {
            continue;
        }
        for finding in m.record.findings.iter_mut().filter(|f| soft.contains(&f.kind)) {
            finding.severity = Severity::Note;
        }
        // A law that training has left says nothing.
        m.record.findings.retain(|f| !matches!(f.kind, Verdict::WrongScale | Verdict::Unexplained));
        m.record.factor = None;
        let text = if m.trained {
            "looks trained: its values follow no law of an initializer, and its rows and columns differ or depend on each other"
        } else {
            "looks trained, as other weights of this checkpoint do"
        };
        m.record.notice(Verdict::Trained, Severity::Finding, text);
    }
}

fn repeats(measured: &mut [Measured<'_>], level: f64) {
    let weights: Vec<usize> =
        (0..measured.len()).filter(|&i| measured[i].part.role.is_weight()).collect();
    let list: Vec<(&Tensor, &Facts)> =
        weights.iter().map(|&i| (measured[i].tensor, &measured[i].facts)).collect();
    let found = copies(&list, level);
    for copy in found {
        let (first, second) = (weights[copy.first], weights[copy.second]);
        let already = |m: &Measured<'_>| {
            m.record
                .findings
                .iter()
                .any(|f| matches!(f.kind, Verdict::Duplicate | Verdict::Correlated))
        };
        if already(&measured[second]) {
            continue;
        }
        let (kind, severity, text) =
            summary::copy_sentence(&measured[first], &measured[second], &copy);
        if severity == Severity::Note {
            same_padding(measured, first, second);
        }
        measured[second].record.notice(kind, severity, text);
    }
}

/// A head that is tied to a table has the table's zero row for padding.
fn same_padding(measured: &mut [Measured<'_>], first: usize, second: usize) {
    let noted = |m: &Measured<'_>| {
        m.part.role == Role::Embedding
            && m.record
                .findings
                .iter()
                .any(|f| f.kind == Verdict::OutOfLine && f.severity == Severity::Note)
    };
    if noted(&measured[first]) || noted(&measured[second]) {
        for m in [first, second] {
            for finding in &mut measured[m].record.findings {
                if matches!(finding.kind, Verdict::OutOfLine | Verdict::WrongLaw) {
                    finding.severity = Severity::Note;
                }
            }
        }
    }
}

//! The audit: every tensor measured once, judged against its rule or its likeliest law, then compared with
//! its siblings and with all others.

use gainstage_spec::{Law, Layout};
use rayon::prelude::*;

use crate::checkpoint::{Checkpoint, Tensor};
use crate::copies::copies;
use crate::facts::Facts;
use crate::infer::{Fit, infer};
use crate::judge::{Limits, SHAPE_BAND, against, blank, general, ranking, stated};
use crate::record::{
    Audit, Counts, Detectable, Finding, Picture, Severity, Skipped, TensorRecord, VERSION, Verdict,
};
use crate::role::{Names, Part, depth};
use crate::rules::Rules;
use crate::{AuditError, siblings, summary};

/// Tests of one weight: scale, shape, mean, outliers, rows, columns, dependence, copies.
const TESTS: usize = 8;
/// Bins of a picture.
const BINS: usize = 60;

/// How an audit is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Probability of any false finding in a checkpoint that starts as it should.
    pub false_alarm_rate: f64,
    /// Relative difference of a standard deviation that does not matter.
    pub tolerance: f64,
    /// Order of the axes, where names should not decide.
    pub layout: Option<Layout>,
    /// Number of blocks L, where names should not decide.
    pub layers: Option<usize>,
    /// What is expected; laws are inferred without.
    pub rules: Option<Rules>,
}

impl Default for Options {
    fn default() -> Self {
        Self { false_alarm_rate: 1e-3, tolerance: 0.01, layout: None, layers: None, rules: None }
    }
}

/// A tensor on its way through the audit.
pub(crate) struct Measured<'a> {
    pub(crate) tensor: &'a Tensor,
    pub(crate) part: Part,
    pub(crate) facts: Facts,
    pub(crate) fit: Option<Fit>,
    pub(crate) record: TensorRecord,
}

/// Audits a checkpoint.
///
/// # Errors
/// [`AuditError`] for options outside their domain, rules that do not fit, and compressed arrays that
/// cannot be inflated.
///
/// # Example
/// ```
/// use gainstage_audit::{Checkpoint, Options, Verdict, audit};
/// use gainstage_init::{Key, Purpose, fill};
/// use gainstage_spec::{Initializer, Layout, WeightShape};
///
/// // He's rule, but the variance 2/fan_in was passed as the standard deviation.
/// let shape = WeightShape::dense(200, 100)?;
/// let mut weights = vec![0.0f32; 20_000];
/// fill(&Initializer::normal(2.0 / 200.0), &shape, Layout::OutIn, Key::new(1, Purpose::Weights, 0, 0), &mut weights)?;
/// # let header = r#"{"fc.weight":{"dtype":"F32","shape":[100,200],"data_offsets":[0,80000]}}"#;
/// # let mut file = (header.len() as u64).to_le_bytes().to_vec();
/// # file.extend(header.as_bytes());
/// # weights.iter().for_each(|w| file.extend(w.to_le_bytes()));
/// # let rules = gainstage_audit::Rules::parse("rules", "[[rule]]\nmatch = \"fc.weight\"\nlaw = \"he_normal\"")?;
/// let checkpoint = Checkpoint::from_bytes("mlp.safetensors".as_ref(), file)?;
/// let report = audit(&checkpoint, &Options { rules: Some(rules), ..Options::default() })?;
/// assert_eq!(report.tensors[0].verdict, Verdict::WrongScale);
/// assert!((report.tensors[0].ratio.unwrap() - 0.1).abs() < 0.002);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn audit(checkpoint: &Checkpoint, options: &Options) -> Result<Audit, AuditError> {
    let tolerance =
        options.rules.as_ref().and_then(|r| r.tolerance).unwrap_or(options.tolerance);
    for (what, value) in [("the false-alarm rate", options.false_alarm_rate), ("the tolerance", tolerance)] {
        if !(value > 0.0 && value < 0.5) {
            return Err(AuditError::Domain { what, value, bound: "above 0 and below 0.5" });
        }
    }
    let names = Names::new(checkpoint.tensors());
    let mut skipped: Vec<Skipped> = checkpoint
        .others()
        .iter()
        .map(|o| Skipped { name: o.name.clone(), shape: o.shape.clone(), reason: o.reason.clone() })
        .collect();
    let mut parts = Vec::new();
    let rules = options.rules.as_ref();
    for tensor in checkpoint.tensors() {
        let rule = rules.and_then(|r| r.find(tensor.name()));
        let forced = rule.and_then(|r| r.layout).or(options.layout);
        let part = match rule {
            Some(rule) if rule.is_skip() => Err(format!("rule {} leaves it out", rule.name)),
            _ => names.part(tensor.name(), tensor.shape(), forced),
        };
        match part {
            Ok(part) => parts.push((tensor, part)),
            Err(reason) => skipped.push(Skipped {
                name: tensor.name().to_owned(),
                shape: tensor.shape().to_vec(),
                reason,
            }),
        }
    }
    if let Some(rules) = rules {
        rules.check(checkpoint.tensors().iter().map(Tensor::name))?;
    }
    let layers = options
        .layers
        .or_else(|| rules.and_then(|r| r.layers))
        .or_else(|| depth(checkpoint.tensors().iter().map(Tensor::name)));
    let tests: usize = parts.iter().map(|(_, p)| if p.role.is_weight() { TESTS } else { 2 }).sum();
    let level = options.false_alarm_rate / tests.max(1) as f64;
    let limits = Limits { level, band: tolerance, layers };
    let mut measured = measure_all(checkpoint, parts, &limits, rules)?;

    if rules.is_none() {
        siblings::compare(&mut measured, &limits);
    }
    after_training(&mut measured);
    repeats(&mut measured, level);
    siblings::constants(&mut measured, rules.is_some());
    measured.iter_mut().for_each(|m| m.record.conclude());
    let step_zero = summary::step_zero(&measured);
    let detectable = measured
        .iter()
        .filter(|m| m.part.role.is_weight())
        .filter_map(|m| Some(Detectable { deviation: m.record.detectable?, tensor: m.record.name.clone() }))
        .max_by(|a, b| a.deviation.total_cmp(&b.deviation));
    let values = measured.iter().map(|m| m.tensor.elements() as u64).sum();
    let tensors: Vec<TensorRecord> = measured.into_iter().map(|m| m.record).collect();
    let with = |severity| tensors.iter().filter(|t| t.severity() == Some(severity)).count();
    let counts = Counts {
        seen: tensors.len() + skipped.len(),
        audited: tensors.len(),
        weights: tensors.iter().filter(|t| t.role.is_weight()).count(),
        skipped: skipped.len(),
        values,
        findings: with(Severity::Finding),
        warnings: with(Severity::Warning),
    };
    let mut remarks = Vec::new();
    if counts.weights == 0 {
        let text = "no tensor of it is a weight that could be audited".to_owned();
        remarks.push(Finding::new(Verdict::Unmatched, Severity::Warning, text));
    }
    Ok(Audit {
        version: VERSION,
        files: checkpoint.files().map(|f| f.display().to_string()).collect(),
        rules: rules.map(|r| r.name().to_owned()),
        false_alarm_rate: options.false_alarm_rate,
        test_level: level,
        tolerance,
        layers,
        step_zero,
        detectable,
        counts,
        tensors,
        skipped,
        remarks,
    })
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

fn measure<'a>(
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
        Some(rules) => match rules.find(tensor.name()) {
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
                let expected = rule.expected(&part, tensor.elements(), limits.layers).map_err(wrong)?;
                if let Some(expected) = expected {
                    stated(&mut record, tensor, &part, &facts, fit.as_ref(), &expected, limits);
                    let zeros = matches!(expected.law, Law::ZeroInflated { .. } | Law::Point { .. });
                    general(&mut record, &part, &facts, fit.as_ref(), limits, zeros);
                    picture = Some(expected.law);
                }
                record.group.clone_from(&rule.name);
            }
        },
    }
    trained(&mut record, &part, &facts, fit.as_ref(), limits);
    if spread && part.role.is_weight() {
        let law = picture.or_else(|| fit.as_ref().map(|f| f.best().map_or(f.law.clone(), |b| b.candidate.law.clone())));
        record.picture = law.map(|law| draw(&facts, &law));
    }
    // What only this tensor's own judgement needs is given back.
    facts.release();
    Ok(Measured { tensor, part, facts, fit, record })
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
            let initializer = gainstage_spec::Initializer::Constant { value };
            record.law = Some(initializer.to_string());
            record.law_source = "inferred".to_owned();
            record.std_expected = Some(0.0);
        }
        return false;
    };
    if let Some(expected) = siblings::structural(part, facts) {
        against(record, facts, &expected, limits);
        return true;
    }
    if !part.role.is_weight() && siblings::vector(record, tensor, part, facts, fit, limits) {
        return false;
    }
    match fit.best() {
        Some(best) => {
            let expected = siblings::expected(&best.candidate, "inferred");
            against(record, facts, &expected, limits);
            if let Some(fault) = &best.candidate.fault {
                siblings::blame(record, facts, fault);
            }
        }
        None if fit.has_shape(SHAPE_BAND, limits.level) => {
            let initializer = fit.family.fitted(facts.std);
            record.law = Some(initializer.to_string());
            record.law_source = "fitted".to_owned();
            let text = match &record.runner_up {
                Some(next) => format!(
                    "its values are {}, but its std {:.4e} is that of no known rule; the nearest is {} with {:.4e}, ratio {:.3}",
                    fit.family, facts.std, next.law, next.std, facts.std / next.std
                ),
                None => format!("its values are {}, but its std {:.4e} is that of no known rule", fit.family, facts.std),
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
            let severity = if part.role.is_weight() { Severity::Finding } else { Severity::Warning };
            record.notice(Verdict::WrongLaw, severity, text);
        }
    }
    false
}

/// Weights of no known shape whose rows and columns are uneven or dependent have been trained; what else
/// they show follows from that.
fn trained(record: &mut TensorRecord, part: &Part, facts: &Facts, fit: Option<&Fit>, limits: &Limits) {
    let Some(fit) = fit else { return };
    let full_rank = !record.findings.iter().any(|f| f.kind == Verdict::RankDeficient);
    let shaped = fit.has_shape(SHAPE_BAND, limits.level);
    if !part.role.is_weight() || shaped || !full_rank || !crate::lines::has_structure(facts) {
        return;
    }
    for finding in &mut record.findings {
        if finding.kind < Verdict::Duplicate {
            finding.severity = Severity::Note;
        }
    }
    let text = "looks trained: its values follow no law of an initializer, and its rows and columns differ or depend on each other";
    record.notice(Verdict::Trained, Severity::Finding, text);
}

/// In a checkpoint with trained weights, what is uneven or of no known law in the others is training too.
fn after_training(measured: &mut [Measured<'_>]) {
    let has = |r: &TensorRecord, kinds: &[Verdict]| r.findings.iter().any(|f| kinds.contains(&f.kind));
    if !measured.iter().any(|m| m.part.role.is_weight() && has(&m.record, &[Verdict::Trained])) {
        return;
    }
    let soft = [Verdict::WrongMean, Verdict::WrongLaw, Verdict::WrongScale, Verdict::OutOfLine, Verdict::Dependent, Verdict::Outliers, Verdict::Unexplained];
    for m in measured.iter_mut().filter(|m| m.part.role.is_weight()) {
        let moved = !has(&m.record, &[Verdict::Trained]) && has(&m.record, &soft);
        if moved && (crate::lines::has_structure(&m.facts) || has(&m.record, &[Verdict::WrongMean, Verdict::WrongLaw])) {
            for finding in m.record.findings.iter_mut().filter(|f| soft.contains(&f.kind)) {
                finding.severity = Severity::Note;
            }
            m.record.factor = None;
            let text = "looks trained, as other weights of this checkpoint do";
            m.record.notice(Verdict::Trained, Severity::Finding, text);
        }
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
            m.record.findings.iter().any(|f| matches!(f.kind, Verdict::Duplicate | Verdict::Correlated))
        };
        if already(&measured[second]) {
            continue;
        }
        let (kind, severity, text) = summary::copy_sentence(&measured[first], &measured[second], &copy);
        measured[second].record.notice(kind, severity, text);
    }
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
    let density =
        facts.scan.sketch.histogram(low, high, BINS).into_iter().map(|share| share / step).collect();
    let law = (0..4 * BINS)
        .map(|i| {
            let (a, b) = (low + i as f64 * step / 4.0, low + (i + 1) as f64 * step / 4.0);
            (0.5 * (a + b), (law.cdf(b) - law.cdf(a)) / (b - a))
        })
        .collect();
    Picture { edges, density, law }
}

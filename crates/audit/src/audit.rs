//! The audit: every tensor measured once, judged against its rule or its likeliest law, then compared with
//! its siblings and with all others.

use gainstage_spec::Layout;
use rayon::prelude::*;

use crate::checkpoint::{Checkpoint, Tensor};
use crate::copies::copies;
use crate::facts::Facts;
use crate::infer::Fit;
use crate::judge::Limits;
use crate::names::depth;
use crate::record::{
    Audit, Counts, Detectable, Finding, Severity, Skipped, TensorRecord, VERSION, Verdict,
};
use crate::role::{Names, Part};
use crate::rules::Rules;
use crate::tensor::measure;
use crate::{AuditError, siblings, special, summary};

/// Tests of one weight: scale, shape, mean, outliers, rows, columns, dependence, copies.
const TESTS: usize = 8;

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
    let tolerance = options.rules.as_ref().and_then(|r| r.tolerance).unwrap_or(options.tolerance);
    for (what, value) in
        [("the false-alarm rate", options.false_alarm_rate), ("the tolerance", tolerance)]
    {
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
        rules.check(&checkpoint.tensors().iter().map(Tensor::name))?;
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
    special::constants(&mut measured, rules.is_some());
    measured.iter_mut().for_each(|m| m.record.conclude());
    let step_zero = summary::step_zero(&measured);
    let detectable = measured
        .iter()
        .filter(|m| m.part.role.is_weight())
        .filter_map(|m| {
            Some(Detectable { deviation: m.record.detectable?, tensor: m.record.name.clone() })
        })
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
        rules_source: rules.and_then(|r| r.source.clone()),
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

/// In a checkpoint with trained weights, what is uneven or of no known law in the others is training too.
fn after_training(measured: &mut [Measured<'_>]) {
    let has =
        |r: &TensorRecord, kinds: &[Verdict]| r.findings.iter().any(|f| kinds.contains(&f.kind));
    let weights: Vec<&Measured<'_>> =
        measured.iter().filter(|m| m.part.role.is_weight() && m.fit.is_some()).collect();
    let sure = weights.iter().any(|m| has(&m.record, &[Verdict::Trained]));
    // One uneven layer has a fault; when half of them are, it is training.
    let uneven = weights
        .iter()
        .filter(|m| !has(&m.record, &[Verdict::RankDeficient]))
        .filter(|m| crate::lines::has_structure(&m.facts))
        .count();
    if !sure && (uneven < 2 || 2 * uneven < weights.len()) {
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
    ];
    for m in measured.iter_mut().filter(|m| m.part.role.is_weight()) {
        let moved = !has(&m.record, &[Verdict::Trained]) && has(&m.record, &soft);
        if moved
            && (crate::lines::has_structure(&m.facts)
                || has(&m.record, &[Verdict::WrongMean, Verdict::WrongLaw]))
        {
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
        measured[second].record.notice(kind, severity, text);
    }
}

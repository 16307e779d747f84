//! The audit: every tensor measured once, judged against its rule or its likeliest law, then compared with
//! its siblings and with all others.

use gainstage_spec::{Activation, Layout};

use crate::array::Tensor;
use crate::checkpoint::Checkpoint;
use crate::described::Described;
use crate::facts::Facts;
use crate::infer::Fit;
use crate::part::Part;
use crate::record::{
    Audit, Counts, Detectable, Finding, Severity, Skipped, TensorRecord, VERSION, Verdict,
};
use crate::rules::Rules;
use crate::unit::Unit;
use crate::{AuditError, summary};

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
    /// The network around the weights, for the consequence.
    pub network: Option<Described>,
    /// What stands between the layers of a stack, where no network tells.
    pub activation: Activation,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            false_alarm_rate: 1e-3,
            tolerance: 0.01,
            layout: None,
            layers: None,
            rules: None,
            network: None,
            activation: Activation::Relu,
        }
    }
}

/// A tensor on its way through the audit.
pub(crate) struct Measured<'a> {
    pub(crate) tensor: &'a Tensor,
    pub(crate) part: Part,
    pub(crate) facts: Facts,
    pub(crate) fit: Option<Fit>,
    pub(crate) record: TensorRecord,
    /// Of no law, and with structure.
    pub(crate) trained: bool,
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
    let rules = options.rules.as_ref();
    if let Some(rules) = rules {
        rules.check(&checkpoint.tensors().iter().map(Tensor::own_name))?;
    }
    let mut skipped: Vec<Skipped> = checkpoint
        .others()
        .iter()
        .map(|o| Skipped { name: o.name.clone(), shape: o.shape.clone(), reason: o.reason.clone() })
        .collect();
    let units: Vec<Unit<'_>> =
        (0..checkpoint.units.len()).map(|u| Unit::new(checkpoint, u, options)).collect();
    skipped.extend(units.iter().flat_map(|u| u.skipped.iter().cloned()));
    let weights = |u: &Unit<'_>| {
        u.parts.iter().map(|(_, p)| if p.role.is_weight() { TESTS } else { 2 }).sum::<usize>()
    };
    let level = options.false_alarm_rate / units.iter().map(weights).sum::<usize>().max(1) as f64;
    let mut measured = Vec::new();
    let mut checkpoints = Vec::new();
    for unit in units {
        let (tensors, record) = unit.judge(level, tolerance, options)?;
        measured.extend(tensors);
        checkpoints.push(record);
    }
    // Shards of several checkpoints may alternate.
    measured.sort_by_key(|m| m.tensor.file);
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
        layers: match checkpoints.as_slice() {
            [one] => one.layers,
            _ => options.layers,
        },
        step_zero: summary::all_of(&checkpoints),
        checkpoints,
        detectable,
        counts,
        tensors,
        skipped,
        remarks,
    })
}

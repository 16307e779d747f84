//! What an audit found, as data.

use serde::{Deserialize, Serialize};

use crate::consequence::Consequence;
use crate::dtype::Dtype;
use crate::role::Role;

/// Version of the stored form.
pub const VERSION: u32 = 1;

/// An audit of a checkpoint. Field names are a contract.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Audit {
    /// [`VERSION`].
    pub version: u32,
    /// The files that were read.
    pub files: Vec<String>,
    /// The rules file or preset; `None` where laws were inferred.
    pub rules: Option<String>,
    /// Where the rules say that they come from.
    pub rules_source: Option<String>,
    /// Probability of any false finding in a checkpoint that starts as it should.
    pub false_alarm_rate: f64,
    /// Level of each single test, the rate shared among all of them.
    pub test_level: f64,
    /// Relative difference of a standard deviation that does not matter.
    pub tolerance: f64,
    /// Number of blocks L, from the names or as told.
    pub layers: Option<usize>,
    /// Whether all checkpoints are ones before training, and why.
    pub step_zero: StepZero,
    /// Each checkpoint, where a folder holds several; a file or an index is one.
    #[serde(default)]
    pub checkpoints: Vec<CheckpointRecord>,
    /// Relative deviation of a standard deviation that would be found in every weight with a
    /// probability of 95%, and the weight that limits it.
    pub detectable: Option<Detectable>,
    /// What was seen.
    pub counts: Counts,
    /// Every tensor that was audited, in the order of the files.
    pub tensors: Vec<TensorRecord>,
    /// Every array that was not, with the reason.
    pub skipped: Vec<Skipped>,
    /// Findings and remarks on the checkpoint as a whole.
    pub remarks: Vec<Finding>,
}

/// One checkpoint: a file, or shards under an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// Name of its file without the extension; empty where there is no other.
    pub name: String,
    /// Number of blocks L, from the names or as told.
    pub layers: Option<usize>,
    /// Whether training has begun.
    pub step_zero: StepZero,
    /// Tensors that were audited.
    pub audited: usize,
    /// Tensors with a finding.
    pub findings: usize,
    /// What its weights do to signals and gradients, where it is a stack that could be followed.
    pub consequence: Option<Consequence>,
    /// Why there is no consequence.
    pub not_followed: Option<String>,
}

/// Whether training has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepZero {
    /// `None` where nothing tells.
    pub likely: Option<bool>,
    /// Why.
    pub reason: String,
}

/// The smallest deviation that is surely found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detectable {
    /// Relative deviation of the standard deviation.
    pub deviation: f64,
    /// The weight with the fewest values, which limits it.
    pub tensor: String,
}

/// Nothing is silently empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Arrays in the files.
    pub seen: usize,
    /// Arrays that were audited.
    pub audited: usize,
    /// Of these, weights of dense layers, convolutions and embeddings.
    pub weights: usize,
    /// Arrays that were not audited.
    pub skipped: usize,
    /// Single values that were audited.
    pub values: u64,
    /// Tensors with a finding.
    pub findings: usize,
    /// Tensors with a warning and no finding.
    pub warnings: usize,
}

/// An array that was not audited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Why.
    pub reason: String,
}

/// One tensor. Numbers that do not exist are null.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TensorRecord {
    /// Its name in the file.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Its axes.
    pub shape: Vec<usize>,
    /// Its number format.
    pub dtype: Dtype,
    /// What it is for.
    pub role: Role,
    /// Connections into each output unit.
    pub fan_in: Option<usize>,
    /// Connections out of each input unit.
    pub fan_out: Option<usize>,
    /// `out-in`, `in-out`, `ambiguous`, or null for what has no order.
    pub layout: Option<String>,
    /// What decided the layout.
    pub layout_reason: String,
    /// Rule, or pattern of the name, that groups it with others.
    pub group: String,
    /// The law that was expected, or else the likeliest.
    pub law: Option<String>,
    /// Where the law comes from: `rule NAME`, `inferred`, `siblings`.
    pub law_source: String,
    /// Other initializers of the same law, or of one that the values cannot tell from it.
    pub also: Vec<String>,
    /// The next likeliest other law.
    pub runner_up: Option<RunnerUp>,
    /// Standard deviation under the law.
    pub std_expected: Option<f64>,
    /// Standard deviation of the finite values.
    pub std_measured: Option<f64>,
    /// Interval of the standard deviation at 95%.
    pub std_low: Option<f64>,
    /// Interval of the standard deviation at 95%.
    pub std_high: Option<f64>,
    /// Measured over expected standard deviation.
    pub ratio: Option<f64>,
    /// Mean.
    pub mean: Option<f64>,
    /// Fourth central moment over the squared variance.
    pub kurtosis: Option<f64>,
    /// Kolmogorov-Smirnov distance from the law as rounded to the number format.
    pub ks_distance: Option<f64>,
    /// The smaller p-value of scale and shape under the law, doubled.
    pub p_value: Option<f64>,
    /// Deviation of the standard deviation that is found with a probability of 95%.
    pub detectable: Option<f64>,
    /// The named factor by which the standard deviation is off.
    pub factor: Option<String>,
    /// `ok`, or the gravest finding.
    pub verdict: Verdict,
    /// Everything that was noticed, gravest first.
    pub findings: Vec<Finding>,
    /// Counts for the page's figure.
    #[serde(skip)]
    pub(crate) picture: Option<Picture>,
}

/// Histogram of the values and density of the law.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    pub(crate) edges: Vec<f64>,
    pub(crate) density: Vec<f64>,
    pub(crate) law: Vec<(f64, f64)>,
}

/// The next likeliest law.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunnerUp {
    /// The law.
    pub law: String,
    /// Its standard deviation.
    pub std: f64,
    /// Log posterior odds against it, in nats.
    pub behind: f64,
}

/// Something noticed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind.
    pub kind: Verdict,
    /// How grave.
    pub severity: Severity,
    /// One sentence with the numbers.
    pub text: String,
}

/// How grave something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Worth a look.
    Warning,
    /// Wrong.
    Finding,
}

/// What an audit says of a tensor, gravest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// As its law says.
    #[serde(rename = "ok")]
    Ok,
    /// No rule names it.
    #[serde(rename = "unmatched")]
    Unmatched,
    /// Follows no law that is known, and shows no fault.
    #[serde(rename = "unexplained")]
    Unexplained,
    /// Has been trained.
    #[serde(rename = "trained")]
    Trained,
    /// It differs from the baseline.
    #[serde(rename = "changed")]
    Changed,
    /// Its mean is off.
    #[serde(rename = "wrong mean")]
    WrongMean,
    /// Its standard deviation is off.
    #[serde(rename = "wrong scale")]
    WrongScale,
    /// Its distribution has another shape.
    #[serde(rename = "wrong law")]
    WrongLaw,
    /// Values pile up at the ends.
    #[serde(rename = "clipped")]
    Clipped,
    /// A few values lie far out.
    #[serde(rename = "outliers")]
    Outliers,
    /// Rows or columns have another scale than the rest.
    #[serde(rename = "out of line")]
    OutOfLine,
    /// Its rows or columns are not independent.
    #[serde(rename = "dependent")]
    Dependent,
    /// Its rank is lower than its shape.
    #[serde(rename = "rank deficient")]
    RankDeficient,
    /// It shares random numbers with another tensor.
    #[serde(rename = "correlated")]
    Correlated,
    /// It repeats another tensor.
    #[serde(rename = "duplicate")]
    Duplicate,
    /// All its values are the same.
    #[serde(rename = "constant")]
    Constant,
    /// It holds NaN or infinities.
    #[serde(rename = "not finite")]
    NotFinite,
}

impl Verdict {
    /// The word that stands in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unmatched => "unmatched",
            Self::Unexplained => "unexplained",
            Self::Trained => "trained",
            Self::Changed => "changed",
            Self::WrongMean => "wrong mean",
            Self::WrongScale => "wrong scale",
            Self::WrongLaw => "wrong law",
            Self::Clipped => "clipped",
            Self::Outliers => "outliers",
            Self::OutOfLine => "out of line",
            Self::Dependent => "dependent",
            Self::RankDeficient => "rank deficient",
            Self::Correlated => "correlated",
            Self::Duplicate => "duplicate",
            Self::Constant => "constant",
            Self::NotFinite => "not finite",
        }
    }
}

impl StepZero {
    /// The answer and its reason.
    pub fn sentence(&self) -> String {
        let word = match self.likely {
            Some(true) => "yes",
            Some(false) => "no",
            None => "not known",
        };
        format!("{word} ({})", self.reason)
    }
}

impl Finding {
    pub(crate) fn new(kind: Verdict, severity: Severity, text: impl Into<String>) -> Self {
        Self { kind, severity, text: text.into() }
    }
}

impl TensorRecord {
    /// The gravest severity of what was noticed.
    pub fn severity(&self) -> Option<Severity> {
        self.findings.iter().map(|f| f.severity).max()
    }

    /// Sorts what was noticed and takes the verdict from it.
    pub(crate) fn conclude(&mut self) {
        self.findings.sort_by_key(|f| std::cmp::Reverse((f.severity, f.kind)));
        self.verdict = match self.findings.first() {
            Some(f) if f.severity > Severity::Note => f.kind,
            _ => Verdict::Ok,
        };
    }

    pub(crate) fn notice(&mut self, kind: Verdict, severity: Severity, text: impl Into<String>) {
        self.findings.push(Finding::new(kind, severity, text));
    }
}

impl Audit {
    /// Whether anything is wrong.
    pub fn has_findings(&self) -> bool {
        let wrong = |f: &Finding| f.severity == Severity::Finding;
        self.remarks.iter().any(wrong) || self.tensors.iter().any(|t| t.findings.iter().any(wrong))
    }
}

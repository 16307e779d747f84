use std::fmt;
use std::str::FromStr;

use gainstage_report::{Figure, Table};
use serde::{Deserialize, Serialize};

use crate::{ClaimError, Lab, Plant};

/// What the measurement says of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// True as stated, within the stated margins.
    Supported,
    /// Contradicted.
    Refuted,
    /// True only under conditions, which the sentence names.
    Qualified,
    /// Too little data for the stated power.
    Inconclusive,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Supported => "supported",
            Self::Refuted => "refuted",
            Self::Qualified => "qualified",
            Self::Inconclusive => "inconclusive",
        })
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// A minute on two cores; three training seeds.
    Quick,
    /// Five minutes; ten training seeds.
    #[default]
    Standard,
    /// As long as it takes; thirty training seeds.
    Full,
}

impl Budget {
    /// One of three values.
    pub fn pick<T>(self, quick: T, standard: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Standard => standard,
            Self::Full => full,
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.pick("quick", "standard", "full"))
    }
}

impl FromStr for Budget {
    type Err = ClaimError;

    fn from_str(text: &str) -> Result<Self, ClaimError> {
        match text {
            "quick" => Ok(Self::Quick),
            "standard" => Ok(Self::Standard),
            "full" => Ok(Self::Full),
            _ => Err(ClaimError::Budget(text.to_owned())),
        }
    }
}

/// The part of the story that a claim belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Chapter {
    /// Why zero fails.
    Symmetry,
    /// Why naive random scales fail with depth.
    Signal,
    /// What Xavier's rule fixes.
    Xavier,
    /// What He's rule fixes.
    He,
    /// Which activation asks for which gain.
    Gains,
    /// Order, chaos, and how deep a signal reaches.
    MeanField,
    /// What one network of finite width does.
    FiniteWidth,
    /// Draws of what weights do, without the weights.
    Exact,
    /// Singular values, skip connections, normalization.
    Structure,
    /// Whether a better start trains faster, further, or generalizes better.
    Training,
    /// What repairs a bad start.
    Mitigations,
    /// How to choose: activation, depth, data.
    Choosing,
    /// What the frameworks' default layers start with.
    Frameworks,
    /// What the notebook shows.
    Notebook,
}

/// A statement under test.
#[derive(Debug)]
pub struct Claim {
    /// Stable code, such as HE01.
    pub code: &'static str,
    /// Where it is told.
    pub chapter: Chapter,
    /// The statement, in our own words.
    pub statement: &'static str,
    /// Who makes it.
    pub source: &'static str,
    /// What theory says should be measured.
    pub prediction: &'static str,
    /// How the findings decide the verdict; it says so where it was revised after a first look.
    pub rule: &'static str,
    /// The verdict we expect.
    pub expected: Verdict,
    /// Errors of which each, planted, must change the verdict.
    pub planted: &'static [Plant],
    /// The experiment.
    pub run: fn(&Lab) -> Result<Outcome, ClaimError>,
}

/// What one finding says of its prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conclusion {
    /// Shown equal within the margin, or exactly equal.
    Holds,
    /// Shown to differ by more than the margin.
    Contradicted,
    /// Neither could be shown.
    Undecided,
}

/// One number, measured against a prediction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What was measured.
    pub what: String,
    /// What theory or the statement says it is.
    pub predicted: Option<f64>,
    /// The estimate.
    pub measured: f64,
    /// Interval at `level` over independent draws; equal to `measured` for exact quantities.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Coverage of the interval.
    pub level: f64,
    /// Number of independent draws or seeds.
    pub n: usize,
    /// The test, and the false-alarm rate it was run at.
    pub test: String,
    /// Its p-value; `None` for an exact check.
    pub p_value: Option<f64>,
    /// What the finding says of its prediction.
    pub conclusion: Conclusion,
}

/// What an experiment found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// By the claim's rule.
    pub verdict: Verdict,
    /// The numbers.
    pub findings: Vec<Finding>,
    /// One plain sentence with the actual numbers.
    pub sentence: String,
    /// Network, draws, data and budget.
    pub experiment: String,
    /// For the card.
    pub figures: Vec<Figure>,
    /// For the card.
    pub tables: Vec<Table>,
}

/// A claim, run: what `verify` writes to results.json.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Code of the claim.
    pub code: String,
    /// Measured verdict.
    pub verdict: Verdict,
    /// The verdict that other runs lead us to expect.
    pub expected: Verdict,
    /// The statement.
    pub statement: String,
    /// One plain sentence.
    pub sentence: String,
    /// The numbers.
    pub findings: Vec<Finding>,
    /// Network, draws, data and budget.
    pub experiment: String,
    /// Root seed.
    pub seed: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

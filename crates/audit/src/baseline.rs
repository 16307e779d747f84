//! An audit against an earlier one, and the rules that a checkpoint follows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gainstage_spec::Initializer;

use crate::AuditError;
use crate::glob::generalise;
use crate::record::{Audit, Finding, Severity, TensorRecord, VERSION, Verdict};

impl Audit {
    /// Reads a stored audit.
    ///
    /// # Errors
    /// [`AuditError::Io`], or [`AuditError::Baseline`] for what is no audit of this version.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let text = std::fs::read_to_string(path).map_err(|e| AuditError::io(path, &e))?;
        let wrong = |reason: String| AuditError::Baseline { path: path.to_owned(), reason };
        let stored: Self = serde_json::from_str(&text)
            .map_err(|e| wrong(format!("it is no results.json of an audit ({e})")))?;
        if stored.version != VERSION {
            return Err(wrong(format!("it is of version {}, this is {VERSION}", stored.version)));
        }
        Ok(stored)
    }

    /// Makes findings that the baseline holds into warnings, and adds what differs from it: tensors
    /// that are gone, that are new, or whose standard deviation is another one.
    pub fn compare(&mut self, baseline: &Self) {
        let before: BTreeMap<&str, &TensorRecord> =
            baseline.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
        let band = self.tolerance;
        let mut names = BTreeSet::new();
        for tensor in &mut self.tensors {
            names.insert(tensor.name.clone());
            let Some(old) = before.get(tensor.name.as_str()) else {
                tensor.notice(
                    Verdict::Unmatched,
                    Severity::Warning,
                    "the baseline does not hold it",
                );
                tensor.conclude();
                continue;
            };
            for finding in &mut tensor.findings {
                let known = old.findings.iter().any(|f| f.kind == finding.kind);
                if finding.severity == Severity::Finding && known {
                    finding.severity = Severity::Warning;
                    finding.text += " (known from the baseline)";
                }
            }
            if let Some(text) = changed(tensor, old, band) {
                tensor.notice(Verdict::Changed, Severity::Finding, text);
            }
            tensor.conclude();
        }
        for gone in baseline.tensors.iter().filter(|t| !names.contains(&t.name)) {
            let text = format!("{}: the baseline holds it, this checkpoint does not", gone.name);
            self.remarks.push(Finding::new(Verdict::Unmatched, Severity::Finding, text));
        }
        let with =
            |severity| self.tensors.iter().filter(|t| t.severity() == Some(severity)).count();
        self.counts.findings = with(Severity::Finding);
        self.counts.warnings = with(Severity::Warning);
    }

    /// Rules that this checkpoint keeps, one for every pattern of names whose tensors follow one law.
    pub fn to_rules(&self) -> String {
        let mut patterns: BTreeMap<String, Vec<&TensorRecord>> = BTreeMap::new();
        let mut order: Vec<String> = Vec::new();
        for tensor in &self.tensors {
            let pattern = generalise(&tensor.name);
            if !patterns.contains_key(&pattern) {
                order.push(pattern.clone());
            }
            patterns.entry(pattern).or_default().push(tensor);
        }
        let mut text = String::from(
            "# Proposed by gainstage audit from a checkpoint that was taken to be right; read it before you rely on it.\n",
        );
        if let Some(layers) = self.layers {
            text += &format!("layers = {layers}\n");
        }
        text += &format!("tolerance = {}\n", self.tolerance);
        for pattern in order {
            let members = &patterns[&pattern];
            let mut laws: Vec<(String, Vec<&str>)> = Vec::new();
            for member in members {
                let law = law_of(member);
                match laws.iter_mut().find(|(l, _)| *l == law) {
                    Some((_, names)) => names.push(&member.name),
                    None => laws.push((law, vec![&member.name])),
                }
            }
            // The pattern goes to the law of most of them, behind the exceptions.
            laws.sort_by_key(|(_, names)| names.len());
            let last = laws.len().saturating_sub(1);
            for (index, (law, names)) in laws.iter().enumerate() {
                let list: Vec<String> = if index == last {
                    vec![format!("{pattern:?}")]
                } else {
                    names.iter().map(|n| format!("{n:?}")).collect()
                };
                text += &format!("\n[[rule]]\nmatch = [{}]\n{law}", list.join(", "));
            }
        }
        text
    }
}

/// The lines of a rule that state a tensor's law and layout.
fn law_of(tensor: &TensorRecord) -> String {
    let layout = match tensor.layout.as_deref() {
        Some(layout @ ("out-in" | "in-out")) => format!("layout = \"{layout}\"\n"),
        _ => String::new(),
    };
    let law = tensor.law.as_deref().and_then(|law| {
        let (law, times) = law.split_once(" x ").map_or((law, None), |(l, t)| (l, Some(t)));
        let known = law.parse::<Initializer>().is_ok();
        known.then(|| match times {
            Some(times) => format!("law = \"{law}\"\ntimes = \"{times}\"\n"),
            None => format!("law = \"{law}\"\n"),
        })
    });
    match law {
        Some(law) => law + &layout,
        None => "skip = true # follows no law that a rule could state\n".to_owned(),
    }
}

/// Whether a standard deviation is another one than before, beyond both intervals and the tolerance.
fn changed(now: &TensorRecord, before: &TensorRecord, band: f64) -> Option<String> {
    let (a, b) = (now.std_measured?, before.std_measured?);
    let half = |t: &TensorRecord, std: f64| Some((t.std_high? / std).ln());
    let errors = half(now, a)?.hypot(half(before, b)?) / 1.96;
    let moved = (a / b).ln();
    // Five standard errors: 6e-7 for each tensor.
    let differs = a != b && (moved.abs() > band.max(5.0 * errors) || (b == 0.0) != (a == 0.0));
    differs.then(|| format!("std {a:.4e} was {b:.4e} in the baseline"))
}

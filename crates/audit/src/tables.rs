//! The audit as tables.

use gainstage_report::{Cell, Table, Tone};

use crate::groups::Group;
use crate::record::{Audit, Severity, TensorRecord};

impl Audit {
    /// One line for every group of tensors that were found alike.
    pub fn table(&self) -> Table {
        let mut table = Table::new(
            "audit",
            "Tensors by kind, with the law that they should follow",
            &[
                "tensors",
                "n",
                "role (layout)",
                "law",
                "std expected",
                "std measured",
                "ratio",
                "factor",
                "verdict",
            ],
        );
        for group in self.groups() {
            let first = group.members[0];
            let role = match &first.layout {
                Some(layout) => format!("{} ({layout})", first.role),
                None => first.role.to_string(),
            };
            table.push(vec![
                Cell::text(code(&group.name())),
                Cell::count(group.members.len()),
                Cell::text(role),
                Cell::text(first.law.clone().unwrap_or_default()),
                Cell::text(span(&group, |t| t.std_expected, scientific)),
                Cell::text(span(&group, |t| t.std_measured, scientific)),
                Cell::text(span(&group, |t| t.ratio, |x| format!("{x:.4}"))),
                Cell::text(first.factor.clone().unwrap_or_default()),
                Cell::badge(first.verdict.word(), tone(first)),
            ]);
        }
        table
    }

    /// Every tensor with all its numbers.
    pub fn full_table(&self) -> Table {
        let mut table = Table::new(
            "tensors",
            "Every tensor",
            &[
                "name",
                "shape",
                "dtype",
                "role",
                "fan_in",
                "fan_out",
                "layout",
                "law",
                "std_expected",
                "std_measured",
                "std_low",
                "std_high",
                "ratio",
                "mean",
                "kurtosis",
                "ks_distance",
                "p_value",
                "factor",
                "verdict",
                "finding",
            ],
        );
        let number = |x: Option<f64>| x.map_or(Cell::text(""), Cell::number);
        for t in &self.tensors {
            table.push(vec![
                Cell::text(code(&t.name)),
                Cell::text(format!("{:?}", t.shape).replace(", ", " x ").replace(['[', ']'], "")),
                Cell::text(t.dtype.name()),
                Cell::text(t.role.to_string()),
                t.fan_in.map_or(Cell::text(""), Cell::count),
                t.fan_out.map_or(Cell::text(""), Cell::count),
                Cell::text(t.layout.clone().unwrap_or_default()),
                Cell::text(t.law.clone().unwrap_or_default()),
                number(t.std_expected),
                number(t.std_measured),
                number(t.std_low),
                number(t.std_high),
                number(t.ratio),
                number(t.mean),
                number(t.kurtosis),
                number(t.ks_distance),
                number(t.p_value),
                Cell::text(t.factor.clone().unwrap_or_default()),
                Cell::badge(t.verdict.word(), tone(t)),
                Cell::text(t.findings.first().map(|f| f.text.clone()).unwrap_or_default()),
            ]);
        }
        table
    }

    /// What is said around the tables: findings folded, what was skipped, what could have been missed.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for (severity, title) in [
            (Severity::Finding, "finding"),
            (Severity::Warning, "warning"),
            (Severity::Note, "note"),
        ] {
            for line in self.folded(severity) {
                text += &format!("{title}: {line}\n");
            }
        }
        text += &format!("{}\n", self.headline());
        text += &format!("step 0: {}\n", self.step_zero.sentence());
        for line in self.checkpoint_sentences() {
            text += &format!("{line}\n");
        }
        text += &format!("{}\n", self.power_sentence());
        text += &self.skipped_sentence();
        text
    }

    /// Remarks of one severity, repeated ones folded into the first.
    pub fn folded(&self, severity: Severity) -> Vec<String> {
        let mut lines: Vec<String> = self
            .remarks
            .iter()
            .filter(|f| f.severity == severity)
            .map(|f| f.text.clone())
            .collect();
        for group in self.groups() {
            let mut said = Vec::new();
            for finding in group.members.iter().flat_map(|m| &m.findings) {
                if finding.severity != severity || said.contains(&finding.kind) {
                    continue;
                }
                said.push(finding.kind);
                let with: Vec<_> = group
                    .members
                    .iter()
                    .filter(|m| {
                        m.findings.iter().any(|f| f.kind == finding.kind && f.severity == severity)
                    })
                    .collect();
                let mut line = format!("{}: {}", with[0].name, finding.text);
                if with.len() > 1 {
                    line += &format!(" (and {} more like it: {})", with.len() - 1, group.name());
                }
                lines.push(line);
            }
        }
        lines
    }

    /// Counts in one sentence.
    pub fn headline(&self) -> String {
        let c = &self.counts;
        format!(
            "{} arrays seen, {} audited ({} weights, {} values), {} skipped: {} with findings, {} with warnings",
            c.seen, c.audited, c.weights, c.values, c.skipped, c.findings, c.warnings
        )
    }

    /// The error rates of the run.
    pub fn power_sentence(&self) -> String {
        let missed = match &self.detectable {
            Some(d) => format!(
                "a std off by {:.2}% is found with 95% probability in every weight (least in {})",
                100.0 * d.deviation,
                d.tensor
            ),
            None => "no std was tested".to_owned(),
        };
        format!(
            "false-alarm rate of the run {}; deviations of std below {}% do not matter; {missed}",
            self.false_alarm_rate,
            100.0 * self.tolerance
        )
    }

    fn skipped_sentence(&self) -> String {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for s in &self.skipped {
            match reasons.iter_mut().find(|(reason, _)| *reason == s.reason) {
                Some((_, names)) => names.push(&s.name),
                None => reasons.push((&s.reason, vec![&s.name])),
            }
        }
        let mut text = String::new();
        for (reason, names) in reasons {
            let more = if names.len() > 1 {
                format!(" and {} more", names.len() - 1)
            } else {
                String::new()
            };
            text += &format!("skipped: {}{more}: {reason}\n", names[0]);
        }
        text
    }
}

/// Names hold underscores and stars that are no markup.
pub(crate) fn code(name: &str) -> String {
    if name.contains('`') { name.to_owned() } else { format!("`{name}`") }
}

pub(crate) fn tone(tensor: &TensorRecord) -> Tone {
    match tensor.severity() {
        Some(Severity::Finding) => Tone::Bad,
        Some(Severity::Warning) => Tone::Mixed,
        _ => Tone::Good,
    }
}

pub(crate) fn scientific(x: f64) -> String {
    if x == 0.0 || (1e-4..1e4).contains(&x.abs()) { format!("{x:.5}") } else { format!("{x:.3e}") }
}

/// One number, or the smallest and the largest.
fn span(
    group: &Group<'_>,
    of: impl Fn(&TensorRecord) -> Option<f64>,
    show: impl Fn(f64) -> String,
) -> String {
    match group.range(of) {
        None => String::new(),
        Some((low, high)) if show(low) == show(high) => show(low),
        Some((low, high)) => format!("{} .. {}", show(low), show(high)),
    }
}

//! The audit as a page: findings, tables, and the values of every kind of weight over its law.

use gainstage_report::{
    Axis, Badge, Block, Cell, Document, Figure, Mark, Panel, Section, Table, Tone,
};

use crate::groups::Group;
use crate::record::{Audit, Severity, TensorRecord};
use crate::tables::{code, scientific};

/// Figures on a page; the table holds the numbers of all tensors.
const FIGURES: usize = 60;

impl Audit {
    /// The page.
    pub fn document(&self) -> Document {
        let lead = match self.rules.as_deref() {
            Some(rules) => format!(
                "Does this checkpoint start as the rules {} say? {}",
                code(rules),
                self.rules_source.as_deref().unwrap_or_default()
            ),
            None => "Does this checkpoint start as its authors think? No rules were given: every law is the likeliest one, and those of a kind are compared with each other.".to_owned(),
        };
        let mut document = Document::new(format!("Audit of {}", self.title()), lead);
        document.sections.push(self.verdicts());
        document.sections.extend(self.consequences());
        document.sections.push(self.pictures());
        let mut all = Section::new("tensors", "Every tensor");
        all.table(self.full_table());
        document.sections.push(all);
        if !self.skipped.is_empty() {
            let mut section = Section::new("skipped", "Not audited");
            let mut table = Table::new("skipped-arrays", "", &["name", "reason"]);
            for s in &self.skipped {
                table.push(vec![Cell::text(code(&s.name)), Cell::text(s.reason.clone())]);
            }
            section.table(table);
            document.sections.push(section);
        }
        document.reproducibility = vec![
            ("files".into(), self.files.iter().map(|f| code(f)).collect::<Vec<_>>().join(", ")),
            ("rules".into(), self.rules.clone().unwrap_or_else(|| "none".into())),
            ("false-alarm rate".into(), self.false_alarm_rate.to_string()),
            ("level of each test".into(), format!("{:.2e}", self.test_level)),
            ("tolerance of std".into(), self.tolerance.to_string()),
            ("blocks L".into(), self.layers.map_or("not known".into(), |l| l.to_string())),
            ("version".into(), env!("CARGO_PKG_VERSION").into()),
        ];
        document
    }

    fn title(&self) -> String {
        let first = self.files.first().map_or("nothing", String::as_str);
        let name = first.rsplit(['/', '\\']).next().unwrap_or(first);
        match self.files.len() {
            0 | 1 => code(name),
            n => format!("{} and {} more files", code(name), n - 1),
        }
    }

    fn verdicts(&self) -> Section {
        let mut section = Section::new("verdict", "Verdict");
        let (tone, word) = if self.has_findings() {
            (Tone::Bad, "It does not.")
        } else {
            (Tone::Good, "Nothing speaks against it.")
        };
        section
            .blocks
            .push(Block::Callout { tone, text: format!("**{word}** {}.", self.headline()) });
        section.paragraph(format!("Before training: {}.", self.step_zero.sentence()));
        if self.checkpoints.len() > 1 {
            section.blocks.push(Block::List(self.checkpoint_sentences()));
        }
        section.paragraph(format!("{}.", capital(&self.power_sentence())));
        for (severity, title) in [
            (Severity::Finding, "Findings"),
            (Severity::Warning, "Warnings"),
            (Severity::Note, "Notes"),
        ] {
            let lines = self.folded(severity);
            if !lines.is_empty() {
                section.paragraph(format!("**{title}**"));
                section.blocks.push(Block::List(lines));
            }
        }
        section.table(self.table());
        section
    }

    /// One card for every group, findings first.
    fn pictures(&self) -> Section {
        let mut section = Section::new("values", "Values over their laws");
        let mut groups: Vec<Group<'_>> = self.groups();
        groups.retain(|g| g.members.iter().any(|m| m.picture.is_some()));
        groups.sort_by_key(|g| std::cmp::Reverse(g.severity()));
        let left_out = groups.len().saturating_sub(FIGURES);
        section.paragraph("Bars are the tensor's values, the dark line is the law's density; a kind of several tensors shows its most deviating one.");
        for (index, group) in groups.iter().take(FIGURES).enumerate() {
            let Some(worst) = worst(group) else { continue };
            let badge = Badge::new(worst.verdict.word(), crate::tables::tone(worst));
            let mut blocks = Vec::new();
            if let Some(figure) = figure(worst, index) {
                blocks.push(Block::Figure(figure));
            }
            if !worst.findings.is_empty() {
                blocks.push(Block::List(worst.findings.iter().map(|f| f.text.clone()).collect()));
            }
            blocks.push(Block::Paragraph(facts(worst)));
            section.card(gainstage_report::Card {
                code: format!("kind-{}", index + 1),
                title: code(&group.name()),
                badge,
                summary: format!(
                    "{} of them; {}",
                    group.members.len(),
                    worst.law.as_deref().unwrap_or("no law")
                ),
                blocks,
                open: index < 6 && worst.severity() == Some(Severity::Finding),
            });
        }
        if left_out > 0 {
            section.paragraph(format!(
                "{left_out} further kinds have no figure here; the table has their numbers."
            ));
        }
        section
    }
}

fn worst<'a>(group: &Group<'a>) -> Option<&'a TensorRecord> {
    let off = |t: &TensorRecord| t.ratio.map_or(0.0, |r| r.ln().abs());
    group
        .members
        .iter()
        .copied()
        .filter(|m| m.picture.is_some())
        .max_by(|a, b| off(a).total_cmp(&off(b)))
}

fn figure(tensor: &TensorRecord, index: usize) -> Option<Figure> {
    let picture = tensor.picture.as_ref().filter(|p| p.edges.len() > 1)?;
    let panel = Panel::new("", Axis::linear("weight"), Axis::linear("density"))
        .mark(Mark::Histogram {
            name: "values".into(),
            colour: 1,
            edges: picture.edges.clone(),
            heights: picture.density.clone(),
        })
        .mark(Mark::line("law", 0, picture.law.clone()));
    let caption = format!(
        "{} values; standard deviation {} where {} is expected",
        tensor.shape.iter().product::<usize>(),
        tensor.std_measured.map_or("unknown".into(), scientific),
        tensor.std_expected.map_or("none".into(), scientific)
    );
    Some(Figure::new(format!("weights-{}", index + 1), code(&tensor.name), caption).panel(panel))
}

fn facts(t: &TensorRecord) -> String {
    let mut text = format!("Shape {:?}, {}, {}.", t.shape, t.dtype.name(), t.role);
    if let (Some(i), Some(o)) = (t.fan_in, t.fan_out) {
        text += &format!(" fan-in {i}, fan-out {o}");
        text += &match &t.layout {
            Some(layout) => format!(", layout {layout} ({}).", t.layout_reason),
            None => ".".to_owned(),
        };
    }
    if let Some(next) = &t.runner_up {
        text +=
            &format!(" The next likeliest law is {}, {:.1} nats behind.", next.law, next.behind);
    }
    if !t.also.is_empty() {
        text += &format!(" Not to be told from: {}.", t.also.join(", "));
    }
    text
}

pub(crate) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().collect::<String>() + chars.as_str())
}

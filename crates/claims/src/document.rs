//! The report: verdicts first, then the story.

use gainstage_report::{Badge, Block, Card, Cell, Document, Section, Table, Tone};

use crate::calibration::Calibration;
use crate::calibration_report::calibration_section;
use crate::chapters::CHAPTERS;
use crate::claim::{Claim, Conclusion, Finding, Outcome, Record, Verdict};
use crate::figures::significant;
use crate::{FAMILY_RATE, FAMILY_SIZE, limits, recommendation};

/// A claim that was run.
#[derive(Debug)]
pub struct Run {
    /// The claim.
    pub claim: &'static Claim,
    /// What is stored.
    pub record: Record,
    /// What is drawn.
    pub outcome: Outcome,
}

/// Typesets runs, and the calibration if there is one; `reproducibility` is printed at the end.
pub fn document(
    runs: &[Run],
    calibration: Option<&Calibration>,
    reproducibility: Vec<(String, String)>,
) -> Document {
    let mut document = Document::new(
        "Weight initialization, put to the test",
        "Every statement below has a prediction, an experiment and a rule that decides; the verdict is the measurement's. Rules that were \
         revised after a first look say so.",
    );
    document.sections.push(verdicts(runs));
    for (chapter, id, title, story) in CHAPTERS {
        let told: Vec<&Run> = runs.iter().filter(|r| r.claim.chapter == chapter).collect();
        if told.is_empty() {
            continue;
        }
        let mut section = Section::new(id, title);
        story.iter().for_each(|text| section.paragraph(*text));
        // One card of every chapter stands open, to show what the others hold.
        let shown = told.iter().position(|run| !run.outcome.figures.is_empty());
        for (index, run) in told.into_iter().enumerate() {
            section.card(Card { open: Some(index) == shown, ..card(run) });
        }
        document.sections.push(section);
    }
    document.sections.extend(recommendation::section(runs));
    document.sections.extend(calibration.map(calibration_section));
    document.sections.push(limits::section(runs));
    document.reproducibility = reproducibility;
    document
}

fn verdicts(runs: &[Run]) -> Section {
    let mut section = Section::new("verdicts", "Verdicts");
    let of = |verdict| runs.iter().filter(move |r| r.record.verdict == verdict);
    let counts: Vec<String> =
        [Verdict::Supported, Verdict::Qualified, Verdict::Refuted, Verdict::Inconclusive]
            .into_iter()
            .filter(|&verdict| of(verdict).count() > 0)
            .map(|verdict| format!("**{} {verdict}**", of(verdict).count()))
            .collect();
    section.paragraph(format!(
        "{} statements about how to start a network: {}. Qualified means true under conditions, which the claim's sentence names.",
        runs.len(),
        counts.join(", ")
    ));
    for run in runs.iter().filter(|r| r.record.verdict != r.record.expected) {
        section.blocks.push(Block::Callout {
            tone: Tone::Mixed,
            text: format!(
                "[{0}](#{0}) is {1} here, where {2} was expected: {3}",
                run.claim.code, run.record.verdict, run.record.expected, run.outcome.sentence
            ),
        });
    }
    let refuted: Vec<String> = of(Verdict::Refuted)
        .map(|r| {
            format!("[{0}](#{0}) \"{1}\" {2}", r.claim.code, r.claim.statement, r.outcome.sentence)
        })
        .collect();
    if !refuted.is_empty() {
        section.paragraph("Widely believed, and refuted here:");
        section.blocks.push(Block::List(refuted));
    }
    let mut table =
        Table::new("verdicts", "", &["claim", "verdict", "statement", "what was measured"]);
    for run in runs {
        table.push(vec![
            Cell::text(format!("[{0}](#{0})", run.claim.code)),
            Cell::Badge(badge(run.record.verdict)),
            Cell::text(run.claim.statement),
            Cell::text(run.outcome.sentence.clone()),
        ]);
    }
    section.blocks.push(Block::Fold {
        summary: format!("All {} verdicts in one table", runs.len()),
        blocks: vec![Block::Table(table)],
    });
    section.paragraph(format!(
        "A statement of equality is supported only by an equivalence test with a stated margin. The tests of signals run at {} each, the \
         family-wise rate of {} divided by the {} claims that the ledger is to hold, so no verdict depends on which others were run; NB01 and NB03, with few seeds, \
         run at rates of their own, which stand in their rules and come on top.",
        significant(FAMILY_RATE / FAMILY_SIZE as f64),
        significant(FAMILY_RATE),
        FAMILY_SIZE
    ));
    section
}

pub(crate) fn badge(verdict: Verdict) -> Badge {
    let tone = match verdict {
        Verdict::Supported => Tone::Good,
        Verdict::Refuted => Tone::Bad,
        Verdict::Qualified => Tone::Mixed,
        Verdict::Inconclusive => Tone::Neutral,
    };
    Badge::new(verdict.to_string(), tone)
}

fn card(run: &Run) -> Card {
    let claim = run.claim;
    let mut blocks: Vec<Block> = run.outcome.figures.iter().cloned().map(Block::Figure).collect();
    blocks.push(Block::Paragraph(format!("**Prediction.** {}", claim.prediction)));
    blocks.push(Block::Paragraph(format!("**Rule.** {}", claim.rule)));
    blocks.push(Block::Paragraph(format!(
        "**Experiment.** {}; seed {}.",
        run.outcome.experiment, run.record.seed
    )));
    blocks.push(Block::Table(findings(claim.code, &run.outcome.findings)));
    blocks.extend(run.outcome.tables.iter().cloned().map(Block::Table));
    if !claim.planted.is_empty() {
        let errors: Vec<String> = claim.planted.iter().map(ToString::to_string).collect();
        blocks.push(Block::Paragraph(format!(
            "**Negative control.** The verdict must change with an error planted: {}. Try it with `gainstage verify --planted --only {}`.",
            errors.join("; "),
            claim.code
        )));
    }
    blocks.push(Block::Paragraph(format!(
        "Source: {}. Expected: {}. Took {} s, with others beside it; again with `gainstage verify --only {}`.",
        claim.source,
        claim.expected,
        significant(run.record.seconds),
        claim.code
    )));
    Card {
        code: claim.code.to_owned(),
        title: claim.statement.to_owned(),
        badge: badge(run.record.verdict),
        summary: run.outcome.sentence.clone(),
        blocks,
        open: false,
    }
}

fn findings(code: &str, findings: &[Finding]) -> Table {
    let columns = ["finding", "predicted", "measured", "low", "high", "n", "test", "p", "says"];
    let mut table = Table::new(
        format!("{code}-findings"),
        "Findings; intervals over independent draws",
        &columns,
    );
    for f in findings {
        let says = match f.conclusion {
            Conclusion::Holds => "holds",
            Conclusion::Contradicted => "contradicted",
            Conclusion::Undecided => "undecided",
        };
        table.push(vec![
            Cell::text(&f.what),
            f.predicted.map_or_else(|| Cell::text(""), Cell::number),
            Cell::number(f.measured),
            Cell::number(f.low),
            Cell::number(f.high),
            Cell::count(f.n),
            Cell::text(&f.test),
            f.p_value.map_or_else(|| Cell::text(""), Cell::number),
            Cell::text(says),
        ]);
    }
    table
}

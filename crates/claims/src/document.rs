//! The report: verdicts first, then the story.

use gainstage_report::{Badge, Block, Card, Cell, Document, Section, Table, Tone};

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Record, Verdict};
use crate::figures::significant;
use crate::{FAMILY_RATE, FAMILY_SIZE};

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

/// Typesets runs; `reproducibility` is printed at the end.
pub fn document(runs: &[Run], reproducibility: Vec<(String, String)>) -> Document {
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
        told.into_iter().for_each(|run| section.card(card(run)));
        document.sections.push(section);
    }
    document.sections.push(limits());
    document.reproducibility = reproducibility;
    document
}

const CHAPTERS: [(Chapter, &str, &str, &[&str]); 10] = [
    (
        Chapter::Symmetry,
        "zero",
        "Why zero fails",
        &[
            "A layer's units differ by their weights alone. Units that start equal receive equal gradients from every batch, so they stay \
              equal: the layer is one unit, however wide. Zero is the extreme case, since a ReLU network of zeros passes neither signal nor \
              gradient; only the output bias learns, and the best it can learn is how often each class occurs.",
        ],
    ),
    (
        Chapter::Signal,
        "naive",
        "Why naive random scales fail with depth",
        &[
            "Random weights break the symmetry, but their scale multiplies the signal once per layer. With n inputs of second moment q the \
              pre-activations have second moment n Var[w] q: a factor of 0.5 or 2 per layer is 10⁻¹⁵ or 10¹⁵ after fifty. The figures show \
              theory's line, the band in which 95% of random networks of this width lie, and networks that were drawn.",
        ],
    ),
    (
        Chapter::Xavier,
        "xavier",
        "What Xavier fixes",
        &[
            "Glorot and Bengio (2010) asked for n_in Var[w] = 1 to keep the signal and n_out Var[w] = 1 to keep its gradient, and settled for \
              2/(n_in + n_out). Without an activation and with equal widths that keeps both. ReLU halves what is left, tanh loses a little in \
              every layer, and unequal widths pay on one side.",
        ],
    ),
    (
        Chapter::He,
        "he",
        "What He fixes",
        &[
            "He and colleagues (2015) put ReLU's half into the rule: Var[w] = 2/n_in keeps the second moment exactly in expectation, at any \
              width. It is the **mean over networks** that is kept: one network's signal wanders, by a factor whose logarithm has variance \
              5L/n, and the typical network shrinks a little.",
        ],
    ),
    (
        Chapter::Gains,
        "gains",
        "Every activation asks for its own gain",
        &[
            "The gain 1/√(E φ²) keeps a unit signal, the gain 1/√(E φ'²) its gradient, and only for activations that are linear on each side of \
              zero are the two the same. Framework tables name one number per activation; these claims say what that number keeps and what it \
              lets go.",
        ],
    ),
    (
        Chapter::MeanField,
        "chaos",
        "Order, chaos and the edge between them",
        &[
            "In wide networks the variance of the pre-activations and the correlation of two inputs follow two maps from layer to layer (Poole \
              et al. 2016). Where the weights are small all inputs end up alike and gradients vanish; where they are large nearby inputs part and \
              gradients explode; on the line between, χ₁ = 1, a signal reaches deepest.",
        ],
    ),
    (
        Chapter::FiniteWidth,
        "width",
        "One network is not the mean over networks",
        &[
            "What initialization rules keep is a mean over draws. One draw of a linear or ReLU network multiplies independent chi-square factors, \
              one a layer, so that its logarithm wanders with variance 2L/n or 5L/n. The law is exact, and so are the bands drawn from it; a fixed \
              tolerance is not.",
        ],
    ),
    (
        Chapter::Structure,
        "beyond",
        "Beyond mean squares: singular values, skips, normalization",
        &[
            "A mean square kept is an average over directions. The singular values of the input-output Jacobian say what happens to each of them; \
              residual branches add to the signal instead of multiplying it; normalization fixes the signal and moves the explosion to the gradient.",
        ],
    ),
    (
        Chapter::Frameworks,
        "frameworks",
        "What the frameworks' defaults are",
        &[
            "A layer that is made without a word about its weights starts by its framework's default, and the defaults differ in \
              variance and in shape. These claims read files that the frameworks wrote and hold each against the law that its documentation states.",
        ],
    ),
    (
        Chapter::Notebook,
        "notebook",
        "What the notebook shows, and what it does not",
        &[
            "The seed document ends in a notebook that trains one hidden layer of 128 units from four initializations. With one hidden layer, \
              scales that differ by a factor of four are all good enough: the experiment tells zero from the rest and nothing more. Its large \
              test losses are those of test pixels that were never divided by 255.",
        ],
    ),
];

fn verdicts(runs: &[Run]) -> Section {
    let mut section = Section::new("verdicts", "Verdicts");
    let mut table = Table::new(
        "verdicts",
        "",
        &["claim", "statement", "verdict", "expected", "what was measured"],
    );
    for run in runs {
        table.push(vec![
            Cell::text(format!("[{0}](#{0})", run.claim.code)),
            Cell::text(run.claim.statement),
            Cell::Badge(badge(run.record.verdict)),
            Cell::text(run.claim.expected.to_string()),
            Cell::text(run.outcome.sentence.clone()),
        ]);
    }
    section.table(table);
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
    blocks.push(Block::Paragraph(format!(
        "Source: {}. Expected: {}. Took {} s; again with `gainstage verify --only {}`.",
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
        open: !run.outcome.figures.is_empty(),
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

fn limits() -> Section {
    let mut section = Section::new("limits", "What this does not show");
    section.blocks.push(Block::List(
        [
            "Perceptrons only: no convolutions, no attention. Claims about other architectures are not tested here.",
            "Signal claims hold at birth. After the first steps of training the weights are no longer independent of the data.",
            "Rules were written before their claim was first run, but not all survived it: HE05's learning rate, steps and middle case, XAV05's \
             margin in the last layer, what VAN04 counts as underflow, the gap's mean in MFT06, the first layer's part in SAT02, the width in SAT03's and \
             SLU01's predictions, and margins of FIN01 and JAC02 were settled after first runs. Their verdicts are confirmed on \
             other seeds, not on a second experiment.",
            "A supported equality means \"within the stated margin\", never \"identical\".",
            "Error signals are injected at the output, independent of the weights. A loss's own error signal depends on the output.",
            "Training claims hold for these images, sizes, optimisers and numbers of steps. Ten seeds do not see differences far below their \
             stated margin.",
            "One family of random streams drew everything; other seeds are one `--seed` away.",
        ]
        .map(str::to_owned)
        .to_vec(),
    ));
    section
}

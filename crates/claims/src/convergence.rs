//! Whether a better start trains faster, further, and to a better network.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};
use gainstage_spec::{Activation, Initializer, Network};
use gainstage_train::{Fit, Job, Loss, Model, Protocol, Training, fit_many, fit_many_then};
use rayon::prelude::*;

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::comparison::{in_every_seed, paired_equal, paired_greater};
use crate::curves::mean_of;
use crate::figures::{percent, significant};
use crate::signal::exactly;
use crate::training::{Prepared, batch_at};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const SCALE: f64 = 1.0 / 255.0;
/// Hidden layers of CNV01.
const DEPTHS: [usize; 4] = [1, 5, 10, 30];
/// Steps over which CNV01 averages a loss.
const WINDOW: usize = 5;
/// The training loss that CNV01 waits for.
const LEVEL: f64 = 1.5;
/// What counts as clearly more steps.
const FACTOR: f64 = 2.5;
/// No start gets more steps than this.
const MOST_STEPS: usize = 2000;
/// Training loss at which CNV02 and GEN01 stop.
const REACHED: f64 = 0.1;

pub(crate) const CLAIMS: [Claim; 3] = [
    Claim {
        code: "CNV01",
        chapter: Chapter::Training,
        statement: "A proper initialization converges faster.",
        source: "Seed document, answers 1.3 and 2.3",
        prediction: "He's weights keep the signal at any depth. Weights of std 0.05 (Keras's RandomNormal) shrink its second moment by \
             64 * 0.05^2 / 2 = 0.08 per layer of 64 units, forward and backward: nothing to speak of at one hidden layer, where only the first \
             layer's fan-in of 784 counts, a factor of 1e-11 at ten.",
        rule: "Steps until the training loss (mean of five steps) is below 1.5. Qualified if with one hidden layer the ratio of steps, std 0.05 over \
             He, is shown to be within a factor of 2.5 of 1 (paired test on its logarithm), and with 10 and 30 hidden layers He gets there in every \
             seed and std 0.05 not within 2.5 times He's steps. Supported if the ratio is shown to be above 2.5 with one hidden layer too; refuted if the deep \
             networks gain less than that. The level and the factor were set after first looks, in which the ratio at one layer was 1.3 to 1.6; 5 layers are shown beside it.",
        expected: Verdict::Qualified,
        planted: &[Plant::Lopsided(0.05)],
        run: faster,
    },
    Claim {
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
    },
    Claim {
        code: "GEN01",
        chapter: Chapter::Training,
        statement: "A proper initialization generalizes better.",
        source: "Seed document, answers 1.4 and 3.5",
        prediction: "At equal training loss He and Xavier have found networks of the same kind and test alike. A start several times too large keeps its \
             random features and fits the images with small changes of them (lazy training: Chizat, Oyallon & Bach 2019), which \
             generalizes worse. A start that is too small trains longer and loses little.",
        rule: "Training on 800 images stops at a loss of 0.1. Qualified if the test accuracies of He and Xavier are equal within 1.5 percentage points, \
             that of std 0.3 (six times He's in the first layer) is lower than He's by more than 2 points, and that of std 0.01 (a fifth of \
             He's) is above that of std 0.3 by more than 1: it is the far too large start that generalizes worse. Supported if std 0.01 too is shown to lose \
             more than 5 points; refuted if one of the three is contradicted. The stds and margins were set after a look at four seeds.",
        expected: Verdict::Qualified,
        planted: &[Plant::Lopsided(6.0)],
        run: generalizes,
    },
];

/// Steps until the loss is below [`LEVEL`], if that happens within `most`.
fn steps_to_level(
    network: &Network,
    data: &Prepared,
    seed: u64,
    most: usize,
) -> Result<Option<usize>, ClaimError> {
    let protocol = Protocol::notebook();
    let model = Model::new(network, Loss::CrossEntropy, seed)?;
    let mut training = Training::new(model, (&data.train).into(), &protocol, seed)?;
    let mut sum = 0.0;
    for step in 0..most {
        sum += training.step(&batch_at(seed, step, protocol.batch, data.train.len())).0;
        if (step + 1) % WINDOW == 0 {
            if sum < LEVEL * WINDOW as f64 {
                return Ok(Some(step + 1));
            }
            sum = 0.0;
        }
        if training.finished() {
            return Ok(None);
        }
    }
    Ok(None)
}

/// One seed at one depth: He's steps, and the other's if within the factor.
#[derive(Clone, Copy)]
struct Pair {
    he: Option<usize>,
    other: Option<usize>,
}

fn faster(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::at_most(lab, 20_000, 1)?;
    let seeds = [lab.budget.pick(16, 16, 30), lab.budget.pick(3, 10, 30)];
    let of_depth = |depth: usize| if depth == 1 { seeds[0] } else { seeds[1] };
    let mut jobs: Vec<(usize, u64)> = DEPTHS
        .iter()
        .flat_map(|&d| (0..of_depth(d)).map(move |s| (d, lab.seed + s as u64)))
        .collect();
    // The deepest take longest and begin first.
    jobs.reverse();
    let he = lab.first_start(&Initializer::he_normal());
    let mut pairs: Vec<Pair> = jobs
        .par_iter()
        .with_max_len(1)
        .map(|&(depth, seed)| {
            let run = |init: &Initializer, most| {
                let network = lab.classifier(&vec![64; depth], init, &Activation::Relu)?;
                steps_to_level(&network, &data, seed, most)
            };
            let he = run(&he, MOST_STEPS)?;
            // The factor decides; the shallow ones are cheap and watched longer.
            let he_steps = he.unwrap_or(0) as f64;
            let watched = (he_steps * if depth <= 5 { 4.0 } else { FACTOR }) as usize;
            Ok(Pair { he, other: run(&Initializer::normal(0.05), watched)? })
        })
        .collect::<Result<_, ClaimError>>()?;
    pairs.reverse();
    let mut groups: Vec<&[Pair]> = Vec::new();
    let mut rest = &pairs[..];
    for depth in DEPTHS {
        let (group, others) = rest.split_at(of_depth(depth));
        groups.push(group);
        rest = others;
    }
    faster_outcome(lab, &groups)
}

fn faster_outcome(lab: &Lab, groups: &[&[Pair]]) -> Result<Outcome, ClaimError> {
    // What never got there counts as four times He's steps, and He as the most steps of all.
    let he = |p: &Pair| p.he.unwrap_or(MOST_STEPS) as f64;
    let other = |p: &Pair| p.other.map_or(4.0 * he(p), |s| s as f64);
    let logs = |group: &[Pair], of: &dyn Fn(&Pair) -> f64| -> Vec<f64> {
        group.iter().map(|p| of(p).ln()).collect()
    };
    let far_behind = |group: &[Pair]| {
        let behind = |p: &&Pair| match (p.he, p.other) {
            (Some(he), Some(other)) => other as f64 >= FACTOR * he as f64,
            (Some(_), None) => true,
            _ => false,
        };
        group.iter().filter(behind).count()
    };
    let mut shallow = paired_equal(
        lab,
        "1 hidden layer: ratio of steps, std 0.05 over He",
        &logs(groups[0], &other),
        &logs(groups[0], &he),
        FACTOR.ln(),
    )?;
    for value in [&mut shallow.measured, &mut shallow.low, &mut shallow.high] {
        *value = value.exp();
    }
    shallow.predicted = Some(1.0);
    shallow.test = format!("{} (on logarithms: a factor of {FACTOR})", shallow.test);
    let mut findings = vec![shallow];
    for (depth, group) in DEPTHS.iter().zip(groups).skip(2) {
        let what = format!(
            "{depth} hidden layers: seeds in which std 0.05 is not there within {FACTOR} times He's steps"
        );
        findings.push(in_every_seed(what, far_behind(group), group.len()));
    }
    let verdict = match all_hold(&findings[1..], Verdict::Qualified) {
        Verdict::Qualified if findings[0].conclusion == Conclusion::Undecided => {
            Verdict::Inconclusive
        }
        Verdict::Qualified if findings[0].conclusion == Conclusion::Contradicted => {
            if findings[0].measured > FACTOR { Verdict::Supported } else { Verdict::Refuted }
        }
        verdict => verdict,
    };
    let mean = |group: &[Pair]| group.iter().map(he).sum::<f64>() / group.len() as f64;
    let ratio = |group: &[Pair]| {
        let logs: f64 = group.iter().map(|p| (other(p) / he(p)).ln()).sum();
        (logs / group.len() as f64).exp()
    };
    let mut table = Table::new(
        "CNV01-steps",
        "Steps until the training loss is below 1.5",
        &["hidden layers", "He", "std 0.05", "seeds"],
    );
    for (depth, group) in DEPTHS.iter().zip(groups) {
        let all: Option<usize> = group.iter().map(|p| p.other).sum();
        let watched = if *depth <= 5 { 4.0 } else { FACTOR };
        table.push(vec![
            Cell::number(*depth as f64),
            Cell::number(mean(group)),
            all.map_or_else(
                || Cell::text(format!("not all within {watched} times He's")),
                |s| Cell::number(s as f64 / group.len() as f64),
            ),
            Cell::number(group.len() as f64),
        ]);
    }
    let never = |group: &[Pair]| group.iter().filter(|p| p.other.is_none()).count();
    Ok(Outcome {
        verdict,
        sentence: format!(
            "With one hidden layer std 0.05 took {} times He's {} steps to a loss of 1.5, with five {} times; with 10 and 30 layers He took {} and {} \
             steps and std 0.05 was not there after {FACTOR} times as many in {} of {} and {} of {} seeds.",
            significant(ratio(groups[0])),
            significant(mean(groups[0])),
            significant(ratio(groups[1])),
            significant(mean(groups[2])),
            significant(mean(groups[3])),
            never(groups[2]),
            groups[2].len(),
            never(groups[3]),
            groups[3].len(),
        ),
        experiment: format!(
            "ReLU layers of 64 units on {}, Adam, batches of 32, at most {MOST_STEPS} steps for He and four times (1 and 5 layers) or {FACTOR} times (10 and \
             30) He's steps for std 0.05; {} seeds at one layer, {} at the others",
            lab.data.name,
            groups[0].len(),
            groups[1].len()
        ),
        figures: vec![faster_figure(groups)],
        tables: vec![table],
        findings,
    })
}

fn faster_figure(groups: &[&[Pair]]) -> Figure {
    let names = DEPTHS.iter().map(ToString::to_string).collect();
    let mut panel = Panel::new(
        "",
        Axis::categories("hidden layers", names),
        Axis::log10("steps to a training loss of 1.5"),
    );
    let dots = |shift: f64, value: &dyn Fn(&Pair) -> Option<f64>| {
        let dot = |(place, group): (usize, &&[Pair])| {
            let all = group.iter().filter_map(value);
            all.map(|steps| Point::new(place as f64 + shift, steps)).collect::<Vec<_>>()
        };
        groups.iter().enumerate().flat_map(dot).collect::<Vec<_>>()
    };
    panel.marks.push(Mark::points("He", 1, dots(-0.15, &|p| p.he.map(|s| s as f64))));
    panel.marks.push(Mark::points("std 0.05", 2, dots(0.05, &|p| p.other.map(|s| s as f64))));
    let watched = |p: &Pair| match (p.he, p.other) {
        (Some(he), None) => Some(FACTOR * he as f64),
        _ => None,
    };
    panel.marks.push(Mark::points("std 0.05: not yet", 3, dots(0.25, &watched)));
    let text = "A dot a seed. \"Not yet\" stands at 2.5 times He's steps, where std 0.05 had not reached the loss.";
    Figure::new("CNV01-steps", "A proper start is faster where the network is deep", text)
        .panel(panel)
}

/// The starts of CNV02: name, hidden layers, weights.
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

fn generalizes(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::at_most(lab, 800, 4000)?;
    let seeds = lab.budget.pick(10, 10, 30);
    let starts = [
        ("He", lab.first_start(&Initializer::he_normal())),
        ("Xavier", Initializer::glorot_normal()),
        ("std 0.01", Initializer::normal(0.01)),
        ("std 0.3", Initializer::normal(0.3)),
    ];
    let mut jobs = Vec::new();
    for (_, init) in &starts {
        for seed in 0..seeds as u64 {
            let network = lab.classifier(&[64], init, &Activation::Relu)?;
            let protocol =
                Protocol { epochs: 200, stop_below: Some(REACHED), ..Protocol::notebook() };
            jobs.push(Job { network, protocol, seed: lab.seed + seed });
        }
    }
    let evaluated = fit_many_then(&jobs, &data.train, None, &|_, _| (), |_, fit| {
        let loss = fit.history.last().map_or(f64::NAN, |e| e.train_loss);
        (loss, fit.history.len(), fit.model.evaluate(&data.test, SCALE).accuracy)
    })?;
    let runs: Vec<&[(f64, usize, f64)]> = evaluated.chunks(seeds).collect();
    let accuracies: Vec<Vec<f64>> =
        runs.iter().map(|run| run.iter().map(|r| r.2).collect()).collect();
    let [he, xavier, small, large] = [0, 1, 2, 3].map(|i| &accuracies[i]);
    let reached = evaluated.iter().filter(|r| r.0 < REACHED).count();
    let findings = vec![
        in_every_seed(
            format!("runs that reach a training loss of {REACHED}"),
            reached,
            evaluated.len(),
        ),
        paired_equal(lab, "test accuracy of He less Xavier's", he, xavier, 0.015)?,
        paired_greater(lab, "test accuracy of He less that of std 0.3", he, large, 0.02)?,
        paired_greater(lab, "test accuracy of std 0.01 less that of std 0.3", small, large, 0.01)?,
    ];
    let loses: Finding =
        paired_greater(lab, "test accuracy of He less that of std 0.01", he, small, 0.05)?;
    let verdict = match all_hold(&findings, Verdict::Qualified) {
        Verdict::Qualified if loses.conclusion == Conclusion::Holds => Verdict::Supported,
        verdict => verdict,
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut table = Table::new(
        "GEN01-accuracies",
        "At a training loss of 0.1 on 800 images, means over seeds",
        &["start", "epochs", "test accuracy"],
    );
    let names = starts.iter().map(|s| s.0.to_owned()).collect();
    let mut panel = Panel::new("", Axis::categories("start", names), Axis::linear("test accuracy"));
    for (index, ((name, _), run)) in starts.iter().zip(&runs).enumerate() {
        let epochs = run.iter().map(|r| r.1 as f64).sum::<f64>() / seeds as f64;
        table.push(vec![
            Cell::text(*name),
            Cell::number(epochs),
            Cell::number(mean(&accuracies[index])),
        ]);
        let points = accuracies[index].iter().map(|a| Point::new(index as f64, *a)).collect();
        panel.marks.push(Mark::points("", 1, points));
    }
    let text = format!(
        "Test accuracy at a training loss of {REACHED} on 800 images, a dot a seed. Means: He {}, Xavier {}, std 0.01 {}, std 0.3 {}.",
        percent(mean(he)),
        percent(mean(xavier)),
        percent(mean(small)),
        percent(mean(large))
    );
    Ok(Outcome {
        verdict,
        sentence: format!(
            "At the same training loss He and Xavier reached {} and {} test accuracy, a far too small start {} and a far too large one {}: only \
             the large one generalizes clearly worse.",
            percent(mean(he)),
            percent(mean(xavier)),
            percent(mean(small)),
            percent(mean(large))
        ),
        experiment: format!(
            "784-64-10 with ReLU on 800 images of {}, Adam, batches of 32, until an epoch's mean loss is below {REACHED}; {seeds} seeds that \
             share the data order; test accuracy on 4,000 images",
            lab.data.name
        ),
        figures: vec![
            Figure::new("GEN01-accuracies", "Too large generalizes worse", text).panel(panel),
        ],
        tables: vec![table],
        findings,
    })
}

//! Deep ReLU networks on images: He's figures 2 and 3 with perceptrons.

use gainstage_report::{Axis, Figure, Mark, Panel, Point};
use gainstage_spec::{Activation, Initializer};
use gainstage_train::{Job, Optimizer, Protocol, fit_many};

use crate::claim::{Chapter, Claim, Outcome, Verdict};
use crate::comparison::in_every_seed;
use crate::curves::smoothed;
use crate::figures::significant;
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const WIDTH: usize = 128;
const DEPTHS: [usize; 2] = [22, 30];
const BATCH: usize = 64;
/// Steps of an epoch, after which a run may end.
const EPOCH: usize = 100;
/// Steps over which a loss is averaged.
const WINDOW: usize = 25;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "HE05",
    chapter: Chapter::He,
    statement: "He's rule trains ReLU networks of 22 and 30 layers; Xavier starts later at 22 and stalls at 30.",
    source: "He et al. 2015, figures 2 and 3 (convolutional networks; perceptrons here)",
    prediction: "Xavier's weight gradients are smaller by 2^-(L-2)/2 in every hidden layer at once: a factor of about 1/1000 at 22 layers \
         and 1/16,000 at 30, so plain SGD barely moves and the loss stays at ln(classes).",
    rule: "Supported if, in every seed and at both depths, He's loss (mean of 25 steps) falls below 1, Xavier's has not fallen below 2 by \
         then, and Xavier at 30 stays within 0.02 of its start for as long as it is watched; qualified if Xavier at 30 is later but leaves its \
         start; refuted otherwise. Learning rate, steps and where runs end early were chosen, and the middle case added, after first runs, in which Xavier did \
         leave its start: what is expected now is that measurement, not the literature's word.",
    expected: Verdict::Qualified,
    planted: &[Plant::ShuffledLabels],
    run: deep_networks,
}];

/// First window below a level.
fn first_below(losses: &[f64], level: f64) -> Option<usize> {
    losses.iter().position(|&l| l < level)
}

fn deep_networks(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::at_most(lab, BATCH * EPOCH, usize::MAX)?;
    let seeds = lab.budget.pick(3, 10, 30);
    let steps: u64 = lab.budget.pick(700, 1000, 3000);
    // A stall is worth the name only if it outlasts what the others need several times over.
    let watched = 3 * steps;
    let optimizer = Optimizer::Momentum { rate: 0.005, momentum: 0.9, nesterov: false };
    let epochs = watched.div_ceil(EPOCH as u64) as usize;
    let protocol = Protocol { optimizer, batch: BATCH, epochs, ..Protocol::notebook() };
    let inits = [("He", Initializer::he_normal()), ("Xavier", Initializer::glorot_normal())];
    let within =
        |most, stop_below| Protocol { max_steps: Some(most), stop_below, ..protocol.clone() };
    let mut jobs = Vec::new();
    for depth in DEPTHS {
        for (name, init) in &inits {
            // All layers but the last are hidden.
            let network = lab.classifier(&vec![WIDTH; depth - 1], init, &Activation::Relu)?;
            let job = |seed| Job {
                network: network.clone(),
                protocol: match (*name, depth) {
                    // What is decided needs no more steps: He has learned, Xavier has left its start.
                    ("He", _) => within(steps, Some(0.8)),
                    (_, 30) => within(watched, Some(2.0)),
                    _ => within(steps, None),
                },
                seed: lab.seed + seed,
            };
            jobs.extend((0..seeds).map(job));
        }
    }
    let fits = fit_many(&jobs, &data.train, None, &|_, _| ())?;
    let curves: Vec<Vec<Vec<f64>>> = fits
        .chunks(seeds as usize)
        .map(|c| c.iter().map(|fit| smoothed(fit, WINDOW)).collect())
        .collect();
    let [he22, xavier22, he30, xavier30] = [&curves[0], &curves[1], &curves[2], &curves[3]];
    let n = seeds as usize;
    let trained =
        |curves: &[Vec<f64>]| curves.iter().filter(|c| first_below(c, 1.0).is_some()).count();
    let later = |he: &[Vec<f64>], xavier: &[Vec<f64>]| {
        let pairs = he.iter().zip(xavier).filter(|(he, xavier)| {
            first_below(he, 1.0).is_some_and(|h| first_below(xavier, 2.0).is_none_or(|x| x > h))
        });
        pairs.count()
    };
    let stalled = xavier30.iter().filter(|c| c.iter().all(|l| (l - c[0]).abs() < 0.02)).count();
    let findings = vec![
        in_every_seed("He, 22 layers: seeds whose loss falls below 1", trained(he22), n),
        in_every_seed("He, 30 layers: seeds whose loss falls below 1", trained(he30), n),
        in_every_seed(
            "22 layers: seeds in which Xavier is above 2 when He falls below 1",
            later(he22, xavier22),
            n,
        ),
        in_every_seed(
            "30 layers: seeds in which Xavier is above 2 when He falls below 1",
            later(he30, xavier30),
            n,
        ),
        in_every_seed(
            format!(
                "Xavier, 30 layers: seeds that stay within 0.02 of their start for {watched} steps"
            ),
            stalled,
            n,
        ),
    ];
    let last = |curves: &[Vec<f64>]| {
        curves.iter().filter_map(|c| c.last()).sum::<f64>() / curves.len() as f64
    };
    Ok(Outcome {
        verdict: match all_hold(&findings[..4], Verdict::Supported) {
            Verdict::Supported if stalled < n => Verdict::Qualified,
            verdict => verdict,
        },
        sentence: format!(
            "At 22 layers the mean loss ended at {} (He) and {} (Xavier, {steps} steps); at 30 He ended at {}, and Xavier at {} within {watched}: \
             later, but {stalled} of {n} seeds stalled for good.",
            significant(last(he22)),
            significant(last(xavier22)),
            significant(last(he30)),
            significant(last(xavier30))
        ),
        experiment: format!(
            "perceptrons of width {WIDTH} on {}, SGD with rate 0.005 and momentum 0.9, up to {steps} steps of {BATCH} images ({watched} for Xavier at 30), {n} seeds; He's \
             runs end after an epoch of {EPOCH} steps below 0.8, Xavier's at 30 after one below 2",
            lab.data.name
        ),
        figures: vec![figure(&curves, n)],
        tables: Vec::new(),
        findings,
    })
}

fn figure(curves: &[Vec<Vec<f64>>], seeds: usize) -> Figure {
    let text = format!(
        "Training loss, mean of {WINDOW} steps; bold: mean over {seeds} seeds, thin: single seeds. He descends at both depths, Xavier \
         later; at 30 layers it is watched three times as long. Runs end once their part is decided."
    );
    let mut figure =
        Figure::new("HE05-training", "Deep ReLU networks: He trains at once, Xavier later", text);
    for (i, depth) in DEPTHS.iter().enumerate() {
        let mut panel = Panel::new(
            format!("{depth} layers"),
            Axis::linear("step"),
            Axis::linear("training loss"),
        );
        for (j, name) in ["He", "Xavier"].iter().enumerate() {
            let group = &curves[2 * i + j];
            let x = |w: usize| ((w + 1) * WINDOW) as f64;
            let lines = group
                .iter()
                .map(|c| c.iter().enumerate().map(|(w, &l)| Point::new(x(w), l)).collect());
            panel.marks.push(Mark::Thin { colour: j + 1, lines: lines.collect() });
            // The mean goes as far as all seeds do.
            let shared = group.iter().map(Vec::len).min().unwrap_or(0);
            let mean = (0..shared)
                .map(|w| (x(w), group.iter().map(|c| c[w]).sum::<f64>() / group.len() as f64));
            panel.marks.push(Mark::line(*name, j + 1, mean.collect()));
        }
        figure.panels.push(panel);
    }
    figure
}

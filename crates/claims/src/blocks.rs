//! Zero in the last layer of every residual branch.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Table};
use gainstage_spec::{Activation, Dense, Initializer, Layer, Network};
use gainstage_train::{Fit, Images, Job, Loss, Model, Protocol, fit_many};

use crate::claim::{Chapter, Claim, Outcome, Verdict};
use crate::comparison::in_every_seed;
use crate::curves::{last_loss, mean_curve, mean_of, steps_to};
use crate::figures::significant;
use crate::signal::exactly;
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Branches of two dense layers; with the first and the last, 100 dense layers.
const BLOCKS: usize = 49;
const WIDTH: usize = 32;
const WINDOW: usize = 10;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "SYM08",
    chapter: Chapter::Symmetry,
    statement: "Zero works together with normalization or skip connections.",
    source: "Seed document, answer 4 (specific architectures); Goyal et al. 2017, section 5.1; Zhang, Dauphin & Ma 2019",
    prediction: "With zero in the last layer of each residual branch a block is the identity at birth, so the network of 100 layers computes \
         exactly what its first and last layer alone compute, and its last layers learn in the first step. The same with batch normalization \
         in the branch and zero behind it (of such a matrix a zero scale per unit, as in ResNets, is the diagonal). Without the skip no \
         image reaches the output: weights that are zero stay exactly zero, and the loss stays at ln(classes). Normalization alone \
         does not help: it maps 0 to 0.",
    rule: "Supported if, in every seed, the deep network's loss before training is exactly that of its two outer layers, with and without \
         normalization; both fall below half of ln(classes); and both without the skip keep every zero weight exactly 0 and stay above 95% of \
         ln(classes). Refuted if one of these is not so.",
    expected: Verdict::Supported,
    planted: &[Plant::Jitter(0.3)],
    run: residual_branches,
}];

fn network(lab: &Lab, zero: bool, normalized: bool, skip: bool) -> Result<Network, ClaimError> {
    let dense = |init, phi| Layer::Dense(Dense::new(WIDTH, init, phi));
    let he = Initializer::he_normal;
    let relu = || Layer::Activation { function: Activation::Relu };
    let last = if zero { lab.jittered(&Initializer::zeros()) } else { he() };
    let mut layers = vec![dense(he(), Activation::Linear)];
    for _ in 0..BLOCKS {
        let first = if normalized {
            [dense(he(), Activation::Linear), Layer::BatchNorm { epsilon: 1e-5 }, relu()]
        } else {
            [relu(), dense(he(), Activation::Linear), relu()]
        };
        let mut branch = Vec::from(first);
        branch.push(dense(last.clone(), Activation::Linear));
        if skip {
            layers.push(Layer::Residual { scale: 1.0, branch });
        } else {
            layers.extend(branch);
        }
    }
    let output = Dense::new(lab.data.classes, Initializer::glorot_normal(), Activation::Linear);
    layers.push(Layer::Dense(output));
    Ok(Network::new(lab.data.train.pixels_per_image(), layers)?)
}

/// Loss before training of a deep network, and of its first and last layer alone.
fn at_birth(
    lab: &Lab,
    network: &Network,
    test: &Images,
    seed: u64,
) -> Result<(f64, f64), ClaimError> {
    let deep = Model::new(network, Loss::CrossEntropy, seed)?;
    let widths = [lab.data.train.pixels_per_image(), WIDTH, lab.data.classes];
    let outer = Network::perceptron(&widths, &Initializer::he_normal(), &Activation::Linear)?;
    let mut outer = Model::new(&outer, Loss::CrossEntropy, seed)?;
    outer.weights_mut(0).copy_from_slice(deep.weights(0));
    outer.weights_mut(1).copy_from_slice(deep.weights(deep.depth() - 1));
    let loss = |model: &Model| model.evaluate(test, 1.0 / 255.0).loss;
    Ok((loss(&deep), loss(&outer)))
}

/// The largest weight of the layers that started at zero.
fn largest_of_zeros(fit: &Fit) -> f64 {
    let zeros = (0..BLOCKS).map(|block| 2 * block + 2);
    zeros
        .flat_map(|layer| fit.model.weights(layer))
        .fold(0.0, |most: f64, w| most.max(f64::from(w.abs())))
}

const NAMES: [&str; 4] = ["skip", "skip, normalized", "no skip", "no skip, normalized"];

fn residual_branches(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::at_most(lab, 20_000, 500)?;
    let (seeds, steps) = (lab.budget.pick(3, 10, 30), lab.budget.pick(150, 250, 500));
    let cases = [(false, true), (true, true), (false, false), (true, false)];
    let mut jobs = Vec::new();
    let mut same = [0, 0];
    for (case, (normalized, skip)) in cases.into_iter().enumerate() {
        let network = network(lab, true, normalized, skip)?;
        for seed in (0..seeds as u64).map(|i| lab.seed + i) {
            if skip {
                let (deep, outer) = at_birth(lab, &network, &data.test, seed)?;
                same[case] += usize::from(deep == outer);
            }
            // What never moves need not be watched as long.
            let steps = if skip { steps } else { steps / 3 };
            let protocol = Protocol { max_steps: Some(steps), ..Protocol::notebook() };
            jobs.push(Job { network: network.clone(), protocol, seed });
        }
    }
    let fits = fit_many(&jobs, &data.train, None, &|_, _| ())?;
    let runs: Vec<&[Fit]> = fits.chunks(seeds).collect();
    let exploding = at_birth(lab, &network(lab, false, false, true)?, &data.test, lab.seed)?.0;

    let even = (lab.data.classes as f64).ln();
    let below =
        |run: &[Fit]| run.iter().filter(|f| steps_to(f, WINDOW, 0.5 * even).is_some()).count();
    let stays = |run: &[Fit]| run.iter().filter(|f| last_loss(f, WINDOW) > 0.95 * even).count();
    let moved = runs[2..].iter().flat_map(|r| r.iter()).map(largest_of_zeros).fold(0.0, f64::max);
    let half = "seeds whose loss falls below half of ln(classes)";
    let findings = vec![
        in_every_seed(
            "skip: seeds in which the deep network starts with exactly its outer layers' loss",
            same[0],
            seeds,
        ),
        in_every_seed("skip, normalized: the same", same[1], seeds),
        in_every_seed(format!("skip: {half}"), below(runs[0]), seeds),
        in_every_seed(format!("skip, normalized: {half}"), below(runs[1]), seeds),
        exactly(
            "no skip: largest weight, after training, of layers that started at zero",
            0.0,
            moved,
            2 * seeds,
        ),
        in_every_seed(
            "no skip: seeds whose loss stays above 95% of ln(classes)",
            stays(runs[2]),
            seeds,
        ),
        in_every_seed("no skip, normalized: the same", stays(runs[3]), seeds),
    ];
    let mean = |run: &[Fit]| mean_of(run, |f| last_loss(f, WINDOW));
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "With zero in the last layer of each of {BLOCKS} branches, 100-layer networks started exactly as their two outer layers and reached \
             a loss of {} in {steps} steps ({} with normalization); without the skip they stayed at {} and {}. With He's weights in \
             every layer the same network starts at a loss of {}.",
            significant(mean(runs[0])),
            significant(mean(runs[1])),
            significant(mean(runs[2])),
            significant(mean(runs[3])),
            significant(exploding)
        ),
        experiment: format!(
            "100 dense layers of width {WIDTH} on {}: the first, {BLOCKS} branches of two with ReLU (He's weights, then zero), the last; Adam, \
             {steps} steps of 32 images ({} without the skip), {seeds} seeds; losses are means of {WINDOW} steps",
            lab.data.name,
            steps / 3
        ),
        figures: vec![figure(&runs, even)],
        tables: vec![table(&runs)],
        findings,
    })
}

fn table(runs: &[&[Fit]]) -> Table {
    let mut table = Table::new(
        "SYM08-losses",
        "Training loss of the first step and of the last ten, means over seeds",
        &["zero in every branch", "first", "last"],
    );
    for (name, run) in NAMES.iter().zip(runs) {
        let first = |f: &Fit| f.step_losses.first().map_or(f64::NAN, |l| f64::from(*l));
        table.push(vec![
            Cell::text(*name),
            Cell::number(mean_of(run, first)),
            Cell::number(mean_of(run, |f| last_loss(f, WINDOW))),
        ]);
    }
    table
}

fn figure(runs: &[&[Fit]], even: f64) -> Figure {
    let mut panel = Panel::new("", Axis::linear("step"), Axis::linear("training loss"));
    let mut ends = Vec::new();
    for (index, (name, run)) in NAMES.iter().zip(runs).enumerate() {
        let curve = mean_curve(run, WINDOW);
        ends.push(format!("{name} {}", significant(curve.last().map_or(f64::NAN, |p| p.1))));
        // The two without a skip lie on each other.
        panel.marks.push(if index == 3 {
            Mark::dashed(*name, index + 1, curve)
        } else {
            Mark::line(*name, index + 1, curve)
        });
    }
    panel.marks.push(Mark::Level { y: even, label: "ln(classes)".to_owned() });
    let text = format!(
        "Training loss of 100-layer networks with zero in every branch, mean of {WINDOW} steps and {} seeds. At the end: {}.",
        runs[0].len(),
        ends.join(", ")
    );
    Figure::new("SYM08-training", "Zero branches train if there is a skip", text).panel(panel)
}

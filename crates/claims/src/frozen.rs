//! Zero weights, layer by layer: what freezes, what moves, and when.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Table};
use gainstage_spec::{Activation, Initializer, Layer, Network};
use gainstage_train::{Fit, Images, Job, Loss, Model, Protocol, Training, fit_many};

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::comparison::in_every_seed;
use crate::curves::{last_loss, mean_curve, mean_of};
use crate::figures::significant;
use crate::signal::exactly;
use crate::symmetry::largest_difference;
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Two hidden layers and the output layer.
const LAYERS: usize = 3;
const WIDTH: usize = 64;
/// No layer moves for the first time later than this.
const WATCHED: usize = 6;
/// Steps over which a loss is averaged.
const WINDOW: usize = 25;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "SYM03",
    chapter: Chapter::Symmetry,
    statement: "With zero weights all units of a layer have the same gradient, and learning is slow or stalls.",
    source: "Seed document, answer 4",
    prediction: "The gradient of a layer's weights is (error signal above) times (activation below), and it is exactly 0 where one of them \
         is. All zero: ReLU and tanh give 0 at 0, so no weight ever moves; sigmoid gives 1/2, so the layers move one after another, \
         the output layer in step 1 and the first layer in step 3, and all units of a layer alike. One zero layer among random ones: \
         tanh and sigmoid set it right in step 1; under ReLU, whose derivative at 0 is 0, a zero hidden layer freezes every layer.",
    rule: "Qualified if the first step in which each layer's weights move is the predicted one in all 36 cases (3 activations, 4 starts, 3 \
         layers); if with all weights zero, in every seed, ReLU and tanh stay above 95% of ln(classes) and sigmoid's units stay exactly \
         equal with a loss above random weights' by 0.5 or more; and if tanh with one zero layer gets below the all-zero sigmoid by 0.5 or \
         more in every seed. Supported if only this last does not hold; refuted otherwise. The 0.5 was set after a look at two seeds.",
    expected: Verdict::Qualified,
    planted: &[Plant::Jitter(1e-2)],
    run: layer_by_layer,
}];

/// All weights zero, or those of one dense layer.
#[derive(Clone, Copy)]
enum Zero {
    All,
    Only(usize),
}

impl Zero {
    fn has(self, layer: usize) -> bool {
        match self {
            Self::All => true,
            Self::Only(one) => one == layer,
        }
    }
}

fn network(lab: &Lab, phi: &Activation, zero: Zero) -> Result<Network, ClaimError> {
    let mut network = lab.classifier(&[WIDTH; LAYERS - 1], &Initializer::glorot_normal(), phi)?;
    for (index, layer) in network.layers.iter_mut().enumerate() {
        if let Layer::Dense(dense) = layer
            && zero.has(index)
        {
            dense.weights = lab.jittered(&Initializer::zeros());
        }
    }
    Ok(network)
}

/// The first step in which each layer's weights move, from what is zero and what is not.
///
/// Values are followed as zero or not: pre-activations, activations, error signals and biases.
fn predicted(phi: &Activation, zero: Zero) -> [Option<usize>; LAYERS] {
    let mut weights: Vec<bool> = (0..LAYERS).map(|l| !zero.has(l)).collect();
    let mut biases = [false; LAYERS];
    let mut first = [None; LAYERS];
    for step in 1..=WATCHED {
        // below[l]: whether layer l reads anything but zeros; z[l]: whether its pre-activation is not 0.
        let mut below = vec![true];
        let mut z = Vec::new();
        for l in 0..LAYERS {
            z.push(weights[l] && below[l] || biases[l]);
            below.push(z[l] || phi.value(0.0) != 0.0);
        }
        // Error signals are of the weights before the step.
        let mut error = [true; LAYERS];
        for l in (0..LAYERS - 1).rev() {
            error[l] = error[l + 1] && weights[l + 1] && (z[l] || phi.derivative(0.0) != 0.0);
        }
        for l in 0..LAYERS {
            if error[l] && below[l] {
                first[l] = first[l].or(Some(step));
            }
            weights[l] |= first[l].is_some();
            biases[l] |= error[l];
        }
    }
    first
}

/// The same, measured.
fn first_moves(
    network: &Network,
    images: &Images,
    seed: u64,
) -> Result<[Option<usize>; LAYERS], ClaimError> {
    let protocol = Protocol::notebook();
    let start = Model::new(network, Loss::CrossEntropy, seed)?;
    let mut training = Training::new(start.clone(), images.into(), &protocol, seed)?;
    let mut first = [None; LAYERS];
    let batch = protocol.batch.min(images.len() / WATCHED).max(1) as u32;
    for step in 1..=WATCHED {
        let from = (step as u32 - 1) * batch;
        training.step(&(from..from + batch).collect::<Vec<u32>>());
        let model = training.model();
        for (layer, first) in first.iter_mut().enumerate() {
            if model.weights(layer) != start.weights(layer) {
                *first = first.or(Some(step));
            }
        }
    }
    Ok(first)
}

fn layer_by_layer(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::at_most(lab, 20_000, 1)?;
    let activations =
        [("ReLU", Activation::Relu), ("tanh", Activation::Tanh), ("sigmoid", Activation::Sigmoid)];
    let starts = [
        ("all layers", Zero::All),
        ("layer 1 only", Zero::Only(0)),
        ("layer 2 only", Zero::Only(1)),
        ("output layer only", Zero::Only(2)),
    ];
    let mut table = Table::new(
        "SYM03-steps",
        "The first step in which the weights of each layer move (as measured; \"never\" within six steps)",
        &["activation", "zero weights in", "layer 1", "layer 2", "output layer"],
    );
    let mut right = 0;
    for (name, phi) in &activations {
        for (start, zero) in starts {
            let found = first_moves(&network(lab, phi, zero)?, &data.train, lab.seed)?;
            right += found.iter().zip(predicted(phi, zero)).filter(|(f, p)| *f == p).count();
            let cells = found.iter().map(|f| match f {
                Some(step) => Cell::number(*step as f64),
                None => Cell::text("never"),
            });
            table.push([Cell::text(*name), Cell::text(start)].into_iter().chain(cells).collect());
        }
    }
    let (seeds, steps) = (lab.budget.pick(3, 10, 30), lab.budget.pick(500, 1000, 2000));
    let runs = train(lab, &data.train, seeds, steps)?;
    Ok(outcome(lab, table, right, &runs, steps))
}

/// What each trained start is called; random comes last.
const RUNS: [&str; 5] = [
    "ReLU, all zero",
    "tanh, all zero",
    "sigmoid, all zero",
    "tanh, layer 2 zero",
    "sigmoid, Xavier",
];

/// Per start, one fit a seed.
fn train(
    lab: &Lab,
    images: &Images,
    seeds: usize,
    steps: u64,
) -> Result<Vec<Vec<Fit>>, ClaimError> {
    let networks = [
        network(lab, &Activation::Relu, Zero::All)?,
        network(lab, &Activation::Tanh, Zero::All)?,
        network(lab, &Activation::Sigmoid, Zero::All)?,
        network(lab, &Activation::Tanh, Zero::Only(1))?,
        lab.classifier(&[WIDTH; LAYERS - 1], &Initializer::glorot_normal(), &Activation::Sigmoid)?,
    ];
    let mut jobs = Vec::new();
    for network in networks {
        for seed in 0..seeds as u64 {
            let protocol = Protocol { max_steps: Some(steps), ..Protocol::notebook() };
            jobs.push(Job { network: network.clone(), protocol, seed: lab.seed + seed });
        }
    }
    let fits = fit_many(&jobs, images, None, &|_, _| ())?;
    Ok(fits.chunks(seeds).map(<[Fit]>::to_vec).collect())
}

fn outcome(lab: &Lab, table: Table, right: usize, runs: &[Vec<Fit>], steps: u64) -> Outcome {
    let n = runs[0].len();
    let cases = 3 * 4 * LAYERS;
    let last = |fit: &Fit| last_loss(fit, WINDOW);
    let mean = |run: &[Fit]| mean_of(run, last);
    let floor = 0.95 * (lab.data.classes as f64).ln();
    let [relu, tanh, sigmoid, healed, random] = [0, 1, 2, 3, 4].map(|i| &runs[i]);
    let stalled = |run: &[Fit]| run.iter().filter(|f| last(f) > floor).count();
    let above = |high: &[Fit], low: &[Fit]| {
        high.iter().zip(low).filter(|(h, l)| last(h) - last(l) >= 0.5).count()
    };
    let apart = sigmoid
        .iter()
        .flat_map(|f| (0..LAYERS - 1).map(|layer| largest_difference(f, layer)))
        .fold(0.0, f64::max);
    let findings = vec![
        exactly(
            "cases in which a layer's first step is the predicted one",
            cases as f64,
            right as f64,
            cases,
        ),
        in_every_seed(
            "ReLU, all zero: seeds whose loss stays above 95% of ln(classes)",
            stalled(relu),
            n,
        ),
        in_every_seed(
            "tanh, all zero: seeds whose loss stays above 95% of ln(classes)",
            stalled(tanh),
            n,
        ),
        exactly(
            "sigmoid, all zero: largest difference between hidden units of a layer",
            0.0,
            apart,
            n,
        ),
        in_every_seed(
            "seeds in which the all-zero sigmoid's loss is above random weights' by 0.5",
            above(sigmoid, random),
            n,
        ),
        in_every_seed(
            "seeds in which tanh with one zero layer is below the all-zero sigmoid by 0.5",
            above(sigmoid, healed),
            n,
        ),
    ];
    let verdict = match all_hold(&findings[..5], Verdict::Qualified) {
        Verdict::Qualified if findings[5].conclusion != Conclusion::Holds => Verdict::Supported,
        verdict => verdict,
    };
    Outcome {
        verdict,
        sentence: format!(
            "With all weights zero ReLU and tanh stalled for good (loss {} and {} after {steps} steps); sigmoid thawed from the top, one layer \
             a step, with all units alike (loss {}, random weights {}); but tanh with one zero layer among random ones recovered at once ({}).",
            significant(mean(relu)),
            significant(mean(tanh)),
            significant(mean(sigmoid)),
            significant(mean(random)),
            significant(mean(healed)),
        ),
        experiment: format!(
            "784-{WIDTH}-{WIDTH}-10 on {}, zero biases, zero or Xavier weights, Adam, {steps} steps of 32 images, {n} seeds; losses are means of \
             {WINDOW} steps",
            lab.data.name
        ),
        figures: vec![figure(runs, n)],
        tables: vec![table],
        findings,
    }
}

fn figure(runs: &[Vec<Fit>], seeds: usize) -> Figure {
    let mut panel = Panel::new("", Axis::linear("step"), Axis::linear("training loss"));
    let mut ends = Vec::new();
    for (index, (name, run)) in RUNS.iter().zip(runs).enumerate() {
        let points = mean_curve(run, WINDOW);
        ends.push(format!("{name} {}", significant(points.last().map_or(f64::NAN, |p| p.1))));
        // ReLU and tanh lie on each other: a full and a dashed line.
        panel.marks.push(if index == 1 {
            Mark::dashed(*name, index + 1, points)
        } else {
            Mark::line(*name, index + 1, points)
        });
    }
    let text = format!(
        "Training loss, mean of {WINDOW} steps and {seeds} seeds. At the end: {}.",
        ends.join(", ")
    );
    Figure::new("SYM03-losses", "Zero weights: stalled, moving as one, or healed", text)
        .panel(panel)
}

//! A new head that starts at zero.

use gainstage_data::Split;
use gainstage_report::{Axis, Figure, Mark, Panel};
use gainstage_simulate::{Matrix, activate, product};
use gainstage_spec::{Activation, Dense, Initializer, Layer, Network};
use gainstage_train::{Fit, Images, Loss, Model, Protocol, Vectors, fit, fit_data, fit_from};
use rayon::prelude::*;

use crate::claim::{Chapter, Claim, Outcome, Verdict};
use crate::comparison::{in_every_seed, paired_equal};
use crate::curves::mean_curve;
use crate::figures::{percent, significant};
use crate::training::images;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const SCALE: f64 = 1.0 / 255.0;
/// Units of the trained features.
const FEATURES: usize = 64;
/// Of frozen features, and with all layers trained.
const MARGINS: [f64; 2] = [0.02, 0.04];
/// Steps over which a loss is averaged.
const WINDOW: usize = 20;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "SYM07",
    chapter: Chapter::Symmetry,
    statement: "A new head may start at zero on trained features.",
    source: "Seed document, answer 4 (transfer learning)",
    prediction: "The features below differ already, so each weight of the head gets a gradient of its own; alone, the head is a logistic \
             regression, which is convex. At the start all classes are equally likely: the loss is exactly ln(classes). After training, \
             accuracy is that of a Xavier head.",
    rule: "Supported if the zero head's loss before training is ln(classes) to 12 digits in every seed and its accuracy equals the Xavier \
             head's (paired) within 2 percentage points with the features frozen and within 4 with all layers trained; refuted if one is \
             shown to differ. The second margin was widened after a first look, in which a Xavier head, which hands a gradient down from the first \
             step on, was ahead by 1.6 points on the synthetic digits.",
    expected: Verdict::Supported,
    planted: &[Plant::Jitter(0.5)],
    run: new_head,
}];

/// At most so many images of the classes from `from` on, below `to`, with classes from 0.
fn classes(split: &Split, from: usize, to: usize, most: usize) -> Result<Images, ClaimError> {
    let chosen: Vec<usize> = (0..split.len())
        .filter(|&i| (from..to).contains(&usize::from(split.labels[i])))
        .take(most)
        .collect();
    if chosen.is_empty() {
        return Err(ClaimError::Data { found: 0, needed: 1 });
    }
    let pixels = chosen.iter().flat_map(|&i| split.pixels_of(i..i + 1)).copied().collect();
    let labels = chosen.iter().map(|&i| split.labels[i] - from as u8).collect();
    images(&Split { pixels, labels, ..*split }, to - from)
}

/// The hidden layer's activations of every image: what a frozen body hands to its head.
fn features(body: &Model, split: &Split, from: usize, most: usize) -> Result<Vectors, ClaimError> {
    let (width, chosen) =
        (split.pixels_per_image(), |i: &usize| usize::from(split.labels[*i]) >= from);
    let chosen: Vec<usize> = (0..split.len()).filter(chosen).take(most).collect();
    let inputs: Vec<f32> = chosen
        .iter()
        .flat_map(|&i| split.pixels_of(i..i + 1))
        .map(|&p| (f64::from(p) * SCALE) as f32)
        .collect();
    let labels: Vec<u8> = chosen.iter().map(|&i| split.labels[i] - from as u8).collect();
    let (n, units) = (labels.len(), body.units(0));
    let mut z = vec![0.0f32; n * units];
    product(&mut z, Matrix::new(&inputs, n, width), Matrix::new(body.weights(0), width, units));
    for row in z.chunks_exact_mut(units) {
        row.iter_mut().zip(body.bias(0)).for_each(|(z, b)| *z += b);
    }
    let mut h = vec![0.0; z.len()];
    activate(&Activation::Relu, &z, &mut h);
    let top = labels.iter().max().map_or(0, |l| usize::from(*l) + 1);
    Ok(Vectors::with_classes(h, units, labels, top)?)
}

/// One seed: for the zero and the Xavier head, frozen and tuned.
struct Heads {
    first_loss: [f64; 2],
    frozen: [f64; 2],
    tuned: [f64; 2],
    fits: [Fit; 4],
}

fn heads(lab: &Lab, steps: u64, seed: u64) -> Result<Heads, ClaimError> {
    let (data, half) = (&lab.data, lab.data.classes / 2);
    let new = data.classes - half;
    let train = data.train.slice(0..data.train.len().min(12_000));
    let old = classes(&train, 0, half, 4000)?;
    let (fresh, test) = (
        classes(&train, half, data.classes, 1500)?,
        classes(&data.test, half, data.classes, 5000)?,
    );
    let widths = |outputs| [data.train.pixels_per_image(), FEATURES, outputs];
    let he = Initializer::he_normal();
    let protocol = Protocol { max_steps: Some(steps), epochs: 100, ..Protocol::notebook() };
    let body = fit(
        &Network::perceptron(&widths(half), &he, &Activation::Relu)?,
        &old,
        None,
        &protocol,
        seed,
        &|_| (),
    )?
    .model;
    let frozen = (features(&body, &train, half, 1500)?, features(&body, &data.test, half, 5000)?);
    let run = |init: Initializer| -> Result<(f64, f64, f64, [Fit; 2]), ClaimError> {
        let head = Layer::Dense(Dense::new(new, init, Activation::Linear));
        let mut whole = Network::perceptron(&widths(new), &he, &Activation::Relu)?;
        whole.layers[1] = head.clone();
        let mut model = Model::new(&whole, Loss::CrossEntropy, seed)?;
        model.weights_mut(0).copy_from_slice(body.weights(0));
        model.bias_mut(0).copy_from_slice(body.bias(0));
        let first = model.evaluate(&test, SCALE).loss;
        let tuned = fit_from(model, &fresh, None, &protocol, seed, &|_| ())?;
        let head = Model::new(&Network::new(FEATURES, vec![head])?, Loss::CrossEntropy, seed)?;
        // A head alone bears larger steps.
        let mut faster = protocol.clone();
        *faster.optimizer.rate_mut() = 0.01;
        let alone = fit_data(head, (&frozen.0).into(), None, &faster, seed, &|_| ())?;
        let accuracy = alone.model.evaluate_on((&frozen.1).into(), SCALE).accuracy;
        Ok((first, accuracy, tuned.model.evaluate(&test, SCALE).accuracy, [alone, tuned]))
    };
    let zero = run(lab.jittered(&Initializer::zeros()))?;
    let xavier = run(Initializer::glorot_normal())?;
    let ([a, b], [c, d]) = (zero.3, xavier.3);
    Ok(Heads {
        first_loss: [zero.0, xavier.0],
        frozen: [zero.1, xavier.1],
        tuned: [zero.2, xavier.2],
        fits: [a, c, b, d],
    })
}

fn new_head(lab: &Lab) -> Result<Outcome, ClaimError> {
    let (seeds, steps) = (lab.budget.pick(12u32, 12, 30), lab.budget.pick(400, 800, 1500));
    let runs: Vec<Heads> = (0..seeds)
        .into_par_iter()
        .with_max_len(1)
        .map(|i| heads(lab, steps, lab.seed + u64::from(i)))
        .collect::<Result<_, _>>()?;
    let n = runs.len();
    let column = |value: &dyn Fn(&Heads) -> f64| runs.iter().map(value).collect::<Vec<f64>>();
    let mean = |value: &dyn Fn(&Heads) -> f64| column(value).iter().sum::<f64>() / n as f64;
    let new = lab.data.classes - lab.data.classes / 2;
    let even = (new as f64).ln();
    let exact = runs.iter().filter(|r| (r.first_loss[0] - even).abs() < 1e-12).count();
    let equal = |what, margin, value: fn(&Heads) -> [f64; 2]| {
        paired_equal(lab, what, &column(&|r| value(r)[0]), &column(&|r| value(r)[1]), margin)
    };
    let findings = vec![
        in_every_seed(
            format!("zero head: seeds whose loss before training is ln({new}) to 12 digits"),
            exact,
            n,
        ),
        equal(
            "frozen features: accuracy with the zero head less that with Xavier's",
            MARGINS[0],
            |r| r.frozen,
        )?,
        equal(
            "all layers trained: accuracy with the zero head less that with Xavier's",
            MARGINS[1],
            |r| r.tuned,
        )?,
    ];
    let mut figure = Figure::new(
        "SYM07-heads",
        "A new head: zero or Xavier",
        format!(
            "Training loss on the new classes, mean of {WINDOW} steps and {n} seeds; level: ln({new}) = {}, where the zero head starts. \
             Xavier's head starts at {}.",
            significant(even),
            significant(mean(&|r| r.first_loss[1]))
        ),
    );
    for (side, title) in ["features frozen", "all layers trained"].iter().enumerate() {
        let mut panel = Panel::new(*title, Axis::linear("step"), Axis::linear("training loss"));
        for (kind, name) in ["zero head", "Xavier head"].iter().enumerate() {
            let fits: Vec<Fit> = runs.iter().map(|r| r.fits[2 * side + kind].clone()).collect();
            let curve = mean_curve(&fits, WINDOW);
            panel.marks.push(if kind == 0 {
                Mark::line(*name, 1, curve)
            } else {
                Mark::dashed(*name, 2, curve)
            });
        }
        panel.marks.push(Mark::Level { y: even, label: format!("ln {new}") });
        figure.panels.push(panel);
    }
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "On frozen features a zero head reached {} and a Xavier head {}; with all layers trained {} and {}. The zero head began at a loss \
             of exactly ln({new}) = {}, Xavier's at {}.",
            percent(mean(&|r| r.frozen[0])),
            percent(mean(&|r| r.frozen[1])),
            percent(mean(&|r| r.tuned[0])),
            percent(mean(&|r| r.tuned[1])),
            significant(even),
            significant(mean(&|r| r.first_loss[1])),
        ),
        experiment: format!(
            "784-{FEATURES} with ReLU on {}, trained on the first half of the classes; a new head for 1,500 images of the other half; Adam, {steps} \
             steps of 32 images each, rate 0.01 for the head alone and 0.001 for all layers, {n} seeds; test accuracy on the new classes",
            lab.data.name
        ),
        figures: vec![figure],
        tables: Vec::new(),
        findings,
    })
}

//! Where zero serves: a new head on trained features, and the decoder of an autoencoder.

use gainstage_data::Split;
use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Table};
use gainstage_simulate::{Matrix, activate, product};
use gainstage_spec::{Activation, Dense, Initializer, Layer, Network};
use gainstage_train::{
    Fit, Images, Loss, Model, Optimizer, Protocol, Vectors, fit, fit_data, fit_from,
};
use rayon::prelude::*;

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::comparison::{in_every_seed, paired_equal};
use crate::curves::mean_curve;
use crate::figures::{percent, significant};
use crate::signal::exactly;
use crate::symmetry::largest_difference;
use crate::training::images;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const SCALE: f64 = 1.0 / 255.0;
/// Units of the trained features.
const FEATURES: usize = 64;
/// Of frozen features, and with all layers trained.
const MARGINS: [f64; 2] = [0.02, 0.04];
/// Units of the autoencoder's code.
const CODE: usize = 32;
const WINDOW: usize = 20;

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
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
    },
    Claim {
        code: "SYM09",
        chapter: Chapter::Symmetry,
        statement: "Zero can serve as the start of some autoencoders.",
        source: "Seed document, answer 4 (specific architectures)",
        prediction: "All zero: with ReLU or tanh the code is 0 and no weight moves, so that only the output bias learns the mean image; with \
             sigmoid all units of the code stay equal, and one unit explains at most as much as the first principal component. Zero in \
             the decoder's output layer alone: the code is random, so the decoder learns from the first step and the encoder from the \
             second.",
        rule: "Qualified if, in every seed, with all weights zero the weights of ReLU and tanh stay exactly 0, sigmoid's units stay exactly \
             equal and all three errors stay above 85% of the mean image's, while a zero decoder behind a random encoder gets below half of \
             that and within 10% of a random decoder or better. Supported if all-zero autoencoders too get below half; refuted \
             if the zero decoder does not. The percentages were set after a look at three seeds.",
        expected: Verdict::Qualified,
        planted: &[Plant::Jitter(1e-2)],
        run: autoencoders,
    },
];

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

/// One seed of SYM07: for the zero and the Xavier head, frozen and tuned.
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
        faster.optimizer = Optimizer::adam();
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

/// The autoencoders of SYM09: name, activation of the code, whether encoder and decoder start at zero.
static AUTOENCODERS: [(&str, Activation, bool, bool); 7] = [
    ("ReLU, all zero", Activation::Relu, true, true),
    ("tanh, all zero", Activation::Tanh, true, true),
    ("sigmoid, all zero", Activation::Sigmoid, true, true),
    ("ReLU, zero decoder", Activation::Relu, false, true),
    ("tanh, zero decoder", Activation::Tanh, false, true),
    ("ReLU, random", Activation::Relu, false, false),
    ("tanh, random", Activation::Tanh, false, false),
];

/// Half the mean squared distance of the images from their mean: the error of the best constant output.
fn mean_image_error(inputs: &[f32], width: usize) -> f64 {
    let n = (inputs.len() / width) as f64;
    let mut error = 0.0;
    for pixel in 0..width {
        let values = inputs[pixel..].iter().step_by(width).map(|p| f64::from(*p));
        let m: gainstage_stats::Moments = values.collect();
        error += 0.5 * m.population_variance() * m.count() as f64 / n;
    }
    error
}

fn autoencoders(lab: &Lab) -> Result<Outcome, ClaimError> {
    let (seeds, steps) = (lab.budget.pick(3, 10, 30), lab.budget.pick(320, 800, 1500));
    let width = lab.data.train.pixels_per_image();
    let shown = lab.data.train.slice(0..lab.data.train.len().min(1500));
    let inputs: Vec<f32> = shown.pixels.iter().map(|p| (f64::from(*p) * SCALE) as f32).collect();
    let level = mean_image_error(&inputs, width);
    let vectors = Vectors::with_values(inputs.clone(), width, inputs, width)?;
    let protocol = Protocol {
        loss: Loss::SquaredError,
        max_steps: Some(steps),
        epochs: 1000,
        ..Protocol::notebook()
    };
    let jobs: Vec<(usize, u64)> =
        (0..AUTOENCODERS.len()).flat_map(|a| (0..seeds as u64).map(move |s| (a, s))).collect();
    let fits: Vec<(Fit, f64)> = jobs
        .par_iter()
        .with_max_len(1)
        .map(|&(which, seed)| {
            let (_, phi, encoder, decoder) = &AUTOENCODERS[which];
            let start = |zero: bool, random| {
                if zero { lab.jittered(&Initializer::zeros()) } else { random }
            };
            let layers = vec![
                Layer::Dense(Dense::new(
                    CODE,
                    start(*encoder, Initializer::he_normal()),
                    phi.clone(),
                )),
                Layer::Dense(Dense::new(
                    width,
                    start(*decoder, Initializer::glorot_normal()),
                    Activation::Linear,
                )),
            ];
            let model = Model::new(&Network::new(width, layers)?, protocol.loss, lab.seed + seed)?;
            // Where no weight moves, a quarter of the steps shows it.
            let steps = if which < 2 { steps / 4 } else { steps };
            let protocol = Protocol { max_steps: Some(steps), ..protocol.clone() };
            let fit =
                fit_data(model, (&vectors).into(), None, &protocol, lab.seed + seed, &|_| ())?;
            let error = fit.model.evaluate_on((&vectors).into(), SCALE).loss;
            Ok((fit, error))
        })
        .collect::<Result<_, ClaimError>>()?;
    let runs: Vec<&[(Fit, f64)]> = fits.chunks(seeds).collect();
    autoencoder_outcome(lab, &runs, level, steps)
}

fn autoencoder_outcome(
    lab: &Lab,
    runs: &[&[(Fit, f64)]],
    level: f64,
    steps: u64,
) -> Result<Outcome, ClaimError> {
    let n = runs[0].len();
    let errors: Vec<Vec<f64>> =
        runs.iter().map(|run| run.iter().map(|(_, error)| *error).collect()).collect();
    let mean = |which: usize| errors[which].iter().sum::<f64>() / n as f64;
    let largest = runs[..2]
        .iter()
        .flat_map(|run| run.iter())
        .flat_map(|(fit, _)| (0..2).flat_map(|l| fit.model.weights(l)))
        .fold(0.0, |most: f64, w| most.max(f64::from(w.abs())));
    let apart = runs[2].iter().map(|(fit, _)| largest_difference(fit, 0)).fold(0.0, f64::max);
    let count = |holds: &dyn Fn(usize) -> bool| (0..n).filter(|&seed| holds(seed)).count();
    let findings = vec![
        exactly("ReLU and tanh, all zero: largest weight after training", 0.0, largest, n),
        exactly("sigmoid, all zero: largest difference between units of the code", 0.0, apart, n),
        in_every_seed(
            "all zero: seeds in which all three errors stay above 85% of the mean image's",
            count(&|s| (0..3).all(|a| errors[a][s] > 0.85 * level)),
            n,
        ),
        in_every_seed(
            "zero decoder: seeds in which both errors are below half of the mean image's",
            count(&|s| (3..5).all(|a| errors[a][s] < 0.5 * level)),
            n,
        ),
        in_every_seed(
            "zero decoder: seeds in which both errors are at most 1.1 times the random decoder's",
            count(&|s| (3..5).all(|a| errors[a][s] < 1.1 * errors[a + 2][s])),
            n,
        ),
    ];
    let decoder = all_hold(&findings[3..], Verdict::Supported);
    let all_serve = (0..3).all(|a| errors[a].iter().all(|e| *e < 0.5 * level));
    let stuck = findings[..3].iter().all(|f| f.conclusion == Conclusion::Holds);
    let verdict = match decoder {
        Verdict::Supported if stuck => Verdict::Qualified,
        Verdict::Supported if all_serve => Verdict::Supported,
        Verdict::Supported => Verdict::Inconclusive,
        verdict => verdict,
    };
    let mut table = Table::new(
        "SYM09-errors",
        "Reconstruction error after training (half the squared distance), mean over seeds",
        &["start", "error", "share of the mean image's"],
    );
    let mut panel = Panel::new("", Axis::linear("step"), Axis::linear("reconstruction error"));
    for (which, (name, ..)) in AUTOENCODERS.iter().enumerate() {
        table.push(vec![
            Cell::text(*name),
            Cell::number(mean(which)),
            Cell::number(mean(which) / level),
        ]);
        // One line stands for both activations that stay at zero.
        if [0, 2, 3, 5].contains(&which) {
            let fits: Vec<Fit> = runs[which].iter().map(|(fit, _)| fit.clone()).collect();
            let colour = panel.marks.len() + 1;
            panel.marks.push(Mark::line(*name, colour, mean_curve(&fits, WINDOW)));
        }
    }
    panel.marks.push(Mark::Level { y: level, label: "mean image".to_owned() });
    let text = format!(
        "Training error, mean of {WINDOW} steps and {n} seeds; level: the mean image's, {}. At the end: all zero {} (ReLU) and {} (sigmoid), \
         zero decoder {}, random {} (ReLU).",
        significant(level),
        significant(mean(0)),
        significant(mean(2)),
        significant(mean(3)),
        significant(mean(5))
    );
    Ok(Outcome {
        verdict,
        sentence: format!(
            "All-zero autoencoders learned the mean image at best (errors {} to {}; the mean image has {}); with zero in the decoder alone the \
             error fell to {} with ReLU and {} with tanh, against {} and {} from random decoders.",
            significant(mean(0).min(mean(1)).min(mean(2))),
            significant(mean(0).max(mean(1)).max(mean(2))),
            significant(level),
            significant(mean(3)),
            significant(mean(4)),
            significant(mean(5)),
            significant(mean(6))
        ),
        experiment: format!(
            "784-{CODE}-784 on 1,500 images of {}, squared error, He's weights in the encoder and Xavier's in the decoder where not zero, Adam, \
             {steps} steps of 32 images (a quarter for ReLU and tanh, all zero), {n} seeds",
            lab.data.name
        ),
        figures: vec![
            Figure::new("SYM09-errors", "Zero serves in the decoder alone", text).panel(panel),
        ],
        tables: vec![table],
        findings,
    })
}

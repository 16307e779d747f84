//! Autoencoders that start at zero, wholly or in the decoder.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Table};
use gainstage_spec::{Activation, Dense, Initializer, Layer, Network};
use gainstage_stats::Moments;
use gainstage_train::{Fit, Loss, Model, Protocol, Vectors, fit_data};
use rayon::prelude::*;

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::comparison::in_every_seed;
use crate::curves::mean_curve;
use crate::figures::significant;
use crate::signal::exactly;
use crate::symmetry::largest_difference;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const SCALE: f64 = 1.0 / 255.0;
/// Units of the code.
const CODE: usize = 32;
/// Steps over which an error is averaged.
const WINDOW: usize = 20;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
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
}];

/// Name, activation of the code, whether encoder and decoder start at zero.
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
        let m: Moments = values.collect();
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
    Ok(autoencoder_outcome(lab, &runs, level, steps))
}

fn autoencoder_outcome(lab: &Lab, runs: &[&[(Fit, f64)]], level: f64, steps: u64) -> Outcome {
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
    Outcome {
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
            Figure::new("SYM09-training", "Zero serves in the decoder alone", text).panel(panel),
        ],
        tables: vec![table],
        findings,
    }
}

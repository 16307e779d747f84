//! He against Xavier: in one hidden layer, and in deep networks that classify or regress.

use gainstage_data::Split;
use gainstage_report::Figure;
use gainstage_spec::{Activation, Initializer, Network};
use gainstage_stats::Moments;
use gainstage_train::{
    Data, Fit, Job, Loss, Model, Optimizer, Protocol, Vectors, fit_data, fit_many_then,
};
use rayon::prelude::*;

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::comparison::{in_every_seed, paired_equal, paired_greater};
use crate::figures::{percent, seed_panel, significant};
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
        code: "HE06",
        chapter: Chapter::He,
        statement: "Under ReLU He's start does better than Xavier's, in a network with one hidden layer too.",
        source: "Seed document, answers 7 and 8.1",
        prediction: "One hidden layer loses a factor of 2 once, which training makes up in its first steps; what Xavier loses grows as 2^-L and counts \
             in deep networks only (HE05).",
        rule: "Refuted if in the notebook's model the mean test accuracies are shown to be equal within one and a half points (paired two one-sided t-tests), or \
             He's to be lower by more; supported if He's is shown to be higher by more than that; inconclusive otherwise. Twelve seeds \
             see a difference of half a point beyond the margin. The margin was widened from one point after a look.",
        expected: Verdict::Refuted,
        planted: &[Plant::Lopsided(20.0)],
        run: one_hidden_layer,
    },
    Claim {
        code: "HE07",
        chapter: Chapter::He,
        statement: "He's rule suits classification and regression alike.",
        source: "Seed document, answer 7",
        prediction: "Signal and gradient do not know what the output is for: a deep ReLU network that starts at He's scale learns either, one that \
             starts at Xavier's, with gradients 2^-L/2 as large, learns neither in the same time.",
        rule: "Supported if over paired seeds He's start is shown to be ahead of Xavier's in test accuracy by more than 0.05, and in a regression to \
             leave less of the variance unexplained by more than a tenth (paired t-tests, the second on logarithms), and in every seed He's \
             reaches 0.25 of accuracy and explains 0.4; refuted if it is shown not to be ahead in one of them, or misses a mark in a \
             seed. Depth, steps, targets, marks and the logarithm were chosen after a first look. Ten seeds see a difference of 0.15 in \
             accuracy and a ratio of 1.7.",
        expected: Verdict::Supported,
        planted: &[Plant::Lopsided(0.5)],
        run: both_tasks,
    },
];

fn one_hidden_layer(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::new(lab)?;
    let seeds = lab.budget.pick(12, 12, 30);
    let steps = lab.budget.pick(900, 3 * 1719, 10 * 1719);
    // The first of the starts that are compared.
    let lopsided = if let Some(Plant::Lopsided(factor)) = lab.plant { factor } else { 1.0 };
    let inits = [
        ("Xavier", format!("glorot_uniform(gain = {lopsided})")),
        ("He", "keras_he_normal".to_owned()),
    ];
    let mut jobs = Vec::new();
    for (_, text) in &inits {
        let network = lab.classifier(&[128], &text.parse::<Initializer>()?, &Activation::Relu)?;
        let protocol = Protocol { max_steps: Some(steps), ..Protocol::notebook() };
        jobs.extend((0..seeds).map(|seed| Job {
            network: network.clone(),
            protocol: protocol.clone(),
            seed: lab.seed + seed,
        }));
    }
    let accuracy = |_, fit: Fit| fit.model.evaluate(&data.test, 1.0 / 255.0).accuracy;
    let accuracies = fit_many_then(&jobs, &data.train, None, &|_, _| (), accuracy)?;
    let (xavier, he) = accuracies.split_at(seeds as usize);
    let what = "test accuracy: He minus Xavier, one hidden layer";
    let finding = paired_equal(lab, what, he, xavier, 0.015)?;
    let verdict = match finding.conclusion {
        Conclusion::Contradicted if finding.measured > 0.0 => Verdict::Supported,
        Conclusion::Holds | Conclusion::Contradicted => Verdict::Refuted,
        Conclusion::Undecided => Verdict::Inconclusive,
    };
    let mean = |values: &[f64]| percent(Moments::from(values).mean());
    let groups: Vec<_> =
        [("Xavier", xavier), ("He", he)].map(|(n, v)| (n.to_owned(), v.to_vec())).into();
    Ok(Outcome {
        verdict,
        sentence: format!(
            "With one hidden layer the mean test accuracy after {steps} steps was {} from He and {} from Xavier: a difference of {} \
             percentage points (interval {} to {}).",
            mean(he),
            mean(xavier),
            significant(100.0 * finding.measured),
            significant(100.0 * finding.low),
            significant(100.0 * finding.high),
        ),
        experiment: format!(
            "the notebook's 784-128-10 with ReLU on {}, Adam, {steps} steps of 32 images, {seeds} seeds, the same for both",
            lab.data.name
        ),
        figures: vec![
            Figure::new(
                "HE06-accuracies",
                "One hidden layer: He and Xavier do the same",
                format!(
                    "Coloured: {seeds} seeds. Dark: means with 95% intervals: Xavier {}, He {}.",
                    mean(xavier),
                    mean(he)
                ),
            )
            .panel(seed_panel("", "start", "test accuracy", &groups)?),
        ],
        tables: Vec::new(),
        findings: vec![finding],
    })
}

/// Pixels of a side after pooling; hidden layers of both tasks.
const SIDE: usize = 7;
const HIDDEN: usize = 16;
const WIDTH: usize = 64;
const TARGETS: usize = 3;

/// Training and test samples of one task.
struct Task {
    train: Vectors,
    test: Vectors,
    outputs: usize,
    loss: Loss,
}

fn both_tasks(lab: &Lab) -> Result<Outcome, ClaimError> {
    let seeds = lab.budget.pick(10, 10, 30);
    let steps = lab.budget.pick(200, 300, 300);
    let (classes, values) = tasks(lab)?;
    let lopsided = if let Some(Plant::Lopsided(factor)) = lab.plant { factor } else { 1.0 };
    let inits =
        [Initializer::scaled_normal(2.0f64.sqrt() * lopsided), Initializer::glorot_normal()];
    let mut jobs = Vec::new();
    for task in [&classes, &values] {
        for init in &inits {
            jobs.extend((0..seeds).map(|seed| (task, init, lab.seed + seed)));
        }
    }
    let scores = jobs
        .into_par_iter()
        .with_max_len(1)
        .map(|(task, init, seed)| score(task, init, steps, seed))
        .collect::<Result<Vec<f64>, ClaimError>>()?;
    let groups: Vec<&[f64]> = scores.chunks(seeds as usize).collect();
    let [he_classes, xavier_classes, he_values, xavier_values] =
        [groups[0], groups[1], groups[2], groups[3]];
    let n = seeds as usize;
    let above = |values: &[f64], mark: f64| values.iter().filter(|v| **v > mark).count();
    let unexplained = |values: &[f64]| values.iter().map(|v| (1.0 - v).ln()).collect::<Vec<f64>>();
    let (xavier_left, he_left) = (unexplained(xavier_values), unexplained(he_values));
    let what = "ln of the unexplained share of the variance: Xavier over He";
    let findings = vec![
        paired_greater(lab, "test accuracy: He over Xavier", he_classes, xavier_classes, 0.05)?,
        paired_greater(lab, what, &xavier_left, &he_left, 1.1f64.ln())?,
        in_every_seed("He: seeds with a test accuracy above 0.25", above(he_classes, 0.25), n),
        in_every_seed("He: seeds that explain more than 0.4", above(he_values, 0.4), n),
    ];
    let mean = |values: &[f64]| Moments::from(values).mean();
    let pair = |he: &[f64], xavier: &[f64]| -> Vec<(String, Vec<f64>)> {
        vec![("He".to_owned(), he.to_vec()), ("Xavier".to_owned(), xavier.to_vec())]
    };
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "With {HIDDEN} hidden ReLU layers He's start reached {} test accuracy after {steps} steps and Xavier's {}; in the regression He's \
             explained {} of the variance and Xavier's {}.",
            percent(mean(he_classes)),
            percent(mean(xavier_classes)),
            percent(mean(he_values)),
            percent(mean(xavier_values)),
        ),
        experiment: format!(
            "{HIDDEN} hidden layers of width {WIDTH} on {} pooled to {SIDE} x {SIDE} pixels; classes, or the ink's spread over rows and columns and \
             its slant, each of variance 1, with squared error; SGD with rate 0.005 and momentum 0.9, {steps} steps of 32 images, {n} seeds",
            lab.data.name
        ),
        figures: vec![
            Figure::new(
                "HE07-tasks",
                "Deep ReLU networks: He's start learns both tasks",
                format!(
                    "Coloured: {n} seeds. Dark: means with 95% intervals. Classification: He {}, Xavier {}; regression: {} and {}.",
                    percent(mean(he_classes)),
                    percent(mean(xavier_classes)),
                    percent(mean(he_values)),
                    percent(mean(xavier_values))
                ),
            )
            .panel(seed_panel(
                "classification",
                "start",
                "test accuracy",
                &pair(he_classes, xavier_classes),
            )?)
            .panel(seed_panel(
                "regression",
                "start",
                "explained share of the variance",
                &pair(he_values, xavier_values),
            )?),
        ],
        tables: Vec::new(),
        findings,
    })
}

/// Test accuracy, or the share of the targets' variance that is explained.
fn score(task: &Task, init: &Initializer, steps: u64, seed: u64) -> Result<f64, ClaimError> {
    let mut widths = vec![SIDE * SIDE];
    widths.extend([WIDTH; HIDDEN]);
    widths.push(task.outputs);
    let network = Network::perceptron(&widths, init, &Activation::Relu)?;
    let protocol = Protocol {
        max_steps: Some(steps),
        epochs: usize::MAX,
        batch: 32,
        optimizer: Optimizer::Momentum { rate: 0.005, momentum: 0.9, nesterov: false },
        loss: task.loss,
        ..Protocol::notebook()
    };
    let model = Model::new(&network, task.loss, seed)?;
    let fit = fit_data(model, Data::from(&task.train), None, &protocol, seed, &|_| ())?;
    let found = fit.model.evaluate_on(Data::from(&task.test), 1.0);
    Ok(match task.loss {
        Loss::CrossEntropy => found.accuracy,
        // Half the squared error, summed over targets of variance 1; a diverged fit explains nothing.
        Loss::SquaredError if found.loss.is_finite() => 1.0 - 2.0 * found.loss / TARGETS as f64,
        Loss::SquaredError => 0.0,
    })
}

/// The images' classes, and how their ink lies.
fn tasks(lab: &Lab) -> Result<(Task, Task), ClaimError> {
    let few = |split: &Split, most: usize| split.slice(0..split.len().min(most));
    let (train, test) = (few(&lab.data.train, 4000), few(&lab.data.test, 1000));
    let classes = lab.data.classes;
    let (width, inputs) = (SIDE * SIDE, |s: &Split| pooled(s));
    let labelled = |s: &Split| Vectors::with_classes(inputs(s), width, s.labels.clone(), classes);
    let (mut train_values, mut test_values) = (ink(&train), ink(&test));
    for target in 0..TARGETS {
        let moments: Moments = train_values.iter().map(|v| v[target]).collect();
        let (mean, std) = (moments.mean(), moments.sample_std().max(f64::MIN_POSITIVE));
        for values in [&mut train_values, &mut test_values] {
            values.iter_mut().for_each(|v| v[target] = (v[target] - mean) / std);
        }
    }
    let valued = |s: &Split, values: &[[f64; TARGETS]]| {
        let flat = values.iter().flatten().map(|v| *v as f32).collect();
        Vectors::with_values(inputs(s), width, flat, TARGETS)
    };
    Ok((
        Task {
            train: labelled(&train)?,
            test: labelled(&test)?,
            outputs: classes,
            loss: Loss::CrossEntropy,
        },
        Task {
            train: valued(&train, &train_values)?,
            test: valued(&test, &test_values)?,
            outputs: TARGETS,
            loss: Loss::SquaredError,
        },
    ))
}

/// Means of the pixels in each of 7 x 7 fields, from 0 to 1, divided by their root mean square.
fn pooled(split: &Split) -> Vec<f32> {
    let (w, h) = (split.width, split.height);
    let mut out = Vec::with_capacity(split.len() * SIDE * SIDE);
    for image in split.pixels.chunks_exact(w * h) {
        for field in 0..SIDE * SIDE {
            let (row, column) = (field / SIDE, field % SIDE);
            let (rows, columns) =
                (row * h / SIDE..(row + 1) * h / SIDE, column * w / SIDE..(column + 1) * w / SIDE);
            let n = (rows.len() * columns.len()).max(1) as f32;
            let sum: f32 =
                rows.flat_map(|r| &image[r * w..][columns.clone()]).map(|p| f32::from(*p)).sum();
            out.push(sum / n / 255.0);
        }
    }
    let square = out.iter().map(|v| v * v).sum::<f32>() / out.len() as f32;
    out.iter_mut().for_each(|v| *v /= square.sqrt());
    out
}

/// Spread of the ink over rows and over columns, and its slant: columns gained per row. (Its centre of
/// mass would not do: MNIST's digits are centred on it.)
fn ink(split: &Split) -> Vec<[f64; TARGETS]> {
    let width = split.width;
    let of = |image: &[u8]| {
        let places = image
            .iter()
            .enumerate()
            .map(|(place, &ink)| ((place / width) as f64, (place % width) as f64, f64::from(ink)));
        let mean = |f: &dyn Fn(f64, f64) -> f64| {
            let (mut sum, mut mass) = (0.0, 0.0);
            for (row, column, ink) in places.clone() {
                sum += ink * f(row, column);
                mass += ink;
            }
            sum / f64::max(mass, 1.0)
        };
        let (row, column) = (mean(&|r, _| r), mean(&|_, c| c));
        let rows = mean(&|r, _| (r - row).powi(2));
        let columns = mean(&|_, c| (c - column).powi(2));
        let slant = mean(&|r, c| (r - row) * (c - column)) / rows.max(1e-9);
        [rows.sqrt(), columns.sqrt(), slant]
    };
    split.pixels.chunks_exact(split.pixels_per_image()).map(of).collect()
}

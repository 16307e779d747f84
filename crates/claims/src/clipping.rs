//! Clipping, and how a training that may fail is judged.

use gainstage_report::{Axis, Figure, Mark, Panel, Point};
use gainstage_spec::{Activation, Initializer};
use gainstage_stats::Moments;
use gainstage_train::{Clip, Fit, Job, Optimizer, Protocol, fit_many};

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::comparison::{in_every_seed, paired_greater};
use crate::figures::percent;
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Steps over which a loss is averaged.
const WINDOW: usize = 25;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "MIT03",
    chapter: Chapter::Mitigations,
    statement: "Clipping the gradients keeps training from exploding.",
    source: "Seed document, answer 5; Pascanu, Mikolov & Bengio 2013",
    prediction: "Weights at 2.5 times He's scale make the outputs a hundred times too large (2.5^5), and the gradients with them; plain SGD throws the weights away in a \
         few steps. A bound on the norm of the whole gradient keeps its direction and makes the step one that can be survived. It \
         does not make the start a good one.",
    rule: "Supported if in every seed the training from 2.5 times He's scale ends without clipping no better than guessing (a loss that is no \
         number, or a mean of the last 25 steps above ln(classes) - 0.1), and with a bound of 1 on the norm reaches a test accuracy of 0.4; refuted if it \
         trains in some seed without clipping, or in some seed fails with it. That He's start without clipping does better still is \
         tested beside it (paired t-test; eight seeds see a difference of two points of accuracy). Scale, learning rate and the 0.4 were chosen \
         after a first look.",
    expected: Verdict::Supported,
    planted: &[Plant::ShuffledLabels, Plant::Gain(0.25)],
    run: clipping,
}];

/// Mean loss of the last steps; infinite where it is no number.
pub(crate) fn last_loss(fit: &Fit) -> f64 {
    let last = &fit.step_losses[fit.step_losses.len().saturating_sub(WINDOW)..];
    let mean = last.iter().map(|l| f64::from(*l)).sum::<f64>() / last.len() as f64;
    if fit.diverged.is_some() || !mean.is_finite() { f64::INFINITY } else { mean }
}

/// A training that ends above this loss has done no better than guessing.
pub(crate) fn guessing(lab: &Lab) -> f64 {
    (lab.data.classes as f64).ln() - 0.1
}

/// Loss against the step: means of windows of steps, over the seeds; it ends where a seed diverges.
pub(crate) fn mean_curve(fits: &[Fit]) -> Vec<(f64, f64)> {
    let windows = fits.iter().map(|f| f.step_losses.len() / WINDOW).min().unwrap_or(0);
    let at = |window: usize| {
        let losses =
            fits.iter().flat_map(|f| &f.step_losses[window * WINDOW..(window + 1) * WINDOW]);
        losses.map(|l| f64::from(*l)).sum::<f64>() / (fits.len() * WINDOW) as f64
    };
    (0..windows).map(|w| (((w + 1) * WINDOW) as f64, at(w))).filter(|p| p.1.is_finite()).collect()
}

/// Standard deviation of the too large start over He's.
const TOO_LARGE: f64 = 2.5;

fn clipping(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::new(lab)?;
    let seeds = lab.budget.pick(8, 10, 30);
    let steps = lab.budget.pick(500, 800, 1600);
    let large = Initializer::scaled_normal(2.0f64.sqrt() * TOO_LARGE);
    let by_norm = Some(Clip::Norm { bound: 1.0 });
    let cases = [
        ("2.5 x He, not clipped", &large, None),
        ("2.5 x He, clipped", &large, by_norm),
        ("He, not clipped", &Initializer::he_normal(), None),
    ];
    let mut jobs = Vec::new();
    for (_, init, clip) in cases {
        let network = lab.planted(&lab.classifier(&[64; 4], init, &Activation::Relu)?);
        let protocol = Protocol {
            max_steps: Some(steps),
            batch: 32,
            optimizer: Optimizer::Sgd { rate: 0.1 },
            clip,
            ..Protocol::notebook()
        };
        jobs.extend((0..seeds).map(|seed| Job {
            network: network.clone(),
            protocol: protocol.clone(),
            seed: lab.seed + seed,
        }));
    }
    let fits = fit_many(&jobs, &data.train, None, &|_, _| ())?;
    let groups: Vec<&[Fit]> = fits.chunks(seeds as usize).collect();
    let n = seeds as usize;
    let failed = groups[0].iter().filter(|f| last_loss(f) > guessing(lab)).count();
    let broken = groups[0].iter().filter(|f| f.diverged.is_some()).count();
    let accuracies = |group: &[Fit]| -> Vec<f64> {
        group.iter().map(|f| f.model.evaluate(&data.test, 1.0 / 255.0).accuracy).collect()
    };
    let (clipped, good) = (accuracies(groups[1]), accuracies(groups[2]));
    let learned = clipped.iter().filter(|a| **a > 0.4).count();
    let findings = vec![
        in_every_seed("2.5 x He, not clipped: seeds that end no better than guessing", failed, n),
        in_every_seed(
            "2.5 x He, clipped at norm 1: seeds with a test accuracy above 0.4",
            learned,
            n,
        ),
        paired_greater(
            lab,
            "test accuracy: He not clipped over 2.5 x He clipped",
            &good,
            &clipped,
            0.0,
        )?,
    ];
    let mean = |values: &[f64]| Moments::from(values).mean();
    let beside = match findings[2].conclusion {
        Conclusion::Holds => "which does better",
        Conclusion::Contradicted => "which does worse",
        Conclusion::Undecided => "not shown to differ",
    };
    Ok(Outcome {
        verdict: all_hold(&findings[..2], Verdict::Supported),
        sentence: format!(
            "From {TOO_LARGE} times He's scale plain SGD failed in {failed} of {n} seeds ({broken} with a loss that was no number); with the \
             gradient's norm clipped at 1 it learned in {learned} of {n} and reached {} test accuracy, against {} from He's start without \
             clipping, {beside}.",
            percent(mean(&clipped)),
            percent(mean(&good)),
        ),
        experiment: format!(
            "four hidden ReLU layers of width 64 on {}, SGD with rate 0.1, {steps} steps of 32 images, {n} seeds",
            lab.data.name
        ),
        figures: vec![clipping_figure(&cases.map(|c| c.0), &groups, n)],
        tables: Vec::new(),
        findings,
    })
}

/// Steps that the figure shows one by one.
const FIRST: usize = 12;

fn clipping_figure(names: &[&str; 3], groups: &[&[Fit]], seeds: usize) -> Figure {
    let panel = |title: &str| Panel::new(title, Axis::linear("step"), Axis::log10("training loss"));
    let (mut first, mut whole) = (panel("the first steps"), panel("all steps"));
    for (index, (name, group)) in names.iter().zip(groups).enumerate() {
        let lines: Vec<Vec<Point>> = group.iter().map(single_steps).collect();
        // The geometric mean, as far as every seed has a loss.
        let common = lines.iter().map(Vec::len).min().unwrap_or(0);
        let mean = (0..common).map(|i| {
            let logs = lines.iter().map(|l| l[i].y.max(f64::MIN_POSITIVE).ln()).sum::<f64>();
            (lines[0][i].x, (logs / lines.len() as f64).exp())
        });
        first.marks.push(Mark::line(*name, index + 1, mean.collect()));
        first.marks.push(Mark::Thin { colour: index + 1, lines });
        let curve = mean_curve(group);
        if !curve.is_empty() {
            whole.marks.push(Mark::line(*name, index + 1, curve));
        }
    }
    let text = format!(
        "Training loss. Left: every step, thin for {seeds} seeds and bold for their geometric mean; without clipping the loss of the too large \
         start leaps up until it is no number. Right: means of {WINDOW} steps over the seeds that are left."
    );
    Figure::new("MIT03-clipping", "A bound on the gradient's norm saves a bad start", text)
        .panel(first)
        .panel(whole)
}

/// The first steps' losses, as long as they are numbers.
fn single_steps(fit: &Fit) -> Vec<Point> {
    let losses = fit.step_losses.iter().take(FIRST).enumerate();
    losses
        .map(|(i, l)| Point::new((i + 1) as f64, f64::from(*l)))
        .take_while(|p| p.y.is_finite())
        .collect()
}

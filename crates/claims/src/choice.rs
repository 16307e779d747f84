//! Which starts bear large learning rates, and whether a validation set finds the best of them.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};
use gainstage_spec::{Activation, Initializer};
use gainstage_stats::{Moments, Probability, clopper_pearson_interval};
use gainstage_train::{Job, Optimizer, Protocol, fit_many_then};

use crate::claim::{Chapter, Claim, Outcome, Verdict};
use crate::comparison::{in_every_seed, paired_equal, paired_greater};
use crate::curves::last_loss;
use crate::figures::{percent, significant};
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const SCALE: f64 = 1.0 / 255.0;
const WINDOW: usize = 25;
/// Learning rates of SEL05, each twice the one before.
const RATES: usize = 8;
const FIRST_RATE: f64 = 0.02;

pub(crate) const CLAIMS: [Claim; 2] = [
    Claim {
        code: "SEL05",
        chapter: Chapter::Choosing,
        statement: "Some initializations train more stably than others.",
        source: "Seed document, answer 8 (training stability)",
        prediction: "The loss is curved in a layer's weights by the squares of all other layers' gains, so the largest stable learning rate falls as \
             the weights grow; theory at birth gives no number, because training moves toward gentler places. Too small weights bear \
             large rates and learn nothing at small ones.",
        rule: "A run fails if its loss is not finite or its last 25 steps' mean is above 87% of ln(classes), where little or nothing is learned. \
             Supported if, in every seed, the largest of eight rates (0.02 to 2.56, each twice the one before) that does not fail is for He and \
             for Xavier at least twice that for four times He's weights, and at rate 0.04 He's does not fail where std 0.01 does. Refuted if one \
             of these is not so. The levels were set after a look at three seeds, in which the factor was 4 to 8.",
        expected: Verdict::Supported,
        planted: &[Plant::Lopsided(4.0), Plant::ShuffledLabels],
        run: stability,
    },
    Claim {
        code: "SEL07",
        chapter: Chapter::Choosing,
        statement: "A validation set picks the best initialization.",
        source: "Seed document, answer 8 (empirical performance)",
        prediction: "Validation and test accuracy of the same model differ by sampling alone, about 0.6 percentage points for 3,000 images each. Starts that \
             differ by more are told apart; among He, Xavier and LeCun, which do not, the choice is often not the test's best, and \
             costs next to nothing.",
        rule: "Supported, in the sense that matters, if the chosen start's test accuracy is below the best one's by less than 2 percentage points in the mean \
             (paired test), above the average candidate's by more than 8, and never, in any seed, more than 3 points below the best. \
             Refuted if one is contradicted. How often the choice is the test's best is reported with its interval and decides \
             nothing. The margins were set after a look at eight seeds.",
        expected: Verdict::Supported,
        planted: &[Plant::ShuffledLabels],
        run: validation,
    },
];

const STARTS: [&str; 4] = ["He", "Xavier", "4 x He", "std 0.01"];

fn rate(index: usize) -> f64 {
    FIRST_RATE * 2f64.powi(index as i32)
}

fn stability(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::at_most(lab, 20_000, 1)?;
    let (seeds, steps) = (lab.budget.pick(3, 10, 30), 150);
    let starts = [
        lab.first_start(&Initializer::he_normal()),
        Initializer::glorot_normal(),
        Initializer::scaled_normal(32f64.sqrt()),
        Initializer::normal(0.01),
    ];
    let mut jobs = Vec::new();
    for init in &starts {
        let network = lab.classifier(&[64, 64], init, &Activation::Relu)?;
        for index in 0..RATES {
            for seed in 0..seeds as u64 {
                let optimizer = Optimizer::Sgd { rate: rate(index) };
                let protocol =
                    Protocol { optimizer, max_steps: Some(steps), ..Protocol::notebook() };
                jobs.push(Job { network: network.clone(), protocol, seed: lab.seed + seed });
            }
        }
    }
    let level = 0.87 * (lab.data.classes as f64).ln();
    let fails = fit_many_then(&jobs, &data.train, None, &|_, _| (), |_, fit| {
        !(last_loss(&fit, WINDOW) <= level)
    })?;
    let failed =
        |start: usize, index: usize, seed: usize| fails[(start * RATES + index) * seeds + seed];
    // 0 if every rate fails.
    let largest = |start: usize, seed: usize| {
        (0..RATES).rev().find(|&i| !failed(start, i, seed)).map_or(0.0, rate)
    };
    let count = |holds: &dyn Fn(usize) -> bool| (0..seeds).filter(|&s| holds(s)).count();
    let above = |start: usize| {
        count(&|s| largest(start, s) > 0.0 && largest(start, s) >= 2.0 * largest(2, s))
    };
    let findings = vec![
        in_every_seed(
            "He: seeds whose largest rate is at least twice that of 4 x He",
            above(0),
            seeds,
        ),
        in_every_seed(
            "Xavier: seeds whose largest rate is at least twice that of 4 x He",
            above(1),
            seeds,
        ),
        in_every_seed(
            "seeds in which, at rate 0.04, He does not fail and std 0.01 does",
            count(&|s| !failed(0, 1, s) && failed(3, 1, s)),
            seeds,
        ),
    ];
    let share =
        |start: usize, index: usize| count(&|s| failed(start, index, s)) as f64 / seeds as f64;
    let typical = |start: usize| {
        let rates: f64 = (0..seeds).map(|s| largest(start, s)).sum();
        rates / seeds as f64
    };
    let mut panel = Panel::new(
        "",
        Axis::log10("learning rate"),
        Axis::linear("share of runs that fail").over(-0.05, 1.05),
    );
    let mut table = Table::new(
        "SEL05-rates",
        "Largest learning rate that does not fail (mean over seeds; 0 if all fail) and share of all runs that fail",
        &["start", "largest rate", "share of runs that fail"],
    );
    for (start, name) in STARTS.iter().enumerate() {
        // Steps of a share lie on each other: each start is drawn a little beside the last.
        let place = |i: usize| rate(i) * (1.0 + 0.04 * start as f64);
        let points = (0..RATES).map(|i| (place(i), share(start, i))).collect();
        panel.marks.push(Mark::line(*name, start + 1, points));
        let all = (0..RATES).map(|i| share(start, i)).sum::<f64>() / RATES as f64;
        table.push(vec![Cell::text(*name), Cell::number(typical(start)), Cell::number(all)]);
    }
    let text = format!(
        "Share of {seeds} seeds that fail after {steps} steps of SGD, against the learning rate. Largest rate that does not fail: He {}, Xavier {}, \
         four times He {}, std 0.01 {} (which fails at small rates because it does not begin to learn).",
        significant(typical(0)),
        significant(typical(1)),
        significant(typical(2)),
        significant(typical(3))
    );
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "The largest learning rate that trains was {} with He and {} with Xavier, {} with four times He's weights; std 0.01 bore {}, but learned \
             nothing at {} of 8 rates.",
            significant(typical(0)),
            significant(typical(1)),
            significant(typical(2)),
            significant(typical(3)),
            (0..RATES).filter(|&i| share(3, i) > 0.5).count()
        ),
        experiment: format!(
            "784-64-64-10 with ReLU on {}, plain SGD, {steps} steps of 32 images, {seeds} seeds a rate",
            lab.data.name
        ),
        figures: vec![
            Figure::new("SEL05-stability", "Too large weights bear only small steps", text)
                .panel(panel),
        ],
        tables: vec![table],
        findings,
    })
}

fn candidates() -> [(&'static str, Initializer); 8] {
    [
        ("He normal", Initializer::he_normal()),
        ("He uniform", Initializer::he_uniform()),
        ("Xavier normal", Initializer::glorot_normal()),
        ("Xavier uniform", Initializer::glorot_uniform()),
        ("LeCun normal", Initializer::lecun_normal()),
        ("std 0.01", Initializer::normal(0.01)),
        ("std 1", Initializer::normal(1.0)),
        ("zero", Initializer::zeros()),
    ]
}

/// The first of the largest.
fn best(values: &[f64]) -> usize {
    (0..values.len()).fold(0, |b, i| if values[i] > values[b] { i } else { b })
}

fn validation(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::at_most(lab, 1000, 3000)?;
    let (seeds, epochs) = (lab.budget.pick(10, 20, 60), lab.budget.pick(6, 10, 15));
    let candidates = candidates();
    let mut jobs = Vec::new();
    for seed in 0..seeds as u64 {
        for (_, init) in &candidates {
            let network = lab.classifier(&[32], init, &Activation::Relu)?;
            let protocol = Protocol { epochs, ..Protocol::notebook() };
            jobs.push(Job { network, protocol, seed: lab.seed + seed });
        }
    }
    let accuracies = fit_many_then(&jobs, &data.train, None, &|_, _| (), |_, fit| {
        let of = |images| fit.model.evaluate(images, SCALE).accuracy;
        (of(&data.validation), of(&data.test))
    })?;
    let runs: Vec<(Vec<f64>, Vec<f64>)> =
        accuracies.chunks(candidates.len()).map(|run| run.iter().copied().unzip()).collect();
    let chosen: Vec<f64> = runs.iter().map(|(v, t)| t[best(v)]).collect();
    let top: Vec<f64> = runs.iter().map(|(_, t)| t[best(t)]).collect();
    let average: Vec<f64> =
        runs.iter().map(|(_, t)| t.iter().sum::<f64>() / t.len() as f64).collect();
    // As many candidates may share the top: the choice is right if it is one of them.
    let right = chosen.iter().zip(&top).filter(|(c, t)| c == t).count();
    let near = chosen.iter().zip(&top).filter(|(c, t)| *t - *c <= 0.03).count();
    let findings = vec![
        paired_equal(
            lab,
            "test accuracy of the chosen start less the best one's",
            &chosen,
            &top,
            0.02,
        )?,
        paired_greater(
            lab,
            "test accuracy of the chosen start less the average candidate's",
            &chosen,
            &average,
            0.08,
        )?,
        in_every_seed(
            "seeds in which the chosen start is within 3 points of the best",
            near,
            seeds,
        ),
    ];
    let interval = clopper_pearson_interval(right as u64, seeds as u64, Probability::P95)?;
    let mean = |values: &[f64]| values.iter().copied().collect::<Moments>().mean();
    let regret = mean(&top) - mean(&chosen);
    let mut table = Table::new(
        "SEL07-choices",
        "How often each start is chosen by validation, how often it is the test's best, and its mean test accuracy",
        &["start", "chosen", "best", "test accuracy"],
    );
    for (index, (name, _)) in candidates.iter().enumerate() {
        let times = |of: &dyn Fn(&(Vec<f64>, Vec<f64>)) -> usize| {
            Cell::number(runs.iter().filter(|r| of(r) == index).count() as f64)
        };
        let test: Vec<f64> = runs.iter().map(|(_, t)| t[index]).collect();
        table.push(vec![
            Cell::text(*name),
            times(&|(v, _)| best(v)),
            times(&|(_, t)| best(t)),
            Cell::number(mean(&test)),
        ]);
    }
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Validation chose the test's best start in {right} of {seeds} seeds (95% interval {} to {}), and lost {} percentage points of test accuracy to \
             it in the mean; the average of {} candidates was {} points below the choice.",
            percent(interval.low),
            percent(interval.high),
            significant(100.0 * regret),
            candidates.len(),
            significant(100.0 * (mean(&chosen) - mean(&average))),
        ),
        experiment: format!(
            "784-32-10 with ReLU, eight starts, 1,000 training images of {}, Adam, {epochs} epochs, {} images for validation and {} for the test, {seeds} seeds",
            lab.data.name,
            data.validation.len(),
            data.test.len()
        ),
        figures: vec![validation_figure(&runs)],
        tables: vec![table],
        findings,
    })
}

fn validation_figure(runs: &[(Vec<f64>, Vec<f64>)]) -> Figure {
    let mut panel =
        Panel::new("", Axis::linear("validation accuracy"), Axis::linear("test accuracy"));
    let pairs = |of: &dyn Fn(usize) -> bool| {
        let dots = |(v, t): &(Vec<f64>, Vec<f64>)| {
            let all = v.iter().zip(t).enumerate().filter(|(i, _)| of(*i));
            all.map(|(_, (v, t))| Point::new(*v, *t)).collect::<Vec<_>>()
        };
        runs.iter().flat_map(dots).collect::<Vec<_>>()
    };
    for (name, colour, from, to) in [
        ("He, Xavier, LeCun", 1, 0, 5),
        ("std 0.01", 2, 5, 6),
        ("std 1", 3, 6, 7),
        ("zero", 4, 7, 8),
    ] {
        panel.marks.push(Mark::points(name, colour, pairs(&|i| (from..to).contains(&i))));
    }
    panel.marks.push(Mark::dashed("equal", 0, vec![(0.0, 0.0), (1.0, 1.0)]));
    let text = "Each trained model's accuracy on validation and test images. Bad starts stand far from good ones on both; the good ones lie in one cloud.";
    Figure::new("SEL07-accuracies", "Validation tells bad from good, not good from good", text)
        .panel(panel)
}

//! Whether a better start trains faster.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};
use gainstage_spec::{Activation, Initializer, Network};
use gainstage_train::{Loss, Model, Protocol, Training};
use rayon::prelude::*;

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::comparison::{in_every_seed, paired_equal};
use crate::figures::significant;
use crate::training::{Prepared, batch_at};
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Hidden layers.
const DEPTHS: [usize; 4] = [1, 5, 10, 30];
/// Steps over which a loss is averaged.
const WINDOW: usize = 5;
/// The training loss that is waited for.
const LEVEL: f64 = 1.5;
/// What counts as clearly more steps.
const FACTOR: f64 = 2.5;
/// No start gets more steps than this.
const MOST_STEPS: usize = 2000;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "CNV01",
    chapter: Chapter::Training,
    statement: "A proper initialization converges faster.",
    source: "Seed document, answers 1.3 and 2.3",
    prediction: "He's weights keep the signal at any depth. Weights of std 0.05 (the default of Keras's RandomNormal) are He's in the first layer, \
             sqrt(2/784) = 0.0505, so that with one hidden layer only the output layer is smaller. Every further layer of 64 units \
             multiplies the second moment by 64 * 0.05^2 / 2 = 0.08, forward and backward: 1e-10 at ten hidden layers.",
    rule: "Steps until the training loss (mean of five steps) is below 1.5. Qualified if with one hidden layer the ratio of steps, std 0.05 over \
             He, is shown to be within a factor of 2.5 of 1 (paired test on its logarithm), and with 10 and 30 hidden layers He gets there in every \
             seed and std 0.05 not within 2.5 times He's steps. Supported if the ratio is shown to be above 2.5 with one hidden layer too; refuted if the deep \
             networks gain less than that. The level and the factor were set after first looks, in which the ratio at one layer was 1.3 to 1.6; 5 layers are shown beside it.",
    expected: Verdict::Qualified,
    planted: &[Plant::Lopsided(0.05)],
    run: faster,
}];

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
    Figure::new("CNV01-depth", "A proper start is faster where the network is deep", text)
        .panel(panel)
}

//! What decides on the start: the activation, the depth, the task.

use std::sync::Arc;

use gainstage_data::{Dataset, Split};
use gainstage_report::{Axis, ColourMap, Figure, Mark, Panel, Point};
use gainstage_spec::{Activation, Initializer};
use gainstage_stats::{Moments, Probability, mean_interval};
use gainstage_train::Job;

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::comparison::{in_every_seed, mean_greater, paired_equal, paired_greater};
use crate::figures::{percent, significant};
use crate::trainability::{BATCH, IMAGES, Map, WIDTH, protocol, trained};
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const STEPS: u64 = 240;

/// Doublings of depth that count.
const DEEPER: f64 = 1.0 / 3.0;

pub(crate) const CLAIMS: [Claim; 3] = [
    Claim {
        code: "SEL01",
        chapter: Chapter::Choosing,
        statement: "The activation decides which initialization works.",
        source: "Seed document, the considerations after answer 8, 1",
        prediction: "An initialization reaches deep where it keeps the error signal. Under ReLU that is He's sigma_w^2 = 2, and Xavier's 1 halves it per layer; \
                     tanh has slope 1 at zero, so that Xavier is at its edge of chaos and He slightly beyond; sigmoid's slope of at most 1/4 lets at most \
                     sigma_w^2/16 through and none of the three reaches anywhere; and uniform on +-1/sqrt(n), sigma_w^2 = 1/3, fails under all.",
        rule: "Reach: the largest depth of the map down to which all depths learn, where learned is that of VAN03. Supported if, on the mean over seeds, He \
               reaches a third of a doubling deeper than Xavier under ReLU and Xavier that much deeper under tanh than under ReLU, and in every seed nothing \
               learns through three layers of sigmoid; refuted if not. Of 40 quick \
               runs, roots 1 to 40, none came below two thirds: false alarms in less than 8% of runs, at 95%. Every seed by itself was asked for before that \
               look, in which one seed in eight had He no deeper than Xavier; and twice as deep before one at a finer map, on which 8 \
               of 10 seeds had it.",
        expected: Verdict::Supported,
        planted: &[Plant::ShuffledLabels, Plant::Gain(1.5)],
        run: activations,
    },
    Claim {
        code: "SEL02",
        chapter: Chapter::Choosing,
        statement: "The deeper the network, the more the initialization matters.",
        source: "Seed document, the considerations after answer 8, 2",
        prediction: "Under ReLU Xavier's signal is 2^-L of He's: a factor of 2 behind one hidden layer, which training does not notice, and 4096 behind \
                     twelve, which it does.",
        rule: "Supported if the mean test accuracies of He and Xavier are shown equal within 0.04 at one hidden layer and He's is shown to exceed Xavier's by \
               more than 0.03 at twelve (paired over seeds); refuted if one is shown to be otherwise.",
        expected: Verdict::Supported,
        planted: &[Plant::ShuffledLabels, Plant::Lopsided(0.1)],
        run: depths,
    },
    Claim {
        code: "SEL03",
        chapter: Chapter::Choosing,
        statement: "Simpler tasks are less sensitive to the initialization.",
        source: "Seed document, the considerations after answer 8, 3",
        prediction: "An easier task needs fewer and smaller steps, so that a start from which training sets out slowly or roughly still arrives. But a \
                     start without a signal learns neither.",
        rule: "Easier: the images of the first two classes only; harder: all classes of the same images; same network, rate and steps. Sensitivity: the mean \
               over starts of what a start falls short of the best one, in accuracy above guessing as a share of what there is to gain. \
               Supported if the harder task's is shown to exceed the easier one's by more than 0.02 (paired over seeds), refuted if it is shown not to. It \
               says nothing of tasks that differ otherwise.",
        expected: Verdict::Supported,
        planted: &[Plant::ShuffledLabels],
        run: tasks,
    },
];

/// sigma_w^2 of the initializations that are compared.
const STARTS: [(&str, f64); 3] = [("1/√n", 1.0 / 3.0), ("Xavier", 1.0), ("He", 2.0)];

fn activations(lab: &Lab) -> Result<Outcome, ClaimError> {
    let relu = lab.relu_map()?;
    let variances: Vec<f64> = STARTS.iter().map(|s| s.1).collect();
    let map = |phi: &Activation, depths: &[usize]| {
        let size = (relu.seeds, STEPS);
        Map::new(lab, phi, 0.0, variances.clone(), depths.to_vec(), size)
    };
    let tanh = map(&Activation::Tanh, &relu.depths)?;
    // What does not learn through three layers has no reach, whatever it does deeper.
    let sigmoid = map(&Activation::Sigmoid, &relu.depths[..2])?;
    let n = relu.seeds;
    let column = |map: &Map, variance: f64| {
        map.weight_variances.iter().position(|v| *v == variance).unwrap_or_default()
    };
    let reach =
        |map: &Map, start: usize, seed: usize| map.reach(column(map, STARTS[start].1), seed);
    let (xavier, he) = (1, 2);
    let count = |good: &dyn Fn(usize) -> bool| (0..n).filter(|seed| good(*seed)).count();
    // Doublings, so that no network that learns nowhere is infinitely worse.
    let doublings = |map: &Map, start: usize| -> Vec<f64> {
        (0..n).map(|seed| (reach(map, start, seed).max(1) as f64).log2()).collect()
    };
    let findings = vec![
        mean_greater(
            "ReLU: doublings of depth by which He reaches deeper than Xavier",
            &doublings(&relu, he),
            &doublings(&relu, xavier),
            DEEPER,
        ),
        mean_greater(
            "Xavier: doublings of depth by which it reaches deeper under tanh than under ReLU",
            &doublings(&tanh, xavier),
            &doublings(&relu, xavier),
            DEEPER,
        ),
        in_every_seed(
            "sigmoid: seeds in which none of the three learns through three layers",
            count(&|s| (0..STARTS.len()).all(|start| reach(&sigmoid, start, s) == 0)),
            n,
        ),
    ];
    let maps = [("ReLU", &relu), ("tanh", &tanh), ("sigmoid", &sigmoid)];
    let mean = |map: &Map, start: usize| {
        (0..n).map(|s| reach(map, start, s) as f64).sum::<f64>() / n as f64
    };
    let values = maps
        .iter()
        .flat_map(|(_, map)| (0..STARTS.len()).map(|start| mean(map, start)))
        .collect::<Vec<_>>();
    let heat = Mark::HeatMap {
        xs: (0..STARTS.len()).map(|i| i as f64).collect(),
        ys: (0..maps.len()).map(|i| i as f64).collect(),
        values: values.clone(),
        map: ColourMap::Sequential,
    };
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let mut panel = Panel::new(
        "layers reached",
        Axis::categories("initialization", names(&STARTS.map(|s| s.0))),
        Axis::categories("activation", names(&maps.map(|m| m.0))),
    )
    .mark(heat);
    for (index, value) in values.iter().enumerate() {
        let (x, y) = ((index % STARTS.len()) as f64, (index / STARTS.len()) as f64);
        panel.marks.push(Mark::Text { x: x - 0.03, y, text: significant(*value) });
    }
    let deepest = relu.depths[relu.depths.len() - 1];
    let text = format!(
        "Mean over {n} seeds of the largest number of hidden layers, up to {deepest}, down to which networks learned in {STEPS} steps; 0: not even {}.",
        relu.depths[0]
    );
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Xavier reached {} layers under ReLU and {} under tanh, He {} and {}, weights uniform on +-1/sqrt(n) {} and {}; through three layers of sigmoid \
             none of them learned (of at most {deepest} layers).",
            significant(values[1]),
            significant(values[4]),
            significant(values[2]),
            significant(values[5]),
            significant(values[0]),
            significant(values[3]),
        ),
        experiment: format!(
            "networks of width {WIDTH} on {}, zero biases, depths {:?}, normal weights of variance 1/3, 1 and 2 over fan-in; SGD with rate 0.01 and \
             momentum 0.9, {STEPS} steps of {BATCH} images, {n} seeds a cell; ReLU's are those of VAN03",
            lab.data.name, relu.depths
        ),
        figures: vec![
            Figure::new("SEL01-reach", "Which start works depends on the activation", text)
                .panel(panel),
        ],
        tables: Vec::new(),
        findings,
    })
}

/// Mean with a 95% interval, at this place.
fn dot(x: f64, values: &[f64]) -> Result<Point, ClaimError> {
    let i = mean_interval(&Moments::from(values), Probability::P95)?;
    Ok(Point::with_interval(x, i.estimate, i.low, i.high))
}

fn depths(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::at_most(lab, IMAGES, 1000)?;
    let seeds = lab.budget.pick(14, 16, 30);
    let quick = lab.budget == crate::Budget::Quick;
    let depths: &[usize] = if quick { &[1, 4, 12] } else { &[1, 2, 4, 8, 12] };
    let lopsided = if let Some(Plant::Lopsided(factor)) = lab.plant { factor } else { 1.0 };
    let he = 2f64.sqrt() * lopsided;
    let mut jobs = Vec::new();
    for &depth in depths {
        for init in [Initializer::scaled_normal(he), Initializer::glorot_normal()] {
            let network = lab.classifier(&vec![WIDTH; depth], &init, &Activation::Relu)?;
            for seed in 0..seeds {
                let seed = lab.seed + seed;
                jobs.push(Job { network: network.clone(), protocol: protocol(STEPS), seed });
            }
        }
    }
    let accuracies: Vec<f64> = trained(&jobs, &data)?.iter().map(|t| t.accuracy).collect();
    let groups: Vec<&[f64]> = accuracies.chunks(seeds as usize).collect();
    let pair = |index: usize| (groups[2 * index], groups[2 * index + 1]);
    let last = depths.len() - 1;
    let what = |depth: usize| format!("{depth} hidden layers: test accuracy, He minus Xavier");
    let (he, xavier) = pair(0);
    let (deep_he, deep_xavier) = pair(last);
    let findings = vec![
        paired_equal(lab, what(depths[0]), he, xavier, 0.04)?,
        paired_greater(lab, what(depths[last]), deep_he, deep_xavier, 0.03)?,
    ];
    let mut panel = Panel::new("", Axis::log10("hidden layers"), Axis::linear("test accuracy"));
    for (colour, name) in ["He", "Xavier"].into_iter().enumerate() {
        let mut dots = Vec::new();
        for (index, &depth) in depths.iter().enumerate() {
            dots.push(dot(depth as f64, groups[2 * index + colour])?);
        }
        let line = dots.iter().map(|p| (p.x, p.y)).collect();
        panel.marks.push(Mark::line(name, colour + 1, line));
        panel.marks.push(Mark::points("", colour + 1, dots));
    }
    let mean = |values: &[f64]| percent(Moments::from(values).mean());
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Behind one hidden layer He and Xavier reached {} and {}, behind {} {} and {}.",
            mean(he),
            mean(xavier),
            depths[last],
            mean(deep_he),
            mean(deep_xavier)
        ),
        experiment: format!(
            "ReLU networks of width {WIDTH} on {}, {depths:?} hidden layers, SGD with rate 0.01 and momentum 0.9, {STEPS} steps of {BATCH} images, {seeds} \
             seeds",
            lab.data.name
        ),
        figures: vec![
            Figure::new(
                "SEL02-gap",
                "The deeper, the wider the gap",
                "Means over seeds with 95% intervals.",
            )
            .panel(panel),
        ],
        tables: Vec::new(),
        findings,
    })
}

/// sigma_w^2 of the starts of the two tasks.
const SCALES: [f64; 5] = [0.125, 0.25, 0.5, 2.0, 8.0];
/// Hidden layers there.
const TASK_DEPTH: usize = 3;

/// The images of the first classes.
fn first_classes(split: &Split, classes: u8) -> Split {
    let kept: Vec<usize> = (0..split.len()).filter(|i| split.labels[*i] < classes).collect();
    let pixels = kept.iter().flat_map(|&i| split.pixels_of(i..i + 1).iter().copied()).collect();
    Split { pixels, labels: kept.iter().map(|&i| split.labels[i]).collect(), ..*split }
}

/// Test accuracy above guessing, as a share of what there is to gain: start by start, seed by seed.
fn gains(lab: &Lab, seeds: u64) -> Result<Vec<Vec<f64>>, ClaimError> {
    let data = Prepared::at_most(lab, IMAGES, 1000)?;
    let mut jobs = Vec::new();
    for variance in SCALES {
        let init = Initializer::scaled_normal(variance.sqrt());
        let network = lab.classifier(&[WIDTH; TASK_DEPTH], &init, &Activation::Relu)?;
        let job =
            |i| Job { network: network.clone(), protocol: protocol(STEPS), seed: lab.seed + i };
        jobs.extend((0..seeds).map(job));
    }
    let chance = 1.0 / lab.data.classes as f64;
    let gained: Vec<f64> =
        trained(&jobs, &data)?.iter().map(|t| (t.accuracy - chance) / (1.0 - chance)).collect();
    Ok(gained.chunks(seeds as usize).map(<[f64]>::to_vec).collect())
}

/// What the starts fall short of the best one, on average, seed by seed.
fn sensitivity(gains: &[Vec<f64>]) -> Vec<f64> {
    let seeds = 0..gains[0].len();
    seeds
        .map(|seed| {
            let best = gains.iter().map(|g| g[seed]).fold(f64::NEG_INFINITY, f64::max);
            gains.iter().map(|g| best - g[seed]).sum::<f64>() / gains.len() as f64
        })
        .collect()
}

fn tasks(lab: &Lab) -> Result<Outcome, ClaimError> {
    let seeds = lab.budget.pick(10, 16, 30);
    let data = &lab.data;
    let two = Dataset {
        name: data.name.clone(),
        source: data.source.clone(),
        classes: 2,
        train: first_classes(&data.train, 2),
        test: first_classes(&data.test, 2),
    };
    let easier = gains(&Lab { data: Arc::new(two), ..lab.clone() }, seeds)?;
    let harder = gains(lab, seeds)?;
    let (easy, hard) = (sensitivity(&easier), sensitivity(&harder));
    let what = "what the starts fall short of the best, all classes minus two";
    let findings = vec![paired_greater(lab, what, &hard, &easy, 0.02)?];
    let mut panel = Panel::new("", Axis::log10("weight variance σ_w²"), Axis::linear("gained"));
    let all = format!("{} classes", data.classes);
    for (colour, (name, gains)) in
        [("two classes", &easier), (all.as_str(), &harder)].into_iter().enumerate()
    {
        let mut dots = Vec::new();
        for (variance, gains) in SCALES.iter().zip(gains) {
            dots.push(dot(*variance, gains)?);
        }
        let line = dots.iter().map(|p| (p.x, p.y)).collect();
        panel.marks.push(Mark::line(name, colour + 1, line));
        panel.marks.push(Mark::points("", colour + 1, dots));
    }
    let mean = |values: &[f64]| significant(Moments::from(values).mean());
    Ok(Outcome {
        verdict: match findings[0].conclusion {
            Conclusion::Holds => Verdict::Supported,
            Conclusion::Contradicted => Verdict::Refuted,
            Conclusion::Undecided => Verdict::Inconclusive,
        },
        sentence: format!(
            "Over {} starts from sigma_w^2 = {} to {} a start fell short of the best by {} of what there is to gain on all {} classes and by {} on two.",
            SCALES.len(),
            SCALES[0],
            SCALES[SCALES.len() - 1],
            mean(&hard),
            data.classes,
            mean(&easy)
        ),
        experiment: format!(
            "{TASK_DEPTH} ReLU layers of width {WIDTH} on {}, SGD with rate 0.01 and momentum 0.9, {STEPS} steps of {BATCH} images, {seeds} seeds a start",
            data.name
        ),
        figures: vec![
            Figure::new(
                "SEL03-tasks",
                "A harder task notices the start more",
                "Test accuracy above guessing, as a share of what there is to gain; means over seeds with 95% intervals.",
            )
            .panel(panel),
        ],
        tables: Vec::new(),
        findings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sensitivity_is_the_mean_shortfall_of_each_seed() {
        // Starts fall short by 0, 0.3 and 0.6 in the first seed, by nothing in the second.
        let gains = [vec![0.9, 0.5], vec![0.6, 0.5], vec![0.3, 0.5]];
        let found = sensitivity(&gains);
        assert!((found[0] - 0.3).abs() < 1e-12 && found[1] == 0.0);
    }

    #[test]
    fn images_of_the_first_classes_keep_their_labels() {
        let split =
            Split { width: 1, height: 1, pixels: vec![10, 20, 30, 40], labels: vec![1, 2, 0, 1] };
        let kept = first_classes(&split, 2);
        assert_eq!((kept.pixels, kept.labels), (vec![10, 30, 40], vec![1, 0, 1]));
    }
}

//! How biases may start.

use gainstage_report::Figure;
use gainstage_spec::{Activation, Initializer, Layer};
use gainstage_stats::Moments;
use gainstage_train::{Fit, Job, Protocol, fit_many_then};

use crate::claim::{Chapter, Claim, Outcome, Verdict};
use crate::comparison::{paired_equal, paired_greater};
use crate::figures::{percent, seed_panel};
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Name and initializer of the biases of every layer.
const STARTS: [(&str, &str); 5] = [
    ("zero", "zeros"),
    ("0.1", "constant(0.1)"),
    ("normal(0.1)", "normal(std = 0.1)"),
    ("+-1/sqrt(n)", "pytorch_linear"),
    ("-5", "constant(-5)"),
];
const MARGIN: f64 = 0.02;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "RND02",
    chapter: Chapter::Signal,
    statement: "Biases may start at zero, at a small constant, or at random.",
    source: "Seed document, answer 5",
    prediction: "Random weights have broken the symmetry; a small bias moves the pre-activations, whose second moment is of order one, by \
         little, and the first steps move it away. A large negative constant is another matter: it switches every ReLU off.",
    rule: "Supported if the test accuracies from a constant of 0.1, from normal(0.1) and from PyTorch's uniform law equal that from zero within \
         two points over paired seeds, and zero's is shown to be above 0.7; that -5 is worse by more than two points must be shown too. \
         Refuted if one of these is shown to be otherwise. Ten seeds see a difference of about one point beyond the margin. Seeds and steps were lowered after a look.",
    expected: Verdict::Supported,
    planted: &[Plant::Lopsided(10.0), Plant::ShuffledLabels],
    run: biases,
}];

fn biases(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::new(lab)?;
    let seeds = lab.budget.pick(10, 12, 30);
    let steps = lab.budget.pick(300, 1719, 3 * 1719);
    let mut jobs = Vec::new();
    for (index, (_, text)) in STARTS.iter().enumerate() {
        let gain = match lab.plant {
            Some(Plant::Lopsided(factor)) if index == 0 => factor,
            _ => 1.0,
        };
        let weights = Initializer::scaled_normal(2.0f64.sqrt() * gain);
        let mut network = lab.classifier(&[64, 64], &weights, &Activation::Relu)?;
        let init: Initializer = text.parse()?;
        for layer in &mut network.layers {
            if let Layer::Dense(dense) = layer {
                dense.bias = init.clone();
            }
        }
        let protocol = Protocol { max_steps: Some(steps), ..Protocol::notebook() };
        jobs.extend((0..seeds).map(|seed| Job {
            network: network.clone(),
            protocol: protocol.clone(),
            seed: lab.seed + seed,
        }));
    }
    let accuracy = |_, fit: Fit| fit.model.evaluate(&data.test, 1.0 / 255.0).accuracy;
    let accuracies = fit_many_then(&jobs, &data.train, None, &|_, _| (), accuracy)?;
    let groups: Vec<&[f64]> = accuracies.chunks(seeds as usize).collect();
    let mut findings = Vec::new();
    for (index, (name, _)) in STARTS.iter().enumerate().take(4).skip(1) {
        let what = format!("test accuracy: biases {name} minus biases zero");
        findings.push(paired_equal(lab, what, groups[index], groups[0], MARGIN)?);
    }
    let nothing = vec![0.0; groups[0].len()];
    findings.push(paired_greater(lab, "test accuracy: biases zero", groups[0], &nothing, 0.7)?);
    let what = "test accuracy: biases zero over biases -5";
    findings.push(paired_greater(lab, what, groups[0], groups[4], MARGIN)?);
    let means: Vec<String> = groups.iter().map(|g| percent(Moments::from(*g).mean())).collect();
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "After {steps} steps the mean test accuracy was {} with zero biases, {} with 0.1, {} with normal(0.1) and {} with PyTorch's law: the \
             same within two points; with -5 everywhere it was {}.",
            means[0], means[1], means[2], means[3], means[4],
        ),
        experiment: format!(
            "784-64-64-10 with ReLU and He's weights on {}, Adam, {steps} steps of 32 images, {seeds} seeds, the same for all biases",
            lab.data.name
        ),
        figures: vec![figure(&groups, &means)?],
        tables: Vec::new(),
        findings,
    })
}

fn figure(groups: &[&[f64]], means: &[String]) -> Result<Figure, ClaimError> {
    let text = format!(
        "Coloured: seeds. Dark: means with 95% intervals: {}. Left: the statement's choices. Right: with a large negative constant beside zero.",
        STARTS
            .iter()
            .zip(means)
            .map(|(s, m)| format!("{} {m}", s.0))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let panel = |which: &[usize]| {
        let of = |i: &usize| (STARTS[*i].0.to_owned(), groups[*i].to_vec());
        let groups: Vec<_> = which.iter().map(of).collect();
        seed_panel("", "biases", "test accuracy", &groups)
    };
    Ok(Figure::new("RND02-biases", "Small biases of any kind do the same", text)
        .panel(panel(&[0, 1, 2, 3])?)
        .panel(panel(&[0, 4])?))
}

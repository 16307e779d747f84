//! What dropout and weight decay do to the signal of a network at birth, and to a bad start.

use gainstage_spec::{
    Activation, Dense, FanMode, Initializer, Layer, Network, ScalingDistribution,
};
use gainstage_stats::Moments;
use gainstage_train::{Fit, Job, Optimizer, Protocol, fit_many};

use crate::claim::{Chapter, Claim, Finding, Outcome, Verdict};
use crate::clipping::{guessing, last_loss};
use crate::comparison::{in_every_seed, paired_greater};
use crate::draws::one_input;
use crate::figures::{percent, signal_figure, significant};
use crate::signal::{Side, Signal, exactly};
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "MIT04",
    chapter: Chapter::Mitigations,
    statement: "Dropout and weight decay help against vanishing, exploding and saturation.",
    source: "Seed document, answer 5",
    prediction: "Dropout that keeps a share k of the units and divides by it multiplies the second moment by 1/k per layer, both ways: He's rule \
         then needs the variance 2k/n (Hendrycks & Gimpel 2016; Pretorius et al. 2018). That feeds explosion and saturation, and \
         compensates a loss by chance: at k = 1/2 it undoes Xavier's factor 1/2 under ReLU. Weight decay changes no weight before \
         the first step, and a vanishing start has no gradient for it to work beside.",
    rule: "Qualified if the typical factors per layer at k = 0.8 with He, with 0.8 times He's variance and at k = 0.5 with Xavier equal the exact \
         values (expected 1.25, 1 and 1, the typical ones of this width lower) within 5%, both ways; dropout is shown to raise the saturated share of tanh units; in every seed \
         the first step's loss with weight decay equals that without to the last bit; and of a start at a fifth of He's scale through 16 \
         layers no run learns, plain, with decay or with dropout, where He's does. Supported if the runs with decay and dropout learn. \
         Refuted if a factor is shown to be otherwise. Margin and sizes were chosen after a first look.",
    expected: Verdict::Qualified,
    planted: &[Plant::Gain(1.05)],
    run: regularizers,
}];

const DEPTH: usize = 16;
const WIDTH: usize = 128;

/// Dense layers with dropout between them.
fn with_dropout(
    width: usize,
    depth: usize,
    init: &Initializer,
    phi: &Activation,
    keep: f64,
) -> Result<Network, ClaimError> {
    let dense = Layer::Dense(Dense::new(width, init.clone(), phi.clone()));
    let mut layers = vec![[dense.clone(), Layer::Dropout { keep }]; depth - 1].concat();
    layers.push(dense);
    Ok(Network::new(width, layers)?)
}

fn regularizers(lab: &Lab) -> Result<Outcome, ClaimError> {
    let trials = lab.budget.pick(300, 1000, 4000);
    let corrected = Initializer::scaling(1.6, FanMode::FanIn, ScalingDistribution::Normal);
    let cases = [
        ("He, keep 0.8", Initializer::he_normal(), 0.8),
        ("0.8 x He's variance, keep 0.8", corrected, 0.8),
        ("Xavier, keep 0.5", Initializer::glorot_normal(), 0.5),
    ];
    let (mut signals, mut findings) = (Vec::new(), Vec::new());
    for (label, init, keep) in cases {
        let network = with_dropout(WIDTH, DEPTH, &init, &Activation::Relu, keep)?;
        let signal = Signal::new(lab, label, &network, trials)?;
        for side in [Side::Forward, Side::Backward] {
            findings.push(signal.growth_finding(lab, side, 0.05)?);
        }
        signals.push(signal);
    }
    let (with, without) = (saturated(lab, 0.8)?, saturated(lab, 1.0)?);
    let what = "tanh at twice LeCun's scale: saturated share with dropout over without";
    findings.push(paired_greater(lab, what, &with, &without, 0.0)?);
    let trained = trained(lab)?;
    let learns = trained[1..4].iter().all(|f| f.measured == 0.0);
    findings.extend(trained);
    let verdict = match all_hold(&findings[..7], Verdict::Qualified) {
        Verdict::Qualified if learns => Verdict::Supported,
        Verdict::Qualified => all_hold(&findings, Verdict::Qualified),
        verdict => verdict,
    };
    let of = |index: usize| significant(findings[index].measured);
    let share = |values: &[f64]| percent(Moments::from(values).mean());
    Ok(Outcome {
        verdict,
        sentence: format!(
            "Dropout keeping 0.8 multiplied the second moment by {} forward and {} backward per layer, and by {} with 0.8 times He's variance; \
             keeping 0.5 it undid Xavier's halving ({}). It raised the saturated share of tanh units from {} to {}. Weight decay left the \
             first step as it was, and neither rescued a vanishing start.",
            of(0),
            of(1),
            of(2),
            of(4),
            share(&without),
            share(&with),
        ),
        experiment: format!(
            "{DEPTH} ReLU layers of width {WIDTH} with dropout between them, {trials} weight draws a case, one input each; ten tanh layers of width \
             128; then 16 hidden ReLU layers of width 64 on {}, Adam, {} steps of 32 images",
            lab.data.name,
            steps(lab)
        ),
        figures: vec![signal_figure(
            "MIT04-signal",
            "Dropout multiplies the second moment by 1/keep",
            &[&signals[0], &signals[1], &signals[2]],
        )],
        tables: Vec::new(),
        findings,
    })
}

/// Share of saturated tanh units in layers 5 to 10, draw by draw.
fn saturated(lab: &Lab, keep: f64) -> Result<Vec<f64>, ClaimError> {
    let network = with_dropout(128, 10, &Initializer::scaled_normal(2.0), &Activation::Tanh, keep)?;
    let trials = lab.budget.pick(200, 600, 2000);
    let measured = lab.measure(&format!("tanh, keep {keep}"), &network, one_input(trials))?;
    let of_layer =
        |layer: usize| measured.layers[layer].values(|d| d.saturated.unwrap_or(f64::NAN));
    let layers: Vec<Vec<f64>> = (4..10).map(of_layer).collect();
    Ok((0..trials).map(|t| layers.iter().map(|l| l[t]).sum::<f64>() / 6.0).collect())
}

fn steps(lab: &Lab) -> u64 {
    lab.budget.pick(150, 300, 600)
}

/// First step with and without decay; then plain, decay and dropout from a vanishing start, and He's.
fn trained(lab: &Lab) -> Result<Vec<Finding>, ClaimError> {
    let data = Prepared::new(lab)?;
    let seeds = lab.budget.pick(3, 10, 30);
    let small = Initializer::scaled_normal(2.0f64.sqrt() * 0.2);
    let cases = [
        ("a fifth of He", &small, 1.0, 0.0),
        ("a fifth of He, weight decay 0.1", &small, 1.0, 0.1),
        ("a fifth of He, dropout", &small, 0.8, 0.0),
        ("He", &Initializer::he_normal(), 1.0, 0.0),
    ];
    let mut jobs = Vec::new();
    for (_, init, keep, weight_decay) in cases {
        let mut network = lab.planted(&lab.classifier(&[64; 16], init, &Activation::Relu)?);
        if keep < 1.0 {
            let last = network.layers.pop();
            network.layers =
                network.layers.into_iter().flat_map(|l| [l, Layer::Dropout { keep }]).collect();
            network.layers.extend(last);
        }
        let optimizer =
            Optimizer::Adam { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-7, weight_decay };
        let protocol =
            Protocol { max_steps: Some(steps(lab)), batch: 32, optimizer, ..Protocol::notebook() };
        jobs.extend((0..seeds).map(|seed| Job {
            network: network.clone(),
            protocol: protocol.clone(),
            seed: lab.seed + seed,
        }));
    }
    let fits = fit_many(&jobs, &data.train, None, &|_, _| ())?;
    let groups: Vec<&[Fit]> = fits.chunks(seeds as usize).collect();
    let n = seeds as usize;
    let difference = groups[0]
        .iter()
        .zip(groups[1])
        .map(|(a, b)| f64::from((a.step_losses[0] - b.step_losses[0]).abs()))
        .fold(0.0, f64::max);
    let what = "largest difference of the first step's loss with weight decay and without";
    let mut findings = vec![exactly(what, 0.0, difference, n)];
    for ((name, ..), group) in cases.iter().zip(&groups).take(3) {
        let stalled = group.iter().filter(|f| last_loss(f) > guessing(lab)).count();
        findings.push(in_every_seed(
            format!("{name}, 16 layers: seeds that end no better than guessing"),
            stalled,
            n,
        ));
    }
    let good = groups[3].iter().filter(|f| last_loss(f) < guessing(lab) - 0.5).count();
    findings.push(in_every_seed("He, 16 layers: seeds that learn", good, n));
    Ok(findings)
}

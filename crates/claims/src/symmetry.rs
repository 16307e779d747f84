//! Units that start equal, and networks that start at zero.

use gainstage_report::{Cell, Table};
use gainstage_spec::{Activation, Initializer};
use gainstage_train::{Fit, Images, Job, Optimizer, Protocol, fit_many};

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::figures::{percent, significant};
use crate::signal::exactly;
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

pub(crate) const CLAIMS: [Claim; 3] = [
    Claim {
        code: "SYM01",
        chapter: Chapter::Symmetry,
        statement: "Units of a layer that start equal stay equal for ever.",
        source: "Seed document, answers 1.1, 2.2 and 3.3",
        prediction: "Equal weights in and out get equal gradients from every batch; any optimiser that treats coordinates alike keeps \
             them equal: the largest difference between units stays exactly 0, the layer acts as one unit.",
        rule: "Supported if after training with SGD and with Adam, with ReLU and with tanh, the largest difference between units is \
             exactly 0 and the weights have moved; refuted if one differs.",
        expected: Verdict::Supported,
        planted: &[Plant::Jitter(1e-6)],
        run: equal_units,
    },
    Claim {
        code: "SYM02",
        chapter: Chapter::Symmetry,
        statement: "With all weights zero, a ReLU network learns nothing but its output bias.",
        source: "Seed document, answer 4; the notebook",
        prediction: "Hidden gradients are exactly 0 in every step. The output bias learns the class shares: accuracy is the test share of \
             the commonest training class, the loss the cross-entropy of the training shares.",
        rule: "Supported if in every seed all weights and hidden gradients are exactly 0, the accuracy is exactly that share, and the loss \
             lies within 0.003 of the cross-entropy.",
        expected: Verdict::Supported,
        planted: &[Plant::Jitter(1e-2)],
        run: zero_weights,
    },
    Claim {
        code: "SYM06",
        chapter: Chapter::Symmetry,
        statement: "Zero initialization leads to sparse solutions, in which many weights stay zero.",
        source: "Seed document, answer 4",
        prediction: "ReLU and tanh: every weight stays exactly 0, which is no solution at all. Sigmoid is 1/2 at zero, so it learns, and \
             only weights from pixels that are never lit stay 0.",
        rule: "Qualified if for ReLU and tanh all weights stay 0 with accuracy below 0.2, and for sigmoid fewer than 15% of those from \
             pixels lit in some training image do; supported if more than half of those do; refuted otherwise.",
        expected: Verdict::Qualified,
        planted: &[Plant::Jitter(1e-2)],
        run: sparse,
    },
];

/// Largest difference between units of one layer: over its rows of incoming weights.
pub(crate) fn largest_difference(fit: &Fit, layer: usize) -> f64 {
    let rows = fit.model.weights(layer).chunks_exact(fit.model.units(layer));
    rows.flat_map(|row| row.iter().map(|w| f64::from((w - row[0]).abs()))).fold(0.0, f64::max)
}

fn equal_units(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::new(lab)?;
    let steps = lab.budget.pick(400, 1719, 5 * 1719);
    let constant = Initializer::Constant { value: 0.05 };
    let optimizers = [("SGD", Optimizer::Sgd { rate: 0.05 }), ("Adam", Optimizer::adam())];
    let activations = [("ReLU", Activation::Relu), ("tanh", Activation::Tanh)];
    let mut jobs = Vec::new();
    let mut names = Vec::new();
    for (optimizer_name, optimizer) in optimizers {
        for (name, phi) in &activations {
            let protocol = Protocol { optimizer, max_steps: Some(steps), ..Protocol::notebook() };
            jobs.push(Job {
                network: lab.classifier(&[128], &constant, phi)?,
                protocol,
                seed: lab.seed,
            });
            names.push(format!("{name}, {optimizer_name}"));
        }
    }
    let fits = fit_many(&jobs, &data.train, None, &|_, _| ())?;
    let mut findings = Vec::new();
    let mut accuracies = Vec::new();
    for (name, fit) in names.iter().zip(&fits) {
        let difference = largest_difference(fit, 0);
        findings.push(exactly(
            format!("{name}: largest difference between hidden units' incoming weights"),
            0.0,
            difference,
            1,
        ));
        let moved = fit.model.weights(0).iter().any(|w| *w != 0.05);
        findings.push(exactly(
            format!("{name}: the weights have moved (1 = yes)"),
            1.0,
            f64::from(u8::from(moved)),
            1,
        ));
        accuracies.push(fit.model.evaluate(&data.test, 1.0 / 255.0).accuracy);
    }
    let worst = findings.iter().step_by(2).map(|f| f.measured).fold(0.0, f64::max);
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "After {steps} steps the largest difference between 128 hidden units was {} in all four runs; acting as one unit they \
             reached at most {} accuracy.",
            significant(worst),
            percent(best)
        ),
        experiment: format!(
            "784-128-10 on {}, every weight 0.05, {steps} steps of 32 images",
            lab.data.name
        ),
        figures: Vec::new(),
        tables: Vec::new(),
        findings,
    })
}

/// Cross-entropy of the test labels under the training shares, and the commonest training class's test share.
fn shares(train: &Images, test: &Images) -> (f64, f64) {
    let count = |images: &Images| {
        let mut counts = vec![0.0; images.classes()];
        images.labels().iter().for_each(|&l| counts[usize::from(l)] += 1.0);
        counts
    };
    let (a, b) = (count(train), count(test));
    let (n, m) = (train.len() as f64, test.len() as f64);
    let loss =
        a.iter().zip(&b).filter(|(_, t)| **t > 0.0).map(|(p, t)| -(t / m) * (p / n).ln()).sum();
    let commonest = (0..a.len()).fold(0, |best, k| if a[k] > a[best] { k } else { best });
    (loss, b[commonest] / m)
}

fn zero_weights(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::new(lab)?;
    let seeds = lab.budget.pick(3, 10, 30);
    let epochs = lab.budget.pick(3, 10, 10);
    let network = lab.classifier(&[128], &Initializer::zeros(), &Activation::Relu)?;
    let jobs: Vec<Job> = (0..seeds)
        .map(|i| Job {
            network: network.clone(),
            protocol: Protocol { epochs, watch_gradients: true, ..Protocol::notebook() },
            seed: lab.seed + i,
        })
        .collect();
    let fits = fit_many(&jobs, &data.train, None, &|_, _| ())?;
    let n = fits.len();
    let (loss, share) = shares(&data.train, &data.test);
    let largest = |value: &dyn Fn(&Fit) -> f64| fits.iter().map(value).fold(0.0, f64::max);
    let weights = largest(&|f| {
        (0..2).flat_map(|l| f.model.weights(l)).map(|w| f64::from(w.abs())).fold(0.0, f64::max)
    });
    let gradients = largest(&|f| f64::from(f.largest_hidden_gradient.unwrap_or(f32::NAN)));
    let evaluations: Vec<_> =
        fits.iter().map(|f| f.model.evaluate(&data.test, 1.0 / 255.0)).collect();
    let furthest = evaluations.iter().fold(share, |w, e| {
        if (e.accuracy - share).abs() > (w - share).abs() { e.accuracy } else { w }
    });
    let losses: Vec<f64> = evaluations.iter().map(|e| e.loss).collect();
    let (low, high) =
        losses.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &x| (l.min(x), h.max(x)));
    let inside = low >= loss - 0.003 && high <= loss + 0.003;
    let findings = vec![
        exactly("largest weight after training, all seeds", 0.0, weights, n),
        exactly("largest hidden gradient of any step, all seeds", 0.0, gradients, n),
        exactly("test accuracy furthest from the commonest class's share", share, furthest, n),
        Finding {
            what: "test loss, lowest to highest seed".into(),
            predicted: Some(loss),
            measured: losses.iter().sum::<f64>() / n as f64,
            low,
            high,
            level: 1.0,
            n,
            test: "every seed within 0.003".into(),
            p_value: None,
            conclusion: if inside { Conclusion::Holds } else { Conclusion::Contradicted },
        },
    ];
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "In all {n} seeds every weight and every hidden gradient was exactly 0; accuracy {} is the share of one digit, loss {} \
             (predicted {}).",
            significant(furthest),
            significant(findings[3].measured),
            significant(loss)
        ),
        experiment: format!(
            "784-128-10 on {}, the notebook's protocol with {epochs} epochs, {n} seeds of the data order",
            lab.data.name
        ),
        figures: Vec::new(),
        tables: Vec::new(),
        findings,
    })
}

fn sparse(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::new(lab)?;
    let steps = lab.budget.pick(600, 1719, 10 * 1719);
    let activations =
        [("ReLU", Activation::Relu), ("tanh", Activation::Tanh), ("sigmoid", Activation::Sigmoid)];
    let jobs: Vec<Job> = activations
        .iter()
        .map(|(_, phi)| {
            let network = lab.classifier(&[128], &Initializer::zeros(), phi)?;
            let protocol = Protocol { max_steps: Some(steps), ..Protocol::notebook() };
            Ok(Job { network, protocol, seed: lab.seed })
        })
        .collect::<Result<_, ClaimError>>()?;
    let fits = fit_many(&jobs, &data.train, None, &|_, _| ())?;
    let mut table = Table::new(
        "SYM06-zeros",
        "Share of weights that are exactly 0 after training",
        &["activation", "first layer, lit pixels", "output layer", "test accuracy"],
    );
    // A pixel that no batch has lit has had no gradient yet; lit here means lit in some training image.
    let lit = lit_pixels(&lab.data.train.pixels, data.train.width());
    let mut found = Vec::new();
    for ((name, _), fit) in activations.iter().zip(&fits) {
        let rows: Vec<&[f32]> = fit
            .model
            .weights(0)
            .chunks_exact(128)
            .zip(&lit)
            .filter(|(_, l)| **l)
            .map(|(row, _)| row)
            .collect();
        let zero_share = |weights: &mut dyn Iterator<Item = &f32>| {
            let (mut zeros, mut all) = (0.0, 0.0);
            weights.for_each(|w| {
                zeros += f64::from(u8::from(*w == 0.0));
                all += 1.0;
            });
            zeros / all
        };
        let first = zero_share(&mut rows.iter().flat_map(|r| r.iter()));
        let second = zero_share(&mut fit.model.weights(1).iter());
        let accuracy = fit.model.evaluate(&data.test, 1.0 / 255.0).accuracy;
        table.push(vec![
            Cell::text(*name),
            Cell::number(first),
            Cell::number(second),
            Cell::number(accuracy),
        ]);
        found.push((first, second, accuracy));
    }
    let mut findings: Vec<Finding> = activations[..2]
        .iter()
        .zip(&found)
        .map(|((name, _), f)| {
            exactly(format!("{name}: share of zero weights"), 1.0, f.0.min(f.1), 1)
        })
        .collect();
    let sigmoid = found[2].0;
    findings.push(Finding {
        what: "sigmoid: share of zero weights from lit pixels".into(),
        predicted: Some(0.0),
        measured: sigmoid,
        low: sigmoid,
        high: sigmoid,
        level: 1.0,
        n: 1,
        test: "below 0.15: a pixel lit in a few images may not have met a batch yet".into(),
        p_value: None,
        conclusion: if sigmoid < 0.15 { Conclusion::Holds } else { Conclusion::Contradicted },
    });
    let nothing_learned = found[..2].iter().all(|f| f.2 < 0.2);
    let verdict = match all_hold(&findings, Verdict::Qualified) {
        Verdict::Refuted if sigmoid > 0.5 => Verdict::Supported,
        Verdict::Qualified if !nothing_learned => Verdict::Refuted,
        verdict => verdict,
    };
    Ok(Outcome {
        verdict,
        sentence: format!(
            "ReLU and tanh kept all weights at exactly 0 and learned nothing ({} accuracy); sigmoid left {} of the weights from lit \
             pixels at 0 and reached {}.",
            percent(found[0].2),
            percent(sigmoid),
            percent(found[2].2)
        ),
        experiment: format!(
            "784-128-10 on {}, all weights zero, Adam, {steps} steps of 32 images",
            lab.data.name
        ),
        figures: Vec::new(),
        tables: vec![table],
        findings,
    })
}

fn lit_pixels(pixels: &[u8], width: usize) -> Vec<bool> {
    let mut lit = vec![false; width];
    pixels.chunks_exact(width).for_each(|image| {
        lit.iter_mut().zip(image).for_each(|(l, &p)| *l |= p > 0);
    });
    lit
}

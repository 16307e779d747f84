//! Glorot and Bengio's table 1 on the images at hand.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};
use gainstage_spec::{Activation, Initializer};
use gainstage_stats::{Moments, Probability, mean_interval};
use gainstage_train::{Job, Optimizer, Protocol, fit_many_then};

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::comparison::paired_greater;
use crate::figures::{percent, significant};
use crate::glorot::{DEPTH, inits};
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Learning rates that a model chooses from.
const RATES: [f64; 2] = [0.01, 0.03];

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "GLO03",
    chapter: Chapter::Xavier,
    statement: "With five hidden layers on MNIST, sigmoid errs most; tanh errs less with the normalized initialization than with the standard one, softsign \
                does not.",
    source: "Glorot & Bengio 2010, table 1: test errors 2.21 (sigmoid), 1.76 and 1.64 (tanh), 1.64 and 1.72 (softsign) percent",
    prediction: "After their five million steps the four others lie within 0.12 points. In fewer steps the initialization shows in how far the training has \
                 come: tanh and softsign shrink signals with the standard one, softsign the more, so both should gain from the normalized one, and five \
                 sigmoid layers, which let through about 1/18 of the error signal's second moment each, hardly move.",
    rule: "Each model takes the learning rate of two with the lowest validation loss in a pilot run. Supported if sigmoid's error is shown to exceed \
           every other's by more than 2 points, tanh's standard to exceed its normalized, and softsign's normalized to exceed its standard; qualified if the \
           first two are shown and the third is not; refuted if one of the first two is shown to be otherwise (one-sided paired t-tests). Smaller networks \
           and fewer steps than the paper's: what is tested is the order, not the values.",
    expected: Verdict::Qualified,
    planted: &[Plant::ShuffledLabels],
    run: table_one,
}];

struct Model {
    name: &'static str,
    phi: Activation,
    init: Initializer,
    /// The table's, in percent.
    published: f64,
}

fn models() -> [Model; 5] {
    let [(_, standard), (_, normalized)] = inits();
    let model = |name, phi, init: &Initializer, published| Model {
        name,
        phi,
        init: init.clone(),
        published,
    };
    [
        model("softsign", Activation::Softsign, &standard, 1.64),
        model("softsign N", Activation::Softsign, &normalized, 1.72),
        model("tanh", Activation::Tanh, &standard, 1.76),
        model("tanh N", Activation::Tanh, &normalized, 1.64),
        model("sigmoid", Activation::Sigmoid, &standard, 2.21),
    ]
}

fn table_one(lab: &Lab) -> Result<Outcome, ClaimError> {
    let width = lab.budget.pick(64, 128, 1000);
    let steps = lab.budget.pick(150, 600, 30_000);
    let seeds = lab.budget.pick(14, 16, 30);
    let images = lab.budget.pick(5000, usize::MAX, usize::MAX);
    let data = Prepared::at_most(lab, images, lab.budget.pick(1000, 10_000, 10_000))?;
    let models = models();
    let job = |model: &Model, rate: f64, seed: u64| -> Result<Job, ClaimError> {
        let network = lab.classifier(&[width; DEPTH], &model.init, &model.phi)?;
        let protocol = Protocol {
            epochs: usize::MAX,
            batch: 20,
            optimizer: Optimizer::Momentum { rate, momentum: 0.9, nesterov: false },
            max_steps: Some(steps),
            ..Protocol::notebook()
        };
        Ok(Job { network, protocol, seed })
    };
    // The pilot's seed is none of those that are compared.
    let pilot = lab.seed_for("pilot");
    let mut jobs = Vec::new();
    for model in &models {
        for rate in RATES {
            jobs.push(job(model, rate, pilot)?);
        }
    }
    let losses = fit_many_then(&jobs, &data.train, None, &|_, _| (), |_, fit| {
        fit.model.evaluate(&data.validation, fit_scale()).loss
    })?;
    let rates: Vec<f64> = losses
        .chunks(RATES.len())
        .map(|l| (0..l.len()).fold(0, |b, i| if l[i] < l[b] || l[b].is_nan() { i } else { b }))
        .map(|best| RATES[best])
        .collect();
    let mut jobs = Vec::new();
    for (model, rate) in models.iter().zip(&rates) {
        for seed in 0..seeds {
            jobs.push(job(model, *rate, lab.seed + seed)?);
        }
    }
    let errors = fit_many_then(&jobs, &data.train, None, &|_, _| (), |_, fit| {
        1.0 - fit.model.evaluate(&data.test, fit_scale()).accuracy
    })?;
    let errors: Vec<&[f64]> = errors.chunks(seeds as usize).collect();
    let [softsign, softsign_n, tanh, tanh_n, sigmoid] =
        [errors[0], errors[1], errors[2], errors[3], errors[4]];
    let mut findings = Vec::new();
    for (model, other) in models[..4].iter().zip(&errors) {
        let what = format!("test error, sigmoid minus {}", model.name);
        findings.push(paired_greater(lab, what, sigmoid, other, 0.02)?);
    }
    findings.push(paired_greater(lab, "test error, tanh minus tanh N", tanh, tanh_n, 0.0)?);
    let third = "test error, softsign N minus softsign";
    findings.push(paired_greater(lab, third, softsign_n, softsign, 0.0)?);
    let verdict = match all_hold(&findings[..5], Verdict::Supported) {
        Verdict::Supported if findings[5].conclusion != Conclusion::Holds => Verdict::Qualified,
        verdict => verdict,
    };
    let mean = |e: &[f64]| Moments::from(e).mean();
    let mut table = Table::new(
        "GLO03-table",
        "Test error, percent: mean over seeds, the paper's on MNIST, and the learning rate chosen",
        &["model", "measured", "paper", "rate"],
    );
    for ((model, e), rate) in models.iter().zip(&errors).zip(&rates) {
        table.push(vec![
            Cell::text(model.name),
            Cell::number(100.0 * mean(e)),
            Cell::number(model.published),
            Cell::number(*rate),
        ]);
    }
    Ok(Outcome {
        verdict,
        sentence: format!(
            "After {steps} steps the mean test errors were {} (sigmoid), {} and {} (tanh, standard and normalized), {} and {} (softsign): sigmoid last and \
             tanh better normalized, as in the paper, and softsign {}.",
            percent(mean(sigmoid)),
            percent(mean(tanh)),
            percent(mean(tanh_n)),
            percent(mean(softsign)),
            percent(mean(softsign_n)),
            match findings[5].conclusion {
                Conclusion::Holds => "better standard, as in the paper",
                Conclusion::Contradicted => "better normalized too, unlike in the paper",
                Conclusion::Undecided => "undecided",
            }
        ),
        experiment: format!(
            "{DEPTH} hidden layers of {width} on {}, SGD with momentum 0.9 and a rate of {} or {}, {steps} steps of 20 images, {seeds} seeds; the paper has \
             1000 units and five million steps of 10",
            lab.data.name,
            significant(RATES[0]),
            significant(RATES[1]),
        ),
        figures: vec![figure(&models, &errors)?],
        tables: vec![table],
        findings,
    })
}

/// Grey values from 0 to 1.
fn fit_scale() -> f64 {
    Protocol::notebook().scale
}

fn figure(models: &[Model], errors: &[&[f64]]) -> Result<Figure, ClaimError> {
    let names = models.iter().map(|m| m.name.to_owned()).collect();
    let mut dots = Vec::new();
    let mut seeds = Vec::new();
    for (x, e) in errors.iter().enumerate() {
        let percents: Vec<f64> = e.iter().map(|e| 100.0 * e).collect();
        let i = mean_interval(&Moments::from(percents.as_slice()), Probability::P95)?;
        dots.push(Point::with_interval(x as f64 - 0.08, i.estimate, i.low, i.high));
        seeds.extend(percents.iter().map(|p| Point::new(x as f64 + 0.08, *p)));
    }
    let published =
        models.iter().enumerate().map(|(x, m)| Point::new(x as f64, m.published)).collect();
    let panel =
        Panel::new("", Axis::categories("model", names), Axis::log10("test error, percent"))
            .mark(Mark::points("mean over seeds", 1, dots))
            .mark(Mark::points("single seeds", 2, seeds))
            .mark(Mark::points("the paper, after five million steps", 0, published));
    let text = "Blue: means with 95% intervals; N: normalized initialization. The paper's numbers are far below, for they come after five million steps of \
                networks with 1000 units a layer; the order is what is compared.";
    Ok(Figure::new("GLO03-errors", "Table 1 again", text).panel(panel))
}

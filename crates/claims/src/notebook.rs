//! The seed notebook: four models that differ in their initialization alone.

use gainstage_report::{Cell, Table};
use gainstage_spec::{Activation, Initializer, Layer};
use gainstage_stats::Moments;
use gainstage_train::{Epoch, Fit, Job, Protocol, fit_many_then};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::claim::{Chapter, Claim, Conclusion, Finding, Outcome, Verdict};
use crate::figures::significant;
use crate::notebook_figures::notebook_figures;
use crate::signal::{exactly, scaled};
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

/// Name, initializer as text, and the accuracy that the notebook printed.
pub const INITS: [(&str, &str, f64); 4] = [
    ("zero", "zeros", 0.1135),
    ("normal(0.1)", "normal(std = 0.1)", 0.9781),
    ("xavier", "glorot_uniform", 0.9783),
    ("he", "keras_he_normal", 0.9772),
];

/// The order that NB03 puts to the test, best first.
const ORDER: [&str; 3] = ["xavier", "normal(0.1)", "he"];

/// One training run; the field names are a contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedRun {
    /// Root of its streams.
    pub seed: u64,
    /// On pixels divided by 255.
    pub test_accuracy: f64,
    /// On pixels divided by 255.
    pub test_loss: f64,
    /// On raw pixels, as the notebook evaluated.
    pub test_accuracy_unscaled: f64,
    /// On raw pixels.
    pub test_loss_unscaled: f64,
    /// On the held-out images after the last epoch.
    pub validation_accuracy: f64,
    /// Epoch by epoch.
    pub history: Vec<Epoch>,
}

/// One initialization over all seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRun {
    /// Its name.
    pub init: String,
    /// One entry per seed.
    pub seeds: Vec<SeedRun>,
}

impl ModelRun {
    fn values(&self, quantity: impl Fn(&SeedRun) -> f64) -> Vec<f64> {
        self.seeds.iter().map(quantity).collect()
    }

    pub(crate) fn accuracies(&self) -> Moments {
        Moments::from(self.values(|s| s.test_accuracy).as_slice())
    }
}

/// The four models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Runs {
    /// Zero, normal(0.1), Xavier, He.
    pub models: Vec<ModelRun>,
    /// Wall-clock seconds of training and evaluation.
    pub seconds: f64,
}

/// Trains the notebook's four models with `seeds` seeds each, one model a core.
///
/// # Errors
/// [`ClaimError`] if the images are too few or do not fit.
pub fn notebook(
    lab: &Lab,
    seeds: usize,
    epochs: usize,
    progress: &(dyn Fn() + Sync),
) -> Result<Runs, ClaimError> {
    resume_notebook(lab, seeds, epochs, &|_, _| None, progress, &|_, _| ())
}

/// As [`notebook`], but takes what `stored` has of (initialization, seed) for trained, and calls
/// `finished` with every other model as soon as it is. `progress` is called once an epoch, for stored
/// models too.
///
/// # Errors
/// As [`notebook`].
pub fn resume_notebook(
    lab: &Lab,
    seeds: usize,
    epochs: usize,
    stored: &dyn Fn(&str, u64) -> Option<SeedRun>,
    progress: &(dyn Fn() + Sync),
    finished: &(dyn Fn(&str, &SeedRun) + Sync),
) -> Result<Runs, ClaimError> {
    let started = std::time::Instant::now();
    let data = Prepared::new(lab)?;
    let mut runs: Vec<Option<SeedRun>> = Vec::new();
    let (mut jobs, mut names) = (Vec::new(), Vec::new());
    for (name, text, _) in INITS {
        let init = text.parse::<Initializer>()?;
        // For a negative control, the order that NB03 tests is made true.
        let init = match (lab.plant, ORDER.iter().position(|n| *n == name)) {
            (Some(Plant::Staggered(factor)), Some(k)) => scaled(&init, factor.powi(k as i32)),
            _ => init,
        };
        let mut network = lab.classifier(&[128], &init, &Activation::Relu)?;
        // As the notebook leaves its output layer: Keras's default.
        if let Some(Layer::Dense(output)) = network.layers.last_mut() {
            output.weights = Initializer::glorot_uniform();
        }
        for seed in (0..seeds as u64).map(|i| lab.seed + i) {
            let run = stored(name, seed);
            if run.is_some() {
                (0..epochs).for_each(|_| progress());
            } else {
                let protocol = Protocol { epochs, ..Protocol::notebook() };
                jobs.push(Job { network: network.clone(), protocol, seed });
                names.push(name);
            }
            runs.push(run);
        }
    }
    let evaluate = |index: usize, fit: Fit| {
        let run = evaluated(&fit, &data, jobs[index].seed);
        finished(names[index], &run);
        run
    };
    let (train, validation) = (&data.train, Some(&data.validation));
    let trained = fit_many_then(&jobs, train, validation, &|_, _| progress(), evaluate)?;
    // Jobs stand in the order of the gaps.
    let mut trained = trained.into_iter();
    let runs: Vec<SeedRun> =
        runs.into_iter().filter_map(|run| run.or_else(|| trained.next())).collect();
    let models = INITS
        .iter()
        .zip(runs.chunks(seeds))
        .map(|((name, _, _), runs)| ModelRun { init: (*name).to_owned(), seeds: runs.to_vec() });
    Ok(Runs { models: models.collect(), seconds: started.elapsed().as_secs_f64() })
}

/// What is kept of a trained model.
fn evaluated(fit: &Fit, data: &Prepared, seed: u64) -> SeedRun {
    let (scaled, raw) =
        (fit.model.evaluate(&data.test, 1.0 / 255.0), fit.model.evaluate(&data.test, 1.0));
    SeedRun {
        seed,
        test_accuracy: scaled.accuracy,
        test_loss: scaled.loss,
        test_accuracy_unscaled: raw.accuracy,
        test_loss_unscaled: raw.loss,
        validation_accuracy: fit.history.last().and_then(|e| e.validation_accuracy).unwrap_or(0.0),
        history: fit.history.clone(),
    }
}

impl Lab {
    /// The notebook's models at the lab's budget, trained once.
    fn notebook_runs(&self) -> Result<Runs, ClaimError> {
        if let Some(runs) = self.notebook.get() {
            return Ok(runs.clone());
        }
        (self.progress)("training the notebook's models");
        let runs = notebook(self, self.budget.pick(3, 10, 30), 10, &|| ())?;
        Ok(self.notebook.get_or_init(|| runs).clone())
    }

    fn is_mnist(&self) -> bool {
        self.data.name == "MNIST"
    }
}

pub(crate) const CLAIMS: [Claim; 3] = [
    Claim {
        code: "NB01",
        chapter: Chapter::Notebook,
        statement: "784-128-10 with ReLU, softmax, Adam and ten epochs reaches 0.1135 from zero, 0.9781 from normal(0.1), 0.9783 from Xavier \
             and 0.9772 from He.",
        source: "Seed document, answer 8 (one run each)",
        prediction: "Zero gives exactly the test share of the commonest training class, 0.1135. The others are single draws from a \
             distribution over seeds that is about 0.3 percentage points wide.",
        rule: "Supported if zero gives that share exactly in every seed and each of the notebook's other numbers lies in the 99.9% prediction \
             interval for one more seed, its deviation pooled over the three models (pooled, and 99.9% instead of 99%, after a look in which three seeds of \
             one model lay close together; ten seeds see a number that is half a point away); on other images than MNIST, which the notebook says \
             nothing of, if the three reach 0.95 to 0.995.",
        expected: Verdict::Supported,
        planted: &[Plant::ShuffledLabels],
        run: accuracies,
    },
    Claim {
        code: "NB02",
        chapter: Chapter::Notebook,
        statement: "The notebook's test losses of 15 to 19 are the models' losses.",
        source: "Seed document, answer 8",
        prediction: "The notebook divides training pixels by 255 and forgets to divide the test pixels: logits grow about 255-fold, so wrong \
             answers cost about 255 times as much, while the largest logit is mostly the same one.",
        rule: "Qualified if on raw pixels every loss exceeds 5 and on divided pixels none exceeds 0.2; supported if both exceed 5; refuted \
             otherwise.",
        expected: Verdict::Qualified,
        planted: &[Plant::ShuffledLabels],
        run: losses,
    },
    Claim {
        code: "NB03",
        chapter: Chapter::Notebook,
        statement: "Xavier does better than normal(0.1), and normal(0.1) better than He.",
        source: "Seed document, answer 8: 0.9783 > 0.9781 > 0.9772",
        prediction: "A hidden layer of 128 units barely notices: second moments of 0.19, 0.22 and 0.88 all train. The order of single runs is \
             that of their seeds.",
        rule: "Supported if both differences of mean accuracy are above 0 (one-sided pooled t-tests at 0.001); refuted if they are not and \
             each advantage is shown to be below one percentage point (upper 99% limit); inconclusive otherwise.",
        expected: Verdict::Refuted,
        planted: &[Plant::Staggered(20.0)],
        run: order,
    },
];

fn accuracies(lab: &Lab) -> Result<Outcome, ClaimError> {
    let runs = lab.notebook_runs()?;
    let n = runs.models[0].seeds.len();
    let share = {
        let held_out = crate::training::HELD_OUT.min(lab.data.train.len() / 12);
        let counts =
            lab.data.train.slice(held_out..lab.data.train.len()).class_counts(lab.data.classes);
        let commonest = (0..counts.len()).fold(0, |b, k| if counts[k] > counts[b] { k } else { b });
        lab.data.test.class_counts(lab.data.classes)[commonest] as f64 / lab.data.test.len() as f64
    };
    let zero = runs.models[0].values(|s| s.test_accuracy);
    let furthest = zero
        .iter()
        .copied()
        .fold(share, |w, a| if (a - share).abs() > (w - share).abs() { a } else { w });
    let mut findings = vec![exactly(
        "zero: accuracy furthest from the commonest class's share",
        share,
        furthest,
        n,
    )];
    let trained: Vec<Moments> = runs.models[1..].iter().map(ModelRun::accuracies).collect();
    let models = trained.len() as f64;
    // One more seed: t with 3 (n - 1) degrees of freedom, standard error s sqrt(1 + 1/n), s pooled.
    let pooled = (trained.iter().map(Moments::sample_variance).sum::<f64>() / models).sqrt();
    let t = StudentsT::new(0.0, 1.0, models * (n as f64 - 1.0).max(1.0))
        .map_or(f64::NAN, |d| d.inverse_cdf(0.9995));
    let half = t * pooled * (1.0 + 1.0 / n as f64).sqrt();
    for (m, (name, _, printed)) in trained.iter().zip(INITS.into_iter().skip(1)) {
        let (low, high) = (m.mean() - half, m.mean() + half);
        let (predicted, test, good) = if lab.is_mnist() {
            let good = (low..=high).contains(&printed) && m.mean() > 0.95;
            (
                Some(printed),
                "the notebook's number in the 99.9% prediction interval for one more seed",
                good,
            )
        } else {
            (None, "between 0.95 and 0.995", (0.95..=0.995).contains(&m.mean()))
        };
        findings.push(Finding {
            what: format!("{name}: test accuracy, mean over seeds"),
            predicted,
            measured: m.mean(),
            low,
            high,
            level: 0.999,
            n,
            test: test.to_owned(),
            p_value: None,
            conclusion: if good { Conclusion::Holds } else { Conclusion::Contradicted },
        });
    }
    Ok(Outcome {
        verdict: all_hold(&findings, Verdict::Supported),
        sentence: format!(
            "Over {n} seeds: zero {}, normal(0.1) {}, Xavier {}, He {} (means of test accuracy).",
            significant(findings[0].measured),
            significant(findings[1].measured),
            significant(findings[2].measured),
            significant(findings[3].measured)
        ),
        experiment: experiment(lab, n),
        figures: notebook_figures(&runs, lab.is_mnist()),
        tables: Vec::new(),
        findings,
    })
}

fn losses(lab: &Lab) -> Result<Outcome, ClaimError> {
    let runs = lab.notebook_runs()?;
    let trained = &runs.models[1..];
    let all = |quantity: fn(&SeedRun) -> f64| -> Vec<f64> {
        trained.iter().flat_map(|m| m.values(quantity)).collect()
    };
    let (raw, scaled) = (all(|s| s.test_loss_unscaled), all(|s| s.test_loss));
    let range = |what: &str, values: &[f64], test: &str, good: fn(f64, f64) -> bool| {
        let (low, high) =
            values.iter().fold((f64::INFINITY, 0.0f64), |(l, h), &v| (l.min(v), h.max(v)));
        Finding {
            what: what.to_owned(),
            predicted: None,
            measured: values.iter().sum::<f64>() / values.len() as f64,
            low,
            high,
            level: 1.0,
            n: values.len(),
            test: test.to_owned(),
            p_value: None,
            conclusion: if good(low, high) { Conclusion::Holds } else { Conclusion::Contradicted },
        }
    };
    let findings = vec![
        range(
            "test loss on raw pixels, lowest to highest run",
            &raw,
            "every run above 5",
            |low, _| low > 5.0,
        ),
        range(
            "test loss on divided pixels, lowest to highest run",
            &scaled,
            "no run above 0.2",
            |_, high| high < 0.2,
        ),
    ];
    let verdict = match all_hold(&findings, Verdict::Qualified) {
        Verdict::Refuted
            if findings[0].conclusion == Conclusion::Holds && findings[1].low > 5.0 =>
        {
            Verdict::Supported
        }
        verdict => verdict,
    };
    let mut table = Table::new(
        "NB02-losses",
        "Means over seeds of test loss and accuracy, on pixels divided by 255 and on raw ones",
        &["initialization", "loss, divided", "loss, raw", "accuracy, divided", "accuracy, raw"],
    );
    for model in &runs.models {
        let mean = |quantity: fn(&SeedRun) -> f64| {
            let values = model.values(quantity);
            Cell::number(values.iter().sum::<f64>() / values.len() as f64)
        };
        table.push(vec![
            Cell::text(&model.init),
            mean(|s| s.test_loss),
            mean(|s| s.test_loss_unscaled),
            mean(|s| s.test_accuracy),
            mean(|s| s.test_accuracy_unscaled),
        ]);
    }
    Ok(Outcome {
        verdict,
        sentence: format!(
            "On raw test pixels the mean loss is {}, on divided ones {}: the notebook's losses are real, but of a test whose pixels were \
             never divided by 255.",
            significant(findings[0].measured),
            significant(findings[1].measured)
        ),
        experiment: experiment(lab, runs.models[0].seeds.len()),
        figures: Vec::new(),
        tables: vec![table],
        findings,
    })
}

fn order(lab: &Lab) -> Result<Outcome, ClaimError> {
    let runs = lab.notebook_runs()?;
    let n = runs.models[0].seeds.len() as f64;
    let [normal, xavier, he] = [1, 2, 3].map(|i| runs.models[i].accuracies());
    let freedom = 3.0 * (n - 1.0);
    let pooled = [&normal, &xavier, &he].iter().map(|m| m.sample_variance()).sum::<f64>() / 3.0;
    let error = (2.0 * pooled / n).sqrt();
    let law = StudentsT::new(0.0, 1.0, freedom.max(1.0));
    let quantile = |p: f64| law.as_ref().map_or(f64::NAN, |d| d.inverse_cdf(p));
    let findings: Vec<Finding> =
        [("Xavier over normal(0.1)", &xavier, &normal), ("normal(0.1) over He", &normal, &he)]
            .into_iter()
            .map(|(what, a, b)| {
                let difference = a.mean() - b.mean();
                let p = law.as_ref().map_or(f64::NAN, |d| d.sf(difference / error));
                let half = quantile(0.99) * error;
                Finding {
            what: format!("{what}: difference of mean accuracy"),
            predicted: Some(0.0),
            measured: difference,
            low: difference - half,
            high: difference + half,
            level: 0.98,
            n: n as usize,
            test: "one-sided pooled t-test at 0.001; advantage below 0.01 by the upper 99% limit"
                .to_owned(),
            p_value: Some(p),
            // "Holds" speaks for the statement: an advantage is shown.
            conclusion: if p < 0.001 {
                Conclusion::Holds
            } else if difference + half < 0.01 {
                Conclusion::Contradicted
            } else {
                Conclusion::Undecided
            },
        }
            })
            .collect();
    let verdict = all_hold(&findings, Verdict::Supported);
    Ok(Outcome {
        verdict,
        sentence: format!(
            "Xavier minus normal(0.1) is {} ± {} and normal(0.1) minus He {} ± {}, in accuracy over {n} seeds (98% intervals): the \
             notebook's order is noise.",
            significant(findings[0].measured),
            significant(findings[0].high - findings[0].measured),
            significant(findings[1].measured),
            significant(findings[1].high - findings[1].measured)
        ),
        experiment: experiment(lab, n as usize),
        figures: Vec::new(),
        tables: Vec::new(),
        findings,
    })
}

fn experiment(lab: &Lab, seeds: usize) -> String {
    format!(
        "784-128-10 on {}, ReLU, softmax cross-entropy, Adam (0.001, 0.9, 0.999, 1e-7), batches of 32, 10 epochs, first 5,000 images held \
         out, zero biases, Xavier uniform weights in the output layer, {seeds} seeds",
        lab.data.name
    )
}

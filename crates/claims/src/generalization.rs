//! Whether a better start makes a better network.

use gainstage_report::{Axis, Cell, Figure, Mark, Panel, Point, Table};
use gainstage_spec::{Activation, Initializer};
use gainstage_train::{Job, Protocol, fit_many_then};

use crate::claim::{Chapter, Claim, Conclusion, Outcome, Verdict};
use crate::comparison::{in_every_seed, paired_equal, paired_greater};
use crate::figures::percent;
use crate::training::Prepared;
use crate::verdict::all_hold;
use crate::{ClaimError, Lab, Plant};

const SCALE: f64 = 1.0 / 255.0;
/// Training loss at which the starts are compared.
const REACHED: f64 = 0.1;

pub(crate) const CLAIMS: [Claim; 1] = [Claim {
    code: "GEN01",
    chapter: Chapter::Training,
    statement: "A proper initialization generalizes better.",
    source: "Seed document, answers 1.4 and 3.5",
    prediction: "At equal training loss He and Xavier have found networks of the same kind and test alike. A start several times too large keeps its \
             random features and fits the images with small changes of them (lazy training: Chizat, Oyallon & Bach 2019), which \
             generalizes worse. A start that is too small trains longer and loses little.",
    rule: "Training on 800 images stops at a loss of 0.1. Qualified if the test accuracies of He and Xavier are equal within 1.5 percentage points, \
             that of std 0.3 (six times He's in the first layer) is lower than He's by more than 2 points, and that of std 0.01 (a fifth of \
             He's) is above that of std 0.3 by more than 1: it is the far too large start that generalizes worse. Supported if std 0.01 too is shown to lose \
             more than 5 points; refuted if one of the three is contradicted. The stds and margins were set after a look at four seeds.",
    expected: Verdict::Qualified,
    planted: &[Plant::Lopsided(6.0)],
    run: generalizes,
}];

fn generalizes(lab: &Lab) -> Result<Outcome, ClaimError> {
    let data = Prepared::at_most(lab, 800, 4000)?;
    let seeds = lab.budget.pick(10, 10, 30);
    let starts = [
        ("He", lab.first_start(&Initializer::he_normal())),
        ("Xavier", Initializer::glorot_normal()),
        ("std 0.01", Initializer::normal(0.01)),
        ("std 0.3", Initializer::normal(0.3)),
    ];
    let mut jobs = Vec::new();
    for (_, init) in &starts {
        for seed in 0..seeds as u64 {
            let network = lab.classifier(&[64], init, &Activation::Relu)?;
            let protocol =
                Protocol { epochs: 200, stop_below: Some(REACHED), ..Protocol::notebook() };
            jobs.push(Job { network, protocol, seed: lab.seed + seed });
        }
    }
    let evaluated = fit_many_then(&jobs, &data.train, None, &|_, _| (), |_, fit| {
        let loss = fit.history.last().map_or(f64::NAN, |e| e.train_loss);
        (loss, fit.history.len(), fit.model.evaluate(&data.test, SCALE).accuracy)
    })?;
    let runs: Vec<&[(f64, usize, f64)]> = evaluated.chunks(seeds).collect();
    let accuracies: Vec<Vec<f64>> =
        runs.iter().map(|run| run.iter().map(|r| r.2).collect()).collect();
    let [he, xavier, small, large] = [0, 1, 2, 3].map(|i| &accuracies[i]);
    let reached = evaluated.iter().filter(|r| r.0 < REACHED).count();
    let findings = vec![
        in_every_seed(
            format!("runs that reach a training loss of {REACHED}"),
            reached,
            evaluated.len(),
        ),
        paired_equal(lab, "test accuracy of He less Xavier's", he, xavier, 0.015)?,
        paired_greater(lab, "test accuracy of He less that of std 0.3", he, large, 0.02)?,
        paired_greater(lab, "test accuracy of std 0.01 less that of std 0.3", small, large, 0.01)?,
    ];
    let loses = paired_greater(lab, "test accuracy of He less that of std 0.01", he, small, 0.05)?;
    let verdict = match all_hold(&findings, Verdict::Qualified) {
        Verdict::Qualified if loses.conclusion == Conclusion::Holds => Verdict::Supported,
        verdict => verdict,
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut table = Table::new(
        "GEN01-accuracies",
        "At a training loss of 0.1 on 800 images, means over seeds",
        &["start", "epochs", "test accuracy"],
    );
    let names = starts.iter().map(|s| s.0.to_owned()).collect();
    let mut panel = Panel::new("", Axis::categories("start", names), Axis::linear("test accuracy"));
    for (index, ((name, _), run)) in starts.iter().zip(&runs).enumerate() {
        let epochs = run.iter().map(|r| r.1 as f64).sum::<f64>() / seeds as f64;
        table.push(vec![
            Cell::text(*name),
            Cell::number(epochs),
            Cell::number(mean(&accuracies[index])),
        ]);
        let points = accuracies[index].iter().map(|a| Point::new(index as f64, *a)).collect();
        panel.marks.push(Mark::points("", 1, points));
    }
    let text = format!(
        "Test accuracy at a training loss of {REACHED} on 800 images, a dot a seed. Means: He {}, Xavier {}, std 0.01 {}, std 0.3 {}.",
        percent(mean(he)),
        percent(mean(xavier)),
        percent(mean(small)),
        percent(mean(large))
    );
    Ok(Outcome {
        verdict,
        sentence: format!(
            "At the same training loss He and Xavier reached {} and {} test accuracy, a far too small start {} and a far too large one {}: only \
             the large one generalizes clearly worse.",
            percent(mean(he)),
            percent(mean(xavier)),
            percent(mean(small)),
            percent(mean(large))
        ),
        experiment: format!(
            "784-64-10 with ReLU on 800 images of {}, Adam, batches of 32, until an epoch's mean loss is below {REACHED}; {seeds} seeds that \
             share the data order; test accuracy on 4,000 images",
            lab.data.name
        ),
        figures: vec![
            Figure::new("GEN01-starts", "Too large generalizes worse", text).panel(panel),
        ],
        tables: vec![table],
        findings,
    })
}

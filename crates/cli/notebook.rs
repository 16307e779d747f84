mod keras;

use std::sync::Arc;

use gainstage_claims::{
    Budget, INITS, Lab, ModelRun, Runs, SeedRun, notebook_figures, resume_notebook,
};
use gainstage_report::{Cell, Document, Section, Table, Tone};
use gainstage_stats::{
    Conclusion, Equivalence, Moments, Probability, StatsError, equivalence_paired, mean_interval,
    paired_t_test,
};
use serde::Serialize;

use crate::args::{Common, Notebook};
use crate::store::Store;
use crate::{Exit, output, progress};

/// Accuracies closer than this count as equal: 0.2 percentage points, 20 of 10,000 images.
const MARGIN: f64 = 0.002;

/// Rate of false claims of equivalence over the three comparisons together (Bonferroni).
const FALSE_EQUIVALENCE: f64 = 0.05;

pub(crate) fn run(common: &Common, args: &Notebook) -> anyhow::Result<Exit> {
    let data = Arc::new(crate::data::load(common, &args.data)?);
    output::note(common, &format!("images: {} ({})", data.name, data.source));
    let (seeds, epochs) = (args.seeds.get(), args.epochs.get());
    let folder = common.out.join("notebook");
    let store = Store::new(folder.join("runs"), &data, &format!("{epochs} epochs"));
    let bar = progress::bar(common, (INITS.len() * seeds * epochs) as u64, "epochs of all models");
    let lab = Lab::new(common.seed, Budget::Quick, Arc::clone(&data), Arc::new(|_: &str| ()));
    let runs = resume_notebook(
        &lab,
        seeds,
        epochs,
        &|init, seed| store.read::<SeedRun>(&file(init, seed)).filter(|run| run.seed == seed),
        &|| bar.inc(1),
        &|init, run| store.write(&file(init, run.seed), run),
    )?;
    bar.finish_and_clear();
    store.finish()?;

    let is_notebook = data.name == "MNIST" && epochs == 10;
    let beside_keras = if is_notebook { keras::compare(&runs)? } else { Vec::new() };
    let answer = Answer { comparisons: comparisons(&runs)?, beside_keras, runs };
    let mut tables = vec![means(&answer.runs)];
    if !answer.comparisons.is_empty() {
        tables.push(differences(&answer.comparisons));
    }
    if !answer.beside_keras.is_empty() {
        tables.push(keras::table(&answer.beside_keras));
    }
    let mut document = Document::new(
        "The seed notebook",
        format!(
            "784-128-10, four initializations, {}, {} on {} ({}).",
            several(seeds, "seed"),
            several(epochs, "epoch"),
            data.name,
            data.source
        ),
    );
    let mut section = Section::new("notebook", "Four models");
    notebook_figures(&answer.runs, is_notebook).into_iter().for_each(|f| section.figure(f));
    tables.iter().for_each(|table| section.table(table.clone()));
    document.sections.push(section);
    document.reproducibility.push((
        "command".to_owned(),
        format!(
            "`gainstage notebook --seeds {seeds} --epochs {epochs} --seed {} --data {}`",
            common.seed, args.data
        ),
    ));
    document.write_bundle(&folder)?;
    gainstage_report::write_json(&folder.join("results.json"), &answer)?;
    let text = format!(
        "{:.1} s of training; report: {}\n",
        answer.runs.seconds,
        folder.join("index.html").display()
    );
    output::result(common, &answer, &tables, &text)?;
    Ok(Exit::Clean)
}

/// The result: the runs, and what they say of one another.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    runs: Runs,
    comparisons: Vec<Comparison>,
    /// Where this is the notebook: ten epochs on MNIST.
    beside_keras: Vec<keras::BesideKeras>,
}

/// Two initializations, seed by seed: both trained on the same order of the data.
#[derive(Serialize)]
struct Comparison {
    first: String,
    second: String,
    /// Of test accuracy, first minus second.
    equivalence: Equivalence,
    /// That there is no difference (paired t-test, two-sided).
    p_value_equal: f64,
}

/// All pairs of the models that learn; none for a single seed, which has no spread.
fn comparisons(runs: &Runs) -> anyhow::Result<Vec<Comparison>> {
    let alpha = Probability::new(FALSE_EQUIVALENCE / 3.0)?;
    let accuracies =
        |model: &ModelRun| model.seeds.iter().map(|s| s.test_accuracy).collect::<Vec<_>>();
    let mut found = Vec::new();
    for (first, second) in [(1, 2), (2, 3), (1, 3)] {
        let (first, second) = (&runs.models[first], &runs.models[second]);
        let (a, b) = (accuracies(first), accuracies(second));
        let tests = equivalence_paired(&a, &b, MARGIN, alpha)
            .and_then(|e| Ok((e, paired_t_test(&a, &b)?.p_value)));
        let (equivalence, p_value_equal) = match tests {
            Ok(tests) => tests,
            Err(StatsError::TooFew { .. } | StatsError::NoSpread { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let (first, second) = (first.init.clone(), second.init.clone());
        found.push(Comparison { first, second, equivalence, p_value_equal });
    }
    Ok(found)
}

fn differences(comparisons: &[Comparison]) -> Table {
    let percent = comparisons.first().map_or(0.0, |c| 100.0 * c.equivalence.difference.level.get());
    let caption = format!(
        "Test accuracy, seed by seed: mean difference with its {percent:.1}% interval, and whether it is shown to be below {MARGIN} \
         (two one-sided paired t-tests; {FALSE_EQUIVALENCE} for a false claim among the three). No difference closer to {MARGIN} \
         than the interval's half width is told from it."
    );
    let columns = ["pair", "difference", "low", "high", "p (equal)", "p (apart)", "conclusion"];
    let mut table = Table::new("differences", caption, &columns);
    for Comparison { first, second, equivalence, p_value_equal } in comparisons {
        table.push(vec![
            Cell::text(format!("{first} - {second}")),
            Cell::number(equivalence.difference.estimate),
            Cell::number(equivalence.difference.low),
            Cell::number(equivalence.difference.high),
            Cell::number(*p_value_equal),
            Cell::number(equivalence.p_value),
            badge(equivalence.conclusion),
        ]);
    }
    table
}

fn badge(conclusion: Conclusion) -> Cell {
    match conclusion {
        Conclusion::Equivalent => Cell::badge("equivalent", Tone::Good),
        Conclusion::Different => Cell::badge("different", Tone::Bad),
        Conclusion::Undecided => Cell::badge("undecided", Tone::Mixed),
    }
}

fn means(runs: &Runs) -> Table {
    let columns = [
        "initialization",
        "test accuracy",
        "95% low",
        "95% high",
        "spread over seeds",
        "test loss",
        "accuracy on raw pixels",
        "loss on raw pixels",
        "validation accuracy",
    ];
    let mut table = Table::new("notebook", "Means over seeds", &columns);
    for model in &runs.models {
        let values = |of: fn(&SeedRun) -> f64| -> Moments { model.seeds.iter().map(of).collect() };
        let accuracy = values(|s| s.test_accuracy);
        // One seed, or seeds that agree to the last digit, have no interval.
        let interval = mean_interval(&accuracy, Probability::P95);
        let end = |pick: fn(&gainstage_stats::Interval) -> f64| {
            interval.as_ref().map_or_else(|_| Cell::text("-"), |i| Cell::number(pick(i)))
        };
        let spread = if accuracy.count() > 1 {
            Cell::number(accuracy.sample_std())
        } else {
            Cell::text("-")
        };
        table.push(vec![
            Cell::text(&model.init),
            Cell::number(accuracy.mean()),
            end(|i| i.low),
            end(|i| i.high),
            spread,
            Cell::number(values(|s| s.test_loss).mean()),
            Cell::number(values(|s| s.test_accuracy_unscaled).mean()),
            Cell::number(values(|s| s.test_loss_unscaled).mean()),
            Cell::number(values(|s| s.validation_accuracy).mean()),
        ]);
    }
    table
}

/// The stored run's file.
fn file(init: &str, seed: u64) -> String {
    let name: String = init.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{name}-seed-{seed}")
}

/// A number of things in words.
fn several(n: usize, thing: &str) -> String {
    if n == 1 { format!("one {thing}") } else { format!("{n} {thing}s") }
}

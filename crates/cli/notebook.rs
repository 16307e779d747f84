use std::sync::Arc;

use gainstage_claims::{Budget, INITS, Lab, Runs, notebook, notebook_figures};
use gainstage_report::{Cell, Document, Section, Table};
use gainstage_stats::{Moments, Probability, mean_interval};

use crate::args::{Common, Notebook};
use crate::{Exit, output, progress};

pub(crate) fn run(common: &Common, args: &Notebook) -> anyhow::Result<Exit> {
    let data = Arc::new(crate::data::load(common, &args.data)?);
    output::note(common, &format!("images: {} ({})", data.name, data.source));
    let (seeds, epochs) = (args.seeds.get(), args.epochs.get());
    let bar = progress::bar(common, (INITS.len() * seeds * epochs) as u64, "epochs of all models");
    let lab = Lab::new(common.seed, Budget::Quick, Arc::clone(&data), Arc::new(|_: &str| ()));
    let runs = notebook(&lab, seeds, epochs, &|| bar.inc(1))?;
    bar.finish_and_clear();

    let table = table(&runs);
    let folder = common.out.join("notebook");
    let mut document = Document::new(
        "The seed notebook",
        format!(
            "784-128-10, four initializations, {seeds} seeds, {epochs} epochs on {} ({}).",
            data.name, data.source
        ),
    );
    let mut section = Section::new("notebook", "Four models");
    notebook_figures(&runs, data.name == "MNIST" && epochs == 10)
        .into_iter()
        .for_each(|f| section.figure(f));
    section.table(table.clone());
    document.sections.push(section);
    document.reproducibility.push((
        "command".to_owned(),
        format!(
            "`gainstage notebook --seeds {seeds} --epochs {epochs} --seed {} --data {}`",
            common.seed, args.data
        ),
    ));
    document.write_bundle(&folder)?;
    gainstage_report::write_json(&folder.join("results.json"), &runs)?;
    let text = format!(
        "{:.1} s of training; report: {}\n",
        runs.seconds,
        folder.join("index.html").display()
    );
    output::result(common, &runs, &[table], &text)?;
    Ok(Exit::Clean)
}

fn table(runs: &Runs) -> Table {
    let columns = [
        "initialization",
        "test accuracy",
        "95% low",
        "95% high",
        "test loss",
        "accuracy on raw pixels",
        "loss on raw pixels",
        "validation accuracy",
    ];
    let mut table = Table::new("notebook", "Means over seeds", &columns);
    for model in &runs.models {
        let values = |of: fn(&gainstage_claims::SeedRun) -> f64| -> Moments {
            model.seeds.iter().map(of).collect()
        };
        let accuracy = values(|s| s.test_accuracy);
        // One seed, or seeds that agree to the last digit, have no interval.
        let interval = mean_interval(&accuracy, Probability::P95);
        let end = |pick: fn(&gainstage_stats::Interval) -> f64| {
            interval.as_ref().map_or_else(|_| Cell::text("-"), |i| Cell::number(pick(i)))
        };
        table.push(vec![
            Cell::text(&model.init),
            Cell::number(accuracy.mean()),
            end(|i| i.low),
            end(|i| i.high),
            Cell::number(values(|s| s.test_loss).mean()),
            Cell::number(values(|s| s.test_accuracy_unscaled).mean()),
            Cell::number(values(|s| s.test_loss_unscaled).mean()),
            Cell::number(values(|s| s.validation_accuracy).mean()),
        ]);
    }
    table
}

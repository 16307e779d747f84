//! Negative controls: every claim with each of its errors planted.

use std::sync::Arc;
use std::time::Instant;

use gainstage_claims::{Budget, Claim, Lab, Planted, run_planted};
use gainstage_data::Source;
use gainstage_report::{Cell, Table};
use serde::Serialize;

use crate::args::{Common, Verify};
use crate::{Exit, output, progress, verify};

/// What `planted.json` holds.
#[derive(Serialize)]
struct Results<'a> {
    version: u32,
    seed: u64,
    budget: String,
    data: &'a str,
    seconds: f64,
    planted: &'a [Planted],
    /// Claims for which no error stands in the ledger.
    without: Vec<&'static str>,
}

pub(crate) fn run(common: &Common, args: &Verify) -> anyhow::Result<Exit> {
    let started = Instant::now();
    let claims = verify::chosen(args)?;
    let budget = args.budget.unwrap_or(Budget::Quick);
    let data = crate::data::load(common, args.data.as_ref().unwrap_or(&Source::Auto))?;
    output::note(common, &format!("images: {} ({})", data.name, data.source));
    let data = Arc::new(data);

    let errors: usize = claims.iter().map(|claim| claim.planted.len()).sum();
    let bar = progress::bar(common, errors as u64, "planted errors");
    let lab = Lab::new(common.seed, budget, Arc::clone(&data), Arc::new(|_: &str| ()));
    let begin = |claim: &Claim| bar.set_message(claim.code);
    let workers = rayon::current_num_threads();
    let planted = run_planted(&claims, &lab, workers, &begin, &|_| bar.inc(1))?;
    bar.finish_and_clear();

    let without = claims.iter().filter(|c| c.planted.is_empty()).map(|c| c.code).collect();
    let results = Results {
        version: 1,
        seed: common.seed,
        budget: budget.to_string(),
        data: &data.name,
        seconds: started.elapsed().as_secs_f64(),
        planted: &planted,
        without,
    };
    let path = common.out.join("planted.json");
    gainstage_report::write_json(&path, &results)?;
    let text = format!("{}stored: {}\n", summary(&results), path.display());
    output::result(common, &results, &[table(&planted)], &text)?;
    let all_noticed = planted.iter().all(|p| p.noticed) && results.without.is_empty();
    Ok(if all_noticed { Exit::Clean } else { Exit::Findings })
}

fn table(planted: &[Planted]) -> Table {
    let columns = ["claim", "planted", "verdict", "with the error", "noticed", "seconds"];
    let mut table = Table::new("planted", "", &columns);
    for p in planted {
        table.push(vec![
            Cell::text(p.code),
            Cell::text(&p.planted),
            Cell::text(p.expected.to_string()),
            Cell::text(p.verdict.to_string()),
            Cell::text(if p.noticed { "yes" } else { "NO" }),
            Cell::text(format!("{:.1}", p.seconds)),
        ]);
    }
    table
}

fn summary(results: &Results<'_>) -> String {
    let survivors: Vec<&Planted> = results.planted.iter().filter(|p| !p.noticed).collect();
    let mut text = format!(
        "{} errors planted in {:.0} s: {} changed the verdict, {} did not{}\n",
        results.planted.len(),
        results.seconds,
        results.planted.len() - survivors.len(),
        survivors.len(),
        if survivors.is_empty() { "" } else { ":" },
    );
    for p in survivors {
        text += &format!("  {} stays {} with {}\n", p.code, p.verdict, p.planted);
    }
    if !results.without.is_empty() {
        text += &format!("no error to plant: {}\n", results.without.join(", "));
    }
    text
}

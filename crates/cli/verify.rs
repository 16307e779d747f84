use std::sync::Arc;
use std::time::Instant;

use gainstage_claims::{
    Calibration, Claim, Lab, Record, Run, Verdict, calibrate, document, find, ledger, run_all,
};
use gainstage_data::Source;
use gainstage_report::{Cell, Table};
use serde::Serialize;

use crate::args::{Common, Verify};
use crate::{Exit, output, progress};

/// What `results.json` holds; the field names are a contract.
#[derive(Serialize)]
struct Results<'a> {
    version: u32,
    seed: u64,
    budget: String,
    data: &'a str,
    seconds: f64,
    claims: Vec<&'a Record>,
    /// Of a run of the whole ledger.
    calibration: Option<&'a Calibration>,
}

pub(crate) fn run(common: &Common, args: &Verify) -> anyhow::Result<Exit> {
    if args.planted {
        return crate::planted::run(common, args);
    }
    let started = Instant::now();
    let claims = chosen(args)?;
    let budget = args.budget.unwrap_or_default();
    let data = crate::data::load(common, args.data.as_ref().unwrap_or(&Source::Auto))?;
    output::note(common, &format!("images: {} ({})", data.name, data.source));
    let data = Arc::new(data);

    let bar = progress::bar(common, claims.len() as u64, "claims");
    let words = bar.clone();
    let lab = Lab::new(
        common.seed,
        budget,
        Arc::clone(&data),
        Arc::new(move |said: &str| words.set_message(said.to_owned())),
    );
    let begin = |claim: &Claim| bar.set_message(claim.code);
    let workers = rayon::current_num_threads();
    let runs = run_all(&claims, &lab, workers, &begin, &|_| bar.inc(1))?;
    bar.set_message("calibration");
    let calibration = if args.only.is_empty() { Some(calibrate(&lab)?) } else { None };
    bar.finish_and_clear();

    let seconds = started.elapsed().as_secs_f64();
    let results = Results {
        version: 1,
        seed: common.seed,
        budget: budget.to_string(),
        data: &data.name,
        seconds,
        claims: runs.iter().map(|r| &r.record).collect(),
        calibration: calibration.as_ref(),
    };
    let again = reproducibility(common, args, &results, &data.source, seconds);
    document(&runs, calibration.as_ref(), again).write_bundle(&common.out)?;
    gainstage_report::write_json(&common.out.join("results.json"), &results)?;

    let surprises: Vec<&Run> =
        runs.iter().filter(|r| r.record.verdict != r.record.expected).collect();
    let text = summary(common, &runs, &surprises, seconds);
    output::result(common, &results, &[table(&runs)], &text)?;
    Ok(if surprises.is_empty() { Exit::Clean } else { Exit::Findings })
}

/// The claims that --only names, or all.
pub(crate) fn chosen(args: &Verify) -> anyhow::Result<Vec<&'static Claim>> {
    if args.only.is_empty() {
        return Ok(ledger());
    }
    Ok(args.only.iter().map(|code| find(code)).collect::<Result<_, _>>()?)
}

fn table(runs: &[Run]) -> Table {
    let mut table = Table::new("verdicts", "", &["claim", "verdict", "seconds", "measured"]);
    for run in runs {
        let verdict = match run.record.verdict {
            verdict if verdict == run.record.expected => verdict.to_string(),
            verdict => format!("{verdict} (expected {})", run.record.expected),
        };
        table.push(vec![
            Cell::text(&run.record.code),
            Cell::text(verdict),
            Cell::text(format!("{:.1}", run.record.seconds)),
            Cell::text(&run.record.sentence),
        ]);
    }
    table
}

fn summary(common: &Common, runs: &[Run], surprises: &[&Run], seconds: f64) -> String {
    let count = |verdict| runs.iter().filter(|r| r.record.verdict == verdict).count();
    let mut text = format!(
        "{} claims in {seconds:.0} s: {} supported, {} qualified, {} refuted, {} inconclusive; {} other than expected{}\n",
        runs.len(),
        count(Verdict::Supported),
        count(Verdict::Qualified),
        count(Verdict::Refuted),
        count(Verdict::Inconclusive),
        surprises.len(),
        if surprises.is_empty() { "" } else { ":" },
    );
    for run in surprises {
        text += &format!(
            "  {}: {} instead of {}\n",
            run.record.code, run.record.verdict, run.record.expected
        );
    }
    text + &format!("report: {}\n", common.out.join("index.html").display())
}

fn reproducibility(
    common: &Common,
    args: &Verify,
    results: &Results<'_>,
    source: &str,
    seconds: f64,
) -> Vec<(String, String)> {
    let mut command =
        format!("gainstage verify --budget {} --seed {}", results.budget, common.seed);
    if !args.only.is_empty() {
        command += &format!(" --only {}", args.only.join(","));
    }
    if let Some(data) = &args.data {
        command += &format!(" --data {data}");
    }
    let row = |name: &str, value: String| (name.to_owned(), value);
    vec![
        row("command", format!("`{command}`")),
        row("gainstage", env!("CARGO_PKG_VERSION").to_owned()),
        row("commit", env!("GAINSTAGE_COMMIT").to_owned()),
        row("compiler", env!("GAINSTAGE_RUSTC").to_owned()),
        row("images", format!("{} ({source})", results.data)),
        row("seed", common.seed.to_string()),
        row("machine", machine()),
        row("threads", rayon::current_num_threads().to_string()),
        row("time", format!("{seconds:.0} s")),
        row("again, without measuring", format!("`gainstage report {}`", common.out.display())),
    ]
}

/// The processor's name where the system tells it, else its kind.
fn machine() -> String {
    let kind = format!("{} {}", std::env::consts::ARCH, std::env::consts::OS);
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = told.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| kind.clone(), |(_, name)| format!("{}, {kind}", name.trim()))
}

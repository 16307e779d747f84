//! `gainstage merge`: the points of a sweep's shards as one result.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use gainstage_report::{Cell, Document, Section, Table, write_json, write_text};
use serde_json::{Value, json};

use crate::args::{Common, Merge};
use crate::sweep::{folder, point_file};
use crate::{Exit, output};

pub(crate) fn run(common: &Common, args: &Merge) -> anyhow::Result<Exit> {
    let sources: Vec<PathBuf> = args.dirs.iter().map(|dir| folder(dir)).collect();
    let target = folder(&common.out);
    let (Some(first), own) = (sources.first(), target.join("sweep.json")) else {
        anyhow::bail!("no folder to merge");
    };
    let description = read(&first.join("sweep.json"))?;
    for source in &sources {
        let same = read(&source.join("sweep.json"))? == description;
        ensure!(same, "{} and {} are of different sweeps", first.display(), source.display());
    }
    ensure!(
        !own.exists() || read(&own)? == description,
        "{} holds another sweep; choose another --out",
        target.display()
    );
    let points = count(&description, first)?;
    write_json(&own, &description)?;
    for index in 0..points {
        let to = point_file(&target, index);
        for source in &sources {
            let from = point_file(source, index);
            if from == to || !from.exists() {
                continue;
            }
            let text = std::fs::read_to_string(&from)
                .with_context(|| format!("cannot read {}", from.display()))?;
            if to.exists() {
                ensure!(
                    std::fs::read_to_string(&to).is_ok_and(|there| there == text),
                    "{} and {} differ; one of them is not of this program or machine",
                    from.display(),
                    to.display()
                );
            } else {
                write_text(&to, &text)?;
            }
        }
    }
    finish(common, &target, points)
}

/// What a shard says at its end: its own points, and that the rest is elsewhere.
pub(crate) fn report_shard(
    common: &Common,
    folder: &Path,
    mine: &[usize],
    points: usize,
) -> anyhow::Result<Exit> {
    let values = load(folder, mine.iter().copied())?;
    let text = format!(
        "{} of {points} points; `gainstage merge DIR... --out DIR` puts the shards together\n",
        mine.len()
    );
    output::result(common, &json!({ "points": values }), &[table(&values)], &text)?;
    Ok(exit(&values))
}

/// Writes the result of a sweep whose points are all there.
pub(crate) fn finish(common: &Common, folder: &Path, points: usize) -> anyhow::Result<Exit> {
    let missing: Vec<usize> = (0..points).filter(|&i| !point_file(folder, i).exists()).collect();
    if let Some(first) = missing.first() {
        anyhow::bail!(
            "{} of {points} points are missing in {}, the first is point {first}; run their shards and merge again",
            missing.len(),
            folder.display()
        );
    }
    let values = load(folder, 0..points)?;
    let description = read(&folder.join("sweep.json"))?;
    let result = json!({ "version": 1, "sweep": description, "points": values });
    let table = table(&values);
    let mut document = Document::new("Sweep", format!("{points} measured networks."));
    let mut section = Section::new("sweep", "Predicted and measured, point by point");
    section.table(table.clone());
    document.sections.push(section);
    document.write_bundle(folder)?;
    write_json(&folder.join("results.json"), &result)?;
    let text = format!("report: {}\n", folder.join("index.html").display());
    output::result(common, &result, &[table], &text)?;
    Ok(exit(&values))
}

pub(crate) fn read(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {}: is it of a sweep?", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

fn load(folder: &Path, indices: impl Iterator<Item = usize>) -> anyhow::Result<Vec<Value>> {
    indices.map(|index| read(&point_file(folder, index))).collect()
}

fn count(description: &Value, folder: &Path) -> anyhow::Result<usize> {
    description["points"]
        .as_u64()
        .map(|n| n as usize)
        .with_context(|| format!("{} names no number of points", folder.display()))
}

fn exit(points: &[Value]) -> Exit {
    let found = |p: &Value| p["disagreements"] != 0 || p["breakdowns"] != 0;
    if points.iter().any(found) { Exit::Findings } else { Exit::Clean }
}

const SIGNALS: [(&str, &str); 3] = [
    ("forward", "last layer forward"),
    ("gradient", "first layer gradient"),
    ("weight_gradient", "first layer weight gradient"),
];

fn table(points: &[Value]) -> Table {
    let names: Vec<&String> = points
        .first()
        .and_then(|p| p["settings"].as_object())
        .into_iter()
        .flat_map(|s| s.keys())
        .collect();
    let mut columns: Vec<String> = names.iter().map(|n| (*n).clone()).collect();
    for (_, title) in SIGNALS {
        columns.extend([format!("{title} predicted"), "measured".to_owned()]);
    }
    columns.extend(["cosine", "disagreements", "method"].map(str::to_owned));
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut table = Table::new("points", "Typical second moments of every point", &columns);
    for point in points {
        let mut cells: Vec<Cell> = names
            .iter()
            .map(|&name| Cell::text(point["settings"][name].as_str().unwrap_or_default()))
            .collect();
        let number = |v: &Value| v.as_f64().map_or_else(|| Cell::text("-"), Cell::number);
        for (signal, _) in SIGNALS {
            cells.extend([number(&point[signal]["predicted"]), number(&point[signal]["measured"])]);
        }
        cells.push(number(&point["batch"]["cosine"]));
        cells.push(Cell::count(point["disagreements"].as_u64().unwrap_or_default() as usize));
        cells.push(Cell::text(point["method"].as_str().unwrap_or_default()));
        table.push(cells);
    }
    table
}

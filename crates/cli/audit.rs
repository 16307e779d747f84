use gainstage_audit::{Audit as Record, Checkpoint, Described, Options, Rules, audit};

use crate::args::{Audit, Common, Format};
use crate::{Exit, output};

pub(crate) fn run(common: &Common, args: &Audit) -> anyhow::Result<Exit> {
    let rules = args.expect.as_deref().map(Rules::load).transpose()?;
    let options = Options {
        false_alarm_rate: args.rate,
        tolerance: args.tolerance,
        layout: args.layout.layout(),
        layers: args.layers.map(std::num::NonZeroUsize::get),
        rules,
        network: args.network.as_deref().map(Described::load).transpose()?,
        activation: args.activation.clone(),
    };
    let baseline = args.baseline.as_deref().map(Record::read).transpose()?;
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let mut record = audit(&checkpoint, &options)?;
    if let Some(baseline) = &baseline {
        record.compare(baseline);
    }
    let folder = common.out.join("audit");
    record.document().write_bundle(&folder)?;
    gainstage_report::write_json(&folder.join("results.json"), &record)?;
    gainstage_report::write_text(&folder.join("junit.xml"), &record.to_junit())?;
    gainstage_report::write_json(&folder.join("results.sarif"), &record.to_sarif())?;
    if let Some(path) = &args.write_rules {
        gainstage_report::write_text(path, &record.to_rules())?;
        output::note(common, &format!("rules: {}", path.display()));
    }
    match common.format {
        Format::Junit => output::write(&record.to_junit())?,
        Format::Sarif => {
            output::write(&(serde_json::to_string_pretty(&record.to_sarif())? + "\n"))?;
        }
        Format::Csv => output::result(common, &record, &[record.full_table()], "")?,
        Format::Markdown => {
            let list: Vec<String> = record.summary().lines().map(|l| format!("- {l}")).collect();
            let mut tables = record.table().to_markdown();
            if let Some(table) = record.consequence_table() {
                tables += &format!("\n{}", table.to_markdown());
            }
            output::write(&format!("{tables}\n{}\n", list.join("\n")))?;
        }
        Format::Text | Format::Json => {
            let page = folder.join("index.html");
            let text = format!("{}report: {}\n", record.summary(), page.display());
            let tables =
                [vec![record.table()], record.consequence_table().into_iter().collect()].concat();
            output::result(common, &record, &tables, &text)?;
        }
    }
    Ok(if record.has_findings() { Exit::Findings } else { Exit::Clean })
}

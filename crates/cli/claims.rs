use gainstage_claims::{Chapter, Claim, find, ledger};
use gainstage_report::{Cell, Table};
use serde::Serialize;

use crate::args::{Claims, ClaimsAction, Common};
use crate::{Exit, output};

#[derive(Serialize)]
struct Row {
    code: &'static str,
    chapter: Chapter,
    statement: &'static str,
    source: &'static str,
    prediction: &'static str,
    rule: &'static str,
    expected: String,
    /// Errors that must change the verdict.
    planted: Vec<String>,
}

fn row(claim: &Claim) -> Row {
    Row {
        code: claim.code,
        chapter: claim.chapter,
        statement: claim.statement,
        source: claim.source,
        prediction: claim.prediction,
        rule: claim.rule,
        expected: claim.expected.to_string(),
        planted: claim.planted.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn run(common: &Common, args: &Claims) -> anyhow::Result<Exit> {
    match args.action.as_ref().unwrap_or(&ClaimsAction::List) {
        ClaimsAction::List => {
            let rows: Vec<Row> = ledger().into_iter().map(row).collect();
            let mut table =
                Table::new("claims", "", &["claim", "expected", "planted", "statement"]);
            for row in &rows {
                table.push(vec![
                    Cell::text(row.code),
                    Cell::text(&row.expected),
                    Cell::text(row.planted.join("; ")),
                    Cell::text(row.statement),
                ]);
            }
            output::result(common, &rows, &[table], "")?;
        }
        ClaimsAction::Show { code } => {
            let row = row(find(code)?);
            let planted = row.planted.join("; ");
            let mut table = Table::new("claim", "", &["", row.code]);
            for (name, value) in [
                ("statement", row.statement),
                ("source", row.source),
                ("prediction", row.prediction),
                ("rule", row.rule),
                ("expected", row.expected.as_str()),
                ("planted", planted.as_str()),
            ] {
                table.push(vec![Cell::text(name), Cell::text(value)]);
            }
            let text = format!(
                "run it: gainstage verify --only {0}\nplant its errors: gainstage verify --planted --only {0}\n",
                row.code
            );
            output::result(common, &row, &[table], &text)?;
        }
    }
    Ok(Exit::Clean)
}

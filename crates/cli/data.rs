use gainstage_data::{Dataset, Published, Source, cache_folder, fetch, list, load as load_data};
use gainstage_report::{Cell, Table};
use serde::Serialize;

use crate::args::{Common, Data, DataAction};
use crate::{Exit, output, progress};

#[derive(Serialize)]
struct Row {
    name: &'static str,
    what: &'static str,
    place: String,
}

/// Loads images, saying what takes time.
pub(crate) fn load(common: &Common, source: &Source) -> anyhow::Result<Dataset> {
    let bar = progress::spinner(common, "loading images");
    let data = load_data(source, &mut |said| bar.set_message(said.to_owned()));
    bar.finish_and_clear();
    Ok(data?)
}

pub(crate) fn run(common: &Common, args: &Data) -> anyhow::Result<Exit> {
    match &args.action {
        DataAction::List => {
            let rows: Vec<Row> = list()
                .into_iter()
                .map(|e| Row { name: e.name, what: e.what, place: e.place })
                .collect();
            let mut table = Table::new("data", "", &["name", "what", "where"]);
            for row in &rows {
                table.push(vec![
                    Cell::text(row.name),
                    Cell::text(row.what),
                    Cell::text(&row.place),
                ]);
            }
            output::result(common, &rows, &[table], "")?;
        }
        DataAction::Fetch { name } => {
            let set = match name {
                Source::Mnist => Published::Mnist,
                Source::FashionMnist => Published::FashionMnist,
                other => {
                    return Err(gainstage_data::DataError::NotPublished(other.to_string()).into());
                }
            };
            let folder = cache_folder(set)?;
            let bar = progress::spinner(common, "asking the first mirror");
            let fetched = fetch(set, &folder, &mut |said| bar.set_message(said.to_owned()));
            bar.finish_and_clear();
            fetched?;
            output::write(&format!("{} is in {}\n", set.title(), folder.display()))?;
        }
    }
    Ok(Exit::Clean)
}

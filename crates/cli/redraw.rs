use gainstage_report::Document;

use crate::args::{Common, Report};
use crate::{Exit, output};

pub(crate) fn run(_: &Common, args: &Report) -> anyhow::Result<Exit> {
    Document::read(&args.dir)?.write_bundle(&args.dir)?;
    output::write(&format!("drawn again: {}\n", args.dir.join("index.html").display()))?;
    Ok(Exit::Clean)
}

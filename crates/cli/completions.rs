use clap::CommandFactory;

use crate::Exit;
use crate::args::{Cli, Completions};

pub(crate) fn run(args: &Completions) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gainstage", &mut script);
    crate::output::write(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Clean)
}

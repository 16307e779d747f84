//! The command line: parse, call, print, exit code. Every subcommand is one file.

mod activation;
mod args;
mod audit;
mod claims;
mod completions;
mod data;
mod gain;
mod merge;
mod notebook;
mod output;
mod phase;
mod planted;
mod predict;
mod progress;
mod propagate;
mod recommend;
mod redraw;
mod store;
mod sweep;
mod train;
mod trainability;
mod verify;
mod weights;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command, Format};

/// Findings are no errors: exit code 1 says that the program ran and saw something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Clean,
    Findings,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(Exit::Clean) => ExitCode::SUCCESS,
        Ok(Exit::Findings) => ExitCode::from(1),
        // A reader that has seen enough, as in `gainstage claims | head`, is no error.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let Cli { common, verify, command } = cli;
    if let Some(threads) = common.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global()?;
    }
    let audits = matches!(command, Some(Command::Audit(_)));
    if matches!(common.format, Format::Junit | Format::Sarif) && !audits {
        anyhow::bail!(
            "--format junit and sarif belong to gainstage audit; use text, json, csv or markdown"
        );
    }
    match command {
        None => verify::run(&common, &verify),
        Some(command) => {
            if verify != args::Verify::default() {
                anyhow::bail!(
                    "--budget, --only, --data and --planted belong behind the subcommand: gainstage verify --budget quick"
                );
            }
            match command {
                Command::Verify(args) => verify::run(&common, &args),
                Command::Notebook(args) => notebook::run(&common, &args),
                Command::Train(args) => train::run(&common, &args),
                Command::Propagate(args) => propagate::run(&common, &args),
                Command::Predict(args) => predict::run(&common, &args),
                Command::Merge(args) => merge::run(&common, &args),
                Command::Gain(args) => gain::run(&common, &args),
                Command::Phase(args) => phase::run(&common, &args),
                Command::Recommend(args) => recommend::run(&common, &args),
                Command::Audit(args) => audit::run(&common, &args),
                Command::Claims(args) => claims::run(&common, &args),
                Command::Data(args) => data::run(&common, &args),
                Command::Report(args) => redraw::run(&common, &args),
                Command::Completions(args) => completions::run(&args),
            }
        }
    }
}

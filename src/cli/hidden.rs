//! The hidden commands `cell` and `probe`: what a launched process does.

use crate::cell::{Conductor, Outcome};
use crate::claim::{self, creation::BORN};
use crate::conduct::{Measure, Serve, Traced};
use crate::error::{Context, Error, Phase, Result};
use crate::faults;
use crate::measure::limits;
use crate::plan::Plan;
use crate::sys::{clock, process};
use crate::transport;
use clap::Args;
use serde::{Serialize, de::DeserializeOwned};
use std::io::Write;
use std::process::ExitCode;

/// Arguments of the hidden command.
#[derive(Debug, Args)]
pub struct CellArgs {
    /// Process id of whoever launched it
    #[arg(long)]
    parent: Option<i32>,
    /// Go on carrying as many messages as each further line of input says
    #[arg(long)]
    serve: bool,
    /// Carry one message, then this many, then twice as many, for whoever traces the cell
    #[arg(long, conflicts_with = "serve")]
    traced: Option<u64>,
}

/// Runs the plan on standard input and prints its outcome as one line.
pub fn cell(args: &CellArgs) -> ExitCode {
    match read_order::<Plan>(args.parent) {
        Ok(plan) => {
            let conductor: &mut dyn Conductor = match args.traced {
                Some(n) => &mut Traced(n),
                None if args.serve => &mut Serve,
                None => &mut Measure,
            };
            let outcome = transport::find(&plan.mechanism)
                .and_then(|runner| runner.run(&plan, conductor))
                .unwrap_or_else(|error| Outcome::from_error(&plan, &error));
            answer(&outcome)
        }
        Err(error) => super::complain(&error),
    }
}

/// Arguments of the hidden command.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// Process id of whoever launched it
    #[arg(long)]
    parent: Option<i32>,
}

/// Measures the floors as ordered on standard input and prints them as one line.
pub fn probe(args: &ProbeArgs) -> ExitCode {
    match read_order(args.parent).and_then(limits::measure) {
        Ok(found) => answer(&found),
        Err(error) => super::complain(&error),
    }
}

/// Measures one cell of a claim as ordered on standard input and prints the answer as one line.
pub fn claim_cell(args: &ProbeArgs) -> ExitCode {
    match read_order::<claim::Cell>(args.parent).and_then(|cell| claim::run(&cell)) {
        Ok(found) => answer(&found),
        Err(error) => super::complain(&error),
    }
}

/// Makes the injections of one cell as ordered on standard input and prints what was seen as one line.
pub fn fault_cell(args: &ProbeArgs) -> ExitCode {
    match read_order::<faults::Order>(args.parent) {
        Ok(order) => answer(&faults::injection::reply(&order)),
        Err(error) => super::complain(&error),
    }
}

/// Where the program was started as [`BORN`]: writes the time of its first instruction to standard output and is done.
/// To be called first; the arguments are not parsed, since that takes as long as starting does.
pub fn born() -> Option<ExitCode> {
    let now = clock::now();
    std::env::args_os().nth(1).filter(|word| word == BORN)?;
    let written = std::io::stdout().write_all(&now.to_ne_bytes()).and_then(|()| std::io::stdout().flush());
    Some(if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn answer(value: &impl Serialize) -> ExitCode {
    match serde_json::to_string(value) {
        Ok(line) => super::print(&format!("{line}\n")).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Err(error) => super::complain(&Error::failed(Phase::Launch, "cannot write the outcome").because(error)),
    }
}

fn read_order<T: DeserializeOwned>(parent: Option<i32>) -> Result<T> {
    if let Some(parent) = parent {
        let parent = nix::unistd::Pid::from_raw(parent);
        process::die_with_parent(parent).context(Phase::Launch, "cannot tie the process to its launcher")?;
    }
    // So that it is known when the time of a set-up is taken.
    crate::names::Owner::me();
    // Unbuffered, byte by byte: what follows the plan belongs to the conductor.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context(Phase::Launch, "cannot read the order")?;
    serde_json::from_str(&line).context(Phase::Launch, "the order is not one")
}

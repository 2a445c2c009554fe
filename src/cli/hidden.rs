//! The hidden command `cell`: what a launched process does.

use crate::cell::{Conductor, Outcome};
use crate::conduct::{Measure, Serve, Traced};
use crate::error::{Context, Error, Phase, Result};
use crate::plan::Plan;
use crate::sys::process;
use crate::transport;
use clap::Args;
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
    match read_plan(args) {
        Ok(plan) => {
            let conductor: &mut dyn Conductor = match args.traced {
                Some(n) => &mut Traced(n),
                None if args.serve => &mut Serve,
                None => &mut Measure,
            };
            let outcome = transport::find(&plan.mechanism)
                .and_then(|runner| runner.run(&plan, conductor))
                .unwrap_or_else(|error| Outcome::from_error(&plan, &error));
            match serde_json::to_string(&outcome) {
                Ok(line) => super::print(&format!("{line}\n")).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
                Err(error) => super::complain(&Error::failed(Phase::Launch, "cannot write the outcome").because(error)),
            }
        }
        Err(error) => super::complain(&error),
    }
}

fn read_plan(args: &CellArgs) -> Result<Plan> {
    if let Some(parent) = args.parent {
        let parent = nix::unistd::Pid::from_raw(parent);
        process::die_with_parent(parent).context(Phase::Launch, "cannot tie the cell to its launcher")?;
    }
    // Unbuffered, byte by byte: what follows the plan belongs to the conductor.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context(Phase::Launch, "cannot read the plan")?;
    serde_json::from_str(&line).context(Phase::Launch, "the plan is not one")
}

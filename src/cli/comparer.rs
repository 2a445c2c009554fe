//! `ipcost`: the comparer and everything around it.

use super::advise::{AdviseArgs, advise};
use super::check::{Check, check};
use super::claims::{Claims, claims};
use super::clean::{Clean, clean};
use super::compare::{Compare, compare};
use super::complain;
use super::diff::{DiffArgs, diff};
use super::faults::{self, Faults};
use super::hidden::{CellArgs, ProbeArgs, born, cell, claim_cell, fault_cell, probe};
use super::host::{HostArgs, host};
use super::limits::{LimitsArgs, limits};
use super::list::list;
use super::papers::{CompletionArgs, completions, man};
use super::report::{Folders, report};
use super::show::{ShowArgs, show};
use crate::error::{Context, Phase, Result};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

/// What communication costs on this machine: the same workload over every mechanism, between processes and threads
#[derive(Debug, Parser)]
#[command(
    version = crate::VERSION,
    after_help = "Without a command: ipcost compare --profile quick.\nExit codes: 0 done, 1 something failed (finished results are kept), 2 wrong usage, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure mechanisms side by side, print tables, keep the results
    Compare(Box<Compare>),
    /// Test what textbooks say of processes and threads, with verdicts
    Claims(Claims),
    /// Kill, crash and stop the peer of every mechanism, and see that the survivor fares as is stated
    Faults(Faults),
    /// Let the instrument check itself and every mechanism on this machine
    Check(Check),
    /// Show every mechanism and its properties
    List {
        /// What to print
        #[arg(long, value_enum, default_value_t = ListFormat::Table)]
        format: ListFormat,
    },
    /// Show the tables of a saved run
    Show(Box<ShowArgs>),
    /// Hold two saved runs against each other: what is slower, what differs around it, and whether that can be said
    Diff(Box<DiffArgs>),
    /// Say which mechanisms meet a demand, by what was measured, and why the others do not
    Advise(AdviseArgs),
    /// Regenerate every table and page of saved runs from their raw files, measuring nothing
    Report(Folders),
    /// Measure the physical floors of this machine
    Limits(LimitsArgs),
    /// Print the environment record
    Host(HostArgs),
    /// Remove what dead runs of this tool left behind, and say what; nothing of living runs, other users or other programs
    Clean(Clean),
    /// Print completions for a shell
    Completions(CompletionArgs),
    /// Write manual pages of all commands and of the programs of all mechanisms into a folder
    Man {
        /// An existing folder
        dir: PathBuf,
    },
    #[command(hide = true)]
    Cell(CellArgs),
    #[command(hide = true)]
    Probe(ProbeArgs),
    #[command(hide = true)]
    ClaimCell(ProbeArgs),
    #[command(hide = true)]
    FaultCell(ProbeArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    Table,
    Json,
}

/// The whole program `ipcost`.
pub fn comparer() -> ExitCode {
    if let Some(code) = born() {
        return code;
    }
    crate::sys::process::survive_size_limit();
    let command = Cli::parse().command.unwrap_or_else(|| match Cli::parse_from(["ipcost", "compare"]).command {
        Some(command) => command,
        None => unreachable!("compare is a command"),
    });
    let result = match command {
        Command::Compare(args) => compare(&args),
        Command::Claims(args) => claims(&args),
        Command::Faults(args) => faults::faults(&args),
        Command::Check(args) => check(&args),
        Command::List { format } => list(format),
        Command::Show(args) => show(&args),
        Command::Diff(args) => diff(&args),
        Command::Advise(args) => advise(&args),
        Command::Report(args) => report(&args),
        Command::Limits(args) => limits(&args),
        Command::Host(args) => host(&args),
        Command::Clean(args) => clean(&args),
        Command::Completions(args) => completions(&args, Cli::command()),
        Command::Man { dir } => man(&dir, Cli::command()),
        Command::Cell(args) => return cell(&args),
        Command::Probe(args) => return probe(&args),
        Command::ClaimCell(args) => return claim_cell(&args),
        Command::FaultCell(args) => return fault_cell(&args),
    };
    result.unwrap_or_else(|error| complain(&error))
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value).context(Phase::Report, "cannot write JSON")? + "\n")
}

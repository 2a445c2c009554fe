//! `ipcost`: the comparer and everything around it.

use super::check::{Check, check};
use super::claims::{Claims, claims};
use super::clean::{Clean, clean};
use super::compare::{Compare, compare};
use super::faults::{self, Faults};
use super::hidden::{CellArgs, ProbeArgs, born, cell, claim_cell, fault_cell, probe};
use super::host::{HostArgs, host};
use super::limits::{LimitsArgs, limits};
use super::options::writable_dir;
use super::report::{Folders, report};
use super::{complain, print};
use crate::claim::page;
use crate::claim::record::CLAIMS_FILE;
use crate::error::{Context, Phase, Result};
use crate::faults::record::FAULTS_FILE;
use crate::report::rows::Which;
use crate::report::{Report, table};
use crate::sys::process::HeldSignals;
use crate::transport::{ALL, ALL_WAITS, Bound, Meeting, PATTERNS, Spec, left_out};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What communication costs on this machine: the same workload over every mechanism, between processes and threads
#[derive(Debug, Parser)]
#[command(
    version,
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
    Show {
        /// Results folder
        dir: PathBuf,
        /// Count only launches without a reason for doubt
        #[arg(long)]
        unflagged: bool,
    },
    /// Regenerate every table and page of saved runs from their raw files, measuring nothing
    Report(Folders),
    /// Measure the physical floors of this machine
    Limits(LimitsArgs),
    /// Print the environment record
    Host(HostArgs),
    /// Remove what dead runs of this tool left behind, and say what; nothing of living runs, other users or other programs
    Clean(Clean),
    /// Print completions for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a folder
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
enum ListFormat {
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
        Command::Show { dir, unflagged } => show(&dir, if unflagged { Which::Unflagged } else { Which::All }),
        Command::Report(args) => report(&args),
        Command::Limits(args) => limits(&args),
        Command::Host(args) => host(&args),
        Command::Clean(args) => clean(&args),
        Command::Completions { shell } => completions(shell),
        Command::Man { dir } => man(&dir),
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

fn show(dir: &Path, which: Which) -> Result<ExitCode> {
    if dir.join(FAULTS_FILE).exists() {
        return faults::show(dir).map(|()| ExitCode::SUCCESS);
    }
    if dir.join(CLAIMS_FILE).exists() {
        let (judged, remarks) = page::load(dir)?;
        judged.iter().try_for_each(|one| print(&page::section(one, false)))?;
        remarks.iter().for_each(|remark| eprintln!("remark: {remark}"));
        return Ok(ExitCode::SUCCESS);
    }
    print(&table::page(&Report::load(dir)?, which, table::Style::Terminal)).map(|()| ExitCode::SUCCESS)
}

/// A mechanism as `ipcost list` shows it: what it is, and what of that works here.
#[derive(serde::Serialize)]
struct Listed {
    #[serde(flatten)]
    spec: &'static Spec,
    /// The largest message here.
    bound: Bound,
    /// Why it cannot be used here.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
}

fn list(format: ListFormat) -> Result<ExitCode> {
    // Trials of mechanisms make names.
    let held = HeldSignals::new();
    let listed: Vec<Listed> = ALL
        .iter()
        .map(|runner| Listed {
            spec: runner.spec(),
            bound: runner.bound(),
            unusable: runner.usable().err().map(|error| error.to_string()),
        })
        .collect();
    drop(held);
    let text = match format {
        ListFormat::Json => to_json(&listed)?,
        ListFormat::Table => list_table(&listed),
    };
    print(&text).map(|()| ExitCode::SUCCESS)
}

fn list_table(listed: &[Listed]) -> String {
    let mut text = String::new();
    for Listed { spec, bound, unusable } in listed {
        let parties: Vec<_> = spec.parties.iter().map(|p| p.word()).collect();
        let meeting = match (spec.meeting, spec.meeting.place()) {
            (_, Some(place)) => format!("; two terminals: --at {place}"),
            (Meeting::Stdio, None) => "; two terminals: standard streams".into(),
            (_, None) => String::new(),
        };
        text.push_str(&format!("{:<16} {}\n", spec.name, spec.summary));
        let mut say = |line: String| text.push_str(&format!("{:<16} {line}\n", ""));
        say(format!("between: {}; copies: {}{meeting}", parties.join(", "), spec.copies));
        if spec.waits != ALL_WAITS {
            let waits: Vec<_> = spec.waits.iter().map(|wait| wait.word()).collect();
            say(format!("waits: {}", waits.join(", ")));
        }
        if spec.patterns != PATTERNS && !spec.patterns.is_empty() {
            let patterns: Vec<_> = spec.patterns.iter().map(|pattern| pattern.word()).collect();
            say(format!("patterns: {}", patterns.join(", ")));
        }
        say(format!("peer death: {}", spec.peer_death.text));
        if let Some(setting) = &bound.set_by {
            say(format!("at most {} bytes a message here: {setting}", bound.size));
        }
        if let Some(why) = unusable {
            say(format!("NOT USABLE HERE: {why}"));
        }
    }
    for (name, feature) in left_out() {
        text.push_str(&format!("{name:<16} NOT IN THIS BUILD: cargo build --release --features {feature}\n"));
    }
    text.push_str("\nEach is a program of its own: ipc-<name> --help.\n");
    text.push_str("The waits are block, hybrid, yield and spin where nothing else is said.\n");
    text.push_str("The patterns are fan-in, fan-out and pairs where nothing else is said; the controls have none.\n");
    text
}

fn completions(shell: clap_complete::Shell) -> Result<ExitCode> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ipcost", &mut bytes);
    print(&String::from_utf8_lossy(&bytes)).map(|()| ExitCode::SUCCESS)
}

fn man(dir: &Path) -> Result<ExitCode> {
    writable_dir(dir)?;
    clap_mangen::generate_to(Cli::command(), dir)
        .context(Phase::Report, format!("cannot write into {}", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

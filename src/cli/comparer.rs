//! `ipcost`: the comparer and everything around it.

use super::check::{Check, check};
use super::compare::{Compare, compare};
use super::hidden::{CellArgs, ProbeArgs, cell, probe};
use super::host::{HostArgs, host};
use super::limits::{LimitsArgs, limits};
use super::options::writable_dir;
use super::{complain, print};
use crate::error::{Context, Phase, Result};
use crate::report::rows::Which;
use crate::report::{self, Report, table};
use crate::transport::{ALL, Meeting, Spec};
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
    /// Regenerate every table of saved runs from their raw files, measuring nothing
    Report {
        /// Results folders
        #[arg(required = true)]
        dirs: Vec<PathBuf>,
    },
    /// Measure the physical floors of this machine
    Limits(LimitsArgs),
    /// Print the environment record
    Host(HostArgs),
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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    Table,
    Json,
}

/// The whole program `ipcost`.
pub fn comparer() -> ExitCode {
    let command = Cli::parse().command.unwrap_or_else(|| match Cli::parse_from(["ipcost", "compare"]).command {
        Some(command) => command,
        None => unreachable!("compare is a command"),
    });
    let result = match command {
        Command::Compare(args) => compare(&args),
        Command::Check(args) => check(&args),
        Command::List { format } => list(format),
        Command::Show { dir, unflagged } => show(&dir, if unflagged { Which::Unflagged } else { Which::All }),
        Command::Report { dirs } => regenerate(&dirs),
        Command::Limits(args) => limits(&args),
        Command::Host(args) => host(&args),
        Command::Completions { shell } => completions(shell),
        Command::Man { dir } => man(&dir),
        Command::Cell(args) => return cell(&args),
        Command::Probe(args) => return probe(&args),
    };
    result.unwrap_or_else(|error| complain(&error))
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value).context(Phase::Report, "cannot write JSON")? + "\n")
}

fn show(dir: &Path, which: Which) -> Result<ExitCode> {
    print(&table::page(&Report::load(dir)?, which, table::Style::Terminal)).map(|()| ExitCode::SUCCESS)
}

fn regenerate(dirs: &[PathBuf]) -> Result<ExitCode> {
    for dir in dirs {
        let (report, written) = report::regenerate(dir)?;
        for remark in &report.saved.remarks {
            eprintln!("{}: {remark}", dir.display());
        }
        for path in written {
            print(&format!("{}\n", path.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(format: ListFormat) -> Result<ExitCode> {
    let specs: Vec<&Spec> = ALL.iter().map(|runner| runner.spec()).collect();
    let text = match format {
        ListFormat::Json => to_json(&specs)?,
        ListFormat::Table => list_table(&specs),
    };
    print(&text).map(|()| ExitCode::SUCCESS)
}

fn list_table(specs: &[&Spec]) -> String {
    let mut text = String::new();
    for spec in specs {
        let parties: Vec<_> = spec.parties.iter().map(|p| p.word()).collect();
        let meeting = match spec.meeting {
            Meeting::Stdio => "; two terminals: standard streams",
            Meeting::Path => "; two terminals: --at PATH",
            Meeting::ShmName => "; two terminals: --at NAME",
            Meeting::Never => "",
        };
        text.push_str(&format!("{:<13} {}\n", spec.name, spec.summary));
        text.push_str(&format!("{:<13} between: {}; copies: {}{meeting}\n", "", parties.join(", "), spec.copies));
        text.push_str(&format!("{:<13} peer death: {}\n", "", spec.peer_death));
    }
    text.push_str(
        "\nEach is a program of its own: ipc-<name> --help. All honour the waits block, spin, yield and hybrid.\n",
    );
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

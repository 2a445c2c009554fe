//! `ipcost claims`: what textbooks say of processes and threads, tested here.

use super::screen::say;
use super::signals::{Duty, watch};
use super::{aside, print};
use crate::campaign::launch::INTERRUPTED;
use crate::claim::lab::{Lab, notebook};
use crate::claim::{CLAIMS, Cell, Claim, Setting, find, page};
use crate::error::{Context, Error, Phase, Result};
use crate::host::{Host, folder_name};
use crate::plan::parse_millis;
use crate::report::text::counted;
use crate::results::{self, notebook::Notebook};
use crate::sys::{clock, cpu};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Its options.
#[derive(Debug, Args)]
pub struct Claims {
    /// Claims to test [default: all]
    #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(CLAIMS.iter().map(|claim| claim.name)))]
    names: Vec<String>,
    /// All cells and twenty rounds of each: minutes a claim, narrow intervals
    #[arg(long)]
    full: bool,
    /// Time for each claim [default: 16s, full: 150s]
    #[arg(long, value_name = "TIME", value_parser = parse_millis)]
    budget: Option<u64>,
    /// Seed of the order in which cells run [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Folder for the results [default: results/<host>/<date-time>-claims]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Plant an effect that the experiment must find
    #[arg(long, value_name = "WORD", hide = true)]
    plant: Option<String>,
}

/// Tests claims, prints a line for each, and keeps every launch.
///
/// # Errors
/// A usage error for a claim that does not exist; when the folder cannot be written.
pub fn claims(args: &Claims) -> Result<ExitCode> {
    let chosen = chosen(args)?;
    let cpus = cpu::allowed().context(Phase::Setup, "cannot ask for the allowed CPUs")?;
    let setting = Setting { full: args.full, cpus, plant: args.plant.clone() };
    let host = Host::read();
    let default = || Path::new("results").join(&host.slug).join(format!("{}-claims", folder_name()));
    let dir = args.out.clone().unwrap_or_else(default);
    watch(Duty::StopCampaign);
    let mut notebook = folder(&dir, &host)?;
    let interrupted = || INTERRUPTED.load(Ordering::SeqCst);
    let budget = args.budget.map(Duration::from_millis);
    let bar = super::progress::bar(None, "{elapsed} {msg}");
    for claim in &chosen {
        let mut begins = |done: usize, total: usize, cell: &Cell| {
            let now = format!("{} {done}/{total}: {}", claim.name, cell.case);
            bar.set_message(super::progress::cut(&now, super::progress::ELAPSED));
        };
        let seed = args.seed.unwrap_or_else(|| clock::now() % 1_000_000);
        let mut lab = Lab {
            setting: &setting,
            budget,
            seed,
            notebook: &mut notebook,
            begins: &mut begins,
            interrupted: &interrupted,
        };
        // A claim that cannot be tried here is none the less for the others; a journal that cannot be written is the end.
        let line = match (claim.cells)(&setting) {
            Ok(cells) => page::line(&page::judge(claim, &lab.measure(cells)?)),
            Err(error) => format!("{:<16} not tested: {error}\n", claim.name),
        };
        if interrupted() {
            break;
        }
        if args.format == Format::Table {
            bar.suspend(|| say(&line))?;
        }
    }
    bar.finish_and_clear();
    let (judged, _) = page::regenerate(&dir)?;
    match args.format {
        Format::Json => {
            print(&(serde_json::to_string_pretty(&judged).context(Phase::Report, "cannot write JSON")? + "\n"))?
        }
        // Whoever asks for one claim wants its figures.
        Format::Table if chosen.len() < CLAIMS.len() || args.full => {
            print("\n")?;
            judged.iter().try_for_each(|one| say(&page::section(one, false)))?;
        }
        Format::Table => {}
    }
    aside("figures in ", &dir.join("claims.md").display().to_string());
    if interrupted() {
        let launches = judged.iter().map(|one| one.launches).sum();
        aside("", &format!("interrupted after {}, which are kept", counted(launches, "launch")));
        return Ok(ExitCode::from(super::INTERRUPTED));
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen(args: &Claims) -> Result<Vec<&'static Claim>> {
    let chosen: Vec<&'static Claim> = if args.names.is_empty() {
        CLAIMS.to_vec()
    } else {
        args.names.iter().map(|name| find(name)).collect::<Result<_>>()?
    };
    if let Some(word) = &args.plant
        && let Some(claim) = chosen.iter().find(|claim| !claim.plants.contains(&word.as_str()))
    {
        let what = format!("nothing called {word:?} can be planted in {}", claim.name);
        return Err(Error::usage(what).hint(format!("choose from {}", claim.plants.join(", "))));
    }
    Ok(chosen)
}

/// A new results folder with the journal.
fn folder(dir: &Path, host: &Host) -> Result<Notebook> {
    results::begin(dir, host)?;
    notebook(dir)
}

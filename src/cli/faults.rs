//! `ipcost faults`: what each mechanism does when its peer dies.

use super::options::mechanism_name;
use super::screen::{self, Screen};
use super::signals::{Duty, watch};
use super::{aside, print};
use crate::campaign::launch::{INTERRUPTED, ask_timed, own_command};
use crate::campaign::matrix::nothing_can_run;
use crate::campaign::surroundings::Surroundings;
use crate::claim::record::Status;
use crate::error::{Context, Error, Phase, Result};
use crate::faults::injection::Reply;
use crate::faults::matrix::{Judged, Style, judge, judge_by, page, page_in, title};
use crate::faults::record::{FAULTS_FILE, Row, notebook, read};
use crate::faults::{Cell, Depth, Order, Plant, cells};
use crate::host::{Host, folder_name};
use crate::report::page as report;
use crate::report::text::counted;
use crate::results::{self, notebook::Notebook};
use crate::sys::{clock, cpu};
use crate::transport::{ALL, PeerDeath, Runner, find};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The hidden command that makes the injections of one cell.
pub const COMMAND: &str = "fault-cell";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Markdown,
}

/// Its options.
#[derive(Debug, Args)]
pub struct Faults {
    /// The most telling cells and a few injections of each: under a minute
    #[arg(long)]
    quick: bool,
    /// Mechanisms to look at [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = mechanism_name())]
    mechanism: Vec<String>,
    /// Injections of each cell [default: 20; quick: 3 kills, 1 of everything else]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    injections: Option<u64>,
    /// Seed of the moments at which victims come to harm [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Folder for the results [default: results/<host>/<date-time>-faults]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Plant an effect that must be found
    #[arg(long, value_enum, hide = true)]
    plant: Option<Plant>,
}

/// Makes all injections, prints the matrix, and keeps a line for each cell.
///
/// # Errors
/// A usage error for a mechanism that does not exist; when the folder cannot be written.
pub fn faults(args: &Faults) -> Result<ExitCode> {
    let runners = chosen(&args.mechanism)?;
    let depth = if args.quick { Depth::Quick } else { Depth::Full };
    let seed = args.seed.unwrap_or_else(|| clock::now() % 1_000_000);
    let cpus = cpu::allowed().context(Phase::Setup, "cannot ask for the allowed CPUs")?;
    let host = Host::read();
    let default = || Path::new("results").join(&host.slug).join(format!("{}-faults", folder_name()));
    let dir = args.out.clone().unwrap_or_else(default);
    let interrupted = || INTERRUPTED.load(Ordering::SeqCst);
    let bar = super::progress::bar(None, "{elapsed} {msg}");
    let all: Vec<(&'static dyn Runner, Cell)> = runners
        .iter()
        .flat_map(|runner| cells(runner.spec(), depth).into_iter().map(move |cell| (*runner, cell)))
        .collect();
    if all.is_empty() {
        let what = "a control has no peer that could die";
        return Err(Error::usage(what).hint("choose mechanisms that connect two parties"));
    }
    watch(Duty::StopCampaign);
    let mut notebook = folder(&dir, &host)?;
    let mut judged: Vec<Judged> = Vec::new();
    for (number, (runner, cell)) in all.iter().enumerate() {
        let death = &runner.spec().peer_death;
        let injections = args.injections.map(|n| n as usize);
        let order = Order { plant: args.plant, ..cell.order(death, depth, injections, seed + number as u64) };
        let now = format!("{}/{}: {} {}", number + 1, all.len(), cell.mechanism, cell.moment.words());
        bar.set_message(super::progress::cut(&now, super::progress::ELAPSED));
        let row = launch(&order, &cpus);
        if interrupted() {
            break;
        }
        notebook.append(&row)?;
        let one = if args.plant == Some(Plant::Spec) { judge_by(row, &CANNOT_BE) } else { judge_by(row, death) };
        if !one.as_stated {
            bar.suspend(|| aside("MISMATCH ", &format!("{}: {}", title(&one), one.mismatches.join("; "))));
        }
        judged.push(one);
    }
    bar.finish_and_clear();
    match args.format {
        Format::Json => print(&super::comparer::to_json(&judged)?)?,
        Format::Table => print(&page_in(&judged, Style::Terminal, Screen::of_stdout().width))?,
        Format::Markdown => print(&page(&judged, Style::Markdown))?,
    }
    if !judged.is_empty() {
        regenerate(&dir)?;
    }
    aside("every cell in ", &dir.join(FAULTS_FILE).display().to_string());
    if interrupted() {
        aside("", &format!("interrupted after {} of {}, which are kept", judged.len(), counted(all.len(), "cell")));
        return Ok(ExitCode::from(super::INTERRUPTED));
    }
    let refused = |one: &Judged| (one.row.status == Status::Unsupported).then(|| one.row.reason.clone()).flatten();
    if let Some(reasons) = judged.iter().map(refused).collect::<Option<Vec<_>>>()
        && let Some(reason) = reasons.into_iter().next()
    {
        return Err(nothing_can_run(&reason));
    }
    Ok(if judged.iter().all(|one| one.as_stated) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A statement that no mechanism keeps.
const CANNOT_BE: PeerDeath = PeerDeath {
    text: "planted",
    consumer: PeerDeath::STREAM.producer,
    producer: PeerDeath::WATCHED.consumer,
    ..PeerDeath::STREAM
};

/// Makes `faults.md` and the page of a saved run again; their paths.
///
/// # Errors
/// When the journal cannot be read or the page not written.
pub fn regenerate(dir: &Path) -> Result<[PathBuf; 2]> {
    const PAGE: &str = "faults.md";
    let (judged, remark) = saved(dir)?;
    let remark = remark.map_or_else(String::new, |remark| format!("\n- remark: {remark}\n"));
    let text = format!("# When a peer dies\n\n{}{remark}", page(&judged, Style::Markdown));
    results::write(dir, PAGE, &text)?;
    Ok([dir.join(PAGE), report::write(&report::Material::load(dir)?, &[], dir)?])
}

/// The cells of a saved run, judged by what the SPECs state now, and what is wrong with the journal.
fn saved(dir: &Path) -> Result<(Vec<Judged>, Option<String>)> {
    let (rows, remark) = read(dir)?;
    Ok((rows.into_iter().filter_map(judge).collect(), remark))
}

/// Prints the matrix of a saved run, judged by what the SPECs state now.
///
/// # Errors
/// When the journal cannot be read.
pub fn show(dir: &Path) -> Result<()> {
    let (judged, remark) = saved(dir)?;
    screen::show(&page_in(&judged, Style::Terminal, Screen::of_stdout().width))?;
    remark.iter().for_each(|text| super::remark(text));
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static dyn Runner>> {
    if names.is_empty() || names.iter().any(|name| name == "all") {
        return Ok(ALL.to_vec());
    }
    names.iter().map(|name| find(name)).collect()
}

/// How long the injections of a cell may take before they count as hanging: what a loaded machine needs and more.
fn deadline(order: &Order) -> Duration {
    Duration::from_secs(30) + Duration::from_millis(order.injections as u64 * (1000 + 2 * order.patience_ms))
}

fn launch(order: &Order, cpus: &[usize]) -> Row {
    let before = Surroundings::look(cpus.to_vec());
    match ask_timed::<Reply>(own_command(COMMAND), order, deadline(order)) {
        Ok((reply, harness)) => {
            let seen = before.since(harness);
            let taken = seen.foreign_cpu_ns.zip(seen.steal_ns).map(|(foreign, steal)| foreign + steal);
            Row::new(order, reply, taken.map(|taken| taken as f64 / harness.1.max(1) as f64))
        }
        Err(error) => Row::new(order, Reply::Not(Status::of(&error), error.to_string()), None),
    }
}

/// A new results folder with the environment record.
fn folder(dir: &Path, host: &Host) -> Result<Notebook> {
    results::begin(dir, host)?;
    notebook(dir)
}

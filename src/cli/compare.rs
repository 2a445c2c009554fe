//! `ipcost compare`: a campaign from the command line, with its progress.

use super::options::{LoadOptions, writable_dir};
use super::print;
use super::signals::{Duty, watch};
use crate::campaign::journal::{Campaign, Journal};
use crate::campaign::launch::{INTERRUPTED, deadline_for, launch};
use crate::campaign::matrix::{Profile, Request, add_controls, require_cells};
use crate::campaign::runner::{self, Budget, Progress};
use crate::campaign::trace;
use crate::cell::{Outcome, Status};
use crate::error::{Context, Error, Phase, Result};
use crate::host::{Host, folder_name};
use crate::plan::{
    Offered, Parties, Placement, Plan, Span, Touch, Wait, Workload, parse_cpus, parse_millis, parse_placement,
    parse_size, show_size,
};
use crate::report::{self, table};
use crate::sys::cpu;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
    Markdown,
}

/// Its options.
#[derive(Debug, Args)]
pub struct Compare {
    /// quick answers within 90 s; full takes every wait, four sizes and twenty rounds
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
    /// Mechanisms, or all
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    mechanism: Vec<String>,
    /// ping-pong, stream, offered-load
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    workload: Vec<Workload>,
    #[command(flatten)]
    load: LoadOptions,
    /// Bytes per message: 64,4KiB
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = parse_size)]
    size: Vec<usize>,
    /// block, spin, yield, hybrid
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    wait: Vec<Wait>,
    /// process, thread
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    parties: Vec<Parties>,
    /// same-cpu, cross-cpu, unpinned
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "cpus", value_parser = parse_placement)]
    placement: Vec<Placement>,
    /// The two CPUs, such as 0,1
    #[arg(long, value_name = "A,B", value_parser = parse_cpus)]
    cpus: Option<Placement>,
    /// How much of each message is written and verified
    #[arg(long, default_value = "whole")]
    touch: Touch,
    /// Fresh launches of every cell [default: 6, full: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: Option<u32>,
    /// Length of the whole campaign [default: 70s, full: 20m]
    #[arg(long, value_name = "TIME", value_parser = parse_millis)]
    budget: Option<u64>,
    /// Seed of the order in which cells run [default: from the clock]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Folder for the results [default: results/<host>/<date-time>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder for mechanisms that need a file
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Runs the campaign and prints its tables.
///
/// # Errors
/// When nothing of what was asked for can run, or the results cannot be written.
pub fn compare(args: &Compare) -> Result<ExitCode> {
    let allowed = cpu::allowed().context(Phase::Setup, "cannot ask for the allowed CPUs")?;
    let request = Request {
        profile: args.profile,
        mechanisms: args.mechanism.clone(),
        workloads: args.workload.clone(),
        offered: offered(args)?,
        sizes: args.size.clone(),
        waits: args.wait.clone(),
        parties: args.parties.clone(),
        placements: args.cpus.map_or_else(|| args.placement.clone(), |cpus| vec![cpus]),
        touch: args.touch,
        dir: args.dir.clone(),
    };
    let mut matrix = request.matrix(allowed.len())?;
    require_cells(&matrix)?;
    if let Some(dir) = &args.dir {
        writable_dir(dir)?;
    }
    add_controls(&mut matrix.cells);
    let full = args.profile == Profile::Full;
    let rounds = args.rounds.unwrap_or(if full { 20 } else { 6 });
    let total = Duration::from_millis(args.budget.unwrap_or(if full { 20 * 60_000 } else { 70_000 }));
    let host = Host::read();
    let out = args.out.clone().unwrap_or_else(|| Path::new("results").join(&host.slug).join(folder_name()));
    let seed = args.seed.unwrap_or_else(|| crate::sys::clock::now() % 1_000_000);
    let campaign = Campaign { seed, rounds, cells: matrix.cells, unsupported: matrix.unsupported };
    let budget = Budget { run: run_span(total, campaign.cells.len(), rounds), total: Some(total) };
    let mut journal = Journal::create(&out, &host, &campaign)?;
    watch(Duty::StopCampaign);
    super::limits::record(&campaign.cells, &allowed, &out);
    let mut bar = Bar::new(&campaign, total);
    let mut start = |plan: &Plan| launch(plan, deadline_for(plan));
    let interrupted = || INTERRUPTED.load(Ordering::SeqCst);
    let mut tally = runner::run(&campaign, budget, &mut journal, &mut bar, &mut start, &interrupted)?;
    bar.finish();
    if !tally.interrupted {
        trace::all(&campaign.cells, &out, (total / TRACING).max(LEAST_TRACING), &interrupted)?;
        tally.interrupted = interrupted();
    }
    let (saved, _) = report::regenerate(&out)?;
    match args.format {
        Format::Table => print(&table::page(&saved, table::Style::Terminal))?,
        Format::Markdown => print(&table::page(&saved, table::Style::Markdown))?,
        Format::Csv => print(&report::csv(&saved)?)?,
        Format::Json => {
            for run in &saved.runs {
                print(&(serde_json::to_string(run).context(Phase::Report, "cannot write JSON")? + "\n"))?;
            }
        }
    }
    eprintln!("results in {}", out.display());
    if tally.interrupted {
        eprintln!(
            "interrupted after {} of {} launches; finished ones are kept",
            tally.runs,
            campaign.cells.len() * rounds as usize
        );
        return Ok(ExitCode::from(super::INTERRUPTED));
    }
    if tally.out_of_time {
        eprintln!("the budget of {} s ended the campaign after {} of {rounds} rounds", total.as_secs(), tally.rounds);
    }
    Ok(if tally.bad > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The load that rows are compared at. One rate for all of them: a share of each one's own saturation would be another
/// rate in each row.
fn offered(args: &Compare) -> Result<Option<Offered>> {
    match (args.workload.contains(&Workload::OfferedLoad), args.load.rate) {
        (false, None) => Ok(None),
        (true, Some(_)) => Ok(Some(args.load.offered())),
        (true, None) => Err(Error::usage("offered-load compares mechanisms at one rate and there is none")
            .hint("add --rate, such as --rate 50k")),
        (false, Some(_)) => {
            Err(Error::usage("--rate is the rate of an offered load").hint("add --workload offered-load"))
        }
    }
}

/// Shortest and longest run that a campaign plans, and what launching one costs besides, ms.
const SHORTEST_MS: u64 = 60;
const LONGEST_MS: u64 = 2000;
const LAUNCH_MS: u64 = 12;

/// The part of the campaign's time that traced runs may take after it, and what they may take of the shortest one.
const TRACING: u32 = 15;
const LEAST_TRACING: Duration = Duration::from_secs(2);

/// The length of a run that makes the campaign fit its budget.
fn run_span(total: Duration, cells: usize, rounds: u32) -> Span {
    let each = total.as_millis() as u64 / (cells as u64 * u64::from(rounds)).max(1);
    Span::Millis(each.saturating_sub(LAUNCH_MS).clamp(SHORTEST_MS, LONGEST_MS))
}

/// Progress on standard error; silent when that is no terminal.
struct Bar {
    bar: ProgressBar,
    flagged: usize,
    bad: usize,
}

impl Bar {
    fn new(campaign: &Campaign, total: Duration) -> Self {
        let runs = campaign.cells.len() as u64 * u64::from(campaign.rounds);
        let target =
            if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(runs), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} launches, {eta} left, {msg}") {
            bar.set_style(style);
        }
        if std::io::stderr().is_terminal() {
            eprintln!(
                "{} cells, {} rounds of fresh launches, about {} s",
                campaign.cells.len(),
                campaign.rounds,
                total.as_secs()
            );
        }
        Self { bar, flagged: 0, bad: 0 }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn starts(&mut self, done: usize, _: usize, plan: &Plan) {
        self.bar.set_position(done as u64);
        let Plan { mechanism, workload, size, wait, .. } = plan;
        let doubts = format!("{} with doubts, {} bad", self.flagged, self.bad);
        self.bar.set_message(format!("{doubts}; now {mechanism} {workload} {} {wait}", show_size(*size)));
    }

    fn ended(&mut self, outcome: &Outcome) {
        self.flagged += usize::from(!outcome.flags.is_empty());
        if outcome.status != Status::Ok {
            self.bad += 1;
            let reason = outcome.reason.as_deref().unwrap_or("no reason given");
            let line = format!("{} {}: {reason}", outcome.mechanism, report::text::status(outcome.status));
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }
}

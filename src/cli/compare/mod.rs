//! `ipcost compare`: a campaign from the command line.

mod bar;
mod time;

use self::bar::Bar;
use self::time::{least_ms, require_time, run_span};
use super::options::{
    BatchOption, LoadsOptions, OutstandingOption, PageOptions, PeersOption, mechanism_name, parties, placement, wait,
    workload, writable_dir,
};
use super::screen::Screen;
use super::signals::{Duty, watch};
use super::{aside, print, remark};
use crate::campaign::journal::{Campaign, Done, Journal, Terms, read};
use crate::campaign::launch::{INTERRUPTED, deadline_for, launch};
use crate::campaign::matrix::{Matrix, Profile, Request, add_controls, require_cells};
use crate::campaign::runner::{Budget, Runner, Tally};
use crate::campaign::trace;
use crate::error::{Context, Error, Phase, Result};
use crate::host::{Host, folder_name};
use crate::measure::limits::Limits;
use crate::plan::{
    Offered, PEERS, Parties, Placement, Plan, Several, Touch, Wait, Workload, parse_cpus, parse_millis, parse_size,
};
use crate::report::headline::wide_cells;
use crate::report::rows::Which;
use crate::report::table::{View, page_in};
use crate::report::{self, Report, table};
use crate::sys::cpu;
use crate::sys::process::HeldSignals;
use clap::{Args, ValueEnum};
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

/// What the folder of a campaign decides when it is continued.
const DECIDED: [&str; 22] = [
    "peers",
    "outstanding",
    "batch",
    "rate",
    "arrivals",
    "profile",
    "mechanism",
    "workload",
    "size",
    "wait",
    "parties",
    "placement",
    "cpus",
    "touch",
    "nagle",
    "rounds",
    "budget",
    "seed",
    "out",
    "dir",
    "huge_pages",
    "populate",
];

/// Its options.
#[derive(Debug, Args)]
pub struct Compare {
    /// quick answers within 90 s; full takes every wait, four sizes and twenty rounds, and up to forty of the best rows
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
    /// Mechanisms, or all
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = mechanism_name())]
    mechanism: Vec<String>,
    /// ping-pong, stream, offered-load, fan-in, fan-out, pairs, broadcast
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = workload())]
    workload: Vec<Workload>,
    #[command(flatten)]
    load: LoadsOptions,
    #[command(flatten)]
    window: OutstandingOption,
    #[command(flatten)]
    batch: BatchOption,
    #[command(flatten)]
    peers: PeersOption,
    /// Bytes per message: 64,4KiB
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = parse_size)]
    size: Vec<usize>,
    /// block, poll, epoll (both for descriptors only), hybrid, hybrid:LOOKS (looks before it sleeps), yield, spin
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = wait())]
    wait: Vec<Wait>,
    /// process, thread
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = parties())]
    parties: Vec<Parties>,
    /// same-cpu, cross-cpu, unpinned
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "cpus", hide_possible_values = true,
          value_parser = placement())]
    placement: Vec<Placement>,
    /// The two CPUs, such as 0,1
    #[arg(long, value_name = "A,B", value_parser = parse_cpus)]
    cpus: Option<Placement>,
    /// How much of each message is written and verified
    #[arg(long, default_value = "whole")]
    touch: Touch,
    /// Let TCP hold small messages back (Nagle's algorithm); for tcp only, which has TCP_NODELAY otherwise
    #[arg(long)]
    nagle: bool,
    /// Fresh launches of every cell, exactly [default: 6, full: 20, and up to 40 of the best rows]
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
    /// Go on with the campaign in this folder, which says all the rest
    #[arg(long, value_name = "DIR", conflicts_with_all = DECIDED)]
    resume: Option<PathBuf>,
    /// Folder for mechanisms that need a file
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    pages: PageOptions,
    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// A campaign that is about to run, or to go on.
struct Sitting {
    campaign: Campaign,
    terms: Terms,
    journal: Journal,
    done: Done,
}

/// Runs the campaign and prints its tables.
///
/// # Errors
/// When nothing of what was asked for can run, or the results cannot be written.
pub fn compare(args: &Compare) -> Result<ExitCode> {
    let mut sitting = match &args.resume {
        Some(dir) => resume(dir)?,
        None => begin(args)?,
    };
    let total = Duration::from_millis(sitting.terms.budget_ms);
    let (tally, traced) = run(&mut sitting, total)?;
    let dir = sitting.journal.dir();
    let (report, _) = report::regenerate(dir)?;
    print_report(&report, dir, args.format)?;
    aside("results in ", &dir.display().to_string());
    if tally.interrupted {
        let (runs, total, dir) = (tally.runs, tally.total, dir.display());
        let kept = format!("finished ones are kept, and `ipcost compare --resume {dir}` goes on");
        aside("", &format!("interrupted after {runs} of {total} launches; {kept}"));
        return Ok(ExitCode::from(super::INTERRUPTED));
    }
    if args.resume.is_some() && tally.fresh == 0 {
        match traced {
            0 => eprintln!("nothing was left to do: the campaign was over"),
            n => aside("", &format!("the launches were over; the system calls of {n} cells were traced")),
        }
    }
    if tally.out_of_time {
        let (blocks, most) = (sitting.campaign.rounds, sitting.terms.most_rounds);
        let planned = if tally.rounds < blocks { blocks.to_string() } else { format!("up to {most}") };
        let (budget, rounds) = (total.as_secs(), tally.rounds);
        aside("", &format!("the budget of {budget} s ended the campaign after {rounds} of {planned} rounds"));
    }
    Ok(if tally.bad > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn request(args: &Compare) -> Result<Request> {
    Ok(Request {
        profile: args.profile,
        mechanisms: args.mechanism.clone(),
        workloads: args.workload.clone(),
        offered: offered(args)?,
        several: several(args)?,
        sizes: args.size.clone(),
        waits: args.wait.clone(),
        parties: args.parties.clone(),
        placements: args.cpus.map_or_else(|| args.placement.clone(), |cpus| vec![cpus]),
        touch: args.touch,
        nagle: args.nagle,
        pages: args.pages.pages(),
        // What goes on from another folder means the same place.
        dir: args.dir.as_ref().map(|dir| std::path::absolute(dir).unwrap_or_else(|_| dir.clone())),
    })
}

fn begin(args: &Compare) -> Result<Sitting> {
    let allowed = cpu::allowed().context(Phase::Setup, "cannot ask for the allowed CPUs")?;
    let mut request = request(args)?;
    request.require_pages()?;
    // Trials of mechanisms make names, and fork, so that nobody can take the signals yet.
    let held = HeldSignals::new();
    let full = args.profile == Profile::Full;
    let rounds = args.rounds.unwrap_or(if full { 20 } else { 6 });
    let matrix = matrix(&mut request, allowed.len(), args.budget, rounds)?;
    if let Some(dir) = &args.dir {
        writable_dir(dir)?;
    }
    let most_rounds = if full && args.rounds.is_none() { 2 * rounds } else { rounds };
    let budget_ms = args.budget.unwrap_or(if full { 20 * 60_000 } else { 70_000 });
    require_time(args.budget, budget_ms, matrix.cells.len(), rounds)?;
    // An extension needs time of its own.
    let for_blocks = if most_rounds > rounds { budget_ms * 2 / 3 } else { budget_ms };
    let run = run_span(for_blocks, matrix.cells.len(), rounds);
    let terms = Terms { profile: args.profile, run, budget_ms, most_rounds };
    let host = Host::read();
    let out = args.out.clone().unwrap_or_else(|| Path::new("results").join(&host.slug).join(folder_name()));
    let seed = args.seed.unwrap_or_else(|| crate::sys::clock::now() % 1_000_000);
    let campaign = Campaign { seed, rounds, terms: Some(terms), cells: matrix.cells, unsupported: matrix.unsupported };
    watch(Duty::StopCampaign);
    drop(held);
    let journal = Journal::create(&out, &host, &campaign)?;
    Ok(Sitting { campaign, terms, journal, done: Done::default() })
}

/// The cells with their controls. Of a full profile with a budget that does not hold all of them, what nobody named is left
/// out and said, in a fixed order.
fn matrix(request: &mut Request, cpus: usize, asked: Option<u64>, rounds: u32) -> Result<Matrix> {
    let build = |request: &Request| {
        let mut matrix = request.matrix(cpus)?;
        require_cells(&matrix)?;
        add_controls(&mut matrix.cells);
        Ok(matrix)
    };
    let mut matrix = build(request)?;
    let all = least_ms(matrix.cells.len(), rounds);
    let Some(budget) = asked.filter(|_| request.profile == Profile::Full) else { return Ok(matrix) };
    let mut left_out = Vec::new();
    if all > budget && request.sizes.is_empty() {
        request.sizes = vec![64, 64 << 10];
        left_out.push("the sizes 4 KiB and 1 MiB");
        matrix = build(request)?;
    }
    if least_ms(matrix.cells.len(), rounds) > budget && request.waits.is_empty() {
        request.waits = vec![Wait::Block, Wait::Spin];
        left_out.push("the waits hybrid and yield");
        matrix = build(request)?;
    }
    if !left_out.is_empty() {
        let (what, about) = (left_out.join(" and "), all.div_ceil(1000));
        remark(&format!("the budget does not hold {what}, which are left out: everything takes at least {about} s"));
    }
    Ok(matrix)
}

fn resume(dir: &Path) -> Result<Sitting> {
    watch(Duty::StopCampaign);
    let (journal, saved, done) = Journal::resume(dir, &Host::read())?;
    saved.remarks.iter().for_each(|text| remark(text));
    let campaign = saved.campaign;
    for dir in campaign.cells.iter().filter_map(|plan| plan.dir.as_ref()).collect::<std::collections::BTreeSet<_>>() {
        writable_dir(dir)?;
    }
    let terms = campaign.terms(journal.dir())?;
    Ok(Sitting { campaign, terms, journal, done })
}

fn run(sitting: &mut Sitting, total: Duration) -> Result<(Tally, usize)> {
    let Sitting { campaign, terms, journal, done } = sitting;
    let dir = journal.dir().to_path_buf();
    if !matches!(Limits::read(&dir), Ok(Some(_))) {
        let allowed = cpu::allowed().context(Phase::Setup, "cannot ask for the allowed CPUs")?;
        super::limits::record(&campaign.cells, &allowed, &dir);
    }
    let interrupted = || INTERRUPTED.load(Ordering::SeqCst);
    let mut bar = Bar::new(campaign, total);
    let mut runner = Runner {
        campaign,
        budget: Budget { run: terms.run, total: Some(total) },
        done: std::mem::take(done),
        progress: &mut bar,
        launch: &mut |plan: &Plan| launch(plan, deadline_for(plan)),
        extend: &mut |round| wide_cells(&dir, campaign, round),
        interrupted: &interrupted,
    };
    let mut tally = runner.run(journal)?;
    bar.finish();
    let mut traced = 0;
    if !tally.interrupted {
        let bar = super::progress::bar(None, "{msg}");
        bar.set_message("counting system calls, untimed");
        bar.tick();
        traced = trace::all(&campaign.cells, &dir, (total / TRACING).max(LEAST_TRACING), &interrupted)?;
        bar.finish_and_clear();
        tally.interrupted = interrupted();
    }
    Ok((tally, traced))
}

fn print_report(report: &Report, dir: &Path, format: Format) -> Result<()> {
    match format {
        Format::Table => {
            let view = View { width: Screen::of_stdout().width, ..View::default() };
            print(&page_in(report, Which::All, table::Style::Terminal, &view))
        }
        Format::Markdown => print(&table::page(report, Which::All, table::Style::Markdown)),
        Format::Csv => print(&report::csv(report)?),
        Format::Json => {
            let mut result = Ok(());
            read(dir, &mut |run| {
                if result.is_ok() {
                    let line = serde_json::to_string(&run).context(Phase::Report, "cannot write JSON");
                    result = line.and_then(|line| print(&(line + "\n")));
                }
            })?;
            result
        }
    }
}

/// The loads that rows are compared at. The same rates for all of them: a share of each one's own saturation would be
/// another rate in each row.
fn offered(args: &Compare) -> Result<Vec<Offered>> {
    let offered = args.load.offered();
    match (args.workload.contains(&Workload::OfferedLoad), offered.is_empty()) {
        (true, true) => Err(Error::usage("offered-load compares mechanisms at one rate or several, and there is none")
            .hint("add --rate, such as --rate 50k or --rate 10k,30k,100k")),
        (false, false) => {
            Err(Error::usage("--rate is the rate of an offered load").hint("add --workload offered-load"))
        }
        _ => Ok(offered),
    }
}

/// What cells have several of, each where its workload is.
fn several(args: &Compare) -> Result<Several> {
    let patterns = args.workload.iter().any(|workload| workload.has_peers());
    if args.peers.peers.is_some() && !patterns {
        let what = "--peers are those of a hub";
        return Err(Error::usage(what).hint("add --workload fan-in, fan-out, pairs or broadcast"));
    }
    let peers = patterns.then_some(args.peers.peers.unwrap_or(PEERS));
    let several = Several { outstanding: args.window.several(), batch: args.batch.several(), peers };
    let asked = |workload| args.workload.is_empty() || args.workload.contains(&workload);
    if several.outstanding.is_some() && !asked(Workload::PingPong) {
        return Err(Error::usage("--outstanding is the window of a ping-pong").hint("add --workload ping-pong"));
    }
    if several.batch.is_some() && !asked(Workload::Stream) {
        return Err(Error::usage("--batch packs the messages of a stream").hint("add --workload stream"));
    }
    Ok(several)
}

/// The part of the campaign's time that traced runs may take after it, and what they may take of the shortest one.
const TRACING: u32 = 15;
const LEAST_TRACING: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};
    use std::collections::BTreeSet;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        compare: Compare,
    }

    #[test]
    fn a_continued_campaign_takes_no_option_that_its_folder_decides() {
        let command = Cli::command();
        for arg in command.get_arguments().filter(|arg| !matches!(arg.get_id().as_str(), "resume" | "format" | "help"))
        {
            assert!(DECIDED.contains(&arg.get_id().as_str()), "--{} says nothing about --resume", arg.get_id());
        }
        assert_eq!(
            command.get_arguments().filter(|arg| DECIDED.contains(&arg.get_id().as_str())).count(),
            DECIDED.len()
        );
    }

    #[test]
    fn a_full_profile_leaves_out_what_its_budget_does_not_hold_and_nobody_named() {
        let cells = |budget_s: Option<u64>, named: &[&str]| {
            let args = ["compare", "--profile", "full"].iter().chain(named);
            let mut request = request(&Cli::parse_from(args).compare).unwrap();
            let matrix = matrix(&mut request, 2, budget_s.map(|s| s * 1000), 20).unwrap();
            let sizes: BTreeSet<usize> = matrix.cells.iter().map(|plan| plan.size).collect();
            let waits: BTreeSet<&str> = matrix.cells.iter().map(|plan| plan.wait.kind().word()).collect();
            (sizes.len(), waits.len())
        };
        assert_eq!(cells(None, &[]), (4, 4));
        assert_eq!(cells(Some(3000), &[]), (4, 4));
        assert_eq!(cells(Some(300), &[]), (2, 4));
        assert_eq!(cells(Some(120), &[]), (2, 2));
        assert_eq!(cells(Some(120), &["--size", "4KiB,1MiB,64"]), (3, 2), "what is named stays");
    }
}

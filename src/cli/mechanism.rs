//! `ipc-<mechanism>`: one mechanism, measured or played with.

use super::hidden::{CellArgs, cell};
use super::options::{BatchOption, LoadOptions, OutstandingOption, PeersOption, RunOptions};
use super::signals::{Duty, watch};
use super::{complain, print};
use crate::campaign::launch::{INTERRUPTED, deadline_for, is_failure, launch};
use crate::cell::{Outcome, Status, admit};
use crate::error::{Error, Kind, Result};
use crate::names::private;
use crate::plan::{PEERS, Parties, Plan, Several, Span, Touch, Wait, Workload, parse_millis, parse_size};
use crate::report::text;
use crate::role::{STOP, Speech};
use crate::transport::{Bound, Config, Meeting, Runner, Spec, find};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[derive(Debug, Parser)]
#[command(version = crate::VERSION)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure round trips: a message each way, one at a time
    PingPong(Windowed),
    /// Measure throughput: one direction, until the consumer has verified the last message
    Stream(Batched),
    /// Measure the throughput of several producers that send to one consumer, and how fair it is to them
    FanIn(Peered),
    /// Measure the throughput of one producer whose messages several consumers share, and how fair it is to them
    FanOut(Peered),
    /// Measure the throughput of one producer each of whose messages goes to every one of several consumers
    Broadcast(Peered),
    /// Measure the throughput of independent producers and consumers, all at once, and how fair the machine is to them
    Pairs(Peered),
    /// Measure latency under load: one direction, each message at its own time whether or not the last one is through
    OfferedLoad(Loaded),
    /// Send messages to a consumer that is started separately
    Producer(Produce),
    /// Receive and verify the messages of a producer that is started separately; 1 where one is wrong or its last word is missing
    Consumer(Consume),
    #[command(hide = true)]
    Cell(CellArgs),
}

#[derive(Debug, Args)]
struct Measured {
    #[command(flatten)]
    run: RunOptions,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Args)]
struct Windowed {
    #[command(flatten)]
    measured: Measured,
    #[command(flatten)]
    window: OutstandingOption,
}

#[derive(Debug, Args)]
struct Batched {
    #[command(flatten)]
    measured: Measured,
    #[command(flatten)]
    batch: BatchOption,
}

#[derive(Debug, Args)]
struct Peered {
    #[command(flatten)]
    measured: Measured,
    #[command(flatten)]
    peers: PeersOption,
}

impl Peered {
    fn run(&self, runner: &dyn Runner, workload: Workload) -> Result<ExitCode> {
        let several = Several { peers: self.peers.peers.or(Some(PEERS)), ..Several::default() };
        self.measured.run(runner, workload, several)
    }
}

#[derive(Debug, Args)]
struct Loaded {
    #[command(flatten)]
    measured: Measured,
    #[command(flatten)]
    load: LoadOptions,
    /// Seed of the arrivals and of the order of a sweep
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl Measured {
    fn run(&self, runner: &dyn Runner, workload: Workload, several: Several) -> Result<ExitCode> {
        measure(runner, Plan { several, ..self.run.plan(runner.spec(), workload) }, self.format)
    }
}

/// Length of a sweep when nothing was said: its eleven points then have about as long as another run.
const SWEEP_MS: u64 = 5000;

impl Loaded {
    fn plan(&self, spec: &Spec) -> Plan {
        let Self { measured: Measured { run, .. }, load, seed } = self;
        let mut plan = Plan { offered: Some(load.offered()), ..run.plan(spec, Workload::OfferedLoad) };
        plan.run.seed = *seed;
        if load.rate.is_none() && run.duration.is_none() && run.messages.is_none() {
            plan.span = Span::Millis(SWEEP_MS);
        }
        plan
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Args)]
struct Meet {
    /// Where the two programs meet [default: a place of this user's]
    #[arg(long, value_name = "NAME")]
    at: Option<String>,
    /// How to wait: block, poll, epoll, hybrid, hybrid:LOOKS, yield, spin
    #[arg(long, default_value = "block")]
    wait: Wait,
    /// How long to wait for the other program to be started
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_millis)]
    patience: u64,
}

#[derive(Debug, Args)]
struct Produce {
    #[command(flatten)]
    meet: Meet,
    /// Bytes per message: 64, 4KiB, 1MiB
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = parse_size)]
    size: usize,
    /// Stop after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    /// Stop after so long [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = parse_millis)]
    duration: Option<u64>,
}

#[derive(Debug, Args)]
struct Consume {
    #[command(flatten)]
    meet: Meet,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// The whole program `ipc-<name>`.
pub fn mechanism(name: &str) -> ExitCode {
    // Before anything is allocated.
    crate::heap::scatter();
    crate::sys::process::survive_size_limit();
    let runner = match find(name) {
        Ok(runner) => runner,
        Err(error) => return complain(&error),
    };
    let spec = runner.spec();
    let cli = match Cli::from_arg_matches(&command(spec).get_matches()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let result = match cli.command {
        Command::PingPong(args) => {
            let several = Several { outstanding: args.window.several(), ..Several::default() };
            args.measured.run(runner, Workload::PingPong, several)
        }
        Command::Stream(args) => {
            let several = Several { batch: args.batch.several(), ..Several::default() };
            args.measured.run(runner, Workload::Stream, several)
        }
        Command::FanIn(args) => args.run(runner, Workload::FanIn),
        Command::FanOut(args) => args.run(runner, Workload::FanOut),
        Command::Broadcast(args) => args.run(runner, Workload::Broadcast),
        Command::Pairs(args) => args.run(runner, Workload::Pairs),
        Command::OfferedLoad(args) => measure(runner, args.plan(spec), args.measured.format),
        Command::Producer(args) => produce(runner, &args),
        Command::Consumer(args) => consume(runner, &args),
        Command::Cell(args) => return cell(&args),
    };
    result.unwrap_or_else(|error| complain(&error))
}

/// Its command line, for the program itself, its manual page and its completions.
pub(super) fn command(spec: &'static Spec) -> clap::Command {
    let program: &'static str = Box::leak(format!("ipc-{}", spec.name).into_boxed_str());
    let mut command = Cli::command().name(program).about(spec.summary).after_help(after_help(spec));
    for role in ["producer", "consumer"] {
        command = command.mut_subcommand(role, |role| {
            role.mut_arg("at", |at| match spec.meeting.place() {
                Some(place) => at.value_name(place),
                None => at.hide(true),
            })
        });
    }
    // What the mechanism does not have is refused with a reason, and not offered.
    let lacks = |workload: &&Workload| workload.has_peers() && !spec.patterns.contains(workload);
    let hide =
        |command: clap::Command, workload: &Workload| command.mut_subcommand(workload.word(), |it| it.hide(true));
    Workload::ALL.iter().filter(lacks).fold(command, hide)
}

/// What the mechanism is, below the options.
fn after_help(spec: &Spec) -> String {
    let words = |words: Vec<&str>| words.join(", ");
    let meeting = match (spec.meeting, spec.meeting.place()) {
        (_, Some(at)) => {
            format!("ipc-{0} consumer --at {at}   and in another terminal   ipc-{0} producer --at {at}", spec.name)
        }
        (Meeting::Stdio, None) => format!("ipc-{0} producer | ipc-{0} consumer", spec.name),
        (_, None) => "none: it connects threads of one process, or was made for one launch".into(),
    };
    format!(
        "Parties: {}\nWaits: {}\nPatterns: {}\nCopies per message: {}\nPeer death: {}\nTwo terminals: {meeting}\nSources: {}",
        words(spec.parties.iter().map(|p| p.word()).collect()),
        words(spec.waits.iter().map(|w| w.word()).collect()),
        if spec.patterns.is_empty() { "none".into() } else { words(spec.patterns.iter().map(|p| p.word()).collect()) },
        spec.copies,
        spec.peer_death.text,
        if spec.sources.is_empty() { "none".into() } else { spec.sources.join(", ") },
    )
}

fn measure(runner: &dyn Runner, plan: Plan, format: Format) -> Result<ExitCode> {
    // What cannot be done at all is the command's fault, not the run's.
    admit(&plan, runner.spec(), &runner.bound()).map_err(|error| Error::usage(error.to_string()))?;
    if let Some(dir) = &plan.dir {
        super::options::writable_dir(dir)?;
    }
    watch(Duty::StopCampaign);
    let outcome = if_usable(runner, &plan, launch(&plan, deadline_for(&plan)));
    if INTERRUPTED.load(Ordering::SeqCst) {
        eprintln!("interrupted; a single run has no partial result");
        return Ok(ExitCode::from(super::INTERRUPTED));
    }
    show(&outcome, format)?;
    Ok(if is_failure(&outcome) || outcome.status == Status::Unsupported {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The outcome, or that the machine does not let the mechanism work at all, if that is why it failed: a call that is refused
/// shows in the middle of a run, where nobody can tell why. `compare` asks before it launches.
fn if_usable(runner: &dyn Runner, plan: &Plan, outcome: Outcome) -> Outcome {
    match (outcome.status, INTERRUPTED.load(Ordering::SeqCst)) {
        (Status::Failed, false) => match runner.usable() {
            Err(error) if error.kind() == Kind::Unsupported => Outcome::from_error(plan, &error),
            _ => outcome,
        },
        _ => outcome,
    }
}

fn show(outcome: &Outcome, format: Format) -> Result<()> {
    match (format, &outcome.reason) {
        (Format::Json, _) => {
            let line = serde_json::to_string(outcome)
                .map_err(|e| Error::failed(crate::error::Phase::Report, "cannot write JSON").because(e))?;
            print(&format!("{line}\n"))
        }
        (Format::Text, Some(reason)) if outcome.messages == 0 => {
            anstream::eprintln!("{}: {reason}", text::status(outcome.status));
            Ok(())
        }
        (Format::Text, _) => print(&text::run(outcome)),
    }
}

fn config(spec: &Spec, bound: Bound, meet: &Meet, size: usize) -> Result<(Config, String)> {
    if spec.meeting == Meeting::Never {
        let what = format!("{} does not connect two programs that are started separately", spec.name);
        return Err(Error::usage(what).hint("measure it with ping-pong or stream"));
    }
    if size > bound.size {
        let what = format!("{} carries at most {} bytes", spec.name, bound.size);
        let hint = bound.set_by.map_or("choose a smaller --size".into(), |setting| format!("the limit is {setting}"));
        return Err(Error::usage(what).hint(hint));
    }
    let at = meet.at.clone().map_or_else(|| default_name(spec), Ok)?;
    let plan = Plan { size, wait: meet.wait, parties: Parties::Process, ..Plan::default() };
    let cfg = Config { patience: Duration::from_millis(meet.patience), ..Config::new(&plan) };
    Ok((cfg, at))
}

/// Where the two programs meet when nobody says: in this user's private folder, or, where there are no folders, at a name
/// with the user in it.
fn default_name(spec: &Spec) -> Result<String> {
    let user = nix::unistd::geteuid().as_raw();
    let name = format!("ipcost-{user}-{}", spec.name);
    Ok(match spec.meeting {
        Meeting::Path => private::folder()?.join(spec.name).to_string_lossy().into_owned(),
        // A port and a key out of the user's number, so that two users do not meet by accident.
        Meeting::Address => format!("127.0.0.1:{}", 20_000 + user % 10_000),
        Meeting::Key => format!("{:#x}", 0x1bc0_0000 + user % (1 << 20)),
        _ => name,
    })
}

fn produce(runner: &dyn Runner, args: &Produce) -> Result<ExitCode> {
    let (cfg, at) = config(runner.spec(), runner.bound(), &args.meet, args.size)?;
    watch(Duty::StopRole);
    let millis = args.duration.or_else(|| args.messages.is_none().then_some(2000));
    let sent = runner.produce(&cfg, &at, &Speech { messages: args.messages, millis, touch: Touch::Whole })?;
    // Standard output may be the transport itself.
    eprintln!("sent {sent} messages of {} bytes", args.size);
    Ok(if STOP.load(Ordering::SeqCst) { ExitCode::from(super::INTERRUPTED) } else { ExitCode::SUCCESS })
}

fn consume(runner: &dyn Runner, args: &Consume) -> Result<ExitCode> {
    let (cfg, at) = config(runner.spec(), runner.bound(), &args.meet, 1)?;
    watch(Duty::StopRole);
    let heard = runner.consume(&cfg, &at)?;
    match args.format {
        Format::Text => print(&text::heard(&heard))?,
        Format::Json => {
            let line = serde_json::to_string(&heard)
                .map_err(|e| Error::failed(crate::error::Phase::Report, "cannot write JSON").because(e))?;
            print(&format!("{line}\n"))?;
        }
    }
    let code = match (heard.right, heard.whole, STOP.load(Ordering::SeqCst)) {
        (false, ..) => 1,
        (true, _, true) => super::INTERRUPTED,
        (true, whole, false) => u8::from(!whole),
    };
    Ok(ExitCode::from(code))
}

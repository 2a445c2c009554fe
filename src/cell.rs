//! One run: a plan in, an outcome out.
//!
//! Key decision: the cell is a freshly launched, single-threaded process, so that it may fork its peer and so that every
//! run has new descriptors, new mappings and a new address-space layout. It never prints; its outcome is one value.
//!
//! # Order of a run
//! set-up, start of the peer, the cold first message, warm-up until steady, floor, *batch* window (two clock readings
//! around all messages: the mean), *stamped* window (every round trip into a histogram: the percentiles), floor, audit.
//! An offered load has its windows in place of these two: the load points, after a window that finds the saturation if the
//! rates are shares of it.

use crate::campaign::surroundings::Disturbance;
use crate::error::{Context, Error, Kind, Phase, Result};
use crate::lines::Unknown;
use crate::measure::load::LoadPoint;
use crate::measure::{Histogram, floor};
use crate::party::{among, beside};
use crate::plan::{MOST_PEERS, Offered, Pages, Parties, Plan, Plant, RunId, Several, Span, Touch, Via, Wait, Workload};
use crate::session::cast::Cast;
use crate::session::hub::{self, Hub, Papers};
use crate::session::{Alone, Books, Leader, Measured, OpenLoop, Windows, Witness, follow};
use crate::shm::ledger::Ledger;
use crate::shm::stamps::{self, Stamps};
use crate::sys::{clock, cpu, map};
use crate::transport::list::{Erased, without};
use crate::transport::{Bound, Config, Family, MEMORY_NOTE, Runner, ShmRing, Spec, Tcp, Transport};
use crate::workload::pattern::fairness;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Version of the journal's lines.
pub const SCHEMA: u32 = 1;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Measured and believed.
    Ok,
    /// Measured and not believed.
    Invalid,
    /// Not possible here.
    Unsupported,
    /// Something broke.
    Failed,
    /// A deadline passed.
    Timeout,
}

/// Where the parties were meant to be and were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    /// The word on the command line.
    pub requested: crate::plan::Placement,
    /// The CPUs that it resolved to; absent when unpinned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpus: Option<Vec<usize>>,
    /// CPUs on which each party was seen.
    pub observed: Vec<Vec<usize>>,
    /// Moves between CPUs during the measured windows, per party, where the kernel tells.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub migrations: Vec<u64>,
}

/// Round trips in nanoseconds: the mean of the batch window, the rest of the stamped one. With several requests under
/// way the mean is that of one request by Little's law: the time per round trip times the requests under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rtt {
    /// Batch mean.
    pub mean: f64,
    /// Smallest stamped round trip.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min: Option<u64>,
    /// Median.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p50: Option<u64>,
    /// 90th percentile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p90: Option<u64>,
    /// 99th percentile; absent with fewer than ten samples beyond it, like all of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99: Option<u64>,
    /// 99.9th percentile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p999: Option<u64>,
    /// Largest stamped round trip.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max: Option<u64>,
    /// Stamped mean, to compare with the batch mean.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stamped_mean: Option<f64>,
    /// Stamped samples as pairs of latency and count, two digits; merged over runs for a row's percentiles.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub histogram: Vec<(u64, u64)>,
}

/// Rates of the batch window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throughput {
    /// Messages (round trips) per second.
    pub messages_per_s: f64,
    /// Payload bytes per second in one direction.
    pub bytes_per_s: f64,
}

/// CPU time in ns per message.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuCost {
    /// In user mode.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

/// Context switches per message.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// The party waited.
    pub voluntary: f64,
    /// The scheduler took the CPU.
    pub involuntary: f64,
}

/// Page faults in the batch window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Without a device.
    pub minor: u64,
    /// With a device.
    pub major: u64,
}

/// What the receiving parties checked in the batch window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// Messages, each with the right sequence number, length and content.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The bare hand-over between the same parties right before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Cache-line round trip before and after, ns; absent where both parties share a CPU.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub line_rtt_ns: Vec<f64>,
    /// Which hand-over fits this row's way of waiting.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<floor::Kind>,
    /// Its round trip before and after, ns.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub handover_rtt_ns: Vec<f64>,
    /// The row's mean round trip as a multiple of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub multiple: Option<f64>,
}

/// One run's result: a line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the mechanism.
    pub mechanism: String,
    /// What was done with it.
    pub workload: Workload,
    /// What there was more than one of.
    #[serde(flatten)]
    pub several: Several,
    /// Bytes per message.
    pub size: usize,
    /// How both parties waited.
    pub wait: Wait,
    /// Processes, threads, or one party.
    pub parties: Parties,
    /// How much of each message was written and verified.
    pub touch: Touch,
    /// Whether a TCP connection was allowed to hold small messages back.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub nagle: bool,
    /// Pages of the ring, where they were chosen.
    #[serde(skip_serializing_if = "Pages::are_usual", default)]
    pub pages: Pages,
    /// Planted delay in ns, when there was one.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub delay_ns: u64,
    /// Planted pause of the follower in ms, when there was one.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub stall_ms: u64,
    /// What was offered, if that was the workload.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offered: Option<Offered>,
    /// Planted fault, when there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plant: Option<Plant>,
    /// Where.
    pub placement: Placed,
    /// Position in the campaign.
    pub run: RunId,
    /// Messages (round trips) of the batch window.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub messages: u64,
    /// Payload bytes of the batch window in one direction.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub bytes: u64,
    /// Length of the batch window.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub elapsed_ns: u64,
    /// Round trips of a ping-pong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rtt_ns: Option<Rtt>,
    /// What each offered rate gave, by rising rate. With one rate its window is the batch window; in a sweep the batch
    /// window is the one that found the saturation.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub load: Vec<LoadPoint>,
    /// Through what a hub and its peers were connected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub via: Option<Via>,
    /// How many messages of the batch window each peer (each pair) carried.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub shares: Vec<u64>,
    /// The smallest of these divided by the largest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fairness: Option<f64>,
    /// Rates.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub throughput: Option<Throughput>,
    /// Time to create the transport.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub setup_ns: Option<u64>,
    /// Time for the leader to let go of its side of the transport.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub teardown_ns: Option<u64>,
    /// Bytes in which messages lie on their way, both directions; what each end keeps for itself is not counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_bytes: Option<u64>,
    /// The cold first message (round trip).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_message_ns: Option<u64>,
    /// Messages before the batch window.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub warm_up_messages: u64,
    /// Per party.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub cpu_ns_per_message: Vec<CpuCost>,
    /// Per party.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub switches_per_message: Vec<Switches>,
    /// Per party.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub faults: Vec<Faults>,
    /// Time for which each party was runnable without a CPU, ns, where the kernel tells.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub run_delay_ns: Vec<u64>,
    /// Per party.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub pids: Vec<u32>,
    /// Whether the second party saw what the leader wrote into private memory after the start.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub one_address_space: Option<bool>,
    /// What was checked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verified: Option<Verified>,
    /// What a hand-over costs at least.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub floor: Option<Floor>,
    /// The clock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timer: Option<clock::Timer>,
    /// What others took meanwhile, as seen by whoever launched the run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disturbance: Option<Disturbance>,
    /// What the transport said of itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub notes: BTreeMap<String, String>,
    /// How it ended.
    pub status: Status,
    /// Reasons for doubt that do not make the run invalid.
    pub flags: Vec<String>,
    /// Why it is invalid.
    pub invalid: Option<String>,
    /// Why it has no result.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What a line of a journal says besides.
    #[serde(flatten, skip_serializing)]
    pub unknown: Unknown,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Outcome {
    /// An outcome without numbers.
    pub fn empty(plan: &Plan, status: Status) -> Self {
        let placement = Placed { requested: plan.placement, cpus: None, observed: vec![], migrations: vec![] };
        Self {
            schema: SCHEMA,
            mechanism: plan.mechanism.clone(),
            workload: plan.workload,
            several: plan.several,
            size: plan.size,
            wait: plan.wait,
            parties: plan.parties,
            touch: plan.touch,
            nagle: plan.nagle,
            pages: plan.pages,
            delay_ns: plan.delay_ns,
            plant: plan.plant,
            stall_ms: plan.stall_ms,
            offered: plan.offered.filter(|_| plan.workload == Workload::OfferedLoad),
            placement,
            run: plan.run.clone(),
            messages: 0,
            bytes: 0,
            elapsed_ns: 0,
            rtt_ns: None,
            load: vec![],
            via: None,
            shares: vec![],
            fairness: None,
            throughput: None,
            setup_ns: None,
            teardown_ns: None,
            memory_bytes: None,
            first_message_ns: None,
            warm_up_messages: 0,
            cpu_ns_per_message: vec![],
            switches_per_message: vec![],
            faults: vec![],
            run_delay_ns: vec![],
            pids: vec![],
            one_address_space: None,
            verified: None,
            floor: None,
            timer: None,
            disturbance: None,
            notes: BTreeMap::new(),
            status,
            flags: vec![],
            invalid: None,
            reason: None,
            unknown: Unknown::new(),
        }
    }

    /// The outcome of a run that ended in `error`.
    pub fn from_error(plan: &Plan, error: &Error) -> Self {
        let status = match error.kind() {
            Kind::Usage | Kind::Unsupported => Status::Unsupported,
            Kind::Failed => Status::Failed,
            Kind::Timeout => Status::Timeout,
            Kind::Invalid => Status::Invalid,
        };
        let mut outcome = Self::empty(plan, status);
        if status == Status::Invalid {
            outcome.invalid = Some(error.to_string());
        }
        outcome.reason = Some(error.to_string());
        outcome
    }

    /// The bare hand-over that was measured between the same parties before and after, ns: what nothing can beat that waits
    /// the same way.
    pub fn floor_ns(&self) -> Option<f64> {
        let rounds = &self.floor.as_ref()?.handover_rtt_ns;
        (!rounds.is_empty()).then(|| rounds.iter().sum::<f64>() / rounds.len() as f64)
    }

    /// Nanoseconds per message (round trip of a ping-pong) in the batch window.
    pub fn per_message_ns(&self) -> Option<f64> {
        (self.messages > 0).then(|| self.elapsed_ns as f64 / self.messages as f64)
    }
}

/// What a conductor found out.
#[derive(Debug, Default)]
pub struct Numbers {
    /// The cold first message.
    pub first_ns: u64,
    /// Messages before the batch window.
    pub warm_up: u64,
    /// The batch window.
    pub batch: Measured,
    /// The stamped window.
    pub histogram: Option<Histogram>,
    /// The load points.
    pub load: Vec<LoadPoint>,
    /// Cache-line round trips before and after.
    pub line: Vec<f64>,
    /// Fitting hand-over before and after.
    pub handover: Vec<f64>,
    /// Doubts.
    pub flags: Vec<String>,
}

/// Who decides which windows a run consists of.
pub trait Conductor {
    /// Orders the windows of one run.
    ///
    /// # Errors
    /// What the windows say.
    fn conduct(&mut self, plan: &Plan, two_cpus: bool, windows: &mut dyn Windows) -> Result<Numbers>;

    /// Whether time and context switches of the run mean anything; not when it is stopped at every system call.
    fn timed(&self) -> bool {
        true
    }
}

/// Refuses what the mechanism or this machine cannot do, before anything is created.
///
/// # Errors
/// `unsupported`, with what to choose instead.
pub fn admit(plan: &Plan, spec: &Spec, bound: &Bound) -> Result<Option<Vec<usize>>> {
    let words = |words: Vec<&str>| words.join(", ");
    let no = |what: String, choice: String| Err(Error::unsupported(what).hint(choice));
    let carried = plan.carried_size();
    if carried == 0 || carried > bound.size {
        let what = format!("{} carries 1 to {} bytes, not {carried}", spec.name, bound.size);
        return match &bound.set_by {
            Some(setting) if carried <= spec.max_size && carried > 0 => no(what, format!("the limit is {setting}")),
            _ if plan.several.batch() > 1 => no(what, "choose a smaller --size or --batch".into()),
            _ => no(what, "choose another --size".into()),
        };
    }
    admit_several(plan)?;
    if plan.workload.has_peers() && !spec.patterns.contains(&plan.workload) {
        return Err(without(spec, plan.workload));
    }
    if !spec.parties.contains(&plan.parties) {
        let choice = words(spec.parties.iter().map(|p| p.word()).collect());
        return no(format!("{} does not connect parties of kind {}", spec.name, plan.parties), format!("use {choice}"));
    }
    // The controls, which have no pages to choose, stand beside such rows as they are.
    if !plan.pages.are_usual() && spec.name != ShmRing::SPEC.name && spec.family != Family::Control {
        let what = format!("{} cannot choose its pages", spec.name);
        return no(what, format!("--huge-pages and --populate are options of {}", ShmRing::SPEC.name));
    }
    if !spec.waits.contains(&plan.wait.kind()) {
        let choice = words(spec.waits.iter().map(|w| w.word()).collect());
        return no(format!("{} cannot wait by {}", spec.name, plan.wait), format!("use {choice}"));
    }
    if plan.nagle && spec.name != Tcp::SPEC.name && spec.family != Family::Control {
        return no(format!("{} has no Nagle's algorithm", spec.name), "use --nagle with tcp only".into());
    }
    if plan.workload == Workload::OfferedLoad {
        if plan.parties == Parties::Solo {
            let what =
                format!("{} is one party, which cannot fall behind itself: no load can be offered to it", spec.name);
            return no(what, "measure it with ping-pong or stream".into());
        }
        if matches!(plan.span, Span::Messages(n) if n > stamps::MOST as u64) {
            let what = format!("an offered load stamps at most {} messages in a window", stamps::MOST);
            return no(what, "choose a smaller --messages, or a --duration".into());
        }
    }
    if plan.plant.is_some_and(|plant| plant != Plant::Flip)
        && (plan.parties == Parties::Solo || plan.workload == Workload::PingPong)
    {
        let what = "a lost, doubled or swapped message needs two parties and a stream".into();
        return no(what, "plant a flip, or use the stream workload".into());
    }
    let allowed = cpu::allowed().context(Phase::Setup, "cannot ask for the allowed CPUs")?;
    let cpus = plan.cpus(&allowed)?;
    if plan.wait == Wait::Spin && plan.parties != Parties::Solo {
        // A hub that sleeps, that of independent pairs, is not in anybody's way.
        let busy = plan.busy();
        let hosts = match &cpus {
            Some(cpus) => cpus[cpus.len() - busy..].iter().collect::<HashSet<_>>().len(),
            None => allowed.len().min(busy),
        };
        if hosts < busy {
            let place = if hosts == 1 { "one CPU".into() } else { format!("{hosts} CPUs") };
            let what = format!("{busy} parties that spin on {place} only burn each other's time slices");
            return no(what, "use --wait yield or block, or a CPU for each".into());
        }
    }
    Ok(cpus)
}

/// Refuses several of what the workload has one of.
fn admit_several(plan: &Plan) -> Result<()> {
    let no = |what: &str, choice: &str| Err(Error::unsupported(what).hint(choice));
    let Several { outstanding, batch, peers } = plan.several;
    let (window, count) = (plan.several.outstanding(), plan.several.batch() as u64);
    if window == 0 || count == 0 {
        return no("nothing is carried without requests or messages", "choose at least 1");
    }
    if outstanding.is_some() && (plan.workload != Workload::PingPong || plan.parties == Parties::Solo) {
        let what = "several requests under way need two parties and a ping-pong";
        return no(what, "leave out --outstanding, or use ping-pong");
    }
    if batch.is_some() && plan.workload != Workload::Stream {
        return no("only a stream can be batched", "leave out --batch, or use stream");
    }
    if matches!(plan.span, Span::Messages(n) if n % count != 0) {
        return no("--messages are whole batches", "choose a multiple of --batch");
    }
    if peers.is_some() != plan.workload.has_peers() {
        return no("fan-in, fan-out, pairs and broadcast have peers and nothing else has", "use --peers with them");
    }
    if plan.workload.has_peers() {
        admit_peers(plan)?;
    }
    if plan.plant.is_some() && (outstanding.is_some() || batch.is_some()) {
        return no(
            "a fault is planted among messages that travel one at a time",
            "leave out --outstanding and --batch",
        );
    }
    Ok(())
}

fn admit_peers(plan: &Plan) -> Result<()> {
    let no = |what: String, choice: &str| Err(Error::unsupported(what).hint(choice));
    if !(1..=MOST_PEERS as usize).contains(&plan.peers()) {
        return no(format!("there are 1 to {MOST_PEERS} peers, not {}", plan.peers()), "choose another --peers");
    }
    if plan.parties == Parties::Solo {
        return no(
            format!("{} is one party, which has no peers", plan.mechanism),
            "measure it with ping-pong or stream",
        );
    }
    if plan.plant == Some(Plant::Swap) && plan.workload == Workload::FanOut {
        let what = "neighbours may go to different consumers, to whom their order means nothing";
        return no(what.into(), "plant another fault, or use fan-in or pairs");
    }
    if plan.size < size_of::<u64>() {
        let what = "a message of fewer than 8 bytes cannot say which of several producers sent it";
        return no(what.into(), "choose a --size of 8 or more");
    }
    Ok(())
}

/// Refuses more requests under way than one direction certainly holds: with less room than that, each party could wait
/// for ever for the other one to make some.
fn require_room(plan: &Plan, cfg: &Config) -> Result<()> {
    let (window, room) = (plan.several.outstanding(), cfg.depth());
    if window <= room {
        return Ok(());
    }
    let Plan { mechanism, size, .. } = plan;
    let plural = if room == 1 { "" } else { "s" };
    let what = format!("{mechanism} is sure to hold {room} message{plural} of {size} bytes one way, not {window}");
    let choice = if room > 1 { format!("use --outstanding {room} or less") } else { "leave out --outstanding".into() };
    Err(Error::unsupported(what).hint(choice))
}

/// One run of mechanism `T` in this process.
///
/// # Errors
/// `unsupported`, `failed` or `invalid`; a process that has several threads cannot run a plan with processes.
pub fn run<T: Transport>(plan: &Plan, conductor: &mut dyn Conductor) -> Result<Outcome> {
    run_erased(&Erased::<T>::NEW, plan, conductor)
}

/// One run of a mechanism in this process.
///
/// # Errors
/// As [`run`].
pub fn run_erased(mechanism: &dyn Runner, plan: &Plan, conductor: &mut dyn Conductor) -> Result<Outcome> {
    let cpus = admit(plan, mechanism.spec(), &mechanism.bound())?;
    let timer = clock::Timer::measure();
    let cfg = Config::new(plan);
    let Conducted { numbers, setup_ns, teardown_ns, via } = if plan.workload.has_peers() {
        many(mechanism, plan, &cfg, cpus.as_deref(), conductor)?
    } else if plan.parties == Parties::Solo {
        alone(mechanism, plan, &cfg, cpus.as_deref(), conductor)?
    } else {
        two(mechanism, plan, &cfg, cpus.as_deref(), conductor)?
    };
    let mut outcome = Outcome::empty(plan, Status::Ok);
    outcome.placement.cpus = cpus;
    outcome.via = via;
    outcome.setup_ns = Some(setup_ns);
    outcome.teardown_ns = Some(teardown_ns);
    outcome.timer = Some(timer);
    if let Ok(notes) = cfg.notes.lock() {
        outcome.notes = notes.iter().map(|(key, value)| ((*key).to_string(), value.clone())).collect();
        outcome.memory_bytes = outcome.notes.remove(MEMORY_NOTE).and_then(|bytes| bytes.parse().ok());
    }
    enter(&mut outcome, plan, numbers, timer);
    outcome.flags.extend(crate::audit::flags(&outcome));
    if let Some(doubt) = crate::audit::doubt(&outcome, mechanism.spec(), conductor.timed()) {
        outcome.status = Status::Invalid;
        outcome.invalid = Some(doubt.clone());
        outcome.reason = Some(doubt);
    }
    Ok(outcome)
}

/// What became of a run, before it is written down.
struct Conducted {
    numbers: Numbers,
    setup_ns: u64,
    teardown_ns: u64,
    via: Option<Via>,
}

/// A run within one party.
fn alone(
    mechanism: &dyn Runner,
    plan: &Plan,
    cfg: &Config,
    cpus: Option<&[usize]>,
    conductor: &mut dyn Conductor,
) -> Result<Conducted> {
    let start = clock::now();
    let sides = mechanism.whole(cfg)?;
    let setup_ns = clock::now() - start;
    require_room(plan, cfg)?;
    let mut alone = Alone::begin(sides, plan, cpus.map(|c| c[0]))?;
    let numbers = conductor.conduct(plan, two_cpus(cpus), &mut alone)?;
    Ok(Conducted { numbers, setup_ns, teardown_ns: alone.end(), via: None })
}

/// Whether the parties may run at the same time.
fn two_cpus(cpus: Option<&[usize]>) -> bool {
    cpus.is_none_or(|cpus| cpus[0] != cpus[1])
}

/// A run between two parties.
fn two(
    mechanism: &dyn Runner,
    plan: &Plan,
    cfg: &Config,
    cpus: Option<&[usize]>,
    conductor: &mut dyn Conductor,
) -> Result<Conducted> {
    let start = clock::now();
    let [near, far] = mechanism.halves(cfg)?;
    let setup_ns = clock::now() - start;
    require_room(plan, cfg)?;
    let page = map::anonymous_shared(size_of::<Ledger>()).context(Phase::Setup, "cannot map the ledger")?;
    let ledger = Ledger::lay(&Arc::new(page));
    let theirs = ledger.clone();
    let witness = Witness::default();
    let their_witness = witness.clone();
    let open = (plan.workload == Workload::OfferedLoad).then(|| open_loop(cpus)).transpose()?;
    let stamps = open.as_ref().map(|open| open.stamps.clone());
    let (result, ending) = beside(
        plan.parties,
        |alive| {
            let mut leader = Leader::begin(near, plan, cpus.map(|c| c[0]), ledger, witness, open, alive)?;
            Ok((conductor.conduct(plan, two_cpus(cpus), &mut leader)?, leader.end()))
        },
        move || follow(far, plan, cpus.map(|c| c[1]), &theirs, &their_witness, stamps.as_deref()),
    )?;
    let (numbers, teardown_ns) = result.map_err(|error: Error| match (&ending, error.kind()) {
        (Err(how), Kind::Failed) => error.because_also(&format!("the peer {how}")),
        _ => error,
    })?;
    ending.map_err(|how| Error::failed(Phase::Measure, format!("the peer {how}")))?;
    Ok(Conducted { numbers, setup_ns, teardown_ns, via: None })
}

/// A run between a hub and its peers.
fn many(
    mechanism: &dyn Runner,
    plan: &Plan,
    cfg: &Config,
    cpus: Option<&[usize]>,
    conductor: &mut dyn Conductor,
) -> Result<Conducted> {
    let start = clock::now();
    let Cast { hub: part, peers, via } = Cast::deal(plan, mechanism.pattern(plan, cfg)?)?;
    let setup_ns = clock::now() - start;
    let (papers, witness) = (Papers::lay_out(peers.len())?, Witness::default());
    let cpu = |party: usize| cpus.map(|cpus| cpus[party]);
    let obeys = |(index, part)| {
        let (papers, witness) = (papers.clone(), witness.clone());
        move || hub::obey(part, cpu(index + 1), index, &papers, &witness)
    };
    let obeying: Vec<_> = peers.into_iter().enumerate().map(obeys).collect();
    let (muster, own) = (papers.muster.clone(), (papers.clone(), witness.clone()));
    let (result, endings) = among(
        plan.parties,
        |alive| {
            let mut hub = Hub::begin(part, plan, via, cpu(0), own.0, own.1, alive)?;
            Ok((conductor.conduct(plan, false, &mut hub)?, hub.end()))
        },
        obeying,
        |index| muster.lose(index),
    )?;
    // Who was ended because another one was lost is not to blame.
    let first = muster.lost().or_else(|| endings.iter().position(Result::is_err));
    // The number of who was lost comes from the shared page.
    let ending =
        first.and_then(|index| Some(format!("{} {}", plan.name_of(index), endings.get(index)?.as_ref().err()?)));
    let (numbers, teardown_ns) = result.map_err(|error: Error| match (&ending, error.kind()) {
        (Some(how), Kind::Failed) => error.because_also(how),
        _ => error,
    })?;
    match ending {
        Some(how) => Err(Error::failed(Phase::Measure, how)),
        None => Ok(Conducted { numbers, setup_ns, teardown_ns, via }),
    }
}

/// What an offered load needs besides the ledger.
fn open_loop(cpus: Option<&[usize]>) -> Result<OpenLoop> {
    let region = map::anonymous_shared(size_of::<Stamps>()).context(Phase::Setup, "cannot map the stamps")?;
    let allowed = cpu::allowed().context(Phase::Setup, "cannot ask for the allowed CPUs")?;
    let polite = cpus.map_or(allowed.len() < 2, |cpus| cpus[0] == cpus[1]);
    Ok(OpenLoop { stamps: Stamps::lay(&Arc::new(region)), polite })
}

/// Turns what was found into the journal's fields.
fn enter(outcome: &mut Outcome, plan: &Plan, numbers: Numbers, timer: clock::Timer) {
    let Numbers { first_ns, warm_up, batch, histogram, load, line, handover, flags } = numbers;
    let per = batch.per_message_ns();
    let books: Vec<Books> = batch.books;
    let each = batch.messages.max(1) as f64;
    outcome.messages = batch.messages;
    outcome.bytes = batch.messages * plan.size as u64;
    outcome.elapsed_ns = batch.elapsed_ns;
    outcome.first_message_ns = Some(first_ns);
    outcome.warm_up_messages = warm_up;
    outcome.flags = flags;
    outcome.load = load;
    outcome.throughput = Some(Throughput { messages_per_s: 1e9 / per, bytes_per_s: 1e9 / per * plan.size as f64 });
    for party in &books {
        let usage = party.usage;
        outcome
            .cpu_ns_per_message
            .push(CpuCost { user: usage.user_ns as f64 / each, system: usage.system_ns as f64 / each });
        outcome
            .switches_per_message
            .push(Switches { voluntary: usage.voluntary as f64 / each, involuntary: usage.involuntary as f64 / each });
        outcome.faults.push(Faults { minor: usage.minor_faults, major: usage.major_faults });
        outcome.pids.push(party.pid);
        let mut seen: Vec<usize> = party.cpus.into_iter().flatten().collect();
        seen.dedup();
        outcome.placement.observed.push(seen);
        outcome.placement.migrations.extend(party.migrations);
        outcome.run_delay_ns.extend(party.run_delay_ns);
    }
    if outcome.run_delay_ns.len() != books.len() {
        outcome.run_delay_ns.clear();
    }
    // The leader's own word is beyond doubt; that of each other party tells whether it shares the leader's memory. One
    // that differs from the others is the one that counts, as it cannot be right.
    let shared = |party: &Books| Witness::shared(party.witness);
    let others = books.get(1..).unwrap_or_default();
    let expected = plan.parties == Parties::Thread;
    let odd = others.iter().map(shared).find(|shared| *shared != expected);
    outcome.one_address_space = odd.or(others.first().map(shared));
    outcome.fairness = fairness(&batch.shares);
    outcome.shares = batch.shares;
    if outcome.placement.migrations.len() != books.len() {
        outcome.placement.migrations.clear();
    }
    // The receiver's check is the one that counts; in a ping-pong the leader's replies must agree with it.
    // A message of a broadcast is verified once every consumer has done it.
    let checks = books.iter().filter(|b| b.verified > 0).map(|b| (b.verified, b.bytes));
    let verified = match plan.workload {
        Workload::Broadcast => books[1..].iter().map(|b| (b.verified, b.bytes)).min(),
        workload if workload.has_peers() => {
            checks.reduce(|all, one| (all.0.saturating_add(one.0), all.1.saturating_add(one.1)))
        }
        _ => checks.min(),
    };
    outcome.verified = verified.map(|(messages, bytes)| Verified { messages, bytes });
    // Little's law: with one request under way, a round trip lasts as long as the time between two of them.
    let window = plan.several.outstanding() as f64;
    if plan.workload == Workload::PingPong {
        outcome.rtt_ns = Some(rtt(window * per, histogram.as_ref()));
        if let Some(histogram) = histogram.filter(|h| h.len() >= 1000) {
            let apart = (histogram.mean() / window - per).abs();
            if apart > 3.0 * timer.cost_ns + 0.25 * per {
                outcome.flags.push("batch-and-stamped-disagree".into());
            }
        }
    }
    let mean = |pair: &[f64]| (!pair.is_empty()).then(|| pair.iter().sum::<f64>() / pair.len() as f64);
    if !line.is_empty() || !handover.is_empty() {
        let one_at_a_time = plan.workload == Workload::PingPong && plan.several.outstanding.is_none();
        for (name, pair) in [("line-floor-moved", &line), ("handover-floor-moved", &handover)] {
            if let [before, after] = pair[..]
                && (before / after - 1.0).abs() > 0.10
            {
                outcome.flags.push(name.into());
            }
        }
        outcome.floor = Some(Floor {
            multiple: mean(&handover).filter(|_| one_at_a_time).map(|floor| per / floor),
            kind: (!handover.is_empty()).then(|| floor::Kind::for_wait(plan.wait)),
            line_rtt_ns: line,
            handover_rtt_ns: handover,
        });
    }
}

fn rtt(mean: f64, histogram: Option<&Histogram>) -> Rtt {
    let stamped = histogram.filter(|h| !h.is_empty());
    let at = |q| stamped.and_then(|h| h.quantile(q));
    Rtt {
        mean,
        min: stamped.map(Histogram::min),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: stamped.map(Histogram::max),
        stamped_mean: stamped.map(Histogram::mean),
        histogram: stamped.map(Histogram::to_pairs).unwrap_or_default(),
    }
}

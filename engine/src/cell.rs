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

mod admission;
mod entry;
mod outcome;
pub mod sound;

pub use admission::{Berths, admit};
pub use outcome::{
    CpuCost, Disturbance, Faults, Floor, Outcome, Placed, Rtt, SCHEMA, Status, Switches, Throughput, Verified,
};

use crate::error::{Context, Error, Kind, Phase, Result};
use crate::measure::Histogram;
use crate::measure::load::LoadPoint;
use crate::party::{among, beside};
use crate::plan::{Parties, Plan, Via, Workload};
use crate::session::cast::Cast;
use crate::session::hub::{self, Hub, Papers};
use crate::session::{Alone, Leader, Measured, OpenLoop, Windows, Witness, follow};
use crate::shm::ledger::Ledger;
use crate::shm::stamps::Stamps;
use crate::sys::{clock, cpu, map};
use crate::transport::list::Erased;
use crate::transport::{Config, MEMORY_NOTE, Runner, Transport};
use admission::require_room;
use entry::enter;
use std::sync::Arc;

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
    let Berths { cpus, crowded } = admit(plan, mechanism.spec(), &mechanism.bound())?;
    let timer = clock::Timer::measure();
    let mut cfg = Config::new(plan);
    if crowded {
        cfg.crowd();
    }
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

//! One repetition of every floor, again and again, and the figures that come of it.

use super::copies::Copies;
use super::pair::{Pair, follow};
use super::place::{Place, Stated};
use super::{Figure, Limits, Order, Probe, SCHEMA, Unit};
use crate::error::{Context, Error, Phase, Result};
use crate::machine::{memory_left, timestamp, topology};
use crate::measure::Histogram;
use crate::measure::floor::Kind;
use crate::measure::stats::Estimate;
use crate::party::beside;
use crate::plan::Parties;
use crate::shm::ledger::Ledger;
use crate::sys::map::{self, Sharing};
use crate::sys::usage::Usage;
use crate::sys::{clock, cpu, process};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often, how far apart, and how many wakes each time. The wakes of all repetitions together must put ten samples
/// beyond their 90th percentile.
struct Pace {
    repetitions: u32,
    apart: Duration,
    wakes: u32,
}

impl Pace {
    fn of(quick: bool) -> Self {
        match quick {
            false => Self { repetitions: 20, apart: Duration::from_millis(95), wakes: 10 },
            true => Self { repetitions: 10, apart: Duration::from_millis(80), wakes: 11 },
        }
    }
}

/// Memory for copies where the free memory is not stated.
const CAUTIOUS: u64 = 256 << 20;
const NULL_CALLS: u32 = 1000;
const LOOKS: u32 = 10_000;
const FAULT_BYTES: usize = 1 << 20;
const SLEEP: Duration = Duration::from_micros(50);
const SLEEPS: u32 = 5;

/// Measures everything on the given CPUs: about two seconds, or one if quick. The calling process ends up pinned to the
/// first CPU.
///
/// # Errors
/// `failed` when the CPUs cannot be had, the process has several threads, or the other party dies.
pub fn measure(order: Order) -> Result<Limits> {
    let [home, _] = order.cpus;
    cpu::pin(home).context(Phase::Setup, format!("cannot pin the probe to CPU {home}"))?;
    let page = map::anonymous_shared(size_of::<Ledger>()).context(Phase::Setup, "cannot map the ledger")?;
    let ledger = Ledger::lay(&Arc::new(page));
    let theirs = ledger.clone();
    let (found, ending) =
        beside(Parties::Process, |alive| repeat(order, &mut Pair::new(ledger, alive)), move || follow(&theirs))?;
    let found = found?;
    ending.map_err(|how| Error::failed(Phase::Measure, format!("the other party {how}")))?;
    Ok(found)
}

/// What was found so far.
struct Samples {
    values: BTreeMap<Probe, Vec<f64>>,
    wakes: Histogram,
    copies: Copies,
}

fn repeat(order: Order, pair: &mut Pair<'_>) -> Result<Limits> {
    let (start, taken) = (clock::now(), timestamp());
    let caches = topology::caches(Path::new("/"), order.cpus[0]);
    let budget = usize::try_from(memory_left().unwrap_or(CAUTIOUS) / 4).unwrap_or(usize::MAX);
    let mut samples =
        Samples { values: BTreeMap::new(), wakes: Histogram::default(), copies: Copies::prepare(&caches, budget) };
    let pace = Pace::of(order.quick);
    let first = clock::now();
    for turn in 0..pace.repetitions {
        let due = first + u64::from(turn) * pace.apart.as_nanos() as u64;
        std::thread::sleep(Duration::from_nanos(due.saturating_sub(clock::now())));
        samples.between(order.cpus, pace.wakes, pair)?;
        samples.alone();
    }
    let elapsed_ms = (clock::now() - start) / 1_000_000;
    Ok(samples.finish(order, taken, elapsed_ms))
}

impl Samples {
    fn add(&mut self, probe: Probe, value: Option<f64>) {
        self.values.entry(probe).or_default().extend(value);
    }

    /// One repetition of what takes two parties.
    fn between(&mut self, [home, away]: [usize; 2], wakes: u32, pair: &mut Pair<'_>) -> Result<()> {
        if home != away {
            let patterns = [pair.floor(Kind::Line, away)?, pair.floor(Kind::Lines, away)?];
            self.add(Probe::LineRtt, patterns.into_iter().flatten().min_by(f64::total_cmp));
            let wakes = pair.wakes(away, wakes)?;
            wakes.iter().for_each(|ns| self.wakes.record(*ns));
            self.add(Probe::IdleWake, median(wakes.into_iter().map(|ns| ns as f64)));
        }
        let futex = pair.floor(Kind::Futex, home)?;
        self.add(Probe::FutexRtt, futex);
        self.add(Probe::FutexHandOver, futex.map(|ns| ns / 2.0));
        Ok(())
    }

    /// One repetition of what takes one.
    fn alone(&mut self) {
        self.add(Probe::NullSyscall, Some(mean(NULL_CALLS, process::null_call)));
        self.add(Probe::Look, Some(mean(LOOKS, std::hint::spin_loop)));
        self.add(Probe::FaultPrivate, fault(Sharing::Private));
        self.add(Probe::FaultShared, fault(Sharing::Shared));
        let timer = clock::Timer::measure();
        self.add(Probe::ClockRead, Some(timer.cost_ns));
        // Zero says that the clock never moved between two readings.
        self.add(Probe::ClockTick, Some(timer.tick_ns as f64).filter(|tick| *tick > 0.0));
        self.add(Probe::Sleep, median((0..SLEEPS).map(|_| mean(1, || std::thread::sleep(SLEEP)))));
        self.copies.sample();
    }

    fn finish(mut self, order: Order, taken: String, elapsed_ms: u64) -> Limits {
        let two = order.cpus[0] != order.cpus[1];
        let mut absent: BTreeMap<String, String> = BTreeMap::new();
        let mut figures = BTreeMap::new();
        for probe in Probe::ALL {
            let values = self.values.get(probe).map_or(&[][..], Vec::as_slice);
            match Figure::of(values, Unit::Nanoseconds, probe.method()) {
                Some(figure) => drop(figures.insert(*probe, figure)),
                None if probe.needs_two_cpus() && !two => {
                    let why = format!("needs two CPUs, and this was measured on CPU {} alone", order.cpus[0]);
                    absent.insert(probe.title().into(), why);
                }
                None => drop(absent.insert(probe.title().into(), "no repetition gave a result here".into())),
            }
        }
        if let Some(figure) = figures.get_mut(&Probe::IdleWake) {
            figure.p90 = self.wakes.quantile(0.9).map(|ns| ns as f64);
        }
        let missing = std::mem::take(&mut self.copies.absent);
        absent.extend(missing.into_iter().map(|(level, why)| (format!("memcpy, {level}"), why)));
        let look = figures.get(&Probe::Look).map_or(0.0, |figure: &Figure| figure.estimate.median);
        let lines = self.values.get(&Probe::LineRtt).map_or(&[][..], Vec::as_slice);
        let place = two.then(|| Place::of(Stated::read(Path::new("/"), order.cpus), lines, look));
        Limits {
            schema: SCHEMA,
            taken,
            elapsed_ms,
            order,
            figures,
            memcpy: self.copies.finish(),
            timer_slack_ns: clock::slack(),
            place,
            absent,
        }
    }
}

fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Estimate::of(values).map(|estimate| estimate.median)
}

/// Mean time of one call in ns: `(end - start) / count`, two clock readings around all calls.
#[inline(always)]
fn mean(count: u32, call: impl Fn()) -> f64 {
    let start = clock::now();
    (0..count).for_each(|_| call());
    (clock::now() - start) as f64 / f64::from(count)
}

/// Time of one first touch in ns; `None` when memory cannot be mapped or the kernel counts no faults.
fn fault(sharing: Sharing) -> Option<f64> {
    let fresh = map::small_pages(FAULT_BYTES, sharing).ok()?;
    let before = Usage::now();
    let start = clock::now();
    // Page by page, as a program does: a call that fills them all takes no faults.
    fresh.write_pages(0..FAULT_BYTES);
    let elapsed = clock::now() - start;
    let faults = Usage::now().since(before).minor_faults;
    (faults > 0).then(|| elapsed as f64 / faults as f64)
}

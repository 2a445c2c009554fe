//! The physical floors of the machine: what moving a line, waking a sleeper, entering the kernel, copying and faulting
//! cost here, whatever is built on top.
//!
//! Key decision: each repetition takes every figure once, and the repetitions are spread over the whole time, because a
//! virtual machine moves its CPUs while one looks: ten repetitions in ten milliseconds agree with each other and with
//! nothing else. The measuring runs in a freshly launched process of one thread, which may fork its other party and
//! whose pinning ends with it. Rejected: published figures of the CPU model (no hypervisor, no mitigations, no
//! neighbours in them) and measuring everything once at the start of the program, in the process that reports.
//!
//! - [`place`]: where the two CPUs are, as the kernel states it and as the cache line says
//! - `copies`: memcpy at sizes that fit each level of cache
//! - `pair`: the two parties
//! - `probe`: one repetition

mod copies;
mod pair;
pub mod place;
mod probe;

pub use copies::{CopyRate, Level};
pub use probe::measure;

use super::stats::Estimate;
use crate::error::{Error, Phase, Result};
use place::Place;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Version of `limits.json`.
pub const SCHEMA: u32 = 1;

/// The file of a results folder that holds them.
pub const FILE: &str = "limits.json";

/// What is to be measured, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The CPUs of the two parties; equal where there is one.
    pub cpus: [usize; 2],
    /// About a second instead of two.
    pub quick: bool,
}

/// A floor that is one number of nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// A cache line to the other CPU and back.
    LineRtt,
    /// From the wake to the first instruction of a sleeper on an idle CPU.
    IdleWake,
    /// Two processes that wake each other on one CPU: there and back.
    FutexRtt,
    /// One way of it.
    FutexHandOver,
    /// Into the kernel and out again.
    NullSyscall,
    /// One look of a polling loop.
    Look,
    /// First touch of a private page.
    FaultPrivate,
    /// First touch of a shared page.
    FaultShared,
    /// One reading of the clock.
    ClockRead,
    /// Its smallest step.
    ClockTick,
    /// How long a sleep of 50 us is.
    Sleep,
}

impl Probe {
    /// All of them, in the order in which tables show them.
    pub const ALL: &'static [Probe] = &[
        Probe::LineRtt,
        Probe::IdleWake,
        Probe::FutexRtt,
        Probe::FutexHandOver,
        Probe::NullSyscall,
        Probe::Look,
        Probe::FaultPrivate,
        Probe::FaultShared,
        Probe::ClockRead,
        Probe::ClockTick,
        Probe::Sleep,
    ];

    /// What it is, in a few words.
    pub const fn title(self) -> &'static str {
        self.about().0
    }

    /// How one repetition measures it, in a line.
    pub const fn method(self) -> &'static str {
        self.about().1
    }

    const fn about(self) -> (&'static str, &'static str) {
        match self {
            Probe::LineRtt => (
                "cache line, round trip",
                "mean of 2000 turns of two processes that poll one line or a line each; the faster of the two",
            ),
            Probe::IdleWake => (
                "wake of an idle CPU",
                "from just before FUTEX_WAKE to the first clock reading of a sleeper alone on the other CPU for 1 ms; \
                 median of a repetition's wakes",
            ),
            Probe::FutexRtt => (
                "futex round trip on one CPU",
                "mean of 300 turns of two processes that wake each other and sleep: two wakes and two switches",
            ),
            Probe::FutexHandOver => ("futex hand-over on one CPU", "half of that round trip: one wake and one switch"),
            Probe::NullSyscall => ("null system call", "mean of 1000 getppid(2), issued without libc"),
            Probe::Look => ("one look of a polling loop", "mean of 10000 spin-loop hints"),
            Probe::FaultPrivate => (
                "minor fault, private page",
                "first write to each page of a fresh anonymous MiB without huge pages; per fault in getrusage(2)",
            ),
            Probe::FaultShared => (
                "minor fault, shared page",
                "the same in a sealed memfd whose space is taken already, as the shared-memory mechanisms use",
            ),
            Probe::ClockRead => ("clock, one reading", "mean of 4000 readings of CLOCK_MONOTONIC"),
            Probe::ClockTick => ("clock, smallest step", "smallest difference above zero between two of them"),
            Probe::Sleep => ("sleep of 50 us", "how long nanosleep(2) took when asked for 50 us; median of five"),
        }
    }

    const fn needs_two_cpus(self) -> bool {
        matches!(self, Probe::LineRtt | Probe::IdleWake)
    }
}

/// Unit of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Bytes copied in a second; each is read once and written once.
    #[serde(rename = "bytes/s")]
    BytesPerSecond,
}

/// One floor over all repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Median over the repetitions, with its interval.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// Smallest repetition.
    pub min: f64,
    /// Largest repetition: the best one of a rate.
    pub max: f64,
    /// 90th percentile of the single samples, where a repetition is more than a mean of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p90: Option<f64>,
    /// Unit of all of them.
    pub unit: Unit,
    /// How it was measured.
    pub method: String,
}

impl Figure {
    /// The figure from one value per repetition; `None` from none.
    pub fn of(values: &[f64], unit: Unit, method: impl Into<String>) -> Option<Self> {
        let estimate = Estimate::of(values.iter().copied())?;
        let min = values.iter().copied().min_by(f64::total_cmp)?;
        let max = values.iter().copied().max_by(f64::total_cmp)?;
        Some(Self { estimate, min, max, p90: None, unit, method: method.into() })
    }
}

/// The floors of one machine between two of its CPUs: `limits.json` of a results folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When the measuring began.
    pub taken: String,
    /// How long it took, ms.
    pub elapsed_ms: u64,
    /// What was asked for.
    #[serde(flatten)]
    pub order: Order,
    /// The floors in nanoseconds.
    pub figures: BTreeMap<Probe, Figure>,
    /// memcpy by level of cache, nearest first.
    pub memcpy: Vec<CopyRate>,
    /// How late the kernel may end a sleep, ns.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timer_slack_ns: Option<u64>,
    /// Where the CPUs are; absent where both parties share one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub place: Option<Place>,
    /// What is missing here, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub absent: BTreeMap<String, String>,
}

impl Limits {
    /// Median of one floor in ns, if it was measured.
    pub fn ns(&self, probe: Probe) -> Option<f64> {
        self.figures.get(&probe).map(|figure| figure.estimate.median)
    }

    /// What a plain copy of a message of `size` bytes reaches here, in bytes per second: the median at the nearest level
    /// of cache that holds source *and* destination, else that of DRAM. `None` when no such level was measured.
    pub fn memcpy_bytes_per_s(&self, size: usize) -> Option<f64> {
        let needed = size.saturating_mul(2);
        let holds = |copy: &&CopyRate| copy.cache_bytes.is_none_or(|bytes| bytes >= needed);
        self.memcpy.iter().find(holds).map(|copy| copy.rate.estimate.median)
    }

    /// Reads `limits.json` of a results folder; `None` when there is none. Folders of earlier versions have none, and tables
    /// then print no multiples.
    ///
    /// # Errors
    /// When it is damaged, of another version, or holds a rate or a time that cannot be.
    pub fn read(dir: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read_to_string(dir.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::failed(Phase::Report, format!("cannot read {FILE}")).because(error)),
        };
        let damaged = |why: &dyn std::fmt::Display| {
            let damaged = Error::failed(Phase::Report, format!("{FILE} is damaged"));
            damaged.because(why).hint("restore it from a copy, or remove it to do without")
        };
        let limits: Self = serde_json::from_str(&text).map_err(|error| damaged(&error))?;
        if limits.schema != SCHEMA {
            let what = format!("{FILE} has schema {}, and this version reads {SCHEMA}", limits.schema);
            return Err(Error::failed(Phase::Report, what).hint("read it with the version that wrote it"));
        }
        let figures = limits.figures.values().map(|figure| ("figures", figure.estimate.median));
        let copies = limits.memcpy.iter().map(|copy| ("memcpy", copy.rate.estimate.median));
        match figures.chain(copies).find(|(_, median)| *median <= 0.0) {
            Some((field, median)) => Err(damaged(&format!("field {field:?} holds a median of {median}"))),
            None => Ok(Some(limits)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(level: Level, cache_bytes: Option<usize>, value: f64) -> CopyRate {
        let rate = Figure::of(&[value], Unit::BytesPerSecond, "planted").unwrap();
        CopyRate { level, cache_bytes, working_set: 0, rate }
    }

    fn limits() -> Limits {
        let line = Figure::of(&[84.0, 85.0, 86.0, 390.0, 391.0, 392.0], Unit::Nanoseconds, "planted").unwrap();
        Limits {
            schema: SCHEMA,
            taken: "2026-01-01T00:00:00.000Z".into(),
            elapsed_ms: 2000,
            order: Order { cpus: [0, 1], quick: false },
            figures: [(Probe::LineRtt, line)].into(),
            memcpy: vec![
                rate(Level::L1, Some(32 << 10), 4e10),
                rate(Level::L3, Some(32 << 20), 2e10),
                rate(Level::Dram, None, 1e10),
            ],
            timer_slack_ns: Some(50_000),
            place: None,
            absent: [("idle-wake".to_string(), "planted".to_string())].into(),
        }
    }

    fn write(limits: &Limits, dir: &Path) {
        std::fs::write(dir.join(FILE), serde_json::to_string(limits).unwrap()).unwrap();
    }

    #[test]
    fn limits_read_back_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Limits::read(dir.path()).unwrap(), None);
        write(&limits(), dir.path());
        assert_eq!(Limits::read(dir.path()).unwrap(), Some(limits()));
    }

    #[test]
    fn limits_of_another_version_or_damaged_ones_are_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |limits: Limits| {
            write(&limits, dir.path());
            Limits::read(dir.path()).unwrap_err().to_string()
        };
        let newer = refused(Limits { schema: SCHEMA + 1, ..limits() });
        assert!(newer.contains("limits.json has schema"), "{newer}");
        let none = refused(Limits { memcpy: vec![rate(Level::L1, None, 0.0)], ..limits() });
        assert!(none.contains("field \"memcpy\" holds a median of 0"), "{none}");
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert!(Limits::read(dir.path()).unwrap_err().to_string().contains("limits.json is damaged"));
    }

    #[test]
    fn what_is_absent_is_not_in_the_json() {
        let json = serde_json::to_value(limits()).unwrap();
        assert!(json.get("place").is_none() && json["figures"].get("sleep").is_none());
        assert!(json["figures"]["line-rtt"].get("p90").is_none());
        assert!(json["memcpy"][2].get("cache_bytes").is_none());
        assert!(json["memcpy"][2]["rate"].get("interval").is_none(), "one repetition has no interval");
        assert_eq!(json["figures"]["line-rtt"]["unit"], "ns");
    }

    #[test]
    fn a_copy_is_judged_at_the_level_that_holds_source_and_destination() {
        let limits = limits();
        assert_eq!(limits.memcpy_bytes_per_s(64), Some(4e10));
        assert_eq!(limits.memcpy_bytes_per_s(16 << 10), Some(4e10));
        // The nearest level that was measured: nobody measured an L2 here.
        assert_eq!(limits.memcpy_bytes_per_s((16 << 10) + 1), Some(2e10));
        assert_eq!(limits.memcpy_bytes_per_s(64 << 20), Some(1e10));
        let cached = Limits { memcpy: vec![rate(Level::L1, Some(1000), 1.0)], ..limits };
        assert_eq!(cached.memcpy_bytes_per_s(501), None);
    }

    #[test]
    fn every_probe_is_listed_once_and_says_how_it_is_measured() {
        let mut listed = Probe::ALL.to_vec();
        listed.dedup();
        assert!(listed.is_sorted() && listed.len() == Probe::Sleep as usize + 1);
        assert!(listed.iter().all(|probe| !probe.title().is_empty() && !probe.method().contains('\n')));
    }
}

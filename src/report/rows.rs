//! From a stream of runs to rows.
//!
//! Key decision: a journal may be larger than memory, so each run is taken apart when its line is read. Its histogram goes
//! into the merged one of its cell, and of its other fields remains one number for each column that asks for one. Both
//! are shared between the row of all runs and the row of unflagged ones. Rejected: keeping the runs themselves without
//! their histograms, which took 1.4 KB a run.

use super::columns;
use crate::campaign::trace::{self, Trace};
use crate::cell::{Outcome, Status};
use crate::measure::Merged;
use crate::measure::limits::Limits;
use crate::measure::stats::{Estimate, Trend};
use crate::plan::{Offered, Pages, Parties, Placement, RunId, Several, Touch, Via, Wait, Workload, show_size};
use crate::transport::{Family, find};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::rc::Rc;

/// What makes rows comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class {
    /// Ping-pong, stream or offered load.
    pub workload: Workload,
    /// What was offered, if that was the workload.
    pub offered: Option<Offered>,
    /// What there was more than one of.
    pub several: Several,
    /// Bytes per message.
    pub size: usize,
    /// How the parties waited.
    pub wait: Wait,
    /// Where they ran.
    pub placement: Placement,
    /// Whole payload or header only.
    pub touch: Touch,
    /// Whether TCP connections were allowed to hold small messages back.
    pub nagle: bool,
    /// Pages of the ring, where they were chosen.
    pub pages: Pages,
}

impl Class {
    /// The class of a run.
    pub fn of(run: &Outcome) -> Self {
        Self {
            workload: run.workload,
            offered: run.offered,
            several: run.several,
            size: run.size,
            wait: run.wait,
            placement: run.placement.requested,
            touch: run.touch,
            nagle: run.nagle,
            pages: run.pages,
        }
    }

    /// Whether the time per message says something of the mechanism: at one rate it is the rate's.
    pub fn is_timed(&self) -> bool {
        self.workload != Workload::OfferedLoad
    }

    /// The rate of an offered load, messages per second.
    pub fn rate(&self) -> Option<u64> {
        self.offered?.rate
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Class { workload, offered, several, size, wait, placement, nagle, pages, .. } = self;
        let offered = offered.map(|offered| format!(" at {offered}")).unwrap_or_default();
        let nagle = if *nagle { ", nagle" } else { "" };
        let pages = if pages.are_usual() { String::new() } else { format!(", {pages}") };
        write!(f, "{workload} {}{offered}{several}, wait {wait}, {placement}{nagle}{pages}", show_size(*size))
    }
}

/// What makes two runs the same row: class, mechanism, parties and label.
pub type Key = (Class, String, Parties, Option<String>);

/// The key of a run.
pub fn key_of(run: &Outcome) -> Key {
    (Class::of(run), run.mechanism.clone(), run.parties, run.run.label.clone())
}

/// Which runs count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All that were believed.
    All,
    /// Those of them without a flag.
    Unflagged,
}

/// What remains of one believed run.
#[derive(Debug)]
pub struct Run {
    /// Which round, from 0.
    pub round: u32,
    /// Position within the campaign, from 0.
    pub order: u32,
    /// Time per message or round trip, ns.
    pub ns: Option<f64>,
    /// Planted delay, ns.
    pub delay_ns: u64,
    /// Cost of reading the clock, ns.
    pub reading_ns: f64,
    /// Reasons for doubt.
    pub flags: Vec<String>,
    /// Through what a hub and its peers were connected.
    via: Option<Via>,
    /// What [`columns::facts`] found in it.
    facts: Box<[f64]>,
}

impl Run {
    fn of(outcome: Outcome) -> Self {
        let RunId { round, order, .. } = outcome.run;
        let (ns, facts) = (outcome.per_message_ns(), columns::facts(&outcome));
        let reading_ns = outcome.timer.map_or(0.0, |timer| timer.cost_ns);
        Self { round, order, ns, delay_ns: outcome.delay_ns, reading_ns, flags: outcome.flags, via: outcome.via, facts }
    }

    /// What this run says to the column `key`; nothing for a column that asks the row.
    pub fn fact(&self, key: &str) -> Option<f64> {
        self.facts.get(columns::place_of_fact(key)?).copied().filter(|fact| !fact.is_nan())
    }
}

/// What remains of a run that was not believed, failed or hung.
#[derive(Debug)]
pub struct Bad {
    /// How it ended.
    pub status: Status,
    /// Why, in words.
    pub reason: String,
}

/// One row: a cell over all its runs.
#[derive(Debug)]
pub struct Row {
    /// Its class.
    pub class: Class,
    /// Name of the mechanism.
    pub mechanism: String,
    /// Processes, threads or one party.
    pub parties: Parties,
    /// Through what a hub and its peers were connected: the mechanism's choice, the same in all runs of a cell.
    pub via: Option<Via>,
    /// Second name of a control cell.
    pub label: Option<String>,
    /// Rank within the class; rows that tie share one. Controls and rows without a result have none.
    pub rank: Option<usize>,
    /// How its time follows the order of the runs.
    pub drift: Option<Trend>,
    /// The runs that count, in the order in which they ran.
    pub runs: Vec<Rc<Run>>,
    /// Runs that were not believed, failed or hung.
    pub bad: Vec<Rc<Bad>>,
    /// Time per message or round trip, ns.
    pub time: Option<Estimate>,
    /// All stamped samples of the runs that count.
    pub samples: Rc<Samples>,
    /// System calls of both parties per message, from the traced run; absent where there was none.
    pub calls: Option<f64>,
    /// Bytes per second of memcpy at this message size; absent where the limits were not measured.
    pub memcpy: Option<f64>,
}

/// Samples of many runs, merged: percentiles are never averaged.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Round trips.
    pub rtt: Merged,
    /// Latencies of an offered load from the intended send times.
    pub intended: Merged,
    /// From the actual send times.
    pub actual: Merged,
}

impl Samples {
    fn add(&mut self, run: &Outcome) {
        if let Some(rtt) = &run.rtt_ns {
            self.rtt.add(&rtt.histogram);
        }
        // The points of a sweep are different rates and never one row.
        if let [point] = &run.load[..] {
            self.intended.add(&point.from_intended.histogram);
            self.actual.add(&point.from_actual.histogram);
        }
    }
}

/// What lies beside the journal: measured once per campaign or once per cell.
#[derive(Debug, Default)]
pub struct Beside {
    /// The machine's limits.
    pub limits: Option<Limits>,
    /// What of it could not be read.
    pub remarks: Vec<String>,
    /// System calls per message.
    calls: BTreeMap<Key, f64>,
}

impl Beside {
    /// Reads a results folder; what is not there is absent, and what is damaged leaves a remark: the runs tell enough
    /// without it.
    pub fn read(dir: &Path) -> Self {
        let mut remarks = Vec::new();
        let (traces, cut) = trace::read(dir).unwrap_or_else(|error| {
            remarks.push(format!("system calls are not shown: {error}"));
            (vec![], None)
        });
        remarks.extend(cut);
        let limits = Limits::read(dir).unwrap_or_else(|error| {
            remarks.push(format!("what rests on the machine's limits is not shown: {error}"));
            None
        });
        let calls = traces.into_iter().filter_map(|trace| {
            let Trace { workload, several, size, wait, placement, touch, nagle, pages, .. } = trace;
            let class = Class { workload, offered: None, several, size, wait, placement, touch, nagle, pages };
            Some(((class, trace.mechanism.clone(), trace.parties, None), trace.calls_per_message()?))
        });
        Self { limits, remarks, calls: calls.collect() }
    }
}

impl Row {
    /// What each run that counts says to the column `key`, if it says anything; nothing for a column that asks the row.
    pub fn each(&self, key: &str) -> impl Iterator<Item = f64> {
        let place = columns::place_of_fact(key);
        self.runs.iter().filter_map(move |run| run.facts.get(place?).copied()).filter(|fact| !fact.is_nan())
    }

    /// Whether more runs reached the offered rate than did not.
    pub fn reached(&self) -> bool {
        2.0 * self.each("reached_share").sum::<f64>() > self.each("reached_share").count() as f64
    }

    /// The median of what the runs that count say to the column `key`: as [`each`](Self::each).
    pub fn median(&self, key: &str) -> Option<f64> {
        Some(Estimate::of(self.each(key))?.median)
    }

    /// Runs that carry a flag.
    pub fn flagged(&self) -> usize {
        self.runs.iter().filter(|run| !run.flags.is_empty()).count()
    }

    /// Whether this row is a control that moves nothing between parties.
    pub fn is_control(&self) -> bool {
        self.parties == Parties::Solo || find(&self.mechanism).is_ok_and(|r| r.spec().family == Family::Control)
    }

    /// The same estimate from runs without flags only.
    pub fn unflagged(&self) -> Option<Estimate> {
        Estimate::of(self.runs.iter().filter(|run| run.flags.is_empty()).filter_map(|run| run.ns))
    }

    /// Mechanism and what was changed about it.
    pub fn variant(&self) -> String {
        let nagle = if self.class.nagle && !self.is_control() { ", nagle" } else { "" };
        format!("{}{nagle}", self.mechanism)
    }

    /// Mechanism and parties in words.
    pub fn name(&self) -> String {
        let parties = match self.parties {
            Parties::Process => " between processes",
            Parties::Thread => " between threads",
            Parties::Solo => "",
        };
        format!("{}{parties}", self.variant())
    }

    /// Name and class.
    pub fn full_name(&self) -> String {
        format!("{} ({})", self.name(), self.class)
    }
}

/// The runs of one cell as they come in.
#[derive(Debug, Default)]
struct Cell {
    runs: Vec<Rc<Run>>,
    bad: Vec<Rc<Bad>>,
    /// Samples of unflagged runs.
    clean: Rc<Samples>,
    /// Samples of all runs, once they differ from those.
    all: Option<Rc<Samples>>,
}

impl Cell {
    fn add(&mut self, run: Outcome) {
        if run.status != Status::Ok {
            let reason = run.reason.unwrap_or_else(|| "no reason given".into());
            return self.bad.push(Rc::new(Bad { status: run.status, reason }));
        }
        if run.flags.is_empty() {
            Rc::make_mut(&mut self.clean).add(&run);
        } else if self.all.is_none() {
            self.all = Some(self.clean.clone());
        }
        if let Some(all) = &mut self.all {
            Rc::make_mut(all).add(&run);
        }
        self.runs.push(Rc::new(Run::of(run)));
    }

    fn row(&self, key: &Key, which: Which, beside: &Beside) -> Row {
        let (class, mechanism, parties, label) = key;
        let counts = |run: &&Rc<Run>| which == Which::All || run.flags.is_empty();
        let runs: Vec<_> = self.runs.iter().filter(counts).cloned().collect();
        let all = self.all.as_ref().filter(|_| which == Which::All);
        Row {
            class: *class,
            mechanism: mechanism.clone(),
            parties: *parties,
            label: label.clone(),
            via: runs.first().and_then(|run| run.via),
            rank: None,
            drift: None,
            time: Estimate::of(runs.iter().filter_map(|run| run.ns)),
            runs,
            bad: self.bad.clone(),
            samples: all.unwrap_or(&self.clean).clone(),
            calls: beside.calls.get(key).copied(),
            memcpy: beside.limits.as_ref().and_then(|limits| limits.memcpy_bytes_per_s(class.size)),
        }
    }
}

/// Runs sorted into cells.
#[derive(Debug, Default)]
pub struct Gathered {
    cells: BTreeMap<Key, Cell>,
    /// What lies beside the journal.
    pub beside: Beside,
    /// Runs of cells that are impossible here.
    pub unsupported: Vec<Outcome>,
    /// Runs in all.
    pub launches: usize,
    /// Rounds in which any cell ran.
    pub rounds: u32,
}

impl Gathered {
    /// Takes one run, in the order of the journal.
    pub fn add(&mut self, run: Outcome) {
        self.launches += 1;
        self.rounds = self.rounds.max(run.run.round.saturating_add(1));
        if run.status == Status::Unsupported {
            self.unsupported.push(run);
        } else {
            self.cells.entry(key_of(&run)).or_default().add(run);
        }
    }

    /// A row for each cell, ordered by key.
    pub fn rows(&self, which: Which) -> impl Iterator<Item = Row> {
        self.cells.iter().map(move |(key, cell)| cell.row(key, which, &self.beside))
    }
}

impl FromIterator<Outcome> for Gathered {
    fn from_iter<T: IntoIterator<Item = Outcome>>(runs: T) -> Self {
        let mut gathered = Self::default();
        runs.into_iter().for_each(|run| gathered.add(run));
        gathered
    }
}

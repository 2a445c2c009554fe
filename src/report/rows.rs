//! From a stream of runs to rows.
//!
//! Key decision: a journal may be larger than memory, so each run is taken apart when its line is read. Its histogram goes
//! into the merged one of its cell; what a column may want to know of it stays, shared between the row of all runs and the
//! row of unflagged ones. Rejected: one number per run and column, which is smaller still but makes a column that looks at
//! two fields at once a special case.

use crate::cell::{Outcome, Status};
use crate::measure::Merged;
use crate::measure::stats::{Estimate, Trend};
use crate::plan::{Parties, Placement, Touch, Wait, Workload, show_size};
use crate::transport::{Family, find};
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

/// What makes rows comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class {
    /// Ping-pong or stream.
    pub workload: Workload,
    /// Bytes per message.
    pub size: usize,
    /// How the parties waited.
    pub wait: Wait,
    /// Where they ran.
    pub placement: Placement,
    /// Whole payload or header only.
    pub touch: Touch,
}

impl Class {
    /// The class of a run.
    pub fn of(run: &Outcome) -> Self {
        Self {
            workload: run.workload,
            size: run.size,
            wait: run.wait,
            placement: run.placement.requested,
            touch: run.touch,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Class { workload, size, wait, placement, .. } = self;
        write!(f, "{workload} {}, wait {wait}, {placement}", show_size(*size))
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

/// One row: a cell over all its runs.
#[derive(Debug)]
pub struct Row {
    /// Its class.
    pub class: Class,
    /// Name of the mechanism.
    pub mechanism: String,
    /// Processes, threads or one party.
    pub parties: Parties,
    /// Second name of a control cell.
    pub label: Option<String>,
    /// Rank within the class; rows that tie share one. Controls and rows without a result have none.
    pub rank: Option<usize>,
    /// How its time follows the order of the runs.
    pub drift: Option<Trend>,
    /// The runs that count, in the order in which they ran. Their histograms are in [`Row::histogram`] only, and notes
    /// that repeat those of the row's first run are left out.
    pub runs: Vec<Rc<Outcome>>,
    /// Runs that were not believed, failed or hung.
    pub bad: Vec<Rc<Outcome>>,
    /// Time per message or round trip, ns.
    pub time: Option<Estimate>,
    /// All stamped round trips of the runs that count.
    pub histogram: Rc<Merged>,
}

impl Row {
    /// The median over runs of something that each run has.
    pub fn median(&self, value: impl Fn(&Outcome) -> Option<f64>) -> Option<f64> {
        Estimate::of(self.runs.iter().filter_map(|run| value(run))).map(|estimate| estimate.median)
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
        Estimate::of(self.runs.iter().filter(|run| run.flags.is_empty()).filter_map(|run| run.per_message_ns()))
    }

    /// Mechanism and parties in words.
    pub fn name(&self) -> String {
        let parties = match self.parties {
            Parties::Process => " between processes",
            Parties::Thread => " between threads",
            Parties::Solo => "",
        };
        format!("{}{parties}", self.mechanism)
    }

    /// Name and class.
    pub fn full_name(&self) -> String {
        format!("{} ({})", self.name(), self.class)
    }
}

/// The runs of one cell as they come in.
#[derive(Debug, Default)]
struct Cell {
    runs: Vec<Rc<Outcome>>,
    bad: Vec<Rc<Outcome>>,
    clean: Merged,
    doubtful: Merged,
}

impl Cell {
    fn add(&mut self, mut run: Outcome) {
        let pairs = run.rtt_ns.as_mut().map(|rtt| std::mem::take(&mut rtt.histogram)).unwrap_or_default();
        if run.status != Status::Ok {
            return self.bad.push(Rc::new(run));
        }
        let into = if run.flags.is_empty() { &mut self.clean } else { &mut self.doubtful };
        into.add(&pairs);
        if self.runs.first().is_some_and(|first| first.notes == run.notes) {
            run.notes.clear();
        }
        self.runs.push(Rc::new(run));
    }

    fn row(&self, (class, mechanism, parties, label): &Key, which: Which) -> Row {
        let counts = |run: &&Rc<Outcome>| which == Which::All || run.flags.is_empty();
        let runs: Vec<_> = self.runs.iter().filter(counts).cloned().collect();
        let mut histogram = self.clean.clone();
        if which == Which::All {
            histogram.add(self.doubtful.pairs());
        }
        histogram.shrink();
        Row {
            class: *class,
            mechanism: mechanism.clone(),
            parties: *parties,
            label: label.clone(),
            rank: None,
            drift: None,
            time: Estimate::of(runs.iter().filter_map(|run| run.per_message_ns())),
            runs,
            bad: self.bad.clone(),
            histogram: Rc::new(histogram),
        }
    }
}

/// Runs sorted into cells, each without its histogram.
#[derive(Debug, Default)]
pub struct Gathered {
    cells: BTreeMap<Key, Cell>,
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
        self.rounds = self.rounds.max(run.run.round + 1);
        if run.status == Status::Unsupported {
            self.unsupported.push(run);
        } else {
            self.cells.entry(key_of(&run)).or_default().add(run);
        }
    }

    /// A row for each cell, ordered by key.
    pub fn rows(&self, which: Which) -> impl Iterator<Item = Row> {
        self.cells.iter().map(move |(key, cell)| cell.row(key, which))
    }
}

impl FromIterator<Outcome> for Gathered {
    fn from_iter<T: IntoIterator<Item = Outcome>>(runs: T) -> Self {
        let mut gathered = Self::default();
        runs.into_iter().for_each(|run| gathered.add(run));
        gathered
    }
}

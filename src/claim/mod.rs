//! The textbook's claims about processes and threads, as experiments with verdicts.
//!
//! Key decision: a claim is a list of cells, a function that measures one cell in a freshly launched process, and a
//! function that judges. Everything between the two (blocks in random order, fresh launches, deadlines, the watch for
//! other programs, the journal `claims.jsonl`, tables) is the same for all claims. The judge sees nothing but the journal's lines,
//! so a verdict can be made again from them, and tests give it journals whose answer is known. Rejected: experiments that
//! measure and judge in one go (a threshold that can look at the result it is about to judge).
//!
//! Hypothesis and threshold are constants of the code: they were written before the run.

use crate::error::{Error, Kind, Phase, Result};
use crate::measure::stats::Estimate;
use crate::report::picture::Picture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

pub mod context_switch;
pub mod creation;
pub mod crew;
pub mod isolation;
pub mod java_thread;
pub mod lab;
pub mod memory;
pub mod one_cpu;
pub mod page;
pub mod parallel_work;
pub mod record;
pub mod server;
pub mod shared_heap;
pub mod synchronisation;
pub mod takeover;

pub use record::Record;

/// Every claim, in the order of the textbook.
pub static CLAIMS: &[&Claim] = &[
    &context_switch::CLAIM,
    &shared_heap::CLAIM,
    &creation::CLAIM,
    &memory::CLAIM,
    &isolation::CLAIM,
    &synchronisation::CLAIM,
    &one_cpu::CLAIM,
    &parallel_work::CLAIM,
    &server::CLAIM,
    &takeover::CLAIM,
    &java_thread::CLAIM,
];

/// The claim of that name.
///
/// # Errors
/// A usage error with the names that exist.
pub fn find(name: &str) -> Result<&'static Claim> {
    CLAIMS.iter().copied().find(|claim| claim.name == name).ok_or_else(|| {
        let names: Vec<_> = CLAIMS.iter().map(|claim| claim.name).collect();
        Error::usage(format!("there is no claim {name:?}")).hint(format!("choose from {}", names.join(", ")))
    })
}

/// What is taught, and how it is tested.
pub struct Claim {
    /// Its name on the command line.
    pub name: &'static str,
    /// The sentence, as it is taught.
    pub taught: &'static str,
    /// What would have to be seen for it to hold, with the threshold.
    pub hypothesis: &'static str,
    /// What can make the figures say something else.
    pub misleads: &'static str,
    /// The cells to measure.
    pub cells: fn(&Setting) -> Result<Vec<Cell>>,
    /// Measures one cell; runs in a process that was launched for it and has one thread.
    pub measure: fn(&Cell) -> Result<Values>,
    /// Judges what was measured.
    pub judge: fn(&Record) -> Finding,
    /// Effects that can be planted for the experiment to find: words for [`Cell::plant`].
    pub plants: &'static [&'static str],
    /// A picture of the figures, where people would rather look.
    pub picture: Option<fn(&Record) -> Picture>,
}

/// Where the experiment runs and how thoroughly.
#[derive(Debug, Clone)]
pub struct Setting {
    /// All cells and twenty rounds instead of a few cells and six rounds.
    pub full: bool,
    /// CPUs that may be used.
    pub cpus: Vec<usize>,
    /// The effect to plant in every cell that knows it.
    pub plant: Option<String>,
}

/// One thing to measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Name of the claim.
    pub claim: String,
    /// What distinguishes it from the claim's other cells, in words for people; the key of its row.
    pub case: String,
    /// The same for the measuring function; each claim has its own type.
    pub with: serde_json::Value,
    /// About how long to measure, ms.
    pub millis: u64,
    /// A second name of a cell that is measured twice: the null pair.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub label: Option<String>,
    /// The effect to plant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plant: Option<String>,
}

/// The label of a cell that is measured against itself.
pub const AGAIN: &str = "again";

impl Cell {
    /// A cell of `claim`; the laboratory decides how long it takes.
    pub fn new(claim: &Claim, case: impl Into<String>, with: &impl Serialize) -> Self {
        // Only maps with keys that are no text could fail.
        let with = serde_json::to_value(with).unwrap_or_default();
        Self { claim: claim.name.into(), case: case.into(), with, millis: 0, label: None, plant: None }
    }

    /// The same cell a second time: what differs between the two is noise.
    pub fn again(&self) -> Self {
        Self { label: Some(AGAIN.into()), ..self.clone() }
    }

    /// What the cell is for the measuring function.
    ///
    /// # Errors
    /// When the order is not of this version.
    pub fn with<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.with)
            .map_err(|error| Error::failed(Phase::Setup, format!("cell {:?} cannot be read", self.case)).because(error))
    }

    /// Whether this effect is planted.
    pub fn planted(&self, word: &str) -> bool {
        self.plant.as_deref() == Some(word)
    }
}

/// What one launch found: quantities by name, in ns, bytes or counts as the name says.
pub type Values = BTreeMap<String, f64>;

/// Quantities from pairs.
pub fn values<const N: usize>(pairs: [(&str, f64); N]) -> Values {
    pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// What the figures say to the claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "word", content = "detail")]
pub enum Verdict {
    /// It was seen as taught.
    Holds,
    /// It was seen under this condition and not without it.
    HoldsOnlyIf(String),
    /// The hypothesis' threshold was not reached, or the noise hides it.
    NotFoundHere,
    /// The opposite was seen.
    Contradicted,
    /// It could not be tested, and why.
    NotTested(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Holds => f.write_str("holds"),
            Verdict::HoldsOnlyIf(condition) => write!(f, "holds only if {condition}"),
            Verdict::NotFoundHere => f.write_str("not found here"),
            Verdict::Contradicted => f.write_str("contradicted"),
            Verdict::NotTested(why) => write!(f, "not tested: {why}"),
        }
    }
}

/// In what a figure is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Bytes.
    Bytes,
    /// A pure number.
    Number,
    /// A ratio of two paired figures.
    Ratio,
    /// A share, from 0 to 1.
    Share,
    /// Per second.
    PerSecond,
}

/// One figure behind a verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Of what.
    pub what: String,
    /// How much, over launches.
    pub estimate: Estimate,
    /// In what.
    pub unit: Unit,
}

/// What a judge says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// In a word.
    pub verdict: Verdict,
    /// In a sentence with the deciding figure.
    pub because: String,
    /// The figures, in the order in which a reader wants them.
    pub figures: Vec<Figure>,
    /// What else must be said: noise, what is missing, what was left out.
    pub remarks: Vec<String>,
}

impl Finding {
    /// A finding without figures yet.
    pub fn new(verdict: Verdict, because: impl Into<String>) -> Self {
        Self { verdict, because: because.into(), figures: vec![], remarks: vec![] }
    }

    /// Adds a figure, if there is one.
    #[must_use]
    pub fn figure(mut self, what: impl Into<String>, estimate: Option<Estimate>, unit: Unit) -> Self {
        self.figures.extend(estimate.map(|estimate| Figure { what: what.into(), estimate, unit }));
        self
    }

    /// Adds a remark.
    #[must_use]
    pub fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remarks.push(remark.into());
        self
    }
}

/// What a launched process does for a claim, and the answer that it prints.
///
/// # Errors
/// When the claim does not exist; what goes wrong inside is part of the answer.
pub fn run(cell: &Cell) -> Result<record::Answer> {
    let claim = find(&cell.claim)?;
    Ok(match (claim.measure)(cell) {
        Ok(values) => record::Answer { status: record::Status::Ok, reason: None, values },
        Err(error) => record::Answer::from_error(&error),
    })
}

impl record::Status {
    /// How a launch ended that ended in `error`.
    pub fn of(error: &Error) -> Self {
        match error.kind() {
            Kind::Unsupported => record::Status::Unsupported,
            Kind::Timeout => record::Status::Timeout,
            _ => record::Status::Failed,
        }
    }
}

impl record::Answer {
    /// The answer that says why there is none.
    pub fn from_error(error: &Error) -> Self {
        Self { status: record::Status::of(error), reason: Some(error.to_string()), values: Values::new() }
    }
}

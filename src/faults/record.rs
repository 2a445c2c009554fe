//! The journal `faults.jsonl`: a line for each cell, with what all its injections saw.
//!
//! Key decision: counts and no verdict. The judge says again from the line and the SPEC of the day whether a cell is as
//! stated, so that a page made from an old record fails where the code has moved on.

use super::injection::{Answer, Reply};
use super::{Cell, Order};
use crate::claim::record::Status;
use crate::error::{Error, Result};
use crate::lines::{self, Line, Unknown};
use crate::plan::Parties;
use crate::results::missing;
use crate::results::notebook::Notebook;
use crate::transport::{Role, Sign};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// File of a results folder that holds the lines.
pub const FAULTS_FILE: &str = "faults.jsonl";
/// Version of its lines.
pub const SCHEMA: u32 = 1;

/// How long it took until survivors were told, ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// The middle one of the injections in which somebody was.
    pub median: u64,
    /// The longest.
    pub max: u64,
}

/// What the injections of a cell saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Which cell.
    #[serde(flatten)]
    pub cell: Cell,
    /// Seed of the moments.
    pub seed: u64,
    /// How the launch ended.
    pub status: Status,
    /// Why there is nothing more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Bytes of a message.
    pub size: usize,
    /// Injections.
    pub n: usize,
    /// How many survivors saw which sign.
    pub signs: BTreeMap<Sign, usize>,
    /// How long it took, where anybody was told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after_ns: Option<After>,
    /// The deadline of survivors that were not told, ms.
    pub patience_ms: u64,
    /// Messages that the producers had sent.
    pub sent: u64,
    /// Messages that the consumers received right.
    pub right: u64,
    /// Messages that were sent by a producer that then came to harm outside the lock, and that the survivor never received.
    pub lost: u64,
    /// Messages that were accepted and were not what was due.
    pub wrong: u64,
    /// What was left behind, and how often.
    pub left: BTreeMap<String, usize>,
    /// Injections after which a new pair could start at once.
    pub fresh: usize,
    /// Survivors that were told and ended by themselves.
    pub ended: usize,
    /// CPUs that other programs used meanwhile, on average, where the kernel tells.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub others: Option<f64>,
    /// What a line says besides.
    #[serde(flatten, skip_serializing)]
    pub unknown: Unknown,
}

impl Line for Row {
    const SCHEMA: Option<u32> = Some(SCHEMA);

    fn schema(&self) -> Option<u32> {
        Some(self.schema)
    }

    fn sample() -> Self {
        let (mechanism, parties, victim) = (String::new(), Parties::Process, Role::Producer);
        let cell = Cell { mechanism, parties, victim, harm: super::Harm::Kill, moment: super::Moment::Idle };
        Self::empty(cell, 0, 0, None)
    }

    fn unknown(&self) -> &Unknown {
        &self.unknown
    }

    fn impossible(&self) -> Option<String> {
        let seen: usize = self.signs.values().fold(0, |sum, n| sum.saturating_add(*n));
        let counted = [("signs", seen), ("fresh", self.fresh), ("ended", self.ended)];
        let more = counted.into_iter().find(|(_, n)| *n > self.n);
        more.map(|(field, n)| format!("field {field:?} counts {n} of {} injections, which field \"n\" says", self.n))
    }
}

impl Row {
    /// What a launch answered, or why it did not.
    pub fn new(order: &Order, reply: Reply, others: Option<f64>) -> Self {
        let mut row = Self::empty(order.cell.clone(), order.seed, order.patience_ms, others);
        match reply {
            Reply::Seen(answer) => row.enter(answer),
            Reply::Not(status, reason) => (row.status, row.reason) = (status, Some(reason)),
        }
        row
    }

    fn empty(cell: Cell, seed: u64, patience_ms: u64, others: Option<f64>) -> Self {
        Self {
            schema: SCHEMA,
            cell,
            seed,
            status: Status::Ok,
            reason: None,
            size: 0,
            n: 0,
            signs: BTreeMap::new(),
            after_ns: None,
            patience_ms,
            sent: 0,
            right: 0,
            lost: 0,
            wrong: 0,
            left: BTreeMap::new(),
            fresh: 0,
            ended: 0,
            // Whole percents: the rest is noise.
            others: others.map(|cpus| (100.0 * cpus).round() / 100.0),
            unknown: Unknown::new(),
        }
    }

    fn enter(&mut self, Answer { size, seen, left }: Answer) {
        (self.size, self.n) = (size, seen.len());
        let mut after: Vec<u64> = seen.iter().filter_map(|one| one.after_ns).collect();
        after.sort_unstable();
        let max = after.last().copied();
        self.after_ns = max.map(|max| After { median: after[after.len() / 2], max });
        for one in seen {
            *self.signs.entry(one.sign).or_default() += 1;
            self.sent += one.sent;
            self.right += one.right;
            self.wrong += one.wrong;
            self.fresh += usize::from(one.fresh);
            self.ended += usize::from(one.ended);
            // What lay under the lock of a dead owner nobody has promised.
            if self.cell.victim == Role::Producer && self.cell.harm != super::Harm::Stop && one.sign != Sign::OwnerDead
            {
                self.lost += one.sent.saturating_sub(one.right + one.wrong);
            }
        }
        for what in left {
            *self.left.entry(what).or_default() += 1;
        }
    }
}

/// Opens the journal of a results folder.
///
/// # Errors
/// A usage error when the folder cannot be written.
pub fn notebook(dir: &Path) -> Result<Notebook> {
    Notebook::open(dir, FAULTS_FILE, "begin again with another --out, or with the --mechanism that are missing")
}

/// Reads the lines of a results folder. A cut last line is left out and said so.
///
/// # Errors
/// When there is none, or a whole line cannot be read, with its number.
pub fn read(dir: &Path) -> Result<(Vec<Row>, Option<String>)> {
    parsed(&std::fs::read(dir.join(FAULTS_FILE)).map_err(|error| missing(dir, FAULTS_FILE, &error))?)
}

/// As [`read`], of a journal by itself.
///
/// # Errors
/// As [`read`].
pub fn read_journal(path: &Path) -> Result<(Vec<Row>, Option<String>)> {
    let cannot = |error| Error::usage(format!("cannot read {}", path.display())).because(error);
    parsed(&std::fs::read(path).map_err(cannot)?)
}

/// Bytes: a cut may lie within a character.
fn parsed(text: &[u8]) -> Result<(Vec<Row>, Option<String>)> {
    lines::read_all(text, FAULTS_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_last_line_is_left_out_and_said_so_and_a_damaged_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FAULTS_FILE);
        let cell =
            crate::faults::cells(crate::transport::find("pipe").unwrap().spec(), crate::faults::Depth::Quick).remove(0);
        let order = cell.order(
            &crate::transport::find("pipe").unwrap().spec().peer_death,
            crate::faults::Depth::Quick,
            None,
            1,
        );
        let row = Row::new(&order, Reply::Not(Status::Failed, "50 µs".into()), None);
        let mut notebook = notebook(dir.path()).unwrap();
        notebook.append(&row).unwrap();
        assert_eq!(read(dir.path()).unwrap(), (vec![row.clone()], None));
        let whole = std::fs::read(&path).unwrap();
        let within = whole.iter().position(|byte| *byte == 0xC2).unwrap() + 1;
        std::fs::write(&path, [&whole[..], &whole[..within]].concat()).unwrap();
        let (rows, remark) = read(dir.path()).unwrap();
        assert_eq!(rows, [row]);
        assert!(remark.is_some_and(|remark| remark.contains("is cut and was ignored")));
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(read(dir.path()).is_err());
    }
}

//! The results folder: a line per run, written before the next run starts.
//!
//! Key decision: `cells.jsonl` is append-only, one JSON object per line in a single write, so that whatever ends the
//! program, all finished runs are there and at most the last line is cut. A cut last line is ignored, and said so.
//! Rejected: a database (needs a program to look at), one file at the end (a crash loses everything).

use crate::cell::Outcome;
use crate::error::{Context, Error, Phase, Result};
use crate::host::Host;
use crate::plan::Plan;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// What a campaign was meant to be: enough to continue it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Campaign {
    /// Seed of the order.
    pub seed: u64,
    /// Complete blocks.
    pub rounds: u32,
    /// The cells, in the order in which their numbers count.
    pub cells: Vec<Plan>,
    /// Cells that were asked for and are impossible here.
    pub unsupported: Vec<Outcome>,
}

/// An open results folder.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    cells: File,
}

const CELLS: &str = "cells.jsonl";
const HOST: &str = "host.json";
const CAMPAIGN: &str = "campaign.json";

impl Journal {
    /// Makes a new results folder.
    ///
    /// # Errors
    /// A usage error when the folder already holds results, or cannot be written.
    pub fn create(dir: &Path, host: &Host, campaign: &Campaign) -> Result<Self> {
        if dir.join(CELLS).exists() {
            return Err(Error::usage(format!("{} already holds results", dir.display()))
                .hint("choose another --out; finished results are never overwritten"));
        }
        let cannot = |e: std::io::Error| {
            Error::usage(format!("cannot write into {}", dir.display())).because(e).hint("choose another --out")
        };
        std::fs::create_dir_all(dir).map_err(cannot)?;
        let write = |name: &str, text: String| std::fs::write(dir.join(name), text + "\n").map_err(cannot);
        write(HOST, to_json(host)?)?;
        write(CAMPAIGN, to_json(campaign)?)?;
        let cells = OpenOptions::new().append(true).create_new(true).open(dir.join(CELLS)).map_err(cannot)?;
        Ok(Self { dir: dir.into(), cells })
    }

    /// Writes one finished run.
    ///
    /// # Errors
    /// When the disk is full or the folder is gone.
    pub fn append(&mut self, outcome: &Outcome) -> Result<()> {
        let cannot = "cannot write to the journal";
        let mut line = serde_json::to_string(outcome).context(Phase::Report, cannot)?;
        line.push('\n');
        self.cells.write_all(line.as_bytes()).context(Phase::Report, cannot)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).context(Phase::Report, "cannot write JSON")
}

/// A results folder, read back.
#[derive(Debug)]
pub struct Saved {
    /// Where it was measured.
    pub host: Host,
    /// What was meant to be measured.
    pub campaign: Campaign,
    /// What was.
    pub runs: Vec<Outcome>,
    /// What is wrong with the journal, for people.
    pub remarks: Vec<String>,
}

/// Reads a results folder.
///
/// # Errors
/// A usage error when there is none, `failed` when a line in the middle cannot be read.
pub fn read(dir: &Path) -> Result<Saved> {
    let missing = |e: &dyn std::fmt::Display, name: &str| {
        Error::usage(format!("{} holds no results", dir.display())).because(format!("{name}: {e}"))
    };
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).map_err(|e| missing(&e, name));
    let host = serde_json::from_str(&text(HOST)?).map_err(|e| missing(&e, HOST))?;
    let campaign = serde_json::from_str(&text(CAMPAIGN)?).map_err(|e| missing(&e, CAMPAIGN))?;
    let file = File::open(dir.join(CELLS)).map_err(|e| missing(&e, CELLS))?;
    let (mut runs, mut remarks) = (Vec::new(), Vec::new());
    let mut lines = BufReader::new(file).lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let line = line.context(Phase::Report, format!("cannot read {CELLS}"))?;
        match serde_json::from_str::<Outcome>(&line) {
            Ok(outcome) if outcome.schema == crate::cell::SCHEMA => runs.push(outcome),
            Ok(outcome) => {
                let what = format!("line {} of {CELLS} has schema {}", number + 1, outcome.schema);
                return Err(Error::failed(Phase::Report, what).hint("read it with the version that wrote it"));
            }
            Err(_) if lines.peek().is_none() => {
                remarks.push(format!("the last line of {CELLS} is cut and was ignored: the campaign was killed"));
            }
            Err(error) => {
                return Err(
                    Error::failed(Phase::Report, format!("line {} of {CELLS} is damaged", number + 1)).because(error)
                );
            }
        }
    }
    Ok(Saved { host, campaign, runs, remarks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Status;
    use crate::plan::RunId;

    fn outcome(round: u32) -> Outcome {
        let plan = Plan { mechanism: "pipe".into(), run: RunId { round, ..RunId::default() }, ..Plan::default() };
        Outcome::empty(&plan, Status::Ok)
    }

    fn folder() -> (tempfile::TempDir, Journal) {
        let dir = tempfile::tempdir().unwrap();
        let campaign = Campaign { seed: 1, rounds: 6, cells: vec![], unsupported: vec![] };
        let journal = Journal::create(&dir.path().join("x"), &Host::default(), &campaign).unwrap();
        (dir, journal)
    }

    #[test]
    fn runs_read_back_as_they_were_written() {
        let (_dir, mut journal) = folder();
        let written: Vec<_> = (0..3).map(outcome).collect();
        written.iter().for_each(|o| journal.append(o).unwrap());
        assert_eq!(read(journal.dir()).unwrap().runs, written);
    }

    #[test]
    fn a_cut_last_line_is_ignored_and_said_so() {
        let (_dir, mut journal) = folder();
        journal.append(&outcome(0)).unwrap();
        journal.cells.write_all(b"{\"schema\":1,\"mech").unwrap();
        let saved = read(journal.dir()).unwrap();
        assert_eq!((saved.runs.len(), saved.remarks.len()), (1, 1));
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_an_error() {
        let (_dir, mut journal) = folder();
        journal.cells.write_all(b"nonsense\n").unwrap();
        journal.append(&outcome(0)).unwrap();
        assert!(read(journal.dir()).is_err());
    }

    #[test]
    fn results_are_never_overwritten() {
        let (_dir, journal) = folder();
        let campaign = Campaign { seed: 1, rounds: 6, cells: vec![], unsupported: vec![] };
        let refused = Journal::create(journal.dir(), &Host::default(), &campaign).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
    }
}

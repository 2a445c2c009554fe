//! The results folder: a line per run, written before the next run starts.
//!
//! Key decision: `cells.jsonl` is append-only, one JSON object per line in a single write, so that whatever ends the
//! program, all finished runs are there and at most the last line is cut. A reader ignores a cut last line and says so; a
//! campaign that goes on removes it first. Lines are read one at a time: a journal may be larger than memory.
//! Rejected: a database (needs a program to look at), one file at the end (a crash loses everything).
//!
//! Whoever writes holds an exclusive flock(2) on `cells.jsonl`, which the kernel drops whatever ends the program. A lock
//! file was rejected: it would outlive a kill and refuse the continuation that it exists for.

use super::launch::deadline_for;
use super::matrix::Profile;
use super::sound::{self, Positions};
use crate::cell::{Outcome, Status};
use crate::error::{Context, Error, Phase, Result};
use crate::host::Host;
use crate::lines;
use crate::machine::{moment, timestamp};
use crate::plan::{Plan, Span};
use crate::results::{self, HOST, missing, notebook};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What a campaign was meant to be: enough to continue it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Seed of the order.
    pub seed: u64,
    /// Complete blocks.
    pub rounds: u32,
    /// How long it may take; folders of version 0.1.0 do not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub terms: Option<Terms>,
    /// The cells, in the order in which their numbers count.
    pub cells: Vec<Plan>,
    /// Cells that were asked for and are impossible here.
    pub unsupported: Vec<Outcome>,
}

impl Campaign {
    /// What a campaign must say to be continued.
    ///
    /// # Errors
    /// A usage error where the folder does not say it.
    pub fn terms(&self, dir: &Path) -> Result<Terms> {
        self.terms.ok_or_else(|| {
            let what = format!("{} does not say how long its runs are: an older version made it", dir.display());
            Error::usage(what).hint("start a new campaign; `ipcost show` and `ipcost report` still make its tables")
        })
    }
}

/// How long the runs and the whole are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Quick or full.
    pub profile: Profile,
    /// Length of one run.
    pub run: Span,
    /// Length of the campaign, in ms.
    pub budget_ms: u64,
    /// Rounds up to which headline rows are extended; the number of complete blocks where nothing is.
    pub most_rounds: u32,
}

/// What earlier sittings of a campaign finished.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// How each finished run ended, by its position in the campaign.
    pub runs: HashMap<u32, Status>,
    /// Time that they took, pauses between sittings excluded.
    pub spent: Duration,
}

/// One continuation of a campaign.
#[derive(Debug, Serialize, Deserialize)]
struct Sitting {
    at: String,
    runs: usize,
    revision: String,
}

/// An open results folder.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    cells: File,
    /// Recorded with the first run, so that a look at a finished campaign leaves no trace.
    sitting: Option<Sitting>,
}

/// File of a results folder that holds the runs of a campaign.
pub const CELLS: &str = "cells.jsonl";
/// File of a results folder that says what the campaign was meant to be. It comes last: without it nothing was begun.
pub const CAMPAIGN: &str = "campaign.json";
const SITTINGS: &str = "resumed.jsonl";

/// Key of the source revision in [`Host::build`].
const REVISION: &str = "revision";

impl Journal {
    /// Makes a new results folder.
    ///
    /// # Errors
    /// A usage error when the folder already holds results, or cannot be written.
    pub fn create(dir: &Path, host: &Host, campaign: &Campaign) -> Result<Self> {
        results::begin(dir, host)?;
        let cells = notebook::open(dir, CELLS)?;
        // Of two programs that want one folder only one gets the lock, and the other one, if it gets it later, finds a campaign.
        lock(&cells, dir)?;
        results::begin(dir, host)?;
        results::write_json(dir, CAMPAIGN, campaign)?;
        Ok(Self { dir: dir.into(), cells, sitting: None })
    }

    /// Opens the folder of a campaign that ended early, to go on with it on the machine `here`. What is left of a cut last
    /// line is removed, and the remarks say so.
    ///
    /// # Errors
    /// A usage error when the folder holds no campaign, does not say enough to continue it, is being written by another
    /// program, or was made on another machine or kernel; as [`read`] when it is damaged.
    pub fn resume(dir: &Path, here: &Host) -> Result<(Self, Saved, Done)> {
        let file = OpenOptions::new().read(true).append(true).open(dir.join(CELLS));
        let mut cells = file.map_err(|e| missing(dir, CELLS, &e))?;
        lock(&cells, dir)?;
        let mut saved = saved(dir)?;
        saved.campaign.terms(dir)?;
        saved.remarks.extend(same_place(&saved.host, here)?);
        let (mut done, mut clock) = (Done::default(), Pace::default());
        let ending = scan(&cells, &mut |run| {
            done.spent += clock.step(&run, &saved.campaign);
            done.runs.insert(run.run.order, run.status);
        })?;
        let cannot = "cannot mend the journal";
        if ending.cut {
            cells.set_len(ending.good).context(Phase::Report, cannot)?;
            saved.remarks.push(format!("the last line of {CELLS} was cut and has been removed; its run is done again"));
        }
        if ending.open {
            cells.write_all(b"\n").context(Phase::Report, cannot)?;
        }
        let revision = here.build.get(REVISION).cloned().unwrap_or_default();
        let sitting = Some(Sitting { at: timestamp(), runs: done.runs.len(), revision });
        Ok((Self { dir: dir.into(), cells, sitting }, saved, done))
    }

    /// Writes one finished run.
    ///
    /// # Errors
    /// When the disk is full or the folder is gone.
    pub fn append(&mut self, outcome: &Outcome) -> Result<()> {
        let then = format!("`ipcost compare --resume {}`", self.dir.display());
        if let Some(sitting) = self.sitting.take() {
            notebook::append_to(&self.dir.join(SITTINGS), &sitting, &then)?;
        }
        notebook::append(&mut self.cells, &self.dir.join(CELLS), outcome, &then)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Refuses a second writer. A file system without locks has none.
fn lock(cells: &File, dir: &Path) -> Result<()> {
    match flock(cells, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(Error::usage(format!("another program is writing into {}", dir.display()))
                .hint("wait for it, or stop it first"))
        }
        _ => Ok(()),
    }
}

/// Refuses to mix machines in one campaign; returns what is worth a remark.
fn same_place(there: &Host, here: &Host) -> Result<Option<String>> {
    let cpus = |host: &Host| host.allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let facts = [
        ("machine", there.slug.clone(), here.slug.clone()),
        ("kernel", there.kernel.clone(), here.kernel.clone()),
        ("set of allowed CPUs", cpus(there), cpus(here)),
    ];
    if let Some((what, there, here)) = facts.into_iter().find(|(_, there, here)| there != here) {
        return Err(Error::usage(format!("the campaign ran on another {what}: {there:?}, here it is {here:?}"))
            .hint("go on where it began, or start a new campaign here"));
    }
    let revision = |host: &Host| host.build.get(REVISION).cloned().unwrap_or_default();
    let (there, here) = (revision(there), revision(here));
    Ok((there != here).then(|| format!("the campaign began with build {there} and goes on with {here}")))
}

/// How long finished runs took, from the times at which they started.
#[derive(Default)]
struct Pace(Option<SystemTime>);

impl Pace {
    /// Time between the run before and this one; a gap that no run can fill was a pause, for which the planned length
    /// stands.
    fn step(&mut self, run: &Outcome, campaign: &Campaign) -> Duration {
        let planned = campaign.terms.map_or(Duration::ZERO, |terms| terms.run.planned());
        let longest = deadline_for(&Plan { span: Span::Millis(planned.as_millis() as u64), ..Plan::default() });
        let started = moment(&run.run.started);
        let gap = started.zip(self.0).and_then(|(now, before)| now.duration_since(before).ok());
        self.0 = started;
        gap.filter(|gap| *gap <= longest).unwrap_or(planned)
    }
}

/// A results folder, read back, but for its runs.
#[derive(Debug, Default)]
pub struct Saved {
    /// Where it was measured.
    pub host: Host,
    /// What was meant to be measured.
    pub campaign: Campaign,
    /// What is wrong with the journal, for people.
    pub remarks: Vec<String>,
}

/// Reads a results folder and hands over its runs one by one, in the order in which they ran.
///
/// # Errors
/// A usage error when there is none, `failed` when a line in the middle cannot be read.
pub fn read(dir: &Path, each: &mut dyn FnMut(Outcome)) -> Result<Saved> {
    let mut saved = saved(dir)?;
    let file = File::open(dir.join(CELLS)).map_err(|e| missing(dir, CELLS, &e))?;
    if scan(&file, each)?.cut {
        saved.remarks.push(format!("the last line of {CELLS} is cut and was ignored: the campaign was killed"));
    }
    Ok(saved)
}

fn saved(dir: &Path) -> Result<Saved> {
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).map_err(|e| missing(dir, name, &e));
    let host: Host = lines::read_whole(&text(HOST)?, HOST, &Host::default())?;
    let campaign: Campaign = lines::read_whole(&text(CAMPAIGN)?, CAMPAIGN, &Campaign::default())?;
    if let Some(why) = sound::impossible(&campaign) {
        let damaged = Error::failed(Phase::Report, format!("{CAMPAIGN} is damaged"));
        return Err(damaged.because(why).hint("restore it from a copy"));
    }
    let sittings = std::fs::read_to_string(dir.join(SITTINGS)).unwrap_or_default();
    let remarks = sittings.lines().zip(1..).map(|(line, number)| match serde_json::from_str::<Sitting>(line) {
        Ok(sitting) => {
            let other = host.build.get(REVISION) != Some(&sitting.revision);
            let build = if other { format!(" with build {}", sitting.revision) } else { String::new() };
            format!("continued on {} after {} launches{build}", sitting.at, sitting.runs)
        }
        // It tells of the runs and is not needed for them.
        Err(error) => format!("line {number} of {SITTINGS} is damaged and was ignored: {error}"),
    });
    let remarks = remarks.collect();
    Ok(Saved { host, campaign, remarks })
}

/// How a journal ends.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ending {
    /// Bytes up to the end of the last line that can be read.
    good: u64,
    /// Something unreadable follows.
    cut: bool,
    /// Only the end of the last good line is missing.
    open: bool,
}

fn scan(file: &File, each: &mut dyn FnMut(Outcome)) -> Result<Ending> {
    let cannot = || format!("cannot read {CELLS}");
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut line, mut ending, mut positions) = (Vec::new(), Ending::default(), Positions::default());
    for number in 1.. {
        line.clear();
        let length = reader.read_until(b'\n', &mut line).context(Phase::Report, cannot())?;
        if length == 0 {
            break;
        }
        // A whole line that cannot be read was not cut by a kill, wherever it stands.
        let Some(outcome) = lines::read::<Outcome>(&line, number, CELLS)? else {
            ending.cut = true;
            break;
        };
        if let Some(why) = positions.take(outcome.run.order, number) {
            return Err(Error::failed(Phase::Report, format!("line {number} of {CELLS} is damaged"))
                .because(why)
                .hint("remove the copy"));
        }
        each(outcome);
        ending.good += length as u64;
        ending.open = line.last() != Some(&b'\n');
    }
    Ok(ending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RunId;

    fn outcome(round: u32) -> Outcome {
        let run = RunId { round, order: round, ..RunId::default() };
        let plan = Plan { mechanism: "pipe".into(), run, ..Plan::default() };
        Outcome { messages: 1, elapsed_ns: 1, ..Outcome::empty(&plan, Status::Ok) }
    }

    fn folder() -> (tempfile::TempDir, Journal) {
        let dir = tempfile::tempdir().unwrap();
        let terms = Terms { profile: Profile::Quick, run: Span::Millis(60), budget_ms: 1000, most_rounds: 6 };
        let campaign = Campaign { terms: Some(terms), ..Campaign::default() };
        let journal = Journal::create(&dir.path().join("x"), &Host::default(), &campaign).unwrap();
        (dir, journal)
    }

    fn read_all(dir: &Path) -> Result<(Saved, Vec<Outcome>)> {
        let mut runs = Vec::new();
        read(dir, &mut |run| runs.push(run)).map(|saved| (saved, runs))
    }

    #[test]
    fn runs_read_back_as_they_were_written() {
        let (_dir, mut journal) = folder();
        let written: Vec<_> = (0..3).map(outcome).collect();
        written.iter().for_each(|o| journal.append(o).unwrap());
        assert_eq!(read_all(journal.dir()).unwrap().1, written);
    }

    #[test]
    fn a_cut_last_line_is_ignored_and_said_so() {
        let (_dir, mut journal) = folder();
        journal.append(&outcome(0)).unwrap();
        journal.cells.write_all(b"{\"schema\":1,\"mech").unwrap();
        let (saved, runs) = read_all(journal.dir()).unwrap();
        assert_eq!((runs.len(), saved.remarks.len()), (1, 1));
    }

    #[test]
    fn a_damaged_line_in_the_middle_is_an_error() {
        let (_dir, mut journal) = folder();
        journal.cells.write_all(b"nonsense\n").unwrap();
        assert!(read_all(journal.dir()).is_err(), "it is the last line, but it is whole");
        journal.append(&outcome(0)).unwrap();
        assert!(read_all(journal.dir()).is_err());
    }

    #[test]
    fn results_are_never_overwritten() {
        let (_dir, journal) = folder();
        let refused = Journal::create(journal.dir(), &Host::default(), &Campaign::default()).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("already holds results"), "{refused}");
    }

    /// Closes the journal and opens it again to go on.
    fn resumed(journal: Journal, here: &Host) -> Result<(Journal, Saved, Done)> {
        let dir = journal.dir().to_path_buf();
        drop(journal);
        Journal::resume(&dir, here)
    }

    #[test]
    fn going_on_removes_a_cut_line_keeps_every_whole_one_and_leaves_a_remark() {
        let (_dir, mut journal) = folder();
        (0..2).for_each(|round| journal.append(&outcome(round)).unwrap());
        journal.cells.write_all(b"{\"schema\":1,\"mech").unwrap();
        let (mut journal, saved, done) = resumed(journal, &Host::default()).unwrap();
        assert!(saved.remarks.iter().any(|r| r.contains("has been removed")), "{:?}", saved.remarks);
        assert_eq!(done.runs.len(), 2);
        journal.append(&outcome(2)).unwrap();
        let (saved, runs) = read_all(journal.dir()).unwrap();
        assert_eq!(runs.iter().map(|run| run.run.round).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(saved.remarks.iter().any(|r| r.contains("continued on")), "{:?}", saved.remarks);
    }

    #[test]
    fn a_last_line_that_lacks_only_its_end_is_a_finished_run() {
        let (_dir, mut journal) = folder();
        journal.append(&outcome(0)).unwrap();
        let length = journal.cells.metadata().unwrap().len();
        journal.cells.set_len(length - 1).unwrap();
        let (mut journal, ..) = resumed(journal, &Host::default()).unwrap();
        journal.append(&outcome(1)).unwrap();
        assert_eq!(read_all(journal.dir()).unwrap().1.len(), 2);
    }

    #[test]
    fn two_programs_cannot_write_into_one_folder() {
        let (_dir, journal) = folder();
        let refused = Journal::resume(journal.dir(), &Host::default()).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("another program"), "{refused}");
        resumed(journal, &Host::default()).expect("the lock went with the first one");
    }

    #[test]
    fn a_campaign_stays_on_its_machine_and_kernel_but_may_change_its_build() {
        let base = Host { slug: "a".into(), kernel: "k".into(), allowed: vec![0, 1], ..Host::default() };
        let build = |revision: &str| [(REVISION.to_string(), revision.to_string())].into();
        let same = |here: Host| same_place(&Host { build: build("x"), ..base.clone() }, &here);
        assert_eq!(same(Host { build: build("x"), ..base.clone() }).unwrap(), None);
        assert!(same(Host { build: build("y"), ..base.clone() }).unwrap().unwrap().contains("goes on with y"));
        for other in [
            Host { slug: "b".into(), ..base.clone() },
            Host { kernel: "l".into(), ..base.clone() },
            Host { allowed: vec![0], ..base.clone() },
        ] {
            assert_eq!(same(other).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn time_spent_counts_runs_and_no_pauses() {
        let campaign = Campaign {
            terms: Some(Terms { profile: Profile::Quick, run: Span::Millis(100), budget_ms: 1, most_rounds: 6 }),
            ..Campaign::default()
        };
        let at = |started: &str| {
            let mut run = outcome(0);
            run.run.started = started.into();
            run
        };
        let mut pace = Pace::default();
        let times = ["2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.150Z", "2026-01-01T05:00:00.000Z"];
        let steps: Vec<_> = times.iter().map(|t| pace.step(&at(t), &campaign).as_millis()).collect();
        assert_eq!(steps, [100, 150, 100]);
    }
}

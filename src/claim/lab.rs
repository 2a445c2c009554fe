//! Measures the cells of one claim: blocks in random order, each cell in a fresh launch, every answer journalled at once.
//!
//! Key decision: the same launcher as that of a campaign (fresh process, deadline, process group, parent-death signal),
//! so that Ctrl-C and a kill leave nothing running whatever an experiment starts. A cell that failed is not launched
//! again in the same claim; the judge sees why.

use super::record::{Answer, CLAIMS_FILE, Line, Record, SCHEMA, Status};
use super::{Cell, Setting};
use crate::campaign::launch::{ask_timed, own_command};
use crate::campaign::schedule;
use crate::campaign::surroundings::{Surroundings, foreign};
use crate::error::{Context, Error, Phase, Result};
use crate::lines::Unknown;
use crate::machine;
use crate::results::notebook::Notebook;
use crate::shm::region::Region;
use crate::sys::map::{self, Sharing};
use crate::sys::memory::Account;
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// The hidden command that measures one cell.
pub const COMMAND: &str = "claim-cell";
/// Rounds of a quick pass and of a full one.
const ROUNDS: [u32; 2] = [6, 20];
/// Time of a claim, quick and full.
const BUDGETS: [Duration; 2] = [Duration::from_secs(16), Duration::from_secs(150)];
/// What a launch costs besides, and the bounds of what a cell is given, ms.
const LAUNCH_MS: u64 = 25;
const SHORTEST_MS: u64 = 20;
const LONGEST_MS: u64 = 1000;
/// A cell that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// Opens the journal of a results folder.
///
/// # Errors
/// A usage error when the folder cannot be written.
pub fn notebook(dir: &Path) -> Result<Notebook> {
    Notebook::open(dir, CLAIMS_FILE, "begin again with another --out, or with the claims that are missing")
}

/// Everything that a pass over a claim needs.
pub struct Lab<'a> {
    /// Where and how thoroughly.
    pub setting: &'a Setting,
    /// How long a claim may take; by default 16 s, and 150 s for a full pass.
    pub budget: Option<Duration>,
    /// Seed of the order.
    pub seed: u64,
    /// Where answers are kept.
    pub notebook: &'a mut Notebook,
    /// Told how many of how many launches are done, and what begins.
    pub begins: &'a mut dyn FnMut(usize, usize, &Cell),
    /// Whether somebody asked to stop.
    pub interrupted: &'a dyn Fn() -> bool,
}

impl Lab<'_> {
    /// Measures every one of these cells of a claim in every round.
    ///
    /// # Errors
    /// When the journal cannot be written; what was written stays.
    pub fn measure(&mut self, mut cells: Vec<Cell>) -> Result<Record> {
        let which = usize::from(self.setting.full);
        let (rounds, budget) = (ROUNDS[which], self.budget.unwrap_or(BUDGETS[which]));
        let each = budget.as_millis() as u64 / (cells.len() as u64 * u64::from(rounds)).max(1);
        for cell in &mut cells {
            cell.millis = each.saturating_sub(LAUNCH_MS).clamp(SHORTEST_MS, LONGEST_MS);
            cell.plant.clone_from(&self.setting.plant);
        }
        let (mut record, mut broken) = (Record::default(), HashSet::new());
        let (start, total) = (Instant::now(), cells.len() * rounds as usize);
        for round in 0..rounds {
            // Six rounds give intervals; more only as long as there is time.
            if round >= ROUNDS[0] && start.elapsed() > budget {
                break;
            }
            for index in schedule::order(self.seed, round, cells.len()) {
                if broken.contains(&index) {
                    continue;
                }
                (self.begins)(record.lines().len(), total, &cells[index]);
                let order = record.lines().len() as u32;
                let line = self.launch(&cells[index], round, order);
                if (self.interrupted)() {
                    return Ok(record);
                }
                self.notebook.append(&line)?;
                if line.answer.status != Status::Ok {
                    broken.insert(index);
                }
                record.push(line);
            }
        }
        Ok(record)
    }

    fn launch(&self, cell: &Cell, round: u32, order: u32) -> Line {
        let before = Surroundings::look(self.setting.cpus.clone());
        let started = machine::timestamp();
        let asked = ask_timed::<Answer>(own_command(COMMAND), cell, DEADLINE);
        let (answer, disturbance) = match asked {
            Ok((answer, harness)) => (answer, Some(before.since(harness))),
            Err(error) => (Answer::from_error(&error), None),
        };
        let flags = disturbance.map(|seen| foreign(&seen)).unwrap_or_default();
        let (cell, unknown) = (cell.clone(), Unknown::new());
        Line { schema: SCHEMA, cell, round, order, seed: self.seed, started, answer, flags, disturbance, unknown }
    }
}

/// Memory that an experiment leaves to everybody else.
const SPARE: u64 = 256 << 20;

/// Refuses an experiment that needs more than `bytes` of memory where they are not to spare.
///
/// # Errors
/// `unsupported`, with what would be needed.
pub fn needs(bytes: u64) -> Result<()> {
    let bytes = bytes + SPARE;
    if machine::memory_left().is_some_and(|left| left < bytes) {
        let what = format!("needs {} MiB of memory", bytes >> 20);
        return Err(Error::unsupported(what).hint("free some, or raise the control group's limit"));
    }
    Ok(())
}

/// Private memory, every page of it written to, in small pages or in huge ones.
///
/// # Errors
/// As [`needs`]; `unsupported` where the kernel gives no huge pages; what mmap(2) says.
pub fn filled(bytes: usize, huge: bool) -> Result<Region> {
    needs(bytes as u64)?;
    let none = || {
        let advice = "write madvise to /sys/kernel/mm/transparent_hugepage/enabled";
        Error::unsupported("the kernel gave no huge pages").hint(advice)
    };
    let region = if huge {
        map::in_huge_pages(bytes).map_err(|error| none().because(error))?
    } else {
        map::small_pages(bytes, Sharing::Private).context(Phase::Setup, "cannot map memory")?
    };
    region.prefault();
    // Where it does not tell, it gave none either.
    let got = || Account::of(std::process::id()).map_or(0, |account| account.huge);
    if huge && got() < bytes as u64 / 2 {
        return Err(none());
    }
    Ok(region)
}

/// Splits the CPUs that may be used: one for parties that share, two for parties that do not.
///
/// # Errors
/// `unsupported` where there is none.
pub fn one_cpu(setting: &Setting) -> Result<usize> {
    // The last one: the first tends to serve the interrupts.
    setting.cpus.last().copied().ok_or_else(|| Error::unsupported("no CPU is allowed for this process"))
}

//! Threads bring bottlenecks, lost updates and deadlocks.
//!
//! **Question.** Are these troubles of threads, or of memory that several parties write?
//!
//! **Method.** Every trouble is provoked twice, between threads and between forked processes on one shared mapping, by the
//! same code. *Contention*: one to eight workers add to one atomic counter, to a counter behind a futex mutex or a spin
//! lock, or each to a counter in a line of its own. *False sharing*: two workers add to words 0 to 256 bytes apart. *Lost
//! updates*: two workers add to one word by a load and a store, then by one atomic addition. *Deadlock*: two workers begin
//! together, take one lock each, compute for a moment and take the other's; a watchdog looks for "each holds what the
//! other wants", counts it, and makes one worker give up. The control takes both locks in one order. Every access is
//! atomic, so no program here has undefined behaviour: `Relaxed` loads and stores lose updates quite legally.
//!
//! Scalability is Gunther's law, X(n) / X(1) = n / (1 + s (n - 1) + k n (n - 1)), with the shares *s* (waiting for each
//! other) and *k* (talking to each other) by least squares on X(1) n / X(n) - 1; counts above the number of CPUs say
//! nothing about the code and are left out, and below two counts the law is not fitted.
//!
//! **Caveat.** Workers beyond the CPUs wait for CPUs, not for each other. Two virtual CPUs may be two threads of one core,
//! whose counters share a cache: false sharing is then small.
//!
//! Sources: Gunther, "A General Theory of Computational Scalability Based on Rational Functions", 2008; Coffman, Elphick
//! and Shoshani, "System Deadlocks", 1971; Drepper, "Futexes Are Tricky".

mod counters;
mod crew;
mod deadlock;
mod verdict;

use super::{Cell, Claim, Setting, Values};
use crate::error::{Context, Phase, Result};
use crate::plan::Parties;
use crate::shm::board::Board;
use crate::sys::map;
use counters::{contention, false_sharing, lost_updates};
use crew::Crew;
use deadlock::deadlock;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use verdict::{judge, picture};

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "synchronisation",
    taught: "threads bring problems of synchronisation: bottlenecks, lost updates, deadlocks",
    hypothesis: "two threads on one counter do at most 0.8 times the additions of two with counters of their own, lose an \
                 update by load and store and none by atomic additions, and deadlock at least once on crossed locks and never \
                 on ordered ones; it holds only if memory is shared, should processes on shared memory show the same",
    misleads: "workers beyond the CPUs wait for CPUs; two virtual CPUs may be one core with one cache; the deadlock rate is \
               that of workers that begin together",
    cells,
    measure,
    judge,
    plants: &["lost", "deadlock"],
    picture: Some(picture),
};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct With {
    parties: Parties,
    cpus: Vec<usize>,
    trouble: Trouble,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Trouble {
    Contention { counter: Counter, workers: Vec<usize> },
    FalseSharing,
    LostUpdates,
    Deadlock,
}

/// What workers add to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Counter {
    Atomic,
    Mutex,
    Spin,
    Sharded,
}

const COUNTERS: [(Counter, &str); 4] = [
    (Counter::Atomic, "one atomic counter"),
    (Counter::Mutex, "one counter behind a mutex"),
    (Counter::Spin, "one counter behind a spin lock"),
    (Counter::Sharded, "a counter for each worker"),
];
const FALSE_SHARING: &str = "false sharing";
const LOST_UPDATES: &str = "lost updates";
const DEADLOCK: &str = "deadlock";
const BOTH: [Parties; 2] = [Parties::Thread, Parties::Process];

fn case(what: &str, parties: Parties) -> String {
    format!("{what}, {parties}")
}

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    super::lab::one_cpu(setting)?;
    let workers: &[usize] = if setting.full { &[1, 2, 3, 4, 6, 8] } else { &[1, 2, 4, 8] };
    let mut cells = Vec::new();
    for parties in BOTH {
        let mut cell = |what, trouble| {
            cells.push(Cell::new(&CLAIM, case(what, parties), &With { parties, cpus: setting.cpus.clone(), trouble }));
        };
        for (counter, name) in COUNTERS {
            cell(name, Trouble::Contention { counter, workers: workers.to_vec() });
        }
        cell(FALSE_SHARING, Trouble::FalseSharing);
        cell(LOST_UPDATES, Trouble::LostUpdates);
        cell(DEADLOCK, Trouble::Deadlock);
    }
    let again = cells[0].again();
    cells.push(again);
    Ok(cells)
}

fn measure(cell: &Cell) -> Result<Values> {
    let With { parties, cpus, trouble } = cell.with()?;
    let cannot = "cannot map shared memory";
    let region = Arc::new(map::anonymous_shared(Board::LEN).context(Phase::Setup, cannot)?);
    let crew = Crew { parties, cpus, board: Board::lay(&region) };
    let window = cell.millis * 1_000_000;
    match trouble {
        Trouble::Contention { counter, workers } => contention(&crew, counter, &workers, window),
        Trouble::FalseSharing => false_sharing(&crew, window),
        Trouble::LostUpdates => lost_updates(&crew, window, cell.planted("lost")),
        Trouble::Deadlock => deadlock(&crew, window, cell.planted("deadlock")),
    }
}

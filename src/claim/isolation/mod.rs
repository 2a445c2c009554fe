//! When one process dies the others live; one thread's fault kills all.
//!
//! **Question.** Whom does a fault take along, who notices it and how soon, and what becomes of locks and messages?
//!
//! **Method.** Faults are injected into one of three workers, threads of one process or forked processes, while it is idle,
//! holds a lock, or has written half of a message. The unit that suffers is a forked group; the observer is outside, in
//! the launched process. The victim writes down the time and comes to harm. The observer notes when the victim's process
//! descriptor, SIGCHLD, the end of a pipe and a heartbeat that stopped told it, then asks each of the others for a sign of
//! life, which in the cells with a lock includes taking that lock, and reads what the victim had sent. At last it starts
//! a worker (for threads: a group) in place of what died.
//!
//! **Caveat.** Zero of *n* injections means at most 3/*n* at 95 % confidence (rule of three), for these faults, at these
//! moments. The heartbeat's time is its limit, which is a choice.
//!
//! Sources: Hanley and Lippman-Hand, "If Nothing Goes Wrong, Is Everything All Right?", JAMA 1983; pidfd_open(2),
//! signalfd(2), pipe(7), robust futexes in set_robust_list(2).

mod observer;
mod verdict;
mod workers;

use super::{Cell, Claim, Setting, Values};
use crate::error::{Context, Phase, Result};
use crate::plan::Parties;
use crate::shm::futex::Scope;
use crate::sys::clock;
use crate::sys::harm::Fault;
use crate::sys::process::ChildSignals;
use observer::{inject, summary};
use serde::{Deserialize, Serialize};
use verdict::judge;

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "isolation",
    taught: "when one process dies the others live; one thread's fault kills all threads",
    hypothesis: "in every cell of processes at most 3 % of the injections take another worker along or leave it blocked, in \
                 every cell of threads at least 97 % take all along; cells that are otherwise are conditions of the claim, \
                 and it is contradicted if processes die along or no fault of a thread kills the others",
    misleads: "zero of n means at most 3/n at 95 %; faults come at chosen moments; a heartbeat is as slow as its limit, and a \
               loaded machine makes it raise false alarms",
    cells,
    measure,
    judge,
    plants: &["take-along", "unwind"],
    picture: None,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct With {
    parties: Parties,
    /// None is the control.
    fault: Option<Fault>,
    moment: Moment,
}

impl With {
    /// Where a futex of the workers may sleep.
    fn scope(&self) -> Scope {
        if self.parties == Parties::Process { Scope::Shared } else { Scope::Private }
    }
}

/// What the victim does when it comes to harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Moment {
    Idle,
    Lock,
    RobustLock,
    Message,
}

impl Moment {
    const ALL: [Moment; 4] = [Moment::Idle, Moment::Lock, Moment::RobustLock, Moment::Message];

    fn words(self) -> &'static str {
        match self {
            Moment::Idle => "idle",
            Moment::Lock => "holding a lock",
            Moment::RobustLock => "holding a robust lock",
            Moment::Message => "in mid-message",
        }
    }
}

/// What a launch is to do.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    with: With,
    /// Least injections.
    fewest: usize,
}

/// Least injections of a launch, quick and full: over the six rounds that there are at least, 24 and 102.
const FEWEST: [usize; 2] = [4, 17];
/// Most injections of a launch.
const MOST: usize = 100;

const BOTH: [Parties; 2] = [Parties::Thread, Parties::Process];

fn case(With { parties, fault, moment }: With) -> String {
    format!("{}, {parties}, {}", fault.map_or("no fault", Fault::word), moment.words())
}

/// Every combination. A robust lock tells nothing new where the whole group dies.
fn all() -> Vec<With> {
    let mut all = Vec::new();
    for parties in BOTH {
        all.push(With { parties, fault: None, moment: Moment::Idle });
        for fault in Fault::ALL {
            let fits = |moment: &Moment| parties == Parties::Process || *moment != Moment::RobustLock;
            let of = |moment| With { parties, fault: Some(fault), moment };
            all.extend(Moment::ALL.into_iter().filter(fits).map(of));
        }
    }
    all
}

/// What a quick pass looks at: every fault of an idle victim, and of a busy one the mildest and the hardest.
fn is_quick(with: &With) -> bool {
    match with.moment {
        Moment::Idle => true,
        Moment::Lock | Moment::Message => matches!(with.fault, Some(Fault::Panic | Fault::Kill)),
        Moment::RobustLock => with.fault == Some(Fault::Kill),
    }
}

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    let fewest = FEWEST[usize::from(setting.full)];
    let chosen = all().into_iter().filter(|with| setting.full || is_quick(with));
    let mut cells: Vec<Cell> = chosen.map(|with| Cell::new(&CLAIM, case(with), &Order { with, fewest })).collect();
    let killed = case(With { parties: Parties::Process, fault: Some(Fault::Kill), moment: Moment::Idle });
    let again: Vec<Cell> = cells.iter().filter(|cell| cell.case == killed).map(Cell::again).collect();
    cells.extend(again);
    Ok(cells)
}

fn measure(cell: &Cell) -> Result<Values> {
    let Order { mut with, fewest } = cell.with()?;
    if cell.planted("unwind") {
        with.fault = with.fault.map(|_| Fault::Panic);
    }
    let signals = ChildSignals::new().context(Phase::Setup, "cannot read signals")?;
    let end = clock::now() + cell.millis * 1_000_000;
    let mut all = Vec::new();
    while all.len() < fewest || (all.len() < MOST && clock::now() < end) {
        all.push(inject(with, &signals, cell.planted("take-along"))?);
    }
    Ok(summary(&all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pass_has_every_combination() {
        assert_eq!(all().len(), 2 + 6 * 3 + 6 * 4);
    }
}

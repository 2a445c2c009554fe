//! When a process dies the others do its work, more slowly.
//!
//! **Question.** One of four workers is killed. Do the others take over, is anything lost or done twice, and does the
//! backlog grow as fast as arithmetic says?
//!
//! **Method.** Four workers take requests from one pipe; a request is a millisecond of sleep, as if it waited for a
//! disk, so that the workers and not the CPUs are what there is too little of. What they can do together is measured
//! first, with a burst. Then a client sends at 0.3, 0.6 or 0.9 of that, evenly, whether or not anybody answers, and one
//! worker gets SIGKILL; as threads, all die with it. The supervisor waits on the dead one's process descriptor and,
//! with respawn, sends again what was taken and not done and starts a new one. Requests leave their times in shared
//! memory. The backlog is what was due and not done; its slope after the kill is to be the load less what the others
//! can do. The 99th percentile of the latency, from when a request was due, is kept for bins of 10 ms.
//!
//! **Caveat.** The worker that died may have finished a request without having said so; with respawn that one is done
//! twice. A bin holds some dozens of requests, so that its 99th percentile is close to the slowest.

mod books;
mod shop;
mod verdict;

use super::{Cell, Claim, Setting, Values, values};
use crate::error::{Context, Error, Phase, Result};
use crate::plan::Parties;
use crate::sys::clock;
use crate::sys::process::{Child, fork_child, wait_gone};
use books::{Books, account};
use serde::{Deserialize, Serialize};
use shop::{Schedule, Shop, drain};
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;
use verdict::{judge, picture};

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "takeover",
    taught: "when a process dies the others do its work, more slowly",
    hypothesis: "after one of 4 died, at most the one request that it had taken is lost, or done twice with respawn; \
                 at a load of 0.3 and 0.6 of the capacity the backlog grows by less than 0.05 of the capacity, and at \
                 0.9 by 0.15 give or take 0.07 (load less three quarters): then the claim holds only if the load is \
                 more than the others can do; it holds if the backlog grows by more than 0.05 at 0.3 and 0.6 too",
    misleads: "a client that waits for answers would hide the outage; requests that sleep hide what three workers on \
               two busy CPUs would show; what others take of the CPUs after the burst makes the capacity look too high",
    cells,
    measure,
    judge,
    plants: &["two", "twice"],
    picture: Some(picture),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fate {
    /// Nobody dies.
    Life,
    /// One worker is killed, and nothing else happens.
    Death,
    /// One worker is killed and replaced.
    Respawn,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct With {
    parties: Parties,
    /// Of the capacity, per cent.
    load: u64,
    fate: Fate,
}

impl With {
    fn case(self) -> String {
        let fate = match self.fate {
            Fate::Life => "nobody dies",
            Fate::Death => "one dies",
            Fate::Respawn => "one dies and is replaced",
        };
        format!("{WORKERS} x {}, load {} %, {fate}", self.parties, self.load)
    }
}

const WORKERS: u64 = 4;
/// What a request takes.
const SERVICE: Duration = Duration::from_millis(1);
const LOADS: [u64; 3] = [30, 60, 90];

fn process(load: u64, fate: Fate) -> With {
    With { parties: Parties::Process, load, fate }
}

fn thread(load: u64, fate: Fate) -> With {
    With { parties: Parties::Thread, load, fate }
}

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    let mut add = |with: With| cells.push(Cell::new(&CLAIM, with.case(), &with));
    for load in LOADS {
        add(process(load, Fate::Death));
        add(process(load, Fate::Respawn));
        if setting.full || load == 60 {
            add(thread(load, Fate::Death));
            add(thread(load, Fate::Respawn));
        }
        if setting.full || load == 90 {
            add(process(load, Fate::Life));
        }
    }
    let again = Cell::new(&CLAIM, process(90, Fate::Death).case(), &process(90, Fate::Death)).again();
    cells.push(again);
    Ok(cells)
}

/// Requests of the burst that measures the capacity, and most requests of all.
const BURST: u64 = 12 * WORKERS;
const MOST: u64 = 1 << 14;

fn measure(cell: &Cell) -> Result<Values> {
    let With { parties, load, fate } = cell.with()?;
    nix::sys::prctl::set_timerslack(1).map_err(io::Error::from).context(Phase::Setup, "cannot set the slack")?;
    let shop = Shop::new(parties)?;
    let numbers: Vec<u64> = (0..WORKERS).collect();
    let mut workers = shop.hire(&numbers)?;
    let capacity = shop.capacity()?;
    let rate = capacity * load as f64 / 100.0;
    let span = cell.millis as f64 * 0.75e6;
    let number = ((span * rate / 1e9) as u64).min(MOST - BURST);
    let schedule = Schedule { start: clock::now() + 2_000_000, period_ns: 1e9 / rate, number };
    let client = || {
        shop.offer(&schedule);
        0
    };
    let mut client = fork_child(client).context(Phase::Start, "cannot start the client")?;
    let kill = schedule.start + (schedule.end() - schedule.start) / 3;
    std::thread::sleep(Duration::from_nanos(kill.saturating_sub(clock::now())));
    shop.ledger.replaced().store(0, Ordering::Relaxed);
    let killed = clock::now();
    let dead: Vec<u64> = match (fate, parties) {
        (Fate::Life, _) => vec![],
        // A thread's fault ends its process, and with it all the others.
        (_, Parties::Thread) => numbers,
        _ => (0..if cell.planted("two") { 2 } else { 1 }).collect(),
    };
    let bodies = if parties == Parties::Thread { dead.len().min(1) } else { dead.len() };
    let mut bodies: Vec<Child> = workers.drain(..bodies).collect();
    bodies.iter().for_each(Child::kill);
    bodies.iter().for_each(|body| _ = wait_gone(body.id(), Duration::from_secs(5)));
    let mut found = Values::new();
    if fate != Fate::Life {
        found.insert("detect_ns".into(), (clock::now() - killed) as f64);
    }
    if fate == Fate::Respawn {
        shop.again(&dead, &schedule, cell.planted("twice"));
        let fresh: Vec<u64> = dead.iter().map(|number| number + WORKERS).collect();
        workers.extend(shop.hire(&fresh)?);
    }
    // Reaped after the replacement was started: nobody waits for that.
    bodies.iter_mut().for_each(|body| drop(body.wait()));
    client.wait().map_err(|how| Error::failed(Phase::Measure, format!("the client {how}")))?;
    if !workers.is_empty() {
        drain(&shop, &schedule, &dead)?;
    }
    if fate == Fate::Respawn {
        let replaced = shop.ledger.replaced().load(Ordering::Acquire).saturating_sub(killed);
        found.insert("respawn_ns".into(), replaced as f64);
    }
    found.extend(values([("capacity_per_s", capacity), ("offered_per_s", rate)]));
    found.extend(account(&Books::of(&shop.ledger, &schedule, !workers.is_empty()), killed, capacity));
    Ok(found)
}

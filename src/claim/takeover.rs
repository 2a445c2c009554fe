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

use super::record::{Record, least_squares};
use super::{Cell, Claim, Finding, Setting, Unit, Values, Verdict, values};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::stats::Estimate;
use crate::plan::Parties;
use crate::report::picture::{Axis, Picture};
use crate::shm::tally::Tally;
use crate::sys::process::{Child, fork_child, wait_gone};
use crate::sys::{clock, fd};
use serde::{Deserialize, Serialize};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

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

/// What requests leave behind: for each, when it was due, who took it, when it was done, and how often.
#[derive(Clone)]
struct Ledger(Tally);

impl Ledger {
    fn new() -> Result<Self> {
        Ok(Self(Tally::new(1 + 4 * MOST as usize).context(Phase::Setup, "cannot make shared memory")?))
    }

    fn word(&self, request: u64, which: usize) -> &AtomicU64 {
        &self.0[1 + 4 * (request % MOST) as usize + which]
    }

    fn due(&self, request: u64) -> &AtomicU64 {
        self.word(request, 0)
    }

    /// The worker's number plus one.
    fn taken(&self, request: u64) -> &AtomicU64 {
        self.word(request, 1)
    }

    fn done(&self, request: u64) -> &AtomicU64 {
        self.word(request, 2)
    }

    fn times(&self, request: u64) -> &AtomicU64 {
        self.word(request, 3)
    }

    /// When the replacement ran its first instruction.
    fn replaced(&self) -> &AtomicU64 {
        &self.0[0]
    }

    /// The times between the ends of what one worker did, ns.
    fn cycles(&self, worker: u64, requests: std::ops::Range<u64>) -> Vec<f64> {
        let its = requests.filter(|request| self.taken(*request).load(Ordering::Acquire) == worker);
        let mut ends: Vec<u64> = its.map(|request| self.done(request).load(Ordering::Acquire)).collect();
        ends.sort_unstable();
        ends.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect()
    }
}

/// Workers, their queue and their books.
struct Shop {
    parties: Parties,
    ledger: Ledger,
    queue: (PipeReader, PipeWriter),
}

impl Shop {
    fn new(parties: Parties) -> Result<Self> {
        let make = || -> io::Result<_> {
            let queue = io::pipe()?;
            // A client that waited for room would not send at its rate. The default length holds what most launches
            // need.
            let _ = fd::set_pipe_capacity(&queue.1, 1 << 18);
            fd::set_nonblocking(&queue.1, true)?;
            Ok(queue)
        };
        Ok(Self { parties, ledger: Ledger::new()?, queue: make().context(Phase::Setup, "cannot make a queue")? })
    }

    /// Puts a request into the queue; false when there is no room.
    fn send(&self, request: u64) -> bool {
        (&self.queue.1).write_all(&request.to_le_bytes()).is_ok()
    }

    /// One worker, until it is killed.
    fn work(&self, number: u64) -> io::Result<()> {
        loop {
            let mut bytes = [0; 8];
            // All requests are of one length and written whole, so they are read whole: pipe(7).
            (&self.queue.0).read_exact(&mut bytes)?;
            let request = u64::from_le_bytes(bytes);
            self.ledger.taken(request).store(number + 1, Ordering::Release);
            std::thread::sleep(SERVICE);
            self.ledger.times(request).fetch_add(1, Ordering::Relaxed);
            // The first answer counts. Release: the count above is visible to whoever sees it done.
            let _ = self.ledger.done(request).compare_exchange(0, clock::now(), Ordering::Release, Ordering::Relaxed);
        }
    }

    /// The workers with these numbers: a process each, or one process with a thread each.
    fn hire(&self, numbers: &[u64]) -> Result<Vec<Child>> {
        let announce = || {
            let _ = self.ledger.replaced().compare_exchange(0, clock::now(), Ordering::Relaxed, Ordering::Relaxed);
        };
        let alone = |number: &u64| {
            fork_child(|| {
                announce();
                u8::from(self.work(*number).is_err())
            })
        };
        let together = || {
            announce();
            std::thread::scope(|scope| numbers.iter().for_each(|number| drop(scope.spawn(|| self.work(*number)))));
            0
        };
        let children: io::Result<Vec<Child>> = match self.parties {
            Parties::Thread => fork_child(together).map(|child| vec![child]),
            _ => numbers.iter().map(alone).collect(),
        };
        children.context(Phase::Start, "cannot start a worker")
    }

    /// What all workers do together, requests per second.
    fn capacity(&self) -> Result<f64> {
        let deadline = clock::now() + 5_000_000_000;
        (0..BURST).for_each(|request| _ = self.send(request));
        while (0..BURST).any(|request| self.ledger.done(request).load(Ordering::Acquire) == 0) {
            if clock::now() > deadline {
                return Err(Error::timeout(Phase::WarmUp, "the workers do not answer"));
            }
            std::thread::sleep(SERVICE);
        }
        let cycles = (1..=WORKERS).flat_map(|worker| self.ledger.cycles(worker, 0..BURST));
        // The median, since whatever disturbs a worker only makes it slower for a moment.
        let cycle = Estimate::of(cycles).map_or(SERVICE.as_nanos() as f64, |cycle| cycle.median);
        Ok(WORKERS as f64 * 1e9 / cycle)
    }

    /// The client: sends requests evenly from `start` on.
    fn offer(&self, schedule: &Schedule) {
        for request in schedule.requests() {
            let due = schedule.due(request);
            while let wait @ 1.. = due.saturating_sub(clock::now()) {
                std::thread::sleep(Duration::from_nanos(wait));
            }
            self.ledger.due(request).store(due, Ordering::Release);
            if !self.send(request) {
                break;
            }
        }
    }

    /// Sends again what these dead workers had taken and not done; with `planted`, also some that were done.
    fn again(&self, dead: &[u64], schedule: &Schedule, planted: bool) {
        let dead: Vec<u64> = dead.iter().map(|number| number + 1).collect();
        let of_dead = |request: &u64| dead.contains(&self.ledger.taken(*request).load(Ordering::Acquire));
        let is_done = |request: &u64| self.ledger.done(*request).load(Ordering::Acquire) > 0;
        schedule.requests().filter(of_dead).filter(|r| !is_done(r)).for_each(|request| _ = self.send(request));
        if planted {
            schedule.requests().filter(is_done).take(5).for_each(|request| _ = self.send(request));
        }
    }
}

/// When requests are due.
struct Schedule {
    start: u64,
    period_ns: f64,
    number: u64,
}

impl Schedule {
    fn requests(&self) -> std::ops::Range<u64> {
        BURST..BURST + self.number
    }

    fn due(&self, request: u64) -> u64 {
        self.start + ((request - BURST) as f64 * self.period_ns) as u64
    }

    fn end(&self) -> u64 {
        self.start + (self.number as f64 * self.period_ns) as u64
    }
}

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

/// Waits until the queue is empty and nobody alive is at a request, seen several times in a row: a worker that has just
/// read a request has not said so yet.
fn drain(shop: &Shop, schedule: &Schedule, dead: &[u64]) -> Result<()> {
    let (mut calm, end) = (0, clock::now() + 5_000_000_000);
    let at_rest = |request: u64| {
        let taken = shop.ledger.taken(request).load(Ordering::Acquire);
        let by_dead = dead.iter().any(|number| number + 1 == taken);
        taken == 0 || by_dead || shop.ledger.done(request).load(Ordering::Acquire) > 0
    };
    while calm < 5 {
        if clock::now() > end {
            return Err(Error::timeout(Phase::Measure, "the workers do not empty the queue"));
        }
        std::thread::sleep(SERVICE);
        let quiet = fd::pending(&shop.queue.0).is_ok_and(|bytes| bytes == 0) && schedule.requests().all(at_rest);
        calm = if quiet { calm + 1 } else { 0 };
    }
    Ok(())
}

/// What became of the requests.
#[derive(Default)]
struct Books {
    /// When each request was due and, if ever, done.
    times: Vec<(u64, Option<u64>)>,
    lost: u64,
    waiting: u64,
    doubled: u64,
}

impl Books {
    /// `alive` is whether somebody was left to empty the queue: then what was not done by the end is lost, also where
    /// nobody said that he had taken it.
    fn of(ledger: &Ledger, schedule: &Schedule, alive: bool) -> Self {
        let mut books = Self::default();
        for request in schedule.requests().take_while(|request| ledger.due(*request).load(Ordering::Acquire) > 0) {
            let done = ledger.done(request).load(Ordering::Acquire);
            books.times.push((schedule.due(request), (done > 0).then_some(done)));
            let taken = alive || ledger.taken(request).load(Ordering::Acquire) > 0;
            books.lost += u64::from(done == 0 && taken);
            books.waiting += u64::from(done == 0 && !taken);
            books.doubled += ledger.times(request).load(Ordering::Relaxed).saturating_sub(1);
        }
        books
    }

    /// Requests that were due and not done at that time.
    fn backlog(&self, time: u64) -> f64 {
        let open = |(due, done): &&(u64, Option<u64>)| *due <= time && done.is_none_or(|done| done > time);
        self.times.iter().filter(open).count() as f64
    }

    /// The 99th percentile of the latency of what was due in that time, ns. Whoever was never served waited to the end.
    fn p99(&self, due: std::ops::Range<u64>) -> Option<f64> {
        let end = self.times.iter().map(|(due, done)| done.unwrap_or(*due)).max()?;
        let chosen = self.times.iter().filter(|(time, _)| due.contains(time));
        let mut waits: Vec<u64> = chosen.map(|(due, done)| done.unwrap_or(end).saturating_sub(*due)).collect();
        waits.sort_unstable();
        waits.get((waits.len() * 99).div_ceil(100).max(1) - 1).map(|wait| *wait as f64)
    }
}

/// Length of a bin, ms, and how many lie before and after the kill at most.
const BIN_MS: i64 = 10;
const BINS: std::ops::Range<i64> = -30..60;

fn bin(number: i64) -> String {
    format!("p99_ns_at_{}_ms", number * BIN_MS)
}

/// What the books say of the time around the kill.
fn account(books: &Books, killed: u64, capacity: f64) -> Values {
    const MS: i64 = 1_000_000;
    let last = books.times.last().map_or(killed, |(due, _)| *due);
    let at = |ms: i64| killed.saturating_add_signed(ms * MS);
    // Two milliseconds for the death to take effect.
    let looks = (2..).step_by(5).map(at).take_while(|time| *time <= last);
    let points: Vec<(f64, f64)> = looks.map(|time| (time as f64 / 1e9, books.backlog(time))).collect();
    let slope = least_squares(&points);
    let mut found = values([
        ("sent", books.times.len() as f64),
        ("lost", books.lost as f64),
        ("waiting", books.waiting as f64),
        ("doubled", books.doubled as f64),
    ]);
    let mut add = |name: &str, value: Option<f64>| found.extend(value.map(|value| (name.to_string(), value)));
    add("backlog_slope_per_s", slope);
    add("slope_share", slope.map(|slope| slope / capacity));
    add("p99_before_ns", books.p99(0..killed));
    add("p99_after_ns", books.p99(at(2)..last));
    for number in BINS {
        add(&bin(number), books.p99(at(number * BIN_MS)..at((number + 1) * BIN_MS).min(last)));
    }
    found
}

/// By how much of the capacity the backlog grows where it does not, at most; how far it may be from what is predicted.
const FLAT: f64 = 0.05;
const OFF: f64 = 0.07;
/// What a killed process may take with it.
const ITS_OWN: f64 = 1.0;

/// What the backlog should grow by, as a share of the capacity.
fn predicted(load: u64, alive: u64) -> f64 {
    (load as f64 / 100.0 - alive as f64 / WORKERS as f64).max(0.0)
}

fn judge(record: &Record) -> Finding {
    let slope = |load| record.estimate(&process(load, Fate::Death).case(), "slope_share");
    let most = |fate, quantity| {
        let cases = LOADS.map(|load| process(load, fate).case());
        let found = cases.iter().filter_map(|case| record.estimate(case, quantity)).map(|found| found.median);
        found.fold(0.0, f64::max)
    };
    let (lost, doubled) = (most(Fate::Death, "lost"), most(Fate::Respawn, "doubled"));
    let [light, middle, heavy] = LOADS.map(slope);
    let bounds = |estimate: Option<Estimate>| estimate.and_then(|estimate| estimate.interval);
    let expected = predicted(90, WORKERS - 1);
    let verdict = match (bounds(light), bounds(middle), bounds(heavy)) {
        _ if lost.max(doubled) > ITS_OWN => Verdict::Contradicted,
        (Some(light), Some(middle), Some(_)) if light.0 > FLAT && middle.0 > FLAT => Verdict::Holds,
        (Some(light), Some(middle), Some(heavy))
            if light.1 < FLAT && middle.1 < FLAT && heavy.0 > expected - OFF && heavy.1 < expected + OFF =>
        {
            Verdict::HoldsOnlyIf("the load is more than the others can do; below that no backlog grows".into())
        }
        (Some(_), Some(_), Some(_)) => Verdict::NotFoundHere,
        _ => Verdict::NotTested("figures are missing".into()),
    };
    let because = match (light, middle, heavy) {
        (Some(light), Some(middle), Some(heavy)) => format!(
            "after one of {WORKERS} died the backlog grew by {:.2}, {:.2} and {:.2} of the capacity at loads of 0.3, 0.6 \
             and 0.9 (predicted 0, 0 and {expected:.2}), and at most {lost} of the requests was lost",
            light.median, middle.median, heavy.median
        ),
        _ => String::new(),
    };
    figures(Finding::new(verdict, because), record)
}

/// What is shown of each case.
const SHOWN: [(&str, &str, Unit); 7] = [
    ("growth of the backlog as a share of the capacity", "slope_share", Unit::Share),
    ("p99 before", "p99_before_ns", Unit::Ns),
    ("p99 after", "p99_after_ns", Unit::Ns),
    ("requests lost", "lost", Unit::Number),
    ("requests done twice", "doubled", Unit::Number),
    ("death noticed after", "detect_ns", Unit::Ns),
    ("replacement runs after", "respawn_ns", Unit::Ns),
];

fn figures(mut finding: Finding, record: &Record) -> Finding {
    for case in record.cells().into_iter().map(|cell| &cell.case) {
        for (what, quantity, unit) in SHOWN {
            finding = finding.figure(format!("{what}; {case}"), record.estimate(case, quantity), unit);
        }
    }
    let capacity = record.estimate(&process(90, Fate::Death).case(), "capacity_per_s");
    finding = finding.figure(format!("capacity of {WORKERS} processes"), capacity, Unit::PerSecond);
    for (what, quantity) in [("lost", "lost"), ("done twice", "doubled"), ("left waiting", "waiting")] {
        let of = |parties| {
            let cells = record.cells();
            let cells = cells.iter().filter(|cell| cell.with::<With>().is_ok_and(|with| with.parties == parties));
            cells.map(|cell| record.total(&cell.case, quantity)).sum::<f64>()
        };
        let (processes, threads) = (of(Parties::Process), of(Parties::Thread));
        finding = finding.remark(format!("requests {what} in all: {processes} by processes, {threads} by threads"));
    }
    match record.noise("p99_after_ns") {
        Some(noise) => finding.remark(format!("a cell's p99 against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

fn picture(record: &Record) -> Picture {
    let line = |with: With| {
        let case = with.case();
        let point = |number: i64| {
            let place = (number as f64 + 0.5) * BIN_MS as f64;
            Some((place, record.estimate(&case, &bin(number))?))
        };
        (case.clone(), BINS.filter_map(point).collect::<Vec<_>>())
    };
    let fates = [Fate::Death, Fate::Respawn];
    let lines = fates.into_iter().flat_map(|fate| [process(60, fate), process(90, fate), thread(60, fate)]);
    Picture {
        title: "Latency around the death of a worker (at 0), bins of 10 ms".into(),
        x: Axis { name: "ms after the kill", logarithmic: false },
        y: Axis { name: "99th percentile, ns", logarithmic: true },
        series: lines.map(line).filter(|(_, points)| !points.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::line;
    use super::*;

    /// Six rounds with these growths of the backlog at the three loads, and so many lost requests.
    fn record(slopes: [f64; 3], lost: f64) -> Record {
        rounds(slopes, lost, 0.0)
    }

    fn rounds(slopes: [f64; 3], lost: f64, doubled: f64) -> Record {
        let of = |round, load, slope: f64| {
            let found = [("slope_share", slope + 0.001 * f64::from(round)), ("lost", lost)];
            line(&process(load, Fate::Death).case(), round, &found)
        };
        let twice = |round| line(&process(60, Fate::Respawn).case(), round, &[("doubled", doubled)]);
        (0..6)
            .flat_map(|round| [0, 1, 2].map(|i| of(round, LOADS[i], slopes[i])).into_iter().chain([twice(round)]))
            .collect()
    }

    #[test]
    fn the_verdict_follows_the_thresholds() {
        let verdict = |slopes, lost| judge(&record(slopes, lost)).verdict;
        let only = |verdict| matches!(verdict, Verdict::HoldsOnlyIf(_));
        assert!(only(verdict([0.0, 0.0, 0.15], 1.0)));
        assert!(only(verdict([0.04, 0.04, 0.09], 0.0)));
        assert!(only(verdict([0.0, 0.0, 0.21], 0.0)));
        assert_eq!(verdict([0.0, 0.0, 0.07], 0.0), Verdict::NotFoundHere);
        assert_eq!(verdict([0.0, 0.0, 0.23], 0.0), Verdict::NotFoundHere);
        assert_eq!(verdict([0.0, 0.06, 0.15], 0.0), Verdict::NotFoundHere);
        assert_eq!(verdict([0.06, 0.06, 0.15], 0.0), Verdict::Holds);
        assert_eq!(verdict([0.0, 0.0, 0.15], 2.0), Verdict::Contradicted);
        let twice = |doubled| judge(&rounds([0.0, 0.0, 0.15], 1.0, doubled)).verdict;
        assert!(only(twice(1.0)));
        assert_eq!(twice(2.0), Verdict::Contradicted);
        assert!(matches!(judge(&Record::default()).verdict, Verdict::NotTested(_)));
    }

    #[test]
    fn a_second_death_is_noticed() {
        // Two of four can do half, so that the backlog grows at 0.6 too.
        let slopes = LOADS.map(|load| predicted(load, WORKERS - 2));
        assert_eq!(judge(&record(slopes, 1.0)).verdict, Verdict::NotFoundHere);
    }

    #[test]
    fn books_of_an_overload_show_its_slope_and_what_was_lost() {
        const MS: u64 = 1_000_000;
        // From 100 ms on, two come each millisecond and one is done.
        let times = (0..400).map(|i| {
            let due = 100 * MS + i * MS / 2;
            (due, Some(100 * MS + i * MS))
        });
        let books = Books { times: times.collect(), lost: 1, waiting: 0, doubled: 2 };
        let found = account(&books, 100 * MS, 2000.0);
        assert!((found["slope_share"] - 0.5).abs() < 0.01, "{found:?}");
        assert_eq!((found["lost"], found["doubled"], found["sent"]), (1.0, 2.0, 400.0));
        assert!(found[&bin(1)] < found[&bin(10)] && !found.contains_key(&bin(-1)));
    }
}

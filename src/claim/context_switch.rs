//! Switching between processes costs more than switching between threads.
//!
//! **Question.** What does a switch cost, and how much of it is due to another address space, how much to other data?
//!
//! **Method.** Two to sixteen tasks on one CPU pass a token round, by futex or by pipe, so that each pass is a switch. A
//! task that gets the token first walks its working set. Two by two cases: the tasks are threads or processes, and each
//! walks data of its own or all walk the same. The calls, the kind of memory and the futex's key are the same in all
//! four. The baseline is one task that makes the same calls and the same walks in the same order without anybody to
//! switch to; it is shown, and subtracted within rounds. Whether processes pay more *because* of their caches is the
//! difference of differences: what private data add for processes, less what they add for threads.
//!
//! **Caveat.** The walk only reads, so that forked processes keep sharing the pages that their parent filled. A time is
//! the lower quartile over short batches: what else runs on the CPU only ever adds to a batch, and to many of them.

use super::{Cell, Claim, Finding, Record, Setting, Unit, Values, Verdict, lab, values};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::stats::Estimate;
use crate::report::picture::{Axis, Picture};
use crate::shm::LINE;
use crate::shm::futex::Scope;
use crate::shm::region::{PAGE, Region, View};
use crate::shm::seats::{SEATS, Table};
use crate::sys::usage::Usage;
use crate::sys::{clock, cpu, map, process};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "context-switch",
    taught: "switching between processes costs more than switching between threads, because address space and caches change",
    hypothesis: "without data, a switch between processes costs at least 1.1 times as much as one between threads, and \
                 1 MiB of data of its own costs a process more than a thread by over a tenth of a thread switch; with \
                 only one of the two it holds only for that reason, and below 1 / 1.1 it is contradicted",
    misleads: "the classical test compares threads that share data with processes that do not; nested page tables of a \
               virtual machine; where walks are long, a small relative noise of the walk hides the switch",
    cells,
    measure,
    judge,
    plants: &["slow-threads", "cold-processes"],
    picture: Some(picture),
};

/// Who passes the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Who {
    /// One task that does everything by itself: the baseline.
    Alone,
    Threads,
    Processes,
}

impl Who {
    const ALL: [Who; 3] = [Who::Alone, Who::Threads, Who::Processes];

    fn word(self) -> &'static str {
        match self {
            Who::Alone => "one task",
            Who::Threads => "threads",
            Who::Processes => "processes",
        }
    }
}

/// What a task walks before it passes the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Data {
    kib: usize,
    /// Each has its own.
    private: bool,
    /// Bytes from one look to the next.
    stride: usize,
    huge: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct With {
    who: Who,
    pipe: bool,
    ring: usize,
    data: Data,
    cpu: usize,
}

const NONE: Data = Data { kib: 0, private: false, stride: LINE, huge: false };

impl Data {
    fn words(self) -> String {
        if self.kib == 0 {
            return "no data".into();
        }
        let whose = if self.private { "private" } else { "shared" };
        let size = if self.kib < 1024 { format!("{} KiB", self.kib) } else { format!("{} MiB", self.kib / 1024) };
        let stride = if self.stride == LINE { "" } else { ", one look a page" };
        let huge = if self.huge { ", huge pages" } else { "" };
        format!("{size} of {whose} data{stride}{huge}")
    }
}

fn case(who: Who, pipe: bool, ring: usize, data: Data) -> String {
    let channel = if pipe { "pipe" } else { "futex" };
    format!("{}, {channel}, ring of {ring}, {}", who.word(), data.words())
}

/// Working sets, KiB; the one by which caches are judged is in both.
const QUICK: &[usize] = &[64, JUDGED];
const FULL: &[usize] = &[16, 64, 256, JUDGED, 4096, 16384, 65536];
const JUDGED: usize = 1024;
/// Working sets in huge pages, KiB, and the one of which only one line a page is read.
const HUGE: &[usize] = &[4096, 65536];
const STRIDED: usize = 65536;
/// Lengths of the ring besides two. x86 keeps six address spaces apart in the tags of its translations.
const QUICK_RINGS: &[usize] = &[8];
const RINGS: &[usize] = &[4, 5, 6, 7, 8, 12, 16];

fn two_by(kib: usize, stride: usize, huge: bool) -> [Data; 2] {
    [false, true].map(|private| Data { kib, private, stride, huge })
}

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    let cpu = lab::one_cpu(setting)?;
    let mut kinds = vec![(false, 2, NONE), (true, 2, NONE)];
    let (sets, rings) = if setting.full { (FULL, RINGS) } else { (QUICK, QUICK_RINGS) };
    kinds.extend(rings.iter().map(|&ring| (false, ring, NONE)));
    let mut data: Vec<Data> = sets.iter().flat_map(|&kib| two_by(kib, LINE, false)).collect();
    if setting.full {
        data.extend(HUGE.iter().flat_map(|&kib| two_by(kib, LINE, true)));
        data.extend(two_by(STRIDED, PAGE, false));
    }
    kinds.extend(data.into_iter().map(|data| (false, 2, data)));
    let cell = |who, (pipe, ring, data): (bool, usize, Data)| {
        Cell::new(&CLAIM, case(who, pipe, ring, data), &With { who, pipe, ring, data, cpu })
    };
    let mut cells: Vec<Cell> = kinds.into_iter().flat_map(|kind| Who::ALL.map(|who| cell(who, kind))).collect();
    cells.push(cell(Who::Threads, (false, 2, NONE)).again());
    Ok(cells)
}

/// How the token is passed.
enum Channel {
    Futex(View<Table>),
    /// To each seat.
    Pipe(Vec<(PipeReader, PipeWriter)>),
}

/// Longest wait for the token, and the sleep between two looks whether the round was given up.
const LIMIT_NS: u64 = 10_000_000_000;
const NAP: Duration = Duration::from_millis(50);

/// What the first number on the board says: the round goes on, this lap is the last, somebody gave up.
const LAST: u64 = 1;
const ABANDONED: u64 = 2;

/// A ring of tasks, made before the tasks are.
struct Round {
    with: With,
    board: View<Table>,
    channel: Channel,
    memory: Option<Region>,
    /// Walks for each token: the planted effect makes it two.
    walks: u32,
    /// How long a follower keeps the token, ns: a planted delay.
    delay_ns: u64,
}

impl Round {
    fn new(cell: &Cell) -> Result<Self> {
        let with: With = cell.with()?;
        if !(2..=SEATS).contains(&with.ring) {
            return Err(Error::usage(format!("a ring has 2 to {SEATS} tasks")));
        }
        let cannot = "cannot prepare the ring";
        let shared = map::anonymous_shared(Table::region_len()).context(Phase::Setup, cannot)?;
        let board = Table::lay(&Arc::new(shared));
        let channel = if with.pipe {
            let pipes: std::io::Result<_> = (0..with.ring).map(|_| std::io::pipe()).collect();
            Channel::Pipe(pipes.context(Phase::Setup, cannot)?)
        } else {
            Channel::Futex(board.clone())
        };
        let cold = cell.planted("cold-processes") && with.who == Who::Processes && with.data.private;
        let slow = cell.planted("slow-threads") && with.who == Who::Threads;
        let (walks, delay_ns) = (if cold { 2 } else { 1 }, if slow { DELAY_NS } else { 0 });
        let bytes = (with.data.kib << 10) * if with.data.private { with.ring } else { 1 };
        let memory = (bytes > 0).then(|| lab::filled(bytes, with.data.huge)).transpose()?;
        Ok(Self { with, board, channel, memory, walks, delay_ns })
    }

    /// Waits until seat `me` has the token of this lap. It always makes the call that would sleep, so that the baseline
    /// makes it too.
    fn take(&self, me: usize, lap: u32) -> Result<()> {
        let lost = |why: &str| Error::failed(Phase::Measure, format!("the token did not come: {why}"));
        match &self.channel {
            Channel::Pipe(pipes) => {
                (&pipes[me].0).read_exact(&mut [0]).map_err(|error| lost("the pipe failed").because(error))
            }
            Channel::Futex(board) => {
                let token = &board.tokens[me].0;
                let mut naps = 0;
                loop {
                    // The key of shared memory for threads as well: the cheaper private one would be a second difference.
                    token.wait(lap - 1, Scope::Shared, Some(NAP));
                    // Acquire: pairs with the Release of whoever passed it on.
                    if token.word().load(Ordering::Acquire) == lap {
                        return Ok(());
                    }
                    naps += 1;
                    if self.board.words[0].0.load(Ordering::Relaxed) == ABANDONED {
                        return Err(lost("another task gave up"));
                    }
                    if naps * NAP.as_nanos() as u64 > LIMIT_NS {
                        return Err(Error::timeout(Phase::Measure, "the token did not come back"));
                    }
                }
            }
        }
    }

    /// Hands the token of this lap to seat `next`.
    fn pass(&self, next: usize, lap: u32) -> Result<()> {
        match &self.channel {
            Channel::Pipe(pipes) => (&pipes[next].1).write_all(&[1]).context(Phase::Measure, "cannot pass the token"),
            Channel::Futex(board) => {
                let token = &board.tokens[next].0;
                token.word().store(lap, Ordering::Release);
                token.wake(Scope::Shared);
                Ok(())
            }
        }
    }

    fn walk(&self, me: usize) {
        let Some(memory) = &self.memory else { return };
        let (len, seat) = (self.with.data.kib << 10, if self.with.data.private { me } else { 0 });
        for _ in 0..self.walks {
            black_box(memory.read(seat * len..(seat + 1) * len, self.with.data.stride));
        }
    }

    /// A task that is not the first: takes, walks and passes until the last lap.
    fn follow(&self, me: usize) -> Result<()> {
        for lap in 1.. {
            self.take(me, lap)?;
            // Read before the token goes on: afterwards the next lap may have begun.
            let last = self.board.words[0].0.load(Ordering::Relaxed) == LAST;
            self.walk(me);
            let until = clock::now() + self.delay_ns;
            while self.delay_ns > 0 && clock::now() < until {}
            self.pass((me + 1) % self.with.ring, lap)?;
            if last {
                break;
            }
        }
        Ok(())
    }

    /// One lap of the first task, or of the one that plays them all.
    fn lap(&self, lap: u32) -> Result<()> {
        let ring = self.with.ring;
        if self.with.who == Who::Alone {
            for me in 0..ring {
                self.walk(me);
                self.pass((me + 1) % ring, lap)?;
                self.take((me + 1) % ring, lap)?;
            }
            return Ok(());
        }
        self.walk(0);
        self.pass(1, lap)?;
        self.take(0, lap)
    }

    /// The first task: warms up, measures for `millis`, and ends the round.
    ///
    /// # Timing model
    /// A batch is so many laps, each of the ring's number of (walk, pass, take), between two clock readings; `hop_ns` is
    /// the lower quartile over batches of a batch's time divided by its passes.
    fn lead(&self, millis: u64) -> Result<Values> {
        let (mut lap, ring) = (0, self.with.ring as u64);
        let mut laps = |count: u64| {
            let start = clock::now();
            for _ in 0..count {
                lap += 1;
                self.lap(lap)?;
            }
            Ok::<u64, Error>(clock::now() - start)
        };
        let warm = clock::now() + millis * 1_000_000 / 8;
        let mut each = laps(WARM_LAPS)? / WARM_LAPS;
        while clock::now() < warm {
            each = laps(1)?;
        }
        let batch = (BATCH_NS / each.max(1)).clamp(1, 1000);
        let (mut hops, before) = (Vec::new(), Usage::now());
        let end = clock::now() + millis * 1_000_000;
        while hops.len() < BATCHES || clock::now() < end {
            hops.push(laps(batch)? as f64 / (batch * ring) as f64);
        }
        let (used, measured) = (Usage::now().since(before), batch * hops.len() as u64);
        self.board.words[0].0.store(LAST, Ordering::Relaxed);
        laps(1)?;
        hops.sort_by(f64::total_cmp);
        let hop = hops[hops.len() / 4];
        let switches = (used.voluntary + used.involuntary) as f64 / measured as f64;
        Ok(values([("hop_ns", hop), ("switches_per_lap", switches)]))
    }

    /// Runs all tasks.
    fn run(&self, millis: u64) -> Result<Values> {
        let lead = || self.lead(millis).inspect_err(|_| self.give_up());
        match self.with.who {
            Who::Alone => lead(),
            Who::Threads => std::thread::scope(|scope| {
                for me in 1..self.with.ring {
                    // One that fails tells the first task, which reports.
                    scope.spawn(move || self.follow(me).map_err(|_| self.give_up()));
                }
                lead()
            }),
            Who::Processes => {
                let follow = |me| process::fork_child(|| u8::from(self.follow(me).is_err()));
                let children: std::io::Result<Vec<_>> = (1..self.with.ring).map(follow).collect();
                let mut children = children.context(Phase::Start, "cannot fork")?;
                let found = lead()?;
                for child in &mut children {
                    child.wait_briefly().map_err(|how| Error::failed(Phase::Measure, format!("a task {how}")))?;
                }
                Ok(found)
            }
        }
    }

    fn give_up(&self) {
        self.board.words[0].0.store(ABANDONED, Ordering::Relaxed);
    }
}

const WARM_LAPS: u64 = 3;
const BATCH_NS: u64 = 250_000;
/// Fewest batches.
const BATCHES: usize = 5;
/// The planted delay, ns.
const DELAY_NS: u64 = 300_000;

fn measure(cell: &Cell) -> Result<Values> {
    let round = Round::new(cell)?;
    let cpu = round.with.cpu;
    cpu::pin(cpu).context(Phase::Setup, format!("cannot pin to CPU {cpu}"))?;
    round.run(cell.millis)
}

/// How many times as much as a thread's a process's switch has to cost.
const DEARER: f64 = 1.1;
/// How much more private data have to cost a process, as a share of a thread's switch.
const COLDER: f64 = 0.1;
/// Fewest switches of the first task for each lap; each lap has one.
const SWITCHES: f64 = 0.9;

/// What a pass costs beyond the same calls and walks of one task.
fn net(record: &Record, who: Who, pipe: bool, ring: usize, data: Data) -> Option<Estimate> {
    record.difference(&case(who, pipe, ring, data), &case(Who::Alone, pipe, ring, data), "hop_ns")
}

/// A process's switch against a thread's, both less the baseline.
fn ratio(record: &Record, pipe: bool, ring: usize) -> Option<Estimate> {
    let cases = Who::ALL.map(|who| case(who, pipe, ring, NONE));
    let [alone, threads, processes] = cases.each_ref().map(String::as_str);
    record.combined([alone, threads, processes], "hop_ns", |[alone, threads, processes]| {
        (processes - alone) / (threads - alone)
    })
}

/// The difference of differences: what private data add for processes, less what they add for threads. The baselines
/// cancel: they are the same for both.
fn colder(record: &Record, data: [Data; 2]) -> Option<Estimate> {
    interaction(record, data.map(|data| (2, data)))
}

/// What processes pay more for the second than for the first, less what threads do.
fn interaction(record: &Record, [one, other]: [(usize, Data); 2]) -> Option<Estimate> {
    let of = |who, (ring, data): (usize, Data)| case(who, false, ring, data);
    let cases = [of(Who::Processes, other), of(Who::Processes, one), of(Who::Threads, other), of(Who::Threads, one)];
    record.combined(cases.each_ref().map(String::as_str), "hop_ns", |[p, p0, t, t0]| (p - p0) - (t - t0))
}

fn judge(record: &Record) -> Finding {
    let switch = net(record, Who::Threads, false, 2, NONE);
    let (space, caches) = (ratio(record, false, 2), colder(record, two_by(JUDGED, LINE, false)));
    let mut finding = Finding::new(verdict(record, space, caches, switch), because(space, caches, switch));
    for (pipe, ring) in [(false, 2), (true, 2)].into_iter().chain(RINGS.iter().map(|&ring| (false, ring))) {
        finding = two_kinds(record, finding, pipe, ring);
    }
    finding = finding.figure(
        "processes more than threads, by a ring of 8 instead of 2",
        interaction(record, [(2, NONE), (8, NONE)]),
        Unit::Ns,
    );
    for (kib, stride, huge) in sets() {
        let [shared, private] = two_by(kib, stride, huge);
        for data in [shared, private] {
            for who in [Who::Threads, Who::Processes] {
                let what = format!("switch between {}, {}", who.word(), data.words());
                finding = finding.figure(what, net(record, who, false, 2, data), Unit::Ns);
            }
            let alone = record.estimate(&case(Who::Alone, false, 2, data), "hop_ns");
            finding = finding.figure(format!("subtracted: one task, {}", data.words()), alone, Unit::Ns);
        }
        let what = format!("processes more than threads, by {} instead of shared", private.words());
        finding = finding.figure(what, colder(record, [shared, private]), Unit::Ns);
    }
    match record.noise("hop_ns") {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

/// Working sets with stride and kind of page.
fn sets() -> impl Iterator<Item = (usize, usize, bool)> {
    let small = FULL.iter().map(|&kib| (kib, LINE, false));
    small.chain(HUGE.iter().map(|&kib| (kib, LINE, true))).chain([(STRIDED, PAGE, false)])
}

fn two_kinds(record: &Record, finding: Finding, pipe: bool, ring: usize) -> Finding {
    let place = format!("{}, ring of {ring}", if pipe { "pipe" } else { "futex" });
    let of = |who| net(record, who, pipe, ring, NONE);
    finding
        .figure(format!("switch between threads, {place}"), of(Who::Threads), Unit::Ns)
        .figure(format!("switch between processes, {place}"), of(Who::Processes), Unit::Ns)
        .figure(
            format!("subtracted: one task, {place}"),
            record.estimate(&case(Who::Alone, pipe, ring, NONE), "hop_ns"),
            Unit::Ns,
        )
        .figure(format!("processes against threads, {place}"), ratio(record, pipe, ring), Unit::Ratio)
}

fn verdict(record: &Record, space: Option<Estimate>, caches: Option<Estimate>, switch: Option<Estimate>) -> Verdict {
    for who in [Who::Threads, Who::Processes] {
        let case = case(who, false, 2, NONE);
        if record.estimate(&case, "switches_per_lap").is_some_and(|e| e.median < SWITCHES) {
            return Verdict::NotTested(format!("{case}: the token was passed without a switch"));
        }
    }
    let bounds = |e: Option<Estimate>| e.and_then(|e| e.interval);
    let (Some((low, high)), Some((colder, _)), Some(switch)) = (bounds(space), bounds(caches), switch) else {
        return Verdict::NotFoundHere;
    };
    match (low >= DEARER, colder > COLDER * switch.median) {
        (true, true) => Verdict::Holds,
        (true, false) => Verdict::HoldsOnlyIf(
            "the address space alone is meant: that private data cost a process more than a thread was not seen".into(),
        ),
        (false, true) => Verdict::HoldsOnlyIf("each task walks data of its own".into()),
        (false, false) if high <= 1.0 / DEARER => Verdict::Contradicted,
        (false, false) => Verdict::NotFoundHere,
    }
}

fn because(space: Option<Estimate>, caches: Option<Estimate>, switch: Option<Estimate>) -> String {
    let (Some(space), Some(caches), Some(switch)) = (space, caches, switch) else {
        return "figures are missing".into();
    };
    format!(
        "a switch between threads costs {:.2} us and one between processes {:.2} times that; 1 MiB of data of its own adds {:+.2} us for a process compared with a thread",
        switch.median / 1e3,
        space.median,
        caches.median / 1e3
    )
}

fn picture(record: &Record) -> Picture {
    let line = |who: Who, private: bool| {
        let point = |&kib: &usize| {
            let data = Data { kib, private, ..NONE };
            Some((kib as f64, net(record, who, false, 2, data)?.scaled(1e-3)))
        };
        let whose = if private { "private" } else { "shared" };
        (format!("{}, {whose} data", who.word()), FULL.iter().filter_map(point).collect::<Vec<_>>())
    };
    let kinds = [Who::Threads, Who::Processes].into_iter().flat_map(|who| [false, true].map(|private| (who, private)));
    Picture {
        title: "A switch on one CPU, less the same walk of one task".into(),
        x: Axis { name: "KiB walked by each of two tasks", logarithmic: true },
        y: Axis { name: "us", logarithmic: false },
        series: kinds.map(|(who, private)| line(who, private)).filter(|(_, points)| !points.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::AGAIN;
    use super::super::record::tests::line;
    use super::*;

    /// Six rounds with a baseline of 500 ns and a thread switch of 1000; a process switch is `space` times as dear, and
    /// private data cost threads 5000 and processes `colder` more.
    fn record(space: f64, colder: f64) -> Record {
        let of = |round: u32, who, data, hop: f64, switches: f64| {
            let drift = f64::from(round);
            line(&case(who, false, 2, data), round, &[("hop_ns", hop + drift), ("switches_per_lap", switches)])
        };
        let [shared, private] = two_by(JUDGED, LINE, false);
        (0..6)
            .flat_map(|round| {
                [
                    of(round, Who::Alone, NONE, 500.0, 0.0),
                    of(round, Who::Threads, NONE, 1500.0, 1.0),
                    of(round, Who::Processes, NONE, 500.0 + 1000.0 * space, 1.0),
                    of(round, Who::Threads, shared, 9000.0, 1.0),
                    of(round, Who::Threads, private, 14000.0, 1.0),
                    of(round, Who::Processes, shared, 9500.0, 1.0),
                    of(round, Who::Processes, private, 14500.0 + colder, 1.0),
                ]
            })
            .collect()
    }

    #[test]
    fn the_verdict_follows_the_thresholds() {
        let verdict = |space, colder| judge(&record(space, colder)).verdict;
        let space =
            "the address space alone is meant: that private data cost a process more than a thread was not seen";
        assert_eq!(verdict(1.11, 101.0), Verdict::Holds);
        assert_eq!(verdict(1.11, 99.0), Verdict::HoldsOnlyIf(space.into()));
        assert_eq!(verdict(1.09, 101.0), Verdict::HoldsOnlyIf("each task walks data of its own".into()));
        assert_eq!(verdict(1.09, 99.0), Verdict::NotFoundHere);
        assert_eq!(verdict(0.92, 99.0), Verdict::NotFoundHere);
        assert_eq!(verdict(0.90, 99.0), Verdict::Contradicted);
        assert_eq!(judge(&Record::default()).verdict, Verdict::NotFoundHere);
    }

    #[test]
    fn the_baseline_is_subtracted_within_rounds_and_shown() {
        let found = judge(&record(1.5, 250.0));
        let of = |what: &str| found.figures.iter().find(|f| f.what.starts_with(what)).map(|f| f.estimate);
        assert_eq!(of("switch between threads, futex").unwrap().interval, Some((1000.0, 1000.0)));
        assert_eq!(of("switch between processes, futex").unwrap().median, 1500.0);
        assert_eq!(of("subtracted: one task, futex, ring of 2").unwrap().median, 502.5);
        assert_eq!(of("processes more than threads, by 1 MiB of private data").unwrap().interval, Some((250.0, 250.0)));
    }

    #[test]
    fn a_token_that_is_passed_without_a_switch_tests_nothing() {
        let mut lines = record(1.5, 250.0).lines().to_vec();
        for line in &mut lines {
            line.answer.values.entry("switches_per_lap".into()).and_modify(|switches| *switches *= 0.5);
        }
        assert!(matches!(judge(&lines.into_iter().collect()).verdict, Verdict::NotTested(_)));
    }

    #[test]
    fn every_pair_has_its_baseline_and_no_case_comes_twice() {
        for full in [false, true] {
            let cells = cells(&Setting { full, cpus: vec![0], plant: None }).unwrap();
            let of = |cell: &Cell| cell.with::<With>().unwrap();
            for cell in &cells {
                let With { pipe, ring, data, .. } = of(cell);
                assert!(cells.iter().any(|other| other.case == case(Who::Alone, pipe, ring, data)), "{}", cell.case);
                let same = |other: &&Cell| other.case == cell.case && other.label == cell.label;
                assert_eq!(cells.iter().filter(same).count(), 1, "{}", cell.case);
            }
            assert!(cells.iter().any(|cell| cell.label.as_deref() == Some(AGAIN)));
        }
    }
}

//! Creating a process costs more than creating a thread.
//!
//! **Question.** How long until a child runs and until it was joined, made in each way that Linux has, and how does that
//! grow with the memory that the parent has in use?
//!
//! **Method.** A parent that has written to 0 to 1024 MiB makes one child after the other, which does nothing but note
//! the time of its first instruction on the clock that all share. Three times are taken from the moment before the call:
//! its return, that first instruction, the end of the join. The ways: a thread; a job for a thread that is there already;
//! fork; vfork, the child of which ends without executing anything; posix_spawn and fork with execve, both of this
//! program, which then exits at once. After a fork, the parent writes its pages again while the child lives: what that
//! takes longer than before the fork is the bill for copying on write.
//!
//! **Caveat.** The C library keeps the stacks of ended threads for the next ones, so a thread's price is that of a used
//! stack; the first one of each launch is a figure of its own. Pages are small ones: with huge pages the kernel has 512
//! times fewer entries to copy (a case of the full pass).

use super::{Cell, Claim, Finding, Record, Setting, Unit, Values, Verdict, lab};
use crate::error::{Context, Phase, Result};
use crate::measure::stats::Estimate;
use crate::report::picture::{Axis, Picture};
use crate::shm::region::{Region, View};
use crate::shm::seats::Table;
use crate::sys::create::{self, Birth, Program};
use crate::sys::usage::{self, Usage};
use crate::sys::{clock, map, process};
use serde::{Deserialize, Serialize};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "creation",
    taught: "creating a process costs more than creating a thread",
    hypothesis: "from the call to the end of the join, fork and vfork each take at least 1.5 times as long as a thread, \
                 also from a parent with no memory in use; it holds only for a child with memory of its own if fork does \
                 and vfork does not, only for a parent with much memory if fork does from the largest parent alone, and is \
                 contradicted if even then fork takes less than a thread",
    misleads: "stacks of ended threads are used again; huge pages make fork cheap; a virtual machine's first touch of a \
               page; where the scheduler puts the child",
    cells,
    measure,
    judge,
    plants: &["slow-thread", "slow-fork"],
    picture: Some(picture),
};

/// The hidden command of a program that is only started to see how long that takes.
pub const BORN: &str = "born";

/// How a child is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    Thread,
    Pool,
    Fork,
    Vfork,
    Spawn,
    ForkExec,
}

impl Way {
    const ALL: [Way; 6] = [Way::Thread, Way::Pool, Way::Fork, Way::Vfork, Way::Spawn, Way::ForkExec];

    fn words(self) -> &'static str {
        match self {
            Way::Thread => "thread",
            Way::Pool => "job for a waiting thread",
            Way::Fork => "fork",
            Way::Vfork => "vfork",
            Way::Spawn => "posix_spawn of a program",
            Way::ForkExec => "fork and execve of a program",
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct With {
    way: Way,
    mib: u64,
    huge: bool,
}

impl With {
    fn case(self) -> String {
        let pages = if self.huge { " in huge pages" } else { "" };
        format!("{}, parent of {} MiB{pages}", self.way.words(), self.mib)
    }
}

fn case(way: Way, mib: u64) -> String {
    With { way, mib, huge: false }.case()
}

/// Memory of the parent, MiB.
const QUICK: &[u64] = &[0, 128];
const FULL: &[u64] = &[0, 16, 128, 1024];
const HUGE: With = With { way: Way::Fork, mib: 128, huge: true };

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    let sizes = if setting.full { FULL } else { QUICK };
    let cell = |with: With| Cell::new(&CLAIM, with.case(), &with);
    let with = |way| sizes.iter().map(move |&mib| With { way, mib, huge: false });
    let mut cells: Vec<Cell> = Way::ALL.into_iter().flat_map(with).map(cell).collect();
    cells.push(cells[0].again());
    if setting.full {
        cells.push(cell(HUGE));
    }
    Ok(cells)
}

const MIB: u64 = 1 << 20;
/// How much of its memory the parent writes again at most.
const BILLED: u64 = 32 * MIB;
/// Fewest and most children of a launch.
const CHILDREN: [usize; 2] = [3, 2000];
/// The planted delay, ns.
const DELAY_NS: u64 = 100_000_000;

fn measure(cell: &Cell) -> Result<Values> {
    let with: With = cell.with()?;
    let memory = (with.mib > 0).then(|| lab::filled((with.mib * MIB) as usize, with.huge)).transpose()?;
    let delayed = match with.way {
        Way::Thread => cell.planted("slow-thread"),
        Way::Fork => cell.planted("slow-fork"),
        _ => false,
    };
    let mut nursery = Nursery::new(with.way, if delayed { DELAY_NS } else { 0 })
        .context(Phase::Setup, "cannot prepare what children need")?;
    let (mut births, end) = (Vec::new(), clock::now() + cell.millis * 1_000_000);
    let (cpu, before) = (usage::of_family(), Usage::now());
    while births.len() < CHILDREN[0] || (clock::now() < end && births.len() < CHILDREN[1]) {
        births.push(nursery.child().context(Phase::Measure, format!("{} failed", with.way.words()))?);
    }
    let mut values: Values = [("call_ns", 0), ("first_ns", 1), ("joined_ns", 2)]
        .into_iter()
        .map(|(name, which)| (name.to_string(), median(births.iter().map(|birth| birth[which]))))
        .collect();
    values.insert("cold_joined_ns".into(), births[0][2] as f64);
    let each = |sum: u64| sum as f64 / births.len() as f64;
    values.insert("cpu_ns".into(), each(usage::of_family() - cpu));
    values.insert("faults".into(), each(Usage::now().since(before).minor_faults));
    if let Some(memory) = memory.filter(|_| with.way == Way::Fork) {
        values.insert("copied_ns_per_mib".into(), bill(&memory)?);
    }
    Ok(values)
}

fn median(values: impl Iterator<Item = u64>) -> f64 {
    Estimate::of(values.map(|ns| ns as f64)).map_or(f64::NAN, |estimate| estimate.median)
}

/// What writing to memory takes longer while a child shares it, ns for each MiB.
fn bill(memory: &Region) -> Result<f64> {
    let part = memory.len().min(BILLED as usize);
    let write = || {
        let start = clock::now();
        memory.write_pages(0..part);
        clock::now() - start
    };
    let mut more = Vec::new();
    for _ in 0..3 {
        let alone = write();
        // Killed and reaped at the end of the round.
        let _child = process::fork_child(|| {
            loop {
                std::thread::sleep(Duration::from_secs(60));
            }
        })
        .context(Phase::Measure, "cannot fork")?;
        more.push(write().saturating_sub(alone));
    }
    Ok(median(more.into_iter()) / (part as u64 / MIB) as f64)
}

/// A thread that was there before there was anything to do: it answers each job with the time at which it began.
struct Pool {
    jobs: Sender<()>,
    answers: Receiver<u64>,
    thread: JoinHandle<()>,
}

impl Pool {
    fn new() -> io::Result<Self> {
        let ((jobs, todo), (answer, answers)) = (channel(), channel());
        let thread = std::thread::Builder::new().spawn(move || {
            for () in todo {
                if answer.send(clock::now()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, answers, thread })
    }

    fn close(self) {
        drop(self.jobs);
        // A thread that panicked has already failed its job.
        let _ = self.thread.join();
    }
}

/// Everything that one way of making children needs, prepared before the clock runs.
struct Nursery {
    way: Way,
    delay_ns: u64,
    board: View<Table>,
    stack: Vec<u8>,
    program: Program,
    stdout: (PipeReader, PipeWriter),
    pool: Option<Pool>,
}

impl Drop for Nursery {
    fn drop(&mut self) {
        self.pool.take().into_iter().for_each(Pool::close);
    }
}

impl Nursery {
    fn new(way: Way, delay_ns: u64) -> io::Result<Self> {
        Ok(Self {
            way,
            delay_ns,
            board: Table::lay(&Arc::new(map::anonymous_shared(Table::region_len())?)),
            stack: vec![0; 1 << 16],
            program: Program::new("/proc/self/exe", &["ipcost", BORN])?,
            stdout: io::pipe()?,
            pool: (way == Way::Pool).then(Pool::new).transpose()?,
        })
    }

    /// Makes one child and joins it: ns from before the call to its return, to the child's first instruction, and to the
    /// end of the join.
    ///
    /// # Timing model
    /// Between the readings lie the call and the join with their allocations, and nothing else but two clock readings.
    fn child(&mut self) -> io::Result<[u64; 3]> {
        let start = clock::now();
        let (called, first, joined) = match self.way {
            Way::Thread => self.thread()?,
            Way::Pool => self.job()?,
            _ => self.process()?,
        };
        Ok([called, first, joined].map(|time| time.saturating_sub(start)))
    }

    fn thread(&self) -> io::Result<(u64, u64, u64)> {
        let (board, delay_ns) = (self.board.clone(), self.delay_ns);
        let begin = move || Birth { stamp: &board.words[0].0, delay_ns }.happen();
        let thread = std::thread::Builder::new().spawn(begin)?;
        let called = clock::now();
        thread.join().map_err(|_| io::Error::other("the thread panicked"))?;
        let joined = clock::now();
        Ok((called, self.board.words[0].0.load(Ordering::Relaxed), joined))
    }

    fn job(&self) -> io::Result<(u64, u64, u64)> {
        let gone = || io::Error::other("the waiting thread is gone");
        let pool = self.pool.as_ref().ok_or_else(gone)?;
        pool.jobs.send(()).map_err(|_| gone())?;
        let called = clock::now();
        let first = pool.answers.recv().map_err(|_| gone())?;
        Ok((called, first, clock::now()))
    }

    fn process(&mut self) -> io::Result<(u64, u64, u64)> {
        let stamp = &self.board.words[0].0;
        let birth = Birth { stamp, delay_ns: self.delay_ns };
        let child = match self.way {
            Way::Vfork => create::vfork(birth, &mut self.stack),
            Way::Spawn => self.program.spawn(self.stdout.1.as_fd()),
            Way::ForkExec => self.program.fork_exec(self.stdout.1.as_fd()),
            _ => create::fork(birth),
        }?;
        let called = clock::now();
        create::join(child)?;
        let joined = clock::now();
        if matches!(self.way, Way::Spawn | Way::ForkExec) {
            // A program has no part in the board; what it wrote waits in the pipe.
            let mut said = [0; 8];
            self.stdout.0.read_exact(&mut said)?;
            stamp.store(u64::from_ne_bytes(said), Ordering::Relaxed);
        }
        Ok((called, stamp.load(Ordering::Relaxed), joined))
    }
}

/// How many times as long as a thread a process has to take.
const DEARER: f64 = 1.5;
/// What is to be said where fork does and vfork does not.
const BORROWED: &str =
    "the child gets memory of its own, as with fork: of vfork, which borrows the parent's, it was not seen";

fn judge(record: &Record) -> Finding {
    let has = |way, mib| record.estimate(&case(way, mib), "joined_ns").is_some();
    let largest = FULL.iter().copied().filter(|&mib| has(Way::Fork, mib) && has(Way::Thread, mib)).max().unwrap_or(0);
    let ratio = |way, mib| record.ratio(&case(way, mib), &case(Way::Thread, mib), "joined_ns");
    let dearer = |ratio: Option<Estimate>| ratio.and_then(|e| e.interval).is_some_and(|(low, _)| low >= DEARER);
    let (fork, vfork, laden) = (ratio(Way::Fork, 0), ratio(Way::Vfork, 0), ratio(Way::Fork, largest));
    let verdict = match (dearer(fork), dearer(vfork)) {
        (true, true) => Verdict::Holds,
        (true, false) if vfork.is_some() => Verdict::HoldsOnlyIf(BORROWED.into()),
        (true, false) => Verdict::NotFoundHere,
        _ if dearer(laden) => {
            Verdict::HoldsOnlyIf("the parent has memory in use, the page tables of which fork copies".into())
        }
        _ if laden.and_then(|e| e.interval).is_some_and(|(_, high)| high < 1.0) => Verdict::Contradicted,
        _ => Verdict::NotFoundHere,
    };
    let because = match (fork, vfork, laden) {
        (Some(fork), Some(vfork), Some(laden)) => format!(
            "from an empty parent fork takes {:.2} times as long as a thread and vfork {:.2} times, from a parent of {largest} MiB fork takes {:.1} times as long",
            fork.median, vfork.median, laden.median
        ),
        _ => "figures are missing".into(),
    };
    let finding = figures(record, Finding::new(verdict, because), largest);
    match record.noise("joined_ns") {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

fn figures(record: &Record, mut finding: Finding, largest: u64) -> Finding {
    for mib in if largest > 0 { vec![0, largest] } else { vec![0] } {
        for way in Way::ALL {
            let case = case(way, mib);
            let figure = |quantity| record.estimate(&case, quantity);
            finding = finding
                .figure(format!("{case}: until joined"), figure("joined_ns"), Unit::Ns)
                .figure(format!("{case}: until its first instruction"), figure("first_ns"), Unit::Ns)
                .figure(format!("{case}: until the call returns"), figure("call_ns"), Unit::Ns)
                .figure(format!("{case}: CPU of parent and child"), figure("cpu_ns"), Unit::Ns)
                .figure(format!("{case}: page faults of the caller"), figure("faults"), Unit::Number);
        }
    }
    for way in Way::ALL {
        finding = finding.figure(
            format!("{}: more for each MiB of the parent, until joined", way.words()),
            slope(record, way),
            Unit::Ns,
        );
    }
    finding
        .figure("first thread of a launch", record.estimate(&case(Way::Thread, 0), "cold_joined_ns"), Unit::Ns)
        .figure(HUGE.case(), record.estimate(&HUGE.case(), "joined_ns"), Unit::Ns)
        .figure(
            "the parent's bill for writing again after a fork, for each MiB",
            record.estimate(&case(Way::Fork, 128), "copied_ns_per_mib"),
            Unit::Ns,
        )
}

/// ns for each MiB, over the sizes that were measured.
fn slope(record: &Record, way: Way) -> Option<Estimate> {
    let cases: Vec<(f64, String)> = FULL
        .iter()
        .map(|&mib| (mib as f64, case(way, mib)))
        .filter(|(_, case)| record.estimate(case, "joined_ns").is_some())
        .collect();
    let points: Vec<(f64, &str)> = cases.iter().map(|(mib, case)| (*mib, case.as_str())).collect();
    record.slope(&points, "joined_ns")
}

fn picture(record: &Record) -> Picture {
    let line = |way: Way| {
        let point = |&mib: &u64| Some((mib as f64, record.estimate(&case(way, mib), "joined_ns")?.scaled(1e-3)));
        (way.words().to_string(), FULL.iter().filter_map(point).collect::<Vec<_>>())
    };
    Picture {
        title: "From the call to the end of the join".into(),
        x: Axis { name: "MiB that the parent has written to", logarithmic: false },
        y: Axis { name: "us", logarithmic: true },
        series: Way::ALL.into_iter().map(line).filter(|(_, points)| !points.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::line;
    use super::*;

    /// Six rounds in which a thread takes 100 and the others so many times as long: fork and vfork from an empty parent,
    /// fork from one of 128 MiB.
    fn record(fork: f64, vfork: f64, laden: f64) -> Record {
        let of = |round: u32, way, mib, times: f64| {
            line(&case(way, mib), round, &[("joined_ns", (100.0 + f64::from(round)) * times)])
        };
        (0..6)
            .flat_map(|round| {
                [
                    of(round, Way::Thread, 0, 1.0),
                    of(round, Way::Thread, 128, 1.0),
                    of(round, Way::Fork, 0, fork),
                    of(round, Way::Vfork, 0, vfork),
                    of(round, Way::Fork, 128, laden),
                ]
            })
            .collect()
    }

    #[test]
    fn the_verdict_follows_the_thresholds() {
        let verdict = |fork, vfork, laden| judge(&record(fork, vfork, laden)).verdict;
        let only = |condition: &str| Verdict::HoldsOnlyIf(condition.into());
        assert_eq!(verdict(1.51, 1.51, 9.0), Verdict::Holds);
        assert_eq!(verdict(1.51, 1.49, 9.0), only(BORROWED));
        let laden = only("the parent has memory in use, the page tables of which fork copies");
        assert_eq!(verdict(1.49, 1.49, 1.51), laden);
        assert_eq!(verdict(1.49, 1.49, 1.49), Verdict::NotFoundHere);
        assert_eq!(verdict(0.5, 0.5, 1.01), Verdict::NotFoundHere);
        assert_eq!(verdict(0.5, 0.5, 0.99), Verdict::Contradicted);
    }

    #[test]
    fn a_slope_is_that_of_the_sizes_that_were_measured() {
        let found = judge(&record(2.0, 2.0, 2.0 + 128.0));
        let of = |what: &str| found.figures.iter().find(|f| f.what.starts_with(what)).map(|f| f.estimate.median);
        assert!((of("fork: more for each MiB").unwrap() - 102.5).abs() < 1e-9);
        assert_eq!(of("thread: more for each MiB"), Some(0.0));
        assert_eq!(of("vfork: more"), None, "one size has no slope");
    }

    #[test]
    fn missing_cases_are_no_verdict() {
        let some: Record =
            record(9.0, 9.0, 9.0).lines().iter().filter(|l| !l.cell.case.starts_with("vfork")).cloned().collect();
        assert_eq!(judge(&some).verdict, Verdict::NotFoundHere);
        assert_eq!(judge(&Record::default()).verdict, Verdict::NotFoundHere);
    }
}

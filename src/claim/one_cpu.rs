//! On a single CPU threads bring nothing.
//!
//! **Question.** Do several workers on one CPU finish more jobs a second than one?
//!
//! **Method.** A job computes for a fixed number of steps and then sleeps, so that a lone worker is blocked for a share
//! *f* of its time. One to eight workers, threads or processes, repeat jobs until a common deadline, pinned to one CPU
//! or left on all. The speed-up is the paired ratio of jobs per second to those of one worker; the bound is
//! min(n, 1 / (1 - f)) on one CPU, with the *f* that the lone worker was seen to have. Two more cells pass a token
//! between two threads on that CPU, by sleeping and by spinning: the second lasts a time slice for each hand-over.
//!
//! **Caveat.** A sleep lasts longer than it is told to, by the timer's slack (set to 1 ns here) and a wake-up; *f* is
//! therefore measured, not assumed.

use super::{Cell, Claim, Finding, Record, Setting, Unit, Values, Verdict, lab, values};
use crate::error::{Context, Error, Phase, Result};
use crate::plan::Parties;
use crate::report::picture::{Axis, Picture};
use crate::sys::{clock, cpu, process};
use serde::{Deserialize, Serialize};
use std::hint::{black_box, spin_loop};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "one-cpu",
    taught: "on a single CPU threads bring nothing",
    hypothesis: "on one CPU, two workers that only compute are at most 1.1 times as fast as one, and so are two that block \
                 for half of their time; it holds only without blocking if the latter are at least 1.5 times as fast",
    misleads: "timer slack and wake-ups lengthen each sleep; a hypervisor that takes the CPU away looks like blocking",
    cells,
    measure,
    judge,
    plants: &["busy"],
    picture: Some(picture),
};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum With {
    /// Workers that repeat jobs.
    Jobs { parties: Parties, cpu: Option<usize>, blocking: u32, workers: u32 },
    /// Two threads on one CPU that pass a token.
    Token { cpu: usize, spin: bool },
}

fn case(parties: Parties, alone: bool, blocking: u32, workers: u32) -> String {
    let place = if alone { "one CPU" } else { "all CPUs" };
    format!("{workers} x {parties}, {place}, blocking {blocking} %")
}

const TOKENS: [(&str, bool); 2] =
    [("token between 2 threads, one CPU, sleeping", false), ("token between 2 threads, one CPU, spinning", true)];

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    let only = lab::one_cpu(setting)?;
    let (shares, counts): (&[u32], &[u32]) =
        if setting.full { (&[0, 25, 50, 75, 90], &[1, 2, 4, 8]) } else { (&[0, 50, 90], &[1, 2, 8]) };
    let mut cells = Vec::new();
    let mut jobs = |parties, cpu: Option<usize>, blocking, workers| {
        let with = With::Jobs { parties, cpu, blocking, workers };
        cells.push(Cell::new(&CLAIM, case(parties, cpu.is_some(), blocking, workers), &with));
    };
    for &blocking in shares {
        counts.iter().for_each(|&workers| jobs(Parties::Thread, Some(only), blocking, workers));
        if setting.full || blocking == 50 {
            [1, 2].into_iter().for_each(|workers| jobs(Parties::Process, Some(only), blocking, workers));
        }
    }
    [1, 2].into_iter().for_each(|workers| jobs(Parties::Thread, None, 0, workers));
    let again = cells[0].again();
    cells.push(again);
    cells.extend(TOKENS.map(|(case, spin)| Cell::new(&CLAIM, case, &With::Token { cpu: only, spin })));
    Ok(cells)
}

/// Computing time of a job, ns.
const COMPUTE_NS: u64 = 300_000;

fn measure(cell: &Cell) -> Result<Values> {
    match cell.with()? {
        With::Jobs { parties, cpu, blocking, workers } => {
            jobs(cell, parties, cpu, if cell.planted("busy") { 0 } else { blocking }, workers)
        }
        With::Token { cpu, spin } => token(cell.millis, cpu, spin),
    }
}

/// Some arithmetic that no compiler can shorten.
fn compute(steps: u64) {
    let mut x = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..steps {
        x = black_box(x.rotate_left(7) ^ x.wrapping_mul(31));
    }
}

/// Steps that take `ns`: the fastest of some tries, since everything else only makes it longer.
fn steps_for(ns: u64) -> u64 {
    const STEPS: u64 = 20_000;
    let try_once = || {
        let start = clock::now();
        compute(STEPS);
        (clock::now() - start).max(1)
    };
    let fastest = (0..20).map(|_| try_once()).min().unwrap_or(1);
    (STEPS * ns / fastest).max(1)
}

/// What a worker did: jobs, the CPU time that they took, ns, and how often it gave the CPU away.
type Done = [u64; 3];

/// One worker: jobs until the deadline.
fn work(start: u64, end: u64, steps: u64, pause: Option<Duration>) -> Done {
    while clock::now() < start {
        std::thread::sleep(Duration::from_nanos(start.saturating_sub(clock::now()).min(1_000_000)));
    }
    let before = crate::sys::usage::Usage::now();
    let mut done = 0;
    loop {
        compute(steps);
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
        if clock::now() >= end {
            break;
        }
        done += 1;
    }
    let used = crate::sys::usage::Usage::now().since(before);
    [done, used.user_ns + used.system_ns, used.voluntary]
}

fn jobs(cell: &Cell, parties: Parties, cpu: Option<usize>, blocking: u32, workers: u32) -> Result<Values> {
    if let Some(cpu) = cpu {
        cpu::pin(cpu).context(Phase::Setup, format!("cannot pin to CPU {cpu}"))?;
    }
    // The kernel may end a sleep that much later; threads and processes inherit it.
    nix::sys::prctl::set_timerslack(1).map_err(std::io::Error::from).context(Phase::Setup, "cannot set the slack")?;
    let steps = steps_for(COMPUTE_NS);
    let pause =
        (blocking > 0).then(|| Duration::from_nanos(COMPUTE_NS * u64::from(blocking) / u64::from(100 - blocking)));
    let start = clock::now() + 2_000_000 + 200_000 * u64::from(workers);
    let end = start + cell.millis * 1_000_000;
    let work = move || work(start, end, steps, pause);
    let found: Vec<Done> = match parties {
        Parties::Thread => std::thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
        }),
        _ => by_processes(workers, work)?,
    };
    if found.len() != workers as usize {
        return Err(Error::failed(Phase::Measure, format!("{} of {workers} workers reported", found.len())));
    }
    let wall = (end - start) as f64;
    let [done, used, sleeps] = [0, 1, 2].map(|word| found.iter().map(|one| one[word]).sum::<u64>());
    Ok(values([
        ("jobs_per_s", done as f64 * 1e9 / wall),
        ("sleeps_per_job", sleeps as f64 / done.max(1) as f64),
        ("blocked_share", (1.0 - used as f64 / (wall * f64::from(workers))).max(0.0)),
    ]))
}

/// The same in forked processes, which report through a pipe.
fn by_processes(workers: u32, work: impl Fn() -> Done) -> Result<Vec<Done>> {
    let cannot = "cannot start a worker";
    let (mut reader, writer) = std::io::pipe().context(Phase::Setup, cannot)?;
    let mut children = Vec::new();
    for _ in 0..workers {
        let child = process::fork_child(|| {
            let report: Vec<u8> = work().into_iter().flat_map(u64::to_le_bytes).collect();
            // So few bytes are written whole: pipe(7).
            u8::from((&writer).write_all(&report).is_err())
        });
        children.push(child.context(Phase::Start, cannot)?);
    }
    drop(writer);
    let mut reports = Vec::new();
    reader.read_to_end(&mut reports).context(Phase::Measure, "the workers' reports cannot be read")?;
    for child in &mut children {
        child.wait().map_err(|how| Error::failed(Phase::Measure, format!("a worker {how}")))?;
    }
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    Ok(reports.chunks_exact(24).map(|report| [0, 8, 16].map(|at| word(&report[at..at + 8]))).collect())
}

/// Two threads on one CPU that wait for their turn; ns for each hand-over.
///
/// # Errors
/// When the CPU is not allowed.
pub(super) fn token(millis: u64, cpu: usize, spin: bool) -> Result<Values> {
    cpu::pin(cpu).context(Phase::Setup, format!("cannot pin to CPU {cpu}"))?;
    let (turn, end) = (AtomicU64::new(0), clock::now() + millis * 1_000_000);
    let start = clock::now();
    std::thread::scope(|scope| {
        let play = |mine: u64, other: std::thread::Thread| {
            let mut passed = 0;
            loop {
                // Acquire and Release: the turn is all that is handed over, but a real token would guard data.
                while turn.load(Ordering::Acquire) % 2 != mine {
                    if clock::now() >= end {
                        return passed;
                    }
                    if spin { spin_loop() } else { std::thread::park_timeout(Duration::from_millis(5)) }
                }
                turn.fetch_add(1, Ordering::Release);
                passed += 1_u64;
                other.unpark();
                if clock::now() >= end {
                    return passed;
                }
            }
        };
        let here = std::thread::current();
        let peer = scope.spawn(move || play(1, here));
        play(0, peer.thread().clone());
        // The sum is in the counter; a peer that panicked passed nothing on.
        let _ = peer.join();
    });
    let passed = turn.load(Ordering::Acquire).max(1);
    Ok(values([("handover_ns", (clock::now() - start) as f64 / passed as f64)]))
}

/// The largest speed-up of two workers that compute only.
const NOTHING: f64 = 1.1;
/// The smallest of two workers that block for half of their time.
const SOMETHING: f64 = 1.5;

fn judge(record: &Record) -> Finding {
    let thread = |blocking, workers| case(Parties::Thread, true, blocking, workers);
    let gain = |blocking, workers| record.ratio(&thread(blocking, workers), &thread(blocking, 1), "jobs_per_s");
    let (computing, blocking) = (gain(0, 2), gain(50, 2));
    let bounds = |e: Option<crate::measure::stats::Estimate>| e.and_then(|e| e.interval);
    let verdict = match (bounds(computing), bounds(blocking)) {
        (Some((low, _)), _) if low > NOTHING => Verdict::Contradicted,
        (Some((_, high)), Some((low, _))) if high <= NOTHING && low >= SOMETHING => {
            Verdict::HoldsOnlyIf("the work never waits".into())
        }
        (Some((_, high)), Some((_, low))) if high <= NOTHING && low <= NOTHING => Verdict::Holds,
        _ => Verdict::NotFoundHere,
    };
    let because = match (computing, blocking) {
        (Some(c), Some(b)) => format!(
            "two threads on one CPU do {:.2} times the work of one when they only compute, {:.2} times when they block for half of their time",
            c.median, b.median
        ),
        _ => "figures are missing".into(),
    };
    let mut finding = Finding::new(verdict, because);
    for (blocking, workers) in [(0, 2), (0, 8), (25, 8), (50, 2), (50, 8), (75, 8), (90, 2), (90, 8)] {
        let what = format!("speed-up, {workers} threads, one CPU, blocking {blocking} %");
        finding = finding.figure(what, gain(blocking, workers), Unit::Ratio);
        if let Some(share) = record.estimate(&thread(blocking, 1), "blocked_share").filter(|_| workers == 8) {
            let bound = (1.0 / (1.0 - share.median).max(0.01)).min(f64::from(workers));
            finding = finding.remark(format!("bound for {workers} workers that block {blocking} %: {bound:.2} x"));
        }
    }
    let process = |workers| case(Parties::Process, true, 50, workers);
    let all = |workers| case(Parties::Thread, false, 0, workers);
    finding = finding
        .figure(
            "the same with 2 processes, blocking 50 %",
            record.ratio(&process(2), &process(1), "jobs_per_s"),
            Unit::Ratio,
        )
        .figure(
            "speed-up, 2 threads, all CPUs, computing only",
            record.ratio(&all(2), &all(1), "jobs_per_s"),
            Unit::Ratio,
        );
    for (case, _) in TOKENS {
        finding = finding.figure(format!("hand-over, {case}"), record.estimate(case, "handover_ns"), Unit::Ns);
    }
    match record.noise("jobs_per_s") {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

fn picture(record: &Record) -> Picture {
    let line = |blocking: u32| {
        let point = |workers: u32| {
            let of = |n| case(Parties::Thread, true, blocking, n);
            Some((f64::from(workers), record.ratio(&of(workers), &of(1), "jobs_per_s")?))
        };
        (format!("blocking {blocking} %"), [1, 2, 4, 8].into_iter().filter_map(point).collect::<Vec<_>>())
    };
    Picture {
        title: "Workers on one CPU against one worker".into(),
        x: Axis { name: "threads on one CPU", logarithmic: false },
        y: Axis { name: "speed-up", logarithmic: false },
        series: [0, 25, 50, 75, 90].into_iter().map(line).filter(|(_, points)| !points.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::line;
    use super::*;

    /// Six rounds in which two computing threads do `computing` times, and two blocking ones `blocking` times, the work
    /// of one.
    fn record(computing: f64, blocking: f64) -> Record {
        let of = |round: u32, blocked, workers, jobs: f64| {
            line(&case(Parties::Thread, true, blocked, workers), round, &[("jobs_per_s", jobs + f64::from(round))])
        };
        (0..6)
            .flat_map(|round| {
                [
                    of(round, 0, 1, 1000.0),
                    of(round, 0, 2, 1000.0 * computing),
                    of(round, 50, 1, 500.0),
                    of(round, 50, 2, 500.0 * blocking),
                ]
            })
            .collect()
    }

    #[test]
    fn the_verdict_follows_the_thresholds() {
        let verdict = |computing, blocking| judge(&record(computing, blocking)).verdict;
        assert_eq!(verdict(1.0, 1.9), Verdict::HoldsOnlyIf("the work never waits".into()));
        assert_eq!(verdict(1.0, 1.02), Verdict::Holds);
        assert_eq!(verdict(1.9, 1.9), Verdict::Contradicted);
        assert_eq!(verdict(1.0, 1.3), Verdict::NotFoundHere);
    }
}

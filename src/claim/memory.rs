//! Processes take more memory than threads.
//!
//! **Question.** What does a further worker take that only waits, and what do workers add that read or write a table
//! which was there before them?
//!
//! **Method.** One process starts 1 to 1000 workers, threads or forked processes, which sleep. Then the proportional set
//! sizes of all of them are added, with the page tables of each (`VmPTE`) and with what the kernel stacks of the system
//! grew by (`KernelStack` of `/proc/meminfo`, which does not say for whom). A line through the numbers of workers gives
//! the cost of one. Then four workers read a table of 64 MiB that the first process had filled, or write to a share of
//! its pages: what all take together afterwards is compared with what they took while they slept.
//!
//! **Caveat.** The kernel's descriptions of tasks and address spaces come from its slab, which others use too: its growth
//! is a figure, but no part of the sum. The top level of each page table is in neither. A worker here is forked and
//! executes nothing; one that executes a program shares less.

use super::{Cell, Claim, Finding, Record, Setting, Unit, Values, Verdict, lab, values};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::stats::Estimate;
use crate::plan::Parties;
use crate::report::picture::{Axis, Picture};
use crate::shm::region::{PAGE, Region};
use crate::sys::map::{self, Sharing};
use crate::sys::memory::{Account, Kernel};
use crate::sys::process;
use serde::{Deserialize, Serialize};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::thread::{Builder, scope};

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "memory",
    taught: "processes take more memory than threads",
    hypothesis: "an idle forked process adds at least 2 times as much as an idle thread to proportional set size, page \
                 tables and kernel stacks together; it is contradicted if it adds less than a thread",
    misleads: "the sum of the resident set sizes counts shared pages once for each process; an allocator's arena for each \
               thread; huge pages; kernel stacks are those of the whole system",
    cells,
    measure,
    judge,
    plants: &["leak"],
    picture: Some(picture),
};

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum With {
    /// Workers that sleep.
    Idle { parties: Parties, workers: u32 },
    /// Workers that read a table, or write to this share of its pages.
    Table { parties: Parties, shared: bool, written: u32 },
}

const PARTIES: [Parties; 2] = [Parties::Thread, Parties::Process];
const QUICK: &[u32] = &[1, 10, 100, 300];
const FULL: &[u32] = &[1, 10, 100, 300, 1000];
/// Workers at the table.
const READERS: u32 = 4;
const TABLE: usize = 64 << 20;
const WRITTEN: &[u32] = &[0, 25, 50, 100];

fn idle(parties: Parties, workers: u32) -> String {
    format!("{workers} x {parties}, idle")
}

fn table(parties: Parties, shared: bool, written: u32) -> String {
    let act = if written == 0 { "read all".into() } else { format!("write {written} %") };
    let mapping = if shared { "a shared mapping" } else { "private memory" };
    format!("{READERS} x {parties}, {act} of 64 MiB of {mapping}")
}

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for parties in PARTIES {
        for &workers in if setting.full { FULL } else { QUICK } {
            cells.push(Cell::new(&CLAIM, idle(parties, workers), &With::Idle { parties, workers }));
        }
    }
    let again = cells.iter().find(|cell| cell.case == idle(Parties::Process, 100)).map(Cell::again);
    cells.extend(again);
    for &written in WRITTEN {
        let mut add = |parties, shared| {
            let with = With::Table { parties, shared, written };
            cells.push(Cell::new(&CLAIM, table(parties, shared, written), &with));
        };
        if setting.full || written != 50 {
            add(Parties::Process, false);
        }
        if setting.full || written == 100 {
            add(Parties::Thread, false);
            add(Parties::Process, true);
        }
    }
    Ok(cells)
}

/// What each thread wastes when that is planted.
const LEAK: usize = 1 << 20;
/// Memory that must be left for each worker.
const SPARE: u64 = 1 << 20;

fn measure(cell: &Cell) -> Result<Values> {
    match cell.with()? {
        With::Idle { parties, workers } => {
            lab::needs(u64::from(workers) * SPARE)?;
            asleep(parties, workers, cell.planted("leak") && parties == Parties::Thread)
        }
        With::Table { parties, shared, written } => {
            lab::needs(u64::from(READERS + 1) * TABLE as u64)?;
            at_table(parties, shared, written)
        }
    }
}

fn asleep(parties: Parties, workers: u32, leak: bool) -> Result<Values> {
    let waste = || {
        let kept = leak.then(|| map::small_pages(LEAK, Sharing::Private).ok()).flatten();
        kept.iter().for_each(Region::prefault);
        kept
    };
    let before = kernel()?;
    let (all, after) = employ(parties, workers, waste, |_: &_| {}, |crew| Ok((crew.account()?, kernel()?)))?;
    let stacks = after.stacks.saturating_sub(before.stacks);
    Ok(values([
        ("pss_bytes", all.pss as f64),
        ("tables_bytes", all.tables as f64),
        ("stacks_bytes", stacks as f64),
        ("slab_bytes", after.slab.saturating_sub(before.slab) as f64),
        ("total_bytes", (all.pss + all.tables + stacks) as f64),
        ("rss_per_pss", all.rss as f64 / all.pss as f64),
    ]))
}

fn kernel() -> Result<Kernel> {
    Kernel::now().context(Phase::Measure, "cannot read what the kernel has taken")
}

fn at_table(parties: Parties, shared: bool, written: u32) -> Result<Values> {
    let sharing = if shared { Sharing::Shared } else { Sharing::Private };
    let table = map::small_pages(TABLE, sharing).context(Phase::Setup, "cannot map the table")?;
    table.prefault();
    let act = |(): &()| {
        if written == 0 {
            std::hint::black_box(table.read(0..TABLE, PAGE));
        } else {
            table.write_pages(0..TABLE / 100 * written as usize);
        }
    };
    employ(
        parties,
        READERS,
        || (),
        act,
        |crew| {
            let before = crew.account()?;
            crew.order()?;
            crew.gather()?;
            let after = crew.account()?;
            let extra = (after.pss + after.tables) as f64 - (before.pss + before.tables) as f64;
            Ok(values([("extra_bytes", extra)]))
        },
    )
}

/// Workers at their posts, as their employer sees them.
struct Crew {
    workers: u32,
    /// Those that are processes of their own.
    pids: Vec<u32>,
    /// Where each says that it is done.
    done: PipeReader,
    /// Where each waits for an order.
    orders: PipeWriter,
}

impl Crew {
    /// Waits until all are done.
    fn gather(&mut self) -> Result<()> {
        let mut said = vec![0; self.workers as usize];
        self.done.read_exact(&mut said).context(Phase::Measure, "a worker is missing")
    }

    /// Lets each act once.
    fn order(&mut self) -> Result<()> {
        self.orders.write_all(&vec![1; self.workers as usize]).context(Phase::Measure, "the workers do not listen")
    }

    /// What employer and workers take.
    fn account(&self) -> Result<Account> {
        let mut all = Account::default();
        for pid in self.pids.iter().copied().chain([std::process::id()]) {
            let one = Account::of(pid).map_err(|error| {
                Error::unsupported("the kernel does not say what memory a process takes")
                    .because(error)
                    .hint("needs /proc with smaps_rollup (Linux 4.14)")
            })?;
            all += one;
        }
        Ok(all)
    }
}

/// Starts workers, waits until each has begun and sleeps, and calls `look`; afterwards they are gone.
///
/// What `begin` returns is kept until then; `act` is called for each order.
fn employ<K, R>(
    parties: Parties,
    workers: u32,
    begin: impl Fn() -> K + Sync,
    act: impl Fn(&K) + Sync,
    look: impl FnOnce(&mut Crew) -> Result<R>,
) -> Result<R> {
    let cannot = "cannot make a pipe";
    let (done, done_here) = std::io::pipe().context(Phase::Setup, cannot)?;
    let (orders_here, orders) = std::io::pipe().context(Phase::Setup, cannot)?;
    let mut crew = Crew { workers, pids: vec![], done, orders };
    let life = || {
        let kept = begin();
        // A write of one byte cannot be cut, and an end of file says that it is over.
        while (&done_here).write_all(&[1]).is_ok() && (&orders_here).read(&mut [0]).is_ok_and(|read| read > 0) {
            act(&kept);
        }
    };
    let none_left = |error: std::io::Error| {
        Error::unsupported(format!("{workers} workers cannot be started here"))
            .because(error)
            .hint("raise ulimit -u, or pids.max of the control group")
    };
    match parties {
        Parties::Thread => scope(|scope| {
            // A scope waits for its threads: the orders end, and with them the threads, when the crew is dropped.
            let mut crew = crew;
            for _ in 0..workers {
                Builder::new().spawn_scoped(scope, life).map_err(none_left)?;
            }
            crew.gather()?;
            look(&mut crew)
        }),
        _ => {
            let mut children = Vec::new();
            for _ in 0..workers {
                let child = process::fork_child(|| {
                    life();
                    0
                });
                children.push(child.map_err(none_left)?);
            }
            crew.pids = children.iter().map(process::Child::id).collect();
            crew.gather()?;
            look(&mut crew)
        }
    }
}

/// How many times as much as a thread a process has to take.
const MORE: f64 = 2.0;

/// What one more worker takes, over the numbers that were measured.
fn slope(record: &Record, parties: Parties, quantity: &str) -> Option<Estimate> {
    let cases: Vec<(f64, String)> = FULL
        .iter()
        .map(|&workers| (f64::from(workers), idle(parties, workers)))
        .filter(|(_, case)| record.estimate(case, quantity).is_some())
        .collect();
    let points: Vec<(f64, &str)> = cases.iter().map(|(workers, case)| (*workers, case.as_str())).collect();
    record.slope(&points, quantity)
}

/// How many times as much as a thread a process takes: from one worker to the most that both sorts had.
fn ratio(record: &Record) -> Option<Estimate> {
    let of = |most| {
        let cases = PARTIES.map(|parties| [idle(parties, most), idle(parties, 1)]);
        let [[threads, thread], [processes, process]] = &cases;
        record.combined(
            [threads.as_str(), thread, processes, process],
            "total_bytes",
            |[threads, thread, processes, process]| (processes - process) / (threads - thread),
        )
    };
    FULL[1..].iter().rev().find_map(|&most| of(most))
}

fn judge(record: &Record) -> Finding {
    let times = ratio(record);
    let per = |parties, quantity| slope(record, parties, quantity);
    let verdict = match times.and_then(|e| e.interval) {
        Some((low, _)) if low >= MORE => Verdict::Holds,
        Some((_, high)) if high < 1.0 => Verdict::Contradicted,
        _ => Verdict::NotFoundHere,
    };
    let because = match (times, per(Parties::Thread, "total_bytes"), per(Parties::Process, "total_bytes")) {
        (Some(times), Some(thread), Some(process)) => format!(
            "an idle process takes {:.0} KiB and an idle thread {:.0} KiB, {:.1} times as much",
            process.median / 1024.0,
            thread.median / 1024.0,
            times.median
        ),
        _ => "figures are missing".into(),
    };
    let mut finding =
        Finding::new(verdict, because).figure("an idle process against an idle thread", times, Unit::Ratio);
    let parts = [
        ("total_bytes", "each idle"),
        ("pss_bytes", "of it proportional set size, each"),
        ("tables_bytes", "of it page tables, each"),
        ("stacks_bytes", "of it kernel stacks, each"),
        ("slab_bytes", "besides, the kernel's small pieces, each"),
    ];
    for (quantity, what) in parts {
        for parties in PARTIES {
            finding = finding.figure(format!("{what} {parties}"), per(parties, quantity), Unit::Bytes);
        }
    }
    let exaggerated = record.estimate(&idle(Parties::Process, 100), "rss_per_pss");
    finding = finding.figure("100 processes: sum of resident set sizes against proportional", exaggerated, Unit::Ratio);
    for (parties, shared) in [(Parties::Process, false), (Parties::Thread, false), (Parties::Process, true)] {
        for &written in WRITTEN {
            let case = table(parties, shared, written);
            finding = finding.figure(format!("{case}: more"), record.estimate(&case, "extra_bytes"), Unit::Bytes);
        }
    }
    finding = finding.figure("copied for each byte that a process writes", copied(record), Unit::Number);
    match record.noise("total_bytes") {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

/// Bytes more for each byte that a process writes to private memory, over the shares that were measured.
fn copied(record: &Record) -> Option<Estimate> {
    let cases: Vec<(f64, String)> = WRITTEN
        .iter()
        .map(|&written| (f64::from(written), table(Parties::Process, false, written)))
        .filter(|(_, case)| record.estimate(case, "extra_bytes").is_some())
        .collect();
    let points: Vec<(f64, &str)> = cases.iter().map(|(written, case)| (*written, case.as_str())).collect();
    let percent = f64::from(READERS) * TABLE as f64 / 100.0;
    record.slope(&points, "extra_bytes").map(|estimate| estimate.scaled(1.0 / percent))
}

fn picture(record: &Record) -> Picture {
    let line = |parties: Parties| {
        let point = |&workers: &u32| {
            let total = record.estimate(&idle(parties, workers), "total_bytes")?;
            Some((f64::from(workers), total.scaled(1.0 / 1_048_576.0)))
        };
        (format!("{parties}"), FULL.iter().filter_map(point).collect::<Vec<_>>())
    };
    Picture {
        title: "What all workers and their employer take".into(),
        x: Axis { name: "idle workers", logarithmic: true },
        y: Axis { name: "MiB", logarithmic: true },
        series: PARTIES.into_iter().map(line).filter(|(_, points)| !points.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::line;
    use super::*;

    /// Six rounds in which a thread takes 20 KiB and a process so many times as much.
    fn record(times: f64) -> Record {
        let of = |round, parties, workers: u32, each: f64| {
            let total = 1e6 * f64::from(1 + round) + 20480.0 * each * f64::from(workers);
            line(&idle(parties, workers), round, &[("total_bytes", total)])
        };
        (0..6)
            .flat_map(|round| {
                QUICK
                    .iter()
                    .flat_map(move |&n| [of(round, Parties::Thread, n, 1.0), of(round, Parties::Process, n, times)])
            })
            .collect()
    }

    #[test]
    fn the_verdict_follows_the_thresholds_whatever_the_employer_takes() {
        let verdict = |times| judge(&record(times)).verdict;
        assert_eq!(verdict(2.01), Verdict::Holds);
        assert_eq!(verdict(1.99), Verdict::NotFoundHere);
        assert_eq!(verdict(1.01), Verdict::NotFoundHere);
        assert_eq!(verdict(0.99), Verdict::Contradicted);
        assert_eq!(judge(&Record::default()).verdict, Verdict::NotFoundHere);
    }

    #[test]
    fn where_so_many_processes_cannot_be_the_largest_common_number_decides() {
        let lines = record(3.0).lines().to_vec();
        let some: Record = lines.into_iter().filter(|l| l.cell.case != idle(Parties::Process, 300)).collect();
        let finding = judge(&some);
        assert_eq!(finding.verdict, Verdict::Holds);
        assert!((finding.figures[0].estimate.median - 3.0).abs() < 1e-9);
        assert!((slope(&some, Parties::Process, "total_bytes").unwrap().median - 3.0 * 20480.0).abs() < 1e-6);
    }

    #[test]
    fn what_is_copied_counts_for_each_byte_written() {
        let record: Record = (0..6)
            .flat_map(|round| {
                [0, 25, 100].map(|share| {
                    let extra = 5000.0 + 1.5 * f64::from(READERS * share) / 100.0 * TABLE as f64;
                    line(&table(Parties::Process, false, share), round, &[("extra_bytes", extra)])
                })
            })
            .collect();
        assert!((copied(&record).unwrap().median - 1.5).abs() < 1e-9);
    }
}

//! Threads communicate cheaply because they share the heap.
//!
//! **Question.** What does sharing the heap give that sharing memory does not?
//!
//! **Method.** The ring of `heap-ring` and `shm-ring`, which is one and the same code, carries a stream of messages between
//! threads on the heap, between threads on a shared mapping, and between processes on a shared mapping. It does so in three
//! ways: *in place* (the producer writes into the ring, the consumer reads there), by *copying* from a buffer of the
//! producer's into the ring and from there into one of the consumer's, and by *handing over* a buffer of a pool, of which
//! only the offset goes through the ring; another ring brings the buffer back. Every byte is written and every byte is
//! verified, whichever the way. A pipe between processes stands for communication without shared memory. Runs, warm-up
//! and audits are those of `ipcost compare`.
//!
//! **Caveat.** What is handed over must still be read: the consumer's cache fetches every line, so handing over is O(1) only
//! for what nobody looks at. Two virtual CPUs may share a cache or not, and the host may change that under way.

use super::{Cell, Claim, Finding, Record, Setting, Unit, Values, Verdict, values};
use crate::cell::{Outcome, Status};
use crate::conduct::Measure;
use crate::error::{Error, Phase, Result};
use crate::measure::stats::Estimate;
use crate::plan::{Parties, Placement, Plan, Plant, Span, Wait, Workload, show_size};
use crate::report::picture::{Axis, Picture};
use crate::transport::{self, detour::Detour};
use serde::{Deserialize, Serialize};

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "shared-heap",
    taught: "threads communicate cheaply because they share the heap",
    hypothesis: "in place, messages of 64 B and of 64 KiB take processes on shared memory more than 1.25 times as long as \
                 threads on the heap; if at most 1.25 times, it is sharing memory that is cheap, and the claim holds only for \
                 processes that share none if a pipe takes at least 1.25 times as long",
    misleads: "what is handed over must still be read; page size and prefaulting on one side only; a host that moves virtual \
               CPUs between runs",
    cells,
    measure,
    judge,
    plants: &["delay", "flip"],
    picture: Some(picture),
};

/// How a message gets across.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    InPlace,
    Copying,
    HandingOver,
    Pipe,
}

/// Where the memory is, and between whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Between {
    ThreadsOnHeap,
    ThreadsOnShared,
    Processes,
}

impl Way {
    const RINGS: [Way; 3] = [Way::InPlace, Way::Copying, Way::HandingOver];

    fn word(self) -> &'static str {
        match self {
            Way::InPlace => "in place",
            Way::Copying => "copying",
            Way::HandingOver => "handing over",
            Way::Pipe => "pipe",
        }
    }
}

impl Between {
    const ALL: [Between; 3] = [Between::ThreadsOnHeap, Between::ThreadsOnShared, Between::Processes];

    fn words(self) -> &'static str {
        match self {
            Between::ThreadsOnHeap => "threads on the heap",
            Between::ThreadsOnShared => "threads on shared memory",
            Between::Processes => "processes",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct With {
    way: Way,
    between: Between,
    size: usize,
}

fn case(way: Way, between: Between, size: usize) -> String {
    format!("{}, {}, {}", way.word(), between.words(), show_size(size))
}

/// Sizes of a full pass.
const SIZES: [usize; 6] = [64, 1 << 10, 4 << 10, 64 << 10, 1 << 20, 16 << 20];
/// Sizes that decide.
const DECIDING: [usize; 2] = [64, 64 << 10];

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    super::lab::one_cpu(setting)?;
    let mut all = Vec::new();
    for size in SIZES {
        for way in Way::RINGS {
            all.extend(Between::ALL.map(|between| With { way, between, size }));
        }
        all.push(With { way: Way::Pipe, between: Between::Processes, size });
    }
    all.retain(|with| setting.full || is_quick(with));
    let mut cells: Vec<Cell> =
        all.iter().map(|with| Cell::new(&CLAIM, case(with.way, with.between, with.size), with)).collect();
    let again = cells[0].again();
    cells.push(again);
    Ok(cells)
}

/// What a quick pass looks at: what decides, and the other ways where they differ.
fn is_quick(With { way, between, size }: &With) -> bool {
    match way {
        Way::InPlace | Way::Pipe => DECIDING.contains(size),
        Way::Copying | Way::HandingOver => [64 << 10, 1 << 20].contains(size) && *between != Between::ThreadsOnShared,
    }
}

// ---------------------------------------------------------------------------------------------------- the measurement

/// The planted delay of the consumer between processes, ns.
const DELAY_NS: u64 = 500_000;

fn measure(cell: &Cell) -> Result<Values> {
    let with: With = cell.with()?;
    let cpus = crate::sys::cpu::allowed()
        .map_err(|error| Error::failed(Phase::Setup, "cannot ask for the allowed CPUs").because(error))?;
    // One CPU has room for one that looks: the other has to sleep.
    let (placement, wait) = match cpus.len() {
        0 | 1 => (Placement::SameCpu, Wait::Block),
        _ => (Placement::CrossCpu, Wait::Hybrid(Wait::HYBRID_LOOKS)),
    };
    let parties = if with.between == Between::Processes { Parties::Process } else { Parties::Thread };
    let delayed = cell.planted("delay") && parties == Parties::Process;
    let mechanism = match (with.way, with.between) {
        (Way::Pipe, _) => "pipe",
        (_, Between::ThreadsOnHeap) => "heap-ring",
        _ => "shm-ring",
    };
    let plan = Plan {
        mechanism: mechanism.into(),
        workload: Workload::Stream,
        size: with.size,
        wait,
        parties,
        placement,
        span: Span::Millis(cell.millis),
        delay_ns: if delayed { DELAY_NS } else { 0 },
        plant: cell.planted("flip").then_some(Plant::Flip),
        ..Plan::default()
    };
    report(&run(with, &plan)?)
}

fn run(with: With, plan: &Plan) -> Result<Outcome> {
    let heap = with.between == Between::ThreadsOnHeap;
    match with.way {
        Way::InPlace | Way::Pipe => transport::find(&plan.mechanism)?.run(plan, &mut Measure),
        Way::Copying => Detour::Copying.run(heap, plan),
        Way::HandingOver => Detour::HandingOver.run(heap, plan),
    }
}

fn report(outcome: &Outcome) -> Result<Values> {
    if outcome.status != Status::Ok {
        return Err(Error::invalid(outcome.reason.clone().unwrap_or_else(|| "the run is not believed".into())));
    }
    let message = outcome.per_message_ns().ok_or_else(|| Error::failed(Phase::Measure, "no message was carried"))?;
    let cpu: f64 = outcome.cpu_ns_per_message.iter().map(|party| party.user + party.system).sum();
    Ok(values([("message_ns", message), ("cpu_ns", cpu), ("messages", outcome.messages as f64)]))
}

// ------------------------------------------------------------------------------------------------------- the verdict

/// The ratio up to which two times count as the same.
const SAME: f64 = 1.25;

fn judge(record: &Record) -> Finding {
    let time = |way, between, size| case(way, between, size);
    let ratio = |a: &str, b: &str| record.ratio(a, b, "message_ns");
    let heap = |size| time(Way::InPlace, Between::ThreadsOnHeap, size);
    let processes = DECIDING.map(|size| ratio(&time(Way::InPlace, Between::Processes, size), &heap(size)));
    let pipes = DECIDING.map(|size| ratio(&time(Way::Pipe, Between::Processes, size), &heap(size)));
    let bounds = |of: &[Option<Estimate>], is: &dyn Fn((f64, f64)) -> bool| {
        of.iter().all(|ratio| ratio.and_then(|ratio| ratio.interval).is_some_and(is))
    };
    let (same, slower) = (bounds(&processes, &|(_, high)| high <= SAME), bounds(&processes, &|(low, _)| low > SAME));
    let verdict = if slower {
        Verdict::Holds
    } else if same && bounds(&pipes, &|(low, _)| low >= SAME) {
        Verdict::HoldsOnlyIf("the processes share no memory; the same ring between processes takes as long".into())
    } else if same && bounds(&pipes, &|(_, high)| high <= SAME) {
        Verdict::Contradicted
    } else {
        Verdict::NotFoundHere
    };
    let because = match (processes, pipes) {
        ([Some(small), Some(large)], [Some(pipe), Some(large_pipe)]) => format!(
            "against threads on the heap, the same ring between processes takes {:.2} times as long for 64 B and {:.2} times \
             for 64 KiB, a pipe {:.1} and {:.2} times",
            small.median, large.median, pipe.median, large_pipe.median
        ),
        _ => "figures are missing".into(),
    };
    let finding = figures(Finding::new(verdict, because), record);
    match record.noise("message_ns") {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

/// Pairs of cases to compare, with what the comparison is called.
fn comparisons() -> Vec<(String, String, String)> {
    let mut pairs = Vec::new();
    for size in SIZES {
        let bytes = show_size(size);
        for way in Way::RINGS {
            for between in [Between::ThreadsOnShared, Between::Processes] {
                let what = format!("{}, {bytes}: {} against threads on the heap", way.word(), between.words());
                pairs.push((what, case(way, between, size), case(way, Between::ThreadsOnHeap, size)));
            }
        }
        for between in Between::ALL {
            let what = format!("{}, {bytes}: copying against handing over", between.words());
            pairs.push((what, case(Way::Copying, between, size), case(Way::HandingOver, between, size)));
        }
        let what = format!("{bytes}: a pipe between processes against threads on the heap, in place");
        let pipe = case(Way::Pipe, Between::Processes, size);
        pairs.push((what, pipe, case(Way::InPlace, Between::ThreadsOnHeap, size)));
    }
    pairs
}

fn figures(mut finding: Finding, record: &Record) -> Finding {
    for (what, a, b) in comparisons() {
        finding = finding.figure(what, record.ratio(&a, &b, "message_ns"), Unit::Ratio);
    }
    let cases = SIZES.into_iter().flat_map(|size| {
        Way::RINGS.into_iter().flat_map(move |way| Between::ALL.map(|between| case(way, between, size)))
    });
    for case in cases {
        let time = record.estimate(&case, "message_ns");
        finding = finding.figure(format!("time a message, {case}"), time, Unit::Ns);
    }
    finding
}

fn picture(record: &Record) -> Picture {
    let line = |way: Way, between: Between| {
        let point = |size: usize| Some((size as f64, record.estimate(&case(way, between, size), "message_ns")?));
        (format!("{}, {}", way.word(), between.words()), SIZES.into_iter().filter_map(point).collect::<Vec<_>>())
    };
    let lines = Way::RINGS
        .into_iter()
        .flat_map(|way| [Between::ThreadsOnHeap, Between::Processes].map(|between| line(way, between)))
        .chain([line(Way::InPlace, Between::ThreadsOnShared), line(Way::Pipe, Between::Processes)]);
    Picture {
        title: "Time a message of a stream takes".into(),
        x: Axis { name: "bytes", logarithmic: true },
        y: Axis { name: "ns", logarithmic: true },
        series: lines.filter(|(_, points)| !points.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::line;
    use super::*;

    /// Six rounds in which processes take `ring` and a pipe `pipe` times as long as threads on the heap.
    fn record(ring: f64, pipe: f64) -> Record {
        let of = |round: u32| {
            DECIDING.into_iter().flat_map(move |size| {
                let time = |way, between, times: f64| {
                    line(&case(way, between, size), round, &[("message_ns", times * f64::from(10 + round))])
                };
                [
                    time(Way::InPlace, Between::ThreadsOnHeap, 1.0),
                    time(Way::InPlace, Between::Processes, ring),
                    time(Way::Pipe, Between::Processes, pipe),
                ]
            })
        };
        (0..6).flat_map(of).collect()
    }

    #[test]
    fn the_verdict_follows_the_thresholds() {
        let verdict = |ring, pipe| judge(&record(ring, pipe)).verdict;
        assert_eq!(verdict(1.26, 9.0), Verdict::Holds);
        assert!(matches!(verdict(1.24, 1.26), Verdict::HoldsOnlyIf(_)));
        assert_eq!(verdict(1.24, 1.24), Verdict::Contradicted);
        let one_size: Record =
            record(1.0, 9.0).lines().iter().filter(|l| !l.cell.case.contains("KiB")).cloned().collect();
        assert_eq!(judge(&one_size).verdict, Verdict::NotFoundHere);
    }

    #[test]
    fn every_way_carries_every_byte() {
        for between in [Between::ThreadsOnHeap, Between::ThreadsOnShared] {
            for way in Way::RINGS {
                let mechanism = if between == Between::ThreadsOnHeap { "heap-ring" } else { "shm-ring" };
                let plan = Plan {
                    mechanism: mechanism.into(),
                    workload: Workload::Stream,
                    parties: Parties::Thread,
                    placement: Placement::Unpinned,
                    size: 3000,
                    span: Span::Messages(2000),
                    ..Plan::default()
                };
                let outcome = run(With { way, between, size: 3000 }, &plan).unwrap();
                assert_eq!((outcome.status, outcome.verified.unwrap().messages), (Status::Ok, 2000), "{way:?}");
            }
        }
    }
}

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
//! **Caveat.** A time is the lower quartile over short batches: what else runs on the CPU only ever adds to a batch, and
//! to many of them.

mod round;
mod verdict;

use super::{Cell, Claim, Setting, Values, lab};
use crate::error::{Context, Phase, Result};
use crate::shm::LINE;
use crate::shm::region::PAGE;
use crate::sys::cpu;
use round::Round;
use serde::{Deserialize, Serialize};
use verdict::{judge, picture};

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

fn measure(cell: &Cell) -> Result<Values> {
    let round = Round::new(cell)?;
    let cpu = round.with.cpu;
    cpu::pin(cpu).context(Phase::Setup, format!("cannot pin to CPU {cpu}"))?;
    round.run(cell.millis)
}

#[cfg(test)]
mod tests {
    use super::super::AGAIN;
    use super::*;

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

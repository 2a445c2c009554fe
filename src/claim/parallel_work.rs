//! Several workers do one job in parallel, and the data on the disk are shared by all.
//!
//! **Question.** How much faster do N workers finish one job over one file, and what does each further worker cost in
//! memory when it reads through the page cache, and when it keeps a copy of its own?
//!
//! **Method.** A file without a name is written and read once, so that it is in the page cache. One to eight workers,
//! threads or processes, wait for orders; a job is the checksum of the whole file, split evenly, and lasts from the
//! first order to the last report. The checksum must be that of what was written. A worker reaches the data by `read`
//! into a small buffer, through one mapping of the file, or in a private copy of the whole file that it made before the
//! first job. Memory is the proportional share (PSS) of all processes together, between two jobs. The first job, which
//! meets unmapped pages, is kept apart.
//!
//! **Caveat.** No disk is read. The page cache itself belongs to no process, so a worker that uses `read` seems to have
//! the data for nothing.

use super::{Cell, Claim, Finding, Record, Setting, Unit, Values, Verdict, crew, values};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::stats::Estimate;
use crate::plan::Parties;
use crate::report::picture::{Axis, Picture};
use crate::shm::tally::Tally;
use crate::sys::map::Frozen;
use crate::sys::{clock, usage};
use memmap2::Mmap;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "parallel-work",
    taught: "several workers do one job in parallel, and share the data on the disk cheaply",
    hypothesis: "on two CPUs or more, two workers on one mapping are at least 1.5 times as fast as one, as threads and \
                 as processes; a second process adds at most a tenth of the file to the memory where the page cache is \
                 shared, and at least half of the file where each keeps a copy",
    misleads: "the file is in the page cache, no disk is read; the cache itself belongs to no process and is not \
               counted; CPUs that are siblings or wanted by others shorten every speed-up, so where most launches were \
               disturbed none counts as missing",
    cells,
    measure,
    judge,
    plants: &["serial", "hoard"],
    picture: Some(picture),
};

/// How a worker reaches the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    /// By pread(2) into a small buffer.
    Read,
    /// Through a mapping of the file that all share.
    Mapping,
    /// In a copy of its own, made before the first job.
    Copy,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Read => "read",
            Way::Mapping => "shared mapping",
            Way::Copy => "private copies",
        })
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct With {
    parties: Parties,
    workers: u32,
    way: Way,
    megabytes: u64,
    /// CPUs that the workers could use, for the judge.
    cpus: usize,
}

const SMALL: u64 = 64;
const LARGE: u64 = 1024;
const MIB: u64 = 1 << 20;
const PARTIES: [Parties; 2] = [Parties::Thread, Parties::Process];
const WAYS: [Way; 3] = [Way::Read, Way::Mapping, Way::Copy];

fn case(parties: Parties, workers: u32, way: Way, megabytes: u64) -> String {
    format!("{workers} x {parties}, {way}, {megabytes} MiB")
}

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    let cpus = setting.cpus.len();
    let mut cells = Vec::new();
    let mut add = |parties, workers, way, megabytes| {
        let with = With { parties, workers, way, megabytes, cpus };
        cells.push(Cell::new(&CLAIM, case(parties, workers, way, megabytes), &with));
    };
    for parties in PARTIES {
        for way in WAYS {
            let counts: &[u32] = if setting.full { &[1, 2, 4, 8] } else { &[1, 2] };
            counts.iter().for_each(|&workers| add(parties, workers, way, SMALL));
        }
        // Copies of the large file would need more memory than an experiment may take.
        if setting.full {
            [1, 2].into_iter().for_each(|workers| add(parties, workers, Way::Mapping, LARGE));
        } else {
            add(parties, 4, Way::Mapping, SMALL);
        }
    }
    let again = cells[2].again();
    cells.push(again);
    Ok(cells)
}

/// Bytes that are read and summed at a time.
const BLOCK: usize = 256 << 10;

/// A checksum in which each word depends on the one before, so that it takes about as long as a decent hash.
fn sum(block: &[u8]) -> u64 {
    let (words, _) = block.as_chunks::<8>();
    words.iter().fold(0x9E37_79B9_7F4A_7C15, |sum: u64, word| {
        (sum ^ u64::from_le_bytes(*word)).rotate_left(23).wrapping_mul(0xFF51_AFD7_ED55_8CCD)
    })
}

/// Writes that many blocks, no two alike; their checksum.
fn fill(file: &mut File, blocks: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    fastrand::Rng::with_seed(blocks).fill(&mut block);
    let mut total = 0_u64;
    for number in 0..blocks {
        block[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block)?;
        total = total.wrapping_add(sum(&block));
    }
    Ok(total)
}

/// The data, as one worker has them.
enum Data<'a> {
    Read(&'a File, Vec<u8>),
    Mapping(&'a Mmap),
    Copy(Vec<u8>),
}

impl Data<'_> {
    /// The sum of some blocks; an unreadable file makes a wrong sum, which the leader notices.
    fn sum(&mut self, blocks: Range<u64>) -> u64 {
        let bytes = blocks.start as usize * BLOCK..blocks.end as usize * BLOCK;
        match self {
            Data::Read(file, buffer) => blocks.fold(0, |total, block| {
                let _ = file.read_exact_at(buffer, block * BLOCK as u64);
                total.wrapping_add(sum(buffer))
            }),
            Data::Mapping(map) => sum_all(&map[bytes]),
            Data::Copy(copy) => sum_all(&copy[bytes]),
        }
    }
}

fn sum_all(bytes: &[u8]) -> u64 {
    bytes.chunks(BLOCK).fold(0, |total, block| total.wrapping_add(sum(block)))
}

fn copy_of(file: &File, len: u64) -> Vec<u8> {
    let mut copy = vec![0; len as usize];
    let _ = file.read_exact_at(&mut copy, 0);
    copy
}

fn measure(cell: &Cell) -> Result<Values> {
    let With { parties, workers, way, megabytes, .. } = cell.with()?;
    let len = megabytes * MIB;
    let blocks = len / BLOCK as u64;
    let hoard = cell.planted("hoard");
    room_for(len * if way == Way::Copy || hoard { u64::from(workers) + 1 } else { 1 })?;
    let mut expected = 0;
    let fill = |file: &mut File| fill(file, blocks).map(|total| expected = total);
    let file = Frozen::new(fill).map_err(|error| {
        let what = format!("no file of {megabytes} MiB can be written in {}", std::env::temp_dir().display());
        Error::unsupported(what).because(error).hint("set TMPDIR to a folder with room")
    })?;
    let map = file.map().context(Phase::Setup, "cannot map the file")?;
    let turn = cell.planted("serial").then(|| Tally::new(1)).transpose();
    let turn = turn.context(Phase::Setup, "cannot make shared memory")?;
    let hire = || {
        let mut data = match way {
            Way::Read => Data::Read(file.file(), vec![0; BLOCK]),
            Way::Mapping => Data::Mapping(&map),
            Way::Copy => Data::Copy(copy_of(file.file(), len)),
        };
        let kept = if hoard { copy_of(file.file(), len) } else { Vec::new() };
        let turn = turn.clone();
        move |part: u64| {
            let _held = &kept;
            let share = |part| part * blocks / u64::from(workers);
            let mut work = || data.sum(share(part)..share(part + 1));
            match &turn {
                Some(turn) => in_turn(&turn[0], part, work),
                None => work(),
            }
        }
    };
    crew::lead(parties, workers, hire, |desk, pids| {
        let job = || {
            turn.iter().for_each(|turn| turn[0].store(0, Ordering::Release));
            one_job(desk, workers, expected)
        };
        let end = clock::now() + cell.millis * 1_000_000;
        let first = job()?;
        let memory: io::Result<u64> = pids.iter().map(|pid| usage::pss_of(*pid)).sum();
        let memory = memory.context(Phase::Measure, "cannot read the memory of a worker")?;
        let mut times = vec![job()?];
        while clock::now() < end {
            times.push(job()?);
        }
        let time = Estimate::of(times).map_or(0.0, |time| time.median);
        Ok(values([("job_ns", time), ("first_job_ns", first), ("pss_bytes", memory as f64)]))
    })
}

/// One job from the first order to the last report, ns.
fn one_job(desk: &crew::Desk, workers: u32, expected: u64) -> Result<f64> {
    let start = clock::now();
    (0..u64::from(workers)).try_for_each(|part| desk.order(part))?;
    let found = (0..workers).try_fold(0_u64, |total, _| Ok(total.wrapping_add(desk.report()?)))?;
    let took = clock::now() - start;
    if found != expected {
        return Err(Error::failed(Phase::Measure, "the checksum is not that of what was written"));
    }
    Ok(took as f64)
}

/// Planted: works only after all parts before this one are done.
fn in_turn(turn: &AtomicU64, part: u64, work: impl FnOnce() -> u64) -> u64 {
    // Acquire and Release as with a lock: this is one.
    while turn.load(Ordering::Acquire) != part {
        std::thread::sleep(Duration::from_micros(50));
    }
    let found = work();
    turn.store(part + 1, Ordering::Release);
    found
}

/// Refuses what would not fit into memory.
fn room_for(bytes: u64) -> Result<()> {
    const SPARE: u64 = 128 * MIB;
    match crate::machine::memory_left() {
        Some(left) if left < bytes + SPARE => {
            let what = format!("{} MiB are needed and {} MiB of memory are free", (bytes + SPARE) / MIB, left / MIB);
            Err(Error::unsupported(what).hint("end other programs"))
        }
        _ => Ok(()),
    }
}

/// The smallest speed-up of two workers that counts as one, and the largest that counts as none.
const FASTER: f64 = 1.5;
const NO_FASTER: f64 = 1.1;
/// What a further worker adds to the memory, as a share of the file: at most where it is shared, at least where it is
/// not.
const SHARED: f64 = 0.1;
const COPIED: f64 = 0.5;

/// How much faster so many workers are than one.
fn gain(record: &Record, parties: Parties, workers: u32, way: Way, megabytes: u64) -> Option<Estimate> {
    record.ratio(&case(parties, 1, way, megabytes), &case(parties, workers, way, megabytes), "job_ns")
}

/// What a second worker adds to the memory, as a share of the file.
fn added(record: &Record, parties: Parties, way: Way) -> Option<Estimate> {
    let share = |two: f64, one: f64| (two - one) / (SMALL * MIB) as f64;
    record.paired(&case(parties, 2, way, SMALL), &case(parties, 1, way, SMALL), "pss_bytes", share)
}

fn judge(record: &Record) -> Finding {
    let gains = PARTIES.map(|parties| gain(record, parties, 2, Way::Mapping, SMALL));
    let [shared, copied] = [Way::Mapping, Way::Copy].map(|way| added(record, Parties::Process, way));
    let cpus = record.cells().iter().find_map(|cell| cell.with::<With>().ok()).map_or(0, |with| with.cpus);
    let (verdict, because) = match (gains, shared, copied) {
        _ if cpus < 2 => (Verdict::NotTested("a speed-up needs two CPUs".into()), String::new()),
        ([Some(threads), Some(processes)], Some(shared), Some(copied)) => (
            verdict([threads, processes], shared, copied, 2 * record.flagged() > record.lines().len()),
            format!(
                "two workers on one mapping are {:.2} (threads) and {:.2} (processes) times as fast as one; a second \
                 process adds {:.0} % of the file to the memory, and {:.0} % with a copy of its own",
                threads.median,
                processes.median,
                100.0 * shared.median,
                100.0 * copied.median
            ),
        ),
        _ => (Verdict::NotTested("figures are missing".into()), String::new()),
    };
    let mut finding = Finding::new(verdict, because);
    for (parties, way) in PARTIES.into_iter().flat_map(|parties| WAYS.map(|way| (parties, way))) {
        for workers in [2, 4, 8] {
            let what = format!("speed-up, {workers} x {parties}, {way}");
            finding = finding.figure(what, gain(record, parties, workers, way, SMALL), Unit::Ratio);
        }
        let what = format!("memory that a second {parties} adds, {way}, as a share of the file");
        finding = finding.figure(what, added(record, parties, way), Unit::Share);
    }
    for parties in PARTIES {
        let two = |way| case(parties, 2, way, SMALL);
        let ratio = |quantity| record.ratio(&two(Way::Mapping), &two(Way::Copy), quantity);
        finding = finding
            .figure(format!("time on shared pages against private copies, 2 x {parties}"), ratio("job_ns"), Unit::Ratio)
            .figure(format!("the same for the first job, 2 x {parties}"), ratio("first_job_ns"), Unit::Ratio)
            .figure(
                format!("speed-up, 2 x {parties}, shared mapping, {LARGE} MiB"),
                gain(record, parties, 2, Way::Mapping, LARGE),
                Unit::Ratio,
            );
    }
    let one = case(Parties::Thread, 1, Way::Mapping, SMALL);
    finding = finding.figure("one thread, shared mapping, 64 MiB", record.estimate(&one, "job_ns"), Unit::Ns);
    match record.noise("job_ns") {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

/// `disturbed` is whether most launches were: then a speed-up that is missing says nothing.
fn verdict(gains: [Estimate; 2], shared: Estimate, copied: Estimate, disturbed: bool) -> Verdict {
    let [Some(threads), Some(processes)] = gains.map(|gain| gain.interval) else { return Verdict::NotFoundHere };
    let (Some(shared), Some(copied)) = (shared.interval, copied.interval) else { return Verdict::NotFoundHere };
    let cheap = shared.1 <= SHARED && copied.0 >= COPIED;
    if (!disturbed && threads.1 <= NO_FASTER && processes.1 <= NO_FASTER) || shared.0 >= COPIED {
        Verdict::Contradicted
    } else if cheap && threads.0 >= FASTER && processes.0 >= FASTER {
        Verdict::Holds
    } else {
        Verdict::NotFoundHere
    }
}

fn picture(record: &Record) -> Picture {
    let line = |(parties, way): (Parties, Way)| {
        let point = |workers: u32| Some((f64::from(workers), gain(record, parties, workers, way, SMALL)?));
        (format!("{parties}, {way}"), [1, 2, 4, 8].into_iter().filter_map(point).collect::<Vec<_>>())
    };
    let lines = PARTIES.into_iter().flat_map(|parties| WAYS.map(|way| (parties, way)));
    Picture {
        title: "One checksum by several workers against one".into(),
        x: Axis { name: "workers", logarithmic: false },
        y: Axis { name: "speed-up", logarithmic: false },
        series: lines.map(line).filter(|(_, points)| !points.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::line;
    use super::*;

    /// Six rounds in which two workers are `faster` times as fast as one, and the second process adds these shares of
    /// the file.
    fn record(cpus: usize, faster: f64, shared: f64, copied: f64) -> Record {
        let of = |round: u32, parties, workers, way, added: f64| {
            let time = if workers == 2 { 1e6 / faster } else { 1e6 };
            let memory = 1e7 + if workers == 2 { added * (SMALL * MIB) as f64 } else { 0.0 };
            let mut line = line(
                &case(parties, workers, way, SMALL),
                round,
                &[("job_ns", time + f64::from(round)), ("pss_bytes", memory)],
            );
            line.cell.with =
                serde_json::to_value(With { parties, workers, way, megabytes: SMALL, cpus }).expect("plain data");
            line
        };
        let ways = [(Way::Mapping, shared), (Way::Copy, copied)];
        let cells = PARTIES.into_iter().flat_map(|parties| ways.map(|(way, added)| (parties, way, added)));
        let cells: Vec<_> = cells.flat_map(|(p, way, added)| [1, 2].map(|workers| (p, workers, way, added))).collect();
        (0..6).flat_map(|round| cells.iter().map(move |(p, n, way, added)| of(round, *p, *n, *way, *added))).collect()
    }

    #[test]
    fn the_verdict_follows_the_thresholds() {
        let verdict = |faster, shared, copied| judge(&record(2, faster, shared, copied)).verdict;
        assert_eq!(verdict(1.9, 0.02, 1.0), Verdict::Holds);
        assert_eq!(verdict(1.52, 0.09, 0.51), Verdict::Holds);
        assert_eq!(verdict(1.48, 0.02, 1.0), Verdict::NotFoundHere);
        assert_eq!(verdict(1.9, 0.12, 1.0), Verdict::NotFoundHere);
        assert_eq!(verdict(1.9, 0.02, 0.48), Verdict::NotFoundHere);
        assert_eq!(verdict(1.12, 0.02, 1.0), Verdict::NotFoundHere);
        assert_eq!(verdict(1.08, 0.02, 1.0), Verdict::Contradicted);
        assert_eq!(verdict(1.9, 1.0, 1.0), Verdict::Contradicted, "whoever shares pays as much as whoever copies");
        let disturb = |mut line: super::super::record::Line| {
            line.flags.push("foreign-cpu".into());
            line
        };
        let disturbed: Record = record(2, 1.0, 0.02, 1.0).lines().iter().cloned().map(disturb).collect();
        assert_eq!(judge(&disturbed).verdict, Verdict::NotFoundHere, "others took the CPUs");
    }

    #[test]
    fn one_cpu_and_missing_cases_are_not_tested() {
        assert!(matches!(judge(&record(1, 1.9, 0.02, 1.0)).verdict, Verdict::NotTested(_)));
        assert!(matches!(judge(&Record::default()).verdict, Verdict::NotTested(_)));
        let some: Record = record(2, 1.9, 0.02, 1.0)
            .lines()
            .iter()
            .filter(|line| !line.cell.case.contains("copies"))
            .cloned()
            .collect();
        assert!(matches!(judge(&some).verdict, Verdict::NotTested(_)));
    }

    #[test]
    fn the_checksum_does_not_depend_on_the_split() {
        let mut expected = 0;
        let file = Frozen::new(|file| fill(file, 7).map(|total| expected = total)).unwrap();
        let map = file.map().unwrap();
        for data in [Data::Read(file.file(), vec![0; BLOCK]), Data::Mapping(&map), Data::Copy(map.to_vec())] {
            let mut data = data;
            let parts = [0..3, 3..5, 5..7].map(|blocks| data.sum(blocks));
            assert_eq!(parts.into_iter().fold(0, u64::wrapping_add), expected);
        }
    }
}

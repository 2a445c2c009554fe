//! The judge: the address space by the ratio of switches without data, the caches by the difference of differences.

use super::{Data, FULL, HUGE, JUDGED, NONE, RINGS, STRIDED, Who, case, two_by};
use crate::claim::{Finding, Record, Unit, Verdict};
use crate::measure::stats::Estimate;
use crate::report::picture::{Axis, Picture};
use crate::shm::LINE;
use crate::shm::region::PAGE;

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

pub(super) fn judge(record: &Record) -> Finding {
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

pub(super) fn picture(record: &Record) -> Picture {
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
    use super::*;
    use crate::claim::record::tests::line;

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
}

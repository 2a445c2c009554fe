//! The judge: which troubles were seen between threads, and which of them between processes too. A remedy that let
//! anything through leaves the claim untested.

use super::counters::{DISTANCES, FARTHEST, at_distance};
use super::{BOTH, COUNTERS, DEADLOCK, FALSE_SHARING, LOST_UPDATES, case};
use crate::claim::{Finding, Record, Unit, Verdict};
use crate::measure::stats::Estimate;
use crate::plan::Parties;
use crate::report::picture::{Axis, Picture};

/// The largest share of the additions with counters of their own that still is a bottleneck.
const BOTTLENECK: f64 = 0.8;
/// Workers at which bottlenecks are judged.
const PAIR: &str = "ops_per_s_2";

/// Whether a trouble was seen, as far as it was looked for.
type Seen = Option<bool>;

fn bottleneck(record: &Record, parties: Parties) -> Option<Estimate> {
    let [shared, .., sharded] = COUNTERS.map(|(_, name)| case(name, parties));
    record.ratio(&shared, &sharded, PAIR)
}

fn troubles(record: &Record, parties: Parties) -> [(&'static str, Seen); 3] {
    let narrow = bottleneck(record, parties).and_then(|ratio| ratio.interval).map(|(_, high)| high <= BOTTLENECK);
    let any = |what: &str, quantity, of| {
        let case = case(what, parties);
        (record.total(&case, of) > 0.0).then(|| record.total(&case, quantity) > 0.0)
    };
    [
        ("a bottleneck", narrow),
        ("lost updates", any(LOST_UPDATES, "lost", "updates")),
        ("deadlocks", any(DEADLOCK, "crossed_deadlocks", "crossed_trials")),
    ]
}

/// What the remedies let through, in words.
fn failed_remedies(record: &Record) -> Vec<String> {
    let over = |what, quantity| BOTH.iter().map(|parties| record.total(&case(what, *parties), quantity)).sum::<f64>();
    let (lost, stuck) = (over(LOST_UPDATES, "atomic_lost"), over(DEADLOCK, "ordered_deadlocks"));
    let failed = [(lost, "updates by atomic additions were lost"), (stuck, "deadlocks on ordered locks were seen")];
    failed.into_iter().filter(|(n, _)| *n > 0.0).map(|(n, what)| format!("{n:.0} {what}")).collect()
}

fn names(troubles: &[&'static str]) -> String {
    if troubles.is_empty() { "none of the troubles".into() } else { troubles.join(", ") }
}

pub(super) fn judge(record: &Record) -> Finding {
    let [threads, processes] = BOTH.map(|parties| troubles(record, parties));
    let seen = |of: &[(&'static str, Seen); 3]| -> Vec<&'static str> {
        of.iter().filter(|(_, seen)| *seen == Some(true)).map(|(name, _)| *name).collect()
    };
    let tested = |of: &[(&'static str, Seen); 3]| of.iter().all(|(_, seen)| seen.is_some());
    let (by_threads, by_processes) = (seen(&threads), seen(&processes));
    let remedies = failed_remedies(record);
    let verdict = if !remedies.is_empty() {
        Verdict::NotTested(format!("a remedy failed: {}", remedies.join(", ")))
    } else if by_threads.is_empty() {
        if tested(&threads) { Verdict::Contradicted } else { Verdict::NotFoundHere }
    } else if by_threads.iter().all(|trouble| by_processes.contains(trouble)) {
        Verdict::HoldsOnlyIf("they write the same memory; processes that share memory have the same troubles".into())
    } else if by_processes.is_empty() && tested(&processes) {
        Verdict::Holds
    } else {
        Verdict::NotFoundHere
    };
    let because = format!("seen between threads: {}; between processes: {}", names(&by_threads), names(&by_processes));
    let mut finding = Finding::new(verdict, because);
    for parties in BOTH {
        finding = figures(finding, record, parties);
    }
    let [shared, ..] = COUNTERS.map(|(_, name)| BOTH.map(|parties| case(name, parties)));
    let against = record.ratio(&shared[1], &shared[0], PAIR);
    finding = finding.figure("additions to one atomic counter, 2 processes against 2 threads", against, Unit::Ratio);
    if record.estimate(&shared[0], "waiting_share").is_none() {
        finding =
            finding.remark("the law of scalability needs two counts of workers up to the number of CPUs: not fitted");
    }
    let over = |what, quantity| BOTH.iter().map(|parties| record.total(&case(what, *parties), quantity)).sum::<f64>();
    let (adds, orders) = (over(LOST_UPDATES, "atomic_updates"), over(DEADLOCK, "ordered_trials"));
    if remedies.is_empty() && adds > 0.0 && orders > 0.0 {
        finding = finding.remark(format!(
            "the remedies let nothing through in {adds:.2e} atomic additions and {orders:.0} trials with ordered locks"
        ));
    }
    match record.noise(PAIR) {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

fn figures(mut finding: Finding, record: &Record, parties: Parties) -> Finding {
    let what = format!("additions to one counter against counters of their own, 2 x {parties}");
    finding = finding.figure(what, bottleneck(record, parties), Unit::Ratio);
    for (_, name) in COUNTERS {
        let case = case(name, parties);
        for n in [1, 2, 4, 8] {
            let rate = record.estimate(&case, &format!("ops_per_s_{n}"));
            finding = finding.figure(format!("{name}, {n} x {parties}"), rate, Unit::PerSecond);
        }
        finding = finding
            .figure(format!("share waiting, {case}"), record.estimate(&case, "waiting_share"), Unit::Share)
            .figure(format!("share talking, {case}"), record.estimate(&case, "talking_share"), Unit::Share);
    }
    for distance in DISTANCES.iter().filter(|distance| **distance < FARTHEST) {
        let what = format!("additions to words {distance} B apart against {FARTHEST} B, 2 x {parties}");
        let found = record.estimate(&case(FALSE_SHARING, parties), &at_distance(*distance));
        finding = finding.figure(what, found, Unit::Ratio);
    }
    let (lost, stuck) = (case(LOST_UPDATES, parties), case(DEADLOCK, parties));
    finding
        .figure(format!("{lost} by load and store"), record.estimate(&lost, "lost_share"), Unit::Share)
        .figure(format!("{stuck} on crossed locks, of trials"), record.estimate(&stuck, "crossed_share"), Unit::Share)
        .figure(format!("{stuck}, seen by the watchdog after"), record.estimate(&stuck, "seen_after_ns"), Unit::Ns)
}

pub(super) fn picture(record: &Record) -> Picture {
    let line = |name: &str, parties: Parties| {
        let case = case(name, parties);
        let point = |n: u32| Some((f64::from(n), record.estimate(&case, &format!("ops_per_s_{n}"))?));
        (case.clone(), (1..=8).filter_map(point).collect::<Vec<_>>())
    };
    let lines = BOTH.iter().flat_map(|parties| COUNTERS.map(|(_, name)| line(name, *parties)));
    Picture {
        title: "Additions of several workers".into(),
        x: Axis { name: "workers", logarithmic: false },
        y: Axis { name: "additions per second", logarithmic: true },
        series: lines.filter(|(_, points)| !points.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::record::tests::line;

    /// What two workers of a kind did: additions to one counter against counters of their own, lost updates, deadlocks.
    struct Kind {
        relative: f64,
        lost: f64,
        stuck: f64,
    }

    const ALL: Kind = Kind { relative: 0.2, lost: 500.0, stuck: 9.0 };
    const NONE: Kind = Kind { relative: 0.95, lost: 0.0, stuck: 0.0 };

    fn record(threads: &Kind, processes: &Kind, remedies: [f64; 2]) -> Record {
        let kinds = [(Parties::Thread, threads), (Parties::Process, processes)];
        let of = |round: u32| {
            kinds.into_iter().flat_map(move |(parties, kind)| {
                let [shared, .., sharded] = COUNTERS.map(|(_, name)| case(name, parties));
                let pace = f64::from(1 + round);
                [
                    line(&shared, round, &[(PAIR, kind.relative * pace)]),
                    line(&sharded, round, &[(PAIR, pace)]),
                    line(
                        &case(LOST_UPDATES, parties),
                        round,
                        &[("updates", 1e4), ("lost", kind.lost), ("atomic_updates", 1e4), ("atomic_lost", remedies[0])],
                    ),
                    line(
                        &case(DEADLOCK, parties),
                        round,
                        &[
                            ("crossed_trials", 10.0),
                            ("crossed_deadlocks", kind.stuck),
                            ("ordered_trials", 10.0),
                            ("ordered_deadlocks", remedies[1]),
                        ],
                    ),
                ]
            })
        };
        (0..6).flat_map(of).collect()
    }

    fn verdict(threads: &Kind, processes: &Kind) -> Verdict {
        judge(&record(threads, processes, [0.0; 2])).verdict
    }

    #[test]
    fn troubles_of_both_kinds_come_from_the_memory_and_of_one_kind_from_the_threads() {
        assert!(matches!(verdict(&ALL, &ALL), Verdict::HoldsOnlyIf(_)));
        assert_eq!(verdict(&ALL, &NONE), Verdict::Holds);
        assert_eq!(verdict(&NONE, &NONE), Verdict::Contradicted);
        assert_eq!(verdict(&ALL, &Kind { stuck: 0.0, ..ALL }), Verdict::NotFoundHere);
    }

    #[test]
    fn each_threshold_has_two_sides() {
        let seen = |kind: &Kind| troubles(&record(kind, &NONE, [0.0; 2]), Parties::Thread).map(|(_, seen)| seen);
        assert_eq!(seen(&Kind { relative: 0.79, ..NONE }), [Some(true), Some(false), Some(false)]);
        assert_eq!(seen(&Kind { relative: 0.81, ..NONE }), [Some(false); 3]);
        assert_eq!(seen(&Kind { lost: 1.0, ..NONE })[1], Some(true));
        assert_eq!(seen(&Kind { stuck: 1.0, ..NONE })[2], Some(true));
        assert_eq!(troubles(&Record::default(), Parties::Thread).map(|(_, seen)| seen), [None; 3]);
    }

    #[test]
    fn a_remedy_that_lets_one_through_makes_the_test_worthless() {
        for remedies in [[1.0, 0.0], [0.0, 1.0]] {
            let finding = judge(&record(&ALL, &ALL, remedies));
            assert!(matches!(finding.verdict, Verdict::NotTested(_)), "{:?}", finding.verdict);
        }
    }
}

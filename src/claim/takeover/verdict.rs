//! The judge: by how much the backlog grows at each load against what is predicted, and what was lost or done twice.

use super::books::{BIN_MS, BINS, bin};
use super::{Fate, LOADS, WORKERS, With, process, thread};
use crate::claim::{Finding, Record, Unit, Verdict};
use crate::measure::stats::Estimate;
use crate::plan::Parties;
use crate::report::picture::{Axis, Picture};

/// By how much of the capacity the backlog grows where it does not, at most; how far it may be from what is predicted.
const FLAT: f64 = 0.05;
const OFF: f64 = 0.07;
/// What a killed process may take with it.
const ITS_OWN: f64 = 1.0;

/// What the backlog should grow by, as a share of the capacity.
fn predicted(load: u64, alive: u64) -> f64 {
    (load as f64 / 100.0 - alive as f64 / WORKERS as f64).max(0.0)
}

pub(super) fn judge(record: &Record) -> Finding {
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

pub(super) fn picture(record: &Record) -> Picture {
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
    use super::*;
    use crate::claim::record::tests::line;

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
}

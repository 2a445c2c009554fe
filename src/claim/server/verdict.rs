//! The judge: what a thread per connection answers in time against the other builds. A difference has to be there on
//! both kinds of socket.

use super::{BUILDS, Build, FEW, STEPS, Socket, case, step_name};
use crate::claim::{Finding, Record, Unit, Verdict};
use crate::measure::stats::Estimate;
use crate::report::picture::{Axis, Picture};

/// From which factor on two servers differ.
const DIFFERENT: f64 = 1.1;

/// How many more requests the threads answer in time than another build.
fn gain(record: &Record, other: Build, socket: Socket) -> Option<Estimate> {
    record.ratio(&case(Build::Threads, socket, FEW), &case(other, socket, FEW), "at_1ms_per_s")
}

pub(super) fn judge(record: &Record) -> Finding {
    let gains = |other| [Socket::Unix, Socket::Tcp].map(|socket| gain(record, other, socket));
    let bounds = |other| gains(other).map(|gain| gain.and_then(|gain| gain.interval));
    let better = |[a, b]: [Option<(f64, f64)>; 2]| [a, b].iter().all(|of| of.is_some_and(|(low, _)| low >= DIFFERENT));
    let worse =
        |[a, b]: [Option<(f64, f64)>; 2]| [a, b].iter().all(|of| of.is_some_and(|(_, high)| high <= 1.0 / DIFFERENT));
    let (forked, looped) = (bounds(Build::Prefork), bounds(Build::Loop));
    let verdict = match gains(Build::Prefork) {
        [Some(_), Some(_)] if better(forked) => Verdict::Holds,
        [Some(_), Some(_)] if worse(forked) => Verdict::Contradicted,
        [Some(_), Some(_)] if better(looped) => {
            Verdict::HoldsOnlyIf("it is compared with a single loop, not with processes".into())
        }
        [Some(_), Some(_)] => Verdict::NotFoundHere,
        _ => Verdict::NotTested("figures are missing".into()),
    };
    let crash = |build| record.estimate(&case(build, Socket::Tcp, FEW), "lost_connections").map(|lost| lost.median);
    let because = match (gains(Build::Prefork), crash(Build::Threads), crash(Build::Prefork)) {
        ([Some(unix), Some(tcp)], Some(threads), Some(processes)) => format!(
            "threads answer {:.2} (Unix) and {:.2} (TCP) times as many requests in time as pre-forked processes; one \
             crash breaks {threads:.0} of {FEW} connections to threads and {processes:.0} to processes",
            unix.median, tcp.median
        ),
        _ => String::new(),
    };
    let mut finding = Finding::new(verdict, because);
    for (socket, name) in [(Socket::Unix, "Unix"), (Socket::Tcp, "TCP")] {
        for other in &BUILDS[1..] {
            let what = format!("answered in time by a thread per connection against {other}, {name}");
            finding = finding.figure(what, gain(record, *other, socket), Unit::Ratio);
        }
    }
    for case in record.cells().into_iter().map(|cell| &cell.case) {
        for (what, quantity, unit) in SHOWN {
            finding = finding.figure(format!("{what}; {case}"), record.estimate(case, quantity), unit);
        }
    }
    match record.noise("at_1ms_per_s") {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

/// What is shown of each case.
const SHOWN: [(&str, &str, Unit); 7] = [
    ("requests with a p99 of 1 ms", "at_1ms_per_s", Unit::PerSecond),
    ("saturation", "saturation_per_s", Unit::PerSecond),
    ("CPU of the server per request", "cpu_ns", Unit::Ns),
    ("CPU of the client per request", "client_cpu_ns", Unit::Ns),
    ("memory of the server", "pss_bytes", Unit::Bytes),
    ("connections that a crash breaks", "lost_connections", Unit::Number),
    ("all served again after", "recover_ns", Unit::Ns),
];

pub(super) fn picture(record: &Record) -> Picture {
    let line = |build: Build| {
        let case = case(build, Socket::Tcp, FEW);
        let point = |step: u32| Some((f64::from(step), record.estimate(&case, &step_name(step))?));
        (build.to_string(), STEPS.into_iter().filter_map(point).collect::<Vec<_>>())
    };
    Picture {
        title: format!("Latency under load, TCP loopback, {FEW} connections"),
        x: Axis { name: "offered load, % of saturation", logarithmic: false },
        y: Axis { name: "99th percentile, ns", logarithmic: true },
        series: BUILDS.into_iter().map(line).filter(|(_, points)| !points.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::record::tests::line;

    /// Six rounds in which the threads answer so many times as many requests as processes, and as a loop.
    fn record(forked: f64, looped: f64) -> Record {
        let of = |round: u32, build, socket, rate: f64| {
            let found = [("at_1ms_per_s", rate * f64::from(10 + round)), ("lost_connections", 1.0)];
            line(&case(build, socket, FEW), round, &found)
        };
        let all = [(Build::Threads, 1.0), (Build::Prefork, 1.0 / forked), (Build::Loop, 1.0 / looped)];
        (0..6)
            .flat_map(|round| [Socket::Unix, Socket::Tcp].map(|socket| (round, socket)))
            .flat_map(|(round, socket)| all.map(|(build, rate)| of(round, build, socket, 1000.0 * rate)))
            .collect()
    }

    #[test]
    fn the_verdict_follows_the_thresholds() {
        let verdict = |forked, looped| judge(&record(forked, looped)).verdict;
        assert_eq!(verdict(1.11, 1.0), Verdict::Holds);
        assert_eq!(verdict(1.09, 1.0), Verdict::NotFoundHere);
        assert_eq!(verdict(1.0, 1.09), Verdict::NotFoundHere);
        assert!(matches!(verdict(1.0, 1.11), Verdict::HoldsOnlyIf(_)));
        assert_eq!(verdict(0.92, 1.0), Verdict::NotFoundHere);
        assert_eq!(verdict(0.90, 1.0), Verdict::Contradicted);
        assert!(matches!(judge(&Record::default()).verdict, Verdict::NotTested(_)));
    }
}

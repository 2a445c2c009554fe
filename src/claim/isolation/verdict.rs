//! The judge: each cell has to be nearly always or nearly never. One in between leaves the claim not found here, unless
//! it is contradicted.

use super::observer::MEANS;
use super::{BOTH, Moment, With, all, case};
use crate::claim::{Finding, Record, Unit, Verdict};
use crate::plan::Parties;
use crate::sys::harm::Fault;

/// The largest share of injections that still counts as none, and what is left of all.
const NONE: f64 = 0.03;
const ALL: f64 = 1.0 - NONE;
/// Doubt about an effect that was never seen in n trials, at 95 %: at most this many in n.
const RULE_OF_THREE: f64 = 3.0;

/// What the injections of a cell did, of which there are some.
#[derive(Debug, Clone, Copy)]
struct Toll {
    with: With,
    injections: f64,
    took_along: f64,
    took_all: f64,
    blocked: f64,
}

fn tolls(record: &Record) -> Vec<Toll> {
    let toll = |with: With| {
        let case = case(with);
        let total = |quantity| record.total(&case, quantity);
        let [injections, took_along] = [total("injections"), total("took_along")];
        Toll { with, injections, took_along, took_all: total("took_all"), blocked: total("blocked") }
    };
    all().into_iter().filter(|with| with.fault.is_some()).map(toll).filter(|toll| toll.injections > 0.0).collect()
}

/// Names of cells, each once, such as "panic" for those of an idle and of a busy victim.
fn listed(names: impl Iterator<Item = String>) -> String {
    let mut list: Vec<String> = Vec::new();
    names.for_each(|name| {
        if !list.contains(&name) {
            list.push(name);
        }
    });
    list.join(", ")
}

pub(super) fn judge(record: &Record) -> Finding {
    let tolls = tolls(record);
    let of = |parties: Parties| tolls.iter().filter(move |toll| toll.with.parties == parties);
    if BOTH.iter().any(|parties| of(*parties).next().is_none()) {
        return Finding::new(Verdict::NotTested("faults of threads or of processes are missing".into()), "");
    }
    let spares = |toll: &&Toll| toll.took_along / toll.injections <= NONE;
    let kills = |toll: &&Toll| toll.took_all / toll.injections >= ALL;
    let free = |toll: &&Toll| toll.blocked / toll.injections <= NONE;
    let stuck = |toll: &&Toll| toll.blocked / toll.injections >= ALL;
    let unclear: Vec<String> = tolls
        .iter()
        .filter(|toll| !(spares(toll) || kills(toll)) || !(free(toll) || stuck(toll)))
        .map(|toll| case(toll.with))
        .collect();
    let name = |toll: &Toll| toll.with.fault.map_or("", Fault::word).to_string();
    let survived = listed(of(Parties::Thread).filter(spares).map(name));
    let places = listed(of(Parties::Process).filter(stuck).map(|toll| toll.with.moment.words().into()));
    let conditions: Vec<String> =
        [(survived.clone(), "the thread's fault is no "), (places.clone(), "the process does not die ")]
            .into_iter()
            .filter(|(what, _)| !what.is_empty())
            .map(|(what, but)| {
                format!("{but}{}", what.replace("holding a lock", "holding a shared lock that is not robust"))
            })
            .collect();
    let verdict = if of(Parties::Process).any(|toll| kills(&toll)) || !of(Parties::Thread).any(|toll| kills(&toll)) {
        Verdict::Contradicted
    } else if !unclear.is_empty() {
        Verdict::NotFoundHere
    } else if conditions.is_empty() {
        Verdict::Holds
    } else {
        Verdict::HoldsOnlyIf(conditions.join(" and "))
    };
    let sum = |parties, what: fn(&Toll) -> f64| of(parties).map(what).sum::<f64>();
    let along = |parties| (sum(parties, |toll| toll.took_along), sum(parties, |toll| toll.injections));
    let ((threads, of_threads), (processes, of_processes)) = (along(Parties::Thread), along(Parties::Process));
    let because = format!(
        "a thread's fault took others along in {threads:.0} of {of_threads:.0} injections, a process's in {processes:.0} of \
         {of_processes:.0}"
    );
    let mut finding = Finding::new(verdict, because);
    if !unclear.is_empty() {
        finding = finding.remark(format!("neither nearly always nor nearly never: {}", unclear.join(", ")));
    }
    finding = figures(finding, record, &tolls);
    match record.noise("pidfd_ns") {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

fn figures(mut finding: Finding, record: &Record, tolls: &[Toll]) -> Finding {
    for Toll { with, injections, took_along, blocked, .. } in tolls {
        let harm = |n: f64, what: &str| match n {
            0.0 => format!("{what} 0 (at most {:.1} %)", (100.0 * RULE_OF_THREE / injections).min(100.0)),
            n => format!("{what} {n:.0}"),
        };
        let mut text = format!("{}: of {injections:.0}, {}", case(*with), harm(*took_along, "took others along"));
        if matches!(with.moment, Moment::Lock | Moment::RobustLock) && took_along < injections {
            text += &format!(", {}", harm(*blocked, "left others blocked"));
        }
        finding = finding.remark(text);
    }
    for (parties, fault) in
        [(Parties::Process, Fault::Kill), (Parties::Thread, Fault::Kill), (Parties::Thread, Fault::Panic)]
    {
        for moment in [Moment::Idle, Moment::RobustLock] {
            let case = case(With { parties, fault: Some(fault), moment });
            for (name, words) in MEANS.into_iter().filter(|(name, _)| (*name == "robust") == (moment != Moment::Idle)) {
                let time = record.estimate(&case, &format!("{name}_ns"));
                finding = finding.figure(format!("{case}: told by {words} after"), time, Unit::Ns);
            }
        }
        let idle = case(With { parties, fault: Some(fault), moment: Moment::Idle });
        let unseen = MEANS.into_iter().filter(|(name, _)| {
            *name != "robust"
                && record.total(&idle, "injections") > 0.0
                && record.total(&idle, &format!("{name}_seen")) == 0.0
        });
        let unseen: Vec<_> = unseen.map(|(_, words)| words).collect();
        if !unseen.is_empty() {
            finding = finding.remark(format!("{idle}: never told by {}", unseen.join(", ")));
        }
        let what = format!(
            "{idle}: a new {} in its place after",
            if parties == Parties::Process { "process" } else { "group" }
        );
        finding = finding.figure(what, record.estimate(&idle, "recovered_ns"), Unit::Ns);
    }
    let cases: Vec<String> = all().into_iter().map(case).collect();
    let sum = |quantity: &str| cases.iter().map(|case| record.total(case, quantity)).sum::<f64>();
    let [committed, right] = [sum("messages_committed"), sum("messages_right")];
    if committed > 0.0 {
        finding = finding.remark(format!(
            "of {committed:.0} messages committed before faults in mid-message {:.0} were lost, {:.0} came torn and {:.0} twice",
            committed - right,
            sum("messages_torn"),
            sum("messages_doubled"),
        ));
    }
    let alarms = sum("false_alarms");
    if alarms > 0.0 {
        finding = finding
            .remark(format!("false alarms of the heartbeat: {alarms:.0} in {:.0} injections", sum("injections")));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::super::is_quick;
    use super::*;
    use crate::claim::record::tests::line;

    const N: f64 = 20.0;

    /// Six rounds of a quick pass in which `toll` says which shares of the injections took all others along and left them
    /// blocked.
    fn record(toll: impl Fn(With) -> (f64, f64)) -> Record {
        let of = |round: u32| {
            let cell = |with| {
                let (along, blocked) = toll(with);
                let found =
                    [("injections", N), ("took_along", N * along), ("took_all", N * along), ("blocked", N * blocked)];
                line(&case(with), round, &found)
            };
            all().into_iter().filter(is_quick).map(cell).collect::<Vec<_>>()
        };
        (0..6).flat_map(of).collect()
    }

    fn verdict(toll: impl Fn(With) -> (f64, f64)) -> Verdict {
        judge(&record(toll)).verdict
    }

    /// Exactly as taught.
    fn taught(with: With) -> (f64, f64) {
        (f64::from(u8::from(with.parties == Parties::Thread)), 0.0)
    }

    fn really(with: With) -> (f64, f64) {
        match (with.parties, with.fault, with.moment) {
            (Parties::Thread, Some(Fault::Panic), _) => (0.0, 0.0),
            (Parties::Process, Some(Fault::Kill), Moment::Lock) => (0.0, 1.0),
            _ => taught(with),
        }
    }

    #[test]
    fn exceptions_become_conditions() {
        assert_eq!(verdict(taught), Verdict::Holds);
        let Verdict::HoldsOnlyIf(condition) = verdict(really) else { panic!("{:?}", verdict(really)) };
        assert!(condition.contains("no panic") && condition.contains("not robust"), "{condition}");
    }

    #[test]
    fn processes_that_die_along_and_threads_that_never_do_contradict() {
        assert_eq!(verdict(|_| (1.0, 0.0)), Verdict::Contradicted);
        assert_eq!(verdict(|_| (0.0, 0.0)), Verdict::Contradicted);
    }

    #[test]
    fn nearly_never_and_nearly_always_have_two_sides() {
        let processes =
            |share| move |with: With| if with.parties == Parties::Process { (share, 0.0) } else { taught(with) };
        assert_eq!(verdict(processes(0.02)), Verdict::Holds);
        assert_eq!(verdict(processes(0.04)), Verdict::NotFoundHere);
        let threads =
            |share| move |with: With| if with.parties == Parties::Thread { (share, 0.0) } else { taught(with) };
        assert_eq!(verdict(threads(0.98)), Verdict::Holds);
        let mixed = |with: With| if with.fault == Some(Fault::Exit) { threads(0.96)(with) } else { taught(with) };
        assert_eq!(verdict(mixed), Verdict::NotFoundHere);
        let blocked =
            |share| move |with: With| if with.moment == Moment::Lock { (taught(with).0, share) } else { taught(with) };
        assert_eq!(verdict(blocked(0.02)), Verdict::Holds);
        assert_eq!(verdict(blocked(0.5)), Verdict::NotFoundHere);
    }

    #[test]
    fn without_one_kind_nothing_was_tested() {
        let lines = record(taught).lines().to_vec();
        let threads: Record = lines.into_iter().filter(|line| line.cell.case.contains("thread")).collect();
        assert!(matches!(judge(&threads).verdict, Verdict::NotTested(_)));
    }

    #[test]
    fn zero_of_many_is_an_upper_bound() {
        let remarks = judge(&record(taught)).remarks.join("\n");
        assert!(remarks.contains("SIGKILL, process, idle: of 120, took others along 0 (at most 2.5 %)"), "{remarks}");
    }
}

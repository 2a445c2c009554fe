//! Planted lost updates and deadlocks are found, and none are without; a killed experiment leaves nothing.

mod common;

use common::claims::{kill_in_the_middle, rounds, setting};
use ipcost::claim::synchronisation::CLAIM;
use ipcost::claim::{Record, Verdict};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);
const MILLIS: u64 = 60;

/// Two rounds of what both kinds of workers do of one trouble.
fn trouble(name: &'static str, plant: Option<&str>) -> Record {
    rounds(&CLAIM, plant, 2, MILLIS, |cell| cell.case.starts_with(name))
}

fn total(record: &Record, quantity: &str) -> f64 {
    ["thread", "process"]
        .iter()
        .flat_map(|kind| record.lines().iter().filter(move |line| line.cell.case.ends_with(kind)))
        .map(|line| line.answer.values[quantity])
        .sum()
}

#[test]
fn updates_that_a_broken_addition_loses_are_counted_and_an_atomic_one_loses_none() {
    common::watched(SOON, || {
        let planted = trouble("lost updates", Some("lost"));
        assert!(total(&planted, "atomic_lost") > 0.0);
        assert!(matches!((CLAIM.judge)(&planted).verdict, Verdict::NotTested(_)));
        let sound = trouble("lost updates", None);
        assert!(total(&sound, "atomic_updates") > 0.0);
        assert_eq!(total(&sound, "atomic_lost"), 0.0);
    });
}

#[test]
fn a_planted_deadlock_is_seen_every_time_and_ordered_locks_have_none() {
    common::watched(SOON, || {
        let planted = trouble("deadlock", Some("deadlock"));
        let (trials, stuck) = (total(&planted, "ordered_trials"), total(&planted, "ordered_deadlocks"));
        assert!(trials > 0.0);
        assert_eq!(stuck, trials);
        assert!(matches!((CLAIM.judge)(&planted).verdict, Verdict::NotTested(_)));
        let sound = trouble("deadlock", None);
        assert!(total(&sound, "ordered_trials") > 0.0);
        assert_eq!(total(&sound, "ordered_deadlocks"), 0.0);
    });
}

#[test]
fn every_addition_is_counted_whatever_guards_it() {
    // A launch that miscounts is no success.
    common::watched(SOON, || {
        rounds(&CLAIM, None, 1, MILLIS, |cell| cell.case.contains("counter") && cell.label.is_none());
    });
}

#[test]
fn a_killed_experiment_leaves_no_worker() {
    common::watched(SOON, || {
        let cells = (CLAIM.cells)(&setting(None)).unwrap();
        for name in ["one counter behind a mutex, process", "deadlock, process"] {
            kill_in_the_middle(cells.iter().find(|cell| cell.case == name).unwrap());
        }
    });
}

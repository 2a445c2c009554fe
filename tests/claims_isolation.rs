//! Victims that take the others along are noticed, and so is a fault that spares them; a killed experiment leaves nothing.

mod common;

use common::claims::{kill_in_the_middle, rounds, setting};
use ipcost::claim::isolation::CLAIM;
use ipcost::claim::{Record, Verdict};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// One launch of at least four injections of each of these cells.
fn injections(plant: Option<&str>, cases: &[&str]) -> Record {
    rounds(&CLAIM, plant, 1, 1, |cell| cases.contains(&cell.case.as_str()) && cell.label.is_none())
}

fn of(record: &Record, case: &str, quantity: &str) -> f64 {
    assert!(record.total(case, "injections") >= 4.0, "{case}");
    record.total(case, quantity)
}

#[test]
fn a_thread_takes_all_along_and_a_process_nobody_unless_planted() {
    common::watched(SOON, || {
        let cases = ["SIGKILL, thread, idle", "SIGKILL, process, idle"];
        let sound = injections(None, &cases);
        assert_eq!(of(&sound, cases[0], "took_all"), of(&sound, cases[0], "injections"));
        assert_eq!(of(&sound, cases[1], "took_along"), 0.0);
        assert_eq!((CLAIM.judge)(&sound).verdict, Verdict::Holds);
        for plant in ["take-along", "unwind"] {
            let planted = injections(Some(plant), &cases);
            assert_eq!((CLAIM.judge)(&planted).verdict, Verdict::Contradicted, "{plant}");
        }
    });
}

#[test]
fn every_fault_of_an_idle_process_is_told_of_and_spares_the_others() {
    common::watched(SOON, || {
        let faults = ["panic", "abort", "SIGSEGV", "stack overflow", "SIGKILL", "exit"];
        let cases = faults.map(|fault| format!("{fault}, process, idle"));
        let record = injections(None, &cases.each_ref().map(String::as_str));
        for case in &cases {
            assert_eq!(of(&record, case, "took_along"), 0.0, "{case}");
            for means in ["eof_seen", "pidfd_seen"] {
                assert!(of(&record, case, means) > 0.0, "{case}: {means}");
            }
        }
    });
}

#[test]
fn a_lock_of_the_dead_blocks_the_living_unless_it_is_robust_or_unwound() {
    common::watched(SOON, || {
        let [killed, robust, unwound] = [
            "SIGKILL, process, holding a lock",
            "SIGKILL, process, holding a robust lock",
            "panic, process, holding a lock",
        ];
        let record = injections(None, &[killed, robust, unwound]);
        assert_eq!(of(&record, killed, "blocked"), of(&record, killed, "injections"));
        assert_eq!(of(&record, robust, "blocked"), 0.0);
        assert_eq!(of(&record, robust, "robust_seen"), of(&record, robust, "injections"));
        assert_eq!(of(&record, unwound, "blocked"), 0.0);
    });
}

#[test]
fn what_was_committed_before_a_fault_in_mid_message_arrives_and_nothing_else() {
    common::watched(SOON, || {
        let cases =
            ["SIGKILL, process, in mid-message", "SIGKILL, thread, in mid-message", "panic, thread, in mid-message"];
        let record = injections(None, &cases);
        for case in cases {
            assert_eq!(of(&record, case, "messages_committed"), 8.0 * of(&record, case, "injections"), "{case}");
            assert_eq!(of(&record, case, "messages_right"), of(&record, case, "messages_committed"), "{case}");
            assert_eq!(of(&record, case, "messages_torn") + of(&record, case, "messages_doubled"), 0.0, "{case}");
        }
    });
}

#[test]
fn without_a_fault_nobody_dies() {
    common::watched(SOON, || {
        let cases = ["no fault, thread, idle", "no fault, process, idle"];
        let record = injections(None, &cases);
        for case in cases {
            let told = ["took_along", "blocked", "pidfd_seen", "sigchld_seen", "eof_seen", "heartbeat_seen"];
            assert_eq!(told.map(|quantity| of(&record, case, quantity)), [0.0; 6], "{case}");
        }
    });
}

#[test]
fn a_killed_experiment_leaves_no_worker() {
    common::watched(SOON, || {
        let cells = (CLAIM.cells)(&setting(None)).unwrap();
        for name in ["no fault, thread, idle", "SIGKILL, process, holding a lock"] {
            kill_in_the_middle(cells.iter().find(|cell| cell.case == name).unwrap());
        }
    });
}

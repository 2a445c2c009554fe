//! A delay between processes is found, a turned bit is never overlooked, and a killed experiment leaves nothing.

mod common;

use common::claims::{answer, kill_in_the_middle, rounds, setting};
use ipcost::claim::record::Status;
use ipcost::claim::shared_heap::CLAIM;
use ipcost::claim::{Cell, Record, Verdict};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// What decides, six rounds of it.
fn deciding(plant: Option<&str>) -> Record {
    let cases = ["threads on the heap, 64 B", "threads on the heap, 64 KiB", "processes, 64 B", "processes, 64 KiB"];
    rounds(&CLAIM, plant, 6, 20, |cell| {
        cell.label.is_none() && cases.iter().any(|case| cell.case == format!("in place, {case}"))
    })
}

#[test]
fn a_delay_between_processes_makes_the_claim_hold() {
    // Forty-eight launches.
    common::watched(2 * SOON, || {
        assert_eq!((CLAIM.judge)(&deciding(Some("delay"))).verdict, Verdict::Holds);
        assert_ne!((CLAIM.judge)(&deciding(None)).verdict, Verdict::Holds);
    });
}

#[test]
fn a_turned_bit_is_found_whichever_the_way() {
    common::watched(SOON, || {
        let cells = (CLAIM.cells)(&setting(None)).unwrap();
        for cell in cells.iter().filter(|cell| cell.case.contains("64 KiB") && !cell.case.contains("shared")) {
            // Long enough for a window of some messages: the bit is turned in the middle of one.
            let cell = Cell { millis: 300, plant: Some("flip".into()), ..cell.clone() };
            let answer = answer(&cell);
            assert_eq!(answer.status, Status::Failed, "{}: {answer:?}", cell.case);
            assert!(answer.reason.is_some_and(|why| why.contains("wrong")), "{}", cell.case);
        }
    });
}

#[test]
fn a_killed_experiment_leaves_no_peer() {
    common::watched(SOON, || {
        let cells = (CLAIM.cells)(&setting(None)).unwrap();
        let name = "handing over, processes, 64 KiB";
        kill_in_the_middle(cells.iter().find(|cell| cell.case == name).unwrap());
    });
}

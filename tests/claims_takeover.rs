//! The claim `takeover` from outside: a killed worker is seen in the backlog and in the books, and none where none
//! dies.

mod common;

use common::claims::measure;
use common::watched;
use ipcost::claim::Values;
use serde_json::json;
use std::time::Duration;

fn found(parties: &str, load: u32, fate: &str, plant: Option<&str>) -> Values {
    let with = json!({ "parties": parties, "load": load, "fate": fate });
    let answer = measure("takeover", with, 240, plant);
    assert!(answer.reason.is_none(), "{answer:?}");
    answer.values
}

#[test]
fn where_nobody_dies_every_request_is_done_once() {
    watched(Duration::from_secs(60), || {
        let found = found("process", 60, "life", None);
        assert!(found["sent"] > 0.0);
        assert_eq!((found["lost"], found["doubled"], found["waiting"]), (0.0, 0.0, 0.0), "{found:?}");
    });
}

#[test]
fn a_killed_process_loses_its_own_request_at_most_and_killed_threads_leave_all_waiting() {
    watched(Duration::from_secs(60), || {
        let processes = found("process", 60, "death", None);
        assert!(processes["lost"] <= 1.0 && processes["waiting"] == 0.0, "{processes:?}");
        let threads = found("thread", 60, "death", None);
        assert!(threads["lost"] <= 4.0 && threads["waiting"] > 0.0 && threads["slope_share"] > 0.3, "{threads:?}");
        let respawned = found("thread", 60, "respawn", None);
        assert!(respawned["waiting"] == 0.0 && respawned["respawn_ns"] > 0.0, "{respawned:?}");
    });
}

#[test]
fn a_supervisor_that_repeats_too_much_is_seen() {
    watched(Duration::from_secs(60), || {
        let found = found("process", 60, "respawn", Some("twice"));
        assert!(found["doubled"] >= 1.0, "{found:?}");
    });
}

#[test]
fn a_second_death_makes_the_backlog_grow_where_one_would_not() {
    watched(Duration::from_secs(90), || {
        // Two workers of four can do half of the capacity, however the machine is loaded; its capacity may be
        // underestimated by a disturbed burst, but not three times.
        let grows = |_| found("process", 90, "death", Some("two"))["slope_share"] > 0.15;
        assert!((0..3).any(grows));
    });
}

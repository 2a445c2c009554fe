//! The claim `parallel-work` from outside: what is planted is found, and nothing is found where nothing is planted.

mod common;

use common::claims::measure;
use common::watched;
use serde_json::json;
use std::time::Duration;

const MIB: f64 = (1 << 20) as f64;

fn found(way: &str, workers: u32, plant: Option<&str>, quantity: &str) -> f64 {
    let with = json!({ "parties": "process", "workers": workers, "way": way, "megabytes": 64, "cpus": 2 });
    let answer = measure("parallel-work", with, 20, plant);
    *answer.values.get(quantity).unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn workers_that_keep_what_they_should_share_are_seen_in_the_memory() {
    watched(Duration::from_secs(60), || {
        let memory = |way, plant| found(way, 2, plant, "pss_bytes");
        // One copy in the page cache for all, three with one for each worker besides.
        let (shared, hoarded) = (memory("mapping", None), memory("mapping", Some("hoard")));
        assert!(shared < 100.0 * MIB && hoarded > 180.0 * MIB, "{shared} {hoarded}");
        let (cached, copied) = (memory("read", None), memory("copy", None));
        assert!(cached < 30.0 * MIB && copied > 120.0 * MIB, "{cached} {copied}");
    });
}

#[test]
fn a_job_that_workers_do_in_turn_is_right_and_a_way_that_does_not_exist_is_an_error() {
    watched(Duration::from_secs(60), || {
        assert!(found("mapping", 4, Some("serial"), "job_ns") > 0.0);
        let with = json!({ "parties": "thread", "workers": 1, "way": "telepathy", "megabytes": 1, "cpus": 2 });
        let answer = measure("parallel-work", with, 20, None);
        assert!(answer.reason.is_some_and(|reason| reason.contains("cannot be read")) && answer.values.is_empty());
    });
}

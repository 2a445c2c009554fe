//! The experiment on context switches finds what is planted, and leaves nothing behind.

mod common;

use common::claims::{a_killed_launcher_leaves_nothing, figure, pass};
use common::watched;
use std::time::Duration;

/// What one of two tasks is planted to lose, ns: half of it a switch.
const DELAY: f64 = 300e3;
const THREADS: &str = "switch between threads, futex, ring of 2";

#[test]
fn threads_that_keep_the_token_are_seen_and_turn_the_verdict_round() {
    watched(Duration::from_secs(120), || {
        let found = pass("context-switch", Some("slow-threads"));
        // What is subtracted has no delay, and costs less than a tenth of it.
        assert!(figure(&found, THREADS).unwrap() > 0.9 * DELAY / 2.0, "{found:#}");
        let more = figure(&found, "processes against threads, futex, ring of 2").unwrap();
        assert!(more < 0.5, "{found:#}");
    });
}

#[test]
fn without_it_no_thread_is_slower_than_a_process() {
    watched(Duration::from_secs(120), || {
        let found = pass("context-switch", None);
        assert_ne!(found["verdict"]["word"], "contradicted", "{found:#}");
        assert_ne!(found["verdict"]["word"], "not-tested", "{found:#}");
        for what in [THREADS, "switch between processes, pipe", "processes more than threads, by 1 MiB"] {
            assert!(figure(&found, what).is_some(), "{what}: {found:#}");
        }
    });
}

#[test]
fn a_killed_launcher_leaves_no_task() {
    watched(Duration::from_secs(120), || a_killed_launcher_leaves_nothing("context-switch"));
}

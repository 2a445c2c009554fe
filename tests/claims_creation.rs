//! The experiment on making processes and threads finds what is planted, and leaves nothing behind.

mod common;

use common::claims::{a_killed_launcher_leaves_nothing, figure, pass};
use common::watched;
use std::time::Duration;

/// What is planted, ns.
const DELAY: f64 = 100e6;
const FIRST: &str = "thread, parent of 0 MiB: until its first instruction";

#[test]
fn a_thread_that_starts_late_is_seen_and_the_claim_no_longer_holds() {
    watched(Duration::from_secs(120), || {
        let found = pass("creation", Some("slow-thread"));
        assert!(figure(&found, FIRST).unwrap() >= DELAY);
        let verdict = found["verdict"]["word"].as_str().unwrap();
        assert!(!verdict.starts_with("holds"), "{found:#}");
    });
}

#[test]
fn without_it_no_thread_is_slower_than_a_process() {
    watched(Duration::from_secs(120), || {
        let found = pass("creation", None);
        assert_ne!(found["verdict"]["word"], "contradicted", "{found:#}");
        for way in ["thread", "job for a waiting thread", "fork", "vfork", "posix_spawn of a program"] {
            let at = |what: &str| figure(&found, &format!("{way}, parent of 128 MiB: {what}")).unwrap();
            assert!(at("until its first instruction") > 0.0 && at("until the call returns") > 0.0);
        }
        assert!(figure(&found, "the parent's bill").unwrap() > 0.0, "{found:#}");
    });
}

#[test]
fn a_killed_launcher_leaves_no_child() {
    watched(Duration::from_secs(120), || a_killed_launcher_leaves_nothing("creation"));
}

//! The experiment on memory finds what is planted, counts what is copied, and leaves nothing behind.

mod common;

use common::claims::{a_killed_launcher_leaves_nothing, figure, pass};
use common::watched;
use std::time::Duration;

const MIB: f64 = 1_048_576.0;

#[test]
fn a_leak_of_each_thread_is_seen_and_turns_the_verdict_round() {
    watched(Duration::from_secs(120), || {
        let found = pass("memory", Some("leak"));
        // Page by page and with its page table, 1 MiB is a little more than that; other tests' stacks may end meanwhile.
        let each = figure(&found, "of it proportional set size, each thread").unwrap();
        assert!((0.95 * MIB..1.5 * MIB).contains(&each), "{each}");
        assert_eq!(found["verdict"]["word"], "contradicted", "{found:#}");
    });
}

#[test]
fn without_it_there_is_none_and_processes_copy_what_they_write() {
    watched(Duration::from_secs(120), || {
        let found = pass("memory", None);
        assert!(figure(&found, "of it proportional set size, each thread").unwrap() < 0.5 * MIB, "{found:#}");
        assert_ne!(found["verdict"]["word"], "contradicted", "{found:#}");
        let more = |case: &str| figure(&found, &format!("4 x {case}: more")).unwrap() / MIB;
        assert!(more("process, write 100 % of 64 MiB of private memory") > 250.0, "{found:#}");
        for none in [
            "process, read all of 64 MiB of private memory",
            "thread, write 100 % of 64 MiB of private memory",
            "process, write 100 % of 64 MiB of a shared mapping",
        ] {
            assert!(more(none) < 8.0, "{none}: {found:#}");
        }
        let copied = figure(&found, "copied for each byte").unwrap();
        assert!((0.95..1.05).contains(&copied), "{copied}");
    });
}

#[test]
fn a_killed_launcher_leaves_no_worker() {
    watched(Duration::from_secs(120), || a_killed_launcher_leaves_nothing("memory"));
}

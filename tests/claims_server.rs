//! The claim `server` from outside: every build answers, a crash costs what the build says, and what is planted is
//! seen.

mod common;

use common::claims::measure;
use common::watched;
use ipcost::claim::Values;
use serde_json::json;
use std::time::Duration;

fn found(build: &str, socket: &str, plant: Option<&str>) -> Values {
    let with = json!({ "build": build, "socket": socket, "connections": 8, "workers": 2 });
    let answer = measure("server", with, 160, plant);
    assert!(answer.reason.is_none(), "{build}: {answer:?}");
    answer.values
}

#[test]
fn a_crash_breaks_the_connections_of_its_process_and_no_others() {
    watched(Duration::from_secs(90), || {
        for build in ["threads", "pool", "loop"] {
            assert_eq!(found(build, "unix", None)["lost_connections"], 8.0, "{build}");
        }
        assert_eq!(found("prefork", "unix", None)["lost_connections"], 1.0);
        // The kernel spreads connections by a hash: the process that crashed had one at least.
        assert!((1.0..=8.0).contains(&found("reuse-port", "tcp", None)["lost_connections"]));
    });
}

#[test]
fn a_crash_that_spreads_is_seen() {
    watched(Duration::from_secs(60), || {
        assert_eq!(found("prefork", "tcp", Some("contagion"))["lost_connections"], 8.0);
    });
}

#[test]
fn a_slow_handler_is_never_in_time() {
    watched(Duration::from_secs(60), || {
        let slow = found("threads", "tcp", Some("slow"));
        // Less than the first step, which is a tenth of saturation.
        assert!(slow["at_1ms_per_s"] < 0.06 * slow["saturation_per_s"], "{slow:?}");
        assert!(slow["p99_ns_at_10_percent"] >= 2e6, "{slow:?}");
    });
}

//! What a workload can have several of: requests under way, messages that travel as one. Every mechanism through its own
//! program. Nothing here asserts a time.

mod common;

use ipcost::transport::{self, Family, Spec};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// The program of a mechanism: they all lie beside the comparer.
fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_ipcost")).with_file_name(format!("ipc-{name}"))
}

fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(program(name)).args(arguments).stdin(Stdio::null()).output().expect("the program was built")
}

/// The outcome that a program prints, whatever it is.
fn outcome(name: &str, arguments: &[&str]) -> Value {
    let output = run(name, &[arguments, &["--format", "json"]].concat());
    let complaint = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{name} {arguments:?}: {e}: {complaint}"))
}

/// As [`outcome`], of a run that must succeed and account for `n` messages of `size` bytes.
fn carried(name: &str, n: u64, size: u64, arguments: &[&str]) -> Value {
    let (count, bytes) = (n.to_string(), size.to_string());
    let found = outcome(name, &[arguments, &["--messages", &count, "--size", &bytes]].concat());
    assert_eq!(found["status"], "ok", "{name} {arguments:?}: {found}");
    let verified = serde_json::json!({"messages": n, "bytes": n * size});
    assert_eq!((&found["messages"], &found["verified"]), (&n.into(), &verified), "{name} {arguments:?}: {found}");
    found
}

/// That a command line is refused with code 2 and one line about `clue`.
fn refused(name: &str, arguments: &[&str], clue: &str) {
    let output = run(name, arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{name} {arguments:?}: {text}");
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error")).collect();
    assert!(
        matches!(errors[..], [line] if line.contains(clue)),
        "{name} {arguments:?} says nothing of {clue:?}: {text}"
    );
}

fn specs() -> impl Iterator<Item = &'static Spec> {
    transport::ALL.iter().filter(|runner| runner.usable().is_ok()).map(|runner| runner.spec())
}

/// The mechanisms that connect two parties.
fn connecting() -> impl Iterator<Item = &'static Spec> {
    specs().filter(|spec| spec.family != Family::Control)
}

// ---------------------------------------------------------------------------------------------- requests under way

#[test]
fn a_window_of_requests_is_carried_or_refused_with_what_fits() {
    common::watched(LIMIT, || {
        for spec in connecting() {
            for parties in spec.parties {
                let window = ["ping-pong", "--outstanding", "8", "--parties", parties.word()];
                let found = outcome(spec.name, &[&window[..], &["--messages", "300"]].concat());
                assert_eq!(found["outstanding"], 8, "{found}");
                if found["status"] == "unsupported" {
                    let reason = found["reason"].as_str().unwrap();
                    assert!(reason.contains("is sure to hold"), "{}: {reason}", spec.name);
                    continue;
                }
                let found = carried(spec.name, 300, 64, &window);
                let rtt = &found["rtt_ns"];
                let samples = rtt["histogram"].as_array().unwrap().iter().map(|pair| pair[1].as_u64().unwrap());
                assert_eq!(samples.sum::<u64>(), 300, "{found}");
                // Little's law is how the mean is computed, so this is arithmetic: eight at a time.
                let in_flight = rtt["mean"].as_f64().unwrap() * found["throughput"]["messages_per_s"].as_f64().unwrap();
                assert!((in_flight / 8e9 - 1.0).abs() < 1e-6, "{found}");
                assert!(found["floor"].get("multiple").is_none(), "a window has no multiple: {found}");
            }
        }
    });
}

#[test]
fn one_request_at_a_time_is_the_plain_ping_pong() {
    let found = carried("pipe", 100, 64, &["ping-pong", "--outstanding", "1"]);
    assert!(found.get("outstanding").is_none(), "{found}");
}

#[test]
fn a_window_that_fills_what_one_direction_holds_ends_and_one_that_may_not_fit_is_refused() {
    common::watched(LIMIT, || {
        for (name, size) in [("pipe", 4000), ("unix-stream", 4000), ("shm-ring", 64 << 10), ("mutex-queue", 64 << 10)] {
            let bytes = size.to_string();
            let plain = outcome(name, &["ping-pong", "--messages", "10", "--size", &bytes]);
            let notes = &plain["notes"];
            let room = notes.get("messages that fit, at least").unwrap_or(&notes["slots"]).as_str().unwrap();
            assert!(room.parse::<u64>().unwrap() > 1, "{plain}");
            carried(name, 500, size, &["ping-pong", "--outstanding", room]);
            let more = (room.parse::<u64>().unwrap() + 1).to_string();
            let found = outcome(name, &["ping-pong", "--size", &bytes, "--outstanding", &more]);
            assert_eq!(found["status"], "unsupported", "{found}");
            let reason = found["reason"].as_str().unwrap();
            assert!(reason.contains(&format!("--outstanding {room}")), "{reason}");
        }
    });
}

#[test]
fn only_what_has_two_parties_and_replies_has_a_window() {
    refused("null", &["ping-pong", "--outstanding", "4"], "two parties");
    refused("pipe", &["ping-pong", "--outstanding", "0"], "0");
    refused("pipe", &["stream", "--outstanding", "4"], "--outstanding");
}

// --------------------------------------------------------------------------------------- messages that travel as one

#[test]
fn every_mechanism_carries_batches_whose_messages_are_all_verified() {
    common::watched(LIMIT, || {
        for spec in specs() {
            for parties in spec.parties {
                let found = carried(spec.name, 480, 24, &["stream", "--batch", "16", "--parties", parties.word()]);
                assert_eq!(found["batch"], 16, "{found}");
                let rate = &found["throughput"];
                let each = rate["bytes_per_s"].as_f64().unwrap() / rate["messages_per_s"].as_f64().unwrap();
                assert!((each - 24.0).abs() < 1e-6, "{found}");
            }
        }
    });
}

#[test]
fn batches_are_whole_fit_the_mechanism_and_belong_to_streams() {
    refused("pipe", &["stream", "--batch", "16", "--messages", "100"], "whole batches");
    refused("pipe", &["stream", "--batch", "2", "--size", "1GiB"], "carries");
    refused("pipe", &["stream", "--batch", "0"], "0");
    refused("pipe", &["ping-pong", "--batch", "4"], "--batch");
}

#[test]
fn a_timed_run_of_batches_carries_whole_ones() {
    let found = outcome("pipe", &["stream", "--batch", "7", "--duration", "60ms"]);
    assert_eq!((&found["status"], found["messages"].as_u64().unwrap() % 7), (&"ok".into(), 0), "{found}");
}

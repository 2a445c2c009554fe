//! What a workload can have several of: requests under way, messages that travel as one, parties. Every mechanism through
//! its own program. Nothing here asserts a time.

mod common;

use common::cells::{below, carried, outcome, planted, program, refused, run, until};
use ipcost::plan::WaitKind;
use ipcost::transport::{self, Family, Spec};
use serde_json::Value;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

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

/// Messages that one direction is sure to hold.
fn room_of(found: &Value) -> u64 {
    let notes = &found["notes"];
    notes.get("room, messages").or(notes.get("slots")).map_or(1, |room| room.as_str().unwrap().parse().unwrap())
}

/// Mechanisms of which one direction holds one message, by design.
const SINGLE: [&str; 1] = ["shm-slot"];

#[test]
fn every_queue_takes_as_many_requests_at_once_as_it_says_it_is_sure_to_hold() {
    common::watched(LIMIT, || {
        for spec in connecting() {
            // A party that polls is told to wait before the buffer is full.
            let polls = spec.waits.contains(&WaitKind::Poll).then_some(WaitKind::Poll);
            for (wait, size) in spec.waits[..1].iter().chain(&polls).flat_map(|wait| [(wait, 64), (wait, 4000)]) {
                let (bytes, wait) = (size.to_string(), ["--wait", wait.word()]);
                let plain = [&["ping-pong", "--messages", "10", "--size", &bytes][..], &wait].concat();
                let room = room_of(&outcome(spec.name, &plain));
                assert_eq!(room == 1, SINGLE.contains(&spec.name), "{} of {size} B says {room}", spec.name);
                // As many as make it wait if it said too much, and no more than a test has time for.
                let window = room.min(4096);
                let more = window.to_string();
                carried(spec.name, 2 * window, size, &[&["ping-pong", "--outstanding", &more][..], &wait].concat());
            }
        }
    });
}

#[test]
fn a_window_that_fills_what_one_direction_holds_ends_and_one_that_may_not_fit_is_refused() {
    common::watched(LIMIT, || {
        for (name, size) in [("pipe", 4000), ("unix-stream", 4000), ("shm-ring", 64 << 10), ("mutex-queue", 64 << 10)] {
            let bytes = size.to_string();
            let plain = outcome(name, &["ping-pong", "--messages", "10", "--size", &bytes]);
            let room = room_of(&plain);
            assert!(room > 1, "{plain}");
            carried(name, 500, size, &["ping-pong", "--outstanding", &room.to_string()]);
            let more = (room + 1).to_string();
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

/// What is handed on unseen is only what lies behind the header of a message that travels alone.
#[test]
fn a_header_is_found_wherever_a_message_begins() {
    for (options, noted) in [(&["stream"][..], true), (&["ping-pong"], true), (&["stream", "--batch", "16"], false)] {
        for size in [8, 100, 9000] {
            let found = carried("vmsplice-splice", 160, size, &[options, &["--touch", "header"]].concat());
            let unseen = found["notes"].get("all but the header").is_some();
            assert_eq!(unseen, noted && size > 8, "{found}");
        }
    }
    let output = run("vmsplice-splice", &["stream", "--messages", "99", "--touch", "header"]);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("all but the header"));
    assert!(line.is_some_and(|line| line["all but the header".len()..].starts_with(" spliced")), "{text}");
}

#[test]
fn a_timed_run_of_batches_carries_whole_ones() {
    let found = outcome("pipe", &["stream", "--batch", "7", "--duration", "60ms"]);
    assert_eq!((&found["status"], found["messages"].as_u64().unwrap() % 7), (&"ok".into(), 0), "{found}");
}

// ----------------------------------------------------------------------------------------------------- many parties

const PATTERNS: [&str; 3] = ["fan-in", "fan-out", "pairs"];
/// Mechanisms of every kind: kernel and memory, with and without an object that several parties can share.
const KINDS: [&str; 6] = ["pipe", "unix-stream", "unix-dgram", "shm-ring", "mutex-queue", "heap-ring"];

/// Whether the parties of a pattern have one object, where that is the same on every machine.
fn has_one_object(name: &str, pattern: &str, size: u64) -> Option<bool> {
    match (name, pattern) {
        (_, "pairs") => None,
        ("pipe" | "fifo", _) => Some(size <= 4096),
        ("mutex-queue", _) => Some(true),
        ("unix-seqpacket" | "unix-dgram", _) => Some(pattern == "fan-in"),
        ("unix-stream" | "shm-ring" | "heap-ring" | "posix-mq", _) => Some(false),
        _ => None,
    }
}

/// That an outcome of a pattern accounts for every party and every message.
fn account(found: &Value, pattern: &str, peers: usize) {
    let label = format!("{pattern}: {found}");
    assert_eq!((&found["workload"], &found["peers"]), (&pattern.into(), &peers.into()), "{label}");
    let shares: Vec<u64> = found["shares"].as_array().unwrap().iter().map(|share| share.as_u64().unwrap()).collect();
    assert_eq!((shares.len(), shares.iter().sum::<u64>()), (peers, found["messages"].as_u64().unwrap()), "{label}");
    let (least, most) = (*shares.iter().min().unwrap(), *shares.iter().max().unwrap());
    assert!((found["fairness"].as_f64().unwrap() - least as f64 / most as f64).abs() < 1e-9, "{label}");
    let others = if pattern == "pairs" { 2 * peers } else { peers };
    for each in ["pids", "cpu_ns_per_message", "switches_per_message", "faults"] {
        assert_eq!(found[each].as_array().unwrap().len(), others + 1, "{each} in {label}");
    }
    let mut pids: Vec<u64> = found["pids"].as_array().unwrap().iter().map(|pid| pid.as_u64().unwrap()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), if found["parties"] == "process" { others + 1 } else { 1 }, "{label}");
    // Served in turn, all get the same number, or one more.
    match found.get("via").and_then(Value::as_str) {
        Some("in-turn") => assert!(most - least <= 1, "{label}"),
        via => assert_eq!(via, (pattern != "pairs").then_some("shared"), "{label}"),
    }
    assert!(found.get("rtt_ns").is_none() && found.get("floor").is_none(), "{label}");
}

#[test]
fn every_mechanism_carries_every_pattern_between_all_its_parties() {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    common::watched(LIMIT, move || {
        for spec in connecting() {
            for parties in spec.parties {
                for pattern in PATTERNS {
                    let arguments = [pattern, "--peers", "3", "--parties", parties.word()];
                    if spec.name == "io-uring-sqpoll" && cpus < 6 {
                        let found = outcome(spec.name, &arguments);
                        assert_eq!(found["status"], "unsupported", "{found}");
                        let reason = found["reason"].as_str().unwrap();
                        assert!(reason.contains("6 threads that poll") && reason.contains("io-uring"), "{reason}");
                        continue;
                    }
                    let found = carried(spec.name, 1000, 64, &arguments);
                    account(&found, pattern, 3);
                    if let Some(one) = has_one_object(spec.name, pattern, 64) {
                        assert_eq!(found["via"], if one { "shared" } else { "in-turn" }, "{found}");
                    }
                }
            }
        }
    });
}

#[test]
fn patterns_carry_any_number_of_peers_under_every_wait_that_gives_the_cpu_away() {
    common::watched(LIMIT, || {
        for name in KINDS {
            for pattern in PATTERNS {
                for (peers, wait, placement) in [
                    ("1", "block", "unpinned"),
                    ("2", "yield", "same-cpu"),
                    ("9", "hybrid", "same-cpu"),
                    ("9", "block", "unpinned"),
                    ("5", "yield", "unpinned"),
                ] {
                    let options = ["--peers", peers, "--wait", wait, "--placement", placement];
                    let found = carried(name, 500, 100, &[&[pattern], &options[..]].concat());
                    account(&found, pattern, peers.parse().unwrap());
                }
            }
        }
    });
}

#[test]
fn large_messages_and_the_smallest_ones_keep_their_producers_apart() {
    common::watched(LIMIT, || {
        for name in KINDS {
            for (size, n) in [(8, 700), (4096, 300), (4097, 300), (100_000, 40)] {
                for pattern in PATTERNS {
                    let found = carried(name, n, size, &[pattern, "--peers", "3"]);
                    account(&found, pattern, 3);
                    if let Some(one) = has_one_object(name, pattern, size) {
                        assert_eq!(found["via"], if one { "shared" } else { "in-turn" }, "{found}");
                    }
                    if name == "pipe" && pattern != "pairs" {
                        // Longer writes of several processes may mix in a pipe.
                        assert_eq!(found["notes"].get("not shared").is_some(), size > 4096, "{found}");
                    }
                }
            }
        }
    });
}

#[test]
fn every_message_of_a_timed_run_is_somebodys_share() {
    common::watched(LIMIT, || {
        for (name, pattern) in [("pipe", "fan-in"), ("mutex-queue", "fan-out"), ("shm-ring", "pairs")] {
            let found = outcome(name, &[pattern, "--peers", "2", "--duration", "100ms"]);
            assert_eq!(found["status"], "ok", "{found}");
            account(&found, pattern, 2);
        }
    });
}

#[test]
fn parties_that_would_spin_in_each_others_way_are_refused() {
    let cpus = ipcost::sys::cpu::allowed().unwrap().len();
    let peers = cpus.min(60).to_string();
    for pattern in PATTERNS {
        for placement in ["unpinned", "same-cpu"] {
            refused(
                "shm-ring",
                &[pattern, "--wait", "spin", "--peers", &peers, "--placement", placement],
                "that spin on",
            );
        }
        refused("pipe", &[pattern, "--peers", "0"], "0");
        refused("pipe", &[pattern, "--peers", "65"], "64");
        refused("pipe", &[pattern, "--size", "7"], "8 bytes");
        refused("null", &[pattern], "one party");
    }
    if cpus >= 2 {
        for pattern in ["fan-in", "fan-out", "pairs"] {
            account(&carried("shm-ring", 500, 64, &[pattern, "--wait", "spin", "--peers", "1"]), pattern, 1);
        }
    }
}

#[test]
fn a_planted_fault_makes_a_pattern_invalid() {
    use ipcost::plan::{Parties, Placement, Plan, Plant, Several, Span, Workload};
    common::watched(LIMIT, || {
        for name in ["pipe", "unix-stream", "mutex-queue"] {
            for workload in [Workload::FanIn, Workload::FanOut, Workload::Pairs] {
                for plant in [Plant::Flip, Plant::Drop, Plant::Double, Plant::Swap] {
                    let parties = if name == "mutex-queue" { Parties::Thread } else { Parties::Process };
                    let plan = Plan {
                        mechanism: name.into(),
                        workload,
                        several: Several { peers: Some(2), ..Several::default() },
                        parties,
                        placement: Placement::Unpinned,
                        span: Span::Messages(1000),
                        plant: Some(plant),
                        ..Plan::default()
                    };
                    let found = planted(name, &plan);
                    // The order of neighbours means nothing to consumers that share.
                    let seen = plant != Plant::Swap || workload != Workload::FanOut;
                    let status = if seen { "invalid" } else { "unsupported" };
                    assert_eq!(found["status"], status, "{name} {workload} {plant}: {found}");
                    let healthy = planted(name, &Plan { plant: None, ..plan });
                    assert_eq!(healthy["status"], "ok", "{name} {workload}: {healthy}");
                }
            }
        }
    });
}

/// Kills the second of the peers that `arguments` start, after it has rested for `rest`, and returns what the program said.
fn with_a_killed_peer(name: &str, arguments: &[&str], rest: Duration) -> (Output, Vec<u32>) {
    use nix::sys::signal::{Signal, kill};
    let mut command = Command::new(program(name));
    let command = command.args(arguments).args(["--placement", "unpinned"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let victim = until("the second peer runs", || {
        let found = below(child.id());
        found.iter().any(|(_, name)| name == "ipc-watchman").then_some(())?;
        found.into_iter().find(|(_, name)| name == "ipc-peer-2").map(|(pid, _)| pid)
    });
    let family = below(child.id()).into_iter().map(|(pid, _)| pid).collect();
    let victim = nix::unistd::Pid::from_raw(victim as i32);
    std::thread::sleep(Duration::from_millis(100));
    if !rest.is_zero() {
        kill(victim, Signal::SIGSTOP).unwrap();
        std::thread::sleep(rest);
    }
    kill(victim, Signal::SIGKILL).unwrap();
    (child.wait_with_output().unwrap(), family)
}

/// That a program whose peer was killed failed, and says who that was.
fn names_the_killed(output: &Output, who: &str, label: &str) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{label}: {text}");
    assert!(text.contains(&format!("{who} was killed by SIGKILL")), "{label}: {text}");
}

/// A hub that waits for a peer of which the kernel tells it nothing: one whose queue it has emptied or filled while the peer
/// rested. Each run would last five minutes and has a deadline of fifty, which the watchdog does not wait for.
#[test]
fn a_hub_that_waits_for_a_killed_peer_in_vain_is_told_of_it() {
    common::watched(LIMIT, || {
        std::thread::scope(|scope| {
            let told = ["udp", "unix-dgram", "posix-mq", "sysv-mq", "eventfd", "shm-sem", "unix-seqpacket", "file"];
            for name in told.into_iter().chain(["zeromq", "zeromq-tcp", "ipc-channel"]) {
                let Some(spec) = specs().find(|spec| spec.name == name) else { continue };
                let waits = spec.waits.iter().map(|wait| wait.word()).filter(|wait| *wait != "spin");
                let waits: Vec<&str> = waits.collect();
                scope.spawn(move || {
                    for (pattern, wait) in waits.iter().flat_map(|wait| [("fan-in", *wait), ("fan-out", *wait)]) {
                        let arguments =
                            [pattern, "--peers", "2", "--size", "4096", "--wait", wait, "--duration", "300s"];
                        let (output, _) = with_a_killed_peer(name, &arguments, Duration::from_millis(500));
                        names_the_killed(&output, "peer 2 of 2", &format!("{name} {pattern} {wait}"));
                    }
                });
            }
        });
    });
}

#[test]
fn a_killed_peer_is_named_and_nothing_is_left_running() {
    common::watched(LIMIT, || {
        for (name, pattern) in [
            ("pipe", "fan-in"),
            ("pipe", "fan-out"),
            ("shm-ring", "fan-in"),
            ("unix-stream", "fan-out"),
            ("file", "pairs"),
        ] {
            let arguments = [pattern, "--peers", "3", "--duration", "60s"];
            let (output, family) = with_a_killed_peer(name, &arguments, Duration::ZERO);
            let who = if pattern == "pairs" { "the consumer of pair 1" } else { "peer 2 of 3" };
            names_the_killed(&output, who, &format!("{name} {pattern}"));
            until("nothing of it runs", || family.iter().all(|pid| ipcost::sys::process::is_gone(*pid)).then_some(()));
        }
    });
}

#[test]
fn tables_of_patterns_have_a_class_of_their_own_with_fairness_and_without_controls() {
    common::watched(LIMIT, || {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ipcost"));
        command.args(["compare", "--mechanism", "pipe,shm-ring", "--workload", "fan-in,stream", "--peers", "3"]);
        command.args(["--batch", "4", "--size", "64", "--wait", "block", "--placement", "same-cpu", "--rounds", "1"]);
        let output =
            common::program::campaign(command.args(["--budget", "1s", "--seed", "3", "--out"]).arg(&out), &out);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        let table = String::from_utf8(output.stdout).unwrap();
        let (stream, fan_in) = table.split_once("fan-in 64 B").unwrap_or_else(|| panic!("{table}"));
        assert!(stream.contains("stream 64 B, batch 4, wait block") && stream.contains("null"), "{table}");
        let fan_in = fan_in.split_once("\n\n").unwrap().0;
        for word in [", peers 3, wait block, same-cpu", "via", "fairness", "shared", "in-turn"] {
            assert!(fan_in.contains(word), "{word:?} is missing in {fan_in}");
        }
        assert!(!fan_in.contains("null"), "{fan_in}");
        let mut csv = csv::Reader::from_path(out.join("summary.csv")).unwrap();
        let head = csv.headers().unwrap().clone();
        let place = |key: &str| head.iter().position(|name| name == key).unwrap();
        for row in csv.records() {
            let row = row.unwrap();
            let peers = row[place("workload")] == *"fan-in";
            assert_eq!((&row[place("peers")], &row[place("batch")]), if peers { ("3", "") } else { ("", "4") });
            assert_eq!(row[place("fairness")].is_empty(), !peers);
        }
        for line in std::fs::read_to_string(out.join("cells.jsonl")).unwrap().lines() {
            let read: ipcost::cell::Outcome = serde_json::from_str(line).unwrap();
            let back: Value = serde_json::to_value(&read).unwrap();
            assert_eq!(back, serde_json::from_str::<Value>(line).unwrap(), "a journal line reads back as it was");
        }
    });
}

#[test]
fn several_of_what_no_workload_has_is_a_usage_error() {
    for (arguments, advice) in [
        (&["compare", "--peers", "3"][..], "add --workload fan-in"),
        (&["compare", "--workload", "stream", "--outstanding", "3"], "add --workload ping-pong"),
        (&["compare", "--workload", "ping-pong", "--batch", "3"], "add --workload stream"),
        (&["compare", "--resume", "/nonexistent", "--peers", "3"], "cannot be used with"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ipcost")).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && text.contains(advice), "{arguments:?}: {text}");
    }
}

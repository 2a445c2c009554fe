//! One message to everybody, through the mechanisms that can do that by themselves. Nothing here asserts a time.

mod common;

use common::cells::{below, carried, planted, program, refused, run, until};
use ipcost::plan::{Parties, Placement, Plan, Plant, Several, Span, Workload};
use ipcost::transport::{self, Runner, Spec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);

/// The mechanisms that have a broadcast, where this machine lets them.
fn casting() -> impl Iterator<Item = &'static Spec> {
    let has = |runner: &&&dyn Runner| runner.spec().patterns.contains(&Workload::Broadcast);
    transport::ALL.iter().filter(has).filter(|runner| runner.usable().is_ok()).map(|runner| runner.spec()).filter(
        |spec| {
            let probe = run(spec.name, &["broadcast", "--peers", "1", "--messages", "1"]);
            let text = String::from_utf8_lossy(&probe.stderr).into_owned();
            let refused = text.contains("does not work here");
            if refused {
                eprintln!("left out: {text}");
            }
            !refused
        },
    )
}

/// That an outcome accounts for every party, and for every message at each of them.
fn account(found: &Value, peers: usize) {
    assert_eq!((&found["workload"], &found["peers"]), (&"broadcast".into(), &peers.into()), "{found}");
    let all = vec![found["messages"].clone(); peers];
    assert_eq!((&found["shares"], &found["fairness"]), (&all.into(), &1.0.into()), "{found}");
    assert_eq!(found["via"], "shared", "{found}");
    for each in ["pids", "cpu_ns_per_message", "switches_per_message", "faults"] {
        assert_eq!(found[each].as_array().unwrap().len(), peers + 1, "{each} in {found}");
    }
    assert!(found.get("rtt_ns").is_none() && found.get("floor").is_none(), "{found}");
}

#[test]
fn every_consumer_gets_every_message_between_all_parties() {
    common::watched(LIMIT, || {
        for spec in casting() {
            for parties in spec.parties {
                for (peers, size) in [(1, 64), (3, 8), (3, 4096), (2, 65_000)] {
                    let count = peers.to_string();
                    let arguments = ["broadcast", "--peers", &count, "--parties", parties.word()];
                    account(&carried(spec.name, 500, size, &arguments), peers);
                }
            }
        }
    });
}

#[test]
fn more_parties_than_cpus_get_every_message_under_every_wait_that_gives_the_cpu_away() {
    common::watched(LIMIT, || {
        for spec in casting() {
            for wait in spec.waits.iter().map(|wait| wait.word()).filter(|wait| *wait != "spin") {
                for placement in ["same-cpu", "unpinned"] {
                    let options = ["broadcast", "--peers", "9", "--wait", wait, "--placement", placement];
                    account(&carried(spec.name, 300, 100, &options), 9);
                }
            }
        }
    });
}

#[test]
fn a_timed_run_counts_a_message_once_however_many_get_it() {
    common::watched(LIMIT, || {
        for spec in casting() {
            let output = run(spec.name, &["broadcast", "--peers", "2", "--duration", "100ms", "--format", "json"]);
            let found: Value = serde_json::from_slice(&output.stdout).unwrap();
            account(&found, 2);
            let rate = &found["throughput"];
            let each = rate["bytes_per_s"].as_f64().unwrap() / rate["messages_per_s"].as_f64().unwrap();
            assert!((each - 64.0).abs() < 1e-6, "{found}");
        }
    });
}

#[test]
fn who_has_no_broadcast_refuses_it_and_says_who_has() {
    let has = transport::find("udp").unwrap().spec();
    for spec in transport::ALL.iter().map(|runner| runner.spec()) {
        if spec.patterns.contains(&Workload::Broadcast) {
            continue;
        }
        let clue = if spec.patterns.is_empty() { "one party" } else { "has no broadcast of its own" };
        refused(spec.name, &["broadcast"], clue);
        let help = String::from_utf8(run(spec.name, &["--help"]).stdout).unwrap();
        assert!(!help.contains("broadcast"), "{} offers what it lacks: {help}", spec.name);
        if !spec.patterns.is_empty() {
            let advice = String::from_utf8(run(spec.name, &["broadcast"]).stderr).unwrap();
            assert!(advice.contains(has.name), "{advice}");
        }
    }
    let help = String::from_utf8(run(has.name, &["--help"]).stdout).unwrap();
    assert!(help.contains("Patterns: fan-in, fan-out, pairs, broadcast"), "{help}");
}

#[test]
fn a_planted_fault_makes_a_broadcast_invalid() {
    common::watched(LIMIT, || {
        for spec in casting() {
            for parties in spec.parties {
                for plant in [Plant::Flip, Plant::Drop, Plant::Double, Plant::Swap] {
                    let plan = Plan {
                        mechanism: spec.name.into(),
                        workload: Workload::Broadcast,
                        several: Several { peers: Some(2), ..Several::default() },
                        parties: *parties,
                        placement: Placement::Unpinned,
                        span: Span::Messages(1000),
                        plant: Some(plant),
                        ..Plan::default()
                    };
                    let found = planted(spec.name, &plan);
                    assert_eq!(found["status"], "invalid", "{} {parties} {plant}: {found}", spec.name);
                    let healthy = planted(spec.name, &Plan { plant: None, ..plan });
                    assert_eq!(healthy["status"], "ok", "{}: {healthy}", spec.name);
                }
            }
        }
    });
}

/// A run whose peers are at work, and the second of them.
fn at_work(spec: &Spec, duration: &str) -> (Child, Pid) {
    let arguments =
        ["broadcast", "--peers", "3", "--duration", duration, "--placement", "unpinned", "--format", "json"];
    let mut command = Command::new(program(spec.name));
    let child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let second = until("the second peer runs", || {
        let found = below(child.id());
        found.iter().any(|(_, name)| name == "ipc-watchman").then_some(())?;
        found.into_iter().find(|(_, name)| name == "ipc-peer-2").map(|(pid, _)| pid)
    });
    std::thread::sleep(Duration::from_millis(100));
    (child, Pid::from_raw(second as i32))
}

fn processes() -> impl Iterator<Item = &'static Spec> {
    casting().filter(|spec| spec.parties.contains(&Parties::Process))
}

#[test]
fn a_consumer_that_stops_for_a_while_loses_nothing() {
    common::watched(LIMIT, || {
        for spec in processes() {
            let (child, second) = at_work(spec, "2s");
            kill(second, Signal::SIGSTOP).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            kill(second, Signal::SIGCONT).unwrap();
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {text}"));
            account(&found, 3);
            assert_eq!(found["verified"]["messages"], found["messages"], "{found}");
        }
    });
}

#[test]
fn a_killed_consumer_is_named_and_nothing_is_left_running() {
    common::watched(LIMIT, || {
        for spec in processes() {
            let (child, second) = at_work(spec, "60s");
            let family: Vec<u32> = below(child.id()).into_iter().map(|(pid, _)| pid).collect();
            kill(second, Signal::SIGKILL).unwrap();
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{}: {text}", spec.name);
            assert!(text.contains("peer 2 of 3 was killed by SIGKILL"), "{}: {text}", spec.name);
            until("nothing of it runs", || family.iter().all(|pid| ipcost::sys::process::is_gone(*pid)).then_some(()));
        }
    });
}

#[test]
fn tables_of_a_broadcast_are_a_class_of_their_own_and_hold_those_that_have_one() {
    common::watched(LIMIT, || {
        if !casting().any(|spec| spec.name == "udp") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let compare = |arguments: &[&str], to: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_ipcost"));
            command.args(["compare", "--size", "64", "--wait", "block", "--placement", "same-cpu", "--rounds", "1"]);
            command.args(["--budget", "1s", "--seed", "3", "--peers", "2"]).args(arguments);
            let out = dir.path().join(to);
            let output = common::program::campaign(command.arg("--out").arg(&out), &out);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let table = compare(&["--mechanism", "udp,pipe", "--workload", "broadcast,fan-out"], "named");
        let section = |start: &str| {
            let rest = &table[table.find(start).unwrap_or_else(|| panic!("{start} is missing in {table}"))..];
            rest.split("\n\n").next().unwrap().to_string()
        };
        let (cast, dealt) = (section("broadcast 64 B, peers 2"), section("fan-out 64 B, peers 2"));
        assert!(cast.contains("udp") && cast.contains("fairness") && !cast.contains("null"), "{cast}");
        assert!(dealt.contains("udp") && dealt.contains("pipe"), "{dealt}");
        assert!(table.contains("pipe has no broadcast"), "what was asked for by name has its reason: {table}");
        // Without names, those that have it are taken.
        let table = compare(&["--workload", "broadcast"], "usual");
        assert!(table.contains("broadcast 64 B, peers 2") && table.contains("udp"), "{table}");
        assert!(!table.contains("pipe"), "{table}");
    });
}

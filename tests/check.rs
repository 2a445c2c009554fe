//! The instrument's check of itself, from outside: planted faults, falsified figures, and what the tracer counts.

mod common;

use common::program::{campaign, ipcost, run};
use common::watched;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The outcome of one cell of 200 messages with `plant`.
fn cell(mechanism: &str, parties: &str, workload: &str, plant: Option<&str>) -> Value {
    let mut plan = json!({
        "mechanism": mechanism, "workload": workload, "size": 64, "wait": "block", "parties": parties,
        "touch": "whole", "placement": "same-cpu", "span": {"messages": 200},
    });
    if let Some(plant) = plant {
        plan["plant"] = plant.into();
    }
    let mut child = ipcost(&["cell"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{plan}").unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).expect("an outcome")
}

#[test]
fn planted_faults_make_a_run_invalid_for_their_reason_and_only_then() {
    watched(LIMIT, || {
        for (mechanism, parties) in [("pipe", "process"), ("shm-slot", "process"), ("mutex-queue", "thread")] {
            for workload in ["stream", "ping-pong"] {
                let healthy = cell(mechanism, parties, workload, None);
                assert_eq!(healthy["status"], "ok", "{healthy}");
            }
            let faults = [
                ("stream", "flip", "of 64 bytes is wrong from byte 63 on"),
                ("stream", "drop", "came (lost or reordered)"),
                ("stream", "double", "came again (doubled or reordered)"),
                ("stream", "swap", "came (lost or reordered)"),
                ("ping-pong", "flip", "of 64 bytes is wrong from byte 63 on"),
            ];
            for (workload, plant, words) in faults {
                let outcome = cell(mechanism, parties, workload, Some(plant));
                let reason = outcome["invalid"].as_str().unwrap_or_default();
                assert!(outcome["status"] == "invalid" && reason.contains(words), "{mechanism} {plant}: {outcome}");
            }
        }
    });
}

#[test]
fn faults_that_would_hang_or_make_no_sense_are_refused() {
    watched(LIMIT, || {
        for (mechanism, parties, workload) in [("pipe", "process", "ping-pong"), ("null", "solo", "stream")] {
            for plant in ["drop", "double", "swap"] {
                assert_eq!(cell(mechanism, parties, workload, Some(plant))["status"], "unsupported");
            }
        }
        assert_eq!(cell("copy", "solo", "stream", Some("flip"))["status"], "invalid");
    });
}

#[test]
fn a_sound_instrument_passes() {
    watched(LIMIT, || {
        let names = "pipe,shm-ring,heap-ring,null";
        let output = run(&["check", "--only", "boundary,faults,tables", "--mechanism", names, "--format", "json"]);
        assert!(output.status.success(), "{}", said(&output));
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let of = |check: &str| findings.iter().filter(|f| f["check"] == check && f["verdict"] == "pass").count();
        // Six cells: pipe and shm-ring between processes and threads, heap-ring between threads, null alone. Where
        // tracing is not permitted, the boundary is skipped, with the reason.
        assert_eq!((of("faults"), of("tables")), (6, 2), "{findings:?}");
        let untraced = |f: &&Value| f["check"] == "boundary" && f["found"].as_str().unwrap().contains("cannot trace");
        assert_eq!(of("boundary") + findings.iter().filter(untraced).count(), 6, "{findings:?}");
    });
}

#[cfg(feature = "frameworks")]
#[test]
fn frameworks_move_their_bytes_where_they_say_and_add_what_their_protocol_has() {
    watched(LIMIT, || {
        let names = "iceoryx2,ipc-channel,zeromq,zeromq-tcp,tokio-unix";
        let output = run(&["check", "--only", "boundary", "--mechanism", names]);
        assert!(output.status.success(), "{}", said(&output));
    });
}

#[test]
fn every_falsification_is_noticed_and_ends_with_one() {
    watched(LIMIT, || {
        for sabotage in ["flip", "drop", "double", "swap", "bytes", "ratio", "floor", "tables"] {
            let output = run(&["check", "--mechanism", "pipe", "--sabotage", sabotage]);
            let text = said(&output);
            if sabotage == "bytes" && text.contains("cannot trace") {
                continue;
            }
            assert_eq!(output.status.code(), Some(1), "{sabotage}: {text}");
            assert!(text.contains("FAIL"), "{sabotage}: {text}");
        }
    });
}

#[test]
fn unknown_checks_and_mechanisms_are_usage_errors() {
    for args in [["check", "--only", "dance"], ["check", "--mechanism", "nope"]] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        let known = ["choose from", "`ipcost list` shows all"];
        assert!(known.iter().any(|known| said(&output).contains(known)), "{}", said(&output));
    }
}

#[test]
fn on_one_cpu_what_needs_two_is_skipped_with_the_reason() {
    watched(LIMIT, || {
        // The affinity of this test's thread is inherited by what it starts.
        let cpu = *ipcost::sys::cpu::allowed().unwrap().last().unwrap();
        ipcost::sys::cpu::pin(cpu).unwrap();
        let text = said(&run(&["check", "--only", "cpu"]));
        assert!(text.lines().any(|line| line.starts_with("skipped") && line.contains("need two CPUs")), "{text}");
    });
}

#[test]
fn ctrl_c_ends_the_check_and_leaves_no_process() {
    watched(LIMIT, || {
        let mut child = ipcost(&["check"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mine = format!("--parent\0{}\0", child.id());
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let start = Instant::now();
        let left = || {
            let processes = fs::read_dir("/proc").unwrap().flatten();
            processes.filter_map(|p| fs::read_to_string(p.path().join("cmdline")).ok()).any(|c| c.contains(&mine))
        };
        while left() {
            assert!(start.elapsed() < Duration::from_secs(10), "a cell outlives the check");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

/// The traces of a tiny campaign.
fn traces(args: &[&str]) -> Vec<Value> {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("results");
    let mut command =
        ipcost(&["compare", "--workload", "ping-pong", "--size", "64", "--budget", "1s", "--rounds", "1", "--out"]);
    let output = campaign(command.arg(&out).args(args), &out);
    assert!(output.status.success(), "{}", said(&output));
    let text = fs::read_to_string(out.join("traces.jsonl")).unwrap();
    let traces: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let permitted = |trace: &Value| !trace["unavailable"].as_str().is_some_and(|why| why.contains("cannot trace"));
    traces.into_iter().filter(permitted).collect()
}

#[test]
fn a_round_trip_through_a_pipe_is_one_write_and_one_read_of_each_party() {
    watched(LIMIT, || {
        for trace in traces(&["--mechanism", "pipe", "--wait", "block", "--placement", "same-cpu"]) {
            let once = json!({"read": 1.0, "write": 1.0});
            assert_eq!(trace["calls"], json!([once, once]), "{trace}");
            for party in [0, 1] {
                let bytes = &trace["bytes"][party];
                assert_eq!((bytes["out"].as_f64(), bytes["in"].as_f64()), (Some(64.0), Some(64.0)), "{trace}");
            }
            assert_eq!(trace["pids"][0] == trace["pids"][1], trace["parties"] == "thread", "{trace}");
            assert_ne!(trace["tids"][0], trace["tids"][1], "{trace}");
        }
    });
}

#[test]
fn a_round_trip_through_a_spinning_ring_makes_no_system_call() {
    if ipcost::sys::cpu::allowed().unwrap().len() < 2 {
        return;
    }
    watched(LIMIT, || {
        for trace in traces(&["--mechanism", "shm-ring", "--wait", "spin", "--placement", "cross-cpu"]) {
            let calls = trace["calls"].as_array().unwrap();
            // A party that spins for long asks now and then whether its peer still lives: what another program or the
            // tracer holds up shows as that and nothing else. (fcntl: a debug build looks at what it closes.)
            let looks = ["pidfd_open", "ppoll", "close", "fcntl"];
            let other = |name: &String| !looks.contains(&name.as_str());
            assert!(!calls.iter().any(|c| c.as_object().unwrap().keys().any(other)), "{trace}");
            assert!(trace["bytes"].as_array().unwrap().iter().all(|b| b["out"] == 0.0 && b["in"] == 0.0), "{trace}");
        }
    });
}

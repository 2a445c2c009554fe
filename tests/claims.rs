//! `ipcost claims` from outside: choosing, interrupting, keeping, and the planted effect of its model experiment.

mod common;

use common::watched;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

fn ipcost() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ipcost"))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What the launched process answers to this cell.
fn measured(claim: &str, with: Value, plant: Option<&str>) -> Value {
    let mut cell = json!({"claim": claim, "case": "a test", "with": with, "millis": 60});
    if let Some(word) = plant {
        cell["plant"] = word.into();
    }
    let mut child = ipcost().arg("claim-cell").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{cell}").unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_claim_that_does_not_exist_is_a_usage_error_that_names_those_that_do() {
    let output = ipcost().args(["claims", "nonsense"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("one-cpu"), "{}", stderr(&output));
    let output = ipcost().args(["claims", "one-cpu", "--plant", "nonsense"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("busy"), "{}", stderr(&output));
}

#[test]
fn workers_that_block_sleep_once_a_job_and_planted_busy_ones_never() {
    watched(LIMIT, || {
        let cpu = ipcost::sys::cpu::allowed().unwrap()[0];
        for parties in ["thread", "process"] {
            let with = json!({"jobs": {"parties": parties, "cpu": cpu, "blocking": 50, "workers": 2}});
            let sleeps = |plant| {
                let answer = measured("one-cpu", with.clone(), plant);
                assert_eq!(answer["status"], "ok", "{answer}");
                answer["values"]["sleeps_per_job"].as_f64().unwrap()
            };
            assert!(sleeps(None) >= 1.0, "{parties}");
            // One sleep of each worker ends its start, whatever the number of jobs.
            assert!(sleeps(Some("busy")) < 0.9, "{parties}");
        }
    });
}

#[test]
fn a_pass_leaves_a_journal_whose_page_regenerates_to_the_same_bytes() {
    watched(LIMIT, || {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results");
        let pass = |out: &std::path::Path| {
            ipcost().args(["claims", "one-cpu", "--budget", "1s", "--seed", "5", "--out"]).arg(out).output().unwrap()
        };
        let output = pass(&out);
        assert!(output.status.success(), "{}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with("one-cpu ")).count(), 1, "{text}");
        let page = fs::read(out.join("claims.md")).unwrap();
        let lines = fs::read_to_string(out.join("claims.jsonl")).unwrap().lines().count();
        assert!(lines >= 6 && out.join("host.json").exists() && out.join("claim-one-cpu.svg").exists());
        for command in ["report", "show"] {
            let again = ipcost().arg(command).arg(&out).output().unwrap();
            assert!(again.status.success(), "{}", stderr(&again));
        }
        assert_eq!(fs::read(out.join("claims.md")).unwrap(), page);
        let refused = pass(&out);
        assert_eq!(refused.status.code(), Some(2));
        assert!(stderr(&refused).contains("already holds results"), "{}", stderr(&refused));
    });
}

#[test]
fn ctrl_c_keeps_what_was_measured_and_leaves_no_process() {
    watched(LIMIT, || {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results");
        let mut command = ipcost();
        command.args(["claims", "one-cpu", "--budget", "30s", "--out"]).arg(&out);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = || fs::read_to_string(out.join("claims.jsonl")).map_or(0, |text| text.lines().count());
        let start = Instant::now();
        while lines() < 2 {
            assert!(start.elapsed() < LIMIT / 2, "nothing was measured");
            std::thread::sleep(Duration::from_millis(20));
        }
        let parent = format!("--parent\0{}\0", child.id());
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(lines() >= 2 && out.join("claims.md").exists());
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let mut left = processes.filter_map(|p| fs::read_to_string(p.path().join("cmdline")).ok());
        assert!(!left.any(|line| line.contains(&parent)), "a cell runs on");
    });
}

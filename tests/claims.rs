//! `ipcost claims` from outside: choosing, interrupting, keeping, and the planted effect of its model experiment.

mod common;

use common::claims::measure;
use common::program::{ipcost, launched_by, run, signal, stderr, wait_until};
use common::watched;
use ipcost::claim::record::Status;
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_claim_that_does_not_exist_is_a_usage_error_that_names_those_that_do() {
    let output = run(&["claims", "nonsense"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("one-cpu"), "{}", stderr(&output));
    let output = run(&["claims", "one-cpu", "--plant", "nonsense"]);
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
                let answer = measure("one-cpu", with.clone(), 60, plant);
                assert_eq!(answer.status, Status::Ok, "{answer:?}");
                answer.values["sleeps_per_job"]
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
            ipcost(&["claims", "one-cpu", "--budget", "1s", "--seed", "5", "--out"]).arg(out).output().unwrap()
        };
        let output = pass(&out);
        assert!(output.status.success(), "{}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.lines().filter(|line| line.starts_with("one-cpu ")).count(), 1, "{text}");
        let page = fs::read(out.join("claims.md")).unwrap();
        let lines = fs::read_to_string(out.join("claims.jsonl")).unwrap().lines().count();
        assert!(lines >= 6 && out.join("host.json").exists() && out.join("claim-one-cpu.svg").exists());
        for command in ["report", "show"] {
            let again = ipcost(&[command]).arg(&out).output().unwrap();
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
        let child = ipcost(&["claims", "one-cpu", "--budget", "30s", "--out"]).arg(&out).spawn().unwrap();
        let pid = child.id();
        let lines = || fs::read_to_string(out.join("claims.jsonl")).map_or(0, |text| text.lines().count());
        wait_until("the second launch", || lines() >= 2);
        signal(&child, Signal::SIGINT);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(lines() >= 2 && out.join("claims.md").exists());
        assert_eq!(launched_by(pid), 0, "a cell runs on");
    });
}

//! The floors and the environment record from outside.

mod common;

use common::program::{campaign, ipcost, launched_by, run, stderr, wait_until};
use common::watched;
use ipcost::measure::limits::{Level, Limits, Probe};
use ipcost::sys::cpu;
use std::fs;
use std::process::{Child, Output};
use std::time::Duration;

fn json(output: &Output) -> Limits {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What holds for every figure whatever the machine is like.
fn check(limits: &Limits) {
    let copies = limits.memcpy.iter().map(|copy| &copy.rate);
    for figure in limits.figures.values().chain(copies) {
        let (low, high) = figure.estimate.interval.expect("at least six repetitions");
        let order = [figure.min, low, figure.estimate.median, high, figure.max];
        assert!(order.is_sorted() && figure.min > 0.0 && figure.estimate.n >= 6, "{figure:?}");
    }
    assert!((limits.ns(Probe::FutexRtt).unwrap() / limits.ns(Probe::FutexHandOver).unwrap() - 2.0).abs() < 1e-9);
    assert!(limits.ns(Probe::Sleep).unwrap() >= 50_000.0, "a sleep never ends early");
    let levels: Vec<Level> = limits.memcpy.iter().map(|copy| copy.level).collect();
    assert!(levels.is_sorted() && levels.contains(&Level::L1), "{levels:?}");
    for probe in Probe::ALL {
        let measured = limits.figures.contains_key(probe);
        assert!(measured != limits.absent.contains_key(probe.title()), "{probe:?} is there or has a reason");
    }
}

#[test]
fn every_floor_is_measured_or_has_a_reason() {
    watched(Duration::from_secs(120), || {
        let limits = json(&run(&["limits", "--format", "json"]));
        check(&limits);
        if cpu::allowed().unwrap().len() > 1 {
            assert!(limits.ns(Probe::LineRtt).is_some() && limits.ns(Probe::IdleWake).is_some());
            let place = limits.place.expect("two CPUs are somewhere");
            let repetitions: usize = place.probe.iter().map(|regime| regime.repetitions).sum();
            assert_eq!(repetitions, limits.figures[&Probe::LineRtt].estimate.n);
        }
    });
}

#[test]
fn on_one_cpu_what_needs_two_is_absent_with_a_reason() {
    watched(Duration::from_secs(120), || {
        let only = *cpu::allowed().unwrap().last().unwrap();
        let check_one = |limits: &Limits| {
            check(limits);
            assert_eq!(limits.order.cpus, [only; 2]);
            assert!(limits.place.is_none());
            for probe in [Probe::LineRtt, Probe::IdleWake] {
                let reason = format!("needs two CPUs, and this was measured on CPU {only} alone");
                assert_eq!(limits.absent[probe.title()], reason);
            }
        };
        check_one(&json(&run(&["limits", "--cpus", &format!("{only},{only}"), "--format", "json"])));
        // The affinity of this test's thread is inherited by what it starts.
        cpu::pin(only).unwrap();
        check_one(&json(&run(&["limits", "--format", "json"])));
        let table = String::from_utf8(run(&["limits"]).stdout).unwrap();
        assert!(
            table.contains(&format!("CPU {only} alone")) && table.contains("absent   wake of an idle CPU"),
            "{table}"
        );
    });
}

#[test]
fn cpus_that_are_not_there_are_a_usage_error() {
    let output = run(&["limits", "--cpus", "0,4096"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("CPU 4096 does not exist") && output.stdout.is_empty());
}

#[test]
fn a_campaign_keeps_the_floors_beside_its_host() {
    watched(Duration::from_secs(120), || {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results");
        let args = ["compare", "--mechanism", "pipe", "--workload", "ping-pong", "--wait", "block", "--rounds", "1"];
        let mut command = ipcost(&args);
        command.args(["--placement", "same-cpu", "--budget", "1s", "--out"]).arg(&out);
        let output = campaign(&mut command, &out);
        assert!(output.status.success(), "{}", stderr(&output));
        let limits = Limits::read(&out).unwrap().expect("limits.json");
        check(&limits);
        assert!(limits.order.quick);
        assert_eq!(Some(&limits.order.cpus[0]), cpu::allowed().unwrap().last(), "the CPU of the placement");
        let host: ipcost::host::Host =
            serde_json::from_str(&fs::read_to_string(out.join("host.json")).unwrap()).unwrap();
        assert!(host.facts.contains_key("ulimit nofile") && host.build.contains_key("rustc"));
    });
}

fn ended_by(signal: nix::sys::signal::Signal) -> (Child, u32) {
    let child = ipcost(&["limits"]).spawn().unwrap();
    let pid = child.id();
    // Two: the probe and its forked other party.
    wait_until("the start of both parties", || launched_by(pid) == 2);
    common::program::signal(&child, signal);
    (child, pid)
}

#[test]
fn an_interrupted_measurement_leaves_no_process_and_prints_nothing() {
    watched(Duration::from_secs(120), || {
        let (child, pid) = ended_by(nix::sys::signal::Signal::SIGINT);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
        wait_until("the end of both parties", || launched_by(pid) == 0);
        let (mut child, pid) = ended_by(nix::sys::signal::Signal::SIGKILL);
        child.wait().unwrap();
        wait_until("the end of both parties", || launched_by(pid) == 0);
    });
}

#[test]
fn the_record_is_a_table_for_people_and_json_for_programs() {
    let table = String::from_utf8(run(&["host"]).stdout).unwrap();
    let host: ipcost::host::Host = serde_json::from_slice(&run(&["host", "--format", "json"]).stdout).unwrap();
    assert!(table.contains(&host.kernel) && table.contains("ulimit nofile"), "{table}");
    assert_eq!(host.slug, ipcost::host::Host::read().slug);
}

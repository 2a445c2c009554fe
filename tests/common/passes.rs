//! Runs the built program on one claim.

use serde_json::Value;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn start(name: &str, plant: Option<&str>, out: &tempfile::TempDir) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipcost"));
    command.args(["claims", name, "--budget", "1s", "--format", "json", "--out"]).arg(out.path().join("results"));
    plant.into_iter().for_each(|word| {
        command.args(["--plant", word]);
    });
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the comparer was built")
}

/// Processes that the launcher `parent` has launched and theirs, zombies excepted.
fn launched_by(parent: u32) -> usize {
    let mine = format!("--parent\0{parent}\0");
    let processes = fs::read_dir("/proc").expect("there is a /proc");
    let cmdlines = processes.flatten().filter_map(|p| fs::read_to_string(p.path().join("cmdline")).ok());
    cmdlines.filter(|cmdline| cmdline.contains(&mine)).count()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Tests the claim with or without a planted effect; what was found, as JSON. No process outlives it.
pub fn test(name: &str, plant: Option<&str>) -> Value {
    let out = tempfile::tempdir().unwrap();
    let child = start(name, plant, &out);
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait_until("the end of all processes", || launched_by(pid) == 0);
    let mut all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let found = all[0].take();
    assert_eq!(found["claim"], name);
    found
}

/// Kills the launcher as soon as a cell runs; everything that it started must end.
pub fn a_killed_launcher_leaves_nothing(name: &str) {
    let mut child = start(name, None, &tempfile::tempdir().unwrap());
    wait_until("the start of a cell", || launched_by(child.id()) > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the end of all processes", || launched_by(child.id()) == 0);
}

/// The median of the first figure whose name begins so.
pub fn figure(found: &Value, what: &str) -> Option<f64> {
    let figures = found["figures"].as_array()?;
    let figure = figures.iter().find(|figure| figure["what"].as_str().is_some_and(|name| name.starts_with(what)))?;
    figure["estimate"]["median"].as_f64()
}

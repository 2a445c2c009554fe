//! Claims through the built program: single cells, rounds of cells, whole passes, and what is left of a killed one.

use super::program::{ipcost, launched_by, running, stderr, wait_until};
use ipcost::claim::record::{Answer, Line, SCHEMA, Status};
use ipcost::claim::{AGAIN, Cell, Claim, Record, Setting};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// What a quick pass would measure here, with this effect planted.
pub fn setting(plant: Option<&str>) -> Setting {
    let cpus = ipcost::sys::cpu::allowed().unwrap();
    Setting { full: false, cpus, plant: plant.map(Into::into) }
}

/// Starts the program on one cell, in a process group of its own and with its temporary files in `folder`.
fn start_in(folder: &Path, cell: &Cell) -> Child {
    let mut command = ipcost(&["claim-cell", "--parent", &std::process::id().to_string()]);
    // A stack that overflows says so.
    command.env("TMPDIR", folder).stdin(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().expect("the program was built");
    writeln!(child.stdin.take().unwrap(), "{}", serde_json::to_string(cell).unwrap()).expect("it listens");
    child
}

/// What the launched process answers to one cell, after which neither processes nor files are left.
pub fn answer(cell: &Cell) -> Answer {
    let folder = tempfile::tempdir().expect("a folder");
    let child = start_in(folder.path(), cell);
    let group = child.id();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(running(group), [""; 0], "processes were left");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "files were left");
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text:?}", cell.case))
}

/// Measures a cell of `claim` that is in no pass.
pub fn measure(claim: &str, with: Value, millis: u64, plant: Option<&str>) -> Answer {
    let (case, label) = ("of a test".into(), Some(AGAIN.into()));
    answer(&Cell { claim: claim.into(), case, with, millis, label, plant: plant.map(Into::into) })
}

/// Measures the cells of a quick pass that `wanted` chooses, each for `millis`, that many rounds; every launch must succeed.
pub fn rounds(claim: &Claim, plant: Option<&str>, rounds: u32, millis: u64, wanted: impl Fn(&Cell) -> bool) -> Record {
    let setting = setting(plant);
    let cells: Vec<Cell> = (claim.cells)(&setting).unwrap().into_iter().filter(wanted).collect();
    assert!(!cells.is_empty(), "no such cell");
    let mut record = Record::default();
    for round in 0..rounds {
        for cell in &cells {
            let cell = Cell { millis, plant: setting.plant.clone(), ..cell.clone() };
            let answer = answer(&cell);
            assert_eq!(answer.status, Status::Ok, "{}: {:?}", cell.case, answer.reason);
            record.push(Line {
                schema: SCHEMA,
                cell,
                round,
                order: record.lines().len() as u32,
                seed: 0,
                started: String::new(),
                answer,
                flags: vec![],
                disturbance: None,
                unknown: Default::default(),
            });
        }
    }
    record
}

/// Kills the program in the middle of a cell, and waits until nobody of its group is left.
pub fn kill_in_the_middle(cell: &Cell) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = start_in(folder.path(), &Cell { millis: 3000, ..cell.clone() });
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none(), "{} ended before it was killed", cell.case);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(&format!("the end of {}", cell.case), || running(child.id()).is_empty());
}

fn start_pass(name: &str, plant: Option<&str>, out: &tempfile::TempDir) -> Child {
    let mut command = ipcost(&["claims", name, "--budget", "1s", "--format", "json", "--out"]);
    command.arg(out.path().join("results"));
    plant.into_iter().for_each(|word| {
        command.args(["--plant", word]);
    });
    command.spawn().expect("the comparer was built")
}

/// A pass over one claim with or without a planted effect; what was found, as JSON. No process outlives it.
pub fn pass(name: &str, plant: Option<&str>) -> Value {
    let out = tempfile::tempdir().unwrap();
    let child = start_pass(name, plant, &out);
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    wait_until("the end of all processes", || launched_by(pid) == 0);
    let mut all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let found = all[0].take();
    assert_eq!(found["claim"], name);
    found
}

/// Kills the launcher as soon as a cell runs; everything that it started must end.
pub fn a_killed_launcher_leaves_nothing(name: &str) {
    let out = tempfile::tempdir().unwrap();
    let mut child = start_pass(name, None, &out);
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

//! Single cells of claims through the built program, and what is left of a killed one.

use ipcost::claim::record::{Answer, Line, SCHEMA, Status};
use ipcost::claim::{Cell, Claim, Record, Setting};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a quick pass would measure here, with this effect planted.
pub fn setting(plant: Option<&str>) -> Setting {
    let cpus = ipcost::sys::cpu::allowed().unwrap();
    Setting { full: false, cpus, plant: plant.map(Into::into) }
}

/// Starts the program on one cell, in a process group of its own.
pub fn start(cell: &Cell) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ipcost"))
        .args(["claim-cell", "--parent", &std::process::id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A stack that overflows says so.
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", serde_json::to_string(cell).unwrap()).unwrap();
    child
}

/// Measures the cells of a quick pass that `wanted` chooses, each for `millis`, that many rounds; every launch must succeed.
pub fn measure(claim: &Claim, plant: Option<&str>, rounds: u32, millis: u64, wanted: impl Fn(&Cell) -> bool) -> Record {
    let setting = setting(plant);
    let cells: Vec<Cell> = (claim.cells)(&setting).unwrap().into_iter().filter(wanted).collect();
    assert!(!cells.is_empty(), "no such cell");
    let mut record = Record::default();
    for round in 0..rounds {
        for cell in &cells {
            let cell = Cell { millis, plant: setting.plant.clone(), ..cell.clone() };
            let output = start(&cell).wait_with_output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let answer: Answer = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}: {text:?}", cell.case));
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
            });
        }
    }
    record
}

/// Kills the program in the middle of a cell, and waits until nobody of its group is left.
pub fn kill_in_the_middle(cell: &Cell) {
    let mut child = start(&Cell { millis: 3000, ..cell.clone() });
    let group = child.id();
    std::thread::sleep(Duration::from_millis(500));
    child.kill().unwrap();
    child.wait().unwrap();
    let limit = Instant::now() + Duration::from_secs(10);
    while !running(group).is_empty() {
        assert!(Instant::now() < limit, "still there after {}: {:?}", cell.case, running(group));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes of a group that still run; a zombie does not.
fn running(group: u32) -> Vec<String> {
    let stats = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name may hold anything; state, parent and group follow its last parenthesis.
        let mut rest = text[text.rfind(')')? + 1..].split_whitespace();
        let (state, _, of) = (rest.next()?, rest.next()?, rest.next()?);
        (state != "Z" && of == group.to_string()).then_some(text)
    });
    stats.collect()
}

//! Runs of mechanisms through their own programs, and the processes of a run.

use super::program::{ATTEMPTS, CHARGED};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The program of a mechanism: they all lie beside the comparer.
pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_ipcost")).with_file_name(format!("ipc-{name}"))
}

pub fn run(name: &str, arguments: &[&str]) -> Output {
    Command::new(program(name)).args(arguments).stdin(Stdio::null()).output().expect("the program was built")
}

/// The outcome that a program prints, whatever it is. On a busy machine a short run may be disbelieved because the launcher
/// took too much of its time; that says nothing here, and it is run again.
pub fn outcome(name: &str, arguments: &[&str]) -> Value {
    let busy = |found: &Value| found["invalid"].as_str().is_some_and(|why| why.contains(CHARGED));
    let found = (0..ATTEMPTS).map(|_| outcome_once(name, arguments)).find(|found| !busy(found));
    found.unwrap_or_else(|| panic!("{name} {arguments:?}: the machine is too busy for any short run"))
}

fn outcome_once(name: &str, arguments: &[&str]) -> Value {
    let output = run(name, &[arguments, &["--format", "json"]].concat());
    let complaint = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{name} {arguments:?}: {e}: {complaint}"))
}

/// As [`outcome`], of a run that must succeed and account for `n` messages of `size` bytes.
pub fn carried(name: &str, n: u64, size: u64, arguments: &[&str]) -> Value {
    let (count, bytes) = (n.to_string(), size.to_string());
    let found = outcome(name, &[arguments, &["--messages", &count, "--size", &bytes]].concat());
    assert_eq!(found["status"], "ok", "{name} {arguments:?}: {found}");
    let verified = serde_json::json!({"messages": n, "bytes": n * size});
    assert_eq!((&found["messages"], &found["verified"]), (&n.into(), &verified), "{name} {arguments:?}: {found}");
    found
}

/// That a command line is refused with code 2 and one line about `clue`.
pub fn refused(name: &str, arguments: &[&str], clue: &str) {
    let output = run(name, arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{name} {arguments:?}: {text}");
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error")).collect();
    assert!(
        matches!(errors[..], [line] if line.contains(clue)),
        "{name} {arguments:?} says nothing of {clue:?}: {text}"
    );
}

/// Runs a plan with a planted fault in a cell of its own.
pub fn planted(name: &str, plan: &ipcost::plan::Plan) -> Value {
    let input = serde_json::to_string(plan).unwrap() + "\n";
    let mut command = assert_cmd::Command::new(program(name));
    let output = command.arg("cell").write_stdin(input).timeout(Duration::from_secs(30)).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{plan:?}: {e}"))
}

/// Processes below `pid`, with their names.
pub fn below(pid: u32) -> Vec<(u32, String)> {
    let children = |pid: u32| -> Vec<u32> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().map(|word| word.parse().unwrap()).collect()
    };
    let name = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_string();
    children(pid).into_iter().flat_map(|child| [vec![(child, name(child))], below(child)].concat()).collect()
}

pub fn until<R>(what: &str, mut found: impl FnMut() -> Option<R>) -> R {
    let start = std::time::Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

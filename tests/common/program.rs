//! The comparer as a program: starting it, and what it leaves running.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The comparer with these arguments, without a terminal.
pub fn ipcost(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipcost"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the comparer to its end.
pub fn run(args: &[&str]) -> Output {
    ipcost(args).output().expect("the comparer was built")
}

/// Why a run is disbelieved that a busy machine spoilt: what its host took away was charged to the launcher.
pub const CHARGED: &str = "the harness took";
/// Attempts at what a busy machine may spoil.
pub const ATTEMPTS: usize = 5;

/// A campaign into the folder `results`, which is not there yet. One that failed with a run that a busy machine spoilt says
/// nothing here, and is done again.
pub fn campaign(command: &mut Command, results: &Path) -> Output {
    let spoilt = || fs::read_to_string(results.join("cells.jsonl")).is_ok_and(|text| text.contains(CHARGED));
    for attempt in 1.. {
        let output = command.output().expect("the comparer was built");
        if output.status.success() || attempt == ATTEMPTS || !spoilt() {
            return output;
        }
        fs::remove_dir_all(results).expect("the folder of a campaign that has ended");
    }
    unreachable!("the last attempt is judged")
}

/// What a program said on standard error.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits for what must happen, on the slowest machine too.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How many processes the launcher `parent` has launched, theirs included and zombies excepted.
pub fn launched_by(parent: u32) -> usize {
    let mine = format!("--parent\0{parent}\0");
    let processes = fs::read_dir("/proc").expect("there is a /proc");
    let cmdlines = processes.flatten().filter_map(|p| fs::read_to_string(p.path().join("cmdline")).ok());
    cmdlines.filter(|cmdline| cmdline.contains(&mine)).count()
}

/// The processes of a group that still run; a zombie does not. Source: proc_pid_stat(5).
pub fn running(group: u32) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let stats = processes.filter_map(|entry| {
        let text = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name may hold anything; state, parent and group follow its last parenthesis.
        let mut rest = text[text.rfind(')')? + 1..].split_whitespace();
        let (state, _, of) = (rest.next()?, rest.next()?, rest.next()?);
        (state != "Z" && of == group.to_string()).then_some(text)
    });
    stats.collect()
}

/// Sends a signal to a child that still runs.
pub fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).expect("it still runs");
}

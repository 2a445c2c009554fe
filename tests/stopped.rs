//! Parties that are stopped in their sleep, as by Ctrl-Z or a debugger, and go on. Nothing here asserts a time.
//!
//! signal(7): some calls that sleep are ended by that with EINTR, whether or not anybody has a handler.

mod common;

use common::cells::{below, program, until};
use ipcost::plan::{Parties, WaitKind};
use ipcost::transport;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(180);
/// Runs at the same time: their consumers sleep nearly always, and their producers give the CPU away.
const AT_ONCE: usize = 4;

/// A run in which messages come rarely.
fn rare(name: &str, wait: WaitKind) -> Child {
    let mut command = Command::new(program(name));
    command.args([
        "offered-load",
        "--rate",
        "200",
        "--duration",
        "1s",
        "--placement",
        "unpinned",
        "--wait",
        wait.word(),
    ]);
    command.args(["--format", "json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Stops and continues the parties of the run at moments of no particular kind.
fn disturb(run: &Child) {
    // The cell and the other party, which is its child.
    let parties = until("two parties run", || {
        let parties: Vec<_> = below(run.id()).into_iter().map(|(pid, _)| Pid::from_raw(pid as i32)).collect();
        (parties.len() == 2).then_some(parties)
    });
    for _ in 0..20 {
        for signal in [Signal::SIGSTOP, Signal::SIGCONT] {
            // One that has ended by now is nobody's worry.
            parties.iter().for_each(|party| _ = kill(*party, signal));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn parties_that_are_stopped_in_their_sleep_go_on_and_lose_nothing() {
    common::watched(LIMIT, || {
        let usable = transport::ALL.iter().filter(|runner| runner.usable().is_ok()).map(|runner| runner.spec());
        let two = usable.filter(|spec| !spec.patterns.is_empty() && spec.parties.contains(&Parties::Process));
        let sleeping = |wait: &WaitKind| matches!(wait, WaitKind::Block | WaitKind::Poll | WaitKind::Epoll);
        let all: Vec<_> = two
            .flat_map(|spec| spec.waits.iter().filter(|wait| sleeping(wait)).map(move |wait| (spec.name, *wait)))
            .collect();
        assert!(all.len() > 20, "{all:?}");
        for some in all.chunks(AT_ONCE) {
            let runs: Vec<_> = some.iter().map(|(name, wait)| rare(name, *wait)).collect();
            runs.iter().for_each(disturb);
            for (run, (name, wait)) in runs.into_iter().zip(some) {
                let output = run.wait_with_output().unwrap();
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                let found: Value =
                    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{name}: {e}: {text}"));
                let reason = found["reason"].as_str().unwrap_or_default();
                if found["status"] == "unsupported" {
                    eprintln!("left out: {name} {wait:?}: {reason}");
                    continue;
                }
                assert_eq!(found["status"], "ok", "{name} {wait:?}: {found}");
                assert_eq!(found["verified"]["messages"], found["messages"], "{name} {wait:?}: {found}");
            }
        }
    });
}

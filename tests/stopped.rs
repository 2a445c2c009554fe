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
/// Runs at the same time.
const AT_ONCE: usize = 2;
/// Long enough for the other party to fill the channel, or to empty it, and to sleep.
const MOMENT: Duration = Duration::from_millis(5);

fn stream(name: &str, wait: WaitKind) -> Child {
    let mut command = Command::new(program(name));
    command.args(["stream", "--duration", "500ms", "--placement", "unpinned", "--wait", wait.word()]);
    command.args(["--format", "json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The cell and the other party, which is its child; none where the run ended before there were two.
fn parties(run: &mut Child) -> Option<[Pid; 2]> {
    until("two parties run", || {
        let all: Vec<_> = below(run.id()).into_iter().map(|(pid, _)| Pid::from_raw(pid as i32)).collect();
        let both = <[Pid; 2]>::try_from(all).ok();
        (both.is_some() || run.try_wait().unwrap().is_some()).then_some(both)
    })
}

/// Stops one party of the run, so that the other one sleeps, and stops that one in its sleep; then the other way round.
/// Whether there were two.
fn disturb(run: &mut Child) -> bool {
    let Some(parties) = parties(run) else { return false };
    // One that has ended by now is nobody's worry.
    let tell = |party: Pid, signal: Signal| _ = kill(party, signal);
    for round in 0..40 {
        let [idle, asleep] = if round % 2 == 0 { parties } else { [parties[1], parties[0]] };
        tell(idle, Signal::SIGSTOP);
        std::thread::sleep(MOMENT);
        tell(asleep, Signal::SIGSTOP);
        tell(asleep, Signal::SIGCONT);
        std::thread::sleep(MOMENT);
        tell(idle, Signal::SIGCONT);
    }
    true
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
        let mut disturbed = 0;
        for some in all.chunks(AT_ONCE) {
            let mut runs: Vec<_> = some.iter().map(|(name, wait)| stream(name, *wait)).collect();
            disturbed += std::thread::scope(|scope| {
                let beside: Vec<_> = runs.iter_mut().map(|run| scope.spawn(|| disturb(run))).collect();
                beside.into_iter().map(|one| usize::from(one.join().unwrap())).sum::<usize>()
            });
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
        assert!(2 * disturbed > all.len(), "of {} runs only {disturbed} had two parties to stop", all.len());
    });
}

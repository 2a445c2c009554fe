//! One fresh launch of one cell, watched until its deadline.
//!
//! Key decision: the orchestrator re-executes its own binary with the hidden command `cell`, hands it the plan on standard
//! input and reads one line of JSON from its standard output. The cell leads a process group of its own, so that Ctrl-C
//! reaches the orchestrator only and a deadline ends cell and peer together; if the orchestrator dies, the kernel kills
//! the cell and, in turn, its peer. Rejected: forking the cell from the orchestrator, which has threads.

use super::surroundings::{self, Surroundings};
use crate::cell::{Outcome, Status};
use crate::error::{Context, Error, Phase, Result};
use crate::machine;
use crate::names::janitor;
use crate::plan::{Plan, Span, Workload};
use crate::sys::stat::Stat;
use crate::sys::{clock, cpu, process, sysv};
use rustix::event::{PollFd, PollFlags, poll};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Set when a signal asked the whole program to stop.
pub static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// Process group of the running cell, or 0.
static RUNNING: AtomicU32 = AtomicU32::new(0);
/// When it was started, as [`Stat::start`] counts.
static SINCE: AtomicU64 = AtomicU64::new(0);
/// Folders in which cells were told to make their files.
static FOLDERS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Marks the program as interrupted and ends the running cell; for signal handling threads.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
    match RUNNING.load(Ordering::SeqCst) {
        0 => {}
        group => end_group(group, true),
    }
}

/// How long a run of this plan may take before it counts as hanging: ten times its length and some seconds for slow
/// machines.
pub fn deadline_for(plan: &Plan) -> Duration {
    match plan.span {
        // A campaign that somebody edited may hold any number.
        Span::Millis(ms) => Duration::from_millis(ms.saturating_mul(10)) + Duration::from_secs(10),
        Span::Messages(n) => {
            // A slow mechanism takes about 100 us a message, and large ones about 1 ns a byte and copy.
            let each = (plan.size as u64).saturating_mul(20).saturating_add(400_000);
            let each = match (plan.workload, plan.offered.and_then(|offered| offered.rate)) {
                (Workload::OfferedLoad, Some(rate)) => each.saturating_add(2_000_000_000 / rate.max(1)),
                // The points of a sweep take 30 times as long as a stream together: the sum of 1 / 10 %, 1 / 20 % ...
                (Workload::OfferedLoad, None) => each.saturating_mul(32),
                _ => each,
            };
            Duration::from_nanos(n.saturating_mul(each)) + Duration::from_secs(10)
        }
    }
}

/// The command that runs a cell: this very program.
pub fn cell_command() -> Command {
    own_command("cell")
}

/// This very program with one of its hidden commands, which dies with the caller.
pub fn own_command(name: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(name).arg("--parent").arg(std::process::id().to_string());
    command
}

/// Runs one cell and returns its outcome, whatever became of it.
pub fn launch(plan: &Plan, deadline: Duration) -> Outcome {
    // Wrong CPUs are the cell's to report.
    let allowed = cpu::allowed().unwrap_or_default();
    let cpus = plan.cpus(&allowed).ok().flatten().unwrap_or(allowed);
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).extend(plan.dir.clone());
    let watch = machine::Watch::start();
    let surroundings = Surroundings::look(cpus);
    match ask_timed::<Outcome>(cell_command(), plan, deadline) {
        Ok((mut outcome, harness)) => {
            surroundings::enter(&mut outcome, surroundings.since(harness));
            watch.changes().iter().for_each(|change| surroundings::changed(&mut outcome, change));
            outcome
        }
        Err(error) => Outcome::from_error(plan, &error),
    }
}

/// Starts a cell and makes it known to [`interrupt`].
///
/// # Errors
/// What fork(2) and execve(2) say.
pub(super) fn start(mut command: Command) -> Result<Child> {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context(Phase::Launch, "cannot start a cell")?;
    // It has not been waited for: even if it has ended, its zombie says when it started.
    SINCE.store(Stat::of(child.id()).map_or(u64::MAX, |stat| stat.start), Ordering::SeqCst);
    RUNNING.store(child.id(), Ordering::SeqCst);
    if INTERRUPTED.load(Ordering::SeqCst) {
        process::kill_group(child.id());
    }
    Ok(child)
}

/// Waits for a started cell, ends whoever is left of it, and forgets it.
pub(super) fn finish(child: &mut Child) -> io::Result<ExitStatus> {
    let status = child.wait();
    // Whoever is left of the group has no purpose any more.
    end_group(child.id(), !status.as_ref().is_ok_and(|status| status.code().is_some()));
    RUNNING.store(0, Ordering::SeqCst);
    status
}

/// Kills the group of a cell and removes what outlives it, which the cell could not do itself if it was killed. The leader
/// may be gone and its peers be known to nobody any more; a System V object names them, so what is looked at is whether all
/// who used it have ended. Names are looked for only if somebody was killed, which takes a look into some folders; they say
/// whose they are, and those of processes that started before the cell did are not ours to remove.
fn end_group(leader: u32, killed: bool) {
    let rest = process::kill_group(leader);
    if rest {
        process::wait_group(leader, Duration::from_secs(2));
    }
    sysv::remove_abandoned();
    if rest || killed {
        let folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        janitor::sweep_after(SINCE.load(Ordering::SeqCst), folders);
    }
}

/// Launches one of the program's own commands, hands it its order as a line of JSON and reads its answer.
///
/// # Errors
/// `failed` when it cannot be started or ends without an answer, with what it complained about; `timeout`.
pub fn ask<T: DeserializeOwned>(command: Command, order: &impl Serialize, deadline: Duration) -> Result<T> {
    ask_timed(command, order, deadline).map(|(answer, _)| answer)
}

/// As [`ask`], with the CPU and the wall time of the harness while it waited for the answer, ns.
pub(crate) fn ask_timed<T: DeserializeOwned>(
    command: Command,
    order: &impl Serialize,
    deadline: Duration,
) -> Result<(T, (u64, u64))> {
    let order = serde_json::to_string(order).context(Phase::Launch, "cannot write down the order")?;
    let mut child = start(command)?;
    let result = converse(&mut child, &order, deadline);
    if result.is_err() {
        process::kill_group(child.id());
    }
    let status = finish(&mut child);
    let (answer, harness) = result?;
    if let Ok(answer) = serde_json::from_str(&answer) {
        return Ok((answer, harness));
    }
    let mut complaint = String::new();
    if let Some(stderr) = &mut child.stderr {
        let _ = stderr.take(2000).read_to_string(&mut complaint);
    }
    let how = match status {
        Ok(status) => match status.signal() {
            Some(signal) => format!("the cell was killed by signal {signal}"),
            None => format!("the cell ended with {status} and without a result"),
        },
        Err(error) => format!("the cell could not be waited for: {error}"),
    };
    let (error, complaint) = (Error::failed(Phase::Launch, how), complaint.trim().replace('\n', " "));
    // Whoever is killed says nothing.
    Err(if complaint.is_empty() { error } else { error.because(complaint) })
}

/// Sends the order and reads the answer to its end. The cell runs between the two, and what the harness took is what it took
/// then. Rejected: counting the sending and the reading, too. A hypervisor that takes the CPU away in the middle of them, when
/// no message is under way, charged milliseconds to the harness and ended the belief in runs that nothing had happened to.
fn converse(child: &mut Child, order: &str, deadline: Duration) -> Result<(String, (u64, u64))> {
    let lost = |what: &str| Error::failed(Phase::Launch, format!("the cell {what}"));
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "{order}").map_err(|error| lost("does not listen").because(error))?;
    }
    let mut stdout = child.stdout.take().ok_or_else(|| lost("has no standard output"))?;
    let end = clock::now().saturating_add(deadline.as_nanos() as u64);
    read_until(&mut stdout, end).map_err(|error| match error.kind() {
        ErrorKind::TimedOut => {
            Error::timeout(Phase::Launch, format!("no result within {:.0} s", deadline.as_secs_f64()))
                .hint("the mechanism hangs, or the run is too long for this machine")
        }
        _ => lost("cannot be read").because(error),
    })
}

/// Waits until there is something to read or the stream has ended, `TimedOut` at `end`; the CPU and the wall time of this
/// program meanwhile, ns.
fn wait_for(stream: &impl AsFd, end: u64) -> io::Result<(u64, u64)> {
    let (cpu, wall) = (clock::process_cpu(), clock::now());
    loop {
        let left = clock::timespec(Duration::from_nanos(end.saturating_sub(clock::now())));
        match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(ErrorKind::TimedOut.into()),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok((clock::process_cpu() - cpu, clock::now() - wall)),
        }
    }
}

/// Reads to the end of the stream, or fails with `TimedOut` at `end`; what was read, and what [`wait_for`] its beginning says.
fn read_until(stream: &mut (impl Read + AsFd), end: u64) -> io::Result<(String, (u64, u64))> {
    let harness = wait_for(stream, end)?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16384];
    loop {
        match stream.read(&mut chunk)? {
            0 => return String::from_utf8(bytes).map(|text| (text, harness)).map_err(io::Error::other),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
        wait_for(stream, end)?;
    }
}

/// Whether an outcome is the kind that makes a command exit with 1.
pub fn is_failure(outcome: &Outcome) -> bool {
    matches!(outcome.status, Status::Failed | Status::Timeout | Status::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Offered;
    use std::os::unix::net::UnixStream;
    use std::thread;

    #[test]
    fn what_the_harness_takes_while_it_waits_is_counted() {
        let (ours, mut cells) = UnixStream::pair().unwrap();
        let (cpu, wall) = thread::scope(|scope| {
            scope.spawn(|| {
                let before = clock::process_cpu();
                while clock::process_cpu() - before < 50_000_000 {}
                cells.write_all(b"an answer").unwrap();
            });
            wait_for(&ours, clock::now() + 60_000_000_000).unwrap()
        });
        // The other thread may have begun before the wait did.
        assert!(cpu > 10_000_000 && wall > 0, "{cpu} ns of {wall} ns");
        assert_eq!(wait_for(&cells, clock::now() + 1).unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_load_that_is_offered_slowly_has_time_for_its_schedule() {
        let plan = |rate| Plan {
            workload: Workload::OfferedLoad,
            offered: Some(Offered { rate, ..Offered::default() }),
            span: Span::Messages(1000),
            ..Plan::default()
        };
        assert!(deadline_for(&plan(Some(1))) > Duration::from_secs(1000));
        let stream = Plan { workload: Workload::Stream, ..plan(None) };
        assert!(deadline_for(&plan(None)) > deadline_for(&stream));
    }
}

//! The traced run itself: the cell is launched under the tracer, every call is counted in the window in which it was left, and
//! the parties are told apart by their marks.

use super::{Mapping, Moved, Trace};
use crate::campaign::launch::{cell_command, finish, start};
use crate::cell::{Outcome, Status};
use crate::error::{Context, Error, Phase, Result};
use crate::plan::{Parties, Plan};
use crate::sys::trace::{self, Call, Stop, Way};
use crate::sys::{cpu, process};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::Child;
use std::sync::mpsc;
use std::time::Duration;

/// Calls and bytes of one window.
#[derive(Debug, Default)]
struct Tally {
    calls: BTreeMap<u64, u64>,
    bytes: BTreeMap<(Way, u64), u64>,
}

/// Windows of the traced conductor: one message, `n`, `2n`.
const WINDOWS: usize = 3;

/// What is known of a traced thread.
#[derive(Debug, Default)]
struct Task {
    entered: Option<Call>,
    marks: usize,
    windows: [Tally; WINDOWS],
    pid: u32,
    maps: Vec<Mapping>,
}

impl Task {
    /// Takes note of a finished call; true when it opened the last window.
    fn left(&mut self, value: Option<u64>) -> bool {
        let Some(call) = self.entered.take() else { return false };
        if trace::is_mark(call) {
            self.marks += 1;
            return self.marks == 2 * WINDOWS - 1;
        }
        if self.marks % 2 == 1
            && let Some(window) = self.windows.get_mut(self.marks / 2)
        {
            *window.calls.entry(call.number).or_default() += 1;
            for (way, through, bytes) in value.map(|value| trace::moved(call, value)).unwrap_or_default() {
                *window.bytes.entry((way, through)).or_default() += bytes;
            }
        }
        false
    }

    fn calls(&self, n: u64) -> BTreeMap<String, f64> {
        let [_, once, twice] = &self.windows;
        let cost = |(number, count): (&u64, &u64)| {
            let slope = slope(*count, once.calls.get(number).copied(), n);
            (slope > 0.0).then(|| (trace::name(*number).into_owned(), slope))
        };
        twice.calls.iter().filter_map(cost).collect()
    }

    fn moved(&self, n: u64) -> Moved {
        let [_, once, twice] = &self.windows;
        let each = |way: Way| {
            let of_way = twice.bytes.iter().filter(move |((w, _), _)| *w == way);
            of_way.map(|(key, bytes)| slope(*bytes, once.bytes.get(key).copied(), n).max(0.0))
        };
        let most = |way| each(way).fold(0.0, f64::max);
        // Not `sum`, which makes -0 of nothing.
        let all = |way| each(way).fold(0.0, |sum, bytes| sum + bytes);
        Moved { out: all(Way::Out), into: all(Way::In), most_out: most(Way::Out), most_in: most(Way::In) }
    }
}

fn slope(twice: u64, once: Option<u64>, n: u64) -> f64 {
    (twice as f64 - once.unwrap_or(0) as f64) / n as f64
}

/// Launches the cell under a tracer and counts what a message costs it, over windows of `n` and `2n` messages.
///
/// # Errors
/// `unsupported` where tracing is not permitted, `timeout` after `limit`, and what the cell says.
pub fn trace(plan: &Plan, n: u64, limit: Duration) -> Result<Trace> {
    // A thread of its own: it waits for all its children, so it must have no others, and it is pinned.
    std::thread::scope(|scope| scope.spawn(|| try_trace(plan, n.max(1), limit)).join())
        .unwrap_or_else(|_| Err(Error::failed(Phase::Launch, "the tracer panicked")))
}

fn try_trace(plan: &Plan, n: u64, limit: Duration) -> Result<Trace> {
    let mut command = cell_command();
    command.arg("--traced").arg(n.to_string());
    let mut child = start(command)?;
    let id = child.id();
    // Beside the parties of one CPU: waking a tracer on an idle CPU made a stop three times slower on a virtual machine.
    if let Ok([.., last]) = cpu::allowed().as_deref() {
        let _ = cpu::pin(*last);
    }
    // The end of the channel, whichever way it comes, releases the watchman.
    let (watched, over) = mpsc::channel::<()>();
    let watchman = std::thread::spawn(move || {
        let late = over.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            process::kill_group(id);
        }
        late
    });
    let found = watch(&mut child, plan);
    if found.is_err() {
        process::kill_group(id);
    }
    let _ = finish(&mut child);
    drop(watched);
    if watchman.join().unwrap_or(false) {
        let slow = format!("the traced run did not end within {:.1} s", limit.as_secs_f64());
        return Err(Error::timeout(Phase::Launch, slow));
    }
    let found = found?;
    let outcome = answer(&mut child)?;
    let why = outcome.reason.clone().unwrap_or_default();
    match outcome.status {
        Status::Ok => {}
        Status::Unsupported => return Err(Error::unsupported(why)),
        _ => return Err(Error::failed(Phase::Launch, "the traced run has no result").because(why)),
    }
    summed(plan, n, id, found, outcome)
}

fn answer(child: &mut Child) -> Result<Outcome> {
    let lost = "the traced cell gave no result";
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text).context(Phase::Launch, lost)?;
    }
    serde_json::from_str(&text).context(Phase::Launch, lost)
}

/// Everything that the tracer saw.
#[derive(Debug, Default)]
struct Sight {
    tasks: BTreeMap<u32, Task>,
    one_memory: Option<bool>,
}

/// Traces the cell, which waits for its plan, to its end.
fn watch(child: &mut Child, plan: &Plan) -> Result<Sight> {
    trace::seize(child.id()).map_err(|error| {
        Error::unsupported("cannot trace a cell")
            .because(error)
            .hint("allow ptrace: kernel.yama.ptrace_scope below 3, in a container a seccomp profile that permits it")
    })?;
    let mut text = serde_json::to_string(plan).context(Phase::Launch, "cannot write down the plan")?;
    text.push('\n');
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes()).context(Phase::Launch, "the traced cell does not listen")?;
    }
    let mut sight = Sight::default();
    let cannot = "cannot follow the traced cell";
    while let Some((tid, stop)) = trace::next().context(Phase::Launch, cannot)? {
        let mut signal = None;
        match stop {
            Stop::Enters(call) => sight.tasks.entry(tid).or_default().entered = Some(call),
            Stop::Leaves(value) => sight.left(tid, value),
            Stop::Pauses(with) => signal = with,
            Stop::Ends => continue,
        }
        trace::resume(tid, signal).context(Phase::Launch, cannot)?;
    }
    Ok(sight)
}

impl Sight {
    fn left(&mut self, tid: u32, value: Option<u64>) {
        if !self.tasks.entry(tid).or_default().left(value) {
            return;
        }
        // The task stands still inside its last window: what it maps now is what it works with.
        let (pid, maps) = (process_of(tid).unwrap_or(0), shared_mappings(tid));
        let other = self.tasks.iter().find(|(other, task)| **other != tid && task.pid != 0).map(|(other, _)| *other);
        if let Some(other) = other {
            self.one_memory = trace::same_memory(tid, other).ok();
        }
        let task = self.tasks.entry(tid).or_default();
        (task.pid, task.maps) = (pid, maps);
    }
}

/// The process that a thread belongs to.
fn process_of(tid: u32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

fn shared_mappings(tid: u32) -> Vec<Mapping> {
    let text = std::fs::read_to_string(format!("/proc/{tid}/maps")).unwrap_or_default();
    text.lines().filter_map(shared_mapping).collect()
}

/// A line of `/proc/PID/maps`, if it is shared and can be read: address, permissions, offset, device, inode.
fn shared_mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.split_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let (device, inode) = (fields.nth(1)?, fields.next()?);
    let place = |text| u64::from_str_radix(text, 16).ok();
    let bytes = place(to)? - place(from)?;
    let writable = permissions.starts_with("rw-s");
    (writable || permissions == "r--s").then(|| Mapping { object: format!("{device}:{inode}"), bytes, writable })
}

fn summed(plan: &Plan, n: u64, leader: u32, sight: Sight, outcome: Outcome) -> Result<Trace> {
    let mut trace = Trace { one_memory: sight.one_memory, notes: outcome.notes, ..Trace::empty(plan, n) };
    let mut parties: Vec<(u32, Task)> = sight.tasks.into_iter().filter(|(_, t)| t.marks == 2 * WINDOWS).collect();
    parties.sort_by_key(|(tid, _)| *tid != leader);
    let expected = if plan.parties == Parties::Solo { 1 } else { 2 };
    if parties.len() != expected {
        let what = format!("{} of {expected} parties marked their windows", parties.len());
        return Err(Error::failed(Phase::Audit, what));
    }
    for (tid, task) in parties {
        trace.calls.push(task.calls(n));
        trace.bytes.push(task.moved(n));
        trace.tids.push(tid);
        trace.pids.push(task.pid);
        trace.maps.push(task.maps);
    }
    if trace.pids != outcome.pids {
        let what = format!("the parties say that they are {:?} and the tracer saw {:?}", outcome.pids, trace.pids);
        return Err(Error::invalid(what));
    }
    Ok(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(calls: [(u64, u64); 2]) -> Task {
        let number = libc::SYS_futex as u64;
        let mut task = Task::default();
        for (window, (count, bytes)) in task.windows[1..].iter_mut().zip(calls) {
            window.calls.insert(number, count);
            window.bytes.insert((Way::Out, 4), bytes);
            window.bytes.insert((Way::Out, 7), 8);
        }
        task
    }

    #[test]
    fn what_a_window_costs_besides_its_messages_drops_out() {
        let task = task([(103, 6400), (203, 12800)]);
        assert_eq!(task.calls(100), BTreeMap::from([("futex".into(), 1.0)]));
        assert_eq!(task.moved(100), Moved { out: 64.0, into: 0.0, most_out: 64.0, most_in: 0.0 });
    }

    #[test]
    fn a_call_that_does_not_grow_with_the_messages_is_absent() {
        assert!(task([(3, 0), (3, 0)]).calls(100).is_empty());
        // Wake-ups come as they come: more of them in the shorter window are no message's either.
        let fewer = task([(6, 48), (3, 24)]);
        assert!(fewer.calls(100).is_empty());
        assert_eq!(fewer.moved(100), Moved::default());
    }

    #[test]
    fn only_shared_mappings_count() {
        let line = "7f00aa000000-7f00aa100000 rw-s 00000000 00:01 1031 /memfd:ipcost (deleted)";
        let found = Mapping { object: "00:01:1031".into(), bytes: 1 << 20, writable: true };
        assert_eq!(shared_mapping(line), Some(found.clone()));
        assert_eq!(shared_mapping(&line.replace("rw-s", "r--s")), Some(Mapping { writable: false, ..found }));
        assert_eq!(shared_mapping(&line.replace("rw-s", "rw-p")), None);
        assert_eq!(shared_mapping(""), None);
    }
}

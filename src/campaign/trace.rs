//! One untimed launch of a cell under a tracer: which system calls a message costs, and what they move.
//!
//! Key decision: a run of its own. A traced call takes several microseconds more, so nothing is timed here and nothing of
//! it stands in `cells.jsonl`. Each party asks for its resource usage at both ends of a window, and these two calls are
//! the marks between which its calls count. The cell carries windows of `n` and `2n` messages, and what the second has
//! more than the first, divided by `n`, is the cost of a message: what a window costs besides drops out.
//!
//! What tracing changes: every call is slow, so a party that sleeps only when its peer is late finds it late more often.
//! Counts of calls that wait are those of such a peer; counts of calls that move payload do not depend on it.
//! Rejected: seccomp filters or eBPF (privileges), strace(1) (may be absent, and its text would have to be read).

use super::launch::{cell_command, finish, start};
use crate::cell::{Outcome, Status};
use crate::error::{Context, Error, Phase, Result};
use crate::lines::{self, Line, Unknown};
use crate::plan::{Pages, Parties, Placement, Plan, Several, Touch, Wait, Workload};
use crate::results::notebook;
use crate::sys::trace::{self, Call, Stop, Way};
use crate::sys::{cpu, process};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longest traced run.
pub const LIMIT: Duration = Duration::from_secs(3);
/// With less time left a traced run is not begun.
const SHORTEST: Duration = Duration::from_millis(100);
/// File of a results folder that holds the traces.
const TRACES: &str = "traces.jsonl";

/// Bytes per message that a party's system calls moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// From the party to the kernel.
    pub out: f64,
    /// From the kernel to the party.
    #[serde(rename = "in")]
    pub into: f64,
    /// Of `out`, what went through the one descriptor that took most: the payload, where a mechanism keeps its indices
    /// in descriptors of their own.
    pub most_out: f64,
    /// Of `in`, likewise.
    pub most_in: f64,
}

/// Memory that a party maps shared and writable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    /// Device and inode of what is mapped.
    pub object: String,
    /// Bytes.
    pub bytes: u64,
}

/// What a traced run showed. The row that it belongs to has the same first fields, up to `touch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Name of the mechanism.
    pub mechanism: String,
    /// Ping-pong or stream.
    pub workload: Workload,
    /// What there was more than one of.
    #[serde(flatten)]
    pub several: Several,
    /// Bytes per message.
    pub size: usize,
    /// How the parties waited.
    pub wait: Wait,
    /// Who they were.
    pub parties: Parties,
    /// Where, as it was asked for.
    pub placement: Placement,
    /// How much of a message was written and verified.
    pub touch: Touch,
    /// Whether a TCP connection was allowed to hold small messages back.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub nagle: bool,
    /// Pages of the ring, where they were chosen.
    #[serde(skip_serializing_if = "Pages::are_usual", default)]
    pub pages: Pages,
    /// Messages (round trips) by which the two compared windows differ.
    pub messages: u64,
    /// Per party: calls per message (round trip), by name. A call that does not grow with the messages is absent.
    pub calls: Vec<BTreeMap<String, f64>>,
    /// Per party.
    pub bytes: Vec<Moved>,
    /// Process of each party, leader first.
    pub pids: Vec<u32>,
    /// Thread of each party.
    pub tids: Vec<u32>,
    /// Why there is nothing of all this.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unavailable: Option<String>,
    /// Per party: what it mapped inside the window.
    #[serde(skip)]
    pub maps: Vec<Vec<Mapping>>,
    /// Whether the parties had one address space, where the kernel tells.
    #[serde(skip)]
    pub one_memory: Option<bool>,
    /// What the transport said of itself.
    #[serde(skip)]
    pub notes: BTreeMap<String, String>,
    /// What a line says besides.
    #[serde(flatten, skip_serializing)]
    pub unknown: Unknown,
}

impl Line for Trace {
    const SCHEMA: Option<u32> = None;

    fn schema(&self) -> Option<u32> {
        None
    }

    fn sample() -> Self {
        Self::empty(&Plan::default(), 0)
    }

    fn unknown(&self) -> &Unknown {
        &self.unknown
    }

    fn impossible(&self) -> Option<String> {
        let per_message = self.calls.iter().flatten().map(|(_, count)| *count);
        let negative = per_message.into_iter().find(|count| *count < 0.0);
        negative.map(|count| format!("field \"calls\" holds {count}, and nobody makes less than no calls"))
    }
}

impl Trace {
    /// What makes two traces the same cell.
    pub fn cell(&self) -> (&str, Workload, Several, usize, Wait, Parties, Placement, Touch, bool, Pages) {
        let Self { mechanism, workload, several, size, wait, parties, placement, touch, nagle, pages, .. } = self;
        (mechanism, *workload, *several, *size, *wait, *parties, *placement, *touch, *nagle, *pages)
    }

    fn empty(plan: &Plan, messages: u64) -> Self {
        Self {
            mechanism: plan.mechanism.clone(),
            workload: plan.workload,
            several: plan.several,
            size: plan.size,
            wait: plan.wait,
            parties: plan.parties,
            placement: plan.placement,
            touch: plan.touch,
            nagle: plan.nagle,
            pages: plan.pages,
            messages,
            calls: vec![],
            bytes: vec![],
            pids: vec![],
            tids: vec![],
            unavailable: None,
            maps: vec![],
            one_memory: None,
            notes: BTreeMap::new(),
            unknown: Unknown::new(),
        }
    }

    fn without(plan: &Plan, why: String) -> Self {
        Self { unavailable: Some(why), ..Self::empty(plan, 0) }
    }

    /// Calls per message of both parties together.
    pub fn calls_per_message(&self) -> Option<f64> {
        self.unavailable.is_none().then(|| self.calls.iter().flat_map(BTreeMap::values).sum())
    }
}

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
            of_way.map(|(key, bytes)| slope(*bytes, once.bytes.get(key).copied(), n))
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

/// A line of `/proc/PID/maps`, if it is shared and writable: address, permissions, offset, device, inode.
fn shared_mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.split_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let (device, inode) = (fields.nth(1)?, fields.next()?);
    let place = |text| u64::from_str_radix(text, 16).ok();
    let bytes = place(to)? - place(from)?;
    permissions.starts_with("rw-s").then(|| Mapping { object: format!("{device}:{inode}"), bytes })
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

/// Messages by which the windows of a traced run differ: enough for a twenty-fifth of a call to show, few megabytes, and
/// whole batches or windows.
pub fn messages_for(plan: &Plan) -> u64 {
    let fit = ((4 << 20) / plan.carried_size() as u64).clamp(10, 25);
    (fit * plan.several.batch() as u64).next_multiple_of(plan.several.outstanding())
}

/// Traces every unlabelled cell with two parties once, unless that was done before, and appends the results to a results
/// folder, until `limit` has passed or `interrupted` says so; cells that were not reached say that. What was unavailable
/// before is tried again. Returns how many traces there are now that were not there before.
///
/// # Errors
/// When the folder cannot be read or written.
pub fn all(cells: &[Plan], dir: &Path, limit: Duration, interrupted: &dyn Fn() -> bool) -> Result<usize> {
    let end = Instant::now() + limit;
    mend(dir)?;
    let ((known, _), mut fresh) = (read(dir)?, 0);
    let before = |cell: &Trace| known.iter().rfind(|trace| trace.cell() == cell.cell());
    let traced = |plan: &Plan| before(&Trace::empty(plan, 0)).is_some_and(|trace| trace.unavailable.is_none());
    // An offered load makes the calls of a stream, as many as its schedule leaves it.
    // Of more than two parties the tracer would have to know which is which.
    let carries = |workload: Workload| workload != Workload::OfferedLoad && !workload.has_peers();
    let one = |plan: &&Plan| carries(plan.workload) && plan.parties != Parties::Solo;
    for plan in cells.iter().filter(one).filter(|plan| plan.run.label.is_none() && !traced(plan)) {
        let left = end.saturating_duration_since(Instant::now());
        let found = match left {
            left if left < SHORTEST => Trace::without(plan, "the campaign's budget left no time for it".into()),
            left => trace(plan, messages_for(plan), LIMIT.min(left))
                .unwrap_or_else(|error| Trace::without(plan, error.to_string())),
        };
        if interrupted() {
            break;
        }
        if before(&found).is_none_or(|before| before.unavailable != found.unavailable) {
            fresh += usize::from(found.unavailable.is_none());
            append(dir, &found)?;
        }
    }
    Ok(fresh)
}

/// Removes a last line that was cut, so that the next one does not continue it.
fn mend(dir: &Path) -> Result<()> {
    let path = dir.join(TRACES);
    let Ok(text) = std::fs::read(&path) else { return Ok(()) };
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole == text.len() {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(&path);
    file.and_then(|file| file.set_len(whole as u64))
        .context(Phase::Report, format!("cannot remove the cut last line of {}", path.display()))
}

/// Appends one trace to a results folder.
///
/// # Errors
/// When the folder cannot be written.
pub fn append(dir: &Path, trace: &Trace) -> Result<()> {
    let then = format!("`ipcost compare --resume {}`", dir.display());
    notebook::append_to(&dir.join(TRACES), trace, &then)
}

/// The traces of a results folder; none where nothing was traced. A cut last line is ignored and said so.
///
/// # Errors
/// When a line in the middle cannot be read.
pub fn read(dir: &Path) -> Result<(Vec<Trace>, Option<String>)> {
    let path = dir.join(TRACES);
    // Bytes: a cut may lie within a character.
    let Ok(text) = std::fs::read(&path) else { return Ok((vec![], None)) };
    lines::read_all(&text, TRACES)
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
    }

    #[test]
    fn only_shared_writable_mappings_count() {
        let line = "7f00aa000000-7f00aa100000 rw-s 00000000 00:01 1031 /memfd:ipcost (deleted)";
        assert_eq!(shared_mapping(line), Some(Mapping { object: "00:01:1031".into(), bytes: 1 << 20 }));
        assert_eq!(shared_mapping(&line.replace("rw-s", "rw-p")), None);
        assert_eq!(shared_mapping(""), None);
    }

    #[test]
    fn traces_read_back_and_a_cut_last_line_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), (vec![], None));
        let trace = Trace::without(&Plan::default(), "not permitted".into());
        append(dir.path(), &trace).unwrap();
        let path = dir.path().join(TRACES);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{{\"mechanism\":")).unwrap();
        let (traces, remark) = read(dir.path()).unwrap();
        assert_eq!(traces, std::slice::from_ref(&trace));
        assert!(remark.is_some_and(|remark| remark.contains("is cut")));
        mend(dir.path()).unwrap();
        append(dir.path(), &trace).unwrap();
        assert_eq!(read(dir.path()).unwrap(), (vec![trace.clone(), trace], None));
        std::fs::write(&path, format!("nonsense\n{whole}")).unwrap();
        assert!(read(dir.path()).is_err());
    }
}

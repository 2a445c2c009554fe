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

mod file;
mod tracer;

pub use file::{all, append, messages_for, read};
pub use tracer::trace;

use crate::lines::{Line, Unknown};
use crate::plan::{Pages, Parties, Placement, Plan, Several, Touch, Wait, Workload};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest traced run.
pub const LIMIT: Duration = Duration::from_secs(3);

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

/// Memory that a party maps shared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    /// Device and inode of what is mapped.
    pub object: String,
    /// Bytes.
    pub bytes: u64,
    /// Whether the party may write there.
    pub writable: bool,
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

//! What one run found, as the journal keeps it.
//!
//! Key decision: one flat value with optional fields instead of one type for each workload: the journal is read by other
//! programs, to whom a field that is absent says the same in every line. Absent is never zero.

use crate::error::{Error, Kind};
use crate::lines::Unknown;
use crate::measure::floor;
use crate::measure::load::LoadPoint;
use crate::plan::{Offered, Pages, Parties, Plan, Plant, RunId, Several, Touch, Via, Wait, Workload};
use crate::sys::clock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the journal's lines.
pub const SCHEMA: u32 = 1;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Measured and believed.
    Ok,
    /// Measured and not believed.
    Invalid,
    /// Not possible here.
    Unsupported,
    /// Something broke.
    Failed,
    /// A deadline passed.
    Timeout,
}

/// Where the parties were meant to be and were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    /// The word on the command line.
    pub requested: crate::plan::Placement,
    /// The CPUs that it resolved to; absent when unpinned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpus: Option<Vec<usize>>,
    /// CPUs on which each party was seen.
    pub observed: Vec<Vec<usize>>,
    /// Moves between CPUs during the measured windows, per party, where the kernel tells.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub migrations: Vec<u64>,
}

/// Round trips in nanoseconds: the mean of the batch window, the rest of the stamped one. With several requests under
/// way the mean is that of one request by Little's law: the time per round trip times the requests under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rtt {
    /// Batch mean.
    pub mean: f64,
    /// Smallest stamped round trip.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub min: Option<u64>,
    /// Median.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p50: Option<u64>,
    /// 90th percentile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p90: Option<u64>,
    /// 99th percentile; absent with fewer than ten samples beyond it, like all of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99: Option<u64>,
    /// 99.9th percentile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p999: Option<u64>,
    /// Largest stamped round trip.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max: Option<u64>,
    /// Stamped mean, to compare with the batch mean.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stamped_mean: Option<f64>,
    /// Stamped samples as pairs of latency and count, two digits; merged over runs for a row's percentiles.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub histogram: Vec<(u64, u64)>,
}

/// Rates of the batch window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Throughput {
    /// Messages (round trips) per second.
    pub messages_per_s: f64,
    /// Payload bytes per second in one direction.
    pub bytes_per_s: f64,
}

/// CPU time in ns per message.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuCost {
    /// In user mode.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
}

/// Context switches per message.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// The party waited.
    pub voluntary: f64,
    /// The scheduler took the CPU.
    pub involuntary: f64,
}

/// Page faults in the batch window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faults {
    /// Without a device.
    pub minor: u64,
    /// With a device.
    pub major: u64,
}

/// What the receiving parties checked in the batch window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// Messages, each with the right sequence number, length and content.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The bare hand-over between the same parties right before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// Cache-line round trip before and after, ns; absent where both parties share a CPU.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub line_rtt_ns: Vec<f64>,
    /// Which hand-over fits this row's way of waiting.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<floor::Kind>,
    /// Its round trip before and after, ns.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub handover_rtt_ns: Vec<f64>,
    /// The row's mean round trip as a multiple of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub multiple: Option<f64>,
}

/// What others took while a run was under way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disturbance {
    /// CPU time that the hypervisor gave to others, on the CPUs of the run, ns; absent where the kernel does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub steal_ns: Option<u64>,
    /// CPU time of other programs on the CPUs of the run, ns, in steps of a clock tick.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub foreign_cpu_ns: Option<u64>,
    /// CPU time of the harness while it waited for the result, ns.
    pub harness_cpu_ns: u64,
    /// Length of that time.
    pub wall_ns: u64,
    /// How many CPUs the run could use: what others may take before it tells grows with them.
    #[serde(default)]
    pub cpus: usize,
}

/// One run's result: a line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of the mechanism.
    pub mechanism: String,
    /// What was done with it.
    pub workload: Workload,
    /// What there was more than one of.
    #[serde(flatten)]
    pub several: Several,
    /// Bytes per message.
    pub size: usize,
    /// How both parties waited.
    pub wait: Wait,
    /// Processes, threads, or one party.
    pub parties: Parties,
    /// How much of each message was written and verified.
    pub touch: Touch,
    /// Whether a TCP connection was allowed to hold small messages back.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub nagle: bool,
    /// Pages of the ring, where they were chosen.
    #[serde(skip_serializing_if = "Pages::are_usual", default)]
    pub pages: Pages,
    /// Planted delay in ns, when there was one.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub delay_ns: u64,
    /// Planted pause of the follower in ms, when there was one.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub stall_ms: u64,
    /// What was offered, if that was the workload.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offered: Option<Offered>,
    /// Planted fault, when there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plant: Option<Plant>,
    /// Where.
    pub placement: Placed,
    /// Position in the campaign.
    pub run: RunId,
    /// Messages (round trips) of the batch window.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub messages: u64,
    /// Payload bytes of the batch window in one direction.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub bytes: u64,
    /// Length of the batch window.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub elapsed_ns: u64,
    /// Round trips of a ping-pong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rtt_ns: Option<Rtt>,
    /// What each offered rate gave, by rising rate. With one rate its window is the batch window; in a sweep the batch
    /// window is the one that found the saturation.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub load: Vec<LoadPoint>,
    /// Through what a hub and its peers were connected.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub via: Option<Via>,
    /// How many messages of the batch window each peer (each pair) carried.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub shares: Vec<u64>,
    /// The smallest of these divided by the largest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fairness: Option<f64>,
    /// Rates.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub throughput: Option<Throughput>,
    /// Time to create the transport.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub setup_ns: Option<u64>,
    /// Time for the leader to let go of its side of the transport.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub teardown_ns: Option<u64>,
    /// Bytes in which messages lie on their way, both directions; what each end keeps for itself is not counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_bytes: Option<u64>,
    /// The cold first message (round trip).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first_message_ns: Option<u64>,
    /// Messages before the batch window.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub warm_up_messages: u64,
    /// Per party.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub cpu_ns_per_message: Vec<CpuCost>,
    /// Per party.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub switches_per_message: Vec<Switches>,
    /// Per party.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub faults: Vec<Faults>,
    /// Time for which each party was runnable without a CPU, ns, where the kernel tells.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub run_delay_ns: Vec<u64>,
    /// Per party.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub pids: Vec<u32>,
    /// Whether the second party saw what the leader wrote into private memory after the start.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub one_address_space: Option<bool>,
    /// What was checked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verified: Option<Verified>,
    /// What a hand-over costs at least.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub floor: Option<Floor>,
    /// The clock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub timer: Option<clock::Timer>,
    /// What others took meanwhile, as seen by whoever launched the run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disturbance: Option<Disturbance>,
    /// What the transport said of itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub notes: BTreeMap<String, String>,
    /// How it ended.
    pub status: Status,
    /// Reasons for doubt that do not make the run invalid.
    pub flags: Vec<String>,
    /// Why it is invalid.
    pub invalid: Option<String>,
    /// Why it has no result.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What a line of a journal says besides.
    #[serde(flatten, skip_serializing)]
    pub unknown: Unknown,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Outcome {
    /// An outcome without numbers.
    pub fn empty(plan: &Plan, status: Status) -> Self {
        let placement = Placed { requested: plan.placement, cpus: None, observed: vec![], migrations: vec![] };
        Self {
            schema: SCHEMA,
            mechanism: plan.mechanism.clone(),
            workload: plan.workload,
            several: plan.several,
            size: plan.size,
            wait: plan.wait,
            parties: plan.parties,
            touch: plan.touch,
            nagle: plan.nagle,
            pages: plan.pages,
            delay_ns: plan.delay_ns,
            plant: plan.plant,
            stall_ms: plan.stall_ms,
            offered: plan.offered.filter(|_| plan.workload == Workload::OfferedLoad),
            placement,
            run: plan.run.clone(),
            messages: 0,
            bytes: 0,
            elapsed_ns: 0,
            rtt_ns: None,
            load: vec![],
            via: None,
            shares: vec![],
            fairness: None,
            throughput: None,
            setup_ns: None,
            teardown_ns: None,
            memory_bytes: None,
            first_message_ns: None,
            warm_up_messages: 0,
            cpu_ns_per_message: vec![],
            switches_per_message: vec![],
            faults: vec![],
            run_delay_ns: vec![],
            pids: vec![],
            one_address_space: None,
            verified: None,
            floor: None,
            timer: None,
            disturbance: None,
            notes: BTreeMap::new(),
            status,
            flags: vec![],
            invalid: None,
            reason: None,
            unknown: Unknown::new(),
        }
    }

    /// The outcome of a run that ended in `error`.
    pub fn from_error(plan: &Plan, error: &Error) -> Self {
        let status = match error.kind() {
            Kind::Usage | Kind::Unsupported => Status::Unsupported,
            Kind::Failed => Status::Failed,
            Kind::Timeout => Status::Timeout,
            Kind::Invalid => Status::Invalid,
        };
        let mut outcome = Self::empty(plan, status);
        if status == Status::Invalid {
            outcome.invalid = Some(error.to_string());
        }
        outcome.reason = Some(error.to_string());
        outcome
    }

    /// The bare hand-over that was measured between the same parties before and after, ns: what nothing can beat that waits
    /// the same way.
    pub fn floor_ns(&self) -> Option<f64> {
        let rounds = &self.floor.as_ref()?.handover_rtt_ns;
        (!rounds.is_empty()).then(|| rounds.iter().sum::<f64>() / rounds.len() as f64)
    }

    /// Nanoseconds per message (round trip of a ping-pong) in the batch window.
    pub fn per_message_ns(&self) -> Option<f64> {
        (self.messages > 0).then(|| self.elapsed_ns as f64 / self.messages as f64)
    }
}

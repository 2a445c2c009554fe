//! What one run is to do: the words of a row's label, as types.
//!
//! Key decision: a plan is plain data that travels as one line of JSON from the orchestrator to the freshly launched cell
//! and from there into the journal, so that a row's label is by construction what ran. Each word parses from and prints
//! as the same text on the command line, in JSON and in tables.

mod numbers;
mod placement;
mod words;

pub use crate::shm::wait::Wait;
pub use numbers::{parse_millis, parse_rate, parse_size, show_rate, show_size};
pub use placement::{Placement, parse_cpus, parse_placement};
pub use words::{Arrivals, Parties, Plant, Touch, Via, WaitKind, Workload};

use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What [`Workload::OfferedLoad`] offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offered {
    /// Messages per second; absent means a sweep over shares of the saturation, which the run finds first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// In which rhythm.
    pub arrivals: Arrivals,
}

impl Default for Offered {
    fn default() -> Self {
        Self { rate: None, arrivals: Arrivals::Poisson }
    }
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate {
            Some(rate) => write!(f, "{}/s {}", show_rate(rate), self.arrivals),
            None => write!(f, "sweep {}", self.arrivals),
        }
    }
}

/// Of what a workload has several where the plain one has one. Absent means one, also in the journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Several {
    /// Requests that the leader of a ping-pong keeps under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outstanding: Option<u32>,
    /// Messages of a stream that travel as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// Peers of the hub, or pairs; of the workloads that have them, also where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<u32>,
}

/// Peers when nothing is said.
pub const PEERS: u32 = 4;
/// Most peers: more processes or threads than most machines have CPUs.
pub const MOST_PEERS: u32 = 64;

impl Several {
    /// Of all these, those that this workload can have.
    #[must_use]
    pub fn of(self, workload: Workload) -> Self {
        Self {
            outstanding: self.outstanding.filter(|_| workload == Workload::PingPong),
            batch: self.batch.filter(|_| workload == Workload::Stream),
            peers: self.peers.filter(|_| workload.has_peers()),
        }
    }

    /// Requests under way.
    pub fn outstanding(self) -> u64 {
        self.outstanding.map_or(1, u64::from)
    }

    /// Messages that travel as one.
    pub fn batch(self) -> usize {
        self.batch.map_or(1, |n| n as usize)
    }
}

impl fmt::Display for Several {
    /// The words behind a size in a label, each with a comma before it; nothing where all is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [("outstanding", self.outstanding), ("batch", self.batch), ("peers", self.peers)];
        named.iter().filter_map(|(name, n)| Some((name, (*n)?))).try_for_each(|(name, n)| write!(f, ", {name} {n}"))
    }
}

/// What the pages of a ring in shared memory are to be, beyond the usual. Part of a row's class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    /// Huge pages from the system's pool (`MFD_HUGETLB`).
    #[serde(default)]
    pub huge: bool,
    /// Mapped with all page tables filled (`MAP_POPULATE`).
    #[serde(default)]
    pub populate: bool,
}

impl Pages {
    /// Whether they are what everybody gets who does not ask.
    pub fn are_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match (self.huge, self.populate) {
            (false, false) => "usual pages",
            (true, false) => "huge pages",
            (false, true) => "populated pages",
            (true, true) => "populated huge pages",
        })
    }
}

/// How long a run lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Span {
    /// Exactly this many messages (round trips of a ping-pong) in each measured window.
    Messages(u64),
    /// About this many milliseconds for the whole run, set-up and warm-up included.
    Millis(u64),
}

impl Span {
    /// The time that it is meant to take; a count of messages does not say.
    pub fn planned(self) -> Duration {
        match self {
            Span::Messages(_) => Duration::ZERO,
            Span::Millis(ms) => Duration::from_millis(ms),
        }
    }
}

/// Where the run stands in its campaign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunId {
    /// Which complete block, from 0.
    pub round: u32,
    /// Position within the campaign, from 0.
    pub order: u32,
    /// Seed of the campaign's order.
    pub seed: u64,
    /// When it started, RFC 3339 in UTC.
    #[serde(default)]
    pub started: String,
    /// Second name of a cell that is run twice on purpose (the null pair, the known delay).
    #[serde(default)]
    pub label: Option<String>,
}

/// One run, completely described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the mechanism.
    pub mechanism: String,
    /// Ping-pong, stream or offered load.
    pub workload: Workload,
    /// What is offered, if the workload is an offered load; without it, a sweep with Poisson arrivals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<Offered>,
    /// What there is more than one of.
    #[serde(flatten)]
    pub several: Several,
    /// Bytes per message.
    pub size: usize,
    /// How both parties wait.
    pub wait: Wait,
    /// Processes or threads.
    pub parties: Parties,
    /// How much of each message is written and verified.
    pub touch: Touch,
    /// On which CPUs.
    pub placement: Placement,
    /// How long.
    pub span: Span,
    /// Where a mechanism that needs a file puts it.
    #[serde(default)]
    pub dir: Option<PathBuf>,
    /// Whether a TCP connection may hold small messages back (Nagle's algorithm).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nagle: bool,
    /// Pages of the ring, for the mechanism that can choose.
    #[serde(default, skip_serializing_if = "Pages::are_usual")]
    pub pages: Pages,
    /// Known delay before each reply, in ns: the positive control.
    #[serde(default)]
    pub delay_ns: u64,
    /// Pause of the follower, once, in the middle of each window that yields percentiles, in ms: shows which workload
    /// sees a stall and which one omits it.
    #[serde(default)]
    pub stall_ms: u64,
    /// Fault of the sending party, for the instrument's check of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plant: Option<Plant>,
    /// Where in the campaign.
    #[serde(default)]
    pub run: RunId,
}

impl Default for Plan {
    /// Two processes on two CPUs, a ping-pong of 64 bytes that blocks, a tenth of a second. No mechanism.
    fn default() -> Self {
        Self {
            mechanism: String::new(),
            workload: Workload::PingPong,
            offered: None,
            several: Several::default(),
            size: 64,
            wait: Wait::Block,
            parties: Parties::Process,
            touch: Touch::Whole,
            placement: Placement::CrossCpu,
            span: Span::Millis(100),
            dir: None,
            nagle: false,
            pages: Pages::default(),
            delay_ns: 0,
            stall_ms: 0,
            plant: None,
            run: RunId::default(),
        }
    }
}

impl Plan {
    /// What makes two runs the same cell: everything but the position in the campaign and the length of the run.
    pub fn cell_key(&self) -> String {
        let Plan { mechanism, workload, several, size, wait, parties, touch, placement, nagle, .. } = self;
        let Plan { delay_ns, stall_ms, .. } = self;
        let label = self.run.label.as_deref().unwrap_or("");
        let offered = self.offered.map(|offered| format!("{offered}/")).unwrap_or_default();
        let pages = if self.pages.are_usual() { String::new() } else { format!("{}/", self.pages) };
        let planted = format!("{delay_ns}/{stall_ms}");
        let nagle = if *nagle { "nagle/" } else { "" };
        let kind = format!("{placement}/{touch}/{nagle}{pages}");
        format!("{workload}/{offered}{size}{several}/{wait}/{kind}{mechanism}/{parties}/{planted}/{label}")
    }

    /// Peers of the hub, or pairs; none where two parties do it all.
    pub fn peers(&self) -> usize {
        self.several.peers.filter(|_| self.workload.has_peers()).map_or(0, |n| n as usize)
    }

    /// What to call the party of this number, counted from the first one beside the leader or hub.
    pub fn name_of(&self, index: usize) -> String {
        match self.workload {
            Workload::Pairs if index.is_multiple_of(2) => format!("the producer of pair {}", index / 2 + 1),
            Workload::Pairs => format!("the consumer of pair {}", index / 2 + 1),
            _ if self.workload.has_peers() => format!("peer {} of {}", index + 1, self.others()),
            _ => "the follower".into(),
        }
    }

    /// Parties beside the first one, which leads.
    pub fn others(&self) -> usize {
        match self.workload {
            Workload::Pairs => 2 * self.peers(),
            _ if self.workload.has_peers() => self.peers(),
            _ => 1,
        }
    }

    /// Parties that carry messages all the time. The hub of independent pairs sleeps.
    pub fn busy(&self) -> usize {
        self.others() + usize::from(self.workload != Workload::Pairs)
    }

    /// The CPU of each party, the leader's or hub's first, chosen from those this process may use; `None` leaves all of
    /// them to the scheduler.
    ///
    /// On CPUs of their own, peers are dealt over those that the hub leaves, and pairs, whose hub sleeps, over all.
    ///
    /// # Errors
    /// As [`Placement::resolve`].
    pub fn cpus(&self, allowed: &[usize]) -> Result<Option<Vec<usize>>> {
        let Some([hub, other]) = self.placement.resolve(allowed)? else { return Ok(None) };
        let pool = match (self.placement, self.workload) {
            (Placement::CrossCpu, Workload::Pairs) => allowed.to_vec(),
            (Placement::CrossCpu, _) => allowed.iter().copied().filter(|cpu| *cpu != hub).collect(),
            (_, Workload::Pairs) => vec![hub, other],
            _ => vec![other],
        };
        Ok(Some(std::iter::once(hub).chain(pool.into_iter().cycle().take(self.others())).collect()))
    }

    /// Bytes that the transport carries as one: a message, or a batch of them.
    pub fn carried_size(&self) -> usize {
        self.size.saturating_mul(self.several.batch())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_the_rhythm_and_nagles_algorithm_make_another_cell() {
        let cell = |rate, arrivals| Plan { offered: Some(Offered { rate, arrivals }), ..Plan::default() }.cell_key();
        let keys = [
            cell(None, Arrivals::Poisson),
            cell(Some(50_000), Arrivals::Poisson),
            cell(Some(50_000), Arrivals::Constant),
            Plan::default().cell_key(),
            Plan { nagle: true, ..Plan::default() }.cell_key(),
        ];
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len());
    }

    #[test]
    fn peers_are_dealt_over_the_cpus_that_the_hub_leaves_and_pairs_over_all() {
        let cpus = |workload, placement, allowed: &[usize]| {
            let several = Several { peers: Some(3), ..Several::default() };
            Plan { workload, several, placement, ..Plan::default() }.cpus(allowed).unwrap().unwrap()
        };
        let four = [4, 5, 6, 7];
        assert_eq!(cpus(Workload::FanIn, Placement::CrossCpu, &four), [4, 5, 6, 7]);
        assert_eq!(cpus(Workload::FanOut, Placement::CrossCpu, &four[..3]), [4, 5, 6, 5]);
        assert_eq!(cpus(Workload::Pairs, Placement::CrossCpu, &four), [4, 4, 5, 6, 7, 4, 5]);
        assert_eq!(cpus(Workload::Pairs, Placement::Cpus(6, 5), &four), [6, 6, 5, 6, 5, 6, 5]);
        assert_eq!(cpus(Workload::FanIn, Placement::Cpus(6, 5), &four), [6, 5, 5, 5]);
        assert_eq!(cpus(Workload::FanIn, Placement::SameCpu, &four), [7; 4]);
        assert_eq!(cpus(Workload::Stream, Placement::CrossCpu, &four), [4, 5]);
        let unpinned = Plan { workload: Workload::FanIn, placement: Placement::Unpinned, ..Plan::default() };
        assert_eq!(unpinned.cpus(&four).unwrap(), None);
    }

    #[test]
    fn what_there_is_several_of_makes_another_cell_and_one_is_absent() {
        let cell = |several| Plan { several, ..Plan::default() };
        let [window, batch] =
            [Several { outstanding: Some(4), ..Several::default() }, Several { batch: Some(4), ..Several::default() }];
        let keys = [window, batch, Several::default()].map(|several| cell(several).cell_key());
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "{keys:?}");
        for several in [window, batch, Several::default()] {
            let line = serde_json::to_string(&cell(several)).unwrap();
            assert_eq!(serde_json::from_str::<Plan>(&line).unwrap(), cell(several));
            assert_eq!(line.contains("outstanding"), several.outstanding.is_some(), "{line}");
        }
        assert_eq!((window.to_string().as_str(), cell(batch).carried_size()), (", outstanding 4", 256));
    }

    #[test]
    fn every_word_reads_back_as_itself() {
        let waits = WaitKind::ALL.iter().map(|kind| kind.typical()).chain([Wait::Hybrid(7)]);
        for wait in waits {
            assert_eq!(wait.to_string().parse::<Wait>().unwrap(), wait);
        }
        for place in [Placement::SameCpu, Placement::CrossCpu, Placement::Unpinned, Placement::Cpus(3, 17)] {
            assert_eq!(place.to_string().parse::<Placement>().unwrap(), place);
        }
        for parties in Parties::ALL {
            assert_eq!(parties.word().parse::<Parties>().unwrap(), *parties);
        }
    }
}

//! What one run is to do: the words of a row's label, as types.
//!
//! Key decision: a plan is plain data that travels as one line of JSON from the orchestrator to the freshly launched cell
//! and from there into the journal, so that a row's label is by construction what ran. Each word parses from and prints
//! as the same text on the command line, in JSON and in tables.

use crate::error::{Error, Result};
pub use crate::shm::wait::Wait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Gives an enum of plain words `Display`, `FromStr`, serde as text, and a list of all its words.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant),+ }
        impl $name {
            /// Every value, in the order in which tables show them.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// The word for it, as on the command line.
            pub const fn word(self) -> &'static str { match self { $($name::$variant => $word),+ } }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($word => Ok($name::$variant),)+
                    _ => Err(unknown(stringify!($name), text, &[$($word),+])),
                }
            }
        }
        text_form!($name);
    };
}

/// `Display` through `word` or a `match`, and serde through `Display` and `FromStr`.
macro_rules! text_form {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
        serde_as_text!($name);
    };
}

macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

fn unknown(what: &str, text: &str, words: &[&str]) -> Error {
    Error::usage(format!("{text:?} is no {}", what.to_lowercase())).hint(format!("choose from {}", words.join(", ")))
}

words! {
    /// Who the two ends are.
    Parties {
        /// Two processes: fork of a fresh single-threaded cell.
        Process = "process",
        /// Two threads of one process.
        Thread = "thread",
        /// One party that does both halves: the controls.
        Solo = "solo",
    }
}

words! {
    /// What the parties do with the transport.
    Workload {
        /// A message each way, one at a time: the round trip.
        PingPong = "ping-pong",
        /// One direction, as fast as it goes: throughput.
        Stream = "stream",
        /// One direction at times that nothing but the schedule decides: latency under load.
        OfferedLoad = "offered-load",
        /// Several producers, one consumer.
        FanIn = "fan-in",
        /// One producer, several consumers that share the messages.
        FanOut = "fan-out",
        /// Several producers, each with a consumer of its own, all at once.
        Pairs = "pairs",
        /// One producer, several consumers that all get every message.
        Broadcast = "broadcast",
    }
}

impl Workload {
    /// Whether messages go one way as fast as they can: throughput is what counts.
    pub fn streams(self) -> bool {
        self == Workload::Stream || self.has_peers()
    }

    /// Whether more than two parties have a part in it: a hub and its peers.
    pub fn has_peers(self) -> bool {
        matches!(self, Workload::FanIn | Workload::FanOut | Workload::Pairs | Workload::Broadcast)
    }
}

words! {
    /// Through what a hub and its peers are connected.
    Via {
        /// One object that all of them use.
        Shared = "shared",
        /// A channel for each peer, which the hub serves in turn.
        InTurn = "in-turn",
    }
}

words! {
    /// How the messages of an offered load follow each other.
    Arrivals {
        /// Exponential gaps: independent senders. They bunch, so the queue that a share of the capacity means is there.
        Poisson = "poisson",
        /// Equal gaps. They never bunch, so below saturation nobody waits: the kinder case.
        Constant = "constant",
    }
}

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

words! {
    /// How much of a message is written and verified.
    Touch {
        /// Every byte, by producer and consumer.
        Whole = "whole",
        /// The first eight bytes only: another class, never ranked with the first.
        Header = "header",
    }
}

words! {
    /// A fault that the sending party commits once, in the middle of a window, so that the audit can be seen to notice.
    Plant {
        /// One bit of a message is turned after it was written.
        Flip = "flip",
        /// One message is not sent.
        Drop = "drop",
        /// One message is sent twice.
        Double = "double",
        /// Two neighbours are sent in the wrong order.
        Swap = "swap",
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Block => f.pad("block"),
            Wait::Poll => f.pad("poll"),
            Wait::Epoll => f.pad("epoll"),
            Wait::Spin => f.pad("spin"),
            Wait::Yield => f.pad("yield"),
            Wait::Hybrid(Wait::HYBRID_LOOKS) => f.pad("hybrid"),
            Wait::Hybrid(looks) => f.pad(&format!("hybrid:{looks}")),
        }
    }
}

impl FromStr for Wait {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "block" => Ok(Wait::Block),
            "poll" => Ok(Wait::Poll),
            "epoll" => Ok(Wait::Epoll),
            "spin" => Ok(Wait::Spin),
            "yield" => Ok(Wait::Yield),
            "hybrid" => Ok(Wait::Hybrid(Wait::HYBRID_LOOKS)),
            _ => text.strip_prefix("hybrid:").and_then(|looks| looks.parse().ok()).map(Wait::Hybrid).ok_or_else(|| {
                unknown("wait", text, &["block", "poll", "epoll", "hybrid", "hybrid:LOOKS", "yield", "spin"])
            }),
        }
    }
}
serde_as_text!(Wait);

impl Wait {
    /// The kind without its parameter, for lists of what a mechanism honours.
    pub fn kind(self) -> WaitKind {
        match self {
            Wait::Block => WaitKind::Block,
            Wait::Poll => WaitKind::Poll,
            Wait::Epoll => WaitKind::Epoll,
            Wait::Spin => WaitKind::Spin,
            Wait::Yield => WaitKind::Yield,
            Wait::Hybrid(_) => WaitKind::Hybrid,
        }
    }
}

words! {
    /// A [`Wait`] without its parameter.
    WaitKind {
        /// Sleeps in the kernel at once.
        Block = "block",
        /// Sleeps in poll(2) until the call would go through, then makes it.
        Poll = "poll",
        /// Sleeps in epoll_wait(2) until the call would go through, then makes it.
        Epoll = "epoll",
        /// Spins a while, then sleeps.
        Hybrid = "hybrid",
        /// Calls the scheduler between two looks.
        Yield = "yield",
        /// Never gives the CPU away.
        Spin = "spin",
    }
}

impl WaitKind {
    /// The wait of this kind that is taken when nothing more is said.
    pub fn typical(self) -> Wait {
        match self {
            WaitKind::Block => Wait::Block,
            WaitKind::Poll => Wait::Poll,
            WaitKind::Epoll => Wait::Epoll,
            WaitKind::Hybrid => Wait::Hybrid(Wait::HYBRID_LOOKS),
            WaitKind::Yield => Wait::Yield,
            WaitKind::Spin => Wait::Spin,
        }
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

/// Which CPUs the two parties run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Placement {
    /// Both pinned to one CPU.
    SameCpu,
    /// Each pinned to a CPU of its own.
    CrossCpu,
    /// Wherever the scheduler puts them.
    Unpinned,
    /// Pinned to these two, which may be equal.
    Cpus(usize, usize),
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placement::SameCpu => f.pad("same-cpu"),
            Placement::CrossCpu => f.pad("cross-cpu"),
            Placement::Unpinned => f.pad("unpinned"),
            Placement::Cpus(a, b) => f.pad(&format!("cpus:{a},{b}")),
        }
    }
}

impl FromStr for Placement {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "same-cpu" => Ok(Placement::SameCpu),
            "cross-cpu" => Ok(Placement::CrossCpu),
            "unpinned" => Ok(Placement::Unpinned),
            _ => text
                .strip_prefix("cpus:")
                .unwrap_or(text)
                .split_once(',')
                .and_then(|(a, b)| Some(Placement::Cpus(a.trim().parse().ok()?, b.trim().parse().ok()?)))
                .ok_or_else(|| unknown("placement", text, &["same-cpu", "cross-cpu", "unpinned", "two CPUs like 0,1"])),
        }
    }
}
serde_as_text!(Placement);

impl Placement {
    /// The CPUs for the two parties, chosen from those this process may use; `None` leaves them to the scheduler.
    ///
    /// # Errors
    /// `unsupported` when the machine (or the cpuset of the container) does not have what is asked for.
    pub fn resolve(self, allowed: &[usize]) -> Result<Option<[usize; 2]>> {
        let list = || allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match self {
            Placement::Unpinned => Ok(None),
            // The last CPU: the first one tends to serve the interrupts.
            Placement::SameCpu => match allowed.last() {
                Some(cpu) => Ok(Some([*cpu; 2])),
                None => Err(Error::unsupported("no CPU is allowed for this process")),
            },
            Placement::CrossCpu => match allowed {
                [first, second, ..] => Ok(Some([*first, *second])),
                _ => Err(Error::unsupported("cross-cpu needs two CPUs and only one is allowed here")
                    .hint("use --placement same-cpu, or allow more CPUs (taskset, cpuset)")),
            },
            Placement::Cpus(a, b) => match [a, b].into_iter().find(|cpu| !allowed.contains(cpu)) {
                None => Ok(Some([a, b])),
                Some(cpu) => Err(Error::unsupported(format!("CPU {cpu} does not exist or is not allowed here"))
                    .hint(format!("allowed are {}", list()))),
            },
        }
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

/// Reads two CPU numbers such as `0,1`.
///
/// # Errors
/// A usage error that says what is accepted.
pub fn parse_cpus(text: &str) -> Result<Placement> {
    match text.parse() {
        Ok(Placement::Cpus(a, b)) => Ok(Placement::Cpus(a, b)),
        _ => Err(Error::usage(format!("{text:?} is no pair of CPUs")).hint("write them as 0,1")),
    }
}

/// Reads a placement by name; pairs of CPUs are another option's.
///
/// # Errors
/// A usage error that says what is accepted.
pub fn parse_placement(text: &str) -> Result<Placement> {
    match text.parse() {
        Ok(Placement::Cpus(..)) | Err(_) => {
            let choice = "choose from same-cpu, cross-cpu, unpinned, or name the CPUs with --cpus A,B";
            Err(Error::usage(format!("{text:?} is no placement")).hint(choice))
        }
        known => known,
    }
}

/// Reads a size such as `64`, `4KiB` or `1 MiB`; always whole bytes, at least one.
///
/// # Errors
/// A usage error that says what is accepted.
pub fn parse_size(text: &str) -> Result<usize> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: usize = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "KB" | "kB" => 1000,
        "MB" => 1_000_000,
        _ => return Err(bad_size(text)),
    };
    // As `show_size` writes it, with a space before the unit.
    let digits = digits.strip_suffix(' ').filter(|_| factor > 1 || text.ends_with('B')).unwrap_or(digits);
    let size = digits.parse::<usize>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(|| bad_size(text))?;
    if size == 0 {
        return Err(Error::usage("a message of size 0 carries nothing").hint("the smallest size is 1"));
    }
    Ok(size)
}

fn bad_size(text: &str) -> Error {
    Error::usage(format!("{text:?} is no size")).hint("write bytes as 64, 4KiB or 1MiB")
}

/// Reads a rate in messages per second such as `50000`, `50k`, `1.5M` or `1G`; a whole number from one to `1G`.
///
/// # Errors
/// A usage error that says what is accepted.
pub fn parse_rate(text: &str) -> Result<u64> {
    let bad = || Error::usage(format!("{text:?} is no rate")).hint("write messages per second as 50000, 50k or 1M");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        _ => return Err(bad()),
    };
    let rate = digits.parse::<f64>().map_err(|_| bad())? * factor;
    if !rate.is_finite() || rate.round() < 1.0 {
        return Err(bad());
    }
    if rate > 1e9 {
        return Err(
            Error::usage(format!("{text:?} is more than a message per nanosecond")).hint("the highest rate is 1G")
        );
    }
    Ok(rate.round() as u64)
}

/// Prints a rate the way [`parse_rate`] reads it, exact or not at all scaled.
pub fn show_rate(rate: u64) -> String {
    match rate {
        r if r.is_multiple_of(1_000_000) => format!("{}M", r / 1_000_000),
        r if r.is_multiple_of(1000) => format!("{}k", r / 1000),
        r => r.to_string(),
    }
}

/// Reads a time such as `500ms`, `2s` or `5m`; in milliseconds, at least one.
///
/// # Errors
/// A usage error that says what is accepted.
pub fn parse_millis(text: &str) -> Result<u64> {
    let bad = || Error::usage(format!("{text:?} is no time")).hint("write it as 500ms, 2s or 5m");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "ms" => 1.0,
        "s" => 1e3,
        "m" | "min" => 6e4,
        _ => return Err(bad()),
    };
    let millis = digits.parse::<f64>().map_err(|_| bad())? * factor;
    if (1.0..1e12).contains(&millis) { Ok(millis as u64) } else { Err(bad()) }
}

/// Prints bytes the way [`parse_size`] reads them: `64 B`, `4 KiB`, `1 MiB`, exact or not at all scaled.
pub fn show_size(bytes: usize) -> String {
    match bytes {
        b if b >= 1 << 20 && b % (1 << 20) == 0 => format!("{} MiB", b >> 20),
        b if b >= 1 << 10 && b % (1 << 10) == 0 => format!("{} KiB", b >> 10),
        b => format!("{b} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_with_and_without_units() {
        assert_eq!(parse_size("64").unwrap(), 64);
        assert_eq!(parse_size("4KiB").unwrap(), 4096);
        assert_eq!(parse_size("1MiB").unwrap(), 1 << 20);
        assert_eq!(parse_size("16M").unwrap(), 16 << 20);
        for bad in ["", "0", "0KiB", "-1", "4XiB", "1.5KiB", "99999999999999999999", "99999999999GiB"] {
            assert!(parse_size(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(parse_millis("500ms").unwrap(), 500);
        assert_eq!(parse_millis("2s").unwrap(), 2000);
        assert_eq!(parse_millis("1.5s").unwrap(), 1500);
        assert_eq!(parse_millis("5m").unwrap(), 300_000);
        for bad in ["5", "", "0s", "-1s", "nans", "infs", "1h"] {
            assert!(parse_millis(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn rates_are_whole_messages_per_second_up_to_one_per_nanosecond() {
        for (text, rate) in
            [("50000", 50_000), ("50k", 50_000), ("1M", 1_000_000), ("1.5k", 1500), ("1e9", 1_000_000_000)]
        {
            assert_eq!(parse_rate(text).unwrap(), rate, "{text}");
            assert_eq!(parse_rate(&show_rate(rate)).unwrap(), rate);
        }
        for bad in ["", "k", "0", "0.2", "-5", "5 k", "50K", "50kHz", "nan", "inf", "2G", "1e30", "1e400"] {
            assert_eq!(parse_rate(bad).unwrap_err().exit_code(), 2, "{bad:?} was accepted");
        }
    }

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

    #[test]
    fn placement_refuses_what_the_machine_lacks() {
        assert_eq!(Placement::CrossCpu.resolve(&[0, 1]).unwrap(), Some([0, 1]));
        assert_eq!(Placement::SameCpu.resolve(&[0, 1]).unwrap(), Some([1, 1]));
        assert!(Placement::CrossCpu.resolve(&[3]).is_err());
        let message = Placement::Cpus(0, 9).resolve(&[0, 1]).unwrap_err().to_string();
        assert!(message.contains("CPU 9") && message.contains("0,1"), "{message}");
    }
}

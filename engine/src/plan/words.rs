//! The plain words of a plan: who, what, how they wait.
//!
//! Key decision: one macro gives each word its text on the command line, in JSON and in tables, so that none can be spelt two
//! ways. Rejected: derives of serde and clap beside each other, which are two spellings that happen to agree.

use crate::error::{Error, Result};
use crate::shm::wait::Wait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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

pub(super) fn unknown(what: &str, text: &str, words: &[&str]) -> Error {
    Error::usage(format!("{text:?} is no {}", what.to_lowercase())).hint(format!("choose from {}", words.join(", ")))
}

pub(super) use serde_as_text;

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

//! The timed loops of one party behind one indirect call per window.
//!
//! Key decision: the mechanism's types end here. A loop is compiled once for each pair of end types with every call
//! inlined, and whoever orders windows ([`session`](crate::session)) holds a `dyn` [`Half`] and is compiled once. The call
//! that picks the loop lies outside the window's two clock readings, or costs a few nanoseconds in a window of
//! milliseconds. Rejected: sessions that are generic over the mechanism (the same loops, and forty times the code around
//! them: it took most of the build); a `dyn` call per message (it would be measured).

use super::batched::{self, Pack};
use super::offered::{self, Pace};
use super::outstanding::{self, Requests};
use super::{Batch, Fault, Load, Stamped, ping_pong, plant, stream};
use crate::measure::Histogram;
use crate::plan::{Plant, Workload};
use crate::transport::{Receiver, Sender, Side};
use std::io;
use std::sync::atomic::AtomicU64;

/// What the leader does in a window of messages.
#[derive(Debug)]
pub enum Lead<'a> {
    /// Round trips, one at a time; each one timed where there is a histogram.
    PingPong(Option<&'a mut Histogram>),
    /// Round trips with so many under way.
    Requests(u64, Option<&'a mut Histogram>),
    /// Sends.
    Stream,
    /// Sends in batches.
    Packed(Pack),
    /// Does what the workload says and commits a fault.
    Planted(Workload, Plant),
    /// Sends each message when it is due, and leaves in the second slice when it was sent.
    Offered(Pace, &'a [u64], &'a mut [u64]),
}

/// What the follower does in a window of messages.
#[derive(Debug)]
pub enum Follow<'a> {
    /// Answers.
    PingPong,
    /// Receives.
    Stream,
    /// Receives batches.
    Packed(Pack),
    /// Receives, and leaves the time of each message.
    Offered(&'a [AtomicU64]),
}

/// One party's two ends.
pub trait Half: Send {
    /// See [`Side::attach`].
    ///
    /// # Errors
    /// What the system says.
    fn attach(&mut self) -> io::Result<()>;

    /// The leader's half of a window of `n` messages.
    ///
    /// # Errors
    /// When the transport fails or a message is wrong.
    fn lead(&mut self, load: &mut Load, n: u64, what: Lead<'_>) -> Result<(), Fault>;

    /// The follower's half.
    ///
    /// # Errors
    /// As [`lead`](Self::lead).
    fn follow(&mut self, load: &mut Load, n: u64, what: Follow<'_>) -> Result<(), Fault>;
}

impl<S: Sender, R: Receiver> Half for Side<S, R> {
    fn attach(&mut self) -> io::Result<()> {
        Side::attach(self)
    }

    fn lead(&mut self, load: &mut Load, n: u64, what: Lead<'_>) -> Result<(), Fault> {
        match what {
            Lead::PingPong(None) => ping_pong::lead(self, load, n, &mut Batch),
            Lead::PingPong(Some(histogram)) => ping_pong::lead(self, load, n, &mut Stamped::new(histogram)),
            Lead::Requests(window, None) => outstanding::lead(self, load, n, window, &mut Batch),
            Lead::Requests(window, Some(histogram)) => {
                outstanding::lead(self, load, n, window, &mut Requests::new(histogram, window))
            }
            Lead::Stream => stream::lead(self, load, n),
            Lead::Packed(pack) => batched::lead(self, load, n, pack),
            Lead::Planted(workload, fault) => plant::lead(self, load, n, workload, fault),
            Lead::Offered(pace, due, sent) => offered::lead(self, load, pace, due, sent),
        }
    }

    fn follow(&mut self, load: &mut Load, n: u64, what: Follow<'_>) -> Result<(), Fault> {
        match what {
            Follow::PingPong => ping_pong::follow(self, load, n),
            Follow::Stream => stream::follow(self, load, n),
            Follow::Packed(pack) => batched::follow(self, load, n, pack),
            Follow::Offered(received) => offered::follow(self, load, received),
        }
    }
}

/// What one party does alone in a window of messages.
#[derive(Debug)]
pub enum Solo<'a> {
    /// Round trips.
    PingPong(Option<&'a mut Histogram>),
    /// One direction.
    Stream,
    /// One direction in batches.
    Packed(Pack),
    /// One direction with a flipped bit in the middle.
    Planted,
}

/// Both parties' ends in the hands of one.
pub trait Whole {
    /// Attaches all ends.
    ///
    /// # Errors
    /// What the system says.
    fn attach(&mut self) -> io::Result<()>;

    /// Both halves of a window of `n` messages.
    ///
    /// # Errors
    /// As [`Half::lead`].
    fn alone(&mut self, load: &mut Load, n: u64, what: Solo<'_>) -> Result<(), Fault>;
}

impl<S: Sender, R: Receiver> Whole for [Side<S, R>; 2] {
    fn attach(&mut self) -> io::Result<()> {
        self.iter_mut().try_for_each(Side::attach)
    }

    fn alone(&mut self, load: &mut Load, n: u64, what: Solo<'_>) -> Result<(), Fault> {
        match what {
            Solo::PingPong(None) => ping_pong::alone(self, load, n, &mut Batch),
            Solo::PingPong(Some(histogram)) => ping_pong::alone(self, load, n, &mut Stamped::new(histogram)),
            Solo::Stream => stream::alone(self, load, n),
            Solo::Packed(pack) => batched::alone(self, load, n, pack),
            Solo::Planted => plant::alone(self, load, n),
        }
    }
}

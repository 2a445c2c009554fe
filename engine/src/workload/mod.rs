//! What the two parties do with a transport: the timed loops, and nothing around them.
//!
//! Key decision: one generic loop per workload and role, used by the comparer, the single binaries and the benches alike.
//! What may differ between windows (clock readings per message, or none) is a type parameter; what may differ between
//! runs (touch, a planted delay) is a value in [`Load`], which the loops copy into locals before they start: a counter
//! behind a reference is stored for every message, in case a call unwinds, and that alone is a nanosecond.

pub mod batched;
pub mod half;
pub mod offered;
pub mod outstanding;
pub mod pattern;
pub mod payload;
pub mod ping_pong;
pub mod plant;
pub mod stream;

use crate::plan::{Plan, Plant, Touch};
use crate::sys::clock;
use payload::{Mismatch, Payload};
use std::fmt;
use std::io;

/// What is carried, and what was carried so far.
#[derive(Debug, Clone)]
pub struct Load {
    /// Fills and verifies.
    pub payload: Payload,
    /// Known delay before each reply, in ns; the positive control of a campaign.
    pub delay_ns: u64,
    /// Sequence number of the next message or round trip; both parties count alike.
    pub next: u64,
    /// Messages that this party received and found right.
    pub verified: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The fault that this party has yet to commit when it sends.
    plant: Option<Plant>,
}

impl Load {
    /// The load of a run.
    pub fn new(plan: &Plan) -> Self {
        Self { plant: plan.plant, ..Self::of(plan.touch, plan.delay_ns) }
    }

    /// A load from its parts.
    pub fn of(touch: Touch, delay_ns: u64) -> Self {
        Self { payload: Payload::new(touch), delay_ns, next: 0, verified: 0, bytes: 0, plant: None }
    }

    /// Books a finished window: `n` messages carried, `bytes` of them verified by this party.
    fn book(&mut self, n: u64, verified: u64, bytes: u64) {
        self.next += n;
        self.verified += verified;
        self.bytes += bytes;
    }
}

/// Waits for `ns` nanoseconds without giving the CPU away; not at all for zero.
#[inline(always)]
fn delay(ns: u64) {
    if ns > 0 {
        let until = clock::now() + ns;
        while clock::now() < until {
            std::hint::spin_loop();
        }
    }
}

/// The longest that a planted delay of `ns` may appear on a quiet machine whose clock takes `reading_ns`: the loop above
/// starts after one reading, ends with one that is up to a look too late, and a tenth is the machine's.
pub fn longest_delay(ns: u64, reading_ns: f64) -> f64 {
    /// A pause between two looks, on the processors that take longest for it, ns.
    const PAUSE_NS: f64 = 60.0;
    1.1 * ns as f64 + 2.0 * reading_ns + PAUSE_NS
}

/// Why a loop stopped early.
#[derive(Debug)]
pub enum Fault {
    /// The transport failed or the peer left.
    Transport(io::Error),
    /// A message was not what it should have been.
    Wrong(Box<Mismatch>),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Transport(error)
    }
}

impl From<Box<Mismatch>> for Fault {
    fn from(mismatch: Box<Mismatch>) -> Self {
        Fault::Wrong(mismatch)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Transport(error) if error.kind() == io::ErrorKind::UnexpectedEof => f.write_str("the peer left"),
            Fault::Transport(error) => write!(f, "the transport failed: {error}"),
            Fault::Wrong(mismatch) => mismatch.fmt(f),
        }
    }
}

/// What looks at the clock around each round trip, or does not.
pub trait Watch {
    /// Right before the ping is built.
    fn begin(&mut self);
    /// Right after the pong was verified.
    fn end(&mut self);
}

/// No clock reading between messages: the window as a whole is timed.
#[derive(Debug)]
pub struct Batch;

impl Watch for Batch {
    #[inline(always)]
    fn begin(&mut self) {}
    #[inline(always)]
    fn end(&mut self) {}
}

/// Two clock readings around every round trip, into a histogram.
///
/// # Timing model
/// sample = round trip + one clock reading. The histogram is updated outside the sample.
#[derive(Debug)]
pub struct Stamped<'a> {
    histogram: &'a mut crate::measure::Histogram,
    start: u64,
}

impl<'a> Stamped<'a> {
    /// Records into `histogram`.
    pub fn new(histogram: &'a mut crate::measure::Histogram) -> Self {
        Self { histogram, start: 0 }
    }
}

impl Watch for Stamped<'_> {
    #[inline(always)]
    fn begin(&mut self) {
        self.start = clock::now();
    }
    #[inline(always)]
    fn end(&mut self) {
        self.histogram.record(clock::now() - self.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Parties, Workload};
    use crate::sys::clock::READINGS;
    use crate::transport::{Config, HeapRing, Null, Transport};
    use std::cell::Cell;

    fn config() -> Config {
        Config::new(&Plan { workload: Workload::Stream, parties: Parties::Thread, ..Plan::default() })
    }

    fn readings(body: impl FnOnce()) -> u64 {
        let before = READINGS.with(Cell::get);
        body();
        READINGS.with(Cell::get) - before
    }

    #[test]
    fn a_batch_window_reads_no_clock_between_messages_and_a_stamped_one_reads_it_twice() {
        let mut sides = Null::link(&config()).unwrap();
        let mut load = Load::of(Touch::Whole, 0);
        assert_eq!(readings(|| ping_pong::alone(&mut sides, &mut load, 500, &mut Batch).unwrap()), 0);
        let mut histogram = crate::measure::Histogram::default();
        let mut watch = Stamped::new(&mut histogram);
        assert_eq!(readings(|| ping_pong::alone(&mut sides, &mut load, 500, &mut watch).unwrap()), 1000);
        assert_eq!(histogram.len(), 500);
    }

    #[test]
    fn both_parties_of_a_batch_read_no_clock() {
        let [mut near, mut far] = HeapRing::link(&config()).unwrap();
        std::thread::scope(|scope| {
            let follower = scope.spawn(move || {
                far.attach().unwrap();
                let mut load = Load::of(Touch::Whole, 0);
                readings(|| ping_pong::follow(&mut far, &mut load, 500).unwrap())
            });
            near.attach().unwrap();
            let mut load = Load::of(Touch::Whole, 0);
            assert_eq!(readings(|| ping_pong::lead(&mut near, &mut load, 500, &mut Batch).unwrap()), 0);
            assert_eq!(follower.join().unwrap(), 0);
        });
    }

    #[test]
    fn a_lost_message_stops_the_stream_with_its_number() {
        let [mut near, mut far] = HeapRing::link(&config()).unwrap();
        near.attach().unwrap();
        far.attach().unwrap();
        let mut sender = Load::of(Touch::Whole, 0);
        stream::lead(&mut near, &mut sender, 5).unwrap();
        sender.next += 1;
        stream::lead(&mut near, &mut sender, 5).unwrap();
        let mut receiver = Load::of(Touch::Whole, 0);
        let fault = stream::follow(&mut far, &mut receiver, 10).unwrap_err().to_string();
        assert!(fault.contains("message 5 was due and message 6 came"), "{fault}");
    }
}

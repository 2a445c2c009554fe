//! Ping-pong with several requests under way: the window of a client that does not wait for each answer.
//!
//! Key decision: only the leader differs. It sends the whole window, then one more request for each reply, so there are
//! never more under way than the window has; the follower answers one after the other and cannot tell. Neither party can
//! wait for ever for space as long as one direction holds the window, which is asked of the transport before the run
//! ([`Config::depth`](crate::transport::Config::depth)). Rejected: a second thread that only receives (more parties than
//! the row says, and a hand-over between them in every latency).
//!
//! # Timing model
//! `elapsed = first request built to last reply verified`; a window's requests overlap, so `elapsed / n` is the time per
//! round trip and not the length of one. A stamped latency runs from right before its own request was built to right after
//! its own reply was verified, queueing included. By Little's law the mean latency is the window times `elapsed / n`, less
//! what the window is short of while it fills, while it empties and between a reply and the next request.

use super::payload::Way;
use super::{Batch, Fault, Load};
use crate::measure::Histogram;
use crate::sys::clock;
use crate::transport::{Receiver, Sender, Side};

/// What looks at the clock when a request goes and when its reply is there, or does not.
pub trait Log {
    /// Right before request `seq` is built.
    fn goes(&mut self, seq: u64);
    /// Right after the reply to it was verified.
    fn is_back(&mut self, seq: u64);
}

impl Log for Batch {
    #[inline(always)]
    fn goes(&mut self, _: u64) {}
    #[inline(always)]
    fn is_back(&mut self, _: u64) {}
}

/// Two clock readings for every request, into a histogram.
#[derive(Debug)]
pub struct Requests<'a> {
    histogram: &'a mut Histogram,
    /// When the requests under way were built, by number modulo the window.
    built: Box<[u64]>,
}

impl<'a> Requests<'a> {
    /// Records into `histogram` with up to `window` requests under way.
    pub fn new(histogram: &'a mut Histogram, window: u64) -> Self {
        Self { histogram, built: vec![u64::MAX; window as usize].into() }
    }
}

impl Log for Requests<'_> {
    #[inline(always)]
    fn goes(&mut self, seq: u64) {
        let place = seq % self.built.len() as u64;
        self.built[place as usize] = clock::now();
    }
    #[inline(always)]
    fn is_back(&mut self, seq: u64) {
        let place = seq % self.built.len() as u64;
        self.histogram.record(clock::now() - self.built[place as usize]);
    }
}

/// The leader's half of `n` round trips, `window` of them under way. The follower's is that of a
/// [ping-pong](super::ping_pong::follow).
///
/// # Errors
/// When the transport fails or a reply is wrong.
#[inline(never)]
pub fn lead<S: Sender, R: Receiver>(
    side: &mut Side<S, R>,
    load: &mut Load,
    n: u64,
    window: u64,
    log: &mut impl Log,
) -> Result<(), Fault> {
    let (payload, first) = (load.payload, load.next);
    let (end, mut next) = (first + n, first + window.min(n));
    let mut bytes = 0;
    for seq in first..next {
        log.goes(seq);
        side.tx.send_with(|ping| payload.fill(Way::Out, seq, ping))?;
    }
    for seq in first..end {
        let checked = side.rx.recv_with(|pong| payload.check(Way::Back, seq, pong))?;
        log.is_back(seq);
        bytes += checked?;
        if next < end {
            log.goes(next);
            side.tx.send_with(|ping| payload.fill(Way::Out, next, ping))?;
            next += 1;
        }
    }
    load.book(n, n, bytes as u64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Parties, Touch};
    use crate::sys::clock::READINGS;
    use crate::transport::{ALL_WAITS, Config, Family, Meeting, PATTERNS, PeerDeath, Spec, Transport};
    use crate::workload::payload::Payload;
    use std::cell::Cell;
    use std::collections::VecDeque;
    use std::io;
    use std::sync::{Arc, Mutex};

    /// Answers every request that it was given, in one thread, and remembers how many were under way at most.
    #[derive(Debug)]
    struct Echo;
    type Desk = Arc<Mutex<(VecDeque<Box<[u8]>>, usize)>>;
    struct Ask(Desk);
    struct Answer(Desk);

    impl Transport for Echo {
        const SPEC: &'static Spec = &Spec {
            name: "echo",
            summary: "",
            family: Family::Control,
            parties: &[Parties::Solo],
            waits: ALL_WAITS,
            copies: 0,
            max_size: 64,
            peer_death: PeerDeath::NO_PEER,
            patterns: PATTERNS,
            meeting: Meeting::Never,
            sources: &[],
        };
        type Tx = Ask;
        type Rx = Answer;
        fn one_way(_: &Config) -> crate::Result<(Ask, Answer)> {
            let desk = Desk::default();
            Ok((Ask(Arc::clone(&desk)), Answer(desk)))
        }
    }

    impl Sender for Ask {
        fn size(&self) -> usize {
            64
        }
        fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
            let mut message = [0; 64];
            fill(&mut message);
            let mut desk = self.0.lock().unwrap();
            desk.0.push_back(message.into());
            desk.1 = desk.1.max(desk.0.len());
            Ok(())
        }
    }

    impl Receiver for Answer {
        fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
            let ping = self.0.lock().unwrap().0.pop_front().expect("a reply without a request");
            let payload = Payload::new(Touch::Whole);
            let seq = (0..10_000).find(|seq| payload.check(Way::Out, *seq, &ping).is_ok()).unwrap();
            let mut pong = [0; 64];
            payload.fill(Way::Back, seq, &mut pong);
            Ok(read(&pong))
        }
    }

    fn echoed(n: u64, window: u64, log: &mut impl Log) -> usize {
        let (tx, rx) = Echo::one_way(&Config::new(&crate::plan::Plan::default())).unwrap();
        let desk = Arc::clone(&tx.0);
        let mut load = Load::of(Touch::Whole, 0);
        lead(&mut Side { tx, rx }, &mut load, n, window, log).unwrap();
        assert_eq!((load.next, load.verified, load.bytes), (n, n, 64 * n));
        let (left, most) = &*desk.lock().unwrap();
        assert!(left.is_empty(), "{} requests were never answered", left.len());
        *most
    }

    #[test]
    fn as_many_requests_are_under_way_as_the_window_has_or_there_are() {
        for (n, window, most) in [(1, 8, 1), (7, 8, 7), (8, 8, 8), (500, 8, 8), (500, 1, 1)] {
            assert_eq!(echoed(n, window, &mut Batch), most, "{n} requests through a window of {window}");
        }
    }

    #[test]
    fn each_request_is_stamped_on_its_own_and_latencies_add_up_to_no_more_than_the_window_allows() {
        let mut histogram = Histogram::default();
        let before = READINGS.with(Cell::get);
        let start = clock::now();
        echoed(400, 8, &mut Requests::new(&mut histogram, 8));
        let elapsed = clock::now() - start;
        assert_eq!((histogram.len(), READINGS.with(Cell::get) - before), (400, 802));
        // At every moment at most eight latencies run. The histogram keeps three digits.
        let sum = histogram.mean() * 400.0;
        assert!(sum <= 8.01 * elapsed as f64, "{sum} ns of latency in {elapsed} ns");
        // A latency covers seven further replies, but for those of the last window.
        assert!(sum >= 2.0 * elapsed as f64, "{sum} ns of latency in {elapsed} ns are not eight at a time");
    }
}

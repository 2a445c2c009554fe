//! Offered load: one direction, at times that the schedule alone decides (an open loop).
//!
//! Key decision: a message has an *intended* time, and being late changes no later one. A producer that waits for its
//! turn and then finds the transport full, or was descheduled, sends at once what is due and skips nothing; the time that
//! its messages have lost by then is in the latency from the intended time, and would not be in the one from the actual
//! time. That omission is what makes a closed loop blind to stalls: it stops asking while it waits. Source: Tene, How NOT
//! to Measure Latency (coordinated omission); Schroeder, Wierman & Harchol-Balter, Open Versus Closed, NSDI 2006.
//!
//! # Timing model
//! The producer reads the clock until the message is due; the last reading is the message's actual time. It then builds
//! and sends the message. The consumer verifies it and reads the same clock once.
//! `from actual = build + carry + verify + one clock reading`; `from intended = from actual + lateness of the producer`,
//! of which the pace itself accounts for up to one clock reading, or one turn of the scheduler where both share a CPU.
//! Both loops allocate nothing: the schedule is computed before the window, the latencies after it. Per message the
//! producer reads 8 bytes and writes 8, the consumer writes 8, each in memory that no other party touches during the
//! window. A window therefore cannot offer more than one message per clock reading: for the fastest mechanisms this, not
//! the transport, is the highest rate that can be reached (a ring that streamed 159 M/s carried 31 M/s with stamps).
//!
//! The two ends of a latency are readings of `CLOCK_MONOTONIC` on two CPUs. The kernel derives it from one clock source and
//! keeps using the time-stamp counter for it only while a check between CPUs finds no reading that goes backwards across a
//! cache-line hand-over, so the offset is less than that hand-over. A message that seems to arrive before it was sent is
//! counted, and flags the run.

use super::payload::Way;
use super::{Fault, Load, delay};
use crate::plan::Arrivals;
use crate::sys::clock;
use crate::transport::{Receiver, Sender, Side};
use std::sync::atomic::{AtomicU64, Ordering};

/// When each message of a window is due: a pure function of rate, rhythm, seed and number of messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Messages per second.
    pub rate: f64,
    /// When message `i` is due, ns after the start of the window. The first is due at once.
    pub due: Vec<u64>,
    /// When one more message would be due: the number of messages divided by the rate.
    pub end_ns: u64,
}

impl Schedule {
    /// The times of `n` messages.
    ///
    /// The gaps of a Poisson schedule are scaled so that together they last `n / rate`, which makes it a Poisson process
    /// given its number of arrivals. Without this the rate of a short window would miss its label by `1 / sqrt(n)`.
    pub fn new(rate: f64, arrivals: Arrivals, seed: u64, n: usize) -> Self {
        let gap = 1e9 / rate;
        let due = match arrivals {
            Arrivals::Constant => (0..n).map(|i| (i as f64 * gap) as u64).collect(),
            Arrivals::Poisson => {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut next = 0.0;
                let mut take = || {
                    let at = next;
                    next -= (1.0 - random.f64()).ln();
                    at
                };
                let unscaled: Vec<f64> = (0..n).map(|_| take()).collect();
                let scale = n as f64 * gap / next;
                unscaled.into_iter().map(|at| (at * scale) as u64).collect()
            }
        };
        Self { rate, due, end_ns: (n as f64 * gap) as u64 }
    }

    /// `n` messages that are all due at once: the highest rate that the transport and these loops carry. The saturation
    /// of a sweep, because that of a stream, which reads no clock, can be several times what a paced producer can send.
    pub fn at_once(n: usize) -> Self {
        Self { rate: f64::INFINITY, due: vec![0; n], end_ns: 0 }
    }
}

/// How the producer keeps time.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Clock at the start of the window.
    pub start: u64,
    /// Let others run between two looks at the clock: for parties that share a CPU.
    pub polite: bool,
}

/// Looks at the clock until `due` and returns the last look. Never sleeps: a wake-up is later and less regular than most
/// of what is measured.
#[inline(always)]
fn await_time(due: u64, polite: bool) -> u64 {
    loop {
        let now = clock::now();
        if now >= due {
            return now;
        }
        if polite { std::thread::yield_now() } else { std::hint::spin_loop() }
    }
}

/// The producer's half: sends each message when it is `due`, or at once when that has passed, and leaves in `sent` the
/// clock right before it was built.
///
/// # Errors
/// When the transport fails.
#[inline(never)]
pub fn lead<S: Sender, R: Receiver>(
    side: &mut Side<S, R>,
    load: &mut Load,
    pace: Pace,
    due: &[u64],
    sent: &mut [u64],
) -> Result<(), Fault> {
    let (payload, first) = (load.payload, load.next);
    for (seq, (due, sent)) in (first..).zip(due.iter().zip(sent)) {
        *sent = await_time(pace.start + due, pace.polite);
        side.tx.send_with(|message| payload.fill(Way::Out, seq, message))?;
    }
    load.book(due.len() as u64, 0, 0);
    Ok(())
}

/// The consumer's half: as many messages as `received` has places, in each the clock right after that message was verified.
///
/// # Errors
/// When the transport fails or a message is wrong.
#[inline(never)]
pub fn follow<S: Sender, R: Receiver>(
    side: &mut Side<S, R>,
    load: &mut Load,
    received: &[AtomicU64],
) -> Result<(), Fault> {
    let (payload, first, wait) = (load.payload, load.next, load.delay_ns);
    let mut bytes = 0;
    for (seq, place) in (first..).zip(received) {
        bytes += side.rx.recv_with(|message| payload.check(Way::Out, seq, message))??;
        // Relaxed: read after the gate that ends the window.
        place.store(clock::now(), Ordering::Relaxed);
        delay(wait);
    }
    let n = received.len() as u64;
    load.book(n, n, bytes as u64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Parties, Plan, Touch, Workload};
    use crate::sys::clock::READINGS;
    use crate::transport::{Config, HeapRing, Transport};
    use std::cell::Cell;

    fn poisson(seed: u64) -> Schedule {
        Schedule::new(1e6, Arrivals::Poisson, seed, 10_000)
    }

    #[test]
    fn constant_arrivals_are_exact() {
        let schedule = Schedule::new(4e6, Arrivals::Constant, 7, 5);
        assert_eq!((schedule.due, schedule.end_ns), (vec![0, 250, 500, 750, 1000], 1250));
    }

    #[test]
    fn the_same_seed_gives_the_same_times_and_another_seed_others() {
        assert_eq!(poisson(3), poisson(3));
        assert_ne!(poisson(3), poisson(4));
    }

    #[test]
    fn poisson_gaps_have_the_mean_of_the_rate_and_are_exponential() {
        let Schedule { due, end_ns, .. } = poisson(3);
        assert_eq!((due[0], end_ns), (0, 10_000_000));
        let ends = due[1..].iter().copied().chain([end_ns]);
        let gaps: Vec<u64> = due.iter().zip(ends).map(|(from, to)| to.checked_sub(*from).unwrap()).collect();
        // A share 1 - 1/e of exponential gaps is shorter than the mean, and 1/e^3 longer than three times the mean.
        let share = |long: &dyn Fn(u64) -> bool| gaps.iter().filter(|gap| long(**gap)).count() as f64 / 10_000.0;
        assert!((share(&|gap| gap < 1000) - 0.632).abs() < 0.02);
        assert!((share(&|gap| gap > 3000) - 0.0498).abs() < 0.01);
    }

    #[test]
    fn overdue_messages_are_all_sent_at_once_and_each_party_reads_the_clock_once_for_each() {
        let cfg = Config::new(&Plan { workload: Workload::OfferedLoad, parties: Parties::Thread, ..Plan::default() });
        let [mut near, mut far] = HeapRing::link(&cfg).unwrap();
        near.attach().unwrap();
        far.attach().unwrap();
        let Schedule { due, .. } = Schedule::at_once(500);
        let mut sent = [0; 500];
        let received: Vec<AtomicU64> = sent.map(AtomicU64::new).into();
        let before = READINGS.with(Cell::get);
        let pace = Pace { start: 0, polite: false };
        lead(&mut near, &mut Load::of(Touch::Whole, 0), pace, &due, &mut sent).unwrap();
        assert_eq!(READINGS.with(Cell::get) - before, 500);
        follow(&mut far, &mut Load::of(Touch::Whole, 0), &received).unwrap();
        assert_eq!(READINGS.with(Cell::get) - before, 1000);
        let received: Vec<u64> = received.into_iter().map(AtomicU64::into_inner).collect();
        assert!(sent.is_sorted() && received.is_sorted() && sent[0] > 0 && sent[499] <= received[0]);
    }

    #[test]
    fn nothing_is_sent_before_it_is_due() {
        let start = clock::now();
        assert!(await_time(start + 100_000, true) >= start + 100_000);
    }

    #[test]
    fn a_single_message_is_due_at_once() {
        assert_eq!(Schedule::new(10.0, Arrivals::Poisson, 1, 1).due, [0]);
    }
}

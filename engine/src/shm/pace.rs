//! How long a spinning wait leaves the peer's line alone between two looks, learnt from the waits before it.
//!
//! Key decision: a look that comes while the peer is writing pulls the line away under its pen, and one that comes long
//! after it was written is late. Which counts more depends on how far apart the CPUs are, which can change within
//! seconds where a hypervisor moves them. It shows in how long waits take: one that lasts [`FAR`] for each line of a
//! message waits for CPUs that are far apart, and looks are [`WIDE`] apart from then on; after [`EARLY`] waits that
//! ended with the first of those, at every pause again. Time is counted in pauses, of which each takes 4 to 50 ns, as the
//! processor has it: how long one takes is measured once for each process, before its first message, because no wait
//! that a message ends may read the clock.
//!
//! Only where a message is one line at most: a wait for a longer one is long because the peer has more to do.
//!
//! Where one line is all that comes over, pauses are counted also while there is one ([`Pace::counts`]). Each look then
//! comes two nanoseconds later, and the second one more often finds a message from a CPU that is near.
//!
//! Rejected: looks at every pause (a ping-pong of 64 bytes in one line took 1.25 to 1.3 times as long on CPUs with a round
//! trip of 350 ns, and 1.3 on two CPUs of a mesh); counting looks whatever a pause takes, and up to four pauses between them
//! (as good there, and 1.3 to 1.5 times as long with a round trip of 50 ns, where a wait ends with its third look as on the
//! mesh, with a shorter pause: one pause more is late by half the round trip); no pause, a fence or some multiplications
//! between looks (1.2 to 1.9); learning how long to wait for the *first* look such that it succeeds: both sides then grow
//! late together, because each is found late by the other; ever more pauses within one wait, which are wrong again for each
//! message.

use super::LINE;
use super::sync::relax;
use super::wait::Wait;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Pauses of a side that falls back: some hundred nanoseconds, the price of a line or two from afar.
const SLIP: u32 = 16;

/// Falls back a little behind the other side, if `how` looks at what that one writes, and says whether it does: then it is
/// worth another look. For a side in a run of messages, of which it found the next one missing. Source: "temporal
/// slipping" in Giacomoni et al., "FastForward", PPoPP 2008.
#[inline(always)]
pub fn slip(how: Wait) -> bool {
    let slips = matches!(how, Wait::Spin | Wait::Hybrid(_));
    if slips {
        (0..SLIP).for_each(|_| relax());
    }
    slips
}

/// A wait that lasts so long, for each line that carries the message over, waits for CPUs that are far apart. With a
/// pause of 23 ns that are five looks, with one of 40 ns three.
const FAR: Duration = Duration::from_nanos(100);
/// Looks at such CPUs are at least so far apart, and two pauses.
const WIDE: Duration = Duration::from_nanos(40);
/// Most pauses between two looks: each takes a nanosecond or more.
pub const LONGEST: u32 = WIDE.as_nanos() as u32;
/// Waits that ended with their first look, since looks last came closer together, before they do so again.
const EARLY: u32 = 8;

/// What one end remembers of its spinning waits; [`Default`] looks at every pause.
///
/// The numbers are one end's own and decide on nothing but pauses; they are atomic, and all accesses `Relaxed`, only
/// because the two halves of an end may be in two threads, of which each may then spoil the other's guess.
#[derive(Debug)]
pub struct Pace {
    /// Pauses between two looks.
    pauses: AtomicU32,
    /// Waits that ended with their first look, of [`EARLY`].
    early: AtomicU32,
    /// Pauses between two looks at CPUs that are far apart.
    wide: u32,
    /// Pauses of a wait that shows that they are.
    far: u32,
    /// Whether pauses are counted even while there is one: it takes two nanoseconds of each look.
    counted: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { pauses: AtomicU32::new(1), early: AtomicU32::new(0), wide: 1, far: u32::MAX, counted: false }
    }
}

impl Pace {
    /// Of waits for messages of `size` bytes, for which so many lines have to come over.
    pub fn learnt(size: usize, lines: u32) -> Self {
        if size > LINE {
            return Self::default();
        }
        static PAUSE: OnceLock<Duration> = OnceLock::new();
        Self::of(*PAUSE.get_or_init(pause), lines)
    }

    /// As [`learnt`](Self::learnt), where a pause takes so long.
    fn of(pause: Duration, lines: u32) -> Self {
        let pauses = |time: Duration| time.as_nanos().div_ceil(pause.as_nanos().max(1)) as u32;
        let (wide, far) = (pauses(WIDE).max(2), pauses(FAR * lines).max(3));
        Self { wide, far, counted: lines == 1, ..Self::default() }
    }

    /// Pauses before each look of a wait.
    #[inline(always)]
    pub fn pauses(&self) -> u32 {
        self.pauses.load(Ordering::Relaxed)
    }

    /// Whether the pauses before a look are counted.
    #[inline(always)]
    pub fn counts(&self) -> bool {
        self.counted || self.pauses() > 1
    }

    /// A wait has ended with its `looks`th look, so many pauses apart. Nothing is stored where nothing changes.
    #[inline(always)]
    pub fn met(&self, looks: u32, pauses: u32) {
        if pauses == 1 {
            if looks >= self.far {
                self.pauses.store(self.wide, Ordering::Relaxed);
            }
        } else if looks == 1 {
            let early = self.early.load(Ordering::Relaxed) + 1;
            if early == EARLY {
                self.pauses.store(1, Ordering::Relaxed);
            }
            self.early.store(early % EARLY, Ordering::Relaxed);
        }
    }
}

/// How long one pause takes: the shortest of a few attempts, because whoever is disturbed takes longer.
fn pause() -> Duration {
    const PAUSES: u32 = 32;
    let attempt = |_| {
        let start = Instant::now();
        (0..PAUSES).for_each(|_| relax());
        start.elapsed() / PAUSES
    };
    (0..4).map(attempt).min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for peers that answer after so many pauses each; pauses that the last one took.
    fn waits(pace: &Pace, peers: &[u32]) -> u32 {
        let wait = |late: &u32| {
            let between = pace.pauses();
            let looks = late.div_ceil(between).max(1);
            pace.met(looks, between);
            looks * between
        };
        peers.iter().map(wait).last().unwrap_or(0)
    }

    fn of(pause: u64, lines: u32) -> Pace {
        Pace::of(Duration::from_nanos(pause), lines)
    }

    #[test]
    fn looks_become_rarer_where_cpus_are_far_apart_and_closer_when_the_first_one_succeeds() {
        let pace = of(23, 1);
        assert_eq!(waits(&pace, &[4; 100]), 4, "near");
        assert_eq!(pace.pauses(), 1);
        waits(&pace, &[5]);
        assert_eq!(pace.pauses(), 2, "far");
        assert_eq!(waits(&pace, &[100; 100]), 100);
        assert_eq!(pace.pauses(), 2);
        waits(&pace, &[3; 100]);
        assert_eq!(pace.pauses(), 2, "never found at the first look");
        waits(&pace, &[1; EARLY as usize]);
        assert_eq!(pace.pauses(), 1);
    }

    #[test]
    fn waits_that_ended_early_count_whatever_came_between() {
        let pace = of(23, 1);
        waits(&pace, &[100]);
        waits(&pace, &[1; EARLY as usize - 1]);
        waits(&pace, &[8; 5]);
        assert_eq!(pace.pauses(), 2);
        waits(&pace, &[1]);
        assert_eq!(pace.pauses(), 1);
    }

    #[test]
    fn what_is_far_is_a_time_however_long_a_pause_takes() {
        // Nanoseconds of a pause; pauses of a wait that is long, with one line and with two, and between looks then.
        for (pause, one, two, wide) in
            [(4, 25, 50, 10), (23, 5, 9, 2), (40, 3, 5, 2), (140, 3, 3, 2), (0, 100, 200, 40)]
        {
            for (lines, far) in [(1, one), (2, two)] {
                let pace = of(pause, lines);
                waits(&pace, &[far - 1; 10]);
                assert_eq!(pace.pauses(), 1, "{pause} ns, {lines}");
                waits(&pace, &[far]);
                assert_eq!(pace.pauses(), wide, "{pause} ns, {lines}");
            }
        }
    }

    #[test]
    fn a_wait_for_more_than_a_line_learns_nothing() {
        for (size, learns) in [(1, true), (LINE, true), (LINE + 1, false), (1 << 20, false)] {
            let pace = Pace::learnt(size, 1);
            waits(&pace, &[1 << 20]);
            assert_eq!(pace.pauses() > 1, learns, "{size}");
        }
    }
}

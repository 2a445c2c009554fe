//! How long a spinning wait leaves the peer's line alone between two looks, learnt from the waits before it.
//!
//! Key decision: a look that comes while the peer is writing pulls the line away under its pen, and one that comes long
//! after it was written is late. How far apart looks should be depends on how far apart the CPUs are and on how long the
//! processor's pause takes (20 to 140 cycles), and neither is known. Both show in one number: how many looks a wait takes.
//! Found at the third look or later, looks are too close together: one pause more. Found at the first one several times
//! since, they may be too far apart: one less. Nothing is timed, as no wait that a message ends may read the clock.
//!
//! Rejected: looks at every pause (on two CPUs of one mesh a ping-pong of 64 bytes in one line took 1.4 to 1.7 of the
//! line's round trip, and 1.2 with this); learning how long to wait for the *first* look such that it succeeds: both sides
//! then grow late together, because each is found late by the other (1.9 to 2.0); ever more pauses within one wait, which
//! are wrong again for each message; more pauses than [`LONGEST`], which may be long where CPUs are near; one look more before
//! looks are too close together (n 15 of each: 64 bytes in one line 1.39 [1.18, 1.56] of the line's round trip instead of
//! 1.08 [0.96, 1.32], a ring 1.03 of the time).

use super::sync::relax;
use super::wait::Wait;
use std::sync::atomic::{AtomicU32, Ordering};

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

/// Most pauses between two looks.
pub const LONGEST: u32 = 4;
/// Looks that show that they are too close together.
const TOO_MANY: u32 = 3;
/// Waits that ended with their first look, since looks last came closer together, before they do so again.
const EARLY: u32 = 8;

/// What one end remembers of its spinning waits.
///
/// The numbers are one end's own and decide on nothing but pauses; they are atomic, and all accesses `Relaxed`, only
/// because the two halves of an end may be in two threads, of which each may then spoil the other's guess.
#[derive(Debug, Default)]
pub struct Pace {
    /// Pauses between two looks, less one.
    more: AtomicU32,
    /// Waits that ended with their first look, of [`EARLY`].
    early: AtomicU32,
}

impl Pace {
    /// Pauses before each look of a wait.
    #[inline(always)]
    pub fn pauses(&self) -> u32 {
        1 + self.more.load(Ordering::Relaxed)
    }

    /// A wait has ended with its `looks`th look. Nothing is stored where nothing changes.
    #[inline(always)]
    pub fn met(&self, looks: u32) {
        let more = self.more.load(Ordering::Relaxed);
        if looks >= TOO_MANY {
            if more + 1 < LONGEST {
                self.more.store(more + 1, Ordering::Relaxed);
            }
        } else if looks == 1 && more > 0 {
            let early = self.early.load(Ordering::Relaxed) + 1;
            if early == EARLY {
                self.more.store(more - 1, Ordering::Relaxed);
            }
            self.early.store(early % EARLY, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits for peers that answer after so many pauses each; pauses that the last one took.
    fn waits(pace: &Pace, peers: &[u32]) -> u32 {
        let wait = |late: &u32| {
            let between = pace.pauses();
            let looks = late.div_ceil(between).max(1);
            pace.met(looks);
            looks * between
        };
        peers.iter().map(wait).last().unwrap_or(0)
    }

    #[test]
    fn looks_become_rarer_until_a_wait_takes_few_and_closer_when_the_first_one_succeeds() {
        let pace = Pace::default();
        assert_eq!(pace.pauses(), 1);
        assert_eq!(waits(&pace, &[2; 100]), 2, "two looks are right");
        assert_eq!(pace.pauses(), 1);
        waits(&pace, &[4; 100]);
        assert_eq!(pace.pauses(), 2);
        waits(&pace, &[100; 100]);
        assert_eq!(pace.pauses(), LONGEST);
        waits(&pace, &[1; (EARLY * LONGEST) as usize]);
        assert_eq!(pace.pauses(), 1);
    }

    #[test]
    fn waits_that_ended_early_count_whatever_came_between() {
        let pace = Pace::default();
        waits(&pace, &[100; 3]);
        assert_eq!(pace.pauses(), LONGEST);
        waits(&pace, &[1; EARLY as usize - 1]);
        waits(&pace, &[2 * LONGEST; 5]);
        assert_eq!(pace.pauses(), LONGEST);
        waits(&pace, &[1]);
        assert_eq!(pace.pauses(), LONGEST - 1);
    }
}

//! What the parties of a pattern share besides a ledger each: the starting line, the tickets, and who was lost.
//!
//! Key decision: a page of its own beside the ledgers, one of which each peer has to itself exactly as the follower of two
//! parties has. All parties start together: whoever is at the line waits there by calling the scheduler, because the
//! others are on their way and may need this very CPU. Shares are not fixed beforehand where parties compete: each claims
//! a *block* of messages, carries them, and claims the next, until the window is claimed. A window then has an exact length
//! although nobody knows who will carry how much of it. Rejected: a claim per message (a contended line in every message,
//! dearer than the fastest mechanisms); a fixed share each (equal by construction, so it says nothing of fairness); a
//! window of fixed time (a clock reading per message).

use super::Line;
use super::ledger::Ledger;
use super::region::{PAGE, Region, View};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The shared page. All zero is "nothing happened yet".
#[derive(Debug)]
#[repr(C)]
pub struct Muster {
    /// Arrivals at the starting line since the beginning; [`OVER`] when nobody is to start any more.
    arrived: Line<AtomicU32>,
    /// Messages of the window that are claimed.
    claimed: Line<AtomicU64>,
    /// Number of the peer that ended before its time, plus one; [`OVER`] from the orderly end on.
    lost: Line<AtomicU32>,
}

const OVER: u32 = 1 << 31;
/// Looks at the line before the CPU is offered to others.
const LOOKS: u32 = 200;
/// Offers between two questions whether everybody still lives.
const OFFERS: u32 = 1 << 12;
/// Largest block, and the share of what one party would get in an even window that a block is at most.
const BLOCK: u64 = 64;
const BLOCKS_EACH: u64 = 16;

/// Pages of one ledger.
const LEDGER: usize = size_of::<Ledger>().next_multiple_of(PAGE);
const _: () = assert!(size_of::<Muster>() <= PAGE);

impl Muster {
    /// Bytes that a muster and the ledgers of `peers` take.
    pub const fn bytes(peers: usize) -> usize {
        PAGE + peers * LEDGER
    }

    /// A muster and a ledger for each peer in zeroed shared memory.
    ///
    /// # Panics
    /// If the region is shorter than [`bytes`](Self::bytes).
    pub fn lay(region: &Arc<Region>, peers: usize) -> (View<Muster>, Vec<View<Ledger>>) {
        // SAFETY: `Muster` and `Ledger` are all atomics.
        let ledgers = (0..peers).map(|index| unsafe { View::new(region, PAGE + index * LEDGER) }).collect();
        // SAFETY: as above.
        (unsafe { View::new(region, 0) }, ledgers)
    }

    /// Arrives at the line of window `step`, counted from one, and waits until all `parties` have; false when the run is
    /// over, or `alive` said no.
    pub fn start(&self, step: u32, parties: usize, alive: impl Fn() -> bool) -> bool {
        let due = step.wrapping_mul(parties as u32);
        // The gates order what must be ordered; the line only lets everybody go at once.
        let mut now = self.arrived.0.fetch_add(1, Ordering::AcqRel) + 1;
        let mut looks = 0_u32;
        while now < due {
            looks = looks.wrapping_add(1);
            if looks < LOOKS {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
                if looks.is_multiple_of(OFFERS) && !alive() {
                    return false;
                }
            }
            now = self.arrived.0.load(Ordering::Acquire);
        }
        now & OVER == 0
    }

    /// Nothing is claimed. Only while every party waits for the next window's order.
    pub fn reset(&self) {
        // Relaxed: the gates of the next order come after it.
        self.claimed.0.store(0, Ordering::Relaxed);
    }

    /// Claims the next block of a window of `total` messages, between `claimants`; `None` when all is claimed.
    pub fn claim(&self, total: u64, claimants: usize) -> Option<u64> {
        let block = (total / (BLOCKS_EACH * claimants as u64)).clamp(1, BLOCK);
        // Relaxed: a number, from which nothing else follows.
        let before = self.claimed.0.fetch_add(block, Ordering::Relaxed);
        total.checked_sub(before).filter(|left| *left > 0).map(|left| left.min(block))
    }

    /// Nobody starts any more, and peers that end from now on are not lost.
    pub fn over(&self) {
        self.lost.0.fetch_or(OVER, Ordering::AcqRel);
        self.arrived.0.fetch_or(OVER, Ordering::AcqRel);
    }

    /// Notes that peer `index` has ended; true when it should not have, and is the first.
    pub fn lose(&self, index: usize) -> bool {
        self.lost.0.compare_exchange(0, index as u32 + 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The peer that ended before its time.
    pub fn lost(&self) -> Option<usize> {
        (self.lost.0.load(Ordering::Acquire) & !OVER).checked_sub(1).map(|index| index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn muster() -> View<Muster> {
        Muster::lay(&Arc::new(Region::heap(Muster::bytes(2))), 2).0
    }

    #[test]
    fn claims_add_up_to_the_window_whoever_makes_them() {
        let muster = muster();
        for (total, claimants) in [(1, 3), (1000, 3), (4096, 1), (100_000, 2)] {
            muster.reset();
            let claims: Vec<u64> = std::iter::from_fn(|| muster.claim(total, claimants)).collect();
            assert_eq!(claims.iter().sum::<u64>(), total);
            let even = total / claimants as u64;
            assert!(claims.iter().all(|claim| *claim <= (even / BLOCKS_EACH).max(1)), "{total}: {claims:?}");
            assert_eq!(muster.claim(total, claimants), None);
        }
    }

    #[test]
    fn everybody_starts_together_and_nobody_after_the_end() {
        let muster = muster();
        std::thread::scope(|scope| {
            let parties = [(); 3].map(|()| scope.spawn(|| (1..=50).all(|step| muster.start(step, 3, || true))));
            assert!(parties.into_iter().all(|party| party.join().unwrap()));
        });
        muster.over();
        assert!(!muster.start(51, 3, || true));
    }

    #[test]
    fn who_waits_for_the_dead_stops_waiting() {
        assert!(!muster().start(1, 2, || false));
    }

    #[test]
    fn the_first_that_is_lost_is_named_and_nobody_is_lost_after_the_end() {
        let muster = muster();
        assert_eq!(muster.lost(), None);
        assert!(muster.lose(0) && !muster.lose(1));
        muster.over();
        assert_eq!(muster.lost(), Some(0));
        let orderly = self::muster();
        orderly.over();
        assert!(!orderly.lose(1) && orderly.lost().is_none());
    }
}

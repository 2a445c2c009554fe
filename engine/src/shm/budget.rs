//! How long a hybrid wait looks before it sleeps, learnt from the waits before it.
//!
//! Key decision: looking for as long as a sleep and a wake-up would cost is never worse than twice the best choice (Karlin,
//! Li, Manasse and Owicki, "Empirical Studies of Competitive Spinning for a Shared-Memory Multiprocessor", SOSP 1991), but a
//! peer that is always late makes each of those looks a waste. So an end that slept after its looks several times in a row
//! sleeps at once for the next waits, and tries looking again seldom: a peer that has become prompt is found out within
//! [`LONGEST_REST`] waits, and one that stays late costs that part of the looks. Nothing is timed, as no wait that a message
//! ends may read the clock. Rejected: halving the number of looks (a budget below the peer's delay only wastes what is left
//! of it); measuring how long the sleep took, as the kernel's halt polling does (two clock reads a message). A single wait
//! that was long means nothing yet: the hypervisor takes CPUs away, and a sleep makes the peer's next wait long too.
//!
//! What is found out is whether the *peer* is prompt. Two ends that wait for each other, where waking takes longer than all the
//! looks, may both come to rest after a disturbance: each then finds the other asleep whenever it tries. With any fixed number
//! of looks they do so too, and waste the looks.

use super::sync::{relax, yield_now};
use super::wait::Wait;
use std::sync::atomic::{AtomicU32, Ordering};

/// Waits in vain, one after the other, that are forgiven before the end rests from looking.
const FORGIVEN: u32 = 3;
/// Waits that sleep at once between two that look, when no look has found anything for long.
pub const LONGEST_REST: u32 = 128;
/// Looks that the wait under way has made, once it has slept.
const SLEPT: u32 = u32::MAX;

/// What one end remembers of its hybrid waits.
///
/// The numbers are one end's own and decide on nothing but looking; they are atomic, and all accesses `Relaxed`, only
/// because the two halves of an end may be in two threads, of which each may then spoil the other's guess.
#[derive(Debug, Default)]
pub struct Budget {
    /// Looks of the wait under way.
    looks: AtomicU32,
    /// Waits that looked as often as they may, and found nothing, since one that found it.
    vain: AtomicU32,
    /// Waits still to sleep at once.
    rest: AtomicU32,
}

impl Budget {
    /// How the wait that begins now goes: as `how` says, but for a hybrid one that rests, which makes no looks.
    #[inline(always)]
    pub fn begin(&self, how: Wait) -> Wait {
        if let Wait::Hybrid(_) = how
            && self.rests()
        {
            Wait::Hybrid(0)
        } else {
            how
        }
    }

    // Here and in `paid` nothing is stored where nothing changes: a bell's fence would wait for the store to get through.
    #[inline(always)]
    fn rests(&self) -> bool {
        let rest = self.rest.load(Ordering::Relaxed);
        if rest > 0 {
            self.rest.store(rest - 1, Ordering::Relaxed);
        }
        rest > 0
    }

    /// A hybrid wait that looked has ended without a sleep.
    #[inline(always)]
    pub fn paid(&self) {
        if self.vain.load(Ordering::Relaxed) > 0 {
            self.vain.store(0, Ordering::Relaxed);
        }
    }

    /// A hybrid wait that looked as often as it may is going to sleep, or to take a lock under which it will if it has to.
    pub fn in_vain(&self) {
        let vain = self.vain.load(Ordering::Relaxed).saturating_add(1);
        self.vain.store(vain, Ordering::Relaxed);
        if vain > FORGIVEN {
            let rest = 1_u32.checked_shl(vain - FORGIVEN).map_or(LONGEST_REST, |rest| rest.min(LONGEST_REST));
            self.rest.store(rest, Ordering::Relaxed);
        }
    }

    /// Whether a party that looked once more without success, and may look `most` times in one wait, looks again instead of
    /// sleeping. The wait ends with [`met`](Self::met).
    pub fn looks_again(&self, most: u32) -> bool {
        let looks = self.looks.load(Ordering::Relaxed);
        let again = looks < most && (looks > 0 || !self.rests());
        if !again && looks >= most && looks != SLEPT {
            self.in_vain();
        }
        self.looks.store(if again { looks + 1 } else { SLEPT }, Ordering::Relaxed);
        again
    }

    /// Whether a party that waits as `how` says, and looked once more without success, looks again; if not, it sleeps now.
    #[inline(always)]
    pub fn looks_on(&self, how: Wait) -> bool {
        match how {
            Wait::Spin | Wait::Yield => true,
            Wait::Hybrid(most) => self.looks_again(most),
            Wait::Block | Wait::Poll | Wait::Epoll => false,
        }
    }

    /// As [`looks_on`](Self::looks_on), after the [pause](Wait::pause) that comes between two looks.
    #[inline(always)]
    pub fn pauses(&self, how: Wait) -> bool {
        let again = self.looks_on(how);
        if again {
            how.pause();
        }
        again
    }

    /// What the party waited for is there: the next look that fails begins a new wait.
    #[inline(always)]
    pub fn met(&self) {
        match self.looks.load(Ordering::Relaxed) {
            // Nothing was looked for again: so it is with each message of a party that never waits.
            0 => return,
            SLEPT => {}
            _ => self.paid(),
        }
        self.looks.store(0, Ordering::Relaxed);
    }
}

impl Wait {
    /// A look that is a system call takes as long as so many that are not (100 to 400 ns beside 5 to 50), so a hybrid wait
    /// makes as many fewer.
    const CALL: u32 = 16;

    /// The same wait, where each look is a system call.
    #[inline(always)]
    pub fn by_calls(self) -> Self {
        if let Wait::Hybrid(most) = self { Wait::Hybrid(most.div_ceil(Self::CALL)) } else { self }
    }

    /// Between two looks of a party that stays awake: somebody else may run, or a few cycles pass.
    #[inline(always)]
    pub fn pause(self) {
        if self == Wait::Yield { yield_now() } else { relax() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks that a wait makes until it sleeps, with so many allowed.
    fn late(budget: &Budget, most: u32) -> u32 {
        let looks = (0..).take_while(|_| budget.looks_again(most)).count();
        // Woken, and once more without success: no new wait.
        assert!(!budget.looks_again(most));
        budget.met();
        looks as u32
    }

    fn prompt(budget: &Budget, most: u32) -> bool {
        let looked = budget.looks_again(most);
        budget.met();
        looked
    }

    #[test]
    fn an_end_whose_peer_is_late_looks_seldom_and_finds_a_prompt_one_again() {
        let budget = Budget::default();
        assert_eq!((0..=FORGIVEN).map(|_| late(&budget, 7)).collect::<Vec<_>>(), vec![7; FORGIVEN as usize + 1]);
        let waits = 100 * LONGEST_REST;
        let looks: u32 = (0..waits).map(|_| late(&budget, 7)).sum();
        assert!((7 * 99..7 * 120).contains(&looks), "{looks} looks in {waits} waits");
        // The peer has become prompt: soon every wait looks, and goes on to.
        let waits = (0..).take_while(|_| !prompt(&budget, 7)).count();
        assert!(waits <= LONGEST_REST as usize, "{waits}");
        assert!((0..1000).all(|_| prompt(&budget, 7)));
        // One long wait is no reason to rest.
        assert_eq!(late(&budget, 7), 7);
        assert!(prompt(&budget, 7));
    }

    #[test]
    fn whoever_need_not_wait_or_may_not_look_changes_nothing() {
        let budget = Budget::default();
        (0..10).for_each(|_| budget.met());
        assert_eq!(late(&budget, 3), 3);
        assert!((0..1000).all(|_| late(&budget, 0) == 0));
        let calls = [0, 1, 16, 17, 2000].map(|most| Wait::Hybrid(most).by_calls());
        assert_eq!(calls, [0, 1, 1, 2, 125].map(Wait::Hybrid));
    }

    #[test]
    fn waits_that_never_sleep_look_on_and_those_that_do_at_once_never() {
        let budget = Budget::default();
        for (how, looks) in [(Wait::Spin, 9), (Wait::Yield, 9), (Wait::Hybrid(3), 3), (Wait::Block, 0), (Wait::Poll, 0)]
        {
            assert_eq!((0..9).filter(|_| budget.pauses(how)).count(), looks, "{how:?}");
            budget.met();
        }
    }

    #[test]
    fn only_hybrid_waits_rest() {
        let budget = Budget::default();
        (0..9).for_each(|_| budget.in_vain());
        for how in [Wait::Block, Wait::Spin, Wait::Yield, Wait::Poll, Wait::Epoll] {
            assert_eq!(budget.begin(how), how);
        }
        assert_eq!(budget.begin(Wait::Hybrid(5)), Wait::Hybrid(0));
    }
}

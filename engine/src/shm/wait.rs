//! How one side waits for the other: spin, yield, sleep, or spin and then sleep.
//!
//! Key decision: a *bell* per direction of waiting. The waiter raises a flag and looks once more before it sleeps; the
//! other side publishes, then looks at the flag, and makes a system call only when somebody sleeps. Both sides put a
//! sequentially consistent fence between their write and their read (the store-buffer, or Dekker, pattern): without it
//! each may miss the other's write, also on x86. The sides that never sleep skip the fence altogether.
//! Rejected: an event counter bumped for every message (one more shared line per message); a wake-up for every message
//! (a system call per message). Source: futex(7), Dekker's algorithm in the C++ memory model ([atomics.fences]).

use super::budget::Budget;
use super::futex::{Futex, Scope};
use super::pace::Pace;
#[cfg(not(loom))]
use super::region::View;
#[cfg(not(loom))]
use super::sync::relax;
use super::sync::{Ordering, fence};
#[cfg(not(loom))]
use std::os::fd::RawFd;
use std::time::Duration;

/// How a party waits for the other one. A part of every row's label: rows that wait differently are not comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wait {
    /// Sleeps in the kernel at once.
    Block,
    /// Never gives the CPU away.
    Spin,
    /// Asks the scheduler to run somebody else between two looks.
    Yield,
    /// Looks at most this many times, then sleeps; sleeps at once, mostly, while looks find nothing ([`Budget`]).
    Hybrid(u32),
    /// Asks poll(2) whether the call would go through, sleeping there, and then makes the call. For descriptors only.
    Poll,
    /// The same with epoll_wait(2).
    Epoll,
}

impl Wait {
    /// Looks of a hybrid wait before it sleeps, when nothing else was said: about 10 to 50 us, a wake-up's price.
    pub const HYBRID_LOOKS: u32 = 2000;

    /// Whether it begins by looking again and again, with nothing but pauses between.
    #[inline(always)]
    pub fn looks(self) -> bool {
        matches!(self, Wait::Spin | Wait::Hybrid(_))
    }

    /// Whether this strategy may end in the kernel's wait queue, so that the other side has to ring.
    #[inline(always)]
    pub fn sleeps(self) -> bool {
        !matches!(self, Wait::Spin | Wait::Yield)
    }
}

#[cfg(not(loom))]
impl Wait {
    /// What is left of a bounded number of looks, one for each pause, after so many pauses.
    fn less(self, pauses: u32) -> Self {
        if let Wait::Hybrid(most) = self { Wait::Hybrid(most - pauses) } else { self }
    }
}

/// The other side is gone and what was waited for will not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

/// Looks between two checks whether the peer still lives, while spinning: rare enough to cost nothing.
#[cfg(not(loom))]
const LOOKS_PER_CHECK: u32 = 1 << 14;
/// The model checker follows every look, and one before each check already has all the interleavings.
#[cfg(loom)]
const LOOKS_PER_CHECK: u32 = 1;
/// Pauses of a spinning wait before it leaves the caller's code. The model checker has enough of them without.
#[cfg(not(loom))]
const PAUSES_IN_PLACE: u32 = 256;
/// Calls that give the CPU away before a wait that makes them leaves the caller's code: as many as a peer takes on a CPU that it
/// shares with others.
#[cfg(not(loom))]
const YIELDS_IN_PLACE: u32 = 64;
/// Who learns has to see a wait from which something is to be learnt to its end.
#[cfg(not(loom))]
const _: () = assert!(super::pace::MOST_TO_SHOW <= PAUSES_IN_PLACE);
/// A hybrid wait with fewer looks makes all of them where they are counted, so that a wait in vain is known for one.
#[cfg(not(loom))]
const MORE_THAN_IN_PLACE: u32 = PAUSES_IN_PLACE + super::pace::LONGEST;
/// Looks, with so many pauses before each, for [`PAUSES_IN_PLACE`]; what was found, and by which look.
#[cfg(not(loom))]
#[inline(always)]
fn looks<R>(apart: u32, ready: &mut impl FnMut() -> Option<R>) -> Option<(R, u32)> {
    let mut looks = 0;
    while looks * apart < PAUSES_IN_PLACE {
        (0..apart).for_each(|_| relax());
        looks += 1;
        if let Some(found) = ready() {
            return Some((found, looks));
        }
    }
    None
}

/// Sleep between two checks whether the peer still lives, where nobody watches it: short enough that a survivor that waits is
/// told within 10 ms.
pub(crate) const NAP: Duration = Duration::from_millis(5);

/// Where a side sleeps once the protocol of the [`Bell`] has decided that it must: the futex under the flag itself, or
/// something beside it. Only whoever saw the flag up wakes, so that nothing is asked of the kernel while nobody sleeps.
pub trait Berth {
    /// Sleeps until it was woken since the last sleep, or for another reason: the caller looks again. Must not sleep when
    /// `flag`, which was up, is down, unless whoever took it down is still going to wake. Returns false only where it
    /// certainly did not sleep.
    fn sleep(&self, flag: &Futex, limit: Option<Duration>) -> bool;

    /// Wakes the sleeper, whose `flag` is down by now.
    fn wake(&self, flag: &Futex);

    /// What another thread of this process does to wake this side, whose flag is `flag`, wherever it sleeps.
    #[cfg(not(loom))]
    fn rouser(&self, flag: View<Futex>) -> Rouser;
}

/// What wakes a sleeper from another thread.
#[cfg(not(loom))]
pub struct Rouser {
    /// To be called as often as one likes.
    pub wake: Box<dyn Fn() + Send + Sync>,
    /// The descriptor that it needs, which it keeps open.
    pub fd: Option<RawFd>,
}

#[cfg(not(loom))]
impl std::fmt::Debug for Rouser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rouser").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl Berth for Scope {
    #[inline(always)]
    fn sleep(&self, flag: &Futex, limit: Option<Duration>) -> bool {
        flag.wait(1, *self, limit)
    }

    #[inline(always)]
    fn wake(&self, flag: &Futex) {
        flag.wake(*self);
    }

    #[cfg(not(loom))]
    fn rouser(&self, flag: View<Futex>) -> Rouser {
        let scope = *self;
        Rouser { wake: Box::new(move || flag.wake(scope)), fd: None }
    }
}

impl<B: Berth> Berth for &B {
    #[inline(always)]
    fn sleep(&self, flag: &Futex, limit: Option<Duration>) -> bool {
        (*self).sleep(flag, limit)
    }

    #[inline(always)]
    fn wake(&self, flag: &Futex) {
        (*self).wake(flag);
    }

    #[cfg(not(loom))]
    fn rouser(&self, flag: View<Futex>) -> Rouser {
        (*self).rouser(flag)
    }
}

/// What a waiter knows of the party that it waits for. A closure says whether that one is gone, and sleeps with a limit.
pub trait Peer {
    /// Whether the peer ended without a word. May be slow (a system call): it is asked rarely.
    fn gone(&mut self) -> bool;

    /// Sleeps at `berth` until it was woken, for another reason, or so long that it is time to ask whether the peer is gone.
    /// Says what [`Berth::sleep`] says.
    fn sleep(&mut self, berth: &dyn Berth, flag: &Futex) -> bool {
        berth.sleep(flag, Some(NAP))
    }
}

impl<F: FnMut() -> bool> Peer for F {
    fn gone(&mut self) -> bool {
        self()
    }
}

/// A peer of whom is also said to be gone who left words that cannot be: `.0` says whether there are such.
#[derive(Debug)]
pub(super) struct Judged<'a, F, P>(pub(super) F, pub(super) &'a mut P);

impl<F: FnMut() -> bool, P: Peer> Peer for Judged<'_, F, P> {
    fn gone(&mut self) -> bool {
        (self.0)() || self.1.gone()
    }

    #[inline(always)]
    fn sleep(&mut self, berth: &dyn Berth, flag: &Futex) -> bool {
        self.1.sleep(berth, flag)
    }
}

/// A flag in shared memory that says "I sleep, wake me".
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Bell {
    asleep: Futex,
}

impl Default for Bell {
    fn default() -> Self {
        Self { asleep: Futex::new(0) }
    }
}

impl Bell {
    /// Waits until `ready` yields something, or until `left` or `peer` says that it never will.
    ///
    /// `left` is what the peer says in shared memory, and rings for: it is cheap and asked before every sleep. `peer` says
    /// whether it is gone, who said nothing, and how to sleep meanwhile. After either says that there is nobody,
    /// `ready` is asked a last time, so that what the peer published before it left is still delivered.
    ///
    /// The first sleep of a wait that sleeps at once is in the caller's code, as a return after a system call that switched is
    /// mispredicted, unless it is to be `APART`: the looks of a wait that spins may be a little faster then.
    ///
    /// # Errors
    /// [`Gone`] when the peer left and nothing is ready.
    #[inline(always)]
    pub fn wait<const APART: bool, R>(
        &self,
        (how, budget, pace): (Wait, &Budget, &Pace),
        berth: impl Berth,
        mut ready: impl FnMut() -> Option<R>,
        mut left: impl FnMut() -> bool,
        mut peer: impl Peer,
    ) -> Result<R, Gone> {
        if let Some(found) = ready() {
            return Ok(found);
        }
        let how = budget.begin(how);
        // In place for as long as a peer that is awake takes: a call, and the closures in memory instead of registers,
        // cost as much as a tenth of a round trip.
        #[cfg(not(loom))]
        let how = if let Wait::Spin | Wait::Hybrid(MORE_THAN_IN_PLACE..) = how {
            let apart = pace.pauses();
            // Two loops, of which the usual one has a pause and a look and nothing else: with pauses to count, ping-pongs of
            // several lines and streams of a slot took 1.3 to 1.9 of the time on CPUs that are 50 ns apart.
            let found = if pace.counts() { looks(apart, &mut ready) } else { looks(1, &mut ready) };
            if let Some((found, look)) = found {
                pace.met(look, apart);
                if how.sleeps() {
                    budget.paid();
                }
                return Ok(found);
            }
            how.less(PAUSES_IN_PLACE.next_multiple_of(apart))
        } else {
            how
        };
        // As these looks, the calls between them.
        #[cfg(not(loom))]
        if how == Wait::Yield {
            for _ in 0..YIELDS_IN_PLACE {
                how.pause();
                if let Some(found) = ready() {
                    return Ok(found);
                }
            }
        }
        if how == Wait::Block {
            let found = if APART {
                self.block_apart(&berth, &mut ready, &mut left, &mut peer)
            } else {
                self.sleep(&mut ready, &mut left, |flag| peer.sleep(&berth, flag))
            };
            if let (Some(found), slept) = found {
                pace.slept(slept);
                return Ok(found);
            }
            // Before the next sleep: this one may have been ended by a watcher, or by its limit.
            if left() || peer.gone() {
                return ready().ok_or(Gone);
            }
        }
        let mut found = None;
        let look = &mut || {
            found = ready();
            found.is_some()
        };
        self.wait_slow((how, budget), &berth, look, &mut left, &mut peer)?;
        found.ok_or(Gone)
    }

    /// The first sleep of a wait that sleeps at once, as one function for each end: in the rest of the wait it is five calls deep.
    #[inline(never)]
    fn block_apart<R>(
        &self,
        berth: &impl Berth,
        ready: &mut impl FnMut() -> Option<R>,
        left: &mut impl FnMut() -> bool,
        peer: &mut impl Peer,
    ) -> (Option<R>, bool) {
        self.sleep(ready, left, |flag| peer.sleep(berth, flag))
    }

    /// The rest of the wait, once for all kinds of waiting: here an indirect call costs nothing that counts. Returns when
    /// `ready` said yes.
    #[inline(never)]
    fn wait_slow(
        &self,
        (how, budget): (Wait, &Budget),
        berth: &dyn Berth,
        ready: &mut dyn FnMut() -> bool,
        left: &mut dyn FnMut() -> bool,
        peer: &mut dyn Peer,
    ) -> Result<(), Gone> {
        let looks = match how {
            // The last two are for descriptors, and no mechanism without one lists them.
            Wait::Block | Wait::Poll | Wait::Epoll => 0,
            Wait::Hybrid(looks) => looks,
            Wait::Spin | Wait::Yield => LOOKS_PER_CHECK,
        };
        // The looks of a hybrid wait are counted once: after its first sleep the peer is late.
        let mut judged = !matches!(how, Wait::Hybrid(1..));
        loop {
            for _ in 0..looks {
                if ready() {
                    if !judged {
                        budget.paid();
                    }
                    return Ok(());
                }
                how.pause();
            }
            if !judged {
                budget.in_vain();
                judged = true;
            }
            if how.sleeps()
                && self.sleep(|| ready().then_some(()), &mut *left, |flag| peer.sleep(berth, flag)).0.is_some()
            {
                return Ok(());
            }
            if left() || peer.gone() {
                return if ready() { Ok(()) } else { Err(Gone) };
            }
        }
    }

    /// One round of "raise the flag, look again, sleep": what is ready then, and whether it took a sleep.
    #[inline(always)]
    fn sleep<R>(
        &self,
        mut ready: impl FnMut() -> Option<R>,
        mut left: impl FnMut() -> bool,
        sleep: impl FnOnce(&Futex) -> bool,
    ) -> (Option<R>, bool) {
        // Relaxed: the fence below orders this store before the looks, which is all that the protocol needs.
        self.asleep.word().store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let found = ready();
        // The peer rings for leaving as it does for publishing, so leaving too has to be looked for behind the flag:
        // whoever left before the flag was up rang in vain.
        let slept = found.is_none() && !left() && sleep(&self.asleep);
        // Lower the flag ourselves too: after the limit, or when the look succeeded, nobody else did.
        self.asleep.word().store(0, Ordering::Relaxed);
        (found.or_else(ready), slept)
    }

    /// The flag, for those who wake the sleeper from outside.
    #[cfg(not(loom))]
    pub(super) fn flag(&self) -> &Futex {
        &self.asleep
    }

    /// The flag, for those who damage it.
    #[cfg(not(loom))]
    pub(super) fn word(&self) -> &super::sync::AtomicU32 {
        self.asleep.word()
    }

    /// Wakes the waiter if it sleeps. To be called after publishing, by a side whose peer may sleep.
    #[inline(always)]
    pub fn ring(&self, how: Wait, berth: impl Berth) {
        self.ring_if(how, berth, || true);
    }

    /// As [`ring`](Self::ring), but a sleeper is left asleep where it is not `worth` it. Whoever says so has to come by again
    /// before it waits for that sleeper.
    #[inline(always)]
    pub fn ring_if(&self, how: Wait, berth: impl Berth, worth: impl FnOnce() -> bool) {
        if how.sleeps() {
            // Pairs with the fence in `sleep`: either the waiter sees what was published, be it a message or that we
            // left, or we see its flag.
            fence(Ordering::SeqCst);
            if self.asleep.peek() != 0 && worth() {
                self.rouse(&berth);
            }
        }
    }

    /// Wakes the waiter whether or not its flag is up. To be called by a side that leaves: it comes by once, so a flag that
    /// was wiped must not keep its news from a sleeper without a limit.
    pub(super) fn toll(&self, how: Wait, berth: impl Berth) {
        if how.sleeps() {
            // As in `ring`.
            fence(Ordering::SeqCst);
            self.rouse(&berth);
        }
    }

    #[cold]
    fn rouse(&self, berth: &impl Berth) {
        self.asleep.word().store(0, Ordering::Relaxed);
        berth.wake(&self.asleep);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Looks of a wait in vain for a peer that has left.
    fn in_vain(how: Wait, (budget, pace): (&Budget, &Pace)) -> u32 {
        let mut looks = 0;
        let ready = || {
            looks += 1;
            None::<()>
        };
        assert_eq!(
            Bell::default().wait::<false, _>((how, budget, pace), Scope::Private, ready, || true, || true),
            Err(Gone)
        );
        looks
    }

    /// A wait that ends with this look, not counting the one before all pauses.
    fn found_at(look: u32, (budget, pace): (&Budget, &Pace)) {
        let mut looks = 0;
        let ready = || {
            looks += 1;
            (looks > look).then_some(())
        };
        assert_eq!(
            Bell::default().wait::<false, _>((Wait::Spin, budget, pace), Scope::Private, ready, || false, || false),
            Ok(())
        );
    }

    /// A peer that died: sleeps before it is asked after.
    struct Dead<'a>(&'a mut u32);

    impl Peer for Dead<'_> {
        fn gone(&mut self) -> bool {
            true
        }

        fn sleep(&mut self, _: &dyn Berth, _: &Futex) -> bool {
            *self.0 += 1;
            true
        }
    }

    #[test]
    fn a_sleeper_asks_after_its_peer_when_it_was_woken_for_nothing() {
        for how in [Wait::Block, Wait::Hybrid(0), Wait::Hybrid(3), Wait::Hybrid(2000)] {
            let mut sleeps = 0;
            let nothing = || None::<()>;
            let peer = Dead(&mut sleeps);
            let waited = Bell::default().wait::<false, _>(
                (how, &Budget::default(), &Pace::default()),
                Scope::Private,
                nothing,
                || false,
                peer,
            );
            assert_eq!((waited, sleeps), (Err(Gone), 1), "{how:?}");
        }
    }

    /// A berth that puts nobody to sleep, or says that it did.
    struct Asleep(bool);

    impl Berth for Asleep {
        fn sleep(&self, _: &Futex, _: Option<Duration>) -> bool {
            self.0
        }

        fn wake(&self, _: &Futex) {}

        fn rouser(&self, _: View<Futex>) -> Rouser {
            unreachable!("nobody watches")
        }
    }

    #[test]
    fn a_side_that_was_not_put_to_sleep_and_gained_one_slot_falls_back_once() {
        // The look that finds something: before the flag is up, behind it, after the call that sleeps.
        for (look, slept, follows) in [(1, true, false), (2, true, true), (3, true, false), (3, false, true)] {
            for gained in [1, 2] {
                let (budget, pace) = (Budget::default(), Pace::default());
                let mut looks = 0;
                let ready = || {
                    looks += 1;
                    (looks >= look).then_some(())
                };
                let terms = (Wait::Block, &budget, &pace);
                assert_eq!(Bell::default().wait::<false, _>(terms, Asleep(slept), ready, || false, || false), Ok(()));
                assert_eq!(pace.slips(Wait::Block, gained), follows && gained == 1, "{look} {slept} {gained}");
                assert!(!pace.slips(Wait::Block, 1), "twice after one wait");
            }
        }
    }

    #[test]
    fn only_the_last_wait_decides_whether_a_side_falls_back() {
        let (budget, pace) = (Budget::default(), Pace::default());
        for slept in [false, true] {
            let mut looks = 0;
            let ready = || {
                looks += 1;
                (looks > 2).then_some(())
            };
            let terms = (Wait::Block, &budget, &pace);
            assert_eq!(Bell::default().wait::<false, _>(terms, Asleep(slept), ready, || false, || false), Ok(()));
        }
        assert!(!pace.slips(Wait::Block, 1));
    }

    #[test]
    fn a_wait_learns_how_far_apart_looks_are_and_keeps_the_number_of_its_pauses() {
        // The look before all pauses, those of the sleep, and the last one.
        const BESIDE: u32 = 6;
        for nanos in [1, 3, 4, 7, 23, 140] {
            for far in [false, true] {
                for most in [PAUSES_IN_PLACE, MORE_THAN_IN_PLACE, MORE_THAN_IN_PLACE + 1, 2000] {
                    let terms = (&Budget::default(), &Pace::of(Some(Duration::from_nanos(nanos)), 1));
                    if far {
                        found_at(PAUSES_IN_PLACE, terms);
                    }
                    let pauses = terms.1.pauses();
                    assert_eq!(pauses > 1, far);
                    let found = in_vain(Wait::Hybrid(most), terms);
                    let in_place = if most < MORE_THAN_IN_PLACE { 0 } else { PAUSES_IN_PLACE };
                    let fewer = in_place - in_place.div_ceil(pauses);
                    assert!(
                        (most - fewer - pauses..=most - fewer + BESIDE).contains(&found),
                        "{found} of {most}, {pauses}"
                    );
                }
            }
        }
    }
}

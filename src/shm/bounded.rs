//! The textbook's bounded buffer between two processes, guarded by semaphores or by a mutex with condition variables.
//!
//! Key decision: both are the same buffer, and differ in how a side comes by its next slot and gives it away
//! ([`Turns`]). Side 0 produces, side 1 consumes, and what one of them does mirrors the other: it waits for its own
//! reason, uses the slot, counts, and wakes its peer. Slots and ends are shared code.
//!
//! The mutex is held for a few instructions, to read and write the counts, never while a message is written or read in
//! its slot: the slot between a side's count and the peer's is that side's alone. Rejected: copying under the lock, as
//! the textbook does, which makes each party wait for the length of the other one's payload and measures that instead
//! of the lock.

use super::Line;
use super::budget::Budget;
use super::nonsense::Nonsense;
use super::region::{INDICES, Occupants, PAGE, Region, RingShape, Slots, View, occupants};
use super::ring::Stop;
use super::scribble::Word;
use super::vigil::Vigil;
use super::wait::{Rouser, Wait};
use crate::sys::rouse::roused;
use crate::sys::sync::{Condition, Locked, Mutex, Semaphore};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How one side comes by its next slot and gives it to the other one.
pub trait Turns: Sized + Send {
    /// Lays out what both sides share, in zeroed memory that nobody else uses yet.
    ///
    /// # Errors
    /// What the C library says.
    fn lay(region: &Arc<Region>, slots: usize) -> io::Result<()>;

    /// Side `me` of a buffer of `slots` slots that was laid out.
    fn side(region: &Arc<Region>, slots: usize, me: usize, wait: Wait) -> Self;

    /// Waits for a slot of one's own and returns how many there were before it.
    ///
    /// # Errors
    /// [`Stop::Gone`] when the other side left and there is nothing more to do; [`Stop::Died`], [`Stop::Corrupt`].
    fn reserve(&mut self) -> Result<u64, Stop>;

    /// How many slots are this side's already, where that can be told without waiting and without a lock. A peer that left
    /// keeps nobody waiting.
    fn ready(&self) -> Option<u64> {
        None
    }

    /// Has the peer watched from now on, so that a sleeper hears that it died.
    fn keep_vigil(&mut self);

    /// Which word made [`Stop::Corrupt`] of the last call.
    fn nonsense(&self) -> Option<Nonsense>;

    /// Gives the slot to the other side.
    fn commit(&mut self);

    /// Runs `then` inside the lock, where there is one; says whether there is.
    fn holding(&self, then: &mut dyn FnMut()) -> bool {
        let _ = then;
        false
    }

    /// Says that this side left, and wakes the other one.
    fn leave(&self);
}

const PRODUCER: usize = 0;

/// What the semaphores' sides share. Side `i` posts `tokens[i]`: messages, then free slots.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Tokens {
    tokens: [Line<Semaphore>; 2],
    /// Messages ever sent; stored by the producer, read once it has left.
    sent: Line<AtomicU64>,
    left: Line<[AtomicU32; 2]>,
}

const _: () = assert!(INDICES + size_of::<Tokens>() <= PAGE);

impl Tokens {
    pub(super) fn words(&self) -> Vec<Word<'_>> {
        let [producer, consumer] = &self.left.0;
        vec![Word::full("sent", &self.sent.0), Word::half("left", producer), Word::half("left", consumer)]
    }

    /// Says that side `who` left, and wakes the other one: said by the one that leaves, or for one that was killed. To say it
    /// twice does no harm, because nobody counts tokens any more after it.
    fn farewell(&self, who: usize) {
        // Release: all that was counted is visible to whoever sees the flag.
        self.left.0[who].store(1, Ordering::Release);
        self.tokens[who].0.post();
    }
}

/// One side of a buffer with two semaphores: one counts messages, the other free slots.
///
/// The indices are private: the semaphores alone say how far a side may go. A side that leaves raises its flag and posts
/// once more than there are messages (slots); whoever sees the flag after a wait goes on by the count of messages sent.
#[derive(Debug)]
pub struct BySemaphores {
    shared: View<Tokens>,
    me: usize,
    wait: Wait,
    budget: Budget,
    count: u64,
    slots: u64,
    peer_left: bool,
    nonsense: Option<Nonsense>,
    occupants: View<Occupants>,
    vigil: Option<Vigil>,
}

impl BySemaphores {
    #[cold]
    fn broken(&mut self) -> Stop {
        let value = io::Error::last_os_error().raw_os_error().unwrap_or_default() as u64;
        self.nonsense = Some(Nonsense { word: "the answer of the semaphore (errno)", value, low: 0, high: 0 });
        Stop::Corrupt
    }

    /// What is there to do once the peer's farewell, which says `left`, is up: nothing for a producer; what was sent for a
    /// consumer.
    #[cold]
    fn finish(&mut self, left: u32) -> Result<(), Stop> {
        // Acquire: the producer may have been killed between a message and its token.
        let sent = self.shared.sent.0.load(Ordering::Acquire);
        let due = self.count.wrapping_add(self.slots);
        self.nonsense = farewell(left).or_else(|| {
            let sent = || Nonsense::unless_within("the number of messages sent", sent, self.count, due);
            (self.me != PRODUCER).then(sent).flatten()
        });
        match self.nonsense {
            Some(_) => Err(Stop::Corrupt),
            None if self.me == PRODUCER || self.count == sent => Err(Stop::Gone),
            None => Ok(()),
        }
    }
}

/// What is impossible of a farewell.
fn farewell(left: u32) -> Option<Nonsense> {
    Nonsense::unless_within("the peer's farewell", u64::from(left), 0, 1)
}

pub(super) fn tokens(region: &Arc<Region>) -> View<Tokens> {
    // SAFETY: `Tokens` is atomics and semaphores.
    unsafe { View::new(region, INDICES) }
}

impl Turns for BySemaphores {
    fn lay(region: &Arc<Region>, slots: usize) -> io::Result<()> {
        let shared = tokens(region);
        shared.tokens[0].0.init(0)?;
        shared.tokens[1].0.init(slots as u32)
    }

    fn side(region: &Arc<Region>, slots: usize, me: usize, wait: Wait) -> Self {
        Self {
            shared: tokens(region),
            me,
            wait,
            budget: Budget::default(),
            count: 0,
            slots: slots as u64,
            peer_left: false,
            nonsense: None,
            occupants: occupants(region),
            vigil: None,
        }
    }

    fn keep_vigil(&mut self) {
        let (shared, peer) = (self.shared.clone(), 1 - self.me);
        self.vigil = Vigil::until_death(self.occupants.peer_of(self.me), move || shared.farewell(peer)).ok();
    }

    #[inline(always)]
    fn reserve(&mut self) -> Result<u64, Stop> {
        if !self.peer_left && !take(&self.shared.tokens[1 - self.me].0, self.wait, &self.budget) {
            return Err(if roused() { Stop::Gone } else { self.broken() });
        }
        // Acquire: pairs with `leave`, so that the count of messages sent is the last one.
        let left = self.shared.left.0[1 - self.me].load(Ordering::Acquire);
        if left != 0 || self.peer_left {
            self.peer_left = true;
            self.finish(left)?;
        }
        Ok(self.count & (self.slots - 1))
    }

    #[inline(always)]
    fn ready(&self) -> Option<u64> {
        // The farewell is one more post. Whoever saw it does not wait any more: the next call says what there is.
        Some(if self.peer_left { 1 } else { self.shared.tokens[1 - self.me].0.value() })
    }

    #[inline(always)]
    fn commit(&mut self) {
        self.count += 1;
        if self.me == PRODUCER {
            // Release: the message is visible before it is counted.
            self.shared.sent.0.store(self.count, Ordering::Release);
        }
        self.shared.tokens[self.me].0.post();
    }

    fn leave(&self) {
        self.shared.farewell(self.me);
    }

    fn nonsense(&self) -> Option<Nonsense> {
        self.nonsense
    }
}

/// Takes a token as `wait` says; false when there is no semaphore any more, or the process was [roused].
#[inline(always)]
fn take(semaphore: &Semaphore, wait: Wait, budget: &Budget) -> bool {
    loop {
        if wait == Wait::Block {
            return semaphore.wait();
        }
        if semaphore.try_wait() {
            budget.met();
            return true;
        }
        if roused() {
            return false;
        }
        if !budget.pauses(wait) {
            budget.met();
            return semaphore.wait();
        }
    }
}

/// What the sides share under a mutex. The atomics are read and written under the lock only, hence all `Relaxed`.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Books {
    lock: Mutex,
    /// Side `i` sleeps on `news[i]`.
    news: [Condition; 2],
    /// Messages ever sent, messages ever taken.
    counts: [AtomicU64; 2],
    left: [AtomicU32; 2],
    /// Whether somebody died while it held the lock.
    orphaned: AtomicU32,
}

const _: () = assert!(INDICES + size_of::<Books>() <= PAGE);

impl Books {
    pub(super) fn words(&self) -> Vec<Word<'_>> {
        let ([sent, taken], [producer, consumer]) = (&self.counts, &self.left);
        vec![
            Word::full("sent", sent),
            Word::full("taken", taken),
            Word::half("left", producer),
            Word::half("left", consumer),
            Word::half("orphaned", &self.orphaned),
        ]
    }
}

/// One side of a buffer with a robust mutex and two condition variables.
///
/// Each side remembers the peer's count from when it last held the lock, so that a message costs one locking, for the
/// counts, and a second one only where the side has to wait.
#[derive(Debug)]
pub struct ByMutex {
    shared: View<Books>,
    me: usize,
    slots: u64,
    count: u64,
    /// The peer's count.
    seen: u64,
    /// What the last look said about the peer.
    stop: Option<Stop>,
    nonsense: Option<Nonsense>,
    occupants: View<Occupants>,
    vigil: Option<Vigil>,
}

pub(super) fn books(region: &Arc<Region>) -> View<Books> {
    // SAFETY: `Books` is atomics, a mutex and condition variables.
    unsafe { View::new(region, INDICES) }
}

impl Books {
    /// Locks; a dead owner is remembered for both sides. What it may have left undone is one count, which is whole either
    /// way. The error is what the C library says of a mutex that is none any more.
    #[inline(always)]
    fn lock(&self) -> Result<Locked<'_>, Nonsense> {
        let locked = self.lock.lock().map_err(broken)?;
        self.remember(&locked);
        Ok(locked)
    }

    #[inline(always)]
    fn remember(&self, locked: &Locked<'_>) {
        if locked.orphaned {
            self.orphaned.store(1, Ordering::Relaxed);
        }
    }

    /// The count of the peer of side `me`, and why there will be no more, if so. The lock must be held.
    #[inline(always)]
    fn look(&self, me: usize) -> (u64, Option<Stop>) {
        let stop = if self.orphaned.load(Ordering::Relaxed) != 0 {
            Some(Stop::Died)
        } else {
            (self.left[1 - me].load(Ordering::Relaxed) != 0).then_some(Stop::Gone)
        };
        (self.counts[1 - me].load(Ordering::Relaxed), stop)
    }

    /// What of the flags, and of the count of side `me`, which is `count`, is impossible. The lock must be held.
    fn impossible(&self, me: usize, count: u64) -> Option<Nonsense> {
        let left = |who: usize| self.left[who].load(Ordering::Relaxed);
        let orphaned = u64::from(self.orphaned.load(Ordering::Relaxed));
        Nonsense::unless_within("the mark of a dead owner", orphaned, 0, 1)
            .or_else(|| farewell(left(1 - me)))
            .or_else(|| Nonsense::unless("one's own farewell", u64::from(left(me)), 0))
            .or_else(|| Nonsense::unless("one's own count", self.counts[me].load(Ordering::Relaxed), count))
    }
}

/// The C library's number of the error with which it refused a lock.
#[cold]
fn broken(error: io::Error) -> Nonsense {
    let value = error.raw_os_error().unwrap_or_default() as u64;
    Nonsense { word: "the answer of the mutex (errno)", value, low: 0, high: 0 }
}

impl ByMutex {
    /// Whether there is a slot for this side, as far as it knows.
    #[inline(always)]
    fn ready(&self) -> bool {
        let ahead = self.count.wrapping_sub(self.seen);
        if self.me == PRODUCER { ahead < self.slots } else { ahead != 0 }
    }

    #[cold]
    #[inline(never)]
    fn wait(&mut self) -> Result<(), Nonsense> {
        let (mut locked, mut gone) = (self.shared.lock()?, false);
        loop {
            (self.seen, self.stop) = self.shared.look(self.me);
            if gone {
                // What it published before it died is there: its end was seen before this look.
                self.stop = self.stop.or(Some(Stop::Gone));
            }
            self.nonsense = self.shared.impossible(self.me, self.count).or_else(|| self.impossible());
            if self.ready() || self.stop.is_some() || self.nonsense.is_some() {
                return Ok(());
            }
            // A condition variable is not robust: a peer that is killed, in the middle of a signal or before it, wakes nobody.
            let news = &self.shared.news[self.me];
            let late = Vigil::guard(self.vigil.as_ref(), |limit| news.wait(&mut locked, limit)).map_err(broken)?;
            let alone = late || self.vigil.as_ref().is_some_and(Vigil::is_over);
            self.shared.remember(&locked);
            gone = alone && self.occupants.peer_gone(self.me);
        }
    }

    /// What is impossible of the peer's count.
    fn impossible(&self) -> Option<Nonsense> {
        let (count, seen, slots) = (self.count, self.seen, self.slots);
        match self.me {
            PRODUCER => Nonsense::unless_within("the peer's count", seen, count.saturating_sub(slots), count),
            _ => Nonsense::unless_within("the peer's count", seen, count, count + slots),
        }
    }

    #[cold]
    fn corrupt(&mut self, nonsense: Option<Nonsense>) -> Stop {
        self.nonsense = nonsense;
        self.stop = Some(Stop::Corrupt);
        Stop::Corrupt
    }
}

impl Turns for ByMutex {
    fn lay(region: &Arc<Region>, _: usize) -> io::Result<()> {
        let shared = books(region);
        shared.lock.init()?;
        shared.news.iter().try_for_each(Condition::init)
    }

    fn side(region: &Arc<Region>, slots: usize, me: usize, _: Wait) -> Self {
        let (shared, occupants) = (books(region), occupants(region));
        Self { shared, me, slots: slots as u64, count: 0, seen: 0, stop: None, nonsense: None, occupants, vigil: None }
    }

    fn keep_vigil(&mut self) {
        let (shared, me) = (self.shared.clone(), self.me);
        let wake = Box::new(move || shared.news[me].signal());
        self.vigil = Vigil::over(self.occupants.peer_of(me), Rouser { wake, fd: None }).ok();
    }

    #[inline(always)]
    fn reserve(&mut self) -> Result<u64, Stop> {
        if !self.ready() && self.stop.is_none() {
            self.nonsense = self.wait().err().or(self.nonsense);
            if self.nonsense.is_some() {
                return Err(self.corrupt(self.nonsense));
            }
        }
        match self.stop {
            // What a producer sent before it left is still to be received.
            Some(Stop::Gone) if self.me != PRODUCER && self.ready() => {}
            Some(stop) => return Err(stop),
            None => {}
        }
        let (ahead, behind) = if self.me == PRODUCER { (self.count, self.seen) } else { (self.seen, self.count) };
        if ahead.wrapping_sub(behind) > self.slots {
            return Err(self.corrupt(self.impossible()));
        }
        Ok(self.count & (self.slots - 1))
    }

    #[inline(always)]
    fn commit(&mut self) {
        self.count += 1;
        let (shared, me, count) = (&*self.shared, self.me, self.count);
        let published = shared.lock().map(|locked| {
            shared.counts[me].store(count, Ordering::Relaxed);
            let seen = shared.look(me);
            drop(locked);
            shared.news[1 - me].signal();
            seen
        });
        match published {
            Ok(seen) => (self.seen, self.stop) = seen,
            // The message was not published; the next call says so.
            Err(nonsense) => _ = self.corrupt(Some(nonsense)),
        }
    }

    fn holding(&self, then: &mut dyn FnMut()) -> bool {
        let locked = self.shared.lock();
        then();
        locked.is_ok()
    }

    fn leave(&self) {
        if let Ok(locked) = self.shared.lock() {
            self.shared.left[self.me].store(1, Ordering::Relaxed);
            drop(locked);
            self.shared.news[1 - self.me].signal();
        }
    }

    fn nonsense(&self) -> Option<Nonsense> {
        self.nonsense
    }
}

/// One end of a bounded buffer.
#[derive(Debug)]
struct End<T: Turns> {
    turns: T,
    slots: Slots,
    attached: bool,
}

impl<T: Turns> End<T> {
    fn new(region: &Arc<Region>, shape: RingShape, me: usize, wait: Wait) -> Self {
        let turns = T::side(region, shape.slots, me, wait);
        Self { turns, slots: Slots::new(region, shape), attached: false }
    }
}

impl<T: Turns> Drop for End<T> {
    fn drop(&mut self) {
        if self.attached {
            self.turns.leave();
        }
    }
}

/// The sending end.
#[derive(Debug)]
pub struct BoundedTx<T: Turns>(End<T>);

/// The receiving end.
#[derive(Debug)]
pub struct BoundedRx<T: Turns>(End<T>);

/// Both ends of the buffer that [`Turns::lay`] laid out in the region. There must be one of each, which is why nobody
/// outside the crate may make them: a second one would hand out the same slots again.
pub(crate) fn ends<T: Turns>(region: &Arc<Region>, shape: RingShape, wait: Wait) -> (BoundedTx<T>, BoundedRx<T>) {
    (BoundedTx(End::new(region, shape, 0, wait)), BoundedRx(End::new(region, shape, 1, wait)))
}

impl<T: Turns> BoundedTx<T> {
    /// As [`Turns::ready`].
    pub fn ready(&self) -> Option<u64> {
        self.0.turns.ready()
    }

    /// As [`Turns::nonsense`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.0.turns.nonsense()
    }

    /// As [`Turns::holding`].
    pub fn holding(&self, then: &mut dyn FnMut()) -> bool {
        self.0.turns.holding(then)
    }

    /// Says that this end is in use: only then does dropping it tell the other side.
    pub fn attach(&mut self) {
        self.0.attached = true;
        self.0.turns.keep_vigil();
    }

    /// Waits for a free slot, lets `fill` write the message into it, and publishes it.
    ///
    /// # Errors
    /// As [`Turns::reserve`].
    #[inline(always)]
    pub fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<(), Stop> {
        let end = &mut self.0;
        let index = end.turns.reserve()?;
        // SAFETY: between `reserve` and `commit` the slot is the producer's alone: the consumer has taken the message that
        // was there and is told of the next one by `commit`. The view in `turns` keeps the region mapped.
        fill(unsafe { end.slots.get_mut(index) });
        end.turns.commit();
        Ok(())
    }
}

impl<T: Turns> BoundedRx<T> {
    /// As [`Turns::ready`].
    pub fn ready(&self) -> Option<u64> {
        self.0.turns.ready()
    }

    /// As [`Turns::nonsense`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.0.turns.nonsense()
    }

    /// As [`Turns::holding`].
    pub fn holding(&self, then: &mut dyn FnMut()) -> bool {
        self.0.turns.holding(then)
    }

    /// As [`BoundedTx::attach`].
    pub fn attach(&mut self) {
        self.0.attached = true;
        self.0.turns.keep_vigil();
    }

    /// Waits for a message, lets `read` look at it in place, and frees the slot.
    ///
    /// # Errors
    /// As [`Turns::reserve`].
    #[inline(always)]
    pub fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Stop> {
        let end = &mut self.0;
        let index = end.turns.reserve()?;
        // SAFETY: between `reserve` and `commit` the slot is the consumer's alone: the producer writes it again only after
        // `commit` has freed it. The view in `turns` keeps the region mapped.
        let result = read(unsafe { end.slots.get(index) });
        end.turns.commit();
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::time::Duration;

    /// A buffer of four messages of 8 bytes in memory that a forked child shares.
    fn buffer() -> (Arc<Region>, BoundedTx<ByMutex>, BoundedRx<ByMutex>) {
        let shape = RingShape::new(8, 32);
        let region = Arc::new(crate::sys::map::anonymous_shared(shape.region_len()).unwrap());
        ByMutex::lay(&region, shape.slots).unwrap();
        let (mut tx, mut rx) = ends(&region, shape, Wait::Block);
        tx.attach();
        rx.attach();
        (region, tx, rx)
    }

    /// A process that locks the mutex and is killed.
    fn dies_inside_the_lock(region: &Arc<Region>) {
        let shared = books(region);
        let mut child = Command::new("true");
        let die = move || {
            std::mem::forget(shared.lock().unwrap());
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
            unreachable!("nothing survives SIGKILL")
        };
        // SAFETY: between fork and death the child calls only the lock of a free mutex and raise.
        let status = unsafe { child.pre_exec(die) }.status().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
    }

    #[test]
    fn a_process_that_dies_inside_the_lock_is_reported_to_both_sides_for_good() {
        let (region, mut tx, mut rx) = buffer();
        tx.send_with(|place| place.fill(1)).unwrap();
        dies_inside_the_lock(&region);
        for _ in 0..2 {
            assert_eq!(rx.recv_with(|_| ()), Err(Stop::Died));
        }
        // The producer had room and did not have to look before: it finds out when it publishes.
        let sent: Vec<_> = (0..3).map(|_| tx.send_with(|place| place.fill(2))).collect();
        assert_eq!(sent, [Ok(()), Err(Stop::Died), Err(Stop::Died)]);
    }

    #[test]
    fn a_sleeper_finds_out_by_itself_that_its_peer_died_and_told_nobody() {
        let (region, mut tx, mut rx) = buffer();
        tx.send_with(|place| place.fill(1)).unwrap();
        // The post of a process that has ended, of which nobody says that it left.
        let mut child = Command::new("true").spawn().unwrap();
        occupants(&region).pids[PRODUCER].store(child.id(), Ordering::Release);
        child.wait().unwrap();
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send([rx.recv_with(|_| ()), rx.recv_with(|_| ()), rx.recv_with(|_| ())]));
        let heard = ended.recv_timeout(Duration::from_secs(60)).expect("the sleeper wakes");
        assert_eq!(heard, [Ok(()), Err(Stop::Gone), Err(Stop::Gone)]);
        drop(tx);
    }

    #[test]
    fn a_sleeper_hears_of_the_death_from_whoever_locks_next() {
        let (region, tx, mut rx) = buffer();
        let sleeper = std::thread::spawn(move || rx.recv_with(|_| ()));
        dies_inside_the_lock(&region);
        drop(tx);
        assert_eq!(sleeper.join().unwrap(), Err(Stop::Died));
    }
}

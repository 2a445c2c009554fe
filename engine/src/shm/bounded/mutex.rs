//! A bounded buffer under a robust mutex with two condition variables.

use super::{PRODUCER, Side, Turns};
use crate::shm::nonsense::Nonsense;
use crate::shm::region::{INDICES, Occupants, PAGE, Region, View, occupants};
use crate::shm::ring::Stop;
use crate::shm::scribble::Word;
use crate::shm::vigil::Vigil;
use crate::shm::wait::{Rouser, Wait};
use crate::sys::sync::{Condition, Locked, Mutex};
use std::io;
use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What the sides share under a mutex. The atomics are read and written under the lock only, hence all `Relaxed`.
///
/// The counts are in the lock's cache line, which whoever locks has fetched: with the counts behind the condition
/// variables, as a textbook lists them, a stream of 64 B between two CPUs took 1.28 times as long. Where a mutex takes 48 bytes
/// and not 40, `ended` is in the next line, which nobody writes.
#[derive(Debug)]
#[repr(C, align(64))]
pub(in crate::shm) struct Books {
    lock: Mutex,
    /// Messages ever sent, messages ever taken.
    counts: [AtomicU64; 2],
    /// Why there may be no more messages: bit `i` that side `i` left, [`ORPHANED`]. One word, which is nearly always 0, since
    /// each message looks at it.
    ended: AtomicU32,
    /// Side `i` sleeps on `news[i]`.
    news: [Condition; 2],
}

/// Somebody died while it held the lock.
const ORPHANED: u32 = 4;

const _: () = assert!(INDICES + size_of::<Books>() <= PAGE);
const _: () = assert!(INDICES.is_multiple_of(64) && offset_of!(Books, counts) + size_of::<[AtomicU64; 2]>() <= 64);

impl Books {
    pub(in crate::shm) fn words(&self) -> Vec<Word<'_>> {
        let [sent, taken] = &self.counts;
        vec![Word::full("sent", sent), Word::full("taken", taken), Word::half("ended", &self.ended)]
    }
}

/// A robust mutex and two condition variables.
#[derive(Debug)]
pub struct ByMutex;

/// One side of a buffer with a robust mutex and two condition variables.
///
/// Each side remembers how far the peer's count lets it go, from when it last held the lock, so that a message costs one locking,
/// for the counts, and a second one only where the side has to wait.
#[derive(Debug)]
pub struct Locking<const ME: usize> {
    shared: View<Books>,
    slots: u64,
    count: u64,
    /// The count up to which it may go without a look: as far as the peer's count allows, and not at all where the buffer ended, but
    /// for a consumer whose producer left. One comparison for each message says both.
    limit: u64,
    /// What the last look said about the peer.
    stop: Option<Stop>,
    nonsense: Option<Nonsense>,
    occupants: View<Occupants>,
    vigil: Option<Vigil>,
}

pub(in crate::shm) fn books(region: &Arc<Region>) -> View<Books> {
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
            self.end(ORPHANED);
        }
    }

    /// Adds to the reasons for an end. The lock must be held.
    fn end(&self, reason: u32) {
        let ended = self.ended.load(Ordering::Relaxed);
        self.ended.store(ended | reason, Ordering::Relaxed);
    }

    /// The count of the peer of side `me`, and why there will be no more, if so. The lock must be held.
    #[inline(always)]
    fn look(&self, me: usize) -> (u64, Option<Stop>) {
        let ended = self.ended.load(Ordering::Relaxed) & (ORPHANED | 1 << (1 - me));
        (self.counts[1 - me].load(Ordering::Relaxed), (ended != 0).then(|| stop_of(ended)))
    }

    /// What of the flags, and of the count of side `me`, which is `count`, is impossible. The lock must be held.
    fn impossible(&self, me: usize, count: u64) -> Option<Nonsense> {
        let ended = u64::from(self.ended.load(Ordering::Relaxed));
        let known = u64::from(ORPHANED | 1 << (1 - me));
        Nonsense::unless_within("what ended the buffer", ended, 0, u64::from(ORPHANED | 3))
            .or_else(|| Nonsense::unless("one's own farewell", ended & !known, 0))
            .or_else(|| Nonsense::unless("one's own count", self.counts[me].load(Ordering::Relaxed), count))
    }
}

/// What that means to the side that looked.
#[cold]
fn stop_of(ended: u32) -> Stop {
    if ended & ORPHANED != 0 { Stop::Died } else { Stop::Gone }
}

/// The C library's number of the error with which it refused a lock.
#[cold]
fn broken(error: io::Error) -> Nonsense {
    let value = error.raw_os_error().unwrap_or_default() as u64;
    Nonsense { word: "the answer of the mutex (errno)", value, low: 0, high: 0 }
}

impl<const ME: usize> Locking<ME> {
    /// How far its count may be ahead of the peer's.
    #[inline(always)]
    fn lead(&self) -> u64 {
        if ME == PRODUCER { self.slots } else { 0 }
    }

    /// How many slots are this side's, as far as it knows.
    #[inline(always)]
    fn room(&self) -> u64 {
        self.limit.wrapping_sub(self.count)
    }

    /// Goes on as far as a look allows.
    #[inline(always)]
    fn heed(&mut self, seen: u64, stop: Option<Stop>) {
        match stop {
            None => self.limit = seen.wrapping_add(self.lead()),
            Some(stop) => self.end(seen, stop),
        }
    }

    #[cold]
    fn end(&mut self, seen: u64, stop: Stop) {
        // What a producer sent before it left is still to be received.
        self.limit = if stop == Stop::Gone && ME != PRODUCER { seen } else { self.count };
        self.stop = Some(stop);
    }

    /// [`Side::reserve`] where there is no room, the buffer ended, or the peer's count is impossible.
    #[cold]
    #[inline(never)]
    fn reserve_slowly(&mut self) -> Result<u64, Stop> {
        if self.room() == 0 && self.stop.is_none() {
            let (seen, stop) = self.wait().map_err(|nonsense| self.corrupt(nonsense))?;
            self.heed(seen, stop);
        }
        if self.room() > self.slots {
            let nonsense = self.impossible(self.limit.wrapping_sub(self.lead()));
            return Err(nonsense.map_or(Stop::Corrupt, |nonsense| self.corrupt(nonsense)));
        }
        match self.stop {
            Some(stop) if self.room() == 0 => Err(stop),
            _ => Ok(self.count & (self.slots - 1)),
        }
    }

    /// Sleeps until there is room, or an end: the peer's count, and why there will be no more, if so.
    fn wait(&self) -> Result<(u64, Option<Stop>), Nonsense> {
        let shared = &*self.shared;
        let (mut locked, mut gone) = (shared.lock()?, false);
        loop {
            let (seen, stop) = shared.look(ME);
            if let Some(nonsense) = shared.impossible(ME, self.count).or_else(|| self.impossible(seen)) {
                return Err(nonsense);
            }
            // What a peer that is gone published before it died is there: its end was seen before this look.
            let stop = stop.or_else(|| gone.then_some(Stop::Gone));
            if seen.wrapping_add(self.lead()) != self.count || stop.is_some() {
                return Ok((seen, stop));
            }
            // A condition variable is not robust: a peer that is killed, in the middle of a signal or before it, wakes nobody.
            let news = &shared.news[ME];
            let late = Vigil::guard(self.vigil.as_ref(), |limit| news.wait(&mut locked, limit)).map_err(broken)?;
            let alone = late || self.vigil.as_ref().is_some_and(Vigil::is_over);
            shared.remember(&locked);
            gone = alone && self.occupants.peer_gone(ME);
        }
    }

    /// What is impossible of the peer's count.
    fn impossible(&self, seen: u64) -> Option<Nonsense> {
        let (count, slots) = (self.count, self.slots);
        match ME {
            PRODUCER => Nonsense::unless_within("the peer's count", seen, count.saturating_sub(slots), count),
            _ => Nonsense::unless_within("the peer's count", seen, count, count + slots),
        }
    }

    #[cold]
    fn corrupt(&mut self, nonsense: Nonsense) -> Stop {
        self.nonsense = Some(nonsense);
        self.end(self.count, Stop::Corrupt);
        Stop::Corrupt
    }
}

impl Turns for ByMutex {
    type Side<const ME: usize> = Locking<ME>;

    fn lay(region: &Arc<Region>, _: usize) -> io::Result<()> {
        let shared = books(region);
        shared.lock.init()?;
        shared.news.iter().try_for_each(Condition::init)
    }
}

impl<const ME: usize> Side for Locking<ME> {
    fn new(region: &Arc<Region>, slots: usize, _: Wait) -> Self {
        let (shared, occupants, slots) = (books(region), occupants(region), slots as u64);
        let mut side = Self { shared, slots, count: 0, limit: 0, stop: None, nonsense: None, occupants, vigil: None };
        side.heed(0, None);
        side
    }

    fn keep_vigil(&mut self) {
        let shared = self.shared.clone();
        let wake = Box::new(move || shared.news[ME].signal());
        self.vigil = Vigil::over(self.occupants.peer_of(ME), Rouser { wake, fd: None }).ok();
    }

    #[inline(always)]
    fn reserve(&mut self) -> Result<u64, Stop> {
        // From 1 to as many as there are.
        if self.room().wrapping_sub(1) < self.slots {
            return Ok(self.count & (self.slots - 1));
        }
        self.reserve_slowly()
    }

    #[inline(always)]
    fn commit(&mut self) {
        self.count += 1;
        let (shared, count) = (&*self.shared, self.count);
        let published = shared.lock().map(|locked| {
            shared.counts[ME].store(count, Ordering::Relaxed);
            let seen = shared.look(ME);
            drop(locked);
            shared.news[1 - ME].signal();
            seen
        });
        match published {
            Ok((seen, stop)) => self.heed(seen, stop),
            // The message was not published; the next call says so.
            Err(nonsense) => _ = self.corrupt(nonsense),
        }
    }

    fn holding(&self, then: &mut dyn FnMut()) -> bool {
        let locked = self.shared.lock();
        then();
        locked.is_ok()
    }

    fn leave(&self) {
        if let Ok(locked) = self.shared.lock() {
            self.shared.end(1 << ME);
            drop(locked);
            self.shared.news[1 - ME].signal();
        }
    }

    fn nonsense(&self) -> Option<Nonsense> {
        self.nonsense
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::bounded::{BoundedRx, BoundedTx, ends};
    use crate::shm::region::RingShape;
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

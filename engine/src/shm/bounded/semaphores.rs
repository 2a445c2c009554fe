//! A bounded buffer under two semaphores.

use super::{PRODUCER, Side, Turns};
use crate::shm::Line;
use crate::shm::budget::Budget;
use crate::shm::nonsense::Nonsense;
use crate::shm::region::{INDICES, Occupants, PAGE, Region, View, occupants};
use crate::shm::ring::Stop;
use crate::shm::scribble::Word;
use crate::shm::vigil::Vigil;
use crate::shm::wait::Wait;
use crate::sys::rouse::roused;
use crate::sys::sync::Semaphore;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What the semaphores' sides share. Side `i` posts `tokens[i]`: messages, then free slots.
#[derive(Debug)]
#[repr(C)]
pub(in crate::shm) struct Tokens {
    tokens: [Line<Semaphore>; 2],
    /// Messages ever sent; stored by the producer, read once it has left.
    sent: Line<AtomicU64>,
    left: Line<[AtomicU32; 2]>,
}

const _: () = assert!(INDICES + size_of::<Tokens>() <= PAGE);

impl Tokens {
    pub(in crate::shm) fn words(&self) -> Vec<Word<'_>> {
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

/// Two semaphores.
#[derive(Debug)]
pub struct BySemaphores;

/// One side of a buffer with two semaphores: one counts messages, the other free slots.
///
/// The indices are private: the semaphores alone say how far a side may go. A side that leaves raises its flag and posts
/// once more than there are messages (slots); whoever sees the flag after a wait goes on by the count of messages sent.
#[derive(Debug)]
pub struct Counting<const ME: usize> {
    shared: View<Tokens>,
    wait: Wait,
    budget: Budget,
    count: u64,
    slots: u64,
    peer_left: bool,
    nonsense: Option<Nonsense>,
    occupants: View<Occupants>,
    vigil: Option<Vigil>,
}

impl<const ME: usize> Counting<ME> {
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
        self.nonsense = Nonsense::unless_within("the peer's farewell", u64::from(left), 0, 1).or_else(|| {
            let sent = || Nonsense::unless_within("the number of messages sent", sent, self.count, due);
            (ME != PRODUCER).then(sent).flatten()
        });
        match self.nonsense {
            Some(_) => Err(Stop::Corrupt),
            None if ME == PRODUCER || self.count == sent => Err(Stop::Gone),
            None => Ok(()),
        }
    }
}

pub(in crate::shm) fn tokens(region: &Arc<Region>) -> View<Tokens> {
    // SAFETY: `Tokens` is atomics and semaphores.
    unsafe { View::new(region, INDICES) }
}

impl Turns for BySemaphores {
    type Side<const ME: usize> = Counting<ME>;

    fn lay(region: &Arc<Region>, slots: usize) -> io::Result<()> {
        let shared = tokens(region);
        shared.tokens[0].0.init(0)?;
        shared.tokens[1].0.init(slots as u32)
    }
}

impl<const ME: usize> Side for Counting<ME> {
    fn new(region: &Arc<Region>, slots: usize, wait: Wait) -> Self {
        Self {
            shared: tokens(region),
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
        let (shared, peer) = (self.shared.clone(), 1 - ME);
        let vigil = Vigil::until_death(self.occupants.peer_of(ME), move || shared.farewell(peer));
        if let Err(error) = &vigil {
            eprintln!("remark: nobody will say that the peer was killed ({error})");
        }
        self.vigil = vigil.ok();
    }

    #[inline(always)]
    fn reserve(&mut self) -> Result<u64, Stop> {
        if !self.peer_left && !take(&self.shared.tokens[1 - ME].0, self.wait, &self.budget) {
            return Err(if roused() { Stop::Gone } else { self.broken() });
        }
        // Acquire: pairs with `leave`, so that the count of messages sent is the last one.
        let left = self.shared.left.0[1 - ME].load(Ordering::Acquire);
        if left != 0 || self.peer_left {
            self.peer_left = true;
            self.finish(left)?;
        }
        Ok(self.count & (self.slots - 1))
    }

    #[inline(always)]
    fn ready(&self) -> Option<u64> {
        // The farewell is one more post. Whoever saw it does not wait any more: the next call says what there is.
        Some(if self.peer_left { 1 } else { self.shared.tokens[1 - ME].0.value() })
    }

    #[inline(always)]
    fn commit(&mut self) {
        self.count += 1;
        if ME == PRODUCER {
            // Release: the message is visible before it is counted.
            self.shared.sent.0.store(self.count, Ordering::Release);
        }
        self.shared.tokens[ME].0.post();
    }

    fn leave(&self) {
        self.shared.farewell(ME);
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

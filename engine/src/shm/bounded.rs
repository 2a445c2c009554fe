//! The textbook's bounded buffer between two processes, guarded by semaphores or by a mutex with condition variables.
//!
//! Key decision: both are the same buffer, and differ in how a side comes by its next slot and gives it away
//! ([`Side`]). Side 0 produces, side 1 consumes, and what one of them does mirrors the other: it waits for its own
//! reason, uses the slot, counts, and wakes its peer. Slots and ends are shared code.
//!
//! The mutex is held for a few instructions, to read and write the counts, never while a message is written or read in
//! its slot: the slot between a side's count and the peer's is that side's alone. Rejected: copying under the lock, as
//! the textbook does, which makes each party wait for the length of the other one's payload and measures that instead
//! of the lock.

mod mutex;
mod semaphores;

pub use mutex::ByMutex;
pub(super) use mutex::{Books, books};
pub use semaphores::BySemaphores;
pub(super) use semaphores::{Tokens, tokens};

use super::nonsense::Nonsense;
use super::region::{Region, RingShape, Slots};
use super::ring::Stop;
use super::wait::Wait;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// What guards a buffer, and so how its sides take turns.
pub trait Turns: Debug + Send + 'static {
    /// Side `ME`. A constant, so that what is one side's or the other's is told apart when the code is compiled.
    type Side<const ME: usize>: Side;

    /// Lays out what both sides share, in zeroed memory that nobody else uses yet.
    ///
    /// # Errors
    /// What the C library says.
    fn lay(region: &Arc<Region>, slots: usize) -> io::Result<()>;
}

/// How one side comes by its next slot and gives it to the other one.
pub trait Side: Sized + Send + Debug {
    /// A side of a buffer of `slots` slots that was laid out.
    fn new(region: &Arc<Region>, slots: usize, wait: Wait) -> Self;

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
const CONSUMER: usize = 1;

/// One end of a bounded buffer.
#[derive(Debug)]
struct End<S: Side> {
    side: S,
    slots: Slots,
    attached: bool,
}

impl<S: Side> End<S> {
    fn new(region: &Arc<Region>, shape: RingShape, wait: Wait) -> Self {
        Self { side: S::new(region, shape.slots, wait), slots: Slots::new(region, shape), attached: false }
    }
}

impl<S: Side> Drop for End<S> {
    fn drop(&mut self) {
        if self.attached {
            self.side.leave();
        }
    }
}

/// The sending end.
#[derive(Debug)]
pub struct BoundedTx<T: Turns>(End<T::Side<PRODUCER>>);

/// The receiving end.
#[derive(Debug)]
pub struct BoundedRx<T: Turns>(End<T::Side<CONSUMER>>);

/// Both ends of the buffer that [`Turns::lay`] laid out in the region. There must be one of each, which is why nobody
/// outside the crate may make them: a second one would hand out the same slots again.
pub(crate) fn ends<T: Turns>(region: &Arc<Region>, shape: RingShape, wait: Wait) -> (BoundedTx<T>, BoundedRx<T>) {
    (BoundedTx(End::new(region, shape, wait)), BoundedRx(End::new(region, shape, wait)))
}

impl<T: Turns> BoundedTx<T> {
    /// As [`Side::ready`].
    pub fn ready(&self) -> Option<u64> {
        self.0.side.ready()
    }

    /// As [`Side::nonsense`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.0.side.nonsense()
    }

    /// As [`Side::holding`].
    pub fn holding(&self, then: &mut dyn FnMut()) -> bool {
        self.0.side.holding(then)
    }

    /// Says that this end is in use: only then does dropping it tell the other side.
    pub fn attach(&mut self) {
        self.0.attached = true;
        self.0.side.keep_vigil();
    }

    /// Waits for a free slot, lets `fill` write the message into it, and publishes it.
    ///
    /// # Errors
    /// As [`Side::reserve`].
    #[inline(always)]
    pub fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> Result<(), Stop> {
        let end = &mut self.0;
        let index = end.side.reserve()?;
        // SAFETY: between `reserve` and `commit` the slot is the producer's alone: the consumer has taken the message that
        // was there and is told of the next one by `commit`. The view in `side` keeps the region mapped.
        fill(unsafe { end.slots.get_mut(index) });
        end.side.commit();
        Ok(())
    }
}

impl<T: Turns> BoundedRx<T> {
    /// As [`Side::ready`].
    pub fn ready(&self) -> Option<u64> {
        self.0.side.ready()
    }

    /// As [`Side::nonsense`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.0.side.nonsense()
    }

    /// As [`Side::holding`].
    pub fn holding(&self, then: &mut dyn FnMut()) -> bool {
        self.0.side.holding(then)
    }

    /// As [`BoundedTx::attach`].
    pub fn attach(&mut self) {
        self.0.attached = true;
        self.0.side.keep_vigil();
    }

    /// Waits for a message, lets `read` look at it in place, and frees the slot.
    ///
    /// # Errors
    /// As [`Side::reserve`].
    #[inline(always)]
    pub fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Result<R, Stop> {
        let end = &mut self.0;
        let index = end.side.reserve()?;
        // SAFETY: between `reserve` and `commit` the slot is the consumer's alone: the producer writes it again only after
        // `commit` has freed it. The view in `side` keeps the region mapped.
        let result = read(unsafe { end.slots.get(index) });
        end.side.commit();
        Ok(result)
    }
}

//! A ring of places between two threads, in which values change hands: what was there for what is brought.
//!
//! Key decision: *swap* instead of put and take. Every place always holds a value, so a buffer that was consumed goes
//! back to the producer through the very place in which the next full one comes, under the indices of
//! [`ring`](super::ring) and with no protocol of its own. Rejected: two rings, one for full and one for empty buffers
//! (twice the shared lines); `Option` in each place (a test that the indices make superfluous).

use super::futex::{Futex, Scope};
use super::ring::{Consumer, Indices, Manner, Producer, Stop};
use super::wait::{Berth, Peer, Wait};
use std::cell::UnsafeCell;
use std::ops::Deref;
use std::sync::Arc;

#[derive(Debug)]
struct Ring<T> {
    indices: Indices,
    places: Box<[UnsafeCell<T>]>,
}

// SAFETY: a place is reached between `reserve` and `commit` or between `peek` and `release` only, which exclude each
// other for one place (the ring's acquires and releases), and its value moves between threads, hence `T: Send`.
unsafe impl<T: Send> Sync for Ring<T> {}

/// One of the two handles to a ring.
#[derive(Debug)]
struct Handle<T>(Arc<Ring<T>>);

impl<T> Deref for Handle<T> {
    type Target = Indices;
    #[inline(always)]
    fn deref(&self) -> &Indices {
        &self.0.indices
    }
}

/// The end that fills places.
#[derive(Debug)]
pub struct SwapTx<T> {
    producer: Producer<Handle<T>>,
    ring: Arc<Ring<T>>,
}

/// The end that empties them.
#[derive(Debug)]
pub struct SwapRx<T> {
    consumer: Consumer<Handle<T>>,
    ring: Arc<Ring<T>>,
}

/// Both ends of an exchange that begins with `values`, one in each place. They are moved to their threads, never
/// forked, so dropping one always means leaving.
///
/// # Panics
/// If the number of values is not a power of two.
pub fn exchange<T: Send>(values: impl IntoIterator<Item = T>, wait: Wait) -> (SwapTx<T>, SwapRx<T>) {
    let places = values.into_iter().map(UnsafeCell::new).collect();
    let ring = Arc::new(Ring { indices: Indices::default(), places });
    let (handle, slots) = (|| Handle(Arc::clone(&ring)), ring.places.len() as u64);
    let manner = Manner { wait, berth: Scope::Private };
    let mut producer = Producer::new(handle(), slots, manner);
    let mut consumer = Consumer::new(handle(), slots, manner);
    producer.attach();
    consumer.attach();
    (SwapTx { producer, ring: Arc::clone(&ring) }, SwapRx { consumer, ring })
}

/// The other end. Both are threads of one process: a peer that dies without unwinding takes us along, so that there is nothing
/// to look for while one sleeps.
#[derive(Debug, Clone, Copy)]
struct Together;

impl Peer for Together {
    fn gone(&mut self) -> bool {
        false
    }

    fn sleep(&mut self, berth: &dyn Berth, flag: &Futex) -> bool {
        berth.sleep(flag, None)
    }
}

impl<T: Send> SwapTx<T> {
    /// Waits for a free place, leaves `full` there, and takes out what the consumer left.
    ///
    /// # Errors
    /// As [`Producer::reserve`].
    #[inline(always)]
    pub fn swap(&mut self, full: &mut T) -> Result<(), Stop> {
        let place = self.ring.places[self.producer.reserve(Together)? as usize].get();
        // SAFETY: between `reserve` and `commit` the place is the producer's alone, and `&mut self` makes this end
        // unique.
        std::mem::swap(full, unsafe { &mut *place });
        self.producer.commit();
        Ok(())
    }

    /// Swaps `n` times, one by one; before swap `k`, `fill` makes the value full that is in hand.
    ///
    /// # Errors
    /// As [`Producer::each`].
    #[inline(always)]
    pub fn swap_each(&mut self, n: u64, value: &mut T, mut fill: impl FnMut(u64, &mut T)) -> Result<(), Stop> {
        let places = &*self.ring.places;
        self.producer.each(n, Together, |k, index| {
            fill(k, value);
            // SAFETY: as in `swap`: the place is the producer's alone while this runs.
            std::mem::swap(value, unsafe { &mut *places[index as usize].get() });
        })
    }
}

impl<T: Send> SwapRx<T> {
    /// Waits for a full place, takes out what the producer left, and leaves `empty` there.
    ///
    /// # Errors
    /// As [`Consumer::peek`].
    #[inline(always)]
    pub fn swap(&mut self, empty: &mut T) -> Result<(), Stop> {
        let place = self.ring.places[self.consumer.peek(Together)? as usize].get();
        // SAFETY: between `peek` and `release` the place is the consumer's alone, and `&mut self` makes this end
        // unique.
        std::mem::swap(empty, unsafe { &mut *place });
        self.consumer.release();
        Ok(())
    }

    /// Swaps `n` times, one by one; `read` gets what swap `k` brought. When it does not like that, it is the last.
    ///
    /// # Errors
    /// As [`Consumer::each`], and, inside, what `read` says.
    #[inline(always)]
    pub fn swap_each<E>(
        &mut self,
        n: u64,
        value: &mut T,
        mut read: impl FnMut(u64, &T) -> Result<(), E>,
    ) -> Result<Result<(), E>, Stop> {
        let places = &*self.ring.places;
        self.consumer.take_each(n, Together, |k, index| {
            let Some(index) = index else { return read(k, value) };
            // SAFETY: as in `swap`: the place is the consumer's alone until this returns.
            std::mem::swap(value, unsafe { &mut *places[index as usize].get() });
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that counts itself, made and dropped.
    #[derive(Debug)]
    struct Counted {
        value: u64,
        _one: Arc<()>,
    }

    #[test]
    fn a_run_of_swaps_ends_with_what_nobody_likes() {
        let (mut tx, mut rx) = exchange([0_u64; 4], Wait::Block);
        let producer = std::thread::spawn(move || {
            let sent = tx.swap_each(3, &mut 0, |k, value| *value = k).and_then(|()| tx.swap(&mut 3));
            // Kept until all is received: a producer that leaves is another matter.
            sent.map(|()| tx)
        });
        let (mut value, mut seen) = (9, vec![]);
        let mut read = |k, value: &u64| {
            seen.push((k, *value));
            if *value == 1 { Err("one") } else { Ok(()) }
        };
        assert_eq!(rx.swap_each(4, &mut value, &mut read), Ok(Err("one")));
        assert_eq!(rx.swap_each(2, &mut value, &mut read), Ok(Ok(())));
        drop(producer.join().unwrap().unwrap());
        assert_eq!(rx.swap_each(1, &mut value, &mut read), Err(Stop::Gone));
        assert_eq!(seen, [(0, 0), (1, 1), (0, 2), (1, 3)]);
    }

    #[test]
    fn values_change_hands_in_order_and_each_is_dropped_once() {
        const MESSAGES: u64 = 10_000;
        let all = Arc::new(());
        let made = |value| Counted { value, _one: Arc::clone(&all) };
        let (mut tx, mut rx) = exchange((0..4).map(|_| made(u64::MAX)), Wait::Block);
        let (mut theirs, mut mine) = (made(0), made(0));
        let producer = std::thread::spawn(move || {
            for n in 0..MESSAGES {
                theirs.value = n;
                tx.swap(&mut theirs).unwrap();
            }
        });
        for n in 0..MESSAGES {
            rx.swap(&mut mine).unwrap();
            assert_eq!(mine.value, n);
        }
        producer.join().unwrap();
        assert_eq!(rx.swap(&mut mine), Err(Stop::Gone));
        // Ours, the four in the places, the one in our hand; the producer's went with it.
        assert_eq!(Arc::strong_count(&all), 6);
        drop((rx, mine));
        assert_eq!(Arc::strong_count(&all), 1);
    }
}

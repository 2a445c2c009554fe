//! The textbook's bounded buffer: a mutex, two condition variables, and a queue of messages on the heap.
//!
//! Key decision: a message changes hands by *swapping* its buffer with a spare one under the lock. Payload is written
//! and verified outside the lock, nothing is copied and nothing is allocated, and the lock is held for a few
//! instructions. Sleepers are counted under the lock, since std's `notify_one` is a system call whether or not somebody
//! sleeps (two futex calls for each message of a stream, where none is needed), and so are those that were woken and do not
//! run yet: on one CPU one does not run for another thousand messages, each of which would wake it again. Senders that
//! found the queue full are woken when half of it is free, where all of them sleep (`block`): one that is woken for a
//! single place sleeps again right away, and several that share a CPU do so in turn, a wake-up for every few messages. That
//! holds up nothing that was sent. Receivers are woken one after the other: the one that was woken wakes the next if it
//! leaves a message there, before it looks at its own. So no message waits for a busy receiver while another sleeps, but
//! at most for one that is on its way, and a sender makes one system call for the messages that it sends before the first
//! of them runs. Who looks instead of sleeping looks beside the lock, at how many messages there are, and takes it when what
//! it waits for may be there. Rejected: looks under the lock (each keeps the other side from it, and puts to sleep behind
//! it who meant to stay awake), a wake-up for each message while one sleeps (those of a fan-out all woke for a few messages,
//! and slept again), copying under the lock (holds up the other side for the length of the payload), a push of a fresh vector
//! (measures the allocator). Source: Dijkstra's bounded buffer; std::sync::{Mutex, Condvar}.

use super::buffers::{Buffer, depth, record, spec};
use super::{ALL_WAITS, Config, Ends, Receiver, Sender, Shape, Spec, Transport};
use crate::error::Result;
use crate::plan::Wait;
use crate::shm::LINE;
use crate::shm::budget::Budget;
use crate::shm::pace::{SLIP, slip};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// See the [module](self).
#[derive(Debug)]
pub struct MutexQueue;

// Small numbers, so that all of it lies in one cache line with its lock.
#[derive(Debug)]
struct Queue {
    buffers: Box<[Buffer]>,
    head: u32,
    len: u32,
    /// So many free places are worth waking a sender that found none.
    enough: u32,
    /// Ends on either side that have not left: sending, receiving.
    present: [u16; 2],
    /// Ends that sleep: sending (until something is freed), receiving (until something is filled). Each counts itself, in and
    /// out, because a wake-up may end more than one sleep, and a sleep may end without.
    asleep: [u16; 2],
    /// Wake-ups that no end has come from yet; never more than ends sleep, so that somebody does come.
    woken: [u16; 2],
}

impl Queue {
    /// Whether somebody sleeps on that side whom nobody has woken. The caller is going to.
    #[inline(always)]
    fn sleeper(&mut self, who: usize) -> bool {
        let any = self.asleep[who] > self.woken[who];
        self.woken[who] += u16::from(any);
        any
    }

    /// Whether a receiver is to be woken, by the caller, for the messages that are there. One that is on its way wakes the
    /// next.
    #[inline(always)]
    fn receiver_wanted(&mut self) -> bool {
        // First what ends it for nearly every message, before `sleeper` stores anything.
        self.asleep[1] > 0 && self.woken[1] == 0 && self.len > 0 && self.sleeper(1)
    }
}

/// The lock, what it guards, and what may be known without it, in one line: who takes the lock asks for all of it.
#[derive(Debug)]
#[repr(align(64))]
struct Guarded {
    queue: Mutex<Queue>,
    /// `len` as it was last, for looks at it without the lock. Only a hint, so `Relaxed`: the lock says what is so.
    len: AtomicU32,
    /// Places of the queue.
    depth: u32,
    /// All ends of a side have left: every wait of the other one is over.
    over: AtomicBool,
}

const _: () = assert!(size_of::<Guarded>() == LINE);

#[derive(Debug)]
struct Shared {
    guarded: Guarded,
    filled: Condvar,
    freed: Condvar,
    wait: Wait,
}

impl Shared {
    /// Waits until `ready` holds, by the configured strategy, and returns with the lock held.
    #[inline(always)]
    fn wait_until(
        &self,
        who: usize,
        bell: &Condvar,
        (budget, run): (&Budget, u64),
        ready: impl Fn(&Queue) -> bool,
    ) -> MutexGuard<'_, Queue> {
        let mut queue = self.lock();
        while !ready(&queue) {
            if !budget.looks_on(self.wait) {
                queue.asleep[who] += 1;
                queue = bell.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.asleep[who] -= 1;
                queue.woken[who] = queue.woken[who].saturating_sub(1);
                continue;
            }
            drop(queue);
            if run == 1 || !slip(self.wait, SLIP) {
                self.wait.pause();
            }
            while self.seems(who) && budget.looks_on(self.wait) {
                self.wait.pause();
            }
            queue = self.lock();
        }
        budget.met();
        queue
    }

    #[inline(always)]
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.guarded.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place of the ring from one that is less than a round ahead of it.
    #[inline(always)]
    fn place(&self, ahead: u32) -> u32 {
        if ahead < self.guarded.depth { ahead } else { ahead - self.guarded.depth }
    }

    /// Whether that side has to wait, as far as can be seen without the lock.
    #[inline(always)]
    fn seems(&self, who: usize) -> bool {
        let none = if who == 0 { self.guarded.depth } else { 0 };
        self.guarded.len.load(Ordering::Relaxed) == none && !self.guarded.over.load(Ordering::Relaxed)
    }

    fn leave(&self, who: usize, bell: &Condvar) {
        let mut queue = self.lock();
        queue.present[who] -= 1;
        if queue.present[who] == 0 {
            self.guarded.over.store(true, Ordering::Relaxed);
            bell.notify_all();
        }
    }
}

/// The producer's end, with a spare buffer to write into.
#[derive(Debug)]
pub struct Tx(Arc<Shared>, Buffer, Budget);
/// The consumer's end, with a spare buffer to hand back.
#[derive(Debug)]
pub struct Rx(Arc<Shared>, Buffer, Budget);

impl Tx {
    fn new(shared: &Arc<Shared>, size: usize) -> Self {
        Self(Arc::clone(shared), Buffer::new(size), Budget::default())
    }
}

impl Rx {
    fn new(shared: &Arc<Shared>, size: usize) -> Self {
        Self(Arc::clone(shared), Buffer::new(size), Budget::default())
    }
}

impl Transport for MutexQueue {
    const SPEC: &'static Spec = &spec(
        "mutex-queue",
        "bounded buffer with mutex and condition variables; buffers change hands, nothing is copied",
        ALL_WAITS,
        &["std::sync::Mutex", "std::sync::Condvar", "futex(2)"],
    );
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let shared = queue(cfg, (1, 1));
        Ok((Tx::new(&shared, cfg.size), Rx::new(&shared, cfg.size)))
    }

    // The queue does not care who locks it: any number of threads on either side.
    fn shared(cfg: &Config, shape: Shape) -> Result<Option<Ends<Self>>> {
        if matches!(shape, Shape::Broadcast(_)) {
            return Ok(None);
        }
        let (senders, receivers) = shape.ends();
        let queue = queue(cfg, (senders, receivers));
        let txs = (0..senders).map(|_| Tx::new(&queue, cfg.size)).collect();
        let rxs = (0..receivers).map(|_| Rx::new(&queue, cfg.size)).collect();
        Ok(Some(Ends { txs, rxs }))
    }
}

/// A queue for so many senders and receivers.
fn queue(cfg: &Config, (senders, receivers): (usize, usize)) -> Arc<Shared> {
    let depth = depth(cfg);
    record(cfg, depth);
    let depth = u32::try_from(depth).expect("a pool is small");
    let buffers = (0..depth).map(|_| Buffer::new(cfg.size)).collect();
    // Where senders may look instead of sleeping, the one that looks would take each place before the one that sleeps is woken.
    let enough = if cfg.wait == Wait::Block { depth.div_ceil(2) } else { 1 };
    let ends = |many: usize| u16::try_from(many).expect("there are few parties");
    let queue = Mutex::new(Queue {
        buffers,
        enough,
        head: 0,
        len: 0,
        present: [ends(senders), ends(receivers)],
        asleep: [0, 0],
        woken: [0, 0],
    });
    let guarded = Guarded { queue, len: AtomicU32::new(0), depth, over: AtomicBool::new(false) };
    Arc::new(Shared { guarded, filled: Condvar::new(), freed: Condvar::new(), wait: cfg.wait })
}

impl Sender for Tx {
    fn size(&self) -> usize {
        self.1.len()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        self.send_of(1, fill)
    }

    #[inline(always)]
    fn send_of(&mut self, run: u64, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        fill(&mut self.1);
        let shared = &*self.0;
        let mut queue =
            shared.wait_until(0, &shared.freed, (&self.2, run), |q| q.len < shared.guarded.depth || q.present[1] == 0);
        if queue.present[1] == 0 {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let place = shared.place(queue.head + queue.len);
        std::mem::swap(&mut queue.buffers[place as usize], &mut self.1);
        queue.len += 1;
        shared.guarded.len.store(queue.len, Ordering::Relaxed);
        let wanted = queue.receiver_wanted();
        drop(queue);
        if wanted {
            shared.filled.notify_one();
        }
        Ok(())
    }
}

impl Receiver for Rx {
    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        self.recv_of(1, read)
    }

    #[inline(always)]
    fn recv_of<R>(&mut self, run: u64, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let shared = &*self.0;
        let mut queue = shared.wait_until(1, &shared.filled, (&self.2, run), |q| q.len > 0 || q.present[0] == 0);
        if queue.len == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let place = queue.head;
        std::mem::swap(&mut queue.buffers[place as usize], &mut self.1);
        queue.head = shared.place(place + 1);
        queue.len -= 1;
        shared.guarded.len.store(queue.len, Ordering::Relaxed);
        let sleeper = shared.guarded.depth - queue.len >= queue.enough && queue.sleeper(0);
        let wanted = queue.receiver_wanted();
        drop(queue);
        // First the one without whom the next receiver is not woken, for which this one may lose its CPU.
        if wanted {
            shared.filled.notify_one();
        }
        if sleeper {
            shared.freed.notify_one();
        }
        Ok(read(&self.1))
    }
}

// Threads share these ends by moving them, never by a fork, so dropping one always means leaving.
impl Drop for Tx {
    fn drop(&mut self) {
        self.0.leave(0, &self.0.filled);
    }
}

impl Drop for Rx {
    fn drop(&mut self) {
        self.0.leave(1, &self.0.freed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::conformance::config;
    use std::sync::{Barrier, mpsc};
    use std::thread;
    use std::time::{Duration, Instant};

    const WITHIN: Duration = Duration::from_secs(60);

    fn fan_out(receivers: usize, wait: Wait) -> (Tx, Vec<Rx>) {
        let Ends { mut txs, rxs } = MutexQueue::shared(&config(wait, 8), Shape::FanOut(receivers)).unwrap().unwrap();
        (txs.remove(0), rxs)
    }

    /// What the receivers say, each within a minute.
    fn all_of<T>(ended: &mpsc::Receiver<T>, receivers: usize) -> Vec<T> {
        (0..receivers).map(|_| ended.recv_timeout(WITHIN).expect("messages wait while a receiver sleeps")).collect()
    }

    /// Receivers that sleep, and that keep their message until each of them has one.
    #[test]
    fn no_message_waits_for_a_receiver_that_is_busy() {
        const RECEIVERS: usize = 3;
        let (tx, rxs) = fan_out(RECEIVERS, Wait::Block);
        let (shared, all) = (Arc::clone(&tx.0), Arc::new(Barrier::new(RECEIVERS)));
        let (done, ended) = mpsc::channel();
        for mut rx in rxs {
            let (all, done) = (Arc::clone(&all), done.clone());
            thread::spawn(move || {
                rx.recv_with(|_| all.wait()).unwrap();
                done.send(()).unwrap();
            });
        }
        let begun = Instant::now();
        while usize::from(shared.lock().asleep[1]) < RECEIVERS {
            assert!(begun.elapsed() < WITHIN, "no receiver sleeps");
            thread::yield_now();
        }
        // As if all were sent before the first receiver ran.
        let mut queue = shared.lock();
        queue.len = RECEIVERS as u32;
        assert!(queue.receiver_wanted() && !queue.receiver_wanted());
        drop(queue);
        shared.filled.notify_one();
        all_of(&ended, RECEIVERS);
    }

    /// A sender that lets them sleep now and then: sleeps that end by a wake-up for another one are among them.
    #[test]
    fn no_wake_up_is_lost_between_receivers_that_go_to_sleep() {
        for wait in [Wait::Block, Wait::Hybrid(2)] {
            all_arrive(wait);
        }
    }

    fn all_arrive(wait: Wait) {
        const RECEIVERS: usize = 3;
        const MESSAGES: usize = 30_000;
        let (mut tx, rxs) = fan_out(RECEIVERS, wait);
        let (done, ended) = mpsc::channel();
        for mut rx in rxs {
            let done = done.clone();
            thread::spawn(move || {
                let mut received = 0;
                let over = rx.recv_each(u64::MAX, |_, _| {
                    received += 1;
                    Ok::<_, ()>(())
                });
                assert!(over.is_err(), "the sender left");
                done.send(received).unwrap();
            });
        }
        thread::spawn(move || {
            for n in 0..MESSAGES {
                tx.send_with(|message| message.fill(1)).unwrap();
                let Queue { len, asleep, woken, .. } = *tx.0.lock();
                assert!(len == 0 || asleep[1] == 0 || woken[1] > 0, "nobody is on the way");
                assert!(woken[0] <= asleep[0] && woken[1] <= asleep[1], "who is to come?");
                (0..n % 40).for_each(|_| std::hint::spin_loop());
            }
        });
        assert_eq!(all_of(&ended, RECEIVERS).iter().sum::<usize>(), MESSAGES);
    }
}

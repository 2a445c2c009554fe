#![cfg(loom)]
//! Every schedule and every allowed reordering of the lock-free protocols in `ipcost_engine::shm`.
//!
//! Purpose: the ring, the slot and the bell run here over the model checker's atomics, which try the interleavings of
//! two threads together with the stale values that the memory model lets a load return. Payloads lie in the checker's
//! cells, so a read and a write of one slot that are not ordered fail the test even if the value is right by chance.
//! The model's futex never times out, so a lost wake-up is a deadlock, which the checker reports; in the shipped code
//! the limit of the sleep would turn it into a delay that no test notices. Not shown here: the release in `leave`. Only
//! waits that look need it, and after a yield the checker lets no thread read again an old value that it has seen.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test --release --test loom
//! ```
//!
//! Bounds. Two threads are all that the protocols allow; a third one appears where a stray wake-up or a divided side
//! is tried. Messages: one more than there are slots makes a slot be used again and the producer wait for space;
//! another one lets a bell ring twice. Models checked with [`ALL`] are exhaustive; [`BOUND`] says what limits the
//! larger ones, and `LOOM_MAX_PREEMPTIONS=4` makes them larger (minutes instead of seconds).

#![allow(unsafe_code, reason = "the checker's cells hand out raw pointers")]

use ipcost_engine::shm::budget::Budget;
use ipcost_engine::shm::futex::Futex;
use ipcost_engine::shm::futex::Scope;
use ipcost_engine::shm::pace::Pace;
use ipcost_engine::shm::ring::{Consumer, Indices, Manner, Producer, Stop};
use ipcost_engine::shm::slot::{Lobby, Place, Side, Stamp, Words};
use ipcost_engine::shm::sync::{AtomicU32, Ordering};
use ipcost_engine::shm::vigil::Watch;
use ipcost_engine::shm::wait::{Bell, Berth, Gone, Peer, Wait};
use loom::cell::UnsafeCell;
use loom::thread;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// Preemptions per execution in the models that are too large to exhaust. Three, because a lost wake-up takes two (into
/// the waiter between its look and its sleep, and back) and one more lets the second message meet the remains of the
/// first. Reordering by the memory model is not limited by it.
const BOUND: usize = 3;

/// No bound: the model is explored to the end.
const ALL: Option<usize> = None;

fn check(preemptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // The environment may look deeper, but does not cut short what is exhaustive.
    builder.preemption_bound = preemptions.map(|bound| builder.preemption_bound.unwrap_or(bound));
    // A thread that waits by looking costs branches; the default of 1000 is enough for sleeping waits only.
    builder.max_branches = 10_000;
    builder.check(model);
}

/// The peer of a model never crashes; it leaves.
fn alive() -> bool {
    false
}

fn manner(wait: Wait) -> Manner {
    Manner { wait, berth: Scope::Private }
}

/// Memory whose accesses the checker sees.
struct Payload(UnsafeCell<u32>);

// SAFETY: that accesses from two threads never meet is what the tests prove; the checker panics if they do.
unsafe impl Sync for Payload {}

impl Payload {
    fn new() -> Self {
        Self(UnsafeCell::new(u32::MAX))
    }

    fn write(&self, value: u32) {
        // SAFETY: the checker panics, before this runs, if anybody else could be reading or writing.
        self.0.with_mut(|place| unsafe { *place = value });
    }

    fn read(&self) -> u32 {
        // SAFETY: the checker panics, before this runs, if anybody else could be writing.
        self.0.with(|place| unsafe { *place })
    }
}

// ---------------------------------------------------------------------------------------------------------------- bell

/// `rings` times: publish and ring, while the other thread waits for each in turn.
fn bell(wait: Wait, rings: u32, stray: bool) {
    bell_over(Scope::Private, wait, rings, stray);
}

/// The same over any place to sleep.
fn bell_over(berth: impl Berth + Send + Sync + 'static, wait: Wait, rings: u32, stray: bool) {
    let shared = Arc::new((Bell::default(), AtomicU32::new(0), Payload::new(), AtomicU32::new(0)));
    let berth = Arc::new(berth);
    let ringer = thread::spawn({
        let (shared, berth) = (shared.clone(), berth.clone());
        move || {
            let (bell, stamp, payload, answer) = &*shared;
            for ring in 1..=rings {
                payload.write(ring);
                stamp.store(ring, Ordering::Release);
                bell.ring(wait, &*berth);
                // The payload is written again only when the waiter has read it.
                while ring < rings && answer.load(Ordering::Acquire) != ring {
                    thread::yield_now();
                }
            }
        }
    });
    let idler = stray.then(|| {
        let (shared, berth) = (shared.clone(), berth.clone());
        thread::spawn(move || shared.0.ring(wait, &*berth))
    });
    let (bell, stamp, payload, answer) = &*shared;
    for ring in 1..=rings {
        let found = || (stamp.load(Ordering::Acquire) == ring).then_some(());
        assert_eq!(
            bell.wait::<false, _>((wait, &Budget::default(), &Pace::default()), &*berth, found, alive, alive),
            Ok(())
        );
        assert_eq!(payload.read(), ring);
        answer.store(ring, Ordering::Release);
    }
    ringer.join().unwrap();
    if let Some(idler) = idler {
        idler.join().unwrap();
    }
}

#[test]
fn bell_wakes_a_sleeper() {
    check(ALL, || bell(Wait::Block, 1, false));
}

#[test]
fn bell_wakes_a_sleeper_twice() {
    check(Some(BOUND), || bell(Wait::Block, 2, false));
}

#[test]
fn bell_wakes_a_hybrid_waiter_twice() {
    check(Some(BOUND), || bell(Wait::Hybrid(1), 2, false));
}

/// An eventfd: wake-ups are counted, and a sleep ends when there are any and takes them all. It knows nothing of the flag.
#[derive(Default)]
struct Counted(loom::sync::Mutex<u64>, loom::sync::Condvar);

impl Berth for Counted {
    fn sleep(&self, _: &Futex, _: Option<Duration>) -> bool {
        let mut count = self.0.lock().unwrap();
        while *count == 0 {
            count = self.1.wait(count).unwrap();
        }
        *count = 0;
        true
    }

    fn wake(&self, _: &Futex) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_one();
    }
}

/// A place to sleep that forgets a wake-up which finds nobody, and where nobody else ever wakes: the flag stays up.
struct Forgetful(Futex);

impl Berth for Forgetful {
    fn sleep(&self, _: &Futex, limit: Option<Duration>) -> bool {
        match limit {
            // A limit ends every sleep.
            Some(_) => thread::yield_now(),
            None => drop(self.0.wait(0, Scope::Private, None)),
        }
        true
    }

    fn wake(&self, _: &Futex) {}
}

/// A peer that is watched, and dies.
struct Mortal<'a>(&'a Watch, &'a AtomicU32);

impl Peer for Mortal<'_> {
    fn gone(&mut self) -> bool {
        self.1.load(Ordering::Acquire) != 0
    }

    fn sleep(&mut self, berth: &dyn Berth, flag: &Futex) -> bool {
        self.0.sleep(|limit| berth.sleep(flag, limit))
    }
}

/// The peer leaves `messages` without ever ringing and dies; its survivor takes them, and then asks twice in vain.
fn vigil(messages: u32) {
    let shared = Arc::new((Bell::default(), Watch::default(), Forgetful(Futex::new(0)), AtomicU32::new(0)));
    let stamp = Arc::new(AtomicU32::new(0));
    let watcher = thread::spawn({
        let (shared, stamp) = (shared.clone(), stamp.clone());
        move || {
            let (_, watch, berth, dead) = &*shared;
            watch.begin();
            stamp.store(messages, Ordering::Release);
            dead.store(1, Ordering::Release);
            watch.end(
                || berth.0.wake(Scope::Private),
                || {
                    thread::yield_now();
                    false
                },
            );
        }
    });
    let (bell, watch, berth, dead) = &*shared;
    for ask in 1..=messages + 2 {
        let found = || (stamp.load(Ordering::Acquire) >= ask).then_some(());
        let (budget, pace, peer) = (Budget::default(), Pace::default(), Mortal(watch, dead));
        let heard = bell.wait::<false, _>((Wait::Block, &budget, &pace), berth, found, alive, peer);
        assert_eq!(heard, if ask <= messages { Ok(()) } else { Err(Gone) });
    }
    watcher.join().unwrap();
}

#[test]
fn a_vigil_ends_the_sleep_of_a_survivor_that_nobody_else_wakes() {
    check(Some(BOUND), || vigil(0));
}

#[test]
fn what_a_dead_peer_left_without_a_ring_is_found_when_the_vigil_ends() {
    check(Some(BOUND), || vigil(1));
}

/// The bell over a place to sleep that remembers wake-ups, stale ones too, and never ends a sleep by itself.
#[test]
fn bell_wakes_a_sleeper_in_an_eventfd_twice() {
    check(Some(BOUND), || bell_over(Counted::default(), Wait::Block, 2, false));
}

#[test]
fn bell_over_an_eventfd_survives_a_stray_ring() {
    check(Some(BOUND), || bell_over(Counted::default(), Wait::Block, 1, true));
}

/// A ring that announces nothing ends a sleep early, as a signal or the limit does; the next sleep must still be woken.
#[test]
fn bell_survives_a_stray_ring() {
    check(Some(BOUND), || bell(Wait::Block, 1, true));
}

/// A peer that leaves, instead of publishing, ends the sleep too.
#[test]
fn bell_tells_a_sleeper_that_the_peer_left() {
    check(ALL, || {
        let shared = Arc::new((Bell::default(), AtomicU32::new(0)));
        let leaver = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.1.store(1, Ordering::Release);
                shared.0.ring(Wait::Block, Scope::Private);
            }
        });
        let left = || shared.1.load(Ordering::Acquire) == 1;
        assert_eq!(
            shared.0.wait::<false, _>(
                (Wait::Block, &Budget::default(), &Pace::default()),
                Scope::Private,
                || None::<()>,
                left,
                alive
            ),
            Err(Gone)
        );
        leaver.join().unwrap();
    });
}

// ---------------------------------------------------------------------------------------------------------------- ring

struct Ring {
    indices: Indices,
    payloads: Vec<Payload>,
}

/// What a mapping's header is in the shipped code.
#[derive(Clone)]
struct Header(Arc<Ring>);

impl Deref for Header {
    type Target = Indices;

    fn deref(&self) -> &Indices {
        &self.0.indices
    }
}

type Ends = (Producer<Header>, Consumer<Header>, Arc<Ring>);

fn ring(wait: Wait, slots: u64) -> Ends {
    let ring = Arc::new(Ring { indices: Indices::default(), payloads: (0..slots).map(|_| Payload::new()).collect() });
    let header = Header(ring.clone());
    (Producer::new(header.clone(), slots, manner(wait)), Consumer::new(header, slots, manner(wait)), ring)
}

fn send(producer: &mut Producer<Header>, ring: &Ring, value: u32) -> Result<(), Stop> {
    let slot = producer.reserve(alive)?;
    ring.payloads[slot as usize].write(value);
    producer.commit();
    Ok(())
}

fn receive(consumer: &mut Consumer<Header>, ring: &Ring) -> Result<u32, Stop> {
    let slot = consumer.peek(alive)?;
    let value = ring.payloads[slot as usize].read();
    consumer.release();
    Ok(value)
}

/// `messages` arrive once, in order and whole. With `leaving` the producer is dropped after its last message, and the
/// consumer learns of that after the last message, not before.
fn ring_delivers(wait: Wait, slots: u64, messages: u32, leaving: bool) {
    let (mut producer, mut consumer, memory) = ring(wait, slots);
    let sender = thread::spawn({
        let memory = memory.clone();
        move || {
            if leaving {
                producer.attach();
            }
            for message in 0..messages {
                assert_eq!(send(&mut producer, &memory, message), Ok(()));
            }
        }
    });
    for message in 0..messages {
        assert_eq!(receive(&mut consumer, &memory), Ok(message));
    }
    if leaving {
        assert_eq!(receive(&mut consumer, &memory), Err(Stop::Gone));
    }
    sender.join().unwrap();
}

/// As [`ring_delivers`], in a run of each side, whose indices live in registers; then one message more, by itself.
fn ring_delivers_runs(wait: Wait, slots: u64, messages: u32) {
    let (mut producer, mut consumer, memory) = ring(wait, slots);
    let sender = thread::spawn({
        let memory = memory.clone();
        move || {
            let sent =
                producer.each(u64::from(messages), alive, |k, slot| memory.payloads[slot as usize].write(k as u32));
            assert_eq!(sent, Ok(()));
            assert_eq!(send(&mut producer, &memory, messages), Ok(()));
        }
    });
    let due = |k: u64, slot: u64| match memory.payloads[slot as usize].read() {
        value if u64::from(value) == k => Ok(()),
        value => Err(value),
    };
    assert_eq!(consumer.each(u64::from(messages), alive, due), Ok(Ok(())));
    assert_eq!(receive(&mut consumer, &memory), Ok(messages));
    sender.join().unwrap();
}

/// The consumer dislikes the first message and leaves; the producer's run is told so instead of its end.
fn ring_run_ends_with_its_consumer(wait: Wait) {
    let (mut producer, mut consumer, memory) = ring(wait, 1);
    let receiver = thread::spawn({
        let memory = memory.clone();
        move || {
            consumer.attach();
            let read = |_: u64, slot: u64| Err::<(), u32>(memory.payloads[slot as usize].read());
            assert_eq!(consumer.each(3, alive, read), Ok(Err(0)));
        }
    });
    let sent = producer.each(1 << 20, alive, |k, slot| memory.payloads[slot as usize].write(k as u32));
    assert_eq!(sent, Err(Stop::Gone));
    receiver.join().unwrap();
}

/// The consumer takes one message and leaves; the producer goes on until it is told.
fn ring_consumer_leaves(wait: Wait, slots: u64) {
    let (mut producer, mut consumer, memory) = ring(wait, slots);
    let receiver = thread::spawn({
        let memory = memory.clone();
        move || {
            consumer.attach();
            assert_eq!(receive(&mut consumer, &memory), Ok(0));
        }
    });
    let stop = (0..).find_map(|message| send(&mut producer, &memory, message).err());
    assert_eq!(stop, Some(Stop::Gone));
    receiver.join().unwrap();
}

/// The ring is full and the consumer takes nothing: leaving is all that can end the producer's wait.
fn ring_consumer_leaves_full(wait: Wait) {
    let (mut producer, mut consumer, memory) = ring(wait, 1);
    let receiver = thread::spawn(move || {
        consumer.attach();
        drop(consumer);
    });
    let stop = (0..).find_map(|message| send(&mut producer, &memory, message).err());
    assert_eq!(stop, Some(Stop::Gone));
    receiver.join().unwrap();
}

/// A producer that waits for its last message to be released sees the consumer's reads behind it.
fn ring_drains(wait: Wait) {
    let (mut producer, mut consumer, memory) = ring(wait, 2);
    let receiver = thread::spawn({
        let memory = memory.clone();
        move || {
            consumer.attach();
            for message in 0..2 {
                assert_eq!(receive(&mut consumer, &memory), Ok(message));
            }
        }
    });
    for message in 0..2 {
        assert_eq!(send(&mut producer, &memory, message), Ok(()));
    }
    assert_eq!(producer.drain(alive), Ok(()));
    // The checker panics if the consumer could still be reading.
    memory.payloads.iter().for_each(|payload| payload.write(u32::MAX));
    receiver.join().unwrap();
}

/// One party serves two rings in turn, each of which another party uses by `peer`: it carries what `ready` says it can, passes
/// over a ring on which it would wait, and waits on one when it had to pass over both.
fn hub_serves<E: Send + 'static>(
    ends: [(E, Arc<Ring>); 2],
    peers: [thread::JoinHandle<()>; 2],
    messages: u64,
    ready: impl Fn(&mut E) -> u64,
    carry: impl Fn(&mut E, &Ring, u64),
) {
    let (mut ends, mut carried, mut turn, mut passed) = (ends, [0; 2], 0, 0);
    while carried != [messages; 2] {
        let (end, ring) = &mut ends[turn];
        let now = match ready(end) {
            0 => u64::from(passed >= 2),
            now => now,
        };
        let now = now.min(messages - carried[turn]);
        (0..now).for_each(|k| carry(end, ring, carried[turn] + k));
        carried[turn] += now;
        passed = if now == 0 { passed + 1 } else { 0 };
        turn = 1 - turn;
    }
    peers.into_iter().for_each(|peer| peer.join().unwrap());
}

fn hub_collects(wait: Wait, slots: u64, messages: u64) {
    let mut ends = Vec::new();
    let peers = [0, 1].map(|_| {
        let (mut producer, consumer, memory) = ring(wait, slots);
        ends.push((consumer, memory.clone()));
        thread::spawn(move || (0..messages).for_each(|k| assert_eq!(send(&mut producer, &memory, k as u32), Ok(()))))
    });
    let take = |end: &mut Consumer<Header>, ring: &Ring, k| assert_eq!(receive(end, ring), Ok(k as u32));
    hub_serves(ends.try_into().ok().unwrap(), peers, messages, Consumer::ready, take);
}

fn hub_deals(wait: Wait, slots: u64, messages: u64) {
    let mut ends = Vec::new();
    let peers = [0, 1].map(|_| {
        let (producer, mut consumer, memory) = ring(wait, slots);
        ends.push((producer, memory.clone()));
        thread::spawn(move || (0..messages).for_each(|k| assert_eq!(receive(&mut consumer, &memory), Ok(k as u32))))
    });
    let give = |end: &mut Producer<Header>, ring: &Ring, k| assert_eq!(send(end, ring, k as u32), Ok(()));
    hub_serves(ends.try_into().ok().unwrap(), peers, messages, Producer::ready, give);
}

/// A side that only looks carries what it finds, and finds the other's farewell behind the last message.
fn ring_is_looked_at(slots: u64, messages: u64) {
    let (mut producer, mut consumer, memory) = ring(Wait::Spin, slots);
    let sender = thread::spawn({
        let memory = memory.clone();
        move || {
            producer.attach();
            for k in 0..messages {
                while producer.ready() == 0 {
                    thread::yield_now();
                }
                assert_eq!(send(&mut producer, &memory, k as u32), Ok(()));
            }
        }
    });
    for k in 0..=messages {
        while consumer.ready() == 0 {
            thread::yield_now();
        }
        let due = if k == messages { Err(Stop::Gone) } else { Ok(k as u32) };
        assert_eq!(receive(&mut consumer, &memory), due);
    }
    sender.join().unwrap();
}

#[test]
fn ring_is_looked_at_until_its_producer_left() {
    check(Some(BOUND), || ring_is_looked_at(1, 2));
}

#[test]
fn hub_collects_from_two_rings_and_sleeps_on_one() {
    check(Some(BOUND), || hub_collects(Wait::Block, 1, 1));
}

#[test]
fn hub_collects_from_two_rings_whose_producers_sleep() {
    check(Some(2), || hub_collects(Wait::Block, 1, 2));
}

#[test]
fn hub_deals_to_two_rings_and_sleeps_on_one() {
    check(Some(2), || hub_deals(Wait::Block, 1, 2));
}

#[test]
fn ring_drains_while_the_producer_sleeps() {
    check(Some(BOUND), || ring_drains(Wait::Block));
}

#[test]
fn ring_drains_while_the_producer_spins() {
    check(Some(BOUND), || ring_drains(Wait::Spin));
}

#[test]
fn ring_of_one_blocks() {
    check(Some(BOUND), || ring_delivers(Wait::Block, 1, 3, false));
}

#[test]
fn ring_of_two_blocks() {
    check(Some(BOUND), || ring_delivers(Wait::Block, 2, 3, false));
}

/// A producer that sleeps is left asleep until two of the eight slots are free. It has filled them before the consumer comes.
#[test]
fn full_ring_of_eight_blocks() {
    const SLOTS: u32 = 8;
    check(Some(BOUND), || {
        let (mut producer, mut consumer, memory) = ring(Wait::Block, SLOTS.into());
        let all = SLOTS + 1;
        (0..SLOTS).for_each(|message| assert_eq!(send(&mut producer, &memory, message), Ok(())));
        let sender = thread::spawn({
            let memory = memory.clone();
            move || (SLOTS..all).for_each(|message| assert_eq!(send(&mut producer, &memory, message), Ok(())))
        });
        (0..all).for_each(|message| assert_eq!(receive(&mut consumer, &memory), Ok(message)));
        sender.join().unwrap();
    });
}

#[test]
fn runs_through_a_ring_of_two_block() {
    check(Some(BOUND), || ring_delivers_runs(Wait::Block, 2, 2));
}

#[test]
fn runs_through_a_ring_of_one_spin() {
    check(Some(BOUND), || ring_delivers_runs(Wait::Spin, 1, 2));
}

#[test]
fn a_run_ends_with_its_consumer_that_slept() {
    check(Some(BOUND), || ring_run_ends_with_its_consumer(Wait::Block));
}

#[test]
fn ring_of_one_blocks_exhaustively() {
    check(ALL, || ring_delivers(Wait::Block, 1, 1, false));
}

#[test]
fn ring_of_one_hybrid() {
    check(Some(BOUND), || ring_delivers(Wait::Hybrid(1), 1, 2, false));
}

#[test]
fn ring_of_one_spins() {
    check(Some(BOUND), || ring_delivers(Wait::Spin, 1, 3, false));
}

#[test]
fn ring_of_two_spins() {
    check(Some(BOUND), || ring_delivers(Wait::Spin, 2, 4, false));
}

#[test]
fn ring_of_one_yields() {
    check(ALL, || ring_delivers(Wait::Yield, 1, 2, false));
}

#[test]
fn ring_producer_leaves_a_sleeper() {
    check(Some(BOUND), || ring_delivers(Wait::Block, 1, 1, true));
}

#[test]
fn ring_producer_leaves_messages_behind() {
    check(Some(BOUND), || ring_delivers(Wait::Block, 2, 2, true));
}

#[test]
fn ring_producer_leaves_a_spinner() {
    check(ALL, || ring_delivers(Wait::Spin, 2, 2, true));
}

#[test]
fn ring_consumer_leaves_a_sleeper() {
    check(Some(BOUND), || ring_consumer_leaves(Wait::Block, 1));
}

#[test]
fn ring_consumer_leaves_a_spinner() {
    check(ALL, || ring_consumer_leaves(Wait::Spin, 2));
}

#[test]
fn ring_consumer_leaves_a_full_ring() {
    check(ALL, || ring_consumer_leaves_full(Wait::Block));
}

// ---------------------------------------------------------------------------------------------------------------- slot

/// How messages in the shared slot are announced.
#[derive(Clone, Copy)]
enum Announced {
    /// By a stamp.
    Stamped,
    /// By their last word, which this makes of a message.
    ByContent(fn(u32) -> u64),
}

/// A message whose last word is another one than that of the message before it.
const UNLIKE: Announced = Announced::ByContent(|value| u64::from(value) + 1);
/// One whose last word is mostly the same.
const ALIKE: Announced = Announced::ByContent(|value| u64::from(value % 10 > 1));

impl Announced {
    fn shared(self) -> Place {
        match self {
            Announced::Stamped => Place::Shared,
            Announced::ByContent(_) => Place::Whole,
        }
    }
}

struct Mailbox {
    shared: (Stamp, Stamp, Payload),
    lanes: [(Words, Payload); 2],
    lobby: Lobby,
}

/// A word of the slot that both sides write: its stamp or the last one of its message.
struct Shared(Arc<Mailbox>, bool);

impl Deref for Shared {
    type Target = Stamp;

    fn deref(&self) -> &Stamp {
        if self.1 { &self.0.shared.1 } else { &self.0.shared.0 }
    }
}

/// One lane's first line.
struct Lane(Arc<Mailbox>, usize);

impl Deref for Lane {
    type Target = Words;

    fn deref(&self) -> &Words {
        &self.0.lanes[self.1].0
    }
}

struct Hall(Arc<Mailbox>);

impl Deref for Hall {
    type Target = Lobby;

    fn deref(&self) -> &Lobby {
        &self.0.lobby
    }
}

/// One side with the payloads that its protocol guards.
struct Party {
    side: Side<Shared, Lane, Hall>,
    mailbox: Arc<Mailbox>,
    index: usize,
    announced: Announced,
}

impl Party {
    fn payload(&self, place: Place, sender: usize) -> &Payload {
        match place {
            Place::Shared | Place::Whole => &self.mailbox.shared.2,
            Place::Lane => &self.mailbox.lanes[sender].1,
        }
    }

    fn send(&self, value: u32) -> Result<Place, Stop> {
        let place = self.side.reserve(alive)?;
        self.payload(place, self.index).write(value);
        match (place, self.announced) {
            (Place::Whole, Announced::ByContent(word)) => self.side.put_whole(word(value)),
            _ => self.side.put(place),
        }
        Ok(place)
    }

    fn receive(&self) -> Result<(Place, u32), Stop> {
        let place = self.side.peek(alive)?;
        let value = self.payload(place, 1 - self.index).read();
        self.side.take(place);
        Ok((place, value))
    }

    fn close(&self) {
        self.side.close_sending();
        self.side.close_receiving();
    }
}

fn mailbox(wait: Wait, announced: Announced) -> [Party; 2] {
    let lane = || (Words::default(), Payload::new());
    let shared = (Stamp::default(), Stamp::default(), Payload::new());
    let mailbox = Arc::new(Mailbox { shared, lanes: [lane(), lane()], lobby: Lobby::default() });
    [0, 1].map(|index| {
        let side = Side::new(
            index,
            Shared(mailbox.clone(), false),
            [index, 1 - index].map(|lane| Lane(mailbox.clone(), lane)),
            Hall(mailbox.clone()),
            manner(wait),
        );
        let side = match announced {
            Announced::Stamped => side,
            Announced::ByContent(_) => side.announced_by_content(Shared(mailbox.clone(), true)),
        };
        Party { side, mailbox: mailbox.clone(), index, announced }
    })
}

/// Where a side's `message`th message lies when it gets none: what it owns at the start is spent with the first.
fn place_alone(announced: Announced, index: usize, message: u32) -> Place {
    if index == 0 && message == 0 { announced.shared() } else { Place::Lane }
}

/// One slot carries everything, each message over the one that it answers. With `second_leads` the side that does not
/// own it begins: its first message lies in its lane, and gets the reply in the shared slot, which is its own from then.
fn slot_ping_pong(wait: Wait, announced: Announced, rounds: u32, second_leads: bool) {
    let mut parties = mailbox(wait, announced);
    if second_leads {
        parties.reverse();
    }
    let [leader, follower] = parties;
    let request = move |round| if second_leads && round == 0 { Place::Lane } else { announced.shared() };
    let peer = thread::spawn(move || {
        for round in 0..rounds {
            assert_eq!(follower.receive(), Ok((request(round), round)));
            assert_eq!(follower.send(round + 10), Ok(announced.shared()));
        }
    });
    for round in 0..rounds {
        assert_eq!(leader.send(round), Ok(request(round)));
        assert_eq!(leader.receive(), Ok((announced.shared(), round + 10)));
    }
    peer.join().unwrap();
}

/// No message goes back, so the acknowledgement of a lane travels alone. With `leaving` the sender closes after its last
/// message. The first message of side 0 lies in the shared slot, of side 1 in the lane, as do all others.
fn slot_stream(wait: Wait, announced: Announced, sends: usize, messages: u32, leaving: bool) {
    let mut parties = mailbox(wait, announced);
    parties.rotate_left(sends);
    let [sender, receiver] = parties;
    let peer = thread::spawn(move || {
        for message in 0..messages {
            assert_eq!(sender.send(message), Ok(place_alone(announced, sends, message)));
        }
        if leaving {
            sender.close();
        }
    });
    for message in 0..messages {
        assert_eq!(receiver.receive(), Ok((place_alone(announced, sends, message), message)));
    }
    if leaving {
        assert_eq!(receiver.receive(), Err(Stop::Gone));
    }
    peer.join().unwrap();
}

/// One way first, then the other: the shared slot and what was acknowledged change hands in between, and the second
/// sender overwrites the first message of the first one.
fn slot_turns(wait: Wait, announced: Announced) {
    let [one, other] = mailbox(wait, announced);
    let peer = thread::spawn(move || {
        assert_eq!(other.receive(), Ok((announced.shared(), 0)));
        assert_eq!(other.receive(), Ok((Place::Lane, 1)));
        assert_eq!(other.send(10), Ok(announced.shared()));
        assert_eq!(other.send(11), Ok(Place::Lane));
    });
    assert_eq!(one.send(0), Ok(announced.shared()));
    assert_eq!(one.send(1), Ok(Place::Lane));
    assert_eq!(one.receive(), Ok((announced.shared(), 10)));
    assert_eq!(one.receive(), Ok((Place::Lane, 11)));
    peer.join().unwrap();
}

/// Both send before they receive: acknowledgements cross messages, and each side's bell rings for either reason.
fn slot_crossing(wait: Wait, announced: Announced, rounds: u32) {
    let run = move |party: &Party| {
        for round in 0..rounds {
            assert!(party.send(round).is_ok());
            assert_eq!(party.receive().map(|(_, value)| value), Ok(round));
        }
        // The other side may still wait for the acknowledgement of the last message.
        party.close();
    };
    let [one, other] = mailbox(wait, announced);
    let peer = thread::spawn(move || run(&other));
    run(&one);
    peer.join().unwrap();
}

/// The receiver takes one message and closes; the sender goes on until it is told.
fn slot_receiver_leaves(wait: Wait, announced: Announced, sends: usize, takes: u32) {
    let mut parties = mailbox(wait, announced);
    parties.rotate_left(sends);
    let [sender, receiver] = parties;
    let peer = thread::spawn(move || {
        for message in 0..takes {
            assert_eq!(receiver.receive(), Ok((place_alone(announced, sends, message), message)));
        }
        receiver.close();
    });
    let stop = (0..).find_map(|message| sender.send(message).err());
    assert_eq!(stop, Some(Stop::Gone));
    peer.join().unwrap();
}

/// One side's halves in two threads: the sending one overwrites what the receiving one reads, if it is done with it.
fn slot_halves(wait: Wait, announced: Announced) {
    let [peer, party] = mailbox(wait, announced);
    let party = Arc::new(party);
    let receiver = thread::spawn({
        let party = party.clone();
        move || assert_eq!(party.receive(), Ok((announced.shared(), 0)))
    });
    // In the lane, or in the shared slot if the receiving half is done with the message there.
    let sender = thread::spawn(move || assert!(party.send(1).is_ok()));
    assert_eq!(peer.send(0), Ok(announced.shared()));
    // One look only: nobody may ever ring.
    if let Ok(place) = peer.side.peek(|| true) {
        assert_eq!(peer.payload(place, 1).read(), 1);
        peer.side.take(place);
        assert_eq!(peer.send(2), Ok(place));
    }
    receiver.join().unwrap();
    sender.join().unwrap();
}

#[test]
fn slot_ping_pong_blocks() {
    check(Some(BOUND), || slot_ping_pong(Wait::Block, Announced::Stamped, 2, false));
}

#[test]
fn slot_ping_pong_blocks_exhaustively() {
    check(ALL, || slot_ping_pong(Wait::Block, Announced::Stamped, 1, false));
}

#[test]
fn slot_ping_pong_hybrid() {
    check(Some(BOUND), || slot_ping_pong(Wait::Hybrid(1), Announced::Stamped, 2, false));
}

#[test]
fn slot_ping_pong_spins() {
    check(Some(BOUND), || slot_ping_pong(Wait::Spin, Announced::Stamped, 3, false));
}

#[test]
fn slot_ping_pong_spins_exhaustively() {
    check(ALL, || slot_ping_pong(Wait::Spin, Announced::Stamped, 2, false));
}

#[test]
fn slot_second_side_leads_and_blocks() {
    check(Some(BOUND), || slot_ping_pong(Wait::Block, Announced::Stamped, 2, true));
}

#[test]
fn slot_second_side_leads_and_spins() {
    check(Some(BOUND), || slot_ping_pong(Wait::Spin, Announced::Stamped, 3, true));
}

#[test]
fn slot_stream_blocks() {
    check(Some(BOUND), || slot_stream(Wait::Block, Announced::Stamped, 0, 3, false));
}

#[test]
fn slot_stream_of_second_side_blocks() {
    check(Some(BOUND), || slot_stream(Wait::Block, Announced::Stamped, 1, 3, false));
}

#[test]
fn slot_stream_hybrid() {
    check(Some(BOUND), || slot_stream(Wait::Hybrid(1), Announced::Stamped, 1, 2, false));
}

#[test]
fn slot_stream_spins() {
    check(Some(BOUND), || slot_stream(Wait::Spin, Announced::Stamped, 0, 4, false));
}

#[test]
fn slot_stream_yields() {
    check(ALL, || slot_stream(Wait::Yield, Announced::Stamped, 0, 3, false));
}

#[test]
fn slot_turns_block() {
    check(Some(BOUND), || slot_turns(Wait::Block, Announced::Stamped));
}

#[test]
fn slot_turns_spin() {
    check(Some(BOUND), || slot_turns(Wait::Spin, Announced::Stamped));
}

#[test]
fn slot_crossing_blocks() {
    check(Some(BOUND), || slot_crossing(Wait::Block, Announced::Stamped, 2));
}

#[test]
fn slot_crossing_spins() {
    check(Some(BOUND), || slot_crossing(Wait::Spin, Announced::Stamped, 2));
}

#[test]
fn slot_sender_leaves_a_sleeper() {
    check(Some(BOUND), || slot_stream(Wait::Block, Announced::Stamped, 0, 1, true));
}

#[test]
fn slot_sender_leaves_two_messages() {
    check(Some(BOUND), || slot_stream(Wait::Block, Announced::Stamped, 0, 2, true));
}

#[test]
fn slot_sender_leaves_a_spinner() {
    check(ALL, || slot_stream(Wait::Spin, Announced::Stamped, 1, 1, true));
}

#[test]
fn slot_receiver_leaves_a_full_lane() {
    check(Some(BOUND), || slot_receiver_leaves(Wait::Block, Announced::Stamped, 0, 0));
}

#[test]
fn slot_receiver_leaves_a_sleeper() {
    check(Some(BOUND), || slot_receiver_leaves(Wait::Block, Announced::Stamped, 1, 1));
}

#[test]
fn slot_receiver_leaves_a_spinner() {
    check(ALL, || slot_receiver_leaves(Wait::Spin, Announced::Stamped, 1, 1));
}

/// The halves of one side in two threads may stall the peer, but when it finds a place free the place is free: the
/// sending half may overwrite, or acknowledge, what the receiving half, elsewhere, has read.
#[test]
fn slot_halves_in_two_threads_keep_the_shared_slot() {
    check(Some(BOUND), || slot_halves(Wait::Spin, Announced::Stamped));
}

/// As above, for the lane: the first message is gone from the shared slot, and the second one is acknowledged.
#[test]
fn slot_halves_in_two_threads_keep_the_lane() {
    check(Some(BOUND), || {
        // The side that sends first through its lane is the one that does not own the shared slot.
        let [party, peer] = mailbox(Wait::Spin, Announced::Stamped);
        let party = Arc::new(party);
        let receiver = thread::spawn({
            let party = party.clone();
            move || assert_eq!(party.receive(), Ok((Place::Lane, 0)))
        });
        let sender = thread::spawn(move || assert_eq!(party.send(1), Ok(Place::Shared)));
        assert_eq!(peer.send(0), Ok(Place::Lane));
        // One look only: the acknowledgement may never come.
        if peer.side.reserve(|| true) == Ok(Place::Lane) {
            peer.payload(Place::Lane, peer.index).write(2);
        }
        receiver.join().unwrap();
        sender.join().unwrap();
    });
}

#[test]
fn slot_messages_that_announce_themselves_spin() {
    check(Some(BOUND), || slot_ping_pong(Wait::Spin, UNLIKE, 3, false));
    check(Some(BOUND), || slot_ping_pong(Wait::Spin, ALIKE, 3, true));
}

#[test]
fn slot_messages_that_announce_themselves_spin_exhaustively() {
    check(ALL, || slot_ping_pong(Wait::Spin, UNLIKE, 2, false));
    check(ALL, || slot_ping_pong(Wait::Spin, ALIKE, 2, false));
}

#[test]
fn slot_messages_that_announce_themselves_block() {
    check(Some(BOUND), || slot_ping_pong(Wait::Block, UNLIKE, 2, true));
    check(Some(BOUND), || slot_ping_pong(Wait::Block, ALIKE, 2, false));
}

#[test]
fn slot_messages_that_announce_themselves_stream_and_turn() {
    check(Some(BOUND), || slot_stream(Wait::Block, UNLIKE, 0, 2, true));
    check(Some(BOUND), || slot_turns(Wait::Spin, UNLIKE));
    check(Some(BOUND), || slot_turns(Wait::Block, ALIKE));
}

/// A message without a number, which comes behind one in the lane.
#[test]
fn slot_messages_that_announce_themselves_keep_the_order() {
    check(Some(BOUND), || slot_crossing(Wait::Spin, UNLIKE, 2));
    check(Some(BOUND), || slot_crossing(Wait::Block, ALIKE, 2));
}

#[test]
fn slot_messages_that_announce_themselves_wake_who_leaves() {
    check(Some(BOUND), || slot_receiver_leaves(Wait::Block, UNLIKE, 0, 1));
}

#[test]
fn slot_halves_in_two_threads_keep_messages_that_announce_themselves() {
    check(Some(BOUND), || slot_halves(Wait::Spin, UNLIKE));
    check(Some(BOUND), || slot_halves(Wait::Spin, ALIKE));
}

/// What the sending half puts into the shared slot must not look like a message to the receiving one.
#[test]
fn slot_halves_in_two_threads_take_no_message_of_their_own() {
    check(Some(BOUND), || {
        let [peer, party] = mailbox(Wait::Spin, UNLIKE);
        let party = Arc::new(party);
        assert_eq!(peer.send(0), Ok(Place::Whole));
        assert_eq!(party.receive(), Ok((Place::Whole, 0)));
        let sender = thread::spawn({
            let party = party.clone();
            move || assert_eq!(party.send(1), Ok(Place::Whole))
        });
        assert_eq!(party.side.peek(|| true), Err(Stop::Gone));
        sender.join().unwrap();
    });
}

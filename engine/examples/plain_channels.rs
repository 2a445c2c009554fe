//! The plainest Rust programs over the channels that ipcost compares, and over the standard library's lock: the yardstick for
//! what its layers add to them.
//!
//! ```text
//! plain_channels mpsc|crossbeam|flume|rtrb|mutex-queue ping-pong|stream SIZE block|spin|yield thread CPU_A CPU_B
//! ```
//!
//! The protocol on standard input and output, the windows and the timing are those of `scripts/plain/main.c`; the pool of
//! buffers that goes round through two channels is that of `engine/src/transport/buffers.rs`, which the calls of each crate
//! need to be the same. `scripts/plain.py` runs it.
//!
//! The bounded buffer under a lock wakes only who sleeps, and a producer that waits for room when half of it is free, as in
//! `engine/src/transport/mutex_queue.rs`: `Condvar::notify_one` is a system call whether anybody sleeps or not.
//!
//! With `PLAIN_SPOIL=N` one bit of ping N is turned when it was written: its receiver has to notice.

use ipcost_engine::heap;
use ipcost_engine::plan::Touch;
use ipcost_engine::transport::buffers::Buffer;
use ipcost_engine::workload::payload::{Payload, Way};
use protocol::{Order, Party, wrong};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

#[path = "plain/protocol.rs"]
mod protocol;

/// How a party waits: `0` sleeps, `1` spins, `2` yields. A constant, so that each is compiled for itself.
type Wait = u8;
const BLOCK: Wait = 0;
const SPIN: Wait = 1;
const YIELD: Wait = 2;

/// The calls of a crate. A peer that leaves early ends the program.
trait Calls: 'static {
    type Tx: Send;
    type Rx: Send;
    fn bounded(depth: usize) -> (Self::Tx, Self::Rx);
    fn put(tx: &mut Self::Tx, buffer: Buffer);
    fn look(rx: &mut Self::Rx) -> Option<Buffer>;
    fn sleep(rx: &mut Self::Rx) -> Buffer;
}

macro_rules! calls {
    ($name:ident, $tx:ty, $rx:ty, $bounded:path, $put:ident, $look:ident, $sleep:expr) => {
        struct $name;
        impl Calls for $name {
            type Tx = $tx;
            type Rx = $rx;
            fn bounded(depth: usize) -> (Self::Tx, Self::Rx) {
                $bounded(depth)
            }
            #[inline(always)]
            fn put(tx: &mut Self::Tx, buffer: Buffer) {
                tx.$put(buffer).expect("a peer that takes the buffer");
            }
            #[inline(always)]
            fn look(rx: &mut Self::Rx) -> Option<Buffer> {
                rx.$look().ok()
            }
            #[inline(always)]
            fn sleep(rx: &mut Self::Rx) -> Buffer {
                let sleep: fn(&mut $rx) -> Buffer = $sleep;
                sleep(rx)
            }
        }
    };
}

calls!(
    Mpsc,
    std::sync::mpsc::SyncSender<Buffer>,
    std::sync::mpsc::Receiver<Buffer>,
    std::sync::mpsc::sync_channel,
    send,
    try_recv,
    |rx| rx.recv().expect("a peer that sends")
);
calls!(
    Crossbeam,
    crossbeam_channel::Sender<Buffer>,
    crossbeam_channel::Receiver<Buffer>,
    crossbeam_channel::bounded,
    send,
    try_recv,
    |rx| rx.recv().expect("a peer that sends")
);
calls!(Flume, flume::Sender<Buffer>, flume::Receiver<Buffer>, flume::bounded, send, try_recv, |rx| rx
    .recv()
    .expect("a peer that sends"));
calls!(Rtrb, rtrb::Producer<Buffer>, rtrb::Consumer<Buffer>, rtrb::RingBuffer::new, push, pop, |_| panic!(
    "rtrb has no call that sleeps"
));

#[inline(always)]
fn take<C: Calls, const WAIT: Wait>(rx: &mut C::Rx) -> Buffer {
    if WAIT == BLOCK {
        return C::sleep(rx);
    }
    loop {
        match C::look(rx) {
            Some(buffer) => return buffer,
            None if WAIT == YIELD => std::thread::yield_now(),
            None => std::hint::spin_loop(),
        }
    }
}

/// One party's ends of both directions.
struct Side<C: Calls> {
    full_out: C::Tx,
    empty_back: C::Rx,
    full_in: C::Rx,
    empty_out: C::Tx,
    spoil: Option<u64>,
}

impl<C: Calls> Side<C> {
    /// Both sides, with all buffers on the senders' side.
    fn pair(order: &Order) -> [Self; 2] {
        let (size, spoil, depth) = (order.size, order.spoil, order.depth());
        let direction = || {
            let [(mut full_tx, mut full_rx), (mut empty_tx, empty_rx)] = [(); 2].map(|()| {
                heap::scatter();
                C::bounded(depth)
            });
            for _ in 0..depth {
                C::put(&mut full_tx, Buffer::new(size));
            }
            while let Some(buffer) = C::look(&mut full_rx) {
                C::put(&mut empty_tx, buffer);
            }
            ((full_tx, empty_rx), (full_rx, empty_tx))
        };
        let ((full_out, empty_back), (their_in, their_empty)) = direction();
        let ((their_out, their_back), (full_in, empty_out)) = direction();
        let near = Self { full_out, empty_back, full_in, empty_out, spoil };
        [
            near,
            Self {
                full_out: their_out,
                empty_back: their_back,
                full_in: their_in,
                empty_out: their_empty,
                spoil: None,
            },
        ]
    }

    #[inline(always)]
    fn send<const WAIT: Wait>(&mut self, way: Way, seq: u64) {
        let mut buffer = take::<C, WAIT>(&mut self.empty_back);
        let payload = Payload::new(Touch::Whole);
        payload.fill(way, seq, &mut buffer);
        if self.spoil == Some(seq) {
            payload.spoil(&mut buffer);
        }
        C::put(&mut self.full_out, buffer);
    }

    #[inline(always)]
    fn receive<const WAIT: Wait>(&mut self, way: Way, seq: u64) {
        let buffer = take::<C, WAIT>(&mut self.full_in);
        if let Err(how) = Payload::new(Touch::Whole).check(way, seq, &buffer) {
            wrong("plain_channels", how);
        }
        C::put(&mut self.empty_out, buffer);
    }
}

/// A side that waits in one way, compiled for itself.
struct Waiting<C: Calls, const WAIT: Wait>(Side<C>);

impl<C: Calls, const WAIT: Wait> Party for Waiting<C, WAIT> {
    #[inline(never)]
    fn lead(&mut self, first: u64, n: u64, streams: bool) {
        for seq in first..first + n {
            self.0.send::<WAIT>(Way::Out, seq);
            if !streams {
                self.0.receive::<WAIT>(Way::Back, seq);
            }
        }
    }

    #[inline(never)]
    fn follow(&mut self, first: u64, n: u64, streams: bool) {
        for seq in first..first + n {
            self.0.receive::<WAIT>(Way::Out, seq);
            if !streams {
                self.0.send::<WAIT>(Way::Back, seq);
            }
        }
    }
}

/// A bounded buffer under a lock; a party swaps a buffer of its own for one of these.
struct Queue {
    places: Mutex<Places>,
    /// For consumers, for producers.
    news: [Condvar; 2],
}

struct Places {
    buffers: Vec<Buffer>,
    head: usize,
    len: usize,
    asleep: [bool; 2],
}

const PRODUCER: usize = 0;
const CONSUMER: usize = 1;

impl Queue {
    fn new(depth: usize, size: usize) -> Arc<Self> {
        let buffers = (0..depth).map(|_| Buffer::new(size)).collect();
        let places = Mutex::new(Places { buffers, head: 0, len: 0, asleep: [false; 2] });
        Arc::new(Self { places, news: [Condvar::new(), Condvar::new()] })
    }

    /// The places as soon as there are not `len` messages in them. Who does not sleep lets go of them between two looks.
    #[inline(always)]
    fn unless<const WAIT: Wait>(&self, len: impl Fn(&Places) -> usize, who: usize) -> MutexGuard<'_, Places> {
        let mut places = self.places.lock().expect("no party panics");
        while places.len == len(&places) {
            if WAIT == BLOCK {
                places.asleep[who] = true;
                places = self.news[who].wait(places).expect("no party panics");
                continue;
            }
            drop(places);
            if WAIT == YIELD {
                std::thread::yield_now()
            } else {
                std::hint::spin_loop()
            }
            places = self.places.lock().expect("no party panics");
        }
        places
    }

    /// Lets go of the places and wakes the other party if it sleeps.
    #[inline(always)]
    fn leave(&self, mut places: MutexGuard<'_, Places>, other: usize, enough: bool) {
        let asleep = enough && std::mem::take(&mut places.asleep[other]);
        drop(places);
        if asleep {
            self.news[other].notify_one();
        }
    }
}

/// One party's ends of two such buffers, with a spare to write into and one to hand back.
struct Locked<const WAIT: Wait> {
    out: Arc<Queue>,
    home: Arc<Queue>,
    spares: [Buffer; 2],
    spoil: Option<u64>,
}

impl<const WAIT: Wait> Locked<WAIT> {
    fn pair(order: &Order) -> [Self; 2] {
        let [there, back] = [(); 2].map(|()| Queue::new(order.depth(), order.size));
        let side = |out: &Arc<Queue>, home: &Arc<Queue>, spoil| Self {
            out: Arc::clone(out),
            home: Arc::clone(home),
            spares: [(); 2].map(|()| Buffer::new(order.size)),
            spoil,
        };
        [side(&there, &back, order.spoil), side(&back, &there, None)]
    }

    #[inline(always)]
    fn send(&mut self, way: Way, seq: u64) {
        let payload = Payload::new(Touch::Whole);
        payload.fill(way, seq, &mut self.spares[0]);
        if self.spoil == Some(seq) {
            payload.spoil(&mut self.spares[0]);
        }
        let mut places = self.out.unless::<WAIT>(|places| places.buffers.len(), PRODUCER);
        let place = (places.head + places.len) % places.buffers.len();
        std::mem::swap(&mut places.buffers[place], &mut self.spares[0]);
        places.len += 1;
        self.out.leave(places, CONSUMER, true);
    }

    #[inline(always)]
    fn receive(&mut self, way: Way, seq: u64) {
        let mut places = self.home.unless::<WAIT>(|_| 0, CONSUMER);
        let place = places.head;
        std::mem::swap(&mut places.buffers[place], &mut self.spares[1]);
        places.head = (place + 1) % places.buffers.len();
        places.len -= 1;
        let enough = WAIT != BLOCK || places.len <= places.buffers.len() / 2;
        self.home.leave(places, PRODUCER, enough);
        if let Err(how) = Payload::new(Touch::Whole).check(way, seq, &self.spares[1]) {
            wrong("plain_channels", how);
        }
    }
}

impl<const WAIT: Wait> Party for Locked<WAIT> {
    #[inline(never)]
    fn lead(&mut self, first: u64, n: u64, streams: bool) {
        for seq in first..first + n {
            self.send(Way::Out, seq);
            if !streams {
                self.receive(Way::Back, seq);
            }
        }
    }

    #[inline(never)]
    fn follow(&mut self, first: u64, n: u64, streams: bool) {
        for seq in first..first + n {
            self.receive(Way::Out, seq);
            if !streams {
                self.send(Way::Back, seq);
            }
        }
    }
}

fn run_locked<const WAIT: Wait>(order: &Order) {
    protocol::run(order, Locked::<WAIT>::pair(order));
}

fn run<C: Calls, const WAIT: Wait>(order: &Order) {
    protocol::run(order, Side::<C>::pair(order).map(Waiting::<C, WAIT>));
}

fn usage() -> ! {
    eprintln!(
        "usage: plain_channels mpsc|crossbeam|flume|rtrb|mutex-queue ping-pong|stream SIZE block|spin|yield thread CPU_A CPU_B"
    );
    std::process::exit(2)
}

fn main() {
    let order = Order::read().unwrap_or_else(|| usage());
    let run = match (order.mechanism.as_str(), order.wait.as_str()) {
        ("mpsc", "block") => run::<Mpsc, BLOCK>,
        ("mpsc", "spin") => run::<Mpsc, SPIN>,
        ("mpsc", "yield") => run::<Mpsc, YIELD>,
        ("crossbeam", "spin") => run::<Crossbeam, SPIN>,
        ("crossbeam", "yield") => run::<Crossbeam, YIELD>,
        ("flume", "block") => run::<Flume, BLOCK>,
        ("flume", "spin") => run::<Flume, SPIN>,
        ("flume", "yield") => run::<Flume, YIELD>,
        ("rtrb", "spin") => run::<Rtrb, SPIN>,
        ("rtrb", "yield") => run::<Rtrb, YIELD>,
        ("mutex-queue", "block") => run_locked::<BLOCK>,
        ("mutex-queue", "spin") => run_locked::<SPIN>,
        ("mutex-queue", "yield") => run_locked::<YIELD>,
        _ => usage(),
    };
    run(&order);
}

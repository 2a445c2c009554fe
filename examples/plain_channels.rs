//! The plainest Rust programs over the channels that ipcost compares: the yardstick for what its layers add to them.
//!
//! ```text
//! plain_channels mpsc|crossbeam|flume|rtrb ping-pong|stream SIZE block|spin|yield thread CPU_A CPU_B
//! ```
//!
//! The protocol on standard input and output, the windows and the timing are those of `scripts/plain/main.c`; the pool of
//! buffers that goes round through two channels is that of `src/transport/buffers.rs`, which the calls of each crate
//! need to be the same. `scripts/plain.py` runs it.
//!
//! With `PLAIN_SPOIL=N` one bit of ping N is turned when it was written: its receiver has to notice.

use ipcost::plan::Touch;
use ipcost::transport::buffer_for;
use ipcost::workload::payload::{Payload, Way};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

type Buffer = Box<[u8]>;

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
            None if WAIT == YIELD => thread::yield_now(),
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
    fn pair(size: usize, spoil: Option<u64>) -> [Self; 2] {
        let depth = (buffer_for(size) / size).min(1024);
        let direction = || {
            let (mut full_tx, mut full_rx) = C::bounded(depth);
            let (mut empty_tx, empty_rx) = C::bounded(depth);
            for _ in 0..depth {
                C::put(&mut full_tx, vec![0xA5; size].into_boxed_slice());
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
        if let Err(wrong) = Payload::new(Touch::Whole).check(way, seq, &buffer) {
            eprintln!("plain_channels: {wrong}");
            std::process::exit(1);
        }
        C::put(&mut self.empty_out, buffer);
    }

    #[inline(never)]
    fn lead<const WAIT: Wait>(&mut self, first: u64, n: u64, streams: bool) {
        for seq in first..first + n {
            self.send::<WAIT>(Way::Out, seq);
            if !streams {
                self.receive::<WAIT>(Way::Back, seq);
            }
        }
    }

    #[inline(never)]
    fn follow<const WAIT: Wait>(&mut self, first: u64, n: u64, streams: bool) {
        for seq in first..first + n {
            self.receive::<WAIT>(Way::Out, seq);
            if !streams {
                self.send::<WAIT>(Way::Back, seq);
            }
        }
    }
}

/// Where the leader tells the follower what to do, and hears from it. Counts of windows.
#[derive(Default)]
struct Page {
    go: AtomicU32,
    ready: AtomicU32,
    done: AtomicU32,
    first: AtomicU64,
    count: AtomicU64,
    end_ns: AtomicU64,
}

fn open(gate: &AtomicU32, step: u32, sleeper: &Thread) {
    gate.store(step, Ordering::Release);
    sleeper.unpark();
}

/// Looks a few times, then sleeps; wakes every 10 ms like a party of ipcost, so that both disturb each other alike.
fn pass(gate: &AtomicU32, step: u32) {
    let mut looks = 0;
    while gate.load(Ordering::Acquire) < step {
        looks += 1;
        if looks < 500 { std::hint::spin_loop() } else { thread::park_timeout(Duration::from_millis(10)) }
    }
}

fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).expect("the CPU to be there and allowed");
}

/// What the command line asks for.
struct Order {
    size: usize,
    streams: bool,
    cpus: [usize; 2],
    spoil: Option<u64>,
}

fn run<C: Calls, const WAIT: Wait>(order: &Order) {
    let &Order { size, streams, cpus, spoil } = order;
    let [mut near, mut far] = Side::<C>::pair(size, spoil);
    let (page, start, leader) = (Arc::new(Page::default()), Instant::now(), thread::current());
    let theirs = Arc::clone(&page);
    let follower = thread::spawn(move || {
        pin(cpus[1]);
        for step in 1.. {
            pass(&theirs.go, step);
            let (first, n) = (theirs.first.load(Ordering::Relaxed), theirs.count.load(Ordering::Relaxed));
            if n == 0 {
                return;
            }
            open(&theirs.ready, step, &leader);
            far.follow::<WAIT>(first, n, streams);
            theirs.end_ns.store(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
            open(&theirs.done, step, &leader);
        }
    });
    pin(cpus[0]);
    let (mut windows, mut next) = (0, 0);
    let mut begin = |first: u64, n: u64| -> u32 {
        windows += 1;
        page.first.store(first, Ordering::Relaxed);
        page.count.store(n, Ordering::Relaxed);
        open(&page.go, windows, follower.thread());
        windows
    };
    let mut window = |n: u64| -> u64 {
        let step = begin(next, n);
        pass(&page.ready, step);
        let from = start.elapsed().as_nanos() as u64;
        near.lead::<WAIT>(next, n, streams);
        let to = start.elapsed().as_nanos() as u64;
        pass(&page.done, step);
        next += n;
        if streams { page.end_ns.load(Ordering::Relaxed) - from } else { to - from }
    };
    // Warm-up: windows that double, until they lasted a fifth of a second together.
    let (warm, mut n) = (Instant::now(), 1);
    while warm.elapsed() < Duration::from_millis(200) {
        window(n);
        n *= 2;
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input to be readable");
        let n = line.parse().ok().filter(|n| *n > 0).expect("an order to be a number of messages");
        println!("{}", window(n));
        std::io::stdout().flush().expect("standard output to be writable");
    }
    begin(next, 0);
    follower.join().expect("the follower to end");
}

fn usage() -> ! {
    eprintln!(
        "usage: plain_channels mpsc|crossbeam|flume|rtrb ping-pong|stream SIZE block|spin|yield thread CPU_A CPU_B"
    );
    std::process::exit(2)
}

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [mechanism, workload, size, wait, parties, cpu_a, cpu_b] = &words[..] else { usage() };
    let number = |text: &str| text.parse::<usize>().unwrap_or_else(|_| usage());
    let (streams, size) = (workload == "stream", number(size));
    if size == 0 || parties != "thread" || !(streams || workload == "ping-pong") {
        usage();
    }
    let spoil = std::env::var("PLAIN_SPOIL").ok().and_then(|text| text.parse().ok());
    let order = Order { size, streams, cpus: [number(cpu_a), number(cpu_b)], spoil };
    let run = match (mechanism.as_str(), wait.as_str()) {
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
        _ => usage(),
    };
    run(&order);
}

//! The protocol of the plain programs in Rust: that of `scripts/plain/main.c`, between two threads.
//!
//! After a warm-up the program prints "ready"; for each line with a number N on standard input it carries N messages (round
//! trips) and prints the nanoseconds that they took; it ends at end-of-file. Between two such windows both parties sleep.

use ipcost_engine::plan::{Plan, Workload};
use ipcost_engine::transport::{Config, buffers};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// What the command line asks for.
pub struct Order {
    /// The name of the program of `ipcost` that this one stands beside.
    pub mechanism: String,
    /// Bytes of a message.
    pub size: usize,
    /// One direction, instead of a message each way.
    pub streams: bool,
    /// How both parties wait, as `ipcost` says it.
    pub wait: String,
    /// Where the leader and the follower are pinned.
    pub cpus: [usize; 2],
    /// The message of which one bit is to be turned.
    pub spoil: Option<u64>,
}

impl Order {
    /// Messages for which the mechanism of `ipcost` has places here.
    #[allow(dead_code, reason = "not every program with this protocol has a pool")]
    pub fn depth(&self) -> usize {
        let workload = if self.streams { Workload::Stream } else { Workload::PingPong };
        let wait = self.wait.parse().expect("the program knows the wait");
        buffers::depth(&Config::new(&Plan { workload, wait, size: self.size, ..Plan::default() }))
    }

    /// Reads the command line; `None` when it is not understood.
    pub fn read() -> Option<Self> {
        // As every run of ipcost: what lies in which cache line is left to chance, launch by launch.
        ipcost_engine::heap::scatter();
        let words: Vec<_> = std::env::args().skip(1).collect();
        let [mechanism, workload, size, wait, parties, cpu_a, cpu_b] = &words[..] else { return None };
        let number = |text: &str| text.parse::<usize>().ok();
        let (streams, size) = (workload == "stream", number(size).filter(|size| *size > 0)?);
        if parties != "thread" || !(streams || workload == "ping-pong") {
            return None;
        }
        let spoil = std::env::var("PLAIN_SPOIL").ok().and_then(|text| text.parse().ok());
        let cpus = [number(cpu_a)?, number(cpu_b)?];
        Some(Self { mechanism: mechanism.clone(), size, streams, wait: wait.clone(), cpus, spoil })
    }
}

/// One of the two parties: it carries so many messages from a sequence number on.
pub trait Party: Send + 'static {
    /// As the leader.
    fn lead(&mut self, first: u64, n: u64, streams: bool);
    /// As the follower.
    fn follow(&mut self, first: u64, n: u64, streams: bool);
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

/// Runs both parties until standard input ends.
pub fn run(order: &Order, [mut near, mut far]: [impl Party; 2]) {
    let &Order { streams, cpus, .. } = order;
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
            far.follow(first, n, streams);
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
        near.lead(next, n, streams);
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

/// What a program that ends early would leave in the system.
pub static CLEAN_UP: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Ends the program because of a message that is wrong.
#[cold]
pub fn wrong(program: &str, how: impl std::fmt::Display) -> ! {
    eprintln!("{program}: {how}");
    if let Some(clean_up) = CLEAN_UP.get() {
        clean_up();
    }
    std::process::exit(1)
}

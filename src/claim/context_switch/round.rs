//! A ring of tasks that pass a token round: threads, processes, or one task that plays them all.
//!
//! The walk only reads, so that forked processes keep sharing the pages that their parent filled.

use super::{Who, With};
use crate::claim::{Cell, Values, lab, values};
use crate::error::{Context, Error, Phase, Result};
use crate::shm::futex::Scope;
use crate::shm::region::{Region, View};
use crate::shm::seats::{SEATS, Table};
use crate::sys::usage::Usage;
use crate::sys::{clock, map, process};
use std::hint::black_box;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How the token is passed.
enum Channel {
    Futex(View<Table>),
    /// To each seat.
    Pipe(Vec<(PipeReader, PipeWriter)>),
}

/// Longest wait for the token, and the sleep between two looks whether the round was given up.
const LIMIT_NS: u64 = 10_000_000_000;
const NAP: Duration = Duration::from_millis(50);

/// What the first number on the board says: the round goes on, this lap is the last, somebody gave up.
const LAST: u64 = 1;
const ABANDONED: u64 = 2;

/// A ring of tasks, made before the tasks are.
pub(super) struct Round {
    pub(super) with: With,
    board: View<Table>,
    channel: Channel,
    memory: Option<Region>,
    /// Walks for each token: the planted effect makes it two.
    walks: u32,
    /// How long a follower keeps the token, ns: a planted delay.
    delay_ns: u64,
}

impl Round {
    pub(super) fn new(cell: &Cell) -> Result<Self> {
        let with: With = cell.with()?;
        if !(2..=SEATS).contains(&with.ring) {
            return Err(Error::usage(format!("a ring has 2 to {SEATS} tasks")));
        }
        let cannot = "cannot prepare the ring";
        let shared = map::anonymous_shared(Table::region_len()).context(Phase::Setup, cannot)?;
        let board = Table::lay(&Arc::new(shared));
        let channel = if with.pipe {
            let pipes: std::io::Result<_> = (0..with.ring).map(|_| std::io::pipe()).collect();
            Channel::Pipe(pipes.context(Phase::Setup, cannot)?)
        } else {
            Channel::Futex(board.clone())
        };
        let cold = cell.planted("cold-processes") && with.who == Who::Processes && with.data.private;
        let slow = cell.planted("slow-threads") && with.who == Who::Threads;
        let (walks, delay_ns) = (if cold { 2 } else { 1 }, if slow { DELAY_NS } else { 0 });
        let bytes = (with.data.kib << 10) * if with.data.private { with.ring } else { 1 };
        let memory = (bytes > 0).then(|| lab::filled(bytes, with.data.huge)).transpose()?;
        Ok(Self { with, board, channel, memory, walks, delay_ns })
    }

    /// Waits until seat `me` has the token of this lap. It always makes the call that would sleep, so that the baseline
    /// makes it too.
    fn take(&self, me: usize, lap: u32) -> Result<()> {
        let lost = |why: &str| Error::failed(Phase::Measure, format!("the token did not come: {why}"));
        match &self.channel {
            Channel::Pipe(pipes) => {
                (&pipes[me].0).read_exact(&mut [0]).map_err(|error| lost("the pipe failed").because(error))
            }
            Channel::Futex(board) => {
                let token = &board.tokens[me].0;
                let mut naps = 0;
                loop {
                    // The key of shared memory for threads as well: the cheaper private one would be a second difference.
                    token.wait(lap - 1, Scope::Shared, Some(NAP));
                    // Acquire: pairs with the Release of whoever passed it on.
                    if token.word().load(Ordering::Acquire) == lap {
                        return Ok(());
                    }
                    naps += 1;
                    if self.board.words[0].0.load(Ordering::Relaxed) == ABANDONED {
                        return Err(lost("another task gave up"));
                    }
                    if naps * NAP.as_nanos() as u64 > LIMIT_NS {
                        return Err(Error::timeout(Phase::Measure, "the token did not come back"));
                    }
                }
            }
        }
    }

    /// Hands the token of this lap to seat `next`.
    fn pass(&self, next: usize, lap: u32) -> Result<()> {
        match &self.channel {
            Channel::Pipe(pipes) => (&pipes[next].1).write_all(&[1]).context(Phase::Measure, "cannot pass the token"),
            Channel::Futex(board) => {
                let token = &board.tokens[next].0;
                token.word().store(lap, Ordering::Release);
                token.wake(Scope::Shared);
                Ok(())
            }
        }
    }

    fn walk(&self, me: usize) {
        let Some(memory) = &self.memory else { return };
        let (len, seat) = (self.with.data.kib << 10, if self.with.data.private { me } else { 0 });
        for _ in 0..self.walks {
            black_box(memory.read(seat * len..(seat + 1) * len, self.with.data.stride));
        }
    }

    /// A task that is not the first: takes, walks and passes until the last lap.
    fn follow(&self, me: usize) -> Result<()> {
        for lap in 1.. {
            self.take(me, lap)?;
            // Read before the token goes on: afterwards the next lap may have begun.
            let last = self.board.words[0].0.load(Ordering::Relaxed) == LAST;
            self.walk(me);
            let until = clock::now() + self.delay_ns;
            while self.delay_ns > 0 && clock::now() < until {}
            self.pass((me + 1) % self.with.ring, lap)?;
            if last {
                break;
            }
        }
        Ok(())
    }

    /// One lap of the first task, or of the one that plays them all.
    fn lap(&self, lap: u32) -> Result<()> {
        let ring = self.with.ring;
        if self.with.who == Who::Alone {
            for me in 0..ring {
                self.walk(me);
                self.pass((me + 1) % ring, lap)?;
                self.take((me + 1) % ring, lap)?;
            }
            return Ok(());
        }
        self.walk(0);
        self.pass(1, lap)?;
        self.take(0, lap)
    }

    /// The first task: warms up, measures for `millis`, and ends the round.
    ///
    /// # Timing model
    /// A batch is so many laps, each of the ring's number of (walk, pass, take), between two clock readings; `hop_ns` is
    /// the lower quartile over batches of a batch's time divided by its passes.
    fn lead(&self, millis: u64) -> Result<Values> {
        let (mut lap, ring) = (0, self.with.ring as u64);
        let mut laps = |count: u64| {
            let start = clock::now();
            for _ in 0..count {
                lap += 1;
                self.lap(lap)?;
            }
            Ok::<u64, Error>(clock::now() - start)
        };
        let warm = clock::now() + millis * 1_000_000 / 8;
        let mut each = laps(WARM_LAPS)? / WARM_LAPS;
        while clock::now() < warm {
            each = laps(1)?;
        }
        let batch = (BATCH_NS / each.max(1)).clamp(1, 1000);
        let (mut hops, before) = (Vec::new(), Usage::now());
        let end = clock::now() + millis * 1_000_000;
        while hops.len() < BATCHES || clock::now() < end {
            hops.push(laps(batch)? as f64 / (batch * ring) as f64);
        }
        let (used, measured) = (Usage::now().since(before), batch * hops.len() as u64);
        self.board.words[0].0.store(LAST, Ordering::Relaxed);
        laps(1)?;
        hops.sort_by(f64::total_cmp);
        let hop = hops[hops.len() / 4];
        let switches = (used.voluntary + used.involuntary) as f64 / measured as f64;
        Ok(values([("hop_ns", hop), ("switches_per_lap", switches)]))
    }

    /// Runs all tasks.
    pub(super) fn run(&self, millis: u64) -> Result<Values> {
        let lead = || self.lead(millis).inspect_err(|_| self.give_up());
        match self.with.who {
            Who::Alone => lead(),
            Who::Threads => std::thread::scope(|scope| {
                for me in 1..self.with.ring {
                    // One that fails tells the first task, which reports.
                    scope.spawn(move || self.follow(me).map_err(|_| self.give_up()));
                }
                lead()
            }),
            Who::Processes => {
                let follow = |me| process::fork_child(|| u8::from(self.follow(me).is_err()));
                let children: std::io::Result<Vec<_>> = (1..self.with.ring).map(follow).collect();
                let mut children = children.context(Phase::Start, "cannot fork")?;
                let found = lead()?;
                for child in &mut children {
                    child.wait_briefly().map_err(|how| Error::failed(Phase::Measure, format!("a task {how}")))?;
                }
                Ok(found)
            }
        }
    }

    fn give_up(&self) {
        self.board.words[0].0.store(ABANDONED, Ordering::Relaxed);
    }
}

const WARM_LAPS: u64 = 3;
const BATCH_NS: u64 = 250_000;
/// Fewest batches.
const BATCHES: usize = 5;
/// The planted delay, ns.
const DELAY_NS: u64 = 300_000;

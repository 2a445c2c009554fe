//! Workers that begin together, as threads or as processes: the same code in both.
//!
//! Key decision: the leader writes a time to come onto the board, and each worker waits for it by the clock. Those of
//! [`crate::claim::crew`] take orders instead.

use crate::error::{Context, Error, Phase, Result};
use crate::plan::Parties;
use crate::shm::board::Board;
use crate::shm::futex::Scope;
use crate::shm::region::View;
use crate::sys::{clock, cpu, process};
use std::hint::spin_loop;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Workers of one kind, each pinned to the next of the CPUs.
pub(super) struct Crew {
    pub(super) parties: Parties,
    pub(super) cpus: Vec<usize>,
    pub(super) board: View<Board>,
}

/// How long the leader waits for workers to stand at the start line.
const PATIENCE_NS: u64 = 10_000_000_000;

impl Crew {
    pub(super) fn scope(&self) -> Scope {
        if self.parties == Parties::Process { Scope::Shared } else { Scope::Private }
    }

    /// Runs `n` workers that begin together and end by themselves, and `lead` beside them; what each worker returned.
    /// A worker is given its number and the time of the start.
    pub(super) fn run(
        &self,
        n: usize,
        work: impl Fn(usize, u64) -> u64 + Sync,
        lead: impl FnOnce(),
    ) -> Result<Vec<u64>> {
        let board = &*self.board;
        board.wipe();
        let body = |index: usize| -> bool {
            let placed = cpu::pin(self.cpus[index % self.cpus.len()]).is_ok();
            board.ready.0.fetch_add(1, Ordering::AcqRel);
            board.reports[index].0.store(work(index, start(board)), Ordering::Release);
            placed
        };
        let lead = || {
            let limit = clock::now() + PATIENCE_NS;
            while board.ready.0.load(Ordering::Acquire) < n as u64 && clock::now() < limit {
                std::thread::sleep(Duration::from_micros(50));
            }
            board.go.0.store(clock::now() + 100_000, Ordering::Release);
            lead();
        };
        let placed = match self.parties {
            Parties::Process => {
                let mut children = Vec::new();
                for index in 0..n {
                    let child = process::fork_child(|| u8::from(!body(index)));
                    children.push(child.context(Phase::Start, "cannot start a worker")?);
                }
                lead();
                children.iter_mut().all(|child| child.wait().is_ok())
            }
            _ => std::thread::scope(|scope| {
                let body = &body;
                let workers: Vec<_> = (0..n).map(|index| scope.spawn(move || body(index))).collect();
                lead();
                workers.into_iter().all(|worker| worker.join().unwrap_or(false))
            }),
        };
        if !placed {
            return Err(Error::unsupported("a worker ended early or could not be pinned to its CPU")
                .hint("run it where affinity is permitted"));
        }
        Ok(board.reports[..n].iter().map(|report| report.0.load(Ordering::Acquire)).collect())
    }

    /// As [`run`](Self::run), with a leader that only waits.
    pub(super) fn alone(&self, n: usize, work: impl Fn(usize, u64) -> u64 + Sync) -> Result<Vec<u64>> {
        self.run(n, work, || ())
    }
}

/// Waits until the leader has said when to start, and until then.
fn start(board: &Board) -> u64 {
    loop {
        match board.go.0.load(Ordering::Acquire) {
            0 => std::thread::sleep(Duration::from_micros(20)),
            go if clock::now() >= go => return go,
            _ => spin_loop(),
        }
    }
}

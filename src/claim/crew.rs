//! Workers that wait for orders, as threads or as processes: the same code in both.
//!
//! Key decision: orders and reports go through two pipes that all workers share. A pipe sleeps and wakes alike for
//! threads and processes, and a worker that dies leaves the other orders where they are. Each order is read whole,
//! because all are of one length and at most `PIPE_BUF` bytes long. Source: pipe(7).

use crate::error::{Context, Error, Phase, Result};
use crate::plan::Parties;
use crate::sys::process;
use std::io::{self, PipeReader, PipeWriter, Read, Write};

/// An order that ends a worker.
const STOP: u64 = u64::MAX;

/// Orders one way, reports the other.
#[derive(Debug)]
pub struct Desk {
    orders: (PipeReader, PipeWriter),
    reports: (PipeReader, PipeWriter),
}

impl Desk {
    fn new() -> io::Result<Self> {
        Ok(Self { orders: io::pipe()?, reports: io::pipe()? })
    }

    /// Gives an order to whichever worker is free.
    ///
    /// # Errors
    /// What write(2) says.
    pub fn order(&self, what: u64) -> Result<()> {
        (&self.orders.1).write_all(&what.to_le_bytes()).context(Phase::Measure, "cannot give an order")
    }

    /// The next report of any worker.
    ///
    /// # Errors
    /// What read(2) says.
    pub fn report(&self) -> Result<u64> {
        word(&self.reports.0).context(Phase::Measure, "cannot read a report")
    }

    /// For the worker: does as it is told until it is told to stop.
    fn serve(&self, mut each: impl FnMut(u64) -> u64) -> io::Result<()> {
        loop {
            match word(&self.orders.0)? {
                STOP => return Ok(()),
                order => (&self.reports.1).write_all(&each(order).to_le_bytes())?,
            }
        }
    }
}

fn word(mut pipe: &PipeReader) -> io::Result<u64> {
    let mut bytes = [0; 8];
    pipe.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Runs `lead` beside workers that are threads or processes. `hire` runs in each worker before `lead` does and returns
/// what it does with an order. `lead` is told the processes that the crew consists of, itself included.
///
/// # Errors
/// When a worker cannot be started or does not end well, and what `lead` says.
pub fn lead<R, W: FnMut(u64) -> u64>(
    parties: Parties,
    workers: u32,
    hire: impl Fn() -> W + Sync,
    lead: impl FnOnce(&Desk, &[u32]) -> Result<R>,
) -> Result<R> {
    const READY: u64 = 0;
    let desk = Desk::new().context(Phase::Setup, "cannot make a pipe")?;
    let work = || {
        let each = hire();
        (&desk.reports.1).write_all(&READY.to_le_bytes())?;
        desk.serve(each)
    };
    let conduct = |pids: &[u32]| {
        let ready: Result<Vec<u64>> = (0..workers).map(|_| desk.report()).collect();
        let result = ready.and_then(|_| lead(&desk, pids));
        (0..workers).try_for_each(|_| desk.order(STOP))?;
        result
    };
    let me = std::process::id();
    if parties == Parties::Thread {
        return std::thread::scope(|scope| {
            let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let result = conduct(&[me])?;
            let fine = threads.into_iter().all(|thread| matches!(thread.join(), Ok(Ok(()))));
            if fine { Ok(result) } else { Err(Error::failed(Phase::Measure, "a worker failed")) }
        });
    }
    let start = |_| process::fork_child(|| u8::from(work().is_err()));
    let mut children: Vec<_> =
        (0..workers).map(start).collect::<io::Result<_>>().context(Phase::Start, "cannot start a worker")?;
    let pids: Vec<u32> = children.iter().map(process::Child::id).chain([me]).collect();
    let result = conduct(&pids)?;
    for child in &mut children {
        child.wait().map_err(|how| Error::failed(Phase::Measure, format!("a worker {how}")))?;
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_carried_out_once_each() {
        let sum = lead(
            Parties::Thread,
            3,
            || |order| order * order,
            |desk, pids| {
                assert_eq!(pids, [std::process::id()]);
                (1..=10).try_for_each(|order| desk.order(order))?;
                (1..=10).map(|_| desk.report()).sum::<Result<u64>>()
            },
        );
        assert_eq!(sum.unwrap(), 385);
    }
}

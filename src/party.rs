//! Who runs the other end: a forked process or a thread.
//!
//! Key decision: two closures, each owning its side. As processes, the child drops the parent's closure and the parent the
//! child's, so that every stray descriptor closes itself and end-of-file works without bookkeeping. Rejected: a spawned
//! program (its sides would have to travel over descriptors, and would be another binary); a thread pool (a thread that
//! exists already hides what starting one costs).

use crate::error::{Context, Error, Phase, Result};
use crate::plan::Parties;
use crate::sys::process;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Says whether the other party still runs.
pub type Alive<'a> = &'a dyn Fn() -> bool;

/// Runs `here` in the calling thread beside `there` in another party, and returns what `here` returned together with how
/// `there` ended (`Err` in words, such as "was killed by SIGKILL").
///
/// `there` returns the exit code of its party. If `here` fails, what it owns is dropped, which ends `there` too; a
/// process that does not end by itself after that is killed.
///
/// # Errors
/// When the party cannot be started.
pub fn beside<R>(
    parties: Parties,
    here: impl FnOnce(Alive<'_>) -> R,
    there: impl FnOnce() -> u8 + Send,
) -> Result<(R, Result<(), String>)> {
    match parties {
        Parties::Process => fork_beside(here, there),
        Parties::Thread => Ok(thread_beside(here, there)),
        Parties::Solo => Ok((here(&|| true), Ok(()))),
    }
}

fn fork_beside<R>(here: impl FnOnce(Alive<'_>) -> R, there: impl FnOnce() -> u8) -> Result<(R, Result<(), String>)> {
    let (here, there) = (Cell::new(Some(here)), Cell::new(Some(there)));
    let child = process::fork_child(|| {
        drop(here.take());
        there.take().map_or(1, |body| body())
    });
    let mut child = child.context(Phase::Start, "cannot fork the peer")?;
    drop(there.take());
    let Some(body) = here.take() else {
        return Err(Error::failed(Phase::Start, "the leader's half vanished"));
    };
    let result = body(&|| child.alive());
    Ok((result, child.wait_briefly()))
}

fn thread_beside<R>(here: impl FnOnce(Alive<'_>) -> R, there: impl FnOnce() -> u8 + Send) -> (R, Result<(), String>) {
    std::thread::scope(|scope| {
        let peer = scope.spawn(|| catch_unwind(AssertUnwindSafe(there)));
        let result = here(&|| !peer.is_finished());
        let ending = match peer.join() {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(code)) => Err(format!("ended with code {code}")),
            Ok(Err(_)) | Err(_) => Err("panicked".into()),
        };
        (result, ending)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_is_reported_and_the_leader_goes_on() {
        let ((), ending) = beside(Parties::Thread, |_| (), || panic!("planted")).unwrap();
        assert_eq!(ending, Err("panicked".into()));
    }

    #[test]
    fn a_process_with_threads_refuses_to_fork() {
        // The test harness runs this in a thread of its own, so the process has several.
        let refused = beside(Parties::Process, |_| (), || 0).unwrap_err().to_string();
        assert!(refused.contains("several threads"), "{refused}");
    }
}

//! Who runs the other ends: forked processes or threads.
//!
//! Key decision: two closures, each owning its side. As processes, the child drops the parent's closure and the parent the
//! child's, so that every stray descriptor closes itself and end-of-file works without bookkeeping. Rejected: a spawned
//! program (its sides would have to travel over descriptors, and would be another binary); a thread pool (a thread that
//! exists already hides what starting one costs).

use crate::error::{Context, Error, Phase, Result};
use crate::plan::Parties;
use crate::sys::process;
use crate::sys::rouse::{Rousable, rouse};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

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
        Parties::Thread => thread_beside(here, there),
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

fn thread_beside<R>(
    here: impl FnOnce(Alive<'_>) -> R,
    there: impl FnOnce() -> u8 + Send,
) -> Result<(R, Result<(), String>)> {
    std::thread::scope(|scope| {
        let peer = std::thread::Builder::new().spawn_scoped(scope, || catch_unwind(AssertUnwindSafe(there)));
        let peer = peer.context(Phase::Start, "cannot start the peer's thread")?;
        let result = here(&|| !peer.is_finished());
        Ok((result, ending(peer.join())))
    })
}

/// How a thread ended, in words.
fn ending(joined: std::thread::Result<std::thread::Result<u8>>) -> Result<(), String> {
    match joined {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(code)) => Err(format!("ended with code {code}")),
        Ok(Err(_)) | Err(_) => Err("panicked".into()),
    }
}

/// Says whether the peer of this number still runs.
pub type EachAlive<'a> = &'a dyn Fn(usize) -> bool;

/// As [`beside`] with any number of other parties; also returns how each of them ended.
///
/// A party that blocks in a call of the kernel does not notice that one of several peers is gone, since the others hold
/// the same object open. Processes are therefore watched by one more, which sleeps until any of them has ended, asks
/// `lost` with the number of that peer, and if the answer is yes ends the others: then every end of every object closes. Of a
/// datagram socket, a queue or a semaphore the kernel tells even that to nobody, so `here` is [roused](rouse), too, until it
/// returns; a framework that takes up its wait again by itself (the runtime under zeromq) waits for the
/// [bell](crate::sys::rouse::bell), too. Threads are not watched: of one that ends early while others hold the same object
/// open, the deadline of the run tells.
///
/// # Errors
/// When a party cannot be started.
pub fn among<R, There: FnOnce() -> u8 + Send>(
    parties: Parties,
    here: impl FnOnce(EachAlive<'_>) -> R,
    theres: Vec<There>,
    lost: impl Fn(usize) -> bool,
) -> Result<(R, Vec<Result<(), String>>)> {
    match parties {
        Parties::Process => fork_among(here, theres, lost),
        Parties::Thread => Ok(threads_among(here, theres)),
        Parties::Solo => Err(Error::unsupported("one party has no peers")),
    }
}

/// Pause between two signals to a hub that has lost a peer. The first comes after it, too: what the kernel says is the better
/// reason.
const ROUSING: Duration = Duration::from_millis(10);

fn fork_among<R, There: FnOnce() -> u8>(
    here: impl FnOnce(EachAlive<'_>) -> R,
    theres: Vec<There>,
    lost: impl Fn(usize) -> bool,
) -> Result<(R, Vec<Result<(), String>>)> {
    let here = Cell::new(Some(here));
    let theres: Vec<_> = theres.into_iter().map(|there| Cell::new(Some(there))).collect();
    let mut children = Vec::new();
    for (index, there) in theres.iter().enumerate() {
        let child = process::fork_child(|| {
            process::call_me(&format!("ipc-peer-{}", index + 1));
            drop(here.take());
            let mine = there.take();
            theres.iter().for_each(|other| drop(other.take()));
            mine.map_or(1, |body| body())
        });
        children.push(child.context(Phase::Start, "cannot fork a peer")?);
        drop(there.take());
    }
    let pids: Vec<u32> = children.iter().map(process::Child::id).collect();
    let hub = std::process::id();
    let watchman = process::fork_child(|| {
        process::call_me("ipc-watchman");
        drop(here.take());
        if process::first_gone(&pids).is_some_and(lost) {
            pids.iter().for_each(|pid| process::kill_hard(*pid));
            // Until the hub ends its watchman, or ends.
            loop {
                std::thread::sleep(ROUSING);
                rouse(hub);
            }
        }
        0
    });
    let watchman = watchman.context(Phase::Start, "cannot fork the peers' watchman")?;
    let _rousable = Rousable::new().context(Phase::Start, "cannot take the signal of the peers' watchman")?;
    let Some(body) = here.take() else {
        return Err(Error::failed(Phase::Start, "the hub's part vanished"));
    };
    let result = body(&|index| children[index].alive());
    drop(watchman);
    Ok((result, children.iter_mut().map(process::Child::wait_briefly).collect()))
}

fn threads_among<R>(
    here: impl FnOnce(EachAlive<'_>) -> R,
    theres: Vec<impl FnOnce() -> u8 + Send>,
) -> (R, Vec<Result<(), String>>) {
    std::thread::scope(|scope| {
        let start = |there| scope.spawn(move || catch_unwind(AssertUnwindSafe(there)));
        let peers: Vec<_> = theres.into_iter().map(start).collect();
        let result = here(&|index| !peers[index].is_finished());
        (result, peers.into_iter().map(|peer| ending(peer.join())).collect())
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
    fn each_of_several_threads_says_how_it_ended() {
        let bodies: Vec<fn() -> u8> = vec![|| 0, || 7, || panic!("planted")];
        let (sum, endings) = among(Parties::Thread, |_| 1 + 1, bodies, |_| true).unwrap();
        assert_eq!((sum, endings.len()), (2, 3));
        assert_eq!(endings[0], Ok(()));
        assert_eq!(endings[1], Err("ended with code 7".into()));
        assert_eq!(endings[2], Err("panicked".into()));
    }

    #[test]
    fn a_process_with_threads_refuses_to_fork() {
        // The test harness runs this in a thread of its own, so the process has several.
        let refused = beside(Parties::Process, |_| (), || 0).unwrap_err().to_string();
        assert!(refused.contains("several threads"), "{refused}");
    }
}

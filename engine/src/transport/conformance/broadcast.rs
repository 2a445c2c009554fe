//! What a mechanism must do that says that it has a broadcast, and that one which does not say so has none.

use super::{
    Verdict, attached, broken_after, config, crosses_threads, ended, few_if_slow, fit, most, payload, receive, send,
    stalled,
};
use crate::error::Kind;
use crate::plan::{Wait, Workload};
use crate::transport::{Ends, Receiver, Sender, Shape, Transport};
use crate::workload::payload::Way;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};

/// Every receiver of a broadcast gets every message in order, and then the end; one that does not receive holds up the
/// sender, and nothing is lost; one that leaves breaks the pipe, and the others get what was sent.
///
/// # Errors
/// What was wrong.
pub fn broadcast<T: Transport>(wait: Wait) -> Verdict {
    if !crosses_threads(T::SPEC) {
        return Ok(());
    }
    for (size, n) in [(8, 900), (64, 2000), (32 << 10, 150)] {
        let size = fit::<T>(size);
        for of in [1, 3] {
            let Some(ends) = made::<T>(wait, size, of)? else { return Ok(()) };
            everybody(ends, size, few_if_slow(wait, n), None).map_err(|how| format!("to {of}, {size} B: {how}"))?;
        }
    }
    let size = fit::<T>(64 << 10);
    if let Some(ends) = made::<T>(wait, size, 3)? {
        everybody(ends, size, most(size), Some(1)).map_err(|how| format!("one of 3 that is slow: {how}"))?;
    }
    match made::<T>(wait, fit::<T>(4 << 10), 3)? {
        Some(ends) => one_leaves(ends, fit::<T>(4 << 10)).map_err(|how| format!("one of 3 that leaves: {how}")),
        None => Ok(()),
    }
}

/// The ends of a broadcast, as many as there should be; none where the mechanism says that it has none, or where the machine
/// does not let it.
fn made<T: Transport>(wait: Wait, size: usize, of: usize) -> Result<Option<Ends<T>>, String> {
    let says = T::SPEC.patterns.contains(&Workload::Broadcast);
    let ends = match T::shared(&config(wait, size), Shape::Broadcast(of)) {
        Err(error) if error.kind() == Kind::Unsupported && says => {
            eprintln!("left out, {} has no broadcast here: {error}", T::SPEC.name);
            return Ok(None);
        }
        made => made.map_err(|error| error.to_string())?,
    };
    match ends {
        Some(ends) if (ends.txs.len(), ends.rxs.len()) != (1, of) => Err(format!("a broadcast to {of} has other ends")),
        Some(_) if !says => Err("there is a broadcast of which SPEC says nothing".into()),
        None if says => Err("SPEC has a broadcast, and there is none".into()),
        ends => Ok(ends),
    }
}

/// `n` messages to every receiver; the one that is `slow` receives nothing until the sender is held up.
fn everybody<T: Transport>(ends: Ends<T>, size: usize, n: u64, slow: Option<usize>) -> Verdict {
    let progress = AtomicU64::new(0);
    let sent = &progress;
    let produce = move |mut tx: T::Tx| {
        attached(tx.attach())?;
        for seq in 0..n {
            send(&mut tx, Way::Out, seq..seq + 1)?;
            sent.store(seq + 1, Ordering::SeqCst);
        }
        Ok(())
    };
    let consume = move |index: usize, mut rx: T::Rx| {
        attached(rx.attach())?;
        if slow == Some(index) && stalled(sent, n) == n {
            return Err(format!("{n} messages of {size} bytes were sent to a receiver that receives nothing"));
        }
        receive(&mut rx, Way::Out, 0..n, size)?;
        ended(&mut rx)
    };
    parties(ends, produce, consume)
}

/// The first receiver leaves after one message: the sender must hear of it, and the others get all that was sent, and the
/// end.
fn one_leaves<T: Transport>(ends: Ends<T>, size: usize) -> Verdict {
    let progress = AtomicU64::new(0);
    let sent = &progress;
    let produce = move |mut tx: T::Tx| {
        attached(tx.attach())?;
        send(&mut tx, Way::Out, 0..1)?;
        broken_after(&mut tx, sent)
    };
    let consume = move |index: usize, mut rx: T::Rx| {
        attached(rx.attach())?;
        receive(&mut rx, Way::Out, 0..1, size)?;
        if index == 0 {
            return Ok(());
        }
        for seq in 1.. {
            match rx.recv_with(|message| payload().check(Way::Out, seq, message)) {
                Ok(checked) => drop(checked.map_err(|how| how.to_string())?),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(format!("after {seq} messages: {error} ({:?})", error.kind())),
            }
        }
        ended(&mut rx)
    };
    parties(ends, produce, consume)
}

/// Runs all parties, each in a thread with its end, and joins what they say.
fn parties<T: Transport>(
    Ends { txs, rxs }: Ends<T>,
    produce: impl Fn(T::Tx) -> Verdict + Copy + Send,
    consume: impl Fn(usize, T::Rx) -> Verdict + Copy + Send,
) -> Verdict {
    let join = |party: ScopedJoinHandle<'_, Verdict>| party.join().unwrap_or_else(|_| Err("panicked".into()));
    let verdicts: Vec<(String, Verdict)> = thread::scope(|scope| {
        let producers: Vec<_> = txs.into_iter().map(|tx| scope.spawn(move || produce(tx))).collect();
        let consumers = rxs.into_iter().enumerate();
        let consumers: Vec<_> = consumers.map(|(index, rx)| scope.spawn(move || consume(index, rx))).collect();
        let produced = producers.into_iter().map(|party| ("producer".into(), join(party)));
        let consumed = consumers.into_iter().enumerate();
        produced.chain(consumed.map(|(index, party)| (format!("consumer {index}"), join(party)))).collect()
    });
    let told: Vec<_> = verdicts.into_iter().filter_map(|(who, said)| Some(format!("{who}: {}", said.err()?))).collect();
    if told.is_empty() { Ok(()) } else { Err(told.join("; ")) }
}

//! What every transport must do, as checks that run one transport between two threads of this process.
//!
//! Key decision: the checks are generic functions in the library, not tests of one mechanism, so that a new transport is
//! held to the same rules by naming its type once (`tests/conformance.rs`, or [`check`] in a scratch program). They judge
//! by content and by error kind, never by time: a check that fails says which message or which error was wrong, and a
//! transport that hangs is the caller's watchdog's business. Rejected: checks through `dyn` or through processes (they
//! could not reach the ends, and `tests/processes.rs` does the latter anyway).
//!
//! The controls (`null`, `copy`) have one party and one buffer: they are checked within one thread, message by message.

mod broadcast;

pub use broadcast::broadcast;

use super::{Config, Ends, Receiver, Sender, Shape, SideOf, Spec, Transport};
use crate::error::Kind;
use crate::plan::{Parties, Plan, Touch, Wait, WaitKind, Workload};
use crate::shm::region::PAGE;
use crate::workload::Load;
use crate::workload::pattern::{self, Sums, first_of, quota};
use crate::workload::payload::{Payload, Way};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What a check says: nothing, or in words what was wrong.
pub type Verdict = Result<(), String>;

/// A check of one transport under one way of waiting.
pub type Topic = fn(Wait) -> Verdict;

/// Around every boundary that a transport may have: bytes, words, a cache line with and without words beside the message,
/// pages, the default capacity of a pipe, the budget of a ring, and a message that is larger than anything that the kernel
/// buffers.
pub const SIZES: &[usize] = &[
    1,
    7,
    8,
    9,
    48,
    49,
    56,
    57,
    63,
    64,
    65,
    PAGE - 1,
    PAGE,
    PAGE + 1,
    64 << 10,
    (256 << 10) - 1,
    256 << 10,
    (256 << 10) + 1,
    16 << 20,
];

/// Every topic with its name, for [`check`] and for lists.
pub fn topics<T: Transport>() -> [(&'static str, Topic); 12] {
    [
        ("order", order::<T>),
        ("both ways", both_ways::<T>),
        ("sizes", sizes::<T>),
        ("wrap-around", wrap_around::<T>),
        ("full", full::<T>),
        ("empty", empty::<T>),
        ("sender leaves", sender_leaves::<T>),
        ("receiver leaves", receiver_leaves::<T>),
        ("wrong lengths", wrong_lengths::<T>),
        ("names", names::<T>),
        ("shared", shared::<T>),
        ("broadcast", broadcast::<T>),
    ]
}

/// Whether the mechanism works here at all; where it does not, the suite has nothing to say.
///
/// # Errors
/// Why not.
pub fn usable<T: Transport>() -> Verdict {
    T::usable().map_err(|error| error.to_string())
}

/// A size, or the largest that the mechanism carries here.
fn fit<T: Transport>(size: usize) -> usize {
    size.min(T::bound().size)
}

/// Everything: each topic under each wait that the mechanism honours. Takes seconds.
///
/// # Errors
/// The first topic that failed, the wait, and how.
pub fn check<T: Transport>() -> Verdict {
    for (name, topic) in topics::<T>() {
        every_wait::<T>(topic).map_err(|how| format!("{}, {name}, {how}", T::SPEC.name))?;
    }
    Ok(())
}

/// One topic under each wait that the mechanism honours, but for those that this machine cannot offer.
///
/// # Errors
/// The wait, and what the topic says.
pub fn every_wait<T: Transport>(topic: Topic) -> Verdict {
    for wait in waits(T::SPEC) {
        if let Err(error) = T::one_way(&config(wait, 1))
            && error.kind() == Kind::Unsupported
        {
            eprintln!("left out, {} cannot wait by {wait} here: {error}", T::SPEC.name);
            continue;
        }
        topic(wait).map_err(|how| format!("wait {wait}: {how}"))?;
    }
    Ok(())
}

/// The waits to try: each kind that the mechanism honours, the hybrid also so short that it nearly always sleeps.
pub fn waits(spec: &Spec) -> Vec<Wait> {
    let of = |kind: &WaitKind| match kind {
        WaitKind::Hybrid => vec![Wait::Hybrid(Wait::HYBRID_LOOKS), Wait::Hybrid(2)],
        other => vec![other.typical()],
    };
    spec.waits.iter().flat_map(of).collect()
}

/// Whether the mechanism connects two threads; the controls do not.
pub fn crosses_threads(spec: &Spec) -> bool {
    spec.parties.contains(&Parties::Thread)
}

/// What a check asks a transport to be.
pub fn config(wait: Wait, size: usize) -> Config {
    let plan = Plan { workload: Workload::Stream, size, wait, parties: Parties::Thread, ..Plan::default() };
    Config { patience: Duration::from_secs(5), ..Config::new(&plan) }
}

/// Hundreds of messages one way arrive in order and unchanged.
///
/// # Errors
/// What was wrong.
pub fn order<T: Transport>(wait: Wait) -> Verdict {
    for size in [8, 61, 1000] {
        stream::<T>(wait, size, few_if_slow(wait, 400)).map_err(|how| format!("{size} B: {how}"))?;
    }
    Ok(())
}

/// A link carries a ping-pong, and a stream of either party, over the same two sides.
///
/// # Errors
/// What was wrong.
pub fn both_ways<T: Transport>(wait: Wait) -> Verdict {
    let (size, n) = (64, few_if_slow(wait, 300));
    if !crosses_threads(T::SPEC) {
        return alone::<T>(wait, size, n);
    }
    let [near, far] = made(T::link(&config(wait, size)))?;
    let turn = |mut side: SideOf<T>, leads: bool| {
        attached(side.attach())?;
        let (mine, theirs) = if leads { (Way::Out, Way::Back) } else { (Way::Back, Way::Out) };
        for seq in 0..n {
            let one = seq..seq + 1;
            if leads {
                send(&mut side.tx, mine, one.clone())?;
                receive(&mut side.rx, theirs, one, size)?;
            } else {
                receive(&mut side.rx, theirs, one.clone(), size)?;
                send(&mut side.tx, mine, one)?;
            }
        }
        let rest = n..2 * n;
        if leads {
            send(&mut side.tx, mine, rest.clone())?;
            receive(&mut side.rx, theirs, rest, size)?;
        } else {
            receive(&mut side.rx, theirs, rest.clone(), size)?;
            send(&mut side.tx, mine, rest)?;
        }
        Ok(())
    };
    between(move || turn(near, true), move || turn(far, false))
}

/// Messages of all [`SIZES`] arrive, more of them than the fewest slots of a ring; the largest under two waits only, one
/// that sleeps and one that does not, because they take long to fill.
///
/// # Errors
/// What was wrong, and at which size.
pub fn sizes<T: Transport>(wait: Wait) -> Verdict {
    let largest = if matches!(wait, Wait::Block | Wait::Yield) { usize::MAX } else { 1 << 20 };
    let bound = T::bound().size;
    let around = [bound.saturating_sub(1), bound].into_iter().filter(|size| *size < 16 << 20);
    for size in SIZES.iter().copied().chain(around).filter(|size| (1..=largest.min(bound)).contains(size)) {
        stream::<T>(wait, size, if size > 1 << 20 { 3 } else { 7 }).map_err(|how| format!("{size} B: {how}"))?;
    }
    Ok(())
}

/// Many more messages than there are slots: large ones with few slots, an uneven number of slots, small ones, and as little
/// memory as parties have that take turns.
///
/// # Errors
/// What was wrong.
pub fn wrap_around<T: Transport>(wait: Wait) -> Verdict {
    let few = if wait == Wait::Block { &[(1 << 20, 18), (768 << 10, 16)][..] } else { &[] };
    for &(size, n) in [(32 << 10, 100), (48 << 10, 40)].iter().chain(few) {
        let size = fit::<T>(size);
        stream::<T>(wait, size, few_if_slow(wait, n)).map_err(|how| format!("{size} B: {how}"))?;
    }
    for (size, n) in [(64, 400), (1000, 90), (4096, 24)] {
        let cfg = Config { turns: Some(1), ..config(wait, fit::<T>(size)) };
        stream_as::<T>(&cfg, few_if_slow(wait, n)).map_err(|how| format!("{size} B, in turns: {how}"))?;
    }
    // Only where a message costs no time slice.
    if wait == Wait::Block { stream::<T>(wait, 64, 9000) } else { Ok(()) }
}

/// A producer that runs ahead is held up before it has sent megabytes, and what it sent meanwhile is all there.
///
/// # Errors
/// What was wrong.
pub fn full<T: Transport>(wait: Wait) -> Verdict {
    let size = fit::<T>(64 << 10);
    let n = (2 * super::IN_MEMORY / size) as u64;
    if !crosses_threads(T::SPEC) {
        return Ok(());
    }
    let (mut tx, mut rx) = made(T::one_way(&config(wait, size)))?;
    let progress = AtomicU64::new(0);
    // Each party owns its end, so that one that finds a fault lets go of it and frees the other.
    let sent = &progress;
    between(
        move || {
            attached(tx.attach())?;
            for seq in 0..n {
                send(&mut tx, Way::Out, seq..seq + 1)?;
                sent.store(seq + 1, Ordering::SeqCst);
            }
            Ok(())
        },
        move || {
            attached(rx.attach())?;
            let ahead = stalled(sent, n);
            if ahead == n {
                return Err(format!("{n} messages of {size} bytes were sent without a receiver: it is not bounded"));
            }
            receive(&mut rx, Way::Out, 0..n, size)?;
            ended(&mut rx)
        },
    )
}

/// A consumer that comes first waits, for pauses shorter and longer than any nap, and gets each message.
///
/// # Errors
/// What was wrong.
pub fn empty<T: Transport>(wait: Wait) -> Verdict {
    if !crosses_threads(T::SPEC) {
        return Ok(());
    }
    const PAUSES_MS: [u64; 5] = [10, 0, 1, 5, 45];
    let size = 64;
    let (mut tx, mut rx) = made(T::one_way(&config(wait, size)))?;
    let (about_to_wait, told) = mpsc::channel();
    between(
        move || {
            attached(tx.attach())?;
            for (seq, pause) in (0..).zip(PAUSES_MS) {
                // The receiver leaves early only with an error of its own.
                let _ = told.recv();
                thread::sleep(Duration::from_millis(pause));
                send(&mut tx, Way::Out, seq..seq + 1)?;
            }
            Ok(())
        },
        move || {
            attached(rx.attach())?;
            for seq in 0..PAUSES_MS.len() as u64 {
                let _ = about_to_wait.send(());
                receive(&mut rx, Way::Out, seq..seq + 1, size)?;
            }
            ended(&mut rx)
        },
    )
}

/// A sender that leaves does not take along what it sent: all of it comes, then `UnexpectedEof`, also when the receiver
/// comes only after the sender has gone, and also when a whole side of a link leaves.
///
/// # Errors
/// What was wrong.
pub fn sender_leaves<T: Transport>(wait: Wait) -> Verdict {
    if !crosses_threads(T::SPEC) {
        return Ok(());
    }
    // One message fits everywhere, so that the sender can be gone before the receiver comes.
    for (n, receiver_comes_late) in [(0, true), (1, true), (0, false), (1, false), (25, false)] {
        sender_leaves_after::<T>(wait, n, receiver_comes_late)
            .map_err(|how| format!("leaving after {n} messages: {how}"))?;
    }
    let size = 64;
    let [mut near, mut far] = made(T::link(&config(wait, size)))?;
    let sides = between(
        move || {
            attached(near.attach())?;
            send(&mut near.tx, Way::Out, 0..3)?;
            receive(&mut near.rx, Way::Back, 0..1, size)
        },
        move || {
            attached(far.attach())?;
            receive(&mut far.rx, Way::Out, 0..2, size)?;
            send(&mut far.tx, Way::Back, 0..1)?;
            receive(&mut far.rx, Way::Out, 2..3, size)?;
            ended(&mut far.rx)?;
            broken(&mut far.tx)
        },
    );
    sides.map_err(|how| format!("a side that leaves: {how}"))
}

fn sender_leaves_after<T: Transport>(wait: Wait, n: u64, receiver_comes_late: bool) -> Verdict {
    let size = 64;
    let (mut tx, mut rx) = made(T::one_way(&config(wait, size)))?;
    let (going, gone) = mpsc::channel::<()>();
    between(
        move || {
            attached(tx.attach())?;
            let sent = send(&mut tx, Way::Out, 0..n);
            drop((tx, going));
            sent
        },
        move || {
            if receiver_comes_late {
                // Ends when the other half of the channel is dropped.
                let _ = gone.recv();
            }
            attached(rx.attach())?;
            receive(&mut rx, Way::Out, 0..n, size)?;
            ended(&mut rx)
        },
    )
}

/// A sender whose receiver left gets `BrokenPipe` or `ConnectionReset` after no more messages than fit a buffer, and is
/// woken by it where it waits for space.
///
/// # Errors
/// What was wrong.
pub fn receiver_leaves<T: Transport>(wait: Wait) -> Verdict {
    if !crosses_threads(T::SPEC) {
        return Ok(());
    }
    let size = fit::<T>(4 << 10);
    let (mut tx, mut rx) = made(T::one_way(&config(wait, size)))?;
    let (going, gone) = mpsc::channel::<()>();
    let first = between(
        move || {
            attached(tx.attach())?;
            send(&mut tx, Way::Out, 0..1)?;
            let _ = gone.recv();
            broken(&mut tx)
        },
        move || {
            attached(rx.attach())?;
            let received = receive(&mut rx, Way::Out, 0..1, size);
            drop((rx, going));
            received
        },
    );
    first.map_err(|how| format!("a receiver that left before: {how}"))?;

    let size = fit::<T>(64 << 10);
    let (mut tx, mut rx) = made(T::one_way(&config(wait, size)))?;
    let progress = AtomicU64::new(0);
    let sent = &progress;
    let second = between(
        move || {
            attached(tx.attach())?;
            broken_after(&mut tx, sent)
        },
        move || {
            attached(rx.attach())?;
            stalled(sent, most(size));
            drop(rx);
            Ok(())
        },
    );
    second.map_err(|how| format!("a receiver that leaves while the sender waits: {how}"))
}

/// `send` of a wrong length and `recv` into too short a buffer are `InvalidInput` and leave the transport usable; a longer
/// buffer keeps what lies behind the message.
///
/// # Errors
/// What was wrong.
pub fn wrong_lengths<T: Transport>(wait: Wait) -> Verdict {
    let size = 100;
    let (mut tx, mut rx) = made(T::one_way(&config(wait, size)))?;
    let producer = move || {
        attached(tx.attach())?;
        if tx.size() != size {
            return Err(format!("the sender says that messages have {} bytes instead of {size}", tx.size()));
        }
        for wrong in [0, 1, size - 1, size + 1, 2 * size] {
            invalid_input(tx.send(&vec![0; wrong])).map_err(|how| format!("sending {wrong} of {size} bytes: {how}"))?;
        }
        Ok(tx)
    };
    let say = |tx: &mut T::Tx, seq: u64| {
        let mut message = vec![0; size];
        payload().fill(Way::Out, seq, &mut message);
        tx.send(&message).map_err(|error| format!("message {seq} could not be sent: {error}"))
    };
    let too_short = |rx: &mut T::Rx, len: usize| {
        let short = rx.recv(&mut vec![0; len]).map(drop);
        invalid_input(short).map_err(|how| format!("receiving into {len} of {size} bytes: {how}"))
    };
    let whole = |rx: &mut T::Rx, seq: u64| {
        const UNTOUCHED: u8 = 0xEE;
        let mut buffer = vec![UNTOUCHED; size + 8];
        let len = rx.recv(&mut buffer).map_err(|error| format!("message {seq} did not come: {error}"))?;
        if len != size || buffer[size..] != [UNTOUCHED; 8] {
            return Err(format!("{len} bytes came instead of {size}, or more was written than came"));
        }
        payload().check(Way::Out, seq, &buffer[..len]).map(drop).map_err(|how| how.to_string())
    };
    if !crosses_threads(T::SPEC) {
        let mut tx = producer()?;
        attached(rx.attach())?;
        say(&mut tx, 0)?;
        whole(&mut rx, 0)?;
        say(&mut tx, 1)?;
        return too_short(&mut rx, size - 1);
    }
    between(
        move || {
            let mut tx = producer()?;
            (0..4).try_for_each(|seq| say(&mut tx, seq))
        },
        move || {
            attached(rx.attach())?;
            whole(&mut rx, 0)?;
            // A message that did not fit is gone; the next one is not.
            too_short(&mut rx, size - 1)?;
            too_short(&mut rx, 0)?;
            whole(&mut rx, 3)
        },
    )
}

/// The constructors leave nothing in the folder that they were told to use: names do not escape.
///
/// # Errors
/// What was left there.
pub fn names<T: Transport>(wait: Wait) -> Verdict {
    let dir = tempfile::tempdir().map_err(|error| format!("no folder to look into: {error}"))?;
    let cfg = Config { dir: dir.path().to_path_buf(), ..config(wait, 64) };
    let sides = made(T::link(&cfg))?;
    let ends = made(T::one_way(&cfg))?;
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).map_err(|error| error.to_string())?.flatten().map(|e| e.file_name()).collect();
    drop((sides, ends));
    if left.is_empty() { Ok(()) } else { Err(format!("the constructors left {left:?}")) }
}

/// Where several parties can use one object: the messages of each sender arrive in its order, whole and once, and when the
/// senders have left and everything was received, every receiver is told so.
///
/// # Errors
/// What was wrong.
pub fn shared<T: Transport>(wait: Wait) -> Verdict {
    if !crosses_threads(T::SPEC) {
        return Ok(());
    }
    for (size, n) in [(8, 900), (64, 3000), (4096, 900), (100 << 10, 60)] {
        let cfg = config(wait, fit::<T>(size));
        for shape in [Shape::FanIn(3), Shape::FanOut(3), Shape::FanIn(1), Shape::FanOut(1)] {
            if let Some(ends) = made(T::shared(&cfg, shape))? {
                let found = (ends.txs.len(), ends.rxs.len());
                if found != shape.ends() {
                    return Err(format!("{shape:?} has {found:?} ends"));
                }
                shares(ends, few_if_slow(wait, n)).map_err(|how| format!("{shape:?}, {size} B: {how}"))?;
            }
        }
    }
    Ok(())
}

/// `n` messages from several senders to one receiver, or from one to several.
fn shares<T: Transport>(Ends { txs, mut rxs }: Ends<T>, n: u64) -> Verdict {
    let of = txs.len();
    let fault = |fault: crate::workload::Fault| fault.to_string();
    let send = |index: usize, mut tx: T::Tx| {
        attached(tx.attach())?;
        let mut load = Load::of(Touch::Whole, 0);
        load.next = first_of(index);
        pattern::send(&mut tx, &mut load, quota(n, index, of)).map_err(fault)
    };
    let share = |mut rx: T::Rx| {
        attached(rx.attach())?;
        let (mut low, mut sums) = (0, Sums::default());
        loop {
            let read = |message: &[u8]| {
                let seq = payload().sequence(Way::Out, message);
                let due = if (low..n).contains(&seq) { seq } else { low };
                payload().check(Way::Out, due, message).map(|_| due)
            };
            match rx.recv_with(read) {
                Ok(seq) => low = seq.map_err(|how| how.to_string())? + 1,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(format!("a share ended with {error}")),
            }
            sums = sums.plus(Sums::of(low - 1, 1));
        }
        ended(&mut rx).map(|()| sums)
    };
    let join = |ended: thread::Result<_>| ended.unwrap_or_else(|_| Err("panicked".into()));
    thread::scope(|scope| {
        let senders: Vec<_> =
            txs.into_iter().enumerate().map(|(index, tx)| scope.spawn(move || send(index, tx))).collect();
        let received = if of > 1 {
            let mut rx = rxs.remove(0);
            let (mut load, mut nexts) = (Load::of(Touch::Whole, 0), (0..of).map(first_of).collect::<Vec<_>>());
            attached(rx.attach())?;
            let gathered = pattern::gather(&mut rx, &mut load, &mut nexts, n).map_err(fault);
            gathered.and_then(|()| ended(&mut rx)).map(|()| Sums::of(0, n))
        } else {
            let receivers: Vec<_> = rxs.into_iter().map(|rx| scope.spawn(move || share(rx))).collect();
            let shares: Result<Vec<Sums>, _> = receivers.into_iter().map(|rx| join(rx.join())).collect();
            shares.map(|shares| shares.into_iter().fold(Sums::default(), Sums::plus))
        };
        for sender in senders {
            sender.join().unwrap_or_else(|_| Err("panicked".into()))?;
        }
        match received? {
            sums if sums == Sums::of(0, n) => Ok(()),
            sums => Err(format!("of {n} messages {} came, or some twice and others never", sums.count)),
        }
    })
}

/// `n` messages one way, between two threads or, for the controls, within one; then the sender leaves.
///
/// # Errors
/// What was wrong.
pub fn stream<T: Transport>(wait: Wait, size: usize, n: u64) -> Verdict {
    stream_as::<T>(&config(wait, size), n)
}

fn stream_as<T: Transport>(cfg: &Config, n: u64) -> Verdict {
    let size = cfg.size;
    if !crosses_threads(T::SPEC) {
        return alone::<T>(cfg.wait, size, n.min(100));
    }
    let (mut tx, mut rx) = made(T::one_way(cfg))?;
    between(
        move || {
            attached(tx.attach())?;
            send(&mut tx, Way::Out, 0..n)
        },
        move || {
            attached(rx.attach())?;
            receive(&mut rx, Way::Out, 0..n, size)?;
            ended(&mut rx)
        },
    )
}

/// `n` messages each way within one thread.
fn alone<T: Transport>(wait: Wait, size: usize, n: u64) -> Verdict {
    let mut sides = made(T::link(&Config { turns: Some(1), ..config(wait, size) }))?;
    for side in &mut sides {
        attached(side.attach())?;
    }
    let [near, far] = &mut sides;
    for seq in 0..n {
        let one = seq..seq + 1;
        send(&mut near.tx, Way::Out, one.clone())?;
        receive(&mut far.rx, Way::Out, one.clone(), size)?;
        send(&mut far.tx, Way::Back, one.clone())?;
        receive(&mut near.rx, Way::Back, one, size)?;
    }
    Ok(())
}

/// Runs both parties, each in a thread, and joins what they say. A party that stops drops its ends, which ends the other.
fn between(producer: impl FnOnce() -> Verdict + Send, consumer: impl FnOnce() -> Verdict + Send) -> Verdict {
    let verdicts = thread::scope(|scope| {
        let producer = scope.spawn(producer);
        let consumer = scope.spawn(consumer);
        [producer.join(), consumer.join()].map(|ended| ended.unwrap_or_else(|_| Err("panicked".into())))
    });
    let told: Vec<_> = ["producer", "consumer"]
        .into_iter()
        .zip(verdicts)
        .filter_map(|(who, verdict)| verdict.err().map(|how| format!("{who}: {how}")))
        .collect();
    if told.is_empty() { Ok(()) } else { Err(told.join("; ")) }
}

fn payload() -> Payload {
    Payload::new(Touch::Whole)
}

fn made<R>(result: crate::Result<R>) -> Result<R, String> {
    result.map_err(|error| error.to_string())
}

fn attached(result: io::Result<()>) -> Verdict {
    result.map_err(|error| format!("cannot attach: {error}"))
}

fn send(tx: &mut impl Sender, way: Way, seqs: Range<u64>) -> Verdict {
    for seq in seqs {
        tx.send_with(|message| payload().fill(way, seq, message))
            .map_err(|error| format!("message {seq} could not be sent: {error} ({:?})", error.kind()))?;
    }
    Ok(())
}

fn receive(rx: &mut impl Receiver, way: Way, seqs: Range<u64>, size: usize) -> Verdict {
    for seq in seqs {
        let len = rx
            .recv_with(|message| payload().check(way, seq, message))
            .map_err(|error| format!("message {seq} did not come: {error} ({:?})", error.kind()))?
            .map_err(|mismatch| mismatch.to_string())?;
        if len != size {
            return Err(format!("message {seq} has {len} bytes instead of {size}"));
        }
    }
    Ok(())
}

/// Demands `UnexpectedEof`, and that it stays.
fn ended(rx: &mut impl Receiver) -> Verdict {
    for _ in 0..2 {
        match rx.recv_with(<[u8]>::len) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            Err(error) => {
                return Err(format!("after the sender left: {error} ({:?}) instead of UnexpectedEof", error.kind()));
            }
            Ok(len) => return Err(format!("{len} bytes came after the last message")),
        }
    }
    Ok(())
}

/// More messages than any transport of this crate buffers.
fn most(size: usize) -> u64 {
    (super::IN_MEMORY / size + 64) as u64
}

/// Demands that sending breaks, at the latest when every buffer is full, and that it stays broken.
fn broken(tx: &mut impl Sender) -> Verdict {
    broken_after(tx, &AtomicU64::new(0))
}

fn broken_after(tx: &mut impl Sender, sent: &AtomicU64) -> Verdict {
    let most = most(tx.size());
    let mut breaks = 0;
    for seq in 1..=most {
        match tx.send_with(|message| payload().fill(Way::Out, seq, message)) {
            Ok(()) if breaks > 0 => return Err("a send succeeded after one had failed for good".into()),
            Ok(()) => sent.store(seq, Ordering::SeqCst),
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => breaks += 1,
            Err(error) => return Err(format!("{error} ({:?}) instead of BrokenPipe", error.kind())),
        }
        if breaks == 2 {
            return Ok(());
        }
    }
    Err(format!("{most} messages were sent to nobody"))
}

fn invalid_input(result: io::Result<()>) -> Verdict {
    match result {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        Err(error) => Err(format!("{error} ({:?}) instead of InvalidInput", error.kind())),
        Ok(()) => Err("accepted".into()),
    }
}

/// Waits until the producer makes no progress, and returns how far it came. A producer that merely did not run for that
/// long is taken for one that waits, which makes a check weaker but never wrong.
fn stalled(sent: &AtomicU64, all: u64) -> u64 {
    let mut before = 0;
    loop {
        thread::sleep(Duration::from_millis(30));
        let now = sent.load(Ordering::SeqCst);
        if now == all || (now == before && now > 0) {
            return now;
        }
        before = now;
    }
}

/// Fewer messages where a hand-over may cost a time slice: two parties that spin and share a CPU, with each other or
/// with whatever else runs.
fn few_if_slow(wait: Wait, n: u64) -> u64 {
    let cpus = crate::sys::cpu::allowed().map_or(1, |allowed| allowed.len());
    match wait {
        Wait::Spin if cpus < 2 => n.min(24),
        Wait::Spin => n.min(100),
        _ => n,
    }
}

//! The smallest transport that passes the conformance suite, and a ping-pong through it.
//!
//! Key decision: two channels of the standard library. One takes filled buffers to the consumer, the other brings empty
//! ones back, so that nothing is allocated for a message and the number of buffers bounds what is on the way. Rejected:
//! one channel with a fresh buffer for each message, which measures the allocator. Source: std::sync::mpsc.
//!
//! Each hook says whether a transport needs it. `docs/ADDING_A_TRANSPORT.md` quotes this file; `tests/skeleton.rs` compares
//! the two and holds the transport to the conformance suite. To run it: `cargo run --release --example add_transport`; with
//! `-- --conformance` it holds itself to the suite first, which takes seconds.

use ipcost::cell::{self, Outcome, Status};
use ipcost::conduct::Measure;
use ipcost::plan::{Parties, Placement, Plan, Span, Wait, WaitKind};
use ipcost::transport::{
    Config, Family, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Side, SideOf, Spec, Transport,
    UNLIMITED, conformance,
};
use ipcost::{Error, Result};
use std::io::{self, ErrorKind};
use std::sync::mpsc::{self, SyncSender, TryRecvError};

/// See the file's header.
#[derive(Debug)]
pub struct Skeleton;

/// Memory for one message.
type Buffer = Box<[u8]>;

/// The sending end. Required: a type that is `Send` and implements [`Sender`].
#[derive(Debug)]
pub struct Tx {
    empty: mpsc::Receiver<Buffer>,
    full: SyncSender<Buffer>,
    size: usize,
    wait: Wait,
}

/// The receiving end. Required: a type that is `Send` and implements [`Receiver`].
#[derive(Debug)]
pub struct Rx {
    full: mpsc::Receiver<Buffer>,
    empty: SyncSender<Buffer>,
    wait: Wait,
}

/// Takes a buffer as `wait` says; `None` when the other end is gone and nothing is left.
fn take(from: &mpsc::Receiver<Buffer>, wait: Wait) -> Option<Buffer> {
    let mut looks = 0_u32;
    loop {
        match from.try_recv() {
            Ok(buffer) => return Some(buffer),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        match wait {
            Wait::Block => return from.recv().ok(),
            Wait::Hybrid(most) if looks >= most => return from.recv().ok(),
            Wait::Yield => std::thread::yield_now(),
            _ => std::hint::spin_loop(),
        }
        looks = looks.saturating_add(1);
    }
}

impl Transport for Skeleton {
    // Required. A plan that the SPEC does not cover is refused before anything is created.
    const SPEC: &'static Spec = &Spec {
        name: "skeleton",
        summary: "two channels of the standard library; buffers go round, nothing is copied",
        family: Family::Heap,
        parties: &[Parties::Thread],
        // Only what the code below really does.
        waits: &[WaitKind::Block, WaitKind::Hybrid, WaitKind::Yield, WaitKind::Spin],
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::THREADS,
        patterns: PATTERNS,
        meeting: Meeting::Never,
        sources: &["std::sync::mpsc"],
    };
    type Tx = Tx;
    type Rx = Rx;

    // Required. Runs before the peer is started, so everything that the transport needs is made here.
    fn one_way(cfg: &Config) -> Result<(Tx, Rx)> {
        let depth = ((256 << 10) / cfg.size).clamp(2, 256);
        // Facts that only the constructor knows go into the journal.
        cfg.note("slots", depth);
        let (full_tx, full_rx) = mpsc::sync_channel(depth);
        let (empty_tx, empty_rx) = mpsc::sync_channel(depth);
        for _ in 0..depth {
            // Not zeroes: the allocator may hand out zeroed pages that fault when they are first written.
            let buffer = vec![0xA5; cfg.size].into_boxed_slice();
            empty_tx.send(buffer).map_err(|_| Error::unsupported("a channel closed before it was used"))?;
        }
        let tx = Tx { empty: empty_rx, full: full_tx, size: cfg.size, wait: cfg.wait };
        Ok((tx, Rx { full: full_rx, empty: empty_tx, wait: cfg.wait }))
    }

    // Not required. This is what the default does; a mechanism with one object for both directions overrides it.
    fn link(cfg: &Config) -> Result<[SideOf<Self>; 2]> {
        let (there_tx, here_rx) = Self::one_way(cfg)?;
        let (here_tx, there_rx) = Self::one_way(cfg)?;
        Ok([Side { tx: here_tx, rx: here_rx }, Side { tx: there_tx, rx: there_rx }])
    }

    // Not required. The default refuses, as here; needed where two programs that are started separately can meet.
    fn meet(_cfg: &Config, _at: &str, _role: Role) -> Result<Met<Self>> {
        Err(Error::unsupported("skeleton connects threads of one process, not two programs"))
    }
}

impl Sender for Tx {
    // Not required. For what a party must do itself: leave its process id, touch its pages, become audible when dropped.
    fn attach(&mut self) -> io::Result<()> {
        Ok(())
    }

    // Required.
    fn size(&self) -> usize {
        self.size
    }

    // Required. `fill` gets exactly the agreed size. A receiver that is gone is BrokenPipe, at once and from then on.
    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        let mut buffer = take(&self.empty, self.wait).ok_or(ErrorKind::BrokenPipe)?;
        fill(&mut buffer);
        // The channel has room for every buffer that there is, so this never waits.
        self.full.send(buffer).map_err(|_| ErrorKind::BrokenPipe.into())
    }
}

impl Receiver for Rx {
    // Not required, as for the sender.
    fn attach(&mut self) -> io::Result<()> {
        Ok(())
    }

    // Required. A sender that is gone is UnexpectedEof, but only after everything that it sent was received.
    #[inline(always)]
    fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let buffer = take(&self.full, self.wait).ok_or(ErrorKind::UnexpectedEof)?;
        let result = read(&buffer);
        // A sender that is gone needs no buffers; what it sent before is still to be received.
        let _ = self.empty.send(buffer);
        Ok(result)
    }
}

/// A measured ping-pong between two threads, through the code that every run uses.
pub fn ping_pong(wait: Wait, round_trips: u64) -> Result<Outcome> {
    let span = Span::Messages(round_trips);
    let plan = Plan { wait, placement: Placement::Unpinned, span, ..Skeleton::SPEC.plan() };
    cell::run::<Skeleton>(&plan, &mut Measure)
}

fn main() -> Result<()> {
    const ROUND_TRIPS: u64 = 2000;
    if std::env::args().any(|argument| argument == "--conformance") {
        conformance::check::<Skeleton>().map_err(Error::invalid)?;
        println!("passes the conformance suite");
    }
    let outcome = ping_pong(Wait::Block, ROUND_TRIPS)?;
    assert_eq!(outcome.status, Status::Ok, "{:?}", outcome.reason);
    let verified = outcome.verified.expect("a run that is ok has verified messages");
    assert_eq!((verified.messages, verified.bytes), (ROUND_TRIPS, ROUND_TRIPS * 64));
    print!("{}", ipcost::report::text::run(&outcome));
    Ok(())
}

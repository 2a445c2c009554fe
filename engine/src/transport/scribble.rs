//! Mechanisms under a peer that scribbles: real ends, whose headers are written over at any moment.
//!
//! Key decision: one driver for the property test (`tests/scribbles.rs`) and the fuzz targets (`fuzz/`), so that neither can
//! rot without the other. A [`Script`] is plain numbers, of which every one is allowed: whatever the words become, each call
//! of an end has to come back, with a message or with an error, and a message that is wrong has to be noticed by its check.
//! Rejected: ends that are built for the test, which would prove something about the test.
//!
//! The ends are in two threads of one process. A third one strikes words while messages flow. Ends are kept until it is
//! done: a farewell that is wiped afterwards would keep the survivor waiting for a peer that has no process to be missed.

use super::dynamic::{AnyRx, AnyTx, Pair};
use super::{
    Config, EventFd, FileRing, HeapRing, MmapFile, ProcessVm, Receiver, Role, Sender, ShmMutex, ShmSem, ShmSlot,
};
use super::{Met, PosixShm, ShmRing, SysvShm, Transport};
use crate::error::Result;
use crate::plan::{Touch, Wait};
use crate::workload::payload::{Payload, Way};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{sleep, yield_now};
use std::time::Duration;

/// Whose header is written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// `shm-ring`
    ShmRing,
    /// `heap-ring`
    HeapRing,
    /// `mmap-file`
    MmapFile,
    /// `posix-shm`
    PosixShm,
    /// `sysv-shm`
    SysvShm,
    /// `eventfd`
    EventFd,
    /// `shm-slot`
    ShmSlot,
    /// `shm-sem`, its semaphores excepted
    ShmSem,
    /// `shm-mutex`, its mutex and conditions excepted
    ShmMutex,
    /// `process-vm`
    ProcessVm,
    /// `file`
    File,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::ShmRing,
        Self::HeapRing,
        Self::MmapFile,
        Self::PosixShm,
        Self::SysvShm,
        Self::EventFd,
        Self::ShmSlot,
        Self::ShmSem,
        Self::ShmMutex,
        Self::ProcessVm,
        Self::File,
    ];
}

/// Writes a value over the word of that number, counted around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strike {
    /// Which word.
    pub word: u8,
    /// What is written.
    pub value: u64,
}

/// What happens to a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Which mechanism.
    pub subject: Subject,
    /// How both ends wait, where the mechanism honours it.
    pub wait: Wait,
    /// Bytes of a message, from 8 to [`LARGEST`].
    pub size: usize,
    /// Messages, as many as the sender gets rid of.
    pub messages: u64,
    /// Before anybody attaches.
    pub before: Vec<Strike>,
    /// Before the sender's message of that number, and in the sender's thread.
    pub between: Vec<(u64, Strike)>,
    /// Whenever.
    pub meanwhile: Vec<Strike>,
}

/// Largest message of a script: few of them fill what is under way.
pub const LARGEST: usize = 1 << 18;

/// How a side ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// After all messages.
    Done,
    /// The sender left, or seemed to.
    Early,
    /// With this error.
    Error(io::ErrorKind, String),
    /// A message was not what it should be, and its check said so.
    Wrong,
}

/// How both ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// The sender's end.
    pub sender: End,
    /// The receiver's.
    pub receiver: End,
    /// Messages that were received and right.
    pub right: u64,
}

/// A pair, and how to damage it.
pub(super) struct Scene {
    pub(super) pair: Pair,
    /// How many words there are.
    pub(super) words: usize,
    /// Writes over one of them.
    pub(super) strike: Box<dyn Fn(usize, u64) + Send + Sync>,
}

impl Scene {
    /// A pair whose header lies in memory.
    pub(super) fn over(pair: Pair, header: crate::shm::scribble::Header) -> Self {
        let words = header.words().len();
        let strike = Box::new(move |word: usize, value| header.words()[word].strike(value));
        Self { pair, words, strike }
    }
}

/// A mechanism that can be damaged on purpose.
pub(super) trait Damaged: Transport {
    /// One direction, and its words.
    fn scene(cfg: &Config) -> Result<Scene>;
}

fn scene(script: &Script) -> Result<Scene> {
    let workload = crate::plan::Workload::Stream;
    let plan = crate::plan::Plan { workload, wait: script.wait, size: script.size, ..Default::default() };
    let of = |spec: &super::Spec| Config { wait: spec.wait_near(script.wait), processes: false, ..Config::new(&plan) };
    fn make<T: Damaged>(cfg: impl Fn(&super::Spec) -> Config) -> Result<Scene> {
        T::scene(&cfg(T::SPEC))
    }
    match script.subject {
        Subject::ShmRing => make::<ShmRing>(of),
        Subject::HeapRing => make::<HeapRing>(of),
        Subject::MmapFile => make::<MmapFile>(of),
        Subject::PosixShm => make::<PosixShm>(of),
        Subject::SysvShm => make::<SysvShm>(of),
        Subject::EventFd => make::<EventFd>(of),
        Subject::ShmSlot => make::<ShmSlot>(of),
        Subject::ShmSem => make::<ShmSem>(of),
        Subject::ShmMutex => make::<ShmMutex>(of),
        Subject::ProcessVm => make::<ProcessVm>(of),
        Subject::File => make::<FileRing>(of),
    }
}

/// Plays a script. `None` when an end did not come back within `patience`: its thread is left behind.
///
/// # Errors
/// When the mechanism cannot be had here.
///
/// # Panics
/// Only if an end does.
pub fn play(script: &Script, patience: Duration) -> Result<Option<Ends>> {
    let size = script.size.clamp(8, LARGEST);
    let script = Script { size, ..script.clone() };
    let Scene { pair: (tx, rx), words, strike } = scene(&script)?;
    let strike = Arc::new(move |by: Strike| strike(usize::from(by.word) % words, by.value));
    script.before.iter().for_each(|by| strike(*by));
    let (sent, received) = (channel(), channel());
    let (progress, payload) = (Arc::new(AtomicU64::new(0)), Payload::new(Touch::Whole));
    std::thread::spawn({
        let (script, strike, progress) = (script.clone(), Arc::clone(&strike), Arc::clone(&progress));
        move || sent.0.send(produce(tx, &script, payload, &|by| strike(by), &progress))
    });
    std::thread::spawn(move || received.0.send(consume(rx, script.messages, payload)));
    for by in &script.meanwhile {
        let before = progress.load(Ordering::Relaxed);
        strike(*by);
        // Until something happened, or nothing more does.
        (0..200).take_while(|_| progress.load(Ordering::Relaxed) == before).for_each(|_| yield_now());
    }
    let (mut sender, mut receiver) = (None, None);
    let nap = Duration::from_millis(1);
    for _ in 0..patience.as_millis() {
        // An end that came back is dropped here, which tells the other side.
        if let Ok((how, _end)) = sent.1.try_recv() {
            sender = Some(how);
        }
        match received.1.recv_timeout(nap) {
            Ok((how, right, _end)) => receiver = Some((how, right)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => sleep(nap),
        }
        if let (Some(sender), Some((receiver, right))) = (&sender, &receiver) {
            return Ok(Some(Ends { sender: sender.clone(), receiver: receiver.clone(), right: *right }));
        }
    }
    Ok(None)
}

type Tx = Box<dyn AnyTx>;
type Rx = Box<dyn AnyRx>;

fn produce(mut tx: Tx, script: &Script, payload: Payload, strike: &dyn Fn(Strike), progress: &AtomicU64) -> (End, Tx) {
    let mut end = ended(tx.attach());
    for seq in 0..script.messages {
        script.between.iter().filter(|(at, _)| *at == seq).for_each(|(_, by)| strike(*by));
        if end != End::Done {
            break;
        }
        end = ended(tx.send(&mut |place| payload.fill(Way::Out, seq, place)));
        progress.fetch_add(1, Ordering::Relaxed);
    }
    (end, tx)
}

fn consume(mut rx: Rx, messages: u64, payload: Payload) -> (End, u64, Rx) {
    let mut end = ended(rx.attach());
    let mut seq = 0;
    while seq < messages && end == End::Done {
        let mut right = false;
        end = ended(rx.receive(&mut |message| right = payload.check(Way::Out, seq, message).is_ok()));
        if end == End::Done && !right {
            end = End::Wrong;
        }
        seq += u64::from(end == End::Done);
    }
    (end, seq, rx)
}

fn ended(result: io::Result<()>) -> End {
    match result {
        Ok(()) => End::Done,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => End::Early,
        Err(error) => End::Error(error.kind(), error.to_string()),
    }
}

/// A consumer that finds `bytes`, and zeros up to `len`, where a ring should be, of `mmap-file` and then of `file`: what either
/// says, or the size of the messages that it is ready to receive.
///
/// # Errors
/// When the temporary folder cannot be used.
pub fn meet(bytes: &[u8], len: u64) -> io::Result<[Result<usize, String>; 2]> {
    let folder = tempfile::tempdir()?;
    let at = folder.path().join("ring");
    let put = |suffix: &str| {
        let path = format!("{}{suffix}", at.display());
        let mut file = super::ring::create_new(path.as_ref())?;
        file.write_all(bytes)?;
        file.set_len(len.max(bytes.len() as u64))
    };
    let cfg = Config { patience: Duration::ZERO, ..Config::new(&crate::plan::Plan::default()) };
    fn consumer<T: Transport>(cfg: &Config, at: &str) -> Result<usize, String> {
        match T::meet(cfg, at, Role::Consumer) {
            Ok(Met::Rx(_, size)) => Ok(size),
            Ok(Met::Tx(_)) => unreachable!("a consumer meets with a receiving end"),
            Err(error) => Err(error.to_string()),
        }
    }
    let name = at.to_string_lossy();
    put("")?;
    let mapped = consumer::<MmapFile>(&cfg, &name);
    let _ = std::fs::remove_file(&at);
    ["", ".tail", ".head"].into_iter().try_for_each(put)?;
    Ok([mapped, consumer::<FileRing>(&cfg, &name)])
}

/// The ends of a transport behind pointers.
pub(super) fn erased(tx: impl Sender + 'static, rx: impl Receiver + 'static) -> Pair {
    (Box::new(tx), Box::new(rx))
}

//! An anonymous pipe: the kernel copies the bytes into pages of its own and out again.
//!
//! Key decision: the capacity is asked for explicitly (two messages, at least the default 64 KiB, at most what an
//! unprivileged user may have) and what the kernel gave is recorded, because the default decides the throughput of large
//! messages. Rejected: leaving the default, which measures wake-ups per 64 KiB. Source: pipe(2), pipe(7), fcntl(2).

use super::bytes::{ByteRx, ByteTx, Direct, hear_hello, say_hello};
use super::{
    BOTH, Config, DESCRIPTOR_WAITS, Ends, Family, Meeting, Met, PATTERNS, PeerDeath, Role, Shape, Spec, Transport,
    UNLIMITED,
};
use crate::error::{Context, Error, Phase, Result};
use crate::sys::fd::{pipe_capacity, set_pipe_capacity};
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// See the [module](self).
#[derive(Debug)]
pub struct Pipe;

const DEFAULT_CAPACITY: usize = 64 << 10;
/// PIPE_BUF: the longest write that is never torn apart by others. Source: pipe(7).
const ATOMIC: usize = 4096;

/// What `/proc/sys/fs/pipe-max-size` allows an unprivileged user.
fn largest() -> usize {
    let text = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap_or_default();
    text.trim().parse().unwrap_or(1 << 20)
}

/// The end that writes a pipe.
pub(super) type Tx = ByteTx<Direct<PipeWriter>>;
/// The end that reads one.
pub(super) type Rx = ByteRx<Direct<PipeReader>>;

/// Gives a pipe its capacity and records it.
fn sized(cfg: &Config, writer: &PipeWriter) -> Result<()> {
    let given = enlarge(cfg, writer, 2 * cfg.size)?;
    cfg.holds(given);
    // A page takes a further message only if it fits as a whole: at worst half of the pages are filler.
    cfg.fits(given / 2 / cfg.size);
    Ok(())
}

/// Gives a pipe its capacity, records it, and makes ends of it.
pub(super) fn ends(cfg: &Config, reader: PipeReader, writer: PipeWriter) -> Result<(Tx, Rx)> {
    sized(cfg, &writer)?;
    let tx = ByteTx::new(Direct(writer), cfg.size, cfg.wait).context(Phase::Setup, "cannot prepare the pipe")?;
    let rx = ByteRx::new(Direct(reader), cfg.size, cfg.wait).context(Phase::Setup, "cannot prepare the pipe")?;
    Ok((tx, rx))
}

impl Transport for Pipe {
    const SPEC: &'static Spec = &Spec {
        name: "pipe",
        summary: "anonymous pipe; the kernel copies in and out",
        family: Family::Kernel,
        parties: BOTH,
        waits: DESCRIPTOR_WAITS,
        copies: 2,
        max_size: UNLIMITED,
        peer_death: PeerDeath::STREAM,
        patterns: PATTERNS,
        meeting: Meeting::Stdio,
        sources: &["pipe(2)", "pipe(7)", "F_SETPIPE_SZ in fcntl(2)", "std::io::pipe"],
    };
    type Tx = Tx;
    type Rx = Rx;

    fn one_way(cfg: &Config) -> Result<(Self::Tx, Self::Rx)> {
        let (reader, writer) = std::io::pipe().context(Phase::Setup, "cannot create a pipe")?;
        ends(cfg, reader, writer)
    }

    fn shared(cfg: &Config, shape: Shape) -> Result<Option<Ends<Self>>> {
        shared(cfg, shape, || std::io::pipe().context(Phase::Setup, "cannot create a pipe"))
    }

    fn meet(cfg: &Config, _at: &str, role: Role) -> Result<Met<Self>> {
        match role {
            Role::Producer => {
                let writer = standard_output(Self::SPEC)?;
                enlarge(cfg, &writer, 2 * cfg.size)?;
                let tx = say_hello(&writer, cfg.size).and_then(|()| ByteTx::new(Direct(writer), cfg.size, cfg.wait));
                Ok(Met::Tx(tx.context(Phase::Start, "cannot write to standard output")?))
            }
            Role::Consumer => {
                let reader = standard_input(Self::SPEC)?;
                let size = hear_hello(&reader).context(Phase::Start, "no producer on standard input")?;
                let rx =
                    ByteRx::new(Direct(reader), size, cfg.wait).context(Phase::Start, "cannot read standard input")?;
                Ok(Met::Rx(rx, size))
            }
        }
    }
}

/// A pipe that several parties use.
///
/// POSIX promises that a write of up to PIPE_BUF bytes goes in as a whole; longer ones of several writers mix. Linux
/// copies in and out under one lock, so that a pipe which only ever took whole messages of one size gives whole ones to
/// each of several readers. Every byte is verified, so a kernel that did otherwise would be noticed.
pub(super) fn shared<T>(
    cfg: &Config,
    shape: Shape,
    make: impl FnOnce() -> Result<(PipeReader, PipeWriter)>,
) -> Result<Option<Ends<T>>>
where
    T: Transport<Tx = Tx, Rx = Rx>,
{
    if matches!(shape, Shape::Broadcast(_)) {
        return Ok(None);
    }
    if cfg.size > ATOMIC {
        cfg.note("not shared", format!("messages of more than {ATOMIC} bytes would mix"));
        return Ok(None);
    }
    let (reader, writer) = make()?;
    sized(cfg, &writer)?;
    let tx = || ByteTx::new(Direct(writer.try_clone()?), cfg.size, cfg.wait);
    let rx = || ByteRx::new(Direct(reader.try_clone()?), cfg.size, cfg.wait);
    Ends::made(shape, tx, rx).map(Some).context(Phase::Setup, "cannot share the pipe")
}

/// Asks for a capacity within what the system allows, and returns what there is.
pub(super) fn enlarge(cfg: &Config, pipe: &PipeWriter, bytes: usize) -> Result<usize> {
    let wanted = bytes.max(DEFAULT_CAPACITY).min(largest());
    // A user over the soft limit of pipe pages gets EPERM here: the default capacity then stays, and is recorded.
    let given = set_pipe_capacity(pipe, wanted)
        .or_else(|_| pipe_capacity(pipe))
        .context(Phase::Setup, "cannot read the pipe's capacity")?;
    cfg.note("capacity asked", wanted);
    cfg.note("capacity", given);
    Ok(given)
}

/// Standard output as a pipe to write to.
pub(super) fn standard_output(spec: &Spec) -> Result<PipeWriter> {
    standard_stream(spec, "standard output", std::io::stdout().as_fd()).map(PipeWriter::from)
}

/// Standard input as a pipe to read from.
pub(super) fn standard_input(spec: &Spec) -> Result<PipeReader> {
    standard_stream(spec, "standard input", std::io::stdin().as_fd()).map(PipeReader::from)
}

fn standard_stream(spec: &Spec, what: &str, fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    if pipe_capacity(fd).is_err() {
        let hint = format!("run `ipc-{0} producer | ipc-{0} consumer`", spec.name);
        return Err(Error::usage(format!("{what} is not a pipe")).hint(hint));
    }
    fd.try_clone_to_owned().context(Phase::Start, "cannot duplicate a standard stream")
}

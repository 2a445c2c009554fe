//! An anonymous pipe: the kernel copies the bytes into pages of its own and out again.
//!
//! Key decision: the capacity is asked for explicitly (two messages, at least the default 64 KiB, at most what an
//! unprivileged user may have) and what the kernel gave is recorded, because the default decides the throughput of large
//! messages. Rejected: leaving the default, which measures wake-ups per 64 KiB. Source: pipe(2), pipe(7), fcntl(2).

use super::bytes::{ByteRx, ByteTx, hear_hello, say_hello};
use super::{ALL_WAITS, BOTH, Config, Ends, Family, Meeting, Met, Role, Shape, Spec, Transport, UNLIMITED};
use crate::error::{Context, Error, Phase, Result};
use crate::sys::fd::{pipe_capacity, set_pipe_capacity};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};

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

/// A pipe of the capacity that a run should have; what it got is noted.
fn sized_pipe(cfg: &Config) -> Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = std::io::pipe().context(Phase::Setup, "cannot create a pipe")?;
    let wanted = (2 * cfg.size).clamp(DEFAULT_CAPACITY, largest());
    // A user over the soft limit of pipe pages gets EPERM here: the default capacity then stays, and is recorded.
    let given = set_pipe_capacity(&writer, wanted)
        .or_else(|_| pipe_capacity(&writer))
        .context(Phase::Setup, "cannot read the pipe's capacity")?;
    cfg.note("capacity asked", wanted);
    cfg.note("capacity", given);
    cfg.holds(given);
    // A page takes a further message only if it fits as a whole: at worst half of the pages are filler.
    cfg.fits(given / 2 / cfg.size);
    Ok((reader, writer))
}

impl Transport for Pipe {
    const SPEC: &'static Spec = &Spec {
        name: "pipe",
        summary: "anonymous pipe; the kernel copies in and out",
        family: Family::Kernel,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 2,
        max_size: UNLIMITED,
        peer_death: "reader: end-of-file after the data already sent; writer: EPIPE",
        meeting: Meeting::Stdio,
        sources: &["pipe(2)", "pipe(7)", "F_SETPIPE_SZ in fcntl(2)", "std::io::pipe"],
    };
    type Tx = ByteTx<PipeWriter>;
    type Rx = ByteRx<PipeReader>;

    fn one_way(cfg: &Config) -> Result<(Self::Tx, Self::Rx)> {
        let (reader, writer) = sized_pipe(cfg)?;
        let tx = ByteTx::new(writer, cfg.size, cfg.wait).context(Phase::Setup, "cannot prepare the pipe")?;
        let rx = ByteRx::new(reader, cfg.size, cfg.wait).context(Phase::Setup, "cannot prepare the pipe")?;
        Ok((tx, rx))
    }

    // POSIX promises that a write of up to PIPE_BUF bytes goes in as a whole; longer ones of several writers mix. Linux
    // copies in and out under one lock, so that a pipe which only ever took whole messages of one size gives whole ones to
    // each of several readers. Every byte is verified, so a kernel that did otherwise would be noticed.
    fn shared(cfg: &Config, shape: Shape) -> Result<Option<Ends<Self>>> {
        if cfg.size > ATOMIC {
            cfg.note("not shared", format!("messages of more than {ATOMIC} bytes would mix"));
            return Ok(None);
        }
        let (reader, writer) = sized_pipe(cfg)?;
        let (senders, receivers) = shape.ends();
        let tx = |_| ByteTx::new(writer.try_clone()?, cfg.size, cfg.wait);
        let rx = |_| ByteRx::new(reader.try_clone()?, cfg.size, cfg.wait);
        let txs = (0..senders).map(tx).collect::<io::Result<_>>().context(Phase::Setup, "cannot share the pipe")?;
        let rxs = (0..receivers).map(rx).collect::<io::Result<_>>().context(Phase::Setup, "cannot share the pipe")?;
        Ok(Some(Ends { txs, rxs }))
    }

    fn meet(cfg: &Config, _at: &str, role: Role) -> Result<Met<Self>> {
        let no_pipe = |what: &str| {
            Error::usage(format!("{what} is not a pipe")).hint("run `ipc-pipe producer | ipc-pipe consumer`")
        };
        match role {
            Role::Producer => {
                let out = std::io::stdout();
                if pipe_capacity(&out).is_err() {
                    return Err(no_pipe("standard output"));
                }
                let wanted = (2 * cfg.size).clamp(DEFAULT_CAPACITY, largest());
                let _ = set_pipe_capacity(&out, wanted);
                let writer = duplicate(out.as_fd()).map(PipeWriter::from)?;
                let tx = say_hello(&writer, cfg.size).and_then(|()| ByteTx::new(writer, cfg.size, cfg.wait));
                Ok(Met::Tx(tx.context(Phase::Start, "cannot write to standard output")?))
            }
            Role::Consumer => {
                let stdin = std::io::stdin();
                if pipe_capacity(&stdin).is_err() {
                    return Err(no_pipe("standard input"));
                }
                let reader = duplicate(stdin.as_fd()).map(PipeReader::from)?;
                let size = hear_hello(&reader).context(Phase::Start, "no producer on standard input")?;
                let rx = ByteRx::new(reader, size, cfg.wait).context(Phase::Start, "cannot read standard input")?;
                Ok(Met::Rx(rx, size))
            }
        }
    }
}

fn duplicate(fd: std::os::fd::BorrowedFd<'_>) -> Result<OwnedFd> {
    fd.try_clone_to_owned().context(Phase::Start, "cannot duplicate a standard stream")
}

//! A named pipe: a pipe that two programs find by a path.
//!
//! Key decision: the name is for meeting only. Once both ends are open it is removed, and what is left is a pipe, so the
//! ends, the capacity and the calls are those of `pipe` and the two rows must tie; where they do not, this tool has a
//! defect. The name is made in a folder of its own, which nobody else can write to. Rejected: one descriptor that is open
//! for reading and writing, which never sees the end of the file. Source: fifo(7), mkfifo(3).

use super::bytes::{ByteRx, ByteTx, Direct, hear_hello, say_hello};
use super::pipe::{self, ends, enlarge, shared};
use super::ring::{await_peer, nobody};
use super::{
    BOTH, Config, DESCRIPTOR_WAITS, Ends, Family, Meeting, Met, PATTERNS, PeerDeath, Role, Shape, Spec, Transport,
    UNLIMITED,
};
use crate::error::{Context, Error, Phase, Result};
use crate::names::{self, Thing};
use crate::sys::fd::{Ready, make_fifo, open_fifo, set_nonblocking};
use crate::sys::trust::{self, Kind};
use std::io::{self, ErrorKind, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::path::Path;

/// See the [module](self).
#[derive(Debug)]
pub struct Fifo;

impl Transport for Fifo {
    const SPEC: &'static Spec = &Spec {
        name: "fifo",
        summary: "named pipe; the ends and calls of pipe, so the rows must tie (--dir chooses where the name is made)",
        family: Family::Kernel,
        parties: BOTH,
        waits: DESCRIPTOR_WAITS,
        copies: 2,
        max_size: UNLIMITED,
        peer_death: PeerDeath::STREAM,
        patterns: PATTERNS,
        meeting: Meeting::Path,
        sources: &["mkfifo(3)", "fifo(7)", "pipe(7)", "F_SETPIPE_SZ in fcntl(2)"],
    };
    type Tx = pipe::Tx;
    type Rx = pipe::Rx;

    fn one_way(cfg: &Config) -> Result<(Self::Tx, Self::Rx)> {
        let (reader, writer) = made(cfg)?;
        ends(cfg, reader, writer)
    }

    fn shared(cfg: &Config, shape: Shape) -> Result<Option<Ends<Self>>> {
        shared(cfg, shape, || made(cfg))
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        match role {
            Role::Producer => {
                let writer = await_consumer(cfg, at)?;
                enlarge(cfg, &writer, 2 * cfg.size)?;
                let hello = set_nonblocking(&writer, false).and_then(|()| say_hello(&writer, cfg.size));
                let tx = hello.and_then(|()| ByteTx::new(Direct(writer), cfg.size, cfg.wait));
                Ok(Met::Tx(tx.context(Phase::Start, format!("cannot talk to the consumer at {at}"))?))
            }
            Role::Consumer => {
                let (reader, size) = await_producer(cfg, at)?;
                let rx = ByteRx::new(Direct(reader), size, cfg.wait)
                    .context(Phase::Start, "cannot prepare the named pipe")?;
                Ok(Met::Rx(rx, size))
            }
        }
    }
}

fn made(cfg: &Config) -> Result<(PipeReader, PipeWriter)> {
    pair(&cfg.dir).map_err(|error| {
        let what = format!("cannot create a named pipe in {}", cfg.dir.display());
        Error::unsupported(what).because(error).hint("choose a writable folder of a Unix file system with --dir")
    })
}

/// Both ends of a named pipe that has lost its name already.
fn pair(dir: &Path) -> io::Result<(PipeReader, PipeWriter)> {
    let private = names::folder_in(dir)?;
    let path = private.path().join("fifo");
    make_fifo(&path)?;
    // The reading end first: the writing end cannot be opened without it.
    let reader = open_fifo(&path, Ready::Read)?;
    let writer = open_fifo(&path, Ready::Write)?;
    private.close()?;
    Ok((reader.into(), writer.into()))
}

/// Opens an end of the named pipe that this user made.
fn open_own(at: &str, end: Ready) -> io::Result<OwnedFd> {
    match open_fifo(Path::new(at), end).map_err(trust::say) {
        Ok(fd) => trust::own(&fd, Kind::Fifo).map(|()| fd),
        // Nobody reads it yet: it may be a stranger's all the same.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            trust::own_path(Path::new(at), Kind::Fifo).and(Err(error))
        }
        Err(error) => Err(error),
    }
}

/// Opens the writing end as soon as a consumer has the reading end.
fn await_consumer(cfg: &Config, at: &str) -> Result<PipeWriter> {
    let look = || match open_own(at, Ready::Write) {
        Ok(writer) => Ok(Some(writer.into())),
        Err(error) if nobody_reads(&error) => Ok(None),
        Err(error) => {
            let passing = trust::is_being_named(&error);
            Err(Error::failed(Phase::Start, format!("cannot open {at}")).because(error).passing_if(passing))
        }
    };
    await_peer(cfg.patience, "consumer", at, look)?.ok_or_else(|| nobody("consumer", at, cfg.patience))
}

/// Whether the name is not there yet, or there and without a reader.
fn nobody_reads(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ENXIO)
}

/// Makes the name, waits for one producer, and gives the name back.
fn await_producer(cfg: &Config, at: &str) -> Result<(PipeReader, usize)> {
    let cannot = |error: io::Error| Error::failed(Phase::Start, format!("cannot listen at {at}")).because(error);
    names::reclaim(&Thing::file(at));
    let ((), _name) = names::place(Path::new(at), make_fifo)?;
    let reader = PipeReader::from(open_own(at, Ready::Read).map_err(cannot)?);
    let look = || match hear_hello(&reader) {
        Ok(size) => Ok(Some(size)),
        // Nobody has the writing end, or somebody who has not spoken yet.
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::WouldBlock) => Ok(None),
        Err(error) => Err(Error::failed(Phase::Start, "the producer is not one of ours").because(error)),
    };
    let size = await_peer(cfg.patience, "producer", at, look)?.ok_or_else(|| nobody("producer", at, cfg.patience))?;
    Ok((reader, size))
}

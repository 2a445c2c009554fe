//! The `interprocess` crate's local socket: on Linux a Unix stream socket behind a portable interface.
//!
//! Key decision: a row of its own beside `unix-stream`. Both make the same system calls, so the two rows must tie; where
//! they do not, either the crate or this tool has a defect. The name is in the abstract name space, which leaves nothing
//! in the file system. Source: crate documentation of `interprocess` 2.4, unix(7).

use super::bytes::{ByteRx, ByteTx, say_hello};
use super::unix_stream::{await_hello, reach_by, size_buffers};
use super::{
    BOTH, Config, DESCRIPTOR_WAITS, Family, Meeting, Met, PATTERNS, PeerDeath, Role, Side, SideOf, Spec, Transport,
    UNLIMITED,
};
use crate::error::{Context, Phase, Result};
use crate::names::{self, Thing};
use crate::sys::net::from_folder;
use crate::sys::trust;
use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{
    GenericFilePath, GenericNamespaced, ListenerNonblockingMode, ListenerOptions, Name, Stream,
};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

/// See the [module](self).
#[derive(Debug)]
pub struct LocalSocket;

/// One of several handles to a stream. The crate's own halves are the same reference count.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Stream>);

impl Read for Handle {
    #[inline(always)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buf)
    }
}

impl Write for Handle {
    #[inline(always)]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self.0).write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        raw(&self.0).as_fd()
    }
}

/// The standard library's view of the crate's stream; on Linux there is no other kind.
fn raw(stream: &Stream) -> &UnixStream {
    let Stream::UdSocket(stream) = stream;
    stream.inner()
}

/// A connected pair, made as the crate makes one: listen, connect, accept.
fn pair(cfg: &Config) -> io::Result<(Handle, Handle)> {
    let name = names::invent().to_ns_name::<GenericNamespaced>()?;
    let listener = ListenerOptions::new().name(name.clone()).create_sync()?;
    let near = Stream::connect(name)?;
    let mut far = listener.accept()?;
    // Abstract names have no permissions: whoever sees one may connect, and came first then.
    while !trust::is_self(raw(&far))? {
        far = listener.accept()?;
    }
    size_buffers(cfg, [raw(&near), raw(&far)])?;
    Ok((Handle(Arc::new(near)), Handle(Arc::new(far))))
}

fn side(cfg: &Config, handle: Handle) -> io::Result<SideOf<LocalSocket>> {
    let tx = ByteTx::new(handle.clone(), cfg.size, cfg.wait)?;
    Ok(Side { tx, rx: ByteRx::new(handle, cfg.size, cfg.wait)? })
}

fn path_name(path: &Path) -> io::Result<Name<'_>> {
    path.to_fs_name::<GenericFilePath>()
}

impl Transport for LocalSocket {
    const SPEC: &'static Spec = &Spec {
        name: "local-socket",
        summary: "the interprocess crate's local socket; the calls of unix-stream, so the rows must tie",
        family: Family::Kernel,
        parties: BOTH,
        waits: DESCRIPTOR_WAITS,
        copies: 2,
        max_size: UNLIMITED,
        peer_death: PeerDeath::SOCKET,
        patterns: PATTERNS,
        meeting: Meeting::Path,
        sources: &["unix(7)", "crate interprocess, local_socket"],
    };
    type Tx = ByteTx<Handle>;
    type Rx = ByteRx<Handle>;

    fn one_way(cfg: &Config) -> Result<(Self::Tx, Self::Rx)> {
        let make = || -> io::Result<_> {
            let (a, b) = pair(cfg)?;
            Ok((ByteTx::new(a, cfg.size, cfg.wait)?, ByteRx::new(b, cfg.size, cfg.wait)?))
        };
        make().context(Phase::Setup, "cannot create a local socket")
    }

    fn link(cfg: &Config) -> Result<[SideOf<Self>; 2]> {
        let make = || -> io::Result<_> {
            let (a, b) = pair(cfg)?;
            Ok([side(cfg, a)?, side(cfg, b)?])
        };
        make().context(Phase::Setup, "cannot create a local socket")
    }

    fn meet(cfg: &Config, at: &str, role: Role) -> Result<Met<Self>> {
        match role {
            Role::Producer => {
                let connect = |path: &Path| Stream::connect(path_name(path)?).map(|stream| Handle(Arc::new(stream)));
                let stream = reach_by(at, connect)?;
                let tx = say_hello(stream.clone(), cfg.size).and_then(|()| ByteTx::new(stream, cfg.size, cfg.wait));
                Ok(Met::Tx(tx.context(Phase::Start, format!("cannot talk to the consumer at {at}"))?))
            }
            Role::Consumer => {
                names::reclaim(&Thing::file(at));
                let (listener, _name) = names::place(Path::new(at), |draft| {
                    let (_folder, near) = from_folder(draft)?;
                    // The name changes, so the crate must not remove it.
                    let options = ListenerOptions::new().mode(0o600).reclaim_name(false);
                    options.name(path_name(&near)?).create_sync()
                })?;
                let mode = listener.set_nonblocking(ListenerNonblockingMode::Accept);
                mode.context(Phase::Start, format!("cannot listen at {at}"))?;
                let (stream, size) = await_hello(cfg, at, || {
                    let stream = listener.accept()?;
                    trust::own_peer(raw(&stream)).map(|()| stream)
                })?;
                let stream = Handle(Arc::new(stream));
                let rx = ByteRx::new(stream, size, cfg.wait).context(Phase::Start, "cannot prepare the socket")?;
                Ok(Met::Rx(rx, size))
            }
        }
    }
}

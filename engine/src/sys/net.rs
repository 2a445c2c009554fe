//! Listening, connecting and waiting for many connections. Source: unix(7), tcp(7), socket(7) `SO_REUSEPORT`, epoll(7).
//!
//! Key decision: a connection is a [`File`], because reading and writing are the same for both kinds of socket. Unix
//! sockets have abstract names, which vanish with the last descriptor; nothing stays on disk.

use super::clock::timespec;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, UnixAddr, bind, listen, setsockopt, socket, sockopt,
};
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::{File, OpenOptions};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Listens at a new path that only this user can connect to, whatever the umask: the kernel takes the mode of the socket
/// before it is bound. The path may be longer than a socket's address, because it is given from its folder on.
///
/// # Errors
/// EADDRINUSE when something has that name, and what socket(2) and listen(2) say.
pub fn listen_at(path: &Path) -> io::Result<UnixListener> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    rustix::fs::fchmod(&fd, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    let (_folder, near) = from_folder(path)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(&near)?)?;
    listen(&fd, Backlog::MAXCONN)?;
    Ok(UnixListener::from(fd))
}

/// A short path to the same place, for as long as the folder is open. Source: proc_pid_fd(5).
///
/// # Errors
/// When the folder of the path cannot be opened.
pub fn from_folder(path: &Path) -> io::Result<(File, PathBuf)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = nix::libc::O_PATH | nix::libc::O_DIRECTORY;
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
    let near =
        PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(path.file_name().unwrap_or_default());
    Ok((folder, near))
}

/// Where clients knock.
#[derive(Debug)]
pub enum Door {
    /// A Unix stream socket with an abstract name.
    Unix(UnixListener),
    /// A TCP socket on the loopback device.
    Tcp(TcpListener),
}

impl Door {
    /// A Unix socket under a name that nobody else has.
    ///
    /// # Errors
    /// What bind(2) says.
    pub fn unix() -> io::Result<Self> {
        let name = crate::names::invent();
        Ok(Door::Unix(UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?))
    }

    /// A TCP socket on a free port of the loopback device, which others may share.
    ///
    /// # Errors
    /// EADDRNOTAVAIL where there is no loopback device.
    pub fn tcp() -> io::Result<Self> {
        Self::on_port(0)
    }

    /// One more listener on the same port: the kernel spreads connections over both. There is none for Unix sockets.
    ///
    /// # Errors
    /// What bind(2) says; [`io::ErrorKind::Unsupported`] for a Unix socket.
    pub fn beside(&self) -> io::Result<Self> {
        match self {
            Door::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            Door::Tcp(listener) => Self::on_port(listener.local_addr()?.port()),
        }
    }

    fn on_port(port: u16) -> io::Result<Self> {
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, sockopt::ReusePort, &true)?;
        bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port))?;
        listen(&fd, Backlog::MAXCONN)?;
        Ok(Door::Tcp(TcpListener::from(fd)))
    }

    /// The next client. Small answers are sent at once.
    ///
    /// # Errors
    /// What accept(2) says.
    pub fn accept(&self) -> io::Result<File> {
        match self {
            Door::Unix(listener) => Ok(OwnedFd::from(listener.accept()?.0).into()),
            Door::Tcp(listener) => prompt(listener.accept()?.0),
        }
    }

    /// A connection to this door.
    ///
    /// # Errors
    /// What connect(2) says.
    pub fn connect(&self) -> io::Result<File> {
        match self {
            Door::Unix(listener) => Ok(OwnedFd::from(UnixStream::connect_addr(&listener.local_addr()?)?).into()),
            Door::Tcp(listener) => prompt(TcpStream::connect(listener.local_addr()?)?),
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Door::Unix(listener) => listener.as_fd(),
            Door::Tcp(listener) => listener.as_fd(),
        }
    }
}

fn prompt(stream: TcpStream) -> io::Result<File> {
    stream.set_nodelay(true)?;
    Ok(OwnedFd::from(stream).into())
}

/// Descriptors of which some may have something to read, each under a number.
#[derive(Debug)]
pub struct Crowd {
    epoll: Epoll,
    /// Whether a descriptor is told once and then only after [`Crowd::again`], so that several threads may wait.
    once: bool,
}

impl Crowd {
    /// Nobody yet.
    ///
    /// # Errors
    /// What epoll_create1(2) says.
    pub fn new(once: bool) -> io::Result<Self> {
        Ok(Self { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, once })
    }

    fn event(&self, number: u64) -> EpollEvent {
        let once = if self.once { EpollFlags::EPOLLONESHOT } else { EpollFlags::empty() };
        EpollEvent::new(EpollFlags::EPOLLIN | once, number)
    }

    /// Adds a descriptor; it leaves when it is closed.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn add(&self, fd: impl AsFd, number: u64) -> io::Result<()> {
        Ok(self.epoll.add(fd, self.event(number))?)
    }

    /// Says that the descriptor was dealt with.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub fn again(&self, fd: impl AsFd, number: u64) -> io::Result<()> {
        if self.once { Ok(self.epoll.modify(fd, &mut self.event(number))?) } else { Ok(()) }
    }

    /// Waits for the next one that has something to read; its number.
    ///
    /// # Errors
    /// What epoll_wait(2) says, except EINTR, which is retried.
    pub fn next(&self) -> io::Result<u64> {
        let mut events = [EpollEvent::empty()];
        loop {
            match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => return Ok(events[0].data()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Waits until some of these have something to read, at most for `limit`; which ones.
///
/// # Errors
/// What ppoll(2) says, except EINTR, which counts as nobody.
pub fn readable(files: &[File], limit: Duration) -> io::Result<Vec<usize>> {
    let limit = timespec(limit);
    let mut fds: Vec<PollFd<'_>> = files.iter().map(|file| PollFd::new(file, PollFlags::IN)).collect();
    match poll(&mut fds, Some(&limit)) {
        Err(rustix::io::Errno::INTR) => return Ok(vec![]),
        other => other?,
    };
    Ok((0..fds.len()).filter(|index| !fds[*index].revents().is_empty()).collect())
}

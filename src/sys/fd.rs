//! Descriptors: blocking or not, pipe capacity, socket buffers, readiness. Source: fcntl(2), pipe(7), poll(2).

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Makes reads and writes return at once (`true`) or wait (`false`). The flag belongs to the open file description, which
/// duplicates share.
///
/// # Errors
/// What fcntl(2) says.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    let fd = fd.as_fd();
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

/// Asks for a pipe capacity and returns what the kernel gave, which may be more (it rounds up to pages).
///
/// # Errors
/// EPERM above the unprivileged limit `/proc/sys/fs/pipe-max-size`, EBUSY when data does not fit.
pub fn set_pipe_capacity(fd: impl AsFd, bytes: usize) -> io::Result<usize> {
    Ok(fcntl(fd.as_fd(), FcntlArg::F_SETPIPE_SZ(bytes as i32))? as usize)
}

/// A pipe's capacity in bytes.
///
/// # Errors
/// What fcntl(2) says.
pub fn pipe_capacity(fd: impl AsFd) -> io::Result<usize> {
    Ok(fcntl(fd.as_fd(), FcntlArg::F_GETPIPE_SZ)? as usize)
}

/// Asks for a socket send buffer of `bytes` and returns what the kernel uses (it doubles the request and caps it).
///
/// # Errors
/// What setsockopt(2) says.
pub fn set_send_buffer(fd: impl AsFd, bytes: usize) -> io::Result<usize> {
    setsockopt(&fd, sockopt::SndBuf, &bytes)?;
    Ok(getsockopt(&fd, sockopt::SndBuf)?)
}

/// A socket's send buffer in bytes, as the kernel accounts it.
///
/// # Errors
/// What getsockopt(2) says.
pub fn send_buffer(fd: impl AsFd) -> io::Result<usize> {
    Ok(getsockopt(&fd, sockopt::SndBuf)?)
}

/// How many bytes wait in a pipe or a socket. Source: ioctl_pipe(2) `FIONREAD`.
///
/// # Errors
/// What ioctl(2) says.
pub fn pending(fd: impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(fd)?)
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// There is something to read, or the writer left.
    Read,
    /// There is room to write, or the reader left.
    Write,
}

/// Sleeps until the descriptor is ready.
///
/// # Errors
/// What poll(2) says, except EINTR, which is retried.
pub fn wait_ready(fd: BorrowedFd<'_>, what: Ready) -> io::Result<()> {
    let flags = match what {
        Ready::Read => PollFlags::IN,
        Ready::Write => PollFlags::OUT,
    };
    loop {
        let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
        match poll(&mut fds, None) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

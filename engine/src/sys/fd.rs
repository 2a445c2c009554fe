//! Descriptors: blocking or not, pipes and their capacity, socket buffers, readiness.
//! Source: fcntl(2), pipe(7), fifo(7), poll(2),
//! epoll(7).

use super::clock::timespec;
use super::rouse::heed;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::sys::stat::Mode;
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::time::Timespec;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

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

/// Gives the calling thread a table of descriptors of its own in which there are only these. Source: close_range(2).
///
/// # Errors
/// ENOSYS before Linux 5.9, and what a sandbox says: then the table is that of all threads, and nothing was closed.
pub fn have_only(kept: impl IntoIterator<Item = RawFd>) -> io::Result<()> {
    let close = |first: u32, last: u32, flags: libc::c_uint| {
        // SAFETY: it takes numbers alone. What is closed is in a table that no other thread has: the first call makes it, and
        // no later one comes without that. The calling thread uses none but those kept, by this function's purpose.
        match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    let mut kept: Vec<u32> = kept.into_iter().map(|fd| fd as u32).collect();
    kept.sort_unstable();
    let above = kept.last().map_or(0, |last| last + 1);
    close(above, u32::MAX, libc::CLOSE_RANGE_UNSHARE)?;
    let mut first = 0;
    for fd in kept {
        if first < fd {
            close(first, fd - 1, 0)?;
        }
        first = fd + 1;
    }
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

/// Asks for a socket receive buffer of `bytes` and returns what the kernel uses (it doubles the request and caps it).
///
/// # Errors
/// What setsockopt(2) says.
pub fn set_receive_buffer(fd: impl AsFd, bytes: usize) -> io::Result<usize> {
    setsockopt(&fd, sockopt::RcvBuf, &bytes)?;
    Ok(getsockopt(&fd, sockopt::RcvBuf)?)
}

/// A socket's send buffer in bytes, as the kernel accounts it.
///
/// # Errors
/// What getsockopt(2) says.
pub fn send_buffer(fd: impl AsFd) -> io::Result<usize> {
    Ok(getsockopt(&fd, sockopt::SndBuf)?)
}

/// A socket's receive buffer in bytes, as the kernel accounts it.
///
/// # Errors
/// What getsockopt(2) says.
pub fn receive_buffer(fd: impl AsFd) -> io::Result<usize> {
    Ok(getsockopt(&fd, sockopt::RcvBuf)?)
}

/// Makes a named pipe that only its owner can open.
///
/// # Errors
/// EEXIST when something has that name, EPERM where the file system has no named pipes; see mkfifo(3).
pub fn make_fifo(path: &Path) -> io::Result<()> {
    Ok(nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?)
}

/// Opens one end of a named pipe without waiting for the other one, and never through a symbolic link.
///
/// # Errors
/// ENXIO for the writing end as long as nobody has the reading end open, and what open(2) says; see fifo(7).
pub fn open_fifo(path: &Path, end: Ready) -> io::Result<OwnedFd> {
    let mut options = std::fs::OpenOptions::new();
    options.read(end == Ready::Read).write(end == Ready::Write);
    Ok(options.custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_NOFOLLOW).open(path)?.into())
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

/// Sleeps until the descriptor is ready, at most for `limit`.
///
/// # Errors
/// What poll(2) says, except EINTR, after which [`heed`] is asked.
pub fn wait_ready(fd: BorrowedFd<'_>, what: Ready, limit: Option<Duration>) -> io::Result<()> {
    let flags = match what {
        Ready::Read => PollFlags::IN,
        Ready::Write => PollFlags::OUT,
    };
    let limit = limit.map(timespec);
    loop {
        let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => heed()?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether everybody who had the other end of a stream socket open is gone. It never sleeps.
///
/// # Errors
/// What poll(2) says.
pub fn hung_up(fd: impl AsFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::RDHUP)];
    Ok(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}

/// An epoll(7) instance that watches one descriptor, level-triggered: ready for as long as there is something to do.
#[derive(Debug)]
pub struct Watch(OwnedFd);

impl Watch {
    /// Watches `fd`, which has to stay open.
    ///
    /// # Errors
    /// What epoll_create(2) and epoll_ctl(2) say; EPERM for a regular file.
    pub fn new(fd: impl AsFd, what: Ready) -> io::Result<Self> {
        let flags = match what {
            Ready::Read => epoll::EventFlags::IN,
            Ready::Write => epoll::EventFlags::OUT,
        };
        let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&watch, fd, epoll::EventData::new_u64(0), flags)?;
        Ok(Self(watch))
    }

    /// Sleeps until the descriptor is ready, at most for `limit`.
    ///
    /// # Errors
    /// What epoll_wait(2) says, except EINTR, after which [`heed`] is asked.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<()> {
        let limit = limit.map(timespec);
        loop {
            let mut events = [MaybeUninit::uninit(); 1];
            match epoll::wait(&self.0, &mut events, limit.as_ref()) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => heed()?,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Sleeps until one of the descriptors has something to read or lost its writer, at most for `limit`; which of them have.
///
/// # Errors
/// What poll(2) says, except EINTR, which counts as "none".
pub fn readable<const N: usize>(fds: [BorrowedFd<'_>; N], limit: Duration) -> io::Result<[bool; N]> {
    let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    match poll(&mut polled, Some(&timespec(limit))) {
        Ok(_) => Ok(polled.map(|fd| !fd.revents().is_empty())),
        Err(rustix::io::Errno::INTR) => Ok([false; N]),
        Err(error) => Err(error.into()),
    }
}

/// As [`readable`], for whoever looks again in any case: where poll(2) fails, none is, after a while, so that nobody spins.
pub fn doze<const N: usize>(fds: [BorrowedFd<'_>; N], limit: Duration) -> [bool; N] {
    readable(fds, limit).unwrap_or_else(|_| {
        std::thread::sleep(limit.min(Duration::from_millis(100)));
        [false; N]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn a_thread_with_a_table_of_its_own_has_what_it_keeps_and_the_others_have_all() {
        let (kept, other) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let fd = kept.0.as_raw_fd();
        let open = |fd: RawFd| move || std::fs::read_link(format!("/proc/thread-self/fd/{fd}")).is_ok();
        let theirs = other.0.as_raw_fd();
        let seen = std::thread::spawn(move || have_only([fd]).map(|()| (open(fd)(), open(theirs)()))).join().unwrap();
        match seen {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => println!("skipped: {error}"),
            seen => assert_eq!(seen.unwrap(), (true, false)),
        }
        assert!(open(fd)() && open(theirs)());
        drop(other);
    }
}

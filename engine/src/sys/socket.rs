//! Sockets that keep message boundaries, and descriptors that travel over sockets.
//!
//! Source: socket(7), unix(7), send(2), recv(2), cmsg(3).

use super::fd::{Ready, set_send_buffer, wait_ready};
use nix::cmsg_space;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, SockaddrIn, bind, recv,
    recvmsg, send, sendmsg, setsockopt, shutdown, socket, socketpair, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use rustix::net::{RecvFlags, SendFlags};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// Which of the Unix sockets that keep message boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SOCK_SEQPACKET: with a connection, so that the end of one end is told to the other.
    Seqpacket,
    /// SOCK_DGRAM: without.
    Datagram,
}

/// A socket whose send(2) and recv(2), which are what std calls, too, are made in place, without the C library's functions around
/// them, each of which is one more return behind the call. No signal tells of a peer that is gone.
#[derive(Debug)]
pub struct Socket<S>(pub S);

impl<S: AsFd> Read for Socket<S> {
    #[inline(always)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let (given, _) = rustix::net::recv(&self.0, buf, RecvFlags::empty())?;
        Ok(given)
    }
}

impl<S: AsFd> Write for Socket<S> {
    #[inline(always)]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.0, buf, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: AsFd> AsFd for Socket<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A connected Unix socket that keeps message boundaries: a write is one send(2), a read is one recv(2).
#[derive(Debug)]
pub struct Packet {
    socket: Socket<OwnedFd>,
    kind: Kind,
}

impl Packet {
    /// Two that are connected with each other.
    ///
    /// # Errors
    /// What socketpair(2) says.
    pub fn pair(kind: Kind) -> io::Result<(Self, Self)> {
        let of_kind = match kind {
            Kind::Seqpacket => SockType::SeqPacket,
            Kind::Datagram => SockType::Datagram,
        };
        let (a, b) = socketpair(AddressFamily::Unix, of_kind, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self::of(a, kind), Self::of(b, kind)))
    }

    /// Another descriptor of the same socket.
    ///
    /// # Errors
    /// What dup(2) says.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.socket.0.try_clone().map(|fd| Self::of(fd, self.kind))
    }

    /// A socket of this kind that came from elsewhere.
    pub fn of(fd: OwnedFd, kind: Kind) -> Self {
        Self { socket: Socket(fd), kind }
    }

    /// What there is once the kernel said that the other end is closed.
    ///
    /// A receive that does not wait looks into the queue first and, where it is empty, whether the other end is closed. What
    /// was sent between the two looks is passed over when the end was closed before the second one, and end-of-file is said
    /// while a message lies there (in 1 of 15 000 trials with a spinning reader, Linux 6.18). Nothing can come any more after
    /// the first end-of-file, so that of a second call is true.
    #[cold]
    fn after_the_end(&self, buf: &mut [u8]) -> io::Result<usize> {
        match receive_now(&self.socket, buf) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            found => found,
        }
    }
}

impl AsFd for Packet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Read for Packet {
    #[inline(always)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.socket.read(buf)? {
            0 if self.kind == Kind::Seqpacket => self.after_the_end(buf),
            len => Ok(len),
        }
    }
}

impl Write for Packet {
    #[inline(always)]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.socket.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The largest message that a Unix socket with boundaries takes on this machine: what it says of the largest send buffer
/// that an unprivileged process may have, less what the kernel keeps for itself.
///
/// # Errors
/// What socketpair(2) and setsockopt(2) say.
pub fn largest_packet() -> io::Result<usize> {
    /// The kernel refuses what leaves less than this of the buffer (EMSGSIZE).
    const KEPT: usize = 32;
    let (socket, _) = Packet::pair(Kind::Datagram)?;
    Ok(set_send_buffer(&socket, i32::MAX as usize / 2)?.saturating_sub(KEPT))
}

/// Sends an empty datagram, which no message is: "I leave". Waits for room for it, at most for `limit`, since the receiver
/// may be about to leave too. A receiver that is gone needs to be told nothing.
pub fn say_goodbye(fd: impl AsFd, limit: Duration) {
    let fd = fd.as_fd();
    let start = Instant::now();
    while let Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) =
        send(fd.as_raw_fd(), &[], MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT)
    {
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() || wait_ready(fd, Ready::Write, Some(left)).is_err() {
            return;
        }
    }
}

/// Receives what is there, and does not wait for it also where the socket does.
///
/// # Errors
/// What recv(2) says; WouldBlock when nothing is there.
pub fn receive_now(fd: impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    Ok(recv(fd.as_fd().as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT)?)
}

/// What the kernel accounts to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes of the receive buffer in use, with what the kernel needs to manage them.
    pub received: usize,
    /// Datagrams that found the receive buffer full and were thrown away.
    pub dropped: usize,
}

/// Asks what the kernel accounts to a socket; SO_MEMINFO, since Linux 4.12.
///
/// # Errors
/// What getsockopt(2) says.
pub fn memory(fd: impl AsFd) -> io::Result<Memory> {
    /// Places in the kernel's answer: SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_DROPS, and their number, in linux/sock_diag.h.
    const RECEIVED: usize = 0;
    const DROPPED: usize = 8;
    let mut words = [0_u32; 9];
    let mut len = size_of_val(&words) as libc::socklen_t;
    let place = words.as_mut_ptr().cast();
    // SAFETY: the kernel writes at most `len` bytes to `place`, which are those of `words`: integers, for which all values
    // are valid.
    let done =
        unsafe { libc::getsockopt(fd.as_fd().as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, place, &raw mut len) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Memory { received: words[RECEIVED] as usize, dropped: words[DROPPED] as usize })
}

/// Sends multicast datagrams out through the loopback device, and never beyond this machine; IP_MULTICAST_IF and
/// IP_MULTICAST_TTL in ip(7).
///
/// # Errors
/// What setsockopt(2) says; EADDRNOTAVAIL where there is no loopback device.
pub fn multicast_over_loopback(fd: impl AsFd) -> io::Result<()> {
    setsockopt(&fd, sockopt::IpMulticastTtl, &0)?;
    setsockopt(&fd, sockopt::IpMulticastLoop, &true)?;
    let device = libc::in_addr { s_addr: u32::from(std::net::Ipv4Addr::LOCALHOST).to_be() };
    let (place, len) = (std::ptr::from_ref(&device).cast(), size_of_val(&device) as libc::socklen_t);
    // SAFETY: the kernel reads `len` bytes from `place`, which are those of `device`.
    let done = unsafe { libc::setsockopt(fd.as_fd().as_raw_fd(), libc::IPPROTO_IP, libc::IP_MULTICAST_IF, place, len) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A datagram socket at a multicast group and a port, where others may be too if they `share` it in the same way.
///
/// # Errors
/// EADDRINUSE where the port is taken and not shared, and what socket(2) and bind(2) say.
pub fn at_group(group: SocketAddrV4, share: bool) -> io::Result<UdpSocket> {
    let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &share)?;
    bind(fd.as_raw_fd(), &SockaddrIn::from(group))?;
    // Only from now on: a free port that was just chosen is not one that somebody else shares.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    Ok(UdpSocket::from(fd))
}

/// Ends the receiving half of a socket: from now on it is always ready to be read, and has nothing.
///
/// # Errors
/// What shutdown(2) says.
pub fn shut_reading(fd: impl AsFd) -> io::Result<()> {
    Ok(shutdown(fd.as_fd().as_raw_fd(), Shutdown::Read)?)
}

/// Makes a blocking receive give up after `limit` with WouldBlock; SO_RCVTIMEO in socket(7).
///
/// # Errors
/// What setsockopt(2) says.
pub fn set_receive_timeout(fd: impl AsFd, limit: Duration) -> io::Result<()> {
    Ok(setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::microseconds(limit.as_micros() as i64))?)
}

/// Hands a descriptor to whoever has the other end of a Unix socket.
///
/// # Errors
/// What sendmsg(2) says.
pub fn send_descriptor(over: impl AsFd, fd: impl AsFd) -> io::Result<()> {
    let fds = [fd.as_fd().as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(over.as_fd().as_raw_fd(), &[IoSlice::new(&[0])], &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Takes a descriptor from whoever has the other end of a Unix socket.
///
/// # Errors
/// `UnexpectedEof` when the other end left, `InvalidData` when none came, and what recvmsg(2) says.
pub fn receive_descriptor(over: impl AsFd) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut iov = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(over.as_fd().as_raw_fd(), &mut iov, Some(&mut space), flags)?;
    if message.bytes == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    match message.cmsgs()?.next() {
        Some(ControlMessageOwned::ScmRights(fds)) if fds.len() == 1 => {
            // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
            Ok(unsafe { OwnedFd::from_raw_fd(fds[0]) })
        }
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_before_the_end_is_found_after_it_was_said() {
        let (mut near, mut far) = Packet::pair(Kind::Seqpacket).unwrap();
        near.write_all(b"one").unwrap();
        near.write_all(b"two").unwrap();
        drop(near);
        let mut buf = [0; 8];
        assert_eq!(far.after_the_end(&mut buf).unwrap(), 3);
        assert_eq!(&buf[..3], b"one");
        assert_eq!(far.read(&mut buf).unwrap(), 3);
        assert_eq!(&buf[..3], b"two");
        for _ in 0..2 {
            assert_eq!((far.after_the_end(&mut buf).unwrap(), far.read(&mut buf).unwrap()), (0, 0));
        }
    }

    #[test]
    fn an_empty_datagram_is_no_end() {
        let (near, mut far) = Packet::pair(Kind::Datagram).unwrap();
        say_goodbye(&near, Duration::ZERO);
        near.try_clone().unwrap().write_all(b"more").unwrap();
        let mut buf = [0; 8];
        assert_eq!((far.read(&mut buf).unwrap(), far.read(&mut buf).unwrap()), (0, 4));
    }
}

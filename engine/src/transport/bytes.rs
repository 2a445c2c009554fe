//! Ends for everything that is behind a descriptor and takes bytes: pipes, sockets.
//!
//! Key decision: messages are framed by agreement on their size, so that a message is one write and one read where the
//! kernel takes it whole, and no header bytes travel. A descriptor *spins* by being non-blocking and asked again; it
//! *blocks* by sleeping in the call itself. With `poll` and `epoll` it does what an event loop does that owns nothing but
//! this descriptor: it is non-blocking, and every attempt to read or to write is preceded by one poll(2) or one
//! level-triggered epoll_wait(2), which is where the party sleeps. So a message costs two calls on each side whether or
//! not anybody had to wait. Rejected: to try first and to ask for readiness only where the call would block, which is
//! cheaper for a sender with room and is no longer the row that a program with an event loop gets. Each end has an epoll
//! instance of its own, made with the end, because both ends of a party may be the same socket.
//! Source: poll(2), epoll(7), fcntl(2).

use super::message::Message;
use super::{Receiver, Sender};
use crate::plan::Wait;
use crate::shm::budget::Budget;
use crate::sys::fd::{Ready, Watch, set_nonblocking, wait_ready};
use crate::sys::rouse::heed;
use crate::sys::socket::set_receive_timeout;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How an end goes about calls that may have to wait.
#[derive(Debug)]
pub struct Patience {
    how: Wait,
    budget: Budget,
    what: Ready,
    watch: Option<Watch>,
    /// Longest sleep, where what ends the wait may not show at the descriptor.
    nap: Option<Duration>,
}

impl Patience {
    /// Prepares `fd` for waiting as `how` says, until `what`.
    ///
    /// # Errors
    /// What fcntl(2) says when the descriptor is made non-blocking, and what epoll_create(2) says.
    pub fn new(fd: impl AsFd, how: Wait, what: Ready) -> io::Result<Self> {
        set_nonblocking(&fd, how != Wait::Block)?;
        let watch = (how == Wait::Epoll).then(|| Watch::new(&fd, what)).transpose()?;
        Ok(Self { how, budget: Budget::default(), what, watch, nap: None })
    }

    /// Wakes every `nap` while it waits, so that the end can look for what does not show at its descriptor.
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn napping(mut self, fd: impl AsFd, nap: Option<Duration>) -> io::Result<Self> {
        if let (Wait::Block, Some(nap)) = (self.how, nap) {
            set_receive_timeout(fd, nap)?;
        }
        self.nap = nap;
        Ok(self)
    }

    /// Makes `call` until it does not have to wait.
    ///
    /// # Errors
    /// What `call` says, except WouldBlock and Interrupted; what poll(2), epoll_wait(2) or [`heed`] say.
    #[inline(always)]
    pub fn until<S: AsFd, R>(&self, stream: &mut S, mut call: impl FnMut(&mut S) -> io::Result<R>) -> io::Result<R> {
        loop {
            if matches!(self.how, Wait::Poll | Wait::Epoll) {
                self.sleep_until_ready(stream.as_fd())?;
            }
            match call(stream) {
                Err(error) => self.pause_after(error, stream.as_fd())?,
                done => {
                    self.budget.met();
                    return done;
                }
            }
        }
    }

    #[inline(never)]
    fn sleep_until_ready(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match &self.watch {
            Some(watch) => watch.wait(self.nap),
            None => wait_ready(fd, self.what, self.nap),
        }
    }

    /// Waits before the next try, if `error` says no more than that the call has to be made again.
    #[inline(never)]
    fn pause_after(&self, error: io::Error, fd: BorrowedFd<'_>) -> io::Result<()> {
        match error.kind() {
            ErrorKind::WouldBlock => pause(self.how, &self.budget, &fd, self.what, self.nap),
            ErrorKind::Interrupted => heed(),
            _ => Err(error),
        }
    }
}

/// Waits between two tries of a non-blocking call, at most `nap` if it sleeps. The caller says to `budget` when the call has
/// gone through.
#[inline(always)]
pub(super) fn pause(how: Wait, budget: &Budget, fd: &impl AsFd, what: Ready, nap: Option<Duration>) -> io::Result<()> {
    heed()?;
    // A blocking descriptor says WouldBlock only at the end of a nap, and a polled one was ready for somebody else.
    if !budget.pauses(how.by_calls()) && matches!(how, Wait::Hybrid(_)) {
        wait_ready(fd.as_fd(), what, nap)?;
    }
    Ok(())
}

/// A descriptor whose read(2) and write(2) are made in place, without the function of the C library around them, which is one
/// more return after the call: a mispredicted one where the kernel switched or its own calls were deep. For pipes; sockets have
/// [`Socket`](crate::sys::socket::Socket).
#[derive(Debug)]
pub struct Direct<S>(pub S);

impl<S: AsFd> Read for Direct<S> {
    #[inline(always)]
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.0, buf)?)
    }
}

impl<S: AsFd> Write for Direct<S> {
    #[inline(always)]
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, buf)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: AsFd> AsFd for Direct<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The sending end of a byte stream.
#[derive(Debug)]
pub struct ByteTx<W> {
    stream: W,
    patience: Patience,
    message: Message,
}

impl<W: Write + AsFd> ByteTx<W> {
    /// Sends messages of `size` bytes through `stream`.
    ///
    /// # Errors
    /// As [`Patience::new`].
    pub fn new(stream: W, size: usize, wait: Wait) -> io::Result<Self> {
        let patience = Patience::new(&stream, wait, Ready::Write)?;
        Ok(Self { stream, patience, message: Message::new(size) })
    }

    /// Sends the message as it stands. Apart from what fills it, so that the compiler is handed it once for each kind of
    /// stream and not once more for each loop; inlined, because a return that follows a system call is mispredicted where
    /// the kernel clears that predictor (a call more took `pipe` 1.02 [1.01, 1.04] of the time of a message of 64 B).
    #[inline(always)]
    fn pass(&mut self) -> io::Result<()> {
        let mut rest = &self.message[..];
        loop {
            let sent = self.patience.until(&mut self.stream, |stream| stream.write(rest))?;
            if sent == rest.len() {
                return Ok(());
            }
            rest = &rest[sent..];
        }
    }
}

impl<W: Write + AsFd + Send> Sender for ByteTx<W> {
    fn size(&self) -> usize {
        self.message.len()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        fill(&mut self.message);
        self.pass()
    }
}

/// The receiving end of a byte stream.
#[derive(Debug)]
pub struct ByteRx<R> {
    stream: R,
    patience: Patience,
    message: Message,
}

impl<R: Read + AsFd> ByteRx<R> {
    /// Receives messages of `size` bytes from `stream`.
    ///
    /// # Errors
    /// As [`Patience::new`].
    pub fn new(stream: R, size: usize, wait: Wait) -> io::Result<Self> {
        let patience = Patience::new(&stream, wait, Ready::Read)?;
        Ok(Self { stream, patience, message: Message::new(size) })
    }

    /// Receives a whole message; apart from what reads it, as with [`ByteTx::pass`].
    #[inline(always)]
    fn fetch(&mut self) -> io::Result<()> {
        let mut filled = 0;
        while filled < self.message.len() {
            let rest = &mut self.message[filled..];
            match self.patience.until(&mut self.stream, |stream| stream.read(rest))? {
                0 => return Err(hear_end(filled, self.message.len())),
                got => filled += got,
            }
        }
        Ok(())
    }
}

impl<R: AsFd> ByteRx<R> {
    /// See [`Patience::napping`].
    ///
    /// # Errors
    /// What setsockopt(2) says.
    pub fn napping(self, nap: Option<Duration>) -> io::Result<Self> {
        let patience = self.patience.napping(&self.stream, nap)?;
        Ok(Self { patience, ..self })
    }
}

impl<R: Read + AsFd + Send> Receiver for ByteRx<R> {
    #[inline(always)]
    fn recv_with<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        self.fetch()?;
        Ok(read(&self.message))
    }
}

/// What the end of a stream means to a reader that has so much of a message.
pub(super) fn hear_end(filled: usize, size: usize) -> io::Error {
    if filled == 0 {
        return ErrorKind::UnexpectedEof.into();
    }
    let torn = format!("the sender left after {filled} of {size} bytes of a message");
    io::Error::new(ErrorKind::ConnectionAborted, torn)
}

/// What a separately started producer says first, so that the consumer knows what will come: a tag, a version and the
/// message size, 16 bytes, little-endian. Since version 2 a producer that ends in order also says that (`engine/src/role.rs`).
const HELLO: [u8; 8] = *b"ipcost\x00\x02";

/// Sends the hello.
///
/// # Errors
/// What write(2) says.
pub fn say_hello(mut to: impl Write, size: usize) -> io::Result<()> {
    let mut hello = [0; 16];
    hello[..8].copy_from_slice(&HELLO);
    hello[8..].copy_from_slice(&(size as u64).to_le_bytes());
    to.write_all(&hello)
}

/// Receives the hello and returns the message size.
///
/// # Errors
/// `InvalidData` when what came is no hello of this version, or a size that cannot be.
pub fn hear_hello(mut from: impl Read) -> io::Result<usize> {
    let mut hello = [0; 16];
    from.read_exact(&mut hello).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => io::Error::new(ErrorKind::UnexpectedEof, "the producer left before it said hello"),
        _ => error,
    })?;
    let size = u64::from_le_bytes(hello[8..].try_into().expect("eight bytes"));
    if hello[..8] != HELLO || size == 0 || size > super::UNLIMITED as u64 {
        return Err(io::Error::new(ErrorKind::InvalidData, "what came is not from a producer of this version"));
    }
    Ok(size as usize)
}

//! Ends for everything that is a byte stream behind a descriptor: pipes and sockets.
//!
//! Key decision: messages are framed by agreement on their size, so that a message is one write and one read where the
//! kernel takes it whole, and no header bytes travel. A descriptor *spins* by being non-blocking and asked again; it
//! *sleeps* by blocking in the call itself, not by a second call to poll(2).

use super::{Receiver, Sender};
use crate::plan::Wait;
use crate::sys::fd::{Ready, set_nonblocking, wait_ready};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

/// Waits between two tries of a non-blocking call.
#[inline(always)]
pub(super) fn pause(wait: Wait, tries: &mut u32, fd: &impl AsFd, what: Ready) -> io::Result<()> {
    match wait {
        // A blocking descriptor says WouldBlock only when a timeout was set on it, which nobody does.
        Wait::Block | Wait::Spin => std::hint::spin_loop(),
        Wait::Yield => std::thread::yield_now(),
        Wait::Hybrid(looks) if *tries < looks => {
            *tries += 1;
            std::hint::spin_loop();
        }
        Wait::Hybrid(_) => wait_ready(fd.as_fd(), what)?,
    }
    Ok(())
}

/// The sending end of a byte stream.
#[derive(Debug)]
pub struct ByteTx<W> {
    stream: W,
    wait: Wait,
    message: Box<[u8]>,
}

impl<W: Write + AsFd> ByteTx<W> {
    /// Sends messages of `size` bytes through `stream`.
    ///
    /// # Errors
    /// What fcntl(2) says when the descriptor is made non-blocking.
    pub fn new(stream: W, size: usize, wait: Wait) -> io::Result<Self> {
        set_nonblocking(&stream, wait != Wait::Block)?;
        Ok(Self { stream, wait, message: vec![0; size].into_boxed_slice() })
    }
}

impl<W: Write + AsFd + Send> Sender for ByteTx<W> {
    fn size(&self) -> usize {
        self.message.len()
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        fill(&mut self.message);
        let mut rest = &self.message[..];
        let mut tries = 0;
        loop {
            match self.stream.write(rest) {
                Ok(sent) if sent == rest.len() => return Ok(()),
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    pause(self.wait, &mut tries, &self.stream, Ready::Write)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The receiving end of a byte stream.
#[derive(Debug)]
pub struct ByteRx<R> {
    stream: R,
    wait: Wait,
    message: Box<[u8]>,
}

impl<R: Read + AsFd> ByteRx<R> {
    /// Receives messages of `size` bytes from `stream`.
    ///
    /// # Errors
    /// What fcntl(2) says when the descriptor is made non-blocking.
    pub fn new(stream: R, size: usize, wait: Wait) -> io::Result<Self> {
        set_nonblocking(&stream, wait != Wait::Block)?;
        Ok(Self { stream, wait, message: vec![0; size].into_boxed_slice() })
    }
}

impl<R: Read + AsFd + Send> Receiver for ByteRx<R> {
    #[inline(always)]
    fn recv_with<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        let mut filled = 0;
        let mut tries = 0;
        while filled < self.message.len() {
            match self.stream.read(&mut self.message[filled..]) {
                Ok(0) if filled == 0 => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(0) => {
                    let torn = format!("the sender left after {filled} of {} bytes of a message", self.message.len());
                    return Err(io::Error::new(ErrorKind::ConnectionAborted, torn));
                }
                Ok(got) => filled += got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    pause(self.wait, &mut tries, &self.stream, Ready::Read)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read(&self.message))
    }
}

/// What a separately started producer says first, so that the consumer knows what will come: a tag, a version and the
/// message size, 16 bytes, little-endian.
const HELLO: [u8; 8] = *b"ipcost\x00\x01";

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

//! A submission and a completion queue for one socket, with one operation under way at most. Source: io_uring(7),
//! io_uring_setup(2), io_uring_enter(2).
//!
//! Key decision: the queue owns the message, and no call of it returns before the operation has completed, so that the
//! kernel never holds an address that Rust may reuse.

use crate::plan::Wait;
use crate::shm::budget::Budget;
use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;
use rustix::io_uring::{IoringEnterFlags, io_uring_enter};
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::OnceLock;

/// How long a polling kernel thread looks for work before it sleeps, ms: the least that there is. Messages that follow each
/// other find it awake, and where CPUs are scarce it takes no more than this from the party that has to answer.
const POLLER_IDLE_MS: u32 = 1;

/// The polling kernel thread that several queues of one party share: the ring that made it.
pub type Poller = OnceLock<RawFd>;

/// Whether rings can be made here at all; makes a small one and lets go of it. Tells whether this kernel also gives a
/// polling thread to a program without privileges, which it does since Linux 5.13, as it has tags for resources.
///
/// # Errors
/// ENOSYS without io_uring, EPERM where it is forbidden, ENOMEM under a low limit of locked memory (before Linux 5.12).
pub fn trial() -> io::Result<bool> {
    IoUring::new(1).map(|ring| ring.params().is_feature_resource_tagging())
}

/// Entries of a submission queue: a poller may report the end of an operation before it gives its entry back.
const ENTRIES: u32 = 2;

/// See the [module](self).
pub struct Queue {
    ring: IoUring,
    /// Open for as long as its owner has this queue.
    socket: types::Fd,
    message: Box<[u8]>,
    wait: Wait,
    budget: Budget,
    /// A kernel thread takes what is submitted.
    polled: bool,
    /// Operations to hand over, where nobody polls for them: one or none.
    pending: u32,
    /// An operation was begun and its end was not seen: the kernel may still use the message.
    lost: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.message.len()).field("wait", &self.wait).finish_non_exhaustive()
    }
}

impl Queue {
    /// A queue for messages of `size` bytes over `socket`. Belongs to the thread that makes it. With a `poller` a kernel
    /// thread takes what is submitted, and the queues of one party share it.
    ///
    /// # Errors
    /// As [`trial`]; EPERM also for a poller before Linux 5.13.
    pub fn new(socket: impl AsFd, size: usize, wait: Wait, poller: Option<&Poller>) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        if let Some(poller) = poller {
            builder.setup_sqpoll(POLLER_IDLE_MS);
            if let Some(shared) = poller.get() {
                builder.setup_attach_wq(*shared);
            }
        }
        let ring = builder.build(ENTRIES)?;
        if let Some(poller) = poller {
            poller.get_or_init(|| ring.as_raw_fd());
        }
        let socket = types::Fd(socket.as_fd().as_raw_fd());
        let (message, budget) = (vec![0; size].into_boxed_slice(), Budget::default());
        let polled = poller.is_some();
        Ok(Self { ring, socket, message, wait, budget, polled, pending: 0, lost: false })
    }

    /// The message that is sent next, or was received last.
    #[inline(always)]
    pub fn message(&mut self) -> &mut [u8] {
        &mut self.message
    }

    /// Sends the message.
    ///
    /// # Errors
    /// What send(2) says.
    #[inline(always)]
    pub fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.message.len() {
            let rest = &self.message[sent..];
            let send = opcode::Send::new(self.socket, rest.as_ptr(), rest.len() as u32).flags(libc::MSG_WAITALL);
            match self.carry_out(send.build()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                went => sent += went?,
            }
        }
        Ok(())
    }

    /// Receives the message and returns how many bytes came: fewer than it has when the sender left.
    ///
    /// # Errors
    /// What recv(2) says.
    #[inline(always)]
    pub fn receive(&mut self) -> io::Result<usize> {
        let mut filled = 0;
        while filled < self.message.len() {
            let rest = &mut self.message[filled..];
            let receive = opcode::Recv::new(self.socket, rest.as_mut_ptr(), rest.len() as u32).flags(libc::MSG_WAITALL);
            match self.carry_out(receive.build()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => break,
                came => filled += came?,
            }
        }
        Ok(filled)
    }

    /// Submits one operation on the message and waits for its end.
    #[inline(always)]
    fn carry_out(&mut self, operation: squeue::Entry) -> io::Result<usize> {
        if self.lost {
            return Err(io::Error::other("the ring failed before"));
        }
        self.lost = true;
        // SAFETY: the operation's addresses lie in `message`, which stays in place until its end was seen: `lost` is up until
        // then, and a queue that is dropped meanwhile leaks it.
        let pushed = unsafe { self.ring.submission().push(&operation) };
        pushed.map_err(|_| io::Error::other("the submission queue is full"))?;
        self.pending = 1;
        // Without `block`, and a poller, what need not wait has ended by the time that it is handed over.
        self.enter(u32::from(self.wait == Wait::Block))?;
        let result = loop {
            if let Some(end) = self.ring.completion().next() {
                self.budget.met();
                break end.result();
            }
            if !self.budget.pauses(self.wait) {
                self.enter(1)?;
            }
        };
        self.lost = false;
        match result {
            0.. => Ok(result as usize),
            failed => Err(io::Error::from_raw_os_error(-failed)),
        }
    }

    /// Hands over what was submitted, and sleeps until `ends` operations have ended. A poller that is awake needs no call.
    ///
    /// Without a poller the call is made in place: the functions of the crate and of the C library around it each return once after it, and where it
    /// switched to another thread each of these returns is mispredicted.
    #[inline(always)]
    fn enter(&mut self, ends: u32) -> io::Result<()> {
        if self.polled {
            return match self.ring.submit_and_wait(ends as usize) {
                Err(error) if error.kind() != ErrorKind::Interrupted => Err(error),
                _ => Ok(()),
            };
        }
        let flags = if ends > 0 { IoringEnterFlags::GETEVENTS } else { IoringEnterFlags::empty() };
        // SAFETY: the descriptor is open for as long as `ring` is, and no flag announces an argument that is not there. What the
        // operation that is handed over needs is said where it was submitted.
        let entered = unsafe {
            let ring = BorrowedFd::borrow_raw(self.ring.as_raw_fd());
            io_uring_enter(ring, self.pending, ends, flags)
        };
        match entered {
            Ok(taken) => self.pending -= taken,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.lost {
            std::mem::forget(std::mem::take(&mut self.message));
        }
    }
}

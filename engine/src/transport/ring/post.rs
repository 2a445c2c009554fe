//! What an end in shared memory knows of where it is and who is at the other end.

use crate::shm::futex::Futex;
use crate::shm::nonsense::Nonsense;
use crate::shm::region::{Occupants, Region, View, occupants};
use crate::shm::ring::Stop;
use crate::shm::vigil::Vigil;
use crate::shm::wait::{Berth, Peer, Rouser};
use crate::sys::process;
use crate::transport::Role;
use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What both kinds of ends know about where they are.
#[derive(Debug)]
pub(in crate::transport) struct Post {
    pub(in crate::transport) region: Arc<Region>,
    pub(super) occupants: View<Occupants>,
    /// 0: producer (or side 0); 1: consumer (or side 1).
    me: usize,
    /// This process's id, once it took up its post: a wait between threads asks often, and the C library asks the kernel.
    my_pid: u32,
    /// The pages have been touched.
    ready: bool,
    /// The peer's process id, once it was seen: what is written over it afterwards is not looked at.
    peer: Cell<u32>,
    vigil: Option<Vigil>,
    /// The peer is another program, which chose its own wait.
    met: bool,
}

/// The party at the other end of a [`Post`].
#[derive(Debug)]
pub(in crate::transport) struct Watched<'a>(&'a Post);

impl Peer for Watched<'_> {
    #[cold]
    fn gone(&mut self) -> bool {
        self.0.peer_gone()
    }

    #[inline(always)]
    fn sleep(&mut self, berth: &dyn Berth, flag: &Futex) -> bool {
        Vigil::guard(self.0.vigil.as_ref(), |limit| berth.sleep(flag, limit))
    }
}

impl Post {
    pub(in crate::transport) fn new(region: &Arc<Region>, me: usize) -> Self {
        Self {
            region: Arc::clone(region),
            occupants: occupants(region),
            me,
            my_pid: 0,
            ready: false,
            peer: Cell::new(0),
            vigil: None,
            met: false,
        }
    }

    /// Touches every page, once, and leaves this process's id for the peer, who may write messages from then on.
    pub(in crate::transport) fn take_up(&mut self) {
        self.prepare();
        self.my_pid = std::process::id();
        self.occupants.pids[self.me].store(self.my_pid, Ordering::Release);
    }

    pub(super) fn prepare(&mut self) {
        if !std::mem::replace(&mut self.ready, true) {
            self.region.prefault();
        }
    }

    /// Process id of the party at the other end; 0 while it has not taken up its post. May be one that no process has.
    #[inline(always)]
    pub(in crate::transport) fn peer(&self) -> u32 {
        if self.peer.get() == 0 {
            self.peer.set(self.occupants.pids[1 - self.me].load(Ordering::Acquire));
        }
        self.peer.get()
    }

    /// The peer, as a side that waits for it sees it.
    #[inline(always)]
    pub(in crate::transport) fn watched(&self) -> Watched<'_> {
        Watched(self)
    }

    /// Says that the peer is another program.
    pub(super) fn met(mut self) -> Self {
        self.met = true;
        self
    }

    /// Has the peer watched from now on, for an end that `rouser` wakes. An end that never sleeps has none, and needs no watch; nor
    /// does one without a thread for it, whose sleeps keep their limit. Nor is another program watched: one that never sleeps
    /// never rings either, and its peer, which may, has to look for itself.
    pub(in crate::transport) fn keep_vigil(&mut self, rouser: Option<Rouser>) {
        let rouser = rouser.filter(|_| !self.met);
        self.vigil = rouser.and_then(|rouser| Vigil::over(self.occupants.peer_of(self.me), rouser).ok());
    }

    /// Whether the process at the other end has ended. Slow: it asks the kernel. A peer that has not taken up its post
    /// is not gone, and a thread of our own process ends only together with us or by closing its end.
    pub(in crate::transport) fn peer_gone(&self) -> bool {
        process::peer_is_gone(self.peer(), self.my_pid)
    }

    /// What the stopped protocol of an end at this post means, given the word that the end found impossible, if one.
    #[cold]
    pub(in crate::transport) fn stopped(&self, stop: Stop, role: Role, nonsense: Option<Nonsense>) -> io::Error {
        // "Gone" may rest on a process id that cannot be.
        match nonsense.filter(|_| stop == Stop::Corrupt).or_else(|| self.impossible()) {
            Some(nonsense) => nonsense.into(),
            None => stopped(stop, role),
        }
    }

    fn impossible(&self) -> Option<Nonsense> {
        let word = if self.me == 0 { "the consumer's process id" } else { "the producer's process id" };
        Nonsense::unless_within(word, u64::from(self.peer()), 0, u64::from(process::LARGEST_ID))
    }
}

/// What a stopped protocol means to a sender or a receiver.
#[cold]
pub(in crate::transport) fn stopped(stop: Stop, role: Role) -> io::Error {
    match (stop, role) {
        (Stop::Gone, Role::Producer) => ErrorKind::BrokenPipe.into(),
        (Stop::Gone, Role::Consumer) => ErrorKind::UnexpectedEof.into(),
        (Stop::Died, _) => io::Error::new(ErrorKind::ConnectionReset, "the peer died while it held the lock"),
        (Stop::Corrupt, _) => io::Error::new(ErrorKind::InvalidData, "the shared header holds an impossible value"),
    }
}

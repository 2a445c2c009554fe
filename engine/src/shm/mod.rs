//! Lock-free layouts in memory that two parties share. No system calls but the futex, no files, no names.
//!
//! # What is assumed of the peer
//! The peer *cooperates*: it runs this code, so it writes a slot only inside the window in which the protocol makes
//! the slot its own. Under that assumption the slices handed to closures are exclusive and Rust's rules hold. A peer
//! that *crashes* is survivable: indices are private to their owner, and what is read from the other side's index is
//! bounded before it is used, so a scribbled header gives an error, never an access out of range. It gives no endless wait
//! either: a side that waits looks now and then whether the words that it alone writes still hold what it wrote. Both end
//! with [`Stop::Corrupt`](ring::Stop), and the end says which word it was ([`nonsense`]). A *hostile* peer
//! that rewrites a payload while it is being read can make the reader see any bytes; that is a data race which no
//! layout can exclude, and `docs/METHOD.md` says so.
//!
//! # Layout of the module
//! - [`sync`]: real or model-checked atomics
//! - [`futex`], [`wait`]: sleeping and waking without losing a wake-up
//! - [`vigil`]: noticing that a peer died while its survivor sleeps without a limit
//! - [`budget`]: how long a hybrid wait looks before it sleeps
//! - [`pace`]: how far apart the looks of a spinning wait are
//! - [`ring`]: single-producer single-consumer indices, without memory
//! - `exchange`: a ring of places in which two threads swap values
//! - [`nonsense`]: what is said of a word that cannot be
//! - [`slot`]: a mailbox that both sides write in turn, without memory
//! - `region`: the memory itself; everything that turns an index into a slice
//! - `bounded`: the textbook's buffer under semaphores or a mutex
//! - `seats`: words and futexes of the parties of an experiment
//! - `ledger`: the page in which two parties of a run keep their books
//! - `muster`: what more than two parties share besides a ledger each
//! - `buffer`: memory for one message on the heap
//! - `pool`: buffers that change hands
//! - `board`, `lock`: what the workers of an experiment share
//! - `stamps`: when each message of an open-loop window was there
//! - `scribble`: the words of the headers, for tests that damage them
//! - `tally`: any number of counters that an experiment's workers share

#![allow(unsafe_code)]

#[cfg(not(loom))]
pub mod board;
#[cfg(not(loom))]
pub mod bounded;
pub mod budget;
#[cfg(not(loom))]
pub mod buffer;
#[cfg(not(loom))]
pub mod exchange;
pub mod futex;
#[cfg(not(loom))]
pub mod ledger;
#[cfg(not(loom))]
pub mod lock;
#[cfg(not(loom))]
pub mod muster;
pub mod nonsense;
pub mod pace;
#[cfg(not(loom))]
pub mod pool;
#[cfg(not(loom))]
pub mod region;
pub mod ring;
#[cfg(not(loom))]
pub mod scratch;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod scribble;
#[cfg(not(loom))]
pub mod seats;
pub mod slot;
#[cfg(not(loom))]
pub mod stamps;
pub mod sync;
#[cfg(not(loom))]
pub mod tally;
pub mod vigil;
pub mod wait;

/// Bytes of a cache line: of every x86-64 processor, and of most arm64 ones.
pub const LINE: usize = 64;

/// A value in cache lines of its own. 128 bytes, because x86 fetches lines in pairs and some arm64 lines are that long.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct Line<T>(pub T);

//! What **ipcost** times, and how: every mechanism of inter-process communication on Linux behind one trait, one timing
//! loop, and one run from a plan to an outcome.
//!
//! Key decision: *a crate of its own, compiled as one piece*. A timing loop and the mechanism in it, queues of other crates
//! among them, then lie before the compiler whole, as they would in a program that does nothing else; in pieces, the calls
//! between them stayed calls (up to 1.2 times the time of a message between threads). What merely asks, judges and prints
//! is the crate [`ipcost`](https://docs.rs/ipcost), which compiles beside this one, and through which everything here is
//! meant to be used: it re-exports these modules. Rejected: one crate in one piece (twice the time to build); a crate for
//! each mechanism (the loops would be compiled as often).
//!
//! # Layout
//! - [`plan`]: what one run is: the words of a row's label, as types
//! - [`transport`]: the [`Transport`](transport::Transport) trait, one file per mechanism, and the one list
//! - [`shm`]: lock-free layouts without system calls (ring, slot, wait protocol), model-checked
//! - [`workload`]: the timed loops and the payload that they write and verify
//! - [`cell`], [`conduct`]: one run, and which windows it has
//! - [`party`], [`session`], [`role`]: who runs the other end, and how both stay in step
//! - [`measure`]: histogram, floors, the machine's limits, statistics over runs
//! - [`audit`]: whether to believe a run
//! - [`heap`]: where on the heap of a run things lie, by chance
//! - [`machine`]: CPUs, caches, control group, and whether they changed
//! - [`sys`]: the only place that talks to the kernel beyond `std`
//! - [`names`]: whose a name outside the process is, and that none stays
//! - [`error`], [`lines`]: what failed, in which phase, why, and what to try; where a file is wrong
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(not(loom))]
pub mod audit;
#[cfg(not(loom))]
pub mod cell;
#[cfg(not(loom))]
pub mod conduct;
pub mod error;
#[cfg(not(loom))]
pub mod heap;
#[cfg(not(loom))]
pub mod lines;
#[cfg(not(loom))]
pub mod machine;
#[cfg(not(loom))]
pub mod measure;
#[cfg(not(loom))]
pub mod names;
#[cfg(not(loom))]
pub mod party;
#[cfg(not(loom))]
pub mod plan;
#[cfg(not(loom))]
pub mod role;
#[cfg(not(loom))]
pub mod session;
pub mod shm;
#[cfg(not(loom))]
pub mod sys;
#[cfg(not(loom))]
pub mod transport;
#[cfg(not(loom))]
pub mod workload;

pub use error::{Error, Result};

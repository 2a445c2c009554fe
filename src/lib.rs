//! **ipcost** compares inter-process communication on Linux: the same producer/consumer workload over every mechanism,
//! between processes and between threads, each number beside its physical floor.
//!
//! # Layout
//! One breath: [`plan`] says what one run is; [`campaign`] decides in which order and how often, launches each run as a
//! fresh process and writes its outcome to a journal; [`cell`] is that run; [`audit`] says whether to believe it;
//! [`report`] turns a journal into tables and measures nothing. One thing flows back: [`report::headline`] names the rows
//! that a full campaign looks at longer.
//!
//! - [`transport`]: the [`Transport`](transport::Transport) trait, one file per mechanism, and the one list
//! - [`shm`]: lock-free layouts without system calls (ring, slot, wait protocol), model-checked
//! - [`sys`]: the only place that talks to the kernel beyond `std`
//! - [`party`], [`session`]: who runs the other end, and how both stay in step
//! - [`workload`]: the timed loops and the payload that they write and verify
//! - [`lines`]: files of JSON that people keep, and where they are wrong
//! - [`check`]: the instrument checks itself, with planted faults and known answers
//! - [`faults`]: what each mechanism does when its peer dies, held against what it states
//! - [`measure`]: histogram, floors, the machine's limits, statistics over runs
//! - [`host`]: the environment record, and whether the machine changed under a run
//!
//! # Timing model
//! A run's *batch* window lies between two readings of `CLOCK_MONOTONIC` and yields the mean; its *stamped* window reads
//! the clock around every round trip and yields the percentiles. A ping-pong's clock stops when the leader has verified
//! the last reply; a stream's when the *consumer* has verified the last message. Intervals go over runs, never over
//! messages. An offered load is timed from when each message was *due*, so that waiting to be sent counts.
//! `docs/METHOD.md` has the whole contract.
//!
//! # Example
//! A ping-pong between two threads, through the same code that the command line uses:
//! ```
//! use ipcost::{conduct::Measure, plan::*, transport};
//!
//! let plan = Plan {
//!     mechanism: "heap-ring".into(),
//!     parties: Parties::Thread,
//!     placement: Placement::Unpinned,
//!     span: Span::Messages(1000),
//!     ..Plan::default()
//! };
//! let outcome = transport::find("heap-ring")?.run(&plan, &mut Measure)?;
//! assert_eq!(outcome.verified.unwrap().messages, 1000);
//! # Ok::<(), ipcost::Error>(())
//! ```
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(not(loom))]
pub mod audit;
#[cfg(not(loom))]
pub mod campaign;
#[cfg(not(loom))]
pub mod cell;
#[cfg(not(loom))]
pub mod check;
#[cfg(not(loom))]
pub mod claim;
#[cfg(not(loom))]
pub mod cli;
/// Under the model checker only [`shm`] exists, but cargo builds the binaries for every integration test: they fail.
#[cfg(loom)]
pub mod cli {
    use std::process::ExitCode;
    /// Fails.
    pub fn mechanism(_: &str) -> ExitCode {
        ExitCode::FAILURE
    }
    /// Fails.
    pub fn comparer() -> ExitCode {
        ExitCode::FAILURE
    }
}
#[cfg(not(loom))]
pub mod conduct;
pub mod error;
#[cfg(not(loom))]
pub mod faults;
#[cfg(not(loom))]
pub mod host;
#[cfg(not(loom))]
pub mod lines;
#[cfg(not(loom))]
pub mod measure;
#[cfg(not(loom))]
pub mod names;
#[cfg(not(loom))]
pub mod party;
#[cfg(not(loom))]
pub mod plan;
#[cfg(not(loom))]
pub mod report;
#[cfg(not(loom))]
pub mod results;
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
#[doc(hidden)]
pub mod trial;
#[cfg(not(loom))]
pub mod workload;

pub use error::{Error, Result};

/// Version and source revision, as every program prints them; a packaged crate knows the revision that it was packaged
/// from, and a build outside a checkout knows none.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("IPCOST_GIT"), ")");

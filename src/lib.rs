//! **ipcost** compares inter-process communication on Linux: the same producer/consumer workload over every mechanism,
//! between processes and between threads, each number beside its physical floor.
//!
//! # A run
//! A ping-pong between two threads, through the same code as every row of a table:
//! ```
//! use ipcost::{conduct, plan::*, transport};
//!
//! let usual = transport::find("heap-ring")?.spec().plan();
//! let plan = Plan { placement: Placement::Unpinned, span: Span::Messages(1000), ..usual };
//! let run = conduct::measure(&plan)?;
//!
//! assert_eq!(run.verified.map(|seen| (seen.messages, seen.bytes)), Some((1000, 64_000)));
//! let round_trip_ns = run.elapsed_ns as f64 / run.messages as f64;
//! assert!(round_trip_ns > 0.0 && run.rtt_ns.is_some_and(|rtt| rtt.mean == round_trip_ns));
//! # Ok::<(), ipcost::Error>(())
//! ```
//! That is one launch, which ranks nothing. `examples/run_cell.rs` does it between processes and prints the floor beside it,
//! `examples/read_journal.rs` reads a results folder, `examples/add_transport.rs` is a transport of its own.
//!
//! # Flow
//! ```text
//!  cli ──► campaign ── a plan, as JSON ──► a fresh process:
//!              │                             cell    admits the plan, makes the transport, starts the peer
//!              │                             conduct orders windows: warm-up, floor, batch, stamped, floor
//!              │                             session keeps both parties in step   party   forks, or starts a thread
//!              │                             workload moves messages through the two ends of a transport
//!              │                             audit   says whether to believe what came out
//!              │ ◄── an outcome, as JSON ────┘
//!              ▼
//!  cells.jsonl, a line per run  ──►  report: rows, ranks, tables; the same bytes whenever it is asked
//! ```
//! One thing flows back: [`report::headline`] names the rows that a full campaign looks at longer.
//!
//! # Layout
//! What is measured:
//! - [`plan`]: what one run is: the words of a row's label, as types
//! - [`transport`]: the [`Transport`](transport::Transport) trait, one file per mechanism, and the one list
//! - [`shm`]: lock-free layouts without system calls (ring, slot, wait protocol), model-checked
//! - [`workload`]: the timed loops and the payload that they write and verify
//!
//! How one run comes about:
//! - [`cell`]: that run, from a plan to an [`Outcome`](cell::Outcome)
//! - [`conduct`]: which windows it has
//! - [`party`], [`session`]: who runs the other end, and how both stay in step
//! - [`role`]: one end, for two programs that a person starts
//! - [`measure`]: histogram, floors, the machine's limits, statistics over runs
//! - [`audit`]: whether to believe it
//!
//! How many runs make a result:
//! - [`campaign`]: which cells, in which order, how often; each a fresh process; the journal
//! - [`report`]: from the journal to rows with intervals; it measures nothing
//! - [`results`], [`lines`]: files that people keep, and where they are wrong
//! - [`host`], [`machine`]: the environment record, and whether the machine changed under a run
//!
//! Experiments of their own:
//! - [`check`]: the instrument checks itself, with planted faults and known answers
//! - [`faults`]: what each mechanism does when its peer dies, held against what it states
//! - [`claim`]: sentences of textbooks, each with an experiment and a verdict
//!
//! Below all of it:
//! - [`sys`]: the only place that talks to the kernel beyond `std`
//! - [`names`]: whose a name outside the process is, and that none stays
//! - [`error`]: what failed, in which phase, why, and what to try; [`cli`]: arguments and exit codes
//!
//! # Timing model
//! A run's *batch* window lies between two readings of `CLOCK_MONOTONIC` and yields the mean; its *stamped* window reads
//! the clock around every round trip and yields the percentiles. A ping-pong's clock stops when the leader has verified
//! the last reply; a stream's when the *consumer* has verified the last message. Intervals go over runs, never over
//! messages. An offered load is timed from when each message was *due*, so that waiting to be sent counts.
//! `docs/METHOD.md` has the whole contract, `docs/DATA.md` every field that is written.
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod campaign;
pub mod check;
pub mod claim;
pub mod cli;
pub mod faults;
pub mod host;
pub mod report;
pub mod results;
#[doc(hidden)]
pub mod trial;

#[doc(inline)]
pub use ipcost_engine::{
    audit, cell, conduct, error, heap, lines, machine, measure, names, party, plan, role, session, shm, sys, transport,
    workload,
};

pub use error::{Error, Result};

/// Version and source revision, as every program prints them; a packaged crate knows the revision that it was packaged
/// from, and a build outside a checkout knows none.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("IPCOST_GIT"), ")");

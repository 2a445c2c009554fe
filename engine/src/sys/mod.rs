//! The only place that talks to the kernel beyond `std`; one file per family of calls.
//!
//! Key decision: order of choice std, nix, rustix, libc. The wrappers return `std::io::Error` and owned descriptors, and
//! nothing outside this folder and [`crate::shm`] needs `unsafe`.

#![allow(unsafe_code)]

pub mod clock;
pub mod cpu;
pub mod create;
pub mod event;
pub mod fd;
pub mod harm;
pub mod lock;
pub mod map;
pub mod memory;
pub mod mqueue;
pub mod net;
pub mod notify;
pub mod process;
pub mod robust;
pub mod rouse;
#[cfg(feature = "iceoryx2")]
pub mod sample;
pub mod socket;
pub mod splice;
pub mod stat;
pub mod sync;
pub mod sysv;
pub mod thread;
pub mod trace;
pub mod trust;
pub mod uring;
pub mod usage;
pub mod vector;

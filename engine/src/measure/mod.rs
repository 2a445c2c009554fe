//! Numbers: histograms, statistics over runs, and the physical floors. The clock itself is [`crate::sys::clock`].

pub mod floor;
mod histogram;
pub mod limits;
pub mod load;
pub mod shift;
pub mod stats;

pub use histogram::{Histogram, Merged};

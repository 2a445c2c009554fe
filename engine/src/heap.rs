//! Where on the heap things lie, by chance.
//!
//! Key decision: a process that measures leaves blocks of random sizes on its heap, before anything else and before each channel
//! of another crate, which both parties write. What lies in which cache line is otherwise decided by what was
//! allocated before, and so by the length of the program's path: one and the same `flume`, whose lock and queue are in one
//! line or in two, took 1.4 times as long when it was called by a path of another length (64 bytes, spinning, [1.2, 1.6],
//! n 6). Fresh launches alone do not average that out, as they move whole pages. With this they do, and the interval over
//! them has its share of it.
//!
//! Rejected: everything in lines of its own (programs that use these crates do not have that, and those that allocate for each
//! message would be compared with another allocator); one layout for all launches (luck for whoever has a good one); one
//! block, which moves what comes after it but not what comes to lie in a place that was freed. Source: Mytkowicz, Diwan,
//! Hauswirth and Sweeney, "Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS 2009; Curtsinger and
//! Berger, "Stabilizer", ASPLOS 2013.

use std::sync::{Mutex, PoisonError};

/// Steps of the allocator: it does not tell apart addresses that differ by fewer bytes.
const STEP: usize = 16;
/// Blocks, and the largest of them in steps.
const BLOCKS: usize = 32;
const LARGEST: usize = 64;

/// The blocks, for as long as the process lives: whoever looks for leaks finds them here.
static KEPT: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Takes blocks of random sizes, 16 KiB together, and never gives them back.
pub fn scatter() {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.extend((0..BLOCKS).map(|_| Vec::with_capacity(STEP * fastrand::usize(1..=LARGEST))));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Not where the next structure lies, which is the allocator's business: one that serves a size from places of its own
    /// does not move it.
    #[test]
    fn blocks_of_many_sizes_stay_between_what_is_allocated() {
        let held = || KEPT.lock().unwrap().len();
        let before = held();
        scatter();
        scatter();
        assert!(held() >= before + 2 * BLOCKS);
        let kept = KEPT.lock().unwrap();
        let sizes: BTreeSet<_> = kept.iter().map(Vec::capacity).collect();
        assert!(sizes.len() > 8 && sizes.iter().all(|size| (STEP..=2 * STEP * LARGEST).contains(size)), "{sizes:?}");
    }
}

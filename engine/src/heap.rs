//! Where on the heap things lie, by chance.
//!
//! Key decision: a process that measures leaves blocks of random sizes on its heap, before anything else and before each
//! structure of another crate that both parties write. What lies in which cache line is otherwise decided by what was
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

use std::hint::black_box;

/// Steps of the allocator: it does not tell apart addresses that differ by fewer bytes.
const STEP: usize = 16;
/// Blocks, and the largest of them in steps.
const BLOCKS: usize = 32;
const LARGEST: usize = 64;

/// Takes blocks of random sizes, 16 KiB together, and never gives them back.
pub fn scatter() {
    for _ in 0..BLOCKS {
        let bytes = STEP * fastrand::usize(1..=LARGEST);
        // Nothing is written there, but the compiler does not know that nobody looks.
        std::mem::forget(black_box(Vec::<u8>::with_capacity(bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_is_allocated_afterwards_begins_anywhere_in_a_line() {
        let places: BTreeSet<_> = (0..200)
            .map(|_| {
                scatter();
                Box::into_raw(Box::new([0_u8; 200])).addr() % 64
            })
            .collect();
        assert!(places.len() > 1, "{places:?}");
    }
}

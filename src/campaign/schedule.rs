//! In which order: randomised complete blocks.
//!
//! Key decision: each round runs every cell once, in an order drawn anew from the seed and the round's number. A machine
//! that grows slower over a minute then slows every row alike, and a pair within one round saw the same machine.
//! Rejected: one cell at a time until done (drift becomes a difference between mechanisms); a fixed order (each cell always
//! runs after the same neighbour). Source: Fisher, The Design of Experiments; Kalibera & Jones, ISMM 2013.

/// The order of one round: a permutation of `0..cells`, a pure function of seed and round.
pub fn order(seed: u64, round: u32, cells: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..cells).collect();
    // Distinct rounds must not share a stream; an odd multiplier keeps them apart.
    let mut rng = fastrand::Rng::with_seed(seed ^ u64::from(round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    rng.shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_round_runs_every_cell_once() {
        for round in 0..10 {
            let order = order(42, round, 57);
            assert_eq!(order.iter().collect::<HashSet<_>>().len(), 57);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_order_and_rounds_differ() {
        assert_eq!(order(7, 3, 50), order(7, 3, 50));
        assert_ne!(order(7, 3, 50), order(7, 4, 50));
        assert_ne!(order(7, 3, 50), order(8, 3, 50));
    }
}

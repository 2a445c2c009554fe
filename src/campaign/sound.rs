//! Whether the description of a campaign, and the lines of a journal together, can be what this program wrote.
//!
//! Key decision: as of a line alone, of which [`cell::sound`](crate::cell::sound) says it: only what would make a table wrong
//! without a word is looked at. Here that is a position which is there twice.

use super::journal::Campaign;
use crate::cell::sound::{odd, several, size};
use std::collections::{HashMap, HashSet};

/// What a campaign cannot be.
pub fn impossible(campaign: &Campaign) -> Option<String> {
    let rounds = campaign.terms.map_or(0, |terms| terms.most_rounds).max(campaign.rounds);
    let launches = u64::from(rounds) * campaign.cells.len() as u64;
    if launches > u64::from(u32::MAX) {
        return Some(odd(
            "rounds",
            rounds,
            &format!("and {} cells are not run {launches} times", campaign.cells.len()),
        ));
    }
    let mut keys = HashSet::new();
    campaign.cells.iter().enumerate().find_map(|(index, plan)| {
        let wrong = size(plan.size).or_else(|| several(plan.several));
        let twice = || (!keys.insert(plan.cell_key())).then(|| "the same cell stands before it".into());
        wrong.or_else(twice).map(|why: String| format!("cell {index} of field \"cells\": {why}"))
    })
}

/// Positions in the campaign, each of which one run has.
#[derive(Debug, Default)]
pub struct Positions(HashMap<u32, usize>);

impl Positions {
    /// Takes the position of line `number`; what is wrong where an earlier line has it.
    pub fn take(&mut self, order: u32, number: usize) -> Option<String> {
        let before = self.0.insert(order, number)?;
        Some(odd("run.order", order, &format!("as in line {before}: one of the two was copied")))
    }
}

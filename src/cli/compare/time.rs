//! How long a campaign takes: the length of a run that fits a budget, and budgets that hold none.

use super::super::remark;
use crate::campaign::runner::FEWEST_ROUNDS;
use crate::error::{Error, Result};
use crate::plan::Span;

/// Shortest and longest run that a campaign plans, and what launching one and its last floor cost besides, ms.
const SHORTEST_MS: u64 = 60;
const LONGEST_MS: u64 = 2000;
const LAUNCH_MS: u64 = 30;

/// The least that a campaign of so many cells takes, in ms.
pub(super) fn least_ms(cells: usize, rounds: u32) -> u64 {
    cells as u64 * u64::from(rounds.min(FEWEST_ROUNDS)) * (SHORTEST_MS + LAUNCH_MS)
}

/// The length of a run that makes the complete blocks fit their time.
pub(super) fn run_span(total_ms: u64, cells: usize, rounds: u32) -> Span {
    let each = total_ms / (cells as u64 * u64::from(rounds)).max(1);
    Span::Millis(each.saturating_sub(LAUNCH_MS).clamp(SHORTEST_MS, LONGEST_MS))
}

/// Refuses a budget that was asked for and that the fewest rounds would overrun to twice its length.
pub(super) fn require_time(asked: Option<u64>, budget_ms: u64, cells: usize, rounds: u32) -> Result<()> {
    let fewest = rounds.min(FEWEST_ROUNDS);
    let least = least_ms(cells, rounds);
    let about = least.div_ceil(1000);
    if asked.is_some() && least > 2 * budget_ms {
        return Err(Error::usage(format!(
            "{fewest} rounds of {cells} cells take about {about} s, more than the budget"
        ))
        .hint(format!("use --budget {about}s, or fewer cells (--mechanism, --workload, --size, --wait)")));
    }
    if least > budget_ms {
        remark(&format!("{fewest} rounds of {cells} cells take about {about} s, a little more than the budget"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_that_cannot_be_kept_is_refused_with_the_one_that_can() {
        assert!(require_time(Some(70_000), 70_000, 81, 6).is_ok());
        let refused = require_time(Some(10_000), 10_000, 81, 20).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("--budget 44s"), "{refused}");
        assert!(require_time(None, 10_000, 81, 20).is_ok(), "nobody asked for that budget");
    }
}

//! The orders that a leader gives, as the ledger carries them.

use crate::measure::floor;

pub(super) const MESSAGES: u32 = 1;
pub(super) const FLOOR_LINE: u32 = 2;
pub(super) const FLOOR_LINES: u32 = 3;
pub(super) const FLOOR_YIELD: u32 = 4;
pub(super) const FLOOR_FUTEX: u32 = 5;
/// As [`MESSAGES`], in a window that yields percentiles: a planted stall goes here.
pub(super) const STAMPED: u32 = 6;
pub(super) const OFFER: u32 = 7;
/// As [`OFFER`], to find the saturation: without the stall.
pub(super) const FLOOD: u32 = 8;

/// The order for such a probe.
pub(super) fn command_of(kind: floor::Kind) -> u32 {
    match kind {
        floor::Kind::Line => FLOOR_LINE,
        floor::Kind::Lines => FLOOR_LINES,
        floor::Kind::Yield => FLOOR_YIELD,
        floor::Kind::Futex => FLOOR_FUTEX,
    }
}

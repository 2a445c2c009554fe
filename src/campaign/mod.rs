//! Which cells, in which order, how often, watched by whom.
//!
//! - [`launch`]: one fresh launch of one cell
//! - [`matrix`]: which cells
//! - [`schedule`]: randomised complete blocks
//! - [`journal`]: a line per run, written before the next one starts
//! - [`runner`]: the loop over all of it
//! - [`sound`]: whether a line can be what a run wrote
//! - [`surroundings`]: what others, and the harness itself, took while a run was under way
//! - [`trace`]: one untimed launch under a system-call tracer

pub mod journal;
pub mod launch;
pub mod matrix;
pub mod runner;
pub mod schedule;
pub mod sound;
pub mod surroundings;
pub mod trace;

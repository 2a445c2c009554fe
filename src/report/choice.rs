//! Which classes and rows of a results folder somebody asked for.
//!
//! Key decision: a choice narrows what is *shown*. Ranks, noise and drift stay those of the whole folder, because a class
//! with fewer rows in it would be ranked anew, and the same row would have two ranks on two screens.

use super::rows::{Class, Row};
use crate::plan::{Parties, Placement, Wait, Workload};

/// What was asked for; an empty list asks for everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// Workloads.
    pub workloads: Vec<Workload>,
    /// Bytes per message.
    pub sizes: Vec<usize>,
    /// Waits.
    pub waits: Vec<Wait>,
    /// Placements.
    pub placements: Vec<Placement>,
    /// Names.
    pub mechanisms: Vec<String>,
    /// Processes, threads.
    pub parties: Vec<Parties>,
}

/// Whether a list asks for this.
fn asks<T: PartialEq>(list: &[T], item: &T) -> bool {
    list.is_empty() || list.contains(item)
}

impl Choice {
    /// Whether the class was asked for.
    pub fn class(&self, class: &Class) -> bool {
        asks(&self.workloads, &class.workload)
            && asks(&self.sizes, &class.size)
            && asks(&self.waits, &class.wait)
            && asks(&self.placements, &class.placement)
    }

    /// Whether the row was, its class included.
    pub fn row(&self, row: &Row) -> bool {
        self.class(&row.class) && asks(&self.mechanisms, &row.mechanism) && asks(&self.parties, &row.parties)
    }

    /// Whether it asks for everything.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::rows::{Gathered, Which};
    use crate::report::summary::tests::run;

    #[test]
    fn an_empty_list_asks_for_everything_and_each_list_for_its_own() {
        let gathered: Gathered = [run("pipe", Parties::Process, 0, 1.0, None)].into_iter().collect();
        let row = gathered.rows(Which::All).next().unwrap();
        let none = Choice::default();
        assert!(none.row(&row) && none.is_everything());
        for (yes, no) in [
            (Choice { sizes: vec![1, 64], ..none.clone() }, Choice { sizes: vec![65], ..none.clone() }),
            (
                Choice { mechanisms: vec!["pipe".into()], ..none.clone() },
                Choice { mechanisms: vec!["tcp".into()], ..none.clone() },
            ),
            (
                Choice { workloads: vec![Workload::PingPong], ..none.clone() },
                Choice { workloads: vec![Workload::Stream], ..none.clone() },
            ),
            (Choice { waits: vec![Wait::Block], ..none.clone() }, Choice { waits: vec![Wait::Spin], ..none.clone() }),
            (
                Choice { placements: vec![Placement::CrossCpu], ..none.clone() },
                Choice { placements: vec![Placement::SameCpu], ..none.clone() },
            ),
            (
                Choice { parties: vec![Parties::Process], ..none.clone() },
                Choice { parties: vec![Parties::Thread], ..none.clone() },
            ),
        ] {
            assert!(yes.row(&row) && !no.row(&row), "{yes:?} {no:?}");
        }
    }
}

//! What a campaign lacks for a section, and what it has in its place.
//!
//! Key decision: a section without data says which kind of data it needs and which kinds the campaign has, so that nobody
//! who offered loads reads that too few mechanisms ran.

use crate::plan::Workload;
use crate::report::Report;
use crate::report::rows::{Class, Row};
use crate::report::text::enumerate;

/// The runs of a class, in the plural.
pub fn kind(class: &Class) -> &'static str {
    match class.workload {
        Workload::PingPong if class.several.outstanding.is_some() => "round trips of several requests under way",
        Workload::PingPong => "plain round trips",
        Workload::Stream => "streams",
        Workload::OfferedLoad => "offered loads",
        Workload::FanIn => "fan-ins",
        Workload::FanOut => "fan-outs",
        Workload::Pairs => "pairs",
        Workload::Broadcast => "broadcasts",
    }
}

/// That the campaign has other kinds of runs, and not this one.
pub fn without(report: &Report, missing: &str) -> String {
    let mut kinds: Vec<&str> = report.all.groups.iter().map(|group| kind(&group.class)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    match kinds.is_empty() {
        true => format!("This campaign has no run yet, hence no {missing}."),
        false => format!("This campaign has {}, and no {missing}.", enumerate(&kinds)),
    }
}

/// The rows of mechanisms that have a result, in the classes that are meant.
pub fn rows(report: &Report, is: impl Fn(&Class) -> bool) -> Vec<&Row> {
    let groups = report.all.groups.iter().filter(|group| is(&group.class));
    groups.flat_map(|group| &group.rows).filter(|row| row.time.is_some() && !row.is_control()).collect()
}

//! Who carried which rate: the answer of a campaign that has nothing but offered loads.
//!
//! Key decision: rates, which are what such rows are ranked by, and no latencies: those are of all launches together and
//! have no interval, so none of them may win.

use super::answer::{listed, manner};
use crate::plan::{Parties, show_size};
use crate::report::rows::Row;
use crate::report::summary::Group;
use crate::report::text::per_second;
use std::collections::BTreeMap;

/// The highest rate that was offered in a manner, and the highest that each mechanism carried.
#[derive(Default)]
struct Manner<'a> {
    offered: u64,
    carried: BTreeMap<&'a str, Option<u64>>,
}

/// Of the classes of one size: how far each mechanism got between processes; nothing where there is none.
pub fn sentence(groups: &[&Group]) -> Option<String> {
    let mut manners: Vec<(String, Manner)> = vec![];
    for group in groups {
        let Some(rate) = group.class.rate() else { continue };
        let words = manner(group);
        let index = manners.iter().position(|(other, _)| *other == words).unwrap_or_else(|| {
            manners.push((words, Manner::default()));
            manners.len() - 1
        });
        let known = &mut manners[index].1;
        known.offered = known.offered.max(rate);
        let processes = |row: &&Row| row.parties == Parties::Process && !row.is_control() && row.time.is_some();
        for row in group.rows.iter().filter(processes) {
            let most = known.carried.entry(&row.mechanism).or_default();
            *most = (*most).max(row.reached().then_some(rate));
        }
    }
    manners.retain(|(_, manner)| !manner.carried.is_empty());
    let clauses: Vec<String> = manners.iter().map(|(words, manner)| clause(words, manner)).collect();
    let size = show_size(groups.first()?.class.size);
    (!clauses.is_empty()).then(|| format!("Load of {size} between processes: {}.", clauses.join("; ")))
}

fn clause(words: &str, manner: &Manner) -> String {
    let rate = |rate: u64| per_second(rate as f64);
    let (offered, all) = (manner.offered, manner.carried.len());
    let short: Vec<(&str, Option<u64>)> =
        manner.carried.iter().map(|(name, most)| (*name, *most)).filter(|(_, most)| *most != Some(offered)).collect();
    let far = |most: Option<u64>| most.map_or("none".into(), |most| format!("up to {}", rate(most)));
    let names: Vec<String> = short.iter().map(|(name, most)| format!("{name} {}", far(*most))).collect();
    let names = listed(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let highest = format!("{}, the highest rate offered", rate(offered));
    match (all - short.len(), all) {
        (1, 1) => format!("{words}, {} carried {highest}", manner.carried.keys().next().unwrap_or(&"")),
        (0, _) if short.iter().all(|(_, most)| most.is_none()) => {
            format!("{words}, nothing carried any rate that was offered")
        }
        (0, _) => format!("{words}, nothing carried {highest} ({names})"),
        (most, _) if most == all => format!("{words}, all {all} carried {highest}"),
        (some, _) => format!("{words}, {some} of {all} carried {highest} (the others: {names})"),
    }
}

//! What differs around two results folders: machine, kernel, settings, build, length of the runs, and floors.
//!
//! Key decision: every fact of the environment record is compared by its text, and only what differs is shown, because a
//! cause that nobody thought of is exactly the one that must not be left out. Facts that change by themselves from one
//! minute to the next (load, pressure, free memory, the time) say nothing and are excepted by name.

use super::Side;
use crate::campaign::journal::Campaign;
use crate::host::Host;
use crate::measure::limits::{Limits, Probe, Unit};
use crate::plan::Span;
use crate::report::text::{bytes_per_s, nanos};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Facts that no two records have in common.
const MOODS: &[&str] = &[
    "/dev/shm free, bytes",
    "load",
    "memory available",
    "pages swapped in so far",
    "pressure, cpu",
    "pressure, io",
    "pressure, memory",
    "steal ticks so far",
    "swap used",
];

/// One thing that differs; a side without it has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differing {
    /// What it is.
    pub what: String,
    /// In the first folder.
    pub a: Option<String>,
    /// In the second.
    pub b: Option<String>,
}

/// What differs, and how much does not.
#[derive(Debug, Default, Serialize)]
pub struct Surroundings {
    /// What differs, in the order of importance.
    pub differ: Vec<Differing>,
    /// Facts that are the same in both.
    pub same: usize,
}

impl Surroundings {
    /// What differs between two folders.
    pub fn of(a: &Side, b: &Side) -> Self {
        let mut all = Self::default();
        let host = |side: &Side| machine(&side.report.saved.host);
        all.add(&host(a), &host(b));
        let facts = |side: &Side| settled(&side.report.saved.host.facts);
        all.add(&facts(a), &facts(b));
        let build = |side: &Side| {
            let build = side.report.saved.host.build.iter();
            build.map(|(name, value)| (format!("build, {name}"), value.clone())).collect()
        };
        all.add(&build(a), &build(b));
        let campaign = |side: &Side| campaign(&side.report.saved.campaign, side.report.rounds);
        all.add(&campaign(a), &campaign(b));
        all.floors(a.limits.as_ref(), b.limits.as_ref());
        all
    }

    fn add(&mut self, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) {
        for what in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
            let (a, b) = (a.get(what), b.get(what));
            if a == b {
                self.same += 1;
            } else {
                self.differ.push(Differing { what: what.clone(), a: a.cloned(), b: b.cloned() });
            }
        }
    }

    /// Floors differ where their intervals do not meet.
    fn floors(&mut self, a: Option<&Limits>, b: Option<&Limits>) {
        let (Some(a), Some(b)) = (a, b) else { return };
        for (name, first) in figures(a) {
            let Some((_, second)) = figures(b).find(|(other, _)| *other == name) else { continue };
            let meet = match (first.estimate.interval, second.estimate.interval) {
                (Some(a), Some(b)) => a.0 <= b.1 && b.0 <= a.1,
                _ => true,
            };
            if meet {
                self.same += 1;
                continue;
            }
            let show = |ns: f64| if first.unit == Unit::Nanoseconds { nanos(ns) } else { bytes_per_s(ns) };
            let [a, b] = [first, second].map(|figure| Some(show(figure.estimate.median)));
            self.differ.push(Differing { what: format!("floor, {name}"), a, b });
        }
    }
}

fn figures(limits: &Limits) -> impl Iterator<Item = (String, &crate::measure::limits::Figure)> {
    let probes = Probe::ALL.iter().filter_map(|probe| Some((probe.title().to_string(), limits.figures.get(probe)?)));
    probes.chain(limits.memcpy.iter().map(|copy| (format!("memcpy, {}", copy.level), &copy.rate)))
}

fn machine(host: &Host) -> BTreeMap<String, String> {
    let allowed: Vec<_> = host.allowed.iter().map(ToString::to_string).collect();
    let facts = [
        ("CPU", host.cpu.clone()),
        ("CPUs", host.cpus.to_string()),
        ("CPUs allowed", allowed.join(",")),
        ("hypervisor", host.hypervisor.clone()),
        ("kernel", host.kernel.clone()),
    ];
    facts.map(|(name, value)| (name.into(), value)).into()
}

fn settled(facts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    facts.iter().filter(|(name, _)| !MOODS.contains(&name.as_str())).map(|(a, b)| (a.clone(), b.clone())).collect()
}

fn campaign(campaign: &Campaign, rounds: u32) -> BTreeMap<String, String> {
    let mut facts: BTreeMap<String, String> = [("campaign, rounds".to_string(), rounds.to_string())].into();
    if let Some(terms) = &campaign.terms {
        let run = match terms.run {
            Span::Messages(n) => format!("{n} messages"),
            Span::Millis(ms) => format!("{ms} ms"),
        };
        let profile = clap::ValueEnum::to_possible_value(&terms.profile);
        facts.extend(profile.map(|word| ("campaign, profile".into(), word.get_name().to_string())));
        facts.insert("campaign, length of a run".into(), run);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    #[test]
    fn what_differs_is_named_and_what_does_not_is_counted() {
        let mut all = Surroundings::default();
        all.add(
            &map(&[("kernel", "6.1"), ("CPU", "x"), ("governor", "powersave")]),
            &map(&[("kernel", "6.9"), ("CPU", "x")]),
        );
        let differ: Vec<_> = all.differ.iter().map(|d| (d.what.as_str(), d.a.as_deref(), d.b.as_deref())).collect();
        assert_eq!(differ, [("governor", Some("powersave"), None), ("kernel", Some("6.1"), Some("6.9"))]);
        assert_eq!(all.same, 1);
    }

    #[test]
    fn the_mood_of_a_minute_is_no_difference() {
        let facts = settled(&map(&[("load", "1.5"), ("clock source", "tsc"), ("pressure, cpu", "x")]));
        assert_eq!(facts.keys().collect::<Vec<_>>(), ["clock source"]);
        // A fact that got another name would be compared again.
        let known = Host::read().facts;
        for mood in MOODS.iter().filter(|mood| !mood.starts_with("pressure") && !mood.contains("swap")) {
            assert!(known.contains_key(*mood), "{mood} is no fact of the record");
        }
    }
}

//! Where two CPUs are: what the kernel states, and what the cache line between them says.
//!
//! Key decision: both are kept and neither overrules the other. In a virtual machine the kernel repeats what the
//! hypervisor told it, while the line takes as long as it takes; but the line says how long, not why, so what is made of
//! it is printed as an inference. Rejected: a probe of shared execution units (two loops slow each other down on one
//! core), which a busy neighbour imitates.
//!
//! # Thresholds
//! A round trip ends with two looks that come half a look late on average, so one look is taken off first: the pause
//! instruction takes 10 to 50 ns, depending on the CPU. Published round trips without pauses are 9 to 20 ns between the
//! hardware threads of a core, 32 to 150 ns between cores that share a last-level cache, and 170 to 400 ns beyond that
//! (twice the one-way medians of github.com/nviennot/core-to-core-latency, server and desktop CPUs of 2014 to 2022).
//! The limits lie in the gaps.

use crate::machine::topology::{caches, cpus_of, siblings};
use crate::measure::stats::Estimate;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Below this net round trip two CPUs look like hardware threads of one core, ns.
pub const SIBLINGS_BELOW_NS: f64 = 28.0;
/// Below this one they look like cores on one cache, ns.
pub const SAME_CACHE_BELOW_NS: f64 = 160.0;

/// How near two CPUs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closeness {
    /// Hardware threads of one core.
    Siblings,
    /// Two cores that share a cache.
    SameCache,
    /// No cache in common.
    AcrossCaches,
}

impl Closeness {
    /// What a cache-line round trip looks like, given what one look of the polling loops costs (both ns).
    pub fn infer(line_rtt_ns: f64, look_ns: f64) -> Self {
        match line_rtt_ns - look_ns {
            net if net < SIBLINGS_BELOW_NS => Closeness::Siblings,
            net if net < SAME_CACHE_BELOW_NS => Closeness::SameCache,
            _ => Closeness::AcrossCaches,
        }
    }
}

impl fmt::Display for Closeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Closeness::Siblings => "siblings",
            Closeness::SameCache => "same cache",
            Closeness::AcrossCaches => "across caches",
        })
    }
}

/// Repetitions that agree about the line.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Regime {
    /// How many.
    pub repetitions: usize,
    /// Their median round trip, ns.
    pub line_rtt_ns: f64,
    /// What that looks like.
    pub looks_like: Closeness,
}

/// What the kernel says of a pair of CPUs, from the first one's side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stated {
    /// Hardware threads of the first CPU's core.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub siblings: Option<String>,
    /// CPUs that share each of its data caches, by name such as `L3`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub caches: BTreeMap<String, String>,
    /// What follows from these for the pair.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closeness: Option<Closeness>,
}

impl Stated {
    /// Reads the statement from `sys` below `root`.
    pub fn read(root: &Path, [first, second]: [usize; 2]) -> Self {
        let siblings = siblings(root, first);
        let data = caches(root, first).into_iter().filter(|cache| cache.kind != "instruction");
        let caches: BTreeMap<String, String> = data.map(|c| (format!("L{}", c.level), c.shared)).collect();
        let names = |list: &String| cpus_of(list).is_some_and(|cpus| cpus.contains(&second));
        let closeness = if siblings.as_ref().is_some_and(names) {
            Some(Closeness::Siblings)
        } else if caches.values().any(names) {
            Some(Closeness::SameCache)
        } else {
            // A kernel that states no caches does not state that none is shared.
            (!caches.is_empty()).then_some(Closeness::AcrossCaches)
        };
        Self { siblings, caches, closeness }
    }
}

impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.closeness {
            Some(closeness) => write!(f, "{closeness}")?,
            None => f.write_str("nothing")?,
        }
        let siblings = self.siblings.iter().map(|list| format!("siblings {list}"));
        let caches = self.caches.iter().filter(|(name, _)| *name != "L1").map(|(name, list)| format!("{name} {list}"));
        let lists: Vec<String> = siblings.chain(caches).collect();
        if lists.is_empty() { Ok(()) } else { write!(f, " ({})", lists.join(", ")) }
    }
}

/// Both answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The kernel's.
    pub kernel: Stated,
    /// The probe's: one regime, or several when the CPUs moved meanwhile; none when the line could not be measured.
    pub probe: Vec<Regime>,
}

impl Place {
    /// The place of a pair from its repetitions of the line round trip and the cost of a look, in ns.
    pub fn of(kernel: Stated, line_rtts_ns: &[f64], look_ns: f64) -> Self {
        let regime = |values: &[f64]| {
            let line_rtt_ns = Estimate::of(values.iter().copied())?.median;
            let looks_like = Closeness::infer(line_rtt_ns, look_ns);
            Some(Regime { repetitions: values.len(), line_rtt_ns, looks_like })
        };
        let mut sorted = line_rtts_ns.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self { kernel, probe: split(&sorted).into_iter().filter_map(regime).collect() }
    }
}

/// Fewest repetitions that make a regime: a single one may have been interrupted.
const FEWEST: usize = 2;
/// Neighbours that differ by this factor belong to different regimes.
const GAP: f64 = 1.5;

/// Cuts ascending values at gaps, the widest one first.
fn split(sorted: &[f64]) -> Vec<&[f64]> {
    let cuts = FEWEST..=sorted.len().saturating_sub(FEWEST);
    let gap = |cut: &usize| sorted[*cut] / sorted[cut - 1];
    match cuts.max_by(|a, b| gap(a).total_cmp(&gap(b))).filter(|cut| gap(cut) >= GAP) {
        Some(cut) => [split(&sorted[..cut]), split(&sorted[cut..])].concat(),
        None => vec![sorted],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::topology::tests::plant;

    #[test]
    fn round_trips_are_sorted_into_the_three_kinds() {
        // Round trip, cost of a look, kind: the published figures, some with the pause of a CPU added.
        let cases = [
            (9.0, 0.0, Closeness::Siblings),
            (20.0 + 45.0, 45.0, Closeness::Siblings),
            (32.0, 0.0, Closeness::SameCache),
            (46.0 + 25.0, 25.0, Closeness::SameCache),
            (150.0, 0.0, Closeness::SameCache),
            (170.0, 5.0, Closeness::AcrossCaches),
            (390.0, 25.0, Closeness::AcrossCaches),
        ];
        for (rtt, look, kind) in cases {
            assert_eq!(Closeness::infer(rtt, look), kind, "{rtt} ns with looks of {look} ns");
        }
    }

    #[test]
    fn one_cluster_is_one_regime_and_a_single_outlier_makes_none() {
        let place = Place::of(Stated::default(), &[84.0, 90.0, 85.0, 100.0, 84.5, 900.0], 20.0);
        let regime = Regime { repetitions: 6, line_rtt_ns: 87.5, looks_like: Closeness::SameCache };
        assert_eq!(place.probe, [regime]);
    }

    #[test]
    fn cpus_that_moved_meanwhile_show_as_two_regimes() {
        let place = Place::of(Stated::default(), &[390.0, 84.0, 85.0, 391.0, 86.0, 400.0, 20.0, 21.0], 0.0);
        let found: Vec<_> = place.probe.iter().map(|r| (r.repetitions, r.line_rtt_ns, r.looks_like)).collect();
        let expected =
            [(2, 20.5, Closeness::Siblings), (3, 85.0, Closeness::SameCache), (3, 391.0, Closeness::AcrossCaches)];
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_measured_is_no_regime() {
        assert!(Place::of(Stated::default(), &[], 0.0).probe.is_empty());
        assert_eq!(Place::of(Stated::default(), &[5.0], 0.0).probe.len(), 1);
    }

    fn machine(siblings: &str, l3: &str) -> tempfile::TempDir {
        plant(&[
            ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", siblings),
            ("sys/devices/system/cpu/cpu0/cache/index0/level", "3"),
            ("sys/devices/system/cpu/cpu0/cache/index0/type", "Unified"),
            ("sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list", l3),
        ])
    }

    #[test]
    fn the_kernels_statement_is_taken_at_its_word() {
        let closeness = |siblings, l3| Stated::read(machine(siblings, l3).path(), [0, 1]).closeness;
        assert_eq!(closeness("0-1", "0-3"), Some(Closeness::Siblings));
        assert_eq!(closeness("0,2", "0-3"), Some(Closeness::SameCache));
        assert_eq!(closeness("0,2", "0,2"), Some(Closeness::AcrossCaches));
        assert_eq!(Stated::read(plant(&[]).path(), [0, 1]), Stated::default());
    }

    #[test]
    fn a_statement_reads_as_words_and_lists() {
        assert_eq!(Stated::read(machine("0", "0-1").path(), [0, 1]).to_string(), "same cache (siblings 0, L3 0-1)");
        assert_eq!(Stated::default().to_string(), "nothing");
    }
}

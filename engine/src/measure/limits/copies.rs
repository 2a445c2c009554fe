//! What memcpy reaches in each level of cache.
//!
//! Key decision: source and destination together fill half of a level, so that stack, code and the other hardware thread
//! have room and the figure is the level's and not a mixture. DRAM is measured with four times the largest cache.
//! Rejected: one buffer for all levels with a stride (no memcpy does that), and non-temporal stores (nor that, at these
//! sizes).
//!
//! Both buffers begin at a page boundary. That is the best case: with source and destination a few bytes apart within
//! their pages the same call can be thirty times slower (8 KiB on an AMD EPYC of family 25: 3 GB/s instead of 90).

use super::{Figure, Unit};
use crate::machine::topology::Cache;
use crate::shm::region::PAGE;
use crate::sys::clock;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::iter;

/// Where source and destination lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// First-level data cache.
    L1,
    /// Second level.
    L2,
    /// Third level.
    L3,
    /// Memory.
    #[serde(rename = "DRAM")]
    Dram,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::L1 => "L1",
            Level::L2 => "L2",
            Level::L3 => "L3",
            Level::Dram => "DRAM",
        })
    }
}

/// memcpy at one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyRate {
    /// Which.
    pub level: Level,
    /// Bytes that the level holds; absent for DRAM.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cache_bytes: Option<usize>,
    /// Bytes of source and destination together.
    pub working_set: usize,
    /// Bytes copied per second; `max` is the best repetition.
    pub rate: Figure,
}

/// Sizes where the kernel states none: common ones, so that a figure is there, and labelled as assumed.
const ASSUMED: [(Level, usize); 3] = [(Level::L1, 32 << 10), (Level::L2, 512 << 10), (Level::L3, 8 << 20)];
/// Most that is ever allocated for this.
const MOST: usize = 256 << 20;
/// A repetition copies at least this much in a cache, so that two clock readings do not matter.
const PER_REPETITION: usize = 4 << 20;

/// One level to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set {
    level: Level,
    cache: Option<usize>,
    bytes: usize,
}

/// The sets for these caches within `budget` bytes, and which levels have none, why.
fn sets(caches: &[(Level, usize)], largest: usize, budget: usize) -> (Vec<Set>, BTreeMap<Level, String>) {
    let budget = budget.min(MOST);
    let mut absent = BTreeMap::new();
    let mut fitting = Vec::new();
    for level in [Level::L1, Level::L2, Level::L3] {
        match caches.iter().find(|(other, _)| *other == level) {
            Some((_, size)) if size / 2 <= budget => {
                fitting.push(Set { level, cache: Some(*size), bytes: size / 2 });
            }
            Some(_) => {
                absent.insert(level, format!("only {} MiB of memory may be used for it", budget >> 20));
            }
            None => {
                absent.insert(level, "the kernel states no such cache".into());
            }
        }
    }
    let bytes = (4 * largest).min(budget);
    if bytes >= 2 * largest {
        fitting.push(Set { level: Level::Dram, cache: None, bytes });
    } else {
        let why = format!("{} MiB, all that may be used, do not exceed the caches by far enough", bytes >> 20);
        absent.insert(Level::Dram, why);
    }
    (fitting, absent)
}

/// The data caches among the stated ones, and the size of the largest.
fn data(stated: &[Cache]) -> (Vec<(Level, usize)>, usize) {
    let data = stated.iter().filter(|cache| cache.kind != "instruction");
    let sized: Vec<(u32, usize)> = data.filter_map(|cache| Some((cache.level, cache.size?))).collect();
    let level = |number: u32| [Level::L1, Level::L2, Level::L3].get(number.checked_sub(1)? as usize).copied();
    let largest = sized.iter().map(|(_, size)| *size).max().unwrap_or(0);
    (sized.into_iter().filter_map(|(number, size)| Some((level(number)?, size))).collect(), largest)
}

/// The buffers, and what was measured in them so far.
pub(super) struct Copies {
    sets: Vec<Set>,
    assumed: bool,
    from: Vec<u8>,
    to: Vec<u8>,
    rates: Vec<Vec<f64>>,
    /// Levels that are not measured, and why.
    pub absent: BTreeMap<Level, String>,
}

impl Copies {
    /// Takes the memory, at most `budget` bytes, and touches all of it.
    pub fn prepare(stated: &[Cache], budget: usize) -> Self {
        let (caches, largest) = data(stated);
        let assumed = caches.is_empty();
        let (caches, largest) = if assumed { (ASSUMED.to_vec(), ASSUMED[2].1) } else { (caches, largest) };
        let (mut sets, mut absent) = sets(&caches, largest, budget);
        let mut buffers = [Vec::new(), Vec::new()];
        // What cannot be had (RLIMIT_AS) is given up from the largest set down.
        while let Some(last) = sets.last().copied() {
            let half = last.bytes / 2;
            let room = (half + PAGE).next_multiple_of(PAGE);
            if buffers.iter_mut().all(|buffer| buffer.try_reserve_exact(room).is_ok()) {
                // A page at a time: `resize` goes byte by byte where nothing is optimised.
                let pages = || iter::repeat_n([1; PAGE], room / PAGE);
                buffers.iter_mut().for_each(|buffer| pages().for_each(|page| buffer.extend_from_slice(&page)));
                break;
            }
            sets.pop();
            absent.insert(last.level, format!("{} bytes cannot be allocated", last.bytes));
        }
        let rates = vec![Vec::new(); sets.len()];
        let [from, to] = buffers;
        Self { sets, assumed, from, to, rates, absent }
    }

    /// One repetition of every level.
    ///
    /// # Timing model
    /// `rate = copies * bytes / (end - start)` with two readings of the clock around `copies` calls of memcpy in a row,
    /// after an untimed one that brings both buffers into the cache. DRAM has one call and no other before it: what the
    /// levels left in the caches is not what it copies first.
    pub fn sample(&mut self) {
        for (set, rates) in self.sets.iter().zip(&mut self.rates) {
            let half = set.bytes / 2;
            let [source, target] = [&self.from, &self.to].map(|buffer| buffer.as_ptr().align_offset(PAGE));
            let (from, to) = (&self.from[source..][..half], &mut self.to[target..][..half]);
            let mut copy = || black_box(&mut *to).copy_from_slice(black_box(from));
            let copies = match set.cache {
                Some(_) => {
                    copy();
                    (PER_REPETITION / half.max(1)).max(2)
                }
                None => 1,
            };
            let start = clock::now();
            (0..copies).for_each(|_| copy());
            let elapsed = clock::now() - start;
            rates.push((copies * half) as f64 * 1e9 / elapsed.max(1) as f64);
        }
    }

    /// The figures over all repetitions.
    pub fn finish(self) -> Vec<CopyRate> {
        let rate = |(set, values): (Set, Vec<f64>)| {
            let rate = Figure::of(&values, Unit::BytesPerSecond, method(&set, self.assumed))?;
            Some(CopyRate { level: set.level, cache_bytes: set.cache, working_set: set.bytes, rate })
        };
        self.sets.into_iter().zip(self.rates).filter_map(rate).collect()
    }
}

fn method(set: &Set, assumed: bool) -> String {
    let half = set.bytes >> 11;
    match set.cache {
        Some(cache) => {
            let stated = if assumed { "assumed" } else { "stated" };
            format!(
                "memcpy of {half} KiB after an untimed one; both buffers are half of the {stated} {} KiB",
                cache >> 10
            )
        }
        None => format!("one memcpy of {half} KiB that the caches do not hold"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(level: u32, kind: &str, size: Option<usize>) -> Cache {
        Cache { level, kind: kind.into(), size, shared: "0".into() }
    }

    #[test]
    fn sets_are_half_of_each_cache_and_four_times_the_largest() {
        let stated = [
            cache(1, "data", Some(32 << 10)),
            cache(1, "instruction", Some(64 << 10)),
            cache(2, "unified", Some(1 << 20)),
            cache(3, "unified", Some(32 << 20)),
        ];
        let (caches, largest) = data(&stated);
        let (sets, absent) = sets(&caches, largest, usize::MAX);
        assert_eq!(sets.iter().map(|set| set.bytes).collect::<Vec<_>>(), [16 << 10, 512 << 10, 16 << 20, 128 << 20]);
        assert!(absent.is_empty());
    }

    #[test]
    fn what_does_not_fit_the_budget_is_absent_with_a_reason() {
        let (found, absent) = sets(&[(Level::L1, 32 << 10), (Level::L3, 400 << 20)], 400 << 20, 40 << 20);
        assert_eq!(found.iter().map(|set| set.level).collect::<Vec<_>>(), [Level::L1]);
        assert_eq!(absent[&Level::L2], "the kernel states no such cache");
        assert_eq!(absent[&Level::L3], "only 40 MiB of memory may be used for it");
        assert!(absent[&Level::Dram].contains("40 MiB"), "{}", absent[&Level::Dram]);
    }

    #[test]
    fn never_more_than_the_bound_is_asked_for() {
        let (found, _) = sets(&[(Level::L3, 100 << 20)], 100 << 20, usize::MAX);
        assert_eq!(found.last().unwrap().bytes, MOST);
    }

    #[test]
    fn without_stated_caches_the_sizes_are_assumed_and_called_so() {
        let mut copies = Copies::prepare(&[cache(1, "data", None)], 1 << 20);
        copies.sample();
        let rates = copies.finish();
        assert_eq!(rates.iter().map(|rate| rate.level).collect::<Vec<_>>(), [Level::L1, Level::L2]);
        assert!(rates.iter().all(|rate| rate.rate.method.contains("assumed") && rate.rate.estimate.n == 1));
    }

    #[test]
    fn no_memory_is_no_figure() {
        let copies = Copies::prepare(&[], 0);
        assert_eq!(copies.absent.len(), 4);
        assert!(copies.finish().is_empty());
    }
}

//! What the rows of a mechanism say to a demand.
//!
//! # What CPU a rate costs
//! A stream's CPU per message is that of parties that hardly ever sleep, and half a round trip's that of parties that sleep
//! for every message. Messages that come one by one at a rate below saturation cost something between the two, so both
//! bounds are given, and only a ceiling above the larger one is met. Parties that spin or yield use a CPU each whatever
//! they carry.

use super::facts::worth_saying;
use super::{Demand, Evidence, Fate, Fit};
use crate::measure::stats::Estimate;
use crate::plan::{Parties, Placement, Wait, WaitKind, Workload, show_size};
use crate::report::rows::Row;
use crate::report::text::{digits, nanos, per_second};
use crate::transport::Spec;
use std::collections::BTreeMap;

/// The rows of one mechanism between one kind of parties, with one wait, in one place.
pub struct Rows<'a> {
    spec: &'static Spec,
    parties: Parties,
    wait: Wait,
    placement: Placement,
    stream: BTreeMap<usize, &'a Row>,
    ping_pong: BTreeMap<usize, &'a Row>,
    offered: Vec<&'a Row>,
}

/// Headroom below which queues grow long: a stream knows nothing of bursts.
const HEADROOM: f64 = 2.0;
/// The demands in the order in which they are asked.
const RATE: u8 = 1;
const CPU: u8 = 2;
const LATENCY: u8 = 3;

/// The rows around a size: equal where that size was measured.
struct Around<'a> {
    below: &'a Row,
    above: &'a Row,
}

impl<'a> Around<'a> {
    fn of(rows: &BTreeMap<usize, &'a Row>, size: usize) -> Option<Self> {
        let (_, below) = rows.range(..=size).next_back()?;
        let (_, above) = rows.range(size..).next()?;
        Some(Self { below, above })
    }

    fn exact(&self) -> bool {
        self.below.class.size == self.above.class.size
    }
}

/// What a row lacks to be evidence.
fn lacking(row: &Row) -> Option<String> {
    let size = show_size(row.class.size);
    match (row.time, row.bad.first()) {
        (None, Some(bad)) => Some(format!("at {size} it has no result: {}", bad.reason)),
        (None, None) => Some(format!("at {size} it has no result")),
        (Some(Estimate { interval: None, n, .. }), _) => {
            Some(format!("at {size} it has {n} runs, too few for an interval"))
        }
        _ => None,
    }
}

fn evidence(what: &'static str, says: String, row: &Row) -> Evidence {
    Evidence { what, says, n: row.runs.len(), class: row.class.to_string() }
}

fn cpu_ns(row: &Row) -> Option<Estimate> {
    Estimate::of(row.each("cpu_ns"))
}

/// `1.20 M/s [1.10 M/s, 1.31 M/s]`.
fn rate(time: Estimate) -> String {
    let bounds = time.interval.map(|(low, high)| format!(" [{}, {}]", per_second(1e9 / high), per_second(1e9 / low)));
    per_second(1e9 / time.median) + &bounds.unwrap_or_default()
}

fn duration(time: Estimate) -> String {
    let bounds = time.interval.map(|(low, high)| format!(" [{}, {}]", nanos(low), nanos(high)));
    nanos(time.median) + &bounds.unwrap_or_default()
}

/// The rate that a row reached with certainty: the lower end of its interval.
fn sure_rate(row: &Row) -> f64 {
    row.time.and_then(|time| time.interval).map_or(0.0, |(_, high)| 1e9 / high)
}

/// What has been found of a variant so far.
#[derive(Default)]
struct Found {
    rows: Vec<Evidence>,
    cautions: Vec<String>,
}

impl<'a> Rows<'a> {
    /// None yet.
    pub fn new(spec: &'static Spec, parties: Parties, wait: Wait, placement: Placement) -> Self {
        let (stream, ping_pong) = (BTreeMap::new(), BTreeMap::new());
        Self { spec, parties, wait, placement, stream, ping_pong, offered: vec![] }
    }

    /// Takes a row.
    pub fn add(&mut self, row: &'a Row) {
        match row.class.workload {
            Workload::Stream => _ = self.stream.insert(row.class.size, row),
            Workload::PingPong => _ = self.ping_pong.insert(row.class.size, row),
            Workload::OfferedLoad => self.offered.push(row),
            _ => {}
        }
    }

    /// What becomes of this variant.
    pub(crate) fn fate(&self, demand: &Demand) -> Fate {
        let mut found = Found::default();
        match self.answer(demand, &mut found) {
            Ok(by) => Fate::Fits(Box::new(Fit {
                mechanism: self.spec.name,
                parties: self.parties,
                wait: self.wait,
                placement: self.placement,
                by,
                rows: found.rows,
                facts: worth_saying(self.spec, demand),
                cautions: found.cautions,
                also: vec![],
            })),
            Err(fate) => fate,
        }
    }

    fn answer(&self, demand: &Demand, found: &mut Found) -> Result<f64, Fate> {
        let cpus = match demand.rate {
            Some(rate) => {
                self.rate(demand, rate, found)?;
                Some(self.cpu(demand, rate, found)?)
            }
            None => None,
        };
        let round_trip = self.round_trip(demand, found)?;
        self.latency(demand, found)?;
        Ok(cpus.or(round_trip).unwrap_or(f64::INFINITY))
    }

    /// The rows around the size, each of which can be used.
    fn around(&self, workload: Workload, size: usize) -> Result<Around<'a>, Fate> {
        let rows = if workload == Workload::Stream { &self.stream } else { &self.ping_pong };
        let around = Around::of(rows, size).ok_or_else(|| {
            let sizes: Vec<_> = rows.keys().map(|size| show_size(*size)).collect();
            let have = if sizes.is_empty() { "none".into() } else { sizes.join(", ") };
            Fate::Bare(format!("no {workload} at {} or around it (measured: {have})", show_size(size)), workload)
        })?;
        match lacking(around.above).or_else(|| lacking(around.below)) {
            Some(why) => Err(Fate::Bare(format!("{workload} {why}"), workload)),
            None => Ok(around),
        }
    }

    fn rate(&self, demand: &Demand, wanted: u64, found: &mut Found) -> Result<(), Fate> {
        let around = self.around(Workload::Stream, demand.size)?;
        let (Some(slow), Some(fast)) = (around.above.time, around.below.time) else { return Ok(()) };
        let wanted = wanted as f64;
        if sure_rate(around.above) < wanted {
            let at = |row: &Row| show_size(row.class.size);
            let below = format!("carries {} at {}", rate(slow), at(around.above));
            if around.exact() || sure_rate(around.below) < wanted {
                let place = format!("n {}, wait {}, {}", slow.n, self.wait, self.placement);
                return Err(Fate::Out(RATE, format!("rate: {below} ({place}), not {}", per_second(wanted))));
            }
            let why = format!("{below} and {} at {}, and the rate lies between", rate(fast), at(around.below));
            return Err(Fate::Open(why, Workload::Stream));
        }
        let headroom = sure_rate(around.above) / wanted;
        let times = format!("at least {} x the rate", digits(headroom));
        found.rows.push(evidence("carries", format!("{}: {times}", rate(slow)), around.above));
        if !around.exact() {
            found.rows.push(evidence("carries", rate(fast), around.below));
        }
        if headroom < HEADROOM {
            found.cautions.push(format!(
                "only {} x the rate: bursts will queue; {}",
                digits(headroom),
                demand.command(&[self.spec.name], Some(Workload::OfferedLoad))
            ));
        }
        Ok(())
    }

    /// CPUs that the rate takes: the bound that decides.
    fn cpu(&self, demand: &Demand, wanted: u64, found: &mut Found) -> Result<f64, Fate> {
        let around = self.around(Workload::Stream, demand.size)?;
        let cpus = |ns: f64| ns * wanted as f64 / 1e9;
        let stream = cpu_ns(around.above).map(|cpu| cpus(cpu.median));
        let busy = matches!(self.wait.kind(), WaitKind::Spin | WaitKind::Yield);
        let one_cpu = self.placement == Placement::SameCpu;
        let sleeping = Around::of(&self.ping_pong, demand.size).filter(|around| around.above.time.is_some());
        let sleeping = sleeping.and_then(|around| Some((around.above, cpu_ns(around.above)?.median / 2.0)));
        let (least, most) = match (busy, stream, sleeping) {
            (true, ..) => {
                let all = if one_cpu { 1.0 } else { 2.0 };
                let says = format!("{} whatever the rate: parties that {} never sleep", count(all), self.wait);
                found.rows.push(evidence("CPU", says, around.above));
                (all, all)
            }
            (false, Some(least), Some((row, ns))) => {
                let most = cpus(ns).max(least);
                let says = format!("{} if it hardly ever sleeps", count(least));
                found.rows.push(evidence("CPU", says, around.above));
                let says = format!("{} if every message wakes its reader", count(most));
                found.rows.push(evidence("CPU", says, row));
                (least, most)
            }
            (false, Some(least), None) => {
                let says = format!("{} if it hardly ever sleeps; what a wake costs was not measured", count(least));
                found.rows.push(evidence("CPU", says, around.above));
                (least, f64::INFINITY)
            }
            (false, None, _) => (0.0, f64::INFINITY),
        };
        let Some(ceiling) = demand.cpus else { return Ok(most) };
        if least > ceiling {
            let smaller = cpu_ns(around.below).map(|cpu| cpus(cpu.median));
            if !around.exact() && smaller.is_some_and(|cpus| cpus <= ceiling) {
                let sizes = [around.below, around.above].map(|row| show_size(row.class.size));
                let why = format!("at {} it takes too much CPU, at {} perhaps not", sizes[1], sizes[0]);
                return Err(Fate::Open(why, Workload::Stream));
            }
            let place = format!("wait {}, {}", self.wait, self.placement);
            return Err(Fate::Out(CPU, format!("CPU: takes at least {} ({place})", count(least))));
        }
        if most > ceiling {
            let why = if most.is_finite() {
                format!("it takes between {} and {}, and the ceiling lies between", count(least), count(most))
            } else {
                "what a message costs that has to wake its reader is not known".into()
            };
            let workload = if most.is_finite() { Workload::OfferedLoad } else { Workload::PingPong };
            return Err(Fate::Open(why, workload));
        }
        Ok(most)
    }

    /// One message at a time: what decides without a rate, and what is worth knowing with one.
    fn round_trip(&self, demand: &Demand, found: &mut Found) -> Result<Option<f64>, Fate> {
        let around = match self.around(Workload::PingPong, demand.size) {
            Ok(around) => around,
            Err(_) if demand.rate.is_some() => return Ok(None),
            Err(fate) => return Err(fate),
        };
        let mut rows = vec![around.above];
        rows.extend((!around.exact()).then_some(around.below));
        for row in rows {
            let p99 = row.samples.rtt.quantile(0.99);
            let p99 = p99.map_or(String::new(), |ns| format!(", p99 {}", nanos(ns as f64)));
            let says = row.time.map_or(String::new(), |time| format!("{}{p99}", duration(time)));
            found.rows.push(evidence("there and back", says, row));
        }
        Ok(around.above.time.map(|time| time.median))
    }

    fn latency(&self, demand: &Demand, found: &mut Found) -> Result<(), Fate> {
        let Some(most) = demand.p99_ns else { return Ok(()) };
        let Some(wanted) = demand.rate else { return self.one_at_a_time(demand, most) };
        let of = |row: &Row| row.class.rate();
        let enough = |row: &&&Row| row.class.size >= demand.size && of(row).is_some_and(|rate| rate >= wanted);
        let nearest = self.offered.iter().filter(enough).min_by_key(|row| (of(row), row.class.size));
        let Some(row) = nearest else {
            let why = format!("no offered load of {} or more was measured at this size", per_second(wanted as f64));
            return Err(Fate::Open(why, Workload::OfferedLoad));
        };
        let exact = of(row) == Some(wanted) && row.class.size == demand.size;
        let reached = row.reached();
        match row.samples.intended.quantile(0.99).map(|ns| ns as f64) {
            _ if !reached && exact => {
                Err(Fate::Out(LATENCY, format!("latency: the rate was not reached ({})", row.class)))
            }
            _ if !reached => {
                Err(Fate::Open(format!("a higher rate was not reached ({})", row.class), Workload::OfferedLoad))
            }
            None => Err(Fate::Open(format!("too few samples for a p99 ({})", row.class), Workload::OfferedLoad)),
            // A load that is harder than what was asked for says nothing of that.
            Some(p99) if p99 > most && !exact => {
                let why = format!("under a harder load its p99 is {} ({})", nanos(p99), row.class);
                Err(Fate::Open(why, Workload::OfferedLoad))
            }
            Some(p99) if p99 > most => {
                let n = row.runs.len();
                Err(Fate::Out(LATENCY, format!("latency: p99 {} under load (n {n}, {})", nanos(p99), row.class)))
            }
            Some(p99) => {
                if !exact {
                    let why =
                        "its latency is that under a harder load, in which a reader that blocks sleeps less often";
                    found.cautions.push(why.into());
                }
                let says = format!("p99 {} from when a message was due", nanos(p99));
                found.rows.push(evidence("under load", says, row));
                Ok(())
            }
        }
    }

    /// Without a rate, a latency is that of a message there and back, one at a time.
    fn one_at_a_time(&self, demand: &Demand, most: f64) -> Result<(), Fate> {
        let around = self.around(Workload::PingPong, demand.size)?;
        let (row, p99) = (around.above, |row: &Row| row.samples.rtt.quantile(0.99).map(|ns| ns as f64));
        let smaller = p99(around.below).is_some_and(|p99| p99 <= most) && !around.exact();
        match p99(row) {
            Some(p99) if p99 > most && smaller => {
                let size = show_size(around.below.class.size);
                let why = format!("p99 {} there and back at {}, less at {size}", nanos(p99), show_size(row.class.size));
                Err(Fate::Open(why, Workload::PingPong))
            }
            None => Err(Fate::Open("too few round trips for a p99".into(), Workload::PingPong)),
            Some(p99) if p99 > most => {
                let n = row.runs.len();
                Err(Fate::Out(LATENCY, format!("latency: p99 {} there and back (n {n}, {})", nanos(p99), row.class)))
            }
            Some(_) => Ok(()),
        }
    }
}

/// So many CPUs.
fn count(cpus: f64) -> String {
    format!("{} CPU", digits(cpus))
}

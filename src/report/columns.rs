//! The one definition of what a row shows; every format is made from it.
//!
//! Key decision: a column is a name, a unit, one line of meaning and a function, which either asks each run for a number,
//! of which the row shows the median, or asks the row. The terminal and markdown tables show
//! scaled values of the columns that suit the workload; the CSV file has all columns in plain units; the documentation
//! lists them. Rejected: a struct per format, kept in step by hand.

use super::flags;
use super::rows::{Class, Row};
use super::text::{bytes_per_s, digits, nanos, per_second};
use crate::cell::{CpuCost, Outcome};
use crate::measure::Merged;
use crate::measure::load::LoadPoint;
use crate::plan::{Workload, show_size};
use crate::transport::find;

/// A value, before it is formatted.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// There is none: an empty field, never a zero.
    Absent,
    /// Words.
    Text(String),
    /// A count.
    Count(u64),
    /// A number in the column's unit.
    Number(f64),
}

impl From<Option<f64>> for Value {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Value::Absent, Value::Number)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Words or a bare count.
    None,
    /// Nanoseconds.
    Nanos,
    /// Bytes per second.
    BytesPerS,
    /// Messages per second.
    PerS,
    /// A ratio or a rate per message.
    Ratio,
    /// Bytes.
    Bytes,
}

/// In which printed tables a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Only in the CSV file.
    Csv,
    /// In every table.
    Always,
    /// In tables of these workloads.
    In(&'static [Workload]),
}

/// One column.
pub struct Column {
    /// Name in the CSV file.
    pub key: &'static str,
    /// Head of the printed column.
    pub title: &'static str,
    /// Unit of the plain value.
    pub unit: Unit,
    /// Where it is printed.
    pub shown: Shown,
    /// What it means.
    pub doc: &'static str,
    /// Where its value comes from.
    pub source: Source,
}

/// Where the value of a row comes from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// From the row. Numbers that other columns ask of each run are in [`Row::each`].
    Row(fn(&Row) -> Value),
    /// The median of what the runs say.
    Runs(fn(&Outcome) -> Option<f64>),
}

/// The number that each column of [`Source::Runs`] asks of this run, in order; not a number where it says none.
pub fn facts(run: &Outcome) -> Box<[f64]> {
    let ask = |column: &Column| match column.source {
        Source::Row(_) => None,
        Source::Runs(of) => Some(of(run).unwrap_or(f64::NAN)),
    };
    COLUMNS.iter().filter_map(ask).collect()
}

/// The place of a column's number among the [`facts`].
pub fn place_of_fact(key: &str) -> Option<usize> {
    COLUMNS.iter().filter(|column| matches!(column.source, Source::Runs(_))).position(|column| column.key == key)
}

const PING_PONG: Shown = Shown::In(&[Workload::PingPong]);
const STREAM: Shown = Shown::In(&[Workload::Stream]);
const STREAMS: Shown =
    Shown::In(&[Workload::Stream, Workload::FanIn, Workload::FanOut, Workload::Pairs, Workload::Broadcast]);
const SHARED: Shown = Shown::In(&[Workload::FanIn, Workload::FanOut]);
const PEERS: Shown = Shown::In(&[Workload::FanIn, Workload::FanOut, Workload::Pairs, Workload::Broadcast]);
const OFFERED: Shown = Shown::In(&[Workload::OfferedLoad]);

macro_rules! columns {
    ($($key:literal, $title:literal, $unit:ident, $shown:expr, $doc:literal, $source:ident $of:expr;)+) => {
        /// Every column, in order.
        pub static COLUMNS: &[Column] = &[$(Column {
            key: $key, title: $title, unit: Unit::$unit, shown: $shown, doc: $doc, source: Source::$source($of),
        }),+];
    };
}

columns! {
    "workload", "workload", None, Shown::Csv,
        "ping-pong (a message each way), stream (one direction), offered-load (one direction, on schedule), fan-in, fan-out, pairs or broadcast",
        Row |r| r.class.workload.to_string().into();
    "size", "size", Bytes, Shown::Csv, "bytes per message", Row |r| Value::Count(r.class.size as u64);
    "offered", "offered", None, Shown::Csv, "messages per second and rhythm of an offered load",
        Row |r| r.class.offered.map_or(Value::Absent, |offered| offered.to_string().into());
    "outstanding", "outstanding", None, Shown::Csv, "requests under way in a ping-pong; absent where it is one",
        Row |r| r.class.several.outstanding.map_or(Value::Absent, |n| Value::Count(n.into()));
    "batch", "batch", None, Shown::Csv, "messages of a stream that travel as one; absent where it is one",
        Row |r| r.class.several.batch.map_or(Value::Absent, |n| Value::Count(n.into()));
    "peers", "peers", None, Shown::Csv, "producers of a fan-in, consumers of a fan-out or broadcast, or pairs",
        Row |r| r.class.several.peers.map_or(Value::Absent, |n| Value::Count(n.into()));
    "wait", "wait", None, Shown::Csv, "how both parties wait for each other", Row |r| r.class.wait.to_string().into();
    "placement", "placement", None, Shown::Csv, "CPUs of the parties", Row |r| r.class.placement.to_string().into();
    "touch", "touch", None, Shown::Csv, "how much of each message is written and verified",
        Row |r| r.class.touch.to_string().into();
    "pages", "pages", None, Shown::Csv, "pages of the ring, where they were chosen (--huge-pages, --populate)",
        Row |r| if r.class.pages.are_usual() { Value::Absent } else { r.class.pages.to_string().into() };
    "rank", "#", None, Shown::Always, "rank within the class; rows that cannot be told apart share one",
        Row |r| r.rank.map_or(Value::Absent, |n| Value::Count(n as u64));
    "mechanism", "mechanism", None, Shown::Always, "what carried the messages", Row |r| r.variant().into();
    "parties", "between", None, Shown::Always, "two processes, two threads, or one party (the controls)",
        Row |r| match r.parties {
            crate::plan::Parties::Solo => "control".to_string().into(),
            other => other.to_string().into(),
        };
    "n", "n", None, Shown::Always, "fresh launches that count", Row |r| Value::Count(r.runs.len() as u64);
    "flagged", "flagged", None, Shown::Csv, "of these, launches with a reason for doubt",
        Row |r| Value::Count(r.flagged() as u64);
    "bad", "bad", None, Shown::Csv, "launches that failed, hung or were not believed",
        Row |r| Value::Count(r.bad.len() as u64);
    "bytes_per_s", "throughput", BytesPerS, STREAMS, "payload bytes per second in one direction, median over launches",
        Runs |o| o.throughput.as_ref().map(|t| t.bytes_per_s);
    "achieved_per_s", "achieved", PerS, OFFERED, "messages per second of an offered load, median over launches",
        Runs |o| only_point(o).map(|p| p.achieved_per_s);
    "ns", "round trip", Nanos, PING_PONG,
        "time per message (stream) or round trip (ping-pong) in the batch window, median over launches",
        Row |r| r.time.map(|t| t.median).into();
    "ns_low", "low", Nanos, Shown::Csv, "lower end of the 95 % order-statistic interval for that median",
        Row |r| r.time.and_then(|t| t.interval).map(|i| i.0).into();
    "ns_high", "high", Nanos, Shown::Csv, "upper end", Row |r| r.time.and_then(|t| t.interval).map(|i| i.1).into();
    "interval", "95 % interval", None, Shown::Always, "the interval in words, in the unit of the median",
        Row |r| interval(r).map_or(Value::Absent, Value::Text);
    "n_unflagged", "unflagged", None, Shown::Csv, "of the launches that count, those without a flag",
        Row |r| Value::Count((r.runs.len() - r.flagged()) as u64);
    "ns_unflagged", "unflagged", Nanos, Shown::Csv, "the median over launches without flags",
        Row |r| r.unflagged().map(|t| t.median).into();
    "ns_unflagged_low", "low", Nanos, Shown::Csv, "lower end of the 95 % interval for that median",
        Row |r| r.unflagged().and_then(|t| t.interval).map(|i| i.0).into();
    "ns_unflagged_high", "high", Nanos, Shown::Csv, "upper end",
        Row |r| r.unflagged().and_then(|t| t.interval).map(|i| i.1).into();
    "drift", "drift", Ratio, Shown::Csv,
        "rank correlation of the time with the order of the launches: 1 when each took longer than the one before",
        Row |r| r.drift.map(|drift| drift.rho).into();
    "drift_p", "p", Ratio, Shown::Csv, "its p-value, not corrected for the number of rows",
        Row |r| r.drift.map(|drift| drift.p).into();
    "messages_per_s", "messages", PerS, STREAMS, "messages (round trips) per second, median over launches",
        Runs |o| o.throughput.as_ref().map(|t| t.messages_per_s);
    "via", "via", None, SHARED,
        "shared: one object that all parties use; in-turn: a channel for each peer, which the hub serves in turn",
        Row |r| r.via.map_or(Value::Absent, |via| via.to_string().into());
    "fairness", "fairness", Ratio, PEERS,
        "smallest share of the messages that a peer or pair carried, divided by the largest, median over launches; in-turn and broadcast are 1 by construction",
        Runs |o| o.fairness;
    "reached_share", "reached", Ratio, Shown::Csv, "1 if more launches reached the offered rate than did not, 0 if fewer, one half if as many",
        Runs |o| only_point(o).map(|p| f64::from(u8::from(p.reached)));
    "reached", "reached", None, OFFERED, "launches that reached the offered rate, of all; the latencies of the others grow with their length",
        Row |r| reached(r).map_or(Value::Absent, Value::Text);
    "load_p50", "p50", Nanos, OFFERED, "median latency from the intended send time, all launches together",
        Row |r| quantile(&r.samples.intended, 0.5);
    "load_p99", "p99", Nanos, OFFERED, "99th percentile; absent with fewer than ten beyond",
        Row |r| quantile(&r.samples.intended, 0.99);
    "load_p999", "p99.9", Nanos, OFFERED, "99.9th percentile", Row |r| quantile(&r.samples.intended, 0.999);
    "load_max", "max", Nanos, Shown::Csv, "largest latency from the intended send time",
        Row |r| r.samples.intended.max().map(|ns| ns as f64).into();
    "load_actual_p99", "p99 once sent", Nanos, OFFERED, "99th percentile from the actual send time: without the waiting to be sent",
        Row |r| quantile(&r.samples.actual, 0.99);
    "backlog_max", "backlog", Ratio, Shown::Csv, "largest number of messages due and not yet received, median over launches",
        Runs |o| only_point(o).map(|p| p.backlog_max as f64);
    "rtt_p50", "p50", Nanos, Shown::Csv, "median stamped round trip of all launches together",
        Row |r| quantile(&r.samples.rtt, 0.5);
    "rtt_p90", "p90", Nanos, Shown::Csv, "90th percentile", Row |r| quantile(&r.samples.rtt, 0.9);
    "rtt_p99", "p99", Nanos, PING_PONG, "99th percentile of the stamped round trips; absent with fewer than ten beyond",
        Row |r| quantile(&r.samples.rtt, 0.99);
    "rtt_p999", "p99.9", Nanos, Shown::Csv, "99.9th percentile", Row |r| quantile(&r.samples.rtt, 0.999);
    "rtt_max", "max", Nanos, Shown::Csv, "largest stamped round trip",
        Row |r| r.samples.rtt.max().map(|ns| ns as f64).into();
    "floor_multiple", "x floor", Ratio, PING_PONG,
        "round trip as a multiple of the bare hand-over (cache line, sched_yield or futex) between the same parties",
        Runs |o| o.floor.as_ref()?.multiple;
    "memcpy_multiple", "x floor", Ratio, STREAM,
        "time per message as a multiple of one memcpy of its bytes, as `limits` measured it",
        Row |r| times_memcpy(r).into();
    "copies", "copies", None, Shown::Csv, "copies of each byte that is verified between producer and consumer, by the mechanism's model",
        Row |r| find(&r.mechanism).map_or(Value::Absent, |m| Value::Count(u64::from(m.spec().copies)));
    "line_rtt_ns", "cache line", Nanos, Shown::Csv, "bare cache-line round trip between the parties",
        Runs |o| mean(&o.floor.as_ref()?.line_rtt_ns);
    "handover_rtt_ns", "hand-over", Nanos, Shown::Csv, "bare hand-over with the row's way of waiting",
        Runs |o| o.floor_ns();
    "cpu_ns", "CPU/msg", Nanos, Shown::Always,
        "CPU time of all parties per message or round trip; of an offered load the consumer's, as its producer always spins",
        Runs cpu;
    "cpu_user_ns", "user", Nanos, Shown::Csv, "of this in user mode",
        Runs |o| sum(costs(o).map(|c| c.user));
    "cpu_system_ns", "system", Nanos, Shown::Csv, "of this in the kernel",
        Runs |o| sum(costs(o).map(|c| c.system));
    "switches", "switches", Ratio, Shown::Csv, "context switches of both parties per message or round trip",
        Runs |o| sum(o.switches_per_message.iter().map(|s| s.voluntary + s.involuntary));
    "faults", "faults", Ratio, Shown::Csv, "page faults of both parties in the batch window",
        Runs |o| sum(o.faults.iter().map(|f| f.minor as f64 + f.major as f64));
    "syscalls", "calls", Ratio, Shown::Csv,
        "system calls of both parties per message or round trip, from an untimed traced run",
        Row |r| r.calls.into();
    "memory_bytes", "memory", Bytes, Shown::Csv, "bytes in which messages lie on their way, both directions",
        Runs |o| o.memory_bytes.map(|bytes| bytes as f64);
    "setup_ns", "set-up", Nanos, Shown::Csv, "time to create the transport",
        Runs |o| o.setup_ns.map(|ns| ns as f64);
    "teardown_ns", "tear-down", Nanos, Shown::Csv, "time for the leader to let go of the transport",
        Runs |o| o.teardown_ns.map(|ns| ns as f64);
    "first_message_ns", "first", Nanos, Shown::Csv, "the cold first message or round trip",
        Runs |o| o.first_message_ns.map(|ns| ns as f64);
    "flags", "flags", None, Shown::Csv, "the reasons for doubt, with how many launches had each",
        Row |r| flag_counts(r).map_or(Value::Absent, Value::Text);
}

fn quantile(samples: &Merged, q: f64) -> Value {
    samples.quantile(q).map(|ns| ns as f64).into()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn sum(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.reduce(|a, b| a + b)
}

fn cpu(run: &Outcome) -> Option<f64> {
    sum(costs(run).map(|c| c.user + c.system))
}

/// The parties whose CPU time is a cost: not the producer that keeps the time of an offered load.
fn costs(run: &Outcome) -> impl Iterator<Item = &CpuCost> {
    run.cpu_ns_per_message.iter().skip(usize::from(run.workload == Workload::OfferedLoad))
}

/// The load point of a run at one rate. The points of a sweep are other classes and never one row.
fn only_point(run: &Outcome) -> Option<&LoadPoint> {
    if let [point] = &run.load[..] { Some(point) } else { None }
}

fn reached(row: &Row) -> Option<String> {
    let points: Vec<f64> = row.each("reached_share").collect();
    let reached: f64 = points.iter().sum();
    (!points.is_empty()).then(|| if reached == 0.0 { "NO".into() } else { format!("{reached}/{}", points.len()) })
}

/// How many times longer than a memcpy of its bytes a message took.
fn times_memcpy(row: &Row) -> Option<f64> {
    let time = row.time.filter(|_| row.class.workload == Workload::Stream)?;
    Some(time.median * row.memcpy? / (1e9 * row.class.size as f64))
}

/// The interval as people read it: of the throughput for a stream, of the rate for an offered load, of the round trip for
/// a ping-pong.
fn interval(row: &Row) -> Option<String> {
    let (low, high) = row.time?.interval?;
    let show = |ns| headline(&row.class, ns);
    // A longer time is a lower rate.
    Some(if row.class.workload == Workload::PingPong {
        range(&show(low), &show(high))
    } else {
        range(&show(high), &show(low))
    })
}

/// A time per message or round trip as tables of this class show it: a throughput, a rate or a time.
pub fn headline(class: &Class, ns: f64) -> String {
    match class.workload {
        Workload::PingPong => nanos(ns),
        Workload::Stream | Workload::FanIn | Workload::FanOut | Workload::Pairs | Workload::Broadcast => {
            bytes_per_s(class.size as f64 * 1e9 / ns)
        }
        Workload::OfferedLoad => per_second(1e9 / ns),
    }
}

/// `1.20 us` and `3.40 us` as `1.20-3.40 us`; both units where they differ.
fn range(low: &str, high: &str) -> String {
    match (low.split_once(' '), high.split_once(' ')) {
        (Some((number, a)), Some((_, b))) if a == b => format!("{number}-{high}"),
        _ => format!("{low}-{high}"),
    }
}

fn flag_counts(row: &Row) -> Option<String> {
    let counts = flags::counts(std::iter::once(row));
    let words: Vec<_> = counts.iter().map(|(flag, count)| format!("{flag}:{count}")).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

impl Column {
    /// Whether the column is printed in tables of this workload.
    pub fn printed(&self, workload: Workload) -> bool {
        match self.shown {
            Shown::Csv => false,
            Shown::Always => true,
            Shown::In(only) => only.contains(&workload),
        }
    }

    /// The value of a row.
    pub fn value(&self, row: &Row) -> Value {
        match self.source {
            Source::Row(of) => of(row),
            Source::Runs(_) => row.median(self.key).into(),
        }
    }

    /// The value as people read it.
    pub fn pretty(&self, row: &Row) -> String {
        match (self.value(row), self.unit) {
            (Value::Absent, _) => String::new(),
            (Value::Text(text), _) => text,
            (Value::Count(count), Unit::Bytes) => show_size(count as usize),
            (Value::Count(count), _) => count.to_string(),
            (Value::Number(value), Unit::Nanos) => nanos(value),
            (Value::Number(value), Unit::BytesPerS) => bytes_per_s(value),
            (Value::Number(value), Unit::PerS) => per_second(value),
            (Value::Number(value), _) => digits(value),
        }
    }

    /// The value in plain units, with as many digits as mean something.
    pub fn plain(&self, row: &Row) -> String {
        match self.value(row) {
            Value::Absent => String::new(),
            Value::Text(text) => text,
            Value::Count(count) => count.to_string(),
            Value::Number(value) => significant(value),
        }
    }
}

/// Six significant digits without an exponent.
pub fn significant(value: f64) -> String {
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let decimals = (5 - magnitude).clamp(0, 9) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn keys_are_unique_and_documented() {
        let keys: HashSet<_> = COLUMNS.iter().map(|c| c.key).collect();
        assert_eq!(keys.len(), COLUMNS.len());
        assert!(COLUMNS.iter().all(|c| c.doc.len() > 3 && !c.title.is_empty()));
    }

    #[test]
    fn plain_numbers_have_no_exponent_and_no_trailing_zeroes() {
        assert_eq!(significant(0.0), "0");
        assert_eq!(significant(1234.5), "1234.5");
        assert_eq!(significant(5.0e9), "5000000000");
        assert_eq!(significant(0.001_234_56), "0.00123456");
    }

    #[test]
    fn a_range_names_its_unit_once_where_it_can() {
        assert_eq!(range("1.20 us", "3.40 us"), "1.20-3.40 us");
        assert_eq!(range("900 ns", "1.20 us"), "900 ns-1.20 us");
    }
}

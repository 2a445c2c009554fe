//! Latency and throughput against the size of a message, beside the floors.
//!
//! Key decision: a panel for each way to wait and each placement, because lines of different classes are not comparable,
//! and both axes logarithmic. The floors are those of the tables: the hand-over that was measured beside each run, and the
//! memcpy of the machine's limits at that size.

use super::axis::{Axis, Unit};
use super::blocks::{Block, Cell, Figure, Head, Line, Panel, Section, Table};
use super::chart::{Chart, Point, Reference, Series};
use super::{Looks, bracket, chosen, class_name, doubts, lacks, of_all, short_name, typical};
use crate::measure::stats::Estimate;
use crate::plan::{Workload, show_size};
use crate::report::Report;
use crate::report::rows::{Class, Row};
use crate::report::text::{bytes_per_s, nanos};
use std::collections::BTreeMap;

/// Heading of the first figure.
pub const LATENCY: &str = "Latency against message size";
/// What fills it.
pub const LATENCY_COMMAND: &str = "ipcost compare --workload ping-pong --size 64,1KiB,16KiB,256KiB";
/// Heading of the second.
pub const THROUGHPUT: &str = "Throughput against message size";
/// What fills it.
pub const THROUGHPUT_COMMAND: &str = "ipcost compare --workload stream --size 64,1KiB,16KiB,256KiB";

/// The rows of classes that differ in nothing but the size.
type Family<'a> = Vec<&'a Row>;

fn families(report: &Report, is: impl Fn(&Class) -> bool) -> Vec<(Class, Family<'_>)> {
    let mut families: BTreeMap<Class, Family> = BTreeMap::new();
    for group in report.all.groups.iter().filter(|group| is(&group.class)) {
        let rows = group.rows.iter().filter(|row| row.time.is_some() && !row.is_control());
        families.entry(Class { size: 0, ..group.class }).or_default().extend(rows);
    }
    families.into_iter().filter(|(_, rows)| sizes(rows).len() > 1).collect()
}

fn sizes(rows: &[&Row]) -> Vec<usize> {
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.class.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Both figures.
pub fn sections(report: &Report, looks: &Looks) -> [Section; 2] {
    [section(report, looks, &LATENCY_FIGURE), section(report, looks, &THROUGHPUT_FIGURE)]
}

/// What the two figures differ in.
struct Kind {
    id: &'static str,
    title: &'static str,
    command: &'static str,
    what: &'static str,
    is: fn(&Class) -> bool,
    runs: &'static str,
    axis: &'static str,
    unit: Unit,
    show: fn(f64) -> String,
    value: fn(&Row) -> Option<Estimate>,
    floors: fn(&[&Row]) -> Vec<Reference>,
    note: &'static str,
}

static LATENCY_FIGURE: Kind = Kind {
    id: "latency-size",
    title: LATENCY,
    command: LATENCY_COMMAND,
    what: "round trip",
    is: |class| class.workload == Workload::PingPong && class.several.outstanding.is_none(),
    runs: "plain round trips",
    axis: "round trip (logarithmic)",
    unit: Unit::Nanos,
    show: nanos,
    value: |row| row.time,
    floors: |rows| {
        let hand_over =
            typical(rows, "handover_rtt_ns").map(|ns| Reference::level(format!("bare hand-over, {}", nanos(ns)), ns));
        let line = typical(rows, "line_rtt_ns").map(|ns| Reference::level(format!("cache line, {}", nanos(ns)), ns));
        let copies = copied(rows, |size, rate| 2.0 * 1e9 * size / rate);
        let copies = (copies.len() > 1)
            .then(|| Reference { name: "memcpy of the bytes, there and back".into(), points: copies });
        hand_over.into_iter().chain(line).chain(copies).collect()
    },
    note: "Points are medians over launches with their 95 % intervals. Floors: the bare hand-over with this way of \
           waiting and a cache line there and back, medians of what was measured beside the runs; memcpy from limits.json.",
};

static THROUGHPUT_FIGURE: Kind = Kind {
    id: "throughput-size",
    title: THROUGHPUT,
    command: THROUGHPUT_COMMAND,
    what: "throughput",
    is: |class| class.workload == Workload::Stream,
    runs: "streams",
    axis: "payload per second (logarithmic)",
    unit: Unit::BytesPerS,
    show: bytes_per_s,
    value: |row| {
        let rate = |ns: f64| row.class.size as f64 * 1e9 / ns;
        let time = row.time?;
        let interval = time.interval.map(|(low, high)| (rate(high), rate(low)));
        // As the tables have it: the median of the rates.
        let median = Estimate::of(row.each("bytes_per_s")).map_or(rate(time.median), |of| of.median);
        Some(Estimate { n: time.n, median, interval })
    },
    floors: |rows| {
        let copies = copied(rows, |_, rate| rate);
        if copies.len() > 1 {
            vec![Reference { name: "one memcpy of the bytes".into(), points: copies }]
        } else {
            vec![]
        }
    },
    note: "Points are medians over launches with their 95 % intervals; every byte is written by the producer and verified \
           by the consumer. The floor is one memcpy at that size, from limits.json.",
};

/// Something of a copy at each size.
fn copied(rows: &[&Row], of: impl Fn(f64, f64) -> f64) -> Vec<(f64, f64)> {
    let at: BTreeMap<usize, f64> = rows.iter().filter_map(|row| Some((row.class.size, row.memcpy?))).collect();
    at.into_iter().map(|(size, rate)| (size as f64, of(size as f64, rate))).collect()
}

fn section(report: &Report, looks: &Looks, kind: &Kind) -> Section {
    let families = families(report, kind.is);
    if families.is_empty() {
        return Section::absent(kind.id, kind.title, why_none(report, kind), kind.command);
    }
    let panels = families.iter().enumerate().map(|(number, (class, rows))| panel(class, rows, looks, kind, number));
    let panels = panels.collect();
    let figure = Figure {
        name: kind.id.into(),
        notes: vec![kind.note.into()],
        panels,
        table: table(families.iter().flat_map(|(_, rows)| rows), kind),
    };
    Section { id: kind.id, title: kind.title, blocks: vec![Block::Figure(figure)], ..Section::default() }
}

/// Why there is no line: a line needs two sizes.
fn why_none(report: &Report, kind: &Kind) -> String {
    let Kind { runs, what, .. } = kind;
    if !report.all.groups.iter().any(|group| (kind.is)(&group.class)) {
        return lacks::without(report, runs);
    }
    match sizes(&lacks::rows(report, kind.is))[..] {
        [] => format!("No mechanism of this campaign has a {what} as result."),
        [one] => {
            format!("This campaign has {runs}, all of {}; a line against the size needs two sizes.", show_size(one))
        }
        _ => format!("This campaign has {runs} of several sizes, but no two in classes that differ in nothing else."),
    }
}

fn common(class: &Class) -> String {
    // What is left of the class without a size: its words begin with the workload and "0 B".
    class_name(class).split_once(", ").map_or_else(String::new, |(_, rest)| rest.to_string())
}

fn panel(class: &Class, rows: &Family, looks: &Looks, kind: &Kind, number: usize) -> Panel {
    let mut lines: BTreeMap<(&str, crate::plan::Parties), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        lines.entry((row.mechanism.as_str(), row.parties)).or_default().push(row);
    }
    let several: Vec<&Row> = rows
        .iter()
        .filter(|row| {
            lines
                .get(&(row.mechanism.as_str(), row.parties))
                .is_some_and(|line| line[0].class.size == row.class.size && line.len() > 1)
        })
        .copied()
        .collect();
    let drawn = chosen(&several);
    let series = drawn.iter().filter_map(|first| {
        let line = lines.get(&(first.mechanism.as_str(), first.parties))?;
        let point = |row: &&Row| {
            let of = (kind.value)(row)?;
            let (x, name, size) = (row.class.size as f64, short_name(row), show_size(row.class.size));
            let words = format!(
                "{name}, {size}: {} {}, {}",
                (kind.show)(of.median),
                bracket(of.interval, kind.show),
                doubts(row)
            );
            Some(Point { x, y: of.median, across: None, up: of.interval, words })
        };
        let note = doubts_of(line);
        Some(Series {
            name: short_name(first),
            note,
            style: looks.style(first),
            joined: true,
            small: false,
            points: line.iter().filter_map(point).collect(),
        })
    });
    let ticks = sizes(rows).into_iter().map(|size| (size as f64, show_size(size))).collect();
    let title = common(class);
    let chart = Chart {
        title: format!("{}: {title}", kind.title),
        about: format!(
            "{} of {} mechanisms against message size, both axes logarithmic. The table below has the values.",
            kind.what,
            drawn.len()
        ),
        x: Axis { at: ticks, ..Axis::log("message size (logarithmic)", Unit::Number) },
        y: Axis::log(kind.axis, kind.unit),
        series: series.collect(),
        references: (kind.floors)(rows),
    };
    let (drawing, key) = (chart.draw(), chart.key());
    Panel { title, name: format!("{}-{}", kind.id, number + 1), drawing, key, note: of_all(drawn.len(), several.len()) }
}

/// Launches of all sizes together.
fn doubts_of(line: &[&Row]) -> String {
    let least = line.iter().map(|row| row.runs.len()).min().unwrap_or(0);
    match line.iter().map(|row| row.flagged()).sum() {
        0 => format!("n {least}"),
        flagged => {
            format!("n {least} each, {flagged} of {} flagged", line.iter().map(|row| row.runs.len()).sum::<usize>())
        }
    }
}

fn table<'a>(rows: impl Iterator<Item = &'a &'a Row>, kind: &Kind) -> Table {
    let mut heads: Vec<Head> = ["mechanism", "class"].map(Head::words).into();
    heads.extend(["bytes", kind.what, "low", "high", "n", "flagged"].map(Head::number));
    let line = |row: &&Row| {
        let of = (kind.value)(row);
        let bound = |of: fn((f64, f64)) -> f64, from: Option<Estimate>| {
            Cell::maybe(from.and_then(|e| e.interval).map(of), kind.show)
        };
        Line::from(vec![
            Cell::head(short_name(row)),
            Cell::text(common(&row.class)),
            Cell::number(show_size(row.class.size), row.class.size as f64),
            Cell::maybe(of.map(|of| of.median), kind.show),
            bound(|(low, _)| low, of),
            bound(|(_, high)| high, of),
            Cell::number(row.runs.len().to_string(), row.runs.len() as f64),
            Cell::number(row.flagged().to_string(), row.flagged() as f64),
        ])
    };
    Table {
        name: kind.id.into(),
        caption: kind.title.into(),
        heads,
        rows: rows.map(line).collect(),
        ..Table::default()
    }
}

//! The ranked tables: those of `summary.md`, with bars.
//!
//! Key decision: the columns are those of [`COLUMNS`], so the page cannot say anything else than the tables. The bar of a
//! row starts at zero where the slowest is in sight of the fastest; beyond, a dot on a scale of logarithms, which has no
//! zero and therefore no bar.

use super::blocks::{Bar, Block, Cell, Head, Line, Section, Table};
use super::{Material, class_name};
use crate::measure::stats::Estimate;
use crate::plan::Workload;
use crate::report::Report;
use crate::report::columns::{COLUMNS, Column, Unit};
use crate::report::rows::Row;
use crate::report::summary::Group;
use crate::report::table::{heading, remarks};
use crate::report::text::{bytes_per_s, nanos};

const TITLE: &str = "Ranks, class by class";
/// Why a row of an offered load has no p99.
pub const NO_P99: &str = "p99 needs ten samples beyond it, and no row has as many";
/// Classes whose tables are open from the start.
const OPEN: usize = 8;

/// Every class with its rows.
pub fn section(report: &Report) -> Section {
    let groups = &report.all.groups;
    if groups.is_empty() {
        return Section::absent("ranks", TITLE, "The campaign has no run yet.", "ipcost compare --resume DIR");
    }
    let mut lead = vec![
        "Rows are comparable within a class only. Rows that cannot be told from the first of their rank share it; \
         controls have no rank. n counts fresh launches; the interval is that of the median over launches."
            .into(),
    ];
    if report.all.rows().any(|row| floor(row).is_some()) {
        lead.push(
            "The bars of a class show the median, its interval as a thin line, and as a grey mark the floor that was measured \
             beside the row: the bare hand-over of a round trip, one memcpy of a stream's bytes."
                .into(),
        );
    }
    let fold = |(number, (index, group)): (usize, (usize, &Group))| Block::Fold {
        title: class_name(&group.class),
        open: number < OPEN,
        blocks: vec![Block::Table(table(group, index))],
    };
    let blocks = groups.iter().enumerate().enumerate().map(fold).collect();
    Section { id: "ranks", title: TITLE, lead, blocks, absent: None }
}

/// The sections that a campaign would fill.
pub fn no_campaign(own: &Material) -> Vec<Section> {
    let of = |(id, title, command)| Section::absent(id, title, own.no_campaign(), command);
    [
        ("ranks", TITLE, "ipcost compare"),
        ("latency-size", super::sizes::LATENCY, super::sizes::LATENCY_COMMAND),
        ("throughput-size", super::sizes::THROUGHPUT, super::sizes::THROUGHPUT_COMMAND),
        ("percentiles", super::tails::PERCENTILES, "ipcost compare --workload ping-pong"),
        ("cpu", super::tails::CPU, "ipcost compare --workload ping-pong --wait block,spin"),
        ("load", super::load::TITLE, super::load::COMMAND),
        ("ratios", super::ratios::MATRIX, super::ratios::MATRIX_COMMAND),
        ("twins", super::ratios::TWINS, super::ratios::TWINS_COMMAND),
    ]
    .map(of)
    .into()
}

/// What a row is drawn by: the time of a round trip, the throughput of a stream, the tail of an offered load.
fn drawn(row: &Row) -> Option<Estimate> {
    let time = row.time?;
    match row.class.workload {
        Workload::PingPong => Some(time),
        Workload::OfferedLoad => {
            let median = row.samples.intended.quantile(0.99)? as f64;
            Some(Estimate { n: time.n, median, interval: None })
        }
        _ => {
            let rate = |ns: f64| row.class.size as f64 * 1e9 / ns;
            let interval = time.interval.map(|(low, high)| (rate(high), rate(low)));
            Some(Estimate { n: time.n, median: rate(time.median), interval })
        }
    }
}

/// The floor of a row, in the unit of what is drawn.
fn floor(row: &Row) -> Option<f64> {
    match row.class.workload {
        Workload::PingPong => row.median("handover_rtt_ns"),
        Workload::Stream => row.memcpy,
        _ => None,
    }
}

/// From values to places in a cell.
pub struct Width {
    low: f64,
    high: f64,
    logarithmic: bool,
}

/// The largest is at most so many times the smallest on a scale that begins at zero.
const IN_SIGHT: f64 = 20.0;

impl Width {
    /// A scale for these values.
    pub fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let usable = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = usable.fold((f64::INFINITY, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
        let logarithmic = high > IN_SIGHT * low;
        (high > 0.0).then_some(Self { low, high, logarithmic })
    }

    /// A scale of ratios, with one in the middle.
    pub fn of_ratios(values: impl Iterator<Item = f64>) -> Option<Self> {
        let usable = values.filter(|value| value.is_finite() && *value > 0.0);
        let most = usable.fold(1.0_f64, |most, value| most.max(value).max(1.0 / value));
        Some(Self { low: 1.0 / (1.02 * most), high: 1.02 * most, logarithmic: true })
    }

    fn share(&self, value: f64) -> f64 {
        let share = if self.logarithmic {
            // A little room, or the fastest would stand on the edge.
            0.03 + 0.94 * (value / self.low).ln() / (self.high / self.low).ln().max(1e-9)
        } else {
            0.98 * value / self.high
        };
        100.0 * share.clamp(0.0, 1.0)
    }

    fn place(&self, value: f64) -> String {
        format!("{:.1}", self.share(value))
    }

    /// Where a stretch begins, and how wide it is.
    fn stretch(&self, (low, high): (f64, f64)) -> (String, String) {
        (self.place(low), format!("{:.1}", (self.share(high) - self.share(low)).max(0.4)))
    }

    /// A bar for this estimate.
    pub fn bar(&self, of: Estimate, mark: Option<f64>, band: Option<(f64, f64)>) -> Cell {
        let dot = self.place(of.median);
        let bar = Bar {
            to: (!self.logarithmic).then(|| dot.clone()),
            dot,
            interval: of.interval.map(|interval| self.stretch(interval)),
            mark: mark.map(|mark| self.place(mark)),
            band: band.map(|band| self.stretch(band)),
        };
        Cell { bar: Some(bar), plain: Some(super::plain(of.median)), ..Cell::default() }
    }

    /// From where to where, in words.
    fn words(&self, show: impl Fn(f64) -> String) -> String {
        match self.logarithmic {
            true => format!("{} to {}, logarithmic", show(self.low), show(self.high)),
            false => format!("0 to {}", show(self.high)),
        }
    }
}

fn table(group: &Group, index: usize) -> Table {
    let workload = group.class.workload;
    let columns: Vec<&Column> = COLUMNS.iter().filter(|column| column.printed(workload)).collect();
    let ends = |row: &Row| {
        let of = drawn(row);
        let interval = of.and_then(|of| of.interval).map_or([None; 2], |(low, high)| [Some(low), Some(high)]);
        interval.into_iter().chain([of.map(|of| of.median), floor(row)]).flatten().collect::<Vec<_>>()
    };
    let width = Width::of(group.rows.iter().filter(|row| !row.is_control()).flat_map(ends));
    let what = match workload {
        Workload::PingPong => "the round trip",
        Workload::OfferedLoad => "p99",
        _ => "the throughput",
    };
    let scale = width.as_ref().map_or(String::new(), |width| match workload {
        Workload::PingPong | Workload::OfferedLoad => width.words(nanos),
        _ => width.words(bytes_per_s),
    });
    let head = |column: &&Column| {
        let words = matches!(column.key, "mechanism" | "parties");
        Head { title: column.title.into(), hint: column.doc.into(), number: !words, bars: false }
    };
    let mut heads: Vec<Head> = columns.iter().map(head).collect();
    heads.push(Head::number("flagged").hint("launches with a reason for doubt"));
    heads.push(Head::bars(scale.clone()).hint(what));
    let rows = group.rows.iter().map(|row| {
        let mut cells: Vec<Cell> = columns.iter().map(|column| cell(column, row)).collect();
        let flagged = row.flagged();
        let doubtful = if 2 * flagged > row.runs.len() { "warn" } else { "" };
        cells.push(Cell::number(flagged.to_string(), flagged as f64).class(doubtful));
        // A control moves nothing between parties: its bar would press the others together.
        let bar = width.as_ref().filter(|_| !row.is_control()).zip(drawn(row));
        cells.push(bar.map_or_else(Cell::default, |(width, of)| width.bar(of, floor(row), None)));
        Line { class: if row.is_control() { "control" } else { "" }, cells }
    });
    let floors = if group.rows.iter().any(|row| floor(row).is_some()) { ", the grey mark the floor" } else { "" };
    let mut notes = vec![match (width.is_some(), workload) {
        (false, Workload::OfferedLoad) => format!("No bars: {NO_P99}."),
        (false, _) => "No bars: no row has a result.".into(),
        (true, Workload::OfferedLoad) => {
            format!("Bars: {what}, {scale}; of all launches together, hence without an interval.")
        }
        (true, _) if group.rows.iter().filter_map(drawn).all(|of| of.interval.is_none()) => {
            format!("Bars: {what}, {scale}; below six launches there is no interval{floors}.")
        }
        (true, _) => format!("Bars: {what}, {scale}; the thin line is the 95 % interval{floors}."),
    }];
    notes.extend(remarks(group, &group.rows.iter().collect::<Vec<_>>()));
    Table { name: format!("class-{}", index + 1), caption: heading(&group.class), notes, heads, rows: rows.collect() }
}

/// What the summary says in this column.
fn cell(column: &Column, row: &Row) -> Cell {
    let (text, plain) = (column.pretty(row), column.plain(row));
    let none = row.time.is_none() && matches!(column.key, "ns" | "bytes_per_s" | "achieved_per_s");
    let text = if none { crate::report::table::no_result(row).to_string() } else { text };
    let number = column.unit != Unit::None || matches!(column.key, "rank" | "n");
    let plain = (number && !plain.is_empty()).then_some(plain);
    Cell { text, plain, head: column.key == "mechanism", ..Cell::default() }
}

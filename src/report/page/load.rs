//! Latency against the offered load, with the knee where a mechanism can bear no more.
//!
//! Key decision: each point is a class of its own, and the rates of all campaigns of one machine are put together: whoever
//! wants one more point need not offer the others again. The latencies count from when a message was due. A rate that most launches did not reach
//! is no point of a line: its latencies say how long the window was.

use super::axis::{Axis, Unit};
use super::blocks::{Block, Cell, Figure, Head, Line, Panel, Section, Table};
use super::chart::{Chart, Point, Series};
use super::ranks::NO_P99;
use super::{Looks, chosen, class_name, doubts, of_all, short_name};
use crate::plan::{Offered, Workload};
use crate::report::Report;
use crate::report::rows::{Class, Row};
use crate::report::text::{counted, nanos, per_second};
use std::collections::BTreeMap;

/// Heading.
pub const TITLE: &str = "Latency under load";
/// What fills it.
pub const COMMAND: &str = "ipcost compare --workload offered-load --rate 10k,30k,100k,300k --placement cross-cpu";

fn rate(row: &Row) -> Option<f64> {
    row.class.rate().map(|rate| rate as f64)
}

/// Where a row stands in the figure: rate and p99, if it reached the one and has the other.
fn on_line(row: &Row) -> Option<(f64, f64)> {
    row.reached().then_some(())?;
    Some((rate(row)?, row.samples.intended.quantile(0.99)? as f64))
}

/// The rates of these campaigns.
pub fn section(reports: &[&Report], looks: &Looks) -> Section {
    let mut families: BTreeMap<Class, Vec<&Row>> = BTreeMap::new();
    let rows = reports.iter().flat_map(|report| report.all.rows());
    for row in rows.filter(|row| row.class.workload == Workload::OfferedLoad && rate(row).is_some()) {
        let offered = row.class.offered.map(|offered| Offered { rate: None, ..offered });
        families.entry(Class { offered, ..row.class }).or_default().push(row);
    }
    for rows in families.values_mut() {
        // A stable sort: rows of one rate keep their ranks.
        rows.sort_by(|a, b| rate(a).unwrap_or(0.0).total_cmp(&rate(b).unwrap_or(0.0)));
    }
    let kept: Vec<(&Class, &Vec<&Row>)> =
        families.iter().filter(|(_, rows)| rate(rows[0]) != rate(rows[rows.len() - 1])).collect();
    if kept.is_empty() {
        let what = match families.is_empty() {
            true => "No load was offered.",
            false => "One rate was offered, and a knee needs several; the table of its class has the latencies.",
        };
        return Section::absent("load", TITLE, what, COMMAND);
    }
    let table = table(kept.iter().flat_map(|(_, rows)| rows.iter().copied()));
    let drawn: Vec<_> = kept.iter().filter(|(_, rows)| rows.iter().any(|row| on_line(row).is_some())).collect();
    if drawn.is_empty() {
        let why = match kept.iter().any(|(_, rows)| rows.iter().any(|row| row.reached())) {
            true => format!("There is no line: {NO_P99} at a rate that it reached. Let runs last longer."),
            false => {
                "There is no line: no mechanism reached any of the rates in most of its launches, and a latency then \
                      says only how long the window was. Offer less."
                    .into()
            }
        };
        return Section { id: "load", title: TITLE, lead: vec![why], blocks: vec![Block::Table(table)], absent: None };
    }
    let panels = drawn.iter().enumerate().map(|(number, (class, rows))| panel(class, rows, looks, number)).collect();
    let mut notes = vec![
        "p99 of the latency from the time at which a message was due, all launches of a rate together, hence without an \
         interval. Rates may come from several campaigns. Rates that most launches did not reach end a line: beyond, a \
         latency says only how long the window was."
            .to_string(),
    ];
    if drawn.len() < kept.len() {
        notes.push(format!(
            "{} of {} classes are drawn; in the others no rate was reached with enough samples for a p99.",
            drawn.len(),
            kept.len()
        ));
    }
    let figure = Figure { name: "load".into(), notes, panels, table };
    Section { id: "load", title: TITLE, blocks: vec![Block::Figure(figure)], ..Section::default() }
}

fn panel(class: &Class, rows: &[&Row], looks: &Looks, number: usize) -> Panel {
    let mut firsts: Vec<&Row> = vec![];
    for row in rows {
        if !firsts.iter().any(|first| first.mechanism == row.mechanism && first.parties == row.parties) {
            firsts.push(row);
        }
    }
    let drawn = chosen(&firsts);
    let series = drawn.iter().map(|first| {
        let own = || rows.iter().filter(|row| row.mechanism == first.mechanism && row.parties == first.parties);
        let point = |row: &&Row| {
            let (x, y) = on_line(row)?;
            let words = format!("{} at {}: p99 {}, {}", short_name(row), per_second(x), nanos(y), doubts(row));
            Some(Point { x, y, words, ..Point::default() })
        };
        let flagged: usize = own().map(|row| row.flagged()).sum();
        let all: usize = own().map(|row| row.runs.len()).sum();
        let most = own().filter(|row| row.reached()).filter_map(|row| rate(row)).fold(0.0, f64::max);
        let few = if own().any(|row| row.reached() && on_line(row).is_none()) { ", too few samples" } else { "" };
        let most = if most > 0.0 { format!("; reached {}{few}", per_second(most)) } else { "; reached none".into() };
        Series {
            name: short_name(first),
            note: format!("{}, {flagged} flagged{most}", counted(all, "launch")),
            style: looks.style(first),
            joined: true,
            small: false,
            points: own().filter_map(point).collect(),
        }
    });
    let arrivals = class.offered.map_or(String::new(), |offered| format!(", {} arrivals", offered.arrivals));
    let title = format!("{}{arrivals}", class_name(&Class { offered: None, ..*class }));
    let chart = Chart {
        title: format!("{TITLE}: {title}"),
        about: format!(
            "p99 of the latency of {} mechanisms against the offered rate, both axes logarithmic. The table below has the values.",
            drawn.len()
        ),
        x: Axis::log("messages offered per second (logarithmic)", Unit::PerS),
        y: Axis::log("p99 from when due (logarithmic)", Unit::Nanos),
        series: series.collect(),
        references: vec![],
    };
    let (drawing, key) = (chart.draw(), chart.key());
    Panel { title, name: format!("load-{}", number + 1), drawing, key, note: of_all(drawn.len(), firsts.len()) }
}

fn table<'a>(rows: impl Iterator<Item = &'a Row>) -> Table {
    let mut heads: Vec<Head> = ["mechanism", "class"].map(Head::words).into();
    heads.extend(["offered", "p50", "p99", "p99.9", "samples", "n", "flagged"].map(Head::number));
    heads.push(Head::words("reached"));
    let line = |row: &Row| {
        let at = |q| Cell::maybe(row.samples.intended.quantile(q).map(|ns| ns as f64), nanos);
        let counts = [row.samples.intended.len(), row.runs.len() as u64, row.flagged() as u64];
        let mut cells = vec![Cell::head(short_name(row)), Cell::text(class_name(&row.class))];
        cells.extend([Cell::maybe(rate(row), per_second), at(0.5), at(0.99), at(0.999)]);
        cells.extend(counts.map(|count| Cell::number(count.to_string(), count as f64)));
        cells.push(if row.reached() { Cell::text("yes") } else { Cell::text("NO").class("warn") });
        Line::from(cells)
    };
    Table { name: "load".into(), caption: TITLE.into(), heads, rows: rows.map(line).collect(), ..Table::default() }
}

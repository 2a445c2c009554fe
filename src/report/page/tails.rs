//! Percentiles of the round trip, and round trips against the CPU time that they cost.
//!
//! Key decision: percentiles stand by their nines, so that each step to the right is ten times rarer, and come from the
//! merged samples of all launches; one without ten samples beyond it is absent, as in the tables. CPU time stands against
//! time, with lines where a round trip keeps one CPU, or two, busy from beginning to end: who lies on the second line pays
//! for latency with CPUs.

use super::axis::{Axis, Unit};
use super::blocks::{Block, Cell, Figure, Head, Line, Panel, Section, Table};
use super::chart::{Chart, Point, Reference, Series};
use super::{Looks, bracket, chosen, class_name, doubts, lacks, of_all, short_name, typical};
use crate::measure::stats::Estimate;
use crate::plan::Workload;
use crate::report::Report;
use crate::report::rows::Row;
use crate::report::summary::Group;
use crate::report::text::nanos;

/// Heading of the first figure.
pub const PERCENTILES: &str = "Percentiles of the round trip";
/// Heading of the second.
pub const CPU: &str = "Latency against CPU time per message";
/// Most panels of a figure.
const MOST_PANELS: usize = 8;

const NINES: [(f64, &str); 5] = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];

fn nines(q: f64) -> f64 {
    -(1.0 - q).log10()
}

/// Classes of round trips, with the rows that `has` something to show.
fn round_trips<'a>(report: &'a Report, has: impl Fn(&Row) -> bool) -> Vec<(&'a Group, Vec<&'a Row>)> {
    let groups = report.all.groups.iter().filter(|group| group.class.workload == Workload::PingPong);
    let rows = |group: &'a Group| group.rows.iter().filter(|row| !row.is_control() && has(row)).collect::<Vec<_>>();
    groups.map(|group| (group, rows(group))).filter(|(_, rows)| !rows.is_empty()).collect()
}

/// Why neither figure has anything: there are no round trips, or they lack something.
fn why_none(report: &Report, lack: &str) -> String {
    match report.all.groups.iter().any(|group| group.class.workload == Workload::PingPong) {
        true => format!("No round trip of this campaign {lack}."),
        false => lacks::without(report, "round trips"),
    }
}

fn too_many(panels: usize) -> Option<String> {
    (panels > MOST_PANELS).then(|| format!("{MOST_PANELS} of {panels} classes are drawn; the table has all of them."))
}

/// The tails of each class.
pub fn percentiles(report: &Report, looks: &Looks) -> Section {
    let classes = round_trips(report, |row| row.samples.rtt.quantile(0.5).is_some());
    if classes.is_empty() {
        let what = why_none(report, "was stamped");
        return Section::absent("percentiles", PERCENTILES, what, "ipcost compare --workload ping-pong");
    }
    let mut notes = vec![
        "From the stamped round trips of all launches together; a percentile with fewer than ten samples beyond it is \
         absent. There is no interval for it: launches differ, as the interval of the median in the table of the class says. \
         A ping-pong asks again only when it was answered, so its tail leaves out what would have waited meanwhile."
            .to_string(),
    ];
    notes.extend(too_many(classes.len()));
    let panel = |(number, (group, rows)): (usize, &(&Group, Vec<&Row>))| percentile_panel(group, rows, looks, number);
    let panels = classes.iter().take(MOST_PANELS).enumerate().map(panel).collect();
    let mut heads: Vec<Head> = ["mechanism", "class"].map(Head::words).into();
    heads.extend(NINES.map(|(_, name)| Head::number(name)));
    heads.extend(["max", "samples", "n", "flagged"].map(Head::number));
    let line = |row: &&Row| {
        let rtt = &row.samples.rtt;
        let mut cells = vec![Cell::head(short_name(row)), Cell::text(class_name(&row.class))];
        cells.extend(NINES.map(|(q, _)| Cell::maybe(rtt.quantile(q).map(|ns| ns as f64), nanos)));
        cells.push(Cell::maybe(rtt.max().map(|ns| ns as f64), nanos));
        let counts = [rtt.len(), row.runs.len() as u64, row.flagged() as u64];
        cells.extend(counts.map(|count| Cell::number(count.to_string(), count as f64)));
        Line::from(cells)
    };
    let rows = classes.iter().flat_map(|(_, rows)| rows).map(line).collect();
    let table = Table { name: "percentiles".into(), caption: PERCENTILES.into(), heads, rows, ..Table::default() };
    let figure = Figure { name: "percentiles".into(), notes, panels, table };
    Section { id: "percentiles", title: PERCENTILES, blocks: vec![Block::Figure(figure)], ..Section::default() }
}

fn percentile_panel(group: &Group, rows: &[&Row], looks: &Looks, number: usize) -> Panel {
    let drawn = chosen(rows);
    let series = drawn.iter().map(|row| {
        let point = |(q, name): (f64, &str)| {
            let ns = row.samples.rtt.quantile(q)? as f64;
            let words = format!("{}, {name}: {}", short_name(row), nanos(ns));
            Some(Point { x: nines(q), y: ns, words, ..Point::default() })
        };
        Series {
            name: short_name(row),
            note: doubts(row),
            style: looks.style(row),
            joined: true,
            small: false,
            points: NINES.into_iter().filter_map(point).collect(),
        }
    });
    let title = class_name(&group.class);
    let floor = typical(rows, "handover_rtt_ns");
    let chart = Chart {
        title: format!("{PERCENTILES}: {title}"),
        about: format!(
            "p50 to p99.99 of {} mechanisms, time on a logarithmic axis. The table below has the values.",
            drawn.len()
        ),
        x: Axis {
            at: NINES.map(|(q, name)| (nines(q), name.into())).into(),
            ..Axis::linear("percentile, by nines", Unit::Number)
        },
        y: Axis::log("round trip (logarithmic)", Unit::Nanos),
        series: series.collect(),
        references: floor
            .map(|ns| Reference::level(format!("bare hand-over, mean {}", nanos(ns)), ns))
            .into_iter()
            .collect(),
    };
    let (drawing, key) = (chart.draw(), chart.key());
    Panel { title, name: format!("percentiles-{}", number + 1), drawing, key, note: of_all(drawn.len(), rows.len()) }
}

fn cpu_of(row: &Row) -> Option<Estimate> {
    Estimate::of(row.each("cpu_ns")).filter(|of| of.median > 0.0)
}

/// Time against CPU time in each class.
pub fn cpu(report: &Report, looks: &Looks) -> Section {
    let classes = round_trips(report, |row| row.time.is_some() && cpu_of(row).is_some());
    if classes.is_empty() {
        let what = why_none(report, "has CPU times");
        return Section::absent("cpu", CPU, what, "ipcost compare --workload ping-pong --wait block,spin");
    }
    let mut notes = vec![
        "CPU time of both parties for a round trip, against how long it took: medians over launches with their 95 % \
         intervals in both directions. On the line \"one CPU\" somebody computes all the time, on \"two CPUs\" both do: that \
         is latency bought with CPU. Below the first line both sleep meanwhile."
            .to_string(),
    ];
    notes.extend(too_many(classes.len()));
    let panel = |(number, (group, rows)): (usize, &(&Group, Vec<&Row>))| cpu_panel(group, rows, looks, number);
    let panels = classes.iter().take(MOST_PANELS).enumerate().map(panel).collect();
    let mut heads: Vec<Head> = ["mechanism", "class"].map(Head::words).into();
    heads
        .extend(["round trip", "low", "high", "CPU/msg", "low", "high", "CPUs busy", "n", "flagged"].map(Head::number));
    let line = |row: &&Row| {
        let (time, cpu) = (row.time, cpu_of(row));
        let mut cells = vec![Cell::head(short_name(row)), Cell::text(class_name(&row.class))];
        for of in [time, cpu] {
            let (low, high) = of.and_then(|of| of.interval).unzip();
            cells.extend([of.map(|of| of.median), low, high].map(|ns| Cell::maybe(ns, nanos)));
        }
        let busy = cpu.zip(time).map(|(cpu, time)| cpu.median / time.median);
        cells.push(Cell::maybe(busy, |busy| format!("{busy:.2}")));
        let counts = [row.runs.len(), row.flagged()];
        cells.extend(counts.map(|count| Cell::number(count.to_string(), count as f64)));
        Line::from(cells)
    };
    let rows = classes.iter().flat_map(|(_, rows)| rows).map(line).collect();
    let table = Table { name: "cpu".into(), caption: CPU.into(), heads, rows, ..Table::default() };
    let figure = Figure { name: "cpu".into(), notes, panels, table };
    Section { id: "cpu", title: CPU, blocks: vec![Block::Figure(figure)], ..Section::default() }
}

fn cpu_panel(group: &Group, rows: &[&Row], looks: &Looks, number: usize) -> Panel {
    let drawn = chosen(rows);
    let series: Vec<Series> = drawn
        .iter()
        .filter_map(|row| {
            let (time, cpu) = (row.time?, cpu_of(row)?);
            let took = format!("{} {}", nanos(time.median), bracket(time.interval, nanos));
            let cost = format!("{} {}", nanos(cpu.median), bracket(cpu.interval, nanos));
            let words = format!("{}: {took}, CPU {cost}, {}", short_name(row), doubts(row));
            let point = Point { x: time.median, y: cpu.median, across: time.interval, up: cpu.interval, words };
            let (name, note, style) = (short_name(row), doubts(row), looks.style(row));
            Some(Series { name, note, style, joined: false, small: false, points: vec![point] })
        })
        .collect();
    let ends = series.iter().flat_map(|s| &s.points).flat_map(|p| {
        let (low, high) = p.across.unwrap_or((p.x, p.x));
        [low, high]
    });
    let (low, high) = ends.fold((f64::INFINITY, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
    let busy =
        |cpus: f64, name: &str| Reference { name: name.into(), points: vec![(low, cpus * low), (high, cpus * high)] };
    let title = class_name(&group.class);
    let chart = Chart {
        title: format!("{CPU}: {title}"),
        about: format!(
            "CPU time of both parties against the round trip of {} mechanisms, both axes logarithmic. The table below has the values.",
            drawn.len()
        ),
        x: Axis::log("round trip (logarithmic)", Unit::Nanos),
        y: Axis::log("CPU time per round trip (logarithmic)", Unit::Nanos),
        series,
        references: vec![busy(2.0, "two CPUs busy throughout"), busy(1.0, "one CPU busy throughout")],
    };
    let (drawing, key) = (chart.draw(), chart.key());
    Panel { title, name: format!("cpu-{}", number + 1), drawing, key, note: of_all(drawn.len(), rows.len()) }
}

//! Every run in the order in which it was made: what moved meanwhile, and which runs are doubtful.
//!
//! Key decision: each run as a multiple of the median of its row, so that all rows of a class share a picture and a
//! drifting machine shows as a slope. A long campaign is thinned to every k-th run, which is said.

use super::axis::{Axis, Unit};
use super::blocks::{Block, Cell, Figure, Head, Line, Panel, Section, Table};
use super::chart::{Chart, Point, Reference, Series, Style};
use super::{Material, class_name, short_name};
use crate::measure::stats::Estimate;
use crate::report::rows::{Row, Run};
use crate::report::summary::Group;
use crate::report::text::{counted, digits, nanos};
use std::rc::Rc;

const TITLE: &str = "Raw runs, in order";
/// Most runs that are drawn and listed, and most classes.
const MOST_RUNS: usize = 2000;
const MOST_PANELS: usize = 12;
/// Parts of the campaign that get a median each.
const PARTS: usize = 10;

/// One run beside the median of its row.
struct Beside<'a> {
    row: &'a Row,
    run: &'a Rc<Run>,
    pace: f64,
}

fn all<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<Beside<'a>> {
    let runs = rows.flat_map(|row| {
        let median = row.time.map(|time| time.median);
        row.runs.iter().filter_map(move |run| Some(Beside { row, run, pace: run.ns? / median? }))
    });
    let mut runs: Vec<Beside> = runs.collect();
    runs.sort_by_key(|one| one.run.order);
    runs
}

/// The runs of each class.
pub fn section(own: &Material) -> Section {
    let Some(report) = own.report else {
        return Section::absent("runs", TITLE, own.no_campaign(), "ipcost compare");
    };
    let runs = all(report.all.rows());
    if runs.is_empty() {
        return Section::absent("runs", TITLE, "No run has a result.", "ipcost compare");
    }
    let every = runs.len().div_ceil(MOST_RUNS);
    let mut notes = vec![
        "Each mark is a launch: its time divided by the median of its row. A dot has no flag; a triangle has one or more. \
         The line joins the medians of ten equal parts of the campaign, all rows of the class together: a slope is drift."
            .to_string(),
    ];
    notes.extend(report.all.groups.iter().any(|group| !group.class.is_timed()).then(|| {
        "At an offered rate that was reached the time per message is the rate's: such runs lie on 1 whatever they were like."
            .to_string()
    }));
    notes.extend((every > 1).then(|| format!("One in {every} of {} launches is drawn and listed.", runs.len())));
    let drift = &report.all.drift;
    if let (Some(whole), Some(pace)) = (drift.whole, drift.last_to_first) {
        notes.push(format!(
            "All together: rank correlation with the order {:.2}; the last fifth took {} x the first; {} of {} rows move.",
            whole.rho,
            digits(pace),
            drift.moving.len(),
            drift.tested
        ));
    }
    let groups: Vec<&Group> =
        report.all.groups.iter().filter(|group| group.rows.iter().any(|row| row.time.is_some())).collect();
    if groups.len() > MOST_PANELS {
        notes.push(format!("{MOST_PANELS} of {} classes are drawn.", groups.len()));
    }
    let panels =
        groups.iter().take(MOST_PANELS).enumerate().map(|(number, group)| panel(group, number, every)).collect();
    let table = table(runs.iter().step_by(every));
    let figure = Figure { name: "runs".into(), notes, panels, table };
    Section { id: "runs", title: TITLE, blocks: vec![Block::Figure(figure)], ..Section::default() }
}

fn panel(group: &Group, number: usize, every: usize) -> Panel {
    let runs = all(group.rows.iter());
    let of = |flagged: bool, name: &str, style: Style| {
        let is = |one: &&Beside| one.run.flags.is_empty() != flagged;
        let point = |one: &Beside| Point {
            x: f64::from(one.run.order),
            y: one.pace,
            words: format!(
                "{}, launch {}: {} x its median; {}",
                short_name(one.row),
                one.run.order,
                digits(one.pace),
                flags(one.run)
            ),
            ..Point::default()
        };
        let points = runs.iter().step_by(every).filter(is).map(point).collect();
        let count = runs.iter().filter(is).count();
        Series { name: name.into(), note: counted(count, "launch"), style, joined: false, small: true, points }
    };
    let parts = runs.chunks(runs.len().div_ceil(PARTS).max(1)).filter_map(|part| {
        let middle = part[part.len() / 2].run.order;
        Some((f64::from(middle), Estimate::of(part.iter().map(|one| one.pace))?.median))
    });
    let title = class_name(&group.class);
    let chart = Chart {
        title: format!("{TITLE}: {title}"),
        about: "Time of each launch as a multiple of its row's median, against its position in the campaign. The table below has the values.".into(),
        x: Axis::linear("position in the campaign", Unit::Number),
        y: Axis::log("time / median of its row (logarithmic)", Unit::Number),
        series: vec![
            of(false, "without a flag", Style::numbered(0, false)),
            of(true, "flagged", Style { colour: 1, shape: 0, hollow: true }),
        ],
        references: vec![Reference { name: "medians of tenths".into(), points: parts.collect() }],
    };
    let (drawing, key) = (chart.draw(), chart.key());
    let bad: usize = group.rows.iter().map(|row| row.bad.len()).sum();
    let note = if bad > 0 { format!("Not drawn: {} without a result.", counted(bad, "launch")) } else { String::new() };
    Panel { title, name: format!("runs-{}", number + 1), drawing, key, note }
}

fn flags(run: &Run) -> String {
    if run.flags.is_empty() { "no flag".into() } else { run.flags.join(", ") }
}

fn table<'a>(runs: impl Iterator<Item = &'a Beside<'a>>) -> Table {
    let mut heads = vec![Head::number("launch").hint("position in the campaign, from 0")];
    heads.extend([Head::number("round"), Head::words("mechanism"), Head::words("class")]);
    heads.extend([Head::number("time"), Head::number("/ median"), Head::words("flags")]);
    let line = |one: &Beside| {
        Line::from(vec![
            Cell::number(one.run.order.to_string(), f64::from(one.run.order)),
            Cell::number(one.run.round.to_string(), f64::from(one.run.round)),
            Cell::head(short_name(one.row)),
            Cell::text(class_name(&one.row.class)),
            Cell::maybe(one.run.ns, nanos),
            Cell::number(digits(one.pace), one.pace),
            Cell::text(one.run.flags.join(" ")),
        ])
    };
    Table { name: "runs".into(), caption: TITLE.into(), heads, rows: runs.map(line).collect(), ..Table::default() }
}

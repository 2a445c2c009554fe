//! Paired ratios: every row against every other one of its class, and processes against threads.
//!
//! Key decision: the ratios and the rule for "no difference" are those of the ranks, so a grey field and a shared rank say
//! the same. Only the half below the diagonal is shown, as the other half is its reciprocal.

use super::answer::twins as pairs;
use super::blocks::{Block, Cell, Head, Line, Section, Table};
use super::ranks::Width;
use super::{bracket, class_name, doubts, lacks, percent, short_name};
use crate::measure::stats::Estimate;
use crate::plan::Parties;
use crate::report::Report;
use crate::report::rows::Row;
use crate::report::summary::{Group, apart, ratio};
use crate::report::text::digits;

/// Heading of the matrix.
pub const MATRIX: &str = "How many times as long: row against column";
/// Heading of the twins.
pub const TWINS: &str = "Processes against threads, same mechanism";
/// What fills the matrix.
pub const MATRIX_COMMAND: &str = "ipcost compare --mechanism pipe,unix-stream,shm-ring --workload ping-pong,stream";
/// What fills the table of twins.
pub const TWINS_COMMAND: &str = "ipcost compare --parties process,thread --workload ping-pong,stream";
/// Most rows of a matrix, and most matrices: beyond, nobody finds anything.
const MOST_ROWS: usize = 13;
const MOST_CLASSES: usize = 12;
/// Matrices that are open from the start.
const OPEN: usize = 3;

fn comparable(report: &Report) -> impl Iterator<Item = &Group> {
    report.all.groups.iter().filter(|group| group.class.is_timed())
}

/// Why there is no ratio: nothing was timed, or no class has both sides of one.
fn why_none(report: &Report, sides: &str) -> String {
    if comparable(report).next().is_none() {
        let why = "Times per message are compared, and at an offered rate it is the rate that decides them.";
        return format!("{} {why}", lacks::without(report, "round trips or streams"));
    }
    format!("No class whose times are compared has {sides} with a result.")
}

fn noise_note(group: &Group) -> String {
    match group.noise.is_finite() {
        true => format!("Noise of the class: ratios within {} are no difference.", percent(group.noise)),
        false => "The noise of the class is unknown, so nothing is told apart.".into(),
    }
}

/// The matrix of each class.
pub fn matrix(report: &Report) -> Section {
    let all: Vec<&Group> = comparable(report).filter(|group| fastest_first(group).len() > 1).collect();
    if all.is_empty() {
        let what = why_none(report, "two mechanisms, or one between processes and between threads,");
        return Section::absent("ratios", MATRIX, what, MATRIX_COMMAND);
    }
    let fold = |(number, group): (usize, &&Group)| Block::Fold {
        title: class_name(&group.class),
        open: number < OPEN,
        blocks: vec![Block::Table(matrix_of(group, number))],
    };
    let blocks = all.iter().take(MOST_CLASSES).enumerate().map(fold).collect();
    let mut lead = vec![
        "Median over rounds of the paired ratio of times, with its 95 % interval: 2.00 means that the row takes twice as \
         long as the column. Grey: no difference, because the interval contains 1 or the median lies within the noise of \
         the class."
            .into(),
    ];
    if all.len() > MOST_CLASSES {
        lead.push(format!("{MOST_CLASSES} of {} classes are shown.", all.len()));
    }
    Section { id: "ratios", title: MATRIX, lead, blocks, absent: None }
}

fn fastest_first(group: &Group) -> Vec<&Row> {
    let mut rows: Vec<(&Row, f64)> =
        group.rows.iter().filter(|row| !row.is_control()).filter_map(|row| Some((row, row.time?.median))).collect();
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    rows.into_iter().map(|(row, _)| row).collect()
}

fn matrix_of(group: &Group, number: usize) -> Table {
    let all = fastest_first(group);
    let rows = &all[..all.len().min(MOST_ROWS)];
    let mut heads = vec![Head::words("times as long as")];
    heads.extend(rows[..rows.len() - 1].iter().map(|row| Head::number(short_name(row))));
    let line = |(index, row): (usize, &&Row)| {
        let against = |(column, other): (usize, &&Row)| {
            if column >= index {
                return Cell::default().class("empty");
            }
            ratio(row, other).map_or_else(Cell::default, |ratio| cell(&ratio, group.noise))
        };
        let mut cells = vec![Cell::head(short_name(row)).below(doubts(row))];
        cells.extend(rows[..rows.len() - 1].iter().enumerate().map(against));
        Line::from(cells)
    };
    let mut notes = vec![noise_note(group)];
    if all.len() > rows.len() {
        notes.push(format!("The fastest {} of {} rows.", rows.len(), all.len()));
    }
    Table {
        name: format!("ratios-{}", number + 1),
        caption: format!("{}: times as long, row against column", class_name(&group.class)),
        notes,
        heads,
        rows: rows.iter().enumerate().skip(1).map(line).collect(),
    }
}

fn cell(ratio: &Estimate, noise: f64) -> Cell {
    let class = if apart(Some(*ratio), noise) { "" } else { "tie" };
    let interval =
        ratio.interval.map_or("no interval".into(), |(low, high)| format!("{}-{}", digits(low), digits(high)));
    Cell::number(digits(ratio.median), ratio.median).below(interval).class(class)
}

/// Each mechanism that ran between processes and between threads, in each class.
pub fn twins(report: &Report) -> Section {
    let all: Vec<(&Group, &Row, Estimate)> =
        comparable(report).flat_map(|group| pairs(group).map(move |(row, ratio)| (group, row, ratio))).collect();
    let ends = |ratio: &Estimate| {
        let (low, high) = ratio.interval.unwrap_or((ratio.median, ratio.median));
        [low, ratio.median, high]
    };
    let Some(width) = Width::of_ratios(all.iter().flat_map(|(_, _, ratio)| ends(ratio))).filter(|_| !all.is_empty())
    else {
        let what = why_none(report, "one mechanism both between processes and between threads");
        return Section::absent("twins", TWINS, what, TWINS_COMMAND);
    };
    let line = |(group, row, ratio): &(&Group, &Row, Estimate)| {
        let different = apart(Some(*ratio), group.noise);
        let verdict = match (different, ratio.interval) {
            (_, None) => "no interval",
            _ if !group.noise.is_finite() => "noise unknown",
            (false, _) => "no difference",
            (true, _) if ratio.median > 1.0 => "processes slower",
            (true, _) => "processes faster",
        };
        let thread = group.rows.iter().find(|o| o.mechanism == row.mechanism && o.parties == Parties::Thread);
        let doubtful = row.flagged() + thread.map_or(0, Row::flagged);
        let band = group.noise.is_finite().then(|| (1.0 / (1.0 + group.noise), 1.0 + group.noise));
        Line::from(vec![
            Cell::head(row.variant()),
            Cell::text(class_name(&group.class)),
            Cell::number(digits(ratio.median), ratio.median),
            Cell::text(bracket(ratio.interval, digits)),
            Cell::number(ratio.n.to_string(), ratio.n as f64),
            Cell::number(doubtful.to_string(), doubtful as f64),
            Cell::text(verdict).class(if different { "" } else { "tie" }),
            width.bar(*ratio, Some(1.0), band),
        ])
    };
    let heads = vec![
        Head::words("mechanism"),
        Head::words("class"),
        Head::number("processes / threads").hint("median of the paired ratios of times per message or round trip"),
        Head::number("95 % interval"),
        Head::number("n").hint("rounds in which both ran"),
        Head::number("flagged").hint("launches of both with a reason for doubt"),
        Head::words("verdict"),
        Head::bars("ratio, logarithmic").hint("1 in the middle; shaded: the noise of the class"),
    ];
    let table = Table {
        name: "twins".into(),
        caption: "Time between processes divided by time between threads".into(),
        notes: vec![
            "The grey line is 1, the shaded stretch the noise of the class; the scale is logarithmic. A ratio is a \
             difference only if its interval excludes 1 and its median lies outside the noise."
                .into(),
        ],
        heads,
        rows: all.iter().map(line).collect(),
    };
    Section { id: "twins", title: TWINS, blocks: vec![Block::Table(table)], ..Section::default() }
}

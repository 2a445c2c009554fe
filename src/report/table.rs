//! Tables for people, on a terminal and in markdown, and what is said around them.

use super::columns::{COLUMNS, Column};
use super::summary::{Class, Group, Planted, Row, Summary, apart, ratio};
use super::text::{digits, nanos};
use crate::campaign::journal::Saved;
use crate::measure::stats::Estimate;
use crate::plan::{Parties, Touch, Workload, show_size};
use comfy_table::{CellAlignment, Table, presets};
use std::fmt::Write;

/// How tables are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Aligned columns.
    Terminal,
    /// Markdown with headings.
    Markdown,
}

/// Everything that a results folder says, for people.
pub fn page(saved: &Saved, style: Style) -> String {
    let summary = Summary::of(saved);
    let mut text = String::new();
    if style == Style::Markdown {
        let host = &saved.host;
        let _ = writeln!(text, "# What communication costs on {}\n", host.slug);
        let _ =
            writeln!(text, "{}, {} CPUs, hypervisor {}, kernel {}.", host.cpu, host.cpus, host.hypervisor, host.kernel);
        let rounds = saved.runs.iter().map(|run| run.run.round + 1).max().unwrap_or(0);
        let _ = writeln!(text, "{} launches in {rounds} rounds, seed {}.\n", saved.runs.len(), saved.campaign.seed);
    }
    for group in &summary.groups {
        text.push_str(&class_table(&group.class, &group.rows, style));
        for line in remarks(group) {
            let bullet = if style == Style::Markdown { "- " } else { "" };
            let _ = writeln!(text, "{bullet}{line}");
        }
        text.push('\n');
    }
    text.push_str(&footer(&summary, saved));
    text
}

/// The heading of a class: everything that its rows have in common.
pub fn heading(class: &Class) -> String {
    let Class { workload, offered, size, wait, placement, touch } = class;
    let what = match workload {
        Workload::PingPong => "round trip of one message each way",
        Workload::Stream => "one direction, until verified by the consumer",
        Workload::OfferedLoad => "one direction, latency from the intended send time",
    };
    let offered = offered.map(|offered| format!(" at {offered}")).unwrap_or_default();
    let touch = if *touch == Touch::Header { ", HEADER ONLY touched" } else { "" };
    format!("{workload} {}{offered}, wait {wait}, {placement}: {what}{touch}", show_size(*size))
}

fn class_table(class: &Class, rows: &[Row], style: Style) -> String {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|c| c.printed(class.workload)).collect();
    let mut table = Table::new();
    table.set_header(columns.iter().map(|c| c.title));
    let words = |c: &Column| matches!(c.key, "mechanism" | "parties");
    for row in rows {
        let mut cells: Vec<String> = columns.iter().map(|c| c.pretty(row)).collect();
        if row.time.is_none() {
            let status = row.bad.first().map_or("no result", |o| super::text::status(o.status));
            if let Some(cell) = columns.iter().position(|c| matches!(c.key, "ns" | "bytes_per_s" | "achieved_per_s")) {
                cells[cell] = status.into();
            }
        }
        table.add_row(cells);
    }
    match style {
        Style::Terminal => table.load_style(presets::NOTHING),
        Style::Markdown => table.load_style(presets::ASCII_MARKDOWN),
    };
    for (index, column) in columns.iter().enumerate() {
        if let Some(place) = table.column_mut(index) {
            place.set_cell_alignment(if words(column) { CellAlignment::Left } else { CellAlignment::Right });
            if style == Style::Terminal {
                place.set_padding((0, 2));
            }
        }
    }
    let head = heading(class);
    match style {
        Style::Terminal => format!("{head}\n{}\n", trimmed(&table.to_string())),
        Style::Markdown => format!("## {head}\n\n{table}\n\n"),
    }
}

fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// What is said below a table: twins against each other, and the noise.
fn remarks(group: &Group) -> Vec<String> {
    let (rows, noise) = (&group.rows, group.noise());
    let mut lines = Vec::new();
    if group.class.workload == Workload::OfferedLoad {
        // At one rate, the time per message is the rate's and compares nothing that a reader could use.
        return vec![
            "ranked by the rate that was carried: rows that reach it share a rank, whatever their latencies".into(),
        ];
    }
    for process in rows.iter().filter(|r| r.parties == Parties::Process) {
        let twin = rows.iter().find(|r| r.parties == Parties::Thread && r.mechanism == process.mechanism);
        if let Some(estimate) = twin.and_then(|thread| ratio(process, thread)) {
            lines.push(format!("{}: processes / threads = {}", process.mechanism, verdict(&estimate, noise)));
        }
    }
    // The same ring code, once on a mapping between processes and once on the heap between threads.
    let find = |name: &str, parties| rows.iter().find(|r| r.mechanism == name && r.parties == parties);
    if let (Some(shm), Some(heap)) = (find("shm-ring", Parties::Process), find("heap-ring", Parties::Thread))
        && let Some(estimate) = ratio(shm, heap)
    {
        lines.push(format!("shm-ring (processes) / heap-ring (threads) = {}", verdict(&estimate, noise)));
    }
    if let Some(null) = &group.null {
        let found = interval(&null.ratio, digits);
        let percent = digits(100.0 * noise);
        lines.push(format!(
            "noise: {} against itself = {found}; ratios within {percent} % are no difference",
            null.subject
        ));
    }
    lines
}

fn interval(estimate: &Estimate, show: impl Fn(f64) -> String) -> String {
    let bounds = match estimate.interval {
        Some((low, high)) => format!("[{}, {}]", show(low), show(high)),
        None => "(no interval below 6 rounds)".into(),
    };
    format!("{} {bounds}", show(estimate.median))
}

/// A ratio in words: with its interval, and as "no difference" where it is none.
pub fn verdict(ratio: &Estimate, noise: f64) -> String {
    let difference = if ratio.interval.is_some() && !apart(Some(*ratio), noise) { ", no difference" } else { "" };
    format!("{}{difference}", interval(ratio, digits))
}

/// Whether a planted delay was found again.
fn found_again(planted: &Planted) -> &'static str {
    let ns = planted.ns as f64;
    match planted.seen.interval {
        None => "no interval below 6 rounds",
        Some((low, _)) if low <= 0.0 => "lost in the noise: do not trust differences of this size",
        // The wait ends at the first clock reading beyond it, so a little more than was planted is right.
        Some((low, high)) if low <= 1.1 * ns && high >= 0.9 * ns => "found again",
        Some(_) => "NOT what was planted: do not trust this campaign",
    }
}

fn footer(summary: &Summary, saved: &Saved) -> String {
    let mut text = String::new();
    if let Some(planted) = &summary.planted {
        let seen = interval(&planted.seen, nanos);
        let (ns, subject) = (nanos(planted.ns as f64), &planted.subject);
        let _ =
            writeln!(text, "control  a delay of {ns} planted in {subject} shows as {seen}: {}", found_again(planted));
    }
    let rows = || summary.groups.iter().flat_map(|group| &group.rows);
    let flagged: usize = rows().map(Row::flagged).sum();
    let bad: usize = rows().map(|row| row.bad.len()).sum();
    let _ = writeln!(
        text,
        "runs     {} launches, {flagged} with doubts (see flags in summary.csv), {bad} without a result",
        saved.runs.len()
    );
    for row in rows() {
        if let Some(bad) = row.bad.first() {
            let reason = bad.reason.as_deref().unwrap_or("no reason given");
            let _ = writeln!(
                text,
                "{:<9}{} {}: {reason}",
                super::text::status(bad.status),
                row.mechanism,
                heading(&row.class)
            );
        }
    }
    let mut reasons: Vec<String> = Vec::new();
    for cell in &summary.unsupported {
        let reason = cell.reason.clone().unwrap_or_default();
        if !reasons.contains(&reason) {
            let _ = writeln!(text, "not here {}: {reason}", cell.mechanism);
            reasons.push(reason);
        }
    }
    for remark in &saved.remarks {
        let _ = writeln!(text, "remark   {remark}");
    }
    text
}

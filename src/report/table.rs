//! Tables for people, on a terminal and in markdown, and what is said around them.

use super::Report;
use super::choice::Choice;
use super::columns::{COLUMNS, Column};
use super::fit::{Head, Width, markdown, table, wrapped};
use super::flags::{Effect, counts, meaning};
use super::rows::{Class, Row, Which};
use super::summary::{Drift, Group, Planted, apart, ratio};
use super::text::{digits, nanos};
use crate::measure::stats::Estimate;
use crate::plan::{Parties, Touch, Workload};
use std::collections::BTreeSet;
use std::fmt::Write;

/// How tables are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Aligned columns.
    Terminal,
    /// Markdown with headings.
    Markdown,
}

/// What of a folder is shown, and how wide.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Which classes and rows.
    pub choice: Choice,
    /// Of a terminal; markdown is as wide as it gets.
    pub width: Width,
}

/// Everything that a results folder says, for people, from all runs or from unflagged ones.
pub fn page(report: &Report, which: Which, style: Style) -> String {
    page_in(report, which, style, &View::default())
}

/// As [`page`], of what was chosen, on a terminal of a certain width. Ranks, noise and ties are those of all rows.
pub fn page_in(report: &Report, which: Which, style: Style, view: &View) -> String {
    let (saved, summary) = (&report.saved, report.summary(which));
    let mut text = String::new();
    if style == Style::Markdown {
        let host = &saved.host;
        let _ = writeln!(text, "# What communication costs on {}\n", host.slug);
        let _ =
            writeln!(text, "{}, {} CPUs, hypervisor {}, kernel {}.", host.cpu, host.cpus, host.hypervisor, host.kernel);
        let (launches, rounds, seed) = (report.launches, report.rounds, saved.campaign.seed);
        let _ = writeln!(text, "{launches} launches in {rounds} rounds, seed {seed}.\n");
    }
    if which == Which::Unflagged {
        let _ = writeln!(text, "From launches without a flag only.\n");
    }
    let mut shown = 0;
    for group in &summary.groups {
        let rows: Vec<&Row> = group.rows.iter().filter(|row| view.choice.row(row)).collect();
        if rows.is_empty() {
            continue;
        }
        shown += 1;
        text.push_str(&class_table(&group.class, &rows, style, view.width));
        for line in remarks(group, &rows) {
            text.push_str(&match style {
                Style::Markdown => format!("- {line}\n"),
                Style::Terminal => wrapped("", &line, view.width),
            });
        }
        text.push('\n');
    }
    if view.choice.is_everything() {
        text.push_str(&footer(report, which, style, view.width));
    } else {
        let line =
            format!("{shown} of {} classes; ranks and noise are those of the whole folder", summary.groups.len());
        text.push_str(&wrapped("", &line, view.width));
    }
    text
}

/// The classes of a folder, a line each, and the names of what was measured in them.
pub fn classes(report: &Report, which: Which, view: &View) -> String {
    let heads = [
        Head::words("workload", 0),
        Head::number("size", 0),
        Head::words("wait", 0),
        Head::words("placement", 0),
        Head::words("besides", 2),
        Head::number("rows", 0),
        Head::number("launches", 1),
    ];
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut lines = Vec::new();
    for group in &report.summary(which).groups {
        let rows: Vec<&Row> = group.rows.iter().filter(|row| view.choice.row(row)).collect();
        if rows.is_empty() {
            continue;
        }
        names.extend(rows.iter().map(|row| row.mechanism.as_str()));
        let Class { workload, size, wait, placement, .. } = group.class;
        lines.push(vec![
            workload.to_string(),
            crate::plan::show_size(size),
            wait.to_string(),
            placement.to_string(),
            besides(&group.class),
            rows.len().to_string(),
            rows.iter().map(|row| row.runs.len()).sum::<usize>().to_string(),
        ]);
    }
    let names: Vec<&str> = names.into_iter().collect();
    let text = table(&heads, &lines, view.width);
    format!("{text}\n{}", wrapped("mechanisms  ", &names.join(", "), view.width))
}

/// What is unusual about a class.
fn besides(class: &Class) -> String {
    let mut parts: Vec<String> = class.offered.iter().map(|offered| format!("at {offered}")).collect();
    let several = class.several.to_string();
    parts.extend(Some(several.trim_start_matches(", ").to_string()).filter(|several| !several.is_empty()));
    parts.extend((class.touch == Touch::Header).then(|| "header only".into()));
    parts.extend(class.nagle.then(|| "nagle".into()));
    parts.extend((!class.pages.are_usual()).then(|| class.pages.to_string()));
    parts.join(", ")
}

/// The heading of a class: everything that its rows have in common.
pub fn heading(class: &Class) -> String {
    let what = match class.workload {
        Workload::PingPong if class.several.outstanding.is_some() => "time per round trip, p99 of a whole one",
        Workload::PingPong => "round trip of one message each way",
        Workload::Stream if class.several.batch.is_some() => "one direction, batches, all figures per message",
        Workload::Stream => "one direction, until verified by the consumer",
        Workload::OfferedLoad => "one direction, latency from the intended send time",
        Workload::FanIn => "several producers, until verified by the one consumer",
        Workload::FanOut => "one producer, until the last of several consumers has verified its share",
        Workload::Broadcast => "one producer, until the last of several consumers has verified every message",
        Workload::Pairs => "independent producers and consumers, all together",
    };
    let touch = if class.touch == Touch::Header { ", HEADER ONLY touched" } else { "" };
    format!("{class}: {what}{touch}")
}

/// In which order columns make room: the largest goes first, and 0 never. What a row is and its main figure stay; how many
/// launches it has is the same for most rows, and a second form of the same figure goes before another figure.
fn spare(key: &str) -> u8 {
    match key {
        "n" => 9,
        "messages_per_s" => 8,
        "load_actual_p99" => 7,
        "load_p50" => 6,
        "via" => 5,
        "load_p999" | "rtt_p99" => 4,
        "cpu_ns" => 3,
        "floor_multiple" | "memcpy_multiple" | "fairness" => 2,
        "interval" | "load_p99" => 1,
        _ => 0,
    }
}

fn class_table(class: &Class, rows: &[&Row], style: Style, width: Width) -> String {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|c| c.printed(class.workload)).collect();
    let words = |c: &Column| matches!(c.key, "mechanism" | "parties");
    let heads: Vec<Head> =
        columns.iter().map(|c| Head { title: c.title.into(), words: words(c), spare: spare(c.key) }).collect();
    let cells = |row: &&Row| {
        let mut cells: Vec<String> = columns.iter().map(|c| c.pretty(row)).collect();
        if row.time.is_none() {
            let status = no_result(row);
            if let Some(cell) = columns.iter().position(|c| matches!(c.key, "ns" | "bytes_per_s" | "achieved_per_s")) {
                cells[cell] = status.into();
            }
        }
        cells
    };
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let head = heading(class);
    match style {
        Style::Terminal => wrapped("", &head, width) + &table(&heads, &cells, width),
        Style::Markdown => format!("## {head}\n\n{}\n", markdown(&heads, &cells)),
    }
}

/// Why a row has no time, in a word.
pub fn no_result(row: &Row) -> &'static str {
    let flagged_only = if row.runs.is_empty() { "all flagged" } else { "no result" };
    row.bad.first().map_or(flagged_only, |bad| super::text::status(bad.status))
}

/// What is said below a table: twins against each other, and the noise.
pub fn remarks(group: &Group, rows: &[&Row]) -> Vec<String> {
    let noise = group.noise;
    let mut lines = Vec::new();
    if !group.class.is_timed() {
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
    let pair = group.null.as_ref();
    let pair = pair.map(|null| format!("{} against itself = {}", null.subject, interval(&null.ratio, digits)));
    lines.push(match (pair, noise.is_finite()) {
        (Some(pair), true) => format!("noise: {pair}; ratios within {} % are no difference", digits(100.0 * noise)),
        (None, true) => format!("noise: as in all runs; ratios within {} % are no difference", digits(100.0 * noise)),
        (Some(pair), false) => format!("noise: {pair}, which is not enough: all rows share a rank"),
        (None, false) => "noise: unknown, because nothing ran against itself: all rows share a rank".into(),
    });
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
        Some((low, high)) if low <= planted.most_ns && high >= 0.9 * ns => "found again",
        Some(_) => "NOT what was planted: do not trust this campaign",
    }
}

/// Most names in one line below the tables.
const MOST_NAMES: usize = 12;

/// `: a, b, c and 4 more`, or nothing.
fn names(names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join("; ");
    match names.len() {
        0 => String::new(),
        n if n > MOST_NAMES => format!(": {shown}; and {} more", n - MOST_NAMES),
        _ => format!(": {shown}"),
    }
}

fn drift_lines(drift: &Drift) -> Vec<String> {
    let mut lines = vec![match (drift.tested, drift.moving.len()) {
        (0, _) => "not looked for: no row has six runs".into(),
        (tested, 0) => format!("none found in {tested} rows"),
        (tested, moving) => format!("{moving} of {tested} rows move with run order{}", names(&drift.moving)),
    }];
    if let (Some(whole), Some(pace)) = (drift.whole, drift.last_to_first) {
        let p = if whole.p < 0.001 { "p below 0.001".into() } else { format!("p {:.3}", whole.p) };
        lines.push(format!(
            "all runs together: rank correlation {:.2}, {p}; the last fifth took {} x the first",
            whole.rho,
            digits(pace)
        ));
    }
    lines
}

fn effect_lines(effect: &Effect) -> Vec<String> {
    let Effect { rows, moved, reranked, thin } = effect;
    let count = |list: &[String]| format!("{} of {rows} rows", list.len());
    let mut lines = vec![
        format!("{} would move by more than the noise{}", count(moved), names(moved)),
        format!("{} would change rank{}", count(reranked), names(reranked)),
    ];
    if *thin > 0 {
        lines.push(format!("{thin} of {rows} rows would keep fewer than six runs, and no interval"));
    }
    lines
}

fn footer(report: &Report, which: Which, style: Style, width: Width) -> String {
    let (summary, saved) = (report.summary(which), &report.saved);
    let mut text = String::new();
    let mut line = |label: &str, what: &str| {
        text.push_str(&match (style, label) {
            (Style::Terminal, _) => wrapped(&format!("{label:<9}"), what, width),
            (Style::Markdown, "") => format!("  - {what}\n"),
            (Style::Markdown, _) => format!("- {label}: {what}\n"),
        });
    };
    if let Some(planted) = &summary.planted {
        let seen = interval(&planted.seen, nanos);
        let (ns, subject) = (nanos(planted.ns as f64), &planted.subject);
        line("control", &format!("a delay of {ns} planted in {subject} shows as {seen}: {}", found_again(planted)));
    }
    if which == Which::All {
        let flagged: usize = summary.all_rows().map(Row::flagged).sum();
        let bad: usize = summary.all_rows().map(|row| row.bad.len()).sum();
        line("runs", &format!("{} launches, {flagged} with doubts, {bad} without a result", report.launches));
        for (flag, count) in counts(summary.all_rows()) {
            line("", &format!("{flag} {count}: {}", meaning(flag)));
        }
        if flagged > 0 {
            line("without", "those with doubts (summary-unflagged.md, ipcost show --unflagged)");
            effect_lines(&report.effect).iter().for_each(|what| line("", what));
        }
        let mut drift = drift_lines(&summary.drift).into_iter();
        drift.next().iter().for_each(|what| line("drift", what));
        drift.for_each(|what| line("", &what));
    }
    for row in summary.all_rows() {
        if let Some(bad) = row.bad.first() {
            let label = row.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
            let what = format!("{}{label} {}: {}", row.mechanism, heading(&row.class), bad.reason);
            line(super::text::status(bad.status), &what);
        }
    }
    let mut reasons: Vec<&str> = Vec::new();
    for cell in &report.unsupported {
        let reason = cell.reason.as_deref().unwrap_or_default();
        if !reasons.contains(&reason) {
            line("not here", &format!("{}: {reason}", cell.mechanism));
            reasons.push(reason);
        }
    }
    let complete = saved.campaign.rounds;
    if complete > 0 && report.rounds > complete {
        let most = report.rounds;
        line(
            "extended",
            &format!("headline rows with wide intervals, and null pairs, from {complete} to {most} rounds"),
        );
    }
    saved.remarks.iter().for_each(|remark| line("remark", remark));
    text
}

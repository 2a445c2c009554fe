//! The load points of a single run, as a table for a terminal.

use super::text::{digits, nanos, per_second};
use crate::cell::Outcome;
use crate::measure::load::LoadPoint;
use crate::plan::Offered;
use comfy_table::{CellAlignment, Table, presets};

/// What was offered, in words.
pub fn what(o: &Outcome, offered: &Offered) -> String {
    let rate = match (offered.rate, &o.throughput) {
        (Some(rate), _) => per_second(rate as f64),
        (None, Some(found)) => format!("shares of {}, the rate with all due at once", per_second(found.messages_per_s)),
        (None, None) => "shares of the saturation".into(),
    };
    format!("{rate}; {} arrivals; the producer spins in between", offered.arrivals)
}

/// The points, one line each, and what to make of a rate that was not reached; nothing without points.
pub fn table(points: &[LoadPoint]) -> String {
    if points.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "offered",
        "share",
        "achieved",
        "p50",
        "p99",
        "p99.9",
        "p99 once sent",
        "backlog",
        "at end",
        "reached",
    ]);
    for point in points {
        table.add_row(cells(point));
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
        column.set_padding((0, 2));
    }
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_string()).collect();
    let mut text = format!("\nlatency from the intended send time\n{}\n", lines.join("\n"));
    if points.iter().any(|point| !point.reached) {
        text.push_str("rate not reached where it says NO: messages wait ever longer, and those latencies say only how long the window was\n");
    }
    text
}

fn cells(point: &LoadPoint) -> [String; 10] {
    let ns = |value: Option<u64>| value.map_or(String::new(), |ns| nanos(ns as f64));
    let LoadPoint { from_intended, from_actual, .. } = point;
    [
        per_second(point.offered_per_s),
        point.share.map_or(String::new(), |share| format!("{} %", digits(100.0 * share))),
        per_second(point.achieved_per_s),
        ns(from_intended.p50),
        ns(from_intended.p99),
        ns(from_intended.p999),
        ns(from_actual.p99),
        point.backlog_max.to_string(),
        point.backlog_end.to_string(),
        if point.reached { "yes".into() } else { "NO".into() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_that_was_not_reached_is_said_plainly() {
        let reached = LoadPoint { reached: true, ..LoadPoint::default() };
        assert!(!table(std::slice::from_ref(&reached)).contains("not reached"));
        let text = table(&[reached, LoadPoint::default()]);
        assert!(text.contains("rate not reached") && text.contains("NO"), "{text}");
    }

    #[test]
    fn a_run_without_load_has_no_table() {
        assert_eq!(table(&[]), "");
    }
}

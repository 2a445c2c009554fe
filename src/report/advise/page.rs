//! The answer for people.

use super::{Advice, Demand, Fit};
use crate::plan::{show_rate, show_size};
use crate::report::fit::{Width, command, wrapped};
use crate::report::text::{digits, nanos};

/// Mechanisms that are shown with all their rows, unless more are asked for.
const SHORT: usize = 5;

/// The demand in one sentence.
pub fn question(demand: &Demand) -> String {
    let mut parts = vec![format!("{} a message", show_size(demand.size))];
    parts.extend(demand.rate.map(|rate| format!("{} messages/s", show_rate(rate))));
    parts.extend(demand.cpus.map(|cpus| format!("at most {} CPU for both parties", digits(cpus))));
    parts.extend(demand.p99_ns.map(|ns| format!("p99 at most {}", nanos(ns))));
    parts.extend((!demand.trusting).then(|| "a peer that is not trusted".into()));
    parts.extend(demand.survive_crash.then(|| "one goes on when the other is killed".into()));
    parts.push(if demand.threads { "processes or threads" } else { "processes" }.into());
    parts.join("; ")
}

/// The whole answer. `source` says where the rows come from.
pub fn page(advice: &Advice, source: &str, width: Width) -> String {
    let Advice { demand, fit, open, unmeasured, measure, out } = advice;
    let mut text = wrapped("asked    ", &question(demand), width);
    text.push_str(&wrapped("rows     ", source, width));
    text.push('\n');
    let order = if demand.rate.is_some() { "least CPU first" } else { "shortest round trip first" };
    text.push_str(&match fit.len() {
        0 => "nothing that was measured fits\n".into(),
        _ => wrapped(
            "",
            &format!("what fits, {order}; rows whose intervals overlap are not told apart by this order"),
            width,
        ),
    });
    for (place, one) in fit.iter().enumerate() {
        if place < SHORT {
            in_full(&mut text, place + 1, one, width);
        } else {
            let shown = one.rows.first().map_or(String::new(), |row| format!("{} {}", row.what, row.says));
            let first = format!("{:>2} {:<15}", place + 1, one.mechanism);
            text.push_str(&wrapped(&first, &format!("{}, {}: {shown}", one.wait, one.placement), width));
        }
    }
    if !open.is_empty() {
        text.push_str("\nwhat cannot be said\n");
        for one in open {
            text.push_str(&wrapped(&format!("   {:<15}", one.mechanism), &one.why, width));
            text.push_str(&command(18, &one.command, width));
        }
    }
    if let Some(measure) = measure {
        text.push_str("\nwhat was not measured\n");
        text.push_str(&wrapped("   ", &unmeasured.join(", "), width));
        text.push_str(&command(3, measure, width));
    }
    if !out.is_empty() {
        text.push_str("\nwhat fell out, by the first demand that it fails\n");
        for one in out {
            text.push_str(&wrapped(&format!("   {:<15}", one.mechanism), &one.why, width));
        }
    }
    text.push_str(&hints(demand, width));
    text
}

fn in_full(text: &mut String, place: usize, fit: &Fit, width: Width) {
    let Fit { mechanism, parties, wait, placement, rows, facts, cautions, also, .. } = fit;
    let how = format!(
        "between two {}, wait {wait}, {placement}",
        if *parties == crate::plan::Parties::Thread { "threads" } else { "processes" }
    );
    text.push_str(&wrapped(&format!("{place:>2} {mechanism:<15}"), &how, width));
    let mut line = |label: &str, what: &str| text.push_str(&wrapped(&format!("   {label:<15}"), what, width));
    let mut before = "";
    for row in rows {
        line(if row.what == before { "" } else { row.what }, &format!("{}  (n {}, {})", row.says, row.n, row.class));
        before = row.what;
    }
    for (fact, label) in facts.iter().zip(["by its nature"].into_iter().chain(std::iter::repeat(""))) {
        line(label, fact);
    }
    cautions.iter().for_each(|caution| line("caution", caution));
    if !also.is_empty() {
        line("would do, too", &also.join("; "));
    }
}

fn hints(demand: &Demand, width: Width) -> String {
    let mut lines = Vec::new();
    if demand.rate.is_some() && demand.p99_ns.is_none() {
        lines.push("a stream says that a rate can be carried, not how long a message takes then: add --latency");
    }
    if demand.survive_crash {
        lines.push("what survivors see was injected and observed: ipcost faults");
    }
    lines.push("all of this holds on the machine that was measured, for an otherwise idle one");
    let mut text = String::from("\n");
    lines.iter().for_each(|line| text.push_str(&wrapped("note     ", line, width)));
    text
}

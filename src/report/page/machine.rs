//! The environment: what a number on the page depends on besides the code.

use super::blocks::{Block, Cell, Head, Line, Section, Table};
use super::{Material, bracket};
use crate::host::Host;
use crate::measure::limits::{Limits, Unit};
use crate::plan::Span;
use crate::report::Report;
use crate::report::text::{bytes_per_s, counted, nanos};

/// What a folder is, and when it was made; of the page's own one also where.
pub fn origin(one: &Material, own: bool) -> String {
    let Host { cpu, cpus, hypervisor, kernel, taken, build, .. } = &one.host;
    let what = match (one.report, &one.claims, &one.faults) {
        (Some(report), ..) => {
            let (launches, rounds) = (counted(report.launches, "launch"), counted(report.rounds as usize, "round"));
            let seed = report.saved.campaign.seed;
            format!("Campaign of {launches} in {rounds}, seed {seed}")
        }
        (_, Some(claims), _) => {
            let launches = claims.judged.iter().map(|judged| judged.launches);
            format!("Claims from {}", counted(launches.sum(), "launch"))
        }
        (_, _, faults) => format!("Faults in {}", counted(faults.as_ref().map_or(0, Vec::len), "cell")),
    };
    let version = |key: &str| build.get(key).map_or("unknown", String::as_str);
    let taken = if taken.is_empty() { "an unknown time" } else { taken };
    let place =
        if own { format!("{cpu}, {cpus} CPUs, hypervisor {hypervisor}, kernel {kernel}. ") } else { String::new() };
    format!("{place}{what}, {taken}, by ipcost {}, revision {}.", version("version"), version("revision"))
}

/// Host, campaign and limits.
pub fn section(own: &Material, kin: &[&Material]) -> Section {
    let mut blocks = vec![];
    blocks.extend(own.report.map(|report| Block::Table(campaign(report))));
    blocks.extend(own.limits.as_ref().map(|limits| Block::Table(limits_table(limits))));
    let fold =
        |title: &str, table: Table| Block::Fold { title: title.into(), open: false, blocks: vec![Block::Table(table)] };
    if !own.host.facts.is_empty() {
        blocks
            .push(fold("The machine, in the kernel's words", facts("host", "host.json: facts", own.host.facts.iter())));
    }
    if !own.host.build.is_empty() {
        blocks.push(fold("The program", facts("build", "host.json: build", own.host.build.iter())));
    }
    let items: Vec<String> =
        kin.iter().flat_map(|one| &one.remarks).map(|remark| format!("Remark: {remark}")).collect();
    if !items.is_empty() {
        blocks.push(Block::list(items));
    }
    let title = "Environment";
    if blocks.is_empty() {
        let what = "The folder has no record of its environment.";
        return Section::absent("environment", title, what, "ipcost host");
    }
    Section { id: "environment", title, blocks, ..Section::default() }
}

/// Facts by name.
fn facts<'a>(name: &str, caption: &str, facts: impl Iterator<Item = (&'a String, &'a String)>) -> Table {
    let rows = facts.map(|(name, value)| Line::from(vec![Cell::head(name), Cell::text(value)])).collect();
    let heads = ["fact", "value"].map(Head::words).into();
    Table { name: name.into(), caption: caption.into(), heads, rows, ..Table::default() }
}

fn campaign(report: &Report) -> Table {
    let campaign = &report.saved.campaign;
    let mut lines: Vec<(String, String)> = vec![
        ("launches".into(), report.launches.to_string()),
        ("rounds".into(), report.rounds.to_string()),
        ("complete blocks".into(), campaign.rounds.to_string()),
        ("cells".into(), campaign.cells.len().to_string()),
        ("seed".into(), campaign.seed.to_string()),
    ];
    if let Some(terms) = campaign.terms {
        let run = match terms.run {
            Span::Messages(n) => format!("{n} messages a window"),
            Span::Millis(ms) => format!("{ms} ms"),
        };
        lines.push(("length of a run".into(), run));
        lines.push(("budget".into(), nanos(terms.budget_ms as f64 * 1e6)));
    }
    for cell in &report.unsupported {
        lines.push((format!("not here: {}", cell.mechanism), cell.reason.clone().unwrap_or_default()));
    }
    lines.dedup();
    facts("campaign", "The campaign", lines.iter().map(|(name, value)| (name, value)))
}

/// What the machine itself costs.
fn limits_table(limits: &Limits) -> Table {
    let show = |unit: Unit| if unit == Unit::Nanoseconds { nanos } else { bytes_per_s };
    let line = |name: String, figure: &crate::measure::limits::Figure| {
        let (show, of) = (show(figure.unit), figure.estimate);
        Line::from(vec![
            Cell::head(name),
            Cell::number(show(of.median), of.median),
            Cell::text(bracket(of.interval, show)),
            Cell::number(of.n.to_string(), of.n as f64),
            Cell::text(figure.method.clone()),
        ])
    };
    let mut rows: Vec<Line> = limits.figures.iter().map(|(probe, figure)| line(probe.title().into(), figure)).collect();
    rows.extend(limits.memcpy.iter().map(|copy| line(format!("memcpy, {}", copy.level), &copy.rate)));
    let absent = limits.absent.iter().map(|(name, why)| {
        Line::from(vec![Cell::head(name), Cell::text("absent"), Cell::default(), Cell::default(), Cell::text(why)])
    });
    rows.extend(absent);
    let heads = vec![
        Head::words("floor"),
        Head::number("median"),
        Head::number("95 % interval"),
        Head::number("n").hint("repetitions, spread over the whole time"),
        Head::words("how"),
    ];
    let caption = format!("What the machine itself costs, CPUs {} and {}", limits.order.cpus[0], limits.order.cpus[1]);
    Table { name: "limits".into(), caption, heads, rows, ..Table::default() }
}

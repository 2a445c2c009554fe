//! `docs/limits/README.md` is made from the tables of machines that are kept beside it.
//!
//! What was measured is in those tables and nowhere else: this page only gathers which rows missed their target or did not
//! show it, on which machine. Where it is out of date the test says so; `scripts/limits_page.sh` lets it write the page.

#[path = "common/kept.rs"]
mod kept;
#[path = "common/page.rs"]
mod page;

use kept::{Judged, Machine, Row, VERDICTS, machines};
use page::keep;
use std::collections::BTreeSet;

const MAKE_IT: &str = "scripts/limits_page.sh";

fn text(row: &Judged) -> String {
    format!("{} [{}] {}", row.measured, row.interval.replace(" .. ", ", "), row.verdict)
}

fn counts(machines: &[Machine]) -> String {
    let mut lines = String::from("| machine | met | not shown | missed |\n|---|---:|---:|---:|\n");
    for machine in machines {
        let [met, open, missed] = VERDICTS.map(|verdict| machine.count(verdict, |_| true));
        lines += &format!("| {} | {met} | {open} | {missed} |\n", machine.name);
    }
    lines
}

/// Rows that are not met on every machine that has them.
fn open(machines: &[Machine]) -> String {
    let heads: Vec<_> = machines.iter().map(|machine| machine.name.as_str()).collect();
    let mut lines = format!("| row | target | {} |\n|---|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    let mut seen = BTreeSet::new();
    let names = machines.iter().flat_map(|machine| machine.rows.iter().map(Row::first));
    for name in names.filter(|name| seen.insert(*name)) {
        let rows: Vec<_> = machines.iter().map(|machine| machine.judged.get(name)).collect();
        if rows.iter().flatten().all(|row| row.verdict == VERDICTS[0]) {
            continue;
        }
        let target = rows.iter().flatten().map(|row| row.target.clone()).next().unwrap_or_default();
        let said: Vec<_> = rows.iter().map(|row| row.map_or("not measured".into(), text)).collect();
        lines += &format!("| {name} | {target} | {} |\n", said.join(" | "));
    }
    lines
}

fn whole() -> String {
    let [targets, plain] = [false, true].map(machines);
    format!(
        "\
# What is met and what is not, by machine

Gathered from the tables in this folder by `{MAKE_IT}`; a test fails where it is out of date. A figure is the measured ratio
with its interval; a row that was measured again is here as it was last. Rows that are met on every machine that has them
are in the tables only. [LIMITS.md](../LIMITS.md) says how to read them and what is known of those that are missed.

## Targets (`scripts/limits.sh`)

{}
{}
## Beside plain programs (`scripts/plain.py`)

{}
{}",
        counts(&targets),
        open(&targets),
        counts(&plain),
        open(&plain)
    )
}

#[test]
fn the_page_is_what_the_tables_say() {
    keep("limits/README.md", &whole(), MAKE_IT);
}

#[test]
fn every_machine_has_both_kinds_of_tables() {
    let [targets, plain] = [false, true].map(machines);
    let names = |machines: &[Machine]| machines.iter().map(|machine| machine.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&targets), names(&plain));
    assert!(targets.iter().chain(&plain).all(|machine| machine.judged.len() > 100));
}

#[test]
fn a_row_that_was_measured_again_replaces_the_first_and_one_without_a_target_is_none() {
    let page = "\
# A title: a machine

| row | n | target | measured | interval | verdict |
|---|---|---|---|---|---|
| one | 6 | <= 1.4 | 1.7 | 1.6 .. 1.8 | missed |
| two | 6 |  | 1.7 | 1.6 .. 1.8 | more |
| three | 6 | >= 0.8 | 0.9 | 0.7 .. 1 | not shown |

Again:

| comparison (A / B) | A/B | interval | verdict |
|---|---|---|---|
| one | 1.21 | 1.1 .. 1.3 | met |
| four | 1.21 | 1.1 .. 1.3 | - |
";
    let machine = Machine::read(page);
    let names: Vec<_> = machine.judged.keys().map(String::as_str).collect();
    assert_eq!((machine.name.as_str(), names), ("a machine", vec!["one", "three"]));
    assert_eq!(VERDICTS.map(|verdict| machine.count(verdict, |_| true)), [1, 1, 0]);
    let lines = open(&[machine]);
    assert!(lines.ends_with("\n| three | >= 0.8 | 0.9 [0.7, 1] not shown |\n"), "{lines}");
}

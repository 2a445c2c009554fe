//! Several campaigns side by side, in multiples of each one's own floor.
//!
//! Key decision: times of two machines are not compared, because what differs between them is mostly the machine. A
//! multiple of the floor says what a mechanism adds to what its machine cannot do without. Columns are campaigns in the
//! order in which they were named; nothing is tested across them, as no round has both.

use super::blocks::{Block, Cell, Head, Line, Page, Section, Table};
use super::ranks::Width;
use super::{Material, bracket, class_name, machine, reading};
use crate::measure::stats::Estimate;
use crate::plan::{Parties, Workload};
use crate::report::rows::{Class, Row};
use crate::report::text::digits;
use std::collections::{BTreeMap, BTreeSet};

/// What a row costs as a multiple of its floor, over launches.
fn multiple(row: &Row) -> Option<Estimate> {
    match row.class.workload {
        Workload::PingPong => Estimate::of(row.each("floor_multiple")),
        Workload::Stream => Some(row.time?.scaled(row.memcpy? / (1e9 * row.class.size as f64))),
        _ => None,
    }
}

/// The page of these campaigns.
pub fn page(all: &[&Material]) -> Page {
    let campaigns: Vec<&Material> = all.iter().copied().filter(|one| one.report.is_some()).collect();
    let about = campaigns
        .iter()
        .enumerate()
        .map(|(number, one)| format!("{}. {}: {}", letter(number), one.host.slug, machine::origin(one, true)));
    let sections = vec![multiples(&campaigns), environments(&campaigns), reading::section()];
    Page {
        title: format!("{} campaigns side by side, in floor multiples", campaigns.len()),
        about: about.collect(),
        sections,
    }
}

fn letter(number: usize) -> String {
    // Beyond 26 campaigns nobody reads letters.
    u8::try_from(number)
        .ok()
        .filter(|n| *n < 26)
        .map_or_else(|| (number + 1).to_string(), |n| char::from(b'A' + n).to_string())
}

fn column(number: usize, one: &Material) -> String {
    format!("{}: {}", letter(number), one.host.slug)
}

type Rows<'a> = BTreeMap<(String, Parties), Vec<Option<&'a Row>>>;

fn multiples(campaigns: &[&Material]) -> Section {
    let mut classes: BTreeMap<Class, Rows> = BTreeMap::new();
    for (number, report) in campaigns.iter().filter_map(|one| one.report).enumerate() {
        for row in report.all.rows().filter(|row| !row.is_control() && multiple(row).is_some()) {
            let rows = classes.entry(row.class).or_default();
            let columns =
                rows.entry((row.mechanism.clone(), row.parties)).or_insert_with(|| vec![None; campaigns.len()]);
            columns[number] = Some(row);
        }
    }
    let common = |rows: &Rows| (0..campaigns.len()).filter(|n| rows.values().any(|row| row[*n].is_some())).count() > 1;
    classes.retain(|_, rows| common(rows));
    const TITLE: &str = "Multiples of the floor";
    if classes.is_empty() {
        let what =
            "No class of round trips or streams, which are what has a floor, was measured in two of these campaigns.";
        return Section::absent("multiples", TITLE, what, "ipcost compare");
    }
    let fold = |(number, (class, rows)): (usize, (&Class, &Rows))| Block::Fold {
        title: class_name(class),
        open: true,
        blocks: vec![Block::Table(table(class, rows, campaigns, number))],
    };
    let lead = vec![
        "What each mechanism costs as a multiple of what its machine cannot do without: of a round trip the bare hand-over \
         between the same parties, measured beside each run; of a stream one memcpy of its bytes. Medians over launches with \
         their 95 % intervals, bars on one scale for each class; the grey line is the floor. Ratios between columns are not \
         tested: no round has both."
            .into(),
    ];
    let blocks = classes.iter().enumerate().map(fold).collect();
    Section { id: "multiples", title: TITLE, lead, blocks, absent: None }
}

fn table(class: &Class, rows: &Rows, campaigns: &[&Material], number: usize) -> Table {
    let all = || rows.values().flatten().flatten().filter_map(|row| multiple(row));
    let ends = all().flat_map(|of| {
        let (low, high) = of.interval.unwrap_or((of.median, of.median));
        [low, of.median, high, 1.0]
    });
    let width = Width::of(ends);
    let mut heads: Vec<Head> = ["mechanism", "between"].map(Head::words).into();
    for (number, one) in campaigns.iter().enumerate() {
        heads.push(Head::number(column(number, one)).hint("median of the multiples of the floor"));
        heads.push(
            Head::bars(format!("{}, bars", letter(number)))
                .hint("the same as a bar, with its interval; the line is the floor"),
        );
    }
    let mut lines: Vec<(f64, Line)> = rows
        .iter()
        .map(|((mechanism, parties), columns)| {
            let mut cells = vec![Cell::head(mechanism), Cell::text(parties.to_string())];
            for row in columns {
                let of = row.and_then(multiple);
                let doubts = row.map_or_else(String::new, super::doubts);
                let words = |of: &Estimate| format!("{}; {doubts}", bracket(of.interval, digits));
                cells.push(
                    of.map_or_else(Cell::default, |of| Cell::number(digits(of.median), of.median).below(words(&of))),
                );
                cells.push(
                    of.zip(width.as_ref()).map_or_else(Cell::default, |(of, width)| width.bar(of, Some(1.0), None)),
                );
            }
            let first = columns.iter().flatten().find_map(|row| multiple(row)).map_or(f64::INFINITY, |of| of.median);
            (first, Line::from(cells))
        })
        .collect();
    lines.sort_by(|a, b| a.0.total_cmp(&b.0));
    Table {
        name: format!("multiples-{}", number + 1),
        caption: format!("{}: multiples of the floor", class_name(class)),
        heads,
        rows: lines.into_iter().map(|(_, line)| line).collect(),
        ..Table::default()
    }
}

/// The facts in which the machines differ.
fn environments(campaigns: &[&Material]) -> Section {
    let facts = |one: &Material| {
        let mut facts = one.host.facts.clone();
        let host = &one.host;
        let own = [("CPU", &host.cpu), ("hypervisor", &host.hypervisor), ("kernel", &host.kernel)];
        facts.extend(own.map(|(name, value)| (name.to_string(), value.clone())));
        facts.insert("CPUs".into(), host.cpus.to_string());
        facts.extend(host.build.iter().map(|(name, value)| (format!("program, {name}"), value.clone())));
        facts
    };
    let all: Vec<BTreeMap<String, String>> = campaigns.iter().map(|one| facts(one)).collect();
    let names: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
    let differs = |name: &&&String| all.iter().any(|facts| facts.get(**name) != all[0].get(**name));
    let line = |name: &&String| {
        let value = |facts: &BTreeMap<String, String>| Cell::text(facts.get(*name).cloned().unwrap_or_default());
        Line::from([Cell::head(*name)].into_iter().chain(all.iter().map(value)).collect::<Vec<_>>())
    };
    let heads = [Head::words("fact")].into_iter();
    let heads = heads.chain(campaigns.iter().enumerate().map(|(number, one)| Head::words(column(number, one))));
    let table = Table {
        name: "environments".into(),
        caption: "Facts that are not the same everywhere".into(),
        heads: heads.collect(),
        rows: names.iter().filter(differs).map(line).collect(),
        ..Table::default()
    };
    let title = "What differs between the machines";
    Section { id: "environment", title, blocks: vec![Block::Table(table)], ..Section::default() }
}

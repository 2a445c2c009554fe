//! The tables of machines that are kept in `docs/limits/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a table says of a target, in the order in which it is counted.
pub const VERDICTS: [&str; 3] = ["met", "not shown", "missed"];

/// A row of some table of a page.
#[derive(Debug)]
pub struct Row {
    head: Vec<String>,
    cells: Vec<String>,
}

impl Row {
    /// What stands in the column of that name.
    pub fn get(&self, column: &str) -> Option<&str> {
        let at = self.head.iter().position(|name| name == column)?;
        self.cells.get(at).map(String::as_str)
    }

    /// What stands in the first column.
    pub fn first(&self) -> &str {
        &self.cells[0]
    }
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(inner.split(" | ").map(|cell| cell.trim().to_string()).collect())
}

/// The rows of all tables of a page, in their order.
pub fn rows(page: &str) -> Vec<Row> {
    let (mut found, mut head) = (Vec::new(), Vec::new());
    for line in page.lines() {
        match cells(line) {
            None if line.starts_with("|--") => {}
            None => head.clear(),
            Some(names) if head.is_empty() => head = names,
            Some(cells) => found.push(Row { head: head.clone(), cells }),
        }
    }
    found
}

/// A row that has a target.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    pub target: String,
    pub measured: String,
    pub interval: String,
    pub verdict: &'static str,
}

/// The tables of one machine: its name, the rows in their order, and what the last one of each name says of its target.
#[derive(Debug)]
pub struct Machine {
    pub name: String,
    pub rows: Vec<Row>,
    pub judged: BTreeMap<String, Judged>,
}

impl Machine {
    /// Reads a page. A table's head says which column is which; a row that was measured again replaces the one before.
    pub fn read(page: &str) -> Self {
        let title = page.lines().next().unwrap_or_default();
        let (_, name) = title.split_once(": ").unwrap_or_else(|| panic!("no machine in the title: {title}"));
        let (rows, mut judged) = (rows(page), BTreeMap::new());
        for row in &rows {
            let said = row.get("verdict").and_then(|said| VERDICTS.into_iter().find(|verdict| *verdict == said));
            let (Some(verdict), Some(interval)) = (said, row.get("interval")) else { continue };
            let measured = row.get("measured").or(row.get("A/B")).expect("a row with an interval has a figure");
            let [target, measured, interval] =
                [row.get("target").unwrap_or("<= 1.05"), measured, interval].map(String::from);
            judged.insert(row.first().into(), Judged { target, measured, interval, verdict });
        }
        Self { name: name.into(), rows, judged }
    }

    /// How many rows of those that `wanted` names have this verdict.
    pub fn count(&self, verdict: &str, wanted: impl Fn(&str) -> bool) -> usize {
        self.judged.iter().filter(|(name, row)| row.verdict == verdict && wanted(name)).count()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/limits")
}

/// The machines, in the order of their pages: beside plain programs, or beside targets.
pub fn machines(plain: bool) -> Vec<Machine> {
    let names = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut pages: Vec<_> = names.filter(|name| name.contains("cpu-") && name.starts_with("plain-") == plain).collect();
    pages.sort();
    pages.iter().map(|name| Machine::read(&std::fs::read_to_string(folder().join(name)).unwrap())).collect()
}

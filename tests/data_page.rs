//! `docs/DATA.md` is made from the schemas and the columns, and what reads the data finds what the report says.

#[path = "common/ordered.rs"]
mod ordered;
#[path = "common/page.rs"]
mod page;

use ipcost::report::columns::{COLUMNS, Unit};
use ordered::Node;
use page::{docs, keep};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the repository in which the runs lie that the README shows.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results/amd-epyc-2cpu-kvm/2026-12-01-051019")
}

/// The values of a field, in words for a table.
fn kind(schema: &Node) -> String {
    let words = schema.get("enum").map(Node::items).unwrap_or_default();
    if !words.is_empty() {
        return words.iter().map(|word| format!("`{}`", word.text())).collect::<Vec<_>>().join(", ");
    }
    match (schema.get("type"), schema.get("items")) {
        (Some(_), Some(items)) if items.get("$ref").is_none() => format!("array of {}", kind(items)),
        (Some(Node::Array(words)), _) => words.iter().map(Node::text).collect::<Vec<_>>().join(" or "),
        (Some(word), _) => word.text().into(),
        (None, _) => "anything".into(),
    }
}

/// A line for each field below an object's schema.
fn fields(schema: &Node, at: &str, lines: &mut String) {
    let required = schema.get("required").map(Node::items).unwrap_or_default();
    for (name, schema) in schema.get("properties").map(Node::fields).unwrap_or_default() {
        let may = if required.iter().any(|required| required.text() == name) { "" } else { ", optional" };
        let text = |key: &str| schema.get(key).map(Node::text).unwrap_or_default();
        let (doc, unit) = (text("description"), text("x-unit"));
        assert!(doc.ends_with('.'), "{at}{name} has no description");
        lines.push_str(&format!("| `{at}{name}` | {}{may} | {unit} | {doc} |\n", kind(schema)));
        fields(schema, &format!("{at}{name}."), lines);
        for (key, end) in [("items", "[]."), ("additionalProperties", ".*.")] {
            if let Some(each) = schema.get(key) {
                fields(each, &format!("{at}{name}{end}"), lines);
            }
        }
    }
}

fn columns() -> String {
    let mut lines = String::from("| column | unit | meaning |\n|---|---|---|\n");
    for column in COLUMNS {
        let unit = match column.unit {
            Unit::None | Unit::Ratio => "",
            Unit::Nanos => "ns",
            Unit::BytesPerS => "bytes/s",
            Unit::PerS => "1/s",
            Unit::Bytes => "bytes",
        };
        lines.push_str(&format!("| `{}` | {unit} | {} |\n", column.key, column.doc));
    }
    lines
}

const ABOUT_COLUMNS: &str = "\
One line per row, from all runs that count. Plain units, six significant digits, no exponent; an empty field is an absent
value. Read columns by name: new ones may stand anywhere. Percentiles are of all launches together, other numbers medians over
launches.

";

const BELOW_COLUMNS: &str = "
`mechanism` is followed by `, nagle` where that was chosen. `achieved_per_s` and the columns from `reached_share` to `backlog_max`
are for offered loads; `ns` is then the length of the window divided by its messages. Of several requests under way `ns` is the
time per round trip, and `rtt_p50` to `rtt_max` are those of whole ones. `via` is for fan-in and fan-out, `fairness` also for
pairs and broadcast. `memcpy_multiple` needs `limits.json` and `syscalls` needs `traces.jsonl`; without them they are empty.
";

#[test]
fn the_page_of_the_data_is_what_the_schemas_and_columns_say() {
    let mut page = include_str!("../docs/schema/HEAD.md").to_string();
    for name in ["cells", "campaign", "limits", "traces", "resumed", "host", "claims", "faults"] {
        let text = std::fs::read_to_string(docs().join(format!("schema/{name}.schema.json"))).unwrap();
        let schema: Node = serde_json::from_str(&text).unwrap();
        let file = if ["campaign", "limits", "host"].contains(&name) { "json" } else { "jsonl" };
        page.push_str(&format!("## {name}.{file}\n\n{}\n\n", schema.get("description").unwrap().text()));
        page.push_str("| field | type | unit | meaning |\n|---|---|---|---|\n");
        fields(&schema, "", &mut page);
        page.push('\n');
    }
    page.push_str("## summary.csv\n\n");
    page.push_str(&[ABOUT_COLUMNS, &columns(), BELOW_COLUMNS].concat());
    keep("DATA.md", &page, "scripts/data.sh");
}

/// A program of `scripts/data` at work on the results that are kept; `None`, with a word, where what it needs is not here.
fn reader(needs: &str, script: &str, arguments: &[&str]) -> Option<String> {
    if Command::new(needs).arg("--version").output().is_err() {
        eprintln!("skipped: no {needs} here, so {script} was not tried");
        return None;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output =
        Command::new(root.join("scripts/data").join(script)).args(arguments).current_dir(root).output().unwrap();
    let (out, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}: {out}{complaint}");
    Some(out.into_owned())
}

#[test]
fn the_picture_of_the_readme_is_what_the_results_say() {
    let Some(drawn) = reader("python3", "picture.py", &[kept().to_str().unwrap()]) else { return };
    keep("round-trip.svg", &drawn, "scripts/data.sh");
}

#[test]
fn the_reader_in_python_finds_what_the_report_says() {
    let Some(said) = reader("python3", "read.py", &["--check", "results/*/*"]) else { return };
    assert!(said.contains(" rows, 0 differences"), "{said}");
    let plain = reader("python3", "read.py", &["results/*/*"]).unwrap();
    let flagged = reader("python3", "read.py", &["--flagged", "results/*/*"]).unwrap();
    assert!(plain.contains("pipe (process)") && plain.lines().count() <= flagged.lines().count(), "{plain}");
}

#[test]
fn the_reader_in_python_notices_a_summary_that_says_something_else() {
    let folder = kept();
    let dir = tempfile::tempdir().unwrap();
    for name in ["host.json", "cells.jsonl", "summary.csv"] {
        std::fs::copy(folder.join(name), dir.path().join(name)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/data/read.py");
    let check = || Command::new("python3").arg(&script).arg("--check").arg(dir.path()).output();
    let Ok(sound) = check() else { return eprintln!("skipped: no python3 here") };
    assert!(sound.status.success());
    let cells = dir.path().join("cells.jsonl");
    let text = std::fs::read_to_string(&cells).unwrap();
    // All runs of one row: a median does not move with a single one that was slow before. Cells with a label have no row.
    let row = |run: &Value| {
        let of_plan = ["mechanism", "workload", "size", "wait", "parties"].map(|field| run[field].clone());
        run["run"]["label"].is_null().then(|| (of_plan, run["placement"]["requested"].clone()))
    };
    let runs: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let chosen = runs.iter().find_map(row);
    assert!(chosen.is_some());
    let slower = runs.into_iter().map(|mut run| {
        if row(&run) == chosen {
            run["elapsed_ns"] = json!(run["elapsed_ns"].as_u64().unwrap() * 100);
        }
        format!("{run}\n")
    });
    std::fs::write(&cells, slower.collect::<String>()).unwrap();
    assert_eq!(check().unwrap().status.code(), Some(1));
}

/// What a row has in the column of this name.
type Field<'a> = &'a dyn Fn(&str) -> String;

#[test]
fn the_reader_in_sql_finds_what_the_report_says() {
    let folder = kept();
    let pattern = folder.to_str().unwrap();
    if Command::new("duckdb").arg("--version").output().is_err() {
        return eprintln!("skipped: no duckdb here, so duckdb.sql was not tried");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/data/duckdb.sh");
    let output = Command::new(script).arg(pattern).env("DUCKDB", "duckdb -csv").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let median = |bytes: &[u8], column: &str, key: &dyn Fn(Field) -> String| {
        let mut reader = csv::Reader::from_reader(bytes);
        let head = reader.headers().unwrap().clone();
        let place =
            |name: &str| head.iter().position(|one| one == name).unwrap_or_else(|| panic!("no {name}: {head:?}"));
        let rows = reader.records().map(|row| {
            let row = row.unwrap();
            (key(&|name| row[place(name)].to_string()), row[place(column)].parse::<f64>().ok())
        });
        rows.filter_map(|(key, value)| Some((key, value?))).collect::<std::collections::BTreeMap<_, _>>()
    };
    let summary = std::fs::read(folder.join("summary.csv")).unwrap();
    let theirs = median(&summary, "ns_unflagged", &|of| {
        let parties = of("parties").replace("control", "solo");
        format!(
            "{} {} B, {}, {}: {} {parties}",
            of("workload"),
            of("size"),
            of("wait"),
            of("placement"),
            of("mechanism")
        )
    });
    let ours =
        median(&output.stdout, "median_ns", &|of| format!("{}: {} {}", of("class"), of("mechanism"), of("parties")));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (cell, ns) in &ours {
        let there = theirs[cell];
        assert!((ns - there).abs() <= 1e-5 * there + 1e-3, "{cell}: {ns} in SQL, {there} in summary.csv");
    }
}

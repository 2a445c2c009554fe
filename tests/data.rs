//! The schemas in `docs/schema/` are what the program writes.

mod common;
#[path = "common/populated.rs"]
mod populated;
#[path = "common/schema.rs"]
mod schema;

use common::watched;
use ipcost::plan::{Arrivals, Parties, Plant, Touch, Via, Workload};
use ipcost::transport::Sign;
use schema::Schemas;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(180);

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn schemas() -> Schemas {
    Schemas::read(&docs().join("schema"))
}

/// Holds every file of a results folder to its schema; returns which there were.
fn valid(schemas: &Schemas, folder: &Path) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for name in schemas.names() {
        for (end, lines) in [("json", false), ("jsonl", true)] {
            let Ok(text) = std::fs::read_to_string(folder.join(format!("{name}.{end}"))) else { continue };
            let values: Vec<&str> = if lines { text.lines().collect() } else { vec![&text] };
            for (value, number) in values.into_iter().zip(1..) {
                let value: Value = serde_json::from_str(value).unwrap();
                if let Err(wrong) = schemas.check(name, &value) {
                    panic!("{} line {number}: {wrong}", folder.join(name).display());
                }
            }
            seen.insert(name.to_string());
        }
    }
    seen
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// The folders of results that are in the repository.
fn kept() -> Vec<PathBuf> {
    let below = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    below(root).flat_map(below).filter(|dir| dir.join("host.json").exists()).collect()
}

#[test]
fn the_results_that_are_kept_are_valid() {
    let schemas = schemas();
    let seen: BTreeSet<String> = kept().iter().flat_map(|folder| valid(&schemas, folder)).collect();
    assert!(seen.is_superset(&names(&["campaign", "cells", "claims", "host", "limits", "traces"])), "{seen:?}");
    let record = std::fs::read_to_string(docs().join("faults/record.jsonl")).unwrap();
    for (line, number) in record.lines().zip(1..) {
        let wrong = schemas.check("faults", &serde_json::from_str(line).unwrap());
        assert!(wrong.is_ok(), "line {number} of the record: {wrong:?}");
    }
}

fn ipcost(arguments: &[&str], out: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_ipcost")).args(arguments).arg(out).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| code < 2), "{arguments:?}: {text}");
    assert!(out.join("host.json").exists(), "{arguments:?}: {text}");
}

#[test]
fn what_a_campaign_writes_is_valid() {
    watched(LIMIT, || {
        let (schemas, dir) = (schemas(), tempfile::tempdir().unwrap());
        let common = ["--wait", "block", "--placement", "unpinned", "--rounds", "1", "--budget", "4s", "--out"];
        let compare = &|name: &str, arguments: &[&str]| {
            let out = dir.path().join(name);
            ipcost(&[&["compare"], arguments, &common[..]].concat(), &out);
            // Loads and many parties have no traced runs.
            let seen = valid(&schemas, &out);
            assert!(seen.is_superset(&names(&["campaign", "cells", "host", "limits"])), "{arguments:?}: {seen:?}");
            assert!(["load", "many"].contains(&name) || seen.contains("traces"), "{arguments:?}: {seen:?}");
            out
        };
        // One beside the other: what is written is looked at, not what was measured.
        let out = std::thread::scope(|scope| {
            let others: [(_, &[_]); 4] = [
                ("window", &["--mechanism", "pipe", "--workload", "ping-pong", "--outstanding", "2"]),
                ("batch", &["--mechanism", "pipe", "--workload", "stream", "--batch", "2"]),
                ("load", &["--mechanism", "pipe,shm-ring", "--workload", "offered-load", "--rate", "1k"]),
                ("many", &["--mechanism", "pipe", "--workload", "fan-in,fan-out,pairs", "--peers", "2"]),
            ];
            for (name, arguments) in others {
                scope.spawn(move || compare(name, arguments));
            }
            // heap-ring does not connect processes: something that was asked for and is impossible.
            compare("plain", &["--mechanism", "pipe,heap-ring,shm-ring", "--size", "64", "--parties", "process"])
        });
        // As if it had been killed early: what goes on says so.
        let cells = out.join("cells.jsonl");
        let text = std::fs::read_to_string(&cells).unwrap();
        std::fs::write(&cells, text.split_inclusive('\n').take(2).collect::<String>()).unwrap();
        ipcost(&["compare", "--resume"], &out);
        assert!(valid(&schemas, &out).contains("resumed"));
    });
}

#[test]
fn what_claims_and_faults_write_is_valid() {
    watched(LIMIT, || {
        let (schemas, dir) = (schemas(), tempfile::tempdir().unwrap());
        let (claims, faults) = (dir.path().join("claims"), dir.path().join("faults"));
        ipcost(&["claims", "one-cpu", "--budget", "1s", "--out"], &claims);
        assert_eq!(valid(&schemas, &claims), names(&["claims", "host"]));
        ipcost(&["faults", "--quick", "--mechanism", "pipe,mutex-queue", "--injections", "1", "--out"], &faults);
        assert_eq!(valid(&schemas, &faults), names(&["faults", "host"]));
    });
}

/// Goes through a record and its schema side by side and notes where one has a field that the other has not.
fn compare(schemas: &Schemas, schema: &Value, values: &[&Value], at: &str, differ: &mut Vec<String>) {
    let schema = schemas.resolve(schema);
    if let Some(known) = schema.get("properties").and_then(Value::as_object) {
        let fields: Vec<_> = values.iter().filter_map(|value| value.as_object()).collect();
        let there: BTreeSet<&String> = fields.iter().flat_map(|fields| fields.keys()).collect();
        let stated: BTreeSet<&String> = known.keys().collect();
        differ.extend(there.symmetric_difference(&stated).map(|name| format!("{at}.{name}")));
        for (name, schema) in known {
            let inner: Vec<&Value> = fields.iter().filter_map(|fields| fields.get(name)).collect();
            compare(schemas, schema, &inner, &format!("{at}.{name}"), differ);
        }
    }
    if let Some(schema) = schema.get("items") {
        let items: Vec<&Value> = values.iter().filter_map(|value| value.as_array()).flatten().collect();
        compare(schemas, schema, &items, &format!("{at}[]"), differ);
    }
    if let Some(schema) = schema.get("additionalProperties").filter(|schema| schema.is_object()) {
        let inner: Vec<&Value> =
            values.iter().filter_map(|value| value.as_object()).flat_map(|map| map.values()).collect();
        compare(schemas, schema, &inner, &format!("{at}.*"), differ);
    }
}

#[test]
fn a_schema_has_the_fields_of_its_type_and_no_other() {
    let schemas = schemas();
    let records = populated::all();
    for (name, record) in &records {
        assert_eq!(schemas.check(name, record), Ok(()), "{name}");
        let all: Vec<&Value> = records.iter().filter(|(other, _)| other == name).map(|(_, record)| record).collect();
        let mut differ = Vec::new();
        compare(&schemas, schemas.get(name), &all, name, &mut differ);
        assert!(differ.is_empty(), "in one of schema and type only: {differ:?}");
    }
    let known: BTreeSet<&str> = records.iter().map(|(name, _)| *name).chain(["resumed"]).collect();
    assert_eq!(schemas.names().collect::<BTreeSet<_>>(), known);
}

#[test]
fn a_schema_has_the_words_of_its_type_and_no_other() {
    let schemas = schemas();
    let words = |name: &str, path: &str| schemas.get(name).pointer(path).unwrap()["enum"].clone();
    macro_rules! same {
        ($type:ident, $($name:literal $path:literal),+) => {
            let all: Vec<_> = $type::ALL.iter().map(|one| serde_json::to_value(one).unwrap()).collect();
            $(assert_eq!(words($name, $path), json!(all), "{} {}", $name, $path);)+
        };
    }
    same!(Workload, "cells" "/properties/workload", "traces" "/properties/workload",
        "campaign" "/properties/cells/items/properties/workload");
    same!(Parties, "cells" "/properties/parties", "traces" "/properties/parties", "faults" "/properties/parties",
        "campaign" "/properties/cells/items/properties/parties");
    same!(Touch, "cells" "/properties/touch", "traces" "/properties/touch");
    same!(Plant, "cells" "/properties/plant", "campaign" "/properties/cells/items/properties/plant");
    same!(Via, "cells" "/properties/via");
    same!(Arrivals, "cells" "/properties/offered/properties/arrivals");
    same!(Sign, "faults" "/properties/signs/propertyNames");
}

/// Every value of a record that can be made wrong, each made wrong once: the record with it, and where.
fn spoilt(record: &Value) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let Value::Object(fields) = record else { unreachable!("records are objects") };
    let mut with = |at: String, change: &dyn Fn(&mut serde_json::Map<String, Value>)| {
        let mut fields = fields.clone();
        change(&mut fields);
        all.push((at, Value::Object(fields)));
    };
    with("an unknown field".into(), &|fields| drop(fields.insert("colour".into(), json!("red"))));
    for (name, value) in fields {
        let other = match value {
            Value::String(_) | Value::Null => json!(7),
            _ => json!("seven"),
        };
        if name != "with" {
            with(format!("{name} of another type"), &|fields| drop(fields.insert(name.clone(), other.clone())));
        }
        if value.is_number() {
            with(format!("{name} below zero"), &|fields| drop(fields.insert(name.clone(), json!(-1))));
        }
        if let Value::Object(_) = value
            && name != "with"
        {
            let inner = json!({"colour": {"shade": "red"}});
            with(format!("{name} with nonsense"), &|fields| drop(fields.insert(name.clone(), inner.clone())));
        }
    }
    all
}

#[test]
fn a_wrong_line_is_refused_whatever_is_wrong_with_it() {
    let schemas = schemas();
    for (name, record) in populated::all() {
        for (what, wrong) in spoilt(&record) {
            assert!(schemas.check(name, &wrong).is_err(), "{name} accepts {what}");
        }
        for required in schemas.get(name)["required"].as_array().unwrap() {
            let mut wrong = record.clone();
            wrong.as_object_mut().unwrap().remove(required.as_str().unwrap());
            assert!(schemas.check(name, &wrong).is_err(), "{name} does without {required}");
        }
    }
    let cell = &populated::all()[0].1;
    for (field, value) in [
        ("workload", json!("pingpong")),
        ("wait", json!("hybrid:many")),
        ("schema", json!(2)),
        ("fairness", json!(1.5)),
        ("shares", json!([1, -1])),
        ("size", json!(0)),
    ] {
        let mut wrong = cell.clone();
        wrong[field] = value;
        assert!(schemas.check("cells", &wrong).is_err(), "cells accepts {}", wrong[field]);
    }
}

//! Text and files that people typed, cut or edited: an error with line and field, never a panic, never a wrong table.
//!
//! What must hold is said in `ipcost::trial`, which `fuzz/` tries with inputs that a fuzzer invents. The cases here have a
//! fixed number and come from one seed; what fails is printed and can be put below as a test of its own.

mod common;

use common::program::{run, stderr};
use ipcost::trial::{altered, folder, places, resume, runs, tables, values, words};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const SEED: u64 = 0xED17_ED00;

fn tried<S: Strategy>(cases: u32, strategy: S, property: impl Fn(S::Value)) {
    let rng_seed = RngSeed::Fixed(SEED);
    let base = ProptestConfig { max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() };
    let config = ProptestConfig { cases, rng_seed, ..base };
    let done = TestRunner::new(config).run(&strategy, |value| {
        property(value);
        Ok(())
    });
    done.unwrap_or_else(|failure| panic!("seed {SEED:#x}: {failure}"));
}

// ----------------------------------------------------------------------------------------------------- the command line

#[test]
fn any_text_is_read_as_what_it_is_printed_as_or_refused_in_one_line() {
    let number = r"[+-]?(0x)?[0-9]{0,25}(\.[0-9]{0,5})?(e-?[0-9]{1,4})?";
    let unit = r" ?(B|K|k|KiB|MiB|GiB|KB|MB|G|M|ms|s|m|min|h)?";
    let likely = format!("{number}{unit}");
    let list = r"(cpus:)?[0-9]{1,20}[,-][0-9]{1,20}(,[0-9]{1,3}-?[0-9]{0,3})*";
    let name = r"(/dev/shm/|/)?[a-z./\\x00-]{0,20}";
    let address = r"(127\.0\.0\.1|\[::1\]|[0-9.]{1,20}|localhost):?[0-9]{0,7}";
    let owned = r"ipcost-[0-9a-f+]{1,17}-[0-9a-f]{1,17}-[0-9a-f]{1,17}-[0-9a-f]{8}-([0-9a-f]{8}(_.{0,3})?|.{0,9})";
    let waits = r"(block|spin|yield|poll|epoll|hybrid|hybrid:)[0-9+-]{0,12}";
    let texts = prop_oneof![likely.as_str(), list, name, address, owned, waits, ".{0,30}"];
    tried(3000, texts, |text| words(&text));
}

#[test]
fn a_size_and_a_rate_read_back_as_they_are_printed() {
    tried(500, (1..=1_usize << 50, 1..=1_000_000_000_u64), |(size, rate)| {
        words(&ipcost::plan::show_size(size));
        assert_eq!(ipcost::plan::parse_size(&ipcost::plan::show_size(size)).unwrap(), size);
        assert_eq!(ipcost::plan::parse_rate(&ipcost::plan::show_rate(rate)).unwrap(), rate);
    });
}

// ---------------------------------------------------------------------------------------------------- folders of results

/// A results folder that is whole, to be damaged.
struct Folder {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results");
        folder(&path, &runs(2));
        Self { _dir: dir, path }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path.join(name)).unwrap()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path.join(name), bytes).unwrap();
    }

    /// What a reader of the folder says after `edit` changed line `number` of the journal, counted from 1.
    fn edited(&self, number: usize, edit: impl FnOnce(&mut Value)) -> String {
        let whole = self.read("cells.jsonl");
        let mut lines: Vec<String> = whole.lines().map(Into::into).collect();
        let mut line: Value = serde_json::from_str(&lines[number - 1]).unwrap();
        edit(&mut line);
        lines[number - 1] = line.to_string();
        self.write("cells.jsonl", lines.join("\n") + "\n");
        let said = said(&self.path);
        self.write("cells.jsonl", whole);
        said
    }
}

/// What is wrong with a folder; empty if nothing is.
fn said(dir: &Path) -> String {
    tables(dir).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn a_whole_folder_has_tables_and_can_go_on() {
    let (dir, all) = (tempfile::tempdir().unwrap(), runs(6));
    folder(&dir.path().join("x"), &all);
    let [page, unflagged, csv] = tables(&dir.path().join("x")).unwrap();
    assert!(page.contains("unix-stream") && unflagged.contains("pipe") && csv.lines().count() == 4, "{page}{csv}");
    assert_eq!(resume(&dir.path().join("x")).unwrap(), all.len());
}

/// A kill cuts the last line anywhere; every run before it counts and the cut one is not made up.
#[test]
fn a_journal_that_is_cut_at_any_byte_keeps_every_whole_run() {
    let folder = Folder::new();
    let whole = folder.read("cells.jsonl");
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let before: usize = lines[..lines.len() - 2].iter().map(|line| line.len()).sum();
    let of_last_two = whole.len() - before;
    for cut in (0..=of_last_two).step_by(29).chain([of_last_two - 1, of_last_two]) {
        folder.write("cells.jsonl", &whole.as_bytes()[..before + cut]);
        tables(&folder.path).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let kept = resume(&folder.path).unwrap();
        let ends = lines[lines.len() - 2].len();
        let due = lines.len() - 2 + usize::from(cut + 1 >= ends) + usize::from(cut + 1 >= of_last_two);
        assert_eq!(kept, due, "cut at {cut}");
        folder.write("cells.jsonl", &whole);
    }
}

/// Each field of a line removed, renamed and given another type.
#[test]
fn a_line_without_a_field_or_with_another_one_is_named_with_it() {
    let folder = Folder::new();
    let line: Value = serde_json::from_str(folder.read("cells.jsonl").lines().nth(4).unwrap()).unwrap();
    let fields: Vec<String> = line.as_object().unwrap().keys().cloned().collect();
    assert!(fields.len() > 25, "{fields:?}");
    for field in &fields {
        let said = folder.edited(5, |line| {
            let value = line.as_object_mut().unwrap().remove(field).unwrap();
            line[format!("{field}_2")] = value;
        });
        assert!(said.contains("line 5 of cells.jsonl"), "{field} was renamed: {said:?}");
        assert!(said.contains(field.as_str()), "{field} was renamed: {said}");
        for other in [json!("text"), json!(-1), json!([[]]), json!({"x": 1}), json!(1e300)] {
            let said = folder.edited(5, |line| line[field.as_str()] = other.clone());
            // One of these is of the right type, and may be possible; notes and reasons are free text.
            let named = said.contains("line 5 of cells.jsonl") && said.contains(field.as_str());
            assert!(named || said.is_empty(), "{field} became {other}: {said:?}");
        }
    }
}

#[test]
fn a_line_of_another_version_says_so() {
    let folder = Folder::new();
    for (schema, beside) in [(0, json!(null)), (2, json!(null)), (2, json!({"mechanism": ["a", "b"]})), (99, json!({}))]
    {
        let said = folder.edited(2, |line| {
            line["schema"] = json!(schema);
            line["placement"] = beside.clone();
        });
        assert!(said.contains(&format!("line 2 of cells.jsonl has schema {schema}")), "{said}");
        assert!(said.contains("read it with the version that wrote it"), "{said}");
    }
}

/// What no run can have written, although it parses: in each case a table would have been wrong without a word.
#[test]
fn a_line_that_cannot_be_is_named_with_its_field() {
    let folder = Folder::new();
    let impossible: [(&str, &str, Value); 17] = [
        ("/size", "size", json!(0)),
        ("/size", "size", json!(1_u64 << 60)),
        ("/elapsed_ns", "elapsed_ns", json!(0)),
        ("/elapsed_ns", "elapsed_ns", json!(u64::MAX)),
        ("/messages", "messages", json!(0)),
        ("/messages", "messages", json!(u64::MAX)),
        ("/bytes", "bytes", json!(1)),
        ("/invalid", "invalid", json!("it was not believed")),
        ("/run/round", "run.round", json!(u32::MAX)),
        ("/run/order", "run.order", json!(0)),
        ("/run/started", "run.started", json!("yesterday")),
        ("/rtt_ns/mean", "rtt_ns", json!(-5.0)),
        ("/rtt_ns/histogram", "rtt_ns.histogram", json!([[1, u64::MAX], [2, u64::MAX]])),
        ("/throughput/bytes_per_s", "throughput", json!(-1e9)),
        ("/floor/multiple", "floor", json!(-1.0)),
        ("/cpu_ns_per_message/0/user", "cpu_ns_per_message", json!(-1.0)),
        ("/faults/0/minor", "faults", json!(-1)),
    ];
    for (at, field, value) in impossible {
        let said = folder.edited(3, |line| *line.pointer_mut(at).unwrap() = value.clone());
        assert!(said.contains("line 3 of cells.jsonl is damaged"), "{at} = {value}: {said:?}");
        assert!(said.contains(&format!("{field:?}")), "{at} = {value}: {said}");
    }
    for several in ["outstanding", "batch", "peers"] {
        let said = folder.edited(3, |line| line[several] = json!(0));
        assert!(said.contains(&format!("field \"{several}\" is 0")), "{said}");
    }
}

#[test]
fn any_value_anywhere_in_a_line_gives_tables_or_an_error() {
    let folder = Folder::new();
    let whole = folder.read("cells.jsonl");
    let line: Value = serde_json::from_str(whole.lines().nth(4).unwrap()).unwrap();
    let change = (proptest::sample::select(places(&line)), proptest::sample::select(values()));
    tried(300, proptest::collection::vec(change, 1..4), |changes| {
        let said = folder.edited(5, |line| {
            for (at, value) in &changes {
                if let Some(place) = line.pointer_mut(at) {
                    *place = value.clone();
                }
            }
        });
        assert!(said.is_empty() || said.contains("line 5 of cells.jsonl"), "{said}");
    });
}

/// A length of a run beyond all numbers once ended the reader of the folder, which estimates how long the rest will take.
#[test]
fn any_value_anywhere_in_a_description_lets_a_campaign_go_on_or_says_why_not() {
    let folder = Folder::new();
    for file in ["campaign.json", "cells.jsonl"] {
        let whole = folder.read(file);
        let first = if file == "campaign.json" { whole.as_str() } else { whole.lines().next().unwrap() };
        for place in 0..places(&serde_json::from_str(first).unwrap()).len() {
            for value in 0..values().len() {
                let change = (0, place as u16, value as u8);
                folder.write(file, altered(&whole, &[change]));
                let said = resume(&folder.path).map_or_else(|error| error.to_string(), |_| String::new());
                // A value that an older version left out.
                let older = said.contains("an older version made it");
                assert!(said.is_empty() || said.contains(".json") || older, "{file}, {change:?}: {said}");
                // What it mended, or kept beside it.
                let _ = fs::remove_file(folder.path.join("resumed.jsonl"));
            }
        }
        folder.write(file, whole);
    }
}

#[test]
fn an_altered_text_has_another_value_at_one_place() {
    let text = "{\"a\":[1,2]}\n{\"b\":3}\n";
    assert_eq!(altered(text, &[(3, 0, 2)]), format!("{{\"a\":[1,2]}}\n{{\"b\":{}}}\n", u64::MAX));
    assert_eq!(altered(text, &[(0, 2, 0), (0, 1, 7)]), "{\"a\":[null,0]}\n{\"b\":3}\n");
    assert_eq!(altered("{\n \"a\": 1\n}", &[(9, 9, 0)]), "{\"a\":0}\n");
    assert_eq!((altered("", &[(1, 1, 1)]), altered("cut {", &[(1, 1, 1)])), ("\n".into(), "cut {\n".into()));
}

#[test]
fn any_bytes_in_any_file_give_tables_or_an_error() {
    let folder = Folder::new();
    let files = ["cells.jsonl", "campaign.json", "host.json", "limits.json", "traces.jsonl", "resumed.jsonl"];
    let edit = (0..2000_usize, 0..40_usize, proptest::collection::vec(any::<u8>(), 0..20));
    tried(300, (proptest::sample::select(files.to_vec()), edit), |(name, (at, less, bytes))| {
        let whole = fs::read(folder.path.join(name)).unwrap_or_default();
        let at = at % (whole.len() + 1);
        let end = (at + less).min(whole.len());
        folder.write(name, [&whole[..at], &bytes, &whole[end..]].concat());
        let _ = tables(&folder.path);
        let _ = resume(&folder.path);
        // A resumption may have mended the journal.
        let _ = fs::remove_file(folder.path.join(name));
        if !whole.is_empty() {
            folder.write(name, whole);
        }
    });
    assert_eq!(said(&folder.path), "", "nothing is left of it");
}

#[test]
fn a_damaged_description_is_named_with_its_field() {
    let folder = Folder::new();
    for (file, at, value, words) in [
        ("campaign.json", "/rounds", json!("six"), "field \"rounds\""),
        ("campaign.json", "/terms/budget_ms", json!(-1), "field \"terms\""),
        ("campaign.json", "/terms/most_rounds", json!(u32::MAX), "field \"rounds\" is 4294967295"),
        ("campaign.json", "/cells/1/size", json!(0), "cell 1 of field \"cells\": field \"size\" is 0"),
        ("campaign.json", "/cells/1/mechanism", json!("pipe"), "the same cell stands before it"),
        ("campaign.json", "/cells/0/wait", json!("nap"), "\"nap\" is no wait"),
        ("host.json", "/allowed", json!(["a"]), "field \"allowed\""),
    ] {
        let whole = folder.read(file);
        let mut text: Value = serde_json::from_str(&whole).unwrap();
        *text.pointer_mut(at).unwrap() = value.clone();
        folder.write(file, text.to_string());
        let said = said(&folder.path);
        assert!(said.contains(&format!("{file} is damaged")) && said.contains(words), "{at} = {value}: {said:?}");
        assert!(resume(&folder.path).is_err());
        folder.write(file, whole);
    }
}

#[test]
fn what_lies_beside_the_runs_leaves_a_remark_where_it_cannot_be_read() {
    let folder = Folder::new();
    folder.write("limits.json", "{\"schema\":1}");
    folder.write("traces.jsonl", "{\"mechanism\":5}\n");
    folder.write("resumed.jsonl", "{\"at\":\"x\"}\n");
    let page = tables(&folder.path).unwrap()[0].clone();
    for words in [
        "limits.json is damaged",
        "line 1 of traces.jsonl is damaged (during report): field \"mechanism\"",
        "line 1 of resumed.jsonl is damaged",
    ] {
        assert!(page.contains(words), "{words:?} is missing in\n{page}");
    }
}

// ------------------------------------------------------------------------------------------------------- other journals

#[test]
fn journals_of_claims_and_faults_name_line_and_field() {
    let dir = tempfile::tempdir().unwrap();
    let claim = json!({"schema": 1, "claim": "one-cpu", "case": "a", "with": null, "millis": 5, "round": 0, "order": 0,
        "seed": 1, "started": "", "status": "ok", "values": {"ns": 1.5}, "flags": []});
    let fault = json!({"schema": 1, "mechanism": "pipe", "parties": "process", "victim": "producer", "harm": "kill",
        "moment": "idle", "seed": 1, "status": "ok", "size": 64, "n": 1, "signs": {"end-of-file": 1}, "patience_ms": 5,
        "sent": 1, "right": 1, "lost": 0, "wrong": 0, "left": {}, "fresh": 1, "ended": 1});
    let claims = |text: &str| {
        fs::write(dir.path().join("claims.jsonl"), text).unwrap();
        ipcost::claim::record::read(dir.path()).map_or_else(|error| error.to_string(), |_| String::new())
    };
    let faults = |text: &str| {
        fs::write(dir.path().join("faults.jsonl"), text).unwrap();
        ipcost::faults::record::read(dir.path()).map_or_else(|error| error.to_string(), |_| String::new())
    };
    type Reader<'a> = &'a dyn Fn(&str) -> String;
    for (file, whole, said) in [("claims.jsonl", &claim, &claims as Reader), ("faults.jsonl", &fault, &faults)] {
        assert_eq!(said(&format!("{whole}\n")), "", "{file}");
        for field in whole.as_object().unwrap().keys() {
            let mut line = whole.clone();
            let value = line.as_object_mut().unwrap().remove(field).unwrap();
            line[format!("{field}_2")] = value;
            let error = said(&format!("{line}\n"));
            assert!(
                error.contains(&format!("line 1 of {file}")) && error.contains(field.as_str()),
                "{field}: {error:?}"
            );
            let mut line = whole.clone();
            line[field.as_str()] = json!({"x": [1]});
            let error = said(&format!("{line}\n"));
            assert!(field == "with" || error.contains(&format!("field {field:?}")), "{field}: {error:?}");
        }
        let cut = format!("{whole}\n{}", &whole.to_string()[..40]);
        assert_eq!(said(&cut), "", "a cut last line is left out");
        assert!(said(&format!("{whole}\n").replace("\"schema\":1", "\"schema\":7")).contains("has schema 7"));
    }
    assert!(claims(&format!("{claim}\n{claim}\n")).contains("field \"order\" is 0, as in line 1"));
    let many = fault.to_string().replace("\"end-of-file\":1", "\"end-of-file\":9");
    assert!(faults(&format!("{many}\n")).contains("field \"signs\" counts 9 of 1 injections"));
}

// ---------------------------------------------------------------------------------------------------------- exit codes

#[test]
fn the_program_ends_with_one_and_a_line_that_says_where() {
    let folder = Folder::new();
    let dir = folder.path.to_str().unwrap();
    assert!(run(&["show", dir]).status.success());
    let whole = folder.read("cells.jsonl");
    folder.write("cells.jsonl", whole.replacen("\"messages\":1000", "\"messages\":\"many\"", 1));
    for args in [["show", dir], ["report", dir]] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
        assert!(
            stderr(&output).contains("line 1 of cells.jsonl is damaged (during report): field \"messages\""),
            "{}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty());
    }
    assert!(!folder.path.join("summary.csv").exists(), "no table was made");
}

//! `ipcost diff` over folders whose truth is known: what was planted is found, and nothing else is.

mod common;

use common::journal::{Made, cell, noise};
use common::program::{ipcost, run, stderr};
use ipcost::plan::{Parties, Plan, Workload};
use serde_json::Value;
use std::path::Path;
use std::process::Output;
use tempfile::TempDir;

const MECHANISMS: [&str; 5] = ["pipe", "unix-stream", "file", "shm-ring", "tcp"];

fn cells() -> Vec<Plan> {
    let of = |(workload, size)| MECHANISMS.map(|mechanism| cell(mechanism, workload, size));
    [(Workload::PingPong, 64), (Workload::Stream, 64), (Workload::Stream, 4096)].into_iter().flat_map(of).collect()
}

/// Six rounds of all cells with 2 % of noise, in which the time of each is what `times` makes of a thousand.
fn made(seed: u64, times: impl Fn(&Plan, u32) -> f64) -> Made {
    let (mut folder, mut noise) = (Made::default(), noise(seed, 2.0));
    for cell in cells() {
        folder.add_with_null(&cell, 6, |round| 1000.0 * noise() * times(&cell, round));
    }
    folder
}

fn usual(_: &Plan, _: u32) -> f64 {
    1.0
}

/// The stream of 64 bytes through a Unix socket takes a tenth longer.
fn a_tenth(cell: &Plan, _: u32) -> f64 {
    let planted = cell.mechanism == "unix-stream" && cell.workload == Workload::Stream && cell.size == 64;
    if planted { 1.1 } else { 1.0 }
}

fn two(dir: &TempDir, a: Made, b: Made) -> [String; 2] {
    let path = |folder: Made, name| folder.write(&dir.path().join(name)).to_str().unwrap().to_string();
    [path(a, "a"), path(b, "b")]
}

fn diff(folders: &[String; 2], options: &[&str]) -> Output {
    run(&[&["diff", &folders[0], &folders[1]][..], options].concat())
}

fn json(folders: &[String; 2], options: &[&str]) -> Value {
    let output = diff(folders, &[&["--format", "json"][..], options].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(&output)))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Names of the rows with this verdict.
fn with(found: &Value, verdict: &str) -> Vec<String> {
    let rows = found["classes"].as_array().unwrap().iter().flat_map(|class| class["rows"].as_array().unwrap());
    let named = rows.filter(|row| row["verdict"] == verdict);
    named.map(|row| row["mechanism"].as_str().unwrap().to_string()).collect()
}

#[test]
fn a_row_that_is_a_tenth_slower_is_found_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let folders = two(&dir, made(1, usual), made(2, a_tenth));
    let found = json(&folders, &[]);
    assert_eq!(found["paired"], false, "no run says when it was launched");
    assert_eq!((with(&found, "slower"), with(&found, "faster")), (vec!["unix-stream".to_string()], vec![]));
    assert_eq!((&found["tally"]["compared"], &found["tally"]["slower"]), (&15.into(), &1.into()));
    // Six runs against six miss with probability 2 * 19 / 924.
    let by_chance = found["tally"]["by_chance"].as_f64().unwrap();
    assert!((by_chance - 15.0 * 38.0 / 924.0).abs() < 1e-9, "{by_chance}");
    let page = text(&diff(&folders, &[]));
    assert!(page.contains("15 compared: 1 slower, 0 faster") && page.contains("about 0.617 of 15"), "{page}");
    let row = page.lines().find(|line| line.ends_with("  slower")).expect("the row");
    assert!(row.starts_with("unix-stream") && row.contains("1.1") && row.contains("6/6"), "{row}");
}

#[test]
fn a_limit_fails_on_the_row_that_breaks_it_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let folders = two(&dir, made(1, usual), made(2, a_tenth));
    let failed = diff(&folders, &["--fail-above", "5%"]);
    assert_eq!(failed.status.code(), Some(1), "{}", stderr(&failed));
    assert!(stderr(&failed).contains("slower than allowed: unix-stream (process), stream 64"), "{}", stderr(&failed));
    assert!(text(&failed).contains("SLOWER, too much") && text(&failed).contains("slower by more than 5.00 %"));
    let passed = diff(&folders, &["--fail-above", "15%"]);
    assert_eq!((passed.status.code(), stderr(&passed)), (Some(0), String::new()));
    assert!(text(&passed).contains("no row is slower by more than 15.0 %"));
    // The other way round the row is faster, which breaks no limit.
    let turned = [folders[1].clone(), folders[0].clone()];
    assert_eq!(diff(&turned, &["--fail-above", "5%"]).status.code(), Some(0));
    assert_eq!(with(&json(&turned, &[]), "faster"), ["unix-stream"]);
    // What was not chosen is not judged.
    assert_eq!(diff(&folders, &["--fail-above", "5%", "--mechanism", "pipe"]).status.code(), Some(0));
}

#[test]
fn a_folder_does_not_differ_from_itself_or_its_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (made(1, usual), made(1, usual));
    a.clock(12, 2);
    b.clock(12, 2);
    let folders = two(&dir, a, b);
    for folders in [&folders, &[folders[0].clone(), folders[0].clone()]] {
        let found = json(folders, &["--fail-above", "0%"]);
        assert_eq!(found["paired"], true, "their rounds are the same rounds");
        assert_eq!(with(&found, "no-difference").len(), 15);
        let rows = found["classes"].as_array().unwrap().iter().flat_map(|class| class["rows"].as_array().unwrap());
        assert!(rows.clone().all(|row| row["ratio"]["interval"] == serde_json::json!([1.0, 1.0])), "{found}");
        assert_eq!(found["surroundings"]["differ"], serde_json::json!([]));
    }
    assert!(text(&diff(&folders, &[])).contains("nothing differs around the numbers"));
}

#[test]
fn noise_alone_is_no_difference() {
    for seed in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let folders = two(&dir, made(100 + seed, usual), made(200 + seed, usual));
        let output = diff(&folders, &["--fail-above", "1%", "--format", "json"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(with(&found, "no-difference").len(), 15, "seed {seed}: {found}");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn a_difference_inside_the_noise_of_either_folder_is_none() {
    let dir = tempfile::tempdir().unwrap();
    // In B the null pair is a fifth apart, so a tenth means nothing.
    let mut b = Made::default();
    let mut noise = noise(3, 2.0);
    for cell in cells() {
        let mut calls = 0;
        b.add_with_null(&cell, 6, |round| {
            calls += 1;
            let again = if calls % 2 == 0 { 1.2 } else { 1.0 };
            1000.0 * noise() * a_tenth(&cell, round) * again
        });
    }
    let folders = two(&dir, made(1, usual), b);
    let turned = [folders[1].clone(), folders[0].clone()];
    for found in [json(&folders, &[]), json(&turned, &[])] {
        assert_eq!([with(&found, "slower"), with(&found, "faster")], [[""; 0]; 2], "{found}");
        assert!(found["classes"][0]["noise"].as_f64().unwrap() > 0.19, "{found}");
    }
}

#[test]
fn where_the_floor_moved_a_row_counts_only_if_it_moved_more() {
    let dir = tempfile::tempdir().unwrap();
    // The machine of B hands over four times as slowly, and one row is another third slower than that.
    let beyond = |cell: &Plan| if cell.mechanism == "tcp" { 1.33 } else { 1.0 };
    let (mut a, mut b) = (made(1, usual), made(2, |cell, _| 4.0 * beyond(cell)));
    a.floor(70.0);
    b.floor(280.0);
    let folders = two(&dir, a, b);
    let output = diff(&folders, &["--fail-above", "5%", "--format", "json"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(with(&found, "slower"), ["tcp"; 3], "{found}");
    assert_eq!(with(&found, "slower-with-floor").len(), 12);
    assert_eq!(found["failed"].as_array().unwrap().len(), 3, "only what is slower than its floor");
    assert_eq!(found["classes"][0]["floor"]["moved"], true);
    let page = text(&diff(&folders, &[]));
    assert!(page.contains("in floors") && page.contains("70.0 ns in A and 280 ns in B"), "{page}");
    assert!(page.contains("slower, as its floor") && page.contains("12 moved with their floor only"), "{page}");
}

#[test]
fn rounds_that_ran_in_turn_are_paired_and_a_drift_that_both_share_cancels() {
    // The machine grows slower from round to round, by far more than the tenth that was planted.
    let drift = |round: u32| f64::from(1 + round);
    let (mut a, mut b) = (made(1, |_, round| drift(round)), made(2, |cell, round| drift(round) * a_tenth(cell, 0)));
    a.clock(12, 4);
    b.clock(12, 4);
    let dir = tempfile::tempdir().unwrap();
    let found = json(&two(&dir, a, b), &[]);
    assert_eq!((&found["paired"], with(&found, "slower")), (&true.into(), vec!["unix-stream".to_string()]));
    // The same runs an hour apart are no pairs: nothing of a tenth can be seen.
    let (mut a, mut b) = (made(1, |_, round| drift(round)), made(2, |cell, round| drift(round) * a_tenth(cell, 0)));
    a.clock(12, 4);
    b.clock(13, 4);
    let dir = tempfile::tempdir().unwrap();
    let found = json(&two(&dir, a, b), &[]);
    assert_eq!((&found["paired"], with(&found, "slower")), (&false.into(), vec![]));
}

#[test]
fn what_differs_around_the_numbers_and_rows_of_one_folder_are_listed() {
    let (mut a, mut b) = (made(1, usual), made(2, usual));
    a.host.kernel = "6.1.0".into();
    b.host.kernel = "6.9.0".into();
    b.host.facts.insert("governor".into(), "powersave".into());
    a.host.facts.insert("load".into(), "0.1".into());
    b.host.facts.insert("load".into(), "7.1".into());
    a.add(&cell("fifo", Workload::PingPong, 64), 0, 5.0);
    b.add(&Plan { parties: Parties::Thread, ..cell("pipe", Workload::PingPong, 64) }, 0, 5.0);
    b.add(&cell("pipe", Workload::Stream, 1 << 20), 0, 5.0);
    let dir = tempfile::tempdir().unwrap();
    let folders = two(&dir, a, b);
    let found = json(&folders, &[]);
    assert_eq!(
        found["surroundings"]["differ"],
        serde_json::json!([
            {"what": "kernel", "a": "6.1.0", "b": "6.9.0"},
            {"what": "governor", "a": null, "b": "powersave"}
        ])
    );
    let page = text(&diff(&folders, &[]));
    for words in
        ["only A   fifo between processes", "only B   pipe between threads", "(stream 1 MiB", "    B  powersave"]
    {
        assert!(page.contains(words), "{words:?} is missing in\n{page}");
    }
}

#[test]
fn without_noise_nothing_is_told_apart_and_a_limit_is_refused() {
    let plain = |seed, factor| {
        let (mut folder, mut noise) = (Made::default(), noise(seed, 2.0));
        (0..6).for_each(|round| _ = folder.add(&cell("pipe", Workload::PingPong, 64), round, factor * noise()));
        folder
    };
    let dir = tempfile::tempdir().unwrap();
    let folders = two(&dir, plain(1, 1000.0), plain(2, 9000.0));
    let found = json(&folders, &[]);
    assert_eq!((&found["tally"]["compared"], &found["tally"]["unknown"]), (&0.into(), &1.into()));
    assert!(text(&diff(&folders, &[])).contains("unknown: the noise of the class is unknown"));
    let refused = diff(&folders, &["--fail-above", "5%"]);
    assert_eq!(refused.status.code(), Some(2), "a gate that judges nothing must not pass");
    assert!(stderr(&refused).contains("nothing to judge") && stderr(&refused).contains("--rounds 6"));
}

#[test]
fn every_format_holds_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let folders = two(&dir, made(1, usual), made(2, a_tenth));
    let csv = text(&diff(&folders, &["--format", "csv"]));
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let heads = reader.headers().unwrap().clone();
    let column = |name: &str| heads.iter().position(|head| head == name).unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 15);
    let slower: Vec<_> = rows.iter().filter(|row| &row[column("verdict")] == "slower").collect();
    assert!(matches!(slower[..], [row] if &row[column("mechanism")] == "unix-stream" && &row[column("size")] == "64"));
    let ratio: f64 = slower[0][column("ratio")].parse().unwrap();
    assert!((1.08..1.12).contains(&ratio), "{ratio}");
    let page = text(&diff(&folders, &["--format", "markdown"]));
    assert!(page.starts_with("# Two results folders") && page.matches("| unix-stream").count() == 3, "{page}");
}

#[test]
fn a_table_fits_its_width_and_says_what_it_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let folders = two(&dir, made(1, usual), made(2, a_tenth));
    let at = |columns: &str| {
        let args = ["diff", "--size", "64", "a", "b"];
        let output =
            ipcost(&args).current_dir(Path::new(&folders[0]).parent().unwrap()).env("COLUMNS", columns).output();
        text(&output.unwrap())
    };
    for (columns, width) in [("60", 60), ("80", 80), ("160", 160)] {
        let page = at(columns);
        let widest = page.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width, "{widest} of {width}:\n{page}");
    }
    assert!(at("60").contains("no room for") && !at("160").contains("no room"), "{}", at("60"));
}

#[test]
fn reasons_stand_below_a_table_that_they_would_push_out_of_its_width() {
    let dir = tempfile::tempdir().unwrap();
    // Between processes and threads, with a floor that moved, and one row without a result.
    let with_threads = |seed: u64, factor: f64| {
        let mut folder = made(seed, |_, _| factor);
        for round in 0..6 {
            folder.add(&Plan { parties: Parties::Thread, ..cell("pipe", Workload::PingPong, 64) }, round, 900.0);
        }
        folder
    };
    let (mut a, mut b) = (with_threads(1, 1.0), with_threads(2, 4.0));
    for (folder, runs) in [(&mut a, 6), (&mut b, 2)] {
        (0..runs).for_each(|round| _ = folder.add(&cell("vmsplice-splice", Workload::PingPong, 64), round, 5000.0));
    }
    a.floor(70.0);
    b.floor(280.0);
    two(&dir, a, b);
    for width in [60, 80, 160] {
        let mut diff = ipcost(&["diff", "a", "b", "--workload", "ping-pong"]);
        let output = diff.current_dir(dir.path()).env("COLUMNS", width.to_string()).output().unwrap();
        let page = text(&output);
        assert!(page.lines().all(|line| line.chars().count() <= width), "at {width}:\n{page}");
        let row = page.lines().find(|line| line.starts_with("vmsplice-splice")).unwrap();
        let whole = row.contains("unknown: too few runs for an interval");
        let below = page.contains("unknown  too few runs for an interval: vmsplice-splice");
        assert_eq!((whole, below), (width == 160, width < 160), "at {width}:\n{page}");
        let twins = page.lines().filter(|line| line.starts_with("pipe ") && line.contains(" thread "));
        assert_eq!(twins.count(), 1, "it cannot be told from the row between processes:\n{page}");
    }
}

#[test]
fn what_is_no_campaign_is_refused_with_what_to_choose() {
    let dir = tempfile::tempdir().unwrap();
    let [a, _] = two(&dir, made(1, usual), made(2, usual));
    let claims = dir.path().join("claims");
    std::fs::create_dir(&claims).unwrap();
    std::fs::write(claims.join("claims.jsonl"), "").unwrap();
    let other = dir.path().join("other");
    let mut folder = Made::default();
    folder.add(&cell("pipe", Workload::PingPong, 1024), 0, 1.0);
    folder.write(&other);
    for (b, clue) in [
        (claims.to_str().unwrap(), "holds claims"),
        (other.to_str().unwrap(), "no row in common"),
        ("/nonexistent", "holds no results"),
    ] {
        let output = run(&["diff", &a, b]);
        assert_eq!(output.status.code(), Some(2), "{b}");
        assert!(stderr(&output).contains(clue), "{}", stderr(&output));
    }
    let output = run(&["diff", &a, &a, "--mechanism", "pip"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean pipe?"), "{}", stderr(&output));
}

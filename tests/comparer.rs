//! The comparer from outside: what it writes, how it refuses, and that nothing outlives it.

mod common;

use common::program::{campaign, ipcost, launched_by, run, signal, stderr, wait_until};
use common::watched;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A small campaign into `out`: two mechanisms, one class.
fn small(out: &Path, rounds: &str) -> Command {
    let args = ["compare", "--mechanism", "pipe,shm-ring", "--workload", "ping-pong", "--wait", "block"];
    let budget = if rounds.len() > 2 { "6s" } else { "3s" };
    let mut command = ipcost(&args);
    command.args(["--placement", "same-cpu", "--budget", budget, "--seed", "7", "--rounds", rounds]);
    command.arg("--out").arg(out);
    command
}

fn lines(out: &Path) -> usize {
    fs::read_to_string(out.join("cells.jsonl")).map_or(0, |text| text.lines().count())
}

#[test]
fn a_campaign_leaves_a_folder_whose_tables_regenerate_to_the_same_bytes() {
    watched(Duration::from_secs(120), || {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results");
        let output = campaign(&mut small(&out, "2"), &out);
        assert!(output.status.success(), "{}", stderr(&output));
        let table = String::from_utf8(output.stdout).unwrap();
        for word in ["ping-pong 64 B, wait block, same-cpu", "pipe", "shm-ring", "null", "copy", "noise:", "planted"] {
            assert!(table.contains(word), "{word:?} is missing in\n{table}");
        }
        let host: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(out.join("host.json")).unwrap()).unwrap();
        assert!(host["cpus"].as_u64().unwrap() >= 1);
        for line in fs::read_to_string(out.join("cells.jsonl")).unwrap().lines() {
            let cell: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!((&cell["schema"], &cell["status"]), (&1.into(), &"ok".into()), "{line}");
        }
        let summary = |name: &str| fs::read(out.join(name)).unwrap();
        let first = [summary("summary.csv"), summary("summary.md")];
        for _ in 0..2 {
            fs::remove_file(out.join("summary.csv")).unwrap();
            assert!(run(&["report", out.to_str().unwrap()]).status.success());
            assert_eq!([summary("summary.csv"), summary("summary.md")], first);
        }
        let shown = run(&["show", out.to_str().unwrap()]);
        assert_eq!(String::from_utf8(shown.stdout).unwrap(), table, "a saved run shows what was printed");
    });
}

#[test]
fn an_offered_load_has_a_table_of_its_own_without_controls() {
    watched(Duration::from_secs(120), || {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results");
        let mut command = ipcost(&[]);
        command.args(["compare", "--mechanism", "pipe,shm-ring", "--workload", "offered-load", "--rate", "5k,2k"]);
        command.args(["--size", "64", "--wait", "block", "--placement", "same-cpu", "--rounds", "2", "--budget", "1s"]);
        let output = campaign(command.arg("--out").arg(&out), &out);
        assert!(output.status.success(), "{}", stderr(&output));
        let table = String::from_utf8(output.stdout).unwrap();
        for word in
            ["offered-load 64 B at 5k/s poisson, wait block", "achieved", "reached", "p99 once sent", "shm-ring"]
        {
            assert!(table.contains(word), "{word:?} is missing in\n{table}");
        }
        let place = |rate: &str| table.find(&format!("offered-load 64 B at {rate}/s")).expect(rate);
        assert!(place("2k") < place("5k"), "each rate has a table, the lowest first:\n{table}");
        assert!(!table.contains("null") && !table.contains("copy"), "{table}");
    });
}

#[test]
fn two_campaigns_with_one_seed_run_in_one_order() {
    watched(Duration::from_secs(120), || {
        let dir = tempfile::tempdir().unwrap();
        let order = |name: &str| -> Vec<String> {
            let out = dir.path().join(name);
            assert!(campaign(&mut small(&out, "2"), &out).status.success());
            let text = fs::read_to_string(out.join("cells.jsonl")).unwrap();
            let cells = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            cells.map(|c| format!("{} {} {}", c["mechanism"], c["parties"], c["run"]["label"])).collect()
        };
        // One beside the other: the order is the seed's, whatever runs meanwhile.
        let (a, b) = std::thread::scope(|scope| {
            let a = scope.spawn(|| order("a"));
            (order("b"), a.join().unwrap())
        });
        assert_eq!(a, b);
    });
}

#[test]
fn wrong_requests_end_with_two_and_one_line_that_says_what_to_do() {
    watched(Duration::from_secs(60), || {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let file = file.to_str().unwrap();
        let under = format!("{file}/below");
        let cases: &[(&[&str], &str)] = &[
            (&["compare", "--mechanism", "pip"], "did you mean pipe?"),
            (&["compare", "--size", "0"], "the smallest size is 1"),
            (&["compare", "--wait", "nap"], "choose from block"),
            (&["compare", "--workload", "offered-load"], "add --rate"),
            (&["compare", "--rate", "1k"], "add --workload offered-load"),
            (&["compare", "--cpus", "0,4096"], "CPU 4096 does not exist"),
            (&["compare", "--mechanism", "heap-ring", "--parties", "process"], "does not connect"),
            (&["compare", "--mechanism", "pipe", "--out", &under], "choose another --out"),
            (&["compare", "--mechanism", "file", "--dir", "/nonexistent"], "choose a folder"),
            (&["compare", "--budget", "1s"], "more than the budget"),
            (&["compare", "--resume", "/nonexistent"], "holds no results"),
            (&["show", "/nonexistent"], "holds no results"),
            (&["report", "/nonexistent"], "holds no results"),
            (&["report"], "required"),
            (&["dance"], "unrecognized"),
        ];
        for (args, advice) in cases {
            let output = run(args);
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {text}");
            assert_eq!(text.lines().filter(|line| line.starts_with("error")).count(), 1, "{args:?}: {text}");
            assert!(text.contains(advice), "{args:?} does not say {advice:?}: {text}");
            assert!(output.stdout.is_empty(), "{args:?} wrote results");
        }
    });
}

#[test]
fn results_that_exist_are_never_overwritten() {
    watched(Duration::from_secs(60), || {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results");
        assert!(campaign(&mut small(&out, "1"), &out).status.success());
        let before = fs::read(out.join("cells.jsonl")).unwrap();
        let again = small(&out, "1").output().unwrap();
        assert_eq!(again.status.code(), Some(2));
        assert!(stderr(&again).contains("already holds results"), "{}", stderr(&again));
        assert_eq!(fs::read(out.join("cells.jsonl")).unwrap(), before);
    });
}

#[test]
fn ctrl_c_keeps_finished_runs_prints_their_tables_and_leaves_no_process() {
    watched(Duration::from_secs(120), || {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results");
        let child = small(&out, "500").spawn().unwrap();
        let pid = child.id();
        wait_until("the third run", || lines(&out) >= 3);
        signal(&child, nix::sys::signal::Signal::SIGINT);
        // As timeout(1) does, which signals its child and then the group.
        signal(&child, nix::sys::signal::Signal::SIGTERM);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains("ping-pong"), "no table was printed");
        assert!(lines(&out) >= 3 && out.join("summary.csv").exists());
        wait_until("the end of the cells", || launched_by(pid) == 0);
    });
}

#[test]
fn a_killed_comparer_takes_its_cells_along_and_its_journal_can_be_read() {
    watched(Duration::from_secs(120), || {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results");
        let mut child = small(&out, "500").spawn().unwrap();
        let pid = child.id();
        wait_until("a cell in the second run", || lines(&out) >= 1 && launched_by(pid) > 0);
        signal(&child, nix::sys::signal::Signal::SIGKILL);
        child.wait().unwrap();
        wait_until("the end of the cells", || launched_by(pid) == 0);
        // As if it had been killed in the middle of a line.
        let mut text = fs::read_to_string(out.join("cells.jsonl")).unwrap();
        text.push_str("{\"schema\":1,\"mechanism\":\"pi");
        fs::write(out.join("cells.jsonl"), text).unwrap();
        let shown = run(&["show", out.to_str().unwrap()]);
        assert!(shown.status.success(), "{}", stderr(&shown));
        assert!(String::from_utf8_lossy(&shown.stdout).contains("is cut and was ignored"));
    });
}

/// Round, position and cell of every run in the journal.
fn positions(out: &Path) -> Vec<(u64, u64, String)> {
    let text = fs::read_to_string(out.join("cells.jsonl")).unwrap();
    let runs = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    runs.map(|r| {
        let cell = format!("{} {} {}", r["mechanism"], r["parties"], r["run"]["label"]);
        (r["run"]["round"].as_u64().unwrap(), r["run"]["order"].as_u64().unwrap(), cell)
    })
    .collect()
}

#[test]
fn a_killed_campaign_goes_on_where_it_was_and_runs_what_an_unbroken_one_runs() {
    watched(Duration::from_secs(180), || {
        let dir = tempfile::tempdir().unwrap();
        let (unbroken, out) = (dir.path().join("unbroken"), dir.path().join("results"));
        let mut beside = small(&unbroken, "3").spawn().unwrap();
        let mut child = small(&out, "3").spawn().unwrap();
        let pid = child.id();
        wait_until("a cell in the fourth run", || lines(&out) >= 3 && launched_by(pid) > 0);
        let second = run(&["compare", "--resume", out.to_str().unwrap()]);
        assert_eq!(second.status.code(), Some(2));
        assert!(stderr(&second).contains("another program is writing"), "{}", stderr(&second));
        signal(&child, nix::sys::signal::Signal::SIGKILL);
        child.wait().unwrap();
        wait_until("the end of the cells", || launched_by(pid) == 0);
        assert!(beside.wait().unwrap().success());
        let finished = lines(&out);
        assert!(finished < positions(&unbroken).len(), "it was killed too late");
        // As if it had been killed in the middle of a line.
        let mut journal = fs::OpenOptions::new().append(true).open(out.join("cells.jsonl")).unwrap();
        std::io::Write::write_all(&mut journal, b"{\"schema\":1,\"mechanism\":\"pi").unwrap();
        drop(journal);
        let before = fs::read_to_string(out.join("cells.jsonl")).unwrap();
        let resumed = run(&["compare", "--resume", out.to_str().unwrap()]);
        assert!(resumed.status.success(), "{}", stderr(&resumed));
        assert!(stderr(&resumed).contains("was cut and has been removed"), "{}", stderr(&resumed));
        let after = fs::read_to_string(out.join("cells.jsonl")).unwrap();
        let kept: Vec<_> = before.lines().take(finished).collect();
        assert_eq!(after.lines().take(finished).collect::<Vec<_>>(), kept, "a finished run changed");
        assert_eq!(positions(&out), positions(&unbroken));
        let table = String::from_utf8(resumed.stdout).unwrap();
        assert!(table.contains(&format!("after {finished} launches")), "{table}");
        // And once more, when it is over. On a busy machine the traces may not all have been taken in their time; then
        // they are now.
        let mut table = table;
        let over = loop {
            let over = run(&["compare", "--resume", out.to_str().unwrap()]);
            assert!(over.status.success(), "{}", stderr(&over));
            if !stderr(&over).contains("were traced") {
                break over;
            }
            table = String::from_utf8(over.stdout).unwrap();
        };
        assert!(over.status.success() && stderr(&over).contains("nothing was left to do"), "{}", stderr(&over));
        assert_eq!(String::from_utf8(over.stdout).unwrap(), table);
        assert_eq!(fs::read_to_string(out.join("cells.jsonl")).unwrap(), after);
    });
}

#[test]
fn a_folder_that_cannot_be_continued_is_refused() {
    watched(Duration::from_secs(60), || {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results");
        assert!(campaign(&mut small(&out, "1"), &out).status.success());
        let path = out.to_str().unwrap().to_string();
        let refused = |args: &[&str], words: &str| {
            let output = run(&[&["compare", "--resume", &path], args].concat());
            assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
            assert!(stderr(&output).contains(words), "{}", stderr(&output));
        };
        refused(&["--mechanism", "pipe"], "cannot be used with");
        refused(&["--seed", "7"], "cannot be used with");
        let change = |file: &str, edit: &dyn Fn(&mut serde_json::Value)| {
            let path = out.join(file);
            let mut value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            edit(&mut value);
            fs::write(&path, value.to_string()).unwrap();
        };
        change("host.json", &|host| host["kernel"] = "another".into());
        refused(&[], "another kernel");
        change("campaign.json", &|campaign| drop(campaign.as_object_mut().unwrap().remove("terms")));
        refused(&[], "an older version made it");
    });
}

#[test]
fn on_one_cpu_the_classes_that_need_two_are_replaced() {
    watched(Duration::from_secs(120), || {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("results");
        // The affinity of this test's thread is inherited by what it starts.
        let cpu = *ipcost::sys::cpu::allowed().unwrap().last().unwrap();
        ipcost::sys::cpu::pin(cpu).unwrap();
        let args =
            ["compare", "--mechanism", "pipe", "--rounds", "1", "--budget", "1s", "--out", out.to_str().unwrap()];
        let output = campaign(&mut ipcost(&args), &out);
        assert!(output.status.success(), "{}", stderr(&output));
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(table.contains("same-cpu") && !table.contains("cross-cpu"), "{table}");
        let asked = run(&["compare", "--mechanism", "pipe", "--placement", "cross-cpu"]);
        assert_eq!(asked.status.code(), Some(2));
        assert!(stderr(&asked).contains("needs two CPUs"), "{}", stderr(&asked));
    });
}

#[test]
fn the_list_names_every_mechanism_in_text_and_json() {
    let text = String::from_utf8(run(&["list"]).stdout).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&run(&["list", "--format", "json"]).stdout).unwrap();
    let names: Vec<_> = json.as_array().unwrap().iter().map(|spec| spec["name"].as_str().unwrap()).collect();
    for runner in ipcost::transport::ALL {
        let name = runner.spec().name;
        assert!(names.contains(&name) && text.contains(name), "{name} is missing");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    watched(Duration::from_secs(60), || {
        let mut child = ipcost(&["list"]).spawn().unwrap();
        drop(child.stdout.take());
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn completions_and_manual_pages_are_written() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(&["man", dir.path().to_str().unwrap()]).status.success());
    assert!(dir.path().join("ipcost.1").exists());
    let bash = run(&["completions", "bash"]);
    assert!(String::from_utf8_lossy(&bash.stdout).contains("compare"));
}

//! What is shown of saved runs: choosing, widths, pagers and colours; and what shells and readers get.

mod common;

use common::journal::{Made, cell};
use common::program::{ipcost, run, stderr};
use ipcost::plan::{Plan, Wait, Workload};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn folder(dir: &TempDir) -> String {
    let mut made = Made::default();
    for workload in [Workload::PingPong, Workload::Stream] {
        for size in [64, 4096] {
            for wait in [Wait::Block, Wait::Spin] {
                for (mechanism, ns) in [("pipe", 12_345.0), ("unix-stream", 23_456.0), ("local-socket", 34_567.0)] {
                    let cell = Plan { wait, ..cell(mechanism, workload, size) };
                    made.add_with_null(&cell, 6, |round| ns + 100.0 * f64::from(round));
                }
            }
        }
    }
    made.floor(2000.0);
    made.write(&dir.path().join("x")).to_str().unwrap().to_string()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn show(from: &str, options: &[&str]) -> Output {
    run(&[&["show", from][..], options].concat())
}

fn classes(page: &str) -> usize {
    page.lines().filter(|line| line.starts_with("ping-pong ") || line.starts_with("stream ")).count()
}

#[test]
fn what_was_chosen_is_shown_with_the_ranks_of_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let from = folder(&dir);
    assert_eq!(classes(&text(&show(&from, &[]))), 8);
    for (options, left) in [
        (&["--workload", "stream"][..], 4),
        (&["--size", "4KiB"], 4),
        (&["--wait", "spin", "--size", "64"], 2),
        (&["--placement", "cross-cpu"], 8),
    ] {
        let page = text(&show(&from, options));
        assert_eq!(classes(&page), left, "{options:?}:\n{page}");
        assert!(page.contains(&format!("{left} of 8 classes")), "{page}");
    }
    let page = text(&show(&from, &["--mechanism", "local-socket", "--size", "64", "--workload", "ping-pong"]));
    assert!(page.contains("3  local-socket") && !page.contains("pipe  "), "it stays the third:\n{page}");
    let list = text(&show(&from, &["--list", "--wait", "block"]));
    assert_eq!(list.matches("cross-cpu").count(), 4, "{list}");
    assert!(list.contains("mechanisms  local-socket, pipe, unix-stream"), "{list}");
}

#[test]
fn a_choice_holds_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = Made::default();
    for workload in [Workload::PingPong, Workload::Stream] {
        for mechanism in ["pipe", "tcp"] {
            for round in 0..8 {
                let run = made.add(&cell(mechanism, workload, 64), round, 1000.0 + f64::from(round));
                run.flags = if round == 0 { vec!["steal".into()] } else { vec![] };
            }
        }
    }
    let from = made.write(&dir.path().join("x")).to_str().unwrap().to_string();
    // Workload, mechanism and launches of each row.
    let rows = |options: &[&str]| {
        let output = show(&from, &[options, &["--format", "csv"]].concat());
        let mut reader = csv::Reader::from_reader(&output.stdout[..]);
        let head = reader.headers().unwrap_or_else(|e| panic!("{e}: {}", stderr(&output))).clone();
        let place = |key: &str| head.iter().position(|name| name == key).unwrap();
        let [workload, mechanism, n] = ["workload", "mechanism", "n"].map(place);
        let rows = reader.records().map(|row| row.unwrap());
        rows.map(|row| [&row[workload], &row[mechanism], &row[n]].join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(rows(&[]), ["ping-pong pipe 8", "ping-pong tcp 8", "stream pipe 8", "stream tcp 8"]);
    assert_eq!(rows(&["--mechanism", "tcp"]), ["ping-pong tcp 8", "stream tcp 8"]);
    assert_eq!(rows(&["--workload", "stream", "--mechanism", "pipe"]), ["stream pipe 8"]);
    assert_eq!(rows(&["--workload", "stream", "--unflagged"]), ["stream pipe 7", "stream tcp 7"]);
    let page = text(&show(&from, &["--mechanism", "tcp", "--unflagged", "--format", "markdown"]));
    assert!(page.contains("without a flag only") && page.contains("| tcp "), "{page}");
    assert!(!page.contains("| pipe ") && page.contains("2 of 2 classes"), "{page}");
    let list = text(&show(&from, &["--list", "--unflagged", "--mechanism", "tcp"]));
    assert!(list.contains("  7\n") && !list.contains("  8\n"), "{list}");
}

#[test]
fn what_is_not_there_is_refused_with_what_is() {
    let dir = tempfile::tempdir().unwrap();
    let from = folder(&dir);
    for (options, clue) in [
        (&["--mechanism", "unix-steam"][..], "did you mean unix-stream?"),
        (&["--size", "128"], "nothing of what was asked for was measured"),
        (&["--wait", "sleep"], "choose from"),
    ] {
        let output = show(&from, options);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(2), true), "{options:?}");
        assert!(stderr(&output).contains(clue), "{options:?}: {}", stderr(&output));
    }
    let claims = dir.path().join("claims");
    std::fs::create_dir(&claims).unwrap();
    std::fs::write(claims.join("claims.jsonl"), "").unwrap();
    let output = show(claims.to_str().unwrap(), &["--list"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("shown as a whole"), "{}", stderr(&output));
}

/// Lines that are too long.
fn too_long(page: &str, width: usize) -> Vec<&str> {
    page.lines().filter(|line| line.chars().count() > width).collect()
}

#[test]
fn every_text_fits_eighty_columns_and_takes_what_it_gets() {
    let dir = tempfile::tempdir().unwrap();
    let from = folder(&dir);
    let faults = dir.path().join("faults");
    std::fs::create_dir(&faults).unwrap();
    let record = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults/record.jsonl");
    std::fs::copy(record, faults.join("faults.jsonl")).unwrap();
    let all = [
        &["show", &from][..],
        &["show", &from, "--list"],
        &["list"],
        &["host"],
        &["show", faults.to_str().unwrap()],
        &["--help"],
        &["compare", "--help"],
    ];
    for args in all {
        for width in [80, 160] {
            let output = ipcost(args).env("COLUMNS", width.to_string()).output().unwrap();
            let page = text(&output);
            assert!(!page.is_empty(), "{args:?}: {}", stderr(&output));
            assert_eq!(too_long(&page, width), [""; 0], "{args:?} at {width}");
        }
    }
    let at = |columns: &str| text(&ipcost(&["show", &from]).env("COLUMNS", columns).output().unwrap());
    assert!(at("60").contains("no room for") && !at("60").contains("x floor  "), "{}", at("60"));
    assert!(at("160").contains("x floor") && !at("160").contains("no room"), "{}", at("160"));
    // Nothing bounds a pipe.
    assert_eq!(text(&show(&from, &[])), at("5000"));
}

/// Runs the program on a terminal that script(1) makes; `None` where there is no such program.
fn on_a_terminal(command: &str, environment: &[(&str, &str)]) -> Option<String> {
    let mut script = Command::new("script");
    script.args(["-qec", command, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in ["COLUMNS", "NO_COLOR", "PAGER"] {
        script.env_remove(name);
    }
    script.env("TERM", "xterm").envs(environment.iter().copied());
    let output = script.output().ok()?;
    Some(text(&output))
}

#[test]
fn a_long_text_goes_through_the_pager_on_a_terminal_only() {
    let dir = tempfile::tempdir().unwrap();
    let from = folder(&dir);
    let program = env!("CARGO_BIN_EXE_ipcost");
    let Some(paged) = on_a_terminal(&format!("{program} show {from}"), &[("PAGER", "sed s/^/paged:/")]) else {
        return eprintln!("not tried: there is no script(1) here");
    };
    assert!(
        paged.lines().all(|line| line.starts_with("paged:")) && classes(&paged.replace("paged:", "")) == 8,
        "{paged}"
    );
    let short = on_a_terminal(&format!("{program} show {from} --list"), &[("PAGER", "sed s/^/paged:/")]).unwrap();
    assert!(!short.contains("paged:") && short.contains("mechanisms"), "it fits the screen:\n{short}");
    let none = on_a_terminal(&format!("{program} show {from}"), &[("PAGER", "/nonexistent/pager")]).unwrap();
    assert_eq!(classes(&none), 8, "a pager that is not there hides nothing:\n{none}");
    let piped = ipcost(&["show", &from]).env("PAGER", "sed s/^/paged:/").output().unwrap();
    assert!(!text(&piped).contains("paged:"));
}

#[test]
fn colours_are_for_terminals_whose_user_wants_them() {
    let program = env!("CARGO_BIN_EXE_ipcost");
    let wrong = format!("{program} compare --mechanism pip");
    let Some(coloured) = on_a_terminal(&wrong, &[]) else {
        return eprintln!("not tried: there is no script(1) here");
    };
    assert!(coloured.contains("\u{1b}[") && coloured.contains("did you mean pipe"), "{coloured:?}");
    let plain = on_a_terminal(&wrong, &[("NO_COLOR", "1")]).unwrap();
    assert!(!plain.contains('\u{1b}') && plain.contains("did you mean pipe"), "{plain:?}");
    assert!(!stderr(&run(&["compare", "--mechanism", "pip"])).contains('\u{1b}'), "a pipe has no colours");
}

#[test]
fn a_wrong_name_is_answered_in_lines_that_fit() {
    let output = ipcost(&["compare", "--mechanism", "nope"]).env("COLUMNS", "80").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = stderr(&output);
    assert!(said.lines().count() <= 3 && said.lines().all(|line| line.len() <= 80), "{said}");
    assert!(said.contains("there is no mechanism \"nope\"") && said.contains("ipcost list"), "{said}");
}

#[test]
fn shells_complete_the_names_of_mechanisms_and_words_of_options() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(&["completions", shell]));
        for word in ["shm-ring", "io-uring-sqpoll", "offered-load", "cross-cpu", "hybrid", "advise", "diff"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    let fish = text(&run(&["completions", "fish", "ipc-pipe"]));
    assert!(fish.contains("ipc-pipe") && fish.contains("outstanding"), "{fish}");
    assert!(
        text(&run(&["completions", "bash", "all"])).contains("_ipc__subcmd__tcp")
            || text(&run(&["completions", "bash", "all"])).contains("ipc-tcp")
    );
    let wrong = run(&["completions", "bash", "ipc-pip"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("did you mean ipc-pipe"), "{}", stderr(&wrong));
    // A shell finds nothing wrong with it, where there is one.
    for shell in ["bash", "zsh"] {
        let script = run(&["completions", shell]).stdout;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script).unwrap();
        if let Ok(checked) = Command::new(shell).arg("-n").arg(file.path()).output() {
            assert!(checked.status.success(), "{shell}: {}", stderr(&checked));
        }
    }
}

#[test]
fn there_is_a_manual_page_for_every_command_and_every_program() {
    let dir = tempfile::tempdir().unwrap();
    assert!(run(&["man", dir.path().to_str().unwrap()]).status.success());
    let page = |name: &str| std::fs::read_to_string(dir.path().join(format!("{name}.1"))).expect(name);
    let commands = "compare claims faults check list show diff advise report limits host clean completions man";
    for command in commands.split(' ') {
        assert!(page(&format!("ipcost-{command}")).contains(".TH"), "{command}");
        assert!(page("ipcost").contains(&format!("ipcost\\-{command}(1)")), "{command}");
    }
    for runner in ipcost::transport::ALL {
        let name = format!("ipc-{}", runner.spec().name);
        assert!(page(&name).contains(&format!(".TH {name} 1")), "{name}");
    }
    let written = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(
        written,
        1 + commands.split(' ').count()
            + ipcost::transport::ALL.len()
            + usize::from(dir.path().join("ipcost-help.1").exists())
    );
    if let Ok(checked) = Command::new("groff").args(["-man", "-ww", "-z"]).arg(dir.path().join("ipc-pipe.1")).output() {
        assert_eq!(stderr(&checked), "", "groff finds fault with it");
    }
}

//! `ipcost advise` over folders whose truth is known: what is recommended, what falls out and why, and what is not said.

mod common;

use common::journal::{Made, cell, cpu, stamped};
use common::program::{ipcost, run, stderr};
use ipcost::cell::Status;
use ipcost::measure::load::{Latencies, LoadPoint};
use ipcost::plan::{Arrivals, Offered, Parties, Plan, Wait, Workload};
use serde_json::Value;
use std::process::Output;
use tempfile::TempDir;

/// Six rounds of a mechanism: streams of three sizes and round trips of the same, with what each message takes.
fn add(folder: &mut Made, mechanism: &str, wait: Wait, stream_ns: [f64; 3], cpu_ns: f64, trip_ns: f64) {
    for round in 0..6 {
        for (size, ns) in [64, 4096, 65_536].into_iter().zip(stream_ns) {
            let stream = Plan { wait, ..cell(mechanism, Workload::Stream, size) };
            cpu(folder.add(&stream, round, ns + f64::from(round)), cpu_ns);
            let trip = Plan { wait, ..cell(mechanism, Workload::PingPong, size) };
            let run = folder.add(&trip, round, trip_ns + f64::from(round));
            cpu(run, 10.0 * cpu_ns);
            stamped(run, &[(trip_ns as u64, 985), (3 * trip_ns as u64, 15)]);
        }
    }
}

/// A pipe that carries 200 k/s, 100 k/s and 10 k/s of the three sizes, a ring that carries ten times as many and spins
/// too, a socket that nobody measured enough, and a queue of threads.
fn folder(dir: &TempDir) -> String {
    let mut made = Made::default();
    made.host.slug = "planted".into();
    add(&mut made, "pipe", Wait::Block, [5000.0, 10_000.0, 100_000.0], 2000.0, 40_000.0);
    add(&mut made, "shm-ring", Wait::Block, [500.0, 1000.0, 10_000.0], 400.0, 30_000.0);
    add(&mut made, "shm-ring", Wait::Spin, [300.0, 600.0, 6000.0], 300.0, 500.0);
    add(&mut made, "posix-mq", Wait::Block, [500.0, 1000.0, 10_000.0], 400.0, 30_000.0);
    for size in [64, 4096, 65_536] {
        made.add(&cell("unix-stream", Workload::Stream, size), 0, 100.0);
        let broken = made.add(&cell("tcp", Workload::Stream, size), 0, 100.0);
        (broken.status, broken.reason) = (Status::Failed, Some("planted trouble".into()));
    }
    for round in 0..6 {
        let heap = Plan { parties: Parties::Thread, ..cell("heap-ring", Workload::Stream, 4096) };
        cpu(made.add(&heap, round, 100.0), 50.0);
    }
    made.write(&dir.path().join("x")).to_str().unwrap().to_string()
}

fn ask(from: &str, options: &[&str]) -> Output {
    run(&[&["advise", "--from", from][..], options].concat())
}

fn json(from: &str, options: &[&str]) -> Value {
    let output = ask(from, &[&["--format", "json"][..], options].concat());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(&output)))
}

fn names(found: &Value, list: &str) -> Vec<String> {
    found[list].as_array().unwrap().iter().map(|one| one["mechanism"].as_str().unwrap().to_string()).collect()
}

/// Why a mechanism is in a list.
fn why(found: &Value, list: &str, mechanism: &str) -> String {
    let one = found[list].as_array().unwrap().iter().find(|one| one["mechanism"] == mechanism);
    let one = one.unwrap_or_else(|| panic!("{mechanism} is not in {list}: {found:#}"));
    one["why"].as_str().unwrap().to_string()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const QUESTION: [&str; 5] = ["--size", "4KiB", "--rate", "50000", "--survive-crash"];

#[test]
fn a_pipe_or_shared_memory_for_4_kib_at_50_000_a_second_and_what_if_the_peer_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let output = ask(&folder(&dir), &QUESTION);
    let page = text(&output);
    assert_eq!(output.status.code(), Some(0), "{page}{}", stderr(&output));
    let place = |words: &str| page.find(words).unwrap_or_else(|| panic!("{words:?} is missing in\n{page}"));
    assert!(place(" 1 shm-ring") < place(" 2 pipe"), "the ring takes less CPU:\n{page}");
    for words in [
        "4 KiB a message; 50k messages/s; one goes on when the other is killed",
        // 1000 to 1005 ns a message, and 800 ns of CPU for both parties together; a round trip takes ten times that.
        "998 k/s [995 k/s, 1.00 M/s]: at least 19.9 x the rate  (n 6, stream 4 KiB, wait block, cross-cpu)",
        "0.040 CPU if it hardly ever sleeps",
        "0.200 CPU if every message wakes its reader",
        "30.0 us [30.0 us, 30.0 us], p99 90.0 us  (n 6, ping-pong 4 KiB",
        "to a consumer as EOF or cut message, to a producer as EPIPE",
        "what a killed producer had sent is still received",
        "no copy between producer and consumer",
        "2 copies of each byte",
        "would do, too  process, spin, cross-cpu",
    ] {
        place(words);
    }
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    // 10 000 ns a message are 100 k/s: just short of twice the rate.
    assert!(page.contains("only 2.00 x the rate: bursts will queue"), "{page}");
}

#[test]
fn each_that_fell_out_says_the_first_demand_that_it_fails() {
    let dir = tempfile::tempdir().unwrap();
    let from = folder(&dir);
    let found = json(&from, &QUESTION);
    assert_eq!(names(&found, "fit"), ["shm-ring", "pipe"]);
    assert!(why(&found, "out", "posix-mq").starts_with("crash: neither survivor is told"));
    assert!(why(&found, "out", "heap-ring").starts_with("threads: "));
    assert!(why(&found, "open", "unix-stream").contains("too few for an interval"));
    assert!(why(&found, "open", "tcp").contains("planted trouble"));
    assert!(found["unmeasured"].as_array().unwrap().contains(&"fifo".into()));
    assert!(found["measure"].as_str().unwrap().starts_with("ipcost compare --workload ping-pong,stream --size 4KiB"));
    // Without the crash, the queue has nothing against it.
    assert!(names(&json(&from, &QUESTION[..4]), "fit").contains(&"posix-mq".to_string()));
    let trust = json(&from, &["--size", "4KiB", "--rate", "50k", "--trust", "different"]);
    assert!(why(&trust, "out", "shm-ring").starts_with("trust: the peer can change a message"));
    assert!(why(&trust, "out", "process-vm").starts_with("trust: the receiver may read"));
    assert!(names(&trust, "fit").contains(&"pipe".to_string()));
    // Blocking it does not carry that, spinning it does and takes two CPUs: the way that comes furthest is the answer.
    let busy = json(&from, &["--size", "4KiB", "--rate", "1500k", "--cpu", "0.5"]);
    let furthest = why(&busy, "out", "shm-ring");
    assert!(furthest.starts_with("CPU: takes at least 2.00 CPU (wait spin"), "{furthest}");
    // Too large for a message of the kind, whatever was measured.
    assert!(why(&json(&from, &["--size", "60000"]), "out", "posix-mq").starts_with("size: carries at most"));
}

#[test]
fn a_rate_that_no_stream_reached_falls_out_with_what_it_reached() {
    let dir = tempfile::tempdir().unwrap();
    let from = folder(&dir);
    let output = ask(&from, &["--size", "4KiB", "--rate", "10M"]);
    assert_eq!(output.status.code(), Some(1), "nothing fits");
    assert!(text(&output).contains("nothing that was measured fits"));
    let found = json(&from, &["--size", "4KiB", "--rate", "150k"]);
    let pipe = why(&found, "out", "pipe");
    assert!(pipe.starts_with("rate: carries 100 k/s [100 k/s, 100 k/s] at 4 KiB (n 6"), "{pipe}");
}

#[test]
fn between_two_sizes_the_larger_decides_and_no_figure_is_made_up() {
    let dir = tempfile::tempdir().unwrap();
    let from = folder(&dir);
    // 16 KiB was not measured: the pipe carries 100 k/s at 4 KiB and 10 k/s at 64 KiB.
    let found = json(&from, &["--size", "16KiB", "--rate", "50k"]);
    let pipe = why(&found, "open", "pipe");
    assert!(pipe.contains("at 64 KiB") && pipe.contains("at 4 KiB") && pipe.contains("lies between"), "{pipe}");
    let ring = &found["fit"][0];
    let classes: Vec<_> = ring["rows"].as_array().unwrap().iter().map(|row| row["class"].as_str().unwrap()).collect();
    assert!(classes.iter().any(|class| class.starts_with("stream 64 KiB")), "{classes:?}");
    let says: Vec<_> = ring["rows"].as_array().unwrap().iter().map(|row| row["says"].as_str().unwrap()).collect();
    assert!(says.iter().any(|says| says.contains("100 k/s") && says.ends_with("at least 2.00 x the rate")), "{says:?}");
    assert!(classes.iter().any(|class| class.starts_with("stream 4 KiB")), "{classes:?}");
    assert!(!text(&ask(&from, &["--size", "16KiB", "--rate", "50k"])).contains("stream 16 KiB"));
}

#[test]
fn what_was_not_measured_is_not_answered_and_the_command_that_measures_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let from = folder(&dir);
    for (options, what, command) in [
        (&["--size", "1MiB", "--rate", "1k"][..], "64 B to 64 KiB", "--size 1MiB"),
        (&["--size", "8", "--rate", "1k"], "8 B lies outside", "--size 8B"),
        (&["--size", "64", "--placement", "same-cpu"], "wait and placement", "--placement same-cpu"),
        (&["--size", "64", "--wait", "yield"], "wait and placement", "--wait yield"),
    ] {
        let output = ask(&from, options);
        let said = stderr(&output);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{options:?}: {said}");
        assert!(
            said.contains(what) && said.contains("ipcost compare") && said.contains(command),
            "{options:?}: {said}"
        );
    }
    let offered = json(&from, &["--size", "4KiB", "--rate", "50k", "--latency", "1ms"]);
    assert_eq!(names(&offered, "fit"), [""; 0], "no row says what the latency under load is");
    let command = offered["open"].as_array().unwrap().iter().find(|one| one["mechanism"] == "pipe").unwrap();
    let command = command["command"].as_str().unwrap();
    assert_eq!(command, "ipcost compare --workload offered-load --rate 50k --size 4KiB --mechanism pipe");
}

#[test]
fn a_ceiling_of_cpu_is_met_only_by_the_larger_bound() {
    let dir = tempfile::tempdir().unwrap();
    let from = folder(&dir);
    // At 50 k/s the pipe takes 0.2 CPU as a stream and 1.0 where every message wakes; the ring 0.04 and 0.2.
    let found = json(&from, &["--size", "4KiB", "--rate", "50k", "--cpu", "50%"]);
    assert_eq!(names(&found, "fit"), ["shm-ring", "posix-mq"]);
    assert!(why(&found, "open", "pipe").contains("between 0.200 CPU and 1.00 CPU"));
    assert_eq!(found["fit"][0]["also"], serde_json::json!([]), "a ring that spins takes two CPUs");
    let spin = json(&from, &["--size", "4KiB", "--rate", "50k", "--cpu", "1.5", "--wait", "spin"]);
    assert!(why(&spin, "out", "shm-ring").starts_with("CPU: takes at least 2.00 CPU"));
    assert_eq!(run(&["advise", "--from", &from, "--size", "64", "--cpu", "1"]).status.code(), Some(2));
}

#[test]
fn a_latency_is_held_against_a_measured_load_of_at_least_that_rate() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = Made::default();
    add(&mut made, "pipe", Wait::Block, [500.0; 3], 40.0, 3000.0);
    for (rate, p99) in [(60_000, 80_000), (10_000, 9000)] {
        let offered = Some(Offered { rate: Some(rate), arrivals: Arrivals::Poisson });
        for round in 0..6 {
            let plan = Plan { offered, ..cell("pipe", Workload::OfferedLoad, 4096) };
            let run = made.add(&plan, round, 1e9 / rate as f64);
            let histogram = vec![(5000, 900), (p99, 100)];
            let latencies = Latencies { max: p99, histogram, ..Latencies::default() };
            let reached = LoadPoint { reached: true, from_intended: latencies, ..LoadPoint::default() };
            run.load = vec![LoadPoint { offered_per_s: rate as f64, achieved_per_s: rate as f64, ..reached }];
        }
    }
    let from = made.write(&dir.path().join("x")).to_str().unwrap().to_string();
    let asked = |rate, latency| json(&from, &["--size", "4KiB", "--rate", rate, "--latency", latency]);
    assert_eq!(names(&asked("50k", "100us"), "fit"), ["pipe"], "60 k/s is the nearest load above");
    // That a harder load takes longer says nothing of an easier one.
    assert!(why(&asked("50k", "50us"), "open", "pipe").starts_with("under a harder load its p99 is 80.0 us"));
    let late = why(&asked("60k", "50us"), "out", "pipe");
    assert!(late.starts_with("latency: p99 80.0 us under load"), "{late}");
    assert_eq!(names(&asked("10k", "50us"), "fit"), ["pipe"], "10 k/s was measured itself");
    assert!(why(&asked("70k", "1ms"), "open", "pipe").contains("no offered load of 70.0 k/s"));
    // Without a rate it is that of a round trip, one at a time: its 99th percentile is three times 3 us.
    let alone = |latency| json(&from, &["--size", "4KiB", "--latency", latency]);
    assert_eq!(names(&alone("10us"), "fit"), ["pipe"]);
    assert!(why(&alone("5us"), "out", "pipe").contains("9.00 us there and back"));
}

#[test]
fn threads_are_considered_where_they_will_do_and_share_the_fate_of_their_process() {
    let dir = tempfile::tempdir().unwrap();
    let from = folder(&dir);
    let yes = json(&from, &["--size", "4KiB", "--rate", "50k", "--threads", "yes"]);
    // What a wake costs it was not measured, so it is not named as the one that takes least.
    assert_eq!(names(&yes, "fit").last().unwrap(), "heap-ring");
    let crash = json(&from, &["--size", "4KiB", "--rate", "50k", "--threads", "yes", "--survive-crash"]);
    assert!(why(&crash, "out", "heap-ring").contains("die together"));
    let trust = json(&from, &["--size", "4KiB", "--rate", "50k", "--threads", "yes", "--trust", "different"]);
    assert!(why(&trust, "out", "heap-ring").contains("no secrets"));
}

#[test]
fn threads_stand_in_for_processes_only_where_they_were_admitted_and_nothing_forbids_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = Made::default();
    for (parties, cpu_ns) in [(Parties::Process, 2000.0), (Parties::Thread, 1000.0)] {
        for round in 0..6 {
            for workload in [Workload::Stream, Workload::PingPong] {
                let plan = Plan { parties, ..cell("pipe", workload, 4096) };
                cpu(made.add(&plan, round, 5000.0 + f64::from(round)), cpu_ns);
            }
        }
    }
    let from = made.write(&dir.path().join("x")).to_str().unwrap().to_string();
    for (options, best, also) in [
        (&[][..], "process", 0),
        (&["--threads", "yes"], "thread", 1),
        (&["--threads", "yes", "--survive-crash"], "process", 0),
        (&["--threads", "yes", "--trust", "different"], "process", 0),
    ] {
        let found = json(&from, &[&["--size", "4KiB", "--rate", "50k"][..], options].concat());
        let fit = &found["fit"][0];
        assert_eq!((fit["mechanism"].as_str(), fit["parties"].as_str()), (Some("pipe"), Some(best)), "{options:?}");
        assert_eq!(fit["also"].as_array().unwrap().len(), also, "{options:?}: {fit:#}");
    }
}

#[test]
fn without_a_folder_the_newest_below_results_is_taken_or_a_campaign_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let output = ipcost(&["advise", "--size", "64"]).current_dir(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("run `ipcost compare"), "{}", stderr(&output));
    let folder = folder(&dir);
    let home = dir.path().join("results/planted");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::rename(folder, home.join("2026-01-01-000000")).unwrap();
    let mut command = ipcost(&["advise", "--size", "4KiB", "--rate", "1k"]);
    let output = command.current_dir(dir.path()).env("COLUMNS", "80").output().unwrap();
    let page = text(&output);
    assert!(page.contains("results/planted/2026-01-01-000000"), "{page}{}", stderr(&output));
    assert!(stderr(&output).contains("that was measured on planted"), "{}", stderr(&output));
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
}

#[test]
fn an_answer_fits_its_width_and_its_commands_can_be_pasted() {
    let dir = tempfile::tempdir().unwrap();
    let from = folder(&dir);
    let command = json(&from, &QUESTION)["measure"].as_str().unwrap().to_string();
    let names = command.split_once("--mechanism ").unwrap().1.split(' ').next().unwrap();
    for width in [60, 80, 160] {
        // A path is a word that nothing breaks.
        let mut advise = ipcost(&[&["advise", "--from", "x"][..], &QUESTION].concat());
        let output = advise.current_dir(dir.path()).env("COLUMNS", width.to_string()).output().unwrap();
        let page = text(&output);
        let widest = page.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width && 2 * widest > width, "{widest} of {width}:\n{page}");
        let pasted = page.replace("\\\n", "");
        let line = pasted.lines().rev().find(|line| line.contains("ipcost compare")).unwrap();
        let said: Vec<&str> = line.split_whitespace().collect();
        let named = said.windows(2).filter(|two| two[0] == "--mechanism").map(|two| two[1]).collect::<Vec<_>>();
        assert_eq!(named.join(","), names, "at {width}:\n{page}");
        assert_eq!(said[..6], ["ipcost", "compare", "--workload", "ping-pong,stream", "--size", "4KiB"]);
    }
    // An error wraps its command, too.
    let mut advise = ipcost(&["advise", "--from", "x", "--size", "1MiB", "--rate", "1k"]);
    let output = advise.current_dir(dir.path()).env("COLUMNS", "80").output().unwrap();
    let said = stderr(&output);
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    let words = said.replace("\\\n", "").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("`ipcost compare --workload ping-pong,stream --size 1MiB --mechanism all`"), "{said}");
}

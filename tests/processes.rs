//! Every mechanism through its own program: measured runs, and two programs that are started separately.
//!
//! Nothing here asserts a time. Programs that measure run one after the other, because two of them that spin or are pinned
//! to the same CPUs would only hold each other up.

mod common;

use ipcost::names::Thing;
use ipcost::sys::{mqueue, sysv};
use ipcost::transport::{self, Meeting, Spec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(180);
/// What any single program here may take, on any machine.
const SOON: Duration = Duration::from_secs(30);

/// The program of a mechanism.
fn program(name: &str) -> &'static str {
    match name {
        "pipe" => env!("CARGO_BIN_EXE_ipc-pipe"),
        "file" => env!("CARGO_BIN_EXE_ipc-file"),
        "mmap-file" => env!("CARGO_BIN_EXE_ipc-mmap-file"),
        "unix-stream" => env!("CARGO_BIN_EXE_ipc-unix-stream"),
        "local-socket" => env!("CARGO_BIN_EXE_ipc-local-socket"),
        "shm-ring" => env!("CARGO_BIN_EXE_ipc-shm-ring"),
        "shm-slot" => env!("CARGO_BIN_EXE_ipc-shm-slot"),
        "posix-shm" => env!("CARGO_BIN_EXE_ipc-posix-shm"),
        "heap-ring" => env!("CARGO_BIN_EXE_ipc-heap-ring"),
        "mutex-queue" => env!("CARGO_BIN_EXE_ipc-mutex-queue"),
        "fifo" => env!("CARGO_BIN_EXE_ipc-fifo"),
        "unix-seqpacket" => env!("CARGO_BIN_EXE_ipc-unix-seqpacket"),
        "unix-dgram" => env!("CARGO_BIN_EXE_ipc-unix-dgram"),
        "tcp" => env!("CARGO_BIN_EXE_ipc-tcp"),
        "udp" => env!("CARGO_BIN_EXE_ipc-udp"),
        "heap-handoff" => env!("CARGO_BIN_EXE_ipc-heap-handoff"),
        "mpsc" => env!("CARGO_BIN_EXE_ipc-mpsc"),
        "crossbeam" => env!("CARGO_BIN_EXE_ipc-crossbeam"),
        "flume" => env!("CARGO_BIN_EXE_ipc-flume"),
        "rtrb" => env!("CARGO_BIN_EXE_ipc-rtrb"),
        #[cfg(feature = "iceoryx2")]
        "iceoryx2" => env!("CARGO_BIN_EXE_ipc-iceoryx2"),
        #[cfg(feature = "ipc-channel")]
        "ipc-channel" => env!("CARGO_BIN_EXE_ipc-ipc-channel"),
        #[cfg(feature = "tokio-unix")]
        "tokio-unix" => env!("CARGO_BIN_EXE_ipc-tokio-unix"),
        #[cfg(feature = "zeromq")]
        "zeromq" => env!("CARGO_BIN_EXE_ipc-zeromq"),
        #[cfg(feature = "zeromq")]
        "zeromq-tcp" => env!("CARGO_BIN_EXE_ipc-zeromq-tcp"),
        "process-vm" => env!("CARGO_BIN_EXE_ipc-process-vm"),
        "vmsplice" => env!("CARGO_BIN_EXE_ipc-vmsplice"),
        "vmsplice-splice" => env!("CARGO_BIN_EXE_ipc-vmsplice-splice"),
        "io-uring" => env!("CARGO_BIN_EXE_ipc-io-uring"),
        "io-uring-sqpoll" => env!("CARGO_BIN_EXE_ipc-io-uring-sqpoll"),
        "posix-mq" => env!("CARGO_BIN_EXE_ipc-posix-mq"),
        "sysv-mq" => env!("CARGO_BIN_EXE_ipc-sysv-mq"),
        "sysv-shm" => env!("CARGO_BIN_EXE_ipc-sysv-shm"),
        "eventfd" => env!("CARGO_BIN_EXE_ipc-eventfd"),
        "shm-sem" => env!("CARGO_BIN_EXE_ipc-shm-sem"),
        "shm-mutex" => env!("CARGO_BIN_EXE_ipc-shm-mutex"),
        "null" => env!("CARGO_BIN_EXE_ipc-null"),
        "copy" => env!("CARGO_BIN_EXE_ipc-copy"),
        other => panic!("{other} is listed but its program is not tested: add it here"),
    }
}

fn specs() -> impl Iterator<Item = &'static Spec> {
    transport::ALL.iter().map(|runner| runner.spec())
}

/// Whether the mechanism carries messages of `size` bytes as this machine is set up.
fn carries(spec: &Spec, size: u64) -> bool {
    transport::find(spec.name).unwrap().bound().size as u64 >= size
}

/// One measuring program at a time.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn two_cpus() -> bool {
    ipcost::sys::cpu::allowed().unwrap().len() >= 2
}

/// Whether two parties can spin: they need a CPU each, and one more each where a kernel thread polls for them.
fn can_spin(spec: &Spec) -> bool {
    let needed = if spec.name == "io-uring-sqpoll" { 4 } else { 2 };
    ipcost::sys::cpu::allowed().unwrap().len() >= needed
}

// ---------------------------------------------------------------------------------------------------- measured runs

/// A measured run, which must succeed; its outcome. One whose harness was given more of a CPU than the audit allows, as
/// happens once in thousands of short runs on a virtual machine, says nothing about the mechanism and is made again.
fn measure(name: &str, workload: &str, n: u64, options: &[&str]) -> Value {
    let _turn = turn();
    let count = n.to_string();
    let label = format!("{name} {workload} {options:?}");
    for attempt in 1.. {
        let mut command = assert_cmd::Command::new(program(name));
        command.args([workload, "--format", "json", "--messages", &count]).args(options).timeout(SOON);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        let outcome: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{label}: {e}: {text:?} {complaint}"));
        if attempt < 3 && outcome["invalid"].as_str().is_some_and(|why| why.starts_with("the harness took")) {
            continue;
        }
        assert_eq!(outcome["status"], "ok", "{label}: {outcome} {complaint}");
        assert!(output.status.success(), "{label}: {}", output.status);
        return outcome;
    }
    unreachable!("the last attempt is judged")
}

/// That the outcome accounts for every byte and for the parties.
fn account(outcome: &Value, name: &str, workload: &str, n: u64, size: u64, parties: &str) {
    let label = format!("{name} {workload} {size} {parties}: {outcome}");
    assert_eq!(outcome["schema"], 1, "{label}");
    assert_eq!(outcome["mechanism"], name, "{label}");
    assert_eq!(outcome["workload"], workload, "{label}");
    assert_eq!(outcome["size"], size, "{label}");
    assert_eq!(outcome["parties"], parties, "{label}");
    assert_eq!(outcome["messages"], n, "{label}");
    assert_eq!(outcome["bytes"], n * size, "{label}");
    assert_eq!(outcome["verified"]["messages"], n, "{label}");
    assert_eq!(outcome["verified"]["bytes"], n * size, "{label}");
    let pids: Vec<u64> = outcome["pids"].as_array().unwrap().iter().map(|pid| pid.as_u64().unwrap()).collect();
    match (parties, &pids[..]) {
        ("process", [a, b]) => assert_ne!(a, b, "{label}"),
        ("thread", [a, b]) => assert_eq!(a, b, "{label}"),
        ("solo", [_]) => {}
        _ => panic!("strange parties in {label}"),
    }
    assert!(outcome["elapsed_ns"].as_u64().unwrap() > 0, "{label}");
    assert_eq!(outcome.get("rtt_ns").is_some(), workload == "ping-pong", "{label}");
}

fn measure_and_account(spec: &Spec, workload: &str, n: u64, size: u64, parties: &str, options: &[&str]) {
    let text = size.to_string();
    let options = [&["--size", &text, "--parties", parties], options].concat();
    account(&measure(spec.name, workload, n, &options), spec.name, workload, n, size, parties);
}

const WORKLOADS: [&str; 2] = ["ping-pong", "stream"];

#[test]
fn every_mechanism_accounts_for_every_byte_between_all_its_parties() {
    common::watched(LIMIT, || {
        for spec in specs() {
            for parties in spec.parties {
                for workload in WORKLOADS {
                    measure_and_account(spec, workload, 300, 64, parties.word(), &[]);
                }
            }
        }
    });
}

#[test]
fn processes_carry_messages_from_one_byte_to_sixteen_mebibytes() {
    common::watched(LIMIT, || {
        for spec in specs().filter(|spec| spec.parties.contains(&ipcost::plan::Parties::Process)) {
            let sizes = [(1, 200), (4096, 100), (65537, 20), (1 << 20, 5), (16 << 20, 2)];
            for (size, n) in sizes.into_iter().filter(|(size, _)| carries(spec, *size)) {
                // Large messages take long to fill; a stream of them meets every boundary that a ping-pong does.
                for workload in WORKLOADS.into_iter().filter(|workload| size < 1 << 20 || *workload == "stream") {
                    measure_and_account(spec, workload, n, size, "process", &[]);
                }
            }
        }
    });
}

#[test]
fn every_wait_works_between_the_default_parties() {
    common::watched(LIMIT, || {
        for spec in specs() {
            for wait in spec.waits {
                if wait.word() == "spin" && !spec.parties.contains(&ipcost::plan::Parties::Solo) && !can_spin(spec) {
                    continue;
                }
                let outcome = measure(spec.name, "ping-pong", 200, &["--wait", wait.word()]);
                assert_eq!(outcome["wait"], wait.word(), "{outcome}");
                account(&outcome, spec.name, "ping-pong", 200, 64, spec.parties[0].word());
            }
        }
    });
}

#[test]
fn two_parties_on_one_cpu_block_or_yield() {
    common::watched(LIMIT, || {
        for spec in specs() {
            for wait in spec.waits.iter().map(|wait| wait.word()).filter(|wait| matches!(*wait, "block" | "yield")) {
                let options = ["--placement", "same-cpu", "--wait", wait];
                let outcome = measure(spec.name, "ping-pong", 200, &options);
                let cpus = outcome["placement"]["cpus"].as_array().unwrap();
                assert_eq!(cpus[0], cpus[1], "{outcome}");
                account(&outcome, spec.name, "ping-pong", 200, 64, spec.parties[0].word());
            }
        }
    });
}

#[test]
fn parties_are_placed_on_two_cpus_or_left_to_the_scheduler() {
    common::watched(LIMIT, || {
        for spec in specs() {
            let free = measure(spec.name, "stream", 200, &["--placement", "unpinned"]);
            assert!(free["placement"].get("cpus").is_none(), "{free}");
            if two_cpus() {
                let apart = measure(spec.name, "stream", 200, &["--placement", "cross-cpu"]);
                let cpus = apart["placement"]["cpus"].as_array().unwrap();
                assert_ne!(cpus[0], cpus[1], "{apart}");
            }
        }
    });
}

#[test]
fn two_parties_that_spin_on_one_cpu_are_refused() {
    common::watched(LIMIT, || {
        for spec in specs().filter(|spec| spec.family != transport::Family::Control) {
            refused(spec.name, &["ping-pong", "--wait", "spin", "--placement", "same-cpu"], "spin");
        }
    });
}

// ------------------------------------------------------------------------------------------------------ offered load

/// The mechanisms that connect two parties.
fn connecting() -> impl Iterator<Item = &'static Spec> {
    specs().filter(|spec| spec.family != transport::Family::Control)
}

#[test]
fn a_load_can_be_offered_to_every_mechanism_between_all_its_parties() {
    common::watched(LIMIT, || {
        for spec in connecting() {
            for parties in spec.parties {
                for placement in ["same-cpu", "unpinned"] {
                    let options = ["--rate", "20k", "--placement", placement, "--parties", parties.word()];
                    let outcome = measure(spec.name, "offered-load", 400, &options);
                    account(&outcome, spec.name, "offered-load", 400, 64, parties.word());
                    assert_eq!(outcome["offered"], serde_json::json!({"rate": 20_000, "arrivals": "poisson"}));
                    let [point] = &outcome["load"].as_array().unwrap()[..] else { panic!("{outcome}") };
                    assert_eq!((&point["messages"], &point["verified"]), (&400.into(), &400.into()), "{outcome}");
                    for latency in ["from_intended", "from_actual"] {
                        let pairs = point[latency]["histogram"].as_array().unwrap();
                        assert_eq!(pairs.iter().map(|pair| pair[1].as_u64().unwrap()).sum::<u64>(), 400, "{outcome}");
                    }
                }
            }
        }
    });
}

#[test]
fn a_rate_beyond_every_mechanism_is_said_not_to_be_reached() {
    common::watched(LIMIT, || {
        for spec in connecting() {
            let outcome = measure(spec.name, "offered-load", 2000, &["--rate", "1G", "--arrivals", "constant"]);
            let point = &outcome["load"][0];
            assert_eq!(point["reached"], false, "{outcome}");
            assert!(point["achieved_per_s"].as_f64().unwrap() < 0.98e9, "{outcome}");
            assert!(outcome["flags"].as_array().unwrap().contains(&"rate-not-reached".into()), "{outcome}");
            assert_eq!(outcome["verified"]["messages"], 2000, "{outcome}");
        }
    });
}

#[test]
fn a_sweep_prints_its_points_from_ten_to_110_per_cent() {
    common::watched(LIMIT, || {
        let _turn = turn();
        let mut command = assert_cmd::Command::new(program("pipe"));
        let output = command.args(["offered-load", "--messages", "300"]).timeout(SOON).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("from the intended send time"), "{text}");
        assert!(text.contains(" 10.0 %") && text.contains(" 110 %"), "{text}");
    });
}

#[test]
fn a_stall_of_a_process_is_in_the_latencies_of_an_open_loop() {
    use ipcost::plan::{Arrivals, Offered, Placement, Plan, Span, Workload};
    common::watched(LIMIT, || {
        let _turn = turn();
        let plan = Plan {
            mechanism: "pipe".into(),
            workload: Workload::OfferedLoad,
            offered: Some(Offered { rate: Some(10_000), arrivals: Arrivals::Constant }),
            placement: Placement::Unpinned,
            span: Span::Messages(4000),
            stall_ms: 100,
            ..Plan::default()
        };
        let input = serde_json::to_string(&plan).unwrap() + "\n";
        let mut command = assert_cmd::Command::new(program("pipe"));
        let output = command.arg("cell").write_stdin(input).timeout(SOON).output().unwrap();
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
        let latencies = &outcome["load"][0]["from_intended"];
        // The consumer slept after a message that was due 100 us before the next one.
        assert!(latencies["max"].as_u64().unwrap() >= 99_900_000, "{outcome}");
        let pairs = latencies["histogram"].as_array().unwrap().iter();
        let number = |value: &Value| value.as_u64().unwrap();
        let long = pairs.filter(|pair| number(&pair[0]) >= 50_000_000).map(|pair| number(&pair[1])).sum::<u64>();
        assert!(long >= 499, "{long} messages saw the stall: {outcome}");
    });
}

#[test]
fn a_load_that_cannot_be_offered_is_refused() {
    common::watched(LIMIT, || {
        for spec in specs().filter(|spec| spec.family == transport::Family::Control) {
            refused(spec.name, &["offered-load", "--rate", "1k"], "one party");
        }
        refused("pipe", &["offered-load", "--rate", "0"], "is no rate");
        refused("pipe", &["offered-load", "--rate", "50K"], "50k");
        refused("pipe", &["offered-load", "--rate", "2G"], "1G");
        refused("pipe", &["offered-load", "--arrivals", "never"], "poisson");
        refused("pipe", &["offered-load", "--messages", "2000000"], "1048576");
        refused("pipe", &["stream", "--rate", "1k"], "--rate");
    });
}

// ------------------------------------------------------------------------------------------------------ wrong input

/// That the program ends with code 2 and one line that begins with `error:` and holds `clue`, on standard error only.
fn refused(name: &str, arguments: &[&str], clue: &str) {
    let output = assert_cmd::Command::new(program(name)).args(arguments).timeout(SOON).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let label = format!("{name} {arguments:?}: {text}");
    assert_eq!(output.status.code(), Some(2), "{label}");
    assert!(output.stdout.is_empty(), "{label}");
    one_error(&text, clue);
}

/// That `text` has exactly one error line, and that it holds `clue`.
fn one_error(text: &str, clue: &str) {
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error")).collect();
    assert!(matches!(errors[..], [line] if line.contains(clue)), "no single error about {clue:?} in {text:?}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn wrong_input_is_refused_with_one_clear_line() {
    common::watched(LIMIT, || {
        for spec in specs() {
            let name = spec.name;
            for workload in WORKLOADS {
                refused(name, &[workload, "--size", "0"], "0");
                refused(name, &[workload, "--size", "many"], "many");
                refused(name, &[workload, "--size", &format!("{}", spec.max_size + 1)], "carries");
                refused(name, &[workload, "--wait", "dance"], "dance");
                refused(name, &[workload, "--cpus", "0,4096"], "4096");
                refused(name, &[workload, "--messages", "0"], "0");
                refused(name, &[workload, "--dir", "/nonexistent/folder"], "/nonexistent/folder");
            }
        }
    });
}

#[test]
fn parties_that_a_mechanism_does_not_connect_are_refused() {
    common::watched(LIMIT, || {
        for spec in specs() {
            for parties in ["process", "thread", "solo"] {
                if !spec.parties.iter().any(|p| p.word() == parties) {
                    refused(spec.name, &["ping-pong", "--parties", parties], parties);
                }
            }
        }
    });
}

#[test]
fn nagles_algorithm_is_for_tcp_alone_and_is_in_the_outcome() {
    common::watched(LIMIT, || {
        for spec in specs().filter(|spec| spec.name != "tcp" && spec.family != transport::Family::Control) {
            refused(spec.name, &["ping-pong", "--nagle"], "Nagle");
        }
        let option: &[&str] = &["--nagle"];
        for (options, held_back) in [(option, true), (&[], false)] {
            let outcome = measure("tcp", "ping-pong", 20, options);
            assert_eq!(outcome.get("nagle"), held_back.then_some(&true.into()), "{outcome}");
            assert_eq!(outcome["notes"]["TCP_NODELAY"], (!held_back).to_string(), "{outcome}");
        }
    });
}

#[test]
fn only_the_ring_chooses_its_pages_and_huge_ones_need_a_pool() {
    common::watched(LIMIT, || {
        for spec in connecting().filter(|spec| spec.name != "shm-ring") {
            refused(spec.name, &["stream", "--huge-pages"], "options of shm-ring");
        }
        let populated = measure("shm-ring", "stream", 200, &["--populate"]);
        assert_eq!(populated["pages"], serde_json::json!({"huge": false, "populate": true}), "{populated}");
        let _turn = turn();
        let mut command = assert_cmd::Command::new(program("shm-ring"));
        let output =
            command.args(["stream", "--messages", "200", "--huge-pages", "--format", "json"]).output().unwrap();
        let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
        if outcome["status"] == "ok" {
            assert!(outcome["notes"]["huge page bytes"].is_string(), "{outcome}");
        } else {
            assert_eq!(outcome["status"], "unsupported", "{outcome}");
            assert!(outcome["reason"].as_str().unwrap().contains("vm.nr_hugepages"), "{outcome}");
        }
    });
}

#[test]
fn an_address_of_another_machine_or_none_is_refused() {
    for spec in specs().filter(|spec| spec.meeting == Meeting::Address) {
        for at in ["10.0.0.1:20000", "127.0.0.1:0", "127.0.0.1", "here"] {
            refused(spec.name, &["producer", "--at", at], at);
            refused(spec.name, &["consumer", "--at", at], at);
        }
    }
}

#[test]
fn mechanisms_that_live_within_one_process_refuse_the_roles() {
    common::watched(LIMIT, || {
        for spec in specs().filter(|spec| spec.meeting == Meeting::Never) {
            refused(spec.name, &["producer"], spec.name);
            refused(spec.name, &["consumer"], spec.name);
        }
    });
}

// ------------------------------------------------------------------------------- two programs, started separately

/// A place where two programs of one mechanism meet, and what is looked at to see whether anything is left there.
struct Place {
    at: String,
    spot: Spot,
    dir: Option<tempfile::TempDir>,
}

/// What appears when somebody waits at a place.
enum Spot {
    /// An address and port.
    Address,
    /// A file, socket or shared memory object.
    Path(PathBuf),
    /// A page of that path and the queue of that name.
    Queue(PathBuf, String),
    /// A System V queue.
    SysvQueue(i32),
    /// A System V segment.
    SysvSegment(i32),
}

impl Place {
    fn new(spec: &Spec, topic: &str) -> Self {
        let name = format!("ipcost-test-{}-{}-{topic}", std::process::id(), spec.name);
        let in_shm = Path::new("/dev/shm").join(&name);
        match spec.meeting {
            Meeting::ShmName => Self { at: name, spot: Spot::Path(in_shm), dir: None },
            Meeting::QueueName => Self { spot: Spot::Queue(in_shm, format!("/{name}")), at: name, dir: None },
            Meeting::Key => {
                static NEXT: AtomicI32 = AtomicI32::new(0);
                // A process has fewer places than that, and two runs of the tests at once seldom the same last bits.
                let key = sysv::KEYS.start
                    + (std::process::id() as i32 & 0xfff) * 0x100
                    + NEXT.fetch_add(1, Ordering::Relaxed) % 0x100;
                let spot = if spec.name == "sysv-mq" { Spot::SysvQueue(key) } else { Spot::SysvSegment(key) };
                Self { at: format!("{key:#x}"), spot, dir: None }
            }
            Meeting::Address => {
                // A port that was free a moment ago.
                let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
                Self { at: port.to_string(), spot: Spot::Address, dir: None }
            }
            _ => {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("meet");
                Self { at: path.to_str().unwrap().into(), spot: Spot::Path(path), dir: Some(dir) }
            }
        }
    }

    /// What there is under its name.
    fn things(&self) -> Vec<Thing> {
        match &self.spot {
            Spot::Path(path) => Vec::from_iter(path.exists().then(|| Thing::File(path.clone()))),
            Spot::Queue(path, name) => {
                let page = path.exists().then(|| Thing::File(path.clone()));
                page.into_iter().chain(mqueue::identity(name).ok().map(|_| Thing::Queue(name.clone()))).collect()
            }
            // A connection without a word is nobody's producer.
            Spot::Address => vec![],
            Spot::SysvQueue(key) => sysv::find_queue(*key).ok().map(Thing::SysvQueue).into_iter().collect(),
            Spot::SysvSegment(key) => sysv::find_segment(*key).ok().map(Thing::SysvSegment).into_iter().collect(),
        }
    }

    /// Whether somebody waits there, or left the name.
    fn exists(&self) -> bool {
        match self.spot {
            Spot::Address => TcpStream::connect(&self.at).is_ok(),
            _ => !self.things().is_empty(),
        }
    }

    /// That nothing is left.
    fn empty(&self, label: &str) {
        assert!(!self.exists(), "{label}: {:?} is left behind", self.things());
        if let Some(dir) = &self.dir {
            let left: Vec<_> =
                std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
            assert!(left.is_empty(), "{label}: {left:?} is left behind");
        }
    }

    fn appears(&self) {
        until("its name appears", || self.exists());
    }

    /// Waits until both programs are there: the name is gone, where it can go before what it names.
    fn is_met(&self) {
        until("both are there", || match self.things()[..] {
            [] => !self.exists(),
            [Thing::SysvQueue(id)] => sysv::users(id).is_ok_and(|[_, receiver]| receiver != 0),
            _ => false,
        });
    }

    /// Puts there what another program could have put there.
    fn occupy(&self, theirs: &[u8]) {
        let file = |path: &Path| std::fs::write(path, theirs).unwrap();
        match &self.spot {
            Spot::Path(path) => file(path),
            Spot::Address => {}
            Spot::Queue(path, _) if theirs.len() < 100 => file(path),
            Spot::Queue(_, name) => drop(mqueue::Queue::create(name, 1, 8).unwrap()),
            Spot::SysvQueue(key) => {
                let letter = sysv::Letter::new(7, theirs.len().min(100));
                sysv::send(sysv::create_queue(*key).unwrap(), &letter, sysv::Patience::None).unwrap();
            }
            Spot::SysvSegment(key) => drop(sysv::create_segment(*key, theirs.len()).unwrap()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.things().iter().for_each(|thing| drop(thing.remove()));
    }
}

/// The arguments of a role that is over soon: a producer goes on for two seconds when nobody says otherwise.
fn few<'a>(role: &'a str, place: &'a Place) -> Vec<&'a str> {
    let mut arguments = vec![role, "--at", &place.at];
    arguments.extend(if role == "producer" { &["--messages", "1000"][..] } else { &[] });
    arguments
}

fn until(what: &str, mut true_at_last: impl FnMut() -> bool) {
    let start = Instant::now();
    while !true_at_last() {
        assert!(start.elapsed() < SOON, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The mechanisms whose programs meet at a name, and which of the two makes the name.
fn meeting() -> impl Iterator<Item = (&'static Spec, Maker)> {
    specs().filter(|spec| !matches!(spec.meeting, Meeting::Stdio | Meeting::Never)).map(|spec| {
        let listens = spec.meeting == Meeting::Address
            || spec.name.starts_with("unix-")
            || matches!(spec.name, "local-socket" | "fifo" | "tokio-unix" | "io-uring" | "io-uring-sqpoll");
        (spec, if listens { Maker::Consumer } else { Maker::Producer })
    })
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Maker {
    Producer,
    Consumer,
}

impl Maker {
    fn word(self) -> &'static str {
        if self == Maker::Producer { "producer" } else { "consumer" }
    }
}

/// A started program that does not outlive the test.
struct Running {
    child: Option<Child>,
    label: String,
}

impl Running {
    fn start(name: &str, arguments: &[&str]) -> Self {
        Self::with(name, arguments, Stdio::null(), Stdio::piped())
    }

    fn with(name: &str, arguments: &[&str], stdin: Stdio, stdout: Stdio) -> Self {
        let mut command = Command::new(program(name));
        command.args(arguments).stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        Self { child: Some(command.spawn().unwrap()), label: format!("{name} {arguments:?}") }
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    fn signal(&mut self, signal: Signal) {
        kill(Pid::from_raw(self.child().id() as i32), signal).unwrap();
    }

    /// Waits for the line on standard error that says that it waits, so that signals are handled by now.
    fn waits(&mut self) {
        let mut line = String::new();
        let stderr = self.child().stderr.take().unwrap();
        let mut reader = BufReader::new(stderr);
        reader.read_line(&mut line).unwrap();
        assert!(line.contains("waiting for a"), "{}: {line:?}", self.label);
        self.child().stderr = Some(reader.into_inner());
    }

    /// Its end, which must come soon; exit code, standard output, standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        let child = self.child.take().unwrap();
        let pid = child.id();
        let (done, ended) = mpsc::channel::<Output>();
        std::thread::spawn(move || done.send(child.wait_with_output().unwrap()));
        let output = ended.recv_timeout(SOON).unwrap_or_else(|_| {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
            panic!("{} did not end within {} s", self.label, SOON.as_secs())
        });
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Kills it as nothing can prevent.
    fn kill_hard(mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts whichever program makes the name, waits for the name, and starts the other; producer and consumer.
fn met(spec: &Spec, maker: Maker, place: &Place, speech: &[&str]) -> (Running, Running) {
    let produce = [&["producer", "--at", &place.at], speech].concat();
    let consume = ["consumer", "--at", &place.at];
    match maker {
        Maker::Producer => {
            let producer = Running::start(spec.name, &produce);
            place.appears();
            (producer, Running::start(spec.name, &consume))
        }
        Maker::Consumer => {
            let mut consumer = Running::start(spec.name, &consume);
            consumer.waits();
            (Running::start(spec.name, &produce), consumer)
        }
    }
}

fn all_right(label: &str, text: &str, n: u64, size: u64) {
    assert!(text.contains(&format!("{n} messages of {size} bytes")), "{label}: {text}");
    assert!(text.contains("every byte was right") && !text.contains("NOT"), "{label}: {text}");
}

#[test]
fn two_terminals_carry_every_byte_and_leave_nothing() {
    common::watched(LIMIT, || {
        for (spec, maker) in meeting() {
            let bound = transport::find(spec.name).unwrap().bound().size as u64;
            for (size, n) in [(64, 2000), (65537.min(bound), 20)] {
                let place = Place::new(spec, "carry");
                let label = format!("{} {size}", spec.name);
                let (size_text, count) = (size.to_string(), n.to_string());
                let (producer, consumer) = met(spec, maker, &place, &["--messages", &count, "--size", &size_text]);
                let (code, heard, trouble) = consumer.end();
                assert_eq!(code, Some(0), "{label}: {heard} {trouble}");
                all_right(&label, &heard, n, size);
                let (code, out, said) = producer.end();
                assert_eq!(code, Some(0), "{label}: {said}");
                assert!(out.is_empty() && said.contains(&format!("sent {n} messages")), "{label}: {out} {said}");
                place.empty(&label);
            }
        }
    });
}

#[test]
fn either_program_may_come_first_where_the_producer_makes_the_name() {
    common::watched(LIMIT, || {
        for (spec, _) in meeting().filter(|(_, maker)| *maker == Maker::Producer) {
            let place = Place::new(spec, "first");
            let mut consumer = Running::start(spec.name, &["consumer", "--at", &place.at, "--format", "json"]);
            consumer.waits();
            let producer = Running::start(spec.name, &["producer", "--at", &place.at, "--messages", "300"]);
            let (code, heard, trouble) = consumer.end();
            assert_eq!(code, Some(0), "{}: {trouble}", spec.name);
            let heard: Value = serde_json::from_str(&heard).unwrap();
            assert_eq!((&heard["messages"], &heard["bytes"]), (&300.into(), &(300 * 64).into()), "{heard}");
            assert_eq!((&heard["right"], &heard["whole"]), (&true.into(), &true.into()), "{heard}");
            assert_eq!(producer.end().0, Some(0), "{}", spec.name);
            place.empty(spec.name);
        }
    });
}

/// The mechanisms whose programs are connected by a shell.
fn standard_streams() -> impl Iterator<Item = &'static str> {
    specs().filter(|spec| spec.meeting == Meeting::Stdio).map(|spec| spec.name)
}

/// A producer and a consumer, connected as a shell does it.
fn piped(name: &str, speech: &[&str]) -> (Running, Running) {
    let mut producer = Running::start(name, &[&["producer"], speech].concat());
    let between = producer.child().stdout.take().unwrap();
    (producer, Running::with(name, &["consumer"], between.into(), Stdio::piped()))
}

#[test]
fn a_shell_pipe_carries_every_byte() {
    common::watched(LIMIT, || {
        for name in standard_streams() {
            for (size, n) in [(64, 2000), (65537, 20), (1 << 20, 5)] {
                let (producer, consumer) = piped(name, &["--messages", &n.to_string(), "--size", &size.to_string()]);
                let (code, heard, trouble) = consumer.end();
                assert_eq!(code, Some(0), "{name} {size}: {heard} {trouble}");
                all_right(name, &heard, n, size);
                let (code, _, said) = producer.end();
                assert!(code == Some(0) && said.contains(&format!("sent {n} messages")), "{name} {size}: {said}");
            }
        }
    });
}

#[test]
fn a_pipe_that_is_none_is_refused_and_an_empty_one_is_an_error() {
    common::watched(LIMIT, || {
        for name in standard_streams() {
            let file = tempfile::tempfile().unwrap();
            for (role, clue) in [("producer", "standard output"), ("consumer", "standard input")] {
                let stdio = || Stdio::from(file.try_clone().unwrap());
                let (code, _, text) = Running::with(name, &[role], stdio(), stdio()).end();
                assert_eq!(code, Some(2), "{name}: {text}");
                one_error(&text, clue);
            }
            let (reader, writer) = std::io::pipe().unwrap();
            drop(writer);
            let (code, heard, text) = Running::with(name, &["consumer"], reader.into(), Stdio::piped()).end();
            assert!(code == Some(1) && heard.is_empty(), "{name}: {heard} {text}");
            one_error(&text, "producer");
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let (code, _, text) = Running::with(name, &["producer"], Stdio::null(), writer.into()).end();
            assert_eq!(code, Some(1), "{name}: {text}");
            one_error(&text, "standard output");
        }
    });
}

#[test]
fn a_peer_that_never_comes_is_an_error_and_leaves_nothing() {
    common::watched(LIMIT, || {
        for (spec, _) in meeting() {
            for role in ["producer", "consumer"] {
                let place = Place::new(spec, role);
                let label = format!("{} {role}", spec.name);
                let (code, out, text) =
                    Running::start(spec.name, &[role, "--at", &place.at, "--patience", "200ms"]).end();
                assert_eq!(code, Some(1), "{label}: {text}");
                assert!(out.is_empty(), "{label}: {out}");
                one_error(&text, &place.at);
                let others = text.lines().filter(|line| !line.starts_with("error"));
                assert!(others.clone().all(|line| line.starts_with("waiting for a ")), "{label}: {text}");
                assert!(others.count() <= 1, "{label}: {text}");
                place.empty(&label);
            }
        }
    });
}

#[test]
fn a_consumer_ends_when_its_producer_is_killed() {
    common::watched(LIMIT, || {
        for (spec, maker) in meeting() {
            let place = Place::new(spec, "killed");
            let (producer, consumer) = met(spec, maker, &place, &["--duration", "60s"]);
            place.is_met();
            std::thread::sleep(Duration::from_millis(100));
            producer.kill_hard();
            ends_after_a_death(spec.name, consumer);
            place.empty(spec.name);
        }
        for name in standard_streams() {
            let (producer, consumer) = piped(name, &["--duration", "60s"]);
            std::thread::sleep(Duration::from_millis(300));
            producer.kill_hard();
            ends_after_a_death(name, consumer);
        }
    });
}

/// That a consumer reports what it got: right and not whole, or the last message torn, or a lock that died with its owner;
/// never a wrong message, and never as if that had been all.
fn ends_after_a_death(name: &str, consumer: Running) {
    let (code, heard, trouble) = consumer.end();
    let torn = heard.contains("the sender left after") || heard.contains("the peer died while it held the lock");
    assert_eq!(code, Some(1), "{name}: {heard} {trouble}");
    let cut = heard.contains("every byte was right") && heard.contains("NOT whole: the producer left after");
    assert!(torn || cut, "{name}: {heard} {trouble}");
    assert!(!heard.contains("received        0 messages"), "{name}: {heard}");
}

#[test]
fn a_producer_ends_when_its_consumer_is_killed() {
    common::watched(LIMIT, || {
        for (spec, maker) in meeting() {
            let place = Place::new(spec, "deaf");
            let (producer, consumer) = met(spec, maker, &place, &["--duration", "60s"]);
            place.is_met();
            std::thread::sleep(Duration::from_millis(100));
            consumer.kill_hard();
            let (code, _, text) = producer.end();
            assert_eq!(code, Some(1), "{}: {text}", spec.name);
            one_error(&text, "consumer left");
            place.empty(spec.name);
        }
        for name in standard_streams() {
            let (producer, consumer) = piped(name, &["--duration", "60s"]);
            std::thread::sleep(Duration::from_millis(300));
            consumer.kill_hard();
            let (code, _, text) = producer.end();
            assert_eq!(code, Some(1), "{name}: {text}");
            one_error(&text, "consumer left");
        }
    });
}

#[test]
fn an_interrupted_program_that_waits_removes_its_name() {
    common::watched(LIMIT, || {
        for (spec, maker) in meeting() {
            for role in ["producer", "consumer"] {
                if maker == Maker::Consumer && role == "producer" {
                    // A producer without a socket to connect to does not wait.
                    continue;
                }
                let place = Place::new(spec, &format!("interrupt-{role}"));
                let mut waiting = Running::start(spec.name, &[role, "--at", &place.at]);
                waiting.waits();
                assert_eq!(place.exists(), maker.word() == role, "{} {role}", spec.name);
                waiting.signal(Signal::SIGINT);
                let (code, out, text) = waiting.end();
                assert_eq!(code, Some(130), "{} {role}: {text}", spec.name);
                assert!(out.is_empty(), "{} {role}: {out}", spec.name);
                place.empty(&format!("{} {role}", spec.name));
            }
        }
    });
}

#[test]
fn an_interrupted_consumer_reports_what_it_has() {
    common::watched(LIMIT, || {
        for (spec, maker) in meeting() {
            let place = Place::new(spec, "report");
            let (producer, mut consumer) = met(spec, maker, &place, &["--duration", "60s"]);
            place.is_met();
            std::thread::sleep(Duration::from_millis(100));
            consumer.signal(Signal::SIGINT);
            let (code, heard, trouble) = consumer.end();
            assert_eq!(code, Some(130), "{}: {heard} {trouble}", spec.name);
            assert!(heard.contains("every byte was right"), "{}: {heard} {trouble}", spec.name);
            assert_eq!(producer.end().0, Some(1), "{}", spec.name);
            place.empty(spec.name);
        }
    });
}

#[test]
fn a_name_that_a_killed_program_left_is_taken_over() {
    common::watched(LIMIT, || {
        for (spec, maker) in meeting().filter(|(spec, _)| spec.meeting != Meeting::Address) {
            let place = Place::new(spec, "stale");
            let mut dead = Running::start(spec.name, &[maker.word(), "--at", &place.at]);
            dead.waits();
            dead.kill_hard();
            assert!(place.exists(), "{}: nothing was left to test with", spec.name);
            if maker == Maker::Producer {
                // A dead producer's ring is not taken for a living one.
                let (code, heard, text) =
                    Running::start(spec.name, &["consumer", "--at", &place.at, "--patience", "200ms"]).end();
                assert_eq!(code, Some(1), "{}: {heard} {text}", spec.name);
                one_error(&text, "producer");
            } else {
                let (code, _, text) =
                    Running::start(spec.name, &["producer", "--at", &place.at, "--patience", "200ms"]).end();
                assert_eq!(code, Some(1), "{}: {text}", spec.name);
                one_error(&text, "consumer");
            }
            let mut next = Running::start(spec.name, &few(maker.word(), &place));
            let other = if maker == Maker::Producer { "consumer" } else { "producer" };
            // Both say that they wait, but a producer first says what it removes.
            until("it has taken over", || {
                let mut line = String::new();
                let mut byte = [0];
                let stderr = next.child().stderr.as_mut().unwrap();
                while stderr.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
                    line.push(byte[0].into());
                }
                assert!(!line.is_empty() && !line.contains("error"), "{}: {line:?}", spec.name);
                line.contains("waiting for a")
            });
            let peer = Running::start(spec.name, &few(other, &place));
            for (program, role) in [(next, maker.word()), (peer, other)] {
                let (code, heard, text) = program.end();
                assert_eq!(code, Some(0), "{} {role}: {heard} {text}", spec.name);
            }
            place.empty(spec.name);
        }
    });
}

#[test]
fn a_second_program_at_a_taken_name_is_refused_and_the_first_goes_on() {
    common::watched(LIMIT, || {
        for (spec, maker) in meeting() {
            let place = Place::new(spec, "taken");
            let mut first = Running::start(spec.name, &few(maker.word(), &place));
            first.waits();
            let (code, _, text) = Running::start(spec.name, &[maker.word(), "--at", &place.at]).end();
            assert_eq!(code, Some(1), "{}: {text}", spec.name);
            one_error(&text, &place.at);
            let other = if maker == Maker::Producer { "consumer" } else { "producer" };
            let second = Running::start(spec.name, &few(other, &place));
            for program in [first, second] {
                let (code, heard, text) = program.end();
                assert_eq!(code, Some(0), "{}: {heard} {text}", spec.name);
            }
            place.empty(spec.name);
        }
    });
}

#[test]
fn a_namesake_of_somebody_else_survives() {
    common::watched(LIMIT, || {
        for (spec, maker) in meeting() {
            // Nothing of a stranger's could be harmed at an address.
            if spec.meeting == Meeting::Address {
                continue;
            }
            for theirs in [b"short".to_vec(), vec![7; 10_000]] {
                let place = Place::new(spec, "foreign");
                place.occupy(&theirs);
                let before = place.things();
                let arguments = [maker.word(), "--at", &place.at, "--patience", "200ms"];
                let (code, _, text) = Running::start(spec.name, &arguments).end();
                assert_eq!(code, Some(1), "{}: {text}", spec.name);
                one_error(&text, &place.at);
                assert_eq!(place.things(), before, "{}", spec.name);
                if let Spot::Path(path) = &place.spot {
                    assert_eq!(std::fs::read(path).unwrap(), theirs, "{}", spec.name);
                }
            }
        }
    });
}

#[test]
fn a_killed_run_leaves_no_queue_because_its_launcher_removes_it() {
    common::watched(LIMIT, || {
        let _turn = turn();
        let queues_of = |pid: u32| sysv::queues().into_iter().filter(move |queue| queue.users.contains(&pid)).count();
        let mut run = Running::start("sysv-mq", &["ping-pong", "--duration", "60s", "--placement", "unpinned"]);
        let launcher = run.child().id();
        let parent_of = |pid: u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            text.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse::<u32>().ok())
        };
        // The cell is a child of the launcher, its peer is not, and it is a user of both queues of its link.
        let mut cell = 0;
        until("the cell carries messages", || {
            let users = sysv::queues().into_iter().flat_map(|queue| queue.users);
            cell = users.into_iter().find(|pid| parent_of(*pid) == Some(launcher)).unwrap_or(0);
            cell != 0 && queues_of(cell) == 2
        });
        kill(Pid::from_raw(cell as i32), Signal::SIGKILL).unwrap();
        let (code, _, text) = run.end();
        assert_eq!(code, Some(1), "{text}");
        assert_eq!(queues_of(cell), 0, "{text}");
    });
}

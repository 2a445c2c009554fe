//! What killed runs leave, and that `ipcost clean` removes exactly that.
//!
//! Each test has System V objects, message queues, /dev/shm and folders of its own where it may: a cleaner must not be let
//! loose on what other tests on the machine have.

mod common;
#[path = "common/sandbox.rs"]
mod sandbox;

use ipcost::names;
use ipcost::sys::{mqueue, sysv};
use nix::sys::resource::Resource;
use nix::sys::signal::Signal;
use sandbox::{Deadly, STRANGER, as_stranger, is_root, isolate, killing, limited};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(300);
const SOON: Duration = Duration::from_secs(60);

/// Folders of a user that nobody else has.
struct Home {
    tmp: PathBuf,
    _dir: tempfile::TempDir,
    /// Where the folders are. Dropped after them.
    _apart: Option<sandbox::Mounted>,
}

impl Home {
    fn new() -> Self {
        let mut apart = None;
        // Others' leftovers in the usual place would be counted, too.
        if !Path::new(env!("CARGO_BIN_EXE_ipcost")).starts_with("/tmp") {
            apart = Some(sandbox::tmpfs(Path::new("/tmp"), "1g"));
            fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777)).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let tmp = dir.path().join("tmp");
        fs::DirBuilder::new().create(&tmp).unwrap();
        fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
        fs::DirBuilder::new().mode(0o700).create(dir.path().join("run")).unwrap();
        Self { tmp, _dir: dir, _apart: apart }
    }

    fn run(&self) -> PathBuf {
        self._dir.path().join("run")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("TMPDIR", &self.tmp).env("XDG_RUNTIME_DIR", self.run());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn clean(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(env!("CARGO_BIN_EXE_ipcost")).arg("clean").args(arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Everything that outlives a process: paths, queues, keys.
    fn everything(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for folder in [self.tmp.clone(), "/dev/shm".into(), self.run().join("ipcost"), self.run().join("ipcost/runs")] {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                all.insert(entry.path().display().to_string());
            }
        }
        all.remove(&self.run().join("ipcost/runs").display().to_string());
        all.extend(mqueue::list().unwrap_or_default());
        all.extend(sysv::objects().iter().map(sysv::Found::words));
        all
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SOON, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Whether any process runs that has this in its environment: those that a killed launcher had launched end after it.
fn any_left(home: &Home) -> bool {
    let mine = format!("TMPDIR={}\0", home.tmp.display());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|p| fs::read(p.path().join("environ")).ok())
        .any(|environ| environ.windows(mine.len()).any(|window| window == mine.as_bytes()))
}

const MEASURED: [(&str, &[&str]); 7] = [
    (env!("CARGO_BIN_EXE_ipc-fifo"), &["ping-pong"]),
    (env!("CARGO_BIN_EXE_ipc-file"), &["ping-pong"]),
    (env!("CARGO_BIN_EXE_ipc-posix-shm"), &["stream"]),
    (env!("CARGO_BIN_EXE_ipc-posix-mq"), &["ping-pong"]),
    (env!("CARGO_BIN_EXE_ipc-sysv-shm"), &["ping-pong"]),
    (env!("CARGO_BIN_EXE_ipc-sysv-mq"), &["ping-pong"]),
    (env!("CARGO_BIN_EXE_ipc-sysv-mq"), &["pairs", "--peers", "3"]),
];

/// Programs that wait for their peer under a name.
const ROLES: [(&str, &str, Option<&str>); 8] = [
    (env!("CARGO_BIN_EXE_ipc-shm-ring"), "producer", Some("ring")),
    (env!("CARGO_BIN_EXE_ipc-posix-shm"), "producer", Some("segment")),
    (env!("CARGO_BIN_EXE_ipc-posix-mq"), "producer", Some("queue")),
    (env!("CARGO_BIN_EXE_ipc-mmap-file"), "producer", None),
    (env!("CARGO_BIN_EXE_ipc-file"), "producer", None),
    (env!("CARGO_BIN_EXE_ipc-fifo"), "consumer", None),
    (env!("CARGO_BIN_EXE_ipc-unix-stream"), "consumer", None),
    (env!("CARGO_BIN_EXE_ipc-sysv-shm"), "producer", None),
];

fn role(home: &Home, (program, word, at): (&str, &str, Option<&str>)) -> Child {
    let mut command = home.command(program);
    command.arg(word).args(at.into_iter().flat_map(|at| ["--at", at]));
    command.spawn().unwrap()
}

#[test]
fn what_killed_runs_left_goes_and_nothing_else() {
    common::watched(LIMIT, || {
        if !isolate("1g") {
            return;
        }
        let home = Home::new();
        // What is not ours, although it looks like it.
        let similar = ["ipcost-1-2-3-00000004-00000005", "ipcost-x", "ipcost-1000-shm-ring", "shmem_ipcost"];
        for name in similar {
            fs::write(home.tmp.join(name), "theirs").unwrap();
            fs::write(Path::new("/dev/shm").join(name), "theirs").unwrap();
        }
        drop(UnixListener::bind(home.tmp.join("ipcost-socket")).unwrap());
        let foreign = mqueue::Queue::create("/ipcost-queue", 1, 8).unwrap();
        // A living run of each kind, which must not notice. How many messages the first one carries was estimated beside the
        // other tests: it takes less than it says, and is ended here.
        let mut living = home.command(env!("CARGO_BIN_EXE_ipc-sysv-mq"));
        let mut living = living.args(["pairs", "--peers", "2", "--duration", "5m", "--wait", "block"]).spawn().unwrap();
        let waiting = role(&home, (env!("CARGO_BIN_EXE_ipc-posix-mq"), "producer", Some("living")));
        until("the living are there", || sysv::queues().len() == 2 && mqueue::identity("/living").is_ok());
        let before = home.everything();
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut left = 0;
        for round in 0..4 {
            for (program, arguments) in MEASURED {
                let mut command = home.command(program);
                let run = command.args(arguments).args(["--duration", "60s"]).spawn().unwrap();
                std::thread::sleep(Duration::from_millis(random.u64(0..120)));
                kill(run);
            }
            for one in ROLES {
                let run = role(&home, one);
                // In the first round all have their names when they are killed.
                let wait = if round == 0 { 400 } else { random.u64(0..60) };
                std::thread::sleep(Duration::from_millis(wait));
                kill(run);
            }
            // Two living ones are ours, too.
            let dead = || home.everything().len() > before.len();
            until("the killed have ended", || sysv::objects().iter().filter(|found| found.is_used()).count() <= 2);
            if round == 0 {
                assert!(dead(), "nothing was left to clean");
                let (code, text) = home.clean(&["--dry-run"]);
                assert_eq!(code, Some(0), "{text}");
                let there = home.everything();
                let named = there.difference(&before).filter(|name| text.contains(name.as_str())).count();
                assert!(named >= 8, "{named} of {there:?} in {text}");
                assert_eq!(there, home.everything(), "a dry run removed something");
            }
            let (code, text) = home.clean(&[]);
            assert_eq!(code, Some(0), "{text}");
            assert_eq!(home.everything(), before, "round {round}, seed {seed}: {text}");
            left += text.lines().filter(|line| line.starts_with("removed /") || line.contains("message queue")).count();
        }
        assert!(left >= 8, "only {left} things were ever left");
        let consumer = home.command(env!("CARGO_BIN_EXE_ipc-posix-mq")).args(["consumer", "--at", "living"]).output();
        let text = String::from_utf8(consumer.unwrap().stdout).unwrap();
        assert!(text.contains("every byte was right"), "{text}");
        assert!(waiting.wait_with_output().unwrap().status.success());
        assert!(living.try_wait().unwrap().is_none(), "it has ended: {:?}", living.wait_with_output());
        common::program::signal(&living, Signal::SIGINT);
        let ended = living.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(130), "{ended:?}");
        drop(foreign);
        let _ = mqueue::unlink("/ipcost-queue");
    });
}

#[test]
fn a_run_of_another_user_or_of_somewhere_else_is_left_alone() {
    common::watched(LIMIT, || {
        if !is_root() {
            println!("skipped: only root can make what belongs to another user");
            return;
        }
        if !isolate("1g") {
            return;
        }
        let home = Home::new();
        // Names of a process that has ended: the one that makes them here forks none, so they are borrowed from a run.
        let run = role(&home, ROLES[0]);
        until("its name appears", || Path::new("/dev/shm/ring").exists());
        kill(run);
        let dead = names::Owner::of_name(&registers(&home)[0]).unwrap();
        assert_eq!(dead.state(), names::State::Dead);
        let invented = |space: u64| names::Owner { space, ..dead }.name(7);
        let (theirs, elsewhere, mine) = (invented(dead.space), invented(dead.space + 1), names::invent());
        for name in [&theirs, &elsewhere, &mine] {
            fs::write(home.tmp.join(name), "x").unwrap();
        }
        std::os::unix::fs::chown(home.tmp.join(&theirs), Some(STRANGER), None).unwrap();
        let (code, text) = home.clean(&[]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("removed /dev/shm/ring"), "{text}");
        for (name, why) in [(&theirs, "another user's"), (&elsewhere, "cannot be seen"), (&mine, "living run")] {
            assert!(home.tmp.join(name).exists(), "{name}: {text}");
            let said =
                text.lines().any(|line| line.starts_with("left alone: 1") && line.contains(name) && line.contains(why));
            assert!(said, "{why}: {text}");
        }
        // The other way round: without privileges, what root has is another user's.
        let run = role(&home, ROLES[0]);
        until("its name appears", || Path::new("/dev/shm/ring").exists());
        kill(run);
        let mut command = home.command(env!("CARGO_BIN_EXE_ipcost"));
        command.arg("clean").env_remove("XDG_RUNTIME_DIR");
        let output = as_stranger(&mut command).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && Path::new("/dev/shm/ring").exists(), "{output:?}");
        assert!(text.contains(&format!("removed {}", home.tmp.join(&theirs).display())), "{text}");
        assert!(home.clean(&[]).1.contains("removed /dev/shm/ring"));
    });
}

/// Runs `clean` by way of other programs, which put it elsewhere; all that it said.
fn clean_by_way_of(home: &Home, programs: &[&str]) -> String {
    let mut command = home.command(programs[0]);
    let output = command.args(&programs[1..]).args([env!("CARGO_BIN_EXE_ipcost"), "clean"]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{programs:?}: {output:?}");
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn a_living_run_is_spared_by_who_has_another_clock_or_another_proc() {
    common::watched(LIMIT, || {
        if !isolate("1g") {
            return;
        }
        let can = |arguments: &[&str]| {
            Command::new("unshare").args(arguments).arg("true").status().is_ok_and(|s| s.success())
        };
        if !can(&["--time", "--boottime", "9999"]) || !can(&["--pid", "--fork", "--mount-proc"]) {
            println!("skipped: no name spaces of clocks or processes here");
            return;
        }
        let home = Home::new();
        // By another clock every process started at another time.
        let mine = home.tmp.join(names::invent());
        fs::write(&mine, "x").unwrap();
        let text = clean_by_way_of(&home, &["unshare", "--time", "--boottime", "9999"]);
        assert!(mine.exists() && text.contains("left alone: 1 of an owner that cannot be seen"), "{text}");
        // A run whose number is 1 among its like, but to which /proc shows the machine's processes.
        let mut run = home.command("unshare");
        let (program, word, at) = ROLES[0];
        run.args(["--pid", "--fork", "--kill-child", program, word, "--at", at.unwrap()]);
        let run = run.spawn().unwrap();
        until("its name appears", || Path::new("/dev/shm/ring").exists());
        let theirs = home.tmp.join(&registers(&home)[0]);
        fs::write(&theirs, "x").unwrap();
        let inside = format!("--target={}", child_of(run.id()));
        for enter in [&["nsenter", &inside, "--pid", "unshare", "--mount-proc"][..], &["nsenter", &inside, "--pid"]] {
            let text = clean_by_way_of(&home, enter);
            assert!(theirs.exists() && text.contains("in use by a living run"), "{enter:?}: {text}");
        }
        kill(run);
        fs::remove_file(mine).unwrap();
    });
}

/// The names of the registers.
fn registers(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.run().join("ipcost/runs")).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn a_producer_that_is_killed_while_it_waits_for_room_for_a_queue_leaves_nothing_for_good() {
    common::watched(LIMIT, || {
        if !isolate("1g") {
            return;
        }
        let home = Home::new();
        // Of the bytes that the user may have in queues, this one has all that the program is allowed.
        let holder = mqueue::Queue::create("/holder", 2, 512).unwrap();
        let starved = |at: &str| {
            let mut command = home.command(env!("CARGO_BIN_EXE_ipc-posix-mq"));
            command.args(["producer", "--at", at, "--patience", "60s"]);
            limited(&mut command, Resource::RLIMIT_MSGQUEUE, 1000).spawn().unwrap()
        };
        for way in ["clean", "next", "another mechanism"] {
            let waiting = starved("place");
            until("it has its page", || Path::new("/dev/shm/place").exists());
            std::thread::sleep(Duration::from_millis(50));
            kill(waiting);
            assert!(Path::new("/dev/shm/place").exists());
            let program = match way {
                "clean" => {
                    assert!(home.clean(&[]).1.contains("removed /dev/shm/place"));
                    assert!(!Path::new("/dev/shm/place").exists());
                    continue;
                }
                "next" => env!("CARGO_BIN_EXE_ipc-posix-mq"),
                _ => env!("CARGO_BIN_EXE_ipc-shm-ring"),
            };
            let mut next = home.command(program);
            let output = next.args(["producer", "--at", "place", "--patience", "100ms"]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(text.contains("removing /dev/shm/place, left behind by process"), "{way}: {text}");
            assert!(text.contains("no consumer came"), "{way}: {text}");
            assert!(!Path::new("/dev/shm/place").exists(), "{way}: {text}");
        }
        drop(holder);
        let _ = mqueue::unlink("/holder");
        // A whole meeting place, taken over by another mechanism: the queue goes with its page.
        let waiting = role(&home, (env!("CARGO_BIN_EXE_ipc-posix-mq"), "producer", Some("place")));
        until("it has its queue", || mqueue::identity("/place").is_ok());
        std::thread::sleep(Duration::from_millis(100));
        kill(waiting);
        let mut next = home.command(env!("CARGO_BIN_EXE_ipc-shm-ring"));
        next.args(["producer", "--at", "place", "--patience", "100ms"]).output().unwrap();
        assert!(mqueue::identity("/place").is_err(), "the queue was left");
    });
}

#[test]
fn the_peers_of_a_killed_cell_leave_no_queue_because_the_launcher_removes_it() {
    common::watched(LIMIT, || {
        if !isolate("1g") {
            return;
        }
        let home = Home::new();
        for workload in ["pairs", "fan-in"] {
            let mut command = home.command(env!("CARGO_BIN_EXE_ipc-sysv-mq"));
            let run = command.args([workload, "--peers", "3", "--duration", "60s"]).spawn().unwrap();
            // The two that use a queue of a pair are peers: the launcher knows only the cell.
            until("the peers carry messages", || {
                let queues = sysv::queues();
                queues.len() == 3
                    && queues.iter().all(|queue| !queue.users.contains(&0) && queue.users[0] != queue.users[1])
            });
            std::thread::sleep(Duration::from_millis(300));
            let cell = child_of(run.id());
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(cell as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
            let output = run.wait_with_output().unwrap();
            assert!(!output.status.success());
            assert_eq!(sysv::queues(), [], "{workload}");
        }
    });
}

/// A program that is killed at this system call.
fn killed_at(home: &Home, program: &str, arguments: &[&str], deadly: Deadly) {
    let mut command = home.command(program);
    killing(command.args(arguments), deadly);
    let output = command.output().unwrap();
    let how = (output.status.code(), output.status.signal());
    assert!(how == (None, Some(libc::SIGSYS)) || how.0 == Some(1), "it was not killed: {output:?}");
}

#[test]
fn a_queue_whose_maker_was_killed_before_it_could_say_so_is_known_by_its_mark() {
    common::watched(LIMIT, || {
        if !isolate("1g") {
            return;
        }
        let home = Home::new();
        let (program, first) = (env!("CARGO_BIN_EXE_ipc-sysv-mq"), || Deadly { call: libc::SYS_msgsnd, unless: None });
        let role = ["producer", "--at", "0x1bc00007"];
        killed_at(&home, program, &role, first());
        assert_eq!(sysv::queues().len(), 1, "nothing was left to clean");
        let (code, text) = home.clean(&[]);
        assert!(code == Some(0) && text.contains("removed System V queue 0x1bc00007"), "{text}");
        assert_eq!(sysv::objects(), [], "{text}");
        // The next program that wants the key.
        killed_at(&home, program, &role, first());
        let next = home.command(program).args(role).args(["--patience", "100ms"]).output().unwrap();
        let said = String::from_utf8_lossy(&next.stderr).into_owned();
        assert!(said.contains("removing 0x1bc00007") && said.contains("no consumer came"), "{said}");
        // The launcher removes its cell's, and is killed when it then tries whether such queues work here at all.
        killed_at(&home, program, &["ping-pong", "--messages", "10"], first());
        assert_eq!(sysv::queues().len(), 1);
        home.clean(&[]);
        assert_eq!(sysv::objects(), []);
        // A queue of somebody else's with that key was there before the mark: it is named and left alone.
        let foreign = sandbox::sysv_queue(0x1bc0_0007, 0o600);
        std::thread::sleep(Duration::from_millis(1100));
        killed_at(&home, program, &role, Deadly { call: libc::SYS_msgget, unless: None });
        let (code, text) = home.clean(&[]);
        assert!(code == Some(0) && text.contains("removed System V segment 0x1bd00007"), "{text}");
        assert!(text.contains("cannot be seen from here: System V queue 0x1bc00007"), "{text}");
        assert_eq!(sysv::queues().len(), 1);
        sysv::remove_queue(foreign).unwrap();
    });
}

#[test]
fn a_posix_queue_whose_maker_was_killed_before_it_could_say_so_is_known_by_the_line_before() {
    common::watched(LIMIT, || {
        if !isolate("1g") {
            return;
        }
        let home = Home::new();
        // The first mq_open that does not create comes after the one that does.
        let role = ["producer", "--at", "between"];
        let leave = || {
            let unless = Some((1, libc::O_CREAT as u32));
            killed_at(&home, env!("CARGO_BIN_EXE_ipc-posix-mq"), &role, Deadly { call: libc::SYS_mq_open, unless });
            assert!(mqueue::identity("/between").is_ok(), "nothing was left to clean");
        };
        let there = || mqueue::identity("/between").is_ok();
        leave();
        let (code, text) = home.clean(&[]);
        assert!(code == Some(0) && text.contains("removed message queue /between") && !there(), "{text}");
        assert_eq!(home.clean(&[]).1, "nothing is left of dead runs\n");
        // The next program takes it over.
        leave();
        let mut next = home.command(env!("CARGO_BIN_EXE_ipc-posix-mq"));
        let next = next.args(role).args(["--patience", "100ms"]).output().unwrap();
        let said = String::from_utf8_lossy(&next.stderr).into_owned();
        assert!(said.contains("left behind by process") && said.contains("no consumer came") && !there(), "{said}");
        // Somebody else's queue of that name: of another shape, or in use.
        leave();
        let full = mqueue::Queue::open("/between", mqueue::Use::Send).unwrap();
        full.send(b"x").unwrap();
        let (code, text) = home.clean(&["--dry-run"]);
        assert!(code == Some(0) && text.contains("cannot be seen from here: message queue /between"), "{text}");
        mqueue::unlink("/between").unwrap();
        drop(mqueue::Queue::create("/between", 3, 17).unwrap());
        let (code, text) = home.clean(&[]);
        assert!(code == Some(0) && text.contains("cannot be seen from here: message queue /between"), "{text}");
        assert!(there(), "{text}");
        mqueue::unlink("/between").unwrap();
    });
}

#[test]
fn the_registers_of_runs_in_another_environment_are_found() {
    common::watched(LIMIT, || {
        if !isolate("1g") {
            return;
        }
        let home = Home::new();
        // As a program without XDG_RUNTIME_DIR has it.
        let mut run = home.command(ROLES[0].0);
        let run =
            run.args(["producer", "--at", "elsewhere"]).env_remove("XDG_RUNTIME_DIR").env("TMPDIR", "/tmp").spawn();
        until("its name appears", || Path::new("/dev/shm/elsewhere").exists());
        let register = |text: &str| text.lines().any(|line| line.starts_with("removed /tmp/ipcost-"));
        // From other name spaces, where its name is not.
        let other = std::thread::scope(|scope| {
            let elsewhere = || {
                assert!(isolate("1g"));
                home.clean(&["--dry-run"]).1
            };
            kill(run.unwrap());
            scope.spawn(elsewhere).join().unwrap()
        });
        assert!(!register(&other) && !other.contains("elsewhere"), "{other}");
        let (code, text) = home.clean(&[]);
        assert!(code == Some(0) && text.contains("removed /dev/shm/elsewhere") && register(&text), "{text}");
        assert!(!Path::new("/dev/shm/elsewhere").exists());
    });
}

/// The one process that `parent` started.
fn child_of(parent: u32) -> u32 {
    let status = |pid: u32| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|p| p.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| status(*pid).contains(&format!("PPid:\t{parent}\n"))).unwrap()
}

#[test]
fn what_cannot_be_removed_is_a_failure_and_a_missing_folder_wrong_usage() {
    common::watched(LIMIT, || {
        if !isolate("1g") {
            return;
        }
        let home = Home::new();
        let (code, text) = home.clean(&["--dir", "/nonexistent"]);
        assert!(code == Some(2) && text.contains("/nonexistent is no folder"), "{text}");
        assert_eq!(home.clean(&[]).0, Some(0));
        let run = role(&home, ROLES[0]);
        until("its name appears", || Path::new("/dev/shm/ring").exists());
        kill(run);
        // Somebody who holds the lock and does not go on.
        let file = fs::OpenOptions::new().read(true).write(true).open("/dev/shm/ring").unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let (code, text) = home.clean(&[]);
        assert!(code == Some(1) && text.contains("kept /dev/shm/ring") && text.contains("locked"), "{text}");
        assert!(fs::symlink_metadata("/dev/shm/ring").unwrap().size() > 0);
        drop(file);
        assert_eq!(home.clean(&[]).0, Some(0));
        assert!(!any_left(&home));
    });
}

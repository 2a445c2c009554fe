//! A machine that limits or refuses: the row says so and what lifts it, and the rest of the campaign runs.
//!
//! Every restriction here is real: limits of the process, file systems without room, a seccomp filter.

mod common;
#[path = "common/sandbox.rs"]
mod sandbox;

use nix::sys::resource::Resource;
use sandbox::{as_stranger, is_root, isolate, limited, refusing, tmpfs};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);

/// Messages that need megabytes of a mechanism's own memory also where parties take turns.
const LARGE: [&str; 2] = ["--size", "64KiB"];

/// Status and reason of each mechanism's rows.
type Rows = BTreeMap<String, Vec<(String, String)>>;

/// A campaign of one round, and its rows. It must end well: what a machine cannot do is no failure.
fn campaign(mechanisms: &str, options: &[&str], restrict: impl FnOnce(&mut Command)) -> Rows {
    let out = tempfile::tempdir().unwrap();
    let results = out.path().join("results");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipcost"));
    command.args(["compare", "--rounds", "1", "--budget", "1s", "--workload", "ping-pong", "--wait", "block"]);
    command.args(["--parties", "process", "--placement", "same-cpu", "--mechanism", mechanisms]);
    command.arg("--out").arg(&results).args(options);
    restrict(&mut command);
    let output = common::program::campaign(command.stdin(Stdio::null()), &results);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    let mut rows = Rows::new();
    let mut add = |row: &Value| {
        let text = |key: &str| row[key].as_str().unwrap_or_default().to_string();
        rows.entry(text("mechanism")).or_default().push((text("status"), text("reason")));
    };
    let campaign: Value = serde_json::from_str(&fs::read_to_string(results.join("campaign.json")).unwrap()).unwrap();
    campaign["unsupported"].as_array().into_iter().flatten().for_each(&mut add);
    let cells = fs::read_to_string(results.join("cells.jsonl")).unwrap();
    cells.lines().for_each(|line| add(&serde_json::from_str(line).unwrap()));
    rows
}

/// That the rows of a mechanism are `unsupported` for a reason with these words, and those of the others fine.
fn only_refused(rows: &Rows, refused: &[&str], words: &[&str]) {
    for (mechanism, rows) in rows {
        for (status, reason) in rows {
            if refused.contains(&mechanism.as_str()) {
                assert_eq!(status, "unsupported", "{mechanism}: {reason}");
                assert!(words.iter().all(|word| reason.contains(word)), "{mechanism}: {reason}");
            } else {
                assert!(matches!(status.as_str(), "ok" | "invalid"), "{mechanism}: {status}: {reason}");
            }
        }
    }
    assert!(refused.iter().all(|name| rows.contains_key(*name)), "{rows:?}");
    assert!(rows.get("pipe").is_none_or(|rows| rows.iter().any(|(status, _)| status == "ok")), "{rows:?}");
}

#[test]
fn calls_that_a_sandbox_refuses_cost_only_the_rows_that_need_them() {
    const CASES: &[(&str, &[libc::c_long], &[&str])] = &[
        ("io-uring", &[libc::SYS_io_uring_setup], &["io_uring", "seccomp"]),
        ("process-vm", &[libc::SYS_process_vm_readv], &["process_vm_readv", "seccomp"]),
        ("shm-ring", &[libc::SYS_memfd_create], &["memfd", "seccomp"]),
        ("posix-mq", &[libc::SYS_mq_open], &["message queue", "seccomp"]),
        ("sysv-mq", &[libc::SYS_msgget], &["System V message queue"]),
        ("sysv-shm", &[libc::SYS_shmget], &["System V segment"]),
        ("unix-stream", &[libc::SYS_socketpair], &["socket pair", "seccomp"]),
        ("eventfd", &[libc::SYS_eventfd2], &["eventfd", "seccomp"]),
        ("file", &[libc::SYS_inotify_init1], &["attach", "seccomp"]),
        ("vmsplice", &[libc::SYS_vmsplice], &["vmsplice", "seccomp"]),
    ];
    common::watched(LIMIT, || {
        let all: Vec<_> = CASES.iter().flat_map(|(_, calls, _)| calls.iter().copied()).collect();
        // A memfd is what several of the others lie in: it is refused alone.
        let (memfd, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|call| *call == libc::SYS_memfd_create);
        for (calls, errno) in
            [(&memfd, libc::EPERM), (&memfd, libc::ENOSYS), (&others, libc::EPERM), (&others, libc::ENOSYS)]
        {
            let concerned = || CASES.iter().filter(|(_, needs, _)| calls.contains(&needs[0]));
            let mechanisms: Vec<_> = concerned().map(|(mechanism, ..)| *mechanism).collect();
            let rows = campaign(&format!("pipe,{}", mechanisms.join(",")), &[], |command| {
                refusing(command, calls, errno);
            });
            only_refused(&rows, &mechanisms, &[]);
            for (mechanism, _, words) in concerned() {
                only_refused(&Rows::from([(mechanism.to_string(), rows[*mechanism].clone())]), &[mechanism], words);
            }
        }
    });
}

#[test]
fn a_single_run_says_of_a_refusal_what_a_campaign_says() {
    common::watched(LIMIT, || {
        for errno in [libc::EPERM, libc::ENOSYS] {
            for parties in ["process", "thread"] {
                let mut command = Command::new(env!("CARGO_BIN_EXE_ipc-vmsplice"));
                command.args(["ping-pong", "--messages", "50", "--format", "json", "--parties", parties]);
                let output = refusing(&mut command, &[libc::SYS_vmsplice], errno).output().unwrap();
                let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!((&outcome["status"], output.status.code()), (&"unsupported".into(), Some(1)), "{outcome}");
                let reason = outcome["reason"].as_str().unwrap();
                assert!(reason.contains("cannot move pages") && reason.contains("seccomp"), "{reason}");
            }
        }
    });
}

#[test]
fn calls_that_only_the_harness_makes_may_be_refused_altogether() {
    common::watched(LIMIT, || {
        let calls = [libc::SYS_pidfd_open, libc::SYS_ptrace, libc::SYS_perf_event_open, libc::SYS_memfd_create];
        for errno in [libc::EPERM, libc::ENOSYS] {
            let rows = campaign("pipe,unix-stream,mmap-file", &[], |command| {
                refusing(command, &calls, errno);
            });
            only_refused(&rows, &[], &[]);
        }
    });
}

#[test]
fn without_the_right_to_pin_only_what_is_not_pinned_runs() {
    common::watched(LIMIT, || {
        let pinned = |placement: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_ipc-pipe"));
            command.args(["ping-pong", "--messages", "50", "--format", "json", "--placement", placement]);
            refusing(&mut command, &[libc::SYS_sched_setaffinity], libc::EPERM);
            serde_json::from_slice::<Value>(&command.output().unwrap().stdout).unwrap()
        };
        let refused = pinned("same-cpu");
        assert_eq!(refused["status"], "unsupported", "{refused}");
        assert!(refused["reason"].as_str().unwrap().contains("--placement unpinned"), "{refused}");
        assert_eq!(pinned("unpinned")["status"], "ok");
        let rows = campaign("pipe", &[], |command| {
            refusing(command, &[libc::SYS_sched_setaffinity], libc::EPERM);
        });
        assert!(rows.values().flatten().all(|(status, _)| status == "unsupported"), "{rows:?}");
    });
}

#[test]
fn limits_of_the_process_are_named_with_what_raises_them() {
    common::watched(LIMIT, || {
        let rows = campaign("pipe,posix-mq", &[], |command| {
            limited(command, Resource::RLIMIT_MSGQUEUE, 100);
        });
        only_refused(&rows, &["posix-mq"], &["RLIMIT_MSGQUEUE = 100", "ulimit -q"]);
        // A ring for such messages is larger than that, the harness's own files are not.
        let rows = campaign("pipe,file,mmap-file,shm-ring", &LARGE, |command| {
            limited(command, Resource::RLIMIT_FSIZE, 1 << 20);
        });
        only_refused(&rows, &["mmap-file", "shm-ring"], &["ulimit -f"]);
        let peers = ["--workload", "pairs", "--peers", "24"];
        let rows = campaign("pipe,unix-stream", &peers, |command| {
            limited(command, Resource::RLIMIT_NOFILE, 40);
        });
        for (mechanism, rows) in rows.iter().filter(|(name, _)| *name != "null" && *name != "copy") {
            let many: Vec<_> = rows.iter().filter(|(status, _)| status != "ok").collect();
            assert!(!many.is_empty(), "{mechanism}");
            let said = many.iter().all(|(status, reason)| status == "unsupported" && reason.contains("ulimit -n"));
            assert!(said, "{mechanism}: {many:?}");
        }
    });
}

#[test]
fn too_few_processes_are_no_failure_of_the_mechanism() {
    common::watched(LIMIT, || {
        if !is_root() {
            println!("skipped: the limit counts all processes of a user, and only root can be a user who has none");
            return;
        }
        for parties in ["process", "thread"] {
            let mut refused = 0;
            for most in 1..=6 {
                let mut command = Command::new(env!("CARGO_BIN_EXE_ipc-pipe"));
                command.args(["ping-pong", "--messages", "50", "--format", "json", "--parties", parties]);
                // std sets the user last: the limit counts from then on.
                let output = limited(as_stranger(&mut command), Resource::RLIMIT_NPROC, most).output().unwrap();
                let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
                let label =
                    format!("{parties}, {most} processes: {outcome} {}", String::from_utf8_lossy(&output.stderr));
                match outcome["status"].as_str() {
                    Some("ok" | "invalid") => {}
                    Some("unsupported") => {
                        refused += 1;
                        assert!(outcome["reason"].as_str().unwrap().contains("ulimit -u"), "{label}");
                    }
                    _ => panic!("{label}"),
                }
            }
            assert!(refused > 0, "{parties}: nothing was ever refused");
        }
    });
}

#[test]
fn file_systems_without_room_are_named() {
    common::watched(LIMIT, || {
        if !isolate("256k") {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let _small = tmpfs(dir.path(), "256k");
        let small = ["--dir", dir.path().to_str().unwrap()];
        let rows = campaign("pipe,posix-shm", &LARGE, |_| {});
        only_refused(&rows, &["posix-shm"], &["/dev/shm", "--shm-size"]);
        let rows = campaign("pipe,file,mmap-file", &[&small[..], &LARGE].concat(), |_| {});
        only_refused(&rows, &["file", "mmap-file"], &["--dir"]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "something was left where there was no room");
        assert_eq!(fs::read_dir("/dev/shm").unwrap().count(), 0);
        // Room for one direction, and not for both.
        isolate("6m");
        let rows = campaign("pipe,posix-shm", &LARGE, |_| {});
        only_refused(&rows, &["posix-shm"], &["/dev/shm"]);
        // What parties that take turns with small messages need is there.
        let rows = campaign("posix-shm", &["--size", "64"], |_| {});
        only_refused(&rows, &[], &[]);
        assert!(Path::new("/dev/shm").exists());
    });
}

#[test]
fn one_cpu_is_enough_for_a_campaign() {
    common::watched(LIMIT, || {
        let rows = campaign("pipe,shm-ring", &[], |command| {
            sandbox::on_one_cpu(command);
        });
        only_refused(&rows, &[], &[]);
    });
}

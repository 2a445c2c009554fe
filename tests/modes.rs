//! That nothing which others may open is ever made, not even for a moment: judged by the system calls of every program.
//!
//! Key decision: what lies there afterwards (`tests/access.rs`) does not show what lay there in between, so the modes are those
//! that the kernel was given, without any umask. Source: strace(1), open(2), mkdir(2), mknod(2), mq_open(3), msgget(2),
//! shmget(2), unix(7) on the permissions of a socket's path.

mod common;
#[path = "common/sandbox.rs"]
mod sandbox;

use ipcost::transport::{self, Meeting};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);

/// The calls that make something or give rights to it.
const CALLS: &str = "open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,mq_open,msgget,shmget,semget,bind,chmod,fchmod,\
                     fchmodat,msgctl,shmctl,umask,link,linkat,symlink,symlinkat";

/// What a program that strace(1) ran did, a call a line.
fn traced(arguments: &[&str], program: &str) -> Option<Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let (log, tmp) = (dir.path().join("log"), dir.path().join("tmp"));
    fs::create_dir(&tmp).unwrap();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-s", "200", "-e", &format!("trace={CALLS}"), "-o"]).arg(&log);
    command.arg(Path::new(env!("CARGO_BIN_EXE_ipcost")).with_file_name(program)).args(arguments);
    command.env("TMPDIR", &tmp).env_remove("XDG_RUNTIME_DIR");
    sandbox::with_umask(&mut command, 0);
    let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output().ok()?;
    let calls: Vec<String> = fs::read_to_string(&log).ok()?.lines().map(Into::into).collect();
    assert!(!calls.is_empty(), "{program} {arguments:?} made no call: {output:?}");
    Some(calls)
}

/// The last number of a call's arguments that is written as modes are, 0 before it: `S_IFIFO|0600` is one as well.
fn mode(arguments: &str) -> Option<u32> {
    let words = arguments.split(|c: char| !c.is_ascii_alphanumeric());
    let octal = |word: &&str| word.len() > 1 && word.starts_with('0') && !word.starts_with("0x");
    words.filter(octal).filter_map(|word| u32::from_str_radix(word, 8).ok()).next_back()
}

/// A line that lets others in, or may.
fn is_open<'a>(line: &'a str, private: &mut BTreeSet<(&'a str, &'a str)>) -> bool {
    // The thread, then the call; one that another thread interrupted shows its arguments at first only.
    let Some((thread, call)) = line.split_once(' ') else { return false };
    let Some((name, rest)) = call.trim_start().split_once('(') else { return false };
    let arguments = rest.split(") = ").next().unwrap_or(rest).trim_end_matches(" <unfinished ...>");
    let others = |mode: Option<u32>| mode.is_none_or(|mode| mode & 0o077 != 0);
    let descriptor = arguments.split([',', ')']).next().unwrap_or("");
    match name {
        "open" | "openat" | "openat2" | "mq_open" => {
            let made = arguments.contains("O_CREAT") || arguments.contains("O_TMPFILE");
            // After the flags: a path may hold anything.
            made && others(arguments.rsplit_once("O_").and_then(|(_, rest)| mode(rest)))
        }
        "msgget" | "shmget" | "semget" => arguments.contains("IPC_CREAT") && others(mode(arguments)),
        "creat" | "mkdir" | "mkdirat" | "mknod" | "mknodat" | "chmod" | "fchmodat" => {
            others(arguments.rsplit_once('"').and_then(|(_, rest)| mode(rest)))
        }
        "fchmod" => {
            let open = others(mode(arguments));
            if !open {
                private.insert((thread, descriptor));
            }
            open
        }
        "msgctl" | "shmctl" => arguments.contains("IPC_SET") && others(mode(arguments)),
        // A name without a file is open to all; one with a file has the mode of the descriptor.
        "bind" => arguments.contains("AF_UNIX") && !private.remove(&(thread, descriptor)),
        // A path of another thing, or a mask that has to be put back.
        "umask" | "link" | "linkat" | "symlink" | "symlinkat" => !rest.contains("= -1"),
        _ => false,
    }
}

/// All lines of a trace that let others in.
fn open_to_others(calls: &[String]) -> Vec<&str> {
    let mut private = BTreeSet::new();
    calls.iter().map(String::as_str).filter(|line| is_open(line, &mut private)).collect()
}

#[test]
fn a_call_that_lets_others_in_is_recognised() {
    let open = [
        r#"7 openat(AT_FDCWD, "/tmp/a0600", O_RDWR|O_CREAT|O_EXCL, 0666) = 3"#,
        r#"7 openat(AT_FDCWD, "/tmp/a", O_RDWR|O_CREAT|O_EXCL, 0640 <unfinished ...>"#,
        r#"7 mkdir("/tmp/0700", 0777) = 0"#,
        r#"7 mknodat(AT_FDCWD, "/tmp/f", S_IFIFO|0644) = 0"#,
        r#"7 mq_open("q", O_WRONLY|O_CREAT, 0604, {mq_maxmsg=10}) = 3"#,
        "7 msgget(0x1bc00600, IPC_CREAT|IPC_EXCL|0666) = 3",
        "7 shmget(0x1bc00600, 4096, IPC_CREAT|0660) = 3",
        r#"7 bind(3, {sa_family=AF_UNIX, sun_path="/tmp/s"}, 110) = 0"#,
        r#"7 fchmodat(AT_FDCWD, "/tmp/0600", 0666) = 0"#,
        "7 umask(077) = 022",
    ];
    for line in open {
        assert_eq!(open_to_others(&[line.to_string()]), [line]);
    }
    let private = [
        r#"7 openat(AT_FDCWD, "/tmp/a0666", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 3"#,
        r#"7 openat(AT_FDCWD, "/tmp/a", O_RDONLY) = 3"#,
        r#"7 mkdir("/tmp/0777", 0700) = 0"#,
        "7 fchmod(3, 0600) = 0",
        r#"7 bind(3, {sa_family=AF_UNIX, sun_path="/tmp/s"}, 110) = 0"#,
        "7 bind(3, {sa_family=AF_INET, sin_port=htons(0)}, 16) = 0",
        "7 msgget(0x1bc00666, IPC_CREAT|IPC_EXCL|0600) = 3",
    ];
    assert_eq!(open_to_others(&private.map(Into::into)), [""; 0]);
}

#[test]
fn no_program_makes_anything_that_others_may_open() {
    common::watched(LIMIT, || {
        if !Command::new("strace").args(["-f", "true"]).output().is_ok_and(|output| output.status.success()) {
            println!("skipped: no strace, or it may not trace here");
            return;
        }
        let mut made = 0;
        // These two are made by their libraries, with the modes of these, in a private folder (docs/SECURITY.md).
        let others = ["zeromq", "iceoryx2"];
        for spec in transport::ALL.iter().map(|runner| runner.spec()).filter(|spec| !others.contains(&spec.name)) {
            let program = format!("ipc-{}", spec.name);
            let at = format!("modes-{}", std::process::id());
            let place = match spec.meeting {
                Meeting::Stdio | Meeting::Never => None,
                Meeting::Path => Some(format!("/tmp/{at}")),
                Meeting::ShmName | Meeting::QueueName => Some(at),
                Meeting::Address => Some("127.0.0.1:0".into()),
                Meeting::Key => Some("0x1bc00abc".into()),
            };
            let mut runs = vec![vec!["ping-pong", "--messages", "50"]];
            for role in ["producer", "consumer"] {
                runs.extend(place.iter().map(|place| vec![role, "--at", place, "--patience", "100ms"]));
            }
            for arguments in runs {
                let Some(calls) = traced(&arguments, &program) else { panic!("strace did not run") };
                // A name without a file, for a moment; who connects there is turned away (docs/SECURITY.md).
                let turned_away = |line: &&str| spec.name == "local-socket" && line.contains("sun_path=@\"ipcost-");
                let open: Vec<_> = open_to_others(&calls).into_iter().filter(|line| !turned_away(line)).collect();
                assert_eq!(open, [""; 0], "{program} {arguments:?}");
                made += calls.iter().filter(|line| line.contains("O_CREAT") || line.contains("IPC_CREAT")).count();
            }
        }
        assert!(made > 20, "only {made} things were made: the programs did not do what they are for");
    });
}

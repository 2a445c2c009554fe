//! Results that cannot be written: each command that keeps a journal says what it cannot write, why, and what to try, stops
//! there, and leaves what it had.
//!
//! The obstacles are real: a name that is taken, a folder that belongs to somebody else, a file system without room.

mod common;
#[path = "common/sandbox.rs"]
mod sandbox;

use sandbox::{as_stranger, is_root, isolate, tmpfs};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);

/// The commands that keep a journal, each with its file.
const COMMANDS: [(&str, &[&str], &str); 3] = [
    ("compare", &["--mechanism", "pipe", "--rounds", "6", "--budget", "20s"], "cells.jsonl"),
    ("claims", &["isolation", "--budget", "3s"], "claims.jsonl"),
    ("faults", &["--quick", "--mechanism", "pipe,unix-stream"], "faults.jsonl"),
];

fn command(name: &str, options: &[&str], out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipcost"));
    command.arg(name).args(options).arg("--out").arg(out).stdin(Stdio::null());
    command
}

/// Exit code, and the complaint in one line: it may have been folded.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn a_folder_that_cannot_be_begun_is_a_wrong_choice_of_folder() {
    common::watched(LIMIT, || {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let file = dir.path().join("notes");
        fs::write(&file, "mine").unwrap();
        let locked = dir.path().join("locked");
        fs::create_dir(&locked).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
        for (name, options, _) in COMMANDS {
            for (out, why) in [
                (file.clone(), "File exists"),
                (file.join("below"), "Not a directory"),
                (locked.join("new"), "Permission denied"),
                (locked.clone(), "Permission denied"),
            ] {
                let mut command = command(name, options, &out);
                if is_root() {
                    as_stranger(&mut command);
                }
                let (code, said) = said(&command.output().unwrap());
                let due = format!("error: cannot write into {}: {why}", out.display());
                assert!(said.starts_with(&due) && said.ends_with("; choose another --out"), "{name}: {said}");
                assert_eq!(said.matches("cannot write").count(), 1, "{name}: {said}");
                assert_eq!(code, Some(2), "{name}: {said}");
            }
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        assert_eq!(fs::read_dir(&locked).unwrap().count(), 0);
    });
}

#[test]
fn a_journal_that_fills_its_file_system_ends_the_command_and_keeps_whole_lines() {
    common::watched(LIMIT, || {
        if !isolate("64m") {
            return;
        }
        for (name, options, journal) in COMMANDS {
            let dir = tempfile::tempdir().unwrap();
            // Room for what is written first, and for a few lines: tmpfs counts in pages.
            let _small = tmpfs(dir.path(), if name == "compare" { "40k" } else { "8k" });
            let out = dir.path().join("out");
            let output = command(name, options, &out).output().unwrap();
            let (code, said) = said(&output);
            assert_eq!(code, Some(1), "{name}: {said}");
            let path = out.join(journal);
            let due = format!("error: cannot write {} (during report): No space left on device", path.display());
            assert!(said.contains(&due), "{name}: {said}");
            let advice = said.split_once("; the lines before are kept: make room, then ").map(|(_, then)| then);
            let then = if name == "compare" { "`ipcost compare --resume " } else { "begin again with another --out" };
            assert!(advice.is_some_and(|advice| advice.starts_with(then)), "{name}: {said}");
            let text = fs::read_to_string(&path).unwrap();
            let whole = text.matches('\n').count();
            assert!(whole > 0, "{name}: nothing was kept");
            // What was kept can be read, and no further launch was made after the one that could not be kept.
            let shown = Command::new(env!("CARGO_BIN_EXE_ipcost")).arg("show").arg(&out).output().unwrap();
            assert!(shown.status.success(), "{name}: {}", String::from_utf8_lossy(&shown.stderr));
            assert!(fs::metadata(&path).unwrap().len() > 2000, "{name}: {whole} lines");
        }
    });
}

//! Any bytes written over a part of any file of a results folder, and any value in the place of others: tables, or an error
//! that says where.
//!
//! The values are chosen by place, because what is wrong only in a line that can be read (two numbers whose sum is too large)
//! lies behind many digits in a few bytes among thousands, which no fuzzer guesses. The whole folder is made once, and each
//! input's in memory: to make a journal anew waits for the disk, and took most of the time. The page for a browser takes most of
//! the rest, so not every input has one.
#![no_main]

use arbitrary::Arbitrary;
use ipcost::report::Report;
use ipcost::trial::{altered, folder, resume, runs, tables};
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

/// The journal twice as often as all others together.
const FILES: [&str; 15] = [
    "cells.jsonl",
    "cells.jsonl",
    "cells.jsonl",
    "cells.jsonl",
    "cells.jsonl",
    "cells.jsonl",
    "cells.jsonl",
    "cells.jsonl",
    "cells.jsonl",
    "cells.jsonl",
    "campaign.json",
    "host.json",
    "limits.json",
    "traces.jsonl",
    "resumed.jsonl",
];

#[derive(Debug, Arbitrary)]
struct Input {
    file: u8,
    /// How many of the changes, and what else: fields of fixed places, because where one byte shifts all that follow, hardly any
    /// mutation is a small step.
    how: u8,
    changes: [(u8, u16, u8); 2],
    at: u16,
    less: u8,
    bytes: Vec<u8>,
}

/// Names and contents of the files of a whole folder.
fn whole() -> &'static [(String, Vec<u8>)] {
    static WHOLE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("results");
        folder(&path, &runs(1));
        let entries = fs::read_dir(path).expect("it was made").flatten();
        let read = |entry: fs::DirEntry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("it is ours"))
        };
        entries.map(read).collect()
    })
}

fuzz_target!(|input: Input| {
    let memory = Path::new("/dev/shm");
    let dir = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).expect("a temporary folder");
    let chosen = FILES[usize::from(input.file) % FILES.len()];
    for (name, bytes) in whole().iter().filter(|(name, _)| name != chosen) {
        fs::write(dir.path().join(name), bytes).expect("it is ours");
    }
    let mut bytes = whole().iter().find(|(name, _)| name == chosen).map_or(vec![], |(_, bytes)| bytes.clone());
    let changes = &input.changes[..usize::from(input.how % 3)];
    if !changes.is_empty() {
        bytes = altered(&String::from_utf8_lossy(&bytes), changes).into_bytes();
    }
    if input.how & 0x80 != 0 {
        let at = usize::from(input.at) % (bytes.len() + 1);
        let end = (at + usize::from(input.less)).min(bytes.len());
        bytes.splice(at..end, input.bytes);
    }
    fs::write(dir.path().join(chosen), bytes).expect("it is ours");
    // Short inputs have zeros here.
    if input.how & 0x70 == 0x70 {
        let _ = tables(dir.path());
    } else if let Err(error) = Report::load(dir.path()) {
        assert!(error.to_string().contains(".json"), "no file is named: {error}");
    }
    let _ = resume(dir.path());
});

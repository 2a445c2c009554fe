//! Any bytes written over a part of any file of a results folder: tables, or an error that says where.
#![no_main]

use arbitrary::Arbitrary;
use ipcost::trial::{folder, resume, runs, tables};
use libfuzzer_sys::fuzz_target;
use std::fs;

const FILES: [&str; 6] =
    ["cells.jsonl", "campaign.json", "host.json", "limits.json", "traces.jsonl", "resumed.jsonl"];

#[derive(Debug, Arbitrary)]
struct Input {
    file: u8,
    at: u16,
    less: u8,
    bytes: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("results");
    folder(&path, &runs(2));
    let file = path.join(FILES[usize::from(input.file) % FILES.len()]);
    let whole = fs::read(&file).unwrap_or_default();
    let at = usize::from(input.at) % (whole.len() + 1);
    let end = (at + usize::from(input.less)).min(whole.len());
    fs::write(&file, [&whole[..at], &input.bytes, &whole[end..]].concat()).expect("it is ours");
    let _ = tables(&path);
    let _ = resume(&path);
});

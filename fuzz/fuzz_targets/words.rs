//! Any text where the command line, or a name in a file system, is read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| ipcost::trial::words(text));

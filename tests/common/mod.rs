//! What several test files need.

// Each test file is a program of its own and uses a part.
#![allow(dead_code)]

pub mod cells;
pub mod claims;
pub mod journal;
pub mod pages;
pub mod program;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::time::Duration;

/// Runs `body` in a thread of its own and fails when it takes longer than `limit`, instead of hanging for ever.
pub fn watched(limit: Duration, body: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(catch_unwind(AssertUnwindSafe(body))));
    match ended.recv_timeout(limit) {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => panic!("no end within {} s: it hangs, or the machine is very slow", limit.as_secs()),
    }
}

//! The example transport passes the conformance suite, and the guide quotes it word for word.

mod common;
#[allow(dead_code, reason = "the example's main is not called here")]
#[path = "../examples/add_transport.rs"]
mod skeleton;

use ipcost::cell::Status;
use ipcost::plan::Wait;
use ipcost::transport::conformance;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const GUIDE: &str = include_str!("../docs/ADDING_A_TRANSPORT.md");
const EXAMPLE: &str = include_str!("../examples/add_transport.rs");

#[test]
fn the_skeleton_passes_the_conformance_suite() {
    common::watched(LIMIT, || {
        if let Err(how) = conformance::check::<skeleton::Skeleton>() {
            panic!("{how}");
        }
    });
}

#[test]
fn the_skeleton_carries_a_ping_pong_through_the_code_of_every_run() {
    common::watched(LIMIT, || {
        for wait in [Wait::Block, Wait::Yield] {
            let outcome = skeleton::ping_pong(wait, 500).unwrap();
            assert_eq!(outcome.status, Status::Ok, "{wait}: {:?}", outcome.reason);
            let verified = outcome.verified.unwrap();
            assert_eq!((verified.messages, verified.bytes), (500, 500 * 64), "{wait}");
        }
    });
}

#[test]
fn every_rust_block_of_the_guide_is_verbatim_in_the_example() {
    let blocks: Vec<_> = GUIDE.split("\n```rust\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(blocks.len() >= 4, "the guide quotes too little: {} blocks", blocks.len());
    for block in blocks {
        assert!(EXAMPLE.contains(block), "examples/add_transport.rs does not contain:\n{block}");
    }
}

#[test]
fn the_guide_names_every_hook() {
    for hook in ["SPEC", "one_way", "link", "meet", "attach", "size", "send_with", "recv_with", "send", "recv"] {
        assert!(GUIDE.contains(&format!("`{hook}`")), "the guide does not mention `{hook}`");
    }
}

//! The claim `java-thread` from outside: Java threads are counted, a pool in their place is seen, and without a JDK it
//! says so.

mod common;

use common::claims::measure;
use common::watched;
use ipcost::claim::record::Status;
use serde_json::json;
use std::process::Command;
use std::time::Duration;

#[test]
fn a_pool_in_place_of_threads_is_seen_where_there_is_a_jdk() {
    watched(Duration::from_secs(120), || {
        let cpu = *ipcost::sys::cpu::allowed().unwrap().last().unwrap();
        let ask = |plant| measure("java-thread", json!({ "language": "java", "cpu": cpu }), 240, plant);
        let threads = ask(None);
        if threads.status == Status::Unsupported {
            assert!(threads.reason.unwrap().contains("install a JDK"));
            return;
        }
        let each = threads.values["os_threads_each"];
        assert!((0.9..1.1).contains(&each), "{threads:?}");
        let pooled = ask(Some("pool"));
        assert!(pooled.values["os_threads_each"] < 0.5, "{pooled:?}");
    });
}

#[test]
fn without_java_the_claim_is_not_tested_and_the_command_succeeds() {
    watched(Duration::from_secs(60), || {
        let folder = tempfile::tempdir().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_ipcost"))
            .args(["claims", "java-thread", "--out"])
            .arg(folder.path().join("results"))
            .env("PATH", folder.path())
            .env_remove("JAVA_HOME")
            .output()
            .expect("the program was built");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("not tested: no java"), "{text}");
    });
}

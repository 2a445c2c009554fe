//! Records what the program was built from and with, for the environment record of every result.

use std::process::Command;

fn main() {
    // A commit on a branch changes the log, not HEAD; a build outside a checkout has neither.
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
    println!("cargo::rerun-if-changed=Cargo.lock");
    let git = Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).output();
    let text = |out: std::io::Result<std::process::Output>| {
        out.ok().filter(|o| o.status.success()).map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string())
    };
    println!("cargo::rustc-env=IPCOST_GIT={}", text(git).unwrap_or_else(|| "unknown".into()));
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = text(Command::new(rustc).arg("--version").output()).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=IPCOST_RUSTC={version}");
    let profile = std::env::var("PROFILE").unwrap_or_default();
    let level = std::env::var("OPT_LEVEL").unwrap_or_default();
    println!("cargo::rustc-env=IPCOST_PROFILE={profile}, opt-level {level}");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=IPCOST_TARGET={target}");
}

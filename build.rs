//! Records what the program was built from and with, for the environment record of every result.
//!
//! A value that cannot be found out is empty, and absent from the record. Paths are cut out of the flags: they name the
//! person who built.

use std::path::Path;
use std::process::Command;

fn main() {
    // A commit on a branch changes the log, not HEAD, and in a linked worktree the log is elsewhere; a build outside a
    // checkout has none. The sources decide whether the tree is dirty.
    let log = output("git", &["rev-parse", "--git-path", "logs/HEAD"]).unwrap_or_default();
    for path in [log.as_str(), "Cargo.toml", "Cargo.lock", "build.rs", "src"] {
        if Path::new(path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let profile = variable("PROFILE");
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    let git = output("git", &["describe", "--always", "--dirty", "--abbrev=12"]);
    record("GIT", &git.unwrap_or_else(|| "unknown".into()));
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    record("RUSTC", &output(&rustc, &["--version"]).unwrap_or_else(|| "unknown".into()));
    record("PROFILE", &format!("{profile}, opt-level {}", variable("OPT_LEVEL")));
    record("LTO", &setting(&profile, "lto").unwrap_or_else(|| "cargo's default".into()));
    record("CODEGEN_UNITS", &setting(&profile, "codegen-units").unwrap_or_else(|| "cargo's default".into()));
    record("TARGET", &variable("TARGET"));
    record("TARGET_CPU", &target_cpu(&flags).unwrap_or_else(|| "the target's baseline".into()));
    record("RUSTFLAGS", &without_paths(&flags));
    record("LOCK", &std::fs::read("Cargo.lock").map(|bytes| format!("{:016x}", fnv(&bytes))).unwrap_or_default());
}

fn record(name: &str, value: &str) {
    println!("cargo::rustc-env=IPCOST_{name}={value}");
}

fn variable(name: &str) -> String {
    println!("cargo::rerun-if-env-changed={name}");
    std::env::var(name).unwrap_or_default()
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// A setting of the profile that cargo tells no build script: from the environment, else from the manifest.
fn setting(profile: &str, key: &str) -> Option<String> {
    let name = format!("CARGO_PROFILE_{}_{}", profile.to_uppercase(), key.to_uppercase().replace('-', "_"));
    if let Some(value) = Some(variable(&name)).filter(|value| !value.is_empty()) {
        return Some(value);
    }
    // The profile "debug" is written as "dev".
    let section = format!("[profile.{}]", if profile == "debug" { "dev" } else { profile });
    let manifest = std::fs::read_to_string("Cargo.toml").ok()?;
    let lines = manifest.lines().skip_while(|line| line.trim() != section).skip(1);
    let mut settings = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    settings.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().trim_matches('"').to_string())
}

/// The flags, one after the other; what looks like a path ends at its first slash.
fn without_paths(encoded: &str) -> String {
    let cut = |flag: &str| match flag.split_once('/') {
        Some((before, _)) => format!("{before}..."),
        None => flag.to_string(),
    };
    encoded.split('\u{1f}').map(cut).collect::<Vec<_>>().join(" ")
}

/// `-C target-cpu=X`, in one word or two.
fn target_cpu(encoded: &str) -> Option<String> {
    let mut flags = encoded.split('\u{1f}').rev();
    flags.find_map(|flag| Some(flag.trim_start_matches("-C").strip_prefix("target-cpu=")?.to_string()))
}

/// FNV-1a in 64 bits: enough to tell two lock files apart, and no dependency of the build.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

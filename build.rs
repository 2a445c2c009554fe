//! Records what the program was built from and with, for the environment record of every result.
//!
//! A value that cannot be found out is empty, and absent from the record. Paths are cut out of the flags: they name the
//! person who built.

use std::path::Path;
use std::process::Command;

fn main() {
    for path in watched() {
        println!("cargo::rerun-if-changed={path}");
    }
    let profile = variable("PROFILE");
    let flags = variable("CARGO_ENCODED_RUSTFLAGS");
    record("GIT", &revision().unwrap_or_else(|| "unknown".into()));
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

/// What decides the record: the sources, which say whether the tree is dirty, and what of git moves when a commit is made
/// or another one checked out. Only what is there: a file that is not would run this again and again.
fn watched() -> Vec<String> {
    let git = |what: &str| output("git", &["rev-parse", "--git-path", what]);
    let branch = output("git", &["symbolic-ref", "--quiet", "HEAD"]);
    // A commit on a branch changes the branch and the log, not HEAD; a branch may be packed, and a log be switched off.
    let moving = ["HEAD", "logs/HEAD", "packed-refs"].into_iter().chain(branch.as_deref());
    let sources = [PACKED, "Cargo.toml", "Cargo.lock", "build.rs", "src", "engine"].map(str::to_string);
    let all = if checked_out() { moving.filter_map(git).collect() } else { vec![] };
    all.into_iter().chain(sources).filter(|path| Path::new(path).exists()).collect()
}

/// File that cargo puts into a packaged crate.
const PACKED: &str = ".cargo_vcs_info.json";

/// Whether these sources are what a git repository has here: an unpacked crate may lie within somebody else's.
fn checked_out() -> bool {
    !Path::new(PACKED).exists() && output("git", &["ls-files", "--error-unmatch", "Cargo.toml"]).is_some()
}

/// The commit, and whether something was changed since; `None` where nobody knows.
fn revision() -> Option<String> {
    match std::fs::read_to_string(PACKED) {
        Ok(packed) => packed_revision(&packed),
        Err(_) if checked_out() => output("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
        Err(_) => None,
    }
}

/// The same of a packaged crate.
pub fn packed_revision(packed: &str) -> Option<String> {
    let (_, rest) = packed.split_once("\"sha1\"")?;
    let sha: String = rest.split('"').nth(1)?.chars().take(12).collect();
    let dirty =
        packed.split_once("\"dirty\"").is_some_and(|(_, rest)| rest.trim_start_matches([':', ' ']).starts_with("true"));
    let whole = sha.len() == 12 && sha.chars().all(|digit| digit.is_ascii_hexdigit());
    whole.then(|| format!("{sha}{}", if dirty { "-dirty" } else { "" }))
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

/// A setting of the profile that cargo tells no build script, for the crate that holds what is timed: from the manifest's
/// words on that crate, else from the environment, else from the manifest.
fn setting(profile: &str, key: &str) -> Option<String> {
    // The profile "debug" is written as "dev".
    let section = format!("profile.{}", if profile == "debug" { "dev" } else { profile });
    let manifest = std::fs::read_to_string("Cargo.toml").unwrap_or_default();
    let name = format!("CARGO_PROFILE_{}_{}", profile.to_uppercase(), key.to_uppercase().replace('-', "_"));
    written(&manifest, &format!("[{section}.package.ipcost-engine]"), key)
        .or_else(|| Some(variable(&name)).filter(|value| !value.is_empty()))
        .or_else(|| written(&manifest, &format!("[{section}]"), key))
}

/// What a section of the manifest says of `key`.
pub fn written(manifest: &str, section: &str, key: &str) -> Option<String> {
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

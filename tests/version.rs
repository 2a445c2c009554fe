//! What programs say they were built from.

mod common;

use common::{cells, program};

// The script is a program of its own; only what it reads is tried here.
#[allow(dead_code)]
#[path = "../build.rs"]
mod build;

#[test]
fn every_program_says_version_and_revision() {
    let first = String::from_utf8(program::run(&["--version"]).stdout).unwrap();
    let said = first.trim().strip_prefix("ipcost ").expect("its name");
    assert_eq!(said, ipcost::VERSION);
    let (version, revision) = said.split_once(' ').expect("version and revision");
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let revision = revision.trim_matches(['(', ')']);
    let hash = revision.trim_end_matches("-dirty");
    assert!(revision == "unknown" || hash.len() >= 7 && !hash.contains(' '), "{revision:?}");
    for runner in ipcost::transport::ALL {
        let name = runner.spec().name;
        let output = cells::run(name, &["--version"]);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("ipc-{name} {said}"));
    }
    // The environment record of every result says the same.
    let host = program::run(&["host", "--format", "json"]);
    let host: serde_json::Value = serde_json::from_slice(&host.stdout).unwrap();
    assert_eq!((&host["build"]["version"], &host["build"]["revision"]), (&version.into(), &revision.into()));
}

#[test]
fn settings_are_those_of_the_section_that_is_asked_for() {
    let manifest =
        "[profile.release]\nlto = \"off\"\n\n[profile.release.package.a]\ncodegen-units = 1\n\n[lints]\nlto = 2\n";
    let of = |section, key| build::written(manifest, section, key);
    assert_eq!(of("[profile.release]", "lto").as_deref(), Some("off"));
    assert_eq!(of("[profile.release.package.a]", "codegen-units").as_deref(), Some("1"));
    for (section, key) in
        [("[profile.release]", "codegen-units"), ("[profile.dev]", "lto"), ("[profile.release.package.a]", "lto")]
    {
        assert_eq!(of(section, key), None, "{section} {key}");
    }
}

#[test]
fn a_packaged_crate_knows_the_commit_that_it_was_packaged_from() {
    let sha = "0123456789abcdef0123456789abcdef01234567";
    let clean = format!("{{\n  \"git\": {{\n    \"sha1\": \"{sha}\"\n  }},\n  \"path_in_vcs\": \"\"\n}}");
    assert_eq!(build::packed_revision(&clean).as_deref(), Some("0123456789ab"));
    let dirty = format!("{{\"git\":{{\"sha1\":\"{sha}\",\"dirty\":true}},\"path_in_vcs\":\"\"}}");
    assert_eq!(build::packed_revision(&dirty).as_deref(), Some("0123456789ab-dirty"));
    for damaged in ["", "{}", "{\"git\":{\"sha1\":\"\"}}", "{\"git\":{\"sha1\":\"not a hash at all\"}}"] {
        assert_eq!(build::packed_revision(damaged), None, "{damaged}");
    }
}

//! Pages of `docs/` that are made from the code.

use std::path::{Path, PathBuf};

/// The folder of the pages.
pub fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// Fails where `docs/NAME` is not what was made, and says which script makes it; writes it where that script asks to.
pub fn keep(name: &str, made: &str, script: &str) {
    let path = docs().join(name);
    if std::env::var_os("IPCOST_WRITE_DOCS").is_some() {
        return std::fs::write(path, made).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    let differs = made.lines().zip(there.lines()).find(|(made, there)| made != there);
    assert!(made == there, "docs/{name} is out of date, first at {differs:?}: run {script} and commit what it writes");
}

//! Results folders: who may begin one, and files in it that are whole or not there.
//!
//! Key decision: a file that is written once gets its name when it is complete (rename(2)), so that whatever ends the
//! program, no reader finds a beginning of one; a journal is appended to, and its readers leave out a cut last line. The
//! folder is not made under another name and renamed as a whole: it may be there before, with files of its owner's. So
//! there is a moment at which a folder has its environment record and no journal; nothing was begun in it then, and the
//! next command may use it. A draft that a killed program left is replaced by the next one of the same file.
//! Rejected: fsync(2) before the rename; a loss of power is not what this is about.

use crate::campaign::journal::{CAMPAIGN, CELLS};
use crate::claim::record::CLAIMS_FILE;
use crate::error::{Context, Error, Phase, Result};
use crate::faults::record::FAULTS_FILE;
use crate::host::Host;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// File of every results folder that holds the environment record.
pub const HOST: &str = "host.json";

/// What a results folder is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `ipcost compare`, or nothing yet.
    Campaign,
    /// `ipcost claims`.
    Claims,
    /// `ipcost faults`.
    Faults,
}

impl Kind {
    /// Told by its journal.
    pub fn of(dir: &Path) -> Self {
        let has = |journal: &str| dir.join(journal).exists();
        match (has(FAULTS_FILE), has(CLAIMS_FILE)) {
            (true, _) => Self::Faults,
            (_, true) => Self::Claims,
            _ => Self::Campaign,
        }
    }

    /// What such a folder holds.
    pub fn word(self) -> &'static str {
        match self {
            Self::Campaign => "a campaign",
            Self::Claims => "claims",
            Self::Faults => "faults",
        }
    }
}

/// Gives `dir/name` this text, all of it or nothing: whoever opens the file meanwhile sees the old one.
///
/// # Errors
/// When the folder cannot be written; what was there stays.
pub fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let (path, draft) = (dir.join(name), dir.join(format!(".{name}.draft")));
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path));
    written
        .inspect_err(|_| drop(fs::remove_file(&draft)))
        .map_err(|error| Error::failed(Phase::Report, format!("cannot write {}", path.display())).because(error))
}

/// As [`write()`], for something that is kept as JSON for people to read.
///
/// # Errors
/// Likewise.
pub fn write_json(dir: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context(Phase::Report, "cannot write JSON")?;
    write(dir, name, &(text + "\n"))
}

/// Makes the folder, with the environment record, unless it holds results: those of a campaign that was begun, of claims or
/// of faults.
///
/// # Errors
/// A usage error when it does, or cannot be made.
pub fn begin(dir: &Path, host: &Host) -> Result<()> {
    refuse_taken(dir)?;
    let cannot = |error: &dyn std::fmt::Display| {
        Error::usage(format!("cannot write into {}", dir.display())).because(error).hint("choose another --out")
    };
    fs::create_dir_all(dir).map_err(|error| cannot(&error))?;
    write_json(dir, HOST, host).map_err(|error| cannot(&error))
}

/// Refuses a folder in which something was begun.
fn refuse_taken(dir: &Path) -> Result<()> {
    let lines = fs::metadata(dir.join(CELLS)).map_or(0, |meta| meta.len());
    if lines > 0 || [CAMPAIGN, CLAIMS_FILE, FAULTS_FILE].iter().any(|name| dir.join(name).exists()) {
        let other = "choose another --out, or go on with --resume (a campaign); finished results are never overwritten";
        return Err(Error::usage(format!("{} already holds results", dir.display())).hint(other));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_a_failure_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a.md", "one").unwrap();
        // What a killed program left.
        fs::write(dir.path().join(".a.md.draft"), "half of something longer").unwrap();
        let old = fs::File::open(dir.path().join("a.md")).unwrap();
        write(dir.path(), "a.md", "two").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a.md")).unwrap(), "two");
        assert_eq!(std::io::read_to_string(old).unwrap(), "one", "the file was written over, not replaced");
        fs::create_dir(dir.path().join("b.md")).unwrap();
        assert!(write(dir.path(), "b.md", "x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "a draft was left");
    }

    #[test]
    fn a_folder_in_which_nothing_was_begun_may_be_used_and_any_other_may_not() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("x");
        begin(&folder, &Host::default()).unwrap();
        fs::write(folder.join(CELLS), "").unwrap();
        begin(&folder, &Host::default()).unwrap();
        for (name, text) in [(CELLS, "{"), (CAMPAIGN, ""), (CLAIMS_FILE, ""), (FAULTS_FILE, "")] {
            fs::write(folder.join(name), text).unwrap();
            let refused = begin(&folder, &Host::default()).unwrap_err();
            assert_eq!(refused.exit_code(), 2);
            assert!(refused.to_string().contains("already holds results"), "{name}: {refused}");
            fs::remove_file(folder.join(name)).unwrap();
        }
    }
}

//! Journals: files of a results folder to which lines are only ever appended, each in one write.
//!
//! Key decision: one definition of how a journal is opened, written and complained about, for campaigns, claims, faults and
//! traces. Whoever cannot write a line stops at once: to go on measuring what nobody keeps helps nobody. What was written
//! stays, and readers leave out a line that was cut. Rejected: to shorten the file again after a failed write; a full or
//! failing file system is no place to try more.

use super::cannot_write_into;
use crate::error::{Context, Error, Phase, Result};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// An open journal.
#[derive(Debug)]
pub struct Notebook {
    file: File,
    path: PathBuf,
    /// What to do once lines can be written again.
    then: String,
}

impl Notebook {
    /// Opens `dir/name`, or makes it. `then` says what to do when a line could not be written and the reason for that is
    /// gone.
    ///
    /// # Errors
    /// A usage error when the folder cannot be written.
    pub fn open(dir: &Path, name: &str, then: impl Into<String>) -> Result<Self> {
        Ok(Self { file: open(dir, name)?, path: dir.join(name), then: then.into() })
    }

    /// Writes one line.
    ///
    /// # Errors
    /// When the file system is full, the folder gone, and the like.
    pub fn append(&mut self, line: &impl Serialize) -> Result<()> {
        append(&mut self.file, &self.path, line, &self.then)
    }
}

/// Opens a journal, or makes it.
///
/// # Errors
/// A usage error when the folder cannot be written.
pub fn open(dir: &Path, name: &str) -> Result<File> {
    let file = OpenOptions::new().create(true).append(true).open(dir.join(name));
    file.map_err(|error| cannot_write_into(dir, &error))
}

/// Writes one line into a journal that is open, which is at `path`.
///
/// # Errors
/// As [`Notebook::append`].
pub fn append(file: &mut File, path: &Path, line: &impl Serialize, then: &str) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let text = serde_json::to_string(line).context(Phase::Report, cannot())? + "\n";
    let written = file.write_all(text.as_bytes()).context(Phase::Report, cannot());
    written.map_err(|error: Error| error.hint(format!("the lines before are kept: make room, then {then}")))
}

/// As [`append`], of a journal that is not kept open.
///
/// # Errors
/// As [`append`], also when it cannot be opened.
pub fn append_to(path: &Path, line: &impl Serialize, then: &str) -> Result<()> {
    let file = OpenOptions::new().create(true).read(true).append(true).open(path);
    let file = file.context(Phase::Report, format!("cannot write {}", path.display()));
    let advice = || format!("see that the folder is yours, then {then}");
    let mut file = file.map_err(|error| error.hint(advice()))?;
    if is_cut(&mut file) {
        // What was cut when there was no room stays a line of its own.
        let _ = file.write_all(b"\n");
    }
    append(&mut file, path, line, then)
}

/// Whether the last line of a file has no end.
fn is_cut(file: &mut File) -> bool {
    let mut last = [b'\n'];
    file.seek(SeekFrom::End(-1)).and_then(|_| file.read(&mut last)).is_ok() && last != *b"\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device on which nothing has room.
    const FULL: &str = "/dev/full";

    #[test]
    fn lines_are_appended_and_a_full_file_system_is_named_with_phase_and_what_to_try() {
        let dir = tempfile::tempdir().unwrap();
        for line in ["one", "two"] {
            Notebook::open(dir.path(), "x.jsonl", "begin again").unwrap().append(&line).unwrap();
        }
        assert_eq!(std::fs::read_to_string(dir.path().join("x.jsonl")).unwrap(), "\"one\"\n\"two\"\n");
        std::os::unix::fs::symlink(FULL, dir.path().join("y.jsonl")).unwrap();
        let full = Notebook::open(dir.path(), "y.jsonl", "begin again").unwrap().append(&1).unwrap_err();
        assert_eq!(full.exit_code(), 1);
        let said = full.to_string();
        for part in ["y.jsonl (during report): No space left", "kept: make room, then begin again"] {
            assert!(said.contains(part), "{said}");
        }
        let again = append_to(&dir.path().join("y.jsonl"), &1, "begin again").unwrap_err();
        assert_eq!(again.to_string(), said);
    }

    #[test]
    fn a_line_that_was_cut_stays_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.jsonl");
        append_to(&path, &1, "again").unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"a").unwrap();
        (2..4).for_each(|line| append_to(&path, &line, "again").unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n{\"a\n2\n3\n");
    }

    #[test]
    fn what_cannot_be_opened_is_a_wrong_folder_at_first_and_a_failure_later() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("x.jsonl")).unwrap();
        let first = Notebook::open(dir.path(), "x.jsonl", "begin again").unwrap_err();
        assert_eq!(first.exit_code(), 2);
        assert!(first.to_string().ends_with("Is a directory (os error 21); choose another --out"), "{first}");
        let later = append_to(&dir.path().join("x.jsonl"), &1, "begin again").unwrap_err();
        assert_eq!(later.exit_code(), 1);
        assert!(later.to_string().ends_with("see that the folder is yours, then begin again"), "{later}");
    }
}

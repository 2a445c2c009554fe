//! Results folders: who may begin one, and files in it that are whole or not there.
//!
//! Key decision: a file that is written once gets its name when it is complete (rename(2)), so that whatever ends the
//! program, no reader finds a beginning of one; a journal is appended to, and its readers leave out a cut last line. The
//! folder is not made under another name and renamed as a whole: it may be there before, with files of its owner's. So
//! there is a moment at which a folder has its environment record and no journal; nothing was begun in it then, and the
//! next command may use it. A draft that a killed program left is replaced by the next one of the same file.
//! Rejected: fsync(2) before the rename; a loss of power is not what this is about.

pub mod notebook;

use crate::campaign::journal::{CAMPAIGN, CELLS};
use crate::claim::record::CLAIMS_FILE;
use crate::error::{Context, Error, Phase, Result};
use crate::faults::record::FAULTS_FILE;
use crate::host::Host;
use crate::transport::list::nearest;
use serde::Serialize;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

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

/// A folder without `name`, or one in which it cannot be read: what is wrong with it, and what to do instead.
pub fn missing(dir: &Path, name: &str, error: &io::Error) -> Error {
    let none = |why: &str| Error::usage(format!("{} holds no results", dir.display())).because(why);
    let makers = "`ipcost compare`, `ipcost claims` and `ipcost faults` make such folders, below results/ or at --out";
    match fs::metadata(dir) {
        Err(absent) if absent.kind() == ErrorKind::NotFound => {
            let absent = none("there is no such folder");
            absent.hint(meant(dir).map_or(makers.into(), |near| format!("did you mean {}?", near.display())))
        }
        Err(error) => none(&error.to_string()).hint("name a folder that you may look into"),
        Ok(meta) if !meta.is_dir() => {
            let parent = dir.parent().filter(|parent| begun(parent));
            none("it is a file").hint(match parent {
                Some(parent) => format!("name the folder that it lies in: {}", parent.display()),
                None => "name a results folder".into(),
            })
        }
        Ok(_) if error.kind() != ErrorKind::NotFound => {
            let cannot = Error::usage(format!("cannot read {}", dir.join(name).display())).because(error);
            cannot.hint("see that you may read it")
        }
        Ok(_) if Kind::of(dir) != Kind::Campaign => {
            let what = format!("{} holds {}, and a campaign is needed", dir.display(), Kind::of(dir).word());
            Error::usage(what).hint("choose a folder that `ipcost compare` wrote")
        }
        Ok(_) if begun(dir) => {
            let what = format!("{} is not whole", dir.display());
            Error::usage(what).because(format!("{name} is missing")).hint("restore it from a copy")
        }
        Ok(_) => none("nothing was begun in it").hint(match below(dir) {
            Some(inner) => format!("choose a folder below it, such as {}", inner.display()),
            None => makers.into(),
        }),
    }
}

/// Whether anything was measured, or was going to be.
fn begun(dir: &Path) -> bool {
    let lines = fs::metadata(dir.join(CELLS)).map_or(0, |meta| meta.len());
    lines > 0 || [CAMPAIGN, CLAIMS_FILE, FAULTS_FILE].iter().any(|name| dir.join(name).exists())
}

/// The folders in a folder, in the order of their names.
pub fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// The last results folder below this one, which may be that of all machines or of one.
fn below(dir: &Path) -> Option<PathBuf> {
    let inner = folders(dir);
    let innermost = inner.iter().flat_map(|host| folders(host));
    innermost.chain(inner.iter().cloned()).filter(|dir| begun(dir)).max()
}

/// The folder that was probably meant: the first part of the path that is not there, exchanged for a near name that is.
fn meant(dir: &Path) -> Option<PathBuf> {
    let here = |dir: &Path| if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir.into() };
    let there = dir.ancestors().skip(1).find(|above| here(above).is_dir())?;
    let mut parts = dir.strip_prefix(there).ok()?.components();
    let wrong = parts.next()?.as_os_str().to_str()?;
    let siblings = folders(&here(there));
    let names = siblings.iter().filter_map(|sibling| sibling.file_name()?.to_str());
    let near: Vec<PathBuf> = nearest(wrong, names).into_iter().map(|name| there.join(name)).collect();
    let rest = parts.as_path();
    let whole = |near: &PathBuf| if rest.as_os_str().is_empty() { near.clone() } else { near.join(rest) };
    near.iter().map(whole).find(|whole| whole.is_dir()).or_else(|| near.first().cloned())
}

/// Gives `dir/name` this text, all of it or nothing: whoever opens the file meanwhile sees the old one.
///
/// # Errors
/// When the folder cannot be written; what was there stays.
pub fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    replace(dir, name, text).map_err(|error| {
        let cannot = Error::failed(Phase::Report, format!("cannot write {}", dir.join(name).display())).because(error);
        cannot.hint("see that the folder is yours and its file system has room")
    })
}

fn replace(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let draft = dir.join(format!(".{name}.draft"));
    let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, dir.join(name)));
    written.inspect_err(|_| drop(fs::remove_file(&draft)))
}

/// As [`write()`], for something that is kept as JSON for people to read.
///
/// # Errors
/// Likewise.
pub fn write_json(dir: &Path, name: &str, value: &impl Serialize) -> Result<()> {
    write(dir, name, &pretty(value)?)
}

fn pretty(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value).context(Phase::Report, "cannot write JSON")? + "\n")
}

/// Makes the folder, with the environment record, unless it holds results: those of a campaign that was begun, of claims or
/// of faults.
///
/// # Errors
/// A usage error when it does, or cannot be made.
pub fn begin(dir: &Path, host: &Host) -> Result<()> {
    refuse_taken(dir)?;
    let text = pretty(host)?;
    let begun = fs::create_dir_all(dir).and_then(|()| replace(dir, HOST, &text));
    begun.map_err(|error| cannot_write_into(dir, &error))
}

/// That nothing can be begun in this folder.
fn cannot_write_into(dir: &Path, error: &io::Error) -> Error {
    Error::usage(format!("cannot write into {}", dir.display())).because(error).hint("choose another --out")
}

/// Refuses a folder in which something was begun.
fn refuse_taken(dir: &Path) -> Result<()> {
    if begun(dir) {
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
    fn a_folder_without_results_is_answered_with_why_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for folder in ["results/host-a/2026-01-01-000000", "results/host-b/2026-02-02-000000-faults", "empty"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("results/host-a/2026-01-01-000000").join(CELLS), "{").unwrap();
        fs::write(at("results/host-b/2026-02-02-000000-faults").join(FAULTS_FILE), "").unwrap();
        let said = |path: &str| {
            let error = missing(&at(path), CELLS, &ErrorKind::NotFound.into());
            assert_eq!(error.exit_code(), 2, "{path}");
            error.to_string().replace(&format!("{}/", dir.path().display()), "")
        };
        for (path, what) in [
            ("emtpy", "emtpy holds no results: there is no such folder; did you mean empty?"),
            ("resutls/host-a/2026-01-01-000000", "did you mean results/host-a/2026-01-01-000000?"),
            ("results/host-a/2026-01-01-000001", "did you mean results/host-a/2026-01-01-000000?"),
            ("nowhere/near/it", "there is no such folder; `ipcost compare`, `ipcost claims` and `ipcost faults` make"),
            ("empty", "empty holds no results: nothing was begun in it; `ipcost compare`, `ipcost claims` and"),
            ("results", "choose a folder below it, such as results/host-b/2026-02-02-000000-faults"),
            ("results/host-a", "choose a folder below it, such as results/host-a/2026-01-01-000000"),
            ("results/host-a/2026-01-01-000000/cells.jsonl", "in: results/host-a/2026-01-01-000000"),
            ("results/host-a/2026-01-01-000000", "is not whole: cells.jsonl is missing; restore it"),
            ("results/host-b/2026-02-02-000000-faults", "holds faults, and a campaign is needed; choose"),
        ] {
            assert!(said(path).contains(what), "{path}: {}", said(path));
        }
        let unreadable = missing(&at("empty"), CELLS, &ErrorKind::PermissionDenied.into()).to_string();
        assert!(unreadable.starts_with("cannot read") && unreadable.contains("may read it"), "{unreadable}");
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

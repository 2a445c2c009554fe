//! The folder of this user in which the tool keeps what others must not touch: default meeting places, and the registers
//! of what running programs have made.
//!
//! Key decision: `ipcost` in XDG_RUNTIME_DIR where that is a private folder of this user, else `ipcost-UID` in the folder for
//! temporary files, where anybody could have made it first; so whatever is there is looked at before it is used, and one
//! that is not private is refused, never repaired. Source: XDG Base Directory Specification, mkdir(2), inode(7).

use crate::error::{Context, Error, Phase, Result};
use crate::sys::trust::{self, Kind};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Where the folder may be, best first.
fn candidates() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|dir| dir.is_absolute() && look(dir).is_ok()).map(|dir| dir.join("ipcost"));
    let user = nix::unistd::geteuid().as_raw();
    runtime.into_iter().chain([std::env::temp_dir().join(format!("ipcost-{user}"))]).collect()
}

/// Opens a folder of this user that nobody else can enter.
fn look(dir: &Path) -> io::Result<File> {
    let folder = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(dir);
    let folder = folder.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP | libc::ENOTDIR) => io::Error::other("it is not a folder, or a symbolic link to one"),
        _ => error,
    })?;
    trust::own(&folder, Kind::Folder)?;
    Ok(folder)
}

/// The folder, made if it is not there.
///
/// # Errors
/// When it cannot be made, or what is there is not private.
pub fn folder() -> Result<PathBuf> {
    let dir = candidates().into_iter().next().unwrap_or_default();
    ready(&dir)?;
    Ok(dir)
}

/// A folder within it, likewise.
///
/// # Errors
/// As [`folder`].
pub fn subfolder(name: &str) -> Result<PathBuf> {
    let dir = folder()?.join(name);
    ready(&dir)?;
    Ok(dir)
}

fn ready(dir: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::failed(Phase::Start, format!("cannot make the folder {}", dir.display()))
                .because(error)
                .hint("set XDG_RUNTIME_DIR or TMPDIR to a folder of your own"));
        }
        _ => {}
    }
    let looked = look(dir).context(Phase::Start, format!("{} is no private folder of this user", dir.display()));
    looked
        .map(drop)
        .map_err(|error| error.hint("look who made it; set XDG_RUNTIME_DIR or TMPDIR to a folder of your own"))
}

/// The folders that are there and private, for whoever looks for what was left: those of this environment, and those of
/// programs that had the usual one, in /run/user and /tmp. The same folder by two names counts once.
pub fn existing() -> Vec<PathBuf> {
    let user = nix::unistd::geteuid().as_raw();
    private_of(candidates().into_iter().chain(standard(Path::new("/run/user"), Path::new("/tmp"), user)))
}

/// Where the folder of this user is in a usual environment. A runtime folder that is not private is not looked into.
fn standard(runtime: &Path, tmp: &Path, user: u32) -> impl Iterator<Item = PathBuf> {
    let runtime = Some(runtime.join(user.to_string())).filter(|dir| look(dir).is_ok());
    runtime.map(|dir| dir.join("ipcost")).into_iter().chain([tmp.join(format!("ipcost-{user}"))])
}

/// Those that this user alone can enter, each once.
fn private_of(dirs: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut seen = Vec::new();
    let new = |dir: &PathBuf| {
        let Ok(meta) = look(dir).and_then(|folder| folder.metadata()) else { return false };
        let identity = (meta.dev(), meta.ino());
        let new = !seen.contains(&identity);
        seen.push(identity);
        new
    };
    dirs.filter(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_usual_places_are_looked_into_if_they_are_private_and_once() {
        let outer = tempfile::tempdir().unwrap();
        let (run, tmp) = (outer.path().join("run"), outer.path().join("tmp"));
        let private = [run.join("7"), run.join("7/ipcost"), tmp.join("ipcost-7")];
        for dir in [&run, &private[0], &private[1], &tmp, &private[2]] {
            DirBuilder::new().mode(0o700).create(dir).unwrap();
        }
        let found = || private_of(standard(&run, &tmp, 7).chain([private[2].clone()]));
        assert_eq!(found(), private[1..]);
        fs::set_permissions(&private[0], fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(found(), private[2..], "a runtime folder that others can enter");
        fs::rename(&private[2], tmp.join("moved")).unwrap();
        symlink(tmp.join("moved"), &private[2]).unwrap();
        assert!(found().is_empty(), "a symbolic link");
    }

    #[test]
    fn a_folder_that_others_can_enter_or_a_link_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("ipcost");
        ready(&dir).unwrap();
        ready(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = ready(&dir).unwrap_err().to_string();
        assert!(refused.contains("0755"), "{refused}");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        let link = outer.path().join("link");
        symlink(&dir, &link).unwrap();
        assert!(ready(&link).unwrap_err().to_string().contains("symbolic link"));
    }
}

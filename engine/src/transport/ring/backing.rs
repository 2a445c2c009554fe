//! The kinds of memory under a ring.

use crate::error::{Context, Error, Phase, Result};
use crate::names::{self, Identity, Name, Seen, Thing};
use crate::plan::Parties;
use crate::shm::region::{PAGE, Region};
use crate::sys::map;
use crate::sys::trust::{self, Kind};
use crate::transport::{
    ALL_WAITS, BOTH, Bound, Config, Family, Meeting, PATTERNS, PeerDeath, Spec, UNLIMITED, file::file_system,
};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The memory under a ring.
pub trait Backing: Sized + 'static {
    /// What the mechanism over this memory is.
    const SPEC: &'static Spec;

    /// As [`Transport::bound`](crate::transport::Transport::bound).
    fn bound() -> Bound {
        Bound { size: Self::SPEC.max_size, set_by: None }
    }

    /// `len` zeroed bytes without a name.
    ///
    /// # Errors
    /// What the system says, with what to do about a full file system.
    fn region(cfg: &Config, len: usize) -> Result<Region>;

    /// `len` zeroed bytes that another program can open as `at`.
    ///
    /// # Errors
    /// When the name is taken or the mechanism has no names.
    fn create(at: &str, len: usize) -> Result<(Region, Name)> {
        let _ = (at, len);
        Err(unnamed(Self::SPEC))
    }

    /// What another program made as `at`, or `None` while there is nothing of use yet.
    ///
    /// # Errors
    /// When the mechanism has no names, or what lies there cannot be opened.
    fn open(at: &str) -> Result<Option<(Region, Seen)>> {
        let _ = at;
        Err(unnamed(Self::SPEC))
    }

    /// Removes what a dead program of this user left as `at`; leaves everything else alone.
    ///
    /// # Errors
    /// When `at` is no name.
    fn reclaim(at: &str) -> Result<()> {
        let _ = at;
        Ok(())
    }
}

fn unnamed(spec: &Spec) -> Error {
    Error::unsupported(format!("{} connects threads of one process, not two programs", spec.name))
}

/// An anonymous file in memory that can no longer change its length.
#[derive(Debug)]
pub struct Memfd;

impl Backing for Memfd {
    const SPEC: &'static Spec = &Spec {
        name: "shm-ring",
        summary: "ring in a sealed memfd; no system call unless somebody sleeps",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::WATCHED,
        patterns: PATTERNS,
        meeting: Meeting::ShmName,
        sources: &["memfd_create(2)", "mmap(2)", "futex(2)", "crate memmap2"],
    };

    fn region(cfg: &Config, len: usize) -> Result<Region> {
        let file = match cfg.pages.huge {
            true => huge_memfd(cfg, len)?,
            false => map::sealed_memfd(len).context(Phase::Setup, "cannot create a memfd")?,
        };
        let map = if cfg.pages.populate { map::map_populated } else { map::map_file };
        map(&file).context(Phase::Setup, "cannot map a memfd")
    }

    fn create(at: &str, len: usize) -> Result<(Region, Name)> {
        let (_, path) = posix_name(at)?;
        let (file, name) = names::place(&path, |draft| map::create_posix(&posix_draft(draft), len))?;
        Ok((map::map_file(&file).context(Phase::Start, "cannot map shared memory")?, name))
    }

    fn open(at: &str) -> Result<Option<(Region, Seen)>> {
        let (name, path) = posix_name(at)?;
        open_mapped(map::open_posix(&name), path)
    }

    fn reclaim(at: &str) -> Result<()> {
        posix_name(at).map(|(_, path)| names::reclaim(&Thing::file(path)))
    }
}

/// What raises the number of huge pages.
pub const POOL_HINT: &str = "the limit is vm.nr_hugepages (raise it with sysctl -w vm.nr_hugepages=COUNT)";

/// A memfd of at least `len` bytes in huge pages.
fn huge_memfd(cfg: &Config, len: usize) -> Result<File> {
    let none = || Error::unsupported("this kernel has no huge pages").hint("leave out --huge-pages");
    let (page, free) = map::huge_pages().ok_or_else(none)?;
    let needed = len.div_ceil(page);
    cfg.note("huge page bytes", page);
    map::sealed_huge_memfd(needed * page).map_err(|error| {
        Error::unsupported(format!("{needed} huge pages of {page} bytes are needed and {free} are free"))
            .because(error)
            .hint(POOL_HINT)
    })
}

/// A regular file, mapped by both.
#[derive(Debug)]
pub struct MappedFile;

impl Backing for MappedFile {
    const SPEC: &'static Spec = &Spec {
        name: "mmap-file",
        summary: "the ring of shm-ring in a mapped regular file (--dir chooses the file system)",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::WATCHED,
        patterns: PATTERNS,
        meeting: Meeting::Path,
        sources: &["mmap(2)", "fallocate(2)", "futex(2)", "crate memmap2"],
    };

    fn region(cfg: &Config, len: usize) -> Result<Region> {
        let cannot = || format!("cannot create a file in {}", cfg.dir.display());
        // `tempfile` removes the name before it returns, where the file system can; else right away.
        let file = names::nameless_in(&cfg.dir).map_err(|e| no_file(cannot(), &e))?;
        cfg.note("file system", file_system(&file));
        map::allocate(&file, len).map_err(|e| no_file(cannot(), &e))?;
        map::map_file(&file).context(Phase::Setup, "cannot map a file")
    }

    fn create(at: &str, len: usize) -> Result<(Region, Name)> {
        let (file, name) = names::place(Path::new(at), |draft| {
            let file = create_new(draft)?;
            map::allocate(&file, len).inspect_err(|_| drop(std::fs::remove_file(draft))).map(|()| file)
        })?;
        Ok((map::map_file(&file).context(Phase::Start, "cannot map the file")?, name))
    }

    fn open(at: &str) -> Result<Option<(Region, Seen)>> {
        open_mapped(open_existing(Path::new(at)), at.into())
    }

    fn reclaim(at: &str) -> Result<()> {
        names::reclaim(&Thing::file(at));
        Ok(())
    }
}

/// A named segment made by the `shared_memory` crate.
#[derive(Debug)]
pub struct Segment;

impl Backing for Segment {
    const SPEC: &'static Spec = &Spec {
        name: "posix-shm",
        summary: "the ring of shm-ring in a POSIX segment made by the shared_memory crate",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::WATCHED,
        patterns: PATTERNS,
        meeting: Meeting::ShmName,
        sources: &["shm_overview(7)", "futex(2)", "crate shared_memory (unmaintained since 2022)"],
    };

    fn region(_: &Config, len: usize) -> Result<Region> {
        let free = nix::sys::statvfs::statvfs("/dev/shm").context(Phase::Setup, "cannot look at /dev/shm")?;
        let free = free.blocks_available() * free.fragment_size();
        if (len as u64) > free {
            return Err(Error::unsupported(format!("/dev/shm has {free} bytes free and {len} are needed"))
                .hint("enlarge it (mount -o remount,size=..., docker --shm-size) or choose a smaller --size"));
        }
        let mut segment = shared_memory::ShmemConf::new()
            .size(len)
            .os_id(format!("/{}", names::invent()))
            .create()
            .context(Phase::Setup, "the shared_memory crate cannot create a segment")?;
        // The crate does not allocate what it maps: without this a full /dev/shm is a SIGBUS in the middle of a run.
        let taken = map::open_posix(segment.get_os_id()).and_then(|file| map::allocate(&file, len));
        // The owner's drop would unlink the name in whichever process drops first, so the name goes now.
        segment.set_owner(false);
        map::unlink_posix(segment.get_os_id());
        taken.context(Phase::Setup, format!("/dev/shm has no {len} bytes for a segment"))?;
        map::adopt(segment, len).context(Phase::Setup, "the shared_memory crate mapped too little")
    }

    fn create(at: &str, len: usize) -> Result<(Region, Name)> {
        let (_, path) = posix_name(at)?;
        let create = |draft: &Path| {
            let segment = shared_memory::ShmemConf::new().size(len).os_id(posix_draft(draft)).create();
            let segment = segment.map_err(io::Error::other)?;
            // As for `region`; the crate's handle removes the draft on the way out.
            map::open_posix(segment.get_os_id()).and_then(|file| map::allocate(&file, len)).map(|()| segment)
        };
        let (mut segment, name) = names::place(&path, create)?;
        segment.set_owner(false);
        Ok((map::adopt(segment, len).context(Phase::Start, "the shared_memory crate mapped too little")?, name))
    }

    fn open(at: &str) -> Result<Option<(Region, Seen)>> {
        let (name, path) = posix_name(at)?;
        // The crate opens whatever has the name. Once it is known to be this user's, nobody else can exchange it: the folder
        // lets only owners rename and remove.
        let Some((_, seen)) = opened(map::open_posix(&name), &path)? else { return Ok(None) };
        let Ok(segment) = shared_memory::ShmemConf::new().os_id(name).open() else { return Ok(None) };
        let len = segment.len();
        if len < PAGE {
            return Ok(None);
        }
        Ok(Some((map::adopt(segment, len).context(Phase::Start, "cannot use the segment")?, seen)))
    }

    fn reclaim(at: &str) -> Result<()> {
        Memfd::reclaim(at)
    }
}

/// The heap of one process.
#[derive(Debug)]
pub struct Heap;

impl Backing for Heap {
    const SPEC: &'static Spec = &Spec {
        name: "heap-ring",
        summary: "the ring of shm-ring on the heap, between threads",
        family: Family::Heap,
        parties: &[Parties::Thread],
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::THREADS,
        patterns: PATTERNS,
        meeting: Meeting::Never,
        sources: &["malloc(3)", "futex(2) with the private key"],
    };

    fn region(_: &Config, len: usize) -> Result<Region> {
        Ok(Region::heap(len))
    }
}

fn no_file(what: String, error: &io::Error) -> Error {
    Error::failed(Phase::Setup, what)
        .because(error)
        .hint("choose a writable folder with space, with --dir")
        .if_refused(error)
}

/// The POSIX name and the path that `at` means.
pub fn posix_name(at: &str) -> Result<(String, PathBuf)> {
    let name = at.trim_start_matches("/dev/shm/").trim_start_matches('/');
    if name.is_empty() || name.contains(['/', '\0']) || name.len() > 254 || matches!(name, "." | "..") {
        return Err(Error::usage(format!("{at:?} is no shared memory name")).hint("use a plain name such as ipcost-x"));
    }
    Ok((format!("/{name}"), Path::new("/dev/shm").join(name)))
}

/// The POSIX name of a draft in the folder of such names.
fn posix_draft(draft: &Path) -> String {
    format!("/{}", draft.file_name().unwrap_or_default().to_string_lossy())
}

/// Makes a new file that only its owner can read.
pub(in crate::transport) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens a file that a peer of this user made; never through a symbolic link, and nothing that others can open.
pub(in crate::transport) fn open_existing(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).map_err(trust::say)?;
    trust::own(&file, Kind::File)?;
    Ok(file)
}

/// What was opened, if it is this user's alone, and what it is; nothing there yet is `None`.
fn opened(file: io::Result<File>, path: &Path) -> Result<Option<(File, Seen)>> {
    let cannot = |error: io::Error| {
        let passing = trust::is_being_named(&error);
        let what = format!("cannot open {}", path.display());
        Error::failed(Phase::Start, what).because(error).hint("check its owner").passing_if(passing)
    };
    let file = match file.map_err(trust::say) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    trust::own(&file, Kind::File).map_err(cannot)?;
    let identity = Identity::of(&file.metadata().map_err(cannot)?);
    Ok(Some((file, Seen { thing: Thing::file(path), identity })))
}

/// Maps what was opened; nothing there yet, or too short to be laid out, is `None`.
fn open_mapped(file: io::Result<File>, path: PathBuf) -> Result<Option<(Region, Seen)>> {
    let Some((file, seen)) = opened(file, &path)? else { return Ok(None) };
    let region = map::map_file(&file).context(Phase::Start, format!("cannot map {}", path.display()))?;
    // The length of the mapping, not of the file, which may have another one a moment later.
    Ok((region.len() >= PAGE).then_some((region, seen)))
}

#[cfg(test)]
mod tests {
    use super::super::meeting::await_peer;
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_peer_that_is_just_being_named_is_waited_for_and_refused_when_patience_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (path, draft) = (dir.path().join("name"), dir.path().join("draft"));
        // As on a file system that cannot rename without replacing.
        create_new(&draft).unwrap().set_len(PAGE as u64).unwrap();
        std::fs::hard_link(&draft, &path).unwrap();
        let open = || OpenOptions::new().read(true).write(true).open(&path);
        let mut looks = 0;
        let look = || {
            looks += 1;
            if looks == 3 {
                std::fs::remove_file(&draft).unwrap();
            }
            opened(open(), &path)
        };
        assert!(await_peer(Duration::from_secs(60), "peer", "name", look).unwrap().is_some());
        assert_eq!(looks, 3);
        std::fs::hard_link(&path, &draft).unwrap();
        let refused = await_peer(Duration::from_millis(50), "peer", "name", || opened(open(), &path)).unwrap_err();
        assert!(refused.to_string().contains("it has 2 names"), "{refused}");
    }
}

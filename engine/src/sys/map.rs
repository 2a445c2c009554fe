//! Shared mappings: anonymous for the ledger, a sealed memfd, a file, POSIX shared memory.
//!
//! Key decision: `memmap2::MmapRaw`, which never pretends to be a slice, over descriptors whose length can no longer
//! change. A memfd is sealed against shrinking, because a peer that truncates the file would turn every access into
//! SIGBUS; space is allocated before it is mapped, because a full file system would do the same. Source:
//! memfd_create(2), fcntl(2) F_ADD_SEALS, posix_fallocate(3), shm_overview(7).

use crate::shm::region::Region;
use memmap2::{Advice, Mmap, MmapOptions, MmapRaw};
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::ptr::NonNull;

fn region_of(map: MmapRaw) -> Region {
    let (base, len) = (map.as_mut_ptr(), map.len());
    // SAFETY: the mapping is readable and writable, page-aligned, and lives as long as `map`, which the region keeps.
    unsafe { Region::owned(base, len, Box::new(map)) }
}

/// Maps the whole of `file`, shared.
///
/// # Errors
/// What mmap(2) says.
pub fn map_file(file: &File) -> io::Result<Region> {
    Ok(region_of(MmapOptions::new().map_raw(file)?))
}

/// A file without a name, whose bytes this program writes once and then reads only.
#[derive(Debug)]
pub struct Frozen(File);

impl Frozen {
    /// An empty file without a name in the folder for temporary files, filled by `write`.
    ///
    /// # Errors
    /// What open(2) with `O_TMPFILE` or `write` say.
    pub fn new(write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        write(&mut file)?;
        Ok(Self(file))
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// Its bytes, which all mappings of it share through the page cache.
    ///
    /// # Errors
    /// What mmap(2) says.
    pub fn map(&self) -> io::Result<Mmap> {
        // SAFETY: the file has no name and `write` has returned, so nobody can change or shrink it any more but code
        // that takes it from `file`, and this crate only reads there.
        unsafe { Mmap::map(&self.0) }
    }
}

/// Gives `file` exactly `len` bytes, with space on its file system really taken.
///
/// # Errors
/// ENOSPC when the file system is full, now instead of SIGBUS later.
pub fn allocate(file: &File, len: usize) -> io::Result<()> {
    file.set_len(len as u64)?;
    match fallocate(file.as_fd(), FallocateFlags::empty(), 0, len as i64) {
        // A file system without fallocate: its space cannot be promised.
        Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// An anonymous file of `len` bytes that can neither grow nor shrink any more.
///
/// # Errors
/// What memfd_create(2), ftruncate(2), fallocate(2) or fcntl(2) say.
pub fn sealed_memfd(len: usize) -> io::Result<File> {
    seal(File::from(memfd_create(c"ipcost", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?), len)
}

fn seal(file: File, len: usize) -> io::Result<File> {
    allocate(&file, len)?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file)
}

/// Bytes of a huge page of the default size, and how many of the pool are free. Source: proc(5).
pub fn huge_pages() -> Option<(usize, usize)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let number = |key: &str| -> Option<usize> {
        text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
    };
    Some((number("Hugepagesize:")? << 10, number("HugePages_Free:")?))
}

/// As [`sealed_memfd`], in huge pages of the default size, of which `len` is a multiple.
///
/// # Errors
/// ENOSPC or ENOMEM when the pool has too few, EINVAL or ENOSYS when the kernel has none.
pub fn sealed_huge_memfd(len: usize) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_HUGETLB;
    seal(File::from(memfd_create(c"ipcost", flags)?), len)
}

/// As [`map_file`], with every page there and in this process's page table. Source: mmap(2), `MAP_POPULATE`.
///
/// # Errors
/// What mmap(2) says.
pub fn map_populated(file: &File) -> io::Result<Region> {
    Ok(region_of(MmapOptions::new().populate().map_raw(file)?))
}

/// Zeroed memory that a forked child shares with its parent. Where memfd_create(2) is refused it is a mapping without a file:
/// the harness needs such memory for mechanisms, too, that can do without.
///
/// # Errors
/// As [`sealed_memfd`] and mmap(2).
pub fn anonymous_shared(len: usize) -> io::Result<Region> {
    let len = len.next_multiple_of(crate::shm::region::PAGE);
    match sealed_memfd(len) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS | libc::EACCES)) => fileless(len),
        file => map_file(&file?),
    }
}

/// Zeroed shared memory that has no file.
fn fileless(len: usize) -> io::Result<Region> {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    struct Mapped(NonNull<c_void>, usize);
    // SAFETY: an address and a length, used once, to unmap.
    unsafe impl Send for Mapped {}
    // SAFETY: nothing is reachable through a shared reference to it.
    unsafe impl Sync for Mapped {}
    impl Drop for Mapped {
        fn drop(&mut self) {
            // SAFETY: the range came from mmap, and nothing points there any more: the region is being dropped.
            let _ = unsafe { munmap(self.0, self.1) };
        }
    }
    let size = NonZero::new(len).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: without a wish for an address the kernel chooses one where nothing is mapped.
    let base =
        unsafe { mmap_anonymous(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED) }?;
    // SAFETY: the mapping is readable and writable, page-aligned and zeroed, and lives until the owner is dropped.
    Ok(unsafe { Region::owned(base.as_ptr().cast(), len, Box::new(Mapped(base, len))) })
}

/// Who else sees a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody: anonymous memory, copied when a child writes.
    Private,
    /// Whoever has the file: a sealed memfd.
    Shared,
}

/// Fresh memory of which no page was touched yet, and which the kernel is asked to map page by page. Source:
/// madvise(2).
///
/// # Errors
/// As [`sealed_memfd`] and mmap(2).
pub fn small_pages(len: usize, sharing: Sharing) -> io::Result<Region> {
    let map: MmapRaw = match sharing {
        Sharing::Private => MmapOptions::new().len(len).map_anon()?.into(),
        Sharing::Shared => MmapOptions::new().map_raw(&sealed_memfd(len)?)?,
    };
    // A kernel without huge pages refuses, and has none to avoid.
    let _ = map.advise(Advice::NoHugePage);
    Ok(region_of(map))
}

/// Fresh private memory of which no page was touched yet, and which the kernel is asked to map in huge pages; whether it
/// does is seen in [`super::memory`] once the memory was touched. Source: madvise(2).
///
/// # Errors
/// EINVAL from a kernel without huge pages, and what mmap(2) says.
pub fn in_huge_pages(len: usize) -> io::Result<Region> {
    let map: MmapRaw = MmapOptions::new().len(len).map_anon()?.into();
    map.advise(Advice::HugePage)?;
    Ok(region_of(map))
}

/// A named POSIX shared memory object, made new and readable by its owner only.
///
/// # Errors
/// EEXIST when the name is taken; ENOSPC when /dev/shm is full.
pub fn create_posix(name: &str, len: usize) -> io::Result<File> {
    use nix::fcntl::OFlag;
    use nix::sys::stat::Mode;
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let file = File::from(nix::sys::mman::shm_open(name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
    allocate(&file, len).inspect_err(|_| unlink_posix(name))?;
    Ok(file)
}

/// Opens a named POSIX shared memory object that somebody else made.
///
/// # Errors
/// ENOENT when there is none.
pub fn open_posix(name: &str) -> io::Result<File> {
    use nix::fcntl::OFlag;
    Ok(File::from(nix::sys::mman::shm_open(name, OFlag::O_RDWR | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?))
}

/// Removes the name of a POSIX shared memory object.
pub fn unlink_posix(name: &str) {
    let _ = nix::sys::mman::shm_unlink(name);
}

/// Maps a segment of the `shared_memory` crate; the region keeps the crate's handle and through it the mapping.
///
/// # Errors
/// When the crate mapped fewer bytes than were asked for (it maps the size that it finds).
pub fn adopt(segment: shared_memory::Shmem, len: usize) -> io::Result<Region> {
    struct Handle(#[allow(dead_code)] shared_memory::Shmem);
    // SAFETY: the handle is an address, a length, a descriptor and a name; it is only kept, and dropped once.
    unsafe impl Send for Handle {}
    // SAFETY: nothing is reachable through a shared reference to it.
    unsafe impl Sync for Handle {}
    if segment.len() < len {
        return Err(io::Error::other(format!("the segment holds {} bytes instead of {len}", segment.len())));
    }
    let base = segment.as_ptr();
    // SAFETY: the crate maps `len()` bytes readable and writable at a page boundary until the handle is dropped.
    Ok(unsafe { Region::owned(base, len, Box::new(Handle(segment))) })
}
/// Fills the calling process's page table for these bytes, ready to be written, as if every page were written and nothing
/// changed. Source: madvise(2) MADV_POPULATE_WRITE.
///
/// # Errors
/// EINVAL before Linux 5.14 and for memory that has no such pages, EFAULT where no page can be had.
///
/// # Safety
/// `len` bytes from `base`, which is at a page boundary, must be mapped.
pub unsafe fn populate(base: *mut u8, len: usize) -> io::Result<()> {
    loop {
        // SAFETY: the range is mapped by this function's contract, and the advice changes no byte of it.
        let result = unsafe { libc::madvise(base.cast(), len, libc::MADV_POPULATE_WRITE) };
        match io::Error::last_os_error() {
            _ if result == 0 => return Ok(()),
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}

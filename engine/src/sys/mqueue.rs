//! POSIX message queues. Source: mq_overview(7), mq_open(3), mq_send(3), mq_receive(3), mq_unlink(3).
//!
//! Key decision: `nix`, always with attributes and a mode (without attributes it passes none to a call that reads them),
//! and a close on drop, which its descriptor lacks. On Linux a queue's descriptor is a file descriptor: fork shares it,
//! poll(2) waits for it, and `O_NONBLOCK` belongs to what one mq_open made, so each end opens the queue for itself.
//! What carries a message is called in place, by [`syscall!`]: with the functions of `nix` and of the C library around it a
//! message took 1.8 times as long on a machine where returns after system calls are mispredicted.

use super::{lock, trust};
use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_open, mq_unlink};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::Mode;
use rustix::fs::fstat;
use rustix::time::{ClockId, clock_gettime};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use syscalls::{Sysno, syscall};

/// No time at which a call gives up.
const NEVER: *const libc::timespec = ptr::null();

/// An open message queue.
#[derive(Debug)]
pub struct Queue(MqdT);

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the descriptor came from mq_open, is this value's alone, and is closed only here; on Linux mq_close(3) is
        // close(2).
        drop(unsafe { OwnedFd::from_raw_fd(self.0.as_raw_fd()) });
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What an open queue is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// `O_WRONLY`.
    Send,
    /// `O_RDONLY`.
    Receive,
}

fn flags(what: Use) -> MQ_OFlag {
    let access = if what == Use::Send { MQ_OFlag::O_WRONLY } else { MQ_OFlag::O_RDONLY };
    access | MQ_OFlag::O_CLOEXEC
}

impl Queue {
    /// Makes a new queue for `depth` messages of at most `size` bytes that its owner alone can open, and opens it to send.
    ///
    /// # Errors
    /// EEXIST when the name (with its slash) is taken, EINVAL above `/proc/sys/fs/mqueue`, EMFILE above RLIMIT_MSGQUEUE,
    /// ENOSYS without the kernel's `CONFIG_POSIX_MQUEUE`.
    pub fn create(name: &str, depth: usize, size: usize) -> io::Result<Self> {
        let flags = flags(Use::Send) | MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL;
        let attributes = MqAttr::new(0, depth as i64, size as i64, 0);
        Ok(Self(mq_open(name, flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&attributes))?))
    }

    /// Opens a queue that somebody made.
    ///
    /// # Errors
    /// ENOENT when there is none.
    pub fn open(name: &str, what: Use) -> io::Result<Self> {
        Ok(Self(mq_open(name, flags(what), Mode::empty(), None)?))
    }

    /// As [`open`](Self::open), for a queue that this user made for itself alone.
    ///
    /// # Errors
    /// Likewise, and as [`trust::own`].
    pub fn open_own(name: &str, what: Use) -> io::Result<Self> {
        let queue = Self::open(name, what)?;
        trust::own(&queue, trust::Kind::File)?;
        Ok(queue)
    }

    /// Bytes of the largest message that it takes. Source: mq_getattr(3).
    ///
    /// # Errors
    /// What mq_getattr(3) says.
    pub fn message_size(&self) -> io::Result<usize> {
        Ok(nix::mqueue::mq_getattr(&self.0)?.msgsize() as usize)
    }

    /// Sends one message, of priority 0 as all of them.
    ///
    /// # Errors
    /// What mq_send(3) says, EINTR too.
    #[inline(always)]
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        // SAFETY: the kernel reads that many bytes there, and no time.
        unsafe { syscall!(Sysno::mq_timedsend, self.0.as_raw_fd(), message.as_ptr(), message.len(), 0, NEVER) }?;
        Ok(())
    }

    /// Receives the oldest message and returns its length. `buffer` must hold the queue's largest one.
    ///
    /// # Errors
    /// What mq_receive(3) says, EINTR too.
    #[inline(always)]
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let unwanted = ptr::null_mut::<u32>();
        // SAFETY: the kernel writes at most that many bytes there, which are borrowed for the call, no priority, and reads no time.
        let read = unsafe {
            syscall!(Sysno::mq_timedreceive, self.0.as_raw_fd(), buffer.as_mut_ptr(), buffer.len(), unwanted, NEVER)
        };
        Ok(read?)
    }
}

impl Queue {
    /// Waits for the exclusive lock of the queue, at most two seconds; it is given back when this is dropped.
    ///
    /// # Errors
    /// `TimedOut`.
    pub fn lock(&self) -> io::Result<()> {
        lock::exclusive(self)
    }
}

/// The names of all queues, each with its slash.
///
/// # Errors
/// Where the mqueue file system is not mounted and this process may not mount it for itself.
pub fn list() -> io::Result<Vec<String>> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mounted = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next().filter(|_| fields.next() == Some("mqueue"))
    });
    match mounted {
        Some(place) => names_in(Path::new(place)),
        None => std::thread::spawn(list_mounted_here).join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())),
    }
}

fn names_in(place: &Path) -> io::Result<Vec<String>> {
    let names = std::fs::read_dir(place)?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.map(|name| format!("/{name}")).collect())
}

/// The names in a mount that only the calling thread sees, and that ends with it. Source: unshare(2), mount(2).
fn list_mounted_here() -> io::Result<Vec<String>> {
    let place = crate::names::folder_in(&std::env::temp_dir())?;
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
    let path = CString::new(place.path().as_os_str().as_bytes())?;
    let mount = |target: &CStr, kind: Option<&CStr>, flags| {
        let kind = kind.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: all pointers are texts that end in a zero byte and outlive the call, or null where the kernel ignores them.
        let result = unsafe { libc::mount(c"none".as_ptr(), target.as_ptr(), kind, flags, std::ptr::null()) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // Else the new mount would show outside.
    mount(c"/", None, libc::MS_REC | libc::MS_PRIVATE)?;
    mount(&path, Some(c"mqueue"), 0)?;
    let names = names_in(place.path());
    // SAFETY: the path is a text that ends in a zero byte.
    unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    names
}

/// The user that a queue belongs to.
///
/// # Errors
/// EACCES when it lets nobody else open it; ENOENT.
pub fn owner(name: &str) -> io::Result<u32> {
    Ok(fstat(Queue::open(name, Use::Receive)?)?.st_uid)
}

/// Bytes of the messages that lie in a queue at most: their number times the largest size.
///
/// # Errors
/// As [`Queue::open`].
pub fn held(name: &str) -> io::Result<u64> {
    let queue = Queue::open(name, Use::Receive)?;
    let attributes = nix::mqueue::mq_getattr(&queue.0)?;
    Ok(attributes.curmsgs() as u64 * attributes.msgsize() as u64)
}

/// Takes the name of a queue away; who has it open keeps it.
///
/// # Errors
/// ENOENT when there is none, EACCES when it is another user's.
pub fn unlink(name: &str) -> io::Result<()> {
    Ok(mq_unlink(name)?)
}

/// Device and inode of the queue of that name.
///
/// # Errors
/// ENOENT when there is none.
pub fn identity(name: &str) -> io::Result<(u64, u64)> {
    let stat = fstat(Queue::open(name, Use::Receive)?)?;
    Ok((stat.st_dev as u64, stat.st_ino as u64))
}

/// What `/proc/sys/fs/mqueue` and RLIMIT_MSGQUEUE allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest message, bytes (`msgsize_max`).
    pub size: usize,
    /// Most messages in a queue (`msg_max`).
    pub depth: usize,
    /// Whether this process may exceed both, up to [`HARD_SIZE`] and [`HARD_DEPTH`]; see [`is_exempt`].
    pub exempt: bool,
    /// Bytes for all queues of a user together.
    pub bytes: usize,
}

/// Largest message of a process that is exempt from the settings, bytes (`HARD_MSGSIZEMAX` of the kernel).
pub const HARD_SIZE: usize = 16 << 20;
/// Most messages, likewise (`HARD_MSGMAX`).
pub const HARD_DEPTH: usize = 65_536;
/// Bytes that the kernel counts for a message besides its own: the headers of the message and of a priority. Those of
/// 64-bit kernels; where they are smaller, the queue is a little less deep than it could be.
pub const OVERHEAD: usize = 96;

/// The limits of this process, as if it were exempt from the settings.
///
/// # Errors
/// ENOSYS, or ENOENT where the settings cannot be read: this kernel or sandbox has no such queues.
pub fn limits() -> io::Result<Limits> {
    let setting = |name: &str| -> io::Result<usize> {
        let text = std::fs::read_to_string(format!("/proc/sys/fs/mqueue/{name}"))?;
        text.trim().parse().map_err(io::Error::other)
    };
    let (bytes, _) = getrlimit(Resource::RLIMIT_MSGQUEUE)?;
    let (size, depth) = (setting("msgsize_max")?, setting("msg_max")?);
    Ok(Limits { size, depth, exempt: true, bytes: bytes.min(1 << 40) as usize })
}

/// Whether this process may exceed the settings, as CAP_SYS_RESOURCE lets it. Asked by trying: the capability does not
/// count inside a user namespace.
pub fn is_exempt(limits: &Limits) -> bool {
    let name = format!("/{}", crate::names::invent());
    // The kernel looks at the settings before it looks at the bytes, of which only an unlimited user has enough for this: so
    // nothing is made that a kill could leave. An exempt process is told that the bytes are too many.
    let refused = Queue::create(&name, HARD_DEPTH.max(limits.depth), HARD_SIZE.max(limits.size));
    let refused = refused.is_err_and(|error| is_over_setting(&error));
    let _ = unlink(&name);
    !refused
}

/// A queue that a process was about to make, and the time before it did, in seconds since 1970: the file system of
/// queues keeps no finer one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Intent {
    /// Its name, with the slash.
    pub name: String,
    /// Messages.
    pub depth: usize,
    /// Bytes of the largest one.
    pub size: usize,
    since: u64,
}

impl Intent {
    /// To make it now.
    pub fn now(name: &str, depth: usize, size: usize) -> Self {
        // The clock by which the kernel dates what it makes: a finer one may be ahead of it.
        let now = clock_gettime(ClockId::RealtimeCoarse);
        Self { name: name.into(), depth, size, since: now.tv_sec as u64 }
    }

    /// Device and inode of the queue of that name if it can be the one that was to be made: this user's for itself alone, of
    /// that depth and size, made since, and with nothing in it, as one is before its maker has said whose it is.
    pub fn fulfilled(&self) -> Option<(u64, u64)> {
        let queue = Queue::open_own(&self.name, Use::Receive).ok()?;
        let (has, stat) = (nix::mqueue::mq_getattr(&queue.0).ok()?, fstat(&queue).ok()?);
        let made = stat.st_ctime as u64;
        let shape = (has.maxmsg() as usize, has.msgsize() as usize, has.curmsgs());
        (shape == (self.depth, self.size, 0) && made >= self.since).then_some((stat.st_dev, stat.st_ino))
    }
}

/// Whether `error` says that a setting in `/proc/sys/fs/mqueue` was exceeded.
pub fn is_over_setting(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EINVAL as i32)
}

/// Whether `error` says that RLIMIT_MSGQUEUE was exceeded.
pub fn is_over_bytes(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EMFILE as i32)
}

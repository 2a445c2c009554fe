//! System V message queues and shared memory. Source: sysvipc(7), msgget(2), msgop(2), msgctl(2), shmget(2), shmop(2),
//! shmctl(2).
//!
//! Key decision: keys that begin with `0x1bc`, never `IPC_PRIVATE`. A System V object outlives every process that knows it,
//! so one that a killed run leaves must be recognisable: by its key as ours, and by the process ids that the kernel keeps
//! in it as nobody's. Of a queue it keeps none until somebody uses it; so whoever makes one sets a [`Mark`] first.
//! Rejected: ftok(3), which makes keys that nobody can tell apart; a line in a file before each queue, which costs more than
//! the queue.
//!
//! Messages are sent and received in place, by [`syscall!`], as those of [`mqueue`](super::mqueue).

use crate::shm::region::Region;
use crate::sys::process;
use std::io::{self, ErrorKind};
use std::ptr;
use syscalls::{Errno, Sysno, syscall};

/// The keys of this tool: this and the 2^20 - 1 that follow.
pub const KEYS: std::ops::Range<i32> = 0x1bc0_0000..0x1bd0_0000;

/// From the key of a queue to that of its [`Mark`], which is no key that people may choose.
const TO_MARK: i32 = 0x10_0000;

/// Only the owner may read and write.
const MODE: i32 = 0o600;

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A message with room for its type and `size` bytes of text, as msgsnd(2) wants it in memory.
#[derive(Debug)]
pub struct Letter {
    /// The type, then the text: words, so that the type is aligned.
    words: Box<[libc::c_long]>,
    size: usize,
}

impl Letter {
    /// Room for a message of `size` bytes of type `kind`.
    ///
    /// # Panics
    /// If `kind` is not greater than zero, as msgsnd(2) demands.
    pub fn new(kind: i32, size: usize) -> Self {
        assert!(kind > 0, "a message's type is positive");
        let mut words = vec![0; 1 + size.div_ceil(size_of::<libc::c_long>())].into_boxed_slice();
        words[0] = kind.into();
        Self { words, size }
    }

    /// The type of the message that lies here.
    #[inline(always)]
    pub fn kind(&self) -> i32 {
        self.words[0] as i32
    }

    /// The text.
    #[inline(always)]
    pub fn text(&self) -> &[u8] {
        // SAFETY: `new` made `size` bytes of room behind the first word, and any byte is a valid u8.
        unsafe { std::slice::from_raw_parts(self.words[1..].as_ptr().cast(), self.size) }
    }

    /// The place of the text.
    #[inline(always)]
    pub fn text_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `text`, and `&mut self` makes the slice the only one.
        unsafe { std::slice::from_raw_parts_mut(self.words[1..].as_mut_ptr().cast(), self.size) }
    }
}

/// Whether a call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Until there is room, or a message.
    Sleep,
    /// Not at all (`IPC_NOWAIT`): `WouldBlock` instead.
    None,
}

impl Patience {
    #[inline(always)]
    fn flag(self) -> i32 {
        if self == Patience::None { libc::IPC_NOWAIT } else { 0 }
    }
}

/// Makes a new message queue and returns its identifier.
///
/// # Errors
/// EEXIST when the key is taken, ENOSPC when the system has `/proc/sys/kernel/msgmni` queues, ENOSYS where there are none.
pub fn create_queue(key: i32) -> io::Result<i32> {
    // SAFETY: msgget takes two integers.
    checked(unsafe { libc::msgget(key, libc::IPC_CREAT | libc::IPC_EXCL | MODE) })
}

/// Says who is about to make the queue with some key, until it is dropped: a segment of a page, in which the kernel keeps
/// its maker from the first moment.
#[derive(Debug)]
pub struct Mark(i32);

impl Mark {
    /// Sets it. `None` where there are no segments, or a living process has set it already: a queue whose maker is killed
    /// before its first message then belongs to nobody who can be told.
    pub fn set(key: i32) -> Option<Self> {
        let set = || create_segment(key + TO_MARK, 1);
        let set = match set() {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                marks().iter().filter(|mark| mark.key == key + TO_MARK && mark.is_abandoned()).for_each(|mark| {
                    let _ = mark.remove();
                });
                create_segment(key + TO_MARK, 1)
            }
            set => set,
        };
        set.ok().map(Self)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let _ = remove_segment(self.0);
    }
}

/// The identifier of the queue that somebody made with `key`.
///
/// # Errors
/// ENOENT when there is none, EACCES when it is another user's.
pub fn find_queue(key: i32) -> io::Result<i32> {
    // SAFETY: msgget takes two integers.
    checked(unsafe { libc::msgget(key, MODE) })
}

/// Sends one message of `letter`'s type and whole text.
///
/// # Errors
/// EIDRM or EINVAL when the queue was removed, EAGAIN, EINTR, what else msgsnd(2) says.
#[inline(always)]
pub fn send(id: i32, letter: &Letter, patience: Patience) -> io::Result<()> {
    // SAFETY: the letter holds the type and `size` bytes of text in one allocation.
    unsafe { syscall!(Sysno::msgsnd, id, letter.words.as_ptr(), letter.size, patience.flag()) }?;
    Ok(())
}

/// Receives the oldest message into `letter` and returns the length of its text.
///
/// # Errors
/// EIDRM or EINVAL when the queue was removed, ENOMSG (as `WouldBlock`), E2BIG when it does not fit, EINTR.
#[inline(always)]
pub fn receive(id: i32, letter: &mut Letter, patience: Patience) -> io::Result<usize> {
    // SAFETY: the letter has room for a type and `size` bytes of text in one allocation.
    let got = unsafe { syscall!(Sysno::msgrcv, id, letter.words.as_mut_ptr(), letter.size, 0, patience.flag()) };
    got.map_err(|error| if error == Errno::ENOMSG { ErrorKind::WouldBlock.into() } else { error.into() })
}

/// Whether `error` says that the queue does not exist any more.
pub fn is_removed(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIDRM | libc::EINVAL))
}

/// What the kernel knows about a queue.
///
/// # Errors
/// EIDRM or EINVAL when it is gone.
fn status(id: i32) -> io::Result<libc::msqid_ds> {
    // SAFETY: all zero is a valid value of this structure of integers.
    let mut found: libc::msqid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one such structure.
    checked(unsafe { libc::msgctl(id, libc::IPC_STAT, &mut found) })?;
    Ok(found)
}

/// The processes that last sent to and last received from a queue; 0 for nobody yet.
///
/// # Errors
/// EIDRM or EINVAL when it is gone.
pub fn users(id: i32) -> io::Result<[u32; 2]> {
    status(id).map(|found| [found.msg_lspid as u32, found.msg_lrpid as u32])
}

/// Asks for room for `bytes` of text in a queue and returns what it has. More than `/proc/sys/kernel/msgmnb` needs
/// CAP_SYS_RESOURCE; without it the queue keeps what it had.
///
/// # Errors
/// EIDRM or EINVAL when it is gone.
pub fn set_capacity(id: i32, bytes: usize) -> io::Result<usize> {
    let mut wanted = status(id)?;
    wanted.msg_qbytes = bytes as libc::msglen_t;
    // SAFETY: the kernel reads owner, mode and capacity from the structure.
    let _ = checked(unsafe { libc::msgctl(id, libc::IPC_SET, &mut wanted) });
    Ok(status(id)?.msg_qbytes as usize)
}

/// Removes a queue with all that is in it, and wakes whoever waits for it.
///
/// # Errors
/// EINVAL or EIDRM when it is gone already; EPERM when it is another user's.
pub fn remove_queue(id: i32) -> io::Result<()> {
    // SAFETY: IPC_RMID ignores the structure.
    checked(unsafe { libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()) }).map(drop)
}

/// Which of the two a System V object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A message queue.
    Queue,
    /// A shared memory segment.
    Segment,
}

/// A queue or segment with one of our [`KEYS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub sort: Sort,
    /// Its key.
    pub key: i32,
    /// Its identifier.
    pub id: i32,
    /// Permission bits.
    pub mode: u32,
    /// Bytes in it.
    pub bytes: u64,
    /// The processes that last sent to a queue and last received from it, as [`users`] says, or before that the one that
    /// made it, if its [`Mark`] says; those that made a segment and last attached or detached it.
    pub users: [u32; 2],
    /// When it was made, or its properties were changed: seconds since 1970.
    changed: u64,
    /// Whether somebody used it who cannot be seen from here: whose number reads as 0, as nobody's does, but whose time is
    /// there.
    unseen: bool,
    /// How many have a segment attached.
    pub attached: u32,
    /// The user that it belongs to.
    pub user: u32,
}

impl Found {
    /// Whether it is as this tool makes them and nobody who ever used it is left: every user is a process, and each of them
    /// has ended. Process ids are used again: then it is not. One that a process of another name space used, which may live,
    /// is left alone.
    pub fn is_abandoned(&self) -> bool {
        let private = self.mode & 0o777 == MODE as u32;
        private && self.attached == 0 && self.users != [0, 0] && !self.unseen && !self.is_used()
    }

    /// Whether a process that used it still runs.
    pub fn is_used(&self) -> bool {
        self.attached > 0 || self.users.iter().any(|pid| *pid != 0 && !process::is_gone(*pid))
    }

    /// Removes it.
    ///
    /// # Errors
    /// As [`remove_queue`].
    pub fn remove(&self) -> io::Result<()> {
        match self.sort {
            Sort::Queue => remove_queue(self.id),
            Sort::Segment => remove_segment(self.id),
        }
    }

    /// What to call it.
    pub fn words(&self) -> String {
        let what = if self.sort == Sort::Queue { "queue" } else { "segment" };
        format!("System V {what} {:#x}", self.key)
    }
}

/// All queues with one of our keys. Source: `/proc/sysvipc/msg` in proc(5).
pub fn queues() -> Vec<Found> {
    let mut queues = table("msg", Sort::Queue, 0);
    if queues.iter().any(|queue| queue.users == [0, 0]) {
        attribute(&mut queues, &marks());
    }
    queues
}

/// Enters the makers of queues that nobody has used. A queue that was there before its mark is somebody else's.
fn attribute(queues: &mut [Found], marks: &[Found]) {
    for queue in queues.iter_mut().filter(|queue| queue.users == [0, 0]) {
        let fits =
            |mark: &&Found| mark.key == queue.key + TO_MARK && mark.user == queue.user && mark.mode == queue.mode;
        if let Some(mark) = marks.iter().filter(fits).find(|mark| mark.changed <= queue.changed) {
            queue.users[0] = mark.users[0];
        }
    }
}

fn marks() -> Vec<Found> {
    table("shm", Sort::Segment, TO_MARK)
}

/// All queues and segments with one of our keys, marks included.
pub fn objects() -> Vec<Found> {
    queues().into_iter().chain(table("shm", Sort::Segment, 0)).chain(marks()).collect()
}

/// The objects of a table whose keys are ours, so far from there.
fn table(name: &str, sort: Sort, from: i32) -> Vec<Found> {
    let text = std::fs::read_to_string(format!("/proc/sysvipc/{name}")).unwrap_or_default();
    let ours = |found: &Found| KEYS.contains(&(found.key.wrapping_sub(from)));
    text.lines().skip(1).filter_map(|line| found(line, sort)).filter(ours).collect()
}

/// The shared memory segments that process `pid` made and that are still there. Source: `/proc/sysvipc/shm` in proc(5).
pub fn segments_of(pid: u32) -> Vec<i32> {
    let text = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    // Columns: key, shmid, perms, size, cpid, ...
    let made = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().take(5).collect();
        (words.get(4)?.parse() == Ok(pid)).then(|| words[1].parse().ok())?
    };
    text.lines().skip(1).filter_map(made).collect()
}

/// A line of a table: key, msqid, perms, cbytes, qnum, lspid, lrpid, uid, ... or key, shmid, perms, size, cpid, lpid, nattch,
/// uid, and in both gid, cuid, cgid, two times, ctime.
fn found(line: &str, sort: Sort) -> Option<Found> {
    let words: Vec<_> = line.split_whitespace().collect();
    let number = |index: usize| words.get(index)?.parse::<u64>().ok();
    let (users, attached) = match sort {
        Sort::Queue => ([number(5)? as u32, number(6)? as u32], 0),
        Sort::Segment => ([number(4)? as u32, number(5)? as u32], number(6)? as u32),
    };
    let (first, second) = (number(11)? != 0, number(12)? != 0);
    let unseen = match sort {
        // The times of the last sending and receiving.
        Sort::Queue => (users[0] == 0 && first) || (users[1] == 0 && second),
        // Those of the last attaching and detaching; a segment always has a maker.
        Sort::Segment => users[0] == 0 || (users[1] == 0 && (first || second)),
    };
    Some(Found {
        sort,
        // A key may be negative.
        key: words.first()?.parse().ok()?,
        id: words.get(1)?.parse().ok()?,
        mode: u32::from_str_radix(words.get(2)?, 8).ok()?,
        bytes: number(3)?,
        users,
        unseen,
        attached,
        user: number(7)? as u32,
        changed: number(13)?,
    })
}

/// Refuses an object that this user did not make for itself alone.
///
/// # Errors
/// `PermissionDenied` that says why; EINVAL or EIDRM when it is gone.
pub fn own(sort: Sort, id: i32) -> io::Result<()> {
    let perm = match sort {
        Sort::Queue => status(id)?.msg_perm,
        Sort::Segment => {
            // SAFETY: all zero is a valid value of this structure of integers.
            let mut found: libc::shmid_ds = unsafe { std::mem::zeroed() };
            // SAFETY: the kernel writes one such structure.
            checked(unsafe { libc::shmctl(id, libc::IPC_STAT, &mut found) })?;
            found.shm_perm
        }
    };
    let me = nix::unistd::geteuid().as_raw();
    let refused = |why: String| Err(io::Error::new(ErrorKind::PermissionDenied, why));
    match (perm.uid, u32::from(perm.mode) & 0o777) {
        (user, _) if user != me || perm.cuid != me => {
            refused(format!("it belongs to user {user}, made by user {}, and this is user {me}", perm.cuid))
        }
        (_, mode) if mode != MODE as u32 => refused(format!("its mode {mode:04o} lets others in")),
        _ => Ok(()),
    }
}

/// Removes the objects of this user with one of our keys whose users have all ended: what runs that were killed left behind.
pub fn remove_abandoned() {
    let me = nix::unistd::geteuid().as_raw();
    objects().iter().filter(|found| found.user == me && found.is_abandoned()).for_each(|found| drop(found.remove()));
}

/// Makes a new segment of `len` zeroed bytes and returns its identifier.
///
/// # Errors
/// EEXIST when the key is taken; EINVAL above `/proc/sys/kernel/shmmax`, ENOSPC above `shmall` or `shmmni`, ENOMEM.
pub fn create_segment(key: i32, len: usize) -> io::Result<i32> {
    // SAFETY: shmget takes three integers.
    checked(unsafe { libc::shmget(key, len, libc::IPC_CREAT | libc::IPC_EXCL | MODE) })
}

/// The identifier of the segment that somebody made with `key`.
///
/// # Errors
/// ENOENT when there is none, EACCES when it is another user's.
pub fn find_segment(key: i32) -> io::Result<i32> {
    // SAFETY: shmget takes three integers; a size of zero accepts what is there.
    checked(unsafe { libc::shmget(key, 0, MODE) })
}

/// Attaches a segment. It is detached when the region is dropped, by whichever process drops its copy.
///
/// # Errors
/// What shmat(2) and shmctl(2) say.
pub fn attach(id: i32) -> io::Result<Region> {
    struct Attached(usize);
    impl Drop for Attached {
        fn drop(&mut self) {
            // SAFETY: the address came from shmat, and nothing points there any more: the region is being dropped.
            unsafe { libc::shmdt(self.0 as *const _) };
        }
    }
    // SAFETY: all zero is a valid value of this structure of integers.
    let mut found: libc::shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one such structure.
    checked(unsafe { libc::shmctl(id, libc::IPC_STAT, &mut found) })?;
    // SAFETY: without a wish for an address the kernel chooses one where nothing is mapped.
    let base = unsafe { libc::shmat(id, ptr::null(), 0) };
    if base as isize == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: shmat maps the whole segment readable and writable at a page boundary until shmdt, which the owner calls.
    Ok(unsafe { Region::owned(base.cast(), found.shm_segsz, Box::new(Attached(base as usize))) })
}

/// Removes a segment's key; on Linux its memory goes with the last process that has it attached.
///
/// # Errors
/// As [`remove_queue`].
pub fn remove_segment(id: i32) -> io::Result<()> {
    // SAFETY: IPC_RMID ignores the structure.
    checked(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) }).map(drop)
}

/// One of the numbers in `/proc/sys/kernel`.
pub fn setting(name: &str) -> Option<u64> {
    std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_line_is_read_by_its_columns() {
        let line =
            " 465567745         32768   600           16          1     4242        0     7     0     0     0  0 0 0";
        let queue = found(line, Sort::Queue).unwrap();
        assert_eq!((queue.key, queue.id, queue.users, queue.bytes), (465_567_745, 32_768, [4242, 0], 16));
        assert_eq!((queue.mode, queue.attached, queue.user), (0o600, 0, 7));
        let line = "-465567745 3 1600 4096 4242 4243 2 7 0 7 0 0 0 0 4096 0";
        let segment = found(line, Sort::Segment).unwrap();
        assert_eq!((segment.key, segment.id, segment.users), (-465_567_745, 3, [4242, 4243]));
        assert_eq!((segment.mode, segment.attached, segment.user), (0o1600, 2, 7));
        assert_eq!(found("key msqid", Sort::Queue), None);
    }

    #[test]
    fn what_a_process_of_another_name_space_used_is_not_abandoned() {
        let (key, dead) = (KEYS.start, u32::MAX >> 1);
        let queue = |times: &str| found(&format!("{key} 1 600 0 0 0 {dead} 0 0 0 0 {times} 9"), Sort::Queue).unwrap();
        assert!(queue("0 8").is_abandoned(), "nobody ever sent");
        assert!(!queue("8 8").is_abandoned(), "somebody did, who cannot be seen");
        let segment = |users: &str, times: &str| {
            found(&format!("{key} 1 600 4096 {users} 0 0 0 0 0 {times} 9 0 0"), Sort::Segment).unwrap()
        };
        assert!(segment(&format!("{dead} 0"), "0 0").is_abandoned(), "nobody attached it");
        assert!(!segment(&format!("{dead} 0"), "8 0").is_abandoned());
        assert!(!segment(&format!("{dead} 0"), "8 8").is_abandoned());
        assert!(!segment(&format!("0 {dead}"), "8 8").is_abandoned());
    }

    #[test]
    fn an_object_of_a_living_process_is_nobodys_leftover() {
        let me = std::process::id();
        let dead = u32::MAX >> 1;
        let line = format!("{} 0 600 0 0 0 0 0 0 0 0 0 0 0", KEYS.start);
        let queue = |users| Found { users, ..found(&line, Sort::Queue).unwrap() };
        assert!(!queue([me, 0]).is_abandoned());
        assert!(!queue([dead, me]).is_abandoned());
        assert!(queue([dead, 0]).is_abandoned());
        assert!(!queue([0, 0]).is_abandoned(), "somebody may be about to use it");
        assert!(!Found { mode: 0o666, ..queue([dead, 0]) }.is_abandoned(), "not as we make them");
        assert!(!Found { attached: 1, ..queue([dead, 0]) }.is_abandoned(), "somebody has it attached");
    }
}

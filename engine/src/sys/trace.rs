//! Watching the system calls of a launched program. Source: ptrace(2), kcmp(2), syscalls(2).
//!
//! Key decision: `PTRACE_GET_SYSCALL_INFO`, which says number, arguments and result in one layout on every architecture.
//! Rejected: reading registers (a file per architecture); the structure of the libc crate, which not every C library's
//! part of it has. Tracing belongs to a *thread*: whoever seizes must also wait, and nobody else can.

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::borrow::Cow;
use std::io;

/// Why a traced task stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is about to make this call.
    Enters(Call),
    /// The call is done, with what the kernel returned; `None` when it failed.
    Leaves(Option<u64>),
    /// For another reason; the signal is to be delivered.
    Pauses(Option<Signal>),
    /// It is gone, and not to be resumed.
    Ends,
}

/// A system call and its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its number on this architecture.
    pub number: u64,
    /// Its arguments, as far as it has them.
    pub args: [u64; 6],
}

/// Begins to trace process `pid` and all that it will start; it stops at the next opportunity, and dies with the caller.
///
/// # Errors
/// EPERM where tracing is not permitted (Yama, seccomp, another tracer), what ptrace(2) says.
pub fn seize(pid: u32) -> io::Result<()> {
    let pid = Pid::from_raw(pid as i32);
    let everyone = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
    ptrace::seize(pid, everyone | Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL)?;
    Ok(ptrace::interrupt(pid)?)
}

/// Waits for the next stop of any task that the calling thread traces; `None` when there is none left. Children of the
/// calling thread that it does not trace are reaped on the way.
///
/// # Errors
/// ENOSYS or EIO on a kernel before 5.3, what waitpid(2) says.
pub fn next() -> io::Result<Option<(u32, Stop)>> {
    loop {
        // Not the children of other threads: they have others who wait for them.
        let status = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
            Err(Errno::EINTR) => continue,
            Err(Errno::ECHILD) => return Ok(None),
            other => other?,
        };
        let (pid, stop) = match status {
            WaitStatus::PtraceSyscall(pid) => match call_of(pid) {
                // Killed in the meantime: its end is reported next.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => continue,
                other => (pid, other?),
            },
            WaitStatus::PtraceEvent(pid, ..) => (pid, Stop::Pauses(None)),
            WaitStatus::Stopped(pid, signal) => (pid, Stop::Pauses(Some(signal))),
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => (pid, Stop::Ends),
            _ => continue,
        };
        return Ok(Some((pid.as_raw() as u32, stop)));
    }
}

/// Lets a stopped task go on to its next system call.
///
/// # Errors
/// What ptrace(2) says; a task that was killed in the meantime is no error.
pub fn resume(tid: u32, signal: Option<Signal>) -> io::Result<()> {
    match ptrace::syscall(Pid::from_raw(tid as i32), signal) {
        Err(Errno::ESRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// What the kernel fills in: `struct ptrace_syscall_info` with its union as words. A call's entry is its number and six
/// arguments; its exit the result and a byte that says whether that is an error.
#[repr(C)]
#[derive(Default)]
struct Info {
    op: u8,
    reserved: [u8; 3],
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    words: [u64; 8],
}

const GET_SYSCALL_INFO: i32 = 0x420e;
const ENTRY: u8 = 1;
const EXIT: u8 = 2;

fn call_of(pid: Pid) -> io::Result<Stop> {
    let mut info = Info::default();
    // SAFETY: the kernel writes at most the given number of bytes into `info`, which is all integers.
    let got = unsafe { libc::ptrace(GET_SYSCALL_INFO as _, pid.as_raw(), size_of::<Info>(), &raw mut info) };
    if got < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(match (info.op, info.words) {
        (ENTRY, [number, a, b, c, d, e, f, _]) => Stop::Enters(Call { number, args: [a, b, c, d, e, f] }),
        (EXIT, [value, error, ..]) => Stop::Leaves((error.to_ne_bytes()[0] == 0).then_some(value)),
        _ => Stop::Pauses(None),
    })
}

/// Whether two tasks live in one address space.
///
/// # Errors
/// EPERM or ENOSYS where the kernel does not tell.
pub fn same_memory(a: u32, b: u32) -> io::Result<bool> {
    const KCMP_VM: libc::c_long = 1;
    // SAFETY: kcmp takes five integers and touches no memory of ours.
    match unsafe { libc::syscall(libc::SYS_kcmp, i64::from(a), i64::from(b), KCMP_VM, 0_i64, 0_i64) } {
        found if found < 0 => Err(io::Error::last_os_error()),
        found => Ok(found == 0),
    }
}

/// Whether the call asks what the calling thread has consumed: how a party marks the ends of a window.
pub fn is_mark(call: Call) -> bool {
    call.number as libc::c_long == libc::SYS_getrusage && call.args[0] as libc::c_int == libc::RUSAGE_THREAD
}

/// The way in which a call moved payload between a party and the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From the party.
    Out,
    /// To the party.
    In,
}

/// What a call that returned `value` moved, in bytes, and through which descriptor (process, for process_vm_*).
pub fn moved(call: Call, value: u64) -> Vec<(Way, u64, u64)> {
    let [first, _, third, ..] = call.args;
    match call.number as libc::c_long {
        libc::SYS_write | libc::SYS_writev | libc::SYS_pwrite64 | libc::SYS_pwritev | libc::SYS_pwritev2 => {
            vec![(Way::Out, first, value)]
        }
        libc::SYS_sendto | libc::SYS_sendmsg | libc::SYS_vmsplice | libc::SYS_process_vm_writev => {
            vec![(Way::Out, first, value)]
        }
        // These return 0 and send as much as they were told to.
        libc::SYS_mq_timedsend | libc::SYS_msgsnd => vec![(Way::Out, first, third)],
        libc::SYS_read | libc::SYS_readv | libc::SYS_pread64 | libc::SYS_preadv | libc::SYS_preadv2 => {
            vec![(Way::In, first, value)]
        }
        libc::SYS_recvfrom | libc::SYS_recvmsg | libc::SYS_process_vm_readv => vec![(Way::In, first, value)],
        libc::SYS_mq_timedreceive | libc::SYS_msgrcv => vec![(Way::In, first, value)],
        libc::SYS_splice => vec![(Way::In, first, value), (Way::Out, third, value)],
        _ => vec![],
    }
}

macro_rules! names {
    ($($number:ident)+) => { &[$((libc::$number, stringify!($number))),+] };
}

/// Calls that can occur in a run, as far as every architecture has them.
const NAMES: &[(libc::c_long, &str)] = names! {
    SYS_read SYS_write SYS_readv SYS_writev SYS_pread64 SYS_pwrite64 SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2
    SYS_sendto SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_splice SYS_vmsplice SYS_tee SYS_process_vm_readv
    SYS_process_vm_writev SYS_mq_timedsend SYS_mq_timedreceive SYS_msgsnd SYS_msgrcv SYS_semop SYS_semtimedop
    SYS_io_uring_enter SYS_futex SYS_sched_yield SYS_ppoll SYS_pselect6 SYS_epoll_pwait SYS_epoll_ctl SYS_eventfd2
    SYS_inotify_add_watch SYS_inotify_rm_watch SYS_ioctl SYS_fcntl SYS_lseek SYS_fsync SYS_fdatasync SYS_ftruncate
    SYS_fallocate SYS_flock SYS_openat SYS_close SYS_dup SYS_mmap SYS_munmap SYS_mprotect SYS_madvise SYS_msync
    SYS_membarrier SYS_brk SYS_clock_gettime SYS_clock_nanosleep SYS_nanosleep SYS_getrusage SYS_getcpu SYS_getpid
    SYS_gettid SYS_kill SYS_tgkill SYS_rt_sigtimedwait SYS_rt_sigprocmask SYS_rt_sigaction SYS_rt_sigreturn
    SYS_rt_sigqueueinfo SYS_restart_syscall SYS_pidfd_open SYS_pidfd_send_signal SYS_clone SYS_wait4 SYS_exit
    SYS_exit_group
};

/// Calls that older architectures have besides.
#[cfg(target_arch = "x86_64")]
const OLD_NAMES: &[(libc::c_long, &str)] = names! { SYS_poll SYS_select SYS_epoll_wait SYS_pause SYS_fork };
/// None here.
#[cfg(not(target_arch = "x86_64"))]
const OLD_NAMES: &[(libc::c_long, &str)] = &[];

/// The name of a system call, such as `read`; `syscall-N` for one that is not in the table.
pub fn name(number: u64) -> Cow<'static, str> {
    match NAMES.iter().chain(OLD_NAMES).find(|(known, _)| *known as u64 == number) {
        Some((_, name)) => Cow::Borrowed(name.trim_start_matches("SYS_")),
        None => Cow::Owned(format!("syscall-{number}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_names_and_unknown_ones_their_number() {
        assert_eq!(name(libc::SYS_read as u64), "read");
        assert_eq!(name(9999), "syscall-9999");
    }

    #[test]
    fn a_process_shares_its_address_space_with_itself_where_the_kernel_tells() {
        let me = std::process::id();
        assert!(same_memory(me, me).unwrap_or(true));
    }
}

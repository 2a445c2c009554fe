//! Making, watching and ending processes. Source: fork(2), pidfd_open(2), wait(2), prctl(2) PR_SET_PDEATHSIG.

use super::fd::readable;
use super::stat::{self, Stat};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid as RawPid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::ptr;
use std::time::{Duration, Instant};
use syscalls::{Sysno, syscall};

/// A forked child. Killed and reaped when dropped.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    reaped: bool,
}

/// Whether the calling process has exactly one thread, so that a fork cannot leave a lock held for ever.
pub fn single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

/// As [`single_threaded`], with some milliseconds of patience: a thread that was joined is listed for a moment longer.
fn soon_single_threaded() -> bool {
    let again = || {
        std::thread::sleep(Duration::from_millis(1));
        single_threaded()
    };
    single_threaded() || (0..20).any(|_| again())
}

/// Runs `body` in a forked child, which dies with the calling thread and exits with what `body` returns (101 after a
/// panic) without running the parent's destructors or flushing its buffers.
///
/// # Errors
/// What fork(2) says, or [`io::ErrorKind::Other`] when the process has more than one thread.
pub fn fork_child(body: impl FnOnce() -> u8) -> io::Result<Child> {
    if !soon_single_threaded() {
        return Err(io::Error::other("refusing to fork a process that has several threads"));
    }
    let parent = Pid::this();
    // SAFETY: the process has a single thread (checked above), so the child may call anything.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Child { pid: child, reaped: false }),
        ForkResult::Child => {
            let code = catch_unwind(AssertUnwindSafe(|| if die_with_parent(parent).is_ok() { body() } else { 1 }));
            // SAFETY: `_exit` ends the process at once; nothing of the parent's runs twice.
            unsafe { libc::_exit(i32::from(code.unwrap_or(101))) }
        }
    }
}

/// Asks the kernel to kill the calling process when the thread of `parent` that made it ends.
///
/// # Errors
/// What prctl(2) says, or that the parent is gone already.
pub fn die_with_parent(parent: Pid) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The parent may have died between its fork and our prctl: then nobody would ever send the signal.
    if getppid() == parent { Ok(()) } else { Err(io::Error::other("the parent process is gone")) }
}

/// Makes the program that this command will start die with the calling thread.
pub fn bind_to_caller(command: &mut Command) {
    let parent = Pid::this();
    let bind = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // As in `die_with_parent`, with an error that needs no memory.
        if getppid() == parent { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    };
    // SAFETY: between fork and exec the closure makes two system calls and errors from numbers: it takes no lock and no
    // memory.
    unsafe { command.pre_exec(bind) };
}

/// The threads of process `pid`, by number. Source: proc(5), `/proc/PID/task`.
///
/// # Errors
/// When there is no such process.
pub fn threads_of(pid: u32) -> io::Result<Vec<u32>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task"))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

impl Child {
    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// Whether the child still runs. A finished child is reaped by [`wait`](Self::wait) only.
    pub fn alive(&self) -> bool {
        !is_gone(self.id())
    }

    /// Waits for the end and says how it came, in words, unless it was a plain success.
    ///
    /// # Errors
    /// A sentence such as "was killed by SIGSEGV" or "exited with code 101 (it panicked)".
    pub fn wait(&mut self) -> Result<(), String> {
        let status = loop {
            match waitpid(self.pid, None) {
                Err(nix::errno::Errno::EINTR) => {}
                other => break other,
            }
        };
        self.reaped = true;
        match status {
            Ok(WaitStatus::Exited(_, 0)) => Ok(()),
            Ok(WaitStatus::Exited(_, 101)) => Err("exited with code 101 (it panicked)".into()),
            Ok(WaitStatus::Exited(_, code)) => Err(format!("exited with code {code}")),
            Ok(WaitStatus::Signaled(_, signal, _)) => Err(format!("was killed by {signal}")),
            Ok(other) => Err(format!("ended strangely: {other:?}")),
            Err(error) => Err(format!("could not be waited for: {error}")),
        }
    }

    /// As [`wait`](Self::wait), but kills a child that has not ended by itself two seconds later.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), or that it had to be killed.
    pub fn wait_briefly(&mut self) -> Result<(), String> {
        if wait_gone(self.id(), Duration::from_secs(2)) {
            return self.wait();
        }
        self.kill();
        let _ = self.wait();
        Err("did not end by itself and was killed".into())
    }

    /// Ends the child at once.
    pub fn kill(&self) {
        let _ = kill(self.pid, Signal::SIGKILL);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            let _ = self.wait();
        }
    }
}

/// The largest process id that the kernel gives on any machine: `PID_MAX_LIMIT`. Source: proc_sys_kernel(5), pid_max.
pub const LARGEST_ID: u32 = 1 << 22;

/// Whether process `pid` has ended (a zombie has). An unknown answer counts as "still there", a number that no process can
/// have as "ended".
pub fn is_gone(pid: u32) -> bool {
    wait_gone(pid, Duration::ZERO)
}

/// Whether the party at the other end has ended, whose process is `pid`: one that has not said its number (0) has not, and a
/// thread of the process `mine`, the calling one, ends only together with it or by closing its end. It is given, because to
/// ask for it is a system call.
pub fn peer_is_gone(pid: u32, mine: u32) -> bool {
    pid != 0 && pid != mine && is_gone(pid)
}

/// As [`peer_is_gone`], and also of a process that is about to end and has given its memory back: it will do nothing more, but
/// the kernel may still take its descriptors away, of which an inotify watch keeps it for a grace period of SRCU and a tick.
/// Slower: it reads a file of /proc. Source: proc_pid_statm(5).
pub fn peer_is_ending(pid: u32, mine: u32) -> bool {
    let without_memory =
        || std::fs::read_to_string(format!("/proc/{pid}/statm")).is_ok_and(|pages| pages.starts_with("0 "));
    pid != 0 && pid != mine && (is_gone(pid) || (stat::has_our_numbers() && without_memory()))
}

/// Waits until process `pid` has ended, at most for `limit`; true when it has.
pub fn wait_gone(pid: u32, limit: Duration) -> bool {
    if pid > LARGEST_ID {
        return true;
    }
    let Some(pid) = RawPid::from_raw(pid as i32) else { return false };
    let deadline = Instant::now() + limit;
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => loop {
            // A process descriptor becomes readable when the process ends.
            match readable([fd.as_fd()], deadline.saturating_duration_since(Instant::now())) {
                Ok([true]) => return true,
                Ok(_) if Instant::now() < deadline => {}
                _ => return false,
            }
        },
        Err(rustix::io::Errno::SRCH) => true,
        // No process descriptors: an old kernel, or a sandbox that hides the call.
        Err(_) => loop {
            if has_ended(pid.as_raw_nonzero().get() as u32) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        },
    }
}

/// Whether process `pid` is a zombie or not there, by proc(5). Where /proc hides other users' processes these count as there.
fn has_ended(pid: u32) -> bool {
    match Stat::of(pid) {
        Some(stat) => stat.has_ended(),
        None => kill(Pid::from_raw(pid as i32), None) == Err(nix::errno::Errno::ESRCH),
    }
}

/// Copies what lies at `address` in process `pid` into `into`, and returns how many bytes came. Source:
/// process_vm_readv(2).
///
/// # Errors
/// EPERM without the right to trace that process, ESRCH when it has ended, EFAULT when nothing is mapped there, ENOSYS
/// where a sandbox hides the call.
#[inline(always)]
pub fn read_memory(pid: u32, address: usize, into: &mut [u8]) -> io::Result<usize> {
    let there = libc::iovec { iov_base: ptr::without_provenance_mut(address), iov_len: into.len() };
    let here = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: each vector is one range; the kernel writes to the one here alone, which is borrowed for the call.
    Ok(unsafe { syscall!(Sysno::process_vm_readv, pid, &raw const here, 1, &raw const there, 1, 0) }?)
}

/// Whether the calling process has CAP_SYS_PTRACE. Source: capabilities(7), proc_pid_status(5).
pub fn may_trace() -> bool {
    const CAP_SYS_PTRACE: u32 = 19;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> CAP_SYS_PTRACE & 1 == 1)
}

/// Lets process `reader` and its descendants read the calling process's memory, where Yama would keep everybody but its
/// ancestors from it, and who is not root from one that must not be dumped. Source: prctl(2) PR_SET_PTRACER, PR_SET_DUMPABLE;
/// ptrace(2) on access modes.
pub fn let_read(reader: u32) {
    if nix::sys::prctl::get_dumpable().is_ok_and(|dumpable| !dumpable) {
        let _ = nix::sys::prctl::set_dumpable(true);
    }
    if let Some(pid) = RawPid::from_raw(reader as i32) {
        // A kernel without Yama does not know the call, and does not need it.
        let _ = rustix::process::set_ptracer(rustix::process::PTracer::ProcessID(pid));
    }
}

/// Calls `then` in a thread of its own when process `pid` has ended: for programs that a person starts, whose mechanism tells
/// nobody that the peer was killed. Never in a cell, which must stay single-threaded. Number 0 is no process, and never ends.
pub fn when_gone(pid: u32, then: impl FnOnce() + Send + 'static) {
    if pid == 0 {
        return;
    }
    let watch = move || {
        while !wait_gone(pid, Duration::from_secs(3600)) {}
        then();
    };
    if let Err(error) = std::thread::Builder::new().spawn(watch) {
        eprintln!("remark: nobody will say that the other program was killed ({error})");
    }
}

/// While this lives, the signals by which people end a program wait: for the moments at which a process has names that
/// nobody else would remove. Dropped, it lets them through again. Source: pthread_sigmask(3).
#[derive(Debug)]
pub struct HeldSignals(SigSet);

impl HeldSignals {
    /// Holds SIGINT, SIGTERM and SIGHUP back from the calling thread; there may be no other one that takes them.
    pub fn new() -> Self {
        Self::of([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect())
    }

    /// Holds every signal back from the calling thread, and from the threads that it starts meanwhile for good.
    pub fn all() -> Self {
        Self::of(SigSet::all())
    }

    fn of(signals: SigSet) -> Self {
        // It cannot fail: the signals and the way exist.
        Self(signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap_or_else(|_| SigSet::empty()))
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        let _ = self.0.thread_set_mask();
    }
}

impl Default for HeldSignals {
    fn default() -> Self {
        Self::new()
    }
}

/// Lets these signals end the process again. Source: signal(7).
pub fn default_signals(signals: &[i32]) {
    for signal in signals {
        // SAFETY: the default action runs no code of ours.
        unsafe { libc::signal(*signal, libc::SIG_DFL) };
    }
}

/// Makes a file that may not grow an error (EFBIG) instead of the end of the process; for programs that follow, too.
/// Source: getrlimit(2) RLIMIT_FSIZE, execve(2).
pub fn survive_size_limit() {
    // SAFETY: to ignore a signal runs no code of ours.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGXFSZ, nix::sys::signal::SigHandler::SigIgn) };
}

/// Waits until one of these processes has ended, for as long as it takes; its place in the list. `None` where the kernel
/// has no process descriptors, or there is no process to wait for.
pub fn first_gone(pids: &[u32]) -> Option<usize> {
    let open = |pid: &u32| pidfd_open(RawPid::from_raw(*pid as i32)?, PidfdFlags::empty()).ok();
    let open: Vec<_> = pids.iter().map(open).collect::<Option<_>>()?;
    let mut watched: Vec<_> = open.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    loop {
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
            Ok(_) => return watched.iter().position(|fd| !fd.revents().is_empty()),
        }
    }
}

/// Whether the calling process has a child that it has not collected. Source: waitid(2).
pub fn has_children() -> bool {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, look) != Err(nix::errno::Errno::ECHILD)
}

/// Whether child `pid` is stopped by a signal. Source: waitid(2), WSTOPPED.
pub fn is_stopped(pid: u32) -> bool {
    let look = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(waitid(Id::Pid(Pid::from_raw(pid as i32)), look), Ok(WaitStatus::Stopped(..)))
}

/// Whether process `pid` sleeps, waiting for something. Source: the state in proc_pid_stat(5).
pub fn is_asleep(pid: u32) -> bool {
    Stat::of(pid).is_some_and(|stat| stat.is_asleep())
}

/// Ends a process at once.
pub fn kill_hard(pid: u32) {
    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
}

/// Gives the calling thread a name of at most 15 bytes, for whoever looks at the process list.
pub fn call_me(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}

/// Ends the calling process as a crash does, but without a core file: no destructor runs, no buffer is flushed.
pub fn crash() -> ! {
    let _ = kill(Pid::this(), Signal::SIGKILL);
    // The signal is delivered before kill(2) returns, but the compiler does not know.
    std::process::abort()
}

/// A descriptor of process `pid`, which becomes readable when the process ends.
///
/// # Errors
/// What pidfd_open(2) says.
pub fn descriptor(pid: u32) -> io::Result<OwnedFd> {
    // A larger number is no process's, whoever wrote it.
    let pid = if pid <= LARGEST_ID { pid } else { 0 };
    let pid = RawPid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// The signals that say "a child ended", as something to read. Source: signalfd(2).
#[derive(Debug)]
pub struct ChildSignals(SignalFd);

impl ChildSignals {
    /// Holds the signal back from the calling thread, which otherwise would ignore it, and reads it instead.
    ///
    /// # Errors
    /// What sigprocmask(2) or signalfd(2) say.
    pub fn new() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        Ok(Self(SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// Whether child `pid` is among those that the signals since the last call were about. Signals merge while one is
    /// held back: of several children that end together only one is sure to be named.
    pub fn named(&self, pid: u32) -> bool {
        let mut named = false;
        while let Ok(Some(signal)) = self.0.read_signal() {
            named |= signal.ssi_pid == pid;
        }
        named
    }
}

impl AsFd for ChildSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The cheapest thing to ask the kernel for: into it and out again. Source: getppid(2).
#[inline(always)]
pub fn null_call() {
    // rustix issues the call itself: no library between that could remember the answer.
    let _ = rustix::process::getppid();
}

/// Ends every process of the group that `leader` leads; says whether there was any, a zombie included.
pub fn kill_group(leader: u32) -> bool {
    killpg(Pid::from_raw(leader as i32), Signal::SIGKILL).is_ok()
}

/// Waits until nobody of that group runs any more, at most for `limit`: a signal is not delivered at once. Source:
/// proc_pid_stat(5).
pub fn wait_group(leader: u32, limit: Duration) {
    let start = Instant::now();
    while start.elapsed() < limit && group_runs(leader) {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether the group has a process that is no zombie.
fn group_runs(leader: u32) -> bool {
    stat::all().filter_map(Stat::of).any(|stat| stat.group == leader && !stat.has_ended())
}

/// Collects a finished child without waiting; true when there was one.
pub fn reap(pid: u32) -> bool {
    matches!(
        waitpid(Pid::from_raw(pid as i32), Some(WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
    )
}

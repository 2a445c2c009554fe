//! Making a child in each way that Linux has, with nothing around the call. Source: fork(2), vfork(2), clone(2),
//! posix_spawn(3), execve(2).
//!
//! Key decision: the child does only what is async-signal-safe and ends, so that no count of threads is needed before the
//! call; that count costs more than a thread. vfork is the call clone(2) with the two flags that it stands for, on a stack
//! of its own, as the C library's posix_spawn makes it. Rejected: `libc::vfork`, a function that returns twice, which
//! the compiler does not know of; [`super::process::fork_child`], which does more than what is measured.

use super::clock;
use nix::sched::CloneFlags;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// The beginning of a child: it writes down when its first instruction ran.
#[derive(Debug, Clone, Copy)]
pub struct Birth<'a> {
    /// Where, as the time of [`clock::now`].
    pub stamp: &'a AtomicU64,
    /// How long it first runs without result, ns: a planted delay.
    pub delay_ns: u64,
}

impl Birth<'_> {
    /// To be called first by the child. It is async-signal-safe.
    pub fn happen(self) {
        let mut now = clock::now();
        let until = now + self.delay_ns;
        while now < until {
            now = clock::now();
        }
        // Relaxed: whoever reads it has waited for the child's end.
        self.stamp.store(now, Ordering::Relaxed);
    }
}

/// Forks a child that is born and ends; `birth.stamp` lies in shared memory.
///
/// # Errors
/// What fork(2) says.
pub fn fork(birth: Birth<'_>) -> io::Result<Pid> {
    // SAFETY: the child calls async-signal-safe code only and ends in `_exit`.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            birth.happen();
            // SAFETY: `_exit` ends the process at once.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Makes a child as vfork(2) does: it borrows the memory of the caller, who waits until it is born and has ended.
///
/// # Errors
/// What clone(2) says.
pub fn vfork(birth: Birth<'_>, stack: &mut [u8]) -> io::Result<Pid> {
    let child = Box::new(|| {
        birth.happen();
        0
    });
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: the caller stands still while the child runs, so nothing moves under it; the child's only calls are
    // async-signal-safe and need far less than `stack`, which is not used otherwise; returning 0 makes it exit.
    Ok(unsafe { nix::sched::clone(child, stack, flags, Some(libc::SIGCHLD)) }?)
}

/// A program with its arguments, ready to be executed: after a fork nothing may be allocated.
#[derive(Debug)]
pub struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// The program at `path` with `args`, of which the first is its name, and the environment of the caller.
    ///
    /// # Errors
    /// When a text holds a zero byte.
    pub fn new(path: &str, args: &[&str]) -> io::Result<Self> {
        let env = std::env::vars_os().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec())
        });
        Ok(Self {
            path: CString::new(path)?,
            args: args.iter().map(|arg| CString::new(*arg)).collect::<Result<_, _>>()?,
            env: env.collect::<Result<_, _>>()?,
        })
    }

    /// Starts the program by posix_spawn(3), with `stdout` as its standard output.
    ///
    /// # Errors
    /// What posix_spawn(3) says.
    pub fn spawn(&self, stdout: BorrowedFd<'_>) -> io::Result<Pid> {
        let mut actions = PosixSpawnFileActions::init()?;
        actions.add_dup2(stdout.as_raw_fd(), STDOUT)?;
        let attributes = PosixSpawnAttr::init()?;
        Ok(posix_spawn(self.path.as_c_str(), &actions, &attributes, &self.args, &self.env)?)
    }

    /// The same by fork(2) and execve(2); a program that cannot be executed exits with code 127.
    ///
    /// # Errors
    /// What fork(2) says.
    pub fn fork_exec(&self, stdout: BorrowedFd<'_>) -> io::Result<Pid> {
        let pointers =
            |texts: &[CString]| -> Vec<_> { texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect() };
        let (args, env) = (pointers(&self.args), pointers(&self.env));
        // SAFETY: the child calls dup2, execve and `_exit` only, which are async-signal-safe.
        match unsafe { nix::unistd::fork() }? {
            ForkResult::Parent { child } => Ok(child),
            // SAFETY: both lists end in a null pointer, and `self` owns the texts that they point to.
            ForkResult::Child => unsafe {
                libc::dup2(stdout.as_raw_fd(), STDOUT);
                libc::execve(self.path.as_ptr(), args.as_ptr(), env.as_ptr());
                libc::_exit(127)
            },
        }
    }
}

const STDOUT: RawFd = libc::STDOUT_FILENO;

/// Waits for the end of a child that was made here.
///
/// # Errors
/// What waitpid(2) says, or that it did not exit with code 0.
pub fn join(child: Pid) -> io::Result<()> {
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
            Ok(other) => return Err(io::Error::other(format!("the child ended otherwise: {other:?}"))),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::seats::Table;
    use crate::sys::map;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::sync::Arc;

    #[test]
    fn a_child_stamps_between_the_call_and_its_end_and_as_much_later_as_planted() {
        let board = Table::lay(&Arc::new(map::anonymous_shared(Table::region_len()).unwrap()));
        let (stamp, delay_ns) = (&board.words[0].0, 2_000_000);
        let mut stack = vec![0; 1 << 16];
        let mut made = |by_fork: bool| {
            let (birth, start) = (Birth { stamp, delay_ns }, clock::now());
            let child = if by_fork { fork(birth) } else { vfork(birth, &mut stack) };
            join(child.unwrap()).unwrap();
            assert!((start + delay_ns..=clock::now()).contains(&stamp.load(Ordering::Relaxed)));
        };
        [true, false].into_iter().for_each(&mut made);
    }

    #[test]
    fn a_program_is_executed_with_its_arguments_and_one_that_is_missing_is_an_error() {
        let echo = Program::new("/bin/sh", &["sh", "-c", "echo $0", "word"]).unwrap();
        let ways: [fn(&Program, BorrowedFd<'_>) -> io::Result<Pid>; 2] = [Program::spawn, Program::fork_exec];
        for way in ways {
            let (mut reader, writer) = io::pipe().unwrap();
            join(way(&echo, writer.as_fd()).unwrap()).unwrap();
            drop(writer);
            let mut said = String::new();
            reader.read_to_string(&mut said).unwrap();
            assert_eq!(said, "word\n");
        }
        let missing = Program::new("/nonexistent", &["missing"]).unwrap();
        assert!(missing.spawn(io::stderr().as_fd()).is_err());
        assert!(join(missing.fork_exec(io::stderr().as_fd()).unwrap()).is_err());
    }
}

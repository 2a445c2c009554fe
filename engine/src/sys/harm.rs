//! Ways for a thread or a process to come to harm, on purpose. Source: signal(7), core(5), abort(3), exit(3).
//!
//! Key decision: every way is defined behaviour. A wild access would be none, so the victim sends itself the signal that
//! the kernel would send it; the stack really overflows, into the guard page that std puts below each thread.

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, kill, raise, signal};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::hint::black_box;

/// What happens to the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A panic that unwinds, without its message.
    Panic,
    /// abort(3).
    Abort,
    /// The signal of a wild access.
    Segv,
    /// Endless recursion, in a thread with a small stack.
    Overflow,
    /// The signal that cannot be caught.
    Kill,
    /// exit(3) in the midst of things.
    Exit,
    /// The signal that stops without ending. Not among [`ALL`](Self::ALL): its victim lives on.
    Stop,
}

impl Fault {
    /// Every fault that ends its victim.
    pub const ALL: [Fault; 6] = [Fault::Panic, Fault::Abort, Fault::Segv, Fault::Overflow, Fault::Kill, Fault::Exit];

    /// Its name for people.
    pub fn word(self) -> &'static str {
        match self {
            Fault::Panic => "panic",
            Fault::Abort => "abort",
            Fault::Segv => "SIGSEGV",
            Fault::Overflow => "stack overflow",
            Fault::Kill => "SIGKILL",
            Fault::Exit => "exit",
            Fault::Stop => "SIGSTOP",
        }
    }
}

/// No core dump of this process and of those that it forks: neither a file nor, where the kernel feeds a program, that. Others
/// of the same user cannot read the process's memory then, unless it [lets them](super::process::let_read). Source: core(5),
/// ptrace(2) on access modes.
pub fn leave_no_core() {
    // A limit forbids the file only, and no file is as short as a byte; that of one byte, and no other, keeps the kernel from
    // feeding a program, too (its fs/coredump.c). A process that must not be dumped is fed to nobody anyway.
    let _ = setrlimit(Resource::RLIMIT_CORE, 1, 1);
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// Brings the calling thread to harm.
pub fn come_to(fault: Fault) -> ! {
    match fault {
        Fault::Panic => std::panic::resume_unwind(Box::new(fault)),
        Fault::Abort => std::process::abort(),
        // std's handler takes the first one for the guard page's, finds that it is not, and lets the second one through.
        Fault::Segv => loop {
            let _ = raise(Signal::SIGSEGV);
        },
        Fault::Overflow => overflow(),
        Fault::Kill => loop {
            let _ = raise(Signal::SIGKILL);
        },
        Fault::Exit => std::process::exit(3),
        Fault::Stop => loop {
            let _ = raise(Signal::SIGSTOP);
        },
    }
}

/// Lets the first SIGSEGV end the calling process, as the second one would: std's handler, which tells stack overflows from
/// other crashes, swallows one that comes from outside.
pub fn crash_at_once() {
    // SAFETY: the default action replaces std's handler; no handler of this program is lost.
    let _ = unsafe { signal(Signal::SIGSEGV, SigHandler::SigDfl) };
}

/// Brings another process to harm, whatever it does. What only a process itself can do becomes SIGABRT.
pub fn strike(pid: u32, fault: Fault) {
    let signal = match fault {
        Fault::Kill => Signal::SIGKILL,
        Fault::Segv => Signal::SIGSEGV,
        Fault::Stop => Signal::SIGSTOP,
        Fault::Panic | Fault::Abort | Fault::Overflow | Fault::Exit => Signal::SIGABRT,
    };
    let _ = kill(Pid::from_raw(pid as i32), signal);
}

/// Overflows a small stack: the main thread's may be unlimited.
fn overflow() -> ! {
    let small = std::thread::Builder::new().stack_size(64 << 10);
    let victim = small.spawn(|| black_box(deeper(0)));
    drop(victim.map(std::thread::JoinHandle::join));
    // Reached only if no thread could be started.
    std::process::abort()
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let mut frame = [depth; 64];
    let last = black_box(&mut frame)[depth as usize % 64];
    if last == u64::MAX { 0 } else { deeper(depth + 1) ^ black_box(frame)[0] }
}

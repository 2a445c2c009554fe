//! Ways for a thread or a process to come to harm, on purpose. Source: signal(7), core(5), abort(3), exit(3).
//!
//! Key decision: every way is defined behaviour. A wild access would be none, so the victim sends itself the signal that
//! the kernel would send it; the stack really overflows, into the guard page that std puts below each thread.

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, raise};
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
}

impl Fault {
    /// Every fault.
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
        }
    }
}

/// No core dump of this process and of those that it forks: neither a file nor, where the kernel feeds a program, that.
pub fn leave_no_core() {
    // A limit of zero forbids the file only; a process that must not be dumped is not fed to a program either.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
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
    }
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

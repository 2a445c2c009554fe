//! Places that other programs on the machine do not see, other users, and kernels that refuse, for tests that need them.
//!
//! Key decision: name spaces of the calling *thread* (unshare(2)), which the programs that it starts inherit, so that tests
//! beside it are not concerned. Source: namespaces(7), seccomp(2), bpf(4), capabilities(7).

#![allow(unsafe_code, dead_code)]

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use std::ffi::{CStr, CString};
use std::io;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::MutexGuard;

/// A user that is not root and owns nothing.
pub const STRANGER: u32 = 54_321;

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong, data: &CStr) -> io::Result<()> {
    // SAFETY: all pointers are texts that end in a zero byte and outlive the call.
    let done = unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the calling thread, and the programs that it will start, System V objects, message queues and a /dev/shm of their
/// own, which is `size` (as tmpfs(5) has it) large. False, with a printed reason, where this is not allowed.
pub fn isolate(size: &str) -> bool {
    let flags = CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
    if let Err(error) = unshare(flags) {
        println!("skipped: no name spaces of its own: {error}");
        return false;
    }
    let data = CString::new(format!("size={size},mode=1777")).unwrap();
    let mounted = mount(c"none", c"/", c"", libc::MS_REC | libc::MS_PRIVATE, c"")
        .and_then(|()| mount(c"none", c"/dev/shm", c"tmpfs", 0, &data));
    mounted.expect("a thread with its own mounts may mount");
    true
}

/// Runs the program as a user that is not root, without any capability.
pub fn as_stranger(command: &mut Command) -> &mut Command {
    command.uid(STRANGER).gid(STRANGER)
}

/// Takes every capability away from the program, which stays root's otherwise.
pub fn without_capabilities(command: &mut Command) -> &mut Command {
    let drop = || {
        for capability in 0..64 {
            // SAFETY: prctl takes integers; those that the kernel does not know are an error that does not matter.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        }
        // Root gets back at execve only what the bounding set holds.
        Ok(())
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(drop) }
}

/// Limits a resource of the program, for good.
pub fn limited(command: &mut Command, resource: Resource, to: u64) -> &mut Command {
    let limit = move || Ok(setrlimit(resource, to, to)?);
    // SAFETY: the closure makes a system call only.
    unsafe { command.pre_exec(limit) }
}

/// Starts the program with this umask.
pub fn with_umask(command: &mut Command, mask: u32) -> &mut Command {
    let set = move || {
        // SAFETY: umask takes an integer and cannot fail.
        unsafe { libc::umask(mask as _) };
        Ok(())
    };
    // SAFETY: the closure makes a system call only.
    unsafe { command.pre_exec(set) }
}

/// A system call at which a program is killed, unless one of its arguments has one of some bits.
pub struct Deadly {
    /// Its number.
    pub call: libc::c_long,
    /// Which argument, from 0, and the bits.
    pub unless: Option<(u32, u32)>,
}

/// Kills the program, and all that it starts, at this system call: between two calls of which the second is this one.
pub fn killing(command: &mut Command, Deadly { call, unless }: Deadly) -> &mut Command {
    /// Offset of the low half of the first argument (linux/seccomp.h, `struct seccomp_data`), little end first.
    const ARGUMENTS: u32 = 16;
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let (argument, bits) = unless.unwrap_or((0, 0));
    install(
        command,
        vec![
            load(0),
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32, 0, 2),
            load(ARGUMENTS + 8 * argument),
            step(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, 0, 1),
            step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
            step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
        ],
    )
}

/// Makes these system calls fail with `errno` in the program and all that it starts, as a container's profile does.
pub fn refusing<'a>(command: &'a mut Command, calls: &[libc::c_long], errno: i32) -> &'a mut Command {
    /// Offset of the number of the call in what a filter is given (linux/seccomp.h, `struct seccomp_data`).
    const NUMBER: u32 = 0;
    let step = |code: u32, k: u32, jt: u8| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER, 0)];
    for (index, call) in calls.iter().enumerate() {
        // Over the calls that follow and the step that allows.
        let jump = (calls.len() - index) as u8;
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call as u32, jump));
    }
    program.push(step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0));
    program.push(step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32, 0));
    install(command, program)
}

/// Has the program run under a filter of system calls.
fn install(command: &mut Command, program: Vec<libc::sock_filter>) -> &mut Command {
    let install = move || {
        let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: the kernel reads the filter, whose steps the closure owns; the other arguments are integers.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter)
        };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(install) }
}

/// A file system that is there until this is dropped: a folder on which one is mounted cannot be removed.
#[must_use]
pub struct Mounted {
    at: CString,
    /// Stays with its thread, as such a guard does: another one may be in another name space, where something else is mounted.
    _here: PhantomData<MutexGuard<'static, ()>>,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // SAFETY: the path is a text that ends in a zero byte and outlives the call.
        let done = unsafe { libc::umount2(self.at.as_ptr(), libc::MNT_DETACH) };
        assert!(done == 0 || std::thread::panicking(), "{:?} stays mounted: {}", self.at, io::Error::last_os_error());
    }
}

/// Mounts an empty file system of that size, which only the calling thread and its programs see after [`isolate`].
pub fn tmpfs(at: &Path, size: &str) -> Mounted {
    let at = CString::new(at.as_os_str().as_bytes()).unwrap();
    let data = CString::new(format!("size={size},mode=0755")).unwrap();
    mount(c"none", &at, c"tmpfs", 0, &data).unwrap();
    Mounted { at, _here: PhantomData }
}

/// Lets the program use one CPU only.
pub fn on_one_cpu(command: &mut Command) -> &mut Command {
    let cpu = ipcost::sys::cpu::allowed().unwrap()[0];
    let pin = move || ipcost::sys::cpu::pin(cpu);
    // SAFETY: the closure makes a system call only.
    unsafe { command.pre_exec(pin) }
}

/// Makes a System V message queue with that key and mode.
pub fn sysv_queue(key: i32, mode: i32) -> i32 {
    // SAFETY: msgget takes two integers.
    let id = unsafe { libc::msgget(key, libc::IPC_CREAT | libc::IPC_EXCL | mode) };
    assert!(id >= 0, "{}", io::Error::last_os_error());
    id
}

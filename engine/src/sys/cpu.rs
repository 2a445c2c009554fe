//! Which CPUs this task may use, uses, and is pinned to. Source: sched_setaffinity(2), getcpu(2).

use nix::sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use std::io;

/// The CPUs that the calling thread may run on, in ascending order.
///
/// # Errors
/// What sched_getaffinity(2) says.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect())
}

/// Pins the calling thread to one CPU.
///
/// # Errors
/// What sched_setaffinity(2) says; EINVAL when the CPU does not exist or is not allowed here.
pub fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// Pins a thread of any process to one CPU.
///
/// # Errors
/// As [`pin`]; ESRCH when it is gone, EPERM when it belongs to somebody else.
pub fn pin_thread(thread: u32, cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(thread as i32), &set)?)
}

/// The CPU that the calling thread runs on right now.
pub fn current() -> Option<usize> {
    sched_getcpu().ok()
}

/// How often the kernel moved the calling thread between CPUs so far, where it tells (`/proc/PID/sched`).
pub fn migrations() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/sched").ok()?;
    let line = text.lines().find(|line| line.starts_with("se.nr_migrations"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

/// How long the calling thread was runnable without a CPU so far, ns, where the kernel tells (`/proc/PID/schedstat`).
pub fn run_delay() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(1)?.parse().ok()
}

/// The hypervisor that the CPU names (CPUID leaf 0x4000_0000), if it names one.
#[cfg(target_arch = "x86_64")]
pub fn hypervisor() -> Option<String> {
    // SAFETY: every x86-64 CPU has CPUID; a leaf that it lacks returns numbers without meaning, which is why the bit that
    // says "there is a hypervisor" (leaf 1, ECX bit 31) is asked first.
    #[allow(unused_unsafe)]
    let (present, leaf) =
        unsafe { (core::arch::x86_64::__cpuid(1).ecx >> 31, core::arch::x86_64::__cpuid(0x4000_0000)) };
    let name: Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx].iter().flat_map(|word| word.to_le_bytes()).collect();
    let name = String::from_utf8(name).ok().filter(|_| present == 1)?;
    Some(match name.trim_end_matches('\0') {
        "KVMKVMKVM" => "kvm".into(),
        "Microsoft Hv" => "hyper-v".into(),
        "VMwareVMware" => "vmware".into(),
        "XenVMMXenVMM" => "xen".into(),
        other => other.to_lowercase(),
    })
}

/// The hypervisor, where the CPU has a way to name it; here it has none.
#[cfg(not(target_arch = "x86_64"))]
pub fn hypervisor() -> Option<String> {
    None
}

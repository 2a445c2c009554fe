//! What the calling thread has consumed so far. Source: getrusage(2) with `RUSAGE_THREAD`.
//!
//! Key decision: each party asks for itself, right around its own loop, instead of the parent asking wait4(2) at the
//! end: start-up, warm-up and tear-down are then outside the account. On kernels with tick-based accounting the *sum*
//! of user and system time is exact (the scheduler's clock) while the split is sampled at ticks; docs/METHOD.md says
//! so.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::io;

/// CPU time of this process and of all children that it has waited for (and theirs), ns.
pub fn of_family() -> u64 {
    let of = |who| getrusage(who).map_or(0, |u| (u.user_time() + u.system_time()).num_microseconds() as u64 * 1000);
    of(UsageWho::RUSAGE_SELF) + of(UsageWho::RUSAGE_CHILDREN)
}

/// CPU time that process `pid` has used so far, with all its threads, ns. Source: clock_getcpuclockid(3).
///
/// # Errors
/// ESRCH when there is no such process.
pub fn cpu_of(pid: u32) -> io::Result<u64> {
    let time = nix::time::clock_getcpuclockid(nix::unistd::Pid::from_raw(pid as i32))?.now()?;
    Ok(time.num_nanoseconds() as u64)
}

/// Memory of process `pid`, each page divided by the number of processes that map it, bytes. Source: proc(5),
/// `/proc/PID/smaps_rollup`.
///
/// # Errors
/// When there is no such process, it belongs to somebody else, or the kernel (before 4.14) does not tell.
pub fn pss_of(pid: u32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kilobytes = text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok());
    kilobytes.map(|kilobytes: u64| kilobytes * 1024).ok_or_else(|| io::Error::other("smaps_rollup has no Pss"))
}

/// Resource counters of one thread; all of them only ever grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode, ns.
    pub user_ns: u64,
    /// CPU time in the kernel, ns.
    pub system_ns: u64,
    /// Times the thread gave up its CPU to wait.
    pub voluntary: u64,
    /// Times the scheduler took its CPU away.
    pub involuntary: u64,
    /// Page faults served without a device.
    pub minor_faults: u64,
    /// Page faults that read a device.
    pub major_faults: u64,
}

impl Usage {
    /// The calling thread's counters now.
    pub fn now() -> Self {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return Self::default() };
        Self {
            user_ns: usage.user_time().num_microseconds() as u64 * 1000,
            system_ns: usage.system_time().num_microseconds() as u64 * 1000,
            voluntary: usage.voluntary_context_switches() as u64,
            involuntary: usage.involuntary_context_switches() as u64,
            minor_faults: usage.minor_page_faults() as u64,
            major_faults: usage.major_page_faults() as u64,
        }
    }

    /// What was consumed since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            user_ns: self.user_ns.saturating_sub(earlier.user_ns),
            system_ns: self.system_ns.saturating_sub(earlier.system_ns),
            voluntary: self.voluntary.saturating_sub(earlier.voluntary),
            involuntary: self.involuntary.saturating_sub(earlier.involuntary),
            minor_faults: self.minor_faults.saturating_sub(earlier.minor_faults),
            major_faults: self.major_faults.saturating_sub(earlier.major_faults),
        }
    }

    /// User and system time together, ns.
    pub fn cpu_ns(&self) -> u64 {
        self.user_ns.saturating_add(self.system_ns)
    }
}

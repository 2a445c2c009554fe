//! What the calling thread has consumed so far. Source: getrusage(2) with `RUSAGE_THREAD`; clock_gettime(2) with
//! `CLOCK_THREAD_CPUTIME_ID`.
//!
//! Key decision: each party asks for itself, right around its own loop, instead of the parent asking wait4(2) at the
//! end: start-up, warm-up and tear-down are then outside the account. The *sum* of user and system time is that of the
//! thread's clock, which is exact. getrusage(2) does not bring the running thread's time up to date on kernels with tick-based
//! accounting: a thread that spins gets nothing between two ticks (1 to 10 ms), and of a batch that is shorter nothing at all.
//! Only the split into user and system is taken from there, which is sampled at ticks; docs/METHOD.md says so.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
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
    /// CPU time by the thread's clock, ns.
    pub spent_ns: u64,
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
            spent_ns: clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| time.num_nanoseconds() as u64),
        }
    }

    /// What was consumed since `earlier`: the time by the thread's clock, split as the ticks were.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let user = u128::from(self.user_ns.saturating_sub(earlier.user_ns));
        let system = u128::from(self.system_ns.saturating_sub(earlier.system_ns));
        let spent_ns = self.spent_ns.saturating_sub(earlier.spent_ns);
        // Without a tick, nothing is known of the kernel.
        let system_ns = (u128::from(spent_ns) * system).checked_div(user + system).unwrap_or(0) as u64;
        Self {
            user_ns: spent_ns - system_ns,
            system_ns,
            spent_ns,
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_burst_shorter_than_a_tick_is_accounted_for() {
        for _ in 0..20 {
            let (before, start) = (Usage::now(), Instant::now());
            while start.elapsed() < Duration::from_micros(200) {
                std::hint::spin_loop();
            }
            assert!(Usage::now().since(before).cpu_ns() > 0);
        }
    }

    #[test]
    fn time_is_the_clocks_and_its_split_the_ticks() {
        let at = |user_ns, system_ns, spent_ns| Usage { user_ns, system_ns, spent_ns, ..Usage::default() };
        let split = |later: Usage| {
            let used = later.since(at(1000, 1000, 500));
            (used.user_ns, used.system_ns, used.cpu_ns())
        };
        assert_eq!(split(at(4000, 2000, 900)), (300, 100, 400));
        assert_eq!(split(at(1000, 1000, 900)), (400, 0, 400));
        assert_eq!(split(at(1000, 2000, 500)), (0, 0, 0));
    }
}

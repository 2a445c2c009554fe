//! Whether anybody else used the CPUs while a check looked at the time.
//!
//! Key decision: what the allowed CPUs were busy for, by the kernel's account, less what this program and its cells used
//! of them, over the same time. Time that a hypervisor took away counts as others' too. Rejected: the load average (a
//! minute old); refusing to start (a check of bytes and faults needs no silence). Source: proc_stat(5), getrusage(2).

use crate::sys::{clock, cpu, usage};

/// CPUs used by others from which on a timed figure says nothing of the instrument.
pub const DISTURBING: f64 = 0.15;
/// A tick of /proc/stat, ns.
const TICK_NS: u64 = 10_000_000;

/// A moment, with what had been used until then.
#[derive(Debug, Clone, Copy)]
pub struct Noise {
    at_ns: u64,
    busy_ns: Option<u64>,
    own_ns: u64,
}

impl Noise {
    /// Now.
    pub fn now() -> Self {
        Self { at_ns: clock::now(), busy_ns: busy_ns(), own_ns: usage::of_family() }
    }

    /// CPUs that others used since then, on average; `None` where the kernel does not tell.
    pub fn others(&self) -> Option<f64> {
        let now = Self::now();
        let busy = now.busy_ns?.checked_sub(self.busy_ns?)?;
        let others = busy.saturating_sub(now.own_ns - self.own_ns);
        Some(others as f64 / (now.at_ns - self.at_ns).max(1) as f64)
    }
}

/// Time for which the CPUs that may be used were not idle.
fn busy_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let allowed = cpu::allowed().ok()?;
    Some(allowed.iter().filter_map(|cpu| busy_ticks(&text, *cpu)).sum::<u64>() * TICK_NS)
}

/// Ticks of one CPU but for those idle (fourth) and waiting for a device (fifth); guests are in the first two already.
fn busy_ticks(stat: &str, cpu: usize) -> Option<u64> {
    let name = format!("cpu{cpu}");
    let line = stat.lines().find(|line| line.split_whitespace().next() == Some(&name))?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    Some(ticks.iter().take(8).sum::<u64>() - ticks.get(3)? - ticks.get(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_waiting_and_guest_time_is_not_busy() {
        let stat = "cpu 0 0 0 0\ncpu1 1 1 1 100 100 1 1 1 100 100\ncpu10 7 0 0 0 0 0 0 0\n";
        assert_eq!(busy_ticks(stat, 1), Some(6));
        assert_eq!(busy_ticks(stat, 10), Some(7));
        assert_eq!(busy_ticks(stat, 2), None);
    }
}

//! Whether anybody else used the CPUs while a check looked at the time.
//!
//! Key decision: what the cells' CPUs were busy for, by the kernel's account, less what this program and its cells used
//! of them, over the same time; what a hypervisor took away counts as others' too. Rejected: the load average (a minute
//! old); refusing to start (a check of bytes and faults needs no silence).

use crate::campaign::surroundings::Surroundings;
use crate::plan::Plan;
use crate::sys::{clock, cpu};

/// CPUs used by others from which on a timed figure says nothing of the instrument.
pub const DISTURBING: f64 = 0.15;

/// A moment, with what had been used until then.
#[derive(Debug)]
pub struct Noise {
    at_ns: u64,
    before: Surroundings,
}

impl Noise {
    /// Now, on the CPUs of these cells.
    pub fn on(plan: &Plan) -> Self {
        let allowed = cpu::allowed().unwrap_or_default();
        let cpus = plan.placement.resolve(&allowed).ok().flatten().map_or(allowed, |cpus| cpus.to_vec());
        Self { at_ns: clock::now(), before: Surroundings::look(cpus) }
    }

    /// CPUs that others used since then, on average; `None` where the kernel does not tell.
    pub fn others(&self) -> Option<f64> {
        let elapsed = (clock::now() - self.at_ns).max(1);
        let seen = self.before.since((0, elapsed));
        Some((seen.foreign_cpu_ns? + seen.steal_ns?) as f64 / elapsed as f64)
    }
}

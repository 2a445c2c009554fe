//! The one clock of the crate: `CLOCK_MONOTONIC` in whole nanoseconds.
//!
//! Key decision: one 64-bit count of nanoseconds that both parties share. A double loses nanoseconds after days of
//! uptime, a wall clock steps, the time-stamp counter needs a calibration that virtual machines may change under us.
//! Source: clock_gettime(2), vdso(7).

use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::Duration;

/// Nanoseconds since an arbitrary start, the same for every process of this boot.
#[inline(always)]
pub fn now() -> u64 {
    #[cfg(test)]
    READINGS.with(|count| count.set(count.get() + 1));
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A length of time as the kernel takes it.
#[inline(always)]
pub fn timespec(length: Duration) -> Timespec {
    Timespec { tv_sec: length.as_secs() as i64, tv_nsec: i64::from(length.subsec_nanos()) }
}

/// CPU time of the whole process so far, ns.
pub fn process_cpu() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Length of the tick in which `/proc` counts CPU time, ns.
pub fn tick_ns() -> u64 {
    1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

#[cfg(test)]
thread_local! {
    /// Readings by this thread, so that a test can prove that there were none.
    pub static READINGS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// How much later than asked the kernel may end a sleep of the calling thread, ns. Source: prctl(2) PR_GET_TIMERSLACK.
pub fn slack() -> Option<u64> {
    nix::sys::prctl::get_timerslack().ok().and_then(|ns| u64::try_from(ns).ok())
}

/// What one call of [`now`] costs, and the smallest step it was seen to make, both in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Timer {
    /// Mean cost of one reading.
    pub cost_ns: f64,
    /// Smallest difference greater than zero between two readings.
    pub tick_ns: u64,
}

impl Timer {
    /// Measures the timer: about half a millisecond.
    pub fn measure() -> Self {
        const READS: u32 = 4000;
        let (start, mut last, mut tick) = (now(), now(), u64::MAX);
        for _ in 0..READS {
            let time = now();
            if time > last {
                tick = tick.min(time - last);
            }
            last = time;
        }
        let smallest = if tick == u64::MAX { 0 } else { tick };
        // The loop reads the clock READS times between `start` and `last`, and once before each of them.
        Self { cost_ns: (last - start) as f64 / f64::from(READS + 1), tick_ns: smallest }
    }
}

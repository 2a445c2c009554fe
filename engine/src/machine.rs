//! What the machine is, as far as a run asks: CPUs and caches, what is allowed and free here, and whether it changed.
//!
//! - [`topology`]: CPUs, cores and caches as the kernel states them
//! - [`cgroup`]: what the control group of the process allows
//! - `watch`: whether something of all this changed under a run

pub mod cgroup;
pub mod topology;
mod watch;

pub use watch::{SWAPPED_IN, Watch, swapped_in};

use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// Where the kernel describes the CPUs, below the root.
pub const CPUS: &str = "sys/devices/system/cpu";

/// The time of day, RFC 3339 in UTC, to the millisecond.
pub fn timestamp() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// The moment that such a time names, to the second or the millisecond; `None` for other text, other zones among it.
pub fn moment(text: &str) -> Option<SystemTime> {
    let at = humantime::parse_rfc3339(text).ok()?;
    // The parser looks no further than it understands.
    let same = [humantime::format_rfc3339_millis(at), humantime::format_rfc3339_seconds(at)];
    same.iter().any(|same| same.to_string() == text).then_some(at)
}

/// Time that the hypervisor gave to others, all CPUs, in clock ticks of 10 ms.
pub fn steal() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().next()?.split_whitespace().nth(8)?.parse().ok()
}

/// A file of the kernel in one line; `None` where it cannot be read or is empty.
pub fn read(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim().replace('\n', "; ").replace('\t', " ");
    (!text.is_empty()).then_some(text)
}

/// Bytes that can be allocated without swapping and within the own control group, where that is known.
pub fn memory_left() -> Option<u64> {
    let root = Path::new("/");
    let kilobytes = field(&root.join("proc/meminfo"), "MemAvailable")?.strip_suffix(" kB")?.parse::<u64>().ok()?;
    let free = kilobytes * 1024;
    Some(cgroup::memory_left(root).map_or(free, |left| left.min(free)))
}

/// The value behind `key:` in a file of the kernel that has a line for each.
pub fn field(path: &Path, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_in_utc_and_no_other_text() {
        let now = timestamp();
        assert_eq!(moment(&now).map(|at| humantime::format_rfc3339_millis(at).to_string()), Some(now));
        assert!(moment("2026-01-31T12:00:00Z") < moment("2026-01-31T12:00:00.001Z"));
        for other in ["", "2026-01-31", "2026-01-31T12:00:00", "2026-01-31T12:00:00+02:00", "2026-01-31T12:00:00ZxxZ"] {
            assert_eq!(moment(other), None, "{other}");
        }
    }
}

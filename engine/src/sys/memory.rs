//! How much memory processes take, as the kernel accounts it. Source: proc_pid_smaps(5), proc_pid_status(5),
//! proc_meminfo(5).
//!
//! Key decision: `smaps_rollup`, which adds up all mappings of a process in the kernel; the proportional set size counts
//! a page that n processes map as 1/n in each. Rejected: `statm`, whose resident size counts it n times.

use std::io;

/// What one process takes, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Proportional set size: shared pages are divided among those who share them.
    pub pss: u64,
    /// Resident set size: shared pages count in full.
    pub rss: u64,
    /// Anonymous memory that is mapped in huge pages.
    pub huge: u64,
    /// Page tables.
    pub tables: u64,
}

impl std::ops::AddAssign for Account {
    fn add_assign(&mut self, other: Self) {
        self.pss += other.pss;
        self.rss += other.rss;
        self.huge += other.huge;
        self.tables += other.tables;
    }
}

impl Account {
    /// That of process `pid`.
    ///
    /// # Errors
    /// ENOENT when there is no such process or the kernel has no `smaps_rollup` (before 4.14); EACCES when it is
    /// somebody else's.
    pub fn of(pid: u32) -> io::Result<Self> {
        let sums = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |text: &str, name: &str| bytes(text, name).ok_or_else(|| io::Error::other(format!("no {name}")));
        Ok(Self {
            pss: field(&sums, "Pss")?,
            rss: field(&sums, "Rss")?,
            huge: field(&sums, "AnonHugePages")?,
            tables: field(&status, "VmPTE")?,
        })
    }
}

/// What the kernel itself has taken, in the whole system, bytes: it does not say for whom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kernel {
    /// Stacks of all tasks in the kernel.
    pub stacks: u64,
    /// Descriptions of tasks, address spaces, files and everything else that it allocates in small pieces.
    pub slab: u64,
}

impl Kernel {
    /// That of now.
    ///
    /// # Errors
    /// When `/proc/meminfo` cannot be read or lacks a line.
    pub fn now() -> io::Result<Self> {
        let text = std::fs::read_to_string("/proc/meminfo")?;
        let field = |name: &str| bytes(&text, name).ok_or_else(|| io::Error::other(format!("no {name}")));
        Ok(Self { stacks: field("KernelStack")?, slab: field("Slab")? })
    }
}

/// The value of a line such as `Pss:   12 kB`.
fn bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_whole_name() {
        let text = "Rss:  8 kB\nPss_Dirty:  1 kB\nPss:   12 kB\n";
        assert_eq!((bytes(text, "Pss"), bytes(text, "Ps")), (Some(12 * 1024), None));
    }

    #[test]
    fn this_process_takes_memory_and_shares_some() {
        let Ok(me) = Account::of(std::process::id()) else { return };
        assert!(me.pss > 0 && me.pss <= me.rss && me.tables > 0, "{me:?}");
    }
}

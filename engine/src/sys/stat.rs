//! What the kernel says of a process in one line. Source: proc_pid_stat(5).
//!
//! Key decision: one reading of `/proc/PID/stat` for everybody who asks it, because its second field, the name of the
//! program, may hold spaces and parentheses: the fields are counted from the last one. Where /proc was mounted for another
//! name space of process ids (unshare(1) --pid without --mount-proc) its numbers are those of other processes: there
//! nothing is known of anybody, rather than something of a stranger. Source: pid_namespaces(7).

use std::sync::OnceLock;

/// The fields that are of use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R`, `S`, `Z` and so on.
    pub state: char,
    /// The process group.
    pub group: u32,
    /// When it started, clock ticks since the system did, by the clock of the name space that asks: time_namespaces(7).
    pub start: u64,
    /// Its threads that have not ended, and its first one even then.
    threads: u32,
}

/// Whether the numbers in /proc are those by which this process knows others.
pub fn has_our_numbers() -> bool {
    static OURS: OnceLock<bool> = OnceLock::new();
    let ask = || {
        let me = std::fs::read_link("/proc/self");
        me.is_ok_and(|me| me.to_str() == Some(std::process::id().to_string().as_str()))
    };
    *OURS.get_or_init(ask)
}

impl Stat {
    /// That of process `pid`; `None` when there is no such process, or it cannot be seen.
    pub fn of(pid: u32) -> Option<Self> {
        if !has_our_numbers() {
            return None;
        }
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // State, parent, group; the threads are field 20 of the line, the start is field 22.
        let fields: Vec<&str> = line[line.rfind(')')? + 1..].split_whitespace().collect();
        let state = fields.first()?.chars().next()?;
        let group = fields.get(2)?.parse().ok()?;
        Some(Self { state, group, start: fields.get(19)?.parse().ok()?, threads: fields.get(17)?.parse().ok()? })
    }

    /// Whether it has ended; a zombie has, unless only its first thread ended and others go on.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }

    /// Whether it waits for something.
    pub fn is_asleep(&self) -> bool {
        matches!(self.state, 'S' | 'D')
    }
}

/// The numbers of all processes that can be seen from here.
pub fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_hold_anything() {
        let line = "12 (a) Z 9 (b) S 1 34 34 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat, Stat { state: 'S', group: 34, start: 4711, threads: 1 });
        assert!(stat.is_asleep() && !stat.has_ended());
        assert_eq!(Stat::parse("12 (cut"), None);
    }

    #[test]
    fn a_process_whose_first_thread_ended_before_the_others_has_not_ended() {
        let line = |threads| format!("12 (a) Z 1 34 34 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {threads} 0 4711 9 9");
        assert!(Stat::parse(&line(1)).unwrap().has_ended());
        assert!(!Stat::parse(&line(2)).unwrap().has_ended());
    }

    #[test]
    fn this_process_runs_in_its_group() {
        let me = Stat::of(std::process::id()).unwrap();
        assert_eq!(me.group, nix::unistd::getpgrp().as_raw() as u32);
        assert!(!me.has_ended() && me.start > 0 && all().any(|pid| pid == std::process::id()));
    }
}

//! On which CPUs the parties run.

use super::words::{serde_as_text, unknown};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Which CPUs the two parties run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Placement {
    /// Both pinned to one CPU.
    SameCpu,
    /// Each pinned to a CPU of its own.
    CrossCpu,
    /// Wherever the scheduler puts them.
    Unpinned,
    /// Pinned to these two, which may be equal.
    Cpus(usize, usize),
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placement::SameCpu => f.pad("same-cpu"),
            Placement::CrossCpu => f.pad("cross-cpu"),
            Placement::Unpinned => f.pad("unpinned"),
            Placement::Cpus(a, b) => f.pad(&format!("cpus:{a},{b}")),
        }
    }
}

impl FromStr for Placement {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "same-cpu" => Ok(Placement::SameCpu),
            "cross-cpu" => Ok(Placement::CrossCpu),
            "unpinned" => Ok(Placement::Unpinned),
            _ => text
                .strip_prefix("cpus:")
                .unwrap_or(text)
                .split_once(',')
                .and_then(|(a, b)| Some(Placement::Cpus(a.trim().parse().ok()?, b.trim().parse().ok()?)))
                .ok_or_else(|| unknown("placement", text, &["same-cpu", "cross-cpu", "unpinned", "two CPUs like 0,1"])),
        }
    }
}
serde_as_text!(Placement);

impl Placement {
    /// The CPUs for the two parties, chosen from those this process may use; `None` leaves them to the scheduler.
    ///
    /// # Errors
    /// `unsupported` when the machine (or the cpuset of the container) does not have what is asked for.
    pub fn resolve(self, allowed: &[usize]) -> Result<Option<[usize; 2]>> {
        let list = || allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match self {
            Placement::Unpinned => Ok(None),
            // The last CPU: the first one tends to serve the interrupts.
            Placement::SameCpu => match allowed.last() {
                Some(cpu) => Ok(Some([*cpu; 2])),
                None => Err(Error::unsupported("no CPU is allowed for this process")),
            },
            Placement::CrossCpu => match allowed {
                [first, second, ..] => Ok(Some([*first, *second])),
                _ => Err(Error::unsupported("cross-cpu needs two CPUs and only one is allowed here")
                    .hint("use --placement same-cpu, or allow more CPUs (taskset, cpuset)")),
            },
            Placement::Cpus(a, b) => match [a, b].into_iter().find(|cpu| !allowed.contains(cpu)) {
                None => Ok(Some([a, b])),
                Some(cpu) => Err(Error::unsupported(format!("CPU {cpu} does not exist or is not allowed here"))
                    .hint(format!("allowed are {}", list()))),
            },
        }
    }
}

/// Reads two CPU numbers such as `0,1`.
///
/// # Errors
/// A usage error that says what is accepted.
pub fn parse_cpus(text: &str) -> Result<Placement> {
    match text.parse() {
        Ok(Placement::Cpus(a, b)) => Ok(Placement::Cpus(a, b)),
        _ => Err(Error::usage(format!("{text:?} is no pair of CPUs")).hint("write them as 0,1")),
    }
}

/// Reads a placement by name; pairs of CPUs are another option's.
///
/// # Errors
/// A usage error that says what is accepted.
pub fn parse_placement(text: &str) -> Result<Placement> {
    match text.parse() {
        Ok(Placement::Cpus(..)) | Err(_) => {
            let choice = "choose from same-cpu, cross-cpu, unpinned, or name the CPUs with --cpus A,B";
            Err(Error::usage(format!("{text:?} is no placement")).hint(choice))
        }
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_refuses_what_the_machine_lacks() {
        assert_eq!(Placement::CrossCpu.resolve(&[0, 1]).unwrap(), Some([0, 1]));
        assert_eq!(Placement::SameCpu.resolve(&[0, 1]).unwrap(), Some([1, 1]));
        assert!(Placement::CrossCpu.resolve(&[3]).is_err());
        let message = Placement::Cpus(0, 9).resolve(&[0, 1]).unwrap_err().to_string();
        assert!(message.contains("CPU 9") && message.contains("0,1"), "{message}");
    }
}

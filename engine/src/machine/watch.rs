//! Whether the machine changed under a run.
//!
//! Key decision: a few small files are read before and after and compared as text: what the kernel writes there is what
//! a run depended on. Nothing is subscribed to, so nothing runs beside the measurement. Rejected: the whole environment
//! record, which takes milliseconds and holds values that always move (load, pressure, free memory).

use super::topology::siblings;
use super::{CPUS, read};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The state of the machine at one moment, to be compared with a later one.
///
/// Looked at are the clock source, the CPUs that are online and those allowed to the calling thread, siblings and
/// governor of the CPUs that a placement would choose, whether SMT is on, and the count of pages swapped in on the whole
/// machine. A look takes less than 100 us (84 us on a virtual machine with 2 CPUs). Start it *before* a run is launched
/// and ask for the changes after it ended, from the same thread. One watch serves many runs as long as nothing changes.
///
/// ```
/// let watch = ipcost_engine::machine::Watch::start();
/// // ... a run ...
/// for change in watch.changes() {
///     println!("do not believe the run: {change}");
/// }
/// ```
#[derive(Debug)]
pub struct Watch {
    root: PathBuf,
    cpus: Vec<usize>,
    before: State,
}

/// The name of the one change that is not the machine's nature but its load.
pub const SWAPPED_IN: &str = "pages swapped in";

/// Name and value; what cannot be read has none.
type State = Vec<(String, Option<String>)>;

impl Watch {
    /// Looks at the machine now.
    pub fn start() -> Self {
        // The first two and the last allowed CPU: where placements put parties. A machine may have hundreds.
        let mut cpus = crate::sys::cpu::allowed().unwrap_or_default();
        let last = cpus.last().copied();
        cpus.truncate(2);
        cpus.extend(last.filter(|cpu| !cpus.contains(cpu)));
        Self::start_under(Path::new("/"), &cpus)
    }

    /// As [`start`](Self::start), for siblings and governor of these CPUs, with `/proc` and `/sys` below another folder.
    /// Only the allowed CPUs are always the calling thread's own.
    pub fn start_under(root: &Path, cpus: &[usize]) -> Self {
        Self { root: root.into(), cpus: cpus.into(), before: look(root, cpus) }
    }

    /// What is different now, one sentence each such as `clock source: tsc became hpet`; empty when nothing is.
    pub fn changes(&self) -> Vec<String> {
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "unreadable".into());
        // Both looks list the same names in the same order.
        let pairs = self.before.iter().zip(look(&self.root, &self.cpus));
        pairs
            .filter(|((_, before), (_, now))| before != now)
            .map(|((name, before), (_, now))| format!("{name}: {} became {}", show(before), show(&now)))
            .collect()
    }
}

fn look(root: &Path, cpus: &[usize]) -> State {
    let file = |path: &str| read(root.join(path));
    let cpu = |name: &str| file(&format!("{CPUS}/{name}"));
    let allowed = crate::sys::cpu::allowed().unwrap_or_default();
    let list = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut state = vec![
        ("clock source".to_string(), file("sys/devices/system/clocksource/clocksource0/current_clocksource")),
        ("CPUs online".into(), cpu("online")),
        ("CPUs allowed".into(), Some(list)),
        ("SMT".into(), cpu("smt/active")),
        (SWAPPED_IN.into(), swapped_in(root)),
    ];
    for number in cpus {
        state.push((format!("siblings of CPU {number}"), siblings(root, *number)));
        state.push((format!("governor of CPU {number}"), cpu(&format!("cpu{number}/cpufreq/scaling_governor"))));
    }
    state
}

/// Pages that the machine has read back from swap since it started.
pub fn swapped_in(root: &Path) -> Option<String> {
    // Room for all of it: the kernel adds the counters of all CPUs up again for every read(2).
    let mut text = String::with_capacity(1 << 15);
    File::open(root.join("proc/vmstat")).ok()?.read_to_string(&mut text).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix("pswpin ")?.trim().to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::topology::tests::plant;
    use super::*;
    use std::fs;

    const CLOCK: &str = "sys/devices/system/clocksource/clocksource0/current_clocksource";

    fn machine() -> tempfile::TempDir {
        plant(&[
            (CLOCK, "tsc"),
            ("sys/devices/system/cpu/online", "0-1"),
            ("sys/devices/system/cpu/smt/active", "0"),
            ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0"),
            ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance"),
            ("proc/vmstat", "nr_free_pages 5\npswpin 7\npswpout 0"),
        ])
    }

    #[test]
    fn a_machine_that_stays_as_it_is_has_no_changes() {
        let root = machine();
        assert_eq!(Watch::start_under(root.path(), &[0, 1]).changes(), [""; 0]);
    }

    #[test]
    fn every_planted_change_is_found_and_named() {
        let changes = [
            (CLOCK, "hpet", "clock source: tsc became hpet"),
            ("sys/devices/system/cpu/online", "0", "CPUs online: 0-1 became 0"),
            ("sys/devices/system/cpu/smt/active", "1", "SMT: 0 became 1"),
            ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,1", "siblings of CPU 0: 0 became 0,1"),
            (
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                "powersave",
                "governor of CPU 0: performance became powersave",
            ),
            ("proc/vmstat", "pswpin 19", "pages swapped in: 7 became 19"),
        ];
        for (path, text, sentence) in changes {
            let root = machine();
            let watch = Watch::start_under(root.path(), &[0, 1]);
            fs::write(root.path().join(path), text).unwrap();
            assert_eq!(watch.changes(), [sentence]);
        }
    }

    #[test]
    fn a_file_that_vanishes_is_a_change_and_one_that_never_was_is_none() {
        let root = machine();
        let watch = Watch::start_under(root.path(), &[0, 1]);
        fs::remove_file(root.path().join(CLOCK)).unwrap();
        assert_eq!(watch.changes(), ["clock source: tsc became unreadable"]);
        assert_eq!(Watch::start_under(root.path(), &[0, 1]).changes(), [""; 0]);
    }

    #[test]
    fn a_caller_that_loses_a_cpu_is_told() {
        let allowed = crate::sys::cpu::allowed().unwrap();
        if allowed.len() < 2 {
            return;
        }
        let root = machine();
        let watch = Watch::start_under(root.path(), &[0, 1]);
        crate::sys::cpu::pin(allowed[0]).unwrap();
        let changes = watch.changes();
        assert!(changes.len() == 1 && changes[0].starts_with("CPUs allowed: "), "{changes:?}");
    }
}

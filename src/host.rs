//! The environment record: what a number depends on besides the code.
//!
//! Key decision: everything is read as text from where the kernel publishes it and kept under the kernel's own words, so
//! that two records can be compared line by line. What cannot be read is absent, never guessed. The machine's name and
//! its users are not recorded: results are meant to be published.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Where and with what something was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Short name made of CPU model, CPU count and hypervisor.
    pub slug: String,
    /// CPU model.
    pub cpu: String,
    /// CPUs of the machine, and those that this process may use.
    pub cpus: usize,
    /// CPUs allowed here.
    pub allowed: Vec<usize>,
    /// Hypervisor, `none` on bare metal.
    pub hypervisor: String,
    /// Kernel release and version.
    pub kernel: String,
    /// Facts in the kernel's words: caches, mitigations, clock source, governor, huge pages, limits, memory.
    pub facts: BTreeMap<String, String>,
    /// The program: version, source revision, compiler, profile.
    pub build: BTreeMap<String, String>,
    /// When the record was taken.
    pub taken: String,
}

/// The time of day, RFC 3339 in UTC, to the millisecond.
pub fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The time of day as a folder name.
pub fn folder_name() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d-%H%M%S").to_string()
}

/// Single files that hold one fact each.
const FACTS: &[(&str, &str)] = &[
    ("clock source", "/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ("governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("turbo", "/sys/devices/system/cpu/cpufreq/boost"),
    ("SMT", "/sys/devices/system/cpu/smt/active"),
    ("idle driver", "/sys/devices/system/cpu/cpuidle/current_driver"),
    ("idle governor", "/sys/devices/system/cpu/cpuidle/current_governor"),
    ("halt polling of the guest, ns", "/sys/module/haltpoll/parameters/guest_halt_poll_ns"),
    ("transparent huge pages", "/sys/kernel/mm/transparent_hugepage/enabled"),
    ("transparent huge pages, shmem", "/sys/kernel/mm/transparent_hugepage/shmem_enabled"),
    ("pipe-max-size", "/proc/sys/fs/pipe-max-size"),
    ("pipe-user-pages-soft", "/proc/sys/fs/pipe-user-pages-soft"),
    ("wmem_default", "/proc/sys/net/core/wmem_default"),
    ("wmem_max", "/proc/sys/net/core/wmem_max"),
    ("inotify max_user_instances", "/proc/sys/fs/inotify/max_user_instances"),
    ("mqueue msgsize_max", "/proc/sys/fs/mqueue/msgsize_max"),
    ("mqueue msg_max", "/proc/sys/fs/mqueue/msg_max"),
    ("randomize_va_space", "/proc/sys/kernel/randomize_va_space"),
    ("load", "/proc/loadavg"),
    ("cgroup cpu.max", "/sys/fs/cgroup/cpu.max"),
    ("pressure, cpu", "/proc/pressure/cpu"),
];

impl Host {
    /// Reads the record of this machine now.
    pub fn read() -> Self {
        let cpu = cpuinfo("model name").or_else(|| cpuinfo("CPU part")).unwrap_or_else(|| "unknown CPU".into());
        let allowed = crate::sys::cpu::allowed().unwrap_or_default();
        let cpus = read("/sys/devices/system/cpu/present").and_then(|text| count(&text)).unwrap_or(allowed.len());
        let hypervisor = hypervisor();
        let mut facts: BTreeMap<String, String> =
            FACTS.iter().filter_map(|(name, path)| Some(((*name).to_string(), read(path)?))).collect();
        facts.extend(read("/proc/cmdline").map(|line| ("kernel parameters".to_string(), timing_parameters(&line))));
        facts.extend(caches());
        facts.extend(mitigations());
        for (key, name) in [("MemTotal", "memory"), ("SwapTotal", "swap"), ("Hugepagesize", "huge page")] {
            facts.extend(meminfo(key).map(|value| (name.to_string(), value)));
        }
        if let Ok(shm) = nix::sys::statvfs::statvfs("/dev/shm") {
            let free = shm.blocks_available() * shm.fragment_size();
            facts.insert("/dev/shm free, bytes".into(), free.to_string());
        }
        facts.extend(steal().map(|ticks| ("steal ticks so far".to_string(), ticks.to_string())));
        let build = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("revision", env!("IPCOST_GIT")),
            ("rustc", env!("IPCOST_RUSTC")),
            ("profile", env!("IPCOST_PROFILE")),
            ("target", env!("IPCOST_TARGET")),
        ];
        Self {
            slug: slug(&format!("{cpu} {cpus}cpu {hypervisor}")),
            cpu,
            cpus,
            allowed,
            hypervisor,
            kernel: [read("/proc/sys/kernel/osrelease"), read("/proc/sys/kernel/version")]
                .map(Option::unwrap_or_default)
                .join(" "),
            facts,
            build: build.map(|(k, v)| (k.to_string(), v.to_string())).into(),
            taken: timestamp(),
        }
    }
}

/// Time that the hypervisor gave to others, all CPUs, in clock ticks of 10 ms.
pub fn steal() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().next()?.split_whitespace().nth(8)?.parse().ok()
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim().replace('\n', "; ");
    (!text.is_empty()).then_some(text)
}

fn cpuinfo(key: &str) -> Option<String> {
    field("/proc/cpuinfo", key)
}

fn meminfo(key: &str) -> Option<String> {
    field("/proc/meminfo", key)
}

fn field(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

/// How many CPUs a list such as `0-3,8` names.
fn count(list: &str) -> Option<usize> {
    list.split(',')
        .map(|part| match part.split_once('-') {
            Some((a, b)) => Some(b.parse::<usize>().ok()?.checked_sub(a.parse().ok()?)? + 1),
            None => part.parse::<usize>().ok().map(|_| 1),
        })
        .sum()
}

fn hypervisor() -> String {
    let flagged = cpuinfo("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let named = crate::sys::cpu::hypervisor().or_else(|| read("/sys/hypervisor/type"));
    named.unwrap_or_else(|| if flagged { "vm" } else { "none" }.into())
}

/// Beginnings of kernel parameters that bear on timing. The rest of the command line says how a machine boots and where
/// its disks are, which is nobody's business.
const TIMING: &[&str] = &[
    "amd_",
    "clocksource",
    "cpuidle",
    "default_hugepagesz",
    "haltpoll",
    "hugepages",
    "hugepagesz",
    "idle",
    "intel_",
    "isolcpus",
    "kvm",
    "lapic",
    "mitigations",
    "nohz",
    "nopti",
    "nosmt",
    "nospectre",
    "numa",
    "preempt",
    "processor.",
    "psi",
    "pti",
    "rcu_nocb",
    "rcutree",
    "retbleed",
    "sched_",
    "skew_tick",
    "spec_",
    "spectre",
    "transparent_hugepage",
    "tsc",
    "workqueue.",
];

fn timing_parameters(line: &str) -> String {
    let kernel = line.split(" -- ").next().unwrap_or_default();
    let bears = |word: &&str| TIMING.iter().any(|beginning| word.starts_with(beginning));
    kernel.split_whitespace().filter(bears).collect::<Vec<_>>().join(" ")
}

fn caches() -> Vec<(String, String)> {
    (0..8)
        .filter_map(|index| {
            let dir = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
            let get = |name: &str| read(format!("{dir}/{name}"));
            let name = format!("cache L{} {}", get("level")?, get("type")?.to_lowercase());
            Some((name, format!("{}, shared by CPUs {}", get("size")?, get("shared_cpu_list")?)))
        })
        .collect()
}

fn mitigations() -> Vec<(String, String)> {
    let Ok(dir) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else { return vec![] };
    dir.flatten()
        .filter_map(|entry| {
            let state = read(entry.path())?;
            (state != "Not affected").then(|| (format!("mitigation {}", entry.file_name().to_string_lossy()), state))
        })
        .collect()
}

/// A name for folders: lower-case letters, digits and single hyphens.
fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_counted() {
        assert_eq!(count("0-3,8"), Some(5));
        assert_eq!(count("0"), Some(1));
        assert_eq!(count("x"), None);
    }

    #[test]
    fn of_the_command_line_only_what_bears_on_timing_is_kept() {
        let line = "BOOT_IMAGE=/boot/x root=UUID=1 isolcpus=2,3 quiet mitigations=off -- init tsc=x";
        assert_eq!(timing_parameters(line), "isolcpus=2,3 mitigations=off");
    }

    #[test]
    fn slugs_fit_a_folder_name() {
        assert_eq!(slug("AMD EPYC(tm) 7B13 2cpu kvm"), "amd-epyc-tm-7b13-2cpu-kvm");
    }

    #[test]
    fn the_record_names_no_machine() {
        let record = serde_json::to_string(&Host::read()).unwrap();
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        // A very short or generic name would be found by chance.
        if name.trim().len() > 6 {
            assert!(!record.contains(name.trim()));
        }
    }
}

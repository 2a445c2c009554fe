//! The environment record: what a number depends on besides the code.
//!
//! Key decision: everything is read as text from where the kernel publishes it and kept under the kernel's own words, so
//! that two records can be compared line by line. What cannot be read is absent, never guessed. The machine's name and
//! its users are not recorded, nor any path of theirs: results are meant to be published.
//!
//! What a run itself asks of the machine lies in [`machine`](crate::machine).

use crate::machine::{CPUS, cgroup, field, read, steal, swapped_in, timestamp, topology};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
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
    /// Facts in the kernel's words: topology, caches, mitigations, clock, idling, huge pages, limits, memory, pressure.
    pub facts: BTreeMap<String, String>,
    /// The program: version, source revision, compiler, flags, profile, the locked dependencies.
    pub build: BTreeMap<String, String>,
    /// When the record was taken.
    pub taken: String,
}

/// The time of day as a folder name.
pub fn folder_name() -> String {
    let now = timestamp();
    format!("{}-{}", &now[..10], now[11..19].replace(':', ""))
}

/// Single files that hold one fact each.
const FACTS: &[(&str, &str)] = &[
    ("clock source", "sys/devices/system/clocksource/clocksource0/current_clocksource"),
    ("clock sources available", "sys/devices/system/clocksource/clocksource0/available_clocksource"),
    ("governor", "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    ("turbo", "sys/devices/system/cpu/cpufreq/boost"),
    ("CPUs online", "sys/devices/system/cpu/online"),
    ("CPUs isolated", "sys/devices/system/cpu/isolated"),
    ("NUMA nodes", "sys/devices/system/node/online"),
    ("SMT", "sys/devices/system/cpu/smt/active"),
    ("SMT control", "sys/devices/system/cpu/smt/control"),
    ("idle driver", "sys/devices/system/cpu/cpuidle/current_driver"),
    ("idle governor", "sys/devices/system/cpu/cpuidle/current_governor"),
    ("halt polling of the guest, ns", "sys/module/haltpoll/parameters/guest_halt_poll_ns"),
    ("halt polling for guests of this kernel, ns", "sys/module/kvm/parameters/halt_poll_ns"),
    ("transparent huge pages", "sys/kernel/mm/transparent_hugepage/enabled"),
    ("transparent huge pages, defrag", "sys/kernel/mm/transparent_hugepage/defrag"),
    ("transparent huge pages, shmem", "sys/kernel/mm/transparent_hugepage/shmem_enabled"),
    ("pipe-max-size", "proc/sys/fs/pipe-max-size"),
    ("pipe-user-pages-soft", "proc/sys/fs/pipe-user-pages-soft"),
    ("pipe-user-pages-hard", "proc/sys/fs/pipe-user-pages-hard"),
    ("wmem_default", "proc/sys/net/core/wmem_default"),
    ("wmem_max", "proc/sys/net/core/wmem_max"),
    ("inotify max_user_instances", "proc/sys/fs/inotify/max_user_instances"),
    ("mqueue msgsize_max", "proc/sys/fs/mqueue/msgsize_max"),
    ("mqueue msg_max", "proc/sys/fs/mqueue/msg_max"),
    ("mqueue queues_max", "proc/sys/fs/mqueue/queues_max"),
    ("sysv msgmax", "proc/sys/kernel/msgmax"),
    ("sysv msgmnb", "proc/sys/kernel/msgmnb"),
    ("sysv sem", "proc/sys/kernel/sem"),
    ("sysv shmmax", "proc/sys/kernel/shmmax"),
    ("randomize_va_space", "proc/sys/kernel/randomize_va_space"),
    ("load", "proc/loadavg"),
    ("pressure, cpu", "proc/pressure/cpu"),
    ("pressure, memory", "proc/pressure/memory"),
    ("pressure, io", "proc/pressure/io"),
];

/// Limits of the process, soft and hard. Source: getrlimit(2).
const ULIMITS: &[(&str, Resource)] = &[
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("stack", Resource::RLIMIT_STACK),
    ("core", Resource::RLIMIT_CORE),
];

impl Host {
    /// Reads the record of this machine now.
    pub fn read() -> Self {
        let cpu = cpuinfo("model name").or_else(|| cpuinfo("CPU part")).unwrap_or_else(|| "unknown CPU".into());
        let allowed = crate::sys::cpu::allowed().unwrap_or_default();
        let root = Path::new("/");
        let present = read(root.join(CPUS).join("present")).and_then(|text| topology::cpus_of(&text));
        let cpus = present.map_or(allowed.len(), |list| list.len());
        let hypervisor = hypervisor();
        let mut facts = files(root);
        facts.extend(steal().map(|ticks| ("steal ticks so far".to_string(), ticks.to_string())));
        facts.extend(shm());
        facts.extend(ULIMITS.iter().filter_map(|(name, resource)| ulimit(name, *resource)));
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
            build: build(),
            taken: timestamp(),
        }
    }
}

/// Everything that is read from files below `root`.
fn files(root: &Path) -> BTreeMap<String, String> {
    let single = |(name, path): &(&str, &str)| Some(((*name).to_string(), read(root.join(path))?));
    let mut facts: BTreeMap<String, String> = FACTS.iter().filter_map(single).collect();
    let parameters = read(root.join("proc/cmdline")).map(|line| timing_parameters(&line));
    facts.extend(parameters.filter(|text| !text.is_empty()).map(|text| ("kernel parameters".into(), text)));
    facts.extend(topology::facts(root));
    facts.extend(caches(root));
    facts.extend(idle_states(root));
    facts.extend(mitigations(root));
    facts.extend(cgroup::facts(root));
    let meminfo = |key: &str| field(&root.join("proc/meminfo"), key);
    for (key, name) in [
        ("MemTotal", "memory"),
        ("MemAvailable", "memory available"),
        ("SwapTotal", "swap"),
        ("Hugepagesize", "huge page"),
    ] {
        facts.extend(meminfo(key).map(|value| (name.to_string(), value)));
    }
    let kilobytes = |key: &str| meminfo(key)?.strip_suffix(" kB")?.parse::<u64>().ok();
    if let (Some(total), Some(free)) = (kilobytes("SwapTotal"), kilobytes("SwapFree")) {
        facts.insert("swap used".into(), format!("{} kB", total.saturating_sub(free)));
    }
    facts.extend(swapped_in(root).map(|pages| ("pages swapped in so far".into(), pages)));
    facts
}

/// Size and free space of the file system that POSIX shared memory lives in.
fn shm() -> Vec<(String, String)> {
    let Ok(shm) = nix::sys::statvfs::statvfs("/dev/shm") else { return vec![] };
    let bytes = |blocks: u64| (blocks * shm.fragment_size()).to_string();
    vec![
        ("/dev/shm size, bytes".into(), bytes(shm.blocks())),
        ("/dev/shm free, bytes".into(), bytes(shm.blocks_available())),
    ]
}

fn ulimit(name: &str, resource: Resource) -> Option<(String, String)> {
    let show = |value| if value == RLIM_INFINITY { "unlimited".into() } else { format!("{value}") };
    let (soft, hard) = getrlimit(resource).ok()?;
    Some((format!("ulimit {name}"), format!("{}, at most {}", show(soft), show(hard))))
}

/// What build.rs found out; what it could not is absent.
fn build() -> BTreeMap<String, String> {
    let known = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", env!("IPCOST_GIT")),
        ("rustc", env!("IPCOST_RUSTC")),
        ("profile", env!("IPCOST_PROFILE")),
        ("lto", env!("IPCOST_LTO")),
        ("codegen-units", env!("IPCOST_CODEGEN_UNITS")),
        ("rustflags", env!("IPCOST_RUSTFLAGS")),
        ("target", env!("IPCOST_TARGET")),
        ("target-cpu", env!("IPCOST_TARGET_CPU")),
        ("Cargo.lock, FNV-1a", env!("IPCOST_LOCK")),
    ];
    known.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.into(), value.into())).collect()
}

fn cpuinfo(key: &str) -> Option<String> {
    field(Path::new("/proc/cpuinfo"), key)
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

fn caches(root: &Path) -> Vec<(String, String)> {
    let show = |cache: topology::Cache| {
        let size = cache.size.map_or("unknown size".into(), |bytes| format!("{} KiB", bytes >> 10));
        (format!("cache L{} {}", cache.level, cache.kind), format!("{size}, shared by CPUs {}", cache.shared))
    };
    topology::caches(root, 0).into_iter().map(show).collect()
}

/// Names of the idle states and what leaving each one takes.
fn idle_states(root: &Path) -> Option<(String, String)> {
    let state = |index: usize| {
        let get = |name: &str| read(root.join(format!("{CPUS}/cpu0/cpuidle/state{index}/{name}")));
        Some(format!("{} {} us", get("name")?, get("latency")?))
    };
    let states: Vec<String> = (0..16).map_while(state).collect();
    (!states.is_empty()).then(|| ("idle states, exit latency".into(), states.join("; ")))
}

fn mitigations(root: &Path) -> Vec<(String, String)> {
    let Ok(dir) = fs::read_dir(root.join(CPUS).join("vulnerabilities")) else { return vec![] };
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
    fn of_the_command_line_only_what_bears_on_timing_is_kept() {
        let line = "BOOT_IMAGE=/boot/x root=UUID=1 isolcpus=2,3 quiet mitigations=off -- init tsc=x";
        assert_eq!(timing_parameters(line), "isolcpus=2,3 mitigations=off");
    }

    #[test]
    fn slugs_fit_a_folder_name() {
        assert_eq!(slug("AMD EPYC(tm) 7B13 2cpu kvm"), "amd-epyc-tm-7b13-2cpu-kvm");
    }

    /// A root folder with these files.
    fn plant(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn files_are_read_under_their_names_and_what_is_missing_is_absent() {
        let root = plant(&[
            ("proc/sys/fs/mqueue/queues_max", "256"),
            ("proc/pressure/io", "some avg10=0.00\nfull avg10=0.00"),
            ("proc/meminfo", "MemTotal: 9 kB\nSwapTotal:  800 kB\nSwapFree: 300 kB"),
            ("proc/cmdline", "root=/dev/x quiet"),
            ("sys/devices/system/cpu/cpu0/cpuidle/state0/name", "POLL"),
            ("sys/devices/system/cpu/cpu0/cpuidle/state0/latency", "0"),
            ("sys/devices/system/cpu/cpu0/cpuidle/state1/name", "C1"),
            ("sys/devices/system/cpu/cpu0/cpuidle/state1/latency", "2"),
        ]);
        let expected = [
            ("idle states, exit latency", "POLL 0 us; C1 2 us"),
            ("memory", "9 kB"),
            ("mqueue queues_max", "256"),
            ("pressure, io", "some avg10=0.00; full avg10=0.00"),
            ("swap", "800 kB"),
            ("swap used", "500 kB"),
        ];
        assert_eq!(files(root.path()), expected.map(|(name, value)| (name.into(), value.into())).into());
    }

    #[test]
    fn limits_of_the_process_are_recorded() {
        let facts = Host::read().facts;
        for (name, _) in ULIMITS {
            assert!(facts.contains_key(&format!("ulimit {name}")), "{name} is missing");
        }
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

    #[test]
    fn the_record_names_no_user_and_no_folder_of_one() {
        let host = Host::read();
        let values: Vec<&String> = host.facts.values().chain(host.build.values()).collect();
        let has = |text: &str| values.iter().any(|value| value.contains(text));
        assert!(!has("/home/") && !has("/root/"), "{values:?}");
        let Ok(Some(user)) = nix::unistd::User::from_uid(nix::unistd::getuid()) else { return };
        let home = user.dir.to_string_lossy();
        assert!(home == "/" || !has(&home), "{values:?}");
        let mut words = values.iter().flat_map(|value| value.split(|c: char| !c.is_alphanumeric()));
        // A generic name is a word of the record whoever runs this.
        let generic = ["root", "user", "linux", "build"].contains(&user.name.as_str()) || user.name.len() < 3;
        assert!(generic || !words.any(|word| word == user.name), "{values:?}");
    }
}

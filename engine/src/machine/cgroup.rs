//! What the control group of this process allows it.
//!
//! Key decision: the files of version 1 and of version 2 have different names, so one list of names is looked for in
//! every group that the process is in, and what is there is recorded under the kernel's own name. The path of the group
//! is not recorded: it names users, containers and jobs. Source: cgroups(7), the kernel's cgroup-v2 documentation.

use super::read;
use std::fs;
use std::path::{Path, PathBuf};

const FILES: &[&str] = &[
    "cpu.max",
    "cpu.weight",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpu.shares",
    "memory.max",
    "memory.limit_in_bytes",
    "cpuset.cpus.effective",
    "cpuset.effective_cpus",
    "pids.max",
];

const MOUNT: &str = "sys/fs/cgroup";

/// A group that the process is in.
struct Group {
    /// The controllers of version 1; empty for version 2.
    controllers: String,
    /// Where its hierarchy is mounted.
    mount: PathBuf,
    /// Its folder, or that of the hierarchy when the group itself cannot be seen from here.
    folder: PathBuf,
}

fn groups(root: &Path) -> Vec<Group> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    text.lines().filter_map(|line| group(root, line)).collect()
}

/// The group of a line such as `4:memory:/a/b` or `0::/a/b`.
fn group(root: &Path, line: &str) -> Option<Group> {
    let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
    let base = root.join(MOUNT);
    let mount = match controllers {
        "" if base.join("unified").is_dir() => base.join("unified"),
        "" => base,
        named => base.join(named.trim_start_matches("name=")),
    };
    // In a namespace of its own a process may be in a group above what is mounted, which is written with "..".
    let inside = mount.join(path.trim_start_matches('/'));
    let folder = if path.contains("..") || !inside.is_dir() { mount.clone() } else { inside };
    folder.is_dir().then(|| Group { controllers: controllers.into(), mount, folder })
}

/// The version of the interface and the limits of the own group.
pub fn facts(root: &Path) -> Vec<(String, String)> {
    let groups = groups(root);
    let first =
        groups.iter().any(|group| !matches!(group.controllers.as_str(), "") && !group.controllers.contains('='));
    let version = (!groups.is_empty()).then(|| ("cgroup version".to_string(), if first { "1" } else { "2" }.into()));
    let limits = groups.iter().flat_map(|group| {
        FILES.iter().filter_map(|name| Some((format!("cgroup {name}"), read(group.folder.join(name))?)))
    });
    version.into_iter().chain(limits).collect()
}

/// Bytes that the own group and those above it still allow; `None` where nothing limits.
///
/// What the kernel can drop at once (files that nobody used lately) counts as free.
pub fn memory_left(root: &Path) -> Option<u64> {
    folders(root).filter_map(|folder| left_in(&folder)).min()
}

/// CPUs that the own group and those above it may use on average; `None` where nothing limits.
pub fn cpu_quota(root: &Path) -> Option<f64> {
    folders(root).filter_map(|folder| quota_in(&folder)).min_by(f64::total_cmp)
}

fn quota_in(folder: &Path) -> Option<f64> {
    let number = |text: Option<&str>| text?.parse::<f64>().ok().filter(|number| *number > 0.0);
    let second = read(folder.join("cpu.max"));
    let mut words = second.as_deref().unwrap_or_default().split_whitespace();
    let first = |name: &str| number(read(folder.join(name)).as_deref());
    let (quota, period) = (number(words.next()), number(words.next()));
    Some(quota.or_else(|| first("cpu.cfs_quota_us"))? / period.or_else(|| first("cpu.cfs_period_us"))?)
}

/// The folders of the own groups and of those above them.
fn folders(root: &Path) -> impl Iterator<Item = PathBuf> {
    let above = |group: Group| {
        let folders: Vec<PathBuf> = group.folder.ancestors().map(Path::to_path_buf).collect();
        folders.into_iter().take_while(move |folder| folder.starts_with(&group.mount))
    };
    groups(root).into_iter().flat_map(above)
}

fn left_in(folder: &Path) -> Option<u64> {
    let number = |name: &str| read(folder.join(name))?.parse::<u64>().ok();
    let either = |second: &str, first: &str| number(second).or_else(|| number(first));
    let limit = either("memory.max", "memory.limit_in_bytes")?;
    let used = either("memory.current", "memory.usage_in_bytes")?;
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let idle = |key: &str| stat.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok());
    let idle = idle("total_inactive_file ").or_else(|| idle("inactive_file ")).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(idle)))
}

#[cfg(test)]
mod tests {
    use super::super::topology::tests::plant;
    use super::*;

    #[test]
    fn version_two_is_read_from_the_own_group_and_its_path_is_kept_secret() {
        let root = plant(&[
            ("proc/self/cgroup", "0::/user.slice/job"),
            ("sys/fs/cgroup/user.slice/job/cpu.max", "50000 100000"),
            ("sys/fs/cgroup/user.slice/job/memory.max", "max"),
        ]);
        let facts = facts(root.path());
        let expected = [("cgroup version", "2"), ("cgroup cpu.max", "50000 100000"), ("cgroup memory.max", "max")];
        assert_eq!(facts, expected.map(|(a, b)| (a.to_string(), b.to_string())));
        assert_eq!(memory_left(root.path()), None);
    }

    #[test]
    fn version_one_is_read_from_every_hierarchy() {
        let root = plant(&[
            ("proc/self/cgroup", "9:name=systemd:/\n4:memory:/a\n1:cpu:/../elsewhere\n0::/"),
            ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1000"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1"),
            ("sys/fs/cgroup/unified/cgroup.procs", ""),
        ]);
        let facts = facts(root.path());
        let expected =
            [("cgroup version", "1"), ("cgroup memory.limit_in_bytes", "1000"), ("cgroup cpu.cfs_quota_us", "-1")];
        assert_eq!(facts, expected.map(|(a, b)| (a.to_string(), b.to_string())));
    }

    #[test]
    fn the_tightest_group_above_decides_what_memory_is_left() {
        let root = plant(&[
            ("proc/self/cgroup", "0::/outer/inner"),
            ("sys/fs/cgroup/outer/memory.max", "1000"),
            ("sys/fs/cgroup/outer/memory.current", "900"),
            ("sys/fs/cgroup/outer/memory.stat", "anon 500\ninactive_file 300"),
            ("sys/fs/cgroup/outer/inner/memory.max", "5000"),
            ("sys/fs/cgroup/outer/inner/memory.current", "100"),
        ]);
        assert_eq!(memory_left(root.path()), Some(400));
    }

    #[test]
    fn the_tightest_quota_above_decides_how_many_cpus_there_are() {
        let root = plant(&[
            ("proc/self/cgroup", "0::/outer/inner"),
            ("sys/fs/cgroup/outer/cpu.max", "150000 100000"),
            ("sys/fs/cgroup/outer/inner/cpu.max", "max 100000"),
        ]);
        assert_eq!(cpu_quota(root.path()), Some(1.5));
        let first = plant(&[
            ("proc/self/cgroup", "1:cpu:/a"),
            ("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "50000"),
            ("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1"),
        ]);
        assert_eq!(cpu_quota(first.path()), Some(0.5));
        assert_eq!(cpu_quota(plant(&[]).path()), None);
    }

    #[test]
    fn without_control_groups_there_are_no_facts() {
        assert!(facts(plant(&[]).path()).is_empty());
    }
}

//! What the kernel states about CPUs, cores and caches.
//!
//! Key decision: the kernel's statement is kept apart from what is concluded from it, because a virtual machine's kernel
//! repeats what the hypervisor tells it, which need not be where its CPUs run. Every reader takes the root of the file
//! tree, so that a test can plant another machine. Rejected: CPUID, which other architectures lack and which comes from
//! the same hypervisor. Source: the kernel's Documentation/ABI/stable/sysfs-devices-system-cpu, sysfs(5).

use super::{CPUS, read};
use std::collections::BTreeSet;
use std::path::Path;

/// One cache as one CPU sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// 1 is next to the core.
    pub level: u32,
    /// `data`, `instruction` or `unified`.
    pub kind: String,
    /// Bytes, where stated.
    pub size: Option<usize>,
    /// CPUs that share it, as a list such as `0-3,8`.
    pub shared: String,
}

/// The caches of a CPU, nearest first, as the kernel numbers them.
pub fn caches(root: &Path, cpu: usize) -> Vec<Cache> {
    (0..8)
        .filter_map(|index| {
            let get = |name: &str| read(root.join(format!("{CPUS}/cpu{cpu}/cache/index{index}/{name}")));
            Some(Cache {
                level: get("level")?.parse().ok()?,
                kind: get("type")?.to_lowercase(),
                size: get("size").as_deref().and_then(bytes),
                shared: get("shared_cpu_list")?,
            })
        })
        .collect()
}

/// The CPUs that are hardware threads of the same core, the given one among them, as a list.
pub fn siblings(root: &Path, cpu: usize) -> Option<String> {
    read(root.join(format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list")))
}

/// Packages, cores, threads per core and the lists of siblings, as far as they are stated.
pub fn facts(root: &Path) -> Vec<(String, String)> {
    let online = read(root.join(CPUS).join("online")).and_then(|list| cpus_of(&list)).unwrap_or_default();
    let package = |cpu: &usize| read(root.join(format!("{CPUS}/cpu{cpu}/topology/physical_package_id")));
    let packages: BTreeSet<String> = online.iter().filter_map(package).collect();
    // In the order of the CPUs, which their text is not.
    let cores: BTreeSet<Vec<usize>> =
        online.iter().filter_map(|cpu| siblings(root, *cpu)).filter_map(|list| cpus_of(&list)).collect();
    let Some(threads) = cores.iter().map(Vec::len).max() else { return vec![] };
    let show = |core: &Vec<usize>| core.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    [
        ("topology, packages", packages.len().to_string()),
        ("topology, cores", cores.len().to_string()),
        ("topology, threads per core", threads.to_string()),
        ("topology, siblings", cores.iter().map(show).collect::<Vec<_>>().join("; ")),
    ]
    .map(|(name, value)| (name.to_string(), value))
    .into()
}

/// More CPUs than any kernel counts (CONFIG_NR_CPUS): a list that names one beyond is none.
const MOST_CPUS: usize = 1 << 16;

/// The CPUs that a list such as `0-3,8` names; `None` when it is no list.
pub fn cpus_of(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last >= MOST_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// A size as sysfs writes it: `32K`, `1M`, or plain bytes.
fn bytes(text: &str) -> Option<usize> {
    let (digits, unit) = match text.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix('M').map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs;

    /// A tree of files, given as path and content.
    pub fn plant(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        root
    }

    #[test]
    fn cpu_lists_name_their_cpus() {
        assert_eq!(cpus_of("0-3,8"), Some(vec![0, 1, 2, 3, 8]));
        assert_eq!(cpus_of("5\n"), Some(vec![5]));
        assert_eq!(cpus_of(""), None);
        for none in ["x", "3-1", "0-99999999", "0-18446744073709551615", "1,,2", "-1", "1-"] {
            assert_eq!(cpus_of(none), None, "{none}");
        }
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(
            [bytes("32K"), bytes("2M"), bytes("512"), bytes("big")],
            [Some(32768), Some(2 << 20), Some(512), None]
        );
    }

    #[test]
    fn caches_that_are_half_stated_are_left_out() {
        let dir = format!("{CPUS}/cpu2/cache");
        let (whole, half) = (format!("{dir}/index0"), format!("{dir}/index1"));
        let root = plant(&[
            (&format!("{whole}/level"), "1"),
            (&format!("{whole}/type"), "Data"),
            (&format!("{whole}/size"), "48K"),
            (&format!("{whole}/shared_cpu_list"), "2,6"),
            (&format!("{half}/level"), "2"),
        ]);
        let cache = Cache { level: 1, kind: "data".into(), size: Some(48 << 10), shared: "2,6".into() };
        assert_eq!(caches(root.path(), 2), [cache]);
        assert!(caches(root.path(), 0).is_empty());
    }

    #[test]
    fn cores_are_counted_once_however_many_threads_they_have() {
        let mut files = vec![(format!("{CPUS}/online"), "0-3".to_string())];
        for (cpu, list) in ["0,2", "1,3", "0,2", "1,3"].iter().enumerate() {
            files.push((format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list"), (*list).into()));
            files.push((format!("{CPUS}/cpu{cpu}/topology/physical_package_id"), "0".into()));
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let values: Vec<String> = facts(plant(&files).path()).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["1", "2", "2", "0,2; 1,3"]);
        assert!(facts(plant(&[]).path()).is_empty(), "nothing stated is nothing recorded");
    }
}

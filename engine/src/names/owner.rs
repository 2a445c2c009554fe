//! Whose a name is: the process that made it, told apart from every other one that had or will have its number.
//!
//! Key decision: a name that this tool invents carries process id, start time, the space in which these two mean something,
//! and a check sum. With the start time a process that was given the same number later is not taken for the owner. The space
//! is the name space of process ids, that of clocks, by which the kernel tells a start time to whoever asks, and the boot of the
//! machine: a name from another one (a container that shares /dev/shm, a host that shares a file system, the same host before
//! it was started again) is known to be one of which nothing can be said from here. The check sum keeps a name that merely looks similar from being taken for one of ours. Rejected: the
//! process id alone, which the system uses again; a prefix alone, which anybody may choose. Source: proc_pid_stat(5) field
//! 22, pid_namespaces(7), time_namespaces(7), random(4).

use crate::sys::process;
use crate::sys::stat::Stat;
use std::fmt;
use std::fs;
use std::sync::OnceLock;

/// What every invented name begins with.
const PREFIX: &str = "ipcost-";

/// A process, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// When it started, clock ticks since the system did; 0 where it could not find out.
    pub start: u64,
    /// The space of both: a number made from the name space of process ids and the boot.
    pub space: u64,
}

/// What is known of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Alive,
    /// It has ended.
    Dead,
    /// Its number means nothing here.
    Elsewhere,
}

/// The start time of process `pid` as proc(5) has it; `None` when there is no such process, or only its zombie.
fn started(pid: u32) -> Option<u64> {
    Stat::of(pid).filter(|stat| !stat.has_ended()).map(|stat| stat.start)
}

/// Where this process's numbers mean something.
fn space() -> u64 {
    static SPACE: OnceLock<u64> = OnceLock::new();
    *SPACE.get_or_init(|| {
        let link = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
        let links = link("pid").display().to_string() + &link("time").display().to_string();
        space_of(&fs::read_to_string(BOOT).unwrap_or_default(), &links)
    })
}

/// What a boot of a machine is called, and no other one: random(4).
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// 40 bits of both: the first name spaces of all machines have one inode number.
fn space_of(boot: &str, links: &str) -> u64 {
    let hash = fnv(boot.trim().bytes().chain([0]).chain(links.bytes()));
    (hash >> 40 ^ hash) & ((1 << 40) - 1)
}

impl Owner {
    /// The calling process. Asked of the kernel once for each process, so that inventing a name costs no system call.
    pub fn me() -> Self {
        static ME: OnceLock<Owner> = OnceLock::new();
        let pid = std::process::id();
        let ask = || Self { pid, start: started(pid).unwrap_or(0), space: space() };
        let known = *ME.get_or_init(ask);
        // A forked child inherits what its parent knew of itself.
        if known.pid == pid { known } else { ask() }
    }

    /// Whether it still runs.
    pub fn state(&self) -> State {
        match self.space == space() {
            false => State::Elsewhere,
            true if started(self.pid) == Some(self.start) => State::Alive,
            // Where /proc hides processes, only their numbers can be asked for.
            true if self.start == 0 || started(self.pid).is_none() => {
                if process::is_gone(self.pid) {
                    State::Dead
                } else {
                    State::Alive
                }
            }
            true => State::Dead,
        }
    }

    /// The name of this owner's with that number.
    pub fn name(&self, nonce: u32) -> String {
        let Self { pid, start, space } = self;
        let body = format!("{pid:x}-{start:x}-{space:x}-{nonce:08x}");
        format!("{PREFIX}{body}-{:08x}", check(&body))
    }

    /// The owner of a name that one of our processes invented, or of one that begins with such a name and goes on with an
    /// underscore.
    pub fn of_name(name: &str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        let mut fields = rest.splitn(5, '-');
        let (pid, start, space, nonce) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let sum = fields.next()?;
        let (sum, end) = sum.split_at_checked(8)?;
        let body = format!("{pid}-{start}-{space}-{nonce}");
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        if !(end.is_empty() || end.starts_with('_')) || sum != format!("{:08x}", check(&body)) {
            return None;
        }
        let owner = Self { pid: u32::try_from(hex(pid)?).ok()?, start: hex(start)?, space: hex(space)? };
        (owner.pid > 0).then_some(owner)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)
    }
}

/// A name that nobody else has or has had, and that says whose it is.
pub fn invent() -> String {
    Owner::me().name(fastrand::u32(..))
}

/// FNV-1a, 32 bits, of the words and what they stand for.
fn check(body: &str) -> u32 {
    let bytes = b"ipcost names 1:".iter().chain(body.as_bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// FNV-1a, 64 bits.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invented_name_says_whose_it_is() {
        let name = invent();
        assert_eq!(Owner::of_name(&name), Some(Owner::me()));
        assert_eq!(Owner::of_name(&format!("{name}_more.of-it")), Some(Owner::me()));
        assert_ne!(name, invent());
    }

    #[test]
    fn a_name_that_looks_similar_is_not_ours() {
        let name = invent();
        let other = if name.ends_with('0') { "1" } else { "0" };
        for foreign in [
            &format!("{}{other}", &name[..name.len() - 1]),
            &format!("{name}x"),
            &format!("x{name}"),
            "ipcost-12-34-56-00000001-00000000",
            "ipcost-1000-pipe",
            "ipcost-",
            "",
        ] {
            assert_eq!(Owner::of_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn another_boot_or_another_name_space_is_another_space() {
        let boots = ["0f5d3b1e-7c1a-4a53-9c1e-2f1d2c3b4a59", "0f5d3b1e-7c1a-4a53-9c1e-2f1d2c3b4a58"];
        let here = space_of(boots[0], "pid:[4026531836]");
        assert_eq!(here, space_of(&format!("{}\n", boots[0]), "pid:[4026531836]"));
        assert_ne!(here, space_of(boots[1], "pid:[4026531836]"), "another boot");
        assert_ne!(here, space_of(boots[0], "pid:[4026531837]"), "another name space");
        assert!(here < 1 << 40, "a name would become longer than it has to be");
        let me = Owner::me();
        let elsewhere = Owner { space: space_of(boots[1], "pid:[4026531836]"), ..me };
        assert_eq!(Owner::of_name(&elsewhere.name(1)).unwrap().state(), State::Elsewhere);
    }

    #[test]
    fn a_number_that_was_used_again_is_not_the_owner() {
        let me = Owner::me();
        assert_eq!(me.state(), State::Alive);
        assert_eq!(Owner { start: me.start + 1, ..me }.state(), State::Dead);
        assert_eq!(Owner { space: me.space + 1, ..me }.state(), State::Elsewhere);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let theirs = Owner { pid: child.id(), start: started(child.id()).unwrap(), ..me };
        assert_eq!(theirs.state(), State::Alive);
        child.kill().unwrap();
        // A zombie has ended, too.
        while theirs.state() == State::Alive {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert_eq!(theirs.state(), State::Dead);
    }
}

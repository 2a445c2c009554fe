//! The ring of `shm-ring` in a System V shared memory segment.
//!
//! Key decision: the segment is marked for removal as soon as it is attached. On Linux it then lives until the last process
//! detaches it, so that a run leaves nothing behind unless it is killed between these two calls, and a fork inherits the
//! attachment. Only two programs that are started separately need the key for longer, and the consumer removes it as soon
//! as it has attached. Rejected: the key for the length of the run, which a killed run leaves in the system's table;
//! `IPC_PRIVATE`, whose leftovers nobody can recognise. Source: shmget(2), shmop(2), shmctl(2).

use super::ring::{Backing, Ring};
use super::{ALL_WAITS, BOTH, Bound, Config, Family, Meeting, PATTERNS, PeerDeath, Spec, UNLIMITED, memory_for};
use crate::error::{Context, Error, Phase, Result};
use crate::names::{Identity, Name, Seen, Thing};
use crate::shm::region::{PAGE, Region, RingShape};
use crate::sys::sysv::{self, Found, Sort};
use std::io::{self, ErrorKind};

/// See the [module](self).
#[derive(Debug)]
pub struct SysvSegment;

/// `sysv-shm`.
pub type SysvShm = Ring<SysvSegment>;

impl Backing for SysvSegment {
    const SPEC: &'static Spec = &Spec {
        name: "sysv-shm",
        summary: "the ring of shm-ring in a System V segment, removed as soon as it is attached",
        family: Family::SharedMemory,
        parties: BOTH,
        waits: ALL_WAITS,
        copies: 0,
        max_size: UNLIMITED,
        peer_death: PeerDeath::WATCHED,
        patterns: PATTERNS,
        meeting: Meeting::Key,
        sources: &["sysvipc(7)", "shmget(2)", "shmop(2)", "shmctl(2)", "futex(2)"],
    };

    fn bound() -> Bound {
        let spec = Self::SPEC;
        let needed = RingShape::new(spec.max_size, memory_for(spec.max_size)).region_len() as u64;
        match sysv::setting("shmmax").filter(|largest| *largest < needed) {
            // Up to four messages and a page of header have to fit.
            Some(largest) => Bound {
                size: (largest as usize / 4).saturating_sub(2 * PAGE),
                set_by: Some(format!("kernel.shmmax = {largest} (raise it with sysctl -w kernel.shmmax=BYTES)")),
            },
            None => Bound { size: spec.max_size, set_by: None },
        }
    }

    fn region(cfg: &Config, len: usize) -> Result<Region> {
        for (name, note) in [("shmmax", "kernel.shmmax, bytes"), ("shmall", "kernel.shmall, pages")] {
            cfg.note(note, sysv::setting(name).map_or("unknown".into(), |value| value.to_string()));
        }
        let id = loop {
            match sysv::create_segment(fastrand::i32(sysv::KEYS), len) {
                // Somebody has that key: one of a million others is free.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                other => break other.map_err(|error| no_segment(len, &error))?,
            }
        };
        let region = sysv::attach(id).context(Phase::Setup, "cannot attach a System V segment");
        let _ = sysv::remove_segment(id);
        region
    }

    fn create(at: &str, len: usize) -> Result<(Region, Name)> {
        let id = sysv::create_segment(parse_key(at)?, len).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => taken(at, "segment", &error),
            _ => no_segment(len, &error),
        })?;
        let name = Name::of(Thing::SysvSegment(id));
        Ok((sysv::attach(id).context(Phase::Start, format!("cannot attach the segment with key {at}"))?, name))
    }

    fn open(at: &str) -> Result<Option<(Region, Seen)>> {
        let find = |id| sysv::own(Sort::Segment, id).and_then(|()| Ok((id, sysv::attach(id)?)));
        match sysv::find_segment(parse_key(at)?).and_then(find) {
            Ok((id, region)) => {
                let seen = Seen { thing: Thing::SysvSegment(id), identity: Identity::default() };
                Ok((region.len() >= PAGE).then_some((region, seen)))
            }
            // Removed between the look and the attachment is not there either.
            Err(error) if error.kind() == ErrorKind::NotFound || sysv::is_removed(&error) => Ok(None),
            Err(error) => Err(Error::failed(Phase::Start, format!("cannot attach the segment with key {at}"))
                .because(error)
                .hint("choose another key with --at")),
        }
    }

    fn reclaim(at: &str) -> Result<()> {
        remove_abandoned(Sort::Segment, parse_key(at)?, at);
        Ok(())
    }
}

/// Removes what has that key if it is this user's and all who used it are gone; leaves everything else alone. The identifier
/// is that of this very object, and is not used again soon.
pub(super) fn remove_abandoned(sort: Sort, key: i32, at: &str) {
    let me = nix::unistd::geteuid().as_raw();
    let left = |found: &Found| (found.sort, found.key, found.user) == (sort, key, me) && found.is_abandoned();
    for left in sysv::objects().iter().filter(|found| left(found)) {
        eprintln!("removing {at}, left behind by process {}", left.users[0]);
        let _ = left.remove();
    }
}

fn no_segment(len: usize, error: &io::Error) -> Error {
    let setting = |name| sysv::setting(name).map_or("unknown".into(), |value| value.to_string());
    Error::unsupported(format!("no System V segment of {len} bytes can be made here")).because(error).hint(format!(
        "kernel.shmmax = {} bytes, kernel.shmall = {} pages, kernel.shmmni = {}: raise them with sysctl -w, or choose a \
         smaller --size",
        setting("shmmax"),
        setting("shmall"),
        setting("shmmni")
    ))
}

/// The error of a program whose key somebody else uses.
pub(super) fn taken(at: &str, what: &str, error: &io::Error) -> Error {
    Error::failed(Phase::Start, format!("cannot create a {what} with key {at}"))
        .because(error)
        .hint("choose another key with --at; ipcs shows which are taken")
}

/// The System V key that `at` means: a number, as ipcs(1) writes it or decimal.
pub fn parse_key(at: &str) -> Result<i32> {
    let key = match at.strip_prefix("0x") {
        Some(hex) => i32::from_str_radix(hex, 16).ok(),
        None => at.parse().ok(),
    };
    key.filter(|key| sysv::KEYS.contains(key)).ok_or_else(|| {
        let (first, last) = (sysv::KEYS.start, sysv::KEYS.end - 1);
        Error::usage(format!("{at:?} is no System V key of this tool")).hint(format!(
            "choose one from {first:#x} to {last:#x}, so that leftovers can be told from other programs'"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_hexadecimal_or_decimal_and_one_of_ours() {
        assert_eq!(parse_key("0x1bc00007").unwrap(), 0x1bc0_0007);
        assert_eq!(parse_key(&0x1bcf_ffff.to_string()).unwrap(), 0x1bcf_ffff);
        for foreign in ["0", "0x1bd00000", "0x1bbfffff", "-1", "key", ""] {
            assert_eq!(parse_key(foreign).unwrap_err().exit_code(), 2, "{foreign}");
        }
    }
}

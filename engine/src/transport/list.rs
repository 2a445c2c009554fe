//! The one list of mechanisms. Registry, help, docs, conformance suite and benches all read it.

use super::dynamic::Pair;
use super::{Bound, Config, Met, Role, Spec, Transport};
use crate::cell::{self, Conductor, Outcome};
use crate::error::{Error, Result};
use crate::plan::{Parties, Plan, Workload};
use crate::role::{self, Heard, Speech};
use crate::session::cast::{self, Ends};
use crate::workload::half::{Half, Whole};
use std::marker::PhantomData;

/// A mechanism with its types erased, once per run.
pub trait Runner: Sync {
    /// What it is.
    fn spec(&self) -> &'static Spec;

    /// See [`Transport::bound`].
    fn bound(&self) -> Bound;

    /// See [`Transport::usable`].
    ///
    /// # Errors
    /// Why it cannot be used here.
    fn usable(&self) -> Result<()>;

    /// [`Transport::link`], for two parties.
    ///
    /// # Errors
    /// As that.
    fn halves(&self, cfg: &Config) -> Result<[Box<dyn Half>; 2]>;

    /// [`Transport::link`], for one party.
    ///
    /// # Errors
    /// As that; `unsupported` where the mechanism connects two parties.
    fn whole(&self, cfg: &Config) -> Result<Box<dyn Whole>>;

    /// The ends of a pattern.
    ///
    /// # Errors
    /// See [`cast::ends_of`].
    fn pattern(&self, plan: &Plan, cfg: &Config) -> Result<Box<dyn Ends>>;

    /// One run in this process, which must be freshly launched and single-threaded.
    ///
    /// # Errors
    /// See [`cell::run`].
    fn run(&self, plan: &Plan, conductor: &mut dyn Conductor) -> Result<Outcome>;

    /// Both ends of one direction, each behind a pointer: for what is not timed.
    ///
    /// # Errors
    /// See [`Transport::one_way`].
    fn ends(&self, cfg: &Config) -> Result<Pair>;

    /// The producer's half of two separately started programs.
    ///
    /// # Errors
    /// See [`role::produce`].
    fn produce(&self, cfg: &Config, at: &str, speech: &Speech) -> Result<u64>;

    /// The consumer's half.
    ///
    /// # Errors
    /// See [`role::consume`].
    fn consume(&self, cfg: &Config, at: &str) -> Result<Heard>;
}

/// The eraser.
pub(crate) struct Erased<T>(PhantomData<fn() -> T>);

impl<T> Erased<T> {
    /// It holds nothing.
    pub(crate) const NEW: Self = Self(PhantomData);
}

/// Whether the mechanism is one party's only.
const fn is_solo(spec: &Spec) -> bool {
    matches!(spec.parties, [Parties::Solo])
}

impl<T: Transport> Runner for Erased<T> {
    fn spec(&self) -> &'static Spec {
        T::SPEC
    }

    fn bound(&self) -> Bound {
        T::bound()
    }

    fn usable(&self) -> Result<()> {
        T::usable()
    }

    fn halves(&self, cfg: &Config) -> Result<[Box<dyn Half>; 2]> {
        let [near, far] = T::link(cfg)?;
        Ok([Box::new(near), Box::new(far)])
    }

    fn whole(&self, cfg: &Config) -> Result<Box<dyn Whole>> {
        // Decided when it is compiled, so that the loops of one party exist for the controls only.
        if const { is_solo(T::SPEC) } {
            Ok(Box::new(T::link(cfg)?))
        } else {
            Err(Error::unsupported(format!("{} connects two parties", T::SPEC.name)))
        }
    }

    fn pattern(&self, plan: &Plan, cfg: &Config) -> Result<Box<dyn Ends>> {
        cast::ends_of::<T>(plan, cfg)
    }

    fn run(&self, plan: &Plan, conductor: &mut dyn Conductor) -> Result<Outcome> {
        cell::run_erased(self, plan, conductor)
    }

    fn ends(&self, cfg: &Config) -> Result<Pair> {
        let (tx, rx) = T::one_way(cfg)?;
        Ok((Box::new(tx), Box::new(rx)))
    }

    fn produce(&self, cfg: &Config, at: &str, speech: &Speech) -> Result<u64> {
        match T::meet(cfg, at, Role::Producer)? {
            Met::Tx(tx) => role::produce(tx, speech),
            Met::Rx(..) => unreachable!("a producer meets with a sending end"),
        }
    }

    fn consume(&self, cfg: &Config, at: &str) -> Result<Heard> {
        match T::meet(cfg, at, Role::Consumer)? {
            Met::Rx(rx, size) => role::consume(rx, size),
            Met::Tx(_) => unreachable!("a consumer meets with a receiving end"),
        }
    }
}

macro_rules! list {
    ($($(#[$when:meta])? $transport:ty),+ $(,)?) => { &[$($(#[$when])? &Erased::<$transport>::NEW),+] };
}

/// Every mechanism, in the order in which it is listed.
pub static ALL: &[&dyn Runner] = list![
    super::Pipe,
    super::FileRing,
    super::MmapFile,
    super::Unix,
    super::LocalSocket,
    super::ShmRing,
    super::ShmSlot,
    super::PosixShm,
    super::HeapRing,
    super::MutexQueue,
    super::Fifo,
    super::Seqpacket,
    super::Dgram,
    super::Tcp,
    super::Udp,
    super::HeapHandoff,
    super::Mpsc,
    super::Crossbeam,
    super::Flume,
    super::Rtrb,
    #[cfg(feature = "iceoryx2")]
    super::Iceoryx2,
    #[cfg(feature = "ipc-channel")]
    super::IpcChannel,
    #[cfg(feature = "tokio-unix")]
    super::TokioUnix,
    #[cfg(feature = "zeromq")]
    super::ZeroMq,
    #[cfg(feature = "zeromq")]
    super::ZeroMqTcp,
    super::ProcessVm,
    super::Vmsplice,
    super::VmspliceSplice,
    super::IoUring,
    super::IoUringSqpoll,
    super::PosixMq,
    super::SysvMq,
    super::SysvShm,
    super::EventFd,
    super::ShmSem,
    super::ShmMutex,
    super::Null,
    super::Copy,
];

/// The mechanisms that are frameworks, and the cargo feature that each is behind.
pub const FRAMEWORKS: &[(&str, &str)] = &[
    ("iceoryx2", "iceoryx2"),
    ("ipc-channel", "ipc-channel"),
    ("tokio-unix", "tokio-unix"),
    ("zeromq", "zeromq"),
    ("zeromq-tcp", "zeromq"),
];

/// Those of them that are not part of this build.
pub fn left_out() -> impl Iterator<Item = (&'static str, &'static str)> {
    let listed = |name: &str| ALL.iter().any(|runner| runner.spec().name == name);
    FRAMEWORKS.iter().copied().filter(move |(name, _)| !listed(name))
}

/// What is said to whoever asks a mechanism for a pattern that it does not have.
pub fn without(spec: &Spec, pattern: Workload) -> Error {
    let have: Vec<_> = ALL.iter().map(|runner| runner.spec()).filter(|spec| spec.patterns.contains(&pattern)).collect();
    let names: Vec<_> = have.iter().map(|spec| spec.name).collect();
    Error::unsupported(format!("{} has no {pattern} of its own", spec.name))
        .hint(format!("of this build these have: {}", names.join(", ")))
}

/// The mechanism of that name.
///
/// # Errors
/// A usage error that suggests the nearest names.
pub fn find(name: &str) -> Result<&'static dyn Runner> {
    ALL.iter().copied().find(|runner| runner.spec().name == name).ok_or_else(|| {
        if let Some((_, feature)) = left_out().find(|(left_out, _)| *left_out == name) {
            return Error::usage(format!("{name} is not part of this build"))
                .hint(format!("build with --features {feature}, or --features frameworks for all of them"));
        }
        let names = ALL.iter().map(|runner| runner.spec().name);
        Error::usage(format!("there is no mechanism {name:?}")).hint(suggestion(name, names, "`ipcost list` shows all"))
    })
}

/// Names that are at least this similar are suggested. Source: Winkler 1990; the bound is the one that clap uses.
const SIMILAR: f64 = 0.7;
/// Most names that are suggested, and most that are listed.
const SUGGESTED: usize = 3;
const LISTED: usize = 12;

/// The names that are nearest to a wrong one: a slip of the fingers first, then what begins alike.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let typing = (wrong.chars().count() / 3).max(1);
    let like = |name: &'a str| {
        let (slips, alike) = (strsim::damerau_levenshtein(wrong, name), strsim::jaro_winkler(wrong, name));
        (slips <= typing || alike > SIMILAR).then_some((slips, name))
    };
    let mut near: Vec<(usize, &str)> = names.into_iter().filter_map(like).collect();
    near.sort_by_key(|(slips, _)| *slips);
    near.into_iter().map(|(_, name)| name).take(SUGGESTED).collect()
}

/// What to say to somebody who asked for a name that is none of these: the nearest ones, all where they are few, and else
/// what `shows` them, as "`ipcost list` shows all".
pub fn suggestion<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>, shows: &str) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let near = match &nearest(wrong, names.iter().copied())[..] {
        [] => String::new(),
        near => format!("did you mean {}? ", near.join(" or ")),
    };
    match names.len() {
        n if n > LISTED => format!("{near}{shows} {n} names"),
        _ => format!("{near}choose from {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_instead_of_a_wait_is_honoured() {
        use crate::plan::Wait;
        for runner in ALL {
            let (spec, near) = (runner.spec(), runner.spec().wait_near(Wait::Block));
            assert!(spec.waits.contains(&near.kind()), "{}", spec.name);
        }
        let of = |name| find(name).unwrap().spec();
        assert_eq!(of("pipe").wait_near(Wait::Spin), Wait::Spin);
        assert_eq!(of("rtrb").wait_near(Wait::Block), Wait::Yield);
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_nearest_and_never_with_all_of_them() {
        for (wrong, near) in [("pip", "pipe"), ("unix-steam", "unix-stream"), ("shmring", "shm-ring"), ("tpc", "tcp")] {
            let said = find(wrong).err().unwrap().to_string();
            assert!(said.contains("did you mean") && said.contains(near) && said.len() < 160, "{said}");
            assert!(said.contains("`ipcost list` shows all"), "{said}");
        }
        let said = find("zzzz").err().unwrap().to_string();
        assert!(said.contains("`ipcost list`") && said.len() < 120, "{said}");
        assert_eq!(suggestion("zzzz", ["pipe", "tcp"], ""), "choose from pipe, tcp");
        assert_eq!(suggestion("pip", ["pipe", "tcp"], ""), "did you mean pipe? choose from pipe, tcp");
    }

    #[test]
    fn names_are_unique_and_found() {
        for runner in ALL {
            let name = runner.spec().name;
            assert!(std::ptr::eq(find(name).unwrap().spec(), runner.spec()), "{name} is there twice");
        }
    }
}

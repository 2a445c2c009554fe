//! What failed, in which phase, why, and what to try.
//!
//! Key decision: one error type with four fields instead of an enum per module. The reader of an error message is a
//! person at a terminal; the program itself only ever needs the [`Kind`], which decides between `unsupported`, `failed`
//! and `timeout` in the journal and between the exit codes 1 and 2. An enum per module was rejected: every layer would
//! wrap the layer below, and the advice, which only the innermost layer knows, would be lost on the way up.
//!
//! A system call that is refused before anything is measured, by a limit, a full file system, a sandbox or an old kernel,
//! says something of the machine and nothing of the mechanism: [`Context`] makes it `unsupported`, with what lifts it.

use std::any::Any;
use std::fmt;
use std::io;

/// The result of everything in this crate that can fail outside the measured loop.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it was; decides status and exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense as written: exit code 2.
    Usage,
    /// This machine, or this mechanism, cannot do what was asked; the row is `unsupported`, the rest goes on.
    Unsupported,
    /// Something that should have worked did not.
    Failed,
    /// A deadline passed.
    Timeout,
    /// The row ran, but an audit refuses to believe it.
    Invalid,
}

/// Where in the life of a run the failure happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Reading the command line.
    Arguments,
    /// Creating the transport.
    Setup,
    /// Starting the other party.
    Start,
    /// Warming up, before anything is counted.
    WarmUp,
    /// Inside a measured window.
    Measure,
    /// Checking what was measured.
    Audit,
    /// Launching and watching a cell.
    Launch,
    /// Reading or writing result files.
    Report,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Arguments => "arguments",
            Phase::Setup => "set-up",
            Phase::Start => "start of the peer",
            Phase::WarmUp => "warm-up",
            Phase::Measure => "measurement",
            Phase::Audit => "audit",
            Phase::Launch => "launch",
            Phase::Report => "report",
        })
    }
}

/// One failure, ready to be shown to a person.
pub struct Error {
    kind: Kind,
    phase: Phase,
    what: String,
    cause: Option<String>,
    advice: Option<String>,
    passing: bool,
}

impl Error {
    fn new(kind: Kind, phase: Phase, what: impl Into<String>) -> Self {
        Self { kind, phase, what: what.into(), cause: None, advice: None, passing: false }
    }

    /// A request that makes no sense as written.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Kind::Usage, Phase::Arguments, what)
    }

    /// Something this machine or this mechanism cannot do.
    pub fn unsupported(what: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, Phase::Setup, what)
    }

    /// Something that should have worked and did not.
    pub fn failed(phase: Phase, what: impl Into<String>) -> Self {
        Self::new(Kind::Failed, phase, what)
    }

    /// A deadline that passed.
    pub fn timeout(phase: Phase, what: impl Into<String>) -> Self {
        Self::new(Kind::Timeout, phase, what)
    }

    /// A run whose result must not be believed.
    pub fn invalid(what: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, Phase::Audit, what)
    }

    /// Adds why it failed.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Adds one more cause behind the one that is there.
    #[must_use]
    pub fn because_also(mut self, cause: &str) -> Self {
        self.cause = Some(match self.cause.take() {
            Some(first) => format!("{first}; {cause}"),
            None => cause.to_string(),
        });
        self
    }

    /// Makes this `unsupported`, with what to do about it, if `cause` says that a limit, a sandbox or the kernel refuses what
    /// is needed before anything is measured. That replaces advice given before, and is replaced by advice given later.
    #[must_use]
    pub fn if_refused<E: 'static>(mut self, cause: &E) -> Self {
        let early = matches!(self.phase, Phase::Setup | Phase::Start | Phase::Launch);
        let remedy = number_of(cause).and_then(|number| remedy(number, self.phase));
        if let (true, Kind::Failed, Some(remedy)) = (early, self.kind, remedy) {
            self.kind = Kind::Unsupported;
            self.advice = Some(remedy.into());
        }
        self
    }

    /// Adds what to try.
    #[must_use]
    pub fn hint(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Moves the failure to another phase, for the layer that knows better than the one that noticed.
    #[must_use]
    pub fn during(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    /// Says whether it may be over in a moment, so that whoever has patience asks again.
    #[must_use]
    pub fn passing_if(mut self, passing: bool) -> Self {
        self.passing = passing;
        self
    }

    /// Whether it may be over in a moment.
    pub fn is_passing(&self) -> bool {
        self.passing
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The process exit code that this failure ends in: 2 for a usage error, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        if self.kind == Kind::Usage { 2 } else { 1 }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !matches!(self.phase, Phase::Arguments) && self.kind != Kind::Unsupported {
            write!(f, " (during {})", self.phase)?;
        }
        if let Some(cause) = &self.cause {
            write!(f, ": {cause}")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "; {advice}")?;
        }
        Ok(())
    }
}

/// What it says, as [`Display`](fmt::Display): a program whose `main` returns an error prints it this way.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Error {}

/// Adds phase and subject to an error from the operating system.
pub trait Context<T> {
    /// Turns the error into a [`Kind::Failed`] of `phase` that says `what` could not be done.
    fn context(self, phase: Phase, what: impl Into<String>) -> Result<T>;
}

impl<T, E: fmt::Display + 'static> Context<T> for std::result::Result<T, E> {
    fn context(self, phase: Phase, what: impl Into<String>) -> Result<T> {
        self.map_err(|cause| Error::failed(phase, what).because(&cause).if_refused(&cause))
    }
}

/// The error number that the system gave.
fn number_of(cause: &dyn Any) -> Option<i32> {
    let std = || cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    let nix = || cause.downcast_ref::<nix::errno::Errno>().map(|number| *number as i32);
    let rustix = || cause.downcast_ref::<rustix::io::Errno>().map(|number| number.raw_os_error());
    std().or_else(nix).or_else(rustix)
}

/// What lifts a refusal by the system; `None` for an error that a correct program on a suitable machine may meet. Source:
/// errno(3), getrlimit(2), seccomp(2).
pub fn remedy(number: i32, phase: Phase) -> Option<&'static str> {
    Some(match number {
        libc::EMFILE => {
            "a process may have no more descriptors: raise RLIMIT_NOFILE (ulimit -n COUNT), or use fewer --peers"
        }
        libc::ENFILE => "the system has no more open files: raise fs.file-max (sysctl -w fs.file-max=COUNT)",
        libc::EAGAIN => {
            "this user or control group may have no more processes or threads: raise RLIMIT_NPROC (ulimit -u COUNT), \
             pids.max, or use fewer --peers"
        }
        libc::ENOMEM => {
            "memory is short: raise ulimit -v, ulimit -l or the control group's memory.max, or choose a smaller --size"
        }
        libc::ENOSPC => {
            "the file system is full: choose another --dir, or enlarge it (/dev/shm: mount -o remount,size=..., docker \
             --shm-size)"
        }
        libc::EDQUOT => "the quota of this user is used up: choose another --dir, or make space",
        libc::EFBIG => {
            "a file may not become that large: raise RLIMIT_FSIZE (ulimit -f unlimited), or choose a smaller --size"
        }
        libc::EROFS => "the file system is read-only: choose another --dir",
        libc::ENOSYS => "the kernel lacks the call, or a sandbox hides it (docker: --security-opt seccomp=PROFILE)",
        libc::EPERM => "a sandbox or security module forbids the call (docker: --security-opt seccomp=PROFILE)",
        // Later it is somebody's file that may not be opened, which is no property of the machine.
        libc::EACCES if phase == Phase::Setup => {
            "a security module or a folder's permissions forbid it: choose another --dir"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_reads_what_phase_cause_advice() {
        let error = Error::failed(Phase::Setup, "cannot create a memfd").because("ENFILE").hint("close some files");
        assert_eq!(error.to_string(), "cannot create a memfd (during set-up): ENFILE; close some files");
    }

    #[test]
    fn a_refusal_before_anything_is_measured_is_unsupported_and_says_what_lifts_it() {
        let refused = |phase, number| -> Error {
            let result: std::result::Result<(), _> = Err(io::Error::from_raw_os_error(number));
            result.context(phase, "cannot make it").unwrap_err()
        };
        let error = refused(Phase::Setup, libc::EMFILE);
        assert!(error.kind() == Kind::Unsupported && error.to_string().contains("ulimit -n"), "{error}");
        assert_eq!(refused(Phase::Start, libc::EAGAIN).kind(), Kind::Unsupported);
        assert_eq!(refused(Phase::Measure, libc::EMFILE).kind(), Kind::Failed);
        assert_eq!(refused(Phase::Setup, libc::EINVAL).kind(), Kind::Failed);
        assert_eq!(refused(Phase::Start, libc::EACCES).kind(), Kind::Failed);
        let error = Err::<(), _>(nix::errno::Errno::ENOSYS).context(Phase::Setup, "x").unwrap_err();
        assert!(error.kind() == Kind::Unsupported && error.to_string().contains("seccomp"), "{error}");
        let error = error.hint("the caller knows better");
        assert!(error.to_string().ends_with("the caller knows better"));
    }

    #[test]
    fn only_usage_errors_exit_with_two() {
        assert_eq!(Error::usage("x").exit_code(), 2);
        assert_eq!(Error::unsupported("x").exit_code(), 1);
        assert_eq!(Error::timeout(Phase::Launch, "x").exit_code(), 1);
    }
}

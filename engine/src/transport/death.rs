//! What a mechanism says of its peer's death: a text for people and the same facts for `ipcost faults`.
//!
//! Key decision: a set of signs for each survivor, because what it sees depends on the moment (a reader of a byte stream
//! sees the end of the stream, or a message that was cut), and the matrix of `ipcost::faults` fails on a sign outside the
//! set. Stopped peers have no field: no mechanism notices one. Peers that leave have none either: what they are worth is
//! the contract of the traits, end-of-file and EPIPE. Rejected: a text alone, which nothing can check; a sign for each
//! moment, which repeats what the sets say.

use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};

/// A survivor that waits for a peer that was killed is told within so many milliseconds, if its mechanism tells it at all
/// and states no other limit.
pub const TOLD_WITHIN_MS: u64 = 10;

/// What a survivor sees of its peer's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sign {
    /// End-of-file: `UnexpectedEof`.
    EndOfFile,
    /// EPIPE: `BrokenPipe`.
    BrokenPipe,
    /// ECONNRESET.
    Reset,
    /// EOWNERDEAD: the peer died while it held the lock.
    OwnerDead,
    /// The peer died within a message, and the survivor is told so: `ConnectionAborted`.
    Cut,
    /// Nothing until the harness's deadline.
    Nothing,
    /// Another error.
    Other,
}

impl Sign {
    /// Every sign, in the order of its code.
    pub const ALL: [Sign; 7] =
        [Sign::EndOfFile, Sign::BrokenPipe, Sign::Reset, Sign::OwnerDead, Sign::Cut, Sign::Nothing, Sign::Other];

    /// What an error of an end says.
    pub fn of(error: &io::Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::UnexpectedEof, _) => Sign::EndOfFile,
            (ErrorKind::BrokenPipe, _) => Sign::BrokenPipe,
            // The kernel's has a number; the one without is that of a robust lock.
            (ErrorKind::ConnectionReset, Some(_)) => Sign::Reset,
            (ErrorKind::ConnectionReset, None) => Sign::OwnerDead,
            (ErrorKind::ConnectionAborted, _) => Sign::Cut,
            _ => Sign::Other,
        }
    }

    /// Its name for people.
    pub fn word(self) -> &'static str {
        match self {
            Sign::EndOfFile => "EOF",
            Sign::BrokenPipe => "EPIPE",
            Sign::Reset => "ECONNRESET",
            Sign::OwnerDead => "owner dead",
            Sign::Cut => "cut message",
            Sign::Nothing => "nothing",
            Sign::Other => "another error",
        }
    }
}

/// What the survivor sees when its peer dies.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PeerDeath {
    /// For people.
    #[serde(rename = "peer_death")]
    pub text: &'static str,
    /// What a consumer sees of a killed producer, one of these by the moment. Empty where nobody can be killed alone.
    #[serde(rename = "consumer_sees")]
    pub consumer: &'static [Sign],
    /// What a producer that goes on sending sees of a killed consumer.
    #[serde(rename = "producer_sees")]
    pub producer: &'static [Sign],
    /// What either sees of a peer that was killed while it held the lock. Empty where no lock is held.
    #[serde(rename = "lock_death")]
    pub lock: &'static [Sign],
    /// Whether everything that a killed producer had sent is still received, unless it held the lock.
    pub delivers: bool,
    /// Within how many milliseconds of the death a survivor that waits is told, if it is.
    pub within_ms: u64,
    /// What a pair that was killed leaves behind for its launcher to remove, in words.
    pub leaves: Option<&'static str>,
}

impl PeerDeath {
    /// A pipe, or a socket that is one: the kernel tells both sides, the reader after what was sent.
    pub const STREAM: Self = Self {
        text: "reader: end-of-file after the data already sent, or an error when a message was cut; writer: EPIPE",
        consumer: &[Sign::EndOfFile, Sign::Cut],
        producer: &[Sign::BrokenPipe],
        lock: &[],
        delivers: true,
        within_ms: TOLD_WITHIN_MS,
        leaves: None,
    };
    /// A Unix stream socket: as a pipe, but a reader that dies takes what it had not read along, and the writer is told.
    pub const SOCKET: Self = Self {
        text: "reader: end-of-file after the data already sent, or an error when a message was cut; writer: EPIPE, or \
               ECONNRESET once when it was waiting for a reader that left data unread",
        producer: &[Sign::BrokenPipe, Sign::Reset],
        ..Self::STREAM
    };
    /// Shared memory whose sides look for each other's process while they wait.
    pub const WATCHED: Self = Self {
        text: "end-of-file or EPIPE; a killed peer is noticed within 10 ms of waiting for it",
        consumer: &[Sign::EndOfFile],
        ..Self::STREAM
    };
    /// A mechanism through which only a peer that leaves is heard of.
    pub const UNTOLD: Self = Self {
        text: "end-of-file or EPIPE when the peer leaves; nobody is told that it was killed",
        consumer: &[Sign::Nothing],
        producer: &[Sign::Nothing],
        ..Self::STREAM
    };
    /// Threads of one process.
    pub const THREADS: Self = Self {
        text: "a thread that unwinds closes its end; anything worse ends the whole process",
        consumer: &[],
        producer: &[],
        ..Self::STREAM
    };
    /// One party.
    pub const NO_PEER: Self = Self { text: "has no peer", ..Self::THREADS };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_as_the_traits_promise() {
        assert_eq!(Sign::of(&ErrorKind::UnexpectedEof.into()), Sign::EndOfFile);
        assert_eq!(Sign::of(&io::Error::from_raw_os_error(libc::EPIPE)), Sign::BrokenPipe);
        assert_eq!(Sign::of(&io::Error::from_raw_os_error(libc::ECONNRESET)), Sign::Reset);
        assert_eq!(Sign::of(&io::Error::new(ErrorKind::ConnectionReset, "owner")), Sign::OwnerDead);
        assert_eq!(Sign::of(&io::Error::from_raw_os_error(libc::EIO)), Sign::Other);
    }
}

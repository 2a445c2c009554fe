//! What a transport is asked to be, and in how much memory it goes round.
//!
//! Key decision: the depth follows the workload by one rule for all mechanisms, since a line that is written again while the
//! other CPU still has it in its second-level cache comes late: see [`Config::memory`]. Rejected: one depth for everything,
//! which is wrong for parties that take turns, for those whose messages flow, or for both; depths by the caches of the machine,
//! with which rows of two machines would be of two kinds.

use crate::plan::{Pages, Parties, Plan, Touch, Wait, Workload};
use crate::shm::region::RingShape;
use std::path::PathBuf;

/// Bytes that a mechanism aims to have under way in a buffer of the kernel, so that none is ranked by a smaller buffer. A
/// megabyte is what an unprivileged pipe may have and fits a second- or third-level cache. With a quarter of that, a
/// stream of 64 KiB messages through the ring was six times slower: the parties woke each other for every message.
pub const IN_FLIGHT: usize = 1 << 20;
/// As [`IN_FLIGHT`], in memory of the parties themselves: several times a second-level cache. A line that is written again
/// while the other CPU still has it in that cache comes late. With CPUs of 1 MiB each, a stream through a ring of 1 MiB took
/// 17.6 ns for 64 B, 382 ns for 4 KiB and 4.8 us for 64 KiB; with 4 MiB, where the lines have gone back to the shared cache,
/// 3.1 ns, 82 ns and 1.5 us.
pub const IN_MEMORY: usize = 4 << 20;
/// As [`IN_MEMORY`], in all channels of a hub together, as long as each has [`IN_FLIGHT`].
const IN_ALL: usize = 32 << 20;
/// Most bytes of memory that stay near, for parties that take turns, of whose messages few are under way: both directions
/// fill half of a first-level cache. A round trip of 4 KiB took 0.86 us with this and 1.27 with 1 MiB. Larger messages do not
/// fit and gain nothing.
pub const NEAR: usize = 8 << 10;
/// Bytes of such memory where the messages are smaller: a round trip of 64 B through the ring took 198 ns with four of these
/// pages for each direction, 88 ns with two, 86 with one, 89 and 97 with half and a quarter of it; a cache line alone 67 ns.
const NEAREST: usize = 4 << 10;
/// Fewest messages under way, as long as they are not larger than this many bytes together; else two.
const FEW: (usize, usize) = (4, 16 << 20);

/// Bytes of a kernel's buffer for messages of `size` bytes.
pub fn buffer_for(size: usize) -> usize {
    few(size).max(IN_FLIGHT)
}

/// Bytes of the parties' own memory for messages of `size` bytes that flow.
pub fn memory_for(size: usize) -> usize {
    few(size).max(IN_MEMORY)
}

fn few(size: usize) -> usize {
    Some(FEW.0.saturating_mul(size)).filter(|few| *few <= FEW.1).unwrap_or(2 * size)
}

/// What a transport is asked to be.
#[derive(Debug, Clone)]
pub struct Config {
    /// Bytes of every message (of a batch of them, where several travel as one).
    pub size: usize,
    /// How both ends wait.
    pub wait: Wait,
    /// What of each message is written and verified: a mechanism may hand on unseen what nobody looks at.
    pub touch: Touch,
    /// Whether the ends are in different processes.
    pub processes: bool,
    /// Parties that carry messages all the time, and may spin.
    pub busy: usize,
    /// Peers of a hub, or pairs; none between two parties.
    pub peers: usize,
    /// Messages under way in each direction at most, where the workload says it: of a ping-pong.
    pub turns: Option<usize>,
    /// What each needs a helper of its own, for a mechanism that has helpers: the two sides of a link, or both ends of each
    /// channel among many parties.
    pub pollable: usize,
    /// Where files go; the system's temporary folder by default.
    pub dir: PathBuf,
    /// Whether a TCP connection may hold small messages back (Nagle's algorithm).
    pub nagle: bool,
    /// Pages of the ring, for the mechanism that can choose.
    pub pages: Pages,
    /// How long a separately started program waits for its peer.
    pub patience: std::time::Duration,
    /// What the transport has to say about itself once it is made (capacities that the kernel gave, file systems).
    pub notes: Notes,
}

/// Facts about a transport that only its constructor knows, such as the pipe capacity that the kernel really gave.
pub type Notes = std::sync::Arc<std::sync::Mutex<std::collections::BTreeMap<&'static str, String>>>;

/// The note under which [`Config::holds`] adds up.
pub const MEMORY_NOTE: &str = "memory, bytes";

/// The note of mechanisms that have a place for each message: how many one direction holds.
pub const SLOTS_NOTE: &str = "slots";
/// The note of hybrid waits of parties that outnumber their CPUs: the most looks of one.
const LOOKS_NOTE: &str = "looks of a wait, crowded";
/// They make so many times fewer.
const FEWER_LOOKS: u32 = 128;
/// The note of the others: how many messages one direction holds at least. See [`Config::fits`].
const FITS_NOTE: &str = "room, messages";

impl Config {
    /// What `plan` asks for.
    pub fn new(plan: &Plan) -> Self {
        Self {
            size: plan.carried_size(),
            wait: plan.wait,
            // In a batch there is a header wherever a message begins.
            touch: if plan.carried_size() == plan.size { plan.touch } else { Touch::Whole },
            processes: plan.parties == Parties::Process,
            busy: plan.busy(),
            peers: plan.peers(),
            turns: (plan.workload == Workload::PingPong).then(|| plan.several.outstanding() as usize),
            pollable: 2 * plan.peers().max(1),
            dir: plan.dir.clone().unwrap_or_else(std::env::temp_dir),
            nagle: plan.nagle,
            pages: plan.pages,
            patience: std::time::Duration::from_secs(30),
            notes: Notes::default(),
        }
    }

    /// Of parties that outnumber their CPUs: whoever looks may have the CPU of the one that it waits for, so that a hybrid wait
    /// looks less often before it sleeps.
    pub fn crowd(&mut self) {
        if let Wait::Hybrid(looks @ 2..) = &mut self.wait {
            *looks = looks.div_ceil(FEWER_LOOKS);
            let looks = *looks;
            self.note(LOOKS_NOTE, looks);
        }
    }

    /// Bytes of the parties' own memory for one direction: little and near for parties that take turns with small messages, and
    /// else what [lets messages flow](memory_for), of which many channels have a smaller share each.
    pub fn memory(&self) -> usize {
        // What a message takes in a ring, of which twice as many as are under way make at least so many slots.
        let stride = RingShape::new(self.size, 0).stride;
        match self.turns.map(|turns| 2 * turns.max(1).saturating_mul(stride)) {
            Some(turns) if turns <= NEAR => turns.max(NEAREST),
            _ if self.peers > 0 => few(self.size).max((IN_ALL / self.peers).clamp(IN_FLIGHT, IN_MEMORY)),
            _ => memory_for(self.size),
        }
    }

    /// Counts bytes in which messages lie on their way, in the kernel or in shared memory: the memory that a channel
    /// costs. What each end keeps for itself is not counted.
    pub fn holds(&self, bytes: usize) {
        if let Ok(mut notes) = self.notes.lock() {
            let so_far = notes.get(MEMORY_NOTE).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
            notes.insert(MEMORY_NOTE, (so_far + bytes).to_string());
        }
    }

    /// Says how many messages one direction holds at the very least before a sender has to wait, for mechanisms that have
    /// no [slots](SLOTS_NOTE). Requests under way are no more than that, or both parties could wait for space for ever.
    pub fn fits(&self, messages: usize) {
        self.note(FITS_NOTE, messages);
    }

    /// As [`fits`](Self::fits), of messages of `size` bytes in a kernel's buffer of `bytes`, which is charged with what the kernel
    /// allocates: up to twice the bytes of a message, and an `overhead` for each.
    pub fn fits_buffer(&self, bytes: usize, size: usize, overhead: usize) {
        self.fits(bytes / (2 * size + overhead));
    }

    /// How many messages one direction holds for certain, once the transport is made: one, unless it said more.
    pub fn depth(&self) -> u64 {
        let Ok(notes) = self.notes.lock() else { return 1 };
        let said = notes.get(FITS_NOTE).or_else(|| notes.get(SLOTS_NOTE));
        said.and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
    }

    /// Records a fact about the transport for the journal.
    pub fn note(&self, key: &'static str, value: impl ToString) {
        if let Ok(mut notes) = self.notes.lock() {
            notes.insert(key, value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Several;

    #[test]
    fn memory_is_near_for_small_turns_large_for_flows_and_shared_among_many() {
        let memory =
            |workload, size, several| Config::new(&Plan { workload, size, several, ..Plan::default() }).memory();
        let one = Several::default();
        let window = |n| Several { outstanding: Some(n), ..one };
        let peers = |n| Several { peers: Some(n), ..one };
        let turns = |size, several| memory(Workload::PingPong, size, several);
        assert_eq!([turns(1, one), turns(64, one), turns(64, window(32))], [NEAREST; 3]);
        assert_eq!([turns(4096, one), turns(64, window(64))], [NEAR; 2]);
        assert_eq!([turns(4097, one), turns(64, window(65)), memory(Workload::Stream, 64, one)], [IN_MEMORY; 3]);
        assert_eq!(memory(Workload::OfferedLoad, 64, one), IN_MEMORY);
        for size in 1..=200 {
            for n in [1, 2, 7, 16, 17, 33, 64, 100, 513, 5000] {
                let slots = RingShape::new(size, turns(size, window(n))).slots;
                assert!(slots >= n as usize, "{slots} slots of {size} B for {n} requests");
            }
        }
        // At least four messages, or two where four are too large.
        assert_eq!([2 << 20, 4 << 20, 8 << 20].map(|size| turns(size, one)), [8 << 20, 16 << 20, 16 << 20]);
        let shares = [1, 8, 16, 64].map(|n| memory(Workload::FanIn, 64, peers(n)));
        assert_eq!(shares, [IN_MEMORY, IN_MEMORY, 2 << 20, IN_FLIGHT]);
    }

    #[test]
    fn parties_that_outnumber_their_cpus_look_less_often_and_say_so() {
        for (wait, then) in [
            (Wait::Hybrid(2000), Wait::Hybrid(16)),
            (Wait::Hybrid(2), Wait::Hybrid(1)),
            (Wait::Hybrid(0), Wait::Hybrid(0)),
            (Wait::Block, Wait::Block),
            (Wait::Yield, Wait::Yield),
        ] {
            let mut cfg = Config::new(&Plan { wait, ..Plan::default() });
            cfg.crowd();
            assert_eq!(cfg.wait, then);
            let said = cfg.notes.lock().unwrap().get(LOOKS_NOTE).cloned();
            let looks = if let Wait::Hybrid(looks) = then { looks.to_string() } else { String::new() };
            assert_eq!(said.is_some(), wait != then);
            assert!(said.is_none_or(|said| said == looks));
        }
    }
}

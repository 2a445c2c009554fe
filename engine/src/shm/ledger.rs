//! The page in which the two parties of a run keep their books: commands one way, reports the other.
//!
//! Key decision: plain atomics in one anonymous shared mapping, made before the peer starts. The follower's results come
//! back as numbers, not as messages over the transport under test and not through a second pipe, which would disturb
//! what is measured. The two probes (cache line, futex) live here too, so that the floor is measured between exactly the
//! two parties of the run.

use super::Line;
use super::futex::{Futex, Scope};
use super::nonsense::Nonsense;
use super::region::{Region, View};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// A counter that one party advances and another waits for.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Gate(Futex);

/// Looks at a gate before sleeping on it: long enough for a prompt peer on another CPU, short on a shared one.
const LOOKS: u32 = 500;
/// What a gate holds when its owner has left.
const DEMOLISHED: u32 = u32::MAX;
const NAP: Duration = Duration::from_millis(10);

impl Gate {
    /// Advances to `step` and wakes whoever waits for it.
    pub fn open(&self, step: u32) {
        // Release: everything written before the gate opened is visible behind it.
        self.0.word().store(step, Ordering::Release);
        self.0.wake(Scope::Shared);
    }

    /// Waits until the gate reached `step`; false if it was demolished, if `alive` said no before that, or if it stands where
    /// nobody can have moved it: whoever opens a gate waits elsewhere until this step is over.
    pub fn pass(&self, step: u32, mut alive: impl FnMut() -> bool) -> bool {
        let mut looks = 0;
        loop {
            // Acquire: pairs with `open`.
            let now = self.0.word().load(Ordering::Acquire);
            if now >= step {
                return now == step;
            }
            looks += 1;
            if looks < LOOKS {
                std::hint::spin_loop();
            } else {
                self.0.wait(now, Scope::Shared, Some(NAP));
                if !alive() {
                    let now = self.0.word().load(Ordering::Acquire);
                    return now == step;
                }
            }
        }
    }

    /// What is impossible of the gate while nobody may have opened it beyond `step`.
    pub fn impossible(&self, name: &'static str, step: u32) -> Option<Nonsense> {
        let now = self.0.word().load(Ordering::Acquire);
        Nonsense::unless_within(name, u64::from(now), 0, u64::from(step)).filter(|_| now != DEMOLISHED)
    }

    /// Moves beyond every step: nobody waits here any more, and who comes learns that it is over.
    pub fn demolish(&self) {
        self.open(DEMOLISHED);
    }
}

/// Number of 64-bit numbers that a follower reports.
pub const REPORT_WORDS: usize = 32;
/// Bytes kept for a follower's error message.
pub const MESSAGE_BYTES: usize = 480;

/// The shared page. All zero is "nothing happened yet".
#[derive(Debug)]
#[repr(C)]
pub struct Ledger {
    /// Leader to follower: window number.
    pub go: Gate,
    /// Follower to leader: at the start line of that window.
    pub ready: Gate,
    /// Follower to leader: report of that window is complete.
    pub done: Gate,
    /// What the window is: a code known to the session.
    pub command: AtomicU32,
    /// Messages in the window.
    pub count: AtomicU64,
    /// The follower's numbers.
    pub report: [AtomicU64; REPORT_WORDS],
    message_len: AtomicU32,
    message: [AtomicU32; MESSAGE_BYTES / 4],
    /// The cache lines of the probe.
    pub lines: [Line<AtomicU64>; 2],
    /// Ends the probe; away from its lines, so that it is not part of what is measured.
    pub line_stop: Line<AtomicU32>,
    /// The futexes that the wake-up probe bounces.
    pub hop: [Line<Futex>; 2],
    private: AtomicU32,
}

impl Ledger {
    /// Bytes of a mapping that holds one, in whole pages as the kernel counts them.
    pub fn region_len() -> usize {
        size_of::<Self>().next_multiple_of(rustix::param::page_size())
    }

    /// A ledger at the start of zeroed shared memory.
    ///
    /// # Panics
    /// If the region is too short.
    pub fn lay(region: &Arc<Region>) -> View<Ledger> {
        // SAFETY: `Ledger` is all atomics.
        unsafe { View::new(region, 0) }
    }

    /// What is impossible of the gates while both parties are in window `step`: a word that neither of them wrote.
    pub fn impossible(&self, step: u32) -> Option<Nonsense> {
        let ready = self.ready.impossible("the gate \"ready\"", step.saturating_add(1));
        ready.or_else(|| self.done.impossible("the gate \"done\"", step)).or_else(|| self.unordered(step))
    }

    /// What is impossible of the leader's gate before it ordered window `step`, or once it has.
    pub fn unordered(&self, step: u32) -> Option<Nonsense> {
        self.go.impossible("the gate \"go\"", step)
    }

    /// From here on the parties are threads of one process: their futexes may have the cheaper key. Before any probe.
    pub fn within_one_process(&self) {
        // Relaxed: the gate that orders the first probe publishes it.
        self.private.store(1, Ordering::Relaxed);
    }

    /// The key of the probe's futexes.
    pub fn scope(&self) -> Scope {
        if self.private.load(Ordering::Relaxed) == 0 { Scope::Shared } else { Scope::Private }
    }

    /// Writes down why the follower stopped; cut to [`MESSAGE_BYTES`].
    pub fn complain(&self, text: &str) {
        let mut len = text.len().min(MESSAGE_BYTES);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        for (word, bytes) in self.message.iter().zip(text.as_bytes()[..len].chunks(4)) {
            let mut raw = [0; 4];
            raw[..bytes.len()].copy_from_slice(bytes);
            word.store(u32::from_le_bytes(raw), Ordering::Relaxed);
        }
        // Release: the words before the length.
        self.message_len.store(len as u32, Ordering::Release);
    }

    /// What the follower complained about, if it did.
    pub fn complaint(&self) -> Option<String> {
        let len = (self.message_len.load(Ordering::Acquire) as usize).min(MESSAGE_BYTES);
        let bytes: Vec<u8> = self.message.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        (len > 0).then(|| String::from_utf8_lossy(&bytes[..len]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_stands_where_nobody_moved_it_lets_nobody_through() {
        let ledger = Ledger::lay(&Arc::new(Region::heap(Ledger::region_len())));
        ledger.done.open(1);
        assert!(ledger.done.pass(1, || true) && ledger.impossible(1).is_none());
        ledger.done.open(7);
        assert!(!ledger.done.pass(2, || true));
        let nonsense = ledger.impossible(2).unwrap();
        assert_eq!((nonsense.value, nonsense.low, nonsense.high), (7, 0, 2));
        ledger.done.demolish();
        assert!(!ledger.done.pass(2, || true) && ledger.impossible(2).is_none());
    }
}

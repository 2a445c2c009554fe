//! How long a spinning wait leaves the peer's line alone between two looks, learnt from the waits before it.
//!
//! Key decision: a look that comes while the peer is writing pulls the line away under its pen, and one that comes long
//! after it was written is late. Which counts more depends on how far apart the CPUs are, which can change within
//! seconds where a hypervisor moves them. It shows in how long waits take: one that lasts `FAR` for each line that has
//! to come over waits for CPUs that are far apart, and looks are `WIDE` apart from then on; after `EARLY` shorter waits,
//! at every pause again. Time is counted in pauses: how long one takes (23 ns on one machine, 35 to 40 on another) is found
//! out once for each process, before its first message, because no wait that a message ends may read the clock. A wait
//! that has outlasted the pauses that are [made in place](super::wait) looks at every one.
//!
//! Only where a message is one line at most: a wait for a longer one is long because the peer has more to do. For the same
//! reason the swapping ring of [`exchange`](super::exchange) has no pace, as it does not know what lies behind its pointers,
//! and neither has the one through which `process-vm` says where a message is that a system call will fetch.
//!
//! A side that blocks has no looks to pace, but falls back, too, where it follows on the other's heels ([`Pace::slips`]).
//!
//! Where one line is all that comes over, pauses are counted also while there is one ([`Pace::counts`]). Each look then
//! comes two nanoseconds later, and the second one more often finds a message from a CPU that is near.
//!
//! Rejected: looks at every pause (a ping-pong of 64 bytes in one line took 1.25 to 1.3 times as long on CPUs with a round
//! trip of 350 ns, and 1.3 on two CPUs of a mesh); counting looks whatever a pause takes, and up to four pauses between them
//! (as good there, and 1.3 to 1.5 times as long with a round trip of 50 ns, where a wait ends with its third look as on the
//! mesh, with a shorter pause: one pause more is late by half the round trip); no pause, a fence or some multiplications
//! between looks (1.2 to 1.9); learning how long to wait for the *first* look such that it succeeds: both sides then grow
//! late together, because each is found late by the other; ever more pauses within one wait, which are wrong again for each
//! message.

#[cfg(not(loom))]
use super::LINE;
use super::sync::relax;
use super::wait::Wait;
#[cfg(not(loom))]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
#[cfg(not(loom))]
use std::time::Instant;

/// Pauses of a side that spins and falls back: some hundred nanoseconds, the price of a line or two from afar.
pub const SLIP: u32 = 16;

/// Falls back so many `pauses` behind the other side, if `how` looks at what that one writes, and says whether it does: then
/// it is worth another look. For a side in a run of messages, of which it found the next one missing. Source: "temporal
/// slipping" in Giacomoni et al., "FastForward", PPoPP 2008.
#[inline(always)]
pub fn slip(how: Wait, pauses: u32) -> bool {
    let slips = how.looks();
    if slips {
        (0..pauses).for_each(|_| relax());
    }
    slips
}

/// Has what was just published leave this CPU, and makes a pause, before a side that spins looks for the answer. Nothing depends
/// on it; but such a look asks for a line, which competes with the message for the way to the other CPU, or is the very line
/// of the message.
#[inline(always)]
pub fn let_go() {
    // The model checker shows that nothing depends on it.
    #[cfg(not(loom))]
    {
        super::sync::fence(Ordering::SeqCst);
        relax();
    }
}

/// Pauses of a side that blocks and falls back: 6 microseconds where one takes 23 ns, 10 where it takes 40; a sleep and a wake-up
/// between two CPUs take 15 and more.
const LONG_SLIP: u32 = 256;

/// A wait that lasts so long, for each line that has to come over, and [`FEWEST`] pauses, waits for CPUs that are far apart.
/// With a pause of 23 ns that are five, with one of 40 ns three.
const FAR: Duration = Duration::from_nanos(100);
/// Lines that come over with a message between sides that write lines of their own: an index and the message.
const LINES: u32 = 2;
/// Most pauses of a wait that it takes to show that CPUs are far apart: each takes a nanosecond or more.
#[cfg(not(loom))]
pub(super) const MOST_TO_SHOW: u32 = LINES * FAR.as_nanos() as u32;
/// Fewer pauses show nothing.
const FEWEST: u32 = 3;
/// Looks at such CPUs are so far apart, but at least two pauses.
const WIDE: Duration = Duration::from_nanos(40);
/// Most pauses between two looks: each takes a nanosecond or more.
pub const LONGEST: u32 = WIDE.as_nanos() as u32;
/// Shorter waits than those that show that CPUs are far apart, before looks come closer together again.
const EARLY: u32 = 8;

/// What an end remembers of its spinning waits; [`Default`] looks at every pause.
///
/// The numbers are one end's own and decide on nothing but pauses. They are atomic, with `Relaxed` accesses, because waits
/// only borrow what they belong to, which two threads may share.
#[derive(Debug)]
pub struct Pace {
    /// Pauses between two looks.
    pauses: AtomicU32,
    /// Waits that were shorter than that, of [`EARLY`].
    early: AtomicU32,
    /// Pauses between two looks at CPUs that are far apart.
    wide: u32,
    /// Pauses of a wait that shows that they are.
    far: u32,
    /// Whether pauses are counted even while there is one: it takes two nanoseconds of each look.
    counted: bool,
    /// Whether the last wait that was to sleep at once ended before it slept.
    follows: AtomicBool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            pauses: AtomicU32::new(1),
            early: AtomicU32::new(0),
            wide: 1,
            far: u32::MAX,
            counted: false,
            follows: AtomicBool::new(false),
        }
    }
}

impl Pace {
    /// Of waits for messages of `size` bytes in one line that both sides write in turn.
    pub fn in_turns(size: usize) -> Self {
        let learnt = Self::of(pause(size), 1);
        Self { counted: learnt.learns(), ..learnt }
    }

    /// Of waits for messages of `size` bytes, or for the room for one, between sides that write lines of their own.
    pub fn one_way(size: usize) -> Self {
        Self::of(pause(size), LINES)
    }

    /// Where a pause takes so long; without that number nothing is learnt.
    pub(super) fn of(pause: Option<Duration>, lines: u32) -> Self {
        let Some(nanos) = pause.map(|pause| pause.as_nanos()).filter(|nanos| *nanos > 0) else {
            return Self::default();
        };
        let pauses = |time: Duration| time.as_nanos().div_ceil(nanos) as u32;
        Self { wide: pauses(WIDE).max(2), far: pauses(FAR * lines).max(FEWEST), ..Self::default() }
    }

    /// A wait that was to sleep at once has ended, and slept or not.
    #[inline(always)]
    pub fn slept(&self, slept: bool) {
        self.follows.store(!slept, Ordering::Relaxed);
    }

    /// As [`slip`]. A side that blocks falls back, too, if its last wait ended before it slept and it `gained` no more than the
    /// one slot that it waited for. Otherwise two sides that are awake may keep step for seconds: one asks to be put to sleep
    /// and is refused, the other wakes nobody, and with two system calls a message a stream of 64 bytes takes 450 ns and not 6.
    /// With 64 pauses, or whatever the number of slots gained, messages of 8 bytes took 1.1 to 1.4 of the time.
    #[inline(always)]
    pub fn slips(&self, how: Wait, gained: u64) -> bool {
        if how != Wait::Block {
            return slip(how, SLIP);
        }
        let follows = self.follows.load(Ordering::Relaxed);
        if follows {
            self.follows.store(false, Ordering::Relaxed);
        }
        let slips = follows && gained == 1;
        if slips {
            (0..LONG_SLIP).for_each(|_| relax());
        }
        slips
    }

    /// Whether there is something to learn.
    pub fn learns(&self) -> bool {
        self.wide > 1
    }

    /// Pauses before each look of a wait.
    #[inline(always)]
    pub fn pauses(&self) -> u32 {
        self.pauses.load(Ordering::Relaxed)
    }

    /// Whether the pauses before a look are counted.
    #[inline(always)]
    pub fn counts(&self) -> bool {
        self.counted || self.pauses() > 1
    }

    /// A wait has ended with its `looks`th look, so many pauses apart. Nothing is stored where nothing changes.
    #[inline(always)]
    pub fn met(&self, looks: u32, pauses: u32) {
        if looks * pauses >= self.far {
            if pauses == 1 {
                self.pauses.store(self.wide, Ordering::Relaxed);
            }
        } else if pauses > 1 {
            let early = self.early.load(Ordering::Relaxed) + 1;
            if early == EARLY {
                self.pauses.store(1, Ordering::Relaxed);
            }
            self.early.store(early % EARLY, Ordering::Relaxed);
        }
    }
}

/// How long one pause takes: the shortest of a few attempts, because whoever is disturbed takes longer. `None` where it does
/// not matter, as messages of `size` bytes are longer than a line; nothing where the clock does not tell.
#[cfg(not(loom))]
fn pause(size: usize) -> Option<Duration> {
    const PAUSES: u32 = 32;
    static PAUSE: OnceLock<Duration> = OnceLock::new();
    let attempt = |_| {
        let start = Instant::now();
        (0..PAUSES).for_each(|_| relax());
        start.elapsed() / PAUSES
    };
    let measure = || (0..4).map(attempt).filter(|pause| !pause.is_zero()).min().unwrap_or(Duration::ZERO);
    (size <= LINE).then(|| *PAUSE.get_or_init(measure))
}

/// The model checker has no time, and enough interleavings without.
#[cfg(loom)]
fn pause(_: usize) -> Option<Duration> {
    None
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Waits for peers that answer after so many pauses each; pauses that the last one took.
    fn waits(pace: &Pace, peers: &[u32]) -> u32 {
        let wait = |late: &u32| {
            let between = pace.pauses();
            let looks = late.div_ceil(between).max(1);
            pace.met(looks, between);
            looks * between
        };
        peers.iter().map(wait).last().unwrap_or(0)
    }

    fn of(pause: u64, lines: u32) -> Pace {
        Pace::of(Some(Duration::from_nanos(pause)), lines)
    }

    #[test]
    fn looks_become_rarer_where_cpus_are_far_apart_and_closer_when_waits_are_short() {
        let pace = of(23, 1);
        assert_eq!(waits(&pace, &[4; 100]), 4, "near");
        assert_eq!(pace.pauses(), 1);
        waits(&pace, &[5]);
        assert_eq!(pace.pauses(), 2, "far");
        assert_eq!(waits(&pace, &[100; 100]), 100);
        assert_eq!(pace.pauses(), 2);
        // Found with the third look, after six pauses.
        waits(&pace, &[5; 100]);
        assert_eq!(pace.pauses(), 2, "still far");
        waits(&pace, &[3; EARLY as usize]);
        assert_eq!(pace.pauses(), 1);
    }

    #[test]
    fn waits_that_ended_early_count_whatever_came_between() {
        let pace = of(23, 1);
        waits(&pace, &[100]);
        waits(&pace, &[1; EARLY as usize - 1]);
        waits(&pace, &[8; 5]);
        assert_eq!(pace.pauses(), 2);
        waits(&pace, &[1]);
        assert_eq!(pace.pauses(), 1);
    }

    #[test]
    fn what_is_far_is_a_time_but_three_pauses_at_least() {
        // Nanoseconds of a pause; pauses of a wait that is long, with one line and with two, and between looks then.
        for (pause, one, two, wide) in
            [(1, 100, 200, 40), (4, 25, 50, 10), (23, 5, 9, 2), (40, 3, 5, 2), (140, 3, 3, 2)]
        {
            for (lines, far) in [(1, one), (2, two)] {
                let pace = of(pause, lines);
                waits(&pace, &[far - 1; 10]);
                assert_eq!(pace.pauses(), 1, "{pause} ns, {lines}");
                waits(&pace, &[far]);
                assert_eq!(pace.pauses(), wide, "{pause} ns, {lines}");
            }
        }
    }

    #[test]
    fn nothing_is_learnt_from_a_wait_for_more_than_a_line_nor_from_a_clock_that_stands() {
        assert!([Pace::in_turns, Pace::one_way].iter().all(|pace| !pace(LINE + 1).learns() && !pace(1 << 20).counts()));
        let pace = of(0, 1);
        waits(&pace, &[u32::MAX - 1]);
        assert_eq!(pace.pauses(), 1);
        assert!(!pace.learns() && !Pace::default().learns() && of(23, 1).learns());
    }
}

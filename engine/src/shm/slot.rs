//! A mailbox for one message at a time per direction: the word that says "full" lies in the line of the message.
//!
//! Key decision: *one shared slot that both sides write in turn*, besides a *lane* per side that only this side writes.
//! Whoever received a message through the shared slot owns it from then on, and overwrites the message that it read with
//! its own. A ping-pong therefore moves one line, there and back: the reader of a line is its next
//! writer, which costs half to two thirds of two lines that are written by one side each. Nothing is published for it: the
//! word that announces the message also hands the slot over, and both sides know whose it is. A side that does not own the
//! shared slot sends through its lane, so that both may send at once; the acknowledgement of what a side took from the
//! peer's lane travels in its own lane, published lazily: with the next send, or before the next wait, because
//! publishing it at once would pull the line away from the peer that polls it.
//!
//! Stamps are numbers that never come again (63 bits outlast the machine), over both places, so that the messages of one
//! side are in order wherever they lie and a stale stamp is never taken for a new one. 32 bits would not do: the place
//! that is not in use keeps its old stamp, and after 2^32 messages, some minutes, it would be the awaited one.
//!
//! A message that leaves no room for a stamp in its line *announces itself* ([`Side::announced_by_content`]): its last word
//! is stored last, and the reader waits until the word there is another one than it left. Where the new word happens to be
//! the old one, the stamp says so, which lies in a line that nobody writes otherwise and both have in their cache. Such a
//! message has no number; but it was sent after everything that its sender put into the lane before, so a reader that sees
//! it looks into the lane once more and takes what is due from there first. It is built aside, because its last word must
//! be stored at once and behind the others. The words of whoever receives by DMA are watched in the same way.
//!
//! The shared slot is for messages of one line. Between the first byte of a message and its stamp the line must stay with
//! the writer, and a peer that polls it pulls it away: how long to leave it alone is learnt ([`super::pace`]). On two CPUs
//! of one mesh (line round trip 180 ns) bare lanes took 2.1 times the line for 48 bytes and 3.2 for 64; a bare shared slot
//! takes 1.1 and 1.2, and 1.3 and 1.6 without what is learnt. A message that still waits to leave its CPU is found by its
//! sender's own first look, which asks for the line again: let go of first, 64 bytes take 0.7 of the time. Tried: asking
//! for the line as one's own (prefetchw) between looks, or once the message is there: slower or no different; giving it up
//! (cldemote) after a store: 1.3. Longer messages move as many lines either way, and use the lanes alone
//! ([`Side::lanes_only`]).
//!
//! Rejected: lanes for every message (two lines per round trip, also for one word); one word
//! per direction that both sides write ("full" set and cleared), where the line bounces twice per message; the shared
//! slot only (both sides sending at once would wait for each other for ever).

use super::Line;
use super::budget::Budget;
#[cfg(not(loom))]
use super::futex::{Futex, Scope};
use super::nonsense::Nonsense;
use super::pace::Pace;
use super::ring::{Manner, Stop};
#[cfg(not(loom))]
use super::scribble::Word;
use super::sync::{AtomicU32, AtomicU64, Ordering};
use super::wait::{Bell, Judged, Peer};
use std::ops::Deref;
use std::sync::OnceLock;

/// The word that announces a message in the shared slot, by being another one than before. Written by the slot's owner
/// only.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Stamp {
    /// The number of the message times two, plus the side that wrote it; or the last word of a message that announces
    /// itself.
    word: AtomicU64,
}

/// The words at the start of a lane, before the payload. Written by the lane's side only. All zero is an empty lane.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Words {
    /// Number of the last message in this lane, counted over both places; so it jumps.
    put: AtomicU64,
    /// Messages that the side of this lane ever took from the other lane. May wrap: at most one is not yet taken.
    took: AtomicU32,
}

/// Where a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the slot that both sides write in turn; the message is written there.
    Shared,
    /// There too; but the message is handed over whole ([`Side::put_whole`]), as its last word announces it.
    Whole,
    /// In the lane of the side that sends it.
    Lane,
}

/// What is needed besides the lanes, away from their lines. All zero is open.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Lobby {
    /// One bell per side; side `i` sleeps on `bells[i]` for either reason (a message came, its message was taken).
    bells: [Bell; 2],
    /// Bit `i`: side `i` closed its sending half; bit `i + 2`: its receiving half.
    left: Line<AtomicU32>,
}

#[cfg(not(loom))]
impl Stamp {
    pub(super) fn words(&self, name: &'static str) -> Vec<Word<'_>> {
        vec![Word::full(name, &self.word)]
    }
}

#[cfg(not(loom))]
impl Words {
    pub(super) fn words(&self) -> Vec<Word<'_>> {
        vec![Word::full("put", &self.put), Word::half("took", &self.took)]
    }
}

#[cfg(not(loom))]
impl Lobby {
    pub(super) fn words(&self) -> Vec<Word<'_>> {
        let [near, far] = [0, 1].map(|side: usize| Word::half("bell", self.bells[side].word()));
        vec![near, far, Word::half("left", &self.left.0)]
    }
}

const SENDING: u32 = 1;
const RECEIVING: u32 = 4;
/// No thread's mark.
const SEVERAL: u64 = u64::MAX;
/// What both sides can say in [`Lobby::left`].
const FAREWELLS: u32 = (3 * SENDING) | (3 * RECEIVING);

/// What side `side` writes over message `number`. Without the side, its own message would look like the peer's.
#[inline(always)]
fn stamp(number: u64, side: usize) -> u64 {
    number << 1 | side as u64
}

/// What is done with the shared slot.
#[derive(Debug)]
enum Sharing<S> {
    /// Nothing: it is nobody's.
    Not,
    /// A stamp announces each message.
    Stamped,
    /// The last word of the slot, which this is, announces it.
    ByContent(S),
}

/// What one side knows without looking at shared memory; its sender and its receiver share it.
///
/// The private counters are atomics only so that both halves may hold a reference: every access is a plain load or
/// store. The halves of one side are meant to stay with one thread. Used from two threads at once they may publish the
/// acknowledgement late or forget it, and may sleep through a bell, which can stall the peer or the receiving half for
/// good, but cannot make a place look free that is not.
#[derive(Debug)]
pub struct Side<S, C, L> {
    /// 0 or 1.
    index: usize,
    shared: S,
    /// The lane that this side writes.
    mine: C,
    /// The lane that the other side writes.
    theirs: C,
    lobby: L,
    manner: Manner,
    budget: Budget,
    /// Of waits for a message in the shared slot, which the peer owns, and of all others.
    turns: Pace,
    others: Pace,
    /// Messages put and messages taken, over both places.
    put: AtomicU64,
    taken: AtomicU64,
    /// Messages put into our lane, taken from the peer's, and how many of the latter the peer was told of.
    lane_put: AtomicU32,
    lane_taken: AtomicU32,
    told: AtomicU32,
    sharing: Sharing<S>,
    /// 1 while the shared slot is ours.
    owner: AtomicU32,
    /// What we last wrote over a message in our lane, and what the stamp of the shared slot was when we last wrote or took a
    /// message there: what a wait expects to find there still.
    lane_number: AtomicU64,
    shared_stamp: AtomicU64,
    /// The last word of the message that lies in the shared slot, while that announces itself.
    last_word: AtomicU64,
    /// The thread that uses both halves, as far as is known; [`SEVERAL`] if they are two. Only one thread knows at any
    /// time what stands in the words that its side writes.
    thread: AtomicU64,
    /// The first word that was found impossible.
    nonsense: OnceLock<Nonsense>,
}

impl<S, C, L> Side<S, C, L>
where
    S: Deref<Target = Stamp>,
    C: Deref<Target = Words>,
    L: Deref<Target = Lobby>,
{
    /// Side `index` (0 or 1) of a mailbox pair. At first the shared slot is side 0's.
    pub fn new(index: usize, shared: S, [mine, theirs]: [C; 2], lobby: L, manner: Manner) -> Self {
        Self {
            index,
            shared,
            mine,
            theirs,
            lobby,
            manner,
            budget: Budget::default(),
            turns: Pace::default(),
            others: Pace::default(),
            put: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            lane_put: AtomicU32::new(0),
            lane_taken: AtomicU32::new(0),
            told: AtomicU32::new(0),
            sharing: Sharing::Stamped,
            owner: AtomicU32::new(u32::from(index == 0)),
            lane_number: AtomicU64::new(0),
            shared_stamp: AtomicU64::new(0),
            last_word: AtomicU64::new(0),
            thread: AtomicU64::new(0),
            nonsense: OnceLock::new(),
        }
    }

    /// Says that the calling thread uses a half from now on. Before the half is used.
    #[cfg(not(loom))]
    pub fn used_here(&self) {
        let me = crate::sys::thread::mark() as u64;
        let before = self.thread.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst);
        if before.is_err_and(|other| other != me) {
            self.thread.store(SEVERAL, Ordering::SeqCst);
        }
    }

    /// The first word that made [`Stop::Corrupt`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.nonsense.get().copied()
    }

    /// The same side, with looks into the shared slot that are as far apart as `turns` says, and not at every pause.
    #[must_use]
    pub fn paced(self, turns: Pace) -> Self {
        Self { turns, ..self }
    }

    /// Whether this side learns how far apart looks into the shared slot should be.
    #[cfg(all(test, not(loom)))]
    pub(super) fn learns(&self) -> bool {
        self.turns.learns()
    }

    /// The same side without the shared slot: nobody owns it, so everything goes through the lanes. For both sides alike.
    #[must_use]
    pub fn lanes_only(self) -> Self {
        Self { owner: AtomicU32::new(0), sharing: Sharing::Not, ..self }
    }

    /// The same side with messages in the shared slot that announce themselves with their last word, which is `last`. For
    /// both sides alike.
    #[must_use]
    pub fn announced_by_content(self, last: S) -> Self {
        Self { sharing: Sharing::ByContent(last), ..self }
    }

    /// Finds the place for the next message, which is ours to write until it is [put](Self::put): the shared slot if we own
    /// it, else our lane, as soon as the peer took the last message from there.
    ///
    /// # Errors
    /// [`Stop::Gone`] when the peer closed its receiving half, [`Stop::Corrupt`] when a word is impossible.
    #[inline(always)]
    pub fn reserve(&self, peer: impl Peer) -> Result<Place, Stop> {
        let left = || self.peer_left(RECEIVING);
        if left() {
            return Err(self.ended(SENDING));
        }
        // Acquire: pairs with the release in `take`: the receiving half, in whichever thread, is done with the message
        // that we are about to overwrite, and with it everything that the peer did before it gave us the slot.
        if self.owner.load(Ordering::Acquire) != 0 {
            return Ok(if let Sharing::ByContent(_) = self.sharing { Place::Whole } else { Place::Shared });
        }
        let put = self.lane_put.load(Ordering::Relaxed);
        // Acquire: pairs with the release of `took`, so that the peer's reads of our lane are over.
        let taken = || (self.theirs.took.load(Ordering::Acquire) == put).then_some(Place::Lane);
        if let Some(place) = taken() {
            return Ok(place);
        }
        self.tell();
        self.wait(SENDING, taken, left, peer)
    }

    /// The number of the message that is put now; what we took so far goes with it.
    #[inline(always)]
    fn count(&self) -> u64 {
        let number = self.put.load(Ordering::Relaxed) + 1;
        self.put.store(number, Ordering::Relaxed);
        self.acknowledge();
        number
    }

    /// Announces message `number`, in the shared slot, by its stamp.
    #[inline(always)]
    fn announce(&self, number: u64) {
        let stamp = stamp(number, self.index);
        self.shared_stamp.store(stamp, Ordering::Relaxed);
        // Release: the payload, and that we read the message before it, come before the stamp.
        self.shared.word.store(stamp, Ordering::Release);
    }

    /// Whether the peer's message `next` is announced in the shared slot by its stamp.
    #[inline(always)]
    fn announced(&self, next: u64) -> bool {
        // Acquire: pairs with `announce`: the payload is there, and the peer has read what it overwrote.
        self.shared.word.load(Ordering::Acquire) == stamp(next, 1 - self.index)
    }

    /// Whether the shared slot is in use at all.
    fn shares(&self) -> bool {
        !matches!(self.sharing, Sharing::Not)
    }

    /// Publishes the message at `place`, where [`reserve`](Self::reserve) said, together with what we took so far. The
    /// shared slot is the peer's from here on.
    ///
    /// # Panics
    /// At a place whose message is to be [put whole](Self::put_whole).
    #[inline(always)]
    pub fn put(&self, place: Place) {
        let number = self.count();
        match place {
            Place::Whole => unreachable!("a message that announces itself is put whole"),
            Place::Shared => {
                // Relaxed, and before the stamp: whoever makes us the owner again has seen the stamp, so this store
                // cannot come behind that one.
                self.owner.store(0, Ordering::Relaxed);
                self.announce(number);
                self.let_go();
            }
            Place::Lane => {
                self.lane_put.store(self.lane_put.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
                self.lane_number.store(number, Ordering::Relaxed);
                // Release: payload (and `took`) are visible before the number.
                self.mine.put.store(number, Ordering::Release);
            }
        }
        self.ring();
    }

    /// Publishes the message at [`Place::Whole`], all of which but its last word is there already. The shared slot is the
    /// peer's from here on.
    ///
    /// # Panics
    /// When messages do not announce themselves.
    #[inline(always)]
    pub fn put_whole(&self, word: u64) {
        let Sharing::ByContent(last) = &self.sharing else { unreachable!("only some messages announce themselves") };
        let number = self.count();
        let before = self.last_word.load(Ordering::Relaxed);
        self.last_word.store(word, Ordering::Relaxed);
        if word == before {
            self.announce(number);
        } else {
            // Release: the message, and that we read the one before it, come before what announces it.
            last.word.store(word, Ordering::Release);
        }
        // Release: a receiving half in another thread that sees that the slot is not ours any more also sees our message
        // in it, and does not take that for the peer's. Behind the message, for that; the half that makes us the owner
        // again looks for the peer's message only after it saw this.
        self.owner.store(0, Ordering::Release);
        self.let_go();
        self.ring();
    }

    /// As [`let_go`](super::pace::let_go), what was announced in the shared slot: a look before that finds one's own message, and
    /// one right after it comes while the peer is asking for the line.
    #[inline(always)]
    fn let_go(&self) {
        if self.manner.wait.looks() {
            super::pace::let_go();
        }
    }

    /// Where the peer's message `next` is, if it is there, when messages announce themselves with the word at `last`.
    #[inline(always)]
    fn by_content(&self, last: &S, next: u64) -> Option<Place> {
        // Acquire: pairs with `put_whole`. While the slot is ours nothing comes through it.
        if self.owner.load(Ordering::Acquire) != 0 {
            return None;
        }
        // Acquire: pairs with the release in `put_whole`: the message is there, and so is what the peer put into its lane
        // before it.
        if last.word.load(Ordering::Acquire) != self.last_word.load(Ordering::Relaxed) {
            let earlier = self.theirs.put.load(Ordering::Acquire) == next;
            return Some(if earlier { Place::Lane } else { Place::Whole });
        }
        // The stamp has a number: no other place needs to be looked at.
        self.announced(next).then_some(Place::Whole)
    }

    /// Waits for the peer's next message and says where it lies; it is ours to read until [`take`](Self::take).
    ///
    /// # Errors
    /// [`Stop::Gone`] when the peer closed its sending half and everything was taken, [`Stop::Corrupt`] when a word is
    /// impossible.
    #[inline(always)]
    pub fn peek(&self, peer: impl Peer) -> Result<Place, Stop> {
        let next = self.taken.load(Ordering::Relaxed) + 1;
        // A number is in one of the two places and in no other, so the order of the looks does not matter; what has no
        // number is looked for with one more look at the lane. The place where nothing comes is not written either, and
        // its line stays in our cache.
        let message = || {
            // Acquire: pairs with the release in `put`: the payload is there, and the peer has read what it overwrote.
            if self.theirs.put.load(Ordering::Acquire) == next {
                return Some(Place::Lane);
            }
            match &self.sharing {
                Sharing::Not => None,
                Sharing::Stamped => self.announced(next).then_some(Place::Shared),
                Sharing::ByContent(last) => self.by_content(last, next),
            }
        };
        if let Some(place) = message() {
            return Ok(place);
        }
        self.tell();
        self.wait(RECEIVING, message, || self.peer_left(SENDING), peer)
    }

    /// Ends the reading of the message at `place`, where [`peek`](Self::peek) said. The shared slot is ours from here on;
    /// of a lane the peer learns with our next message, or before we next wait.
    #[inline(always)]
    pub fn take(&self, place: Place) {
        self.taken.store(self.taken.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        match place {
            // Release: pairs with `reserve`, should the other half be in another thread: our reads are over before it
            // overwrites them.
            Place::Shared => self.owner.store(1, Ordering::Release),
            Place::Whole => {
                // Relaxed: nobody writes these words while the slot is ours, and whoever told us that it is wrote them before.
                if let Sharing::ByContent(last) = &self.sharing {
                    self.last_word.store(last.word.load(Ordering::Relaxed), Ordering::Relaxed);
                }
                self.shared_stamp.store(self.shared.word.load(Ordering::Relaxed), Ordering::Relaxed);
                // Release: as above.
                self.owner.store(1, Ordering::Release);
            }
            // Release: pairs with `acknowledge`, should the other half, in another thread, be the one that tells the
            // peer.
            Place::Lane => {
                self.lane_taken.store(self.lane_taken.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
            }
        }
    }

    /// The wait of one half.
    #[inline(always)]
    fn wait(
        &self,
        half: u32,
        ready: impl FnMut() -> Option<Place>,
        left: impl FnMut() -> bool,
        mut peer: impl Peer,
    ) -> Result<Place, Stop> {
        let peer = Judged(|| self.sees(half), &mut peer);
        // Relaxed: it decides on nothing but pauses.
        let turns = half == RECEIVING && self.shares() && self.owner.load(Ordering::Relaxed) == 0;
        let pace = if turns { &self.turns } else { &self.others };
        // Apart, where it costs a blocking round trip a tenth: in place, a spinning one of 64 bytes took 1.05 to 1.07 of the time.
        self.lobby.bells[self.index]
            .wait::<true, _>((self.manner.wait, &self.budget, pace), self.manner.berth, ready, left, peer)
            .map_err(|_| self.ended(half))
    }

    /// Why a half has nothing more to wait for: its peer left, unless a word says otherwise.
    #[cold]
    fn ended(&self, half: u32) -> Stop {
        if self.sees(half) { Stop::Corrupt } else { Stop::Gone }
    }

    /// Whether a word was found impossible, now or before. Looked for as seldom as whether the peer lives, and with
    /// `Relaxed`: the numbers are judged and not used.
    fn sees(&self, half: u32) -> bool {
        let Some(found) = self.impossible(half) else { return self.nonsense.get().is_some() };
        self.nonsense.get_or_init(|| found);
        true
    }

    /// Whether what this thread remembers of its side is all that there is to remember. Asked after the words were read.
    fn in_one_thread(&self) -> bool {
        !matches!(self.thread.load(Ordering::SeqCst), 0 | SEVERAL)
    }

    fn impossible(&self, half: u32) -> Option<Nonsense> {
        let (left, own) = (self.lobby.left.0.load(Ordering::Relaxed), half << self.index);
        Nonsense::unless("one's own farewell", u64::from(left & own), 0)
            .or_else(|| Nonsense::unless("a farewell of neither side", u64::from(left & !FAREWELLS), 0))
            .or_else(|| self.impossible_slot().filter(|_| self.in_one_thread()))
    }

    fn impossible_slot(&self) -> Option<Nonsense> {
        self.impossible_lanes().or_else(|| self.impossible_stamp()).or_else(|| self.impossible_silence())
    }

    /// In our lane stands what we wrote; in the peer's at most one message beyond those that we await, and it took all of
    /// ours but the last.
    fn impossible_lanes(&self) -> Option<Nonsense> {
        let next = self.taken.load(Ordering::Relaxed) + 1;
        let put = self.lane_put.load(Ordering::Relaxed);
        let number = |words: &Words| words.put.load(Ordering::Relaxed);
        let took = |words: &Words| words.took.load(Ordering::Relaxed);
        Nonsense::unless("the number in one's own lane", number(&self.mine), self.lane_number.load(Ordering::Relaxed))
            .or_else(|| {
                let told = self.told.load(Ordering::Relaxed);
                Nonsense::unless("one's own acknowledgement", u64::from(took(&self.mine)), u64::from(told))
            })
            .or_else(|| {
                Nonsense::unless_within(
                    "the number in the peer's lane",
                    number(&self.theirs),
                    0,
                    next + u64::from(self.shares()),
                )
            })
            .or_else(|| {
                let (took, low) = (took(&self.theirs), put.wrapping_sub(1));
                let word = "the peer's acknowledgement";
                let odd = took.wrapping_sub(low) > 1;
                odd.then_some(Nonsense { word, value: u64::from(took), low: u64::from(low), high: u64::from(put) })
            })
    }

    /// The stamp is the one that we left when we gave the slot away, or of one of the peer's next two messages.
    fn impossible_stamp(&self) -> Option<Nonsense> {
        let awaited = |ahead| stamp(self.taken.load(Ordering::Relaxed) + ahead, 1 - self.index);
        let (now, wrote) = (self.shared.word.load(Ordering::Relaxed), self.shared_stamp.load(Ordering::Relaxed));
        // While the slot is ours its stamp tells nobody anything.
        let ours = !self.shares() || self.owner.load(Ordering::Relaxed) != 0;
        let possible = ours || [wrote, awaited(1), awaited(2)].contains(&now);
        (!possible).then_some(Nonsense { word: "the stamp of the shared slot", value: now, low: wrote, high: wrote })
    }

    /// Where messages announce themselves: behind the one that is due there is one in the lane, so the one that is due was
    /// put before it into the shared slot; and nothing there is another than before.
    fn impossible_silence(&self) -> Option<Nonsense> {
        let Sharing::ByContent(last) = &self.sharing else { return None };
        let next = self.taken.load(Ordering::Relaxed) + 1;
        // Acquire: what was put into the shared slot before is there to be seen.
        let overtaken = self.theirs.put.load(Ordering::Acquire) == next + 1;
        let value = last.word.load(Ordering::Relaxed);
        let silent = value == self.last_word.load(Ordering::Relaxed) && !self.announced(next);
        let word = "the last word of the message in the shared slot";
        (overtaken && silent).then_some(Nonsense { word, value, low: value, high: value })
    }

    /// Where either half of this side sleeps, if it ever does.
    #[cfg(not(loom))]
    pub(super) fn sleeper(&self) -> Option<(&Futex, &Scope)> {
        self.manner.wait.sleeps().then(|| (self.lobby.bells[self.index].flag(), &self.manner.berth))
    }

    #[inline(always)]
    fn ring(&self) {
        self.lobby.bells[1 - self.index].ring(self.manner.wait, self.manner.berth);
    }

    #[inline(always)]
    fn peer_left(&self, half: u32) -> bool {
        // Acquire: what the peer published before it left is looked at once more after this says yes.
        self.lobby.left.0.load(Ordering::Acquire) & (half << (1 - self.index)) != 0
    }

    /// Writes what we took from the peer's lane into ours, if the peer does not know yet; says whether it wrote.
    #[inline(always)]
    fn acknowledge(&self) -> bool {
        // Acquire: the release below then also covers what the receiving half read, whichever thread it is in.
        let taken = self.lane_taken.load(Ordering::Acquire);
        if self.told.load(Ordering::Relaxed) == taken {
            return false;
        }
        self.told.store(taken, Ordering::Relaxed);
        // Release: our reads of the peer's lane are over before it may write there.
        self.mine.took.store(taken, Ordering::Release);
        true
    }

    /// Acknowledges without a message to carry it.
    #[inline(always)]
    fn tell(&self) {
        if self.acknowledge() {
            self.ring();
        }
    }

    /// Closes the sending half.
    pub fn close_sending(&self) {
        self.leave(SENDING);
    }

    /// Closes the receiving half, after telling the peer what was taken.
    pub fn close_receiving(&self) {
        self.tell();
        self.leave(RECEIVING);
    }

    fn leave(&self, half: u32) {
        self.lobby.left.0.fetch_or(half << self.index, Ordering::Release);
        self.lobby.bells[1 - self.index].toll(self.manner.wait, self.manner.berth);
    }
}

//! A pair of mailboxes in a region: where the places lie, and the halves of each side with the places as slices.

use super::{PAGE, Region, View, futex};
use crate::shm::LINE;
use crate::shm::nonsense::Nonsense;
use crate::shm::pace::Pace;
use crate::shm::ring::{Manner, Stop};
use crate::shm::slot::{Lobby, Place, Side, Stamp, Words};
use crate::shm::wait::{Berth, Peer, Rouser};
use std::ptr::NonNull;
use std::sync::Arc;

/// Offsets of a mailbox pair in its region: the shared slot, then the two lanes.
#[derive(Debug, Clone, Copy)]
pub struct LaneShape {
    /// Bytes of a message.
    pub size: usize,
}

/// Bytes before the payload of the shared slot and of a lane.
const SHARED_HEADER: usize = size_of::<Stamp>();
const LANE_HEADER: usize = size_of::<Words>();
/// Bytes beside the words in their line, and beside the stamp of the shared slot.
const ROOM: usize = LINE - LANE_HEADER;
const SHARED_ROOM: usize = LINE - SHARED_HEADER;
/// From here on a message has lines of its own.
const LONG: usize = 1024;
/// Places begin at multiples of it.
const APART: usize = 4 * LINE;
/// Bytes from the stamp of the shared slot to a message that has its line for itself: no neighbour of the stamp's that the
/// pair prefetcher would drag along.
const ALONE: usize = 2 * LINE;
const _: () = assert!(SHARED_HEADER == 8 && LANE_HEADER == 16 && ALONE + LINE <= APART);

impl LaneShape {
    const LOBBY: usize = 256;

    /// Bytes from the words of a lane to its message. Lines of its own are not pulled away by a peer that looks at the words
    /// while the message is being written; in the line of the words it begins to travel with these. The first is better for
    /// a message that fills one line, and for long ones: 64 B in a stream, 1 KiB and 4 KiB in a ping-pong (0.95, 0.86 and 0.94
    /// of the time with the CPUs near each other); the second for what fits beside the words, and for 128 and 256 B (1.22 and
    /// 1.29).
    fn payload(self) -> usize {
        let own = match self.size {
            0..=ROOM => false,
            size => size <= LINE || size >= LONG,
        };
        if own { LINE } else { LANE_HEADER }
    }

    fn place_len(self) -> usize {
        // So far apart that the pair prefetcher never drags another place along.
        (self.payload() + self.size).next_multiple_of(APART)
    }

    /// Bytes that a region needs for it.
    pub fn region_len(self) -> usize {
        (PAGE + 3 * self.place_len()).next_multiple_of(PAGE)
    }

    /// Whether messages are short enough for the slot that both sides write in turn: see [`slot`](crate::shm::slot).
    fn shares(self) -> bool {
        self.size <= LINE
    }

    /// Whether a message of the shared slot leaves no room for a stamp in its line.
    fn announces_itself(self) -> bool {
        self.shares() && self.size > SHARED_ROOM
    }

    /// Where the stamp of the shared slot is.
    fn shared(self) -> usize {
        PAGE
    }

    /// Where the message in the shared slot is: behind the stamp, or in a line of its own.
    fn shared_payload(self) -> usize {
        self.shared() + if self.announces_itself() { ALONE } else { SHARED_HEADER }
    }

    /// Where the last word of the message in the shared slot is, if messages announce themselves.
    fn last_word(self) -> Option<usize> {
        self.announces_itself().then_some(self.shared_payload() + SHARED_ROOM)
    }

    fn lane(self, index: usize) -> usize {
        PAGE + (1 + index) * self.place_len()
    }

    /// The words of the pair.
    pub(in crate::shm) fn views(self, region: &Arc<Region>) -> Desk {
        // SAFETY: `Words` is all atomics.
        let lanes = [0, 1].map(|lane| unsafe { View::new(region, self.lane(lane)) });
        // SAFETY: `Stamp` is an atomic. Everybody else writes what comes before this word only; whoever reads it as a part
        // of a message owns the slot, and meanwhile the peer loads it at most.
        let last = self.last_word().map(|at| unsafe { View::new(region, at) });
        // SAFETY: `Stamp` is an atomic, `Lobby` all atomics.
        let (lobby, stamp) = unsafe { (View::new(region, Self::LOBBY), View::new(region, self.shared())) };
        Desk { lobby, stamp, lanes, last }
    }
}

/// The words of a mailbox pair.
#[derive(Debug, Clone)]
pub(in crate::shm) struct Desk {
    pub(in crate::shm) lobby: View<Lobby>,
    /// Of the shared slot.
    pub(in crate::shm) stamp: View<Stamp>,
    pub(in crate::shm) lanes: [View<Words>; 2],
    /// The last word of the message in the shared slot, if messages announce themselves.
    pub(in crate::shm) last: Option<View<Stamp>>,
}

/// One side of a mailbox pair over a region; its sender and receiver share it.
#[derive(Debug)]
pub struct Mailbox {
    side: Side<View<Stamp>, View<Words>, View<Lobby>>,
    shared: NonNull<u8>,
    mine: NonNull<u8>,
    theirs: NonNull<u8>,
    size: usize,
}

// SAFETY: pointers into a region kept alive by `side`'s views; the slot protocol makes accesses exclusive.
unsafe impl Send for Mailbox {}
// SAFETY: `&Mailbox` hands out `&mut [u8]` only through `MailTx`, of which there is one per mailbox.
unsafe impl Sync for Mailbox {}

impl Mailbox {
    /// Side `index` of the pair; returns its two halves. There must be one of each side, which is why nobody outside the
    /// crate may make it: a second one would hand out the same places again.
    pub(crate) fn open(region: &Arc<Region>, shape: LaneShape, index: usize, manner: Manner) -> (MailTx, MailRx) {
        assert!(shape.region_len() <= region.len, "the mailbox does not fit its region");
        assert!(index < 2, "a mailbox has sides 0 and 1");
        let Desk { lobby, stamp, lanes, last } = shape.views(region);
        let words = [&lanes[index], &lanes[1 - index]].map(View::clone);
        let payload = |offset| {
            // SAFETY: the payloads lie within the region by the first assertion.
            unsafe { region.base.add(offset) }
        };
        let side = Side::new(index, stamp, words, lobby, manner).paced(Pace::in_turns(shape.size));
        let mailbox = Arc::new(Self {
            side: match last {
                Some(last) => side.announced_by_content(last),
                None if shape.shares() => side,
                None => side.lanes_only(),
            },
            shared: payload(shape.shared_payload()),
            mine: payload(shape.lane(index) + shape.payload()),
            theirs: payload(shape.lane(1 - index) + shape.payload()),
            size: shape.size,
        });
        (MailTx { mailbox: Arc::clone(&mailbox), attached: false }, MailRx { mailbox, attached: false })
    }
}

/// A message that is built aside.
#[repr(align(64))]
struct Whole([u8; LINE]);

/// The sending half of a mailbox side.
#[derive(Debug)]
pub struct MailTx {
    mailbox: Arc<Mailbox>,
    attached: bool,
}

impl MailTx {
    /// As [`Side::nonsense`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.mailbox.side.nonsense()
    }

    /// Says that this half is in use: only then does dropping it close it for the peer.
    pub fn attach(&mut self) {
        self.mailbox.side.used_here();
        self.attached = true;
    }

    /// As [`RingTx::rouser`](super::RingTx::rouser), for both halves of the side.
    pub fn rouser(&self, region: &Arc<Region>) -> Option<Rouser> {
        self.mailbox.side.sleeper().map(|(flag, berth)| berth.rouser(futex(region, flag)))
    }

    /// Waits for a free place, lets `fill` write the message into it, and publishes it.
    ///
    /// # Errors
    /// As [`Side::reserve`].
    #[inline(always)]
    pub fn send_with(&mut self, peer: impl Peer, fill: impl FnOnce(&mut [u8])) -> Result<(), Stop> {
        let mailbox = &*self.mailbox;
        let place = mailbox.side.reserve(peer)?;
        let at = match place {
            Place::Shared => mailbox.shared,
            Place::Lane => mailbox.mine,
            Place::Whole => {
                let mut whole = Whole([0; LINE]);
                fill(&mut whole.0[..mailbox.size]);
                let [begin @ .., w0, w1, w2, w3, w4, w5, w6, w7] = whole.0;
                // SAFETY: after `reserve` and until `put_whole` the shared slot is this half's alone but for its last
                // word, `&mut self` makes this half unique, and a line fits there (`ALONE`).
                unsafe { mailbox.shared.cast::<[u8; SHARED_ROOM]>().write(begin) };
                mailbox.side.put_whole(u64::from_ne_bytes([w0, w1, w2, w3, w4, w5, w6, w7]));
                return Ok(());
            }
        };
        // SAFETY: after `reserve` and until `put` the place is this half's alone (nobody but its owner touches the shared
        // slot, and the peer took the last message from our lane), `&mut self` makes this half unique, and the payload
        // was checked to lie within the region.
        let payload = unsafe { std::slice::from_raw_parts_mut(at.as_ptr(), mailbox.size) };
        fill(payload);
        mailbox.side.put(place);
        Ok(())
    }
}

impl Drop for MailTx {
    fn drop(&mut self) {
        if self.attached {
            self.mailbox.side.close_sending();
        }
    }
}

/// The receiving half of a mailbox side.
#[derive(Debug)]
pub struct MailRx {
    mailbox: Arc<Mailbox>,
    attached: bool,
}

impl MailRx {
    /// As [`Side::nonsense`].
    pub fn nonsense(&self) -> Option<Nonsense> {
        self.mailbox.side.nonsense()
    }

    /// Says that this half is in use: only then does dropping it close it for the peer.
    pub fn attach(&mut self) {
        self.mailbox.side.used_here();
        self.attached = true;
    }

    /// As [`RingTx::rouser`](super::RingTx::rouser), for both halves of the side.
    pub fn rouser(&self, region: &Arc<Region>) -> Option<Rouser> {
        self.mailbox.side.sleeper().map(|(flag, berth)| berth.rouser(futex(region, flag)))
    }

    /// Waits for a message and lets `read` look at it in place.
    ///
    /// # Errors
    /// As [`Side::peek`].
    #[inline(always)]
    pub fn recv_with<R>(&mut self, peer: impl Peer, read: impl FnOnce(&[u8]) -> R) -> Result<R, Stop> {
        let mailbox = &*self.mailbox;
        let place = mailbox.side.peek(peer)?;
        let at = if place == Place::Lane { mailbox.theirs } else { mailbox.shared };
        // SAFETY: after `peek` the peer writes this place again only after it saw that we took the message (its lane), or
        // got the slot back from us (the shared slot). Our sending half gets neither done before `take`.
        let payload = unsafe { std::slice::from_raw_parts(at.as_ptr(), mailbox.size) };
        let result = read(payload);
        mailbox.side.take(place);
        Ok(result)
    }
}

impl Drop for MailRx {
    fn drop(&mut self) {
        if self.attached {
            self.mailbox.side.close_receiving();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Wait;
    use crate::shm::futex::Scope;

    fn region(size: usize) -> (Arc<Region>, LaneShape) {
        let shape = LaneShape { size };
        (Arc::new(Region::heap(shape.region_len())), shape)
    }

    fn open(region: &Arc<Region>, shape: LaneShape) -> [(MailTx, MailRx); 2] {
        let manner = Manner { wait: Wait::Spin, berth: Scope::Private };
        [0, 1].map(|index| {
            let (mut tx, mut rx) = Mailbox::open(region, shape, index, manner);
            tx.attach();
            rx.attach();
            (tx, rx)
        })
    }

    fn sides(size: usize) -> [(MailTx, MailRx); 2] {
        let (region, shape) = region(size);
        open(&region, shape)
    }

    fn say((tx, _): &mut (MailTx, MailRx), byte: u8) {
        tx.send_with(|| false, |place| place.fill(byte)).unwrap();
    }

    fn hear((_, rx): &mut (MailTx, MailRx)) -> Result<u8, Stop> {
        rx.recv_with(|| false, |message| message[0])
    }

    #[test]
    fn messages_of_any_length_come_over_whatever_stood_there_before() {
        let present = || false;
        for size in 1..=130 {
            let [(mut near_tx, mut near_rx), (mut far_tx, mut far_rx)] = sides(size);
            // Messages that are alike, and alike at their end only, and one that looks like a slot nobody has used.
            for (round, byte) in [0_u8, 0, 7, 7, 9, 9, 0].into_iter().enumerate() {
                let message = |first: u8| {
                    let mut message = vec![byte; size];
                    message[0] = first;
                    message
                };
                let [ping, pong] = [message(round as u8), message(byte)];
                near_tx.send_with(present, |place| place.copy_from_slice(&ping)).unwrap();
                assert_eq!(far_rx.recv_with(present, <[u8]>::to_vec).unwrap(), ping, "{size}");
                far_tx.send_with(present, |place| place.copy_from_slice(&pong)).unwrap();
                // There is a second place while the first is not empty yet: its message comes behind the other.
                let twice = size <= LINE;
                if twice {
                    far_tx.send_with(present, |place| place.copy_from_slice(&ping)).unwrap();
                }
                assert_eq!(near_rx.recv_with(present, <[u8]>::to_vec).unwrap(), pong, "{size}");
                if twice {
                    assert_eq!(near_rx.recv_with(present, <[u8]>::to_vec).unwrap(), ping, "{size}");
                }
            }
        }
    }

    #[test]
    fn who_waits_for_one_line_learns() {
        for (size, learns) in [(1, true), (LINE, true), (LINE + 1, false), (4096, false)] {
            for (tx, _) in sides(size) {
                assert_eq!(tx.mailbox.side.learns(), learns && Pace::in_turns(1).learns(), "{size}");
            }
        }
    }

    #[test]
    fn places_lie_apart_and_within_their_region() {
        for size in [1, 8, 48, 49, 56, 57, 64, 65, 1023, 1024, 4096] {
            let shape = LaneShape { size };
            let shared = shape.shared_payload() + if shape.announces_itself() { LINE } else { size };
            assert!(shape.last_word().is_none_or(|at| at + 8 == shared && at % 8 == 0), "{size}");
            assert!(!shape.shares() || shared <= shape.lane(0), "{size}");
            assert!(shape.lane(0) + shape.payload() + size <= shape.lane(1), "{size}");
            assert!(shape.lane(1) + shape.payload() + size <= shape.region_len(), "{size}");
        }
    }

    /// Whatever announced the last messages, a side that waits long finds nothing wrong with the words.
    #[test]
    fn a_side_that_waits_in_vain_for_messages_that_announce_themselves_is_told_that_the_peer_is_gone() {
        for pair in [[0, 0], [0, 7], [7, 7], [7, 9]] {
            let [mut near, mut far] = sides(64);
            for (round, [ping, pong]) in [[7, 7], [0, 0], pair].into_iter().enumerate() {
                say(&mut near, ping);
                assert_eq!(hear(&mut far), Ok(ping), "{pair:?}, {round}");
                say(&mut far, pong);
                assert_eq!(hear(&mut near), Ok(pong), "{pair:?}, {round}");
            }
            for (_, rx) in [&mut far, &mut near] {
                assert_eq!(rx.recv_with(|| true, |_| ()), Err(Stop::Gone), "{pair:?}: {:?}", rx.nonsense());
            }
        }
    }

    /// The message that is due was announced by a word that somebody has put back; the one behind it lies in the lane.
    #[test]
    fn a_message_that_announces_itself_and_was_wiped_out_ends_the_wait() {
        let (region, shape) = region(64);
        let [mut near, mut far] = open(&region, shape);
        say(&mut near, 7);
        let header = crate::shm::scribble::Header::slot(&region, shape);
        header.words().iter().find(|word| word.name == "last word").expect("it is one of the words").strike(0);
        say(&mut near, 8);
        assert_eq!(hear(&mut far), Err(Stop::Corrupt));
        let word = far.1.nonsense().expect("it is named").word;
        assert_eq!(word, "the last word of the message in the shared slot");
    }
}

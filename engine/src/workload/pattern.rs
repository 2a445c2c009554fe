//! Many parties: what each of them does with its ends in fan-in, fan-out, independent pairs and broadcast.
//!
//! Key decision: a sequence number says *who* sent a message and which one of that producer's it is, so that every message
//! can be verified whoever receives it, and each producer's order is checked although the orders of different producers
//! mix. Where consumers compete for the messages of one object, each verifies that what it gets rises, and all of them
//! together that every message came exactly once: number, sum and sum of squares of the sequence numbers are those of the
//! window. A message must have eight bytes to say so much. Rejected: a header with the producer in it (bytes that no other
//! workload carries).
//!
//! Where a mechanism has no object that several parties can use, each peer has a channel of its own and the hub serves them
//! *in turn*, a run of messages each. Every message is published when it is built and wakes its sleeper, as in a stream: a
//! run decides who is served next, and holds nothing back. A hub that can tell by looking at memory that it would have to
//! wait (a ring that is full, or empty) passes that peer over, and sleeps only when it would have to wait for everybody; its
//! run is half of what a channel holds, so that a peer has the other half to work on. Where only the call tells, a run is
//! what an empty channel takes and at most 64 messages, because the hub may wait that long for one peer while others have
//! something. Each peer has its quota of a window, so the shares are equal by construction, which is another thing than a
//! shared object and is said in the row. Rejected: one message each, strictly in turn (parties that share a CPU are then
//! woken for every few messages, each wake-up costs the hub as much as a hundred messages of a ring, and every message is in
//! another channel's lines); poll(2) or its like over the channels (a second system call per message that the mechanism's
//! own row does not have; rings have nothing to poll).
//!
//! In a broadcast every consumer gets every message, so each checks the producer's numbers as the consumer of a stream does.
//! A message counts once, when all have it. Only mechanisms that have a broadcast of their own are asked for it. Rejected: a
//! producer that sends each message once to each of many channels (that is a fan-out with N times the messages, and its row
//! is there already).
//!
//! # Fairness
//! A window begins for all parties together and ends when its messages are carried; until then each producer (each
//! consumer of a shared object, each pair) carries as many as it can. *Fairness* is the smallest of these shares divided by
//! the largest: 1 when all carried alike, 0 when one got nothing. Producers claim their messages in blocks of at most 64,
//! and at most a sixteenth of an even share, which is how finely a short window can tell. The consumers of a broadcast have
//! all of it, so that their shares are equal by construction.
//!
//! # Timing model
//! `elapsed = last verified - first built`: the first producer reads the clock before its first message, each consumer after
//! its last. All parties start together. A consumer that does not know how many messages it will get (in fan-out and in
//! pairs) stops at an *end message*, so one message for each consumer is inside the time and not in the count.

use super::payload::{Mismatch, Payload, Way};
use super::{Fault, Load, delay, plant};
use crate::transport::dynamic::AnyTx;
use crate::transport::{Receiver, Sender};

/// Low bits of a sequence number that count a producer's own messages.
const OWN_BITS: u32 = 40;
/// The sequence number of an end message.
const END: u64 = u64::MAX;

/// The first sequence number of a producer.
pub fn first_of(producer: usize) -> u64 {
    (producer as u64) << OWN_BITS
}

/// How many of `n` messages are those of party `index` out of `of` when they are served in turn.
pub fn quota(n: u64, index: usize, of: usize) -> u64 {
    let (index, of) = (index as u64, of as u64);
    n / of + u64::from(index < n % of)
}

/// Smallest share divided by the largest; nothing without shares or messages. 1 is even, 0 is starved.
pub fn fairness(shares: &[u64]) -> Option<f64> {
    let most = *shares.iter().max().filter(|most| **most > 0)?;
    shares.iter().min().map(|least| *least as f64 / most as f64)
}

/// One of the channels that the hub serves in turn: its end, and the sequence number that is next there.
#[derive(Debug)]
pub struct Lane<E> {
    /// The hub's end.
    pub end: E,
    /// Next sequence number.
    pub next: u64,
    /// Messages of the window that it has still to carry.
    due: u64,
}

impl<E> Lane<E> {
    /// The lane of peer `index`, on which nothing was carried yet.
    pub fn new(end: E, index: usize) -> Self {
        Self { end, next: first_of(index), due: 0 }
    }
}

/// How many messages one after the other a hub carries on a lane at most, before it is the next one's turn.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Where it can see whether it would have to wait, and then passes the lane over.
    looking: u64,
    /// Where only the call finds out, and waits for this peer while others may have something.
    blind: u64,
}

impl Run {
    /// Longest run of a hub that waits for its peer: a wake-up costs as much as a few messages of a kernel queue.
    const BLIND: u64 = 64;

    /// The runs on channels that hold `depth` messages each.
    pub fn of(depth: u64) -> Self {
        Self { looking: (depth / 2).max(1), blind: depth.clamp(1, Self::BLIND) }
    }
}

/// Carries `n` messages over the lanes in turn, in runs. A lane on which the hub would have to wait is passed over while
/// there is another one; `ready` says how many messages it is sure to carry at once, if that can be told. Each lane carries
/// its quota of the window and no more.
#[inline(always)]
fn in_turn<E>(
    lanes: &mut [Lane<E>],
    n: u64,
    run: Run,
    ready: impl Fn(&mut E) -> Option<u64>,
    mut carry: impl FnMut(&mut Lane<E>, u64) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let of = lanes.len();
    lanes.iter_mut().enumerate().for_each(|(index, lane)| lane.due = quota(n, index, of));
    let (mut left, mut turn, mut passed) = (n, 0, 0);
    while left > 0 {
        let lane = &mut lanes[turn];
        let mut carried = 0;
        while carried < run.looking.min(lane.due) {
            let left = run.looking.min(lane.due) - carried;
            let now = match ready(&mut lane.end) {
                None if carried > 0 => break,
                None => run.blind.min(lane.due),
                // Nobody has anything, so this one is waited for, and one message is enough to go on.
                Some(0) if passed >= of => 1,
                Some(0) => break,
                Some(at_once) => at_once.min(left),
            };
            carry(lane, now)?;
            carried += now;
            passed = 0;
        }
        lane.due -= carried;
        left -= carried;
        passed += usize::from(carried == 0);
        turn = if turn + 1 == of { 0 } else { turn + 1 };
    }
    Ok(())
}

/// What a consumer of a shared object got, in a form that adds up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Messages.
    pub count: u64,
    /// Sum of their sequence numbers, modulo 2^64.
    pub sum: u64,
    /// Sum of the squares.
    pub squares: u64,
}

impl Sums {
    #[inline(always)]
    fn add(&mut self, seq: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(seq);
        self.squares = self.squares.wrapping_add(seq.wrapping_mul(seq));
    }

    /// Of `n` messages from `first` on, each once.
    pub fn of(first: u64, n: u64) -> Self {
        // Sums of the numbers below `m` and of their squares, without a loop over a window of millions.
        let below = |m: u64| {
            let m = u128::from(m);
            let less = m.saturating_sub(1);
            (less * m / 2, less * m * (less + m) / 6)
        };
        let ((low, low_squares), (high, high_squares)) = (below(first), below(first + n));
        Self { count: n, sum: (high - low) as u64, squares: (high_squares - low_squares) as u64 }
    }

    /// Of two consumers together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            sum: self.sum.wrapping_add(other.sum),
            squares: self.squares.wrapping_add(other.squares),
        }
    }
}

/// Sends the next `n` messages, with the planted fault among them if there is one left.
///
/// # Errors
/// When the transport fails.
pub fn send(tx: &mut impl Sender, load: &mut Load, n: u64) -> Result<(), Fault> {
    let Some(fault) = load.due(n) else { return send_right(tx, load, n) };
    let end = load.next + n;
    send_right(tx, load, n / 2)?;
    plant::commit(tx, load, fault)?;
    send_right(tx, load, end - load.next)
}

#[inline(never)]
fn send_right(tx: &mut impl Sender, load: &mut Load, n: u64) -> Result<(), Fault> {
    let (payload, first) = (load.payload, load.next);
    tx.send_each(n, |k, message| payload.fill(Way::Out, first + k, message))?;
    load.book(n, 0, 0);
    Ok(())
}

/// Sends an end message: one in a window for each end, so through a pointer, and compiled once and not for each mechanism.
///
/// # Errors
/// When the transport fails.
pub fn say_end(tx: &mut dyn AnyTx, payload: Payload) -> Result<(), Fault> {
    Ok(tx.send(&mut |message| payload.fill(Way::Out, END, message))?)
}

/// Sends `n` messages to the lanes in turn, in runs, and an end message to each.
///
/// # Errors
/// When the transport fails.
#[inline(never)]
pub fn deal<E: Sender>(lanes: &mut [Lane<E>], load: &mut Load, n: u64, run: Run) -> Result<(), Fault> {
    let payload = load.payload;
    let mut fault = load.due(n);
    let mut sent = 0;
    in_turn(lanes, n, run, E::room, |lane, now| {
        let some = |lane: &mut Lane<E>, now| {
            let first = lane.next;
            lane.end.send_each(now, |k, message| payload.fill(Way::Out, first + k, message))?;
            lane.next += now;
            Ok::<(), Fault>(())
        };
        match fault.take_if(|_| sent + now > n / 2) {
            None => some(lane, now)?,
            Some(fault) => {
                some(lane, n / 2 - sent)?;
                plant::commit(&mut lane.end, &mut Load { next: lane.next, ..load.clone() }, fault)?;
                lane.next += 1;
                some(lane, sent + now - n / 2 - 1)?;
            }
        }
        sent += now;
        Ok(())
    })?;
    lanes.iter_mut().try_for_each(|lane| say_end(&mut lane.end, payload))?;
    load.book(n, 0, 0);
    Ok(())
}

/// Receives `n` messages from the lanes in turn, in runs.
///
/// # Errors
/// When the transport fails or a message is wrong.
#[inline(never)]
pub fn collect<E: Receiver>(lanes: &mut [Lane<E>], load: &mut Load, n: u64, run: Run) -> Result<(), Fault> {
    let (payload, wait) = (load.payload, load.delay_ns);
    let mut bytes = 0;
    in_turn(lanes, n, run, E::waiting, |lane, now| {
        let first = lane.next;
        lane.next += now;
        if wait == 0 {
            let each = |k, message: &[u8]| payload.check(Way::Out, first + k, message).map(|len| bytes += len);
            return Ok(lane.end.recv_each(now, each)??);
        }
        for seq in first..lane.next {
            bytes += lane.end.recv_with(|message| payload.check(Way::Out, seq, message))??;
            delay(wait);
        }
        Ok(())
    })?;
    load.book(n, n, bytes as u64);
    Ok(())
}

/// Receives `n` messages of any producer from one object; `nexts` holds what is due from each.
///
/// # Errors
/// When the transport fails, or a message is wrong or not the next one of its producer.
#[inline(never)]
pub fn gather(rx: &mut impl Receiver, load: &mut Load, nexts: &mut [u64], n: u64) -> Result<(), Fault> {
    let (payload, wait) = (load.payload, load.delay_ns);
    let mut bytes = 0;
    for _ in 0..n {
        bytes += rx.recv_with(|message| {
            // The number only says whose message it claims to be; what is due decides whether it is right.
            let producer = (payload.sequence(Way::Out, message) >> OWN_BITS) as usize;
            let due = if producer < nexts.len() { &mut nexts[producer] } else { &mut nexts[0] };
            let checked = payload.check(Way::Out, *due, message);
            *due += 1;
            checked
        })??;
        delay(wait);
    }
    load.book(n, n, bytes as u64);
    Ok(())
}

/// Receives one producer's messages in their order until its end message, and returns how many there were.
///
/// # Errors
/// When the transport fails or a message is wrong.
#[inline(never)]
pub fn receive_all(rx: &mut impl Receiver, load: &mut Load) -> Result<Sums, Fault> {
    let (payload, first, wait) = (load.payload, load.next, load.delay_ns);
    let (mut seq, mut bytes) = (first, 0);
    // What stops the loop: nothing wrong, which is the end message, or a wrong message.
    let mut check = |message: &[u8]| match payload.check(Way::Out, seq, message) {
        Err(_) if payload.check(Way::Out, END, message).is_ok() => Err(None),
        checked => {
            bytes += checked.map_err(Some)?;
            seq += 1;
            Ok(())
        }
    };
    let stopped = if wait == 0 {
        rx.recv_each(u64::MAX, |_, message| check(message))?
    } else {
        loop {
            if let Err(stopped) = rx.recv_with(&mut check)? {
                break Err(stopped);
            }
            delay(wait);
        }
    };
    if let Err(Some(wrong)) = stopped {
        return Err(Fault::Wrong(wrong));
    }
    load.book(seq - first, seq - first, bytes as u64);
    Ok(Sums { count: seq - first, ..Sums::default() })
}

/// Receives all messages of a window of `n`, as every consumer of a broadcast does.
///
/// # Errors
/// When the transport fails or a message is wrong.
#[inline(never)]
pub fn receive_every(rx: &mut impl Receiver, load: &mut Load, n: u64) -> Result<(), Fault> {
    let (payload, first, wait) = (load.payload, load.next, load.delay_ns);
    let mut bytes = 0;
    for seq in first..first + n {
        bytes += rx.recv_with(|message| payload.check(Way::Out, seq, message))??;
        delay(wait);
    }
    load.book(n, n, bytes as u64);
    Ok(())
}

/// Receives a share of a window of `n` messages from one object until an end message. Goes on behind a wrong message,
/// so that the producer and the other consumers come to their end, and reports the first one then.
///
/// # Errors
/// When the transport fails, or a message is wrong or not of this window, or came before one that it should follow.
#[inline(never)]
pub fn receive_share(rx: &mut impl Receiver, load: &mut Load, n: u64) -> Result<Sums, Fault> {
    let (payload, first, wait) = (load.payload, load.next, load.delay_ns);
    let (mut low, high, mut bytes) = (first, first + n, 0);
    let (mut sums, mut wrong): (Sums, Option<Box<Mismatch>>) = (Sums::default(), None);
    loop {
        let (seq, checked) = rx.recv_with(|message| {
            let seq = payload.sequence(Way::Out, message);
            let due = if (low..high).contains(&seq) || seq == END { seq } else { low };
            (due, payload.check(Way::Out, due, message))
        })?;
        match checked {
            Ok(_) if seq == END => break,
            Ok(len) => {
                bytes += len;
                sums.add(seq);
                low = seq + 1;
            }
            Err(mismatch) => drop(wrong.get_or_insert(mismatch)),
        }
        delay(wait);
    }
    load.book(n, sums.count, bytes as u64);
    wrong.map_or(Ok(sums), |mismatch| Err(mismatch.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Plan, Plant, Touch, Workload};
    use crate::transport::{Config, HeapRing, Transport};

    type Tx = <HeapRing as Transport>::Tx;
    type Rx = <HeapRing as Transport>::Rx;

    fn channel() -> (Tx, Rx) {
        let (mut tx, mut rx) =
            HeapRing::one_way(&Config::new(&Plan { workload: Workload::FanIn, ..Plan::default() })).unwrap();
        Sender::attach(&mut tx).unwrap();
        rx.attach().unwrap();
        (tx, rx)
    }

    fn load(producer: usize) -> Load {
        Load { next: first_of(producer), ..Load::of(Touch::Whole, 0) }
    }

    fn say(tx: &mut Tx, seqs: &[u64]) {
        for seq in seqs {
            tx.send_with(|message| load(0).payload.fill(Way::Out, *seq, message)).unwrap();
        }
    }

    #[test]
    fn quotas_add_up_and_differ_by_one_at_most() {
        for (n, of) in [(0, 3), (1, 3), (7, 3), (9, 3), (1000, 7)] {
            let quotas: Vec<u64> = (0..of).map(|index| quota(n, index, of)).collect();
            assert_eq!(quotas.iter().sum::<u64>(), n);
            assert!(quotas.is_sorted_by(|a, b| a >= b) && quotas[0] - quotas[of - 1] <= 1, "{quotas:?}");
        }
    }

    #[test]
    fn fairness_is_the_smallest_share_of_the_largest() {
        assert_eq!(fairness(&[50, 100, 75]), Some(0.5));
        assert_eq!(fairness(&[7]), Some(1.0));
        assert_eq!(fairness(&[0, 9]), Some(0.0));
        assert_eq!((fairness(&[]), fairness(&[0, 0])), (None, None));
    }

    #[test]
    fn sums_are_those_of_the_single_numbers() {
        for (first, n) in [(0, 0), (0, 1), (0, 1000), (12_345, 678)] {
            let mut one_by_one = Sums::default();
            (first..first + n).for_each(|seq| one_by_one.add(seq));
            assert_eq!(one_by_one, Sums::of(first, n), "{n} from {first}");
        }
        assert_eq!(Sums::of(3, 4).plus(Sums::of(7, 5)), Sums::of(3, 9));
        let mut doubled = Sums::of(0, 9);
        doubled.add(3);
        assert_ne!(doubled, Sums::of(0, 10), "3 came twice and 9 never");
    }

    #[test]
    fn producers_may_mix_as_they_like_but_each_keeps_its_order() {
        let (mut tx, mut rx) = channel();
        let (a, b) = (first_of(0), first_of(1));
        say(&mut tx, &[b, a, a + 1, b + 1, b + 2, a + 2]);
        let (mut hub, mut nexts) = (load(0), [a, b]);
        gather(&mut rx, &mut hub, &mut nexts, 6).unwrap();
        assert_eq!((hub.verified, nexts), (6, [a + 3, b + 3]));
        say(&mut tx, &[a + 3, b + 4]);
        let fault = gather(&mut rx, &mut hub, &mut nexts, 2).unwrap_err().to_string();
        assert!(fault.contains("lost or reordered"), "{fault}");
    }

    #[test]
    fn a_message_of_nobody_is_wrong() {
        let (mut tx, mut rx) = channel();
        say(&mut tx, &[first_of(2)]);
        assert!(gather(&mut rx, &mut load(0), &mut [first_of(0), first_of(1)], 1).is_err());
    }

    #[test]
    fn a_share_rises_within_its_window_and_ends_with_an_end_message() {
        let (mut tx, mut rx) = channel();
        let mut consumer = load(0);
        say(&mut tx, &[0, 2, 5, END]);
        assert_eq!(receive_share(&mut rx, &mut consumer, 9).unwrap().count, 3);
        assert_eq!((consumer.next, consumer.verified), (9, 3));
        for wrong in [[10, 9], [9, 9], [9, 20], [9, 3]] {
            say(&mut tx, &wrong);
            say(&mut tx, &[END]);
            consumer.next = 9;
            assert!(receive_share(&mut rx, &mut consumer, 9).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_producer_is_heard_to_its_end_message() {
        let (mut tx, mut rx) = channel();
        let (mut producer, mut consumer) = (load(3), load(3));
        for n in [0, 1, 40] {
            send(&mut tx, &mut producer, n).unwrap();
            say_end(&mut tx, producer.payload).unwrap();
            assert_eq!(receive_all(&mut rx, &mut consumer).unwrap().count, n);
        }
        assert_eq!((consumer.next, consumer.verified), (first_of(3) + 41, 41));
    }

    #[test]
    fn lanes_are_served_in_turn() {
        let mut ends: Vec<_> = (0..3).map(|_| channel()).collect();
        for (index, (tx, _)) in ends.iter_mut().enumerate() {
            send(tx, &mut load(index), quota(10, index, 3)).unwrap();
        }
        let (txs, rxs): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        fn lanes<E>(ends: Vec<E>) -> Vec<Lane<E>> {
            ends.into_iter().enumerate().map(|(index, end)| Lane::new(end, index)).collect()
        }
        let (mut from, mut to) = (lanes(rxs), lanes(txs));
        let mut hub = load(0);
        collect(&mut from, &mut hub, 10, Run::of(4)).unwrap();
        assert_eq!(hub.verified, 10);
        let mut unplanted = load(0);
        deal(&mut to, &mut unplanted, 8, Run::of(4)).unwrap();
        for (index, lane) in from.iter_mut().enumerate() {
            assert_eq!(receive_all(&mut lane.end, &mut load(index)).unwrap().count, quota(8, index, 3));
        }
    }

    /// Which lanes are served, and how many messages at a time, where lane `i` is ready for `at_hand[i]` messages, or cannot
    /// tell. A lane that is waited for has one.
    fn served(mut at_hand: Vec<Option<u64>>, n: u64, (looking, blind): (u64, u64)) -> Vec<(usize, u64)> {
        let mut lanes: Vec<_> = (0..at_hand.len()).map(|index| Lane::new(index, index)).collect();
        let mut served = Vec::new();
        let shared = std::cell::RefCell::new(&mut at_hand);
        in_turn(
            &mut lanes,
            n,
            Run { looking, blind },
            |lane| shared.borrow()[*lane],
            |lane, now| {
                if let Some(at_hand) = &mut shared.borrow_mut()[lane.end] {
                    *at_hand = at_hand.saturating_sub(now);
                }
                served.push((lane.end, now));
                Ok(())
            },
        )
        .unwrap();
        served
    }

    #[test]
    fn a_hub_carries_runs_and_passes_over_a_lane_that_would_keep_it_waiting() {
        // Who cannot tell is waited for, to the end of a run.
        assert_eq!(served(vec![None; 2], 7, (9, 3)), [(0, 3), (1, 3), (0, 1)]);
        // One at a time is strictly in turn.
        assert_eq!(served(vec![None; 3], 4, (9, 1)), [(0, 1), (1, 1), (2, 1), (0, 1)]);
        // A run where it can tell is another one.
        assert_eq!(served(vec![Some(9); 2], 6, (2, 9)), [(0, 2), (1, 2), (0, 1), (1, 1)]);
        // A run ends where there is nothing more; the empty lane is waited for last, one message at a time.
        assert_eq!(served(vec![Some(0), Some(2)], 4, (9, 1)), [(1, 2), (0, 1), (0, 1)]);
        assert_eq!(served(vec![Some(1), Some(9), None], 6, (9, 9)), [(0, 1), (1, 2), (2, 2), (0, 1)]);
    }

    #[test]
    fn every_lane_carries_its_quota_whatever_it_has_at_hand() {
        for run in [1, 2, 5, 100] {
            for n in [0, 1, 7, 40] {
                let mut shares = [0; 3];
                for (lane, now) in served(vec![Some(100), Some(3), Some(0)], n, (run, run)) {
                    assert!(now <= run);
                    shares[lane] += now;
                }
                assert_eq!(shares, [0, 1, 2].map(|index| quota(n, index, 3)), "{n} in runs of {run}");
            }
        }
    }

    #[test]
    fn a_planted_fault_of_a_hub_is_heard_by_one_peer() {
        for (plant, run) in [(Plant::Flip, 1), (Plant::Flip, 8), (Plant::Drop, 3), (Plant::Double, 8), (Plant::Swap, 2)]
        {
            let (txs, rxs): (Vec<_>, Vec<_>) = (0..3).map(|_| channel()).unzip();
            let mut lanes: Vec<_> = txs.into_iter().enumerate().map(|(index, end)| Lane::new(end, index)).collect();
            let mut faulty = Load::new(&Plan { plant: Some(plant), ..Plan::default() });
            deal(&mut lanes, &mut faulty, 24, Run::of(2 * run)).unwrap();
            let heard = rxs.into_iter().enumerate();
            let wrong = heard.filter_map(|(index, mut rx)| receive_all(&mut rx, &mut load(index)).err()).count();
            assert_eq!(wrong, 1, "{plant} in runs of {run}");
        }
    }

    #[test]
    fn planted_faults_are_heard_on_every_way() {
        for plant in [Plant::Flip, Plant::Drop, Plant::Double, Plant::Swap] {
            let mut faulty = Load::new(&Plan { plant: Some(plant), ..Plan::default() });
            let (mut tx, mut rx) = channel();
            send(&mut tx, &mut faulty, 20).unwrap();
            say_end(&mut tx, faulty.payload).unwrap();
            assert!(receive_all(&mut rx, &mut load(0)).is_err(), "{plant}");

            let mut faulty = Load::new(&Plan { plant: Some(plant), ..Plan::default() });
            let (mut tx, mut rx) = channel();
            send(&mut tx, &mut faulty, 20).unwrap();
            say_end(&mut tx, faulty.payload).unwrap();
            let found = receive_share(&mut rx, &mut load(0), 20);
            assert!(found.is_err() || found.unwrap() != Sums::of(0, 20), "{plant}");

            let mut faulty = Load::new(&Plan { plant: Some(plant), ..Plan::default() });
            let (mut tx, mut rx) = channel();
            send(&mut tx, &mut faulty, 20).unwrap();
            let fault = receive_every(&mut rx, &mut load(0), 20).unwrap_err();
            assert!(matches!(fault, Fault::Wrong(_)), "{plant}: {fault}");
        }
    }
}

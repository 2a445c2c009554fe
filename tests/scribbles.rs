//! Real ends over headers that are written over: every call comes back, with a right message or with an error.
//!
//! The property is tried with a fixed number of scripts, which one seed makes; what fails is printed as the script that it
//! is and can be put below as a test of its own. `fuzz/` tries the same function with scripts that a fuzzer invents.

use ipcost::plan::Wait;
use ipcost::transport::scribble::{End, Ends, Script, Strike, Subject, meet, play};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use std::cell::Cell;
use std::time::Duration;

/// Far longer than any script takes on a machine that does nothing else.
const PATIENCE: Duration = Duration::from_secs(60);
const SEED: u64 = 0x5C21_B81E;

/// Plays a script; `None` where the mechanism cannot be had.
fn played(script: &Script) -> Option<Ends> {
    match play(script, PATIENCE) {
        Ok(Some(ends)) => Some(ends),
        Ok(None) => panic!("an end did not come back: {script:?}"),
        Err(error) => {
            println!("skipped {:?}: {error}", script.subject);
            None
        }
    }
}

/// Values that protocols are most likely to trip over, and any others.
fn value() -> impl Strategy<Value = u64> {
    let edges = [0, u64::MAX, 1 << 31, u64::from(u32::MAX), 1 << 32, 1 << 63, 0x7FFF_FFFF, 4_194_305];
    prop_oneof![3 => 0..20_u64, 2 => proptest::sample::select(edges.to_vec()), 1 => any::<u64>()]
}

fn strike() -> impl Strategy<Value = Strike> {
    (any::<u8>(), value()).prop_map(|(word, value)| Strike { word, value })
}

fn script() -> impl Strategy<Value = Script> {
    let wait = proptest::sample::select(vec![Wait::Block, Wait::Hybrid(50), Wait::Yield, Wait::Spin]);
    let size = proptest::sample::select(vec![8, 64, 1 << 17]);
    let strikes = |most: usize| proptest::collection::vec(strike(), 0..most);
    let between = proptest::collection::vec((0..24_u64, strike()), 0..3);
    let subject = proptest::sample::select(Subject::ALL.to_vec());
    (subject, wait, size, strikes(3), between, strikes(6)).prop_map(
        |(subject, wait, size, before, between, meanwhile)| Script {
            subject,
            wait,
            size,
            messages: 24,
            before,
            between,
            meanwhile,
        },
    )
}

fn config(cases: u32) -> ProptestConfig {
    // A script is short as it is, and each that hangs takes the whole patience.
    let base = ProptestConfig { max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() };
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(SEED), ..base }
}

#[test]
fn every_call_comes_back_whatever_is_written_over_the_header() {
    let damaged = Cell::new(0);
    let tried = TestRunner::new(config(400)).run(&script(), |script| {
        let Some(ends) = played(&script) else { return Ok(()) };
        let quiet = script.before.is_empty() && script.between.is_empty() && script.meanwhile.is_empty();
        damaged.set(damaged.get() + u32::from(ends.receiver != End::Done));
        prop_assert!(!quiet || ends.receiver == End::Done && ends.right == script.messages, "{ends:?}");
        Ok(())
    });
    tried.unwrap_or_else(|failure| panic!("seed {SEED:#x}: {failure}"));
    assert!(damaged.get() > 20, "the scripts hardly do any harm: {damaged:?}");
}

#[test]
fn a_header_that_nobody_wrote_over_carries_everything() {
    for subject in Subject::ALL {
        for (wait, size) in [(Wait::Block, 8), (Wait::Yield, 64), (Wait::Spin, 1 << 17)] {
            let script = calm(subject, wait, size);
            let done = Ends { sender: End::Done, receiver: End::Done, right: script.messages };
            assert_eq!(played(&script).unwrap_or(done.clone()), done, "{script:?}");
        }
    }
}

/// What hung, ended the program or never ended before it was mended.
#[test]
fn what_was_found_stays_mended() {
    // The first words are the process ids; then of a ring tail and head, of a mutex's buffer both counts, of a semaphore's the
    // number sent and the farewells; of the file ring count, farewell and process id of either side, then three lengths; of a
    // mailbox two bells, the farewells, the stamp, two words of each lane, and the last word.
    const LONG: usize = 1 << 17;
    let found = [
        ("a process id that no process can have", Subject::ShmRing, LONG, 1, 1 << 31),
        ("an index that makes both sides wait", Subject::ShmRing, LONG, 2, 0),
        ("a stamp that is never awaited", Subject::ShmSlot, 8, 5, 1),
        ("the same, beside messages that announce themselves", Subject::ShmSlot, 64, 5, 1),
        ("a last word that announces nothing", Subject::ShmSlot, 64, 10, 0),
        ("a count that is never reached", Subject::ShmMutex, LONG, 3, u64::MAX),
        ("more messages than were sent, and a farewell", Subject::ShmSem, LONG, 2, u64::MAX),
        ("a farewell that nobody said", Subject::ShmSem, LONG, 3, 1),
        ("a count in a file that is never reached", Subject::File, LONG, 3, u64::MAX),
        ("a count in a file that was never reached", Subject::File, LONG, 0, u64::MAX),
        ("a process id in a file that no process can have", Subject::File, LONG, 2, 1 << 31),
        ("a file that is cut", Subject::File, LONG, 8, 0),
    ];
    for (what, subject, size, word, value) in found {
        for wait in [Wait::Block, Wait::Spin] {
            let strike = Strike { word, value };
            let between = (6..24).map(|at| (at, strike)).collect();
            let script = Script { between, before: vec![strike], ..calm(subject, wait, size) };
            if let Some(Ends { sender, receiver, .. }) = played(&script) {
                println!("{what}: {sender:?}, {receiver:?}");
            }
        }
    }
}

#[test]
fn the_word_that_cannot_be_is_named_with_what_was_allowed() {
    let strike = Strike { word: 0, value: u64::MAX };
    let script =
        Script { between: (1..24).map(|at| (at, strike)).collect(), ..calm(Subject::File, Wait::Yield, 1 << 17) };
    let Some(Ends { receiver: End::Error(kind, text), .. }) = played(&script) else {
        panic!("a count beyond all messages is no error")
    };
    assert_eq!(kind, std::io::ErrorKind::InvalidData);
    assert!(text.contains("producer's count is 18446744073709551615, allowed is "), "{text}");
}

fn calm(subject: Subject, wait: Wait, size: usize) -> Script {
    Script { subject, wait, size, messages: 24, before: vec![], between: vec![], meanwhile: vec![] }
}

/// What is found at a name is met or refused; nothing is mapped, allocated or waited for because it says so.
#[test]
fn whatever_lies_at_a_name_is_met_or_refused() {
    let me = std::process::id();
    // The header of a ring as its producer leaves it, any of whose words may be another one.
    let header = |words: Vec<(usize, u32)>, len: usize| {
        let mut bytes = vec![0; len];
        let good = [(0, 0x6970_6302), (1, 64), (2, 65_536), (3, me)];
        for (word, value) in good.into_iter().chain(words) {
            if let Some(place) = bytes.get_mut(4 * word..4 * word + 4) {
                place.copy_from_slice(&value.to_le_bytes());
            }
        }
        bytes
    };
    let right = 4096 + (4 << 20);
    assert_eq!(meet(&header(vec![], 64), right as u64).unwrap()[0], Ok(64));
    // The index file of a producer, as `file` has it: the process id in its third word, the tag and the size behind it.
    let index = [u64::from(me), 0x6970_6366_696c_6502, 64].map(u64::to_le_bytes).concat();
    assert_eq!(meet(&[vec![0; 16], index].concat(), 0).unwrap()[1], Ok(64));
    let len = prop_oneof![Just(right), 0..9000_usize];
    let word = (0..8_usize, value().prop_map(|value| value as u32));
    let headers = (proptest::collection::vec(word, 0..3), len).prop_map(|(words, len)| header(words, len));
    let any_bytes = proptest::collection::vec(any::<u8>(), 0..5000);
    let tried = TestRunner::new(config(300)).run(&prop_oneof![headers, any_bytes], |bytes| {
        for met in meet(&bytes, 0).unwrap() {
            // A consumer is ready for messages of the announced size only if the memory holds them.
            prop_assert!(met.as_ref().is_ok_and(|size| *size <= 1 << 30) || met.is_err(), "{met:?}");
        }
        Ok(())
    });
    tried.unwrap_or_else(|failure| panic!("seed {SEED:#x}: {failure}"));
}

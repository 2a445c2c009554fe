//! Real ends of every mechanism with a header, written over at any moment: both come back, and nobody panics.
//!
//! Some words are read only by who waits, or are written anew for each message: so a strike may be made again before every
//! message that follows, and one that stops both sides goes with another.
#![no_main]

use arbitrary::Arbitrary;
use ipcost::plan::Wait;
use ipcost::transport::scribble::{LARGEST, Script, Strike, Subject, play};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

const MESSAGES: u64 = 24;

#[derive(Debug, Arbitrary)]
struct Input {
    subject: u8,
    wait: u8,
    size: u32,
    before: Vec<(u8, Value)>,
    between: Vec<(u8, bool, u8, Value)>,
    meanwhile: Vec<(u8, Value)>,
}

/// What is written: mostly near what stands there, or at an edge, which few bytes say.
#[derive(Debug, Arbitrary)]
enum Value {
    Small(i8),
    Edge(u8, i8),
    Any(u64),
}

impl Value {
    fn get(self) -> u64 {
        match self {
            Value::Small(value) => i64::from(value) as u64,
            Value::Edge(bits, more) => 1_u64.rotate_left(bits.into()).wrapping_add(i64::from(more) as u64),
            Value::Any(value) => value,
        }
    }
}

fuzz_target!(|input: Input| {
    let strike = |(word, value): (u8, Value)| Strike { word, value: value.get() };
    let waits = [Wait::Block, Wait::Hybrid(50), Wait::Yield, Wait::Spin];
    let between = input.between.into_iter().take(8).flat_map(|(at, again, word, value)| {
        let (at, strike) = (u64::from(at) % MESSAGES, strike((word, value)));
        (at..if again { MESSAGES } else { at + 1 }).map(move |at| (at, strike))
    });
    let script = Script {
        subject: Subject::ALL[usize::from(input.subject) % Subject::ALL.len()],
        wait: waits[usize::from(input.wait) % waits.len()],
        size: 8 + input.size as usize % (LARGEST - 7),
        messages: MESSAGES,
        before: input.before.into_iter().take(8).map(strike).collect(),
        between: between.collect(),
        meanwhile: input.meanwhile.into_iter().take(8).map(strike).collect(),
    };
    if let Ok(ends) = play(&script, Duration::from_secs(20)) {
        assert!(ends.is_some(), "an end did not come back: {script:?}");
    }
});

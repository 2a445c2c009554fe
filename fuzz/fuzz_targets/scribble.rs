//! Real ends of every mechanism with a header, written over at any moment: both come back, and nobody panics.
#![no_main]

use arbitrary::Arbitrary;
use ipcost::plan::Wait;
use ipcost::transport::scribble::{LARGEST, Script, Strike, Subject, play};
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

#[derive(Debug, Arbitrary)]
struct Input {
    subject: u8,
    wait: u8,
    size: u32,
    before: Vec<(u8, u64)>,
    between: Vec<(u8, u8, u64)>,
    meanwhile: Vec<(u8, u64)>,
}

fuzz_target!(|input: Input| {
    let strike = |(word, value): (u8, u64)| Strike { word, value };
    let waits = [Wait::Block, Wait::Hybrid(50), Wait::Yield, Wait::Spin];
    let between = input.between.into_iter().take(8).map(|(at, word, value)| (u64::from(at) % 24, strike((word, value))));
    let script = Script {
        subject: Subject::ALL[usize::from(input.subject) % Subject::ALL.len()],
        wait: waits[usize::from(input.wait) % waits.len()],
        size: 8 + input.size as usize % (LARGEST - 7),
        messages: 24,
        before: input.before.into_iter().take(8).map(strike).collect(),
        between: between.collect(),
        meanwhile: input.meanwhile.into_iter().take(8).map(strike).collect(),
    };
    if let Ok(ends) = play(&script, Duration::from_secs(20)) {
        assert!(ends.is_some(), "an end did not come back: {script:?}");
    }
});

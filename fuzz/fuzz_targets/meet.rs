//! Any bytes where a consumer expects a ring: it is ready to receive, or says why not.
//!
//! Most of what can be said of a header is looked at only behind a tag, the id of a living process, and a length that fits the
//! size, none of which a fuzzer guesses. So the input says which of these are right, and has the rest; a length that is wrong is
//! mostly near the right one, where a check may be off by a page.
#![no_main]

use arbitrary::Arbitrary;
use ipcost::shm::region::RingShape;
use ipcost::transport::memory_for;
use ipcost::transport::scribble::meet;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    size: u32,
    mapped: bool,
    file: bool,
    alive: bool,
    slots: bool,
    length: Length,
    bytes: &'a [u8],
}

/// How long the memory is.
#[derive(Debug, Arbitrary)]
enum Length {
    Right,
    /// Pages more than that, or fewer.
    Pages(i8),
    Bytes(u32),
}

fuzz_target!(|input: Input| {
    let size = 1 + input.size as usize % (1 << 20);
    let shape = RingShape::new(size, memory_for(size));
    let mut header = input.bytes.to_vec();
    let mut put = |right: bool, at: usize, word: &[u8]| {
        if right {
            header.resize(header.len().max(at + word.len()), 0);
            header[at..at + word.len()].copy_from_slice(word);
        }
    };
    let pid = std::process::id();
    // A mapped ring: tag, size, slots, the producer.
    put(input.mapped, 0, &0x6970_6302_u32.to_le_bytes());
    put(input.slots, 4, &(size as u32).to_le_bytes());
    put(input.slots, 8, &(shape.slots as u32).to_le_bytes());
    put(input.alive, 12, &pid.to_le_bytes());
    // An index file: the producer, tag, size.
    put(input.alive, 16, &u64::from(pid).to_le_bytes());
    put(input.file, 24, &0x6970_6366_696c_6502_u64.to_le_bytes());
    put(input.slots, 32, &(size as u64).to_le_bytes());
    let len = match input.length {
        Length::Right => shape.region_len() as u64,
        Length::Pages(more) => (shape.region_len() as u64).saturating_add_signed(4096 * i64::from(more)),
        Length::Bytes(len) => u64::from(len) % (1 << 26),
    };
    for met in meet(&header, len).expect("a temporary folder") {
        assert!(met.is_err() || met.is_ok_and(|size| size <= 1 << 30));
    }
});

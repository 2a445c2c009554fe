//! Any bytes where a consumer expects a ring: it is ready to receive, or says why not.
#![no_main]

use ipcost::transport::scribble::meet;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Behind the tag and the process id, without which nothing else is looked at.
    let mut header = vec![0; 40.max(bytes.len())];
    header[..bytes.len()].copy_from_slice(bytes);
    if bytes.first().is_some_and(|first| first % 2 == 0) {
        header[..4].copy_from_slice(&0x6970_6301_u32.to_le_bytes());
        header[12..16].copy_from_slice(&std::process::id().to_le_bytes());
    }
    for met in meet(&header).expect("a temporary folder") {
        assert!(met.is_err() || met.is_ok_and(|size| size <= 1 << 30));
    }
});

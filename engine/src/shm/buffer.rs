//! Memory for one message on the heap, in cache lines of its own.
//!
//! Key decision: an allocation aligned to a line and as long as whole lines, behind a pointer and a length: two words, as
//! a boxed slice has, so that it fits into a place of a queue as well. The allocator puts a boxed slice 16 bytes behind
//! a boundary and the next one into the same line: 64 bytes then lie in two lines, each of which is written by one party
//! while the other reads its neighbour. Rejected: a longer boxed slice and where the message begins in it (three words in
//! every place, and a check for each access).

use super::LINE;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// So many bytes from the start of a line on.
#[derive(Debug)]
pub struct Buffer {
    /// Of [`layout`], made by [`Buffer::new`], written there, and owned by this alone.
    bytes: NonNull<u8>,
    len: usize,
}

// SAFETY: it owns its memory, as a boxed slice does.
unsafe impl Send for Buffer {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for Buffer {}

fn layout(len: usize) -> Layout {
    // At least a line: nothing may be allocated that has no length.
    let whole = len.max(1).checked_next_multiple_of(LINE).expect("a message is shorter than the memory");
    Layout::from_size_align(whole, LINE).expect("a message is shorter than the memory")
}

impl Buffer {
    /// Of `len` bytes, all of which have been written.
    pub fn new(len: usize) -> Self {
        let layout = layout(len);
        // SAFETY: the layout has a length.
        let Some(bytes) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // Not zeroes that the allocator has at hand: those are pages that fault when they are first written.
        // SAFETY: the allocation is so long.
        unsafe { bytes.write_bytes(0xA5, layout.size()) };
        Self { bytes, len }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: `len` bytes are allocated and written, and this owns them.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and the reference to this is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, which depends on the length only.
        unsafe { dealloc(self.bytes.as_ptr(), layout(self.len)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_have_lines_of_their_own_and_their_length() {
        assert_eq!(size_of::<Buffer>(), size_of::<Box<[u8]>>());
        for len in [0, 1, 63, 64, 65, 4096, 70_000] {
            let mut some: Vec<_> = (0..8).map(|_| Buffer::new(len)).collect();
            for (mark, buffer) in some.iter_mut().enumerate() {
                assert_eq!((buffer.as_ptr().addr() % LINE, buffer.len()), (0, len));
                buffer.fill(mark as u8);
            }
            let lines: std::collections::HashSet<_> = some.iter().map(|buffer| buffer.as_ptr().addr() / LINE).collect();
            assert_eq!(lines.len(), some.len());
            let holds = |(mark, buffer): (usize, &Buffer)| buffer.iter().all(|byte| *byte == mark as u8);
            assert!(some.iter().enumerate().all(holds));
        }
    }
}

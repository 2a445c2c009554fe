//! A message buffer that begins at a page boundary, as the kernel likes it best when it copies.
//!
//! Key decision: a boxed slice that is a page longer than the message, and where in it the message begins; nothing but
//! safe code. Rejected: a boxed slice of its own (the allocator puts it 16 bytes behind a boundary).

use crate::shm::region::PAGE;
use std::ops::{Deref, DerefMut};

/// So many bytes from a page boundary on, zeroes at first.
#[derive(Debug)]
pub struct Message {
    room: Box<[u8]>,
    start: usize,
    size: usize,
}

impl Message {
    /// Of `size` bytes.
    pub fn new(size: usize) -> Self {
        let room = vec![0; size + PAGE - 1].into_boxed_slice();
        let start = room.as_ptr().align_offset(PAGE).min(PAGE - 1);
        Self { room, start, size }
    }
}

impl Deref for Message {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        &self.room[self.start..][..self.size]
    }
}

impl DerefMut for Message {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.start..][..self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_begins_at_a_page_and_has_its_length() {
        for size in [1, 64, 4096, 70_000] {
            let mut message = Message::new(size);
            assert_eq!((message.as_ptr().addr() % PAGE, message.len()), (0, size));
            message.fill(7);
            assert!(message.iter().all(|byte| *byte == 7));
        }
    }
}

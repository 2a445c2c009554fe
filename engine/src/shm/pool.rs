//! Equal buffers in shared memory, each of which belongs to whoever holds its ticket.
//!
//! Key decision: a ticket is a value that cannot be copied and that travels as the buffer's *offset*, which means the same
//! in every address space; handing over a buffer of any size is then handing over eight bytes. Rejected: pointers (a
//! process maps the pool elsewhere), reference counts (one owner at a time is all that is needed).

use super::region::{PAGE, Region};
use std::sync::Arc;

/// One end's view of the buffers.
#[derive(Debug)]
pub struct Pool {
    region: Arc<Region>,
    size: usize,
    stride: usize,
    count: usize,
}

/// The right to use one buffer of a pool.
#[derive(Debug)]
pub struct Ticket(usize);

impl Ticket {
    /// The buffer's offset, for whoever is to have it next.
    pub fn offset(self) -> u64 {
        self.0 as u64
    }
}

/// From one buffer to the next: none shares a line with another.
fn stride(size: usize) -> usize {
    size.next_multiple_of(128)
}

impl Pool {
    /// Bytes that a region needs for `count` buffers of `size` bytes.
    pub fn region_len(size: usize, count: usize) -> usize {
        (stride(size) * count).next_multiple_of(PAGE)
    }

    /// The buffers of a region. Every end that makes one must get its tickets from [`tickets`](Self::tickets) of a single
    /// end, which is why nobody outside the crate may make it.
    ///
    /// # Panics
    /// If the region is too short.
    pub(crate) fn new(region: &Arc<Region>, size: usize, count: usize) -> Self {
        assert!(Self::region_len(size, count) <= region.len(), "the pool does not fit its region");
        Self { region: Arc::clone(region), size, stride: stride(size), count }
    }

    /// All tickets: for the end that has the buffers first, once.
    pub(crate) fn tickets(&self) -> Vec<Ticket> {
        (0..self.count).map(|index| Ticket(index * self.stride)).collect()
    }

    /// The ticket of a buffer that the other end handed over; `None` when there is no buffer at that offset. To be called
    /// once for each hand-over, by the end that received it.
    pub(crate) fn admit(&self, offset: u64) -> Option<Ticket> {
        let offset = usize::try_from(offset).ok()?;
        (offset.is_multiple_of(self.stride) && offset / self.stride < self.count).then_some(Ticket(offset))
    }

    /// Lets `body` use the buffer of a ticket.
    #[inline(always)]
    pub(crate) fn with<R>(&mut self, ticket: &mut Ticket, body: impl FnOnce(&mut [u8]) -> R) -> R {
        // SAFETY: the offset is a buffer's (tickets are made in `tickets` and `admit` only), so the bytes lie within the
        // region (asserted in `new`). Each buffer has one ticket, which the cooperating ends hand to each other through a
        // ring whose commit and peek order their accesses, so the slice is exclusive.
        let buffer = unsafe { std::slice::from_raw_parts_mut(self.region.base().add(ticket.0).as_ptr(), self.size) };
        body(buffer)
    }

    /// Touches every page, as [`Region::prefault`].
    pub fn prefault(&self) {
        self.region.prefault();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_survive_the_way_as_offsets_and_others_are_refused() {
        let region = Arc::new(Region::heap(Pool::region_len(100, 4)));
        let (mut here, mut there) = (Pool::new(&region, 100, 4), Pool::new(&region, 100, 4));
        for (mark, mut ticket) in here.tickets().into_iter().enumerate() {
            here.with(&mut ticket, |buffer| buffer.fill(mark as u8 + 1));
            let mut came = there.admit(ticket.offset()).unwrap();
            assert!(there.with(&mut came, |buffer| buffer.len() == 100 && buffer.iter().all(|b| *b == mark as u8 + 1)));
        }
        for wrong in [1, 100, 4 * 128, u64::MAX] {
            assert!(here.admit(wrong).is_none(), "{wrong} was admitted");
        }
    }
}

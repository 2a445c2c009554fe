//! Pages of the sender moved into a pipe by reference with vmsplice(2); read by read(2), or by splice(2) into a file.
//!
//! # The reuse hazard
//! vmsplice(2) returns while the pipe still refers to the sender's pages, so a buffer that is written too early changes
//! messages that were sent. Key decision: a ring of buffers so long that no slot of the pipe can refer to the buffer that
//! is written next. A pipe of `N` slots keeps the `N` slots filled last and no older one; a message fills
//! `P = ceil(size / page)` slots, because it begins at a page, or lies within one. With `K` buffers, `(K - 1) * P` slots
//! were filled after a buffer's own before it is its turn again, so `K = ceil(N / P) + 1` is enough, and one buffer less
//! is not (both are tested). It rests on two facts: a slot is given up only when its bytes were *copied* out, which holds
//! for read(2) and for splice(2) into a file in memory; and nobody enlarges the pipe meanwhile. A reader that moves the
//! pages on, with tee(2) or splice(2) into a second pipe, keeps references beyond the first pipe's slots, and no
//! length of the ring would be enough: that reader is not offered.
//!
//! A receiver that looks at the header alone (`--touch header`) copies nothing else: it reads the header and splices the rest to the
//! null device, which gives the slots up without a look at the pages. That is the call, and nearly the cost, of a receiver that
//! passes data on unseen; and the slots are given up as after a copy, so the count of buffers holds.
//!
//! The buffers are a mapping of their own: when the sender lets go they are unmapped, and the pages that the pipe refers to
//! live on unchanged. Pages of the allocator would be handed to somebody else and written.
//!
//! Rejected: SPLICE_F_GIFT, a promise never to write the pages again, which a ring breaks, and which gains nothing since
//! Linux 2.6.21, when splice(2) lost the ability to move pages into a file; asking with FIONREAD how much was read, a
//! second system call for each message. Source: vmsplice(2), splice(2), pipe(7), fcntl(2).

use super::bytes::{ByteRx, Direct, Patience, hear_end, hear_hello, say_hello};
use super::pipe::{self, enlarge, standard_input, standard_output};
use super::{
    BOTH, Config, DESCRIPTOR_WAITS, Family, Meeting, Met, PATTERNS, PeerDeath, Receiver, Role, Sender, Spec, Transport,
    UNLIMITED,
};
use crate::error::{Context, Phase, Result};
use crate::plan::{Plan, Touch, Wait};
use crate::shm::region::{PAGE, Places, Region, RingShape};
use crate::sys::fd::Ready;
use crate::sys::map::{self, Sharing};
use crate::sys::splice::{pages_into_pipe, pipe_into_file, pipe_into_nothing};
use crate::workload::payload::HEADER;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::marker::PhantomData;
use std::sync::Arc;

/// How the pages are taken out of the pipe.
pub trait Reading: 'static {
    /// What the mechanism with this reader is.
    const SPEC: &'static Spec;
    /// The receiving end.
    type Rx: Receiver;

    /// Receives messages of `size` bytes from `pipe`, of which as much is looked at as `cfg` says.
    ///
    /// # Errors
    /// What the system says.
    fn from(cfg: &Config, pipe: PipeReader, size: usize) -> io::Result<Self::Rx>;
}

/// Pages moved into a pipe. See the [module](self).
#[derive(Debug)]
pub struct Moved<R>(PhantomData<R>);

/// `vmsplice`.
pub type Vmsplice = Moved<Copying>;
/// `vmsplice-splice`.
pub type VmspliceSplice = Moved<Splicing>;

/// Bytes from one buffer to the next: small messages share a page and none straddles two, others begin at a page.
fn stride(size: usize) -> usize {
    if size <= PAGE { size.next_power_of_two().max(64) } else { size.next_multiple_of(PAGE) }
}

/// Buffers that a pipe of `capacity` bytes needs: see the [module](self). Where pages are larger than [`PAGE`], a message
/// takes no smaller share of the pipe's slots, and fewer buffers would do.
fn buffers(size: usize, capacity: usize) -> usize {
    (capacity / PAGE).div_ceil(size.div_ceil(PAGE)) + 1
}

/// The sending end.
#[derive(Debug)]
pub struct Tx {
    pipe: PipeWriter,
    places: Places,
    memory: Arc<Region>,
    count: u64,
    size: usize,
    patience: Patience,
    block: bool,
}

impl Tx {
    fn new(pipe: PipeWriter, size: usize, wait: Wait, buffers: usize) -> io::Result<Self> {
        let shape = RingShape { size, stride: stride(size), slots: buffers };
        let memory = Arc::new(map::small_pages(shape.region_len(), Sharing::Private)?);
        let (patience, block) = (Patience::new(&pipe, wait, Ready::Write)?, wait == Wait::Block);
        Ok(Self { pipe, places: Places::new(&memory, shape), memory, count: 0, size, patience, block })
    }

    /// Moves the message whose turn it is into the pipe; apart from what fills it, as in [`bytes`](super::bytes).
    #[inline(always)]
    fn pass(&mut self) -> io::Result<()> {
        let message = self.places.at(self.count);
        let (mut rest, block) = (&message[..], self.block);
        while !rest.is_empty() {
            let moved = self.patience.until(&mut self.pipe, |pipe| pages_into_pipe(pipe, rest, block))?;
            rest = &rest[moved..];
        }
        self.count += 1;
        Ok(())
    }
}

impl Sender for Tx {
    fn size(&self) -> usize {
        self.size
    }

    fn attach(&mut self) -> io::Result<()> {
        // After a fork the pages are still the other process's too: now they become ours alone.
        self.memory.prefault();
        Ok(())
    }

    #[inline(always)]
    fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
        fill(self.places.at(self.count));
        self.pass()
    }
}

impl<R: Reading> Transport for Moved<R> {
    const SPEC: &'static Spec = R::SPEC;
    type Tx = Tx;
    type Rx = R::Rx;

    fn one_way(cfg: &Config) -> Result<(Tx, R::Rx)> {
        let (reader, writer) = std::io::pipe().context(Phase::Setup, "cannot create a pipe")?;
        // What a slot of the pipe refers to is a page, however little of it is used.
        let capacity = enlarge(cfg, &writer, super::IN_FLIGHT)?;
        let buffers = buffers(cfg.size, capacity);
        cfg.note(super::SLOTS_NOTE, (capacity / PAGE / cfg.size.div_ceil(PAGE)).max(1));
        cfg.holds(buffers * stride(cfg.size));
        let tx = Tx::new(writer, cfg.size, cfg.wait, buffers).context(Phase::Setup, "cannot map the buffers")?;
        let rx = R::from(cfg, reader, cfg.size).context(Phase::Setup, "cannot prepare the pipe")?;
        Ok((tx, rx))
    }

    /// Carries one message, since a sandbox may hide the calls that move pages.
    fn usable() -> Result<()> {
        let (mut tx, mut rx) = Self::one_way(&Config::new(&Plan::default()))?;
        let mut carry = || {
            tx.attach()?;
            rx.attach()?;
            tx.send_with(|message| message.fill(1))?;
            rx.recv_with(|_| ())
        };
        carry().context(Phase::Setup, format!("{} cannot move pages", R::SPEC.name))
    }

    fn meet(cfg: &Config, _at: &str, role: Role) -> Result<Met<Self>> {
        match role {
            Role::Producer => {
                let writer = standard_output(R::SPEC)?;
                let capacity = enlarge(cfg, &writer, super::IN_FLIGHT)?;
                let tx = say_hello(&writer, cfg.size)
                    .and_then(|()| Tx::new(writer, cfg.size, cfg.wait, buffers(cfg.size, capacity)));
                Ok(Met::Tx(tx.context(Phase::Start, "cannot write to standard output")?))
            }
            Role::Consumer => {
                let reader = standard_input(R::SPEC)?;
                let size = hear_hello(&reader).context(Phase::Start, "no producer on standard input")?;
                // Such a consumer verifies every byte.
                let cfg = Config { touch: Touch::Whole, ..cfg.clone() };
                let rx = R::from(&cfg, reader, size).context(Phase::Start, "cannot read standard input")?;
                Ok(Met::Rx(rx, size))
            }
        }
    }
}

/// Copies out of the pages with read(2).
#[derive(Debug)]
pub struct Copying;

impl Reading for Copying {
    const SPEC: &'static Spec = &Spec {
        name: "vmsplice",
        summary: "the sender's pages moved into a pipe by reference, read by read(2); a ring of buffers guards their reuse",
        family: Family::Kernel,
        parties: BOTH,
        waits: DESCRIPTOR_WAITS,
        copies: 1,
        max_size: UNLIMITED,
        peer_death: PeerDeath::STREAM,
        patterns: PATTERNS,
        meeting: Meeting::Stdio,
        sources: &["vmsplice(2)", "pipe(7)", "F_SETPIPE_SZ in fcntl(2)"],
    };
    type Rx = pipe::Rx;

    fn from(cfg: &Config, pipe: PipeReader, size: usize) -> io::Result<Self::Rx> {
        ByteRx::new(Direct(pipe), size, cfg.wait)
    }
}

/// Splices the pages into a file in memory and looks at its mapping; what nobody looks at goes to the null device.
#[derive(Debug)]
pub struct Splicing;

impl Reading for Splicing {
    const SPEC: &'static Spec = &Spec {
        name: "vmsplice-splice",
        summary: "as vmsplice, taken out by splice(2) into a memfd that the receiver maps, which is the copy; header only: unseen to null(4)",
        family: Family::Kernel,
        parties: BOTH,
        waits: DESCRIPTOR_WAITS,
        copies: 1,
        max_size: UNLIMITED,
        peer_death: PeerDeath::STREAM,
        patterns: PATTERNS,
        meeting: Meeting::Stdio,
        sources: &["vmsplice(2)", "splice(2)", "memfd_create(2)", "pipe(7)"],
    };
    type Rx = SpliceRx;

    fn from(cfg: &Config, pipe: PipeReader, size: usize) -> io::Result<SpliceRx> {
        let (unseen, wait) = (cfg.touch == Touch::Header && size > HEADER, cfg.wait);
        if unseen {
            cfg.note("all but the header", "spliced to the null device, not copied");
        }
        let null = unseen.then(|| File::options().write(true).open("/dev/null")).transpose()?;
        let shape = RingShape { size, stride: size.next_multiple_of(PAGE), slots: 1 };
        let file = map::sealed_memfd(shape.region_len())?;
        let memory = Arc::new(map::map_file(&file)?);
        let (patience, block) = (Patience::new(&pipe, wait, Ready::Read)?, wait == Wait::Block);
        Ok(SpliceRx { pipe, file, null, place: Places::new(&memory, shape), memory, patience, block })
    }
}

/// The receiving end of [`VmspliceSplice`].
#[derive(Debug)]
pub struct SpliceRx {
    pipe: PipeReader,
    file: File,
    /// Where all but the header goes, if nobody looks at it.
    null: Option<File>,
    /// The one place in the file, after its first page.
    place: Places,
    memory: Arc<Region>,
    patience: Patience,
    block: bool,
}

impl SpliceRx {
    /// Receives a message into the place; apart from what reads it, as with [`Tx::pass`].
    #[inline(always)]
    fn fetch(&mut self) -> io::Result<()> {
        let Self { pipe, file, null, place, patience, block, .. } = self;
        let message = place.at(0);
        let mut filled = 0;
        while filled < message.len() {
            let rest = message.len() - filled;
            let came = match null {
                Some(_) if filled < HEADER => patience.until(pipe, |pipe| pipe.read(&mut message[filled..HEADER]))?,
                Some(null) => patience.until(pipe, |pipe| pipe_into_nothing(&*pipe, &*null, rest, *block))?,
                None => patience.until(pipe, |pipe| pipe_into_file(&*pipe, &*file, PAGE + filled, rest, *block))?,
            };
            match came {
                0 => return Err(hear_end(filled, message.len())),
                moved => filled += moved,
            }
        }
        Ok(())
    }
}

impl Receiver for SpliceRx {
    fn attach(&mut self) -> io::Result<()> {
        self.memory.prefault();
        Ok(())
    }

    #[inline(always)]
    fn recv_with<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        self.fetch()?;
        Ok(read(self.place.at(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Touch;
    use crate::sys::fd::set_pipe_capacity;
    use crate::workload::payload::{Payload, Way};

    /// Fills a pipe with messages that nobody has read, writes the buffer whose turn is next, as a sender does before it
    /// waits for room, and then receives; the first message that was wrong.
    fn first_wrong<R: Reading>(size: usize, touch: Touch, buffers_less: usize) -> Option<String> {
        let (reader, writer) = std::io::pipe().unwrap();
        let capacity = set_pipe_capacity(&writer, 16 * PAGE).unwrap();
        let ring = buffers(size, capacity).saturating_sub(buffers_less).max(1);
        let mut tx = Tx::new(writer, size, Wait::Block, ring).unwrap();
        let plan = Plan { touch, wait: Wait::Block, ..Plan::default() };
        let mut rx = R::from(&Config::new(&plan), reader, size).unwrap();
        let payload = Payload::new(touch);
        // More rounds than buffers, so that every buffer has its turn at every place of the pipe.
        let fit = (capacity / PAGE / size.div_ceil(PAGE)) as u64;
        for round in 0..40 {
            let first = round * fit;
            for seq in first..first + fit {
                tx.send_with(|message| payload.fill(Way::Out, seq, message)).unwrap();
            }
            payload.fill(Way::Out, first + fit, tx.places.at(tx.count));
            for seq in first..first + fit {
                if let Err(wrong) = rx.recv_with(|message| payload.check(Way::Out, seq, message)).unwrap() {
                    return Some(wrong.to_string());
                }
            }
        }
        None
    }

    const SIZES: [usize; 5] = [64, 100, PAGE, 2 * PAGE, 4 * PAGE];

    #[test]
    fn no_buffer_is_written_while_the_pipe_refers_to_it() {
        for size in SIZES {
            for touch in [Touch::Whole, Touch::Header] {
                assert_eq!(first_wrong::<Copying>(size, touch, 0), None, "{size} B, {touch:?}");
                assert_eq!(first_wrong::<Splicing>(size, touch, 0), None, "{size} B, {touch:?}, spliced");
            }
        }
    }

    #[test]
    fn one_buffer_less_than_the_rule_says_changes_messages_that_were_sent() {
        for size in SIZES {
            for found in
                [first_wrong::<Copying>(size, Touch::Whole, 1), first_wrong::<Splicing>(size, Touch::Header, 1)]
            {
                let wrong = found.unwrap_or_else(|| panic!("{size} B: nothing was wrong"));
                assert!(wrong.contains("message 0 was due"), "{size} B: {wrong}");
            }
        }
    }

    #[test]
    fn a_single_buffer_changes_messages_that_were_sent() {
        for size in SIZES {
            assert!(first_wrong::<Copying>(size, Touch::Whole, usize::MAX).is_some(), "{size} B: nothing was wrong");
            assert!(
                first_wrong::<Splicing>(size, Touch::Whole, usize::MAX).is_some(),
                "{size} B, spliced: nothing was wrong"
            );
        }
    }

    /// Sizes at which the header is all, ends a slot, or is cut off by a page of its own; all within the smallest pipe.
    #[test]
    fn what_lies_behind_a_header_goes_unseen_and_the_stream_stays_in_step() {
        for wait in [Wait::Block, Wait::Spin, Wait::Poll, Wait::Epoll, Wait::Hybrid(9)] {
            for size in [1, HEADER, HEADER + 1, PAGE + HEADER, 50_000] {
                let plan = Plan { size, wait, touch: Touch::Header, ..Plan::default() };
                let (mut tx, mut rx) = VmspliceSplice::one_way(&Config::new(&plan)).unwrap();
                for seq in 0..50 {
                    tx.send_with(|message| Payload::new(Touch::Whole).fill(Way::Out, seq, message)).unwrap();
                    let look = |message: &[u8]| {
                        let rest = message.get(HEADER..).unwrap_or_default();
                        assert!(rest.iter().all(|byte| *byte == 0), "{wait}: message {seq} of {size} B was copied");
                        Payload::new(Touch::Header).check(Way::Out, seq, message)
                    };
                    assert_eq!(rx.recv_with(look).unwrap(), Ok(size), "{wait}: message {seq} of {size} B");
                }
                drop(tx);
                assert_eq!(rx.recv_with(|_| ()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            }
        }
    }
}

//! How two programs that a person starts find each other in shared memory.
//!
//! Key decision: the producer makes and lays out, the consumer looks until a living producer's tag is there, and both wait
//! with patience, whichever was started first. What was read from the other program is bounded before it is used. Rejected: a
//! lock file beside the memory, which is one more name to lose.

use super::backing::Backing;
use super::post::Post;
use crate::error::{Error, Phase, Result};
use crate::names::{Name, Seen};
use crate::shm::nonsense::Nonsense;
use crate::shm::region::{Region, RingShape, occupants};
use crate::sys::process;
use crate::transport::{Config, UNLIMITED, memory_for};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// "ipc" and a version: what the first word of a laid-out region says.
const MAGIC: u32 = 0x6970_6302;

/// The producer's half of a meeting in shared memory: makes a region that others find as `at`, lets `lay` lay out in it
/// what is not all zero, and waits for a consumer.
pub(in crate::transport) fn host<B: Backing>(
    cfg: &Config,
    at: &str,
    shape: RingShape,
    lay: impl FnOnce(&Arc<Region>) -> Result<()>,
) -> Result<(Post, Name)> {
    host_as::<B>(cfg, at, MAGIC, shape.region_len(), shape, lay)
}

/// As [`host`], with a tag of its own for a region of `len` bytes that holds something else than the announced ring.
pub(in crate::transport) fn host_as<B: Backing>(
    cfg: &Config,
    at: &str,
    magic: u32,
    len: usize,
    shape: RingShape,
    lay: impl FnOnce(&Arc<Region>) -> Result<()>,
) -> Result<(Post, Name)> {
    B::reclaim(at)?;
    let (region, name) = B::create(at, len)?;
    let region = Arc::new(region);
    lay(&region)?;
    let mut post = Post::new(&region, 0).met();
    post.take_up();
    post.occupants.size.store(shape.size as u32, Ordering::Relaxed);
    post.occupants.slots.store(shape.slots as u32, Ordering::Relaxed);
    // Release: a consumer that sees the tag sees the shape.
    post.occupants.magic.store(magic, Ordering::Release);
    let here = || Ok((post.peer() != 0).then_some(()));
    await_peer(cfg.patience, "consumer", at, here)?.ok_or_else(|| nobody("consumer", at, cfg.patience))?;
    Ok((post, name))
}

/// The consumer's half: waits for a region that a living producer has laid out as `at`.
pub(in crate::transport) fn find<B: Backing>(cfg: &Config, at: &str) -> Result<(Arc<Region>, Seen)> {
    find_as::<B>(cfg, at, MAGIC)
}

/// As [`find`], for regions with this tag.
pub(in crate::transport) fn find_as<B: Backing>(cfg: &Config, at: &str, magic: u32) -> Result<(Arc<Region>, Seen)> {
    let found = await_peer(cfg.patience, "producer", at, || {
        let Some((region, thing)) = B::open(at)? else { return Ok(None) };
        let region = Arc::new(region);
        let header = occupants(&region);
        // Acquire: pairs with the producer's release, so that the shape is there to be read.
        let laid_out = header.magic.load(Ordering::Acquire) == magic;
        if !laid_out {
            return Ok(None);
        }
        let pid = header.pids[0].load(Ordering::Acquire);
        let largest = u64::from(process::LARGEST_ID);
        if let Some(nonsense) = Nonsense::unless_within("the producer's process id", u64::from(pid), 1, largest) {
            return Err(foreign(at, &nonsense));
        }
        // A producer waits for its consumer before it sends: one that is gone left nothing but the name, which the next
        // producer takes over.
        Ok((!process::is_gone(pid)).then_some((region, thing)))
    })?;
    found.ok_or_else(|| nobody("producer", at, cfg.patience))
}

/// The shape of the ring that a producer of this version laid out.
pub(in crate::transport) fn ring_shape(region: &Arc<Region>, at: &str) -> Result<RingShape> {
    let (size, slots) = announced(region, at)?;
    let shape = RingShape::new(size, memory_for(size));
    fits(region, slots, shape, shape.region_len(), at)?;
    Ok(shape)
}

/// Ends the meeting, from the consumer's side: says that it is there. Both ends are open then: the name has done its
/// work, and a later pair may use it.
///
/// # Errors
/// When another consumer was faster: there is room for one, and the name is then that one's to remove.
pub(in crate::transport) fn join(region: &Arc<Region>, seen: &Seen) -> Result<Post> {
    join_all(region, std::slice::from_ref(seen))
}

/// As [`join`], where there are more names than one: they are removed in this order.
pub(in crate::transport) fn join_all(region: &Arc<Region>, seen: &[Seen]) -> Result<Post> {
    let mut post = Post::new(region, 1).met();
    post.prepare();
    // Acquire and Release as for every store of an id.
    let seat = &post.occupants.pids[1];
    if seat.compare_exchange(0, std::process::id(), Ordering::AcqRel, Ordering::Acquire).is_err() {
        return Err(Error::failed(Phase::Start, "another consumer came first").hint("start a pair of its own for each"));
    }
    post.take_up();
    seen.iter().for_each(Seen::remove);
    Ok(post)
}

/// Asks `look` until it finds the peer or patience ends. Two programs that people start have no descriptor in common to
/// wait on, so this polls, a hundred times a second, before anything is measured. A refusal that may be over in a moment is
/// one only when patience ends.
pub(in crate::transport) fn await_peer<R>(
    patience: Duration,
    who: &str,
    at: &str,
    mut look: impl FnMut() -> Result<Option<R>>,
) -> Result<Option<R>> {
    let start = Instant::now();
    let mut told = false;
    loop {
        let refusal = match look() {
            Ok(Some(found)) => return Ok(Some(found)),
            Ok(None) => None,
            Err(error) if error.is_passing() => Some(error),
            Err(error) => return Err(error),
        };
        if start.elapsed() >= patience {
            return refusal.map_or(Ok(None), Err);
        }
        if !told {
            eprintln!("waiting for a {who} at {at}");
            told = true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(in crate::transport) fn nobody(who: &str, at: &str, patience: Duration) -> Error {
    Error::failed(Phase::Start, format!("no {who} came to {at} within {patience:?}"))
        .hint(format!("start the {who} with the same --at, or raise --patience"))
}

/// What a producer said in [`host_as`], which of it cannot be, and how large it may be. Each word is read once.
///
/// # Errors
/// When a word cannot be: which, and what was allowed.
pub(in crate::transport) fn announced(region: &Arc<Region>, at: &str) -> Result<(usize, usize)> {
    let header = occupants(region);
    let (size, slots) = (header.size.load(Ordering::Relaxed), header.slots.load(Ordering::Relaxed));
    match Nonsense::unless_within("the message size", u64::from(size), 1, UNLIMITED as u64) {
        Some(nonsense) => Err(foreign(at, &nonsense)),
        None => Ok((size as usize, slots as usize)),
    }
}

/// That what lies at `at` was not laid out by this version of this program, or was scribbled over since.
pub(in crate::transport) fn foreign(at: &str, why: &dyn std::fmt::Display) -> Error {
    Error::failed(Phase::Start, format!("{at} holds no ring of this version"))
        .because(why)
        .hint("start both programs from the same build, or choose another --at")
}

/// Refuses a ring of `slots` slots in this region that is not exactly `shape` in a region of its size: what is longer would
/// be touched page by page.
///
/// # Errors
/// Which of both it is.
pub(in crate::transport) fn fits(region: &Region, slots: usize, shape: RingShape, len: usize, at: &str) -> Result<()> {
    Nonsense::unless("the number of slots", slots as u64, shape.slots as u64)
        .or_else(|| Nonsense::unless("the length of the memory", region.len() as u64, len as u64))
        .map_or(Ok(()), |nonsense| Err(foreign(at, &nonsense)))
}

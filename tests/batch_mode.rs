//! Batch mode does nothing between two messages but move them: no allocation, proved by an allocator that counts.

#![allow(unsafe_code)] // an allocator is an unsafe trait

use ipcost::plan::{Parties, Plan, Touch, Wait, Workload};
use ipcost::transport::{
    Config, Crossbeam, Flume, HeapHandoff, HeapRing, LocalSocket, Mpsc, MutexQueue, Pipe, Rtrb, ShmRing, ShmSlot,
    Transport, Unix,
};
use ipcost::workload::{Batch, Load, ping_pong, stream};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator unchanged; counting touches a const thread local only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn counted<R>(body: impl FnOnce() -> R) -> (R, u64) {
    let before = ALLOCATIONS.with(Cell::get);
    let result = body();
    (result, ALLOCATIONS.with(Cell::get) - before)
}

const MESSAGES: u64 = 2000;

fn config(wait: Wait) -> Config {
    Config::new(&Plan { workload: Workload::Stream, wait, parties: Parties::Thread, ..Plan::default() })
}

/// Allocations of leader and follower while a ping-pong and a stream go on between two threads.
fn allocations<T: Transport>(wait: Wait) -> [u64; 4] {
    let [mut near, mut far] = T::link(&config(wait)).unwrap();
    std::thread::scope(|scope| {
        let follower = scope.spawn(move || {
            far.attach().unwrap();
            let mut load = Load::of(Touch::Whole, 0);
            let ((), pongs) = counted(|| ping_pong::follow(&mut far, &mut load, MESSAGES).unwrap());
            let ((), heard) = counted(|| stream::follow(&mut far, &mut load, MESSAGES).unwrap());
            [pongs, heard]
        });
        near.attach().unwrap();
        let mut load = Load::of(Touch::Whole, 0);
        let ((), pings) = counted(|| ping_pong::lead(&mut near, &mut load, MESSAGES, &mut Batch).unwrap());
        let ((), said) = counted(|| stream::lead(&mut near, &mut load, MESSAGES).unwrap());
        let [pongs, heard] = follower.join().unwrap();
        [pings, pongs, said, heard]
    })
}

#[test]
fn the_counter_counts() {
    assert_eq!(counted(|| drop(std::hint::black_box(Box::new(7)))).1, 1);
}

#[test]
fn no_transport_allocates_between_messages() {
    for wait in [Wait::Block, Wait::Yield] {
        assert_eq!(allocations::<Pipe>(wait), [0; 4], "pipe {wait}");
        assert_eq!(allocations::<Unix>(wait), [0; 4], "unix-stream {wait}");
        assert_eq!(allocations::<LocalSocket>(wait), [0; 4], "local-socket {wait}");
        assert_eq!(allocations::<ShmRing>(wait), [0; 4], "shm-ring {wait}");
        assert_eq!(allocations::<ShmSlot>(wait), [0; 4], "shm-slot {wait}");
        assert_eq!(allocations::<HeapRing>(wait), [0; 4], "heap-ring {wait}");
        assert_eq!(allocations::<MutexQueue>(wait), [0; 4], "mutex-queue {wait}");
        assert_eq!(allocations::<HeapHandoff>(wait), [0; 4], "heap-handoff {wait}");
    }
}

/// What a thread's first sleep in a channel takes: its own record, and the channel's list of sleepers.
const FIRST_SLEEPS: u64 = 8;

#[test]
fn channels_allocate_nothing_unless_they_sleep_and_then_once() {
    assert_eq!(allocations::<Mpsc>(Wait::Yield), [0; 4], "mpsc");
    assert_eq!(allocations::<Crossbeam>(Wait::Yield), [0; 4], "crossbeam");
    assert_eq!(allocations::<Flume>(Wait::Yield), [0; 4], "flume");
    assert_eq!(allocations::<Rtrb>(Wait::Yield), [0; 4], "rtrb");
    for (name, counts) in
        [("mpsc", allocations::<Mpsc>(Wait::Block)), ("crossbeam", allocations::<Crossbeam>(Wait::Hybrid(2)))]
    {
        assert!(counts.iter().all(|count| *count <= FIRST_SLEEPS), "{name}: {counts:?}");
    }
    // Not flume: it allocates for every sleep, which its summary says.
}

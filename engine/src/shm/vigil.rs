//! Watching a peer for a side that sleeps without a limit.
//!
//! Key decision: a thread for each end that may sleep, made when the end is attached, which itself sleeps on the peer's process
//! descriptor and wakes the end when the peer has died. The end then needs no timer of its own: to arm and to cancel one for
//! each sleep costs a sixth of a round trip on a virtual machine, where a timer is an exit to the hypervisor, and no pipe or
//! socket pays that. The watcher wakes again and again until the sleeper is up, because a wake-up that comes just before the
//! sleep is lost; whoever sleeps later sees that the watch is over ([`Watch`]) and takes a limit again, as it did before the
//! watch began. The watcher also wakes a sleeper ten times a second for nothing: one whose flag was wiped by a peer that
//! scribbles looks again then. A wake-up that stays until it is taken, as a semaphore's does, is given once, after the death
//! ([`Vigil::until_death`]), and needs no help from the sleeper; without a thread for it nobody is told.
//!
//! Rejected: a limit for every sleep, as above; a signal, which the C library's condition variables do not return for; the
//! kernel's own word for a dead owner (robust futexes), which comes only to a mutex that was held. Where no thread or
//! process descriptor is to be had, the side sleeps with a limit. Source: pidfd_open(2), futex(2).

use super::sync::{AtomicU32, Ordering, fence};
use super::wait::NAP;
use std::time::Duration;

/// The peer is watched. 0: not yet, or it cannot be.
const WATCHED: u32 = 1;
/// The peer was seen to end.
const OVER: u32 = 2;

/// What a sleeper and its watcher share. All zero: nobody sleeps, and nobody is watched.
#[derive(Debug, Default)]
pub struct Watch {
    asleep: AtomicU32,
    state: AtomicU32,
}

impl Watch {
    /// Lets `sleep` sleep: without a limit while the watcher is going to wake whoever sleeps, and with one otherwise.
    #[inline(always)]
    pub fn sleep<R>(&self, sleep: impl FnOnce(Option<Duration>) -> R) -> R {
        // Relaxed: the fence orders this store before the load, and pairs with the one in `end`: either we see that the watch
        // is over, or the watcher sees us asleep and wakes us.
        self.asleep.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let limited = self.state.load(Ordering::Relaxed) != WATCHED;
        let slept = sleep(limited.then_some(NAP));
        // Relaxed: a watcher that sees it late wakes once more, which a side that is awake does not notice.
        self.asleep.store(0, Ordering::Relaxed);
        slept
    }

    /// Begins the watch: from now on the watcher knows when the peer ends. Relaxed: who sees it late sleeps with a limit.
    pub fn begin(&self) {
        self.state.store(WATCHED, Ordering::Relaxed);
    }

    /// Whether the peer was seen to end. Relaxed: whoever then wants to know asks the kernel.
    pub fn is_over(&self) -> bool {
        self.state.load(Ordering::Relaxed) == OVER
    }

    /// Ends the watch: calls `rouse`, which wakes the sleeper if it sleeps by now, until nobody sleeps who may not know.
    /// `pause` waits a little between two calls, and says whether to give up.
    pub fn end(&self, mut rouse: impl FnMut(), mut pause: impl FnMut() -> bool) {
        self.state.store(OVER, Ordering::Relaxed);
        // As in `sleep`.
        fence(Ordering::SeqCst);
        while self.is_asleep() {
            rouse();
            if pause() {
                return;
            }
        }
    }

    fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed) != 0
    }
}

#[cfg(not(loom))]
pub use keeper::Vigil;

#[cfg(not(loom))]
mod keeper {
    use super::{NAP, Watch};
    use crate::shm::wait::Rouser;
    use crate::sys::fd::{doze, have_only};
    use crate::sys::process::{HeldSignals, descriptor, peer_is_gone};
    use rustix::event::EventfdFlags;
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
    use std::sync::Arc;
    use std::thread::JoinHandle;
    use std::time::Duration;

    /// Between two wake-ups of a sleeper that has nothing to do.
    const ROUND: Duration = Duration::from_millis(100);
    const HOUR: Duration = Duration::from_secs(3600);
    /// Between two wake-ups of a sleeper whose peer has died.
    const AGAIN: Duration = Duration::from_millis(1);
    /// The watcher calls little.
    const STACK: usize = 64 * 1024;

    /// When the keeper wakes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Call {
        /// While somebody sleeps who has to look again: such a wake-up is lost on whoever does not sleep yet.
        Sleepers,
        /// Once, when the peer has died: the wake-up stays.
        Once,
    }

    /// What the keeper uses. It has a table of descriptors of its own, so what closes one must be let go of last by the others:
    /// the keeper borrows it, and [`Vigil`] outlives the keeper.
    struct Held {
        stop: OwnedFd,
        rouser: Rouser,
        peer: Box<dyn Fn() -> u32 + Send + Sync>,
    }

    impl std::fmt::Debug for Held {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Held").field("rouser", &self.rouser).finish_non_exhaustive()
        }
    }

    /// A watch over a peer, kept by a thread of its own until this is dropped.
    #[derive(Debug)]
    pub struct Vigil {
        pub(super) watch: Arc<Watch>,
        held: Arc<Held>,
        keeper: Option<JoinHandle<()>>,
        /// The process that the keeper is a thread of: a fork copies the vigil and not the thread.
        of: u32,
    }

    impl Vigil {
        /// Watches the process that `peer` names, from the moment that it names one (0: none), and whose sleeping survivor
        /// `rouse` wakes. A peer of the calling process ends only with it, and its end is not awaited.
        ///
        /// # Errors
        /// Where no thread is to be had for the watcher.
        pub fn over(peer: impl Fn() -> u32 + Send + Sync + 'static, rouser: Rouser) -> io::Result<Self> {
            Self::kept(peer, rouser, Call::Sleepers)
        }

        /// Calls `then` once when the process that `peer` names has ended, as in [`over`](Self::over); sleeps need not be
        /// [guarded](Self::guard).
        ///
        /// # Errors
        /// As [`over`](Self::over).
        pub fn until_death(
            peer: impl Fn() -> u32 + Send + Sync + 'static,
            then: impl Fn() + Send + Sync + 'static,
        ) -> io::Result<Self> {
            Self::kept(peer, Rouser { wake: Box::new(then), fd: None }, Call::Once)
        }

        fn kept(peer: impl Fn() -> u32 + Send + Sync + 'static, rouser: Rouser, call: Call) -> io::Result<Self> {
            let (watch, mine) = (Arc::new(Watch::default()), std::process::id());
            let stop = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?;
            let held = Arc::new(Held { stop, rouser, peer: Box::new(peer) });
            let (shared, lent) = (Arc::clone(&watch), Arc::clone(&held));
            let work = move || {
                // A table of descriptors that two threads share makes each call on one take and drop a count, 4 % of a
                // round trip through an eventfd. Without a table of our own it works as well, and is slower.
                let _ = have_only(std::iter::once(lent.stop.as_raw_fd()).chain(lent.rouser.fd));
                keep(&shared, lent.stop.as_fd(), (mine, &lent.peer), call, &lent.rouser.wake);
            };
            // Signals are for the threads that were there before.
            let signals = HeldSignals::all();
            let keeper = std::thread::Builder::new().name("vigil".into()).stack_size(STACK).spawn(work)?;
            drop(signals);
            Ok(Self { watch, held, keeper: Some(keeper), of: mine })
        }

        /// As [`Watch::sleep`] where there is a watch; else the sleep has a limit.
        #[inline(always)]
        pub fn guard<R>(vigil: Option<&Self>, sleep: impl FnOnce(Option<Duration>) -> R) -> R {
            match vigil {
                Some(vigil) => vigil.watch.sleep(sleep),
                None => sleep(Some(NAP)),
            }
        }

        /// As [`Watch::is_over`].
        pub fn is_over(&self) -> bool {
            self.watch.is_over()
        }
    }

    /// The watcher's work, until `stopped` is readable (`None`), the peer has died, or it cannot be watched.
    fn keep(
        watch: &Watch,
        stopped: BorrowedFd<'_>,
        (mine, peer): (u32, impl Fn() -> u32),
        call: Call,
        rouse: impl Fn(),
    ) -> Option<()> {
        let unless_stopped = |limit| (doze([stopped], limit) == [false]).then_some(());
        // A peer comes soon, or long after.
        // Where nobody else looks, it may be gone again soon.
        let (mut pause, longest) = (AGAIN, if call == Call::Once { NAP } else { ROUND });
        let peer = loop {
            match peer() {
                0 => unless_stopped(pause)?,
                peer => break peer,
            }
            pause = longest.min(pause * 2);
        };
        if call == Call::Once && peer == mine {
            return None;
        }
        let process = Some(peer).filter(|peer| *peer != mine).map(descriptor).transpose();
        let process = match call {
            // Who has ended before it could be watched is found by whoever waits with a limit.
            Call::Sleepers => process.ok()?,
            // Nobody else looks.
            Call::Once => process.unwrap_or(None),
        };
        // Without sleepers to look after nothing is to be done before the end.
        let round = if call == Call::Once { HOUR } else { ROUND };
        watch.begin();
        loop {
            match &process {
                Some(process) => match doze([stopped, process.as_fd()], round) {
                    [true, _] => return None,
                    [_, true] => break,
                    _ => {}
                },
                None if call == Call::Once && peer_is_gone(peer, mine) => break,
                None => unless_stopped(longest)?,
            }
            if watch.is_asleep() {
                rouse();
            }
        }
        match call {
            Call::Sleepers => watch.end(rouse, || unless_stopped(AGAIN).is_none()),
            Call::Once => rouse(),
        }
        Some(())
    }

    impl Drop for Vigil {
        fn drop(&mut self) {
            let Some(keeper) = self.keeper.take() else { return };
            if self.of != std::process::id() {
                // The thread is the parent's; what the C library would make of its handle here is not defined.
                std::mem::forget(keeper);
                return;
            }
            // The counter is at zero, so this cannot block or fail.
            let _ = rustix::io::write(&self.held.stop, &1u64.to_ne_bytes());
            let _ = keeper.join();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::NAP;
    use super::keeper::Vigil;
    use crate::shm::futex::{Futex, Scope};
    use crate::shm::wait::Rouser;
    use std::process::{Child, Command};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    /// Longer than anything here takes on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A process that does nothing until it is killed.
    fn idler() -> Child {
        Command::new("sleep").arg("1000").spawn().expect("sleep is there")
    }

    /// A vigil over that process for a sleeper in `word`, and how often it woke.
    fn over(peer: u32, word: &Arc<Futex>) -> (Vigil, Arc<AtomicU32>) {
        let (roused, word) = (Arc::new(AtomicU32::new(0)), Arc::clone(word));
        let count = Arc::clone(&roused);
        let rouse = move || {
            count.fetch_add(1, Ordering::Relaxed);
            word.wake(Scope::Private);
        };
        (Vigil::over(move || peer, Rouser { wake: Box::new(rouse), fd: None }).unwrap(), roused)
    }

    /// Naps until the watch has begun.
    fn begun(vigil: &Vigil) {
        until(|| vigil.watch.sleep(|limit| limit.is_none()));
    }

    fn until(what: impl Fn() -> bool) {
        let start = Instant::now();
        while !what() {
            assert!(start.elapsed() < PATIENCE, "it does not come about");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_sleeper_without_a_limit_is_woken_when_its_peer_is_killed_and_has_a_limit_from_then_on() {
        let (mut peer, word) = (idler(), Arc::new(Futex::new(0)));
        let (vigil, _) = over(peer.id(), &word);
        begun(&vigil);
        let (told, heard) = std::sync::mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            let mut limits = Vec::new();
            while !vigil.is_over() {
                Vigil::guard(Some(&vigil), |limit| {
                    limits.push(limit);
                    let _ = told.send(());
                    word.wait(0, Scope::Private, limit);
                });
            }
            Vigil::guard(Some(&vigil), |limit| limits.push(limit));
            limits
        });
        heard.recv_timeout(PATIENCE).expect("it sleeps");
        peer.kill().unwrap();
        peer.wait().unwrap();
        until(|| sleeper.is_finished());
        let limits = sleeper.join().unwrap();
        assert_eq!((limits.first(), limits.last()), (Some(&None), Some(&Some(NAP))));
    }

    #[test]
    fn a_sleeper_that_nobody_wakes_looks_again_by_and_by_and_others_are_left_alone() {
        let word = Arc::new(Futex::new(0));
        for peer in [std::process::id(), std::os::unix::process::parent_id()] {
            let (vigil, roused) = over(peer, &word);
            begun(&vigil);
            (0..2).for_each(|_| _ = vigil.watch.sleep(|limit| word.wait(0, Scope::Private, limit)));
            let before = roused.load(Ordering::Relaxed);
            assert!(before >= 2 && !vigil.is_over());
            // Rounds pass in which nobody sleeps.
            std::thread::sleep(Duration::from_millis(350));
            assert!(roused.load(Ordering::Relaxed) <= before + 1);
        }
    }

    #[test]
    fn a_peer_that_is_not_there_or_cannot_be_watched_leaves_every_sleep_its_limit() {
        let mut dead = idler();
        dead.kill().unwrap();
        dead.wait().unwrap();
        let (late, word) = (Arc::new(AtomicU32::new(0)), Arc::new(Futex::new(0)));
        let named = Arc::clone(&late);
        let nothing = Rouser { wake: Box::new(|| ()), fd: None };
        let waiting = Vigil::over(move || named.load(Ordering::Relaxed), nothing).unwrap();
        for vigil in [&waiting, &over(dead.id(), &word).0, &over(u32::MAX, &word).0] {
            for _ in 0..20 {
                assert_eq!(Vigil::guard(Some(vigil), |limit| limit), Some(NAP));
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert_eq!(Vigil::guard(None, |limit| limit), Some(NAP));
        late.store(std::process::id(), Ordering::Relaxed);
        begun(&waiting);
    }

    #[test]
    fn a_vigil_leaves_no_thread_behind() {
        let mut peer = idler();
        for begins in [false, true] {
            let (vigil, _) = over(if begins { peer.id() } else { 0 }, &Arc::new(Futex::new(0)));
            if begins {
                begun(&vigil);
            }
            let watch = Arc::clone(&vigil.watch);
            drop(vigil);
            assert_eq!(Arc::strong_count(&watch), 1, "the thread had one too");
        }
        peer.kill().unwrap();
        peer.wait().unwrap();
    }

    #[test]
    fn the_keeper_holds_nobodys_pipe_open() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (vigil, _) = over(std::process::id(), &Arc::new(Futex::new(0)));
        begun(&vigil);
        drop(writer);
        let (told, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || told.send(std::io::Read::read(&mut reader, &mut [0]).unwrap()));
        assert_eq!(heard.recv_timeout(PATIENCE), Ok(0), "end-of-file, since nobody has the writing end");
        drop(vigil);
    }

    #[test]
    fn what_stays_is_said_once_and_only_of_a_peer_that_died() {
        let mut idler = idler();
        let dead = {
            let mut dead = Command::new("true").spawn().expect("true is there");
            dead.wait().unwrap();
            dead.id()
        };
        let told = |peer: u32| {
            let count = Arc::new(AtomicU32::new(0));
            let shared = Arc::clone(&count);
            let tell = move || _ = shared.fetch_add(1, Ordering::Relaxed);
            (Vigil::until_death(move || peer, tell).unwrap(), count)
        };
        let [(_own, own), (_living, living), (_late, late), (_odd, odd)] =
            [std::process::id(), idler.id(), dead, u32::MAX].map(told);
        let heard = |count: &Arc<AtomicU32>| count.load(Ordering::Relaxed);
        // Of one that ended before it could be watched, and of a number that no process has, there is no descriptor.
        until(|| heard(&late) == 1 && heard(&odd) == 1);
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!((heard(&own), heard(&living)), (0, 0));
        idler.kill().unwrap();
        idler.wait().unwrap();
        until(|| heard(&living) == 1);
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!([&own, &living, &late, &odd].map(heard), [0, 1, 1, 1]);
    }
}

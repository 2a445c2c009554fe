//! Watching a peer for a side that sleeps without a limit.
//!
//! Key decision: a thread for each side that sleeps, made at its first sleep, which itself sleeps on the peer's process
//! descriptor and wakes the side when the peer has died. The side then needs no timer of its own: to arm and to cancel one
//! for each sleep costs a sixth of a round trip on a virtual machine, where a timer is an exit to the hypervisor, and no
//! pipe or socket pays that. The watcher wakes again and again until the sleeper is up, because a wake-up that comes just
//! before the sleep is lost; whoever sleeps later sees that the watch is over ([`Watch`]) and takes a limit again. It also
//! wakes a sleeper ten times a second for nothing: one whose flag was wiped by a peer that scribbles looks again then.
//!
//! Rejected: a limit for every sleep, as above; a signal, which the C library's condition variables do not return for; the
//! kernel's own word for a dead owner (robust futexes), which comes only to a mutex that was held. Where no thread or
//! process descriptor is to be had, the side sleeps with a limit. Source: pidfd_open(2), futex(2).

use super::sync::{AtomicU32, Ordering, fence};
use super::wait::NAP;
use std::time::Duration;

/// What a sleeper and its watcher share. All zero: nobody sleeps, the watch goes on.
#[derive(Debug, Default)]
pub struct Watch {
    asleep: AtomicU32,
    over: AtomicU32,
}

impl Watch {
    /// Lets `sleep` sleep: without a limit while the watcher is going to wake whoever sleeps, and with one afterwards.
    pub fn sleep<R>(&self, sleep: impl FnOnce(Option<Duration>) -> R) -> R {
        // Relaxed: the fence orders this store before the load, and pairs with the one in `end`: either we see that the watch
        // is over, or the watcher sees us asleep and wakes us.
        self.asleep.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let slept = sleep(self.is_over().then_some(NAP));
        // Relaxed: a watcher that sees it late wakes once more, which a side that is awake does not notice.
        self.asleep.store(0, Ordering::Relaxed);
        slept
    }

    /// Whether the peer was seen to end. Relaxed: whoever then wants to know asks the kernel.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) != 0
    }

    /// Ends the watch: calls `rouse`, which wakes the sleeper if it sleeps by now, until nobody sleeps who may not know.
    /// `pause` waits a little between two calls, and says whether to give up.
    pub fn end(&self, mut rouse: impl FnMut(), mut pause: impl FnMut() -> bool) {
        self.over.store(1, Ordering::Relaxed);
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
    use super::Watch;
    use crate::sys::process::{HeldSignals, descriptor, wait_for};
    use rustix::event::EventfdFlags;
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::Arc;
    use std::thread::JoinHandle;
    use std::time::Duration;

    /// Between two wake-ups of a sleeper that has nothing to do.
    const ROUND: Duration = Duration::from_millis(100);
    /// Between two wake-ups of a sleeper whose peer has died.
    const AGAIN: Duration = Duration::from_millis(1);
    /// The watcher calls little.
    const STACK: usize = 64 * 1024;

    /// A watch over a peer, kept by a thread of its own until this is dropped.
    #[derive(Debug)]
    pub struct Vigil {
        pub(super) watch: Arc<Watch>,
        stop: Arc<OwnedFd>,
        keeper: Option<JoinHandle<()>>,
        /// The process that the keeper is a thread of: a fork copies the vigil and not the thread.
        of: u32,
    }

    impl Vigil {
        /// Watches process `peer`, whose sleeping survivor `rouse` wakes. A peer of the calling process (`None`) ends only
        /// with it, and is not watched: the sleeper is only woken now and then.
        ///
        /// # Errors
        /// Where there is no process descriptor for the peer, or no thread for the watcher.
        pub fn over(peer: Option<u32>, rouse: impl Fn() + Send + 'static) -> io::Result<Self> {
            let watch = Arc::new(Watch::default());
            let stop = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?);
            let peer = peer.map(descriptor).transpose()?;
            let (shared, stopped) = (Arc::clone(&watch), Arc::clone(&stop));
            let keep = move || {
                let stopped = stopped.as_fd();
                loop {
                    match peer.as_ref().map(OwnedFd::as_fd) {
                        Some(peer) => match wait_for(&[stopped, peer], ROUND) {
                            Some(0) => return,
                            Some(_) => break,
                            None => {}
                        },
                        None if wait_for(&[stopped], ROUND).is_some() => return,
                        None => {}
                    }
                    if shared.is_asleep() {
                        rouse();
                    }
                }
                shared.end(rouse, || wait_for(&[stopped], AGAIN).is_some());
            };
            // Signals are for the threads that were there before.
            let held = HeldSignals::all();
            let keeper = std::thread::Builder::new().name("vigil".into()).stack_size(STACK).spawn(keep)?;
            drop(held);
            Ok(Self { watch, stop, keeper: Some(keeper), of: std::process::id() })
        }

        /// As [`Watch::sleep`].
        pub fn sleep<R>(&self, sleep: impl FnOnce(Option<Duration>) -> R) -> R {
            self.watch.sleep(sleep)
        }

        /// As [`Watch::is_over`].
        pub fn is_over(&self) -> bool {
            self.watch.is_over()
        }
    }

    impl Drop for Vigil {
        fn drop(&mut self) {
            if let Some(keeper) = self.keeper.take()
                && self.of == std::process::id()
            {
                // The counter is at zero, so this cannot block or fail.
                let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
                let _ = keeper.join();
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::NAP;
    use super::keeper::Vigil;
    use crate::shm::futex::{Futex, Scope};
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
    fn over(peer: Option<u32>, word: &Arc<Futex>) -> (Vigil, Arc<AtomicU32>) {
        let (roused, word) = (Arc::new(AtomicU32::new(0)), Arc::clone(word));
        let count = Arc::clone(&roused);
        let rouse = move || {
            count.fetch_add(1, Ordering::Relaxed);
            word.wake(Scope::Private);
        };
        (Vigil::over(peer, rouse).unwrap(), roused)
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
        let (vigil, _) = over(Some(peer.id()), &word);
        let (told, heard) = std::sync::mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            let mut limits = Vec::new();
            while !vigil.is_over() {
                vigil.sleep(|limit| {
                    limits.push(limit);
                    let _ = told.send(());
                    word.wait(0, Scope::Private, limit);
                });
            }
            vigil.sleep(|limit| limits.push(limit));
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
        for peer in [None, Some(std::os::unix::process::parent_id())] {
            let (vigil, roused) = over(peer, &word);
            (0..2).for_each(|_| vigil.sleep(|limit| word.wait(0, Scope::Private, limit)));
            let before = roused.load(Ordering::Relaxed);
            assert!(before >= 2 && !vigil.is_over());
            // Two rounds pass in which nobody sleeps.
            std::thread::sleep(Duration::from_millis(250));
            assert!(roused.load(Ordering::Relaxed) <= before + 1);
        }
    }

    #[test]
    fn a_vigil_leaves_nobody_behind_and_one_over_nobody_does_not_begin() {
        let mut peer = idler();
        let (vigil, _) = over(Some(peer.id()), &Arc::new(Futex::new(0)));
        let watch = Arc::clone(&vigil.watch);
        assert_eq!(Arc::strong_count(&watch), 3, "this one, the vigil's and its thread's");
        drop(vigil);
        assert_eq!(Arc::strong_count(&watch), 1);
        peer.kill().unwrap();
        peer.wait().unwrap();
        assert!(Vigil::over(Some(peer.id()), || ()).is_err(), "that process has ended");
        assert!(Vigil::over(Some(u32::MAX), || ()).is_err(), "no process has that number");
    }
}

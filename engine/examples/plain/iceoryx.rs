//! `iceoryx2`: publish-subscribe each way, with as many samples as the subscriber's queue has places, and events where a
//! party sleeps.

use super::{Ends, protocol};
use crate::protocol::Order;
use iceoryx2::node::{Node, NodeBuilder};
use iceoryx2::port::LoanError;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::ipc_threadsafe::Service;
use iceoryx2::prelude::{FileName, LogLevel, Path, SemanticString, SignalHandlingMode, set_log_level};
use ipcost_engine::sys::sample::writable;
use std::time::Duration;

/// How a party waits. A constant, so that each is compiled for itself.
pub const BLOCK: u8 = 0;
/// Looks again at once.
pub const SPIN: u8 = 1;
/// Calls the scheduler between two looks.
pub const YIELD: u8 = 2;

/// Longest sleep, as a party of ipcost has it, which looks then whether its peer still lives.
const NAP: Duration = Duration::from_millis(5);

/// An event's two ends in one party: what it rings, and what it hears.
type Bells = (Notifier<Service>, Listener<Service>);

struct Out {
    publisher: Publisher<Service, [u8], ()>,
    bells: Option<Bells>,
}

struct In {
    subscriber: Subscriber<Service, [u8], ()>,
    bells: Option<Bells>,
    freed: usize,
    depth: usize,
}

/// One party's ends, and what has to live as long as they do.
pub struct Ports<const WAIT: u8> {
    tx: Out,
    rx: In,
    size: usize,
    _world: std::sync::Arc<World>,
}

/// The node, and the folder of all that it makes.
struct World {
    node: Option<Node<Service>>,
    prefix: String,
    _folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.node = None;
        sweep(&self.prefix);
    }
}

/// Removes the shared memory objects that have such names.
fn sweep(prefix: &str) {
    for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl World {
    fn new() -> Self {
        set_log_level(LogLevel::Fatal);
        let folder = tempfile::tempdir_in("/tmp").expect("a folder");
        let prefix = format!("plain_{}_", std::process::id());
        let mut config = iceoryx2::config::Config::default();
        config.global.prefix = FileName::new(prefix.as_bytes()).expect("a prefix");
        let path = folder.path().to_string_lossy().into_owned();
        let (left_folder, left_prefix) = (path.clone(), prefix.clone());
        let clean_up = move || {
            sweep(&left_prefix);
            let _ = std::fs::remove_dir_all(&left_folder);
        };
        let _ = protocol::CLEAN_UP.set(Box::new(clean_up));
        config.global.set_root_path(&Path::new(path.as_bytes()).expect("a path"));
        let builder = NodeBuilder::new().config(&config).signal_handling_mode(SignalHandlingMode::Disabled);
        Self { node: Some(builder.create::<Service>().expect("a node")), prefix, _folder: folder }
    }

    fn direction(&self, name: &str, order: &Order, sleeps: bool) -> (Out, In) {
        let node = self.node.as_ref().expect("a node");
        let (size, depth) = (order.size, order.depth());
        let service = node
            .service_builder(&format!("messages {name}").as_str().try_into().expect("a name"))
            .publish_subscribe::<[u8]>()
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(depth)
            .subscriber_max_borrowed_samples(1)
            .max_publishers(1)
            .max_subscribers(1)
            .create()
            .expect("a service");
        let publisher = service
            .publisher_builder()
            .initial_max_slice_len(size)
            .max_loaned_samples(1)
            .override_sample_preallocation(move |_| depth)
            .create()
            .expect("a publisher");
        let subscriber = service.subscriber_builder().buffer_size(depth).create().expect("a subscriber");
        let event = |of: &str| {
            let name = format!("{of} {name}");
            let event = node.service_builder(&name.as_str().try_into().expect("a name")).event().create();
            let event = event.expect("an event");
            let notifier = event.notifier_builder().create().expect("a notifier");
            (notifier, event.listener_builder().create().expect("a listener"))
        };
        let bells = sleeps.then(|| {
            let ((filled, hears_filled), (freed, hears_freed)) = (event("filled"), event("freed"));
            ((filled, hears_freed), (freed, hears_filled))
        });
        let (outer, inner) = bells.unzip();
        (Out { publisher, bells: outer }, In { subscriber, bells: inner, freed: 0, depth })
    }
}

/// Both parties' ends.
pub fn pair<const WAIT: u8>(order: &Order) -> [Ports<WAIT>; 2] {
    let world = std::sync::Arc::new(World::new());
    let (near_tx, far_rx) = world.direction("out", order, WAIT == BLOCK);
    let (far_tx, near_rx) = world.direction("back", order, WAIT == BLOCK);
    let ports = |tx, rx| Ports { tx, rx, size: order.size, _world: std::sync::Arc::clone(&world) };
    [ports(near_tx, near_rx), ports(far_tx, far_rx)]
}

#[inline(always)]
fn wait<const WAIT: u8, R>(bells: &Option<Bells>, mut look: impl FnMut() -> Option<R>) -> R {
    loop {
        if let Some(found) = look() {
            return found;
        }
        match (WAIT, bells) {
            (BLOCK, Some((_, listener))) => drop(listener.timed_wait_one(NAP).expect("a listener")),
            (YIELD, _) => std::thread::yield_now(),
            _ => std::hint::spin_loop(),
        }
    }
}

fn ring(bells: &Option<Bells>) {
    if let Some((notifier, _)) = bells {
        // One that cannot be delivered finds a queue of others that were not heard yet.
        let _ = notifier.notify();
    }
}

impl<const WAIT: u8> Ends for Ports<WAIT> {
    #[inline(always)]
    fn send(&mut self, fill: impl FnOnce(&mut [u8])) {
        let Self { tx: Out { publisher, bells }, size, .. } = self;
        let loan = || match publisher.loan_slice_uninit(*size) {
            Ok(sample) => Some(sample),
            Err(LoanError::OutOfMemory) => None,
            Err(error) => panic!("no loan: {error:?}"),
        };
        let mut sample = writable(wait::<WAIT, _>(bells, loan));
        fill(sample.payload_mut());
        assert_eq!(sample.send().expect("a publisher that sends"), 1, "a peer that receives");
        ring(bells);
    }

    #[inline(always)]
    fn receive(&mut self, read: impl FnOnce(&[u8])) {
        let In { subscriber, bells, freed, depth } = &mut self.rx;
        let sample = wait::<WAIT, _>(bells, || subscriber.receive().expect("a subscriber that receives"));
        read(sample.payload());
        drop(sample);
        *freed += 1;
        if *freed * 4 >= *depth {
            *freed = 0;
            ring(bells);
        }
    }
}

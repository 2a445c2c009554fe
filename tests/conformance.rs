//! The conformance suite for every transport: one test per transport and topic, each under every wait it honours.

mod common;

use ipcost::transport::{self, Transport, conformance};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

fn run<T: Transport>(topic: conformance::Topic) {
    let spec = T::SPEC;
    common::watched(LIMIT, move || {
        if let Err(why) = conformance::usable::<T>() {
            return eprintln!("skipped, {} cannot be used here: {why}", spec.name);
        }
        if let Err(how) = conformance::every_wait::<T>(topic) {
            panic!("{}: {how}", spec.name);
        }
    });
}

/// One module per transport, and the names of all of them.
macro_rules! transports {
    ($($(#[$when:meta])? $module:ident: $transport:ident),+ $(,)?) => {
        $($(#[$when])? mod $module {
            use super::*;
            type T = transport::$transport;
            topics! {
                messages_arrive_in_order_and_unchanged: order,
                both_parties_of_a_link_can_lead_and_stream: both_ways,
                sizes_around_every_boundary_arrive: sizes,
                many_more_messages_than_slots_arrive: wrap_around,
                a_producer_that_runs_ahead_is_held_up_and_loses_nothing: full,
                a_consumer_that_comes_first_waits_for_each_message: empty,
                a_sender_that_leaves_leaves_its_messages_and_an_end_of_file: sender_leaves,
                a_receiver_that_leaves_breaks_the_pipe_also_under_a_waiting_sender: receiver_leaves,
                wrong_lengths_are_invalid_input_and_harm_nothing: wrong_lengths,
                names_do_not_escape_from_the_constructor: names,
                parties_that_share_an_object_get_every_message_once: shared,
                every_receiver_of_a_broadcast_gets_every_message: broadcast,
            }
        })+
        fn covered() -> Vec<&'static str> {
            [$($(#[$when])? transport::$transport::SPEC.name),+].to_vec()
        }
    };
}

macro_rules! topics {
    ($($sentence:ident: $topic:ident),+ $(,)?) => {
        $(#[test]
        fn $sentence() {
            run::<T>(conformance::$topic::<T>);
        })+
        #[test]
        fn no_topic_of_the_suite_is_missing_here() {
            assert_eq!(conformance::topics::<T>().len(), [$(stringify!($topic)),+].len());
        }
    };
}

transports! {
    pipe: Pipe,
    file: FileRing,
    mmap_file: MmapFile,
    unix_stream: Unix,
    local_socket: LocalSocket,
    shm_ring: ShmRing,
    shm_slot: ShmSlot,
    posix_shm: PosixShm,
    heap_ring: HeapRing,
    mutex_queue: MutexQueue,
    fifo: Fifo,
    unix_seqpacket: Seqpacket,
    unix_dgram: Dgram,
    tcp: Tcp,
    udp: Udp,
    heap_handoff: HeapHandoff,
    mpsc: Mpsc,
    crossbeam: Crossbeam,
    flume: Flume,
    rtrb: Rtrb,
    #[cfg(feature = "iceoryx2")]
    iceoryx2: Iceoryx2,
    #[cfg(feature = "ipc-channel")]
    ipc_channel: IpcChannel,
    #[cfg(feature = "tokio-unix")]
    tokio_unix: TokioUnix,
    #[cfg(feature = "zeromq")]
    zeromq: ZeroMq,
    #[cfg(feature = "zeromq")]
    zeromq_tcp: ZeroMqTcp,
    process_vm: ProcessVm,
    vmsplice: Vmsplice,
    vmsplice_splice: VmspliceSplice,
    io_uring: IoUring,
    io_uring_sqpoll: IoUringSqpoll,
    posix_mq: PosixMq,
    sysv_mq: SysvMq,
    sysv_shm: SysvShm,
    eventfd: EventFd,
    shm_sem: ShmSem,
    shm_mutex: ShmMutex,
    null: Null,
    copy: Copy,
}

#[test]
fn every_listed_mechanism_is_covered() {
    let listed: Vec<_> = transport::ALL.iter().map(|runner| runner.spec().name).collect();
    assert_eq!(listed, covered(), "transport::ALL and the list in this file differ");
}

#[test]
fn every_mechanism_but_the_controls_crosses_threads() {
    for runner in transport::ALL {
        let spec = runner.spec();
        let control = spec.family == transport::Family::Control;
        assert_eq!(conformance::crosses_threads(spec), !control, "{}", spec.name);
        assert!(!spec.waits.is_empty(), "{} honours no wait", spec.name);
    }
}

//! The plainest Rust programs over the frameworks that ipcost compares: the yardstick for what its layers add to them.
//!
//! ```text
//! plain_frameworks iceoryx2|ipc-channel|tokio-unix|zeromq|zeromq-tcp ping-pong|stream SIZE block|spin|yield thread CPU_A CPU_B
//! ```
//!
//! Each makes the calls that its file in `engine/src/transport/` makes for a message, with the same capacities, between two threads.
//! The protocol is that of `plain/protocol.rs`. `scripts/plain.py` runs it; a build with `--features frameworks` has
//! it.
//!
//! With `PLAIN_SPOIL=N` one bit of ping N is turned when it was written: its receiver has to notice.

use ipcost_engine::plan::Touch;
use ipcost_engine::workload::payload::{Payload, Way};
use protocol::{Order, Party, wrong};

#[path = "plain/iceoryx.rs"]
mod iceoryx;
#[path = "plain/protocol.rs"]
mod protocol;

/// One party's two ends.
trait Ends: Send + 'static {
    /// Lets `fill` write a message, and sends it.
    fn send(&mut self, fill: impl FnOnce(&mut [u8]));
    /// Lets `read` look at the next message.
    fn receive(&mut self, read: impl FnOnce(&[u8]));
}

/// A party with these ends.
struct Side<E> {
    ends: E,
    spoil: Option<u64>,
}

impl<E: Ends> Side<E> {
    #[inline(always)]
    fn send(&mut self, way: Way, seq: u64) {
        let (payload, spoil) = (Payload::new(Touch::Whole), self.spoil);
        self.ends.send(|message| {
            payload.fill(way, seq, message);
            if spoil == Some(seq) {
                payload.spoil(message);
            }
        });
    }

    #[inline(always)]
    fn receive(&mut self, way: Way, seq: u64) {
        self.ends.receive(|message| {
            if let Err(how) = Payload::new(Touch::Whole).check(way, seq, message) {
                wrong("plain_frameworks", how);
            }
        });
    }
}

impl<E: Ends> Party for Side<E> {
    #[inline(never)]
    fn lead(&mut self, first: u64, n: u64, streams: bool) {
        for seq in first..first + n {
            self.send(Way::Out, seq);
            if !streams {
                self.receive(Way::Back, seq);
            }
        }
    }

    #[inline(never)]
    fn follow(&mut self, first: u64, n: u64, streams: bool) {
        for seq in first..first + n {
            self.receive(Way::Out, seq);
            if !streams {
                self.send(Way::Back, seq);
            }
        }
    }
}

fn run<E: Ends>(order: &Order, pair: [E; 2]) {
    let mut spoil = order.spoil;
    // Only what the leader sends is spoilt.
    protocol::run(order, pair.map(|ends| Side { ends, spoil: spoil.take() }));
}

mod bytes {
    //! `ipc-channel`: a channel of bytes each way.

    use super::Ends;
    use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};

    pub struct Channels(IpcBytesSender, IpcBytesReceiver, Box<[u8]>);

    pub fn pair(size: usize) -> [Channels; 2] {
        let channel = || bytes_channel().expect("a channel");
        let ((near_tx, far_rx), (far_tx, near_rx)) = (channel(), channel());
        let message = || vec![0; size].into_boxed_slice();
        [Channels(near_tx, near_rx, message()), Channels(far_tx, far_rx, message())]
    }

    impl Ends for Channels {
        #[inline(always)]
        fn send(&mut self, fill: impl FnOnce(&mut [u8])) {
            fill(&mut self.2);
            self.0.send(&self.2).expect("a peer that receives");
        }

        #[inline(always)]
        fn receive(&mut self, read: impl FnOnce(&[u8])) {
            read(&self.1.recv().expect("a peer that sends"));
        }
    }
}

/// A runtime of one thread.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

mod tokio_unix {
    //! `tokio-unix`: a Unix stream socket that a runtime of one thread drives, entered once for each message.

    use super::Ends;
    use std::io::{self, ErrorKind};
    use std::os::unix::net::UnixStream as Socket;
    use tokio::net::UnixStream;
    use tokio::runtime::Runtime;

    pub struct Driven {
        stream: UnixStream,
        runtime: Runtime,
        out: Box<[u8]>,
        back: Box<[u8]>,
    }

    pub fn pair(size: usize) -> [Driven; 2] {
        let (near, far) = Socket::pair().expect("two sockets");
        [near, far].map(|socket| {
            if ipcost_engine::sys::fd::send_buffer(&socket).expect("a send buffer") < 2 * size {
                ipcost_engine::sys::fd::set_send_buffer(&socket, 2 * size).expect("a larger one");
            }
            socket.set_nonblocking(true).expect("a socket that does not wait");
            let runtime = super::runtime();
            let stream = runtime.block_on(async { UnixStream::from_std(socket) }).expect("a stream");
            let message = || vec![0; size].into_boxed_slice();
            Driven { stream, runtime, out: message(), back: message() }
        })
    }

    async fn write_all(stream: &UnixStream, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match stream.try_write(rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn read_exact(stream: &UnixStream, mut rest: &mut [u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match stream.try_read(rest) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(got) => rest = &mut rest[got..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => stream.readable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    impl Ends for Driven {
        #[inline(always)]
        fn send(&mut self, fill: impl FnOnce(&mut [u8])) {
            fill(&mut self.out);
            self.runtime.block_on(write_all(&self.stream, &self.out)).expect("a peer that receives");
        }

        #[inline(always)]
        fn receive(&mut self, read: impl FnOnce(&[u8])) {
            self.runtime.block_on(read_exact(&self.stream, &mut self.back)).expect("a peer that sends");
            read(&self.back);
        }
    }
}

mod dealers {
    //! `zeromq` and `zeromq-tcp`: a DEALER socket in each party, split in two halves.

    use super::Ends;
    use tokio::runtime::Runtime;
    use zeromq::{DealerRecvHalf, DealerSendHalf, DealerSocket, Socket, SocketEvent, SocketRecv, SocketSend};

    pub struct Halves {
        tx: DealerSendHalf,
        rx: DealerRecvHalf,
        runtime: Runtime,
        size: usize,
    }

    pub fn pair(size: usize, address: &str) -> [Halves; 2] {
        let (say, hear) = std::sync::mpsc::channel();
        let halves = |socket: DealerSocket, runtime| {
            let (tx, rx) = socket.split();
            Halves { tx, rx, runtime, size }
        };
        // Each waits for the other one to connect them.
        std::thread::scope(|scope| {
            let far = scope.spawn(move || {
                let (runtime, mut socket) = (super::runtime(), DealerSocket::new());
                let address: String = hear.recv().expect("an address");
                runtime.block_on(socket.connect(&address)).expect("a connection");
                halves(socket, runtime)
            });
            let (runtime, mut socket) = (super::runtime(), DealerSocket::new());
            let mut events = socket.monitor();
            runtime.block_on(async {
                let bound = socket.bind(address).await.expect("an address to bind");
                say.send(bound.to_string()).expect("somebody who connects");
                while !matches!(events.recv().await.expect("a connection"), SocketEvent::Accepted(..)) {}
            });
            [halves(socket, runtime), far.join().expect("a far end")]
        })
    }

    impl Ends for Halves {
        #[inline(always)]
        fn send(&mut self, fill: impl FnOnce(&mut [u8])) {
            let mut message = vec![0; self.size];
            fill(&mut message);
            self.runtime.block_on(self.tx.send(message.into())).expect("a peer that receives");
        }

        #[inline(always)]
        fn receive(&mut self, read: impl FnOnce(&[u8])) {
            let message = self.runtime.block_on(self.rx.recv()).expect("a peer that sends");
            read(message.get(0).expect("a frame"));
        }
    }
}

fn usage() -> ! {
    eprintln!(
        "usage: plain_frameworks iceoryx2|ipc-channel|tokio-unix|zeromq|zeromq-tcp ping-pong|stream SIZE block|spin|yield \
         thread CPU_A CPU_B"
    );
    std::process::exit(2)
}

fn main() {
    let order = Order::read().unwrap_or_else(|| usage());
    let size = order.size;
    match (order.mechanism.as_str(), order.wait.as_str()) {
        ("ipc-channel", "block") => run(&order, bytes::pair(size)),
        ("tokio-unix", "block") => run(&order, tokio_unix::pair(size)),
        ("zeromq", "block") => {
            let folder = tempfile::tempdir().expect("a folder");
            let pair = dealers::pair(size, &format!("ipc://{}", folder.path().join("s").display()));
            drop(folder);
            run(&order, pair);
        }
        ("zeromq-tcp", "block") => run(&order, dealers::pair(size, "tcp://127.0.0.1:0")),
        ("iceoryx2", "block") => run(&order, iceoryx::pair::<{ iceoryx::BLOCK }>(&order)),
        ("iceoryx2", "spin") => run(&order, iceoryx::pair::<{ iceoryx::SPIN }>(&order)),
        ("iceoryx2", "yield") => run(&order, iceoryx::pair::<{ iceoryx::YIELD }>(&order)),
        _ => usage(),
    }
}

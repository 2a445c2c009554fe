//! The five servers: one handler and one way to treat a connection, built in five ways.
//!
//! Key decision: each runs in processes of its own, those with threads too, so that a crash never ends the client.

use super::{Build, CRASH, SIZE, Socket, With};
use crate::error::{Context, Phase, Result};
use crate::sys::net::{Crowd, Door};
use crate::sys::process::{Child, crash, fork_child};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Mutex;
use std::time::Duration;

/// What a server does with a request: some arithmetic over it.
fn handle(message: &mut [u8], pause: Option<Duration>) {
    if message[0] == CRASH {
        crash();
    }
    if let Some(pause) = pause {
        std::thread::sleep(pause);
    }
    let mut sum = 0_u64;
    for _ in 0..16 {
        sum = message.iter().fold(sum, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3));
    }
    message[SIZE - 8..].copy_from_slice(&sum.to_le_bytes());
}

/// A connection as every server treats it.
struct Connection {
    file: File,
    pending: Vec<u8>,
    pause: Option<Duration>,
}

impl Connection {
    /// Reads what is there, or waits for it, and answers every whole request with one write; false at the end.
    fn turn(&mut self) -> bool {
        let mut bytes = [0; 64 * SIZE];
        let got = match self.file.read(&mut bytes) {
            Ok(0) => return false,
            Err(error) => return error.kind() == ErrorKind::Interrupted,
            Ok(got) => got,
        };
        self.pending.extend_from_slice(&bytes[..got]);
        let whole = self.pending.len() / SIZE * SIZE;
        self.pending[..whole].chunks_exact_mut(SIZE).for_each(|message| handle(message, self.pause));
        let sent = self.file.write_all(&self.pending[..whole]).is_ok();
        self.pending.drain(..whole);
        sent
    }
}

/// What the processes of a server have in common.
pub(super) struct Server {
    with: With,
    pub(super) doors: Vec<Door>,
    /// Planted: how long each request takes besides.
    pause: Option<Duration>,
}

impl Server {
    pub(super) fn new(with: With, slow: bool) -> io::Result<Self> {
        let first = if with.socket == Socket::Unix { Door::unix() } else { Door::tcp() }?;
        let more = if with.build == Build::ReusePort { with.workers - 1 } else { 0 };
        let more: io::Result<Vec<Door>> = (0..more).map(|_| first.beside()).collect();
        let pause = (slow && with.build == Build::Threads).then_some(Duration::from_millis(2));
        Ok(Self { with, doors: [first].into_iter().chain(more?).collect(), pause })
    }

    /// How many processes it has.
    pub(super) fn processes(&self) -> usize {
        match self.with.build {
            Build::Prefork => self.with.connections,
            Build::ReusePort => self.with.workers,
            _ => 1,
        }
    }

    /// Starts one of its processes.
    pub(super) fn start(&self, process: usize) -> Result<Child> {
        let door = self.doors.get(process).unwrap_or(&self.doors[0]);
        let run = || match self.with.build {
            Build::Threads => {
                self.accept(door, |mut connection| drop(std::thread::spawn(move || while connection.turn() {})))
            }
            Build::Prefork => self.accept(door, |mut connection| while connection.turn() {}),
            Build::Pool => self.watch(door, self.with.workers),
            Build::Loop | Build::ReusePort => self.watch(door, 1),
        };
        fork_child(|| u8::from(run().is_err())).context(Phase::Start, "cannot start a server")
    }

    fn meet(&self, door: &Door) -> io::Result<Connection> {
        Ok(Connection { file: door.accept()?, pending: Vec::new(), pause: self.pause })
    }

    /// One client after the other.
    fn accept(&self, door: &Door, each: impl Fn(Connection)) -> io::Result<()> {
        loop {
            each(self.meet(door)?);
        }
    }

    /// So many threads that wait for whichever connection has something to read.
    fn watch(&self, door: &Door, workers: usize) -> io::Result<()> {
        const DOOR: u64 = u64::MAX;
        let (crowd, connections) = (Crowd::new(workers > 1)?, Mutex::new(Vec::<Option<Connection>>::new()));
        crowd.add(door, DOOR)?;
        let lock = || connections.lock().map_err(|_| io::Error::other("a worker panicked"));
        let enter = || -> io::Result<()> {
            let (connection, mut all) = (self.meet(door)?, lock()?);
            crowd.add(&connection.file, all.len() as u64)?;
            all.push(Some(connection));
            crowd.again(door, DOOR)
        };
        let serve = |number: u64| -> io::Result<()> {
            // Taken out meanwhile: the handler runs without the lock. It is told of once, so nobody else wants it.
            let Some(mut connection) = lock()?[number as usize].take() else { return Ok(()) };
            if connection.turn() {
                let mut all = lock()?;
                let place = all[number as usize].insert(connection);
                crowd.again(&place.file, number)?;
            }
            Ok(())
        };
        let work = || -> io::Result<()> {
            loop {
                match crowd.next()? {
                    DOOR => enter()?,
                    number => serve(number)?,
                }
            }
        };
        std::thread::scope(|scope| {
            (1..workers).for_each(|_| drop(scope.spawn(work)));
            work()
        })
    }
}

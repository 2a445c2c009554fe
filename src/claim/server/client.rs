//! The client: one thread with all the connections, none of which blocks it.
//!
//! A request that finds no room is sent later, and still counts from when it was due.

use super::SIZE;
use crate::error::{Context, Error, Phase, Result};
use crate::sys::net::{Door, readable};
use crate::sys::{clock, fd};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

/// One client with all its connections.
pub(super) struct Client {
    files: Vec<File>,
    /// For each connection, when the requests that are under way were due.
    under_way: Vec<VecDeque<u64>>,
    /// For each connection, bytes of an answer that has not come whole.
    partial: Vec<usize>,
    /// Latencies since they were last taken, ns.
    latencies: Vec<u64>,
    broken: Vec<bool>,
}

impl Client {
    pub(super) fn new(door: &Door, connections: usize) -> io::Result<Self> {
        let connect = |_| {
            let file = door.connect()?;
            fd::set_nonblocking(&file, true)?;
            Ok(file)
        };
        Ok(Self {
            files: (0..connections).map(connect).collect::<io::Result<_>>()?,
            under_way: vec![VecDeque::new(); connections],
            partial: vec![0; connections],
            latencies: Vec::new(),
            broken: vec![false; connections],
        })
    }

    pub(super) fn mend(&mut self, door: &Door, index: usize) -> io::Result<()> {
        self.files[index] = door.connect()?;
        self.under_way[index].clear();
        (self.partial[index], self.broken[index]) = (0, false);
        fd::set_nonblocking(&self.files[index], true)
    }

    /// Sends a request that was due then; false when the connection has no room.
    pub(super) fn send(&mut self, index: usize, due: u64, kind: u8) -> bool {
        let mut message = [b'.'; SIZE];
        message[0] = kind;
        match self.files[index].write(&message) {
            Ok(_) => self.under_way[index].push_back(due),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.broken[index] = true,
        }
        true
    }

    /// Takes the answers that come within `limit`; on which connections, and how many.
    fn hear(&mut self, limit: Duration) -> Result<Vec<(usize, usize)>> {
        let ready = readable(&self.files, limit).context(Phase::Measure, "cannot wait for answers")?;
        let now = |client: &mut Self, index: usize| -> usize {
            let mut bytes = [0; 64 * SIZE];
            let got = match (&client.files[index]).read(&mut bytes) {
                Ok(got @ 1..) => got,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
                _ => {
                    client.broken[index] = true;
                    0
                }
            };
            let time = clock::now();
            let have = client.partial[index] + got;
            client.partial[index] = have % SIZE;
            let whole = (have / SIZE).min(client.under_way[index].len());
            let dues = client.under_way[index].drain(..whole);
            client.latencies.extend(dues.map(|due| time.saturating_sub(due)));
            whole
        };
        Ok(ready.into_iter().map(|index| (index, now(self, index))).collect())
    }

    fn waits(&self) -> bool {
        self.under_way.iter().zip(&self.broken).any(|(under_way, broken)| !under_way.is_empty() && !broken)
    }

    /// Waits for the answers that are under way, or the end of their connections.
    pub(super) fn drain(&mut self) -> Result<()> {
        let end = clock::now() + 5_000_000_000;
        while self.waits() {
            if clock::now() > end {
                return Err(Error::timeout(Phase::Measure, "the server does not answer"));
            }
            self.hear(Duration::from_millis(1))?;
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.broken.contains(&true) {
            return Err(Error::failed(Phase::Measure, "a connection broke under load"));
        }
        Ok(())
    }

    /// As many answers per second as come with so many requests under way on each connection.
    pub(super) fn saturate(&mut self, span: u64) -> Result<f64> {
        const DEPTH: usize = 4;
        let start = clock::now();
        for index in (0..self.files.len()).cycle().take(DEPTH * self.files.len()) {
            self.send(index, start, b'.');
        }
        let mut answered = 0;
        while clock::now() < start + span {
            for (index, whole) in self.hear(Duration::from_millis(1))? {
                answered += whole;
                (0..whole).for_each(|_| _ = self.send(index, start, b'.'));
            }
            self.check()?;
        }
        let took = clock::now() - start;
        self.drain()?;
        self.latencies.clear();
        Ok(answered as f64 * 1e9 / took as f64)
    }

    /// Offers that many requests per second; the 99th percentile of the latency, ns, and how many were answered.
    pub(super) fn offer(&mut self, rate: f64, span: u64) -> Result<(f64, usize)> {
        let (start, number) = (clock::now(), ((span as f64 * rate / 1e9) as usize).max(1));
        let due = |request: usize| start + (request as f64 * 1e9 / rate) as u64;
        let mut next = 0;
        while next < number {
            while next < number && due(next) <= clock::now() && self.send(next % self.files.len(), due(next), b'.') {
                next += 1;
            }
            let rest = if next < number { due(next).saturating_sub(clock::now()) } else { 0 };
            self.hear(Duration::from_nanos(rest))?;
            self.check()?;
        }
        self.drain()?;
        let mut latencies = std::mem::take(&mut self.latencies);
        latencies.sort_unstable();
        let p99 = latencies[(latencies.len() * 99).div_ceil(100).max(1) - 1];
        Ok((p99 as f64, latencies.len()))
    }

    /// One request on each connection; which ones break.
    pub(super) fn knock(&mut self) -> Result<Vec<usize>> {
        (0..self.files.len()).for_each(|index| _ = self.send(index, clock::now(), b'.'));
        self.drain()?;
        self.latencies.clear();
        Ok((0..self.files.len()).filter(|index| self.broken[*index]).collect())
    }
}

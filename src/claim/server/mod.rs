//! A web server is the typical program with several threads.
//!
//! **Question.** How many requests per second does a server answer within a millisecond, by the way in which it is
//! built, and what does one crash cost?
//!
//! **Method.** Five servers with one handler and one way to read and write a connection: a thread per connection; a
//! pool of threads on one set of connections; a loop over that set; a process per connection, forked beforehand;
//! processes with a listener each on one port (`SO_REUSEPORT`) and a loop each. One client keeps its connections and
//! puts requests of 64 bytes on them in turn. It measures saturation with four requests under way on each connection,
//! then offers 10 to 110 % of that, evenly and whether or not anybody answers; a latency counts from when the request
//! was due. The rate at a 99th percentile of one millisecond is interpolated between the last step below it and the one
//! above. Then one request makes the server crash: the connections that break are counted, and the time until all are
//! served again.
//!
//! **Caveat.** The client needs CPU time too, on the same CPUs; its share stands beside the figures.

mod builds;
mod client;
mod verdict;

use super::{Cell, Claim, Setting, Values, values};
use crate::error::{Context, Error, Phase, Result};
use crate::sys::process::{Child, wait_gone};
use crate::sys::{clock, usage};
use builds::Server;
use client::Client;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::time::Duration;
use verdict::{judge, picture};

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "server",
    taught: "a web server is the typical program with several threads: throughput goes up, response time goes down",
    hypothesis: "on Unix and on TCP sockets, a thread per connection answers at least 1.1 times as many requests per \
                 second with a 99th percentile of at most 1 ms as pre-forked processes do; it holds only against a \
                 single loop if it is so only against that; it is contradicted if the processes answer 1.1 times as \
                 many as the threads",
    misleads: "the client takes CPU time from the server; a handler of a few microseconds hides what waiting for a \
               disk would show; the steps of the load are far apart; nothing is sent over a network",
    cells,
    measure,
    judge,
    plants: &["slow", "contagion"],
    picture: Some(picture),
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Build {
    Threads,
    Pool,
    Loop,
    Prefork,
    ReusePort,
}

const BUILDS: [Build; 5] = [Build::Threads, Build::Pool, Build::Loop, Build::Prefork, Build::ReusePort];

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Build::Threads => "thread per connection",
            Build::Pool => "pool of threads",
            Build::Loop => "epoll loop",
            Build::Prefork => "pre-forked processes",
            Build::ReusePort => "loop per process, SO_REUSEPORT",
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Socket {
    Unix,
    Tcp,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct With {
    build: Build,
    socket: Socket,
    connections: usize,
    /// Workers of a pool, and processes with a listener each.
    workers: usize,
}

const FEW: usize = 8;
const MANY: usize = 64;

fn case(build: Build, socket: Socket, connections: usize) -> String {
    let socket = if socket == Socket::Unix { "Unix" } else { "TCP" };
    format!("{build}, {socket}, {connections} connections")
}

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    let workers = setting.cpus.len().clamp(2, 8);
    let counts: &[usize] = if setting.full { &[FEW, MANY] } else { &[FEW] };
    let mut cells = Vec::new();
    for &connections in counts {
        for socket in [Socket::Unix, Socket::Tcp] {
            // A Unix socket has one listener.
            let builds = BUILDS.into_iter().filter(|build| *build != Build::ReusePort || socket == Socket::Tcp);
            cells.extend(builds.map(|build| {
                let with = With { build, socket, connections, workers };
                Cell::new(&CLAIM, case(build, socket, connections), &with)
            }));
        }
    }
    let again = cells[0].again();
    cells.push(again);
    Ok(cells)
}

/// Bytes of a request and of its answer.
const SIZE: usize = 64;
/// The request that makes its server crash.
const CRASH: u8 = b'X';

/// The steps of the load, per cent of saturation.
const STEPS: [u32; 6] = [10, 30, 50, 70, 90, 110];
/// What a request may take, ns.
const PROMPT: f64 = 1e6;

fn step_name(step: u32) -> String {
    format!("p99_ns_at_{step}_percent")
}

fn measure(cell: &Cell) -> Result<Values> {
    let with: With = cell.with()?;
    // The client's sleeps end when they should.
    nix::sys::prctl::set_timerslack(1).map_err(io::Error::from).context(Phase::Setup, "cannot set the slack")?;
    let server = Server::new(with, cell.planted("slow"))
        .map_err(|error| Error::unsupported("cannot listen on this kind of socket").because(error))?;
    let mut children = (0..server.processes()).map(|process| server.start(process)).collect::<Result<Vec<_>>>()?;
    let mut client = Client::new(&server.doors[0], with.connections).context(Phase::Start, "cannot connect")?;
    client.knock()?;
    client.check()?;
    let cpu = |children: &[Child]| -> Result<u64> {
        let each = children.iter().map(|child| usage::cpu_of(child.id()));
        each.sum::<io::Result<u64>>().context(Phase::Measure, "cannot read the CPU time of a server")
    };
    // An eighth of the time for each step and for saturation; the rest is for the crash.
    let span = cell.millis * 1_000_000 / 8;
    let saturation = client.saturate(span)?;
    let (before, own, mut answered, mut steps) = (cpu(&children)?, clock::process_cpu(), 0, Vec::new());
    for step in STEPS {
        let rate = saturation * f64::from(step) / 100.0;
        let (p99, number) = client.offer(rate, span)?;
        answered += number;
        steps.push((rate, p99));
    }
    let used = (cpu(&children)? - before, clock::process_cpu() - own);
    let memory: io::Result<u64> = children.iter().map(|child| usage::pss_of(child.id())).sum();
    let memory = memory.context(Phase::Measure, "cannot read the memory of a server")?;
    let (lost, recovered) = injected_crash(&server, &mut children, &mut client, cell.planted("contagion"))?;
    let mut found = values([
        ("saturation_per_s", saturation),
        ("at_1ms_per_s", prompt_rate(&steps)),
        ("cpu_ns", used.0 as f64 / answered as f64),
        ("client_cpu_ns", used.1 as f64 / answered as f64),
        ("pss_bytes", memory as f64),
        ("lost_connections", lost as f64),
        ("recover_ns", recovered as f64),
    ]);
    found.extend(STEPS.iter().zip(&steps).map(|(step, (_, p99))| (step_name(*step), *p99)));
    Ok(found)
}

/// The rate at which the 99th percentile reaches [`PROMPT`]: between the last step below it and the one above, on a
/// logarithmic scale of latencies. Where no step is below, less than the first step in the proportion in which that one
/// is late. What is late at a lower step than the last good one was disturbed: a server that can do more can do less.
fn prompt_rate(steps: &[(f64, f64)]) -> f64 {
    let Some(last) = steps.iter().rposition(|(_, p99)| *p99 <= PROMPT) else {
        return steps.first().map_or(0.0, |(rate, p99)| rate * PROMPT / p99);
    };
    let (rate, p99) = steps[last];
    let Some((late_rate, late)) = steps.get(last + 1) else { return rate };
    rate + (PROMPT / p99).ln() / (late / p99).ln() * (late_rate - rate)
}

/// Makes the server crash through the first connection; how many connections break, and how long until all are served.
fn injected_crash(server: &Server, children: &mut [Child], client: &mut Client, spread: bool) -> Result<(usize, u64)> {
    let start = clock::now();
    client.send(0, start, CRASH);
    // Until the connection ends: before that, the others might be answered by somebody who is about to die.
    client.drain()?;
    let mut dead = |index: usize| wait_gone(children[index].id(), Duration::ZERO);
    let limit = clock::now() + 5_000_000_000;
    while !(0..server.processes()).any(&mut dead) {
        if clock::now() > limit {
            return Err(Error::timeout(Phase::Measure, "the server did not crash"));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    if spread {
        children.iter().for_each(Child::kill);
        children.iter().for_each(|child| _ = wait_gone(child.id(), Duration::from_secs(5)));
    }
    let broken = client.knock()?;
    for index in (0..server.processes()).filter(|index| !children[*index].alive()).collect::<Vec<_>>() {
        // The dead one is reaped when it is dropped.
        children[index] = server.start(index)?;
    }
    for index in &broken {
        client.mend(&server.doors[0], *index).context(Phase::Measure, "cannot connect again")?;
    }
    client.knock()?;
    client.check()?;
    Ok((broken.len(), clock::now() - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_in_time_lies_between_the_steps() {
        assert_eq!(prompt_rate(&[(10.0, 1e5), (20.0, 2e5)]), 20.0, "all in time");
        assert_eq!(prompt_rate(&[(10.0, 2e6), (20.0, 2e7)]), 5.0, "none in time");
        assert_eq!(prompt_rate(&[(10.0, 2e6), (20.0, 2e5)]), 20.0, "the first was disturbed");
        assert!((prompt_rate(&[(10.0, 1e5), (20.0, 1e7), (30.0, 1e8)]) - 15.0).abs() < 1e-9);
    }
}

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

use super::{Cell, Claim, Finding, Record, Setting, Unit, Values, Verdict, values};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::stats::Estimate;
use crate::report::picture::{Axis, Picture};
use crate::sys::net::{Crowd, Door, readable};
use crate::sys::process::{Child, crash, fork_child, wait_gone};
use crate::sys::{clock, fd, usage};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Mutex;
use std::time::Duration;

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
struct Server {
    with: With,
    doors: Vec<Door>,
    /// Planted: how long each request takes besides.
    pause: Option<Duration>,
}

impl Server {
    fn new(with: With, slow: bool) -> io::Result<Self> {
        let first = if with.socket == Socket::Unix { Door::unix() } else { Door::tcp() }?;
        let more = if with.build == Build::ReusePort { with.workers - 1 } else { 0 };
        let more: io::Result<Vec<Door>> = (0..more).map(|_| first.beside()).collect();
        let pause = (slow && with.build == Build::Threads).then_some(Duration::from_millis(2));
        Ok(Self { with, doors: [first].into_iter().chain(more?).collect(), pause })
    }

    /// How many processes it has.
    fn processes(&self) -> usize {
        match self.with.build {
            Build::Prefork => self.with.connections,
            Build::ReusePort => self.with.workers,
            _ => 1,
        }
    }

    /// Starts one of its processes.
    fn start(&self, process: usize) -> Result<Child> {
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

/// One client with all its connections.
struct Client {
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
    fn new(door: &Door, connections: usize) -> io::Result<Self> {
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

    fn mend(&mut self, door: &Door, index: usize) -> io::Result<()> {
        self.files[index] = door.connect()?;
        self.under_way[index].clear();
        (self.partial[index], self.broken[index]) = (0, false);
        fd::set_nonblocking(&self.files[index], true)
    }

    /// Sends a request that was due then; false when the connection has no room.
    fn send(&mut self, index: usize, due: u64, kind: u8) -> bool {
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
    fn drain(&mut self) -> Result<()> {
        let end = clock::now() + 5_000_000_000;
        while self.waits() {
            if clock::now() > end {
                return Err(Error::timeout(Phase::Measure, "the server does not answer"));
            }
            self.hear(Duration::from_millis(1))?;
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.broken.contains(&true) {
            return Err(Error::failed(Phase::Measure, "a connection broke under load"));
        }
        Ok(())
    }

    /// As many answers per second as come with so many requests under way on each connection.
    fn saturate(&mut self, span: u64) -> Result<f64> {
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
    fn offer(&mut self, rate: f64, span: u64) -> Result<(f64, usize)> {
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
    fn knock(&mut self) -> Result<Vec<usize>> {
        (0..self.files.len()).for_each(|index| _ = self.send(index, clock::now(), b'.'));
        self.drain()?;
        self.latencies.clear();
        Ok((0..self.files.len()).filter(|index| self.broken[*index]).collect())
    }
}

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

/// From which factor on two servers differ.
const DIFFERENT: f64 = 1.1;

/// How many more requests the threads answer in time than another build.
fn gain(record: &Record, other: Build, socket: Socket) -> Option<Estimate> {
    record.ratio(&case(Build::Threads, socket, FEW), &case(other, socket, FEW), "at_1ms_per_s")
}

fn judge(record: &Record) -> Finding {
    let gains = |other| [Socket::Unix, Socket::Tcp].map(|socket| gain(record, other, socket));
    let bounds = |other| gains(other).map(|gain| gain.and_then(|gain| gain.interval));
    let better = |[a, b]: [Option<(f64, f64)>; 2]| [a, b].iter().all(|of| of.is_some_and(|(low, _)| low >= DIFFERENT));
    let worse =
        |[a, b]: [Option<(f64, f64)>; 2]| [a, b].iter().all(|of| of.is_some_and(|(_, high)| high <= 1.0 / DIFFERENT));
    let (forked, looped) = (bounds(Build::Prefork), bounds(Build::Loop));
    let verdict = match gains(Build::Prefork) {
        [Some(_), Some(_)] if better(forked) => Verdict::Holds,
        [Some(_), Some(_)] if worse(forked) => Verdict::Contradicted,
        [Some(_), Some(_)] if better(looped) => {
            Verdict::HoldsOnlyIf("it is compared with a single loop, not with processes".into())
        }
        [Some(_), Some(_)] => Verdict::NotFoundHere,
        _ => Verdict::NotTested("figures are missing".into()),
    };
    let crash = |build| record.estimate(&case(build, Socket::Tcp, FEW), "lost_connections").map(|lost| lost.median);
    let because = match (gains(Build::Prefork), crash(Build::Threads), crash(Build::Prefork)) {
        ([Some(unix), Some(tcp)], Some(threads), Some(processes)) => format!(
            "threads answer {:.2} (Unix) and {:.2} (TCP) times as many requests in time as pre-forked processes; one \
             crash breaks {threads:.0} of {FEW} connections to threads and {processes:.0} to processes",
            unix.median, tcp.median
        ),
        _ => String::new(),
    };
    let mut finding = Finding::new(verdict, because);
    for (socket, name) in [(Socket::Unix, "Unix"), (Socket::Tcp, "TCP")] {
        for other in &BUILDS[1..] {
            let what = format!("answered in time by a thread per connection against {other}, {name}");
            finding = finding.figure(what, gain(record, *other, socket), Unit::Ratio);
        }
    }
    for case in record.cells().into_iter().map(|cell| &cell.case) {
        for (what, quantity, unit) in SHOWN {
            finding = finding.figure(format!("{what}; {case}"), record.estimate(case, quantity), unit);
        }
    }
    match record.noise("at_1ms_per_s") {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

/// What is shown of each case.
const SHOWN: [(&str, &str, Unit); 7] = [
    ("requests with a p99 of 1 ms", "at_1ms_per_s", Unit::PerSecond),
    ("saturation", "saturation_per_s", Unit::PerSecond),
    ("CPU of the server per request", "cpu_ns", Unit::Ns),
    ("CPU of the client per request", "client_cpu_ns", Unit::Ns),
    ("memory of the server", "pss_bytes", Unit::Bytes),
    ("connections that a crash breaks", "lost_connections", Unit::Number),
    ("all served again after", "recover_ns", Unit::Ns),
];

fn picture(record: &Record) -> Picture {
    let line = |build: Build| {
        let case = case(build, Socket::Tcp, FEW);
        let point = |step: u32| Some((f64::from(step), record.estimate(&case, &step_name(step))?));
        (build.to_string(), STEPS.into_iter().filter_map(point).collect::<Vec<_>>())
    };
    Picture {
        title: format!("Latency under load, TCP loopback, {FEW} connections"),
        x: Axis { name: "offered load, % of saturation", logarithmic: false },
        y: Axis { name: "99th percentile, ns", logarithmic: true },
        series: BUILDS.into_iter().map(line).filter(|(_, points)| !points.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::line;
    use super::*;

    /// Six rounds in which the threads answer so many times as many requests as processes, and as a loop.
    fn record(forked: f64, looped: f64) -> Record {
        let of = |round: u32, build, socket, rate: f64| {
            let found = [("at_1ms_per_s", rate * f64::from(10 + round)), ("lost_connections", 1.0)];
            line(&case(build, socket, FEW), round, &found)
        };
        let all = [(Build::Threads, 1.0), (Build::Prefork, 1.0 / forked), (Build::Loop, 1.0 / looped)];
        (0..6)
            .flat_map(|round| [Socket::Unix, Socket::Tcp].map(|socket| (round, socket)))
            .flat_map(|(round, socket)| all.map(|(build, rate)| of(round, build, socket, 1000.0 * rate)))
            .collect()
    }

    #[test]
    fn the_verdict_follows_the_thresholds() {
        let verdict = |forked, looped| judge(&record(forked, looped)).verdict;
        assert_eq!(verdict(1.11, 1.0), Verdict::Holds);
        assert_eq!(verdict(1.09, 1.0), Verdict::NotFoundHere);
        assert_eq!(verdict(1.0, 1.09), Verdict::NotFoundHere);
        assert!(matches!(verdict(1.0, 1.11), Verdict::HoldsOnlyIf(_)));
        assert_eq!(verdict(0.92, 1.0), Verdict::NotFoundHere);
        assert_eq!(verdict(0.90, 1.0), Verdict::Contradicted);
        assert!(matches!(judge(&Record::default()).verdict, Verdict::NotTested(_)));
    }

    #[test]
    fn the_rate_in_time_lies_between_the_steps() {
        assert_eq!(prompt_rate(&[(10.0, 1e5), (20.0, 2e5)]), 20.0, "all in time");
        assert_eq!(prompt_rate(&[(10.0, 2e6), (20.0, 2e7)]), 5.0, "none in time");
        assert_eq!(prompt_rate(&[(10.0, 2e6), (20.0, 2e5)]), 20.0, "the first was disturbed");
        assert!((prompt_rate(&[(10.0, 1e5), (20.0, 1e7), (30.0, 1e8)]) - 15.0).abs() < 1e-9);
    }
}

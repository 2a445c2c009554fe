//! Threads bring bottlenecks, lost updates and deadlocks.
//!
//! **Question.** Are these troubles of threads, or of memory that several parties write?
//!
//! **Method.** Every trouble is provoked twice, between threads and between forked processes on one shared mapping, by the
//! same code. *Contention*: one to eight workers add to one atomic counter, to a counter behind a futex mutex or a spin
//! lock, or each to a counter in a line of its own. *False sharing*: two workers add to words 0 to 256 bytes apart. *Lost
//! updates*: two workers add to one word by a load and a store, then by one atomic addition. *Deadlock*: two workers begin
//! together, take one lock each, compute for a moment and take the other's; a watchdog looks for "each holds what the
//! other wants", counts it, and makes one worker give up. The control takes both locks in one order. Every access is
//! atomic, so no program here has undefined behaviour: `Relaxed` loads and stores lose updates quite legally.
//!
//! Scalability is Gunther's law, X(n) / X(1) = n / (1 + s (n - 1) + k n (n - 1)), with the shares *s* (waiting for each
//! other) and *k* (talking to each other) by least squares on X(1) n / X(n) - 1; counts above the number of CPUs say
//! nothing about the code and are left out, and below two counts the law is not fitted.
//!
//! **Caveat.** Workers beyond the CPUs wait for CPUs, not for each other. Two virtual CPUs may be two threads of one core,
//! whose counters share a cache: false sharing is then small.
//!
//! Sources: Gunther, "A General Theory of Computational Scalability Based on Rational Functions", 2008; Coffman, Elphick
//! and Shoshani, "System Deadlocks", 1971; Drepper, "Futexes Are Tricky".

use super::{Cell, Claim, Finding, Record, Setting, Unit, Values, Verdict, values};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::stats::Estimate;
use crate::plan::Parties;
use crate::report::picture::{Axis, Picture};
use crate::shm::board::{Board, WORKERS};
use crate::shm::futex::Scope;
use crate::shm::region::View;
use crate::sys::{clock, cpu, map, process};
use serde::{Deserialize, Serialize};
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "synchronisation",
    taught: "threads bring problems of synchronisation: bottlenecks, lost updates, deadlocks",
    hypothesis: "two threads on one counter do at most 0.8 times the additions of two with counters of their own, lose an \
                 update by load and store and none by atomic additions, and deadlock at least once on crossed locks and never \
                 on ordered ones; it holds only if memory is shared, should processes on shared memory show the same",
    misleads: "workers beyond the CPUs wait for CPUs; two virtual CPUs may be one core with one cache; the deadlock rate is \
               that of workers that begin together",
    cells,
    measure,
    judge,
    plants: &["lost", "deadlock"],
    picture: Some(picture),
};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct With {
    parties: Parties,
    cpus: Vec<usize>,
    trouble: Trouble,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Trouble {
    Contention { counter: Counter, workers: Vec<usize> },
    FalseSharing,
    LostUpdates,
    Deadlock,
}

/// What workers add to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Counter {
    Atomic,
    Mutex,
    Spin,
    Sharded,
}

const COUNTERS: [(Counter, &str); 4] = [
    (Counter::Atomic, "one atomic counter"),
    (Counter::Mutex, "one counter behind a mutex"),
    (Counter::Spin, "one counter behind a spin lock"),
    (Counter::Sharded, "a counter for each worker"),
];
const FALSE_SHARING: &str = "false sharing";
const LOST_UPDATES: &str = "lost updates";
const DEADLOCK: &str = "deadlock";
const BOTH: [Parties; 2] = [Parties::Thread, Parties::Process];

fn case(what: &str, parties: Parties) -> String {
    format!("{what}, {parties}")
}

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    super::lab::one_cpu(setting)?;
    let workers: &[usize] = if setting.full { &[1, 2, 3, 4, 6, 8] } else { &[1, 2, 4, 8] };
    let mut cells = Vec::new();
    for parties in BOTH {
        let mut cell = |what, trouble| {
            cells.push(Cell::new(&CLAIM, case(what, parties), &With { parties, cpus: setting.cpus.clone(), trouble }));
        };
        for (counter, name) in COUNTERS {
            cell(name, Trouble::Contention { counter, workers: workers.to_vec() });
        }
        cell(FALSE_SHARING, Trouble::FalseSharing);
        cell(LOST_UPDATES, Trouble::LostUpdates);
        cell(DEADLOCK, Trouble::Deadlock);
    }
    let again = cells[0].again();
    cells.push(again);
    Ok(cells)
}

fn measure(cell: &Cell) -> Result<Values> {
    let With { parties, cpus, trouble } = cell.with()?;
    let cannot = "cannot map shared memory";
    let region = Arc::new(map::anonymous_shared(Board::LEN).context(Phase::Setup, cannot)?);
    let crew = Crew { parties, cpus, board: Board::lay(&region) };
    let window = cell.millis * 1_000_000;
    match trouble {
        Trouble::Contention { counter, workers } => contention(&crew, counter, &workers, window),
        Trouble::FalseSharing => false_sharing(&crew, window),
        Trouble::LostUpdates => lost_updates(&crew, window, cell.planted("lost")),
        Trouble::Deadlock => deadlock(&crew, window, cell.planted("deadlock")),
    }
}

// ------------------------------------------------------------------------------------------------------- the workers

/// Workers of one kind, each pinned to the next of the CPUs.
struct Crew {
    parties: Parties,
    cpus: Vec<usize>,
    board: View<Board>,
}

/// How long the leader waits for workers to stand at the start line.
const PATIENCE_NS: u64 = 10_000_000_000;

impl Crew {
    fn scope(&self) -> Scope {
        if self.parties == Parties::Process { Scope::Shared } else { Scope::Private }
    }

    /// Runs `n` workers that begin together and end by themselves, and `lead` beside them; what each worker returned.
    /// A worker is given its number and the time of the start.
    fn run(&self, n: usize, work: impl Fn(usize, u64) -> u64 + Sync, lead: impl FnOnce()) -> Result<Vec<u64>> {
        let board = &*self.board;
        board.wipe();
        let body = |index: usize| -> bool {
            let placed = cpu::pin(self.cpus[index % self.cpus.len()]).is_ok();
            board.ready.0.fetch_add(1, Ordering::AcqRel);
            board.reports[index].0.store(work(index, start(board)), Ordering::Release);
            placed
        };
        let lead = || {
            let limit = clock::now() + PATIENCE_NS;
            while board.ready.0.load(Ordering::Acquire) < n as u64 && clock::now() < limit {
                std::thread::sleep(Duration::from_micros(50));
            }
            board.go.0.store(clock::now() + 100_000, Ordering::Release);
            lead();
        };
        let placed = match self.parties {
            Parties::Process => {
                let mut children = Vec::new();
                for index in 0..n {
                    let child = process::fork_child(|| u8::from(!body(index)));
                    children.push(child.context(Phase::Start, "cannot start a worker")?);
                }
                lead();
                children.iter_mut().all(|child| child.wait().is_ok())
            }
            _ => std::thread::scope(|scope| {
                let body = &body;
                let workers: Vec<_> = (0..n).map(|index| scope.spawn(move || body(index))).collect();
                lead();
                workers.into_iter().all(|worker| worker.join().unwrap_or(false))
            }),
        };
        if !placed {
            return Err(Error::unsupported("a worker ended early or could not be pinned to its CPU")
                .hint("run it where affinity is permitted"));
        }
        Ok(board.reports[..n].iter().map(|report| report.0.load(Ordering::Acquire)).collect())
    }

    /// As [`run`](Self::run), with a leader that only waits.
    fn alone(&self, n: usize, work: impl Fn(usize, u64) -> u64 + Sync) -> Result<Vec<u64>> {
        self.run(n, work, || ())
    }
}

/// Waits until the leader has said when to start, and until then.
fn start(board: &Board) -> u64 {
    loop {
        match board.go.0.load(Ordering::Acquire) {
            0 => std::thread::sleep(Duration::from_micros(20)),
            go if clock::now() >= go => return go,
            _ => spin_loop(),
        }
    }
}

/// Operations between two looks at the clock, which costs as much as some of them.
const BATCH: u64 = 64;

/// Repeats `op` until the end; how often it was done. An `op` that is false was not done because the end came.
#[inline(always)]
fn until(end: u64, mut op: impl FnMut() -> bool) -> u64 {
    let mut done = 0;
    while clock::now() < end {
        for _ in 0..BATCH {
            if !op() {
                return done;
            }
            done += 1;
        }
    }
    done
}

// ------------------------------------------------------------------------------------------------------- contention

/// The words of the board that the counters use: the counter itself and the spin lock, 128 bytes apart.
const COUNTER: usize = 0;
const SPIN_LOCK: usize = 16;

/// Adds one by one access; always done.
#[inline(always)]
fn add_in_one_step(word: &AtomicU64) -> bool {
    word.fetch_add(1, Ordering::Relaxed);
    true
}

/// Adds one by two accesses: right under a lock only. Always done.
#[inline(always)]
fn add_in_two_steps(word: &AtomicU64) -> bool {
    // Relaxed: whoever needs an order gets it from the lock around it.
    word.store(word.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    true
}

/// Spins until the lock is free; false when the end came first.
#[inline(always)]
fn spin_for(lock: &AtomicU64, end: u64) -> bool {
    // Acquire: pairs with the release that frees it.
    while lock.swap(1, Ordering::Acquire) != 0 {
        let mut looks = 0_u32;
        // Only reading, so that the line stays shared among those who wait.
        while lock.load(Ordering::Relaxed) != 0 {
            spin_loop();
            looks += 1;
            if looks.is_multiple_of(1024) && clock::now() >= end {
                return false;
            }
        }
    }
    true
}

fn add(board: &Board, counter: Counter, index: usize, scope: Scope, end: u64) -> u64 {
    let word = &board.words[COUNTER];
    match counter {
        Counter::Atomic => until(end, || add_in_one_step(word)),
        Counter::Sharded => {
            let own = &board.own[index].0;
            until(end, || add_in_one_step(own))
        }
        Counter::Mutex => {
            let lock = &board.locks[0];
            let rest = || Duration::from_nanos(end.saturating_sub(clock::now()));
            until(end, || {
                (lock.try_lock() || lock.lock_within(scope, rest())) && {
                    add_in_two_steps(word);
                    lock.unlock(scope);
                    true
                }
            })
        }
        Counter::Spin => {
            let lock = &board.words[SPIN_LOCK];
            until(end, || {
                spin_for(lock, end) && {
                    add_in_two_steps(word);
                    lock.store(0, Ordering::Release);
                    true
                }
            })
        }
    }
}

/// Additions per second by count of workers, and the law that fits them.
fn contention(crew: &Crew, counter: Counter, workers: &[usize], window: u64) -> Result<Values> {
    let (board, scope, each) = (&*crew.board, crew.scope(), window / workers.len() as u64);
    let mut found = Values::new();
    let mut points = Vec::new();
    for &n in workers.iter().filter(|n| **n <= WORKERS) {
        let added: u64 = crew.alone(n, |index, start| add(board, counter, index, scope, start + each))?.iter().sum();
        let counted: u64 = match counter {
            Counter::Sharded => board.own.iter().map(|own| own.0.load(Ordering::Acquire)).sum(),
            _ => board.words[COUNTER].load(Ordering::Acquire),
        };
        if counted != added {
            return Err(Error::invalid(format!("{added} additions were made and {counted} counted")));
        }
        let rate = added as f64 * 1e9 / each as f64;
        found.insert(format!("ops_per_s_{n}"), rate);
        points.push((n as f64, rate));
    }
    points.retain(|(n, _)| *n <= crew.cpus.len() as f64);
    if let Some((waiting, talking)) = fit(&points) {
        found.insert("waiting_share".into(), waiting);
        found.insert("talking_share".into(), talking);
    }
    Ok(found)
}

/// The two shares of Gunther's law by least squares on X(1) n / X(n) - 1 = s (n - 1) + k n (n - 1); `None` with fewer than
/// two counts above one, or without one worker alone.
fn fit(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let alone = points.iter().find(|(n, _)| *n == 1.0)?.1;
    let above: Vec<_> = points.iter().filter(|(n, rate)| *n > 1.0 && *rate > 0.0).collect();
    if above.len() < 2 {
        return None;
    }
    // The normal equations of two columns.
    let (mut aa, mut ab, mut bb, mut ay, mut by) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (n, rate) in above {
        let (a, b, y) = (n - 1.0, n * (n - 1.0), alone * n / rate - 1.0);
        aa += a * a;
        ab += a * b;
        bb += b * b;
        ay += a * y;
        by += b * y;
    }
    let determinant = aa * bb - ab * ab;
    (determinant > 0.0).then(|| ((bb * ay - ab * by) / determinant, (aa * by - ab * ay) / determinant))
}

// ---------------------------------------------------------------------------------------------------- false sharing

/// Bytes between the two words.
const DISTANCES: [usize; 7] = [0, 8, 16, 32, 64, 128, 256];
const FARTHEST: usize = 256;

fn at_distance(bytes: usize) -> String {
    format!("share_of_farthest_{bytes}")
}

/// Additions of two workers by distance of their words, as a share of those at the largest distance.
fn false_sharing(crew: &Crew, window: u64) -> Result<Values> {
    if crew.cpus.len() < 2 {
        return Err(Error::unsupported("false sharing needs two CPUs").hint("allow the program a second CPU"));
    }
    let (board, each) = (&*crew.board, window / DISTANCES.len() as u64);
    let mut rates = Vec::new();
    for distance in DISTANCES {
        let added = crew.alone(2, |index, start| {
            let word = &board.words[index * distance / size_of::<u64>()];
            until(start + each, || add_in_one_step(word))
        })?;
        rates.push((distance, added.iter().sum::<u64>() as f64));
    }
    let farthest = rates.iter().find(|(distance, _)| *distance == FARTHEST).map_or(f64::NAN, |(_, rate)| *rate);
    Ok(rates.into_iter().map(|(distance, rate)| (at_distance(distance), rate / farthest)).collect())
}

// ---------------------------------------------------------------------------------------------------- lost updates

/// Updates made and lost by two workers, by load and store and by atomic additions.
fn lost_updates(crew: &Crew, window: u64, planted: bool) -> Result<Values> {
    let word = &crew.board.words[COUNTER];
    let lost = |atomic: bool| -> Result<[f64; 2]> {
        let made = crew.alone(2, |_, start| {
            let end = start + window / 2;
            match (atomic, planted) {
                (true, false) => until(end, || add_in_one_step(word)),
                (true, true) => until(end, || {
                    let seen = word.load(Ordering::Relaxed);
                    // Lets the other worker in between, also on one CPU.
                    std::thread::yield_now();
                    word.store(seen + 1, Ordering::Relaxed);
                    true
                }),
                (false, _) => until(end, || add_in_two_steps(word)),
            }
        })?;
        let made: u64 = made.iter().sum();
        Ok([made as f64, made.saturating_sub(word.load(Ordering::Acquire)) as f64])
    };
    let ([made, gone], [atomic_made, atomic_gone]) = (lost(false)?, lost(true)?);
    Ok(values([
        ("updates", made),
        ("lost", gone),
        ("lost_share", gone / made.max(1.0)),
        ("atomic_updates", atomic_made),
        ("atomic_lost", atomic_gone),
    ]))
}

// ---------------------------------------------------------------------------------------------------- deadlock

/// The words of the deadlock trials, 128 bytes apart: which trial is on, how many arrivals and ends there were, which trial
/// the watchdog broke, and whether it is over.
const TRIAL: usize = 0;
const ARRIVED: usize = 16;
const ENDED: usize = 32;
const BROKEN: usize = 48;
/// What the trial number becomes when it is over.
const OVER: u64 = u64::MAX;
/// A worker that waits longer than this for a lock gives up, whatever the watchdog says.
const NET: Duration = Duration::from_secs(2);
/// A worker that waits looks this often whether it is to give up.
const SLICE: Duration = Duration::from_micros(200);
/// Computing between the two locks, steps of about a nanosecond and more.
const BETWEEN: u32 = 500;
/// Pause of the watchdog between two looks.
const LOOK: Duration = Duration::from_micros(50);

/// Trials, deadlocks, and how long the watchdog took to see each, by crossed and by ordered locks.
fn deadlock(crew: &Crew, window: u64, planted: bool) -> Result<Values> {
    let crossed = trials(crew, window / 2, true, false)?;
    let ordered = trials(crew, window / 2, planted, planted)?;
    let mut found = values([
        ("crossed_trials", crossed.made as f64),
        ("crossed_deadlocks", crossed.deadlocks as f64),
        ("crossed_share", crossed.deadlocks as f64 / crossed.made.max(1) as f64),
        ("ordered_trials", ordered.made as f64),
        ("ordered_deadlocks", ordered.deadlocks as f64),
    ]);
    if crossed.deadlocks > 0 {
        found.insert("seen_after_ns".into(), crossed.waited_ns as f64 / crossed.deadlocks as f64);
    }
    Ok(found)
}

#[derive(Default)]
struct Trials {
    made: u64,
    deadlocks: u64,
    /// From when each deadlock was inevitable until it was seen, in sum.
    waited_ns: u64,
}

/// Two workers that take both locks, again and again, watched by the leader. With `meet`, each waits until the other holds
/// its first lock, which makes a deadlock certain if they differ.
fn trials(crew: &Crew, window: u64, crossed: bool, meet: bool) -> Result<Trials> {
    let (board, scope, mut found) = (&*crew.board, crew.scope(), Trials::default());
    let watchdog = || {
        let end = clock::now() + window;
        while clock::now() < end {
            found.made += 1;
            watch(board, &mut found);
        }
        board.words[TRIAL].store(OVER, Ordering::Release);
    };
    let gave_up = crew.run(2, |index, _| work_in_trials(board, scope, index, crossed, meet), watchdog)?;
    match gave_up.iter().sum::<u64>() {
        0 => Ok(found),
        n => Err(Error::invalid(format!("{n} deadlocks were not seen by the watchdog"))),
    }
}

/// Begins the next trial and watches it to its end.
///
/// Each worker writes the trial's number into its own word once it holds its first lock, and takes it back before it gives
/// any lock back. If both words hold the number, and the first one still does on a second look, both held their first
/// locks at the same time: had one of them been through before, the other could have its first lock only after the word
/// was taken back. Each then wants what the other holds, and neither can go on.
fn watch(board: &Board, found: &mut Trials) {
    let trial = found.made;
    board.words[TRIAL].store(trial, Ordering::Release);
    let holds = |worker: usize| board.own[worker].0.load(Ordering::Acquire) == trial;
    while board.words[ENDED].load(Ordering::Acquire) < 2 * trial {
        let both = holds(0) && holds(1) && holds(0);
        if both && board.words[BROKEN].load(Ordering::Relaxed) != trial {
            let since = [2, 3].map(|place: usize| board.own[place].0.load(Ordering::Relaxed));
            found.deadlocks += 1;
            found.waited_ns += clock::now().saturating_sub(since[0].max(since[1]));
            board.words[BROKEN].store(trial, Ordering::Release);
        }
        std::thread::sleep(LOOK);
    }
}

/// One worker's trials; how often it gave up without being told to.
fn work_in_trials(board: &Board, scope: Scope, index: usize, crossed: bool, meet: bool) -> u64 {
    let [first, second] = if crossed && index == 1 { [1, 0] } else { [0, 1] }.map(|lock| &board.locks[lock]);
    let holds = &board.own[index].0;
    let (mut last, mut gave_up) = (0, 0);
    loop {
        let trial = await_until(|| Some(board.words[TRIAL].load(Ordering::Acquire)).filter(|trial| *trial != last));
        if trial == OVER {
            return gave_up;
        }
        last = trial;
        board.words[ARRIVED].fetch_add(1, Ordering::AcqRel);
        await_until(|| (board.words[ARRIVED].load(Ordering::Acquire) >= 2 * trial).then_some(()));
        if first.lock_within(scope, NET) {
            board.own[2 + index].0.store(clock::now(), Ordering::Relaxed);
            holds.store(trial, Ordering::Release);
            (0..BETWEEN).for_each(|_| spin_loop());
            let broken = || board.words[BROKEN].load(Ordering::Acquire) == trial;
            if meet {
                // A worker that looks late finds the trial broken already, and the other one gone.
                let met = || board.own[1 - index].0.load(Ordering::Acquire) == trial || broken();
                await_until(|| met().then_some(()));
            }
            let told = || index == 1 && broken();
            let limit = clock::now() + NET.as_nanos() as u64;
            let got = loop {
                if second.lock_within(scope, SLICE) {
                    break true;
                }
                if told() || clock::now() >= limit {
                    break false;
                }
            };
            gave_up += u64::from(!got && !told());
            holds.store(0, Ordering::Release);
            if got {
                second.unlock(scope);
            }
            first.unlock(scope);
        } else {
            gave_up += 1;
        }
        board.words[ENDED].fetch_add(1, Ordering::AcqRel);
    }
}

/// Looks until there is something, at first without and then with letting others run.
fn await_until<R>(mut look: impl FnMut() -> Option<R>) -> R {
    let mut looks = 0_u32;
    loop {
        if let Some(found) = look() {
            return found;
        }
        looks = looks.saturating_add(1);
        if looks < 200 { spin_loop() } else { std::thread::yield_now() }
    }
}

// ------------------------------------------------------------------------------------------------------- the verdict

/// The largest share of the additions with counters of their own that still is a bottleneck.
const BOTTLENECK: f64 = 0.8;
/// Workers at which bottlenecks are judged.
const PAIR: &str = "ops_per_s_2";

/// Whether a trouble was seen, as far as it was looked for.
type Seen = Option<bool>;

fn bottleneck(record: &Record, parties: Parties) -> Option<Estimate> {
    let [shared, .., sharded] = COUNTERS.map(|(_, name)| case(name, parties));
    record.ratio(&shared, &sharded, PAIR)
}

fn troubles(record: &Record, parties: Parties) -> [(&'static str, Seen); 3] {
    let narrow = bottleneck(record, parties).and_then(|ratio| ratio.interval).map(|(_, high)| high <= BOTTLENECK);
    let any = |what: &str, quantity, of| {
        let case = case(what, parties);
        (record.total(&case, of) > 0.0).then(|| record.total(&case, quantity) > 0.0)
    };
    [
        ("a bottleneck", narrow),
        ("lost updates", any(LOST_UPDATES, "lost", "updates")),
        ("deadlocks", any(DEADLOCK, "crossed_deadlocks", "crossed_trials")),
    ]
}

/// What the remedies let through, in words.
fn failed_remedies(record: &Record) -> Vec<String> {
    let over = |what, quantity| BOTH.iter().map(|parties| record.total(&case(what, *parties), quantity)).sum::<f64>();
    let (lost, stuck) = (over(LOST_UPDATES, "atomic_lost"), over(DEADLOCK, "ordered_deadlocks"));
    let failed = [(lost, "updates by atomic additions were lost"), (stuck, "deadlocks on ordered locks were seen")];
    failed.into_iter().filter(|(n, _)| *n > 0.0).map(|(n, what)| format!("{n:.0} {what}")).collect()
}

fn names(troubles: &[&'static str]) -> String {
    if troubles.is_empty() { "none of the troubles".into() } else { troubles.join(", ") }
}

fn judge(record: &Record) -> Finding {
    let [threads, processes] = BOTH.map(|parties| troubles(record, parties));
    let seen = |of: &[(&'static str, Seen); 3]| -> Vec<&'static str> {
        of.iter().filter(|(_, seen)| *seen == Some(true)).map(|(name, _)| *name).collect()
    };
    let tested = |of: &[(&'static str, Seen); 3]| of.iter().all(|(_, seen)| seen.is_some());
    let (by_threads, by_processes) = (seen(&threads), seen(&processes));
    let remedies = failed_remedies(record);
    let verdict = if !remedies.is_empty() {
        Verdict::NotTested(format!("a remedy failed: {}", remedies.join(", ")))
    } else if by_threads.is_empty() {
        if tested(&threads) { Verdict::Contradicted } else { Verdict::NotFoundHere }
    } else if by_threads.iter().all(|trouble| by_processes.contains(trouble)) {
        Verdict::HoldsOnlyIf("they write the same memory; processes that share memory have the same troubles".into())
    } else if by_processes.is_empty() && tested(&processes) {
        Verdict::Holds
    } else {
        Verdict::NotFoundHere
    };
    let because = format!("seen between threads: {}; between processes: {}", names(&by_threads), names(&by_processes));
    let mut finding = Finding::new(verdict, because);
    for parties in BOTH {
        finding = figures(finding, record, parties);
    }
    let [shared, ..] = COUNTERS.map(|(_, name)| BOTH.map(|parties| case(name, parties)));
    let against = record.ratio(&shared[1], &shared[0], PAIR);
    finding = finding.figure("additions to one atomic counter, 2 processes against 2 threads", against, Unit::Ratio);
    if record.estimate(&shared[0], "waiting_share").is_none() {
        finding =
            finding.remark("the law of scalability needs two counts of workers up to the number of CPUs: not fitted");
    }
    let over = |what, quantity| BOTH.iter().map(|parties| record.total(&case(what, *parties), quantity)).sum::<f64>();
    let (adds, orders) = (over(LOST_UPDATES, "atomic_updates"), over(DEADLOCK, "ordered_trials"));
    if remedies.is_empty() && adds > 0.0 && orders > 0.0 {
        finding = finding.remark(format!(
            "the remedies let nothing through in {adds:.2e} atomic additions and {orders:.0} trials with ordered locks"
        ));
    }
    match record.noise(PAIR) {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

fn figures(mut finding: Finding, record: &Record, parties: Parties) -> Finding {
    let what = format!("additions to one counter against counters of their own, 2 x {parties}");
    finding = finding.figure(what, bottleneck(record, parties), Unit::Ratio);
    for (_, name) in COUNTERS {
        let case = case(name, parties);
        for n in [1, 2, 4, 8] {
            let rate = record.estimate(&case, &format!("ops_per_s_{n}"));
            finding = finding.figure(format!("{name}, {n} x {parties}"), rate, Unit::PerSecond);
        }
        finding = finding
            .figure(format!("share waiting, {case}"), record.estimate(&case, "waiting_share"), Unit::Share)
            .figure(format!("share talking, {case}"), record.estimate(&case, "talking_share"), Unit::Share);
    }
    for distance in DISTANCES.iter().filter(|distance| **distance < FARTHEST) {
        let what = format!("additions to words {distance} B apart against {FARTHEST} B, 2 x {parties}");
        let found = record.estimate(&case(FALSE_SHARING, parties), &at_distance(*distance));
        finding = finding.figure(what, found, Unit::Ratio);
    }
    let (lost, stuck) = (case(LOST_UPDATES, parties), case(DEADLOCK, parties));
    finding
        .figure(format!("{lost} by load and store"), record.estimate(&lost, "lost_share"), Unit::Share)
        .figure(format!("{stuck} on crossed locks, of trials"), record.estimate(&stuck, "crossed_share"), Unit::Share)
        .figure(format!("{stuck}, seen by the watchdog after"), record.estimate(&stuck, "seen_after_ns"), Unit::Ns)
}

fn picture(record: &Record) -> Picture {
    let line = |name: &str, parties: Parties| {
        let case = case(name, parties);
        let point = |n: u32| Some((f64::from(n), record.estimate(&case, &format!("ops_per_s_{n}"))?));
        (case.clone(), (1..=8).filter_map(point).collect::<Vec<_>>())
    };
    let lines = BOTH.iter().flat_map(|parties| COUNTERS.map(|(_, name)| line(name, *parties)));
    Picture {
        title: "Additions of several workers".into(),
        x: Axis { name: "workers", logarithmic: false },
        y: Axis { name: "additions per second", logarithmic: true },
        series: lines.filter(|(_, points)| !points.is_empty()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::line;
    use super::*;

    /// What two workers of a kind did: additions to one counter against counters of their own, lost updates, deadlocks.
    struct Kind {
        relative: f64,
        lost: f64,
        stuck: f64,
    }

    const ALL: Kind = Kind { relative: 0.2, lost: 500.0, stuck: 9.0 };
    const NONE: Kind = Kind { relative: 0.95, lost: 0.0, stuck: 0.0 };

    fn record(threads: &Kind, processes: &Kind, remedies: [f64; 2]) -> Record {
        let kinds = [(Parties::Thread, threads), (Parties::Process, processes)];
        let of = |round: u32| {
            kinds.into_iter().flat_map(move |(parties, kind)| {
                let [shared, .., sharded] = COUNTERS.map(|(_, name)| case(name, parties));
                let pace = f64::from(1 + round);
                [
                    line(&shared, round, &[(PAIR, kind.relative * pace)]),
                    line(&sharded, round, &[(PAIR, pace)]),
                    line(
                        &case(LOST_UPDATES, parties),
                        round,
                        &[("updates", 1e4), ("lost", kind.lost), ("atomic_updates", 1e4), ("atomic_lost", remedies[0])],
                    ),
                    line(
                        &case(DEADLOCK, parties),
                        round,
                        &[
                            ("crossed_trials", 10.0),
                            ("crossed_deadlocks", kind.stuck),
                            ("ordered_trials", 10.0),
                            ("ordered_deadlocks", remedies[1]),
                        ],
                    ),
                ]
            })
        };
        (0..6).flat_map(of).collect()
    }

    fn verdict(threads: &Kind, processes: &Kind) -> Verdict {
        judge(&record(threads, processes, [0.0; 2])).verdict
    }

    #[test]
    fn troubles_of_both_kinds_come_from_the_memory_and_of_one_kind_from_the_threads() {
        assert!(matches!(verdict(&ALL, &ALL), Verdict::HoldsOnlyIf(_)));
        assert_eq!(verdict(&ALL, &NONE), Verdict::Holds);
        assert_eq!(verdict(&NONE, &NONE), Verdict::Contradicted);
        assert_eq!(verdict(&ALL, &Kind { stuck: 0.0, ..ALL }), Verdict::NotFoundHere);
    }

    #[test]
    fn each_threshold_has_two_sides() {
        let seen = |kind: &Kind| troubles(&record(kind, &NONE, [0.0; 2]), Parties::Thread).map(|(_, seen)| seen);
        assert_eq!(seen(&Kind { relative: 0.79, ..NONE }), [Some(true), Some(false), Some(false)]);
        assert_eq!(seen(&Kind { relative: 0.81, ..NONE }), [Some(false); 3]);
        assert_eq!(seen(&Kind { lost: 1.0, ..NONE })[1], Some(true));
        assert_eq!(seen(&Kind { stuck: 1.0, ..NONE })[2], Some(true));
        assert_eq!(troubles(&Record::default(), Parties::Thread).map(|(_, seen)| seen), [None; 3]);
    }

    #[test]
    fn a_remedy_that_lets_one_through_makes_the_test_worthless() {
        for remedies in [[1.0, 0.0], [0.0, 1.0]] {
            let finding = judge(&record(&ALL, &ALL, remedies));
            assert!(matches!(finding.verdict, Verdict::NotTested(_)), "{:?}", finding.verdict);
        }
    }

    #[test]
    fn the_law_is_recovered_from_what_it_says_and_not_fitted_to_less() {
        let of = |n: f64| (n, 5e6 * n / (1.0 + 0.07 * (n - 1.0) + 0.01 * n * (n - 1.0)));
        let (waiting, talking) = fit(&[1.0, 2.0, 4.0, 8.0].map(of)).unwrap();
        assert!((waiting - 0.07).abs() < 1e-9 && (talking - 0.01).abs() < 1e-9);
        assert_eq!(fit(&[1.0, 2.0].map(of)), None);
        assert_eq!(fit(&[2.0, 4.0, 8.0].map(of)), None);
    }
}

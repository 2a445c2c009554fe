//! When one process dies the others live; one thread's fault kills all.
//!
//! **Question.** Whom does a fault take along, who notices it and how soon, and what becomes of locks and messages?
//!
//! **Method.** Faults are injected into one of three workers, threads of one process or forked processes, while it is idle,
//! holds a lock, or has written half of a message. The unit that suffers is a forked group; the observer is outside, in
//! the launched process. The victim writes down the time and comes to harm. The observer notes when the victim's process
//! descriptor, SIGCHLD, the end of a pipe and a heartbeat that stopped told it, then asks each of the others for a sign of
//! life, which in the cells with a lock includes taking that lock, and reads what the victim had sent. At last it starts
//! a worker (for threads: a group) in place of what died. A lock that was given back by its holder's unwinding is
//! free; who waits for any other looks who holds it, and is called blocked only when that is the victim.
//!
//! **Caveat.** Zero of *n* injections means at most 3/*n* at 95 % confidence (rule of three), for these faults, at these
//! moments. The heartbeat's time is its limit, which is a choice.
//!
//! Sources: Hanley and Lippman-Hand, "If Nothing Goes Wrong, Is Everything All Right?", JAMA 1983; pidfd_open(2),
//! signalfd(2), pipe(7), robust futexes in set_robust_list(2).

use super::{Cell, Claim, Finding, Record, Setting, Unit, Values, Verdict, values};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::stats::Estimate;
use crate::plan::{Parties, Touch, Wait};
use crate::shm::board::Board;
use crate::shm::futex::Scope;
use crate::shm::region::{self, RingRx, RingTx, View};
use crate::shm::ring::Manner;
use crate::sys::harm::{self, Fault};
use crate::sys::process::{self, Child, ChildSignals};
use crate::sys::robust::{RobustLock, Taken};
use crate::sys::{clock, fd, map};
use crate::workload::payload::{Payload, Way};
use serde::{Deserialize, Serialize};
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "isolation",
    taught: "when one process dies the others live; one thread's fault kills all threads",
    hypothesis: "in every cell of processes at most 3 % of the injections take another worker along or leave it blocked, in \
                 every cell of threads at least 97 % take all along; cells that are otherwise are conditions of the claim, \
                 and it is contradicted if processes die along or no fault of a thread kills the others",
    misleads: "zero of n means at most 3/n at 95 %; faults come at chosen moments; a heartbeat is as slow as its limit, and a \
               loaded machine makes it raise false alarms",
    cells,
    measure,
    judge,
    plants: &["take-along", "unwind"],
    picture: None,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct With {
    parties: Parties,
    /// None is the control.
    fault: Option<Fault>,
    moment: Moment,
}

impl With {
    /// Where a futex of the workers may sleep.
    fn scope(&self) -> Scope {
        if self.parties == Parties::Process { Scope::Shared } else { Scope::Private }
    }
}

/// What the victim does when it comes to harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Moment {
    Idle,
    Lock,
    RobustLock,
    Message,
}

impl Moment {
    const ALL: [Moment; 4] = [Moment::Idle, Moment::Lock, Moment::RobustLock, Moment::Message];

    fn words(self) -> &'static str {
        match self {
            Moment::Idle => "idle",
            Moment::Lock => "holding a lock",
            Moment::RobustLock => "holding a robust lock",
            Moment::Message => "in mid-message",
        }
    }
}

/// What a launch is to do.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    with: With,
    /// Least injections.
    fewest: usize,
}

/// Least injections of a launch, quick and full: over the six rounds that there are at least, 24 and 102.
const FEWEST: [usize; 2] = [4, 17];
/// Most injections of a launch.
const MOST: usize = 100;

const BOTH: [Parties; 2] = [Parties::Thread, Parties::Process];

fn case(With { parties, fault, moment }: With) -> String {
    format!("{}, {parties}, {}", fault.map_or("no fault", Fault::word), moment.words())
}

/// Every combination. A robust lock tells nothing new where the whole group dies.
fn all() -> Vec<With> {
    let mut all = Vec::new();
    for parties in BOTH {
        all.push(With { parties, fault: None, moment: Moment::Idle });
        for fault in Fault::ALL {
            let fits = |moment: &Moment| parties == Parties::Process || *moment != Moment::RobustLock;
            let of = |moment| With { parties, fault: Some(fault), moment };
            all.extend(Moment::ALL.into_iter().filter(fits).map(of));
        }
    }
    all
}

/// What a quick pass looks at: every fault of an idle victim, and of a busy one the mildest and the hardest.
fn is_quick(with: &With) -> bool {
    match with.moment {
        Moment::Idle => true,
        Moment::Lock | Moment::Message => matches!(with.fault, Some(Fault::Panic | Fault::Kill)),
        Moment::RobustLock => with.fault == Some(Fault::Kill),
    }
}

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    let fewest = FEWEST[usize::from(setting.full)];
    let chosen = all().into_iter().filter(|with| setting.full || is_quick(with));
    let mut cells: Vec<Cell> = chosen.map(|with| Cell::new(&CLAIM, case(with), &Order { with, fewest })).collect();
    let killed = case(With { parties: Parties::Process, fault: Some(Fault::Kill), moment: Moment::Idle });
    let again: Vec<Cell> = cells.iter().filter(|cell| cell.case == killed).map(Cell::again).collect();
    cells.extend(again);
    Ok(cells)
}

// ------------------------------------------------------------------------------------------------------- the workers

/// Workers besides the victim, which is number 0.
const OTHERS: usize = 2;
/// Pause of an idle worker between two heartbeats.
const BEAT: Duration = Duration::from_micros(200);
/// How long a worker waits for a lock before it looks who holds it.
const LOOK: Duration = Duration::from_millis(20);
/// What a healthy worker, descriptor or lock takes on any machine.
const SOON: Duration = Duration::from_secs(5);
/// Messages that the victim sends before the one in whose middle it comes to harm.
const MESSAGES: u64 = 8;
const SHAPE: (usize, usize) = (64, 1024);

/// Words of the board, in lines of their own: time to come to harm; when it came; a call for a sign of life; who holds the
/// lock; that somebody waits for the robust lock; when it was handed on; messages that the victim committed.
const GO: usize = 0;
const HARMED: usize = 16;
const CALL: usize = 32;
const HOLDER: usize = 48;
/// The same in the lines of workers that are not there.
const WAITING: usize = 8;
const HANDED_ON: usize = 9;
const COMMITTED: usize = 10;

/// The victim's mark in [`HOLDER`].
const VICTIM: u64 = 1;
/// Answers to a call.
const WELL: u64 = 1;
const BLOCKED: u64 = 2;

/// What the workers of one injection share.
struct Scene {
    with: With,
    board: View<Board>,
    robust: RobustLock,
    /// Both ends, each until its party takes it.
    ends: Mutex<(Option<RingTx>, Option<RingRx>)>,
}

impl Scene {
    fn new(with: With) -> Result<Self> {
        let cannot = "cannot map shared memory";
        let region = Arc::new(map::anonymous_shared(Board::LEN).context(Phase::Setup, cannot)?);
        let robust = RobustLock::new().context(Phase::Setup, "cannot make a robust lock")?;
        // Nobody ever waits there: there is room for all messages, and they are read when the victim has come to harm.
        let manner = Manner { wait: Wait::Spin, berth: with.scope() };
        let (tx, rx) = region::ends(SHAPE.0, SHAPE.1, manner).context(Phase::Setup, cannot)?;
        Ok(Self { with, board: Board::lay(&region), robust, ends: Mutex::new((Some(tx), Some(rx))) })
    }

    fn ends(&self) -> MutexGuard<'_, (Option<RingTx>, Option<RingRx>)> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn word(&self, place: usize) -> &AtomicU64 {
        &self.board.words[place]
    }

    fn beat(&self, worker: usize) {
        self.board.own[worker].0.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(BEAT);
    }

    /// Writes down the time and comes to harm; without a fault, goes on beating for ever.
    fn harm(&self) {
        self.word(HARMED).store(clock::now(), Ordering::Release);
        match self.with.fault {
            Some(fault) => harm::come_to(fault),
            None => loop {
                self.beat(0);
            },
        }
    }

    /// The victim's life. It owns the writing end of a pipe that nobody else has.
    fn suffer(&self, _pipe: PipeWriter) {
        let Some(mut tx) = self.ends().0.take() else { return };
        let payload = Payload::new(Touch::Whole);
        if self.with.moment == Moment::Message {
            for seq in 0..MESSAGES {
                let _ = tx.send_with(|| false, |message| payload.fill(Way::Out, seq, message));
                self.board.own[COMMITTED].0.store(seq + 1, Ordering::Release);
            }
        }
        while self.word(GO).load(Ordering::Acquire) == 0 {
            self.beat(0);
        }
        match self.with.moment {
            Moment::Idle => self.harm(),
            Moment::Message => {
                let _ = tx.send_with(
                    || false,
                    |message| {
                        let half = message.len() / 2;
                        payload.fill(Way::Out, MESSAGES, &mut message[..half]);
                        self.harm();
                    },
                );
            }
            Moment::Lock => {
                let _held = Held::take(self);
                self.harm();
            }
            Moment::RobustLock => {
                let _held = Held::take(self);
                // Until somebody waits for it, and surely sleeps.
                while self.board.own[WAITING].0.load(Ordering::Acquire) == 0 {
                    self.beat(0);
                }
                (0..5).for_each(|_| self.beat(0));
                self.harm();
            }
        }
    }

    /// The life of another worker: beats, and gives a sign of life when it is called.
    fn live(&self, me: usize) {
        let mut heard = 0;
        loop {
            self.beat(me);
            let waits = self.with.moment == Moment::RobustLock && me == 1 && heard == 0;
            if waits && self.word(HOLDER).load(Ordering::Acquire) == VICTIM {
                self.board.own[WAITING].0.store(1, Ordering::Release);
                if self.robust.lock_within(SOON).is_ok_and(|taken| taken == Taken::OfTheDead) {
                    self.board.own[HANDED_ON].0.store(clock::now(), Ordering::Release);
                    self.word(HOLDER).store(0, Ordering::Release);
                }
                self.robust.unlock();
                heard = u64::MAX;
            }
            let call = self.word(CALL).load(Ordering::Acquire);
            if call != 0 && self.board.reports[me].0.load(Ordering::Relaxed) == 0 {
                let answer = if self.works() { WELL } else { BLOCKED };
                self.board.reports[me].0.store(answer, Ordering::Release);
            }
        }
    }

    /// Whether a worker can take the lock that it needs for its work. It cannot when the victim holds it for ever.
    fn works(&self) -> bool {
        let limit = clock::now() + SOON.as_nanos() as u64;
        let held_by_the_victim = || self.word(HOLDER).load(Ordering::Acquire) == VICTIM;
        match self.with.moment {
            Moment::Idle | Moment::Message => true,
            Moment::Lock => loop {
                if self.board.locks[0].lock_within(self.with.scope(), LOOK) {
                    self.board.locks[0].unlock(self.with.scope());
                    return true;
                }
                if held_by_the_victim() || clock::now() > limit {
                    return false;
                }
            },
            Moment::RobustLock => {
                let taken = self.robust.lock_within(SOON).is_ok();
                self.robust.unlock();
                taken
            }
        }
    }
}

/// The victim's hold on its lock, which unwinding gives back and nothing else does.
struct Held<'a>(&'a Scene);

impl<'a> Held<'a> {
    fn take(scene: &'a Scene) -> Self {
        match scene.with.moment {
            Moment::RobustLock => drop(scene.robust.lock_within(SOON)),
            _ => drop(scene.board.locks[0].lock_within(scene.with.scope(), SOON)),
        }
        scene.word(HOLDER).store(VICTIM, Ordering::Release);
        Self(scene)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let scene = self.0;
        scene.word(HOLDER).store(0, Ordering::Release);
        match scene.with.moment {
            Moment::RobustLock => scene.robust.unlock(),
            _ => scene.board.locks[0].unlock(scene.with.scope()),
        }
    }
}

/// A forked group.
struct Group {
    /// The victim's process: of threads, everybody's.
    victim: Child,
    others: Vec<Child>,
    eof: PipeReader,
}

/// Starts the victim's process: of threads, with all workers.
fn start_victim(scene: &Scene) -> Result<(Child, PipeReader)> {
    let (reader, writer) = std::io::pipe().context(Phase::Setup, "cannot make a pipe")?;
    let child = process::fork_child(move || {
        harm::leave_no_core();
        match scene.with.parties {
            Parties::Process => scene.suffer(writer),
            _ => std::thread::scope(|scope| {
                let victim = scope.spawn(move || scene.suffer(writer));
                (1..=OTHERS).for_each(|me| drop(scope.spawn(move || scene.live(me))));
                drop(victim.join());
            }),
        }
        0
    });
    Ok((child.context(Phase::Start, "cannot fork the victim")?, reader))
}

fn start_group(scene: &Scene) -> Result<Group> {
    let mut others = Vec::new();
    if scene.with.parties == Parties::Process {
        for me in 1..=OTHERS {
            let child = process::fork_child(|| {
                harm::leave_no_core();
                scene.live(me);
                0
            });
            others.push(child.context(Phase::Start, "cannot fork a worker")?);
        }
    }
    // Last, so that nobody else has the writing end of its pipe.
    let (victim, eof) = start_victim(scene)?;
    let group = Group { victim, others, eof };
    await_beats(scene, &[0; 1 + OTHERS])?;
    Ok(group)
}

/// Waits until the heart of each worker has beaten more often than this.
fn await_beats(scene: &Scene, than: &[u64]) -> Result<()> {
    let limit = clock::now() + SOON.as_nanos() as u64;
    let beats = || than.iter().zip(&scene.board.own).all(|(than, own)| own.0.load(Ordering::Relaxed) > *than);
    while !beats() {
        if clock::now() > limit {
            return Err(Error::timeout(Phase::Start, "a worker did not start"));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------------------ the observer

/// A heart that stands still for so long counts as dead, ns.
const HEARTBEAT_NS: u64 = 5_000_000;
/// How long after the fault the observer goes on watching for what has not told it yet, ns.
const WATCH_NS: u64 = 25_000_000;

/// The means of detection, in the order of [`Seen`].
const MEANS: [(&str, &str); 5] = [
    ("pidfd", "process descriptor"),
    ("sigchld", "SIGCHLD"),
    ("eof", "end of a pipe"),
    ("robust", "robust lock"),
    ("heartbeat", "heartbeat"),
];

/// When each means told, ns after the fault.
type Seen = [Option<u64>; MEANS.len()];

/// What one injection did.
struct Suffered {
    seen: Seen,
    false_alarms: u64,
    /// Others that died, and that were alive and blocked.
    died: usize,
    blocked: usize,
    /// Committed by the victim; came right; came torn; came twice.
    messages: [u64; 4],
    /// From the fault until somebody who waits for the process descriptor had put a worker in the victim's place, ns;
    /// absent where the process lived on.
    recovered: Option<u64>,
}

fn measure(cell: &Cell) -> Result<Values> {
    let Order { mut with, fewest } = cell.with()?;
    if cell.planted("unwind") {
        with.fault = with.fault.map(|_| Fault::Panic);
    }
    let signals = ChildSignals::new().context(Phase::Setup, "cannot read signals")?;
    let end = clock::now() + cell.millis * 1_000_000;
    let mut all = Vec::new();
    while all.len() < fewest || (all.len() < MOST && clock::now() < end) {
        all.push(inject(with, &signals, cell.planted("take-along"))?);
    }
    Ok(summary(&all))
}

fn summary(all: &[Suffered]) -> Values {
    let count = |is: fn(&Suffered) -> bool| all.iter().filter(|one| is(one)).count() as f64;
    let messages = |which: usize| all.iter().map(|one| one.messages[which]).sum::<u64>() as f64;
    let mut found = values([
        ("injections", all.len() as f64),
        ("took_along", count(|one| one.died > 0)),
        ("took_all", count(|one| one.died == OTHERS)),
        ("blocked", count(|one| one.blocked > 0)),
        ("false_alarms", all.iter().map(|one| one.false_alarms).sum::<u64>() as f64),
        ("messages_committed", messages(0)),
        ("messages_right", messages(1)),
        ("messages_torn", messages(2)),
        ("messages_doubled", messages(3)),
    ]);
    for (place, (name, _)) in MEANS.into_iter().enumerate() {
        let times: Vec<f64> = all.iter().filter_map(|one| one.seen[place]).map(|ns| ns as f64).collect();
        found.insert(format!("{name}_seen"), times.len() as f64);
        found.extend(Estimate::of(times).map(|estimate| (format!("{name}_ns"), estimate.median)));
    }
    let recovered = Estimate::of(all.iter().filter_map(|one| one.recovered).map(|ns| ns as f64));
    found.extend(recovered.map(|estimate| ("recovered_ns".into(), estimate.median)));
    found
}

/// One injection, from the start of a group to its end.
fn inject(with: With, signals: &ChildSignals, take_along: bool) -> Result<Suffered> {
    let scene = Scene::new(with)?;
    let group = start_group(&scene)?;
    let (mut seen, false_alarms) = observe(&scene, &group, signals)?;
    if take_along {
        group.others.iter().for_each(Child::kill);
    }
    let (died, blocked) = call(&scene, &group);
    let handed_on = scene.board.own[HANDED_ON].0.load(Ordering::Acquire);
    seen[3] = handed_on.checked_sub(scene.word(HARMED).load(Ordering::Acquire));
    let messages = if with.moment == Moment::Message { receive(&scene) } else { [0; 4] };
    let recovered = seen[0].map(|told| Ok::<_, Error>(told + recover(&scene)?)).transpose()?;
    Ok(Suffered { seen, false_alarms, died, blocked, messages, recovered })
}

/// Lets the victim come to harm and notes when each means says so.
fn observe(scene: &Scene, group: &Group, signals: &ChildSignals) -> Result<(Seen, u64)> {
    let cannot = "cannot watch the victim";
    let pidfd = process::descriptor(group.victim.id()).context(Phase::Measure, cannot)?;
    // Those of the injection before.
    signals.named(0);
    let heart = &scene.board.own[0].0;
    let (mut seen, mut false_alarms): (Seen, u64) = (Seen::default(), 0);
    let start = clock::now();
    let (mut beats, mut beat_at) = (heart.load(Ordering::Relaxed), start);
    scene.word(GO).store(1, Ordering::Release);
    loop {
        let fds = [pidfd.as_fd(), signals.as_fd(), group.eof.as_fd()];
        // What was seen stays readable and would end every wait at once.
        let open = |place: usize| if seen[place].is_none() { fds[place] } else { signals.as_fd() };
        let ready = fd::readable([open(0), fds[1], open(2)], Duration::from_micros(500));
        let [gone, signalled, ended] = ready.context(Phase::Measure, cannot)?;
        let now = clock::now();
        let harmed = scene.word(HARMED).load(Ordering::Acquire);
        let mut note = |place: usize| {
            seen[place].get_or_insert(now.saturating_sub(harmed));
        };
        let named = signalled && signals.named(group.victim.id());
        let (gone, ended) = (gone && process::is_gone(group.victim.id()), ended && is_at_end(&group.eof));
        [(gone, 0), (named, 1), (ended, 2)].into_iter().filter(|(is, _)| *is).for_each(|(_, place)| note(place));
        let beaten = heart.load(Ordering::Relaxed);
        if beaten != beats {
            (beats, beat_at) = (beaten, now);
        } else if now - beat_at > HEARTBEAT_NS && seen[4].is_none() {
            // A victim that has not come to harm is only slow; one without a fault never will.
            if harmed == 0 || scene.with.fault.is_none() {
                (false_alarms, beat_at) = (false_alarms + 1, now);
            } else {
                seen[4] = Some(now.saturating_sub(harmed));
            }
        }
        let told = [0, 1, 2, 4].into_iter().all(|place| seen[place].is_some());
        if told || (harmed != 0 && now > harmed + WATCH_NS) {
            break;
        }
        if now - start > 2 * SOON.as_nanos() as u64 {
            return Err(Error::timeout(Phase::Measure, "the victim did not come to harm"));
        }
    }
    Ok((seen, false_alarms))
}

/// Whether the writer has left. Nothing is ever written into these pipes.
fn is_at_end(pipe: &PipeReader) -> bool {
    fd::readable([pipe.as_fd()], Duration::ZERO).is_ok_and(|[ended]| ended)
}

/// Calls the others; how many died and how many are blocked.
fn call(scene: &Scene, group: &Group) -> (usize, usize) {
    scene.word(CALL).store(1, Ordering::Release);
    let answer = |me: usize| loop {
        let said = scene.board.reports[me].0.load(Ordering::Acquire);
        let home = group.others.get(me - 1).unwrap_or(&group.victim);
        if said != 0 {
            return said;
        }
        if !home.alive() {
            // It may have answered just before.
            return scene.board.reports[me].0.load(Ordering::Acquire);
        }
        std::thread::sleep(Duration::from_micros(100));
    };
    let answers: Vec<u64> = (1..=OTHERS).map(answer).collect();
    let of = |what: u64| answers.iter().filter(|answer| **answer == what).count();
    (of(0), of(BLOCKED))
}

/// Reads what the victim had sent.
fn receive(scene: &Scene) -> [u64; 4] {
    let committed = scene.board.own[COMMITTED].0.load(Ordering::Acquire);
    let mut rx = scene.ends().1.take().expect("read once");
    let payload = Payload::new(Touch::Whole);
    let [mut right, mut torn, mut doubled] = [0; 3];
    while let Ok(checked) = rx.recv_with(|| true, |message| payload.check(Way::Out, right, message)) {
        match checked {
            Ok(_) => right += 1,
            Err(wrong) if wrong.seems.is_some_and(|seems| seems < right) => doubled += 1,
            Err(_) => torn += 1,
        }
    }
    [committed, right, torn, doubled]
}

/// Puts a worker in the victim's place, of threads a group; how long that takes.
fn recover(scene: &Scene) -> Result<u64> {
    let start = clock::now();
    let fresh = Scene::new(With { fault: None, moment: Moment::Idle, ..scene.with })?;
    let _place = start_victim(&fresh)?;
    let alone = [0];
    let together = [0; 1 + OTHERS];
    await_beats(&fresh, if scene.with.parties == Parties::Process { &alone } else { &together })?;
    Ok(clock::now() - start)
}

// ------------------------------------------------------------------------------------------------------- the verdict

/// The largest share of injections that still counts as none, and what is left of all.
const NONE: f64 = 0.03;
const ALL: f64 = 1.0 - NONE;
/// Doubt about an effect that was never seen in n trials, at 95 %: at most this many in n.
const RULE_OF_THREE: f64 = 3.0;

/// What the injections of a cell did, of which there are some.
#[derive(Debug, Clone, Copy)]
struct Toll {
    with: With,
    injections: f64,
    took_along: f64,
    took_all: f64,
    blocked: f64,
}

fn tolls(record: &Record) -> Vec<Toll> {
    let toll = |with: With| {
        let case = case(with);
        let total = |quantity| record.total(&case, quantity);
        let [injections, took_along] = [total("injections"), total("took_along")];
        Toll { with, injections, took_along, took_all: total("took_all"), blocked: total("blocked") }
    };
    all().into_iter().filter(|with| with.fault.is_some()).map(toll).filter(|toll| toll.injections > 0.0).collect()
}

/// Names of cells, each once, such as "panic" for those of an idle and of a busy victim.
fn listed(names: impl Iterator<Item = String>) -> String {
    let mut list: Vec<String> = Vec::new();
    names.for_each(|name| {
        if !list.contains(&name) {
            list.push(name);
        }
    });
    list.join(", ")
}

fn judge(record: &Record) -> Finding {
    let tolls = tolls(record);
    let of = |parties: Parties| tolls.iter().filter(move |toll| toll.with.parties == parties);
    if BOTH.iter().any(|parties| of(*parties).next().is_none()) {
        return Finding::new(Verdict::NotTested("faults of threads or of processes are missing".into()), "");
    }
    let spares = |toll: &&Toll| toll.took_along / toll.injections <= NONE;
    let kills = |toll: &&Toll| toll.took_all / toll.injections >= ALL;
    let free = |toll: &&Toll| toll.blocked / toll.injections <= NONE;
    let stuck = |toll: &&Toll| toll.blocked / toll.injections >= ALL;
    let unclear: Vec<String> = tolls
        .iter()
        .filter(|toll| !(spares(toll) || kills(toll)) || !(free(toll) || stuck(toll)))
        .map(|toll| case(toll.with))
        .collect();
    let name = |toll: &Toll| toll.with.fault.map_or("", Fault::word).to_string();
    let survived = listed(of(Parties::Thread).filter(spares).map(name));
    let places = listed(of(Parties::Process).filter(stuck).map(|toll| toll.with.moment.words().into()));
    let conditions: Vec<String> =
        [(survived.clone(), "the thread's fault is no "), (places.clone(), "the process does not die ")]
            .into_iter()
            .filter(|(what, _)| !what.is_empty())
            .map(|(what, but)| {
                format!("{but}{}", what.replace("holding a lock", "holding a shared lock that is not robust"))
            })
            .collect();
    let verdict = if of(Parties::Process).any(|toll| kills(&toll)) || !of(Parties::Thread).any(|toll| kills(&toll)) {
        Verdict::Contradicted
    } else if !unclear.is_empty() {
        Verdict::NotFoundHere
    } else if conditions.is_empty() {
        Verdict::Holds
    } else {
        Verdict::HoldsOnlyIf(conditions.join(" and "))
    };
    let sum = |parties, what: fn(&Toll) -> f64| of(parties).map(what).sum::<f64>();
    let along = |parties| (sum(parties, |toll| toll.took_along), sum(parties, |toll| toll.injections));
    let ((threads, of_threads), (processes, of_processes)) = (along(Parties::Thread), along(Parties::Process));
    let because = format!(
        "a thread's fault took others along in {threads:.0} of {of_threads:.0} injections, a process's in {processes:.0} of \
         {of_processes:.0}"
    );
    let mut finding = Finding::new(verdict, because);
    if !unclear.is_empty() {
        finding = finding.remark(format!("neither nearly always nor nearly never: {}", unclear.join(", ")));
    }
    finding = figures(finding, record, &tolls);
    match record.noise("pidfd_ns") {
        Some(noise) => finding.remark(format!("a cell against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

fn figures(mut finding: Finding, record: &Record, tolls: &[Toll]) -> Finding {
    for Toll { with, injections, took_along, blocked, .. } in tolls {
        let harm = |n: f64, what: &str| match n {
            0.0 => format!("{what} 0 (at most {:.1} %)", (100.0 * RULE_OF_THREE / injections).min(100.0)),
            n => format!("{what} {n:.0}"),
        };
        let mut text = format!("{}: of {injections:.0}, {}", case(*with), harm(*took_along, "took others along"));
        if matches!(with.moment, Moment::Lock | Moment::RobustLock) && took_along < injections {
            text += &format!(", {}", harm(*blocked, "left others blocked"));
        }
        finding = finding.remark(text);
    }
    for (parties, fault) in
        [(Parties::Process, Fault::Kill), (Parties::Thread, Fault::Kill), (Parties::Thread, Fault::Panic)]
    {
        for moment in [Moment::Idle, Moment::RobustLock] {
            let case = case(With { parties, fault: Some(fault), moment });
            for (name, words) in MEANS.into_iter().filter(|(name, _)| (*name == "robust") == (moment != Moment::Idle)) {
                let time = record.estimate(&case, &format!("{name}_ns"));
                finding = finding.figure(format!("{case}: told by {words} after"), time, Unit::Ns);
            }
        }
        let idle = case(With { parties, fault: Some(fault), moment: Moment::Idle });
        let unseen = MEANS.into_iter().filter(|(name, _)| {
            *name != "robust"
                && record.total(&idle, "injections") > 0.0
                && record.total(&idle, &format!("{name}_seen")) == 0.0
        });
        let unseen: Vec<_> = unseen.map(|(_, words)| words).collect();
        if !unseen.is_empty() {
            finding = finding.remark(format!("{idle}: never told by {}", unseen.join(", ")));
        }
        let what = format!(
            "{idle}: a new {} in its place after",
            if parties == Parties::Process { "process" } else { "group" }
        );
        finding = finding.figure(what, record.estimate(&idle, "recovered_ns"), Unit::Ns);
    }
    let cases: Vec<String> = all().into_iter().map(case).collect();
    let sum = |quantity: &str| cases.iter().map(|case| record.total(case, quantity)).sum::<f64>();
    let [committed, right] = [sum("messages_committed"), sum("messages_right")];
    if committed > 0.0 {
        finding = finding.remark(format!(
            "of {committed:.0} messages committed before faults in mid-message {:.0} were lost, {:.0} came torn and {:.0} twice",
            committed - right,
            sum("messages_torn"),
            sum("messages_doubled"),
        ));
    }
    let alarms = sum("false_alarms");
    if alarms > 0.0 {
        finding = finding
            .remark(format!("false alarms of the heartbeat: {alarms:.0} in {:.0} injections", sum("injections")));
    }
    finding
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::line;
    use super::*;

    const N: f64 = 20.0;

    /// Six rounds of a quick pass in which `toll` says which shares of the injections took all others along and left them
    /// blocked.
    fn record(toll: impl Fn(With) -> (f64, f64)) -> Record {
        let of = |round: u32| {
            let cell = |with| {
                let (along, blocked) = toll(with);
                let found =
                    [("injections", N), ("took_along", N * along), ("took_all", N * along), ("blocked", N * blocked)];
                line(&case(with), round, &found)
            };
            all().into_iter().filter(is_quick).map(cell).collect::<Vec<_>>()
        };
        (0..6).flat_map(of).collect()
    }

    fn verdict(toll: impl Fn(With) -> (f64, f64)) -> Verdict {
        judge(&record(toll)).verdict
    }

    /// Exactly as taught.
    fn taught(with: With) -> (f64, f64) {
        (f64::from(u8::from(with.parties == Parties::Thread)), 0.0)
    }

    fn really(with: With) -> (f64, f64) {
        match (with.parties, with.fault, with.moment) {
            (Parties::Thread, Some(Fault::Panic), _) => (0.0, 0.0),
            (Parties::Process, Some(Fault::Kill), Moment::Lock) => (0.0, 1.0),
            _ => taught(with),
        }
    }

    #[test]
    fn exceptions_become_conditions() {
        assert_eq!(verdict(taught), Verdict::Holds);
        let Verdict::HoldsOnlyIf(condition) = verdict(really) else { panic!("{:?}", verdict(really)) };
        assert!(condition.contains("no panic") && condition.contains("not robust"), "{condition}");
    }

    #[test]
    fn processes_that_die_along_and_threads_that_never_do_contradict() {
        assert_eq!(verdict(|_| (1.0, 0.0)), Verdict::Contradicted);
        assert_eq!(verdict(|_| (0.0, 0.0)), Verdict::Contradicted);
    }

    #[test]
    fn nearly_never_and_nearly_always_have_two_sides() {
        let processes =
            |share| move |with: With| if with.parties == Parties::Process { (share, 0.0) } else { taught(with) };
        assert_eq!(verdict(processes(0.02)), Verdict::Holds);
        assert_eq!(verdict(processes(0.04)), Verdict::NotFoundHere);
        let threads =
            |share| move |with: With| if with.parties == Parties::Thread { (share, 0.0) } else { taught(with) };
        assert_eq!(verdict(threads(0.98)), Verdict::Holds);
        let mixed = |with: With| if with.fault == Some(Fault::Exit) { threads(0.96)(with) } else { taught(with) };
        assert_eq!(verdict(mixed), Verdict::NotFoundHere);
        let blocked =
            |share| move |with: With| if with.moment == Moment::Lock { (taught(with).0, share) } else { taught(with) };
        assert_eq!(verdict(blocked(0.02)), Verdict::Holds);
        assert_eq!(verdict(blocked(0.5)), Verdict::NotFoundHere);
    }

    #[test]
    fn without_one_kind_nothing_was_tested() {
        let lines = record(taught).lines().to_vec();
        let threads: Record = lines.into_iter().filter(|line| line.cell.case.contains("thread")).collect();
        assert!(matches!(judge(&threads).verdict, Verdict::NotTested(_)));
    }

    #[test]
    fn zero_of_many_is_an_upper_bound() {
        let remarks = judge(&record(taught)).remarks.join("\n");
        assert!(remarks.contains("SIGKILL, process, idle: of 120, took others along 0 (at most 2.5 %)"), "{remarks}");
    }

    #[test]
    fn a_full_pass_has_every_combination() {
        assert_eq!(all().len(), 2 + 6 * 3 + 6 * 4);
    }
}

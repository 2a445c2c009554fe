//! One launch: injections, each with a fresh transport between two freshly started parties.
//!
//! Key decision: the launched process keeps neither end. It makes the transport, forks both parties and then only watches
//! a board in shared memory, so that every descriptor and mapping is the parties' and a death closes what a death closes.
//! The victim strikes itself where the place matters (in the middle of a message, inside the lock) and is struck from
//! outside where it sleeps or may be anywhere. Whoever is stopped is killed at the end, so nothing outlives the injection.
//! Where nobody is told anything, several injections share one deadline: all of them sleep.
//!
//! # Timing model
//! From the clock read right before the signal (by the victim, or by whoever strikes it) to the survivor's reading after
//! the call that failed. It includes the victim's end in the kernel, and a queue that a producer still filled.

use super::observe::{Inventory, Scene, What};
use super::parties::{Life, SOON, new_pair, start_both, until};
use super::{Cell, Harm, Moment, Order, Plant, wait};
use crate::claim::record::Status;
use crate::error::{Context, Error, Phase, Result};
use crate::names::invent;
use crate::plan::{Plan, Touch, Workload};
use crate::sys::harm;
use crate::sys::process;
use crate::transport::dynamic::{AnyRx, AnyTx, Pair};
use crate::transport::{Config, Role, Runner, Sign, find};
use crate::workload::payload::{Payload, Way};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Bytes of a message: more than the kernel puts into a pipe or a socket at once and no divisor of any capacity, so that a
/// blocked write may be in the middle of one. Less where the machine's settings allow less.
const SIZE: usize = 40_000;
/// Most messages before the harm.
const MOST_BEFORE: u64 = 16;
/// Longest random pause before a victim is struck from outside, us.
const LONGEST_PAUSE_US: u64 = 2000;
/// A queue into which nothing came for so long is full.
const FULL_AFTER: Duration = Duration::from_millis(10);

/// What one injection did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What the survivor saw.
    pub sign: Sign,
    /// After how long, ns; absent where it saw nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after_ns: Option<u64>,
    /// Messages that the producer had sent.
    pub sent: u64,
    /// Messages that the consumer received right and in order.
    pub right: u64,
    /// Messages that were accepted and were not what was due: torn, doubled or out of order.
    pub wrong: u64,
    /// Whether a new pair could start at once.
    pub fresh: bool,
    /// Whether the survivor ended by itself, having been told.
    pub ended: bool,
}

/// What a launch found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Bytes of a message.
    pub size: usize,
    /// Each injection.
    pub seen: Vec<Seen>,
    /// What was left behind by how many, each in words.
    pub left: Vec<String>,
}

/// What a launched process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// All injections were made.
    Seen(Answer),
    /// Why they were not: the mechanism cannot be used here, or something failed.
    Not(Status, String),
}

/// Makes the injections of an order; what goes wrong is part of the reply.
pub fn reply(order: &Order) -> Reply {
    match run(order) {
        Ok(answer) => Reply::Seen(answer),
        Err(error) => Reply::Not(Status::of(&error), error.to_string()),
    }
}

/// Makes the injections of an order. The calling process must have one thread if processes are to be started.
///
/// # Errors
/// `unsupported` where the mechanism cannot be used here, `failed` and `timeout` when the parties do not get to the moment.
fn run(order: &Order) -> Result<Answer> {
    let runner = find(&order.cell.mechanism)?;
    harm::leave_no_core();
    let spec = runner.spec();
    let plan = Plan {
        mechanism: spec.name.into(),
        workload: Workload::Stream,
        size: SIZE.min(runner.bound().size),
        wait: wait(spec),
        parties: order.cell.parties,
        ..Plan::default()
    };
    let cfg = Config::new(&plan);
    let mut answer = Answer { size: cfg.size, seen: vec![], left: vec![] };
    let mut rng = fastrand::Rng::with_seed(order.seed);
    while answer.seen.len() < order.injections {
        let many = order.at_once.clamp(1, order.injections - answer.seen.len());
        let mut pids = vec![std::process::id()];
        let before = Inventory::take(&pids);
        let stages = (0..many).map(|_| Stage::set(runner, &cfg, order, &mut rng)).collect::<Result<Vec<_>>>()?;
        stages.iter().try_for_each(Stage::harm)?;
        let seen = watch(&stages, Duration::from_millis(order.patience_ms));
        for (stage, seen) in stages.into_iter().zip(seen) {
            let (ended, theirs) = stage.clear(seen.sign != Sign::Nothing);
            pids.extend(theirs);
            let fresh = new_pair(runner, &cfg).is_ok();
            answer.seen.push(Seen { fresh, ended, ..seen });
        }
        if order.plant == Some(Plant::Name) {
            std::fs::write(std::env::temp_dir().join(invent()), "").context(Phase::Measure, "cannot plant a file")?;
        }
        answer.left.extend(Inventory::take(&pids).clear_since(&before, &pids));
    }
    Ok(answer)
}

/// Two parties on their way to the moment.
struct Stage {
    scene: Scene,
    cell: Cell,
    lives: [Life; 2],
}

impl Stage {
    /// Makes a transport and starts both parties.
    fn set(runner: &dyn Runner, cfg: &Config, order: &Order, rng: &mut fastrand::Rng) -> Result<Self> {
        let scene = Scene::new(order, rng.u64(1..=MOST_BEFORE), rng.usize(..cfg.size), rng.u64(..LONGEST_PAUSE_US))?;
        let (tx, rx): Pair = runner.ends(cfg)?;
        let (here, there) = (scene.clone(), scene.clone());
        let lives = start_both(order.cell.parties, move || produce(&here, tx), move || consume(&there, rx))?;
        Ok(Self { scene, cell: order.cell.clone(), lives })
    }

    fn victim(&self) -> &Life {
        &self.lives[self.cell.victim as usize]
    }

    /// Waits for the moment, brings the harm about, and lets the survivor go on.
    fn harm(&self) -> Result<()> {
        let (scene, cell) = (&self.scene, &self.cell);
        let late = |what: &str| Error::timeout(Phase::Start, format!("{what} within {} s", SOON.as_secs()));
        let there = |role: Role| scene.get(What::Attached(role)) != 0;
        let attached = || [Role::Producer, Role::Consumer].into_iter().all(there);
        let waited = until(SOON, || attached() || scene.error().is_some());
        if let Some(error) = scene.error() {
            return Err(Error::failed(Phase::Start, "a party cannot attach").because(&error).if_refused(&error));
        }
        if !waited {
            return Err(late("a party did not attach").because(scene.complaint()));
        }
        scene.set(What::Go, 1);
        let at_the_place = || match cell.moment {
            Moment::Idle => scene.get(What::Sent) == scene.before && scene.get(What::Due) == scene.before,
            Moment::Stream => scene.get(What::Due) > scene.before,
            Moment::Full => self.is_full(),
            Moment::Message | Moment::Lock => scene.get(What::Harmed) != 0,
        };
        if !until(SOON, at_the_place) {
            let (sent, right) = (scene.get(What::Sent), scene.get(What::Right));
            return Err(late(&format!("the parties were not {}", cell.moment.words()))
                .because(format!("{sent} messages were sent and {right} received; {}", scene.complaint())));
        }
        if scene.get(What::Harmed) == 0 {
            std::thread::sleep(scene.pause);
            match (cell.harm.fault(), self.victim().pid()) {
                (Some(fault), Some(pid)) => {
                    scene.harmed();
                    harm::strike(pid, fault);
                }
                _ => scene.set(What::Leave, 1),
            }
        }
        let victim = self.victim();
        let suffered = || match (cell.harm, victim.pid()) {
            (Harm::Stop, Some(pid)) => process::is_stopped(pid),
            (Harm::Leave, _) => scene.get(What::Left) != 0,
            _ => victim.gone(),
        };
        if !until(SOON, suffered) {
            return Err(late("the victim did not come to harm"));
        }
        scene.set(What::Released, 1);
        Ok(())
    }

    /// Whether something was sent, and nothing more for a while, and the producer sleeps.
    fn is_full(&self) -> bool {
        let sent = self.scene.get(What::Sent);
        std::thread::sleep(FULL_AFTER);
        sent == self.scene.get(What::Sent) && self.lives[0].pid().is_none_or(process::is_asleep)
    }

    /// Ends both parties; whether the survivor did so by itself, and which processes they were.
    fn clear(self, told: bool) -> (bool, Vec<u32>) {
        let pids = self.lives.iter().filter_map(Life::pid).collect();
        let survivor = 1 - self.cell.victim as usize;
        let mut ended = false;
        for (place, life) in self.lives.into_iter().enumerate() {
            // Whoever was told nothing still waits.
            let patience = if place == survivor && told { SOON } else { Duration::ZERO };
            let well = life.end(patience);
            ended |= place == survivor && well;
        }
        (ended, pids)
    }
}

/// Watches the survivors until all were told or have given no sign of life for so long.
fn watch(stages: &[Stage], patience: Duration) -> Vec<Seen> {
    let alive = |stage: &Stage| stage.scene.get(What::Sent) + stage.scene.get(What::Right);
    let mut last: Vec<(u64, Instant)> = stages.iter().map(|stage| (alive(stage), Instant::now())).collect();
    let start = Instant::now();
    until(SOON, || {
        stages.iter().zip(&mut last).all(|(stage, last)| {
            let now = alive(stage);
            if now != last.0 {
                *last = (now, Instant::now());
            }
            let late = last.1.elapsed() > patience || start.elapsed() > SOON;
            late || stage.scene.told().is_some() || stage.lives[1 - stage.cell.victim as usize].gone()
        })
    });
    stages.iter().map(|stage| stage.scene.seen()).collect()
}

/// The producer's life.
fn produce(scene: &Scene, mut tx: Box<dyn AnyTx>) -> u8 {
    if let Err(error) = tx.attach() {
        return scene.complain(&error);
    }
    scene.arrive(Role::Producer);
    let payload = Payload::new(Touch::Whole);
    let send = |tx: &mut Box<dyn AnyTx>, seq: u64| {
        tx.send(&mut |place| {
            payload.fill(Way::Out, seq, place);
            if scene.spoils(seq) {
                payload.spoil(place);
            }
        })
    };
    let (victim, mut seq) = (scene.is_victim(Role::Producer), 0);
    loop {
        if seq == scene.before {
            match scene.moment {
                Moment::Message if victim => {
                    let _ = tx.send(&mut |place| {
                        let some = scene.place.min(place.len());
                        payload.fill(Way::Out, seq, &mut place[..some]);
                        scene.suffer();
                    });
                }
                Moment::Lock if victim => drop(tx.holding(&mut || scene.suffer())),
                Moment::Idle if victim => {
                    scene.rest(What::Leave);
                    scene.harmed();
                    drop(tx);
                    scene.set(What::Left, 1);
                    return 0;
                }
                Moment::Idle => scene.rest(What::Released),
                _ => {}
            }
        }
        // A message that is planted to be lost is counted like the others.
        let sent = if scene.loses(seq) { Ok(()) } else { send(&mut tx, seq) };
        if let Err(error) = sent {
            scene.tell(Sign::of(&error));
            if error.raw_os_error().is_some() {
                scene.complain(&error);
            }
            return 0;
        }
        seq += 1;
        scene.set(What::Sent, seq);
    }
}

/// The consumer's life.
fn consume(scene: &Scene, mut rx: Box<dyn AnyRx>) -> u8 {
    if let Err(error) = rx.attach() {
        return scene.complain(&error);
    }
    scene.arrive(Role::Consumer);
    let payload = Payload::new(Touch::Whole);
    let victim = scene.is_victim(Role::Consumer);
    if scene.moment == Moment::Full {
        // A victim rests until it is struck.
        scene.rest(What::Released);
    }
    let (mut due, mut right, mut wrong) = (0, 0, 0);
    loop {
        let here = victim && due == scene.before;
        match scene.moment {
            Moment::Lock if here => drop(rx.holding(&mut || scene.suffer())),
            Moment::Idle if here && scene.harm == Harm::Leave => {
                scene.rest(What::Leave);
                scene.harmed();
                drop(rx);
                scene.set(What::Left, 1);
                return 0;
            }
            _ => {}
        }
        let mut checked = Ok(0);
        let received = rx.receive(&mut |message| {
            checked = payload.check(Way::Out, due, message);
            if here && scene.moment == Moment::Message {
                scene.suffer();
            }
        });
        if let Err(error) = received {
            scene.tell(Sign::of(&error));
            if error.raw_os_error().is_some() {
                scene.complain(&error);
            }
            return 0;
        }
        match checked {
            Ok(_) => {
                right += 1;
                scene.set(What::Right, right);
            }
            Err(mismatch) => {
                wrong += 1;
                scene.set(What::Wrong, wrong);
                // So that one message that is lost makes one wrong, and not all that follow.
                due = mismatch.seems.filter(|seems| (due..due + 1000).contains(seems)).unwrap_or(due);
            }
        }
        due += 1;
        scene.set(What::Due, due);
    }
}

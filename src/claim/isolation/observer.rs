//! One injection, seen from outside: which means told of the fault and when, and what it did to the others.
//!
//! The others are called only after every means that is watched has told, or the watch is over.

use super::workers::{
    BLOCKED, CALL, COMMITTED, GO, Group, HANDED_ON, HARMED, OTHERS, SOON, Scene, await_beats, start_group, start_victim,
};
use super::{Moment, With};
use crate::claim::{Values, values};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::stats::Estimate;
use crate::plan::{Parties, Touch};
use crate::sys::process::{self, Child, ChildSignals};
use crate::sys::{clock, fd};
use crate::workload::payload::{Payload, Way};
use std::io::PipeReader;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A heart that stands still for so long counts as dead, ns.
const HEARTBEAT_NS: u64 = 5_000_000;
/// How long after the fault the observer goes on watching for what has not told it yet, ns.
const WATCH_NS: u64 = 25_000_000;

/// The means of detection, in the order of [`Seen`].
pub(super) const MEANS: [(&str, &str); 5] = [
    ("pidfd", "process descriptor"),
    ("sigchld", "SIGCHLD"),
    ("eof", "end of a pipe"),
    ("robust", "robust lock"),
    ("heartbeat", "heartbeat"),
];

/// When each means told, ns after the fault.
type Seen = [Option<u64>; MEANS.len()];

/// What one injection did.
pub(super) struct Suffered {
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

pub(super) fn summary(all: &[Suffered]) -> Values {
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
pub(super) fn inject(with: With, signals: &ChildSignals, take_along: bool) -> Result<Suffered> {
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

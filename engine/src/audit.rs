//! Whether to believe a run: what makes it invalid, and what makes it doubtful.
//!
//! Key decision: neither ever looks at the result. A run is *invalid* when it did not do what its label says (a wrong
//! peer, a message unverified, another CPU, a party that slept while it should have spun); it is *flagged* when it did,
//! but something else disturbed it. Flagged runs stay in every summary, and a second summary leaves them out. Rejected:
//! outlier rules on the times themselves, which delete exactly the runs that contradict the expectation.
//!
//! What only an onlooker can see (time stolen by the hypervisor, other programs, a changed clock source) is added by
//! `ipcost::campaign::surroundings`.

use crate::cell::{Outcome, Verified};
use crate::plan::{Parties, Wait, Workload};
use crate::transport::{Family, Spec};

/// A party that was runnable without a CPU for longer than this share of the batch window was disturbed.
const RUN_DELAY: f64 = 0.02;
/// A party that spins and yet slept more often than this per message did not spin.
const SLEEPS: f64 = 0.5;

/// The reason not to believe the run, if there is one. How the parties waited is not looked at unless the run was `timed`.
pub fn doubt(outcome: &Outcome, spec: &Spec, timed: bool) -> Option<String> {
    let waits = timed && spec.family != Family::Control;
    unverified(outcome)
        .or_else(|| wrong_parties(outcome))
        .or_else(|| wrong_place(outcome))
        .or_else(|| wrong_wait(outcome).filter(|_| waits))
}

fn unverified(outcome: &Outcome) -> Option<String> {
    let messages = outcome.messages;
    let bytes = messages * outcome.size as u64;
    match outcome.verified {
        Some(Verified { messages: m, bytes: b }) if (m, b) == (messages, bytes) => None,
        Some(Verified { messages: m, bytes: b }) => {
            Some(format!("{messages} messages of {bytes} bytes were sent and {m} of {b} verified"))
        }
        None => Some("nothing was verified".into()),
    }
    .or_else(|| {
        let point = outcome.load.iter().find(|point| point.verified != point.messages)?;
        Some(format!("{} messages were offered and {} verified", point.messages, point.verified))
    })
}

fn wrong_parties(outcome: &Outcome) -> Option<String> {
    let pids = &outcome.pids;
    let Some(one_space) = outcome.one_address_space.filter(|_| pids.len() > 1) else {
        let alone = outcome.parties == Parties::Solo && pids.len() == 1;
        return (!alone).then(|| "a party did not report who it is".into());
    };
    let text = match outcome.parties {
        Parties::Process if crowded(&pids.iter().map(|pid| *pid as usize).collect::<Vec<_>>()) => {
            "two processes are one"
        }
        Parties::Process if one_space => "two processes share an address space",
        Parties::Thread if pids.iter().any(|pid| *pid != pids[0]) => "two threads are different processes",
        Parties::Thread if !one_space => "two threads do not share an address space",
        _ => return None,
    };
    Some(text.into())
}

fn wrong_place(outcome: &Outcome) -> Option<String> {
    let placement = &outcome.placement;
    for (seen, cpu) in placement.observed.iter().zip(placement.cpus.as_ref()?) {
        if seen.iter().any(|s| s != cpu) {
            return Some(format!("a party pinned to CPU {cpu} was seen on {seen:?}"));
        }
    }
    let moved = placement.migrations.iter().any(|moves| *moves > 0);
    moved.then(|| "a pinned party was moved between CPUs".into())
}

/// Context switches that the way of waiting rules out.
fn wrong_wait(outcome: &Outcome) -> Option<String> {
    let waits = &outcome.switches_per_message;
    // On one CPU a reply can only come after a switch to the peer and back: fewer mean that nobody waited.
    let same_cpu = outcome.placement.cpus.as_ref().is_some_and(|cpus| cpus[..] == [cpus[0]; 2]);
    // With several requests under way, after no more than that many.
    let least = 0.9 / outcome.several.outstanding() as f64;
    let few = waits.iter().any(|s| s.voluntary + s.involuntary < least);
    if same_cpu && outcome.workload == Workload::PingPong && few {
        let what = match outcome.several.outstanding() {
            1 => "a round trip".into(),
            window => format!("a window of {window} round trips"),
        };
        return Some(format!("{what} on one CPU took less than two context switches"));
    }
    let slept = waits.iter().any(|s| s.voluntary > SLEEPS);
    (outcome.wait == Wait::Spin && slept).then(|| "a party that was to spin slept".into())
}

/// Whether two parties have the same CPU.
pub fn crowded(cpus: &[usize]) -> bool {
    let mut sorted = cpus.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// What disturbed the parties, as far as they can tell themselves.
pub fn flags(outcome: &Outcome) -> Vec<String> {
    let mut flags = Vec::new();
    // On a shared CPU each party waits for the other one's time slice: that is the row, not a disturbance.
    let apart = outcome.placement.cpus.as_ref().is_some_and(|cpus| !crowded(cpus));
    let delayed = outcome.run_delay_ns.iter().any(|ns| *ns as f64 > RUN_DELAY * outcome.elapsed_ns as f64);
    if apart && delayed {
        flags.push("run-delay".into());
    }
    if outcome.faults.iter().any(|faults| faults.major > 0) {
        flags.push("major-faults".into());
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Faults, Status, Switches};
    use crate::plan::{Plan, Several};
    use crate::transport::{Pipe, Transport};

    /// A run of ten messages that is beyond doubt.
    fn sound(plan: &Plan) -> Outcome {
        let mut outcome = Outcome::empty(plan, Status::Ok);
        outcome.messages = 10;
        outcome.elapsed_ns = 1_000_000;
        outcome.verified = Some(Verified { messages: 10, bytes: 640 });
        outcome.pids = if plan.parties == Parties::Process { vec![1, 2] } else { vec![1, 1] };
        outcome.one_address_space = Some(plan.parties == Parties::Thread);
        outcome.placement.cpus = Some(vec![0, 1]);
        outcome.placement.observed = vec![vec![0], vec![1]];
        outcome.switches_per_message = vec![Switches { voluntary: 0.0, involuntary: 0.0 }; 2];
        outcome.run_delay_ns = vec![0, 0];
        outcome.faults = vec![Faults { minor: 0, major: 0 }; 2];
        outcome
    }

    fn doubted(spoil: impl Fn(&mut Outcome)) -> String {
        let mut outcome = sound(&Plan::default());
        assert_eq!(doubt(&outcome, Pipe::SPEC, true), None);
        spoil(&mut outcome);
        doubt(&outcome, Pipe::SPEC, true).expect("nobody doubts it")
    }

    #[test]
    fn what_was_not_done_as_labelled_is_not_believed() {
        assert!(doubted(|o| o.verified = Some(Verified { messages: 9, bytes: 576 })).contains("9 of 576"));
        assert!(doubted(|o| o.verified = None).contains("nothing"));
        assert!(doubted(|o| o.pids = vec![7, 7]).contains("are one"));
        assert!(doubted(|o| o.one_address_space = Some(true)).contains("share an address space"));
        assert!(doubted(|o| o.one_address_space = None).contains("who it is"));
        assert!(doubted(|o| o.placement.observed[1] = vec![0]).contains("CPU 1"));
        assert!(doubted(|o| o.placement.migrations = vec![0, 1]).contains("moved"));
        assert!(doubted(|o| o.placement.cpus = Some(vec![1, 1])).contains("CPU 1"));
    }

    #[test]
    fn the_switches_must_fit_the_wait() {
        let two = Switches { voluntary: 1.0, involuntary: 0.0 };
        let slept = doubted(|o| {
            o.wait = Wait::Spin;
            o.switches_per_message[1] = two;
        });
        assert!(slept.contains("slept"));
        let mut traced = sound(&Plan { wait: Wait::Spin, ..Plan::default() });
        traced.switches_per_message[0] = two;
        assert!(doubt(&traced, Pipe::SPEC, true).is_some() && doubt(&traced, Pipe::SPEC, false).is_none());
        let nobody = doubted(|o| {
            o.placement.cpus = Some(vec![1, 1]);
            o.placement.observed = vec![vec![1], vec![1]];
        });
        assert!(nobody.contains("less than two context switches"));
    }

    #[test]
    fn every_party_of_a_pattern_is_looked_at() {
        let several = Several { peers: Some(3), ..Several::default() };
        let plan = Plan { workload: Workload::FanIn, several, ..Plan::default() };
        let mut outcome = sound(&plan);
        outcome.pids = vec![1, 2, 3, 4];
        outcome.placement.cpus = Some(vec![0, 1, 1, 1]);
        outcome.placement.observed = vec![vec![0], vec![1], vec![1], vec![1]];
        assert_eq!(doubt(&outcome, Pipe::SPEC, true), None);
        let spoilt = |spoil: &dyn Fn(&mut Outcome)| {
            let mut outcome = outcome.clone();
            spoil(&mut outcome);
            doubt(&outcome, Pipe::SPEC, true).expect("nobody doubts it")
        };
        assert!(spoilt(&|o| o.pids[3] = 2).contains("are one"));
        assert!(spoilt(&|o| o.placement.observed[3] = vec![0]).contains("CPU 1"));
        assert!(spoilt(&|o| o.parties = Parties::Thread).contains("different processes"));
        assert!(spoilt(&|o| o.one_address_space = Some(true)).contains("share an address space"));
    }

    #[test]
    fn a_window_of_requests_needs_fewer_switches_on_one_cpu() {
        let window = |outstanding| {
            let several = Several { outstanding, ..Several::default() };
            let mut outcome = sound(&Plan { several, ..Plan::default() });
            outcome.placement.cpus = Some(vec![1, 1]);
            outcome.placement.observed = vec![vec![1], vec![1]];
            outcome.switches_per_message = vec![Switches { voluntary: 0.125, involuntary: 0.0 }; 2];
            doubt(&outcome, Pipe::SPEC, true)
        };
        assert_eq!(window(Some(8)), None);
        assert!(window(Some(4)).is_some_and(|why| why.contains("a window of 4 round trips")) && window(None).is_some());
    }

    #[test]
    fn two_threads_must_share_what_two_processes_must_not() {
        let plan = Plan { parties: Parties::Thread, ..Plan::default() };
        let mut outcome = sound(&plan);
        assert_eq!(doubt(&outcome, Pipe::SPEC, true), None);
        outcome.one_address_space = Some(false);
        assert!(doubt(&outcome, Pipe::SPEC, true).is_some_and(|text| text.contains("do not share")));
    }

    #[test]
    fn disturbed_runs_are_flagged_and_a_shared_cpu_is_no_disturbance() {
        let mut outcome = sound(&Plan::default());
        assert!(flags(&outcome).is_empty());
        outcome.run_delay_ns = vec![0, 30_000];
        outcome.faults[0].major = 1;
        assert_eq!(flags(&outcome), ["run-delay", "major-faults"]);
        outcome.placement.cpus = Some(vec![0, 0]);
        assert_eq!(flags(&outcome), ["major-faults"]);
    }
}

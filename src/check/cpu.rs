//! CPU accounting adds up: what two spinners and two sleepers must use is what they are said to use.
//!
//! Rules, each over a batch of six launches and at most one more:
//! - Two parties that spin on two CPUs use two CPU-seconds a second. Nothing can use more than there is, so every launch
//!   must lie below 2.05; whatever else runs, and a hypervisor that takes time away, make it less, so the *most* of the
//!   launches must be 1.8.
//! - Two parties that wake each other on one CPU keep it busy: likewise below 1.05, and 0.85 at the most.
//! - Of the same launches: a turn on one CPU changes hands once per party and round trip. The switch is voluntary when
//!   the party sleeps before its peer runs, involuntary when waking the peer preempts it; schedulers do both. Programs
//!   beside add switches and take none away, so the fewest of the launches must be 1 within 0.05.

use super::{BATCH, Bench, Noise, Sabotage, Tried, Verdict, one_cpu};
use crate::cell::{Outcome, Switches};
use crate::machine::cgroup::cpu_quota;
use crate::plan::{Placement, Plan, Span, Wait, Workload};
use std::path::Path;

const SPAN: Span = Span::Millis(100);

/// See the [module](self).
pub fn run(bench: &mut Bench<'_>) {
    let pipe = Plan { mechanism: "pipe".into(), ..one_cpu(Workload::PingPong, SPAN) };
    let wait = if bench.sabotaged(Sabotage::Cpu) { Wait::Block } else { Wait::Spin };
    let spinning = Plan { mechanism: "shm-ring".into(), wait, placement: Placement::CrossCpu, ..pipe.clone() };
    let noise = Noise::on(&spinning);
    let quota = cpu_quota(Path::new("/"));
    let too_few = |needed: f64| {
        let quota = quota.filter(|quota| *quota < needed)?;
        Some(Err((Verdict::Skipped, format!("the control group allows {quota:.2} CPUs and {needed} are needed"))))
    };
    let spinners = if bench.cpus < 2 {
        Err((Verdict::Skipped, "two spinners need two CPUs and one is allowed here".into()))
    } else if let Some(skipped) = too_few(2.0) {
        skipped
    } else {
        busy(bench, &spinning, 1.8, 2.05).map(|(passed, found, _)| (passed, found))
    };
    bench.report_timed("cpu", "two spinners on two CPUs", "1.8 to 2.05 CPUs busy", spinners, &noise);
    let noise = Noise::on(&pipe);
    let sleepers = busy(bench, &pipe, 0.85, 1.05);
    let switches = sleepers.clone().and_then(|(.., runs)| switches(&runs));
    let sleepers = too_few(1.0).unwrap_or_else(|| sleepers.map(|(passed, found, _)| (passed, found)));
    bench.report_timed("cpu", "two sleepers on one CPU", "0.85 to 1.05 CPUs busy", sleepers, &noise);
    let once = "1 per party and round trip, within 0.05";
    bench.report_timed("switches", "two sleepers on one CPU", once, switches, &noise);
}

/// CPU-seconds of both parties per second of the batch window.
fn share(run: &Outcome) -> f64 {
    let used: f64 = run.cpu_ns_per_message.iter().map(|cpu| cpu.user + cpu.system).sum();
    used * run.messages as f64 / run.elapsed_ns.max(1) as f64
}

fn busy(bench: &mut Bench<'_>, plan: &Plan, least: f64, most: f64) -> Tried<(bool, String, Vec<Outcome>)> {
    let mut runs = Vec::new();
    loop {
        for _ in 0..BATCH {
            runs.push(bench.healthy(plan)?);
        }
        let highest = runs.iter().map(share).fold(0.0, f64::max);
        let passed = (least..=most).contains(&highest);
        if passed || runs.len() > BATCH as usize {
            let again = if runs.len() > BATCH as usize { ", a second batch included" } else { "" };
            return Ok((passed, format!("{highest:.2} CPUs busy, the most of {} launches{again}", runs.len()), runs));
        }
    }
}

fn switches(runs: &[Outcome]) -> Tried<(bool, String)> {
    let of = |party: usize| {
        let switches = runs.iter().filter_map(|run| run.switches_per_message.get(party));
        switches.min_by(|a, b| (a.voluntary + a.involuntary).total_cmp(&(b.voluntary + b.involuntary)))
    };
    let (Some(leader), Some(follower)) = (of(0), of(1)) else {
        return Err((Verdict::Fail, "a party has no account".into()));
    };
    let once = |s: &Switches| (s.voluntary + s.involuntary - 1.0).abs() <= 0.05;
    let said = |s: &Switches| format!("{:.2} voluntary + {:.2} involuntary", s.voluntary, s.involuntary);
    Ok((once(leader) && once(follower), format!("{}, {}", said(leader), said(follower))))
}

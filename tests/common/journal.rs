//! Results folders whose truth is known, because every run in them was made up here.

use ipcost::campaign::journal::{Campaign, Journal};
use ipcost::campaign::matrix::NULL_LABEL;
use ipcost::cell::{CpuCost, Floor, Outcome, Rtt, Status, Throughput};
use ipcost::host::Host;
use ipcost::measure::floor::Kind;
use ipcost::plan::{Parties, Placement, Plan, RunId, Wait, Workload};
use std::path::{Path, PathBuf};

/// A folder in the making: runs get their position as they are added.
#[derive(Default)]
pub struct Made {
    runs: Vec<Outcome>,
    pub host: Host,
}

/// A cell: what a test says of it, the rest is usual.
pub fn cell(mechanism: &str, workload: Workload, size: usize) -> Plan {
    let (parties, placement) = (Parties::Process, Placement::CrossCpu);
    Plan { mechanism: mechanism.into(), workload, size, parties, placement, wait: Wait::Block, ..Plan::default() }
}

impl Made {
    /// Adds a run that took `ns` a message or round trip.
    pub fn add(&mut self, cell: &Plan, round: u32, ns: f64) -> &mut Outcome {
        let order = self.runs.len() as u32;
        let label = cell.run.label.clone();
        let plan = Plan { run: RunId { round, order, label, ..RunId::default() }, ..cell.clone() };
        let mut run = Outcome::empty(&plan, Status::Ok);
        let messages = 1_000_000;
        run.messages = messages;
        run.elapsed_ns = (ns * messages as f64) as u64;
        let rates = Throughput { messages_per_s: 1e9 / ns, bytes_per_s: 1e9 * plan.size as f64 / ns };
        run.throughput = Some(rates);
        self.runs.push(run);
        self.runs.last_mut().expect("it was just added")
    }

    /// Adds a cell and its null pair for these rounds.
    pub fn add_with_null(&mut self, cell: &Plan, rounds: u32, mut ns: impl FnMut(u32) -> f64) {
        let mut again = cell.clone();
        again.run.label = Some(NULL_LABEL.into());
        for round in 0..rounds {
            let time = ns(round);
            self.add(cell, round, time);
            let time = ns(round);
            self.add(&again, round, time);
        }
    }

    /// Gives every run a floor.
    pub fn floor(&mut self, ns: f64) {
        for run in &mut self.runs {
            let multiple = run.per_message_ns().filter(|_| run.workload == Workload::PingPong).map(|time| time / ns);
            let both = vec![ns, ns];
            run.floor =
                Some(Floor { line_rtt_ns: both.clone(), kind: Some(Kind::Futex), handover_rtt_ns: both, multiple });
        }
    }

    /// Gives every run a time of launch: its round begins at `hour`, so many minutes later for each round.
    pub fn clock(&mut self, hour: u32, minutes: u32) {
        for run in &mut self.runs {
            let (round, order) = (run.run.round, run.run.order);
            run.run.started = format!("2026-01-31T{hour:02}:{:02}:00.{:03}Z", round * minutes, order % 1000);
        }
    }

    /// Writes the folder.
    pub fn write(self, dir: &Path) -> PathBuf {
        let mut cells: Vec<Plan> = Vec::new();
        for run in &self.runs {
            let placement = run.placement.requested;
            let Outcome { workload, size, wait, parties, several, offered, .. } = *run;
            let plan = Plan {
                mechanism: run.mechanism.clone(),
                run: RunId { label: run.run.label.clone(), ..RunId::default() },
                workload,
                size,
                wait,
                parties,
                several,
                offered,
                placement,
                ..Plan::default()
            };
            if !cells.contains(&plan) {
                cells.push(plan);
            }
        }
        let campaign = Campaign { rounds: 6, cells, ..Campaign::default() };
        let mut journal = Journal::create(dir, &self.host, &campaign).expect("a new folder");
        self.runs.iter().for_each(|run| journal.append(run).expect("it can be written"));
        dir.to_path_buf()
    }
}

/// CPU time that each of two parties took for a message, ns.
pub fn cpu(run: &mut Outcome, each: f64) {
    run.cpu_ns_per_message = vec![CpuCost { user: each, system: 0.0 }; 2];
}

/// Stamped round trips of a run: latencies with their counts.
pub fn stamped(run: &mut Outcome, histogram: &[(u64, u64)]) {
    let (none, mean) = (None, run.per_message_ns().unwrap_or_default());
    let histogram = histogram.to_vec();
    let rtt =
        Rtt { mean, min: none, p50: none, p90: none, p99: none, p999: none, max: none, stamped_mean: None, histogram };
    run.rtt_ns = Some(rtt);
}

/// Noise of so many per cent that is the same in every test run.
pub fn noise(seed: u64, percent: f64) -> impl FnMut() -> f64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    move || 1.0 + percent / 50.0 * (rng.f64() - 0.5)
}

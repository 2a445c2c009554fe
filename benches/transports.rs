//! Every mechanism side by side, per class, through criterion.
//!
//! Key decision: criterion orders batches from a *persistent cell*, the process that the comparer launches, over its
//! standard streams; what is timed is the cell's own batch window, so criterion's closure adds nothing to a message.
//! Its interval is within one launch and therefore too narrow to rank mechanisms by: `ipcost compare` takes fresh
//! launches for that. Use these benches to see what a change to the code does.
//!
//! # Timing model
//! One sample = `iters` messages (round trips) between two clock readings inside the cell, divided by `iters`.

use criterion::{BenchmarkId, Criterion, Throughput};
use ipcost::cell::admit;
use ipcost::plan::{Parties, Placement, Plan, Wait, Workload, show_size};
use ipcost::transport::ALL;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A running cell that carries as many messages as it is told.
struct Cell {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Cell {
    /// A cell that is ready; `None` where this machine cannot run it.
    fn start(plan: &Plan) -> Option<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ipcost"))
            .args(["cell", "--serve", "--parent", &std::process::id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the comparer was built");
        let orders = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        let mut cell = Self { child, orders, answers };
        let ready = cell.ask(&serde_json::to_string(plan).expect("a plan is JSON"));
        if ready.contains("\"status\":\"unsupported\"") {
            return None;
        }
        assert_eq!(ready, "ready", "the cell did not start");
        Some(cell)
    }

    fn ask(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("the cell listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the cell answers");
        line.trim().to_string()
    }

    fn carry(&mut self, messages: u64) -> Duration {
        let answer = self.ask(&messages.to_string());
        Duration::from_nanos(answer.parse().unwrap_or_else(|_| panic!("the cell failed: {answer}")))
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // A cell that is stuck or done: either way it has no purpose any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn classes() -> Vec<(Workload, usize, Wait, Placement)> {
    let cpus = ipcost::sys::cpu::allowed().map_or(1, |cpus| cpus.len());
    let mut classes = vec![(Workload::PingPong, 64, Wait::Block, Placement::SameCpu)];
    if cpus > 1 {
        classes.extend([
            (Workload::PingPong, 64, Wait::Block, Placement::CrossCpu),
            (Workload::PingPong, 64, Wait::Spin, Placement::CrossCpu),
            (Workload::PingPong, 64 << 10, Wait::Spin, Placement::CrossCpu),
            (Workload::Stream, 64, Wait::Spin, Placement::CrossCpu),
            (Workload::Stream, 64 << 10, Wait::Block, Placement::CrossCpu),
        ]);
    } else {
        classes.push((Workload::Stream, 64 << 10, Wait::Block, Placement::SameCpu));
    }
    classes
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(1000))
        .sample_size(10)
        .configure_from_args();
    for (workload, size, wait, placement) in classes() {
        let mut group = criterion.benchmark_group(format!("{workload} {} {wait} {placement}", show_size(size)));
        if workload == Workload::Stream {
            group.throughput(Throughput::Bytes(size as u64));
        }
        for runner in ALL {
            for parties in runner.spec().parties {
                let plan = Plan {
                    mechanism: runner.spec().name.into(),
                    workload,
                    size,
                    wait,
                    parties: *parties,
                    placement,
                    ..Plan::default()
                };
                if admit(&plan, runner.spec(), &runner.bound()).is_err() {
                    continue;
                }
                let Some(mut cell) = Cell::start(&plan) else { continue };
                let id = match parties {
                    Parties::Solo => BenchmarkId::from_parameter(&plan.mechanism),
                    parties => BenchmarkId::new(&plan.mechanism, parties),
                };
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|iters| cell.carry(iters));
                });
            }
        }
        group.finish();
    }
    criterion.final_summary();
}

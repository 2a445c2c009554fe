//! The instrument itself: what the clock, the histogram, the gate, the payload work and the `null` mechanism cost.
//!
//! These are the costs that are in every row. None is subtracted from a result; this is where to look when a row comes
//! close to them.

use criterion::{BenchmarkId, Criterion, Throughput};
use ipcost::measure::Histogram;
use ipcost::plan::Touch;
use ipcost::shm::ledger::Ledger;
use ipcost::shm::region::Region;
use ipcost::sys::{clock, usage::Usage};
use ipcost::transport::{Config, Copy, Notes, Null, Transport};
use ipcost::workload::payload::{Payload, Way};
use ipcost::workload::{Batch, Load, ping_pong};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn instruments(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("instrument");
    group.bench_function("clock reading", |b| b.iter(|| black_box(clock::now())));
    let mut histogram = Histogram::default();
    let mut value = 100;
    group.bench_function("histogram record", |b| {
        b.iter(|| {
            value = 100 + (value * 7) % 4001;
            histogram.record(black_box(value));
        });
    });
    group.bench_function("resource usage", |b| b.iter(|| black_box(Usage::now())));
    group.bench_function("gate there and back", |b| b.iter_custom(gates));
    group.finish();
}

/// `iters` turns of two threads that open gates for each other.
fn gates(iters: u64) -> Duration {
    let ledger = Ledger::lay(&Arc::new(Region::heap(size_of::<Ledger>())));
    let turns = u32::try_from(iters).expect("criterion asks for less than 2^32 turns").min(u32::MAX - 2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 1..=turns {
                ledger.go.pass(turn, || true);
                ledger.ready.open(turn);
            }
        });
        let start = Instant::now();
        for turn in 1..=turns {
            ledger.go.open(turn);
            ledger.ready.pass(turn, || true);
        }
        start.elapsed()
    })
}

fn payload(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("payload");
    let payload = Payload::new(Touch::Whole);
    for size in [8, 64, 4096, 65536] {
        let mut message = vec![0; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("fill", size), |b| {
            b.iter(|| payload.fill(Way::Out, black_box(7), black_box(&mut message)));
        });
        group.bench_function(BenchmarkId::new("check", size), |b| {
            b.iter(|| payload.check(Way::Out, black_box(7), black_box(&message)));
        });
    }
    group.finish();
}

/// Time per *message* of a control: a round trip is two of them.
fn control<T: Transport>(criterion: &mut Criterion, touch: Touch, name: &str) {
    let mut group = criterion.benchmark_group(format!("{} per message, {name}", T::SPEC.name));
    for size in [8, 64, 4096, 65536] {
        let cfg = Config {
            size,
            wait: ipcost::plan::Wait::Spin,
            processes: false,
            dir: std::env::temp_dir(),
            patience: Duration::ZERO,
            pages: ipcost::plan::Pages::default(),
            notes: Notes::default(),
        };
        let mut sides = T::link(&cfg).expect("a control needs nothing");
        let mut load = Load::of(touch, 0);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter_custom(|iters| {
                let start = Instant::now();
                ping_pong::alone(&mut sides, &mut load, iters.div_ceil(2), &mut Batch).expect("a control never fails");
                start.elapsed()
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(20)
        .configure_from_args();
    instruments(&mut criterion);
    payload(&mut criterion);
    control::<Null>(&mut criterion, Touch::Whole, "whole payload");
    control::<Null>(&mut criterion, Touch::Header, "header only");
    control::<Copy>(&mut criterion, Touch::Whole, "whole payload");
    criterion.final_summary();
}

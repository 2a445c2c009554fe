//! A record of each kind with every field that it can have. Struct literals without a rest, so that a new field does not
//! compile until it is here, and then not pass until it is in `docs/schema/`.

use ipcost::campaign::journal::{Campaign, Terms};
use ipcost::campaign::matrix::Profile;
use ipcost::campaign::trace::{Moved, Trace};
use ipcost::cell::Disturbance;
use ipcost::cell::{self, CpuCost, Faults, Floor, Outcome, Placed, Rtt, Switches, Throughput, Verified};
use ipcost::claim::record::{self, Line};
use ipcost::claim::{self, Values};
use ipcost::faults::record::{After, Row};
use ipcost::faults::{self, Harm, Moment};
use ipcost::host::Host;
use ipcost::lines::Unknown;
use ipcost::measure::floor;
use ipcost::measure::limits::place::{Closeness, Place, Regime, Stated};
use ipcost::measure::limits::{CopyRate, Figure, Level, Limits, Order, Probe, Unit};
use ipcost::measure::load::{Latencies, LoadPoint};
use ipcost::measure::stats::Estimate;
use ipcost::plan::{
    Arrivals, Offered, Pages, Parties, Placement, Plan, Plant, RunId, Several, Span, Touch, Via, Wait, Workload,
};
use ipcost::sys::clock::Timer;
use ipcost::transport::{Role, Sign};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const WHEN: &str = "2026-01-31T12:00:00.000Z";

/// Every kind of record: the name of its schema, and the record. Of what is one or the other there are two.
pub fn all() -> [(&'static str, Value); 8] {
    let value = |record: &dyn erased::Record| record.value();
    [
        ("cells", value(&outcome())),
        ("campaign", value(&campaign(Span::Messages(1)))),
        ("campaign", value(&campaign(Span::Millis(1)))),
        ("host", value(&host())),
        ("limits", value(&limits())),
        ("traces", value(&trace())),
        ("claims", value(&line())),
        ("faults", value(&row())),
    ]
}

mod erased {
    pub trait Record {
        fn value(&self) -> serde_json::Value;
    }
    impl<T: serde::Serialize> Record for T {
        fn value(&self) -> serde_json::Value {
            serde_json::to_value(self).unwrap()
        }
    }
}

fn several() -> Several {
    Several { outstanding: Some(2), batch: Some(3), peers: Some(4) }
}

fn pages() -> Pages {
    Pages { huge: true, populate: true }
}

fn offered() -> Option<Offered> {
    Some(Offered { rate: Some(5), arrivals: Arrivals::Constant })
}

fn words() -> BTreeMap<String, String> {
    BTreeMap::from([("any".into(), "words".into())])
}

fn run() -> RunId {
    RunId { round: 1, order: 2, seed: 3, started: WHEN.into(), label: Some("again".into()) }
}

fn disturbance() -> Option<Disturbance> {
    Some(Disturbance { steal_ns: Some(1), foreign_cpu_ns: Some(2), harness_cpu_ns: 3, wall_ns: 4, cpus: 2 })
}

fn latencies() -> Latencies {
    Latencies { p50: Some(1), p90: Some(2), p99: Some(3), p999: Some(4), max: 5, histogram: vec![(1, 1)] }
}

fn rtt() -> Rtt {
    Rtt {
        mean: 1.5,
        min: Some(1),
        p50: Some(1),
        p90: Some(2),
        p99: Some(3),
        p999: Some(4),
        max: Some(5),
        stamped_mean: Some(1.5),
        histogram: vec![(1, 2)],
    }
}

fn load() -> LoadPoint {
    LoadPoint {
        offered_per_s: 1.0,
        share: Some(0.5),
        achieved_per_s: 1.0,
        messages: 1,
        verified: 1,
        from_intended: latencies(),
        from_actual: latencies(),
        backlog_max: 1,
        backlog_end: 0,
        late_share: 0.5,
        early: 1,
        reached: true,
    }
}

fn outcome() -> Outcome {
    Outcome {
        schema: cell::SCHEMA,
        mechanism: "pipe".into(),
        workload: Workload::PingPong,
        several: several(),
        size: 64,
        wait: Wait::Hybrid(7),
        parties: Parties::Process,
        touch: Touch::Whole,
        nagle: true,
        pages: pages(),
        delay_ns: 1,
        stall_ms: 1,
        offered: offered(),
        plant: Some(Plant::Flip),
        placement: Placed {
            requested: Placement::Cpus(0, 1),
            cpus: Some(vec![0, 1]),
            observed: vec![vec![0], vec![1]],
            migrations: vec![0, 0],
        },
        run: run(),
        messages: 1,
        bytes: 64,
        elapsed_ns: 1,
        rtt_ns: Some(rtt()),
        load: vec![load()],
        via: Some(Via::InTurn),
        shares: vec![1],
        fairness: Some(1.0),
        throughput: Some(Throughput { messages_per_s: 1.0, bytes_per_s: 64.0 }),
        setup_ns: Some(1),
        teardown_ns: Some(1),
        memory_bytes: Some(1),
        first_message_ns: Some(1),
        warm_up_messages: 1,
        cpu_ns_per_message: vec![CpuCost { user: 1.0, system: 1.0 }],
        switches_per_message: vec![Switches { voluntary: 1.0, involuntary: 1.0 }],
        faults: vec![Faults { minor: 1, major: 1 }],
        run_delay_ns: vec![1],
        pids: vec![1],
        one_address_space: Some(true),
        verified: Some(Verified { messages: 1, bytes: 64 }),
        floor: Some(Floor {
            line_rtt_ns: vec![1.0],
            kind: Some(floor::Kind::Line),
            handover_rtt_ns: vec![1.0],
            multiple: Some(1.0),
        }),
        timer: Some(Timer { cost_ns: 1.0, tick_ns: 1 }),
        disturbance: disturbance(),
        notes: words(),
        status: cell::Status::Ok,
        flags: vec!["steal".into()],
        invalid: Some("why".into()),
        reason: Some("why".into()),
        unknown: Unknown::new(),
    }
}

fn campaign(length: Span) -> Campaign {
    let plan = Plan {
        mechanism: "pipe".into(),
        workload: Workload::Stream,
        offered: offered(),
        several: several(),
        size: 64,
        wait: Wait::Block,
        parties: Parties::Thread,
        touch: Touch::Header,
        placement: Placement::SameCpu,
        span: Span::Millis(100),
        dir: Some("/tmp".into()),
        nagle: true,
        pages: pages(),
        delay_ns: 1,
        stall_ms: 1,
        plant: Some(Plant::Drop),
        run: run(),
    };
    let counted = Plan { span: Span::Messages(5), ..plan.clone() };
    let terms = Terms { profile: Profile::Quick, run: length, budget_ms: 1, most_rounds: 6 };
    Campaign { seed: 1, rounds: 6, terms: Some(terms), cells: vec![plan, counted], unsupported: vec![outcome()] }
}

fn host() -> Host {
    Host {
        slug: "any".into(),
        cpu: "any".into(),
        cpus: 2,
        allowed: vec![0, 1],
        hypervisor: "none".into(),
        kernel: "any".into(),
        facts: words(),
        build: words(),
        taken: WHEN.into(),
    }
}

fn figure(unit: Unit) -> Figure {
    let estimate = Estimate { n: 6, median: 2.0, interval: Some((1.0, 3.0)) };
    Figure { estimate, min: 1.0, max: 3.0, p90: Some(3.0), unit, method: "any".into() }
}

fn limits() -> Limits {
    let kernel = Stated { siblings: Some("0".into()), caches: words(), closeness: Some(Closeness::SameCache) };
    let rate = figure(Unit::BytesPerSecond);
    Limits {
        schema: ipcost::measure::limits::SCHEMA,
        taken: WHEN.into(),
        elapsed_ms: 1,
        order: Order { cpus: [0, 1], quick: true },
        figures: Probe::ALL.iter().map(|probe| (*probe, figure(Unit::Nanoseconds))).collect(),
        memcpy: vec![CopyRate { level: Level::Dram, cache_bytes: Some(1), working_set: 1, rate }],
        timer_slack_ns: Some(1),
        place: Some(Place {
            kernel,
            probe: vec![Regime { repetitions: 2, line_rtt_ns: 1.0, looks_like: Closeness::Siblings }],
        }),
        absent: words(),
    }
}

fn trace() -> Trace {
    Trace {
        mechanism: "pipe".into(),
        workload: Workload::PingPong,
        several: several(),
        size: 64,
        wait: Wait::Spin,
        parties: Parties::Process,
        placement: Placement::CrossCpu,
        touch: Touch::Whole,
        nagle: true,
        pages: pages(),
        messages: 25,
        calls: vec![BTreeMap::from([("read".into(), 1.0)])],
        bytes: vec![Moved { out: 1.0, into: 1.0, most_out: 1.0, most_in: 1.0 }],
        pids: vec![1],
        tids: vec![1],
        unavailable: Some("why".into()),
        maps: vec![],
        one_memory: None,
        notes: BTreeMap::new(),
        unknown: Unknown::new(),
    }
}

fn line() -> Line {
    let cell = claim::Cell {
        claim: "any".into(),
        case: "any".into(),
        with: json!({"ring": 2}),
        millis: 1,
        label: Some("again".into()),
        plant: Some("any".into()),
    };
    let values = Values::from([("hop_ns".into(), 1.0)]);
    Line {
        schema: record::SCHEMA,
        cell,
        round: 0,
        order: 0,
        seed: 1,
        started: WHEN.into(),
        answer: record::Answer { status: record::Status::Ok, reason: Some("why".into()), values },
        flags: vec!["steal".into()],
        disturbance: disturbance(),
        unknown: Unknown::new(),
    }
}

fn row() -> Row {
    let cell = faults::Cell {
        mechanism: "pipe".into(),
        parties: Parties::Process,
        victim: Role::Producer,
        harm: Harm::Kill,
        moment: Moment::Idle,
    };
    Row {
        schema: faults::record::SCHEMA,
        cell,
        seed: 1,
        status: record::Status::Ok,
        reason: Some("why".into()),
        size: 64,
        n: 7,
        signs: Sign::ALL.into_iter().map(|sign| (sign, 1)).collect(),
        after_ns: Some(After { median: 1, max: 2 }),
        patience_ms: 1,
        sent: 1,
        right: 1,
        lost: 1,
        wrong: 1,
        left: BTreeMap::from([("a file".into(), 1)]),
        fresh: 1,
        ended: 1,
        others: Some(0.5),
        unknown: Unknown::new(),
    }
}

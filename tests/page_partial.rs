//! `report.html` of folders that hold one kind of data only: every section without data says which kind it needs, which
//! the folder has, and the command that measures it.

mod common;

use common::pages::{Runs, figure, offer, section, sentences, tables};
use ipcost::cell::Throughput;
use ipcost::plan::{Parties, Workload};
use ipcost::report::page::blocks::Page;

/// Two rounds of two mechanisms, made into something else than round trips by `change`.
fn two(change: impl Fn(&mut ipcost::cell::Outcome)) -> Runs {
    let mut runs = Runs::default();
    for round in 0..2 {
        for (mechanism, ns) in [("pipe", 1000.0), ("shm-ring", 500.0)] {
            change(runs.plain(mechanism, round, ns));
        }
    }
    runs
}

fn streams() -> Runs {
    two(|run| {
        run.workload = Workload::Stream;
        run.rtt_ns = None;
        run.throughput = Some(Throughput { messages_per_s: 1e6, bytes_per_s: 64e6 });
    })
}

/// `pipe` reached every rate of these, `shm-ring` the first only.
fn loads(rates: &[u64]) -> Runs {
    let mut runs = Runs::default();
    for (number, rate) in rates.iter().enumerate() {
        offer(&mut runs, *rate, 20_000, true);
        let first = runs.0.len();
        offer(&mut runs, *rate, 20_000, number == 0);
        runs.0[first..].iter_mut().for_each(|run| run.mechanism = "shm-ring".into());
    }
    runs
}

/// What a section says that has no data, and its command.
fn absent<'a>(page: &'a Page, id: &str) -> (&'a str, &'a str) {
    let absent = section(page, id).absent.as_ref().unwrap_or_else(|| panic!("{id} has data"));
    (&absent.what, absent.command)
}

#[test]
fn offered_loads_alone_are_no_lack_of_mechanisms() {
    let page = loads(&[10_000, 30_000]).page();
    for (id, needs) in [
        ("latency-size", "offered loads, and no plain round trips."),
        ("throughput-size", "offered loads, and no streams."),
        ("percentiles", "offered loads, and no round trips."),
        ("cpu", "offered loads, and no round trips."),
        ("ratios", "offered loads, and no round trips or streams. Times per message are compared"),
        ("twins", "offered loads, and no round trips or streams. Times per message are compared"),
    ] {
        let (what, command) = absent(&page, id);
        assert!(what.contains(needs), "{id}: {what}");
        assert!(command.starts_with("ipcost compare "), "{id}: {command}");
    }
    let said = sentences(&page);
    let carried = "Load of 64 B between processes: blocking across two CPUs, 1 of 2 carried 30.0 k/s, the highest rate \
                   offered (the others: shm-ring up to 10.0 k/s).";
    assert_eq!(said[0], carried);
    assert!(said[1].contains("no round trips or streams whose times could be compared"), "{}", said[1]);
    assert!(figure(&page, "runs").notes.iter().any(|note| note.contains("is the rate's")));
}

#[test]
fn the_answer_to_loads_says_where_all_or_none_carried_them() {
    let said = |runs: Runs| sentences(&runs.page())[0].to_string();
    let all = said(loads(&[10_000]));
    assert!(all.ends_with("all 2 carried 10.0 k/s, the highest rate offered."), "{all}");
    let mut none = Runs::default();
    offer(&mut none, 10_000, 20_000, false);
    let page = none.page();
    assert!(sentences(&page)[0].ends_with("nothing carried any rate that was offered."), "{}", sentences(&page)[0]);
}

#[test]
fn rates_without_a_point_make_no_empty_figure_and_say_why() {
    let mut unreached = Runs::default();
    [10_000, 30_000].into_iter().for_each(|rate| offer(&mut unreached, rate, 20_000, false));
    let mut thin = loads(&[10_000, 30_000]);
    // 90 samples a launch, 540 of a row: p99 would need a thousand.
    let latencies = |run: &mut ipcost::cell::Outcome| run.load[0].from_intended.histogram = vec![(20_000, 90)];
    thin.0.iter_mut().for_each(latencies);
    for (runs, why) in [(unreached, "no mechanism reached any of the rates"), (thin, "p99 needs ten samples beyond it")]
    {
        let page = runs.page();
        let load = section(&page, "load");
        assert!(load.lead[0].contains(why), "{:?}", load.lead);
        assert!(load.absent.is_none() && tables(&load.blocks)[0].rows.len() > 1);
    }
}

#[test]
fn a_table_without_p99_says_so_in_place_of_a_scale_of_bars() {
    let mut runs = loads(&[10_000]);
    runs.0.iter_mut().for_each(|run| run.load[0].from_intended.histogram = vec![(20_000, 90)]);
    let page = runs.page();
    let notes = &tables(&section(&page, "ranks").blocks)[0].notes;
    assert!(notes[0].starts_with("No bars: p99 needs ten samples"), "{notes:?}");
    assert_eq!(section(&page, "ranks").lead.len(), 1, "no floor was measured, and none is explained");
}

#[test]
fn streams_alone_are_answered_in_time_per_message() {
    let page = streams().page();
    for id in ["latency-size", "percentiles", "cpu"] {
        assert!(absent(&page, id).0.starts_with("This campaign has streams, and no "), "{id}: {}", absent(&page, id).0);
    }
    assert!(
        absent(&page, "throughput-size").0.contains("streams, all of 64 B; a line against the size needs two sizes")
    );
    let said = sentences(&page)[0];
    assert!(said.starts_with("Time per message of a stream of 64 B between processes: blocking"), "{said}");
    assert!(section(&page, "ratios").absent.is_none(), "two mechanisms have a ratio");
    let notes = &tables(&section(&page, "ranks").blocks)[0].notes;
    assert!(notes[0].contains("below six launches there is no interval"), "{notes:?}");
}

#[test]
fn one_mechanism_between_processes_lacks_something_to_be_compared_with() {
    let mut runs = Runs::default();
    for round in 0..6 {
        runs.plain("pipe", round, 1000.0);
    }
    let page = runs.page();
    assert!(absent(&page, "ratios").0.contains("two mechanisms, or one between processes and between threads"));
    assert!(absent(&page, "twins").0.contains("one mechanism both between processes and between threads"));
    assert!(sentences(&page)[1].contains("both between processes and between threads"), "{}", sentences(&page)[1]);
}

#[test]
fn sizes_that_differ_in_more_than_the_size_make_no_line() {
    let mut runs = Runs::default();
    for round in 0..2 {
        runs.plain("pipe", round, 1000.0);
        let other = runs.add("pipe", Parties::Process, round, 4096, 3000.0);
        other.wait = ipcost::plan::Wait::Spin;
    }
    let what = absent(&runs.page(), "latency-size").0.to_string();
    assert!(what.contains("of several sizes, but no two in classes that differ in nothing else"), "{what}");
}

#[test]
fn requests_under_way_and_patterns_are_named_as_what_they_are() {
    let page = two(|run| run.several.outstanding = Some(4)).page();
    let what = absent(&page, "latency-size").0;
    assert!(what.contains("round trips of several requests under way, and no plain round trips"), "{what}");
    let page = two(|run| {
        run.workload = Workload::FanIn;
        run.several.peers = Some(4);
        run.rtt_ns = None;
    })
    .page();
    assert!(absent(&page, "throughput-size").0.contains("This campaign has fan-ins, and no streams."));
    assert!(sentences(&page)[0].starts_with("No plain round trip, stream or offered load"));
}

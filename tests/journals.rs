//! Tables from journals whose right answer is known: nothing is measured here.

use ipcost::campaign::journal::{Campaign, Journal};
use ipcost::campaign::matrix::{DELAY_LABEL, NULL_LABEL};
use ipcost::cell::{Outcome, Rtt, Status};
use ipcost::host::Host;
use ipcost::plan::{Parties, Plan, RunId};
use ipcost::report::rows::{Row, Which};
use ipcost::report::summary::ratio;
use ipcost::report::{Report, regenerate, table};
use std::collections::HashMap;

/// A journal in the making: runs get their position as they are added.
#[derive(Default)]
struct Journalled(Vec<Outcome>);

impl Journalled {
    /// Adds a run of `mechanism` between processes that took `ns` a round trip.
    fn add(&mut self, mechanism: &str, round: u32, ns: f64) -> &mut Outcome {
        let order = self.0.len() as u32;
        let plan = Plan {
            mechanism: mechanism.into(),
            parties: Parties::Process,
            run: RunId { round, order, ..RunId::default() },
            ..Plan::default()
        };
        let mut run = Outcome::empty(&plan, Status::Ok);
        run.messages = 1_000_000;
        run.elapsed_ns = (ns * 1e6) as u64;
        self.0.push(run);
        self.0.last_mut().expect("it was just added")
    }

    /// Adds a run of `mechanism` against itself: without such pairs nothing is told apart.
    fn add_null(&mut self, mechanism: &str, round: u32, ns: f64) {
        self.add(mechanism, round, ns).run.label = Some(NULL_LABEL.into());
    }

    /// Writes the journal and reads it back.
    fn report(self) -> Report {
        self.folder().1
    }

    fn folder(self) -> (tempfile::TempDir, Report) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("results");
        let mut journal = Journal::create(&folder, &Host::default(), &Campaign::default()).unwrap();
        self.0.iter().for_each(|run| journal.append(run).unwrap());
        let (report, _) = regenerate(&folder).unwrap();
        (dir, report)
    }
}

fn row<'a>(report: &'a Report, which: Which, mechanism: &str) -> &'a Row {
    report.summary(which).rows().find(|row| row.mechanism == mechanism).expect("the row exists")
}

fn ranks(report: &Report, which: Which) -> HashMap<&str, Option<usize>> {
    report.summary(which).rows().map(|row| (row.mechanism.as_str(), row.rank)).collect()
}

fn histogram(pairs: &[(u64, u64)]) -> Option<Rtt> {
    let histogram = pairs.to_vec();
    let (mean, none) = (0.0, None);
    let rtt =
        Rtt { mean, min: none, p50: none, p90: none, p99: none, p999: none, max: none, stamped_mean: None, histogram };
    Some(rtt)
}

/// Noise of a few per cent that is the same in every test run.
fn noise() -> impl FnMut() -> f64 {
    let mut rng = fastrand::Rng::with_seed(20);
    move || 1.0 + 0.05 * (rng.f64() - 0.5)
}

#[test]
fn an_interval_lies_between_the_ranks_that_the_binomial_gives() {
    for (n, low, high) in [(6, 1.0, 6.0), (10, 2.0, 9.0), (20, 6.0, 15.0)] {
        let mut journal = Journalled::default();
        // In no order: 7 and n have no common divisor.
        for i in 0..n {
            journal.add("pipe", i, f64::from(1 + i * 7 % n));
        }
        let time = row(&journal.report(), Which::All, "pipe").time.unwrap();
        assert_eq!((time.n, time.median, time.interval), (n as usize, f64::from(n + 1) / 2.0, Some((low, high))));
    }
}

#[test]
fn a_ratio_pairs_the_runs_of_a_round_whatever_their_order_in_it() {
    let mut journal = Journalled::default();
    for round in 0..8_u32 {
        let pace = f64::from(1 + round);
        if round % 2 == 0 {
            journal.add("pipe", round, 300.0 * pace);
            journal.add("unix-stream", round, 600.0 * pace);
        } else {
            journal.add("unix-stream", round, 600.0 * pace);
            journal.add("pipe", round, 300.0 * pace);
        }
        journal.add_null("pipe", round, 300.0 * pace);
    }
    // A round in which only one of them ran counts for neither.
    journal.add("pipe", 8, 1.0);
    let report = journal.report();
    let paired = ratio(row(&report, Which::All, "unix-stream"), row(&report, Which::All, "pipe")).unwrap();
    assert_eq!((paired.n, paired.median, paired.interval), (8, 2.0, Some((2.0, 2.0))));
    assert_eq!(ranks(&report, Which::All), [("pipe", Some(1)), ("unix-stream", Some(2))].into());
}

#[test]
fn rows_within_the_null_noise_tie_and_rows_beyond_it_do_not() {
    let mut journal = Journalled::default();
    for round in 0..6 {
        journal.add("pipe", round, 1000.0);
        journal.add_null("pipe", round, if round % 2 == 0 { 1100.0 } else { 950.0 });
        journal.add("unix-stream", round, 1080.0);
        journal.add("file", round, 1120.0);
    }
    let report = journal.report();
    assert!((report.all.groups[0].noise - 0.1).abs() < 1e-9);
    assert_eq!(ranks(&report, Which::All), [("pipe", Some(1)), ("unix-stream", Some(1)), ("file", Some(3))].into());
}

#[test]
fn a_planted_drift_is_found_in_its_row_and_in_no_other() {
    let (mut journal, mut noise) = (Journalled::default(), noise());
    for round in 0..20 {
        journal.add("pipe", round, 1000.0 * noise());
        journal.add("unix-stream", round, 1000.0 * noise());
        journal.add("file", round, 1000.0 * noise() * (1.0 + 0.01 * f64::from(round)));
    }
    let report = journal.report();
    let drift = &report.all.drift;
    assert_eq!((drift.tested, drift.moving.len()), (3, 1), "{:?}", drift.moving);
    assert!(drift.moving[0].starts_with("file between processes"), "{:?}", drift.moving);
    assert!(row(&report, Which::All, "file").drift.unwrap().rho > 0.8);
    let page = table::page(&report, Which::All, table::Style::Terminal);
    assert!(page.contains("1 of 3 rows move with run order: file"), "{page}");
}

#[test]
fn noise_alone_shows_no_drift() {
    let (mut journal, mut noise) = (Journalled::default(), noise());
    for round in 0..20 {
        for mechanism in ["pipe", "unix-stream", "file", "shm-ring", "mmap-file", "posix-shm"] {
            journal.add(mechanism, round, 1000.0 * noise());
        }
    }
    let report = journal.report();
    assert!(report.all.drift.moving.is_empty(), "{:?}", report.all.drift.moving);
    assert!(report.all.drift.whole.unwrap().p > 0.05);
    assert!(table::page(&report, Which::All, table::Style::Terminal).contains("none found in 6 rows"));
}

#[test]
fn a_machine_that_slows_down_as_a_whole_shows_in_all_runs_together() {
    let (mut journal, mut noise) = (Journalled::default(), noise());
    for round in 0..6 {
        for (mechanism, ns) in [("pipe", 1000.0), ("unix-stream", 9000.0), ("shm-ring", 100.0)] {
            journal.add(mechanism, round, ns * noise() * (1.0 + 0.04 * f64::from(round)));
        }
    }
    let drift = journal.report().all.drift;
    assert!(drift.whole.unwrap().p < 0.001, "{drift:?}");
    assert!((1.1..1.3).contains(&drift.last_to_first.unwrap()), "{drift:?}");
}

#[test]
fn flagged_runs_count_in_one_summary_and_not_in_the_other() {
    let mut journal = Journalled::default();
    for round in 0..12 {
        let flagged = round % 2 == 0;
        let run = journal.add("pipe", round, if flagged { 900.0 } else { 1300.0 });
        run.rtt_ns = histogram(&[(if flagged { 900 } else { 1300 }, 1000)]);
        if flagged {
            run.flags = vec!["steal".into()];
        }
        journal.add("unix-stream", round, 1200.0);
        journal.add_null("unix-stream", round, 1200.0);
    }
    let (dir, report) = journal.folder();
    let (all, clean) = (row(&report, Which::All, "pipe"), row(&report, Which::Unflagged, "pipe"));
    assert_eq!((all.runs.len(), all.flagged(), all.time.unwrap().median), (12, 6, 1100.0));
    assert_eq!((clean.runs.len(), clean.flagged(), clean.time.unwrap().median), (6, 0, 1300.0));
    assert_eq!(clean.time.unwrap().interval, Some((1300.0, 1300.0)));
    assert_eq!((all.samples.rtt.len(), clean.samples.rtt.len()), (12_000, 6000));
    assert_eq!(clean.samples.rtt.quantile(0.5), Some(1300));
    // Half of its runs are faster and half slower than the other mechanism, unflagged ones are all slower.
    assert_eq!(ranks(&report, Which::All), [("pipe", Some(1)), ("unix-stream", Some(1))].into());
    assert_eq!(ranks(&report, Which::Unflagged), [("pipe", Some(2)), ("unix-stream", Some(1))].into());
    assert_eq!((report.effect.moved.len(), report.effect.reranked.len(), report.effect.thin), (1, 1, 0));
    let page = table::page(&report, Which::All, table::Style::Terminal);
    for words in ["steal 6: the hypervisor", "1 of 2 rows would move", "1 of 2 rows would change rank: pipe"] {
        assert!(page.contains(words), "{words:?} is missing in\n{page}");
    }
    let file = |name: &str| std::fs::read_to_string(dir.path().join("results").join(name)).unwrap();
    assert!(file("summary-unflagged.md").contains("1.30 us"));
    let csv = file("summary.csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let heads = reader.headers().unwrap().clone();
    let pipe = reader.records().map(Result::unwrap).find(|record| record.iter().any(|field| field == "pipe")).unwrap();
    let field = |key: &str| &pipe[heads.iter().position(|head| head == key).unwrap()];
    let keys = ["n", "ns", "n_unflagged", "ns_unflagged", "ns_unflagged_low", "ns_unflagged_high"];
    assert_eq!(keys.map(field), ["12", "1100", "6", "1300", "1300", "1300"]);
}

#[test]
fn a_row_that_keeps_too_few_unflagged_runs_is_counted_and_not_called_a_change_of_rank() {
    let mut journal = Journalled::default();
    for round in 0..6 {
        journal.add("pipe", round, 1000.0);
        journal.add("unix-stream", round, 2000.0).flags = vec!["run-delay".into(); usize::from(round == 3)];
    }
    let report = journal.report();
    assert_eq!((report.effect.moved.len(), report.effect.reranked.len(), report.effect.thin), (0, 0, 1));
}

#[test]
fn a_run_that_was_not_believed_is_never_counted_and_a_row_of_such_runs_never_ranked() {
    let mut journal = Journalled::default();
    for round in 0..6 {
        journal.add("pipe", round, 1000.0);
        journal.add("unix-stream", round, 2000.0);
        journal.add_null("unix-stream", round, 2000.0);
        for (mechanism, status) in [("pipe", Status::Invalid), ("file", Status::Invalid), ("shm-ring", Status::Failed)]
        {
            let run = journal.add(mechanism, round, 1.0);
            run.status = status;
            run.reason = Some("it was not what it said".into());
        }
    }
    let report = journal.report();
    let pipe = row(&report, Which::All, "pipe");
    assert_eq!((pipe.runs.len(), pipe.bad.len(), pipe.time.unwrap().median), (6, 6, 1000.0));
    let expected = [("pipe", Some(1)), ("unix-stream", Some(2)), ("file", None), ("shm-ring", None)];
    assert_eq!(ranks(&report, Which::All), expected.into());
    let page = table::page(&report, Which::All, table::Style::Terminal);
    assert!(page.contains("INVALID") && page.contains("it was not what it said"), "{page}");
}

#[test]
fn a_percentile_of_merged_runs_counts_the_samples_of_all_of_them() {
    let mut journal = Journalled::default();
    // Each run has one sample beyond its 99th percentile, ten runs together have ten.
    for round in 0..10 {
        journal.add("pipe", round, 500.0).rtt_ns = histogram(&[(100, 99), (900, 1)]);
        if round < 9 {
            journal.add("file", round, 500.0).rtt_ns = histogram(&[(100, 99), (900, 1)]);
        }
    }
    let report = journal.report();
    assert_eq!(row(&report, Which::All, "pipe").samples.rtt.quantile(0.99), Some(100));
    assert_eq!(row(&report, Which::All, "file").samples.rtt.quantile(0.99), None);
    assert_eq!(row(&report, Which::All, "pipe").samples.rtt.max(), Some(900));
}

#[test]
fn a_planted_delay_is_found_by_pairs() {
    let (mut journal, mut noise) = (Journalled::default(), noise());
    for round in 0..10 {
        let pace = 5000.0 * noise();
        journal.add("pipe", round, pace);
        let run = journal.add("pipe", round, pace + 1004.0);
        (run.run.label, run.delay_ns) = (Some(DELAY_LABEL.into()), 1000);
    }
    let report = journal.report();
    let planted = report.all.planted.as_ref().unwrap();
    assert!((planted.seen.median - 1004.0).abs() < 0.01 && planted.ns == 1000);
    assert!(table::page(&report, Which::All, table::Style::Terminal).contains("found again"));
}

#[test]
fn the_same_journal_gives_the_same_bytes() {
    let (mut journal, mut noise) = (Journalled::default(), noise());
    for round in 0..12 {
        journal.add("pipe", round, noise());
    }
    let (dir, _) = journal.folder();
    let folder = dir.path().join("results");
    let bytes = || {
        let (_, written) = regenerate(&folder).unwrap();
        written.iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(bytes(), bytes());
}

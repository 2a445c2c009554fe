//! Campaigns in the making, whose right answer is known, and the sections of their page.

use ipcost::campaign::journal::{Campaign, Journal};
use ipcost::cell::{CpuCost, Outcome, Rtt, Status};
use ipcost::host::Host;
use ipcost::measure::load::{Latencies, LoadPoint};
use ipcost::plan::{Offered, Parties, Plan, RunId, Workload};
use ipcost::report::Report;
use ipcost::report::page::blocks::{Block, Figure, Page, Section, Table};
use ipcost::report::page::{Material, page};
use std::path::Path;

/// Runs of a campaign; each gets its position as it is added.
#[derive(Default)]
pub struct Runs(pub Vec<Outcome>);

impl Runs {
    pub fn add(&mut self, mechanism: &str, parties: Parties, round: u32, size: usize, ns: f64) -> &mut Outcome {
        let order = self.0.len() as u32;
        let plan = Plan {
            mechanism: mechanism.into(),
            parties,
            size,
            run: RunId { round, order, ..RunId::default() },
            ..Plan::default()
        };
        let mut run = Outcome::empty(&plan, Status::Ok);
        run.messages = 1_000_000;
        run.elapsed_ns = (ns * 1e6) as u64;
        run.cpu_ns_per_message = vec![CpuCost { user: 0.4 * ns, system: 0.6 * ns }];
        let histogram = vec![(ns as u64, 99_000), (3 * ns as u64, 1000)];
        let none = None;
        run.rtt_ns = Some(Rtt {
            mean: ns,
            min: none,
            p50: none,
            p90: none,
            p99: none,
            p999: none,
            max: none,
            stamped_mean: None,
            histogram,
        });
        self.0.push(run);
        self.0.last_mut().expect("it was just added")
    }

    /// A round trip of 64 bytes between processes.
    pub fn plain(&mut self, mechanism: &str, round: u32, ns: f64) -> &mut Outcome {
        self.add(mechanism, Parties::Process, round, 64, ns)
    }

    pub fn write(&self, folder: &Path, host: &Host) {
        let mut journal = Journal::create(folder, host, &Campaign::default()).unwrap();
        self.0.iter().for_each(|run| journal.append(run).unwrap());
    }

    pub fn page(&self) -> Page {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("results");
        self.write(&folder, &Host::default());
        let report = Report::load(&folder).unwrap();
        page(&Material::of(&report, &folder), &[])
    }
}

/// A campaign that offered one rate, with latencies of about `p99`.
pub fn offered(rate: u64, p99: u64, reached: bool) -> Runs {
    let mut runs = Runs::default();
    offer(&mut runs, rate, p99, reached);
    runs
}

/// Six rounds at one rate.
pub fn offer(runs: &mut Runs, rate: u64, p99: u64, reached: bool) {
    for round in 0..6 {
        let run = runs.plain("pipe", round, 1e9 / rate as f64);
        run.workload = Workload::OfferedLoad;
        run.rtt_ns = None;
        run.offered = Some(Offered { rate: Some(rate), ..Offered::default() });
        let from_intended = Latencies { histogram: vec![(p99 / 2, 9800), (p99, 200)], ..Latencies::default() };
        let point =
            LoadPoint { offered_per_s: rate as f64, achieved_per_s: rate as f64, reached, ..LoadPoint::default() };
        run.load = vec![LoadPoint { from_intended, ..point }];
    }
}

pub fn section<'a>(page: &'a Page, id: &str) -> &'a Section {
    page.sections.iter().find(|section| section.id == id).unwrap_or_else(|| panic!("there is no section {id:?}"))
}

/// Every table of a section, those below figures and in folds included.
pub fn tables(blocks: &[Block]) -> Vec<&Table> {
    let of = blocks.iter().flat_map(|block| match block {
        Block::Table(table) => vec![table],
        Block::Figure(figure) => vec![&figure.table],
        Block::Fold { blocks, .. } => tables(blocks),
        Block::List { .. } => vec![],
    });
    of.collect()
}

pub fn figure<'a>(page: &'a Page, id: &str) -> &'a Figure {
    match &section(page, id).blocks[..] {
        [Block::Figure(figure)] => figure,
        other => panic!("{id}: {} blocks and no figure", other.len()),
    }
}

pub fn sentences(page: &Page) -> Vec<&str> {
    match &section(page, "answer").blocks[..] {
        [Block::List { items, .. }] => items.iter().map(|item| item.text.as_str()).collect(),
        _ => panic!("the answer is no list"),
    }
}

//! Tables are a pure function of the raw files, and say what the raw files say.
//!
//! A tiny campaign in a temporary folder is reported twice and must give the same bytes; and the medians of its CSV file
//! must be those that are computed here from the lines of `cells.jsonl`, read as plain JSON.

use super::{Bench, Sabotage, one_cpu, tried};
use crate::campaign::journal::{Campaign, Done, Journal};
use crate::campaign::launch::is_failure;
use crate::campaign::runner::{Budget, Progress, Runner};
use crate::cell::Outcome;
use crate::error::{Context, Error, Phase, Result};
use crate::host::Host;
use crate::plan::{Parties, Plan, Span, Workload};
use crate::report::regenerate;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const ROUNDS: u32 = 3;

/// See the [module](self).
pub fn run(bench: &mut Bench<'_>) {
    let found = tried(compared(bench));
    let (bytes, medians) = match found {
        Ok((bytes, medians)) => (Ok(bytes), Ok(medians)),
        Err(error) => (Err(error.clone()), Err(error)),
    };
    bench.report("tables", "reported twice", "the same bytes", bytes);
    bench.report("tables", "medians of the CSV file", "those of cells.jsonl", medians);
}

type Answer = (bool, String);

fn compared(bench: &mut Bench<'_>) -> Result<(Answer, Answer)> {
    let folder =
        crate::names::folder_in(&std::env::temp_dir()).context(Phase::Report, "cannot make a temporary folder")?;
    let dir = folder.path().join("campaign");
    measure(bench, &dir)?;
    let first = contents(regenerate(&dir)?.1)?;
    if bench.sabotaged(Sabotage::Tables) {
        falsify(&dir)?;
    }
    let second = contents(regenerate(&dir)?.1)?;
    let same = first == second && !first.is_empty();
    let said = if same { "the same" } else { "different" };
    let bytes = (same, format!("{} files, {said} bytes", first.len()));
    Ok((bytes, medians(&dir, &first)?))
}

/// Keeps why the first bad run is bad.
#[derive(Default)]
struct Complaint(Option<String>);
impl Progress for Complaint {
    fn starts(&mut self, _: usize, _: usize, _: &Plan) {}
    fn ended(&mut self, outcome: &Outcome) {
        if is_failure(outcome) && self.0.is_none() {
            self.0 = Some(format!("{}: {}", outcome.mechanism, outcome.reason.as_deref().unwrap_or_default()));
        }
    }
}

fn measure(bench: &mut Bench<'_>, dir: &Path) -> Result<()> {
    let model = one_cpu(Workload::PingPong, Span::Millis(30));
    let cell = |name: &str, parties| Plan { mechanism: name.into(), parties, ..model.clone() };
    let cells = vec![
        cell("pipe", Parties::Process),
        cell("pipe", Parties::Thread),
        cell("shm-ring", Parties::Process),
        cell("null", Parties::Solo),
    ];
    let campaign = Campaign { seed: 1, rounds: ROUNDS, cells, terms: None, unsupported: vec![] };
    let mut journal = Journal::create(dir, &Host::read(), &campaign)?;
    let mut complaint = Complaint::default();
    let mut runner = Runner {
        campaign: &campaign,
        budget: Budget { run: model.span, total: None },
        done: Done::default(),
        progress: &mut complaint,
        launch: &mut |plan: &Plan| bench.launch(plan),
        extend: &mut |_| Ok(vec![]),
        interrupted: &super::interrupted,
    };
    let tally = runner.run(&mut journal)?;
    if tally.bad > 0 {
        let bad = Error::failed(Phase::Measure, format!("{} of {} runs are bad", tally.bad, tally.runs));
        return Err(bad.because(complaint.0.unwrap_or_default()));
    }
    Ok(())
}

fn contents(paths: Vec<PathBuf>) -> Result<BTreeMap<PathBuf, Vec<u8>>> {
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).context(Phase::Report, format!("cannot read {}", path.display()))?;
        Ok((path, bytes))
    };
    paths.into_iter().map(read).collect()
}

/// Makes every run of the journal much slower.
fn falsify(dir: &Path) -> Result<()> {
    let path = dir.join("cells.jsonl");
    let cannot = "cannot falsify the journal";
    let text = fs::read_to_string(&path).context(Phase::Report, cannot)?;
    let slower = text.replace("\"elapsed_ns\":", "\"elapsed_ns\":9");
    fs::write(&path, slower).context(Phase::Report, cannot)
}

/// Compares the CSV file with what the journal's lines give.
fn medians(dir: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Answer> {
    let wrong = |what: &str| Error::failed(Phase::Report, what.to_string());
    let csv = files.get(&dir.join("summary.csv")).ok_or_else(|| wrong("there is no summary.csv"))?;
    let mut reader = csv::Reader::from_reader(&csv[..]);
    let head = reader.headers().context(Phase::Report, "summary.csv has no head")?.clone();
    let column = |name: &str| head.iter().position(|key| key == name);
    let (Some(mechanism), Some(parties), Some(time)) = (column("mechanism"), column("parties"), column("ns")) else {
        return Err(wrong("summary.csv lacks a column"));
    };
    let raw = raw_medians(dir)?;
    let (mut agree, mut rows) = (0, 0);
    for row in reader.records() {
        let row = row.context(Phase::Report, "summary.csv cannot be read")?;
        rows += 1;
        let key = (row[mechanism].to_string(), row[parties].to_string());
        let due = raw.get(&key).copied().unwrap_or(f64::NAN);
        let near = row[time].parse::<f64>().is_ok_and(|found| (found / due - 1.0).abs() < 1e-3);
        agree += usize::from(near);
    }
    Ok((agree == rows && rows == raw.len(), format!("{agree} of {rows} rows agree, {} cells", raw.len())))
}

/// Median time per message of each cell, from the raw lines.
fn raw_medians(dir: &Path) -> Result<BTreeMap<(String, String), f64>> {
    let text = fs::read_to_string(dir.join("cells.jsonl")).context(Phase::Report, "cannot read cells.jsonl")?;
    let mut times: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for line in text.lines() {
        let run: Value = serde_json::from_str(line).context(Phase::Report, "cells.jsonl is damaged")?;
        let word = |key: &str| run[key].as_str().unwrap_or_default().to_string();
        let number = |key: &str| run[key].as_f64().unwrap_or(f64::NAN);
        // The tables call a party of one what it is for.
        let parties = word("parties").replace("solo", "control");
        times.entry((word("mechanism"), parties)).or_default().push(number("elapsed_ns") / number("messages"));
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
    };
    Ok(times.into_iter().map(|(key, values)| (key, median(values))).collect())
}

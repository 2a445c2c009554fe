//! The journal of the experiments, and what a judge may ask of it.
//!
//! Key decision: one line per launch in `claims.jsonl`, with the cell as it was ordered and every quantity that it found.
//! A judge asks for estimates over launches and for paired ratios within rounds, never for single values, so that no
//! verdict rests on one launch. Disturbed launches count and are flagged; their number stands below the figures.

use super::{AGAIN, Cell, Values};
use crate::cell::Disturbance;
use crate::error::{Context, Error, Phase, Result};
use crate::lines::{self, Unknown};
use crate::measure::stats::Estimate;
use crate::results::missing;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// File of a results folder that holds the lines.
pub const CLAIMS_FILE: &str = "claims.jsonl";
/// Version of its lines.
pub const SCHEMA: u32 = 1;

/// How a launch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// With figures.
    Ok,
    /// This machine cannot do it.
    Unsupported,
    /// Something that should have worked did not.
    Failed,
    /// It did not end in time.
    Timeout,
}

/// What a launched process answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// How it ended.
    pub status: Status,
    /// Why there are no figures.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// The figures.
    pub values: Values,
}

/// One launch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`SCHEMA`].
    pub schema: u32,
    /// What was ordered.
    #[serde(flatten)]
    pub cell: Cell,
    /// Which block, from 0.
    pub round: u32,
    /// Position among the launches of the claim, from 0.
    pub order: u32,
    /// Seed of the order.
    pub seed: u64,
    /// When it started, RFC 3339 in UTC.
    pub started: String,
    /// What was answered.
    #[serde(flatten)]
    pub answer: Answer,
    /// Reasons for doubt.
    pub flags: Vec<String>,
    /// What others took meanwhile.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub disturbance: Option<Disturbance>,
    /// What a line of a journal says besides.
    #[serde(flatten, skip_serializing)]
    pub unknown: Unknown,
}

impl lines::Line for Line {
    const SCHEMA: Option<u32> = Some(SCHEMA);

    fn schema(&self) -> Option<u32> {
        Some(self.schema)
    }

    fn sample() -> Self {
        let (claim, case, with) = (String::new(), String::new(), serde_json::Value::Null);
        let answer = Answer { status: Status::Ok, reason: None, values: Values::new() };
        Self {
            schema: SCHEMA,
            cell: Cell { claim, case, with, millis: 0, label: None, plant: None },
            round: 0,
            order: 0,
            seed: 0,
            started: String::new(),
            answer,
            flags: vec![],
            disturbance: None,
            unknown: Unknown::new(),
        }
    }

    fn unknown(&self) -> &Unknown {
        &self.unknown
    }

    fn impossible(&self) -> Option<String> {
        None
    }
}

/// The launches of one claim.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    lines: Vec<Line>,
}

impl FromIterator<Line> for Record {
    fn from_iter<T: IntoIterator<Item = Line>>(lines: T) -> Self {
        Self { lines: lines.into_iter().collect() }
    }
}

impl Record {
    /// Takes one more launch.
    pub fn push(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Every launch, in order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The cells that were launched without a label, each once, in the order of their first launch by case.
    pub fn cells(&self) -> Vec<&Cell> {
        let mut cells: BTreeMap<&str, &Cell> = BTreeMap::new();
        for line in self.lines.iter().filter(|line| line.cell.label.is_none()) {
            cells.entry(&line.cell.case).or_insert(&line.cell);
        }
        cells.into_values().collect()
    }

    /// What launches of `case` found of `quantity`, by round.
    fn by_round(&self, case: &str, label: Option<&str>, quantity: &str) -> BTreeMap<u32, f64> {
        let of = |line: &&Line| line.cell.case == case && line.cell.label.as_deref() == label;
        let found = |line: &Line| Some((line.round, *line.answer.values.get(quantity)?));
        self.lines.iter().filter(of).filter(|line| line.answer.status == Status::Ok).filter_map(found).collect()
    }

    /// The median over launches of what `case` found of `quantity`.
    pub fn estimate(&self, case: &str, quantity: &str) -> Option<Estimate> {
        Estimate::of(self.by_round(case, None, quantity).into_values())
    }

    /// The sum of a quantity over all launches of `case`: for counts.
    pub fn total(&self, case: &str, quantity: &str) -> f64 {
        self.by_round(case, None, quantity).values().sum()
    }

    /// The paired ratio of what two cases found, over the rounds in which both did.
    pub fn ratio(&self, case: &str, to: &str, quantity: &str) -> Option<Estimate> {
        self.paired(case, to, quantity, |a, b| a / b)
    }

    /// The paired difference.
    pub fn difference(&self, case: &str, less: &str, quantity: &str) -> Option<Estimate> {
        self.paired(case, less, quantity, |a, b| a - b)
    }

    /// A paired figure of two cases.
    pub fn paired(&self, a: &str, b: &str, quantity: &str, figure: impl Fn(f64, f64) -> f64) -> Option<Estimate> {
        let (a, b) = (self.by_round(a, None, quantity), self.by_round(b, None, quantity));
        Estimate::of(a.iter().filter_map(|(round, a)| Some(figure(*a, *b.get(round)?))))
    }

    /// A figure of several cases of one round, such as a difference of differences; `None` where a case is missing.
    pub fn combined<const N: usize>(
        &self,
        cases: [&str; N],
        quantity: &str,
        figure: impl Fn([f64; N]) -> f64,
    ) -> Option<Estimate> {
        let rows = cases.map(|case| self.by_round(case, None, quantity));
        let rounds = rows.first()?.keys();
        Estimate::of(rounds.filter_map(|round| {
            let found: Vec<f64> = rows.iter().filter_map(|row| row.get(round).copied()).collect();
            Some(figure(found.try_into().ok()?))
        }))
    }

    /// The slope of `quantity` over `x`, fitted by least squares in each round by itself and estimated over rounds.
    pub fn slope(&self, points: &[(f64, &str)], quantity: &str) -> Option<Estimate> {
        let rows: Vec<_> = points.iter().map(|(x, case)| (*x, self.by_round(case, None, quantity))).collect();
        let rounds = rows.first()?.1.keys();
        Estimate::of(rounds.filter_map(|round| {
            let found: Option<Vec<(f64, f64)>> = rows.iter().map(|(x, row)| Some((*x, *row.get(round)?))).collect();
            least_squares(&found?)
        }))
    }

    /// The noise of `quantity`: how far from one the ratio of a cell to itself may be, by the interval of the null pair.
    /// `None` where no cell ran twice or there are too few rounds.
    pub fn noise(&self, quantity: &str) -> Option<f64> {
        let again = self.lines.iter().find(|line| line.cell.label.as_deref() == Some(AGAIN))?;
        let case = &again.cell.case;
        let (first, second) = (self.by_round(case, None, quantity), self.by_round(case, Some(AGAIN), quantity));
        let pairs = second.iter().filter_map(|(round, b)| Some((*b, *first.get(round)?)));
        let (low, high) = Estimate::of_ratio(pairs)?.interval?;
        Some((high - 1.0).max(1.0 / low - 1.0))
    }

    /// Launches that carry a flag.
    pub fn flagged(&self) -> usize {
        self.lines.iter().filter(|line| !line.flags.is_empty()).count()
    }

    /// The launches without figures: case and reason, each once.
    pub fn failures(&self) -> Vec<(&str, &str)> {
        let mut failures: Vec<(&str, &str)> = Vec::new();
        for line in self.lines.iter().filter(|line| line.answer.status != Status::Ok) {
            let failure = (line.cell.case.as_str(), line.answer.reason.as_deref().unwrap_or("no reason given"));
            if !failures.contains(&failure) {
                failures.push(failure);
            }
        }
        failures
    }
}

/// The least-squares slope through points; `None` when all have one x.
pub fn least_squares(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let (over, under) = points
        .iter()
        .fold((0.0, 0.0), |(over, under), (x, y)| (over + (x - mx) * (y - my), under + (x - mx) * (x - mx)));
    (under > 0.0).then(|| over / under)
}

/// Reads the lines of a results folder, by claim. A cut last line is left out and said so.
///
/// # Errors
/// When there are none, or a whole line cannot be read, with its number.
pub fn read(dir: &Path) -> Result<(BTreeMap<String, Record>, Vec<String>)> {
    let path = dir.join(CLAIMS_FILE);
    let file = File::open(&path).map_err(|error| missing(dir, CLAIMS_FILE, &error))?;
    let cannot = || format!("cannot read {}", path.display());
    let (mut records, mut remarks): (BTreeMap<String, Record>, _) = (BTreeMap::new(), Vec::new());
    let (mut reader, mut text, mut places) = (BufReader::new(file), Vec::new(), BTreeMap::new());
    for number in 1.. {
        text.clear();
        if reader.read_until(b'\n', &mut text).context(Phase::Report, cannot())? == 0 {
            break;
        }
        let Some(line) = lines::read::<Line>(&text, number, CLAIMS_FILE)? else {
            remarks.push(format!("the last line of {CLAIMS_FILE} is cut and was ignored"));
            break;
        };
        if let Some(before) = places.insert((line.cell.claim.clone(), line.order), number) {
            let why = format!("field \"order\" is {}, as in line {before}: one of the two was copied", line.order);
            let damaged = Error::failed(Phase::Report, format!("line {number} of {CLAIMS_FILE} is damaged"));
            return Err(damaged.because(why).hint("remove the copy"));
        }
        records.entry(line.cell.claim.clone()).or_default().push(line);
    }
    Ok((records, remarks))
}

/// A journal in the making, for tests whose answer is known.
#[cfg(test)]
pub mod tests {
    use super::*;

    /// A line of `case` in `round` that found these values.
    pub fn line(case: &str, round: u32, pairs: &[(&str, f64)]) -> Line {
        Line {
            schema: SCHEMA,
            cell: Cell {
                claim: "x".into(),
                case: case.into(),
                with: serde_json::Value::Null,
                millis: 0,
                label: None,
                plant: None,
            },
            round,
            order: 0,
            seed: 0,
            started: String::new(),
            answer: Answer {
                status: Status::Ok,
                reason: None,
                values: pairs.iter().map(|(name, value)| ((*name).to_string(), *value)).collect(),
            },
            flags: vec![],
            disturbance: None,
            unknown: Unknown::new(),
        }
    }

    #[test]
    fn figures_are_paired_within_rounds() {
        let record: Record = (0..6)
            .flat_map(|round| {
                let pace = f64::from(1 + round);
                [line("a", round, &[("ns", 200.0 * pace)]), line("b", round, &[("ns", 100.0 * pace)])]
            })
            .collect();
        assert_eq!(record.ratio("a", "b", "ns").unwrap().interval, Some((2.0, 2.0)));
        assert_eq!(record.difference("a", "b", "ns").unwrap().median, 350.0);
        assert_eq!(record.combined(["a", "b", "b"], "ns", |[a, b, c]| a - b - c).unwrap().median, 0.0);
        assert_eq!(record.slope(&[(1.0, "b"), (3.0, "a")], "ns").unwrap().median, 175.0);
        assert_eq!(record.ratio("a", "c", "ns"), None);
    }

    #[test]
    fn a_cell_against_itself_is_the_noise() {
        let again = |round| {
            let mut line = line("a", round, &[("ns", if round % 2 == 0 { 120.0 } else { 100.0 })]);
            line.cell.label = Some(AGAIN.into());
            line
        };
        let record: Record = (0..6).flat_map(|round| [line("a", round, &[("ns", 100.0)]), again(round)]).collect();
        assert!((record.noise("ns").unwrap() - 0.2).abs() < 1e-9);
        assert_eq!(record.estimate("a", "ns").unwrap().n, 6, "the second label is no launch of the case");
    }

    #[test]
    fn a_launch_that_failed_has_no_figures_and_its_reason_once() {
        let mut record: Record = (0..2).map(|round| line("a", round, &[("ns", 1.0)])).collect();
        for round in 2..4 {
            let mut bad = line("a", round, &[("ns", 9.0)]);
            (bad.answer.status, bad.answer.reason) = (Status::Failed, Some("it broke".into()));
            record.push(bad);
        }
        assert_eq!(record.estimate("a", "ns").unwrap().n, 2);
        assert_eq!(record.failures(), [("a", "it broke")]);
    }

    #[test]
    fn lines_read_back_a_cut_one_is_left_out_and_a_damaged_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let whole = serde_json::to_string(&line("a", 0, &[("ns", 1.5)])).unwrap() + "\n";
        let path = dir.path().join(CLAIMS_FILE);
        std::fs::write(&path, format!("{whole}{{\"schema\":1")).unwrap();
        let (records, remarks) = read(dir.path()).unwrap();
        assert_eq!((records["x"].lines(), remarks.len()), (&[line("a", 0, &[("ns", 1.5)])][..], 1));
        std::fs::write(&path, format!("nonsense\n{whole}")).unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("line 1 of"));
        std::fs::write(&path, whole.replace("\"schema\":1", "\"schema\":9")).unwrap();
        assert!(read(dir.path()).unwrap_err().to_string().contains("schema 9"));
    }
}

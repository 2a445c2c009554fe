//! Which mechanisms meet a demand, by what was measured; and why each of the others does not.
//!
//! - [`facts`]: what a mechanism is, whatever its figures
//! - [`figures`]: what its rows say
//! - [`page`]: the answer for people
//!
//! Key decision: every statement stands on a row, which is shown with its interval, its runs and its class, or on the
//! mechanism's SPEC. What no row covers is *open*: neither recommended nor rejected, with the command that would measure
//! it. Between two measured sizes there is no made-up figure: the next larger size is taken, which is no faster for a
//! message, and the next smaller one is shown beside it. Rejected: a score over several properties, whose weights would
//! be the author's; a model that interpolates, which would be wrong exactly where a buffer ends or a page begins.

pub mod facts;
pub mod figures;
pub mod page;

use super::Report;
use super::rows::{Class, Row};
use crate::error::{Error, Result};
use crate::plan::{Parties, Placement, Wait, Workload, show_rate, show_size};
use crate::transport::{ALL, Bound, Family, Spec};
use figures::Rows;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What is asked for.
#[derive(Debug, Clone, Serialize)]
pub struct Demand {
    /// Bytes per message.
    pub size: usize,
    /// Messages per second, one direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
    /// Most CPUs that both parties together may use for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    /// Most that the 99th percentile may be, ns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_ns: Option<f64>,
    /// Whether the parties trust each other.
    pub trusting: bool,
    /// Whether one must go on when the other is killed.
    pub survive_crash: bool,
    /// Whether threads of one process will do.
    pub threads: bool,
    /// Only these waits; all where there is none.
    pub waits: Vec<Wait>,
    /// Only these placements; all where there is none.
    pub placements: Vec<Placement>,
}

impl Demand {
    /// The workload whose rows decide.
    fn workload(&self) -> Workload {
        if self.rate.is_some() { Workload::Stream } else { Workload::PingPong }
    }

    /// What measures `names` as this demand needs them.
    pub fn command(&self, names: &[&str], workload: Option<Workload>) -> String {
        let workload = workload.map_or("ping-pong,stream", Workload::word);
        let rate = self.rate.filter(|_| workload == Workload::OfferedLoad.word());
        let rate = rate.map_or(String::new(), |rate| format!(" --rate {}", show_rate(rate)));
        let waits: Vec<_> = self.waits.iter().map(ToString::to_string).collect();
        let places: Vec<_> = self.placements.iter().map(|place| place.to_string().replace("cpus:", "")).collect();
        let list = |option: &str, list: Vec<String>| {
            if list.is_empty() { String::new() } else { format!(" {option} {}", list.join(",")) }
        };
        let cpus = self.placements.iter().any(|place| matches!(place, Placement::Cpus(..)));
        let (waits, places) = (list("--wait", waits), list(if cpus { "--cpus" } else { "--placement" }, places));
        let (size, names) = (show_size(self.size).replace(' ', ""), names.join(","));
        format!("ipcost compare --workload {workload}{rate} --size {size} --mechanism {names}{waits}{places}")
    }
}

/// One measured figure that a statement rests on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// What it is of, as `carries` or `CPU`.
    pub what: &'static str,
    /// The statement, figure and interval included.
    pub says: String,
    /// Runs behind it.
    pub n: usize,
    /// The class that they were measured in.
    pub class: String,
}

/// A mechanism that meets the demand, in the way of waiting and place that is the best one.
#[derive(Debug, Clone, Serialize)]
pub struct Fit {
    /// Its name.
    pub mechanism: &'static str,
    /// Processes or threads.
    pub parties: Parties,
    /// How both wait.
    pub wait: Wait,
    /// Where they run.
    pub placement: Placement,
    /// What the order goes by: CPUs at the rate, or the round trip in ns where no rate was asked for.
    pub by: f64,
    /// The rows that justify it.
    pub rows: Vec<Evidence>,
    /// What its SPEC says that matters for the demand.
    pub facts: Vec<String>,
    /// Doubts that a reader should have.
    pub cautions: Vec<String>,
    /// Other waits and places in which it would do, too.
    pub also: Vec<String>,
}

/// A mechanism of which nothing can be said.
#[derive(Debug, Clone, Serialize)]
pub struct Open {
    /// Its name.
    pub mechanism: &'static str,
    /// What is missing.
    pub why: String,
    /// What would measure it.
    pub command: String,
}

/// A mechanism that does not meet the demand.
#[derive(Debug, Clone, Serialize)]
pub struct Out {
    /// Its name.
    pub mechanism: &'static str,
    /// The first demand that it fails, in the variant that comes furthest.
    pub why: String,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Advice {
    /// What was asked.
    pub demand: Demand,
    /// Those that meet it, best first.
    pub fit: Vec<Fit>,
    /// Those of which a figure is missing.
    pub open: Vec<Open>,
    /// Those without any row, which their SPEC does not rule out.
    pub unmeasured: Vec<&'static str>,
    /// What would measure them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<String>,
    /// Those that do not meet it.
    pub out: Vec<Out>,
}

/// What became of one variant of a mechanism.
pub(crate) enum Fate {
    /// It meets the demand.
    Fits(Box<Fit>),
    /// Figures are there and do not decide: why, and which workload would.
    Open(String, Workload),
    /// Figures are not there: which, and the workload that gives them.
    Bare(String, Workload),
    /// It fails the demand with this number, from 0 in the order in which they are asked.
    Out(u8, String),
}

impl Advice {
    /// The answer that these rows give. Bounds are those of the machine that this runs on.
    ///
    /// # Errors
    /// `unsupported` where the rows cover nothing of what is asked: no such size or placement was measured.
    pub fn of(report: &Report, demand: Demand) -> Result<Self> {
        let rows: Vec<&Row> = report.all.rows().filter(|row| usual(&row.class)).collect();
        covered(&rows, &demand)?;
        let mut advice =
            Self { demand: demand.clone(), fit: vec![], open: vec![], unmeasured: vec![], measure: None, out: vec![] };
        for runner in ALL.iter().filter(|runner| runner.spec().family != Family::Control) {
            advice.judge(runner.spec(), &runner.bound(), &rows);
        }
        advice.fit.sort_by(|a, b| a.by.total_cmp(&b.by));
        if !advice.unmeasured.is_empty() {
            advice.measure = Some(demand.command(&advice.unmeasured, None));
        }
        Ok(advice)
    }

    fn judge(&mut self, spec: &'static Spec, bound: &Bound, rows: &[&Row]) {
        let mechanism = spec.name;
        if let Some(why) = facts::rules_out(spec, bound, &self.demand) {
            return self.out.push(Out { mechanism, why });
        }
        let fates: Vec<Fate> = variants(spec, &self.demand, rows).iter().map(|rows| rows.fate(&self.demand)).collect();
        if fates.is_empty() {
            return self.unmeasured.push(mechanism);
        }
        let mut fits: Vec<Fit> = Vec::new();
        let (mut open, mut bare) = (None, None);
        let mut out: Option<(u8, String)> = None;
        for fate in fates {
            match fate {
                Fate::Fits(fit) => fits.push(*fit),
                Fate::Open(why, workload) => open = open.or(Some((why, workload))),
                Fate::Bare(why, workload) => bare = bare.or(Some((why, workload))),
                Fate::Out(stage, why) if out.as_ref().is_none_or(|(furthest, _)| stage > *furthest) => {
                    out = Some((stage, why));
                }
                Fate::Out(..) => {}
            }
        }
        fits.sort_by(|a, b| a.by.total_cmp(&b.by));
        let mut fits = fits.into_iter();
        // A variant without figures says nothing against those that have some.
        match (fits.next(), open, out, bare) {
            (Some(mut best), ..) => {
                best.also = fits.map(|fit| format!("{}, {}, {}", fit.parties, fit.wait, fit.placement)).collect();
                self.fit.push(best);
            }
            (None, Some((why, workload)), ..) | (None, None, None, Some((why, workload))) => {
                let command = self.demand.command(&[mechanism], Some(workload));
                self.open.push(Open { mechanism, why, command });
            }
            (None, None, Some((_, why)), _) => self.out.push(Out { mechanism, why }),
            (None, None, None, None) => {}
        }
    }
}

/// Whether a class has nothing unusual about it that the demand does not speak of.
fn usual(class: &Class) -> bool {
    let several = class.several == crate::plan::Several::default();
    several && class.touch == crate::plan::Touch::Whole && !class.nagle && class.pages.are_usual()
}

/// Refuses what no row covers: an answer would be a guess.
fn covered(rows: &[&Row], demand: &Demand) -> Result<()> {
    let wanted = |row: &&&Row| row.class.workload == demand.workload() && row.parties != Parties::Solo;
    let rows: Vec<&&Row> = rows.iter().filter(wanted).collect();
    let command = |demand: &Demand| format!("measure it with `{}`", demand.command(&["all"], None));
    if rows.is_empty() {
        let what = format!("no {} was measured, and the answer rests on it", demand.workload());
        return Err(Error::unsupported(what).hint(command(demand)));
    }
    let there = |row: &&&&Row| demand.chooses(&row.class);
    let rows: Vec<_> = rows.iter().filter(there).collect();
    if rows.is_empty() {
        let what = "nothing was measured with that wait and placement";
        return Err(Error::unsupported(what).hint(command(demand)));
    }
    let sizes: BTreeSet<usize> = rows.iter().map(|row| row.class.size).collect();
    let (Some(least), Some(most)) = (sizes.first().copied(), sizes.last().copied()) else { return Ok(()) };
    if demand.size < least || demand.size > most {
        let range = if least == most { String::new() } else { format!(" to {}", show_size(most)) };
        let (asked, least) = (show_size(demand.size), show_size(least));
        let what = format!("{asked} lies outside what was measured ({}: {least}{range})", demand.workload());
        return Err(Error::unsupported(what).hint(command(demand)));
    }
    Ok(())
}

impl Demand {
    /// Whether the class has a wait and a placement that will do.
    fn chooses(&self, class: &Class) -> bool {
        let asks = |none: bool, has: bool| none || has;
        asks(self.waits.is_empty(), self.waits.contains(&class.wait))
            && asks(self.placements.is_empty(), self.placements.contains(&class.placement))
    }
}

/// The rows of a mechanism, one set for each kind of parties, wait and placement that will do.
fn variants<'a>(spec: &'static Spec, demand: &Demand, rows: &[&'a Row]) -> Vec<Rows<'a>> {
    let mut sets: BTreeMap<(Parties, Wait, Placement), Rows<'a>> = BTreeMap::new();
    let alone = demand.threads && demand.trusting && !demand.survive_crash;
    let will_do = |row: &&&&'a Row| {
        row.mechanism == spec.name && demand.chooses(&row.class) && (alone || row.parties == Parties::Process)
    };
    for row in rows.iter().filter(|row| will_do(&row)) {
        let Class { wait, placement, .. } = row.class;
        let set = sets.entry((row.parties, wait, placement));
        set.or_insert_with(|| Rows::new(spec, row.parties, wait, placement)).add(row);
    }
    sets.into_values().collect()
}

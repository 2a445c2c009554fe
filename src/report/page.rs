//! `report.html`: everything that a results folder says, on one page that needs nothing else.
//!
//! Key decision: the page is a pure function of the raw files, like the tables, and shows their very numbers: it is built
//! from the same rows, columns and verdicts. Data become sections of plain blocks ([`blocks`]), and one template turns
//! these into text with everything escaped that a file says: labels, reasons and facts are other people's words. A section
//! without data says which command would give them; there are no empty figures. Neither a path nor the name of the folder
//! is on the page, so that a copy of the folder gives the same bytes.
//! Rejected: a chart library (it needs a script to draw, and paper and a locked-down browser have none); a page per class.
//!
//! - [`blocks`]: what sections are made of
//! - [`axis`], [`chart`]: charts as geometry
//! - [`answer`], [`carried`]: the three sentences
//! - [`ranks`], [`ratios`], [`sizes`], [`tails`], [`load`], [`runs`]: what a campaign shows
//! - [`tested`]: claims and faults
//! - [`machine`], [`reading`]: the environment, and how to read it all
//! - [`lacks`]: why a section has no data
//! - [`hosts`]: several campaigns side by side

pub mod answer;
pub mod axis;
pub mod blocks;
pub mod carried;
pub mod chart;
pub mod hosts;
pub mod lacks;
pub mod load;
pub mod machine;
pub mod ranks;
pub mod ratios;
pub mod reading;
pub mod runs;
pub mod sizes;
pub mod tails;
pub mod tested;

use super::Report;
use super::rows::Row;
use super::text::digits;
use crate::claim::page::Judged;
use crate::claim::record;
use crate::error::{Context, Error, Phase, Result};
use crate::faults::matrix;
use crate::host::Host;
use crate::lines;
use crate::measure::limits::Limits;
use crate::plan::{Parties, Touch};
use crate::results::{self, HOST, Kind};
use blocks::Page;
use chart::{MOST_SERIES, Style};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior, context};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// File of a results folder that holds the page.
pub const PAGE: &str = "report.html";

/// What a page is made from: one results folder of any kind.
#[derive(Default)]
pub struct Material<'a> {
    /// Where it was made.
    pub host: Host,
    /// A campaign.
    pub report: Option<&'a Report>,
    /// What the machine itself costs.
    pub limits: Option<Limits>,
    /// Claims.
    pub claims: Option<Claims>,
    /// Faults.
    pub faults: Option<Vec<matrix::Judged>>,
    /// What is wrong with the files.
    pub remarks: Vec<String>,
}

/// Claims with their verdicts.
pub struct Claims {
    /// Their journals.
    pub records: BTreeMap<String, record::Record>,
    /// What these say.
    pub judged: Vec<Judged>,
}

impl<'a> Material<'a> {
    /// Reads a folder of claims or faults.
    ///
    /// # Errors
    /// When its journal cannot be read.
    pub fn load(dir: &Path) -> Result<Self> {
        if Kind::of(dir) == Kind::Faults {
            let (rows, remark) = crate::faults::record::read(dir)?;
            let judged = rows.into_iter().filter_map(matrix::judge).collect();
            return Ok(Self { faults: Some(judged), remarks: remark.into_iter().collect(), ..Self::at(dir)? });
        }
        let (records, remarks) = record::read(dir)?;
        let judged = crate::claim::page::judge_all(&records);
        Ok(Self { claims: Some(Claims { records, judged }), remarks, ..Self::at(dir)? })
    }

    /// A campaign that has been read.
    pub fn of(report: &'a Report, dir: &Path) -> Self {
        let (host, remarks) = (report.saved.host.clone(), report.saved.remarks.clone());
        // That they are damaged is among the remarks of the report.
        let limits = Limits::read(dir).unwrap_or_default();
        Self { host, report: Some(report), limits, remarks, ..Self::default() }
    }

    /// A folder of which only the environment is known yet; one of another program's making has none.
    fn at(dir: &Path) -> Result<Self> {
        let host = match std::fs::read_to_string(dir.join(HOST)) {
            Ok(text) => lines::read_whole(&text, HOST, &Host::default())?,
            Err(_) => Host::default(),
        };
        Ok(Self { host, ..Self::default() })
    }

    /// What a folder without a campaign holds instead.
    fn no_campaign(&self) -> String {
        let what = if self.faults.is_some() { "faults" } else { "claims" };
        format!("This folder holds {what}, and no campaign.")
    }

    /// Of these folders, those of the same machine that may say what this one does not.
    fn kin<'b>(&'b self, others: &[&'b Self]) -> Vec<&'b Self> {
        let same = others.iter().copied().filter(|other| other.host.slug == self.host.slug);
        std::iter::once(self).chain(same).collect()
    }
}

/// The page of a folder; folders of the same machine beside it give what it lacks: claims, faults, other rates of a load.
pub fn page<'a>(own: &Material<'a>, others: &[&Material<'a>]) -> Page {
    let kin = own.kin(others);
    let looks = own.report.map(Looks::of).unwrap_or_default();
    let mut sections = vec![answer::section(&kin)];
    sections.extend(match own.report {
        Some(report) => {
            let mut parts = vec![ranks::section(report)];
            parts.extend(sizes::sections(report, &looks));
            parts.extend([tails::percentiles(report, &looks), tails::cpu(report, &looks)]);
            let reports: Vec<&Report> = kin.iter().filter_map(|one| one.report).collect();
            parts.extend([load::section(&reports, &looks), ratios::matrix(report), ratios::twins(report)]);
            parts
        }
        None => ranks::no_campaign(own),
    });
    sections.extend([tested::context_switch(&kin), tested::faults(&kin), tested::claims(&kin)]);
    sections.extend([runs::section(own), machine::section(own, &kin), reading::section()]);
    let about = kin.iter().enumerate().map(|(number, one)| machine::origin(one, number == 0)).collect();
    Page { title: format!("What communication costs on {}", own.host.slug), about, sections }
}

const CSS: &str = include_str!("page/page.css");
const LIGHT: &str = include_str!("page/light.css");
const DARK: &str = include_str!("page/dark.css");

/// The page as the text of an HTML file.
///
/// # Errors
/// When the template does not fit what is on the page, which no input can cause.
pub fn render(page: &Page) -> Result<String> {
    let cannot = "cannot draw the page";
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    engine.set_syntax(syntax.context(Phase::Report, cannot)?);
    // Names that end in .html are escaped.
    let templates = [("page.html", include_str!("page/page.html")), ("blocks.html", include_str!("page/blocks.html"))];
    for (name, text) in templates {
        engine.add_template(name, text).context(Phase::Report, cannot)?;
    }
    let template = engine.get_template("page.html").context(Phase::Report, cannot)?;
    // The dark colours stand twice, for who chose them and for a system that is dark, and the light ones again for paper.
    let css = CSS.replace("/*DARK*/", DARK).replace("/*LIGHT*/", LIGHT);
    let all = context! { page => Value::from(Serde(page)), css => css, js => include_str!("page/page.js") };
    Ok(template.render(all).context(Phase::Report, cannot)?.replace("\n\n", "\n"))
}

/// Writes the page of a folder; its path.
///
/// # Errors
/// When the folder cannot be written.
pub fn write<'a>(own: &Material<'a>, others: &[&Material<'a>], dir: &Path) -> Result<PathBuf> {
    results::write(dir, PAGE, &render(&page(own, others))?)?;
    Ok(dir.join(PAGE))
}

/// How a page of this program begins.
const MARK: &str = "<!doctype html>\n<!-- ipcost ";

/// Writes the page of several campaigns side by side into `path`.
///
/// # Errors
/// A usage error when something else is there; when it cannot be written.
pub fn write_hosts(all: &[&Material], path: &Path) -> Result<()> {
    let other = std::fs::read(path).is_ok_and(|old| !old.starts_with(MARK.as_bytes()));
    if other {
        let what = format!("{} is there and no page of ipcost", path.display());
        return Err(Error::usage(what).hint("choose another --out"));
    }
    let (dir, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().and_then(|name| name.to_str()));
    let name = name.ok_or_else(|| Error::usage(format!("{} is no name of a file", path.display())))?;
    results::write(dir, name, &render(&hosts::page(all))?)
}

/// How each mechanism looks in all charts of a page.
#[derive(Debug, Default)]
pub struct Looks(BTreeMap<String, usize>);

impl Looks {
    fn of(report: &Report) -> Self {
        let mut numbers = BTreeMap::new();
        for row in report.all.rows().filter(|row| !row.is_control()) {
            let next = numbers.len();
            numbers.entry(row.mechanism.clone()).or_insert(next);
        }
        Self(numbers)
    }

    /// How this row looks: threads are hollow.
    pub fn style(&self, row: &Row) -> Style {
        Style::numbered(self.0.get(&row.mechanism).copied().unwrap_or(0), row.parties == Parties::Thread)
    }
}

/// The rows that a chart has room for: each mechanism once, between processes where it can, then twins; in the order of
/// the ranks.
pub fn chosen<'a>(rows: &[&'a Row]) -> Vec<&'a Row> {
    let first = |row: &&Row| {
        let process = |other: &&&Row| other.mechanism == row.mechanism && other.parties == Parties::Process;
        row.parties == Parties::Process || !rows.iter().any(|other| process(&other))
    };
    let (one, two): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| first(row));
    let mut kept: Vec<&Row> = one.into_iter().chain(two).take(MOST_SERIES).collect();
    let place = |row: &Row| rows.iter().position(|other| std::ptr::eq(*other, row));
    kept.sort_by_key(|row| place(row));
    kept
}

/// That there was no room for all; nothing where there was.
pub fn of_all(drawn: usize, all: usize) -> String {
    if drawn < all { format!("{drawn} of {all} rows are drawn; the table has all of them.") } else { String::new() }
}

/// Mechanism and parties, short.
pub fn short_name(row: &Row) -> String {
    match row.parties {
        Parties::Process => format!("{}, processes", row.variant()),
        Parties::Thread => format!("{}, threads", row.variant()),
        Parties::Solo => row.variant(),
    }
}

/// Launches, and how many of them are doubtful.
pub fn doubts(row: &Row) -> String {
    match row.flagged() {
        0 => format!("n {}", row.runs.len()),
        flagged => format!("n {}, {flagged} flagged", row.runs.len()),
    }
}

/// What the rows of a class have in common, in words.
pub fn class_name(class: &super::rows::Class) -> String {
    let touch = if class.touch == Touch::Header { ", header only" } else { "" };
    format!("{class}{touch}")
}

/// The middle one of what the runs of all rows say to a column.
fn typical(rows: &[&Row], key: &str) -> Option<f64> {
    let all = rows.iter().flat_map(|row| row.each(key));
    Some(crate::measure::stats::Estimate::of(all)?.median)
}

/// An interval in brackets, or that there is none.
pub fn bracket(interval: Option<(f64, f64)>, show: impl Fn(f64) -> String) -> String {
    interval.map_or_else(|| "(no interval)".into(), |(low, high)| format!("[{}, {}]", show(low), show(high)))
}

/// A plain number with as many digits as mean something.
pub fn plain(value: f64) -> String {
    super::columns::significant(value)
}

/// A share of one, for people.
pub fn percent(share: f64) -> String {
    format!("{} %", digits(100.0 * share))
}

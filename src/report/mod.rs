//! Tables from a journal. A pure function: the same input gives the same bytes, and nothing is measured.
//!
//! - [`rows`]: from a stream of runs to rows
//! - [`summary`]: ranks, paired ratios, noise and drift
//! - [`flags`]: what each flag means, and what leaving flagged runs out would change
//! - [`headline`]: which rows a full campaign looks at longer
//! - [`columns`]: the one definition of what a row shows
//! - [`advise`]: which mechanisms meet a demand, and why the others do not
//! - [`choice`]: which classes and rows somebody asked for
//! - [`diff`]: two results folders held against each other
//! - [`fit`]: tables and text that fit a width
//! - [`table`]: for people, on a terminal or in markdown
//! - [`page`]: everything on one page for a browser
//! - [`picture`]: lines with intervals, as SVG
//! - [`text`]: a single run, and units
//! - [`load`]: the load points of a single run

pub mod advise;
pub mod choice;
pub mod columns;
pub mod diff;
pub mod fit;
pub mod flags;
pub mod headline;
pub mod load;
pub mod page;
pub mod picture;
pub mod rows;
pub mod summary;
pub mod table;
pub mod text;

use crate::campaign::journal::{Saved, read};
use crate::cell::Outcome;
use crate::error::{Context, Phase, Result};
use crate::results;
use choice::Choice;
use flags::Effect;
use page::Material;
use rows::{Beside, Gathered, Which};
use std::path::{Path, PathBuf};
use summary::Summary;

/// Everything that a results folder says.
#[derive(Debug)]
pub struct Report {
    /// Where and what was measured.
    pub saved: Saved,
    /// Runs in all.
    pub launches: usize,
    /// Rounds in which any cell ran.
    pub rounds: u32,
    /// Cells that could not run here, with the reason.
    pub unsupported: Vec<Outcome>,
    /// Rows from all runs.
    pub all: Summary,
    /// Rows from runs without a flag.
    pub unflagged: Summary,
    /// What lies between the two.
    pub effect: Effect,
}

impl Report {
    /// Reads a results folder.
    ///
    /// # Errors
    /// As [`read`].
    pub fn load(dir: &Path) -> Result<Self> {
        Self::load_with(dir, &mut |_| {})
    }

    /// As [`load`](Self::load), and shows each run to `look`.
    ///
    /// # Errors
    /// As [`read`].
    pub fn load_with(dir: &Path, look: &mut dyn FnMut(&Outcome)) -> Result<Self> {
        let mut gathered = Gathered::default();
        gathered.beside = Beside::read(dir);
        let mut saved = read(dir, &mut |run| {
            look(&run);
            gathered.add(run);
        })?;
        saved.remarks.append(&mut gathered.beside.remarks);
        Ok(Self::of(saved, gathered))
    }

    /// Sums up runs that have been read.
    pub fn of(saved: Saved, gathered: Gathered) -> Self {
        let all = Summary::of(&gathered);
        let unflagged = Summary::unflagged(&gathered, &all);
        let effect = Effect::of(&all, &unflagged);
        let unsupported = saved.campaign.unsupported.iter().chain(&gathered.unsupported).cloned().collect();
        let Gathered { launches, rounds, .. } = gathered;
        Self { saved, launches, rounds, unsupported, all, unflagged, effect }
    }

    /// The rows from these runs.
    pub fn summary(&self, which: Which) -> &Summary {
        match which {
            Which::All => &self.all,
            Which::Unflagged => &self.unflagged,
        }
    }
}

/// The CSV file: every row, every column, plain units.
///
/// # Errors
/// When memory is all that is written to and even that fails.
pub fn csv(report: &Report) -> Result<String> {
    csv_of(report, Which::All, &Choice::default())
}

/// As [`csv()`], of what was chosen, from all runs or from unflagged ones.
///
/// # Errors
/// Likewise.
pub fn csv_of(report: &Report, which: Which, choice: &Choice) -> Result<String> {
    let cannot = "cannot write CSV";
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns::COLUMNS.iter().map(|c| c.key)).context(Phase::Report, cannot)?;
    for row in report.summary(which).rows().filter(|row| choice.row(row)) {
        writer.write_record(columns::COLUMNS.iter().map(|c| c.plain(row))).context(Phase::Report, cannot)?;
    }
    let bytes = writer.into_inner().context(Phase::Report, cannot)?;
    String::from_utf8(bytes).context(Phase::Report, cannot)
}

/// Regenerates every derived file of a results folder from its raw ones; returns what was written.
///
/// # Errors
/// As [`read`], and when the folder cannot be written.
pub fn regenerate(dir: &Path) -> Result<(Report, Vec<PathBuf>)> {
    let report = Report::load(dir)?;
    let markdown = |which| table::page(&report, which, table::Style::Markdown);
    let files = [
        ("summary.csv", csv(&report)?),
        ("summary.md", markdown(Which::All)),
        ("summary-unflagged.md", markdown(Which::Unflagged)),
    ];
    let mut written = Vec::new();
    for (name, text) in files {
        results::write(dir, name, &text)?;
        written.push(dir.join(name));
    }
    written.push(page::write(&Material::of(&report, dir), &[], dir)?);
    Ok((report, written))
}

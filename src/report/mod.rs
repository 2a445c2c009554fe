//! Tables from a journal. A pure function: the same input gives the same bytes, and nothing is measured.
//!
//! - [`summary`]: from runs to rows, with ranks and paired ratios
//! - [`columns`]: the one definition of what a row shows
//! - [`table`]: for people, on a terminal or in markdown
//! - [`text`]: a single run, and units
//! - [`load`]: the load points of a single run

pub mod columns;
pub mod load;
pub mod summary;
pub mod table;
pub mod text;

use crate::campaign::journal::{Saved, read};
use crate::error::{Context, Error, Phase, Result};
use std::path::{Path, PathBuf};
use summary::Summary;

/// The CSV file: every row, every column, plain units.
///
/// # Errors
/// When memory is all that is written to and even that fails.
pub fn csv(saved: &Saved) -> Result<String> {
    let cannot = "cannot write CSV";
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns::COLUMNS.iter().map(|c| c.key)).context(Phase::Report, cannot)?;
    for row in Summary::of(saved).groups.iter().flat_map(|group| &group.rows) {
        writer.write_record(columns::COLUMNS.iter().map(|c| c.plain(row))).context(Phase::Report, cannot)?;
    }
    let bytes = writer.into_inner().context(Phase::Report, cannot)?;
    String::from_utf8(bytes).context(Phase::Report, cannot)
}

/// Regenerates every derived file of a results folder from its raw ones; returns what was written.
///
/// # Errors
/// As [`read`], and when the folder cannot be written.
pub fn regenerate(dir: &Path) -> Result<(Saved, Vec<PathBuf>)> {
    let saved = read(dir)?;
    let files = [("summary.csv", csv(&saved)?), ("summary.md", table::page(&saved, table::Style::Markdown))];
    let mut written = Vec::new();
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::write(&path, text)
            .map_err(|error| Error::failed(Phase::Report, format!("cannot write {}", path.display())).because(error))?;
        written.push(path);
    }
    Ok((saved, written))
}

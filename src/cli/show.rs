//! `ipcost show`: the tables of a saved run, and of them what was chosen.

use super::options::ChoiceOptions;
use super::screen::{self, Screen};
use super::{faults, print, remark};
use crate::claim::page;
use crate::error::{Error, Result};
use crate::report::fit::paragraphs;
use crate::report::rows::Which;
use crate::report::table::{Style, View, classes, page_in};
use crate::report::{Report, csv_of};
use crate::results::Kind;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Markdown,
}

/// Its options.
#[derive(Debug, Args)]
#[command(after_help = "On a terminal, what is longer than the screen goes through $PAGER (else less -R).")]
pub struct ShowArgs {
    /// Results folder
    dir: PathBuf,
    #[command(flatten)]
    choice: ChoiceOptions,
    /// Say which classes there are, and what was measured in them
    #[arg(long, conflicts_with = "format")]
    list: bool,
    /// Count only launches without a reason for doubt
    #[arg(long)]
    unflagged: bool,
    /// What to print on standard output, of what was chosen; csv has every column
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Prints what was asked for.
///
/// # Errors
/// When the folder cannot be read; a usage error where nothing of what was asked for is in it.
pub fn show(args: &ShowArgs) -> Result<ExitCode> {
    let dir = &args.dir;
    let kind = Kind::of(dir);
    if kind != Kind::Campaign && (args.list || args.unflagged || args.format != Format::Table || args.choice.is_any()) {
        let refused = format!("{} holds {}, which are shown as a whole", dir.display(), kind.word());
        return Err(Error::usage(refused).hint("choose only from what `ipcost compare` wrote"));
    }
    match kind {
        Kind::Faults => faults::show(dir)?,
        Kind::Claims => claims(args)?,
        Kind::Campaign => campaign(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn claims(args: &ShowArgs) -> Result<()> {
    let (judged, remarks) = page::load(&args.dir)?;
    let text: String = judged.iter().map(|one| page::section(one, false)).collect();
    screen::show(&paragraphs(&text, Screen::of_stdout().width))?;
    remarks.iter().for_each(|text| remark(text));
    Ok(())
}

fn campaign(args: &ShowArgs) -> Result<()> {
    let report = Report::load(&args.dir)?;
    let choice = args.choice.choice(&report.all.rows().collect::<Vec<_>>())?;
    let which = if args.unflagged { Which::Unflagged } else { Which::All };
    let view = View { choice, width: Screen::of_stdout().width };
    match args.format {
        Format::Table if args.list => screen::show(&classes(&report, which, &view)),
        Format::Table => screen::show(&page_in(&report, which, Style::Terminal, &view)),
        Format::Markdown => print(&page_in(&report, which, Style::Markdown, &view)),
        Format::Csv => print(&csv_of(&report, which, &view.choice)?),
    }
}

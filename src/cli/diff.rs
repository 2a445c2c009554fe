//! `ipcost diff`: two results folders, held against each other.

use super::options::ChoiceOptions;
use super::screen::{Screen, show};
use super::{aside, comparer::to_json, print};
use crate::error::{Error, Result};
use crate::report::diff::{Diff, Side, page};
use crate::report::rows::Which;
use crate::report::table::Style;
use crate::results::Kind;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
    Markdown,
}

/// Its options.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 compared, 1 a row is slower than --fail-above allows, 2 wrong usage or nothing to \
                        compare.\nA ratio is time in B / time in A: above 1, B is slower, also where a throughput is shown."
)]
pub struct DiffArgs {
    /// Results folder that is compared with: before
    #[arg(value_name = "A")]
    before: PathBuf,
    /// Results folder that is compared: after
    #[arg(value_name = "B")]
    after: PathBuf,
    #[command(flatten)]
    choice: ChoiceOptions,
    /// Count only launches without a reason for doubt
    #[arg(long)]
    unflagged: bool,
    /// Exit with 1 when a row is slower by more than this and by more than the noise, or fails now: 5%, 0.5%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent)]
    fail_above: Option<f64>,
    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// `5%` or `5`, as the share 0.05.
fn parse_percent(text: &str) -> Result<f64> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    let percent = number.parse::<f64>().ok().filter(|percent| (0.0..=1000.0).contains(percent));
    let refused = || Error::usage(format!("{text:?} is no percentage")).hint("say something like 5% or 0.5%");
    percent.map(|percent| percent / 100.0).ok_or_else(refused)
}

/// Compares and prints.
///
/// # Errors
/// As [`Side::load`]; a usage error for a folder without a campaign, or when nothing can be compared.
pub fn diff(args: &DiffArgs) -> Result<ExitCode> {
    let [a, b] = [load(&args.before)?, load(&args.after)?];
    let which = if args.unflagged { Which::Unflagged } else { Which::All };
    let choice = args.choice.choice(&a.report.all.rows().chain(b.report.all.rows()).collect::<Vec<_>>())?;
    let diff = Diff::of(&a, &b, which, &choice, args.fail_above);
    if diff.classes.is_empty() {
        let what = format!("{} and {} have no row in common", args.before.display(), args.after.display());
        let hint = "compare campaigns with the same mechanisms, sizes, waits and placements (ipcost show DIR --list)";
        return Err(Error::usage(what).hint(hint));
    }
    let lost = args.fail_above.is_some() && !diff.lost.is_empty();
    if args.fail_above.is_some() && diff.tally.compared == 0 && !lost {
        let what = "--fail-above has nothing to judge: no row has an interval and a known noise";
        return Err(
            Error::usage(what).hint("measure both with at least --rounds 6, and without --unflagged count all runs")
        );
    }
    let names = [args.before.display().to_string(), args.after.display().to_string()];
    let text = |style, width| page::page(&diff, [&names[0], &names[1]], style, width);
    match args.format {
        Format::Table => show(&text(Style::Terminal, Screen::of_stdout().width))?,
        Format::Markdown => print(&text(Style::Markdown, None))?,
        Format::Csv => print(&page::csv(&diff)?)?,
        Format::Json => print(&to_json(&diff)?)?,
    }
    for row in &diff.failed {
        aside("slower than allowed: ", row);
    }
    for row in diff.lost.iter().filter(|_| lost) {
        aside("no result any more: ", row);
    }
    Ok(if diff.failed.is_empty() && !lost { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn load(dir: &Path) -> Result<Side> {
    match Kind::of(dir) {
        Kind::Campaign => Side::load(dir),
        other => {
            let what = format!("{} holds {}, and diff compares campaigns", dir.display(), other.word());
            Err(Error::usage(what).hint("choose folders that `ipcost compare` wrote"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_a_share() {
        for (text, share) in [("5%", 0.05), ("5", 0.05), ("0.5 %", 0.005), ("0", 0.0)] {
            assert!((parse_percent(text).unwrap() - share).abs() < 1e-12, "{text}");
        }
        for text in ["", "%", "five", "-1%", "nan", "inf", "1e9"] {
            assert_eq!(parse_percent(text).unwrap_err().exit_code(), 2, "{text}");
        }
    }
}

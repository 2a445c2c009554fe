//! `ipcost report`: every derived file of results folders again, from the raw ones.
//!
//! Key decision: each folder gets its own files first, exactly as if it were the only one; several folders then help each
//! other out on their pages, where they are of one machine, and several campaigns get a page together.

use super::{aside, faults, print};
use crate::claim;
use crate::error::{Error, Result};
use crate::report::page::{self, Material, PAGE};
use crate::report::{self, Report};
use crate::results::Kind;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Its options.
#[derive(Debug, Args)]
pub struct Folders {
    /// Results folders; those of one machine help each other out on their pages, several campaigns get one together
    #[arg(required = true)]
    dirs: Vec<PathBuf>,
    /// The page of several campaigns side by side [default: report.html beside the first one's folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Regenerates, and says what was written.
///
/// # Errors
/// When a folder cannot be read or written; a usage error for `--out` without two campaigns.
pub fn report(args: &Folders) -> Result<ExitCode> {
    let campaigns = args.dirs.iter().filter(|dir| Kind::of(dir) == Kind::Campaign).count();
    if args.out.is_some() && campaigns < 2 {
        return Err(
            Error::usage("--out is the page of several campaigns side by side").hint("name two folders or more")
        );
    }
    let mut reports = vec![];
    for dir in &args.dirs {
        let (report, written) = regenerate(dir)?;
        for remark in report.iter().flat_map(|report| &report.saved.remarks) {
            aside("", &format!("{}: {remark}", dir.display()));
        }
        written.iter().try_for_each(|path| say(path))?;
        reports.push(report);
    }
    if args.dirs.len() > 1 {
        together(args, &reports)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn say(path: &Path) -> Result<()> {
    print(&format!("{}\n", path.display()))
}

fn regenerate(dir: &Path) -> Result<(Option<Report>, Vec<PathBuf>)> {
    Ok(match Kind::of(dir) {
        Kind::Faults => (None, faults::regenerate(dir)?.into()),
        Kind::Claims => (None, claim::page::regenerate(dir)?.1),
        Kind::Campaign => {
            let (report, written) = report::regenerate(dir)?;
            (Some(report), written)
        }
    })
}

/// The pages once more, each with what the other folders know, and the page of all campaigns.
fn together(args: &Folders, reports: &[Option<Report>]) -> Result<()> {
    let materials = args.dirs.iter().zip(reports).map(|(dir, report)| match report {
        Some(report) => Ok(Material::of(report, dir)),
        None => Material::load(dir),
    });
    let materials = materials.collect::<Result<Vec<_>>>()?;
    for (number, (own, dir)) in materials.iter().zip(&args.dirs).enumerate() {
        let others = materials.iter().enumerate().filter(|(other, _)| *other != number).map(|(_, material)| material);
        page::write(own, &others.collect::<Vec<_>>(), dir)?;
    }
    let campaigns: Vec<&Material> = materials.iter().filter(|one| one.report.is_some()).collect();
    if campaigns.len() > 1 {
        let path = args.out.clone().unwrap_or_else(|| beside(&args.dirs[0]).join(PAGE));
        page::write_hosts(&campaigns, &path)?;
        say(&path)?;
    }
    Ok(())
}

/// The folder in which a folder lies.
fn beside(dir: &Path) -> PathBuf {
    // What has no name, such as "..", has no parent by name either.
    if dir.file_name().is_some() { dir.parent().unwrap_or(dir).into() } else { dir.join("..") }
}

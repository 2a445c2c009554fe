//! `ipcost check`: the instrument checks itself.

use super::options::mechanism_name;
use super::print;
use super::screen::say;
use super::signals::{Duty, watch};
use crate::check::{Bench, CHECKS, Finding, Sabotage, Verdict, interrupted};
use crate::error::{Context, Error, Phase, Result};
use crate::sys::cpu;
use crate::transport::{ALL, Spec, find};
use clap::{Args, ValueEnum};
use std::cell::Cell;
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Its options.
#[derive(Debug, Args)]
pub struct Check {
    /// Mechanisms to check [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = mechanism_name())]
    mechanism: Vec<String>,
    /// Checks to run: boundary, faults, doubling, physics, cpu, controls, stall, tables [default: all]
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    only: Vec<String>,
    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Falsify what the matching check looks at, which must then fail
    #[arg(long, value_enum, hide = true)]
    sabotage: Option<Sabotage>,
}

/// Runs the checks and prints a line for each.
///
/// # Errors
/// A usage error for a mechanism or a check that does not exist.
pub fn check(args: &Check) -> Result<ExitCode> {
    let specs = specs(&args.mechanism)?;
    let checks = checks(args)?;
    let cpus = cpu::allowed().context(Phase::Setup, "cannot ask for the allowed CPUs")?.len();
    watch(Duty::StopCampaign);
    let bar = super::progress::bar(None, "{elapsed} {msg}");
    let mut findings = Vec::new();
    let mut printed = Ok(());
    let mut finds = |finding: Finding| {
        if args.format == Format::Table {
            bar.suspend(|| printed = say(&line(&finding)));
        }
        findings.push(finding);
    };
    let now = Cell::new("");
    let mut begins =
        |what: &str| bar.set_message(super::progress::cut(&format!("{}: {what}", now.get()), super::progress::ELAPSED));
    let mut bench = Bench { specs, cpus, sabotage: args.sabotage, begins: &mut begins, finds: &mut finds };
    for check in checks {
        now.set(check.name);
        (check.run)(&mut bench);
        if interrupted() {
            break;
        }
    }
    bar.finish_and_clear();
    printed?;
    if args.format == Format::Json {
        print(&(serde_json::to_string_pretty(&findings).context(Phase::Report, "cannot write JSON")? + "\n"))?;
    }
    let count = |verdict| findings.iter().filter(|f| f.verdict == verdict).count();
    let failed = count(Verdict::Fail);
    let sum = format!("{} passed, {failed} failed, {} skipped\n", count(Verdict::Pass), count(Verdict::Skipped));
    // The last line of the table, but no part of JSON.
    match args.format {
        Format::Table => print(&sum)?,
        Format::Json => eprint!("{sum}"),
    }
    if interrupted() {
        eprintln!("interrupted");
        return Ok(ExitCode::from(super::INTERRUPTED));
    }
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn specs(names: &[String]) -> Result<Vec<&'static Spec>> {
    if names.is_empty() || names.iter().any(|name| name == "all") {
        return Ok(ALL.iter().map(|runner| runner.spec()).collect());
    }
    names.iter().map(|name| find(name).map(|runner| runner.spec())).collect()
}

/// The checks that were asked for; under sabotage the one that must notice it.
fn checks(args: &Check) -> Result<Vec<&'static crate::check::Check>> {
    let names: Vec<_> = CHECKS.iter().map(|check| check.name).collect();
    if let Some(unknown) = args.only.iter().find(|name| !names.contains(&name.as_str())) {
        let what = format!("there is no check {unknown:?}");
        return Err(Error::usage(what).hint(format!("choose from {}", names.join(", "))));
    }
    let asked = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let concerned = |check: &crate::check::Check| args.sabotage.is_none_or(|how| check.sabotages.contains(&how));
    Ok(CHECKS.iter().filter(|check| asked(check.name) && concerned(check)).collect())
}

fn line(finding: &Finding) -> String {
    let Finding { check, subject, verdict, found, expected } = finding;
    let verdict = match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::Skipped => "skipped",
    };
    let expected = if found == expected { String::new() } else { format!("  (expected: {expected})") };
    format!("{verdict:<7} {check:<9} {subject:<30} {found}{expected}\n")
}

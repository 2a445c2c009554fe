//! `ipcost host`: the environment record, for people or as the JSON that a results folder keeps.

use super::print;
use super::screen::{Screen, show};
use crate::error::{Context, Phase, Result};
use crate::host::Host;
use crate::report::fit::paragraphs;
use clap::{Args, ValueEnum};
use std::fmt::Write;
use std::process::ExitCode;

/// How a record is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Its options.
#[derive(Debug, Args)]
pub struct HostArgs {
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Prints the record of this machine.
///
/// # Errors
/// When standard output cannot be written to.
pub fn host(args: &HostArgs) -> Result<ExitCode> {
    let host = Host::read();
    let text = match args.format {
        Format::Table => table(&host),
        Format::Json => serde_json::to_string_pretty(&host).context(Phase::Report, "cannot write JSON")? + "\n",
    };
    match args.format {
        Format::Table => show(&paragraphs(&text, Screen::of_stdout().width))?,
        Format::Json => print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(host: &Host) -> String {
    let allowed: Vec<_> = host.allowed.iter().map(ToString::to_string).collect();
    let (cpus, allowed) = (host.cpus.to_string(), allowed.join(","));
    let head = [
        ("slug", &host.slug),
        ("CPU", &host.cpu),
        ("CPUs", &cpus),
        ("CPUs allowed here", &allowed),
        ("hypervisor", &host.hypervisor),
        ("kernel", &host.kernel),
    ];
    let rest = |map: &std::collections::BTreeMap<String, String>, prefix: &str| -> Vec<(String, String)> {
        map.iter().map(|(name, value)| (format!("{prefix}{name}"), value.clone())).collect()
    };
    let mut lines: Vec<(String, String)> = head.map(|(name, value)| (name.to_string(), value.clone())).into();
    lines.extend(rest(&host.facts, ""));
    lines.extend(rest(&host.build, "build, "));
    lines.push(("taken".into(), host.taken.clone()));
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:<width$}{value}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_everything_that_the_json_says() {
        let host = Host::read();
        let table = table(&host);
        for (name, value) in host.facts.iter().chain(&host.build) {
            assert!(table.lines().any(|line| line.contains(name) && line.ends_with(value)), "{name} is missing");
        }
        assert!(table.contains(&host.kernel) && table.contains(&host.taken));
    }
}

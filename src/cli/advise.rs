//! `ipcost advise`: which mechanisms meet a demand, by what was measured.

use super::comparer::to_json;
use super::options::{placement, wait};
use super::screen::{Screen, show};
use super::{comparer::ListFormat, print, remark};
use crate::campaign::journal::{CAMPAIGN, CELLS};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::machine::moment;
use crate::plan::{Placement, Wait, parse_rate, parse_size};
use crate::report::Report;
use crate::report::advise::{Advice, Demand, page};
use crate::results::{HOST, folders};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Trust {
    /// The parties are written and run by the same people
    Same,
    /// A party may be hostile
    Different,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Threads {
    Yes,
    No,
}

/// Its options.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: ipcost advise --size 4KiB --rate 50000 --survive-crash\nExit codes: 0 something fits, 1 nothing \
                        does or nothing that was measured covers the question, 2 wrong usage."
)]
pub struct AdviseArgs {
    /// Bytes per message: 64, 4KiB, 1MiB
    #[arg(long, value_parser = parse_size)]
    size: usize,
    /// Messages per second, one direction: 50000, 50k, 1M [default: one at a time, by the round trip]
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    rate: Option<u64>,
    /// Most CPU that both parties together may use for it: 0.5, 50% (of one CPU); needs --rate
    #[arg(long, value_name = "CPUS", value_parser = parse_cpu, requires = "rate")]
    cpu: Option<f64>,
    /// Most that the 99th percentile of the latency may be: 50us, 2ms; with --rate under that load
    #[arg(long, value_name = "TIME", value_parser = parse_latency)]
    latency: Option<f64>,
    /// Whether the parties trust each other
    #[arg(long, value_enum, default_value_t = Trust::Same)]
    trust: Trust,
    /// One party must learn that the other was killed, and go on
    #[arg(long)]
    survive_crash: bool,
    /// Whether threads of one process will do
    #[arg(long, value_enum, default_value_t = Threads::No)]
    threads: Threads,
    /// Only these waits: block, poll, epoll, hybrid, yield, spin
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = wait())]
    wait: Vec<Wait>,
    /// Only these placements: same-cpu, cross-cpu, unpinned
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = placement())]
    placement: Vec<Placement>,
    /// Results folder whose rows decide [default: the newest campaign below results/]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    format: ListFormat,
}

/// `0.5` CPUs, or `50%` of one.
fn parse_cpu(text: &str) -> Result<f64> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.01));
    let cpus = number.trim().parse::<f64>().ok().map(|n| n * scale).filter(|n| *n > 0.0 && *n <= 1e6);
    cpus.ok_or_else(|| Error::usage(format!("{text:?} is no share of a CPU")).hint("say 0.5, 50% or 2"))
}

/// `50us`, in ns.
fn parse_latency(text: &str) -> Result<f64> {
    let bad = || Error::usage(format!("{text:?} is no latency")).hint("say something like 800ns, 50us or 2ms");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match text[digits.len()..].trim() {
        "ns" => 1.0,
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return Err(bad()),
    };
    let ns = digits.trim().parse::<f64>().ok().map(|n| n * scale).filter(|ns| *ns > 0.0 && *ns <= 1e12);
    ns.ok_or_else(bad)
}

/// Answers.
///
/// # Errors
/// A usage error without a folder; `unsupported` where what was measured does not cover the question.
pub fn advise(args: &AdviseArgs) -> Result<ExitCode> {
    let dir = args.from.clone().map_or_else(|| newest(Path::new("results")), Ok)?;
    let report = Report::load(&dir)?;
    let demand = Demand {
        size: args.size,
        rate: args.rate,
        cpus: args.cpu,
        p99_ns: args.latency,
        trusting: args.trust == Trust::Same,
        survive_crash: args.survive_crash,
        threads: args.threads == Threads::Yes,
        waits: args.wait.clone(),
        placements: args.placement.clone(),
    };
    let advice = Advice::of(&report, demand).map_err(|error| error.because(format!("in {}", dir.display())))?;
    let host = &report.saved.host;
    let source = format!("{}: {}, {} launches, taken {}", dir.display(), host.slug, report.launches, host.taken);
    match args.format {
        ListFormat::Json => print(&to_json(&advice)?)?,
        ListFormat::Table => show(&page::page(&advice, &source, Screen::of_stdout().width))?,
    }
    let here = Host::read().slug;
    if here != host.slug {
        remark(&format!("that was measured on {}, and this is {here}", host.slug));
    }
    Ok(if advice.fit.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The campaign below `results` that was measured last.
fn newest(results: &Path) -> Result<PathBuf> {
    let campaign = |dir: &PathBuf| [CAMPAIGN, CELLS].iter().all(|file| dir.join(file).exists());
    let of_hosts = folders(results).into_iter().flat_map(|host| folders(&host)).filter(campaign);
    // When it was measured, and not its name, which may be anybody's choice.
    let taken = |dir: &PathBuf| {
        let host: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join(HOST)).ok()?).ok()?;
        moment(host.get("taken")?.as_str()?)
    };
    of_hosts.max_by_key(taken).ok_or_else(|| {
        Error::usage(format!("there is no campaign below {}/", results.display()))
            .hint("run `ipcost compare --profile full` first, or name a folder with --from")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_is_in_cpus_and_a_latency_in_nanoseconds() {
        for (text, cpus) in [("0.5", 0.5), ("50%", 0.5), ("2", 2.0), ("200 %", 2.0)] {
            assert!((parse_cpu(text).unwrap() - cpus).abs() < 1e-12, "{text}");
        }
        for (text, ns) in [("50us", 5e4), ("1.5ms", 1.5e6), ("800ns", 800.0), ("1s", 1e9)] {
            assert!((parse_latency(text).unwrap() - ns).abs() < 1e-6, "{text}");
        }
        for text in ["", "0", "-1", "x", "%", "nan", "inf"] {
            assert_eq!(parse_cpu(text).unwrap_err().exit_code(), 2, "{text}");
            assert_eq!(parse_latency(text).unwrap_err().exit_code(), 2, "{text}");
        }
    }

    #[test]
    fn the_newest_campaign_is_taken_and_no_other_folder() {
        let dir = tempfile::tempdir().unwrap();
        assert!(newest(dir.path()).unwrap_err().to_string().contains("ipcost compare"));
        for (name, month, files) in [
            ("host-b/before", 1, &[CAMPAIGN, CELLS][..]),
            ("host-a/2026-02-01-000000", 2, &[CAMPAIGN, CELLS]),
            ("host-a/2026-03-01-000000-claims", 3, &["claims.jsonl"]),
            ("host-a/2026-04-01-000000", 4, &[CAMPAIGN]),
        ] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
            let host = format!(r#"{{"taken":"2026-{month:02}-01T00:00:00.000Z"}}"#);
            std::fs::write(dir.path().join(name).join(HOST), host).unwrap();
            files.iter().for_each(|file| std::fs::write(dir.path().join(name).join(file), "").unwrap());
        }
        assert!(newest(dir.path()).unwrap().ends_with("host-a/2026-02-01-000000"));
    }
}

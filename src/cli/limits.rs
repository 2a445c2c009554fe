//! `ipcost limits`: the floors of this machine, and the same for a campaign's results folder.

use super::host::Format;
use super::options::default_placement;
use super::screen::Screen;
use super::signals::{Duty, watch};
use super::{print, remark};
use crate::campaign::launch::{INTERRUPTED, ask, own_command};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::limits::place::Place;
use crate::measure::limits::{FILE, Figure, Limits, Order, Probe, Unit};
use crate::plan::{Placement, Plan, parse_cpus};
use crate::report::fit::{self, Head, Width};
use crate::report::text::{bytes_per_s, digits, nanos};
use crate::results::write_json;
use crate::sys::cpu;
use clap::Args;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Its options.
#[derive(Debug, Args)]
pub struct LimitsArgs {
    /// The two CPUs, such as 0,1 [default: the first two that are allowed]
    #[arg(long, value_name = "A,B", value_parser = parse_cpus)]
    cpus: Option<Placement>,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Measures and prints: about two seconds.
///
/// # Errors
/// A usage error when the CPUs are not allowed here; `failed` when nothing can be measured.
pub fn limits(args: &LimitsArgs) -> Result<ExitCode> {
    let allowed = cpu::allowed().context(Phase::Setup, "cannot ask for the allowed CPUs")?;
    // CPUs that cannot be had are the command's fault.
    let resolved = args.cpus.unwrap_or_else(default_placement).resolve(&allowed);
    let cpus = resolved.map_err(|error| Error::usage(error.to_string()))?;
    watch(Duty::StopCampaign);
    let found = measure(Order { cpus: cpus.unwrap_or([0; 2]), quick: false });
    if INTERRUPTED.load(Ordering::SeqCst) {
        eprintln!("interrupted; half a measurement is none");
        return Ok(ExitCode::from(super::INTERRUPTED));
    }
    let found = found?;
    print(&match args.format {
        Format::Table => {
            let width = Screen::of_stdout().width;
            fit::paragraphs(&table(&found, width), width)
        }
        Format::Json => serde_json::to_string_pretty(&found).context(Phase::Report, "cannot write JSON")? + "\n",
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Measures the floors on the CPUs of a campaign and keeps them in its folder. A failure is a remark: the campaign is
/// worth having without them.
pub fn record(cells: &[Plan], allowed: &[usize], dir: &Path) {
    let Some(cpus) = cpus_of(cells, allowed) else { return };
    let written = measure(Order { cpus, quick: true }).and_then(|found| write_json(dir, FILE, &found));
    if let Err(error) = written
        && !INTERRUPTED.load(Ordering::SeqCst)
    {
        remark(&format!("no limits.json: {error}"));
    }
}

/// The CPUs of a campaign: the first pair of two, else its one CPU and any other, so that no floor is missing that could
/// be there.
fn cpus_of(cells: &[Plan], allowed: &[usize]) -> Option<[usize; 2]> {
    let pairs: Vec<[usize; 2]> = cells.iter().filter_map(|cell| cell.placement.resolve(allowed).ok()?).collect();
    if let Some(two) = pairs.iter().find(|[a, b]| a != b) {
        return Some(*two);
    }
    let home = pairs.first().map(|[cpu, _]| cpu).or(allowed.first())?;
    let away = allowed.iter().find(|cpu| *cpu != home).unwrap_or(home);
    Some([*home, *away])
}

/// Longest time that a measurement may take: ten times what it plans, and some for a slow machine.
const DEADLINE: Duration = Duration::from_secs(40);

/// In a fresh process of one thread.
fn measure(order: Order) -> Result<Limits> {
    ask(own_command("probe"), &order, DEADLINE)
}

fn table(limits: &Limits, width: Width) -> String {
    let heads = [
        Head::words("floor", 0),
        Head::number("median", 0),
        Head::number("95 % interval", 0),
        Head::number("min", 2),
        Head::number("max", 2),
        Head::number("n", 3),
    ];
    let rows = rows(limits);
    let cells: Vec<Vec<String>> = rows.iter().map(|(title, figure)| cells(title, figure).to_vec()).collect();
    let [a, b] = limits.order.cpus;
    let seconds = limits.elapsed_ms as f64 / 1000.0;
    let on = if a == b { format!("CPU {a} alone") } else { format!("CPUs {a} and {b}") };
    let mut text = format!("physical floors on {on}, measured within {} s\n", digits(seconds));
    let _ = writeln!(text, "{}", fit::table(&heads, &cells, width));
    let notes = [place_lines(limits), other_lines(limits)].concat();
    notes.iter().for_each(|line| _ = writeln!(text, "{line}"));
    let _ = writeln!(text, "\nhow a repetition measures it");
    for (title, figure) in &rows {
        let _ = writeln!(text, "  {title}: {}", figure.method);
    }
    text
}

fn rows(limits: &Limits) -> Vec<(String, &Figure)> {
    let probes = Probe::ALL.iter().filter_map(|p| Some((p.title().to_string(), limits.figures.get(p)?)));
    let copies = limits.memcpy.iter().map(|copy| (format!("memcpy, {}", copy.level), &copy.rate));
    probes.chain(copies).collect()
}

fn cells(title: &str, figure: &Figure) -> [String; 6] {
    let show = |value: f64| match figure.unit {
        Unit::Nanoseconds => nanos(value),
        Unit::BytesPerSecond => bytes_per_s(value),
    };
    let estimate = figure.estimate;
    let interval = estimate.interval.map_or("none below 6".into(), |(a, b)| format!("[{}, {}]", show(a), show(b)));
    [title.into(), show(estimate.median), interval, show(figure.min), show(figure.max), estimate.n.to_string()]
}

/// What the probe and the kernel say about where the CPUs are.
fn place_lines(limits: &Limits) -> Vec<String> {
    let Some(Place { kernel, probe }) = &limits.place else { return vec![] };
    let likeness = |r: &crate::measure::limits::place::Regime| {
        format!("{} ({} in {} repetitions)", r.looks_like, nanos(r.line_rtt_ns), r.repetitions)
    };
    let seen = match &probe[..] {
        [] => "looks like nothing known: the line could not be measured".into(),
        [one] => format!("looks like {}, from the probe", likeness(one)),
        many => format!(
            "{} regimes, from the probe: looks like {}: the CPUs were moved, or something else used them",
            many.len(),
            many.iter().map(likeness).collect::<Vec<_>>().join(" and like ")
        ),
    };
    vec![format!("place    {seen}; the kernel says {kernel}")]
}

fn other_lines(limits: &Limits) -> Vec<String> {
    let p90 = limits.figures.get(&Probe::IdleWake).and_then(|figure| figure.p90);
    let wakes = p90.map(|ns| format!("wakes    of an idle CPU: 90 % within {}", nanos(ns)));
    let slack =
        limits.timer_slack_ns.map(|ns| format!("timer    the kernel may end a sleep {} late", nanos(ns as f64)));
    let absent = limits.absent.iter().map(|(what, why)| format!("absent   {what}: {why}"));
    wakes.into_iter().chain(slack).chain(absent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::limits::place::{Closeness, Stated};
    use crate::measure::limits::{CopyRate, Level, SCHEMA};

    fn limits(lines: &[f64]) -> Limits {
        let figure = |values: &[f64], unit| Figure::of(values, unit, "planted method").unwrap();
        let kernel = Stated { closeness: Some(Closeness::SameCache), ..Stated::default() };
        Limits {
            schema: SCHEMA,
            taken: String::new(),
            elapsed_ms: 1900,
            order: Order { cpus: [0, 1], quick: false },
            figures: [(Probe::LineRtt, figure(lines, Unit::Nanoseconds))].into(),
            memcpy: vec![CopyRate {
                level: Level::Dram,
                cache_bytes: None,
                working_set: 1,
                rate: figure(&[1.1e10; 6], Unit::BytesPerSecond),
            }],
            timer_slack_ns: None,
            place: Some(Place::of(kernel, lines, 20.0)),
            absent: [("wake of an idle CPU".to_string(), "planted reason".to_string())].into(),
        }
    }

    #[test]
    fn the_table_shows_figures_place_methods_and_what_is_absent() {
        let text = table(&limits(&[84.0, 85.0, 86.0, 87.0, 88.0, 89.0]), None);
        for part in [
            "CPUs 0 and 1",
            "cache line, round trip",
            "86.5 ns",
            "[84.0 ns, 89.0 ns]",
            "memcpy, DRAM",
            "11.0 GB/s",
            "looks like same cache (86.5 ns in 6 repetitions), from the probe; the kernel says same cache",
            "absent   wake of an idle CPU: planted reason",
            "  memcpy, DRAM: planted method",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
    }

    #[test]
    fn two_regimes_are_said_to_be_two() {
        let text = table(&limits(&[84.0, 85.0, 86.0, 390.0, 391.0, 392.0]), None);
        assert!(text.contains("2 regimes") && text.contains("same cache (85.0 ns in 3"), "{text}");
        assert!(text.contains("across caches (391 ns in 3"), "{text}");
    }

    #[test]
    fn a_campaign_is_probed_on_its_own_pair_of_cpus() {
        let cell = |placement| Plan { placement, ..Plan::default() };
        let cells = [cell(Placement::SameCpu), cell(Placement::Cpus(2, 3))];
        assert_eq!(cpus_of(&cells, &[0, 1, 2, 3]), Some([2, 3]));
        assert_eq!(cpus_of(&[cell(Placement::Unpinned)], &[4, 5]), Some([4, 5]));
        assert_eq!(cpus_of(&[cell(Placement::SameCpu)], &[1, 7]), Some([7, 1]));
        assert_eq!(cpus_of(&[cell(Placement::SameCpu)], &[7]), Some([7, 7]));
        assert_eq!(cpus_of(&[cell(Placement::SameCpu)], &[]), None);
    }
}

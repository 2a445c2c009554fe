//! What every reader of text and files is tried with, by the property tests (`tests/edited.rs`) and by a fuzzer (`fuzz/`).
//!
//! Key decision: the functions here say what must hold of any input and are called from both, so that neither can rot without
//! the other. They panic where it does not hold, as whoever calls them expects.

use crate::campaign::journal::{Campaign, Journal, Terms};
use crate::campaign::matrix::Profile;
use crate::cell::{CpuCost, Faults, Floor, Outcome, Rtt, Status, Switches, Throughput, Verified};
use crate::error::Error;
use crate::host::Host;
use crate::machine::topology;
use crate::measure::floor;
use crate::plan::{
    Arrivals, Parties, Placement, Plan, RunId, Span, Touch, Wait, Workload, parse_cpus, parse_millis, parse_placement,
    parse_rate, parse_size, show_rate, show_size,
};
use crate::report::page::{Material, page as whole_page, render};
use crate::report::rows::Which;
use crate::report::{Report, csv, table};
use crate::transport::{find, ring, sysv_shm, tcp};
use serde_json::{Value, json};
use std::fmt::{Debug, Display};
use std::path::Path;
use std::str::FromStr;

/// Reads a text in every way in which the command line reads one; what can be read is printed and read again.
///
/// # Panics
/// When a reader does, when a refusal says nothing, or when a value is not what it is printed as.
pub fn words(text: &str) {
    round_trip(parse_size(text), |size| show_size(*size), parse_size);
    round_trip(parse_rate(text), |rate| show_rate(*rate), parse_rate);
    round_trip(parse_millis(text), |millis| format!("{millis}ms"), parse_millis);
    round_trip(parse_placement(text), Placement::to_string, parse_placement);
    round_trip(parse_cpus(text), |cpus| cpus.to_string().replace("cpus:", ""), parse_cpus);
    word::<Wait>(text);
    word::<Placement>(text);
    word::<Workload>(text);
    word::<Parties>(text);
    word::<Touch>(text);
    word::<Arrivals>(text);
    let same = |runner: &&dyn crate::transport::Runner| runner.spec().name == text;
    assert!(find(text).as_ref().map_or_else(refused, same), "{text:?}");
    // What becomes the name of a file stays in its folder.
    let at_home = |(name, path): &(String, std::path::PathBuf)| {
        path.parent() == Some(Path::new("/dev/shm")) && path.file_name().is_some_and(|last| *last == name[1..])
    };
    assert!(ring::posix_name(text).as_ref().map_or_else(refused, at_home), "{text:?}");
    round_trip(sysv_shm::parse_key(text), |key| format!("{key:#x}"), sysv_shm::parse_key);
    assert!(tcp::loopback_address(text).as_ref().map_or_else(refused, |at| at.ip().is_loopback()), "{text:?}");
    topology::cpus_of(text);
    if let Some(owner) = crate::names::Owner::of_name(text) {
        // Whatever it says, it can be asked for.
        owner.state();
    }
}

/// A refusal is a usage error of one line.
fn refused(error: &Error) -> bool {
    let said = error.to_string();
    error.exit_code() == 2 && !said.is_empty() && !said.contains('\n')
}

fn word<T: FromStr<Err = Error> + Display + Debug + PartialEq>(text: &str) {
    round_trip(text.parse::<T>(), T::to_string, str::parse);
}

fn round_trip<T: Debug + PartialEq>(
    read: Result<T, Error>,
    print: impl Fn(&T) -> String,
    again: impl Fn(&str) -> Result<T, Error>,
) {
    match read {
        Ok(value) => assert_eq!(again(&print(&value)).ok().as_ref(), Some(&value), "printed as {:?}", print(&value)),
        Err(error) => assert!(refused(&error), "{error:?}"),
    }
}

/// Runs with every kind of figure, as a journal has them: a class with its control, three of a round. Six rounds are enough to
/// rank, and take a hundred times as long to sum up as two, because of the drift.
pub fn runs(rounds: u32) -> Vec<Outcome> {
    let runs = (0..rounds).flat_map(|round| {
        ["pipe", "unix-stream", "null"].into_iter().zip(0..).map(move |(mechanism, place)| run(mechanism, round, place))
    });
    runs.collect()
}

fn run(mechanism: &str, round: u32, place: u32) -> Outcome {
    let parties = if mechanism == "null" { Parties::Solo } else { Parties::Process };
    let started = format!("2026-01-31T12:00:{:02}.{place:03}Z", 3 * round);
    let id = RunId { round, order: 3 * round + place, seed: 7, started, label: None };
    let plan = Plan { mechanism: mechanism.into(), parties, run: id, span: Span::Millis(100), ..Plan::default() };
    let (messages, ns) = (1000, 5_000_000 + u64::from(place) * 2_000_000 + u64::from(round) * 10_000);
    let mean = ns as f64 / messages as f64;
    let rtt = Rtt {
        mean,
        min: Some(700),
        p50: Some(5000),
        p90: Some(6000),
        p99: Some(9000),
        p999: None,
        max: Some(20_000),
        stamped_mean: Some(mean),
        histogram: vec![(5000, 900), (6000, 80), (9000, 20)],
    };
    let floor = Floor {
        line_rtt_ns: vec![100.0, 102.0],
        kind: Some(floor::Kind::Futex),
        handover_rtt_ns: vec![4000.0, 4100.0],
        multiple: Some(mean / 4050.0),
    };
    Outcome {
        messages,
        bytes: messages * plan.size as u64,
        elapsed_ns: ns,
        rtt_ns: Some(rtt),
        throughput: Some(Throughput { messages_per_s: 1e9 / mean, bytes_per_s: 64e9 / mean }),
        setup_ns: Some(10_000),
        teardown_ns: Some(1000),
        memory_bytes: Some(1 << 16),
        first_message_ns: Some(50_000),
        warm_up_messages: 100,
        cpu_ns_per_message: vec![CpuCost { user: 900.0, system: 3000.0 }; 2],
        switches_per_message: vec![Switches { voluntary: 1.0, involuntary: 0.01 }; 2],
        faults: vec![Faults { minor: 1, major: 0 }; 2],
        run_delay_ns: vec![0, 10],
        pids: vec![10, 11],
        one_address_space: Some(false),
        verified: Some(Verified { messages, bytes: messages * 64 }),
        floor: Some(floor),
        flags: if round == 1 { vec!["steal".into()] } else { vec![] },
        ..Outcome::empty(&plan, Status::Ok)
    }
}

/// Writes a results folder with these runs, as a campaign leaves it.
///
/// # Panics
/// When the folder cannot be written.
pub fn folder(dir: &Path, runs: &[Outcome]) {
    let cells = runs.iter().filter(|run| run.run.round == 0).map(|run| Plan {
        mechanism: run.mechanism.clone(),
        parties: run.parties,
        ..Plan::default()
    });
    let terms = Terms { profile: Profile::Quick, run: Span::Millis(100), budget_ms: 1000, most_rounds: 6 };
    let campaign = Campaign { seed: 7, rounds: 6, terms: Some(terms), cells: cells.collect(), unsupported: vec![] };
    let mut journal = Journal::create(dir, &Host::default(), &campaign).expect("a new folder");
    runs.iter().for_each(|run| journal.append(run).expect("it can be written"));
}

/// The places of all values in it, as JSON pointers (RFC 6901).
pub fn places(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        _ => vec![],
    };
    let below = |(name, value): (String, &Value)| {
        std::iter::once(format!("/{name}")).chain(places(value).into_iter().map(move |rest| format!("/{name}{rest}")))
    };
    children.into_iter().flat_map(below).collect()
}

/// What a person, or another program, may write where a value was.
pub fn values() -> Vec<Value> {
    let extreme = [json!(0), json!(1), json!(u64::MAX), json!(i64::MIN), json!(1e308), json!(-1e308), json!(1e-308)];
    let other = [json!(null), json!(true), json!(""), json!("nan"), json!([]), json!({}), json!([[0, 0]])];
    extreme.into_iter().chain(other).collect()
}

/// A text of JSON lines, or of one JSON value, in which values are others: each change says which line, which of the
/// [`places`] in it and which of the [`values`], all counted around. Lines that cannot be read stay as they are.
pub fn altered(text: &str, changes: &[(u8, u16, u8)]) -> String {
    let one = serde_json::from_str::<Value>(text).is_ok();
    let mut lines: Vec<String> = if one { vec![text.into()] } else { text.lines().map(Into::into).collect() };
    for (line, place, value) in changes {
        let Some(count) = std::num::NonZero::new(lines.len()) else { break };
        let line = &mut lines[usize::from(*line) % count];
        let Ok(mut whole) = serde_json::from_str::<Value>(line) else { continue };
        let (places, values) = (places(&whole), values());
        let at = places.get(usize::from(*place) % places.len().max(1)).and_then(|at| whole.pointer_mut(at));
        if let Some(at) = at {
            *at = values[usize::from(*value) % values.len()].clone();
            *line = whole.to_string();
        }
    }
    lines.join("\n") + "\n"
}

/// Makes all tables of a results folder in which somebody may have written anything: the pages, the CSV file and the page for
/// a browser, or what is wrong with it.
///
/// # Errors
/// What the folder's reader says.
///
/// # Panics
/// When a reader does, when a table holds a number that is none, or when an error does not say where it is.
pub fn tables(dir: &Path) -> Result<[String; 3], Error> {
    let report = match Report::load(dir) {
        Ok(report) => report,
        Err(error) => {
            let said = error.to_string();
            assert!([".json", ".jsonl"].iter().any(|file| said.contains(file)), "no file is named: {said}");
            return Err(error);
        }
    };
    let page = |which| table::page(&report, which, table::Style::Markdown);
    let tables = [page(Which::All), page(Which::Unflagged), csv(&report)?];
    for table in &tables {
        let cells = table.split(|c: char| c.is_whitespace() || matches!(c, ',' | '|' | '-' | '[' | ']'));
        let bad = cells.into_iter().find(|cell| matches!(*cell, "NaN" | "inf" | "nan" | "infinity"));
        assert_eq!(bad, None, "in\n{table}");
    }
    let html = render(&whole_page(&Material::of(&report, dir), &[]))?;
    // The script may speak of numbers that are none.
    let html: String = html.split("<script>").map(|part| part.rsplit("</script>").next().unwrap_or(part)).collect();
    for bad in [">NaN", "\"NaN", " NaN", "NaN%", ">inf", "\"inf", "inf%", "LNaN", "MNaN"] {
        assert!(!html.contains(bad), "{bad:?} is on the page");
    }
    Ok(tables)
}

/// Goes on with the campaign of a folder, as far as its journal is concerned.
///
/// # Errors
/// What the folder's reader says.
pub fn resume(dir: &Path) -> Result<usize, Error> {
    Journal::resume(dir, &Host::default()).map(|(_, _, done)| done.runs.len())
}

//! `ipcost list`: every mechanism, and what of it works here.

use super::comparer::{ListFormat, to_json};
use super::print;
use super::screen::{Screen, show};
use crate::error::Result;
use crate::report::fit::paragraphs;
use crate::sys::process::HeldSignals;
use crate::transport::{ALL, ALL_WAITS, Bound, Meeting, PATTERNS, Spec, left_out};
use std::process::ExitCode;

/// A mechanism as `ipcost list` shows it: what it is, and what of that works here.
#[derive(serde::Serialize)]
struct Listed {
    #[serde(flatten)]
    spec: &'static Spec,
    /// The largest message here.
    bound: Bound,
    /// Why it cannot be used here.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
}

/// Lists them.
///
/// # Errors
/// When standard output cannot be written to.
pub fn list(format: ListFormat) -> Result<ExitCode> {
    // Trials of mechanisms make names.
    let held = HeldSignals::new();
    let listed: Vec<Listed> = ALL
        .iter()
        .map(|runner| Listed {
            spec: runner.spec(),
            bound: runner.bound(),
            unusable: runner.usable().err().map(|error| error.to_string()),
        })
        .collect();
    drop(held);
    match format {
        ListFormat::Json => print(&to_json(&listed)?)?,
        ListFormat::Table => show(&paragraphs(&list_table(&listed), Screen::of_stdout().width))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list_table(listed: &[Listed]) -> String {
    let mut text = String::new();
    for Listed { spec, bound, unusable } in listed {
        let parties: Vec<_> = spec.parties.iter().map(|p| p.word()).collect();
        let meeting = match (spec.meeting, spec.meeting.place()) {
            (_, Some(place)) => format!("; two terminals: --at {place}"),
            (Meeting::Stdio, None) => "; two terminals: standard streams".into(),
            (_, None) => String::new(),
        };
        text.push_str(&format!("{:<16} {}\n", spec.name, spec.summary));
        let mut say = |line: String| text.push_str(&format!("{:<16} {line}\n", ""));
        say(format!("between: {}; copies: {}{meeting}", parties.join(", "), spec.copies));
        if spec.waits != ALL_WAITS {
            let waits: Vec<_> = spec.waits.iter().map(|wait| wait.word()).collect();
            say(format!("waits: {}", waits.join(", ")));
        }
        if spec.patterns != PATTERNS && !spec.patterns.is_empty() {
            let patterns: Vec<_> = spec.patterns.iter().map(|pattern| pattern.word()).collect();
            say(format!("patterns: {}", patterns.join(", ")));
        }
        say(format!("peer death: {}", spec.peer_death.text));
        if let Some(setting) = &bound.set_by {
            say(format!("at most {} bytes a message here: {setting}", bound.size));
        }
        if let Some(why) = unusable {
            say(format!("NOT USABLE HERE: {why}"));
        }
    }
    for (name, feature) in left_out() {
        text.push_str(&format!("{name:<16} NOT IN THIS BUILD: cargo build --release --features {feature}\n"));
    }
    text.push_str("\nEach is a program of its own: ipc-<name> --help.\n");
    text.push_str("The waits are block, hybrid, yield and spin where nothing else is said.\n");
    text.push_str("The patterns are fan-in, fan-out and pairs where nothing else is said; the controls have none.\n");
    text
}

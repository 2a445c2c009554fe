//! What the experiments said, for people: a line for each claim, a section with figures, the file `claims.md`.

use super::record::{self, Record};
use super::{CLAIMS, Claim, Figure, Finding, Unit, Verdict};
use crate::error::Result;
use crate::report::text::{bytes, digits, nanos};
use crate::report::{self, picture::Picture};
use crate::results;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A claim with what was found.
#[derive(Serialize)]
pub struct Judged {
    /// Its name.
    pub claim: &'static str,
    /// The sentence, as it is taught.
    pub taught: &'static str,
    /// What would have to be seen.
    pub hypothesis: &'static str,
    /// What was seen.
    #[serde(flatten)]
    pub finding: Finding,
    /// What can make the figures say something else.
    pub misleads: &'static str,
    /// Launches in all, and those with a reason for doubt.
    pub launches: usize,
    /// Launches that carry a flag.
    pub flagged: usize,
}

/// Judges a claim by its journal.
pub fn judge(claim: &'static Claim, record: &Record) -> Judged {
    let failures = record.failures();
    let mut finding = if record.lines().len() == failures.len() {
        let why = failures.first().map_or("nothing was measured", |(_, why)| why);
        Finding::new(Verdict::NotTested(why.into()), "")
    } else {
        (claim.judge)(record)
    };
    finding.remarks.extend(failures.iter().map(|(case, why)| format!("{case}: {why}")));
    let Claim { name, taught, hypothesis, misleads, .. } = claim;
    let (launches, flagged) = (record.lines().len(), record.flagged());
    Judged { claim: name, taught, hypothesis, finding, misleads, launches, flagged }
}

/// One line for a terminal.
pub fn line(judged: &Judged) -> String {
    let Finding { verdict, because, .. } = &judged.finding;
    let because = if because.is_empty() { String::new() } else { format!(" -- {because}") };
    format!("{:<16} {verdict}{because}\n", judged.claim)
}

/// A value as people read it.
pub fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Ns => nanos(value),
        Unit::Bytes => bytes(value),
        Unit::Number => digits(value),
        Unit::Ratio => format!("{} x", digits(value)),
        Unit::Share => format!("{} %", digits(100.0 * value)),
        Unit::PerSecond => format!("{}/s", digits(value)),
    }
}

/// A figure in words.
pub fn figure(figure: &Figure) -> String {
    let show = |value: f64| shown(figure.unit, value);
    let interval = match figure.estimate.interval {
        Some((low, high)) => format!("[{}, {}]", show(low), show(high)),
        None => "(no interval below 6 rounds)".into(),
    };
    format!("{} {interval}", show(figure.estimate.median))
}

/// A claim with all its figures, as text or as a section of a page.
pub fn section(judged: &Judged, markdown: bool) -> String {
    let Judged { claim, taught, hypothesis, finding, misleads, launches, flagged } = judged;
    let mut text = String::new();
    let head = if markdown { format!("## {claim}\n\n") } else { format!("{claim}\n") };
    text.push_str(&head);
    let mut item = |label: &str, what: &str| {
        let _ = if markdown { writeln!(text, "- **{label}**: {what}") } else { writeln!(text, "  {label:<12} {what}") };
    };
    item("taught", taught);
    item("hypothesis", hypothesis);
    item("verdict", &finding.verdict.to_string());
    if !finding.because.is_empty() {
        item("because", &finding.because);
    }
    for part in &finding.figures {
        item(&part.what, &figure(part));
    }
    item("launches", &format!("{launches}, {flagged} with doubts"));
    finding.remarks.iter().for_each(|remark| item("remark", remark));
    item("misleads", misleads);
    text.push('\n');
    text
}

/// Everything that a results folder says to the claims.
///
/// # Errors
/// As [`record::read`].
pub fn load(dir: &Path) -> Result<(Vec<Judged>, Vec<String>)> {
    let (records, remarks) = record::read(dir)?;
    Ok((judge_all(&records), remarks))
}

/// Judges every claim of which there is a journal, in the order of the list.
pub fn judge_all(records: &BTreeMap<String, Record>) -> Vec<Judged> {
    known(records).map(|(claim, record)| judge(claim, record)).collect()
}

/// The claims of which there is a journal, in the order of the list.
fn known(records: &BTreeMap<String, Record>) -> impl Iterator<Item = (&'static Claim, &Record)> {
    CLAIMS.iter().filter_map(|claim| Some((*claim, records.get(claim.name)?)))
}

/// Regenerates the derived files of a results folder with claims; returns what was written.
///
/// # Errors
/// As [`load`], and when the folder cannot be written.
pub fn regenerate(dir: &Path) -> Result<(Vec<Judged>, Vec<PathBuf>)> {
    let (records, remarks) = record::read(dir)?;
    let (mut judged, mut pictures) = (Vec::new(), Vec::new());
    for (claim, record) in known(&records) {
        judged.push(judge(claim, record));
        if let Some(picture) = claim.picture.map(|draw| draw(record)).filter(Picture::shows_something) {
            pictures.push((format!("claim-{}.svg", claim.name), picture.svg()?));
        }
    }
    let mut text = String::from("# Processes and threads: what is taught, and what this machine says\n\n");
    for one in &judged {
        text.push_str(&format!("- {}: **{}**\n", one.claim, one.finding.verdict));
    }
    text.push('\n');
    for one in &judged {
        text.push_str(&section(one, true));
        let file = format!("claim-{}.svg", one.claim);
        if pictures.iter().any(|(name, _)| *name == file) {
            text.push_str(&format!("![{}]({file})\n\n", one.claim));
        }
    }
    remarks.iter().for_each(|remark| text.push_str(&format!("- remark: {remark}\n")));
    let mut files = vec![("claims.md".to_string(), text)];
    files.extend(pictures);
    let mut written = Vec::new();
    for (name, text) in files {
        results::write(dir, &name, &text)?;
        written.push(dir.join(name));
    }
    written.push(report::page::write(&report::page::Material::load(dir)?, &[], dir)?);
    Ok((judged, written))
}

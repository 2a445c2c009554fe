//! The judge, and the matrix as a table.
//!
//! Key decision: a row is a mechanism and a victim, a column a moment of a kill, because that is what people look up; what
//! a crash, a stop and a departure add is a column each. Every sign stands with the median time until it came. The judge
//! gives reasons, not a score: none is "as stated".

use super::record::Row;
use super::{Harm, Moment};
use crate::claim::record::Status;
use crate::plan::Parties;
use crate::report::fit::{Head, Width, markdown, paragraphs, table_or_paragraphs};
use crate::transport::{PeerDeath, Role, Sign, find};
use serde::Serialize;
use std::collections::BTreeSet;

/// CPUs used by others from which on a time says nothing of the mechanism.
const DISTURBING: f64 = 0.15;

/// Why a row is not what the SPEC states; empty if it is.
pub fn mismatches(row: &Row, death: &PeerDeath) -> Vec<String> {
    match row.status {
        Status::Ok => {}
        Status::Unsupported => return vec![],
        Status::Failed | Status::Timeout => {
            return vec![row.reason.clone().unwrap_or_else(|| "no reason given".into())];
        }
    }
    let stated = row.cell.stated(death);
    let words = |signs: &[Sign]| signs.iter().map(|sign| sign.word()).collect::<Vec<_>>().join(" or ");
    let mut why = Vec::new();
    let strange = row.signs.iter().filter(|(sign, _)| !stated.contains(sign));
    why.extend(strange.map(|(sign, n)| format!("{n} of {} saw {}, stated is {}", row.n, sign.word(), words(&stated))));
    if row.wrong > 0 {
        why.push(format!("{} messages that were not what was due were accepted", row.wrong));
    }
    if row.lost > 0 && (death.delivers || row.cell.harm == Harm::Leave) {
        why.push(format!("{} of {} messages that were sent never came", row.lost, row.sent));
    }
    if let Some(after) = row.after_ns.filter(|after| after.median > death.within_ms * 1_000_000)
        && row.others.is_none_or(|cpus| cpus < DISTURBING)
    {
        why.push(format!("told after {}, stated is {} ms", time(after.median), death.within_ms));
    }
    if !row.left.is_empty() && death.leaves.is_none() {
        why.push(format!("left behind: {}", left(row)));
    }
    if row.fresh < row.n {
        why.push(format!("no new pair could start after {} of {}", row.n - row.fresh, row.n));
    }
    let told = row.n - row.signs.get(&Sign::Nothing).copied().unwrap_or(0);
    if row.ended < told {
        why.push(format!("{} of {told} survivors that were told did not end", told - row.ended));
    }
    why
}

fn left(row: &Row) -> String {
    row.left.iter().map(|(what, n)| format!("{what} ({n})")).collect::<Vec<_>>().join(", ")
}

fn time(ns: u64) -> String {
    let ms = ns as f64 / 1e6;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// A row and the verdict on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    /// What was seen.
    #[serde(flatten)]
    pub row: Row,
    /// What the SPEC states.
    pub stated: Vec<Sign>,
    /// Whether it is that.
    pub as_stated: bool,
    /// Why not.
    pub mismatches: Vec<String>,
}

/// Judges a row by the SPEC of its mechanism; `None` of one that is not in this build.
pub fn judge(row: Row) -> Option<Judged> {
    let death = &find(&row.cell.mechanism).ok()?.spec().peer_death;
    Some(judge_by(row, death))
}

/// Judges a row by this statement.
pub fn judge_by(row: Row, death: &PeerDeath) -> Judged {
    let mismatches = mismatches(&row, death);
    Judged { stated: row.cell.stated(death), as_stated: mismatches.is_empty(), mismatches, row }
}

/// How the matrix is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Aligned columns.
    Terminal,
    /// Markdown.
    Markdown,
}

/// What the survivors of a cell saw, such as `EOF 0.3 ms`.
fn shown(judged: &Judged) -> String {
    let row = &judged.row;
    let mark = if judged.as_stated { "" } else { " MISMATCH" };
    if row.status != Status::Ok {
        let word = if row.status == Status::Unsupported { "not here" } else { "failed" };
        return format!("{word}{mark}");
    }
    let signs = row.signs.keys().map(|sign| sign.word()).collect::<Vec<_>>().join(" / ");
    let after = row.after_ns.map_or_else(String::new, |after| format!(" {}", time(after.median)));
    format!("{signs}{after}{mark}")
}

/// What stands beside whatever is not as stated.
pub const MISMATCH: &str = "MISMATCH";

/// The matrix: the heads of its columns, and its rows.
pub fn grid(judged: &[Judged]) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let mut names: Vec<&str> = judged.iter().map(|one| one.row.cell.mechanism.as_str()).collect();
    names.dedup();
    let kills = Moment::ALL.map(Moment::words);
    let last = ["crashed", "stopped", "let go", "sent before", "left behind", "new pair"];
    let heads = ["mechanism", "victim"].into_iter().chain(kills).chain(last).collect();
    let mut lines = vec![];
    for name in names {
        for victim in [Role::Producer, Role::Consumer] {
            let of: Vec<&Judged> =
                judged.iter().filter(|one| one.row.cell.mechanism == name && one.row.cell.victim == victim).collect();
            if !of.is_empty() {
                lines.push(line(name, victim, &of));
            }
        }
    }
    (heads, lines)
}

/// The matrix of these rows, then what is not as stated and what has to be said.
pub fn page(judged: &[Judged], style: Style) -> String {
    page_in(judged, style, None)
}

/// As [`page`], on a terminal of a certain width: what does not fit as a matrix is a paragraph for each row.
pub fn page_in(judged: &[Judged], style: Style, width: Width) -> String {
    let (titles, rows) = grid(judged);
    let heads: Vec<Head> = titles.into_iter().map(|title| Head::words(title, 0)).collect();
    let bullet = if style == Style::Markdown { "- " } else { "" };
    let remarks: String = remarks(judged).into_iter().map(|line| format!("{bullet}{line}\n")).collect();
    match style {
        Style::Terminal => {
            format!("{}\n{}", table_or_paragraphs(&heads, &rows, 2, width), paragraphs(&remarks, width))
        }
        Style::Markdown => format!("{}\n{remarks}", markdown(&heads, &rows)),
    }
}

fn line(name: &str, victim: Role, rows: &[&Judged]) -> Vec<String> {
    let of = |harm: Harm, moment: Option<Moment>| {
        let is =
            |one: &&&Judged| one.row.cell.harm == harm && moment.is_none_or(|moment| one.row.cell.moment == moment);
        let seen: BTreeSet<String> = rows.iter().filter(is).map(|one| shown(one)).collect();
        seen.into_iter().collect::<Vec<_>>()
    };
    // Where nothing differs between the moments but the time, the moments are told from each other by nothing else.
    let any = |harm: Harm| {
        let is = |one: &&&Judged| one.row.cell.harm == harm;
        let signs: BTreeSet<&str> =
            rows.iter().filter(is).flat_map(|one| one.row.signs.keys().map(|sign| sign.word())).collect();
        let bad = rows.iter().filter(is).any(|one| !one.as_stated);
        let mark = if bad { " MISMATCH" } else { "" };
        format!("{}{mark}", signs.into_iter().collect::<Vec<_>>().join(" / "))
    };
    let threads = rows.iter().all(|one| one.row.cell.parties == Parties::Thread);
    let kill = |moment: Moment| match of(Harm::Kill, Some(moment)) {
        _ if threads => "not alone".to_string(),
        seen => seen.join(", "),
    };
    let sum = |count: fn(&Judged) -> u64| rows.iter().map(|one| count(one)).sum::<u64>();
    let [sent, lost] = [sum(|one| one.row.sent), sum(|one| one.row.lost)];
    let delivered = match (victim, lost) {
        (Role::Consumer, _) => String::new(),
        (_, 0) => "came".into(),
        (_, lost) => format!("{lost} of {sent} lost"),
    };
    let behind: BTreeSet<&String> = rows.iter().flat_map(|one| one.row.left.keys()).collect();
    let behind: Vec<&str> = behind.into_iter().map(String::as_str).collect();
    let [n, fresh] = [sum(|one| one.row.n as u64), sum(|one| one.row.fresh as u64)];
    let fresh = if n == fresh { "yes".into() } else { format!("{fresh} of {n}") };
    let mut cells = vec![name.to_string(), if victim == Role::Producer { "producer" } else { "consumer" }.into()];
    cells.extend(Moment::ALL.map(kill));
    cells.extend([any(Harm::Crash), any(Harm::Stop), any(Harm::Leave), delivered, behind.join(", "), fresh]);
    cells
}

/// What is said below the matrix.
pub fn remarks(judged: &[Judged]) -> Vec<String> {
    let mut lines = Vec::new();
    for one in judged.iter().filter(|one| !one.as_stated) {
        lines.push(format!("MISMATCH {}: {}", title(one), one.mismatches.join("; ")));
    }
    for name in judged.iter().map(|one| &one.row.cell.mechanism).collect::<BTreeSet<_>>() {
        let reason = |one: &&Judged| one.row.cell.mechanism == *name && one.row.status == Status::Unsupported;
        if let Some(one) = judged.iter().find(reason) {
            lines.push(format!("not here: {name}: {}", one.row.reason.as_deref().unwrap_or("no reason given")));
        }
    }
    let count = |harm: Harm| {
        let rows = || judged.iter().filter(|one| one.row.cell.harm == harm && one.row.status == Status::Ok);
        let (least, most) = (rows().map(|one| one.row.n).min()?, rows().map(|one| one.row.n).max()?);
        let n = if least == most { least.to_string() } else { format!("{least} to {most}") };
        Some(format!("{} {n}", harm.word()))
    };
    let counts: Vec<String> =
        [Harm::Kill, Harm::Crash, Harm::Stop, Harm::Leave].into_iter().filter_map(count).collect();
    lines.push(format!("injections of each cell: {}", counts.join(", ")));
    let wrong: u64 = judged.iter().map(|one| one.row.wrong).sum();
    let right: u64 = judged.iter().map(|one| one.row.right).sum();
    lines.push(format!("of {right} messages that were received {wrong} were torn, doubled or out of order"));
    let disturbed = judged.iter().filter(|one| one.row.others.is_some_and(|cpus| cpus >= DISTURBING)).count();
    if disturbed > 0 {
        lines.push(format!(
            "others used the CPUs during {disturbed} of {} cells: their times were not judged",
            judged.len()
        ));
    }
    lines
}

/// A cell in words, such as `pipe, producer killed in mid-message`.
pub fn title(judged: &Judged) -> String {
    let cell = &judged.row.cell;
    let victim = if cell.victim == Role::Producer { "producer" } else { "consumer" };
    format!("{}, {victim} {} {}", cell.mechanism, cell.harm.word(), cell.moment.words())
}

//! The answer in three sentences: who is fastest, what a process costs beside a thread, what can mislead.
//!
//! Key decision: only what the tables say: a leader with those that tie with it, ratios with their intervals, differences
//! that are beyond the noise. Ties are named; where nothing can be told apart the sentence says that and names no winner.

use super::blocks::{Block, Item, Section};
use super::{Material, bracket, carried, lacks, percent};
use crate::claim::Verdict;
use crate::measure::stats::Estimate;
use crate::plan::{Parties, Placement, Touch, Wait, Workload, show_size};
use crate::report::Report;
use crate::report::flags::counts;
use crate::report::rows::Row;
use crate::report::summary::{Group, apart, ratio};
use crate::report::text::{counted, digits, nanos};

/// What this machine says, in three sentences for each kind of data.
pub fn section(kin: &[&Material]) -> Section {
    let mut items = vec![];
    if let Some(report) = kin[0].report {
        let said = [
            ("Fastest.", fastest(report)),
            ("Process or thread.", process_or_thread(report)),
            ("What can mislead.", misleading(report)),
        ];
        items.extend(said.map(|(lead, text)| Item { lead, text }));
    }
    items.extend(kin.iter().find_map(|one| one.claims.as_ref()).map(|claims| {
        let named = |is: fn(&Verdict) -> bool| {
            let of = claims.judged.iter().filter(|one| is(&one.finding.verdict)).map(|one| one.claim);
            of.collect::<Vec<_>>()
        };
        let part = |names: Vec<&str>, word: &str| {
            (!names.is_empty()).then(|| format!("{word} {} ({})", names.len(), names.join(", ")))
        };
        let parts = [
            part(named(|v| *v == Verdict::Holds), "holding"),
            part(named(|v| matches!(v, Verdict::HoldsOnlyIf(_))), "holding under a condition"),
            part(named(|v| *v == Verdict::NotFoundHere), "not found here"),
            part(named(|v| *v == Verdict::Contradicted), "contradicted"),
            part(named(|v| matches!(v, Verdict::NotTested(_))), "not tested"),
        ];
        let all: Vec<String> = parts.into_iter().flatten().collect();
        let text = format!(
            "Of {} that textbooks have on processes and threads: {}.",
            counted(claims.judged.len(), "sentence"),
            all.join("; ")
        );
        Item { lead: "Claims.", text }
    }));
    items.extend(kin.iter().find_map(|one| one.faults.as_ref()).map(|faults| {
        let stated = faults.iter().filter(|one| one.as_stated).count();
        let text = format!(
            "When a peer died, {stated} of {} behaved as their mechanism states.",
            counted(faults.len(), "cell")
        );
        Item { lead: "Faults.", text }
    }));
    let blocks = vec![Block::List { items, numbered: true }];
    Section { id: "answer", title: "The answer, for this machine", blocks, ..Section::default() }
}

/// The classes that answer the plainest question to a workload: its smallest messages, and nothing special.
fn plainest(report: &Report, workload: Workload) -> Vec<&Group> {
    let plain = |group: &&Group| {
        let class = &group.class;
        class.workload == workload
            && class.several == Default::default()
            && class.touch == Touch::Whole
            && !class.nagle
            && class.pages.are_usual()
            && matches!(class.wait, Wait::Block | Wait::Spin)
    };
    let all: Vec<&Group> = report.all.groups.iter().filter(plain).collect();
    let smallest = all.iter().map(|group| group.class.size).min();
    all.into_iter().filter(|group| Some(group.class.size) == smallest).collect()
}

/// How the parties of a class wait and where they run, in words.
pub fn manner(group: &Group) -> String {
    let wait = if group.class.wait == Wait::Block { "blocking" } else { "spinning" };
    let place = match group.class.placement {
        Placement::SameCpu => "on one CPU".into(),
        Placement::CrossCpu => "across two CPUs".into(),
        Placement::Unpinned => "unpinned".into(),
        Placement::Cpus(a, b) => format!("on CPUs {a} and {b}"),
    };
    format!("{wait} {place}")
}

/// Most names in one clause.
const MOST_NAMES: usize = 4;

/// The first few of these, and how many more there are.
pub fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(MOST_NAMES).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MOST_NAMES { format!("{shown} and {} more", names.len() - MOST_NAMES) } else { shown }
}

/// The fastest of a class between processes, those that tie with it, and the first that does not.
fn clause(group: &Group) -> Option<String> {
    let mut rows: Vec<(&Row, Estimate)> = group.rows.iter().filter_map(|row| Some((row, row.time?))).collect();
    rows.retain(|(row, _)| row.parties == Parties::Process && !row.is_control());
    rows.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    let ((leader, time), others) = rows.split_first()?;
    let behind = |row: &Row| ratio(row, leader).filter(|ratio| apart(Some(*ratio), group.noise) && ratio.median > 1.0);
    let took = format!("{} {}", nanos(time.median), bracket(time.interval, nanos));
    let tied: Vec<&str> =
        others.iter().filter(|(row, _)| behind(row).is_none()).map(|(row, _)| row.mechanism.as_str()).collect();
    let manner = manner(group);
    if others.is_empty() {
        return Some(format!("{manner}, {} takes {took}, beside which nothing ran", leader.mechanism));
    }
    if tied.len() == others.len() {
        let all = others.len() + 1;
        if !group.noise.is_finite() {
            let most = leader.mechanism.as_str();
            return Some(format!("{manner}, none of {all} can be told apart (the fastest median is {took} of {most})"));
        }
        return Some(format!("{manner}, all {all} tie (the fastest median is {} of {})", took, leader.mechanism));
    }
    let win = match tied.is_empty() {
        true => format!("{} wins with {took}", leader.mechanism),
        false => format!("{} leads with {took} and ties with {}", leader.mechanism, listed(&tied)),
    };
    let next = others.iter().find_map(|(row, _)| Some((row, behind(row)?)));
    let next = next.map_or(String::new(), |(row, ratio)| {
        let times = bracket(ratio.interval, digits);
        format!(", and the next, {}, takes {} times {times} as long", row.mechanism, digits(ratio.median))
    });
    Some(format!("{manner}, {win}{next}"))
}

fn fastest(report: &Report) -> String {
    let said = |workload, what: fn(String) -> String| {
        let groups = plainest(report, workload);
        let clauses: Vec<String> = groups.iter().filter_map(|group| clause(group)).collect();
        let size = show_size(groups.first()?.class.size);
        (!clauses.is_empty()).then(|| format!("{} between processes: {}.", what(size), clauses.join("; ")))
    };
    said(Workload::PingPong, |size| format!("Round trip of {size}"))
        .or_else(|| said(Workload::Stream, |size| format!("Time per message of a stream of {size}")))
        .or_else(|| carried::sentence(&plainest(report, Workload::OfferedLoad)))
        .unwrap_or_else(|| {
            "No plain round trip, stream or offered load between processes was measured while both blocked or both spun; the \
             ranks below have what was."
                .into()
        })
}

/// The twins of a class: process, thread, and the paired ratio of their times.
pub fn twins(group: &Group) -> impl Iterator<Item = (&Row, Estimate)> {
    let process = group.rows.iter().filter(|row| row.parties == Parties::Process);
    process.filter_map(|row| {
        let same = |other: &&Row| other.mechanism == row.mechanism && other.parties == Parties::Thread;
        Some((row, ratio(row, group.rows.iter().find(same)?)?))
    })
}

fn process_or_thread(report: &Report) -> String {
    let comparable = report.all.groups.iter().filter(|group| group.class.is_timed());
    let all: Vec<(&Group, &Row, Estimate)> =
        comparable.flat_map(|group| twins(group).map(move |(row, ratio)| (group, row, ratio))).collect();
    let (known, untold): (Vec<_>, Vec<_>) =
        all.iter().copied().partition(|(group, _, ratio)| ratio.interval.is_some() && group.noise.is_finite());
    let (different, same): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|(group, _, ratio)| apart(Some(*ratio), group.noise));
    let (dearer, cheaper): (Vec<_>, Vec<_>) = different.into_iter().partition(|(_, _, ratio)| ratio.median > 1.0);
    if all.is_empty() {
        return match report.all.groups.iter().any(|group| group.class.is_timed()) {
            true => "No mechanism ran both between processes and between threads, so nothing can be said.".into(),
            false => lacks::without(report, "round trips or streams whose times could be compared"),
        };
    }
    let extreme = |list: &[(&Group, &Row, Estimate)], word: &str| {
        let far = |ratio: &Estimate| ratio.median.max(1.0 / ratio.median);
        let most = list.iter().max_by(|a, b| far(&a.2).total_cmp(&far(&b.2)));
        most.map(|(group, row, ratio)| {
            let times = format!("{} times {}", digits(ratio.median), bracket(ratio.interval, digits));
            format!("{word} in {} (most: {}, {}, {times})", list.len(), row.mechanism, group.class)
        })
    };
    let medians = || same.iter().map(|(_, _, ratio)| ratio.median);
    let (low, high) = medians().fold((f64::INFINITY, 0.0_f64), |(low, high), r| (low.min(r), high.max(r)));
    let none = (!same.is_empty())
        .then(|| format!("no difference in {} (medians {} to {} times)", same.len(), digits(low), digits(high)));
    let untold =
        (!untold.is_empty()).then(|| format!("not to be told in {}, for too few rounds or noise", untold.len()));
    let parts: Vec<String> =
        [extreme(&dearer, "slower"), extreme(&cheaper, "faster"), none, untold].into_iter().flatten().collect();
    format!(
        "The same mechanism between processes instead of threads, in {}: {}.",
        counted(all.len(), "comparison"),
        parts.join("; ")
    )
}

fn misleading(report: &Report) -> String {
    let mut parts = vec![];
    let summary = &report.all;
    let flagged: usize = summary.all_rows().map(Row::flagged).sum();
    if flagged > 0 {
        let counts = counts(summary.all_rows());
        let most = counts
            .iter()
            .max_by_key(|(_, count)| **count)
            .map_or(String::new(), |(flag, count)| format!(", {count} of them {flag}"));
        let all = counted(report.launches, "launch");
        parts.push(format!("{flagged} of {all} carry a reason for doubt{most}"));
    }
    let bad: usize = summary.all_rows().map(|row| row.bad.len()).sum();
    if bad > 0 {
        parts.push(format!("without a result: {}", counted(bad, "launch")));
    }
    let noisiest = summary.groups.iter().filter(|group| group.null.is_some() && group.noise.is_finite());
    if let Some(group) = noisiest.max_by(|a, b| a.noise.total_cmp(&b.noise)) {
        let noise = percent(group.noise);
        parts.push(format!("one cell against itself leaves ratios within {noise} undecided ({})", group.class));
    }
    let unknown = summary.groups.iter().filter(|group| !group.noise.is_finite()).count();
    if unknown > 0 {
        parts.push(format!("in {} the noise is unknown and nothing is told apart", counted(unknown, "class")));
    }
    let moving = summary.drift.moving.len();
    if moving > 0 {
        parts.push(format!("{moving} of {} drift with time", counted(summary.drift.tested, "row")));
    }
    let hypervisor = &report.saved.host.hypervisor;
    if !matches!(hypervisor.as_str(), "" | "none") {
        parts.push(format!(
            "the machine is virtual ({hypervisor}), so waking an idle CPU costs what the hypervisor makes of it"
        ));
    }
    if parts.is_empty() {
        parts.push("no launch is flagged, no row drifts, and the noise is below what the tables tell apart".into());
    }
    let text = parts.join("; ");
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

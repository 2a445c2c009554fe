//! A comparison of two folders for people, and as CSV.

use super::{ClassDiff, Compared, Diff, Floor, Tally, Verdict};
use crate::error::{Context, Phase, Result};
use crate::measure::stats::Estimate;
use crate::plan::Parties;
use crate::report::columns::headline;
use crate::report::fit::{Head, Width, fits, markdown, table, wrapped};
use crate::report::rows::Class;
use crate::report::table::Style;
use crate::report::text::{digits, nanos};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The whole comparison. `names` are what the folders are called.
pub fn page(diff: &Diff, names: [&str; 2], style: Style, width: Width) -> String {
    let mut text = String::new();
    if style == Style::Markdown {
        text.push_str("# Two results folders\n\n");
    }
    for (name, dir) in ["A", "B"].into_iter().zip(names) {
        item(&mut text, name, dir, style, width);
    }
    let how = if diff.paired {
        "paired by round: the rounds of both ran in turn on one machine"
    } else {
        "independent samples: the folders were measured at different times, so nothing is paired"
    };
    item(&mut text, "runs", how, style, width);
    text.push('\n');
    around(&mut text, diff, style, width);
    for class in &diff.classes {
        rows(&mut text, class, style, width);
    }
    foot(&mut text, diff, style, width);
    text
}

/// One line with a label in front.
fn item(text: &mut String, label: &str, what: &str, style: Style, width: Width) {
    text.push_str(&match style {
        Style::Terminal => wrapped(&format!("{label:<9}"), what, width),
        Style::Markdown if label.is_empty() => format!("  - {what}\n"),
        Style::Markdown => format!("- {label}: {what}\n"),
    });
}

fn around(text: &mut String, diff: &Diff, style: Style, width: Width) {
    let around = &diff.surroundings;
    let head = if style == Style::Markdown { "## What differs around the numbers\n\n" } else { "" };
    text.push_str(head);
    if around.differ.is_empty() {
        let _ = writeln!(text, "nothing differs around the numbers: {} facts are the same\n", around.same);
        return;
    }
    let heads = [Head::words("what differs around the numbers", 0), Head::words("A", 0), Head::words("B", 0)];
    match style {
        Style::Markdown => {
            let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
            let cells: Vec<_> =
                around.differ.iter().map(|d| vec![d.what.clone(), or_none(&d.a), or_none(&d.b)]).collect();
            text.push_str(&markdown(&heads, &cells));
        }
        // Some facts are longer than any column: each stands on lines of its own.
        Style::Terminal => {
            text.push_str("what differs around the numbers\n");
            for fact in &around.differ {
                let _ = writeln!(text, "  {}", fact.what);
                for (name, value) in [("A", &fact.a), ("B", &fact.b)] {
                    // A folder from elsewhere may hold what a terminal would obey.
                    let value = value.as_deref().unwrap_or("none").replace(char::is_control, "?");
                    text.push_str(&wrapped(&format!("    {name}  "), &value, width));
                }
            }
        }
    }
    let _ = writeln!(text, "{} facts are the same\n", around.same);
}

fn rows(text: &mut String, class: &ClassDiff, style: Style, width: Width) {
    let in_floors = class.rows.iter().any(|row| row.floor_ratio.is_some());
    let is_twin = |row: &Compared| class.rows.iter().filter(|other| other.mechanism == row.mechanism).count() > 1;
    let mut heads = vec![
        Head::words("mechanism", 0),
        // What tells two rows of one mechanism apart stays.
        Head::words("between", if class.rows.iter().any(is_twin) { 0 } else { 4 }),
        Head::number("A", 1),
        Head::number("B", 1),
        Head::number("time B / A", 0),
        Head::number("95 % interval", 2),
        Head::number("n", 5),
    ];
    if in_floors {
        heads.push(Head::number("in floors", 3));
    }
    heads.push(Head::words("verdict", 0));
    let all = |reasons| class.rows.iter().map(|row| cells(row, &class.class, in_floors, reasons)).collect::<Vec<_>>();
    // Where reasons would push figures out of the table, they stand below it.
    let reasons = style == Style::Markdown || fits(&heads, &all(true), width);
    let cells = all(reasons);
    match style {
        Style::Terminal => {
            text.push_str(&wrapped("", &class.class.to_string(), width));
            text.push_str(&table(&heads, &cells, width));
        }
        Style::Markdown => _ = writeln!(text, "## {}\n\n{}", class.class, markdown(&heads, &cells)),
    }
    if !reasons {
        for (why, names) in unknown(&class.rows) {
            item(text, "unknown", &format!("{why}: {}", names.join(", ")), style, width);
        }
    }
    let noise = match class.noise {
        Some(noise) => {
            format!("ratios within {} % are no difference: the larger null pair of the two", digits(100.0 * noise))
        }
        None => "unknown, because in A or B nothing ran against itself often enough: nothing is told apart".into(),
    };
    item(text, "noise", &noise, style, width);
    if let Some(floor) = class.floor.filter(|floor| floor.moved) {
        item(text, "floor", &moved(&floor), style, width);
    }
    text.push('\n');
}

fn moved(floor: &Floor) -> String {
    format!(
        "the {} was {} in A and {} in B, {}: the machine was in another state, so a row counts only if it is also apart \
         in multiples of this floor (in floors)",
        floor.what,
        nanos(floor.ns[0]),
        nanos(floor.ns[1]),
        interval(&floor.ratio),
    )
}

/// The rows of which nothing can be said, by the reason.
fn unknown(rows: &[Compared]) -> BTreeMap<&str, Vec<String>> {
    let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for row in rows {
        if let Verdict::Unknown(why) = &row.verdict {
            let parties = if row.parties == Parties::Thread { " (threads)" } else { "" };
            reasons.entry(why).or_default().push(format!("{}{parties}", row.mechanism));
        }
    }
    reasons
}

fn cells(row: &Compared, class: &Class, in_floors: bool, reasons: bool) -> Vec<String> {
    let time = |time: Option<Estimate>| time.map_or(String::new(), |time| headline(class, time.median));
    let parties = if row.parties == Parties::Solo { "control".into() } else { row.parties.to_string() };
    let bounds = |ratio: Estimate| ratio.interval.map(|(low, high)| format!("{}-{}", digits(low), digits(high)));
    let mut cells = vec![
        row.mechanism.clone(),
        parties,
        time(row.ns[0]),
        time(row.ns[1]),
        row.ratio.map_or(String::new(), |ratio| digits(ratio.median)),
        row.ratio.and_then(bounds).unwrap_or_default(),
        format!("{}/{}", row.n[0], row.n[1]),
    ];
    if in_floors {
        cells.push(row.floor_ratio.map_or(String::new(), |ratio| digits(ratio.median)));
    }
    cells.push(words(row, reasons));
    cells
}

/// The verdict for people, with or without the reason of one that says nothing.
fn words(row: &Compared, reasons: bool) -> String {
    let words = match &row.verdict {
        Verdict::NoDifference => "no difference",
        Verdict::Slower if row.fails => "SLOWER, too much",
        Verdict::Slower => "slower",
        Verdict::Faster => "faster",
        Verdict::SlowerWithFloor => "slower, as its floor",
        Verdict::FasterWithFloor => "faster, as its floor",
        Verdict::Unknown(why) if reasons => return format!("unknown: {why}"),
        Verdict::Unknown(_) => "unknown",
    };
    words.into()
}

fn interval(ratio: &Estimate) -> String {
    match ratio.interval {
        Some((low, high)) => format!("{} x [{}, {}]", digits(ratio.median), digits(low), digits(high)),
        None => format!("{} x", digits(ratio.median)),
    }
}

fn foot(text: &mut String, diff: &Diff, style: Style, width: Width) {
    let mut line = |label: &str, what: &str| item(text, label, what, style, width);
    let Tally { compared, by_chance, slower, faster, with_floor, unknown } = diff.tally;
    line(
        "rows",
        &format!("{compared} compared: {slower} slower, {faster} faster, {with_floor} moved with their floor only"),
    );
    if unknown > 0 {
        line("", &format!("{unknown} more of which nothing can be said"));
    }
    if compared > 0 {
        line(
            "chance",
            &format!(
                "if nothing had changed, about {} of {compared} intervals would still miss 1, half of them upwards; the noise leaves fewer",
                digits(by_chance)
            ),
        );
    }
    if !diff.paired {
        line(
            "time",
            "what the machine does between two campaigns is in no interval and no noise: a second campaign of A shows it",
        );
    }
    let controls: Vec<_> = diff
        .classes
        .iter()
        .flat_map(|class| class.rows.iter().filter(|row| row.control).map(move |row| (class, row)))
        .filter(|(_, row)| !matches!(row.verdict, Verdict::NoDifference | Verdict::Unknown(_)))
        .map(|(class, row)| {
            format!("{}: {}", row.name(&class.class), row.ratio.as_ref().map_or(String::new(), interval))
        })
        .collect();
    if !controls.is_empty() {
        line("controls", "moved too, in which no message crosses: harness, compiler or the CPU itself differ");
        controls.iter().for_each(|control| line("", control));
    }
    for (rows, name) in diff.only.iter().zip(["only A", "only B"]) {
        let mut label = name;
        for row in rows {
            line(label, row);
            label = "";
        }
    }
    diff.remarks.iter().for_each(|remark| line("remark", remark));
    if let Some(limit) = diff.fail_above {
        let most = digits(100.0 * limit);
        let unjudged = diff.tally.unknown + diff.only[0].len();
        if diff.failed.is_empty() && diff.lost.is_empty() {
            let but = match unjudged {
                0 => String::new(),
                n => format!(", as far as can be said: {n} of A could not be judged"),
            };
            line("limit", &format!("no row is slower by more than {most} %{but}"));
        }
        let mut label = "limit";
        for row in &diff.failed {
            line(label, &format!("slower by more than {most} %: {row}"));
            label = "";
        }
        for row in &diff.lost {
            line(label, &format!("no result any more: {row}"));
            label = "";
        }
    }
}

/// One line a row, plain units.
///
/// # Errors
/// When memory is all that is written to and even that fails.
pub fn csv(diff: &Diff) -> Result<String> {
    let cannot = "cannot write CSV";
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = [
        "workload",
        "size",
        "offered",
        "outstanding",
        "batch",
        "peers",
        "wait",
        "placement",
        "touch",
        "pages",
        "mechanism",
        "parties",
        "n_a",
        "n_b",
        "ns_a",
        "ns_b",
        "ratio",
        "ratio_low",
        "ratio_high",
        "noise",
        "floor_a_ns",
        "floor_b_ns",
        "floor_ratio",
        "floor_ratio_low",
        "floor_ratio_high",
        "verdict",
        "fails",
    ];
    writer.write_record(head).context(Phase::Report, cannot)?;
    for (class, row) in diff.classes.iter().flat_map(|class| class.rows.iter().map(move |row| (class, row))) {
        writer.write_record(record(class, row)).context(Phase::Report, cannot)?;
    }
    let bytes = writer.into_inner().context(Phase::Report, cannot)?;
    String::from_utf8(bytes).context(Phase::Report, cannot)
}

fn record(diff: &ClassDiff, row: &Compared) -> Vec<String> {
    let class = &diff.class;
    let some = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.6}"));
    let count = |n: Option<u32>| n.map_or(String::new(), |n| n.to_string());
    let three = |ratio: Option<Estimate>| {
        let interval = ratio.and_then(|ratio| ratio.interval);
        [ratio.map(|ratio| ratio.median), interval.map(|i| i.0), interval.map(|i| i.1)].map(some)
    };
    let verdict = match &row.verdict {
        Verdict::Unknown(why) => format!("unknown: {why}"),
        known => serde_json::to_value(known).ok().and_then(|word| Some(word.as_str()?.to_string())).unwrap_or_default(),
    };
    let floor = diff.floor.map(|floor| floor.ns);
    let [ratio, in_floors] = [three(row.ratio), three(row.floor_ratio)];
    let pages = if class.pages.are_usual() { String::new() } else { class.pages.to_string() };
    [
        vec![
            class.workload.to_string(),
            class.size.to_string(),
            class.offered.map_or(String::new(), |offered| offered.to_string()),
            count(class.several.outstanding),
            count(class.several.batch),
            count(class.several.peers),
            class.wait.to_string(),
            class.placement.to_string(),
            class.touch.to_string(),
            pages,
            row.mechanism.clone(),
            row.parties.to_string(),
            row.n[0].to_string(),
            row.n[1].to_string(),
            some(row.ns[0].map(|time| time.median)),
            some(row.ns[1].map(|time| time.median)),
        ],
        ratio.to_vec(),
        vec![some(diff.noise), some(floor.map(|ns| ns[0])), some(floor.map(|ns| ns[1]))],
        in_floors.to_vec(),
        vec![verdict, row.fails.to_string()],
    ]
    .concat()
}

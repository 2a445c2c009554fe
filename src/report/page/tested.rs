//! Claims and faults: verdicts that were made elsewhere, and the pictures behind them.

use super::axis::{Axis, Unit};
use super::blocks::{Block, Cell, Figure, Head, Line, Panel, Section, Table};
use super::chart::{Chart, MOST_SERIES, Point, Series, Style};
use super::{Claims, Material, bracket};
use crate::claim::page::{Judged, shown};
use crate::claim::{CLAIMS, Verdict, context_switch};
use crate::faults::matrix;
use crate::report::picture::{self, Picture};
use crate::report::text::{counted, digits};

const SWITCH: &str = "Context switch against working set";
const FAULTS: &str = "When a peer dies";
const VERDICTS: &str = "Claims about processes and threads";

fn claims_of<'a>(kin: &[&'a Material]) -> Option<&'a Claims> {
    kin.iter().find_map(|one| one.claims.as_ref())
}

/// What a switch costs with data to walk.
pub fn context_switch(kin: &[&Material]) -> Section {
    let name = context_switch::CLAIM.name;
    let record = claims_of(kin).and_then(|claims| claims.records.get(name));
    let picture = record.zip(context_switch::CLAIM.picture).map(|(record, draw)| draw(record));
    let Some((picture, record)) = picture.filter(Picture::shows_something).zip(record) else {
        let what = "No experiment on context switches in the folders of this page.";
        return Section::absent(
            "switch",
            SWITCH,
            what,
            "ipcost claims context-switch --full; ipcost report DIR CLAIMS-DIR",
        );
    };
    let notes = vec![
        format!(
            "{}, {} flagged. Medians over launches with their 95 % intervals.",
            counted(record.lines().len(), "launch"),
            record.flagged()
        ),
        context_switch::CLAIM.misleads.to_string(),
    ];
    let figure =
        Figure { name: "switch".into(), notes, panels: vec![panel(&picture, name)], table: table(&picture, "switch") };
    Section { id: "switch", title: SWITCH, blocks: vec![Block::Figure(figure)], ..Section::default() }
}

fn axis(axis: &picture::Axis) -> Axis {
    let kind = if axis.logarithmic { "logarithmic" } else { "linear" };
    Axis { title: format!("{} ({kind})", axis.name), logarithmic: axis.logarithmic, unit: Unit::Number, at: vec![] }
}

/// The axis across, with labels where points are.
fn across(picture: &Picture) -> Axis {
    let axis = axis(&picture.x);
    let mut at: Vec<f64> = picture.series.iter().flat_map(|(_, points)| points).map(|(x, _)| *x).collect();
    at.sort_by(f64::total_cmp);
    at.dedup();
    Axis { at: at.into_iter().map(|value| (value, axis.label(value))).collect(), ..axis }
}

fn panel(picture: &Picture, name: &str) -> Panel {
    let series = picture.series.iter().take(MOST_SERIES).enumerate().map(|(number, (name, points))| {
        let point = |(x, of): &(f64, crate::measure::stats::Estimate)| Point {
            x: *x,
            y: of.median,
            across: None,
            up: of.interval,
            words: format!("{name}, {}: {} {}", digits(*x), digits(of.median), bracket(of.interval, digits)),
        };
        let n = points.iter().map(|(_, of)| of.n).min().unwrap_or(0);
        Series {
            name: name.clone(),
            note: format!("n {n}"),
            style: Style::numbered(number, false),
            joined: true,
            small: false,
            points: points.iter().map(point).collect(),
        }
    });
    let chart = Chart {
        title: picture.title.clone(),
        about: format!("{} against {}. The table below has the values.", picture.y.name, picture.x.name),
        x: across(picture),
        y: axis(&picture.y),
        series: series.collect(),
        references: vec![],
    };
    let note = match picture.series.len() {
        n if n > MOST_SERIES => format!("{MOST_SERIES} of {n} lines are drawn; the table has all of them."),
        _ => String::new(),
    };
    let (drawing, key) = (chart.draw(), chart.key());
    Panel { title: picture.title.clone(), name: format!("picture-{name}"), drawing, key, note }
}

fn table(picture: &Picture, name: &str) -> Table {
    let heads = [picture.x.name, picture.y.name, "low", "high", "n"].map(Head::number);
    let line = |(name, points): &(String, Vec<(f64, crate::measure::stats::Estimate)>)| {
        let row = |(x, of): &(f64, crate::measure::stats::Estimate)| {
            let (low, high) = of.interval.unzip();
            let mut cells = vec![Cell::head(name.clone()), Cell::number(digits(*x), *x)];
            cells.extend([Some(of.median), low, high].map(|value| Cell::maybe(value, digits)));
            cells.push(Cell::number(of.n.to_string(), of.n as f64));
            Line::from(cells)
        };
        points.iter().map(row).collect::<Vec<_>>()
    };
    Table {
        name: name.into(),
        caption: picture.title.clone(),
        heads: [Head::words("line")].into_iter().chain(heads).collect(),
        rows: picture.series.iter().flat_map(line).collect(),
        ..Table::default()
    }
}

/// How a verdict is drawn.
fn class_of(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "good",
        Verdict::HoldsOnlyIf(_) => "warn",
        Verdict::Contradicted => "bad",
        Verdict::NotFoundHere | Verdict::NotTested(_) => "soft",
    }
}

/// The verdicts, with the figures behind each.
pub fn claims(kin: &[&Material]) -> Section {
    let Some(claims) = claims_of(kin) else {
        let what = "No claims in the folders of this page.";
        return Section::absent("claims", VERDICTS, what, "ipcost claims; ipcost report DIR CLAIMS-DIR");
    };
    let line = |one: &Judged| {
        let verdict = Cell::text(one.finding.verdict.to_string()).class(class_of(&one.finding.verdict));
        Line::from(vec![
            Cell::head(one.claim),
            Cell::text(one.taught),
            verdict,
            Cell::text(one.finding.because.clone()),
            Cell::number(one.launches.to_string(), one.launches as f64),
            Cell::number(one.flagged.to_string(), one.flagged as f64),
        ])
    };
    let mut heads: Vec<Head> = ["claim", "taught", "verdict here", "because"].map(Head::words).into();
    heads.extend(["launches", "flagged"].map(Head::number));
    let rows = claims.judged.iter().map(line).collect();
    let table = Table { name: "claims".into(), caption: VERDICTS.into(), heads, rows, ..Table::default() };
    let mut blocks = vec![Block::Table(table)];
    blocks.extend(claims.judged.iter().map(|one| Block::Fold {
        title: format!("{}: hypothesis, figures, what misleads", one.claim),
        open: false,
        blocks: behind(one, claims),
    }));
    let lead = vec!["Hypothesis and threshold were written before the run; a verdict holds for this machine.".into()];
    Section { id: "claims", title: VERDICTS, lead, blocks, absent: None }
}

/// What is behind a verdict.
fn behind(one: &Judged, claims: &Claims) -> Vec<Block> {
    let mut items = vec![format!("Hypothesis: {}", one.hypothesis), format!("Misleads: {}", one.misleads)];
    items.extend(one.finding.remarks.iter().map(|remark| format!("Remark: {remark}")));
    let line = |figure: &crate::claim::Figure| {
        let (low, high) = figure.estimate.interval.unzip();
        let mut cells = vec![Cell::head(figure.what.clone())];
        let values = [Some(figure.estimate.median), low, high];
        cells.extend(values.map(|value| Cell::maybe(value, |value| shown(figure.unit, value))));
        cells.push(Cell::number(figure.estimate.n.to_string(), figure.estimate.n as f64));
        Line::from(cells)
    };
    let figures = Table {
        name: format!("claim-{}", one.claim),
        caption: format!("Figures behind {}", one.claim),
        heads: [Head::words("figure")].into_iter().chain(["median", "low", "high", "n"].map(Head::number)).collect(),
        rows: one.finding.figures.iter().map(line).collect(),
        ..Table::default()
    };
    let mut blocks = vec![Block::list(items)];
    let claim = CLAIMS.iter().find(|claim| claim.name == one.claim && claim.name != context_switch::CLAIM.name);
    let picture = claim.and_then(|claim| Some((claim.picture?)(claims.records.get(claim.name)?)));
    blocks.extend(picture.filter(Picture::shows_something).map(|picture| {
        let name = format!("points-{}", one.claim);
        let notes = vec![format!(
            "{}, {} flagged. Medians with their 95 % intervals.",
            counted(one.launches, "launch"),
            one.flagged
        )];
        let (panels, table) = (vec![panel(&picture, one.claim)], table(&picture, &name));
        Block::Figure(Figure { name, notes, panels, table })
    }));
    if !figures.rows.is_empty() {
        blocks.push(Block::Table(figures));
    }
    blocks
}

/// The fault matrix.
pub fn faults(kin: &[&Material]) -> Section {
    let Some(faults) = kin.iter().find_map(|one| one.faults.as_ref()) else {
        let what = "No record of faults in the folders of this page.";
        return Section::absent("faults", FAULTS, what, "ipcost faults; ipcost report DIR FAULTS-DIR");
    };
    let (heads, rows) = matrix::grid(faults);
    let cell = |(column, text): (usize, String)| {
        let class = if text.contains(matrix::MISMATCH) { "bad fit" } else { "fit" };
        Cell { head: column == 0, ..Cell::text(text).class(class) }
    };
    let rows = rows.into_iter().map(|row| Line::from(row.into_iter().enumerate().map(cell).collect::<Vec<_>>()));
    let table = Table {
        name: "faults".into(),
        caption: "What the survivor sees when the victim is killed at that moment, crashed, stopped or gone".into(),
        notes: vec![],
        heads: heads.into_iter().map(Head::words).collect(),
        rows: rows.collect(),
    };
    let lead = vec![
        "The sign that the survivor saw, and the median time until it came. Each is held against what the mechanism states; \
         what differs says MISMATCH."
            .into(),
    ];
    let blocks = vec![Block::Table(table), Block::list(matrix::remarks(faults))];
    Section { id: "faults", title: FAULTS, lead, blocks, absent: None }
}

//! `report.html` from folders whose right answer is known: nothing is measured here. What only a browser can see is checked
//! by `scripts/browser.sh`.

mod common;

use common::pages::{Runs, figure, offer, offered, section, sentences, tables};
use common::program::{run, stderr};
use ipcost::campaign::matrix::NULL_LABEL;
use ipcost::cell::Status;
use ipcost::host::Host;
use ipcost::plan::{Parties, Workload};
use ipcost::report::columns::COLUMNS;
use ipcost::report::page::blocks::Block;
use ipcost::report::page::{Material, page, render};
use ipcost::report::{Report, csv, regenerate};
use std::fs;
use std::path::{Path, PathBuf};

/// Six rounds in which `pipe` takes 1000 ns, `fifo` as long, `unix-stream` twice as long, and a pipe between threads half.
fn known() -> Runs {
    let mut runs = Runs::default();
    for round in 0..6 {
        let pace = f64::from(1 + round);
        runs.plain("pipe", round, 1000.0 * pace);
        runs.plain("fifo", round, 1000.0 * pace * if round % 2 == 0 { 1.003 } else { 0.997 });
        runs.plain("unix-stream", round, 2000.0 * pace).flags.push("steal".into());
        runs.add("pipe", Parties::Thread, round, 64, 500.0 * pace);
        runs.plain("pipe", round, 1000.0 * pace).run.label = Some(NULL_LABEL.into());
    }
    runs
}

const IDS: [&str; 15] = [
    "answer",
    "ranks",
    "latency-size",
    "throughput-size",
    "percentiles",
    "cpu",
    "load",
    "ratios",
    "twins",
    "switch",
    "faults",
    "claims",
    "runs",
    "environment",
    "reading",
];

#[test]
fn every_section_is_there_and_an_empty_one_names_a_command_and_shows_no_figure() {
    let empty = Runs::default().page();
    for page in [known().page(), empty] {
        assert_eq!(page.sections.iter().map(|section| section.id).collect::<Vec<_>>(), IDS);
        for section in &page.sections {
            let said = section.absent.as_ref().is_some_and(|absent| absent.command.contains("ipcost "));
            assert_eq!(said, section.blocks.is_empty(), "{}: both or neither", section.id);
            for block in &section.blocks {
                if let Block::Figure(figure) = block {
                    assert!(!figure.panels.is_empty(), "{} has no chart", section.id);
                    assert!(figure.panels.iter().all(|panel| !panel.drawing.marks.is_empty()), "{}: empty", section.id);
                }
            }
        }
        render(&page).unwrap();
    }
}

#[test]
fn the_numbers_of_the_page_are_those_of_the_csv_file() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("results");
    known().write(&folder, &Host::default());
    let report = Report::load(&folder).unwrap();
    let page = page(&Material::of(&report, &folder), &[]);
    let text = csv(&report).unwrap();
    let mut reader = csv_reader(&text);
    let heads: Vec<String> = reader.headers().unwrap().iter().map(Into::into).collect();
    let shown: Vec<_> = COLUMNS.iter().filter(|column| column.printed(Workload::PingPong)).collect();
    let lines: Vec<_> = tables(&section(&page, "ranks").blocks).into_iter().flat_map(|table| &table.rows).collect();
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!((lines.len(), records.len()), (4, 4));
    for (line, record) in lines.into_iter().zip(&records) {
        for (column, cell) in shown.iter().zip(&line.cells) {
            let due = &record[heads.iter().position(|head| head == column.key).unwrap()];
            assert_eq!(cell.plain.as_deref().unwrap_or(&cell.text), due, "{}", column.key);
        }
    }
    let html = render(&page).unwrap();
    for row in report.all.rows() {
        let median = ipcost::report::text::nanos(row.time.unwrap().median);
        assert!(html.contains(&format!(">{median}<")), "{median} is missing");
    }
}

fn csv_reader(text: &str) -> ::csv::Reader<&[u8]> {
    ::csv::Reader::from_reader(text.as_bytes())
}

#[test]
fn the_answer_names_who_ties_and_who_does_not_with_ratio_and_interval() {
    let page = known().page();
    let said = sentences(&page);
    assert_eq!(said.len(), 3);
    let fastest = "ties with pipe, and the next, unix-stream, takes 2.00 times [1.99, 2.01] as long";
    assert!(said[0].contains("fifo leads") && said[0].contains(fastest), "{}", said[0]);
    let twins =
        "in 1 comparison: slower in 1 (most: pipe, ping-pong 64 B, wait block, cross-cpu, 2.00 times [2.00, 2.00])";
    assert!(said[1].contains(twins), "{}", said[1]);
    assert!(said[2].contains("6 of 30 launches carry a reason for doubt, 6 of them steal"), "{}", said[2]);
}

#[test]
fn the_matrix_has_the_paired_ratios_and_greys_out_what_is_no_difference() {
    let page = known().page();
    let all = tables(&section(&page, "ratios").blocks);
    let find = |row: &str, column: &str| {
        let head = all[0].heads.iter().position(|head| head.title == column).unwrap();
        let line = all[0].rows.iter().find(|line| line.cells[0].text == row).unwrap();
        let cell = &line.cells[head];
        (cell.text.clone(), cell.sub.clone(), cell.class)
    };
    assert_eq!(find("unix-stream, processes", "pipe, processes"), ("2.00".into(), "2.00-2.00".into(), ""));
    assert_eq!(find("pipe, processes", "pipe, threads"), ("2.00".into(), "2.00-2.00".into(), ""));
    let tie = ["fifo, processes", "pipe, processes"];
    let [a, b] = [tie, [tie[1], tie[0]]].map(|[row, column]| {
        let known = all[0].rows.iter().any(|line| line.cells[0].text == row);
        known.then(|| find(row, column).2)
    });
    assert!(a == Some("tie") || b == Some("tie"), "{a:?} {b:?}");
    let twins = &tables(&section(&page, "twins").blocks)[0].rows;
    assert!(twins.len() == 1 && twins[0].cells[6].text == "processes slower");
}

#[test]
fn what_a_file_says_is_text_and_never_markup() {
    const EVIL: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&</title></svg></style>";
    let mut runs = known();
    for round in 6..12 {
        runs.plain(EVIL, round, 700.0).flags.push(EVIL.into());
        runs.plain("pipe", round, 1000.0);
    }
    let bad = runs.plain("file", 12, 1.0);
    (bad.status, bad.reason) = (Status::Failed, Some(EVIL.into()));
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("results");
    let fact = [(EVIL.to_string(), EVIL.to_string())].into();
    let host = Host { slug: EVIL.into(), cpu: EVIL.into(), facts: fact, ..Host::default() };
    runs.write(&folder, &host);
    let (_, written) = regenerate(&folder).unwrap();
    let html = fs::read_to_string(written.last().unwrap()).unwrap();
    assert_eq!(html.matches("<script").count(), 1, "the page's own");
    assert_eq!(html.matches("</style").count(), 1);
    assert_eq!(html.matches("</title>").count(), html.matches("<title").count());
    assert!(!html.contains("<img") && !html.contains("onerror=alert(2)>"));
    assert!(html.matches("&lt;script&gt;alert(1)").count() > 20, "it is shown, as text");
    // Between quotes too.
    assert!(!html.contains("&amp;</title>") && html.contains("&quot;&#x27;&amp;"));
}

#[test]
fn the_page_asks_for_nothing_and_the_same_files_give_the_same_bytes_wherever_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = |name: &str| {
        let folder = dir.path().join(name);
        known().write(&folder, &Host::default());
        let (_, written) = regenerate(&folder).unwrap();
        let first = fs::read_to_string(written.last().unwrap()).unwrap();
        regenerate(&folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join("report.html")).unwrap(), first);
        first
    };
    let html = bytes("one");
    assert_eq!(html, bytes("elsewhere"));
    assert!(html.starts_with("<!doctype html>\n<!-- ipcost "));
    for other in ["http://", "https://", "@import", "url(", "src=", "fetch(", "XMLHttpRequest"] {
        assert!(!html.contains(other), "{other}");
    }
}

#[test]
fn sizes_become_lines_of_at_most_eight_and_the_table_has_all() {
    let mut runs = Runs::default();
    let names = ["pipe", "fifo", "tcp", "udp", "file", "mpsc", "flume", "eventfd", "shm-ring", "shm-slot", "posix-mq"];
    for round in 0..6 {
        for (number, name) in names.iter().enumerate() {
            for size in [64, 4096, 65536] {
                runs.plain(name, round, (1000 + 100 * number + size) as f64).size = size;
            }
        }
    }
    let page = runs.page();
    let figure = figure(&page, "latency-size");
    let panel = &figure.panels[0];
    assert_eq!((panel.key.len(), figure.table.rows.len()), (8, 33));
    assert!(panel.note.contains("8 of 11 rows"), "{}", panel.note);
    assert!(panel.drawing.texts.iter().any(|text| text.text == "64 KiB"));
    assert!(section(&page, "throughput-size").absent.is_some());
}

/// Writes folders below one and returns their names.
fn folders<const N: usize>(dir: &Path, all: [(&str, Runs, &str); N]) -> [PathBuf; N] {
    all.map(|(name, runs, slug)| {
        let folder = dir.join(name);
        runs.write(&folder, &Host { slug: slug.into(), ..Host::default() });
        folder
    })
}

#[test]
fn rates_of_several_campaigns_of_one_machine_make_a_line_that_ends_where_a_rate_was_not_reached() {
    let dir = tempfile::tempdir().unwrap();
    let rates = [
        ("a", offered(10_000, 20_000, true), "x"),
        ("b", offered(50_000, 90_000, true), "x"),
        ("c", offered(90_000, 5_000_000, false), "x"),
        ("d", offered(70_000, 1_000, true), "y"),
    ];
    let paths = folders(dir.path(), rates);
    let reports: Vec<Report> = paths.iter().map(|path| Report::load(path).unwrap()).collect();
    let materials: Vec<Material> =
        reports.iter().zip(&paths).map(|(report, path)| Material::of(report, path)).collect();
    let alone = page(&materials[0], &[]);
    assert!(section(&alone, "load").absent.as_ref().unwrap().what.contains("One rate"));
    let together = page(&materials[0], &materials[1..].iter().collect::<Vec<_>>());
    let figure = figure(&together, "load");
    assert_eq!(figure.panels[0].drawing.marks.len(), 2, "two rates were reached; another machine's is no point");
    assert_eq!(figure.table.rows.len(), 3);
    assert_eq!(figure.table.rows[2].cells.last().unwrap().text, "NO");
}

#[test]
fn one_campaign_with_several_rates_has_the_whole_line() {
    let mut runs = Runs::default();
    offer(&mut runs, 50_000, 90_000, true);
    offer(&mut runs, 10_000, 20_000, true);
    offer(&mut runs, 90_000, 5_000_000, false);
    let page = runs.page();
    let figure = figure(&page, "load");
    let [panel] = &figure.panels[..] else { panic!("{} panels", figure.panels.len()) };
    assert!(panel.title.contains("poisson arrivals") && !panel.title.contains("k/s"), "{}", panel.title);
    assert_eq!(panel.drawing.marks.len(), 2, "the third rate was not reached");
    let x = |mark: usize| panel.drawing.marks[mark].x.parse::<f64>().unwrap();
    assert!(x(0) < x(1), "the line follows the rates, not the runs");
    let rates: Vec<_> = figure.table.rows.iter().map(|row| row.cells[2].text.as_str()).collect();
    assert_eq!(rates, ["10.0 k/s", "50.0 k/s", "90.0 k/s"]);
}

#[test]
fn a_long_campaign_is_thinned_and_says_so() {
    let mut runs = Runs::default();
    (0..2100).for_each(|round| drop(runs.plain("pipe", round, 1000.0 + f64::from(round % 7)).flags.pop()));
    let page = runs.page();
    let figure = figure(&page, "runs");
    assert_eq!(figure.table.rows.len(), 1050);
    assert!(figure.notes.iter().any(|note| note.contains("One in 2 of 2100")), "{:?}", figure.notes);
}

#[test]
fn several_campaigns_get_a_page_together_in_multiples_of_their_floors() {
    let dir = tempfile::tempdir().unwrap();
    let with_floor = |multiple: f64| {
        let mut runs = known();
        for run in &mut runs.0 {
            run.floor = Some(ipcost::cell::Floor {
                line_rtt_ns: vec![80.0],
                kind: None,
                handover_rtt_ns: vec![900.0],
                multiple: Some(multiple),
            });
        }
        runs
    };
    let paths = folders(dir.path(), [("a", with_floor(1.25), "one"), ("b", with_floor(4.5), "two")]);
    let [a, b] = paths.each_ref().map(|path| path.to_str().unwrap());
    let output = run(&["report", a, b]);
    assert!(output.status.success(), "{}", stderr(&output));
    let beside = dir.path().join("report.html");
    let html = fs::read_to_string(&beside).unwrap();
    for word in ["A: one", "B: two", ">1.25<", ">4.50<"] {
        assert!(html.contains(word), "{word}");
    }
    for path in &paths {
        assert!(path.join("report.html").exists());
    }
    // Its own page may be replaced, anything else may not.
    assert!(run(&["report", a, b]).status.success());
    fs::write(&beside, "somebody's notes").unwrap();
    let refused = run(&["report", a, b]);
    assert_eq!((refused.status.code(), fs::read_to_string(&beside).unwrap().as_str()), (Some(2), "somebody's notes"));
    let other = dir.path().join("hosts.html");
    assert!(run(&["report", a, b, "--out", other.to_str().unwrap()]).status.success());
    assert_eq!(fs::read_to_string(other).unwrap(), html);
    assert_eq!(run(&["report", a, "--out", "x.html"]).status.code(), Some(2));
}

/// The committed folders of results.
fn committed() -> Vec<PathBuf> {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let below = |dir: &Path| fs::read_dir(dir).map_or(vec![], |all| all.flatten().map(|entry| entry.path()).collect());
    let hosts: Vec<PathBuf> = below(&results);
    let mut found: Vec<PathBuf> =
        hosts.iter().flat_map(|host| below(host)).filter(|dir| dir.join("report.html").exists()).collect();
    found.sort();
    found
}

#[test]
fn a_record_of_faults_and_claims_fill_their_sections() {
    let dir = tempfile::tempdir().unwrap();
    let faults = dir.path().join("faults");
    fs::create_dir(&faults).unwrap();
    let record = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults/record.jsonl");
    fs::copy(record, faults.join("faults.jsonl")).unwrap();
    let material = Material::load(&faults).unwrap();
    let made = page(&material, &[]);
    assert!(tables(&section(&made, "faults").blocks)[0].rows.len() > 40);
    assert!(section(&made, "ranks").absent.is_some());
    let mut curves = 0;
    for folder in committed().into_iter().filter(|dir| dir.join("claims.jsonl").exists()) {
        let material = Material::load(&folder).unwrap();
        let made = page(&material, &[]);
        assert!(section(&made, "claims").absent.is_none(), "{}", folder.display());
        // The working-set curve belongs to one claim; a folder that holds others names the command that makes it.
        let tried = fs::read_to_string(folder.join("claims.jsonl")).unwrap().contains("\"claim\":\"context-switch\"");
        assert_eq!(section(&made, "switch").absent.is_none(), tried, "{}", folder.display());
        curves += usize::from(tried);
        assert_eq!(render(&made).unwrap(), render(&page(&material, &[])).unwrap());
    }
    assert!(curves > 0);
}

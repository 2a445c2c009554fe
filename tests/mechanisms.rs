//! `docs/MECHANISMS.md` is made from the list of mechanisms and the prose in `docs/mechanisms/`.
//!
//! The page is made here rather than by a command: nobody but whoever changes a mechanism needs to make it. Where it is out
//! of date the test says so; `scripts/mechanisms.sh` runs the same test and lets it write the page.

#[path = "common/kept.rs"]
mod kept;
#[path = "common/page.rs"]
mod page;

use ipcost::transport::{self, FRAMEWORKS, Family, Meeting, Spec, UNLIMITED};
use kept::{Machine, Row, VERDICTS};
use page::{docs, keep};
use std::collections::BTreeSet;
use std::path::Path;

const MAKE_IT: &str = "run scripts/mechanisms.sh and commit what it writes";

fn specs() -> impl Iterator<Item = &'static Spec> {
    let framework = |spec: &&Spec| FRAMEWORKS.iter().any(|(name, _)| *name == spec.name);
    transport::ALL.iter().map(|runner| runner.spec()).filter(move |spec| !framework(spec))
}

fn prose(name: &str) -> String {
    let path = docs().join("mechanisms").join(format!("{name}.md"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|_| panic!("{name} is listed: write docs/mechanisms/{name}.md, then {MAKE_IT}"));
    assert!(!text.trim().is_empty() && !text.starts_with('#'), "docs/mechanisms/{name}.md is prose without a heading");
    text
}

const HEAD: &str = "\
# Mechanisms

What each mechanism is, what the kernel or the crate does for one message, what limits it, and when to use it. The tables
are those of the code (`ipcost list` prints the same facts, and what of it works on this machine); the prose is in
`docs/mechanisms/`, and what bounds a mechanism and what was tried for it in `docs/limits/`. `scripts/mechanisms.sh` makes this
page; a test fails where it is out of date.
";

const FRAMEWORKS_HEAD: &str = "
## Frameworks

These are behind cargo features, because they are heavy to compile: `cargo build --release --features frameworks` has all
of them. `ipcost list` of such a build prints the facts.
";

/// What machines whose tables are kept say of a mechanism, and what was tried for it.
struct Kept {
    /// Beside targets, and beside plain programs.
    machines: [Vec<Machine>; 2],
    tried: Vec<Row>,
}

impl Kept {
    fn read() -> Self {
        let tried = std::fs::read_to_string(docs().join("limits/TRIED.md")).unwrap();
        Self { machines: [false, true].map(kept::machines), tried: kept::rows(&tried) }
    }

    fn of(&self, name: &str) -> String {
        [self.sums(name), self.verdicts(name), self.tried(name)].concat()
    }

    /// What a round trip is made of.
    fn sums(&self, name: &str) -> String {
        const WHAT: &str = "round trip, block, same-cpu";
        const COLUMNS: [&str; 6] = ["ns", "hand-over", "payload", "copies", "calls", "residue"];
        let mut lines = String::new();
        for machine in &self.machines[0] {
            for row in &machine.rows {
                let size = row.get(WHAT).and_then(|what| what.strip_prefix(name)?.strip_prefix(' '));
                if let Some(size) = size {
                    let parts = COLUMNS.map(|column| row.get(column).unwrap_or_default()).join(" | ");
                    lines += &format!("| {}, {size} | {parts} |\n", machine.name);
                }
            }
        }
        if lines.is_empty() {
            return lines;
        }
        format!(
            "\nWhat a round trip of parties that sleep on one CPU is made of, in ns ([how to read it](LIMITS.md#how-to-read-the-tables)):\n\n\
             | machine, message | all | {} |\n|---|{}\n{lines}",
            COLUMNS[1..].join(" | "),
            "---:|".repeat(COLUMNS.len())
        )
    }

    /// How many of its rows met the target beside the plainest programs.
    fn verdicts(&self, name: &str) -> String {
        let own = |row: &str| row.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
        let counts = self.machines[1].iter().map(|machine| {
            let [met, open, missed] = VERDICTS.map(|verdict| machine.count(verdict, own));
            (met + open + missed, format!("{met} of {} on {}", met + open + missed, machine.name))
        });
        let counts: Vec<_> = counts.filter(|(all, _)| *all > 0).map(|(_, text)| text).collect();
        if counts.is_empty() {
            return String::new();
        }
        format!(
            "\nWithin 5 % of the plainest program that makes the same calls ([the rows](limits/README.md)): {}.\n",
            counts.join("; ")
        )
    }

    fn tried(&self, name: &str) -> String {
        let own = |row: &&Row| {
            let names = row.get("mechanisms").unwrap_or_default();
            names.split(", ").any(|one| one.trim_matches('`') == name)
        };
        let lines: String = self
            .tried
            .iter()
            .filter(own)
            .map(|row| {
                let kept = row.get("kept").unwrap_or_default();
                format!("- {}: {kept}\n", row.first())
            })
            .collect();
        if lines.is_empty() {
            return lines;
        }
        format!(
            "\nWhat was tried to make it faster, and whether it was kept ([what it gave](limits/TRIED.md)):\n\n{lines}"
        )
    }
}

fn whole() -> String {
    let kept = Kept::read();
    let mut page = format!("{HEAD}\n| mechanism | what it is | copies |\n|---|---|---|\n");
    for spec in specs() {
        page += &format!("| [`{0}`](#{0}) | {1} | {2} |\n", spec.name, spec.summary, spec.copies);
    }
    for spec in specs() {
        page += &section(spec);
        page += &kept.of(spec.name);
    }
    page += FRAMEWORKS_HEAD;
    for (name, feature) in FRAMEWORKS {
        page += &format!("\n### {name}\n\nCargo feature `{feature}`.\n\n{}", prose(name));
        page += &kept.of(name);
    }
    page
}

fn section(spec: &Spec) -> String {
    let words = |words: Vec<&str>| words.join(", ");
    let facts = [
        ("family", family(spec.family).into()),
        ("parties", words(spec.parties.iter().map(|parties| parties.word()).collect())),
        ("waits", words(spec.waits.iter().map(|wait| wait.word()).collect())),
        ("patterns", patterns(spec)),
        ("copies of a byte", spec.copies.to_string()),
        ("largest message", largest(spec.max_size)),
        ("when the peer dies", spec.peer_death.text.into()),
        ("two terminals", meeting(spec)),
        ("alone", format!("`ipc-{} ping-pong`", spec.name)),
        ("sources", if spec.sources.is_empty() { "none".into() } else { spec.sources.join(", ") }),
    ];
    let rows: String = facts.map(|(what, fact)| format!("| {what} | {} |\n", fact.replace('|', "\\|"))).concat();
    format!("\n## {}\n\n| | |\n|---|---|\n{rows}\n{}", spec.name, prose(spec.name))
}

fn patterns(spec: &Spec) -> String {
    let words: Vec<_> = spec.patterns.iter().map(|pattern| pattern.word()).collect();
    if words.is_empty() { "none".into() } else { words.join(", ") }
}

fn family(family: Family) -> &'static str {
    match family {
        Family::Kernel => "the kernel carries the bytes",
        Family::SharedMemory => "both map the same pages",
        Family::Heap => "threads share a heap",
        Family::Control => "a control: nobody carries the bytes",
    }
}

fn largest(size: usize) -> String {
    if size == UNLIMITED { "1 GiB, no limit of its own".into() } else { format!("{size} bytes") }
}

fn meeting(spec: &Spec) -> String {
    let at = |what: &str| format!("`ipc-{0} consumer --at {what}` and `ipc-{0} producer --at {what}`", spec.name);
    match (spec.meeting, spec.meeting.place()) {
        (_, Some(place)) => at(place),
        (Meeting::Stdio, None) => format!("`ipc-{0} producer | ipc-{0} consumer`", spec.name),
        (_, None) => "no".into(),
    }
}

/// What a program of this build says of itself.
fn said(program: &str, arguments: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_ipcost")).parent().unwrap();
    let output = std::process::Command::new(folder.join(program)).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_help_of_each_program_names_what_its_at_means() {
    let meant = |name| match name {
        "tcp" | "udp" => Some("ADDRESS:PORT"),
        "sysv-mq" | "sysv-shm" => Some("KEY"),
        "fifo" | "unix-stream" => Some("PATH"),
        "posix-mq" | "shm-ring" => Some("NAME"),
        "pipe" | "mpsc" => None,
        _ => Some("any"),
    };
    let list = said("ipcost", &["list"]);
    let ats: BTreeSet<&str> = ["PATH", "NAME", "ADDRESS:PORT", "KEY"].into();
    for spec in specs() {
        let program = format!("ipc-{}", spec.name);
        let (whole, roles) =
            (said(&program, &["--help"]), ["producer", "consumer"].map(|role| said(&program, &[role, "--help"])));
        let place = spec.meeting.place();
        assert!(meant(spec.name) == Some("any") || meant(spec.name) == place, "{}: {place:?}", spec.name);
        for at in &ats {
            let option = format!("--at {at}");
            assert_eq!(whole.contains(&option), place == Some(*at), "{program} --help: {option}");
            for role in &roles {
                assert_eq!(role.contains(&format!("--at <{at}>")), place == Some(*at), "{program}: {option}");
            }
        }
        let line = list.lines().skip_while(|line| !line.starts_with(&format!("{} ", spec.name))).nth(1).unwrap();
        assert!(place.is_none_or(|at| line.ends_with(&format!("--at {at}"))), "{line}");
    }
}

#[test]
fn the_page_of_mechanisms_is_what_the_code_and_the_prose_say() {
    keep("MECHANISMS.md", &whole(), "scripts/mechanisms.sh");
}

/// The names of all mechanisms, frameworks too.
fn listed() -> BTreeSet<&'static str> {
    specs().map(|spec| spec.name).chain(FRAMEWORKS.iter().map(|(name, _)| *name)).collect()
}

#[test]
fn no_prose_is_left_of_a_mechanism_that_is_gone() {
    let listed = listed();
    for entry in std::fs::read_dir(docs().join("mechanisms")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = name.strip_suffix(".md").is_some_and(|name| listed.contains(name));
        assert!(known, "docs/mechanisms/{name} describes nothing that is listed: remove it");
    }
}

#[test]
fn what_was_tried_was_tried_for_mechanisms_that_are_listed() {
    let (tried, listed) = (Kept::read().tried, listed());
    assert!(tried.len() > 50);
    for row in &tried {
        let names = row.get("mechanisms").unwrap_or_else(|| panic!("{row:?} has no mechanisms"));
        for name in names.split(", ").filter(|name| !name.is_empty()) {
            assert!(listed.contains(name.trim_matches('`')), "{name} of `{}` is not listed", row.first());
        }
    }
}

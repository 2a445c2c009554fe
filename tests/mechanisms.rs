//! `docs/MECHANISMS.md` is made from the list of mechanisms and the prose in `docs/mechanisms/`.
//!
//! The page is made here rather than by a command: nobody but whoever changes a mechanism needs to make it. Where it is out
//! of date the test says so; `scripts/mechanisms.sh` runs the same test and lets it write the page.

#[path = "common/page.rs"]
mod page;

use ipcost::transport::{self, FRAMEWORKS, Family, Meeting, Spec, UNLIMITED};
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
`docs/mechanisms/`. `scripts/mechanisms.sh` makes this page; a test fails where it is out of date.
";

const FRAMEWORKS_HEAD: &str = "
## Frameworks

These are behind cargo features, because they are heavy to compile: `cargo build --release --features frameworks` has all
of them. `ipcost list` of such a build prints the facts.
";

fn whole() -> String {
    let mut page = format!("{HEAD}\n| mechanism | what it is | copies |\n|---|---|---|\n");
    for spec in specs() {
        page += &format!("| [`{0}`](#{0}) | {1} | {2} |\n", spec.name, spec.summary, spec.copies);
    }
    for spec in specs() {
        page += &section(spec);
    }
    page += FRAMEWORKS_HEAD;
    for (name, feature) in FRAMEWORKS {
        page += &format!("\n### {name}\n\nCargo feature `{feature}`.\n\n{}", prose(name));
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

#[test]
fn no_prose_is_left_of_a_mechanism_that_is_gone() {
    let frameworks = FRAMEWORKS.iter().map(|(name, _)| *name);
    let listed: BTreeSet<String> = specs().map(|spec| spec.name).chain(frameworks).map(|n| format!("{n}.md")).collect();
    for entry in std::fs::read_dir(docs().join("mechanisms")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(listed.contains(&name), "docs/mechanisms/{name} describes nothing that is listed: remove it");
    }
}

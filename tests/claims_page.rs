//! `docs/CLAIMS.md` is made from the list of claims and the prose in `docs/claims/`.
//!
//! The page is made here rather than by a command: nobody but whoever changes a claim needs to make it. Where it is out
//! of date the test says so; `scripts/claims.sh` runs the same test and lets it write the page.

#[path = "common/page.rs"]
mod page;

use ipcost::claim::{CLAIMS, Claim};
use page::{docs, keep};

const MAKE_IT: &str = "run scripts/claims.sh and commit what it writes";

const HEAD: &str = "\
# Claims

What textbooks say of processes and threads, and how `ipcost claims` tests it. Each hypothesis with its threshold was
written before the run. `ipcost claims NAME` tests one claim and prints its figures; a results folder keeps every launch
in `claims.jsonl`. The facts are those of the code, the prose is in `docs/claims/`. `scripts/claims.sh` makes this page;
a test fails where it is out of date.
";

fn prose(name: &str) -> String {
    let path = docs().join("claims").join(format!("{name}.md"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|_| panic!("{name} is a claim: write docs/claims/{name}.md, then {MAKE_IT}"));
    assert!(!text.trim().is_empty() && !text.starts_with('#'), "docs/claims/{name}.md is prose without a heading");
    text
}

fn whole() -> String {
    let contents: String =
        CLAIMS.iter().map(|claim| format!("- [`{0}`](#{0}): {1}\n", claim.name, claim.taught)).collect();
    CLAIMS.iter().fold(format!("{HEAD}\n{contents}"), |page, claim| page + &section(claim))
}

fn section(claim: &Claim) -> String {
    let Claim { name, taught, hypothesis, misleads, .. } = claim;
    let facts = [("Taught", taught), ("Hypothesis", hypothesis), ("Misleads", misleads)];
    let facts = facts.map(|(what, fact)| format!("- **{what}**: {fact}\n")).concat();
    format!("\n## {name}\n\n{facts}\n{}", prose(name))
}

#[test]
fn the_page_of_claims_is_what_the_code_and_the_prose_say() {
    keep("CLAIMS.md", &whole(), "scripts/claims.sh");
}

#[test]
fn no_prose_is_left_of_a_claim_that_is_gone() {
    for entry in std::fs::read_dir(docs().join("claims")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let listed = CLAIMS.iter().any(|claim| format!("{}.md", claim.name) == name);
        assert!(listed, "docs/claims/{name} describes no claim: remove it");
    }
}

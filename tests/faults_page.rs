//! `docs/FAULTS.md` is made from the record in `docs/faults/record.jsonl`, judged by what the SPECs state now.
//!
//! The record is made by `ipcost faults`, on a machine that nobody else uses (`scripts/faults.sh --measure`); the page is made
//! here, so that a statement that the record contradicts fails a test.

#[path = "common/page.rs"]
mod page;

use ipcost::faults::matrix::{Judged, Style, judge, page as matrix};
use ipcost::faults::record::read_journal;
use ipcost::faults::{Depth, Harm, cells};
use ipcost::plan::Parties;
use ipcost::transport::{ALL, FRAMEWORKS, Sign};
use page::{docs, keep};
use std::collections::BTreeSet;

const HEAD: &str = "\
# When a peer dies

What the survivor of each mechanism sees when the other party is killed (SIGKILL), crashes (SIGSEGV), is stopped (SIGSTOP)
or lets go of its end. A field says what it saw and the median time from the signal until it was told; `nothing` is nothing
within a deadline of 200 ms. The moments: *idle*, the consumer waits and nothing is under way; *in mid-message*, the victim
builds a message in its place or looks at one; *queue full*, the producer is blocked and the consumer rests; *in a stream*,
anywhere, struck from outside; *holding the lock*, where a mechanism has one that the other party needs. A victim's time of
death is random within the moment. Threads cannot be killed singly: of a mechanism that connects threads only, one end lets
go. `sent before` says whether what a dead producer had sent was still received.

`ipcost faults` makes such a matrix on any machine and fails where a field is not what the mechanism states
([MECHANISMS.md](MECHANISMS.md), `ipcost list`). `scripts/faults.sh` makes this page from the record in `docs/faults/`,
which has each cell in full; a test fails where it is out of date, or where the record contradicts a statement.

";

fn record() -> Vec<Judged> {
    let (rows, _) = read_journal(&docs().join("faults/record.jsonl")).unwrap();
    rows.into_iter().filter_map(judge).collect()
}

/// The record without the frameworks, which a build may leave out.
fn common() -> Vec<Judged> {
    let framework = |one: &Judged| FRAMEWORKS.iter().any(|(name, _)| *name == one.row.cell.mechanism);
    record().into_iter().filter(|one| !framework(one)).collect()
}

#[test]
fn the_page_of_faults_is_what_the_record_says() {
    keep("FAULTS.md", &format!("{HEAD}{}", matrix(&common(), Style::Markdown)), "scripts/faults.sh");
}

#[test]
fn the_record_has_every_cell_with_at_least_twenty_injections_and_each_is_as_stated() {
    let record = record();
    for runner in ALL {
        let spec = runner.spec();
        for cell in cells(spec, Depth::Full) {
            let one = record.iter().find(|one| one.row.cell == cell);
            let one = one.unwrap_or_else(|| panic!("{cell:?} is not in the record: run scripts/faults.sh --measure"));
            assert!(one.as_stated && one.row.n >= 20, "{cell:?}: {:?}, n = {}", one.mismatches, one.row.n);
        }
    }
}

#[test]
fn a_sign_that_is_stated_was_seen() {
    let record = record();
    for runner in ALL.iter().filter(|runner| runner.spec().parties.contains(&Parties::Process)) {
        let death = &runner.spec().peer_death;
        let rows = record.iter().map(|one| &one.row).filter(|row| row.cell.mechanism == runner.spec().name);
        let killed = rows.filter(|row| matches!(row.cell.harm, Harm::Kill | Harm::Crash));
        let seen: BTreeSet<Sign> = killed.flat_map(|row| row.signs.keys().copied()).collect();
        for sign in [death.consumer, death.producer, death.lock].concat() {
            // Whether the writer of a socket waits when its reader dies, or comes a moment later, is chance.
            assert!(sign == Sign::Reset || seen.contains(&sign), "{}: {sign:?} was never seen", runner.spec().name);
        }
    }
}

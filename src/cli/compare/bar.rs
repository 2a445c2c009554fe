//! The progress of a campaign: how far it is, what runs now, and what there is to doubt so far.

use super::super::screen::Screen;
use super::super::{aside, progress};
use crate::campaign::journal::Campaign;
use crate::campaign::runner::Progress;
use crate::cell::{Outcome, Status};
use crate::plan::{Plan, show_size};
use crate::report;
use indicatif::ProgressBar;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::Duration;

/// Progress on standard error; silent when that is no terminal.
pub(super) struct Bar {
    bar: ProgressBar,
    flagged: usize,
    flags: BTreeMap<String, usize>,
    bad: usize,
}

/// The run that goes on, in words.
fn now(plan: &Plan) -> String {
    let Plan { mechanism, workload, size, wait, parties, placement, run, .. } = plan;
    let label = run.label.as_ref().map(|label| format!(" ({label})")).unwrap_or_default();
    format!(
        "{mechanism}{label} {workload} {}, {parties}, {wait}, {placement}, round {}",
        show_size(*size),
        run.round + 1
    )
}

impl Bar {
    pub(super) fn new(campaign: &Campaign, total: Duration) -> Self {
        let runs = campaign.cells.len() as u64 * u64::from(campaign.rounds);
        if std::io::stderr().is_terminal() {
            eprintln!(
                "{} cells, {} rounds of fresh launches, about {} s",
                campaign.cells.len(),
                campaign.rounds,
                total.as_secs()
            );
        }
        let template = "{bar:20} {pos}/{len} launches, {eta} left\n  {wide_msg}\n  {prefix}";
        let bar = progress::bar(Some(runs), template);
        Self { bar, flagged: 0, flags: BTreeMap::new(), bad: 0 }
    }

    /// What there is to doubt so far: `no doubts`, or how many launches have which, the most frequent first, as many kinds
    /// as there is room for.
    fn doubts(&self, room: usize) -> String {
        let mut text = if self.bad > 0 { format!("{} without a result, ", self.bad) } else { String::new() };
        text += &match self.flagged {
            0 => "no doubts".into(),
            n => format!("{n} with doubts"),
        };
        let mut flags: Vec<_> = self.flags.iter().collect();
        flags.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
        let more = ", ...";
        for (place, (flag, n)) in flags.iter().enumerate() {
            let part = format!("{} {flag} {n}", if place == 0 { ":" } else { "," });
            let last = place + 1 == flags.len();
            if text.len() + part.len() + if last { 0 } else { more.len() } > room {
                text += if place == 0 { "" } else { more };
                break;
            }
            text += &part;
        }
        text
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn starts(&mut self, done: usize, total: usize, plan: &Plan) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        let room = Screen::of_stderr().width.unwrap_or(usize::MAX);
        self.bar.set_prefix(self.doubts(room.saturating_sub("  ".len() + progress::KEY)));
        self.bar.set_message(format!("now {}", now(plan)));
    }

    fn ended(&mut self, outcome: &Outcome) {
        self.flagged += usize::from(!outcome.flags.is_empty());
        for flag in &outcome.flags {
            *self.flags.entry(flag.clone()).or_insert(0) += 1;
        }
        if outcome.status != Status::Ok {
            self.bad += 1;
            let reason = outcome.reason.as_deref().unwrap_or("no reason given");
            let label = format!("{} {}: ", outcome.mechanism, report::text::status(outcome.status));
            self.bar.suspend(|| aside(&label, reason));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_says_what_runs_now_and_what_there_is_to_doubt_so_far() {
        let mut bar = Bar::new(&Campaign::default(), Duration::from_secs(1));
        assert_eq!(bar.doubts(80), "no doubts");
        let plan = Plan { mechanism: "pipe".into(), ..Plan::default() };
        for flags in [vec!["steal"], vec![], vec!["run-delay", "steal"]] {
            let flags = flags.into_iter().map(String::from).collect();
            bar.ended(&Outcome { flags, ..Outcome::empty(&plan, Status::Ok) });
        }
        bar.ended(&Outcome::empty(&plan, Status::Failed));
        let all = "1 without a result, 2 with doubts: steal 2, run-delay 1";
        assert_eq!(bar.doubts(all.len()), all);
        assert_eq!(bar.doubts(all.len() - 1), "1 without a result, 2 with doubts: steal 2, ...");
        assert_eq!(bar.doubts(40), "1 without a result, 2 with doubts", "what is cut is cut between kinds");
        assert_eq!(now(&plan), "pipe ping-pong 64 B, process, block, cross-cpu, round 1");
    }
}

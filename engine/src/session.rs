//! Two parties at work: the leader orders windows, the follower obeys, the ledger carries both.
//!
//! Key decision: a run is a sequence of *windows* (so many messages, or a floor probe), and a window begins only when the
//! follower stands at the start line. Set-up, warm-up, batch and stamped timing, the probes and the endless benches are
//! all windows, so there is one start protocol and one timing loop. Rejected: two programs that agree on a message count
//! beforehand (no calibration, no probes between); commands through the transport under test.

mod alone;
mod books;
pub mod cast;
mod follower;
pub mod hub;
mod leader;
mod orders;

pub use alone::Alone;
pub use books::{Books, Witness};
pub use follower::follow;
pub use leader::{Leader, OpenLoop};

use crate::error::{Error, Kind, Phase, Result};
use crate::measure::load::LoadPoint;
use crate::measure::{Histogram, floor};
use crate::plan::Plan;
use crate::sys::cpu;
use crate::workload::batched::Pack;
use crate::workload::offered::Schedule;

/// A window of messages, measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// Messages (round trips).
    pub messages: u64,
    /// From the first message built to the last one verified.
    pub elapsed_ns: u64,
    /// Leader's and follower's books; a solo party has one, a hub comes before its peers.
    pub books: Vec<Books>,
    /// How many messages each peer (each pair) of a pattern carried; else empty.
    pub shares: Vec<u64>,
}

impl Measured {
    /// Time per message (per round trip) in ns.
    pub fn per_message_ns(&self) -> f64 {
        self.elapsed_ns as f64 / self.messages.max(1) as f64
    }
}

/// What a conductor can order.
pub trait Windows {
    /// Carries `n` messages; with a histogram every round trip is stamped into it, without one the clock is read twice.
    ///
    /// # Errors
    /// When the transport fails, the peer dies, or a message is wrong.
    fn messages(&mut self, n: u64, histogram: Option<&mut Histogram>) -> Result<Measured>;

    /// Offers the messages of `schedule`, each at its own time.
    ///
    /// # Errors
    /// As [`messages`](Self::messages); `unsupported` where nothing was laid out for it.
    fn offer(&mut self, schedule: &Schedule) -> Result<(Measured, LoadPoint)>;

    /// Probes the bare hand-over between the parties; `None` when it is too slow to tell, or there is one party only.
    ///
    /// # Errors
    /// When the peer dies.
    fn floor(&mut self, kind: floor::Kind) -> Result<Option<f64>>;
}

/// Pins the calling party, if it is to be pinned.
///
/// # Errors
/// `unsupported` when the kernel refuses.
pub fn take_place(cpu: Option<usize>) -> Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    cpu::pin(cpu).map_err(|error| {
        Error::unsupported(format!("cannot pin a party to CPU {cpu}"))
            .because(error)
            .hint("use --placement unpinned where affinity is not permitted")
    })
}

/// A party's complaint as an error: a wrong message makes the run invalid, anything else failed.
fn complained(text: &str, who: &str) -> Error {
    if let Some(why) = text.strip_prefix(REFUSED) {
        return Error::unsupported(format!("{who} could not begin: {why}"));
    }
    match text.strip_prefix(WRONG) {
        Some(how) => Error::invalid(format!("{who} received a wrong message: {how}")),
        None => Error::failed(Phase::Measure, format!("{who} stopped")).because(text),
    }
}

const WRONG: &str = "wrong: ";
/// What a party says first that the machine does not let begin.
const REFUSED: &str = "refused: ";

/// A complaint of a party that could not begin.
fn no_beginning(error: &Error) -> String {
    if error.kind() == Kind::Unsupported { format!("{REFUSED}{error}") } else { error.to_string() }
}

/// How the messages of a stream are packed, if they are.
fn pack_of(plan: &Plan) -> Option<Pack> {
    let count = plan.several.batch();
    (count > 1).then_some(Pack { size: plan.size, count })
}

/// `n` messages in whole batches.
fn whole(n: u64, pack: Option<Pack>) -> u64 {
    pack.map_or(n, |pack| n.next_multiple_of(pack.count as u64))
}

fn no_open_loop() -> Error {
    Error::unsupported("a load can only be offered in a run of that workload, between two parties")
}

#[cfg(test)]
mod tests {
    use crate::cell::Outcome;
    use crate::conduct::Measure;
    use crate::plan::{Arrivals, Offered, Parties, Placement, Plan, Span, Wait, Workload};
    use crate::transport::find;

    const STALL_MS: u64 = 200;
    /// Half the stall: longer than anything else that is likely to happen to a message.
    const LONG_NS: u64 = STALL_MS * 500_000;

    /// Samples above half the stall.
    fn long(pairs: &[(u64, u64)]) -> u64 {
        pairs.iter().filter(|(ns, _)| *ns >= LONG_NS).map(|(_, count)| count).sum()
    }

    fn run(mechanism: &str, plan: Plan) -> Outcome {
        let unpinned = Plan { parties: Parties::Thread, placement: Placement::Unpinned, ..plan };
        let outcome =
            find(mechanism).unwrap().run(&Plan { mechanism: mechanism.into(), ..unpinned }, &mut Measure).unwrap();
        assert_eq!(outcome.invalid, None);
        outcome
    }

    fn load(rate: Option<u64>, arrivals: Arrivals, messages: u64) -> Plan {
        let offered = Some(Offered { rate, arrivals });
        Plan { workload: Workload::OfferedLoad, offered, span: Span::Messages(messages), ..Plan::default() }
    }

    #[test]
    fn a_stall_delays_every_message_that_is_due_meanwhile_but_only_one_round_trip() {
        let (rate, n) = (20_000, 12_000);
        for mechanism in ["heap-ring", "pipe"] {
            let plan = Plan { stall_ms: STALL_MS, ..load(Some(rate), Arrivals::Constant, n) };
            let open = run(mechanism, plan.clone());
            let point = &open.load[0];
            // The consumer sleeps after a message that was due 50 us before the next one.
            assert!(point.from_intended.max >= STALL_MS * 1_000_000 - 50_000, "{point:?}");
            let affected = long(&point.from_intended.histogram);
            assert!(affected >= rate * STALL_MS / 2000 - 1, "{mechanism}: {affected} messages saw the stall");
            if mechanism == "pipe" {
                // The pipe holds 1024 of the 4000 messages that come due: the rest are sent late, and look fast from then.
                assert!(long(&point.from_actual.histogram) < affected, "{point:?}");
                assert!(point.late_share > 0.1, "{point:?}");
            }
            assert!(point.backlog_max >= rate * STALL_MS / 1000 - 1, "{mechanism}: {}", point.backlog_max);

            let plan = Plan { workload: Workload::PingPong, offered: None, ..plan };
            let closed = long(&run(mechanism, plan).rtt_ns.unwrap().histogram);
            // One by construction; the machine may have had a pause of its own.
            assert!((1..10).contains(&closed), "{mechanism}: {closed} round trips saw the stall");
        }
    }

    #[test]
    fn a_rate_beyond_any_saturation_is_not_reached_and_every_message_arrives() {
        let outcome = run("heap-ring", load(Some(1_000_000_000), Arrivals::Poisson, 50_000));
        let point = &outcome.load[0];
        assert!(!point.reached && point.achieved_per_s < 0.98e9, "{point:?}");
        assert!(point.backlog_end > 1000, "{point:?}");
        assert!(outcome.flags.iter().any(|flag| flag == "rate-not-reached"), "{:?}", outcome.flags);
        assert_eq!((point.messages, point.verified), (50_000, 50_000));
        assert_eq!(outcome.verified.unwrap().messages, 50_000);
    }

    #[test]
    fn a_sweep_has_eleven_rising_shares_of_what_it_found() {
        let outcome = run("mutex-queue", load(None, Arrivals::Poisson, 500));
        let saturation = outcome.throughput.unwrap().messages_per_s;
        let shares: Vec<_> = outcome.load.iter().map(|point| (10.0 * point.share.unwrap()).round() as u64).collect();
        assert_eq!(shares, (1..=11).collect::<Vec<_>>());
        for point in &outcome.load {
            assert!((point.offered_per_s / point.share.unwrap() / saturation - 1.0).abs() < 1e-9);
            assert!(point.achieved_per_s <= point.offered_per_s);
            assert_eq!((point.messages, point.verified), (500, 500));
        }
    }

    #[test]
    fn nothing_is_offered_to_one_party() {
        let plan = Plan { mechanism: "null".into(), parties: Parties::Solo, ..load(None, Arrivals::Poisson, 10) };
        let refused = find("null").unwrap().run(&plan, &mut Measure).unwrap_err().to_string();
        assert!(refused.contains("one party"), "{refused}");
    }

    #[test]
    fn parties_that_yield_can_be_offered_a_load_too() {
        let plan = Plan { wait: Wait::Yield, ..load(Some(10_000), Arrivals::Poisson, 200) };
        assert_eq!(run("shm-ring", plan).load[0].verified, 200);
    }
}

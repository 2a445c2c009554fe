//! What the mechanism or this machine cannot do, said before anything is created.
//!
//! Key decision: all refusals in one place and before set-up, each with what to choose instead, so that a plan that was
//! admitted fails only for what nobody could know. Rejected: a refusal by whoever first stumbles over it, when half of the run
//! is set up and the reason is an errno.

use crate::error::{Context, Error, Phase, Result};
use crate::plan::{MOST_PEERS, Parties, Plan, Plant, Several, Span, Wait, Workload};
use crate::shm::stamps;
use crate::sys::cpu;
use crate::transport::list::without;
use crate::transport::{Bound, Config, Family, ShmRing, Spec, Tcp, Transport};
use std::collections::HashSet;

/// Where the parties of an admitted run are.
#[derive(Debug)]
pub struct Berths {
    /// The CPU of each party, if they have one: see [`Plan::cpus`].
    pub cpus: Option<Vec<usize>>,
    /// Whether parties that carry messages all the time outnumber the CPUs that they are on.
    pub crowded: bool,
}

/// Refuses what the mechanism or this machine cannot do, before anything is created.
///
/// # Errors
/// `unsupported`, with what to choose instead.
pub fn admit(plan: &Plan, spec: &Spec, bound: &Bound) -> Result<Berths> {
    let words = |words: Vec<&str>| words.join(", ");
    let no = |what: String, choice: String| Err(Error::unsupported(what).hint(choice));
    let carried = plan.carried_size();
    if carried == 0 || carried > bound.size {
        let what = format!("{} carries 1 to {} bytes, not {carried}", spec.name, bound.size);
        return match &bound.set_by {
            Some(setting) if carried <= spec.max_size && carried > 0 => no(what, format!("the limit is {setting}")),
            _ if plan.several.batch() > 1 => no(what, "choose a smaller --size or --batch".into()),
            _ => no(what, "choose another --size".into()),
        };
    }
    admit_several(plan)?;
    if plan.workload.has_peers() && !spec.patterns.contains(&plan.workload) {
        return Err(without(spec, plan.workload));
    }
    if !spec.parties.contains(&plan.parties) {
        let choice = words(spec.parties.iter().map(|p| p.word()).collect());
        return no(format!("{} does not connect parties of kind {}", spec.name, plan.parties), format!("use {choice}"));
    }
    // The controls, which have no pages to choose, stand beside such rows as they are.
    if !plan.pages.are_usual() && spec.name != ShmRing::SPEC.name && spec.family != Family::Control {
        let what = format!("{} cannot choose its pages", spec.name);
        return no(what, format!("--huge-pages and --populate are options of {}", ShmRing::SPEC.name));
    }
    if !spec.waits.contains(&plan.wait.kind()) {
        let choice = words(spec.waits.iter().map(|w| w.word()).collect());
        return no(format!("{} cannot wait by {}", spec.name, plan.wait), format!("use {choice}"));
    }
    if plan.nagle && spec.name != Tcp::SPEC.name && spec.family != Family::Control {
        return no(format!("{} has no Nagle's algorithm", spec.name), "use --nagle with tcp only".into());
    }
    if plan.workload == Workload::OfferedLoad {
        if plan.parties == Parties::Solo {
            let what =
                format!("{} is one party, which cannot fall behind itself: no load can be offered to it", spec.name);
            return no(what, "measure it with ping-pong or stream".into());
        }
        if matches!(plan.span, Span::Messages(n) if n > stamps::MOST as u64) {
            let what = format!("an offered load stamps at most {} messages in a window", stamps::MOST);
            return no(what, "choose a smaller --messages, or a --duration".into());
        }
    }
    if plan.plant.is_some_and(|plant| plant != Plant::Flip)
        && (plan.parties == Parties::Solo || plan.workload == Workload::PingPong)
    {
        let what = "a lost, doubled or swapped message needs two parties and a stream".into();
        return no(what, "plant a flip, or use the stream workload".into());
    }
    let allowed = cpu::allowed().context(Phase::Setup, "cannot ask for the allowed CPUs")?;
    let cpus = plan.cpus(&allowed)?;
    if plan.parties == Parties::Solo {
        return Ok(Berths { cpus, crowded: false });
    }
    // A hub that sleeps, that of independent pairs, is not in anybody's way.
    let busy = plan.busy();
    let hosts = match &cpus {
        Some(cpus) => cpus[cpus.len() - busy..].iter().collect::<HashSet<_>>().len(),
        None => allowed.len().min(busy),
    };
    let crowded = hosts < busy;
    if plan.wait == Wait::Spin && crowded {
        let place = if hosts == 1 { "one CPU".into() } else { format!("{hosts} CPUs") };
        let what = format!("{busy} parties that spin on {place} only burn each other's time slices");
        return no(what, "use --wait yield or block, or a CPU for each".into());
    }
    Ok(Berths { cpus, crowded })
}

/// Refuses several of what the workload has one of.
fn admit_several(plan: &Plan) -> Result<()> {
    let no = |what: &str, choice: &str| Err(Error::unsupported(what).hint(choice));
    let Several { outstanding, batch, peers } = plan.several;
    let (window, count) = (plan.several.outstanding(), plan.several.batch() as u64);
    if window == 0 || count == 0 {
        return no("nothing is carried without requests or messages", "choose at least 1");
    }
    if outstanding.is_some() && (plan.workload != Workload::PingPong || plan.parties == Parties::Solo) {
        let what = "several requests under way need two parties and a ping-pong";
        return no(what, "leave out --outstanding, or use ping-pong");
    }
    if batch.is_some() && plan.workload != Workload::Stream {
        return no("only a stream can be batched", "leave out --batch, or use stream");
    }
    if matches!(plan.span, Span::Messages(n) if n % count != 0) {
        return no("--messages are whole batches", "choose a multiple of --batch");
    }
    if peers.is_some() != plan.workload.has_peers() {
        return no("fan-in, fan-out, pairs and broadcast have peers and nothing else has", "use --peers with them");
    }
    if plan.workload.has_peers() {
        admit_peers(plan)?;
    }
    if plan.plant.is_some() && (outstanding.is_some() || batch.is_some()) {
        return no(
            "a fault is planted among messages that travel one at a time",
            "leave out --outstanding and --batch",
        );
    }
    Ok(())
}

fn admit_peers(plan: &Plan) -> Result<()> {
    let no = |what: String, choice: &str| Err(Error::unsupported(what).hint(choice));
    if !(1..=MOST_PEERS as usize).contains(&plan.peers()) {
        return no(format!("there are 1 to {MOST_PEERS} peers, not {}", plan.peers()), "choose another --peers");
    }
    if plan.parties == Parties::Solo {
        return no(
            format!("{} is one party, which has no peers", plan.mechanism),
            "measure it with ping-pong or stream",
        );
    }
    if plan.plant == Some(Plant::Swap) && plan.workload == Workload::FanOut {
        let what = "neighbours may go to different consumers, to whom their order means nothing";
        return no(what.into(), "plant another fault, or use fan-in or pairs");
    }
    if plan.size < size_of::<u64>() {
        let what = "a message of fewer than 8 bytes cannot say which of several producers sent it";
        return no(what.into(), "choose a --size of 8 or more");
    }
    Ok(())
}

/// Refuses more requests under way than one direction certainly holds: with less room than that, each party could wait
/// for ever for the other one to make some.
pub(super) fn require_room(plan: &Plan, cfg: &Config) -> Result<()> {
    let (window, room) = (plan.several.outstanding(), cfg.depth());
    if window <= room {
        return Ok(());
    }
    let Plan { mechanism, size, .. } = plan;
    let plural = if room == 1 { "" } else { "s" };
    let what = format!("{mechanism} is sure to hold {room} message{plural} of {size} bytes one way, not {window}");
    let choice = if room > 1 { format!("use --outstanding {room} or less") } else { "leave out --outstanding".into() };
    Err(Error::unsupported(what).hint(choice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Placement;
    use crate::transport::find;

    #[test]
    fn parties_are_crowded_where_they_outnumber_the_cpus_that_they_are_on() {
        let allowed = cpu::allowed().unwrap().len();
        let runner = find("pipe").unwrap();
        for (workload, parties, placement, crowded) in [
            (Workload::Stream, Parties::Process, Placement::SameCpu, true),
            (Workload::PingPong, Parties::Thread, Placement::Unpinned, allowed < 2),
        ] {
            let plan = Plan { mechanism: "pipe".into(), workload, parties, placement, ..Plan::default() };
            assert_eq!(admit(&plan, runner.spec(), &runner.bound()).unwrap().crowded, crowded, "{workload}, {allowed}");
        }
        let alone = Plan { mechanism: "null".into(), parties: Parties::Solo, ..Plan::default() };
        let null = find("null").unwrap();
        assert!(!admit(&alone, null.spec(), &null.bound()).unwrap().crowded);
    }
}

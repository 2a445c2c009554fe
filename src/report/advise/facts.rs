//! What a mechanism is, whatever its figures: the demands that its SPEC alone decides.

use super::Demand;
use crate::plan::{Parties, show_size};
use crate::report::text::digits;
use crate::transport::{Bound, Family, PeerDeath, Sign, Spec};

/// The right that a receiver needs which reads its sender's memory: it can then read all of it.
const TRACING: &str = "ptrace(2)";

/// Why a mechanism cannot meet the demand, by its SPEC: the first reason.
pub fn rules_out(spec: &Spec, bound: &Bound, demand: &Demand) -> Option<String> {
    let only_threads = !spec.parties.contains(&Parties::Process);
    if demand.size > bound.size {
        let set_by = bound.set_by.as_ref().map(|setting| format!(" ({setting})")).unwrap_or_default();
        return Some(format!("size: carries at most {} here{set_by}", show_size(bound.size)));
    }
    if only_threads && !demand.threads {
        return Some("threads: connects threads of one process only (--threads yes admits it)".into());
    }
    if !demand.trusting {
        if only_threads {
            return Some("trust: threads of one process have no secrets from each other".into());
        }
        if spec.family == Family::SharedMemory {
            return Some("trust: the peer can change a message while it is read, and what lies beside it".into());
        }
        if spec.sources.contains(&TRACING) {
            return Some("trust: the receiver may read all of the sender's memory".into());
        }
    }
    if demand.survive_crash {
        if only_threads {
            return Some("crash: threads of one process die together".into());
        }
        return deaf(&spec.peer_death);
    }
    None
}

/// Why a survivor would not learn of its peer's death.
fn deaf(death: &PeerDeath) -> Option<String> {
    let silent = |signs: &[Sign]| signs.is_empty() || signs.contains(&Sign::Nothing);
    let who = match (silent(death.consumer), silent(death.producer)) {
        (true, true) => "neither survivor is told",
        (true, false) => "a waiting consumer is not always told",
        (false, true) => "a waiting producer is not always told",
        (false, false) if death.lock.contains(&Sign::Nothing) => "a death inside the lock is told to nobody",
        (false, false) => return None,
    };
    Some(format!("crash: {who} that its peer was killed ({})", death.text))
}

/// What the SPEC says of a mechanism that was not ruled out, as far as the demand cares.
pub fn worth_saying(spec: &Spec, demand: &Demand) -> Vec<String> {
    let mut facts = Vec::new();
    if demand.survive_crash {
        let PeerDeath { consumer, producer, lock, delivers, within_ms, leaves, .. } = &spec.peer_death;
        let words = |signs: &[Sign]| signs.iter().map(|sign| sign.word()).collect::<Vec<_>>().join(" or ");
        facts.push(format!(
            "a peer that is killed shows within {within_ms} ms: to a consumer as {}, to a producer as {}",
            words(consumer),
            words(producer)
        ));
        if !lock.is_empty() {
            facts.push(format!("a peer that is killed inside the lock shows as {}", words(lock)));
        }
        facts.push(match delivers {
            true => "what a killed producer had sent is still received".into(),
            false => "what a killed producer had sent may be lost".into(),
        });
        facts.extend(leaves.map(|leaves| format!("left behind for somebody to remove: {leaves}")));
    }
    facts.push(match spec.copies {
        0 => "no copy between producer and consumer".into(),
        1 => "one copy of each byte".to_string(),
        n => format!("{} copies of each byte", digits(f64::from(n)).trim_end_matches(".00")),
    });
    facts
}

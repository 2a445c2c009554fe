//! What each mechanism does when its peer dies: killed, crashed, stopped or gone, at every moment.
//!
//! Key decision: a *cell* is mechanism x victim x harm x moment, and a launched process makes its injections: each with a
//! fresh transport and two freshly forked parties, of which one comes to harm and the other is observed ([`injection`]).
//! What was seen becomes one line of a journal, and a judge ([`matrix`]) holds it against what the mechanism's SPEC states
//! ([`PeerDeath`]): another sign, a torn message, a late one, something left behind is a MISMATCH. The
//! list, the documentation and the judge read the same statement. Rejected: a matrix that is only written down, which
//! nobody notices to be wrong; a launch for each injection, which costs more than the injection.
//!
//! - [`injection`]: two parties, the harm, the survivor
//! - `parties`: starting and ending them, and the new pair afterwards
//! - [`observe`]: what they tell each other, and what is left behind
//! - [`matrix`]: the judge and the table
//! - [`record`]: the journal `faults.jsonl`

use crate::plan::{Parties, Wait};
use crate::sys::harm::Fault;
use crate::transport::death::PeerDeath;
use crate::transport::{Role, Sign, Spec};
use serde::{Deserialize, Serialize};

pub mod injection;
pub mod matrix;
pub mod observe;
mod parties;
pub mod record;

/// What happens to the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// SIGKILL.
    Kill,
    /// SIGSEGV, as of a wild access.
    Crash,
    /// SIGSTOP: it lives, and does nothing more.
    Stop,
    /// Nothing: it lets go of its end. Of threads, which cannot be killed singly, the only harm.
    Leave,
}

impl Harm {
    /// Its name for people.
    pub fn word(self) -> &'static str {
        match self {
            Harm::Kill => "killed",
            Harm::Crash => "crashed",
            Harm::Stop => "stopped",
            Harm::Leave => "let go",
        }
    }

    /// The signal's fault; `None` for a victim that leaves by itself.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Harm::Kill => Some(Fault::Kill),
            Harm::Crash => Some(Fault::Segv),
            Harm::Stop => Some(Fault::Stop),
            Harm::Leave => None,
        }
    }

    /// Whether the victim is no more.
    pub fn ends(self) -> bool {
        matches!(self, Harm::Kill | Harm::Crash)
    }
}

/// What the parties do when the victim comes to harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Some messages were received, and nothing is under way: the consumer waits, the producer rests.
    Idle,
    /// The victim builds a message in its place, or looks at one.
    Message,
    /// The producer is blocked on a full queue, and the consumer rests.
    Full,
    /// Anywhere in a stream: the victim is struck from outside.
    Stream,
    /// The victim holds the lock that the other one needs.
    Lock,
}

impl Moment {
    /// Every moment, in the order of the table.
    pub const ALL: [Moment; 5] = [Moment::Idle, Moment::Message, Moment::Full, Moment::Stream, Moment::Lock];

    /// Its name for people.
    pub fn words(self) -> &'static str {
        match self {
            Moment::Idle => "idle",
            Moment::Message => "in mid-message",
            Moment::Full => "queue full",
            Moment::Stream => "in a stream",
            Moment::Lock => "holding the lock",
        }
    }
}

/// One field of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// Name of the mechanism.
    pub mechanism: String,
    /// Processes, or threads where they are all that the mechanism connects.
    pub parties: Parties,
    /// Who comes to harm; the other one is the survivor.
    pub victim: Role,
    /// How.
    pub harm: Harm,
    /// When.
    pub moment: Moment,
}

/// An effect that the command must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Plant {
    /// The last message before the harm is spoiled on its way.
    Torn,
    /// One message before the harm is counted and not sent.
    Lost,
    /// A file with the project's prefix stays.
    Name,
    /// The SPEC states what cannot be.
    Spec,
}

/// What a launched process is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// Which cell.
    pub cell: Cell,
    /// Injections.
    pub injections: usize,
    /// Of these, how many are made at once: where nobody is told anything, all wait for the same deadline.
    pub at_once: usize,
    /// How long the survivor is given from its last sign of life, ms.
    pub patience_ms: u64,
    /// Seed of the moments.
    pub seed: u64,
    /// What to plant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plant: Option<Plant>,
}

/// How thoroughly to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The most telling cells, a few injections each: under a minute.
    Quick,
    /// Every cell, twenty injections each.
    Full,
}

/// Injections of a cell, where nothing else was asked for: a quick pass repeats only kills.
fn injections(depth: Depth, harm: Harm) -> usize {
    match (depth, harm) {
        (Depth::Full, _) => 20,
        (Depth::Quick, Harm::Kill) => 3,
        (Depth::Quick, _) => 1,
    }
}

/// Where nobody is told anything: injections that share a deadline, and the deadline.
const AT_ONCE: usize = 5;
const QUIET_MS: [u64; 2] = [100, 200];
/// The deadline of a survivor that should be told: it ends the injection of a mechanism that does not keep its word.
const TOLD_MS: u64 = 2000;

/// What a peer that leaves is worth to its survivor: the contract of [`Sender`](crate::transport::Sender) and
/// [`Receiver`](crate::transport::Receiver).
const LEFT: [&[Sign]; 2] = [&[Sign::BrokenPipe, Sign::Reset], &[Sign::EndOfFile]];

impl Cell {
    /// The signs that the SPEC allows the survivor to see.
    pub fn stated(&self, death: &PeerDeath) -> Vec<Sign> {
        let told = if self.victim == Role::Producer { death.consumer } else { death.producer };
        match (self.harm, self.moment) {
            (Harm::Stop, _) => vec![Sign::Nothing],
            (Harm::Leave, _) => LEFT[1 - self.victim as usize].to_vec(),
            (_, Moment::Lock) => death.lock.to_vec(),
            // Who is struck from outside may hold the lock.
            (_, Moment::Stream) => [told, death.lock].concat(),
            _ => told.to_vec(),
        }
    }

    /// What to do for it.
    pub fn order(&self, death: &PeerDeath, depth: Depth, injections_asked: Option<usize>, seed: u64) -> Order {
        let quiet = self.stated(death).contains(&Sign::Nothing);
        Order {
            cell: self.clone(),
            injections: injections_asked.unwrap_or(injections(depth, self.harm)),
            at_once: if quiet { AT_ONCE } else { 1 },
            patience_ms: if quiet { QUIET_MS[usize::from(depth == Depth::Full)] } else { TOLD_MS },
            seed,
            plant: None,
        }
    }
}

/// The wait of both parties: a survivor that sleeps is the one that has to be told.
pub fn wait(spec: &Spec) -> Wait {
    spec.wait_near(Wait::Block)
}

/// The cells of a mechanism. Threads cannot be killed singly, and controls have no peer: these leave, or have none.
pub fn cells(spec: &Spec, depth: Depth) -> Vec<Cell> {
    let cell = |parties, victim, harm, moment| Cell { mechanism: spec.name.into(), parties, victim, harm, moment };
    let mut cells = Vec::new();
    for victim in [Role::Producer, Role::Consumer] {
        if spec.parties.contains(&Parties::Process) {
            let has = |moment: &Moment| *moment != Moment::Lock || !spec.peer_death.lock.is_empty();
            for harm in [Harm::Kill, Harm::Crash, Harm::Stop] {
                let of =
                    Moment::ALL.into_iter().filter(has).filter(|moment| depth == Depth::Full || quick(harm, *moment));
                cells.extend(of.map(|moment| cell(Parties::Process, victim, harm, moment)));
            }
            cells.push(cell(Parties::Process, victim, Harm::Leave, Moment::Idle));
        } else if spec.parties.contains(&Parties::Thread) {
            cells.push(cell(Parties::Thread, victim, Harm::Leave, Moment::Idle));
        }
    }
    cells
}

/// What a quick pass looks at: a crash and a stop tell nothing new at most moments.
fn quick(harm: Harm, moment: Moment) -> bool {
    match harm {
        Harm::Kill => moment != Moment::Stream,
        Harm::Crash => matches!(moment, Moment::Message | Moment::Lock),
        Harm::Stop => moment == Moment::Full,
        Harm::Leave => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::find;

    fn of(name: &str, depth: Depth) -> Vec<Cell> {
        cells(find(name).unwrap().spec(), depth)
    }

    #[test]
    fn a_full_pass_has_every_combination_and_at_least_twenty_injections_of_each() {
        assert_eq!(of("pipe", Depth::Full).len(), 2 * (3 * 4 + 1));
        assert_eq!(of("shm-mutex", Depth::Full).len(), 2 * (3 * 5 + 1));
        let death = &find("pipe").unwrap().spec().peer_death;
        let least = of("pipe", Depth::Full).iter().map(|cell| cell.order(death, Depth::Full, None, 0).injections).min();
        assert_eq!(least, Some(20));
    }

    #[test]
    fn threads_only_leave_and_controls_have_no_peer() {
        assert!(of("mutex-queue", Depth::Full).iter().all(|cell| cell.harm == Harm::Leave));
        assert_eq!(of("mutex-queue", Depth::Full).len(), 2);
        assert_eq!(of("null", Depth::Full), []);
    }

    #[test]
    fn whoever_is_stopped_is_never_noticed_and_whoever_leaves_is() {
        let death = &find("sysv-mq").unwrap().spec().peer_death;
        for cell in of("sysv-mq", Depth::Full) {
            let stated = cell.stated(death);
            assert_eq!(stated == [Sign::Nothing], cell.harm != Harm::Leave, "{cell:?}");
        }
    }
}

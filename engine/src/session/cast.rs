//! Who does what in a pattern: the transport's ends dealt out as parts, with the mechanism's types erased.
//!
//! Key decision: a part is one `dyn` [`Work`], and the loops behind it are compiled once for each type of end, not for each
//! mechanism; dealing the parts out knows no types ([`Ends`]). The indirect call is one per window and party (of producers
//! that claim blocks, one per window too: the claiming is behind it). Rejected: parts that are generic over the mechanism.

use crate::error::{Error, Phase, Result};
use crate::plan::{Plan, Plant, Via, Workload};
use crate::shm::muster::Muster;
use crate::transport::{self, Config, Receiver, Sender, Shape, Transport};
use crate::workload::pattern::{self, Lane, Run, Sums, first_of, quota};
use crate::workload::{Fault, Load};
use std::io;
use std::vec::IntoIter;

/// How many messages of a window a party sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All of them, or those that are served in turn with the others'.
    Quota {
        /// The party's turn.
        index: usize,
        /// How many take turns.
        of: usize,
    },
    /// What it can claim before so many claimants, itself included, have claimed everything.
    Claims {
        /// How many claim.
        of: usize,
    },
}

/// What a party does in a window, and the ends that it does it with.
pub trait Work: Send {
    /// Attaches the ends.
    ///
    /// # Errors
    /// What the system says.
    fn attach(&mut self) -> io::Result<()>;

    /// The party's half of a window of `n` messages. What the account in `load` does not tell of it is in the sums.
    ///
    /// # Errors
    /// When the transport fails or a message is wrong.
    fn carry(&mut self, load: &mut Load, n: u64, muster: &Muster) -> Result<Option<Sums>, Fault>;
}

/// Orders only: the hub of independent pairs.
struct Idle;

impl Work for Idle {
    fn attach(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn carry(&mut self, _: &mut Load, _: u64, _: &Muster) -> Result<Option<Sums>, Fault> {
        Ok(None)
    }
}

/// Sends its share, then so many end messages.
struct Produce<S> {
    tx: S,
    share: Share,
    ends: usize,
}

impl<S: Sender> Work for Produce<S> {
    fn attach(&mut self) -> io::Result<()> {
        self.tx.attach()
    }

    fn carry(&mut self, load: &mut Load, n: u64, muster: &Muster) -> Result<Option<Sums>, Fault> {
        let Self { tx, share, ends } = self;
        match *share {
            Share::Quota { index, of } => pattern::send(tx, load, quota(n, index, of))?,
            Share::Claims { of } => {
                while let Some(block) = muster.claim(n, of) {
                    pattern::send(tx, load, block)?;
                }
            }
        }
        (0..*ends).try_for_each(|_| pattern::say_end(tx, load.payload))?;
        Ok(None)
    }
}

/// Sends to each peer in turn.
struct Deal<S>(Vec<Lane<S>>, Run);

impl<S: Sender> Work for Deal<S> {
    fn attach(&mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|lane| lane.end.attach())
    }

    fn carry(&mut self, load: &mut Load, n: u64, _: &Muster) -> Result<Option<Sums>, Fault> {
        pattern::deal(&mut self.0, load, n, self.1)?;
        Ok(None)
    }
}

/// Receives from each peer in turn.
struct Collect<R>(Vec<Lane<R>>, Run);

impl<R: Receiver> Work for Collect<R> {
    fn attach(&mut self) -> io::Result<()> {
        self.0.iter_mut().try_for_each(|lane| lane.end.attach())
    }

    fn carry(&mut self, load: &mut Load, n: u64, _: &Muster) -> Result<Option<Sums>, Fault> {
        pattern::collect(&mut self.0, load, n, self.1)?;
        Ok(None)
    }
}

/// How a party receives through one end.
enum Taking {
    /// Whatever comes from any of the peers, whose next numbers these are.
    Gather(Vec<u64>),
    /// One producer's messages to its end message.
    All,
    /// What it gets of the messages that all compete for.
    Share,
    /// Every message of the window.
    Every,
}

/// Receives.
struct Receive<R>(R, Taking);

impl<R: Receiver> Work for Receive<R> {
    fn attach(&mut self) -> io::Result<()> {
        self.0.attach()
    }

    fn carry(&mut self, load: &mut Load, n: u64, _: &Muster) -> Result<Option<Sums>, Fault> {
        match &mut self.1 {
            Taking::Gather(nexts) => pattern::gather(&mut self.0, load, nexts, n).map(|()| None),
            Taking::All => pattern::receive_all(&mut self.0, load).map(Some),
            Taking::Share => pattern::receive_share(&mut self.0, load, n).map(Some),
            Taking::Every => pattern::receive_every(&mut self.0, load, n).map(|()| None),
        }
    }
}

/// The ends of a pattern's transport, each to be taken once, in order.
pub trait Ends {
    /// Through what the parties of a hub are connected; nothing for independent pairs.
    fn via(&self) -> Option<Via>;
    /// The next sending end.
    fn send(&mut self, share: Share, ends: usize) -> Option<Box<dyn Work>>;
    /// All sending ends.
    fn deal(&mut self) -> Box<dyn Work>;
    /// The next receiving end, for a hub that gathers from so many, for one channel, or for a share of a common one.
    fn receive(&mut self, how: Receiving) -> Option<Box<dyn Work>>;
    /// All receiving ends.
    fn collect(&mut self) -> Box<dyn Work>;
}

/// See [`Ends::receive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiving {
    /// From so many peers through one object.
    Gather(usize),
    /// From one producer.
    All,
    /// What it gets.
    Share,
    /// What all get.
    Every,
}

struct Typed<S, R> {
    txs: IntoIter<S>,
    rxs: IntoIter<R>,
    via: Option<Via>,
    run: Run,
}

impl<S: Sender + 'static, R: Receiver + 'static> Ends for Typed<S, R> {
    fn via(&self) -> Option<Via> {
        self.via
    }

    fn send(&mut self, share: Share, ends: usize) -> Option<Box<dyn Work>> {
        Some(Box::new(Produce { tx: self.txs.next()?, share, ends }))
    }

    fn deal(&mut self) -> Box<dyn Work> {
        Box::new(Deal(lanes(&mut self.txs), self.run))
    }

    fn receive(&mut self, how: Receiving) -> Option<Box<dyn Work>> {
        let taking = match how {
            Receiving::Gather(of) => Taking::Gather((0..of).map(first_of).collect()),
            Receiving::All => Taking::All,
            Receiving::Share => Taking::Share,
            Receiving::Every => Taking::Every,
        };
        Some(Box::new(Receive(self.rxs.next()?, taking)))
    }

    fn collect(&mut self) -> Box<dyn Work> {
        Box::new(Collect(lanes(&mut self.rxs), self.run))
    }
}

fn lanes<E>(ends: &mut IntoIter<E>) -> Vec<Lane<E>> {
    ends.enumerate().map(|(index, end)| Lane::new(end, index)).collect()
}

/// What the workload's hub and so many peers may share.
fn shape_of(workload: Workload, of: usize) -> Option<Shape> {
    match workload {
        Workload::FanIn => Some(Shape::FanIn(of)),
        Workload::FanOut => Some(Shape::FanOut(of)),
        Workload::Broadcast => Some(Shape::Broadcast(of)),
        _ => None,
    }
}

/// Creates the transport of a pattern: one object where the mechanism has such a thing, else a channel for each peer.
///
/// # Errors
/// What [`Transport::shared`] and [`Transport::one_way`] say.
pub fn ends_of<T: Transport>(plan: &Plan, cfg: &Config) -> Result<Box<dyn Ends>> {
    let of = plan.peers();
    let shape = shape_of(plan.workload, of);
    let shared = shape.map(|shape| T::shared(cfg, shape)).transpose()?.flatten();
    let (transport::Ends { txs, rxs }, via) = match shared {
        Some(ends) => (ends, Some(Via::Shared)),
        None if plan.workload == Workload::Broadcast => return Err(transport::list::without(T::SPEC, plan.workload)),
        None => {
            let mut ends = transport::Ends { txs: Vec::with_capacity(of), rxs: Vec::with_capacity(of) };
            for _ in 0..of {
                let (tx, rx) = T::one_way(cfg)?;
                ends.txs.push(tx);
                ends.rxs.push(rx);
            }
            (ends, shape.map(|_| Via::InTurn))
        }
    };
    let run = Run::of(cfg.depth());
    Ok(Box::new(Typed { txs: txs.into_iter(), rxs: rxs.into_iter(), via, run }))
}

/// A party's part in a pattern: its work, and its payload account.
pub struct Part {
    pub(super) work: Box<dyn Work>,
    pub(super) load: Load,
}

impl Part {
    /// The part's half of a window of `n` messages, and what it carried of them.
    pub(super) fn carry(&mut self, n: u64, muster: &Muster) -> Result<Sums, Fault> {
        let first = self.load.next;
        let sums = self.work.carry(&mut self.load, n, muster)?;
        Ok(sums.unwrap_or_else(|| Sums { count: self.load.next - first, ..Sums::default() }))
    }
}

/// The parts of all parties.
pub struct Cast {
    /// The hub's.
    pub hub: Part,
    /// Those of the others, in their order.
    pub peers: Vec<Part>,
    /// Through what they are connected.
    pub via: Option<Via>,
}

impl Cast {
    /// Deals the parts of `plan` with these ends.
    ///
    /// # Errors
    /// When there are fewer ends than parties.
    pub fn deal(plan: &Plan, mut ends: Box<dyn Ends>) -> Result<Self> {
        let (of, via) = (plan.peers(), ends.via());
        let few = || Error::failed(Phase::Setup, "a shared object has too few ends");
        // A planted fault is one party's: the hub's if it sends, else the first peer's.
        let part = |work: Option<Box<dyn Work>>, producer: usize, plant: Option<Plant>| {
            let mut load = Load::new(&Plan { plant, ..plan.clone() });
            load.next = first_of(producer);
            Ok(Part { work: work.ok_or_else(few)?, load })
        };
        let first = |index: usize| plan.plant.filter(|_| index == 0);
        // Who competes may get nothing, but a planted fault has to be committed.
        let claims = plan.plant.is_none() && via != Some(Via::InTurn);
        let share = |index| if claims { Share::Claims { of } } else { Share::Quota { index, of } };
        let alone = Share::Quota { index: 0, of: 1 };
        let mut peers: Vec<Part> = Vec::new();
        let hub = match (shape_of(plan.workload, of), via) {
            (None, _) => {
                for index in 0..of {
                    peers.push(part(ends.send(share(index), 1), index, first(index))?);
                    peers.push(part(ends.receive(Receiving::All), index, None)?);
                }
                part(Some(Box::new(Idle)), 0, None)?
            }
            (Some(Shape::FanIn(_)), via) => {
                let hub = match via {
                    Some(Via::Shared) => ends.receive(Receiving::Gather(of)),
                    _ => Some(ends.collect()),
                };
                for index in 0..of {
                    peers.push(part(ends.send(share(index), 0), index, first(index))?);
                }
                part(hub, 0, None)?
            }
            (Some(Shape::FanOut(_)), Some(Via::Shared)) => {
                let hub = part(ends.send(alone, of), 0, plan.plant)?;
                for _ in 0..of {
                    peers.push(part(ends.receive(Receiving::Share), 0, None)?);
                }
                hub
            }
            (Some(Shape::Broadcast(_)), _) => {
                let hub = part(ends.send(alone, 0), 0, plan.plant)?;
                for _ in 0..of {
                    peers.push(part(ends.receive(Receiving::Every), 0, None)?);
                }
                hub
            }
            (Some(Shape::FanOut(_)), _) => {
                let hub = part(Some(ends.deal()), 0, plan.plant)?;
                for index in 0..of {
                    peers.push(part(ends.receive(Receiving::All), index, None)?);
                }
                hub
            }
        };
        Ok(Self { hub, peers, via })
    }
}

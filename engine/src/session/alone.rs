//! One party that does both halves: the controls.

use super::books::{Clerk, Witness};
use super::{Measured, Windows, no_open_loop, pack_of, take_place, whole};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::load::LoadPoint;
use crate::measure::{Histogram, floor};
use crate::plan::{Plan, Workload};
use crate::sys::clock;
use crate::workload::Load;
use crate::workload::batched::Pack;
use crate::workload::half::{Solo, Whole};
use crate::workload::offered::Schedule;

/// One party that does both halves.
pub struct Alone {
    sides: Box<dyn Whole>,
    load: Load,
    workload: Workload,
    pack: Option<Pack>,
    witness: Witness,
}

impl Alone {
    /// Takes both sides.
    ///
    /// # Errors
    /// When the party cannot be pinned.
    pub fn begin(mut sides: Box<dyn Whole>, plan: &Plan, cpu: Option<usize>) -> Result<Self> {
        take_place(cpu)?;
        sides.attach().context(Phase::Start, "cannot attach")?;
        let (load, pack) = (Load::new(plan), pack_of(plan));
        Ok(Self { sides, load, workload: plan.workload, pack, witness: Witness::default() })
    }

    /// Lets go of the transport and returns how long that took, ns.
    pub fn end(self) -> u64 {
        let start = clock::now();
        drop(self.sides);
        clock::now() - start
    }
}

impl Windows for Alone {
    fn messages(&mut self, n: u64, histogram: Option<&mut Histogram>) -> Result<Measured> {
        let n = whole(n, self.pack);
        let what = match (self.load.due(n), self.pack, self.workload) {
            (Some(_), ..) => Solo::Planted,
            (_, Some(pack), _) => Solo::Packed(pack),
            (_, _, Workload::PingPong) => Solo::PingPong(histogram),
            _ => Solo::Stream,
        };
        let clerk = Clerk::open(&self.load, &self.witness);
        let start = clock::now();
        let result = self.sides.alone(&mut self.load, n, what);
        let end = clock::now();
        result.map_err(|fault| Error::invalid(format!("the control received a wrong message: {fault}")))?;
        Ok(Measured {
            messages: n,
            elapsed_ns: (end - start).max(1),
            books: vec![clerk.close(&self.load, end)],
            shares: vec![],
        })
    }

    fn offer(&mut self, _: &Schedule) -> Result<(Measured, LoadPoint)> {
        Err(no_open_loop())
    }

    fn floor(&mut self, _: floor::Kind) -> Result<Option<f64>> {
        Ok(None)
    }
}

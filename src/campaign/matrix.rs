//! Which cells a campaign consists of.
//!
//! Key decision: a profile is a list of *classes* (workload, size, wait, placement); every mechanism that can be in a class
//! is, because only rows of one class are comparable. Options narrow or replace one dimension at a time. What was asked
//! for by name and cannot be done is kept as an `unsupported` row with its reason; what a profile merely includes by
//! default and this machine lacks is replaced (no second CPU) or left out.

use crate::cell::{Outcome, admit};
use crate::error::{Error, Result};
use crate::plan::{Offered, Pages, Parties, Placement, Plan, RunId, Several, Touch, Wait, Workload};
use crate::sys::map;
use crate::transport::ring::POOL_HINT;
use crate::transport::{ALL, Family, Runner, ShmRing, Transport, find};
use std::collections::HashSet;
use std::path::PathBuf;

/// How thorough a campaign is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Six rounds of five classes: the answer within 90 s.
    Quick,
    /// Twenty rounds of all waits and four sizes, and up to forty of headline rows with wide intervals.
    Full,
}

/// What the options ask for; an empty list leaves the choice to the profile.
#[derive(Debug, Clone)]
pub struct Request {
    /// Quick or full.
    pub profile: Profile,
    /// Names, or `all`.
    pub mechanisms: Vec<String>,
    /// Workloads.
    pub workloads: Vec<Workload>,
    /// The rates of cells with an offered load, each a class of its own.
    pub offered: Vec<Offered>,
    /// What cells have several of, each where its workload can.
    pub several: Several,
    /// Bytes per message.
    pub sizes: Vec<usize>,
    /// Waits.
    pub waits: Vec<Wait>,
    /// Parties.
    pub parties: Vec<Parties>,
    /// Placements.
    pub placements: Vec<Placement>,
    /// Whole payload or header.
    pub touch: Touch,
    /// Whether TCP connections may hold small messages back.
    pub nagle: bool,
    /// Where files go.
    pub dir: Option<PathBuf>,
    /// Pages of the ring.
    pub pages: Pages,
}

/// The cells to run, and those that were asked for and cannot be.
#[derive(Debug, Default)]
pub struct Matrix {
    /// Cells, without span and position.
    pub cells: Vec<Plan>,
    /// Cells that are impossible here, with the reason.
    pub unsupported: Vec<Outcome>,
}

type Class = (Workload, usize, Wait, Placement);

const QUICK: &[Class] = &[
    (Workload::PingPong, 64, Wait::Block, Placement::SameCpu),
    (Workload::PingPong, 64, Wait::Block, Placement::CrossCpu),
    (Workload::PingPong, 64, Wait::Spin, Placement::CrossCpu),
    (Workload::Stream, 64, Wait::Block, Placement::CrossCpu),
    (Workload::Stream, 64 << 10, Wait::Block, Placement::CrossCpu),
];

/// The mechanisms of a profile when none is named: one or two of every kind, so that it ends in time.
const USUAL_MECHANISMS: &[&str] = &[
    "pipe",
    "file",
    "mmap-file",
    "unix-stream",
    "local-socket",
    "shm-ring",
    "shm-slot",
    "posix-shm",
    "heap-ring",
    "mutex-queue",
    "null",
    "copy",
];

/// Mechanisms whose thread twins the quick profile includes: one per family.
const QUICK_TWINS: &[&str] = &["pipe", "unix-stream", "shm-ring"];

fn full() -> Vec<Class> {
    let mut classes = Vec::new();
    let hybrid = Wait::Hybrid(Wait::HYBRID_LOOKS);
    for workload in [Workload::PingPong, Workload::Stream] {
        for size in [64, 4 << 10, 64 << 10, 1 << 20] {
            classes.push((workload, size, Wait::Block, Placement::SameCpu));
            for wait in [Wait::Block, hybrid, Wait::Yield, Wait::Spin] {
                classes.push((workload, size, wait, Placement::CrossCpu));
            }
        }
    }
    classes
}

impl Request {
    /// The matrix on a machine where these CPUs are allowed.
    ///
    /// # Errors
    /// A usage error for a mechanism that does not exist.
    pub fn matrix(&self, allowed_cpus: usize) -> Result<Matrix> {
        let runners = self.runners()?;
        let mut matrix = Matrix::default();
        let mut seen = HashSet::new();
        // Asked once, and before the first launch: a mechanism that this kernel does not have would fail in every round.
        let unusable: Vec<Option<Error>> = runners.iter().map(|runner| runner.usable().err()).collect();
        for class in self.classes(allowed_cpus) {
            for (runner, unusable) in runners.iter().zip(&unusable) {
                for plan in self.plans(*runner, class) {
                    if seen.insert(plan.cell_key()) {
                        match (unusable, admit(&plan, runner.spec(), &runner.bound())) {
                            (None, Ok(_)) => matrix.cells.push(plan),
                            (Some(error), _) => matrix.unsupported.push(Outcome::from_error(&plan, error)),
                            (None, Err(error)) => matrix.unsupported.push(Outcome::from_error(&plan, &error)),
                        }
                    }
                }
            }
        }
        Ok(matrix)
    }

    /// Refuses a choice of pages for mechanisms that have none, and of huge ones where there are none: a campaign of
    /// refusals helps nobody.
    ///
    /// # Errors
    /// A usage error that names the mechanism to ask for; `unsupported` without a free huge page.
    pub fn require_pages(&self) -> Result<()> {
        let ring = ShmRing::SPEC.name;
        let chooses = |runner: &&dyn Runner| runner.spec().name == ring || runner.spec().family == Family::Control;
        if !self.pages.are_usual() && !self.runners()?.iter().all(chooses) {
            return Err(
                Error::usage(format!("only {ring} can choose its pages")).hint(format!("add --mechanism {ring}"))
            );
        }
        if self.pages.huge && map::huge_pages().is_none_or(|(_, free)| free == 0) {
            return Err(Error::unsupported("no huge page is free").hint(POOL_HINT));
        }
        Ok(())
    }

    fn runners(&self) -> Result<Vec<&'static dyn Runner>> {
        if self.mechanisms.is_empty() {
            let mut runners = USUAL_MECHANISMS.iter().map(|name| find(name)).collect::<Result<Vec<_>>>()?;
            // What none of the usual ones can do is done by those that can.
            for pattern in self.workloads.iter().filter(|workload| workload.has_peers()) {
                let has = |runner: &&&dyn Runner| runner.spec().patterns.contains(pattern);
                if !runners.iter().any(|runner| has(&runner)) {
                    runners.extend(ALL.iter().filter(has));
                }
            }
            return Ok(runners);
        }
        if self.named("all") {
            return Ok(ALL.to_vec());
        }
        let mut runners = Vec::new();
        for name in &self.mechanisms {
            runners.push(find(name)?);
        }
        // The controls belong in every table.
        for name in ["null", "copy"] {
            if !self.mechanisms.iter().any(|asked| asked == name) {
                runners.push(find(name)?);
            }
        }
        Ok(runners)
    }

    fn classes(&self, allowed_cpus: usize) -> Vec<Class> {
        let profile = match self.profile {
            Profile::Quick => QUICK.to_vec(),
            Profile::Full => full(),
        };
        let mut classes = Vec::new();
        for (workload, size, wait, mut placement) in profile {
            if allowed_cpus < 2 && self.placements.is_empty() {
                if wait == Wait::Spin && self.waits.is_empty() {
                    continue;
                }
                placement = Placement::SameCpu;
            }
            for workload in either(&self.workloads, workload) {
                for size in either(&self.sizes, size) {
                    for wait in either(&self.waits, wait) {
                        for placement in either(&self.placements, placement) {
                            // Replacing the wait of a one-CPU class by `spin` asks for nonsense that nobody asked for.
                            let nonsense = wait == Wait::Spin && placement == Placement::SameCpu;
                            if nonsense && self.placements.is_empty() {
                                continue;
                            }
                            let several = self.several.of(workload);
                            let busy = Plan { workload, several, ..Plan::default() }.busy();
                            if wait == Wait::Spin && self.waits.is_empty() && busy > allowed_cpus.max(2) {
                                continue;
                            }
                            let class = (workload, size, wait, placement);
                            if !classes.contains(&class) {
                                classes.push(class);
                            }
                        }
                    }
                }
            }
        }
        classes
    }

    fn plans(&self, runner: &dyn Runner, (workload, size, wait, placement): Class) -> Vec<Plan> {
        let spec = runner.spec();
        let solo = spec.parties.contains(&Parties::Solo);
        let open = workload == Workload::OfferedLoad;
        let several = self.several.of(workload);
        let one_party_can = !open && several.outstanding.is_none() && several.peers.is_none();
        let lacks = workload.has_peers() && !spec.patterns.contains(&workload);
        if (lacks || solo && !one_party_can) && !self.named(spec.name) {
            return vec![];
        }
        let wanted: Vec<Parties> = if solo {
            vec![Parties::Solo]
        } else if !self.parties.is_empty() {
            self.parties.clone()
        } else if self.profile == Profile::Full || self.named(spec.name) || QUICK_TWINS.contains(&spec.name) {
            spec.parties.to_vec()
        } else {
            vec![spec.parties[0]]
        };
        let fits = |p: &Parties| spec.parties.contains(p) || (self.named(spec.name) && self.parties.len() == 1);
        let loads: Vec<Option<Offered>> =
            if open { self.offered.iter().copied().map(Some).collect() } else { vec![None] };
        let plan = |parties, offered| Plan {
            mechanism: spec.name.into(),
            workload,
            offered,
            several,
            size,
            wait,
            parties,
            touch: self.touch,
            nagle: self.nagle,
            placement,
            dir: self.dir.clone(),
            pages: self.pages,
            ..Plan::default()
        };
        let wanted: Vec<Parties> = wanted.into_iter().filter(fits).collect();
        loads
            .into_iter()
            .flat_map(|load| wanted.iter().map(move |parties| (*parties, load)))
            .map(|(parties, load)| plan(parties, load))
            .collect()
    }

    fn named(&self, name: &str) -> bool {
        self.mechanisms.iter().any(|asked| asked == name)
    }
}

fn either<T: Copy>(asked: &[T], default: T) -> Vec<T> {
    if asked.is_empty() { vec![default] } else { asked.to_vec() }
}

/// Label of the second half of the null pair.
pub const NULL_LABEL: &str = "again";
/// Label of the cell with a planted delay.
pub const DELAY_LABEL: &str = "delayed";
/// The planted delay, ns.
pub const DELAY_NS: u64 = 1000;

/// Adds what every campaign carries: in each class one cell a second time under another label, whose ratio to the first
/// is the class's noise floor; and once a cell with a known delay, which must be found again.
pub fn add_controls(cells: &mut Vec<Plan>) {
    let two_parties = |plan: &&Plan| plan.parties != Parties::Solo;
    let labelled = |subject: &Plan, label: &str, delay_ns| Plan {
        delay_ns,
        run: RunId { label: Some(label.into()), ..RunId::default() },
        ..subject.clone()
    };
    let mut classes = HashSet::new();
    let class = |p: &Plan| (p.workload, p.size, p.wait, p.placement);
    // The time per message of an offered load is the rate's, whoever carried it: against itself it would show no noise.
    let timed = |plan: &&Plan| two_parties(plan) && plan.workload != Workload::OfferedLoad;
    let subjects: Vec<_> = cells.iter().filter(timed).filter(|p| classes.insert(class(p))).cloned().collect();
    let repeated: Vec<_> = subjects.iter().map(|subject| labelled(subject, NULL_LABEL, 0)).collect();
    // In the fastest class, a microsecond is visible after few rounds.
    let ping_pong = |plan: &&Plan| plan.workload == Workload::PingPong && plan.parties != Parties::Solo;
    let fastest = |plan: &&Plan| plan.wait == Wait::Spin && plan.mechanism.starts_with("shm");
    let mut candidates = cells.iter().filter(ping_pong);
    let subject = candidates.clone().find(fastest).or_else(|| candidates.next());
    let delayed = subject.map(|subject| labelled(subject, DELAY_LABEL, DELAY_NS));
    cells.extend(repeated);
    cells.extend(delayed);
}

/// Refuses a campaign in which nothing can run.
///
/// # Errors
/// The first reason for which nothing can.
pub fn require_cells(matrix: &Matrix) -> Result<()> {
    let real = |plan: &Plan| plan.parties != Parties::Solo;
    if matrix.cells.iter().any(real) || (matrix.unsupported.is_empty() && !matrix.cells.is_empty()) {
        return Ok(());
    }
    let reason = matrix.unsupported.first().and_then(|o| o.reason.clone());
    Err(nothing_can_run(&reason.unwrap_or_default()))
}

/// What is said to somebody who asked for nothing that can run.
pub fn nothing_can_run(reason: &str) -> Error {
    let what = "nothing of what was asked for can run here";
    Error::usage(what).because(reason).hint("`ipcost list` says what each mechanism connects and which waits it has")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> Request {
        Request {
            profile: Profile::Quick,
            mechanisms: vec![],
            workloads: vec![],
            offered: vec![],
            several: Several::default(),
            sizes: vec![],
            waits: vec![],
            parties: vec![],
            placements: vec![],
            touch: Touch::Whole,
            nagle: false,
            dir: None,
            pages: Pages::default(),
        }
    }

    #[test]
    fn one_cpu_has_no_class_that_needs_two() {
        let classes = quick().classes(1);
        assert!(!classes.is_empty());
        assert!(classes.iter().all(|(_, _, wait, place)| *wait != Wait::Spin && *place == Placement::SameCpu));
    }

    #[test]
    fn a_size_replaces_the_profiles_sizes_and_no_cell_comes_twice() {
        let request = Request { sizes: vec![4096], ..quick() };
        let matrix = request.matrix(2).unwrap();
        assert!(matrix.cells.iter().all(|plan| plan.size == 4096));
        let keys: HashSet<_> = matrix.cells.iter().map(Plan::cell_key).collect();
        assert_eq!(keys.len(), matrix.cells.len());
    }

    #[test]
    fn controls_are_in_every_campaign() {
        let request = Request { mechanisms: vec!["pipe".into()], ..quick() };
        let mut cells = request.matrix(2).unwrap().cells;
        add_controls(&mut cells);
        for wanted in ["null", "copy"] {
            assert!(cells.iter().any(|plan| plan.mechanism == wanted), "{wanted} is missing");
        }
        let labelled = |label| cells.iter().filter(|p| p.run.label.as_deref() == Some(label)).count();
        assert_eq!(labelled(NULL_LABEL), QUICK.len(), "one null pair per class");
        assert_eq!(labelled(DELAY_LABEL), 1);
    }

    #[test]
    fn an_offered_load_leaves_the_controls_out_unless_they_are_asked_for() {
        let load = |rate| Offered { rate: Some(rate), ..Offered::default() };
        let request = |names: &[&str]| Request {
            mechanisms: names.iter().map(ToString::to_string).collect(),
            workloads: vec![Workload::OfferedLoad],
            offered: vec![load(1000)],
            ..quick()
        };
        let mut matrix = request(&["pipe"]).matrix(2).unwrap();
        assert!(matrix.cells.iter().all(|plan| plan.mechanism == "pipe" && plan.offered == Some(load(1000))));
        assert!(!matrix.cells.is_empty() && matrix.unsupported.is_empty());
        let cells = matrix.cells.len();
        add_controls(&mut matrix.cells);
        assert_eq!(matrix.cells.len(), cells, "a rate against itself says nothing");
        let rates = [1000, 5000, 9000, 5000].map(load).to_vec();
        let several = Request { offered: rates, ..request(&["pipe"]) }.matrix(2).unwrap().cells;
        assert_eq!(several.len(), 3 * cells, "each rate is a class of its own, and comes once");
        assert_eq!(several.iter().filter(|plan| plan.offered == Some(load(9000))).count(), cells);
        let asked = request(&["pipe", "null"]).matrix(2).unwrap().unsupported;
        assert!(!asked.is_empty() && asked.iter().all(|o| o.reason.as_deref().unwrap().contains("one party")));
    }

    #[test]
    fn pages_can_be_chosen_for_the_ring_and_nothing_else() {
        let request = |names: &[&str]| Request {
            mechanisms: names.iter().map(ToString::to_string).collect(),
            pages: Pages { populate: true, ..Pages::default() },
            ..quick()
        };
        for others in [&[][..], &["pipe"], &["shm-ring", "mmap-file"], &["all"]] {
            assert_eq!(request(others).require_pages().unwrap_err().exit_code(), 2, "{others:?}");
        }
        let asked = request(&["shm-ring"]);
        asked.require_pages().unwrap();
        let matrix = asked.matrix(2).unwrap();
        let usual: HashSet<_> =
            Request { pages: Pages::default(), ..asked }.matrix(2).unwrap().cells.iter().map(Plan::cell_key).collect();
        assert!(matrix.unsupported.is_empty() && !matrix.cells.is_empty());
        assert!(matrix.cells.iter().all(|plan| plan.pages.populate && !usual.contains(&plan.cell_key())));
    }

    #[test]
    fn each_workload_takes_what_it_can_have_several_of_and_one_party_has_no_window() {
        let several = Several { outstanding: Some(8), batch: Some(4), peers: None };
        let cells = Request { mechanisms: vec!["pipe".into()], several, ..quick() }.matrix(2).unwrap().cells;
        for cell in &cells {
            let stream = cell.workload == Workload::Stream;
            assert_eq!(cell.several.batch, stream.then_some(4), "{cell:?}");
            assert_eq!(cell.several.outstanding, (!stream).then_some(8), "{cell:?}");
            assert!(stream || cell.mechanism == "pipe", "{cell:?}");
        }
        assert!(cells.iter().any(|cell| cell.mechanism == "null"), "batches have their controls");
    }

    #[test]
    fn a_pattern_has_no_controls_and_no_class_whose_parties_would_spin_in_each_others_way() {
        let several = Several { peers: Some(3), ..Several::default() };
        let mechanisms = vec!["pipe".into(), "shm-ring".into()];
        let request = Request { mechanisms, workloads: vec![Workload::FanIn], several, ..quick() };
        let waits = |cpus| {
            let matrix = request.matrix(cpus).unwrap();
            assert!(matrix.cells.iter().all(|cell| cell.peers() == 3 && cell.parties != Parties::Solo));
            request.classes(cpus).iter().filter(|class| class.2 == Wait::Spin).count()
        };
        assert_eq!((waits(2), waits(3), waits(4)), (0, 0, 1));
        let spin = Request { waits: vec![Wait::Spin], ..request.clone() };
        assert!(
            spin.classes(2).iter().any(|class| class.2 == Wait::Spin),
            "what was asked for is refused with a reason"
        );
    }

    #[test]
    fn an_unknown_mechanism_is_a_usage_error() {
        let request = Request { mechanisms: vec!["nope".into()], ..quick() };
        assert_eq!(request.matrix(2).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn what_was_asked_for_and_cannot_be_is_kept_with_its_reason() {
        let request = Request { mechanisms: vec!["heap-ring".into()], parties: vec![Parties::Process], ..quick() };
        let matrix = request.matrix(2).unwrap();
        assert!(matrix.unsupported.iter().all(|o| o.reason.as_deref().is_some_and(|r| r.contains("heap-ring"))));
        assert!(require_cells(&matrix).is_err());
    }
}

//! What happened around a run that only an onlooker sees: stolen time, other programs, and the harness itself.
//!
//! Key decision: the orchestrator looks before it launches a cell and after it has collected it, never while it runs.
//! What others took *flags* the run, because the machine is to blame and a second summary can leave the run out; what
//! the harness itself took makes it *invalid* when it is much, because then the instrument measured itself. Rejected: sampling during
//! the run (a sampler is a third program on two CPUs). Source: proc(5), getrusage(2).

use crate::cell::{Disturbance, Outcome, Status};
use crate::machine::SWAPPED_IN;
use crate::sys::{clock, usage};

/// CPU of the harness while a cell runs, as a share of that time, from which on the run is flagged, and from which on it
/// is not believed; and how much it may take in any case, since a run of a few milliseconds is shorter than what starting
/// and reading it costs. The harness sleeps meanwhile and takes 0.05 %. One run in two thousand was charged 1.5 % on a
/// virtual machine whose CPUs were wanted elsewhere: that is no fault of the run.
const HARNESS_FLAGGED: f64 = 0.01;
const HARNESS_INVALID: f64 = 0.05;
const HARNESS_FREE_NS: u64 = 1_000_000;
/// Foreign CPU time that flags a run: as a share of its length, for each two CPUs that it could use (two parties are on
/// two of them at most), and at least this much, since the kernel counts in ticks.
const FOREIGN: (f64, u64) = (0.10, 30_000_000);

/// Counters before a run.
#[derive(Debug)]
pub struct Surroundings {
    cpus: Vec<usize>,
    busy: Option<u64>,
    steal: Option<u64>,
    ours: u64,
}

impl Surroundings {
    /// Looks before something happens on these CPUs.
    pub fn look(cpus: Vec<usize>) -> Self {
        let (busy, steal) = read(&cpus);
        Self { cpus, busy, steal, ours: usage::of_family() }
    }

    /// Looks again after the cell was collected. `harness` is its CPU time and the wall time while it
    /// waited for the result, ns.
    pub fn since(&self, (harness_cpu_ns, wall_ns): (u64, u64)) -> Disturbance {
        let (busy, steal) = read(&self.cpus);
        let grown = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        let ours = usage::of_family().saturating_sub(self.ours);
        Disturbance {
            steal_ns: grown(steal, self.steal),
            foreign_cpu_ns: grown(busy, self.busy).map(|busy| busy.saturating_sub(ours)),
            harness_cpu_ns,
            wall_ns,
            cpus: self.cpus.len(),
        }
    }
}

/// Busy and stolen time of these CPUs, ns.
fn read(cpus: &[usize]) -> (Option<u64>, Option<u64>) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    parse(&text, cpus)
}

fn parse(text: &str, cpus: &[usize]) -> (Option<u64>, Option<u64>) {
    let (mut busy, mut steal) = (None, None);
    for line in text.lines().take_while(|line| line.starts_with("cpu")) {
        let mut words = line.split_whitespace();
        let number = words.next().and_then(|name| name[3..].parse::<usize>().ok());
        if !number.is_some_and(|number| cpus.contains(&number)) {
            continue;
        }
        // user nice system idle iowait irq softirq steal; the time of guests is part of user.
        let ticks: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, _, _, irq, softirq, stolen, ..] = ticks[..] else { continue };
        let ns = clock::tick_ns();
        *steal.get_or_insert(0) += stolen * ns;
        *busy.get_or_insert(0) += (user + nice + system + irq + softirq) * ns;
    }
    (busy, steal)
}

/// Flags for what others took.
pub fn foreign(seen: &Disturbance) -> Vec<String> {
    let (mut flags, wall) = (Vec::new(), seen.wall_ns as f64);
    if seen.steal_ns.is_some_and(|ns| ns > 0) {
        flags.push("steal".into());
    }
    let pairs = seen.cpus.div_ceil(2).max(1) as f64;
    if seen.foreign_cpu_ns.is_some_and(|ns| ns > FOREIGN.1 && ns as f64 > FOREIGN.0 * wall * pairs) {
        flags.push("foreign-cpu".into());
    }
    flags
}

/// Enters what was seen into the outcome: flags, or the end of its being believed.
pub fn enter(outcome: &mut Outcome, seen: Disturbance) {
    let wall = seen.wall_ns as f64;
    outcome.flags.extend(foreign(&seen));
    let harness = seen.harness_cpu_ns as f64 / wall.max(1.0);
    if seen.harness_cpu_ns > HARNESS_FREE_NS && harness > HARNESS_FLAGGED {
        outcome.flags.push("harness-cpu".into());
        let own = own_cpu_ns(&seen) as f64 / wall.max(1.0);
        if own > HARNESS_INVALID {
            distrust(outcome, format!("the harness took {:.0} % of a CPU while the cell ran", 100.0 * own));
        }
    }
    outcome.disturbance = Some(seen);
}

/// What the harness surely used itself. A CPU that the hypervisor takes away goes on being charged to whoever ran on it, so
/// time that was stolen may be among the harness's; it is told in ticks, and up to one more may be missing from it.
fn own_cpu_ns(seen: &Disturbance) -> u64 {
    match seen.steal_ns {
        Some(stolen) if stolen > 0 => seen.harness_cpu_ns.saturating_sub(stolen + clock::tick_ns()),
        _ => seen.harness_cpu_ns,
    }
}

/// Enters a change of the machine. Another clock source or other CPUs end the belief in the run. Pages that come back
/// from swap are other programs' more often than the parties' own, whose major faults are counted: they flag it.
pub fn changed(outcome: &mut Outcome, change: &str) {
    if change.starts_with(SWAPPED_IN) {
        outcome.flags.push("swap".into());
    } else {
        distrust(outcome, format!("the machine changed during the run: {change}"));
    }
}

/// Makes a run that was believed so far invalid.
fn distrust(outcome: &mut Outcome, reason: String) {
    if outcome.status == Status::Ok {
        outcome.status = Status::Invalid;
        outcome.invalid = Some(reason.clone());
        outcome.reason = Some(reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    const STAT: &str =
        "cpu  100 1 50 9000 7 3 2 40 5 0\ncpu0 60 1 20 4500 3 1 1 20 5 0\ncpu1 40 0 30 4500 4 2 1 20 0 0\nintr 1";

    #[test]
    fn busy_and_stolen_time_are_those_of_the_runs_cpus() {
        let ns = clock::tick_ns();
        assert_eq!(parse(STAT, &[1, 1]), (Some(73 * ns), Some(20 * ns)));
        assert_eq!(parse(STAT, &[0, 1]), (Some(156 * ns), Some(40 * ns)));
        assert_eq!(parse(STAT, &[10]), (None, None));
        assert_eq!(parse("", &[0]), (None, None));
    }

    fn entered(seen: Disturbance) -> Outcome {
        let mut outcome = Outcome::empty(&Plan::default(), Status::Ok);
        enter(&mut outcome, seen);
        outcome
    }

    const QUIET: Disturbance = Disturbance {
        steal_ns: Some(0),
        foreign_cpu_ns: Some(20_000_000),
        harness_cpu_ns: 500_000,
        wall_ns: 100_000_000,
        cpus: 2,
    };

    #[test]
    fn others_flag_a_run_and_the_harness_makes_it_invalid() {
        let quiet = entered(QUIET);
        assert_eq!((quiet.status, quiet.flags.len()), (Status::Ok, 0));
        let stolen = entered(Disturbance { steal_ns: Some(10_000_000), foreign_cpu_ns: Some(50_000_000), ..QUIET });
        assert_eq!((stolen.status, &stolen.flags[..]), (Status::Ok, &["steal".to_string(), "foreign-cpu".into()][..]));
        let among_many = entered(Disturbance { foreign_cpu_ns: Some(50_000_000), cpus: 16, ..QUIET });
        assert_eq!(among_many.flags.len(), 0);
        let busy = entered(Disturbance { harness_cpu_ns: 2_000_000, ..QUIET });
        assert_eq!((busy.status, &busy.flags[..]), (Status::Ok, &["harness-cpu".to_string()][..]));
        let worse = entered(Disturbance { harness_cpu_ns: 6_000_000, ..QUIET });
        assert!(worse.invalid.is_some_and(|why| why.contains("6 %")));
        // As was seen: the hypervisor took a tick while the launcher was on the CPU.
        let charged = Disturbance { harness_cpu_ns: 10_005_235, wall_ns: 149_537_292, ..QUIET };
        assert_eq!(entered(charged).status, Status::Invalid);
        let taken = entered(Disturbance { steal_ns: Some(10_000_000), ..charged });
        assert_eq!((taken.status, taken.flags.last()), (Status::Ok, Some(&"harness-cpu".to_string())));
        let both = Disturbance { steal_ns: Some(10_000_000), harness_cpu_ns: 30_000_000, ..charged };
        assert_eq!(entered(both).status, Status::Invalid);
        let mut switched = entered(QUIET);
        changed(&mut switched, "pages swapped in: 7 became 8");
        assert_eq!((switched.status, &switched.flags[..]), (Status::Ok, &["swap".to_string()][..]));
        changed(&mut switched, "clock source: tsc became hpet");
        assert!(switched.invalid.is_some_and(|why| why.contains("hpet")));
        // A run that is over in a moment is not charged for its own launch.
        assert_eq!(entered(Disturbance { wall_ns: 1_000_000, ..QUIET }).status, Status::Ok);
    }
}

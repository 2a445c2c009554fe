//! Who decides how many messages a run carries: the measuring conductor, and those that serve a bench and a tracer.

use crate::cell::{Conductor, Numbers, Outcome};
use crate::error::{Context, Error, Phase, Result};
use crate::measure::{Histogram, floor};
use crate::plan::{Parties, Plan, Span, Workload};
use crate::session::{Measured, Windows};
use crate::shm::stamps;
use crate::sys::clock;
use crate::transport;
use crate::workload::offered::Schedule;
use std::io::{BufRead, Write};

/// Fewest messages between the two clock readings of a batch window, unless they would take longer than [`LONG_NS`].
const FEWEST: u64 = 1000;
/// A batch window of this length needs no more messages: two clock readings are less than a millionth of it.
const LONG_NS: u64 = 100_000_000;
/// Two successive warm-up windows that differ by less than this are steady.
const STEADY: f64 = 0.05;
/// Fewest messages for each peer of a pattern in a warm-up window that is compared with its predecessor.
const FEWEST_EACH: u64 = 100;
/// Shortest warm-up window that is compared with its predecessor, ns.
const WARM_WINDOW_NS: f64 = 1_000_000.0;

/// One run of what `plan` names, between parties of its own, with the windows that every row of a table has.
///
/// ```
/// use ipcost_engine::{conduct, plan::Span, transport};
///
/// let plan = transport::find("heap-ring")?.spec().plan();
/// let run = conduct::measure(&ipcost_engine::plan::Plan { span: Span::Messages(1000), ..plan })?;
/// assert_eq!(run.messages, 1000);
/// # Ok::<(), ipcost_engine::Error>(())
/// ```
///
/// # Errors
/// As [`cell::run`](crate::cell::run): a plan with processes needs a program that has one thread, because it forks. A usage
/// error when nothing has the mechanism's name. A run that was measured and is not believed is no error:
/// [`Outcome::status`] says so.
pub fn measure(plan: &Plan) -> Result<Outcome> {
    transport::find(&plan.mechanism)?.run(plan, &mut Measure)
}

/// Measures: cold first message, warm-up, floor, batch, stamped (or the load points), floor.
#[derive(Debug, Default)]
pub struct Measure;

impl Conductor for Measure {
    fn conduct(&mut self, plan: &Plan, two_cpus: bool, windows: &mut dyn Windows) -> Result<Numbers> {
        let start = clock::now();
        let mut numbers = Numbers::default();
        let at = |phase: Phase| move |error: Error| error.during(phase);
        let first = windows.messages(1, None).map_err(at(Phase::WarmUp))?;
        numbers.first_ns = first.elapsed_ns;
        let total_ns = match plan.span {
            Span::Millis(ms) => ms * 1_000_000,
            Span::Messages(_) => 400_000_000,
        };
        let warm = warm_up(plan, windows, total_ns / 4, &mut numbers.flags).map_err(at(Phase::WarmUp))?;
        numbers.warm_up = warm.messages + first.messages;
        probe(plan, two_cpus, windows, &mut numbers)?;
        if plan.workload == Workload::OfferedLoad {
            let left_ns = total_ns.saturating_sub(clock::now() - start);
            open_loop(plan, left_ns, warm.per_message_ns, windows, &mut numbers)?;
            probe(plan, two_cpus, windows, &mut numbers)?;
            return Ok(numbers);
        }
        let stamps = plan.workload == Workload::PingPong;
        let (batch, stamped) = match plan.span {
            Span::Messages(n) => (n, n),
            Span::Millis(_) => {
                let left = total_ns.saturating_sub(clock::now() - start) as f64;
                let fit = |share: f64| (left * share / warm.per_message_ns) as u64;
                let fewest = FEWEST.min((LONG_NS as f64 / warm.per_message_ns) as u64).max(2);
                let share = if stamps { 0.55 } else { 0.9 };
                (fit(share).max(fewest), fit(0.35).max(fewest.min(FEWEST)))
            }
        };
        if batch < FEWEST && (batch as f64 * warm.per_message_ns) < LONG_NS as f64 {
            numbers.flags.push("few-messages".into());
        }
        numbers.batch = windows.messages(batch, None)?;
        if stamps {
            let mut histogram = Histogram::default();
            windows.messages(stamped, Some(&mut histogram))?;
            numbers.histogram = Some(histogram);
        }
        probe(plan, two_cpus, windows, &mut numbers)?;
        Ok(numbers)
    }
}

/// A sweep goes from this many tenths of the saturation...
const FIRST_TENTH: u32 = 1;
/// ...to this many: beyond what was found, which is one window's figure and may be a little low.
const LAST_TENTH: u32 = 11;
/// Share of the time left that windows may plan for; the rest is for a rate that turns out too high.
const PLANNED: f64 = 0.9;

/// The windows of an offered load: the rate that was asked for, or one that finds the saturation and then shares of it in
/// random order, so that a machine that grows slower does not bend the curve.
fn open_loop(
    plan: &Plan,
    left_ns: u64,
    per_message_ns: f64,
    windows: &mut dyn Windows,
    numbers: &mut Numbers,
) -> Result<()> {
    let offered = plan.offered.unwrap_or_default();
    // Rows of one round are offered the same arrivals, and the next round others.
    let seed = plan.run.seed ^ u64::from(plan.run.round + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let left_ns = PLANNED * left_ns as f64;
    if let Some(rate) = offered.rate {
        let n = in_window(plan.span, left_ns, rate as f64, 1e9 / per_message_ns);
        let schedule = Schedule::new(rate as f64, offered.arrivals, seed, n);
        numbers.batch = point(&schedule, None, windows, numbers)?;
        if numbers.load.iter().any(|point| !point.reached) {
            numbers.flags.push("rate-not-reached".into());
        }
        return Ok(());
    }
    let each_ns = left_ns / f64::from(LAST_TENTH - FIRST_TENTH + 2);
    let n = in_window(plan.span, each_ns, 1e9 / per_message_ns, f64::INFINITY);
    (numbers.batch, _) = windows.offer(&Schedule::at_once(n))?;
    let saturation = 1e9 / numbers.batch.per_message_ns();
    let mut tenths: Vec<u32> = (FIRST_TENTH..=LAST_TENTH).collect();
    fastrand::Rng::with_seed(seed).shuffle(&mut tenths);
    for tenth in tenths {
        let share = f64::from(tenth) / 10.0;
        let n = in_window(plan.span, each_ns, share * saturation, saturation);
        let schedule = Schedule::new(share * saturation, offered.arrivals, seed, n);
        point(&schedule, Some(share), windows, numbers)?;
    }
    numbers.load.sort_by(|a, b| a.offered_per_s.total_cmp(&b.offered_per_s));
    Ok(())
}

/// How many messages a window offers: those of its time, at the rate or at what the transport can carry if that is less,
/// so that a rate out of reach does not last for ever.
fn in_window(span: Span, window_ns: f64, rate: f64, capacity: f64) -> usize {
    match span {
        Span::Messages(n) => n as usize,
        Span::Millis(_) => ((window_ns * rate.min(capacity) / 1e9) as usize).clamp(1, stamps::MOST),
    }
}

/// One window, its point entered.
fn point(
    schedule: &Schedule,
    share: Option<f64>,
    windows: &mut dyn Windows,
    numbers: &mut Numbers,
) -> Result<Measured> {
    let (measured, mut point) = windows.offer(schedule)?;
    point.share = share;
    let mut doubt = |flag: &str| {
        if !numbers.flags.iter().any(|known| known == flag) {
            numbers.flags.push(flag.into());
        }
    };
    if point.early > 0 {
        doubt("clocks-disagree");
    }
    if point.messages < FEWEST && measured.elapsed_ns < LONG_NS {
        doubt("few-messages");
    }
    numbers.load.push(point);
    Ok(measured)
}

struct Warm {
    messages: u64,
    per_message_ns: f64,
}

/// Lengthens the window until it lasts long enough to be compared, then repeats it until two in a row agree.
fn warm_up(plan: &Plan, windows: &mut dyn Windows, limit_ns: u64, flags: &mut Vec<String>) -> Result<Warm> {
    let start = clock::now();
    // Until many parties on few CPUs have all started, a short window is nothing but their start.
    let fewest = FEWEST_EACH * plan.peers() as u64;
    let (mut n, mut messages, mut last) = (1, 0, f64::INFINITY);
    loop {
        let measured = windows.messages(n, None)?;
        messages += measured.messages;
        let per = measured.per_message_ns();
        let many = measured.messages >= fewest;
        let long = many && measured.elapsed_ns as f64 >= WARM_WINDOW_NS;
        if long && (per / last - 1.0).abs() < STEADY {
            return Ok(Warm { messages, per_message_ns: per });
        }
        if clock::now() - start > limit_ns {
            flags.push("warm-up-not-steady".into());
            return Ok(Warm { messages, per_message_ns: per });
        }
        if long {
            last = per;
        } else {
            // Towards the window's length, but at most tenfold: the first messages are cold and mislead.
            let wanted = if many { (1.5 * WARM_WINDOW_NS / per) as u64 } else { u64::MAX };
            n = wanted.clamp(n + 1, n * 10);
        }
    }
}

fn probe(plan: &Plan, two_cpus: bool, windows: &mut dyn Windows, numbers: &mut Numbers) -> Result<()> {
    if plan.parties == Parties::Solo {
        return Ok(());
    }
    let kind = floor::Kind::for_wait(plan.wait);
    if two_cpus {
        let patterns = [windows.floor(floor::Kind::Line)?, windows.floor(floor::Kind::Lines)?];
        numbers.line.extend(patterns.into_iter().flatten().min_by(f64::total_cmp));
    }
    match kind {
        floor::Kind::Line => numbers.handover.clone_from(&numbers.line),
        _ => numbers.handover.extend(windows.floor(kind)?),
    }
    Ok(())
}

/// Carries one message, then `n`, then `2n`, and nothing else: a run to be traced, not timed. What a window costs besides
/// its messages is the same in the last two and drops out of their difference.
#[derive(Debug)]
pub struct Traced(pub u64);

impl Conductor for Traced {
    fn conduct(&mut self, _: &Plan, _: bool, windows: &mut dyn Windows) -> Result<Numbers> {
        let first_ns = windows.messages(1, None)?.elapsed_ns;
        windows.messages(self.0, None)?;
        Ok(Numbers { first_ns, warm_up: 1 + self.0, batch: windows.messages(2 * self.0, None)?, ..Numbers::default() })
    }

    fn timed(&self) -> bool {
        false
    }
}

/// Serves a bench: prints `ready`, then for each line with a number carries that many messages and prints how many
/// nanoseconds it took, until its input ends.
#[derive(Debug, Default)]
pub struct Serve;

impl Conductor for Serve {
    fn conduct(&mut self, plan: &Plan, _: bool, windows: &mut dyn Windows) -> Result<Numbers> {
        let mut numbers = Numbers { first_ns: windows.messages(1, None)?.elapsed_ns, ..Numbers::default() };
        numbers.warm_up = warm_up(plan, windows, 300_000_000, &mut Vec::new())?.messages;
        let mut out = std::io::stdout();
        let mut say = |text: &str| {
            writeln!(out, "{text}").and_then(|()| out.flush()).context(Phase::Measure, "the bench does not listen")
        };
        say("ready")?;
        for line in std::io::stdin().lock().lines() {
            let line = line.context(Phase::Measure, "cannot read the bench's order")?;
            let n = line.trim().parse().map_err(|_| Error::usage(format!("{line:?} is no number of messages")))?;
            numbers.batch = windows.messages(n, None)?;
            say(&numbers.batch.elapsed_ns.to_string())?;
        }
        Ok(numbers)
    }
}

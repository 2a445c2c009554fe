//! One run, or one consumer's account, in words for a terminal.

use crate::cell::{CpuCost, Outcome, Status, Switches};
use crate::plan::{Via, Workload, show_size};
use crate::role::Heard;
use std::fmt::Write;

/// A duration with three digits and the unit that suits it.
pub fn nanos(ns: f64) -> String {
    scaled(ns, &[(1e9, "s"), (1e6, "ms"), (1e3, "us")], "ns")
}

/// Bytes in binary units.
pub fn bytes(count: f64) -> String {
    scaled(count, &[(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1024.0, "KiB")], "B")
}

/// Bytes per second, decimal units as throughput is stated.
pub fn bytes_per_s(rate: f64) -> String {
    scaled(rate, &[(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")], "B/s")
}

/// Messages per second.
pub fn per_second(rate: f64) -> String {
    scaled(rate, &[(1e9, "G/s"), (1e6, "M/s"), (1e3, "k/s")], "/s")
}

fn scaled(value: f64, steps: &[(f64, &str)], smallest: &str) -> String {
    let (value, unit) = match steps.iter().find(|(step, _)| value.abs() >= *step * 0.9995) {
        Some((step, unit)) => (value / step, *unit),
        None => (value, smallest),
    };
    format!("{} {unit}", digits(value))
}

/// Three significant digits, without an exponent.
pub fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.9995 || v == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A count of things that are named in the singular.
pub fn counted(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ if one.ends_with("ch") || one.ends_with('s') => format!("{count} {one}es"),
        _ => format!("{count} {one}s"),
    }
}

/// Words as a sentence has them: with commas, and "and" before the last.
pub fn enumerate(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).into(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The word for a status.
pub fn status(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Invalid => "INVALID",
        Status::Unsupported => "unsupported",
        Status::Failed => "failed",
        Status::Timeout => "timeout",
    }
}

/// One run as a person reads it.
pub fn run(o: &Outcome) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        // A label that is longer than the column has a space behind it all the same.
        let _ = writeln!(text, "{label:<15} {value}");
    };
    let nagle = if o.nagle { ", nagle," } else { "" };
    line("mechanism", format!("{}{nagle} between {}", o.mechanism, parties(o)));
    line("workload", format!("{}{}, {} a message, touching the {}", o.workload, o.several, show_size(o.size), o.touch));
    if !o.pages.are_usual() {
        line("memory", o.pages.to_string());
    }
    line("wait, place", format!("{}, {}{}", o.wait, o.placement.requested, cpus(o)));
    if let Some(rtt) = &o.rtt_ns {
        line("round trip", format!("{} mean of {} in one batch", nanos(rtt.mean), o.messages));
        let named = [("p50", rtt.p50), ("p90", rtt.p90), ("p99", rtt.p99), ("p99.9", rtt.p999), ("max", rtt.max)];
        let shown = named.iter().filter_map(|(name, ns)| Some(format!("{name} {}", nanos((*ns)? as f64))));
        line("percentiles", shown.collect::<Vec<_>>().join("   "));
    }
    let rated = o.workload.streams() || o.several.outstanding.is_some();
    if let Some(rate) = o.throughput.as_ref().filter(|_| rated) {
        line("throughput", format!("{}   {}", bytes_per_s(rate.bytes_per_s), per_second(rate.messages_per_s)));
    }
    if let Some(fairness) = o.fairness {
        line(
            "fairness",
            format!(
                "{}, shares {}{}",
                digits(fairness),
                listed(&o.shares),
                o.via.map_or("", |via| how(via, o.workload))
            ),
        );
    }
    if let Some(floor) = &o.floor
        && let Some(multiple) = floor.multiple
    {
        let pair: Vec<_> = floor.handover_rtt_ns.iter().map(|ns| nanos(*ns)).collect();
        let kind = match floor.kind {
            Some(crate::measure::floor::Kind::Line) => "cache line",
            Some(crate::measure::floor::Kind::Yield) => "sched_yield",
            _ => "futex",
        };
        line(
            "floor",
            format!("{} x the bare {kind} round trip ({})", digits(multiple), pair.join(" before, ") + " after"),
        );
    }
    if let Some(first) = o.first_message_ns {
        let setup = o.setup_ns.map(|ns| format!("; set-up {}", nanos(ns as f64))).unwrap_or_default();
        line("first message", format!("{}{setup}", nanos(first as f64)));
    }
    let cpu = |c: &CpuCost| format!("{} user + {} system", nanos(c.user), nanos(c.system));
    let sum = |a: CpuCost, b: CpuCost| CpuCost { user: a.user + b.user, system: a.system + b.system };
    line("CPU a message", each(&o.cpu_ns_per_message, cpu, sum));
    let switches = |s: &Switches| format!("{} voluntary + {} involuntary", digits(s.voluntary), digits(s.involuntary));
    let sum = |a: Switches, b: Switches| Switches {
        voluntary: a.voluntary + b.voluntary,
        involuntary: a.involuntary + b.involuntary,
    };
    line("switches", each(&o.switches_per_message, switches, sum));
    if let Some(verified) = &o.verified {
        line("verified", format!("{} messages, {} bytes, every one right", verified.messages, verified.bytes));
    }
    for (key, value) in &o.notes {
        line(key, value.clone());
    }
    if let Some(offered) = &o.offered {
        line("offered", super::load::what(o, offered));
    }
    if !o.flags.is_empty() {
        line("doubts", o.flags.join(", "));
    }
    if let Some(invalid) = &o.invalid {
        line("INVALID", invalid.clone());
    }
    text.push_str(&super::load::table(&o.load));
    text
}

/// The first few of many.
fn listed(numbers: &[impl ToString]) -> String {
    const MOST: usize = 12;
    let few = numbers.iter().take(MOST).map(ToString::to_string).collect::<Vec<_>>().join(" ");
    if numbers.len() > MOST { format!("{few} and {} more", numbers.len() - MOST) } else { few }
}

/// A figure of each party; of more than two, the hub's and that of its peers together.
fn each<T: Copy>(parties: &[T], show: impl Fn(&T) -> String, sum: impl Fn(T, T) -> T) -> String {
    match parties {
        [hub, peers @ ..] if peers.len() > 1 => {
            let together = peers.iter().copied().reduce(sum).map_or(String::new(), |all| show(&all));
            format!("hub {}   peers {together}", show(hub))
        }
        _ => parties.iter().map(show).collect::<Vec<_>>().join("   "),
    }
}

/// What the shares of a pattern with a hub say.
fn how(via: Via, workload: Workload) -> &'static str {
    match via {
        _ if workload == Workload::Broadcast => ": every consumer got every message",
        Via::Shared => " of one shared object",
        Via::InTurn => " of one channel each, served in turn: equal by construction",
    }
}

fn parties(o: &Outcome) -> String {
    match (o.parties, &o.pids[..]) {
        (crate::plan::Parties::Process, [a, b]) => format!("processes {a} and {b}"),
        (crate::plan::Parties::Thread, [a, _]) => format!("two threads of process {a}"),
        (crate::plan::Parties::Process, [hub, peers @ ..]) => format!("process {hub} and {} more", peers.len()),
        (crate::plan::Parties::Thread, [hub, peers @ ..]) => format!("{} threads of process {hub}", peers.len() + 1),
        _ => "nobody (a control in one party)".into(),
    }
}

fn cpus(o: &Outcome) -> String {
    match o.placement.cpus.as_deref() {
        Some([first, rest @ ..]) if rest.iter().all(|cpu| cpu == first) => format!(" (CPU {first})"),
        Some([a, b]) => format!(" (CPUs {a} and {b})"),
        Some(cpus) => format!(" (CPUs {})", listed(cpus)),
        None => String::new(),
    }
}

/// What a consumer received.
pub fn heard(heard: &Heard) -> String {
    let seconds = heard.elapsed_ns as f64 / 1e9;
    let mut text = format!("received        {} messages of {} bytes\n", heard.messages, heard.size);
    if heard.timed > 1 && seconds > 0.0 {
        // The first message starts the clock, so it is not in the time.
        let rate = (heard.timed - 1) as f64 / seconds;
        let rates = [bytes_per_s(rate * heard.size as f64), per_second(rate)];
        let _ = writeln!(text, "speed           {} over {}", rates.join("   "), nanos(heard.elapsed_ns as f64));
    }
    let _ = match &heard.trouble {
        Some(trouble) if !heard.right => writeln!(text, "verified        NOT right: {trouble}"),
        trouble => {
            let _ = writeln!(text, "verified        every byte was right");
            trouble.iter().try_for_each(|trouble| writeln!(text, "ended           NOT whole: {trouble}"))
        }
    };
    text
}

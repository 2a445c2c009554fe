//! Options that several commands share.

use crate::error::{Error, Result};
use crate::plan::{
    Arrivals, MOST_PEERS, Offered, Pages, Parties, Placement, Plan, RunId, Span, Touch, Wait, WaitKind, Workload,
    parse_cpus, parse_millis, parse_placement, parse_rate, parse_size,
};
use crate::report::choice::Choice;
use crate::report::rows::Row;
use crate::transport::list::suggestion;
use crate::transport::{ALL, Spec};
use clap::Args;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Reads a word and offers those that there are to whoever completes a command line. Help does not list them: there are
/// forty mechanisms.
#[derive(Clone)]
pub struct Offering<T> {
    read: fn(&str) -> Result<T>,
    words: fn() -> Vec<&'static str>,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Offering<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> std::result::Result<T, clap::Error> {
        let read = self.read;
        StringValueParser::new().try_map(move |text| read(&text)).parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.words)().into_iter().map(PossibleValue::new)))
    }
}

/// Any text, with the mechanisms of this build on offer: what is none of them is refused later, with the nearest names.
pub fn mechanism_name() -> Offering<String> {
    let words = || ALL.iter().map(|runner| runner.spec().name).chain(["all"]).collect();
    Offering { read: |text| Ok(text.to_string()), words }
}

/// A workload.
pub fn workload() -> Offering<Workload> {
    Offering { read: str::parse, words: || Workload::ALL.iter().map(|workload| workload.word()).collect() }
}

/// A wait.
pub fn wait() -> Offering<Wait> {
    Offering { read: str::parse, words: || WaitKind::ALL.iter().map(|wait| wait.word()).collect() }
}

/// Processes or threads.
pub fn parties() -> Offering<Parties> {
    Offering { read: str::parse, words: || vec![Parties::Process.word(), Parties::Thread.word()] }
}

/// A placement.
pub fn placement() -> Offering<Placement> {
    Offering { read: parse_placement, words: || vec!["same-cpu", "cross-cpu", "unpinned"] }
}

/// Which rows of a results folder are looked at.
#[derive(Debug, Args)]
pub struct ChoiceOptions {
    /// Only these mechanisms
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = mechanism_name())]
    mechanism: Vec<String>,
    /// Only these workloads: ping-pong, stream, offered-load, fan-in, fan-out, pairs, broadcast
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = workload())]
    workload: Vec<Workload>,
    /// Only messages of these sizes: 64,4KiB
    #[arg(long, value_name = "A,B", value_delimiter = ',', value_parser = parse_size)]
    size: Vec<usize>,
    /// Only these waits: block, poll, epoll, hybrid, hybrid:LOOKS, yield, spin
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = wait())]
    wait: Vec<Wait>,
    /// Only these placements: same-cpu, cross-cpu, unpinned
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = placement())]
    placement: Vec<Placement>,
    /// Only these parties: process, thread
    #[arg(long, value_name = "A,B", value_delimiter = ',', hide_possible_values = true, value_parser = parties())]
    parties: Vec<Parties>,
}

impl ChoiceOptions {
    /// Whether anything was asked for.
    pub fn is_any(&self) -> bool {
        let Self { mechanism, workload, size, wait, placement, parties } = self;
        let asked = [mechanism.len(), workload.len(), size.len(), wait.len(), placement.len(), parties.len()];
        asked.iter().any(|n| *n > 0)
    }

    /// What the options mean for a folder with these rows.
    ///
    /// # Errors
    /// A usage error that says what there is, where nothing of what was asked for is there.
    pub fn choice(&self, rows: &[&Row]) -> Result<Choice> {
        let choice = Choice {
            mechanisms: self.mechanism.clone(),
            workloads: self.workload.clone(),
            sizes: self.size.clone(),
            waits: self.wait.clone(),
            placements: self.placement.clone(),
            parties: self.parties.clone(),
        };
        for name in &choice.mechanisms {
            if !rows.iter().any(|row| row.mechanism == *name) {
                let names: BTreeSet<&str> = rows.iter().map(|row| row.mechanism.as_str()).collect();
                let what = format!("nothing was measured of {name:?}");
                return Err(Error::usage(what).hint(suggestion(name, names, "`ipcost show DIR --list` shows all")));
            }
        }
        if !choice.is_everything() && !rows.iter().any(|row| choice.row(row)) {
            return Err(Error::usage("nothing of what was asked for was measured")
                .hint("`ipcost show DIR --list` says which classes there are"));
        }
        Ok(choice)
    }
}

/// What a single run can be asked for.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// Bytes per message: 64, 4KiB, 1MiB
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = parse_size)]
    pub size: usize,
    /// Messages (round trips) in each measured window
    #[arg(long, value_name = "N", conflicts_with = "duration", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: Option<u64>,
    /// Length of the whole run: 500ms, 2s [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_millis)]
    pub duration: Option<u64>,
    /// How both parties wait: block, poll, epoll, hybrid, yield, spin; hybrid:LOOKS says how often a hybrid wait looks
    /// before it sleeps [default: block, or the first that the mechanism honours]
    #[arg(long, hide_possible_values = true, value_parser = wait())]
    pub wait: Option<Wait>,
    /// Who the parties are: process, thread [default: the first that the mechanism connects]
    #[arg(long, hide_possible_values = true, value_parser = parties())]
    pub parties: Option<Parties>,
    /// same-cpu, cross-cpu or unpinned [default: cross-cpu where there are two CPUs]
    #[arg(long, hide_possible_values = true, value_parser = placement())]
    pub placement: Option<Placement>,
    /// The two CPUs, such as 0,1
    #[arg(long, value_name = "A,B", conflicts_with = "placement", value_parser = parse_cpus)]
    pub cpus: Option<Placement>,
    /// How much of each message is written and verified: whole, header
    #[arg(long, default_value = "whole")]
    pub touch: Touch,
    /// Let TCP hold small messages back (Nagle's algorithm); for tcp only, which has TCP_NODELAY otherwise
    #[arg(long)]
    pub nagle: bool,
    /// Folder for mechanisms that need a file
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Its pages.
    #[command(flatten)]
    pub pages: PageOptions,
}

/// What the pages of a ring can be asked to be.
#[derive(Debug, Args)]
pub struct PageOptions {
    /// Put the ring of shm-ring into huge pages, which vm.nr_hugepages must provide
    #[arg(long)]
    pub huge_pages: bool,
    /// Have the ring of shm-ring mapped with all its page tables filled (MAP_POPULATE)
    #[arg(long)]
    pub populate: bool,
}

impl PageOptions {
    /// The pages that the options mean.
    pub fn pages(&self) -> Pages {
        Pages { huge: self.huge_pages, populate: self.populate }
    }
}

/// The window of a ping-pong.
#[derive(Debug, Args)]
pub struct OutstandingOption {
    /// Requests of a ping-pong that are kept under way: another class than one at a time
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub outstanding: Option<u32>,
}

impl OutstandingOption {
    /// The requests, if they are several.
    pub fn several(&self) -> Option<u32> {
        self.outstanding.filter(|n| *n > 1)
    }
}

/// The batches of a stream.
#[derive(Debug, Args)]
pub struct BatchOption {
    /// Messages of a stream that travel as one: another class than one by one, all figures still per message
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub batch: Option<u32>,
}

impl BatchOption {
    /// The messages, if they are several.
    pub fn several(&self) -> Option<u32> {
        self.batch.filter(|n| *n > 1)
    }
}

/// The peers of a hub.
#[derive(Debug, Args)]
pub struct PeersOption {
    /// Producers of a fan-in, consumers of a fan-out or broadcast, or pairs [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_PEERS)))]
    pub peers: Option<u32>,
}

/// What an offered load can be asked for.
#[derive(Debug, Args)]
pub struct LoadOptions {
    /// Messages per second of an offered load: 50000, 50k, 1M; a single mechanism without it is swept from 10 to 110 % of
    /// its saturation, in 5s
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    pub rate: Option<u64>,
    #[command(flatten)]
    rhythm: RhythmOption,
}

impl LoadOptions {
    /// The load that the options mean.
    pub fn offered(&self) -> Offered {
        Offered { rate: self.rate, arrivals: self.rhythm.arrivals }
    }
}

/// What the offered loads of a campaign can be asked for.
#[derive(Debug, Args)]
pub struct LoadsOptions {
    /// Messages per second of an offered load, each rate in tables of its own: 50000, 50k, 1M
    #[arg(long, value_name = "R,R", value_delimiter = ',', value_parser = parse_rate)]
    rate: Vec<u64>,
    #[command(flatten)]
    rhythm: RhythmOption,
}

impl LoadsOptions {
    /// The loads that the options mean.
    pub fn offered(&self) -> Vec<Offered> {
        self.rate.iter().map(|rate| Offered { rate: Some(*rate), arrivals: self.rhythm.arrivals }).collect()
    }
}

/// The rhythm of an offered load.
#[derive(Debug, Args)]
struct RhythmOption {
    /// How its messages follow each other: poisson (they bunch, as those of independent senders do), constant
    #[arg(long, default_value = "poisson")]
    arrivals: Arrivals,
}

impl RunOptions {
    /// The plan that the options mean for one mechanism.
    pub fn plan(&self, spec: &Spec, workload: Workload) -> Plan {
        Plan {
            mechanism: spec.name.into(),
            workload,
            size: self.size,
            wait: self.wait.unwrap_or_else(|| spec.wait_near(Wait::Block)),
            parties: self.parties.unwrap_or(spec.parties[0]),
            touch: self.touch,
            placement: self.placement.or(self.cpus).unwrap_or_else(default_placement),
            span: match self.messages {
                Some(n) => Span::Messages(n),
                None => Span::Millis(self.duration.unwrap_or(1000)),
            },
            dir: self.dir.clone(),
            nagle: self.nagle,
            pages: self.pages.pages(),
            run: RunId { started: now(), ..RunId::default() },
            ..Plan::default()
        }
    }
}

/// Two CPUs where there are two, else the one.
pub fn default_placement() -> Placement {
    match crate::sys::cpu::allowed() {
        Ok(cpus) if cpus.len() < 2 => Placement::SameCpu,
        _ => Placement::CrossCpu,
    }
}

/// The time of day, RFC 3339 in UTC, to the millisecond.
pub fn now() -> String {
    crate::machine::timestamp()
}

/// A folder that exists and can be written to, or a usage error.
///
/// # Errors
/// When it is neither.
pub fn writable_dir(dir: &std::path::Path) -> Result<()> {
    let bad = |why: &dyn std::fmt::Display| {
        crate::Error::usage(format!("cannot write into {}", dir.display()))
            .because(why)
            .hint("choose a folder that exists and is yours")
    };
    crate::names::nameless_in(dir).map(drop).map_err(|error| bad(&error))
}

//! A Java thread is a thread like any other, and the Java machine plays the operating system.
//!
//! **Question.** Does each Java thread have a thread of the operating system, and do a hand-over and a creation cost
//! what they cost in Rust?
//!
//! **Method.** The JDK compiles and runs `scripts/java/Threads.java` from memory. Fifty threads are started, and the
//! threads of the Java process are counted in `/proc` before and after. Then all of them are pinned to one CPU; two
//! hand a token to each other by park and unpark, and threads are started and joined one after the other, each first
//! for practice, so that the just-in-time compiler is done, and then for the figure. The same in Rust, on the same CPU.
//! Virtual threads are measured where this Java has them.
//!
//! **Caveat.** The compiler and the collector of the Java machine run on the same CPU.

use super::{Cell, Claim, Finding, Record, Setting, Unit, Values, Verdict, lab, one_cpu};
use crate::error::{Context, Error, Phase, Result};
use crate::sys::{clock, cpu, map, process};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// See the [module](self).
pub static CLAIM: Claim = Claim {
    name: "java-thread",
    taught: "a Java thread is a thread like any other, and the Java machine plays the operating system",
    hypothesis: "each Java thread adds one thread to the process, give or take 0.05, and a hand-over between two of \
                 them costs at most twice that between two Rust threads; it holds only for platform threads if a \
                 virtual thread adds less than half a thread; it is contradicted if a platform thread does",
    misleads: "the just-in-time compiler, the collector and the start of the Java machine; one CPU for all of its \
               threads",
    cells,
    measure,
    judge,
    plants: &["pool"],
    picture: None,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Language {
    Java,
    Rust,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct With {
    language: Language,
    cpu: usize,
}

const JAVA: &str = "Java";
const RUST: &str = "Rust";
/// Threads that are started to be counted.
const NUMBER: u32 = 50;
/// The program, compiled by the JDK at each launch.
const PROGRAM: &[u8] = include_bytes!("../../scripts/java/Threads.java");

fn cells(setting: &Setting) -> Result<Vec<Cell>> {
    let cpu = lab::one_cpu(setting)?;
    let java = Cell::new(&CLAIM, JAVA, &With { language: Language::Java, cpu });
    let again = java.again();
    Ok(vec![java, Cell::new(&CLAIM, RUST, &With { language: Language::Rust, cpu }), again])
}

fn measure(cell: &Cell) -> Result<Values> {
    let With { language, cpu } = cell.with()?;
    // A cell of this claim has most of a second, and most of that is for the start of the Java machine.
    let millis = (cell.millis / 20).max(1);
    match language {
        Language::Java => in_java(millis, cpu, if cell.planted("pool") { "pool" } else { "platform" }),
        Language::Rust => in_rust(millis, cpu),
    }
}

fn in_rust(millis: u64, cpu: usize) -> Result<Values> {
    let mut found = one_cpu::token(millis, cpu, false)?;
    let (start, mut number) = (clock::now(), 0_u32);
    let end = start + millis * 1_000_000;
    while clock::now() < end {
        // It does nothing, so it cannot panic.
        let _ = std::thread::spawn(|| {}).join();
        number += 1;
    }
    found.insert("creation_ns".into(), (clock::now() - start) as f64 / f64::from(number.max(1)));
    Ok(found)
}

/// The JDK's program launcher, if there is a compiler beside it.
fn jdk() -> Result<PathBuf> {
    let home = std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = home.into_iter().chain(std::env::split_paths(&path));
    let found = folders.into_iter().find(|folder| ["java", "javac"].iter().all(|name| folder.join(name).is_file()));
    let none = || Error::unsupported("no java").because("neither JAVA_HOME nor PATH leads to java and javac");
    Ok(found.ok_or_else(|| none().hint("install a JDK, 11 or newer"))?.join("java"))
}

/// The Java program, which answers each line with a line.
struct Java {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Java {
    fn start() -> Result<Self> {
        let cannot = "cannot start java";
        let program = program().context(Phase::Setup, "cannot keep the Java program in memory")?;
        let mut command = Command::new(jdk()?);
        // No file for jps in the temporary folder, and no threads of its own that come and go.
        command.args(["-XX:-UsePerfData", "-XX:+UseSerialGC", "-XX:-UseDynamicNumberOfCompilerThreads", "-Xmx64m"]);
        command.args(["--source", "11"]);
        command.arg(format!("/proc/{}/fd/{}", std::process::id(), program.as_raw_fd()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        process::bind_to_caller(&mut command);
        let mut child = command.spawn().context(Phase::Start, cannot)?;
        let (Some(commands), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::failed(Phase::Start, cannot));
        };
        let mut java = Self { child, commands, answers: BufReader::new(answers) };
        match java.hear()?.starts_with("ready") {
            true => Ok(java),
            false => {
                Err(Error::unsupported("java cannot run a program from its source").hint("install a JDK, 11 or newer"))
            }
        }
    }

    /// A line of the program, without its end.
    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context(Phase::Measure, "cannot read what java says")?;
        Ok(line.trim().to_string())
    }

    /// The answer to a command; `None` where this Java has none.
    fn ask(&mut self, command: &str) -> Result<Option<String>> {
        writeln!(self.commands, "{command}").context(Phase::Measure, "java does not listen")?;
        let answer = self.hear()?;
        if answer.is_empty() {
            return Err(Error::failed(Phase::Measure, format!("java has no answer to {command:?}")));
        }
        Ok((!answer.starts_with("no ")).then_some(answer))
    }

    fn number(&mut self, command: &str) -> Result<Option<f64>> {
        let Some(answer) = self.ask(command)? else { return Ok(None) };
        Ok(Some(answer.parse().context(Phase::Measure, format!("java answers {answer:?}"))?))
    }

    /// Its threads, by number.
    fn threads(&self) -> Result<Vec<u32>> {
        process::threads_of(self.child.id()).context(Phase::Measure, "cannot count the threads of java")
    }

    /// How many threads of the operating system each of so many Java threads adds.
    fn added(&mut self, kind: &str) -> Result<Option<f64>> {
        let before = self.threads()?.len() as f64;
        if self.ask(&format!("start {kind} {NUMBER}"))?.is_none() {
            return Ok(None);
        }
        let after = self.threads()?.len() as f64;
        self.ask("stop")?;
        // They end a little later than Java says, and must not be there when the next ones are counted.
        let limit = clock::now() + 200_000_000;
        while self.threads()?.len() as f64 > before && clock::now() < limit {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Some((after - before) / f64::from(NUMBER)))
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The source in memory: nothing is written to a disk.
fn program() -> std::io::Result<File> {
    let mut file = map::sealed_memfd(PROGRAM.len())?;
    file.write_all(PROGRAM)?;
    Ok(file)
}

fn in_java(millis: u64, cpu: usize, kind: &str) -> Result<Values> {
    let mut java = Java::start()?;
    // Once for practice: the Java machine starts threads of its own when it first needs them.
    java.added(kind)?;
    let mut found = Values::new();
    found.extend(java.added(kind)?.map(|added| ("os_threads_each".to_string(), added)));
    java.added("virtual")?;
    found.extend(java.added("virtual")?.map(|added| ("os_threads_each_virtual".to_string(), added)));
    for thread in java.threads()? {
        // One that has ended meanwhile needs no CPU.
        let _ = cpu::pin_thread(thread, cpu);
    }
    for (what, kind, quantity) in [
        ("pass", "platform", "handover_ns"),
        ("create", "platform", "creation_ns"),
        ("pass", "virtual", "handover_virtual_ns"),
        ("create", "virtual", "creation_virtual_ns"),
    ] {
        let command = format!("{what} {kind} {millis}");
        java.number(&command)?;
        found.extend(java.number(&command)?.map(|figure| (quantity.to_string(), figure)));
    }
    Ok(found)
}

/// How far from one the threads that a Java thread adds may be, and from where on it is none of its own.
const EACH: f64 = 0.05;
const SHARED: f64 = 0.5;
/// How much more a hand-over may cost than in Rust.
const DEARER: f64 = 2.0;

fn judge(record: &Record) -> Finding {
    let of = |quantity| record.estimate(JAVA, quantity);
    let (each, light) = (of("os_threads_each"), of("os_threads_each_virtual"));
    let cost = record.ratio(JAVA, RUST, "handover_ns");
    let (Some(threads), Some(price)) = (each, cost) else {
        let why =
            record.failures().iter().find(|(case, _)| *case == JAVA).map_or("figures are missing", |(_, why)| why);
        return Finding::new(Verdict::NotTested(why.into()), "");
    };
    let verdict = match (threads.interval, price.interval) {
        (Some((_, high)), _) if high < SHARED => Verdict::Contradicted,
        (Some((low, high)), Some((_, dear))) if low >= 1.0 - EACH && high <= 1.0 + EACH && dear <= DEARER => {
            match light.and_then(|light| light.interval) {
                Some((_, high)) if high < SHARED => {
                    Verdict::HoldsOnlyIf("it is a platform thread, not a virtual one".into())
                }
                _ => Verdict::Holds,
            }
        }
        _ => Verdict::NotFoundHere,
    };
    let because = format!(
        "a Java thread adds {:.2} threads to its process, and a hand-over costs {:.2} times that of Rust",
        threads.median, price.median
    );
    let mut finding = Finding::new(verdict, because)
        .figure("threads of the system for each platform thread", each, Unit::Number)
        .figure("threads of the system for each virtual thread", light, Unit::Number)
        .figure("hand-over in Java against Rust, one CPU", cost, Unit::Ratio)
        .figure("creation in Java against Rust, one CPU", record.ratio(JAVA, RUST, "creation_ns"), Unit::Ratio);
    for (what, quantity) in [
        ("hand-over between platform threads", "handover_ns"),
        ("start and end of a platform thread", "creation_ns"),
        ("hand-over between virtual threads", "handover_virtual_ns"),
        ("start and end of a virtual thread", "creation_virtual_ns"),
    ] {
        finding = finding.figure(what, of(quantity), Unit::Ns);
    }
    for (what, quantity) in [("hand-over in Rust", "handover_ns"), ("start and end of a thread in Rust", "creation_ns")]
    {
        finding = finding.figure(what, record.estimate(RUST, quantity), Unit::Ns);
    }
    match record.noise("handover_ns") {
        Some(noise) => finding.remark(format!("Java against itself differs by up to {:.1} %", 100.0 * noise)),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Status, tests::line};
    use super::*;

    /// Six rounds in which a platform and a virtual thread add so many threads, and a hand-over costs so many times
    /// that of Rust.
    fn record(each: f64, light: Option<f64>, cost: f64) -> Record {
        let java = |round: u32| {
            let pace = f64::from(10 + round);
            let mut line = line(JAVA, round, &[("os_threads_each", each), ("handover_ns", 100.0 * cost * pace)]);
            line.answer.values.extend(light.map(|light| ("os_threads_each_virtual".to_string(), light)));
            [line, super::super::record::tests::line(RUST, round, &[("handover_ns", 100.0 * pace)])]
        };
        (0..6).flat_map(java).collect()
    }

    #[test]
    fn the_verdict_follows_the_thresholds() {
        let verdict = |each, light, cost| judge(&record(each, light, cost)).verdict;
        assert_eq!(verdict(1.0, None, 1.2), Verdict::Holds);
        assert_eq!(verdict(1.04, Some(0.6), 1.9), Verdict::Holds);
        assert!(matches!(verdict(1.0, Some(0.1), 1.2), Verdict::HoldsOnlyIf(_)));
        assert_eq!(verdict(1.06, None, 1.2), Verdict::NotFoundHere);
        assert_eq!(verdict(0.94, None, 1.2), Verdict::NotFoundHere);
        assert_eq!(verdict(1.0, None, 2.1), Verdict::NotFoundHere);
        assert_eq!(verdict(0.6, None, 1.2), Verdict::NotFoundHere);
        assert_eq!(verdict(0.4, None, 1.2), Verdict::Contradicted);
    }

    #[test]
    fn without_java_it_is_not_tested_and_says_why() {
        let mut missing = line(JAVA, 0, &[]);
        (missing.answer.status, missing.answer.reason) = (Status::Unsupported, Some("no java".into()));
        let record: Record = [missing, line(RUST, 0, &[("handover_ns", 1.0)])].into_iter().collect();
        assert_eq!(judge(&record).verdict, Verdict::NotTested("no java".into()));
    }
}

//! A results folder through the library: its rows with intervals, class by class, and which ratios mean nothing.
//!
//! To run it: `cargo run --release --example read_journal -- results/amd-epyc-2cpu-kvm/2026-12-01-051019`. It measures
//! nothing and writes nothing; the rows are those of `summary.csv`.

use ipcost::Error;
use ipcost::report::Report;
use ipcost::report::rows::Which;
use ipcost::report::text::nanos;
use std::path::Path;

fn main() -> ipcost::Result<()> {
    let folder = std::env::args().nth(1).ok_or_else(|| Error::usage("name a results folder"))?;
    let report = Report::load(Path::new(&folder))?;
    println!("{}, {} launches in {} rounds", report.saved.host.slug, report.launches, report.rounds);
    // The other choice leaves runs out that something may have disturbed.
    for group in &report.summary(Which::All).groups {
        println!("\n{}", group.class);
        for row in &group.rows {
            let Some(time) = row.time else { continue };
            let interval = time.interval.map(|(low, high)| format!("{} to {}", nanos(low), nanos(high)));
            let rank = row.rank.map_or_else(String::new, |rank| rank.to_string());
            let floor = row.median("floor_multiple").map(|times| format!("{times:.2} x floor"));
            println!(
                "{rank:>2}  {:<32} n {:<2}  {:>8}  {:<20}  {}",
                row.name(),
                time.n,
                nanos(time.median),
                interval.unwrap_or_default(),
                floor.unwrap_or_default()
            );
        }
        if group.noise.is_finite() {
            println!("    ratios within {:.0} % are no difference here", 100.0 * group.noise);
        }
    }
    Ok(())
}

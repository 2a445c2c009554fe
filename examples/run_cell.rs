//! One run of one mechanism through the library, and its round trip beside the floor.
//!
//! To run it: `cargo run --release --example run_cell -- pipe` (any name of `ipcost list`; a size in bytes may follow).
//! One run is one launch and has no interval: it ranks nothing. `ipcost compare` makes many and does.

use ipcost::cell::Status;
use ipcost::conduct::measure;
use ipcost::plan::{Placement, Plan, Span, parse_size};
use ipcost::report::text::nanos;
use ipcost::{Error, transport};

fn main() -> ipcost::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "shm-ring".into());
    let size = arguments.next().map_or(Ok(64), |text| parse_size(&text))?;

    // What the mechanism does by default, but on one CPU, and for a third of a second. Two processes: the other one is
    // forked, so a program has one thread when it gets here.
    let usual = transport::find(&name)?.spec().plan();
    let plan = Plan { size, placement: Placement::SameCpu, span: Span::Millis(300), ..usual };
    let run = measure(&plan)?;

    // A run that did not do what its label says is measured and not believed.
    if run.status != Status::Ok {
        return Err(Error::invalid(run.reason.unwrap_or_default()));
    }
    let Some(rtt) = &run.rtt_ns else { return Err(Error::invalid("a ping-pong without round trips")) };
    println!("{name}, {size} B, wait {}, between two of kind {}", run.wait, run.parties);
    println!("round trip   {}, {} of them, every byte verified", nanos(rtt.mean), run.messages);
    if let Some(p99) = rtt.p99 {
        println!("p99          {}", nanos(p99 as f64));
    }
    if let Some(floor) = run.floor_ns() {
        println!("bare floor   {}, measured between the same two right before and after", nanos(floor));
        println!("x floor      {:.2}", rtt.mean / floor);
    }
    println!("doubts       {}", if run.flags.is_empty() { "none".into() } else { run.flags.join(", ") });
    Ok(())
}

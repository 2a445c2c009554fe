//! Ctrl-C, SIGTERM and SIGHUP: stop, keep what is finished, leave nothing behind.

use crate::campaign::launch;
use crate::sys::process;
use crate::{names, role};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What a signal does to the running command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Ends the running cell; the campaign writes its tables from what it has and exits.
    StopCampaign,
    /// Asks a producer or consumer to finish its message and report; one that cannot is ended after a moment.
    StopRole,
}

/// A second signal so soon after the first is the same wish: timeout(1) sends one to its child and one to the group.
const SAME: Duration = Duration::from_secs(1);

/// Starts the thread that waits for signals. Never in a cell, which must stay single-threaded.
pub fn watch(duty: Duty) {
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM, SIGHUP]) else { return };
    let wait = move || {
        let mut first = None;
        for _ in signals.forever() {
            match (duty, first) {
                (Duty::StopCampaign, None) => {
                    launch::interrupt();
                    first = Some(Instant::now());
                }
                (Duty::StopCampaign, Some(at)) if at.elapsed() < SAME => {}
                (Duty::StopCampaign, Some(_)) => {
                    say("interrupted again: ended at once");
                    end();
                }
                (Duty::StopRole, _) => {
                    role::STOP.store(true, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(300));
                    say("interrupted while waiting for the other program");
                    end();
                }
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().spawn(wait) {
        // The signals keep their handlers, which do nothing: better that they end the program.
        eprintln!("remark: no thread for signals ({error}); Ctrl-C leaves what `ipcost clean` removes");
        process::default_signals(&[SIGINT, SIGTERM, SIGHUP]);
    }
}

/// On standard error, if that can still be written: who read it may have been interrupted, too.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn end() -> ! {
    launch::interrupt();
    names::remove_all();
    names::janitor::sweep_mine();
    std::process::exit(i32::from(super::INTERRUPTED))
}

//! The command line: arguments in, exit code out, nothing else.
//!
//! Key decision: exit codes are 0 (done), 1 (something failed; what was finished is kept), 2 (the command makes no sense
//! as written) and 130 (interrupted). Results go to standard output, everything else to standard error, and a closed pipe
//! on standard output is success: the reader has seen enough.

mod advise;
mod check;
mod claims;
mod clean;
mod compare;
mod comparer;
mod diff;
mod faults;
mod hidden;
mod host;
mod limits;
mod list;
mod mechanism;
mod options;
mod papers;
mod progress;
mod report;
mod screen;
mod show;
mod signals;

pub use comparer::comparer;
pub use mechanism::mechanism;

use crate::error::Error;
use crate::report::fit;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Exit code of an interrupted command: 128 plus SIGINT.
const INTERRUPTED: u8 = 130;

/// Prints an error the one way in which errors are printed.
fn complain(error: &Error) -> ExitCode {
    let style = anstyle::Style::new().bold().fg_color(Some(anstyle::AnsiColor::Red.into()));
    let text = fit::wrapped("error: ", &error.to_string(), screen::Screen::of_stderr().width);
    anstream::eprint!("{style}error{style:#}{}", &text["error".len()..]);
    ExitCode::from(error.exit_code())
}

/// Writes results to standard output; a reader that went away is no error.
fn print(text: &str) -> Result<(), Error> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::failed(crate::error::Phase::Report, "cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

/// Says something on standard error, in lines that fit; the second and all further ones begin below `text`.
fn aside(label: &str, text: &str) {
    eprint!("{}", fit::wrapped(label, text, screen::Screen::of_stderr().width));
}

/// Says what a reader of the results should know.
fn remark(text: &str) {
    aside("remark: ", text);
}

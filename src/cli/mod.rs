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
mod report;
mod screen;
mod show;
mod signals;

pub use comparer::comparer;
pub use mechanism::mechanism;

use crate::error::Error;
use crate::report::fit;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{ErrorKind, IsTerminal, Write};
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

/// Columns of what a terminal writes for Ctrl-C, and the cursor.
const KEY: usize = 4;

/// Says something on standard error, in lines that fit; the second and all further ones begin below `text`.
fn aside(label: &str, text: &str) {
    eprint!("{}", fit::wrapped(label, text, screen::Screen::of_stderr().width));
}

/// Says what a reader of the results should know.
fn remark(text: &str) {
    aside("remark: ", text);
}

/// What is being done, on standard error if that is a terminal. No line may be longer than the terminal: of one that is folded
/// a part would stay behind. So would one on which the terminal has no place for the `^C` that it writes itself, which is why
/// the last line is [`cut`] and not padded by the template.
fn status_bar(length: Option<u64>, template: &str) -> ProgressBar {
    let terminal = std::io::stderr().is_terminal();
    let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(length, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Columns for how long something has been going on.
const ELAPSED: usize = 8;

/// A text for the last line of a status bar, behind `taken` columns of other things.
fn cut(text: &str, taken: usize) -> String {
    let room = screen::Screen::of_stderr().width.map_or(usize::MAX, |width| width.saturating_sub(taken + KEY));
    match text.chars().count() > room {
        true => text.chars().take(room.saturating_sub(3)).chain("...".chars()).collect(),
        false => text.into(),
    }
}

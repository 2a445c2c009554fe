//! The terminal that results are shown on: how wide it is, and a pager for what is longer.
//!
//! Key decision: standard output decides. A terminal has a size, and what is longer than it goes through `$PAGER`; a pipe
//! or a file gets every column and every line as they are, unless COLUMNS says how wide it is. A pager that cannot be
//! started is no error: the text is printed. Rejected: a pager library (the user has chosen one already), and paging what
//! is printed while a campaign runs.

use super::print;
use crate::error::{Error, Phase, Result};
use crate::report::fit::{Width, paragraphs};
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::{Command, Stdio};

/// What results are shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// Columns; `None` where nothing bounds a line.
    pub width: Width,
    /// Lines; `None` where it is no terminal.
    height: Option<usize>,
}

impl Screen {
    /// Standard output.
    pub fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self::new(terminal, rustix::termios::tcgetwinsize(std::io::stdout()).ok(), columns())
    }

    /// Standard error, for messages.
    pub fn of_stderr() -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self::new(terminal, rustix::termios::tcgetwinsize(std::io::stderr()).ok(), columns())
    }

    /// A terminal that does not know its size has the size of a card.
    fn new(terminal: bool, size: Option<rustix::termios::Winsize>, columns: Option<usize>) -> Self {
        let known = |n: u16| (n > 0).then_some(usize::from(n));
        let (wide, high) = size.map_or((None, None), |size| (known(size.ws_col), known(size.ws_row)));
        match terminal {
            true => Self { width: columns.or(wide).or(Some(80)), height: high.or(Some(24)) },
            false => Self { width: columns, height: None },
        }
    }

    /// Whether a text is longer than the screen.
    fn overflows(&self, text: &str) -> bool {
        let (Some(height), Some(width)) = (self.height, self.width) else { return false };
        let lines = text.lines().map(|line| line.chars().count().div_ceil(width.max(1)).max(1));
        lines.sum::<usize>() >= height
    }
}

/// What the user says of the width.
fn columns() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0)
}

/// Prints results, with what is too long for a line wrapped.
pub fn say(text: &str) -> Result<()> {
    print(&paragraphs(text, Screen::of_stdout().width))
}

/// Prints results, through the pager where the terminal is too short for them.
pub fn show(text: &str) -> Result<()> {
    if !Screen::of_stdout().overflows(text) || !std::io::stdin().is_terminal() {
        return print(text);
    }
    let pager = std::env::var("PAGER").unwrap_or_else(|_| "less -R".into());
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else { return print(text) };
    let mut child = match Command::new(program).args(words).stdin(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(_) => return print(text),
    };
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()));
    let ended = child.wait();
    // Whoever has seen enough leaves before the end.
    match (written, ended) {
        (Err(error), _) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::failed(Phase::Report, format!("cannot write to the pager {pager:?}")).because(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(ws_col: u16, ws_row: u16) -> Option<rustix::termios::Winsize> {
        Some(rustix::termios::Winsize { ws_col, ws_row, ws_xpixel: 0, ws_ypixel: 0 })
    }

    #[test]
    fn a_pipe_is_as_wide_as_it_gets_and_a_terminal_as_it_says() {
        assert_eq!(Screen::new(false, None, None), Screen { width: None, height: None });
        assert_eq!(Screen::new(false, size(90, 30), Some(80)), Screen { width: Some(80), height: None });
        assert_eq!(Screen::new(true, size(160, 50), None), Screen { width: Some(160), height: Some(50) });
        assert_eq!(Screen::new(true, size(0, 0), None), Screen { width: Some(80), height: Some(24) });
        assert_eq!(Screen::new(true, size(160, 50), Some(100)).width, Some(100));
    }

    #[test]
    fn only_a_terminal_can_be_too_short() {
        let screen = Screen::new(true, size(10, 3), None);
        assert!(!screen.overflows("a\nb\n"));
        assert!(screen.overflows("a\nb\nc\n") && screen.overflows(&"x".repeat(21)));
        assert!(!Screen::new(false, None, None).overflows(&"a\n".repeat(1000)));
    }
}

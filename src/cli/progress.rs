//! What is being done, in lines on standard error that are written over, if that is a terminal.
//!
//! Key decision: the cursor stays at the end of what is shown. indicatif fills every line up to the edge of the terminal, and
//! so begins the next one; behind the last line the `^C` which a terminal writes for the key itself went on the next line,
//! the bar was then erased from one line too far below, and its first line stayed for ever. So it draws on a [`Terminal`]
//! that begins lines with a line feed and leaves the filling out, and no line is so long that the key has no place behind it.
//! Rejected: to switch the terminal's echo off, which a kill would leave so.

use super::screen::Screen;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// Columns of what a terminal writes for Ctrl-C, and the cursor.
pub const KEY: usize = 4;

/// Columns for how long something has been going on.
pub const ELAPSED: usize = 8;

/// Drawings a second.
const PACE: u8 = 20;

/// A bar of this template. No line may be longer than the terminal: of one that is folded a part would stay behind. The last
/// one has to be [`cut`].
pub fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    // One without a cursor to move gets nothing. Source: terminfo(5).
    let has_cursor = std::env::var("TERM").is_ok_and(|term| !term.is_empty() && term != "dumb");
    let target = match io::stderr().is_terminal() && has_cursor {
        true => ProgressDrawTarget::term_like_with_hz(Box::new(Terminal::new(io::stderr())), PACE),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(length, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// A text for the last line of a bar, behind `taken` columns of other things.
pub fn cut(text: &str, taken: usize) -> String {
    let room = Screen::of_stderr().width.map_or(usize::MAX, |width| width.saturating_sub(taken + KEY));
    match text.chars().count() > room {
        true => text.chars().take(room.saturating_sub(3)).chain("...".chars()).collect(),
        false => text.into(),
    }
}

/// A terminal on which nothing is filled up to the edge.
#[derive(Debug)]
struct Terminal<W> {
    to: W,
    /// What the next text of this drawing is; in a drawing a line and its filling take turns.
    next: Mutex<Next>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    FirstLine,
    Filling,
    Line,
}

impl<W> Terminal<W>
where
    for<'a> &'a W: Write,
{
    fn new(to: W) -> Self {
        Self { to, next: Mutex::new(Next::FirstLine) }
    }

    fn put(&self, text: &str) -> io::Result<()> {
        (&self.to).write_all(text.as_bytes())
    }

    /// Goes on to `then`; what was due.
    fn turn(&self, then: impl FnOnce(Next) -> Next) -> Next {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = *next;
        *next = then(now);
        now
    }

    /// Moves the cursor `n` places in a direction of ECMA-48, 8.3.
    fn go(&self, n: usize, to: char) -> io::Result<()> {
        if n > 0 { self.put(&format!("\x1b[{n}{to}")) } else { Ok(()) }
    }
}

impl<W: Sync + Send + std::fmt::Debug> TermLike for Terminal<W>
where
    for<'a> &'a W: Write,
{
    fn width(&self) -> u16 {
        Screen::of_stderr().width.and_then(|width| width.try_into().ok()).unwrap_or(80)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.go(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.go(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.go(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.go(n, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.put(text)?;
        self.put("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        if text == "\r" {
            return self.put(text);
        }
        match self.turn(|now| if now == Next::Filling { Next::Line } else { Next::Filling }) {
            Next::Filling => Ok(()),
            Next::FirstLine => self.put(text),
            Next::Line => self.put("\n").and_then(|()| self.put(text)),
        }
    }

    fn clear_line(&self) -> io::Result<()> {
        self.put("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        self.turn(|_| Next::FirstLine);
        (&self.to).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn nothing_is_filled_up_to_the_edge_and_the_bar_goes_as_it_came() {
        let mut file = tempfile::tempfile().unwrap();
        let target = ProgressDrawTarget::term_like(Box::new(Terminal::new(file.try_clone().unwrap())));
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{msg}\n  {wide_msg}\n  {prefix}").unwrap());
        bar.set_prefix("second");
        bar.set_message("first");
        bar.finish_and_clear();
        let mut drawn = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut drawn).unwrap();
        let (lines, cleared) = drawn.rsplit_once("second\x1b[2A").expect("the cursor is at the end of what is shown");
        assert!(lines.ends_with("\n  ") && lines.matches("first").count() >= 2, "{drawn:?}");
        assert_eq!(cleared.matches("\x1b[2K").count(), 3, "{drawn:?}");
    }
}

//! The two halves of a transport as two programs that a person starts.
//!
//! Key decision: the same payload work as in a run (every byte written, every byte verified), and the consumer reports: what
//! came, how fast, and whether every byte was right. The consumer's clock runs from the first message verified to the last
//! one at which it was read; neither the time until somebody starts the other program nor the time until it says that it
//! is done is part of it.
//!
//! A producer that ends in order says so, in a last message that is none of the sequence: most mechanisms show the death of a
//! peer as they show its end, so the end of a stream alone does not tell whether it was all. Rejected: the number of messages
//! in the hello; who sends until some time or a signal does not know it, and not every mechanism has a hello.

use crate::error::{Error, Phase, Result};
use crate::plan::Touch;
use crate::sys::clock;
use crate::transport::{Receiver, Sender};
use crate::workload::payload::{Mismatch, Payload, Way};
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by a signal: finish the current message and report.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// How much the producer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speech {
    /// Messages, if limited.
    pub messages: Option<u64>,
    /// Milliseconds, if limited.
    pub millis: Option<u64>,
    /// Write every byte, or the header only.
    pub touch: Touch,
}

/// What the consumer heard.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Heard {
    /// Messages that were right.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of one message.
    pub size: usize,
    /// From the first message verified to the last one at which the clock was read.
    pub elapsed_ns: u64,
    /// Number of that last one. Above 4 KiB the clock is read at every message, below at every 64th.
    pub timed: u64,
    /// Whether all that came was right.
    pub right: bool,
    /// Whether the producer said that this was all.
    pub whole: bool,
    /// What was wrong, or why it ended otherwise than by the producer leaving in order.
    pub trouble: Option<String>,
}

/// Writes the producer's last word in place of message `seq`: every byte is the opposite of what was due, so that it is
/// none of the sequence whatever its length.
fn last_word(payload: Payload, seq: u64, message: &mut [u8]) {
    payload.fill(Way::Out, seq, message);
    message.iter_mut().for_each(|byte| *byte = !*byte);
}

/// Whether a message that is not the one that was due is the producer's last word.
#[cold]
fn is_last_word(payload: Payload, seq: u64, message: &[u8]) -> bool {
    let opposite: Vec<u8> = message.iter().map(|byte| !*byte).collect();
    !opposite.is_empty() && payload.check(Way::Out, seq, &opposite).is_ok()
}

/// Sends until the speech is over, a signal asks to stop, or the consumer leaves, and says that it was all; returns the
/// messages sent.
///
/// # Errors
/// When the transport fails in another way than by the consumer leaving.
pub fn produce(mut tx: impl Sender, speech: &Speech) -> Result<u64> {
    tx.attach().map_err(|e| Error::failed(Phase::Start, "cannot attach").because(e))?;
    let payload = Payload::new(speech.touch);
    let until = speech.millis.map(|ms| clock::now() + ms * 1_000_000);
    let mut sent = 0;
    while speech.messages.is_none_or(|n| sent < n) && !STOP.load(Ordering::Relaxed) {
        // The clock is read every so often only: it costs more than a small message.
        if sent.is_multiple_of(64) && until.is_some_and(|until| clock::now() >= until) {
            break;
        }
        match tx.send_with(|message| payload.fill(Way::Out, sent, message)) {
            Err(error) if heard_enough(&error) => return Ok(sent),
            done => done.map_err(|error| unsent(sent, error))?,
        }
        sent += 1;
    }
    match tx.send_with(|message| last_word(payload, sent, message)) {
        Err(error) if !heard_enough(&error) => Err(unsent(sent, error)),
        _ => Ok(sent),
    }
}

/// Whether a failed call only says that the consumer has left.
fn is_farewell(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

/// Whether the consumer has left because a signal asked it to, as it asked us: Ctrl-C reaches both.
#[cold]
fn heard_enough(error: &io::Error) -> bool {
    is_farewell(error) && STOP.load(Ordering::Relaxed)
}

/// Why no more than so many messages could be sent.
#[cold]
fn unsent(sent: u64, error: io::Error) -> Error {
    if is_farewell(&error) {
        return Error::failed(Phase::Measure, format!("the consumer left after {sent} messages were sent"));
    }
    Error::failed(Phase::Measure, "cannot send").because(error)
}

/// What a message turned out to be: its length if it was the one due, nothing if it was the last word.
type Judged = Result<Option<usize>, Box<Mismatch>>;

/// What the message is that came when `seq` was due.
fn judge(payload: Payload, seq: u64, message: &[u8]) -> Judged {
    match payload.check(Way::Out, seq, message) {
        Err(_) if is_last_word(payload, seq, message) => Ok(None),
        checked => checked.map(Some),
    }
}

/// Receives and verifies until the producer has said its last word and left, until it is gone without one, or until a signal
/// asks to stop.
///
/// # Errors
/// When the receiving end cannot be used at all. Wrong messages are reported in [`Heard`], not as an error.
pub fn consume(mut rx: impl Receiver, size: usize) -> Result<Heard> {
    rx.attach().map_err(|e| Error::failed(Phase::Start, "cannot attach").because(e))?;
    let payload = Payload::new(Touch::Whole);
    let mut heard =
        Heard { messages: 0, bytes: 0, size, elapsed_ns: 0, timed: 0, right: true, whole: false, trouble: None };
    let (mut start, mut end, mut timed) = (None, 0, 0);
    while !STOP.load(Ordering::Relaxed) {
        let seq = heard.messages;
        match rx.recv_with(|message| judge(payload, seq, message)) {
            Ok(Ok(Some(len))) => {
                heard.messages += 1;
                heard.bytes += len as u64;
            }
            Ok(Ok(None)) => {
                heard.end(rx.recv_with(|_| ()));
                break;
            }
            other => {
                heard.give_up(other);
                break;
            }
        }
        // Of small messages every 64th: reading the clock costs more than such a message.
        if size > 4096 || heard.messages.is_multiple_of(64) || heard.messages == 1 {
            end = clock::now();
            timed = heard.messages;
        }
        start = start.or(Some(end));
    }
    heard.elapsed_ns = end.saturating_sub(start.unwrap_or(end));
    heard.timed = timed;
    Ok(heard)
}

impl Heard {
    /// Notes the producer's last word, and what came after it.
    fn end(&mut self, after: io::Result<()>) {
        // What it has said is over; how it then leaves, or dies, is of no concern, but that nothing more comes is.
        self.trouble = match after {
            Ok(()) => Some(format!("a message came after the producer's last word, {}", self.messages)),
            Err(error) if error.kind() == ErrorKind::InvalidData => Some(error.to_string()),
            Err(_) => None,
        };
        self.whole = self.trouble.is_none();
        self.right = self.whole;
    }

    /// Notes why no message follows, where no last word said it.
    fn give_up(&mut self, came: io::Result<Judged>) {
        let trouble = match came {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                let what = "and did not say that these were all: it was killed, or its way was cut";
                self.trouble = Some(format!("the producer left after {} messages {what}", self.messages));
                return;
            }
            Err(error) => Some(error.to_string()),
            Ok(judged) => judged.err().map(|mismatch| mismatch.to_string()),
        };
        self.trouble = trouble;
        self.right = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    struct Tx(mpsc::Sender<Vec<u8>>, usize);
    struct Rx(mpsc::Receiver<Vec<u8>>);

    impl Sender for Tx {
        fn size(&self) -> usize {
            self.1
        }

        fn send_with(&mut self, fill: impl FnOnce(&mut [u8])) -> io::Result<()> {
            let mut message = vec![0; self.1];
            fill(&mut message);
            self.0.send(message).map_err(|_| ErrorKind::BrokenPipe.into())
        }
    }

    impl Receiver for Rx {
        fn recv_with<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
            Ok(read(&self.0.recv().map_err(|_| ErrorKind::UnexpectedEof)?))
        }
    }

    fn speech(messages: u64) -> Speech {
        Speech { messages: Some(messages), millis: None, touch: Touch::Whole }
    }

    /// What a consumer makes of what a producer said and of what somebody made of that.
    fn heard(size: usize, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> Heard {
        let (tx, rx) = mpsc::channel();
        assert_eq!(produce(Tx(tx, size), &speech(300)).unwrap(), 300);
        let mut said: Vec<_> = rx.iter().collect();
        change(&mut said);
        let (tx, rx) = mpsc::channel();
        said.into_iter().for_each(|message| tx.send(message).unwrap());
        drop(tx);
        consume(Rx(rx), size).unwrap()
    }

    #[test]
    fn the_last_word_is_no_message_whatever_the_length() {
        for size in [1, 2, 7, 8, 9, 64, 100] {
            let heard = heard(size, |_| {});
            let counts = (heard.messages, heard.bytes, heard.right, heard.whole);
            assert_eq!(counts, (300, 300 * size as u64, true, true), "{heard:?}");
            assert_eq!(heard.trouble, None);
        }
    }

    #[test]
    fn an_end_without_it_is_right_and_not_whole() {
        for kept in [0, 1, 299, 300] {
            let heard = heard(64, |said| said.truncate(kept));
            assert!(heard.right && !heard.whole && heard.messages == kept as u64, "{heard:?}");
            let due = format!("the producer left after {kept} messages and did not say");
            assert!(heard.trouble.is_some_and(|trouble| trouble.starts_with(&due)));
        }
    }

    #[test]
    fn it_is_taken_for_the_end_only_where_it_is_the_last() {
        let early = heard(1, |said| said[100][0] = !said[100][0]);
        assert!(!early.right && !early.whole && early.messages == 100, "{early:?}");
        let damaged = heard(64, |said| said[300][7] ^= 1);
        assert!(!damaged.right && damaged.trouble.is_some_and(|trouble| trouble.contains("message 300 of 64 bytes")));
        let doubled = heard(64, |said| said.push(said[300].clone()));
        assert!(!doubled.right && !doubled.whole);
    }

    #[test]
    fn a_consumer_that_left_before_it_is_told_of() {
        let (tx, rx) = mpsc::channel();
        drop(rx);
        let error = produce(Tx(tx, 8), &speech(1)).unwrap_err().to_string();
        assert!(error.starts_with("the consumer left after 0 messages were sent"), "{error}");
    }
}

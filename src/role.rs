//! The two halves of a transport as two programs that a person starts.
//!
//! Key decision: the same payload work as in a run (every byte written, every byte verified), and the consumer reports: what
//! came, how fast, and whether every byte was right. The consumer's clock runs from the first message verified to the last
//! one at which it was read; neither the time until somebody starts the other program nor the time until it says that it
//! is done is part of it.

use crate::error::{Error, Phase, Result};
use crate::plan::Touch;
use crate::sys::clock;
use crate::transport::{Receiver, Sender};
use crate::workload::payload::{Payload, Way};
use std::io::ErrorKind;
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
    /// What was wrong, or why it ended otherwise than by the producer leaving.
    pub trouble: Option<String>,
}

/// Sends until the speech is over, a signal asks to stop, or the consumer leaves; returns the messages sent.
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
            Ok(()) => sent += 1,
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                let what = format!("the consumer left after {sent} messages were sent");
                return Err(Error::failed(Phase::Measure, what));
            }
            Err(e) => return Err(Error::failed(Phase::Measure, "cannot send").because(e)),
        }
    }
    Ok(sent)
}

/// Receives and verifies until the producer leaves or a signal asks to stop.
///
/// # Errors
/// When the receiving end cannot be used at all. Wrong messages are reported in [`Heard`], not as an error.
pub fn consume(mut rx: impl Receiver, size: usize) -> Result<Heard> {
    rx.attach().map_err(|e| Error::failed(Phase::Start, "cannot attach").because(e))?;
    let payload = Payload::new(Touch::Whole);
    let mut heard = Heard { messages: 0, bytes: 0, size, elapsed_ns: 0, timed: 0, right: true, trouble: None };
    let (mut start, mut end, mut timed) = (None, 0, 0);
    while !STOP.load(Ordering::Relaxed) {
        let seq = heard.messages;
        let checked = match rx.recv_with(|message| payload.check(Way::Out, seq, message)) {
            Ok(checked) => checked,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => {
                heard.trouble = Some(error.to_string());
                heard.right = false;
                break;
            }
        };
        match checked {
            Ok(len) => {
                heard.messages += 1;
                heard.bytes += len as u64;
            }
            Err(mismatch) => {
                heard.trouble = Some(mismatch.to_string());
                heard.right = false;
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

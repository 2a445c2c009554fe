//! Ends behind a pointer, for code that is not timed.
//!
//! Key decision: what kills parties and looks at the survivors is compiled once, for all mechanisms, and never measures a
//! message; the timed loops stay generic. Rejected: a generic injection, which would compile its loops once for each
//! mechanism.

use super::{Receiver, Sender};
use std::io;

/// A sending end of some mechanism.
pub trait AnyTx: Send {
    /// See [`Sender::attach`].
    ///
    /// # Errors
    /// What the system says.
    fn attach(&mut self) -> io::Result<()>;

    /// See [`Sender::send_with`].
    ///
    /// # Errors
    /// As there.
    fn send(&mut self, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()>;

    /// See [`Sender::holding`].
    fn holding(&mut self, then: &mut dyn FnMut()) -> bool;
}

/// A receiving end of some mechanism.
pub trait AnyRx: Send {
    /// See [`Receiver::attach`].
    ///
    /// # Errors
    /// What the system says.
    fn attach(&mut self) -> io::Result<()>;

    /// See [`Receiver::recv_with`].
    ///
    /// # Errors
    /// As there.
    fn receive(&mut self, read: &mut dyn FnMut(&[u8])) -> io::Result<()>;

    /// See [`Receiver::holding`].
    fn holding(&mut self, then: &mut dyn FnMut()) -> bool;
}

/// Both ends of one direction.
pub type Pair = (Box<dyn AnyTx>, Box<dyn AnyRx>);

impl<T: Sender> AnyTx for T {
    fn attach(&mut self) -> io::Result<()> {
        Sender::attach(self)
    }

    fn send(&mut self, fill: &mut dyn FnMut(&mut [u8])) -> io::Result<()> {
        self.send_with(|place| fill(place))
    }

    fn holding(&mut self, then: &mut dyn FnMut()) -> bool {
        Sender::holding(self, then)
    }
}

impl<T: Receiver> AnyRx for T {
    fn attach(&mut self) -> io::Result<()> {
        Receiver::attach(self)
    }

    fn receive(&mut self, read: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.recv_with(|message| read(message))
    }

    fn holding(&mut self, then: &mut dyn FnMut()) -> bool {
        Receiver::holding(self, then)
    }
}

//! Pages into a pipe by reference, and out of it into a file or into nothing. Source: vmsplice(2), splice(2), null(4).

use rustix::pipe::{IoSliceRaw, SpliceFlags, splice, vmsplice};
use std::io::{self, PipeWriter};
use std::os::fd::AsFd;

fn flags(wait: bool) -> SpliceFlags {
    if wait { SpliceFlags::empty() } else { SpliceFlags::NONBLOCK }
}

/// Puts references to the pages under `bytes` into a pipe, as many as it has room for, and returns the bytes that they
/// stand for. Whoever reads the pipe sees what the memory holds at *that* time.
///
/// # Errors
/// EPIPE when no reader is left; EAGAIN instead of waiting for room.
#[inline(always)]
pub fn pages_into_pipe(pipe: &PipeWriter, bytes: &[u8], wait: bool) -> io::Result<usize> {
    // SAFETY: of a pipe's end for writing the kernel reads these bytes, for as long as they are in the pipe; that they may change
    // until then is for the caller to care about, and makes nothing but another message.
    Ok(unsafe { vmsplice(pipe, &[IoSliceRaw::from_slice(bytes)], flags(wait)) }?)
}

/// Moves at most `len` bytes from a pipe to offset `at` of a file, and returns how many; 0 at the end of the stream.
///
/// # Errors
/// EAGAIN instead of waiting for data; what writing the file says.
#[inline(always)]
pub fn pipe_into_file(pipe: impl AsFd, file: impl AsFd, at: usize, len: usize, wait: bool) -> io::Result<usize> {
    let mut at = at as u64;
    Ok(splice(pipe, None, file, Some(&mut at), len, flags(wait))?)
}

/// Lets go of at most `len` bytes in a pipe, which nobody sees, and returns how many; 0 at the end of the stream. `null` is the
/// null device: it takes whole slots of the pipe and looks at no page, as a splice that passes data on does.
///
/// # Errors
/// EAGAIN instead of waiting for data.
#[inline(always)]
pub fn pipe_into_nothing(pipe: impl AsFd, null: impl AsFd, len: usize, wait: bool) -> io::Result<usize> {
    Ok(splice(pipe, None, null, None, len, flags(wait))?)
}

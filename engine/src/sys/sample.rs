//! Samples of iceoryx2, to be written in place.

use iceoryx2::prelude::ipc_threadsafe::Service;
use iceoryx2::sample_mut::SampleMut;
use iceoryx2::sample_mut_uninit::SampleMutUninit;
use std::mem::MaybeUninit;

/// The loaned memory as bytes that can be written. Rejected: `loan_slice`, which first writes zeroes over all of it.
#[inline(always)]
pub fn writable(sample: SampleMutUninit<Service, [MaybeUninit<u8>], ()>) -> SampleMut<Service, [u8], ()> {
    // SAFETY: the memory is part of a mapped shared memory object, which the kernel filled with zeroes and in which
    // only bytes were written since: each byte has a value, and every value is a valid u8.
    unsafe { sample.assume_init() }
}

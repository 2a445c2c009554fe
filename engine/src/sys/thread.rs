//! Which thread runs this, for a comparison that costs nothing.
//!
//! Key decision: the thread pointer, read by one instruction. Rejected: gettid(2) and [`std::thread::current`] (a call each);
//! the address of a thread-local, which is the same number behind `LocalKey::with`, no `#[inline]` function: as a call it took
//! more time than all else that the control `null` does. Source: the TLS supplements of the ABIs of x86-64 and aarch64.

/// A number that no other thread of this process has while this one lives; neither 0 nor 1.
#[inline(always)]
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub fn mark() -> usize {
    let mark;
    // SAFETY: the first word at `fs` is the thread control block's own address (ELF handling of thread-local storage), which
    // nobody ever writes again: to the compiler it is a register, and a loop reads it once.
    unsafe { core::arch::asm!("mov {}, fs:0", out(reg) mark, options(pure, nomem, nostack, preserves_flags)) };
    mark
}

/// A number that no other thread of this process has while this one lives; neither 0 nor 1.
#[inline(always)]
#[cfg(all(target_arch = "aarch64", not(miri)))]
pub fn mark() -> usize {
    let mark;
    // SAFETY: reading the register has no effect; it points to the thread control block.
    unsafe { core::arch::asm!("mrs {}, tpidr_el0", out(reg) mark, options(pure, nomem, nostack, preserves_flags)) };
    mark
}

/// A number that no other thread of this process has while this one lives; neither 0 nor 1.
#[inline(always)]
#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub fn mark() -> usize {
    thread_local! {
        static MARK: u64 = const { 0 };
    }
    MARK.with(|mark| std::ptr::from_ref(mark) as usize)
}

#[cfg(test)]
mod tests {
    use super::mark;

    #[test]
    fn a_thread_keeps_its_mark_and_shares_it_with_no_other() {
        let mine = mark();
        // Both live until both have looked.
        let both = std::sync::Barrier::new(2);
        let others: [usize; 2] = std::thread::scope(|scope| {
            let look = || {
                let seen = mark();
                both.wait();
                seen
            };
            let threads = [scope.spawn(look), scope.spawn(look)];
            threads.map(|thread| thread.join().unwrap())
        });
        assert_eq!(mark(), mine);
        assert!(mine > 1 && !others.contains(&mine) && others[0] != others[1]);
    }
}

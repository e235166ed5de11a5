//! One buffer per thread, lent for the length of one poll, so that a quiet connection owns none.
//!
//! Clauses: W8

use std::cell::RefCell;

/// What one read(2) takes at most: the default capacity of a pipe(7), and 45 segments of Ethernet.
const BYTES: usize = 64 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BYTES]);
}

/// Lends the thread's buffer to `use_it`, which must not call this again.
pub(crate) fn lend<R>(use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    SCRATCH.with_borrow_mut(|buffer| use_it(buffer))
}

//! Which addresses are public.
//!
//! Clauses: P6.

use std::net::IpAddr;

/// Whether an address may be dialled without being listed. Nothing may yet.
#[must_use]
pub const fn is_public(_address: IpAddr) -> bool {
    false
}

//! What must hold for every policy and every request, tried on many: against an oracle that reads the file as text,
//! label by label, and against the policy's own neighbours (one entry more, a stricter mode, another order).
//!
//! Names come from a tiny alphabet, so that suffixes, overlaps and near misses are the rule. Not here: text that is no
//! file (`tests/hostile_text.rs`), and input of any bytes (`fuzz/`).
//! Clauses: P1, P2, P3, P4, P5, P6, P8.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod addresses;
mod files;
mod judge;
mod names;

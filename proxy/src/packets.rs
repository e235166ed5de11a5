//! Records the packets that the kernel refused, with exact counts.
//!
//! Clauses: R6

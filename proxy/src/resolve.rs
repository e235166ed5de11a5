//! Resolves names that a permit allows; the only room that does.
//!
//! Clauses: W1

//! The file as typed -> [`crate::Config`] as meant.
//!
//! Clauses: P9.

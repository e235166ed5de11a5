//! Finds the process behind a connection, where it can be told.
//!
//! Clauses: R1

//! The synthetic addresses, and the names they were issued for.
//!
//! Clauses: W5

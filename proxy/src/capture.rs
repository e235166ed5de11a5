//! Names the destination of a captured connection; the address that the client chose is never dialled.
//!
//! Clauses: W5

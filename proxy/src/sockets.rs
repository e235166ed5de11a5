//! Receives the sockets that were made inside the agent's namespace.
//!
//! Clauses: N3, N4

//! Answers DNS inside the agent's namespace with synthetic addresses.
//!
//! Clauses: W1

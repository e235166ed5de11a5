//! The fence of a network namespace: from a spec to rules that stand in the kernel, are read back, and are held.
//!
//! - [`spec`]: what is to be let through, as JSON and as meant.
//! - [`plan`]: the rules that follow from it, pure; [`matcher`] has their words, [`clause`] their reasons.
//! - [`expression`]: the rules in the kernel's terms, pure too.
//! - `kernel`: puts them up and reads them back (feature `kernel`, Linux).
//! - `hold`: a sealed namespace's holder; [`protocol`] is what it says to its starter and to the proxy.
//!
//! Not here: matching of names, HTTP, the decision about any connection. Clauses: N1 to N12 of `docs/security.md`.

pub mod clause;
pub mod exit;
pub mod expression;
#[cfg(all(feature = "kernel", target_os = "linux"))]
pub mod hold;
#[cfg(all(feature = "kernel", target_os = "linux"))]
pub mod kernel;
pub mod matcher;
pub mod plan;
pub mod probe;
pub mod protocol;
pub mod spec;

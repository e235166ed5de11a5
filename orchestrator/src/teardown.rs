//! Takes a sandbox down, however much of it is up. A failure never stops the rest, and none is lost.
//! Clauses: U3.
use crate::engine::{Engine, EngineError};

/// Ends everything of `parts`; gives what could not be ended.
pub(crate) fn all<E: Engine>(mut engine: E, parts: E::Parts) -> Vec<EngineError> {
    engine.end(parts)
}

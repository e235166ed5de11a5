//! Takes a sandbox down, however much of it is up. A failure never stops the rest, and none is lost.
//! Clauses: U3.
use crate::engine::{Engine, EngineError};

/// Ends everything of `parts`; gives what could not be ended.
pub(crate) fn all<E: Engine>(engine: &mut E, parts: E::Parts) -> Vec<EngineError> {
    engine.end(parts)
}

/// The failures of a teardown, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Teardown {
    failed: Vec<EngineError>,
}

impl Teardown {
    /// Notes how a step went, and goes on.
    pub(crate) fn step(&mut self, done: Result<(), EngineError>) {
        self.failed.extend(done.err());
    }

    /// What failed.
    pub(crate) fn failed(self) -> Vec<EngineError> {
        self.failed
    }
}
